//! Peers that were announced to us, for as long as they are worth telling.
//!
//! All bounds are fixed at the start: info-hashes, peers of one, peers in all, peers of one address in one info-hash. What
//! exceeds them displaces what is worth least, and everything expires. Peers stand in one pool, so that announcing
//! allocates nothing once the pool is as large as it gets.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use krpc::InfoHash;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::endpoint::Endpoint;
use crate::keyed_hash::HashKey;
use crate::slot_index::SlotIndex;

/// What became of an announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// The peer is new.
    New,
    /// The peer was there, and lives longer.
    Refreshed,
    /// The peer is new, and took the place of another of the same info-hash.
    Replaced,
    /// The store was given no room at all.
    Refused,
}

/// What happened in the store, counted from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerStoreCounters {
    /// Announces stored, repetitions included.
    pub announces: u64,
    /// Peers that gave way to others of their info-hash.
    pub peers_replaced: u64,
    /// Announces refused because there is no room at all.
    pub peers_refused: u64,
    /// Info-hashes that gave way to others.
    pub hashes_displaced: u64,
    /// Peers that were not announced again in time.
    pub peers_expired: u64,
}

/// Which peers to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection {
    /// Those with IPv4 addresses.
    pub v4: bool,
    /// Those with IPv6 addresses.
    pub v6: bool,
    /// BEP 33: leave out those that have the whole torrent.
    pub noseed: bool,
}

/// The answer to sample_infohashes (BEP 51).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample<'a> {
    /// Up to [`SAMPLES_MAX`] info-hashes; the same ones for [`SAMPLE_INTERVAL`] when there are more.
    pub hashes: &'a [InfoHash],
    /// Info-hashes stored in all.
    pub num: usize,
    /// When to ask again.
    pub interval: Duration,
}

/// The store.
#[derive(Debug)]
pub struct PeerStore {
    torrents: Vec<Torrent>,
    torrents_max: usize,
    index: SlotIndex,
    key: HashKey,
    pool: Vec<Peer>,
    pool_max: usize,
    /// Head of the list of free peers.
    free: u32,
    peers: usize,
    sample: Vec<InfoHash>,
    sample_until: Duration,
    /// Where the sweep goes on.
    hand: usize,
    picks: Vec<u32>,
    rng: StdRng,
    counters: PeerStoreCounters,
}

#[derive(Debug, Clone, Copy)]
struct Torrent {
    info_hash: InfoHash,
    /// Head of the list of its peers.
    first: u32,
    peers: u32,
    /// Seconds since the origin.
    announced_at: u32,
}

#[derive(Debug, Clone, Copy)]
struct Peer {
    endpoint: Endpoint,
    seed: bool,
    announced_at: u32,
    next: u32,
}

impl PeerStore {
    /// A store for up to `torrents_max` info-hashes and [`PEERS_PER_TORRENT_MEAN`] times as many peers.
    pub fn new(torrents_max: usize, seed: &[u8; 32]) -> PeerStore {
        let torrents_max = torrents_max.min(TORRENTS_MAX);
        PeerStore {
            torrents: Vec::new(),
            torrents_max,
            index: SlotIndex::new(torrents_max),
            key: HashKey::derive(seed, "peer store"),
            pool: Vec::new(),
            pool_max: torrents_max * PEERS_PER_TORRENT_MEAN,
            free: NIL,
            peers: 0,
            sample: Vec::with_capacity(SAMPLES_MAX),
            sample_until: Duration::ZERO,
            hand: 0,
            picks: Vec::with_capacity(PEERS_PER_TORRENT_MAX),
            rng: StdRng::seed_from_u64(HashKey::derive(seed, "peer store choices").hash(b"")),
            counters: PeerStoreCounters::default(),
        }
    }

    /// A peer was announced for an info-hash, with a valid token.
    pub fn announce(&mut self, now: Duration, info_hash: InfoHash, peer: SocketAddr, seed: bool) -> Stored {
        let at = seconds(now);
        let torrent = match self.find(&info_hash) {
            Some(torrent) => torrent,
            None if self.torrents_max == 0 => {
                self.counters.peers_refused += 1;
                return Stored::Refused;
            }
            None => {
                if self.peers >= self.pool_max {
                    // A new info-hash has no peer that could give way for its first.
                    self.displace_torrent();
                }
                self.add_torrent(info_hash, at)
            }
        };
        self.drop_expired(torrent, at);
        let stored =
            self.add_peer(torrent, Peer { endpoint: peer.into(), seed, announced_at: at, next: NIL });
        if stored != Stored::Refused {
            self.torrents[torrent].announced_at = at;
            self.counters.announces += 1;
        }
        if self.torrents[torrent].peers == 0 {
            self.remove_torrent(torrent);
        }
        stored
    }

    /// Appends up to `n` peers of an info-hash to `out`, chosen at random.
    pub fn select(
        &mut self,
        now: Duration,
        info_hash: &InfoHash,
        selection: Selection,
        n: usize,
        out: &mut Vec<SocketAddr>,
    ) {
        let mut picks = std::mem::take(&mut self.picks);
        picks.clear();
        let eligible = |peer: &Peer| {
            (if peer.endpoint.is_v4() { selection.v4 } else { selection.v6 })
                && !(selection.noseed && peer.seed)
        };
        picks.extend(
            self.slots_of(info_hash, seconds(now)).filter(|slot| eligible(&self.pool[*slot as usize])),
        );
        for taken in 0..n.min(picks.len()) {
            let pick = self.rng.random_range(taken..picks.len());
            picks.swap(taken, pick);
            out.push(self.pool[picks[taken] as usize].endpoint.addr());
        }
        self.picks = picks;
    }

    /// Calls `see` with the address of each peer of an info-hash and whether it is a seed, as for the filters
    /// of BEP 33; `false` when there is none.
    pub fn scrape(&self, now: Duration, info_hash: &InfoHash, mut see: impl FnMut(IpAddr, bool)) -> bool {
        let mut any = false;
        for slot in self.slots_of(info_hash, seconds(now)) {
            let peer = &self.pool[slot as usize];
            see(peer.endpoint.ip(), peer.seed);
            any = true;
        }
        any
    }

    /// Info-hashes to tell (BEP 51).
    pub fn sample(&mut self, now: Duration) -> Sample<'_> {
        let all = self.torrents.len();
        if all <= SAMPLES_MAX {
            self.sample.clear();
            self.sample.extend(self.torrents.iter().map(|torrent| torrent.info_hash));
            // Once there are more, the choice is made at the first question.
            self.sample_until = Duration::ZERO;
        } else if now >= self.sample_until {
            self.sample.clear();
            while self.sample.len() < SAMPLES_MAX {
                let pick = self.torrents[self.rng.random_range(0..all)].info_hash;
                if !self.sample.contains(&pick) {
                    self.sample.push(pick);
                }
            }
            self.sample_until = now + SAMPLE_INTERVAL;
        }
        Sample { hashes: &self.sample, num: all, interval: SAMPLE_INTERVAL }
    }

    /// Drops what has expired among the next `torrents` info-hashes. Expired peers are told to nobody anyway;
    /// this frees their places. To be called now and then.
    pub fn sweep(&mut self, now: Duration, torrents: usize) {
        let at = seconds(now);
        for _ in 0..torrents.min(self.torrents.len()) {
            if self.hand >= self.torrents.len() {
                self.hand = 0;
            }
            self.drop_expired(self.hand, at);
            if self.torrents[self.hand].peers == 0 {
                // Another takes its place, and is looked at next.
                self.remove_torrent(self.hand);
            } else {
                self.hand += 1;
            }
            if self.torrents.is_empty() {
                return;
            }
        }
    }

    /// Whether an info-hash is stored.
    pub fn contains(&self, info_hash: &InfoHash) -> bool {
        self.find(info_hash).is_some()
    }

    /// Info-hashes stored.
    pub fn len(&self) -> usize {
        self.torrents.len()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.torrents.is_empty()
    }

    /// Peers stored.
    pub fn peers(&self) -> usize {
        self.peers
    }

    /// What happened so far.
    pub fn counters(&self) -> PeerStoreCounters {
        self.counters
    }

    fn find(&self, info_hash: &InfoHash) -> Option<usize> {
        let hash = self.key.hash(info_hash.as_bytes());
        let slot = self.index.find(hash, |slot| self.torrents[slot as usize].info_hash == *info_hash)?;
        Some(slot as usize)
    }

    fn add_torrent(&mut self, info_hash: InfoHash, at: u32) -> usize {
        if self.torrents.len() >= self.torrents_max {
            self.displace_torrent();
        }
        let slot = self.torrents.len();
        self.torrents.push(Torrent { info_hash, first: NIL, peers: 0, announced_at: at });
        self.index.insert(self.key.hash(info_hash.as_bytes()), slot as u32);
        slot
    }

    /// Removes, of some chosen at random, the info-hash with the fewest peers, announced longest ago.
    fn displace_torrent(&mut self) {
        let all = self.torrents.len();
        let worth = |slot: &usize| (self.torrents[*slot].peers, self.torrents[*slot].announced_at);
        let mut least = self.rng.random_range(0..all);
        for _ in 1..DISPLACE_SEARCH {
            let other = self.rng.random_range(0..all);
            if worth(&other) < worth(&least) {
                least = other;
            }
        }
        self.counters.hashes_displaced += 1;
        self.remove_torrent(least);
    }

    fn remove_torrent(&mut self, torrent: usize) {
        while self.torrents[torrent].first != NIL {
            self.unlink(torrent, NIL, self.torrents[torrent].first);
        }
        let removed = self.torrents[torrent].info_hash;
        let (torrents, key) = (&self.torrents, &self.key);
        let hash_of = |slot: u32| key.hash(torrents[slot as usize].info_hash.as_bytes());
        self.index.remove(key.hash(removed.as_bytes()), torrent as u32, hash_of);
        let last = self.torrents.len() - 1;
        if torrent != last {
            let moved = self.torrents[last].info_hash;
            self.index.renumber(self.key.hash(moved.as_bytes()), last as u32, torrent as u32);
        }
        self.torrents.swap_remove(torrent);
    }

    fn add_peer(&mut self, torrent: usize, peer: Peer) -> Stored {
        let mut of_address = 0;
        let mut oldest: Option<u32> = None;
        let mut oldest_of_address: Option<u32> = None;
        let mut slot = self.torrents[torrent].first;
        while slot != NIL {
            let other = &mut self.pool[slot as usize];
            if other.endpoint == peer.endpoint {
                other.announced_at = peer.announced_at;
                other.seed = peer.seed;
                return Stored::Refreshed;
            }
            let (same, at, next) =
                (other.endpoint.ip() == peer.endpoint.ip(), other.announced_at, other.next);
            let older =
                |than: &Option<u32>| than.is_none_or(|than| at < self.pool[than as usize].announced_at);
            if older(&oldest) {
                oldest = Some(slot);
            }
            if same {
                of_address += 1;
                if older(&oldest_of_address) {
                    oldest_of_address = Some(slot);
                }
            }
            slot = next;
        }
        let gives_way = if of_address >= PEERS_PER_ADDRESS {
            oldest_of_address
        } else if self.torrents[torrent].peers as usize >= PEERS_PER_TORRENT_MAX
            || self.peers >= self.pool_max
        {
            oldest
        } else {
            let slot = self.vacant();
            self.pool[slot as usize] = Peer { next: self.torrents[torrent].first, ..peer };
            self.torrents[torrent].first = slot;
            self.torrents[torrent].peers += 1;
            self.peers += 1;
            return Stored::New;
        };
        let Some(slot) = gives_way else {
            self.counters.peers_refused += 1;
            return Stored::Refused;
        };
        let place = &mut self.pool[slot as usize];
        *place = Peer { next: place.next, ..peer };
        self.counters.peers_replaced += 1;
        Stored::Replaced
    }

    fn vacant(&mut self) -> u32 {
        if self.free == NIL {
            let endpoint = SocketAddr::from(([0, 0, 0, 0], 0)).into();
            self.pool.push(Peer { endpoint, seed: false, announced_at: 0, next: NIL });
            return self.pool.len() as u32 - 1;
        }
        let slot = self.free;
        self.free = self.pool[slot as usize].next;
        slot
    }

    fn drop_expired(&mut self, torrent: usize, at: u32) {
        let mut before = NIL;
        let mut slot = self.torrents[torrent].first;
        while slot != NIL {
            let Peer { announced_at, next, .. } = self.pool[slot as usize];
            if is_expired(announced_at, at) {
                self.unlink(torrent, before, slot);
                self.counters.peers_expired += 1;
            } else {
                before = slot;
            }
            slot = next;
        }
    }

    fn unlink(&mut self, torrent: usize, before: u32, slot: u32) {
        let next = std::mem::replace(&mut self.pool[slot as usize].next, self.free);
        if before == NIL {
            self.torrents[torrent].first = next;
        } else {
            self.pool[before as usize].next = next;
        }
        self.free = slot;
        self.torrents[torrent].peers -= 1;
        self.peers -= 1;
    }

    /// The peers of an info-hash that have not expired.
    fn slots_of(&self, info_hash: &InfoHash, at: u32) -> impl Iterator<Item = u32> + '_ {
        let first = self.find(info_hash).map_or(NIL, |torrent| self.torrents[torrent].first);
        let some = |slot: u32| (slot != NIL).then_some(slot);
        std::iter::successors(some(first), move |slot| some(self.pool[*slot as usize].next))
            .filter(move |slot| !is_expired(self.pool[*slot as usize].announced_at, at))
    }
}

fn is_expired(announced_at: u32, at: u32) -> bool {
    at.saturating_sub(announced_at) >= PEER_LIFETIME.as_secs() as u32
}

fn seconds(now: Duration) -> u32 {
    now.as_secs().min(u64::from(u32::MAX)) as u32
}

/// How long a peer is told to others. Clients announce every 15 to 30 minutes.
pub const PEER_LIFETIME: Duration = Duration::from_secs(45 * 60);

/// Peers of one info-hash: more than a datagram can carry, so that each answer tells others.
pub const PEERS_PER_TORRENT_MAX: usize = 128;

/// Peers in all, for each info-hash that can be stored. Most have one or two.
pub const PEERS_PER_TORRENT_MEAN: usize = 4;

/// Peers of one info-hash at one address: several clients behind one NAT, but not a flood.
pub const PEERS_PER_ADDRESS: usize = 8;

/// Info-hashes in a sample: 400 bytes, as libtorrent and mldht send.
pub const SAMPLES_MAX: usize = 20;

/// How long a sample stays the same: the pace at which polite indexers ask anyway.
pub const SAMPLE_INTERVAL: Duration = Duration::from_secs(300);

/// What a slot number can name.
const TORRENTS_MAX: usize = 1 << 24;

/// Info-hashes looked at for the one to displace.
const DISPLACE_SEARCH: usize = 8;

const NIL: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const START: Duration = Duration::from_secs(10);
    const ALL: Selection = Selection { v4: true, v6: true, noseed: false };

    fn store(torrents_max: usize) -> PeerStore {
        PeerStore::new(torrents_max, &[1; 32])
    }

    fn hash(n: u32) -> InfoHash {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        InfoHash::from_bytes(bytes)
    }

    fn peer(n: u32, port: u16) -> SocketAddr {
        SocketAddr::from((n.to_be_bytes(), port))
    }

    fn select(
        store: &mut PeerStore,
        now: Duration,
        n: u32,
        selection: Selection,
        max: usize,
    ) -> Vec<SocketAddr> {
        let mut out = Vec::new();
        store.select(now, &hash(n), selection, max, &mut out);
        out.sort_unstable();
        out
    }

    #[test]
    fn an_announced_peer_is_told_until_it_expires() {
        let mut store = store(10);
        assert_eq!(store.announce(START, hash(1), peer(1, 1), false), Stored::New);
        let half = PEER_LIFETIME / 2;
        assert_eq!(store.announce(START, hash(1), peer(2, 2), false), Stored::New);
        assert_eq!(store.announce(START + half, hash(1), peer(1, 1), false), Stored::Refreshed);
        assert_eq!(select(&mut store, START + half, 1, ALL, 9), [peer(1, 1), peer(2, 2)]);
        assert_eq!(select(&mut store, START + PEER_LIFETIME, 1, ALL, 9), [peer(1, 1)]);
        assert_eq!(select(&mut store, START + half + PEER_LIFETIME, 1, ALL, 9), []);
        assert_eq!(select(&mut store, START, 2, ALL, 9), []);
    }

    #[test]
    fn seeds_and_families_can_be_left_out() {
        let mut store = store(10);
        let six: SocketAddr = "[2001:db8::1]:6".parse().unwrap();
        store.announce(START, hash(1), peer(1, 1), true);
        store.announce(START, hash(1), peer(2, 2), false);
        store.announce(START, hash(1), six, false);
        assert_eq!(select(&mut store, START, 1, Selection { noseed: true, ..ALL }, 9), [peer(2, 2), six]);
        assert_eq!(select(&mut store, START, 1, Selection { v4: false, ..ALL }, 9), [six]);
        assert_eq!(select(&mut store, START, 1, Selection { v6: false, ..ALL }, 9), [peer(1, 1), peer(2, 2)]);
        let mut seen = Vec::new();
        assert!(store.scrape(START, &hash(1), |ip, seed| seen.push((ip, seed))));
        seen.sort_unstable();
        assert_eq!(seen, [(peer(1, 1).ip(), true), (peer(2, 2).ip(), false), (six.ip(), false)]);
        assert!(!store.scrape(START, &hash(2), |_, _| panic!("nothing to see")));
    }

    #[test]
    fn a_choice_of_many_is_random_and_without_repetition() {
        let mut store = store(100);
        (0..100).for_each(|n| assert_eq!(store.announce(START, hash(1), peer(n, 1), false), Stored::New));
        let mut told = BTreeMap::new();
        for _ in 0..400 {
            let some = select(&mut store, START, 1, ALL, 10);
            assert_eq!(some.len(), 10);
            assert!(some.windows(2).all(|pair| pair[0] != pair[1]));
            some.into_iter().for_each(|peer| *told.entry(peer).or_insert(0) += 1);
        }
        // 40 times each on average; five standard deviations are 30.
        assert_eq!(told.len(), 100);
        assert!(told.values().all(|times| (10..70).contains(times)), "{told:?}");
    }

    #[test]
    fn the_oldest_peer_of_a_full_torrent_gives_way() {
        let mut store = store(1_000);
        for n in 0..PEERS_PER_TORRENT_MAX as u32 {
            store.announce(START + Duration::from_secs(u64::from(n)), hash(1), peer(n, 1), false);
        }
        assert_eq!(store.announce(START * 20, hash(1), peer(999, 1), false), Stored::Replaced);
        let told = select(&mut store, START * 20, 1, ALL, 999);
        assert_eq!(told.len(), PEERS_PER_TORRENT_MAX);
        assert!(!told.contains(&peer(0, 1)) && told.contains(&peer(999, 1)));
    }

    #[test]
    fn one_address_cannot_fill_a_torrent() {
        let mut store = store(100);
        store.announce(START, hash(1), peer(7, 1), false);
        for port in 1..1_000 {
            store.announce(START, hash(1), peer(8, port), false);
        }
        assert_eq!(store.peers(), 1 + PEERS_PER_ADDRESS);
        assert!(select(&mut store, START, 1, ALL, 99).contains(&peer(7, 1)));
    }

    #[test]
    fn a_flood_of_hashes_keeps_its_bounds_and_leaves_the_popular() {
        let mut store = store(100);
        for torrent in 0..20 {
            (0..5).for_each(|n| {
                store.announce(START, hash(torrent), peer(n, 1), false);
            });
        }
        for n in 1_000..21_000 {
            store.announce(START, hash(n), peer(9, 1), false);
            assert!(store.len() <= 100 && store.peers() <= 400);
        }
        assert_eq!(store.len(), 100);
        assert_eq!(store.counters().hashes_displaced, 20_000 - 80);
        // A search of eight finds only popular ones with a chance of 0.2^8: about 0.05 of 20,000.
        let kept = (0..20).filter(|n| select(&mut store, START, *n, ALL, 9).len() == 5).count();
        assert!(kept >= 19, "{kept}");
    }

    #[test]
    fn a_full_pool_gives_up_a_hash_for_a_new_one_and_no_room_is_no_reason_to_panic() {
        let mut store = store(100);
        for torrent in 0..4 {
            for n in 0..100 {
                assert_eq!(store.announce(START, hash(torrent), peer(n, 1), false), Stored::New);
            }
        }
        assert_eq!(store.announce(START, hash(0), peer(500, 1), false), Stored::Replaced);
        assert_eq!(store.announce(START, hash(50), peer(1, 1), false), Stored::New);
        assert_eq!((store.len(), store.peers()), (4, 301));
        let mut none = PeerStore::new(0, &[1; 32]);
        assert_eq!(none.announce(START, hash(50), peer(1, 1), false), Stored::Refused);
        assert_eq!((none.sample(START).num, none.counters().peers_refused), (0, 1));
    }

    #[test]
    fn a_sample_is_all_there_is_or_twenty_that_stay_for_their_interval() {
        let mut store = store(1_000);
        assert_eq!(store.sample(START).hashes, []);
        (0..20).for_each(|n| {
            store.announce(START, hash(n), peer(1, 1), false);
        });
        assert_eq!(store.sample(START).hashes.len(), 20);
        (20..500).for_each(|n| {
            store.announce(START, hash(n), peer(1, 1), false);
        });
        let first = store.sample(START).hashes.to_vec();
        assert_eq!(first.len(), 20);
        assert!(first.iter().enumerate().all(|(at, hash)| !first[..at].contains(hash)));
        let within = START + SAMPLE_INTERVAL - Duration::from_secs(1);
        assert_eq!(store.sample(within), Sample { hashes: &first, num: 500, interval: SAMPLE_INTERVAL });
        assert_ne!(store.sample(START + SAMPLE_INTERVAL).hashes, first);
    }

    #[test]
    fn a_sweep_frees_what_has_expired() {
        let mut store = store(100);
        (0..50).for_each(|n| {
            store.announce(START * (1 + n % 2), hash(n), peer(n, 1), false);
        });
        store.sweep(START + PEER_LIFETIME, 20);
        assert_eq!(store.len(), 40);
        store.sweep(START + PEER_LIFETIME, 100);
        assert_eq!((store.len(), store.peers()), (25, 25));
        store.sweep(START * 2 + PEER_LIFETIME, 100);
        assert!(store.is_empty());
        assert_eq!(store.counters().peers_expired, 50);
        store.sweep(START, 100);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_map(
            steps in prop::collection::vec((0_u8..5, 0_u32..8, 0_u32..6, any::<bool>(), 0_u64..900), 0..200),
        ) {
            let mut store = store(100);
            let mut now = START;
            let mut model: BTreeMap<(u32, u32), (Duration, bool)> = BTreeMap::new();
            for (step, torrent, n, seed, pause) in steps {
                if step < 4 {
                    let stored = store.announce(now, hash(torrent), peer(n, 1), seed);
                    let there = model
                        .insert((torrent, n), (now, seed))
                        .is_some_and(|(at, _)| now - at < PEER_LIFETIME);
                    prop_assert_eq!(stored, if there { Stored::Refreshed } else { Stored::New });
                } else {
                    now += Duration::from_secs(pause);
                    store.sweep(now, n as usize);
                }
                for torrent in 0..8 {
                    let expected: Vec<SocketAddr> = model
                        .iter()
                        .filter(|((of, _), (at, seed))| *of == torrent && now - *at < PEER_LIFETIME && !seed)
                        .map(|((_, n), _)| peer(*n, 1))
                        .collect();
                    let told = select(&mut store, now, torrent, Selection { noseed: true, ..ALL }, 99);
                    prop_assert_eq!(told, expected);
                }
            }
            // Filling a gap from the end may hide one from a single round.
            (0..9).for_each(|_| store.sweep(now, 100));
            let live = model.values().filter(|(at, _)| now - *at < PEER_LIFETIME).count();
            prop_assert_eq!(store.peers(), live);
        }
    }
}
