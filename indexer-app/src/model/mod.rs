//! The program: a model of the DHT, the fetches and the database, driven by `tea-runtime`.
//!
//! The protocol crates return plain actions; this is the one place where they become commands.

mod endpoint_memory;
mod indexer;
mod intake;
mod lane;
mod message;
mod rates;
mod recent;
mod report;
mod resolver;
mod storage;

pub use indexer::{EXTERNAL_ADDRESS, Ending, Flags, Indexer, LOOKUPS_PER_FETCH, Plan};
pub use message::{Answer, AppEffect, Key, Msg};
