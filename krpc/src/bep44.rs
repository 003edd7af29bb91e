//! Keys and rules of stored items (BEP 44). Signatures are not checked here: nobody who only
//! answers politely needs to.

use sha1::{Digest, Sha1};

use crate::{NodeId, bencode};

/// The most bytes of a stored value in its bencoded form.
pub const VALUE_LEN_MAX: usize = 1000;

/// The most bytes of a salt.
pub const SALT_LEN_MAX: usize = 64;

/// How deep a stored value may nest: what a message may, without the two levels around it.
const DEPTH_MAX: usize = bencode::Limits::KRPC.depth as usize - 2;

/// Where an immutable item is stored: the SHA-1 of its value, given as bencoded bytes.
pub fn immutable_target(value: &[u8]) -> NodeId {
    NodeId::from_bytes(Sha1::digest(value).into())
}

/// Where a mutable item is stored: the SHA-1 of its public key and its salt, which may be empty.
pub fn mutable_target(public_key: &[u8; 32], salt: &[u8]) -> NodeId {
    NodeId::from_bytes(Sha1::new().chain_update(public_key).chain_update(salt).finalize().into())
}

/// Whether `value` is something to keep for others: short enough, and one canonical value, so that
/// every node derives the same key from it.
pub fn is_storable(value: &[u8]) -> bool {
    value.len() <= VALUE_LEN_MAX && bencode::is_canonical(value, DEPTH_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC_KEY: [u8; 32] = [
        0x77, 0xff, 0x84, 0x90, 0x5a, 0x91, 0x93, 0x63, 0x67, 0xc0, 0x13, 0x60, 0x80, 0x31, 0x04, 0xf9, 0x24,
        0x32, 0xfc, 0xd9, 0x04, 0xa4, 0x35, 0x11, 0x87, 0x6d, 0xf5, 0xcd, 0xf3, 0xe7, 0xe5, 0x48,
    ];

    /// The test vectors of BEP 44.
    #[test]
    fn the_targets_of_the_specification_are_found() {
        assert_eq!(mutable_target(&PUBLIC_KEY, b"").to_string(), "4a533d47ec9c7d95b1ad75f576cffc641853b750");
        assert_eq!(
            mutable_target(&PUBLIC_KEY, b"foobar").to_string(),
            "411eba73b6f087ca51a3795d9c8c938d365e32c1"
        );
        assert_eq!(
            immutable_target(b"12:Hello World!").to_string(),
            "e5f96f6f38320f0f33959cb4d3d656452117aadb"
        );
    }

    #[test]
    fn only_short_canonical_values_are_storable() {
        assert!(is_storable(b"12:Hello World!"));
        assert!(is_storable(b"d1:a1:b1:cli1eee"));
        assert!(!is_storable(b"d1:c1:b1:ai1ee"), "unsorted");
        assert!(!is_storable(b"012:Hello World!"), "padded");
        assert!(!is_storable(b"i1ei2e"), "two values");
        assert!(!is_storable(b""), "no value");
        assert!(!is_storable(&[b"l".repeat(9), b"e".repeat(9)].concat()), "deeper than a message");
        assert!(is_storable(&[b"l".repeat(8), b"e".repeat(8)].concat()));
        assert!(is_storable(&[b"996:".to_vec(), vec![0; 996]].concat()));
        assert!(!is_storable(&[b"997:".to_vec(), vec![0; 997]].concat()));
    }
}
