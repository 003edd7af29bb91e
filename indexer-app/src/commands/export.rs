//! `indexer export`: every torrent as a line of JSON, on standard output or into a file.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use super::{CommandError, eprint_line, open_to_ask};
use crate::{
    exchange::{ExportError, Exported, export},
    settings::Settings,
};

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 256 << 10;

pub(super) async fn run(settings: &Settings, output: Option<&Path>) -> Result<(), CommandError> {
    let database = open_to_ask(settings).await?;
    let outcome = match output {
        None => write_all(&database.pool, io::stdout().lock()).await,
        Some(path) => into_file(&database.pool, path).await,
    };
    database.close().await;
    let exported = outcome?;
    if let Some(path) = output {
        eprint_line(&format!("{} torrents exported to {}", exported.torrents, path.display()));
    }
    Ok(())
}

async fn write_all(pool: &deadpool_postgres::Pool, out: impl Write) -> Result<Exported, CommandError> {
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
    export(pool, &mut out).await.map_err(|error| match error {
        ExportError::Database(error) => error.into(),
        ExportError::Output(error) => CommandError::Write { what: "the export".to_owned(), error },
        damaged @ ExportError::Damaged { .. } => CommandError::Said(damaged.to_string()),
    })
}

/// Written beside and then renamed, so that a file of this name is always a whole export.
async fn into_file(pool: &deadpool_postgres::Pool, path: &Path) -> Result<Exported, CommandError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".part");
    let partial = Path::new(&partial);
    let failed = || CommandError::writing(path.display().to_string());
    let file = File::create(partial).map_err(failed())?;
    let exported = write_all(pool, &file).await?;
    file.sync_all().map_err(failed())?;
    std::fs::rename(partial, path).map_err(failed())?;
    Ok(exported)
}
