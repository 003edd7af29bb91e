//! From a query to conditions of SQL: what indexes can be asked for, and what has to be looked at row by row.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use super::{
    expansions::Expansions,
    lexemes::{
        Bound, Language, Leaf, in_names, in_paths, of_names, of_names_apart, of_paths, required,
        required_by_all, required_in_paths,
    },
    parameters::Parameters,
    signs::Signs,
};
use crate::{
    db::HashQuery,
    kinds::Kind,
    query::{Expr, Moment, Number, Range, Span, Term, Trait},
    search::Stage,
};

/// What a stage of a search asks for. All of it holds for every torrent that matches; whether a torrent for which all of it holds does
/// match is certain unless [`Self::is_wider`].
pub(super) struct Conditions<'a> {
    stage: Stage,
    /// What beginnings of words stand for in paths.
    pub(super) expansions: &'a Expansions,
    /// There is a condition on paths.
    pub(super) has_file_terms: bool,
    as_of: SystemTime,
    /// What the index of names and marks can be asked.
    pub(super) names: Bound,
    /// The same without how near words stand: what the index gives, before it is looked at.
    names_apart: Bound,
    /// Lexemes that all names have that match, each once, by the terms that require them.
    pub(super) in_all_names: Vec<Vec<String>>,
    /// Lexemes that names and paths of all have that match.
    pub(super) in_all_paths: Vec<Vec<String>>,
    /// What signatures of all have that match.
    pub(super) signs: Signs,
    /// The same without types, for orders in which each type has its own.
    pub(super) signs_but_kind: Signs,
    /// Values of `torrents.kind` that all have that match.
    pub(super) kinds: Vec<i16>,
    /// What the index of paths can be asked; empty while names are searched.
    pub(super) paths: Bound,
    /// Conditions on numbers, times and hashes that hold by themselves.
    pub(super) ranges: Vec<Single<'a>>,
    /// Conditions that mix what no single index knows.
    mixed: Vec<Expr>,
    /// Rows may be found that do not match: they have to be looked into.
    pub(super) is_wider: bool,
}

/// A condition by itself, or its opposite.
#[derive(Clone, Copy, Debug)]
pub(super) struct Single<'a> {
    pub(super) term: &'a Term,
    pub(super) negated: bool,
}

impl<'a> Conditions<'a> {
    pub(super) fn of(
        expr: Option<&'a Expr>,
        stage: Stage,
        as_of: SystemTime,
        expansions: &'a Expansions,
    ) -> Self {
        let mut has_file_terms = false;
        if let Some(expr) = expr {
            expr.for_each_term(&mut |term, _| has_file_terms |= matches!(term, Term::File(_)));
        }
        let mut conditions = Self {
            stage,
            expansions,
            has_file_terms,
            as_of,
            names: Bound::all([], Language::Lexemes),
            names_apart: Bound::all([], Language::Lexemes),
            in_all_names: Vec::new(),
            in_all_paths: Vec::new(),
            signs: Signs::of(expr, &|term| required(term, stage, has_file_terms)),
            signs_but_kind: Signs::of(expr, &|term| match term {
                Term::Trait(Trait::Kind, _) => Vec::new(),
                term => required(term, stage, has_file_terms),
            }),
            kinds: kinds(expr),
            paths: Bound::all([], Language::Sql),
            ranges: Vec::new(),
            mixed: Vec::new(),
            is_wider: false,
        };
        if let Some(expr) = expr {
            let lexemes = |of: &dyn Fn(&Term) -> Vec<String>| each_once(required_by_all(expr, &of));
            conditions.in_all_names = lexemes(&|term| required(term, stage, has_file_terms));
            if stage == Stage::Paths {
                conditions.in_all_paths = lexemes(&required_in_paths);
            }
        }
        let (mut names, mut apart, mut paths) = (Vec::new(), Vec::new(), Vec::new());
        let mut parts: Vec<(&Expr, bool)> = Vec::new();
        if let Some(expr) = expr {
            conjuncts(expr, false, &mut parts);
        }
        // What is said twice is no rarer for it, as the planner would believe.
        let mut said: Vec<(&Expr, bool)> = Vec::with_capacity(parts.len());
        parts.retain(|part| {
            let is_new = !said.contains(part);
            said.push(*part);
            is_new
        });
        for (part, negated) in parts {
            if let Expr::Term(term @ (Term::Time(..) | Term::Hash(_))) = part {
                conditions.ranges.push(Single { term, negated });
                continue;
            }
            let whole = if negated { part.clone().negated() } else { part.clone() };
            let in_names = of_names(&whole, stage, has_file_terms);
            let in_names_apart = of_names_apart(&whole, stage, has_file_terms);
            let in_paths = of_paths(&whole, stage, expansions);
            if in_names.complete {
                names.push(in_names);
                apart.push(in_names_apart);
            } else if in_paths.complete {
                conditions.is_wider |= !in_paths.exact;
                paths.push(in_paths);
            } else if let Expr::Term(term @ Term::Number(..)) = part {
                conditions.ranges.push(Single { term, negated });
            } else {
                // What follows from it for each index may be asked for, but does not say all.
                names.push(in_names);
                apart.push(in_names_apart);
                paths.push(in_paths);
                conditions.mixed.push(whole);
            }
        }
        conditions.names = Bound::all(names, Language::Lexemes);
        conditions.names_apart = Bound::all(apart, Language::Lexemes);
        conditions.paths = Bound::all(paths, Language::Sql);
        for part in &conditions.mixed {
            part.for_each_term(&mut |term, _| {
                let leaf = in_paths(term, stage, expansions);
                let wider = matches!(leaf, Leaf::Wider(_) | Leaf::Narrower(_));
                conditions.is_wider |= wider;
            });
        }
        conditions
    }

    /// Conditions on `torrents t` that its indexes know.
    pub(super) fn on_torrents(&self, p: &mut Parameters) -> Vec<String> {
        let mut all: Vec<String> = self.names(p).into_iter().collect();
        all.extend(self.ranges_of_torrents(p));
        all
    }

    /// The condition on `t.tsv`.
    pub(super) fn names(&self, p: &mut Parameters) -> Option<String> {
        self.names.query.as_ref().map(|query| format!("t.tsv @@ {}", p.tsquery(query)))
    }

    /// The condition on `t.tsv` that the index answers without a look at rows.
    pub(super) fn names_apart(&self, p: &mut Parameters) -> Option<String> {
        self.names_apart.query.as_ref().map(|query| format!("t.tsv @@ {}", p.tsquery(query)))
    }

    /// Whether the index gives what matches and nothing else.
    pub(super) fn are_names_apart(&self) -> bool {
        self.names_apart.query == self.names.query
    }

    /// The condition that a torrent is of a type that matches: one by one, so that each is a place in an index.
    pub(super) fn of_kinds(&self) -> String {
        let kinds: Vec<String> = self.kinds.iter().map(i16::to_string).collect();
        format!("t.kind in ({})", kinds.join(", "))
    }

    /// Conditions on numbers, times and hashes of `torrents t`.
    pub(super) fn ranges_of_torrents(&self, p: &mut Parameters) -> Vec<String> {
        let ranges = self.ranges.iter().filter(|single| !single.is_of_stats());
        ranges.map(|single| self.single(*single, p)).collect()
    }

    /// The condition on `f.words`.
    pub(super) fn paths(&self) -> Option<String> {
        self.paths.query.clone()
    }

    /// Whether names are searched.
    pub(super) fn is_names(&self) -> bool {
        self.stage == Stage::Names
    }

    /// Whether there are conditions that no single index knows.
    pub(super) fn is_mixed(&self) -> bool {
        !self.mixed.is_empty()
    }

    /// All conditions.
    pub(super) fn all(&self, p: &mut Parameters) -> Vec<String> {
        let mut all = self.on_torrents(p);
        all.extend(self.paths());
        all.extend(self.on_others(p, false));
        all
    }

    /// All other conditions, which may need `torrent_stats s` and `torrent_files f`; of the latter nothing when rows were found by paths.
    pub(super) fn on_others(&self, p: &mut Parameters, paths_are_known: bool) -> Vec<String> {
        let ranges = self.ranges.iter().filter(|single| single.is_of_stats());
        let mut all: Vec<String> = ranges.map(|single| self.single(*single, p)).collect();
        all.extend(self.mixed.iter().map(|part| self.sql(part, false, p)));
        match self.stage {
            // The name is the path of the only file.
            Stage::Names if self.has_file_terms => all.push("f.info_hash is null".to_owned()),
            Stage::Names => {}
            Stage::Paths if paths_are_known => {}
            Stage::Paths => all.push("f.words is not null".to_owned()),
        }
        all
    }

    /// Whether `torrent_files f` is needed.
    pub(super) fn needs_files(&self) -> bool {
        self.stage == Stage::Paths || self.has_file_terms
    }

    /// Whether `torrent_stats s` is needed.
    pub(super) fn needs_stats(&self) -> bool {
        let mut needed = self.ranges.iter().any(|single| single.is_of_stats());
        for part in &self.mixed {
            part.for_each_term(&mut |term, _| needed |= is_of_stats(term));
        }
        needed
    }

    /// What a torrent that only names match is known by, so that it can be left out; `None`: there is no such condition.
    pub(super) fn by_name_alone(&self, p: &mut Parameters) -> Option<String> {
        let mut all: Vec<String> = self.names(p).into_iter().collect();
        all.extend(self.mixed.iter().map(|part| self.sql(part, false, p)));
        (!all.is_empty()).then(|| all.join(" and "))
    }

    pub(super) fn single(&self, single: Single<'_>, p: &mut Parameters) -> String {
        let condition = self.term(single.term, p);
        if single.negated { format!("not {condition}") } else { condition }
    }

    /// A condition in brackets that holds at least where it is meant to.
    fn sql(&self, expr: &Expr, negated: bool, p: &mut Parameters) -> String {
        let whole = || if negated { expr.clone().negated() } else { expr.clone() };
        let names = of_names(&whole(), self.stage, self.has_file_terms);
        if let (true, Some(query)) = (names.complete, names.query) {
            return format!("(t.tsv @@ {})", p.tsquery(&query));
        }
        let paths = of_paths(&whole(), self.stage, self.expansions);
        if let (true, Some(query)) = (paths.complete, paths.query) {
            return format!("coalesce({query}, false)");
        }
        let joined = |parts: &[Expr], sign: &str, p: &mut Parameters| {
            let parts: Vec<String> = parts.iter().map(|part| self.sql(part, negated, p)).collect();
            format!("({})", parts.join(sign))
        };
        match expr {
            Expr::Not(inner) => self.sql(inner, !negated, p),
            Expr::All(parts) => joined(parts, if negated { " or " } else { " and " }, p),
            Expr::Any(parts) => joined(parts, if negated { " and " } else { " or " }, p),
            // Where more is found than is asked for, nothing is known of the rest.
            Expr::Term(Term::Text(_) | Term::File(_)) => "true".to_owned(),
            Expr::Term(term) => self.single(Single { term, negated }, p),
        }
    }

    /// A condition in brackets, never null.
    pub(super) fn term(&self, term: &Term, p: &mut Parameters) -> String {
        match term {
            Term::Text(_) | Term::File(_) | Term::Trait(..) => {
                match in_names(term, self.stage, self.has_file_terms) {
                    Leaf::Exact(query) | Leaf::Wider(query) | Leaf::Narrower(query) => {
                        format!("(t.tsv @@ {})", p.tsquery(&query))
                    }
                    Leaf::Unknown => match in_paths(term, self.stage, self.expansions) {
                        Leaf::Exact(query) | Leaf::Wider(query) | Leaf::Narrower(query) => {
                            format!("coalesce({query}, false)")
                        }
                        Leaf::Unknown => "false".to_owned(),
                    },
                }
            }
            Term::Number(of, range) => {
                let column = match of {
                    Number::Size => "t.total_size",
                    Number::Files => "t.file_count",
                    Number::Year => "t.year",
                    Number::Seeders => "coalesce(s.seeders, 0)",
                    Number::Leechers => "coalesce(s.leechers, 0)",
                    Number::Season | Number::Episode => {
                        let Leaf::Exact(query) = in_names(term, self.stage, false) else {
                            return "false".to_owned();
                        };
                        return format!("(t.tsv @@ {})", p.tsquery(&query));
                    }
                };
                let condition = within(column, *range, p);
                if *of == Number::Year { format!("coalesce({condition}, false)") } else { condition }
            }
            Term::Time(of, span) => {
                let column = match of {
                    Moment::Added => "t.added_at",
                    Moment::Seen => "coalesce(s.last_seen, t.added_at)",
                };
                self.during(column, *span, p)
            }
            Term::Hash(digits) => {
                let Some(hash) = HashQuery::parse(digits) else { return "false".to_owned() };
                let (low, high) = hash.bounds();
                let (low, high) = (p.bytes(low), p.bytes(high));
                let v2 = match hash.v2() {
                    Some(v2) => format!(" and t.v2 = {}", p.bytes(v2)),
                    None => String::new(),
                };
                format!(
                    "(t.info_hash in (select h.info_hash from torrents h where h.info_hash between {low} and {high}
                        union select h.info_hash from aliases h where h.alias between {low} and {high}){v2})"
                )
            }
        }
    }

    fn during(&self, column: &str, span: Span, p: &mut Parameters) -> String {
        let mut bounds = Vec::new();
        match span {
            Span::Age(Range { low, high }) => {
                let ago = |seconds| self.as_of.checked_sub(Duration::from_secs(seconds));
                bounds.extend(high.and_then(ago).map(|since| format!("{column} >= {}", p.time(since))));
                bounds.extend(low.and_then(ago).map(|until| format!("{column} <= {}", p.time(until))));
            }
            Span::Days(days) => {
                let at = |day: u32| SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(day) * 86_400);
                bounds.extend(days.first.map(|first| format!("{column} >= {}", p.time(at(first)))));
                bounds.extend(
                    days.last.map(|last| format!("{column} < {}", p.time(at(last.saturating_add(1))))),
                );
            }
        }
        if bounds.is_empty() { "true".to_owned() } else { format!("({})", bounds.join(" and ")) }
    }
}

/// A number from a column in a range.
fn within(column: &str, range: Range, p: &mut Parameters) -> String {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let mut bounds = Vec::new();
    bounds.extend(range.low.map(|low| format!("{column} >= {}", p.number(number(low)))));
    bounds.extend(range.high.map(|high| format!("{column} <= {}", p.number(number(high)))));
    if bounds.is_empty() { "true".to_owned() } else { format!("({})", bounds.join(" and ")) }
}

/// Lists of lexemes without those that an earlier one has.
fn each_once(lists: Vec<Vec<String>>) -> Vec<Vec<String>> {
    let mut seen = HashSet::new();
    let once =
        lists.into_iter().map(|list| list.into_iter().filter(|one| seen.insert(one.clone())).collect());
    once.filter(|list: &Vec<String>| !list.is_empty()).collect()
}

/// The types of torrents that match: all there are when none is asked for.
fn kinds(expr: Option<&Expr>) -> Vec<i16> {
    let mut kinds: Vec<i16> = std::iter::once(0).chain(Kind::ALL.map(Kind::code)).collect();
    let code = |expr: &Expr| match expr {
        Expr::Term(Term::Trait(Trait::Kind, value)) => {
            Some(Kind::ALL.into_iter().find(|kind| kind.as_str() == value).map_or(0, Kind::code))
        }
        _ => None,
    };
    let mut parts = Vec::new();
    if let Some(expr) = expr {
        conjuncts(expr, false, &mut parts);
    }
    for (part, negated) in parts {
        let asked: Option<Vec<i16>> = match part {
            Expr::Any(parts) => parts.iter().map(code).collect(),
            other => code(other).map(|code| vec![code]),
        };
        if let (false, Some(asked)) = (negated, asked) {
            kinds.retain(|kind| asked.contains(kind));
        }
    }
    // Nothing is of two types at once: whatever is looked at does not match.
    if kinds.is_empty() { vec![0] } else { kinds }
}

/// What must all hold, each with whether it is meant the other way round.
fn conjuncts<'a>(expr: &'a Expr, negated: bool, into: &mut Vec<(&'a Expr, bool)>) {
    match expr {
        Expr::Not(inner) => conjuncts(inner, !negated, into),
        Expr::All(parts) if !negated => parts.iter().for_each(|part| conjuncts(part, negated, into)),
        Expr::Any(parts) if negated => parts.iter().for_each(|part| conjuncts(part, negated, into)),
        other => into.push((other, negated)),
    }
}

impl Single<'_> {
    /// Whether it is about `torrent_stats`.
    pub(super) fn is_of_stats(&self) -> bool {
        is_of_stats(self.term)
    }

    /// The range of a number that has to hold; `None` when it is another number, or what has to hold is the opposite.
    pub(super) fn range_of(&self, number: Number) -> Option<Range> {
        match self.term {
            Term::Number(of, range) if *of == number && !self.negated => Some(*range),
            _ => None,
        }
    }

    /// Whether an index of `torrents` gives the rows for which it holds.
    pub(super) fn is_indexed(&self) -> bool {
        let indexed = matches!(
            self.term,
            Term::Number(Number::Size | Number::Files, _) | Term::Time(Moment::Added, _) | Term::Hash(_)
        );
        indexed && !self.negated
    }
}

fn is_of_stats(term: &Term) -> bool {
    matches!(term, Term::Number(Number::Seeders | Number::Leechers, _) | Term::Time(Moment::Seen, _))
}
