//! What the tests share that run the whole program, in a process of its own, against a swarm on loopback.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]
#![allow(clippy::disallowed_methods, reason = "what is tested takes real time")]

pub mod exported;
pub mod indexer;
pub mod patience;
pub mod process;
