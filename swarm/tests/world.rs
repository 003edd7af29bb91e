//! The scripted network behaves as the clients that it stands for.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use krpc::{InfoHash, Kind, Message, Method, NodeId, Want, bep42, encode};
use swarm::world::{Churn, Clients, Nature, Network, Node, Packet, Scene, Torrents, World};

const US: &str = "90.0.0.7:6881";
const SECOND: Duration = Duration::from_secs(1);

fn us() -> SocketAddr {
    US.parse().unwrap()
}

fn query(tid: &[u8], id: NodeId, want: Want, method: Method<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode::Query { tid, id, version: None, read_only: false, want, method }.encode(&mut bytes);
    bytes
}

/// Asks a node as somebody whom BEP 42 allows, and waits for what comes.
fn ask(world: &mut World, to: SocketAddr, method: Method<'_>) -> Option<Packet> {
    let id = bep42::with_prefix(us().ip(), &NodeId::from_bytes([9; 20]));
    world.send(us(), to, query(b"abcd", id, Want::default(), method));
    let end = world.now + SECOND;
    let mut answer = None;
    while let Some(packet) = world.next(end) {
        // Lying nodes answer with anything.
        let is_answer =
            Message::parse(&packet.bytes).map_or(true, |message| !matches!(message.kind, Kind::Query(_)));
        answer = answer.or(Some(packet).filter(|_| is_answer));
    }
    answer
}

fn alone(nature: Nature) -> (World, SocketAddr) {
    let mut world = World::new(1, 0.0);
    world.populate(50, |_| nature);
    world.attach(us());
    let addr = world.nodes[0].addr;
    (world, addr)
}

fn samples(answer: &Packet) -> Option<BTreeSet<InfoHash>> {
    match Message::parse(&answer.bytes).unwrap().kind {
        Kind::Reply(reply) => reply.samples.map(|samples| samples.iter().collect()),
        _ => None,
    }
}

const SAMPLE: Method<'_> = Method::SampleInfohashes { target: NodeId::ZERO };

#[test]
fn each_client_meets_a_method_that_it_does_not_know_in_its_own_way() {
    for nature in [Nature::Silent, Nature::FourByteIds] {
        let (mut world, addr) = alone(nature);
        assert_eq!(ask(&mut world, addr, SAMPLE), None, "{nature:?}");
        assert!(ask(&mut world, addr, Method::FindNode { target: NodeId::ZERO }).is_some());
    }
    let (mut world, addr) = alone(Nature::Refusing);
    let answer = ask(&mut world, addr, SAMPLE).unwrap();
    let Kind::Error(error) = Message::parse(&answer.bytes).unwrap().kind else { panic!("rTorrent refuses") };
    assert_eq!(error.code, Some(krpc::ErrorCode::UNKNOWN_METHOD));
    let (mut world, addr) = alone(Nature::Confusing);
    let answer = ask(&mut world, addr, SAMPLE).unwrap();
    assert_eq!(samples(&answer), None);
    let (mut world, addr) = alone(Nature::Libtorrent);
    let answer = ask(&mut world, addr, SAMPLE).unwrap();
    assert_eq!(samples(&answer), Some(BTreeSet::new()));
}

#[test]
fn the_rust_crate_answers_only_ids_of_four_bytes_and_names_twenty() {
    let (mut world, addr) = alone(Nature::FourByteIds);
    let method = Method::FindNode { target: NodeId::ZERO };
    let id = NodeId::from_bytes([9; 20]);
    world.send(us(), addr, query(b"ab", id, Want::default(), method));
    assert_eq!(world.next(world.now + SECOND), None);
    let answer = ask(&mut world, addr, method).unwrap();
    let Kind::Reply(reply) = Message::parse(&answer.bytes).unwrap().kind else { panic!("it answers") };
    assert_eq!(reply.nodes.len(), 20);
}

#[test]
fn libtorrent_repeats_its_twenty_samples_for_six_hours_and_mldht_does_not() {
    let shown = |nature, pauses: &[u64]| {
        let (mut world, addr) = alone(nature);
        for n in 0..60 {
            world.announce(0, InfoHash::from_bytes([n; 20]), Vec::new());
        }
        let mut at = |pause| {
            world.next(world.now + Duration::from_secs(pause));
            samples(&ask(&mut world, addr, SAMPLE).unwrap()).unwrap()
        };
        pauses.iter().map(|pause| at(*pause)).collect::<Vec<_>>()
    };
    let libtorrent = shown(Nature::Libtorrent, &[0, 21_000, 600]);
    assert_eq!(libtorrent[0].len(), 20);
    assert_eq!(libtorrent[0], libtorrent[1]);
    assert_ne!(libtorrent[1], libtorrent[2]);
    let mldht = shown(Nature::Mldht, &[0, 300, 300]);
    assert_eq!(mldht.iter().flatten().collect::<BTreeSet<_>>().len(), 60);
}

#[test]
fn libtorrent_blocks_an_ip_that_sends_fifty_packets_in_ten_seconds_from_any_of_its_ports() {
    let (mut world, addr) = alone(Nature::Libtorrent);
    let ping = query(b"abcd", NodeId::from_bytes([9; 20]), Want::default(), Method::Ping);
    for n in 0..60 {
        world.send(SocketAddr::new(us().ip(), 6_881 + n % 4), addr, ping.clone());
    }
    while world.next(world.now + SECOND).is_some() {}
    assert_eq!(world.nodes[0].asked.ping, 49);
    assert_eq!((world.counts.blocks, world.counts.ignored), (1, 10));
    assert_eq!(ask(&mut world, addr, Method::Ping), None);
    world.next(world.now + Duration::from_secs(300));
    assert!(ask(&mut world, addr, Method::Ping).is_some());
    // And it never hears some clouds.
    let (mut world, addr) = alone(Nature::Libtorrent);
    let cloud: SocketAddr = "3.1.2.3:6881".parse().unwrap();
    world.attach(cloud);
    world.send(cloud, addr, ping);
    assert_eq!(world.next(world.now + SECOND), None);
    assert_eq!(world.counts.ignored_range, 1);
}

#[test]
fn who_answers_stays_in_the_table_of_those_it_asked_and_who_is_silent_is_dropped() {
    let (mut world, addr) = alone(Nature::Libtorrent);
    world.upkeep = true;
    ask(&mut world, addr, Method::Ping);
    assert_eq!(world.counts.befriended, 1);
    // libtorrent keeps one contact for an IP.
    let other = SocketAddr::new(us().ip(), 6_882);
    world.attach(other);
    let ping = query(b"abcd", NodeId::from_bytes([7; 20]), Want::default(), Method::Ping);
    world.send(other, addr, ping);
    world.next(world.now + SECOND);
    assert_eq!(world.counts.befriended, 1);
    let id = bep42::with_prefix(us().ip(), &NodeId::from_bytes([9; 20]));
    let mut asked = 0;
    let end = world.now + Duration::from_secs(3_600);
    while let Some(packet) = world.next(end) {
        let message = Message::parse(&packet.bytes).unwrap();
        let Kind::Query(query) = message.kind else { continue };
        assert!(matches!(query.method, Method::GetPeers { .. }), "libtorrent looks after contacts so");
        asked += 1;
        let mut reply = Vec::new();
        encode::Reply::new(message.tid, id).encode(&mut reply);
        world.send(us(), packet.from, reply);
    }
    assert!((4..=8).contains(&asked), "{asked}");
    assert_eq!(world.counts.dropped, 0);
    // It is named to others, being confirmed.
    let answer = ask(&mut world, addr, Method::FindNode { target: id }).unwrap();
    let Kind::Reply(reply) = Message::parse(&answer.bytes).unwrap().kind else { panic!("it answers") };
    assert!(reply.nodes.iter().any(|node| node.addr == us()));
    while world.next(world.now + Duration::from_secs(3_600)).is_some() {}
    assert_eq!(world.counts.dropped, 1);
}

#[test]
fn a_nat_lets_in_only_whom_its_node_has_sent_something() {
    let (mut world, addr) = alone(Nature::Silent);
    world.nodes[0].nated = true;
    assert_eq!(ask(&mut world, addr, Method::Ping), None);
    assert_eq!(world.counts.kept_out, 1);
    assert!(world.live().all(|open| open != addr));
}

#[test]
fn newcomers_are_known_to_their_neighbours_only() {
    let scene = Scene { nodes: 1_000, newcomers: 0.3, ipv6: 0.0, ..Scene::default() };
    let mut world = World::stage(&scene);
    world.attach(us());
    let newcomers: BTreeSet<SocketAddr> =
        world.nodes.iter().filter(|node| node.newcomer).map(|node| node.addr).collect();
    assert!((250..350).contains(&newcomers.len()), "{}", newcomers.len());
    let open: Vec<(NodeId, SocketAddr)> =
        world.nodes.iter().filter(|node| node.is_open()).map(|node| (node.id, node.addr)).collect();
    let mut named = |own: bool| {
        let mut named = BTreeSet::new();
        for (id, addr) in &open {
            let target = if own { *id } else { NodeId::from_bytes([id.as_bytes()[7]; 20]) };
            let answer = ask(&mut world, *addr, Method::FindNode { target });
            let Some(answer) = answer else { continue };
            let Kind::Reply(reply) = Message::parse(&answer.bytes).unwrap().kind else { continue };
            named.extend(reply.nodes.iter().map(|node| node.addr));
        }
        named.intersection(&newcomers).count()
    };
    let (by_neighbours, by_others) = (named(true), named(false));
    assert!(by_neighbours * 10 > newcomers.len() * 9, "{by_neighbours} of {}", newcomers.len());
    assert!(by_others * 2 < newcomers.len(), "{by_others} of {}", newcomers.len());
}

#[test]
fn the_share_of_stale_entries_and_of_clients_is_as_asked_for() {
    let clients = Clients { libtorrent: 1.0, silent: 1.0, ..Clients::NONE };
    let scene =
        Scene { nodes: 2_000, ipv6: 0.2, stale: 0.4, nated: 0.1, lying: 0.2, clients, ..Scene::default() };
    let mut world = World::stage(&scene);
    let honest: Vec<&Node> = world.nodes.iter().filter(|node| node.nature.answers()).collect();
    assert_eq!(honest.len(), 2_000);
    assert_eq!(honest.iter().filter(|node| node.addr.is_ipv6()).count(), 400);
    let libtorrent = honest.iter().filter(|node| node.nature == Nature::Libtorrent).count();
    assert!((900..1_100).contains(&libtorrent), "{libtorrent}");
    assert!(honest.iter().all(|node| matches!(node.nature, Nature::Libtorrent | Nature::Silent)));
    let bound = |node: &&&Node| bep42::is_valid(node.addr.ip(), &node.id);
    assert_eq!(
        honest.iter().filter(|node| node.nature == Nature::Libtorrent).filter(bound).count(),
        libtorrent
    );
    let lying = world.nodes.iter().filter(|node| matches!(node.nature, Nature::Lying(_))).count();
    assert_eq!(lying, 500);
    // A fifth of the live nodes lie, so 2,500 live ones are three in five of all entries.
    let dead = world.nodes.iter().filter(|node| node.nature == Nature::Dead).count();
    assert!((1_600..1_740).contains(&dead), "{dead}");
    // Dual-stack clients name contacts of the other family when they are asked for them.
    world.attach(us());
    let dual = world.nodes.iter().find(|node| node.twin.is_some() && !node.addr.is_ipv6() && node.is_open());
    let (id, to) = (NodeId::from_bytes([3; 20]), dual.unwrap().addr);
    let method = Method::FindNode { target: id };
    world.send(us(), to, query(b"abcd", id, Want { n4: true, n6: true }, method));
    let answer = world.next(world.now + SECOND).unwrap();
    let Kind::Reply(reply) = Message::parse(&answer.bytes).unwrap().kind else { panic!("it answers") };
    assert_eq!((reply.nodes.len(), reply.nodes6.len()), (8, 8));
}

#[test]
fn the_population_stays_while_nodes_come_and_go_and_tables_follow() {
    let churn = Churn { median_session: Duration::from_secs(3_600), ..Churn::default() };
    let scene = Scene {
        nodes: 1_000,
        ipv6: 0.0,
        stale: 0.0,
        churn: Some(churn),
        torrents: 200,
        traffic: Some(Torrents { births_per_hour: 100.0, ..Torrents::default() }),
        ..Scene::default()
    };
    let mut world = World::stage(&scene);
    world.next(Duration::from_secs(6 * 3_600));
    let up: Vec<&Node> = world.nodes.iter().filter(|node| node.is_up()).collect();
    assert_eq!(up.len(), 1_000);
    // ln 2 of the thousand leave in each hour.
    assert!((3_700..4_700).contains(&world.counts.departures), "{}", world.counts.departures);
    assert!((500..700).contains(&world.counts.births), "{}", world.counts.births);
    // Torrents are where they are looked for though nearly all of their first nodes have left.
    world.attach(us());
    let mut found = 0;
    let hashes: Vec<InfoHash> = world.truth.keys().copied().collect();
    for info_hash in &hashes {
        let mut open: Vec<(NodeId, SocketAddr)> =
            world.nodes.iter().filter(|node| node.is_open()).map(|node| (node.id, node.addr)).collect();
        open.sort_unstable_by_key(|(id, _)| id.distance(&info_hash.as_id()));
        let (noseed, scrape) = (false, false);
        found += usize::from(open[..8].iter().any(|(_, addr)| {
            let method = Method::GetPeers { info_hash: *info_hash, noseed, scrape };
            let Some(answer) = ask(&mut world, *addr, method) else { return false };
            matches!(Message::parse(&answer.bytes).unwrap().kind, Kind::Reply(reply) if !reply.values.is_empty())
        }));
    }
    assert!(found * 100 >= hashes.len() * 99, "{found} of {}", hashes.len());
}

#[test]
fn the_same_seed_gives_the_same_world() {
    let run = |seed: u64| {
        let scene = Scene {
            seed,
            nodes: 300,
            newcomers: 0.2,
            nated: 0.1,
            lying: 0.1,
            network: Network { duplication: 0.1, ..Network::with_loss(0.2) },
            churn: Some(Churn::default()),
            traffic: Some(Torrents { births_per_hour: 60.0, ..Torrents::default() }),
            ..Scene::default()
        };
        let mut world = World::stage(&scene);
        world.attach(us());
        let mut trace = Vec::new();
        for index in 0..world.nodes.len() {
            let to = world.nodes[index].addr;
            trace.extend(ask(&mut world, to, SAMPLE).map(|packet| (world.now, packet)));
        }
        (trace, world.counts)
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5).0, run(6).0);
}
