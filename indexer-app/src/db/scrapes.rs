//! How many take part in a torrent, as nodes of the DHT have told (BEP 33).

use std::time::{Duration, SystemTime};

use deadpool_postgres::Client;
use krpc::InfoHash;
use tea_runtime::{Session, SessionError};
use tokio_postgres::Row;

use super::statement;

/// A scrape of the closest nodes holds for so long: then it is made again, and until then nothing takes its place that
/// only some nodes have told.
pub const WHOLE_SCRAPE_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The most popular torrents, among which those are looked for that are due.
const POPULAR_MAX: i64 = 20_000;

/// The size of a swarm: estimates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SwarmSize {
    /// The closest nodes of the network were all asked; otherwise it is what some nodes know, and there may be more.
    pub whole: bool,
    /// Nodes that have told.
    pub nodes: u32,
    /// About how many have all of it.
    pub seeders: u32,
    /// About how many do not.
    pub leechers: u32,
}

/// The size of a swarm as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObservedSwarm {
    /// The size.
    pub size: SwarmSize,
    /// When it was told.
    pub at: SystemTime,
}

/// Reads the columns of `torrent_stats` that say it; `None` when nobody has told yet.
pub(super) fn observed(row: &Row) -> Result<Option<ObservedSwarm>, SessionError> {
    let Some(at) = statement::column::<Option<SystemTime>>(row, "scraped_at")? else { return Ok(None) };
    let number = |name| -> Result<u32, SessionError> {
        Ok(u32::try_from(statement::column::<i32>(row, name)?).unwrap_or_default())
    };
    let size = SwarmSize {
        whole: statement::column(row, "scrape_whole")?,
        nodes: u32::try_from(statement::column::<i16>(row, "scrape_nodes")?).unwrap_or_default(),
        seeders: number("seeders")?,
        leechers: number("leechers")?,
    };
    Ok(Some(ObservedSwarm { size, at }))
}

/// Names popular torrents whose closest nodes were never asked, or more than [`WHOLE_SCRAPE_LIFETIME`] ago: the most
/// popular first. Looks at the 20,000 most popular.
#[derive(Clone, Copy, Debug)]
pub struct ScrapesDue {
    /// How many at most.
    pub limit: u32,
}

const DUE: &str = "
select t.info_hash
from (select info_hash, popularity, added_at from torrents where popularity > 0
    order by popularity desc, added_at desc, info_hash limit $2) t
join torrent_stats s using (info_hash)
where s.scraped_at is null or not s.scrape_whole or s.scraped_at < now() - make_interval(secs => $3)
order by t.popularity desc, t.added_at desc, t.info_hash limit $1";

impl Session for ScrapesDue {
    type Client = Client;
    type Output = Vec<InfoHash>;

    async fn run(self, client: &mut Client) -> Result<Vec<InfoHash>, SessionError> {
        let lifetime = WHOLE_SCRAPE_LIFETIME.as_secs_f64();
        let rows = statement::rows(client, DUE, &[&i64::from(self.limit), &POPULAR_MAX, &lifetime]).await?;
        rows.iter().map(|row| statement::key(row, "info_hash")).collect()
    }
}
