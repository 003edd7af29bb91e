//! `reindex` as a user types it, and what `show`, `search` and `stats` say of what a torrent is.

use std::process::{Command, Stdio};

use indexer_app::{
    cluster::Mode,
    db::{self, DatabaseChoice, StoreTorrents},
};
use nix::sys::signal::Signal;
use tea_runtime::Session;

use crate::{
    indexer::{ask, data_dir, program},
    private_cluster::{TempDir, hash, options, torrent},
    process::signal,
};

/// Torrents whose rows older rules have made.
const OLD: u32 = 3_000;

/// A data directory with torrents of older rules, and one of the rules of today.
fn filled() -> TempDir {
    let folder = TempDir::new();
    let choice = DatabaseChoice::Private {
        cluster: options(&data_dir(&folder.0)),
        mode: Mode::Own,
        database: "indexer".to_owned(),
    };
    let work = async {
        let mut database = db::connect(&choice, 2).await.unwrap();
        database.migrate().await.unwrap();
        let mut client = database.pool.get().await.unwrap();
        let old =
            (0..OLD).map(|number| torrent(number, &format!("Quiet Lamp {number} (1999).flac"))).collect();
        StoreTorrents { torrents: old }.run(&mut client).await.unwrap();
        client.batch_execute("update torrents set tsv = '', kind = 0, class_ver = 0").await.unwrap();
        let new = torrent(OLD, "Harbour.Lights.S02E05.FRENCH.1080p.WEB-DL.x265-GRP.mkv");
        StoreTorrents { torrents: vec![new] }.run(&mut client).await.unwrap();
        drop(client);
        database.close().await;
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
    folder
}

fn said(folder: &TempDir, command: &[&str]) -> String {
    String::from_utf8(ask(&folder.0, command).unwrap()).unwrap()
}

fn json(folder: &TempDir, command: &[&str]) -> serde_json::Value {
    serde_json::from_str(said(folder, command).trim()).unwrap()
}

/// What the command says at its end.
fn end_of(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    text.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn torrents_of_older_rules_are_made_again_by_a_command_that_can_be_interrupted() {
    let folder = filled();
    let types = || json(&folder, &["stats", "--json"])["torrents"]["by_type"].clone();
    assert_eq!(types(), serde_json::json!({ "unknown": OLD, "video": 1 }));
    let shown = json(&folder, &["show", &hash(OLD).to_string(), "--json"]);
    assert_eq!((&shown["type"], &shown["traits"]["episode"]), (&"video".into(), &5.into()));
    assert_eq!(shown["traits"]["languages"], serde_json::json!(["fr"]));
    let text = said(&folder, &["show", &hash(OLD).to_string()]);
    let line = "type         video, season 2, episode 5, 1080p, x265, web-dl, fr, by GRP\n";
    assert!(text.contains(line), "{text}");

    // Told to end at once: it does, whatever it has done by then.
    let mut interrupted = program(&folder.0, "reindex").stderr(Stdio::piped()).spawn().unwrap();
    signal(i32::try_from(interrupted.id()).unwrap(), Signal::SIGINT);
    interrupted.wait().unwrap();

    let end = end_of(&mut program(&folder.0, "reindex"));
    assert!(end.ends_with("torrents made again; every torrent is up to date"), "{end}");
    assert_eq!(types(), serde_json::json!({ "audio": OLD, "video": 1 }));
    let hits = said(&folder, &["search", "quiet lamp 77", "--json"]);
    let hit: serde_json::Value = serde_json::from_str(hits.lines().next().unwrap()).unwrap();
    assert_eq!((&hit["type"], &hit["traits"]["year"]), (&"audio".into(), &1999.into()));
    assert_eq!(
        end_of(&mut program(&folder.0, "reindex")),
        "0 torrents made again; every torrent is up to date"
    );
    let all = format!("{} torrents made again; every torrent is up to date", OLD + 1);
    assert_eq!(end_of(program(&folder.0, "reindex").arg("--all")), all);
}
