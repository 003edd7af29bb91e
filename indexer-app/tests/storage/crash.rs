//! What was acknowledged is there, whatever is killed.

use std::{collections::BTreeSet, sync::mpsc::sync_channel, time::Duration};

use crate::private_cluster::{TempDir, options, torrent};
use indexer_app::{
    cluster::{Cluster, ClusterEvent, EventSink, Mode},
    db::{
        self, BacklogFail, BacklogNew, BacklogPut, BacklogTake, Bury, DatabaseChoice, Discovery, ExportBatch,
        Failure, StoreTorrents, pool_error,
    },
};
use krpc::InfoHash;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tea_runtime::{Session, SessionError};

/// Torrents in a batch.
const BATCH: u32 = 100;

/// Stores batch after batch until told to stop; gives back the first number of each that was acknowledged, and the
/// errors that it met. A batch that failed is tried again: it may or may not have been stored.
async fn store_on(
    pool: deadpool_postgres::Pool,
    mut batches: std::ops::RangeFrom<u32>,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
) -> (Vec<u32>, Vec<SessionError>) {
    let (mut acknowledged, mut errors) = (Vec::new(), Vec::new());
    'batches: while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        let batch = batches.next().unwrap();
        loop {
            let torrents =
                (batch * BATCH..(batch + 1) * BATCH).map(|number| torrent(number, "name")).collect();
            let outcome = match pool.get().await {
                Ok(mut client) => StoreTorrents { torrents }.run(&mut client).await,
                Err(error) => Err(pool_error(&error)),
            };
            match outcome {
                Ok(stored) => {
                    assert_eq!(stored.inserted.len() as u64 + stored.known, u64::from(BATCH));
                    acknowledged.push(batch);
                    continue 'batches;
                }
                Err(error) => {
                    assert!(error.is_transient(), "{error}");
                    errors.push(error);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }
    (acknowledged, errors)
}

/// What the database has acknowledged of the backlog.
#[derive(Default)]
struct Acknowledged {
    put: BTreeSet<InfoHash>,
    taken: BTreeSet<InfoHash>,
    failed: BTreeSet<InfoHash>,
    buried: BTreeSet<InfoHash>,
    errors: usize,
}

/// Runs a session until it succeeds; how often it failed.
async fn insist<S: Session<Client = deadpool_postgres::Client>>(
    pool: &deadpool_postgres::Pool,
    session: impl Fn() -> S,
) -> (S::Output, usize) {
    let mut errors = 0;
    loop {
        let outcome = match pool.get().await {
            Ok(mut client) => session().run(&mut client).await,
            Err(error) => Err(pool_error(&error)),
        };
        match outcome {
            Ok(output) => return (output, errors),
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                errors += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// Puts hashes into the backlog, takes some, fails some of these and buries others, until told to stop.
async fn work_on_backlog(
    pool: deadpool_postgres::Pool,
    mut numbers: std::ops::RangeFrom<u32>,
    owner: &'static str,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
) -> Acknowledged {
    let mut done = Acknowledged::default();
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        let hashes: Vec<InfoHash> = numbers.by_ref().take(50).map(crate::private_cluster::hash).collect();
        let entries = || {
            let new = |hash: &InfoHash| BacklogNew {
                info_hash: *hash,
                source: Discovery::Sampled,
                often: false,
                hints: vec![],
            };
            hashes.iter().map(new).collect()
        };
        let (_, errors) = insist(&pool, || BacklogPut { entries: entries(), room: None }).await;
        done.put.extend(&hashes);
        done.errors += errors;
        // What an answer that was lost has taken is in nobody's hand: it comes back when its lease ends.
        let take = || BacklogTake { limit: 30, owner: owner.to_owned(), lease: Duration::from_secs(600) };
        let (taken, errors) = insist(&pool, take).await;
        done.errors += errors;
        let taken: Vec<InfoHash> = taken.into_iter().map(|taken| taken.info_hash).collect();
        for hash in &taken {
            assert!(done.taken.insert(*hash), "{hash} was taken twice within its lease");
        }
        let (failed, rest) = taken.split_at(taken.len() / 3);
        let (buried, _) = rest.split_at(rest.len() / 2);
        let failure =
            |hash: &InfoHash| Failure { info_hash: *hash, reason: "x".to_owned(), inconclusive: false };
        let fail = || BacklogFail { owner: owner.to_owned(), failures: failed.iter().map(failure).collect() };
        let (_, errors) = insist(&pool, fail).await;
        done.failed.extend(failed);
        done.errors += errors;
        let bury = || Bury { hashes: buried.iter().map(|hash| (*hash, "no torrent".to_owned())).collect() };
        let (_, errors) = insist(&pool, bury).await;
        done.buried.extend(buried);
        done.errors += errors;
    }
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_backlog_keeps_what_was_acknowledged_however_often_the_server_is_killed() {
    let dir = TempDir::new();
    let mut options = options(&dir.join("data"));
    options.fsync = true;
    let choice =
        DatabaseChoice::Private { cluster: options, mode: Mode::Own, database: "indexer".to_owned() };
    let mut database = db::connect(&choice, 4).await.unwrap();
    database.migrate().await.unwrap();
    let stop = std::sync::Arc::default();
    let mut workers = tokio::task::JoinSet::new();
    for (start, owner) in [(0, "one"), (1 << 20, "two")] {
        let stop = std::sync::Arc::clone(&stop);
        workers.spawn(work_on_backlog(database.pool.clone(), start.., owner, stop));
    }
    for round in 0..6 {
        let before = rows_of(&database, "backlog").await;
        while rows_of(&database, "backlog").await < before + 100 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let pid = database.cluster.as_ref().and_then(Cluster::server_pid).unwrap();
        if round % 2 == 0 {
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        } else {
            let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
            for child in children.split_whitespace() {
                let _ = kill(Pid::from_raw(child.parse().unwrap()), Signal::SIGKILL);
            }
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let results = workers.join_all().await;
    assert!(results.iter().map(|done| done.errors).sum::<usize>() > 0, "nothing was ever in the way");
    let client = database.pool.get().await.unwrap();
    let keys = async |sql: &str| -> BTreeSet<InfoHash> {
        let rows = client.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| InfoHash::try_from(row.get::<_, &[u8]>(0)).unwrap()).collect()
    };
    let (waiting, tombstones) =
        (keys("select info_hash from backlog").await, keys("select info_hash from tombstones").await);
    let failed = keys("select info_hash from backlog where tries > 0 and owner is null").await;
    let mut all = BTreeSet::new();
    for done in &results {
        // Both lists would be empty if the first were: they are not.
        assert!(done.put.len() >= 200 && done.buried.len() >= 20 && done.failed.len() >= 20);
        assert!(done.buried.is_subset(&tombstones), "what was buried is so");
        assert!(done.failed.is_subset(&failed), "what failed waits");
        let kept: BTreeSet<_> = waiting.union(&tombstones).copied().collect();
        assert_eq!(done.put.difference(&kept).count(), 0, "of {} that were put", done.put.len());
        for hash in &done.taken {
            assert!(all.insert(*hash), "{hash} was taken by both");
        }
    }
    assert!(waiting.is_disjoint(&tombstones));
    drop(client);
    database.close().await;
}

/// How many rows there are; asks until the server answers.
async fn rows_of(database: &db::Database, table: &str) -> i64 {
    loop {
        if let Ok(client) = database.pool.get().await
            && let Ok(row) = client.query_one(&format!("select count(*) from {table}"), &[]).await
        {
            return row.get(0);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_batches_survive_the_server_being_killed_again_and_again() {
    let dir = TempDir::new();
    let (sender, events) = sync_channel(256);
    let mut options = options(&dir.join("data"));
    options.fsync = true;
    options.events = EventSink::new(move |event| {
        let _ = sender.try_send(event);
    });
    let choice =
        DatabaseChoice::Private { cluster: options, mode: Mode::Own, database: "indexer".to_owned() };
    let mut database = db::connect(&choice, 4).await.unwrap();
    database.migrate().await.unwrap();
    let stop = std::sync::Arc::default();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..2 {
        writers.spawn(store_on(database.pool.clone(), writer * 1_000_000.., std::sync::Arc::clone(&stop)));
    }
    let server = |database: &db::Database| database.cluster.as_ref().and_then(Cluster::server_pid);
    for round in 0..5 {
        // Let some batches through, so that each round kills in the middle of others.
        let before: i64 = rows_of(&database, "torrents").await;
        while rows_of(&database, "torrents").await < before + i64::from(BATCH) * 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let pid = Pid::from_raw(server(&database).unwrap());
        if round % 2 == 0 {
            kill(pid, Signal::SIGKILL).unwrap();
            let events = &events;
            // The events come from another thread: this one has nothing else to do.
            tokio::task::block_in_place(|| {
                while events.recv_timeout(Duration::from_secs(60)).unwrap() != ClusterEvent::Restarted {}
            });
        } else {
            // All of its children, as the kernel does when memory is short: it recovers by itself.
            let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
            for child in children.split_whitespace() {
                let _ = kill(Pid::from_raw(child.parse().unwrap()), Signal::SIGKILL);
            }
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let (mut acknowledged, mut errors) = (BTreeSet::new(), 0);
    for (batches, met) in writers.join_all().await {
        acknowledged.extend(batches);
        errors += met.len();
    }
    assert!(errors > 0, "nothing was ever in the way of a batch: the test has tested nothing");
    let mut present = BTreeSet::new();
    let mut after = None;
    loop {
        let mut client = database.pool.get().await.unwrap();
        let rows = ExportBatch::After { key: after, limit: 1000 }.run(&mut client).await.unwrap();
        let Some(last) = rows.last() else { break };
        after = Some(last.hashes.canonical());
        present.extend(rows.iter().map(|row| row.hashes.canonical()));
    }
    let lost: Vec<InfoHash> = acknowledged
        .iter()
        .flat_map(|batch| batch * BATCH..(batch + 1) * BATCH)
        .map(crate::private_cluster::hash)
        .filter(|hash| !present.contains(hash))
        .collect();
    assert_eq!(lost, [], "of {} acknowledged batches", acknowledged.len());
    database.close().await;
}
