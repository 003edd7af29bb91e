//! The side that is connected to.

use std::fmt;

use krpc::InfoHash;
use rand::{Rng, RngExt as _};

use super::{
    Cipher, CryptoMethods, MseError, PAD_BYTES_MAX, PublicKey, Streams, VC,
    initiator::{fill, pad_len, skip_pad, write_random_pad},
    key_exchange::{PrivateKey, SharedSecret},
};

/// The handshake of the side that is connected to.
pub struct Responder {
    accepted: CryptoMethods,
    state: State,
}

/// What a completed handshake has brought.
#[derive(Debug)]
pub struct Met {
    /// For the payload.
    pub streams: Streams,
    /// The torrent that the other side asked for.
    pub info_hash: InfoHash,
}

enum State {
    /// Waits for the other side's key.
    Key { private: PrivateKey, theirs: [u8; PublicKey::LEN], filled: usize },
    /// Skips the other side's pad, which ends where the hash of the secret stands.
    Synchronisation { secret: Box<SharedSecret>, mark: [u8; 20], last_20: [u8; 20], searched: usize },
    /// Reads which torrent is asked for.
    Torrent { secret: Box<SharedSecret>, field: [u8; 20], filled: usize },
    /// Reads what is offered, and the length of a pad.
    Offer { link: Link, field: [u8; OFFER_BYTES], filled: usize },
    /// Skips the pad.
    Pad { link: Link, method: CryptoMethods, left: usize },
    /// Reads the length of the first payload.
    InitialLength { link: Link, method: CryptoMethods, field: [u8; 2], filled: usize },
    /// Passes the first payload on, which is encrypted whatever was chosen.
    Initial { link: Link, method: CryptoMethods, left: usize },
    /// Nothing follows.
    Over,
}

struct Link {
    outgoing: Cipher,
    incoming: Cipher,
    info_hash: InfoHash,
}

impl Responder {
    /// A handshake that waits for its first byte. Of what the other side offers, one of `accepted` is chosen.
    pub fn new(accepted: CryptoMethods, rng: &mut impl Rng) -> Self {
        let private = PrivateKey::generate(rng);
        Self { accepted, state: State::Key { private, theirs: [0; PublicKey::LEN], filled: 0 } }
    }

    /// Takes what came, as much of it as belongs to the handshake. Appends to `out` what is to be sent, and to `initial`
    /// what came of the first payload, decrypted. Once it returns, what is left of `input` is payload: still encrypted.
    ///
    /// `find` looks a torrent up by its [`torrent_key`](super::torrent_key).
    ///
    /// # Errors
    /// The reason to hang up. Nothing must be fed afterwards.
    pub fn receive(
        &mut self,
        input: &mut &[u8],
        find: impl Fn(&[u8; 20]) -> Option<InfoHash>,
        rng: &mut impl Rng,
        initial: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Met>, MseError> {
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::Key { private, mut theirs, mut filled } => {
                    if !fill(&mut theirs, &mut filled, input) {
                        self.state = State::Key { private, theirs, filled };
                        return Ok(None);
                    }
                    let secret = Box::new(private.agree(&PublicKey::from_bytes(&theirs)?));
                    private.public().write(out);
                    write_random_pad(rng, out);
                    let mark = secret.synchronisation();
                    self.state = State::Synchronisation { secret, mark, last_20: [0; 20], searched: 0 };
                }
                State::Synchronisation { secret, mark, mut last_20, mut searched } => {
                    let mut found = false;
                    while !found && let Some((byte, rest)) = input.split_first() {
                        *input = rest;
                        last_20.rotate_left(1);
                        last_20[mark.len() - 1] = *byte;
                        searched += 1;
                        found = searched >= mark.len() && last_20 == mark;
                        if !found && searched >= PAD_BYTES_MAX + mark.len() {
                            return Err(MseError::NoSynchronisation);
                        }
                    }
                    if !found {
                        self.state = State::Synchronisation { secret, mark, last_20, searched };
                        return Ok(None);
                    }
                    self.state = State::Torrent { secret, field: [0; 20], filled: 0 };
                }
                State::Torrent { secret, mut field, mut filled } => {
                    if !fill(&mut field, &mut filled, input) {
                        self.state = State::Torrent { secret, field, filled };
                        return Ok(None);
                    }
                    let info_hash = find(&secret.mask_torrent_key(field)).ok_or(MseError::UnknownTorrent)?;
                    let outgoing = secret.responder_cipher(&info_hash);
                    let incoming = secret.initiator_cipher(&info_hash);
                    let link = Link { outgoing, incoming, info_hash };
                    self.state = State::Offer { link, field: [0; OFFER_BYTES], filled: 0 };
                }
                State::Offer { mut link, mut field, mut filled } => {
                    if !fill(&mut field, &mut filled, input) {
                        self.state = State::Offer { link, field, filled };
                        return Ok(None);
                    }
                    link.incoming.apply(&mut field);
                    let Some(rest) = field.strip_prefix(&VC) else { return Err(MseError::WrongConstant) };
                    let &[a, b, c, d, high, low] = rest else { return Err(MseError::WrongConstant) };
                    let offered = u32::from_be_bytes([a, b, c, d]);
                    let method = self.accepted.choose(CryptoMethods::from_wire(offered));
                    let method = method.ok_or(MseError::NoCommonMethod(offered))?;
                    let left = pad_len([high, low])?;
                    self.state = State::Pad { link, method, left };
                }
                State::Pad { mut link, method, left } => {
                    let left = skip_pad(&mut link.incoming, left, input);
                    self.state = match left {
                        0 => State::InitialLength { link, method, field: [0; 2], filled: 0 },
                        _ => {
                            self.state = State::Pad { link, method, left };
                            return Ok(None);
                        }
                    };
                }
                State::InitialLength { mut link, method, mut field, mut filled } => {
                    if !fill(&mut field, &mut filled, input) {
                        self.state = State::InitialLength { link, method, field, filled };
                        return Ok(None);
                    }
                    link.incoming.apply(&mut field);
                    link.write_choice(method, rng, out);
                    let left = usize::from(u16::from_be_bytes(field));
                    self.state = State::Initial { link, method, left };
                }
                State::Initial { mut link, method, left } => {
                    let (now, rest) = input.split_at(left.min(input.len()));
                    *input = rest;
                    let from = initial.len();
                    initial.extend_from_slice(now);
                    link.incoming.apply(&mut initial[from..]);
                    let left = left - now.len();
                    if left > 0 {
                        self.state = State::Initial { link, method, left };
                        return Ok(None);
                    }
                    let Link { outgoing, incoming, info_hash } = link;
                    return Ok(Some(Met { streams: Streams::after(method, outgoing, incoming), info_hash }));
                }
                State::Over => return Ok(None),
            }
        }
    }
}

impl Link {
    /// The fourth message.
    fn write_choice(&mut self, method: CryptoMethods, rng: &mut impl Rng, out: &mut Vec<u8>) {
        let pad = rng.random_range(0..=PAD_BYTES_MAX as u16);
        let from = out.len();
        out.extend_from_slice(&VC);
        out.extend_from_slice(&method.to_wire().to_be_bytes());
        out.extend_from_slice(&pad.to_be_bytes());
        out.resize(out.len() + usize::from(pad), 0);
        self.outgoing.apply(&mut out[from..]);
    }
}

impl fmt::Debug for Responder {
    /// Without keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Key { .. } => "key",
            State::Synchronisation { .. } => "synchronisation",
            State::Torrent { .. } => "torrent",
            State::Offer { .. } => "offer",
            State::Pad { .. } => "pad",
            State::InitialLength { .. } => "initial length",
            State::Initial { .. } => "initial payload",
            State::Over => "over",
        };
        f.debug_struct("Responder").field("waits_for", &state).field("accepted", &self.accepted).finish()
    }
}

/// The constant, `crypto_provide`, and the length of the pad.
const OFFER_BYTES: usize = VC.len() + 4 + 2;

#[cfg(test)]
mod tests {
    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;
    use crate::mse::{PublicKeyError, secrets::torrent_key};

    const HASH: InfoHash = InfoHash::from_bytes(*b"aaaaaaaaaabbbbbbbbbb");

    /// A responder whose key was answered, and the other side's secret.
    fn answered(accepted: CryptoMethods) -> (Responder, SharedSecret) {
        let mut rng = StdRng::from_seed([6; 32]);
        let (mut key, mut sent) = (Vec::new(), Vec::new());
        let private = PrivateKey::generate(&mut rng);
        private.public().write(&mut key);
        let mut responder = Responder::new(accepted, &mut rng);
        let nobody = |_: &[u8; 20]| None;
        let came = responder.receive(&mut &key[..], nobody, &mut rng, &mut Vec::new(), &mut sent);
        assert!(matches!(came, Ok(None)));
        assert!((96..=96 + 512).contains(&sent.len()));
        let theirs = PublicKey::from_bytes(sent.first_chunk().unwrap()).unwrap();
        (responder, private.agree(&theirs))
    }

    /// The third message, with fields that may be wrong.
    fn request(secret: &SharedSecret, hash: &InfoHash, vc: [u8; 8], offered: u32, pad_c: u16) -> Vec<u8> {
        let mut encrypted = [&vc[..], &offered.to_be_bytes(), &pad_c.to_be_bytes()].concat();
        encrypted.resize(encrypted.len() + usize::from(pad_c), 0);
        encrypted.extend(b"\0\x05first");
        secret.initiator_cipher(hash).apply(&mut encrypted);
        let masked = secret.mask_torrent_key(torrent_key(hash));
        [&secret.synchronisation()[..], &masked, &encrypted].concat()
    }

    fn receive(responder: &mut Responder, bytes: &[u8]) -> Result<Option<CryptoMethods>, MseError> {
        let find = |key: &[u8; 20]| (*key == torrent_key(&HASH)).then_some(HASH);
        let mut rng = StdRng::from_seed([7; 32]);
        let mut initial = Vec::new();
        let met = responder.receive(&mut &bytes[..], find, &mut rng, &mut initial, &mut Vec::new())?;
        Ok(met.map(|met| {
            assert_eq!((met.info_hash, &initial[..]), (HASH, &b"first"[..]));
            met.streams.method()
        }))
    }

    #[test]
    fn the_method_is_one_that_both_take() {
        use CryptoMethods as M;
        for (accepted, offered, chosen) in [
            (M::BOTH, 3, Ok(Some(M::PLAINTEXT))),
            (M::BOTH, 2, Ok(Some(M::RC4))),
            (M::RC4, 3, Ok(Some(M::RC4))),
            (M::BOTH, 0xffff_fff2, Ok(Some(M::RC4))),
            (M::RC4, 1, Err(MseError::NoCommonMethod(1))),
            (M::BOTH, 0, Err(MseError::NoCommonMethod(0))),
            (M::BOTH, 0x100, Err(MseError::NoCommonMethod(0x100))),
        ] {
            let (mut responder, secret) = answered(accepted);
            let message = request(&secret, &HASH, VC, offered, 9);
            assert_eq!(receive(&mut responder, &message), chosen, "{accepted:?} {offered:#x}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_request_is_told_apart() {
        let outcome = |make: fn(&SharedSecret) -> Vec<u8>| {
            let (mut responder, secret) = answered(CryptoMethods::BOTH);
            receive(&mut responder, &make(&secret))
        };
        let other = |s: &SharedSecret| request(s, &InfoHash::from_bytes([0; 20]), VC, 3, 0);
        assert_eq!(outcome(other), Err(MseError::UnknownTorrent));
        assert_eq!(outcome(|s| request(s, &HASH, [1; 8], 3, 0)), Err(MseError::WrongConstant));
        assert_eq!(outcome(|s| request(s, &HASH, VC, 3, 600)), Err(MseError::PadTooLong(600)));
        let padded = |pad: usize, s: &SharedSecret| [vec![1; pad], request(s, &HASH, VC, 3, 512)].concat();
        let (mut responder, secret) = answered(CryptoMethods::BOTH);
        assert_eq!(receive(&mut responder, &padded(512, &secret)), Ok(Some(CryptoMethods::PLAINTEXT)));
        let (mut responder, secret) = answered(CryptoMethods::BOTH);
        assert_eq!(receive(&mut responder, &padded(513, &secret)), Err(MseError::NoSynchronisation));
    }

    #[test]
    fn a_flood_is_ended_after_what_a_pad_may_have() {
        let (mut responder, _) = answered(CryptoMethods::BOTH);
        assert_eq!(receive(&mut responder, &[1; 531]), Ok(None));
        assert_eq!(receive(&mut responder, &[1; 1]), Err(MseError::NoSynchronisation));
    }

    #[test]
    fn garbage_in_place_of_a_key_is_refused() {
        let refused = |byte: u8| {
            let mut responder = Responder::new(CryptoMethods::BOTH, &mut StdRng::from_seed([1; 32]));
            receive(&mut responder, &[byte; 96])
        };
        assert_eq!(refused(0), Err(MseError::PublicKey(PublicKeyError::Trivial)));
        assert_eq!(refused(0xff), Err(MseError::PublicKey(PublicKeyError::OutOfRange)));
    }
}
