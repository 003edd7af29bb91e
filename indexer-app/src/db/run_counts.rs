//! What a run counts beside its work: where new hashes came from, what packets were for, why datagrams were dropped.

use std::fmt;

use deadpool_postgres::Client;
use tea_runtime::{Session, SessionError};

use super::{RunId, RunStage, StageTimes, run_stages, statement};

/// One number of a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunCount {
    /// What is counted, such as `new hashes`.
    pub about: String,
    /// Which of them, such as `sampled`.
    pub name: String,
    /// How many since the run began.
    pub number: u64,
}

/// Writes the numbers of a run, over those of its last report. Some hundred rows.
pub struct SaveRunCounts {
    /// The run.
    pub run: RunId,
    /// Each name once.
    pub counts: Vec<RunCount>,
    /// What became of each stage of fetching.
    pub stages: Vec<RunStage>,
    /// How long these took, each stage once.
    pub times: Vec<StageTimes>,
}

impl fmt::Debug for SaveRunCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SaveRunCounts(run {}, {} counts)", self.run, self.counts.len())
    }
}

// A run that was tidied away meanwhile gets no rows.
const SAVE: &str = "
insert into run_counts as c (run, about, name, number)
select r.id, g.about, g.name, g.number
from runs r, unnest($2::text[], $3::text[], $4::int8[]) as g (about, name, number)
where r.id = $1
on conflict (run, about, name) do update set number = excluded.number where c.number <> excluded.number";

impl Session for SaveRunCounts {
    type Client = Client;
    type Output = ();

    async fn run(self, client: &mut Client) -> Result<(), SessionError> {
        statement::execute(
            client,
            SAVE,
            &[
                &self.run.0,
                &self.counts.iter().map(|count| count.about.as_str()).collect::<Vec<_>>(),
                &self.counts.iter().map(|count| count.name.as_str()).collect::<Vec<_>>(),
                &self
                    .counts
                    .iter()
                    .map(|count| i64::try_from(count.number).unwrap_or(i64::MAX))
                    .collect::<Vec<_>>(),
            ],
        )
        .await?;
        run_stages::save(client, self.run, &self.stages, &self.times).await
    }
}

const LOAD: &str = "
select run, about, name, number from run_counts where run = any($1) order by run, about, name";

/// The numbers of some runs, each with its run.
pub(super) async fn load(client: &Client, runs: &[i64]) -> Result<Vec<(RunId, RunCount)>, SessionError> {
    let rows = statement::rows(client, LOAD, &[&runs]).await?;
    rows.iter()
        .map(|row| {
            let count = RunCount {
                about: statement::column(row, "about")?,
                name: statement::column(row, "name")?,
                number: statement::count(row, "number")?,
            };
            Ok((RunId(statement::column(row, "run")?), count))
        })
        .collect()
}
