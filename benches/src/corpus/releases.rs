//! Films, episodes, seasons, music, books, courses, software, games, pictures: names, and as many files as asked for.

use rand::{RngExt as _, rngs::StdRng};

use super::{
    names::{dotted, encoding, group, pick, title, year},
    vocabulary::{Script, Vocabulary},
};

const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * KIB;
const GIB: f64 = 1024.0 * MIB;

const LANGUAGES: &[&str] = &[
    "English",
    "Français",
    "Español",
    "Português",
    "Deutsch",
    "Italiano",
    "Русский",
    "日本語",
    "한국어",
    "中文",
    "العربية",
    "हिन्दी",
    "Ελληνικά",
    "עברית",
    "ไทย",
    "Polski",
    "Nederlands",
    "Türkçe",
];

/// A name and its files.
pub(super) struct Release {
    pub(super) name: String,
    pub(super) files: Vec<(Vec<String>, u64)>,
}

/// What is needed to make one.
struct Maker<'a> {
    random: &'a mut StdRng,
    vocabulary: &'a Vocabulary,
    script: Script,
    count: usize,
}

/// A release of so many files.
pub(super) fn release(random: &mut StdRng, vocabulary: &Vocabulary, count: usize) -> Release {
    let script = Vocabulary::script(random);
    let kind = random.random_range(0..100);
    let mut maker = Maker { random, vocabulary, script, count };
    match kind {
        0..26 => maker.film(),
        26..42 => maker.episodes(),
        42..50 => maker.anime(),
        50..68 => maker.album(),
        68..78 => maker.books(),
        78..84 => maker.course(),
        84..90 => maker.software("Setup", &["dll", "exe", "dat", "bin", "cab", "txt"]),
        90..94 => maker.software("Game", &["pak", "bin", "dll", "ogg", "cfg", "rar"]),
        94..98 => maker.pictures(),
        _ => maker.numbered(),
    }
}

impl Maker<'_> {
    fn title(&mut self, least: usize, most: usize) -> String {
        let words = self.random.random_range(least..=most);
        title(self.random, self.vocabulary, self.script, words)
    }

    /// In many names that are not Latin a Latin title stands beside.
    fn full_title(&mut self, least: usize, most: usize) -> String {
        let own = self.title(least, most);
        if self.script == Script::Latin || self.random.random_range(0..3) > 0 {
            return own;
        }
        let words = self.random.random_range(least..=most);
        format!("{own} {}", title(self.random, self.vocabulary, Script::Latin, words))
    }

    fn encoding(&mut self) -> String {
        encoding(self.random, self.vocabulary)
    }

    /// Bytes between the bounds, as often between 1 and 10 as between 10 and 100.
    fn bytes(&mut self, least: f64, most: f64) -> u64 {
        self.random.random_range(least.ln()..most.ln()).exp() as u64
    }

    /// The only file, with the name of the torrent.
    fn single(name: String, length: u64) -> Release {
        let files = vec![(vec![name.clone()], length)];
        Release { name, files }
    }

    fn film(&mut self) -> Release {
        let plain = self.full_title(1, 4);
        let name = format!("{}.{}.{}", dotted(&plain), year(self.random), self.encoding());
        let length = self.bytes(700.0 * MIB, 24.0 * GIB);
        if self.count == 1 {
            return Self::single(format!("{name}.mkv"), length);
        }
        let mut files = vec![(vec![format!("{name}.mkv")], length)];
        files.push((vec![format!("{}.nfo", name.to_lowercase())], self.bytes(KIB, 40.0 * KIB)));
        for (number, language) in LANGUAGES.iter().cycle().take(self.count.saturating_sub(2)).enumerate() {
            let file = match number / LANGUAGES.len() {
                0 => {
                    (vec!["Subs".to_owned(), format!("{language}.srt")], self.bytes(30.0 * KIB, 150.0 * KIB))
                }
                _ => {
                    let extra = format!("{}.mkv", dotted(&self.title(1, 4)));
                    (vec!["Extras".to_owned(), extra], self.bytes(20.0 * MIB, GIB))
                }
            };
            files.push(file);
        }
        files.truncate(self.count);
        Release { name, files }
    }

    fn episodes(&mut self) -> Release {
        let (show, season) = (dotted(&self.full_title(1, 4)), self.random.random_range(1..12));
        let quality = self.encoding();
        let length = self.bytes(150.0 * MIB, 4.0 * GIB);
        if self.count == 1 {
            let episode = self.random.random_range(1..25);
            return Self::single(format!("{show}.S{season:02}E{episode:02}.{quality}.mkv"), length);
        }
        let titled = self.random.random();
        let files = (1..=self.count)
            .map(|number| {
                let (season, episode) = (season + number / 25, 1 + number % 25);
                let title = if titled { format!("{}.", dotted(&self.title(1, 4))) } else { String::new() };
                let file = format!("{show}.S{season:02}E{episode:02}.{title}{quality}.mkv");
                (vec![file], length + self.bytes(MIB, 100.0 * MIB))
            })
            .collect();
        Release { name: format!("{show}.S{season:02}.COMPLETE.{quality}"), files }
    }

    fn anime(&mut self) -> Release {
        if !matches!(self.script, Script::Han | Script::Hangul) {
            self.script = Script::Kana;
        }
        let (group, show) = (group(self.random, self.vocabulary), self.full_title(2, 4));
        let length = self.bytes(100.0 * MIB, 2.0 * GIB);
        if self.count == 1 {
            let (episode, check) = (self.random.random_range(1..60), self.random.random::<u32>());
            return Self::single(format!("[{group}] {show} - {episode:02} [1080p][{check:08X}].mkv"), length);
        }
        let files = (1..=self.count)
            .map(|number| {
                let check = self.random.random::<u32>();
                (vec![format!("[{group}] {show} - {number:02} [1080p][{check:08X}].mkv")], length)
            })
            .collect();
        Release { name: format!("[{group}] {show} [BD 1080p HEVC 10bit]"), files }
    }

    fn album(&mut self) -> Release {
        let (artist, album) = (self.title(1, 3), self.title(1, 4));
        let lossless: bool = self.random.random();
        let (format, extension) = if lossless { ("FLAC", "flac") } else { ("320 kbps", "mp3") };
        let name = format!("{artist} - {album} ({}) [{format}]", year(self.random));
        if self.count == 1 {
            let length = self.bytes(4.0 * MIB, 60.0 * MIB);
            return Self::single(format!("{artist} - {album}.{extension}"), length);
        }
        let mut files: Vec<_> = (1..self.count)
            .map(|number| {
                let file = format!("{:02} - {}.{extension}", 1 + (number - 1) % 20, self.title(1, 5));
                let path =
                    if self.count > 20 { vec![format!("CD{}", 1 + number / 20), file] } else { vec![file] };
                (path, self.bytes(3.0 * MIB, 60.0 * MIB))
            })
            .collect();
        files.push((vec!["cover.jpg".to_owned()], self.bytes(50.0 * KIB, 4.0 * MIB)));
        Release { name, files }
    }

    fn books(&mut self) -> Release {
        let format = pick(self.random, &["epub", "pdf", "mobi", "djvu", "azw3"]);
        if self.count == 1 {
            let name = format!("{} - {} ({})", self.title(2, 2), self.full_title(2, 7), year(self.random));
            let length = self.bytes(300.0 * KIB, 120.0 * MIB);
            return Self::single(format!("{name}.{format}"), length);
        }
        let name = format!("{} - {} books", self.title(1, 4), self.count);
        let files = (0..self.count)
            .map(|_| {
                let author = self.title(2, 2);
                let file = format!("{author} - {}.{format}", self.title(1, 6));
                (vec![author, file], self.bytes(300.0 * KIB, 60.0 * MIB))
            })
            .collect();
        Release { name, files }
    }

    fn course(&mut self) -> Release {
        let name = format!("{} [{}]", self.full_title(2, 6), group(self.random, self.vocabulary));
        if self.count == 1 {
            let length = self.bytes(50.0 * MIB, 4.0 * GIB);
            return Self::single(format!("{name}.mp4"), length);
        }
        let mut section = String::new();
        let files = (0..self.count)
            .map(|number| {
                if number % 12 == 0 {
                    section = format!("{:02}. {}", 1 + number / 12, self.title(1, 4));
                }
                let file = format!("{:03} {}.mp4", 1 + number, self.title(1, 5));
                (vec![section.clone(), file], self.bytes(10.0 * MIB, 400.0 * MIB))
            })
            .collect();
        Release { name, files }
    }

    fn software(&mut self, folder: &str, extensions: &[&str]) -> Release {
        let (major, minor) = (self.random.random_range(1..30), self.random.random_range(0..100));
        let name = format!("{} v{major}.{minor} {folder}", self.title(1, 3));
        if self.count == 1 {
            let length = self.bytes(5.0 * MIB, 8.0 * GIB);
            return Self::single(format!("{name}.iso"), length);
        }
        let files = (0..self.count)
            .map(|_| {
                let file = format!(
                    "{}_{}.{}",
                    self.title(1, 1).to_lowercase(),
                    self.random.random_range(0..64),
                    pick(self.random, extensions)
                );
                let path = match self.random.random_range(0..3) {
                    0 => vec![file],
                    1 => vec![folder.to_owned(), file],
                    _ => vec![folder.to_owned(), self.title(1, 1), file],
                };
                (path, self.bytes(KIB, 400.0 * MIB))
            })
            .collect();
        Release { name, files }
    }

    fn pictures(&mut self) -> Release {
        let name = format!("{} {} pictures", self.full_title(1, 4), self.count);
        if self.count == 1 {
            let length = self.bytes(MIB, GIB);
            return Self::single(format!("{name}.zip"), length);
        }
        let first = self.random.random_range(0..9_000);
        let files = (0..self.count)
            .map(|number| {
                (vec![format!("IMG_{:04}.JPG", first + number)], self.bytes(500.0 * KIB, 12.0 * MIB))
            })
            .collect();
        Release { name, files }
    }

    /// By a code, as serial publications are.
    fn numbered(&mut self) -> Release {
        let code =
            format!("{}-{:03}", group(self.random, self.vocabulary), self.random.random_range(1..1_000));
        let length = self.bytes(300.0 * MIB, 6.0 * GIB);
        if self.count == 1 {
            return Self::single(format!("{code}.mp4"), length);
        }
        let files = (1..=self.count)
            .map(|number| (vec![format!("{}_{number:02}.mp4", code.to_lowercase())], length))
            .collect();
        Release { name: format!("[{code}] {}", self.title(2, 8)), files }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn every_release_has_a_name_and_as_many_files_as_asked_for_with_paths_that_differ() {
        let vocabulary = Vocabulary::new();
        let mut random = StdRng::seed_from_u64(1);
        let mut equal = 0;
        for number in 0..3_000 {
            let count = [1, 2, 3, 11, 35, 80][number % 6];
            let release = release(&mut random, &vocabulary, count);
            assert!(!release.name.is_empty());
            assert_eq!(release.files.len(), count, "{}", release.name);
            let paths: HashSet<&Vec<String>> = release.files.iter().map(|(path, _)| path).collect();
            equal += count - paths.len();
        }
        assert!(equal < 2_000, "{equal} files have the path of another");
    }

    #[test]
    fn ten_scripts_occur() {
        let vocabulary = Vocabulary::new();
        let mut random = StdRng::seed_from_u64(2);
        let mut found = HashSet::new();
        for _ in 0..2_000 {
            found.extend(release(&mut random, &vocabulary, 1).name.chars().filter_map(|character| {
                Some(match character {
                    'a'..='z' => "Latin",
                    'а'..='я' => "Cyrillic",
                    '\u{4e00}'..='\u{9fff}' => "Han",
                    '\u{3040}'..='\u{30ff}' => "Kana",
                    '\u{ac00}'..='\u{d7af}' => "Hangul",
                    '\u{600}'..='\u{6ff}' => "Arabic",
                    '\u{900}'..='\u{97f}' => "Devanagari",
                    'α'..='ω' => "Greek",
                    '\u{5d0}'..='\u{5ea}' => "Hebrew",
                    '\u{e00}'..='\u{e7f}' => "Thai",
                    _ => return None,
                })
            }));
        }
        assert_eq!(found.len(), 10, "{found:?}");
    }
}
