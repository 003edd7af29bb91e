//! A small internet in virtual time: engines under test, scripted nodes, loss and latency, all from one seed.
//!
//! It also watches every packet that an engine sends: whether any remote ever gets more than its budget, and
//! whether any remote ever sees two of us at one endpoint.

#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    reason = "each test program uses a part of it"
)]

mod node;
mod watch;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use krpc::{InfoHash, NodeId};
use mainline::{
    Action, Config, Dht, Event, HashSource, Limits, LookupReport, Output, Peer, Port, PortIndex, Priority,
    VirtualNodeConfig, VisitOutcome, spread_ids,
};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

pub use node::{Lie, Nature, Node};
pub use watch::Watch;

pub const MS: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);

/// How packets travel.
#[derive(Clone, Copy)]
pub struct Network {
    /// Share of packets that are lost, each way.
    pub loss: f64,
    /// One way, in milliseconds.
    pub latency_ms: (u64, u64),
    /// Nothing gets through.
    pub cut: bool,
}

/// What the engine has told so far.
#[derive(Default)]
pub struct Findings {
    pub sampled: BTreeSet<InfoHash>,
    pub asked_for: BTreeSet<InfoHash>,
    pub announced: Vec<(InfoHash, SocketAddr, Option<Vec<u8>>)>,
    pub peers: BTreeMap<InfoHash, Vec<Peer>>,
    pub done: Vec<LookupReport>,
    pub replied: BTreeSet<SocketAddr>,
    pub visits: u64,
    pub removed: BTreeSet<SocketAddr>,
    pub external: Vec<IpAddr>,
    pub reseeds: u32,
    /// A running hash over all packets sent and events told: two runs are the same or they are not.
    pub trace: u64,
}

pub struct Engine {
    pub dht: Dht,
    /// The public address of each port.
    pub addrs: Vec<SocketAddr>,
    pub found: Findings,
    pub watch: Watch,
    /// Datagrams received, and allocations made while they were.
    pub received: u64,
    pub allocations: u64,
    out: Output,
}

pub struct World {
    pub now: Duration,
    pub network: Network,
    pub rng: StdRng,
    pub engines: Vec<Engine>,
    pub nodes: Vec<Node>,
    pub truth: BTreeMap<InfoHash, Vec<SocketAddr>>,
    /// Packets delivered in all.
    pub delivered: u64,
    /// Every hash that is sampled is looked up, as the program does.
    pub resolve: bool,
    whose: HashMap<SocketAddr, Whose>,
    flying: BinaryHeap<Reverse<(Duration, u64, Packet)>>,
    sequence: u64,
    next_tick: Duration,
}

#[derive(Clone, Copy)]
enum Whose {
    Engine(usize, PortIndex),
    Node(usize),
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct Packet {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
}

impl World {
    pub fn new(seed: u64, loss: f64) -> World {
        World {
            now: SECOND,
            network: Network { loss, latency_ms: (5, 80), cut: false },
            rng: StdRng::seed_from_u64(seed),
            engines: Vec::new(),
            nodes: Vec::new(),
            truth: BTreeMap::new(),
            delivered: 0,
            resolve: false,
            whose: HashMap::new(),
            flying: BinaryHeap::new(),
            sequence: 0,
            next_tick: SECOND,
        }
    }

    /// Adds scripted nodes, each in a /24 of its own, and lets every one know others as a routing table does:
    /// some at each distance, all those that are close.
    pub fn populate(&mut self, count: usize, nature: impl Fn(&mut StdRng) -> Nature) {
        for index in 0..count {
            let addr = node_addr(index);
            let nature = nature(&mut self.rng);
            let id = NodeId::random(&mut self.rng);
            self.whose.insert(addr, Whose::Node(self.nodes.len()));
            self.nodes.push(Node::new(id, addr, nature));
        }
        let mut sorted: Vec<(NodeId, SocketAddr)> =
            self.nodes.iter().map(|node| (node.id, node.addr)).collect();
        sorted.sort_unstable();
        for index in 0..self.nodes.len() {
            let own = self.nodes[index].id;
            let mut table = Vec::new();
            for level in 0..160 {
                let range = bucket(&sorted, &own, level);
                if range.is_empty() && sorted[bucket_and_closer(&sorted, &own, level)].len() <= 1 {
                    break;
                }
                for _ in 0..range.len().min(8) {
                    let (id, addr) = sorted[self.rng.random_range(range.clone())];
                    if addr != self.nodes[index].addr && !table.iter().any(|(_, known)| *known == addr) {
                        table.push((id, addr));
                    }
                }
            }
            self.nodes[index].table = table;
        }
    }

    /// Has torrents announced to the eight closest live nodes of each.
    pub fn announce_torrents(&mut self, count: usize) {
        for n in 0..count {
            let info_hash = InfoHash::random(&mut self.rng);
            let [a, b] = (n as u16).to_be_bytes();
            let peers: Vec<SocketAddr> =
                (0..3).map(|peer| SocketAddr::from(([60 + peer, a, b, 9], 51_413))).collect();
            let mut live: Vec<usize> =
                (0..self.nodes.len()).filter(|index| self.nodes[*index].nature.stores()).collect();
            if live.len() > 8 {
                live.select_nth_unstable_by_key(7, |index| {
                    self.nodes[*index].id.distance(&info_hash.as_id())
                });
            }
            for index in live.into_iter().take(8) {
                self.nodes[index].store(info_hash, peers.clone());
            }
            self.truth.insert(info_hash, peers);
        }
    }

    /// An engine with `ids` virtual nodes over `ports` ports, that enters by these addresses.
    pub fn add_engine(&mut self, ports: u16, ids: usize, bootstrap: Vec<SocketAddr>) -> usize {
        self.add_engine_with(ports, ids, bootstrap, |_| {})
    }

    pub fn add_engine_with(
        &mut self,
        ports: u16,
        ids: usize,
        bootstrap: Vec<SocketAddr>,
        change: impl FnOnce(&mut Config),
    ) -> usize {
        let index = self.engines.len();
        let [high, low] = (index as u16).to_be_bytes();
        let ip = Ipv4Addr::new(90, high, low, 7);
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let locals = (0..ports).map(|n| Port { local: (Ipv4Addr::UNSPECIFIED, 6_881 + n).into() }).collect();
        let nodes = spread_ids(ids, seed)
            .enumerate()
            .map(|(n, id)| VirtualNodeConfig { id, port: PortIndex(n as u16 % ports) })
            .collect();
        let mut config = Config::new(seed, locals, nodes);
        config.bootstrap = bootstrap;
        config.limits = Limits::server();
        config.limits.nodes_max = 100_000;
        config.limits.contacts_max = 20_000;
        config.limits.stored_hashes_max = 1_000;
        change(&mut config);
        let addrs: Vec<SocketAddr> = (0..ports).map(|n| (ip, 6_881 + n).into()).collect();
        for (n, addr) in (0..).zip(&addrs) {
            self.whose.insert(*addr, Whose::Engine(index, PortIndex(n)));
        }
        let dht = Dht::new(&config, self.now).unwrap();
        self.engines.push(Engine {
            dht,
            addrs,
            found: Findings::default(),
            watch: Watch::default(),
            received: 0,
            allocations: 0,
            out: Output::new(),
        });
        index
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(end, |_| false);
    }

    /// Lets time pass until something is the case, looked at once a second. Whether it came to be.
    pub fn run_until(&mut self, end: Duration, done: impl Fn(&World) -> bool) -> bool {
        let mut look = self.now + SECOND;
        loop {
            let arrival = self.flying.peek().map_or(Duration::MAX, |Reverse((at, ..))| *at);
            let next = arrival.min(self.next_tick);
            if next > end {
                self.now = end;
                return done(self);
            }
            self.now = next;
            if next == self.next_tick {
                self.next_tick += TICK;
                for index in 0..self.engines.len() {
                    let Engine { dht, out, .. } = &mut self.engines[index];
                    dht.tick(next, out);
                    self.settle(index);
                }
                if next >= look {
                    look += SECOND;
                    if done(self) {
                        return true;
                    }
                }
            } else if let Some(Reverse((_, _, packet))) = self.flying.pop() {
                self.deliver(&packet);
            }
        }
    }

    /// Puts a packet on its way, as if `from` had sent it.
    pub fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        if self.network.cut || self.rng.random_bool(self.network.loss) {
            return;
        }
        let (least, most) = self.network.latency_ms;
        let at = self.now + Duration::from_millis(self.rng.random_range(least..=most));
        self.sequence += 1;
        self.flying.push(Reverse((at, self.sequence, Packet { from, to, bytes })));
    }

    /// Hands a datagram to an engine at once.
    pub fn inject(&mut self, engine: usize, port: PortIndex, from: SocketAddr, bytes: &[u8]) {
        let now = self.now;
        let Engine { dht, out, .. } = &mut self.engines[engine];
        dht.receive(now, port, from, bytes, out);
        self.settle(engine);
    }

    pub fn find_peers(&mut self, engine: usize, info_hash: InfoHash, hints: &[SocketAddr]) {
        let now = self.now;
        let Engine { dht, out, .. } = &mut self.engines[engine];
        dht.find_peers(now, info_hash, hints, Priority::Normal, out).unwrap();
        self.settle(engine);
    }

    pub fn scrape(&mut self, engine: usize, info_hash: InfoHash, known: &[SocketAddr], whole: bool) {
        let now = self.now;
        let Engine { dht, out, .. } = &mut self.engines[engine];
        dht.scrape(now, info_hash, known, whole, out).unwrap();
        self.settle(engine);
    }

    /// Addresses of scripted nodes that answer.
    pub fn live(&self) -> impl Iterator<Item = SocketAddr> {
        self.nodes.iter().filter(|node| node.nature.answers()).map(|node| node.addr)
    }

    /// Adds an address at which a scripted node listens that is in nobody's table.
    pub fn add_node(&mut self, mut node: Node, table: Vec<(NodeId, SocketAddr)>) {
        node.table = table;
        self.whose.insert(node.addr, Whose::Node(self.nodes.len()));
        self.nodes.push(node);
    }

    fn deliver(&mut self, packet: &Packet) {
        self.delivered += 1;
        let now = self.now;
        match self.whose.get(&packet.to) {
            Some(Whose::Engine(index, port)) => {
                let Engine { dht, out, received, allocations, .. } = &mut self.engines[*index];
                let receive = || dht.receive(now, *port, packet.from, &packet.bytes, out);
                *received += 1;
                *allocations += allocation_counter::measure(receive).count_total;
                self.settle(*index);
            }
            Some(Whose::Node(index)) => {
                for answer in self.nodes[*index].answer(now, packet, &mut self.rng) {
                    self.send(answer.from, answer.to, answer.bytes);
                }
            }
            None => {}
        }
    }

    /// Sends what an engine wants sent, and notes what it tells.
    fn settle(&mut self, index: usize) {
        let engine = &mut self.engines[index];
        if engine.out.is_empty() {
            return;
        }
        let mut packets = Vec::with_capacity(engine.out.sends());
        for Action::Send { port, to, payload } in engine.out.actions() {
            engine.watch.sent(self.now, port, to, payload);
            mix(&mut engine.found.trace, payload);
            let from = engine.addrs[usize::from(port.0)];
            packets.push(Packet { from, to, bytes: payload.to_vec() });
        }
        let mut wanted = Vec::new();
        for event in engine.out.events() {
            if let Event::Hash { info_hash, source: HashSource::Sampled { by } } = event
                && self.resolve
                && !engine.found.sampled.contains(&info_hash)
            {
                wanted.push((info_hash, by.addr));
            }
            engine.found.note(&event);
        }
        engine.out.clear();
        for (info_hash, by) in wanted {
            // Refused when too many wait: then the next sampling brings it again.
            if engine.dht.find_peers(self.now, info_hash, &[by], Priority::Normal, &mut engine.out).is_err() {
                engine.found.sampled.remove(&info_hash);
            }
        }
        for packet in packets {
            self.send(packet.from, packet.to, packet.bytes);
        }
        self.settle(index);
    }
}

impl Findings {
    fn note(&mut self, event: &Event<'_>) {
        match event {
            Event::Hash { info_hash, source } => {
                mix(&mut self.trace, info_hash.as_bytes());
                match source {
                    HashSource::Sampled { .. } => {
                        self.sampled.insert(*info_hash);
                    }
                    HashSource::GetPeers { .. } => {
                        self.asked_for.insert(*info_hash);
                    }
                    HashSource::Announced { peer, name, .. } => {
                        self.announced.push((*info_hash, *peer, name.map(<[u8]>::to_vec)));
                    }
                }
            }
            Event::Peers { info_hash, peers, .. } => {
                self.peers.entry(*info_hash).or_default().extend_from_slice(peers);
            }
            Event::LookupDone(report) => self.done.push(*report),
            Event::Visit(record) => {
                mix(&mut self.trace, record.id.as_bytes());
                self.visits += 1;
                if record.outcome == VisitOutcome::Replied {
                    self.replied.insert(record.addr);
                }
                if record.removed {
                    self.removed.insert(record.addr);
                }
            }
            Event::ExternalAddress(address) => self.external.push(*address),
            Event::Reseeded => self.reseeds += 1,
        }
    }
}

pub fn node_addr(index: usize) -> SocketAddr {
    let [_, a, b, c] = (index as u32).to_be_bytes();
    SocketAddr::from(([64 + a, b, c, 7], 6_881))
}

fn mix(trace: &mut u64, bytes: &[u8]) {
    for byte in bytes {
        *trace = (*trace ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(5);
    }
}

/// Those of a sorted list that share exactly `level` bits with `own`.
fn bucket(sorted: &[(NodeId, SocketAddr)], own: &NodeId, level: u32) -> std::ops::Range<usize> {
    let mut sibling = *own.as_bytes();
    sibling[level as usize / 8] ^= 0x80 >> (level % 8);
    bucket_and_closer(sorted, &NodeId::from_bytes(sibling), level + 1)
}

/// Those of a sorted list that share at least `level` bits with `own`.
fn bucket_and_closer(sorted: &[(NodeId, SocketAddr)], own: &NodeId, level: u32) -> std::ops::Range<usize> {
    let before = |id: &NodeId| id < own && id.common_prefix_len(own) < level;
    let from = sorted.partition_point(|(id, _)| before(id));
    let to = from + sorted[from..].partition_point(|(id, _)| id.common_prefix_len(own) >= level);
    from..to
}

const TICK: Duration = Duration::from_millis(25);
