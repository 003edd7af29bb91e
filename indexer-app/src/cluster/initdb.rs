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
    remove_unfinished(cluster);
    // A name of its own: after a kill the last initdb may still be removing what it had made.
    let unfinished: PathBuf = cluster.with_extension(format!("{UNFINISHED}-{}", std::process::id()));
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
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        // After its error initdb says what it tidies up.
        let error = lines.clone().find(|line| line.contains("error:")).or_else(|| lines.next_back());
        return Err(failed(error.unwrap_or("initdb said nothing").to_owned()));
    }
    fs::rename(&unfinished, cluster).map_err(ClusterError::io("cannot move the new database to", cluster))?;
    remove_unfinished(cluster);
    Ok(())
}

/// How folders end in which a cluster is made.
const UNFINISHED: &str = "unfinished";

/// Removes what processes have left that were killed while they made a cluster; we hold their lock now. What cannot be
/// removed is in nobody's way.
fn remove_unfinished(cluster: &Path) {
    let prefix = cluster.with_extension(UNFINISHED);
    let siblings =
        cluster.parent().and_then(|parent| fs::read_dir(parent).ok()).into_iter().flatten().flatten();
    for sibling in siblings.map(|entry| entry.path()) {
        if sibling.as_os_str().as_encoded_bytes().starts_with(prefix.as_os_str().as_encoded_bytes())
            && let Err(error) = fs::remove_dir_all(&sibling)
        {
            tracing::warn!(path = %sibling.display(), %error, "an unfinished database cannot be removed");
        }
    }
}
