//! `indexer show HASH`: one torrent with its files.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use bittorrent::{display_safe, display_safe_path};

use super::{CommandError, ask, open_to_ask, table};
use crate::{
    db::{HashQuery, Show, ShownTorrent},
    settings::Settings,
};

pub(super) async fn run(settings: &Settings, text: &str, json: bool) -> Result<(), CommandError> {
    let Some(hash) = HashQuery::parse(text) else {
        return Err(CommandError::Said(format!(
            "{text:?} is no info-hash: it takes 4 to 40 hexadecimal digits, or the 64 of a v2 hash"
        )));
    };
    let database = open_to_ask(settings).await?;
    let found = ask(&database, Show { hash }).await;
    database.close().await;
    let found = found?;
    if found.is_empty() {
        return Err(CommandError::Said(format!(
            "no torrent with the hash {text} is indexed; `indexer request {text}` has it fetched"
        )));
    }
    let mut out = io::stdout().lock();
    for torrent in &found {
        let text = if json { format!("{}\n", as_json(torrent)) } else { as_text(torrent) };
        out.write_all(text.as_bytes()).map_err(CommandError::writing("standard output"))?;
    }
    Ok(())
}

fn as_json(torrent: &ShownTorrent) -> serde_json::Value {
    let files: Vec<_> = torrent
        .files
        .iter()
        .map(|(path, length)| serde_json::json!({ "path": path, "length": length }))
        .collect();
    serde_json::json!({
        "v1": torrent.hashes.v1().map(|hash| hash.to_string()),
        "v2": torrent.hashes.v2().map(hex),
        "name": torrent.name,
        "total_size": torrent.total_size,
        "file_count": torrent.files.len(),
        "piece_length": torrent.piece_length,
        "piece_count": torrent.piece_count,
        "private": torrent.private,
        "source": torrent.source,
        "files": files,
        "added_at": rfc3339(torrent.added_at),
        "last_seen": rfc3339(torrent.last_seen),
        "seen_count": torrent.seen_count,
        "score": torrent.score,
        "discovered_by": torrent.discovered_by.as_str(),
    })
}

fn as_text(torrent: &ShownTorrent) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        // Writing into a String does not fail.
        let _ = writeln!(text, "{name:<12} {value}");
    };
    line("name", &display_safe(&torrent.name));
    if let Some(v1) = torrent.hashes.v1() {
        line("v1", &v1);
    }
    if let Some(v2) = torrent.hashes.v2() {
        line("v2", &hex(v2));
    }
    line("magnet", &magnet(torrent));
    line("size", &format!("{} ({} bytes)", table::bytes(u128::from(torrent.total_size)), torrent.total_size));
    line("pieces", &format!("{} of {}", torrent.piece_count, table::bytes(u128::from(torrent.piece_length))));
    if torrent.private {
        line("private", &"yes");
    }
    if let Some(source) = &torrent.source {
        line("source", &display_safe(source));
    }
    line("added", &rfc3339(torrent.added_at));
    line("discovered", &torrent.discovered_by);
    line("last seen", &rfc3339(torrent.last_seen));
    line("score", &format!("{:.2} ({} times seen)", torrent.score, torrent.seen_count));
    line("files", &torrent.files.len());
    for (path, length) in &torrent.files {
        let _ = writeln!(text, "{:>12} {}", table::bytes(u128::from(*length)), display_safe_path(path));
    }
    text
}

fn rfc3339(at: std::time::SystemTime) -> String {
    humantime::format_rfc3339_micros(at).to_string()
}

fn magnet(torrent: &ShownTorrent) -> String {
    let mut topics = Vec::new();
    if let Some(v1) = torrent.hashes.v1() {
        topics.push(format!("xt=urn:btih:{v1}"));
    }
    if let Some(v2) = torrent.hashes.v2() {
        // A multihash: 0x12 is SHA-256, 0x20 its length (BEP 52).
        topics.push(format!("xt=urn:btmh:1220{}", hex(v2)));
    }
    format!("magnet:?{}", topics.join("&"))
}

pub(super) fn hex(bytes: [u8; 32]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
