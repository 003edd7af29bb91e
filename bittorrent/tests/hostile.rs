//! Fetches among peers that lie, misbehave, or vanish: each is counted by its reason, none does harm.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod world;

use std::time::Duration;

use bittorrent::{
    ConnectFailure, Disconnect, FailReason, PeerFault, PeerOutcome, Stage,
    extension_handshake::UT_METADATA_ID, ut_metadata::PIECE_BYTES,
};
use world::{
    OWN_ID, Peer, Reply, World, addr,
    honest::{self, Habit, Honest, extended, extension_handshake},
    scripted::{EXTENSION_HANDSHAKE, HANDSHAKE, Scripted, Step, Unreachable, send},
    v1_hash,
};

const PEER_ID: &[u8; 20] = b"-XX0000-xxxxxxxxxxxx";

fn dict(len: usize) -> Vec<u8> {
    world::dict(len)
}

fn hello(raw: &[u8]) -> Vec<u8> {
    honest::handshake(v1_hash(raw).as_bytes(), PEER_ID)
}

fn offer(size: i64) -> Vec<u8> {
    extension_handshake(7, size, "liar 1.0")
}

fn data(piece: i64, total: i64, bytes: &[u8]) -> Vec<u8> {
    honest::data(UT_METADATA_ID, piece, total, bytes)
}

/// Lets a fetch meet this peer first, then an honest one: which must be enough.
fn meet(raw: &[u8], peer: impl Peer + 'static) -> PeerOutcome {
    let mut world = World::new(v1_hash(raw));
    world.add(addr(1), peer);
    world.run_until(world.now + Duration::from_secs(40));
    let outcome = world.outcome(addr(1));
    assert!(world.most_held < 64 << 10, "{} bytes held", world.most_held);
    world.add(addr(2), Honest::new(raw, Habit::Prompt));
    world.run();
    assert_eq!(world.raw(), raw);
    outcome
}

/// What becomes of a peer that sends `first` when the connection stands, and then stays silent.
fn says(first: Vec<u8>) -> PeerOutcome {
    meet(&dict(40_000), Scripted::new(vec![(0, send(first))]))
}

/// What becomes of a peer that shakes hands, and answers our extension handshake so.
fn says_after_handshake(then: Vec<u8>) -> PeerOutcome {
    let raw = dict(40_000);
    let steps = vec![(HANDSHAKE, send(hello(&raw))), (EXTENSION_HANDSHAKE, send(then))];
    meet(&raw, Scripted::new(steps))
}

/// What becomes of a peer that offers an info dict of 40,000 bytes, and answers our requests so.
fn says_after_offer(then: Vec<u8>) -> PeerOutcome {
    let raw = dict(40_000);
    let steps = vec![
        (HANDSHAKE, send(hello(&raw))),
        (EXTENSION_HANDSHAKE, send(offer(40_000))),
        (EXTENSION_HANDSHAKE + 1, send(then)),
    ];
    meet(&raw, Scripted::new(steps))
}

fn fault(fault: PeerFault) -> PeerOutcome {
    PeerOutcome::Fault(fault)
}

#[test]
fn handshakes_that_are_none_are_told_apart() {
    let raw = dict(40_000);
    assert_eq!(says(b"HTTP/1.0 400 Bad Request\r\n".to_vec()), fault(PeerFault::BadHandshake));
    assert_eq!(says(vec![0; 500]), fault(PeerFault::BadHandshake));
    let other = honest::handshake(b"another info hash!!!", PEER_ID);
    assert_eq!(says(other), fault(PeerFault::OtherInfoHash));
    let own = honest::handshake(v1_hash(&raw).as_bytes(), OWN_ID.as_bytes());
    assert_eq!(says(own), fault(PeerFault::SelfConnection));
    let mut plain = hello(&raw);
    plain[25] = 0;
    assert_eq!(says(plain), fault(PeerFault::NoExtensionProtocol));
}

#[test]
fn a_connection_may_fail_or_break_in_every_stage() {
    let raw = dict(40_000);
    let meet = |peer| meet(&raw, peer);
    let shake = || (0, send(hello(&raw)));
    let offer = || (EXTENSION_HANDSHAKE, send(offer(40_000)));
    let after = EXTENSION_HANDSHAKE + 1;
    for (why, in_stage) in [
        (Disconnect::Eof, PeerOutcome::Closed as fn(Stage) -> PeerOutcome),
        (Disconnect::Reset, PeerOutcome::Reset),
        (Disconnect::Timeout, PeerOutcome::Silent),
        (Disconnect::Other, PeerOutcome::Broken),
    ] {
        let close = Step::Close(why);
        let some = send(hello(&raw)[..30].to_vec());
        let in_handshake = Scripted::new(vec![(0, some), (HANDSHAKE, close.clone())]);
        assert_eq!(meet(in_handshake), in_stage(Stage::Handshake));
        let in_extension_handshake = Scripted::new(vec![shake(), (EXTENSION_HANDSHAKE, close.clone())]);
        assert_eq!(meet(in_extension_handshake), in_stage(Stage::ExtensionHandshake));
        let in_metadata = Scripted::new(vec![shake(), offer(), (after, close)]);
        assert_eq!(meet(in_metadata), in_stage(Stage::Metadata));
    }
}

#[test]
fn connects_that_fail_are_told_apart() {
    for (why, failure) in [
        (Disconnect::Refused, ConnectFailure::Refused),
        (Disconnect::Unreachable, ConnectFailure::Unreachable),
        (Disconnect::Timeout, ConnectFailure::Timeout),
        (Disconnect::Reset, ConnectFailure::Other),
        (Disconnect::Other, ConnectFailure::Other),
    ] {
        let raw = dict(10);
        let mut world = World::new(v1_hash(&raw));
        world.add(addr(1), Unreachable(why));
        world.run();
        assert_eq!(world.outcome(addr(1)), PeerOutcome::ConnectFailed(failure));
    }
}

#[test]
fn an_owner_that_forgets_the_connect_timeout_does_not_stop_the_fetch() {
    let raw = dict(10);
    let mut config = world::config();
    config.peer.connect_timeout = Duration::from_secs(5);
    let mut fetch = bittorrent::Fetch::new(v1_hash(&raw), config.into(), Duration::ZERO);
    let mut out = bittorrent::Output::new();
    let candidate = bittorrent::Candidate::new(addr(1), bittorrent::PeerSource::Lookup);
    fetch.add_candidate(Duration::ZERO, candidate, &mut out);
    fetch.no_more_candidates(Duration::ZERO, &mut out);
    let due = fetch.next_deadline().unwrap();
    assert_eq!(due, Duration::from_secs(6));
    fetch.tick(due, &mut out);
    assert!(fetch.is_finished());
    let timeout = PeerOutcome::ConnectFailed(ConnectFailure::Timeout);
    assert_eq!(fetch.counters().outcome(timeout), 1);
}

#[test]
fn a_close_without_a_byte_is_known_as_that() {
    for why in [Disconnect::Eof, Disconnect::Reset] {
        let outcome = meet(&dict(10), Scripted::new(vec![(HANDSHAKE, Step::Close(why))]));
        assert_eq!(outcome, PeerOutcome::ClosedWithoutByte);
    }
}

#[test]
fn silence_is_told_by_its_stage() {
    assert_eq!(says(vec![]), PeerOutcome::Silent(Stage::Handshake));
    assert_eq!(says(b"\x13BitTorrent".to_vec()), PeerOutcome::Silent(Stage::Handshake));
    assert_eq!(says(hello(&dict(40_000))), PeerOutcome::Silent(Stage::ExtensionHandshake));
    assert_eq!(says_after_handshake(offer(40_000)), PeerOutcome::Silent(Stage::Metadata));
    // Signs of life are no answer.
    assert_eq!(says_after_offer(vec![0; 4000]), PeerOutcome::Silent(Stage::Metadata));
    assert_eq!(says_after_handshake(vec![0; 4000]), PeerOutcome::Silent(Stage::ExtensionHandshake));
}

#[test]
fn a_peer_that_trickles_is_given_up() {
    struct Trickle {
        bytes: Vec<u8>,
        each: Duration,
    }
    impl Peer for Trickle {
        fn opened(&mut self, reply: &mut Reply) {
            for (n, byte) in self.bytes.iter().enumerate() {
                reply.send(self.each * n as u32, vec![*byte]);
            }
        }
        fn receive(&mut self, _now: Duration, _bytes: &[u8], _reply: &mut Reply) {}
    }
    let raw = dict(40_000);
    let all = [hello(&raw), offer(40_000), data(0, 40_000, &raw[..PIECE_BYTES])].concat();
    let trickle = |each| meet(&raw, Trickle { bytes: all.clone(), each });
    assert_eq!(trickle(Duration::from_secs(1)), PeerOutcome::Silent(Stage::Handshake));
    assert_eq!(trickle(Duration::from_millis(80)), PeerOutcome::Silent(Stage::ExtensionHandshake));
    assert_eq!(trickle(Duration::from_millis(20)), PeerOutcome::Silent(Stage::Metadata));
}

#[test]
fn offers_that_are_none_are_told_apart() {
    let offer_of = |text: &[u8]| says_after_handshake(extended(0, text));
    assert_eq!(offer_of(b"d1:md6:ut_pexi1ee13:metadata_sizei9ee"), fault(PeerFault::NoUtMetadata));
    assert_eq!(offer_of(b"d1:md11:ut_metadatai0ee13:metadata_sizei9ee"), fault(PeerFault::NoUtMetadata));
    assert_eq!(offer_of(b"d1:md11:ut_metadatai1eee"), fault(PeerFault::NoMetadataYet));
    assert_eq!(offer_of(b"d1:md11:ut_metadatai1ee13:metadata_sizei0ee"), fault(PeerFault::NoMetadataYet));
    assert_eq!(offer_of(b"d1:md11:ut_metadatai1ee13:metadata_sizei-1ee"), fault(PeerFault::SizeInvalid));
    assert_eq!(offer_of(b"d1:md11:ut_metadatai1ee13:metadata_size2:10e"), fault(PeerFault::SizeInvalid));
    assert_eq!(says_after_handshake(offer(1 << 31)), fault(PeerFault::SizeTooLarge));
    assert_eq!(says_after_handshake(offer((16 << 20) + 1)), fault(PeerFault::SizeTooLarge));
    assert_eq!(says_after_handshake(offer(i64::MAX)), fault(PeerFault::SizeTooLarge));
    assert_eq!(offer_of(b"d1:m"), fault(PeerFault::MalformedMessage));
    assert_eq!(offer_of(b"not bencode"), fault(PeerFault::MalformedMessage));
    assert_eq!(offer_of(&[b'l'; 10_000]), fault(PeerFault::MalformedMessage));
    assert_eq!(says_after_handshake(b"\0\0\0\x01\x14".to_vec()), fault(PeerFault::MalformedMessage));
}

#[test]
fn messages_beyond_their_bounds_end_the_connection() {
    let too_long = fault(PeerFault::MessageTooLong);
    assert_eq!(says_after_handshake(b"\x01\x10\0\0\x14\0".to_vec()), too_long);
    assert_eq!(says_after_handshake(b"\x01\x10\0\0\x05".to_vec()), too_long);
    assert_eq!(says_after_offer(b"\x01\x10\0\0\x14\x02".to_vec()), too_long);
    // The longest extended message that is taken, and one byte more.
    assert_eq!(says_after_offer(b"\0\0\x44\0\x14\x63".to_vec()), PeerOutcome::Silent(Stage::Metadata));
    assert_eq!(says_after_offer(b"\0\0\x44\x01\x14\x63".to_vec()), too_long);
    let noise = [&b"\0\x10\0\0\x05"[..], &vec![0; (1 << 20) - 1]].concat().repeat(5);
    assert_eq!(says_after_handshake(noise.clone()), fault(PeerFault::TooMuchNoise));
    assert_eq!(says_after_offer(noise), fault(PeerFault::TooMuchNoise));
}

#[test]
fn pieces_that_cannot_be_are_refused() {
    let piece = vec![7; PIECE_BYTES];
    for index in [-1, 3, 4, 1 << 32, i64::MAX, i64::MIN + 1] {
        assert_eq!(
            says_after_offer(data(index, 40_000, &piece)),
            fault(PeerFault::PieceOutOfRange),
            "{index}"
        );
    }
    for (index, len) in
        [(0, PIECE_BYTES - 1), (0, 0), (1, PIECE_BYTES + 1), (2, PIECE_BYTES), (2, 7231), (2, 7233)]
    {
        let outcome = says_after_offer(data(index, 40_000, &vec![7; len]));
        assert_eq!(outcome, fault(PeerFault::WrongPieceLength), "{index} {len}");
    }
    for total in [0, -1, 39_999, 40_001, i64::MAX] {
        assert_eq!(says_after_offer(data(0, total, &piece)), fault(PeerFault::TotalSizeMismatch), "{total}");
    }
    let header = |text: &[u8]| says_after_offer(extended(UT_METADATA_ID, text));
    assert_eq!(header(b"d5:piecei0ee"), fault(PeerFault::MalformedMessage));
    assert_eq!(header(b"d8:msg_typei1ee"), fault(PeerFault::MalformedMessage));
    assert_eq!(header(b"d8:msg_typei1e5:piece1:0e"), fault(PeerFault::MalformedMessage));
    assert_eq!(header(b""), fault(PeerFault::MalformedMessage));
    // BEP 9: types that are not known are ignored.
    assert_eq!(header(b"d8:msg_typei9e5:piecei0ee"), PeerOutcome::Silent(Stage::Metadata));
}

#[test]
fn pieces_before_the_offer_or_without_end_are_refused() {
    let raw = dict(40_000);
    let first = data(0, 40_000, &raw[..PIECE_BYTES]);
    assert_eq!(says_after_handshake(first.clone()), fault(PeerFault::UnrequestedPieces));
    assert_eq!(says_after_offer(first.repeat(100)), fault(PeerFault::UnrequestedPieces));
    // A few too many are tolerated: requests are repeated, so answers may be.
    assert_eq!(says_after_offer(first.repeat(3)), PeerOutcome::Silent(Stage::Metadata));
}

#[test]
fn a_piece_sent_twice_does_no_harm() {
    let raw = dict(40_000);
    let mut world = World::new(v1_hash(&raw));
    let pieces = [0, 0, 1, 1, 2]
        .map(|n: usize| data(n as i64, 40_000, &raw[n * PIECE_BYTES..raw.len().min((n + 1) * PIECE_BYTES)]));
    world.add(
        addr(1),
        Scripted::new(vec![
            (HANDSHAKE, send(hello(&raw))),
            (EXTENSION_HANDSHAKE, send(offer(40_000))),
            (EXTENSION_HANDSHAKE + 1, send(pieces.concat())),
        ]),
    );
    world.run();
    assert_eq!(world.raw(), raw);
    assert_eq!(world.fetch.counters().pieces_duplicate, 2);
}

#[test]
fn a_size_that_changes_is_a_lie_and_one_that_is_repeated_is_not() {
    assert_eq!(says_after_offer(offer(40_001)), fault(PeerFault::SizeChanged));
    assert_eq!(says_after_offer(offer(0)), fault(PeerFault::SizeChanged));
    assert_eq!(says_after_offer(offer(40_000)), PeerOutcome::Silent(Stage::Metadata));
    assert_eq!(says_after_offer(extended(0, b"de")), PeerOutcome::Silent(Stage::Metadata));
}

#[test]
fn a_peer_that_rejects_at_once_is_left() {
    assert_eq!(says_after_offer(honest::reject(UT_METADATA_ID, 0)), fault(PeerFault::Rejected));
}

#[test]
fn a_peer_that_rejects_after_serving_is_asked_more_slowly() {
    let raw = dict(40_000);
    let piece =
        |n: usize| data(n as i64, 40_000, &raw[n * PIECE_BYTES..raw.len().min((n + 1) * PIECE_BYTES)]);
    let reject = |n| honest::reject(UT_METADATA_ID, n);
    let asked_again = EXTENSION_HANDSHAKE + 3 * 31 + 1;
    let mut world = World::new(v1_hash(&raw));
    world.add(
        addr(1),
        Scripted::new(vec![
            (HANDSHAKE, send(hello(&raw))),
            (EXTENSION_HANDSHAKE, send(offer(40_000))),
            (EXTENSION_HANDSHAKE + 1, send([piece(0), reject(1), reject(2)].concat())),
            (asked_again, send(piece(1))),
            (asked_again + 31, send(piece(2))),
        ]),
    );
    let took = world.run();
    assert_eq!(world.raw(), raw);
    assert!(took > Duration::from_secs(4) && took < Duration::from_secs(5), "{took:?}");
    // But not for ever.
    let stubborn = [piece(0), reject(1).repeat(5)].concat();
    assert_eq!(says_after_offer(stubborn), fault(PeerFault::Rejected));
}

#[test]
fn a_peer_that_asks_us_gets_a_reject_a_bounded_number_of_times() {
    struct Asker {
        inner: Scripted,
        rejects: std::rc::Rc<std::cell::Cell<usize>>,
    }
    impl Peer for Asker {
        fn receive(&mut self, now: Duration, bytes: &[u8], reply: &mut Reply) {
            let reject = b"\x14\x07d8:msg_typei2e5:piecei5ee";
            let count = bytes.windows(reject.len()).filter(|window| window == reject).count();
            self.rejects.set(self.rejects.get() + count);
            self.inner.receive(now, bytes, reply);
        }
    }
    let raw = dict(40_000);
    let rejects = std::rc::Rc::default();
    let ask = extended(UT_METADATA_ID, b"d8:msg_typei0e5:piecei5ee").repeat(100);
    let peer = Asker {
        rejects: std::rc::Rc::clone(&rejects),
        inner: Scripted::new(vec![
            (HANDSHAKE, send(hello(&raw))),
            (EXTENSION_HANDSHAKE, send([offer(40_000), ask].concat())),
        ]),
    };
    assert_eq!(meet(&raw, peer), PeerOutcome::Silent(Stage::Metadata));
    assert_eq!(rejects.get(), 16);
}

/// An otherwise honest peer with these bytes changed.
fn liar(raw: &[u8], at: &[usize], habit: Habit) -> Honest {
    let mut wrong = raw.to_vec();
    at.iter().for_each(|at| wrong[*at] ^= 0xff);
    Honest::new(&wrong, habit)
}

#[test]
fn a_liar_alone_is_proven_and_named() {
    let raw = dict(40_000);
    assert_eq!(meet(&raw, liar(&raw, &[39_999], Habit::Prompt)), PeerOutcome::HashMismatch);
    let mut world = World::new(v1_hash(&raw));
    world.add(addr(1), liar(&raw, &[0], Habit::Prompt));
    world.run();
    assert_eq!(world.failed.unwrap().reason, FailReason::Exhausted);
    assert_eq!(world.failed.unwrap().best, Some(PeerOutcome::HashMismatch));
    assert_eq!(world.liars, [addr(1)]);
    assert!(world.reports[0].outcome.is_hostile());
}

#[test]
fn one_liar_among_honest_peers_does_not_spoil_the_fetch() {
    let raw = dict(12 * PIECE_BYTES);
    for liar_at in 1..=4 {
        for lies in [
            vec![0],
            vec![5 * PIECE_BYTES],
            vec![11 * PIECE_BYTES + 3],
            (0..12).map(|n| n * PIECE_BYTES).collect(),
        ] {
            let mut world = World::new(v1_hash(&raw));
            for n in 1..=4 {
                let habit = Habit::Slow(Duration::from_millis(30));
                match n == liar_at {
                    true => world.add(addr(n), liar(&raw, &lies, habit)),
                    false => world.add(addr(n), Honest::new(&raw, habit)),
                }
            }
            let took = world.run();
            assert_eq!(world.raw(), raw);
            assert!(took < Duration::from_secs(3), "{took:?}");
            // Named if it came to give a wrong piece, and nobody else ever is.
            let spoiled = world.fetch.counters().assemblies_wrong > 0;
            assert_eq!(world.liars, if spoiled { vec![addr(liar_at)] } else { vec![] });
            assert_eq!(spoiled, world.outcome(addr(liar_at)) == PeerOutcome::HashMismatch);
        }
    }
}

#[test]
fn a_liar_that_leaves_after_one_wrong_piece_is_named_in_the_end() {
    let raw = dict(6 * PIECE_BYTES);
    let mut world = World::new(v1_hash(&raw));
    let mut wrong = liar(&raw, &[17], Habit::Prompt);
    wrong.pieces_max = 1;
    world.add(addr(1), wrong);
    world.run_until(world.now + Duration::from_secs(1));
    assert_eq!(world.outcome(addr(1)), PeerOutcome::Closed(Stage::Metadata));
    world.add(addr(2), Honest::new(&raw, Habit::Prompt));
    world.run();
    assert_eq!(world.raw(), raw);
    assert_eq!(world.liars, [addr(1)]);
    assert_eq!(world.done.as_ref().unwrap().givers, [addr(2)]);
}

#[test]
fn three_liars_in_four_do_not_spoil_the_fetch() {
    let raw = dict(10 * PIECE_BYTES);
    let mut world = World::new(v1_hash(&raw));
    for n in 1..=3 {
        let lies: Vec<_> = (0..10).map(|piece| piece * PIECE_BYTES + n as usize).collect();
        world.add(addr(n), liar(&raw, &lies, Habit::Prompt));
    }
    world.add(addr(4), Honest::new(&raw, Habit::Slow(Duration::from_millis(100))));
    world.run();
    assert_eq!(world.raw(), raw);
    world.liars.sort();
    assert_eq!(world.liars, [addr(1), addr(2), addr(3)]);
}

#[test]
fn peers_that_claim_other_sizes_have_assemblies_of_their_own() {
    let raw = dict(5 * PIECE_BYTES);
    let mut world = World::new(v1_hash(&raw));
    world.add(addr(1), Honest::new(&raw[..3 * PIECE_BYTES], Habit::Slow(Duration::from_millis(40))));
    world.add(addr(2), Honest::new(&dict(300 * PIECE_BYTES), Habit::Slow(Duration::from_millis(10))));
    world.add(
        addr(3),
        Scripted::new(vec![(HANDSHAKE, send(hello(&raw))), (EXTENSION_HANDSHAKE, send(offer(16 << 20)))]),
    );
    world.add(addr(4), Honest::new(&raw, Habit::Slow(Duration::from_millis(50))));
    world.run();
    assert_eq!(world.raw(), raw);
    assert_eq!(world.outcome(addr(1)), PeerOutcome::HashMismatch);
    assert_eq!(world.outcome(addr(2)), PeerOutcome::WrongSize);
    assert_eq!(world.outcome(addr(3)), PeerOutcome::WrongSize);
    world.liars.sort();
    assert_eq!(world.liars, [addr(1), addr(2), addr(3)]);
    assert!(world.most_held < 60 * PIECE_BYTES, "{}", world.most_held);
}

#[test]
fn memory_stays_within_the_bound_of_one_fetch() {
    let raw = dict(4 * PIECE_BYTES);
    let mut config = world::config();
    config.peer.metadata_bytes_max = 40 * PIECE_BYTES as u32;
    config.fetch_bytes_max = 64 * PIECE_BYTES;
    config.check().unwrap();
    let mut world = World::with_config(v1_hash(&raw), config);
    // Four of different sizes, all large, that serve to the end; and some that leave half way.
    for n in 0..12_u8 {
        let size = (40 - n as usize) * PIECE_BYTES - 1;
        let mut peer = Honest::new(&dict(size), Habit::Prompt);
        if n % 2 == 1 {
            peer.pieces_max = 30;
        }
        world.add(addr(n + 1), peer);
    }
    world.add(addr(100), Honest::new(&raw, Habit::Prompt));
    world.run();
    assert_eq!(world.raw(), raw);
    let fair = 64 * PIECE_BYTES + 4 * (64 << 10);
    assert!(world.most_held <= fair, "{} > {fair}", world.most_held);
}

#[test]
fn any_byte_of_a_good_conversation_may_be_wrong() {
    // Every byte of what an honest peer says is changed in some way once.
    let raw = dict(700);
    let good = [hello(&raw), offer(700), data(0, 700, &raw)].concat();
    for at in 0..good.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[at] ^= change;
            let mut world = World::new(v1_hash(&raw));
            world.add(addr(1), Scripted::new(vec![(HANDSHAKE, send(bytes))]));
            world.run();
            if let Some(done) = &world.done {
                assert_eq!(done.raw, raw, "byte {at} ^ {change:#x}");
            }
        }
    }
}
