//! The whole program, in a process of its own, against a swarm on loopback: what it finds, what it survives, what it
//! refuses, and how it ends.
//!
//! One program for all of these tests: each test program costs its own linking.
#![allow(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]
#![allow(clippy::disallowed_methods, reason = "what is tested takes real time")]

#[path = "../private_cluster/mod.rs"]
mod private_cluster;

// Made once for all test programs.
#[path = "../libtorrent/environment.rs"]
#[allow(unreachable_pub, reason = "used by several test programs")]
mod environment;

// What the tests share.
mod exported;
mod indexer;
mod patience;
mod politeness;
mod process;

// The tests.
mod account;
mod bans;
mod crashes;
mod exchange;
mod fetch;
mod full_disk;
mod giving;
mod hostile;
mod index;
mod ipv6;
mod refusals;
mod reindex;
mod replica;
mod signals;
mod tls;
mod two_indexers;
