//! Exports and imports on a real database: what goes out comes in again, and nothing is stored by halves.

use std::{
    io::{Read, Write},
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::{Duration, SystemTime},
};

use indexer_app::{
    db::{
        BanAdd, BanHashes, BanRule, Discovery, ExportCursor, ExportNow, HashQuery, Hashes, History, Listing,
        NewTorrent, ObservedSwarm, Show, SwarmSize,
    },
    exchange::{
        Compression, ExportPlan, Exported, ImportError, ImportOptions, Imported, Output, export, feed,
        import, ndjson,
    },
};
use krpc::InfoHash;

use crate::private_cluster::{TestDatabase, hash, torrent, with_files};

/// Where the history of a database stands.
async fn cursor(test: &TestDatabase) -> ExportCursor {
    test.run(ExportNow).await.0
}

/// The same, once all that was committed until now lies before it: other tests have transactions in the same cluster.
async fn settled(test: &TestDatabase) -> ExportCursor {
    let newest = test.number("select pg_snapshot_xmax(pg_current_snapshot())::text::int8").await;
    while test.number("select pg_snapshot_xmin(pg_current_snapshot())::text::int8").await < newest {
        tokio::task::yield_now().await;
    }
    cursor(test).await
}

async fn exported_with(test: &TestDatabase, plan: ExportPlan, compression: Compression) -> Vec<u8> {
    let written = Arc::new(AtomicU64::new(0));
    let output = Output::new(Vec::new(), compression).unwrap();
    let (exported, out) = export(&test.database.pool, plan, output, &written).await.unwrap();
    let out = out.unwrap();
    let text = match compression {
        Compression::Plain => out.clone(),
        Compression::Zstd => zstd::stream::decode_all(out.as_slice()).unwrap(),
    };
    let lines = text.iter().filter(|byte| **byte == b'\n').count() as u64;
    assert_eq!(exported, Exported { torrents: lines, closed: false });
    assert_eq!(written.load(std::sync::atomic::Ordering::Relaxed), lines);
    out
}

/// Everything, as lines.
pub(crate) async fn exported(test: &TestDatabase) -> Vec<u8> {
    let plan = ExportPlan { since: None, until: cursor(test).await, after: None };
    exported_with(test, plan, Compression::Plain).await
}

/// What an export between two cursors has, by numbers of hashes.
async fn new_between(test: &TestDatabase, since: ExportCursor, until: ExportCursor) -> Vec<u32> {
    let plan = ExportPlan { since: Some(since), until, after: None };
    let lines = exported_with(test, plan, Compression::Plain).await;
    let lines = String::from_utf8(lines).unwrap();
    let number = |line: &str| u32::from_str_radix(&line[7..15], 16).unwrap();
    lines.lines().map(number).collect()
}

async fn imported(
    test: &TestDatabase,
    input: impl Read + Send + 'static,
    strict: bool,
) -> (Imported, Result<(), ImportError>) {
    let so_far = Mutex::new(Imported::default());
    let (feed, batches) = feed("input line");
    let reading = tokio::task::spawn_blocking(move || ndjson::read(input, "input", SystemTime::now(), feed));
    let stored = import(&test.database.pool, batches, ImportOptions { strict }, &so_far).await;
    let read = reading.await.unwrap();
    (so_far.into_inner().unwrap(), stored.and(read))
}

/// Torrents of every sort that there is.
fn all_sorts() -> Vec<NewTorrent> {
    let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::new(1_600_000_000 + seconds, 123_456_000);
    let history = History {
        added_at: Some(at(0)),
        last_seen: Some(at(99)),
        seen_count: Some(42),
        score: Some((12.345, at(98))),
        swarm: Some(ObservedSwarm {
            size: SwarmSize { whole: true, nodes: 8, seeders: 1_000_000, leechers: 0 },
            at: at(50),
        }),
    };
    let many: Vec<_> = (0..20_000)
        .map(|number| (vec![format!("folder {}", number / 100), format!("{number}.日本")], number))
        .collect();
    vec![
        torrent(1, "plain"),
        with_files(torrent(2, "several"), &["a/b", "c", "a/ü\u{202e}/x"]),
        NewTorrent { name_raw: Some(vec![0xff, 0, 0x80, b'x']), ..torrent(3, "\u{fffd}\0x") },
        NewTorrent { hashes: Hashes::V2([7; 32]), ..torrent(4, "v2") },
        NewTorrent { hashes: Hashes::Hybrid { v1: hash(5), v2: [9; 32] }, ..torrent(5, "hybrid") },
        NewTorrent {
            private: Some(true),
            source: Some("a \"source\"\\".to_owned()),
            ..torrent(6, "private")
        },
        NewTorrent {
            listing: Listing::Partial { files: 900 },
            piece_length: None,
            piece_count: None,
            private: None,
            discovered_by: Discovery::Imported,
            total_size: 1 << 50,
            ..torrent(7, "unknown")
        },
        NewTorrent { history, discovered_by: Discovery::Announced, ..torrent(8, "seen") },
        NewTorrent { total_size: many.iter().map(|file| file.1).sum(), files: many, ..torrent(9, "many") },
        NewTorrent { files: Vec::new(), total_size: 0, ..torrent(10, "") },
        NewTorrent {
            files: vec![(vec!["\u{1}\n\"".to_owned()], i64::MAX as u64), (vec![String::new()], 0)],
            total_size: i64::MAX as u64,
            ..torrent(11, "large")
        },
    ]
}

#[tokio::test]
async fn what_is_exported_and_imported_is_exported_the_same() {
    let first = TestDatabase::new().await;
    first.store(all_sorts()).await;
    first.store((100..1_500).map(|number| torrent(number, &format!("Name {number}"))).collect()).await;
    let lines = exported(&first).await;
    let plan = ExportPlan { since: None, until: cursor(&first).await, after: None };
    let compressed = exported_with(&first, plan, Compression::Zstd).await;
    assert!(compressed.len() * 4 < lines.len());

    for input in [lines.clone(), compressed] {
        let second = TestDatabase::new().await;
        let (done, ended) = imported(&second, std::io::Cursor::new(input.clone()), true).await;
        ended.unwrap();
        assert_eq!((done.read, done.new, done.known, done.contradicting), (1_411, 1_411, 0, 0));
        assert!(exported(&second).await == lines, "the second export differs");
        // Searches and aliases work as for what was fetched.
        let alias = InfoHash::from_bytes([9; 20]);
        assert_eq!(second.run(Show { hash: HashQuery::exact(alias) }).await[0].name, "hybrid");
        assert_eq!(
            second.number("select count(*) from torrents where tsv @@ 'plain'::tsquery").await,
            first.number("select count(*) from torrents where tsv @@ 'plain'::tsquery").await
        );
        // Again is nothing new.
        let (again, ended) = imported(&second, std::io::Cursor::new(input), true).await;
        ended.unwrap();
        assert_eq!((again.read, again.new, again.known, again.contradicting), (1_411, 0, 1_411, 0));
        assert!(exported(&second).await == lines, "importing twice changed something");
    }
}

fn line(number: u32, more: &str) -> String {
    format!(
        "{{\"v1\":\"{}\",\"name\":\"n{number}\",\"files\":[{{\"path\":[\"n{number}\"],\"length\":{number}}}]{more}}}\n",
        hash(number)
    )
}

#[tokio::test]
async fn lines_that_cannot_be_stored_are_counted_and_told_and_the_others_stored() {
    let test = TestDatabase::new().await;
    let lines = [
        line(1, ""),
        "nonsense\n".to_owned(),
        line(2, ",\"total_size\":7"),
        line(3, "").replace(&hash(3).to_string(), "abcd"),
        line(4, ",\"piece_length\":5"),
        line(4, ",\"piece_length\":6"),
        line(4, ",\"piece_length\":5"),
        line(5, "").replace("n5", "\\u0000\\ud800"),
        line(6, "").replace("\"length\":6", "\"length\":9223372036854775808"),
    ];
    let (done, ended) = imported(&test, std::io::Cursor::new(lines.concat()), false).await;
    ended.unwrap();
    assert_eq!((done.read, done.new, done.known, done.contradicting), (9, 3, 2, 1));
    let counts: Vec<_> = done.refused.counts.into_iter().collect();
    assert_eq!(counts, [("contradicts itself", 1), ("not JSON", 1), ("too large", 1), ("wrong hash", 1)]);
    assert!(done.refused.told[0].starts_with("input line 2: not JSON: "), "{:?}", done.refused.told);
    assert_eq!(done.contradictions.told, ["input line 6: another piece length: what was stored first stays"]);
    let shown = test.run(Show { hash: HashQuery::exact(hash(4)) }).await.remove(0);
    assert_eq!(shown.piece_length, Some(5));
    assert_eq!(test.run(Show { hash: HashQuery::exact(hash(5)) }).await[0].name, "\u{fffd}\u{fffd}");
    for (table, rows) in [("torrents", 3), ("torrent_files", 0), ("torrent_stats", 3)] {
        assert_eq!(test.number(&format!("select count(*) from {table}")).await, rows, "{table}");
    }
}

#[tokio::test]
async fn what_contradicts_a_stored_torrent_changes_nothing_of_it() {
    let test = TestDatabase::new().await;
    let stored = NewTorrent { hashes: Hashes::Hybrid { v1: hash(1), v2: [9; 32] }, ..torrent(1, "right") };
    test.store(vec![stored, torrent(2, "other")]).await;
    let before = exported(&test).await;
    let alias = InfoHash::from_bytes([9; 20]);
    let lines = [
        // Nothing that is known of both differs.
        line(1, ",\"files_whole\":false").replace("n1", "right"),
        line(1, &format!(",\"v2\":\"{}\"", "08".repeat(32))),
        line(1, ""),
        // By its alias.
        line(1, "").replace(&hash(1).to_string(), &alias.to_string()),
    ];
    let (done, ended) = imported(&test, std::io::Cursor::new(lines[..1].concat()), true).await;
    ended.unwrap();
    assert_eq!((done.new, done.known, done.contradicting), (0, 1, 0));
    for (contradicting, what) in [(1, "another v2 hash"), (2, "another size"), (3, "another size")] {
        let (done, ended) = imported(&test, std::io::Cursor::new(lines[contradicting].clone()), false).await;
        ended.unwrap();
        assert_eq!((done.new, done.known, done.contradicting), (0, 1, 1));
        assert!(done.contradictions.told[0].contains(what), "{:?}", done.contradictions.told);
    }
    assert!(exported(&test).await == before, "something was changed");
    assert_eq!(test.number("select count(*) from aliases").await, 1);
    assert_eq!(test.number("select count(*) from torrents").await, 2);
}

#[tokio::test]
async fn a_strict_import_ends_at_the_first_refusal_or_contradiction_without_half_of_a_batch() {
    let test = TestDatabase::new().await;
    test.store(vec![torrent(5, "stored")]).await;
    for (bad, place) in
        [("{}\n".to_owned(), "input line 3: not a torrent"), (line(5, ""), "input line 3: another size")]
    {
        let lines = [line(1, ""), line(2, ""), bad, line(3, "")].concat();
        let (done, ended) = imported(&test, std::io::Cursor::new(lines), true).await;
        let sentence = ended.unwrap_err().to_string();
        assert!(sentence.starts_with(place), "{sentence}");
        assert_eq!(done, Imported::default());
        assert_eq!(test.number("select count(*) from torrents").await, 1);
    }
}

#[tokio::test]
async fn what_stands_before_the_cut_of_a_file_is_imported() {
    let test = TestDatabase::new().await;
    let lines: String = (0..3_000).map(|number| line(number, "")).collect();
    let frames = zstd::encode_all(lines.as_bytes(), 1).unwrap();
    let cut = [&frames[..], &frames[..frames.len() / 2]].concat();
    let (done, ended) = imported(&test, std::io::Cursor::new(cut), false).await;
    assert_eq!(ended.unwrap_err().to_string(), "input is cut off; what stands before the cut was imported");
    assert_eq!((done.new, done.refused.total()), (3_000, 0));
}

#[tokio::test]
async fn exports_since_a_cursor_have_each_new_torrent_once_however_late_it_is_committed() {
    let test = TestDatabase::new().await;
    test.store(vec![torrent(1, "before")]).await;
    let first = settled(&test).await;
    test.store(vec![torrent(2, "x"), torrent(3, "y")]).await;
    settled(&test).await;

    // Somebody stores a torrent and takes long to commit; another one with a time of years ago is committed meanwhile.
    let late = test.client().await;
    late.batch_execute(
        "begin; insert into torrents (info_hash, name, total_size, file_count, tok_ver, discovered_by, tsv)
         values ('\\x00000004abababababababababababababababab', 'late', 0, 0, 1, 1, '');
         insert into torrent_files (info_hash, fmt, tok_ver, data)
         values ('\\x00000004abababababababababababababababab', 1, 1, '\\x00')",
    )
    .await
    .unwrap();
    let history = History { added_at: Some(SystemTime::UNIX_EPOCH), ..History::default() };
    test.store(vec![NewTorrent { history, ..torrent(5, "old") }]).await;
    let second = cursor(&test).await;
    assert_eq!(new_between(&test, first, second).await, [2, 3]);
    late.batch_execute("commit").await.unwrap();
    assert_eq!(new_between(&test, first, second).await, [2, 3], "what lies between two cursors is fixed");
    test.store(vec![torrent(6, "z")]).await;
    let third = settled(&test).await;
    assert_eq!(new_between(&test, second, third).await, [4, 5, 6]);
    assert_eq!(new_between(&test, third, settled(&test).await).await, [0; 0]);
    // A score that changes the row is no new torrent.
    test.execute("update torrents set popularity = 7").await;
    assert_eq!(new_between(&test, third, settled(&test).await).await, [0; 0]);
    assert_eq!(new_between(&test, first, third).await, [2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn an_export_of_what_is_new_is_continued_behind_a_key_and_passes_over_what_was_removed() {
    let test = TestDatabase::new().await;
    let since = settled(&test).await;
    test.store((0..1_200).map(|number| torrent(number, "x")).collect()).await;
    let until = settled(&test).await;
    let plan = ExportPlan { since: Some(since), until, after: Some(hash(1_000)) };
    let lines = exported_with(&test, plan, Compression::Plain).await;
    assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), 199);
    test.execute("delete from torrents where info_hash < '\\x00000400'").await;
    assert_eq!(new_between(&test, since, until).await.len(), 1_200 - 0x400);
}

#[tokio::test]
async fn an_export_ends_quietly_when_its_reader_has_enough() {
    struct Pipe(usize);
    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let test = TestDatabase::new().await;
    let name = "x".repeat(1_000);
    test.store((0..1_200).map(|number| torrent(number, &name)).collect()).await;
    let plan = ExportPlan { since: None, until: cursor(&test).await, after: None };
    let output = Output::new(Pipe(2 << 20), Compression::Plain).unwrap();
    let written = Arc::new(AtomicU64::new(0));
    let (exported, out) = export(&test.database.pool, plan, output, &written).await.unwrap();
    assert!(exported.closed && out.is_none());
    assert!((1..1_200).contains(&exported.torrents), "{exported:?}");
}

#[tokio::test]
async fn what_is_banned_or_deleted_is_not_imported_again() {
    let test = TestDatabase::new().await;
    test.run(BanHashes { hashes: vec![hash(1)] }).await;
    test.run(BanAdd { rule: BanRule::new(Some("n3"), None, None).unwrap() }).await.unwrap();
    let lines: String = (0..5).map(|number| line(number, "")).collect();
    let (done, ended) = imported(&test, std::io::Cursor::new(lines), true).await;
    ended.unwrap();
    assert_eq!((done.read, done.new, done.banned, done.known), (5, 3, 2, 0));
    assert_eq!(test.number("select count(*) from torrents").await, 3);
}
