//! From name and files to traits.

use super::{
    Kind, Traits,
    extensions::{Content, content_of, extensions},
};
use crate::file_list::File;

/// Rises whenever the same torrent would give other traits: rows classified by an older version are to be classified again.
pub const CLASS_VER: i16 = 1;

/// What a torrent is, by its name and its files.
pub fn classify(name: &str, files: &[File]) -> Traits {
    classify_name(name, kind_of_files(files))
}

/// What the name of a torrent tells beside its type, which is known.
pub fn classify_name(name: &str, kind: Kind) -> Traits {
    let mut traits = Traits::of_kind(kind);
    let words: Vec<&str> =
        name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    traits.year = words
        .iter()
        .skip(1)
        .rev()
        .find(|word| word.len() == 4 && (word.starts_with("19") || word.starts_with("20")))
        .and_then(|word| word.parse().ok());
    traits
}

/// The type that most bytes have; what goes with other files does not count.
fn kind_of_files(files: &[File]) -> Kind {
    let mut bytes = [0_u64; Kind::ALL.len()];
    for (extension, length) in extensions(files) {
        let kind = match content_of(&extension) {
            Some(Content::Video) => Kind::Video,
            Some(Content::Audio) => Kind::Audio,
            Some(Content::Book) => Kind::Book,
            Some(Content::Software | Content::Program) => Kind::Software,
            Some(Content::Game) => Kind::Game,
            Some(Content::Image) => Kind::Image,
            Some(Content::Archive | Content::Disc) => Kind::Archive,
            Some(Content::Beside) | None => Kind::Other,
        };
        let sum = &mut bytes[kind as usize];
        *sum = sum.saturating_add(length);
    }
    Kind::ALL
        .into_iter()
        .rev()
        .max_by_key(|kind| bytes[*kind as usize])
        .filter(|kind| bytes[*kind as usize] > 0)
        .unwrap_or(Kind::Other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, u64)]) -> Vec<File> {
        list.iter().map(|(path, length)| (vec![(*path).to_owned()], *length)).collect()
    }

    #[test]
    fn the_type_is_that_of_most_bytes() {
        assert_eq!(classify("x", &files(&[("a.mkv", 10), ("b.flac", 9)])).kind, Kind::Video);
        assert_eq!(classify("x", &files(&[("a.mkv", 1), ("b.flac", 9), ("c.flac", 1)])).kind, Kind::Audio);
        assert_eq!(classify("x", &[]).kind, Kind::Other);
    }
}
