//! Which indexer samples where, when several share a database: slices of the keyspace, each with a lease.

use std::time::Duration;

use deadpool_postgres::Client;
use mainline::KeyspaceSlices;
use tea_runtime::{Session, SessionError};

use super::statement;

/// A run that has not reported for so long gets no share: reports come every 10 s.
const SILENCE_SECONDS: f64 = 60.0;

/// Claims a fair share of the slices, renews those that are held, and gives up what is more than the share. What an indexer gives
/// up, or has not renewed in time, others get when they ask next.
#[derive(Clone, Debug)]
pub struct ClaimSlices {
    /// Who claims.
    pub owner: String,
    /// How long they are his.
    pub lease: Duration,
}

const CLAIM: &str = "
with share as (
    select ceil($2::int4::float8 / greatest(count(*), 1))::int8 as slices from runs
    where stopped_at is null and beat_at > now() - make_interval(secs => $4)
), mine as materialized (
    select slice, row_number() over (order by slice) as place from (
        select slice from keyspace_slices where owner = $1 and until > now() order by slice for update
    ) m
), renewed as (
    update keyspace_slices k set until = now() + make_interval(secs => $3) from mine m, share s
    where k.slice = m.slice and m.place <= s.slices returning k.slice
), given_up as (
    delete from keyspace_slices k using mine m, share s where k.slice = m.slice and m.place > s.slices
), free as (
    select g.slice::int2 as slice from generate_series(0, $2::int4 - 1) as g (slice)
    where not exists (select from keyspace_slices k where k.slice = g.slice and k.until > now())
    order by 1 limit greatest((select slices from share) - (select count(*) from mine), 0)
), claimed as (
    insert into keyspace_slices (slice, owner, until)
    select slice, $1, now() + make_interval(secs => $3) from free
    on conflict (slice) do update set owner = excluded.owner, until = excluded.until
        where keyspace_slices.until <= now()
    returning slice
)
select slice from renewed union all select slice from claimed";

impl Session for ClaimSlices {
    type Client = Client;
    /// Those that are his now.
    type Output = KeyspaceSlices;

    async fn run(self, client: &mut Client) -> Result<KeyspaceSlices, SessionError> {
        let parameters: statement::Parameters<'_> =
            &[&self.owner, &i32::from(KeyspaceSlices::COUNT), &self.lease.as_secs_f64(), &SILENCE_SECONDS];
        let rows = statement::rows(client, CLAIM, parameters).await?;
        let slices = rows.iter().map(|row| {
            let slice: i16 = statement::column(row, "slice")?;
            u8::try_from(slice).map_err(|error| SessionError::Unexpected(error.to_string()))
        });
        Ok(KeyspaceSlices::new(slices.collect::<Result<Vec<_>, _>>()?))
    }
}

/// Gives up all slices of an owner.
pub(super) async fn release(client: &Client, owner: &str) -> Result<(), SessionError> {
    statement::execute(client, "delete from keyspace_slices where owner = $1", &[&owner]).await?;
    Ok(())
}
