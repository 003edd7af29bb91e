//! The durable queue of info-hashes whose metadata is still to be fetched.

use std::{collections::BTreeMap, fmt, net::SocketAddr, time::Duration};

use deadpool_postgres::Client;
use krpc::InfoHash;
use tea_runtime::{Session, SessionError};

use super::{Discovery, slices, statement};

/// Highest priority: a user waits.
const REQUESTED: i16 = 4;

/// There is a peer: it has just said so.
const ANNOUNCED: i16 = 2;

/// First wait after a failed fetch.
const BACKOFF_FIRST: Duration = Duration::from_secs(5 * 60);

/// Longest wait after a failed fetch: swarms of old torrents come to life for a day or two.
const BACKOFF_MAX: Duration = Duration::from_secs(14 * 24 * 3600);

/// Share of the wait after a try that says nothing of the hash: its queue comes round again, and that is all.
const INCONCLUSIVE_SHARE: f64 = 0.1;

/// How long a hash waits after its `tries`-th failed fetch, counted from 1: 5 minutes, four times as long each time, at
/// most two weeks.
pub fn backoff(tries: u16) -> Duration {
    let factor = 4_u32.saturating_pow(u32::from(tries.saturating_sub(1)));
    BACKOFF_FIRST.saturating_mul(factor).min(BACKOFF_MAX)
}

/// An info-hash that was learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BacklogNew {
    /// The hash.
    pub info_hash: InfoHash,
    /// How we came to know of it; decides its priority (requested, then announced, then sampled, then overheard).
    pub source: Discovery,
    /// Several networks have announced it: of what is announced it goes first.
    pub often: bool,
    /// Nodes or peers to be asked first; at most [`BacklogNew::HINTS_MAX`] are kept.
    pub hints: Vec<SocketAddr>,
}

impl BacklogNew {
    /// Hints kept of one hash: more are seldom asked before the lookup has found others.
    pub const HINTS_MAX: usize = 8;

    /// A hash that a user waits for.
    pub fn requested(info_hash: InfoHash) -> Self {
        Self { info_hash, source: Discovery::Requested, often: false, hints: Vec::new() }
    }

    fn priority(&self) -> i16 {
        match self.source {
            Discovery::Requested => REQUESTED,
            // One network may be one peer that announces again and again.
            Discovery::Announced if self.often => 3,
            Discovery::Announced => ANNOUNCED,
            // A node says that it knows peers: one packet asks for them.
            Discovery::Sampled => 1,
            // Often nobody has it: clients look after their tables by asking for peers of made-up hashes (libtorrent: of
            // 184 hashes that eight sessions let us hear or sample, 68 were overheard). Nor does an old database say who has
            // it; what is imported as a torrent never comes here.
            Discovery::Overheard | Discovery::Imported => 0,
        }
    }
}

/// Puts info-hashes into the backlog, but those that are stored, deleted or banned. Those that are in the backlog already
/// stay as they are, but that a higher priority raises them and makes them due. So does an announce for one that waits
/// for another try, unless the last was less than [`backoff`]`(1)` ago: there is a peer now; and a user's request.
///
/// When there is no room, a hash takes the place of one that is worth less and that nobody has in hand: of a lower
/// priority, or tried in vain several times; the least worth first, of these the oldest. What finds none is refused.
pub struct BacklogPut {
    /// The hashes.
    pub entries: Vec<BacklogNew>,
    /// How many more the backlog may hold; `None`: any number, for users.
    pub room: Option<u64>,
}

/// What became of hashes that were put into the backlog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BacklogGain {
    /// How many were new, by how we came to know of them: each hash counts once, for whoever put it in first.
    pub new: BTreeMap<Discovery, u64>,
    /// New ones for which there was no room.
    pub refused: u64,
    /// Hashes that gave up their place.
    pub displaced: u64,
}

impl fmt::Debug for BacklogPut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BacklogPut({} hashes)", self.entries.len())
    }
}

// $1 hashes, $2 priorities, $3 sources, $4 hints, $5 priority of an announce, $6 first back-off in seconds, $7 of a request.
const GIVEN: &str = "
given as materialized (
    select distinct on (g.info_hash) g.info_hash, g.priority, g.source, g.hints
    from unnest($1::bytea[], $2::int2[], $3::int2[], $4::bytea[]) as g (info_hash, priority, source, hints)
    where not exists (select from torrents t where t.info_hash = g.info_hash)
        and not exists (select from aliases a where a.alias = g.info_hash)
        and not exists (select from tombstones d where d.info_hash = g.info_hash)
    order by g.info_hash, g.priority desc
)";

const INSERT: &str = "
on conflict (info_hash) do update set priority = greatest(b.priority, excluded.priority), due = least(b.due, now()),
        hints = case when excluded.hints = '' then b.hints else excluded.hints end
    where b.priority < excluded.priority
        or (excluded.priority >= $5 and b.owner is null and b.tries > 0
            and (excluded.priority = $7 or b.taken_at < now() - make_interval(secs => $6)))
returning (xmax = 0) as inserted, b.source";

/// The new ones beyond the room, best first, stand against those that are worth least: pair by pair the former is worth more,
/// until it is not, and from there on no more.
const DISPLACE: &str = "
fresh as (
    select g.info_hash, case when g.priority >= 4 then 100 else g.priority * 4 end as worth,
        row_number() over (order by g.priority desc, g.info_hash) as place
    from given g where not exists (select from backlog b where b.info_hash = g.info_hash)
), beyond as (
    select info_hash, worth, row_number() over (order by place) as place from fresh where place > $8
), least as (
    select info_hash, worth, row_number() over (order by worth, added_at, info_hash) as place
    from (
        select info_hash, worth, added_at from backlog
        where worth < (select max(worth) from beyond) and (owner is null or due <= now())
        order by worth, added_at limit (select count(*) from beyond) for update skip locked
    ) l
), pairs as (
    select b.info_hash as comes, l.info_hash as goes from beyond b join least l using (place) where l.worth < b.worth
), displaced as (
    delete from backlog b using pairs p where b.info_hash = p.goes returning 1
), refused as (
    select info_hash from beyond where info_hash not in (select comes from pairs)
)";

impl Session for BacklogPut {
    type Client = Client;
    type Output = BacklogGain;

    async fn run(self, client: &mut Client) -> Result<BacklogGain, SessionError> {
        let hints: Vec<Vec<u8>> = self.entries.iter().map(|entry| write_hints(&entry.hints)).collect();
        let hashes: Vec<&[u8]> =
            self.entries.iter().map(|entry| entry.info_hash.as_bytes().as_slice()).collect();
        let priorities: Vec<i16> = self.entries.iter().map(BacklogNew::priority).collect();
        let sources: Vec<i16> = self.entries.iter().map(|entry| entry.source.code()).collect();
        let first = BACKOFF_FIRST.as_secs_f64();
        let room = self.room.filter(|room| *room < self.entries.len() as u64);
        let mut gain = BacklogGain::default();
        let rows = match room.map(|room| i64::try_from(room).unwrap_or(i64::MAX)) {
            None => {
                let sql = format!(
                    "with {GIVEN} insert into backlog as b (info_hash, priority, source, hints) select * from given {INSERT}"
                );
                let parameters: statement::Parameters<'_> =
                    &[&hashes, &priorities, &sources, &hints, &ANNOUNCED, &first, &REQUESTED];
                statement::rows(client, &sql, parameters).await?
            }
            Some(room) => {
                let sql = format!(
                    "
with {GIVEN}, {DISPLACE}, done as (
    insert into backlog as b (info_hash, priority, source, hints)
    select * from given where info_hash not in (select info_hash from refused) {INSERT}
)
select inserted, source, (select count(*) from refused) as refused, (select count(*) from displaced) as displaced
from done
union all select false, 0::int2, (select count(*) from refused), (select count(*) from displaced)"
                );
                let parameters: statement::Parameters<'_> =
                    &[&hashes, &priorities, &sources, &hints, &ANNOUNCED, &first, &REQUESTED, &room];
                let rows = statement::rows(client, &sql, parameters).await?;
                if let Some(row) = rows.first() {
                    gain.refused = statement::count(row, "refused")?;
                    gain.displaced = statement::count(row, "displaced")?;
                }
                rows
            }
        };
        for row in &rows {
            if statement::column::<bool>(row, "inserted")? {
                let source = Discovery::from_code(statement::column(row, "source")?);
                *gain.new.entry(source).or_default() += 1;
            }
        }
        Ok(gain)
    }
}

/// Takes hashes that are due: highest priority first, then those that have been due longest. Nobody else gets them
/// until the lease ends; whoever neither finishes nor fails them until then has lost them.
#[derive(Clone, Debug)]
pub struct BacklogTake {
    /// How many at most.
    pub limit: u32,
    /// Who takes them, for people who look.
    pub owner: String,
    /// How long they are his, unless he renews it.
    pub lease: Duration,
}

/// A hash to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The hash.
    pub info_hash: InfoHash,
    /// How we came to know of it.
    pub source: Discovery,
    /// Failed fetches so far.
    pub tries: u16,
    /// Nodes or peers to be asked first.
    pub hints: Vec<SocketAddr>,
    /// Peers that a user has named.
    pub peers: Vec<SocketAddr>,
}

const TAKE: &str = "
with next as materialized (
    select info_hash from backlog where priority = $1 and due <= now()
    order by due limit $2 for update skip locked
)
update backlog b set due = now() + make_interval(secs => $3), taken_at = now(), owner = $4
from next where b.info_hash = next.info_hash
returning b.info_hash, b.source, b.tries, b.hints, b.peers";

impl Session for BacklogTake {
    type Client = Client;
    type Output = Vec<Taken>;

    async fn run(self, client: &mut Client) -> Result<Vec<Taken>, SessionError> {
        let mut taken = Vec::new();
        // One statement for each priority walks the index from its start; one for all would read past every hash of a
        // higher priority that is not due.
        for priority in (0..=REQUESTED).rev() {
            let room = i64::from(self.limit) - taken.len() as i64;
            if room <= 0 {
                break;
            }
            let rows =
                statement::rows(client, TAKE, &[&priority, &room, &self.lease.as_secs_f64(), &self.owner])
                    .await?;
            for row in &rows {
                taken.push(taken_row(row)?);
            }
        }
        Ok(taken)
    }
}

/// Prolongs the leases of an owner: he lives, and what he has in hand stays his.
#[derive(Clone, Debug)]
pub struct BacklogRenew {
    /// Who has taken it.
    pub owner: String,
    /// How long it is his from now on.
    pub lease: Duration,
}

// What is due already may have been taken by somebody else meanwhile: then it has another owner.
const RENEW: &str = "
update backlog b set due = now() + make_interval(secs => $2)
from (select info_hash from backlog where owner = $1 order by info_hash for update) held
where b.info_hash = held.info_hash";

impl Session for BacklogRenew {
    type Client = Client;
    /// How many he has in hand.
    type Output = u64;

    async fn run(self, client: &mut Client) -> Result<u64, SessionError> {
        statement::execute(client, RENEW, &[&self.owner, &self.lease.as_secs_f64()]).await
    }
}

/// Puts hashes back whose fetch failed: they are due again after [`backoff`], after a tenth of it when the try says nothing
/// of the hash. What somebody else has taken since stays his.
pub struct BacklogFail {
    /// Who had taken them.
    pub owner: String,
    /// The hashes, each with its reason.
    pub failures: Vec<Failure>,
}

/// A fetch that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Of which hash.
    pub info_hash: InfoHash,
    /// Why, in a word or two.
    pub reason: String,
    /// The try ended before anything was known of the hash, as for want of time or packets.
    pub inconclusive: bool,
}

/// What became of failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BacklogFailed {
    /// Hashes that wait for their next try.
    pub waiting: u64,
}

impl fmt::Debug for BacklogFail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BacklogFail({} hashes)", self.failures.len())
    }
}

const FAIL: &str = "
with given as (
    select distinct on (info_hash) info_hash, reason, share
    from unnest($1::bytea[], $2::text[], $4::float8[]) as g (info_hash, reason, share)
), held as (
    select b.info_hash, g.reason, g.share from backlog b join given g using (info_hash)
    where b.owner is null or b.owner = $5
    order by b.info_hash for update of b
)
update backlog b set tries = least(b.tries + 1, 32767), reason = h.reason, owner = null,
    due = now() + make_interval(secs => h.share * ($3::float8[])[least(b.tries + 1, array_length($3::float8[], 1))])
from held h where b.info_hash = h.info_hash";

impl Session for BacklogFail {
    type Client = Client;
    type Output = BacklogFailed;

    async fn run(self, client: &mut Client) -> Result<BacklogFailed, SessionError> {
        let waits: Vec<f64> = (1..=10).map(|tries| backoff(tries).as_secs_f64()).collect();
        let waiting = statement::execute(
            client,
            FAIL,
            &[
                &self
                    .failures
                    .iter()
                    .map(|failure| failure.info_hash.as_bytes().as_slice())
                    .collect::<Vec<_>>(),
                &self.failures.iter().map(|failure| super::storable(&failure.reason)).collect::<Vec<_>>(),
                &waits,
                &self
                    .failures
                    .iter()
                    .map(|failure| if failure.inconclusive { INCONCLUSIVE_SHARE } else { 1.0 })
                    .collect::<Vec<_>>(),
                &self.owner,
            ],
        )
        .await?;
        Ok(BacklogFailed { waiting })
    }
}

/// Gives back what an owner has taken and neither finished nor failed: all of it is due at once. So are his slices of the
/// keyspace. For the start after an
/// interrupted run, and for the end of one.
#[derive(Clone, Debug)]
pub struct BacklogRelease {
    /// Who has taken it.
    pub owner: String,
}

impl Session for BacklogRelease {
    type Client = Client;
    /// How many were given back.
    type Output = u64;

    async fn run(self, client: &mut Client) -> Result<u64, SessionError> {
        slices::release(client, &self.owner).await?;
        let sql = "update backlog set due = now(), owner = null where owner = $1";
        statement::execute(client, sql, &[&self.owner]).await
    }
}

/// Counts the hashes in the backlog.
#[derive(Clone, Copy, Debug)]
pub struct BacklogSize;

impl Session for BacklogSize {
    type Client = Client;
    type Output = u64;

    async fn run(self, client: &mut Client) -> Result<u64, SessionError> {
        statement::count(&statement::row(client, "select count(*) as rows from backlog", &[]).await?, "rows")
    }
}

/// Reads a row that was taken.
pub(super) fn taken_row(row: &tokio_postgres::Row) -> Result<Taken, SessionError> {
    Ok(Taken {
        info_hash: statement::key(row, "info_hash")?,
        source: Discovery::from_code(statement::column(row, "source")?),
        tries: u16::try_from(statement::column::<i16>(row, "tries")?).unwrap_or(0),
        hints: read_hints(statement::column(row, "hints")?),
        peers: read_hints(statement::column(row, "peers")?),
    })
}

/// Compact endpoints (BEP 5), each behind its length.
pub(super) fn write_hints(hints: &[SocketAddr]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for hint in hints.iter().take(BacklogNew::HINTS_MAX) {
        match hint {
            SocketAddr::V4(v4) => {
                bytes.push(6);
                bytes.extend_from_slice(&v4.ip().octets());
            }
            SocketAddr::V6(v6) => {
                bytes.push(18);
                bytes.extend_from_slice(&v6.ip().octets());
            }
        }
        bytes.extend_from_slice(&hint.port().to_be_bytes());
    }
    bytes
}

fn read_hints(mut bytes: &[u8]) -> Vec<SocketAddr> {
    let mut hints = Vec::new();
    while let Some((length, rest)) = bytes.split_first() {
        let Some((endpoint, rest)) = rest.split_at_checked(usize::from(*length)) else { break };
        bytes = rest;
        if let [ip @ .., high, low] = endpoint {
            let port = u16::from_be_bytes([*high, *low]);
            if let Ok(v4) = <[u8; 4]>::try_from(ip) {
                hints.push(SocketAddr::from((v4, port)));
            } else if let Ok(v6) = <[u8; 16]>::try_from(ip) {
                hints.push(SocketAddr::from((v6, port)));
            }
        }
    }
    hints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_fourfold_up_to_two_weeks() {
        assert_eq!(backoff(1), Duration::from_secs(300));
        assert_eq!(backoff(2), Duration::from_secs(1200));
        assert_eq!(backoff(7), Duration::from_secs(300 * 4096).min(BACKOFF_MAX));
        assert_eq!(backoff(u16::MAX), BACKOFF_MAX);
        assert_eq!(
            backoff(10),
            BACKOFF_MAX,
            "the last one that the statement knows stands for all later ones"
        );
    }

    #[test]
    fn hints_of_both_families_come_back_up_to_their_bound() {
        let hints: Vec<SocketAddr> =
            vec!["127.0.0.1:6881".parse().unwrap(), "[2001:db8::1]:1".parse().unwrap()];
        assert_eq!(read_hints(&write_hints(&hints)), hints);
        let many = vec![hints[0]; 20];
        assert_eq!(read_hints(&write_hints(&many)).len(), BacklogNew::HINTS_MAX);
        assert_eq!(read_hints(&[6, 1, 2]), Vec::<SocketAddr>::new());
        assert_eq!(read_hints(&[1, 9, 0]), Vec::<SocketAddr>::new());
    }
}
