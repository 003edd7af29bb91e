//! One sweep over a network of 20,000 nodes in virtual time: how many of the live are visited, and what the packets were for.
//!
//! Of the entries of routing tables 40 % lead nowhere, with two distinct dead endpoints for three live nodes; three in ten of
//! the live are newcomers, known to the nodes closest to them only. `--nodes N` and `--seed S` change the size and the draw.

#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

mod purposes;

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use benches::{Table, thread_cpu_time};
use krpc::InfoHash;
use mainline::{
    Action, Config, Dht, Event, HashSource, Limits, Output, Port, PortIndex, VirtualNodeConfig, VisitOutcome,
    spread_ids,
};
use purposes::{Purpose, Purposes};
use swarm::world::{Clients, Manners, Network, Node, Packet, Scene, Watch, World};

fn main() -> Result<(), String> {
    let nodes = argument("--nodes")?.unwrap_or(20_000) as usize;
    let seed = argument("--seed")?.unwrap_or(1);
    let packets_per_second = argument("--packets-per-second")?.unwrap_or(1_000) as u32;
    println!("{nodes} live nodes, seed {seed}, {packets_per_second} packets a second\n");
    let mut table = Table::new(
        ["clients", "lost exchanges", "live", "newcomers", "hashes", "then", "queries"]
            .into_iter()
            .chain(Purpose::ALL.map(Purpose::name))
            .chain(["s", "CPU s"]),
    );
    let all_sample = Clients { libtorrent: 1.0, ..NOBODY };
    for (name, clients) in [("all sample", all_sample), ("mixed", Clients::default())] {
        for exchanges in [0.0, 0.1, 0.19] {
            let scene = scene(seed, nodes, clients, exchanges);
            let mut row = vec![name.to_owned(), format!("{:.0} %", 100.0 * exchanges)];
            row.extend(Sweep::run(&scene, packets_per_second)?.row());
            table.row(row);
        }
    }
    println!("{table}");
    Ok(())
}

/// Tables as they are after a while, of nodes that keep to themselves: nobody tells us of himself, so all has to be found.
fn scene(seed: u64, nodes: usize, clients: Clients, exchanges: f64) -> Scene {
    let newcomers = 0.3;
    // The dead are named as often as the settled alone would be: two for three of all live nodes.
    let stale = 2.0 / (2.0 + 3.0 * (1.0 - newcomers));
    Scene {
        seed,
        nodes,
        clients,
        ipv6: 0.0,
        stale,
        newcomers,
        // An exchange fails when either of its datagrams is lost.
        network: Network::with_loss(1.0 - (1.0 - exchanges).sqrt()),
        torrents: nodes / 2,
        upkeep: false,
        ..Scene::default()
    }
}

/// How a sweep went.
struct Sweep {
    live: f64,
    newcomers: f64,
    hashes: f64,
    /// Some minutes later, when what was lost was asked for again.
    hashes_then: f64,
    /// Queries for each live node.
    queries: f64,
    by_purpose: Vec<f64>,
    took: Duration,
    cpu: Duration,
}

impl Sweep {
    fn run(scene: &Scene, packets_per_second: u32) -> Result<Sweep, String> {
        let begun = thread_cpu_time();
        let mut trial = Trial::new(scene, packets_per_second)?;
        let start = trial.world.now;
        while !trial.dht.sweep_progress().finished {
            if trial.world.now > start + GIVE_UP {
                return Err("the sweep has not ended within an hour".to_owned());
            }
            trial.run_until(trial.world.now + SECOND);
        }
        let open = trial.world.nodes.iter().filter(|node| node.is_open()).count() as f64;
        let visited = |wanted: fn(&Node) -> bool| {
            let wanted = trial.world.nodes.iter().filter(|node| node.is_open() && wanted(node));
            let (seen, all) = wanted.fold((0_u32, 0_u32), |(seen, all), node| {
                (seen + u32::from(trial.replied.contains(&node.addr)), all + 1)
            });
            100.0 * f64::from(seen) / f64::from(all.max(1))
        };
        let mut sweep = Sweep {
            live: visited(|_| true),
            newcomers: visited(|node| node.newcomer),
            hashes: trial.hashes(),
            hashes_then: 0.0,
            queries: trial.watch.queries as f64 / open,
            by_purpose: Purpose::ALL.map(|purpose| trial.purposes.of(purpose) as f64 / open).to_vec(),
            took: trial.world.now - start,
            cpu: Duration::ZERO,
        };
        trial.run_until(trial.world.now + LATER);
        sweep.hashes_then = trial.hashes();
        sweep.cpu = thread_cpu_time() - begun;
        if trial.watch.wrong > 0 || trial.world.counts.blocks > 0 {
            return Err(format!("impolite: {:?}", trial.watch.wrongs.first()));
        }
        Ok(sweep)
    }

    fn row(&self) -> Vec<String> {
        let shares = [self.live, self.newcomers, self.hashes, self.hashes_then];
        let mut row: Vec<String> = shares.iter().map(|share| format!("{share:.2} %")).collect();
        row.push(format!("{:.2}", self.queries));
        row.extend(self.by_purpose.iter().map(|queries| format!("{queries:.3}")));
        row.push(self.took.as_secs().to_string());
        row.push(format!("{:.1}", self.cpu.as_secs_f64()));
        row
    }
}

/// The engine in its network.
struct Trial {
    world: World,
    dht: Dht,
    out: Output,
    watch: Watch,
    purposes: Purposes,
    replied: HashSet<SocketAddr>,
    found: HashSet<InfoHash>,
    next_tick: Duration,
}

impl Trial {
    fn new(scene: &Scene, packets_per_second: u32) -> Result<Trial, String> {
        let mut world = World::stage(scene);
        world.attach(OURS);
        let seed = [scene.seed as u8; 32];
        let port = Port { local: (Ipv4Addr::UNSPECIFIED, OURS.port()).into() };
        let ids = spread_ids(8, seed).map(|id| VirtualNodeConfig { id, port: PortIndex(0) });
        let mut config = Config::new(seed, vec![port], ids.collect());
        let settled = world.nodes.iter().filter(|node| node.is_open() && !node.newcomer);
        config.bootstrap = settled.map(|node| node.addr).take(3).collect();
        config.limits = Limits { packets_per_second, ..Limits::server() };
        let dht = Dht::new(&config, world.now).map_err(|error| error.to_string())?;
        let next_tick = world.now;
        Ok(Trial {
            purposes: Purposes::new(&world),
            world,
            dht,
            out: Output::new(),
            watch: Watch::new(Manners::default()),
            replied: HashSet::new(),
            found: HashSet::new(),
            next_tick,
        })
    }

    fn run_until(&mut self, end: Duration) {
        while self.world.now < end {
            match self.world.next(self.next_tick.min(end)) {
                Some(packet) => {
                    self.purposes.heard(packet.from);
                    self.dht.receive(self.world.now, PortIndex(0), packet.from, &packet.bytes, &mut self.out);
                }
                None if self.world.now >= self.next_tick => {
                    self.next_tick += TICK;
                    self.dht.tick(self.world.now, &mut self.out);
                }
                None => {}
            }
            self.settle();
        }
    }

    /// Sends what the engine wants sent, and notes what it tells.
    fn settle(&mut self) {
        for Action::Send { to, payload, .. } in self.out.actions() {
            self.watch.sent(self.world.now, OURS, to, payload);
            self.purposes.sent(to, payload);
            let Packet { from, to, bytes } = Packet { from: OURS, to, bytes: payload.to_vec() };
            self.world.send(from, to, bytes);
        }
        for event in self.out.events() {
            match event {
                Event::Visit(record) if record.outcome == VisitOutcome::Replied => {
                    self.replied.insert(record.addr);
                }
                Event::Hash { info_hash, source: HashSource::Sampled { .. } } => {
                    self.found.insert(info_hash);
                }
                _ => {}
            }
        }
        self.out.clear();
    }

    /// Share of the obtainable info-hashes that were sampled, in percent.
    fn hashes(&self) -> f64 {
        let obtainable = self.world.truth.iter().filter(|(_, torrent)| torrent.offered.is_some());
        let (found, all) = obtainable.fold((0_u32, 0_u32), |(found, all), (info_hash, _)| {
            (found + u32::from(self.found.contains(info_hash)), all + 1)
        });
        100.0 * f64::from(found) / f64::from(all.max(1))
    }
}

/// The value of an option of the command line.
fn argument(name: &str) -> Result<Option<u64>, String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    match (arguments.next(), arguments.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(value)) => value.parse().map(Some).map_err(|_| format!("{name} {value} is no number")),
        (Some(_), None) => Err(format!("{name} lacks its value")),
    }
}

const NOBODY: Clients = Clients {
    libtorrent: 0.0,
    mldht: 0.0,
    sampling: 0.0,
    silent: 0.0,
    four_byte_ids: 0.0,
    refusing: 0.0,
    confusing: 0.0,
};

/// Where the engine is: nobody of the world lives there.
const OURS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(90, 0, 0, 7)), 6_881);

const SECOND: Duration = Duration::from_secs(1);

const TICK: Duration = Duration::from_millis(25);

/// Nodes whose sampling was lost may be sampled again after five minutes.
const LATER: Duration = Duration::from_secs(700);

const GIVE_UP: Duration = Duration::from_secs(3_600);
