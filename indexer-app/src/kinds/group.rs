//! Who made a release.

use super::{
    Kind,
    pieces::Pieces,
    tags::{Strength, Tag},
    years::year_of,
};

/// Longest name of a group, in bytes; what is longer is part of a title.
const GROUP_BYTES_MAX: usize = 32;

/// Most words of one.
const GROUP_PIECES_MAX: usize = 4;

/// Ends of names of places in the web, which put themselves before what they hand on.
const SITE_ENDS: &[&str] = &["com", "net", "org", "info", "ru", "cc", "me", "xyz", "club"];

/// What a tag of each piece is, as far as it counts.
pub(super) type Tags = [Option<(Strength, Tag)>];

/// The group that a name tells. `boundary` is where its title is over.
pub(super) fn find(pieces: &Pieces<'_>, tags: &Tags, boundary: Option<usize>, kind: Kind) -> Option<String> {
    let found = behind_hyphen(pieces, tags, boundary)
        .or_else(|| leading(pieces, tags, boundary, kind))
        .or_else(|| by(pieces, tags, kind))
        .or_else(|| maker(pieces, tags, kind))
        .or_else(|| trailing(pieces, tags, boundary, kind))?;
    let letters = found.chars().any(char::is_alphabetic);
    (letters && found.len() <= GROUP_BYTES_MAX).then(|| found.to_owned())
}

/// Whether a piece is part of no tag, or of one that is the name of a group.
fn is_free(tags: &Tags, index: usize) -> bool {
    matches!(tags.get(index), Some(None | Some((_, Tag::Maker(..)))))
}

/// `Title.1999.1080p.x264-GROUP`: what follows the last hyphen behind a tag.
fn behind_hyphen<'a>(pieces: &Pieces<'a>, tags: &Tags, boundary: Option<usize>) -> Option<&'a str> {
    // What is in brackets behind it names who handed it on.
    let last = (0..pieces.len()).rev().find(|index| pieces.bracket(*index).is_none())?;
    let mut simple = None;
    for index in (1..=last).rev().take(GROUP_PIECES_MAX) {
        if !is_free(tags, index) || !matches!(pieces.gap(index), "-" | "_" | "@" | "&") {
            break;
        }
        if pieces.gap(index) == "-" {
            let before = pieces.word(index - 1);
            let tagged = !is_free(tags, index - 1) || year_of(before).is_some();
            let behind = boundary.is_some_and(|boundary| index > boundary);
            let number = behind && before.ends_with(|character: char| character.is_ascii_digit());
            if tagged && behind || number {
                return Some(pieces.raw(index, last));
            }
            if simple.is_none() && (behind || matches!(tags.get(index), Some(Some((_, Tag::Maker(..)))))) {
                simple = Some(pieces.raw(index, last));
            }
        }
    }
    simple
}

/// `[Group] Title - 05 [1080p]`.
fn leading<'a>(pieces: &Pieces<'a>, tags: &Tags, boundary: Option<usize>, kind: Kind) -> Option<&'a str> {
    let bracket = pieces.bracket(0)?;
    boundary?;
    (kind == Kind::Video).then(|| in_brackets(pieces, tags, bracket)).flatten()
}

/// `Title (1999) [1080p] [GROUP]`.
fn trailing<'a>(pieces: &Pieces<'a>, tags: &Tags, boundary: Option<usize>, kind: Kind) -> Option<&'a str> {
    let last = pieces.len().checked_sub(1)?;
    let bracket = pieces.bracket(last)?;
    let behind = boundary.is_some_and(|boundary| boundary < last);
    let found = (kind == Kind::Video && behind).then(|| in_brackets(pieces, tags, bracket)).flatten()?;
    // `YTS.MX` names its place.
    Some(found.split_once('.').map_or(found, |(name, _)| name))
}

/// All that a pair of brackets holds, if it can be a group.
fn in_brackets<'a>(pieces: &Pieces<'a>, tags: &Tags, bracket: u16) -> Option<&'a str> {
    let first = (0..pieces.len()).find(|index| pieces.bracket(*index) == Some(bracket))?;
    let count = (first..pieces.len()).take_while(|index| pieces.bracket(*index) == Some(bracket)).count();
    let last = first + count - 1;
    // Others hold titles: `「…」`.
    let is_square = pieces.gap(first).ends_with(['[', '(', '{', '【']);
    let words = || (first..=last).map(|index| pieces.word(index));
    let is_site = words().any(|word| word == "www") || count > 1 && SITE_ENDS.contains(&pieces.word(last));
    // Checksums stand in brackets, too.
    let is_checksum = count == 1
        && words().all(|word| word.len() == 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let free = (first..=last).all(|index| is_free(tags, index) && pieces.number(index).is_none());
    (count <= GROUP_PIECES_MAX && is_square && free && !is_site && !is_checksum)
        .then(|| pieces.raw(first, last))
}

/// `Title [RePack by Somebody]`.
fn by<'a>(pieces: &Pieces<'a>, tags: &Tags, kind: Kind) -> Option<&'a str> {
    let makes = matches!(kind, Kind::Game | Kind::Software);
    let index = (1..pieces.len().saturating_sub(1)).rev().find(|index| pieces.word(*index) == "by")?;
    let repacked = makes || pieces.word(index - 1) == "repack" || pieces.word(index - 1) == "rip";
    (repacked && is_free(tags, index + 1)).then(|| pieces.raw(index + 1, index + 1))
}

/// A name that is only that of a group, of those who make such things.
fn maker<'a>(pieces: &Pieces<'a>, tags: &Tags, kind: Kind) -> Option<&'a str> {
    let is_maker =
        |tag: &Option<(Strength, Tag)>| matches!(tag, Some((_, Tag::Maker(makes, _))) if *makes == kind);
    let index = tags.iter().rposition(is_maker)?;
    Some(pieces.raw(index, index))
}
