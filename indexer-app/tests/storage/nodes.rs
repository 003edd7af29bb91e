//! Nodes, observations, runs, identity and statistics on a real database.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant, SystemTime},
};

use crate::private_cluster::{TestDatabase, hash, torrent};
use indexer_app::db::{
    BacklogFail, BacklogNew, BacklogPut, BacklogTake, Discovery, Failure, LoadIdentity, LoadNodes, NodeVisit,
    RunAddress, RunCount, RunEnd, RunId, RunLimit, RunProgress, RunReport, RunStage, RunStart, SaveIdentity,
    SaveNodes, SaveRunCounts, StageBy, StageTimes, Stats, Tidy, TidyLimits, Work,
};
use krpc::NodeId;
use tea_runtime::Session as _;

/// Some minutes ago, so that nothing lies in the future of the database.
fn time(seconds: u64) -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "the database compares with its own clock")]
    let now = SystemTime::now();
    now - Duration::from_secs(1_000) + Duration::from_secs(seconds)
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, number], 6881))
}

fn answered(number: u8, started: u64) -> NodeVisit {
    NodeVisit {
        id: NodeId::from_bytes([number; 20]),
        addr: address(number),
        started: time(started),
        ended: Some(time(started + 1)),
        error: None,
        rtt: Some(Duration::from_micros(1500)),
        version: Some(*b"LT\x01\x02"),
        bep51: Some(true),
        num: Some(500),
        interval: Some(21_600),
        samples: 20,
        freshness: 3,
        removed: false,
        next_due: Some(time(started + 600)),
        told_by: Some(address(200)),
        told_us: 8,
    }
}

fn silent(number: u8, started: u64) -> NodeVisit {
    NodeVisit {
        error: Some("timed out".to_owned()),
        rtt: None,
        version: None,
        bep51: None,
        num: None,
        interval: None,
        samples: 0,
        told_by: None,
        told_us: 0,
        ..answered(number, started)
    }
}

async fn start(test: &TestDatabase) -> RunId {
    // Names are claimed for as long as the connections of the test last.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    test.run(run_of(&format!("indexer {}", NEXT.fetch_add(1, Ordering::Relaxed)))).await.unwrap()
}

fn run_of(owner: &str) -> RunStart {
    RunStart { owner: owner.to_owned(), by_whom: owner.to_owned(), version: "1".to_owned(), once: true }
}

#[tokio::test]
async fn a_node_is_remembered_as_its_last_visits_left_it() {
    let test = TestDatabase::new().await;
    let run = start(&test).await;
    let visits = vec![answered(1, 0), silent(1, 10), silent(1, 20), answered(2, 5), silent(3, 7)];
    assert_eq!(test.run(SaveNodes { run, visits }).await, (3, 0));
    assert_eq!(test.run(SaveNodes { run, visits: vec![silent(1, 30)] }).await, (1, 0));

    let nodes = test.run(LoadNodes { limit: 10 }).await;
    assert_eq!(nodes.iter().map(|node| node.addr).collect::<Vec<_>>(), [address(2), address(1), address(3)]);
    let one = &nodes[1];
    assert_eq!((one.id, one.freshness, one.missed), (NodeId::from_bytes([1; 20]), 3, 3));
    assert_eq!(
        (one.bep51, one.version, one.num, one.interval),
        (Some(true), Some(*b"LT\x01\x02"), Some(500), Some(21_600))
    );
    let ago = one.seen_ago.unwrap();
    assert!((900..1_100).contains(&ago.as_secs()), "{ago:?}");
    assert_eq!(one.sampled_ago.unwrap().as_secs(), ago.as_secs());
    assert_eq!((nodes[2].seen_ago, nodes[2].bep51, nodes[2].missed), (None, None, 1));
    assert_eq!(test.run(LoadNodes { limit: 1 }).await.len(), 1);

    // Readable from outside as well.
    assert_eq!(
        test.number(
            "select count(*) from nodes where ip = '127.0.0.1' and visits_ok = 1 and visits_failed = 3
            and last_error = 'timed out' and told_by_ip = '127.0.0.200' and samples = 20 and rtt_us = 1500"
        )
        .await,
        1
    );
}

#[tokio::test]
async fn a_node_whose_freshness_is_used_up_is_forgotten_but_was_observed() {
    let test = TestDatabase::new().await;
    let run = start(&test).await;
    test.run(SaveNodes { run, visits: vec![answered(1, 0), answered(2, 0)] }).await;
    let last = NodeVisit { removed: true, freshness: 0, ..silent(1, 9) };
    assert_eq!(test.run(SaveNodes { run, visits: vec![last] }).await, (0, 1));
    assert_eq!(test.run(LoadNodes { limit: 9 }).await.len(), 1);
    assert_eq!(
        test.number("select sum(ok + failed)::int8 from observations where ip = '127.0.0.1'").await,
        2
    );
}

#[tokio::test]
async fn two_crawls_can_be_compared_by_the_nodes_that_they_met() {
    let test = TestDatabase::new().await;
    let (first, second) = (start(&test).await, start(&test).await);
    assert_ne!(first, second);
    test.run(SaveNodes { run: first, visits: vec![answered(1, 0), answered(2, 1), silent(3, 2)] }).await;
    test.run(SaveNodes { run: second, visits: vec![answered(2, 100), answered(3, 101), answered(4, 102)] })
        .await;
    let lost = format!(
        "select count(*) from observations a where run = {first} and ok > 0 and not exists
         (select from observations b where b.run = {second} and b.ip = a.ip and b.port = a.port and b.ok > 0)"
    );
    assert_eq!(test.number(&lost).await, 1);
    assert_eq!(test.number(&format!("select count(*) from observations where run = {second}")).await, 3);
}

#[tokio::test]
async fn a_visit_that_has_not_ended_is_in_flight() {
    let test = TestDatabase::new().await;
    let run = start(&test).await;
    let begun = NodeVisit { ended: None, ..answered(1, 0) };
    test.run(SaveNodes { run, visits: vec![begun] }).await;
    let nodes = test.run(Stats { runs: 1 }).await.nodes;
    assert_eq!((nodes.known, nodes.contacts, nodes.in_flight), (1, 0, 1));
    test.run(SaveNodes { run, visits: vec![answered(1, 0)] }).await;
    let nodes = test.run(Stats { runs: 1 }).await.nodes;
    assert_eq!((nodes.known, nodes.contacts, nodes.in_flight), (1, 1, 0));
}

#[tokio::test]
async fn a_run_says_what_it_did_and_whether_it_could_say_that_it_ended() {
    let test = TestDatabase::new().await;
    let elsewhere = test.connect_again().await.unwrap();
    let mut client = elsewhere.pool.get().await.unwrap();
    let lost = run_of("lost").run(&mut client).await.unwrap().unwrap();
    drop(client);
    let ended = start(&test).await;
    let work = |attempted| Work {
        kind: "visits".to_owned(),
        attempted,
        succeeded: 5,
        in_flight: 2,
        failed: BTreeMap::from([("timed out".to_owned(), 3), ("\"odd\"".to_owned(), 1)]),
    };
    let report = |attempted| RunReport {
        work: vec![work(attempted)],
        limits: vec![
            RunLimit {
                name: "packets".to_owned(),
                period: Some(Duration::from_secs(1)),
                allowed: 150,
                used: Some(attempted),
                held: 9,
                held_lately: 2,
            },
            RunLimit {
                name: "queries to one IP".to_owned(),
                period: None,
                used: None,
                ..RunLimit::default()
            },
        ],
        ingest_stopped: (attempted > 1).then(|| "full".to_owned()),
        addresses: vec![RunAddress {
            local: "::".parse().unwrap(),
            external: (attempted > 10).then(|| "2a00::1".parse().unwrap()),
            ignored: true,
            ports: 4,
            reachable: 1,
            read_only: 3,
            strangers: attempted,
        }],
    };
    test.run(RunProgress { owner: "one".to_owned(), run: ended, report: report(7) }).await;
    test.run(RunEnd { run: ended, ended: "signal".to_owned(), report: report(11) }).await;
    test.run(RunProgress { owner: "two".to_owned(), run: RunId(999), report: report(1) }).await;
    test.execute(&format!("update runs set beat_at = now() - interval '1 hour' where id = {lost}")).await;
    let runs = test.run(Stats { runs: 5 }).await.runs;
    assert_eq!(runs.iter().map(|run| run.id).collect::<Vec<_>>(), [ended, lost]);
    assert_eq!(runs[0].work, [work(11)]);
    assert_eq!(runs[0].limits, report(11).limits);
    assert_eq!(runs[0].addresses, report(11).addresses);
    assert_eq!((runs[0].ended.as_deref(), runs[0].interrupted, runs[0].once), (Some("signal"), false, true));
    assert_eq!(runs[0].ingest_stopped.as_deref(), Some("full"));
    assert!(runs[0].stopped.is_some());
    assert!(runs[1].stopped.is_none() && runs[1].work.is_empty());

    // While its process has a connection it runs, however long ago it reported; then it was interrupted.
    assert!(!runs[1].interrupted);
    assert_eq!(test.run(run_of("lost")).await, None, "a name of two processes");
    elsewhere.close().await;
    let is_interrupted = async || test.run(Stats { runs: 5 }).await.runs[1].interrupted;
    #[expect(clippy::disallowed_methods, reason = "a server notices in real time that a client has gone")]
    let begun = Instant::now();
    while !is_interrupted().await {
        assert!(begun.elapsed() < Duration::from_secs(10), "the claim outlives its connection");
        tokio::task::yield_now().await;
    }
    assert!(test.run(run_of("lost")).await.is_some());
}

#[tokio::test]
async fn identity_is_kept_for_each_indexer() {
    let test = TestDatabase::new().await;
    let values = |byte: u8| BTreeMap::from([("id.0".to_owned(), vec![byte; 20]), ("ip".to_owned(), vec![])]);
    test.run(SaveIdentity { indexer: "a".to_owned(), values: values(1) }).await;
    test.run(SaveIdentity { indexer: "b".to_owned(), values: values(2) }).await;
    test.run(SaveIdentity { indexer: "a".to_owned(), values: BTreeMap::from([("ip".to_owned(), vec![7])]) })
        .await;
    let a = test.run(LoadIdentity { indexer: "a".to_owned() }).await;
    assert_eq!(a, BTreeMap::from([("id.0".to_owned(), vec![1; 20]), ("ip".to_owned(), vec![7])]));
    assert_eq!(test.run(LoadIdentity { indexer: "b".to_owned() }).await, values(2));
    assert_eq!(test.run(LoadIdentity { indexer: "c".to_owned() }).await, BTreeMap::new());
}

#[tokio::test]
async fn statistics_count_nodes_torrents_and_backlog_by_what_they_are() {
    let test = TestDatabase::new().await;
    assert_eq!(test.run(Stats { runs: 3 }).await.torrents, 0, "an empty database has statistics too");
    let run = start(&test).await;
    let v6 = NodeVisit { addr: "[::1]:1".parse().unwrap(), version: Some(*b"\xffx\0\0"), ..answered(3, 0) };
    let unnamed = NodeVisit { version: None, bep51: Some(false), ..answered(4, 0) };
    test.run(SaveNodes { run, visits: vec![answered(1, 0), answered(2, 0), v6, unnamed] }).await;
    test.store(vec![torrent(1, "a"), torrent(2, "b")]).await;
    let entries = (10..20)
        .map(|number| BacklogNew {
            info_hash: hash(number),
            source: Discovery::Sampled,
            often: false,
            hints: vec![],
        })
        .collect();
    test.run(BacklogPut { entries, room: None }).await;
    let taken =
        test.run(BacklogTake { limit: 4, owner: "x".to_owned(), lease: Duration::from_secs(60) }).await;
    let failures = taken[..3].iter().map(|taken| Failure {
        info_hash: taken.info_hash,
        reason: "no peers".to_owned(),
        inconclusive: false,
    });
    test.run(BacklogFail { owner: "x".to_owned(), failures: failures.collect() }).await;

    let statistics = test.run(Stats { runs: 3 }).await;
    assert_eq!(statistics.nodes.by_family, BTreeMap::from([("IPv4".to_owned(), 3), ("IPv6".to_owned(), 1)]));
    let clients = [("-", 1), ("LT", 2), ("\\xffx", 1)].map(|(name, number)| (name.to_owned(), number));
    assert_eq!(statistics.nodes.by_client, BTreeMap::from(clients));
    assert_eq!((statistics.nodes.known, statistics.nodes.bep51, statistics.nodes.last_hour), (4, 3, 4));
    assert_eq!((statistics.torrents, statistics.files, statistics.total_size), (2, 2, 2003));
    assert_eq!(statistics.torrents_by_discovery, BTreeMap::from([("sampled", 2)]));
    assert_eq!((statistics.backlog_due, statistics.backlog_taken, statistics.backlog_waiting), (6, 1, 3));
    assert_eq!(statistics.backlog_reasons, BTreeMap::from([("no peers".to_owned(), 3)]));
    assert!(statistics.database_bytes > 1_000_000);
}

#[tokio::test]
async fn what_a_run_has_counted_is_kept_with_it_and_goes_with_it() {
    let test = TestDatabase::new().await;
    let (first, second) = (start(&test).await, start(&test).await);
    let count =
        |about: &str, name: &str, number| RunCount { about: about.to_owned(), name: name.to_owned(), number };
    let save = async |run, counts: &[RunCount]| {
        test.run(SaveRunCounts { run, counts: counts.to_vec(), stages: Vec::new(), times: Vec::new() }).await;
    };
    save(first, &[count("new hashes", "sampled", 7), count("malformed", "invalid 'id'", 1)]).await;
    let later = [count("malformed", "invalid 'id'", 2), count("new hashes", "sampled", 9)];
    save(first, &later).await;
    save(second, &[count("new hashes", "sampled", 1)]).await;
    let runs = test.run(Stats { runs: 3 }).await.runs;
    let of = |id| runs.iter().find(|run| run.id == id).unwrap().counts.clone();
    assert_eq!(of(first), later);
    assert_eq!(of(second), [count("new hashes", "sampled", 1)]);
    test.run(Tidy { limits: TidyLimits { runs_max: 1, ..TidyLimits::default() } }).await;
    assert_eq!(test.number("select count(*) from run_counts").await, 1);
    // Too late: nothing is written for a run that is not there.
    save(first, &later).await;
    assert_eq!(test.number("select count(*) from run_counts").await, 1);
}

#[tokio::test]
async fn what_became_of_the_stages_of_a_run_is_kept_with_it_in_its_order_and_goes_with_it() {
    let test = TestDatabase::new().await;
    let run = start(&test).await;
    let stage = |stage: &str, by: StageBy, attempted| RunStage {
        stage: stage.to_owned(),
        by,
        attempted,
        succeeded: 2,
        in_flight: 1,
        failed: [("refused".to_owned(), attempted - 3)].into(),
    };
    let utp = || StageBy::Transport("utp".to_owned());
    let mut times = StageTimes { stage: "connect".to_owned(), ..StageTimes::default() };
    (times.total, times.buckets[3], times.buckets[18]) = (Duration::from_millis(1_234), 5, 6);
    let early = vec![stage("lookup", StageBy::All, 5), stage("connect", utp(), 7)];
    let later = vec![
        stage("lookup", StageBy::All, 6),
        stage("connect", StageBy::Transport("tcp".to_owned()), 9),
        stage("connect", utp(), 7),
        stage("metadata", StageBy::Client("LT".to_owned()), 8),
    ];
    for stages in [early, later.clone()] {
        test.run(SaveRunCounts { run, counts: Vec::new(), stages, times: vec![times.clone()] }).await;
    }
    let runs = test.run(Stats { runs: 1 }).await.runs;
    assert_eq!(runs[0].stages, later);
    assert_eq!(runs[0].times, [times]);
    start(&test).await;
    test.run(Tidy { limits: TidyLimits { runs_max: 1, ..TidyLimits::default() } }).await;
    assert_eq!(test.number("select count(*) from run_stages").await, 0);
    assert_eq!(test.number("select count(*) from run_stage_times").await, 0);
}

#[tokio::test]
async fn what_grows_by_itself_is_cut_to_its_bounds() {
    let test = TestDatabase::new().await;
    let mut last = start(&test).await;
    for _ in 0..9 {
        last = start(&test).await;
    }
    let visits =
        (0..20).map(|number| NodeVisit { freshness: u32::from(number), ..answered(number, 0) }).collect();
    test.run(SaveNodes { run: last, visits }).await;
    test.execute("update observations set day = day - 40 where ip <= '127.0.0.4'").await;
    let limits = TidyLimits { nodes_max: 15, observation_days: 30, runs_max: 3, ..TidyLimits::default() };
    let tidied = test.run(Tidy { limits }).await;
    assert_eq!(
        (tidied.nodes, tidied.nodes_removed, tidied.observations_removed, tidied.runs_removed),
        (15, 5, 5, 7)
    );
    assert!(test.run(LoadNodes { limit: 99 }).await.iter().all(|node| node.freshness >= 5));
    let limits = TidyLimits { observations_max: 3, ..limits };
    assert_eq!(test.run(Tidy { limits }).await.observations_removed, 15, "whole days");
}
