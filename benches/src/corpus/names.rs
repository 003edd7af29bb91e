//! Titles and the tags around them.

use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};

use super::vocabulary::{Script, Vocabulary};

const RESOLUTIONS: &[&str] = &["1080p", "720p", "2160p", "480p", "576p"];
const SOURCES: &[&str] = &["BluRay", "WEB-DL", "WEBRip", "HDTV", "DVDRip", "BDRip", "REMUX"];
const CODECS: &[&str] = &["x264", "x265", "H.264", "HEVC", "XviD", "AV1"];
const SOUNDS: &[&str] = &["AAC", "DTS", "AC3", "DDP5.1", "FLAC", "TrueHD"];

/// One of a list.
pub(super) fn pick<'a>(random: &mut StdRng, list: &[&'a str]) -> &'a str {
    list.choose(random).copied().unwrap_or_default()
}

/// So many words of a script, as it writes them side by side.
pub(super) fn title(random: &mut StdRng, vocabulary: &Vocabulary, script: Script, words: usize) -> String {
    let mut title = String::new();
    for index in 0..words {
        if index > 0 && !script.is_spaceless() {
            title.push(' ');
        }
        let word = vocabulary.draw(script, random);
        let mut characters = word.chars();
        match characters.next() {
            Some(first) => title.extend(first.to_uppercase().chain(characters)),
            None => title.push_str(word),
        }
    }
    title
}

/// A year.
pub(super) fn year(random: &mut StdRng) -> u32 {
    // The newer the more.
    2026 - (random.random::<f64>().powi(2) * 70.0) as u32
}

/// Resolution, source, codec, often sound, and who released it: one of 20,000 groups.
pub(super) fn encoding(random: &mut StdRng, vocabulary: &Vocabulary) -> String {
    let (resolution, source, codec) =
        (pick(random, RESOLUTIONS), pick(random, SOURCES), pick(random, CODECS));
    let sound = if random.random() { format!("{}.", pick(random, SOUNDS)) } else { String::new() };
    format!("{resolution}.{source}.{sound}{codec}-{}", group(random, vocabulary))
}

/// A release group: a rarer word in capitals, few of them very busy.
pub(super) fn group(random: &mut StdRng, vocabulary: &Vocabulary) -> String {
    let rank = 20_000_f64.powf(random.random::<f64>()) as usize;
    vocabulary.word(Script::Latin, 1_000 + rank).to_uppercase()
}

/// With points for spaces, as the scene writes.
pub(super) fn dotted(text: &str) -> String {
    text.replace(' ', ".")
}
