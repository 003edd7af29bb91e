//! Storing what is large or odd, and storing it in other ways.

use std::time::{Duration, SystemTime};

use crate::private_cluster::{TestDatabase, hash, listed, torrent, with_files};
use indexer_app::{
    db::{
        HashQuery, Hashes, History, Listing, NewTorrent, ObservedSwarm, PreparedTorrents, Search, Show,
        SwarmSize,
    },
    search::Request,
};

/// All that the tables say of torrents, but for what tells when and by which transaction.
const ROWS: &str = "
    select to_jsonb(t) - 'stored_in' as torrent, to_jsonb(f) as files, to_jsonb(s) as stats
    from torrents t left join torrent_files f using (info_hash) left join torrent_stats s using (info_hash)
    order by info_hash";

async fn rows(test: &TestDatabase) -> Vec<String> {
    let sql = format!("select row_to_json(r)::text from ({ROWS}) r");
    test.client().await.query(&sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn copying_torrents_writes_the_rows_that_storing_them_writes() {
    // Scores do not sink before their time.
    let later = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    let size = SwarmSize { seeders: 7, leechers: 3, nodes: 8, whole: true };
    let history = History {
        added_at: Some(later - Duration::from_secs(9)),
        last_seen: Some(later),
        seen_count: Some(5),
        score: Some((9.5, later)),
        swarm: Some(ObservedSwarm { size, at: later }),
    };
    let mut v2 = [9; 32];
    v2[0] = 1;
    let batch = vec![
        NewTorrent { history, ..with_files(torrent(1, "Some.Show.S01E02.1080p"), &["a/b.mkv", "c.srt"]) },
        NewTorrent { history, hashes: Hashes::V2(v2), private: None, ..torrent(2, "日本 nul \0") },
        NewTorrent {
            history,
            piece_length: Some(u64::MAX),
            source: Some("x".to_owned()),
            listing: Listing::Partial { files: 900 },
            ..torrent(3, "part")
        },
    ];
    let (stored, copied) = (TestDatabase::new().await, TestDatabase::new().await);
    stored.store(batch.clone()).await;
    PreparedTorrents::new(batch).copy(&mut copied.client().await, later).await.unwrap();
    let expected = rows(&stored).await;
    assert_eq!(expected.len(), 3);
    assert_eq!(rows(&copied).await, expected);
}

#[tokio::test]
async fn copying_what_is_there_writes_nothing() {
    let test = TestDatabase::new().await;
    test.store(vec![listed(2, "there")]).await;
    let prepared = PreparedTorrents::new(vec![listed(1, "new"), listed(2, "there")]);
    let copied = prepared.copy(&mut test.client().await, SystemTime::UNIX_EPOCH).await;
    assert!(copied.is_err());
    assert_eq!(test.number("select count(*) from torrents").await, 1);
    assert_eq!(test.number("select count(*) from torrent_files").await, 1);
}

#[tokio::test]
async fn names_of_ten_thousand_characters_are_stored_and_found() {
    let test = TestDatabase::new().await;
    let spaceless: String =
        (0..10_000_u32).map(|index| char::from_u32(0x4e00 + index * 2 % 20_000).unwrap()).collect();
    let words: Vec<String> = (0..3_000).map(|number| format!("w{number}")).collect();
    let right_to_left = "שלום\u{202e} ".repeat(1_666);
    let marks = format!("a{} needle", "\u{301}".repeat(10_000));
    let names = [spaceless.clone(), words.join(" "), right_to_left, marks, "\u{fdfa}".repeat(10_000)];
    let batch = (0_u32..).zip(&names).map(|(number, name)| torrent(number, name)).collect();
    let stored = test.store(batch).await;
    assert_eq!((stored.inserted.len(), stored.rejected.len()), (names.len(), 0));
    assert!(stored.lexemes_refused > 0, "words beyond the bound of a name are counted");
    let first: String = spaceless.chars().take(4).collect();
    for (query, number) in [(first.as_str(), 0), ("w0 w2999", 1), ("שלום", 2), ("a needle", 3)] {
        let page = test.run(Search { request: Request::new(query) }).await;
        let found: Vec<_> = page.hits.iter().map(|hit| hit.torrent.hashes.canonical()).collect();
        assert_eq!(found, [hash(number)], "{query}");
    }
    for (number, name) in (0_u32..).zip(&names) {
        let shown = test.run(Show { hash: HashQuery::exact(hash(number)) }).await.remove(0);
        assert_eq!(&shown.name, name);
    }
}

#[tokio::test]
async fn more_and_longer_words_than_a_vector_can_hold_are_left_out_and_counted() {
    let test = TestDatabase::new().await;
    // 20,000 words of 255 bytes would be five times what PostgreSQL takes.
    let files = (0..20_000).map(|number| (vec![format!("{number:0>255}")], u64::MAX)).collect();
    let many = NewTorrent { files, total_size: i64::MAX as u64, ..torrent(1, "many long words") };
    let stored = test.store(vec![torrent(0, "before"), many, torrent(2, "after")]).await;
    assert_eq!((stored.inserted.len(), stored.rejected.len()), (3, 0));
    assert!(stored.lexemes_refused > 10_000, "{}", stored.lexemes_refused);
    let page = test.run(Search { request: Request::new("long words") }).await;
    assert_eq!(page.hits.len(), 1);
    assert_eq!(page.hits[0].torrent.total_size, i64::MAX as u64);
}
