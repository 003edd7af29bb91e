//! Signatures of the words of a name: 63 bits that tell of most torrents that a word is not among them.
//!
//! Every lexeme of a name, mark or word, sets two of the bits (a Bloom filter). So whoever looks for words can pass over all signatures
//! that lack one of their bits. A name has 14 lexemes in the mean, which set a third of the bits: one name in eight that lacks a word is
//! not told apart by it, one in sixty by two, one in 450 by three.
//!
//! Signatures are stored, so what a lexeme sets must never change: it is the same on every machine and in every version. When it does change,
//! [`CLASS_VER`](crate::kinds::CLASS_VER) has to rise.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

/// Bits that a lexeme sets, unless two of them are the same one. Three would leave fewer short names that are looked at in vain, and more long ones, whose bits are
/// soon all set.
const BITS: u32 = 2;

/// Bits that there are. Not the sign of the database's numbers: what two of them have in common is then never greater than either.
const LENGTH: u64 = 63;

/// Share of the names without a lexeme that have its bits by mistake, where names have many lexemes, as those of videos do.
pub const MISTAKEN: f64 = 0.2;

/// The bits of some lexemes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signature(u64);

impl Signature {
    /// Of these lexemes.
    pub fn of<'a>(lexemes: impl IntoIterator<Item = &'a str>) -> Self {
        lexemes.into_iter().fold(Self::default(), Self::with)
    }

    /// With another lexeme.
    #[must_use]
    pub fn with(self, lexeme: &str) -> Self {
        let mut hasher = SipHasher13::new();
        hasher.write(lexeme.as_bytes());
        let mut hash = hasher.finish();
        let mut bits = self.0;
        for _ in 0..BITS {
            bits |= 1 << (hash % LENGTH);
            hash /= LENGTH;
        }
        Self(bits)
    }

    /// Whether something that has these lexemes may have those of the other.
    pub fn admits(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no lexeme is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// As the database has it.
    pub fn to_i64(self) -> i64 {
        self.0.cast_signed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_stored_stays_as_it_is() {
        let bits = |lexeme| {
            let bits = Signature::of([lexeme]).0;
            [bits.trailing_zeros(), 63 - bits.leading_zeros()]
        };
        let all = [bits("ubuntu"), bits(":xmkv"), bits("日本")];
        assert_eq!(all, [[43, 53], [36, 43], [8, 50]], "whoever changes this has all names made again");
        assert_eq!(Signature::of([]).0, 0);
    }

    #[test]
    fn most_names_without_a_word_are_told_apart() {
        let name =
            |number: u32, words: u32| (0..words).map(move |word| format!("word{}", number * words + word));
        let mistaken = |asked: Signature, words: u32| {
            let is_admitted = |number: &u32| {
                let words: Vec<String> = name(*number, words).collect();
                Signature::of(words.iter().map(String::as_str)).admits(asked)
            };
            (0..10_000).filter(is_admitted).count()
        };
        let (one, two) = (Signature::of(["ubuntu"]), Signature::of(["ubuntu", "server"]));
        assert!((1_000..1_700).contains(&mistaken(one, 14)), "{}", mistaken(one, 14));
        assert!((100..300).contains(&mistaken(two, 14)), "{}", mistaken(two, 14));
        let of_videos = (MISTAKEN * 10_000.0) as usize;
        assert!((of_videos / 2..of_videos * 2).contains(&mistaken(one, 20)), "{}", mistaken(one, 20));
    }

    proptest! {
        #[test]
        fn a_signature_admits_every_part_of_it(words in prop::collection::vec("\\PC{1,8}", 0..20), first in 0..20_usize) {
            let all = Signature::of(words.iter().map(String::as_str));
            let part = Signature::of(words.iter().skip(first).map(String::as_str));
            prop_assert!(all.admits(part));
            prop_assert_eq!(all.0 | part.0, all.0);
            prop_assert!(words.is_empty() || !all.is_empty());
        }
    }
}
