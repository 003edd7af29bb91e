//! Releases as people name and pack them: films, series, music, books, software, photographs, games, in several
//! scripts, all invented.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use crate::torrent::File;
use crate::vocabulary::{
    ALBUM_NOUNS, ARABIC, AUTHORS, BOOK_FORMATS, CODECS, CYRILLIC, DEVANAGARI, EMOJI, FIRST_WORDS, GREEK,
    GROUPS, HAN, HANGUL, HEBREW, KANA, NOUNS, RESOLUTIONS, SOFTWARE, SOURCES, SUBJECTS,
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A name and the files below it.
pub(crate) struct Release {
    pub(crate) name: String,
    pub(crate) files: Vec<File>,
}

impl Release {
    fn single(name: String, length: u64) -> Self {
        let files = vec![File { path: vec![name.clone()], length }];
        Self { name, files }
    }

    fn folder(name: String) -> Self {
        Self { name, files: Vec::new() }
    }

    fn with(mut self, path: &[&str], length: u64) -> Self {
        self.add(path, length);
        self
    }

    fn add(&mut self, path: &[&str], length: u64) {
        self.files.push(File { path: path.iter().map(|part| (*part).to_owned()).collect(), length });
    }
}

/// The release drawn from `seed`.
pub(crate) fn release(seed: u64) -> Release {
    let rng = &mut StdRng::seed_from_u64(seed);
    match rng.random_range(0..100) {
        0..22 => film(rng),
        22..36 => episode(rng),
        36..45 => season(rng),
        45..61 => album(rng),
        61..71 => book(rng),
        71..73 => library(rng),
        73..80 => software(rng),
        80..82 => photographs(rng),
        82..89 => cyrillic(rng),
        89..95 => east_asian(rng),
        _ => other_script(rng),
    }
}

fn pick<'a>(rng: &mut StdRng, list: &[&'a str]) -> &'a str {
    list.choose(rng).copied().unwrap_or_default()
}

/// A number between the bounds, as often between 1 and 10 as between 10 and 100.
fn size(rng: &mut StdRng, least: u64, most: u64) -> u64 {
    let (low, high) = ((least as f64).ln(), (most as f64).ln());
    rng.random_range(low..high).exp() as u64
}

fn title(rng: &mut StdRng) -> String {
    let (first, noun) = (pick(rng, FIRST_WORDS), pick(rng, NOUNS));
    match rng.random_range(0..4) {
        0 => format!("The {first} {noun}"),
        1 => format!("{first} {noun}"),
        2 => format!("{noun} of the {first} {}", pick(rng, NOUNS)),
        _ => format!("{first} {noun} {}", rng.random_range(2..10)),
    }
}

fn year(rng: &mut StdRng) -> u32 {
    rng.random_range(1955..2026)
}

fn encoding(rng: &mut StdRng) -> String {
    format!("{}.{}.{}-{}", pick(rng, RESOLUTIONS), pick(rng, SOURCES), pick(rng, CODECS), pick(rng, GROUPS))
}

fn dotted(text: &str) -> String {
    text.replace(' ', ".")
}

fn film(rng: &mut StdRng) -> Release {
    let name = format!("{}.{}.{}", dotted(&title(rng)), year(rng), encoding(rng));
    let bytes = size(rng, 700 * MIB, 24 * GIB);
    if rng.random_range(0..3) == 0 {
        return Release::single(format!("{name}.mkv"), bytes);
    }
    let lower = name.to_lowercase();
    let mut release = Release::folder(name.clone()).with(&[&format!("{name}.mkv")], bytes);
    release.add(&[&format!("{lower}.nfo")], size(rng, KIB, 40 * KIB));
    if rng.random() {
        release.add(&["Sample", &format!("sample-{lower}.mkv")], size(rng, 20 * MIB, 90 * MIB));
    }
    for language in ["English", "Français", "Español", "Português", "Русский", "日本語"]
        .iter()
        .take(rng.random_range(0..6))
    {
        release.add(&["Subs", &format!("{language}.srt")], size(rng, 30 * KIB, 150 * KIB));
    }
    release
}

fn episode(rng: &mut StdRng) -> Release {
    let (season, number) = (rng.random_range(1..12), rng.random_range(1..25));
    let name = format!("{}.S{season:02}E{number:02}.{}", dotted(&title(rng)), encoding(rng));
    let bytes = size(rng, 150 * MIB, 4 * GIB);
    if rng.random_range(0..3) > 0 {
        return Release::single(format!("{name}.mkv"), bytes);
    }
    Release::folder(name.clone())
        .with(&[&format!("{name}.mkv")], bytes)
        .with(&[&format!("{name}.nfo")], size(rng, KIB, 20 * KIB))
}

fn season(rng: &mut StdRng) -> Release {
    let (show, season) = (title(rng), rng.random_range(1..10));
    let quality = encoding(rng);
    let mut release = Release::folder(format!("{}.S{season:02}.COMPLETE.{quality}", dotted(&show)));
    let bytes = size(rng, 150 * MIB, 3 * GIB);
    for number in 1..=rng.random_range(6..25) {
        let file = format!("{}.S{season:02}E{number:02}.{quality}.mkv", dotted(&show));
        release.add(&[&file], bytes + size(rng, MIB, 100 * MIB));
    }
    release
}

fn album(rng: &mut StdRng) -> Release {
    let artist = format!("{} {}", pick(rng, FIRST_WORDS), pick(rng, ALBUM_NOUNS));
    let lossless = rng.random::<bool>();
    let (format, extension) = if lossless { ("FLAC", "flac") } else { ("320 kbps", "mp3") };
    let name = format!("{artist} - {} ({}) [{format}]", title(rng), year(rng));
    let mut release = Release::folder(name);
    let discs = if rng.random_range(0..8) == 0 { 2 } else { 1 };
    for disc in 1..=discs {
        for track in 1..=rng.random_range(6..19) {
            let file = format!("{track:02} - {}.{extension}", title(rng));
            let bytes = if lossless { size(rng, 15 * MIB, 60 * MIB) } else { size(rng, 4 * MIB, 16 * MIB) };
            if discs == 1 {
                release.add(&[&file], bytes);
            } else {
                release.add(&[&format!("CD{disc}"), &file], bytes);
            }
        }
    }
    release.add(&["cover.jpg"], size(rng, 50 * KIB, 4 * MIB));
    if lossless {
        release.add(&["album.log"], size(rng, 4 * KIB, 30 * KIB));
        release.add(&["album.cue"], size(rng, KIB, 4 * KIB));
    }
    release
}

fn book(rng: &mut StdRng) -> Release {
    let edition = rng.random_range(1..6);
    let name = format!(
        "{} - {} {} ({} ed, {})",
        pick(rng, AUTHORS),
        pick(rng, SUBJECTS),
        ["for Beginners", "in Depth", "Handbook", "Explained", "and its Applications"]
            .choose(rng)
            .copied()
            .unwrap_or_default(),
        edition,
        year(rng)
    );
    let bytes = size(rng, 300 * KIB, 120 * MIB);
    if rng.random() {
        return Release::single(format!("{name}.{}", pick(rng, BOOK_FORMATS)), bytes);
    }
    let mut release = Release::folder(name.clone());
    for format in BOOK_FORMATS.iter().take(rng.random_range(1..=BOOK_FORMATS.len())) {
        release.add(&[&format!("{name}.{format}")], bytes / 2 + size(rng, KIB, MIB));
    }
    release
}

fn library(rng: &mut StdRng) -> Release {
    let count = rng.random_range(30..180);
    let mut release = Release::folder(format!("{} Library - {count} books", pick(rng, SUBJECTS)));
    for number in 1..=count {
        let (author, format) = (pick(rng, AUTHORS), pick(rng, BOOK_FORMATS));
        let file = format!("{number:03} {} {}.{format}", pick(rng, SUBJECTS), title(rng));
        release.add(&[author, &file], size(rng, 300 * KIB, 60 * MIB));
    }
    release
}

fn software(rng: &mut StdRng) -> Release {
    let (major, minor, patch) = (rng.random_range(1..30), rng.random_range(0..12), rng.random_range(0..10));
    let product = pick(rng, SOFTWARE);
    let name = format!("{product}-{major}.{minor}.{patch}-amd64");
    if rng.random_range(0..3) > 0 {
        return Release::single(format!("{name}.iso"), size(rng, 100 * MIB, 6 * GIB));
    }
    let mut release = Release::folder(name.clone());
    for part in 1..=rng.random_range(1..20) {
        release.add(&[&format!("{}.r{part:02}", name.to_lowercase())], 50 * MIB);
    }
    release.with(&["SHA256SUMS"], size(rng, KIB, 4 * KIB)).with(&["read me.txt"], size(rng, KIB, 9 * KIB))
}

fn photographs(rng: &mut StdRng) -> Release {
    let mut release =
        Release::folder(format!("{} - {} photographs {}", title(rng), pick(rng, SUBJECTS), year(rng)));
    for number in 1..=rng.random_range(60..420) {
        let folder = format!("Day {}", 1 + number / 80);
        release.add(&[&folder, &format!("IMG_{number:04}.JPG")], size(rng, 2 * MIB, 12 * MIB));
    }
    release
}

fn cyrillic(rng: &mut StdRng) -> Release {
    let words: Vec<_> = (0..rng.random_range(2..4)).map(|_| pick(rng, CYRILLIC)).collect();
    let russian = words.join(" ");
    let rip = pick(rng, &["BDRip 1080p", "WEB-DL 720p", "DVDRip", "HDTVRip"]);
    let name = format!("{russian} / {} ({}) {rip} | Дубляж", title(rng), year(rng)).replace('/', "-");
    if rng.random() {
        return Release::single(format!("{name}.avi"), size(rng, 700 * MIB, 8 * GIB));
    }
    let mut release = Release::folder(name);
    for number in 1..=rng.random_range(2..17) {
        release.add(
            &[&format!("Серия {number:02} - {}.mkv", pick(rng, CYRILLIC))],
            size(rng, 200 * MIB, 2 * GIB),
        );
    }
    release.with(&["Субтитры", "полные.srt"], size(rng, 20 * KIB, 90 * KIB))
}

fn east_asian(rng: &mut StdRng) -> Release {
    let resolution = pick(rng, &["1080p", "720p", "2160p"]);
    let (name, unit, extra) = match rng.random_range(0..3) {
        0 => {
            let title = format!("{}{}", pick(rng, HAN), pick(rng, HAN));
            (
                format!("【{}字幕组】{title} 第{}季 [{resolution}]", pick(rng, HAN), rng.random_range(1..5)),
                "集",
                "字幕.ass",
            )
        }
        1 => {
            let title = format!("{}の{}", pick(rng, HAN), pick(rng, KANA));
            (format!("[{}] {title} [{resolution}]", pick(rng, GROUPS)), "話", "特典.mkv")
        }
        _ => {
            let title = format!("{} {}", pick(rng, HANGUL), pick(rng, HANGUL));
            (format!("{title} 시즌{} {resolution}", rng.random_range(1..4)), "화", "자막.smi")
        }
    };
    let mut release = Release::folder(name);
    for number in 1..=rng.random_range(1..26) {
        release.add(&[&format!("第{number:02}{unit}.mkv")], size(rng, 150 * MIB, 2 * GIB));
    }
    release.with(&["附", extra], size(rng, 20 * KIB, 900 * KIB))
}

fn other_script(rng: &mut StdRng) -> Release {
    let (words, extension) = match rng.random_range(0..5) {
        0 => (ARABIC, "mp3"),
        1 => (DEVANAGARI, "mp4"),
        2 => (GREEK, "pdf"),
        3 => (HEBREW, "epub"),
        _ => (EMOJI, "webm"),
    };
    let name = format!("{} {} {} {}", pick(rng, words), title(rng), pick(rng, words), year(rng));
    if rng.random() {
        return Release::single(format!("{name}.{extension}"), size(rng, MIB, 2 * GIB));
    }
    let mut release = Release::folder(name);
    for number in 1..=rng.random_range(1..15) {
        release.add(&[&format!("{number:02} {}.{extension}", pick(rng, words))], size(rng, MIB, 200 * MIB));
    }
    release
}
