//! The indexer as a process, and the comparison of what it exports with what there was to find.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../scratch/mod.rs"]
mod scratch;

pub mod indexer;
pub mod torrent;
