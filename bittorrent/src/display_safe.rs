//! Names from strangers on a terminal or a page.

use std::{borrow::Cow, fmt::Write as _};

/// The text with everything written out that would act instead of being seen: control characters (a terminal obeys
/// them), characters that change the direction of what follows (`fdp.exe` reads as `exe.pdf`), invisible ones and line
/// breaks become `\u{...}`. A text that is only `.` or `..` is written out too, so that it is not taken for a place.
///
/// What is stored stays as it was; this is for the last step before a person's eye. It does not escape HTML.
///
/// ```
/// assert_eq!(bittorrent::display_safe("Cafe\u{301} 戦争"), "Cafe\u{301} 戦争");
/// assert_eq!(bittorrent::display_safe("red \u{1b}[31m"), "red \\u{1b}[31m");
/// assert_eq!(bittorrent::display_safe(".."), "\\u{2e}\\u{2e}");
/// ```
pub fn display_safe(text: &str) -> Cow<'_, str> {
    let is_place = text == "." || text == "..";
    if !is_place && !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_place || acts(c) {
            // Writing to a string does not fail.
            let _ = write!(safe, "\\u{{{:x}}}", c as u32);
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// The components of a path as one line: each made safe, `/` within one written out, joined by `/`.
///
/// ```
/// assert_eq!(bittorrent::display_safe_path(&["..", "a/b", "c.txt"]), "\\u{2e}\\u{2e}/a\\u{2f}b/c.txt");
/// ```
pub fn display_safe_path(components: &[impl AsRef<str>]) -> String {
    let mut line = String::new();
    for (at, component) in components.iter().enumerate() {
        if at > 0 {
            line.push('/');
        }
        line.push_str(&display_safe(component.as_ref()).replace('/', "\\u{2f}"));
    }
    line
}

/// Whether a character acts on what is around it, or cannot be seen where it should.
///
/// The joiners U+200C and U+200D are not among them: Persian and Indic words and many emoji need them.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direction_marks_and_invisible_characters_are_written_out() {
        assert_eq!(display_safe("invoice\u{202e}fdp.exe"), "invoice\\u{202e}fdp.exe");
        assert_eq!(
            display_safe("a\u{200b}b\u{feff}c\u{2066}d\u{e0041}"),
            "a\\u{200b}b\\u{feff}c\\u{2066}d\\u{e0041}"
        );
    }

    #[test]
    fn control_characters_and_line_breaks_are_written_out() {
        assert_eq!(
            display_safe("a\x07\r\n\t\u{85}\u{7f}\u{2028}b"),
            "a\\u{7}\\u{d}\\u{a}\\u{9}\\u{85}\\u{7f}\\u{2028}b"
        );
    }

    #[test]
    fn scripts_that_need_joiners_and_right_to_left_letters_stay() {
        for text in ["می\u{200c}خواهم", "👩\u{200d}👩", "مكتبة", "אבג", "naïve", "हिन्दी", "\u{fffd}", ""]
        {
            assert!(matches!(display_safe(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn only_whole_names_of_dots_are_places() {
        assert_eq!(display_safe("."), "\\u{2e}");
        assert_eq!(display_safe("..."), "...");
        assert_eq!(display_safe("../x"), "../x");
        assert_eq!(display_safe_path(&["", "y.txt"]), "/y.txt");
    }
}
