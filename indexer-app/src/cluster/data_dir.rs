//! Where the data lives, and whether it may live there.

use std::{
    fs::{self, Metadata, Permissions},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use nix::unistd::{Uid, User};

use super::{
    ClusterError,
    account::{Account, name_of},
};

/// Where root keeps it: below /root no other account could reach it.
const OF_ROOT: &str = "/var/lib/indexer";

/// The data directory when nobody chose one: `/var/lib/indexer` for root, `indexer` in the XDG data directory
/// (`$XDG_DATA_HOME`, else `~/.local/share`) for everybody else. It need not exist.
pub fn default_data_dir() -> PathBuf {
    if Uid::effective().is_root() {
        return PathBuf::from(OF_ROOT);
    }
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(data) = absolute("XDG_DATA_HOME") {
        return data.join("indexer");
    }
    let home =
        absolute("HOME").or_else(|| User::from_uid(Uid::effective()).ok().flatten().map(|user| user.dir));
    home.unwrap_or_else(|| PathBuf::from("/tmp")).join(".local/share/indexer")
}

/// Whether the data directory is ours, or could be made, and can be reached by the account that is to run the cluster.
/// Touches nothing.
pub(super) fn check(dir: &Path, account: Option<&Account>) -> Result<(), ClusterError> {
    match fs::metadata(dir) {
        Ok(metadata) if !metadata.is_dir() => return Err(ClusterError::NotADirectory(dir.to_owned())),
        Ok(metadata) => {
            let me = Uid::effective().as_raw();
            let ours =
                metadata.uid() == me || account.is_some_and(|account| account.uid.as_raw() == metadata.uid());
            if !ours {
                return Err(ClusterError::OtherOwner {
                    dir: dir.to_owned(),
                    owner: name_of(metadata.uid()),
                    me: name_of(me),
                });
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(ClusterError::io("cannot look at data directory", dir)(error)),
    }
    let cluster = dir.join("postgres");
    if let (None, Ok(metadata)) = (account, fs::metadata(&cluster))
        && metadata.uid() != Uid::effective().as_raw()
    {
        return Err(ClusterError::OtherOwner {
            dir: cluster,
            owner: name_of(metadata.uid()),
            me: name_of(Uid::effective().as_raw()),
        });
    }
    account.map_or(Ok(()), |account| check_reach(dir, account))
}

/// That every directory above lets the account pass. The data directory itself is ours to open.
fn check_reach(dir: &Path, account: &Account) -> Result<(), ClusterError> {
    let absolute =
        std::path::absolute(dir).map_err(ClusterError::io("cannot resolve data directory", dir))?;
    // Links are followed as far as the path exists; what does not exist yet will be made so that all may pass.
    let mut existing = absolute.as_path();
    let resolved = loop {
        match existing.canonicalize() {
            Ok(resolved) => break resolved,
            Err(_) => match existing.parent() {
                Some(parent) => existing = parent,
                None => return Ok(()),
            },
        }
    };
    let parents = if existing == absolute { resolved.parent() } else { Some(resolved.as_path()) };
    let mut parents: Vec<&Path> = parents.into_iter().flat_map(Path::ancestors).collect();
    parents.reverse();
    for parent in parents {
        let metadata = fs::metadata(parent).map_err(ClusterError::io("cannot look at", parent))?;
        if !may_pass(&metadata, account) {
            return Err(ClusterError::Unreachable { user: account.name.clone(), blocked: parent.to_owned() });
        }
    }
    Ok(())
}

/// Whether the mode lets the account pass. It runs with its own group only.
fn may_pass(metadata: &Metadata, account: &Account) -> bool {
    let bit = if metadata.uid() == account.uid.as_raw() {
        0o100
    } else if metadata.gid() == account.gid.as_raw() {
        0o010
    } else {
        0o001
    };
    metadata.mode() & bit != 0
}

/// Makes the data directory, or lets the account pass through the one that is there.
pub(super) fn create(dir: &Path, account: Option<&Account>) -> Result<(), ClusterError> {
    if !dir.is_dir() {
        // Parents as everybody makes them; ours is for us alone unless another account must pass.
        if let Some(parent) = dir.parent() {
            fs::create_dir_all(parent).map_err(ClusterError::io("cannot create", parent))?;
        }
        match fs::DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(ClusterError::io("cannot create data directory", dir)(error));
            }
            _ => {}
        }
    }
    let Some(account) = account else { return Ok(()) };
    let metadata = fs::metadata(dir).map_err(ClusterError::io("cannot look at data directory", dir))?;
    if !may_pass(&metadata, account) {
        fs::set_permissions(dir, Permissions::from_mode(metadata.mode() & 0o7777 | 0o011))
            .map_err(ClusterError::io("cannot let PostgreSQL pass through", dir))?;
    }
    Ok(())
}

/// Makes a directory for the account alone, if it is not there.
pub(super) fn create_private(dir: &Path, account: Option<&Account>) -> Result<(), ClusterError> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(ClusterError::io("cannot create", dir)(error));
        }
        _ => {}
    }
    give(dir, account)
}

/// Gives a path to the account.
pub(super) fn give(path: &Path, account: Option<&Account>) -> Result<(), ClusterError> {
    let Some(account) = account else { return Ok(()) };
    std::os::unix::fs::chown(path, Some(account.uid.as_raw()), Some(account.gid.as_raw()))
        .map_err(ClusterError::io("cannot give to the database's account", path))
}
