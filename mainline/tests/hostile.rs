//! Nodes and packets that mean harm: nothing may crash, grow, or be believed.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod world;

use std::net::SocketAddr;
use std::time::Duration;

use krpc::{CompactNode, InfoHash, Kind, Message, Method, NodeId, Tid, Want, encode};
use mainline::{Action, DropReason, Output, PortIndex};
use proptest::prelude::*;
use rand::RngExt;
use world::{Lie, Nature, SECOND, World};

#[test]
fn among_one_in_five_liars_all_honest_nodes_and_hashes_are_found() {
    let mut world = World::new(41, 0.05);
    world.populate(600, |rng| match rng.random_range(0..20) {
        0 => Nature::Lying(Lie::Garbage),
        1 => Nature::Lying(Lie::Neighbours),
        2 => Nature::Lying(Lie::Ids),
        3 => Nature::Lying(Lie::Oversized),
        4..8 => Nature::Dead,
        _ => Nature::Sampling { interval: 300 },
    });
    world.announce_torrents(200);
    let bootstrap: Vec<_> = world.live().take(3).collect();
    world.add_engine_with(2, 8, bootstrap, |config| config.limits.nodes_max = 5_000);
    world.run_for(Duration::from_secs(1_200));
    let engine = &world.engines[0];
    let live: Vec<SocketAddr> = world.live().collect();
    let visited = live.iter().filter(|addr| engine.found.replied.contains(addr)).count();
    assert!(visited * 100 >= live.len() * 99, "{visited} of {}", live.len());
    let found = world.truth.keys().filter(|hash| engine.found.sampled.contains(*hash)).count();
    assert!(found * 100 >= world.truth.len() * 98, "{found} of {}", world.truth.len());
    let gauges = engine.dht.gauges();
    assert!(gauges.nodes <= 5_000 && gauges.contacts <= 600, "{gauges:?}");
    assert!(engine.dht.counters().ids_changed > 0);
    engine.watch.assert_polite();
}

#[test]
fn a_remote_that_changes_its_id_is_given_up_and_then_banned() {
    let mut world = World::new(42, 0.0);
    world.populate(40, |_| Nature::Sampling { interval: 60 });
    world.nodes[5].nature = Nature::Lying(Lie::Ids);
    let liar = world.nodes[5].addr;
    let bootstrap: Vec<_> = world.live().take(1).collect();
    world.add_engine(1, 2, bootstrap);
    world.run_for(Duration::from_secs(1_800));
    let asked = world.nodes[5].asked.total();
    assert!((2..=12).contains(&asked), "{asked}");
    let counters = world.engines[0].dht.counters();
    assert!(counters.ids_changed >= 2, "{}", counters.ids_changed);
    let bytes = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
    world.inject(0, PortIndex(0), liar, bytes);
    assert_eq!(world.engines[0].dht.counters().dropped_for(DropReason::Banned), 1);
}

/// An engine and the first query it sends.
fn first_query(world: &mut World) -> (SocketAddr, Vec<u8>) {
    let mut out = Output::new();
    let bootstrap: SocketAddr = "64.77.0.1:6881".parse().unwrap();
    world.add_engine(2, 2, vec![bootstrap]);
    let now = world.now;
    world.engines[0].dht.tick(now, &mut out);
    let Some(Action::Send { port, to, payload }) = out.actions().next() else { panic!("no query") };
    assert_eq!((port, to), (port, bootstrap));
    (to, payload.to_vec())
}

#[test]
fn a_reply_from_another_address_or_port_is_not_a_reply() {
    let mut world = World::new(43, 0.0);
    let (to, asked) = first_query(&mut world);
    let tid = Message::parse(&asked).unwrap().tid;
    let planted = CompactNode { id: NodeId::from_bytes([1; 20]), addr: "64.66.66.66:666".parse().unwrap() };
    let mut reply = Vec::new();
    encode::Reply { nodes: Some(&[planted]), ..encode::Reply::new(tid, NodeId::from_bytes([2; 20])) }
        .encode(&mut reply);
    let same_ip = SocketAddr::new(to.ip(), 6_882);
    let elsewhere: SocketAddr = "64.77.0.2:6881".parse().unwrap();
    for from in [same_ip, elsewhere] {
        for port in [PortIndex(0), PortIndex(1)] {
            world.inject(0, port, from, &reply);
        }
    }
    assert_eq!(world.engines[0].dht.counters().dropped_for(DropReason::Unsolicited), 4);
    assert_eq!(world.engines[0].dht.node_count(), 0);
    let other_tid = Tid::from_raw(b"4:zzzz").unwrap();
    let mut guess = Vec::new();
    encode::Reply::new(other_tid, NodeId::from_bytes([2; 20])).encode(&mut guess);
    world.inject(0, PortIndex(0), to, &guess);
    assert_eq!(world.engines[0].dht.node_count(), 0);
    // The true one, at either port that asked.
    world.inject(0, PortIndex(0), to, &reply);
    world.inject(0, PortIndex(1), to, &reply);
    assert_eq!(world.engines[0].dht.node_count(), 2);
}

#[test]
fn bogus_contacts_are_not_taken_up() {
    let mut world = World::new(44, 0.0);
    let (to, asked) = first_query(&mut world);
    let tid = Message::parse(&asked).unwrap().tid;
    let own = world.engines[0].dht.virtual_nodes().next().unwrap().0;
    let contact =
        |n: u8, addr: &str| CompactNode { id: NodeId::from_bytes([n; 20]), addr: addr.parse().unwrap() };
    let nodes = [
        contact(1, "127.0.0.1:6881"),
        contact(2, "10.1.2.3:6881"),
        contact(3, "64.1.2.3:0"),
        contact(4, "0.0.0.0:6881"),
        contact(5, "224.0.0.1:6881"),
        CompactNode { id: own, addr: "64.1.2.4:6881".parse().unwrap() },
        contact(6, "64.1.2.5:6881"),
    ];
    let mut reply = Vec::new();
    encode::Reply { nodes: Some(&nodes), ..encode::Reply::new(tid, NodeId::from_bytes([9; 20])) }
        .encode(&mut reply);
    world.inject(0, PortIndex(0), to, &reply);
    world.inject(0, PortIndex(1), to, &reply);
    let dht = &world.engines[0].dht;
    assert_eq!((dht.node_count(), dht.counters().contacts_bogus), (2, 6));
}

#[test]
fn what_is_no_message_is_dropped_by_its_reason() {
    let mut world = World::new(45, 0.0);
    world.add_engine(1, 1, Vec::new());
    let own = world.engines[0].dht.virtual_nodes().next().unwrap().0;
    let mut ours = Vec::new();
    let want = Want::default();
    encode::Query { tid: b"abcd", id: own, version: None, read_only: false, want, method: Method::Ping }
        .encode(&mut ours);
    let valid: SocketAddr = "64.1.1.1:1".parse().unwrap();
    let long = [&b"d1:x5000:"[..], &[b'x'; 5_000], b"e"].concat();
    let cases: [(&str, &[u8], DropReason); 8] = [
        ("64.1.1.1:1", b"\x41\x00utp and more of it", DropReason::NotKrpc),
        ("64.1.1.1:1", b"", DropReason::NotKrpc),
        ("64.1.1.1:1", b"d1:y1:qe", DropReason::Short),
        ("64.1.1.1:1", &long, DropReason::Long),
        ("64.1.1.1:0", b"d1:t2:aa1:y1:q1:q4:pinge", DropReason::PortZero),
        ("10.0.0.1:1", b"d1:t2:aa1:y1:q1:q4:pinge", DropReason::Bogon),
        ("64.1.1.1:1", b"d1:t2:aa1:q4:ping1:x1:ye", DropReason::Malformed),
        ("64.1.1.1:1", &ours, DropReason::OurId),
    ];
    for (from, bytes, reason) in cases {
        let before = world.engines[0].dht.counters().dropped_for(reason);
        world.inject(0, PortIndex(0), from.parse().unwrap(), bytes);
        let after = world.engines[0].dht.counters().dropped_for(reason);
        assert_eq!(after, before + 1, "{reason:?}");
    }
    world.inject(0, PortIndex(9), valid, b"d1:t2:aa1:y1:q1:q4:pinge");
    assert_eq!(world.engines[0].dht.counters().dropped_for(DropReason::NoSuchPort), 1);
    assert_eq!(world.engines[0].watch.answers, 0);
}

#[test]
fn a_flood_of_announces_queries_and_contacts_stays_within_bounds() {
    let mut world = World::new(46, 0.0);
    world.add_engine_with(1, 2, Vec::new(), |config| {
        config.limits.nodes_max = 1_000;
        config.limits.stored_hashes_max = 100;
        config.limits.answers_waiting_max = 50;
    });
    for n in 0..20_000_u32 {
        let [a, b, c, d] = n.to_be_bytes();
        let from = SocketAddr::from(([70 + a, b, c, d / 4], 6_881));
        let id = NodeId::random(&mut world.rng);
        let mut bytes = Vec::new();
        let info_hash = InfoHash::random(&mut world.rng);
        let method = Method::GetPeers { info_hash, noseed: false, scrape: false };
        let want = Want::default();
        encode::Query { tid: b"abcd", id, version: None, read_only: false, want, method }.encode(&mut bytes);
        world.inject(0, PortIndex(0), from, &bytes);
        if n % 100 == 0 {
            world.run_for(Duration::from_millis(10));
        }
    }
    let engine = &world.engines[0];
    let gauges = engine.dht.gauges();
    assert!(gauges.nodes <= 1_000 && gauges.answers_waiting <= 50, "{gauges:?}");
    assert!(engine.dht.counters().contacts_refused > 10_000);
    engine.watch.assert_polite();
    world.run_for(60 * SECOND);
    assert_eq!(world.engines[0].dht.gauges().answers_waiting, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Bytes of all kinds, from noise to answers to our own queries with parts of them changed.
    #[test]
    fn no_bytes_make_it_panic(
        seed in 0_u64..1_000,
        steps in prop::collection::vec((any::<u16>(), any::<u8>(), 0_u8..6, prop::collection::vec(any::<u8>(), 0..80)), 1..60),
    ) {
        let mut world = World::new(seed, 0.0);
        world.populate(12, |_| Nature::Sampling { interval: 1 });
        let bootstrap: Vec<_> = world.live().take(2).collect();
        world.add_engine(2, 3, bootstrap);
        let mut queries: Vec<(PortIndex, SocketAddr, Vec<u8>)> = Vec::new();
        let mut out = Output::new();
        for (at, byte, kind, noise) in steps {
            let now = world.now;
            world.engines[0].dht.tick(now, &mut out);
            for Action::Send { port, to, payload } in out.actions() {
                queries.push((port, to, payload.to_vec()));
            }
            out.clear();
            let Some((port, to, asked)) = queries.get(usize::from(at) % queries.len().max(1)) else { continue };
            let mut bytes = match Message::parse(asked).map(|message| (message.tid, message.kind)) {
                Ok((tid, Kind::Query(_))) => {
                    let mut bytes = Vec::new();
                    let nodes: Vec<CompactNode> = noise
                        .chunks_exact(7)
                        .map(|chunk| CompactNode {
                            id: NodeId::from_bytes([chunk[6]; 20]),
                            addr: SocketAddr::from(([chunk[0], chunk[1], chunk[2], chunk[3]], u16::from(chunk[4]))),
                        })
                        .collect();
                    encode::Reply {
                        nodes: Some(&nodes),
                        samples: (byte % 2 == 0).then_some(&[InfoHash::ZERO; 3]),
                        interval: Some(u32::from(byte) << 24),
                        num: Some(u64::MAX),
                        ..encode::Reply::new(tid, NodeId::from_bytes([byte; 20]))
                    }
                    .encode(&mut bytes);
                    bytes
                }
                _ => asked.clone(),
            };
            match kind {
                0 => bytes.clone_from(&noise),
                1 => bytes.truncate(usize::from(at) % (bytes.len() + 1)),
                2 => {
                    let length = bytes.len();
                    bytes[usize::from(at) % length] = byte;
                }
                3 => bytes.extend_from_slice(&noise),
                _ => {}
            }
            world.engines[0].dht.receive(now, *port, *to, &bytes, &mut out);
            world.now += Duration::from_millis(u64::from(byte) * 10);
        }
        prop_assert!(world.engines[0].dht.node_count() < 1_000);
    }
}
