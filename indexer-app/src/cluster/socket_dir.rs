//! A directory for the socket: short, since a socket's path is bounded, and closed to everybody else.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nix::unistd::Uid;

use super::{ClusterError, account::Account, data_dir};

/// Longest path of a socket in bytes (`sun_path` without its NUL; Linux allows 107, macOS 103).
const SOCKET_PATH_MAX: usize = 103;

/// `/.s.PGSQL.5432` and the lock beside it.
const NAME_MAX: usize = "/.s.PGSQL.65535.lock".len();

/// Makes sure of the directory. In the data directory if its path is short enough, else in the user's runtime
/// directory or /tmp under a name made of the data directory's.
pub(super) fn prepare(data_dir: &Path, account: Option<&Account>) -> Result<PathBuf, ClusterError> {
    let mut hasher = DefaultHasher::new();
    data_dir.canonicalize().unwrap_or_else(|_| data_dir.to_owned()).hash(&mut hasher);
    let name = format!("indexer-{:016x}", hasher.finish());
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|_| account.is_none());
    let absolute = std::path::absolute(data_dir).map_err(ClusterError::io("cannot resolve", data_dir))?;
    let candidates = [
        Some(absolute.join("socket")),
        runtime.map(|runtime| runtime.join(&name)),
        Some(Path::new("/tmp").join(&name)),
    ];
    let mut problem = "every path is too long".to_owned();
    for dir in candidates.into_iter().flatten() {
        if dir.as_os_str().len() + NAME_MAX > SOCKET_PATH_MAX {
            continue;
        }
        match prepare_at(&dir, account) {
            Ok(()) => return Ok(dir),
            Err(error) => problem = error.to_string(),
        }
    }
    Err(ClusterError::NoSocketDir(problem))
}

fn prepare_at(dir: &Path, account: Option<&Account>) -> Result<(), ClusterError> {
    // In /tmp anybody may have made it before us: then it is not ours to use, whatever is in it.
    if let Ok(metadata) = fs::symlink_metadata(dir) {
        let owner = account.map_or(Uid::effective(), |account| account.uid).as_raw();
        let made_by_us = metadata.uid() == owner || metadata.uid() == Uid::effective().as_raw();
        if !metadata.is_dir() || !made_by_us || metadata.mode() & 0o077 != 0 {
            return Err(ClusterError::NoSocketDir(format!(
                "{} is not a directory that only we can use",
                dir.display()
            )));
        }
    }
    data_dir::create_private(dir, account)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deep_data_directory_gets_a_short_socket_directory_that_is_always_the_same() {
        let deep = Path::new("/nonexistent").join("d".repeat(120));
        let first = prepare(&deep, None).unwrap();
        assert!(first.as_os_str().len() + NAME_MAX <= SOCKET_PATH_MAX);
        assert_eq!(prepare(&deep, None).unwrap(), first);
        assert_eq!(fs::metadata(&first).unwrap().mode() & 0o777, 0o700);
        fs::remove_dir(&first).unwrap();
    }
}
