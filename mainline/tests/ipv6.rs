//! IPv6 (BEP 32): a network of its own beside that of IPv4, taken part in alone or together with the other.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod world;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use krpc::{CompactNode, InfoHash, Kind, Message, Method, NodeId, Want, encode};
use mainline::{
    Action, Config, Dht, Event, Output, Port, PortIndex, Priority, VirtualNodeConfig, spread_ids,
};
use world::{Clients, Node, SECOND, Scene, World};

/// Nodes of libtorrent's kind, none of them dead.
fn scene(nodes: usize, ipv6: f64, dual_stack: f64) -> Scene {
    let clients = Clients {
        libtorrent: 0.0,
        silent: 0.0,
        four_byte_ids: 0.0,
        refusing: 0.0,
        confusing: 0.0,
        mldht: 1.0,
        sampling: 0.0,
    };
    Scene { seed: 101, nodes, clients, ipv6, dual_stack, stale: 0.2, torrents: 300, ..Scene::default() }
}

fn first(world: &World, v6: bool) -> SocketAddr {
    world.live().find(|addr| addr.is_ipv6() == v6).unwrap()
}

fn assert_all_visited(world: &World, v6: bool) {
    let of_family: Vec<SocketAddr> = world.live().filter(|addr| addr.is_ipv6() == v6).collect();
    let replied = &world.engines[0].found.replied;
    let visited = of_family.iter().filter(|addr| replied.contains(addr)).count();
    assert!(
        !of_family.is_empty() && visited * 100 >= of_family.len() * 99,
        "{visited} of {}",
        of_family.len()
    );
}

/// Has a peer announce a hash at the eight nodes of its own family that are closest to it.
fn announce(world: &mut World, info_hash: InfoHash, peer: SocketAddr) {
    let is_there = |node: &&mut Node| node.is_open() && node.addr.is_ipv6() == peer.is_ipv6();
    let mut nodes: Vec<&mut Node> = world.nodes.iter_mut().filter(is_there).collect();
    nodes.sort_unstable_by_key(|node| node.id.distance(&info_hash.as_id()));
    nodes.into_iter().take(8).for_each(|node| node.join(info_hash, peer, false));
}

#[test]
fn a_network_of_ipv6_alone_is_found_sampled_and_searched() {
    let mut world = World::stage(&scene(400, 1.0, 0.0));
    let bootstrap = vec![first(&world, true)];
    world.add_engine_at(0, 1, 4, bootstrap, |_| {});
    world.run_for(600 * SECOND);
    assert_all_visited(&world, true);
    let hashes: Vec<InfoHash> = world.truth.keys().copied().collect();
    let found = hashes.iter().filter(|hash| world.engines[0].found.sampled.contains(*hash)).count();
    assert!(found * 100 >= hashes.len() * 99, "{found} of {}", hashes.len());
    for (n, hash) in (1_u16..).zip(&hashes[..30]) {
        announce(&mut world, *hash, SocketAddr::from(([0x2a00, 0x77, n, 0, 0, 0, 0, 1], 51_413)));
        world.find_peers(0, *hash, &[]);
    }
    world.run_for(60 * SECOND);
    let engine = &world.engines[0];
    let with_peers = hashes[..30].iter().filter(|hash| {
        engine.found.peers.get(*hash).is_some_and(|peers| peers.iter().any(|peer| peer.addr.is_ipv6()))
    });
    assert!(with_peers.count() >= 29);
    let gauges = engine.dht.gauges();
    assert_eq!((gauges.nodes_live_v4, gauges.nodes_live_v6), (0, gauges.nodes_live));
    engine.watch.assert_polite();
}

#[test]
fn with_a_port_of_each_family_both_networks_are_found_and_searched() {
    let mut world = World::stage(&scene(900, 0.1, 0.5));
    let bootstrap = vec![first(&world, false)];
    // It knows nobody of IPv6 but whom those of IPv4 name.
    world.add_engine_at(1, 1, 8, bootstrap, |_| {});
    world.run_for(900 * SECOND);
    assert_all_visited(&world, false);
    assert_all_visited(&world, true);
    let twins = world.nodes.iter().filter(|node| node.twin.is_some()).count();
    assert!(twins >= 60, "{twins} are reached by both families");
    let gauges = world.engines[0].dht.gauges();
    assert!(gauges.nodes_live_v4 >= 790 && gauges.nodes_live_v6 >= 85, "{gauges:?}");
    // Ten times as many nodes of IPv4 lie between a hash and those of IPv6 that store its peers.
    let mut hashes = Vec::new();
    for n in 0..40_u16 {
        let hash = InfoHash::random(&mut world.rng);
        let [_, low] = n.to_be_bytes();
        match n % 4 {
            0 => announce(&mut world, hash, SocketAddr::from(([61, 1, low, 1], 51_413))),
            1 | 2 => announce(&mut world, hash, SocketAddr::from(([0x2a00, 0x77, n, 0, 0, 0, 0, 1], 51_413))),
            _ => {
                announce(&mut world, hash, SocketAddr::from(([61, 1, low, 1], 51_413)));
                announce(&mut world, hash, SocketAddr::from(([0x2a00, 0x77, n, 0, 0, 0, 0, 1], 51_413)));
            }
        }
        world.find_peers(0, hash, &[]);
        hashes.push(hash);
    }
    world.run_for(90 * SECOND);
    let engine = &world.engines[0];
    let found = |n: usize, v6: bool| {
        engine
            .found
            .peers
            .get(&hashes[n])
            .is_some_and(|peers| peers.iter().any(|peer| peer.addr.is_ipv6() == v6))
    };
    let four = (0..40).filter(|n| n % 4 == 0 || n % 4 == 3).filter(|n| found(*n, false)).count();
    let six = (0..40).filter(|n| n % 4 != 0).filter(|n| found(*n, true)).count();
    println!("peers of IPv4 for {four} of 20, of IPv6 for {six} of 30");
    assert!(four >= 19 && six >= 29, "{four} of 20, {six} of 30");
    let asked =
        engine.found.done.iter().map(|report| report.asked).sum::<u32>() / engine.found.done.len() as u32;
    assert!(asked <= 50, "{asked} queries in the mean");
    engine.watch.assert_polite();
}

/// An engine with a port of each family, and the query by which it enters.
fn entering() -> (Dht, Output, SocketAddr, Vec<u8>) {
    let ports = ["0.0.0.0:6881", "[::]:6881"].map(|local| Port { local: local.parse().unwrap() });
    let nodes = spread_ids(4, [3; 32]).enumerate();
    let nodes = nodes.map(|(n, id)| VirtualNodeConfig { id, port: PortIndex((n % 2) as u16) }).collect();
    let mut config = Config::new([3; 32], ports.to_vec(), nodes);
    config.bootstrap.push("[2a00:1::1]:6881".parse().unwrap());
    let mut dht = Dht::new(&config, Duration::ZERO).unwrap();
    let mut out = Output::new();
    dht.tick(SECOND, &mut out);
    let Some(Action::Send { port, to, payload }) = out.actions().next() else { panic!("it enters") };
    assert_eq!((port, to), (PortIndex(1), config.bootstrap[0]));
    let payload = payload.to_vec();
    out.clear();
    (dht, out, to, payload)
}

fn contact(n: u8, addr: &str) -> CompactNode {
    CompactNode { id: NodeId::from_bytes([n; 20]), addr: addr.parse().unwrap() }
}

#[test]
fn contacts_of_ipv6_that_nobody_can_have_are_not_taken_up_and_mapped_ones_are_those_of_ipv4() {
    let (mut dht, mut out, to, asked) = entering();
    let message = Message::parse(&asked).unwrap();
    let Kind::Query(query) = message.kind else { panic!("a query") };
    assert_eq!(query.want, Want { n4: true, n6: true });
    let bogus = [
        contact(1, "[fe80::1]:6881"),
        contact(2, "[fc00::1]:6881"),
        contact(3, "[fd12:3456::1]:6881"),
        contact(4, "[2002:4001:101::1]:6881"),
        contact(5, "[2001::1]:6881"),
        contact(6, "[2001:db8::1]:6881"),
        contact(7, "[::1]:6881"),
        contact(8, "[::]:6881"),
        contact(9, "[ff02::1]:6881"),
        contact(10, "[64:ff9b::4001:101]:6881"),
        contact(11, "[::ffff:10.0.0.1]:6881"),
    ];
    let good = [contact(20, "[2a00:2::1]:6881"), contact(21, "[::ffff:64.1.1.1]:6881")];
    let mut reply = Vec::new();
    let nodes6: Vec<CompactNode> = bogus.iter().chain(&good).copied().collect();
    encode::Reply {
        nodes6: Some(&nodes6),
        ..encode::Reply::new(message.tid, NodeId::from_bytes([0xb0; 20]))
    }
    .encode(&mut reply);
    dht.receive(SECOND, PortIndex(1), to, &reply, &mut out);
    assert_eq!((dht.counters().contacts_bogus, dht.counters().contacts_new), (11, 2));
    for _ in 0..100 {
        dht.tick(SECOND + Duration::from_millis(20), &mut out);
    }
    let asked: BTreeSet<(PortIndex, SocketAddr)> =
        out.actions().map(|Action::Send { port, to, .. }| (port, to)).collect();
    assert!(asked.contains(&(PortIndex(0), "64.1.1.1:6881".parse().unwrap())), "{asked:?}");
    assert!(asked.contains(&(PortIndex(1), "[2a00:2::1]:6881".parse().unwrap())), "{asked:?}");
    assert!(asked.iter().all(|(port, to)| (port.0 == 0) == to.is_ipv4()), "{asked:?}");
}

#[test]
fn peers_of_both_families_are_taken_and_none_that_is_mapped_or_impossible_comes_out() {
    let (mut dht, mut out, to, asked) = entering();
    let mut reply = Vec::new();
    let node = contact(0xb0, "[2a00:1::1]:6881");
    encode::Reply::new(Message::parse(&asked).unwrap().tid, node.id).encode(&mut reply);
    dht.receive(SECOND, PortIndex(1), to, &reply, &mut out);
    out.clear();
    let later = SECOND * 10;
    dht.find_peers(later, InfoHash::from_bytes([5; 20]), &[to], Priority::User, &mut out).unwrap();
    let of_lookup = |payload: &[u8]| {
        let message = Message::parse(payload).unwrap();
        matches!(message.kind, Kind::Query(query) if matches!(query.method, Method::GetPeers { .. }))
    };
    let sent =
        out.actions().find_map(|Action::Send { payload, .. }| of_lookup(payload).then(|| payload.to_vec()));
    let sent = sent.unwrap();
    out.clear();
    let values = [
        "61.1.1.1:1",
        "[2a00:9::1]:2",
        "[::ffff:61.1.1.2]:3",
        "[::ffff:10.0.0.1]:4",
        "[fe80::1]:5",
        "[2002:4001:101::1]:6",
        "10.1.1.1:7",
        "61.1.1.3:0",
    ]
    .map(|addr| addr.parse::<SocketAddr>().unwrap());
    let mut reply = Vec::new();
    encode::Reply { values: &values, ..encode::Reply::new(Message::parse(&sent).unwrap().tid, node.id) }
        .encode(&mut reply);
    dht.receive(later, PortIndex(1), to, &reply, &mut out);
    let mut peers: Vec<String> = Vec::new();
    for event in out.events() {
        if let Event::Peers { peers: some, .. } = event {
            peers.extend(some.iter().map(|peer| peer.addr.to_string()));
        }
    }
    assert_eq!(peers, ["61.1.1.1:1", "[2a00:9::1]:2", "61.1.1.2:3"]);
}

/// What an engine with a port of each family answers to a query.
fn answer(dht: &mut Dht, port: u16, from: &str, want: Want, method: Method<'_>) -> Vec<u8> {
    let (mut bytes, mut out) = (Vec::new(), Output::new());
    encode::Query {
        tid: b"aa",
        id: NodeId::from_bytes([9; 20]),
        version: None,
        read_only: true,
        want,
        method,
    }
    .encode(&mut bytes);
    dht.receive(SECOND * 20, PortIndex(port), from.parse().unwrap(), &bytes, &mut out);
    let answer = out.actions().find_map(|Action::Send { payload, .. }| {
        let is_answer = !matches!(Message::parse(payload).unwrap().kind, Kind::Query(_));
        is_answer.then(|| payload.to_vec())
    });
    answer.unwrap()
}

#[test]
fn what_comes_from_a_mapped_address_is_of_ipv4_and_is_told_as_such() {
    let (mut dht, ..) = entering();
    let info_hash = InfoHash::from_bytes([5; 20]);
    let get_peers = Method::GetPeers { info_hash, noseed: false, scrape: false };
    let asked = answer(&mut dht, 0, "[::ffff:61.1.1.1]:6881", Want::default(), get_peers);
    let message = Message::parse(&asked).unwrap();
    assert_eq!(message.ip, Some("61.1.1.1:6881".parse().unwrap()));
    let Kind::Reply(reply) = message.kind else { panic!("a reply") };
    let token = reply.token.unwrap();
    let announce =
        Method::AnnouncePeer { info_hash, port: 7, implied_port: false, seed: false, token, name: None };
    // The token holds for the address however it is written.
    answer(&mut dht, 0, "61.1.1.1:6881", Want::default(), announce);
    let six = "[2a00:3::1]:6881";
    let both = answer(&mut dht, 1, six, Want { n4: true, n6: true }, get_peers);
    let Kind::Reply(reply) = Message::parse(&both).unwrap().kind else { panic!("a reply") };
    let values: Vec<String> = reply.values.iter().map(|value| value.to_string()).collect();
    assert_eq!(values, ["61.1.1.1:7"]);
    // Who asks over IPv6 and wants nothing else gets peers of IPv6.
    let own = answer(&mut dht, 1, "[2a00:4::1]:6881", Want::default(), get_peers);
    let Kind::Reply(reply) = Message::parse(&own).unwrap().kind else { panic!("a reply") };
    assert_eq!(reply.values.len(), 0);
}

#[test]
fn each_family_has_its_own_external_address() {
    let mut world = World::stage(&scene(300, 0.4, 0.5));
    let bootstrap = vec![first(&world, false), first(&world, true)];
    world.add_engine_at(1, 1, 4, bootstrap, |_| {});
    world.run_for(200 * SECOND);
    let ours: BTreeSet<IpAddr> = world.engines[0].addrs.iter().map(|addr| addr.ip()).collect();
    assert!(ours.contains(&"2a0a::7".parse::<Ipv6Addr>().unwrap().into()));
    let told: BTreeSet<IpAddr> = world.engines[0].found.external.iter().copied().collect();
    assert_eq!(told, ours);
}

#[test]
fn an_address_to_enter_by_of_a_family_that_we_do_not_speak_holds_nothing_up() {
    let port = Port { local: "0.0.0.0:6881".parse().unwrap() };
    let nodes = spread_ids(1, [3; 32]).map(|id| VirtualNodeConfig { id, port: PortIndex(0) });
    let mut config = Config::new([3; 32], vec![port], nodes.collect());
    config.bootstrap.push("[2a00:1::1]:6881".parse().unwrap());
    let mut dht = Dht::new(&config, Duration::ZERO).unwrap();
    dht.add_bootstrap(Duration::ZERO, "[2a00:1::2]:6881".parse().unwrap());
    let mut out = Output::new();
    dht.tick(SECOND, &mut out);
    assert!(out.is_empty() && dht.sweep_progress().finished);
}
