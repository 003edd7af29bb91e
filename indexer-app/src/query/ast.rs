//! What a query is, once it is read; and how it is written.

use std::fmt;

/// A condition on torrents. `All` and `Any` have at least two parts, none of which is one of their own kind; `Not` holds no `Not`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// Every part holds.
    All(Vec<Expr>),
    /// At least one part holds.
    Any(Vec<Expr>),
    /// It does not hold.
    Not(Box<Expr>),
    /// A single condition.
    Term(Term),
}

/// A single condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Term {
    /// Words in the name; or in name and paths together.
    Text(Text),
    /// Words in a path of a file.
    File(Text),
    /// What the torrent is.
    Trait(Trait, String),
    /// A number of it is in a range.
    Number(Number, Range),
    /// Something happened then.
    Time(Moment, Span),
    /// Its info-hash begins with these digits: 4 to 40, or the 64 of a v2 hash; lower case.
    Hash(String),
}

/// Words. None is without a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// Without spaces; where it gives several tokens they must all be there.
    Word(String),
    /// The same, of which the last token may go on.
    Prefix(String),
    /// Tokens next to each other.
    Phrase(String),
}

/// What a torrent is, by its [marks](crate::kinds).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trait {
    /// Type: video, audio…
    Kind,
    /// Extension of files that hold most bytes.
    Extension,
    /// Language, ISO 639-1.
    Language,
    /// Resolution.
    Resolution,
    /// Codec.
    Codec,
    /// Where it was taken from.
    Source,
    /// Who released it.
    Group,
}

/// Numbers of a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Number {
    /// Bytes in all files.
    Size,
    /// Files.
    Files,
    /// Seeders, as last told.
    Seeders,
    /// Leechers, as last told.
    Leechers,
    /// The work's year.
    Year,
    /// Of a series.
    Season,
    /// Of a series.
    Episode,
}

/// When something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// The torrent was stored.
    Added,
    /// It was last seen in the network.
    Seen,
}

/// From one number to another, both included; at least one of them is there, and the first is not greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The least.
    pub low: Option<u64>,
    /// The greatest.
    pub high: Option<u64>,
}

/// A span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// Seconds ago.
    Age(Range),
    /// Days by UTC.
    Days(Days),
}

/// From one day to another, both included, counted from 1970-01-01; at least one of them is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days {
    /// The first.
    pub first: Option<u32>,
    /// The last.
    pub last: Option<u32>,
}

/// The word before a colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// `file:`
    File,
    /// `hash:`
    Hash,
    /// `type:`, `ext:` and so on.
    Trait(Trait),
    /// `size:` and so on.
    Number(Number),
    /// `added:`, `seen:`
    Moment(Moment),
}

impl Field {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 18] = [
        Self::File,
        Self::Trait(Trait::Kind),
        Self::Trait(Trait::Extension),
        Self::Trait(Trait::Language),
        Self::Trait(Trait::Resolution),
        Self::Trait(Trait::Codec),
        Self::Trait(Trait::Source),
        Self::Trait(Trait::Group),
        Self::Number(Number::Season),
        Self::Number(Number::Episode),
        Self::Number(Number::Year),
        Self::Number(Number::Size),
        Self::Number(Number::Files),
        Self::Number(Number::Seeders),
        Self::Number(Number::Leechers),
        Self::Moment(Moment::Added),
        Self::Moment(Moment::Seen),
        Self::Hash,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Hash => "hash",
            Self::Trait(of) => match of {
                Trait::Kind => "type",
                Trait::Extension => "ext",
                Trait::Language => "lang",
                Trait::Resolution => "res",
                Trait::Codec => "codec",
                Trait::Source => "source",
                Trait::Group => "group",
            },
            Self::Number(of) => match of {
                Number::Size => "size",
                Number::Files => "files",
                Number::Seeders => "seeders",
                Number::Leechers => "leechers",
                Number::Year => "year",
                Number::Season => "season",
                Number::Episode => "episode",
            },
            Self::Moment(Moment::Added) => "added",
            Self::Moment(Moment::Seen) => "seen",
        }
    }

    /// The field of this name, in any case.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.as_str().eq_ignore_ascii_case(name))
    }
}

impl Expr {
    /// All of the parts; `None` when there is none.
    pub fn all(parts: Vec<Self>) -> Option<Self> {
        join(parts, |part| if let Self::All(inner) = part { Ok(inner) } else { Err(part) }, Self::All)
    }

    /// One of the parts; `None` when there is none.
    pub fn any(parts: Vec<Self>) -> Option<Self> {
        join(parts, |part| if let Self::Any(inner) = part { Ok(inner) } else { Err(part) }, Self::Any)
    }

    /// The opposite.
    pub fn negated(self) -> Self {
        match self {
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    /// Calls `each` with every term, in order, and whether it stands under an odd number of `Not`.
    pub fn for_each_term<'a>(&'a self, each: &mut impl FnMut(&'a Term, bool)) {
        self.visit(false, each);
    }

    fn visit<'a>(&'a self, negated: bool, each: &mut impl FnMut(&'a Term, bool)) {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.visit(negated, each)),
            Self::Not(inner) => inner.visit(!negated, each),
            Self::Term(term) => each(term, negated),
        }
    }
}

/// Takes parts of the same kind apart, and leaves a single one alone.
fn join(
    parts: Vec<Expr>,
    open: impl Fn(Expr) -> Result<Vec<Expr>, Expr>,
    make: impl Fn(Vec<Expr>) -> Expr,
) -> Option<Expr> {
    let mut flat = Vec::with_capacity(parts.len());
    for part in parts {
        match open(part) {
            Ok(inner) => flat.extend(inner),
            Err(part) => flat.push(part),
        }
    }
    if flat.len() > 1 { Some(make(flat)) } else { flat.pop() }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(parts) => {
                for (index, part) in parts.iter().enumerate() {
                    if index > 0 {
                        f.write_str(" ")?;
                    }
                    if matches!(part, Self::Any(_)) && part.as_list().is_none() {
                        write!(f, "({part})")?;
                    } else {
                        write!(f, "{part}")?;
                    }
                }
                Ok(())
            }
            Self::Any(parts) => {
                if let Some(list) = self.as_list() {
                    return f.write_str(&list);
                }
                for (index, part) in parts.iter().enumerate() {
                    if index > 0 {
                        f.write_str(" OR ")?;
                    }
                    write!(f, "{part}")?;
                }
                Ok(())
            }
            Self::Not(inner) if matches!(**inner, Self::Term(_)) || inner.as_list().is_some() => {
                write!(f, "-{inner}")
            }
            Self::Not(inner) => write!(f, "-({inner})"),
            Self::Term(term) => write!(f, "{term}"),
        }
    }
}

impl Expr {
    /// Alternatives of one field as values between bars.
    fn as_list(&self) -> Option<String> {
        let Self::Any(parts) = self else { return None };
        let terms: Option<Vec<&Term>> =
            parts.iter().map(|part| if let Self::Term(term) = part { Some(term) } else { None }).collect();
        let terms = terms?;
        let field = terms.first()?.field()?;
        let values: Vec<String> = terms.iter().map(|term| term.value()).collect();
        let same = terms.iter().all(|term| term.field() == Some(field));
        same.then(|| format!("{}:{}", field.as_str(), values.join("|")))
    }
}

impl Term {
    /// The field that it is written with; `None`: with none.
    fn field(&self) -> Option<Field> {
        match self {
            Self::Text(_) => None,
            Self::File(_) => Some(Field::File),
            Self::Trait(of, _) => Some(Field::Trait(*of)),
            Self::Number(of, _) => Some(Field::Number(*of)),
            Self::Time(of, _) => Some(Field::Moment(*of)),
            Self::Hash(_) => Some(Field::Hash),
        }
    }

    /// What stands behind the field's name.
    fn value(&self) -> String {
        match self {
            Self::Text(text) | Self::File(text) => text.to_string(),
            Self::Trait(_, value) | Self::Hash(value) => value.clone(),
            // Without a sign a size or an age would stand for something else.
            Self::Number(_, Range { low, high }) => between(low.as_ref(), high.as_ref()),
            Self::Time(_, Span::Age(Range { low, high })) => {
                let seconds = |age: u64| format!("{age}s");
                between(low.map(seconds).as_ref(), high.map(seconds).as_ref())
            }
            Self::Time(_, Span::Days(Days { first, last })) => {
                between(first.map(day).as_ref(), last.map(day).as_ref())
            }
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(field) = self.field() {
            write!(f, "{}:", field.as_str())?;
        }
        f.write_str(&self.value())
    }
}

fn between(low: Option<&impl fmt::Display>, high: Option<&impl fmt::Display>) -> String {
    match (low, high) {
        (Some(low), Some(high)) => format!("{low}..{high}"),
        (Some(low), None) => format!(">={low}"),
        (None, Some(high)) => format!("<={high}"),
        (None, None) => String::new(),
    }
}

/// A day as it is written.
fn day(day: u32) -> String {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(u64::from(day) * 86_400);
    humantime::format_rfc3339_seconds(at).to_string().chars().take(10).collect()
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => f.write_str(word),
            Self::Prefix(word) => write!(f, "{word}*"),
            Self::Phrase(words) => write!(f, "\"{words}\""),
        }
    }
}
