//! Words of paths: what is found by their numbers and by their beginnings, and what is not although it seems so.

use std::{collections::BTreeSet, time::Duration};

use indexer_app::{
    db::{
        BanAdd, BanApply, BanRule, ExportBatch, HashQuery, LearnPathWords, LearnedPaths, NewTorrent, Reindex,
        ReindexBegin, ReindexTurn, Search, Show,
    },
    search::{Page, Request},
    word_hash::word_hash,
};

use crate::private_cluster::{TestDatabase, torrent, with_files};

async fn page(test: &TestDatabase, query: &str) -> Page {
    test.run(Search { request: Request { limit: 500, ..Request::new(query) } }).await
}

async fn names(test: &TestDatabase, query: &str) -> BTreeSet<String> {
    page(test, query).await.hits.into_iter().map(|hit| hit.torrent.name).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn learn(test: &TestDatabase, torrents: u32) -> LearnedPaths {
    test.run(LearnPathWords { torrents }).await
}

/// Reads until so many torrents were read: transactions of other tests in the same cluster may be as late as ours. How many there were.
async fn learned(test: &TestDatabase, torrents: u64) -> u64 {
    let mut read = 0;
    let all = async {
        while read < torrents {
            read += learn(test, 10).await.torrents;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.unwrap();
    read
}

#[tokio::test]
async fn words_of_paths_are_found_by_their_beginnings_once_they_are_learned() {
    let test = TestDatabase::new().await;
    test.store(vec![
        with_files(torrent(1, "one"), &["lanterns/a.txt", "b"]),
        with_files(torrent(2, "two"), &["a lantern.txt", "進撃の巨人.mkv"]),
        with_files(torrent(3, "three"), &["lap.txt", "b"]),
        torrent(4, "lanthanum"),
    ])
    .await;
    let before = page(&test, "lant*").await;
    assert_eq!(before.hits.len(), 1, "names are known at once");
    assert!(before.approximate, "nobody knows the words of paths yet");
    assert_eq!(learn(&test, 100).await.torrents, 4);
    let after = page(&test, "lant*").await;
    assert!(!after.approximate);
    assert_eq!(names(&test, "lant*").await, set(&["one", "two", "lanthanum"]));
    assert_eq!(names(&test, "file:lanterns*").await, set(&["one"]));
    assert_eq!(names(&test, "file:lan*").await, set(&["one", "two", "lanthanum"]));
    assert_eq!(names(&test, "txt -lantern*").await, set(&["three"]));
    assert_eq!(names(&test, "撃").await, set(&["two"]), "a character is the beginning of a pair");
    assert_eq!(names(&test, "lanx*").await, set(&[]));
}

#[tokio::test]
async fn what_is_stored_later_is_learned_and_nothing_is_read_twice() {
    let test = TestDatabase::new().await;
    assert_eq!(learn(&test, 10).await.torrents, 0);
    let of = |number: u32, word: &str| with_files(torrent(number, "x"), &[&format!("{word}.bin"), "b"]);
    test.store((0..25).map(|number| of(number, &format!("early{number:02}"))).collect()).await;
    // Who is late: it began to store before others that are read first.
    let late = test.client().await;
    late.batch_execute(
        "begin; insert into torrents (info_hash, name, total_size, file_count, tok_ver, discovered_by, tsv)
            values (decode(repeat('ee', 20), 'hex'), 'late', 2, 2, 2, 1, '')",
    )
    .await
    .unwrap();
    test.store(vec![of(30, "middle")]).await;
    assert_eq!(learned(&test, 25).await, 25);
    assert_eq!(
        learn(&test, 10).await.torrents,
        0,
        "what was stored since somebody stores is read when that is done"
    );
    late.batch_execute("commit").await.unwrap();
    test.store(vec![of(31, "last")]).await;
    assert_eq!(learned(&test, 3).await, 3, "late, middle, last");
    assert_eq!(page(&test, "early*").await.hits.len(), 25);
    assert_eq!(page(&test, "mid*").await.hits.len(), 1);
    assert_eq!(page(&test, "las*").await.hits.len(), 1);
    // As in a database that was restored in another cluster.
    test.execute("update path_words_read set since = since + 1000000000, until = until + 1000000000").await;
    assert_eq!(learn(&test, 100).await.torrents, 28, "all are read again");
}

#[tokio::test]
async fn lists_of_words_become_few_and_have_each_word_once() {
    let test = TestDatabase::new().await;
    let word = |number: u64| format!("{:016x}", (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    for batch in 0..40_u32 {
        let torrents = (0..10_u32).map(|number| {
            let number = batch * 10 + number;
            let path = format!("{} {}.bin", word(number.into()), word(u64::from(number) / 2));
            with_files(torrent(number, "x"), &[&path, "shared"])
        });
        test.store(torrents.collect()).await;
        assert_eq!(learned(&test, 10).await, 10);
    }
    let lists = test.number("select count(*) from path_word_lists").await;
    assert!((1..=10).contains(&lists), "{lists}");
    let orphans = "select count(*) from path_words where list not in (select list from path_word_lists)";
    assert_eq!(test.number(orphans).await, 0);
    let all = test.number("select sum(words)::int8 from path_word_lists").await;
    assert!((400..=500).contains(&all), "{all} words in lists, of which 400 differ");
    for number in [0, 77, 399] {
        let begins = &word(number)[..10];
        assert!(!page(&test, &format!("{begins}*")).await.hits.is_empty(), "{begins}");
    }
}

#[tokio::test]
async fn more_words_than_are_asked_for_begin_alike_and_the_page_says_so() {
    let test = TestDatabase::new().await;
    let torrents = (0..400).map(|number| with_files(torrent(number, "x"), &[&format!("w{number:03}"), "b"]));
    test.store(torrents.collect()).await;
    test.learn_paths().await;
    let many = page(&test, "w*").await;
    assert!(many.approximate && many.hits.len() == 256, "{}", many.hits.len());
    let few = page(&test, "w1*").await;
    assert!(!few.approximate && few.hits.len() == 100, "{}", few.hits.len());
    // Those that may not be there have none of the words, whether they are known or not.
    assert!(page(&test, "b -w*").await.hits.is_empty());
}

#[tokio::test]
async fn words_of_the_same_number_are_told_apart() {
    let test = TestDatabase::new().await;
    test.store(vec![
        with_files(torrent(1, "has it"), &["harbour.txt", "b"]),
        with_files(torrent(2, "has another"), &["a", "b"]),
    ])
    .await;
    // As if one of its words had the number of the other.
    let sql = format!("update torrent_files set words = words || {}", word_hash("harbour"));
    test.execute(&sql).await;
    let found = page(&test, "harbour").await;
    assert_eq!(found.hits.len(), 1);
    assert_eq!(found.hits[0].torrent.name, "has it");
    assert_eq!(names(&test, "harbour b").await, set(&["has it"]));
    let rule = BanRule::new(Some("harbour"), None, None).unwrap();
    test.run(BanAdd { rule }).await.unwrap();
    let client = test.client().await;
    let (_, banned) = BanApply::find(&client).await.unwrap();
    assert_eq!(banned.sample.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["has it"]);
}

#[tokio::test]
async fn a_file_named_as_its_torrent_needs_no_list() {
    let test = TestDatabase::new().await;
    let one = torrent(1, "Harbour lights.mkv");
    let larger = NewTorrent { total_size: 9_999, ..torrent(2, "Harbour of another size.mkv") };
    test.store(vec![one.clone(), larger.clone()]).await;
    assert_eq!(test.number("select count(*) from torrent_files").await, 1);
    for given in [&one, &larger] {
        let shown = test.run(Show { hash: HashQuery::exact(given.hashes.canonical()) }).await.remove(0);
        assert_eq!((&shown.files, shown.total_size), (&given.files, given.total_size));
    }
    let exported = test.run(ExportBatch::After { key: None, limit: 10 }).await;
    let lists: Vec<bool> = exported.iter().map(|row| row.files.is_some()).collect();
    assert_eq!(lists, [false, true]);
    assert_eq!(names(&test, "file:harbour ext:mkv").await, set(&[&one.name, &larger.name]));
}

#[tokio::test]
async fn until_older_torrents_are_made_again_a_page_says_that_some_may_be_missing() {
    let test = TestDatabase::new().await;
    test.store(vec![with_files(torrent(1, "one"), &["harbour/a.txt", "b"]), torrent(2, "harbour")]).await;
    test.execute(
        "update torrent_files set words = null, tok_ver = tok_ver - 1; update torrents set tok_ver = tok_ver - 1;
         insert into reindexing (tok_ver, class_ver, finished_at) select min(tok_ver), min(class_ver), now() from torrents",
    )
    .await;
    let before = page(&test, "harbour").await;
    assert_eq!((before.hits.len(), before.approximate, before.count.exact), (1, true, false));
    test.run(ReindexBegin::default()).await;
    while test.run(Reindex { limit: 10, owner: "test".to_owned() }).await != ReindexTurn::Finished {}
    let after = page(&test, "harbour").await;
    assert_eq!((after.hits.len(), after.approximate, after.count.exact), (2, false, true));
}
