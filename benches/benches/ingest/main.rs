//! What storing a torrent costs: through the program's own batches, beside a binary COPY of the same prepared rows into the same
//! tables with the same indexes.
//!
//! `cargo bench -p benches --bench ingest -- [--torrents 200000] [--chunk 20000] [--files 11] [--each] [--program] [--data DIR]`
//!
//! `--program`: only what the program does, beside the floor, which leaves time for millions.
//!
//! Contenders take turns, a chunk each, every one in a database of its own, so that all meet tables of the same size and the
//! same disturbances. CPU is that of the server's processes that serve the connections, by the kernel's scheduler.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its tables")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

#[allow(dead_code, reason = "shared with other benchmarks")]
#[path = "../torrent_database/mod.rs"]
mod torrent_database;

use std::{
    ops::Range,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant, SystemTime},
};

use benches::{
    Table,
    corpus::{Corpus, Files},
    thread_cpu_time,
};
use deadpool_postgres::Client;
use indexer_app::{
    cluster::guard,
    db::{Database, NewTorrent, PreparedTorrents, StoreTorrents},
};
use tea_runtime::Session as _;
use torrent_database::{
    fill::EMPTY,
    server::{Backend, client, open, said},
    sizes::sizes,
    torrents::torrent,
};

/// The least that storing may reach of the floor.
const TARGET_SHARE: f64 = 0.6;

/// Torrents a second that are asked for.
const TARGET_RATE: f64 = 7_000.0;

struct Plan {
    torrents: u64,
    chunk: u64,
    files: Files,
    data: PathBuf,
    ways: Vec<Way>,
}

/// Who takes turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// One COPY of a whole chunk.
    Copy,
    /// Batches of so many, prepared before.
    Prepared { batch: usize },
    /// Batches of so many on so many connections, from the verified torrent on.
    Whole { batch: usize, connections: usize },
}

impl Way {
    const ALL: [Self; 5] = [
        Self::Copy,
        Self::Prepared { batch: 1_000 },
        Self::Whole { batch: 250, connections: 1 },
        Self::PROGRAM,
        Self::Whole { batch: 1_000, connections: 2 },
    ];

    /// What the program does.
    const PROGRAM: Self = Self::Whole { batch: 250, connections: 2 };

    fn name(self) -> String {
        match self {
            Self::Copy => "COPY of prepared rows".to_owned(),
            Self::Prepared { batch } => format!("prepared rows, batches of {batch}"),
            Self::Whole { batch, connections: 1 } => format!("StoreTorrents, batches of {batch}"),
            Self::Whole { batch, connections } => {
                format!("StoreTorrents, batches of {batch}, {connections} connections")
            }
        }
    }

    fn connections(self) -> usize {
        if let Self::Whole { connections, .. } = self { connections } else { 1 }
    }
}

/// One of them with its database.
struct Contender {
    way: Way,
    database: Database,
    clients: Vec<Client>,
    backends: Vec<Backend>,
    wall: Vec<f64>,
    cpu: Vec<f64>,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.peek().is_some_and(|argument| argument == guard::COMMAND) {
        return guard::run(arguments.skip(1));
    }
    let done = plan(std::env::args().skip(1)).and_then(|plan| {
        let runtime = tokio::runtime::Runtime::new().map_err(said)?;
        runtime.block_on(compare(&plan))
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
    let data = std::env::temp_dir().join(format!("indexer-bench-ingest-{}", std::process::id()));
    let ways = Way::ALL.to_vec();
    let mut plan = Plan { torrents: 200_000, chunk: 20_000, files: Files::Mean(11.0), data, ways };
    let (mut mean, mut each) = (11.0, false);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_default();
        let number = |text: String| text.parse().map_err(|_| format!("{text:?} is no number"));
        match argument.as_str() {
            // Cargo says so to every benchmark.
            "--bench" => {}
            "--torrents" => plan.torrents = number(value())?,
            "--chunk" => plan.chunk = number(value())?.max(1),
            "--files" => mean = number(value())? as f64,
            "--each" => each = true,
            "--program" => plan.ways = vec![Way::Copy, Way::PROGRAM],
            "--data" => plan.data = value().into(),
            other => {
                return Err(format!(
                    "{other:?} is none of --torrents, --chunk, --files, --each, --program, --data"
                ));
            }
        }
    }
    plan.files = if each { Files::Each(mean as usize) } else { Files::Mean(mean) };
    Ok(plan)
}

async fn compare(plan: &Plan) -> Result<(), String> {
    let corpus = Corpus::new(1, plan.files);
    let mut contenders = Vec::new();
    for (number, way) in plan.ways.iter().copied().enumerate() {
        let database = open(&plan.data, &format!("ingest_{number}"), way.connections() + 1).await?;
        let (mut clients, mut backends) = (Vec::new(), Vec::new());
        for _ in 0..way.connections() {
            let client = client(&database.pool).await?;
            client.batch_execute(EMPTY).await.map_err(said)?;
            backends.push(Backend::of(&client).await?);
            clients.push(client);
        }
        contenders.push(Contender { way, database, clients, backends, wall: vec![], cpu: vec![] });
    }
    let (mut made, mut prepared) = (Vec::new(), Vec::new());
    let chunks = plan.torrents.div_ceil(plan.chunk);
    for chunk in 0..chunks {
        let numbers = chunk * plan.chunk..((chunk + 1) * plan.chunk).min(plan.torrents);
        for contender in &mut contenders {
            contender.take(&corpus, numbers.clone(), &mut made, &mut prepared).await?;
        }
        eprintln!("{} torrents", numbers.end);
    }
    report(plan, &contenders, &made, &prepared);
    for contender in &contenders {
        if contender.way == Way::Copy || contender.way == Way::PROGRAM {
            let (table, _) = sizes(&contender.clients[0]).await?;
            println!("\n{}\n\n{table}", contender.way.name());
        }
    }
    for contender in contenders {
        drop(contender.clients);
        contender.database.close().await;
    }
    std::fs::remove_dir_all(&plan.data).map_err(said)
}

impl Contender {
    /// Stores a chunk, and takes note of what it took.
    async fn take(
        &mut self,
        corpus: &Corpus,
        numbers: Range<u64>,
        made: &mut Vec<f64>,
        prepared: &mut Vec<f64>,
    ) -> Result<(), String> {
        let count = (numbers.end - numbers.start) as f64;
        let start = thread_cpu_time();
        let torrents: Vec<NewTorrent> = numbers.map(|number| torrent(corpus.item(number))).collect();
        made.push((thread_cpu_time() - start).as_secs_f64() / count);
        match self.way {
            Way::Copy => {
                let rows = prepare(&torrents, usize::MAX, prepared);
                let timer = self.start();
                for rows in &rows {
                    rows.copy(&mut self.clients[0], SystemTime::now()).await.map_err(said)?;
                }
                self.stop(timer, count);
            }
            Way::Prepared { batch } => {
                let batches = prepare(&torrents, batch, prepared);
                let timer = self.start();
                for batch in batches {
                    batch.store(&self.clients[0]).await.map_err(said)?;
                }
                self.stop(timer, count);
            }
            Way::Whole { batch, connections } => {
                let share = torrents.len().div_ceil(connections);
                let shares: Vec<Vec<Vec<NewTorrent>>> = torrents
                    .chunks(share)
                    .map(|share| share.chunks(batch).map(<[NewTorrent]>::to_vec).collect())
                    .collect();
                let timer = self.start();
                let mut tasks = tokio::task::JoinSet::new();
                for (share, mut client) in shares.into_iter().zip(self.clients.drain(..)) {
                    tasks.spawn(async move {
                        for torrents in share {
                            StoreTorrents { torrents }.run(&mut client).await.map_err(said)?;
                        }
                        Ok::<_, String>(client)
                    });
                }
                let clients = tasks.join_all().await.into_iter().collect::<Result<_, _>>()?;
                self.clients = clients;
                self.stop(timer, count);
            }
        }
        Ok(())
    }

    fn start(&self) -> (Instant, f64) {
        (Instant::now(), self.backends.iter().map(|backend| backend.cpu()).sum())
    }

    fn stop(&mut self, (begun, before): (Instant, f64), count: f64) {
        self.wall.push(begun.elapsed().as_secs_f64() / count);
        let cpu: f64 = self.backends.iter().map(|backend| backend.cpu()).sum();
        self.cpu.push((cpu - before) / count);
    }
}

/// Makes batches ready, and takes note of what that took.
fn prepare(torrents: &[NewTorrent], batch: usize, prepared: &mut Vec<f64>) -> Vec<PreparedTorrents> {
    let count = torrents.len();
    let mut batches = Vec::new();
    let mut spent = Duration::ZERO;
    for batch in torrents.chunks(batch.min(count)) {
        let batch = batch.to_vec();
        let start = thread_cpu_time();
        batches.push(PreparedTorrents::new(batch));
        spent += thread_cpu_time() - start;
    }
    prepared.push(spent.as_secs_f64() / count as f64);
    batches
}

/// Mean and best of what chunks took, us.
fn of(rounds: &[f64]) -> (f64, f64) {
    let best = rounds.iter().copied().fold(f64::INFINITY, f64::min);
    (rounds.iter().sum::<f64>() / rounds.len() as f64 * 1e6, best * 1e6)
}

/// The last fifth of them: with the largest tables.
fn last(rounds: &[f64]) -> &[f64] {
    &rounds[rounds.len() - rounds.len().div_ceil(5)..]
}

fn report(plan: &Plan, contenders: &[Contender], made: &[f64], prepared: &[f64]) {
    println!(
        "{} torrents, {:?} files, in chunks of {}; mean of all chunks (best)\n",
        plan.torrents, plan.files, plan.chunk
    );
    let mut table = Table::new([
        "way",
        "torrents/s",
        "of the floor",
        "in the last fifth",
        "of the floor",
        "server CPU, us a torrent",
        "floor of it",
    ]);
    let Some(floor) = contenders.iter().find(|contender| contender.way == Way::Copy) else { return };
    let ((floor_wall, _), (floor_cpu, _)) = (of(&floor.wall), of(&floor.cpu));
    for contender in contenders {
        let ((wall, wall_best), (cpu, cpu_best)) = (of(&contender.wall), of(&contender.cpu));
        table.row([
            contender.way.name(),
            format!("{:.0} ({:.0})", 1e6 / wall, 1e6 / wall_best),
            format!("{:.2}", floor_wall / wall),
            format!("{:.0}", 1e6 / of(last(&contender.wall)).0),
            format!("{:.2}", of(last(&floor.wall)).0 / of(last(&contender.wall)).0),
            format!("{cpu:.1} ({cpu_best:.1})"),
            format!("{:.2}", floor_cpu / cpu),
        ]);
    }
    println!("{table}");
    let ((made, made_best), (prepared, prepared_best)) = (of(made), of(prepared));
    println!("CPU of this process, us a torrent: preparing {prepared:.1} ({prepared_best:.1})");
    println!("making the torrent up, not counted above: {made:.1} ({made_best:.1})");
    println!("asked: {TARGET_SHARE} of the floor and {TARGET_RATE} torrents/s");
}
