//! From tokens to conditions.

use super::{
    Expr, Field, Note, Term, Text,
    lexer::{Token, Value, tokens},
    text, traits, value,
};
use crate::db::HashQuery;

/// Words and conditions of a query that are used: more only cost.
pub const TERMS_MAX: usize = 32;

/// Bytes of a query that are read: the longest names of files have 255 characters.
pub const QUERY_BYTES_MAX: usize = 4_096;

/// How deep parentheses may stand in each other: nobody thinks deeper, and reading must not run out of stack.
pub const DEPTH_MAX: usize = 16;

/// Notes that are kept: the first ones tell enough.
const NOTES_MAX: usize = 8;

/// A query that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// What torrents have to be; `None`: everything matches.
    pub expr: Option<Expr>,
    /// The hash that was typed, when it is a whole one and nothing else was typed; its digits are words of `expr` too.
    pub hash: Option<HashQuery>,
    /// What was odd.
    pub notes: Vec<Note>,
}

/// Reads a query. Any text is one.
pub fn parse(text: &str) -> Query {
    let whole = text;
    let text = &text[..text.floor_char_boundary(QUERY_BYTES_MAX)];
    let mut parser =
        Parser { tokens: tokens(text).into_iter().peekable(), ignored: 0, terms: 0, notes: Vec::new() };
    if text.len() < whole.len() {
        parser.note(Note::Cut { bytes: text.len() });
    }
    let expr = parser.any(0);
    if expr.is_none() && !text.trim().is_empty() {
        parser.note(Note::NothingToFind);
    }
    Query { expr, hash: HashQuery::parse(whole).filter(|hash| hash.key().is_some()), notes: parser.notes }
}

struct Parser<'a> {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token<'a>>>,
    /// Parentheses that were too deep, and are open.
    ignored: usize,
    terms: usize,
    notes: Vec<Note>,
}

impl<'a> Parser<'a> {
    fn note(&mut self, note: Note) {
        if self.notes.len() < NOTES_MAX && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Alternatives up to the end or the parenthesis that ends them.
    fn any(&mut self, depth: usize) -> Option<Expr> {
        let mut alternatives = Vec::new();
        let mut parts: Vec<Expr> = Vec::new();
        let mut negated = false;
        loop {
            let Some(token) = self.tokens.next() else {
                if depth > 0 {
                    self.note(Note::OpenParenthesis);
                }
                break;
            };
            let part = match token {
                Token::Close if self.ignored > 0 => {
                    self.ignored -= 1;
                    continue;
                }
                Token::Close if depth > 0 => break,
                Token::Close => {
                    self.note(Note::StrayParenthesis);
                    continue;
                }
                Token::OpenQuote => {
                    self.note(Note::OpenQuote);
                    continue;
                }
                Token::Not => {
                    negated = !negated;
                    continue;
                }
                Token::Open if depth == DEPTH_MAX => {
                    self.note(Note::TooDeep { depth: DEPTH_MAX });
                    self.ignored += 1;
                    continue;
                }
                Token::Open => self.any(depth + 1),
                Token::Or if !negated && !parts.is_empty() && self.goes_on() => {
                    alternatives.extend(Expr::all(std::mem::take(&mut parts)));
                    continue;
                }
                Token::Or => {
                    self.note(Note::StrayOr);
                    // In lower case it is a word wherever it stands.
                    self.word("or")
                }
                Token::And if !negated && !parts.is_empty() && self.goes_on() => continue,
                Token::And => self.word("and"),
                Token::Word(word) => {
                    if let Some(name) = unknown_field(word) {
                        self.note(Note::UnknownField { text: name.to_owned() });
                    }
                    self.word(word)
                }
                Token::Phrase(words) => self.text(text::quoted(words), Term::Text),
                Token::Field(field, values) => self.field(field, &values),
            };
            parts.extend(part.map(|part| if negated { part.negated() } else { part }));
            negated = false;
        }
        alternatives.extend(Expr::all(parts));
        Expr::any(alternatives)
    }

    /// Whether something follows that can stand beside an operator.
    fn goes_on(&mut self) -> bool {
        matches!(
            self.tokens.peek(),
            Some(
                Token::Word(_)
                    | Token::Phrase(_)
                    | Token::Field(..)
                    | Token::Open
                    | Token::Not
                    | Token::OpenQuote
            )
        )
    }

    fn word(&mut self, word: &str) -> Option<Expr> {
        self.text(text::plain(word), Term::Text)
    }

    fn text(&mut self, text: Option<Text>, make: impl Fn(Text) -> Term) -> Option<Expr> {
        let text = text?;
        let tokens = text.clauses().iter().map(Vec::len).sum();
        self.term(make(text), tokens)
    }

    /// The term, unless there were too many before.
    fn term(&mut self, term: Term, cost: usize) -> Option<Expr> {
        if self.terms >= TERMS_MAX {
            self.note(Note::TooManyTerms { used: TERMS_MAX });
            return None;
        }
        self.terms += cost.max(1);
        Some(Expr::Term(term))
    }

    fn field(&mut self, field: Field, values: &[Value<'_>]) -> Option<Expr> {
        let read: Option<Vec<Term>> = values.iter().map(|value| self.value(field, *value)).collect();
        match read {
            Some(terms) if !terms.is_empty() => {
                let mut alternatives = Vec::with_capacity(terms.len());
                for term in terms {
                    let cost = match &term {
                        Term::File(text) => text.clauses().iter().map(Vec::len).sum(),
                        _ => 1,
                    };
                    alternatives.extend(self.term(term, cost));
                }
                Expr::any(alternatives)
            }
            _ => self.as_words(field, values),
        }
    }

    /// One value of a field; `None`: it has no such value, and a note says so.
    fn value(&mut self, field: Field, given: Value<'_>) -> Option<Term> {
        let term = match field {
            Field::File => {
                let text = if given.quoted { text::quoted(given.text) } else { text::plain(given.text) };
                text.map(Term::File)
            }
            Field::Hash => HashQuery::parse(given.text).map(|_| Term::Hash(given.text.to_ascii_lowercase())),
            Field::Trait(of) => traits::value(of, given.text).map(|value| Term::Trait(of, value)),
            Field::Number(of) => value::number(of, given.text).map(|read| {
                if read.turned {
                    self.note(Note::TurnedRange { field, value: given.text.to_owned() });
                }
                Term::Number(of, read.value)
            }),
            Field::Moment(of) => value::time(of, given.text).map(|read| {
                if read.turned {
                    self.note(Note::TurnedRange { field, value: given.text.to_owned() });
                }
                Term::Time(of, read.value)
            }),
        };
        if term.is_none() {
            self.note(Note::OddValue { field, value: given.text.to_owned() });
        }
        term
    }

    /// A field whose values are odd: all of it as words.
    fn as_words(&mut self, field: Field, values: &[Value<'_>]) -> Option<Expr> {
        let texts: Vec<&str> = values.iter().map(|value| value.text).collect();
        if texts.is_empty() {
            self.note(Note::OddValue { field, value: String::new() });
        }
        let text = if values.iter().any(|value| value.quoted) {
            text::quoted(&texts.join(" "))
        } else {
            text::plain(&format!("{}:{}", field.as_str(), texts.join("|")))
        };
        self.text(text, Term::Text)
    }
}

/// The name before a colon, when it looks as if a field was meant: `foo` of `foo:bar`, but nothing of `http://x` and `12:30`.
fn unknown_field(word: &str) -> Option<&str> {
    let (name, value) = word.split_once(':')?;
    let named = (2..=12).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphabetic());
    (named && value.starts_with(|first: char| first.is_alphanumeric() || "<>=\"".contains(first)))
        .then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::{Moment, Number, Trait};
    use proptest::prelude::*;

    fn printed(text: &str) -> String {
        parse(text).expr.map(|expr| expr.to_string()).unwrap_or_default()
    }

    fn notes(text: &str) -> Vec<Note> {
        parse(text).notes
    }

    fn word(text: &str) -> Expr {
        Expr::Term(Term::Text(Text::Word(text.to_owned())))
    }

    #[test]
    fn alternatives_bind_less_than_standing_side_by_side() {
        let expected = Expr::Any(vec![
            Expr::All(vec![word("a"), word("b")]),
            Expr::All(vec![Expr::Not(Box::new(word("c"))), word("d")]),
        ]);
        assert_eq!(parse("a b OR -c d").expr, Some(expected.clone()));
        assert_eq!(parse("(a AND b) OR ((-c) d)").expr, Some(expected));
        let expected = Expr::All(vec![word("a"), Expr::Any(vec![word("b"), word("c"), word("d")])]);
        assert_eq!(parse("a (b OR (c OR d))").expr, Some(expected));
    }

    #[test]
    fn everything_that_is_read_can_be_written() {
        for (typed, written) in [
            ("  Foo   bar*  \"x y \" ", "Foo bar* \"x y\""),
            ("-(a OR b) -(c d) -(-e)", "-(a OR b) -(c d) e"),
            ("TYPE:Video|audio x", "type:video|audio x"),
            ("-ext:.MKV|mp4", "-ext:mkv|mp4"),
            ("size:>1gb files:<10 seeders:5", "size:>=1000000001 files:<=9 seeders:5..5"),
            (
                "added:<7d seen:2024-05 added:>=2024",
                "added:<=604800s seen:2024-05-01..2024-05-31 added:>=2024-01-01",
            ),
            ("hash:ABCDEF", "hash:abcdef"),
            ("file:a*|\"b c\" file:\"d\"", "file:a*|\"b c\" file:\"d\""),
            ("year:1999|2003..2001", "year:1999..1999|2001..2003"),
        ] {
            assert_eq!(printed(typed), written, "{typed}");
            assert_eq!(printed(written), written);
        }
    }

    #[test]
    fn what_is_odd_is_taken_as_words_and_said() {
        let odd = |field, value: &str| Note::OddValue { field, value: value.to_owned() };
        for (typed, written, note) in [
            ("\"a b", "\"a b\"", Note::OpenQuote),
            ("(a b", "a b", Note::OpenParenthesis),
            ("a) b", "a b", Note::StrayParenthesis),
            ("a OR", "a or", Note::StrayOr),
            ("OR a", "or a", Note::StrayOr),
            ("(OR)", "or", Note::StrayOr),
            ("a -OR b", "a -or b", Note::StrayOr),
            ("foo:bar", "foo:bar", Note::UnknownField { text: "foo:bar".to_owned() }),
            ("size:big", "size:big", odd(Field::Number(Number::Size), "big")),
            ("size:", "size:", odd(Field::Number(Number::Size), "")),
            ("added:>", "added:>", odd(Field::Moment(Moment::Added), ">")),
            ("hash:xyz", "hash:xyz", odd(Field::Hash, "xyz")),
            ("type:video|\"x y\"", "\"video x y\"", odd(Field::Trait(Trait::Kind), "x y")),
            ("***", "", Note::NothingToFind),
            (
                "files:9..3",
                "files:3..9",
                Note::TurnedRange { field: Field::Number(Number::Files), value: "9..3".to_owned() },
            ),
        ] {
            assert_eq!(printed(typed), written, "{typed}");
            assert_eq!(notes(typed), [note], "{typed}");
        }
        for fine in ["", "a", "http://x 12:30 a:b", "Movie (2019) [1080p] - x & y", "AND x", "a AND b"] {
            assert_eq!(notes(fine), [], "{fine}");
        }
    }

    #[test]
    fn what_is_too_much_is_left_out_and_said() {
        let long = "word ".repeat(100_000);
        assert_eq!(printed(&long), ["word"; TERMS_MAX].join(" "));
        assert_eq!(
            notes(&long),
            [Note::Cut { bytes: QUERY_BYTES_MAX }, Note::TooManyTerms { used: TERMS_MAX }]
        );
        let deep = format!("{}a{} b", "(x ".repeat(20), ")".repeat(20));
        assert!(notes(&deep).contains(&Note::TooDeep { depth: DEPTH_MAX }));
        assert_eq!(printed(&deep), format!("{}a b", "x ".repeat(20)));
        assert!(parse(&"(".repeat(1 << 20)).expr.is_none());
        assert!(parse(&"-(".repeat(1 << 20)).expr.is_none());
        let all_fields = format!("type:{}", "video|".repeat(500));
        let mut terms = 0;
        parse(&all_fields).expr.unwrap().for_each_term(&mut |_, _| terms += 1);
        assert_eq!(terms, TERMS_MAX);
    }

    #[test]
    fn a_whole_hash_is_a_hash_and_a_word() {
        let text = "0123456789abcdef0123456789abcdef01234567";
        let query = parse(&format!(" {text} "));
        assert_eq!(query.hash.and_then(|hash| hash.key()), text.parse().ok());
        assert_eq!(query.expr, Some(word(text)));
        assert_eq!(parse("cafe").hash, None, "the beginning of a hash is a word");
    }

    /// Pieces that queries are made of, odd ones too.
    fn piece() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => "[a-d]{1,3}",
            1 => "[a-d]{1,2}[*]",
            2 => Just(" ".to_owned()),
            2 => prop::sample::select(vec!["OR", "AND", "(", ")", "-", "-(", "\"", "\"a b\"", "|", ":", "or"])
                .prop_map(str::to_owned),
            2 => (prop::sample::select(Field::ALL.to_vec()),
                prop::sample::select(vec![
                    "video", "mkv", "1080p", "x265", "en", ">1gb", "1..4", "4..1", "<7d", "2024-05", ">2000", "5", "abcd12",
                    "\"x y\"", "a|b", "video|audio", "", "|", "<0", "1d..2y", "bluray",
                ]))
                .prop_map(|(field, value)| format!("{}:{value}", field.as_str())),
            1 => any::<String>(),
            1 => "\\PC{1,5}",
        ]
    }

    proptest! {
        #[test]
        fn whatever_was_read_is_read_the_same_when_it_is_written(
            pieces in prop::collection::vec((piece(), any::<bool>()), 0..40)
        ) {
            let text: String =
                pieces.into_iter().map(|(piece, space)| piece + if space { " " } else { "" }).collect();
            let query = parse(&text);
            if let Some(expr) = query.expr {
                let written = expr.to_string();
                prop_assume!(written.len() <= QUERY_BYTES_MAX);
                prop_assert_eq!(parse(&written).expr, Some(expr), "{}", written);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..6000)) {
            parse(&String::from_utf8_lossy(&bytes));
        }
    }
}
