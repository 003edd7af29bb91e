//! Everything that `stats` shows, read at one moment.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use deadpool_postgres::Client;
use tea_runtime::{Session, SessionError};

use super::{
    ReindexWalk, RunAddress, RunCount, RunId, RunLimit, RunStage, StageTimes, Work, claims, reindex,
    run_counts, run_stages, statement,
};
use crate::kinds::Kind;

/// A run that no process claims and that has not reported for so long was interrupted. Reports come every 10 s, and
/// renew a claim that was lost with its connection.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Reads the statistics. Counts tables, so it takes time in proportion to them: 0.1 s for a million torrents.
#[derive(Clone, Copy, Debug)]
pub struct Stats {
    /// How many of the latest runs.
    pub runs: u32,
}

/// The statistics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// The nodes.
    pub nodes: NodeStats,
    /// The latest runs, newest first.
    pub runs: Vec<RunStats>,
    /// Torrents stored.
    pub torrents: u64,
    /// Torrents that were added in the last hour.
    pub torrents_last_hour: u64,
    /// Torrents by how they were discovered.
    pub torrents_by_discovery: BTreeMap<&'static str, u64>,
    /// Torrents by their type; `unknown`: nobody has looked yet.
    pub torrents_by_type: BTreeMap<&'static str, u64>,
    /// How far stored torrents have been made again by newer rules.
    pub reindex: Option<ReindexWalk>,
    /// Bytes in all files of all torrents.
    pub total_size: u128,
    /// Files in all torrents.
    pub files: u64,
    /// Hashes in the backlog that may be tried now.
    pub backlog_due: u64,
    /// Hashes in the backlog that somebody is trying.
    pub backlog_taken: u64,
    /// Hashes in the backlog that wait for another try.
    pub backlog_waiting: u64,
    /// Hashes in the backlog by why their last try failed.
    pub backlog_reasons: BTreeMap<String, u64>,
    /// Bytes that the database takes on disk.
    pub database_bytes: u64,
}

/// Nodes, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeStats {
    /// All that are known.
    pub known: u64,
    /// Those that have answered at least once.
    pub contacts: u64,
    /// Those that answered in the last hour.
    pub last_hour: u64,
    /// Those that are being visited.
    pub in_flight: u64,
    /// Those that answer sample_infohashes.
    pub bep51: u64,
    /// By family: `IPv4`, `IPv6`.
    pub by_family: BTreeMap<String, u64>,
    /// By client, as the two letters of `v`; `-` without.
    pub by_client: BTreeMap<String, u64>,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunStats {
    /// The run.
    pub id: RunId,
    /// Since when.
    pub started: SystemTime,
    /// Its last report.
    pub reported: SystemTime,
    /// Until when.
    pub stopped: Option<SystemTime>,
    /// It stopped reporting without having ended.
    pub interrupted: bool,
    /// By whom.
    pub by_whom: String,
    /// Version of the program.
    pub version: String,
    /// Whether it was one sweep.
    pub once: bool,
    /// Why it ended.
    pub ended: Option<String>,
    /// Why it takes nothing new in, as of its last report.
    pub ingest_stopped: Option<String>,
    /// Its work.
    pub work: Vec<Work>,
    /// Its budgets and queues, as of its last report.
    pub limits: Vec<RunLimit>,
    /// Its addresses, as of its last report.
    pub addresses: Vec<RunAddress>,
    /// What else it has counted.
    pub counts: Vec<RunCount>,
    /// What became of each stage of fetching.
    pub stages: Vec<RunStage>,
    /// How long these took.
    pub times: Vec<StageTimes>,
}

const NODES: &str = "
select family(ip) as family, count(*) as known, count(last_seen) as contacts,
    count(*) filter (where last_seen > now() - interval '1 hour') as last_hour,
    count(*) filter (where visit_started is not null and visit_ended is null) as in_flight,
    count(*) filter (where bep51) as bep51
from nodes group by 1";

const CLIENTS: &str = "
select substring(version from 1 for 2) as client, count(*) as number from nodes where last_seen is not null group by 1";

const TORRENTS: &str = "
select discovered_by, kind, count(*) as number, coalesce(sum(total_size), 0)::text as bytes,
    coalesce(sum(file_count), 0)::int8 as files,
    count(*) filter (where added_at > now() - interval '1 hour') as last_hour
from torrents group by 1, 2";

const BACKLOG: &str = "
select coalesce(reason, '') as reason, count(*) filter (where due <= now()) as due,
    count(*) filter (where due > now() and owner is not null) as taken,
    count(*) filter (where due > now() and owner is null) as waiting
from backlog group by 1";

const RUNS: &str = "
select id, started_at, beat_at, stopped_at, by_whom, version, once, ended, ingest_stopped,
    stopped_at is null and beat_at < now() - make_interval(secs => $2) as is_silent
from runs order by started_at desc, id desc limit $1";

const WORK: &str = "
select run, kind, attempted, succeeded, in_flight, failed::text as failed from run_work
where run = any($1) order by run, kind";

const LIMITS: &str = "
select run, name, period_s, allowed, used, held, held_lately from run_limits where run = any($1) order by run, place";

const ADDRESSES: &str = "
select run, local, external, ignored, ports, reachable, read_only, strangers from run_addresses
where run = any($1) order by run, local";

impl Session for Stats {
    type Client = Client;
    type Output = Statistics;

    async fn run(self, client: &mut Client) -> Result<Statistics, SessionError> {
        let mut statistics = Statistics { nodes: nodes(client).await?, ..Statistics::default() };
        for row in statement::rows(client, TORRENTS, &[]).await? {
            let discovery = super::Discovery::from_code(statement::column(&row, "discovered_by")?);
            let number = statement::count(&row, "number")?;
            statistics.torrents += number;
            *statistics.torrents_by_discovery.entry(discovery.as_str()).or_default() += number;
            let kind = Kind::from_code(statement::column(&row, "kind")?).map_or("unknown", Kind::as_str);
            *statistics.torrents_by_type.entry(kind).or_default() += number;
            statistics.torrents_last_hour += statement::count(&row, "last_hour")?;
            statistics.files += statement::count(&row, "files")?;
            statistics.total_size += statement::column::<&str>(&row, "bytes")?.parse::<u128>().unwrap_or(0);
        }
        for row in statement::rows(client, BACKLOG, &[]).await? {
            let (due, taken, waiting) = (
                statement::count(&row, "due")?,
                statement::count(&row, "taken")?,
                statement::count(&row, "waiting")?,
            );
            statistics.backlog_due += due;
            statistics.backlog_taken += taken;
            statistics.backlog_waiting += waiting;
            let reason: String = statement::column(&row, "reason")?;
            if !reason.is_empty() {
                statistics.backlog_reasons.insert(reason, due + taken + waiting);
            }
        }
        let size =
            statement::row(client, "select pg_database_size(current_database()) as bytes", &[]).await?;
        statistics.database_bytes = statement::count(&size, "bytes")?;
        statistics.reindex = reindex::progress(client).await?;
        statistics.runs = runs(client, self.runs).await?;
        Ok(statistics)
    }
}

async fn nodes(client: &Client) -> Result<NodeStats, SessionError> {
    let mut stats = NodeStats::default();
    for row in statement::rows(client, NODES, &[]).await? {
        let known = statement::count(&row, "known")?;
        stats.known += known;
        stats.contacts += statement::count(&row, "contacts")?;
        stats.last_hour += statement::count(&row, "last_hour")?;
        stats.in_flight += statement::count(&row, "in_flight")?;
        stats.bep51 += statement::count(&row, "bep51")?;
        stats.by_family.insert(format!("IPv{}", statement::column::<i32>(&row, "family")?), known);
    }
    for row in statement::rows(client, CLIENTS, &[]).await? {
        let client: Option<&[u8]> = statement::column(&row, "client")?;
        // `v` is any bytes: what is no word in a table is escaped.
        let name = client.map_or_else(|| "-".to_owned(), |bytes| bytes.escape_ascii().to_string());
        *stats.by_client.entry(name).or_default() += statement::count(&row, "number")?;
    }
    Ok(stats)
}

fn find(runs: &mut [RunStats], id: RunId) -> Option<&mut RunStats> {
    runs.iter_mut().find(|run| run.id == id)
}

async fn runs(client: &Client, limit: u32) -> Result<Vec<RunStats>, SessionError> {
    let mut runs = Vec::new();
    for row in statement::rows(client, RUNS, &[&i64::from(limit), &SILENCE_MAX.as_secs_f64()]).await? {
        runs.push(RunStats {
            id: RunId(statement::column(&row, "id")?),
            started: statement::column(&row, "started_at")?,
            reported: statement::column(&row, "beat_at")?,
            stopped: statement::column(&row, "stopped_at")?,
            interrupted: statement::column(&row, "is_silent")?,
            by_whom: statement::column(&row, "by_whom")?,
            version: statement::column(&row, "version")?,
            once: statement::column(&row, "once")?,
            ended: statement::column(&row, "ended")?,
            ingest_stopped: statement::column(&row, "ingest_stopped")?,
            work: Vec::new(),
            limits: Vec::new(),
            addresses: Vec::new(),
            counts: Vec::new(),
            stages: Vec::new(),
            times: Vec::new(),
        });
    }
    let silent: Vec<RunId> = runs.iter().filter(|run| run.interrupted).map(|run| run.id).collect();
    for run in claims::claimed(client, &silent).await? {
        if let Some(run) = find(&mut runs, run) {
            run.interrupted = false;
        }
    }
    let ids: Vec<i64> = runs.iter().map(|run| run.id.0).collect();
    for row in statement::rows(client, WORK, &[&ids]).await? {
        let run = RunId(statement::column(&row, "run")?);
        let failed: &str = statement::column(&row, "failed")?;
        let work = Work {
            kind: statement::column(&row, "kind")?,
            attempted: statement::count(&row, "attempted")?,
            succeeded: statement::count(&row, "succeeded")?,
            in_flight: statement::count(&row, "in_flight")?,
            failed: serde_json::from_str(failed)
                .map_err(|error| SessionError::Unexpected(error.to_string()))?,
        };
        if let Some(run) = find(&mut runs, run) {
            run.work.push(work);
        }
    }
    for row in statement::rows(client, LIMITS, &[&ids]).await? {
        let run = RunId(statement::column(&row, "run")?);
        let number = |value: i64| u64::try_from(value).unwrap_or_default();
        let period: Option<i32> = statement::column(&row, "period_s")?;
        let limit = RunLimit {
            name: statement::column(&row, "name")?,
            period: period.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or_default())),
            allowed: statement::count(&row, "allowed")?,
            used: statement::column::<Option<i64>>(&row, "used")?.map(number),
            held: statement::count(&row, "held")?,
            held_lately: statement::count(&row, "held_lately")?,
        };
        if let Some(run) = find(&mut runs, run) {
            run.limits.push(limit);
        }
    }
    for row in statement::rows(client, ADDRESSES, &[&ids]).await? {
        let run = RunId(statement::column(&row, "run")?);
        let number = |name| -> Result<u32, SessionError> {
            Ok(u32::try_from(statement::column::<i32>(&row, name)?).unwrap_or_default())
        };
        let address = RunAddress {
            local: statement::column(&row, "local")?,
            external: statement::column(&row, "external")?,
            ignored: statement::column(&row, "ignored")?,
            ports: number("ports")?,
            reachable: number("reachable")?,
            read_only: number("read_only")?,
            strangers: statement::count(&row, "strangers")?,
        };
        if let Some(run) = find(&mut runs, run) {
            run.addresses.push(address);
        }
    }
    for (id, count) in run_counts::load(client, &ids).await? {
        if let Some(run) = find(&mut runs, id) {
            run.counts.push(count);
        }
    }
    for (id, stage) in run_stages::load(client, &ids).await? {
        if let Some(run) = find(&mut runs, id) {
            run.stages.push(stage);
        }
    }
    for (id, times) in run_stages::load_times(client, &ids).await? {
        if let Some(run) = find(&mut runs, id) {
            run.times.push(times);
        }
    }
    Ok(runs)
}
