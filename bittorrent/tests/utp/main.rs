//! uTP between endpoints of ours over a virtual network, and against made-up packets.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]
#![allow(unreachable_pub, reason = "modules of a test program")]

mod network;
mod strangers;
mod streams;
