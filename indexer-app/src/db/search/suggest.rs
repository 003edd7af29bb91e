//! What may have been meant when nothing matches.

use std::collections::BTreeMap;

use tea_runtime::SessionError;

use super::{Conditions, Order, Searching, lexemes::ranked, parameters::Parameters, statement};
use crate::{
    query::{Expr, Term, Text},
    search::{Sort, Stage},
    vocabulary::{distance, is_word, pairs},
};

/// Words of a query that are looked at.
const WORDS_MAX: usize = 4;

/// Words of the vocabulary that are compared with one of the query.
const COMPARED_MAX: usize = 5_000;

/// Words that are tried in the place of one.
const CANDIDATES_MAX: usize = 3;

/// Queries that are tried.
const TRIES_MAX: usize = 6;

/// A word that the index knows is only taken for a mistake when another one is so many times as frequent.
const MORE_FREQUENT: i64 = 4;

/// A word of the query, and what it may stand for, the likeliest first.
struct Doubtful {
    word: String,
    candidates: Vec<String>,
    /// Names have it.
    is_known: bool,
}

impl Searching<'_> {
    /// A query that differs in one or a few letters, and that something matches.
    pub(super) async fn did_you_mean(&self) -> Result<Option<String>, SessionError> {
        let Some(expr) = self.expr else { return Ok(None) };
        let mut doubtful = Vec::new();
        for word in words(expr) {
            let doubt = self.doubt(word).await?;
            if !doubt.candidates.is_empty() {
                doubtful.push(doubt);
            }
        }
        for tried in tries(expr, &doubtful) {
            if self.has_hits(&tried).await? {
                return Ok(Some(tried.to_string()));
            }
        }
        Ok(None)
    }

    async fn doubt(&self, word: String) -> Result<Doubtful, SessionError> {
        let p = &mut Parameters::default();
        let shared: Vec<String> = pairs(&word)
            .into_iter()
            .map(|[first, second]| format!("grams @> array[{}, {}]", p.text(&first), p.text(&second)))
            .collect();
        let sql = format!(
            "(select lexeme, rows from vocabulary where lexeme = {word})
             union all (select lexeme, rows from vocabulary where {shared} limit {COMPARED_MAX})",
            word = p.text(&word),
            shared = shared.join(" or "),
        );
        let mut known = 0;
        let mut found: BTreeMap<String, (usize, i64)> = BTreeMap::new();
        let most = if word.chars().count() <= 5 { 1 } else { 2 };
        for row in self.clock.rows(&sql, p).await? {
            let (lexeme, rows): (String, i64) =
                (statement::column(&row, "lexeme")?, statement::column(&row, "rows")?);
            match distance(&word, &lexeme, most) {
                Some(0) => known = rows,
                Some(apart) => drop(found.insert(lexeme, (apart, rows))),
                None => {}
            }
        }
        let mut candidates: Vec<(String, (usize, i64))> =
            found.into_iter().filter(|(_, (_, rows))| *rows >= known.saturating_mul(MORE_FREQUENT)).collect();
        candidates.sort_by_key(|(_, (apart, rows))| (*apart, std::cmp::Reverse(*rows)));
        candidates.truncate(CANDIDATES_MAX);
        Ok(Doubtful {
            word,
            candidates: candidates.into_iter().map(|(lexeme, _)| lexeme).collect(),
            is_known: known > 0,
        })
    }

    async fn has_hits(&self, expr: &Expr) -> Result<bool, SessionError> {
        let other = Searching {
            clock: self.clock,
            known: self.known,
            expr: Some(expr),
            hash: None,
            order: Order::of(Sort::Newest, true),
            ranked: ranked(expr),
            limit: 1,
            as_of: self.as_of,
            // What is tried has other words, and the same beginnings.
            names: Conditions::of(Some(expr), Stage::Names, self.as_of, self.names.expansions),
            paths: Conditions::of(Some(expr), Stage::Paths, self.as_of, self.paths.expansions),
        };
        Ok(!other.page(None).await?.0.hits.is_empty())
    }
}

/// Words that are asked for by themselves, each once.
fn words(expr: &Expr) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    expr.for_each_term(&mut |term, negated| {
        if let (Some(word), false) = (single(term), negated)
            && words.len() < WORDS_MAX
            && is_word(&word)
            && !words.contains(&word)
        {
            words.push(word);
        }
    });
    words
}

/// The only token of a word.
fn single(term: &Term) -> Option<String> {
    let Term::Text(text @ Text::Word(_)) = term else { return None };
    match text.clauses().as_slice() {
        [clause] => match clause.as_slice() {
            [lexeme] if !lexeme.prefix => Some(lexeme.text.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// All words that nobody has with the likeliest in their places; then each word by itself.
fn tries(expr: &Expr, doubtful: &[Doubtful]) -> Vec<Expr> {
    let mut tries: Vec<Expr> = Vec::new();
    let unknown: Vec<(&str, &str)> = doubtful
        .iter()
        .filter(|doubt| !doubt.is_known)
        .filter_map(|doubt| Some((doubt.word.as_str(), doubt.candidates.first()?.as_str())))
        .collect();
    if unknown.len() > 1 {
        tries.push(replaced(expr, &unknown));
    }
    for place in 0..CANDIDATES_MAX {
        for doubt in doubtful {
            if let Some(candidate) = doubt.candidates.get(place) {
                tries.push(replaced(expr, &[(&doubt.word, candidate)]));
            }
        }
    }
    tries.truncate(TRIES_MAX);
    tries
}

fn replaced(expr: &Expr, words: &[(&str, &str)]) -> Expr {
    let parts = |parts: &[Expr]| parts.iter().map(|part| replaced(part, words)).collect();
    match expr {
        Expr::All(inner) => Expr::All(parts(inner)),
        Expr::Any(inner) => Expr::Any(parts(inner)),
        Expr::Not(inner) => Expr::Not(Box::new(replaced(inner, words))),
        Expr::Term(term) => {
            let other = single(term)
                .and_then(|word| words.iter().find(|(from, _)| *from == word))
                .map(|(_, to)| Term::Text(Text::Word((*to).to_owned())));
            Expr::Term(other.unwrap_or_else(|| term.clone()))
        }
    }
}
