//! What a torrent is, read offline from its name and its files: type, year, season and episode, resolution, codec, source, release
//! group, languages.
//!
//! [`classify()`] reads, [`Traits::marks`] gives what of it stands in the index. A mark is a lexeme that the
//! [tokeniser](crate::tokeniser) can never make, because it begins with a colon; so what is known of a torrent is asked for in the same
//! query as its words, and counted by the same statistics:
//!
//! | mark | |
//! |---|---|
//! | `:t1` | [type](Kind), by its code |
//! | `:xmkv` | extension, of up to [`EXTENSIONS_MAX`] that hold most bytes |
//! | `:y1999` | year |
//! | `:s02`, `:e05` | season, episode: at least two digits |
//! | `:r1080p` | resolution |
//! | `:cx265` | codec |
//! | `:obluray` | source (origin) |
//! | `:ggroup` | release group, its words joined |
//! | `:len` | language (ISO 639-1) |

mod classify;
mod contents;
mod episodes;
mod extensions;
mod group;
mod kind;
mod marks;
mod pieces;
mod script;
mod tags;
mod traits;
mod years;

pub use classify::{CLASS_VER, classify, classify_and_mark, classify_name};
pub use extensions::{EXTENSIONS_MAX, extension_marks};
pub use kind::Kind;
pub(crate) use marks::of as mark;
pub use marks::{episode_mark, extension_mark, group_mark, kind_mark, season_mark, year_mark};
pub use traits::Traits;
