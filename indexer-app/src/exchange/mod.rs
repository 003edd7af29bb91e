//! Torrents to and from other databases: exports, and imports of what this and other indexers have gathered.

mod export;
mod foreign;
mod import;
pub mod line;
pub mod ndjson;
mod output;
mod refusal;
mod source;

pub use export::{ExportError, ExportPlan, Exported, export};
pub use foreign::{read_bitmagnet, read_magnetico};
pub use import::{ImportError, ImportOptions, Imported, import};
pub use output::{Compression, Output, Resumed, resume};
pub use refusal::{Refusal, Refusals};
pub use source::{Batch, Entry, Feed, feed};
