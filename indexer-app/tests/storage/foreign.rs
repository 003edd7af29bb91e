//! Imports from the databases of other indexers, made here as their programs make them.

use std::{
    path::Path,
    sync::Mutex,
    time::{Duration, SystemTime},
};

use indexer_app::{
    db::{Discovery, HashQuery, Show, ShownTorrent},
    exchange::{ImportError, ImportOptions, Imported, feed, import, read_bitmagnet, read_magnetico},
};
use krpc::InfoHash;

use crate::private_cluster::{TempDir, TestDatabase};

fn key(byte: u8) -> InfoHash {
    InfoHash::from_bytes([byte; 20])
}

async fn shown(test: &TestDatabase, byte: u8) -> ShownTorrent {
    test.run(Show { hash: HashQuery::exact(key(byte)) }).await.remove(0)
}

fn paths(torrent: &ShownTorrent) -> Vec<String> {
    torrent.files.iter().map(|(path, length)| format!("{} {length}", path.join("|"))).collect()
}

async fn from_magnetico(test: &TestDatabase, path: &Path) -> (Imported, Result<(), ImportError>) {
    let so_far = Mutex::new(Imported::default());
    let (feed, batches) = feed("torrent");
    let path = path.to_str().unwrap().to_owned();
    let reading = tokio::task::spawn_blocking(move || read_magnetico(&path, SystemTime::now(), feed));
    import(&test.database.pool, batches, ImportOptions::default(), &so_far).await.unwrap();
    (so_far.into_inner().unwrap(), reading.await.unwrap())
}

/// A database of magnetico's, of the first version of its schema or of one with swarms.
fn magnetico(path: &Path, with_swarms: bool) {
    let database = rusqlite::Connection::open(path).unwrap();
    database
        .execute_batch(
            "pragma foreign_keys = off;
             create table torrents (id integer primary key, info_hash blob not null unique, name text not null,
                total_size integer not null check (total_size > 0), discovered_on integer not null);
             create table files (id integer primary key, torrent_id integer references torrents, size integer not null,
                path text not null);
             insert into torrents values (2, x'0202020202020202020202020202020202020202', 'One.iso', 70, 1500000000);
             insert into torrents values (5, x'0505050505050505050505050505050505050505', 'Some Show', 34, 1600000000);
             insert into torrents values (6, x'0606', 'short', 1, 1600000000);
             insert into torrents values (7, x'0707070707070707070707070707070707070707', cast(x'ff41' as text), 9, 1);
             insert into torrents values (8, x'0808080808080808080808080808080808080808', 'lies', 5, 1600000000);
             insert into files (torrent_id, size, path) values (5, 10, 'Season 1/a.mkv'), (2, 70, 'One.iso'), (3, 1, 'lost'),
                (5, 4, '.pad/4'), (5, 20, 'b.mkv'), (null, 1, 'nobody'), (8, 6, 'more'), (9, 1, 'later');",
        )
        .unwrap();
    if with_swarms {
        database
            .execute_batch(
                "alter table torrents add column updated_on integer;
                 alter table torrents add column n_seeders integer;
                 alter table torrents add column n_leechers integer;
                 update torrents set updated_on = 1650000000, n_seeders = 12, n_leechers = 3 where id = 5;
                 alter table files add column is_readme integer;
                 alter table files add column content text;
                 pragma user_version = 2;",
            )
            .unwrap();
    }
}

#[tokio::test]
async fn magnetico_s_database_is_imported_with_what_it_knows_and_nothing_more() {
    for with_swarms in [false, true] {
        let (test, folder) = (TestDatabase::new().await, TempDir::new());
        let path = folder.join("database.sqlite3");
        magnetico(&path, with_swarms);
        let (done, read) = from_magnetico(&test, &path).await;
        read.unwrap();
        assert_eq!((done.read, done.new), (5, 3));
        let refused: Vec<_> = done.refused.counts.iter().map(|(reason, count)| (*reason, *count)).collect();
        assert_eq!(refused, [("contradicts itself", 1), ("wrong hash", 1)]);
        assert!(done.refused.told[0].starts_with("torrent 6: wrong hash"), "{:?}", done.refused.told);

        let one = shown(&test, 2).await;
        assert_eq!((one.name.as_str(), paths(&one)), ("One.iso", vec!["One.iso 70".to_owned()]));
        assert_eq!((one.piece_length, one.piece_count, one.private), (None, None, None));
        assert_eq!(one.added_at, SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000));
        assert_eq!((one.discovered_by, one.files_whole, one.swarm), (Discovery::Imported, true, None));
        let show = shown(&test, 5).await;
        assert_eq!(paths(&show), ["Season 1|a.mkv 10", "b.mkv 20"]);
        assert_eq!((show.total_size, show.file_count, show.files_whole), (30, 2, true));
        let told = show.swarm.map(|swarm| (swarm.size.seeders, swarm.size.leechers, swarm.size.whole));
        assert_eq!(told, with_swarms.then_some((12, 3, false)));
        let odd = shown(&test, 7).await;
        assert_eq!((odd.name.as_str(), odd.name_raw), ("\u{fffd}A", Some(b"\xffA".to_vec())));
        assert_eq!((odd.files_whole, odd.total_size, odd.files.len()), (false, 9, 0));

        let (again, _) = from_magnetico(&test, &path).await;
        assert_eq!((again.new, again.known, again.contradicting), (0, 3, 0));
    }
}

#[tokio::test]
async fn another_sqlite_file_is_said_to_be_none_of_magnetico_s() {
    let (test, folder) = (TestDatabase::new().await, TempDir::new());
    let path = folder.join("other");
    let sentence = async || from_magnetico(&test, &path).await.1.unwrap_err().to_string();
    assert!(sentence().await.contains("cannot be read: unable to open"), "{}", sentence().await);
    std::fs::write(&path, "something else, longer than a header of a hundred bytes, ".repeat(40)).unwrap();
    assert!(sentence().await.ends_with("is no database of magnetico: it is no SQLite database"));
    std::fs::remove_file(&path).unwrap();
    let database = rusqlite::Connection::open(&path).unwrap();
    database.execute_batch("create table torrents (id, info_hash, name)").unwrap();
    assert!(sentence().await.ends_with("its table torrents has no column total_size"));
    assert_eq!(test.number("select count(*) from torrents").await, 0);
}

/// The tables of bitmagnet that hold torrents, as its first migration makes them, then as the later ones do.
const BITMAGNET: [&str; 2] = [
    "create table torrents (info_hash bytea primary key, name text not null, size bigint not null, private boolean not null,
        single_file boolean, piece_length bigint, pieces bytea, created_at timestamptz not null, updated_at timestamptz);
     create table torrents_torrent_sources (source text not null, info_hash bytea not null, seeders integer,
        leechers integer, updated_at timestamptz not null, primary key (source, info_hash));
     create table torrent_files (info_hash bytea not null, index integer not null, path text not null,
        size bigint not null, primary key (info_hash, path), unique (info_hash, index));
     insert into torrents select decode(repeat(lpad(to_hex(n), 2, '0'), 20), 'hex'), 'Torrent ' || n, 40, n = 3, n = 1,
        case when n = 3 then 16384 end, case when n = 3 then decode(repeat('ab', 60), 'hex') end, '2024-01-01Z', null
        from generate_series(1, 6) n;
     insert into torrent_files values
        (decode(repeat('02', 20), 'hex'), 1, 'b', 15), (decode(repeat('02', 20), 'hex'), 0, 'a/z', 25),
        (decode(repeat('03', 20), 'hex'), 0, 'x', 40), (decode(repeat('04', 20), 'hex'), 0, 'x', 30),
        (decode(repeat('05', 20), 'hex'), 0, 'x', 41);
     insert into torrents_torrent_sources values
        ('dht', decode(repeat('02', 20), 'hex'), 5, 6, '2024-02-01Z'),
        ('other', decode(repeat('02', 20), 'hex'), 7, 8, '2024-03-01Z'),
        ('dht', decode(repeat('03', 20), 'hex'), null, null, '2024-03-01Z');
     insert into torrents values ('\\x0102', 'short', 1, false, true, null, null, '2024-01-01Z', null);
     insert into torrents select sha256(n::text::bytea)::bytea, 'long', 1, false, true, null, null, '2024-01-01Z', null
        from generate_series(1, 3) n;",
    "create type \"FilesStatus\" as enum ('no_info', 'single', 'multi', 'over_threshold');
     alter table torrents add column files_status \"FilesStatus\" not null default 'no_info';
     update torrents set files_status = case when single_file then 'single'::\"FilesStatus\"
        when info_hash in (select info_hash from torrent_files) then 'multi' else 'no_info' end;
     alter table torrents drop column single_file;
     create table torrent_pieces (info_hash bytea primary key, piece_length bigint not null, pieces bytea not null);
     insert into torrent_pieces select info_hash, piece_length, pieces from torrents where pieces is not null;
     alter table torrents drop column piece_length, drop column pieces;
     alter table torrents add column files_count integer;
     update torrents set files_status = 'over_threshold', files_count = 250 where info_hash = decode(repeat('04', 20), 'hex');",
];

/// The address of a test's database, as of one of somebody else's.
async fn url(test: &TestDatabase) -> String {
    let client = test.client().await;
    let settings = "select current_user::text, current_database()::text,
        current_setting('unix_socket_directories'), current_setting('port')";
    let row = client.query_one(settings, &[]).await.unwrap();
    let text = |column: usize| row.get::<_, String>(column);
    format!("postgres://{}@{}:{}/{}", text(0), text(2).replace('/', "%2F"), text(3), text(1))
}

async fn from_bitmagnet(test: &TestDatabase, url: &str) -> (Imported, Result<(), ImportError>) {
    let so_far = Mutex::new(Imported::default());
    let (feed, batches) = feed("row");
    let storing = import(&test.database.pool, batches, ImportOptions::default(), &so_far);
    let (read, stored) = tokio::join!(read_bitmagnet(url, SystemTime::now(), feed), storing);
    stored.unwrap();
    (so_far.into_inner().unwrap(), read)
}

#[tokio::test]
async fn bitmagnet_s_database_is_imported_from_its_first_schema_and_from_its_last() {
    let theirs = TestDatabase::without_schema().await;
    for (version, schema) in BITMAGNET.iter().enumerate() {
        theirs.execute(schema).await;
        let ours = TestDatabase::new().await;
        let (done, read) = from_bitmagnet(&ours, &url(&theirs).await).await;
        read.unwrap();
        assert_eq!((done.read, done.new), (10, 5));
        let refused: Vec<_> = done.refused.counts.iter().map(|(reason, count)| (*reason, *count)).collect();
        assert_eq!(refused, [("contradicts itself", 1), ("wrong hash", 4)]);

        let single = shown(&ours, 1).await;
        assert_eq!((paths(&single), single.files_whole), (vec!["Torrent 1 40".to_owned()], true));
        assert_eq!((single.private, single.piece_length), (Some(false), None));
        assert_eq!(single.added_at, SystemTime::UNIX_EPOCH + Duration::from_secs(1_704_067_200));
        let several = shown(&ours, 2).await;
        assert_eq!(
            (paths(&several), several.files_whole),
            (vec!["a|z 25".to_owned(), "b 15".to_owned()], true)
        );
        let swarm = several.swarm.unwrap();
        assert_eq!((swarm.size.seeders, swarm.size.leechers, swarm.size.whole), (7, 8, false));
        let pieces = shown(&ours, 3).await;
        assert_eq!(
            (pieces.private, pieces.piece_length, pieces.piece_count),
            (Some(true), Some(16_384), Some(3))
        );
        assert_eq!(pieces.swarm, None);
        let some = shown(&ours, 4).await;
        let count = if version == 0 { 1 } else { 250 };
        assert_eq!((some.files_whole, some.file_count, some.total_size), (false, count, 40));
        assert_eq!(some.files.len(), 1);
        let none = shown(&ours, 6).await;
        assert_eq!((none.files_whole, none.file_count, none.files.len(), none.total_size), (false, 0, 0, 40));
    }
}

#[tokio::test]
async fn a_database_that_is_none_of_bitmagnet_s_is_said_so() {
    let (ours, other) = (TestDatabase::new().await, TestDatabase::without_schema().await);
    let url = url(&other).await;
    let sentence = from_bitmagnet(&ours, &url).await.1.unwrap_err().to_string();
    assert!(sentence.ends_with("is no database of bitmagnet: it has no table torrents"), "{sentence}");
    let unreachable = "postgres://me:secret@127.0.0.1:1/x";
    let sentence = from_bitmagnet(&ours, unreachable).await.1.unwrap_err().to_string();
    assert!(sentence.starts_with("postgres://me:***@127.0.0.1:1/x cannot be read: "), "{sentence}");
}

#[tokio::test]
async fn many_foreign_torrents_keep_their_own_files() {
    let theirs = TestDatabase::without_schema().await;
    theirs.execute(BITMAGNET[0]).await;
    theirs
        .execute(
            "truncate torrents, torrent_files, torrents_torrent_sources;
             insert into torrents select substr(sha256(n::text::bytea), 1, 20), n::text, n % 4 * 10, false, false, null, null,
                now(), null from generate_series(1, 3000) n;
             insert into torrent_files select substr(sha256(n::text::bytea), 1, 20), i, n || '/' || i, 10
                from generate_series(1, 3000) n, generate_series(1, n % 4) i;",
        )
        .await;
    let ours = TestDatabase::new().await;
    let (done, read) = from_bitmagnet(&ours, &url(&theirs).await).await;
    read.unwrap();
    assert_eq!((done.new, done.refused.total()), (3_000, 0));
    let export = String::from_utf8(crate::exchange::exported(&ours).await).unwrap();
    for line in export.lines() {
        let torrent: serde_json::Value = serde_json::from_str(line).unwrap();
        let name = torrent["name"].as_str().unwrap();
        let files = torrent["files"].as_array().unwrap();
        assert_eq!(files.len(), name.parse::<usize>().unwrap() % 4, "{line}");
        for (file, number) in files.iter().zip(1..) {
            assert_eq!(file["path"], serde_json::json!([name, number.to_string()]));
        }
    }
}
