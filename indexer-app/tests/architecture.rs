//! The directions of dependency, and where SQL may stand.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// For each of our crates, everything that it depends on outside of tests, directly or not.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline"])
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let array = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let names: BTreeMap<String, String> = array(&metadata["packages"])
        .iter()
        .map(|package| (text(&package["id"]), text(&package["name"])))
        .collect();
    let edges: BTreeMap<String, Vec<String>> = array(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| {
            let targets = array(&node["deps"])
                .iter()
                .filter(|dependency| {
                    array(&dependency["dep_kinds"]).iter().any(|kind| text(&kind["kind"]) != "dev")
                })
                .map(|dependency| text(&dependency["pkg"]))
                .collect();
            (text(&node["id"]), targets)
        })
        .collect();
    array(&metadata["workspace_members"])
        .iter()
        .map(|member| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![text(member)]);
            while let Some(id) = open.pop() {
                for next in edges.get(&id).into_iter().flatten() {
                    if seen.insert(next.clone()) {
                        open.push(next.clone());
                    }
                }
            }
            (names[&text(member)].clone(), seen.iter().map(|id| names[id].clone()).collect())
        })
        .collect()
}

#[test]
fn protocol_crates_know_neither_the_runtime_nor_sockets_nor_the_database() {
    let dependencies = dependencies();
    for protocol in ["krpc", "mainline", "bittorrent"] {
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
            assert!(!dependencies[protocol].contains(forbidden), "{protocol} depends on {forbidden}");
        }
    }
}

#[test]
fn dependencies_point_from_the_program_to_its_parts_and_never_back() {
    let dependencies = dependencies();
    let ours = |name: &str| -> BTreeSet<&str> {
        dependencies[name]
            .iter()
            .map(String::as_str)
            .filter(|other| dependencies.contains_key(*other))
            .collect()
    };
    assert_eq!(ours("tea-runtime"), BTreeSet::new());
    assert_eq!(ours("krpc"), BTreeSet::new());
    assert_eq!(ours("mainline"), BTreeSet::from(["krpc"]));
    assert_eq!(ours("bittorrent"), BTreeSet::from(["krpc"]));
    assert_eq!(ours("swarm"), BTreeSet::from(["krpc"]), "the swarm is an independent counterpart");
    assert_eq!(
        ours("indexer-app"),
        BTreeSet::from(["bittorrent", "krpc", "mainline", "swarm", "tea-runtime"])
    );
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
    for member in ["tea-runtime", "krpc", "mainline", "bittorrent", "indexer-app", "swarm"] {
        visit(&workspace().join(member).join("src"), &mut found);
    }
    assert_eq!(found, Vec::<String>::new());
}
