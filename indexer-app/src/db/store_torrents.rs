//! Storing verified torrents: a batch in one statement, all of it or nothing.

use std::{collections::HashMap, fmt};

use deadpool_postgres::Client;
use krpc::InfoHash;
use tea_runtime::{Session, SessionError};

use super::{
    Banned, Listing, NewTorrent, ObservedSwarm, SCORE_HALF_LIFE, TsVector,
    bans::{self, Judge, Verdict},
    error::blames_the_data,
    lexemes::{name_lexemes, path_lexemes},
    statement,
    text::storable,
    tombstones,
};
use crate::{
    file_list::{self, Packed, Packer},
    kinds::{self, CLASS_VER},
    tokeniser::{Lexemes, TOK_VER},
};

/// Threads that make a batch ready. More would only wait for each other: a batch is ready after some milliseconds.
const THREADS_MAX: usize = 4;

/// Torrents that are worth a thread.
const SHARE_MIN: usize = 64;

/// Bytes of torrents in one statement. The protocol takes 1 GiB, and the server holds a statement some times; an ordinary
/// batch has less than 1 MiB, but a few torrents of 200,000 files have tens.
const STATEMENT_BYTES_MAX: usize = 32 << 20;

/// Bytes of a torrent in a statement beside its texts.
const ROW_BYTES: usize = 200;

/// Stores torrents that are not there yet, with files and aliases, and takes them out of the backlog. What is
/// committed when it returns stays so. Those that are deleted or banned, by a hash or by a rule, are left out, and their
/// hashes buried.
pub struct StoreTorrents {
    /// The batch: 100 to 1000 is cheapest; its order does not matter.
    pub torrents: Vec<NewTorrent>,
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// New ones, by their canonical keys.
    pub inserted: Vec<InfoHash>,
    /// How many were there already.
    pub known: u64,
    /// Those that cannot be stored, ever.
    pub rejected: Vec<(InfoHash, Rejection)>,
    /// Those that are banned or were deleted.
    pub banned: Banned,
    /// Words of names and paths that were left out because a torrent has too many.
    pub lexemes_refused: u64,
}

/// Why a torrent cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Its size is beyond what the database counts in.
    #[error("the total size of {0} bytes is more than can be stored")]
    Size(u64),
    /// The database refused it.
    #[error("the database refused it: {0}")]
    Refused(String),
}

impl Rejection {
    /// The kind of reason, for counting.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Size(_) => "too large",
            Self::Refused(_) => "refused by the database",
        }
    }
}

impl fmt::Debug for StoreTorrents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreTorrents({} torrents)", self.torrents.len())
    }
}

/// One torrent with everything made that takes time to make.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) torrent: NewTorrent,
    pub(super) key: InfoHash,
    pub(super) total_size: i64,
    pub(super) name: String,
    pub(super) tsv: TsVector,
    pub(super) signature: i64,
    pub(super) kind: i16,
    pub(super) year: Option<i16>,
    /// Of one that is more than a file named as itself.
    pub(super) list: Option<List>,
}

/// The files of a torrent and the words of its name and their paths.
#[derive(Debug)]
pub(super) struct List {
    pub(super) packed: Packed,
    pub(super) words: Vec<i32>,
    lexemes: Lexemes,
}

const STORE: &str = "
with given as (
    select * from unnest($1::bytea[], $2::bytea[], $3::text[], $4::bytea[], $5::int8[], $6::int8[], $7::int4[],
        $8::int4[], $9::boolean[], $10::text[], $11::int2[], $12::tsvector[], $13::int2[], $14::bytea[],
        $15::int4[], $35::int4[], $19::int2[], $20::int2[], $22::boolean[], $23::timestamptz[], $24::timestamptz[], $25::int4[],
        $26::float8[], $27::timestamptz[], $28::int4[], $29::int4[], $30::int2[], $31::boolean[], $32::timestamptz[], $34::int8[])
    as g (info_hash, v2, name, name_raw, total_size, piece_length, file_count, piece_count, private, source,
        discovered_by, tsv, fmt, data, words_from, words_to, kind, year, files_whole, added_at, last_seen, seen_count, score, score_at,
        seeders, leechers, scrape_nodes, scrape_whole, scraped_at, signature)
), stored as (
    insert into torrents (info_hash, v2, name, name_raw, total_size, piece_length, file_count, piece_count, private,
        source, discovered_by, tsv, tok_ver, kind, year, class_ver, files_whole, added_at, popularity,
        signature)
    select info_hash, v2, name, name_raw, total_size, piece_length, file_count, piece_count, private, source,
        discovered_by, tsv, $16, kind, year, $21, files_whole, coalesce(added_at, now()),
        case when score > 0 then floor(ln(1 + score *
            power(2, -greatest(extract(epoch from now() - score_at), 0)::float8 / $33)) / ln(2))::int2 else 0 end,
        signature
    from given
    on conflict do nothing returning info_hash
), files as (
    insert into torrent_files (info_hash, fmt, data, words, tok_ver)
    select info_hash, fmt, data, ($36::int4[])[words_from:words_to], $16 from given where fmt is not null
    on conflict do nothing
), stats as (
    insert into torrent_stats (info_hash, score, score_at, seen_count, last_seen, seeders, leechers, scrape_nodes,
        scrape_whole, scraped_at, signature)
    select info_hash, least(coalesce(score, 0), 1e30), coalesce(score_at, now()), coalesce(seen_count, 1), coalesce(last_seen, now()),
        coalesce(seeders, 0), coalesce(leechers, 0), coalesce(scrape_nodes, 0), coalesce(scrape_whole, false), scraped_at,
        signature
    from given on conflict do nothing
), other_keys as (
    insert into aliases (alias, info_hash) select * from unnest($17::bytea[], $18::bytea[]) on conflict do nothing
), done as (
    delete from backlog where info_hash in (
        select info_hash from backlog where info_hash = any($1) or info_hash = any($17)
        order by info_hash for update)
)
select info_hash from stored";

impl Session for StoreTorrents {
    type Client = Client;
    type Output = Stored;

    async fn run(self, client: &mut Client) -> Result<Stored, SessionError> {
        PreparedTorrents::on_threads(self.torrents).await?.store(client).await
    }
}

/// A batch with everything made that takes time to make: words of names and paths, packed lists of files.
#[derive(Debug)]
pub struct PreparedTorrents {
    pub(super) ready: Vec<Ready>,
    rejected: Vec<(InfoHash, Rejection)>,
}

impl PreparedTorrents {
    /// Tokenises and packs; takes some 50 us of CPU for each torrent.
    pub fn new(torrents: Vec<NewTorrent>) -> Self {
        let (ready, rejected) = prepare(torrents);
        Self { ready, rejected }
    }

    /// The same on as many threads as the machine has cores, up to [`THREADS_MAX`]: meanwhile the database has nothing to do.
    ///
    /// # Errors
    /// A thread was lost.
    async fn on_threads(torrents: Vec<NewTorrent>) -> Result<Self, SessionError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        let share = torrents.len().div_ceil(threads).max(SHARE_MIN);
        let mut torrents = torrents.into_iter();
        let mut shares = Vec::with_capacity(threads);
        while torrents.len() > 0 {
            let share: Vec<NewTorrent> = torrents.by_ref().take(share).collect();
            shares.push(tokio::task::spawn_blocking(move || Self::new(share)));
        }
        let mut all = Self { ready: Vec::new(), rejected: Vec::new() };
        for share in shares {
            let share = share.await.map_err(|error| SessionError::Unexpected(error.to_string()))?;
            all.ready.extend(share.ready);
            all.rejected.extend(share.rejected);
        }
        all.ready.sort_by_key(|one| one.key);
        all.ready.dedup_by_key(|one| one.key);
        Ok(all)
    }

    /// Stores those that are not there yet. What is committed when it returns stays so.
    ///
    /// # Errors
    /// The database cannot be asked, or fails for a reason that is not in the batch.
    pub async fn store(self, client: &Client) -> Result<Stored, SessionError> {
        let mut stored = Stored {
            lexemes_refused: self.ready.iter().map(Ready::lexemes_refused).sum(),
            rejected: self.rejected,
            ..Stored::default()
        };
        let ready = without_banned(client, self.ready, &mut stored.banned).await?;
        // Halves of a batch that the database refuses are tried alone, until the torrent that it blames is alone.
        let mut open = statements(&ready);
        while let Some(batch) = open.pop() {
            match store(client, batch).await {
                Ok(inserted) => {
                    stored.known += (batch.len() - inserted.len()) as u64;
                    stored.inserted.extend(inserted);
                }
                Err(error) if blames_the_data(&error) => match batch {
                    [one] => stored.rejected.push((one.key, Rejection::Refused(error.to_string()))),
                    several => {
                        let (left, right) = several.split_at(several.len() / 2);
                        open.extend([right, left]);
                    }
                },
                Err(error) => return Err(error),
            }
        }
        Ok(stored)
    }
}

/// Leaves out what is banned, and sees to it that it is not fetched again.
async fn without_banned(
    client: &Client,
    ready: Vec<Ready>,
    banned: &mut Banned,
) -> Result<Vec<Ready>, SessionError> {
    let keys = |one: &Ready| [Some(one.key), one.torrent.hashes.alias()].into_iter().flatten();
    let judge = Judge::load(client, &ready.iter().flat_map(keys).collect::<Vec<_>>()).await?;
    let (mut welcome, mut unwanted) = (Vec::with_capacity(ready.len()), Vec::new());
    for one in ready {
        let paths = one.list.as_ref().map(|list| &list.lexemes);
        let reason = match judge.verdict(keys(&one), &one.tsv.0, paths, one.torrent.total_size) {
            Verdict::Welcome => {
                welcome.push(one);
                continue;
            }
            Verdict::Hash => {
                banned.by_hash += 1;
                tombstones::BANNED.to_owned()
            }
            Verdict::Rule(rule) => {
                *banned.by_rule.entry(rule).or_default() += 1;
                bans::reason(rule)
            }
        };
        unwanted.extend(keys(&one).map(|key| (key, reason.clone())));
    }
    tombstones::bury(client, &unwanted).await?;
    Ok(welcome)
}

/// Parts of a batch that fit a statement each, the last one first.
fn statements(mut rest: &[Ready]) -> Vec<&[Ready]> {
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let mut bytes = 0;
        let fitting = rest.iter().take_while(|one| {
            bytes += one.bytes();
            bytes <= STATEMENT_BYTES_MAX
        });
        let (part, after) = rest.split_at(fitting.count().max(1));
        parts.push(part);
        rest = after;
    }
    parts.reverse();
    parts
}

/// Tokenises and packs; what cannot be stored is told apart. Sorted, so that two batches that share torrents lock them
/// in the same order.
fn prepare(torrents: Vec<NewTorrent>) -> (Vec<Ready>, Vec<(InfoHash, Rejection)>) {
    let mut packer = Packer::new();
    let mut ready: HashMap<InfoHash, Ready> = HashMap::with_capacity(torrents.len());
    let mut rejected = Vec::new();
    for torrent in torrents {
        let key = torrent.hashes.canonical();
        match i64::try_from(torrent.total_size) {
            Ok(total_size) => {
                ready.entry(key).or_insert_with(|| Ready::new(torrent, key, total_size, &mut packer));
            }
            Err(_) => rejected.push((key, Rejection::Size(torrent.total_size))),
        }
    }
    let mut ready: Vec<Ready> = ready.into_values().collect();
    ready.sort_unstable_by_key(|one| one.key);
    (ready, rejected)
}

impl Ready {
    fn new(mut torrent: NewTorrent, key: InfoHash, total_size: i64, packer: &mut Packer) -> Self {
        let name = storable(&torrent.name).into_owned();
        for component in torrent.files.iter_mut().flat_map(|(path, _)| path) {
            if component.contains('\0') {
                *component = storable(component).into_owned();
            }
        }
        let (traits, marks) = kinds::classify_and_mark(&name, &torrent.files);
        let lexemes = name_lexemes(&name, &marks);
        let is_single = torrent.listing == Listing::Whole
            && file_list::is_single(&name, torrent.total_size, &torrent.files);
        let list = (!is_single).then(|| {
            let lexemes = path_lexemes(&name, &torrent.files);
            List { packed: packer.pack(&name, &torrent.files), words: lexemes.hashes(), lexemes }
        });
        Self {
            list,
            signature: lexemes.signature().to_i64(),
            tsv: TsVector(lexemes),
            kind: traits.kind.code(),
            year: traits.year.and_then(|year| i16::try_from(year).ok()),
            torrent,
            key,
            total_size,
            name,
        }
    }

    fn swarm(&self) -> Option<&ObservedSwarm> {
        self.torrent.history.swarm.as_ref()
    }

    /// Bytes of it in a statement, about.
    fn bytes(&self) -> usize {
        let list = self.list.as_ref().map_or(0, |list| list.packed.data.len() + list.words.len() * 4);
        ROW_BYTES + self.name.len() + self.tsv.0.bytes() + list
    }

    fn lexemes_refused(&self) -> u64 {
        self.tsv.0.refused() + self.list.as_ref().map_or(0, |list| list.lexemes.refused())
    }
}

async fn store(client: &Client, batch: &[Ready]) -> Result<Vec<InfoHash>, SessionError> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    macro_rules! column {
        (|$one:ident| $value:expr) => {
            batch.iter().map(|$one| $value).collect::<Vec<_>>()
        };
    }
    let keys = column!(|one| one.key.as_bytes().as_slice());
    let v2s: Vec<Option<[u8; 32]>> = column!(|one| one.torrent.hashes.v2());
    let v2s: Vec<Option<&[u8]>> = v2s.iter().map(|v2| v2.as_ref().map(<[u8; 32]>::as_slice)).collect();
    let sources: Vec<Option<std::borrow::Cow<'_, str>>> =
        column!(|one| one.torrent.source.as_deref().map(storable));
    let aliases: Vec<(InfoHash, InfoHash)> =
        batch.iter().filter_map(|one| Some((one.torrent.hashes.alias()?, one.key))).collect();
    let words = Slices::of(batch.iter().map(|one| one.list.as_ref().map(|list| list.words.as_slice())));
    let rows = statement::rows(
        client,
        STORE,
        &[
            &keys,
            &v2s,
            &column!(|one| one.name.as_str()),
            &column!(|one| one.torrent.name_raw.as_deref()),
            &column!(|one| one.total_size),
            &column!(|one| one.torrent.piece_length.map(|length| i64::try_from(length).unwrap_or(i64::MAX))),
            &column!(|one| int4(one.torrent.file_count())),
            &column!(|one| one.torrent.piece_count.map(int4)),
            &column!(|one| one.torrent.private),
            &sources,
            &column!(|one| one.torrent.discovered_by.code()),
            &column!(|one| &one.tsv),
            &column!(|one| one.list.as_ref().map(|list| list.packed.fmt)),
            &column!(|one| one.list.as_ref().map(|list| list.packed.data.as_slice())),
            &words.from,
            &TOK_VER,
            &aliases.iter().map(|(alias, _)| alias.as_bytes().as_slice()).collect::<Vec<_>>(),
            &aliases.iter().map(|(_, key)| key.as_bytes().as_slice()).collect::<Vec<_>>(),
            &column!(|one| one.kind),
            &column!(|one| one.year),
            &CLASS_VER,
            &column!(|one| one.torrent.listing == Listing::Whole),
            &column!(|one| one.torrent.history.added_at),
            &column!(|one| one.torrent.history.last_seen),
            &column!(|one| one
                .torrent
                .history
                .seen_count
                .map(|seen| i32::try_from(seen).unwrap_or(i32::MAX))),
            &column!(|one| one.torrent.history.score.map(|(score, _)| score)),
            &column!(|one| one.torrent.history.score.map(|(_, at)| at)),
            &column!(|one| one.swarm().map(|swarm| int4(swarm.size.seeders))),
            &column!(|one| one.swarm().map(|swarm| int4(swarm.size.leechers))),
            &column!(|one| one.swarm().map(|swarm| i16::try_from(swarm.size.nodes).unwrap_or(i16::MAX))),
            &column!(|one| one.swarm().map(|swarm| swarm.size.whole)),
            &column!(|one| one.swarm().map(|swarm| swarm.at)),
            &SCORE_HALF_LIFE.as_secs_f64(),
            &column!(|one| one.signature),
            &words.to,
            &words.all,
        ],
    )
    .await?;
    rows.iter().map(|row| statement::key(row, "info_hash")).collect()
}

/// Arrays as one, since arrays of arrays are tables to the database: with where each begins and ends, from 1.
#[derive(Default)]
pub(super) struct Slices {
    pub(super) all: Vec<i32>,
    pub(super) from: Vec<Option<i32>>,
    pub(super) to: Vec<Option<i32>>,
}

impl Slices {
    pub(super) fn of<'a>(arrays: impl Iterator<Item = Option<&'a [i32]>>) -> Self {
        let mut slices = Self::default();
        // A statement has less than 32 MiB.
        let place = |length: usize| i32::try_from(length).unwrap_or(i32::MAX);
        for array in arrays {
            slices.from.push(array.map(|_| place(slices.all.len() + 1)));
            slices.all.extend(array.unwrap_or_default());
            slices.to.push(array.map(|_| place(slices.all.len())));
        }
        slices
    }
}

pub(super) fn int4(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Discovery, Hashes, History};

    fn torrent(number: u8, name: &str) -> NewTorrent {
        NewTorrent {
            hashes: Hashes::V1(InfoHash::from_bytes([number; 20])),
            name: name.to_owned(),
            name_raw: None,
            total_size: 1,
            files: Vec::new(),
            listing: Listing::Whole,
            piece_length: None,
            piece_count: None,
            private: None,
            source: None,
            discovered_by: Discovery::Sampled,
            history: History::default(),
        }
    }

    #[test]
    fn a_batch_is_parted_into_statements_that_the_database_can_take() {
        let long = "x".repeat(STATEMENT_BYTES_MAX / 3);
        let too_long = "x".repeat(STATEMENT_BYTES_MAX + 1);
        let names = [&long, &long, "short", &too_long, "short", &long, &long, &long];
        let batch = (0_u8..).zip(names).map(|(number, name)| torrent(number, name)).collect();
        let prepared = PreparedTorrents::new(batch);
        let parts = statements(&prepared.ready);
        let numbers: Vec<Vec<u8>> =
            parts.iter().rev().map(|part| part.iter().map(|one| one.key.as_bytes()[0]).collect()).collect();
        assert_eq!(numbers, [vec![0, 1, 2], vec![3], vec![4, 5, 6], vec![7]]);
        assert_eq!(statements(&[]).len(), 0);
    }

    #[tokio::test]
    async fn threads_make_the_same_ready_as_one() {
        let batch: Vec<NewTorrent> =
            (0..=255_u8).chain(0..100).map(|number| torrent(number, &format!("name {number}"))).collect();
        let (one, several) =
            (PreparedTorrents::new(batch.clone()), PreparedTorrents::on_threads(batch).await.unwrap());
        assert_eq!(several.ready.len(), 256);
        assert_eq!(format!("{one:?}"), format!("{several:?}"));
    }
}
