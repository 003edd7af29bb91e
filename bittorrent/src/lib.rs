//! bittorrent.
