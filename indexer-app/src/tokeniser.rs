//! From text to the words it is found by: one function for what is indexed and for what is asked.
//!
//! Text is normalised (NFKC, lower case, accents folded) and split at everything that is neither letter nor digit.
//! Letters and digits stay together (`x264`, `1080p`); `s02e05` also gives `s02` and `e05`. Scripts that are written
//! without spaces (Han, Kana, Hangul) become overlapping pairs of characters, and the last character of such a run is
//! given once more alone: so a single character is found, as a prefix, wherever it stands.

use std::collections::BTreeMap;

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use crate::{signature::Signature, word_hash::word_hash};

/// Rises whenever the same text would give other tokens: rows made by an older version are to be made again.
pub const TOK_VER: i16 = 2;

/// Longest lexeme in bytes; what is longer is cut, in index and query alike. PostgreSQL takes up to 2046, but nobody
/// types more than a few dozen, and random strings would fill the index.
pub const LEXEME_BYTES_MAX: usize = 255;

/// Positions kept of one lexeme (`MAXNUMPOS` of PostgreSQL).
const POSITIONS_MAX: usize = 255;

/// Greatest position that PostgreSQL can tell from greater ones (`MAXENTRYPOS` - 1).
const POSITION_MAX: u32 = 16_383;

/// Bytes of one vector: PostgreSQL takes 1 MiB (`MAXSTRPOS`), this leaves room for its alignment.
const VECTOR_BYTES_MAX: usize = 900_000;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A run of letters and digits.
    Word,
    /// A part of the word before it, at the same position: `s02` of `s02e05`.
    Part,
    /// Two neighbouring characters of a script without spaces.
    Pair,
    /// The only character of such a run.
    Single,
    /// The last character of such a run of several: part of the index, not of a query.
    Last,
}

/// One token of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// Its normalised text, never empty, at most [`LEXEME_BYTES_MAX`] bytes.
    pub text: &'a str,
    /// Where it stands, from 1.
    pub position: u32,
    /// What it is.
    pub kind: Kind,
}

/// Calls `each` with every token of the text, in order, counting positions on from `start`; returns the last one.
pub fn tokenise(text: &str, start: u32, mut each: impl FnMut(Token<'_>)) -> u32 {
    let mut splitter = Splitter { word: String::new(), run: Vec::new(), position: start };
    if text.is_ascii() {
        // Most names: nothing to normalise.
        for byte in text.bytes() {
            splitter.take(char::from(byte.to_ascii_lowercase()), &mut each);
        }
    } else {
        for character in fold(text) {
            splitter.take(character, &mut each);
        }
    }
    splitter.end_word(&mut each);
    splitter.end_run(&mut each);
    splitter.position
}

/// NFKC, lower case, accents folded, composed again so that what is not folded keeps one form.
fn fold(text: &str) -> impl Iterator<Item = char> {
    text.nfkc()
        .flat_map(char::to_lowercase)
        .nfd()
        .filter(|character| !is_foldable_mark(*character))
        .flat_map(unstroked)
        .nfc()
}

/// Letters that no decomposition takes apart although people type them without their strokes.
fn unstroked(character: char) -> impl Iterator<Item = char> {
    let (first, second) = match character {
        'ß' => ('s', Some('s')),
        'æ' => ('a', Some('e')),
        'œ' => ('o', Some('e')),
        'þ' => ('t', Some('h')),
        'ø' => ('o', None),
        'đ' | 'ð' => ('d', None),
        'ł' => ('l', None),
        'ħ' => ('h', None),
        'ı' => ('i', None),
        'ς' => ('σ', None),
        other => (other, None),
    };
    std::iter::once(first).chain(second)
}

/// Marks that may be missing without changing the word: diacritics of Latin, Greek and Cyrillic, the points of
/// Hebrew and Arabic, and characters that are not seen. The vowel signs of Indic scripts and the voicing marks of Kana
/// are none of them.
fn is_foldable_mark(character: char) -> bool {
    matches!(character,
        '\u{300}'..='\u{36f}'
        | '\u{483}'..='\u{487}'
        | '\u{591}'..='\u{5bd}' | '\u{5bf}' | '\u{5c1}' | '\u{5c2}' | '\u{5c4}' | '\u{5c5}' | '\u{5c7}'
        | '\u{640}' | '\u{64b}'..='\u{65f}' | '\u{670}'
        | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}'
        | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}')
}

/// Whether the character belongs to a script that is written without spaces.
fn is_spaceless(character: char) -> bool {
    matches!(character,
        '\u{3005}' | '\u{3007}' | '\u{3041}'..='\u{3096}' | '\u{309d}'..='\u{309f}' | '\u{30a1}'..='\u{30fa}'
        | '\u{30fc}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{1100}'..='\u{11ff}' | '\u{3131}'..='\u{318e}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{a960}'..='\u{a97f}' | '\u{ac00}'..='\u{d7ff}'
        | '\u{f900}'..='\u{faff}' | '\u{1b000}'..='\u{1b16f}' | '\u{20000}'..='\u{323af}')
}

struct Splitter {
    /// The word being read.
    word: String,
    /// The run of a spaceless script being read: all of it, at most two characters at a time.
    run: Vec<char>,
    /// Of the last token.
    position: u32,
}

impl Splitter {
    fn take(&mut self, character: char, each: &mut impl FnMut(Token<'_>)) {
        if character.is_ascii_alphanumeric() {
            self.end_run(each);
            self.word.push(character);
        } else if character.is_ascii() {
            self.end_word(each);
            self.end_run(each);
        } else if is_spaceless(character) {
            self.end_word(each);
            self.run.push(character);
            if self.run.len() > 2 {
                self.run.remove(0);
            }
            if self.run.len() == 2 {
                let pair: String = self.run.iter().collect();
                self.emit(&pair, Kind::Pair, each);
            }
        } else if is_combining_mark(character) {
            // A mark goes on with the word that it stands in and is nothing by itself.
            if !self.word.is_empty() {
                self.word.push(character);
            }
        } else if character.is_alphanumeric() {
            self.end_run(each);
            self.word.push(character);
        } else {
            self.end_word(each);
            self.end_run(each);
        }
    }

    fn end_word(&mut self, each: &mut impl FnMut(Token<'_>)) {
        if self.word.is_empty() {
            return;
        }
        let mut word = std::mem::take(&mut self.word);
        word.truncate(word.floor_char_boundary(LEXEME_BYTES_MAX));
        self.emit(&word, Kind::Word, each);
        for part in episode_parts(&word) {
            each(Token { text: part, position: self.position, kind: Kind::Part });
        }
        word.clear();
        self.word = word;
    }

    fn end_run(&mut self, each: &mut impl FnMut(Token<'_>)) {
        let Some(last) = self.run.last().copied() else { return };
        let kind = if self.run.len() == 1 { Kind::Single } else { Kind::Last };
        self.run.clear();
        self.emit(last.encode_utf8(&mut [0; 4]), kind, each);
    }

    fn emit(&mut self, text: &str, kind: Kind, each: &mut impl FnMut(Token<'_>)) {
        self.position = self.position.saturating_add(1);
        each(Token { text, position: self.position, kind });
    }
}

/// `s02e05` in its parts; of any other word none.
fn episode_parts(word: &str) -> impl Iterator<Item = &str> {
    let shape = word.as_bytes();
    let mut starts = Vec::new();
    if shape.first() == Some(&b's') && shape.len() <= 32 {
        starts.push(0);
        starts.extend(shape.iter().enumerate().filter(|(_, byte)| **byte == b'e').map(|(index, _)| index));
    }
    let ends: Vec<usize> = starts.iter().copied().skip(1).chain([shape.len()]).collect();
    let parts: Vec<(usize, usize)> = starts.into_iter().zip(ends).collect();
    let is_episode = parts.len() > 1
        && parts.iter().all(|(start, end)| {
            (2..=5).contains(&(end - start)) && shape[start + 1..*end].iter().all(u8::is_ascii_digit)
        });
    let parts = if is_episode { parts } else { Vec::new() };
    parts.into_iter().map(|(start, end)| &word[start..end])
}

/// Distinct lexemes, sorted by their bytes as PostgreSQL wants them, with their positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lexemes {
    lexemes: BTreeMap<String, Vec<u16>>,
    lexemes_max: usize,
    bytes: usize,
    position: u32,
    refused: u64,
}

impl Lexemes {
    /// Nothing yet, and never more than `lexemes_max` different ones.
    pub fn new(lexemes_max: usize) -> Self {
        Self { lexemes: BTreeMap::new(), lexemes_max, bytes: 0, position: 0, refused: 0 }
    }

    /// Adds the tokens of a text with where they stand, behind those of earlier texts.
    pub fn add(&mut self, text: &str) {
        self.position = tokenise(text, self.position, |token| {
            insert(
                &mut self.lexemes,
                &mut self.bytes,
                self.lexemes_max,
                &mut self.refused,
                token.text,
                Some(token.position),
            );
        });
    }

    /// Adds the tokens of a text without positions.
    pub fn add_unplaced(&mut self, text: &str) {
        tokenise(text, 0, |token| {
            insert(&mut self.lexemes, &mut self.bytes, self.lexemes_max, &mut self.refused, token.text, None);
        });
    }

    /// Adds a lexeme that is no text, as it is and without a position.
    pub fn add_mark(&mut self, mark: &str) {
        insert(&mut self.lexemes, &mut self.bytes, self.lexemes_max, &mut self.refused, mark, None);
    }

    /// What they set in a signature.
    pub fn signature(&self) -> Signature {
        Signature::of(self.lexemes.keys().map(String::as_str))
    }

    /// Their numbers, each once, in ascending order.
    pub fn hashes(&self) -> Vec<i32> {
        let mut hashes: Vec<i32> = self.lexemes.keys().map(|lexeme| word_hash(lexeme)).collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes
    }

    /// How many different ones.
    pub fn len(&self) -> usize {
        self.lexemes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lexemes.is_empty()
    }

    /// Each lexeme with its ascending positions.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u16])> {
        self.lexemes.iter().map(|(lexeme, positions)| (lexeme.as_str(), positions.as_slice()))
    }

    /// Whether it is there.
    pub fn contains(&self, lexeme: &str) -> bool {
        self.lexemes.contains_key(lexeme)
    }

    /// Bytes that the database needs for them, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Tokens left out because there was no room.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

fn insert(
    lexemes: &mut BTreeMap<String, Vec<u16>>,
    bytes: &mut usize,
    lexemes_max: usize,
    refused: &mut u64,
    text: &str,
    position: Option<u32>,
) {
    let positions = match lexemes.get_mut(text) {
        // Most words of a path are known from others.
        Some(positions) => positions,
        None => {
            // Text, alignment, number of positions; two bytes for each position.
            let cost = text.len() + 4;
            if lexemes.len() >= lexemes_max || *bytes + cost > VECTOR_BYTES_MAX {
                *refused += 1;
                return;
            }
            *bytes += cost;
            lexemes.entry(text.to_owned()).or_default()
        }
    };
    let Some(position) = position else { return };
    let position = position.min(POSITION_MAX) as u16;
    if positions.len() < POSITIONS_MAX
        && positions.last().is_none_or(|last| *last < position)
        && *bytes + 2 <= VECTOR_BYTES_MAX
    {
        *bytes += 2;
        positions.push(position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        tokenise(text, 0, |token| found.push(token.text.to_owned()));
        found
    }

    fn placed(text: &str) -> Vec<(String, u32, Kind)> {
        let mut found = Vec::new();
        tokenise(text, 0, |token| found.push((token.text.to_owned(), token.position, token.kind)));
        found
    }

    #[test]
    fn a_release_name_gives_its_words_with_letters_and_digits_together() {
        assert_eq!(
            words("Some.Show-1080p_x264 [GROUP]  (2019)"),
            ["some", "show", "1080p", "x264", "group", "2019"]
        );
    }

    #[test]
    fn an_episode_also_gives_its_season_and_number_at_the_same_place() {
        assert_eq!(
            placed("Show S02E05 x"),
            [
                ("show".to_owned(), 1, Kind::Word),
                ("s02e05".to_owned(), 2, Kind::Word),
                ("s02".to_owned(), 2, Kind::Part),
                ("e05".to_owned(), 2, Kind::Part),
                ("x".to_owned(), 3, Kind::Word),
            ]
        );
        assert_eq!(words("s01e01e02"), ["s01e01e02", "s01", "e01", "e02"]);
        assert_eq!(words("see s1 se s1e e05 series2e"), ["see", "s1", "se", "s1e", "e05", "series2e"]);
    }

    #[test]
    fn case_accents_and_forms_fold_to_one() {
        assert_eq!(words("ÉCOLE école e\u{301}cole ｅｃｏｌｅ"), ["ecole"; 4]);
        assert_eq!(words("Straße STRASSE"), ["strasse", "strasse"]);
        assert_eq!(words("Łódź Ærø Þór œuvre"), ["lodz", "aero", "thor", "oeuvre"]);
        assert_eq!(words("İstanbul ISTANBUL ılık"), ["istanbul", "istanbul", "ilik"]);
        assert_eq!(words("ΟΔΥΣΣΕΥΣ οδυσσεύς"), ["οδυσσευσ", "οδυσσευσ"]);
        assert_eq!(words("Ёлка елка й"), ["елка", "елка", "и"]);
        assert_eq!(words("ﬁnal ①"), ["final", "1"]);
    }

    #[test]
    fn points_of_hebrew_and_arabic_may_be_missing() {
        assert_eq!(words("שָׁלוֹם שלום"), ["שלום", "שלום"]);
        assert_eq!(words("مُحَمَّد محمد محـمد"), ["محمد", "محمد", "محمد"]);
    }

    #[test]
    fn vowel_signs_of_indic_scripts_belong_to_their_word() {
        assert_eq!(words("हिन्दी फिल्म"), ["हिन्दी", "फिल्म"]);
        assert_eq!(words("தமிழ்"), ["தமிழ்"]);
        assert_eq!(words("ภาษาไทย"), ["ภาษาไทย"]);
    }

    #[test]
    fn scripts_without_spaces_become_overlapping_pairs() {
        assert_eq!(
            placed("日本語x"),
            [
                ("日本".to_owned(), 1, Kind::Pair),
                ("本語".to_owned(), 2, Kind::Pair),
                ("語".to_owned(), 3, Kind::Last),
                ("x".to_owned(), 4, Kind::Word),
            ]
        );
        assert_eq!(words("進撃の巨人"), ["進撃", "撃の", "の巨", "巨人", "人"]);
        assert_eq!(words("第3話"), ["第", "3", "話"]);
        assert_eq!(words("오징어 게임"), ["오징", "징어", "어", "게임", "임"]);
    }

    #[test]
    fn kana_keeps_its_voicing_marks_and_half_width_is_full_width() {
        assert_eq!(words("ｶﾞﾝﾀﾞﾑ"), words("ガンダム"));
        assert_eq!(words("か\u{3099}ん"), words("がん"));
        assert_ne!(words("がん"), words("かん"));
    }

    #[test]
    fn what_is_not_seen_does_not_split_a_word() {
        assert_eq!(
            words("soft\u{ad}ware zero\u{200b}width نمی\u{200c}خواهم"),
            ["software", "zerowidth", "نمیخواهم"]
        );
        assert_eq!(words("🎬 ★ — \0 \u{301}"), Vec::<String>::new());
    }

    #[test]
    fn a_lexeme_is_cut_at_a_character_and_equal_in_index_and_query() {
        let long = "я".repeat(1000);
        let cut = words(&long);
        assert_eq!(cut.len(), 1);
        assert_eq!(cut[0].len(), 254);
        assert_eq!(words(&cut[0]), cut);
    }

    #[test]
    fn a_vector_stays_within_the_limits_of_the_database() {
        let mut lexemes = Lexemes::new(1000);
        lexemes.add(&"same ".repeat(20_000));
        let (_, positions) = lexemes.iter().next().unwrap();
        assert_eq!(positions.len(), POSITIONS_MAX);
        let numbers: Vec<String> = (0..30_000).map(|number| format!("w{number}")).collect();
        lexemes.add(&numbers.join(" "));
        assert_eq!(lexemes.len(), 1000);
        assert_eq!(lexemes.refused(), 30_000 - 999);
        assert!(lexemes.iter().all(|(_, positions)| positions.iter().all(|at| *at <= 16_383)));
        assert!(lexemes.iter().all(|(_, positions)| positions.is_sorted_by(|a, b| a < b)));
    }

    proptest! {
        #[test]
        fn any_text_gives_tokens_that_the_database_takes_and_that_are_their_own_tokens(text in any::<String>()) {
            let mut tokens = Vec::new();
            let mut before = 0;
            let last = tokenise(&text, 0, |token| {
                assert!(!token.text.is_empty() && token.text.len() <= LEXEME_BYTES_MAX);
                assert!(!token.text.contains('\0'));
                assert!(token.position == before + 1 || token.kind == Kind::Part);
                before = token.position;
                if token.kind == Kind::Word {
                    tokens.push(token.text.to_owned());
                }
            });
            prop_assert_eq!(last, before);
            // What the index holds is what the same word gives when it is asked for.
            for token in tokens {
                let again = words(&token);
                prop_assert_eq!(again.first(), Some(&token));
            }
        }

        #[test]
        fn splitting_a_text_at_a_space_changes_no_token(left in "\\PC{0,20}", right in "\\PC{0,20}") {
            let mut apart = words(&left);
            apart.extend(words(&right));
            prop_assert_eq!(words(&format!("{left} {right}")), apart);
        }
    }
}
