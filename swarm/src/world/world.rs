//! The world itself: who is in it, and the passing of its time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::time::Duration;

use krpc::{InfoHash, Kind, Message, NodeId};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::counts::Counts;
use super::friends::Friend;
use super::guard::{Guard, Verdict, is_ignored_by_libtorrent};
use super::nature::Nature;
use super::network::{Network, Packet};
use super::node::Node;
use super::passers::Passing;
use super::scene::{Churn, Torrents};
use super::schedule::{Happening, Schedule};
use super::torrents::Torrent;
use crate::keyspace::Keyspace;

/// A network of scripted nodes in virtual time.
#[derive(Debug)]
pub struct World {
    /// The time. It begins at one second and passes in [`World::next`].
    pub now: Duration,
    /// How datagrams travel.
    pub network: Network,
    /// The source of all that is drawn.
    pub rng: StdRng,
    /// All nodes, those who have left and those who never were there included. Their indices stay.
    pub nodes: Vec<Node>,
    /// All torrents that were ever announced by [`World::announce_torrents`], [`World::announce`] or the traffic of a scene.
    pub truth: BTreeMap<InfoHash, Torrent>,
    /// What happened so far.
    pub counts: Counts,
    /// Whether nodes take outsiders into their tables and look after them.
    pub upkeep: bool,
    pub(super) churn: Option<Churn>,
    pub(super) traffic: Option<Torrents>,
    pub(super) whose: HashMap<SocketAddr, u32>,
    pub(super) outsiders: HashSet<SocketAddr>,
    /// By family, who stands in tables: those who have settled, and the dead that nobody notices.
    pub(super) known: [Keyspace; 2],
    /// By family, who is there.
    pub(super) alive: [Keyspace; 2],
    /// Outsiders in the tables of nodes.
    pub(super) friends: HashMap<u32, Vec<Friend>>,
    pub(super) passing: HashMap<(u32, SocketAddr), Passing>,
    pub(super) schedule: Schedule,
    guards: HashMap<(u32, IpAddr), Guard>,
    /// Until when the NAT of a node lets in what comes from an address.
    opened: HashMap<(u32, SocketAddr), Duration>,
}

/// An address family, which has a DHT of its own (BEP 32).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4 = 0,
    V6 = 1,
}

impl Family {
    pub(super) const BOTH: [Family; 2] = [Family::V4, Family::V6];

    pub(super) fn of(addr: SocketAddr) -> Family {
        if addr.is_ipv6() { Family::V6 } else { Family::V4 }
    }
}

impl World {
    /// An empty world, to be filled with [`World::populate`]. Nodes answer, and do nothing of their own accord.
    pub fn new(seed: u64, loss: f64) -> World {
        let empty = || Keyspace::new(std::iter::empty());
        World {
            now: Duration::from_secs(1),
            network: Network::with_loss(loss),
            rng: StdRng::seed_from_u64(seed),
            nodes: Vec::new(),
            truth: BTreeMap::new(),
            counts: Counts::default(),
            upkeep: false,
            churn: None,
            traffic: None,
            whose: HashMap::new(),
            outsiders: HashSet::new(),
            known: [empty(), empty()],
            alive: [empty(), empty()],
            friends: HashMap::new(),
            passing: HashMap::new(),
            schedule: Schedule::default(),
            guards: HashMap::new(),
            opened: HashMap::new(),
        }
    }

    /// Makes an address that of an outsider.
    pub fn attach(&mut self, addr: SocketAddr) {
        self.outsiders.insert(addr);
    }

    /// Puts a datagram on its way, as if `from` had sent it now.
    pub fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        self.counts.sent += 1;
        self.put_on_its_way(Packet { from, to, bytes });
    }

    /// Lets time pass until a datagram arrives at an outsider, but not beyond `until`: then there is none.
    pub fn next(&mut self, until: Duration) -> Option<Packet> {
        while let Some((at, what)) = self.schedule.pop(until) {
            self.now = self.now.max(at);
            match what {
                Happening::Arrival(packet) if self.outsiders.contains(&packet.to) => {
                    self.counts.delivered += 1;
                    return Some(packet);
                }
                Happening::Arrival(packet) => self.arrive(&packet),
                Happening::Upkeep { node, friend } => self.look_after(node, friend),
                Happening::Announce(info_hash) => {
                    self.announce_now(info_hash);
                    self.plan_announce(info_hash);
                }
                Happening::Birth => {
                    self.counts.births += 1;
                    self.bear_torrent();
                    self.plan_birth();
                }
                Happening::Departure(index) => self.depart(index),
                Happening::Settled(index) => self.settle(index),
            }
        }
        self.now = self.now.max(until);
        None
    }

    /// Addresses of the nodes that answer everybody, truthfully.
    pub fn live(&self) -> impl Iterator<Item = SocketAddr> {
        self.nodes.iter().filter(|node| node.is_open()).map(|node| node.addr)
    }

    /// Gives a node a table of these others.
    pub fn set_table(&mut self, index: u32, others: &[usize]) {
        let contacts = others.iter().filter_map(|other| Some((self.nodes.get(*other)?.id, *other as u32)));
        let table = contacts.map(|(id, other)| super::tables::Contact::new(&id, other)).collect();
        if let Some(node) = self.nodes.get_mut(index as usize) {
            node.table = table;
        }
    }

    /// Those nearest to a target that are there and meet a condition, nearest first.
    pub(super) fn nearest_alive(
        &self,
        family: Family,
        target: &NodeId,
        count: usize,
        condition: impl Fn(&Node) -> bool,
    ) -> Vec<u32> {
        let mut found = Vec::with_capacity(count);
        self.alive[family as usize].visit_nearest(target, |_, node| {
            if condition(&self.nodes[node as usize]) {
                found.push(node);
            }
            if found.len() >= count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        found
    }

    /// Anybody who is there.
    pub(super) fn random_node(&mut self, family: Family) -> Option<u32> {
        let alive = &self.alive[family as usize];
        let all = alive.all();
        if all.is_empty() {
            return None;
        }
        let place = self.rng.random_range(all);
        alive.at(place..place + 1).first().map(|(_, node)| *node)
    }

    pub(super) fn send_from_node(&mut self, index: u32, to: SocketAddr, bytes: Vec<u8>) {
        let node = &self.nodes[index as usize];
        let from = node.addr;
        if node.nated {
            if self.opened.len() >= OPENED_MAX {
                let now = self.now;
                self.opened.retain(|_, until| *until > now);
            }
            self.opened.insert((index, to), self.now + NAT_KEEPS_OPEN);
        }
        self.put_on_its_way(Packet { from, to, bytes });
    }

    fn put_on_its_way(&mut self, packet: Packet) {
        let [first, second] = self.network.travel(packet.from, packet.to, &mut self.rng);
        let Some(first) = first else {
            self.counts.lost += 1;
            return;
        };
        if let Some(second) = second {
            self.schedule.plan(self.now + second, Happening::Arrival(packet.clone()));
        }
        self.schedule.plan(self.now + first, Happening::Arrival(packet));
    }

    /// A datagram is where it was sent to, which is no outsider.
    fn arrive(&mut self, packet: &Packet) {
        let Some(index) = self.whose.get(&packet.to).copied() else {
            self.counts.to_nobody += 1;
            return;
        };
        let node = &self.nodes[index as usize];
        if !node.is_up() {
            self.counts.to_nobody += 1;
            return;
        }
        if node.nated && self.opened.get(&(index, packet.from)).is_none_or(|until| *until < self.now) {
            self.counts.kept_out += 1;
            return;
        }
        self.counts.delivered += 1;
        if !self.hears(index, packet.from.ip()) {
            return;
        }
        let Ok(message) = Message::parse(&packet.bytes) else {
            self.counts.malformed += 1;
            return;
        };
        match &message.kind {
            Kind::Query(query) => {
                self.answer(index, packet.from, message.tid, query);
                if !message.read_only {
                    self.befriend(index, packet.from, query.id, false);
                }
            }
            Kind::Reply(reply) => {
                if let Some(id) = reply.id {
                    self.befriend(index, packet.from, id, true);
                }
                self.passed_by(index, packet.from, reply);
            }
            Kind::Error(_) => {}
        }
    }

    /// Whether a node listens to an IP at all.
    fn hears(&mut self, index: u32, ip: IpAddr) -> bool {
        let nature = self.nodes[index as usize].nature;
        if nature == Nature::Libtorrent && is_ignored_by_libtorrent(ip) {
            self.counts.ignored_range += 1;
            return false;
        }
        if !matches!(nature, Nature::Libtorrent | Nature::Mldht) {
            return true;
        }
        if self.guards.len() >= GUARDS_MAX && !self.guards.contains_key(&(index, ip)) {
            self.counts.not_guarded += 1;
            return true;
        }
        let now = self.now;
        let guard = self.guards.entry((index, ip)).or_insert_with(|| Guard::new(now, nature));
        match guard.judge(now, nature) {
            Verdict::Heard => return true,
            Verdict::Blocks => self.counts.blocks += 1,
            Verdict::Ignored => self.counts.ignored += 1,
            Verdict::Throttled => self.counts.throttled += 1,
        }
        false
    }
}

/// Pairs of a node and an IP that talks to it: one for each node and outsider of the largest worlds, and many more.
const GUARDS_MAX: usize = 1 << 21;

/// Mappings of NATs; when there are more, those that have run out are forgotten.
const OPENED_MAX: usize = 100_000;

/// How long a NAT lets answers in: two minutes, as RFC 4787 asks for.
const NAT_KEEPS_OPEN: Duration = Duration::from_secs(120);
