//! The virtual nodes of the process: one id, one port and one routing table per family each, and the
//! choice of the one that is closest to a point of the keyspace.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use krpc::{CompactNode, NodeId};

use crate::address::Address;
use crate::config::PortIndex;
use crate::contact_store::{ContactHandle, ContactStore, Contacts};
use crate::routing_table::{Insertion, K, RoutingTable};

/// Which of the virtual nodes; an index in the order in which they were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeIndex(pub u32);

/// Address families, as they matter to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address; IPv4 mapped into IPv6 is IPv4.
    pub fn of(ip: IpAddr) -> Family {
        if ip.to_canonical().is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

/// One virtual node.
#[derive(Debug)]
pub struct VirtualNode {
    /// The id it has towards the network.
    pub id: NodeId,
    /// The port it speaks from.
    pub port: PortIndex,
    /// Its IPv4 contacts.
    pub v4: RoutingTable<Ipv4Addr>,
    /// Its IPv6 contacts.
    pub v6: RoutingTable<Ipv6Addr>,
}

/// All virtual nodes.
#[derive(Debug)]
pub struct VirtualNodes {
    nodes: Vec<VirtualNode>,
    /// Those that can speak to a family, by id.
    by_family: [Vec<Sorted>; 2],
    /// Those behind a port, by id.
    by_port: Vec<Vec<Sorted>>,
    /// What a port can speak to: IPv4, IPv6.
    families: Vec<[bool; 2]>,
    per_subnet: u8,
}

impl VirtualNodes {
    /// These nodes, behind ports with these local addresses, as a checked [`Config`](crate::config::Config) names
    /// them: every port exists, every id is there once. A port bound to an IPv4 address speaks IPv4, one bound to an
    /// IPv6 address IPv6. `per_subnet` is handed to every [`RoutingTable`].
    pub fn new(
        ports: impl IntoIterator<Item = SocketAddr>,
        nodes: impl IntoIterator<Item = (NodeId, PortIndex)>,
        per_subnet: u8,
    ) -> VirtualNodes {
        let families: Vec<[bool; 2]> =
            ports.into_iter().map(|local| [local.is_ipv4(), local.is_ipv6()]).collect();
        let mut all = VirtualNodes {
            nodes: Vec::new(),
            by_family: [Vec::new(), Vec::new()],
            by_port: vec![Vec::new(); families.len()],
            families,
            per_subnet,
        };
        for (id, port) in nodes {
            let index = NodeIndex(all.nodes.len() as u32);
            let (v4, v6) = (RoutingTable::new(id, per_subnet), RoutingTable::new(id, per_subnet));
            all.nodes.push(VirtualNode { id, port, v4, v6 });
            all.lists_of(port).for_each(|list| list.push(Sorted { id, index }));
        }
        for list in all.by_family.iter_mut().chain(&mut all.by_port) {
            list.sort_unstable_by_key(|sorted| sorted.id);
        }
        all
    }

    /// Moves a node to another id, with those of its contacts that find a place in the new tables: far ones, as the buckets
    /// of both ids are the same up to where the ids part. `false` when the id is taken or there is no such node.
    pub fn move_to(&mut self, now: Duration, index: NodeIndex, id: NodeId, contacts: &mut Contacts) -> bool {
        if self.is_own(&id) {
            return false;
        }
        let Some(node) = self.nodes.get_mut(index.0 as usize) else { return false };
        move_table(now, &mut node.v4, id, self.per_subnet, &mut contacts.v4);
        move_table(now, &mut node.v6, id, self.per_subnet, &mut contacts.v6);
        node.id = id;
        let port = node.port;
        for list in self.lists_of(port) {
            list.retain(|sorted| sorted.index != index);
            let at = list.partition_point(|other| other.id < id);
            list.insert(at, Sorted { id, index });
        }
        true
    }

    /// The sorted lists in which a node behind this port stands.
    fn lists_of(&mut self, port: PortIndex) -> impl Iterator<Item = &mut Vec<Sorted>> {
        let families = self.families.get(usize::from(port.0)).copied().unwrap_or_default();
        let of_family =
            self.by_family.iter_mut().zip(families).filter_map(|(list, speaks)| speaks.then_some(list));
        of_family.chain(self.by_port.get_mut(usize::from(port.0)))
    }

    /// The node closest to a point, of those that can speak to a family; `None` when there is none.
    /// O(log n).
    #[inline]
    pub fn nearest(&self, family: Family, target: &NodeId) -> Option<NodeIndex> {
        nearest(&self.by_family[family as usize], target)
    }

    /// The node closest to a point, of those behind a port.
    #[inline]
    pub fn nearest_on(&self, port: PortIndex, target: &NodeId) -> Option<NodeIndex> {
        nearest(self.by_port.get(usize::from(port.0))?, target)
    }

    /// Offers a verified contact to the table of the node closest to it, and to those of its two
    /// neighbours in the keyspace. What became of it at the closest.
    pub fn offer(&mut self, now: Duration, contacts: &mut Contacts, contact: &CompactNode) -> Insertion {
        let (ip, port) = (contact.addr.ip(), contact.addr.port());
        let family = Family::of(ip);
        let list = &self.by_family[family as usize];
        let Some(nearest) = nearest_position(list, &contact.id) else { return Insertion::Gone };
        let (from, to) = (nearest.saturating_sub(1), (nearest + 2).min(list.len()));
        let mut outcome = Insertion::Gone;
        for (at, sorted) in (from..).zip(&list[from..to]) {
            let Some(node) = self.nodes.get_mut(sorted.index.0 as usize) else { continue };
            let inserted = match ip.to_canonical() {
                IpAddr::V4(ip) => offer_to(&mut node.v4, now, &mut contacts.v4, ip, port),
                IpAddr::V6(ip) => offer_to(&mut node.v6, now, &mut contacts.v6, ip, port),
            };
            if at == nearest {
                outcome = inserted;
            }
        }
        outcome
    }

    /// Fills the first bucket from `from_bucket` on that has room in a node's table with contacts that other
    /// virtual nodes have there, without a packet. Gives the bucket to go on with; `None` when the
    /// table is through. The places of contacts that are gone are freed at the start, with bucket 0.
    pub fn share(
        &mut self,
        now: Duration,
        contacts: &mut Contacts,
        family: Family,
        index: NodeIndex,
        from_bucket: usize,
    ) -> Option<usize> {
        match family {
            Family::V4 => {
                self.share_of(now, &mut contacts.v4, family, index, from_bucket, |node| &mut node.v4)
            }
            Family::V6 => {
                self.share_of(now, &mut contacts.v6, family, index, from_bucket, |node| &mut node.v6)
            }
        }
    }

    fn share_of<A: Address>(
        &mut self,
        now: Duration,
        store: &mut ContactStore<A>,
        family: Family,
        index: NodeIndex,
        from_bucket: usize,
        table_of: impl Fn(&mut VirtualNode) -> &mut RoutingTable<A>,
    ) -> Option<usize> {
        let node = self.nodes.get_mut(index.0 as usize)?;
        let own = node.id;
        if from_bucket == 0 {
            table_of(node).purge(store);
        }
        let bucket = table_of(node).roomy_bucket(from_bucket)?;
        // Our own id with the bucket's bit turned lies in the bucket, and so does everything that is close to it
        // in the table of a node that lies there too.
        let mut sibling = *own.as_bytes();
        sibling[bucket / 8] ^= 0x80 >> (bucket % 8);
        let sibling = NodeId::from_bytes(sibling);
        let donor = self.nearest(family, &sibling)?;
        if donor != index {
            let mut given = [ContactHandle::NONE; K];
            let donor = self.nodes.get_mut(donor.0 as usize)?;
            let in_bucket = |handle: &ContactHandle| {
                store.id(*handle).is_some_and(|id| own.common_prefix_len(id) as usize == bucket)
            };
            for (place, handle) in given.iter_mut().zip(table_of(donor).handles().filter(in_bucket)) {
                *place = handle;
            }
            let table = table_of(self.nodes.get_mut(index.0 as usize)?);
            for handle in given.into_iter().filter(|handle| *handle != ContactHandle::NONE) {
                table.insert(now, store, handle);
            }
        }
        Some(bucket + 1)
    }

    /// Appends up to `n` contacts of a family that are close to `target`, closest first: from the table of the
    /// virtual node closest to it, whichever port that one is behind, and when that has too few from the table
    /// of `answering`.
    pub fn closest(
        &self,
        contacts: &Contacts,
        family: Family,
        answering: NodeIndex,
        target: &NodeId,
        n: usize,
        out: &mut Vec<CompactNode>,
    ) {
        let start = out.len();
        let nearest = self.nearest(family, target);
        if let Some(node) = nearest {
            self.closest_of(contacts, family, node, target, n, out);
        }
        if out.len() - start < n && nearest != Some(answering) {
            let first = out.len();
            self.closest_of(contacts, family, answering, target, n, out);
            let mut at = first;
            while at < out.len() {
                if out[start..first].contains(&out[at]) {
                    out.remove(at);
                } else {
                    at += 1;
                }
            }
            out[start..].sort_unstable_by_key(|node| node.id.distance(target));
            out.truncate(start + n);
        }
    }

    fn closest_of(
        &self,
        contacts: &Contacts,
        family: Family,
        node: NodeIndex,
        target: &NodeId,
        n: usize,
        out: &mut Vec<CompactNode>,
    ) {
        let Some(node) = self.node(node) else { return };
        match family {
            Family::V4 => node.v4.closest(&contacts.v4, target, n, out),
            Family::V6 => node.v6.closest(&contacts.v6, target, n, out),
        }
    }

    /// Whether an id is one of ours.
    pub fn is_own(&self, id: &NodeId) -> bool {
        self.by_family.iter().any(|list| list.binary_search_by_key(id, |sorted| sorted.id).is_ok())
    }

    /// A node.
    #[inline]
    pub fn node(&self, index: NodeIndex) -> Option<&VirtualNode> {
        self.nodes.get(index.0 as usize)
    }

    /// A node, to change its tables.
    pub fn node_mut(&mut self, index: NodeIndex) -> Option<&mut VirtualNode> {
        self.nodes.get_mut(index.0 as usize)
    }

    /// Whether a port can speak to a family.
    pub fn speaks(&self, port: PortIndex, family: Family) -> bool {
        self.families.get(usize::from(port.0)).is_some_and(|families| families[family as usize])
    }

    /// All nodes.
    pub fn iter(&self) -> impl Iterator<Item = (NodeIndex, &VirtualNode)> {
        (0..).map(NodeIndex).zip(&self.nodes)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

#[derive(Debug, Clone, Copy)]
struct Sorted {
    id: NodeId,
    index: NodeIndex,
}

/// Puts what fits into a table around `id` in place of an earlier one.
fn move_table<A: Address>(
    now: Duration,
    table: &mut RoutingTable<A>,
    id: NodeId,
    per_subnet: u8,
    store: &mut ContactStore<A>,
) {
    let mut moved = RoutingTable::new(id, per_subnet);
    for handle in table.handles() {
        moved.insert(now, store, handle);
    }
    table.clear(store);
    *table = moved;
}

fn offer_to<A: Address>(
    table: &mut RoutingTable<A>,
    now: Duration,
    store: &mut ContactStore<A>,
    ip: A,
    port: u16,
) -> Insertion {
    match store.find(ip, port) {
        Some(handle) => table.insert(now, store, handle),
        None => Insertion::Gone,
    }
}

fn nearest(list: &[Sorted], target: &NodeId) -> Option<NodeIndex> {
    nearest_position(list, target).map(|at| list[at].index)
}

/// Position of the id with the least XOR distance to `target` in a sorted list.
fn nearest_position(list: &[Sorted], target: &NodeId) -> Option<usize> {
    let mut aim = *target;
    let mut range = 0..list.len();
    let mut fixed = 0;
    loop {
        if range.len() <= 1 {
            return (!range.is_empty()).then_some(range.start);
        }
        // The ids with the longest prefix in common with the aim are neighbours of its place in the order.
        let at = range.start + list[range.clone()].partition_point(|sorted| sorted.id < aim);
        let shared = |at: usize| list[at].id.common_prefix_len(&aim);
        let left = (at > range.start).then(|| shared(at - 1));
        let right = (at < range.end).then(|| shared(at));
        let longest = left.max(right)?.max(fixed);
        if longest >= 160 {
            return Some(if right == Some(160) { at } else { at - 1 });
        }
        // Among them, all of which differ from the aim in the next bit, the search goes on with that
        // bit turned: the order of their distances is the same.
        let mut turned = *aim.as_bytes();
        turned[longest as usize / 8] ^= 0x80 >> (longest % 8);
        aim = NodeId::from_bytes(turned);
        fixed = longest + 1;
        let part = &list[range.clone()];
        let from = part.partition_point(|sorted| prefix_order(&sorted.id, &aim, fixed).is_lt());
        let to = part.partition_point(|sorted| prefix_order(&sorted.id, &aim, fixed).is_le());
        range = range.start + from..range.start + to;
    }
}

/// How an id compares with another in the first `bits` bits.
fn prefix_order(id: &NodeId, other: &NodeId, bits: u32) -> std::cmp::Ordering {
    if id.common_prefix_len(other) >= bits { std::cmp::Ordering::Equal } else { id.cmp(other) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contact_store::Seen;
    use crate::routing_table::PER_SUBNET;
    use proptest::prelude::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    const NOW: Duration = Duration::from_secs(1_000);

    fn nodes(of: &[(NodeId, u16)]) -> VirtualNodes {
        let ports = ["0.0.0.0:6881".parse().unwrap(), "[::]:6881".parse().unwrap()];
        VirtualNodes::new(ports, of.iter().map(|(id, port)| (*id, PortIndex(*port))), PER_SUBNET)
    }

    fn id(first: u8) -> NodeId {
        let mut bytes = [0; 20];
        bytes[0] = first;
        NodeId::from_bytes(bytes)
    }

    fn meet(nodes: &mut VirtualNodes, contacts: &mut Contacts, id: NodeId, n: u32) -> Insertion {
        let ip = Ipv4Addr::from_bits(n << 8 | 1);
        assert!(matches!(contacts.v4.seen(NOW, id, ip, 6881), Seen::New(_)));
        nodes.offer(NOW, contacts, &CompactNode { id, addr: SocketAddr::new(ip.into(), 6881) })
    }

    #[test]
    fn nearest_is_by_xor_and_not_by_value() {
        let nodes = nodes(&[(id(0b1000_0000), 0), (id(0b1111_0000), 0)]);
        assert_eq!(nodes.nearest(Family::V4, &id(0b0111_0000)), Some(NodeIndex(1)));
        assert_eq!(nodes.nearest(Family::V4, &id(0b0000_0000)), Some(NodeIndex(0)));
        assert_eq!(nodes.nearest(Family::V6, &id(0)), None);
    }

    #[test]
    fn a_port_and_a_family_see_their_own_nodes_only() {
        let nodes = nodes(&[(id(1), 0), (id(200), 1)]);
        let (four, six) = (NodeIndex(0), NodeIndex(1));
        assert_eq!(nodes.nearest(Family::V4, &id(200)), Some(four));
        assert_eq!(nodes.nearest(Family::V6, &id(1)), Some(six));
        assert_eq!(nodes.nearest_on(PortIndex(0), &id(200)), Some(four));
        assert_eq!(nodes.nearest_on(PortIndex(1), &id(1)), Some(six));
        assert_eq!(nodes.nearest_on(PortIndex(2), &id(1)), None);
        assert!(nodes.speaks(PortIndex(0), Family::V4) && !nodes.speaks(PortIndex(0), Family::V6));
    }

    #[test]
    fn a_contact_goes_to_the_node_closest_to_it_and_its_neighbours() {
        let mut nodes = nodes(&[0, 50, 100, 150, 200].map(|first| (id(first), 0)));
        let mut contacts = Contacts::new(100, 100, &[1; 32]);
        assert_eq!(meet(&mut nodes, &mut contacts, id(101), 1), Insertion::Added);
        let lens: Vec<usize> = nodes.iter().map(|(_, node)| node.v4.len()).collect();
        assert_eq!(lens, [0, 1, 1, 1, 0]);
        assert_eq!(contacts.references(), 3);
    }

    #[test]
    fn a_node_gets_far_contacts_from_the_tables_of_others() {
        let mut nodes = nodes(&[0, 32, 64, 128, 192].map(|first| (id(first), 0)));
        let mut contacts = Contacts::new(1_000, 100, &[1; 32]);
        let mut rng = StdRng::from_seed([2; 32]);
        let poor = NodeIndex(0);
        for n in 1..=300 {
            meet(&mut nodes, &mut contacts, NodeId::random(&mut rng), n);
        }
        let bucket_0 = |nodes: &VirtualNodes, contacts: &Contacts| {
            let node = nodes.node(poor).unwrap();
            node.v4.handles().filter(|handle| contacts.v4.id(*handle).unwrap().bit(0)).count()
        };
        assert_eq!(bucket_0(&nodes, &contacts), 0);
        let mut from = 0;
        while let Some(next) = nodes.share(NOW, &mut contacts, Family::V4, poor, from) {
            from = next;
        }
        assert_eq!(bucket_0(&nodes, &contacts), K);

        // Contacts that die make room for others.
        let dead: Vec<_> = nodes.node(poor).unwrap().v4.handles().take(4).collect();
        for handle in dead {
            assert!(contacts.v4.remove(handle));
        }
        nodes.share(NOW, &mut contacts, Family::V4, poor, 0);
        let alive = |handle: &ContactHandle| contacts.v4.id(*handle).is_some();
        assert_eq!(nodes.node(poor).unwrap().v4.handles().filter(alive).take(K).count(), K);
        assert!(nodes.node(poor).unwrap().v4.handles().all(|handle| alive(&handle)));
    }

    #[test]
    fn closest_contacts_come_from_the_best_table_of_the_process() {
        let mut nodes = nodes(&[(id(0), 0), (id(255), 0)]);
        let mut contacts = Contacts::new(1_000, 100, &[1; 32]);
        let mut rng = StdRng::from_seed([3; 32]);
        let far = NodeIndex(0);
        for n in 1..=8 {
            meet(&mut nodes, &mut contacts, id(0b1111_0000).with_random_suffix(5, &mut rng), n);
        }
        let target = id(0b1111_0111);
        let mut out = Vec::new();
        nodes.closest(&contacts, Family::V4, far, &target, 8, &mut out);
        assert_eq!(out.len(), 8);
        assert!(out.is_sorted_by_key(|node| node.id.distance(&target)));
        let mut few = Vec::new();
        nodes.closest(&contacts, Family::V6, far, &target, 8, &mut few);
        assert!(few.is_empty());
    }

    #[test]
    fn a_node_that_moves_leaves_its_place_and_takes_along_the_contacts_that_it_has_places_for() {
        let mut nodes = nodes(&[(id(1), 0)]);
        let mut contacts = Contacts::new(1_000, 100, &[1; 32]);
        let mut rng = StdRng::from_seed([4; 32]);
        let index = NodeIndex(0);
        for n in 1..=300 {
            meet(&mut nodes, &mut contacts, NodeId::random(&mut rng), n);
        }
        let before = contacts.references();
        assert!(!nodes.move_to(NOW, index, id(1), &mut contacts));
        // Both ids share two bits: the buckets before that stay as they are, the rest has to find a place in the next.
        assert!(nodes.move_to(NOW, index, id(0b0010_0001), &mut contacts));
        assert!(nodes.is_own(&id(0b0010_0001)) && !nodes.is_own(&id(1)));
        assert_eq!(nodes.nearest(Family::V4, &id(1)), Some(index));
        let table = &nodes.node(index).unwrap().v4;
        assert_eq!(table.own_id(), &id(0b0010_0001));
        assert!((3 * K..before).contains(&table.len()), "{} of {before}", table.len());
        assert_eq!(contacts.references(), table.len(), "nothing holds on to what was left");
    }

    proptest! {
        #[test]
        fn nearest_is_what_a_search_of_all_finds(seed in any::<u64>(), count in 1_usize..200, cluster in 0_u32..40) {
            let mut rng = StdRng::seed_from_u64(seed);
            let base = NodeId::random(&mut rng);
            let of: Vec<(NodeId, u16)> = (0..count)
                .map(|_| (base.with_random_suffix(rng.random_range(0..=cluster), &mut rng), 0))
                .collect();
            let nodes = nodes(&of);
            for _ in 0..50 {
                let target = base.with_random_suffix(rng.random_range(0..=cluster + 3), &mut rng);
                let expected = of.iter().map(|(id, _)| id).min_by_key(|id| id.distance(&target)).unwrap();
                let found = nodes.nearest(Family::V4, &target).unwrap();
                prop_assert_eq!(&nodes.node(found).unwrap().id, expected);
                prop_assert_eq!(nodes.nearest_on(PortIndex(0), expected), Some(found));
            }
        }
    }
}
