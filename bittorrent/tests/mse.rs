//! Both sides of message stream encryption against each other.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

use bittorrent::mse::{
    CryptoMethods, Initiator, MseError, OPENING_BYTES_MAX, Responder, Streams, torrent_key,
};
use krpc::InfoHash;
use proptest::prelude::*;
use rand::{SeedableRng as _, rngs::StdRng};

const HASH: InfoHash = InfoHash::from_bytes(*b"aaaaaaaaaabbbbbbbbbb");

/// Carries bytes between the sides in portions until both are done: the streams of the initiator and of the responder,
/// the first payload, and what came of `early`, which the responder sends at once and in one piece with its choice.
fn shake_hands(
    offered: CryptoMethods,
    accepted: CryptoMethods,
    initial: &[u8],
    early: &[u8],
    portion: usize,
    seed: u8,
) -> Result<(Streams, Streams, Vec<u8>, Vec<u8>), MseError> {
    let mut rng = StdRng::from_seed([seed; 32]);
    let (mut to_b, mut to_a, mut first, mut got) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut a = Initiator::start(HASH, offered, initial, &mut rng, &mut to_b);
    let mut b = Responder::new(accepted, &mut rng);
    let (mut of_a, mut of_b): (Option<Streams>, Option<Streams>) = (None, None);
    let find = |key: &[u8; 20]| (*key == torrent_key(&HASH)).then_some(HASH);
    while !(to_a.is_empty() && to_b.is_empty()) {
        for mut bytes in std::mem::take(&mut to_b).chunks(portion) {
            if let Some(met) = b.receive(&mut bytes, find, &mut rng, &mut first, &mut to_a)? {
                assert_eq!(met.info_hash, HASH);
                let mut streams = met.streams;
                let mut payload = early.to_vec();
                streams.outgoing.apply(&mut payload);
                to_a.extend(payload);
                of_b = Some(streams);
            }
            assert!(bytes.is_empty(), "the initiator sends nothing before it knows the method");
        }
        for mut bytes in std::mem::take(&mut to_a).chunks(portion) {
            if of_a.is_none() {
                of_a = a.receive(&mut bytes, &mut to_b)?;
            }
            if let Some(streams) = &mut of_a {
                let mut payload = bytes.to_vec();
                streams.incoming.apply(&mut payload);
                got.extend(payload);
            }
        }
    }
    Ok((of_a.expect("finished"), of_b.expect("finished"), first, got))
}

fn methods() -> impl Strategy<Value = CryptoMethods> {
    prop::sample::select(vec![CryptoMethods::PLAINTEXT, CryptoMethods::RC4, CryptoMethods::BOTH])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_sides_understand_each_other_whatever_the_portions(
        offered in methods(),
        accepted in methods(),
        initial in prop::collection::vec(any::<u8>(), 0..200),
        early in prop::collection::vec(any::<u8>(), 0..200),
        portion in prop_oneof![Just(1), 2..700_usize],
        seed in any::<u8>(),
    ) {
        let result = shake_hands(offered, accepted, &initial, &early, portion, seed);
        let in_common = offered.contains(accepted) || accepted.contains(offered);
        prop_assert_eq!(result.is_ok(), in_common);
        let Ok((mut a, mut b, first, got)) = result else { return Ok(()) };
        prop_assert_eq!(a.method(), b.method());
        prop_assert!(offered.contains(a.method()) && accepted.contains(a.method()));
        prop_assert_eq!(first, initial);
        prop_assert_eq!(got, early);
        for text in [&b"one"[..], b"and another"] {
            let mut bytes = text.to_vec();
            a.outgoing.apply(&mut bytes);
            prop_assert_eq!(bytes == text, a.method() == CryptoMethods::PLAINTEXT);
            b.incoming.apply(&mut bytes);
            prop_assert_eq!(&bytes, text);
            b.outgoing.apply(&mut bytes);
            a.incoming.apply(&mut bytes);
            prop_assert_eq!(&bytes, text);
        }
    }

    #[test]
    fn bytes_of_anything_else_end_a_handshake_within_its_bound(
        seed in any::<u8>(),
        bytes in prop::collection::vec(any::<u8>(), OPENING_BYTES_MAX..OPENING_BYTES_MAX + 1),
        portion in 1..700_usize,
    ) {
        let mut rng = StdRng::from_seed([seed; 32]);
        let mut sent = Vec::new();
        let mut a = Initiator::start(HASH, CryptoMethods::BOTH, b"first", &mut rng, &mut sent);
        let mut b = Responder::new(CryptoMethods::BOTH, &mut rng);
        let ended = bytes.chunks(portion).any(|mut chunk| a.receive(&mut chunk, &mut sent).is_err());
        prop_assert!(ended, "the initiator");
        let ended = bytes
            .chunks(portion)
            .any(|mut chunk| b.receive(&mut chunk, |_| None, &mut rng, &mut Vec::new(), &mut sent).is_err());
        prop_assert!(ended, "the responder");
        prop_assert!(sent.len() < 4096);
    }
}

#[test]
fn two_handshakes_have_nothing_in_common_on_the_wire() {
    let opening = |seed| {
        let mut sent = Vec::new();
        let mut rng = StdRng::from_seed([seed; 32]);
        Initiator::start(HASH, CryptoMethods::RC4, b"", &mut rng, &mut sent);
        sent
    };
    let (one, two) = (opening(1), opening(2));
    assert_eq!(one, opening(1), "a seed reproduces it");
    assert_ne!(one[..96], two[..96]);
    assert_ne!(one.len(), two.len(), "the pads differ in length");
}
