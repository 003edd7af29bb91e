//! Runs: who crawled, since when, and what came of it.

use std::{collections::BTreeMap, fmt, net::IpAddr, time::Duration};

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

/// A budget or a queue, as a run has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunLimit {
    /// What is limited, in a few words.
    pub name: String,
    /// A budget holds for so long; `None`: a queue.
    pub period: Option<Duration>,
    /// What is allowed in that time, or what the queue can hold.
    pub allowed: u64,
    /// What was used in the last such time, or what is in the queue. `None`: it is not counted, as it is another one for
    /// each remote.
    pub used: Option<u64>,
    /// Times that something waited for it, or was refused, since the run began.
    pub held: u64,
    /// Of these, in the last minute.
    pub held_lately: u64,
}

/// A local address of a run, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunAddress {
    /// As it is bound.
    pub local: IpAddr,
    /// As others see it, once that is known.
    pub external: Option<IpAddr>,
    /// The external address lies in a range that libtorrent ignores.
    pub ignored: bool,
    /// UDP ports.
    pub ports: u32,
    /// Of these, ports at which queries of strangers came in.
    pub reachable: u32,
    /// Ports whose nodes are read-only (BEP 43).
    pub read_only: u32,
    /// Queries of strangers.
    pub strangers: u64,
}

/// What a run tells of itself, again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunReport {
    /// All work so far.
    pub work: Vec<Work>,
    /// Its budgets and queues now.
    pub limits: Vec<RunLimit>,
    /// Its addresses now.
    pub addresses: Vec<RunAddress>,
    /// Why it takes nothing new in, if it does not.
    pub ingest_stopped: Option<String>,
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
    /// How far.
    pub report: RunReport,
}

impl Session for RunProgress {
    type Client = Client;
    type Output = ();

    async fn run(self, client: &mut Client) -> Result<(), SessionError> {
        claims::renew(client, &self.owner, self.run).await?;
        report(client, self.run, None, &self.report).await
    }
}

/// Closes a run.
#[derive(Clone, Debug)]
pub struct RunEnd {
    /// The run.
    pub run: RunId,
    /// Why it ended, in a word or two.
    pub ended: String,
    /// What came of it.
    pub report: RunReport,
}

impl Session for RunEnd {
    type Client = Client;
    type Output = ();

    async fn run(self, client: &mut Client) -> Result<(), SessionError> {
        report(client, self.run, Some(&self.ended), &self.report).await
    }
}

const REPORT: &str = "
with beat as (
    update runs set beat_at = now(), ingest_stopped = $8, ended = coalesce($2, ended),
        stopped_at = case when $2 is null then stopped_at else now() end
    where id = $1 returning id
)
insert into run_work as w (run, kind, attempted, succeeded, in_flight, failed)
select b.id, g.kind, g.attempted, g.succeeded, g.in_flight, g.failed::jsonb
from beat b, unnest($3::text[], $4::int8[], $5::int8[], $6::int8[], $7::text[])
    as g (kind, attempted, succeeded, in_flight, failed)
on conflict (run, kind) do update set attempted = excluded.attempted, succeeded = excluded.succeeded,
    in_flight = excluded.in_flight, failed = excluded.failed";

async fn report(
    client: &Client,
    run: RunId,
    ended: Option<&str>,
    report: &RunReport,
) -> Result<(), SessionError> {
    let RunReport { work, limits, addresses, ingest_stopped } = report;
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
            ingest_stopped,
        ],
    )
    .await?;
    standing(client, run, limits, addresses).await
}

const LIMITS: &str = "
insert into run_limits as l (run, place, name, period_s, allowed, used, held, held_lately)
select r.id, place - 1, name, period_s, allowed, used, held, held_lately
from unnest($2::text[], $3::int4[], $4::int8[], $5::int8[], $6::int8[], $7::int8[]) with ordinality
    as g (name, period_s, allowed, used, held, held_lately, place), runs r
where r.id = $1
on conflict (run, place) do update set name = excluded.name, period_s = excluded.period_s,
    allowed = excluded.allowed, used = excluded.used, held = excluded.held, held_lately = excluded.held_lately";

const ADDRESSES: &str = "
insert into run_addresses as a (run, local, external, ignored, ports, reachable, read_only, strangers)
select r.id, g.*
from runs r, unnest($2::inet[], $3::inet[], $4::boolean[], $5::int4[], $6::int4[], $7::int4[], $8::int8[]) as g
where r.id = $1
on conflict (run, local) do update set external = excluded.external, ignored = excluded.ignored,
    ports = excluded.ports, reachable = excluded.reachable, read_only = excluded.read_only,
    strangers = excluded.strangers";

async fn standing(
    client: &Client,
    run: RunId,
    limits: &[RunLimit],
    addresses: &[RunAddress],
) -> Result<(), SessionError> {
    let long = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let short = |value: u64| i32::try_from(value).unwrap_or(i32::MAX);
    statement::execute(
        client,
        LIMITS,
        &[
            &run.0,
            &limits.iter().map(|limit| limit.name.as_str()).collect::<Vec<_>>(),
            &limits
                .iter()
                .map(|limit| limit.period.map(|period| short(period.as_secs())))
                .collect::<Vec<_>>(),
            &limits.iter().map(|limit| long(limit.allowed)).collect::<Vec<_>>(),
            &limits.iter().map(|limit| limit.used.map(long)).collect::<Vec<_>>(),
            &limits.iter().map(|limit| long(limit.held)).collect::<Vec<_>>(),
            &limits.iter().map(|limit| long(limit.held_lately)).collect::<Vec<_>>(),
        ],
    )
    .await?;
    statement::execute(
        client,
        ADDRESSES,
        &[
            &run.0,
            &addresses.iter().map(|address| address.local).collect::<Vec<_>>(),
            &addresses.iter().map(|address| address.external).collect::<Vec<_>>(),
            &addresses.iter().map(|address| address.ignored).collect::<Vec<_>>(),
            &addresses.iter().map(|address| short(address.ports.into())).collect::<Vec<_>>(),
            &addresses.iter().map(|address| short(address.reachable.into())).collect::<Vec<_>>(),
            &addresses.iter().map(|address| short(address.read_only.into())).collect::<Vec<_>>(),
            &addresses.iter().map(|address| long(address.strangers)).collect::<Vec<_>>(),
        ],
    )
    .await?;
    Ok(())
}
