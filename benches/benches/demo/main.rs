//! The whole program: `indexer run` on a synthetic swarm, until every torrent can be searched, and idle after that.
//!
//! `cargo bench -p benches --bench demo -- [--nodes 2000] [--torrents 5000] [--runs 2]`
//!
//! The swarm runs in a process of its own (this program again), so that its share of the CPU and memory is told apart. The
//! indexer is the released one with the settings of `indexer demo`; it is built first, or given by `INDEXER_BIN`.
//! All traffic is on loopback.
#![expect(clippy::print_stdout, reason = "a benchmark prints its tables")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

mod floor;
#[allow(dead_code, reason = "shared with other benchmarks")]
#[path = "../whole_program/indexer_process.rs"]
mod indexer_process;
#[allow(dead_code, reason = "shared with other benchmarks")]
#[path = "../whole_program/process_figures.rs"]
mod process_figures;
mod run;
mod swarm_process;

use std::process::ExitCode;

use benches::Table;
use run::Run;

/// What can be asked for on the command line.
#[derive(Clone, Copy, Debug)]
struct Size {
    nodes: usize,
    torrents: usize,
    runs: usize,
}

fn main() -> ExitCode {
    let done = match arguments() {
        Ok((true, size)) => swarm_process::serve(size.nodes, size.torrents),
        Ok((false, size)) => compare(size),
        Err(problem) => Err(problem),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            println!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// Whether to be the swarm, and the size of it.
fn arguments() -> Result<(bool, Size), String> {
    let (mut serve, mut size) = (false, Size { nodes: 2_000, torrents: 5_000, runs: 2 });
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let value = arguments.next().unwrap_or_default();
            value.parse().map_err(|_| format!("{argument} needs a number, not {value:?}"))
        };
        match argument.as_str() {
            // Cargo says so to every benchmark.
            "--bench" => {}
            swarm_process::ROLE => serve = true,
            "--nodes" => size.nodes = number()?,
            "--torrents" => size.torrents = number()?,
            "--runs" => size.runs = number()?,
            other => return Err(format!("{other:?} is none of --nodes N, --torrents N, --runs N")),
        }
    }
    Ok((serve, size))
}

fn compare(size: Size) -> Result<(), String> {
    let program = indexer_process::program()?;
    let mut runs = Vec::new();
    for _ in 0..size.runs.max(1) {
        runs.push(run::run(&program, size)?);
    }
    let floor = runs[0].floor;
    println!("demo: {} nodes, {} torrents under {} keys\n", size.nodes, size.torrents, floor.keys);
    println!("{}", table(&runs));
    println!(
        "floor: what one query a second to a node (burst 3) and one sampling of it in {} s allow to the fastest program.\n\
         {:.1} s to ask: once where each node's neighbours are, once for samples, and once for the peers of each key\n\
         at one of the 8 nodes that store it, evenly spread. {:.0} s to sample: a node shows 20 of its keys ({} on the\n\
         fullest node), another 20 in the next interval; {} intervals pass until each key was shown once.",
        floor::INTERVAL.as_secs(),
        floor.asking_seconds,
        floor.sampling_seconds(),
        floor.most_keys,
        floor.sampling_rounds - 1,
    );
    Ok(())
}

/// A row of the table: what it is, its floor or target if there is one, and how a run's figure is got.
type Row = (&'static str, Option<fn(&Run) -> String>, fn(&Run) -> String);

const ROWS: &[Row] = &[
    ("all torrents searchable after, s", Some(|run| format!("{:.1} floor", run.floor.seconds())), |run| {
        format!("{:.1}", run.searchable_seconds)
    }),
    ("  the first one stored after, s", None, |run| format!("{:.1}", run.first_stored_seconds)),
    ("  99 % of them after, s", None, |run| format!("{:.1}", run.nearly_all_seconds)),
    ("  torrents a second, first to last", None, |run| format!("{:.0}", run.torrents_per_second())),
    ("searches that find what they should", None, |run| {
        format!("{} of {}", run.searches_right, run.searches)
    }),
    ("  indexer search, wall ms", None, |run| format!("{:.0}", run.search_ms)),
    ("found within 0.5, 1, 2 s of its verification, %", Some(|_| "95 % within 2 s".into()), |run| {
        run.found_within.map(|share| format!("{:.1}", share * 100.0)).join(", ")
    }),
    ("peak RSS of the indexer, MB", Some(|_| "200 target".into()), |run| {
        format!("{:.0}", run.indexer_rss_peak as f64 / 1e6)
    }),
    ("  of the swarm, MB", None, |run| format!("{:.0}", run.swarm_rss_peak as f64 / 1e6)),
    ("CPU of the indexer until then, s", None, |run| format!("{:.2}", run.indexer_cpu)),
    ("  of its database, s", None, |run| format!("{:.2}", run.database_cpu)),
    ("  of initdb, s", None, |run| format!("{:.2}", run.set_up_cpu)),
    ("  of the swarm, s", None, |run| format!("{:.2}", run.swarm_cpu)),
    ("  of the indexer, ms a torrent", None, |run| {
        format!("{:.2}", run.indexer_cpu * 1e3 / run.torrents as f64)
    }),
    ("idle CPU of the indexer, % of a core", Some(|_| "5 target".into()), |run| {
        format!("{:.2}", run.indexer_idle * 100.0)
    }),
    ("  of its database, %", None, |run| format!("{:.2}", run.database_idle * 100.0)),
    ("  packets sent meanwhile, a second", None, |run| format!("{:.0}", run.idle_packets_per_second)),
    ("packets sent for each key", Some(|run| format!("{:.1} floor", run.floor.packets_per_key())), |run| {
        run.for_each_key(run.counts.datagrams)
    }),
    ("  to sample", None, |run| run.for_each_key(run.counts.samples)),
    ("  to find nodes", None, |run| run.for_each_key(run.counts.find_nodes)),
    ("  to get peers", Some(|_| "1 floor".into()), |run| run.for_each_key(run.counts.get_peers)),
    ("  to dead nodes", None, |run| run.for_each_key(run.counts.to_the_dead)),
    ("connections for each key", Some(|_| "1 floor".into()), |run| run.for_each_key(run.counts.connections)),
    ("most packets to a node in a second", Some(|_| "4 allowed".into()), |run| {
        run.peak_per_second.to_string()
    }),
];

fn table(runs: &[Run]) -> Table {
    let numbers: Vec<String> = (1..=runs.len()).map(|run| format!("run {run}")).collect();
    let headings = [""].into_iter().chain(numbers.iter().map(String::as_str)).chain(["floor or target"]);
    let mut table = Table::new(headings);
    for (name, bound, figure) in ROWS {
        let bound = bound.map_or_else(String::new, |bound| bound(&runs[0]));
        table.row([(*name).to_owned()].into_iter().chain(runs.iter().map(figure)).chain([bound]));
    }
    table
}
