//! Why there is no private cluster: one sentence each, with what to do.

use std::{io, path::PathBuf};

/// Why the private cluster does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// PostgreSQL is not installed.
    #[error(
        "PostgreSQL's programs initdb and postgres are not on this machine; install them ({hint}), or give --postgres-bin DIR or --database-url URL"
    )]
    NoPrograms {
        /// The command that installs them here.
        hint: &'static str,
    },
    /// The given directory does not have them.
    #[error("there are no PostgreSQL programs initdb and postgres in {}, which --postgres-bin names", .0.display())]
    NoProgramsIn(PathBuf),
    /// They are too old.
    #[error("PostgreSQL {found} in {} is too old, {needed} or newer is needed; install a newer one ({hint}) or give --postgres-bin DIR", dir.display())]
    ProgramsTooOld {
        /// Where they are.
        dir: PathBuf,
        /// Their major version.
        found: u32,
        /// The oldest that will do.
        needed: u32,
        /// The command that installs them here.
        hint: &'static str,
    },
    /// They are of another major version than the one that made the cluster.
    #[error("the database in {} was made by PostgreSQL {made_by}, but only version {found} is on this machine; install PostgreSQL {made_by} beside it, or convert the database with pg_upgrade", cluster.display())]
    OtherVersion {
        /// The cluster.
        cluster: PathBuf,
        /// Major version that made it.
        made_by: u32,
        /// Major versions found.
        found: String,
    },
    /// The data directory is somebody else's.
    #[error("data directory {} belongs to {owner}, not to {me}; run as {owner} or give another --data-dir", dir.display())]
    OtherOwner {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        owner: String,
        /// Who we are.
        me: String,
    },
    /// The data directory is not a directory.
    #[error("data directory {} is not a directory; give another --data-dir", .0.display())]
    NotADirectory(PathBuf),
    /// The account that runs PostgreSQL when we are root cannot get there.
    #[error("PostgreSQL does not run as root, and user {user}, whom it would run as, cannot pass through {}; give a --data-dir that every user can reach, such as /var/lib/indexer", blocked.display())]
    Unreachable {
        /// The account.
        user: String,
        /// The directory that stops it.
        blocked: PathBuf,
    },
    /// We are root and there is nobody to drop to.
    #[error(
        "PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody to run it as; create one (useradd --system postgres)"
    )]
    NoAccount,
    /// The cluster belongs to root or to nobody known.
    #[error("the database in {} belongs to {owner}, as whom PostgreSQL cannot be run; give another --data-dir", cluster.display())]
    OddClusterOwner {
        /// The cluster.
        cluster: PathBuf,
        /// Whose it is.
        owner: String,
    },
    /// Another process owns the cluster.
    #[error("the database in {} is in use by process {pid}; stop it or give another --data-dir", dir.display())]
    InUse {
        /// The data directory.
        dir: PathBuf,
        /// Who.
        pid: String,
    },
    /// No path is short and safe enough for the socket.
    #[error("no directory for the database's socket: {0}; give a shorter --data-dir")]
    NoSocketDir(String),
    /// `initdb` failed.
    #[error("a new database could not be made in {}: {why}", dir.display())]
    Initdb {
        /// Where.
        dir: PathBuf,
        /// Its last words.
        why: String,
    },
    /// The server does not come up.
    #[error("the database in {} does not start: {why}", dir.display())]
    Start {
        /// Where.
        dir: PathBuf,
        /// Its last words.
        why: String,
    },
    /// The operating system refused something.
    #[error("{what} {}: {why}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
}

impl ClusterError {
    /// Names what was tried on which path.
    pub(super) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |why| Self::Io { what, path, why }
    }
}
