//! A whole sweep: `indexer run --once` with ten thousand virtual nodes on a swarm of a hundred thousand live nodes, each
//! at an address of its own, and as many dead ones among their contacts as make up 30 %, with the budgets of the profile `server`.
//!
//! `cargo bench -p benches --bench crawl -- [--nodes 100000] [--torrents 200] [--virtual-nodes 1250]`
//!
//! The swarm runs in a process of its own (this program again). The indexer is the released one; it is built first, or given by
//! `INDEXER_BIN`. All traffic is on loopback.
#![expect(clippy::print_stdout, reason = "a benchmark prints its tables")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

#[allow(dead_code, reason = "shared with other benchmarks")]
#[path = "../whole_program/crowd.rs"]
mod crowd;
#[allow(dead_code, reason = "shared with other benchmarks")]
#[path = "../whole_program/indexer_process.rs"]
mod indexer_process;
#[allow(dead_code, reason = "shared with other benchmarks")]
#[path = "../whole_program/process_figures.rs"]
mod process_figures;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use benches::Table;
use crowd::Crowd;
use indexer_process::Indexer;
use process_figures::{cpu, cpu_of_family, database, rss_peak};

/// Between two looks at the processes.
const LOOK: Duration = Duration::from_millis(250);

/// Longest wait for the end of the sweep.
const PATIENCE: Duration = Duration::from_secs(600);

struct Size {
    nodes: usize,
    torrents: usize,
    virtual_nodes: u32,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let done = if arguments.peek().is_some_and(|argument| argument == crowd::ROLE) {
        crowd::serve(arguments.skip(1))
    } else {
        size(arguments).and_then(|size| crawl(&size))
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            println!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn size(mut arguments: impl Iterator<Item = String>) -> Result<Size, String> {
    let mut size = Size { nodes: 100_000, torrents: 200, virtual_nodes: 1_250 };
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let value = arguments.next().unwrap_or_default();
            value.parse::<usize>().map_err(|_| format!("{argument} needs a number, not {value:?}"))
        };
        match argument.as_str() {
            // Cargo says so to every benchmark.
            "--bench" => {}
            "--nodes" => size.nodes = number()?,
            "--torrents" => size.torrents = number()?,
            "--virtual-nodes" => size.virtual_nodes = number()? as u32,
            other => {
                return Err(format!(
                    "{other:?} is none of --nodes N, --torrents N, --virtual-nodes N a port"
                ));
            }
        }
    }
    Ok(size)
}

fn crawl(size: &Size) -> Result<(), String> {
    let program = indexer_process::program()?;
    let mut crowd = Crowd::start(size.nodes, size.torrents)?;
    let crowd_set_up = cpu(crowd.pid()).own;
    let virtual_nodes = size.virtual_nodes.to_string();
    let settings = [
        "--once",
        "--bind",
        "127.0.0.1",
        "--port",
        "0",
        "--ports",
        "8",
        "--nodes-per-port",
        &virtual_nodes,
        "--ids",
        "spread",
        "--profile",
        "server",
        "--shared-buffers",
        "67108864",
    ];
    let mut indexer = Indexer::start(&program, &settings, &crowd.bootstrap)?;
    let begun = Instant::now();
    // What a process that has ended has used is not to be had any more, so the last look counts.
    let (mut own, mut data, mut rss, mut first, mut all_asked) = (0.0, 0.0, 0, None, None);
    let mut cpu_until_asked = 0.0;
    let status = loop {
        std::thread::sleep(LOOK);
        let counts = crowd.counts()?;
        let now = begun.elapsed().as_secs_f64();
        if counts.datagrams > 0 {
            first.get_or_insert(now);
        }
        if counts.nodes_asked * 100 >= size.nodes as u64 * 99 && all_asked.is_none() {
            all_asked = Some((now, counts));
            cpu_until_asked = cpu(indexer.pid()).own;
        }
        if let Some(status) = indexer.ended() {
            break status;
        }
        own = f64::max(own, cpu(indexer.pid()).own);
        data = f64::max(data, database(&indexer.data_dir()).map_or(0.0, cpu_of_family));
        rss = rss.max(rss_peak(indexer.pid()));
        if begun.elapsed() > PATIENCE {
            return Err(format!("the sweep has not ended after {PATIENCE:?}: {counts:?}"));
        }
    };
    let (report, log) = indexer.written();
    if !status.success() {
        return Err(format!("the indexer ended with {status}:\n{log}"));
    }
    let seconds = begun.elapsed().as_secs_f64();
    let counts = crowd.counts()?;
    let live = size.nodes as f64;
    let mut table = Table::new(["sweep", "", "target"]);
    let mut row =
        |name: &str, value: String, target: &str| table.row([name.to_owned(), value, target.to_owned()]);
    row("live nodes asked", format!("{:.2} %", 100.0 * counts.nodes_asked as f64 / live), "99 %");
    row(
        "  sampled: the others are of clients that know no sampling",
        format!("{:.2} %", 100.0 * counts.nodes_sampled as f64 / live),
        "",
    );
    let at = all_asked.map_or("-".to_owned(), |(at, _)| format!("{at:.1} s"));
    row("99 % of them asked after", at, "");
    let packets_until = all_asked.map_or(f64::NAN, |(_, counts)| counts.datagrams as f64 / live);
    row("  packets for each until then", format!("{packets_until:.2}"), "");
    row("  CPU of the indexer until then", format!("{cpu_until_asked:.1} s"), "");
    row("first packet after", format!("{:.1} s", first.unwrap_or(f64::NAN)), "");
    row("the whole sweep took", format!("{seconds:.1} s"), "");
    row("packets for each live node", format!("{:.2}", counts.datagrams as f64 / live), "2.8");
    row("  of them to dead nodes", format!("{:.2}", counts.to_the_dead as f64 / live), "");
    row("CPU of the indexer", format!("{own:.1} s"), "");
    row("  for each packet sent", format!("{:.1} us", own * 1e6 / counts.datagrams as f64), "");
    row("CPU of its database", format!("{data:.1} s"), "");
    row("CPU of the swarm", format!("{:.1} s", cpu(crowd.pid()).own - crowd_set_up), "");
    row("peak RSS of the indexer", format!("{} MB", rss >> 20), "256 MB");
    row("most packets to a node in a second", counts.peak_per_second.to_string(), "4");
    row("nodes flooded", counts.floods.to_string(), "0");
    row("packets not followed for these", counts.not_followed.to_string(), "");
    println!(
        "crawl: {} live nodes, {} torrents, {} virtual nodes on 8 ports, profile server\n\n{table}\n{report}",
        size.nodes,
        size.torrents,
        8 * size.virtual_nodes
    );
    Ok(())
}
