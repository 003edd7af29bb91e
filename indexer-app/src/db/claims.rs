//! What a running program claims: its name among the indexers of a database, and its run. A claim is an advisory lock of
//! PostgreSQL's, held by a pooled connection, so it ends with the process however that ends; a lost connection loses it
//! until the next report of the run renews it. Behind a pooler that shares connections among clients claims say nothing.

use deadpool_postgres::Client;
use tea_runtime::SessionError;

use super::{RunId, statement};

/// First keys of our locks: any two numbers that other programs in the same database hardly choose.
const OWNERS: i32 = 0x7465_6101;
const RUNS: i32 = 0x7465_6102;

/// Claims a name. `false` when another process has it.
pub(super) async fn claim_owner(client: &Client, owner: &str) -> Result<bool, SessionError> {
    let row = statement::row(
        client,
        "select pg_try_advisory_lock($1, hashtext($2)) as is_ours",
        &[&OWNERS, &owner],
    )
    .await?;
    statement::column(&row, "is_ours")
}

/// Claims a name and a run, or renews the claims. That another connection of ours has them already is as good.
pub(super) async fn renew(client: &Client, owner: &str, run: RunId) -> Result<(), SessionError> {
    let sql = "
select pg_try_advisory_lock(g.class, g.object)
from (values ($1::int4, hashtext($2)), ($3::int4, $4::int4)) as g (class, object)
where not exists (
    select from pg_locks l
    where l.locktype = 'advisory' and l.database = (select oid from pg_database where datname = current_database())
        and l.classid = g.class::oid and l.objid = g.object::oid and l.objsubid = 2
)";
    statement::rows(client, sql, &[&OWNERS, &owner, &RUNS, &second_key(run)]).await?;
    Ok(())
}

/// Those of these runs that a process claims.
pub(super) async fn claimed(client: &Client, runs: &[RunId]) -> Result<Vec<RunId>, SessionError> {
    let sql = "
select g.run from unnest($1::int8[], $2::int4[]) as g (run, object)
where exists (
    select from pg_locks l
    where l.locktype = 'advisory' and l.database = (select oid from pg_database where datname = current_database())
        and l.classid = $3::int4::oid and l.objid = g.object::oid and l.objsubid = 2
)";
    let numbers: Vec<i64> = runs.iter().map(|run| run.0).collect();
    let objects: Vec<i32> = runs.iter().map(|run| second_key(*run)).collect();
    let rows = statement::rows(client, sql, &[&numbers, &objects, &RUNS]).await?;
    rows.iter().map(|row| Ok(RunId(statement::column(row, "run")?))).collect()
}

/// Two billion runs are not distinguished from each other: no database sees so many.
fn second_key(run: RunId) -> i32 {
    (run.0 & i64::from(i32::MAX)) as i32
}
