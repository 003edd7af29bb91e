//! Peers that tell of other peers (BEP 11), and those that have nothing else to give.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod world;

use std::{net::SocketAddr, time::Duration};

use bittorrent::{
    Candidate, Disconnect, FailReason, PeerFault, PeerOutcome, PeerSource, Transport, TransportSet,
};
use world::{
    World, addr, config,
    honest::{Habit, Honest, extended, handshake},
    scripted::{EXTENSION_HANDSHAKE, HANDSHAKE, Scripted, Step, Unreachable, send},
    v1_hash,
};

const NO_METADATA: &[u8] = b"d1:md11:ut_metadatai3e6:ut_pexi9eee";
const NO_EXCHANGE: &[u8] = b"d1:md11:ut_metadatai3eee";

fn pex(peers: &[(SocketAddr, u8)]) -> Vec<u8> {
    let mut payload = format!("d5:added{}:", 6 * peers.len()).into_bytes();
    for (addr, _) in peers {
        let SocketAddr::V4(addr) = addr else { panic!("a test of IPv4") };
        payload.extend(addr.ip().octets());
        payload.extend(addr.port().to_be_bytes());
    }
    payload.extend(format!("7:added.f{}:", peers.len()).into_bytes());
    payload.extend(peers.iter().map(|(_, flags)| flags));
    payload.push(b'e');
    extended(1, &payload)
}

/// A peer without the info dict that says who it is, and after a while something else.
fn empty_handed(hash: &krpc::InfoHash, says: &[u8], then: Option<(Duration, Vec<u8>)>) -> Scripted {
    let hello = [handshake(hash.as_bytes(), b"-XX0000-eeeeeeeeeeee"), extended(0, says)].concat();
    let mut steps = vec![(HANDSHAKE, send(hello))];
    steps.extend(then.map(|(after, bytes)| (EXTENSION_HANDSHAKE, Step::Send(after, bytes))));
    Scripted::new(steps)
}

#[test]
fn a_peer_without_the_info_dict_leads_to_one_that_has_it() {
    let raw = world::dict(40_000);
    let hash = v1_hash(&raw);
    let mut world = World::new(hash);
    world.place(addr(2), Honest::new(&raw, Habit::Prompt));
    let tells = (Duration::from_secs(2), pex(&[(addr(2), 0x12)]));
    world.add(addr(1), empty_handed(&hash, NO_METADATA, Some(tells)));
    let took = world.run();
    assert_eq!(world.raw(), raw);
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(world.exchanged, [(addr(2), None)]);
    let report = world.reports.iter().find(|report| report.addr == addr(2)).unwrap();
    assert_eq!((report.source, report.outcome), (PeerSource::Exchange, PeerOutcome::Served));
    let counters = world.fetch.counters();
    assert_eq!(
        (counters.held, counters.exchanges, counters.exchanged, counters.exchanges_refused),
        (1, 1, 1, 0)
    );
}

#[test]
fn nobody_is_kept_for_longer_than_the_hold_nor_without_a_promise_to_tell() {
    for (says, fault, kept) in [
        (NO_METADATA, PeerFault::NoMetadataYet, true),
        (b"d1:md6:ut_pexi9eee", PeerFault::NoUtMetadata, true),
        (b"d1:md11:ut_metadatai3e6:ut_pexi9ee13:metadata_sizei0ee", PeerFault::NoMetadataYet, true),
        (NO_EXCHANGE, PeerFault::NoMetadataYet, false),
        (b"d1:md11:ut_metadatai3e6:ut_pexi9ee13:metadata_sizei-1ee", PeerFault::SizeInvalid, false),
    ] {
        let mut world = World::new(v1_hash(b"x"));
        let hash = v1_hash(b"x");
        world.add(addr(1), empty_handed(&hash, says, None));
        let took = world.run();
        assert_eq!(world.failed.unwrap().reason, FailReason::Exhausted);
        assert_eq!(world.outcome(addr(1)), PeerOutcome::Fault(fault));
        assert_eq!(took >= config().hold_for, kept, "{took:?}: {}", says.escape_ascii());
        assert!(took < config().hold_for + Duration::from_secs(1), "{took:?}");
    }
}

#[test]
fn those_who_are_kept_make_room_for_those_who_may_have_it() {
    let raw = world::dict(20_000);
    let hash = v1_hash(&raw);
    let mut world = World::new(hash);
    for n in 1..=4 {
        world.add(addr(n), empty_handed(&hash, NO_METADATA, None));
    }
    world.run_until(world.now + Duration::from_secs(1));
    assert_eq!(world.open.len(), 4);
    world.add(addr(5), Honest::new(&raw, Habit::Prompt));
    let took = world.run();
    assert_eq!(world.raw(), raw);
    assert!(
        took < Duration::from_millis(200),
        "it was tried at once, not when the others had gone: {took:?}"
    );
    assert_eq!(world.most_open, 4);
    assert_eq!(world.fetch.counters().outcome(PeerOutcome::Fault(PeerFault::NoMetadataYet)), 1);
    assert_eq!(world.fetch.counters().outcome(PeerOutcome::NotNeeded), 3);
}

#[test]
fn nobody_is_kept_while_many_wait_to_be_tried() {
    let hash = v1_hash(b"x");
    let mut world = World::new(hash);
    world.place(addr(1), empty_handed(&hash, NO_METADATA, None));
    for n in 2..=40 {
        world.place(addr(n), Unreachable(Disconnect::Refused));
    }
    for n in 1..=40 {
        // The first four are in hand while the others wait.
        world.offer(Candidate::new(addr(n), PeerSource::Lookup));
    }
    world.run();
    assert_eq!(world.fetch.counters().held, 0);
}

#[test]
fn a_peer_that_gets_the_info_dict_while_it_is_kept_is_asked_for_it() {
    let raw = world::dict(100);
    let hash = v1_hash(&raw);
    let later =
        [extended(0, b"d1:md11:ut_metadatai3ee13:metadata_sizei100ee"), world::honest::data(2, 0, 100, &raw)];
    let mut world = World::new(hash);
    // What it sends unasked would end the connection if the size had not been taken.
    let peer = Scripted::new(vec![
        (
            HANDSHAKE,
            send([handshake(hash.as_bytes(), b"-XX0000-eeeeeeeeeeee"), extended(0, NO_METADATA)].concat()),
        ),
        (EXTENSION_HANDSHAKE, Step::Send(Duration::from_secs(1), later[0].clone())),
        (EXTENSION_HANDSHAKE + 1, send(later[1].clone())),
    ]);
    world.add(addr(1), peer);
    world.run();
    assert_eq!(world.raw(), raw);
    assert_eq!(world.outcome(addr(1)), PeerOutcome::Served);
}

#[test]
fn the_flags_decide_about_the_order_and_the_transport() {
    let hash = v1_hash(b"x");
    let mut settings = config();
    settings.transports.allowed = TransportSet::of(&Transport::ALL);
    let mut world = World::with_config(hash, settings);
    let named = [(addr(2), 0), (addr(3), 0x02), (addr(4), 0x10), (addr(5), 0x17)];
    for (addr, _) in named {
        world.place(addr, Unreachable(Disconnect::Refused));
    }
    world.add(addr(1), empty_handed(&hash, NO_METADATA, Some((Duration::ZERO, pex(&named)))));
    world.run();
    assert_eq!(
        world.exchanged,
        [(addr(5), Some(Transport::EncryptedUtp)), (addr(4), None), (addr(3), None), (addr(2), None)]
    );
    assert_eq!(world.ways[1].1, addr(5));
    assert_eq!(world.ways[1].2, Transport::EncryptedUtp);
}

#[test]
fn what_one_peer_and_one_fetch_may_tell_is_bounded() {
    let hash = v1_hash(b"x");
    let mut world = World::new(hash);
    let crowd =
        |from: u8| -> Vec<(SocketAddr, u8)> { (0..90).map(|n| (([127, 1, from, n], 1).into(), 0)).collect() };
    let flood = (1..=9).flat_map(|from| pex(&crowd(from))).chain(extended(1, b"no message")).collect();
    world.add(addr(1), empty_handed(&hash, NO_METADATA, Some((Duration::ZERO, flood))));
    world.run_until(world.now + Duration::from_secs(2));
    let counters = world.fetch.counters();
    assert_eq!((counters.exchanges, counters.exchanged), (10, 256));
    // One of four was cut, and six came beyond the four.
    assert_eq!(counters.exchanges_refused, 7);
    assert_eq!(u64::from(counters.candidates), config().endpoints_max as u64);
    world.abort();
}

#[test]
fn a_message_that_cannot_be_read_costs_nothing_else() {
    let raw = world::dict(500);
    let hash = v1_hash(&raw);
    let mut world = World::new(hash);
    let mut peer = Honest::new(&raw, Habit::Prompt);
    peer.chatter = [extended(1, b"garbage"), extended(1, b"d5:added3:abce")].concat();
    world.add(addr(1), peer);
    world.run();
    assert_eq!(world.raw(), raw);
    assert_eq!((world.fetch.counters().exchanges, world.fetch.counters().exchanges_refused), (2, 1));
}
