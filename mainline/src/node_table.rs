//! Every node that we have been told of and believe in, reached or not.
//!
//! Unlike the routing tables, which keep the few contacts that a virtual node needs, this is the map of
//! the network: what each node is, how fresh our knowledge is, and whether it can be sampled. The
//! sampler walks it; lookups start from it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::net::SocketAddr;
use std::time::Duration;

use krpc::{ClientVersion, Distance, NodeId};

use crate::address::{IpKey, endpoint_bytes};
use crate::endpoint::{Endpoint, Network, Subnet};
use crate::event::Support;
use crate::keyed_hash::HashKey;
use crate::odds::Silence;
use crate::set_cache::SetCache;
use crate::virtual_node::Family;

/// Names a node of the table; stale once the node is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeRef {
    index: u32,
    generation: u32,
}

/// What is known of a node.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// The id it answered with, or the one we were told.
    pub(crate) id: NodeId,
    pub(crate) endpoint: Endpoint,
    pub(crate) told_by: Option<NodeRef>,
    /// 0 until it answers for the first time.
    pub(crate) freshness: u32,
    /// Visits in a row without an answer.
    pub(crate) missed: u8,
    /// Its last visit, or another query since, was answered.
    pub(crate) live: bool,
    /// A visit of it has ended since the start.
    pub(crate) visited: bool,
    /// Its visit, while one is in flight.
    pub(crate) visit: Option<u32>,
    pub(crate) support: Support,
    /// Samplings in a row that were not answered while other queries were.
    pub(crate) sample_misses: u8,
    pub(crate) version: Option<ClientVersion>,
    pub(crate) num: Option<u32>,
    pub(crate) interval: Option<u32>,
    /// Samples received from it since `num` became what it is: how much of it is known.
    pub(crate) sampled: u32,
    /// Samplings in a row of which nothing new could be expected.
    pub(crate) quiet: u8,
    /// What it has not answered since it was last heard.
    pub(crate) silence: Silence,
    /// Others by whom we know it, `told_by` included.
    pub(crate) named: u8,
    /// It has sent us a query, or somebody in its name.
    pub(crate) called: bool,
    /// Not to be sampled before.
    pub(crate) sample_due: Duration,
}

impl Node {
    pub(crate) fn addr(&self) -> SocketAddr {
        self.endpoint.addr()
    }

    /// How many info-hashes that we have not got from it a sampling might bring: of `num`, those not met yet in
    /// `sampled` random draws.
    pub(crate) fn expected_news(&self) -> f64 {
        let num = f64::from(self.num.unwrap_or(0));
        if num == 0.0 { 0.0 } else { num * (-f64::from(self.sampled) / num).exp() }
    }
}

/// What became of a node that was to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Added {
    New(NodeRef),
    /// It was there, maybe under another id.
    Known(NodeRef),
    /// The table, or the share of its party, of its network or of its slice of the keyspace, is full.
    Refused,
}

#[derive(Debug)]
pub(crate) struct NodeTable {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_endpoint: HashMap<Endpoint, u32>,
    /// A party is an IPv4 address or an IPv6 /64: its owner has all the addresses in it.
    per_party: HashMap<IpKey, u16>,
    per_party_max: u16,
    /// Of the party that owns many addresses at once.
    per_network: HashMap<Network, u16>,
    per_network_max: u16,
    nodes_max: usize,
    /// Ids are what others say they are: without it a liar could put the whole table into one slice, which is walked.
    per_slice_max: usize,
    /// Nodes by the first bits of their id, so that the closest to a target are found without a search
    /// through all: the slices in order of `prefix ^ i` are in order of distance. Each family is a network of its own.
    slices: [Vec<Vec<u32>>; 2],
    /// Until when nodes are not to be sampled that were removed meanwhile, in seconds: they may come back.
    sampled: SetCache<u32>,
    key: HashKey,
    tally: Tally,
    /// Whether subnets tell parties apart, as they do not on loopback.
    pub(crate) diverse: bool,
}

/// Live nodes, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) live: usize,
    pub(crate) live_v4: usize,
    pub(crate) live_v6: usize,
    pub(crate) sampling: usize,
    pub(crate) not_sampling: usize,
    /// Nodes, live or not, of which no visit has ended.
    pub(crate) unvisited: usize,
    /// Nodes that have never answered: mere hearsay.
    pub(crate) unverified: usize,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    node: Option<Node>,
}

impl NodeTable {
    /// A table for at most `nodes_max` nodes, of which `per_party_max` may share a party (an IPv4 address, an IPv6 /64), and
    /// [`PARTIES_PER_NETWORK`] times as many a network (a /24, a /48).
    pub(crate) fn new(nodes_max: usize, per_party_max: u16, key: HashKey) -> NodeTable {
        NodeTable {
            slots: Vec::new(),
            free: Vec::new(),
            by_endpoint: HashMap::new(),
            per_party: HashMap::new(),
            per_party_max,
            per_network: HashMap::new(),
            per_network_max: per_party_max.saturating_mul(PARTIES_PER_NETWORK),
            nodes_max: nodes_max.min(u32::MAX as usize),
            per_slice_max: (nodes_max / SLICES * SLICE_EXCESS).max(SLICE_NODES_MIN),
            slices: [vec![Vec::new(); SLICES], vec![Vec::new(); SLICES]],
            sampled: SetCache::new(nodes_max.min(REMOVED_MAX)),
            key,
            tally: Tally::default(),
            diverse: false,
        }
    }

    /// Adds a node that was never visited. `told_by` says by whom we know it.
    pub(crate) fn add(&mut self, id: NodeId, addr: SocketAddr, told_by: Option<NodeRef>) -> Added {
        let endpoint = Endpoint::from(addr);
        if let Some(index) = self.by_endpoint.get(&endpoint) {
            return Added::Known(self.reference(*index));
        }
        let slice = &self.slices[endpoint.family() as usize][slice_of(&id)];
        if self.len() >= self.nodes_max || slice.len() >= self.per_slice_max {
            return Added::Refused;
        }
        let (party, network) = (IpKey::of(endpoint.ip()), Network::of(endpoint.ip()));
        if self.per_party.get(&party).is_some_and(|nodes| *nodes >= self.per_party_max)
            || self.per_network.get(&network).is_some_and(|nodes| *nodes >= self.per_network_max)
        {
            return Added::Refused;
        }
        *self.per_party.entry(party).or_insert(0) += 1;
        *self.per_network.entry(network).or_insert(0) += 1;
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, node: None });
            (self.slots.len() - 1) as u32
        });
        self.slots[index as usize].node = Some(Node {
            id,
            endpoint,
            told_by,
            freshness: 0,
            missed: 0,
            live: false,
            visited: false,
            visit: None,
            support: Support::Unknown,
            sample_misses: 0,
            version: None,
            num: None,
            interval: None,
            sampled: 0,
            quiet: 0,
            silence: Silence::default(),
            named: u8::from(told_by.is_some()),
            called: false,
            sample_due: self
                .sampled
                .peek(self.tag(addr))
                .map_or(Duration::ZERO, |due| Duration::from_secs((*due).into())),
        });
        self.by_endpoint.insert(endpoint, index);
        self.slices[endpoint.family() as usize][slice_of(&id)].push(index);
        self.tally.unvisited += 1;
        self.tally.unverified += 1;
        Added::New(self.reference(index))
    }

    /// Forgets a node.
    pub(crate) fn remove(&mut self, node: NodeRef) -> Option<Node> {
        self.get(node)?;
        let slot = self.slots.get_mut(node.index as usize)?;
        let removed = slot.node.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(node.index);
        self.by_endpoint.remove(&removed.endpoint);
        self.leave_slice(&removed, node.index);
        let ip = removed.endpoint.ip();
        leave(&mut self.per_party, IpKey::of(ip));
        leave(&mut self.per_network, Network::of(ip));
        self.count_out(&removed);
        if removed.sample_due > Duration::ZERO {
            let tag = self.tag(removed.addr());
            let (due, _) = self.sampled.entry(tag);
            *due = u32::try_from(removed.sample_due.as_secs() + 1).unwrap_or(u32::MAX);
        }
        Some(removed)
    }

    /// Changes what is known of a node, keeping the counts right.
    pub(crate) fn update<T>(&mut self, node: NodeRef, change: impl FnOnce(&mut Node) -> T) -> Option<T> {
        let before = self.get(node)?.clone();
        let slot = self.slots.get_mut(node.index as usize)?.node.as_mut()?;
        let result = change(slot);
        let after = slot.clone();
        if before.id != after.id {
            self.leave_slice(&before, node.index);
            self.slices[after.endpoint.family() as usize][slice_of(&after.id)].push(node.index);
        }
        self.count_out(&before);
        self.count_in(&after);
        Some(result)
    }

    pub(crate) fn get(&self, node: NodeRef) -> Option<&Node> {
        let slot = self.slots.get(node.index as usize)?;
        if slot.generation == node.generation { slot.node.as_ref() } else { None }
    }

    pub(crate) fn find(&self, addr: SocketAddr) -> Option<NodeRef> {
        self.by_endpoint.get(&Endpoint::from(addr)).map(|index| self.reference(*index))
    }

    pub(crate) fn len(&self) -> usize {
        self.by_endpoint.len()
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// Live nodes by the first two bytes of their `v` (`None`: they send none), most frequent first; at most
    /// [`CLIENTS_MAX`] rows, the last of which then stands for all the rest. Walks the whole table.
    pub(crate) fn clients(&self) -> Vec<(Option<[u8; 2]>, usize)> {
        let mut counts: HashMap<Option<[u8; 2]>, usize> = HashMap::new();
        for node in self.slots.iter().filter_map(|slot| slot.node.as_ref()).filter(|node| node.live) {
            *counts.entry(node.version.map(|version| version.client())).or_insert(0) += 1;
        }
        let mut rows: Vec<_> = counts.into_iter().collect();
        rows.sort_unstable_by_key(|(client, count)| (std::cmp::Reverse(*count), *client));
        if rows.len() > CLIENTS_MAX {
            let rest = rows[CLIENTS_MAX - 1..].iter().map(|(_, count)| count).sum();
            rows.truncate(CLIENTS_MAX - 1);
            rows.push((None, rest));
        }
        rows
    }

    /// The `count` nodes of a family closest to `target` among those that `accept` takes, closest first; if
    /// [`diverse`](NodeTable::diverse), the closest one of each subnet only, or whoever owns one could surround a point.
    pub(crate) fn closest(
        &self,
        family: Family,
        target: &NodeId,
        count: usize,
        accept: impl Fn(&Node) -> bool,
        found: &mut Vec<(Distance, NodeRef)>,
    ) {
        found.clear();
        let prefix = slice_of(target);
        let mut subnets: Vec<Subnet> = Vec::new();
        let mut seen = 0;
        for offset in 0..SLICES {
            for index in &self.slices[family as usize][prefix ^ offset] {
                if let Some(node) = &self.slots[*index as usize].node
                    && accept(node)
                {
                    found.push((node.id.distance(target), self.reference(*index)));
                }
            }
            if self.diverse {
                let fresh = &found[seen..];
                subnets.extend(fresh.iter().filter_map(|(_, at)| Some(Subnet::of(self.get(*at)?.addr()))));
                subnets.sort_unstable();
                subnets.dedup();
                seen = found.len();
            }
            if (if self.diverse { subnets.len() } else { found.len() }) >= count {
                break;
            }
        }
        found.sort_unstable();
        if self.diverse {
            subnets.clear();
            found.retain(|(_, at)| {
                let subnet = self.get(*at).map(|node| Subnet::of(node.addr()));
                let new = subnets.len() < count && subnet.is_some_and(|subnet| !subnets.contains(&subnet));
                subnets.extend(subnet.filter(|_| new));
                new
            });
        }
        found.truncate(count);
    }

    fn tag(&self, addr: SocketAddr) -> u64 {
        self.key.hash(&endpoint_bytes(addr))
    }

    fn reference(&self, index: u32) -> NodeRef {
        NodeRef { index, generation: self.slots[index as usize].generation }
    }

    fn leave_slice(&mut self, node: &Node, index: u32) {
        let slice = &mut self.slices[node.endpoint.family() as usize][slice_of(&node.id)];
        if let Some(place) = slice.iter().position(|other| *other == index) {
            slice.swap_remove(place);
        }
    }

    fn count_in(&mut self, node: &Node) {
        self.tally.unvisited += usize::from(!node.visited);
        self.tally.unverified += usize::from(node.freshness == 0);
        if !node.live {
            return;
        }
        self.tally.live += 1;
        if node.endpoint.is_v4() {
            self.tally.live_v4 += 1;
        } else {
            self.tally.live_v6 += 1;
        }
        match node.support {
            Support::Yes => self.tally.sampling += 1,
            Support::No => self.tally.not_sampling += 1,
            Support::Unknown => {}
        }
    }

    fn count_out(&mut self, node: &Node) {
        self.tally.unvisited -= usize::from(!node.visited);
        self.tally.unverified -= usize::from(node.freshness == 0);
        if !node.live {
            return;
        }
        self.tally.live -= 1;
        if node.endpoint.is_v4() {
            self.tally.live_v4 -= 1;
        } else {
            self.tally.live_v6 -= 1;
        }
        match node.support {
            Support::Yes => self.tally.sampling -= 1,
            Support::No => self.tally.not_sampling -= 1,
            Support::Unknown => {}
        }
    }
}

fn leave<K: Eq + Hash>(counts: &mut HashMap<K, u16>, key: K) {
    if let Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

/// Whoever has a /24 (or a /48) may fill the shares of this many addresses in it: the densest networks of home lines
/// have some dozens of nodes in one.
pub(crate) const PARTIES_PER_NETWORK: u16 = 8;

/// Removed nodes whose samplings are remembered: 1 MiB, as many as are given up within hours.
const REMOVED_MAX: usize = 65_536;

/// A slice may hold so many times what it would if the ids of a full table were spread evenly.
const SLICE_EXCESS: usize = 8;

/// And so many in a small table: next to a virtual node every node is known, farther away not.
const SLICE_NODES_MIN: usize = 256;

/// Bits of an id that choose its slice.
const SLICE_BITS: u32 = 12;

/// With a million nodes a slice has 250: short enough to walk, and few enough slices to skip when empty.
const SLICES: usize = 1 << SLICE_BITS;

/// Client names come from the outside: this many rows of them are given.
const CLIENTS_MAX: usize = 256;

fn slice_of(id: &NodeId) -> usize {
    let bytes = id.as_bytes();
    usize::from(u16::from_be_bytes([bytes[0], bytes[1]]) >> (16 - SLICE_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn id(n: u16) -> NodeId {
        // Spread over the keyspace, with neighbours.
        let mut bytes = [0; 20];
        bytes[..2].copy_from_slice(&n.wrapping_mul(40_503).to_be_bytes());
        bytes[19] = n as u8;
        NodeId::from_bytes(bytes)
    }

    fn table(nodes_max: usize, per_party_max: u16) -> NodeTable {
        NodeTable::new(nodes_max, per_party_max, HashKey::derive(&[1; 32], "nodes"))
    }

    fn addr(n: u16) -> SocketAddr {
        let [a, b] = n.to_be_bytes();
        ([192, 0, a, b / 2], 1_000 + u16::from(b % 2)).into()
    }

    #[test]
    fn a_reference_to_a_removed_node_leads_nowhere() {
        let mut table = table(10, 10);
        let Added::New(first) = table.add(id(1), addr(1), None) else { panic!("there is room") };
        assert!(table.remove(first).is_some());
        let Added::New(second) = table.add(id(2), addr(2), Some(first)) else { panic!("there is room") };
        assert_eq!(first.index, second.index);
        assert!(table.get(first).is_none() && table.remove(first).is_none());
        assert!(table.get(second).is_some());
    }

    #[test]
    fn the_table_and_the_share_of_an_ip_are_bounded() {
        let mut table = table(3, 2);
        let same_ip = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let Added::New(first) = table.add(id(1), same_ip(1), None) else { panic!("there is room") };
        assert!(matches!(table.add(id(2), same_ip(2), None), Added::New(_)));
        assert_eq!(table.add(id(3), same_ip(3), None), Added::Refused);
        assert_eq!(table.add(id(9), same_ip(1), None), Added::Known(first));
        assert!(matches!(table.add(id(4), addr(4), None), Added::New(_)));
        assert_eq!(table.add(id(5), addr(5), None), Added::Refused);
        table.remove(first);
        assert!(matches!(table.add(id(3), same_ip(3), None), Added::New(_)));
    }

    #[test]
    fn a_node_that_was_given_up_and_named_again_is_not_sampled_before_its_time() {
        let mut table = table(10, 10);
        let Added::New(first) = table.add(id(1), addr(1), None) else { panic!("there is room") };
        let due = Duration::from_millis(300_400);
        table.update(first, |node| node.sample_due = due);
        table.remove(first);
        let Added::New(again) = table.add(id(2), addr(1), None) else { panic!("there is room") };
        assert_eq!(table.get(again).unwrap().sample_due, Duration::from_secs(301));
        let Added::New(other) = table.add(id(2), addr(2), None) else { panic!("there is room") };
        assert_eq!(table.get(other).unwrap().sample_due, Duration::ZERO);
    }

    #[test]
    fn whoever_owns_a_network_has_a_bounded_share_of_the_table() {
        let mut table = table(1_000_000, 16);
        let mut taken = |addrs: &mut dyn Iterator<Item = SocketAddr>| {
            let add =
                |(n, addr): (usize, SocketAddr)| matches!(table.add(id(n as u16), addr, None), Added::New(_));
            addrs.enumerate().map(add).filter(|new| *new).count()
        };
        let ports = |ip: &'static str| (1..1_000).map(move |port| SocketAddr::new(ip.parse().unwrap(), port));
        assert_eq!(taken(&mut ports("64.1.1.1")), 16);
        // All the addresses of a /64 are one party's, and all of a /24 or a /48 in one hand.
        let hosts = |n: u32| SocketAddr::from(([0x2a00, 1, 1, 1, 0, 0, 0, n as u16], 6_881));
        assert_eq!(taken(&mut (1..1_000).map(hosts)), 16);
        let subnets = |n: u32| SocketAddr::from(([0x2a00, 1, 2, n as u16, 0, 0, 0, 1], 6_881));
        assert_eq!(taken(&mut (1..1_000).map(subnets)), 128);
        let neighbours = (0..1_000_u16).map(|n| SocketAddr::from(([64, 1, 2, (n / 4) as u8], 1 + n % 4)));
        assert_eq!(taken(&mut neighbours.into_iter()), 128);
        assert_eq!(taken(&mut (0..200).map(|n| SocketAddr::from(([64, 2, n, 1], 6_881)))), 200);
    }

    #[test]
    fn ids_that_all_lie_together_do_not_fill_the_table() {
        let mut table = table(1_000_000, 16);
        let add = |n: u32| {
            let mut id = [7; 20];
            id[16..].copy_from_slice(&n.to_be_bytes());
            table.add(NodeId::from_bytes(id), (std::net::Ipv4Addr::from_bits(n << 8), 1).into(), None)
        };
        let taken = (0..10_000).map(add).filter(|added| matches!(added, Added::New(_))).count();
        assert_eq!(taken, 1_000_000 / SLICES * SLICE_EXCESS);
        assert!(matches!(table.add(id(1), addr(1), None), Added::New(_)));
    }

    #[test]
    fn expected_news_are_what_random_draws_have_not_met() {
        let mut table = table(1, 1);
        let Added::New(at) = table.add(id(1), addr(1), None) else { panic!("there is room") };
        let news = |table: &mut NodeTable, num, sampled| {
            table.update(at, |node| (node.num, node.sampled) = (num, sampled));
            table.get(at).unwrap().expected_news()
        };
        assert_eq!(news(&mut table, None, 0), 0.0);
        assert_eq!(news(&mut table, Some(100), 0), 100.0);
        assert!((news(&mut table, Some(100), 100) - 36.8).abs() < 0.1);
        assert!(news(&mut table, Some(100), 600) < 0.3);
    }

    #[test]
    fn a_node_takes_about_two_hundred_and_fifty_bytes_in_all() {
        // Besides its slot: an entry by endpoint, one by party, one by network, a place in a slice and one in the queue of visits; hash
        // tables are full to 7/8 at best.
        let entries =
            size_of::<(Endpoint, u32)>() + size_of::<(IpKey, u16)>() + size_of::<(Network, u16)>() + 3;
        let queued = size_of::<(Duration, NodeRef)>();
        let all = size_of::<Slot>() + entries * 8 / 7 + size_of::<u32>() + queued;
        assert!((200..=250).contains(&all), "{all}");
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_list(
            steps in prop::collection::vec((0_u8..5, 0_u16..120, any::<bool>(), 0_u8..3), 0..300),
            target in any::<u16>(),
        ) {
            let mut table = table(80, 2);
            let mut list: BTreeMap<SocketAddr, NodeId> = BTreeMap::new();
            for (step, n, live, support) in steps {
                let at = table.find(addr(n));
                prop_assert_eq!(at.is_some(), list.contains_key(&addr(n)));
                match (step, at) {
                    (0..3, _) => {
                        if let Added::New(_) = table.add(id(n), addr(n), None) {
                            list.insert(addr(n), id(n));
                        }
                    }
                    (3, Some(at)) => {
                        table.remove(at);
                        list.remove(&addr(n));
                    }
                    (_, Some(at)) => {
                        let moved = id(n.wrapping_add(500));
                        table.update(at, |node| {
                            node.live = live;
                            node.visited |= live;
                            node.freshness = u32::from(support);
                            node.id = moved;
                            node.support = [Support::Unknown, Support::Yes, Support::No][usize::from(support)];
                        });
                        list.insert(addr(n), moved);
                    }
                    (_, None) => {}
                }
            }
            prop_assert_eq!(table.len(), list.len());
            let nodes = || table.slots.iter().filter_map(|slot| slot.node.as_ref());
            let count = |is: fn(&Node) -> bool| nodes().filter(|node| is(node)).count();
            prop_assert_eq!(table.tally(), Tally {
                live: count(|node| node.live),
                live_v4: count(|node| node.live),
                live_v6: 0,
                sampling: count(|node| node.live && node.support == Support::Yes),
                not_sampling: count(|node| node.live && node.support == Support::No),
                unvisited: count(|node| !node.visited),
                unverified: count(|node| node.freshness == 0),
            });
            let target = id(target);
            let mut closest = Vec::new();
            table.closest(Family::V4, &target, 8, |_| true, &mut closest);
            let mut expected: Vec<_> = list.values().map(|id| id.distance(&target)).collect();
            expected.sort_unstable();
            expected.truncate(8);
            prop_assert_eq!(closest.iter().map(|(distance, _)| *distance).collect::<Vec<_>>(), expected);
            table.diverse = true;
            table.closest(Family::V4, &target, 8, |_| true, &mut closest);
            let mut by_subnet: BTreeMap<Subnet, Distance> = BTreeMap::new();
            for (addr, id) in &list {
                let distance = id.distance(&target);
                let least = by_subnet.entry(Subnet::of(*addr)).or_insert(distance);
                *least = distance.min(*least);
            }
            let mut expected: Vec<_> = by_subnet.into_values().collect();
            expected.sort_unstable();
            expected.truncate(8);
            prop_assert_eq!(closest.iter().map(|(distance, _)| *distance).collect::<Vec<_>>(), expected);
        }
    }
}
