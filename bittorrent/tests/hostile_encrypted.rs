//! What peers do wrong behind message stream encryption, and in its handshake.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod world;

use std::time::Duration;

use bittorrent::{
    Candidate, Disconnect, PeerFault, PeerOutcome, PeerSource, Stage, Transport, TransportSet,
    extension_handshake::UT_METADATA_ID, mse::CryptoMethods, ut_metadata::PIECE_BYTES,
};
use world::{
    OWN_ID, Peer, Reply, World, addr, dict,
    encrypted::Encrypted,
    honest::{self, Habit, Honest, extension_handshake},
    scripted::{EXTENSION_HANDSHAKE, HANDSHAKE, Scripted, Step, send},
    v1_hash,
};

const PEER_ID: &[u8; 20] = b"-XX0000-xxxxxxxxxxxx";

/// Lets a fetch that encrypts meet this peer first, then an honest one: which must be enough.
fn meet(raw: &[u8], peer: impl Peer + 'static) -> PeerOutcome {
    let mut config = world::config();
    config.transports.allowed = TransportSet::of(&[Transport::EncryptedTcp]);
    let mut world = World::with_config(v1_hash(raw), config);
    world.add(addr(1), peer);
    world.run_until(world.now + Duration::from_secs(40));
    let outcome = world.outcome(addr(1));
    assert!(world.most_held < 96 << 10, "{} bytes held", world.most_held);
    let honest = Encrypted::new(Honest::new(raw, Habit::Prompt), v1_hash(raw), CryptoMethods::BOTH);
    world.place(addr(2), honest);
    world.offer(Candidate::new(addr(2), PeerSource::Lookup));
    world.run();
    assert_eq!(world.raw(), raw);
    outcome
}

/// What becomes of a peer that goes through these steps behind the encryption.
fn says(raw: &[u8], steps: Vec<(usize, Step)>) -> PeerOutcome {
    meet(raw, Encrypted::new(Scripted::new(steps), v1_hash(raw), CryptoMethods::BOTH))
}

#[test]
fn what_is_wrong_is_told_apart_behind_encryption_too() {
    let raw = dict(40_000);
    let hello = || (HANDSHAKE, send(honest::handshake(v1_hash(&raw).as_bytes(), PEER_ID)));
    let offer = |size| (EXTENSION_HANDSHAKE, send(extension_handshake(7, size, "liar 1.0")));
    let then = |bytes: Vec<u8>| (EXTENSION_HANDSHAKE + 1, send(bytes));
    let data = |piece, total, len| honest::data(UT_METADATA_ID, piece, total, &vec![7; len]);
    let fault = PeerOutcome::Fault;
    let first = |bytes: Vec<u8>| vec![(HANDSHAKE, send(bytes))];
    let after_offer = |bytes: Vec<u8>| vec![hello(), offer(40_000), then(bytes)];
    let whole = data(0, 40_000, PIECE_BYTES);
    for (steps, outcome) in [
        (first(b"GET / HTTP/1.1\r\n\r\n".repeat(8)), fault(PeerFault::BadHandshake)),
        (first(honest::handshake(b"another info hash!!!", PEER_ID)), fault(PeerFault::OtherInfoHash)),
        (
            first(honest::handshake(v1_hash(&raw).as_bytes(), OWN_ID.as_bytes())),
            fault(PeerFault::SelfConnection),
        ),
        (vec![hello(), offer(0)], fault(PeerFault::NoMetadataYet)),
        (vec![hello(), offer(1 << 31)], fault(PeerFault::SizeTooLarge)),
        (vec![hello(), offer(-1)], fault(PeerFault::SizeInvalid)),
        (after_offer(data(-1, 40_000, PIECE_BYTES)), fault(PeerFault::PieceOutOfRange)),
        (after_offer(data(3, 40_000, PIECE_BYTES)), fault(PeerFault::PieceOutOfRange)),
        (after_offer(data(0, 40_000, 9)), fault(PeerFault::WrongPieceLength)),
        (after_offer(data(0, 40_001, PIECE_BYTES)), fault(PeerFault::TotalSizeMismatch)),
        (after_offer(whole.repeat(100)), fault(PeerFault::UnrequestedPieces)),
        (after_offer(b"\x01\x10\0\0\x14\x02".to_vec()), fault(PeerFault::MessageTooLong)),
        (after_offer(honest::reject(UT_METADATA_ID, 0)), fault(PeerFault::Rejected)),
        (vec![hello(), offer(40_000)], PeerOutcome::Silent(Stage::Metadata)),
        (
            vec![hello(), offer(40_000), (EXTENSION_HANDSHAKE + 1, Step::Close(Disconnect::Reset))],
            PeerOutcome::Reset(Stage::Metadata),
        ),
    ] {
        assert_eq!(says(&raw, steps), outcome);
    }
}

#[test]
fn wrong_bytes_behind_encryption_are_found_out() {
    let raw = dict(40_000);
    let mut wrong = raw.clone();
    wrong[20_000] ^= 1;
    let liar = Encrypted::new(Honest::new(&wrong, Habit::Prompt), v1_hash(&raw), CryptoMethods::BOTH);
    // It names the torrent that is asked for, and gives another.
    assert_eq!(meet(&raw, liar), PeerOutcome::HashMismatch);
}

/// Says what another would, so far, and then does something else.
struct Cut<P> {
    inner: P,
    left: usize,
    then: Option<Disconnect>,
}

impl<P: Peer> Peer for Cut<P> {
    fn receive(&mut self, now: Duration, bytes: &[u8], reply: &mut Reply) {
        let mut whole = Reply::default();
        self.inner.receive(now, bytes, &mut whole);
        let mut said = Vec::new();
        whole.transform(|bytes| said.append(bytes));
        said.truncate(self.left);
        self.left -= said.len();
        if !said.is_empty() {
            reply.send(Duration::ZERO, said);
        }
        if let (0, Some(why)) = (self.left, self.then) {
            reply.close(Duration::ZERO, why);
        }
    }
}

#[test]
fn the_handshake_of_the_encryption_may_end_at_any_byte() {
    let raw = dict(20_000);
    for (then, in_stage) in [
        (Some(Disconnect::Eof), PeerOutcome::Closed as fn(Stage) -> PeerOutcome),
        (Some(Disconnect::Reset), PeerOutcome::Reset),
        (None, PeerOutcome::Silent),
    ] {
        // A key of 96 bytes, a pad; then the constant, the choice and the next pad.
        for left in [0, 1, 50, 95, 96, 97, 100, 600] {
            let honest = Honest::new(&raw, Habit::Prompt);
            let inner = Encrypted::new(honest, v1_hash(&raw), CryptoMethods::BOTH);
            let outcome = meet(&raw, Cut { inner, left, then });
            let expected = match (left, then) {
                (0, Some(_)) => PeerOutcome::ClosedWithoutByte,
                _ => in_stage(Stage::Handshake),
            };
            assert_eq!(outcome, expected, "after {left} bytes {then:?}");
        }
    }
}

/// Says what another would, a byte at a time.
struct Trickle<P> {
    inner: P,
    each: Duration,
}

impl<P: Peer> Peer for Trickle<P> {
    fn receive(&mut self, now: Duration, bytes: &[u8], reply: &mut Reply) {
        let mut whole = Reply::default();
        self.inner.receive(now, bytes, &mut whole);
        let mut said = Vec::new();
        whole.transform(|bytes| said.append(bytes));
        for (number, byte) in said.into_iter().enumerate() {
            reply.send(self.each * number as u32, vec![byte]);
        }
    }
}

#[test]
fn a_peer_that_trickles_its_key_is_given_up() {
    let raw = dict(20_000);
    let honest = Honest::new(&raw, Habit::Prompt);
    let inner = Encrypted::new(honest, v1_hash(&raw), CryptoMethods::BOTH);
    let outcome = meet(&raw, Trickle { inner, each: Duration::from_millis(100) });
    assert_eq!(outcome, PeerOutcome::Silent(Stage::Handshake));
}
