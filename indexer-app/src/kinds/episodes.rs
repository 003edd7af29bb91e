//! Season and episode, in the ways in which they are written.

use super::pieces::{Pieces, number};

/// Words that stand beside the number of a season.
const SEASON_WORDS: &[&str] = &[
    "season",
    "seasons",
    "series",
    "saison",
    "temporada",
    "temp",
    "staffel",
    "stagione",
    "сезон",
    "сезоны",
    "сезона",
    "sezon",
    "sezonul",
    "kausi",
    "säsong",
    "sæson",
    "sesong",
    "seizoen",
    "évad",
    "sezona",
    "série",
    "serie",
    "시즌",
    "シーズン",
    "फ़सल",
];

/// Words that stand beside the number of an episode.
const EPISODE_WORDS: &[&str] = &[
    "episode",
    "episodes",
    "ep",
    "eps",
    "episodio",
    "episódio",
    "capitulo",
    "capítulo",
    "cap",
    "folge",
    "серия",
    "серии",
    "серій",
    "серія",
    "выпуск",
    "odcinek",
    "odc",
    "epizod",
    "epizoda",
    "epizód",
    "avsnitt",
    "afsnit",
    "jakso",
    "aflevering",
    "bölüm",
    "bolum",
    "tập",
    "حلقة",
    "الحلقة",
    "ตอนที่",
    "エピソード",
];

/// What follows the number of a season in Chinese, Japanese and Korean.
const SEASON_COUNTERS: &[char] = &['季', '期', '기', '部'];

/// What follows the number of an episode there.
const EPISODE_COUNTERS: &[char] = &['集', '話', '话', '回', '화', '회', '巻'];

/// Numbers as words, from 1.
const NUMBER_WORDS: &[&str] =
    &["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];

/// Chinese numerals, from 1.
const HAN_NUMERALS: &[char] = &['一', '二', '三', '四', '五', '六', '七', '八', '九', '十'];

/// Greatest season that is not a year.
const SEASON_MAX: u32 = 99;

/// Greatest episode: some series have run every day for decades.
const EPISODE_MAX: u32 = 9_999;

/// Greatest episode that is told by its place alone; a greater number there is a year or part of a title.
const BARE_EPISODE_MAX: u32 = 1_899;

/// What a name tells of a series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) season: Option<u16>,
    pub(super) episode: Option<u16>,
    /// The first piece that tells of it.
    pub(super) at: Option<usize>,
}

impl Place {
    fn season(&mut self, season: u32, at: usize) {
        if self.season.is_none() && season <= SEASON_MAX {
            self.season = u16::try_from(season).ok();
            self.at = Some(self.at.map_or(at, |before| before.min(at)));
        }
    }

    fn episode(&mut self, episode: u32, at: usize) {
        if self.episode.is_none() && episode <= EPISODE_MAX {
            self.episode = u16::try_from(episode).ok();
            self.at = Some(self.at.map_or(at, |before| before.min(at)));
        }
    }
}

/// What can be nothing else: `S02E05`, `S02.E05`, `2x05`.
pub(super) fn certain(pieces: &Pieces<'_>) -> Place {
    for index in 0..pieces.len() {
        let word = pieces.word(index);
        let mut place = Place { at: Some(index), ..Place::default() };
        if let Some((season, episode)) = season_episode(word) {
            place.season = u16::try_from(season).ok();
            place.episode = episode.and_then(|episode| u16::try_from(episode).ok());
            if place.episode.is_some() {
                return place;
            }
            if let Some((episode, _)) = episode_after(pieces, index + 1) {
                place.episode = u16::try_from(episode).ok();
                return place;
            }
        } else if let Some((season, episode)) = crossed(word) {
            place.season = u16::try_from(season).ok();
            place.episode = u16::try_from(episode).ok();
            return place;
        }
    }
    Place::default()
}

/// All that a name of a video tells.
pub(super) fn likely(pieces: &Pieces<'_>) -> Place {
    let certain = certain(pieces);
    if certain.at.is_some() {
        return certain;
    }
    let mut place = Place::default();
    for index in 0..pieces.len() {
        let word = pieces.word(index);
        if let Some((season, None)) = season_episode(word) {
            // One digit is a season only behind a title: `S2` is a phone, too.
            if word.len() == 3 || index > 0 {
                place.season(season, index);
            }
        } else if SEASON_WORDS.contains(&word) {
            beside(pieces, index, |number, at| place.season(number, at));
        } else if EPISODE_WORDS.contains(&word) {
            // `Cap.205` is episode 5 of season 2.
            match pieces.number(index + 1) {
                Some(number @ 101..=1_999) if word == "cap" => {
                    place.season(number / 100, index);
                    place.episode(number % 100, index);
                }
                _ => beside(pieces, index, |number, at| place.episode(number, at)),
            }
        } else if let Some(episode) = episode_word(word) {
            place.episode(episode, index);
        } else if let Some(number) = pieces.number(index) {
            let next = pieces.word(index + 1);
            let counted = index > 0 && pieces.word(index - 1).ends_with('第') || !next.is_ascii();
            if pieces.gap(index + 1).trim().is_empty() && counted {
                if next.starts_with(SEASON_COUNTERS) && number <= SEASON_MAX {
                    place.season(number, index);
                } else if next.starts_with(EPISODE_COUNTERS) {
                    place.episode(number, index);
                }
            }
        } else if !word.is_ascii() {
            han(word, index, &mut place);
        }
    }
    if place.episode.is_none()
        && let Some((episode, at)) = bare(pieces)
    {
        place.episode(episode, at);
    }
    place
}

/// `s02`, `s02e05`, `s02e05e06`, `s2019e05`, `s02ep05`.
fn season_episode(word: &str) -> Option<(u32, Option<u32>)> {
    let rest = word.strip_prefix('s')?;
    let (season, rest) = digits(rest)?;
    let is_year = season.len() == 4 && (season.starts_with("19") || season.starts_with("20"));
    if season.len() > 2 && !is_year {
        return None;
    }
    let season = number(season)?;
    if rest.is_empty() {
        return (!is_year).then_some((season, None));
    }
    let rest = rest.strip_prefix("ep").or_else(|| rest.strip_prefix('e'))?;
    let (episode, _) = digits(rest)?;
    (episode.len() <= 4).then_some((season, Some(number(episode)?)))
}

/// `e05`, `ep5`, `e05v2`.
fn episode_word(word: &str) -> Option<u32> {
    let (rest, least) = match word.strip_prefix("ep") {
        Some(rest) => (rest, 1),
        None => (word.strip_prefix('e')?, 2),
    };
    let (episode, rest) = digits(rest)?;
    ((least..=4).contains(&episode.len()) && is_version(rest)).then(|| number(episode)).flatten()
}

/// `2x05`.
fn crossed(word: &str) -> Option<(u32, u32)> {
    let (season, episode) = word.split_once('x')?;
    let plain = (1..=2).contains(&season.len()) && (2..=3).contains(&episode.len());
    plain
        .then_some((number(season)?, number(episode)?))
        .filter(|(season, episode)| *season > 0 && *episode > 0)
}

/// The episode that follows a season at once: `S02.E05`, `S02 Ep 05`, `S2 - 05`.
fn episode_after(pieces: &Pieces<'_>, index: usize) -> Option<(u32, usize)> {
    let word = pieces.word(index);
    if let Some(episode) = episode_word(word) {
        return Some((episode, index));
    }
    if EPISODE_WORDS.contains(&word) {
        return pieces
            .number(index + 1)
            .filter(|number| *number <= EPISODE_MAX)
            .map(|number| (number, index));
    }
    let dashed = pieces.gap(index).contains(" - ");
    let (episode, rest) = digits(word)?;
    (dashed && (2..=4).contains(&episode.len()) && is_version(rest))
        .then(|| number(episode))
        .flatten()
        .filter(|number| *number <= BARE_EPISODE_MAX)
        .map(|number| (number, index))
}

/// The number behind a word or right before it: `Season 2`, `2nd season`, `2 сезон: 1-10 серии`.
fn beside(pieces: &Pieces<'_>, index: usize, mut found: impl FnMut(u32, usize)) {
    let small = |number: &u32| *number <= BARE_EPISODE_MAX;
    let after = || {
        let word = pieces.word(index + 1);
        let named =
            NUMBER_WORDS.iter().position(|one| *one == word).and_then(|place| u32::try_from(place + 1).ok());
        pieces.number(index + 1).filter(small).or(named).map(|number| (number, index))
    };
    let before = || {
        let at = index.checked_sub(1).filter(|_| !pieces.gap(index).contains(['[', ']', '(', ')']))?;
        // `2-й` has two pieces.
        let is_ending =
            at > 0 && pieces.gap(at) == "-" && matches!(pieces.word(at), "й" | "ый" | "ой" | "я" | "ая");
        let at = if is_ending { at - 1 } else { at };
        let (text, suffix) = digits(pieces.word(at))?;
        let is_ordinal = is_ending || matches!(suffix, "st" | "nd" | "rd" | "th" | "ª" | "ème" | "eme");
        let last =
            number(text).filter(small).filter(|_| text.len() <= 4 && (is_ordinal || suffix.is_empty()))?;
        // Of `1-10` the first.
        let first = at.checked_sub(1).filter(|_| pieces.gap(at) == "-");
        let first =
            first.and_then(|first| Some((pieces.number(first)?, first))).filter(|(first, _)| *first < last);
        let (number, at) = first.unwrap_or((last, at));
        Some((number, at, is_ordinal))
    };
    // The number behind may belong to the next word: `2 сезон 5 серия`.
    let is_apart = pieces.gap(index + 1).contains(['-', ':', '(', '[', ')', ']'])
        || [SEASON_WORDS, EPISODE_WORDS].iter().any(|words| words.contains(&pieces.word(index + 2)));
    let before = before();
    let is_ordinal = before.is_some_and(|(.., is_ordinal)| is_ordinal);
    let before = before.map(|(number, at, _)| (number, at));
    let number = if is_apart || is_ordinal { before.or_else(after) } else { after().or(before) };
    if let Some((number, at)) = number {
        found(number, at);
    }
}

/// `第二季`.
fn han(word: &str, index: usize, place: &mut Place) {
    let mut characters = word.chars().skip_while(|character| *character != '第').skip(1);
    let numeral = characters.next().and_then(|one| HAN_NUMERALS.iter().position(|numeral| *numeral == one));
    let (Some(numeral), Some(counter)) = (numeral, characters.next()) else { return };
    let number = u32::try_from(numeral + 1).unwrap_or(0);
    if SEASON_COUNTERS.contains(&counter) {
        place.season(number, index);
    } else if EPISODE_COUNTERS.contains(&counter) {
        place.episode(number, index);
    }
}

/// A number that its place makes an episode: `Title - 05 [1080p]`, `[Group][Title][05][1080p]`, `#05`.
fn bare(pieces: &Pieces<'_>) -> Option<(u32, usize)> {
    (1..pieces.len()).find_map(|index| {
        let (episode, rest) = digits(pieces.word(index))?;
        if episode.len() > 4 || !is_version(rest) {
            return None;
        }
        let (before, after) = (pieces.gap(index), pieces.gap(index + 1));
        let dashed = before.contains(" - ") || before == "_-_";
        let ends = index + 1 == pieces.len()
            || matches!(pieces.word(index + 1), "end" | "fin" | "final")
            || after.contains(['[', '(', '【'])
            || after.contains(" - ") && pieces.bracket(0).is_some();
        let listed = episode.len() >= 2 && pieces.is_alone_in_brackets(index) && pieces.bracket(0).is_some();
        let hashed = before.ends_with('#');
        let number = number(episode).filter(|number| *number <= BARE_EPISODE_MAX)?;
        (dashed && ends || listed || hashed).then_some((number, index))
    })
}

/// The digits that a word begins with, and the rest.
fn digits(word: &str) -> Option<(&str, &str)> {
    let end = word.bytes().take_while(u8::is_ascii_digit).count();
    (end > 0).then(|| word.split_at(end))
}

/// What may follow the number of an episode: nothing, `v2`, `end`.
fn is_version(rest: &str) -> bool {
    rest.is_empty()
        || rest == "end"
        || rest.strip_prefix('v').is_some_and(|version| version.len() == 1 && number(version).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> (Option<u16>, Option<u16>) {
        let place = likely(&Pieces::of(name));
        (place.season, place.episode)
    }

    #[test]
    fn every_way_of_writing_an_episode_is_read() {
        for name in [
            "Title.S02E05.x",
            "Title s2e5",
            "Title S02.E05",
            "Title S02 Ep 05",
            "Title 2x05 Name",
            "Title - Season 2 Episode 5",
            "Title Season Two ep05",
            "Title 2nd Season - 05 [x]",
            "Title S2 - 05",
            "Título Temporada 2 Cap.205",
            "Название (2 сезон 5 серия)",
            "标题 第2季 第05集",
            "标题 第二季 第五集",
            "タイトル 第2期 第5話",
            "제목 시즌 2 5화",
            "[G] Title S2 [05] ",
        ] {
            assert_eq!(place(name), (Some(2), Some(5)), "{name}");
        }
        for name in [
            "[G] Title - 05 [1080p]",
            "[G] Title - 05v2 (x)",
            "[G][Title][05][x]",
            "Title ep.5",
            "Title - E05",
            "Title #5",
        ] {
            assert_eq!(place(name), (None, Some(5)), "{name}");
        }
        for name in [
            "Title S02",
            "Title Complete Season 2",
            "Title S02-S05 x",
            "Staffel 2 Title",
            "2-й сезон",
            "Title S2 1080p",
        ] {
            assert_eq!(place(name), (Some(2), None), "{name}");
        }
    }

    #[test]
    fn what_only_looks_like_an_episode_is_none() {
        for name in [
            "Galaxy 1920x1080",
            "S2",
            "Title - 2019 (x)",
            "Area 51",
            "7 Days - 3 Nights Out",
            "Title 5.1 x264",
            "e2e testing",
            "MS Excel",
        ] {
            assert_eq!(place(name), (None, None), "{name}");
        }
    }
}
