//! What the database says of torrents that somebody else says something of, too.

use std::{collections::HashMap, fmt};

use deadpool_postgres::Client;
use krpc::InfoHash;
use tea_runtime::{Session, SessionError};

use super::{Listing, NewTorrent, statement};

/// What two that speak of one torrent must agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// SHA-256 of the info dict; `None`: not known, or there is none.
    pub v2: Option<[u8; 32]>,
    /// The name, unless its text is a guess.
    pub name: Option<String>,
    /// Bytes and number of all files, if all are listed.
    pub files: Option<(u64, u32)>,
    /// Bytes in a piece, if known.
    pub piece_length: Option<u64>,
    /// The private flag, if known.
    pub private: Option<bool>,
}

impl Facts {
    /// Of a torrent that is to be stored.
    pub fn of(torrent: &NewTorrent) -> Self {
        Self {
            v2: torrent.hashes.v2(),
            name: torrent.name_raw.is_none().then(|| super::storable(&torrent.name).into_owned()),
            files: (torrent.listing == Listing::Whole).then(|| (torrent.total_size, torrent.file_count())),
            piece_length: torrent.piece_length,
            private: torrent.private,
        }
    }

    /// What the two do not agree on; `None`: what both know is the same.
    pub fn contradiction(&self, other: &Self) -> Option<&'static str> {
        fn differ<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
            one.zip(other).is_some_and(|(one, other)| one != other)
        }
        if differ(self.v2.as_ref(), other.v2.as_ref()) {
            Some("another v2 hash")
        } else if differ(self.files.as_ref(), other.files.as_ref()) {
            Some("another size or number of files")
        } else if differ(self.piece_length.as_ref(), other.piece_length.as_ref()) {
            Some("another piece length")
        } else if differ(self.private.as_ref(), other.private.as_ref()) {
            Some("another private flag")
        } else if differ(self.name.as_ref(), other.name.as_ref()) {
            Some("another name")
        } else {
            None
        }
    }
}

/// Reads what is stored of torrents, by their keys or aliases.
pub struct StoredFacts(
    /// The keys.
    pub Vec<InfoHash>,
);

impl fmt::Debug for StoredFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredFacts({} keys)", self.0.len())
    }
}

const FACTS: &str = "
with found as (
    select info_hash as key, info_hash from torrents where info_hash = any($1)
    union all select alias, info_hash from aliases where alias = any($1)
)
select f.key, t.v2, case when t.name_raw is null then t.name end as name, t.total_size, t.file_count, t.files_whole,
    t.piece_length, t.private
from found f join torrents t using (info_hash)";

impl Session for StoredFacts {
    type Client = Client;
    /// Of those that are stored.
    type Output = HashMap<InfoHash, Facts>;

    async fn run(self, client: &mut Client) -> Result<Self::Output, SessionError> {
        let keys: Vec<&[u8]> = self.0.iter().map(|key| key.as_bytes().as_slice()).collect();
        let rows = statement::rows(client, FACTS, &[&keys]).await?;
        rows.iter()
            .map(|row| {
                let files = (
                    statement::count(row, "total_size")?,
                    u32::try_from(statement::column::<i32>(row, "file_count")?).unwrap_or(0),
                );
                let facts = Facts {
                    v2: statement::column::<Option<&[u8]>>(row, "v2")?.and_then(|v2| v2.try_into().ok()),
                    name: statement::column(row, "name")?,
                    files: statement::column::<bool>(row, "files_whole")?.then_some(files),
                    piece_length: statement::known_count(row, "piece_length")?,
                    private: statement::column(row, "private")?,
                };
                Ok((statement::key(row, "key")?, facts))
            })
            .collect()
    }
}
