//! Searching: from what somebody types to what the database is asked, and what comes back.
//!
//! | typed       | means                                                     |
//! |-------------|-----------------------------------------------------------|
//! | `a b`       | both words, anywhere                                      |
//! | `"a b"`     | these words, next to each other and in this order          |
//! | `a*`        | words that begin with `a`                                 |
//! | `-a` `-"a b"` | not this                                                |
//! | 40 or 64 hexadecimal digits | the torrent of this hash                  |
//!
//! Words come from the [tokeniser](crate::tokeniser) that made the index. No text is an error: what is no operator is words, and
//! what has no words is nothing. Names are searched first; what only the paths of files match comes after.
//!
//! Work is bounded whatever is asked: few hits are fetched by the index of words and sorted; many are found by walking
//! the index of the order until a page is full.

use std::{fmt, str::FromStr, time::Duration};

use crate::{
    db::{HashQuery, TorrentSummary},
    tokeniser::{Kind, tokenise},
};

/// Words of a query that are used: more only cost.
const TERMS_MAX: usize = 32;

/// Bytes of a query that are read.
const QUERY_BYTES_MAX: usize = 4_096;

/// Greatest distance of words in a phrase that PostgreSQL can express (`MAXENTRYPOS`).
const DISTANCE_MAX: u32 = 16_384;

/// Torrents on a page at most.
pub const PAGE_MAX: u32 = 500;

/// Rows below which everything is fast: then the index of words is always used, and its counts are exact.
const SMALL_TABLE: f64 = 20_000.0;

/// Fewest and most rows that are walked for a page; the most take about 20 ms.
const WINDOW: (f64, f64) = (500.0, 12_000.0);

/// Hits of names that are fetched and sorted at most.
pub const NAME_HITS_MAX: u32 = 15_000;

/// Hits of names that are ranked at most.
pub const RANKED_MAX: u32 = 10_000;

/// Hits of paths that are fetched and sorted at most: each has to be joined to its torrent.
pub const PATH_HITS_MAX: u32 = 5_000;

/// What is searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What was typed: any text of any length.
    pub query: String,
    /// In which order.
    pub sort: Sort,
    /// Torrents on the page, 1 to [`PAGE_MAX`].
    pub limit: u32,
    /// Where the page before ended.
    pub cursor: Option<Cursor>,
    /// How long each of the at most a dozen statements may take.
    pub timeout: Duration,
}

impl Request {
    /// The first page of 20 by relevance, within 5 s.
    pub fn new(query: impl Into<String>) -> Self {
        Self {
            query: query.into(),
            sort: Sort::Relevance,
            limit: 20,
            cursor: None,
            timeout: Duration::from_secs(5),
        }
    }
}

/// In which order torrents come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sort {
    /// By how well the name matches (words close together, little else), times popularity.
    #[default]
    Relevance,
    /// Latest added first.
    Newest,
    /// Earliest added first.
    Oldest,
    /// Largest first.
    Size,
    /// Highest score first.
    Popularity,
}

impl Sort {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Relevance, Self::Newest, Self::Oldest, Self::Size, Self::Popularity];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Relevance => "relevance",
            Self::Newest => "newest",
            Self::Oldest => "oldest",
            Self::Size => "size",
            Self::Popularity => "popularity",
        }
    }
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Sort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|sort| sort.as_str() == text).ok_or_else(|| {
            format!("{text:?} is no order; there are {}", Self::ALL.map(Self::as_str).join(", "))
        })
    }
}

/// Where a page ended, as text that can be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Whether names are done and the next page is among paths.
    pub(crate) stage: Stage,
    /// The last row; `None`: the next page is the first of its stage.
    pub(crate) after: Option<Position>,
}

/// The values that a row is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// What rows are sorted by first.
    pub(crate) key: i64,
    /// When the row was added, microseconds since 1970: what equal rows are sorted by next.
    pub(crate) added_us: i64,
    /// What they are sorted by last.
    pub(crate) info_hash: krpc::InfoHash,
}

/// What is being searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Names.
    Names,
    /// Paths of files.
    Paths,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.stage {
            Stage::Names => "n",
            Stage::Paths => "p",
        })?;
        let Some(Position { key, added_us, info_hash }) = self.after else { return Ok(()) };
        write!(f, ".{:x}.{:x}.{info_hash}", key.cast_unsigned(), added_us.cast_unsigned())
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| u64::from_str_radix(text, 16).ok().map(u64::cast_signed);
        let read = || {
            let mut parts = text.split('.');
            let stage = match parts.next()? {
                "n" => Stage::Names,
                "p" => Stage::Paths,
                _ => return None,
            };
            let after = match (parts.next(), parts.next(), parts.next(), parts.next()) {
                (None, None, None, None) => None,
                (Some(key), Some(added_us), Some(info_hash), None) => Some(Position {
                    key: number(key)?,
                    added_us: number(added_us)?,
                    info_hash: info_hash.parse().ok()?,
                }),
                _ => return None,
            };
            Some(Self { stage, after })
        };
        read().ok_or_else(|| format!("{text:?} is no position in a list of results"))
    }
}

/// One result.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The torrent.
    pub torrent: TorrentSummary,
    /// How relevant it is; 0 when another order was asked for.
    pub relevance: f64,
    /// The file whose path matched, when the name alone did not; components joined by `/`.
    pub matched_file: Option<String>,
}

/// How many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// The number of torrents whose name matches, and of those whose paths do as far as they were looked for.
    pub number: u64,
    /// Whether it was counted; else it is the planner's estimate.
    pub exact: bool,
}

/// One page of results.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The torrents in their order.
    pub hits: Vec<Hit>,
    /// Where the next page begins; `None` when there is none.
    pub next: Option<Cursor>,
    /// How many there are in all.
    pub count: Count,
    /// Whether torrents may be missing or out of order because there were too many to look at all of them.
    pub approximate: bool,
}

/// What a query means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parsed {
    /// The torrent of this hash, if there is one; else the words.
    pub(crate) hash: Option<HashQuery>,
    /// The words as a `tsquery` for names; `None`: everything matches.
    pub(crate) names: Option<String>,
    /// The same for paths, whose index knows no positions: words that must be neighbours need only all be there.
    pub(crate) paths: Option<String>,
    /// Whether something must be there, and not only be absent.
    pub(crate) is_positive: bool,
    /// What stands in a path by itself: lexeme and whether its beginning is enough.
    pub(crate) wanted: Vec<(String, bool)>,
    /// Neighbours, to be looked for in the paths that were found.
    pub(crate) phrases: Vec<Phrase>,
    /// Whether there was more than [`TERMS_MAX`] words.
    pub(crate) is_cut: bool,
}

/// Words that must stand at these distances from each other, or must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Phrase {
    /// Lexeme, distance from the one before, and whether its beginning is enough.
    pub(crate) words: Vec<(String, u32, bool)>,
    pub(crate) excluded: bool,
}

/// Reads a query. Any text is one.
pub(crate) fn parse(text: &str) -> Parsed {
    let text = &text[..text.floor_char_boundary(QUERY_BYTES_MAX)];
    let mut parsed =
        Parsed { hash: HashQuery::parse(text).filter(|hash| hash.key().is_some()), ..Parsed::default() };
    let (mut names, mut paths) = (Vec::new(), Vec::new());
    let mut terms = 0;
    for piece in pieces(text) {
        if terms >= TERMS_MAX {
            parsed.is_cut = true;
            break;
        }
        let clauses = if piece.quoted { phrase_of(piece.text) } else { words_of(piece.text, piece.prefix) };
        terms += clauses.iter().map(Vec::len).sum::<usize>();
        for clause in clauses.into_iter().filter(|clause| !clause.is_empty()) {
            let not = if piece.excluded { "!" } else { "" };
            names.push(format!("{not}({})", joined(&clause, true)));
            let is_phrase = clause.len() > 1;
            if !(is_phrase && piece.excluded) {
                // Excluded neighbours may stand apart; only what was found can be looked at for them.
                paths.push(format!("{not}({})", joined(&clause, false)));
            }
            if !piece.excluded {
                parsed.is_positive = true;
                parsed.wanted.extend(clause.iter().map(|(lexeme, _, prefix)| (lexeme.clone(), *prefix)));
            }
            if is_phrase {
                parsed.phrases.push(Phrase { words: clause, excluded: piece.excluded });
            }
        }
    }
    let all = |clauses: Vec<String>| (!clauses.is_empty()).then(|| clauses.join(" & "));
    (parsed.names, parsed.paths) = (all(names), all(paths));
    parsed
}

/// A part of a query between spaces or quotes.
struct Piece<'a> {
    text: &'a str,
    quoted: bool,
    excluded: bool,
    prefix: bool,
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let stripped =
            rest.strip_prefix('-').filter(|after| !after.starts_with([' ', '-']) && !after.is_empty());
        let excluded = stripped.is_some();
        rest = stripped.unwrap_or(rest);
        if let Some(after) = rest.strip_prefix('"') {
            // A quote that is never closed reaches to the end.
            let (inside, outside) = after.split_once('"').unwrap_or((after, ""));
            pieces.push(Piece { text: inside, quoted: true, excluded, prefix: false });
            rest = outside.trim_start();
        } else {
            let end = rest
                .find(|character: char| character.is_whitespace() || character == '"')
                .unwrap_or(rest.len());
            let (word, outside) = rest.split_at(end);
            let bare = word.strip_suffix('*').filter(|bare| bare.ends_with(char::is_alphanumeric));
            pieces.push(Piece {
                text: bare.unwrap_or(word),
                quoted: false,
                excluded,
                prefix: bare.is_some(),
            });
            rest = outside.trim_start();
        }
    }
    pieces
}

/// Lexeme, distance from the one before (0 for the first), and whether its beginning is enough.
type Clause = Vec<(String, u32, bool)>;

/// A word may be several tokens: each of them must be there, but those of a script without spaces as neighbours.
fn words_of(text: &str, prefix: bool) -> Vec<Clause> {
    let mut clauses: Vec<Clause> = Vec::new();
    let mut last: Option<(Kind, u32)> = None;
    tokenise(text, 0, |token| {
        let neighbour =
            last.is_some_and(|(kind, position)| kind == Kind::Pair && position + 1 == token.position);
        match token.kind {
            Kind::Pair if neighbour => {
                if let Some(clause) = clauses.last_mut() {
                    clause.push((token.text.to_owned(), 1, false));
                }
            }
            Kind::Word | Kind::Pair => clauses.push(vec![(token.text.to_owned(), 0, false)]),
            Kind::Single => clauses.push(vec![(token.text.to_owned(), 0, true)]),
            // s02e05 is asked for as s02 and e05, which s02e05 gives as well: so either way of writing it is found.
            Kind::Part => {
                if last.is_some_and(|(kind, _)| kind == Kind::Word) {
                    clauses.pop();
                }
                clauses.push(vec![(token.text.to_owned(), 0, false)]);
            }
            Kind::Last => {}
        }
        last = Some((token.kind, token.position));
    });
    if let (true, Some(clause), Some((Kind::Word | Kind::Part, _))) = (prefix, clauses.last_mut(), last)
        && let Some(word) = clause.last_mut()
    {
        word.2 = true;
    }
    clauses
}

/// One clause: the tokens at the distances that they have in the text.
fn phrase_of(text: &str) -> Vec<Clause> {
    let mut clause: Clause = Vec::new();
    let mut before = 0;
    tokenise(text, 0, |token| {
        if !matches!(token.kind, Kind::Part | Kind::Last) && clause.len() < TERMS_MAX {
            let distance = if clause.is_empty() { 0 } else { (token.position - before).min(DISTANCE_MAX) };
            before = token.position;
            clause.push((token.text.to_owned(), distance, token.kind == Kind::Single));
        }
    });
    vec![clause]
}

fn joined(clause: &Clause, placed: bool) -> String {
    let mut text = String::new();
    for (index, (lexeme, distance, prefix)) in clause.iter().enumerate() {
        if index > 0 {
            text.push_str(&if placed { format!(" <{distance}> ") } else { " & ".to_owned() });
        }
        // Tokens are letters and digits; quoted all the same, so that nothing depends on it.
        text.push('\'');
        text.push_str(&lexeme.replace('\\', "\\\\").replace('\'', "''"));
        text.push('\'');
        if *prefix {
            text.push_str(":*");
        }
    }
    text
}

impl Parsed {
    /// Whether name and paths have the neighbours that are asked for and none that are excluded.
    pub(crate) fn phrases_hold<'a>(&self, texts: &(impl Iterator<Item = &'a str> + Clone)) -> bool {
        self.phrases.iter().all(|phrase| texts.clone().any(|text| phrase.is_in(text)) != phrase.excluded)
    }

    /// How many of the wanted words a path has.
    pub(crate) fn wanted_in(&self, path: &str) -> usize {
        let mut found = vec![false; self.wanted.len()];
        tokenise(path, 0, |token| {
            for (found, (lexeme, prefix)) in found.iter_mut().zip(&self.wanted) {
                *found |= matches(token.text, lexeme, *prefix);
            }
        });
        found.into_iter().filter(|found| *found).count()
    }
}

impl Phrase {
    fn is_in(&self, text: &str) -> bool {
        let mut tokens = Vec::new();
        tokenise(text, 0, |token| tokens.push((token.position, token.text.to_owned())));
        tokens.iter().any(|(start, _)| {
            let mut position = *start;
            self.words.iter().all(|(lexeme, distance, prefix)| {
                position += distance;
                let at = tokens.partition_point(|(other, _)| *other < position);
                tokens[at..]
                    .iter()
                    .take_while(|(other, _)| *other == position)
                    .any(|(_, token)| matches(token, lexeme, *prefix))
            })
        })
    }
}

fn matches(token: &str, lexeme: &str, prefix: bool) -> bool {
    if prefix { token.starts_with(lexeme) } else { token == lexeme }
}

/// How a page is found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Plan {
    /// Walk this many rows in the order that is asked for, and keep those that match.
    Walk {
        /// Rows.
        window: u32,
    },
    /// Fetch the hits by the index of words, and sort them.
    Hits,
}

/// Chooses between walking and fetching: a page of `limit` hits is expected within `limit * rows / hits` rows of any order,
/// and fetching costs as many rows as there are hits. The window is three times that, since hits come in heaps.
pub(crate) fn plan(hits: f64, rows: f64, limit: u32) -> Plan {
    let expected = f64::from(limit) * rows / hits.max(1.0);
    if rows < SMALL_TABLE || expected >= hits {
        return Plan::Hits;
    }
    Plan::Walk { window: (3.0 * expected).clamp(WINDOW.0, WINDOW.1) as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(text: &str) -> String {
        parse(text).names.unwrap_or_default()
    }

    #[test]
    fn words_must_all_be_there_and_quoted_ones_in_their_order() {
        assert_eq!(names("Foo bar"), "('foo') & ('bar')");
        assert_eq!(names("\"Foo  bar\" baz"), "('foo' <1> 'bar') & ('baz')");
        assert_eq!(names("\"never closed"), "('never' <1> 'closed')");
        assert_eq!(parse("\"foo bar\"").paths.unwrap(), "('foo' & 'bar')");
    }

    #[test]
    fn beginnings_and_exclusions_are_marked() {
        assert_eq!(names("ubun* -beta -\"old one\""), "('ubun':*) & !('beta') & !('old' <1> 'one')");
        assert_eq!(
            parse("a -\"old one\"").paths.unwrap(),
            "('a')",
            "neighbours cannot be excluded without positions"
        );
        assert_eq!(names("spider-man - x --y"), "('spider') & ('man') & ('x') & ('y')");
        assert!(!parse("-a").is_positive);
    }

    #[test]
    fn an_episode_is_found_however_it_is_written() {
        assert_eq!(names("s02e05"), "('s02') & ('e05')");
        assert_eq!(names("s02e05*"), "('s02') & ('e05':*)");
        assert_eq!(names("\"show s02e05\""), "('show' <1> 's02e05')");
    }

    #[test]
    fn scripts_without_spaces_are_asked_for_as_neighbours() {
        assert_eq!(names("進撃の"), "('進撃' <1> '撃の')");
        assert_eq!(names("本"), "('本':*)");
        assert_eq!(names("第3話"), "('第':*) & ('3') & ('話':*)");
        assert_eq!(names("\"日本 x\""), "('日本' <2> 'x')", "the last character has a place of its own");
    }

    #[test]
    fn nothing_and_odd_things_are_everything_or_words() {
        assert_eq!(parse("").names, None);
        assert_eq!(parse("  *** \"\" - -- :) ☃ \0").names, None);
        assert_eq!(names("a & b | !c:* (d) 'e' \\f"), "('a') & ('b') & ('c') & ('d') & ('e') & ('f')");
        let many = parse(&"word ".repeat(100_000));
        assert_eq!(many.wanted.len(), TERMS_MAX);
        assert!(many.is_cut);
    }

    #[test]
    fn a_whole_hash_is_a_hash_and_a_word() {
        let text = "0123456789abcdef0123456789abcdef01234567";
        let parsed = parse(text);
        assert_eq!(parsed.hash.and_then(|hash| hash.key()), text.parse().ok());
        assert_eq!(parsed.names.unwrap(), format!("('{text}')"));
        assert_eq!(parse("cafe").hash, None, "the beginning of a hash is a word");
    }

    #[test]
    fn phrases_are_looked_for_in_paths_as_in_names() {
        let parsed = parse("\"red hat\" -\"old stone\"");
        assert!(parsed.phrases_hold(&["x", "a/Red.Hat/b"].into_iter()));
        assert!(!parsed.phrases_hold(&["red x hat"].into_iter()));
        assert!(!parsed.phrases_hold(&["red hat", "old-stone"].into_iter()));
        assert!(parse("撃の巨人").phrases_hold(&["進撃の巨人 01"].into_iter()));
        assert!(!parse("撃の巨人").phrases_hold(&["撃の 巨人"].into_iter()));
    }

    #[test]
    fn a_cursor_comes_back_from_its_text() {
        let after = Position { key: -5, added_us: i64::MIN, info_hash: krpc::InfoHash::from_bytes([7; 20]) };
        for cursor in [
            Cursor { stage: Stage::Names, after: Some(after) },
            Cursor { stage: Stage::Paths, after: Some(after) },
            Cursor { stage: Stage::Paths, after: None },
        ] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for odd in [
            "",
            "x",
            "n.1",
            "n.1.2",
            "x.1.2.0707070707070707070707070707070707070707",
            "n.1.2.3.4",
            "n.é.2.3",
        ] {
            assert!(odd.parse::<Cursor>().is_err(), "{odd}");
        }
    }

    #[test]
    fn many_hits_are_walked_to_and_few_are_fetched() {
        assert_eq!(plan(100.0, 2e6, 20), Plan::Hits);
        assert_eq!(plan(100_000.0, 2e6, 20), Plan::Walk { window: 1_200 });
        assert_eq!(plan(1_900_000.0, 2e6, 20), Plan::Walk { window: 500 });
        assert_eq!(plan(7_000.0, 2e6, 20), Plan::Walk { window: 12_000 });
        assert_eq!(plan(9_000.0, 10_000.0, 20), Plan::Hits);
        assert_eq!(plan(0.0, 2e6, 20), Plan::Hits);
    }

    proptest! {
        #[test]
        fn no_text_makes_parsing_panic_or_give_quotes_a_way_out(text in any::<String>()) {
            let parsed = parse(&text);
            if let Some(names) = parsed.names {
                prop_assert_eq!(names.matches('\'').count() % 2, 0);
            }
        }

        #[test]
        fn a_phrase_of_a_text_is_in_the_text(text in "[a-z日本語の0-9 ]{1,30}") {
            let parsed = parse(&format!("\"{text}\""));
            prop_assert!(parsed.phrases_hold(&[text.as_str()].into_iter()));
        }
    }
}
