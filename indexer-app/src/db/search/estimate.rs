//! What the planner believes, which decides how a page is found.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use tea_runtime::SessionError;
use tokio_postgres::types::{FromSql, Type};

use super::{Clock, Parameters, Searching, access::joins, condition::Conditions, lexemes, statement};
use crate::{
    kinds::{CLASS_VER, Kind},
    query::{Number, Range, Term},
    signature::MISTAKEN,
    tokeniser::TOK_VER,
};

/// Rows that a part of a hash is taken to have: enough to be fetched, whatever else is asked for.
const ROWS_OF_HASH: f64 = 16.0;

/// Lexemes whose number is asked for, to know what the index reads when all of them must be there: it begins with the rarest.
const LEXEMES_MAX: usize = 6;

/// What is known of the database before anything is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// Torrents that there are, as the planner believes.
    pub(super) rows: f64,
    /// What time it is there.
    pub(super) now: SystemTime,
    /// Share of the pages of `torrents` and of `torrent_stats` that need not be looked at to know that their rows are there.
    pub(super) visible: f64,
    /// The same of `torrent_stats`.
    pub(super) visible_stats: f64,
    /// Whether all torrents are as this version makes them. Until those that an older one has stored are made again, nothing is gained by signatures, and words
    /// of paths may be missing.
    pub(super) is_current: bool,
}

/// What is known before a page is looked for.
#[derive(Clone, Debug)]
pub(super) struct Estimate {
    /// Torrents that match.
    pub(super) hits: f64,
    /// Torrents that there are.
    pub(super) rows: f64,
    /// Torrents between the ends of the order that conditions set.
    pub(super) walked: f64,
    /// Share of the torrents that signatures admit.
    pub(super) admitted: f64,
    /// What rows can be fetched by, the fewest first.
    pub(super) ways: Vec<Way>,
}

/// One way to fetch rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) group: Group,
    /// Rows that it gives.
    pub(super) rows: f64,
    /// Entries of the index that are read for it.
    pub(super) examined: f64,
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

/// What a part of the question is about.
#[derive(Clone, Copy, Debug)]
enum About {
    Whole,
    Names,
    /// Names that have the words, wherever they stand in them: what the index gives.
    NamesApart,
    /// Of the term of this number.
    LexemeOfNames(usize),
    Paths,
    LexemeOfPaths(usize),
    /// Torrents of the types that are asked for.
    Kinds,
    /// A condition by itself, which an index knows, or not.
    Single {
        index: usize,
        group: Option<Group>,
    },
}

/// Rows are fetched by an index or not at all, and joined one by one: there are never many. What is found is kept in memory while it is sorted: a few MB.
const KNOWN: &str = "
select set_config('statement_timeout', $1, true), set_config('enable_seqscan', 'off', true),
    set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
    set_config('work_mem', '32MB', true), greatest(t.reltuples, 0)::float8 as rows, now() as now,
    t.relallvisible::float8 / greatest(t.relpages, 1) as visible,
    s.relallvisible::float8 / greatest(s.relpages, 1) as visible_stats,
    coalesce((select tok_ver >= $2 and class_ver >= $3 and (finished_at is not null or floor_at > '-infinity')
        from reindexing), true) as is_current
from pg_class t, pg_class s where t.oid = 'torrents'::regclass and s.oid = 'torrent_stats'::regclass";

/// Sets what holds for the statements of a search, and asks what the database is like.
pub(super) async fn known(clock: &Clock<'_>, timeout: Duration) -> Result<Known, SessionError> {
    let timeout = timeout.as_millis().to_string();
    let rows = clock.rows_of_prepared(KNOWN, &[&timeout, &TOK_VER, &CLASS_VER]).await?;
    let row =
        rows.first().ok_or_else(|| SessionError::Unexpected("there is no table of torrents".to_owned()))?;
    Ok(Known {
        rows: statement::column(row, "rows")?,
        now: statement::column(row, "now")?,
        visible: statement::column(row, "visible")?,
        visible_stats: statement::column(row, "visible_stats")?,
        is_current: statement::column(row, "is_current")?,
    })
}

/// The parts of a question to the planner.
#[derive(Default)]
struct Question {
    p: Parameters,
    selects: Vec<String>,
    about: Vec<(usize, About)>,
}

impl Question {
    fn ask(&mut self, stage: usize, about: About, select: String) {
        self.selects.push(select);
        self.about.push((stage, about));
    }

    /// Everything about the conditions of a stage.
    fn ask_all(&mut self, stage: usize, conditions: &Conditions<'_>) {
        if conditions.is_mixed() {
            let whole = conditions.all(&mut self.p).join(" and ");
            let joins = joins(conditions.needs_stats(), conditions.needs_files());
            self.ask(stage, About::Whole, format!("select 1 from torrents t{joins} where {whole}"));
        }
        if let Some(names) = conditions.names(&mut self.p) {
            self.ask(stage, About::Names, format!("select 1 from torrents t where {names}"));
        }
        if !conditions.are_names_apart()
            && let Some(names) = conditions.names_apart(&mut self.p)
        {
            self.ask(stage, About::NamesApart, format!("select 1 from torrents t where {names}"));
        }
        for (term, lexeme) in several(&conditions.in_all_names) {
            let query = self.p.tsquery(&lexemes::single(lexeme));
            let select = format!("select 1 from torrents t where t.tsv @@ {query}");
            self.ask(stage, About::LexemeOfNames(term), select);
        }
        if let Some(paths) = conditions.paths() {
            self.ask(stage, About::Paths, format!("select 1 from torrent_files f where {paths}"));
        }
        for (term, lexeme) in several(&conditions.in_all_paths) {
            let has = lexemes::single_in_paths(lexeme);
            let select = format!("select 1 from torrent_files f where {has}");
            self.ask(stage, About::LexemeOfPaths(term), select);
        }
        if conditions.kinds.len() <= Kind::ALL.len() {
            let select = format!("select 1 from torrents t where {}", conditions.of_kinds());
            self.ask(stage, About::Kinds, select);
        }
        for (index, single) in conditions.ranges.iter().enumerate() {
            if matches!(single.term, Term::Hash(_)) {
                continue;
            }
            let mut condition = conditions.single(*single, &mut self.p);
            let mut group = single.is_indexed().then_some(Group::Range(index));
            let from = if let Some(range) =
                single.range_of(Number::Seeders).filter(|range| range.low.unwrap_or(0) > 0)
            {
                condition =
                    format!("s.seeders > 0 and {}", condition.replace("coalesce(s.seeders, 0)", "s.seeders"));
                group = Some(Group::Seeders(range));
                "torrent_stats s"
            } else if single.is_of_stats() {
                // Times of those that have none are in the other table.
                condition = condition.replace("coalesce(s.last_seen, t.added_at)", "s.last_seen");
                "torrent_stats s"
            } else {
                "torrents t"
            };
            self.ask(
                stage,
                About::Single { index, group },
                format!("select 1 from {from} where {condition}"),
            );
        }
    }
}

impl Searching<'_> {
    /// Asks the planner how much there is of everything that pages of these conditions could be found by, at once.
    pub(super) async fn estimates(&self, of: &[&Conditions<'_>]) -> Result<Vec<Estimate>, SessionError> {
        let mut question = Question::default();
        for (stage, conditions) in of.iter().enumerate() {
            question.ask_all(stage, conditions);
        }
        let Question { p, selects, about } = question;
        let planned = if selects.is_empty() {
            Vec::new()
        } else {
            let sql = format!("explain (format json) {}", selects.join(" union all "));
            planned_rows(&self.clock.rows(&sql, &p).await?)?
        };
        // A plan of another shape tells nothing: then everything is as many as there are.
        let is_known = planned.len() == selects.len();
        let number =
            |place: usize| planned.get(place).copied().filter(|_| is_known).unwrap_or(self.known.rows);
        let of_stage = |(stage, conditions): (usize, &&Conditions<'_>)| {
            let parts = about.iter().enumerate().filter(|(_, (of, _))| *of == stage);
            let parts: Vec<_> = parts.map(|(place, (_, about))| (*about, number(place))).collect();
            self.estimate(conditions, &parts)
        };
        Ok(of.iter().enumerate().map(of_stage).collect())
    }

    /// Puts together what was answered about the parts: conditions are taken to have nothing to do with each other.
    fn estimate(&self, conditions: &Conditions<'_>, parts: &[(About, f64)]) -> Estimate {
        let rows = self.known.rows;
        let mut estimate = Estimate { hits: rows, rows, walked: rows, admitted: 1.0, ways: Vec::new() };
        let mut whole = None;
        let least = |of: fn(&About) -> bool| {
            parts.iter().filter(|(about, _)| of(about)).map(|(_, rows)| *rows).reduce(f64::min)
        };
        let (of_names, of_paths) = (
            least(|about| matches!(about, About::LexemeOfNames(_))),
            least(|about| matches!(about, About::LexemeOfPaths(_))),
        );
        let (mut named, mut of_kind) = (1.0, 1.0_f64);
        let apart = least(|about| matches!(about, About::NamesApart));
        let together_in_names = together(parts, rows, |about| match about {
            About::LexemeOfNames(term) => Some(*term),
            _ => None,
        });
        let together_in_paths = together(parts, rows, |about| match about {
            About::LexemeOfPaths(term) => Some(*term),
            _ => None,
        });
        for (about, number) in parts {
            let number = match about {
                About::Names => (number * together_in_names).min(of_names.unwrap_or(rows)),
                About::Paths => (number * together_in_paths).min(of_paths.unwrap_or(rows)),
                _ => *number,
            };
            let share = number / rows.max(1.0);
            match *about {
                About::Whole => whole = Some(number),
                About::NamesApart | About::LexemeOfNames(_) | About::LexemeOfPaths(_) => continue,
                About::Kinds => {
                    if self.order.is_by_kind() {
                        of_kind = share.min(1.0);
                        estimate.walked = estimate.walked.min(number);
                    }
                    continue;
                }
                About::Names => {
                    named = share.min(1.0);
                    if conditions.names.anchored {
                        let given = apart.unwrap_or(number);
                        let examined = of_names.unwrap_or(given);
                        estimate.ways.push(Way { group: Group::Names, rows: given, examined });
                    }
                }
                About::Paths if conditions.paths.anchored => {
                    let examined = of_paths.unwrap_or(number);
                    estimate.ways.push(Way { group: Group::Paths, rows: number, examined });
                }
                About::Paths => {}
                About::Single { index, group } => {
                    if let Some(group) = group {
                        estimate.ways.push(Way { group, rows: number, examined: number });
                    }
                    let bounds =
                        |single: &super::condition::Single<'_>| self.order.is_bounded_by(single.term);
                    if matches!(group, Some(Group::Range(_)))
                        && conditions.ranges.get(index).is_some_and(bounds)
                    {
                        estimate.walked = estimate.walked.min(number);
                    }
                }
            }
            estimate.hits *= share.min(1.0);
        }
        for (index, single) in conditions.ranges.iter().enumerate() {
            if matches!(single.term, Term::Hash(_)) && single.is_indexed() {
                let way = Way { group: Group::Range(index), rows: ROWS_OF_HASH, examined: ROWS_OF_HASH };
                estimate.ways.push(way);
                estimate.hits = estimate.hits.min(ROWS_OF_HASH);
            }
        }
        estimate.hits = whole.unwrap_or(estimate.hits);
        // Of each lexeme the names that have it, and others by mistake; among those of the types that are asked for.
        let lexemes = parts.iter().filter(|(about, _)| matches!(about, About::LexemeOfNames(_)));
        let shares = lexemes.map(|(_, number)| (number / rows.max(1.0)).min(1.0));
        let shares = if of_names.is_some() { shares.collect() } else { vec![named] };
        let admitted: f64 = shares.iter().map(|share| share + (1.0 - share) * MISTAKEN).product();
        estimate.admitted = (admitted / of_kind.max(1e-6)).min(1.0);
        estimate.ways.sort_by(|left, right| left.rows.total_cmp(&right.rows));
        estimate
    }
}

/// Lexemes with their terms, when there is more than one.
fn several(terms: &[Vec<String>]) -> impl Iterator<Item = (usize, &String)> {
    let lexemes =
        || terms.iter().enumerate().flat_map(|(term, list)| list.iter().map(move |lexeme| (term, lexeme)));
    let count = if lexemes().count() > 1 { LEXEMES_MAX } else { 0 };
    lexemes().take(count)
}

/// How many times as many rows have all lexemes as the planner believes, to whom they have nothing to do with each other: those of one word (`web-dl`)
/// stand together wherever the rarest of them stands.
fn together(parts: &[(About, f64)], rows: f64, term_of: fn(&About) -> Option<usize>) -> f64 {
    let mut terms: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for (about, number) in parts {
        if let Some(term) = term_of(about) {
            terms.entry(term).or_default().push((number / rows.max(1.0)).clamp(1e-9, 1.0));
        }
    }
    let factor =
        |shares: Vec<f64>| shares.iter().copied().fold(1.0, f64::min) / shares.iter().product::<f64>();
    terms.into_values().map(factor).product()
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
