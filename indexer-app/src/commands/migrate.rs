//! `indexer migrate`: brings the schema up to date and says what it does.

use std::io::{self, Write};

use super::{CONNECTIONS_FEW, CommandError, database_choice};
use crate::{
    cluster::{EventSink, Mode},
    db::{self, MigrationStep},
    settings::Settings,
};

pub(super) async fn run(settings: &Settings) -> Result<(), CommandError> {
    let choice = database_choice(settings, Mode::Attach, EventSink::default())?;
    let mut database = db::connect(&choice, CONNECTIONS_FEW).await?;
    let before = database.schema.found;
    let mut steps = 0_usize;
    let mut say = |step: MigrationStep| {
        steps += 1;
        // Whoever does not listen any more wanted the work done all the same.
        let _ = writeln!(io::stdout(), "{}", sentence(&step));
    };
    let outcome = database.migrate_and_say(&mut say).await;
    let after = database.schema.found;
    database.close().await;
    outcome?;
    let line = match (before == after, steps) {
        (true, 0) => format!("the schema is at version {after} already"),
        (true, _) => format!("the schema is at version {after}, with all of its indexes"),
        (false, _) => format!("the schema went from version {before} to {after}"),
    };
    writeln!(io::stdout(), "{line}").map_err(CommandError::writing("standard output"))
}

/// A step for people.
pub(super) fn sentence(step: &MigrationStep) -> String {
    match step {
        MigrationStep::Waiting => "somebody else is changing the schema: waiting".to_owned(),
        MigrationStep::Applied(migration) => {
            format!("applied version {}: {}", migration.version, migration.name)
        }
        MigrationStep::Building { index, table, rows } => {
            format!("making the index {index} of about {rows} {table}; everything else can go on meanwhile")
        }
        MigrationStep::Progress { index, total: 0, .. } => format!("making the index {index}"),
        MigrationStep::Progress { index, done, total } => {
            format!("making the index {index}: {} % of this phase", done.saturating_mul(100) / total)
        }
        MigrationStep::Built { index } => format!("made the index {index}"),
        MigrationStep::Dropping { index } => format!("removing {index}, which an interrupted run has left"),
    }
}
