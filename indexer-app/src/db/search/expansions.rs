//! Words of paths that begin with what was typed.

use std::collections::{BTreeMap, BTreeSet};

use tea_runtime::SessionError;

use super::{Clock, statement};
use crate::{
    db::path_words::words_in,
    query::{Expr, Term},
    word_hash::word_hash,
    word_list::PART_WORDS,
};

/// Words that one beginning may stand for. Each of them is compared with all words of a torrent that is looked at.
const WORDS_MAX: usize = 256;

/// Beginnings of one query that are looked up: those of a longer one stand for no word of a path.
const PREFIXES_MAX: usize = 16;

/// Behind all words that begin alike: the greatest character.
const GREATEST: char = char::MAX;

/// Of each list the part that a beginning may stand in, and some after it.
const LOOK_UP: &str = "
select g.place, r.since is not null as is_read, b.first, b.words
from unnest($1::text[], $2::text[]) with ordinality as g (low, high, place)
left join path_words_read r on true left join path_word_lists l on true
left join lateral (
    (select first, words from path_words where list = l.list and first <= g.low order by first desc limit 1)
    union all (select first, words from path_words where list = l.list and first > g.low and first < g.high
        order by first limit $3)
) b on true";

/// What beginnings stand for.
#[derive(Clone, Debug, Default)]
pub(super) struct Expansions {
    of: BTreeMap<String, Expansion>,
}

/// The words that begin alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Expansion {
    /// Their numbers.
    pub(super) hashes: Vec<i32>,
    /// There may be others.
    pub(super) is_partial: bool,
}

#[cfg(test)]
impl<const N: usize> From<[(&str, Expansion); N]> for Expansions {
    fn from(of: [(&str, Expansion); N]) -> Self {
        Self { of: of.into_iter().map(|(prefix, expansion)| (prefix.to_owned(), expansion)).collect() }
    }
}

impl Expansions {
    /// Looks up the beginnings that are asked for in paths.
    pub(super) async fn of(expr: Option<&Expr>, clock: &Clock<'_>) -> Result<Self, SessionError> {
        let mut prefixes = expr.map(prefixes).unwrap_or_default();
        let mut expansions = Self::default();
        for beyond in prefixes.split_off(prefixes.len().min(PREFIXES_MAX)) {
            expansions.of.insert(beyond, Expansion { hashes: Vec::new(), is_partial: true });
        }
        if prefixes.is_empty() {
            return Ok(expansions);
        }
        let bounds: Vec<String> = prefixes.iter().map(|prefix| format!("{prefix}{GREATEST}")).collect();
        let parts = (WORDS_MAX / PART_WORDS + 1) as i64;
        let mut words: Vec<BTreeSet<String>> = vec![BTreeSet::new(); prefixes.len()];
        let mut is_read = false;
        for row in &clock.rows_of_prepared(LOOK_UP, &[&prefixes, &bounds, &parts]).await? {
            is_read = statement::column::<Option<bool>>(row, "is_read")?.unwrap_or(false);
            let place = usize::try_from(statement::column::<i64>(row, "place")?).unwrap_or(0);
            let (Some(first), Some(rest)) =
                (statement::column(row, "first")?, statement::column(row, "words")?)
            else {
                continue;
            };
            if let Some((prefix, words)) = prefixes.get(place - 1).zip(words.get_mut(place - 1)) {
                words.extend(words_in(first, rest)?.into_iter().filter(|word| word.starts_with(prefix)));
            }
        }
        for (prefix, words) in prefixes.into_iter().zip(words) {
            let mut words: Vec<String> = words.into_iter().collect();
            let is_partial = !is_read || words.len() > WORDS_MAX;
            // What was typed is more likely to be most of the word than a small part of it.
            words.sort_by_key(String::len);
            words.truncate(WORDS_MAX);
            let mut hashes: Vec<i32> = words.iter().map(|word| word_hash(word)).collect();
            hashes.sort_unstable();
            expansions.of.insert(prefix, Expansion { hashes, is_partial });
        }
        Ok(expansions)
    }

    /// What a beginning stands for.
    pub(super) fn get(&self, prefix: &str) -> Option<&Expansion> {
        self.of.get(prefix)
    }

    /// Whether there may be other words than these for some of them.
    pub(super) fn are_partial(&self) -> bool {
        self.of.values().any(|expansion| expansion.is_partial)
    }
}

/// Beginnings of words that paths are searched for, each once.
fn prefixes(expr: &Expr) -> Vec<String> {
    let mut prefixes: Vec<String> = Vec::new();
    expr.for_each_term(&mut |term, _| {
        if let Term::Text(text) | Term::File(text) = term {
            for lexeme in text.clauses().into_iter().flatten() {
                if lexeme.prefix && !prefixes.contains(&lexeme.text) {
                    prefixes.push(lexeme.text);
                }
            }
        }
    });
    prefixes
}
