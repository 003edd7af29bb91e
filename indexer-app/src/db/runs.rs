//! Runs: who crawled, since when, and what came of it.

use std::{collections::BTreeMap, fmt};

use deadpool_postgres::Client;
use tea_runtime::{Session, SessionError};

use super::{claims, statement};

/// Names a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub i64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Work of one kind, counted since the run began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// What is counted: `visits`, `fetches`.
    pub kind: String,
    /// How many were begun.
    pub attempted: u64,
    /// How many succeeded.
    pub succeeded: u64,
    /// How many are under way.
    pub in_flight: u64,
    /// How many failed, by reason.
    pub failed: BTreeMap<String, u64>,
}

/// Opens a run, and claims its owner's name for this process.
#[derive(Clone, Debug)]
pub struct RunStart {
    /// Under which name the hashes of the backlog are taken.
    pub owner: String,
    /// Who runs, such as host and process.
    pub by_whom: String,
    /// Version of the program.
    pub version: String,
    /// Whether it is one sweep.
    pub once: bool,
}

impl Session for RunStart {
    type Client = Client;
    /// `None` when another process runs under this name.
    type Output = Option<RunId>;

    async fn run(self, client: &mut Client) -> Result<Option<RunId>, SessionError> {
        if !claims::claim_owner(client, &self.owner).await? {
            return Ok(None);
        }
        let row = statement::row(
            client,
            "insert into runs (by_whom, version, once) values ($1, $2, $3) returning id",
            &[&self.by_whom, &self.version, &self.once],
        )
        .await?;
        let run = RunId(statement::column(&row, "id")?);
        claims::renew(client, &self.owner, run).await?;
        Ok(Some(run))
    }
}

/// Reports how far a run is, and renews its claims.
#[derive(Clone, Debug)]
pub struct RunProgress {
    /// The owner's name.
    pub owner: String,
    /// The run.
    pub run: RunId,
    /// All work so far.
    pub work: Vec<Work>,
}

impl Session for RunProgress {
    type Client = Client;
    type Output = ();

    async fn run(self, client: &mut Client) -> Result<(), SessionError> {
        claims::renew(client, &self.owner, self.run).await?;
        report(client, self.run, None, &self.work).await
    }
}

/// Closes a run.
#[derive(Clone, Debug)]
pub struct RunEnd {
    /// The run.
    pub run: RunId,
    /// Why it ended, in a word or two.
    pub ended: String,
    /// All its work.
    pub work: Vec<Work>,
}

impl Session for RunEnd {
    type Client = Client;
    type Output = ();

    async fn run(self, client: &mut Client) -> Result<(), SessionError> {
        report(client, self.run, Some(&self.ended), &self.work).await
    }
}

const REPORT: &str = "
with beat as (
    update runs set beat_at = now(), ended = coalesce($2, ended),
        stopped_at = case when $2 is null then stopped_at else now() end
    where id = $1 returning id
)
insert into run_work as w (run, kind, attempted, succeeded, in_flight, failed)
select b.id, g.kind, g.attempted, g.succeeded, g.in_flight, g.failed::jsonb
from beat b, unnest($3::text[], $4::int8[], $5::int8[], $6::int8[], $7::text[])
    as g (kind, attempted, succeeded, in_flight, failed)
on conflict (run, kind) do update set attempted = excluded.attempted, succeeded = excluded.succeeded,
    in_flight = excluded.in_flight, failed = excluded.failed";

async fn report(client: &Client, run: RunId, ended: Option<&str>, work: &[Work]) -> Result<(), SessionError> {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let failed = work
        .iter()
        .map(|work| serde_json::to_string(&work.failed))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| SessionError::Unexpected(error.to_string()))?;
    statement::execute(
        client,
        REPORT,
        &[
            &run.0,
            &ended,
            &work.iter().map(|work| work.kind.as_str()).collect::<Vec<_>>(),
            &work.iter().map(|work| number(work.attempted)).collect::<Vec<_>>(),
            &work.iter().map(|work| number(work.succeeded)).collect::<Vec<_>>(),
            &work.iter().map(|work| number(work.in_flight)).collect::<Vec<_>>(),
            &failed,
        ],
    )
    .await?;
    Ok(())
}
