//! The two ways to rows: fetching what matches and sorting it, and walking the order and keeping what matches.

use tea_runtime::SessionError;
use tokio_postgres::Row;

use super::{
    COLUMNS, Parameters, Searching, UNPACK_BYTES_MAX,
    condition::Conditions,
    estimate::{Estimate, Group},
    order::microseconds,
    statement,
};
use crate::{
    query::{Number, Term},
    search::{Costs, Plan, Position, Sort, plan},
};

/// Torrents that are fetched by names and sorted at most.
const NAME_HITS_MAX: i64 = 15_000;

/// Torrents that are fetched by names and ranked at most.
const RANKED_MAX: i64 = 10_000;

/// Torrents that are fetched by paths and sorted at most: each has to be joined to its row.
const PATH_HITS_MAX: i64 = 3_000;

/// Rows of an order that are walked for names, about 20 ms; and for paths, each of which is fetched too.
const NAMES_WINDOW: u32 = 12_000;
const PATHS_WINDOW: u32 = 4_000;

/// Rows that are walked where no index helps and the table is small: all of them.
const SMALL_WINDOW: u32 = 40_000;

/// Rows that an index may give while a condition that it does not know leaves fewer of them.
const EXAMINED_MAX: f64 = 60_000.0;

/// How rows are found.
#[derive(Clone, Copy, Debug)]
pub(super) enum Access {
    /// By the index of the order.
    Walk {
        window: u32,
        /// How many rows are walked when too few of them match, and fetching could not look at all that do.
        window_max: u32,
        /// What is done when too few of them match.
        instead: Option<Fetch>,
    },
    /// By an index of what is asked for.
    Fetch(Fetch),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Fetch {
    group: Group,
    /// Only this group limits what is looked at; else all conditions on names do.
    alone: bool,
    /// There are too many of them to look at all.
    too_many: bool,
}

/// Rows in their order.
pub(super) struct Got {
    pub(super) rows: Vec<Row>,
    pub(super) end: End,
    /// How many match in all, as far as they were looked at.
    pub(super) count: Option<u64>,
    /// There were more than could be looked at.
    pub(super) approximate: bool,
}

/// What is behind the last row when fewer came than were wanted.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// Nothing.
    Whole,
    /// Rows that were not walked, from here on.
    Window(Position),
}

impl Searching<'_> {
    /// Chooses how the rows of a stage are found.
    pub(super) fn choose(&self, conditions: &Conditions<'_>, estimate: &Estimate, room: usize) -> Access {
        let best = estimate.groups.first();
        let hits_max = self.hits_max(conditions) as f64;
        let instead = best.map(|(group, rows)| Fetch {
            group: *group,
            alone: *rows > EXAMINED_MAX,
            too_many: rows.min(estimate.hits) > hits_max,
        });
        let window_max = if conditions.is_names() { NAMES_WINDOW } else { PATHS_WINDOW };
        let window_max = if estimate.rows < f64::from(NAMES_WINDOW) { SMALL_WINDOW } else { window_max };
        if self.order.is(Sort::Relevance) {
            // Everything has to be ranked, or the most popular.
            return match (best, instead) {
                (Some((_, rows)), Some(fetch)) if *rows <= hits_max => Access::Fetch(fetch),
                _ => Access::Walk { window: window_max, window_max, instead },
            };
        }
        let costs = Costs {
            hits: estimate.hits,
            rows: estimate.walked,
            fetched: best.map(|(_, rows)| *rows),
            room,
            window_max,
        };
        match (plan(costs), instead) {
            (Plan::Fetch, Some(fetch)) => Access::Fetch(fetch),
            (Plan::Walk { window }, instead) => Access::Walk { window, window_max, instead },
            (Plan::Fetch, None) => Access::Walk { window: window_max, window_max, instead },
        }
    }

    fn hits_max(&self, conditions: &Conditions<'_>) -> i64 {
        match (conditions.is_names(), self.order.is(Sort::Relevance)) {
            (false, _) => PATH_HITS_MAX,
            (true, true) => RANKED_MAX,
            (true, false) => NAME_HITS_MAX,
        }
    }

    /// As many rows as are wanted from a position on. A walk that is in vain becomes a fetch.
    pub(super) async fn get(
        &self,
        conditions: &Conditions<'_>,
        access: &mut Access,
        after: Option<Position>,
        want: usize,
    ) -> Result<Got, SessionError> {
        let fetch = loop {
            let (window, window_max, instead) = match *access {
                Access::Fetch(fetch) => break fetch,
                Access::Walk { window, window_max, instead } => (window, window_max, instead),
            };
            let got = if self.order.is(Sort::Relevance) {
                self.rank_popular(conditions, after, want, window).await?
            } else if self.order.is(Sort::Seeders) {
                self.walk_seeders(conditions, after, want, window).await?
            } else {
                self.walk(conditions, after, want, window).await?
            };
            let in_vain = got.rows.len() < want && (got.approximate || matches!(got.end, End::Window(_)));
            match instead {
                Some(fetch) if in_vain && fetch.too_many && window < window_max => {
                    *access = Access::Walk { window: window_max, window_max, instead };
                }
                Some(fetch) if in_vain => break fetch,
                _ => return Ok(got),
            }
        };
        *access = Access::Fetch(fetch);
        self.fetch(conditions, fetch, after, want).await
    }

    /// Fetches what matches by an index and sorts it; counts it all, up to a bound.
    async fn fetch(
        &self,
        conditions: &Conditions<'_>,
        Fetch { group, alone, .. }: Fetch,
        after: Option<Position>,
        want: usize,
    ) -> Result<Got, SessionError> {
        let hits_max = self.hits_max(conditions);
        let p = &mut Parameters::default();
        let (first, mut left, from) = match group {
            Group::Names | Group::Range(_) => {
                let all = conditions.on_torrents(p).join(" and ");
                let only = match group {
                    Group::Range(index) if alone => {
                        conditions.ranges.get(index).map(|single| conditions.single(*single, p))
                    }
                    _ if alone => conditions.names(p),
                    _ => None,
                };
                let (first, mut left) = match only {
                    Some(only) => (only, vec![all]),
                    None => (all, Vec::new()),
                };
                left.extend(conditions.paths(p));
                (first, left, "candidates t")
            }
            Group::Paths => {
                let first = conditions.paths(p).unwrap_or_default();
                (first, conditions.on_torrents(p), "candidates c join torrents t using (info_hash)")
            }
            Group::Seeders(range) => {
                let mut first = format!("s.seeders > 0 and s.seeders >= {}", p.number(bound(range.low)));
                if range.high.is_some() {
                    first.push_str(&format!(" and s.seeders <= {}", p.number(bound(range.high))));
                }
                let mut left = conditions.on_torrents(p);
                left.extend(conditions.paths(p));
                (first, left, "candidates c join torrents t using (info_hash)")
            }
        };
        left.extend(conditions.on_others(p, group == Group::Paths));
        left.extend(self.not_by_name_alone(conditions, p));
        let joins = self.joins(conditions, group == Group::Paths);
        let key = self.order.key(self.ranked.as_deref(), self.as_of, p);
        let after = after.map_or("true".to_owned(), |at| self.order.after("o", at, p));
        let limit = format!("limit {hits_max} + 1");
        let found = match group {
            // Nothing is left to be looked at: what is fetched is what is found.
            Group::Names | Group::Range(_) if left.is_empty() && joins.is_empty() => format!(
                "found as materialized (
                    select t.info_hash, t.added_at, {key} as key from torrents t where {first} {limit}
                ), candidates as (
                    select from found
                )"
            ),
            _ => {
                let select = match group {
                    Group::Names | Group::Range(_) => {
                        "t.info_hash, t.v2, t.added_at, t.total_size, t.file_count, t.popularity, t.year, t.tsv
                         from torrents t"
                    }
                    Group::Paths => "f.info_hash from torrent_files f",
                    Group::Seeders(_) => "s.info_hash from torrent_stats s",
                };
                format!(
                    "candidates as materialized (
                        select {select} where {first} {limit}
                    ), found as materialized (
                        select t.info_hash, t.added_at, {key} as key from {from}{joins} where {left}
                    )",
                    left = all_of(&left),
                )
            }
        };
        let sql = format!(
            "with {found}, page as (
                select * from found o where {after} order by {by} limit {want}
            ), total as (
                select (select count(*) from candidates) as candidates, (select count(*) from found) as number
            )
            select {COLUMNS}, o.key, total.candidates, total.number{extra} from total
            left join page o on true left join torrents t on t.info_hash = o.info_hash
            left join torrent_stats s on s.info_hash = o.info_hash{files} order by {by}",
            by = self.order.by("o"),
            extra = self.extra(conditions, p),
            files = files_of("o", conditions),
        );
        let mut rows = self.clock.rows(&sql, p).await?;
        let (mut count, mut approximate) = (0, false);
        if let Some(row) = rows.first() {
            approximate = statement::column::<i64>(row, "candidates")? > hits_max;
            count = statement::count(row, "number")?;
        }
        // The total comes even when the page is empty: then the rest of its row is null.
        if let [row] = rows.as_slice()
            && statement::column::<Option<&[u8]>>(row, "info_hash")?.is_none()
        {
            rows.clear();
        }
        Ok(Got { rows, end: End::Whole, count: Some(count), approximate })
    }

    /// Walks the index of the order and keeps what matches. It stops as soon as there are as many as are wanted.
    async fn walk(
        &self,
        conditions: &Conditions<'_>,
        after: Option<Position>,
        want: usize,
        window: u32,
    ) -> Result<Got, SessionError> {
        let p = &mut Parameters::default();
        let place = self.place(conditions, after, p);
        let by_index = self.order.by_in_index("t");
        let mut left = self.left(conditions, p);
        if self.order.is(Sort::Seeders) {
            // Those that have some came before.
            left.push(
                "not exists (select from torrent_stats z where z.info_hash = t.info_hash and z.seeders > 0)"
                    .to_owned(),
            );
        }
        let key = if self.order.is(Sort::Seeders) {
            "0::int8".to_owned()
        } else {
            self.order.key(self.ranked.as_deref(), self.as_of, p)
        };
        let inner = format!(
            "select t.info_hash, t.added_at, {key} as key
             from (select * from torrents t where {place} order by {by_index} limit {window}) t{joins}
             where {left} order by {by_index} limit {want}",
            joins = self.joins(conditions, false),
            left = all_of(&left),
        );
        let rows = self.shown(conditions, &inner, p).await?;
        if rows.len() == want {
            return Ok(Got { rows, end: End::Whole, count: None, approximate: false });
        }
        let p = &mut Parameters::default();
        let key = if self.order.is(Sort::Seeders) {
            "0::int8".to_owned()
        } else {
            self.order.key(None, self.as_of, p)
        };
        let place = self.place(conditions, after, p);
        let last = format!(
            "select t.info_hash, t.added_at, {key} as key from torrents t
             where {place} order by {by_index} offset {} limit 1",
            window.saturating_sub(1)
        );
        self.ended(rows, &last, p).await
    }

    /// Walks those that have seeders, then the others.
    async fn walk_seeders(
        &self,
        conditions: &Conditions<'_>,
        after: Option<Position>,
        want: usize,
        window: u32,
    ) -> Result<Got, SessionError> {
        let ranges = conditions.ranges.iter().filter_map(|single| single.range_of(Number::Seeders));
        let wants_none = ranges.clone().any(|range| range.high == Some(0));
        let wants_some = ranges.clone().any(|range| range.low.unwrap_or(0) > 0);
        let in_first = after.is_none_or(|at| at.key > 0) && !wants_none;
        let mut rows = Vec::new();
        if in_first {
            let place = |p: &mut Parameters| {
                let mut place = vec!["z.seeders > 0".to_owned()];
                if let Some(at) = after {
                    let (key, hash) = (p.number(at.key), p.bytes(at.info_hash.as_bytes()));
                    place.push(format!(
                        "(z.seeders <= {key} and (z.seeders < {key} or z.info_hash > {hash}))"
                    ));
                }
                for range in ranges.clone() {
                    if range.high.is_some() {
                        place.push(format!("z.seeders <= {}", p.number(bound(range.high))));
                    }
                }
                all_of(&place)
            };
            let walked = |place: String| {
                format!("select * from torrent_stats z where {place} order by z.seeders desc, z.info_hash")
            };
            let p = &mut Parameters::default();
            let inner = format!(
                "select t.info_hash, t.added_at, z.seeders::int8 as key
                 from ({walked} limit {window}) z join torrents t on t.info_hash = z.info_hash{joins}
                 where {left} order by z.seeders desc, z.info_hash limit {want}",
                walked = walked(place(p)),
                joins = self.joins(conditions, false),
                left = all_of(&self.left(conditions, p)),
            );
            rows = self.shown(conditions, &inner, p).await?;
            if rows.len() == want {
                return Ok(Got { rows, end: End::Whole, count: None, approximate: false });
            }
            let p = &mut Parameters::default();
            let last = format!(
                "select z.info_hash, to_timestamp(0) as added_at, z.seeders::int8 as key
                 from ({} offset {} limit 1) z",
                walked(place(p)),
                window.saturating_sub(1)
            );
            let got = self.ended(rows, &last, p).await?;
            if wants_some || matches!(got.end, End::Window(_)) {
                return Ok(got);
            }
            rows = got.rows;
        }
        let after = after.filter(|at| at.key <= 0);
        let rest = self.walk(conditions, after, want - rows.len(), window).await?;
        rows.extend(rest.rows);
        Ok(Got { rows, ..rest })
    }

    /// The most relevant among the most popular: for what matches so much that not all can be ranked.
    async fn rank_popular(
        &self,
        conditions: &Conditions<'_>,
        after: Option<Position>,
        want: usize,
        window: u32,
    ) -> Result<Got, SessionError> {
        let p = &mut Parameters::default();
        let key = self.order.key(self.ranked.as_deref(), self.as_of, p);
        let after = after.map_or("true".to_owned(), |at| self.order.after("o", at, p));
        let sql = format!(
            "with walked as materialized (
                select * from torrents t order by {by_index} limit {window}
            ), page as (
                select * from (
                    select t.info_hash, t.added_at, {key} as key from walked t{joins} where {left}
                ) o where {after} order by {by} limit {want}
            ), total as (
                select count(*) as walked from walked
            )
            select {COLUMNS}, o.key, total.walked{extra} from total
            left join page o on true left join torrents t on t.info_hash = o.info_hash
            left join torrent_stats s on s.info_hash = o.info_hash{files} order by {by}",
            by_index = self.order.by_in_index("t"),
            joins = self.joins(conditions, false),
            left = all_of(&self.left(conditions, p)),
            by = self.order.by("o"),
            extra = self.extra(conditions, p),
            files = files_of("o", conditions),
        );
        let mut rows = self.clock.rows(&sql, p).await?;
        let walked = rows.first().map_or(Ok(0), |row| statement::count(row, "walked"))?;
        if let [row] = rows.as_slice()
            && statement::column::<Option<&[u8]>>(row, "info_hash")?.is_none()
        {
            rows.clear();
        }
        // The less popular were not looked at.
        Ok(Got { rows, end: End::Whole, count: None, approximate: walked >= u64::from(window) })
    }

    /// Where a walk begins and ends.
    fn place(&self, conditions: &Conditions<'_>, after: Option<Position>, p: &mut Parameters) -> String {
        let mut place: Vec<String> =
            after.map(|at| self.order.after_in_index("t", at, p)).into_iter().collect();
        for single in conditions.ranges.iter().filter(|single| self.order.is_bounded_by(single.term)) {
            place.push(conditions.single(*single, p));
        }
        all_of(&place)
    }

    /// What a walked row has to be.
    fn left(&self, conditions: &Conditions<'_>, p: &mut Parameters) -> Vec<String> {
        let mut left = conditions.all(p);
        left.extend(self.not_by_name_alone(conditions, p));
        left
    }

    /// What was found by name is not found again by paths.
    fn not_by_name_alone(&self, conditions: &Conditions<'_>, p: &mut Parameters) -> Option<String> {
        if conditions.is_names() || conditions.has_file_terms {
            return None;
        }
        self.names.by_name_alone(p).map(|names| format!("not ({names})"))
    }

    /// The tables that conditions, the order and what was found by name need beside `torrents t`.
    pub(super) fn joins(&self, conditions: &Conditions<'_>, paths_are_known: bool) -> String {
        let stats = conditions.needs_stats() || self.names.needs_stats() || self.order.is(Sort::Seeders);
        let files = conditions.needs_files() && (!paths_are_known || conditions.is_mixed());
        let mut joins = String::new();
        if stats {
            joins.push_str(" left join torrent_stats s on s.info_hash = t.info_hash");
        }
        if files {
            joins.push_str(" left join torrent_files f on f.info_hash = t.info_hash");
        }
        joins
    }

    /// Gives the rows of an inner query the columns of results.
    async fn shown(
        &self,
        conditions: &Conditions<'_>,
        inner: &str,
        p: &mut Parameters,
    ) -> Result<Vec<Row>, SessionError> {
        let sql = format!(
            "select {COLUMNS}, o.key{extra} from ({inner}) o join torrents t on t.info_hash = o.info_hash
             left join torrent_stats s on s.info_hash = o.info_hash{files} order by {by}",
            extra = self.extra(conditions, p),
            files = files_of("o", conditions),
            by = self.order.by("o"),
        );
        self.clock.rows(&sql, p).await
    }

    /// The rows of a walk that gave too few, and the last row that was walked, if there may be more.
    async fn ended(&self, rows: Vec<Row>, last: &str, p: &Parameters) -> Result<Got, SessionError> {
        let end = match self.clock.rows(last, p).await?.first() {
            Some(row) => End::Window(Position {
                key: statement::column(row, "key")?,
                added_us: microseconds(statement::column(row, "added_at")?),
                info_hash: statement::key(row, "info_hash")?,
            }),
            None => End::Whole,
        };
        Ok(Got { rows, end, count: None, approximate: false })
    }

    /// What is needed beside the columns of results to look into files.
    fn extra(&self, conditions: &Conditions<'_>, p: &mut Parameters) -> String {
        if conditions.is_names() {
            return String::new();
        }
        let mut extra = format!(
            ", f.fmt, case when octet_length(f.data) <= {UNPACK_BYTES_MAX} then f.data else ''::bytea end as data"
        );
        if let (true, Some(expr)) = (conditions.is_wider, self.expr) {
            let mut known = Vec::new();
            expr.for_each_term(&mut |term, _| {
                if !matches!(term, Term::Text(_) | Term::File(_)) {
                    known.push(conditions.term(term, p));
                }
            });
            extra.push_str(&format!(", array[{}]::boolean[] as known", known.join(", ")));
        }
        extra
    }
}

fn files_of(row: &str, conditions: &Conditions<'_>) -> String {
    if conditions.is_names() {
        return String::new();
    }
    format!(" left join torrent_files f on f.info_hash = {row}.info_hash")
}

fn all_of(conditions: &[String]) -> String {
    if conditions.is_empty() { "true".to_owned() } else { conditions.join(" and ") }
}

fn bound(number: Option<u64>) -> i64 {
    number.map_or(i64::MAX, |number| i64::try_from(number).unwrap_or(i64::MAX))
}
