//! Real libtorrent sessions on loopback for the tests of the indexer: see `swarm.py` beside this file.

#![allow(unreachable_pub, reason = "modules of a test program")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

pub mod environment;
pub mod probe;
pub mod sessions;
