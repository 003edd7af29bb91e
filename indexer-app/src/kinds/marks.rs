//! The lexemes that stand for what is known of a torrent, made alike for the index and for a query.

use super::Kind;
use crate::tokeniser::tokenise;

/// What every mark begins with, and no word can.
const MARK: char = ':';

/// Bytes of a group or an extension in a mark; nobody types more.
const WORD_BYTES_MAX: usize = 64;

/// A mark of one field. Each is in the rows of many torrents, so there is nothing in it that need not be.
pub(crate) fn of(field: char, word: &str) -> String {
    let word = &word[..word.floor_char_boundary(WORD_BYTES_MAX)];
    format!("{MARK}{field}{word}")
}

/// Torrents of this type.
pub fn kind_mark(kind: Kind) -> String {
    of('t', &kind.code().to_string())
}

/// Torrents with files of this extension, written with or without its dot, in any case; `None` when it is nothing that could be one.
pub fn extension_mark(extension: &str) -> Option<String> {
    joined(extension).map(|word| of('x', &word))
}

/// Torrents of this year.
pub fn year_mark(year: u16) -> String {
    of('y', &year.to_string())
}

/// Torrents of this season.
pub fn season_mark(season: u16) -> String {
    of('s', &format!("{season:02}"))
}

/// Torrents of this episode.
pub fn episode_mark(episode: u16) -> String {
    of('e', &format!("{episode:02}"))
}

/// Torrents of this group, however its name is written; `None` when there is no letter or digit in it.
pub fn group_mark(group: &str) -> Option<String> {
    joined(group).map(|word| of('g', &word))
}

/// The words of a text without what separates them.
fn joined(text: &str) -> Option<String> {
    use crate::tokeniser::Kind::{Last, Pair, Part, Single, Word};
    let mut word = String::new();
    tokenise(text, 0, |token| {
        if word.len() < WORD_BYTES_MAX {
            match token.kind {
                Word | Single | Last => word.push_str(token.text),
                // Of overlapping pairs the first characters; the last one comes by itself.
                Pair => word.extend(token.text.chars().next()),
                Part => {}
            }
        }
    });
    (!word.is_empty()).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_the_same_however_its_word_is_written() {
        assert_eq!(kind_mark(Kind::Video), ":t1");
        assert_eq!((season_mark(2), episode_mark(105)), (":s02".to_owned(), ":e105".to_owned()));
        assert_eq!(extension_mark(".MKV"), Some(":xmkv".to_owned()));
        assert_eq!(group_mark("D-Z0N3"), group_mark("d z0n3"));
        assert_eq!(group_mark("字幕组"), Some(":g字幕组".to_owned()));
        assert_eq!((group_mark("--"), extension_mark("")), (None, None));
    }

    #[test]
    fn no_text_makes_the_tokeniser_give_a_mark() {
        for text in [":t1", ":y:1999", ": : :"] {
            tokenise(text, 0, |token| assert!(!token.text.contains(MARK)));
        }
    }
}
