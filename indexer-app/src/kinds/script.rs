//! Languages by the letters that a name is written in.

/// Letters of one script after which a name counts as written in it: a single one is an ornament, as in `Я.R.Я`.
const LETTERS_MIN: u32 = 2;

/// Ranges of letters, by their first ones, and the language that mostly writes them. Those that several languages share stand for the one with
/// most torrents; letters that only one of the others has are in [`TELLING`].
const RANGES: &[(char, char, &str)] = &[
    ('\u{370}', '\u{3ff}', "el"),
    ('\u{400}', '\u{52f}', "ru"),
    ('\u{531}', '\u{58f}', "hy"),
    ('\u{5d0}', '\u{5f2}', "he"),
    ('\u{620}', '\u{6ff}', "ar"),
    ('\u{900}', '\u{97f}', "hi"),
    ('\u{980}', '\u{9ff}', "bn"),
    ('\u{a00}', '\u{a7f}', "pa"),
    ('\u{a80}', '\u{aff}', "gu"),
    ('\u{b80}', '\u{bff}', "ta"),
    ('\u{c00}', '\u{c7f}', "te"),
    ('\u{c80}', '\u{cff}', "kn"),
    ('\u{d00}', '\u{d7f}', "ml"),
    ('\u{e00}', '\u{e7f}', "th"),
    ('\u{10a0}', '\u{10ff}', "ka"),
    ('\u{1100}', '\u{11ff}', "ko"),
    ('\u{1f00}', '\u{1fff}', "el"),
    ('\u{3041}', '\u{30fa}', "ja"),
    ('\u{3400}', '\u{4dbf}', "zh"),
    ('\u{4e00}', '\u{9fff}', "zh"),
    ('\u{ac00}', '\u{d7a3}', "ko"),
    ('\u{f900}', '\u{faff}', "zh"),
    ('\u{20000}', '\u{323af}', "zh"),
];

/// One of these in a name makes what is read as the first language the second.
const TELLING: &[(&str, &str, &str)] = &[
    ("ru", "uk", "іїєґІЇЄҐ"),
    ("ru", "sr", "ђјљњћџЂЈЉЊЋЏ"),
    ("ru", "be", "ўЎ"),
    ("ar", "fa", "پچژگ"),
    ("ar", "ur", "ٹڈڑں"),
];

/// The languages that the letters of a text tell, in no order.
pub(super) fn languages(text: &str) -> Vec<&'static str> {
    if text.is_ascii() {
        return Vec::new();
    }
    let mut counts: Vec<(&'static str, u32)> = Vec::new();
    for character in text.chars().filter(|character| *character >= '\u{370}') {
        let after = RANGES.partition_point(|(first, ..)| *first <= character);
        let range = after.checked_sub(1).and_then(|index| RANGES.get(index));
        let Some((_, _, language)) = range.filter(|(_, last, _)| character <= *last) else { continue };
        match counts.iter_mut().find(|(known, _)| known == language) {
            Some((_, count)) => *count += 1,
            None => counts.push((language, 1)),
        }
    }
    // A single Han character may be a word, and Kana beside one tells whose; of alphabets one letter is none.
    let has_han = counts.iter().any(|(language, _)| *language == "zh");
    counts.retain(|(language, count)| {
        *count >= LETTERS_MIN || *language == "zh" || has_han && *language == "ja"
    });
    let mut found: Vec<&'static str> = counts.into_iter().map(|(language, _)| language).collect();
    // Japanese is written with Han characters, too.
    if found.contains(&"ja") {
        found.retain(|language| *language != "zh");
    }
    for (read_as, language, letters) in TELLING {
        if let Some(place) = found.iter().position(|one| one == read_as)
            && text.contains(|character| letters.contains(character))
        {
            found[place] = language;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_tell_languages() {
        for (text, expected) in [
            ("Plain name é ñ", &[][..]),
            ("Тихий берег", &["ru"]),
            ("Її дім", &["uk"]),
            ("海の家", &["ja"]),
            ("海邊的家", &["zh"]),
            ("바다의 집", &["ko"]),
            ("الصحراء", &["ar"]),
            ("گربه سیاه", &["fa"]),
            ("ทะเล", &["th"]),
            ("शांत नदी", &["hi"]),
            ("Я.R.A", &[]),
            ("Тихий берег / 조용한", &["ru", "ko"]),
        ] {
            assert_eq!(languages(text), expected, "{text}");
        }
    }

    #[test]
    fn ranges_ascend() {
        assert!(RANGES.is_sorted_by(|a, b| a.0 <= a.1 && a.1 < b.0));
    }
}
