//! From name and files to traits.

use super::{
    Kind, Traits,
    contents::{Contents, Hints},
    episodes::{self, Place},
    extensions::{extensions, marks_of},
    group,
    pieces::Pieces,
    script,
    tags::{Strength, Tag, WORD_BYTES_MAX, tag_of},
    years,
};
use crate::file_list::File;

/// Rises whenever the same torrent would give other traits, or the same lexemes another [signature](crate::signature): rows that an older version
/// has classified are to be classified again.
pub const CLASS_VER: i16 = 3;

/// Languages kept of one torrent: more are a list of subtitles.
const LANGUAGES_MAX: usize = 12;

/// Share of the bytes, in percent, from which on a torrent is its largest file and some things beside it, so that the file's name tells what
/// the torrent's does not.
const MAIN_FILE_PERCENT: u64 = 80;

/// What a torrent is, by its name and its files. The same for the same torrent, always; takes a time that grows with the files alone.
pub fn classify(name: &str, files: &[File]) -> Traits {
    by_extensions(name, files, &extensions(files))
}

/// What a torrent is, and the marks of that and of its extensions.
pub fn classify_and_mark(name: &str, files: &[File]) -> (Traits, Vec<String>) {
    let extensions = extensions(files);
    let traits = by_extensions(name, files, &extensions);
    let mut marks = traits.marks();
    marks.extend(marks_of(&extensions));
    (traits, marks)
}

fn by_extensions(name: &str, files: &[File], extensions: &[(String, u64)]) -> Traits {
    let reading = Reading::of(name);
    let total = files.iter().fold(0_u64, |sum, (_, length)| sum.saturating_add(*length));
    let contents = Contents::of(extensions, total);
    let kind = contents.kind(&reading.hints());
    let mut traits = reading.traits(kind);
    if let Some((path, length)) = files.iter().max_by_key(|(_, length)| *length)
        && let Some(file) = path.last()
        && file != name
    {
        let is_main = *length >= total / 100 * MAIN_FILE_PERCENT;
        traits.fill(Reading::of(file).traits(kind), is_main);
    }
    if kind == Kind::Audio {
        traits.codec = traits.codec.or(contents.sound);
    }
    traits
}

/// What the name of a torrent tells beside its type, which is known. Less than [`classify`] where the files tell more.
pub fn classify_name(name: &str, kind: Kind) -> Traits {
    Reading::of(name).traits(kind)
}

impl Traits {
    /// Takes over what is not known yet from what a file tells. Of one file among many that is only how it was made.
    fn fill(&mut self, file: Self, is_main: bool) {
        self.resolution = self.resolution.or(file.resolution);
        self.codec = self.codec.or(file.codec);
        self.source = self.source.or(file.source);
        if self.languages.is_empty() {
            self.languages = file.languages;
        }
        if is_main {
            self.year = self.year.or(file.year);
            self.season = self.season.or(file.season);
            self.episode = self.episode.or(file.episode);
            self.group = self.group.take().or(file.group);
        }
    }
}

/// A name with its tags.
struct Reading<'a> {
    name: &'a str,
    pieces: Pieces<'a>,
    /// Of each piece the tag that it is, or is part of.
    tags: Vec<Option<(Strength, Tag)>>,
    /// The first piece behind the title, if something tells where that is.
    boundary: Option<usize>,
    /// What tells of a series beyond doubt.
    certain: Place,
    /// What tells of one, if it is a video.
    likely: Place,
}

impl<'a> Reading<'a> {
    fn of(name: &'a str) -> Self {
        let pieces = Pieces::of(name);
        let tags = tags(&pieces);
        let certain = episodes::certain(&pieces);
        let likely = episodes::likely(&pieces);
        let strong = tags.iter().enumerate().position(|(index, tag)| {
            index > 0
                && pieces.bracket(index).is_none_or(|bracket| bracket > 1 || pieces.bracket(0).is_none())
                && is_strong(*tag)
        });
        let year = (1..pieces.len()).find(|index| years::year_of(pieces.word(*index)).is_some());
        let boundary = [strong, likely.at.filter(|at| *at > 0), year].into_iter().flatten().min();
        let mut reading = Self { name, pieces, tags, boundary, certain, likely };
        reading.drop_titles(strong);
        reading
    }

    /// Words of the title are no tags, even if others are: `The Italian Job`. Right before a tag that ends the title they are:
    /// `Title.FRENCH.DVDRip`.
    fn drop_titles(&mut self, strong: Option<usize>) {
        let mut kept_from = self.boundary.unwrap_or(usize::MAX);
        let is_tag = strong.is_some() && strong == self.boundary;
        while kept_from > 1 && kept_from <= self.tags.len() {
            let before = kept_from - 1;
            // Before a year only as in `-WEB-2019-`.
            let hyphens = [before, kept_from].iter().all(|index| self.pieces.gap(*index).ends_with('-'));
            let goes = match self.tags[before] {
                Some((_, Tag::Source(..) | Tag::Sound(_))) => is_tag || hyphens,
                Some(_) => is_tag,
                None => false,
            };
            if !goes {
                break;
            }
            kept_from = before;
        }
        let last = self.tags.len().saturating_sub(1);
        for index in 0..self.tags.len() {
            let in_brackets = self.pieces.bracket(index).is_some();
            let stands = match self.tags[index] {
                None | Some((Strength::Strong, _)) => true,
                // Who made a release stands at its end.
                Some((_, Tag::Maker(..))) if index == last => true,
                Some((Strength::Weak, _)) => in_brackets || index >= kept_from,
                Some((Strength::Bracketed, _)) => in_brackets,
            };
            if !stands {
                self.tags[index] = None;
            }
        }
    }

    /// What the words say of the type. Hints count in titles, too, but less: `Wallpapers of the Sea`.
    fn hints(&self) -> Hints {
        let mut hints = Hints::default();
        if self.certain.at.is_some() {
            hints.add(Kind::Video, 3);
        }
        let mut index = 0;
        while index < self.tags.len() {
            let (length, loose) = match self.tags[index] {
                Some(_) => (1, None),
                None => longest(&self.pieces, index).map_or((1, None), |(length, tag)| (length, Some(tag))),
            };
            match (self.tags[index], loose) {
                (Some((_, Tag::Hint(kind, weight) | Tag::Maker(kind, weight))), _) => {
                    hints.add(kind, 2 * weight);
                }
                (Some((_, Tag::Resolution(_) | Tag::Pictures(_))), _) => hints.add(Kind::Video, 4),
                (Some((_, Tag::Source(kind, _))), _) => hints.add(kind, 4),
                (Some((Strength::Strong, Tag::Sound("flac" | "mp3" | "alac" | "dsd"))), _) => {
                    hints.add(Kind::Audio, 4);
                }
                (None, Some((_, Tag::Hint(kind, weight) | Tag::Maker(kind, weight)))) => {
                    hints.add(kind, weight);
                }
                _ => {}
            }
            index += length;
        }
        hints
    }

    fn traits(&self, kind: Kind) -> Traits {
        let mut traits = Traits::of_kind(kind);
        let is_seen = matches!(kind, Kind::Video | Kind::Archive | Kind::Other);
        let place = if is_seen { self.likely } else { self.certain };
        if is_seen || kind == Kind::Audio {
            (traits.season, traits.episode) = (place.season, place.episode);
        }
        let first_tag = self
            .tags
            .iter()
            .enumerate()
            .position(|(index, tag)| index > 0 && is_strong(*tag))
            .into_iter()
            .chain(place.at)
            .min()
            .unwrap_or(usize::MAX);
        traits.year = years::find(&self.pieces, kind, first_tag);
        let boundary = self.boundary.into_iter().chain(place.at).min();
        traits.group = group::find(&self.pieces, &self.tags, boundary, kind);
        if is_seen || kind == Kind::Image {
            traits.resolution =
                self.first(|tag| if let Tag::Resolution(word) = tag { Some(word) } else { None });
        }
        if is_seen {
            traits.codec = self.first(|tag| if let Tag::Pictures(word) = tag { Some(word) } else { None });
            traits.source =
                self.first(|tag| if let Tag::Source(Kind::Video, word) = tag { Some(word) } else { None });
        } else if kind == Kind::Audio {
            traits.codec = self.first(|tag| if let Tag::Sound(word) = tag { Some(word) } else { None });
            traits.source = self.first(|tag| match tag {
                Tag::Source(Kind::Audio, word) => Some(word),
                Tag::Source(_, "web-dl" | "webrip") => Some("web"),
                _ => None,
            });
        }
        traits.languages = self.languages();
        traits
    }

    /// The first tag of a kind; of one that may stand in titles only when there is no better one.
    fn first(&self, value: impl Fn(Tag) -> Option<&'static str>) -> Option<&'static str> {
        let mut tags = self.tags.iter().flatten();
        let strong =
            tags.find_map(|(strength, tag)| (*strength == Strength::Strong).then(|| value(*tag)).flatten());
        strong.or_else(|| self.tags.iter().flatten().find_map(|(_, tag)| value(*tag)))
    }

    fn languages(&self) -> Vec<&'static str> {
        let mut found = script::languages(self.name);
        found.extend(self.tags.iter().flatten().filter_map(|(_, tag)| match tag {
            Tag::Language(code) => Some(*code),
            _ => None,
        }));
        found.sort_unstable();
        found.dedup();
        found.truncate(LANGUAGES_MAX);
        found
    }
}

fn is_strong(tag: Option<(Strength, Tag)>) -> bool {
    matches!(tag, Some((Strength::Strong, _)))
}

/// What each piece says by itself, or together with the next one.
fn tags(pieces: &Pieces<'_>) -> Vec<Option<(Strength, Tag)>> {
    let mut tags = vec![None; pieces.len()];
    let mut index = 0;
    while index < pieces.len() {
        let Some((length, tag)) = longest(pieces, index) else {
            index += 1;
            continue;
        };
        for part in &mut tags[index..index + length] {
            *part = Some(tag);
        }
        index += length;
    }
    tags
}

/// The tag that begins at a piece, and of how many pieces it is: two that are joined before one alone.
fn longest(pieces: &Pieces<'_>, index: usize) -> Option<(usize, (Strength, Tag))> {
    let word = pieces.word(index);
    let next = pieces.word(index + 1);
    if !next.is_empty() && word.len() + next.len() <= WORD_BYTES_MAX && pieces.gap(index + 1).len() <= 1 {
        let mut joined = [0; WORD_BYTES_MAX];
        joined[..word.len()].copy_from_slice(word.as_bytes());
        joined[word.len()..word.len() + next.len()].copy_from_slice(next.as_bytes());
        let joined = std::str::from_utf8(&joined[..word.len() + next.len()]).ok()?;
        if let Some(tag) = tag_of(joined) {
            return Some((2, tag));
        }
    }
    if word.len() > WORD_BYTES_MAX { None } else { tag_of(word).map(|tag| (1, tag)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The files of a line of the corpus.
    fn files(name: &str, text: &str) -> Vec<File> {
        let list = text.split('|').filter(|one| *one != "-");
        let file = |one: &str| match one.rsplit_once(':') {
            Some((path, megabytes)) => {
                (path.split('/').map(str::to_owned).collect(), megabytes.parse::<u64>().unwrap() << 20)
            }
            None => (vec![format!("{name}.{one}")], 100 << 20),
        };
        list.map(file).collect()
    }

    /// Traits as a line of the corpus writes them.
    fn written(traits: &Traits) -> String {
        let number = |name: &str, value: Option<u16>| {
            value.map(|value| format!("; {name}={value}")).unwrap_or_default()
        };
        let word = |name: &str, value: Option<&str>| {
            value.map(|value| format!("; {name}={value}")).unwrap_or_default()
        };
        let languages = (!traits.languages.is_empty()).then(|| traits.languages.join("+"));
        [
            traits.kind.to_string(),
            number("y", traits.year),
            number("s", traits.season),
            number("e", traits.episode),
            word("r", traits.resolution),
            word("c", traits.codec),
            word("o", traits.source),
            word("g", traits.group.as_deref()),
            word("l", languages.as_deref()),
        ]
        .concat()
    }

    fn corpus() -> impl Iterator<Item = (&'static str, Vec<File>, &'static str)> {
        let lines =
            include_str!("corpus.tsv").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let [name, list, expected] = fields[..] else { panic!("{line:?} has not three fields") };
            (name, files(name, list), expected)
        })
    }

    #[test]
    fn every_torrent_of_the_corpus_is_what_it_is() {
        let wrong: Vec<String> = corpus()
            .filter_map(|(name, files, expected)| {
                let found = written(&classify(name, &files));
                (found != expected).then(|| format!("{name}\n  is       {expected}\n  not      {found}"))
            })
            .collect();
        assert!(wrong.is_empty(), "{} of {} wrong:\n{}", wrong.len(), corpus().count(), wrong.join("\n"));
        assert!(corpus().count() > 200);
    }

    #[test]
    fn what_the_name_alone_tells_is_part_of_what_name_and_files_tell() {
        for (name, files, _) in corpus() {
            let whole = classify(name, &files);
            let mut filled = classify_name(name, whole.kind);
            filled.fill(whole.clone(), true);
            assert_eq!(filled, whole, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_name_and_no_files_make_it_panic_or_grow(
            name in any::<String>(),
            paths in prop::collection::vec((prop::collection::vec(any::<String>(), 0..3), any::<u64>()), 0..20),
        ) {
            let traits = classify(&name, &paths);
            prop_assert_eq!(&classify(&name, &paths), &traits);
            let marks = traits.marks();
            prop_assert!(marks.len() <= 8 + LANGUAGES_MAX);
            prop_assert!(marks.iter().all(|mark| mark.len() <= 80 && mark.starts_with(':') && !mark.contains('\0')));
        }

        #[test]
        fn no_mixture_of_tags_makes_it_panic(
            words in prop::collection::vec(
                prop::sample::select(vec![
                    "S02", "E05", "[", "]", "(", ")", "-", " - ", ".", "1999", "2019", "x264", "by", "第", "季", "05", "2", "FRENCH", "Title", "CODEX", "1080", "p", "www", "ep", "Season",
                ]),
                0..200,
            ),
        ) {
            let name = words.concat();
            for kind in Kind::ALL {
                classify_name(&name, kind);
            }
        }
    }
}
