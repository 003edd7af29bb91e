//! Torrents to and from other databases.

mod export;
pub mod line;
mod refusal;

pub use export::{ExportError, Exported, export};
pub use refusal::{Refusal, Refusals};
