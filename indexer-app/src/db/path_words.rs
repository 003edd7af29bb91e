//! The words that file paths have, learned in the background: torrents are found by their numbers, and these lists tell which words begin alike.
//!
//! Torrents are read once from the first to the last, then those that transactions have stored since. What a turn reads becomes a sorted list of its own, and
//! lists that are not twice as long as those after them become one with them.

use std::collections::{BTreeSet, VecDeque};

use deadpool_postgres::{Client, Transaction};
use krpc::InfoHash;
use tea_runtime::{Session, SessionError};
use tokio_postgres::{Row, types::ToSql};

use super::{error::session_error, lexemes::path_lexemes, statement};
use crate::{
    file_list,
    tokeniser::TOK_VER,
    word_list::{self, Part, Writer},
};

/// Packed bytes of file lists that are read in a turn.
const BYTES_MAX: i64 = 8 << 20;

/// Different words in a turn, about: with those a turn ends early.
const WORDS_MAX: usize = 300_000;

/// Parts of lists that are read or written by a statement: 300 KB.
const PARTS: usize = 500;

/// Parts that were written again from which on their old places are given free at once: many turns may follow before the server comes to it.
const VACUUM_FROM: u64 = 500;

/// Learns the words of the paths of torrents that were stored since the last time. Only one at a time does.
#[derive(Clone, Copy, Debug)]
pub struct LearnPathWords {
    /// Torrents that are read at most: a thousand take about 100 ms.
    pub torrents: u32,
}

/// What was learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LearnedPaths {
    /// Torrents that were read.
    pub torrents: u64,
    /// Different words in their paths.
    pub words: u64,
    /// There is more to be read.
    pub goes_on: bool,
}

const BEGIN: &str = "
insert into path_words_read (tok_ver, until) values ($1, pg_snapshot_xmin(pg_current_snapshot())::text::int8)
on conflict do nothing";

const POSITION: &str = "
select tok_ver, since, until, after_hash, pg_snapshot_xmin(pg_current_snapshot())::text::int8 as now
from path_words_read for update skip locked";

const MOVE: &str = "update path_words_read set tok_ver = $1, since = $2, until = $3, after_hash = $4";

/// Which torrents come next.
#[derive(Clone, Debug)]
struct Place {
    since: Option<i64>,
    until: i64,
    after: Vec<u8>,
    /// The first transaction that may still store something.
    now: i64,
}

impl Place {
    fn read(row: &Row) -> Result<Self, SessionError> {
        let now = statement::column(row, "now")?;
        let since: Option<i64> = statement::column(row, "since")?;
        // Words of older rules are as good as none; and a database that was restored elsewhere has numbers of transactions that are yet to come.
        if statement::column::<i16>(row, "tok_ver")? < TOK_VER || since.is_some_and(|since| since > now) {
            return Ok(Self { since: None, until: now, after: Vec::new(), now });
        }
        let after: Vec<u8> = statement::column(row, "after_hash")?;
        // Of those that come next none was read yet: they go as far as they can.
        let until = if after.is_empty() { now } else { statement::column(row, "until")? };
        Ok(Self { since, until, after, now })
    }

    fn sql(&self) -> String {
        let which = match self.since {
            None => "true".to_owned(),
            Some(since) => format!("stored_in >= {since} and stored_in < {}", self.until),
        };
        let query = format!(
            "select t.info_hash, t.name, f.fmt, f.data, count(*) over () as looked,
                coalesce(octet_length(f.data), 0) as bytes
            from (
                select info_hash, name from torrents where info_hash > $1 and {which} order by info_hash limit $2
            ) t
            left join torrent_files f using (info_hash)"
        );
        statement::within_bytes(&query, "info_hash", "$3")
    }

    /// Behind the last of them.
    fn over(self) -> Self {
        Self { since: Some(self.until), until: self.now, after: Vec::new(), ..self }
    }
}

impl Session for LearnPathWords {
    type Client = Client;
    type Output = LearnedPaths;

    async fn run(self, client: &mut Client) -> Result<LearnedPaths, SessionError> {
        statement::execute(client, BEGIN, &[&TOK_VER]).await?;
        let transaction = client.transaction().await.map_err(|error| session_error(&error))?;
        let at = Work { transaction: &transaction };
        // Whoever else learns right now learns the same.
        let Some(position) = at.rows(POSITION, &[]).await?.pop() else { return Ok(LearnedPaths::default()) };
        let mut place = Place::read(&position)?;
        let limit = i64::from(self.torrents.max(1));
        let rows = at.rows(&place.sql(), &[&place.after, &limit, &BYTES_MAX]).await?;
        let looked = rows.first().map_or(Ok(0), |row| statement::column::<i64>(row, "looked"))?;
        let read = tokio::task::spawn_blocking(move || words_of(&rows)).await;
        let Read { words, torrents, last } =
            read.map_err(|error| SessionError::Unexpected(error.to_string()))??;
        if torrents == 0 && place.since.is_some() {
            // Nothing is written while nothing comes.
            return Ok(LearnedPaths::default());
        }
        let mut learned = LearnedPaths { torrents, words: words.len() as u64, goes_on: true };
        if let Some(last) = last {
            place.after = last.as_bytes().to_vec();
        }
        if torrents.cast_signed() == looked && looked < limit {
            place = place.over();
            // Who was too late for these may be there now.
            learned.goes_on = torrents > 0;
        }
        let replaced = if words.is_empty() { 0 } else { at.add(words).await? };
        at.execute(MOVE, &[&TOK_VER, &place.since, &place.until, &place.after]).await?;
        transaction.commit().await.map_err(|error| session_error(&error))?;
        if replaced >= VACUUM_FROM {
            client.batch_execute("vacuum path_words").await.map_err(|error| session_error(&error))?;
        }
        Ok(learned)
    }
}

struct Read {
    words: BTreeSet<String>,
    torrents: u64,
    last: Option<InfoHash>,
}

/// The words of torrents, up to the one with which they are many. Of a list that cannot be read there are none.
fn words_of(rows: &[Row]) -> Result<Read, SessionError> {
    let mut read = Read { words: BTreeSet::new(), torrents: 0, last: None };
    for row in rows {
        if let Some(fmt) = statement::column::<Option<i16>>(row, "fmt")? {
            let name: &str = statement::column(row, "name")?;
            if let Ok(files) = file_list::unpack(name, fmt, statement::column(row, "data")?) {
                for (word, _) in path_lexemes(name, &files).iter() {
                    if !read.words.contains(word) {
                        read.words.insert(word.to_owned());
                    }
                }
            }
        }
        read.torrents += 1;
        read.last = Some(statement::key(row, "info_hash")?);
        if read.words.len() >= WORDS_MAX {
            break;
        }
    }
    Ok(read)
}

struct Work<'a> {
    transaction: &'a Transaction<'a>,
}

impl Work<'_> {
    async fn rows(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, SessionError> {
        self.transaction.query(sql, parameters).await.map_err(|error| session_error(&error))
    }

    async fn execute(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<u64, SessionError> {
        self.transaction.execute(sql, parameters).await.map_err(|error| session_error(&error))
    }

    /// Adds a list, together with those that it is to be merged with; how many parts these had.
    async fn add(&self, words: BTreeSet<String>) -> Result<u64, SessionError> {
        let lists = self.rows("select list, words from path_word_lists order by list desc", &[]).await?;
        let lists = lists
            .iter()
            .map(|row| Ok((statement::column::<i32>(row, "list")?, statement::count(row, "words")?)))
            .collect::<Result<Vec<_>, SessionError>>()?;
        let lengths: Vec<u64> =
            std::iter::once(words.len() as u64).chain(lists.iter().map(|(_, words)| *words)).collect();
        let old = &lists[..word_list::merged(&lengths) - 1];
        let new = lists.first().map_or(0, |(list, _)| list + 1);
        let mut sources =
            vec![Source { list: None, after: String::new(), words: words.into_iter().collect() }];
        sources.extend(old.iter().map(|(list, _)| Source {
            list: Some(*list),
            after: String::new(),
            words: VecDeque::new(),
        }));
        let mut writer = Writer::default();
        let mut parts: Vec<Part> = Vec::new();
        while self.fill(&mut sources).await? {
            merge(&mut sources, &mut writer, &mut parts);
            if parts.len() >= PARTS {
                self.write(new, &mut parts).await?;
            }
        }
        parts.extend(writer.end());
        self.write(new, &mut parts).await?;
        let old: Vec<i32> = old.iter().map(|(list, _)| *list).collect();
        let replaced = self.execute("delete from path_words where list = any($1)", &[&old]).await?;
        self.execute("delete from path_word_lists where list = any($1)", &[&old]).await?;
        let words = i64::try_from(writer.words).unwrap_or(i64::MAX);
        self.execute("insert into path_word_lists (list, words) values ($1, $2)", &[&new, &words]).await?;
        Ok(replaced)
    }

    /// Sees to it that every source has words, as far as there are any; whether there are.
    async fn fill(&self, sources: &mut Vec<Source>) -> Result<bool, SessionError> {
        const NEXT: &str =
            "select first, words from path_words where list = $1 and first > $2 order by first limit $3";
        for source in &mut *sources {
            let (Some(list), true) = (source.list, source.words.is_empty()) else { continue };
            let rows = self.rows(NEXT, &[&list, &source.after, &(PARTS as i64)]).await?;
            for row in &rows {
                let (first, rest) = (statement::column(row, "first")?, statement::column(row, "words")?);
                source.words.extend(words_in(first, rest)?);
                first.clone_into(&mut source.after);
            }
        }
        sources.retain(|source| !source.words.is_empty());
        Ok(!sources.is_empty())
    }

    async fn write(&self, list: i32, parts: &mut Vec<Part>) -> Result<(), SessionError> {
        const WRITE: &str = "
insert into path_words (list, first, words) select $1, first, words from unnest($2::text[], $3::bytea[]) as g (first, words)";
        for some in parts.chunks(PARTS) {
            let firsts: Vec<&str> = some.iter().map(|part| part.first.as_str()).collect();
            let rests: Vec<&[u8]> = some.iter().map(|part| part.rest.as_slice()).collect();
            self.execute(WRITE, &[&list, &firsts, &rests]).await?;
        }
        parts.clear();
        Ok(())
    }
}

/// The words of a part of a list.
pub(super) fn words_in(first: &str, rest: &[u8]) -> Result<Vec<String>, SessionError> {
    word_list::read(first, rest).map_err(|error| SessionError::Unexpected(error.to_string()))
}

/// A list that is being merged with others.
struct Source {
    /// Where the next of its words come from; `None`: these are all.
    list: Option<i32>,
    /// The part that was read last.
    after: String,
    words: VecDeque<String>,
}

/// Merges until one of the sources has no more words at hand.
fn merge(sources: &mut [Source], writer: &mut Writer, parts: &mut Vec<Part>) {
    while sources.iter().all(|source| !source.words.is_empty()) {
        let least = sources.iter_mut().min_by(|left, right| left.words.front().cmp(&right.words.front()));
        let Some(word) = least.and_then(|source| source.words.pop_front()) else { return };
        parts.extend(writer.add(&word));
    }
}
