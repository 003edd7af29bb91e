//! `indexer search`: a table on a terminal, JSON lines where it is asked for.

use std::io::{self, Write};

use super::{CommandError, ask, eprint_line, open_to_ask, show::hex, table, table::Table};
use crate::{
    cli::SearchOptions,
    db::Search,
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
    let database = open_to_ask(settings).await?;
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
        let line = serde_json::json!({
            "v1": torrent.hashes.v1().map(|hash| hash.to_string()),
            "v2": torrent.hashes.v2().map(hex),
            "name": torrent.name,
            "total_size": torrent.total_size,
            "file_count": torrent.file_count,
            "added_at": humantime::format_rfc3339_micros(torrent.added_at).to_string(),
            "popularity": torrent.popularity,
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
    let mut table = Table::new(&["info-hash", ">size", ">files", "added", "name"]);
    for hit in &page.hits {
        let torrent = &hit.torrent;
        let added = humantime::format_rfc3339_seconds(torrent.added_at).to_string();
        let name = match &hit.matched_file {
            Some(file) => format!("{}  [{file}]", torrent.name),
            None => torrent.name.clone(),
        };
        table.row([
            torrent.hashes.canonical().to_string(),
            table::bytes(u128::from(torrent.total_size)),
            torrent.file_count.to_string(),
            added.replace('T', " ").trim_end_matches('Z').to_owned(),
            name,
        ]);
    }
    table.to_string()
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
