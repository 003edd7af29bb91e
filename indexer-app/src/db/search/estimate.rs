//! What the planner believes, which decides how a page is found.

use std::time::SystemTime;

use tea_runtime::SessionError;
use tokio_postgres::types::{FromSql, Type};

use super::{Clock, Parameters, Searching, condition::Conditions, statement};
use crate::query::{Number, Range, Term};

/// Rows that a part of a hash is taken to have: enough to be fetched, whatever else is asked for.
const ROWS_OF_HASH: f64 = 16.0;

/// What is known before a page is looked for.
pub(super) struct Estimate {
    /// Torrents that match.
    pub(super) hits: f64,
    /// Torrents that there are.
    pub(super) rows: f64,
    /// Torrents between the ends of the order that conditions set.
    pub(super) walked: f64,
    /// What rows can be fetched by, and how many they are; the fewest first.
    pub(super) groups: Vec<(Group, f64)>,
}

/// What rows can be fetched by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// Words and marks of names.
    Names,
    /// Words of paths.
    Paths,
    /// One of the conditions on numbers, times and hashes.
    Range(usize),
    /// The number of seeders.
    Seeders(Range),
}

/// How many torrents there are, as the planner believes, and what time it is.
pub(super) async fn torrents(clock: &Clock<'_>) -> Result<(f64, SystemTime), SessionError> {
    let sql = "select greatest(reltuples, 0)::float8 as rows, now() as now from pg_class where oid = 'torrents'::regclass";
    let counted = clock.rows(sql, &Parameters::default()).await?;
    match counted.first() {
        Some(row) => Ok((statement::column(row, "rows")?, statement::column(row, "now")?)),
        None => Ok((0.0, SystemTime::UNIX_EPOCH)),
    }
}

impl Searching<'_> {
    /// Asks the planner how much there is of everything that a page could be found by.
    pub(super) async fn estimate(&self, conditions: &Conditions<'_>) -> Result<Estimate, SessionError> {
        let rows = self.rows;
        let mut p = Parameters::default();
        let mut selects = Vec::new();
        let whole = conditions.all(&mut p);
        if whole.is_empty() {
            return Ok(Estimate { hits: rows, rows, walked: rows, groups: Vec::new() });
        }
        selects.push(format!(
            "select 1 from torrents t{} where {}",
            conditions.joins(false),
            whole.join(" and ")
        ));
        let mut groups = Vec::new();
        if conditions.names.anchored {
            let condition = conditions.names(&mut p).unwrap_or_default();
            selects.push(format!("select 1 from torrents t where {condition}"));
            groups.push(Group::Names);
        }
        if conditions.paths.anchored {
            let condition = conditions.paths(&mut p).unwrap_or_default();
            selects.push(format!("select 1 from torrent_files f where {condition}"));
            groups.push(Group::Paths);
        }
        let mut known = Vec::new();
        for (index, single) in conditions.ranges.iter().enumerate() {
            if let Some(range) = single.range_of(Number::Seeders).filter(|range| range.low.unwrap_or(0) > 0) {
                let condition =
                    conditions.single(*single, &mut p).replace("coalesce(s.seeders, 0)", "s.seeders");
                selects.push(format!("select 1 from torrent_stats s where s.seeders > 0 and {condition}"));
                groups.push(Group::Seeders(range));
            } else if matches!(single.term, Term::Hash(_)) && single.is_indexed() {
                known.push((Group::Range(index), ROWS_OF_HASH));
            } else if single.is_indexed() {
                let condition = conditions.single(*single, &mut p);
                selects.push(format!("select 1 from torrents t where {condition}"));
                groups.push(Group::Range(index));
            }
        }
        let sql = format!("explain (format json) {}", selects.join(" union all "));
        let planned = planned_rows(&self.clock.rows(&sql, &p).await?)?;
        // A plan of another shape tells nothing: then everything is as many as there are.
        let number = |place: usize| planned.get(place).copied().filter(|_| planned.len() == selects.len());
        let mut walked = rows;
        for (place, group) in groups.into_iter().enumerate() {
            let estimated = number(place + 1).unwrap_or(rows);
            if let Group::Range(index) = group
                && conditions.ranges.get(index).is_some_and(|single| self.order.is_bounded_by(single.term))
            {
                walked = walked.min(estimated);
            }
            known.push((group, estimated));
        }
        known.sort_by(|(_, left), (_, right)| left.total_cmp(right));
        Ok(Estimate { hits: number(0).unwrap_or(rows), rows, walked, groups: known })
    }
}

/// The rows that the planner expects of each part of a union, or of the only one.
fn planned_rows(answer: &[tokio_postgres::Row]) -> Result<Vec<f64>, SessionError> {
    let unexpected = |error: String| SessionError::Unexpected(error);
    let Some(row) = answer.first() else { return Ok(Vec::new()) };
    let Json(text) = row.try_get(0).map_err(|error| unexpected(error.to_string()))?;
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| unexpected(error.to_string()))?;
    let plan = &value[0]["Plan"];
    let parts = match plan["Node Type"].as_str() {
        Some("Append") => plan["Plans"].as_array().map_or(&[][..], Vec::as_slice),
        _ => std::slice::from_ref(plan),
    };
    Ok(parts.iter().map(|part| part["Plan Rows"].as_f64().unwrap_or(0.0)).collect())
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
