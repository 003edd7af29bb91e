//! The payload of a connection, after the handshake.

use std::fmt;

use rc4::{KeyInit as _, Rc4, StreamCipher as _};

use super::CryptoMethods;

/// Transforms the bytes of one direction. Every byte must pass it once, in order.
pub enum Cipher {
    /// Leaves them as they are.
    Plain,
    /// Encrypts or decrypts them, which is the same.
    Rc4(Box<Rc4>),
}

/// Both directions of a connection.
#[derive(Debug)]
pub struct Streams {
    /// For what we send.
    pub outgoing: Cipher,
    /// For what we receive.
    pub incoming: Cipher,
}

impl Cipher {
    /// RC4 without its first 1024 bytes, which give away the key.
    pub(super) fn rc4(key: &[u8; 20]) -> Self {
        #[expect(clippy::expect_used, reason = "RC4 takes keys of 1 to 256 bytes")]
        let mut rc4 = Rc4::new_from_slice(key).expect("20 bytes are a key");
        rc4.apply_keystream(&mut [0; DROPPED_BYTES]);
        Self::Rc4(Box::new(rc4))
    }

    /// Encrypts what is to be sent, or decrypts what came.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        if let Self::Rc4(rc4) = self {
            rc4.apply_keystream(bytes);
        }
    }
}

impl Streams {
    /// What follows a handshake that used these ciphers: they go on, or end.
    pub(super) fn after(method: CryptoMethods, outgoing: Cipher, incoming: Cipher) -> Self {
        match method {
            CryptoMethods::PLAINTEXT => Self { outgoing: Cipher::Plain, incoming: Cipher::Plain },
            _ => Self { outgoing, incoming },
        }
    }

    /// How the payload goes.
    pub fn method(&self) -> CryptoMethods {
        match self.outgoing {
            Cipher::Plain => CryptoMethods::PLAINTEXT,
            Cipher::Rc4(_) => CryptoMethods::RC4,
        }
    }
}

impl fmt::Debug for Cipher {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "Plain",
            Self::Rc4(_) => "Rc4",
        })
    }
}

const DROPPED_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_1024_bytes_of_the_keystream_are_dropped() {
        let key = *b"twenty bytes of key!";
        let mut whole = [0_u8; 1024 + 16];
        Rc4::new_from_slice(&key).unwrap().apply_keystream(&mut whole);
        let mut bytes = [0_u8; 16];
        Cipher::rc4(&key).apply(&mut bytes);
        assert_eq!(bytes, whole[1024..]);
    }

    #[test]
    fn a_stream_is_the_same_in_any_portions() {
        let key = [9; 20];
        let text: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let mut encrypted = text.clone();
        Cipher::rc4(&key).apply(&mut encrypted);
        assert_ne!(encrypted, text);
        let mut cipher = Cipher::rc4(&key);
        for portion in encrypted.chunks_mut(7) {
            cipher.apply(portion);
        }
        assert_eq!(encrypted, text);
    }
}
