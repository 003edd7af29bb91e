//! The private cluster, the sessions and the search, on a real PostgreSQL that these tests start.
//!
//! One program for all of them: each test program costs its own linking.
#![allow(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]
#![allow(clippy::disallowed_methods, reason = "what is stored has times of the clock on the wall")]

#[path = "../private_cluster/mod.rs"]
mod private_cluster;

mod backlog;
mod bans;
mod cluster;
mod command;
mod crash;
mod distribution;
mod exchange;
mod expiry;
mod foreign;
mod ingest;
mod migration;
mod nodes;
mod path_words;
mod query;
mod refusals;
mod reindex;
mod requests;
mod search;
mod slices;
mod torrents;
