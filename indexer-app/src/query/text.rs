//! Words of a query as tokens of the index.

use super::Text;
use crate::tokeniser::{Kind, tokenise};

/// Tokens of one text that are used; what is longer is found by its beginning.
const TOKENS_MAX: usize = 32;

/// Greatest distance of words in a phrase that PostgreSQL can express (`MAXENTRYPOS`).
const DISTANCE_MAX: u32 = 16_384;

/// A token that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lexeme {
    /// Its text.
    pub text: String,
    /// Distance from the one before in its clause; 0 for the first.
    pub distance: u32,
    /// Whether it is enough that a token begins so.
    pub prefix: bool,
}

impl Lexeme {
    /// Whether the same tokens are it, wherever it stands.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.text == other.text && self.prefix == other.prefix
    }

    /// Whether a token is it.
    pub fn is(&self, token: &str) -> bool {
        if self.prefix { token.starts_with(&self.text) } else { token == self.text }
    }
}

/// Tokens that stand at these distances from each other; never empty.
pub type Clause = Vec<Lexeme>;

/// A text between quotes; `None` when there is nothing to look for in it.
pub(super) fn quoted(words: &str) -> Option<Text> {
    Some(Text::Phrase(words.trim().to_owned())).filter(|text| !text.clauses().is_empty())
}

/// A text without quotes; `None` when there is nothing to look for in it.
pub(super) fn plain(word: &str) -> Option<Text> {
    let bare = word.strip_suffix('*').filter(|bare| bare.ends_with(char::is_alphanumeric));
    let text = match bare {
        Some(bare) => Text::Prefix(bare.to_owned()),
        None => Text::Word(word.to_owned()),
    };
    Some(text).filter(|text| !text.clauses().is_empty())
}

impl Text {
    /// What must all be there.
    pub fn clauses(&self) -> Vec<Clause> {
        match self {
            Self::Word(word) => words(word, false),
            Self::Prefix(word) => words(word, true),
            Self::Phrase(text) => phrase(text),
        }
    }
}

/// A word may be several tokens: each of them must be there, but those of a script without spaces as neighbours.
fn words(text: &str, prefix: bool) -> Vec<Clause> {
    let mut clauses: Vec<Clause> = Vec::new();
    let mut last: Option<(Kind, u32)> = None;
    let mut tokens = 0;
    let lexeme = |text: &str, distance, prefix| Lexeme { text: text.to_owned(), distance, prefix };
    tokenise(text, 0, |token| {
        tokens += 1;
        if tokens > TOKENS_MAX {
            return;
        }
        let neighbour =
            last.is_some_and(|(kind, position)| kind == Kind::Pair && position + 1 == token.position);
        match token.kind {
            Kind::Pair if neighbour => {
                if let Some(clause) = clauses.last_mut() {
                    clause.push(lexeme(token.text, 1, false));
                }
            }
            Kind::Word | Kind::Pair => clauses.push(vec![lexeme(token.text, 0, false)]),
            Kind::Single => clauses.push(vec![lexeme(token.text, 0, true)]),
            // s02e05 is asked for as s02 and e05, which s02e05 gives as well: so either way of writing it is found.
            Kind::Part => {
                if last.is_some_and(|(kind, _)| kind == Kind::Word) {
                    clauses.pop();
                }
                clauses.push(vec![lexeme(token.text, 0, false)]);
            }
            Kind::Last => {}
        }
        last = Some((token.kind, token.position));
    });
    if let (true, Some(clause), Some((Kind::Word | Kind::Part, _))) = (prefix, clauses.last_mut(), last)
        && let Some(word) = clause.last_mut()
    {
        word.prefix = true;
    }
    clauses
}

/// At most one clause: the tokens at the distances that they have in the text.
fn phrase(text: &str) -> Vec<Clause> {
    let mut clause = Clause::new();
    let mut before = 0;
    tokenise(text, 0, |token| {
        if !matches!(token.kind, Kind::Part | Kind::Last) && clause.len() < TOKENS_MAX {
            let distance = if clause.is_empty() { 0 } else { (token.position - before).min(DISTANCE_MAX) };
            before = token.position;
            clause.push(Lexeme { text: token.text.to_owned(), distance, prefix: token.kind == Kind::Single });
        }
    });
    if clause.is_empty() { Vec::new() } else { vec![clause] }
}

/// The tokens of a text with their positions.
pub(crate) fn placed(text: &str) -> Vec<(u32, String)> {
    let mut tokens = Vec::new();
    tokenise(text, 0, |token| tokens.push((token.position, token.text.to_owned())));
    tokens
}

/// Whether the clause stands in a text, whose tokens are given in their order.
pub(crate) fn holds(clause: &Clause, tokens: &[(u32, String)]) -> bool {
    tokens.iter().any(|(start, _)| {
        let mut position = *start;
        clause.iter().all(|lexeme| {
            position = position.saturating_add(lexeme.distance);
            let at = tokens.partition_point(|(other, _)| *other < position);
            tokens[at..].iter().take_while(|(other, _)| *other == position).any(|(_, token)| lexeme.is(token))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Clauses as a `tsquery` would have them.
    fn written(text: Option<Text>) -> String {
        let clauses = text.map(|text| text.clauses()).unwrap_or_default();
        let clause = |clause: &Clause| {
            let lexemes = clause.iter().enumerate().map(|(index, lexeme)| {
                let before = if index > 0 { format!("<{}>", lexeme.distance) } else { String::new() };
                format!("{before}{}{}", lexeme.text, if lexeme.prefix { "*" } else { "" })
            });
            lexemes.collect::<String>()
        };
        clauses.iter().map(clause).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_word_is_what_the_tokeniser_makes_of_it() {
        assert_eq!(written(plain("Spider-Man")), "spider man");
        assert_eq!(written(plain("s02e05")), "s02 e05");
        assert_eq!(written(plain("s02e05*")), "s02 e05*");
        assert_eq!(written(plain("ubun*")), "ubun*");
        assert_eq!(written(quoted("show  s02e05 ")), "show<1>s02e05");
        assert_eq!(plain("☃*"), None);
        assert_eq!(quoted(" - "), None);
    }

    #[test]
    fn scripts_without_spaces_are_asked_for_as_neighbours() {
        assert_eq!(written(plain("進撃の")), "進撃<1>撃の");
        assert_eq!(written(plain("本")), "本*");
        assert_eq!(written(plain("第3話")), "第* 3 話*");
        assert_eq!(written(quoted("日本 x")), "日本<2>x", "the last character has a place of its own");
    }

    #[test]
    fn a_long_text_has_a_bounded_number_of_tokens() {
        assert_eq!(plain(&"a-".repeat(1_000)).unwrap().clauses().len(), TOKENS_MAX);
        assert_eq!(quoted(&"a ".repeat(1_000)).unwrap().clauses()[0].len(), TOKENS_MAX);
    }

    #[test]
    fn neighbours_are_found_in_a_text() {
        let is_in = |words: &str, text: &str| holds(&quoted(words).unwrap().clauses()[0], &placed(text));
        assert!(is_in("red hat", "a/Red.Hat/b"));
        assert!(!is_in("red hat", "red x hat"));
        assert!(is_in("撃の巨人", "進撃の巨人 01"));
        assert!(!is_in("撃の巨人", "撃の 巨人"));
    }

    proptest! {
        #[test]
        fn a_phrase_of_a_text_is_in_the_text(text in "[a-z日本語の0-9 ]{1,30}") {
            if let Some(phrase) = quoted(&text) {
                prop_assert!(phrase.clauses().iter().all(|clause| holds(clause, &placed(&text))));
            }
        }
    }
}
