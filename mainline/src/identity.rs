//! Who of us a remote sees: for any remote endpoint always the same virtual node.
//!
//! A remote that finds one endpoint under several ids takes it for a liar and bans it. So the choice
//! among our nodes is made once for each remote, and kept as long as there is room: the node closest
//! to the remote's id when we speak first, the node of the port closest to what the query aims at when
//! the remote does. The choice is such that a choice that was forgotten is mostly repeated.

use std::net::SocketAddr;

use krpc::NodeId;

use crate::address::endpoint_bytes;
use crate::config::PortIndex;
use crate::keyed_hash::HashKey;
use crate::set_cache::{Crowded, SetCache};
use crate::virtual_node::{Family, NodeIndex, VirtualNodes};

/// The choices made so far, as many as there is room for; those used longest ago are forgotten first.
#[derive(Debug)]
pub struct Identity {
    chosen: SetCache<Choice>,
    key: HashKey,
    forgotten: u64,
}

impl Identity {
    /// Room for `choices` choices of 9 bytes, at most 2^31 nodes to choose from; a remote takes one or two.
    pub fn new(choices: usize, key: HashKey) -> Identity {
        Identity { chosen: SetCache::new(choices), key, forgotten: 0 }
    }

    /// As whom to speak to a remote of our own accord. `id` is the remote's id if known (without one, as for a bootstrap
    /// address, the choice follows from the address). `None` when no port speaks its family.
    pub fn speaker(
        &mut self,
        nodes: &VirtualNodes,
        remote: SocketAddr,
        id: Option<&NodeId>,
    ) -> Option<NodeIndex> {
        let tag = self.key.hash(&endpoint_bytes(remote));
        if let Some(index) = self.touch(tag) {
            return Some(index);
        }
        let family = Family::of(remote.ip());
        let derived;
        let id = match id {
            Some(id) => id,
            None => {
                let mut bytes = [0; 20];
                bytes[..8].copy_from_slice(&tag.to_be_bytes());
                derived = NodeId::from_bytes(bytes);
                &derived
            }
        };
        let nearest = nodes.nearest(family, id)?;
        let port = nodes.node(nearest)?.port;
        let answering = self.answering_tag(port, remote);
        // It may know another node of ours behind this very port.
        let index = self.touch(answering).unwrap_or(nearest);
        self.choose(tag, index);
        self.choose(answering, index);
        Some(index)
    }

    /// As whom to answer a query of a remote that came in at `port`. `aim` is the query's target or info-hash, or
    /// the remote's id when it has none (ping). `None` when there is no node behind the port.
    pub fn answerer(
        &mut self,
        nodes: &VirtualNodes,
        port: PortIndex,
        remote: SocketAddr,
        aim: &NodeId,
    ) -> Option<NodeIndex> {
        let answering = self.answering_tag(port, remote);
        if let Some(index) = self.touch(answering) {
            return Some(index);
        }
        let speaking = self.key.hash(&endpoint_bytes(remote));
        let known = self.touch(speaking);
        let index = known
            .filter(|index| nodes.node(*index).is_some_and(|node| node.port == port))
            .or_else(|| nodes.nearest_on(port, aim))?;
        self.choose(answering, index);
        if known.is_none() {
            self.choose(speaking, index);
        }
        Some(index)
    }

    /// The remote has answered a query of ours: its address is no forgery. The choices for it do not give way to those for
    /// strangers, of which there can be as many as somebody cares to make up.
    pub fn verified(&mut self, nodes: &VirtualNodes, remote: SocketAddr) {
        let speaking = self.key.hash(&endpoint_bytes(remote));
        let Some(choice) = self.chosen.touch(speaking) else { return };
        choice.0 |= VERIFIED;
        let Some(port) = nodes.node(choice.index()).map(|node| node.port) else { return };
        let answering = self.answering_tag(port, remote);
        if let Some(choice) = self.chosen.touch(answering) {
            choice.0 |= VERIFIED;
        }
    }

    /// Choices that had to be forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    fn choose(&mut self, tag: u64, index: NodeIndex) {
        let choice = Choice(index.0 & !VERIFIED);
        let (place, displaced) = match self.chosen.entry_unless(tag, |choice| choice.0 & VERIFIED != 0) {
            Ok(entry) => entry,
            Err(Crowded) => self.chosen.entry(tag),
        };
        *place = choice;
        self.forgotten += u64::from(displaced);
    }

    fn touch(&mut self, tag: u64) -> Option<NodeIndex> {
        self.chosen.touch(tag).map(|choice| choice.index())
    }

    fn answering_tag(&self, port: PortIndex, remote: SocketAddr) -> u64 {
        let mut bytes = [0; 20];
        bytes[..18].copy_from_slice(&endpoint_bytes(remote));
        bytes[18..].copy_from_slice(&port.0.to_be_bytes());
        self.key.hash(&bytes)
    }
}

/// A node, and whether it was chosen for a remote that has answered.
#[derive(Debug, Clone, Copy, Default)]
struct Choice(u32);

impl Choice {
    fn index(self) -> NodeIndex {
        NodeIndex(self.0 & !VERIFIED)
    }
}

const VERIFIED: u32 = 1 << 31;

/// Choices kept by default: 1.2 MB, enough for all remotes met within minutes at the greatest rates.
pub const CHOICES: usize = 131_072;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing_table::PER_SUBNET;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn id(first: u8) -> NodeId {
        let mut bytes = [0; 20];
        bytes[0] = first;
        NodeId::from_bytes(bytes)
    }

    /// Four nodes behind each of two IPv4 ports.
    fn nodes() -> VirtualNodes {
        let ports = [SocketAddr::from(([0, 0, 0, 0], 1)), SocketAddr::from(([0, 0, 0, 0], 2))];
        let nodes = (0..8).map(|n| (id(n * 32 + 16), PortIndex(u16::from(n % 2))));
        VirtualNodes::new(ports, nodes, PER_SUBNET)
    }

    fn identity() -> Identity {
        Identity::new(1_000, HashKey::derive(&[1; 32], "identity"))
    }

    fn remote(n: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, n], 6881))
    }

    #[test]
    fn we_speak_as_the_node_closest_to_the_remote() {
        let (nodes, mut identity) = (nodes(), identity());
        assert_eq!(identity.speaker(&nodes, remote(1), Some(&id(40))), Some(NodeIndex(1)));
        assert_eq!(identity.speaker(&nodes, remote(2), Some(&id(255))), Some(NodeIndex(7)));
    }

    #[test]
    fn a_remote_that_changes_its_id_sees_the_same_of_us() {
        let (nodes, mut identity) = (nodes(), identity());
        let first = identity.speaker(&nodes, remote(1), Some(&id(40)));
        assert_eq!(identity.speaker(&nodes, remote(1), Some(&id(200))), first);
        assert_eq!(identity.speaker(&nodes, remote(1), None), first);
    }

    #[test]
    fn whoever_answered_first_answers_always_and_speaks_too() {
        let (nodes, mut identity) = (nodes(), identity());
        let port = PortIndex(0);
        let first = identity.answerer(&nodes, port, remote(1), &id(70));
        assert_eq!(first, Some(NodeIndex(2)));
        assert_eq!(identity.answerer(&nodes, port, remote(1), &id(250)), first);
        assert_eq!(identity.speaker(&nodes, remote(1), Some(&id(250))), first);
    }

    #[test]
    fn whoever_spoke_first_answers_at_its_port() {
        let (nodes, mut identity) = (nodes(), identity());
        assert_eq!(identity.speaker(&nodes, remote(1), Some(&id(40))), Some(NodeIndex(1)));
        assert_eq!(identity.answerer(&nodes, PortIndex(1), remote(1), &id(255)), Some(NodeIndex(1)));
        // Another port is another endpoint to the remote.
        let other = identity.answerer(&nodes, PortIndex(0), remote(1), &id(255)).unwrap();
        assert_eq!(nodes.node(other).unwrap().port, PortIndex(0));
        assert_eq!(identity.speaker(&nodes, remote(1), None), Some(NodeIndex(1)));
    }

    #[test]
    fn without_a_port_for_the_family_nobody_speaks() {
        let (nodes, mut identity) = (nodes(), identity());
        assert_eq!(identity.speaker(&nodes, "[2001:db8::1]:1".parse().unwrap(), None), None);
        assert_eq!(identity.answerer(&nodes, PortIndex(7), remote(1), &id(1)), None);
    }

    #[test]
    fn what_is_forgotten_is_counted() {
        let (nodes, mut identity) = (nodes(), Identity::new(7, HashKey::derive(&[1; 32], "")));
        for n in 0..20 {
            identity.speaker(&nodes, remote(n), None);
        }
        assert_eq!(identity.forgotten(), 33);
    }

    #[test]
    fn strangers_do_not_displace_the_choices_for_those_who_have_answered() {
        let (nodes, mut identity) = (nodes(), identity());
        let aims = |n: u8| id(n.wrapping_mul(37));
        let chosen: Vec<_> = (0..100).map(|n| identity.speaker(&nodes, remote(n), Some(&aims(n)))).collect();
        (0..100).for_each(|n| identity.verified(&nodes, remote(n)));
        for n in 0..20_000_u32 {
            let stranger = SocketAddr::from((std::net::Ipv4Addr::from_bits(n), 1));
            identity.answerer(&nodes, PortIndex((n % 2) as u16), stranger, &id(n as u8));
        }
        for (n, chosen) in (0..100).zip(chosen) {
            let port = nodes.node(chosen.unwrap()).unwrap().port;
            assert_eq!(identity.answerer(&nodes, port, remote(n), &id(!n)), chosen);
        }
        assert!(identity.forgotten() > 20_000);
    }

    proptest! {
        #[test]
        fn an_endpoint_of_ours_has_one_id_towards_a_remote(
            steps in prop::collection::vec((0_u8..2, 0_u8..6, 0_u16..2, any::<u8>()), 0..200),
        ) {
            let (nodes, mut identity) = (nodes(), identity());
            let mut seen: HashMap<(u8, PortIndex), NodeIndex> = HashMap::new();
            let mut speakers: HashMap<u8, NodeIndex> = HashMap::new();
            for (step, n, port, aim) in steps {
                let index = if step == 0 {
                    let index = identity.speaker(&nodes, remote(n), Some(&id(aim))).unwrap();
                    prop_assert_eq!(*speakers.entry(n).or_insert(index), index);
                    index
                } else {
                    identity.answerer(&nodes, PortIndex(port), remote(n), &id(aim)).unwrap()
                };
                let port = nodes.node(index).unwrap().port;
                prop_assert_eq!(*seen.entry((n, port)).or_insert(index), index);
            }
        }
    }
}
