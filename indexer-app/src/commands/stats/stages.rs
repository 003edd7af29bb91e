//! The stages of fetching in `indexer stats`.

use std::{collections::BTreeMap, time::Duration};

use super::{listed, table::Table, unfinished};
use crate::db::{RunStage, RunStats, StageBy, StageTimes};

/// Programs shown in the text; the JSON has all.
const CLIENTS_MAX: usize = 12;

/// What became of each stage, by transport and by program.
pub(super) fn as_json(run: &RunStats) -> Vec<serde_json::Value> {
    let rows = run.stages.iter().map(|row| {
        let (failed, in_flight) = unfinished(run, &row.failed, row.in_flight);
        serde_json::json!({
            "stage": row.stage,
            "transport": row.by.transport(),
            "client": row.by.client(),
            "attempted": row.attempted,
            "succeeded": row.succeeded,
            "failed": failed.values().sum::<u64>(),
            "failed_by_reason": failed,
            "in_flight": in_flight,
        })
    });
    rows.collect()
}

/// How long each stage took where it succeeded: how many took no longer than so many seconds, and longer than the bound before.
pub(super) fn times_as_json(run: &RunStats) -> BTreeMap<&str, serde_json::Value> {
    let rows = run.times.iter().map(|times| {
        let buckets = times.buckets.iter().enumerate().map(|(bucket, count)| {
            let bound = StageTimes::bound(bucket).map(|bound| bound.as_secs_f64());
            serde_json::json!({ "up_to_seconds": bound, "count": count })
        });
        let json = serde_json::json!({
            "count": times.count(),
            "total_seconds": times.total.as_secs_f64(),
            "buckets": buckets.collect::<Vec<_>>(),
        });
        (times.stage.as_str(), json)
    });
    rows.collect()
}

/// A table of the stages, one of the transports and one of the programs.
pub(super) fn as_text(run: &RunStats) -> String {
    let mut text = String::new();
    let mut part = |title: &str, rows: &[&RunStage], with_times: bool| {
        let mut table = Table::new(&[
            "stage",
            title,
            ">attempted",
            ">succeeded",
            ">in flight",
            ">failed",
            ">half in",
            ">95 % in",
            "failed by reason",
        ]);
        for row in rows.iter().filter(|row| row.attempted > 0) {
            let (failed, in_flight) = unfinished(run, &row.failed, row.in_flight);
            let times = run.times.iter().find(|times| with_times && times.stage == row.stage);
            let within = |part| {
                let time = times.and_then(|times: &StageTimes| times.quantile(part));
                time.map_or_else(|| "-".to_owned(), rounded)
            };
            table.row([
                row.stage.clone(),
                row.by.transport().or(row.by.client()).unwrap_or("all").to_owned(),
                row.attempted.to_string(),
                row.succeeded.to_string(),
                in_flight.to_string(),
                failed.values().sum::<u64>().to_string(),
                within(0.5),
                within(0.95),
                listed(&failed),
            ]);
        }
        if !table.is_empty() {
            text.push('\n');
            text.push_str(&table.to_string());
        }
    };
    let of = |wanted: fn(&StageBy) -> bool| run.stages.iter().filter(move |row| wanted(&row.by));
    let all: Vec<_> = of(|by| *by == StageBy::All).collect();
    let transports: Vec<_> = of(|by| by.transport().is_some()).collect();
    let mut clients: Vec<_> = of(|by| by.client().is_some()).filter(|row| row.stage == "metadata").collect();
    clients.sort_by_key(|row| std::cmp::Reverse(row.attempted));
    clients.truncate(CLIENTS_MAX);
    part("of", &all, true);
    part("transport", &transports, false);
    part("client", &clients, false);
    text
}

/// A bound of a bucket for people.
fn rounded(time: Duration) -> String {
    match time.as_millis() {
        millis if millis < 1_000 => format!("{millis} ms"),
        _ => format!("{:.0} s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::db::RunId;

    fn run(interrupted: bool) -> RunStats {
        let stage = |stage: &str, by: StageBy| RunStage {
            stage: stage.to_owned(),
            by,
            attempted: 20,
            succeeded: 10,
            in_flight: 3,
            failed: [("refused".to_owned(), 5), ("connect timeout".to_owned(), 2)].into(),
        };
        let mut times = StageTimes { stage: "connect".to_owned(), ..StageTimes::default() };
        times.total = Duration::from_secs(3);
        times.buckets[4] = 9;
        times.buckets[12] = 1;
        RunStats {
            id: RunId(1),
            started: SystemTime::UNIX_EPOCH,
            reported: SystemTime::UNIX_EPOCH,
            stopped: None,
            interrupted,
            by_whom: "me".to_owned(),
            version: "1".to_owned(),
            once: false,
            ended: None,
            ingest_stopped: None,
            work: Vec::new(),
            limits: Vec::new(),
            addresses: Vec::new(),
            counts: Vec::new(),
            stages: vec![
                stage("connect", StageBy::All),
                stage("connect", StageBy::Transport("utp".to_owned())),
                stage("metadata", StageBy::Client("LT".to_owned())),
            ],
            times: vec![times],
        }
    }

    #[test]
    fn stages_are_shown_in_all_by_transport_and_by_client() {
        let text = as_text(&run(false));
        let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let reasons = ["refused", "5,", "connect", "timeout", "2"];
        for (row, times) in [
            (["connect", "all"], &["16", "ms", "4", "s"][..]),
            (["connect", "utp"], &["-", "-"]),
            (["metadata", "LT"], &["-", "-"]),
        ] {
            let expected = [&row[..], &["20", "10", "3", "7"], times, &reasons].concat();
            assert!(words.contains(&expected), "{expected:?} is not in\n{text}");
        }
    }

    #[test]
    fn what_was_in_flight_when_a_run_was_interrupted_has_failed() {
        let json = as_json(&run(true));
        assert_eq!((&json[1]["transport"], &json[1]["client"]), (&"utp".into(), &serde_json::Value::Null));
        assert_eq!((json[0]["failed"].as_u64(), json[0]["in_flight"].as_u64()), (Some(10), Some(0)));
        assert_eq!(json[0]["failed_by_reason"]["interrupted"], 3);
    }

    #[test]
    fn times_are_counted_between_the_bounds_of_their_buckets() {
        let run = run(false);
        let json = times_as_json(&run);
        let connect = &json["connect"];
        assert_eq!((connect["count"].as_u64(), connect["total_seconds"].as_f64()), (Some(10), Some(3.0)));
        assert_eq!(connect["buckets"][4], serde_json::json!({ "up_to_seconds": 0.016, "count": 9 }));
        let last = &connect["buckets"][StageTimes::BUCKETS - 1];
        assert_eq!(*last, serde_json::json!({ "up_to_seconds": null, "count": 0 }));
    }
}
