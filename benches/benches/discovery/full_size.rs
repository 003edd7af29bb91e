//! The engine in a network of full size, and what the requirements ask of it there.

use std::net::SocketAddr;
use std::time::Duration;

use benches::{Table, thread_cpu_time};
use krpc::InfoHash;
use mainline::Limits;
use swarm::world::{Churn, Network, Node, Scene, Torrents, World};

use crate::Wanted;
use crate::engine::Engine;
use crate::trial::Trial;

const HOUR: Duration = Duration::from_secs(3_600);

/// 40 % stale entries, 30 % newcomers, 10 % loss, all clients, both families.
fn scene(wanted: &Wanted) -> Scene {
    let nodes = wanted.nodes.unwrap_or(20_000);
    Scene {
        seed: wanted.seed.unwrap_or(1),
        nodes,
        newcomers: 0.3,
        network: Network::with_loss(0.1),
        torrents: wanted.torrents.unwrap_or(nodes / 2),
        ..Scene::default()
    }
}

fn enter(scene: &Scene, retry_worth: Option<f64>) -> Result<Trial<Engine>, String> {
    let world = World::stage(scene);
    let first = |v6: bool| world.live().find(|addr| addr.is_ipv6() == v6);
    let bootstrap: Vec<SocketAddr> = [first(false), first(true)].into_iter().flatten().collect();
    let engine = Engine::new(scene.seed, bootstrap, scene.ipv6 > 0.0, world.now, |config| {
        config.limits = Limits::vps();
        config.retry_worth = retry_worth.unwrap_or(config.retry_worth);
    });
    Ok(Trial::new(world, engine.map_err(|error| error.to_string())?))
}

pub(crate) fn measure(wanted: &Wanted) -> Result<(), String> {
    let scene = scene(wanted);
    let lying = Scene { lying: 0.2, ..scene };
    let [honest, lying] = std::thread::scope(|scope| {
        [&scene, &lying]
            .map(|scene| scope.spawn(move || sweep(scene, wanted.retry_worth)))
            .map(|run| run.join())
    });
    let stopped = |_| "a run did not come to its end".to_owned();
    let (honest, lying) = (honest.map_err(stopped)??, lying.map_err(stopped)??);
    println!("{} honest nodes, seed {}, budgets of a vps\n", scene.nodes, scene.seed);
    println!("{}", table(&honest, &lying));
    println!("{}", after_partition(&scene, wanted.retry_worth)?);
    Ok(())
}

/// What a sweep over the network came to.
struct Sweep {
    nodes: usize,
    settled: Share,
    newcomers: Share,
    finished: Option<Duration>,
    queries: u64,
    packets: u64,
    hashes: Share,
    blocks: u64,
    ignored: u64,
    throttled: u64,
    wrong: u64,
    peak_second: usize,
    peak_ten_seconds: usize,
    made_up: usize,
    cpu: Duration,
}

#[derive(Clone, Copy)]
struct Share(usize, usize);

impl Share {
    fn percent(self) -> f64 {
        100.0 * self.0 as f64 / self.1.max(1) as f64
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} % ({} of {})", self.percent(), self.0, self.1)
    }
}

fn visited(trial: &Trial<Engine>, wanted: impl Fn(&Node) -> bool) -> Share {
    let open = trial.world.nodes.iter().filter(|node| node.is_open() && wanted(node));
    let (mut seen, mut all) = (0, 0);
    for node in open {
        all += 1;
        seen += usize::from(trial.crawler.replied.contains(&node.addr));
    }
    Share(seen, all)
}

fn sweep(scene: &Scene, retry_worth: Option<f64>) -> Result<Sweep, String> {
    let start = thread_cpu_time();
    let mut trial = enter(scene, retry_worth)?;
    let mut finished = None;
    let end = trial.world.now + HOUR;
    while trial.world.now < end && finished.is_none() {
        let next = trial.world.now + Duration::from_secs(1);
        trial.run_until(next);
        finished = trial.crawler.dht.sweep_progress().finished.then_some(trial.world.now);
    }
    let (queries, packets) = (trial.watch.queries, trial.watch.packets());
    let settled = visited(&trial, |node| !node.newcomer);
    let newcomers = visited(&trial, |node| node.newcomer);
    // Samplings that were lost are made up for.
    trial.run_until(end);
    let obtainable: Vec<InfoHash> = trial
        .world
        .truth
        .iter()
        .filter(|(_, torrent)| torrent.offered.is_some())
        .map(|(info_hash, _)| *info_hash)
        .collect();
    let found = obtainable.iter().filter(|info_hash| trial.found.contains(*info_hash)).count();
    let counts = &trial.world.counts;
    Ok(Sweep {
        nodes: trial.world.nodes.iter().filter(|node| node.is_open()).count(),
        settled,
        newcomers,
        finished,
        queries,
        packets,
        hashes: Share(found, obtainable.len()),
        blocks: counts.blocks,
        ignored: counts.ignored,
        throttled: counts.throttled,
        wrong: trial.watch.wrong,
        peak_second: trial.watch.peak_second,
        peak_ten_seconds: trial.watch.peak_ten_seconds,
        made_up: trial.made_up.len(),
        cpu: thread_cpu_time() - start,
    })
}

fn table(honest: &Sweep, lying: &Sweep) -> Table {
    let mut table = Table::new(["", "no liars", "20 % liars", "target"]);
    let mut row = |name: &str, target: &str, figure: &dyn Fn(&Sweep) -> String| {
        table.row([name.to_owned(), figure(honest), figure(lying), target.to_owned()]);
    };
    let live =
        |sweep: &Sweep| Share(sweep.settled.0 + sweep.newcomers.0, sweep.settled.1 + sweep.newcomers.1);
    row("live nodes visited by the sweep", ">= 98 %", &|sweep| live(sweep).to_string());
    row("  newcomers among them", ">= 95 %", &|sweep| sweep.newcomers.to_string());
    row("the sweep is over after, s", "", &|sweep| {
        sweep.finished.map_or_else(|| "-".to_owned(), |at| at.as_secs().to_string())
    });
    row("queries for a live node", "<= 2.8", &|sweep| {
        format!("{:.2}", sweep.queries as f64 / sweep.nodes as f64)
    });
    row("packets, answers included", "", &|sweep| {
        format!("{:.2}", sweep.packets as f64 / sweep.nodes as f64)
    });
    row("obtainable hashes found in an hour", ">= 99 %", &|sweep| sweep.hashes.to_string());
    row("blocks by libtorrent nodes", "0", &|sweep| sweep.blocks.to_string());
    row("packets that were not heard", "0", &|sweep| (sweep.ignored + sweep.throttled).to_string());
    row("impolite packets", "0", &|sweep| sweep.wrong.to_string());
    row("most packets to an IP in a second", "4", &|sweep| sweep.peak_second.to_string());
    row("  in ten seconds", "", &|sweep| sweep.peak_ten_seconds.to_string());
    row("hashes that nobody has", "", &|sweep| sweep.made_up.to_string());
    row("CPU of world and engine, s", "", &|sweep| format!("{:.0}", sweep.cpu.as_secs_f64()));
    table
}

/// An hour without network, in a world that goes on.
fn after_partition(scene: &Scene, retry_worth: Option<f64>) -> Result<Table, String> {
    let churn = Churn::default();
    let traffic = Some(Torrents { births_per_hour: scene.torrents as f64 / 20.0, ..Torrents::default() });
    let mut trial = enter(&Scene { churn: Some(churn), traffic, ..*scene }, retry_worth)?;
    trial.run_until(HOUR);
    let (parted, before) = (trial.world.now, trial.crawler.dht.gauges().nodes_live);
    trial.world.network.cut = true;
    trial.run_until(parted + HOUR);
    let while_parted = trial.watch.packets();
    let known = trial.crawler.dht.node_count();
    trial.world.network.cut = false;
    let mut table = Table::new([
        "after an hour of partition",
        "live nodes known",
        "of those who came meanwhile",
        "packets",
    ]);
    let came = |node: &Node| node.arrived > parted && node.arrived < parted + HOUR;
    for minutes in [0_u64, 15, 60, 120] {
        trial.run_until(parted + HOUR + Duration::from_secs(minutes * 60));
        let live = trial.crawler.dht.gauges().nodes_live;
        table.row([
            format!("{minutes} min"),
            format!("{live} ({before} before, {known} kept)"),
            visited(&trial, came).to_string(),
            (trial.watch.packets() - while_parted).to_string(),
        ]);
    }
    for wrong in &trial.watch.wrongs {
        println!("impolite: {wrong}");
    }
    let counts = &trial.world.counts;
    table.row([
        "blocks, impolite packets".to_owned(),
        counts.blocks.to_string(),
        trial.watch.wrong.to_string(),
        String::new(),
    ]);
    Ok(table)
}
