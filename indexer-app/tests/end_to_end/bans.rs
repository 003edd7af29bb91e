//! `delete`, `ban` and `unban` as a user types them.

use std::{fs, process::Command};

use indexer_app::{
    cluster::Mode,
    db::{self, DatabaseChoice, StoreTorrents},
};
use tea_runtime::Session;

use crate::{
    indexer::{ask, data_dir, program, refusal},
    private_cluster::{TempDir, hash, options, torrent},
};

/// A data directory with some torrents, made without a crawl.
fn filled(names: &[&str]) -> TempDir {
    let folder = TempDir::new();
    let choice = DatabaseChoice::Private {
        cluster: options(&data_dir(&folder.0)),
        mode: Mode::Own,
        database: "indexer".to_owned(),
    };
    let work = async {
        let mut database = db::connect(&choice, 2).await.unwrap();
        database.migrate().await.unwrap();
        let torrents = (0..).zip(names).map(|(number, name)| torrent(number, name)).collect();
        StoreTorrents { torrents }.run(&mut database.pool.get().await.unwrap()).await.unwrap();
        database.close().await;
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
    folder
}

fn said(folder: &TempDir, command: &[&str]) -> String {
    String::from_utf8(ask(&folder.0, command).unwrap()).unwrap()
}

/// A command of two words: what is common to all of them stands behind the second.
fn ban(folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_indexer"));
    command.arg("--config").arg(folder.join("empty.toml")).args(["ban", arguments[0]]);
    command.arg("--data-dir").arg(data_dir(&folder.0)).args(&arguments[1..]);
    command
}

fn ban_says(folder: &TempDir, arguments: &[&str]) -> String {
    let output = ban(folder, arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn torrents_are_deleted_and_banned_and_let_in_again_by_commands_that_say_what_they_did() {
    let folder = filled(&["first", "second\u{1b}[31m", "noise of summer", "noise of winter", "fifth"]);
    let hashes: Vec<String> = (0..10).map(|number| hash(number).to_string()).collect();

    // Nobody is there to be asked.
    assert_eq!(
        refusal(program(&folder.0, "delete").arg(&hashes[0])),
        "1 torrent would be deleted for good: say --yes, or ask from a terminal"
    );
    let text = said(&folder, &["delete", &hashes[0], &hashes[1], &hashes[9], "--yes"]);
    assert!(
        text.starts_with(&format!("{} deleted: first\n", hashes[0])) && !text.contains('\u{1b}'),
        "{text}"
    );
    assert!(
        refusal(program(&folder.0, "delete").args([&hashes[0], "--yes"]))
            .starts_with("none of them is indexed")
    );
    let text = said(&folder, &["request", &hashes[0]]);
    assert!(text.contains("was deleted or banned"), "{text}");

    assert!(
        ban_says(&folder, &["add", "--words", "NOISE", "--size-max", "1kib"])
            .starts_with("rule 1: words \"NOISE\", at most 1024 bytes;")
    );
    let list = folder.join("list.txt");
    fs::write(
        &list,
        format!("# mine\n\n{} a comment\nnonsense\n{}\n{}\n", hashes[4], hashes[8], "x".repeat(9_000)),
    )
    .unwrap();
    let output = ban(&folder, &["add", "--file", list.to_str().unwrap(), &hashes[7]]).output().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "3 hashes read, 3 newly banned; 1 torrent of them stored: `indexer ban apply` deletes what is\n"
    );
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        format!(
            "{0}, line 4: no info-hash, passed over\n{0}, line 6: no info-hash, passed over\n",
            list.display()
        )
    );
    let text = ban_says(&folder, &["apply", "--dry-run"]);
    // Sizes are 1000 and the number: 1002 and 1003.
    assert!(
        text.starts_with("3 torrents would be deleted\n  by their hashes: 1\n  by rule 1: 2\n"),
        "{text}"
    );
    assert!(text.contains("noise of winter") && text.contains(&hashes[4]), "{text}");
    assert_eq!(said(&folder, &["export"]).lines().count(), 3);
    assert_eq!(ban_says(&folder, &["apply"]), "3 torrents deleted\n");
    assert_eq!(ban_says(&folder, &["apply"]), "0 torrents deleted\n");
    assert_eq!(said(&folder, &["export"]).lines().count(), 0);

    let text = ban_says(&folder, &["list"]);
    assert_eq!(
        text,
        "rule 1: words \"NOISE\", at most 1024 bytes\n3 hashes: banned\n2 hashes: banned by rule 1\n2 hashes: deleted\n"
    );
    assert!(ban_says(&folder, &["remove", "1"]).contains("stays banned until"));
    assert!(refusal(&mut ban(&folder, &["remove", "1"])).starts_with("there is no rule 1;"));
    assert!(said(&folder, &["unban", &hashes[0], &hashes[5]]).starts_with("1 hash may come back;"));
    assert!(said(&folder, &["request", &hashes[0]]).contains("is fetched next"));

    for (arguments, sentence) in [
        (&["add"][..], "a rule needs --words"),
        (&["add", "--words", "..."], "\"...\" has no word"),
        (&["add", "--size-min", "2", "--size-max", "1"], "no size is at least 2 and at most 1 bytes"),
        (&["add", "--words", "x", &hashes[1]], "info-hashes are banned as they are"),
        (&["add", "zz"], "\"zz\" is no info-hash"),
        (&["add", "--file", "/nowhere/list"], "/nowhere/list cannot be read"),
    ] {
        let said = refusal(&mut ban(&folder, arguments));
        assert!(said.starts_with(sentence), "{said}");
    }
}
