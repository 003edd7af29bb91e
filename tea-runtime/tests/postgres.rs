//! Database sessions on a real PostgreSQL that each test starts for itself and throws away.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up fails")]
#![cfg(feature = "postgres")]

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use deadpool_postgres::{Client, Manager, ManagerConfig, Pool, RecyclingMethod};
use tea_runtime::{Cmd, Config, Context, Db, PgManager, Program, Runtime, Session, SessionError, Sub};
use tokio_postgres::NoTls;

/// A private cluster on a unix socket.
struct Cluster {
    directory: PathBuf,
    server: Child,
}

impl Cluster {
    fn start(name: &str) -> Self {
        let programs = programs();
        let directory = std::env::temp_dir().join(format!("tea-pg-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
        let owner = owner();
        if let Some((uid, gid)) = owner {
            chown(&directory, Some(uid), Some(gid)).unwrap();
        }
        let data = directory.join("data");
        let mut initdb = command(&programs.join("initdb"), owner);
        initdb.args(["--auth=trust", "--username=test", "--no-sync", "-D"]).arg(&data);
        assert!(initdb.status().unwrap().success(), "initdb failed");
        let mut server = command(&programs.join("postgres"), owner);
        server.arg("-D").arg(&data).arg("-k").arg(&directory).args(["-h", "", "-F"]);
        let server = server.spawn().unwrap();
        Self { directory, server }
    }

    fn pool(&self, size: usize) -> Pool {
        pool(&self.directory, size)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn pool(directory: &Path, size: usize) -> Pool {
    let mut config = tokio_postgres::Config::new();
    config.host_path(directory).user("test").dbname("postgres");
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    Pool::builder(Manager::from_config(config, NoTls, recycling)).max_size(size).build().unwrap()
}

fn command(program: &Path, owner: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
    if let Some((uid, gid)) = owner {
        command.gid(gid).uid(uid);
    }
    command
}

/// Where the machine has PostgreSQL's programs.
fn programs() -> PathBuf {
    let configured = Command::new("pg_config").arg("--bindir").output().ok();
    let configured = configured.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut debian: Vec<PathBuf> = debian.map(|version| version.path().join("bin")).collect();
    debian.sort();
    let places = configured.into_iter().chain(debian.into_iter().rev());
    let found = places.into_iter().find(|place| place.join("initdb").exists());
    found.expect("no initdb: install PostgreSQL's server programs (Debian: apt-get install postgresql)")
}

/// PostgreSQL refuses to run as root: the user to run it as then.
fn owner() -> Option<(u32, u32)> {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).expect("a user");
    if uid.split_whitespace().nth(1) != Some("0") {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let ids_of = |name: &str| {
        let mut fields = users.lines().find(|line| line.split(':').next() == Some(name))?.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    let ids = ids_of("postgres").or_else(|| ids_of("nobody"));
    Some(ids.expect("a user `postgres` or `nobody` to run PostgreSQL as"))
}

/// One statement whose single value is returned.
#[derive(Debug)]
struct Value(&'static str);

impl Session for Value {
    type Client = Client;
    type Output = i32;

    async fn run(self, client: &mut Client) -> Result<i32, SessionError> {
        Ok(client.query_one(self.0, &[]).await?.try_get(0)?)
    }
}

/// Writes in a transaction and panics before it is committed.
#[derive(Debug)]
struct PanicInTransaction;

impl Session for PanicInTransaction {
    type Client = Client;
    type Output = i32;

    async fn run(self, client: &mut Client) -> Result<i32, SessionError> {
        let transaction = client.transaction().await?;
        transaction.batch_execute("INSERT INTO numbers VALUES (99)").await?;
        panic!("in the middle of a transaction");
    }
}

type Answer = Result<i32, SessionError>;
/// The next session after an answer, or the end.
type Next = Box<dyn FnMut(Option<Answer>) -> Option<Db<Answer, Client>>>;

/// Asks one question after the other.
struct Asker {
    next: Next,
}

impl Program for Asker {
    type Flags = Next;
    type Msg = Answer;
    type Key = u8;
    type Effect = Db<Answer, Client>;

    fn init(mut next: Next, _: &Context, cmd: &mut Cmd<Self>) -> Self {
        if let Some(db) = next(None) {
            cmd.perform(db);
        }
        Self { next }
    }

    fn update(&mut self, answer: Answer, _: &Context, cmd: &mut Cmd<Self>) {
        match (self.next)(Some(answer)) {
            Some(db) => cmd.perform(db),
            None => cmd.quit(),
        }
    }

    fn subscriptions(&self, _: &mut Sub<Self>) {}
}

fn ask(pool: Pool, next: impl FnMut(Option<Answer>) -> Option<Db<Answer, Client>> + 'static) {
    let manager = PgManager::new(pool).wait_max(Duration::from_secs(20));
    let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let run = Runtime::new(Config::default()).manager(manager).run::<Asker>(Box::new(next));
    let patience = Duration::from_secs(60);
    event_loop
        .block_on(async { tokio::time::timeout(patience, run).await })
        .expect("it was to quit")
        .unwrap();
}

fn value(sql: &'static str) -> Option<Db<Answer, Client>> {
    Some(Db::new(Value(sql), |answer| answer))
}

#[test]
fn sessions_answer_and_each_error_is_told_by_its_kind() {
    let cluster = Cluster::start("kinds");
    let pool = cluster.pool(1);
    let closed = pool.clone();
    let mut step = 0;
    ask(pool, move |answer| {
        step += 1;
        match (step, answer) {
            (1, None) => value("SELECT 1"),
            // It is still starting.
            (2, Some(Err(SessionError::Unavailable(_) | SessionError::Broken(_)))) => {
                step = 1;
                value("SELECT 1")
            }
            (2, Some(answer)) => {
                assert_eq!(answer, Ok(1));
                value("SELECT 1/0")
            }
            (3, Some(answer)) => {
                let expected = SessionError::Database {
                    code: "22012".to_owned(),
                    message: "division by zero".to_owned(),
                };
                assert_eq!(answer, Err(expected));
                value("SELECT 'text'")
            }
            (4, Some(answer)) => {
                assert!(matches!(&answer, Err(SessionError::Unexpected(_))), "{answer:?}");
                value("CREATE TABLE numbers (number int); SELECT 1")
            }
            (5, Some(answer)) => {
                // One statement at a time can be prepared.
                assert!(
                    matches!(&answer, Err(SessionError::Database { code, .. }) if code == "42601"),
                    "{answer:?}"
                );
                value("WITH made AS (SELECT 1 AS one) SELECT one FROM made")
            }
            (6, Some(answer)) => {
                assert_eq!(answer, Ok(1));
                // The server ends our own connection.
                value("SELECT pg_terminate_backend(pg_backend_pid())::int")
            }
            (7, Some(answer)) => {
                assert!(matches!(&answer, Err(SessionError::Broken(_))), "{answer:?}");
                assert!(answer.is_err_and(|error| error.is_transient()));
                value("SELECT 2")
            }
            // Until the pool notices that the connection is gone.
            (8, Some(Err(SessionError::Broken(_)))) => {
                step = 7;
                value("SELECT 2")
            }
            (8, Some(answer)) => {
                assert_eq!(answer, Ok(2), "the pool was to open a new connection");
                None
            }
            other => panic!("{other:?}"),
        }
    });
    assert!(closed.is_closed(), "the pool is closed when the program has stopped");
}

#[test]
fn a_session_that_panics_is_an_answer_and_leaves_nothing_behind() {
    let cluster = Cluster::start("panic");
    let mut step = 0;
    ask(cluster.pool(1), move |answer| {
        step += 1;
        match (step, answer) {
            (1, None) => value("SELECT 1"),
            (2, Some(Err(SessionError::Unavailable(_) | SessionError::Broken(_)))) => {
                step = 1;
                value("SELECT 1")
            }
            (2, Some(Ok(1))) => Some(Db::new(CreateNumbers, |answer| answer)),
            (3, Some(Ok(0))) => Some(Db::new(PanicInTransaction, |answer| answer)),
            (4, Some(answer)) => {
                assert_eq!(answer, Err(SessionError::Panicked("in the middle of a transaction".to_owned())));
                value("SELECT count(*)::int FROM numbers")
            }
            (5, Some(answer)) => {
                assert_eq!(answer, Ok(0));
                None
            }
            other => panic!("{other:?}"),
        }
    });
}

#[derive(Debug)]
struct CreateNumbers;

impl Session for CreateNumbers {
    type Client = Client;
    type Output = i32;

    async fn run(self, client: &mut Client) -> Result<i32, SessionError> {
        client.batch_execute("CREATE TABLE numbers (number int)").await?;
        Ok(0)
    }
}

/// Kills the server and then asks it something that takes long.
#[derive(Debug)]
struct KillServer {
    pid: u32,
}

impl Session for KillServer {
    type Client = Client;
    type Output = i32;

    async fn run(self, client: &mut Client) -> Result<i32, SessionError> {
        let killed = Command::new("kill").args(["-s", "KILL", &self.pid.to_string()]).status();
        assert!(killed.is_ok_and(|status| status.success()));
        Ok(client.query_one("SELECT 1 FROM pg_sleep(60)", &[]).await?.try_get(0)?)
    }
}

#[test]
fn a_killed_database_breaks_what_runs_and_is_unavailable_to_the_rest() {
    let cluster = Cluster::start("killed");
    let pool = cluster.pool(1);
    let mut step = 0;
    ask(pool, move |answer| {
        step += 1;
        match (step, answer) {
            (1, None) => value("SELECT 1"),
            (2, Some(Err(SessionError::Unavailable(_) | SessionError::Broken(_)))) => {
                step = 1;
                value("SELECT 1")
            }
            (2, Some(Ok(1))) => Some(Db::new(KillServer { pid: cluster.server.id() }, |answer| answer)),
            (3, Some(answer)) => {
                assert!(matches!(&answer, Err(SessionError::Broken(_))), "{answer:?}");
                value("SELECT 2")
            }
            // Until the pool notices that its connection is gone.
            (4, Some(Err(SessionError::Broken(_)))) => {
                step = 3;
                value("SELECT 2")
            }
            (4, Some(answer)) => {
                assert!(matches!(&answer, Err(SessionError::Unavailable(_))), "{answer:?}");
                None
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn without_a_database_a_session_is_not_started_and_says_so() {
    let nowhere = std::env::temp_dir().join("tea-pg-nowhere");
    ask(pool(&nowhere, 1), |answer| match answer {
        None => value("SELECT 1"),
        Some(Err(SessionError::Unavailable(text))) => {
            assert!(text.contains("connect"), "{text}");
            None
        }
        other => panic!("{other:?}"),
    });
}
