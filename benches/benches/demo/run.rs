//! One run: from an empty directory to everything searchable, then a while of nothing new.

use std::{
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    Size,
    floor::Floor,
    indexer_process::Indexer,
    process_figures::{cpu, cpu_of_family, database, rss_peak},
    swarm_process::{Counts, SwarmProcess},
};

/// Between two looks at how many torrents there are. A look costs the database some milliseconds, which are in its figure.
const LOOK: Duration = Duration::from_secs(1);

/// Longest wait for all torrents.
const PATIENCE: Duration = Duration::from_secs(600);

/// After the last torrent: what is under way ends.
const SETTLE: Duration = Duration::from_secs(10);

/// How long idleness is measured: two sampling intervals.
const IDLE: Duration = Duration::from_secs(20);

/// The settings of `indexer demo`, which starts its swarm in the same process and so cannot be measured apart from it.
const SETTINGS: &[&str] = &[
    "--bind",
    "127.0.0.1",
    "--port",
    "0",
    "--ports",
    "2",
    "--nodes-per-port",
    "4",
    "--ids",
    "spread",
    "--min-sample-interval",
    "10s",
    "--shared-buffers",
    "67108864",
];

/// The figures of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) floor: Floor,
    pub(crate) torrents: u64,
    /// From the start of the program to the commit of the last torrent.
    pub(crate) searchable_seconds: f64,
    pub(crate) first_stored_seconds: f64,
    /// The last of the first 99 of each 100.
    pub(crate) nearly_all_seconds: f64,
    pub(crate) searches: usize,
    pub(crate) searches_right: usize,
    pub(crate) search_ms: f64,
    /// Shares of the torrents that were committed within 0.5, 1 and 2 seconds of their verification.
    pub(crate) found_within: [f64; 3],
    pub(crate) indexer_rss_peak: u64,
    pub(crate) swarm_rss_peak: u64,
    pub(crate) indexer_cpu: f64,
    pub(crate) database_cpu: f64,
    pub(crate) set_up_cpu: f64,
    pub(crate) swarm_cpu: f64,
    /// Of one core, 0 to 1.
    pub(crate) indexer_idle: f64,
    pub(crate) database_idle: f64,
    pub(crate) idle_packets_per_second: f64,
    /// What came to the swarm until the last torrent was stored.
    pub(crate) counts: Counts,
    pub(crate) peak_per_second: u64,
}

impl Run {
    /// Of something that was counted, how much there was for each key.
    pub(crate) fn for_each_key(&self, count: u64) -> String {
        format!("{:.2}", count as f64 / self.floor.keys.max(1) as f64)
    }

    pub(crate) fn torrents_per_second(&self) -> f64 {
        self.torrents as f64 / (self.searchable_seconds - self.first_stored_seconds)
    }
}

pub(crate) fn run(program: &Path, size: Size) -> Result<Run, String> {
    let mut swarm = SwarmProcess::start(size)?;
    let swarm_set_up = cpu(swarm.pid()).own;
    let mut indexer = Indexer::start(program, SETTINGS, &swarm.bootstrap)?;
    let begun = Instant::now();
    loop {
        std::thread::sleep(LOOK);
        let torrents = indexer.torrents()?;
        if torrents.is_some_and(|torrents| torrents >= size.torrents as u64) {
            break;
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("{torrents:?} of {} torrents after {PATIENCE:?}", size.torrents));
        }
    }
    let counts = swarm.counts()?;
    let database = database(&indexer.data_dir()).ok_or("the database has no process")?;
    let indexer_cpu = cpu(indexer.pid());
    let (database_cpu, swarm_cpu) = (cpu_of_family(database), cpu(swarm.pid()).own - swarm_set_up);

    let searching = Instant::now();
    let searches_right = swarm.searches.iter().filter(|(words, hash)| indexer.finds(words, hash)).count();
    let search_ms = searching.elapsed().as_secs_f64() * 1e3 / swarm.searches.len().max(1) as f64;
    let stored = indexer.stored_at()?;
    let (Some(first), Some(last)) = (stored.first(), stored.last()) else {
        return Err("nothing was exported".to_owned());
    };
    if stored.len() != size.torrents {
        return Err(format!("{} torrents were exported, {} there are", stored.len(), size.torrents));
    }

    std::thread::sleep(SETTLE);
    let before = (Instant::now(), cpu(indexer.pid()).own, cpu_of_family(database), swarm.counts()?.datagrams);
    std::thread::sleep(IDLE);
    let (idle, at_end) = (before.0.elapsed().as_secs_f64(), swarm.counts()?);
    let figures = Run {
        floor: swarm.floor,
        torrents: size.torrents as u64,
        searchable_seconds: since(indexer.started, *last),
        first_stored_seconds: since(indexer.started, *first),
        nearly_all_seconds: since(indexer.started, stored[stored.len() * 99 / 100]),
        searches: swarm.searches.len(),
        searches_right,
        search_ms,
        found_within: found_within(&indexer.stats().unwrap_or_default(), size.torrents)?,
        indexer_rss_peak: rss_peak(indexer.pid()),
        swarm_rss_peak: rss_peak(swarm.pid()),
        indexer_cpu: indexer_cpu.own,
        database_cpu,
        set_up_cpu: indexer_cpu.ended_children,
        swarm_cpu,
        indexer_idle: (cpu(indexer.pid()).own - before.1) / idle,
        database_idle: (cpu_of_family(database) - before.2) / idle,
        idle_packets_per_second: (at_end.datagrams - before.3) as f64 / idle,
        counts,
        peak_per_second: at_end.peak_per_second,
    };
    if at_end.floods > 0 {
        return Err(format!("{} nodes were flooded", at_end.floods));
    }
    indexer.stop()?;
    Ok(figures)
}

/// By the program's own count, once its last report has all of them.
fn found_within(stats: &serde_json::Value, torrents: usize) -> Result<[f64; 3], String> {
    let found = &stats["runs"][0]["counts"]["found"];
    let numbers = ["within 0.25 s", "within 0.5 s", "within 1 s", "within 2 s", "later"]
        .map(|class| found[class].as_u64().unwrap_or(0));
    let all: u64 = numbers.iter().sum();
    if all != torrents as u64 {
        return Err(format!("the program counts {all} torrents that are found, {torrents} there are"));
    }
    Ok([2, 3, 4].map(|classes| numbers[..classes].iter().sum::<u64>() as f64 / all as f64))
}

fn since(start: SystemTime, end: SystemTime) -> f64 {
    end.duration_since(start).map_or(0.0, |elapsed| elapsed.as_secs_f64())
}
