//! What the index keeps of torrents: quotas of rows and bytes, and how long a torrent may be unseen.
//!
//! Over a quota the least popular go first, of these those that were unseen longest; as far as a window of the index of popularity
//! shows them, so that work stays bounded. What goes leaves no tombstone: it was not unwanted, and may come back when it
//! is seen again.
//!
//! PostgreSQL keeps the space of deleted rows for new ones and does not give it back to the system. So a database that has
//! grown beyond its quota stays as large and grows no more: torrents are removed whenever it has grown since they last were.

use std::time::Duration;

use deadpool_postgres::Client;
use krpc::InfoHash;
use tea_runtime::{Session, SessionError};

use super::{RunId, claims, statement, tombstones::erase};

/// Torrents among which those that go are chosen.
const WINDOW: i64 = 20_000;

/// Torrents removed by one statement.
const BATCH: usize = 500;

/// Torrents looked at in one turn for whether they were seen.
const PAGE: i64 = 20_000;

/// A run that no longer reports is no longer the one that keeps the quotas: reports come every 10 s.
const SILENCE_SECONDS: f64 = 60.0;

/// Growth that counts, as a share of the quota: sizes sway by pages and free space.
const GROWTH: u64 = 100;

/// What of the torrents is kept; `None`: all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Torrents.
    pub torrents_max: Option<u64>,
    /// Bytes of the database, as PostgreSQL says them.
    pub storage_bytes_max: Option<u64>,
    /// Time for which a torrent may be unseen.
    pub unseen_max: Option<Duration>,
}

/// Reckons how many torrents are beyond the quotas. Counts the torrents: 0.1 s for a million.
///
/// Of several indexers on one database the one that has run longest keeps its quotas; to the others nothing is beyond.
#[derive(Clone, Copy, Debug)]
pub struct BeyondQuotas {
    /// Who asks.
    pub run: RunId,
    /// The quotas.
    pub quotas: Quotas,
}

/// What is beyond the quotas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beyond {
    /// Whether it is on this run to remove it.
    pub ours: bool,
    /// Torrents.
    pub torrents: u64,
}

impl Session for BeyondQuotas {
    type Client = Client;
    type Output = Beyond;

    async fn run(self, client: &mut Client) -> Result<Beyond, SessionError> {
        if !is_eldest(client, self.run).await? {
            return Ok(Beyond::default());
        }
        let Quotas { torrents_max, storage_bytes_max, .. } = self.quotas;
        if torrents_max.is_none() && storage_bytes_max.is_none() {
            return Ok(Beyond { ours: true, torrents: 0 });
        }
        let row = statement::row(client, "select count(*) as rows from torrents", &[]).await?;
        let rows = statement::count(&row, "rows")?;
        let mut torrents = torrents_max.map_or(0, |most| rows.saturating_sub(most));
        if let Some(most) = storage_bytes_max {
            torrents = torrents.max(beyond_bytes(client, rows, most).await?);
        }
        Ok(Beyond { ours: true, torrents })
    }
}

/// Whether of the runs that live none began earlier.
async fn is_eldest(client: &Client, run: RunId) -> Result<bool, SessionError> {
    let sql = "
select id, beat_at > now() - make_interval(secs => $2) as speaks from runs
where id < $1 and stopped_at is null order by id desc limit 100";
    let rows = statement::rows(client, sql, &[&run.0, &SILENCE_SECONDS]).await?;
    let mut speaking = Vec::new();
    for row in &rows {
        if statement::column::<bool>(row, "speaks")? {
            speaking.push(RunId(statement::column(row, "id")?));
        }
    }
    Ok(claims::claimed(client, &speaking).await?.is_empty())
}

/// Where it is kept how large the database was when torrents were last removed for its size, for this quota.
const CUT: (&str, &str) = ("", "cut at bytes");

/// How many torrents have to go for the size of the database.
async fn beyond_bytes(client: &Client, rows: u64, most: u64) -> Result<u64, SessionError> {
    let sql = "
select pg_database_size(current_database()) as bytes,
    (select value from identity where indexer = $1 and name = $2) as cut";
    let row = statement::row(client, sql, &[&CUT.0, &CUT.1]).await?;
    let bytes = statement::count(&row, "bytes")?;
    let cut: Option<&[u8]> = statement::column(&row, "cut")?;
    let (torrents, cut_at) = cut_for(rows, bytes, most, cut.and_then(read_cut));
    if let Some(cut_at) = cut_at {
        let sql = "
insert into identity (indexer, name, value) values ($1, $2, $3)
on conflict (indexer, name) do update set value = excluded.value, updated_at = now()";
        let value = [most.to_be_bytes(), cut_at.to_be_bytes()].concat();
        statement::execute(client, sql, &[&CUT.0, &CUT.1, &value]).await?;
    }
    Ok(torrents)
}

/// A quota, and the size at which torrents were last removed for it.
fn read_cut(value: &[u8]) -> Option<(u64, u64)> {
    let (most, bytes) = value.split_at_checked(8)?;
    Some((u64::from_be_bytes(most.try_into().ok()?), u64::from_be_bytes(bytes.try_into().ok()?)))
}

/// How many of `rows` torrents have to go, and the size to take note of.
fn cut_for(rows: u64, bytes: u64, most: u64, cut: Option<(u64, u64)>) -> (u64, Option<u64>) {
    // Up to here the space of what was removed is used again.
    let full = match cut {
        Some((quota, cut_at)) if quota == most => most.max(cut_at),
        _ => most,
    };
    if bytes <= full.saturating_add(most / GROWTH) {
        return (0, None);
    }
    // And as much again, so that not each look removes a few.
    let grown = u128::from(bytes - full + most / GROWTH);
    let torrents = u128::from(rows) * grown / u128::from(bytes.max(1));
    (u64::try_from(torrents).unwrap_or(u64::MAX).min(rows), Some(bytes))
}

/// Removes torrents that are beyond a quota.
#[derive(Clone, Copy, Debug)]
pub struct Expire {
    /// How many at most; some thousand are a second's work.
    pub limit: u32,
}

const LEAST: &str = "
with least as (
    select info_hash, popularity from torrents order by popularity, added_at limit $2
)
select l.info_hash from least l left join torrent_stats s using (info_hash)
order by l.popularity, s.last_seen nulls first limit $1";

impl Session for Expire {
    type Client = Client;
    /// How many were removed.
    type Output = u64;

    async fn run(self, client: &mut Client) -> Result<u64, SessionError> {
        let rows = statement::rows(client, LEAST, &[&i64::from(self.limit), &WINDOW]).await?;
        let hashes =
            rows.iter().map(|row| statement::key(row, "info_hash")).collect::<Result<Vec<_>, _>>()?;
        remove(client, &hashes).await
    }
}

/// Removes torrents that were unseen too long, of the next page of all of them.
#[derive(Clone, Copy, Debug)]
pub struct ExpireUnseen {
    /// Too long.
    pub unseen: Duration,
    /// Where the page before ended.
    pub after: Option<InfoHash>,
}

/// What became of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Torrents removed.
    pub removed: u64,
    /// Where it ended; `None`: at the end of all torrents.
    pub next: Option<InfoHash>,
}

// Its index would have to be written with each announce.
const UNSEEN: &str = "
with page as (
    select info_hash, last_seen from torrent_stats where info_hash > $1 order by info_hash limit $2
)
select info_hash, last_seen < now() - make_interval(secs => $3) as is_unseen from page
where last_seen < now() - make_interval(secs => $3)
    or info_hash = (select info_hash from page order by info_hash desc limit 1)
order by info_hash";

impl Session for ExpireUnseen {
    type Client = Client;
    type Output = Expired;

    async fn run(self, client: &mut Client) -> Result<Expired, SessionError> {
        let after: &[u8] = self.after.as_ref().map_or(&[], |hash| hash.as_bytes());
        let rows = statement::rows(client, UNSEEN, &[&after, &PAGE, &self.unseen.as_secs_f64()]).await?;
        let mut unseen = Vec::new();
        for row in &rows {
            if statement::column::<bool>(row, "is_unseen")? {
                unseen.push(statement::key(row, "info_hash")?);
            }
        }
        let next = rows.last().map(|row| statement::key(row, "info_hash")).transpose()?;
        Ok(Expired { removed: remove(client, &unseen).await?, next })
    }
}

async fn remove(client: &Client, hashes: &[InfoHash]) -> Result<u64, SessionError> {
    let mut removed = 0;
    for batch in hashes.chunks(BATCH) {
        removed += erase(client, batch, &vec![None; batch.len()]).await?.len() as u64;
    }
    Ok(removed)
}

/// How old the time at which a torrent was last seen may be before a sample renews it: one write a day for each.
const SEEN_AGAIN_SECONDS: f64 = 86_400.0;

/// Takes note that torrents were seen: nodes still give out their hashes. It is no announce and makes nothing more popular.
pub struct SeenAgain {
    /// Their keys or aliases.
    pub hashes: Vec<InfoHash>,
}

impl std::fmt::Debug for SeenAgain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SeenAgain({} hashes)", self.hashes.len())
    }
}

const SEEN_AGAIN: &str = "
with given as (
    select distinct coalesce(a.info_hash, g.key) as info_hash
    from unnest($1::bytea[]) as g (key) left join aliases a on a.alias = g.key
), held as (
    select s.info_hash from torrent_stats s join given using (info_hash)
    where s.last_seen < now() - make_interval(secs => $2) order by s.info_hash for update of s
)
update torrent_stats s set last_seen = now() from held h where s.info_hash = h.info_hash";

impl Session for SeenAgain {
    type Client = Client;
    /// Of how many it was news.
    type Output = u64;

    async fn run(self, client: &mut Client) -> Result<u64, SessionError> {
        let keys: Vec<&[u8]> = self.hashes.iter().map(|hash| hash.as_bytes().as_slice()).collect();
        statement::execute(client, SEEN_AGAIN, &[&keys, &SEEN_AGAIN_SECONDS]).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_beyond_its_quota_loses_its_share_once_and_again_only_when_it_has_grown() {
        let quota = 1_000_000;
        assert_eq!(cut_for(1_000, 1_000_000, quota, None), (0, None));
        assert_eq!(cut_for(1_000, 1_010_000, quota, None), (0, None), "within a hundredth");
        // Twice as large as it may be: half of the torrents, and a hundredth more.
        let (gone, cut_at) = cut_for(1_000, 2_000_000, quota, None);
        assert_eq!((gone, cut_at), (505, Some(2_000_000)));
        // It stays as large; what is stored now takes the space of what went.
        let cut = cut_at.map(|bytes| (quota, bytes));
        assert_eq!(cut_for(495, 2_000_000, quota, cut), (0, None));
        assert_eq!(cut_for(1_000, 2_010_000, quota, cut), (0, None));
        assert_eq!(cut_for(1_000, 2_040_000, quota, cut), (24, Some(2_040_000)));
        // Packed by hand, it may grow up to its quota again.
        assert_eq!(cut_for(495, 990_000, quota, cut), (0, None));
        // Another quota is another beginning; what is left has a bound.
        assert_eq!(cut_for(1_000, 2_000_000, 500_000, cut).0, 752);
        assert_eq!(cut_for(10, 2_000_000, 1, None).0, 9);
        assert_eq!(cut_for(0, u64::MAX, 1, None).0, 0);
    }
}
