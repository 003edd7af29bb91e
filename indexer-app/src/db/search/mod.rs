//! The statements of a search: see [`crate::search`] for what they mean and how they are chosen.

mod access;
mod condition;
mod estimate;
mod expansions;
mod facets;
mod lexemes;
mod order;
mod parameters;
mod recheck;
mod signs;
mod suggest;
mod walk;

use std::time::{Duration, Instant, SystemTime};

use deadpool_postgres::{Client, Transaction};
use tea_runtime::{Session, SessionError};
use tokio_postgres::{Row, types::ToSql};

use self::{
    access::{End, Got},
    condition::Conditions,
    estimate::{Estimate, Known},
    expansions::Expansions,
    order::{Order, microseconds, time_of},
    parameters::Parameters,
    recheck::look_into,
};
use super::{HashQuery, error::session_error, show::summary, statement};
use crate::{
    query::{Expr, Query, Term, parse},
    search::{Count, Cursor, Facets, Hit, PAGE_MAX, Page, Position, Request, Sort, Stage},
};

/// Packed bytes of a file list that are unpacked to look for words or the path that matched.
const UNPACK_BYTES_MAX: i64 = 64 << 10;

/// How many more rows are taken than there is room for, when some may not match after all.
const WIDER_SPARE: usize = 40;

/// The longest that anybody may wait.
const TIMEOUT_MAX: Duration = Duration::from_secs(3_600);

/// SQLSTATE of a statement that took too long.
const QUERY_CANCELED: &str = "57014";

/// One page of results. Never fails for what was typed; costs some milliseconds whatever it was. What takes longer than
/// [`Request::timeout`] is ended by the server: `SessionError::Database` with the code 57014.
#[derive(Clone, Debug)]
pub struct Search {
    /// What is searched for.
    pub request: Request,
}

impl Session for Search {
    type Client = Client;
    type Output = Page;

    async fn run(self, client: &mut Client) -> Result<Page, SessionError> {
        let Request { query, sort, limit, cursor, facets, timeout } = self.request;
        let Query { expr, hash, notes } = parse(&query);
        let transaction = client
            .build_transaction()
            .read_only(true)
            .start()
            .await
            .map_err(|error| session_error(&error))?;
        let timeout = timeout.clamp(Duration::from_millis(1), TIMEOUT_MAX);
        let clock = Clock { transaction: &transaction, ends: instant() + timeout, timeout };
        let known = estimate::known(&clock, timeout).await?;
        let as_of = cursor.map_or(known.now, |cursor| time_of(cursor.as_of_us));
        let ranked = expr.as_ref().and_then(lexemes::ranked);
        let expansions = Expansions::of(expr.as_ref(), &clock).await?;
        let searching = Searching {
            clock: &clock,
            known,
            expr: expr.as_ref(),
            hash,
            order: Order::of(sort, ranked.is_some()),
            ranked,
            limit: limit.clamp(1, PAGE_MAX) as usize,
            as_of,
            names: Conditions::of(expr.as_ref(), Stage::Names, as_of, &expansions),
            paths: Conditions::of(expr.as_ref(), Stage::Paths, as_of, &expansions),
        };
        let (mut page, estimates) = searching.page(cursor).await?;
        if facets {
            page.facets = Some(searching.facets_of(&page, estimates).await?);
        }
        if page.hits.is_empty() && page.next.is_none() && cursor.is_none() {
            page.did_you_mean = searching.did_you_mean().await?;
        }
        // Nothing was written: whoever uses the connection next need not be waited for while it ends.
        drop(transaction);
        Ok(Page { notes, ..page })
    }
}

/// A transaction whose statements all together have so much time.
struct Clock<'a> {
    transaction: &'a Transaction<'a>,
    ends: Instant,
    timeout: Duration,
}

#[expect(clippy::disallowed_methods, reason = "a session does I/O, and this one has to end in time")]
fn instant() -> Instant {
    Instant::now()
}

impl Clock<'_> {
    async fn rows(&self, sql: &str, parameters: &Parameters) -> Result<Vec<Row>, SessionError> {
        self.check().await?;
        self.transaction.query_typed(sql, &parameters.typed()).await.map_err(|error| session_error(&error))
    }

    /// The same for a statement that is always the same: it is parsed once for a connection.
    async fn rows_of_prepared(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, SessionError> {
        self.check().await?;
        let failed = |error: tokio_postgres::Error| session_error(&error);
        let statement = self.transaction.prepare_cached(sql).await.map_err(failed)?;
        self.transaction.query(&statement, parameters).await.map_err(failed)
    }

    /// Sees to it that the next statement ends in time.
    async fn check(&self) -> Result<(), SessionError> {
        let left = self.ends.saturating_duration_since(instant());
        if left.is_zero() {
            let message = "canceling search due to its timeout".to_owned();
            return Err(SessionError::Database { code: QUERY_CANCELED.to_owned(), message });
        }
        if left < self.timeout / 2 {
            let setting = format!("set local statement_timeout = {}", left.as_millis().max(1));
            self.transaction.batch_execute(&setting).await.map_err(|error| session_error(&error))?;
        }
        Ok(())
    }
}

struct Searching<'a> {
    clock: &'a Clock<'a>,
    known: Known,
    expr: Option<&'a Expr>,
    hash: Option<HashQuery>,
    order: Order,
    /// The words that names are ranked by.
    ranked: Option<String>,
    limit: usize,
    as_of: SystemTime,
    names: Conditions<'a>,
    paths: Conditions<'a>,
}

/// What was estimated of stages, so that it need not be asked again.
#[derive(Default)]
struct Estimates {
    names: Option<Estimate>,
    paths: Option<Estimate>,
}

impl Estimates {
    fn of(&mut self, conditions: &Conditions<'_>) -> &mut Option<Estimate> {
        if conditions.is_names() { &mut self.names } else { &mut self.paths }
    }
}

/// What a stage gave.
#[derive(Default)]
struct Found {
    hits: Vec<Hit>,
    /// Where the stage goes on, if it does.
    more: Option<Position>,
    count: u64,
    exact: bool,
    approximate: bool,
}

impl Searching<'_> {
    /// A page, and what was estimated of its stages.
    async fn page(&self, cursor: Option<Cursor>) -> Result<(Page, Estimates), SessionError> {
        if cursor.is_none()
            && let Some(hit) = self.by_hash().await?
        {
            let page = page_of(vec![hit], None, Count { number: 1, exact: true }, false);
            return Ok((page, Estimates::default()));
        }
        let as_of_us = microseconds(self.as_of);
        let to = |stage, after| Some(Cursor { stage, as_of_us, after });
        let (stage, after) = cursor.map_or((Stage::Names, None), |cursor| (cursor.stage, cursor.after));
        let stages: &[&Conditions<'_>] = match (stage, self.has_paths()) {
            (Stage::Names, true) => &[&self.names, &self.paths],
            (Stage::Names, false) => &[&self.names],
            (Stage::Paths, true) => &[&self.paths],
            (Stage::Paths, false) => &[],
        };
        let mut estimates = Estimates::default();
        for (conditions, estimate) in stages.iter().zip(self.estimates(stages).await?) {
            *estimates.of(conditions) = Some(estimate);
        }
        let mut found = Found { exact: true, ..Found::default() };
        if let Some(estimate) = &estimates.names {
            found = self.stage(&self.names, estimate, after, self.limit).await?;
        }
        let mut next = None;
        if found.more.is_some() {
            next = to(Stage::Names, found.more);
        } else if let Some(estimate) = &estimates.paths {
            // A page that names have just filled is followed by one of paths, if there are any.
            let room = self.limit - found.hits.len();
            let after = after.filter(|_| stage == Stage::Paths);
            let paths = self.stage(&self.paths, estimate, after, room.max(1)).await?;
            found.count += paths.count;
            found.exact &= paths.exact;
            found.approximate |= paths.approximate;
            if room == 0 {
                next = (!paths.hits.is_empty() || paths.more.is_some()).then_some(Cursor {
                    stage: Stage::Paths,
                    as_of_us,
                    after: None,
                });
            } else {
                next = paths.more.and_then(|more| to(Stage::Paths, Some(more)));
                found.hits.extend(paths.hits);
            }
        }
        let count = Count { number: found.count, exact: found.exact };
        Ok((page_of(found.hits, next, count, found.approximate), estimates))
    }

    /// The facets of what the page is of.
    async fn facets_of(&self, page: &Page, mut estimates: Estimates) -> Result<Facets, SessionError> {
        let total = page.count.exact.then_some(page.count.number);
        let by_name = self.facets(&self.names, estimates.names.take(), total).await?;
        if by_name.sampled > 0 || !by_name.exact || !self.has_paths() {
            return Ok(by_name);
        }
        self.facets(&self.paths, estimates.paths.take(), None).await
    }

    /// Whether paths can match what names do not: they have the words of the name and more.
    fn has_paths(&self) -> bool {
        let mut wanted = self.paths.has_file_terms;
        if let Some(expr) = self.expr {
            expr.for_each_term(&mut |term, negated| wanted |= !negated && matches!(term, Term::Text(_)));
        }
        wanted
    }

    /// The torrent whose hash was typed.
    async fn by_hash(&self) -> Result<Option<Hit>, SessionError> {
        let Some(hash) = self.hash else { return Ok(None) };
        let Some(key) = hash.key() else { return Ok(None) };
        let mut p = Parameters::default();
        let sql = format!(
            "select {COLUMNS} from torrents t left join torrent_stats s using (info_hash)
             where t.info_hash = coalesce((select info_hash from aliases where alias = {key}), {key})",
            key = p.bytes(key.as_bytes())
        );
        let rows = self.clock.rows(&sql, &p).await?;
        let found = rows.first().map(summary).transpose()?.filter(|torrent| hash.admits(&torrent.hashes));
        Ok(found.map(|torrent| Hit { torrent, relevance: 0.0, matched_file: None }))
    }

    /// Torrents of a stage from a position on, as many as there is room for.
    async fn stage(
        &self,
        conditions: &Conditions<'_>,
        estimate: &Estimate,
        after: Option<Position>,
        room: usize,
    ) -> Result<Found, SessionError> {
        let access = self.choose(conditions, estimate, room);
        let mut found = Found { count: estimate.hits as u64, ..Found::default() };
        // There may be others that cannot be found yet, or that nobody has looked for.
        found.approximate = conditions.needs_files()
            && (!self.known.is_current || (!conditions.is_names() && conditions.expansions.are_partial()));
        let mut positions: Vec<Position> = Vec::new();
        // Some of them may not match: enough for the page come at once, most likely.
        let spare = if conditions.is_wider { WIDER_SPARE } else { 1 };
        let want = room + spare;
        let got = self.get(conditions, access, after, want, room + 1).await?;
        let Got { rows, end, count, approximate } = got;
        found.approximate |= approximate;
        if let Some(count) = count {
            // Not all that paths gave was looked into.
            (found.count, found.exact) = (count, !found.approximate && conditions.is_names());
        }
        let full = rows.len() == want;
        let mut at = after;
        for row in &rows {
            let key: i64 = statement::column(row, "key")?;
            let mut hit = hit(row, self.order.is(Sort::Relevance), key)?;
            let position = position(&hit, key);
            if conditions.is_names() || self.look_at(conditions, row, &mut hit)? {
                if found.hits.len() == room {
                    found.more = positions.last().copied();
                    return Ok(found);
                }
                found.hits.push(hit);
                positions.push(position);
            } else {
                // It has the words, but elsewhere or not as neighbours; others may too.
                found.exact = false;
            }
            at = Some(position);
        }
        if full {
            found.more = at;
        } else if let End::Window(position) = end {
            // What is left out here is on the next page.
            (found.more, found.exact) = (Some(position), false);
            found.approximate = true;
        } else if after.is_none() && !found.approximate {
            (found.count, found.exact) = (found.hits.len() as u64, true);
        }
        Ok(found)
    }

    /// Looks into the files of a torrent that paths were searched for: whether it matches after all, and by which path.
    fn look_at(&self, conditions: &Conditions<'_>, row: &Row, hit: &mut Hit) -> Result<bool, SessionError> {
        let Some(expr) = self.expr else { return Ok(true) };
        let fmt = statement::column::<i16>(row, "fmt")?;
        let data = statement::column::<&[u8]>(row, "data")?;
        let known: Vec<bool> = statement::column(row, "known")?;
        let (holds, path) = look_into(expr, &hit.torrent.name, fmt, data, &known, conditions.is_wider);
        hit.matched_file = path;
        Ok(holds)
    }
}

fn page_of(hits: Vec<Hit>, next: Option<Cursor>, count: Count, approximate: bool) -> Page {
    Page { hits, next, count, approximate, notes: Vec::new(), facets: None, did_you_mean: None }
}

/// The columns of a result, but for how it is sorted.
const COLUMNS: &str =
    "t.info_hash, t.v2, t.name, t.total_size, t.file_count, t.kind, t.added_at, t.popularity,
    s.seeders, s.leechers, s.scrape_nodes, s.scrape_whole, s.scraped_at";

fn position(hit: &Hit, key: i64) -> Position {
    Position { key, added_us: microseconds(hit.torrent.added_at), info_hash: hit.torrent.hashes.canonical() }
}

fn hit(row: &Row, by_relevance: bool, key: i64) -> Result<Hit, SessionError> {
    let relevance = if by_relevance { key as f64 / 1e9 } else { 0.0 };
    Ok(Hit { torrent: summary(row)?, relevance, matched_file: None })
}
