//! What was unusual about a message that could be read all the same.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// A set of deviations from the specification that did not stop us from reading a message.
///
/// Clients of the wild are told by them, and a jump in their counts shows a new client or an
/// attack; nothing else depends on them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Oddities(u16);

macro_rules! oddities {
    ($($(#[$doc:meta])* $name:ident = $bit:literal $text:literal;)*) => {
        impl Oddities {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)*

            /// Every oddity with its name, in the order of their bits: for counters and reports.
            pub const ALL: &'static [(Self, &'static str)] = &[$((Self::$name, $text)),*];
        }
    };
}

oddities! {
    /// The keys of a dictionary are not in the order that bencode asks for.
    UNSORTED_KEYS = 0 "unsorted keys";
    /// A key occurs twice; the first one counts, as in libtorrent.
    DUPLICATE_KEYS = 1 "duplicate keys";
    /// Bytes follow the message.
    TRAILING_BYTES = 2 "trailing bytes";
    /// A length prefix has leading zeros.
    PADDED_LENGTH = 3 "padded length";
    /// A field has another type, length or range than the specification gives it; it counts as absent.
    BAD_FIELD = 4 "bad field";
    /// `nodes` or `nodes6` has a length that no list of nodes has; the list counts as empty.
    BAD_NODES = 5 "bad nodes";
    /// An item of `values` is no endpoint; it is passed over.
    BAD_VALUES = 6 "bad values";
    /// `samples` has a length that is not a multiple of 20; the list counts as empty.
    BAD_SAMPLES = 7 "bad samples";
    /// `v` does not have 4 bytes; it is cut or filled with zeros.
    BAD_VERSION = 8 "bad version";
    /// `e` is not a list of a code and a text.
    BAD_ERROR = 9 "bad error";
    /// The message carries both `e` and `r` (libtorrent's errors do).
    ERROR_AND_REPLY = 10 "error and reply";
    /// A reply without an id.
    NO_ID = 11 "no id";
    /// The message carries both `a` and `r`; only the one that belongs to its type counts.
    QUERY_AND_REPLY = 12 "query and reply";
}

impl Oddities {
    /// Nothing odd.
    pub const NONE: Self = Self(0);

    /// Whether nothing was odd.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `other` are in this set.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The set as bits, bit i being `ALL[i]`.
    #[inline]
    pub const fn bits(self) -> u16 {
        self.0
    }
}

impl BitOr for Oddities {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Oddities {
    #[inline]
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Display for Oddities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (oddity, name) in Self::ALL {
            if self.contains(*oddity) {
                write!(f, "{separator}{name}")?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Oddities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_names_what_it_holds() {
        let set = Oddities::DUPLICATE_KEYS | Oddities::NO_ID;
        assert_eq!(set.to_string(), "duplicate keys, no id");
        assert!(set.contains(Oddities::NO_ID) && !set.contains(Oddities::BAD_ERROR));
        assert!(Oddities::NONE.is_empty() && !set.is_empty());
    }

    #[test]
    fn every_oddity_has_its_own_bit() {
        for (index, (oddity, _)) in Oddities::ALL.iter().enumerate() {
            assert_eq!(oddity.bits(), 1 << index);
        }
    }
}
