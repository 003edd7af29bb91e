//! The indexer's program: parses the command line, runs the command, and says in one sentence what went wrong.

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use indexer_app::{
    cli, cluster,
    commands::{self, CommandError},
    settings::{Layers, default_file},
    status::Screen,
};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next() == Some(OsString::from(cluster::guard::COMMAND)) {
        return cluster::guard::run(arguments);
    }
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when standard error is gone.
            let _ = writeln!(io::stderr(), "indexer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<(), CommandError> {
    let matches = cli::command().get_matches_from(cli::arguments(std::env::args_os()));
    let environment = |name: &str| std::env::var(name).ok();
    let mut layers = Layers::defaults();
    let root = nix::unistd::Uid::effective().is_root();
    if let Some(file) =
        matches.get_one::<PathBuf>("config").cloned().or_else(|| default_file(root, environment))
    {
        layers.add_file(&file)?;
    }
    layers.add_environment(environment);
    let invocation = cli::invocation(&matches, &mut layers).unwrap_or_else(|error| error.exit());

    let screen = Screen::new(io::stderr().is_terminal());
    let filter = matches.get_one::<String>("log").cloned().or_else(|| environment("INDEXER_LOG"));
    let filter = match filter {
        Some(filter) => EnvFilter::try_new(&filter)
            .map_err(|error| CommandError::Said(format!("setting log: {filter:?} is no filter: {error}")))?,
        // Refinery reports each look at the schema.
        None => EnvFilter::new("info,refinery_core=warn,tokio_postgres=warn"),
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(screen.clone())
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    tracing_subscriber::registry().with(filter).with(lines).init();

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::Said(format!("the event loop cannot start: {error}")))?;
    let outcome = runtime.block_on(commands::execute(invocation, layers, screen));
    // What is still being looked up or computed elsewhere is of no use any more.
    runtime.shutdown_background();
    outcome
}
