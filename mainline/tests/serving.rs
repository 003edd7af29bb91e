//! Engines among themselves, and what they give to others.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod world;

use std::net::SocketAddr;
use std::time::Duration;

use krpc::bloom::BloomFilter;
use krpc::encode::DATAGRAM_MAX;
use krpc::{ErrorCode, InfoHash, Kind, Message, Method, NodeId, ParseError, Reply, Want, encode};
use mainline::{Action, DropReason, MessageType, Output, PacketUse, PortIndex, ReadOnly};
use world::{Nature, Node, SECOND, World};

const REMOTE: &str = "64.200.0.1:6881";

fn query(id: NodeId, method: Method<'_>) -> Vec<u8> {
    query_as(b"abcd", id, false, method)
}

fn query_as(tid: &[u8], id: NodeId, read_only: bool, method: Method<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let want = Want::default();
    encode::Query { tid, id, version: None, read_only, want, method }.encode(&mut bytes);
    bytes
}

/// A remote of its own /24 and /16.
fn remote(n: u16) -> SocketAddr {
    let [a, b] = n.to_be_bytes();
    SocketAddr::from(([65 + a, b, 1, 1], 6_881))
}

/// The one answer, which says who asked (BEP 42) and fits a datagram.
fn answer<'a>(from: SocketAddr, answers: &'a [Vec<u8>]) -> Message<'a> {
    assert_eq!(answers.len(), 1, "one answer");
    assert!(answers[0].len() <= DATAGRAM_MAX);
    let message = Message::parse(&answers[0]).unwrap();
    assert_eq!(message.ip, Some(from));
    assert_eq!(message.tid.bytes(), Some(&b"abcd"[..]));
    message
}

fn reply<'a>(from: SocketAddr, answers: &'a [Vec<u8>]) -> Reply<'a> {
    match answer(from, answers).kind {
        Kind::Reply(reply) => reply,
        other => panic!("{other:?}"),
    }
}

fn error(from: SocketAddr, answers: &[Vec<u8>]) -> ErrorCode {
    match answer(from, answers).kind {
        Kind::Error(error) => error.code.unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Has a peer announce itself as clients do: with the token of a question before.
fn announce(world: &mut World, from: SocketAddr, info_hash: InfoHash, seed: bool) {
    let id = NodeId::random(&mut world.rng);
    let get_peers = query(id, Method::GetPeers { info_hash, noseed: false, scrape: false });
    let answers = ask(world, from, &get_peers);
    let token = reply(from, &answers).token.unwrap();
    let method =
        Method::AnnouncePeer { info_hash, port: 7_000, implied_port: false, seed, token, name: None };
    let announce = query(id, method);
    let answers = ask(world, from, &announce);
    assert!(matches!(answer(from, &answers).kind, Kind::Reply(_)));
    world.now += SECOND;
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
    world.add_node(Node::new(id, remote, Nature::Sampling { interval: 60 }), &[]);
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
    world.add_engine_with(1, 1, Vec::new(), |config| config.read_only = ReadOnly::On);
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

#[test]
fn a_scrape_is_answered_with_filters_of_the_announced_peers_beside_the_peers() {
    let (mut world, asker, id) = alone();
    let info_hash = InfoHash::from_bytes([7; 20]);
    let scrape = query(id, Method::GetPeers { info_hash, noseed: true, scrape: true });
    // Of what is not stored there is nothing to tell, not even that nobody takes part.
    assert_eq!(reply(asker, &ask(&mut world, asker, &scrape)).bloom_peers, None);
    for n in 0..30 {
        announce(&mut world, remote(n), info_hash, n < 20);
    }
    let answers = ask(&mut world, asker, &scrape);
    let reply = reply(asker, &answers);
    let filter = |bytes: Option<&[u8; 256]>| BloomFilter::from_bytes(*bytes.unwrap());
    let (seeds, downloaders) = (filter(reply.bloom_seeds), filter(reply.bloom_peers));
    assert_eq!((seeds.estimate().round(), downloaders.estimate().round()), (20.0, 10.0));
    assert!((0..20).all(|n| seeds.may_contain(remote(n).ip())));
    assert!((20..30).all(|n| downloaders.may_contain(remote(n).ip())));
    // noseed: who has everything already does not want to hear of others that have.
    let told: Vec<SocketAddr> = reply.values.iter().collect();
    assert_eq!(told.len(), 10);
    assert!(told.iter().all(|peer| (20..30).any(|n| remote(n).ip() == peer.ip() && peer.port() == 7_000)));
}

#[test]
fn a_read_only_asker_is_answered_and_does_not_become_a_contact() {
    let (mut world, from, id) = alone();
    let bytes = query_as(b"abcd", id, true, Method::FindNode { target: id });
    assert!(reply(from, &ask(&mut world, from, &bytes)).nodes.is_empty());
    assert_eq!(world.engines[0].dht.node_count(), 0);
    let from = remote(1);
    let bytes = query(id, Method::FindNode { target: id });
    ask(&mut world, from, &bytes);
    assert_eq!(world.engines[0].dht.node_count(), 1);
}

#[test]
fn items_are_refused_openly_and_who_gets_them_is_told_where_else_to_ask() {
    let mut world = World::new(34, 0.0);
    world.populate(60, |_| Nature::Sampling { interval: 60 });
    let bootstrap: Vec<_> = world.live().take(1).collect();
    world.add_engine(1, 1, bootstrap);
    world.run_for(30 * SECOND);
    let (from, id) = (remote(9), NodeId::from_bytes([3; 20]));
    let target = NodeId::from_bytes([5; 20]);
    let answers = ask(&mut world, from, &query(id, Method::Get { target, seq: None }));
    let got = reply(from, &answers);
    assert_eq!((got.nodes.len(), got.value, got.token.is_some()), (8, None, true));
    // Clients put their items to several nodes: one that says no costs them nothing, one that lies loses the item.
    let token = got.token.unwrap().to_vec();
    let put = |value| Method::Put {
        value,
        token: &token,
        key: None,
        signature: None,
        seq: None,
        cas: None,
        salt: None,
    };
    let long = [b"900:".as_slice(), &[b'x'; 900]].concat();
    for value in [&b"3:abc"[..], &long] {
        world.run_for(3 * SECOND);
        assert_eq!(error(from, &ask(&mut world, from, &query(id, put(value)))), ErrorCode::SERVER);
    }
    // What comes after us: a target is answered as find_node, nothing to go by with an error.
    let later = remote(10);
    let vote = Method::Unknown { name: b"vote", target: Some(target) };
    let answers = ask(&mut world, later, &query(id, vote));
    assert_eq!(reply(later, &answers).nodes.len(), 8);
    world.run_for(3 * SECOND);
    let vote = Method::Unknown { name: b"vote", target: None };
    let answers = ask(&mut world, later, &query(id, vote));
    assert_eq!(error(later, &answers), ErrorCode::UNKNOWN_METHOD);
    let by_hash =
        b"d1:ad2:id20:aaaaaaaaaaaaaaaaaaaa9:info_hash20:bbbbbbbbbbbbbbbbbbbbe1:q5:count1:t4:abcd1:y1:qe";
    assert_eq!(reply(later, &ask(&mut world, later, by_hash)).nodes.len(), 8);
}

#[test]
fn samples_are_of_what_was_announced_and_say_how_much_there_is() {
    let (mut world, asker, id) = alone();
    let hashes: Vec<InfoHash> = (0..30).map(|n| InfoHash::from_bytes([n; 20])).collect();
    for (n, hash) in hashes.iter().enumerate() {
        announce(&mut world, remote(n as u16), *hash, true);
    }
    let sample = query(id, Method::SampleInfohashes { target: id });
    let answers = ask(&mut world, asker, &sample);
    let first = reply(asker, &answers);
    let samples: Vec<InfoHash> = first.samples.unwrap().iter().collect();
    assert_eq!((samples.len(), first.num), (20, Some(30)));
    assert!(samples.iter().all(|sample| hashes.contains(sample)));
    let interval = first.interval.unwrap();
    assert!((1..=21_600).contains(&interval));
    // The same ones until the interval is over, others then.
    world.now += Duration::from_secs(u64::from(interval)) - SECOND;
    let again = ask(&mut world, remote(99), &sample);
    assert!(reply(remote(99), &again).samples.unwrap().iter().eq(samples.iter().copied()));
    world.now += SECOND;
    let others = ask(&mut world, asker, &sample);
    assert!(!reply(asker, &others).samples.unwrap().iter().eq(samples));
}

#[test]
fn a_token_is_good_for_its_remote_and_its_hash_for_five_to_ten_minutes() {
    let (mut world, from, id) = alone();
    let info_hash = InfoHash::from_bytes([7; 20]);
    let bytes = query(id, Method::GetPeers { info_hash, noseed: false, scrape: false });
    let answers = ask(&mut world, from, &bytes);
    let token = reply(from, &answers).token.unwrap().to_vec();
    let announce = |info_hash| {
        let (port, token) = (7_000, &token);
        query(
            id,
            Method::AnnouncePeer { info_hash, port, implied_port: false, seed: false, token, name: None },
        )
    };
    let other = remote(1);
    assert_eq!(error(other, &ask(&mut world, other, &announce(info_hash))), ErrorCode::PROTOCOL);
    let another = InfoHash::from_bytes([8; 20]);
    assert_eq!(error(from, &ask(&mut world, from, &announce(another))), ErrorCode::PROTOCOL);
    world.now += Duration::from_secs(299);
    assert!(matches!(answer(from, &ask(&mut world, from, &announce(info_hash))).kind, Kind::Reply(_)));
    world.now += Duration::from_secs(301);
    assert_eq!(error(from, &ask(&mut world, from, &announce(info_hash))), ErrorCode::PROTOCOL);
    assert_eq!(world.engines[0].dht.counters().announces_refused, 3);
    assert_eq!(world.engines[0].dht.gauges().stored_hashes, 1);
}

#[test]
fn what_cannot_be_read_is_counted_by_its_cause_and_refused_if_it_is_a_query() {
    let (mut world, ..) = alone();
    let cases: [(&[u8], ParseError); 5] = [
        (
            b"d1:ad2:id20:aaaaaaaaaaaaaaaaaaaa6:target3:abce1:q9:find_node1:t4:abcd1:y1:qe",
            ParseError::BadTarget,
        ),
        (b"d1:ad2:id3:abce1:q4:ping1:t4:abcd1:y1:qe", ParseError::BadId),
        (b"d1:ad2:id20:aaaaaaaaaaaaaaaaaaaae1:t4:abcd1:y1:qe", ParseError::MissingMethod),
        (b"d1:rd2:id20:aaaaaaaaaaaaaaaaaaaae1:t4:abcd1:y1:xe", ParseError::UnknownType),
        (b"d1:t4:abcd1:y1:re", ParseError::MissingReply),
    ];
    for (n, (bytes, cause)) in cases.iter().enumerate() {
        let from = remote(n as u16);
        let answers = ask(&mut world, from, bytes);
        match cause.is_answerable() {
            true => assert_eq!(error(from, &answers), ErrorCode::PROTOCOL, "{cause}"),
            false => assert!(answers.is_empty(), "{cause}"),
        }
        assert_eq!(world.engines[0].dht.counters().malformed[cause.ordinal()], 1, "{cause}");
    }
    let counters = world.engines[0].dht.counters();
    assert_eq!(counters.malformed().count(), cases.len());
    assert_eq!(counters.dropped_for(DropReason::Malformed), cases.len() as u64);
    assert_eq!(counters.sent_for(PacketUse::Answers), 3);
    assert_eq!(counters.sent.of(MessageType::Error), 3);
}

#[test]
fn what_leaves_no_room_for_an_answer_is_never_counted_as_answered() {
    let (mut world, from, id) = alone();
    let bytes = query_as(&[b'x'; 400], id, false, Method::Ping);
    for _ in 0..6 {
        world.inject(0, PortIndex(0), from, &bytes);
    }
    world.run_for(10 * SECOND);
    let counters = world.engines[0].dht.counters();
    assert_eq!(counters.sent_for(PacketUse::Answers), 0);
    assert_eq!(counters.sent.of(MessageType::Reply), 0);
}
