//! Everything that is stored, as one JSON object a line.
//!
//! Torrents come in the order of their keys, read a batch at a time: memory is bounded by a batch, and torrents that
//! are stored meanwhile appear if their turn is still to come.

use std::io::{self, ErrorKind, Write};

use deadpool_postgres::Pool;
use tea_runtime::Session;

use super::line;
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

/// Writes all torrents. The output should be buffered.
///
/// # Errors
/// The database or the output failed; every whole line that was written is right.
pub async fn export(pool: &Pool, out: &mut impl Write) -> Result<Exported, ExportError> {
    let mut exported = Exported::default();
    let mut after = None;
    loop {
        let mut client = pool.get().await.map_err(|error| DatabaseError::from(pool_error(&error)))?;
        let rows = ExportBatch::After { key: after, limit: BATCH }
            .run(&mut client)
            .await
            .map_err(DatabaseError::from)?;
        drop(client);
        let Some(last) = rows.last() else { break };
        after = Some(last.hashes.canonical());
        for row in rows {
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

fn write_line(row: ExportRow, out: &mut impl Write) -> Result<Written, ExportError> {
    let info_hash = row.hashes.canonical();
    let mut text = Vec::new();
    line::write(row, &mut text).map_err(|why| ExportError::Damaged { info_hash, why })?;
    closed_or(out.write_all(&text))
}

/// `head` closes its input when it has enough: that is a normal end.
fn closed_or(outcome: io::Result<()>) -> Result<Written, ExportError> {
    match outcome {
        Ok(()) => Ok(Written::Line),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Written::Closed),
        Err(error) => Err(ExportError::Output(error)),
    }
}
