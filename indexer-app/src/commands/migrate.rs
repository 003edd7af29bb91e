//! `indexer migrate`: brings the schema up to date and says what was done.

use std::io::{self, Write};

use super::{CONNECTIONS_FEW, CommandError, database_choice};
use crate::{
    cluster::{EventSink, Mode},
    db,
    settings::Settings,
};

pub(super) async fn run(settings: &Settings) -> Result<(), CommandError> {
    let choice = database_choice(settings, Mode::Attach, EventSink::default())?;
    let mut database = db::connect(&choice, CONNECTIONS_FEW).await?;
    let before = database.schema.found;
    let applied = database.migrate().await;
    let after = database.schema.found;
    database.close().await;
    let mut out = io::stdout().lock();
    let mut say = |line: String| writeln!(out, "{line}").map_err(CommandError::writing("standard output"));
    for migration in applied? {
        say(format!("applied version {}: {}", migration.version, migration.name))?;
    }
    say(if before == after {
        format!("the schema is at version {after} already")
    } else {
        format!("the schema went from version {before} to {after}")
    })
}
