//! What the payload may be encrypted with.

use std::fmt;

/// A set of methods: `crypto_provide`, and with one member `crypto_select`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CryptoMethods(u32);

impl CryptoMethods {
    /// The payload goes as it is; only the handshake is hidden.
    pub const PLAINTEXT: Self = Self(1);
    /// The payload is encrypted with RC4.
    pub const RC4: Self = Self(2);
    /// Either.
    pub const BOTH: Self = Self(3);

    /// The methods of which the other side has sent these bits; bits without a meaning are kept.
    pub(super) const fn from_wire(bits: u32) -> Self {
        Self(bits)
    }

    pub(super) const fn to_wire(self) -> u32 {
        self.0
    }

    /// Whether all of `other` are among these.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The one method to use of those that both sides take: plaintext where possible, since it costs nothing and
    /// nothing is gained by RC4 once the other side is content.
    pub(super) const fn choose(self, offered: Self) -> Option<Self> {
        let common = Self(self.0 & offered.0);
        if common.contains(Self::PLAINTEXT) {
            Some(Self::PLAINTEXT)
        } else if common.contains(Self::RC4) {
            Some(Self::RC4)
        } else {
            None
        }
    }

    /// Whether this is exactly one method, and one of `offered`.
    pub(super) const fn is_choice_of(self, offered: Self) -> bool {
        self.0.count_ones() == 1 && offered.contains(self) && Self::BOTH.contains(self)
    }
}

impl fmt::Debug for CryptoMethods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::PLAINTEXT => f.write_str("plaintext"),
            Self::RC4 => f.write_str("RC4"),
            Self::BOTH => f.write_str("plaintext or RC4"),
            Self(bits) => write!(f, "methods {bits:#x}"),
        }
    }
}
