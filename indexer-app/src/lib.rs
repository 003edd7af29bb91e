//! The indexer: from the BitTorrent DHT to a search result.
//!
//! [`model`] is the program, driven by `tea-runtime`; [`cluster`] runs a private PostgreSQL, [`db`] holds all SQL; [`commands`] is
//! what the command line ([`cli`], [`settings`]) offers.

pub mod cli;
pub mod cluster;
pub mod commands;
pub mod db;
pub mod exchange;
pub mod file_list;
pub mod kinds;
pub mod magnet;
pub mod model;
pub mod query;
pub mod search;
pub mod settings;
pub mod signature;
pub mod status;
pub mod tokeniser;
pub mod vocabulary;
pub mod word_hash;
pub mod word_list;
