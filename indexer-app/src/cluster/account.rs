//! As whom PostgreSQL runs: it refuses to be root.

use std::{fmt, os::unix::fs::MetadataExt, path::Path};

use nix::unistd::{Gid, Uid, User};

use super::ClusterError;

/// Accounts to drop to, in the order in which they are looked for: PostgreSQL's own, then the one that owns nothing.
const CANDIDATES: [&str; 2] = ["postgres", "nobody"];

/// An account other than ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: Uid,
    pub(super) gid: Gid,
    pub(super) name: String,
}

impl Account {
    /// Whom to run the cluster as: `None` when as ourselves. Of an existing cluster its owner, as far as we may.
    pub(super) fn for_cluster(cluster: &Path) -> Result<Option<Self>, ClusterError> {
        if !Uid::effective().is_root() {
            return Ok(None);
        }
        if let Ok(metadata) = std::fs::metadata(cluster) {
            let owner = Uid::from_raw(metadata.uid());
            let account = if owner.is_root() { None } else { User::from_uid(owner).ok().flatten() };
            return match account {
                Some(user) => Ok(Some(user.into())),
                None => Err(ClusterError::OddClusterOwner {
                    cluster: cluster.to_owned(),
                    owner: name_of(metadata.uid()),
                }),
            };
        }
        CANDIDATES
            .iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .filter(|user| !user.uid.is_root())
            .map(|user| Some(user.into()))
            .ok_or(ClusterError::NoAccount)
    }
}

impl From<User> for Account {
    fn from(user: User) -> Self {
        Self { uid: user.uid, gid: user.gid, name: user.name }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The account's name, else its number.
pub(super) fn name_of(uid: u32) -> String {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map_or_else(|| format!("user {uid}"), |user| user.name)
}
