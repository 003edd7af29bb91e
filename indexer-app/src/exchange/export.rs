//! Everything that is stored, or what is new, as one JSON object a line.
//!
//! Torrents come in the order of their keys, read a batch at a time, while the batch before is written: memory is bounded
//! by two batches. Torrents that are stored meanwhile appear if their turn is still to come; an export of what is new
//! since the cursor has them all.

use std::{
    io::{self, ErrorKind, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use deadpool_postgres::Pool;
use krpc::InfoHash;
use tea_runtime::{Session, SessionError};

use super::{Output, line};
use crate::{
    db::{DatabaseError, ExportBatch, ExportCursor, ExportRow, NewKeys, pool_error},
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
        info_hash: InfoHash,
        /// What is wrong.
        why: file_list::UnpackError,
    },
    /// The output took no more.
    #[error("the export cannot be written: {0}")]
    Output(#[source] io::Error),
}

impl From<SessionError> for ExportError {
    fn from(error: SessionError) -> Self {
        Self::Database(error.into())
    }
}

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportPlan {
    /// Only what was stored since; `None`: all.
    pub since: Option<ExportCursor>,
    /// The cursor at the beginning: the next export goes on from it.
    pub until: ExportCursor,
    /// Only torrents behind this key: an export that was interrupted has the others.
    pub after: Option<InfoHash>,
}

/// What was exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Torrents written.
    pub torrents: u64,
    /// Whether whoever read the output had enough of it: no error.
    pub closed: bool,
}

/// Writes the torrents, counting them in `written`; gives back what they were written to, unless its reader had enough.
///
/// # Errors
/// The database or the output failed; every whole line that was written is right.
pub async fn export<W: Write + Send + 'static>(
    pool: &Pool,
    plan: ExportPlan,
    output: Output<W>,
    written: &Arc<AtomicU64>,
) -> Result<(Exported, Option<W>), ExportError> {
    let mut source = Source::open(pool, plan).await?;
    let mut exported = Exported::default();
    let mut rows = source.next(pool).await?;
    let mut output = output;
    while !rows.is_empty() {
        let count = rows.len() as u64;
        let writing = tokio::task::spawn_blocking(move || (write(rows, &mut output), output));
        // The next ones are read meanwhile.
        let (next, done) = tokio::join!(source.next(pool), writing);
        let (outcome, back) = done.map_err(|error| SessionError::Unexpected(error.to_string()))?;
        if !outcome? {
            return Ok((Exported { closed: true, ..exported }, None));
        }
        (output, rows) = (back, next?);
        exported.torrents += count;
        written.store(exported.torrents, Ordering::Relaxed);
    }
    match output.finish() {
        Ok(sink) => Ok((exported, Some(sink))),
        Err(error) if is_closed(&error) => Ok((Exported { closed: true, ..exported }, None)),
        Err(error) => Err(ExportError::Output(error)),
    }
}

/// Whether the reader of the output still wants more.
fn write<W: Write>(rows: Vec<ExportRow>, output: &mut Output<W>) -> Result<bool, ExportError> {
    for row in rows {
        let info_hash = row.hashes.canonical();
        output.line(|out| line::write(row, out)).map_err(|why| ExportError::Damaged { info_hash, why })?;
        match output.write_chunk() {
            Ok(()) => {}
            Err(error) if is_closed(&error) => return Ok(false),
            Err(error) => return Err(ExportError::Output(error)),
        }
    }
    Ok(true)
}

/// `head` closes its input when it has enough: that is a normal end.
fn is_closed(error: &io::Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe
}

/// Where batches come from.
enum Source {
    All { after: Option<InfoHash> },
    New { keys: NewKeys, waiting: Vec<InfoHash> },
}

impl Source {
    async fn open(pool: &Pool, plan: ExportPlan) -> Result<Self, ExportError> {
        Ok(match plan.since {
            None => Self::All { after: plan.after },
            Some(since) => Self::New {
                keys: NewKeys::open(pool, &since, &plan.until, plan.after).await?,
                waiting: Vec::new(),
            },
        })
    }

    /// The next batch; empty at the end.
    async fn next(&mut self, pool: &Pool) -> Result<Vec<ExportRow>, ExportError> {
        loop {
            let batch = match self {
                Self::All { after } => ExportBatch::After { key: *after, limit: BATCH },
                Self::New { keys, waiting } => {
                    if waiting.is_empty() {
                        *waiting = keys.next(BATCH).await?;
                    }
                    if waiting.is_empty() {
                        return Ok(Vec::new());
                    }
                    ExportBatch::Keys(waiting.clone())
                }
            };
            let mut client = pool.get().await.map_err(|error| pool_error(&error))?;
            let rows = batch.run(&mut client).await?;
            let last = rows.last().map(|row| row.hashes.canonical());
            match self {
                Self::All { after } => *after = last,
                Self::New { waiting, .. } => {
                    // None came: they have been removed since.
                    waiting.retain(|key| last.is_some_and(|last| *key > last));
                    if last.is_none() {
                        continue;
                    }
                }
            }
            return Ok(rows);
        }
    }
}
