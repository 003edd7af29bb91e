//! What each command does.

mod ban;
mod config;
mod crawl;
mod delete;
mod demo;
mod export;
mod fetch;
mod import;
mod interruption;
mod migrate;
mod progress;
mod reindex;
mod replica;
mod request;
mod search;
mod show;
mod stats;
mod table;
mod traits;

use std::{io, path::PathBuf};

use tea_runtime::Session as _;

use crate::{
    cli::Invocation,
    cluster::{self, ClusterError, ClusterOptions, EventSink, Mode},
    db::{self, Database, DatabaseChoice, DatabaseError, LearnPathWords},
    settings::{Layers, SettingError, Settings},
    status::Screen,
};

/// Connections of a command that asks a few questions.
const CONNECTIONS_FEW: usize = 2;

/// Torrents whose paths are read for their words at a time: half a second.
const PATHS_LEARNED: u32 = 5_000;

/// The private database's name.
const DATABASE: &str = "indexer";

/// Why a command failed, in one sentence.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// A setting cannot be used.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The private cluster cannot be used.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A session failed.
    #[error("the database gave no answer: {0}")]
    Session(#[from] tea_runtime::SessionError),
    /// The demo's swarm cannot be started.
    #[error(transparent)]
    Swarm(#[from] swarm::SwarmError),
    /// The runtime failed.
    #[error(transparent)]
    Runtime(#[from] tea_runtime::RunError),
    /// The DHT refuses its configuration.
    #[error(transparent)]
    Dht(#[from] mainline::ConfigError),
    /// The fetches refuse their configuration.
    #[error(transparent)]
    Fetch(#[from] bittorrent::ConfigError),
    /// Something could not be written.
    #[error("{what} cannot be written: {error}")]
    Write {
        /// What.
        what: String,
        /// Why.
        error: io::Error,
    },
    /// Anything else that is said in a sentence of its own.
    #[error("{0}")]
    Said(String),
}

impl CommandError {
    fn writing(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |error| Self::Write { what, error }
    }

    /// Whether the reader of our output went away, which is no failure: `indexer export | head`.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Write { error, .. } if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Runs a command to its end.
///
/// # Errors
/// One sentence.
pub async fn execute(invocation: Invocation, mut layers: Layers, screen: Screen) -> Result<(), CommandError> {
    let default_data_dir = cluster::default_data_dir();
    if matches!(invocation, Invocation::Demo(_)) {
        demo::set_defaults(&mut layers);
    }
    layers.adapt();
    let settings = Settings::resolve(&layers, &default_data_dir)?;
    match invocation {
        Invocation::Run(options) => crawl::run(&settings, options, screen).await,
        Invocation::Demo(options) => demo::run(settings, options, screen).await,
        Invocation::Search(options) => search::run(&settings, &options).await,
        Invocation::Show { hash, json } => show::run(&settings, &hash, json).await,
        Invocation::Fetch(options) => fetch::run(&settings, &options, screen).await,
        Invocation::Request { hashes } => request::run(&settings, &hashes).await,
        Invocation::Delete { hashes, yes } => delete::run(&settings, &hashes, yes).await,
        Invocation::Ban(command) => ban::run(&settings, command).await,
        Invocation::Unban { hashes, file } => ban::unban(&settings, &hashes, file.as_deref()).await,
        Invocation::Stats { json } => stats::run(&settings, json).await,
        Invocation::Export(options) => export::run(&settings, options, &screen).await,
        Invocation::Import(request) => import::run(&settings, request, &screen).await,
        Invocation::Reindex { every } => reindex::run(&settings, every).await,
        Invocation::Migrate => migrate::run(&settings).await,
        Invocation::Config => config::run(&layers, &settings),
    }
}

/// Where the demo keeps its data when nobody says otherwise: beside the real ones, never among them.
fn demo_data_dir() -> PathBuf {
    let mut name = cluster::default_data_dir().into_os_string();
    name.push("-demo");
    PathBuf::from(name)
}

/// Which database the settings name.
fn database_choice(
    settings: &Settings,
    mode: Mode,
    events: EventSink,
) -> Result<DatabaseChoice, CommandError> {
    if let Some(url) = &settings.database_url {
        return Ok(DatabaseChoice::Shared { url: url.clone() });
    }
    let mut options = ClusterOptions::new(&settings.data_dir)?;
    options.programs = settings.postgres_bin.clone();
    options.shared_buffers = settings.shared_buffers;
    options.events = events;
    // What starts empty each time need not survive the machine.
    options.fsync = !settings.fresh_database;
    Ok(DatabaseChoice::Private { cluster: options, mode, database: DATABASE.to_owned() })
}

/// Without a choice of the user's, and while only a demo runs, the demo is asked.
fn settings_to_ask(settings: &Settings) -> Settings {
    let mut settings = settings.clone();
    if !settings.data_dir_given && settings.database_url.is_none() {
        let demo = demo_data_dir();
        if !cluster::is_running(&settings.data_dir) && cluster::is_running(&demo) {
            eprint_line(&format!("asking the demo that runs in {}", demo.display()));
            settings.data_dir = demo;
        }
    }
    settings
}

/// The database for a command that only asks: the one of the settings; without a choice of the user's, and while only
/// a demo runs, that of the demo.
async fn open_to_ask(settings: &Settings) -> Result<Database, CommandError> {
    let settings = settings_to_ask(settings);
    if settings.database_url.is_none() && !settings.data_dir.join("postgres").exists() {
        return Err(CommandError::Said(format!(
            "nothing is indexed in {} yet: start `indexer run` or `indexer demo` first, or give another --data-dir",
            settings.data_dir.display()
        )));
    }
    let choice = database_choice(&settings, Mode::Attach, EventSink::default())?;
    let database = db::connect(&choice, CONNECTIONS_FEW).await?;
    match database.schema.check_current() {
        Ok(_) => Ok(database),
        Err(error) => {
            database.close().await;
            Err(error.into())
        }
    }
}

/// Learns the words of all paths that were stored, which a running indexer does in the background.
async fn learn_path_words(database: &Database) -> Result<(), DatabaseError> {
    let mut client = database.pool.get().await.map_err(|error| db::pool_error(&error))?;
    while (LearnPathWords { torrents: PATHS_LEARNED }).run(&mut client).await?.goes_on {}
    Ok(())
}

/// Says something to the user beside the results.
fn eprint_line(line: &str) {
    use io::Write;
    // Nobody is left to tell when standard error is gone.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Runs one session.
async fn ask<S: tea_runtime::Session<Client = deadpool_postgres::Client>>(
    database: &Database,
    session: S,
) -> Result<S::Output, CommandError> {
    ask_with(&database.pool, session).await
}

/// Runs one session on a pool of its own.
async fn ask_with<S: tea_runtime::Session<Client = deadpool_postgres::Client>>(
    pool: &deadpool_postgres::Pool,
    session: S,
) -> Result<S::Output, CommandError> {
    let mut client = pool.get().await.map_err(|error| db::pool_error(&error))?;
    Ok(session.run(&mut client).await?)
}
