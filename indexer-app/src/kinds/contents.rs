//! The type of a torrent by what its files are, and by hints of its name where files do not tell.

use super::{
    Kind,
    extensions::{Content, content_of},
};
/// A program among files that nobody knows is a game from this size on: other programs bring files of known kinds, or few.
const GAME_BYTES_MIN: u64 = 300 << 20;

/// How likely each type is by the words of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hints([u32; Kind::ALL.len()]);

impl Hints {
    pub(super) fn add(&mut self, kind: Kind, weight: u32) {
        let sum = &mut self.0[kind as usize];
        *sum = sum.saturating_add(weight);
    }

    fn of(&self, kind: Kind) -> u32 {
        self.0[kind as usize]
    }

    /// The likeliest type; of equals the first one in the order of [`Kind`].
    fn best(&self) -> Option<Kind> {
        Kind::ALL.into_iter().rev().max_by_key(|kind| self.of(*kind)).filter(|kind| self.of(*kind) > 0)
    }
}

/// Bytes by what they are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Contents {
    bytes: [u64; CONTENTS.len()],
    unknown: u64,
    /// The extension with most bytes says how sound is coded.
    pub(super) sound: Option<&'static str>,
}

const CONTENTS: [Content; 10] = [
    Content::Video,
    Content::Audio,
    Content::Book,
    Content::Software,
    Content::Game,
    Content::Image,
    Content::Archive,
    Content::Disc,
    Content::Program,
    Content::Beside,
];

/// Extensions of sound that say how it is coded.
const SOUNDS: &[(&str, &str)] = &[
    ("ape", "ape"),
    ("dff", "dsd"),
    ("dsf", "dsd"),
    ("flac", "flac"),
    ("mp3", "mp3"),
    ("ogg", "ogg"),
    ("opus", "opus"),
    ("wav", "wav"),
    ("wma", "wma"),
    ("wv", "wavpack"),
];

impl Contents {
    /// Of extensions with their bytes, and of all bytes.
    pub(super) fn of(extensions: &[(String, u64)], total: u64) -> Self {
        let mut all = Self::default();
        let mut named = 0_u64;
        for (extension, bytes) in extensions {
            // So that empty files tell something where there is nothing else.
            let bytes = (*bytes).max(1);
            named = named.saturating_add(bytes);
            match content_of(extension) {
                Some(content) => {
                    let sum = &mut all.bytes[content as usize];
                    *sum = sum.saturating_add(bytes);
                    if content == Content::Audio && all.sound.is_none() {
                        all.sound = SOUNDS
                            .iter()
                            .find(|(one, _)| *one == extension.as_str())
                            .map(|(_, sound)| *sound);
                    }
                }
                None => all.unknown = all.unknown.saturating_add(bytes),
            }
        }
        all.unknown = all.unknown.saturating_add(total.saturating_sub(named));
        all
    }

    fn bytes(&self, content: Content) -> u64 {
        self.bytes[content as usize]
    }

    /// The type of a torrent.
    pub(super) fn kind(&self, hints: &Hints) -> Kind {
        let main = CONTENTS
            .into_iter()
            .rev()
            .filter(|content| *content != Content::Beside)
            .max_by_key(|content| self.bytes(*content))
            .filter(|content| self.bytes(*content) > 0);
        let has_program = self.bytes(Content::Software) > 0;
        let most = main.map_or(0, |content| self.bytes(content));
        let program =
            if hints.of(Kind::Game) > hints.of(Kind::Software) { Kind::Game } else { Kind::Software };
        if self.unknown > most {
            let large = self.unknown >= GAME_BYTES_MIN && hints.of(Kind::Software) == 0;
            return match hints.best() {
                _ if has_program && large => Kind::Game,
                _ if has_program => program,
                best => best.unwrap_or(Kind::Other),
            };
        }
        match main {
            Some(Content::Video) => Kind::Video,
            Some(Content::Audio) => Kind::Audio,
            Some(Content::Book) => Kind::Book,
            Some(Content::Image) if hints.of(Kind::Book) > hints.of(Kind::Image) + 1 => Kind::Book,
            Some(Content::Image) => Kind::Image,
            Some(Content::Game) => Kind::Game,
            Some(Content::Software) => program,
            Some(Content::Archive | Content::Disc | Content::Program) if has_program => program,
            Some(Content::Archive | Content::Disc) => hints.best().unwrap_or(Kind::Archive),
            Some(Content::Program | Content::Beside) | None => hints.best().unwrap_or(Kind::Other),
        }
    }
}
