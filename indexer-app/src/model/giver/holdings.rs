//! Which info dicts we hold: lately fetched ones in memory, kept ones in the database.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use bittorrent::mse::torrent_key;
use krpc::InfoHash;

/// Bytes of info dicts in memory; the oldest give way. Two thousand of 30 KiB.
const MEMORY_BYTES_MAX: usize = 64 << 20;

/// Torrents of which is known that the database has their info dict, of some 100 bytes each; later ones are not given.
pub const KEPT_MAX: usize = 200_000;

/// What we can give.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    at_hand: HashMap<InfoHash, Arc<[u8]>>,
    order: VecDeque<InfoHash>,
    bytes: usize,
    kept: HashSet<InfoHash>,
    /// By the key under which encrypted connections ask.
    by_torrent_key: HashMap<[u8; 20], InfoHash>,
}

impl Holdings {
    /// Holds an info dict in memory, as long as there is room.
    pub(super) fn hold(&mut self, hash: InfoHash, raw: &Arc<[u8]>) {
        if raw.len() > MEMORY_BYTES_MAX || self.at_hand.contains_key(&hash) {
            return;
        }
        self.bytes += raw.len();
        self.at_hand.insert(hash, Arc::clone(raw));
        self.order.push_back(hash);
        self.by_torrent_key.insert(torrent_key(&hash), hash);
        while self.bytes > MEMORY_BYTES_MAX {
            let Some(oldest) = self.order.pop_front() else { return };
            if let Some(raw) = self.at_hand.remove(&oldest) {
                self.bytes -= raw.len();
            }
            if !self.kept.contains(&oldest) {
                self.by_torrent_key.remove(&torrent_key(&oldest));
            }
        }
    }

    /// The database has this one.
    pub(super) fn keep(&mut self, hash: InfoHash) {
        if self.kept.len() < KEPT_MAX && self.kept.insert(hash) {
            self.by_torrent_key.insert(torrent_key(&hash), hash);
        }
    }

    /// An info dict in memory.
    pub(super) fn at_hand(&self, hash: &InfoHash) -> Option<Arc<[u8]>> {
        self.at_hand.get(hash).cloned()
    }

    /// Whether the database has it.
    pub(super) fn is_kept(&self, hash: &InfoHash) -> bool {
        self.kept.contains(hash)
    }

    /// The torrent of this key.
    pub(super) fn find(&self, key: &[u8; 20]) -> Option<InfoHash> {
        self.by_torrent_key.get(key).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u8) -> InfoHash {
        InfoHash::from_bytes([n; 20])
    }

    #[test]
    fn the_oldest_give_way_and_are_not_found_any_more_unless_they_are_kept() {
        let mut holdings = Holdings::default();
        let raw: Arc<[u8]> = vec![0; 30 << 20].into();
        holdings.keep(hash(2));
        for n in 1..=4 {
            holdings.hold(hash(n), &raw);
        }
        assert_eq!(holdings.bytes, 60 << 20);
        assert_eq!([1, 2, 3, 4].map(|n| holdings.at_hand(&hash(n)).is_some()), [false, false, true, true]);
        let found = |n: u8| holdings.find(&torrent_key(&hash(n))).is_some();
        assert_eq!([1, 2, 3, 4].map(found), [false, true, true, true]);
    }

    #[test]
    fn one_that_is_held_twice_counts_once() {
        let mut holdings = Holdings::default();
        let raw: Arc<[u8]> = vec![0; 100].into();
        holdings.hold(hash(1), &raw);
        holdings.hold(hash(1), &raw);
        assert_eq!(holdings.bytes, 100);
    }
}
