//! Reading all torrents in the order of their keys, a bounded batch at a time.

use std::fmt;

use deadpool_postgres::Client;
use krpc::InfoHash;
use tea_runtime::{Session, SessionError};

use super::{Discovery, Hashes, ObservedSwarm, scrapes, show::hashes, statement};
use crate::file_list::Packed;

/// Packed bytes after which a batch is full: file lists of 200,000 files exist.
const BATCH_BYTES_MAX: i64 = 8 << 20;

/// Reads the torrents that come after a key.
#[derive(Clone, Copy, Debug)]
pub struct ExportBatch {
    /// The last key of the batch before; `None`: from the start.
    pub after: Option<InfoHash>,
    /// How many at most.
    pub limit: u32,
}

/// A torrent as it stands in the database.
#[derive(Clone, PartialEq)]
pub struct ExportRow {
    /// Its hashes.
    pub hashes: Hashes,
    /// Its name.
    pub name: String,
    /// Bytes in all files.
    pub total_size: u64,
    /// How many files.
    pub file_count: u32,
    /// Bytes in a piece.
    pub piece_length: u64,
    /// Only its own trackers may be asked for peers.
    pub private: bool,
    /// How we came to know of it.
    pub discovered_by: Discovery,
    /// When it was stored.
    pub added_at: std::time::SystemTime,
    /// How many take part, as last told.
    pub swarm: Option<ObservedSwarm>,
    /// Its files.
    pub files: Packed,
}

impl fmt::Debug for ExportRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExportRow({} {:?}, {} files)", self.hashes.canonical(), self.name, self.file_count)
    }
}

// The first row always comes, however long it is; after that rows until the bytes are used up.
const BATCH: &str = "
select * from (
    select t.info_hash, t.v2, t.name, t.total_size, t.file_count, t.piece_length, t.private, t.discovered_by,
        t.added_at, f.fmt, f.data, s.seeders, s.leechers, s.scrape_nodes, s.scrape_whole, s.scraped_at,
        sum(octet_length(f.data) + octet_length(t.name)) over (order by t.info_hash) - octet_length(f.data) as before
    from (select * from torrents where info_hash > $1 order by info_hash limit $2) t
    join torrent_files f using (info_hash)
    left join torrent_stats s using (info_hash)
) b where before <= $3 order by info_hash";

impl Session for ExportBatch {
    type Client = Client;
    /// In the order of their keys; empty at the end.
    type Output = Vec<ExportRow>;

    async fn run(self, client: &mut Client) -> Result<Vec<ExportRow>, SessionError> {
        let after = self.after.as_ref().map_or(&[][..], |key| key.as_bytes().as_slice());
        let rows =
            statement::rows(client, BATCH, &[&after, &i64::from(self.limit), &BATCH_BYTES_MAX]).await?;
        rows.iter()
            .map(|row| {
                Ok(ExportRow {
                    hashes: hashes(row)?,
                    name: statement::column(row, "name")?,
                    total_size: statement::count(row, "total_size")?,
                    file_count: u32::try_from(statement::column::<i32>(row, "file_count")?).unwrap_or(0),
                    piece_length: statement::count(row, "piece_length")?,
                    private: statement::column(row, "private")?,
                    discovered_by: Discovery::from_code(statement::column(row, "discovered_by")?),
                    added_at: statement::column(row, "added_at")?,
                    swarm: scrapes::observed(row)?,
                    files: Packed {
                        fmt: statement::column(row, "fmt")?,
                        data: statement::column(row, "data")?,
                    },
                })
            })
            .collect()
    }
}
