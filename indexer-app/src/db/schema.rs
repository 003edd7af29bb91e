//! The schema: the migrations that this program carries, and how they stand against a database.

use std::time::Duration;

use deadpool_postgres::{Client, Pool};

use super::{
    DatabaseError,
    error::{full_text, pool_error, session_error},
    indexes,
};

mod embedded {
    refinery::embed_migrations!("../migrations");
}

/// Taken while migrations run, so that indexers that start together do not run them together. Any number will do.
const MIGRATION_LOCK: i64 = 0x7465_615f_6d69_6772;

/// Between two tries to take it.
const LOCK_AGAIN: Duration = Duration::from_millis(100);

/// How a database stands against this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    /// Version of the database, 0 when it is empty.
    pub found: i64,
    /// Newest version that this program knows.
    pub known: i64,
}

/// A change that was made to the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedMigration {
    /// Its number.
    pub version: i64,
    /// Its name.
    pub name: String,
}

impl Schema {
    /// That nobody newer has been here.
    ///
    /// # Errors
    /// Somebody newer has.
    pub fn check_not_newer(self) -> Result<Self, DatabaseError> {
        if self.found > self.known {
            return Err(DatabaseError::SchemaNewer { found: self.found, known: self.known });
        }
        Ok(self)
    }

    /// That it is exactly what this program needs.
    ///
    /// # Errors
    /// It is older or newer.
    pub fn check_current(self) -> Result<Self, DatabaseError> {
        self.check_not_newer()?;
        if self.found < self.known {
            return Err(DatabaseError::SchemaOlder { found: self.found, known: self.known });
        }
        Ok(self)
    }
}

/// Reads how the database stands; changes nothing.
///
/// # Errors
/// The database does not answer.
pub async fn schema(pool: &Pool) -> Result<Schema, DatabaseError> {
    let client = pool.get().await.map_err(|error| pool_error(&error))?;
    schema_of(&client).await
}

async fn schema_of(client: &Client) -> Result<Schema, DatabaseError> {
    let failed = |error: tokio_postgres::Error| session_error(&error);
    let has_history: bool = client
        .query_one("select to_regclass('refinery_schema_history') is not null", &[])
        .await
        .map_err(failed)?
        .get(0);
    let found = if has_history {
        client
            .query_one("select coalesce(max(version), 0)::int8 from refinery_schema_history", &[])
            .await
            .map_err(failed)?
            .get(0)
    } else {
        0
    };
    let known = embedded::migrations::runner()
        .get_migrations()
        .iter()
        .map(|migration| i64::from(migration.version()))
        .max()
        .unwrap_or(0);
    Ok(Schema { found, known })
}

/// What is done while a schema is brought up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MigrationStep {
    /// Somebody else is at it; we wait.
    Waiting,
    /// A change was made.
    Applied(AppliedMigration),
    /// An index is being made while everything else goes on.
    Building {
        /// Its name.
        index: &'static str,
        /// Of which table.
        table: &'static str,
        /// Rows of the table, as the planner believes.
        rows: u64,
    },
    /// How far the index is, in its present phase: blocks or rows.
    Progress {
        /// Its name.
        index: &'static str,
        /// Done.
        done: u64,
        /// Of so many; 0: not known.
        total: u64,
    },
    /// An index was made.
    Built {
        /// Its name.
        index: &'static str,
    },
    /// A part of an index that a killed run has left is removed.
    Dropping {
        /// Its name.
        index: String,
    },
}

/// Brings the schema up to date: each change is made whole or not at all, and then indexes that are missing, beside all other work. What
/// was begun and interrupted is gone on with.
///
/// # Errors
/// The schema is newer than this program, a change failed, or the database does not answer.
pub async fn migrate(
    pool: &Pool,
    said: &mut (dyn FnMut(MigrationStep) + Send),
) -> Result<Vec<AppliedMigration>, DatabaseError> {
    let mut client = pool.get().await.map_err(|error| pool_error(&error))?;
    lock(&client, said).await?;
    let outcome = locked(pool, &mut client, said).await;
    // The connection would keep the lock as long as it lives in the pool.
    client
        .execute("select pg_advisory_unlock($1)", &[&MIGRATION_LOCK])
        .await
        .map_err(|error| session_error(&error))?;
    outcome
}

/// Asked for again and again, because a statement that waits for a lock is what an index that is being made waits for.
async fn lock(client: &Client, said: &mut (dyn FnMut(MigrationStep) + Send)) -> Result<(), DatabaseError> {
    let mut is_said = false;
    loop {
        let row = client
            .query_one("select pg_try_advisory_lock($1)", &[&MIGRATION_LOCK])
            .await
            .map_err(|error| session_error(&error))?;
        if row.get(0) {
            return Ok(());
        }
        if !is_said {
            said(MigrationStep::Waiting);
            is_said = true;
        }
        tokio::time::sleep(LOCK_AGAIN).await;
    }
}

async fn locked(
    pool: &Pool,
    client: &mut Client,
    said: &mut (dyn FnMut(MigrationStep) + Send),
) -> Result<Vec<AppliedMigration>, DatabaseError> {
    schema_of(client).await?.check_not_newer()?;
    let report = embedded::migrations::runner()
        .run_async(&mut ***client)
        .await
        .map_err(|error| DatabaseError::Migration(full_text(&error)))?;
    let applied: Vec<AppliedMigration> = report
        .applied_migrations()
        .iter()
        .map(|migration| AppliedMigration {
            version: i64::from(migration.version()),
            name: migration.name().to_owned(),
        })
        .collect();
    applied.iter().cloned().map(MigrationStep::Applied).for_each(&mut *said);
    indexes::make(pool, client, said).await?;
    Ok(applied)
}
