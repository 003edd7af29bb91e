//! Peer ids (BEP 3, BEP 20): who an end of a connection says it is.

use std::fmt;

use rand::Rng;

/// The 20 bytes with which one end of a connection names itself. Nothing about them can be trusted.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerId([u8; 20]);

impl PeerId {
    /// Length in bytes.
    pub const LEN: usize = 20;

    /// Makes an id in the manner of BEP 20: our own client prefix, then 12 random bytes.
    ///
    /// One id serves a whole process: it is what a connection to ourselves is recognised by.
    pub fn generate(rng: &mut impl Rng) -> Self {
        let mut bytes = [0; 20];
        rng.fill_bytes(&mut bytes);
        for (byte, prefix) in bytes.iter_mut().zip(OWN_PREFIX) {
            *byte = *prefix;
        }
        Self(bytes)
    }

    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// The two letters by which clients are known that name themselves as most do: `-LT2110-...` (BEP 20).
    pub fn client_code(&self) -> Option<[u8; 2]> {
        match self.0 {
            [b'-', a, b, ..] if a.is_ascii_alphanumeric() && b.is_ascii_alphanumeric() => Some([a, b]),
            _ => None,
        }
    }

    /// Whether this is rTorrent (Rakshasa's libTorrent): `-lt`, in contrast to `-LT` of Rasterbar's libtorrent.
    pub fn is_rtorrent(&self) -> bool {
        self.0.starts_with(b"-lt")
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({})", self.0.escape_ascii())
    }
}

/// BEP 20: dash, two letters, four digits, dash. `ix` is on no list of clients.
const OWN_PREFIX: &[u8; 8] = b"-ix0100-";

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn a_generated_id_carries_our_prefix_and_depends_on_the_seed() {
        let id = |seed| PeerId::generate(&mut StdRng::from_seed([seed; 32]));
        assert!(id(1).as_bytes().starts_with(b"-ix0100-"));
        assert_eq!(id(1), id(1));
        assert_ne!(id(1), id(2));
    }

    #[test]
    fn a_client_is_known_by_two_letters_if_it_names_itself_as_most_do() {
        let code = |bytes| PeerId::from_bytes(bytes).client_code();
        assert_eq!(code(*b"-TR3000-abcdefghijkl"), Some(*b"TR"));
        assert_eq!(code(*b"-\n\x013000-abcdefghijkl"), None);
        assert_eq!(code(*b"M4-4-0--9aa757efd5be"), None);
    }

    #[test]
    fn the_two_libtorrents_are_told_apart_by_case() {
        assert!(PeerId::from_bytes(*b"-lt0D80-abcdefghijkl").is_rtorrent());
        assert!(!PeerId::from_bytes(*b"-LT2110-abcdefghijkl").is_rtorrent());
    }
}
