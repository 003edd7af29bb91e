//! Everything about a swarm that does not change while it runs: nodes, what they store, torrents, seeders.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::ControlFlow;
use std::sync::OnceLock;

use bittorrent::mse::torrent_key;
use krpc::{ClientVersion, InfoHash, NodeId};

use crate::acquaintances::{self, BUCKET};
use crate::address;
use crate::chance::{Topic, draw, draw_bytes, draw_share};
use crate::config::{Hostile, SwarmConfig};
use crate::keyspace::Keyspace;
use crate::torrent;

/// Nodes that hold the announces of a torrent, as many as an announcing client reaches.
const REPLICAS: usize = BUCKET;
/// Most seeders of a torrent.
const SEEDERS_MAX: u64 = 3;

/// How a node answers sample_infohashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sampling {
    Supported,
    Silent,
    MethodUnknown,
}

/// How a seeder treats who connects to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conduct {
    Prompt,
    OneAtATime,
    Ticking,
    Slow,
    Hostile(Hostile),
}

/// How a seeder is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Open,
    UtpOnly,
    EncryptedOnly,
    Refusing,
    Silent,
}

/// The ports of seeders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerPorts {
    pub(crate) open: u16,
    pub(crate) refusing: u16,
    pub(crate) silent: u16,
}

/// The unchanging part of a swarm.
#[derive(Debug)]
pub(crate) struct Population {
    pub(crate) config: SwarmConfig,
    /// Live nodes, numbers below `config.nodes`, and dead ones, the numbers above.
    space: Keyspace,
    /// Keys of all torrents, sorted, with the torrent's number.
    keys: Vec<(InfoHash, u32)>,
    /// For each live node where its part of `stored` begins, and one more.
    stored_from: Vec<u32>,
    /// Positions in `keys`, grouped by the node that stores them.
    stored: Vec<u32>,
    /// What encrypted connections name torrents by, once somebody has asked.
    torrent_keys: OnceLock<HashMap<[u8; 20], InfoHash>>,
}

impl Population {
    /// Makes all ids and info dicts, keeping of the latter only the hashes.
    pub(crate) fn new(config: SwarmConfig) -> Self {
        let total = config.population() as u32;
        let space = Keyspace::new((0..total).map(|node| (id_of(config.seed, node), node)));
        let mut keys: Vec<_> = (0..config.torrents as u32)
            .flat_map(|index| torrent::generate(config.seed, index).0.dht_keys().map(move |key| (key, index)))
            .collect();
        keys.sort_unstable();

        let holders = |key: &InfoHash| {
            let mut holders = Vec::with_capacity(REPLICAS);
            space.visit_nearest(&key.as_id(), |_, node| {
                if (node as usize) < config.nodes {
                    holders.push(node);
                }
                if holders.len() == REPLICAS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            holders
        };
        let mut pairs: Vec<(u32, u32)> = Vec::with_capacity(keys.len() * REPLICAS);
        for (position, (key, _)) in keys.iter().enumerate() {
            pairs.extend(holders(key).into_iter().map(|node| (node, position as u32)));
        }
        pairs.sort_unstable();
        let mut stored_from = Vec::with_capacity(config.nodes + 1);
        let mut at = 0;
        for node in 0..=config.nodes as u32 {
            at += pairs[at..].partition_point(|(holder, _)| *holder < node);
            stored_from.push(at as u32);
        }
        let stored = pairs.into_iter().map(|(_, position)| position).collect();
        Self { config, space, keys, stored_from, stored, torrent_keys: OnceLock::new() }
    }

    /// Whether `node` is one that answers.
    pub(crate) fn is_live(&self, node: u32) -> bool {
        (node as usize) < self.config.nodes
    }

    pub(crate) fn node_id(&self, node: u32) -> NodeId {
        id_of(self.config.seed, node)
    }

    /// The client that a node says it is: one that treats BEP 51 as this node does.
    pub(crate) fn client(&self, node: u32) -> Option<ClientVersion> {
        let lot = draw(self.config.seed, Topic::NodeClient, u64::from(node), 0) % 100;
        let version = match (self.sampling(node), lot) {
            (Sampling::Supported, 0..60) => *b"LT\x02\x00",
            (Sampling::Supported, 60..85) => *b"LT\x01\x2f",
            (Sampling::Supported, 85..95) => *b"ML\x0d\x0a",
            (Sampling::Silent, 0..50) => *b"UT\xb5\x12",
            (Sampling::Silent, 50..80) => *b"TR\x00\x5c",
            (Sampling::MethodUnknown, _) => *b"lt\x0d\x80",
            (Sampling::Supported | Sampling::Silent, _) => return None,
        };
        Some(ClientVersion::from_bytes(version))
    }

    pub(crate) fn sampling(&self, node: u32) -> Sampling {
        let without = self.config.without_sampling_share;
        let lot = draw_share(self.config.seed, Topic::NodeSampling, u64::from(node), 0);
        if lot >= without {
            Sampling::Supported
        } else if lot < without / 2.0 {
            Sampling::Silent
        } else {
            Sampling::MethodUnknown
        }
    }

    /// The contacts that `node` knows nearest to `target`.
    pub(crate) fn nearest_known(&self, node: u32, target: &NodeId, out: &mut Vec<(NodeId, u32)>) {
        acquaintances::nearest_known(&self.space, self.config.seed, &self.node_id(node), target, out);
    }

    /// Positions of the keys that `node` stores.
    pub(crate) fn stored_by(&self, node: u32) -> &[u32] {
        let from = self.stored_from[node as usize] as usize;
        let to = self.stored_from[node as usize + 1] as usize;
        &self.stored[from..to]
    }

    /// The key at a position.
    pub(crate) fn key(&self, position: u32) -> InfoHash {
        self.keys[position as usize].0
    }

    /// Position of a key, if some torrent has it.
    pub(crate) fn position(&self, key: &InfoHash) -> Option<u32> {
        self.keys.binary_search_by(|(known, _)| known.cmp(key)).ok().map(|position| position as u32)
    }

    /// The torrent whose key is at a position.
    pub(crate) fn torrent_at(&self, position: u32) -> u32 {
        self.keys[position as usize].1
    }

    /// The torrent that has this key.
    pub(crate) fn torrent_with(&self, key: &InfoHash) -> Option<u32> {
        self.position(key).map(|position| self.torrent_at(position))
    }

    /// Numbers of the 1 to 3 seeders of a torrent, all different.
    pub(crate) fn seeders(&self, torrent: u32) -> impl Iterator<Item = u32> + use<> {
        let (seed, peers, honest) = (self.config.seed, self.peers(), self.honest_peers());
        let count = 1 + draw(seed, Topic::SeederOf, u64::from(torrent), SEEDERS_MAX) % SEEDERS_MAX;
        let mut chosen = [u32::MAX; SEEDERS_MAX as usize];
        for place in 0..count {
            let among = if place == 0 && self.config.one_honest_seeder { honest } else { peers };
            let mut peer = (draw(seed, Topic::SeederOf, u64::from(torrent), place) % u64::from(among)) as u32;
            if place == 0 && self.config.one_honest_seeder {
                // The next one who is there.
                let others = (0..among).map(|further| (peer + further) % among);
                peer = others.into_iter().find(|other| self.door(*other).is_there()).unwrap_or(peer);
            }
            if !chosen.contains(&peer) {
                chosen[place as usize] = peer;
            }
        }
        chosen.into_iter().filter(|peer| *peer != u32::MAX)
    }

    /// Addresses of the seeders of a torrent, at their common port.
    pub(crate) fn seeder_endpoints(
        &self,
        torrent: u32,
        ports: PeerPorts,
    ) -> impl Iterator<Item = SocketAddrV4> + use<'_> {
        self.seeders(torrent).map(move |peer| {
            let port = match self.door(peer) {
                Door::Refusing => ports.refusing,
                Door::Silent => ports.silent,
                Door::Open | Door::UtpOnly | Door::EncryptedOnly => ports.open,
            };
            SocketAddrV4::new(address::of_peer(peer), port)
        })
    }

    /// How seeder `peer` is reached.
    pub(crate) fn door(&self, peer: u32) -> Door {
        let doors = &self.config.doors;
        let lot = draw_share(self.config.seed, Topic::SeederDoor, u64::from(peer), 0);
        if lot < doors.dead {
            if peer.is_multiple_of(2) { Door::Refusing } else { Door::Silent }
        } else if lot < doors.dead + doors.utp_only {
            Door::UtpOnly
        } else if lot < doors.dead + doors.utp_only + doors.encrypted_only {
            Door::EncryptedOnly
        } else {
            Door::Open
        }
    }

    /// Seeders that take uTP.
    pub(crate) fn utp_peers(&self) -> impl Iterator<Item = u32> {
        (0..self.peers()).filter(|peer| self.door(*peer) == Door::UtpOnly)
    }

    /// The hash whose [`torrent_key`] this is.
    pub(crate) fn hash_of_torrent_key(&self, key: &[u8; 20]) -> Option<InfoHash> {
        let keys = self
            .torrent_keys
            .get_or_init(|| self.keys.iter().map(|(hash, _)| (torrent_key(hash), *hash)).collect());
        keys.get(key).copied()
    }

    /// The seeder at `address`; none if nobody lives there.
    pub(crate) fn peer_at(&self, address: Ipv4Addr) -> Option<u32> {
        address::peer_at(address).filter(|peer| *peer < self.peers())
    }

    /// What seeder `peer` is like.
    pub(crate) fn conduct(&self, peer: u32) -> Conduct {
        let honest = self.honest_peers();
        if peer >= honest {
            // The hostile ones, in the order of their kinds.
            let among = f64::from(self.peers() - honest);
            let mut place = f64::from(peer - honest) / among * self.config.hostility.total();
            for (share, kind) in self.config.hostility.shares() {
                if place < share {
                    return Conduct::Hostile(kind);
                }
                place -= share;
            }
        }
        let habits = &self.config.habits;
        let lot = draw_share(self.config.seed, Topic::SeederHabit, u64::from(peer), 0);
        if lot < habits.one_at_a_time {
            Conduct::OneAtATime
        } else if lot < habits.one_at_a_time + habits.ticking {
            Conduct::Ticking
        } else if lot < habits.one_at_a_time + habits.ticking + habits.slow {
            Conduct::Slow
        } else {
            Conduct::Prompt
        }
    }

    /// Seeders in all: as many as torrents, so that each seeds two of them on average.
    fn peers(&self) -> u32 {
        self.config.torrents.max(1) as u32
    }

    /// The seeders with the numbers below this are honest.
    fn honest_peers(&self) -> u32 {
        let peers = f64::from(self.peers());
        let honest = (peers * (1.0 - self.config.hostility.total())).round();
        let least = if self.config.one_honest_seeder { (peers / 10.0).ceil().max(1.0) } else { 0.0 };
        honest.max(least) as u32
    }
}

impl Door {
    fn is_there(self) -> bool {
        matches!(self, Self::Open | Self::UtpOnly | Self::EncryptedOnly)
    }
}

fn id_of(seed: u64, node: u32) -> NodeId {
    let mut id = [0; 20];
    id.copy_from_slice(&draw_bytes(seed, Topic::NodeId, u64::from(node), 0, 20));
    NodeId::from_bytes(id)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::config::Hostility;

    fn population(config: SwarmConfig) -> Population {
        config.check().unwrap();
        Population::new(config)
    }

    #[test]
    fn every_key_is_stored_by_the_eight_live_nodes_nearest_to_it() {
        let population = population(SwarmConfig { nodes: 200, torrents: 60, ..SwarmConfig::default() });
        let mut holders: HashMap<InfoHash, Vec<u32>> = HashMap::new();
        for node in 0..200 {
            for position in population.stored_by(node) {
                holders.entry(population.key(*position)).or_default().push(node);
            }
        }
        assert_eq!(holders.len(), population.keys.len());
        for (key, nodes) in &mut holders {
            let mut truth: Vec<_> = (0..200).collect();
            truth.sort_by_key(|node| population.node_id(*node).distance(&key.as_id()));
            truth.truncate(8);
            truth.sort_unstable();
            assert_eq!(*nodes, truth);
        }
    }

    #[test]
    fn a_share_of_all_contacts_is_dead() {
        let population = population(SwarmConfig { nodes: 700, torrents: 0, ..SwarmConfig::default() });
        let (mut live, mut dead) = (0, 0);
        for node in 0..700 {
            let mut known = Vec::new();
            population.nearest_known(node, &population.node_id(node ^ 1), &mut known);
            let alive = known.iter().filter(|(_, contact)| population.is_live(*contact)).count();
            live += alive;
            dead += known.len() - alive;
        }
        let share = f64::from(dead as u32) / f64::from((live + dead) as u32);
        assert!((0.25..0.35).contains(&share), "{share}");
    }

    #[test]
    fn the_share_without_sampling_is_kept_and_halved_between_silence_and_error() {
        let population = population(SwarmConfig { nodes: 2_000, torrents: 0, ..SwarmConfig::default() });
        let count = |kind| (0..2_000).filter(|node| population.sampling(*node) == kind).count();
        assert!((160..240).contains(&count(Sampling::Silent)));
        assert!((160..240).contains(&count(Sampling::MethodUnknown)));
        assert!((0..2_000).all(|node| population.sampling(node) != Sampling::MethodUnknown
            || population.client(node) == Some(ClientVersion::from_bytes(*b"lt\x0d\x80"))));
    }

    #[test]
    fn hostile_kinds_come_in_their_shares_and_the_first_seeder_stays_honest() {
        let config = SwarmConfig {
            nodes: 10,
            torrents: 1_000,
            hostility: Hostility { silent: 0.2, slow: 0.3, ..Hostility::default() },
            ..SwarmConfig::default()
        };
        let population = population(config);
        let count =
            |kind| (0..1_000).filter(|peer| population.conduct(*peer) == Conduct::Hostile(kind)).count();
        assert_eq!((count(Hostile::Silent), count(Hostile::Slow), count(Hostile::Reset)), (200, 300, 0));
        let mut hostile_met = 0;
        for torrent in 0..1_000 {
            let conducts: Vec<_> = population.seeders(torrent).map(|peer| population.conduct(peer)).collect();
            assert!((1..=3).contains(&conducts.len()));
            assert!(!matches!(conducts[0], Conduct::Hostile(_)));
            hostile_met += usize::from(conducts.iter().any(|c| matches!(c, Conduct::Hostile(_))));
        }
        assert!(hostile_met > 300, "only {hostile_met} torrents have a hostile seeder");
    }

    #[test]
    fn without_the_promise_of_an_honest_seeder_all_may_be_hostile() {
        let config = SwarmConfig {
            nodes: 10,
            torrents: 100,
            hostility: Hostility { reset: 1.0, ..Hostility::default() },
            one_honest_seeder: false,
            ..SwarmConfig::default()
        };
        let population = population(config);
        assert!((0..100).all(|peer| population.conduct(peer) == Conduct::Hostile(Hostile::Reset)));
    }
}
