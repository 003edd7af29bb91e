//! Everything that is stored, as one JSON object a line.
//!
//! Torrents come in the order of their keys, read a batch at a time: memory is bounded by a batch, and torrents that
//! are stored meanwhile appear if their turn is still to come.

use std::io::{self, ErrorKind, Write};

use deadpool_postgres::Pool;
use serde::Serialize;
use tea_runtime::Session;

use crate::{
    db::{DatabaseError, ExportBatch, ExportRow, pool_error},
    file_list,
};

/// Torrents read at a time; a batch also ends at 8 MiB of packed files.
const BATCH: u32 = 500;

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The database did not go on.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// What was read is damaged.
    #[error("torrent {info_hash} cannot be exported: {why}")]
    Damaged {
        /// The torrent.
        info_hash: krpc::InfoHash,
        /// What is wrong.
        why: file_list::UnpackError,
    },
    /// The output took no more.
    #[error("the export cannot be written: {0}")]
    Output(#[source] io::Error),
}

/// What was exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Torrents written.
    pub torrents: u64,
    /// Whether whoever read the output had enough of it: no error.
    pub closed: bool,
}

/// One line.
#[derive(Serialize)]
struct Line<'a> {
    v1: Option<String>,
    v2: Option<String>,
    name: &'a str,
    total_size: u64,
    file_count: u32,
    piece_length: u64,
    private: bool,
    files: Vec<FileEntry>,
    added_at: String,
    discovered_by: &'static str,
    seeders: Option<u32>,
    leechers: Option<u32>,
    scraped_at: Option<String>,
    scraped_whole: Option<bool>,
}

#[derive(Serialize)]
struct FileEntry {
    path: Vec<String>,
    length: u64,
}

/// Writes all torrents. The output should be buffered.
///
/// # Errors
/// The database or the output failed; every whole line that was written is right.
pub async fn export(pool: &Pool, out: &mut impl Write) -> Result<Exported, ExportError> {
    let mut exported = Exported::default();
    let mut after = None;
    loop {
        let mut client = pool.get().await.map_err(|error| DatabaseError::from(pool_error(&error)))?;
        let rows = ExportBatch { after, limit: BATCH }.run(&mut client).await.map_err(DatabaseError::from)?;
        drop(client);
        let Some(last) = rows.last() else { break };
        after = Some(last.hashes.canonical());
        for row in &rows {
            match write_line(row, out)? {
                Written::Line => exported.torrents += 1,
                Written::Closed => return Ok(Exported { closed: true, ..exported }),
            }
        }
    }
    match closed_or(out.flush())? {
        Written::Line => Ok(exported),
        Written::Closed => Ok(Exported { closed: true, ..exported }),
    }
}

enum Written {
    Line,
    Closed,
}

fn write_line(row: &ExportRow, out: &mut impl Write) -> Result<Written, ExportError> {
    let info_hash = row.hashes.canonical();
    let files = file_list::unpack(row.files.fmt, &row.files.data)
        .map_err(|why| ExportError::Damaged { info_hash, why })?;
    let swarm = row.swarm.as_ref();
    let line = Line {
        v1: row.hashes.v1().map(|v1| v1.to_string()),
        v2: row.hashes.v2().map(|v2| v2.iter().map(|byte| format!("{byte:02x}")).collect()),
        name: &row.name,
        total_size: row.total_size,
        file_count: row.file_count,
        piece_length: row.piece_length,
        private: row.private,
        files: files.into_iter().map(|(path, length)| FileEntry { path, length }).collect(),
        added_at: humantime::format_rfc3339_micros(row.added_at).to_string(),
        discovered_by: row.discovered_by.as_str(),
        seeders: swarm.map(|swarm| swarm.size.seeders),
        leechers: swarm.map(|swarm| swarm.size.leechers),
        scraped_at: swarm.map(|swarm| humantime::format_rfc3339_micros(swarm.at).to_string()),
        scraped_whole: swarm.map(|swarm| swarm.size.whole),
    };
    let written = serde_json::to_writer(&mut *out, &line).map_err(io::Error::from);
    closed_or(written.and_then(|()| out.write_all(b"\n")))
}

/// `head` closes its input when it has enough: that is a normal end.
fn closed_or(outcome: io::Result<()>) -> Result<Written, ExportError> {
    match outcome {
        Ok(()) => Ok(Written::Line),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Written::Closed),
        Err(error) => Err(ExportError::Output(error)),
    }
}
