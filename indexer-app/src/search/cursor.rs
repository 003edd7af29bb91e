//! Where a page ended.

use std::{fmt, str::FromStr};

/// Where a page ended, as text that can be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Whether names are done and the next page is among paths.
    pub(crate) stage: Stage,
    /// When the first page was asked for, microseconds since 1970: ages are told from then.
    pub(crate) as_of_us: i64,
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
    /// Names and paths of files together.
    Paths,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Names => "n",
            Stage::Paths => "p",
        };
        write!(f, "{stage}.{:x}", self.as_of_us.cast_unsigned())?;
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
            let as_of_us = number(parts.next()?)?;
            let after = match (parts.next(), parts.next(), parts.next(), parts.next()) {
                (None, None, None, None) => None,
                (Some(key), Some(added_us), Some(info_hash), None) => Some(Position {
                    key: number(key)?,
                    added_us: number(added_us)?,
                    info_hash: info_hash.parse().ok()?,
                }),
                _ => return None,
            };
            Some(Self { stage, as_of_us, after })
        };
        read().ok_or_else(|| format!("{text:?} is no position in a list of results"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_from_its_text() {
        let after = Position { key: -5, added_us: i64::MIN, info_hash: krpc::InfoHash::from_bytes([7; 20]) };
        for cursor in [
            Cursor { stage: Stage::Names, as_of_us: 1, after: Some(after) },
            Cursor { stage: Stage::Paths, as_of_us: -1, after: Some(after) },
            Cursor { stage: Stage::Paths, as_of_us: i64::MAX, after: None },
        ] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for odd in [
            "",
            "n",
            "x.1",
            "n.1.2",
            "n.1.2.3",
            "x.0.1.2.0707070707070707070707070707070707070707",
            "n.1.2.3.4",
            "n.1.é.2.3",
        ] {
            assert!(odd.parse::<Cursor>().is_err(), "{odd}");
        }
    }
}
