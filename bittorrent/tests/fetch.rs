//! Fetches among honest peers: every client's habit, and how peers share the work.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod world;

use std::{sync::Arc, time::Duration};

use bittorrent::{
    Action, Admission, Candidate, CloseHow, ConnectFailure, Disconnect, FailReason, Fetch, FetchConfig,
    PeerOutcome, PeerSource, Stage, Transport, VerifiedBy, ut_metadata::PIECE_BYTES,
};
use krpc::InfoHash;
use sha2::{Digest as _, Sha256};
use world::{
    World, addr,
    honest::{Habit, Honest},
    scripted::{Scripted, Unreachable},
    v1_hash,
};

const HABITS: [Habit; 4] = [Habit::Prompt, Habit::Libtorrent, Habit::Transmission, Habit::Rtorrent];

fn dict(len: usize) -> Vec<u8> {
    world::dict(len)
}

#[test]
fn every_habit_and_length_comes_out_byte_for_byte() {
    for len in [1, 200, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 34_256, 1_200_000] {
        let raw = dict(len);
        for habit in HABITS {
            let mut world = World::new(v1_hash(&raw));
            world.add(addr(1), Honest::new(&raw, habit));
            world.run();
            assert_eq!(world.raw(), raw);
            assert_eq!(world.outcome(addr(1)), PeerOutcome::Served);
            assert_eq!(world.closes, [(addr(1), CloseHow::Flush)]);
            let done = world.done.as_ref().unwrap();
            assert_eq!((&done.givers[..], done.verified_by), (&[addr(1)][..], VerifiedBy::Sha1));
            assert_eq!(world.fetch.counters().pieces, len.div_ceil(PIECE_BYTES) as u64);
        }
    }
}

#[test]
fn a_fetch_of_one_piece_costs_three_round_trips() {
    let raw = dict(3000);
    let mut world = World::new(v1_hash(&raw));
    world.add(addr(1), Honest::new(&raw, Habit::Prompt));
    // Connect, handshake with the extension handshake on its heels, request.
    assert_eq!(world.run(), 6 * world::LATENCY);
}

#[test]
fn the_pipeline_suits_each_client() {
    let raw = dict(74 * PIECE_BYTES);
    let took = |habit| {
        let mut world = World::new(v1_hash(&raw));
        world.add(addr(1), Honest::new(&raw, habit));
        let took = world.run();
        assert_eq!(world.raw(), raw);
        assert_eq!(world.fetch.counters().requests_repeated, 0, "nothing was asked twice");
        took
    };
    assert!(took(Habit::Libtorrent) < Duration::from_secs(1), "never runs into libtorrent's tick");
    assert!(took(Habit::Transmission) < Duration::from_secs(25));
    // 74 times a round trip and its own 15 ms.
    assert!(took(Habit::Rtorrent) < Duration::from_secs(3));
}

#[test]
fn a_client_that_drops_requests_without_being_known_for_it_is_asked_more_slowly() {
    let raw = dict(20 * PIECE_BYTES);
    let mut world = World::new(v1_hash(&raw));
    let mut peer = Honest::new(&raw, Habit::Rtorrent);
    peer.client = "unheard of";
    peer.peer_id = *b"-XX0000-xxxxxxxxxxxx";
    world.add(addr(1), peer);
    assert!(world.run() < Duration::from_secs(20));
    assert_eq!(world.raw(), raw);
}

#[test]
fn bytes_may_come_one_at_a_time() {
    let raw = dict(PIECE_BYTES + 77);
    for portion in [1, 2, 3, 67, 68, 69, 1460, 16384] {
        let mut world = World::new(v1_hash(&raw));
        world.portion = portion;
        world.add(addr(1), Honest::with_chatter(&raw));
        world.run();
        assert_eq!(world.raw(), raw);
    }
}

#[test]
fn a_v2_torrent_is_verified_by_its_truncated_hash() {
    let raw = dict(20_000);
    let key = InfoHash::try_from(&Sha256::digest(&raw)[..20]).unwrap();
    let mut world = World::new(key);
    world.add(addr(1), Honest::new(&raw, Habit::Prompt));
    world.run();
    assert_eq!(world.raw(), raw);
    assert_eq!(world.done.as_ref().unwrap().verified_by, VerifiedBy::Sha256Truncated);
}

#[test]
fn the_report_says_who_it_was() {
    let raw = dict(500);
    let mut world = World::new(v1_hash(&raw));
    world.place(addr(1), Honest::new(&raw, Habit::Transmission));
    world.offer(Candidate::new(addr(1), PeerSource::Announced));
    world.run();
    let report = &world.reports[0];
    assert_eq!(report.client.as_deref(), Some("Transmission 3.00"));
    assert_eq!(report.peer_id.unwrap().as_bytes(), b"-TR3000-tttttttttttt");
    assert_eq!((report.source, report.reached), (PeerSource::Announced, Stage::Metadata));
    assert!(report.received_bytes > 500 && report.lasted > Duration::from_millis(2500));
    // A round trip each to connect, for the handshakes; Transmission answers requests seldom.
    assert_eq!(report.stages.iter().sum::<Duration>(), report.lasted);
    assert_eq!(report.stages[Stage::Connect as usize], 2 * world::LATENCY);
    assert!(report.stages[Stage::Metadata as usize] > Duration::from_secs(2));
}

#[test]
fn beyond_the_connects_that_its_owner_allows_a_fetch_waits() {
    let raw = dict(100);
    let (hash, now) = (v1_hash(&raw), Duration::ZERO);
    let mut fetch = Fetch::new(hash, Arc::new(FetchConfig::new(world::OWN_ID)), now);
    let mut out = bittorrent::Output::new();
    let connects = |out: &mut bittorrent::Output| {
        out.drain().filter(|action| matches!(action, Action::Connect { .. })).count()
    };
    out.allow_connects(2);
    for n in 1..=6 {
        fetch.add_candidate(now, Candidate::new(addr(n), PeerSource::Lookup), &mut out);
    }
    assert_eq!(connects(&mut out), 2);
    assert!(fetch.awaits_connect());
    fetch.no_more_candidates(now, &mut out);
    fetch.tick(now, &mut out);
    assert_eq!((connects(&mut out), fetch.is_finished()), (0, false), "no more were allowed");
    assert_eq!(fetch.peers().collect::<Vec<_>>(), [(Stage::Connect, Transport::Tcp, None); 2]);
    out.allow_connects(9);
    fetch.tick(now, &mut out);
    assert_eq!(connects(&mut out), 2, "four peers at a time");
    assert!(!fetch.awaits_connect());
}

#[test]
fn peers_share_the_pieces_and_none_is_asked_for_twice() {
    let raw = dict(40 * PIECE_BYTES);
    let mut world = World::new(v1_hash(&raw));
    for n in 1..=4 {
        world.add(addr(n), Honest::new(&raw, Habit::Slow(Duration::from_millis(50))));
    }
    let together = world.run();
    assert_eq!(world.raw(), raw);
    let counters = world.fetch.counters();
    assert_eq!((counters.requests, counters.requests_repeated, counters.pieces_duplicate), (40, 0, 0));
    assert_eq!(counters.outcome(PeerOutcome::Served), 4);
    assert_eq!(world.done.as_ref().unwrap().givers.len(), 4);

    let mut world = World::new(v1_hash(&raw));
    world.add(addr(1), Honest::new(&raw, Habit::Slow(Duration::from_millis(50))));
    let alone = world.run();
    assert!(together * 3 < alone, "{together:?} together, {alone:?} alone");
}

#[test]
fn a_peer_with_nothing_to_do_helps_a_slow_one_out() {
    let raw = dict(3 * PIECE_BYTES);
    let mut world = World::new(v1_hash(&raw));
    world.add(addr(1), Honest::new(&raw, Habit::Slow(Duration::from_secs(3))));
    world.add(addr(2), Honest::new(&raw, Habit::Prompt));
    // The first gets the requests for all pieces, since it is there first.
    let took = world.run();
    assert_eq!(world.raw(), raw);
    assert!(took < Duration::from_millis(1200), "{took:?}");
    assert_eq!(world.fetch.counters().requests_repeated, 3);
    assert_eq!(world.outcome(addr(1)), PeerOutcome::NotNeeded);
}

#[test]
fn pieces_of_a_peer_that_left_are_kept_for_the_next() {
    let raw = dict(6 * PIECE_BYTES);
    let mut world = World::new(v1_hash(&raw));
    let mut first = Honest::new(&raw, Habit::Prompt);
    first.pieces_max = 4;
    world.add(addr(1), first);
    world.run_until(world.now + Duration::from_secs(1));
    assert_eq!(world.outcome(addr(1)), PeerOutcome::Closed(Stage::Metadata));
    assert_eq!(world.fetch.bytes_held(), 4 * PIECE_BYTES);
    world.add(addr(2), Honest::new(&raw, Habit::Prompt));
    world.run();
    assert_eq!(world.raw(), raw);
    assert_eq!(world.fetch.counters().pieces, 6);
    assert_eq!(world.done.as_ref().unwrap().givers, [addr(1), addr(2)]);
}

#[test]
fn no_more_than_four_are_tried_at_once_and_all_in_the_end() {
    let raw = dict(100);
    let mut world = World::new(v1_hash(&raw));
    for n in 1..=30 {
        world.add(addr(n), Scripted::new(vec![]));
    }
    world.add(addr(31), Honest::new(&raw, Habit::Prompt));
    let took = world.run();
    assert_eq!(world.most_open, 4);
    assert_eq!(world.raw(), raw);
    // 28 silent peers before it in 7 rounds of the handshake's time.
    assert!(took > Duration::from_secs(42) && took < Duration::from_secs(44), "{took:?}");
    assert_eq!(world.fetch.counters().outcome(PeerOutcome::Silent(Stage::Handshake)), 28);
    assert_eq!(world.fetch.counters().outcome(PeerOutcome::NotNeeded), 2);
}

#[test]
fn further_peers_are_left_alone_while_one_delivers() {
    let raw = dict(60 * PIECE_BYTES);
    let mut world = World::new(v1_hash(&raw));
    world.add(addr(1), Honest::new(&raw, Habit::Slow(Duration::from_millis(20))));
    world.run_until(world.now + Duration::from_millis(300));
    world.add(addr(2), Honest::new(&raw, Habit::Prompt));
    world.run();
    assert_eq!(world.connects, [addr(1)]);
    assert_eq!(world.raw(), raw);
}

#[test]
fn a_freshly_announced_peer_goes_before_those_of_a_lookup() {
    let raw = dict(100);
    let mut world = World::new(v1_hash(&raw));
    for n in 1..=8 {
        world.place(addr(n), Scripted::new(vec![]));
        world.offer(Candidate::new(addr(n), PeerSource::Lookup));
    }
    world.place(addr(9), Honest::new(&raw, Habit::Prompt));
    world.offer(Candidate::new(addr(9), PeerSource::Announced));
    world.run();
    assert_eq!(world.connects[4], addr(9));
    assert_eq!(world.raw(), raw);
}

#[test]
fn candidates_may_come_late_and_the_fetch_waits_for_them() {
    let raw = dict(100);
    let mut world = World::new(v1_hash(&raw));
    world.add(addr(1), Unreachable(Disconnect::Refused));
    world.run_until(world.now + Duration::from_secs(20));
    assert!(!world.fetch.is_finished());
    assert_eq!(world.outcome(addr(1)), PeerOutcome::ConnectFailed(ConnectFailure::Refused));
    world.add(addr(2), Honest::new(&raw, Habit::Prompt));
    world.run();
    assert_eq!(world.raw(), raw);
}

#[test]
fn without_candidates_it_fails_as_soon_as_none_are_expected() {
    let mut world = World::new(v1_hash(b"x"));
    assert_eq!(world.run(), Duration::ZERO);
    let failed = world.failed.unwrap();
    assert_eq!((failed.reason, failed.best, failed.attempts), (FailReason::NoCandidates, None, 0));
    assert_eq!(world.fetch.counters().failed(FailReason::NoCandidates), 1);
}

#[test]
fn the_failure_names_the_outcome_of_the_peer_that_came_furthest() {
    let raw = dict(100);
    let mut world = World::new(v1_hash(&raw));
    world.add(addr(1), Unreachable(Disconnect::Refused));
    let mut leaver = Honest::new(&raw, Habit::Prompt);
    leaver.pieces_max = 0;
    world.add(addr(2), leaver);
    world.add(addr(3), Scripted::new(vec![]));
    world.run();
    let failed = world.failed.unwrap();
    assert_eq!(failed.reason, FailReason::Exhausted);
    assert_eq!(failed.best, Some(PeerOutcome::Closed(Stage::Metadata)));
    assert_eq!(failed.attempts, 3);
}

#[test]
fn a_swapped_port_is_tried_when_the_first_is_closed() {
    let raw = dict(100);
    let mut world = World::new(v1_hash(&raw));
    world.place(addr(1), Honest::new(&raw, Habit::Rtorrent));
    let swapped = ([127, 0, 0, 1], 6881_u16.swap_bytes()).into();
    world.place(swapped, Unreachable(Disconnect::Refused));
    world.offer(Candidate::with_swapped_port(swapped, PeerSource::Sampler));
    world.run();
    assert_eq!(world.connects, [swapped, addr(1)]);
    assert_eq!(world.raw(), raw);
}

#[test]
fn want_of_sockets_is_not_held_against_a_peer() {
    use std::sync::atomic::{AtomicU32, Ordering};
    static TRIES: AtomicU32 = AtomicU32::new(0);
    let raw = dict(100);
    let mut world = World::new(v1_hash(&raw));
    struct Short(Honest);
    impl world::Peer for Short {
        fn connect(&mut self) -> world::Connect {
            match TRIES.fetch_add(1, Ordering::Relaxed) {
                0..3 => world::Connect::Fail(Disconnect::Overload),
                _ => world::Connect::Accept,
            }
        }
        fn receive(&mut self, now: Duration, bytes: &[u8], reply: &mut world::Reply) {
            self.0.receive(now, bytes, reply);
        }
    }
    world.add(addr(1), Short(Honest::new(&raw, Habit::Prompt)));
    let took = world.run();
    assert_eq!(world.raw(), raw);
    assert_eq!(world.connects.len(), 4);
    assert!(took > Duration::from_secs(3) && took < Duration::from_secs(4), "{took:?}");

    // It ends, though, even if there is never a socket.
    let mut world = World::new(v1_hash(&raw));
    world.add(addr(2), Unreachable(Disconnect::Overload));
    world.run();
    assert_eq!(world.connects.len(), 9);
    assert_eq!(world.failed.unwrap().best, Some(PeerOutcome::ConnectFailed(ConnectFailure::Overload)));
}

#[test]
fn after_its_time_it_fails_and_closes_everything() {
    let raw = dict(100);
    let mut world = World::new(v1_hash(&raw));
    for n in 1..=60 {
        world.add(addr(n), Scripted::new(vec![]));
    }
    assert_eq!(world.run(), Duration::from_secs(45));
    assert_eq!(world.failed.unwrap().reason, FailReason::Deadline);
    assert_eq!(world.fetch.counters().outcome(PeerOutcome::FetchEnded), 4);
}

#[test]
fn while_pieces_come_it_may_take_a_little_longer() {
    // 20 pieces of 2.8 s each: 56 s.
    let raw = dict(20 * PIECE_BYTES);
    let mut world = World::new(v1_hash(&raw));
    world.add(addr(1), Honest::new(&raw, Habit::Slow(Duration::from_millis(2800))));
    let took = world.run();
    assert!(took > Duration::from_secs(55) && took < Duration::from_secs(60), "{took:?}");
    assert_eq!(world.raw(), raw);

    // 40 of them are too many.
    let raw = dict(40 * PIECE_BYTES);
    let mut world = World::new(v1_hash(&raw));
    world.add(addr(1), Honest::new(&raw, Habit::Slow(Duration::from_millis(2800))));
    assert_eq!(world.run(), Duration::from_secs(60));
    assert_eq!(world.failed.unwrap().reason, FailReason::Deadline);
}

#[test]
fn the_owner_may_give_it_up() {
    let raw = dict(9 * PIECE_BYTES);
    let mut world = World::new(v1_hash(&raw));
    world.add(addr(1), Honest::new(&raw, Habit::Slow(Duration::from_millis(500))));
    world.run_until(world.now + Duration::from_secs(2));
    assert!(world.fetch.bytes_held() > 0);
    world.abort();
    assert_eq!(world.failed.unwrap().reason, FailReason::Aborted);
    assert_eq!(world.outcome(addr(1)), PeerOutcome::FetchEnded);
    assert_eq!(world.fetch.bytes_held(), 0);
    // Everything after the end is in vain.
    world.offer(Candidate::new(addr(2), PeerSource::Requested));
    assert_eq!(world.connects.len(), 1);
}

#[test]
fn candidates_beyond_the_bound_are_refused_and_counted() {
    let raw = dict(100);
    let mut world = World::new(v1_hash(&raw));
    for n in 0..200 {
        world.offer(Candidate::new(addr(n), PeerSource::Lookup));
    }
    world.offer(Candidate::new(addr(1), PeerSource::Announced));
    world.offer(Candidate::new(([127, 0, 0, 1], 0).into(), PeerSource::Lookup));
    let counters = world.fetch.counters();
    assert_eq!((counters.candidates, counters.candidates_refused), (128, 72));
    assert_eq!((counters.candidates_known, counters.candidates_unusable), (1, 1));
    let mut out = bittorrent::Output::new();
    let full = world.fetch.add_candidate(world.now, Candidate::new(addr(201), PeerSource::Lookup), &mut out);
    assert_eq!(full, Admission::Full);
}

#[test]
fn events_of_connections_that_are_over_are_ignored_and_counted() {
    let raw = dict(100);
    let mut world = World::new(v1_hash(&raw));
    world.add(addr(1), Honest::new(&raw, Habit::Prompt));
    world.run();
    let mut out = bittorrent::Output::new();
    let slot = world.reports[0].slot;
    world.fetch.peer_opened(world.now, slot, &mut out);
    world.fetch.peer_data(world.now, slot, b"late", &mut out);
    world.fetch.peer_closed(world.now, slot, Disconnect::Eof, &mut out);
    assert!(out.is_empty());
    assert_eq!(world.fetch.counters().late_events, 3);
}
