//! The year of a work, told from the years in its title.

use super::{Kind, pieces::Pieces};

/// Years that works come from; later ones are titles. To be raised with the version of the classifier: a clock would make two indexers
/// differ, and the same one on two days.
const YEARS: std::ops::RangeInclusive<u32> = 1900..=2030;

/// Beside one of these a year is that of the edition.
const EDITIONS: &[&str] =
    &["remaster", "remastered", "reissue", "anniversary", "edition", "restored", "remix"];

/// The year of a piece: `1999`, or a day as `19990521`.
pub(super) fn year_of(word: &str) -> Option<u16> {
    let year = match word.len() {
        4 => super::pieces::number(word)?,
        8 => {
            let day = super::pieces::number(word)?;
            let (month, day) = (day / 100 % 100, day % 100);
            let is_day = (1..=12).contains(&month) && (1..=31).contains(&day);
            is_day.then(|| super::pieces::number(&word[..4])).flatten()?
        }
        _ => return None,
    };
    YEARS.contains(&year).then(|| u16::try_from(year).ok()).flatten()
}

/// The year that a name tells; `first_tag` is where its title is over at the latest.
pub(super) fn find(pieces: &Pieces<'_>, kind: Kind, first_tag: usize) -> Option<u16> {
    let (mut alone, mut bracketed, mut before_tags, mut after) = (None, None, None, None);
    for index in 0..pieces.len() {
        let Some(year) = year_of(pieces.word(index)) else { continue };
        let neighbours = [index.wrapping_sub(1), index + 1].map(|at| pieces.word(at));
        let is_edition = neighbours.iter().any(|word| EDITIONS.contains(word));
        if index == 0 && !may_begin(pieces, kind) {
            continue;
        }
        if is_edition {
            after = after.or(Some(year));
        } else if pieces.is_alone_in_brackets(index) {
            alone = alone.or(Some(year));
        } else if pieces.bracket(index).is_some() {
            bracketed = bracketed.or(Some(year));
        } else if index < first_tag {
            // `2001.A.Space.Odyssey.1968`: the last one is the year.
            before_tags = Some(year);
        } else {
            after = after.or(Some(year));
        }
    }
    alone.or(bracketed).or(before_tags).or(after)
}

/// Whether a year that a name begins with is one: in brackets, in a list of albums, or as part of a day. Otherwise it is the title: `1917`,
/// `2012`, `1984`.
fn may_begin(pieces: &Pieces<'_>, kind: Kind) -> bool {
    let is_part = |index: usize, greatest: u32| {
        pieces.word(index).len() == 2
            && pieces.number(index).is_some_and(|number| (1..=greatest).contains(&number))
    };
    pieces.word(0).len() == 8
        || pieces.is_alone_in_brackets(0)
        || kind == Kind::Audio && pieces.gap(1).contains(" - ")
        || is_part(1, 12) && is_part(2, 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_year_is_told_from_the_title() {
        for (name, expected) in [
            ("2001.A.Space.Odyssey.1968.1080p", Some(1968)),
            ("1917.2019.1080p", Some(2019)),
            ("1917.1080p", None),
            ("Class of 1984 (1982) [x]", Some(1982)),
            ("Runner 2049 2017", Some(2017)),
            ("Runner 2049", None),
            ("Album (1973) [2011 Remaster]", Some(1973)),
            ("Show 2019.05.12", Some(2019)),
            ("2019.05.12 Show", Some(2019)),
            ("Show.20190512", Some(2019)),
            ("Label (1988-2014)", Some(1988)),
            ("Фильм [2004, драма]", Some(2004)),
            ("剧名 2019年", Some(2019)),
        ] {
            let pieces = Pieces::of(name);
            assert_eq!(find(&pieces, Kind::Video, pieces.len()), expected, "{name}");
        }
        let pieces = Pieces::of("1999 - Album");
        assert_eq!((find(&pieces, Kind::Audio, 3), find(&pieces, Kind::Book, 3)), (Some(1999), None));
    }
}
