//! What is hashed out of the secret and the torrent: the marks by which the sides find each other, and their keys.

use krpc::InfoHash;
use sha1::{Digest as _, Sha1};

use super::{Cipher, key_exchange::SharedSecret};

/// HASH("req2", SKEY): under this a responder looks up the torrent that it is asked for. It depends on nothing else, so
/// that it can be computed once for each torrent.
pub fn torrent_key(info_hash: &InfoHash) -> [u8; 20] {
    hash([b"req2", info_hash.as_bytes()])
}

impl SharedSecret {
    /// HASH("req1", S): where the pad of the initiator ends.
    pub(super) fn synchronisation(&self) -> [u8; 20] {
        hash([b"req1", &self.0])
    }

    /// Turns what [`torrent_key`] returns into what is sent, and back.
    pub(super) fn mask_torrent_key(&self, key: [u8; 20]) -> [u8; 20] {
        let mut masked = hash([b"req3", &self.0]);
        for (byte, key) in masked.iter_mut().zip(key) {
            *byte ^= key;
        }
        masked
    }

    /// What the initiator encrypts with.
    pub(super) fn initiator_cipher(&self, info_hash: &InfoHash) -> Cipher {
        Cipher::rc4(&hash([b"keyA", &self.0, info_hash.as_bytes()]))
    }

    /// What the responder encrypts with.
    pub(super) fn responder_cipher(&self, info_hash: &InfoHash) -> Cipher {
        Cipher::rc4(&hash([b"keyB", &self.0, info_hash.as_bytes()]))
    }
}

fn hash<const N: usize>(parts: [&[u8]; N]) -> [u8; 20] {
    let mut sha1 = Sha1::new();
    for part in parts {
        sha1.update(part);
    }
    sha1.finalize().into()
}
