//! `indexer request`: asks the crawler to fetch certain info-hashes before all others.

use std::io::{self, Write};

use krpc::InfoHash;

use super::{CommandError, ask, open_to_ask};
use crate::{
    db::{BacklogNew, BacklogPut, Known, KnownHashes},
    settings::Settings,
};

pub(super) async fn run(settings: &Settings, texts: &[String]) -> Result<(), CommandError> {
    let hashes: Vec<InfoHash> = texts.iter().map(|text| parse(text)).collect::<Result<_, _>>()?;
    let database = open_to_ask(settings).await?;
    let entries = hashes.iter().map(|hash| BacklogNew::requested(*hash)).collect();
    let known = ask(&database, KnownHashes(hashes.clone())).await;
    let put = ask(&database, BacklogPut { entries, room: None }).await;
    database.close().await;
    put?;
    let mut out = io::stdout().lock();
    for (hash, known) in known? {
        let line = match known {
            Known::Stored => "is indexed already: see `indexer show`",
            Known::Buried => "was deleted or banned, or is no torrent: `indexer unban` lets it in again",
            Known::No | Known::Due | Known::Waiting => {
                "is fetched next by the indexer that runs, or will run"
            }
        };
        writeln!(out, "{hash} {line}").map_err(CommandError::writing("standard output"))?;
    }
    Ok(())
}

pub(super) fn parse(text: &str) -> Result<InfoHash, CommandError> {
    // A v2 hash is known in the DHT by its first 20 bytes (BEP 52).
    let digits = if text.len() == 64 && text.is_ascii() { text.get(..40).unwrap_or(text) } else { text };
    digits.parse().map_err(|_| {
        CommandError::Said(format!(
            "{text:?} is no info-hash: it takes 40 hexadecimal digits, or the 64 of a v2 hash"
        ))
    })
}
