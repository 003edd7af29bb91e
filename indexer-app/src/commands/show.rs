//! `indexer show HASH`: one torrent with its files.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use bittorrent::{display_safe, display_safe_path};

use super::{CommandError, ask, replica::open_to_read, table, traits};
use crate::{
    db::{HashQuery, ObservedSwarm, Show, ShownTorrent, SwarmSize},
    settings::Settings,
};

pub(super) async fn run(settings: &Settings, text: &str, json: bool) -> Result<(), CommandError> {
    let Some(hash) = HashQuery::parse(text) else {
        return Err(CommandError::Said(format!(
            "{text:?} is no info-hash: it takes 4 to 40 hexadecimal digits, or the 64 of a v2 hash"
        )));
    };
    let database = open_to_read(settings).await?;
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
        out.write_all(rendered(torrent, json).as_bytes())
            .map_err(CommandError::writing("standard output"))?;
    }
    Ok(())
}

/// As it is written to standard output.
pub(super) fn rendered(torrent: &ShownTorrent, json: bool) -> String {
    if json { format!("{}\n", as_json(torrent)) } else { as_text(torrent) }
}

fn as_json(torrent: &ShownTorrent) -> serde_json::Value {
    let files: Vec<_> = torrent
        .files
        .iter()
        .map(|(path, length)| serde_json::json!({ "path": path, "length": length }))
        .collect();
    let swarm = torrent.swarm.as_ref();
    let traits = torrent.traits();
    serde_json::json!({
        "v1": torrent.hashes.v1().map(|hash| hash.to_string()),
        "v2": torrent.hashes.v2().map(hex),
        "name": torrent.name,
        "type": traits.kind.as_str(),
        "traits": traits::as_json(&traits),
        "total_size": torrent.total_size,
        "file_count": torrent.file_count,
        "files_whole": torrent.files_whole,
        "piece_length": torrent.piece_length,
        "piece_count": torrent.piece_count,
        "private": torrent.private,
        "source": torrent.source,
        "files": files,
        "added_at": rfc3339(torrent.added_at),
        "last_seen": rfc3339(torrent.last_seen),
        "seen_count": torrent.seen_count,
        "score": torrent.score,
        "seeders": swarm.map(|swarm| swarm.size.seeders),
        "leechers": swarm.map(|swarm| swarm.size.leechers),
        "scraped_at": swarm.map(|swarm| rfc3339(swarm.at)),
        "scraped_nodes": swarm.map(|swarm| swarm.size.nodes),
        "scraped_whole": swarm.map(|swarm| swarm.size.whole),
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
    line("type", &display_safe(&traits::as_text(&torrent.traits())));
    line("magnet", &magnet(torrent));
    line("size", &format!("{} ({} bytes)", table::bytes(u128::from(torrent.total_size)), torrent.total_size));
    if let (Some(count), Some(length)) = (torrent.piece_count, torrent.piece_length) {
        line("pieces", &format!("{count} of {}", table::bytes(u128::from(length))));
    }
    match torrent.private {
        Some(true) => line("private", &"yes"),
        Some(false) => {}
        None => line("private", &"not known"),
    }
    if let Some(source) = &torrent.source {
        line("source", &display_safe(source));
    }
    line("added", &rfc3339(torrent.added_at));
    line("discovered", &torrent.discovered_by);
    line("last seen", &rfc3339(torrent.last_seen));
    line("score", &format!("{:.2} ({} times seen)", torrent.score, torrent.seen_count));
    if let Some(swarm) = &torrent.swarm {
        line("swarm", &size(swarm));
    }
    if torrent.files_whole {
        line("files", &torrent.file_count);
    } else {
        line(
            "files",
            &format!("at least {}, of which {} are known", torrent.file_count, torrent.files.len()),
        );
    }
    for (path, length) in &torrent.files {
        let _ = writeln!(text, "{:>12} {}", table::bytes(u128::from(*length)), display_safe_path(path));
    }
    text
}

/// The size of a swarm, with what it rests on: estimates of the DHT.
fn size(swarm: &ObservedSwarm) -> String {
    let SwarmSize { whole, nodes, seeders, leechers } = swarm.size;
    let nodes = match nodes {
        0 => "another indexer".to_owned(),
        1 => "1 node".to_owned(),
        nodes => format!("{nodes} nodes"),
    };
    let rest = if whole { "" } else { " of some, so there may be more" };
    format!("about {seeders} seeders, {leechers} leechers ({}; by {nodes}{rest})", rfc3339(swarm.at))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Discovery, Hashes};
    use krpc::InfoHash;
    use std::time::{Duration, SystemTime};

    fn torrent(swarm: Option<ObservedSwarm>) -> ShownTorrent {
        ShownTorrent {
            hashes: Hashes::V1(InfoHash::from_bytes([1; 20])),
            name: "a name".to_owned(),
            name_raw: None,
            total_size: 1,
            files: vec![(vec!["a name".to_owned()], 1)],
            file_count: 1,
            files_whole: true,
            piece_length: Some(16_384),
            piece_count: Some(1),
            private: Some(false),
            source: None,
            discovered_by: Discovery::Sampled,
            added_at: SystemTime::UNIX_EPOCH,
            score: 0.0,
            seen_count: 1,
            last_seen: SystemTime::UNIX_EPOCH,
            swarm,
        }
    }

    #[test]
    fn the_size_of_a_swarm_comes_with_when_it_was_told_and_by_how_many() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400);
        let size = SwarmSize { whole: true, nodes: 8, seeders: 12, leechers: 3 };
        let whole = torrent(Some(ObservedSwarm { size, at }));
        assert!(as_text(&whole).contains(
            "swarm        about 12 seeders, 3 leechers (1970-01-02T00:00:00.000000Z; by 8 nodes)\n"
        ));
        let json = as_json(&whole);
        assert_eq!(
            (&json["seeders"], &json["leechers"], &json["scraped_nodes"]),
            (&12.into(), &3.into(), &8.into())
        );
        assert_eq!(
            (&json["scraped_at"], &json["scraped_whole"]),
            (&"1970-01-02T00:00:00.000000Z".into(), &true.into())
        );

        let size = SwarmSize { whole: false, nodes: 1, ..size };
        let some = torrent(Some(ObservedSwarm { size, at }));
        assert!(as_text(&some).contains("by 1 node of some, so there may be more)\n"), "{}", as_text(&some));
        assert_eq!(as_json(&some)["scraped_whole"], false);
    }

    #[test]
    fn a_swarm_that_nobody_has_told_of_has_no_size() {
        let unknown = torrent(None);
        assert!(!as_text(&unknown).contains("swarm"));
        assert!(as_json(&unknown)["seeders"].is_null() && as_json(&unknown)["scraped_at"].is_null());
    }
}
