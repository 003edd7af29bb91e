//! The score of a torrent: it grows with every observed announce and halves with time.
//!
//! What a scrape (BEP 33) tells is a floor under it: a swarm of n peers is worth n announces, for that is what n clients
//! send. So to scrape a torrent twice does not make it more popular, and a swarm that shrinks is forgotten as announces are.
//!
//! The score is kept as a value and the time at which it was that value; nothing has to be rewritten for it to
//! decay. Searches sort by its log2 bucket in the row of the torrent, which is rewritten only when the bucket
//! changes: at once when it rises, in the background ([`DecayPopularity`]) when it falls.

use std::{collections::BTreeMap, fmt, time::Duration};

use deadpool_postgres::Client;
use krpc::InfoHash;
use tea_runtime::{Session, SessionError};

use super::{SwarmSize, WHOLE_SCRAPE_LIFETIME, statement};

/// Time in which a score halves: a torrent announced once a day is then worth about ten announces.
pub const SCORE_HALF_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// One sign of life of a torrent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Announce {
    /// The torrent, by its key or its alias.
    pub info_hash: InfoHash,
    /// How much it is worth: 1 for an announce, less for a question about it, nothing for a scrape.
    pub weight: f64,
    /// The size of its swarm, when a scrape has just told it.
    pub swarm: Option<SwarmSize>,
}

/// Adds observed announces to the scores of the torrents that are stored.
pub struct RecordAnnounces {
    /// The announces since the last time; the same torrent may occur often.
    pub announces: Vec<Announce>,
}

/// What became of announces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// Torrents that are stored.
    pub torrents: u64,
    /// Torrents whose popularity rose.
    pub risen: u64,
    /// Hashes of no stored torrent.
    pub unknown: u64,
}

/// All announces of one torrent.
#[derive(Default)]
struct Sum {
    weight: f64,
    times: i64,
    swarm: Option<SwarmSize>,
}

impl fmt::Debug for RecordAnnounces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordAnnounces({} announces)", self.announces.len())
    }
}

// The rows are locked in the order of their keys, so that two indexers never wait for each other.
const RECORD: &str = "
with given as (
    select coalesce(a.info_hash, g.key) as info_hash, sum(g.weight) as weight, sum(g.times)::int8 as times,
        max(g.seeders) as seeders, max(g.leechers) as leechers, max(g.nodes) as nodes, bool_or(g.whole) as whole
    from unnest($1::bytea[], $2::float8[], $3::int8[], $4::int4[], $5::int4[], $6::int2[], $7::boolean[])
        as g (key, weight, times, seeders, leechers, nodes, whole)
    left join aliases a on a.alias = g.key
    group by 1
), held as (
    select s.info_hash, g.weight, g.times, g.seeders, g.leechers, g.nodes, g.whole,
        g.times > 0 or g.seeders + g.leechers > 0 as seen,
        g.seeders is not null and (g.whole or not s.scrape_whole or s.scraped_at is null
            or s.scraped_at < now() - make_interval(secs => $9)) as told
    from torrent_stats s join given g using (info_hash)
    order by s.info_hash for update of s
), scored as (
    update torrent_stats s set
        score = greatest(h.seeders + h.leechers,
            s.score * power(2, -greatest(extract(epoch from now() - s.score_at), 0)::float8 / $8) + h.weight),
        score_at = now(), seen_count = least(s.seen_count + h.times, 2147483647),
        last_seen = case when h.seen then now() else s.last_seen end,
        seeders = case when h.told then h.seeders else s.seeders end,
        leechers = case when h.told then h.leechers else s.leechers end,
        scrape_nodes = case when h.told then h.nodes else s.scrape_nodes end,
        scrape_whole = case when h.told then h.whole else s.scrape_whole end,
        scraped_at = case when h.told then now() else s.scraped_at end
    from held h where s.info_hash = h.info_hash
    returning s.info_hash, s.score
), bucketed as (
    select info_hash, floor(ln(1 + score) / ln(2))::int2 as bucket from scored
), risen as (
    update torrents t set popularity = b.bucket from bucketed b
    where t.info_hash = b.info_hash and t.popularity < b.bucket returning 1
)
select (select count(*) from scored) as torrents, (select count(*) from risen) as risen,
    (select count(*) from given) as given";

impl Session for RecordAnnounces {
    type Client = Client;
    type Output = Announced;

    async fn run(self, client: &mut Client) -> Result<Announced, SessionError> {
        let mut sums: BTreeMap<InfoHash, Sum> = BTreeMap::new();
        for announce in self.announces {
            let sum = sums.entry(announce.info_hash).or_default();
            sum.weight += announce.weight;
            sum.times += i64::from(announce.swarm.is_none());
            // A whole one, or else the one that most nodes have told: the order of the fields.
            sum.swarm = sum.swarm.max(announce.swarm);
        }
        let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        let row = statement::row(
            client,
            RECORD,
            &[
                &sums.keys().map(|hash| hash.as_bytes().as_slice()).collect::<Vec<_>>(),
                &sums.values().map(|sum| sum.weight).collect::<Vec<_>>(),
                &sums.values().map(|sum| sum.times).collect::<Vec<_>>(),
                &sums.values().map(|sum| sum.swarm.map(|swarm| number(swarm.seeders))).collect::<Vec<_>>(),
                &sums.values().map(|sum| sum.swarm.map(|swarm| number(swarm.leechers))).collect::<Vec<_>>(),
                &sums
                    .values()
                    .map(|sum| sum.swarm.map(|swarm| i16::try_from(swarm.nodes).unwrap_or(i16::MAX)))
                    .collect::<Vec<_>>(),
                &sums.values().map(|sum| sum.swarm.map(|swarm| swarm.whole)).collect::<Vec<_>>(),
                &SCORE_HALF_LIFE.as_secs_f64(),
                &WHOLE_SCRAPE_LIFETIME.as_secs_f64(),
            ],
        )
        .await?;
        let torrents = statement::count(&row, "torrents")?;
        Ok(Announced {
            torrents,
            risen: statement::count(&row, "risen")?,
            unknown: statement::count(&row, "given")?.saturating_sub(torrents),
        })
    }
}

/// Lowers the popularity of torrents whose score has decayed into a lower bucket; a torrent at a time falls one
/// bucket each half-life. To be run a few times an hour.
#[derive(Clone, Copy, Debug)]
pub struct DecayPopularity {
    /// Torrents lowered at most; 1000 is a fair share.
    pub limit: u32,
}

// The order is that of the index on popularity, so torrents of bucket 0, which are most, are never looked at.
const DECAY: &str = "
with stale as (
    select t.info_hash, b.bucket
    from torrents t join torrent_stats s using (info_hash),
        lateral (select floor(ln(1 + s.score * power(2, -greatest(extract(epoch from now() - s.score_at), 0)::float8
            / $2)) / ln(2))::int2 as bucket) b
    where t.popularity > 0 and b.bucket < t.popularity
    limit $1
)
update torrents t set popularity = s.bucket from stale s where t.info_hash = s.info_hash and t.popularity > s.bucket";

impl Session for DecayPopularity {
    type Client = Client;
    /// How many were lowered: as many as the limit means that there are more.
    type Output = u64;

    async fn run(self, client: &mut Client) -> Result<u64, SessionError> {
        statement::execute(client, DECAY, &[&i64::from(self.limit), &SCORE_HALF_LIFE.as_secs_f64()]).await
    }
}
