//! Names as text: which encoding the bytes of a torrent's name and paths are in.
//!
//! The order: the `.utf-8` keys (whose choice is the caller's), UTF-8, the declared `encoding`, detection over all
//! names of the torrent together. What remains unexplained, and NUL, which PostgreSQL's text cannot hold, becomes
//! U+FFFD. Nothing else is changed: no normalisation, no trimming.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::Encoding;

/// Decodes the names of one torrent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NameDecoder {
    /// For names that are not UTF-8.
    encoding: &'static Encoding,
    guessed: bool,
}

/// How much of a name its text keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fidelity {
    /// The bytes are UTF-8.
    Exact,
    /// The bytes are text in the encoding that was declared.
    Declared,
    /// The bytes are text in the encoding that was detected.
    Guessed,
    /// Something was replaced.
    Replaced,
}

impl NameDecoder {
    /// Finds the encoding of those of `names` that are not UTF-8.
    pub(crate) fn new<'a>(declared: Option<&[u8]>, names: impl Iterator<Item = &'a [u8]> + Clone) -> Self {
        let foreign = names.filter(|name| std::str::from_utf8(name).is_err() && !is_damaged_utf8(name));
        if foreign.clone().next().is_none() {
            return Self { encoding: encoding_rs::UTF_8, guessed: false };
        }
        let explains = |encoding: &'static Encoding| {
            foreign
                .clone()
                .all(|name| encoding.decode_without_bom_handling_and_without_replacement(name).is_some())
        };
        if let Some(encoding) = declared.and_then(encoding_for_label).filter(|encoding| explains(encoding)) {
            return Self { encoding, guessed: false };
        }
        let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
        let mut left = SAMPLE_BYTES_MAX;
        for name in foreign.clone() {
            let sample = &name[..name.len().min(left)];
            detector.feed(sample, false);
            // Between names, lest the end of one and the start of the next be taken for one character.
            detector.feed(b"\n", false);
            left -= sample.len();
            if left == 0 {
                break;
            }
        }
        detector.feed(b"", true);
        Self { encoding: detector.guess(None, Utf8Detection::Deny), guessed: true }
    }

    /// The text of a name.
    pub(crate) fn decode(&self, raw: &[u8]) -> (String, Fidelity) {
        let (text, fidelity) = if let Ok(text) = std::str::from_utf8(raw) {
            (text.into(), Fidelity::Exact)
        } else if is_damaged_utf8(raw) {
            (String::from_utf8_lossy(raw), Fidelity::Replaced)
        } else {
            let (text, replaced) = self.encoding.decode_without_bom_handling(raw);
            let fidelity = match (replaced, self.guessed) {
                (true, _) => Fidelity::Replaced,
                (false, true) => Fidelity::Guessed,
                (false, false) => Fidelity::Declared,
            };
            (text, fidelity)
        };
        if text.contains('\0') {
            return (text.replace('\0', REPLACEMENT), Fidelity::Replaced);
        }
        (text.into_owned(), fidelity)
    }
}

/// What stands for NUL and for what cannot be decoded.
const REPLACEMENT: &str = "\u{fffd}";

/// Detection looks at no more than this: enough for any language, and every byte is
/// weighed for each of some 25 encodings.
const SAMPLE_BYTES_MAX: usize = 64 << 10;

/// Names are often cut after so many bytes, in the middle of a character: still UTF-8, with a wound. Text in another
/// encoding is hardly ever UTF-8 in most places.
fn is_damaged_utf8(raw: &[u8]) -> bool {
    let (mut sound, mut wounds) = (0usize, 0usize);
    for chunk in raw.utf8_chunks() {
        sound += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        wounds += usize::from(!chunk.invalid().is_empty());
    }
    wounds > 0 && sound >= 4 * wounds
}

/// The encoding that a label means: those of the WHATWG, and what old clients on Windows write.
fn encoding_for_label(label: &[u8]) -> Option<&'static Encoding> {
    let encoding = Encoding::for_label_no_replacement(label).or_else(|| {
        let mut label = label.trim_ascii().to_ascii_lowercase();
        label.truncate(16);
        label.retain(|byte| !b"-_ ".contains(byte));
        let number = label.strip_prefix(b"cp").or_else(|| label.strip_prefix(b"windows")).unwrap_or(&label);
        match number {
            b"932" | b"sjis" => Some(encoding_rs::SHIFT_JIS),
            b"936" => Some(encoding_rs::GBK),
            b"949" => Some(encoding_rs::EUC_KR),
            b"950" => Some(encoding_rs::BIG5),
            b"1250" => Some(encoding_rs::WINDOWS_1250),
            b"1251" => Some(encoding_rs::WINDOWS_1251),
            b"1252" => Some(encoding_rs::WINDOWS_1252),
            _ => None,
        }
    })?;
    // "UTF-8" explains nothing that is not UTF-8, and the wide ones nothing that stands in a path.
    (encoding != encoding_rs::UTF_8 && encoding.is_ascii_compatible()).then_some(encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(declared: Option<&[u8]>, names: &[&[u8]]) -> Vec<(String, Fidelity)> {
        let decoder = NameDecoder::new(declared, names.iter().copied());
        names.iter().map(|name| decoder.decode(name)).collect()
    }

    fn texts(names: &[&[u8]]) -> Vec<String> {
        decode(None, names).into_iter().map(|(text, _)| text).collect()
    }

    fn encoded(encoding: &'static Encoding, text: &str) -> Vec<u8> {
        let (bytes, _, failed) = encoding.encode(text);
        assert!(!failed, "{text} in {}", encoding.name());
        bytes.into_owned()
    }

    #[test]
    fn utf8_is_taken_as_it_is() {
        let name = "Cafe\u{301} \u{202e} .. \u{feff} \u{1b}[31m";
        assert_eq!(decode(Some(b"cp1251"), &[name.as_bytes()]), [(name.to_owned(), Fidelity::Exact)]);
        assert_eq!(decode(None, &[b""]), [(String::new(), Fidelity::Exact)]);
    }

    #[test]
    fn nul_is_replaced_and_nothing_else() {
        assert_eq!(
            decode(None, &[b"a\0b\x07\x1b\n"]),
            [("a\u{fffd}b\x07\x1b\n".to_owned(), Fidelity::Replaced)]
        );
    }

    #[test]
    fn cyrillic_of_windows_is_detected_from_short_names() {
        // The bytes of the interoperability zoo.
        assert_eq!(
            decode(
                None,
                &[
                    b"\xd0\xf3\xf1\xf1\xea\xe0\xff \xea\xee\xe4\xe8\xf0\xee\xe2\xea\xe0",
                    b"\xf4\xe0\xe9\xeb.txt"
                ]
            ),
            [("Русская кодировка".to_owned(), Fidelity::Guessed), ("файл.txt".to_owned(), Fidelity::Guessed)]
        );
    }

    #[test]
    fn other_encodings_seen_in_the_wild_are_detected() {
        for (encoding, names) in [
            (encoding_rs::WINDOWS_1251, &["Сборник рассказов", "глава первая.txt"][..]),
            (encoding_rs::SHIFT_JIS, &["日本語の映画コレクション", "第一話「はじまり」.avi"]),
            (encoding_rs::GBK, &["中文电影合集", "第一集 开始.rmvb", "说明文件.txt"]),
            (encoding_rs::EUC_KR, &["한국 드라마 모음", "제1회.avi"]),
            (encoding_rs::BIG5, &["繁體中文電影合集", "第一集 開始.avi", "說明文件.txt"]),
            (encoding_rs::WINDOWS_1252, &["Les misérables été à la façon", "première.avi"]),
        ] {
            let raw: Vec<_> = names.iter().map(|name| encoded(encoding, name)).collect();
            let raw: Vec<_> = raw.iter().map(Vec::as_slice).collect();
            assert_eq!(texts(&raw), names, "{}", encoding.name());
        }
    }

    #[test]
    fn a_short_name_is_decoded_by_the_help_of_the_others() {
        let paths = ["第一話 はじまりの物語.avi", "第二話 それからの二人.avi"];
        let raw: Vec<_> = ["表"].iter().chain(&paths).map(|t| encoded(encoding_rs::SHIFT_JIS, t)).collect();
        let raw: Vec<_> = raw.iter().map(Vec::as_slice).collect();
        assert_eq!(texts(&raw), ["表", paths[0], paths[1]]);
    }

    #[test]
    fn a_declared_encoding_wins_over_detection_when_it_fits() {
        let raw = encoded(encoding_rs::WINDOWS_1251, "это");
        for label in [&b"windows-1251"[..], b"CP1251", b"cp-1251", b"Windows 1251"] {
            assert_eq!(decode(Some(label), &[&raw]), [("это".to_owned(), Fidelity::Declared)]);
        }
        // A label that does not explain the bytes is of no use.
        let raw = encoded(encoding_rs::WINDOWS_1251, "Сборник рассказов");
        for label in [&b"UTF-8"[..], b"utf-16le", b"klingon", b"\xff", b""] {
            assert_eq!(decode(Some(label), &[&raw]), [("Сборник рассказов".to_owned(), Fidelity::Guessed)]);
        }
    }

    #[test]
    fn names_in_utf8_are_not_touched_by_the_encoding_of_the_others() {
        let raw = encoded(encoding_rs::WINDOWS_1251, "Сборник рассказов");
        assert_eq!(texts(&[&raw, "Сборник".as_bytes()]), ["Сборник рассказов", "Сборник"]);
    }

    #[test]
    fn utf8_that_was_cut_in_the_middle_of_a_character_stays_utf8() {
        let name = &"Война и мир".as_bytes()[..19];
        assert_eq!(decode(None, &[name]), [("Война и ми\u{fffd}".to_owned(), Fidelity::Replaced)]);
    }
}
