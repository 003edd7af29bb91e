//! `indexer export`: every torrent, or those that are new, as a line of JSON, on standard output or into a file.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use krpc::InfoHash;

use super::{CommandError, ask, eprint_line, interruption::Interruption, progress, replica::open_to_read};
use crate::{
    cli::ExportOptions,
    db::{Database, ExportCursor, ExportNow},
    exchange::{Compression, ExportError, ExportPlan, Output, export, resume},
    settings::Settings,
    status::Screen,
};

pub(super) async fn run(
    settings: &Settings,
    options: ExportOptions,
    screen: &Screen,
) -> Result<(), CommandError> {
    let mut interruption = Interruption::listen()?;
    let Some(database) = interruption.or(open_to_read(settings)).await else {
        return Err(interrupted(0, &options));
    };
    let database = database?;
    let written = Arc::new(AtomicU64::new(0));
    let outcome = interruption.or(write(&database, &options, screen, &written)).await;
    // A second Ctrl-C does not wait for the server: if it is ours, it ends with us.
    let _ = interruption.or(database.close()).await;
    outcome.unwrap_or_else(|| Err(interrupted(written.load(Ordering::Relaxed), &options)))
}

fn interrupted(torrents: u64, options: &ExportOptions) -> CommandError {
    let next = match &options.output {
        Some(_) => "; the same command with --resume goes on from there",
        None => "",
    };
    CommandError::Said(format!("interrupted after {torrents} torrents{next}"))
}

async fn write(
    database: &Database,
    options: &ExportOptions,
    screen: &Screen,
    written: &Arc<AtomicU64>,
) -> Result<(), CommandError> {
    let since = match (&options.since, &options.cursor_file) {
        (Some(text), _) => Some(text.parse().map_err(CommandError::Said)?),
        (None, Some(path)) => read_cursor(path)?,
        (None, None) => None,
    };
    let (now, estimate) = ask(database, ExportNow).await?;
    if since.is_some_and(|since: ExportCursor| !since.is_of_cluster_of(&now)) {
        return Err(CommandError::Said(
            "the cursor is of another database, or of this one before it was restored from a dump; \
             make a whole export, which gives a new one"
                .to_owned(),
        ));
    }
    let plan = ExportPlan { since, until: now, after: None };
    let total = since.is_none().then_some(estimate).filter(|torrents| *torrents > 0);
    let (plan, torrents, closed) = match &options.output {
        Some(path) => {
            let (plan, torrents) = into_file(database, options, path, plan, total, screen, written).await?;
            (plan, torrents, false)
        }
        None => {
            let compression = if options.zstd { Compression::Zstd } else { Compression::Plain };
            let output =
                Output::new(io::stdout(), compression).map_err(CommandError::writing("the export"))?;
            let work = export(&database.pool, plan, output, written);
            let look = || (written.load(Ordering::Relaxed), String::new());
            let exported = progress::beside(screen, total, work, look).await.map_err(said)?.0;
            (plan, exported.torrents, exported.closed)
        }
    };
    if closed {
        return Ok(());
    }
    if let Some(path) = &options.cursor_file {
        replace(path, &format!("{}\n", plan.until))?;
    }
    let place = options.output.as_ref().map_or_else(String::new, |path| format!(" to {}", path.display()));
    eprint_line(&format!(
        "{torrents} torrents exported{place}; what is new from now on comes with --since {}",
        plan.until
    ));
    Ok(())
}

/// Written beside and then renamed, so that a file of this name is always a whole export. Beside that stands which one
/// it is, for whoever continues it.
async fn into_file(
    database: &Database,
    options: &ExportOptions,
    path: &Path,
    plan: ExportPlan,
    total: Option<u64>,
    screen: &Screen,
    written: &Arc<AtomicU64>,
) -> Result<(ExportPlan, u64), CommandError> {
    let (partial, note) = (beside(path, ".part"), beside(path, ".part.cursor"));
    let failed = || CommandError::writing(path.display().to_string());
    let compression = if options.zstd { Compression::Zstd } else { Compression::of_file(path) };
    let begun = if options.resume && partial.exists() {
        Some(begun(&partial, &note, plan, compression)?)
    } else {
        None
    };
    let (plan, file) = match begun {
        Some(begun) => begun,
        None => {
            if options.resume {
                eprint_line(&format!("there is no {} to continue: beginning anew", partial.display()));
            }
            let file = File::create(&partial).map_err(failed())?;
            let since = plan.since.map_or_else(|| "all".to_owned(), |since| since.to_string());
            replace(&note, &format!("{since} {}\n", plan.until))?;
            (plan, file)
        }
    };
    let output = Output::new(file, compression).map_err(failed())?;
    let work = export(&database.pool, plan, output, written);
    let look = || (written.load(Ordering::Relaxed), String::new());
    let (exported, file) = progress::beside(screen, total, work, look).await.map_err(said)?;
    // A file has no reader that could have had enough.
    if let Some(file) = file {
        file.sync_all().map_err(failed())?;
    }
    fs::rename(&partial, path).map_err(failed())?;
    fs::remove_file(&note).map_err(failed())?;
    Ok((plan, exported.torrents))
}

/// What was written before, and the plan to go on with.
fn begun(
    partial: &Path,
    note: &Path,
    plan: ExportPlan,
    compression: Compression,
) -> Result<(ExportPlan, File), CommandError> {
    let cannot = |why: String| {
        CommandError::Said(format!(
            "{} cannot be continued: {why}; begin anew without --resume",
            partial.display()
        ))
    };
    let text = fs::read_to_string(note).map_err(|error| cannot(format!("{}: {error}", note.display())))?;
    let odd = || cannot(format!("{} is not what an export writes", note.display()));
    let (since, until) = text.trim().split_once(' ').ok_or_else(odd)?;
    let since: Option<ExportCursor> = match since {
        "all" => None,
        cursor => Some(cursor.parse().map_err(|_| odd())?),
    };
    let until: ExportCursor = until.parse().map_err(|_| odd())?;
    if since != plan.since {
        return Err(cannot("it was begun with another --since".to_owned()));
    }
    if !until.is_of_cluster_of(&plan.until) {
        return Err(cannot("it is of another database".to_owned()));
    }
    let resumed = resume(partial, compression).map_err(|error| cannot(error.to_string()))?;
    let after: Option<InfoHash> = resumed.last;
    Ok((ExportPlan { since, until, after }, resumed.file))
}

fn read_cursor(path: &Path) -> Result<Option<ExportCursor>, CommandError> {
    match fs::read_to_string(path) {
        Ok(text) => text
            .parse()
            .map(Some)
            .map_err(|problem| CommandError::Said(format!("{}: {problem}", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CommandError::Said(format!("{} cannot be read: {error}", path.display()))),
    }
}

/// Replaces a small file as a whole.
fn replace(path: &Path, text: &str) -> Result<(), CommandError> {
    let failed = || CommandError::writing(path.display().to_string());
    let new = beside(path, ".new");
    let mut file = File::create(&new).map_err(failed())?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed())?;
    fs::rename(&new, path).map_err(failed())
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn said(error: ExportError) -> CommandError {
    match error {
        ExportError::Database(error) => error.into(),
        ExportError::Output(error) => CommandError::Write { what: "the export".to_owned(), error },
        damaged @ ExportError::Damaged { .. } => CommandError::Said(damaged.to_string()),
    }
}
