//! A hash that outsiders cannot steer: SipHash-1-3 under a key drawn from the seed.
//!
//! Remotes choose what goes into our tables (addresses, ids, info-hashes). Under a key they do not
//! know they cannot choose where it goes.

use siphasher::sip::SipHasher13;

/// The key of one table.
#[derive(Clone, Copy)]
pub struct HashKey(SipHasher13);

impl HashKey {
    /// The key for one purpose; different purposes have unrelated keys.
    pub fn derive(seed: &[u8; 32], purpose: &str) -> HashKey {
        let (low, high) = seed.split_at(16);
        let half = |bytes: &[u8]| {
            let mut key = [0; 16];
            key.copy_from_slice(bytes);
            SipHasher13::new_with_key(&key)
        };
        let text = purpose.as_bytes();
        HashKey(SipHasher13::new_with_keys(half(low).hash(text), half(high).hash(text)))
    }

    /// The hash of some bytes.
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        self.0.hash(bytes)
    }
}

impl std::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashKey(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_and_purpose_decide_the_hash() {
        let hash = |seed: u8, purpose| HashKey::derive(&[seed; 32], purpose).hash(b"bytes");
        assert_eq!(hash(1, "a"), hash(1, "a"));
        assert_ne!(hash(1, "a"), hash(1, "b"));
        assert_ne!(hash(1, "a"), hash(2, "a"));
        assert_eq!(format!("{:?}", HashKey::derive(&[1; 32], "a")), "HashKey(secret)");
    }
}
