//! Stored torrents made again by newer rules.

use std::{collections::BTreeSet, time::Duration};

use indexer_app::{
    db::{Reindex, ReindexBegin, ReindexProgress, ReindexState, ReindexTurn, Reindexed, Search},
    kinds::CLASS_VER,
    search::Request,
    tokeniser::TOK_VER,
};

use crate::private_cluster::{TestDatabase, torrent, with_files};

fn turn(limit: u32) -> Reindex {
    Reindex { limit, owner: "test".to_owned() }
}

/// Makes rows as a program of older rules would have left them.
async fn age(test: &TestDatabase, condition: &str) {
    test.execute(&format!(
        "update torrents set tsv = to_tsvector('simple', 'outdated'), kind = 0, year = null, tok_ver = tok_ver - 1,
            class_ver = 0 where {condition};
         update torrent_files set words = null, tok_ver = tok_ver - 1
         where info_hash in (select info_hash from torrents where class_ver = 0)"
    ))
    .await;
}

async fn walk(test: &TestDatabase, limit: u32) -> Reindexed {
    let mut sum = Reindexed::default();
    loop {
        match test.run(turn(limit)).await {
            ReindexTurn::Done(rows) => {
                sum.looked_at += rows.looked_at;
                sum.made_again += rows.made_again;
            }
            ReindexTurn::Finished => return sum,
            ReindexTurn::Taken => panic!("nobody else is there"),
        }
    }
}

async fn found(test: &TestDatabase, query: &str) -> BTreeSet<String> {
    let request = Request { limit: 500, ..Request::new(query) };
    test.run(Search { request }).await.hits.into_iter().map(|hit| hit.torrent.name).collect()
}

async fn everything(test: &TestDatabase) -> Vec<String> {
    let client = test.client().await;
    let sql = "select concat_ws('|', t.info_hash, t.tsv, t.tok_ver, t.class_ver, t.kind, t.year, f.words::text, f.tok_ver)
         from torrents t left join torrent_files f using (info_hash) order by 1";
    client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn rows_of_older_rules_become_what_they_would_be_if_they_were_stored_now() {
    let test = TestDatabase::new().await;
    let mut torrents: Vec<_> =
        (0..300).map(|number| torrent(number, &format!("Song {number} 1999.flac"))).collect();
    torrents.push(with_files(torrent(900, "Harbour S02E05"), &["a/lights.mkv", "a/notes.txt"]));
    test.store(torrents).await;
    let before = everything(&test).await;
    age(&test, "true").await;
    assert!(found(&test, "harbour").await.is_empty());
    assert_eq!(test.run(ReindexBegin::default()).await, ReindexState::UnderWay);
    let done = walk(&test, 64).await;
    assert_eq!(done, Reindexed { looked_at: 301, made_again: 301 });
    assert_eq!(everything(&test).await, before);
    for query in ["harbour", "lights", "s02"] {
        assert_eq!(found(&test, query).await, BTreeSet::from(["Harbour S02E05".to_owned()]), "{query}");
    }
    let progress = test.run(ReindexProgress).await.unwrap();
    assert_eq!((progress.tok_ver, progress.class_ver, progress.rows), (TOK_VER, CLASS_VER, done));
    assert!(progress.finished_at.is_some());
}

#[tokio::test]
async fn what_is_newest_is_made_again_first_and_a_turn_makes_no_more_than_its_limit() {
    let test = TestDatabase::new().await;
    test.store((0..100).map(|number| torrent(number, "x")).collect()).await;
    test.execute("update torrents set added_at = now() - make_interval(mins => get_byte(info_hash, 3))")
        .await;
    age(&test, "get_byte(info_hash, 3) % 2 = 0").await;
    test.run(ReindexBegin::default()).await;
    assert_eq!(test.run(turn(10)).await, ReindexTurn::Done(Reindexed { looked_at: 19, made_again: 10 }));
    let newest = "select count(*) from torrents where class_ver > 0 and get_byte(info_hash, 3) % 2 = 0";
    assert_eq!(test.number(newest).await, 10);
    let oldest = "select max(get_byte(info_hash, 3))::int8 from torrents where class_ver > 0 and get_byte(info_hash, 3) % 2 = 0";
    assert_eq!(test.number(oldest).await, 18);
    // Whoever comes next goes on there.
    assert_eq!(walk(&test, 1_000).await, Reindexed { looked_at: 81, made_again: 40 });
}

#[tokio::test]
async fn a_walk_that_is_over_is_followed_by_one_over_what_was_added_since() {
    let test = TestDatabase::new().await;
    test.store((0..50).map(|number| torrent(number, "old")).collect()).await;
    test.execute("update torrents set added_at = now() - interval '2 days'").await;
    test.run(ReindexBegin::default()).await;
    assert_eq!(walk(&test, 500).await.looked_at, 50);
    assert_eq!(test.run(turn(500)).await, ReindexTurn::Finished);
    // Meanwhile a program of older rules has stored one.
    test.store(vec![torrent(77, "harbour")]).await;
    age(&test, "name = 'harbour'").await;
    test.run(ReindexBegin::default()).await;
    assert_eq!(walk(&test, 500).await, Reindexed { looked_at: 1, made_again: 1 });
    assert_eq!(found(&test, "harbour").await.len(), 1);
    assert_eq!(test.run(ReindexProgress).await.unwrap().rows_in_all, None);
}

#[tokio::test]
async fn all_are_made_again_when_it_is_asked_for_and_a_walk_under_way_goes_on() {
    let test = TestDatabase::new().await;
    test.store((0..60).map(|number| torrent(number, "x")).collect()).await;
    test.run(ReindexBegin::default()).await;
    assert_eq!(walk(&test, 500).await.made_again, 0);
    test.execute("update torrents set tsv = ''").await;
    test.run(ReindexBegin { every: true }).await;
    assert_eq!(test.run(turn(40)).await, ReindexTurn::Done(Reindexed { looked_at: 40, made_again: 40 }));
    for every in [false, true] {
        test.run(ReindexBegin { every }).await;
    }
    assert_eq!(walk(&test, 40).await, Reindexed { looked_at: 20, made_again: 20 });
    assert_eq!(test.number("select count(*) from torrents where tsv = ''").await, 0);
}

#[tokio::test]
async fn of_two_indexers_one_has_the_turn_until_its_lease_is_over() {
    let test = TestDatabase::new().await;
    test.store(vec![torrent(1, "x")]).await;
    test.run(ReindexBegin::default()).await;
    test.execute("update reindexing set leased_by = 'other', leased_until = now() + interval '1 minute'")
        .await;
    assert_eq!(test.run(turn(9)).await, ReindexTurn::Taken);
    test.execute("update reindexing set leased_until = now() - interval '1 second'").await;
    assert!(matches!(test.run(turn(9)).await, ReindexTurn::Done(_)));
}

#[tokio::test]
async fn rows_of_newer_rules_are_left_to_the_program_that_has_them() {
    let test = TestDatabase::new().await;
    test.run(ReindexBegin::default()).await;
    test.execute("update reindexing set class_ver = class_ver + 1").await;
    let newer = ReindexState::Newer { tok_ver: TOK_VER, class_ver: CLASS_VER + 1 };
    assert_eq!(test.run(ReindexBegin { every: true }).await, newer);
    assert_eq!(test.run(turn(9)).await, ReindexTurn::Finished);
}

#[tokio::test]
async fn a_list_of_very_many_files_has_a_turn_with_few_others_and_damaged_ones_stop_nobody() {
    let test = TestDatabase::new().await;
    let mut torrents: Vec<_> = (0..20).map(|number| torrent(number, "x")).collect();
    for large in &mut torrents[5..8] {
        large.files = (0..150_000_u64)
            .map(|file| (vec![format!("{:x}", file.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29))], 1))
            .collect();
    }
    test.store(torrents).await;
    age(&test, "true").await;
    test.execute("update torrent_files set data = '\\x00ff' where get_byte(info_hash, 3) = 12").await;
    test.run(ReindexBegin::default()).await;
    assert_eq!(walk(&test, 500).await, Reindexed { looked_at: 20, made_again: 20 });
    assert_eq!(found(&test, "x").await.len(), 1, "all are called x");
    assert_eq!(test.number("select count(*) from torrents where tsv @@ 'x'").await, 20);
}

#[tokio::test]
async fn searching_and_storing_go_on_while_rows_are_made_again() {
    let test = TestDatabase::new().await;
    test.store((0..400).map(|number| torrent(number, &format!("lamp {number}"))).collect()).await;
    age(&test, "get_byte(info_hash, 3) < 128").await;
    let aged = test.number("select count(*) from torrents where class_ver = 0").await;
    assert_eq!(aged, 128 + 128);
    test.run(ReindexBegin::default()).await;
    let walking = walk(&test, 20);
    let storing = async {
        for batch in 0..10_u32 {
            test.store((0..20).map(|number| torrent(10_000 + batch * 20 + number, "lamp new")).collect())
                .await;
        }
    };
    let searching = async {
        for _ in 0..20 {
            assert!(!found(&test, "lamp").await.is_empty());
        }
    };
    let both = async { tokio::join!(walking, storing, searching).0 };
    let done = tokio::time::timeout(Duration::from_secs(60), both).await.unwrap();
    assert_eq!(done.made_again, aged as u64);
    assert_eq!(test.number("select count(*) from torrents where class_ver = 0").await, 0);
    assert_eq!(test.number("select count(*) from torrents").await, 600);
}
