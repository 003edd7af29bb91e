//! Who runs the cluster, and who uses it beside. Locks end with the process that holds them, however it ends.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use super::ClusterError;

/// The lock of the process that runs the cluster.
#[derive(Debug)]
pub(super) struct OwnerLock {
    // Held as long as it is open.
    _file: File,
}

impl OwnerLock {
    /// Takes it; `None` when somebody else has it.
    pub(super) fn take(data_dir: &Path) -> Result<Option<Self>, ClusterError> {
        let path = data_dir.join("lock");
        let mut file = open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(ClusterError::io("cannot lock", path)(error)),
        }
        // For whoever finds it taken; the lock holds without it.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Some(Self { _file: file }))
    }

    /// The process that has it, as it said itself.
    pub(super) fn holder(data_dir: &Path) -> String {
        let mut text = String::new();
        let read = File::open(data_dir.join("lock")).and_then(|file| file.take(32).read_to_string(&mut text));
        let pid = text.trim();
        if read.is_err() || pid.is_empty() { "unknown".to_owned() } else { pid.to_owned() }
    }
}

/// What processes hold that use a cluster which another one runs.
#[derive(Debug)]
pub(super) struct GuestLock {
    file: File,
}

impl GuestLock {
    pub(super) fn open(data_dir: &Path) -> Result<Self, ClusterError> {
        Ok(Self { file: open(&data_dir.join("guests"))? })
    }

    /// Says that we are here. Others may be too.
    pub(super) fn enter(&self) -> Result<(), ClusterError> {
        self.file.lock_shared().map_err(ClusterError::io("cannot lock", "guests"))
    }

    /// Whether nobody is there.
    pub(super) fn is_free(&self) -> bool {
        self.file.try_lock().is_ok() && self.file.unlock().is_ok()
    }
}

fn open(path: &Path) -> Result<File, ClusterError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(ClusterError::io("cannot open", path))
}
