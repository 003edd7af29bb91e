//! Info dicts byte for byte, for those who want them: `.torrent` files, and peers.

use std::{fmt, io::Read, sync::Arc, time::Duration};

use deadpool_postgres::Client;
use krpc::InfoHash;
use tea_runtime::{Session, SessionError};

use super::statement;

/// Level of zstd: file names shrink to a third, and more effort gains nothing on hashes.
const ZSTD_LEVEL: i32 = 3;

/// What must be saved, as a share of the whole, for the time that unpacking takes.
const WORTH: f64 = 0.1;

/// Longest info dict that is unpacked: the longest that can be set to be fetched.
const BYTES_MAX: u64 = 256 << 20;

/// An info dict to be kept.
#[derive(Clone, PartialEq, Eq)]
pub struct NewInfoDict {
    /// Under which key its torrent is stored.
    pub info_hash: InfoHash,
    /// Its bytes.
    pub raw: Arc<[u8]>,
    /// For how long; `None`: for good.
    pub keep_for: Option<Duration>,
}

impl fmt::Debug for NewInfoDict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewInfoDict({}, {} bytes)", self.info_hash, self.raw.len())
    }
}

/// Keeps info dicts. One that is kept already stays, for the longer of both times.
pub struct KeepInfoDicts {
    /// The info dicts.
    pub dicts: Vec<NewInfoDict>,
}

impl fmt::Debug for KeepInfoDicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeepInfoDicts({} info dicts)", self.dicts.len())
    }
}

const KEEP: &str = "
insert into info_dicts as d (info_hash, fmt, data, kept_until)
select distinct on (g.info_hash) g.info_hash, g.fmt, g.data, now() + make_interval(secs => g.seconds)
from unnest($1::bytea[], $2::int2[], $3::bytea[], $4::float8[]) as g (info_hash, fmt, data, seconds)
order by g.info_hash, g.seconds desc nulls first
on conflict (info_hash) do update set kept_until = excluded.kept_until
    where d.kept_until is not null and (excluded.kept_until is null or excluded.kept_until > d.kept_until)";

impl Session for KeepInfoDicts {
    type Client = Client;
    /// How many were new, or are kept for longer.
    type Output = u64;

    async fn run(self, client: &mut Client) -> Result<u64, SessionError> {
        let Self { dicts } = self;
        let packed = tokio::task::spawn_blocking(move || {
            dicts.into_iter().map(|dict| (pack(&dict.raw), dict)).collect::<Vec<_>>()
        });
        let packed = packed.await.map_err(|error| SessionError::Unexpected(error.to_string()))?;
        let seconds = |dict: &NewInfoDict| dict.keep_for.map(|keep_for| keep_for.as_secs_f64());
        statement::execute(
            client,
            KEEP,
            &[
                &packed.iter().map(|(_, dict)| dict.info_hash.as_bytes().as_slice()).collect::<Vec<_>>(),
                &packed.iter().map(|((fmt, _), _)| *fmt).collect::<Vec<_>>(),
                &packed
                    .iter()
                    .map(|((_, data), dict)| data.as_deref().unwrap_or(&dict.raw))
                    .collect::<Vec<_>>(),
                &packed.iter().map(|(_, dict)| seconds(dict)).collect::<Vec<_>>(),
            ],
        )
        .await
    }
}

/// Reads the info dict of a torrent, by any key that the DHT knows it by.
#[derive(Clone, Copy, Debug)]
pub struct LoadInfoDict {
    /// The key.
    pub info_hash: InfoHash,
}

const LOAD: &str = "
select fmt, data from info_dicts
where info_hash = $1 or info_hash = (select info_hash from aliases where alias = $1)
limit 1";

impl Session for LoadInfoDict {
    type Client = Client;
    /// Its bytes, if it is kept.
    type Output = Option<Arc<[u8]>>;

    async fn run(self, client: &mut Client) -> Result<Self::Output, SessionError> {
        let rows = statement::rows(client, LOAD, &[&self.info_hash.as_bytes().as_slice()]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let (fmt, data) = (statement::column::<i16>(row, "fmt")?, statement::column::<&[u8]>(row, "data")?);
        unpack(fmt, data).map(|raw| Some(raw.into()))
    }
}

/// Reads of which torrents info dicts are kept for good.
#[derive(Clone, Copy, Debug)]
pub struct KeptInfoDicts {
    /// How many at most.
    pub limit: u32,
}

const KEPT: &str = "
with kept as (select info_hash from info_dicts where kept_until is null limit $1)
select info_hash as key from kept
union all select a.alias from aliases a join kept using (info_hash)";

impl Session for KeptInfoDicts {
    type Client = Client;
    /// Their keys, of hybrids both.
    type Output = Vec<InfoHash>;

    async fn run(self, client: &mut Client) -> Result<Vec<InfoHash>, SessionError> {
        let rows = statement::rows(client, KEPT, &[&i64::from(self.limit)]).await?;
        rows.iter().map(|row| statement::key(row, "key")).collect()
    }
}

/// Drops info dicts whose time is over.
#[derive(Clone, Copy, Debug)]
pub struct DropInfoDicts;

impl Session for DropInfoDicts {
    type Client = Client;
    /// How many.
    type Output = u64;

    async fn run(self, client: &mut Client) -> Result<u64, SessionError> {
        statement::execute(client, "delete from info_dicts where kept_until < now()", &[]).await
    }
}

/// As it is kept: its format, and its bytes if these are not the ones given.
fn pack(raw: &[u8]) -> (i16, Option<Vec<u8>>) {
    match zstd::bulk::compress(raw, ZSTD_LEVEL) {
        Ok(packed) if (packed.len() as f64) < raw.len() as f64 * (1.0 - WORTH) => (1, Some(packed)),
        _ => (0, None),
    }
}

fn unpack(fmt: i16, data: &[u8]) -> Result<Vec<u8>, SessionError> {
    let problem = |why: String| SessionError::Unexpected(format!("an info dict cannot be unpacked: {why}"));
    match fmt {
        0 => Ok(data.to_vec()),
        1 => {
            let mut raw = Vec::new();
            let decoder = zstd::Decoder::with_buffer(data).map_err(|error| problem(error.to_string()))?;
            decoder.take(BYTES_MAX).read_to_end(&mut raw).map_err(|error| problem(error.to_string()))?;
            Ok(raw)
        }
        other => Err(problem(format!("its format {other} is not known"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_compressed_and_hashes_are_not_and_both_come_back() {
        let text = b"4:pathl6:season7:episode".repeat(400);
        let (fmt, data) = pack(&text);
        let data = data.unwrap();
        assert_eq!(fmt, 1);
        assert!(data.len() * 10 < text.len());
        assert_eq!(unpack(fmt, &data).unwrap(), text);

        let mut state = 7_u64;
        let hashes: Vec<u8> = (0..20_000)
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 56) as u8
            })
            .collect();
        assert_eq!(pack(&hashes), (0, None));
        assert_eq!(unpack(0, &hashes).unwrap(), hashes);
        assert!(unpack(9, &hashes).is_err() && unpack(1, &hashes).is_err());
    }
}
