//! Databases of other indexers, read as they are: whatever stands in them is somebody else's word.

mod bitmagnet;
mod magnetico;

pub use bitmagnet::Bitmagnet;
pub use magnetico::Magnetico;

use std::time::{Duration, SystemTime};

/// Files of one torrent that are read: as many as an info dict may have.
const FILES_MAX: usize = 1_000_000;

/// Bytes of the paths of one torrent that are read: as many as of an info dict.
const PATH_BYTES_MAX: usize = 64 << 20;

/// Why a database cannot be read, to follow its name in a sentence.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// It is not what it is said to be.
    #[error("is no database of {program}: {lack}")]
    Schema {
        /// The program whose database it should be.
        program: &'static str,
        /// What it lacks.
        lack: String,
    },
    /// It cannot be reached or read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
}

/// A torrent as another indexer has it. Nothing of it has been checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForeignTorrent {
    /// Where it stands: its number there.
    pub place: u64,
    /// What should be an info-hash.
    pub info_hash: Vec<u8>,
    /// The name's bytes.
    pub name: Vec<u8>,
    /// Bytes in all files.
    pub size: i64,
    /// Paths, their components between slashes, and lengths.
    pub files: Vec<(Vec<u8>, i64)>,
    /// There were more files, or longer paths, than are read of one torrent.
    pub files_beyond_bounds: bool,
    /// How many files it has, if that is told.
    pub file_count: Option<i64>,
    /// It has one file, with its name for a path, which need not be among `files`.
    pub single_file: bool,
    /// Bytes in a piece, if told.
    pub piece_length: Option<i64>,
    /// Number of pieces, if told.
    pub piece_count: Option<i64>,
    /// The private flag, if told.
    pub private: Option<bool>,
    /// When it was stored there.
    pub added_at: Option<SystemTime>,
    /// Seeders, leechers, and when they were counted.
    pub swarm: Option<(i64, i64, SystemTime)>,
}

impl ForeignTorrent {
    /// Takes a file, unless there are too many.
    fn add_file(&mut self, path: &[u8], length: i64, path_bytes: &mut usize) {
        *path_bytes += path.len();
        if self.files.len() >= FILES_MAX || *path_bytes > PATH_BYTES_MAX {
            self.files_beyond_bounds = true;
        } else {
            self.files.push((path.to_vec(), length));
        }
    }

    /// About how much memory it takes.
    pub fn bytes(&self) -> u64 {
        let paths: usize = self.files.iter().map(|(path, _)| path.len() + 32).sum();
        (paths + self.name.len()) as u64
    }
}

/// Seconds since 1970, if they can be a time.
fn time(seconds: i64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))
}
