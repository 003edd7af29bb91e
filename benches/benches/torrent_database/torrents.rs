//! Torrents of the corpus as the program stores them.

use std::{
    ops::Range,
    time::{Duration, SystemTime},
};

use benches::corpus::{Corpus, Item};
use indexer_app::db::{
    Discovery, Hashes, History, Listing, NewTorrent, ObservedSwarm, PreparedTorrents, SwarmSize,
};
use krpc::InfoHash;

/// Bytes in a piece of any torrent here.
const PIECE: u64 = 4 << 20;

/// A torrent of the corpus, as if it had just been verified.
pub(crate) fn torrent(item: Item) -> NewTorrent {
    let total_size: u64 = item.files.iter().map(|(_, length)| length).sum();
    NewTorrent {
        hashes: Hashes::V1(InfoHash::from_bytes(item.info_hash)),
        name: item.name,
        name_raw: None,
        total_size,
        files: item.files,
        listing: Listing::Whole,
        piece_length: Some(PIECE),
        piece_count: u32::try_from(total_size.div_ceil(PIECE)).ok(),
        private: Some(false),
        source: None,
        discovered_by: Discovery::Sampled,
        history: History::default(),
    }
}

/// Torrents of these numbers, ready to be written, with the past that the corpus gives them.
pub(crate) fn prepared(corpus: &Corpus, numbers: Range<u64>, now: SystemTime) -> PreparedTorrents {
    let torrents = numbers.map(|number| {
        let item = corpus.item(number);
        let added_at = now - Duration::from_secs(u64::from(item.age_s));
        let size = SwarmSize { seeders: item.seeders, leechers: item.seeders / 3, nodes: 8, whole: true };
        let history = History {
            added_at: Some(added_at),
            last_seen: Some(added_at + Duration::from_secs(u64::from(item.age_s / 2))),
            seen_count: Some(1),
            score: Some((2_f64.powi(i32::from(item.popularity)) - 1.0, now)),
            swarm: Some(ObservedSwarm { size, at: added_at }),
        };
        NewTorrent { history, ..torrent(item) }
    });
    PreparedTorrents::new(torrents.collect())
}
