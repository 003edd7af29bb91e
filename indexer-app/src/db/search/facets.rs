//! What kinds of torrents there are among those that match, from a bounded number of them.

use tea_runtime::SessionError;

use super::{
    Searching,
    condition::Conditions,
    estimate::{Estimate, Group},
    parameters::Parameters,
    statement,
};
use crate::{kinds::Kind, search::Facets};

/// Torrents that are all looked at: more are estimated from some.
const FETCHED_MAX: i64 = 5_000;

/// Torrents among which those are looked at that match: in the order of their info-hashes, which is no order at all.
const WINDOW: i64 = 12_000;

/// Fewest that estimates are made from, if others can be had.
const SAMPLE_MIN: u64 = 100;

/// Values of one facet.
const VALUES_MAX: usize = 10;

/// Classes of size: their bounds are those of a `size:` condition.
const SIZES: [(&str, i64); 7] = [
    ("..1mb", 1_000_000),
    ("1mb..10mb", 10_000_000),
    ("10mb..100mb", 100_000_000),
    ("100mb..1gb", 1_000_000_000),
    ("1gb..10gb", 10_000_000_000),
    ("10gb..100gb", 100_000_000_000),
    ("100gb..", i64::MAX),
];

impl Searching<'_> {
    /// The facets of what matches by name; of what matches by paths when names give nothing. `estimate` is what the page
    /// was found by, `total` how many there are.
    pub(super) async fn facets(
        &self,
        conditions: &Conditions<'_>,
        estimate: Option<Estimate>,
        total: Option<u64>,
    ) -> Result<Facets, SessionError> {
        let estimate = match estimate {
            Some(estimate) => Some(estimate),
            None => self.estimates(&[conditions]).await?.pop(),
        };
        let Some(estimate) = &estimate else { return Ok(Facets::default()) };
        let total = total.unwrap_or(estimate.hits as u64);
        let way = estimate.ways.iter().find(|way| !matches!(way.group, Group::Seeders(_)));
        let fetched = match way {
            Some(way) if way.rows <= FETCHED_MAX as f64 => true,
            Some(_) => false,
            None => return self.sampled(conditions, None, estimate, total).await,
        };
        let group = way.map(|way| way.group);
        if !fetched {
            let facets = self.sampled(conditions, None, estimate, total).await?;
            if facets.exact || facets.sampled >= SAMPLE_MIN {
                return Ok(facets);
            }
        }
        self.sampled(conditions, group, estimate, total).await
    }

    async fn sampled(
        &self,
        conditions: &Conditions<'_>,
        group: Option<Group>,
        estimate: &Estimate,
        total: u64,
    ) -> Result<Facets, SessionError> {
        let p = &mut Parameters::default();
        let joins = self.joins(conditions, group == Some(Group::Paths));
        let (limit, candidates, from, mut left) = match group {
            None => (
                WINDOW,
                "select * from torrents t order by t.info_hash".to_owned(),
                "candidates t",
                conditions.all(p),
            ),
            Some(Group::Paths) => {
                let paths = conditions.paths().unwrap_or_default();
                let mut left = conditions.on_torrents(p);
                left.extend(conditions.on_others(p, true));
                let candidates = format!("select f.info_hash from torrent_files f where {paths}");
                (FETCHED_MAX, candidates, "candidates c join torrents t using (info_hash)", left)
            }
            Some(_) => {
                let all = conditions.on_torrents(p).join(" and ");
                let mut left: Vec<String> = conditions.paths().into_iter().collect();
                left.extend(conditions.on_others(p, false));
                (FETCHED_MAX, format!("select * from torrents t where {all}"), "candidates t", left)
            }
        };
        if left.is_empty() {
            left.push("true".to_owned());
        }
        let classes: Vec<String> =
            SIZES.iter().map(|(name, below)| format!("when total_size < {below} then '{name}'")).collect();
        let sql = format!(
            "with candidates as materialized (
                {candidates} limit {limit} + 1
            ), sample as materialized (
                select t.tsv, t.total_size, t.kind, t.year from {from}{joins} where {left}
            )
            select 'candidates' as facet, null as value, count(*) as number from candidates
            union all select 'sample', null, count(*) from sample
            union all select 'type', kind::text, count(*) from sample group by 2
            union all select 'size', case {classes} end, count(*) from sample group by 2
            union all (select 'year', year::text, count(*) from sample where year is not null
                group by 2 order by 3 desc, 2 limit {VALUES_MAX})
            union all (select 'ext', substr(mark, 3), count(*) from sample, unnest(tsvector_to_array(tsv)) mark
                where mark like ':x%' group by 2 order by 3 desc, 2 limit {VALUES_MAX})",
            left = left.join(" and "),
            classes = classes.join(" "),
        );
        let mut facets = Facets { exact: true, ..Facets::default() };
        for row in self.clock.rows(&sql, p).await? {
            let number = statement::count(&row, "number")?;
            let value = statement::column::<Option<String>>(&row, "value")?.unwrap_or_default();
            let facet: String = statement::column(&row, "facet")?;
            match facet.as_str() {
                // Some of those that are found by paths may not match after all.
                "candidates" => facets.exact = number <= limit.unsigned_abs() && conditions.is_names(),
                "sample" => facets.sampled = number,
                "type" => {
                    let kind = value.parse().ok().and_then(Kind::from_code);
                    facets.types.extend(kind.map(|kind| (kind.to_string(), number)));
                }
                "size" => facets.sizes.push((value, number)),
                "year" => facets.years.push((value, number)),
                _ => facets.extensions.push((value, number)),
            }
        }
        let scale = if facets.exact || facets.sampled == 0 {
            1.0
        } else {
            (total as f64).min(estimate.rows.max(1.0)) / facets.sampled as f64
        };
        for values in [&mut facets.types, &mut facets.sizes, &mut facets.years, &mut facets.extensions] {
            values.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
            values.truncate(VALUES_MAX);
            for (_, number) in values {
                *number = (*number as f64 * scale.max(1.0)).round() as u64;
            }
        }
        Ok(facets)
    }
}
