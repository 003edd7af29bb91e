//! The statements of a search: see [`crate::search`] for what they mean and how they are chosen.

use std::time::{Duration, SystemTime};

use deadpool_postgres::{Client, Transaction};
use krpc::InfoHash;
use tea_runtime::{Session, SessionError};
use tokio_postgres::{
    Row,
    types::{FromSql, ToSql, Type},
};

use super::{error::session_error, show::summary, statement};
use crate::{
    file_list,
    search::{
        Count, Cursor, Hit, NAME_HITS_MAX, PAGE_MAX, PATH_HITS_MAX, Page, Parsed, Plan, Position, RANKED_MAX,
        Request, Sort, Stage, parse, plan,
    },
};

/// Rows of the most popular torrents among which the most relevant are looked for when there are too many to rank all.
const POPULAR_WINDOW: i64 = 12_000;

/// Packed bytes of a file list that are unpacked to look for a phrase or the path that matched.
const UNPACK_BYTES_MAX: usize = 1 << 20;

/// Rounds in which a page is filled with paths when many of them have the words but not as neighbours.
const ROUNDS_MAX: usize = 4;

/// One page of results. Never fails for what was typed; costs some milliseconds whatever it was.
#[derive(Clone, Debug)]
pub struct Search {
    /// What is searched for.
    pub request: Request,
}

impl Session for Search {
    type Client = Client;
    type Output = Page;

    async fn run(self, client: &mut Client) -> Result<Page, SessionError> {
        let Request { query, sort, limit, cursor, timeout } = self.request;
        let limit = limit.clamp(1, PAGE_MAX);
        let parsed = parse(&query);
        let transaction = client
            .build_transaction()
            .read_only(true)
            .start()
            .await
            .map_err(|error| session_error(&error))?;
        // Rows are fetched by an index or not at all; only what excludes words and asks for none has no index.
        let settings = format!(
            "set local statement_timeout = {}; set local plan_cache_mode = force_custom_plan; \
             set local enable_seqscan = {}",
            timeout.as_millis().clamp(1, 3_600_000),
            if parsed.is_positive { "off" } else { "on" },
        );
        transaction.batch_execute(&settings).await.map_err(|error| session_error(&error))?;
        let page = Searching { transaction: &transaction, parsed: &parsed, sort, limit }.page(cursor).await?;
        transaction.commit().await.map_err(|error| session_error(&error))?;
        Ok(page)
    }
}

struct Searching<'a> {
    transaction: &'a Transaction<'a>,
    parsed: &'a Parsed,
    sort: Sort,
    limit: u32,
}

/// Rows of one stage, in their order.
#[derive(Default)]
struct Found {
    hits: Vec<(Hit, i64)>,
    count: u64,
    exact: bool,
    approximate: bool,
}

impl Searching<'_> {
    async fn page(&self, cursor: Option<Cursor>) -> Result<Page, SessionError> {
        if cursor.is_none()
            && let Some(hit) = self.by_hash().await?
        {
            let count = Count { number: 1, exact: true };
            return Ok(Page { hits: vec![hit], next: None, count, approximate: false });
        }
        let limit = self.limit as usize;
        let cursor = cursor.unwrap_or(Cursor { stage: Stage::Names, after: None });
        let mut found = match cursor.stage {
            Stage::Names => self.names(cursor.after).await?,
            Stage::Paths => Found { exact: true, ..Found::default() },
        };
        let mut next = None;
        if found.hits.len() > limit {
            found.hits.truncate(limit);
            next = found
                .hits
                .last()
                .map(|(hit, key)| Cursor { stage: Stage::Names, after: Some(position(hit, *key)) });
        } else if self.parsed.paths.is_some() && self.parsed.is_positive {
            // A page that names have just filled is followed by one of paths, if there are any.
            let room = limit - found.hits.len();
            let after = cursor.after.filter(|_| cursor.stage == Stage::Paths);
            let (paths, more) = self.paths(after, room.max(1)).await?;
            found.count += paths.count;
            found.exact &= paths.exact;
            found.approximate |= paths.approximate;
            if room == 0 {
                next = (!paths.hits.is_empty()).then_some(Cursor { stage: Stage::Paths, after: None });
            } else {
                let last = paths.hits.last().filter(|_| more);
                next =
                    last.map(|(hit, key)| Cursor { stage: Stage::Paths, after: Some(position(hit, *key)) });
                found.hits.extend(paths.hits);
            }
        }
        Ok(Page {
            hits: found.hits.into_iter().map(|(hit, _)| hit).collect(),
            next,
            count: Count { number: found.count, exact: found.exact },
            approximate: found.approximate,
        })
    }

    /// The torrent whose hash was typed.
    async fn by_hash(&self) -> Result<Option<Hit>, SessionError> {
        let Some(hash) = self.parsed.hash else { return Ok(None) };
        let Some(key) = hash.key() else { return Ok(None) };
        let sql = format!(
            "select {COLUMNS}, 0::float8 as relevance, 0::int8 as key from torrents t
             left join torrent_stats s using (info_hash)
             where t.info_hash = coalesce((select info_hash from aliases where alias = $1), $1)"
        );
        let rows = self.rows(&sql, &[&key.as_bytes().as_slice()]).await?;
        let found = rows.first().map(|row| hit(row).map(|(hit, _)| hit)).transpose()?;
        Ok(found.filter(|hit| hash.admits(&hit.torrent.hashes)))
    }

    /// Torrents whose names match: one more than the page, if there are more.
    async fn names(&self, after: Option<Position>) -> Result<Found, SessionError> {
        let (estimate, rows) = self.estimate().await?;
        let Some(query) = &self.parsed.names else {
            // Everything matches: the index of the order is the answer.
            let hits = self.walk(None, after, i64::from(self.limit) + 1).await?;
            return Ok(Found { hits, count: rows.max(0.0) as u64, exact: false, approximate: false });
        };
        let estimated = |hits| Found { hits, count: estimate as u64, exact: false, approximate: false };
        if self.sort == Sort::Relevance {
            if estimate <= f64::from(RANKED_MAX) {
                return self.hits(query, after, RANKED_MAX).await;
            }
            let hits = self.rank_popular(query, after).await?;
            if hits.len() > self.limit as usize {
                return Ok(Found { approximate: true, ..estimated(hits) });
            }
            return self.hits(query, after, RANKED_MAX).await;
        }
        if let Plan::Walk { window } = plan(estimate, rows, self.limit) {
            let hits = self.walk(Some(query), after, i64::from(window)).await?;
            if hits.len() > self.limit as usize {
                return Ok(estimated(hits));
            }
        }
        self.hits(query, after, NAME_HITS_MAX).await
    }

    /// How many names match and how many there are, as the planner believes.
    async fn estimate(&self) -> Result<(f64, f64), SessionError> {
        let row = self
            .rows("select reltuples::float8 as rows from pg_class where oid = 'torrents'::regclass", &[])
            .await?;
        let rows: f64 = row.first().map_or(Ok(0.0), |row| statement::column(row, "rows"))?;
        let Some(query) = &self.parsed.names else { return Ok((rows, rows)) };
        let plan = self
            .rows("explain (format json) select 1 from torrents where tsv @@ $1::text::tsquery", &[query])
            .await?;
        let text: String = match plan.first() {
            Some(row) => {
                row.try_get::<_, Json>(0).map_err(|error| SessionError::Unexpected(error.to_string()))?.0
            }
            None => String::new(),
        };
        let value: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| SessionError::Unexpected(error.to_string()))?;
        Ok((value[0]["Plan"]["Plan Rows"].as_f64().unwrap_or(0.0), rows))
    }

    /// Walks the index of the order from the cursor on.
    async fn walk(
        &self,
        query: Option<&String>,
        after: Option<Position>,
        window: i64,
    ) -> Result<Vec<(Hit, i64)>, SessionError> {
        // Without words nothing is more relevant than another: what is popular comes first.
        let order = Order::of(if self.sort == Sort::Relevance { Sort::Popularity } else { self.sort });
        let sql = format!(
            "with {TYPES}, walked as materialized (
                select * from torrents t where {after} order by {by} limit $5
            ), matched as (
                select * from walked t where $6::text is null or tsv @@ $6::text::tsquery order by {by} limit $7
            )
            select {COLUMNS}, 0::float8 as relevance, {key} as key from matched t
            left join torrent_stats s using (info_hash) order by {by}",
            after = order.after,
            by = order.by,
            key = order.key,
        );
        let position = Parameters::of(after);
        let rows = self
            .rows(
                &sql,
                &[
                    &position.is_set,
                    &position.key,
                    &position.added_at,
                    &position.info_hash(),
                    &window,
                    &query,
                    &(i64::from(self.limit) + 1),
                ],
            )
            .await?;
        rows.iter().map(hit).collect()
    }

    /// Fetches hits by the index of words and sorts them; counts them all, up to `hits_max`.
    async fn hits(
        &self,
        query: &String,
        after: Option<Position>,
        hits_max: u32,
    ) -> Result<Found, SessionError> {
        let order = Order::of(self.sort);
        let sql = format!(
            "with {TYPES}, found as materialized (
                select * from torrents where tsv @@ $5::text::tsquery limit $6::int8 + 1
            ), ranked as (
                select *, {rank} as relevance from found
            ), page as (
                select * from ranked t where {after} order by {by} limit $7
            ), total as (
                select count(*) as number from found
            )
            select {COLUMNS}, t.relevance, {key} as key, total.number from total
            left join page t on true left join torrent_stats s using (info_hash) order by {by}",
            rank = if self.sort == Sort::Relevance { RELEVANCE } else { "0::float8" },
            after = order.after,
            by = order.by,
            key = order.key,
        );
        let position = Parameters::of(after);
        let rows = self
            .rows(
                &sql,
                &[
                    &position.is_set,
                    &position.key,
                    &position.added_at,
                    &position.info_hash(),
                    query,
                    &i64::from(hits_max),
                    &(i64::from(self.limit) + 1),
                ],
            )
            .await?;
        let mut found = Found { exact: true, ..Found::default() };
        for row in &rows {
            found.count = statement::count(row, "number")?;
            // The total comes even when the page is empty: then the rest of its row is null.
            if statement::column::<Option<&[u8]>>(row, "info_hash")?.is_some() {
                found.hits.push(hit(row)?);
            }
        }
        found.exact = found.count <= u64::from(hits_max);
        found.approximate = !found.exact;
        Ok(found)
    }

    /// The most relevant among the most popular: for words that match so many names that not all can be ranked.
    async fn rank_popular(
        &self,
        query: &String,
        after: Option<Position>,
    ) -> Result<Vec<(Hit, i64)>, SessionError> {
        let order = Order::of(Sort::Relevance);
        let sql = format!(
            "with {TYPES}, walked as materialized (
                select * from torrents order by popularity desc, added_at desc, info_hash limit $6
            ), ranked as (
                select *, {RELEVANCE} as relevance from walked where tsv @@ $5::text::tsquery
            ), page as (
                select * from ranked t where {after} order by {by} limit $7
            )
            select {COLUMNS}, t.relevance, {key} as key from page t
            left join torrent_stats s using (info_hash) order by {by}",
            after = order.after,
            by = order.by,
            key = order.key,
        );
        let position = Parameters::of(after);
        let rows = self
            .rows(
                &sql,
                &[
                    &position.is_set,
                    &position.key,
                    &position.added_at,
                    &position.info_hash(),
                    query,
                    &POPULAR_WINDOW,
                    &(i64::from(self.limit) + 1),
                ],
            )
            .await?;
        rows.iter().map(hit).collect()
    }

    /// Torrents that only their paths match, and whether there are more of them.
    async fn paths(&self, after: Option<Position>, room: usize) -> Result<(Found, bool), SessionError> {
        let mut found = Found { exact: true, ..Found::default() };
        let mut after = after;
        for _ in 0..ROUNDS_MAX {
            let rows = self.path_rows(after, room + 1).await?;
            let full = rows.len() > room;
            for row in &rows {
                let total = statement::count(row, "number")?;
                found.exact = total <= u64::from(PATH_HITS_MAX);
                found.approximate = !found.exact;
                found.count = total;
                if statement::column::<Option<&[u8]>>(row, "info_hash")?.is_none() {
                    continue;
                }
                let (mut hit, key) = hit(row)?;
                if found.hits.len() == room {
                    return Ok((found, true));
                }
                after = Some(position(&hit, key));
                let fmt = statement::column::<i16>(row, "fmt")?;
                let data = statement::column::<&[u8]>(row, "data")?;
                let (holds, path) = self.look_into(&hit.torrent.name, fmt, data);
                if holds {
                    hit.matched_file = path;
                    found.hits.push((hit, key));
                } else {
                    // It has the words but not as neighbours; others may too.
                    found.exact = false;
                }
            }
            if !full {
                return Ok((found, false));
            }
            if found.hits.len() == room {
                return Ok((found, true));
            }
        }
        found.approximate = true;
        Ok((found, false))
    }

    async fn path_rows(&self, after: Option<Position>, limit: usize) -> Result<Vec<Row>, SessionError> {
        let order = Order::of(self.sort);
        // A name that matches was found before. Relevance has nothing to tell paths apart by but popularity.
        let sql = format!(
            "with {TYPES}, found as materialized (
                select info_hash from torrent_files where paths @@ $5::text::tsquery limit $6::int8 + 1
            ), ranked as (
                select t.*, (1 + 0.2 * t.popularity)::float8 as relevance
                from found f join torrents t using (info_hash) where not t.tsv @@ $7::text::tsquery
            ), page as (
                select * from ranked t where {after} order by {by} limit $8
            ), total as (
                select count(*) as number from ranked
            )
            select {COLUMNS}, t.relevance, {key} as key, total.number, f.fmt,
                case when octet_length(f.data) <= $9 then f.data else ''::bytea end as data
            from total left join page t on true left join torrent_files f using (info_hash)
            left join torrent_stats s using (info_hash) order by {by}",
            after = order.after,
            by = order.by,
            key = order.key,
        );
        let position = Parameters::of(after);
        self.rows(
            &sql,
            &[
                &position.is_set,
                &position.key,
                &position.added_at,
                &position.info_hash(),
                &self.parsed.paths,
                &i64::from(PATH_HITS_MAX),
                &self.parsed.names,
                &(limit as i64),
                &(UNPACK_BYTES_MAX as i32),
            ],
        )
        .await
    }

    /// Whether the phrases hold, and the path that has most of the words. A list that is too long to be unpacked
    /// is believed.
    fn look_into(&self, name: &str, fmt: i16, data: &[u8]) -> (bool, Option<String>) {
        let Ok(files) = file_list::unpack(fmt, data) else { return (true, None) };
        let paths: Vec<String> = files.iter().map(|(path, _)| path.join("/")).collect();
        let holds = self.parsed.phrases.is_empty()
            || self.parsed.phrases_hold(&paths.iter().map(String::as_str).chain([name]));
        let best = holds.then(|| {
            // The first of the best: `max_by_key` would give the last.
            paths
                .into_iter()
                .rev()
                .map(|path| (self.parsed.wanted_in(&path), path))
                .max_by_key(|(wanted, _)| *wanted)
        });
        (holds, best.flatten().map(|(_, path)| path))
    }

    async fn rows(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, SessionError> {
        let statement = self.transaction.prepare_cached(sql).await.map_err(|error| session_error(&error))?;
        self.transaction.query(&statement, parameters).await.map_err(|error| session_error(&error))
    }
}

/// The columns of a result, but for how it is sorted.
const COLUMNS: &str =
    "t.info_hash, t.v2, t.name, t.total_size, t.file_count, t.added_at, t.popularity, t.kind,
    s.seeders, s.leechers, s.scrape_nodes, s.scrape_whole, s.scraped_at";

/// Words close together in a short name, times how popular the torrent is: a bucket more is worth a fifth. What only excludes
/// words ranks nothing, so that popularity decides.
const RELEVANCE: &str = "((ts_rank_cd(tsv, $5::text::tsquery, 1) + 0.001) * (1 + 0.2 * popularity))::float8";

/// An order: what comes after a position ($1 whether there is one, $2 its key, $3 when it was added, $4 its
/// info-hash), what to sort by, and the key of a row. Plans are made for the values at hand, so `not $1 or` leaves
/// conditions that the index of the order can seek by.
struct Order {
    after: &'static str,
    by: &'static str,
    key: &'static str,
}

impl Order {
    fn of(sort: Sort) -> Self {
        match sort {
            Sort::Newest => Self {
                after: "(not $1 or (t.added_at <= $3 and (t.added_at < $3 or t.info_hash > $4)))",
                by: "t.added_at desc, t.info_hash",
                key: "0::int8",
            },
            // The index of the newest, backwards.
            Sort::Oldest => Self {
                after: "(not $1 or (t.added_at >= $3 and (t.added_at > $3 or t.info_hash < $4)))",
                by: "t.added_at, t.info_hash desc",
                key: "0::int8",
            },
            Sort::Size => Self {
                after: "(not $1 or (t.total_size <= $2 and (t.total_size < $2 or t.info_hash > $4)))",
                by: "t.total_size desc, t.info_hash",
                key: "t.total_size",
            },
            Sort::Popularity => Self {
                after: "(not $1 or (t.popularity <= $2 and (t.popularity < $2 or t.added_at < $3
                    or (t.added_at = $3 and t.info_hash > $4))))",
                by: "t.popularity desc, t.added_at desc, t.info_hash",
                key: "t.popularity::int8",
            },
            Sort::Relevance => Self {
                after: "(not $1 or (t.relevance * 1e9)::int8 < $2
                    or ((t.relevance * 1e9)::int8 = $2 and t.info_hash > $4))",
                by: "(t.relevance * 1e9)::int8 desc, t.info_hash",
                key: "(t.relevance * 1e9)::int8",
            },
        }
    }
}

/// Gives the parameters of a position their types, which not every order uses; never read.
const TYPES: &str = "position as (select $1::boolean, $2::int8, $3::timestamptz, $4::bytea)";

/// A position as parameters.
struct Parameters {
    is_set: bool,
    key: i64,
    added_at: SystemTime,
    info_hash: InfoHash,
}

impl Parameters {
    fn of(after: Option<Position>) -> Self {
        let Position { key, added_us, info_hash } =
            after.unwrap_or(Position { key: 0, added_us: 0, info_hash: InfoHash::ZERO });
        let distance = Duration::from_micros(added_us.unsigned_abs());
        let time = if added_us < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(distance)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(distance)
        };
        // A cursor that nobody has handed out may name a time that does not exist.
        Self { is_set: after.is_some(), key, added_at: time.unwrap_or(SystemTime::UNIX_EPOCH), info_hash }
    }

    fn info_hash(&self) -> &[u8] {
        self.info_hash.as_bytes()
    }
}

fn position(hit: &Hit, key: i64) -> Position {
    Position { key, added_us: microseconds(hit.torrent.added_at), info_hash: hit.torrent.hashes.canonical() }
}

fn microseconds(time: SystemTime) -> i64 {
    let signed = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => signed(after),
        Err(before) => -signed(before.duration()),
    }
}

/// A result and the key that it is sorted by.
fn hit(row: &Row) -> Result<(Hit, i64), SessionError> {
    let relevance = statement::column(row, "relevance")?;
    Ok((Hit { torrent: summary(row)?, relevance, matched_file: None }, statement::column(row, "key")?))
}

/// The only row of EXPLAIN: its JSON, unread.
struct Json(String);

impl<'a> FromSql<'a> for Json {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(std::str::from_utf8(raw)?.to_owned()))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::JSON
    }
}
