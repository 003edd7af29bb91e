//! Making a new cluster: in a folder beside its place, moved there when it is whole.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use super::{ClusterError, ClusterOptions, account::Account, data_dir, guard, programs::Programs};

/// The database user that owns everything. Whoever can reach the socket is it.
pub(super) const USER: &str = "indexer";

/// Makes a cluster at `cluster` unless there is one.
pub(super) fn ensure(
    cluster: &Path,
    programs: &Programs,
    account: Option<&Account>,
    options: &ClusterOptions,
) -> Result<(), ClusterError> {
    if cluster.join("PG_VERSION").exists() {
        return Ok(());
    }
    let failed = |why: String| ClusterError::Initdb { dir: cluster.to_owned(), why };
    if cluster.exists() {
        let empty = fs::read_dir(cluster).is_ok_and(|mut entries| entries.next().is_none());
        if !empty {
            return Err(failed("the directory is there and holds something else".to_owned()));
        }
    }
    let unfinished: PathBuf = cluster.with_extension("unfinished");
    if unfinished.exists() {
        // Of a process that was killed while it made one: we hold its lock now.
        fs::remove_dir_all(&unfinished).map_err(ClusterError::io("cannot remove", &unfinished))?;
    }
    data_dir::create_private(&unfinished, account)?;
    let output = guard::command(&options.guard, account, &programs.initdb())
        .arg("-D")
        .arg(&unfinished)
        .args(["-U", USER, "--auth=trust", "--encoding=UTF8", "--locale=C", "--data-checksums"])
        .args((!options.fsync).then_some("--no-sync"))
        .stdin(Stdio::null())
        .output()
        .map_err(ClusterError::io("cannot run", &options.guard))?;
    if !output.status.success() {
        let _ = fs::remove_dir_all(&unfinished);
        let text = String::from_utf8_lossy(&output.stderr);
        let last =
            text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("initdb said nothing");
        return Err(failed(last.to_owned()));
    }
    fs::rename(&unfinished, cluster).map_err(ClusterError::io("cannot move the new database to", cluster))
}
