//! How long searches take, by class of query and order, beside what PostgreSQL does when it is simply asked.
//!
//! `cargo bench -p benches --bench search -- [--torrents 500000,2000000] [--files 11] [--each 20] [--tries 3] [--data DIR]
//! [--keep] [--cold] [--ingest] [--naive] [--only CLASS,..]`
//!
//! A database of each size is filled with the corpus (kept for the next run with `--keep`). `--cold`: the server is
//! restarted and the system's cache dropped first, which only root can. `--ingest`: meanwhile torrents are stored as fast as they can be.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its tables")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

mod classes;
mod contender;
mod ingesting;
mod latency;
mod report;
#[allow(dead_code, reason = "shared with other benchmarks")]
#[path = "../torrent_database/mod.rs"]
mod torrent_database;

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use benches::corpus::{Corpus, Files};
use classes::{Class, classes};
use contender::{Contender, How};
use indexer_app::{cluster::guard, db::Database, search::Sort};
use ingesting::Ingesting;
use latency::Took;
use report::{Row, report};
use torrent_database::{
    fill::fill,
    server::{Backend, client, open, said},
    sizes::sizes,
};

/// What is asked of searches at two millions, milliseconds.
const TARGET: &str = "asked at 2,000,000: p50 3, p99 50, max 250; while torrents are stored: p99 150";

struct Plan {
    torrents: Vec<u64>,
    files: f64,
    each: usize,
    tries: usize,
    data: PathBuf,
    keep: bool,
    cold: bool,
    ingest: bool,
    naive: bool,
    only: Vec<String>,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.peek().is_some_and(|argument| argument == guard::COMMAND) {
        return guard::run(arguments.skip(1));
    }
    let done = plan(std::env::args().skip(1)).and_then(|plan| {
        let runtime = tokio::runtime::Runtime::new().map_err(said)?;
        runtime.block_on(measure(&plan))
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn plan(mut arguments: impl Iterator<Item = String>) -> Result<Plan, String> {
    let mut plan = Plan {
        torrents: vec![500_000, 2_000_000],
        files: 11.0,
        each: 20,
        tries: 3,
        data: std::env::temp_dir().join("indexer-bench-search"),
        keep: false,
        cold: false,
        ingest: false,
        naive: false,
        only: Vec::new(),
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_default();
        let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text:?} is no number"));
        match argument.as_str() {
            // Cargo says so to every benchmark.
            "--bench" => {}
            "--torrents" => plan.torrents = value().split(',').map(number).collect::<Result<_, _>>()?,
            "--files" => plan.files = number(&value())? as f64,
            "--each" => plan.each = number(&value())? as usize,
            "--tries" => plan.tries = number(&value())? as usize,
            "--data" => plan.data = value().into(),
            "--keep" => plan.keep = true,
            "--cold" => plan.cold = true,
            "--ingest" => plan.ingest = true,
            "--naive" => plan.naive = true,
            "--only" => plan.only = value().split(',').map(str::to_owned).collect(),
            other => return Err(format!("{other:?} is no argument: see the top of this benchmark")),
        }
    }
    Ok(plan)
}

async fn measure(plan: &Plan) -> Result<(), String> {
    let corpus = Arc::new(Corpus::new(1, Files::Mean(plan.files)));
    for count in plan.torrents.iter().copied() {
        let name = format!("search_{count}_{}", plan.files);
        let database = open(&plan.data, &name, 4).await?;
        fill(&database, &corpus, count).await?;
        let (table, _) = sizes(&client(&database.pool).await?).await?;
        println!("{table}");
        let mut classes = classes(&corpus, count, plan.each);
        if !plan.only.is_empty() {
            classes.retain(|class| plan.only.iter().any(|only| only == class.name));
        }
        if plan.cold {
            database.close().await;
            drop_caches()?;
            let database = open(&plan.data, &name, 4).await?;
            println!("cold: each query once, one after another, from an empty cache on\n");
            report(&asked(&database, &classes, How::Search, 1, false).await?);
            database.close().await;
            continue;
        }
        println!("{count} torrents, warm: best of {} tries of {} queries a class", plan.tries, plan.each);
        println!("{TARGET}\n");
        report(&asked(&database, &classes, How::Search, plan.tries, true).await?);
        if plan.naive {
            for how in [How::Rank, How::Planner] {
                println!("{}\n", how.name());
                report(&asked(&database, &classes, how, 1, true).await?);
            }
        }
        if plan.ingest {
            let ingesting = Ingesting::start(&database, &corpus, count).await?;
            println!("while torrents are stored as fast as they can be: each query once\n");
            report(&asked(&database, &classes, How::Search, 1, false).await?);
            println!("{}\n", ingesting.stop().await?);
        }
        database.close().await;
    }
    if !plan.keep {
        std::fs::remove_dir_all(&plan.data).map_err(said)?;
    }
    Ok(())
}

async fn asked(
    database: &Database,
    classes: &[Class],
    how: How,
    tries: usize,
    warm: bool,
) -> Result<Vec<Row>, String> {
    let mut client = client(&database.pool).await?;
    let backend = Backend::of(&client).await?;
    let contender = Contender { how, backend };
    let mut rows = Vec::new();
    for class in classes.iter().filter(|class| how == How::Search || class.is_plain) {
        for order in contender.orders() {
            let (mut took, mut worst) = (Vec::new(), (0.0, String::new()));
            for query in &class.queries {
                if warm {
                    contender.ask(&mut client, query, order).await?;
                }
                let mut best: Vec<Took> = Vec::new();
                for _ in 0..tries {
                    let tried = contender.ask(&mut client, query, order).await?;
                    if best.is_empty() {
                        best = tried;
                    } else {
                        for (best, tried) in best.iter_mut().zip(&tried) {
                            best.wall = best.wall.min(tried.wall);
                            best.cpu = best.cpu.min(tried.cpu);
                        }
                    }
                }
                let longest = best.iter().map(|took| took.wall).fold(0.0, f64::max);
                if longest > worst.0 {
                    worst = (longest, query.clone());
                }
                took.extend(best);
            }
            rows.push(Row { class: class.name, sort: order.to_string(), took, worst: worst.1 });
        }
    }
    Ok(rows)
}

/// Writes what is dirty and forgets what was read.
fn drop_caches() -> Result<(), String> {
    let synced = std::process::Command::new("sync").status();
    synced.map_err(|error| format!("sync cannot be run: {error}"))?;
    std::fs::write("/proc/sys/vm/drop_caches", "3")
        .map_err(|error| format!("only root can drop the system's cache: {error}"))
}

/// All orders there are.
pub(crate) fn orders() -> impl Iterator<Item = Sort> {
    Sort::ALL.into_iter()
}
