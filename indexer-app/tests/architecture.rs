//! The directions of dependency, and where SQL may stand.

#![allow(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

const OURS: [&str; 6] = ["tea-runtime", "krpc", "mainline", "bittorrent", "swarm", "indexer-app"];

/// Everything that a crate depends on outside of tests, directly or not.
fn dependencies(member: &str) -> BTreeSet<String> {
    tree(member, "normal,build", "1000")
}

/// What a crate and its tests name as their dependencies.
fn direct_dependencies_with_tests(member: &str) -> BTreeSet<String> {
    tree(member, "normal,build,dev", "1")
}

fn tree(member: &str, edges: &str, depth: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--package", member, "--edges", edges, "--depth", depth])
        .args(["--prefix", "none", "--format", "{p}"])
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let names = text.lines().filter_map(|line| line.split(' ').next());
    let mut found: BTreeSet<String> = names.map(str::to_owned).collect();
    assert!(found.remove(member), "{member} is not in its own tree");
    found
}

#[test]
fn protocol_crates_know_neither_the_runtime_nor_sockets_nor_the_database() {
    for protocol in ["krpc", "mainline", "bittorrent"] {
        let dependencies = dependencies(protocol);
        for forbidden in [
            "tea-runtime",
            "tokio",
            "mio",
            "socket2",
            "nix",
            "tokio-postgres",
            "deadpool-postgres",
            "getrandom",
        ] {
            assert!(!dependencies.contains(forbidden), "{protocol} depends on {forbidden}");
        }
    }
}

#[test]
fn dependencies_point_from_the_program_to_its_parts_and_never_back() {
    let ours = |member: &str| -> BTreeSet<&str> {
        let dependencies = dependencies(member);
        OURS.into_iter().filter(|other| dependencies.contains(*other)).collect()
    };
    assert_eq!(ours("tea-runtime"), BTreeSet::new());
    assert_eq!(ours("krpc"), BTreeSet::new());
    assert_eq!(ours("mainline"), BTreeSet::from(["krpc"]));
    assert_eq!(ours("bittorrent"), BTreeSet::from(["krpc"]));
    assert_eq!(
        ours("swarm"),
        BTreeSet::from(["bittorrent", "krpc"]),
        "the swarm is a counterpart of the DHT and of fetching: it uses encryption and uTP alone"
    );
    assert_eq!(
        ours("indexer-app"),
        BTreeSet::from(["bittorrent", "krpc", "mainline", "swarm", "tea-runtime"])
    );
}

#[test]
fn the_tests_of_the_protocol_crates_use_the_swarm_and_the_swarm_never_the_dht() {
    let ours = |member: &str| -> BTreeSet<&str> {
        let dependencies = direct_dependencies_with_tests(member);
        OURS.into_iter().filter(|other| dependencies.contains(*other)).collect()
    };
    assert_eq!(ours("krpc"), BTreeSet::new());
    assert_eq!(ours("mainline"), BTreeSet::from(["krpc", "swarm"]));
    assert_eq!(ours("bittorrent"), BTreeSet::from(["krpc"]));
    assert_eq!(ours("swarm"), BTreeSet::from(["krpc", "bittorrent"]));
    let mut found = BTreeSet::new();
    names_of_bittorrent(&workspace().join("swarm/src"), &mut found);
    assert_eq!(
        found,
        BTreeSet::from(["CloseHow", "mse", "utp"].map(str::to_owned)),
        "what the swarm uses of the crate that it challenges"
    );
}

/// The modules or types of `bittorrent` that the files of a folder name.
fn names_of_bittorrent(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            names_of_bittorrent(&path, found);
        } else {
            let text = std::fs::read_to_string(&path).unwrap();
            found.extend(text.split("bittorrent::").skip(1).map(|rest| {
                rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
            }));
        }
    }
}

#[test]
fn sql_stands_only_in_migrations_and_in_the_db_module() {
    fn visit(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                if !path.ends_with("src/db") && !path.ends_with("target") && !path.ends_with("tests") {
                    visit(&path, found);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap().to_lowercase();
                for statement in [
                    "\"select ",
                    "\"insert into ",
                    "\"update ",
                    "\"delete from ",
                    "\"create table ",
                    "\"explain ",
                    "\"with ",
                ] {
                    if text.contains(statement) {
                        found.push(format!("{}: {statement}", path.display()));
                    }
                }
            }
        }
    }
    let mut found = Vec::new();
    for member in OURS {
        visit(&workspace().join(member).join("src"), &mut found);
    }
    assert_eq!(found, Vec::<String>::new());
}
