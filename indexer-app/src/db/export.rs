//! Reading torrents in the order of their keys, a bounded batch at a time: all of them, or those that are new.
//!
//! What is new is told by transactions, not by times: a torrent has the number of the transaction that stored it. At any
//! moment there is an oldest transaction that still runs; whatever a transaction below it has stored is there for good, and
//! whatever is stored from now on has that number or a higher one. So a cursor is such a number: what lies between
//! two cursors is fixed, however late a row is committed and whatever time it was stored with, and a long transaction of
//! somebody else only delays what is new.

use std::{fmt, str::FromStr};

use deadpool_postgres::{Client, Object, Pool};
use krpc::InfoHash;
use tea_runtime::{Session, SessionError};

use super::{
    Discovery, Hashes, ObservedSwarm,
    error::{pool_error, session_error},
    scrapes,
    show::hashes,
    statement,
};
use crate::file_list::Packed;

/// Packed bytes after which a batch is full: file lists of 200,000 files exist.
const BATCH_BYTES_MAX: i64 = 8 << 20;

/// A point in the history of one database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportCursor {
    /// The cluster's own number: a copy that was made by dump and restore has another, and counts its transactions
    /// from the start.
    cluster: i64,
    /// Torrents that were stored by transactions below it lie before the cursor.
    transaction: i64,
}

impl fmt::Display for ExportCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.cluster, self.transaction)
    }
}

impl FromStr for ExportCursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let problem = || format!("{text:?} is no cursor: it is what an export says at its end");
        let (cluster, transaction) = text.trim().split_once('-').ok_or_else(problem)?;
        let cluster = u64::from_str_radix(cluster, 16).map_err(|_| problem())?;
        let transaction =
            transaction.parse::<i64>().ok().filter(|number| *number >= 0).ok_or_else(problem)?;
        Ok(Self { cluster: cluster.cast_signed(), transaction })
    }
}

impl ExportCursor {
    /// Whether both are points in the history of one cluster.
    pub fn is_of_cluster_of(&self, other: &Self) -> bool {
        self.cluster == other.cluster
    }
}

/// Reads where the history of the database stands.
#[derive(Clone, Copy, Debug)]
pub struct ExportNow;

const NOW: &str = "
select (select system_identifier from pg_control_system()) as cluster,
    pg_snapshot_xmin(pg_current_snapshot())::text::int8 as transaction,
    greatest((select reltuples from pg_class where oid = 'torrents'::regclass), 0)::int8 as torrents";

impl Session for ExportNow {
    type Client = Client;
    /// The cursor, and about how many torrents there are.
    type Output = (ExportCursor, u64);

    async fn run(self, client: &mut Client) -> Result<Self::Output, SessionError> {
        let row = statement::row(client, NOW, &[]).await?;
        let cursor = ExportCursor {
            cluster: statement::column(&row, "cluster")?,
            transaction: statement::column(&row, "transaction")?,
        };
        Ok((cursor, statement::count(&row, "torrents")?))
    }
}

/// Which torrents are read.
#[derive(Clone, Debug)]
pub enum ExportBatch {
    /// Those that come after a key.
    After {
        /// The last key of the batch before; `None`: from the start.
        key: Option<InfoHash>,
        /// How many at most.
        limit: u32,
    },
    /// These, of which those that are not there any more are left out.
    Keys(
        /// In order.
        Vec<InfoHash>,
    ),
}

/// A torrent as it stands in the database.
#[derive(Clone, PartialEq)]
pub struct ExportRow {
    /// Its hashes.
    pub hashes: Hashes,
    /// Its name.
    pub name: String,
    /// The name's bytes, when its text is not all of it.
    pub name_raw: Option<Vec<u8>>,
    /// Bytes in all files.
    pub total_size: u64,
    /// How many files, as far as is known.
    pub file_count: u32,
    /// Whether all of them are listed.
    pub files_whole: bool,
    /// Bytes in a piece.
    pub piece_length: Option<u64>,
    /// Number of pieces.
    pub piece_count: Option<u32>,
    /// Only its own trackers may be asked for peers.
    pub private: Option<bool>,
    /// `source` of the info dict.
    pub source: Option<String>,
    /// How we came to know of it.
    pub discovered_by: Discovery,
    /// When it was stored.
    pub added_at: std::time::SystemTime,
    /// What was observed of it; `None`: that is lost.
    pub observed: Option<Observed>,
    /// Its files; `None`: it is one, named as itself.
    pub files: Option<Packed>,
}

/// What was observed of a torrent since it is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observed {
    /// When it was last seen.
    pub last_seen: std::time::SystemTime,
    /// How often it was seen.
    pub seen_count: u64,
    /// Its score, and when it weighed so much.
    pub score: (f64, std::time::SystemTime),
    /// How many take part, as last told.
    pub swarm: Option<ObservedSwarm>,
}

impl fmt::Debug for ExportRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExportRow({} {:?}, {} files)", self.hashes.canonical(), self.name, self.file_count)
    }
}

fn batch(which: &str) -> String {
    let query = format!(
        "select t.info_hash, t.v2, t.name, t.name_raw, t.total_size, t.file_count, t.files_whole, t.piece_length,
            t.piece_count, t.private, t.source, t.discovered_by, t.added_at, f.fmt, f.data, s.last_seen,
            s.seen_count::int8, s.score::float8, s.score_at, s.seeders, s.leechers, s.scrape_nodes, s.scrape_whole,
            s.scraped_at, coalesce(octet_length(f.data), 0) + octet_length(t.name) as bytes
        from (select * from torrents where {which}) t
        left join torrent_files f using (info_hash)
        left join torrent_stats s using (info_hash)"
    );
    statement::within_bytes(&query, "info_hash", "$2")
}

const AFTER: &str = "info_hash > $1 order by info_hash limit $3";
const OF_KEYS: &str = "info_hash = any($1)";

impl Session for ExportBatch {
    type Client = Client;
    /// In the order of their keys; empty at the end. After [`ExportBatch::Keys`] fewer may have come than were asked for:
    /// whatever comes after the last of them is still to be read.
    type Output = Vec<ExportRow>;

    async fn run(self, client: &mut Client) -> Result<Vec<ExportRow>, SessionError> {
        let rows = match &self {
            Self::After { key, limit } => {
                let after = key.as_ref().map_or(&[][..], |key| key.as_bytes().as_slice());
                statement::rows(client, &batch(AFTER), &[&after, &BATCH_BYTES_MAX, &i64::from(*limit)])
                    .await?
            }
            Self::Keys(keys) => {
                let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes().as_slice()).collect();
                statement::rows(client, &batch(OF_KEYS), &[&keys, &BATCH_BYTES_MAX]).await?
            }
        };
        rows.iter()
            .map(|row| {
                Ok(ExportRow {
                    hashes: hashes(row)?,
                    name: statement::column(row, "name")?,
                    name_raw: statement::column(row, "name_raw")?,
                    total_size: statement::count(row, "total_size")?,
                    file_count: u32::try_from(statement::column::<i32>(row, "file_count")?).unwrap_or(0),
                    files_whole: statement::column(row, "files_whole")?,
                    piece_length: statement::known_count(row, "piece_length")?,
                    piece_count: statement::column::<Option<i32>>(row, "piece_count")?
                        .map(|count| u32::try_from(count).unwrap_or(0)),
                    private: statement::column(row, "private")?,
                    source: statement::column(row, "source")?,
                    discovered_by: Discovery::from_code(statement::column(row, "discovered_by")?),
                    added_at: statement::column(row, "added_at")?,
                    observed: observed(row)?,
                    files: match statement::column(row, "fmt")? {
                        Some(fmt) => Some(Packed { fmt, data: statement::column(row, "data")? }),
                        None => None,
                    },
                })
            })
            .collect()
    }
}

fn observed(row: &tokio_postgres::Row) -> Result<Option<Observed>, SessionError> {
    let Some(last_seen) = statement::column(row, "last_seen")? else { return Ok(None) };
    Ok(Some(Observed {
        last_seen,
        seen_count: statement::count(row, "seen_count")?,
        score: (statement::column(row, "score")?, statement::column(row, "score_at")?),
        swarm: scrapes::observed(row)?,
    }))
}

/// The keys of the torrents between two cursors, in order. Has a connection for itself, closed with it.
pub struct NewKeys {
    client: deadpool_postgres::ClientWrapper,
}

impl fmt::Debug for NewKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewKeys")
    }
}

impl NewKeys {
    /// Begins to read them. The server sorts them, on its disk when they are many.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn open(
        pool: &Pool,
        since: &ExportCursor,
        until: &ExportCursor,
        after: Option<InfoHash>,
    ) -> Result<Self, SessionError> {
        // Not given back to the pool: it has a transaction open.
        let client = Object::take(pool.get().await.map_err(|error| pool_error(&error))?);
        let after = after.map_or_else(String::new, |key| key.to_string());
        // A cursor takes no parameters; these are numbers and hexadecimal digits of our own making.
        let declare = format!(
            "begin isolation level repeatable read read only;
             -- All of them are wanted, not the first few soon.
             set local cursor_tuple_fraction = 1;
             declare new_keys no scroll cursor for
                select info_hash from torrents
                where stored_in >= {} and stored_in < {} and info_hash > '\\x{after}'::bytea order by info_hash",
            since.transaction, until.transaction
        );
        client.batch_execute(&declare).await.map_err(|error| session_error(&error))?;
        Ok(Self { client })
    }

    /// The next ones; empty at the end.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn next(&mut self, limit: u32) -> Result<Vec<InfoHash>, SessionError> {
        let rows = self.client.query(&format!("fetch {limit} from new_keys"), &[]).await;
        let rows = rows.map_err(|error| session_error(&error))?;
        rows.iter().map(|row| statement::key(row, "info_hash")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        for (cluster, transaction) in [(7, 0), (-1, i64::MAX), (i64::MIN, 12)] {
            let cursor = ExportCursor { cluster, transaction };
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for odd in ["", "12", "x-1", "1-", "1--1", "1-99999999999999999999", "-1-1"] {
            assert!(odd.parse::<ExportCursor>().is_err(), "{odd}");
        }
    }
}
