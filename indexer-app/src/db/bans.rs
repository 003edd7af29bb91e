//! Rules for what is not to be in the index: by words and by size. They are held against every torrent before it is stored, and against
//! those that are stored when somebody applies them ([`super::BanApply`]).

use std::fmt;

use deadpool_postgres::Client;
use krpc::InfoHash;
use tea_runtime::{Session, SessionError};

use super::statement;
use crate::{
    tokeniser::{Kind, Lexemes, tokenise},
    word_hash::word_hash,
};

/// Rules in all: they are read with every batch of torrents, and each is held against each.
pub const BAN_RULES_MAX: u64 = 1_000;

/// Words of one rule.
const WORDS_MAX: usize = 32;

/// Bytes of the words of one rule.
const WORDS_BYTES_MAX: usize = 1_024;

/// What is banned: all that it says must hold of a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BanRule {
    words: Option<String>,
    lexemes: Vec<String>,
    size_min: Option<u64>,
    size_max: Option<u64>,
}

/// Why a rule is none, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BanRuleError {
    /// It says nothing.
    #[error("a rule needs --words, --size-min or --size-max, or else info-hashes to ban")]
    Empty,
    /// The words have no letter or digit.
    #[error("{0:?} has no word that names and paths could be searched for")]
    NoWord(String),
    /// A character alone is the beginning of many words.
    #[error(
        "{0:?} is a single character of a script without spaces, which stands in too much; give at least two"
    )]
    Single(String),
    /// There are too many of them.
    #[error("a rule has at most {WORDS_MAX} words and {WORDS_BYTES_MAX} bytes; make it two rules")]
    TooLong,
    /// No size is in the range.
    #[error("no size is at least {min} and at most {max} bytes; exchange --size-min and --size-max")]
    Range {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
}

impl BanRule {
    /// Torrents with all of these words in name and paths, and of a size (bytes in all files) in this range, ends included.
    ///
    /// # Errors
    /// It says nothing, or nothing that could hold of a torrent.
    pub fn new(
        words: Option<&str>,
        size_min: Option<u64>,
        size_max: Option<u64>,
    ) -> Result<Self, BanRuleError> {
        if words.is_none() && size_min.is_none() && size_max.is_none() {
            return Err(BanRuleError::Empty);
        }
        if let (Some(min), Some(max)) = (size_min, size_max)
            && min > max
        {
            return Err(BanRuleError::Range { min, max });
        }
        let mut lexemes: Vec<String> = Vec::new();
        let mut single = None;
        if let Some(words) = words {
            if words.len() > WORDS_BYTES_MAX {
                return Err(BanRuleError::TooLong);
            }
            tokenise(words, 0, |token| match token.kind {
                Kind::Word | Kind::Pair => lexemes.push(token.text.to_owned()),
                Kind::Single => single = Some(token.text.to_owned()),
                // The word or the pairs say more.
                Kind::Part | Kind::Last => {}
            });
            if let Some(single) = single {
                return Err(BanRuleError::Single(single));
            }
            if lexemes.is_empty() {
                return Err(BanRuleError::NoWord(words.to_owned()));
            }
            lexemes.sort_unstable();
            lexemes.dedup();
            if lexemes.len() > WORDS_MAX {
                return Err(BanRuleError::TooLong);
            }
        }
        let words = words.map(|words| super::storable(words).into_owned());
        Ok(Self { words, lexemes, size_min, size_max })
    }

    /// Whether it holds of a torrent: the words of its name, those of name and paths, and its size.
    pub(super) fn holds(&self, name: &Lexemes, paths: Option<&Lexemes>, total_size: u64) -> bool {
        self.size_min.is_none_or(|min| total_size >= min)
            && self.size_max.is_none_or(|max| total_size <= max)
            && self.has_words_of(name, paths)
    }

    /// Its words as a `tsquery`; `None` when it has none.
    pub(super) fn tsquery(&self) -> Option<String> {
        // Lexemes are letters, digits and marks: nothing in them needs an escape.
        let words: Vec<String> = self.lexemes.iter().map(|word| format!("'{word}'")).collect();
        (!words.is_empty()).then(|| words.join(" & "))
    }

    /// The numbers of its words, as paths are found by them.
    pub(super) fn word_hashes(&self) -> Vec<i32> {
        self.lexemes.iter().map(|word| word_hash(word)).collect()
    }

    /// Whether all of its words are among those of the name and those of name and paths.
    pub(super) fn has_words_of(&self, name: &Lexemes, paths: Option<&Lexemes>) -> bool {
        let has = |word: &String| name.contains(word) || paths.is_some_and(|paths| paths.contains(word));
        self.lexemes.iter().all(has)
    }

    /// Its range of sizes as the database counts them.
    pub(super) fn sizes(&self) -> (Option<i64>, Option<i64>) {
        let size = |size: u64| i64::try_from(size).unwrap_or(i64::MAX);
        (self.size_min.map(size), self.size_max.map(size))
    }
}

impl fmt::Display for BanRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.words.as_ref().map(|words| format!("words {words:?}")),
            self.size_min.map(|min| format!("at least {min} bytes")),
            self.size_max.map(|max| format!("at most {max} bytes")),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// A rule that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveRule {
    /// Its number.
    pub id: i64,
    /// What it says.
    pub rule: BanRule,
}

/// Adds a rule. The same one twice is one.
#[derive(Clone, Debug)]
pub struct BanAdd {
    /// The rule.
    pub rule: BanRule,
}

const ADD: &str = "
with same as (
    select id from ban_rules where words is not distinct from $1 and size_min is not distinct from $3
        and size_max is not distinct from $4 order by id limit 1
), added as (
    insert into ban_rules (words, lexemes, size_min, size_max)
    select $1, $2, $3, $4 where not exists (select from same) and (select count(*) from ban_rules) < $5 returning id
)
select id from same union all select id from added";

impl Session for BanAdd {
    type Client = Client;
    /// Its number; `None` when there are [`BAN_RULES_MAX`] already.
    type Output = Option<i64>;

    async fn run(self, client: &mut Client) -> Result<Option<i64>, SessionError> {
        let (min, max) = self.rule.sizes();
        let limit = i64::try_from(BAN_RULES_MAX).unwrap_or(i64::MAX);
        let rows =
            statement::rows(client, ADD, &[&self.rule.words, &self.rule.lexemes, &min, &max, &limit]).await?;
        rows.first().map(|row| statement::column(row, "id")).transpose()
    }
}

/// Removes a rule. What it has banned stays banned.
#[derive(Clone, Copy, Debug)]
pub struct BanRemove {
    /// Its number.
    pub id: i64,
}

impl Session for BanRemove {
    type Client = Client;
    /// Whether there was one.
    type Output = bool;

    async fn run(self, client: &mut Client) -> Result<bool, SessionError> {
        Ok(statement::execute(client, "delete from ban_rules where id = $1", &[&self.id]).await? > 0)
    }
}

/// All that is banned.
#[derive(Clone, Copy, Debug)]
pub struct BanList;

/// What is banned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bans {
    /// The rules, by their numbers.
    pub rules: Vec<ActiveRule>,
    /// Tombstones by their reason, most frequent first.
    pub tombstones: Vec<(String, u64)>,
    /// Hashes that are banned while a torrent is still stored under them.
    pub pending: u64,
}

impl Session for BanList {
    type Client = Client;
    type Output = Bans;

    async fn run(self, client: &mut Client) -> Result<Bans, SessionError> {
        let rules = rules(client).await?;
        // What was no torrent has many reasons, and nobody has banned it.
        let sql = "
select reason, count(*) as number, count(*) filter (where pending) as pending from tombstones
group by 1 order by 2 desc, 1 limit 1000";
        let (mut tombstones, mut pending) = (Vec::new(), 0);
        for row in statement::rows(client, sql, &[]).await? {
            tombstones.push((statement::column(&row, "reason")?, statement::count(&row, "number")?));
            pending += statement::count(&row, "pending")?;
        }
        Ok(Bans { rules, tombstones, pending })
    }
}

/// All rules, by their numbers.
pub(super) async fn rules(client: &Client) -> Result<Vec<ActiveRule>, SessionError> {
    let sql = "select id, words, lexemes, size_min, size_max from ban_rules order by id limit 1000";
    let size = |size: Option<i64>| size.map(|size| u64::try_from(size).unwrap_or_default());
    let rows = statement::rows(client, sql, &[]).await?;
    rows.iter()
        .map(|row| {
            let rule = BanRule {
                words: statement::column(row, "words")?,
                lexemes: statement::column(row, "lexemes")?,
                size_min: size(statement::column(row, "size_min")?),
                size_max: size(statement::column(row, "size_max")?),
            };
            Ok(ActiveRule { id: statement::column(row, "id")?, rule })
        })
        .collect()
}

/// What a rule leaves on the tombstones of what it has banned.
pub(super) fn reason(rule: i64) -> String {
    format!("banned by rule {rule}")
}

/// Torrents that were not stored because they are banned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Banned {
    /// Those whose hash has a tombstone.
    pub by_hash: u64,
    /// Those of which a rule holds, by the number of the first one.
    pub by_rule: std::collections::BTreeMap<i64, u64>,
}

impl Banned {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.by_hash + self.by_rule.values().sum::<u64>()
    }
}

/// Whether a torrent may not be stored, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may.
    Welcome,
    /// One of its hashes has a tombstone.
    Hash,
    /// This rule holds of it.
    Rule(i64),
}

/// What is banned, as of one moment: to be held against torrents.
#[derive(Debug)]
pub(super) struct Judge {
    rules: Vec<ActiveRule>,
    buried: std::collections::HashSet<InfoHash>,
}

impl Judge {
    /// Reads all rules, and which of the hashes have a tombstone: two statements for a batch.
    pub(super) async fn load(client: &Client, hashes: &[InfoHash]) -> Result<Self, SessionError> {
        let buried = super::tombstones::buried(client, hashes).await?.into_iter().collect();
        Ok(Self { rules: rules(client).await?, buried })
    }

    pub(super) fn verdict(
        &self,
        hashes: impl IntoIterator<Item = InfoHash>,
        name: &Lexemes,
        paths: Option<&Lexemes>,
        total_size: u64,
    ) -> Verdict {
        if hashes.into_iter().any(|hash| self.buried.contains(&hash)) {
            return Verdict::Hash;
        }
        let rule = self.rules.iter().find(|active| active.rule.holds(name, paths, total_size));
        rule.map_or(Verdict::Welcome, |active| Verdict::Rule(active.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lexemes(text: &str) -> Lexemes {
        let mut lexemes = Lexemes::new(100);
        lexemes.add(text);
        lexemes
    }

    #[test]
    fn a_rule_holds_when_all_of_it_does() {
        let rule = BanRule::new(Some("Ünwanted  words"), Some(10), Some(20)).unwrap();
        let holds =
            |name, paths: Option<&str>, size| rule.holds(&lexemes(name), paths.map(lexemes).as_ref(), size);
        assert!(holds("some unwanted.WORDS here", None, 10));
        assert!(holds("unwanted", Some("dir/words.txt"), 20));
        assert!(!holds("unwanted word", None, 15), "a part of a word is not the word");
        assert!(!holds("unwanted words", None, 9));
        assert!(!holds("unwanted words", None, 21));
    }

    #[test]
    fn a_rule_that_says_nothing_or_cannot_hold_is_refused_in_a_sentence() {
        for (rule, said) in [
            (BanRule::new(None, None, None), "a rule needs"),
            (BanRule::new(Some(" ..."), None, None), "has no word"),
            (BanRule::new(Some(""), None, None), "has no word"),
            (BanRule::new(Some("日"), None, None), "single character"),
            (BanRule::new(Some(&"word ".repeat(300)), None, None), "at most 32 words"),
            (
                BanRule::new(Some(&(0..40).map(|n| format!("w{n} ")).collect::<String>()), None, None),
                "at most 32",
            ),
            (BanRule::new(None, Some(2), Some(1)), "exchange"),
        ] {
            let error = rule.unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
