//! Policies of crawling in one scripted network: new hashes for a thousand queries, over virtual hours.
//!
//! `cargo bench -p benches --bench discovery -- [--nodes 4000] [--hours 12] [--torrents 8000] [--births 300]
//! [--packets-per-second 16] [--seed 1] [--svg FILE]`
//!
//! `cargo bench -p benches --bench discovery -- --full [--nodes 20000] [--seed 1] [--retry-worth 0.03]`: this project's engine alone in the
//! network that the requirements name: 40 % stale entries, 30 % newcomers, 10 % loss; with liars, and after a partition.
//!
//! Time is virtual and no socket is opened; the same seed gives the same figures.
#![expect(clippy::print_stdout, reason = "a benchmark prints its tables")]

mod asker;
mod comparison;
mod crawler;
mod engine;
mod full_size;
mod one_node;
mod own_id;
mod plot;
mod random_target;
mod trial;

use std::path::PathBuf;
use std::process::ExitCode;

/// What can be asked for on the command line.
#[derive(Clone, Debug, Default)]
struct Wanted {
    full: bool,
    nodes: Option<usize>,
    hours: Option<u64>,
    torrents: Option<usize>,
    births: Option<u64>,
    packets_per_second: Option<u32>,
    seed: Option<u64>,
    retry_worth: Option<f64>,
    svg: Option<PathBuf>,
}

fn main() -> ExitCode {
    let done = arguments().and_then(|wanted| {
        if wanted.full { full_size::measure(&wanted) } else { comparison::compare(&wanted) }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            println!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<Wanted, String> {
    let mut wanted = Wanted::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_default();
        match argument.as_str() {
            // Cargo says so to every benchmark.
            "--bench" => {}
            "--full" => wanted.full = true,
            "--nodes" => wanted.nodes = Some(number(&argument, &value())? as usize),
            "--hours" => wanted.hours = Some(number(&argument, &value())?),
            "--torrents" => wanted.torrents = Some(number(&argument, &value())? as usize),
            "--births" => wanted.births = Some(number(&argument, &value())?),
            "--packets-per-second" => wanted.packets_per_second = Some(number(&argument, &value())? as u32),
            "--seed" => wanted.seed = Some(number(&argument, &value())?),
            "--retry-worth" => {
                let value = value();
                let parsed = value.parse().map_err(|_| format!("{argument} needs a number, not {value:?}"));
                wanted.retry_worth = Some(parsed?);
            }
            "--svg" => wanted.svg = Some(value().into()),
            other => return Err(format!("{other:?} is none of the options of this benchmark")),
        }
    }
    Ok(wanted)
}

fn number(argument: &str, value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("{argument} needs a number, not {value:?}"))
}
