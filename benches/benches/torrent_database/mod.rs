//! A database full of torrents of the corpus.

pub(crate) mod fill;
pub(crate) mod server;
pub(crate) mod sizes;
pub(crate) mod torrents;
