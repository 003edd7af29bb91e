//! The torrents that a node stores, and which of them it shows (BEP 51).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use krpc::InfoHash;
use krpc::bloom::BloomFilter;
use rand::RngExt;
use rand::rngs::StdRng;

use super::nature::Nature;

/// At most this many samples are shown at a time: what libtorrent and mldht do.
pub(super) const SAMPLES: usize = 20;

/// What is announced at a node, in the order of its first announce.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    entries: Vec<Entry>,
    /// What libtorrent shows until this time.
    shown: Option<(Duration, Box<[InfoHash]>)>,
    /// Who takes part in a torrent, where this node knows others than the rest.
    crowds: BTreeMap<InfoHash, Crowd>,
}

/// Peers of a torrent that have announced themselves at one node.
#[derive(Clone, Debug)]
pub(super) struct Crowd {
    pub(super) peers: Vec<SocketAddr>,
    pub(super) seeds: BloomFilter,
    pub(super) downloaders: BloomFilter,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    info_hash: InfoHash,
    /// Seconds; forgotten after that.
    until: u32,
}

impl Store {
    /// Keeps a torrent until then; `u32::MAX` seconds is for ever.
    pub(super) fn put(&mut self, info_hash: InfoHash, until: u32) {
        match self.entries.iter_mut().find(|entry| entry.info_hash == info_hash) {
            Some(entry) => entry.until = entry.until.max(until),
            None => self.entries.push(Entry { info_hash, until }),
        }
    }

    /// A peer announces itself for good.
    pub(super) fn join(&mut self, info_hash: InfoHash, peer: SocketAddr, seed: bool) {
        self.put(info_hash, u32::MAX);
        let none = || Crowd { peers: Vec::new(), seeds: BloomFilter::new(), downloaders: BloomFilter::new() };
        let crowd = self.crowds.entry(info_hash).or_insert_with(none);
        crowd.peers.push(peer);
        let filter = if seed { &mut crowd.seeds } else { &mut crowd.downloaders };
        filter.insert(peer.ip());
    }

    pub(super) fn crowd(&self, info_hash: &InfoHash) -> Option<&Crowd> {
        self.crowds.get(info_hash)
    }

    pub(super) fn contains(&self, info_hash: &InfoHash) -> bool {
        self.entries.iter().any(|entry| entry.info_hash == *info_hash)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = InfoHash> + '_ {
        self.entries.iter().map(|entry| entry.info_hash)
    }

    /// Forgets what has not been announced again in time.
    pub(super) fn expire(&mut self, now: Duration) {
        self.entries.retain(|entry| u64::from(entry.until) > now.as_secs());
    }

    pub(super) fn clear(&mut self) {
        *self = Store::default();
    }

    /// What a node of this nature shows now, which supports BEP 51 with this interval (seconds).
    pub(super) fn sample(
        &mut self,
        now: Duration,
        nature: Nature,
        interval: u32,
        rng: &mut StdRng,
    ) -> Vec<InfoHash> {
        if nature != Nature::Libtorrent {
            let round = now.as_secs() / u64::from(interval.max(1));
            let start = round as usize * SAMPLES % self.len().max(1);
            return self.iter().chain(self.iter()).skip(start).take(self.len().min(SAMPLES)).collect();
        }
        if let Some((until, shown)) = &self.shown
            && shown.len() >= SAMPLES
            && now < *until
        {
            return shown.to_vec();
        }
        let mut chosen: Vec<InfoHash> = self.iter().collect();
        for place in 0..chosen.len().min(SAMPLES) {
            let other = rng.random_range(place..chosen.len());
            chosen.swap(place, other);
        }
        chosen.truncate(SAMPLES);
        self.shown = Some((now + Duration::from_secs(interval.into()), chosen.clone().into_boxed_slice()));
        chosen
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::*;

    fn full(count: u8) -> Store {
        let mut store = Store::default();
        for n in 0..count {
            store.put(InfoHash::from_bytes([n; 20]), 1_000 + u32::from(n));
        }
        store
    }

    #[test]
    fn libtorrent_shows_the_same_twenty_for_six_hours_and_fewer_than_twenty_fresh() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut store = full(50);
        let mut at = |secs, store: &mut Store| -> BTreeSet<InfoHash> {
            store
                .sample(Duration::from_secs(secs), Nature::Libtorrent, 21_600, &mut rng)
                .into_iter()
                .collect()
        };
        let first = at(5, &mut store);
        assert_eq!(first.len(), 20);
        assert_eq!(at(21_000, &mut store), first);
        assert_ne!(at(21_605, &mut store), first);
        let mut store = full(5);
        assert_eq!(at(5, &mut store).len(), 5);
        store.put(InfoHash::from_bytes([99; 20]), 9_999);
        assert_eq!(at(6, &mut store).len(), 6);
    }

    #[test]
    fn others_show_the_next_twenty_in_each_interval() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut store = full(50);
        let mut seen = BTreeSet::new();
        for round in 0..3 {
            let now = Duration::from_secs(300 * round);
            seen.extend(store.sample(now, Nature::Mldht, 300, &mut rng));
        }
        assert_eq!(seen.len(), 50);
    }

    #[test]
    fn what_is_not_announced_again_is_forgotten() {
        let mut store = full(50);
        store.put(InfoHash::from_bytes([3; 20]), 5_000);
        store.expire(Duration::from_secs(1_048));
        assert_eq!(store.len(), 2);
        assert!(store.contains(&InfoHash::from_bytes([3; 20])));
    }
}
