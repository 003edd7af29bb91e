//! The types that torrents are sorted into.

use std::{fmt, str::FromStr};

/// The type of a torrent: what most of its bytes are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Films, series, recordings.
    Video,
    /// Music, audio books, radio.
    Audio,
    /// Books, magazines, comics, papers.
    Book,
    /// Programs and systems.
    Software,
    /// Games, for any machine.
    Game,
    /// Photographs, drawings.
    Image,
    /// Archives that do not tell what is in them.
    Archive,
    /// None of these.
    Other,
}

impl Kind {
    /// All of them, by their codes.
    pub const ALL: [Self; 8] = [
        Self::Video,
        Self::Audio,
        Self::Book,
        Self::Software,
        Self::Game,
        Self::Image,
        Self::Archive,
        Self::Other,
    ];

    /// Its word in queries, marks and results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Book => "book",
            Self::Software => "software",
            Self::Game => "game",
            Self::Image => "image",
            Self::Archive => "archive",
            Self::Other => "other",
        }
    }

    /// Its number in `torrents.kind`, from 1; 0 there means that nobody has looked yet.
    pub fn code(self) -> i16 {
        self as i16 + 1
    }

    /// The type with this number; `None` for 0, and for one of a newer program.
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            format!("{text:?} is no type; there are {}", Self::ALL.map(Self::as_str).join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_schema_and_come_back() {
        assert_eq!(Kind::ALL.map(Kind::code), [1, 2, 3, 4, 5, 6, 7, 8]);
        for kind in Kind::ALL {
            assert_eq!((Kind::from_code(kind.code()), kind.as_str().parse()), (Some(kind), Ok(kind)));
        }
        assert_eq!((Kind::from_code(0), Kind::from_code(9)), (None, None));
    }
}
