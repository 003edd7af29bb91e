//! The ways to rows: which is taken, and the one that fetches what matches and sorts it.

use tea_runtime::SessionError;
use tokio_postgres::Row;

use super::{
    COLUMNS, Parameters, Searching, UNPACK_BYTES_MAX,
    condition::Conditions,
    estimate::{Estimate, Group, Way},
    signs::Signs,
    statement,
    walk::Walked,
};
use crate::{
    query::Term,
    search::{Costs, Fetching, Plan, Position, Sort, Walk, plan},
};

/// Torrents that are fetched by names and sorted at most.
const NAME_HITS_MAX: i64 = 6_000;

/// Torrents that are ranked at most.
pub(super) const RANKED_MAX: i64 = 5_000;

/// Torrents that are fetched by paths and sorted at most: each has to be joined to its row.
const PATH_HITS_MAX: i64 = 1_500;

/// How rows are found: by walking the index of the order, or by fetching by an index of what is asked for; and by the other when there were too few, or too many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    /// Rows that are walked before anything else.
    first: Option<u32>,
    /// Rows that may be walked.
    window_max: u32,
    /// Rows that cannot match are passed over in the index.
    signed: bool,
    fetch: Option<Fetch>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Fetch {
    group: Group,
    /// Only this group limits what is looked at; else all conditions on names do.
    alone: bool,
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
    /// It is not known yet: a window was walked to its end.
    Unknown(Walked),
}

impl Got {
    /// Whether so many came, or all that there are.
    fn is_enough(&self, need: usize) -> bool {
        self.rows.len() >= need || (matches!(self.end, End::Whole) && !self.approximate)
    }
}

impl Searching<'_> {
    /// Chooses how the rows of a stage are found.
    pub(super) fn choose(&self, conditions: &Conditions<'_>, estimate: &Estimate, room: usize) -> Access {
        // Of rows that may not match after all, the last one is as likely to be shown as any other: see `may_be_out_of_order`.
        let signed = self.known.is_current && !self.signs(conditions).is_empty() && !conditions.is_wider;
        let (stats, files) = self.joined(conditions, false);
        let by_seeders = self.order.is(Sort::Seeders);
        let walk = Walk {
            admitted: signed.then_some(estimate.admitted),
            visible: if by_seeders { self.known.visible_stats } else { self.known.visible },
            joins: usize::from(stats) + usize::from(files),
            // Words of paths are long lists, many of them on other pages.
            read_lists: files,
            merged: self.order.is_by_kind() && conditions.kinds.len() > 1,
            rows: estimate.rows,
        };
        let hits_max = self.hits_max(conditions);
        let fetching = |way: &Way| Fetching {
            rows: way.rows,
            examined: way.examined,
            rows_max: hits_max as f64,
            joins: usize::from(stats || by_seeders)
                + usize::from(matches!(way.group, Group::Paths | Group::Seeders(_))),
        };
        let ways = estimate.ways.iter().map(|way| (way, fetching(way)));
        let best = ways
            .filter(|(_, fetching)| !fetching.is_too_long())
            .min_by(|(_, left), (_, right)| left.us().total_cmp(&right.us()));
        let instead = best.map(|(way, fetching)| Fetch { group: way.group, alone: !fetching.is_whole() });
        let window_max = walk.window_max();
        let through = |first| Access { first, window_max, signed, fetch: instead };
        if self.order.is(Sort::Relevance) {
            // Everything has to be ranked, or the most popular.
            let all = best.is_some_and(|(_, fetching)| fetching.is_whole());
            return through((!all).then_some(window_max));
        }
        // A torrent that is one file named as itself has few files: it is at the end of this order.
        let at_the_end = self.order.is(Sort::Files) && conditions.is_names() && conditions.has_file_terms;
        let costs = Costs {
            hits: if at_the_end { 0.0 } else { estimate.hits },
            rows: estimate.walked,
            walk,
            fetch: best.map(|(_, fetching)| fetching),
            room,
        };
        match plan(costs) {
            Plan::Walk { window } => through(Some(window)),
            Plan::Fetch => through(None),
        }
    }

    /// What signatures of rows have that match, as far as the order does not see to it.
    pub(super) fn signs<'c>(&self, conditions: &'c Conditions<'_>) -> &'c Signs {
        if self.order.is_by_kind() { &conditions.signs_but_kind } else { &conditions.signs }
    }

    fn hits_max(&self, conditions: &Conditions<'_>) -> i64 {
        match (conditions.is_names(), self.order.is(Sort::Relevance)) {
            (false, _) => PATH_HITS_MAX,
            (true, true) => RANKED_MAX,
            (true, false) => NAME_HITS_MAX,
        }
    }

    /// As many rows as are wanted from a position on, of which `need` are enough. A walk that is in vain becomes a fetch, and goes on when there is too much
    /// to be fetched.
    pub(super) async fn get(
        &self,
        conditions: &Conditions<'_>,
        access: Access,
        after: Option<Position>,
        want: usize,
        need: usize,
    ) -> Result<Got, SessionError> {
        let Access { first, window_max, signed, fetch } = access;
        let walked = |window| Walked { after, want, window, signed };
        if let Some(window) = first {
            let got = self.walk_through(conditions, walked(window)).await?;
            if got.is_enough(need) || (fetch.is_none() && window >= window_max) {
                return self.with_end(conditions, got).await;
            }
        }
        let mut fetched = None;
        if let Some(fetch) = fetch {
            let got = self.fetch(conditions, fetch, after, want).await?;
            // What matches more often than that may be walked to.
            let expected = need as f64 * self.known.rows / self.hits_max(conditions) as f64;
            let walked_all = first.is_some_and(|window| window >= window_max);
            if !got.approximate || walked_all || expected > f64::from(window_max) {
                return Ok(got);
            }
            fetched = Some(got);
        }
        let got = self.walk_through(conditions, walked(window_max)).await?;
        match fetched {
            Some(fetched) if !got.is_enough(need) => Ok(fetched),
            _ => self.with_end(conditions, got).await,
        }
    }

    async fn walk_through(&self, conditions: &Conditions<'_>, walked: Walked) -> Result<Got, SessionError> {
        if self.order.is(Sort::Relevance) {
            self.rank_popular(conditions, walked).await
        } else if self.order.is(Sort::Seeders) {
            self.walk_seeders(conditions, walked).await
        } else {
            self.walk(conditions, walked).await
        }
    }

    /// Fetches what matches by an index and sorts it; counts it all, up to a bound.
    async fn fetch(
        &self,
        conditions: &Conditions<'_>,
        Fetch { group, alone }: Fetch,
        after: Option<Position>,
        want: usize,
    ) -> Result<Got, SessionError> {
        let hits_max = self.hits_max(conditions);
        let p = &mut Parameters::default();
        let (first, mut left, from) = match group {
            Group::Names | Group::Range(_) => {
                // Ranges of sizes and files are found in the order of each type: named one by one, or the index is read from end to end.
                let kinds = match group {
                    Group::Range(_) => format!("{} and ", conditions.of_kinds()),
                    _ => String::new(),
                };
                let names: Vec<String> = conditions.names_apart(p).into_iter().collect();
                let ranges = conditions.ranges_of_torrents(p);
                let (first, mut left) = match group {
                    Group::Range(index) if alone => {
                        let single = conditions.ranges.get(index).map(|single| conditions.single(*single, p));
                        (single.into_iter().collect(), [names, ranges].concat())
                    }
                    _ if alone => (names, ranges),
                    _ => ([names, ranges].concat(), Vec::new()),
                };
                if !conditions.are_names_apart() {
                    left.extend(conditions.names(p));
                }
                left.extend(conditions.paths());
                (format!("{kinds}{}", all_of(&first)), left, "candidates t")
            }
            Group::Paths => {
                let first = conditions.paths().unwrap_or_default();
                (first, conditions.on_torrents(p), "candidates c join torrents t using (info_hash)")
            }
            Group::Seeders(range) => {
                let mut first = format!("s.seeders > 0 and s.seeders >= {}", p.number(bound(range.low)));
                if range.high.is_some() {
                    first.push_str(&format!(" and s.seeders <= {}", p.number(bound(range.high))));
                }
                let mut left = conditions.on_torrents(p);
                left.extend(conditions.paths());
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
        without_empty(&mut rows)?;
        Ok(Got { rows, end: End::Whole, count: Some(count), approximate })
    }

    /// What a walked row has to be.
    pub(super) fn left(&self, conditions: &Conditions<'_>, p: &mut Parameters) -> Vec<String> {
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

    /// Whether `torrent_stats s` and `torrent_files f` are needed beside `torrents t`: by conditions, by what was found by name.
    pub(super) fn joined(&self, conditions: &Conditions<'_>, paths_are_known: bool) -> (bool, bool) {
        let stats = conditions.needs_stats() || self.names.needs_stats();
        let files = conditions.needs_files() && (!paths_are_known || conditions.is_mixed());
        (stats, files)
    }

    /// The tables that conditions need beside `torrents t`, and those that the order needs.
    pub(super) fn joins(&self, conditions: &Conditions<'_>, paths_are_known: bool) -> String {
        let (stats, files) = self.joined(conditions, paths_are_known);
        joins(stats || self.order.is(Sort::Seeders), files)
    }

    /// Gives the rows of an inner query the columns of results.
    pub(super) async fn shown(
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

    /// What is needed beside the columns of results to look into files.
    pub(super) fn extra(&self, conditions: &Conditions<'_>, p: &mut Parameters) -> String {
        if conditions.is_names() {
            return String::new();
        }
        let mut extra = format!(
            ", f.fmt, case when octet_length(f.data) <= {UNPACK_BYTES_MAX} then f.data else ''::bytea end as data"
        );
        if let Some(expr) = self.expr {
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

/// Totals come even when the page is empty: then the rest of their row is null.
pub(super) fn without_empty(rows: &mut Vec<Row>) -> Result<(), SessionError> {
    if let [row] = rows.as_slice()
        && statement::column::<Option<&[u8]>>(row, "info_hash")?.is_none()
    {
        rows.clear();
    }
    Ok(())
}

/// These tables beside `torrents t`.
pub(super) fn joins(stats: bool, files: bool) -> String {
    let mut joins = String::new();
    if stats {
        joins.push_str(" left join torrent_stats s on s.info_hash = t.info_hash");
    }
    if files {
        joins.push_str(" left join torrent_files f on f.info_hash = t.info_hash");
    }
    joins
}

pub(super) fn files_of(row: &str, conditions: &Conditions<'_>) -> String {
    if conditions.is_names() {
        return String::new();
    }
    format!(" left join torrent_files f on f.info_hash = {row}.info_hash")
}

pub(super) fn all_of(conditions: &[String]) -> String {
    if conditions.is_empty() { "true".to_owned() } else { conditions.join(" and ") }
}

pub(super) fn bound(number: Option<u64>) -> i64 {
    number.map_or(i64::MAX, |number| i64::try_from(number).unwrap_or(i64::MAX))
}
