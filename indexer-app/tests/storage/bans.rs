//! What was deleted or banned stays away, on a real database.

use std::collections::BTreeMap;

use crate::private_cluster::{TestDatabase, hash, listed as torrent, with_files};
use indexer_app::db::{
    BacklogNew, BacklogPut, BacklogTake, BanAdd, BanApply, BanHashes, BanList, BanRemove, BanRule, Banned,
    BannedHashes, BannedTorrents, DeleteTorrents, Discovery, Hashes, Known, KnownHashes, NewTorrent,
    StoredUnder, Tidy, TidyLimits, Unban,
};
use krpc::InfoHash;

fn rule(words: Option<&str>, min: Option<u64>, max: Option<u64>) -> BanRule {
    BanRule::new(words, min, max).unwrap()
}

fn hybrid(number: u32, name: &str) -> NewTorrent {
    let mut v2 = [0xcd; 32];
    v2[..4].copy_from_slice(&number.to_be_bytes());
    NewTorrent { hashes: Hashes::Hybrid { v1: hash(number), v2 }, ..torrent(number, name) }
}

/// Rows in all tables that belong to torrents.
async fn rows(test: &TestDatabase) -> [i64; 4] {
    let mut counts = [0; 4];
    for (count, table) in counts.iter_mut().zip(["torrents", "torrent_files", "torrent_stats", "aliases"]) {
        *count = test.number(&format!("select count(*) from {table}")).await;
    }
    counts
}

/// Applies the bans: what was found, and how many were deleted.
async fn apply(test: &TestDatabase) -> (BannedTorrents, u64) {
    let client = test.client().await;
    let (mut work, found) = BanApply::find(&client).await.unwrap();
    let mut deleted = 0;
    while let Some(count) = work.delete_some().await.unwrap() {
        deleted += count;
    }
    (found, deleted)
}

async fn known(test: &TestDatabase, hash: InfoHash) -> Known {
    test.run(KnownHashes(vec![hash])).await[0].1
}

async fn put(test: &TestDatabase, hashes: &[InfoHash]) -> u64 {
    let entries = hashes.iter().map(|hash| BacklogNew::requested(*hash)).collect();
    test.run(BacklogPut { entries, room: None }).await.new.values().sum()
}

#[tokio::test]
async fn a_deleted_torrent_is_gone_from_every_table_and_under_every_key_and_does_not_come_back() {
    let test = TestDatabase::new().await;
    let one = hybrid(1, "both");
    let alias = one.hashes.alias().unwrap();
    test.store(vec![one.clone(), torrent(2, "stays"), torrent(3, "goes")]).await;
    let found = test.run(StoredUnder { hashes: vec![alias, hash(1), hash(3), hash(9)] }).await;
    assert_eq!(found.iter().map(|torrent| torrent.name.as_str()).collect::<Vec<_>>(), ["both", "goes"]);

    // By its alias, and with one that was never there.
    let mut gone = test.run(DeleteTorrents { hashes: vec![alias, hash(3)] }).await;
    gone.sort_unstable();
    assert_eq!(gone, [hash(1), hash(3)]);
    assert_eq!(rows(&test).await, [1, 1, 1, 0]);
    for hash in [hash(1), alias, hash(3)] {
        assert_eq!(known(&test, hash).await, Known::Buried);
    }
    // Neither asked for, nor fetched, nor stored.
    assert_eq!(put(&test, &[hash(1), alias, hash(3), hash(4)]).await, 1);
    let take = BacklogTake { limit: 10, owner: "x".to_owned(), lease: std::time::Duration::from_secs(60) };
    assert_eq!(test.run(take).await.len(), 1);
    let stored = test.store(vec![one.clone(), torrent(3, "goes"), torrent(5, "new")]).await;
    assert_eq!(stored.inserted, [hash(5)]);
    assert_eq!(stored.banned, Banned { by_hash: 2, by_rule: BTreeMap::new() });
    // Until somebody says so.
    let freed = test.run(Unban { hashes: vec![hash(1), alias, hash(77)] }).await;
    assert_eq!(
        freed.into_iter().collect::<Vec<_>>(),
        [(alias, "deleted".to_owned()), (hash(1), "deleted".to_owned())]
            .into_iter()
            .collect::<BTreeMap<_, _>>()
            .into_iter()
            .collect::<Vec<_>>()
    );
    assert_eq!(test.store(vec![one]).await.inserted, [hash(1)]);
    assert_eq!(known(&test, alias).await, Known::Stored);
}

#[tokio::test]
async fn a_banned_hash_is_not_fetched_and_one_that_is_stored_goes_when_bans_are_applied() {
    let test = TestDatabase::new().await;
    let stored = hybrid(1, "stored");
    let alias = stored.hashes.alias().unwrap();
    test.store(vec![stored, torrent(2, "other")]).await;
    put(&test, &[hash(3), hash(4)]).await;
    let ban = BanHashes { hashes: vec![alias, hash(3), hash(5), hash(5)] };
    assert_eq!(test.run(ban).await, BannedHashes { new: 3, stored: 1 });
    assert_eq!(test.run(BanHashes { hashes: vec![hash(3)] }).await, BannedHashes { new: 0, stored: 0 });
    assert_eq!(test.number("select count(*) from backlog").await, 1);
    assert_eq!(rows(&test).await, [2, 2, 2, 1], "nothing stored goes by itself");
    assert_eq!(test.run(Tidy { limits: TidyLimits::default() }).await.banned_removed, 0);
    let bans = test.run(BanList).await;
    assert_eq!((bans.tombstones, bans.pending), (vec![("banned".to_owned(), 3)], 1));

    let (found, deleted) = apply(&test).await;
    assert_eq!((found.by_rule, deleted), (vec![(None, 1)], 1));
    assert_eq!(found.sample[0].name, "stored");
    assert_eq!(rows(&test).await, [1, 1, 1, 0]);
    assert_eq!((known(&test, hash(1)).await, known(&test, alias).await), (Known::Buried, Known::Buried));
    assert_eq!(apply(&test).await.0.total(), 0);
}

#[tokio::test]
async fn rules_hold_for_what_comes_and_for_what_is_stored_when_they_are_applied() {
    let test = TestDatabase::new().await;
    test.store(vec![
        torrent(1, "Some Unwanted.Thing"),
        with_files(torrent(2, "fine"), &["dir/unwanted/thing.bin", "b"]),
        with_files(torrent(3, "unwanted"), &["dir/thing.bin", "b"]),
        torrent(4, "unwanted alone"),
        NewTorrent { total_size: 5_000_000, ..torrent(5, "large") },
        torrent(6, "Größe 日本語"),
    ])
    .await;
    let words = test.run(BanAdd { rule: rule(Some("thing UNWANTED"), None, None) }).await.unwrap();
    assert_eq!(
        test.run(BanAdd { rule: rule(Some("thing UNWANTED"), None, None) }).await,
        Some(words),
        "once"
    );
    let large = test.run(BanAdd { rule: rule(None, Some(5_000_000), None) }).await.unwrap();
    let both = test.run(BanAdd { rule: rule(Some("grosse 日本"), Some(1), Some(2_000)) }).await.unwrap();

    // What comes: by the words of name and paths together, by size; each counts once, and is never asked for again.
    let stored = test
        .store(vec![
            torrent(11, "another unwanted thing"),
            NewTorrent { total_size: 1 << 40, ..torrent(12, "unwanted thing, and large") },
            NewTorrent { total_size: 5_000_000, ..torrent(13, "large") },
            with_files(torrent(14, "thing"), &["x/Unwanted.mkv", "y"]),
            torrent(15, "welcome"),
        ])
        .await;
    assert_eq!(stored.inserted, [hash(15)]);
    assert_eq!(stored.banned.by_rule, BTreeMap::from([(words, 3), (large, 1)]));
    assert_eq!(known(&test, hash(12)).await, Known::Buried);

    // A look changes nothing.
    let client = test.client().await;
    let (_, found) = BanApply::find(&client).await.unwrap();
    drop(client);
    assert_eq!(found.by_rule, [(Some(words), 3), (Some(large), 1), (Some(both), 1)]);
    assert_eq!((found.total(), found.sample.len()), (5, 5));
    assert_eq!(rows(&test).await[0], 7);

    let (again, deleted) = apply(&test).await;
    assert_eq!((again.by_rule, deleted), (found.by_rule, 5));
    assert_eq!(rows(&test).await, [2, 2, 2, 0]);
    assert_eq!(test.number("select count(*) from tombstones where reason like 'banned by rule %'").await, 9);

    // Without the rule what it has banned stays so, other torrents come in.
    assert!(test.run(BanRemove { id: words }).await);
    assert!(!test.run(BanRemove { id: words }).await);
    let stored = test.store(vec![torrent(1, "unwanted thing"), torrent(21, "unwanted thing")]).await;
    assert_eq!((stored.inserted, stored.banned.by_hash), (vec![hash(21)], 1));
}

#[tokio::test]
async fn applying_bans_can_be_broken_off_and_goes_on_with_the_rest() {
    let test = TestDatabase::new().await;
    for start in [0, 600] {
        test.store((start..start + 600).map(|number| torrent(number, &format!("noise {number}"))).collect())
            .await;
    }
    test.store(vec![torrent(5_000, "music")]).await;
    test.run(BanAdd { rule: rule(Some("noise"), None, None) }).await.unwrap();
    {
        let client = test.client().await;
        let (mut work, found) = BanApply::find(&client).await.unwrap();
        assert_eq!((found.total(), found.sample.len()), (1_200, 20));
        assert_eq!(work.delete_some().await.unwrap(), Some(500));
    }
    assert_eq!(rows(&test).await[0], 701);
    let (found, deleted) = apply(&test).await;
    assert_eq!((found.total(), deleted), (700, 700));
    assert_eq!(rows(&test).await, [1, 1, 1, 0]);
    assert_eq!(test.number("select count(*) from tombstones").await, 1_200);
}

#[tokio::test]
async fn what_was_being_stored_while_it_was_deleted_goes_when_the_database_is_tidied() {
    let test = TestDatabase::new().await;
    test.store(vec![hybrid(1, "x"), torrent(2, "y")]).await;
    // As if the one had not seen the other.
    test.execute("insert into tombstones (info_hash, reason) select info_hash, 'deleted' from torrents where name = 'x'")
        .await;
    let entries =
        vec![BacklogNew { info_hash: hash(3), source: Discovery::Sampled, often: false, hints: vec![] }];
    test.run(BacklogPut { entries, room: None }).await;
    test.execute("insert into tombstones (info_hash, reason) select info_hash, 'deleted' from backlog").await;
    assert_eq!(test.run(Tidy { limits: TidyLimits::default() }).await.banned_removed, 1);
    assert_eq!(rows(&test).await, [1, 1, 1, 0]);
    assert_eq!(test.number("select count(*) from backlog").await, 0);
}
