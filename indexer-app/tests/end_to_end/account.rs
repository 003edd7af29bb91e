//! The program for a user who is not root, with nothing set up for them.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::Command,
};

use nix::unistd::{Uid, User};
use serde_json::Value;

use crate::{
    indexer::{Indexer, bare},
    private_cluster::TempDir,
};

/// A command of a user who is not root: ourselves, or if we are, whoever owns nothing.
fn command_of(user: Option<&User>, program: &Path, folder: &Path) -> Command {
    let mut command = bare(program, folder);
    command.env("XDG_DATA_HOME", folder.join("share")).env_remove("XDG_RUNTIME_DIR");
    if let Some(user) = user {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}

#[test]
fn a_user_who_is_not_root_runs_a_demo_and_searches_it_without_naming_it() {
    let folder = TempDir::for_programs();
    let user = Uid::effective().is_root().then(|| User::from_name("nobody").unwrap().unwrap());
    // Where the program was built that user may have no business.
    let program = folder.join("indexer");
    fs::copy(env!("CARGO_BIN_EXE_indexer"), &program).unwrap();
    fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    if let Some(user) = &user {
        chown(&folder.0, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
    let mut command = command_of(user.as_ref(), &program, &folder.0);
    command.args(["demo", "--nodes", "60", "--torrents", "40"]).current_dir(&folder.0);
    let mut demo = Indexer::start(&folder.0, command);
    demo.until("the demo saying that all is indexed", |demo| {
        demo.log().contains("all 40 torrents indexed").then_some(())
    });
    let mut search = command_of(user.as_ref(), &program, &folder.0);
    search.args(["stats", "--json"].map(OsStr::new)).current_dir(&folder.0);
    let output = search.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("asking the demo that runs in"), "{said}");
    let stats: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(stats["torrents"]["stored"], 40, "{stats:#}");
    demo.interrupt();
    assert!(folder.join("share/indexer-demo/postgres/PG_VERSION").exists());
    assert!(!folder.join("share/indexer").exists(), "a demo is kept apart from what is real");
}
