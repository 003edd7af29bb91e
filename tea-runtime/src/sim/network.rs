//! The virtual UDP network: who has which address, what a link does, and what became of each datagram.

use std::net::{IpAddr, SocketAddr};

use super::{
    link::LinkPolicy,
    nat::Nat,
    node::{NodeState, SimNode},
    partition::Partitions,
    rng::finalise,
    trace::Map,
    world::{Event, World},
};
use crate::Time;

/// What became of one datagram, as an observer sees it.
#[derive(Clone, Copy, Debug)]
pub struct PacketEvent<'a> {
    /// When.
    pub at: Time,
    /// Who sent it.
    pub sender: SimNode,
    /// The source as the receiver sees it, behind any translator.
    pub from: SocketAddr,
    /// The destination as the sender wrote it.
    pub to: SocketAddr,
    /// What it carries.
    pub payload: &'a [u8],
    /// What happened.
    pub fate: Fate,
}

/// What happened to a datagram. `Sent` comes for each, then one of the others for it and for each duplicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Fate {
    /// It left its sender.
    Sent,
    /// A program or responder got it.
    Delivered,
    /// Lost by the link.
    Lost,
    /// A second copy is under way.
    Duplicated,
    /// A partition lies between.
    Cut,
    /// Nobody has the address, or the sender has none of its family.
    Unreachable,
    /// The receiver's machine is down.
    Down,
    /// A translator did not let it pass.
    Filtered,
    /// Nobody has bound the port.
    PortClosed,
}

/// Totals of the network since the start of the world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NetworkCounters {
    /// Datagrams sent, without duplicates.
    pub sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Datagrams delivered, duplicates included.
    pub delivered: u64,
    /// Lost by links.
    pub lost: u64,
    /// Second copies made by links.
    pub duplicated: u64,
    /// Cut by partitions.
    pub cut: u64,
    /// To addresses that nobody has.
    pub unreachable: u64,
    /// To machines that are down.
    pub down: u64,
    /// Stopped by translators.
    pub filtered: u64,
    /// To ports that nobody has bound.
    pub port_closed: u64,
    /// TCP connections tried.
    pub connects: u64,
    /// TCP connections refused because nobody listens.
    pub connects_refused: u64,
    /// TCP segments delivered.
    pub segments: u64,
}

/// Watches datagrams.
pub(super) type PacketObserver = Box<dyn FnMut(&PacketEvent<'_>)>;

/// Addresses, links, partitions, translators.
#[derive(Default)]
pub(super) struct Network {
    pub(super) policy: LinkPolicy,
    pub(super) pair_policies: Map<(u32, u32), LinkPolicy>,
    pub(super) partitions: Partitions,
    pub(super) nats: Vec<Nat>,
    pub(super) counters: NetworkCounters,
    pub(super) observers: Vec<PacketObserver>,
    directory: Map<(u32, IpAddr), Owner>,
    seed: u64,
}

/// Who has an address.
#[derive(Clone, Copy)]
enum Owner {
    Node(u32),
    Nat(u32),
}

/// Where an address leads from a given node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// To a node, without translation or out through the sender's translator.
    Node {
        node: u32,
        translated: bool,
    },
    /// To the outside of a translator.
    Nat(u32),
    Nowhere,
}

impl Network {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// Gives an address to a node. `false`: it is taken in that realm.
    pub(super) fn add_address(&mut self, nat: Option<u32>, ip: IpAddr, node: u32) -> bool {
        self.directory.insert((realm(nat), ip), Owner::Node(node)).is_none()
    }

    /// Adds a translator. `None`: its external address is taken.
    pub(super) fn add_nat(&mut self, nat: Nat) -> Option<u32> {
        let index = self.nats.len() as u32;
        if self.directory.insert((realm(None), nat.config.external), Owner::Nat(index)).is_some() {
            return None;
        }
        self.nats.push(nat);
        Some(index)
    }

    /// Where `ip` leads for someone in front of or behind the translator `nat`.
    pub(super) fn route(&self, nat: Option<u32>, ip: IpAddr) -> Route {
        if nat.is_some()
            && let Some(Owner::Node(node)) = self.directory.get(&(realm(nat), ip))
        {
            return Route::Node { node: *node, translated: false };
        }
        match self.directory.get(&(realm(None), ip)) {
            Some(Owner::Node(node)) => Route::Node { node: *node, translated: nat.is_some() },
            Some(Owner::Nat(index)) => Route::Nat(*index),
            None => Route::Nowhere,
        }
    }

    /// The policy from `a` to `b`: that of the pair, else the sender's, else the receiver's, else the default.
    pub(super) fn policy<'a>(&'a self, nodes: &'a [NodeState], a: u32, b: u32) -> &'a LinkPolicy {
        if !self.pair_policies.is_empty()
            && let Some(policy) = self.pair_policies.get(&(a, b))
        {
            return policy;
        }
        let own = |node: u32| nodes.get(node as usize).and_then(|node| node.policy.as_deref());
        own(a).or_else(|| own(b)).unwrap_or(&self.policy)
    }

    /// Names a pair of nodes, the same in both directions.
    pub(super) const fn pair(&self, a: u32, b: u32) -> u64 {
        let (low, high) = if a < b { (a, b) } else { (b, a) };
        finalise(self.seed ^ ((low as u64) << 32 | high as u64))
    }
}

/// Addresses behind a translator may be those of the outside or of another translator's inside.
fn realm(nat: Option<u32>) -> u32 {
    nat.map_or(0, |nat| nat + 1)
}

impl World {
    /// Sends a datagram from a node; what it carries is recycled sooner or later.
    pub(super) fn send_datagram(&mut self, sender: u32, from: SocketAddr, to: SocketAddr, payload: Vec<u8>) {
        self.net.counters.sent += 1;
        self.net.counters.bytes_sent += payload.len() as u64;
        let nat = self.nodes[sender as usize].nat;
        let route = self.net.route(nat, to.ip());
        let mut from = from;
        let leaves = match route {
            Route::Node { translated, .. } => translated,
            Route::Nat(_) => nat.is_some(),
            Route::Nowhere => false,
        };
        let mut filtered = false;
        if let Some(nat) = nat
            && leaves
        {
            match self.net.nats[nat as usize].outbound(self.now, sender, from, to) {
                Some(external) => from = external,
                None => filtered = true,
            }
        }
        self.note(Fate::Sent, sender, from, to, &payload);
        let (receiver, via) = match route {
            _ if filtered || from.is_ipv4() != to.is_ipv4() => (None, None),
            Route::Node { node, .. } => (Some(node), None),
            // No hairpinning.
            Route::Nat(index) if nat == Some(index) => (None, Some(index)),
            Route::Nat(index) => (self.net.nats[index as usize].mapped(to.port()), Some(index)),
            Route::Nowhere => (None, None),
        };
        let Some(receiver) = receiver else {
            let fate = if filtered || via.is_some() { Fate::Filtered } else { Fate::Unreachable };
            return self.drop_datagram(fate, sender, from, to, payload);
        };
        if self.net.partitions.cut(self.now, sender, receiver) {
            return self.drop_datagram(Fate::Cut, sender, from, to, payload);
        }
        let policy = self.net.policy(&self.nodes, sender, receiver);
        if self.rng.chance(policy.loss) {
            return self.drop_datagram(Fate::Lost, sender, from, to, payload);
        }
        let pair = self.net.pair(sender, receiver);
        let twice = self.rng.chance(policy.duplicate);
        let first = self.now + policy.travel(pair, &mut self.rng);
        if twice {
            let second = self.now + policy.travel(pair, &mut self.rng);
            self.note(Fate::Duplicated, sender, from, to, &payload);
            let mut copy = self.take_buffer();
            copy.extend_from_slice(&payload);
            self.queue.push(second, Event::Datagram { sender, receiver, via, from, to, payload: copy });
        }
        self.queue.push(first, Event::Datagram { sender, receiver, via, from, to, payload });
    }

    /// Whether a datagram that arrives reaches its receiver's machine, and under which inside address.
    pub(super) fn admit_datagram(
        &mut self,
        (sender, receiver): (u32, u32),
        via: Option<u32>,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Result<SocketAddr, Fate> {
        if self.net.partitions.cut(self.now, sender, receiver) {
            return Err(Fate::Cut);
        }
        let inside = match via {
            None => to,
            Some(nat) => {
                self.net.nats[nat as usize].inbound(self.now, to.port(), from).ok_or(Fate::Filtered)?
            }
        };
        if self.nodes[receiver as usize].up { Ok(inside) } else { Err(Fate::Down) }
    }

    /// Counts what became of a datagram and tells the observers.
    pub(super) fn note(&mut self, fate: Fate, sender: u32, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        let counters = &mut self.net.counters;
        match fate {
            Fate::Sent => {}
            Fate::Delivered => counters.delivered += 1,
            Fate::Lost => counters.lost += 1,
            Fate::Duplicated => counters.duplicated += 1,
            Fate::Cut => counters.cut += 1,
            Fate::Unreachable => counters.unreachable += 1,
            Fate::Down => counters.down += 1,
            Fate::Filtered => counters.filtered += 1,
            Fate::PortClosed => counters.port_closed += 1,
        }
        if !self.net.observers.is_empty() {
            let event = PacketEvent { at: self.now, sender: SimNode(sender), from, to, payload, fate };
            for observer in &mut self.net.observers {
                observer(&event);
            }
        }
    }

    fn drop_datagram(&mut self, fate: Fate, sender: u32, from: SocketAddr, to: SocketAddr, payload: Vec<u8>) {
        self.note(fate, sender, from, to, &payload);
        self.give_buffer(payload);
    }
}
