//! The command line as a user meets it: what is wrong is said in one sentence, with an exit code that is not 0.

#![allow(clippy::expect_used, reason = "a test stops where it cannot go on")]

use std::process::{Command, Output};

fn indexer(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_indexer"))
        .args(arguments)
        .env_remove("INDEXER_LOG")
        .output()
        .expect("the program starts")
}

/// What a failing command says: one line behind the program's name.
fn complaint(arguments: &[&str]) -> String {
    let output = indexer(arguments);
    assert!(!output.status.success(), "{arguments:?} succeeded");
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1, "{arguments:?} said: {text}");
    lines[0].strip_prefix("indexer: ").expect("the program's name").to_owned()
}

#[test]
fn without_a_command_nothing_happens_but_help() {
    let output = indexer(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Usage: indexer"));
}

#[test]
fn a_wrong_value_names_its_flag_and_what_would_be_right() {
    assert_eq!(
        complaint(&["run", "--port", "70000"]),
        "setting port from the command line: \"70000\" is not a number from 0 to 65535"
    );
    assert_eq!(
        complaint(&["run", "--bootstrap", "router"]),
        "setting bootstrap from the command line: \"router\" is not HOST:PORT, as in router.example.org:6881"
    );
    assert_eq!(
        complaint(&["run", "--port", "65535", "--ports", "2"]),
        "setting ports: 2 ports from 65535 on end beyond 65535; choose a lower port"
    );
}

#[test]
fn an_unknown_flag_is_a_usage_error() {
    let output = indexer(&["run", "--speed", "9"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--speed"));
}

#[test]
fn config_shows_each_setting_with_its_value_and_where_it_came_from() {
    let output = Command::new(env!("CARGO_BIN_EXE_indexer"))
        .args(["config", "--ports", "3", "--database-url", "postgres://me:secret@localhost/x"])
        .env("INDEXER_FETCHES", "77")
        .output()
        .expect("the program starts");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let row = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).expect("a row");
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("ports")[..3], ["ports", "3", "the command line"]);
    assert_eq!(row("fetches")[..3], ["fetches", "77", "environment variable INDEXER_FETCHES"]);
    assert_eq!(row("min-sample-interval")[..3], ["min-sample-interval", "300s", "default"]);
    assert!(!text.contains("secret"), "the password is shown");
}

#[test]
fn asking_a_data_directory_without_an_index_says_what_to_do() {
    let directory = std::env::temp_dir().join(format!("indexer-cli-{}", std::process::id()));
    let text = complaint(&["search", "x", "--data-dir", directory.to_str().expect("UTF-8")]);
    assert!(text.contains("nothing is indexed in"), "{text}");
    assert!(!directory.exists(), "a question made a data directory");
}

#[test]
fn a_database_that_cannot_be_reached_is_said_in_one_sentence() {
    // Port 1 of loopback: nobody listens there.
    let text = complaint(&["search", "x", "--database-url", "postgres://nobody:secret@127.0.0.1:1/none"]);
    assert!(text.starts_with("the database at 127.0.0.1:1"), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn a_hash_that_is_none_is_refused() {
    let directory = std::env::temp_dir();
    let text = complaint(&["show", "xyz", "--data-dir", directory.to_str().expect("UTF-8")]);
    assert!(text.contains("is no info-hash"), "{text}");
}
