//! The private cluster of a benchmark, and what its server and its tables weigh.

use std::{fs, path::Path};

use deadpool_postgres::{Client, Pool};
use indexer_app::{
    cluster::{ClusterOptions, Mode},
    db::{self, Database, DatabaseChoice},
};

/// A database of this name in the cluster of a data directory, with the current schema. The cluster runs as the program runs
/// it: what is acknowledged is on the disk.
pub(crate) async fn open(data_dir: &Path, name: &str, connections: usize) -> Result<Database, String> {
    fs::create_dir_all(data_dir)
        .map_err(|error| format!("{} cannot be made: {error}", data_dir.display()))?;
    let cluster = ClusterOptions::new(data_dir).map_err(said)?;
    let choice = DatabaseChoice::Private { cluster, mode: Mode::Attach, database: name.to_owned() };
    let mut database = db::connect(&choice, connections).await.map_err(said)?;
    database.migrate().await.map_err(said)?;
    Ok(database)
}

/// A connection of a pool.
pub(crate) async fn client(pool: &Pool) -> Result<Client, String> {
    pool.get().await.map_err(said)
}

/// CPU seconds of the process behind a connection: user and system, by the kernel's scheduler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backend(i32);

impl Backend {
    /// The one behind this connection.
    pub(crate) async fn of(client: &Client) -> Result<Self, String> {
        let row = client.query_one("select pg_backend_pid()", &[]).await.map_err(said)?;
        Ok(Self(row.get(0)))
    }

    /// CPU seconds so far.
    pub(crate) fn cpu(self) -> f64 {
        // Nanoseconds on a CPU, nanoseconds waiting for one, slices.
        let text = fs::read_to_string(format!("/proc/{}/schedstat", self.0)).unwrap_or_default();
        text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
    }
}

/// What went wrong, with its cause.
pub(crate) fn said(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// Bytes of a table's heap with what is stored out of line, or of an index.
#[derive(Clone, Debug)]
pub(crate) struct Relation {
    pub(crate) name: String,
    pub(crate) bytes: i64,
}

/// Tables and indexes that hold torrents, largest first.
pub(crate) async fn relations(client: &Client) -> Result<Vec<Relation>, String> {
    let rows = client
        .query(
            "select c.relname::text, case when c.relkind = 'i' then pg_relation_size(c.oid)
                 else pg_table_size(c.oid) end as bytes
             from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where n.nspname = 'public' and c.relkind in ('r', 'i')
             order by bytes desc, 1",
            &[],
        )
        .await
        .map_err(said)?;
    let relations = rows.iter().map(|row| Relation { name: row.get(0), bytes: row.get(1) });
    Ok(relations.filter(|relation| relation.bytes >= 1 << 20).collect())
}
