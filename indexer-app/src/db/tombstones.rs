//! Hashes that are never to come back: deleted or banned torrents, and what turned out to be no torrent.
//!
//! A hash with a tombstone is not fetched, not put into the backlog, not stored and not imported. A tombstone goes only when
//! somebody says so ([`Unban`]).

use std::{collections::BTreeMap, fmt};

use deadpool_postgres::Client;
use krpc::InfoHash;
use tea_runtime::{Session, SessionError};
use tokio_postgres::Row;

use super::statement;

/// Why a hash was buried that a user has deleted.
const DELETED: &str = "deleted";

/// Why one was buried that stands in a list of banned ones.
pub(super) const BANNED: &str = "banned";

/// How long ago a tombstone may have been set for a torrent that was being stored at that moment.
const SWEEP_SECONDS: i32 = 3_600;

/// Takes torrents out of the index with all that belongs to them, and leaves tombstones under all of their keys.
pub struct DeleteTorrents {
    /// Their keys or aliases.
    pub hashes: Vec<InfoHash>,
}

impl fmt::Debug for DeleteTorrents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeleteTorrents({} hashes)", self.hashes.len())
    }
}

impl Session for DeleteTorrents {
    type Client = Client;
    /// The keys of those that were there.
    type Output = Vec<InfoHash>;

    async fn run(self, client: &mut Client) -> Result<Vec<InfoHash>, SessionError> {
        let reasons = vec![Some(DELETED); self.hashes.len()];
        erase(client, &self.hashes, &reasons).await
    }
}

/// Takes hashes out of the backlog for good: they are known to stand for nothing that can be stored.
pub struct Bury {
    /// The hashes, each with the reason.
    pub hashes: Vec<(InfoHash, String)>,
}

impl fmt::Debug for Bury {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bury({} hashes)", self.hashes.len())
    }
}

impl Session for Bury {
    type Client = Client;
    /// How many were not buried before.
    type Output = u64;

    async fn run(self, client: &mut Client) -> Result<u64, SessionError> {
        bury(client, &self.hashes).await
    }
}

/// Bans hashes: what is stored under them stays until the bans are applied, everything else is as if it did not exist.
pub struct BanHashes {
    /// The hashes; some 1000 at a time are cheapest.
    pub hashes: Vec<InfoHash>,
}

impl fmt::Debug for BanHashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BanHashes({} hashes)", self.hashes.len())
    }
}

/// What became of hashes to be banned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BannedHashes {
    /// Those that had no tombstone.
    pub new: u64,
    /// Those under which a torrent is stored.
    pub stored: u64,
}

// A hybrid is stored under its v1 hash, and known by its alias.
const BAN: &str = "
with given as (
    select distinct h as info_hash, exists (select from torrents t where t.info_hash = h)
        or exists (select from aliases a where a.alias = h) as is_stored
    from unnest($1::bytea[]) as h
), waiting as (
    delete from backlog where info_hash in
        (select info_hash from backlog where info_hash = any($1) order by info_hash for update)
), buried as (
    insert into tombstones (info_hash, reason, pending) select info_hash, $2, is_stored from given order by info_hash
    on conflict (info_hash) do update set pending = true where excluded.pending and not tombstones.pending
    returning (xmax = 0) as is_new
)
select (select count(*) from buried where is_new) as new, (select count(*) from given where is_stored) as stored";

impl Session for BanHashes {
    type Client = Client;
    type Output = BannedHashes;

    async fn run(self, client: &mut Client) -> Result<BannedHashes, SessionError> {
        let row = statement::row(client, BAN, &[&keys(&self.hashes), &BANNED]).await?;
        Ok(BannedHashes { new: statement::count(&row, "new")?, stored: statement::count(&row, "stored")? })
    }
}

/// Takes tombstones away: the hashes may be found, fetched and stored again.
pub struct Unban {
    /// The hashes.
    pub hashes: Vec<InfoHash>,
}

impl fmt::Debug for Unban {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unban({} hashes)", self.hashes.len())
    }
}

impl Session for Unban {
    type Client = Client;
    /// Those that had one, each with its reason.
    type Output = BTreeMap<InfoHash, String>;

    async fn run(self, client: &mut Client) -> Result<BTreeMap<InfoHash, String>, SessionError> {
        let sql = "delete from tombstones where info_hash = any($1) returning info_hash, reason";
        let rows = statement::rows(client, sql, &[&keys(&self.hashes)]).await?;
        rows.iter()
            .map(|row| Ok((statement::key(row, "info_hash")?, statement::column(row, "reason")?)))
            .collect()
    }
}

/// Which torrents are stored under some hashes.
pub struct StoredUnder {
    /// Keys or aliases.
    pub hashes: Vec<InfoHash>,
}

impl fmt::Debug for StoredUnder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredUnder({} hashes)", self.hashes.len())
    }
}

impl Session for StoredUnder {
    type Client = Client;
    /// Each torrent once, by its key.
    type Output = Vec<StoredTorrent>;

    async fn run(self, client: &mut Client) -> Result<Vec<StoredTorrent>, SessionError> {
        let sql = "
select info_hash, name, total_size from torrents where info_hash = any($1)
    or info_hash in (select info_hash from aliases where alias = any($1))
order by info_hash";
        let rows = statement::rows(client, sql, &[&keys(&self.hashes)]).await?;
        rows.iter().map(stored_torrent).collect()
    }
}

/// A torrent in a line, for people who decide about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTorrent {
    /// Its key.
    pub info_hash: InfoHash,
    /// Its name.
    pub name: String,
    /// Bytes in all files.
    pub total_size: u64,
}

pub(super) fn stored_torrent(row: &Row) -> Result<StoredTorrent, SessionError> {
    Ok(StoredTorrent {
        info_hash: statement::key(row, "info_hash")?,
        name: statement::column(row, "name")?,
        total_size: statement::count(row, "total_size")?,
    })
}

// $1 hashes, $2 a reason for each: what leaves a tombstone has one. A hybrid's alias follows from its v2 hash, and there is
// no index from torrents to aliases.
const ERASE: &str = "
with given as (
    select coalesce(a.info_hash, g.info_hash) as info_hash, g.info_hash as told, g.reason
    from unnest($1::bytea[], $2::text[]) as g (info_hash, reason) left join aliases a on a.alias = g.info_hash
), wanted as (
    select t.info_hash, substring(t.v2 from 1 for 20) as truncated from torrents t
    where t.info_hash in (select info_hash from given) order by t.info_hash for update
), names as (
    select info_hash, reason from given
    union select g.told, g.reason from given g
    union select w.truncated, g.reason from wanted w join given g using (info_hash) where w.truncated is not null
), gone as (
    delete from torrents where info_hash in (select info_hash from wanted) returning info_hash
), files as (
    delete from torrent_files where info_hash in (select info_hash from wanted)
), stats as (
    delete from torrent_stats where info_hash in (select info_hash from wanted)
), dicts as (
    delete from info_dicts where info_hash in (select info_hash from wanted)
), other_keys as (
    delete from aliases where alias in (select truncated from wanted)
), waiting as (
    delete from backlog where info_hash in (select info_hash from names where reason is not null)
), buried as (
    insert into tombstones (info_hash, reason)
    select info_hash, min(reason) from names where reason is not null group by 1 order by 1
    on conflict (info_hash) do update set pending = false where tombstones.pending
)
select info_hash from gone";

/// Deletes torrents with all that belongs to them, in one statement; those with a reason leave it on their tombstones,
/// and so do hashes of torrents that are not there. Gives back the keys of those that were there.
pub(super) async fn erase(
    client: &Client,
    hashes: &[InfoHash],
    reasons: &[Option<&str>],
) -> Result<Vec<InfoHash>, SessionError> {
    if hashes.is_empty() {
        return Ok(Vec::new());
    }
    let rows = statement::rows(client, ERASE, &[&keys(hashes), &reasons]).await?;
    rows.iter().map(|row| statement::key(row, "info_hash")).collect()
}

const BURY: &str = "
with given as (
    select * from unnest($1::bytea[], $2::text[]) as g (info_hash, reason)
), waiting as (
    delete from backlog where info_hash in
        (select info_hash from backlog where info_hash = any($1) order by info_hash for update)
)
insert into tombstones (info_hash, reason, pending)
select info_hash, min(reason), exists (select from torrents t where t.info_hash = given.info_hash)
from given group by 1 order by 1 on conflict do nothing";

/// Sets tombstones, and takes the hashes out of the backlog; what is stored under them stays until bans are applied. How
/// many are new.
pub(super) async fn bury(client: &Client, hashes: &[(InfoHash, String)]) -> Result<u64, SessionError> {
    if hashes.is_empty() {
        return Ok(0);
    }
    let reasons: Vec<_> = hashes.iter().map(|(_, reason)| super::storable(reason)).collect();
    let hashes: Vec<&[u8]> = hashes.iter().map(|(hash, _)| hash.as_bytes().as_slice()).collect();
    statement::execute(client, BURY, &[&hashes, &reasons]).await
}

/// Which of these have a tombstone.
pub(super) async fn buried(client: &Client, hashes: &[InfoHash]) -> Result<Vec<InfoHash>, SessionError> {
    let sql = "select info_hash from tombstones where info_hash = any($1)";
    let rows = statement::rows(client, sql, &[&keys(hashes)]).await?;
    rows.iter().map(|row| statement::key(row, "info_hash")).collect()
}

/// Removes what was being stored or put into the backlog at the moment that its tombstone was set, so that the one did not
/// see the other. How many torrents.
pub(super) async fn sweep(client: &Client) -> Result<u64, SessionError> {
    let sql = "
select d.info_hash from tombstones d
where d.at > now() - make_interval(secs => $1) and not d.pending and (
    exists (select from torrents t where t.info_hash = d.info_hash)
    or exists (select from aliases a where a.alias = d.info_hash)
    or exists (select from backlog b where b.info_hash = d.info_hash))
limit 1000";
    let rows = statement::rows(client, sql, &[&f64::from(SWEEP_SECONDS)]).await?;
    let found = rows.iter().map(|row| statement::key(row, "info_hash")).collect::<Result<Vec<_>, _>>()?;
    let reasons = vec![Some(BANNED); found.len()];
    Ok(erase(client, &found, &reasons).await?.len() as u64)
}

fn keys(hashes: &[InfoHash]) -> Vec<&[u8]> {
    hashes.iter().map(|hash| hash.as_bytes().as_slice()).collect()
}
