//! A world for the whole program: DHT nodes that answer, dead ones in their tables, seeders, and a database in memory.

pub mod database;
pub mod node;
mod presence;
mod stranger;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    rc::Rc,
    time::{Duration, SystemTime},
};

use bittorrent::{FetchConfig, InfoLimits, PeerId, Transport, TransportSet};
use indexer_app::{
    db::{Quotas, RunId, TidyLimits},
    model::{DiskPlan, Flags, GivingPlan, Indexer, Plan, UtpPlan, identity::Kept},
};
use krpc::{InfoHash, NodeId};
use mainline::{Dht, IdScheme, OwnIds, Port, ReadOnly};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sha1::{Digest, Sha1};
use tea_runtime::sim::{HostConfig, HostId, LinkPolicy, NatConfig, NatFilter, Sim};

use database::FakeDatabase;
use node::Node;
use stranger::Stranger;

/// Where all nodes listen, over UDP and TCP.
pub const PORT: u16 = 6881;

/// How many nodes a table names, and how many store what is announced.
const K: usize = 8;

/// What a world is made of.
#[derive(Clone, Copy, Debug)]
pub struct WorldPlan {
    /// Nodes that answer.
    pub live: usize,
    /// Share of the nodes in tables that do not.
    pub dead_share: f64,
    /// Torrents, each announced to the nodes closest to it.
    pub torrents: usize,
    /// The chance that a datagram is lost.
    pub loss: f64,
}

/// What the indexer is like, and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub ids: IdScheme,
    /// It stands behind a router, which lets in whom?
    pub nat: Option<NatFilter>,
    pub read_only: ReadOnly,
    pub move_nodes: Option<Duration>,
    /// It reaches peers by all transports, and every other node takes nothing but uTP.
    pub with_utp: bool,
    pub connects_per_minute: u32,
    /// When nodes that it has never spoken to begin to ask it.
    pub strangers_after: Option<Duration>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            ids: IdScheme::Spread,
            nat: None,
            read_only: ReadOnly::Off,
            move_nodes: None,
            with_utp: false,
            connects_per_minute: 6_000,
            strangers_after: None,
        }
    }
}

/// What the nodes have seen of the indexer.
#[derive(Debug, Default)]
pub struct Sight {
    /// Where its queries came from.
    pub endpoints: BTreeSet<SocketAddr>,
    /// How many of its queries said that it is read-only, and how many did not.
    pub read_only: u64,
    pub full: u64,
    /// Answers to strangers.
    pub answers: u64,
}

/// Everybody who is, or was, in the network.
pub struct Population {
    /// What nodes say that the address of whoever asks is, instead of what it is: so many of ten do.
    pub claim: Cell<Option<(IpAddr, u8)>>,
    pub sight: RefCell<Sight>,
    /// Sorted by id; `true` answers.
    pub nodes: Vec<(NodeId, SocketAddr, bool)>,
    /// What each live node stores: hashes, and who seeds them.
    pub stored: BTreeMap<SocketAddr, BTreeMap<InfoHash, SocketAddr>>,
    /// The info dicts of the torrents.
    pub info_dicts: BTreeMap<InfoHash, Vec<u8>>,
}

impl Population {
    fn new(plan: WorldPlan, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let total = (plan.live as f64 / (1.0 - plan.dead_share)).round() as usize;
        let mut nodes: Vec<_> = (0..total)
            .map(|index| {
                // Each in a /24 of its own.
                let ip = Ipv4Addr::from(0x3200_0001 + ((index as u32) << 8));
                (NodeId::from_bytes(random.random()), SocketAddr::from((ip, PORT)), index < plan.live)
            })
            .collect();
        nodes.sort_unstable();
        let mut population = Self {
            claim: Cell::new(None),
            sight: RefCell::default(),
            nodes,
            stored: BTreeMap::new(),
            info_dicts: BTreeMap::new(),
        };
        let live: Vec<SocketAddr> =
            population.nodes.iter().filter(|node| node.2).map(|node| node.1).collect();
        for number in 0..plan.torrents {
            let name = format!("torrent number {number}");
            let raw = format!(
                "d6:lengthi{}e4:name{}:{name}12:piece lengthi16384e6:pieces20:{:020}e",
                number + 1,
                name.len(),
                number
            );
            let hash = InfoHash::from_bytes(Sha1::digest(raw.as_bytes()).into());
            population.info_dicts.insert(hash, raw.into_bytes());
            let seeder = live[random.random_range(0..live.len())];
            for (_, address, lives) in population.closest(&hash.as_id(), K) {
                if lives {
                    population.stored.entry(address).or_default().insert(hash, seeder);
                }
            }
        }
        population
    }

    /// The nodes closest to a target, dead ones among them.
    pub fn closest(&self, target: &NodeId, count: usize) -> Vec<(NodeId, SocketAddr, bool)> {
        // All that share the longest prefix with the target that enough nodes share lie in one run of the sorted list.
        let at = self.nodes.partition_point(|node| node.0 < *target);
        let mut reach = count;
        loop {
            let (low, high) = (at.saturating_sub(reach), (at + reach).min(self.nodes.len()));
            let is_whole = low == 0 && high == self.nodes.len();
            let run = &self.nodes[low..high];
            let mut sorted: Vec<_> = run.iter().map(|node| (node.0.distance(target), *node)).collect();
            sorted.sort_unstable_by_key(|node| node.0);
            sorted.truncate(count);
            // Beyond the run nobody is closer than its ends' own neighbourhoods allow.
            let prefix = sorted.last().map_or(0, |node| node.0.leading_zeros());
            let ends = [low.checked_sub(1).map(|i| self.nodes[i].0), self.nodes.get(high).map(|node| node.0)];
            if is_whole || ends.into_iter().flatten().all(|end| end.common_prefix_len(target) < prefix) {
                return sorted.into_iter().map(|node| node.1).collect();
            }
            reach *= 2;
        }
    }

    /// Hashes that at least one live node stores.
    pub fn reachable(&self) -> Vec<InfoHash> {
        let mut hashes: Vec<_> = self.stored.values().flat_map(|stored| stored.keys().copied()).collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes
    }
}

/// A running world with one indexer.
pub struct SimulatedWorld {
    pub sim: Sim,
    pub indexer: HostId<Indexer>,
    pub population: Rc<Population>,
    pub database: Rc<RefCell<FakeDatabase>>,
}

impl SimulatedWorld {
    pub fn new(plan: WorldPlan, seed: u64) -> Self {
        Self::with(plan, seed, Setup::default())
    }

    pub fn with(plan: WorldPlan, seed: u64, setup: Setup) -> Self {
        let population = Rc::new(Population::new(plan, seed));
        let mut sim = Sim::new(seed);
        sim.set_policy(LinkPolicy::default().with_loss(plan.loss));
        let live: Vec<_> = population.nodes.iter().filter(|node| node.2).copied().collect();
        for (id, address, _) in &live {
            let by_utp = setup.with_utp && id.as_bytes()[0] % 2 == 0;
            sim.responder(address.ip(), Node::new(*id, *address, by_utp, Rc::clone(&population)));
        }
        let bootstrap: Vec<SocketAddr> = live.iter().step_by(live.len() / 3).map(|node| node.1).collect();
        if let Some(after) = setup.strangers_after {
            for n in 0..STRANGERS {
                sim.responder([70, 0, n, 1], Stranger::new(n, after, Rc::clone(&population)));
            }
        }
        let database = Rc::new(RefCell::new(FakeDatabase::default()));
        let (host, ip) = match setup.nat {
            None => (HostConfig::new(PUBLIC), PUBLIC),
            Some(filter) => {
                let nat = sim.nat(NatConfig { filter, ..NatConfig::new(PUBLIC) });
                (HostConfig::new(PRIVATE).behind(nat), PRIVATE)
            }
        };
        let kept = Rc::clone(&database);
        let flags = move || flags(ip, seed, &bootstrap, setup, &Kept::read(&kept.borrow().identity));
        let indexer = sim.host::<Indexer>(host, flags);
        let answering = Rc::clone(&database);
        sim.on_effect(indexer, move |effect, cx| answering.borrow_mut().answer(effect, cx));
        Self { sim, indexer, population, database }
    }
}

/// The address of the indexer, or of the router before it.
pub const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(20, 0, 0, 1));

/// The address of the indexer behind a router.
pub const PRIVATE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

/// How many strangers there are, if any.
const STRANGERS: u8 = 5;

fn flags(ip: IpAddr, seed: u64, bootstrap: &[SocketAddr], setup: Setup, kept: &Kept) -> Flags {
    let mut random = StdRng::seed_from_u64(seed ^ 0x5eed);
    let ports: Vec<SocketAddr> = (0..2).map(|index| SocketAddr::new(ip, 7000 + index)).collect();
    let external = |local| kept.external_of(local);
    let ids = OwnIds::new(setup.ids, random.random(), &ports, 2, external, kept.moves.iter().copied());
    let mut config = mainline::Config::new(
        random.random(),
        ports.iter().map(|local| Port { local: *local }).collect(),
        ids.nodes().collect(),
    );
    config.bootstrap = bootstrap.to_vec();
    config.read_only = setup.read_only;
    config.known_external = external(ip).map(|external| (ip, external)).into_iter().collect();
    config.min_sample_interval = Duration::from_secs(60);
    config.limits.packets_per_second = 500;
    config.limits.bytes_per_second = 500_000;
    config.limits.new_endpoints_per_minute = 30_000;
    let mut fetch = FetchConfig::new(PeerId::from_bytes(random.random()));
    if setup.with_utp {
        fetch.transports.allowed = TransportSet::of(&Transport::ALL);
    }
    Flags {
        dht: Dht::new(&config, Duration::ZERO).expect("a good configuration"),
        ids,
        ports,
        fetch,
        known: Vec::new(),
        torrents: 0,
        backlog: 0,
        plan: Plan {
            bootstrap: Vec::new(),
            info: InfoLimits::default(),
            fetches: 100,
            connects_per_minute: setup.connects_per_minute,
            run: RunId(1),
            owner: "simulated".to_owned(),
            started_at: SystemTime::UNIX_EPOCH,
            duration: None,
            once: false,
            tidy: TidyLimits::default(),
            quotas: Quotas::default(),
            disk: DiskPlan { place: Some("/".into()), free_min: 1 << 30 },
            loopback_only: false,
            move_nodes: setup.move_nodes,
            connect_from: Vec::new(),
            only: None,
            giving: GivingPlan::nothing(),
            accept: Vec::new(),
            keep_info_dicts: None,
            utp: UtpPlan { seed: random.random(), packets_per_second: 1_000 },
        },
    }
}
