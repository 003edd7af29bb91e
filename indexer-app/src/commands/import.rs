//! `indexer import`: torrents from exports of ours, and from the databases of other indexers.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    pin::pin,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use tokio::sync::mpsc;

use super::{
    CommandError, database_choice, eprint_line, interruption::Interruption, learn_path_words, progress,
};
use crate::{
    cli::{ImportFrom, ImportRequest},
    cluster::{EventSink, Mode},
    db::{self, Database},
    exchange::{
        Batch, Feed, ImportError, ImportOptions, Imported, feed, import, ndjson, read_bitmagnet,
        read_magnetico,
    },
    settings::{Settings, hide_password},
    status::Screen,
};

/// Two batches are stored at a time.
const CONNECTIONS: usize = 3;

pub(super) async fn run(
    settings: &Settings,
    request: ImportRequest,
    screen: &Screen,
) -> Result<(), CommandError> {
    let mut interruption = Interruption::listen()?;
    let so_far = Mutex::new(Imported::default());
    let Some(database) = interruption.or(open(settings)).await else {
        return Err(interrupted(&so_far));
    };
    let database = database?;
    let work = async {
        all(&database, &request, &so_far).await?;
        learn_path_words(&database).await.map_err(ImportError::Database)
    };
    let look = || {
        let so_far = so_far.lock().unwrap_or_else(PoisonError::into_inner);
        (so_far.read, brief(&so_far))
    };
    let outcome = interruption.or(progress::beside(screen, None, work, look)).await;
    // A second Ctrl-C does not wait for the server: if it is ours, it ends with us.
    let _ = interruption.or(database.close()).await;
    // The batches under way are stored whole or not at all.
    let Some(outcome) = outcome else { return Err(interrupted(&so_far)) };
    let so_far = so_far.into_inner().unwrap_or_else(PoisonError::into_inner);
    tell(&so_far);
    outcome.map_err(|error| match error {
        ImportError::Database(error) => error.into(),
        other => CommandError::Said(other.to_string()),
    })?;
    if so_far.read > 0 && so_far.refused.total() == so_far.read {
        return Err(CommandError::Said("nothing of it could be imported".to_owned()));
    }
    Ok(())
}

/// The database to import into, made if it is not there.
async fn open(settings: &Settings) -> Result<Database, CommandError> {
    let choice = database_choice(settings, Mode::Attach, EventSink::default())?;
    let mut database = db::connect(&choice, CONNECTIONS).await?;
    if database.schema.found < database.schema.known
        && let Err(error) = database.migrate().await
    {
        database.close().await;
        return Err(error.into());
    }
    Ok(database)
}

async fn all(
    database: &Database,
    request: &ImportRequest,
    so_far: &Mutex<Imported>,
) -> Result<(), ImportError> {
    let options = ImportOptions { strict: request.strict };
    for source in &request.sources {
        let (reading, batches) = begin(request.from, source);
        let (mut reading, mut storing) =
            (pin!(reading), pin!(import(&database.pool, batches, options, so_far)));
        // When the one who stores ends early, the one who reads may wait for input for ever; and what was read before the
        // input failed is stored all the same.
        tokio::select! {
            stored = &mut storing => {
                stored?;
                reading.await?;
            }
            read = &mut reading => {
                storing.await?;
                read?;
            }
        }
    }
    Ok(())
}

/// Begins to read a source, files on a thread of their own.
fn begin(
    from: ImportFrom,
    source: &str,
) -> (impl Future<Output = Result<(), ImportError>> + use<>, mpsc::Receiver<Batch>) {
    let name = match (from, source) {
        (ImportFrom::Ndjson, "-") => "standard input".to_owned(),
        (ImportFrom::Bitmagnet, url) => hide_password(url),
        (_, file) => file.to_owned(),
    };
    let (feed, batches) = feed(&format!(
        "{name} {}",
        match from {
            ImportFrom::Ndjson => "line",
            ImportFrom::Magnetico => "torrent",
            ImportFrom::Bitmagnet => "torrent in the order of hashes",
        }
    ));
    let (source, now) = (source.to_owned(), now());
    let reading = async move {
        let read = match from {
            ImportFrom::Bitmagnet => return read_bitmagnet(&source, now, feed).await,
            ImportFrom::Magnetico => tokio::task::spawn_blocking(move || read_magnetico(&source, now, feed)),
            ImportFrom::Ndjson => tokio::task::spawn_blocking(move || read_lines(&source, &name, now, feed)),
        };
        read.await.map_err(|error| tea_runtime::SessionError::Unexpected(error.to_string()))?
    };
    (reading, batches)
}

fn read_lines(source: &str, name: &str, now: SystemTime, feed: Feed) -> Result<(), ImportError> {
    let input: Box<dyn Read> = if source == "-" {
        Box::new(io::stdin())
    } else {
        let file = File::open(Path::new(source));
        Box::new(file.map_err(|error| ImportError::Read { name: name.to_owned(), error })?)
    };
    ndjson::read(input, name, now, feed)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one look at the wall clock, to tell times that lie in the future"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

fn brief(so_far: &Imported) -> String {
    let refused = so_far.refused.total();
    let refused = if refused > 0 { format!(", {refused} refused") } else { String::new() };
    format!("{} new, {} known{refused}", so_far.new, so_far.known)
}

fn interrupted(so_far: &Mutex<Imported>) -> CommandError {
    let so_far = so_far.lock().unwrap_or_else(PoisonError::into_inner);
    CommandError::Said(format!(
        "interrupted after {} torrents ({}); the same command passes over what is stored and goes on",
        so_far.read,
        brief(&so_far)
    ))
}

/// What was refused, one by one as far as that is bearable, and the sum.
fn tell(so_far: &Imported) {
    for (what, refusals, total) in [
        ("refused", &so_far.refused, so_far.refused.total()),
        ("contradicting", &so_far.contradictions, so_far.contradicting),
    ] {
        for line in &refusals.told {
            eprint_line(line);
        }
        let told = refusals.told.len() as u64;
        if total > told {
            eprint_line(&format!("... and {} more {what}", total - told));
        }
    }
    let mut sum = format!("{} torrents read: {} new, {} known", so_far.read, so_far.new, so_far.known);
    if so_far.contradicting > 0 {
        sum.push_str(&format!(", of which {} contradict what is stored", so_far.contradicting));
    }
    if so_far.banned > 0 {
        sum.push_str(&format!(", {} banned or deleted before", so_far.banned));
    }
    if so_far.refused.total() > 0 {
        sum.push_str(&format!(", {} refused ({})", so_far.refused.total(), so_far.refused));
    }
    eprint_line(&sum);
}
