//! `indexer search`: a table on a terminal, JSON lines where it is asked for.

use std::{
    io::{self, Read, Write},
    time::{Duration, SystemTime},
};

use tea_runtime::SessionError;

use super::{
    CommandError, ask_with, eprint_line, replica::open_to_read, show::hex, table, table::Table, traits,
};
use crate::{
    cli::SearchOptions,
    db::{ObservedSwarm, Search, SwarmSize},
    kinds::Kind,
    query::{Note, QUERY_BYTES_MAX},
    search::{Cursor, Facets, Page, Request},
    settings::Settings,
};

/// Connections of a search.
const CONNECTIONS: usize = 1;

/// SQLSTATE of a statement that was ended because its time was over.
const QUERY_CANCELED: &str = "57014";

pub(super) async fn run(settings: &Settings, options: &SearchOptions) -> Result<(), CommandError> {
    let cursor: Option<Cursor> =
        options.after.as_deref().map(str::parse).transpose().map_err(CommandError::Said)?;
    let (query, not_utf8) = query_of(options)?;
    let mut request = Request::new(query);
    request.sort = options.sort.parse().map_err(CommandError::Said)?;
    request.limit = options.limit;
    request.cursor = cursor;
    request.facets = options.facets;
    if let Some(timeout) = options.timeout {
        request.timeout = timeout;
    }
    let timeout = request.timeout;
    let database = open_to_read(settings).await?;
    let page = match database.search_pool(CONNECTIONS) {
        Ok(pool) => ask_with(&pool, Search { request }).await,
        Err(error) => Err(error.into()),
    };
    database.close().await;
    let mut page = page.map_err(|error| too_slow(error, timeout))?;
    if not_utf8 {
        page.notes.insert(0, Note::NotUtf8);
    }
    let mut out = io::stdout().lock();
    let text = if options.json { as_json(&page) } else { as_table(&page) };
    out.write_all(text.as_bytes()).map_err(CommandError::writing("standard output"))?;
    out.flush().map_err(CommandError::writing("standard output"))?;
    drop(out);
    if !options.json {
        for note in &page.notes {
            eprint_line(&format!("note: {note}"));
        }
        eprint_line(&summary(&page));
    }
    Ok(())
}

/// The query and whether it was anything but UTF-8. `-` stands for what is on standard input, of which no more is read than is used.
fn query_of(options: &SearchOptions) -> Result<(String, bool), CommandError> {
    let bytes = if options.query == ["-"] {
        let mut bytes = Vec::new();
        let limited = io::stdin().lock().take(QUERY_BYTES_MAX as u64 + 1);
        let read = { limited }.read_to_end(&mut bytes);
        read.map_err(|error| CommandError::Said(format!("standard input cannot be read: {error}")))?;
        // The end may be in the middle of a character.
        if bytes.len() > QUERY_BYTES_MAX {
            while bytes.last().is_some_and(|byte| byte & 0xc0 == 0x80) {
                bytes.pop();
            }
            bytes.pop();
            bytes.resize(QUERY_BYTES_MAX + 1, b' ');
        }
        bytes
    } else {
        use std::os::unix::ffi::OsStrExt;
        options.query.iter().map(|word| word.as_bytes()).collect::<Vec<_>>().join(&b' ')
    };
    Ok(match String::from_utf8(bytes) {
        Ok(text) => (text, false),
        Err(error) => {
            (String::from_utf8_lossy(error.as_bytes()).replace(char::REPLACEMENT_CHARACTER, " "), true)
        }
    })
}

fn too_slow(error: CommandError, timeout: Duration) -> CommandError {
    match error {
        CommandError::Session(SessionError::Database { code, .. }) if code == QUERY_CANCELED => {
            CommandError::Said(format!(
                "the search took longer than {} and was ended; ask for rarer words, or give it more time with --timeout",
                humantime::format_duration(timeout)
            ))
        }
        other => other,
    }
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
    let facet = |values: &[(String, u64)]| {
        values.iter().map(|(value, number)| serde_json::json!([value, number])).collect::<Vec<_>>()
    };
    let facets = page.facets.as_ref().map(|facets| {
        serde_json::json!({
            "type": facet(&facets.types),
            "ext": facet(&facets.extensions),
            "size": facet(&facets.sizes),
            "year": facet(&facets.years),
            "sampled": facets.sampled,
            "exact": facets.exact,
        })
    });
    let last = serde_json::json!({ "page": {
        "count": page.count.number,
        "exact": page.count.exact,
        "approximate": page.approximate,
        "next": page.next.map(|next| next.to_string()),
        "notes": page.notes.iter().map(Note::to_string).collect::<Vec<_>>(),
        "facets": facets,
        "did_you_mean": page.did_you_mean,
    }});
    lines.chain([format!("{last}\n")]).collect()
}

fn as_table(page: &Page) -> String {
    let mut text = String::new();
    if !page.hits.is_empty() {
        let mut table = Table::new(&[
            "info-hash",
            "type",
            ">size",
            ">files",
            "added",
            ">seeders",
            ">leechers",
            "told",
            "name",
        ]);
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
                Some(file) => format!("{}  [{}]", shortened(&torrent.name), shortened(file)),
                None => shortened(&torrent.name),
            };
            table.row([
                torrent.hashes.canonical().to_string(),
                torrent.kind.map_or_else(String::new, |kind| kind.to_string()),
                table::bytes(u128::from(torrent.total_size)),
                torrent.file_count.to_string(),
                seconds(torrent.added_at),
                told(|size| size.seeders),
                told(|size| size.leechers),
                torrent.swarm.as_ref().map_or_else(String::new, |swarm| seconds(swarm.at)),
                name,
            ]);
        }
        text.push_str(&table.to_string());
    }
    if let Some(facets) = &page.facets {
        text.push_str(&facet_lines(facets));
    }
    text
}

/// A line for each facet: `type: video 120, audio 7`.
fn facet_lines(facets: &Facets) -> String {
    let about = if facets.exact { "" } else { "about " };
    let mut text = String::new();
    for (name, values) in [
        ("type", &facets.types),
        ("ext", &facets.extensions),
        ("size", &facets.sizes),
        ("year", &facets.years),
    ] {
        if !values.is_empty() {
            let values: Vec<String> = values
                .iter()
                .map(|(value, number)| format!("{} {about}{number}", bittorrent::display_safe(value)))
                .collect();
            text.push_str(&format!("{name}: {}\n", values.join(", ")));
        }
    }
    text
}

/// A name as long as a line of a table bears: some have ten thousand characters.
fn shortened(name: &str) -> String {
    const SHOWN_MAX: usize = 255;
    match name.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

fn seconds(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string().replace('T', " ").trim_end_matches('Z').to_owned()
}

fn summary(page: &Page) -> String {
    let next = page.next.map_or_else(String::new, |next| format!("; more with --after {next}"));
    if page.hits.is_empty() {
        let meant = page
            .did_you_mean
            .as_ref()
            .map_or_else(String::new, |query| format!("; did you mean: {}", bittorrent::display_safe(query)));
        return match page.next {
            None if page.approximate => format!("nothing matches among those that can be found yet{meant}"),
            None => format!("nothing matches{meant}"),
            Some(_) => format!("nothing matches among those that were looked at{next}"),
        };
    }
    let about = if page.count.exact { "" } else { "about " };
    let order = if page.approximate {
        "; not all were looked at, so some may be missing or out of order"
    } else {
        ""
    };
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
        Page {
            hits: hits.collect(),
            count: Count { number: 1, exact: true },
            next: None,
            approximate: false,
            notes: vec![Note::OpenQuote],
            facets: None,
            did_you_mean: None,
        }
    }

    #[test]
    fn results_have_seeders_and_leechers_and_when_they_were_told() {
        let whole = SwarmSize { whole: true, nodes: 8, seeders: 120, leechers: 7 };
        let some = SwarmSize { whole: false, nodes: 1, ..whole };
        let page = page(&[Some(whole), Some(some), None]);
        let table = as_table(&page);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0][5..], ["SEEDERS", "LEECHERS", "TOLD", "NAME"]);
        assert_eq!(lines[1][1], "video");
        assert_eq!(lines[1][7..], ["120", "7", "1970-01-01", "00:00:00", "a", "name"]);
        assert_eq!(lines[2][7..], ["≥", "120", "≥", "7", "1970-01-01", "00:00:00", "a", "name"]);
        assert_eq!(lines[3][7..], ["a", "name"]);

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
        assert_eq!((&json[3]["page"]["count"], &json[3]["page"]["exact"]), (&1.into(), &true.into()));
        assert_eq!(json[3]["page"]["notes"][0], Note::OpenQuote.to_string());
    }
}
