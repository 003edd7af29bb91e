//! Engines among themselves, and what they give to others.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod world;

use std::net::SocketAddr;
use std::time::Duration;

use krpc::{InfoHash, Kind, Message, Method, NodeId, Want, encode};
use mainline::{Action, MessageType, Output, PortIndex};
use world::{Nature, Node, SECOND, World};

const REMOTE: &str = "64.200.0.1:6881";

fn query(id: NodeId, method: Method<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let want = Want::default();
    encode::Query { tid: b"abcd", id, version: None, read_only: false, want, method }.encode(&mut bytes);
    bytes
}

/// An engine alone, and a remote that can be asked as.
fn alone() -> (World, SocketAddr, NodeId) {
    let mut world = World::new(31, 0.0);
    world.add_engine(1, 4, Vec::new());
    (world, REMOTE.parse().unwrap(), NodeId::from_bytes([3; 20]))
}

/// What the engine answers at once.
fn ask(world: &mut World, from: SocketAddr, bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Output::new();
    let now = world.now;
    world.engines[0].dht.receive(now, PortIndex(0), from, bytes, &mut out);
    let to_remote = |action: Action<'_>| match action {
        Action::Send { to, payload, .. } if to == from && Message::parse(payload).is_ok_and(is_answer) => {
            Some(payload.to_vec())
        }
        Action::Send { .. } => None,
    };
    out.actions().filter_map(to_remote).collect()
}

fn is_answer(message: Message<'_>) -> bool {
    !matches!(message.kind, Kind::Query(_))
}

#[test]
fn engines_find_each_other_from_one_address_and_know_the_closest() {
    let mut world = World::new(30, 0.05);
    let first: SocketAddr = "90.0.0.7:6881".parse().unwrap();
    for index in 0..80 {
        let bootstrap = if index == 0 { "90.0.1.7:6881".parse().unwrap() } else { first };
        world.add_engine(1, 1, vec![bootstrap]);
    }
    world.run_for(Duration::from_secs(240));
    for engine in &world.engines {
        assert!(engine.dht.gauges().nodes_live >= 78, "{:?}", engine.dht.gauges());
        engine.watch.assert_polite();
    }
    // Whom an engine names is whom there is.
    let mut ids: Vec<NodeId> = world
        .engines
        .iter()
        .skip(1)
        .flat_map(|engine| engine.dht.virtual_nodes())
        .map(|(id, _)| id)
        .collect();
    // In its own neighbourhood a node knows everybody.
    let own = world.engines[0].dht.virtual_nodes().next().unwrap().0;
    let target = own.with_random_suffix(40, &mut world.rng);
    ids.sort_unstable_by_key(|id| id.distance(&target));
    let remote = REMOTE.parse().unwrap();
    let answers = ask(&mut world, remote, &query(NodeId::from_bytes([9; 20]), Method::FindNode { target }));
    let Kind::Reply(reply) = Message::parse(&answers[0]).unwrap().kind else { panic!("no reply") };
    let named: Vec<NodeId> = reply.nodes.iter().map(|node| node.id).collect();
    assert_eq!(named.len(), 8);
    let right = named.iter().filter(|id| ids[..8].contains(id)).count();
    assert!(right >= 7, "{right} of the 8 closest");
}

#[test]
fn an_announced_peer_is_told_of_stored_sampled_and_given_to_who_asks() {
    let (mut world, remote, id) = alone();
    let info_hash = InfoHash::from_bytes([7; 20]);
    let get_peers = Method::GetPeers { info_hash, noseed: false, scrape: false };
    let answers = ask(&mut world, remote, &query(id, get_peers));
    let Kind::Reply(reply) = Message::parse(&answers[0]).unwrap().kind else { panic!("no reply") };
    assert_eq!(reply.values.len(), 0);
    let announce = |token| Method::AnnouncePeer {
        info_hash,
        port: 7_777,
        implied_port: false,
        seed: true,
        token,
        name: Some(b"a name"),
    };
    world.now += SECOND;
    let forged = query(id, announce(b"12345678"));
    let good = query(id, announce(reply.token.unwrap()));
    world.inject(0, PortIndex(0), remote, &forged);
    assert!(world.engines[0].found.announced.is_empty());
    world.inject(0, PortIndex(0), remote, &good);
    let peer: SocketAddr = "64.200.0.1:7777".parse().unwrap();
    assert_eq!(world.engines[0].found.announced, [(info_hash, peer, Some(b"a name".to_vec()))]);
    assert_eq!(world.engines[0].dht.counters().announces_refused, 1);
    assert_eq!(world.engines[0].dht.gauges().stored_hashes, 1);

    world.now += 2 * SECOND;
    let other = "64.200.1.1:6881".parse().unwrap();
    let answers = ask(&mut world, other, &query(NodeId::from_bytes([4; 20]), get_peers));
    let Kind::Reply(reply) = Message::parse(&answers[0]).unwrap().kind else { panic!("no reply") };
    assert_eq!(reply.values.iter().collect::<Vec<_>>(), [peer]);
    let sample = Method::SampleInfohashes { target: id };
    let answers = ask(&mut world, other, &query(NodeId::from_bytes([4; 20]), sample));
    let Kind::Reply(reply) = Message::parse(&answers[0]).unwrap().kind else { panic!("no reply") };
    assert_eq!(reply.samples.unwrap().iter().collect::<Vec<_>>(), [info_hash]);
    assert_eq!(reply.num, Some(1));
}

#[test]
fn hashes_that_others_ask_for_are_overheard() {
    let (mut world, remote, id) = alone();
    let info_hash = InfoHash::from_bytes([8; 20]);
    let bytes = query(id, Method::GetPeers { info_hash, noseed: false, scrape: false });
    world.inject(0, PortIndex(0), remote, &bytes);
    assert!(world.engines[0].found.asked_for.contains(&info_hash));
    assert_eq!(world.engines[0].dht.counters().hashes_asked_for, 1);
    assert_eq!(world.engines[0].dht.counters().received.of(MessageType::GetPeers), 1);
}

#[test]
fn whoever_asks_us_becomes_a_node_that_is_visited() {
    let (mut world, _, id) = alone();
    let remote: SocketAddr = "64.200.3.1:6881".parse().unwrap();
    world.add_node(Node::new(id, remote, Nature::Sampling { interval: 60 }), Vec::new());
    world.inject(0, PortIndex(0), remote, &query(id, Method::Ping));
    world.run_for(10 * SECOND);
    assert!(world.engines[0].found.replied.contains(&remote));
}

#[test]
fn one_remote_is_answered_at_most_four_times_a_second_and_a_flood_is_dropped() {
    let (mut world, remote, id) = alone();
    let bytes = query(id, Method::Ping);
    for _ in 0..1_000 {
        world.inject(0, PortIndex(0), remote, &bytes);
        world.now += Duration::from_millis(1);
    }
    world.run_for(10 * SECOND);
    let engine = &world.engines[0];
    engine.watch.assert_polite();
    let answers = engine.watch.answers;
    assert!((7..=12).contains(&answers), "{answers}");
    let counters = engine.dht.counters();
    assert!(counters.answers_delayed >= 4);
    assert!(counters.dropped_for(mainline::DropReason::OverBudget) > 900);
    assert_eq!(engine.dht.gauges().answers_waiting, 0);
}

#[test]
fn a_read_only_engine_listens_and_answers_nobody() {
    let mut world = World::new(32, 0.0);
    world.add_engine_with(1, 1, Vec::new(), |config| config.read_only = true);
    let info_hash = InfoHash::from_bytes([8; 20]);
    let bytes =
        query(NodeId::from_bytes([3; 20]), Method::GetPeers { info_hash, noseed: false, scrape: false });
    let answers = ask(&mut world, REMOTE.parse().unwrap(), &bytes);
    assert!(answers.is_empty());
    assert_eq!(world.engines[0].dht.counters().dropped_for(mainline::DropReason::ReadOnly), 1);
}

#[test]
fn the_external_address_is_what_independent_nodes_say() {
    let mut world = World::new(33, 0.0);
    world.populate(30, |_| Nature::Sampling { interval: 60 });
    let bootstrap: Vec<_> = world.live().take(1).collect();
    world.add_engine(1, 1, bootstrap);
    world.run_for(10 * SECOND);
    let own = world.engines[0].addrs[0].ip();
    assert_eq!(world.engines[0].found.external, [own]);
}
