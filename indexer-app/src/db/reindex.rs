//! Making words and types of stored torrents again when the rules that made them have changed, a few at a time.
//!
//! Rows carry the versions of the tokeniser and of the classifier. A walk goes over them from the newest to the oldest and makes those again that
//! are behind; where it stands is a row of the database, so whoever comes next goes on there. While it goes on, torrents are found
//! by what the old rules made of them.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use deadpool_postgres::Client;
use krpc::InfoHash;
use tea_runtime::{Session, SessionError};
use tokio_postgres::Row;

use super::{
    TsVector,
    lexemes::{name_lexemes, path_lexemes},
    show::files,
    statement,
    store_torrents::Slices,
};
use crate::{
    file_list,
    kinds::{self, CLASS_VER},
    tokeniser::TOK_VER,
};

/// Rows looked at in a turn: they are read by the index of the order, a few milliseconds for so many.
const LOOKED_MAX: i64 = 5_000;

/// Packed bytes of file lists in one turn: lists of 200,000 files exist.
const BYTES_MAX: i64 = 8 << 20;

/// How long rows are left to whoever took them: a turn takes far less, unless its owner is gone.
const LEASE: Duration = Duration::from_secs(60);

/// What was added so long before a walk began is looked at again by the next one: a transaction gives its rows the time at which it began.
const MARGIN: Duration = Duration::from_secs(3_600);

/// Begins a walk where one is needed: over all rows when a version has risen, else over those that were added since the last one began, which a
/// program of an older version may have stored. Leaves one that is under way as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReindexBegin {
    /// Makes every row again, whatever its version.
    pub every: bool,
}

/// What a walk is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReindexState {
    /// There are rows to look at.
    UnderWay,
    /// Rows were made by newer rules than this program has.
    Newer {
        /// Version of the tokeniser.
        tok_ver: i16,
        /// Version of the classifier.
        class_ver: i16,
    },
}

const STATE: &str = "select tok_ver, class_ver from reindexing where tok_ver > $1 or class_ver > $2";

// In the order of its cases: nothing was there; a version has risen, or all is asked for; the last walk is over. The right side of an
// assignment sees the row as it was.
const BEGIN: &str = "
insert into reindexing as r (tok_ver, class_ver, every) values ($1, $2, $3)
on conflict (one) do update set tok_ver = $1, class_ver = $2,
    every = $3 or (r.every and r.finished_at is null),
    floor_at = case when r.tok_ver < $1 or r.class_ver < $2 or $3 then '-infinity'
        else r.began_at - make_interval(secs => $4) end,
    began_at = now(), finished_at = null, after_at = 'infinity', after_hash = '', looked_at = 0, made_again = 0,
    leased_until = '-infinity'
where r.tok_ver < $1 or r.class_ver < $2 or ($3 and not (r.every and r.finished_at is null)) or r.finished_at is not null";

impl Session for ReindexBegin {
    type Client = Client;
    type Output = ReindexState;

    async fn run(self, client: &mut Client) -> Result<ReindexState, SessionError> {
        if let Some(newer) = statement::rows(client, STATE, &[&TOK_VER, &CLASS_VER]).await?.first() {
            return Ok(ReindexState::Newer {
                tok_ver: statement::column(newer, "tok_ver")?,
                class_ver: statement::column(newer, "class_ver")?,
            });
        }
        let margin = MARGIN.as_secs_f64();
        statement::execute(client, BEGIN, &[&TOK_VER, &CLASS_VER, &self.every, &margin]).await?;
        Ok(ReindexState::UnderWay)
    }
}

/// One turn of the walk: looks at the next rows and makes those again that are behind.
#[derive(Clone)]
pub struct Reindex {
    /// Rows made again at most.
    pub limit: u32,
    /// Who does it: of several only one has the next turn.
    pub owner: String,
}

impl fmt::Debug for Reindex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reindex({} rows by {})", self.limit, self.owner)
    }
}

/// What came of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReindexTurn {
    /// There is nothing to do.
    Finished,
    /// Somebody else has the turn.
    Taken,
    /// Rows were looked at.
    Done(Reindexed),
}

/// Reads how far the walk is; `None`: there was none yet.
#[derive(Clone, Copy, Debug)]
pub struct ReindexProgress;

/// How far the latest walk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReindexWalk {
    /// Version of the tokeniser that rows are brought to.
    pub tok_ver: i16,
    /// Version of the classifier.
    pub class_ver: i16,
    /// Rows of this walk.
    pub rows: Reindexed,
    /// Rows that it has to look at, as the planner believes; `None`: only some of the newest, nobody knows how many.
    pub rows_in_all: Option<u64>,
    /// When it began.
    pub began_at: SystemTime,
    /// When it was through; `None`: it goes on.
    pub finished_at: Option<SystemTime>,
}

const PROGRESS: &str = "
select r.tok_ver, r.class_ver, r.looked_at, r.made_again, r.began_at, r.finished_at,
    case when r.floor_at = '-infinity' then greatest(c.reltuples, 0)::int8 end as rows_in_all
from reindexing r, pg_class c where c.oid = 'torrents'::regclass";

impl Session for ReindexProgress {
    type Client = Client;
    type Output = Option<ReindexWalk>;

    async fn run(self, client: &mut Client) -> Result<Option<ReindexWalk>, SessionError> {
        progress(client).await
    }
}

pub(super) async fn progress(client: &Client) -> Result<Option<ReindexWalk>, SessionError> {
    let rows = statement::rows(client, PROGRESS, &[]).await?;
    let walk = |row: &Row| -> Result<ReindexWalk, SessionError> {
        Ok(ReindexWalk {
            tok_ver: statement::column(row, "tok_ver")?,
            class_ver: statement::column(row, "class_ver")?,
            rows: Reindexed {
                looked_at: statement::count(row, "looked_at")?,
                made_again: statement::count(row, "made_again")?,
            },
            rows_in_all: statement::column::<Option<i64>>(row, "rows_in_all")?
                .map(|rows| u64::try_from(rows).unwrap_or(0)),
            began_at: statement::column(row, "began_at")?,
            finished_at: statement::column(row, "finished_at")?,
        })
    };
    rows.first().map(walk).transpose()
}

/// Rows of a turn, or of a walk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reindexed {
    /// Looked at.
    pub looked_at: u64,
    /// Made again.
    pub made_again: u64,
}

const TAKE: &str = "
update reindexing set leased_until = now() + make_interval(secs => $4), leased_by = $3
where finished_at is null and tok_ver = $1 and class_ver = $2 and (leased_until < now() or leased_by = $3)
returning every";

const IS_OVER: &str =
    "select 1 from reindexing where finished_at is null and tok_ver = $1 and class_ver = $2";

// Scalar queries are values to the planner, so the index of the order is entered where the walk stands.
const LOOK: &str = "
select info_hash, added_at, tok_ver < $1 or class_ver < $2 as behind from torrents
where added_at <= (select after_at from reindexing) and added_at >= (select floor_at from reindexing)
  and (added_at < (select after_at from reindexing) or info_hash > (select after_hash from reindexing))
order by added_at desc, info_hash limit $3";

const READ: &str = "
select w.place, t.info_hash, t.name, t.total_size, t.files_whole, t.tok_ver, t.class_ver, f.fmt, f.data, f.tok_ver as paths_ver,
    coalesce(octet_length(f.data), 0) as bytes
from unnest($1::bytea[]) with ordinality as w (info_hash, place)
join torrents t using (info_hash)
left join torrent_files f using (info_hash)";

// Rows that somebody has changed or made again meanwhile are left as they are.
const WRITE: &str = "
with given as (
    select * from unnest($1::bytea[], $2::int2[], $3::int2[], $4::tsvector[], $5::int2[], $6::int2[], $16::int8[])
    as g (info_hash, tok_ver, class_ver, tsv, kind, year, signature)
), made as (
    update torrents t set tsv = g.tsv, kind = g.kind, year = g.year, signature = g.signature, tok_ver = $7, class_ver = $8
    from given g where t.info_hash = g.info_hash and t.tok_ver = g.tok_ver and t.class_ver = g.class_ver
    returning t.info_hash, t.signature
), signed as (
    update torrent_stats s set signature = m.signature from made m
    where s.info_hash = m.info_hash and s.signature <> m.signature
), lists as (
    update torrent_files f set words = ($17::int4[])[g.words_from:g.words_to], tok_ver = $7
    from unnest($9::bytea[], $10::int4[], $18::int4[]) as g (info_hash, words_from, words_to)
    where f.info_hash = g.info_hash
), needless as (
    delete from torrent_files where info_hash = any($19::bytea[])
), moved as (
    update reindexing r set after_at = coalesce($11, after_at), after_hash = coalesce($12, after_hash),
        looked_at = looked_at + $13, made_again = made_again + (select count(*) from made),
        finished_at = case when $14 then now() end, leased_until = '-infinity'
    where tok_ver = $7 and class_ver = $8 and leased_by = $15
)
select count(*) as number from made";

/// What becomes of a torrent's list of files.
enum List {
    /// It is as it should be, or not there.
    Stays,
    /// Its words are of older rules: these are the new ones.
    Words(Vec<i32>),
    /// Name and size say the same.
    Needless,
}

/// A row with what newer rules make of it.
struct Again {
    key: InfoHash,
    tok_ver: i16,
    class_ver: i16,
    tsv: TsVector,
    signature: i64,
    kind: i16,
    year: Option<i16>,
    list: List,
}

impl Session for Reindex {
    type Client = Client;
    type Output = ReindexTurn;

    async fn run(self, client: &mut Client) -> Result<ReindexTurn, SessionError> {
        let lease = LEASE.as_secs_f64();
        let taken = statement::rows(client, TAKE, &[&TOK_VER, &CLASS_VER, &self.owner, &lease]).await?;
        let Some(taken) = taken.first() else {
            let goes_on = !statement::rows(client, IS_OVER, &[&TOK_VER, &CLASS_VER]).await?.is_empty();
            return Ok(if goes_on { ReindexTurn::Taken } else { ReindexTurn::Finished });
        };
        let every = statement::column::<bool>(taken, "every")?;
        let rows = statement::rows(client, LOOK, &[&TOK_VER, &CLASS_VER, &LOOKED_MAX]).await?;
        let rows: Vec<(InfoHash, SystemTime, bool)> = rows.iter().map(looked).collect::<Result<_, _>>()?;
        let wanted: Vec<usize> = rows
            .iter()
            .enumerate()
            .filter(|(_, (.., behind))| every || *behind)
            .map(|(index, _)| index)
            .take(self.limit.max(1) as usize)
            .collect();
        let keys: Vec<&[u8]> = wanted.iter().map(|index| rows[*index].0.as_bytes().as_slice()).collect();
        let read = if keys.is_empty() {
            Vec::new()
        } else {
            statement::rows(client, &statement::within_bytes(READ, "place", "$2"), &[&keys, &BYTES_MAX])
                .await?
        };
        // Looked at are all rows up to the first one that was left for the next turn: for its bytes, or for its number.
        let next = match read.last() {
            Some(last) => {
                let read_to = usize::try_from(statement::column::<i64>(last, "place")?).unwrap_or(usize::MAX);
                wanted.get(read_to).copied()
            }
            None => None,
        };
        let is_full = wanted.len() == self.limit.max(1) as usize;
        let next = next.or(wanted.last().filter(|_| is_full).map(|last| last + 1));
        let done = &rows[..next.unwrap_or(rows.len()).min(rows.len())];
        let is_last = done.len() == rows.len() && (rows.len() as i64) < LOOKED_MAX;
        let made = tokio::task::spawn_blocking(move || {
            read.iter().map(|row| again(row, every)).collect::<Result<Vec<_>, _>>()
        });
        let made = made.await.map_err(|error| SessionError::Unexpected(error.to_string()))??;
        let made_again = write(client, &made, done, is_last, &self.owner).await?;
        Ok(ReindexTurn::Done(Reindexed { looked_at: done.len() as u64, made_again }))
    }
}

fn looked(row: &Row) -> Result<(InfoHash, SystemTime, bool), SessionError> {
    Ok((
        statement::key(row, "info_hash")?,
        statement::column(row, "added_at")?,
        statement::column(row, "behind")?,
    ))
}

/// Makes a row again. One whose list of files cannot be read keeps the words of its paths, and is classified by its name.
fn again(row: &Row, every: bool) -> Result<Again, SessionError> {
    let name = statement::column::<&str>(row, "name")?;
    let total_size = statement::count(row, "total_size")?;
    let is_whole: bool = statement::column(row, "files_whole")?;
    let files = files(row)?.ok();
    let (traits, marks) = kinds::classify_and_mark(name, files.as_deref().unwrap_or(&[]));
    let list = match (statement::column::<Option<i16>>(row, "paths_ver")?, &files) {
        (Some(_), Some(files)) if is_whole && file_list::is_single(name, total_size, files) => List::Needless,
        (Some(version), Some(files)) if every || version != TOK_VER => {
            List::Words(path_lexemes(name, files).hashes())
        }
        _ => List::Stays,
    };
    let lexemes = name_lexemes(name, &marks);
    Ok(Again {
        key: statement::key(row, "info_hash")?,
        tok_ver: statement::column(row, "tok_ver")?,
        class_ver: statement::column(row, "class_ver")?,
        signature: lexemes.signature().to_i64(),
        tsv: TsVector(lexemes),
        kind: traits.kind.code(),
        year: traits.year.and_then(|year| i16::try_from(year).ok()),
        list,
    })
}

async fn write(
    client: &Client,
    made: &[Again],
    looked: &[(InfoHash, SystemTime, bool)],
    is_last: bool,
    owner: &str,
) -> Result<u64, SessionError> {
    macro_rules! column {
        (|$one:ident| $value:expr) => {
            made.iter().map(|$one| $value).collect::<Vec<_>>()
        };
    }
    let last = looked.last();
    let key = |one: &Again| one.key.as_bytes().to_vec();
    let (mut lists, mut words, mut needless) = (Vec::new(), Vec::new(), Vec::new());
    for one in made {
        match &one.list {
            List::Stays => {}
            List::Words(of_paths) => {
                lists.push(key(one));
                words.push(Some(of_paths.as_slice()));
            }
            List::Needless => needless.push(key(one)),
        }
    }
    let words = Slices::of(words.into_iter());
    let row = statement::row(
        client,
        WRITE,
        &[
            &column!(|one| one.key.as_bytes().as_slice()),
            &column!(|one| one.tok_ver),
            &column!(|one| one.class_ver),
            &column!(|one| &one.tsv),
            &column!(|one| one.kind),
            &column!(|one| one.year),
            &TOK_VER,
            &CLASS_VER,
            &lists,
            &words.from,
            &last.map(|(_, added_at, _)| *added_at),
            &last.map(|(key, ..)| key.as_bytes().as_slice()),
            &i64::try_from(looked.len()).unwrap_or(i64::MAX),
            &is_last,
            &owner,
            &column!(|one| one.signature),
            &words.all,
            &words.to,
            &needless,
        ],
    )
    .await?;
    statement::count(&row, "number")
}
