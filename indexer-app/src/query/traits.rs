//! Values of the fields that say what a torrent is, and the marks that they are looked for by.

use super::Trait;
use crate::kinds::{self, Kind};

/// Other words for types, without an `s` at their end.
const KINDS: [(&str, Kind); 12] = [
    ("movie", Kind::Video),
    ("film", Kind::Video),
    ("tv", Kind::Video),
    ("music", Kind::Audio),
    ("audiobook", Kind::Audio),
    ("ebook", Kind::Book),
    ("comic", Kind::Book),
    ("app", Kind::Software),
    ("program", Kind::Software),
    ("picture", Kind::Image),
    ("photo", Kind::Image),
    ("unknown", Kind::Other),
];

/// Longest value that is one; the classifier has no longer ones.
const VALUE_BYTES_MAX: usize = 64;

/// A value as it stands in marks; `None` when it is none. What it gives, it leaves as it is.
pub(super) fn value(of: Trait, text: &str) -> Option<String> {
    let text = text.trim();
    if text.len() > VALUE_BYTES_MAX {
        return None;
    }
    let lower = text.to_lowercase();
    match of {
        Trait::Kind => kind(&lower).map(|kind| kind.as_str().to_owned()),
        Trait::Extension => kinds::extension_mark(text).map(|mark| word_of(&mark)),
        Trait::Group => kinds::group_mark(text).map(|mark| word_of(&mark)),
        Trait::Language | Trait::Resolution | Trait::Codec | Trait::Source => {
            let word = plain(&lower)?;
            if of == Trait::Language && word.len() == 2 {
                return Some(word);
            }
            if of == Trait::Resolution && word.bytes().all(|byte| byte.is_ascii_digit()) {
                return Some(format!("{word}p"));
            }
            Some(read(of, &lower).or_else(|| read(of, &word)).unwrap_or(word))
        }
    }
}

/// The lexeme that stands for it in the index.
pub(crate) fn mark(of: Trait, value: &str) -> String {
    let field = match of {
        Trait::Kind => return value.parse().map_or_else(|_| kinds::mark('t', value), kinds::kind_mark),
        Trait::Extension => 'x',
        Trait::Language => 'l',
        Trait::Resolution => 'r',
        Trait::Codec => 'c',
        Trait::Source => 'o',
        Trait::Group => 'g',
    };
    kinds::mark(field, value)
}

fn kind(text: &str) -> Option<Kind> {
    let singular = text.strip_suffix('s').unwrap_or(text);
    let named = |name: &str| {
        name.parse().ok().or_else(|| KINDS.iter().find(|(other, _)| *other == name).map(|(_, kind)| *kind))
    };
    named(text).or_else(|| named(singular))
}

/// The word behind the letter of a mark.
fn word_of(mark: &str) -> String {
    mark.chars().skip(2).collect()
}

/// What the classifier makes of the word in a name: `webdl` may be `web-dl` there.
fn read(of: Trait, word: &str) -> Option<String> {
    let name = format!("a name 1999 {word}");
    [Kind::Video, Kind::Audio].into_iter().find_map(|kind| {
        let traits = kinds::classify_name(&name, kind);
        let found = match of {
            Trait::Resolution => traits.resolution,
            Trait::Codec => traits.codec,
            Trait::Source => traits.source,
            Trait::Language => traits.languages.first().copied(),
            Trait::Kind | Trait::Extension | Trait::Group => None,
        };
        found.map(str::to_owned)
    })
}

/// Letters, digits and hyphens of a word that the classifier does not know.
fn plain(word: &str) -> Option<String> {
    let word: String =
        word.chars().filter(|character| character.is_alphanumeric() || *character == '-').collect();
    word.contains(char::is_alphanumeric).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Trait; 7] = [
        Trait::Kind,
        Trait::Extension,
        Trait::Language,
        Trait::Resolution,
        Trait::Codec,
        Trait::Source,
        Trait::Group,
    ];

    #[test]
    fn values_are_those_of_the_index() {
        let value = |of, text| value(of, text);
        assert_eq!(value(Trait::Kind, "Movies"), Some("video".to_owned()));
        assert_eq!(value(Trait::Kind, "archive"), Some("archive".to_owned()));
        assert_eq!(value(Trait::Kind, "foo"), None);
        assert_eq!(value(Trait::Extension, ".MKV"), Some("mkv".to_owned()));
        assert_eq!(value(Trait::Resolution, "1080"), Some("1080p".to_owned()));
        assert_eq!(value(Trait::Language, "EN"), Some("en".to_owned()));
        assert_eq!(value(Trait::Group, "D-Z0N3"), Some("dz0n3".to_owned()));
        assert_eq!(value(Trait::Group, "--"), None);
    }

    #[test]
    fn marks_are_those_that_the_classifier_sets() {
        for kind in Kind::ALL {
            assert_eq!(mark(Trait::Kind, kind.as_str()), kinds::kind_mark(kind));
        }
        assert_eq!(Some(mark(Trait::Extension, "mkv")), kinds::extension_mark("mkv"));
        assert_eq!(Some(mark(Trait::Group, "abc")), kinds::group_mark("abc"));
        let mut traits = kinds::Traits::of_kind(Kind::Video);
        (traits.resolution, traits.codec, traits.source) = (Some("1080p"), Some("x265"), Some("bluray"));
        traits.languages = vec!["en"];
        let marks = traits.marks();
        for (of, value) in [
            (Trait::Resolution, "1080p"),
            (Trait::Codec, "x265"),
            (Trait::Source, "bluray"),
            (Trait::Language, "en"),
        ] {
            assert!(marks.contains(&mark(of, value)), "{value} in {marks:?}");
        }
    }

    proptest! {
        #[test]
        fn a_value_is_its_own_value(text in prop_oneof!["\\PC{0,12}", "[a-zA-Z0-9.-]{1,10}"]) {
            for of in ALL {
                if let Some(found) = value(of, &text) {
                    prop_assert_eq!(value(of, &found), Some(found.clone()));
                    prop_assert!(!found.contains(|c: char| c.is_whitespace() || "|()\"".contains(c)));
                }
            }
        }
    }
}
