//! The program: a model of the DHT, the fetches and the database, driven by `tea-runtime`.
//!
//! The protocol crates return plain actions; this is the one place where they become commands.

mod announcers;
mod connections;
mod delays;
mod disk_guard;
mod giver;
pub mod identity;
mod indexer;
mod intake;
mod lane;
mod learning;
mod limits;
mod message;
mod plan;
mod rates;
mod recent;
mod records;
mod reindexing;
mod report;
mod resolver;
mod retention;
mod scraper;
mod storage;

pub use connections::UtpPlan;
pub use giver::{GivingPlan, KEPT_MAX, VISITORS_MAX};
pub use indexer::{Indexer, LOOKUPS_PER_FETCH};
pub use message::{Answer, AppEffect, Key, Msg};
pub use plan::{DiskPlan, Ending, Flags, Plan};
