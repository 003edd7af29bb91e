//! `indexer stats`: what the database knows of nodes, runs, torrents and the backlog.

mod stages;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write},
    time::SystemTime,
};

use super::{CommandError, ask, replica::open_to_read, table, table::Table};
use crate::{
    db::{RunStats, Statistics, Stats},
    settings::Settings,
};

/// Runs shown.
const RUNS: u32 = 5;

/// Clients and reasons shown in the text; the JSON has all.
const LINES_MAX: usize = 12;

pub(super) async fn run(settings: &Settings, json: bool) -> Result<(), CommandError> {
    let database = open_to_read(settings).await?;
    let statistics = ask(&database, Stats { runs: RUNS }).await;
    database.close().await;
    let statistics = statistics?;
    let text = if json { format!("{:#}\n", as_json(&statistics)) } else { as_text(&statistics) };
    io::stdout().lock().write_all(text.as_bytes()).map_err(CommandError::writing("standard output"))
}

fn as_json(statistics: &Statistics) -> serde_json::Value {
    let Statistics { nodes, runs, .. } = statistics;
    let runs: Vec<_> = runs
        .iter()
        .map(|run| {
            let work: BTreeMap<_, _> = run
                .work
                .iter()
                .map(|work| {
                    let (failed, in_flight) = unfinished(run, &work.failed, work.in_flight);
                    (
                        work.kind.as_str(),
                        serde_json::json!({
                            "attempted": work.attempted,
                            "succeeded": work.succeeded,
                            "failed": failed.values().sum::<u64>(),
                            "failed_by_reason": failed,
                            "in_flight": in_flight,
                        }),
                    )
                })
                .collect();
            serde_json::json!({
                "id": run.id.0,
                "by": run.by_whom,
                "version": run.version,
                "once": run.once,
                "state": state(run),
                "ingest_stopped": run.ingest_stopped,
                "started": time(run.started),
                "reported": time(run.reported),
                "stopped": run.stopped.map(time),
                "work": work,
                "budgets": limits(run, true),
                "queues": limits(run, false),
                "addresses": run.addresses.iter().map(|address| serde_json::json!({
                    "local": address.local,
                    "external": address.external,
                    "ignored_by_libtorrent": address.ignored,
                    "ports": address.ports,
                    "ports_reachable": address.reachable,
                    "ports_read_only": address.read_only,
                    "queries_of_strangers": address.strangers,
                })).collect::<Vec<_>>(),
                "counts": by_subject(run),
                "stages": stages::as_json(run),
                "stage_times": stages::times_as_json(run),
                "new_hashes_per_1000_packets_sent": yields(run),
            })
        })
        .collect();
    serde_json::json!({
        "nodes": {
            "known": nodes.known,
            "contacts": nodes.contacts,
            "answered_last_hour": nodes.last_hour,
            "bep51": nodes.bep51,
            "by_family": nodes.by_family,
            "by_client": nodes.by_client,
        },
        "runs": runs,
        "torrents": {
            "stored": statistics.torrents,
            "added_last_hour": statistics.torrents_last_hour,
            "by_discovery": statistics.torrents_by_discovery,
            "by_type": statistics.torrents_by_type,
            "reindex": statistics.reindex.map(|walk| serde_json::json!({
                "tokeniser": walk.tok_ver,
                "classifier": walk.class_ver,
                "looked_at": walk.rows.looked_at,
                "looked_at_in_the_end": walk.rows_in_all,
                "made_again": walk.rows.made_again,
                "began": time(walk.began_at),
                "finished": walk.finished_at.map(time),
            })),
            "total_size": u64::try_from(statistics.total_size).unwrap_or(u64::MAX),
            "files": statistics.files,
        },
        "backlog": {
            "due": statistics.backlog_due,
            "in_flight": statistics.backlog_taken,
            "waiting": statistics.backlog_waiting,
            "by_reason": statistics.backlog_reasons,
        },
        "database_bytes": statistics.database_bytes,
    })
}

fn as_text(statistics: &Statistics) -> String {
    let Statistics { nodes, runs, .. } = statistics;
    let mut text = String::new();
    // Writing into a String does not fail.
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<11} {value}");
    };
    line(
        "nodes",
        format!(
            "{} known, {} of them have answered, {} in the last hour, {} answer sample_infohashes",
            nodes.known, nodes.contacts, nodes.last_hour, nodes.bep51
        ),
    );
    line("  family", listed(&nodes.by_family));
    line("  client", listed(&nodes.by_client));
    line(
        "torrents",
        format!(
            "{} stored, {} in the last hour; {} in {} files",
            statistics.torrents,
            statistics.torrents_last_hour,
            table::bytes(statistics.total_size),
            statistics.files
        ),
    );
    line("  found", listed(&statistics.torrents_by_discovery));
    line("  type", listed(&statistics.torrents_by_type));
    if let Some(walk) = statistics.reindex.filter(|walk| walk.finished_at.is_none()) {
        let of = walk.rows_in_all.map_or_else(String::new, |rows| format!(" of about {rows}"));
        line(
            "  reindex",
            format!(
                "{} looked at{of}, {} made again by newer rules",
                walk.rows.looked_at, walk.rows.made_again
            ),
        );
    }
    line(
        "backlog",
        format!(
            "{} due, {} in flight, {} wait for another try",
            statistics.backlog_due, statistics.backlog_taken, statistics.backlog_waiting
        ),
    );
    if !statistics.backlog_reasons.is_empty() {
        line("  reasons", listed(&statistics.backlog_reasons));
    }
    if let Some(why) =
        runs.first().filter(|run| run.ended.is_none()).and_then(|run| run.ingest_stopped.as_ref())
    {
        line("ingest", format!("stopped: {why}"));
    }
    line("database", table::bytes(u128::from(statistics.database_bytes)));
    let mut table = Table::new(&[
        "run",
        "started",
        "state",
        "of",
        ">attempted",
        ">succeeded",
        ">failed",
        ">in flight",
        "failed by reason",
    ]);
    for run in runs {
        for (index, work) in run.work.iter().enumerate() {
            let first = |text: String| if index == 0 { text } else { String::new() };
            let (failed, in_flight) = unfinished(run, &work.failed, work.in_flight);
            table.row([
                first(run.id.to_string()),
                first(time(run.started)),
                first(state(run).to_owned()),
                work.kind.clone(),
                work.attempted.to_string(),
                work.succeeded.to_string(),
                failed.values().sum::<u64>().to_string(),
                in_flight.to_string(),
                listed(&failed),
            ]);
        }
    }
    if !table.is_empty() {
        text.push('\n');
        text.push_str(&table.to_string());
    }
    if let Some(run) = runs.first() {
        text.push_str(&standing(run));
    }
    if let Some(run) = runs.first().filter(|run| !run.counts.is_empty()) {
        // Writing into a String does not fail.
        let _ = writeln!(text, "\nrun {} so far", run.id);
        text.push_str(&counts(run));
    }
    if let Some(run) = runs.first() {
        text.push_str(&stages::as_text(run));
    }
    text
}

/// The budgets of a run, or its queues.
fn limits(run: &RunStats, budgets: bool) -> Vec<serde_json::Value> {
    let chosen = run.limits.iter().filter(|limit| limit.period.is_some() == budgets);
    let json = chosen.map(|limit| {
        serde_json::json!({
            "name": limit.name,
            "limit": limit.allowed,
            "period_seconds": limit.period.map(|period| period.as_secs()),
            "used": limit.used,
            "held_back": limit.held,
            "held_back_last_minute": limit.held_lately,
        })
    });
    json.collect()
}

/// What the latest run is allowed, what it uses, what waits, and where it stands in the network.
fn standing(run: &RunStats) -> String {
    let mut table = Table::new(&["limit", ">used", ">of", "per", ">held back", ">in the last minute"]);
    for limit in &run.limits {
        let per = match limit.period.map(|period| period.as_secs()) {
            None => String::new(),
            Some(1) => "second".to_owned(),
            Some(60) => "minute".to_owned(),
            Some(seconds) => format!("{seconds} s"),
        };
        table.row([
            limit.name.clone(),
            limit.used.map_or_else(|| "-".to_owned(), |used| used.to_string()),
            limit.allowed.to_string(),
            per,
            limit.held.to_string(),
            limit.held_lately.to_string(),
        ]);
    }
    let mut text = if table.is_empty() { String::new() } else { format!("\n{table}") };
    let mut table =
        Table::new(&["address", "seen as", ">ports", ">reached", ">read-only", ">by strangers", "note"]);
    for address in &run.addresses {
        let note = if address.ignored { "libtorrent ignores this range" } else { "" };
        table.row([
            address.local.to_string(),
            address.external.map_or_else(|| "-".to_owned(), |external| external.to_string()),
            address.ports.to_string(),
            address.reachable.to_string(),
            address.read_only.to_string(),
            address.strangers.to_string(),
            note.to_owned(),
        ]);
    }
    if !table.is_empty() {
        text.push('\n');
        text.push_str(&table.to_string());
    }
    text
}

/// What a run has counted beside its work, by what it is about.
fn by_subject(run: &RunStats) -> BTreeMap<&str, BTreeMap<&str, u64>> {
    let mut subjects: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    for count in &run.counts {
        subjects.entry(&count.about).or_default().insert(&count.name, count.number);
    }
    subjects
}

/// New hashes for every thousand packets sent, by source: together they are the yield of all that was done.
fn yields(run: &RunStats) -> BTreeMap<&str, f64> {
    let of = |about: &'static str| run.counts.iter().filter(move |count| count.about == about);
    let packets: u64 = of("packets sent").map(|count| count.number).sum();
    if packets == 0 {
        return BTreeMap::new();
    }
    let rate = |number: u64| (number as f64 * 10_000.0 / packets as f64).round() / 10.0;
    of("new hashes").map(|count| (count.name.as_str(), rate(count.number))).collect()
}

/// What the latest run has counted beside its work.
fn counts(run: &RunStats) -> String {
    let mut text = String::new();
    for (about, counts) in by_subject(run) {
        // Writing into a String does not fail.
        let _ = writeln!(text, "{about:<13} {}", listed(&counts));
        if about == "new hashes" {
            let yields = yields(run).into_iter().map(|(source, rate)| format!("{source} {rate}"));
            let _ = writeln!(text, "  per 1000 packets sent: {}", yields.collect::<Vec<_>>().join(", "));
        }
    }
    text
}

/// The most frequent first.
fn listed<K: AsRef<str>>(counts: &BTreeMap<K, u64>) -> String {
    let mut counts: Vec<_> = counts.iter().map(|(name, count)| (name.as_ref(), *count)).collect();
    counts.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
    let more = counts.len().saturating_sub(LINES_MAX);
    counts.truncate(LINES_MAX);
    let mut text =
        counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ");
    if more > 0 {
        // Writing into a String does not fail.
        let _ = write!(text, ", {more} others");
    }
    if text.is_empty() { "-".to_owned() } else { text }
}

/// What failed, by reason, and what is in flight: of an interrupted run what was in flight has failed.
fn unfinished(
    run: &RunStats,
    failed: &BTreeMap<String, u64>,
    in_flight: u64,
) -> (BTreeMap<String, u64>, u64) {
    let mut failed = failed.clone();
    if !run.interrupted || in_flight == 0 {
        return (failed, in_flight);
    }
    *failed.entry("interrupted".to_owned()).or_default() += in_flight;
    (failed, 0)
}

fn state(run: &RunStats) -> &str {
    match (&run.ended, run.interrupted) {
        (Some(ended), _) => ended,
        (None, true) => "interrupted",
        (None, false) => "running",
    }
}

fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{RunCount, RunId};

    #[test]
    fn the_latest_run_tells_its_yield_what_packets_were_for_and_why_datagrams_were_dropped() {
        let count = |about: &str, name: &str, number| RunCount {
            about: about.to_owned(),
            name: name.to_owned(),
            number,
        };
        let run = RunStats {
            id: RunId(7),
            started: SystemTime::UNIX_EPOCH,
            reported: SystemTime::UNIX_EPOCH,
            stopped: None,
            interrupted: false,
            by_whom: "me".to_owned(),
            version: "1".to_owned(),
            once: false,
            ended: None,
            ingest_stopped: Some("the disk is full".to_owned()),
            work: Vec::new(),
            limits: Vec::new(),
            addresses: Vec::new(),
            counts: vec![
                count("dropped", "malformed", 3),
                count("malformed", "invalid 'id'", 2),
                count("malformed", "no message type", 1),
                count("new hashes", "announced", 1),
                count("new hashes", "sampled", 500),
                count("packets sent", "answers", 100),
                count("packets sent", "sampling", 300),
            ],
            stages: Vec::new(),
            times: Vec::new(),
        };
        let statistics = Statistics { runs: vec![run], ..Statistics::default() };
        let text = as_text(&statistics);
        for line in [
            "ingest      stopped: the disk is full",
            "run 7 so far",
            "dropped       malformed 3",
            "malformed     invalid 'id' 2, no message type 1",
            "new hashes    sampled 500, announced 1",
            "  per 1000 packets sent: announced 2.5, sampled 1250",
            "packets sent  sampling 300, answers 100",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
        }
        let json = as_json(&statistics);
        let run = &json["runs"][0];
        assert_eq!(run["counts"]["malformed"]["invalid 'id'"], 2);
        assert_eq!(run["new_hashes_per_1000_packets_sent"]["sampled"], 1250.0);
        let nothing = Statistics { runs: Vec::new(), ..Statistics::default() };
        assert!(!as_text(&nothing).contains("so far"));
    }
}
