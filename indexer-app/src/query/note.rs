//! What was odd in a query, and what was made of it.

use std::fmt;

use super::Field;

/// Something that was not taken as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// It is longer than what is read.
    Cut {
        /// Bytes that were read.
        bytes: usize,
    },
    /// It has more words and conditions than are used.
    TooManyTerms {
        /// How many are used.
        used: usize,
    },
    /// Parentheses stand deeper in each other than is understood: inner ones were ignored.
    TooDeep {
        /// How deep is understood.
        depth: usize,
    },
    /// It was no text; what was none was replaced.
    NotUtf8,
    /// A quote that is never closed: it was taken to reach to the end.
    OpenQuote,
    /// A parenthesis that is never closed: it was taken to reach to the end.
    OpenParenthesis,
    /// A parenthesis that was never opened: it was ignored.
    StrayParenthesis,
    /// `OR` with nothing on one side: it was taken as a word.
    StrayOr,
    /// No field has this name: the text was taken as words.
    UnknownField {
        /// As it was typed.
        text: String,
    },
    /// A field has no such value: the text was taken as words.
    OddValue {
        /// The field.
        field: Field,
        /// The value as it was typed.
        value: String,
    },
    /// A range begins after its end: it was turned round.
    TurnedRange {
        /// The field.
        field: Field,
        /// The value as it was typed.
        value: String,
    },
    /// There is no letter or digit in it, nor any other condition: everything matches.
    NothingToFind,
}

/// Characters of what was typed that are repeated.
const SHOWN_MAX: usize = 60;

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { bytes } => write!(f, "only the first {bytes} bytes of the query were read"),
            Self::TooManyTerms { used } => {
                write!(f, "only the first {used} words of the query were used")
            }
            Self::TooDeep { depth } => {
                write!(f, "parentheses more than {depth} deep in each other were ignored")
            }
            Self::NotUtf8 => {
                f.write_str("the query is no UTF-8; what could not be read was taken as a space")
            }
            Self::OpenQuote => f.write_str("a quote is never closed; it was taken to reach to the end"),
            Self::OpenParenthesis => {
                f.write_str("a parenthesis is never closed; it was taken to reach to the end")
            }
            Self::StrayParenthesis => f.write_str("a parenthesis was never opened; it was ignored"),
            Self::StrayOr => f.write_str("OR stands between two things; here it was taken as a word"),
            Self::UnknownField { text } => {
                write!(f, "{:?} names no field; it was taken as words", shown(text))
            }
            Self::OddValue { field, value } => write!(
                f,
                "{:?} is nothing that {}: can be, as in {}; it was taken as words",
                shown(value),
                field.as_str(),
                example(*field)
            ),
            Self::TurnedRange { field, value } => {
                write!(f, "{}:{} ends before it begins; it was turned round", field.as_str(), shown(value))
            }
            Self::NothingToFind => {
                f.write_str("there is no letter, digit or condition in the query; everything is listed")
            }
        }
    }
}

fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

fn example(field: Field) -> &'static str {
    use super::{Moment, Number, Trait};
    match field {
        Field::File => "file:readme",
        Field::Hash => "hash:0123ab",
        Field::Trait(Trait::Kind) => "type:video (or audio, book, software, game, image, archive, other)",
        Field::Trait(Trait::Extension) => "ext:mkv",
        Field::Trait(Trait::Language) => "lang:en",
        Field::Trait(Trait::Resolution) => "res:1080p",
        Field::Trait(Trait::Codec) => "codec:x265",
        Field::Trait(Trait::Source) => "source:bluray",
        Field::Trait(Trait::Group) => "group:name",
        Field::Number(Number::Size) => "size:>1gb or size:1gb..4gb",
        Field::Number(Number::Files) => "files:<10",
        Field::Number(Number::Seeders) => "seeders:>5",
        Field::Number(Number::Leechers) => "leechers:>5",
        Field::Number(Number::Year) => "year:1999 or year:>2000",
        Field::Number(Number::Season) => "season:2",
        Field::Number(Number::Episode) => "episode:5",
        Field::Moment(Moment::Added) => "added:<7d or added:2024-05",
        Field::Moment(Moment::Seen) => "seen:<1d",
    }
}
