//! Quotas and expiry, on a real database.

use std::time::Duration;

use crate::private_cluster::{TestDatabase, hash, listed as torrent};
use indexer_app::db::{
    Beyond, BeyondQuotas, Expire, ExpireUnseen, Known, KnownHashes, Quotas, RunEnd, RunId, RunReport,
    RunStart, SeenAgain,
};

const DAY: Duration = Duration::from_secs(86_400);

async fn start(test: &TestDatabase, owner: &str) -> RunId {
    let (by_whom, version) = ("x".to_owned(), "1".to_owned());
    test.run(RunStart { owner: owner.to_owned(), by_whom, version, once: false }).await.unwrap()
}

async fn beyond(test: &TestDatabase, run: RunId, quotas: Quotas) -> Beyond {
    test.run(BeyondQuotas { run, quotas }).await
}

/// The numbers of the torrents that are left.
async fn left(test: &TestDatabase) -> Vec<u32> {
    let rows =
        test.client().await.query("select info_hash from torrents order by info_hash", &[]).await.unwrap();
    rows.iter().map(|row| u32::from_be_bytes(row.get::<_, &[u8]>(0)[..4].try_into().unwrap())).collect()
}

/// `count` torrents, of which each was added and seen a day earlier than the next.
async fn store(test: &TestDatabase, count: u32) {
    test.store((0..count).map(|number| torrent(number, "name")).collect()).await;
    let number = "('x' || substring(info_hash::text from 3 for 8))::bit(32)::int4";
    test.execute(&format!(
        "update torrents set added_at = now() - make_interval(days => {count} - {number});
         update torrent_stats set last_seen = now() - make_interval(days => {count} - {number})"
    ))
    .await;
}

#[tokio::test]
async fn beyond_a_quota_of_rows_the_least_popular_go_and_of_these_what_was_unseen_longest() {
    let test = TestDatabase::new().await;
    let run = start(&test, "one").await;
    store(&test, 20).await;
    // Torrent 1 is popular, 2 was added long ago and seen today.
    test.execute(
        "update torrents set popularity = 5 where info_hash = (select info_hash from torrents order by info_hash offset 1 limit 1);
         update torrent_stats set last_seen = now() where info_hash = (select info_hash from torrents order by info_hash offset 2 limit 1)",
    )
    .await;
    let quotas = |torrents_max| Quotas { torrents_max: Some(torrents_max), ..Quotas::default() };
    assert_eq!(beyond(&test, run, quotas(20)).await, Beyond { ours: true, torrents: 0 });
    assert_eq!(beyond(&test, run, Quotas::default()).await, Beyond { ours: true, torrents: 0 });
    assert_eq!(beyond(&test, run, quotas(16)).await, Beyond { ours: true, torrents: 4 });
    assert_eq!(test.run(Expire { limit: 4 }).await, 4);
    assert_eq!(left(&test).await, [1, 2].into_iter().chain(6..20).collect::<Vec<_>>());
    for table in ["torrent_files", "torrent_stats"] {
        assert_eq!(test.number(&format!("select count(*) from {table}")).await, 16);
    }
    // They leave nothing behind, and may come back.
    assert_eq!(test.run(KnownHashes(vec![hash(0)])).await, [(hash(0), Known::No)]);
    assert_eq!(test.store(vec![torrent(0, "name")]).await.inserted, [hash(0)]);
    assert_eq!(test.run(Expire { limit: 100 }).await, 17);
    assert_eq!(test.run(Expire { limit: 100 }).await, 0);
}

#[tokio::test]
async fn of_several_indexers_the_one_that_has_run_longest_keeps_the_quotas() {
    let test = TestDatabase::new().await;
    store(&test, 5).await;
    let (elder, younger) = (start(&test, "one").await, start(&test, "two").await);
    let quotas = Quotas { torrents_max: Some(2), ..Quotas::default() };
    assert_eq!(beyond(&test, elder, quotas).await, Beyond { ours: true, torrents: 3 });
    assert_eq!(beyond(&test, younger, quotas).await, Beyond::default());
    // One that has not reported for a while does not count, nor one that has ended.
    test.execute(&format!("update runs set beat_at = now() - interval '2 minutes' where id = {elder}")).await;
    assert!(beyond(&test, younger, quotas).await.ours);
    test.execute(&format!("update runs set beat_at = now() where id = {elder}")).await;
    assert!(!beyond(&test, younger, quotas).await.ours);
    test.run(RunEnd { run: elder, ended: "x".to_owned(), report: RunReport::default() }).await;
    assert!(beyond(&test, younger, quotas).await.ours);
}

#[tokio::test]
async fn a_quota_of_bytes_is_the_database_s_size_and_removes_no_more_until_it_has_grown() {
    let test = TestDatabase::new().await;
    let run = start(&test, "one").await;
    store(&test, 2_000).await;
    let size = test.number("select pg_database_size(current_database())").await.unsigned_abs();
    let quotas = |bytes| Quotas { storage_bytes_max: Some(bytes), ..Quotas::default() };
    assert_eq!(beyond(&test, run, quotas(size + (1 << 20))).await.torrents, 0);
    let half = quotas(size / 2);
    let gone = beyond(&test, run, half).await.torrents;
    assert!((950..=1_100).contains(&gone), "{gone} of 2000 are half of the size");
    // It is as large still, and that is known.
    assert_eq!(beyond(&test, run, half).await.torrents, 0);
    test.execute("create table more as select repeat('x', 100) from generate_series(1, 20000)").await;
    assert!(beyond(&test, run, half).await.torrents > 0, "it has grown");
}

#[tokio::test]
async fn what_was_unseen_too_long_goes_a_page_at_a_time_and_what_is_given_out_still_counts_as_seen() {
    let test = TestDatabase::new().await;
    store(&test, 30).await;
    // A node gives out two of the oldest.
    assert_eq!(test.run(SeenAgain { hashes: vec![hash(3), hash(4), hash(3), hash(999)] }).await, 2);
    assert_eq!(test.run(SeenAgain { hashes: vec![hash(3)] }).await, 0, "once a day is enough");
    let page = test.run(ExpireUnseen { unseen: 20 * DAY - DAY / 2, after: None }).await;
    assert_eq!((page.removed, page.next), (9, Some(hash(29))));
    assert_eq!(left(&test).await, [3, 4].into_iter().chain(11..30).collect::<Vec<_>>());
    let rest = test.run(ExpireUnseen { unseen: DAY / 2, after: Some(hash(20)) }).await;
    assert_eq!((rest.removed, rest.next), (9, Some(hash(29))));
    let end = test.run(ExpireUnseen { unseen: DAY, after: Some(hash(29)) }).await;
    assert_eq!((end.removed, end.next), (0, None));
    assert_eq!(test.number("select count(*) from tombstones").await, 0);
}

#[tokio::test]
async fn what_is_acknowledged_is_on_the_disk_whatever_the_server_s_default_is() {
    let test = TestDatabase::new().await;
    let name = test.database_name().await;
    test.execute(&format!("alter database {name} set synchronous_commit = off")).await;
    let again = test.connect_again().await.unwrap();
    let client = again.pool.get().await.unwrap();
    let setting: String = client.query_one("show synchronous_commit", &[]).await.unwrap().get(0);
    assert_eq!(setting, "on");
    // Whoever waits for a replica too goes on doing so.
    drop(client);
    test.execute(&format!("alter database {name} set synchronous_commit = remote_apply")).await;
    let pool = test.connect_again().await.unwrap().another_pool(1).unwrap();
    let client = pool.get().await.unwrap();
    let setting: String = client.query_one("show synchronous_commit", &[]).await.unwrap().get(0);
    assert_eq!(setting, "remote_apply");
}
