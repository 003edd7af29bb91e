//! Torrents, aliases, scores and exports on a real database.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use crate::private_cluster::{TestDatabase, hash, listed, torrent, with_files};
use indexer_app::db::{
    Announce, Announced, DatabaseError, DecayPopularity, Discovery, HashQuery, Hashes, History, Known,
    KnownHashes, Listing, NewTorrent, ObservedSwarm, Recent, RecordAnnounces, Rejection, ScrapesDue, Show,
    ShownTorrent, Stored, SwarmSize,
};
use krpc::InfoHash;

fn hybrid(number: u32, name: &str) -> NewTorrent {
    let mut v2 = [0xcd; 32];
    v2[..4].copy_from_slice(&number.to_be_bytes());
    NewTorrent { hashes: Hashes::Hybrid { v1: hash(number), v2 }, ..torrent(number, name) }
}

#[tokio::test]
async fn a_batch_stored_twice_is_stored_once() {
    let test = TestDatabase::new().await;
    let batch: Vec<NewTorrent> = (0..250).map(|number| listed(number, &format!("Name {number}"))).collect();
    let stored = test.store(batch.clone()).await;
    assert_eq!(stored.inserted.len(), 250);
    assert_eq!(test.store(batch).await, Stored { known: 250, ..Stored::default() });
    assert_eq!(test.number("select count(*) from torrents").await, 250);
    assert_eq!(test.number("select count(*) from torrent_files").await, 250);
    assert_eq!(test.number("select count(*) from torrent_stats").await, 250);
}

#[tokio::test]
async fn the_same_torrent_twice_in_a_batch_is_stored_once() {
    let test = TestDatabase::new().await;
    let stored = test.store(vec![torrent(1, "a"), torrent(2, "b"), torrent(1, "a")]).await;
    assert_eq!(stored.inserted.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([hash(1), hash(2)]));
}

#[tokio::test]
async fn everything_that_was_stored_is_shown_again() {
    let test = TestDatabase::new().await;
    let given = NewTorrent {
        name_raw: Some(vec![0xff, 0xfe]),
        piece_length: Some(1 << 22),
        piece_count: Some(77),
        private: Some(true),
        source: Some("SRC".to_owned()),
        discovered_by: Discovery::Requested,
        total_size: i64::MAX as u64,
        files: vec![(vec!["a".to_owned(), "é.mkv".to_owned()], u64::MAX), (vec![], 0)],
        ..hybrid(7, "Ünï cødé 日本")
    };
    test.store(vec![given.clone()]).await;
    let shown = test.run(Show { hash: HashQuery::exact(hash(7)) }).await.remove(0);
    assert_eq!(shown.hashes, given.hashes);
    assert_eq!((shown.name, shown.name_raw), (given.name, given.name_raw));
    assert_eq!((shown.total_size, shown.files), (given.total_size, given.files));
    assert_eq!((shown.piece_length, shown.piece_count, shown.private), (Some(1 << 22), Some(77), Some(true)));
    assert_eq!((shown.source, shown.discovered_by), (given.source, Discovery::Requested));
    assert_eq!((shown.seen_count, shown.score), (1, 0.0));
}

#[tokio::test]
async fn what_others_know_of_a_torrent_is_stored_and_what_they_do_not_know_is_not_made_up() {
    let test = TestDatabase::new().await;
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    let size = SwarmSize { whole: false, nodes: 0, seeders: 7, leechers: 1 };
    let history = History {
        added_at: Some(long_ago),
        last_seen: Some(long_ago + Duration::from_secs(60)),
        seen_count: Some(9),
        score: Some((1000.0, SystemTime::now())),
        swarm: Some(ObservedSwarm { size, at: long_ago }),
    };
    let given = NewTorrent {
        listing: Listing::Partial { files: 300 },
        piece_length: None,
        piece_count: None,
        private: None,
        discovered_by: Discovery::Imported,
        history,
        ..torrent(1, "old")
    };
    test.store(vec![given, torrent(2, "new")]).await;
    let shown = shown(&test, 1).await;
    assert_eq!((shown.piece_length, shown.piece_count, shown.private), (None, None, None));
    assert_eq!((shown.file_count, shown.files_whole, shown.files.len()), (300, false, 1));
    assert_eq!((shown.added_at, shown.last_seen), (long_ago, long_ago + Duration::from_secs(60)));
    assert_eq!((shown.seen_count, shown.swarm), (9, history.swarm));
    assert!((shown.score - 1000.0).abs() < 1.0, "{}", shown.score);
    assert_eq!(shown.discovered_by, Discovery::Imported);
    let recent = test.run(Recent { limit: 2 }).await;
    assert_eq!(recent.iter().map(|torrent| torrent.popularity).collect::<Vec<_>>(), [0, 9]);
    assert!(recent[0].added_at.elapsed().unwrap() < Duration::from_secs(60));
}

#[tokio::test]
async fn a_hybrid_is_one_torrent_under_both_of_its_keys() {
    let test = TestDatabase::new().await;
    let one = hybrid(9, "both");
    test.store(vec![one.clone()]).await;
    let alias = one.hashes.alias().unwrap();
    let known = test.run(KnownHashes(vec![hash(9), alias, hash(10)])).await;
    assert_eq!(known, [(hash(9), Known::Stored), (alias, Known::Stored), (hash(10), Known::No)]);
    for text in [hash(9).to_string(), alias.to_string(), format!("{alias}{}", "cd".repeat(12))] {
        let shown = test.run(Show { hash: HashQuery::parse(&text).unwrap() }).await;
        assert_eq!(shown.len(), 1, "{text}");
        assert_eq!(shown[0].hashes, one.hashes);
    }
    let other = format!("{alias}{}", "ce".repeat(12));
    assert_eq!(test.run(Show { hash: HashQuery::parse(&other).unwrap() }).await, []);
}

#[tokio::test]
async fn the_beginning_of_a_hash_shows_all_that_begin_so_up_to_ten() {
    let test = TestDatabase::new().await;
    test.store((0..30).map(|number| torrent(number, "x")).collect()).await;
    assert_eq!(test.run(Show { hash: HashQuery::parse("0000000").unwrap() }).await.len(), 10);
    assert_eq!(test.run(Show { hash: HashQuery::parse("00000004").unwrap() }).await.len(), 1);
    assert_eq!(test.run(Show { hash: HashQuery::parse("ffff").unwrap() }).await.len(), 0);
}

#[tokio::test]
async fn one_torrent_that_cannot_be_stored_does_not_lose_the_others() {
    let test = TestDatabase::new().await;
    // Nothing of ours is refused by the schema as it is; one that is stricter stands for a row that it does refuse.
    test.execute("alter table torrents add check (name <> 'refused')").await;
    let too_large = NewTorrent { total_size: u64::MAX, ..torrent(5, "large") };
    let mut batch: Vec<NewTorrent> = (10..40).map(|number| torrent(number, "fine")).collect();
    batch.insert(11, too_large);
    batch.insert(3, torrent(6, "refused"));
    let stored = test.store(batch).await;
    assert_eq!(stored.inserted.len(), 30);
    assert_eq!(stored.rejected[0], (hash(5), Rejection::Size(u64::MAX)));
    assert_eq!(stored.rejected[1].0, hash(6));
    assert!(
        stored.rejected[1].1.to_string().contains("violates check constraint"),
        "{:?}",
        stored.rejected[1]
    );
    assert_eq!(test.number("select count(*) from torrents").await, 30);
}

#[tokio::test]
async fn nul_and_odd_names_are_stored_in_their_replacement() {
    let test = TestDatabase::new().await;
    let names =
        ["a\0b", "", "\u{202e}gnp.exe", &"x".repeat(10_000), "\\' \u{fffd}; drop table torrents", "🎬"];
    let batch = (0_u32..).zip(names).map(|(number, name)| torrent(number, name)).collect();
    let stored = test.store(batch).await;
    assert_eq!((stored.inserted.len(), stored.rejected.len()), (names.len(), 0));
    for (number, name) in (0_u32..).zip(names) {
        let shown = test.run(Show { hash: HashQuery::exact(hash(number)) }).await.remove(0);
        assert_eq!(shown.name, name.replace('\0', "\u{fffd}"));
        assert_eq!(shown.files[0].0, [shown.name], "the path of a single file stays equal to the name");
    }
}

#[tokio::test]
async fn a_torrent_of_very_many_files_is_stored_and_read_back() {
    let test = TestDatabase::new().await;
    let files: Vec<(Vec<String>, u64)> =
        (0..200_000).map(|number| (vec!["dir".to_owned(), format!("file{number:06}.bin")], number)).collect();
    let stored = test.store(vec![NewTorrent { files: files.clone(), ..torrent(1, "many") }]).await;
    assert_eq!(stored.inserted.len(), 1);
    assert!(stored.lexemes_refused > 0, "more words than are indexed are counted");
    let shown = test.run(Show { hash: HashQuery::exact(hash(1)) }).await.remove(0);
    assert_eq!(shown.files, files);
}

#[tokio::test]
async fn concurrent_batches_that_overlap_store_each_torrent_once() {
    let test = TestDatabase::new().await;
    let mut work = Vec::new();
    for worker in 0_u32..6 {
        // Each worker brings the same torrents in another order.
        let mut batch: Vec<NewTorrent> = (0..200).map(|number| hybrid(number, "same")).collect();
        batch.rotate_left(worker as usize * 31);
        work.push(test.store(batch));
    }
    let [a, b, c, d, e, f] = work.try_into().unwrap_or_else(|_| panic!("six"));
    let (a, b, c, d, e, f) = tokio::join!(a, b, c, d, e, f);
    let inserted: usize = [a, b, c, d, e, f].iter().map(|stored| stored.inserted.len()).sum();
    assert_eq!(inserted, 200);
    assert_eq!(test.number("select count(*) from torrents").await, 200);
    assert_eq!(test.number("select count(*) from aliases").await, 200);
}

#[tokio::test]
async fn announces_raise_the_score_and_time_lowers_it() {
    let test = TestDatabase::new().await;
    let one = hybrid(1, "x");
    test.store(vec![one.clone(), torrent(2, "y")]).await;
    let announce = |info_hash| Announce { info_hash, weight: 1.0, swarm: None };
    // By its key and by its alias: it is the same torrent.
    let announces =
        vec![announce(hash(1)), announce(one.hashes.alias().unwrap()), announce(hash(1)), announce(hash(3))];
    let done = test.run(RecordAnnounces { announces }).await;
    assert_eq!(done, Announced { torrents: 1, risen: 1, unknown: 1 });
    let shown = test.run(Show { hash: HashQuery::exact(hash(1)) }).await.remove(0);
    assert!((shown.score - 3.0).abs() < 0.01, "{}", shown.score);
    assert_eq!(shown.seen_count, 4);
    let popularity = "select popularity::int8 from torrents order by info_hash limit 1";
    assert_eq!(test.number(popularity).await, 2, "log2(1 + 3)");

    // A half-life later.
    test.execute("update torrent_stats set score_at = score_at - interval '7 days'").await;
    let shown = test.run(Show { hash: HashQuery::exact(hash(1)) }).await.remove(0);
    assert!((shown.score - 1.5).abs() < 0.01, "{}", shown.score);
    assert_eq!(test.run(DecayPopularity { limit: 100 }).await, 1);
    assert_eq!(test.number(popularity).await, 1, "log2(1 + 1.5)");
    assert_eq!(test.run(DecayPopularity { limit: 100 }).await, 0);
    let announces = vec![Announce { info_hash: hash(1), weight: 0.5, swarm: None }];
    assert_eq!(test.run(RecordAnnounces { announces }).await.risen, 0);
    let shown = test.run(Show { hash: HashQuery::exact(hash(1)) }).await.remove(0);
    assert!((shown.score - 2.0).abs() < 0.01, "{}", shown.score);
    assert_eq!(shown.swarm, None);
}

async fn scraped(test: &TestDatabase, number: u32, size: SwarmSize) -> Announced {
    let announce = Announce { info_hash: hash(number), weight: 0.0, swarm: Some(size) };
    test.run(RecordAnnounces { announces: vec![announce] }).await
}

async fn shown(test: &TestDatabase, number: u32) -> ShownTorrent {
    test.run(Show { hash: HashQuery::exact(hash(number)) }).await.remove(0)
}

const WHOLE: SwarmSize = SwarmSize { whole: true, nodes: 8, seeders: 12, leechers: 3 };
const PARTIAL: SwarmSize = SwarmSize { whole: false, nodes: 2, seeders: 5, leechers: 0 };

#[tokio::test]
async fn what_the_closest_nodes_tell_of_a_swarm_is_not_replaced_by_what_some_nodes_tell_for_a_day() {
    let test = TestDatabase::new().await;
    test.store(vec![torrent(1, "x")]).await;
    assert_eq!(shown(&test, 1).await.swarm, None, "nobody has told yet");
    let size = async || shown(&test, 1).await.swarm.unwrap().size;
    scraped(&test, 1, PARTIAL).await;
    assert_eq!(size().await, PARTIAL);
    scraped(&test, 1, SwarmSize { seeders: 6, ..PARTIAL }).await;
    assert_eq!(size().await.seeders, 6, "the newer of two that are alike");
    scraped(&test, 1, WHOLE).await;
    scraped(&test, 1, PARTIAL).await;
    assert_eq!(size().await, WHOLE);
    // In one batch the whole one counts, whatever comes last.
    let announce = |size| Announce { info_hash: hash(1), weight: 0.0, swarm: Some(size) };
    let whole = SwarmSize { seeders: 1, ..WHOLE };
    test.run(RecordAnnounces { announces: vec![announce(whole), announce(PARTIAL)] }).await;
    assert_eq!(size().await, whole);
    test.execute("update torrent_stats set scraped_at = scraped_at - interval '25 hours'").await;
    scraped(&test, 1, PARTIAL).await;
    let swarm = shown(&test, 1).await.swarm.unwrap();
    assert_eq!(swarm.size, PARTIAL);
    assert!(swarm.at.elapsed().unwrap() < Duration::from_secs(60));
    // Scrapes are no announces.
    assert_eq!(shown(&test, 1).await.seen_count, 1);
}

#[tokio::test]
async fn the_size_of_a_swarm_is_a_floor_under_the_score_that_sinks_with_time() {
    let test = TestDatabase::new().await;
    test.store(vec![torrent(1, "x"), torrent(2, "y")]).await;
    assert_eq!(scraped(&test, 1, WHOLE).await, Announced { torrents: 1, risen: 1, unknown: 0 });
    let score = async || shown(&test, 1).await.score;
    assert!((score().await - 15.0).abs() < 0.01, "12 and 3");
    assert_eq!(test.number("select popularity::int8 from torrents order by info_hash limit 1").await, 4);
    // Again and again is not more.
    scraped(&test, 1, WHOLE).await;
    assert!((score().await - 15.0).abs() < 0.01);
    test.execute("update torrent_stats set score_at = score_at - interval '7 days'").await;
    scraped(&test, 1, SwarmSize { seeders: 1, leechers: 0, ..WHOLE }).await;
    assert!((score().await - 7.5).abs() < 0.01, "a swarm that shrinks is forgotten slowly");
    assert_eq!(scraped(&test, 9, WHOLE).await.unknown, 1);
}

#[tokio::test]
async fn popular_torrents_are_due_for_a_scrape_once_a_day() {
    let test = TestDatabase::new().await;
    test.store((1..5).map(|number| torrent(number, "x")).collect()).await;
    let due = async |limit| test.run(ScrapesDue { limit }).await;
    assert_eq!(due(9).await, [], "nobody is interested in any of them");
    let announce = |(number, weight)| Announce { info_hash: hash(number), weight, swarm: None };
    let announces = [(1, 1.0), (2, 20.0), (3, 300.0)].map(announce).to_vec();
    test.run(RecordAnnounces { announces }).await;
    assert_eq!(due(9).await, [hash(3), hash(2), hash(1)]);
    assert_eq!(due(2).await, [hash(3), hash(2)]);
    scraped(&test, 3, WHOLE).await;
    scraped(&test, 2, PARTIAL).await;
    assert_eq!(due(9).await, [hash(2), hash(1)]);
    test.execute("update torrent_stats set scraped_at = scraped_at - interval '25 hours'").await;
    assert_eq!(due(1).await, [hash(3)]);
}

#[tokio::test]
async fn the_most_recent_torrents_come_first() {
    let test = TestDatabase::new().await;
    for number in 0..5 {
        test.store(vec![torrent(number, &format!("n{number}"))]).await;
    }
    let names: Vec<String> =
        test.run(Recent { limit: 3 }).await.into_iter().map(|torrent| torrent.name).collect();
    assert_eq!(names, ["n4", "n3", "n2"]);
}

async fn exported(test: &TestDatabase) -> Vec<serde_json::Value> {
    let out = crate::exchange::exported(test).await;
    String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn an_export_has_every_torrent_once_with_all_of_its_fields() {
    let test = TestDatabase::new().await;
    let v2 = NewTorrent { hashes: Hashes::V2([3; 32]), ..torrent(0, "only v2") };
    let v1 = with_files(NewTorrent { private: Some(true), ..torrent(1, "v1") }, &["a/b", "c"]);
    test.store(vec![v2, v1, hybrid(2, "hybrid")]).await;
    let lines = exported(&test).await;
    assert_eq!(lines.len(), 3);
    let mut first = lines[0].clone();
    for time in ["added_at", "last_seen", "score_at"] {
        let time = first.as_object_mut().unwrap().remove(time).unwrap();
        assert!(humantime::parse_rfc3339(time.as_str().unwrap()).is_ok(), "{time}");
    }
    assert_eq!(
        first,
        serde_json::json!({
            "v1": hash(1).to_string(), "v2": null, "name": "v1", "name_raw": null, "total_size": 2,
            "file_count": 2, "files_whole": true, "piece_length": 16384, "piece_count": 1, "private": true,
            "source": null, "discovered_by": "sampled", "seen_count": 1, "score": 0.0,
            "seeders": null, "leechers": null, "scraped_at": null, "scraped_nodes": null, "scraped_whole": null,
            "files": [{"path": ["a", "b"], "length": 1}, {"path": ["c"], "length": 1}],
        })
    );
    scraped(&test, 1, PARTIAL).await;
    let told = exported(&test).await.remove(0);
    assert_eq!((&told["seeders"], &told["leechers"]), (&5.into(), &0.into()));
    assert_eq!(told["scraped_whole"], serde_json::Value::Bool(false));
    assert!(humantime::parse_rfc3339(told["scraped_at"].as_str().unwrap()).is_ok());
    let recent = test.run(Recent { limit: 3 }).await;
    let sizes: Vec<_> = recent.iter().filter_map(|torrent| torrent.swarm).map(|swarm| swarm.size).collect();
    assert_eq!(sizes, [PARTIAL]);
    assert_eq!(lines[1]["v1"], hash(2).to_string());
    assert_eq!(lines[1]["v2"], format!("00000002{}", "cd".repeat(28)));
    assert_eq!((&lines[2]["v1"], &lines[2]["v2"]), (&serde_json::Value::Null, &"03".repeat(32).into()));
}

#[tokio::test]
async fn what_a_torrent_is_stands_beside_its_words_in_the_index_and_in_columns() {
    let test = TestDatabase::new().await;
    let film = with_files(torrent(1, "Some Film 1999 :t:audio"), &["film.mkv", "film.srt"]);
    test.store(vec![film, torrent(2, "song.flac")]).await;
    let client = test.client().await;
    let found = |query: &'static str| {
        let client = &client;
        async move {
            let rows = client
                .query(
                    "select name || ' ' || kind || ' ' || coalesce(year::text, '-') from torrents
                     where class_ver > 0 and tsv @@ $1::text::tsquery order by info_hash",
                    &[&query],
                )
                .await
                .unwrap();
            rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>()
        }
    };
    let film = "Some Film 1999 :t:audio 1 1999".to_owned();
    for query in ["':t1'", "film & ':t1' & ':xsrt'", "':y1999' & !':t2'"] {
        assert_eq!(found(query).await, std::slice::from_ref(&film), "{query}");
    }
    assert_eq!(found("':t2' | ':xflac'").await, ["song.flac 2 -"]);
    // Marks have no positions, words do.
    let marks = test.number(
        "select count(*) from torrents, unnest(tsv) u where (u.lexeme like ':%') <> (u.positions is null)",
    );
    assert_eq!(marks.await, 0);
}

#[tokio::test]
async fn an_export_of_more_than_a_batch_is_complete_and_in_order() {
    let test = TestDatabase::new().await;
    test.store((0..1_234).map(|number| torrent(number, "x")).collect()).await;
    // One list that fills a batch by itself: incompressible names.
    let files = (0_u64..120_000)
        .map(|number| (vec![InfoHash::from_bytes(mixed(number)).to_string()], number))
        .collect::<Vec<_>>();
    test.store(vec![
        NewTorrent { files, ..torrent(600, "y") },
        NewTorrent { files: vec![], ..torrent(5000, "z") },
    ])
    .await;
    let keys: Vec<String> =
        exported(&test).await.iter().map(|line| line["v1"].as_str().unwrap().to_owned()).collect();
    assert_eq!(keys.len(), 1_235);
    assert!(keys.is_sorted_by(|a, b| a < b));
}

/// Bytes without a pattern, from a number (splitmix64).
fn mixed(number: u64) -> [u8; 20] {
    let mut state = number;
    let mut bytes = [0; 24];
    for chunk in bytes.chunks_exact_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mix = state;
        mix = (mix ^ (mix >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mix = (mix ^ (mix >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        chunk.copy_from_slice(&(mix ^ (mix >> 31)).to_be_bytes());
    }
    bytes[..20].try_into().unwrap()
}

#[tokio::test]
async fn a_schema_is_made_once_and_a_newer_one_is_left_alone() {
    let mut test = TestDatabase::without_schema().await;
    let expected = migrations();
    let newest = expected.last().unwrap().0;
    assert_eq!((test.database.schema.found, test.database.schema.known), (0, newest));
    assert!(matches!(
        test.database.schema.check_current(),
        Err(DatabaseError::SchemaOlder { found: 0, known }) if known == newest
    ));
    let applied = test.database.migrate().await.unwrap();
    let applied: Vec<_> = applied.into_iter().map(|migration| (migration.version, migration.name)).collect();
    assert_eq!(applied, expected);
    assert_eq!(applied[0], (1, "torrents".to_owned()));
    assert_eq!(test.database.migrate().await.unwrap(), []);
    assert!(test.database.schema.check_current().is_ok());

    test.execute(
        "insert into refinery_schema_history (version, name, applied_on, checksum)
         values (99, 'future', '2030-01-01T00:00:00Z', '1')",
    )
    .await;
    let error = test.connect_again().await.unwrap_err();
    assert!(matches!(error, DatabaseError::SchemaNewer { found: 99, known } if known == newest));
    let said = format!("schema version 99, but this program knows only up to {newest}");
    assert!(error.to_string().contains(&said), "{error}");
    assert!(matches!(test.database.migrate().await, Err(DatabaseError::SchemaNewer { .. })));
    let rows = test.number("select count(*) from refinery_schema_history").await;
    assert_eq!(rows, expected.len() as i64 + 1);
}

/// Version and name of every migration there is, by version.
fn migrations() -> Vec<(i64, String)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
    let files =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut all: Vec<(i64, String)> = files
        .map(|file| {
            let (version, name) = file.strip_suffix(".sql").unwrap().split_once("__").unwrap();
            (version.strip_prefix('V').unwrap().parse().unwrap(), name.to_owned())
        })
        .collect();
    all.sort_unstable();
    all
}

#[tokio::test]
async fn indexers_that_start_together_make_the_schema_together() {
    let test = TestDatabase::without_schema().await;
    let (mut a, mut b) = (test.connect_again().await.unwrap(), test.connect_again().await.unwrap());
    let (a, b) = tokio::join!(a.migrate(), b.migrate());
    assert_eq!(a.unwrap().len() + b.unwrap().len(), migrations().len());
}
