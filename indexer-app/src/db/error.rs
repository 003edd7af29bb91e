//! What goes wrong with the database: for sessions by kind, for people in one sentence.

use deadpool_postgres::PoolError;
use tea_runtime::SessionError;
use tokio_postgres::{Error, error::SqlState};

use crate::cluster::ClusterError;

/// Why the database cannot be used, in one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The private cluster does not run.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The address is not one.
    #[error("the database URL cannot be read: {0}; it looks like postgres://user:password@host:5432/name")]
    Url(String),
    /// There is nobody to ask whether the server is who it should be.
    #[error(
        "the certificates to check the database server with cannot be used: {0}; name them with sslrootcert=FILE in its URL"
    )]
    Tls(String),
    /// Nobody answers there, or not to us.
    #[error("the database at {at} cannot be reached: {why}; check that it runs and that the URL is right")]
    Unreachable {
        /// Host and database, never the password.
        at: String,
        /// The driver's words.
        why: String,
    },
    /// The server lacks what the schema needs.
    #[error(
        "the database server is PostgreSQL {found}, but {needed} or newer is needed; upgrade it or give another --database-url"
    )]
    ServerTooOld {
        /// Major version of the server.
        found: u32,
        /// Oldest that will do.
        needed: u32,
    },
    /// Somebody newer has been here.
    #[error(
        "the database has schema version {found}, but this program knows only up to {known}; use the newer program, nothing was changed"
    )]
    SchemaNewer {
        /// What is there.
        found: i64,
        /// What we know.
        known: i64,
    },
    /// Nobody, or somebody older, has been here.
    #[error(
        "the database has schema version {found}, but {known} is needed; run `indexer migrate` (or `indexer run`, which does it too)"
    )]
    SchemaOlder {
        /// What is there, 0 for an empty database.
        found: i64,
        /// What we need.
        known: i64,
    },
    /// A migration failed; it was undone.
    #[error("the schema could not be brought up to date: {0}")]
    Migration(String),
    /// The database refused something else.
    #[error("the database failed: {0}")]
    Failed(#[from] SessionError),
}

/// What a driver error means for the session that met it.
pub fn session_error(error: &Error) -> SessionError {
    if let Some(refusal) = error.as_db_error() {
        let code = refusal.code();
        // The server is going down or coming up: the same words will be welcome later.
        let passing = [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::TOO_MANY_CONNECTIONS,
        ];
        return if passing.contains(code) {
            SessionError::Broken(refusal.message().to_owned())
        } else {
            SessionError::Database { code: code.code().to_owned(), message: refusal.message().to_owned() }
        };
    }
    if error.is_closed() || has_io_cause(error) {
        return SessionError::Broken(full_text(error));
    }
    SessionError::Unexpected(full_text(error))
}

/// Whether the database has no room left on its disk (53100).
pub fn is_disk_full(error: &SessionError) -> bool {
    matches!(error, SessionError::Database { code, .. } if code == SqlState::DISK_FULL.code())
}

/// Whether the same statement may succeed later: the database could not be asked, or was in no state to do it. The others
/// are refused for what they say.
pub fn is_passing(error: &SessionError) -> bool {
    // 25 read only for now, 40 lost against another one, 53 out of disk, memory or connections, 55 locked, 57 told to stop,
    // 58 errors of the system.
    let passing = ["25", "40", "53", "55", "57", "58"];
    match error {
        SessionError::Database { code, .. } => passing.iter().any(|class| code.starts_with(class)),
        other => other.is_transient(),
    }
}

/// What it means that the pool gave no connection.
pub fn pool_error(error: &PoolError) -> SessionError {
    SessionError::Unavailable(match error {
        PoolError::Backend(cause) => full_text(cause),
        PoolError::Timeout(_) => "none became free in time".to_owned(),
        PoolError::Closed => "the pool is closed".to_owned(),
        other => other.to_string(),
    })
}

/// Whether the statement lost a race against another one and would win if run again.
pub(super) fn is_conflict(error: &Error) -> bool {
    error.code().is_some_and(|code| {
        [SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE].contains(code)
    })
}

/// Whether the database refused the data, not the connection or the moment.
pub(super) fn blames_the_data(error: &SessionError) -> bool {
    let SessionError::Database { code, .. } = error else {
        return matches!(error, SessionError::Unexpected(_));
    };
    // 22 data exception, 23 constraint violation, 54 program limit exceeded.
    ["22", "23", "54"].iter().any(|class| code.starts_with(class))
}

/// The error and its causes: the driver's own text often says only "error connecting to server".
pub(super) fn full_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text.replace(['\n', '\r'], " ")
}

fn has_io_cause(error: &Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if inner.is::<std::io::Error>() {
            return true;
        }
        cause = inner.source();
    }
    false
}
