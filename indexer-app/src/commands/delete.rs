//! `indexer delete`: takes torrents out of the index for good.

use std::io::{self, BufRead, IsTerminal, Write};

use bittorrent::display_safe;

use super::{CommandError, ask, open_to_ask, request::parse, table};
use crate::{
    db::{DeleteTorrents, StoredTorrent, StoredUnder},
    settings::Settings,
};

pub(super) async fn run(settings: &Settings, texts: &[String], yes: bool) -> Result<(), CommandError> {
    let hashes = texts.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
    let database = open_to_ask(settings).await?;
    let outcome = async {
        let found = ask(&database, StoredUnder { hashes }).await?;
        if found.is_empty() {
            return Err(CommandError::Said(
                "none of them is indexed, and nothing was deleted; `indexer ban add HASH` keeps a hash from being fetched"
                    .to_owned(),
            ));
        }
        if !yes && !confirmed(&found)? {
            return Err(CommandError::Said("nothing was deleted".to_owned()));
        }
        let hashes = found.iter().map(|torrent| torrent.info_hash).collect();
        Ok((ask(&database, DeleteTorrents { hashes }).await?, found))
    }
    .await;
    database.close().await;
    let (deleted, found) = outcome?;
    let mut out = io::stdout().lock();
    for torrent in found.iter().filter(|torrent| deleted.contains(&torrent.info_hash)) {
        writeln!(out, "{} deleted: {}", torrent.info_hash, display_safe(&torrent.name))
            .map_err(CommandError::writing("standard output"))?;
    }
    Ok(())
}

/// Whether the user says yes.
fn confirmed(found: &[StoredTorrent]) -> Result<bool, CommandError> {
    if !io::stdin().is_terminal() {
        return Err(CommandError::Said(format!(
            "{} would be deleted for good: say --yes, or ask from a terminal",
            torrents(found.len() as u64)
        )));
    }
    let mut error = io::stderr().lock();
    let failed = || CommandError::writing("standard error");
    for torrent in found {
        writeln!(
            error,
            "{}  {:>9}  {}",
            torrent.info_hash,
            table::bytes(u128::from(torrent.total_size)),
            display_safe(&torrent.name)
        )
        .map_err(failed())?;
    }
    write!(error, "Delete {} for good? [y/N] ", torrents(found.len() as u64)).map_err(failed())?;
    error.flush().map_err(failed())?;
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| CommandError::Said(format!("the answer cannot be read: {error}")))?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// A number of torrents in words.
pub(super) fn torrents(count: u64) -> String {
    if count == 1 { "1 torrent".to_owned() } else { format!("{count} torrents") }
}
