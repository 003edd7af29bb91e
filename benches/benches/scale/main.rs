//! What ten thousand virtual nodes cost: memory of their tables, memory of the whole program, CPU time while nothing is left to do.
//!
//! `cargo bench -p benches --bench scale -- [--nodes 20000] [--settle 100] [--idle 30]`
//!
//! The tables are made in processes of their own (this program again), so that what the system says of their memory is about them
//! alone. `indexer run` runs with 8, with 10,000 and with 100,000 virtual nodes on 8 ports, at the same time, each on a
//! synthetic swarm of its own: what more nodes cost is the difference. The indexer is the released one; it is built first, or given by
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
mod tables;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use benches::Table;
use crowd::Crowd;
use indexer_process::Indexer;
use process_figures::{cpu, rss, rss_peak};

/// Virtual nodes on each of the 8 ports.
const NODES_PER_PORT: [u32; 3] = [1, 1_250, 12_500];

/// Ports of each indexer.
const PORTS: u32 = 8;

const MIB: f64 = (1 << 20) as f64;

struct Size {
    nodes: usize,
    settle: Duration,
    idle: Duration,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let done = match arguments.peek().map(String::as_str) {
        Some(crowd::ROLE) => crowd::serve(arguments.skip(1)),
        Some(tables::ROLE) => tables::serve(arguments.skip(1)),
        _ => size(arguments).and_then(|size| whole_program(&size).and_then(|()| tables::compare())),
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
    let mut size = Size { nodes: 20_000, settle: Duration::from_secs(100), idle: Duration::from_secs(30) };
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let value = arguments.next().unwrap_or_default();
            value.parse::<usize>().map_err(|_| format!("{argument} needs a number, not {value:?}"))
        };
        match argument.as_str() {
            // Cargo says so to every benchmark.
            "--bench" => {}
            "--nodes" => size.nodes = number()?,
            "--settle" => size.settle = Duration::from_secs(number()? as u64),
            "--idle" => size.idle = Duration::from_secs(number()? as u64),
            other => return Err(format!("{other:?} is none of --nodes N, --settle SECONDS, --idle SECONDS")),
        }
    }
    Ok(size)
}

/// One of the indexers.
struct Run {
    virtual_nodes: u32,
    crowd: Crowd,
    indexer: Indexer,
    first_packet: Duration,
    /// CPU seconds and packets when the rest began.
    at_rest: (f64, u64),
}

fn whole_program(size: &Size) -> Result<(), String> {
    let program = indexer_process::program()?;
    let mut runs = Vec::new();
    for (number, nodes_per_port) in (1..).zip(NODES_PER_PORT) {
        let (bind, per_port) = (format!("127.0.0.{number}"), nodes_per_port.to_string());
        let settings = [
            "--bind",
            &bind,
            "--port",
            "0",
            "--ports",
            &PORTS.to_string(),
            "--nodes-per-port",
            &per_port,
            "--ids",
            "spread",
            "--profile",
            "server",
            "--shared-buffers",
            "16777216",
        ];
        let mut crowd = Crowd::start(size.nodes, 0)?;
        let begun = Instant::now();
        let mut indexer = Indexer::start(&program, &settings, &crowd.bootstrap)?;
        while crowd.counts()?.datagrams == 0 {
            std::thread::sleep(Duration::from_millis(5));
            if let Some(status) = indexer.ended() {
                return Err(format!("the indexer ended with {status}:\n{}", indexer.written().1));
            }
        }
        let virtual_nodes = nodes_per_port * PORTS;
        runs.push(Run { virtual_nodes, crowd, indexer, first_packet: begun.elapsed(), at_rest: (0.0, 0) });
    }
    std::thread::sleep(size.settle);
    let begun = Instant::now();
    for run in &mut runs {
        run.at_rest = (cpu(run.indexer.pid()).own, run.crowd.counts()?.datagrams);
    }
    std::thread::sleep(size.idle);
    let seconds = begun.elapsed().as_secs_f64();

    let mut table = Table::new([
        "virtual nodes",
        "first packet, s",
        "peak RSS, MB",
        "RSS now, MB",
        "idle, % of a core",
        "packets/s",
        "more than 8 nodes",
    ]);
    let mut least = f64::NAN;
    for run in &mut runs {
        let pid = run.indexer.pid();
        let idle = (cpu(pid).own - run.at_rest.0) / seconds * 100.0;
        let packets = (run.crowd.counts()?.datagrams - run.at_rest.1) as f64 / seconds;
        if run.virtual_nodes == PORTS {
            least = idle;
        }
        table.row([
            run.virtual_nodes.to_string(),
            format!("{:.2}", run.first_packet.as_secs_f64()),
            format!("{:.0}", rss_peak(pid) as f64 / MIB),
            format!("{:.0}", rss(pid) as f64 / MIB),
            format!("{idle:.2}"),
            format!("{packets:.0}"),
            format!("{:+.2}", idle - least),
        ]);
    }
    println!(
        "indexer run on a swarm of {} nodes, {:.0} s after its start, over {seconds:.0} s (first packet: database and \
         all)\n\n{table}",
        size.nodes,
        size.settle.as_secs_f64()
    );
    for run in runs {
        run.indexer.stop()?;
    }
    Ok(())
}
