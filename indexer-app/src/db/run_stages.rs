//! What became of each stage of fetching in a run, and how long stages took.

use std::{collections::BTreeMap, time::Duration};

use deadpool_postgres::Client;
use tea_runtime::SessionError;

use super::{RunId, statement};

/// How often one stage was entered, and what came of it, since the run began:
/// `attempted` is the sum of `succeeded`, `in_flight` and all of `failed`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunStage {
    /// The stage, such as `handshake`.
    pub stage: String,
    /// What is counted of it.
    pub by: StageBy,
    /// How many entered it.
    pub attempted: u64,
    /// How many left it for the next.
    pub succeeded: u64,
    /// How many are in it.
    pub in_flight: u64,
    /// How many ended in it, by reason.
    pub failed: BTreeMap<String, u64>,
}

/// Which part of a stage a row counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StageBy {
    /// All of it.
    #[default]
    All,
    /// Connections by this transport.
    Transport(String),
    /// Connections to peers with this program.
    Client(String),
}

/// How long a stage took where it succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// The stage.
    pub stage: String,
    /// All times together.
    pub total: Duration,
    /// How many took so long, by [`bucket`](Self::bucket).
    pub buckets: [u64; Self::BUCKETS],
}

impl StageTimes {
    /// Buckets: up to 1 ms, 2 ms, 4 ms and so on up to 131 s, and one for what took longer.
    pub const BUCKETS: usize = 19;

    /// The bucket that counts this time.
    pub fn bucket(time: Duration) -> usize {
        // A time on a bound belongs to the bucket below it, as in Prometheus.
        let below = time.saturating_sub(Duration::from_nanos(1)).as_millis();
        let bits = u128::BITS - below.leading_zeros();
        usize::try_from(bits).map_or(Self::BUCKETS - 1, |bucket| bucket.min(Self::BUCKETS - 1))
    }

    /// The longest time that a bucket counts; `None`: there is no longest.
    pub fn bound(bucket: usize) -> Option<Duration> {
        (bucket + 1 < Self::BUCKETS).then(|| Duration::from_millis(1 << bucket))
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// So that a share of `part` took no longer: the bound of the bucket, or of the last one that has one.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let rank = (self.count() as f64 * part).ceil().max(1.0) as u64;
        let mut seen = 0;
        let at = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Self::bound(at.min(Self::BUCKETS - 2))
    }
}

const SAVE: &str = "
insert into run_stages as s (run, place, stage, transport, client, attempted, succeeded, in_flight, failed)
select r.id, place - 1, stage, transport, client, attempted, succeeded, in_flight, failed::jsonb
from unnest($2::text[], $3::text[], $4::text[], $5::int8[], $6::int8[], $7::int8[], $8::text[]) with ordinality
    as g (stage, transport, client, attempted, succeeded, in_flight, failed, place), runs r
where r.id = $1
on conflict (run, place) do update set stage = excluded.stage, transport = excluded.transport,
    client = excluded.client, attempted = excluded.attempted, succeeded = excluded.succeeded,
    in_flight = excluded.in_flight, failed = excluded.failed
where (s.stage, s.attempted, s.succeeded, s.in_flight, s.failed)
        is distinct from (excluded.stage, excluded.attempted, excluded.succeeded, excluded.in_flight, excluded.failed)
    or s.transport is distinct from excluded.transport or s.client is distinct from excluded.client";

const SAVE_TIMES: &str = "
insert into run_stage_times as t (run, stage, total_ms, buckets)
select r.id, g.stage, g.total_ms, g.buckets::int8[]
from runs r, unnest($2::text[], $3::int8[], $4::text[]) as g (stage, total_ms, buckets)
where r.id = $1
on conflict (run, stage) do update set total_ms = excluded.total_ms, buckets = excluded.buckets
where t.buckets <> excluded.buckets";

/// Writes the rows of a run, over those that it has written before: there are never fewer.
pub(super) async fn save(
    client: &Client,
    run: RunId,
    stages: &[RunStage],
    times: &[StageTimes],
) -> Result<(), SessionError> {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let failed = stages
        .iter()
        .map(|row| serde_json::to_string(&row.failed))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| SessionError::Unexpected(error.to_string()))?;
    statement::execute(
        client,
        SAVE,
        &[
            &run.0,
            &stages.iter().map(|row| row.stage.as_str()).collect::<Vec<_>>(),
            &stages.iter().map(|row| row.by.transport()).collect::<Vec<_>>(),
            &stages.iter().map(|row| row.by.client()).collect::<Vec<_>>(),
            &stages.iter().map(|row| number(row.attempted)).collect::<Vec<_>>(),
            &stages.iter().map(|row| number(row.succeeded)).collect::<Vec<_>>(),
            &stages.iter().map(|row| number(row.in_flight)).collect::<Vec<_>>(),
            &failed,
        ],
    )
    .await?;
    // PostgreSQL has no arrays of arrays of several lengths; as text an array is one value.
    let buckets = times.iter().map(|row| {
        let numbers: Vec<_> = row.buckets.iter().map(u64::to_string).collect();
        format!("{{{}}}", numbers.join(","))
    });
    statement::execute(
        client,
        SAVE_TIMES,
        &[
            &run.0,
            &times.iter().map(|row| row.stage.as_str()).collect::<Vec<_>>(),
            &times.iter().map(|row| number(row.total.as_millis() as u64)).collect::<Vec<_>>(),
            &buckets.collect::<Vec<_>>(),
        ],
    )
    .await?;
    Ok(())
}

const LOAD: &str = "
select run, stage, transport, client, attempted, succeeded, in_flight, failed::text as failed
from run_stages where run = any($1) order by run, place";

const LOAD_TIMES: &str = "
select run, stage, total_ms, buckets from run_stage_times where run = any($1) order by run, stage";

/// The stages of some runs, each with its run.
pub(super) async fn load(client: &Client, runs: &[i64]) -> Result<Vec<(RunId, RunStage)>, SessionError> {
    let rows = statement::rows(client, LOAD, &[&runs]).await?;
    rows.iter()
        .map(|row| {
            let failed: &str = statement::column(row, "failed")?;
            let transport: Option<String> = statement::column(row, "transport")?;
            let client: Option<String> = statement::column(row, "client")?;
            let stage = RunStage {
                stage: statement::column(row, "stage")?,
                by: match (transport, client) {
                    (Some(transport), _) => StageBy::Transport(transport),
                    (None, Some(client)) => StageBy::Client(client),
                    (None, None) => StageBy::All,
                },
                attempted: statement::count(row, "attempted")?,
                succeeded: statement::count(row, "succeeded")?,
                in_flight: statement::count(row, "in_flight")?,
                failed: serde_json::from_str(failed)
                    .map_err(|error| SessionError::Unexpected(error.to_string()))?,
            };
            Ok((RunId(statement::column(row, "run")?), stage))
        })
        .collect()
}

/// The times of some runs, each with its run.
pub(super) async fn load_times(
    client: &Client,
    runs: &[i64],
) -> Result<Vec<(RunId, StageTimes)>, SessionError> {
    let rows = statement::rows(client, LOAD_TIMES, &[&runs]).await?;
    rows.iter()
        .map(|row| {
            let mut buckets = [0; StageTimes::BUCKETS];
            let stored: Vec<i64> = statement::column(row, "buckets")?;
            for (bucket, number) in buckets.iter_mut().zip(stored) {
                *bucket = u64::try_from(number).unwrap_or_default();
            }
            let times = StageTimes {
                stage: statement::column(row, "stage")?,
                total: Duration::from_millis(statement::count(row, "total_ms")?),
                buckets,
            };
            Ok((RunId(statement::column(row, "run")?), times))
        })
        .collect()
}

impl StageBy {
    /// The transport, if it is that of one.
    pub fn transport(&self) -> Option<&str> {
        match self {
            Self::Transport(name) => Some(name),
            _ => None,
        }
    }

    /// The program, if it is that of one.
    pub fn client(&self) -> Option<&str> {
        match self {
            Self::Client(name) => Some(name),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_has_the_bucket_whose_bounds_it_lies_between() {
        for (micros, bucket) in
            [(0, 0), (999, 0), (1_000, 0), (1_001, 1), (2_000, 1), (2_001, 2), (4_000, 2), (5_000_000, 13)]
        {
            let time = Duration::from_micros(micros);
            assert_eq!(StageTimes::bucket(time), bucket, "{time:?}");
            assert!(StageTimes::bound(bucket).is_some_and(|bound| time <= bound));
        }
        assert_eq!(StageTimes::bucket(Duration::MAX), StageTimes::BUCKETS - 1);
        assert_eq!(StageTimes::bound(StageTimes::BUCKETS - 1), None);
        assert_eq!(StageTimes::bound(StageTimes::BUCKETS - 2), Some(Duration::from_millis(131_072)));
    }

    #[test]
    fn a_quantile_is_the_bound_of_the_bucket_that_it_falls_into() {
        let mut times = StageTimes::default();
        assert_eq!(times.quantile(0.5), None);
        times.buckets[3] = 9;
        times.buckets[10] = 1;
        assert_eq!(times.quantile(0.5), Some(Duration::from_millis(8)));
        assert_eq!(times.quantile(0.9), Some(Duration::from_millis(8)));
        assert_eq!(times.quantile(0.95), Some(Duration::from_millis(1_024)));
    }
}
