//! `indexer search`: a table on a terminal, JSON lines where it is asked for.

use std::{
    io::{self, Write},
    time::SystemTime,
};

use super::{CommandError, ask, eprint_line, replica::open_to_read, show::hex, table, table::Table, traits};
use crate::{
    cli::SearchOptions,
    db::{ObservedSwarm, Search, SwarmSize},
    kinds::Kind,
    search::{Cursor, Page, Request},
    settings::Settings,
};

pub(super) async fn run(settings: &Settings, options: &SearchOptions) -> Result<(), CommandError> {
    let cursor: Option<Cursor> =
        options.after.as_deref().map(str::parse).transpose().map_err(CommandError::Said)?;
    let mut request = Request::new(options.query.clone());
    request.sort = options.sort.parse().map_err(CommandError::Said)?;
    request.limit = options.limit;
    request.cursor = cursor;
    let database = open_to_read(settings).await?;
    let page = ask(&database, Search { request }).await;
    database.close().await;
    let page = page?;
    let mut out = io::stdout().lock();
    let text = if options.json { as_json(&page) } else { as_table(&page) };
    out.write_all(text.as_bytes()).map_err(CommandError::writing("standard output"))?;
    out.flush().map_err(CommandError::writing("standard output"))?;
    drop(out);
    if !options.json {
        eprint_line(&summary(&page));
    }
    Ok(())
}

fn as_json(page: &Page) -> String {
    let lines = page.hits.iter().map(|hit| {
        let torrent = &hit.torrent;
        let swarm = torrent.swarm.as_ref();
        let line = serde_json::json!({
            "v1": torrent.hashes.v1().map(|hash| hash.to_string()),
            "v2": torrent.hashes.v2().map(hex),
            "name": torrent.name,
            "total_size": torrent.total_size,
            "file_count": torrent.file_count,
            "added_at": humantime::format_rfc3339_micros(torrent.added_at).to_string(),
            "popularity": torrent.popularity,
            "type": torrent.kind.map(Kind::as_str),
            "traits": torrent.traits().map(|traits| traits::as_json(&traits)),
            "seeders": swarm.map(|swarm| swarm.size.seeders),
            "leechers": swarm.map(|swarm| swarm.size.leechers),
            "scraped_at": swarm.map(|swarm| humantime::format_rfc3339_micros(swarm.at).to_string()),
            "scraped_whole": swarm.map(|swarm| swarm.size.whole),
            "matched_file": hit.matched_file,
        });
        format!("{line}\n")
    });
    lines.collect()
}

fn as_table(page: &Page) -> String {
    if page.hits.is_empty() {
        return String::new();
    }
    let mut table =
        Table::new(&["info-hash", ">size", ">files", "added", ">seeders", ">leechers", "told", "name"]);
    for hit in &page.hits {
        let torrent = &hit.torrent;
        let told = |number: fn(&SwarmSize) -> u32| {
            // What only some nodes have told is the least that there is.
            let least = |swarm: &ObservedSwarm| if swarm.size.whole { "" } else { "≥ " };
            torrent
                .swarm
                .as_ref()
                .map_or_else(String::new, |swarm| format!("{}{}", least(swarm), number(&swarm.size)))
        };
        let name = match &hit.matched_file {
            Some(file) => format!("{}  [{file}]", torrent.name),
            None => torrent.name.clone(),
        };
        table.row([
            torrent.hashes.canonical().to_string(),
            table::bytes(u128::from(torrent.total_size)),
            torrent.file_count.to_string(),
            seconds(torrent.added_at),
            told(|size| size.seeders),
            told(|size| size.leechers),
            torrent.swarm.as_ref().map_or_else(String::new, |swarm| seconds(swarm.at)),
            name,
        ]);
    }
    table.to_string()
}

fn seconds(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string().replace('T', " ").trim_end_matches('Z').to_owned()
}

fn summary(page: &Page) -> String {
    if page.hits.is_empty() {
        return "nothing matches".to_owned();
    }
    let about = if page.count.exact { "" } else { "about " };
    let order =
        if page.approximate { "; too many to look at all of them, so the order is approximate" } else { "" };
    let next = page.next.map_or_else(String::new, |next| format!("; more with --after {next}"));
    format!("{} shown of {about}{}{order}{next}", page.hits.len(), page.count.number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        db::{Hashes, TorrentSummary},
        search::{Count, Hit},
    };
    use krpc::InfoHash;

    fn page(sizes: &[Option<SwarmSize>]) -> Page {
        let at = SystemTime::UNIX_EPOCH;
        let hits = sizes.iter().map(|size| Hit {
            torrent: TorrentSummary {
                hashes: Hashes::V1(InfoHash::from_bytes([1; 20])),
                name: "a name".to_owned(),
                total_size: 1,
                file_count: 1,
                added_at: at,
                popularity: 0,
                kind: Some(Kind::Video),
                swarm: size.map(|size| ObservedSwarm { size, at }),
            },
            relevance: 0.0,
            matched_file: None,
        });
        Page { hits: hits.collect(), count: Count { number: 1, exact: true }, next: None, approximate: false }
    }

    #[test]
    fn results_have_seeders_and_leechers_and_when_they_were_told() {
        let whole = SwarmSize { whole: true, nodes: 8, seeders: 120, leechers: 7 };
        let some = SwarmSize { whole: false, nodes: 1, ..whole };
        let page = page(&[Some(whole), Some(some), None]);
        let table = as_table(&page);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0][4..], ["SEEDERS", "LEECHERS", "TOLD", "NAME"]);
        assert_eq!(lines[1][6..], ["120", "7", "1970-01-01", "00:00:00", "a", "name"]);
        assert_eq!(lines[2][6..], ["≥", "120", "≥", "7", "1970-01-01", "00:00:00", "a", "name"]);
        assert_eq!(lines[3][6..], ["a", "name"]);

        let json: Vec<serde_json::Value> =
            as_json(&page).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&json[0]["seeders"], &json[0]["scraped_whole"]), (&120.into(), &true.into()));
        assert_eq!((&json[1]["leechers"], &json[1]["scraped_whole"]), (&7.into(), &false.into()));
        assert_eq!(
            (&json[0]["type"], &json[0]["traits"]["languages"]),
            (&"video".into(), &serde_json::json!([]))
        );
        assert_eq!(json[1]["scraped_at"], "1970-01-01T00:00:00.000000Z");
        assert!(json[2]["seeders"].is_null() && json[2]["scraped_at"].is_null());
    }
}
