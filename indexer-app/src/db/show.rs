//! One torrent with all that is known of it, and the latest ones.

use std::{fmt, time::SystemTime};

use deadpool_postgres::Client;
use krpc::InfoHash;
use tea_runtime::{Session, SessionError};
use tokio_postgres::Row;

use super::{Discovery, Hashes, ObservedSwarm, scrapes, statement};
use crate::{
    file_list::{self, File, UnpackError},
    kinds::{Kind, Traits, classify, classify_name},
};

/// Torrents that one beginning of a hash is answered with.
const MATCHES_MAX: i64 = 10;

/// A hash as a user writes it: a v1 hash or the beginning of one, or a v2 hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashQuery {
    low: [u8; 20],
    high: [u8; 20],
    v2: Option<[u8; 32]>,
}

impl HashQuery {
    /// Fewest hexadecimal digits that are taken as the beginning of a hash.
    pub const DIGITS_MIN: usize = 4;

    /// Reads 4 to 40 hexadecimal digits, or all 64 of a v2 hash; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.len();
        if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        if digits == 64 {
            let v2: [u8; 32] = bytes_of(text, b'0');
            let mut key = [0; 20];
            key.copy_from_slice(&v2[..20]);
            return Some(Self { low: key, high: key, v2: Some(v2) });
        }
        (Self::DIGITS_MIN..=40).contains(&digits).then(|| Self {
            low: bytes_of(text, b'0'),
            high: bytes_of(text, b'f'),
            v2: None,
        })
    }

    /// Exactly this key.
    pub fn exact(info_hash: InfoHash) -> Self {
        Self { low: *info_hash.as_bytes(), high: *info_hash.as_bytes(), v2: None }
    }

    /// Whether a torrent found by the key is the one that is meant: of a v2 hash the key is only the beginning.
    pub fn admits(&self, hashes: &Hashes) -> bool {
        self.v2.is_none() || self.v2 == hashes.v2()
    }

    /// The first and the last key that begin so.
    pub(super) fn bounds(&self) -> (&[u8; 20], &[u8; 20]) {
        (&self.low, &self.high)
    }

    /// The v2 hash, if it was one.
    pub(super) fn v2(&self) -> Option<&[u8; 32]> {
        self.v2.as_ref()
    }

    /// The one key that is meant, when it is written in full.
    pub fn key(&self) -> Option<InfoHash> {
        (self.low == self.high).then(|| InfoHash::from_bytes(self.low))
    }
}

/// Hexadecimal digits as bytes, missing ones replaced.
fn bytes_of<const N: usize>(digits: &str, missing: u8) -> [u8; N] {
    let mut bytes = [0; N];
    let mut digits = digits.bytes().chain(std::iter::repeat(missing)).map(|digit| match digit {
        b'0'..=b'9' => digit - b'0',
        other => (other | 0x20).wrapping_sub(b'a').wrapping_add(10) & 0x0f,
    });
    for byte in &mut bytes {
        *byte = digits.next().unwrap_or(0) << 4 | digits.next().unwrap_or(0);
    }
    bytes
}

/// Reads the torrents of a hash: at most ten, more than one only for the beginning of a hash.
#[derive(Clone, Copy, Debug)]
pub struct Show {
    /// The hash.
    pub hash: HashQuery,
}

/// A torrent with all that is known of it.
#[derive(Clone, PartialEq)]
pub struct ShownTorrent {
    /// Its hashes.
    pub hashes: Hashes,
    /// Its name.
    pub name: String,
    /// The name's bytes, when its text is not all of it.
    pub name_raw: Option<Vec<u8>>,
    /// Bytes in all files.
    pub total_size: u64,
    /// Its files in their order.
    pub files: Vec<File>,
    /// How many files it has, as far as is known.
    pub file_count: u32,
    /// Whether `files` are all.
    pub files_whole: bool,
    /// Bytes in a piece; `None`: not known.
    pub piece_length: Option<u64>,
    /// Number of pieces; `None`: not known.
    pub piece_count: Option<u32>,
    /// Only its own trackers may be asked for peers; `None`: not known.
    pub private: Option<bool>,
    /// `source` of the info dict.
    pub source: Option<String>,
    /// How we came to know of it.
    pub discovered_by: Discovery,
    /// When it was stored.
    pub added_at: SystemTime,
    /// Its score, as it weighs now.
    pub score: f64,
    /// How often it was seen.
    pub seen_count: u64,
    /// When it was last seen.
    pub last_seen: SystemTime,
    /// How many take part, as last told.
    pub swarm: Option<ObservedSwarm>,
}

impl ShownTorrent {
    /// What it is, by its name and files.
    pub fn traits(&self) -> Traits {
        classify(&self.name, &self.files)
    }
}

impl fmt::Debug for ShownTorrent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShownTorrent({} {:?}, {} files)", self.hashes.canonical(), self.name, self.files.len())
    }
}

const SHOW: &str = "
select t.info_hash, t.v2, t.name, t.name_raw, t.total_size, t.piece_length, t.piece_count, t.private, t.source,
    t.file_count, t.files_whole,
    t.discovered_by, t.added_at, f.fmt, f.data, coalesce(s.seen_count, 0)::int8 as seen_count,
    coalesce(s.last_seen, t.added_at) as last_seen,
    s.seeders, s.leechers, s.scrape_nodes, s.scrape_whole, s.scraped_at,
    coalesce(s.score * power(2, -greatest(extract(epoch from now() - s.score_at), 0)::float8 / $4), 0) as score
from torrents t
left join torrent_files f using (info_hash)
left join torrent_stats s using (info_hash)
where t.info_hash in (
    select info_hash from torrents where info_hash between $1 and $2
    union select info_hash from aliases where alias between $1 and $2
    limit $3)
order by t.info_hash";

impl Session for Show {
    type Client = Client;
    type Output = Vec<ShownTorrent>;

    async fn run(self, client: &mut Client) -> Result<Vec<ShownTorrent>, SessionError> {
        let HashQuery { low, high, .. } = self.hash;
        let half_life = super::SCORE_HALF_LIFE.as_secs_f64();
        let rows =
            statement::rows(client, SHOW, &[&low.as_slice(), &high.as_slice(), &MATCHES_MAX, &half_life])
                .await?;
        // Long file lists take milliseconds to unpack.
        let torrents =
            tokio::task::spawn_blocking(move || rows.iter().map(shown).collect::<Result<Vec<_>, _>>())
                .await
                .map_err(|error| SessionError::Unexpected(error.to_string()))??;
        Ok(torrents.into_iter().filter(|torrent| self.hash.admits(&torrent.hashes)).collect())
    }
}

fn shown(row: &Row) -> Result<ShownTorrent, SessionError> {
    let number = |name| -> Result<u32, SessionError> {
        Ok(u32::try_from(statement::column::<i32>(row, name)?).unwrap_or(0))
    };
    let files = files(row)?.map_err(|error| SessionError::Unexpected(error.to_string()))?;
    Ok(ShownTorrent {
        hashes: hashes(row)?,
        name: statement::column(row, "name")?,
        name_raw: statement::column(row, "name_raw")?,
        total_size: statement::count(row, "total_size")?,
        files,
        file_count: number("file_count")?,
        files_whole: statement::column(row, "files_whole")?,
        piece_length: statement::known_count(row, "piece_length")?,
        piece_count: statement::column::<Option<i32>>(row, "piece_count")?
            .map(|count| u32::try_from(count).unwrap_or(0)),
        private: statement::column(row, "private")?,
        source: statement::column(row, "source")?,
        discovered_by: Discovery::from_code(statement::column(row, "discovered_by")?),
        added_at: statement::column(row, "added_at")?,
        score: statement::column(row, "score")?,
        seen_count: statement::count(row, "seen_count")?,
        last_seen: statement::column(row, "last_seen")?,
        swarm: scrapes::observed(row)?,
    })
}

/// The files of a row that has `name` and `total_size`, and of `torrent_files`, which may not be there, `fmt` and `data`.
pub(super) fn files(row: &Row) -> Result<Result<Vec<File>, UnpackError>, SessionError> {
    let name = statement::column(row, "name")?;
    Ok(match statement::column::<Option<i16>>(row, "fmt")? {
        Some(fmt) => file_list::unpack(name, fmt, statement::column(row, "data")?),
        None => Ok(vec![file_list::single(name, statement::count(row, "total_size")?)]),
    })
}

/// The hashes of a row that has `info_hash` and `v2`.
pub(super) fn hashes(row: &Row) -> Result<Hashes, SessionError> {
    let v2 = statement::column::<Option<&[u8]>>(row, "v2")?.and_then(|v2| v2.try_into().ok());
    Ok(Hashes::from_stored(statement::key(row, "info_hash")?, v2))
}

/// Reads the torrents that were stored last.
#[derive(Clone, Copy, Debug)]
pub struct Recent {
    /// How many at most.
    pub limit: u32,
}

const RECENT: &str = "
select t.info_hash, t.v2, t.name, t.total_size, t.file_count, t.added_at, t.popularity, t.kind,
    s.seeders, s.leechers, s.scrape_nodes, s.scrape_whole, s.scraped_at
from (select * from torrents order by added_at desc, info_hash limit $1) t
left join torrent_stats s using (info_hash)
order by t.added_at desc, t.info_hash";

/// A torrent in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TorrentSummary {
    /// Its hashes.
    pub hashes: Hashes,
    /// Its name.
    pub name: String,
    /// Bytes in all files.
    pub total_size: u64,
    /// How many files.
    pub file_count: u32,
    /// When it was stored.
    pub added_at: SystemTime,
    /// log2 bucket of its score.
    pub popularity: i16,
    /// What it is; `None`: it has not been classified yet.
    pub kind: Option<Kind>,
    /// How many take part, as last told.
    pub swarm: Option<ObservedSwarm>,
}

impl TorrentSummary {
    /// What its name tells, and its type: less than the index knows where the names of files tell more.
    pub fn traits(&self) -> Option<Traits> {
        self.kind.map(|kind| classify_name(&self.name, kind))
    }
}

impl Session for Recent {
    type Client = Client;
    type Output = Vec<TorrentSummary>;

    async fn run(self, client: &mut Client) -> Result<Vec<TorrentSummary>, SessionError> {
        let rows = statement::rows(client, RECENT, &[&i64::from(self.limit)]).await?;
        rows.iter().map(summary).collect()
    }
}

/// Reads a row that has the columns of a summary.
pub(super) fn summary(row: &Row) -> Result<TorrentSummary, SessionError> {
    let number = |name| -> Result<u32, SessionError> {
        Ok(u32::try_from(statement::column::<i32>(row, name)?).unwrap_or(0))
    };
    Ok(TorrentSummary {
        hashes: hashes(row)?,
        name: statement::column(row, "name")?,
        total_size: statement::count(row, "total_size")?,
        file_count: number("file_count")?,
        added_at: statement::column(row, "added_at")?,
        popularity: statement::column(row, "popularity")?,
        kind: Kind::from_code(statement::column(row, "kind")?),
        swarm: scrapes::observed(row)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_hash_is_all_hashes_that_begin_so() {
        let query = HashQuery::parse("AbC12").unwrap();
        assert_eq!(query.low[..4], [0xab, 0xc1, 0x20, 0]);
        assert_eq!(query.high[..4], [0xab, 0xc1, 0x2f, 0xff]);
        assert_eq!(query.key(), None);
    }

    #[test]
    fn whole_hashes_of_both_versions_are_read_and_nothing_else() {
        let v1 = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(HashQuery::parse(v1).unwrap().key(), v1.parse().ok());
        let v2 = HashQuery::parse(&format!(" {} ", "ab".repeat(32))).unwrap();
        assert_eq!((v2.key(), v2.v2), (Some(InfoHash::from_bytes([0xab; 20])), Some([0xab; 32])));
        for odd in ["", "abc", "xyz12", &"a".repeat(41), &"a".repeat(63), &"a".repeat(65), "été12"] {
            assert_eq!(HashQuery::parse(odd), None, "{odd}");
        }
    }
}
