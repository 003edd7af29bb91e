//! Hashes that a user waits for: asking for them, and following what becomes of them.

use std::{collections::HashMap, fmt, net::SocketAddr, time::Duration};

use deadpool_postgres::Client;
use krpc::InfoHash;
use serde::{Deserialize, Serialize};
use tea_runtime::{Session, SessionError};

use super::{
    BacklogNew, BacklogPut, RunId, Taken,
    backlog::{taken_row, write_hints},
    claims, statement,
};

/// Puts hashes into the backlog before all others, and makes those due at once that wait for another try.
pub struct RequestHashes {
    /// The hashes, each with the peers that the user has named for it.
    pub wanted: Vec<(InfoHash, Vec<SocketAddr>)>,
}

impl RequestHashes {
    /// Peers kept of one hash: as many as hints.
    pub const PEERS_MAX: usize = BacklogNew::HINTS_MAX;
}

impl fmt::Debug for RequestHashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestHashes({} hashes)", self.wanted.len())
    }
}

// What somebody is fetching stays with him.
const TOUCH: &str = "
with given as (
    select distinct on (info_hash) * from unnest($1::bytea[], $2::bytea[]) as g (info_hash, peers)
), held as (
    select b.info_hash, g.peers from backlog b join given g using (info_hash) order by b.info_hash for update of b
)
update backlog b set due = case when b.owner is null then least(b.due, now()) else b.due end,
    peers = case when h.peers = '' then b.peers else h.peers end
from held h where b.info_hash = h.info_hash";

impl Session for RequestHashes {
    type Client = Client;
    type Output = ();

    async fn run(self, client: &mut Client) -> Result<(), SessionError> {
        let entries = self.wanted.iter().map(|(hash, _)| BacklogNew::requested(*hash)).collect();
        BacklogPut { entries, room: None }.run(client).await?;
        let peers: Vec<Vec<u8>> = self.wanted.iter().map(|(_, peers)| write_hints(peers)).collect();
        let keys: Vec<&[u8]> = self.wanted.iter().map(|(hash, _)| hash.as_bytes().as_slice()).collect();
        statement::execute(client, TOUCH, &[&keys, &peers]).await?;
        Ok(())
    }
}

/// Takes these hashes and no others, as [`BacklogTake`](super::BacklogTake) does.
#[derive(Clone, Debug)]
pub struct BacklogTakeThese {
    /// The hashes.
    pub hashes: Vec<InfoHash>,
    /// Who takes them.
    pub owner: String,
    /// How long they are his.
    pub lease: Duration,
}

const TAKE: &str = "
with next as materialized (
    select info_hash from backlog where info_hash = any($1) and due <= now() order by info_hash for update skip locked
)
update backlog b set due = now() + make_interval(secs => $2), taken_at = now(), owner = $3, progress = null
from next where b.info_hash = next.info_hash
returning b.info_hash, b.source, b.tries, b.hints, b.peers";

impl Session for BacklogTakeThese {
    type Client = Client;
    type Output = Vec<Taken>;

    async fn run(self, client: &mut Client) -> Result<Vec<Taken>, SessionError> {
        let keys: Vec<&[u8]> = self.hashes.iter().map(|hash| hash.as_bytes().as_slice()).collect();
        let rows = statement::rows(client, TAKE, &[&keys, &self.lease.as_secs_f64(), &self.owner]).await?;
        rows.iter().map(taken_row).collect()
    }
}

/// How far a fetch is, as whoever fetches tells about once a second. Kept as JSON: what is missing is as if it were nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FetchProgress {
    /// Peers named so far.
    pub peers: u32,
    /// Connections made or being made so far.
    pub connects: u32,
    /// Connections that stand, by transport.
    pub transports: Vec<String>,
    /// Bytes received.
    pub bytes: u64,
    /// Pieces of the info dict that came.
    pub pieces: u64,
    /// Nodes are being asked for peers.
    pub looking: bool,
}

/// What has become of a hash that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requested {
    /// It is stored.
    Stored,
    /// It is in nobody's hand.
    Waiting {
        /// Failed fetches so far.
        tries: u16,
        /// Why the last one failed.
        reason: Option<String>,
        /// Until the next one.
        due_in: Duration,
    },
    /// Somebody is fetching it.
    InHand {
        /// For how long.
        since: Duration,
        /// What he tells.
        progress: FetchProgress,
    },
    /// It is neither stored nor waited for: it is no torrent that can be stored, or it was deleted or banned.
    Gone,
}

/// Looks what has become of hashes.
#[derive(Debug)]
pub struct FollowRequests {
    /// The hashes.
    pub hashes: Vec<InfoHash>,
}

const FOLLOW: &str = "
select h.key, (t.info_hash is not null or a.alias is not null) as stored, b.info_hash is not null as listed, b.tries,
    b.reason, b.owner is not null and b.due > now() as taken, b.progress,
    greatest(extract(epoch from b.due - now()), 0)::float8 as due_in,
    greatest(extract(epoch from now() - b.taken_at), 0)::float8 as taken_for
from unnest($1::bytea[]) as h (key)
left join torrents t on t.info_hash = h.key
left join aliases a on a.alias = h.key
left join backlog b on b.info_hash = h.key";

impl Session for FollowRequests {
    type Client = Client;
    type Output = HashMap<InfoHash, Requested>;

    async fn run(self, client: &mut Client) -> Result<Self::Output, SessionError> {
        let keys: Vec<&[u8]> = self.hashes.iter().map(|hash| hash.as_bytes().as_slice()).collect();
        let seconds = |row: &tokio_postgres::Row, name| -> Result<Duration, SessionError> {
            let seconds = statement::column::<Option<f64>>(row, name)?.unwrap_or(0.0);
            Ok(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
        };
        let mut found = HashMap::with_capacity(keys.len());
        for row in &statement::rows(client, FOLLOW, &[&keys]).await? {
            let state = if statement::column(row, "stored")? {
                Requested::Stored
            } else if !statement::column::<bool>(row, "listed")? {
                Requested::Gone
            } else if statement::column(row, "taken")? {
                let progress: Option<&str> = statement::column(row, "progress")?;
                Requested::InHand {
                    since: seconds(row, "taken_for")?,
                    // Another version of this program may tell in other words.
                    progress: progress.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default(),
                }
            } else {
                Requested::Waiting {
                    tries: u16::try_from(statement::column::<i16>(row, "tries")?).unwrap_or(0),
                    reason: statement::column(row, "reason")?,
                    due_in: seconds(row, "due_in")?,
                }
            };
            found.insert(statement::key(row, "key")?, state);
        }
        Ok(found)
    }
}

/// Tells how far the fetches are that users wait for.
pub struct SaveProgress {
    /// Who fetches them.
    pub owner: String,
    /// How far each is.
    pub progress: Vec<(InfoHash, FetchProgress)>,
}

impl fmt::Debug for SaveProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SaveProgress({} hashes)", self.progress.len())
    }
}

const PROGRESS: &str = "
with given as (
    select * from unnest($1::bytea[], $2::text[]) as g (info_hash, progress)
), held as (
    select b.info_hash, g.progress from backlog b join given g using (info_hash)
    where b.owner = $3 order by b.info_hash for update of b
)
update backlog b set progress = h.progress from held h where b.info_hash = h.info_hash";

impl Session for SaveProgress {
    type Client = Client;
    type Output = ();

    async fn run(self, client: &mut Client) -> Result<(), SessionError> {
        let texts = self
            .progress
            .iter()
            .map(|(_, progress)| serde_json::to_string(progress))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| SessionError::Unexpected(error.to_string()))?;
        let keys: Vec<&[u8]> = self.progress.iter().map(|(hash, _)| hash.as_bytes().as_slice()).collect();
        statement::execute(client, PROGRESS, &[&keys, &texts, &self.owner]).await?;
        Ok(())
    }
}

/// How [`RunStart::by_whom`](super::RunStart) begins of a run that only fetches what its user asked for.
pub const FETCH_RUN: &str = "fetch: ";

/// Whether an indexer runs on this database that takes requests.
#[derive(Clone, Copy, Debug)]
pub struct IndexerRuns;

impl Session for IndexerRuns {
    type Client = Client;
    /// Who, if one does.
    type Output = Option<String>;

    async fn run(self, client: &mut Client) -> Result<Option<String>, SessionError> {
        let sql = "
select id, by_whom from runs where stopped_at is null and not starts_with(by_whom, $1) order by id desc limit 100";
        let rows = statement::rows(client, sql, &[&FETCH_RUN]).await?;
        let open = rows
            .iter()
            .map(|row| Ok((RunId(statement::column(row, "id")?), statement::column(row, "by_whom")?)))
            .collect::<Result<Vec<(RunId, String)>, SessionError>>()?;
        let ids: Vec<RunId> = open.iter().map(|(id, _)| *id).collect();
        let claimed = claims::claimed(client, &ids).await?;
        Ok(open.into_iter().find(|(id, _)| claimed.contains(id)).map(|(_, by_whom)| by_whom))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_in_other_words_is_read_as_far_as_it_goes() {
        let progress = FetchProgress { peers: 3, looking: true, ..FetchProgress::default() };
        let text = serde_json::to_string(&progress).unwrap();
        assert_eq!(serde_json::from_str::<FetchProgress>(&text).unwrap(), progress);
        let other: FetchProgress = serde_json::from_str(r#"{"peers": 3, "mood": "good"}"#).unwrap();
        assert_eq!(other, FetchProgress { peers: 3, ..FetchProgress::default() });
    }
}
