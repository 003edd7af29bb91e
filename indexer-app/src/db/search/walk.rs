//! Walking an order and keeping what matches: with a look at each row, or in the index alone as far as signatures tell rows apart.

use krpc::InfoHash;
use tea_runtime::SessionError;
use tokio_postgres::Row;

use super::{
    COLUMNS, Parameters, Searching,
    access::{End, Got, RANKED_MAX, all_of, bound, files_of, joins, without_empty},
    condition::Conditions,
    order::microseconds,
    statement,
};
use crate::{
    query::Number,
    search::{Position, Sort},
};

/// What is walked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walked {
    pub(super) after: Option<Position>,
    pub(super) want: usize,
    pub(super) window: u32,
    pub(super) signed: bool,
}

impl Searching<'_> {
    /// Walks the order and keeps what matches. It stops as soon as there are as many as are wanted.
    pub(super) async fn walk(
        &self,
        conditions: &Conditions<'_>,
        walked: Walked,
    ) -> Result<Got, SessionError> {
        let Walked { after, want, window, signed } = walked;
        let (stats, files) = self.joined(conditions, false);
        let p = &mut Parameters::default();
        let rows = if signed {
            self.told_apart(conditions, after, window, p)
        } else {
            let place = self.place(conditions, after, signed, p);
            self.window(conditions, "*", &place, &self.order.by_in_index("t"), window)
        };
        let mut left = self.left(conditions, p);
        if signed {
            left.extend(after.map(|at| self.order.after_in_index("t", at, p)));
        }
        if self.order.is(Sort::Seeders) {
            // Those that have some came before.
            left.push(
                "not exists (select from torrent_stats z where z.info_hash = t.info_hash and z.seeders > 0)"
                    .to_owned(),
            );
        }
        let inner = format!(
            "select t.info_hash, t.added_at, {key} as key from ({rows}) t{joins}
             where {left} order by {by} limit {want}",
            key = self.order.key_in_index_alone("t"),
            // By the columns of the walk, so that PostgreSQL knows that they are in order already.
            by = if signed { self.order.by_walked("t") } else { self.order.by_in_index("t") },
            joins = joins(stats, files),
            left = all_of(&left),
        );
        let rows = self.shown(conditions, &inner, p).await?;
        if signed && self.may_be_out_of_order(conditions, &rows, walked).await? {
            return Box::pin(self.walk(conditions, Walked { signed: false, ..walked })).await;
        }
        let end = if rows.len() == want { End::Whole } else { End::Unknown(walked) };
        Ok(Got { rows, end, count: None, approximate: false })
    }

    /// Whether the last of as many rows as were wanted may come before others that the window does not reach: the index does not tell them apart, and they are
    /// sorted by their hashes. The very last row is only there to tell that there are more.
    async fn may_be_out_of_order(
        &self,
        conditions: &Conditions<'_>,
        rows: &[Row],
        walked: Walked,
    ) -> Result<bool, SessionError> {
        let [.., last_shown, beyond] = rows else { return Ok(false) };
        if rows.len() < walked.want {
            return Ok(false);
        }
        let (last_shown, beyond) = (position(last_shown)?, position(beyond)?);
        if self.order.tells_apart(last_shown, beyond) {
            // The window has all that come before the other one.
            return Ok(false);
        }
        let last_walked = self.last_walked(conditions, walked).await?;
        Ok(last_walked.is_some_and(|last| !self.order.tells_apart(beyond, last)))
    }

    /// Rows of a window that signatures do not tell from what is asked for, in the order of the index: they are found in it by their keys and
    /// signatures, and only they are looked up.
    fn told_apart(
        &self,
        conditions: &Conditions<'_>,
        after: Option<Position>,
        window: u32,
        p: &mut Parameters,
    ) -> String {
        let kind = if self.order.is_by_kind() { &["kind"][..] } else { &[] };
        let columns: Vec<&str> =
            self.order.columns().iter().chain(&["signature"]).chain(kind).copied().collect();
        let place = self.place(conditions, after, true, p);
        let by = self.order.by_in_index_alone("t");
        let walked = self.window(conditions, &columns.join(", "), &place, &by, window);
        let same: Vec<String> = columns.iter().map(|column| format!("t.{column} = c.{column}")).collect();
        format!(
            // Several rows may have the same key and signature; each of them is found by each of them.
            "select t.*, {found_at} from (select distinct on ({columns}) {columns} from ({walked}) w where {signs} order by {by}{kind}) c,
                 lateral (select * from torrents t where {same} offset 0) t",
            columns = columns.join(", "),
            signs = self.signs(conditions).sql("w"),
            by = self.order.by_in_index_alone("w"),
            kind = if kind.is_empty() { "" } else { ", w.kind" },
            same = same.join(" and "),
            found_at = self.order.walked("c"),
        )
    }

    /// So many rows of `torrents t` in the order, from a place on.
    fn window(
        &self,
        conditions: &Conditions<'_>,
        columns: &str,
        place: &str,
        by: &str,
        window: u32,
    ) -> String {
        let of = |kind: &str| {
            format!("select {columns} from torrents t where {kind}{place} order by {by} limit {window}")
        };
        if !self.order.is_by_kind() {
            return of("");
        }
        match conditions.kinds.as_slice() {
            [kind] => of(&format!("t.kind = {kind} and ")),
            kinds => {
                let kinds: Vec<String> =
                    kinds.iter().map(|kind| format!("({})", of(&format!("t.kind = {kind} and ")))).collect();
                format!("select * from ({}) t order by {by} limit {window}", kinds.join(" union all "))
            }
        }
    }

    /// Walks those that have seeders, then the others.
    pub(super) async fn walk_seeders(
        &self,
        conditions: &Conditions<'_>,
        walked: Walked,
    ) -> Result<Got, SessionError> {
        let Walked { after, want, window, signed } = walked;
        let ranges = conditions.ranges.iter().filter_map(|single| single.range_of(Number::Seeders));
        let wants_none = ranges.clone().any(|range| range.high == Some(0));
        let wants_some = ranges.clone().any(|range| range.low.unwrap_or(0) > 0);
        let in_first = after.is_none_or(|at| at.key > 0) && !wants_none;
        let mut rows = Vec::new();
        if in_first {
            let in_order = |p: &mut Parameters| {
                let mut bounds = vec!["z.seeders > 0".to_owned()];
                for range in ranges.clone() {
                    if range.high.is_some() {
                        bounds.push(format!("z.seeders <= {}", p.number(bound(range.high))));
                    }
                }
                let bounds = all_of(&bounds);
                let by = "z.seeders desc, z.info_hash";
                let of = |place: &str| {
                    format!(
                        "select z.seeders, z.info_hash, z.signature from torrent_stats z
                         where {place} and {bounds} order by {by} limit {window}"
                    )
                };
                let Some(at) = after else { return of("true") };
                // Apart, or all that have as many seeders would be passed over before those that come after: they may be a million.
                let (key, hash) = (p.number(at.key), p.bytes(at.info_hash.as_bytes()));
                let as_many = of(&format!("z.seeders = {key} and z.info_hash > {hash}"));
                let fewer = of(&format!("z.seeders < {key}"));
                format!("select * from (({as_many}) union all ({fewer})) z order by {by} limit {window}")
            };
            let (stats, files) = self.joined(conditions, false);
            let p = &mut Parameters::default();
            let inner = format!(
                "select t.info_hash, t.added_at, z.seeders::int8 as key
                 from ({in_order}) z join torrents t on t.info_hash = z.info_hash{joins}
                 where {signs} and {left} order by z.seeders desc, z.info_hash limit {want}",
                in_order = in_order(p),
                // Their number of seeders is known already.
                joins = joins(stats, files),
                signs = if signed { conditions.signs.sql("z") } else { "true".to_owned() },
                left = all_of(&self.left(conditions, p)),
            );
            rows = self.shown(conditions, &inner, p).await?;
            if rows.len() == want {
                return Ok(Got { rows, end: End::Whole, count: None, approximate: false });
            }
            let p = &mut Parameters::default();
            let last = format!(
                "select z.info_hash, to_timestamp(0) as added_at, z.seeders::int8 as key
                 from (select * from ({}) z order by z.seeders desc, z.info_hash offset {} limit 1) z",
                in_order(p),
                window.saturating_sub(1)
            );
            if let Some(at) = self.last(&last, p).await? {
                return Ok(Got { rows, end: End::Window(at), count: None, approximate: false });
            }
            if wants_some {
                return Ok(Got { rows, end: End::Whole, count: None, approximate: false });
            }
        }
        let after = after.filter(|at| at.key <= 0);
        let rest = self.walk(conditions, Walked { after, want: want - rows.len(), ..walked }).await?;
        rows.extend(rest.rows);
        Ok(Got { rows, ..rest })
    }

    /// The most relevant among the most popular: for what matches so much that not all can be ranked.
    pub(super) async fn rank_popular(
        &self,
        conditions: &Conditions<'_>,
        walked: Walked,
    ) -> Result<Got, SessionError> {
        let Walked { after, want, window, signed } = walked;
        let p = &mut Parameters::default();
        let key = self.order.key(self.ranked.as_deref(), self.as_of, p);
        let after = after.map_or("true".to_owned(), |at| self.order.after("o", at, p));
        let rows = if signed {
            self.told_apart(conditions, None, window, p)
        } else {
            self.window(conditions, "*", "true", &self.order.by_in_index("t"), window)
        };
        // How many there are is only counted where that is few: when the planner knows of more, there are more.
        let walked = if self.known.rows > f64::from(window) {
            format!("{window}::int8")
        } else {
            format!("(select count(*) from (select from torrents limit {window}) t)")
        };
        let sql = format!(
            "with candidates as materialized (
                select t.* from ({rows}) t{joins} where {left} limit {RANKED_MAX} + 1
            ), page as (
                select * from (select t.info_hash, t.added_at, {key} as key from candidates t) o
                where {after} order by {by} limit {want}
            ), total as (
                select {walked} as walked, (select count(*) from candidates) as candidates
            )
            select {COLUMNS}, o.key, total.walked, total.candidates{extra} from total
            left join page o on true left join torrents t on t.info_hash = o.info_hash
            left join torrent_stats s on s.info_hash = o.info_hash{files} order by {by}",
            joins = self.joins(conditions, false),
            left = all_of(&self.left(conditions, p)),
            by = self.order.by("o"),
            extra = self.extra(conditions, p),
            files = files_of("o", conditions),
        );
        let mut rows = self.clock.rows(&sql, p).await?;
        let mut approximate = false;
        if let Some(row) = rows.first() {
            // The less popular were not looked at.
            approximate = statement::count(row, "walked")? >= u64::from(window)
                || statement::column::<i64>(row, "candidates")? > RANKED_MAX;
        }
        without_empty(&mut rows)?;
        Ok(Got { rows, end: End::Whole, count: None, approximate })
    }

    /// Where a walk begins and ends; `signed`: as far as the index alone knows it.
    fn place(
        &self,
        conditions: &Conditions<'_>,
        after: Option<Position>,
        signed: bool,
        p: &mut Parameters,
    ) -> String {
        let mut place: Vec<String> = Vec::new();
        if let Some(at) = after {
            // The index is entered by the first, which is one of its own keys.
            place.push(self.order.place_in_index_alone("t", at, p));
            if !signed {
                place.push(self.order.after_in_index("t", at, p));
            }
        }
        place.extend(self.bounds(conditions, p));
        all_of(&place)
    }

    /// Conditions that make a walk begin or end elsewhere.
    fn bounds(&self, conditions: &Conditions<'_>, p: &mut Parameters) -> Vec<String> {
        let ranges = conditions.ranges.iter().filter(|single| self.order.is_bounded_by(single.term));
        ranges.map(|single| conditions.single(*single, p)).collect()
    }

    /// With what is behind the last row of a walk that gave too few: the last row that was walked, if there may be more.
    pub(super) async fn with_end(
        &self,
        conditions: &Conditions<'_>,
        mut got: Got,
    ) -> Result<Got, SessionError> {
        let End::Unknown(walked) = got.end else { return Ok(got) };
        let last = self.last_walked(conditions, walked).await?;
        got.end = last.map_or(End::Whole, End::Window);
        let (true, Some(last)) = (walked.signed, last) else { return Ok(got) };
        // The index alone does not tell all rows apart: those that it cannot tell from the last one were walked in part only.
        let is_equal = |at: Position| at.key == last.key && !self.order.tells_apart(at, last);
        if walked.after.is_some_and(is_equal) {
            // There are more of them than a window: they have to be told apart by their hashes.
            let looked_at = self.walk(conditions, Walked { signed: false, ..walked }).await?;
            return Box::pin(self.with_end(conditions, looked_at)).await;
        }
        // They are left to what comes next.
        while let Some(row) = got.rows.last()
            && is_equal(position(row)?)
        {
            got.rows.pop();
        }
        got.end = End::Window(self.order.before_equals(last));
        Ok(got)
    }

    async fn last_walked(
        &self,
        conditions: &Conditions<'_>,
        walked: Walked,
    ) -> Result<Option<Position>, SessionError> {
        let Walked { after, window, signed, .. } = walked;
        let p = &mut Parameters::default();
        let place = self.place(conditions, after, signed, p);
        let by = if signed { self.order.by_in_index_alone("t") } else { self.order.by_in_index("t") };
        let columns = self.order.columns().join(", ");
        let other = if signed { "signature" } else { "info_hash" };
        let walked = self.window(conditions, &format!("{columns}, {other}"), &place, &by, window);
        let last = format!(
            "select {hash} as info_hash, {added} as added_at, {key} as key from ({walked}) t order by {by} offset {} limit 1",
            window.saturating_sub(1),
            hash = if signed { "''::bytea" } else { "t.info_hash" },
            added = self.order.added_in_index_alone("t"),
            key = self.order.key_in_index_alone("t"),
        );
        self.last(&last, p).await
    }

    /// The position of a row that may not be there.
    async fn last(&self, sql: &str, p: &Parameters) -> Result<Option<Position>, SessionError> {
        self.clock.rows(sql, p).await?.first().map(position).transpose()
    }
}

/// Where a row stands. One that is not told apart by its hash has none.
fn position(row: &Row) -> Result<Position, SessionError> {
    let hash: &[u8] = statement::column(row, "info_hash")?;
    Ok(Position {
        key: statement::column(row, "key")?,
        added_us: microseconds(statement::column(row, "added_at")?),
        info_hash: hash.try_into().map_or(InfoHash::from_bytes([0; 20]), InfoHash::from_bytes),
    })
}
