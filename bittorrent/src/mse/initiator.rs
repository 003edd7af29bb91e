//! The side that connects.

use std::fmt;

use krpc::InfoHash;
use rand::{Rng, RngExt as _};

use super::{
    Cipher, CryptoMethods, MseError, PAD_BYTES_MAX, PublicKey, Streams, VC, key_exchange::PrivateKey,
    secrets::torrent_key,
};

/// The handshake of the side that connects.
pub struct Initiator {
    info_hash: InfoHash,
    offered: CryptoMethods,
    state: State,
}

enum State {
    /// Waits for the other side's key.
    Key { private: PrivateKey, theirs: [u8; PublicKey::LEN], filled: usize, initial: Vec<u8>, pad_c: u16 },
    /// Skips the other side's pad, which ends where its encrypted constant begins.
    Synchronisation { outgoing: Cipher, incoming: Cipher, constant: u64, last_8: u64, searched: usize },
    /// Reads the choice and the length of the last pad.
    Choice { outgoing: Cipher, incoming: Cipher, field: [u8; CHOICE_BYTES], filled: usize },
    /// Skips the last pad.
    Pad { outgoing: Cipher, incoming: Cipher, method: CryptoMethods, left: usize },
    /// Nothing follows.
    Over,
}

impl Initiator {
    /// Begins: appends the first message to `out`. `initial` is the first payload, which goes with the second message
    /// and so costs no round trip: the BitTorrent handshake.
    ///
    /// Nothing else may be sent before [`receive`](Self::receive) has returned the streams. What does not fit the 16
    /// bits of its length is cut off from `initial`.
    pub fn start(
        info_hash: InfoHash,
        offered: CryptoMethods,
        initial: &[u8],
        rng: &mut impl Rng,
        out: &mut Vec<u8>,
    ) -> Self {
        let private = PrivateKey::generate(rng);
        private.public().write(out);
        write_random_pad(rng, out);
        let pad_c = rng.random_range(0..=PAD_BYTES_MAX as u16);
        let initial = initial.get(..usize::from(u16::MAX)).unwrap_or(initial).to_vec();
        let state = State::Key { private, theirs: [0; PublicKey::LEN], filled: 0, initial, pad_c };
        Self { info_hash, offered, state }
    }

    /// Takes what came, as much of it as belongs to the handshake, and appends to `out` what is to be sent. Once it
    /// returns streams, what is left of `input` is payload: still encrypted.
    ///
    /// # Errors
    /// The reason to hang up. Nothing must be fed afterwards.
    pub fn receive(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<Option<Streams>, MseError> {
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::Key { private, mut theirs, mut filled, initial, pad_c } => {
                    if !fill(&mut theirs, &mut filled, input) {
                        self.state = State::Key { private, theirs, filled, initial, pad_c };
                        return Ok(None);
                    }
                    let theirs = PublicKey::from_bytes(&theirs)?;
                    self.state = self.identify(&private, &theirs, &initial, pad_c, out);
                }
                State::Synchronisation { outgoing, incoming, constant, mut last_8, mut searched } => {
                    let mut found = false;
                    while !found && let Some((byte, rest)) = input.split_first() {
                        *input = rest;
                        last_8 = last_8 << 8 | u64::from(*byte);
                        searched += 1;
                        found = searched >= VC.len() && last_8 == constant;
                        if !found && searched >= PAD_BYTES_MAX + VC.len() {
                            return Err(MseError::NoSynchronisation);
                        }
                    }
                    if !found {
                        self.state =
                            State::Synchronisation { outgoing, incoming, constant, last_8, searched };
                        return Ok(None);
                    }
                    self.state = State::Choice { outgoing, incoming, field: [0; CHOICE_BYTES], filled: 0 };
                }
                State::Choice { outgoing, mut incoming, mut field, mut filled } => {
                    if !fill(&mut field, &mut filled, input) {
                        self.state = State::Choice { outgoing, incoming, field, filled };
                        return Ok(None);
                    }
                    incoming.apply(&mut field);
                    let [a, b, c, d, pad @ ..] = field;
                    let chosen = u32::from_be_bytes([a, b, c, d]);
                    let method = CryptoMethods::from_wire(chosen);
                    if !method.is_choice_of(self.offered) {
                        return Err(MseError::MethodNotOffered(chosen));
                    }
                    let left = pad_len(pad)?;
                    self.state = State::Pad { outgoing, incoming, method, left };
                }
                State::Pad { outgoing, mut incoming, method, left } => {
                    let left = skip_pad(&mut incoming, left, input);
                    if left > 0 {
                        self.state = State::Pad { outgoing, incoming, method, left };
                        return Ok(None);
                    }
                    return Ok(Some(Streams::after(method, outgoing, incoming)));
                }
                State::Over => return Ok(None),
            }
        }
    }

    /// The third message: which torrent it is about, what is offered, and the first payload.
    fn identify(
        &self,
        private: &PrivateKey,
        theirs: &PublicKey,
        initial: &[u8],
        pad_c: u16,
        out: &mut Vec<u8>,
    ) -> State {
        let secret = private.agree(theirs);
        let mut outgoing = secret.initiator_cipher(&self.info_hash);
        let mut incoming = secret.responder_cipher(&self.info_hash);
        out.extend_from_slice(&secret.synchronisation());
        out.extend_from_slice(&secret.mask_torrent_key(torrent_key(&self.info_hash)));
        let encrypted_from = out.len();
        out.extend_from_slice(&VC);
        out.extend_from_slice(&self.offered.to_wire().to_be_bytes());
        out.extend_from_slice(&pad_c.to_be_bytes());
        out.resize(out.len() + usize::from(pad_c), 0);
        // `start` has seen to it that it fits.
        out.extend_from_slice(&(initial.len() as u16).to_be_bytes());
        out.extend_from_slice(initial);
        outgoing.apply(&mut out[encrypted_from..]);
        let mut constant = VC;
        incoming.apply(&mut constant);
        let constant = u64::from_be_bytes(constant);
        State::Synchronisation { outgoing, incoming, constant, last_8: 0, searched: 0 }
    }
}

impl fmt::Debug for Initiator {
    /// Without keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Key { .. } => "key",
            State::Synchronisation { .. } => "synchronisation",
            State::Choice { .. } => "choice",
            State::Pad { .. } => "pad",
            State::Over => "over",
        };
        f.debug_struct("Initiator").field("waits_for", &state).field("offered", &self.offered).finish()
    }
}

/// Moves bytes from `input` into the field; says whether it is complete.
pub(super) fn fill(field: &mut [u8], filled: &mut usize, input: &mut &[u8]) -> bool {
    let free = field.get_mut(*filled..).unwrap_or_default();
    let count = free.len().min(input.len());
    let (now, rest) = input.split_at(count);
    free[..count].copy_from_slice(now);
    *filled += count;
    *input = rest;
    *filled == field.len()
}

/// Takes bytes of an encrypted pad out of `input`; returns how many are still to come.
pub(super) fn skip_pad(incoming: &mut Cipher, left: usize, input: &mut &[u8]) -> usize {
    let (pad, rest) = input.split_at(left.min(input.len()));
    *input = rest;
    // The keystream moves on over what is skipped.
    let mut nothing = [0; PAD_BYTES_MAX];
    let skipped = pad.len().min(nothing.len());
    incoming.apply(&mut nothing[..skipped]);
    left - skipped
}

/// The length of a pad, if it is one.
pub(super) fn pad_len(field: [u8; 2]) -> Result<usize, MseError> {
    let claimed = u16::from_be_bytes(field);
    match usize::from(claimed) {
        len if len <= PAD_BYTES_MAX => Ok(len),
        _ => Err(MseError::PadTooLong(claimed)),
    }
}

/// A pad for the part that is not encrypted: it must look like the key before it.
pub(super) fn write_random_pad(rng: &mut impl Rng, out: &mut Vec<u8>) {
    let from = out.len();
    out.resize(from + rng.random_range(0..=PAD_BYTES_MAX), 0);
    rng.fill_bytes(&mut out[from..]);
}

/// `crypto_select` and the length of the pad.
const CHOICE_BYTES: usize = 4 + 2;

#[cfg(test)]
mod tests {
    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;
    use crate::mse::key_exchange::SharedSecret;

    const HASH: InfoHash = InfoHash::from_bytes(*b"aaaaaaaaaabbbbbbbbbb");

    /// An initiator whose key was answered, and the secret and cipher of the other side.
    fn answered(offered: CryptoMethods) -> (Initiator, SharedSecret, Cipher) {
        let mut rng = StdRng::from_seed([5; 32]);
        let (mut sent, mut reply) = (Vec::new(), Vec::new());
        let mut initiator = Initiator::start(HASH, offered, b"first", &mut rng, &mut sent);
        let key = sent.first_chunk::<{ PublicKey::LEN }>().unwrap();
        let private = PrivateKey::generate(&mut rng);
        let secret = private.agree(&PublicKey::from_bytes(key).unwrap());
        private.public().write(&mut reply);
        assert!(matches!(initiator.receive(&mut &reply[..], &mut Vec::new()), Ok(None)));
        let cipher = secret.responder_cipher(&HASH);
        (initiator, secret, cipher)
    }

    /// The fourth message, with fields that may be wrong.
    fn choice(cipher: &mut Cipher, pad_b: usize, method: u32, pad_d: u16) -> Vec<u8> {
        let mut encrypted = [&VC[..], &method.to_be_bytes(), &pad_d.to_be_bytes()].concat();
        encrypted.resize(encrypted.len() + usize::from(pad_d), 0);
        cipher.apply(&mut encrypted);
        [vec![0xaa; pad_b], encrypted].concat()
    }

    fn receive(initiator: &mut Initiator, bytes: &[u8]) -> Result<Option<CryptoMethods>, MseError> {
        Ok(initiator.receive(&mut &bytes[..], &mut Vec::new())?.map(|streams| streams.method()))
    }

    #[test]
    fn the_third_message_is_as_the_protocol_says() {
        let mut rng = StdRng::from_seed([5; 32]);
        let (mut sent, mut reply) = (Vec::new(), Vec::new());
        let mut initiator = Initiator::start(HASH, CryptoMethods::BOTH, b"first", &mut rng, &mut sent);
        assert!((96..=96 + 512).contains(&sent.len()));
        let private = PrivateKey::generate(&mut rng);
        let theirs = PublicKey::from_bytes(sent.first_chunk().unwrap()).unwrap();
        let secret = private.agree(&theirs);
        private.public().write(&mut reply);
        sent.clear();
        assert!(matches!(initiator.receive(&mut &reply[..], &mut sent), Ok(None)));
        assert_eq!(sent[..20], secret.synchronisation());
        assert_eq!(secret.mask_torrent_key(sent[20..40].try_into().unwrap()), torrent_key(&HASH));
        secret.initiator_cipher(&HASH).apply(&mut sent[40..]);
        assert_eq!(sent[40..52], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
        let pad = usize::from(u16::from_be_bytes([sent[52], sent[53]]));
        assert!(pad <= 512);
        assert_eq!(sent[54 + pad..], *b"\0\x05first");
    }

    #[test]
    fn pads_of_every_length_are_skipped_and_no_longer_one() {
        for pad in [0, 1, 7, 8, 511, 512] {
            let (mut initiator, _, mut cipher) = answered(CryptoMethods::BOTH);
            let message = choice(&mut cipher, pad, 2, pad as u16);
            assert_eq!(receive(&mut initiator, &message), Ok(Some(CryptoMethods::RC4)), "{pad}");
        }
        let (mut initiator, _, mut cipher) = answered(CryptoMethods::BOTH);
        let message = choice(&mut cipher, 513, 2, 0);
        assert_eq!(receive(&mut initiator, &message), Err(MseError::NoSynchronisation));
        let (mut initiator, _, mut cipher) = answered(CryptoMethods::BOTH);
        let message = choice(&mut cipher, 0, 2, 513);
        assert_eq!(receive(&mut initiator, &message), Err(MseError::PadTooLong(513)));
    }

    #[test]
    fn an_endless_pad_ends_after_520_bytes() {
        let (mut initiator, _, _) = answered(CryptoMethods::BOTH);
        assert_eq!(receive(&mut initiator, &[0xaa; 519]), Ok(None));
        assert_eq!(receive(&mut initiator, &[0xaa]), Err(MseError::NoSynchronisation));
    }

    #[test]
    fn only_one_of_the_methods_that_were_offered_may_be_chosen() {
        for (offered, chosen) in [
            (CryptoMethods::BOTH, 0),
            (CryptoMethods::BOTH, 3),
            (CryptoMethods::BOTH, 4),
            (CryptoMethods::RC4, 1),
            (CryptoMethods::PLAINTEXT, 2),
        ] {
            let (mut initiator, _, mut cipher) = answered(offered);
            let message = choice(&mut cipher, 3, chosen, 3);
            let expected = Err(MseError::MethodNotOffered(chosen));
            assert_eq!(receive(&mut initiator, &message), expected, "{offered:?}");
        }
    }

    #[test]
    fn somebody_who_does_not_know_the_torrent_is_not_understood() {
        let (mut initiator, secret, _) = answered(CryptoMethods::BOTH);
        let mut cipher = secret.responder_cipher(&InfoHash::from_bytes([0; 20]));
        let mut message = choice(&mut cipher, 0, 2, 512);
        message.extend([0; 100]);
        assert_eq!(receive(&mut initiator, &message), Err(MseError::NoSynchronisation));
    }
}
