//! Torrents: where they are announced, again and again, and new ones.

use std::net::SocketAddr;
use std::time::Duration;

use krpc::InfoHash;
use rand::RngExt;

use super::chances::{popularity, waiting_time};
use super::schedule::Happening;
use super::tables::BUCKET;
use super::world::{Family, World};

/// A torrent of the world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Torrent {
    /// Its peers, sorted.
    pub peers: Vec<SocketAddr>,
    /// Users of it that announce.
    pub users: u32,
    /// Since when a node that shows it to everybody has stored it.
    pub offered: Option<Duration>,
}

impl World {
    /// Has torrents announced for good to the eight nodes nearest to each that support BEP 51.
    pub fn announce_torrents(&mut self, count: usize) {
        for _ in 0..count {
            let info_hash = InfoHash::random(&mut self.rng);
            self.add_torrent(info_hash, 1);
            for family in Family::BOTH {
                let nearest = self.nearest_alive(family, &info_hash.as_id(), BUCKET, |node| {
                    node.is_up() && node.nature.samples()
                });
                for node in nearest {
                    self.announce_at(node, info_hash, u32::MAX);
                }
            }
        }
    }

    /// Has a torrent with these peers announced for good at one node.
    pub fn announce(&mut self, index: usize, info_hash: InfoHash, peers: Vec<SocketAddr>) {
        self.truth.insert(info_hash, Torrent { peers, users: 1, offered: None });
        self.announce_at(index as u32, info_hash, u32::MAX);
    }

    /// A torrent comes into the world, and is announced as long as the world stands when it has such traffic.
    pub(super) fn bear_torrent(&mut self) {
        let info_hash = InfoHash::random(&mut self.rng);
        let users = popularity(&mut self.rng);
        self.add_torrent(info_hash, users);
        self.announce_now(info_hash);
        self.plan_announce(info_hash);
    }

    pub(super) fn plan_birth(&mut self) {
        let Some(traffic) = self.traffic.filter(|traffic| traffic.births_per_hour > 0.0) else { return };
        let pause = waiting_time(Duration::from_secs(3_600).div_f64(traffic.births_per_hour), &mut self.rng);
        self.schedule.plan(self.now + pause, Happening::Birth);
    }

    /// One user announces a torrent: in each family at the eight nodes nearest to it that it finds.
    pub(super) fn announce_now(&mut self, info_hash: InfoHash) {
        let kept = self.traffic.map(|traffic| self.now + traffic.kept_for);
        let until = kept.map_or(u32::MAX, |kept| kept.as_secs() as u32);
        for family in Family::BOTH {
            let mut found = self
                .nearest_alive(family, &info_hash.as_id(), BUCKET + 4, |node| node.is_up() && !node.nated);
            // Nobody's search is complete.
            found.retain(|_| self.rng.random_bool(FOUND));
            found.truncate(BUCKET);
            for node in &found {
                self.announce_at(*node, info_hash, until);
            }
            self.pass_by(family, info_hash, &found);
        }
    }

    pub(super) fn plan_announce(&mut self, info_hash: InfoHash) {
        let (Some(traffic), Some(torrent)) = (self.traffic, self.truth.get(&info_hash)) else { return };
        let users = torrent.users.clamp(1, traffic.users_max.max(1));
        // One user announces by the clock, several come at any time.
        let pause = traffic.announce_every / users;
        let pause = if users == 1 { pause } else { waiting_time(pause, &mut self.rng).min(pause * 4) };
        self.schedule.plan(self.now + pause, Happening::Announce(info_hash));
    }

    fn add_torrent(&mut self, info_hash: InfoHash, users: u32) {
        let [_, _, a, b] = (self.truth.len() as u32).to_be_bytes();
        let peers = (0..3).map(|peer| SocketAddr::from(([60 + peer, a, b, 9], 51_413))).collect();
        self.truth.insert(info_hash, Torrent { peers, users, offered: None });
    }

    fn announce_at(&mut self, index: u32, info_hash: InfoHash, until: u32) {
        let now = self.now;
        let node = &mut self.nodes[index as usize];
        if !node.nature.answers() {
            return;
        }
        if node.store.len() >= STORED_MAX {
            node.store.expire(now);
        }
        if node.store.len() < STORED_MAX {
            node.store.put(info_hash, until);
            if node.is_sampling()
                && let Some(torrent) = self.truth.get_mut(&info_hash)
            {
                torrent.offered.get_or_insert(now);
            }
        }
    }
}

/// Share of the nearest nodes that a search finds.
const FOUND: f64 = 0.85;

/// `dht_max_torrents` of libtorrent.
const STORED_MAX: usize = 2_000;
