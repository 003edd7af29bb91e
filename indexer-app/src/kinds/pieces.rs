//! A name in pieces: words as they stand, what separates them, and what is in brackets.

use super::extensions::{content_of, extension_of};

/// Bytes of a name that are looked at: the longest honest ones have some hundred, and what is told of a torrent stands at the ends of its title.
const NAME_BYTES_MAX: usize = 2_048;

/// Pieces of a name that are looked at.
const PIECES_MAX: usize = 192;

/// A run of letters and digits of one kind of script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    /// Where it stands in the name.
    raw: (usize, usize),
    /// Where it stands in the text of lower case.
    lower: (usize, usize),
    /// Its pair of brackets, from 1; 0: none.
    bracket: u16,
}

/// A name taken apart.
#[derive(Clone, Debug)]
pub(super) struct Pieces<'a> {
    name: &'a str,
    lower: String,
    pieces: Vec<Piece>,
}

/// How a character goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Latin letters and digits: they stand together (`x264`, `español`).
    Latin,
    /// Letters of any other script: `第05集` has three pieces.
    Other,
    Separator,
}

impl<'a> Pieces<'a> {
    /// Takes a name apart; the extension of a file is left out.
    pub(super) fn of(name: &'a str) -> Self {
        let name = match extension_of(name) {
            Some(extension) if content_of(&extension.to_ascii_lowercase()).is_some() => {
                &name[..name.len() - extension.len() - 1]
            }
            _ => name,
        };
        let name = &name[..name.floor_char_boundary(NAME_BYTES_MAX)];
        let mut all = Self { name, lower: String::with_capacity(name.len()), pieces: Vec::with_capacity(24) };
        let mut open: Option<(Class, usize, usize)> = None;
        let (mut brackets, mut bracket) = (0_u16, 0_u16);
        for (at, character) in name.char_indices() {
            let character = narrow(character);
            let class = class_of(character);
            if let Some((before, raw, lower)) = open
                && before != class
            {
                all.end(raw, at, lower, bracket);
                open = None;
            }
            match class {
                Class::Separator if is_opening(character) => {
                    brackets = brackets.saturating_add(1);
                    bracket = brackets;
                }
                Class::Separator if is_closing(character) => bracket = 0,
                Class::Separator => {}
                Class::Latin | Class::Other => {
                    open.get_or_insert((class, at, all.lower.len()));
                    if character.is_ascii() {
                        all.lower.push(character.to_ascii_lowercase());
                    } else {
                        all.lower.extend(character.to_lowercase());
                    }
                }
            }
            if all.pieces.len() == PIECES_MAX {
                return all;
            }
        }
        if let Some((_, raw, lower)) = open {
            all.end(raw, name.len(), lower, bracket);
        }
        all
    }

    fn end(&mut self, raw: usize, raw_end: usize, lower: usize, bracket: u16) {
        self.pieces.push(Piece { raw: (raw, raw_end), lower: (lower, self.lower.len()), bracket });
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// A piece in lower case; empty beyond the last one.
    pub(super) fn word(&self, index: usize) -> &str {
        self.pieces.get(index).map_or("", |piece| &self.lower[piece.lower.0..piece.lower.1])
    }

    /// From one piece to another, as written.
    pub(super) fn raw(&self, first: usize, last: usize) -> &'a str {
        match (self.pieces.get(first), self.pieces.get(last)) {
            (Some(first), Some(last)) if first.raw.0 < last.raw.1 => &self.name[first.raw.0..last.raw.1],
            _ => "",
        }
    }

    /// What stands between a piece and the one before it: before the first one, and behind the last one, all that is left.
    pub(super) fn gap(&self, index: usize) -> &'a str {
        let start =
            index.checked_sub(1).and_then(|before| self.pieces.get(before)).map_or(0, |piece| piece.raw.1);
        let end = self.pieces.get(index).map_or(self.name.len(), |piece| piece.raw.0);
        self.name.get(start..end).unwrap_or("")
    }

    /// The number of its pair of brackets.
    pub(super) fn bracket(&self, index: usize) -> Option<u16> {
        self.pieces.get(index).map(|piece| piece.bracket).filter(|bracket| *bracket > 0)
    }

    /// Whether it is all that its pair of brackets holds.
    pub(super) fn is_alone_in_brackets(&self, index: usize) -> bool {
        let bracket = self.bracket(index);
        bracket.is_some()
            && index.checked_sub(1).and_then(|before| self.bracket(before)) != bracket
            && self.bracket(index + 1) != bracket
    }

    /// A piece that is a number of at most nine digits.
    pub(super) fn number(&self, index: usize) -> Option<u32> {
        number(self.word(index))
    }
}

/// A number of one to nine digits.
pub(super) fn number(word: &str) -> Option<u32> {
    let is_number = (1..=9).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| word.parse().ok()).flatten()
}

/// Full-width forms as the ASCII that they stand for.
fn narrow(character: char) -> char {
    match character {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character),
        other => other,
    }
}

fn class_of(character: char) -> Class {
    if character.is_ascii() {
        return if character.is_ascii_alphanumeric() { Class::Latin } else { Class::Separator };
    }
    match character {
        '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' | '\u{300}'..='\u{36f}'
            if !matches!(character, '×' | '÷') =>
        {
            Class::Latin
        }
        _ if character.is_alphanumeric() || unicode_normalization::char::is_combining_mark(character) => {
            Class::Other
        }
        _ => Class::Separator,
    }
}

fn is_opening(character: char) -> bool {
    matches!(character, '[' | '(' | '{' | '【' | '「' | '『' | '《' | '〔' | '〈')
}

fn is_closing(character: char) -> bool {
    matches!(character, ']' | ')' | '}' | '】' | '」' | '』' | '》' | '〕' | '〉')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(name: &str) -> Vec<String> {
        let pieces = Pieces::of(name);
        (0..pieces.len()).map(|index| pieces.word(index).to_owned()).collect()
    }

    #[test]
    fn scripts_part_and_letters_stay_with_digits() {
        assert_eq!(words("Some.Film_x264-GRP.mkv"), ["some", "film", "x264", "grp"]);
        assert_eq!(words("第05集 Español１０８０ｐ"), ["第", "05", "集", "español1080p"]);
        assert_eq!(words("Ubuntu 24.04"), ["ubuntu", "24", "04"]);
    }

    #[test]
    fn gaps_and_brackets_are_known() {
        let pieces = Pieces::of("[A b] C - 05 (1999)");
        assert_eq!(pieces.gap(0), "[");
        assert_eq!(pieces.gap(3), " - ");
        assert_eq!(pieces.gap(5), ")");
        assert_eq!([0, 1, 2, 4].map(|index| pieces.bracket(index)), [Some(1), Some(1), None, Some(2)]);
        assert!(pieces.is_alone_in_brackets(4) && !pieces.is_alone_in_brackets(0));
        assert_eq!(pieces.raw(0, 2), "A b] C");
    }
}
