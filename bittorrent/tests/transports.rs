//! Peers that take only some transports are reached, and those that take plain TCP cost one connection.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod world;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bittorrent::{
    Action, Candidate, ConnectFailure, Disconnect, Fetch, FetchConfig, Output, PeerFault, PeerOutcome,
    PeerSource, Slot, Transport, TransportPolicy, TransportSet, mse::CryptoMethods,
};
use krpc::InfoHash;
use proptest::prelude::*;
use world::{
    LATENCY, Peer, World, addr, dict,
    encrypted::{Encrypted, Mute, Patient, Void},
    honest::{Habit, Honest},
    scripted::{Scripted, Unreachable, send},
    v1_hash,
};

const SECOND: Duration = Duration::from_secs(1);
use Transport::{EncryptedTcp, EncryptedUtp, Tcp, Utp};

fn with(allowed: &[Transport]) -> FetchConfig {
    let mut config = world::config();
    let (allowed, methods) = (TransportSet::of(allowed), CryptoMethods::BOTH);
    config.transports = TransportPolicy { allowed, methods, ..TransportPolicy::default() };
    config.check().unwrap();
    config
}

fn world(raw: &[u8]) -> World {
    World::with_config(v1_hash(raw), with(&Transport::ALL))
}

fn honest(raw: &[u8]) -> Box<dyn Peer> {
    Box::new(Honest::new(raw, Habit::Prompt))
}

fn encrypted(raw: &[u8], accepted: CryptoMethods) -> Box<dyn Peer> {
    Box::new(Encrypted::new(Honest::new(raw, Habit::Prompt), v1_hash(raw), accepted))
}

fn offer(world: &mut World, addr: SocketAddr) {
    world.offer(Candidate::new(addr, PeerSource::Lookup));
}

/// The transports by which the endpoint was tried, and when after the start.
fn tried(world: &World, addr: SocketAddr) -> Vec<(Transport, Duration)> {
    let start = world.ways[0].0;
    let of_addr = world.ways.iter().filter(|(_, to, _)| *to == addr);
    of_addr.map(|(at, _, transport)| (*transport, *at - start)).collect()
}

#[test]
fn a_peer_that_takes_plain_tcp_costs_one_connection() {
    let raw = dict(20_000);
    let mut world = world(&raw);
    world.add(addr(1), Honest::new(&raw, Habit::Prompt));
    let took = world.run();
    assert_eq!(world.raw(), raw);
    assert_eq!(tried(&world, addr(1)), [(Tcp, Duration::ZERO)]);
    assert_eq!(took, LATENCY * 6, "connect, handshakes, pieces");
    let report = &world.reports[0];
    assert_eq!((report.transport, report.more_follows), (Tcp, false));
    assert_eq!(world.fetch.counters().transport(Tcp).served, 1);
}

#[test]
fn tcp_alone_is_used_unless_more_is_allowed() {
    let raw = dict(20_000);
    let mut world = World::new(v1_hash(&raw));
    world.place_door(addr(1), move |_| encrypted(&raw, CryptoMethods::BOTH));
    offer(&mut world, addr(1));
    world.run();
    assert!(world.failed.is_some());
    assert_eq!(tried(&world, addr(1)), [(Tcp, Duration::ZERO)]);
    assert_eq!(world.outcome(addr(1)), PeerOutcome::ClosedWithoutByte);
}

#[test]
fn a_peer_that_insists_on_encryption_gets_it_at_once() {
    for accepted in [CryptoMethods::RC4, CryptoMethods::PLAINTEXT, CryptoMethods::BOTH] {
        for portion in [1, 100, usize::MAX] {
            let raw = dict(50_000);
            let mut world = world(&raw);
            world.portion = portion;
            let copy = raw.clone();
            world.place_door(addr(1), move |transport| match transport.is_utp() {
                true => Box::new(Void),
                false => encrypted(&copy, accepted),
            });
            offer(&mut world, addr(1));
            let took = world.run();
            assert_eq!(world.raw(), raw, "{accepted:?} {portion}");
            assert_eq!(tried(&world, addr(1)), [(Tcp, Duration::ZERO), (EncryptedTcp, LATENCY * 4)]);
            assert!(took < SECOND);
            let outcomes: Vec<_> =
                world.reports.iter().map(|report| (report.outcome, report.more_follows)).collect();
            assert_eq!(outcomes, [(PeerOutcome::ClosedWithoutByte, true), (PeerOutcome::Served, false)]);
        }
    }
}

#[test]
fn where_plaintext_may_be_chosen_the_first_payload_waits_for_the_choice() {
    let raw = dict(20_000);
    let took = |offered, accepted| {
        let mut config = with(&[EncryptedTcp]);
        config.transports.methods = offered;
        let mut world = World::with_config(v1_hash(&raw), config);
        let copy = raw.clone();
        world.place_door(addr(1), move |_| encrypted(&copy, accepted));
        offer(&mut world, addr(1));
        let took = world.run();
        assert_eq!(world.raw(), raw);
        took
    };
    let direct = took(CryptoMethods::RC4, CryptoMethods::BOTH);
    assert_eq!(direct, LATENCY * 8, "connect, keys, handshakes, pieces");
    for (offered, accepted) in [
        (CryptoMethods::BOTH, CryptoMethods::BOTH),
        (CryptoMethods::BOTH, CryptoMethods::RC4),
        (CryptoMethods::PLAINTEXT, CryptoMethods::BOTH),
    ] {
        assert_eq!(took(offered, accepted), direct + LATENCY * 2);
    }
}

#[test]
fn a_peer_that_takes_only_utp_is_found_when_tcp_is_closed_refused_or_silent() {
    let raw = dict(20_000);
    type MakePeer = fn() -> Box<dyn Peer>;
    let doors: [(MakePeer, Duration); 3] = [
        // As soon as encryption was tried in vain.
        (|| Box::new(Mute), LATENCY * 8),
        (|| Box::new(Unreachable(Disconnect::Refused)), LATENCY * 2),
        // It does not wait for the timeout of 5 s.
        (|| Box::new(Void), SECOND),
    ];
    for (tcp, utp_at) in doors {
        let mut world = world(&raw);
        let copy = raw.clone();
        world.place_door(addr(1), move |transport| if transport.is_utp() { honest(&copy) } else { tcp() });
        offer(&mut world, addr(1));
        world.run();
        assert_eq!(world.raw(), raw);
        assert_eq!(tried(&world, addr(1)).last(), Some(&(Utp, utp_at)));
        assert_eq!(world.fetch.counters().transport(Utp).served, 1);
        assert!(!world.reports.last().unwrap().more_follows);
    }
}

#[test]
fn a_peer_that_takes_only_encrypted_utp_is_found_last() {
    let raw = dict(20_000);
    let mut world = world(&raw);
    let copy = raw.clone();
    world.place_door(addr(1), move |transport| match transport.is_utp() {
        true => encrypted(&copy, CryptoMethods::RC4),
        false => Box::new(Mute),
    });
    offer(&mut world, addr(1));
    let took = world.run();
    assert_eq!(world.raw(), raw);
    let order: Vec<_> = tried(&world, addr(1)).iter().map(|(transport, _)| *transport).collect();
    assert_eq!(order, [Tcp, EncryptedTcp, Utp, EncryptedUtp]);
    assert!(took < SECOND, "{took:?}: everybody answered at once");
}

#[test]
fn a_peer_that_waits_for_more_bytes_than_a_plain_handshake_has_is_spoken_to_encrypted() {
    // It takes the 68 bytes for the beginning of a key of 96.
    let raw = dict(20_000);
    let mut world = world(&raw);
    let copy = raw.clone();
    world.place_door(addr(1), move |transport| match transport {
        Tcp => Box::new(Patient),
        EncryptedTcp => encrypted(&copy, CryptoMethods::BOTH),
        _ => Box::new(Void),
    });
    offer(&mut world, addr(1));
    world.run();
    assert_eq!(world.raw(), raw);
    assert_eq!(tried(&world, addr(1))[1], (EncryptedTcp, LATENCY * 2 + 6 * SECOND));
}

#[test]
fn what_is_known_to_work_is_tried_first_and_the_rest_after_it() {
    let raw = dict(20_000);
    for (known, then) in [(EncryptedTcp, Tcp), (Utp, Tcp), (EncryptedUtp, Tcp)] {
        let mut world = world(&raw);
        let copy = raw.clone();
        // It takes plain TCP now.
        world.place_door(addr(1), move |transport| match transport {
            Tcp => honest(&copy),
            EncryptedTcp => Box::new(Mute),
            _ => Box::new(Void),
        });
        let candidate = Candidate::new(addr(1), PeerSource::Lookup);
        world.offer_by(candidate, known);
        world.run();
        assert_eq!(world.raw(), raw);
        let order: Vec<_> = tried(&world, addr(1)).iter().map(|(transport, _)| *transport).collect();
        assert_eq!(order, [known, then]);
    }
}

#[test]
fn of_two_attempts_at_one_endpoint_the_one_that_answers_first_stays() {
    let raw = dict(20_000);
    let mut world = world(&raw);
    let copy = raw.clone();
    world.place_door(addr(1), move |transport| match transport {
        // Takes the connection after the other attempt has begun, and says nothing.
        Tcp => Box::new(Late),
        _ => honest(&copy),
    });
    offer(&mut world, addr(1));
    let took = world.run();
    assert_eq!(world.raw(), raw);
    assert_eq!(took, SECOND + LATENCY * 6);
    let outcomes: Vec<_> = world.reports.iter().map(|report| (report.transport, report.outcome)).collect();
    assert_eq!(outcomes, [(Tcp, PeerOutcome::NotNeeded), (Utp, PeerOutcome::Served)]);
    assert_eq!(world.most_open, 2);
}

/// Is reached only after 2 s.
struct Late;

impl Peer for Late {
    fn connect(&mut self) -> world::Connect {
        world::Connect::After(2 * SECOND)
    }

    fn receive(&mut self, _now: Duration, _bytes: &[u8], _reply: &mut world::Reply) {}
}

#[test]
fn endpoints_that_were_not_tried_come_before_further_ways_to_silent_ones() {
    let raw = dict(20_000);
    let mut world = world(&raw);
    for number in 1..=8 {
        world.place_door(addr(number), |_| Box::new(Void));
        offer(&mut world, addr(number));
    }
    let copy = raw.clone();
    world.place_door(addr(9), move |_| honest(&copy));
    offer(&mut world, addr(9));
    world.run();
    assert_eq!(world.raw(), raw);
    assert!(world.most_open <= 4, "the bound of connections holds for attempts");
    let first_utp = world.ways.iter().position(|(_, _, transport)| transport.is_utp());
    let last_tcp = world.ways.iter().rposition(|(_, _, transport)| *transport == Tcp).unwrap();
    assert!(first_utp.is_none_or(|first| first > last_tcp), "{:?}", world.ways);
}

#[test]
fn with_nobody_there_every_way_is_tried_once_and_the_fetch_fails() {
    let raw = dict(20_000);
    let mut world = world(&raw);
    world.place_door(addr(1), |_| Box::new(Void));
    offer(&mut world, addr(1));
    let took = world.run();
    assert_eq!(tried(&world, addr(1)), [(Tcp, Duration::ZERO), (Utp, SECOND)]);
    assert_eq!(took, 6 * SECOND);
    let more: Vec<_> = world.reports.iter().map(|report| report.more_follows).collect();
    assert_eq!(more, [true, false]);
    assert_eq!(world.failed.unwrap().best, Some(PeerOutcome::ConnectFailed(ConnectFailure::Timeout)));
}

#[test]
fn a_peer_whose_encryption_is_garbage_is_left_alone() {
    let raw = dict(20_000);
    let mut world = World::with_config(v1_hash(&raw), with(&[EncryptedTcp]));
    world.add(addr(1), Scripted::new(vec![(1, send(vec![0; 96]))]));
    world.add(addr(2), Scripted::new(vec![(1, send(vec![0xff; 96]))]));
    // A key that could be one, then a pad without end.
    world.add(addr(3), Scripted::new(vec![(1, send([&[7; 96][..], &[9; 5000]].concat()))]));
    world.add(addr(4), Scripted::new(vec![(1, send(b"HTTP/1.1 400 Bad Request\r\n\r\n".repeat(40)))]));
    world.run();
    for number in 1..=4 {
        assert_eq!(world.outcome(addr(number)), PeerOutcome::Fault(PeerFault::BadEncryption), "{number}");
    }
    assert!(world.most_held < 10_000, "{}", world.most_held);
}

#[test]
fn every_connection_has_keys_of_its_own_and_a_seed_repeats_them() {
    let opening = |seed, at: u64, peer| {
        let mut config = with(&[EncryptedTcp]);
        config.transports.seed = [seed; 32];
        let hash = InfoHash::from_bytes([1; 20]);
        let (now, mut out) = (Duration::from_secs(at), Output::new());
        let mut fetch = Fetch::new(hash, Arc::new(config), now);
        for number in 1..=2 {
            fetch.add_candidate(now, Candidate::new(addr(number), PeerSource::Lookup), &mut out);
        }
        out.drain().for_each(drop);
        fetch.peer_opened(now, Slot::from_number(peer), &mut out);
        let Some(Action::Write { bytes, .. }) = out.drain().next() else { panic!("a key") };
        bytes[..96].to_vec()
    };
    let first = opening(1, 1, 0);
    assert_eq!(opening(1, 1, 0), first);
    for other in [opening(1, 1, 1), opening(1, 2, 0), opening(2, 1, 0)] {
        assert_ne!(other, first);
    }
}

#[test]
fn a_peer_that_encrypts_for_another_torrent_is_not_believed() {
    let raw = dict(20_000);
    let mut world = World::with_config(v1_hash(&raw), with(&[EncryptedTcp]));
    let inner = Honest::new(&raw, Habit::Prompt);
    world.add(addr(1), Encrypted::new(inner, InfoHash::from_bytes([3; 20]), CryptoMethods::BOTH));
    world.run();
    assert_eq!(world.outcome(addr(1)), PeerOutcome::Closed(bittorrent::Stage::Handshake));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_an_endpoint_takes_it_is_reached_if_that_is_allowed(
        takes in 0..16_u8,
        allowed in 1..16_u8,
        others in prop::collection::vec(0..4_u8, 4),
        strangers in 0..6_u8,
        portion in prop_oneof![Just(usize::MAX), 1..2000_usize],
    ) {
        let chosen = |bits: u8| -> Vec<_> {
            Transport::ALL.into_iter().filter(|t| bits >> *t as u8 & 1 == 1).collect()
        };
        let (takes, allowed) = (chosen(takes), chosen(allowed));
        let raw = dict(40_000);
        let mut world = World::with_config(v1_hash(&raw), with(&allowed));
        world.portion = portion;
        for number in 1..=strangers {
            world.place_door(addr(100 + number), |_| Box::new(Void));
            offer(&mut world, addr(100 + number));
        }
        let takes_here = takes.clone();
        world.place_door(addr(1), move |transport| -> Box<dyn Peer> {
            if takes_here.contains(&transport) {
                return match transport.is_encrypted() {
                    true => encrypted(&raw, CryptoMethods::BOTH),
                    false => honest(&raw),
                };
            }
            // A carrier that leads somewhere takes connections of both kinds.
            let sibling = takes_here.iter().any(|other| other.is_utp() == transport.is_utp());
            match others[transport as usize] {
                0 if !sibling => Box::new(Void),
                1 if !sibling => Box::new(Unreachable(Disconnect::Refused)),
                2 => Box::new(Patient),
                _ => Box::new(Mute),
            }
        });
        offer(&mut world, addr(1));
        world.run();
        let reachable = takes.iter().any(|transport| allowed.contains(transport));
        prop_assert_eq!(world.done.is_some(), reachable, "{:?} {:?}", world.ways, world.reports);
        let mut ways: Vec<_> = world.ways.iter().map(|(_, to, by)| (*to, *by)).collect();
        let count = ways.len();
        ways.sort_unstable();
        ways.dedup();
        prop_assert_eq!(ways.len(), count, "each way once");
        for (_, by) in ways {
            prop_assert!(allowed.contains(&by));
        }
    }
}
