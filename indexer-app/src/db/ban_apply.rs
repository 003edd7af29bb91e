//! Holding the bans against what is stored: which torrents would go, and their going.
//!
//! The torrents of each rule are found by the indexes that searches use and written into a table of this connection; from there
//! they are deleted in batches, each in a statement of its own. So the work can be broken off at any time: what was
//! deleted is, and the next time finds the rest.

use deadpool_postgres::Client;
use krpc::InfoHash;
use tea_runtime::SessionError;

use super::{
    bans::{self, BanRule},
    lexemes::path_lexemes,
    statement,
    tombstones::{StoredTorrent, erase, stored_torrent},
};
use crate::file_list;

/// Torrents shown of those that would go.
const SAMPLE: i64 = 20;

/// Torrents deleted by one statement: some 20 ms, in which nobody waits for long.
const BATCH: i64 = 500;

/// Packed bytes of file lists that are looked into at one time.
const BYTES_MAX: i64 = 8 << 20;

/// Torrents that are stored although they are banned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BannedTorrents {
    /// How many, by the first rule that holds of them; `None`: by their hashes.
    pub by_rule: Vec<(Option<i64>, u64)>,
    /// Some of them.
    pub sample: Vec<StoredTorrent>,
}

impl BannedTorrents {
    /// How many in all.
    pub fn total(&self) -> u64 {
        self.by_rule.iter().map(|(_, number)| number).sum()
    }
}

/// Bans being applied, on a connection of its own.
#[derive(Debug)]
pub struct BanApply<'a> {
    client: &'a Client,
    done: i64,
}

const PENDING: &str = "
insert into ban_doomed (info_hash, rule)
select coalesce(a.info_hash, t.info_hash), null::int8
from tombstones d
left join torrents t on t.info_hash = d.info_hash left join aliases a on a.alias = d.info_hash
where d.pending and coalesce(a.info_hash, t.info_hash) is not null
on conflict do nothing";

const BY_NAME: &str = "
insert into ban_doomed (info_hash, rule)
select info_hash, $1 from torrents
where tsv @@ $2::text::tsquery and ($3::int8 is null or total_size >= $3) and ($4::int8 is null or total_size <= $4)
on conflict do nothing";

// The words of the name are among those of the paths too. Other words may have the same numbers, so each of these is looked into.
const BY_PATHS: &str = "
insert into ban_doomed (info_hash, rule, is_sure)
select t.info_hash, $1, false from torrent_files f join torrents t using (info_hash)
where f.words @> $2 and ($3::int8 is null or t.total_size >= $3) and ($4::int8 is null or t.total_size <= $4)
on conflict do nothing";

const UNSURE: &str = "
select d.place, t.name, f.fmt, f.data, octet_length(f.data) as bytes
from (select * from ban_doomed where not is_sure and place > $1 order by place limit $2) d
join torrents t using (info_hash) join torrent_files f using (info_hash)";

const BY_SIZE: &str = "
insert into ban_doomed (info_hash, rule)
select info_hash, $1 from torrents
where total_size >= coalesce($2::int8, 0) and total_size <= coalesce($3::int8, 9223372036854775807)
on conflict do nothing";

impl<'a> BanApply<'a> {
    /// Finds what is banned: time in proportion to what the rules match, for rules of sizes to the number of torrents.
    ///
    /// # Errors
    /// The database refuses or is gone.
    pub async fn find(client: &'a Client) -> Result<(Self, BannedTorrents), SessionError> {
        client
            .batch_execute(
                "drop table if exists pg_temp.ban_doomed;
                create temporary table ban_doomed (
                    place int8 generated always as identity unique, info_hash bytea primary key, rule int8,
                    is_sure boolean not null default true)",
            )
            .await
            .map_err(|error| super::session_error(&error))?;
        // Not prepared for the connection's life: each time the table is another one.
        let run = async |sql: &str, parameters: statement::Parameters<'_>| {
            client.execute(sql, parameters).await.map_err(|error| super::session_error(&error))
        };
        run(PENDING, &[]).await?;
        for active in bans::rules(client).await? {
            let (min, max) = active.rule.sizes();
            match active.rule.tsquery() {
                Some(query) => {
                    run(BY_NAME, &[&active.id, &query, &min, &max]).await?;
                    run(BY_PATHS, &[&active.id, &active.rule.word_hashes(), &min, &max]).await?;
                    leave_unlike(client, &active.rule).await?;
                }
                None => drop(run(BY_SIZE, &[&active.id, &min, &max]).await?),
            }
        }
        let query = async |sql: &str, parameters: statement::Parameters<'_>| {
            client.query(sql, parameters).await.map_err(|error| super::session_error(&error))
        };
        let mut found = BannedTorrents::default();
        let counts = "select rule, count(*) as number from ban_doomed group by 1 order by 1 nulls first";
        for row in query(counts, &[]).await? {
            found.by_rule.push((statement::column(&row, "rule")?, statement::count(&row, "number")?));
        }
        let sample = "
select info_hash, name, total_size from ban_doomed join torrents using (info_hash) order by place limit $1";
        for row in query(sample, &[&SAMPLE]).await? {
            found.sample.push(stored_torrent(&row)?);
        }
        Ok((Self { client, done: 0 }, found))
    }

    /// Deletes the next ones; how many, `None` when all are done.
    ///
    /// # Errors
    /// The database refuses or is gone; the batch was deleted whole or not at all.
    pub async fn delete_some(&mut self) -> Result<Option<u64>, SessionError> {
        let sql = "select place, info_hash, rule from ban_doomed where place > $1 order by place limit $2";
        let rows = self
            .client
            .query(sql, &[&self.done, &BATCH])
            .await
            .map_err(|error| super::session_error(&error))?;
        let Some(last) = rows.last() else { return Ok(None) };
        let hashes =
            rows.iter().map(|row| statement::key(row, "info_hash")).collect::<Result<Vec<InfoHash>, _>>()?;
        let reasons = rows
            .iter()
            .map(|row| {
                let rule: Option<i64> = statement::column(row, "rule")?;
                Ok(rule.map_or_else(|| "banned".to_owned(), bans::reason))
            })
            .collect::<Result<Vec<_>, SessionError>>()?;
        let reasons: Vec<Option<&str>> = reasons.iter().map(|reason| Some(reason.as_str())).collect();
        let erased = erase(self.client, &hashes, &reasons).await?;
        self.done = statement::column(last, "place")?;
        Ok(Some(erased.len() as u64))
    }
}

/// Takes out those that only have words of the same numbers, or lists that cannot be read.
async fn leave_unlike(client: &Client, rule: &BanRule) -> Result<(), SessionError> {
    let mut after = 0_i64;
    let unsure = statement::within_bytes(UNSURE, "place", "$3");
    loop {
        let rows = client.query(&unsure, &[&after, &BATCH, &BYTES_MAX]).await;
        let rows = rows.map_err(|error| super::session_error(&error))?;
        let Some(last) = rows.last() else { break };
        after = statement::column(last, "place")?;
        let rule = rule.clone();
        let unlike = tokio::task::spawn_blocking(move || unlike(&rows, &rule)).await;
        let unlike = unlike.map_err(|error| SessionError::Unexpected(error.to_string()))??;
        let leave = client.execute("delete from ban_doomed where place = any($1)", &[&unlike]).await;
        leave.map_err(|error| super::session_error(&error))?;
    }
    let sure = client.execute("update ban_doomed set is_sure = true where not is_sure", &[]).await;
    sure.map_err(|error| super::session_error(&error)).map(drop)
}

/// The places of rows whose name and paths do not have the words of a rule.
fn unlike(rows: &[tokio_postgres::Row], rule: &BanRule) -> Result<Vec<i64>, SessionError> {
    let mut unlike = Vec::new();
    for row in rows {
        let name: &str = statement::column(row, "name")?;
        let (fmt, data) = (statement::column(row, "fmt")?, statement::column(row, "data")?);
        let files = file_list::unpack(name, fmt, data);
        if !files.is_ok_and(|files| rule.has_words_of(&path_lexemes(name, &files), None)) {
            unlike.push(statement::column(row, "place")?);
        }
    }
    Ok(unlike)
}
