//! The words that names have, learned in the background: among them those are looked for that may have been meant.
//!
//! Why a table of our own and no statistics of the planner, which know the most frequent words for nothing: who misspells a word seldom misspells one of
//! the ten thousand most frequent, and the words of titles are rare.

use std::{collections::BTreeMap, time::SystemTime};

use deadpool_postgres::Client;
use tea_runtime::{Session, SessionError};

use super::{error::session_error, statement};
use crate::vocabulary::{is_word, trigrams};

/// Words kept: 60 MB with their index. The rarest are forgotten first.
pub const VOCABULARY_MAX: u64 = 300_000;

/// Words forgotten at once beyond that, so that it does not happen every time.
const FORGOTTEN: u64 = VOCABULARY_MAX / 20;

/// Learns the words of names that were stored since the last time, oldest first. Only one indexer at a time does.
#[derive(Clone, Copy, Debug)]
pub struct LearnWords {
    /// Names that are read at most: a thousand take about 10 ms.
    pub names: u32,
    /// Words that are kept: [`VOCABULARY_MAX`].
    pub words_max: u64,
}

/// What was learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// Names that were read: as many as were asked for means that there are more.
    pub names: u64,
    /// Different words in them.
    pub words: u64,
    /// Words that were forgotten.
    pub forgotten: u64,
}

const BEGIN: &str = "
insert into vocabulary_read (reader, added_at, info_hash) values ('names', '-infinity', '') on conflict do nothing";

const POSITION: &str = "
select case when added_at = '-infinity' then null else added_at end as added_at, info_hash
from vocabulary_read where reader = 'names' for update skip locked";

const READ: &str = "
with names as materialized (
    select t.added_at, t.info_hash, t.tsv from torrents t
    where $1::timestamptz is null or (t.added_at >= $1 and (t.added_at > $1 or t.info_hash < $2))
    order by t.added_at, t.info_hash desc limit $3
), words as (
    select lexeme, count(*) as rows from names, unnest(tsvector_to_array(tsv)) lexeme
    where lexeme !~ '[0-9:]' and char_length(lexeme) between 4 and 32 group by lexeme
)
select null as lexeme, (select count(*) from names) as rows, n.added_at, n.info_hash
from (select added_at, info_hash from names order by added_at desc, info_hash limit 1) n
union all select lexeme, rows, null, null from words";

const LEARN: &str = "
insert into vocabulary as v (lexeme, rows, grams)
select lexeme, rows, string_to_array(grams, ',') from unnest($1::text[], $2::int8[], $3::text[]) as g (lexeme, rows, grams)
on conflict (lexeme) do update set rows = v.rows + excluded.rows";

const FORGET: &str = "
delete from vocabulary where lexeme in (select lexeme from vocabulary order by rows, lexeme limit $1)";

impl Session for LearnWords {
    type Client = Client;
    type Output = Learned;

    async fn run(self, client: &mut Client) -> Result<Learned, SessionError> {
        statement::execute(client, BEGIN, &[]).await?;
        let transaction = client.transaction().await.map_err(|error| session_error(&error))?;
        let failed = |error: tokio_postgres::Error| session_error(&error);
        // Whoever else learns right now learns the same.
        let Some(position) = transaction.query_opt(POSITION, &[]).await.map_err(failed)? else {
            return Ok(Learned::default());
        };
        let at: Option<SystemTime> = statement::column(&position, "added_at")?;
        let hash: Vec<u8> = statement::column(&position, "info_hash")?;
        let rows = transaction.query(READ, &[&at, &hash, &i64::from(self.names)]).await.map_err(failed)?;
        let mut learned = Learned::default();
        let mut words: BTreeMap<String, i64> = BTreeMap::new();
        for row in &rows {
            let number: i64 = statement::column(row, "rows")?;
            match statement::column::<Option<String>>(row, "lexeme")? {
                Some(word) if is_word(&word) => {
                    words.insert(word, number);
                }
                Some(_) => {}
                None => {
                    learned.names = number.unsigned_abs();
                    let at: SystemTime = statement::column(row, "added_at")?;
                    let hash: Vec<u8> = statement::column(row, "info_hash")?;
                    let sql =
                        "update vocabulary_read set added_at = $1, info_hash = $2 where reader = 'names'";
                    transaction.execute(sql, &[&at, &hash]).await.map_err(failed)?;
                }
            }
        }
        if !words.is_empty() {
            learned.words = words.len() as u64;
            let grams: Vec<String> = words.keys().map(|word| trigrams(word).join(",")).collect();
            let (words, numbers): (Vec<String>, Vec<i64>) = words.into_iter().unzip();
            transaction.execute(LEARN, &[&words, &numbers, &grams]).await.map_err(failed)?;
            let count = transaction.query_one("select count(*) as number from vocabulary", &[]).await;
            let count = statement::count(&count.map_err(failed)?, "number")?;
            if count > self.words_max {
                let beyond = count - self.words_max + FORGOTTEN.min(self.words_max / 20);
                let beyond = i64::try_from(beyond).unwrap_or(i64::MAX);
                learned.forgotten = transaction.execute(FORGET, &[&beyond]).await.map_err(failed)?;
            }
        }
        transaction.commit().await.map_err(failed)?;
        Ok(learned)
    }
}
