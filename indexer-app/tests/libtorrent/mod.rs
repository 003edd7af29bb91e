//! Real libtorrent sessions on loopback for the tests of the indexer: see `swarm.py` beside this file.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "modules of a test program")]

pub mod environment;
pub mod indexer;
pub mod probe;
pub mod sessions;
pub mod torrent;
