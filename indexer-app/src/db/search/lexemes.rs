//! What is asked for as the indexes of lexemes take it: queries of lexemes (`tsquery`) for names, conditions on numbers of words for paths.

use super::expansions::Expansions;
use crate::{
    query::{Clause, Expr, Number, Range, Term, Text, mark},
    search::Stage,
    word_hash::word_hash,
};

/// Values of a number that are asked for one by one.
const VALUES_MAX: u64 = 128;

/// Greatest season and year that a torrent can have.
const SEASON_MAX: u64 = 99;

/// What conditions are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    /// A `tsquery`, for names.
    Lexemes,
    /// SQL, for paths.
    Sql,
}

impl Language {
    fn and(self) -> &'static str {
        if self == Self::Sql { " and " } else { " & " }
    }

    fn or(self) -> &'static str {
        if self == Self::Sql { " or " } else { " | " }
    }

    fn not(self) -> &'static str {
        if self == Self::Sql { "not " } else { "!" }
    }
}

/// What one of the two indexes of lexemes knows of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    /// What holds for all that match; `None`: anything may.
    pub(super) query: Option<String>,
    /// A lexeme must be there, so that the index can be asked.
    pub(super) anchored: bool,
    /// Nothing in the condition was left out, though it may have been made wider.
    pub(super) complete: bool,
    /// It says exactly the same as the condition.
    pub(super) exact: bool,
}

impl Bound {
    const NOTHING: Self = Self { query: None, anchored: false, complete: false, exact: false };

    /// What holds for all of the conditions: those that were put together.
    pub(super) fn all(bounds: impl IntoIterator<Item = Self>, language: Language) -> Self {
        let mut whole = Self { query: None, anchored: false, complete: true, exact: true };
        let mut queries = Vec::new();
        for bound in bounds {
            whole.anchored |= bound.anchored;
            whole.complete &= bound.complete;
            whole.exact &= bound.exact;
            queries.extend(bound.query);
        }
        whole.query = (!queries.is_empty()).then(|| queries.join(language.and()));
        whole
    }

    fn any(bounds: Vec<Self>, language: Language) -> Self {
        if bounds.iter().any(|bound| bound.query.is_none()) {
            return Self::NOTHING;
        }
        let (anchored, complete, exact) = (
            bounds.iter().all(|bound| bound.anchored),
            bounds.iter().all(|bound| bound.complete),
            bounds.iter().all(|bound| bound.exact),
        );
        let queries: Vec<String> = bounds.into_iter().filter_map(|bound| bound.query).collect();
        Self { query: Some(format!("({})", queries.join(language.or()))), anchored, complete, exact }
    }
}

/// What an index knows of a single condition.
pub(super) enum Leaf {
    /// Exactly this.
    Exact(String),
    /// That this must hold at least.
    Wider(String),
    /// This, and there may be more for which it holds that is not known.
    Narrower(String),
    /// Nothing.
    Unknown,
}

/// What follows for the index of names and marks.
pub(super) fn of_names(expr: &Expr, stage: Stage, single_files: bool) -> Bound {
    bound(expr, false, Language::Lexemes, &|term| in_names(term, stage, single_files))
}

/// What follows for the index of paths, which has the words of names too, and no positions.
pub(super) fn of_paths(expr: &Expr, stage: Stage, expansions: &Expansions) -> Bound {
    bound(expr, false, Language::Sql, &|term| in_paths(term, stage, expansions))
}

fn bound(expr: &Expr, negated: bool, language: Language, leaf: &impl Fn(&Term) -> Leaf) -> Bound {
    let parts =
        |parts: &[Expr]| parts.iter().map(|part| bound(part, negated, language, leaf)).collect::<Vec<_>>();
    match expr {
        Expr::Not(inner) => bound(inner, !negated, language, leaf),
        Expr::All(inner) if !negated => Bound::all(parts(inner), language),
        Expr::Any(inner) if negated => Bound::all(parts(inner), language),
        Expr::All(inner) | Expr::Any(inner) => Bound::any(parts(inner), language),
        Expr::Term(term) => match leaf(term) {
            Leaf::Exact(query) if negated => {
                let query = Some(format!("{}({query})", language.not()));
                Bound { query, anchored: false, complete: true, exact: true }
            }
            Leaf::Exact(query) => {
                Bound { query: Some(format!("({query})")), anchored: true, complete: true, exact: true }
            }
            Leaf::Wider(query) if !negated => {
                Bound { query: Some(format!("({query})")), anchored: true, complete: true, exact: false }
            }
            Leaf::Narrower(query) if !negated => {
                Bound { query: Some(format!("({query})")), anchored: true, complete: true, exact: true }
            }
            // Where more is found than is asked for, nothing is known of the rest; nor is all of it where not all is found.
            Leaf::Wider(_) | Leaf::Narrower(_) | Leaf::Unknown => Bound::NOTHING,
        },
    }
}

/// What `torrents.tsv` knows of a condition.
pub(super) fn in_names(term: &Term, stage: Stage, single_files: bool) -> Leaf {
    match term {
        Term::Text(text) if stage == Stage::Names => Leaf::Exact(words(text, true)),
        // The name is the path.
        Term::File(text) if stage == Stage::Names && single_files => Leaf::Exact(words(text, true)),
        Term::Trait(of, value) => Leaf::Exact(quoted(&mark(*of, value), false)),
        Term::Number(of, range) => values(*of, *range).map_or(Leaf::Unknown, Leaf::Exact),
        _ => Leaf::Unknown,
    }
}

/// The same without how near words stand to each other, which the index does not know either: it gives all that have the words, and each of
/// them would be looked at.
pub(super) fn of_names_apart(expr: &Expr, stage: Stage, single_files: bool) -> Bound {
    bound(expr, false, Language::Lexemes, &|term| match (
        in_names(term, stage, single_files),
        neighbours(term),
    ) {
        (Leaf::Exact(_), Some(text)) => Leaf::Wider(words(text, false)),
        (leaf, _) => leaf,
    })
}

/// The words of a condition, when how near they stand matters.
fn neighbours(term: &Term) -> Option<&Text> {
    match term {
        Term::Text(text) | Term::File(text) if text.clauses().iter().any(|clause| clause.len() > 1) => {
            Some(text)
        }
        _ => None,
    }
}

/// Lexemes that names have for which a condition holds. Whole words and marks only.
pub(super) fn required(term: &Term, stage: Stage, single_files: bool) -> Vec<String> {
    match term {
        Term::Text(text) if stage == Stage::Names => whole_words(text),
        Term::File(text) if stage == Stage::Names && single_files => whole_words(text),
        Term::Trait(of, value) => vec![mark(*of, value)],
        Term::Number(of, Range { low: Some(low), high: Some(high) }) if low == high => {
            mark_of(*of).zip(u16::try_from(*low).ok()).map(|(mark, value)| mark(value)).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// Lexemes that name and paths together have for which a condition holds.
pub(super) fn required_in_paths(term: &Term) -> Vec<String> {
    match term {
        Term::Text(text) | Term::File(text) => whole_words(text),
        _ => Vec::new(),
    }
}

fn whole_words(text: &Text) -> Vec<String> {
    let lexemes = text.clauses().into_iter().flatten();
    lexemes.filter(|lexeme| !lexeme.prefix).map(|lexeme| lexeme.text).collect()
}

/// Lexemes that must all be there for which a whole condition holds, by the term that requires them.
pub(super) fn required_by_all(expr: &Expr, of: &impl Fn(&Term) -> Vec<String>) -> Vec<Vec<String>> {
    match expr {
        Expr::All(parts) => parts.iter().flat_map(|part| required_by_all(part, of)).collect(),
        // The words of a phrase need have nothing to do with each other, those of a word do.
        Expr::Term(term @ (Term::Text(Text::Phrase(_)) | Term::File(Text::Phrase(_)))) => {
            of(term).into_iter().map(|lexeme| vec![lexeme]).collect()
        }
        Expr::Term(term) => vec![of(term)],
        Expr::Any(_) | Expr::Not(_) => Vec::new(),
    }
}

/// A lexeme as a query.
pub(super) fn single(lexeme: &str) -> String {
    quoted(lexeme, false)
}

/// That name or paths have a word.
pub(super) fn single_in_paths(word: &str) -> String {
    format!("f.words @> {}", array(&[word_hash(word)]))
}

/// What `torrent_files.words` knows of a condition: but for words that share a number, which are told apart when a torrent is shown.
pub(super) fn in_paths(term: &Term, stage: Stage, expansions: &Expansions) -> Leaf {
    let (Term::Text(text) | Term::File(text)) = term else { return Leaf::Unknown };
    if stage == Stage::Names {
        return Leaf::Unknown;
    }
    let clauses = text.clauses();
    let lexemes = || clauses.iter().flatten();
    let mut whole: Vec<i32> =
        lexemes().filter(|lexeme| !lexeme.prefix).map(|lexeme| word_hash(&lexeme.text)).collect();
    whole.sort_unstable();
    whole.dedup();
    let mut queries = Vec::new();
    if !whole.is_empty() {
        queries.push(format!("f.words @> {}", array(&whole)));
    }
    let mut is_partial = false;
    for lexeme in lexemes().filter(|lexeme| lexeme.prefix) {
        let Some(expansion) = expansions.get(&lexeme.text) else { return Leaf::Unknown };
        is_partial |= expansion.is_partial;
        // No array has something in common with an empty one.
        queries.push(format!("f.words && {}", array(&expansion.hashes)));
    }
    let query = queries.join(" and ");
    let stand_anywhere = matches!(term, Term::Text(_)) && clauses.iter().all(|clause| clause.len() == 1);
    match (stand_anywhere, is_partial) {
        (true, false) => Leaf::Exact(query),
        (true, true) => Leaf::Narrower(query),
        // Whether they are neighbours, and whether they stand in a path and not in the name, has to be looked up.
        (false, _) => Leaf::Wider(query),
    }
}

fn array(numbers: &[i32]) -> String {
    let numbers: Vec<String> = numbers.iter().map(i32::to_string).collect();
    format!("'{{{}}}'::int4[]", numbers.join(","))
}

/// The words that names are ranked by: all that are asked for and not excluded; `None` when there are none.
pub(super) fn ranked(expr: &Expr) -> Option<String> {
    let join = |parts: &[Expr], sign: &str| {
        let parts: Vec<String> = parts.iter().filter_map(ranked).collect();
        (!parts.is_empty()).then(|| format!("({})", parts.join(sign)))
    };
    match expr {
        Expr::All(parts) => join(parts, " & "),
        Expr::Any(parts) => join(parts, " | "),
        Expr::Term(Term::Text(text)) => Some(format!("({})", words(text, true))),
        Expr::Term(_) | Expr::Not(_) => None,
    }
}

fn words(text: &Text, placed: bool) -> String {
    let clauses = text.clauses();
    let clauses: Vec<String> = clauses.iter().map(|clause| format!("({})", joined(clause, placed))).collect();
    clauses.join(" & ")
}

fn joined(clause: &Clause, placed: bool) -> String {
    let mut query = String::new();
    for (index, lexeme) in clause.iter().enumerate() {
        // Said twice it would seem rarer to the planner.
        if !placed && clause[..index].iter().any(|other| other.is_same(lexeme)) {
            continue;
        }
        if index > 0 {
            query.push_str(&if placed { format!(" <{}> ", lexeme.distance) } else { " & ".to_owned() });
        }
        query.push_str(&quoted(&lexeme.text, lexeme.prefix));
    }
    query
}

/// Tokens are letters and digits; quoted all the same, so that nothing depends on it.
fn quoted(lexeme: &str, prefix: bool) -> String {
    let sign = if prefix { ":*" } else { "" };
    format!("'{}'{sign}", lexeme.replace('\\', "\\\\").replace('\'', "''"))
}

/// Years, seasons and episodes, which are marks. Years that are too many are looked up in their column; of episodes all those are taken
/// that are not too few.
fn values(of: Number, range: Range) -> Option<String> {
    let of_value = mark_of(of)?;
    let low = range.low.unwrap_or(0);
    let high = range.high.unwrap_or(u64::MAX).min(if of == Number::Season { SEASON_MAX } else { u64::MAX });
    let list = |low: u64, high: u64| {
        let values = (low..=high).filter_map(|value| u16::try_from(value).ok());
        let marks: Vec<String> = values.map(|value| quoted(&of_value(value), false)).collect();
        // A list of nothing is what nothing has.
        if marks.is_empty() { quoted(&of_value(u16::MAX), false) } else { marks.join(" | ") }
    };
    if low > high {
        return Some(list(1, 0));
    }
    if high - low < VALUES_MAX {
        return Some(list(low, high));
    }
    if of == Number::Year {
        return None;
    }
    let any = quoted(of_value(0).trim_end_matches('0'), true);
    Some(if low == 0 { any } else { format!("{any} & !({})", list(low.saturating_sub(VALUES_MAX), low - 1)) })
}

/// How values of a number are marked.
fn mark_of(of: Number) -> Option<fn(u16) -> String> {
    match of {
        Number::Year => Some(crate::kinds::year_mark),
        Number::Season => Some(crate::kinds::season_mark),
        Number::Episode => Some(crate::kinds::episode_mark),
        Number::Size | Number::Files | Number::Seeders | Number::Leechers => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::expansions::Expansion, *};
    use crate::query::parse;

    fn names(text: &str) -> Bound {
        of_names(&parse(text).expr.unwrap(), Stage::Names, false)
    }

    fn paths(text: &str) -> Bound {
        of_paths(&parse(text).expr.unwrap(), Stage::Paths, &expansions())
    }

    fn expansions() -> Expansions {
        let some = |hashes: &[i32], is_partial| Expansion { hashes: hashes.to_vec(), is_partial };
        Expansions::from([
            ("few", some(&[1, 2], false)),
            ("none", some(&[], false)),
            ("many", some(&[3], true)),
        ])
    }

    fn has(words: &[&str]) -> String {
        let mut hashes: Vec<i32> = words.iter().map(|word| word_hash(word)).collect();
        hashes.sort_unstable();
        format!("f.words @> {}", array(&hashes))
    }

    #[test]
    fn words_and_marks_are_one_query() {
        let bound = names("Foo \"bar baz\" -qux* type:video|audio");
        assert_eq!(
            bound.query.unwrap(),
            "(('foo')) & (('bar' <1> 'baz')) & !(('qux':*)) & ((':t1') | (':t2'))"
        );
        assert!(bound.anchored && bound.complete && bound.exact);
        assert!(!names("-foo").anchored);
        assert!(!names("foo OR -bar").anchored);
        assert_eq!(names("-(a OR -b)").query.unwrap(), "!(('a')) & (('b'))");
    }

    #[test]
    fn what_the_index_does_not_know_leaves_the_rest() {
        let bound = names("foo size:>1gb");
        assert_eq!(bound.query.unwrap(), "(('foo'))");
        assert!(bound.anchored && !bound.complete);
        assert_eq!(names("foo OR size:>1gb"), Bound::NOTHING);
        let bound = names("a (b OR size:>1gb) (c OR d)");
        assert_eq!(bound.query.unwrap(), "(('a')) & ((('c')) | (('d')))");
    }

    #[test]
    fn the_index_of_paths_knows_no_neighbours() {
        let bound = paths("a \"b c\"");
        assert_eq!(bound.query.unwrap(), format!("({}) and ({})", has(&["a"]), has(&["b", "c"])));
        assert!(bound.complete && !bound.exact);
        assert_eq!(paths("-\"b c\" -file:d").query, None, "what is excluded may stand apart or in the name");
        let bound = paths("-a b");
        assert_eq!(bound.query.unwrap(), format!("not ({}) and ({})", has(&["a"]), has(&["b"])));
        assert!(bound.exact);
        assert_eq!(paths("file:a type:video").query.unwrap(), format!("({})", has(&["a"])));
        let either = paths("a (b OR (c d))").query.unwrap();
        assert_eq!(
            either,
            format!("({}) and (({}) or ({}) and ({}))", has(&["a"]), has(&["b"]), has(&["c"]), has(&["d"]))
        );
    }

    #[test]
    fn beginnings_are_the_words_that_are_known_to_begin_so() {
        let bound = paths("few*");
        assert_eq!(bound.query.unwrap(), "(f.words && '{1,2}'::int4[])");
        assert!(bound.anchored && bound.exact);
        assert_eq!(paths("-few*").query.unwrap(), "not (f.words && '{1,2}'::int4[])");
        assert_eq!(paths("none*").query.unwrap(), "(f.words && '{}'::int4[])");
        assert_eq!(paths("many*").query.unwrap(), "(f.words && '{3}'::int4[])");
        assert_eq!(paths("-many*").query, None, "others may begin so that are not known");
        assert_eq!(paths("other*").query, None);
    }

    #[test]
    fn without_neighbours_more_is_found_and_never_less() {
        let apart = |text| of_names_apart(&parse(text).expr.unwrap(), Stage::Names, false);
        assert_eq!(apart("foo \"bar baz\"").query.unwrap(), "(('foo')) & (('bar' & 'baz'))");
        assert_eq!(apart("foo -\"bar baz\"").query.unwrap(), "(('foo'))");
        assert_eq!(apart("foo -bar"), names("foo -bar"));
    }

    #[test]
    fn numbers_of_the_work_are_marks() {
        assert_eq!(names("season:2 episode:5").query.unwrap(), "(':s02') & (':e05')");
        assert_eq!(names("year:1999..2001").query.unwrap(), "(':y1999' | ':y2000' | ':y2001')");
        assert_eq!(names("year:>1999").query, None);
        assert_eq!(names("season:>97").query.unwrap(), "(':s98' | ':s99')");
        assert_eq!(names("season:>99").query.unwrap(), "(':s65535')");
        assert_eq!(names("episode:>1").query.unwrap(), "(':e':* & !(':e00' | ':e01'))");
        assert_eq!(names("episode:>=0").query.unwrap(), "(':e':*)");
    }

    #[test]
    fn names_are_ranked_by_what_is_asked_for() {
        let query = |text| ranked(&parse(text).expr.unwrap());
        assert_eq!(query("a -b size:>1 (c OR type:video)").unwrap(), "((('a')) & ((('c'))))");
        assert_eq!(query("-a type:video"), None);
    }
}
