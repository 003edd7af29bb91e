//! Diffie-Hellman over the 768-bit prime of the protocol, with 2 as the generator.

use std::fmt;

use crypto_bigint::{U192, U768, modular::ConstMontyForm};
use rand::Rng;

/// The secret half of a key: 160 bits, the length that the protocol recommends.
pub(super) struct PrivateKey(U192);

/// The half of a key that is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(U768);

/// What both sides know after the exchange of their public keys, as bytes in the order of the wire.
pub(super) struct SharedSecret(pub(super) [u8; PublicKey::LEN]);

/// Why 96 bytes are no public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PublicKeyError {
    /// 0, 1 or the prime less 1: the secret would be the same for every private key.
    #[error("a public key that makes the secret a known one")]
    Trivial,
    /// The prime or more: no power of the generator is.
    #[error("a public key beyond the prime")]
    OutOfRange,
}

impl PrivateKey {
    /// Draws a key.
    pub(super) fn generate(rng: &mut impl Rng) -> Self {
        let mut bytes = [0; 24];
        rng.fill_bytes(&mut bytes[4..]);
        Self(U192::from_be_slice(&bytes))
    }

    /// The public half.
    pub(super) fn public(&self) -> PublicKey {
        PublicKey(power(&U768::from_u8(GENERATOR), &self.0))
    }

    /// The secret that this key and the other side's have in common.
    pub(super) fn agree(&self, theirs: &PublicKey) -> SharedSecret {
        let mut bytes = [0; PublicKey::LEN];
        bytes.copy_from_slice(power(&theirs.0, &self.0).to_be_bytes().as_ref());
        SharedSecret(bytes)
    }
}

impl PublicKey {
    /// Length on the wire.
    pub const LEN: usize = 96;

    /// Reads a key that came from the other side.
    ///
    /// # Errors
    /// When no honest exchange can have produced it.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Result<Self, PublicKeyError> {
        let key = U768::from_be_slice(bytes);
        let prime_less_1 = PRIME.wrapping_sub(&U768::ONE);
        if key >= PRIME {
            Err(PublicKeyError::OutOfRange)
        } else if key <= U768::ONE || key == prime_less_1 {
            Err(PublicKeyError::Trivial)
        } else {
            Ok(Self(key))
        }
    }

    /// The bytes for the wire.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.to_be_bytes().as_ref());
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.0)
    }
}

/// `base` to the power of `exponent`, modulo the prime, in a time that does not depend on either.
fn power(base: &U768, exponent: &U192) -> U768 {
    ConstMontyForm::<Modulus, { U768::LIMBS }>::new(base)
        .pow_bounded_exp(exponent, PRIVATE_KEY_BITS)
        .retrieve()
}

const GENERATOR: u8 = 2;
const PRIVATE_KEY_BITS: u32 = 160;
const PRIME: U768 = U768::from_be_hex(PRIME_HEX);
const PRIME_HEX: &str = concat!(
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74",
    "020bbea63b139b22514a08798e3404ddef9519b3cd3a431b302b0a6df25f1437",
    "4fe1356d6d51c245e485b576625e7ec6f44c42e9a63a36210000000000090563",
);

/// Keeps what the macro makes (a public type) to this module.
mod modulus {
    crypto_bigint::const_monty_params!(Modulus, crypto_bigint::U768, super::PRIME_HEX, "The prime.");
}
use modulus::Modulus;

#[cfg(test)]
mod tests {
    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;

    fn bytes(key: &U768) -> [u8; PublicKey::LEN] {
        key.to_be_bytes().as_ref().try_into().unwrap()
    }

    #[test]
    fn the_modulus_is_a_prime_of_768_bits() {
        assert_eq!(PRIME.bits(), 768);
        // Fermat, with a few bases.
        for base in [2_u8, 3, 5, 7, 11] {
            let form = ConstMontyForm::<Modulus, { U768::LIMBS }>::new(&U768::from_u8(base));
            assert_eq!(form.pow(&PRIME.wrapping_sub(&U768::ONE)).retrieve(), U768::ONE);
        }
    }

    #[test]
    fn small_powers_are_what_they_are_on_paper() {
        assert_eq!(power(&U768::from_u8(2), &U192::from_u8(10)), U768::from_u16(1024));
        assert_eq!(power(&U768::from_u8(3), &U192::ONE), U768::from_u8(3));
        assert_eq!(power(&U768::from_u8(3), &U192::ZERO), U768::ONE);
        // 2^768 mod p is what p lacks to 2^768, and 2^768 = (2^96)^8.
        let two_to_96 = U768::ONE.shl_vartime(96);
        assert_eq!(power(&two_to_96, &U192::from_u8(8)), PRIME.wrapping_neg());
        // All 160 bits of an exponent count: 2^(2^159) = (((2^(2^53))^(2^53))^(2^53).
        let shift = |bits| U192::ONE.shl_vartime(bits);
        let step = |base: &U768| power(base, &shift(53));
        assert_eq!(power(&U768::from_u8(2), &shift(159)), step(&step(&step(&U768::from_u8(2)))));
    }

    #[test]
    fn both_sides_agree_on_a_secret_that_others_do_not_have() {
        let mut rng = StdRng::from_seed([3; 32]);
        let [a, b, c] = [(); 3].map(|()| PrivateKey::generate(&mut rng));
        assert_eq!(a.agree(&b.public()).0, b.agree(&a.public()).0);
        assert_ne!(a.agree(&b.public()).0, c.agree(&b.public()).0);
        assert_ne!(a.public(), b.public());
        let mut wire = Vec::new();
        a.public().write(&mut wire);
        assert_eq!(PublicKey::from_bytes(&wire.try_into().unwrap()), Ok(a.public()));
    }

    #[test]
    fn keys_that_give_the_secret_away_are_refused() {
        let less_1 = PRIME.wrapping_sub(&U768::ONE);
        for trivial in [U768::ZERO, U768::ONE, less_1] {
            assert_eq!(PublicKey::from_bytes(&bytes(&trivial)), Err(PublicKeyError::Trivial));
        }
        for beyond in [PRIME, PRIME.wrapping_add(&U768::ONE), U768::MAX] {
            assert_eq!(PublicKey::from_bytes(&bytes(&beyond)), Err(PublicKeyError::OutOfRange));
        }
        assert!(PublicKey::from_bytes(&bytes(&U768::from_u8(2))).is_ok());
        assert!(PublicKey::from_bytes(&bytes(&less_1.wrapping_sub(&U768::ONE))).is_ok());
    }
}
