//! `indexer ban` and `indexer unban`: what is not to be in the index.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write},
    path::Path,
};

use bittorrent::display_safe;
use krpc::InfoHash;

use super::{
    CommandError, ask, delete::torrents, eprint_line, interruption::Interruption, open_to_ask,
    progress::Progress, request::parse, table,
};
use crate::{
    cli::BanCommand,
    db::{
        BAN_RULES_MAX, BanAdd, BanApply, BanHashes, BanList, BanRemove, BanRule, BannedHashes,
        BannedTorrents, Bans, Unban, pool_error,
    },
    settings::Settings,
};

/// Hashes in one statement.
const BATCH: usize = 5_000;

/// Bytes of a line of a file of hashes.
const LINE_BYTES_MAX: u64 = 4_096;

pub(super) async fn run(settings: &Settings, command: BanCommand) -> Result<(), CommandError> {
    match command {
        BanCommand::Add { hashes, file, words, size_min, size_max } => {
            let is_rule = words.is_some() || size_min.is_some() || size_max.is_some();
            let are_hashes = !hashes.is_empty() || file.is_some();
            if is_rule && are_hashes {
                return Err(CommandError::Said(
                    "info-hashes are banned as they are: give them without --words and sizes".to_owned(),
                ));
            }
            if are_hashes {
                return ban_hashes(settings, &hashes, file.as_deref()).await;
            }
            let rule = BanRule::new(words.as_deref(), size_min, size_max)
                .map_err(|error| CommandError::Said(error.to_string()))?;
            add_rule(settings, rule).await
        }
        BanCommand::List { json } => list(settings, json).await,
        BanCommand::Remove { rule } => remove(settings, rule).await,
        BanCommand::Apply { dry_run } => apply(settings, dry_run).await,
    }
}

async fn add_rule(settings: &Settings, rule: BanRule) -> Result<(), CommandError> {
    let database = open_to_ask(settings).await?;
    let added = ask(&database, BanAdd { rule: rule.clone() }).await;
    database.close().await;
    let id = added?.ok_or_else(|| {
        CommandError::Said(format!(
            "there are {BAN_RULES_MAX} rules already; `indexer ban remove` makes room"
        ))
    })?;
    say(&format!(
        "rule {id}: {rule}; it holds for what is fetched from now on, `indexer ban apply` deletes what is stored"
    ))
}

async fn remove(settings: &Settings, id: i64) -> Result<(), CommandError> {
    let database = open_to_ask(settings).await?;
    let removed = ask(&database, BanRemove { id }).await;
    database.close().await;
    if !removed? {
        return Err(CommandError::Said(format!("there is no rule {id}; `indexer ban list` shows them")));
    }
    say(&format!("rule {id} is gone; what it has banned stays banned until `indexer unban HASH`"))
}

async fn list(settings: &Settings, json: bool) -> Result<(), CommandError> {
    let database = open_to_ask(settings).await?;
    let bans = ask(&database, BanList).await;
    database.close().await;
    let Bans { rules, tombstones, pending } = bans?;
    if json {
        let rules: Vec<_> = rules
            .iter()
            .map(|active| serde_json::json!({ "id": active.id, "rule": active.rule.to_string() }))
            .collect();
        let reasons: serde_json::Map<_, _> =
            tombstones.iter().map(|(reason, count)| (reason.clone(), (*count).into())).collect();
        return say(&serde_json::json!({ "rules": rules, "hashes": reasons, "stored": pending }).to_string());
    }
    for active in &rules {
        say(&format!("rule {}: {}", active.id, display_safe(&active.rule.to_string())))?;
    }
    for (reason, count) in &tombstones {
        say(&format!("{}: {}", hashes(*count), display_safe(reason)))?;
    }
    if pending > 0 {
        say(&format!("{pending} of them are stored; `indexer ban apply` deletes them"))?;
    }
    if rules.is_empty() && tombstones.is_empty() {
        say("nothing is banned")?;
    }
    Ok(())
}

async fn ban_hashes(settings: &Settings, texts: &[String], file: Option<&Path>) -> Result<(), CommandError> {
    let mut source = Source::open(texts, file)?;
    let database = open_to_ask(settings).await?;
    let mut total = BannedHashes::default();
    let mut progress = Progress::new("hashes banned", None);
    let work = async {
        while let Some(hashes) = source.batch()? {
            let count = hashes.len() as u64;
            let banned = ask(&database, BanHashes { hashes }).await?;
            total.new += banned.new;
            total.stored += banned.stored;
            progress.add(count);
        }
        Ok::<_, CommandError>(())
    };
    let outcome = Interruption::listen()?.or(work).await;
    database.close().await;
    let read = progress.done();
    drop(progress);
    match outcome {
        Some(result) => result?,
        None => {
            return Err(CommandError::Said(format!("interrupted after {}; they are banned", hashes(read))));
        }
    }
    let stored = match total.stored {
        0 => String::new(),
        stored => format!("; {} of them stored: `indexer ban apply` deletes what is", torrents(stored)),
    };
    say(&format!("{} read, {} newly banned{stored}", hashes(read), total.new))
}

pub(super) async fn unban(
    settings: &Settings,
    texts: &[String],
    file: Option<&Path>,
) -> Result<(), CommandError> {
    let mut source = Source::open(texts, file)?;
    let database = open_to_ask(settings).await?;
    let mut freed = 0;
    let work = async {
        while let Some(hashes) = source.batch()? {
            freed += ask(&database, Unban { hashes }).await?.len() as u64;
        }
        Ok::<_, CommandError>(())
    };
    let outcome = Interruption::listen()?.or(work).await;
    database.close().await;
    match outcome {
        Some(result) => result?,
        None => return Err(CommandError::Said(format!("interrupted; {} may come back", hashes(freed)))),
    }
    say(&format!("{} may come back; `indexer request HASH` has one fetched at once", hashes(freed)))
}

async fn apply(settings: &Settings, dry_run: bool) -> Result<(), CommandError> {
    let mut interruption = Interruption::listen()?;
    let database = open_to_ask(settings).await?;
    let mut progress = None;
    let outcome = {
        let client = database.pool.get().await.map_err(|error| pool_error(&error))?;
        let canceller = database.cancel(&client);
        let work = async {
            let (mut work, found) = BanApply::find(&client).await?;
            if dry_run || found.total() == 0 {
                return Ok::<_, CommandError>(found);
            }
            let progress = progress.insert(Progress::new("torrents deleted", Some(found.total())));
            while let Some(count) = work.delete_some().await? {
                progress.add(count);
            }
            Ok(found)
        };
        let outcome = interruption.or(work).await;
        if outcome.is_none() {
            canceller.await;
        }
        outcome
    };
    database.close().await;
    let done = progress.as_ref().map_or(0, Progress::done);
    drop(progress);
    let Some(found) = outcome else {
        return Err(CommandError::Said(format!(
            "interrupted: {} deleted; `indexer ban apply` goes on with the others",
            torrents(done)
        )));
    };
    let found = found?;
    if dry_run {
        return report(&found);
    }
    say(&format!("{} deleted", torrents(done)))
}

/// What would be deleted.
fn report(found: &BannedTorrents) -> Result<(), CommandError> {
    say(&format!("{} would be deleted", torrents(found.total())))?;
    for (rule, count) in &found.by_rule {
        match rule {
            Some(rule) => say(&format!("  by rule {rule}: {count}"))?,
            None => say(&format!("  by their hashes: {count}"))?,
        }
    }
    for torrent in &found.sample {
        let size = table::bytes(u128::from(torrent.total_size));
        say(&format!("{}  {size:>9}  {}", torrent.info_hash, display_safe(&torrent.name)))?;
    }
    let more = found.total().saturating_sub(found.sample.len() as u64);
    if more > 0 { say(&format!("and {more} more")) } else { Ok(()) }
}

/// A number of hashes in words.
fn hashes(count: u64) -> String {
    if count == 1 { "1 hash".to_owned() } else { format!("{count} hashes") }
}

fn say(line: &str) -> Result<(), CommandError> {
    writeln!(io::stdout().lock(), "{line}").map_err(CommandError::writing("standard output"))
}

/// Hashes from arguments and a file, in batches.
struct Source {
    given: std::vec::IntoIter<InfoHash>,
    file: Option<(String, BufReader<File>)>,
    line: u64,
    skipped: u64,
}

impl Source {
    fn open(texts: &[String], file: Option<&Path>) -> Result<Self, CommandError> {
        let given = texts.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
        let file = match file {
            None => None,
            Some(path) => {
                let name = path.display().to_string();
                let file = File::open(path)
                    .map_err(|error| CommandError::Said(format!("{name} cannot be read: {error}")))?;
                Some((name, BufReader::new(file)))
            }
        };
        Ok(Self { given: given.into_iter(), file, line: 0, skipped: 0 })
    }

    /// The next ones; `None` at the end.
    fn batch(&mut self) -> Result<Option<Vec<InfoHash>>, CommandError> {
        let mut batch: Vec<InfoHash> = self.given.by_ref().take(BATCH).collect();
        while batch.len() < BATCH
            && let Some(text) = self.next_line()?
        {
            match text.split_whitespace().next() {
                None => {}
                Some(word) if word.starts_with('#') => {}
                Some(word) => match parse(word) {
                    Ok(hash) => batch.push(hash),
                    Err(_) => self.pass_over(),
                },
            }
        }
        Ok((!batch.is_empty()).then_some(batch))
    }

    /// A line that begins with no hash: said for the first ones.
    fn pass_over(&mut self) {
        const SAID_MAX: u64 = 5;
        self.skipped += 1;
        let name = self.file.as_ref().map_or("", |(name, _)| name.as_str());
        if self.skipped <= SAID_MAX {
            eprint_line(&format!("{name}, line {}: no info-hash, passed over", self.line));
        } else if self.skipped == SAID_MAX + 1 {
            eprint_line("more such lines are passed over without a word");
        }
    }

    fn next_line(&mut self) -> Result<Option<String>, CommandError> {
        use io::Read;
        let Some((name, file)) = &mut self.file else { return Ok(None) };
        let failed = |error: io::Error| CommandError::Said(format!("{name} cannot be read: {error}"));
        let mut bytes = Vec::new();
        let read = file.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes).map_err(failed)?;
        if read == 0 {
            return Ok(None);
        }
        self.line += 1;
        let mut is_whole = bytes.ends_with(b"\n") || (read as u64) < LINE_BYTES_MAX;
        while !is_whole {
            // The rest of a line that is too long to say anything more.
            let mut rest = Vec::new();
            let more = file.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut rest).map_err(failed)?;
            is_whole = rest.ends_with(b"\n") || (more as u64) < LINE_BYTES_MAX;
        }
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }
}
