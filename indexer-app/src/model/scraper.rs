//! Which torrents are scraped (BEP 33), and when.
//!
//! A torrent that was just stored is asked about at the nodes that are known to hold peers of it, one packet each: they
//! sampled its hash, or named its peers. What they tell is not whole. Torrents that are popular have the closest
//! nodes of the network asked, by a lookup of some twenty packets, once a day.
//!
//! All scrapes together may take a share of the packets, and a packet a second where few are sent: they find nothing new.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use krpc::InfoHash;
use mainline::{Busy, LookupId, LookupReport};

use super::recent::RecentHashes;
use crate::db::SwarmSize;

/// One packet in so many is for scrapes, on average since the start.
const SHARE: u64 = 20;

/// Packets that they may take a second beside their share, on average since the start: less than a hundredth of any budget, so that
/// sizes become known too when there is little else to do.
const PER_SECOND: u64 = 1;

/// Nodes asked about a torrent that was just stored: from three on, those that lie can be told.
const NODES_MAX: usize = 3;

/// Torrents on their way into the database whose nodes are kept: as many as may wait there.
const STORING_MAX: usize = 10_000;

/// Stored torrents that wait to be scraped. When torrents come faster than their share of the packets allows, the oldest
/// ones go without: their peers may have gone meanwhile.
const NEAR_MAX: usize = 2_000;

/// Popular torrents that wait to be scraped.
const POPULAR_MAX: usize = 200;

/// Scrapes at a time: each waits for the budgets of its nodes.
const IN_FLIGHT_MAX: usize = 16;

/// A popular torrent has its turn after so many that were just stored: a whole scrape takes about as many packets.
const NEAR_PER_WHOLE: u32 = 12;

/// Popular torrents remembered as tried, so that one that nobody knows is not tried again and again.
const TRIED_MAX: usize = 10_000;

/// The scrapes that wait and those in flight.
#[derive(Debug)]
pub(super) struct Scraper {
    /// By the key that they are stored under: the hash that they were fetched by, and the nodes that know it.
    storing: HashMap<InfoHash, (InfoHash, Vec<SocketAddr>)>,
    near: VecDeque<(InfoHash, Vec<SocketAddr>)>,
    popular: VecDeque<InfoHash>,
    tried: RecentHashes,
    in_flight: BTreeSet<LookupId>,
    turn: u32,
    given_up: u64,
}

impl Default for Scraper {
    fn default() -> Self {
        Self {
            storing: HashMap::new(),
            near: VecDeque::new(),
            popular: VecDeque::new(),
            tried: RecentHashes::new(TRIED_MAX),
            in_flight: BTreeSet::new(),
            turn: 0,
            given_up: 0,
        }
    }
}

impl Scraper {
    /// A torrent was fetched by `hash` and is being stored under `key`; `nodes` hold peers of it.
    pub(super) fn fetched(&mut self, key: InfoHash, hash: InfoHash, nodes: Vec<SocketAddr>) {
        if nodes.is_empty() {
            return;
        }
        if self.storing.len() >= STORING_MAX {
            self.given_up += 1;
            return;
        }
        self.storing.insert(key, (hash, nodes));
    }

    /// The database has answered for torrents; of these it knows now. All others it has had before, or has refused.
    pub(super) fn stored(&mut self, keys: &[InfoHash], others: impl Iterator<Item = InfoHash>) {
        for other in others {
            self.storing.remove(&other);
        }
        for key in keys {
            let Some((hash, mut nodes)) = self.storing.remove(key) else { continue };
            nodes.truncate(NODES_MAX);
            if self.near.len() >= NEAR_MAX {
                self.near.pop_front();
                self.given_up += 1;
            }
            self.near.push_back((hash, nodes));
        }
    }

    /// Whether popular torrents should be looked for.
    pub(super) fn wants_popular(&self) -> bool {
        self.popular.is_empty()
    }

    /// Popular torrents whose last scrape was long ago.
    pub(super) fn popular(&mut self, hashes: impl IntoIterator<Item = InfoHash>) {
        for hash in hashes {
            if self.popular.len() < POPULAR_MAX && self.tried.insert(hash) {
                self.popular.push_back(hash);
            }
        }
    }

    /// Starts what waits, as long as scrapes have taken no more packets than they may. `packets` tells how many were sent
    /// for scrapes, and how many in all.
    pub(super) fn start(
        &mut self,
        now: Duration,
        packets: (u64, u64),
        mut scrape: impl FnMut(InfoHash, &[SocketAddr], bool) -> Result<LookupId, Busy>,
    ) {
        let (mut sent, all) = packets;
        let allowed = all / SHARE + now.as_secs() * PER_SECOND;
        while self.in_flight.len() < IN_FLIGHT_MAX && sent <= allowed {
            let whole_turn = self.turn >= NEAR_PER_WHOLE || self.near.is_empty();
            let started = match (whole_turn, self.popular.front()) {
                (true, Some(hash)) => {
                    let Ok(lookup) = scrape(*hash, &[], true) else { return };
                    self.popular.pop_front();
                    self.turn = 0;
                    sent += u64::from(NEAR_PER_WHOLE);
                    lookup
                }
                _ => {
                    let Some((hash, nodes)) = self.near.front() else { return };
                    let Ok(lookup) = scrape(*hash, nodes, false) else { return };
                    sent += nodes.len() as u64;
                    self.near.pop_front();
                    self.turn += 1;
                    lookup
                }
            };
            self.in_flight.insert(started);
        }
    }

    /// A lookup has ended. What it says of the size of a swarm, if anything; one of ours is not in flight any more.
    pub(super) fn ended(&mut self, report: &LookupReport) -> Option<SwarmSize> {
        self.in_flight.remove(&report.lookup);
        let scrape = report.scrape?;
        Some(SwarmSize {
            whole: scrape.whole,
            nodes: scrape.nodes,
            seeders: scrape.seeds,
            leechers: scrape.downloaders,
        })
    }

    /// Nothing more is to be started. The lookups that are not wanted any more.
    pub(super) fn abort(&mut self) -> BTreeSet<LookupId> {
        self.near.clear();
        self.popular.clear();
        self.storing.clear();
        std::mem::take(&mut self.in_flight)
    }

    /// Torrents that were not scraped when they were stored, since too many were.
    pub(super) fn given_up(&self) -> u64 {
        self.given_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainline::{Config, Dht, Output, Port, PortIndex, VirtualNodeConfig, spread_ids};

    fn hash(n: u16) -> InfoHash {
        let mut bytes = [0; 20];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        InfoHash::from_bytes(bytes)
    }

    fn node(n: u16) -> SocketAddr {
        SocketAddr::from(([64, 1, 1, 1], n))
    }

    /// What was started: the hash, how many nodes, whether whole. Names of lookups come from an engine.
    fn start(scraper: &mut Scraper, dht: &mut Dht, packets: (u64, u64)) -> Vec<(InfoHash, usize, bool)> {
        let mut started = Vec::new();
        scraper.start(Duration::ZERO, packets, |hash, nodes, whole| {
            started.push((hash, nodes.len(), whole));
            dht.scrape(Duration::ZERO, hash, &[], true, &mut Output::new())
        });
        started
    }

    fn engine() -> Dht {
        let nodes = spread_ids(1, [1; 32]).map(|id| VirtualNodeConfig { id, port: PortIndex(0) }).collect();
        let config = Config::new([1; 32], vec![Port { local: "0.0.0.0:6881".parse().unwrap() }], nodes);
        Dht::new(&config, Duration::ZERO).unwrap()
    }

    #[test]
    fn what_was_stored_is_asked_about_at_the_nodes_that_know_it() {
        let (mut scraper, mut dht) = (Scraper::default(), engine());
        scraper.fetched(hash(1), hash(101), (0..9).map(node).collect());
        scraper.fetched(hash(2), hash(2), vec![node(1)]);
        scraper.fetched(hash(3), hash(3), vec![node(1)]);
        scraper.fetched(hash(4), hash(4), Vec::new());
        assert_eq!(start(&mut scraper, &mut dht, (0, 1_000)), [], "not before they are stored");
        scraper.stored(&[hash(1), hash(2), hash(4)], [hash(3)].into_iter());
        assert_eq!(start(&mut scraper, &mut dht, (0, 1_000)), [(hash(101), 3, false), (hash(2), 1, false)]);
        assert_eq!(start(&mut scraper, &mut dht, (0, 1_000)), []);
        assert!(scraper.storing.is_empty());
    }

    #[test]
    fn scrapes_keep_to_their_share_of_the_packets() {
        let (mut scraper, mut dht) = (Scraper::default(), engine());
        for n in 0..10 {
            scraper.fetched(hash(n), hash(n), vec![node(1), node(2)]);
            scraper.stored(&[hash(n)], std::iter::empty());
        }
        assert_eq!(start(&mut scraper, &mut dht, (51, 1_000)).len(), 0);
        assert_eq!(start(&mut scraper, &mut dht, (50, 1_000)).len(), 1);
        assert_eq!(start(&mut scraper, &mut dht, (50, 1_080)).len(), 3);
        let mut later = 0;
        scraper.start(Duration::from_secs(10), (61, 1_000), |_, _, _| Err(Busy));
        scraper.start(Duration::from_secs(10), (59, 1_000), |_, _, _| {
            later += 1;
            Err(Busy)
        });
        assert_eq!(later, 1, "ten seconds are ten packets more");
        assert_eq!(start(&mut scraper, &mut dht, (0, 1_000_000)).len(), 6);
    }

    #[test]
    fn popular_torrents_have_their_turn_and_are_tried_once() {
        let (mut scraper, mut dht) = (Scraper::default(), engine());
        assert!(scraper.wants_popular());
        scraper.popular([hash(1), hash(2), hash(1)]);
        assert!(!scraper.wants_popular());
        for n in 100..200 {
            scraper.fetched(hash(n), hash(n), vec![node(1)]);
            scraper.stored(&[hash(n)], std::iter::empty());
        }
        let first = start(&mut scraper, &mut dht, (0, 1_000_000));
        assert_eq!(first.len(), IN_FLIGHT_MAX);
        let wholes: Vec<_> = first.iter().filter(|(_, _, whole)| *whole).collect();
        assert_eq!(wholes, [&(hash(1), 0, true)]);
        scraper.popular([hash(1), hash(2)]);
        assert_eq!(scraper.popular, [hash(2)]);
        let lookups = scraper.abort();
        assert_eq!(lookups.len(), IN_FLIGHT_MAX);
        assert_eq!(start(&mut scraper, &mut dht, (0, 1_000_000)), []);
    }

    #[test]
    fn when_too_many_are_stored_the_oldest_go_without() {
        let mut scraper = Scraper::default();
        for n in 0..NEAR_MAX as u16 + 5 {
            scraper.fetched(hash(n), hash(n), vec![node(1)]);
            scraper.stored(&[hash(n)], std::iter::empty());
        }
        assert_eq!((scraper.near.len(), scraper.given_up()), (NEAR_MAX, 5));
        assert_eq!(scraper.near[0].0, hash(5));
    }
}
