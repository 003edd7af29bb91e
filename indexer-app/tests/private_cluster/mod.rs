//! A private cluster for the tests of one binary, and a database of its own for each of them.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

#[path = "../scratch/mod.rs"]
mod scratch;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

use indexer_app::{
    cluster::{Cluster, ClusterOptions, Mode},
    db::{self, Database, DatabaseChoice, Discovery, Hashes, History, LearnPathWords, Listing, NewTorrent},
};
use krpc::InfoHash;
use tea_runtime::Session;

/// A directory that every account can reach, and that goes when it is dropped.
pub struct TempDir(pub PathBuf);

static NEXT: AtomicU32 = AtomicU32::new(0);

impl TempDir {
    pub fn new() -> Self {
        Self::below(scratch::place())
    }

    /// One from which programs can be started: containers mount memory for data alone.
    pub fn for_programs() -> Self {
        Self::below(Path::new(scratch::DISK))
    }

    fn below(parent: &Path) -> Self {
        let name = format!("indexer-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = parent.join(name);
        fs::create_dir(&dir).unwrap();
        Self(dir)
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Options for a cluster in `data_dir`; the guard is the program that is being tested.
pub fn options(data_dir: &Path) -> ClusterOptions {
    ClusterOptions {
        guard: env!("CARGO_BIN_EXE_indexer").into(),
        shared_buffers: Some(64 << 20),
        // Nobody cuts the power, and waiting for the disk takes most of the time of most tests.
        fsync: false,
        ..ClusterOptions::new(data_dir).unwrap()
    }
}

/// The cluster that tests of one binary share while any of them runs.
struct Shared {
    // Stops before its directory goes.
    _cluster: Cluster,
    options: ClusterOptions,
    _dir: TempDir,
}

static SHARED: Mutex<Weak<Shared>> = Mutex::new(Weak::new());

fn shared() -> Arc<Shared> {
    let mut slot = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(shared) = slot.upgrade() {
        return shared;
    }
    let dir = TempDir::new();
    let options = options(&dir.join("data"));
    let shared =
        Arc::new(Shared { _cluster: Cluster::open(&options, Mode::Own).unwrap(), options, _dir: dir });
    *slot = Arc::downgrade(&shared);
    shared
}

/// An empty database with the current schema.
pub struct TestDatabase {
    pub database: Database,
    shared: Arc<Shared>,
}

impl TestDatabase {
    pub async fn new() -> Self {
        let mut test = Self::without_schema().await;
        test.database.migrate().await.unwrap();
        test
    }

    pub async fn without_schema() -> Self {
        let shared = tokio::task::spawn_blocking(shared).await.unwrap();
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let database = db::connect(&Self::choice(&shared, &name), 8).await.unwrap();
        Self { database, shared }
    }

    fn choice(shared: &Shared, name: &str) -> DatabaseChoice {
        DatabaseChoice::Private {
            cluster: shared.options.clone(),
            mode: Mode::Attach,
            database: name.to_owned(),
        }
    }

    /// Connects once more.
    pub async fn connect_again(&self) -> Result<Database, db::DatabaseError> {
        let name = self.database_name().await;
        db::connect(&Self::choice(&self.shared, &name), 2).await
    }

    pub async fn database_name(&self) -> String {
        self.client().await.query_one("select current_database()", &[]).await.unwrap().get::<_, String>(0)
    }

    /// Where another process finds it.
    pub async fn url(&self) -> String {
        let socket = self.shared.options.data_dir.join("socket");
        let socket = socket.to_str().unwrap().replace('/', "%2F");
        format!("postgres://indexer@{socket}/{}", self.database_name().await)
    }

    pub async fn client(&self) -> deadpool_postgres::Client {
        self.database.pool.get().await.unwrap()
    }

    pub async fn run<S: Session<Client = deadpool_postgres::Client>>(&self, session: S) -> S::Output {
        session.run(&mut self.client().await).await.unwrap()
    }

    /// Learns the words of all paths, as a running indexer does in the background.
    pub async fn learn_paths(&self) {
        while self.run(LearnPathWords { torrents: 1_000 }).await.goes_on {}
    }

    pub async fn store(&self, torrents: Vec<NewTorrent>) -> db::Stored {
        self.run(db::StoreTorrents { torrents }).await
    }

    pub async fn execute(&self, sql: &str) {
        self.client().await.batch_execute(sql).await.unwrap();
    }

    pub async fn number(&self, sql: &str) -> i64 {
        self.client().await.query_one(sql, &[]).await.unwrap().get(0)
    }
}

/// A hash that is told by its number.
pub fn hash(number: u32) -> InfoHash {
    let mut bytes = [0xab; 20];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    InfoHash::from_bytes(bytes)
}

/// A v1 torrent with one file of its name.
pub fn torrent(number: u32, name: &str) -> NewTorrent {
    NewTorrent {
        hashes: Hashes::V1(hash(number)),
        name: name.to_owned(),
        name_raw: None,
        total_size: 1000 + u64::from(number),
        files: vec![(vec![name.to_owned()], 1000 + u64::from(number))],
        listing: Listing::Whole,
        piece_length: Some(16384),
        piece_count: Some(1),
        private: Some(false),
        source: None,
        discovered_by: Discovery::Sampled,
        history: History::default(),
    }
}

/// A torrent of two files, so that it has a list of files.
pub fn listed(number: u32, name: &str) -> NewTorrent {
    let of_one = torrent(number, name);
    let files = vec![(vec![name.to_owned()], of_one.total_size - 1), (vec![format!("{name}.nfo")], 1)];
    NewTorrent { files, ..of_one }
}

/// The same with these files, each of one byte.
pub fn with_files(mut torrent: NewTorrent, paths: &[&str]) -> NewTorrent {
    torrent.files = paths.iter().map(|path| (path.split('/').map(str::to_owned).collect(), 1)).collect();
    torrent.total_size = paths.len() as u64;
    torrent
}
