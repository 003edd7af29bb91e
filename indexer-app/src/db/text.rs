//! What a text column can hold.

use std::borrow::Cow;

/// The text with every NUL, which PostgreSQL's text type cannot hold, replaced by U+FFFD.
///
/// Names and paths pass through it alike, so that the name of a single file stays equal to its path.
pub fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nul_becomes_the_replacement_character_and_nothing_else_changes() {
        assert_eq!(storable("a\0b\0"), "a\u{fffd}b\u{fffd}");
        assert_eq!(storable("日本 \u{202e}x"), "日本 \u{202e}x");
    }
}
