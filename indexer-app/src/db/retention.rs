//! Bounds on what grows by itself: backlog, nodes, observations, runs.

use deadpool_postgres::Client;
use tea_runtime::{Session, SessionError};

use super::{statement, tombstones};

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TidyLimits {
    /// Info-hashes in the backlog: 0.3 GB a million.
    pub backlog_rows_max: u64,
    /// Nodes: the whole DHT is said to have some millions.
    pub nodes_max: u64,
    /// Days for which it is known which node was met.
    pub observation_days: u32,
    /// Observations in all.
    pub observations_max: u64,
    /// Runs.
    pub runs_max: u64,
}

impl Default for TidyLimits {
    fn default() -> Self {
        Self {
            backlog_rows_max: 1_000_000,
            nodes_max: 2_000_000,
            observation_days: 30,
            observations_max: 10_000_000,
            runs_max: 1_000,
        }
    }
}

/// Removes what is beyond its bound. To be run every minute or so: between two of them the tables may grow beyond their
/// bounds by what is written in that time.
#[derive(Clone, Copy, Debug)]
pub struct Tidy {
    /// The bounds.
    pub limits: TidyLimits,
}

/// What was there and what was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Hashes left in the backlog: when this is near its bound, put fewer.
    pub backlog_rows: u64,
    /// Hashes removed: those worth least, by priority and failed tries, of these the oldest first.
    pub backlog_removed: u64,
    /// Torrents removed that were being stored at the moment that they were banned or deleted.
    pub banned_removed: u64,
    /// Nodes left.
    pub nodes: u64,
    /// Nodes removed: least fresh first.
    pub nodes_removed: u64,
    /// Observations removed: oldest days first.
    pub observations_removed: u64,
    /// Runs removed: oldest first.
    pub runs_removed: u64,
}

const BACKLOG: &str = "
with beyond as (select info_hash from backlog order by worth, added_at limit $1 for update skip locked)
delete from backlog b using beyond where b.info_hash = beyond.info_hash";

const NODES: &str = "
with beyond as (
    select ip, port from nodes order by freshness, last_seen nulls first limit $1 for update skip locked
)
delete from nodes n using beyond where n.ip = beyond.ip and n.port = beyond.port";

const RUNS: &str = "
delete from runs where id <= (select id from runs order by id desc offset $1 limit 1)";

impl Session for Tidy {
    type Client = Client;
    type Output = Tidied;

    async fn run(self, client: &mut Client) -> Result<Tidied, SessionError> {
        let Self { limits } = self;
        let mut done = Tidied {
            backlog_rows: rows_of(client, "select count(*) as number from backlog").await?,
            nodes: rows_of(client, "select count(*) as number from nodes").await?,
            ..Tidied::default()
        };
        let beyond = done.backlog_rows.saturating_sub(limits.backlog_rows_max);
        if beyond > 0 {
            done.backlog_removed = statement::execute(client, BACKLOG, &[&limit(beyond)]).await?;
            done.backlog_rows -= done.backlog_removed;
        }
        let beyond = done.nodes.saturating_sub(limits.nodes_max);
        if beyond > 0 {
            done.nodes_removed = statement::execute(client, NODES, &[&limit(beyond)]).await?;
            done.nodes -= done.nodes_removed;
        }
        let days = i32::try_from(limits.observation_days).unwrap_or(i32::MAX);
        done.observations_removed = statement::execute(
            client,
            "delete from observations where day < (now() at time zone 'UTC')::date - $1::int4",
            &[&days],
        )
        .await?;
        // Whole days, oldest first: two crawls of a day can be compared as long as the day is there.
        let days = statement::rows(
            client,
            "select day::text as day, count(*) as number from observations group by day order by day desc",
            &[],
        )
        .await?;
        let mut kept = 0;
        for row in &days {
            kept += statement::count(row, "number")?;
            if kept > limits.observations_max {
                let day: &str = statement::column(row, "day")?;
                done.observations_removed += statement::execute(
                    client,
                    "delete from observations where day = $1::text::date",
                    &[&day],
                )
                .await?;
            }
        }
        done.banned_removed = tombstones::sweep(client).await?;
        done.runs_removed = statement::execute(client, RUNS, &[&limit(limits.runs_max)]).await?;
        Ok(done)
    }
}

async fn rows_of(client: &Client, sql: &str) -> Result<u64, SessionError> {
    statement::count(&statement::row(client, sql, &[]).await?, "number")
}

fn limit(rows: u64) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
