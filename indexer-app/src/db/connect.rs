//! Reaching the database: the private one or a shared one.

use std::{fmt, time::Duration};

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Pool, PoolBuilder, RecyclingMethod, Runtime,
};
use tea_runtime::SessionError;
use tokio_postgres::{Config, NoTls, SimpleQueryMessage};

use super::{
    AppliedMigration, DatabaseError, MigrationStep, Schema,
    error::{full_text, pool_error, session_error},
    schema,
    server_url::ServerUrl,
    tls::Tls,
};
use crate::cluster::{Cluster, ClusterOptions, Mode};

/// Oldest server whose SQL this program speaks.
const MAJOR_MIN: u32 = 13;

/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// How long the network to a shared server may be silent before it is asked whether it is still there, and how long what
/// was sent may stay unconfirmed.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How long a statement of a search may take at most.
const SEARCH_MAX: Duration = Duration::from_secs(60);

/// How long a session waits for a connection of the pool.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Which database.
#[derive(Clone, Debug)]
pub enum DatabaseChoice {
    /// One in the private cluster.
    Private {
        /// The cluster.
        cluster: ClusterOptions,
        /// What is wanted of it.
        mode: Mode,
        /// Name of the database in it: letters, digits and `_`. Made if it is not there.
        database: String,
    },
    /// One that somebody else runs.
    Shared {
        /// `postgres://user:password@host:port/name`
        url: String,
    },
}

/// A database that was reached and whose schema is not newer than this program.
pub struct Database {
    /// Connections to it.
    pub pool: Pool,
    /// How its schema stands.
    pub schema: Schema,
    /// The cluster, if it is the private one. Stops with it when we own it: drop it last.
    pub cluster: Option<Cluster>,
    config: Config,
    tls: Tls,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({})", place(&self.config))
    }
}

impl Database {
    /// Brings the schema up to date.
    ///
    /// # Errors
    /// A change failed; it was undone.
    pub async fn migrate(&mut self) -> Result<Vec<AppliedMigration>, DatabaseError> {
        self.migrate_and_say(&mut |_| ()).await
    }

    /// The same; each step is told when it is done or begins.
    ///
    /// # Errors
    /// A change failed; it was undone.
    pub async fn migrate_and_say(
        &mut self,
        said: &mut (dyn FnMut(MigrationStep) + Send),
    ) -> Result<Vec<AppliedMigration>, DatabaseError> {
        let applied = schema::migrate(&self.pool, said).await?;
        self.schema = schema::schema(&self.pool).await?;
        Ok(applied)
    }

    /// Throws away all that is in the private database, schema and all. Does nothing to a shared one, which is not ours.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn clear(&mut self) -> Result<(), DatabaseError> {
        if self.cluster.is_none() {
            return Ok(());
        }
        let client = self.pool.get().await.map_err(|error| pool_error(&error))?;
        client
            .batch_execute("drop schema public cascade; create schema public")
            .await
            .map_err(|error| session_error(&error))?;
        drop(client);
        self.schema = schema::schema(&self.pool).await?;
        Ok(())
    }

    /// Another pool to the same database, so that one kind of work never waits for the connections of another.
    ///
    /// # Errors
    /// The pool cannot be made.
    pub fn another_pool(&self, connections: usize) -> Result<Pool, DatabaseError> {
        pool_with(self.config.clone(), &self.tls, connections)
    }

    /// Tells the server to give up what the connection is doing when this is waited for: a server does not notice by itself
    /// that nobody waits any more.
    pub fn cancel(&self, client: &deadpool_postgres::Client) -> impl Future<Output = ()> + use<> {
        let (token, tls) = (client.cancel_token(), self.tls.clone());
        async move {
            let told = async {
                match tls.0 {
                    Some(tls) => token.cancel_query(tls).await,
                    None => token.cancel_query(NoTls).await,
                }
            };
            // Whoever cannot be told ends by itself a little later.
            let _ = tokio::time::timeout(CONNECT_MAX, told).await;
        }
    }

    /// A pool for searches, which read and never wait for the connections of what writes; nor do its statements go on for longer than
    /// a minute, whatever happens to who asked.
    ///
    /// # Errors
    /// The pool cannot be made.
    pub fn search_pool(&self, connections: usize) -> Result<Pool, DatabaseError> {
        let mut config = self.config.clone();
        let options = format!(
            "{} -c default_transaction_read_only=on -c statement_timeout={}",
            config.get_options().unwrap_or_default(),
            SEARCH_MAX.as_millis()
        );
        config.options(options.trim_start()).application_name("indexer-search");
        pool_with(config, &self.tls, connections)
    }

    /// Closes the pool, and ends the private server if we own it; returns when it has ended.
    pub async fn close(self) {
        self.pool.close();
        let Some(cluster) = self.cluster else { return };
        // Stopping blocks. If the task is lost, so is the runtime, and the server ends with us.
        let _ = tokio::task::spawn_blocking(move || drop(cluster)).await;
    }
}

/// Reaches the database; its schema is left as it is.
///
/// # Errors
/// One sentence: not reachable, too old, newer than this program, or what the private cluster lacks. Nothing was touched.
pub async fn connect(choice: &DatabaseChoice, connections: usize) -> Result<Database, DatabaseError> {
    let (config, tls, cluster) = match choice {
        DatabaseChoice::Shared { url } => {
            let (config, tls) = shared(url)?;
            (config, tls, None)
        }
        DatabaseChoice::Private { cluster, mode, database } => {
            let (options, mode) = (cluster.clone(), *mode);
            let cluster = tokio::task::spawn_blocking(move || Cluster::open(&options, mode))
                .await
                .map_err(|error| SessionError::Unexpected(error.to_string()))??;
            ensure_database(&cluster.connection("postgres"), database).await?;
            (cluster.connection(database), Tls::OFF, Some(cluster))
        }
    };
    check_server(&config, &tls).await?;
    let pool = pool_with(config.clone(), &tls, connections)?;
    let schema = schema::schema(&pool).await?.check_not_newer()?;
    Ok(Database { pool, schema, cluster, config, tls })
}

/// A connection to a database that somebody else has made.
///
/// # Errors
/// The address is none, or names certificates that cannot be read.
pub(super) fn pool_to(url: &str) -> Result<Pool, DatabaseError> {
    let (config, tls) = shared(url)?;
    pool_with(config, &tls, 1)
}

/// Connections to one database by its socket, made when they are needed.
///
/// # Errors
/// The pool cannot be made.
pub fn pool(config: Config, connections: usize) -> Result<Pool, DatabaseError> {
    pool_with(config, &Tls::OFF, connections)
}

fn pool_with(config: Config, tls: &Tls, connections: usize) -> Result<Pool, DatabaseError> {
    let durable = Hook::async_fn(|client: &mut deadpool_postgres::ClientWrapper, _| {
        Box::pin(async move {
            // What a server is told to acknowledge early can be lost after it was acknowledged.
            let sql = "select set_config('synchronous_commit', 'on', false)
                where current_setting('synchronous_commit') = 'off'";
            client.batch_execute(sql).await.map_err(HookError::Backend)
        })
    });
    built(pool_builder(config, tls, connections).post_create(durable))
}

fn built(builder: PoolBuilder) -> Result<Pool, DatabaseError> {
    builder.build().map_err(|error| SessionError::Unexpected(error.to_string()).into())
}

fn pool_builder(config: Config, tls: &Tls, connections: usize) -> PoolBuilder {
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = match &tls.0 {
        Some(tls) => Manager::from_config(config, tls.clone(), recycling),
        None => Manager::from_config(config, NoTls, recycling),
    };
    Pool::builder(manager)
        .max_size(connections.max(1))
        .runtime(Runtime::Tokio1)
        .create_timeout(Some(CONNECT_MAX))
        .wait_timeout(Some(WAIT_MAX))
        .recycle_timeout(Some(CONNECT_MAX))
}

/// Makes a database unless it is there; `server` connects to another one of the same server.
///
/// # Errors
/// The name is not made of letters, digits and `_`, or the server refuses.
pub async fn ensure_database(server: &Config, name: &str) -> Result<(), DatabaseError> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if name.is_empty() || !is_plain {
        return Err(SessionError::Unexpected(format!("{name:?} is no name of a database")).into());
    }
    let pool = pool(server.clone(), 1)?;
    let client = pool.get().await.map_err(|error| match pool_error(&error) {
        SessionError::Unavailable(why) => DatabaseError::Unreachable { at: place(server), why },
        other => other.into(),
    })?;
    let failed = |error: tokio_postgres::Error| DatabaseError::from(session_error(&error));
    let found =
        client.query("select 1 from pg_database where datname = $1", &[&name]).await.map_err(failed)?;
    if found.is_empty()
        && let Err(error) = client.batch_execute(&format!("create database \"{name}\"")).await
    {
        // Two processes may make it at the same time: one of them is told so.
        let twice = [
            tokio_postgres::error::SqlState::DUPLICATE_DATABASE,
            tokio_postgres::error::SqlState::UNIQUE_VIOLATION,
        ];
        if !error.code().is_some_and(|code| twice.contains(code)) {
            return Err(failed(error));
        }
    }
    Ok(())
}

fn shared(url: &str) -> Result<(Config, Tls), DatabaseError> {
    let url: ServerUrl = url.parse()?;
    let tls = Tls::of(&url)?;
    let mut config = url.config;
    if config.get_hosts().is_empty() {
        return Err(DatabaseError::Url("it names no host".to_owned()));
    }
    if config.get_application_name().is_none() {
        config.application_name("indexer");
    }
    // A server that has gone without a word is noticed.
    config.connect_timeout(CONNECT_MAX).keepalives_idle(SILENCE_MAX).tcp_user_timeout(SILENCE_MAX);
    Ok((config, tls))
}

async fn check_server(config: &Config, tls: &Tls) -> Result<(), DatabaseError> {
    let unreachable = |why: String| DatabaseError::Unreachable { at: place(config), why };
    // Nothing else is asked of a server that may be too old to understand it.
    let pool = built(pool_builder(config.clone(), tls, 1))?;
    let client = pool.get().await.map_err(|error| match pool_error(&error) {
        SessionError::Unavailable(why) => unreachable(why),
        other => unreachable(other.to_string()),
    })?;
    let answer = tokio::time::timeout(CONNECT_MAX, client.simple_query("show server_version_num"))
        .await
        .map_err(|_| unreachable(format!("no answer within {} s", CONNECT_MAX.as_secs())))?
        .map_err(|error| unreachable(full_text(&error)))?;
    let version = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let found = version.and_then(|version| version.parse::<u32>().ok()).unwrap_or(0) / 10_000;
    if found < MAJOR_MIN {
        return Err(DatabaseError::ServerTooOld { found, needed: MAJOR_MIN });
    }
    Ok(())
}

/// Host and database, for people; never the password.
fn place(config: &Config) -> String {
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .map(|host| match host {
            tokio_postgres::config::Host::Tcp(name) => name.clone(),
            tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
        })
        .collect();
    let ports: Vec<String> = config.get_ports().iter().map(u16::to_string).collect();
    let port = if ports.is_empty() { String::new() } else { format!(":{}", ports.join(",")) };
    format!("{}{port}/{}", hosts.join(","), config.get_dbname().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_shows_no_password() {
        let (config, _) = shared("postgres://me:secret@db.example:5433/torrents").unwrap();
        assert_eq!(place(&config), "db.example:5433/torrents");
    }

    #[test]
    fn urls_that_cannot_be_used_are_said_so() {
        assert!(matches!(shared("nonsense"), Err(DatabaseError::Url(_))));
        assert!(matches!(shared("postgres:///x"), Err(DatabaseError::Url(_))));
        let nowhere = "postgres://h/x?sslmode=verify-full&sslrootcert=/nowhere";
        assert!(matches!(shared(nowhere), Err(DatabaseError::Tls(_))));
    }
}
