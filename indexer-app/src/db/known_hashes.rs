//! Which info-hashes need no work.

use std::{collections::HashMap, fmt};

use deadpool_postgres::Client;
use krpc::InfoHash;
use tea_runtime::{Session, SessionError};

use super::statement;

/// Asks what the database knows of info-hashes; 1000 at a time cost 3 ms.
pub struct KnownHashes(
    /// The hashes; one that occurs twice is answered twice.
    pub Vec<InfoHash>,
);

/// What the database knows of an info-hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Known {
    /// Nothing.
    No,
    /// It is the key or an alias of a stored torrent.
    Stored,
    /// It is in the backlog and may be tried now.
    Due,
    /// It is in the backlog and is to be left alone for now: it was tried in vain, or somebody is trying it.
    Waiting,
    /// It is never to be fetched: it was deleted or banned, or stands for no torrent.
    Buried,
}

impl fmt::Debug for KnownHashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KnownHashes({} hashes)", self.0.len())
    }
}

const KNOWN: &str = "
select info_hash, 0::int2 as state from torrents where info_hash = any($1)
union all select alias, 0::int2 from aliases where alias = any($1)
union all select info_hash, 3::int2 from tombstones where info_hash = any($1)
union all select info_hash, case when due <= now() then 1::int2 else 2::int2 end from backlog
    where info_hash = any($1)";

impl Session for KnownHashes {
    type Client = Client;
    /// In the order of the question.
    type Output = Vec<(InfoHash, Known)>;

    async fn run(self, client: &mut Client) -> Result<Self::Output, SessionError> {
        let keys: Vec<&[u8]> = self.0.iter().map(|hash| hash.as_bytes().as_slice()).collect();
        let rows = statement::rows(client, KNOWN, &[&keys]).await?;
        let mut known: HashMap<InfoHash, Known> = HashMap::with_capacity(rows.len());
        for row in &rows {
            let state = match statement::column::<i16>(row, "state")? {
                0 => Known::Stored,
                1 => Known::Due,
                2 => Known::Waiting,
                _ => Known::Buried,
            };
            let slot = known.entry(statement::key(row, "info_hash")?).or_insert(state);
            // A banned one may be stored still, a stored one wait still.
            if state == Known::Buried || (state == Known::Stored && *slot != Known::Buried) {
                *slot = state;
            }
        }
        Ok(self.0.into_iter().map(|hash| (hash, known.get(&hash).copied().unwrap_or(Known::No))).collect())
    }
}
