//! What was acknowledged is there, whatever is killed.

use std::{collections::BTreeSet, sync::mpsc::sync_channel, time::Duration};

use crate::private_cluster::{TempDir, options, torrent};
use indexer_app::{
    cluster::{Cluster, ClusterEvent, EventSink, Mode},
    db::{self, DatabaseChoice, ExportBatch, StoreTorrents, pool_error},
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
        let before: i64 = count(&database).await;
        while count(&database).await < before + i64::from(BATCH) * 4 {
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

/// How many torrents there are; asks until the server answers.
async fn count(database: &db::Database) -> i64 {
    loop {
        if let Ok(client) = database.pool.get().await
            && let Ok(row) = client.query_one("select count(*) from torrents", &[]).await
        {
            return row.get(0);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
