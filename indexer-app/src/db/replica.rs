//! How far a database that follows another one is behind it.

use std::time::Duration;

use deadpool_postgres::Client;
use tea_runtime::{Session, SessionError};

use super::statement;

/// Asks a database whether it follows another one.
#[derive(Clone, Copy, Debug)]
pub struct ReplicaState;

/// A physical replica against its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// Whether it is connected to its source.
    pub follows: bool,
    /// How old the newest transaction is that it shows, if it may lack newer ones; `None`: it cannot tell.
    pub behind: Option<Duration>,
}

// While nothing is written there is nothing to lack, however long ago the last transaction was.
const STATE: &str = "
select follows, case when follows and received is not distinct from shown then 0
    else extract(epoch from now() - pg_last_xact_replay_timestamp()) end::float8 as behind
from (select exists (select from pg_stat_wal_receiver) as follows, pg_last_wal_receive_lsn() as received,
    pg_last_wal_replay_lsn() as shown) w
where pg_is_in_recovery()";

impl Session for ReplicaState {
    type Client = Client;
    /// `None`: it follows nobody, or not physically.
    type Output = Option<Delay>;

    async fn run(self, client: &mut Client) -> Result<Option<Delay>, SessionError> {
        let rows = statement::rows(client, STATE, &[]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let behind = statement::column::<Option<f64>>(row, "behind")?
            .and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok());
        Ok(Some(Delay { follows: statement::column(row, "follows")?, behind }))
    }
}
