//! What the program cannot work with it refuses in one sentence, with an exit code that is not 0, and touches nothing.

use std::{
    collections::BTreeMap,
    fs,
    net::UdpSocket,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use indexer_app::{
    cluster::{Cluster, Mode},
    db::{self, DatabaseChoice, Discovery, StoreTorrents},
};
use nix::unistd::Uid;
use serde_json::Value;
use tea_runtime::Session;

use crate::{
    indexer::{Indexer, ask, bare, data_dir, own_address, program, refusal},
    private_cluster::{TempDir, options, torrent},
    process,
};

/// Torrents that stand for what a user has gathered.
const STORED: u32 = 5;

/// A data directory with some torrents, made without a crawl.
fn filled() -> TempDir {
    let folder = TempDir::new();
    let choice = DatabaseChoice::Private {
        cluster: options(&data_dir(&folder.0)),
        mode: Mode::Own,
        database: "indexer".to_owned(),
    };
    block_on(async {
        let mut database = db::connect(&choice, 2).await.unwrap();
        database.migrate().await.unwrap();
        let mut torrents: Vec<_> = (0..STORED).map(|number| torrent(number, "a name")).collect();
        torrents[0].discovered_by = Discovery::Announced;
        let stored = StoreTorrents { torrents }.run(&mut database.pool.get().await.unwrap()).await.unwrap();
        assert_eq!(stored.inserted.len(), STORED as usize);
        database.close().await;
    });
    folder
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// `run` at an address of its own.
fn run(folder: &Path, more: &[&str]) -> Command {
    let mut command = program(folder, "run");
    command.args(["--bind", &own_address().to_string(), "--port", "0", "--ports", "1"]).args(more);
    command
}

fn export(folder: &Path) -> String {
    let text = String::from_utf8(ask(folder, &["export"]).unwrap()).unwrap();
    assert_eq!(text.lines().count(), STORED as usize);
    text
}

/// Every file below, with owner, mode, size and time of its last change.
fn listing(root: &Path) -> BTreeMap<PathBuf, (u32, u32, u64, i64, i64)> {
    let mut entries = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for path in fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()) {
            let metadata = fs::symlink_metadata(&path).unwrap();
            let size = if metadata.is_dir() { 0 } else { metadata.len() };
            let entry = (metadata.uid(), metadata.mode(), size, metadata.mtime(), metadata.mtime_nsec());
            if metadata.is_dir() {
                open.push(path.clone());
            }
            entries.insert(path, entry);
        }
    }
    entries
}

#[test]
fn an_occupied_port_is_named_and_nothing_is_lost() {
    let folder = filled();
    let before = export(&folder.0);
    let occupant = UdpSocket::bind((own_address(), 0)).unwrap();
    let (address, port) = (occupant.local_addr().unwrap().ip(), occupant.local_addr().unwrap().port());
    let mut command = program(&folder.0, "run");
    command.args(["--bind", &address.to_string(), "--port", &port.to_string(), "--ports", "1"]);
    let sentence = refusal(&mut command);
    assert!(sentence.starts_with(&format!("UDP port {address}:{port} cannot be used: ")), "{sentence}");
    assert!(sentence.ends_with("choose another with --port or --bind"), "{sentence}");
    assert_eq!(process::database(&data_dir(&folder.0)), None, "the database still runs");
    assert_eq!(export(&folder.0), before);
    let stats: Value = serde_json::from_slice(&ask(&folder.0, &["stats", "--json"]).unwrap()).unwrap();
    assert_eq!(stats["runs"], Value::Array(Vec::new()), "a run that never was is on record");
}

#[test]
fn a_second_indexer_on_the_same_data_is_told_of_the_first_and_disturbs_nothing() {
    let folder = filled();
    let before = export(&folder.0);
    let mut first = Indexer::start(&folder.0, run(&folder.0, &[]));
    first.listening(1);
    let sentence = refusal(&mut run(&folder.0, &[]));
    let expected = format!(
        "the database in {} is in use by process {}; stop it or give another --data-dir",
        data_dir(&folder.0).display(),
        first.pid()
    );
    assert_eq!(sentence, expected);
    assert_eq!(export(&folder.0), before, "the first one serves on");
    first.interrupt();
}

#[test]
fn a_database_that_cannot_be_reached_is_named_without_its_password_and_nothing_is_made() {
    let folder = TempDir::new();
    // Nobody listens at port 1 of loopback.
    let url = "postgres://somebody:secret@127.0.0.1:1/torrents";
    for command in ["run", "demo", "migrate", "stats"] {
        let mut command = program(&folder.0, command);
        let sentence = refusal(command.args(["--database-url", url]));
        assert!(
            sentence.starts_with("the database at 127.0.0.1:1/torrents cannot be reached: "),
            "{sentence}"
        );
        assert!(!sentence.contains("secret"), "{sentence}");
        assert!(!data_dir(&folder.0).exists(), "a data directory that is of no use was made");
    }
}

#[test]
fn a_schema_that_is_newer_than_the_program_is_left_alone() {
    let folder = filled();
    let statement = |sql: &'static str| {
        let cluster = Cluster::open(&options(&data_dir(&folder.0)), Mode::Own).unwrap();
        block_on(async {
            let (client, connection) =
                cluster.connection("indexer").connect(tokio_postgres::NoTls).await.unwrap();
            tokio::select! {
                rows = client.query(sql, &[]) => rows.unwrap(),
                _ = connection => panic!("the connection ended"),
            }
        })
    };
    statement(
        "insert into refinery_schema_history (version, name, applied_on, checksum)
         select 9999, 'of_the_future', applied_on, checksum from refinery_schema_history order by version desc limit 1",
    );
    const CONTENT: &str = "select count(*) from torrents union all select count(*) from runs
        union all select count(*) from refinery_schema_history union all select count(*) from pg_class";
    let content = || statement(CONTENT).iter().map(|row| row.get::<_, i64>(0)).collect::<Vec<_>>();
    let before = content();
    for command in ["run", "migrate", "search x", "export", "stats"] {
        let words: Vec<&str> = command.split(' ').collect();
        let sentence = refusal(program(&folder.0, words[0]).args(&words[1..]));
        assert!(
            sentence.starts_with("the database has schema version 9999, but this program knows only up to "),
            "{sentence}"
        );
        assert!(sentence.contains("use the newer program"), "{sentence}");
    }
    assert_eq!(content(), before);
    assert_eq!(before[0], i64::from(STORED));
}

#[test]
fn a_data_directory_of_another_owner_is_left_alone() {
    let folder = TempDir::new();
    let dir = if Uid::effective().is_root() {
        let dir = data_dir(&folder.0);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("precious"), "data").unwrap();
        std::os::unix::fs::chown(&dir, Some(54_321), Some(54_321)).unwrap();
        dir
    } else {
        PathBuf::from("/")
    };
    for command in ["run", "demo", "migrate"] {
        let mut command_line = bare(Path::new(env!("CARGO_BIN_EXE_indexer")), &folder.0);
        command_line.arg(command).arg("--data-dir").arg(&dir);
        let before = listing(&folder.0);
        let sentence = refusal(&mut command_line);
        assert!(sentence.starts_with(&format!("data directory {} belongs to ", dir.display())), "{sentence}");
        assert!(sentence.ends_with("or give another --data-dir"), "{sentence}");
        assert_eq!(listing(&folder.0), before);
    }
}

#[test]
fn wrong_settings_are_refused_before_anything_is_made() {
    let folder = TempDir::new();
    for (arguments, named) in [
        (&["--min-sample-interval", "0s"][..], "setting min-sample-interval from the command line"),
        (&["--bind", "127.0.0.300"], "setting bind from the command line"),
        (&["--nodes-per-port", "0"], "setting nodes-per-port from the command line"),
        (&["--ids", "mine"], "setting ids from the command line"),
        (&["--fetches", "-1"], "setting fetches from the command line"),
        (&["--database-url", "http://"], "setting database-url from the command line"),
        (&["--postgres-bin", "/nonexistent"], "there are no PostgreSQL programs"),
    ] {
        let sentence = refusal(program(&folder.0, "run").args(arguments));
        assert!(sentence.starts_with(named), "{arguments:?}: {sentence}");
        assert!(!data_dir(&folder.0).exists(), "{arguments:?} made a data directory");
    }
    fs::write(folder.0.join("bad.toml"), "speed = 9\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_indexer"));
    let sentence = refusal(command.arg("--config").arg(folder.0.join("bad.toml")).arg("run"));
    assert!(sentence.contains("\"speed\"") && sentence.contains("bad.toml"), "{sentence}");
}
