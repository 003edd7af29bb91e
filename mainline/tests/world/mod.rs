//! Engines under test in a scripted network: virtual time, loss and latency, all from one seed.
//!
//! The network is that of [`swarm::world`]; here is what drives engines in it. It also watches every packet that an
//! engine sends: whether any remote ever gets more than its budget, and whether any remote ever sees two of us.

#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    reason = "each test program uses a part of it"
)]

mod engine;
mod findings;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use krpc::InfoHash;
use mainline::{
    Config, Dht, Event, HashSource, Limits, Output, Port, PortIndex, Priority, VirtualNodeConfig, spread_ids,
};
use rand::Rng;
pub use swarm::world::{
    Churn, Clients, Lie, Manners, Nature, Network, Node, Packet, Scene, Torrents, Watch, node_addr,
};

pub use engine::Engine;
pub use findings::Findings;

pub const MS: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);

/// A network with engines in it.
pub struct World {
    network: swarm::world::World,
    pub engines: Vec<Engine>,
    /// Every hash that is sampled is looked up, as the program does.
    pub resolve: bool,
    next_tick: Duration,
}

impl Deref for World {
    type Target = swarm::world::World;

    fn deref(&self) -> &Self::Target {
        &self.network
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.network
    }
}

impl World {
    pub fn new(seed: u64, loss: f64) -> World {
        World::of(swarm::world::World::new(seed, loss))
    }

    pub fn stage(scene: &Scene) -> World {
        World::of(swarm::world::World::stage(scene))
    }

    fn of(network: swarm::world::World) -> World {
        let next_tick = network.now;
        World { network, engines: Vec::new(), resolve: false, next_tick }
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
        self.add_engine_at(ports, 0, ids, bootstrap, change)
    }

    /// The same with `v6` of its ports in IPv6.
    pub fn add_engine_at(
        &mut self,
        v4: u16,
        v6: u16,
        ids: usize,
        bootstrap: Vec<SocketAddr>,
        change: impl FnOnce(&mut Config),
    ) -> usize {
        let index = self.engines.len();
        let [high, low] = (index as u16).to_be_bytes();
        let ip = Ipv4Addr::new(90, high, low, 7);
        let ip6 = Ipv6Addr::new(0x2a0a, index as u16, 0, 0, 0, 0, 0, 7);
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let of_v4 = (0..v4).map(|n| Port { local: (Ipv4Addr::UNSPECIFIED, 6_881 + n).into() });
        let of_v6 = (0..v6).map(|n| Port { local: (Ipv6Addr::UNSPECIFIED, 6_881 + n).into() });
        let locals = of_v4.chain(of_v6).collect();
        let nodes = spread_ids(ids, seed)
            .enumerate()
            .map(|(n, id)| VirtualNodeConfig { id, port: PortIndex(n as u16 % (v4 + v6)) })
            .collect();
        let mut config = Config::new(seed, locals, nodes);
        config.bootstrap = bootstrap;
        config.limits = Limits::server();
        config.limits.nodes_max = 100_000;
        config.limits.contacts_max = 20_000;
        config.limits.stored_hashes_max = 1_000;
        change(&mut config);
        let of_v4 = (0..v4).map(|n| SocketAddr::from((ip, 6_881 + n)));
        let of_v6 = (0..v6).map(|n| SocketAddr::from((ip6, 6_881 + n)));
        let addrs: Vec<SocketAddr> = of_v4.chain(of_v6).collect();
        for addr in &addrs {
            self.network.attach(*addr);
        }
        let dht = Dht::new(&config, self.now).unwrap();
        self.engines.push(Engine::new(dht, addrs));
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
            if let Some(packet) = self.network.next(self.next_tick.min(end)) {
                self.deliver(&packet);
                continue;
            }
            let now = self.now;
            if now < self.next_tick {
                return done(self);
            }
            self.next_tick = now + TICK;
            for index in 0..self.engines.len() {
                let Engine { dht, out, .. } = &mut self.engines[index];
                dht.tick(now, out);
                self.settle(index);
            }
            if now >= look {
                look += SECOND;
                if done(self) {
                    return true;
                }
            }
        }
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

    fn deliver(&mut self, packet: &Packet) {
        let now = self.now;
        let found = |(index, engine): (usize, &Engine)| Some((index, engine.port_of(packet.to)?));
        let Some((index, port)) = self.engines.iter().enumerate().find_map(found) else { return };
        let Engine { dht, out, received, allocations, .. } = &mut self.engines[index];
        let receive = || dht.receive(now, port, packet.from, &packet.bytes, out);
        *received += 1;
        *allocations += allocation_counter::measure(receive).count_total;
        self.settle(index);
    }

    /// Sends what an engine wants sent, and notes what it tells.
    fn settle(&mut self, index: usize) {
        let now = self.now;
        let engine = &mut self.engines[index];
        if engine.out.is_empty() {
            return;
        }
        engine.send_all(&mut self.network);
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
            if engine.dht.find_peers(now, info_hash, &[by], Priority::Normal, &mut engine.out).is_err() {
                engine.found.sampled.remove(&info_hash);
            }
        }
        self.settle(index);
    }
}

const TICK: Duration = Duration::from_millis(25);
