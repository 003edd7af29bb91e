//! Two indexers on one database: they share the work, and go on where the other, or the database, was killed.

use indexer_app::{
    cluster::{Cluster, Mode},
    db::{self, Database, DatabaseChoice},
};
use nix::sys::signal::Signal;
use swarm::Swarm;
use tokio::runtime::Runtime;
use tokio_postgres::config::Host;

use crate::{
    exported::Export,
    indexer::{Indexer, ask, unhurried},
    patience::eventually,
    private_cluster::{TempDir, options},
    process,
};

/// A server that is somebody else's, as far as indexers can tell, which takes note of who takes what from the backlog.
struct Shared {
    runtime: Runtime,
    cluster: Cluster,
    database: Database,
    url: String,
    folder: TempDir,
}

/// Each time that a hash is taken: whose it was, and until when.
const WATCH: &str = "
create table takes (seq bigserial, info_hash bytea, owner text, former text, was_due timestamptz, at timestamptz);
create function note_take() returns trigger language plpgsql as $$
begin
    insert into takes (info_hash, owner, former, was_due, at)
    values (new.info_hash, new.owner, old.owner, old.due, now());
    return new;
end $$;
create trigger takes after update on backlog for each row
    when (new.owner is not null and new.taken_at is distinct from old.taken_at) execute function note_take();";

impl Shared {
    fn new() -> Self {
        let folder = TempDir::new();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut options = options(&folder.join("server"));
        // It is killed.
        options.fsync = true;
        let cluster = Cluster::open(&options, Mode::Own).unwrap();
        let config = cluster.connection("postgres");
        runtime.block_on(db::ensure_database(&config, "shared")).unwrap();
        let Host::Unix(socket) = &config.get_hosts()[0] else { panic!("no socket") };
        let host = socket.to_str().unwrap().replace('/', "%2F");
        let url = format!("postgres://{}@{host}/shared", config.get_user().unwrap());
        let database = runtime.block_on(async {
            let mut database = db::connect(&DatabaseChoice::Shared { url: url.clone() }, 2).await.unwrap();
            database.migrate().await.unwrap();
            database.pool.get().await.unwrap().batch_execute(WATCH).await.unwrap();
            database
        });
        Self { runtime, cluster, database, url, folder }
    }

    /// Asks until the server answers.
    fn number(&self, sql: &str) -> i64 {
        self.runtime.block_on(async {
            loop {
                if let Ok(client) = self.database.pool.get().await
                    && let Ok(row) = client.query_one(sql, &[]).await
                {
                    return row.get(0);
                }
                tokio::task::yield_now().await;
            }
        })
    }

    /// A folder for each indexer: it is known by it.
    fn place(&self, name: &str) -> std::path::PathBuf {
        let place = self.folder.join(name);
        std::fs::create_dir_all(&place).unwrap();
        place
    }

    fn indexer(&self, name: &str, swarm: &Swarm) -> Indexer {
        Indexer::run(&self.place(name), swarm, &["--fetches", "8", "--database-url", &self.url])
    }

    fn export(&self) -> Export {
        Export::parse(&ask(&self.place("asks"), &["export", "--database-url", &self.url]).unwrap())
    }

    /// That nobody was given what somebody had: each was taken when it was nobody's, or its lease was over.
    fn assert_never_twice(&self) {
        let taken_from = "select count(*) from takes where former is not null and was_due > at";
        assert_eq!(self.number(taken_from), 0);
        assert!(self.number("select count(*) from takes") > 0, "nothing was watched");
    }
}

#[test]
fn two_indexers_on_one_database_share_the_work_and_never_have_a_hash_in_hand_at_once() {
    let shared = Shared::new();
    let swarm = Swarm::start(unhurried(71, 150, 200)).unwrap();
    let mut one = shared.indexer("one", &swarm);
    let mut two = shared.indexer("two", &swarm);
    let halves =
        "select count(*) from (select owner from keyspace_slices group by owner having count(*) = 8) g";
    eventually("each sampling half of the keyspace", || shared.number(halves) == 2);
    eventually("all being stored", || {
        shared.number("select count(*) from torrents").unsigned_abs() as usize >= swarm.torrent_count()
    });
    one.interrupt();
    two.interrupt();
    shared.export().assert_is_all_of(&swarm);
    shared.assert_never_twice();
    let shares = "select min(n) from (select count(*) as n from takes group by owner) g";
    assert_eq!(shared.number("select count(distinct owner) from takes"), 2);
    assert!(shared.number(shares) >= 20, "{} hashes are no share", shared.number(shares));
    // What both found is fetched by one: as many fetches succeed as there are hashes of torrents.
    let fetched = shared.number("select sum(succeeded)::int8 from run_work where kind = 'fetches'");
    let hashes = shared.number("select (select count(*) from torrents) + (select count(*) from aliases)");
    assert!(fetched <= hashes, "{fetched} fetches for {hashes} hashes");
    assert_eq!(shared.number("select count(*) from keyspace_slices"), 0, "they are given up");
    // Both are gone, so nothing is in anybody's hand.
    assert_eq!(shared.number("select count(*) from backlog where owner is not null"), 0);
}

#[test]
fn indexers_and_their_database_killed_in_turns_lose_nothing_and_take_nothing_from_each_other() {
    let shared = Shared::new();
    // Many more than are stored while whoever was killed starts again, six times.
    let swarm = Swarm::start(unhurried(72, 150, 800)).unwrap();
    let mut indexers = ["one", "two"].map(|name| (name, shared.indexer(name, &swarm)));
    let (mut acknowledged, mut waiting) = (Export::default(), 0);
    for round in 0..6 {
        let torrents = acknowledged.len() as i64;
        eventually("more being stored", || shared.number("select count(*) from torrents") >= torrents + 15);
        let export = shared.export();
        export.assert_contains(&acknowledged);
        assert!(export.len() < swarm.torrent_count(), "round {round} came too late to be in the middle");
        acknowledged = export;
        match round % 3 {
            2 => {
                let server = shared.cluster.server_pid().unwrap();
                process::signal(server, Signal::SIGKILL);
                eventually("the end of the killed server", || !process::is_alive(server));
            }
            which => {
                let (name, indexer) = &mut indexers[which];
                indexer.kill();
                waiting += shared.number("select count(*) from backlog where owner is not null");
                // Its name is free when the server has noticed.
                eventually("the end of its claim", || {
                    shared.number("select count(distinct objid) from pg_locks where locktype = 'advisory' and classid = 1952801025") <= 1
                });
                *indexer = shared.indexer(name, &swarm);
            }
        }
    }
    assert!(waiting > 0, "whoever was killed had nothing in hand: nothing was tested");
    eventually("all being stored", || {
        shared.number("select count(*) from torrents").unsigned_abs() as usize >= swarm.torrent_count()
    });
    for (_, indexer) in &mut indexers {
        indexer.interrupt();
        assert!(!indexer.output().contains("did not take in time"), "{}", indexer.output());
    }
    let export = shared.export();
    export.assert_is_all_of(&swarm);
    export.assert_contains(&acknowledged);
    shared.assert_never_twice();
}
