//! Message stream encryption: bytes from anybody, to both sides, in portions that the input chooses; and both sides
//! against each other with one byte changed on the way.
#![no_main]

use bittorrent::mse::{CryptoMethods, Initiator, OPENING_BYTES_MAX, Responder, torrent_key};
use krpc::InfoHash;
use libfuzzer_sys::fuzz_target;
use rand::{SeedableRng as _, rngs::StdRng};

const HASH: InfoHash = InfoHash::from_bytes(*b"aaaaaaaaaabbbbbbbbbb");

fuzz_target!(|input: &[u8]| {
    let [seed, portion, flip_at, flip_at_low, bytes @ ..] = input else { return };
    let portion = usize::from(*portion) + 1;
    let mut rng = StdRng::from_seed([*seed; 32]);
    let find = |key: &[u8; 20]| (*key == torrent_key(&HASH)).then_some(HASH);
    let (mut to_b, mut to_a, mut first) = (Vec::new(), Vec::new(), Vec::new());

    let mut a = Initiator::start(HASH, CryptoMethods::BOTH, b"first", &mut rng, &mut to_b);
    let mut b = Responder::new(CryptoMethods::BOTH, &mut rng);
    let mut taken = 0;
    for mut chunk in bytes.chunks(portion) {
        taken += chunk.len();
        match a.receive(&mut chunk, &mut to_b) {
            Ok(None) => assert!(taken < OPENING_BYTES_MAX, "garbage was taken for a pad"),
            Ok(Some(_)) => panic!("nobody can guess a secret"),
            Err(_) => break,
        }
    }
    for mut chunk in bytes.chunks(portion) {
        if b.receive(&mut chunk, find, &mut rng, &mut first, &mut to_a).is_err() {
            break;
        }
    }
    assert!(first.is_empty());

    let (mut to_b, mut to_a) = (Vec::new(), Vec::new());
    let mut flip_at = usize::from(u16::from_be_bytes([*flip_at, *flip_at_low]));
    let mut a = Initiator::start(HASH, CryptoMethods::BOTH, bytes, &mut rng, &mut to_b);
    let mut b = Responder::new(CryptoMethods::RC4, &mut rng);
    while !(to_a.is_empty() && to_b.is_empty()) {
        for (sent, to_the_responder) in
            [(std::mem::take(&mut to_b), true), (std::mem::take(&mut to_a), false)]
        {
            let mut sent = sent;
            if let Some(byte) = sent.get_mut(flip_at) {
                *byte ^= 1;
            }
            flip_at = flip_at.wrapping_sub(sent.len());
            for mut chunk in sent.chunks(portion) {
                let ended = match to_the_responder {
                    true => b.receive(&mut chunk, find, &mut rng, &mut first, &mut to_a).is_err(),
                    false => a.receive(&mut chunk, &mut to_b).is_err(),
                };
                if ended {
                    return;
                }
            }
        }
    }
    assert!(first.len() <= bytes.len().min(65_535));
});
