//! Floods, forgeries and replays: what is sent, kept and believed stays within bounds, and the honest are served meanwhile.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod world;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use krpc::{InfoHash, Kind, Message, Method, NodeId, Want, encode};
use mainline::{
    Action, Config, Dht, DropReason, Event, Limits, MessageType, Output, Port, PortIndex, VirtualNodeConfig,
};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use world::{MS, Nature, SECOND, World};

fn query(tid: &[u8], id: NodeId, method: Method<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode::Query { tid, id, version: None, read_only: false, want: Want::default(), method }
        .encode(&mut bytes);
    bytes
}

fn get_peers(info_hash: InfoHash) -> Method<'static> {
    Method::GetPeers { info_hash, noseed: false, scrape: false }
}

/// An address of the internet, any but those of the world's nodes.
fn made_up(rng: &mut StdRng) -> SocketAddr {
    SocketAddr::from((
        [rng.random_range(130..160), rng.random(), rng.random(), rng.random()],
        rng.random_range(1..u16::MAX),
    ))
}

/// Any datagram that costs its sender nothing to make.
fn garbage(rng: &mut StdRng) -> Vec<u8> {
    let (id, hash) = (NodeId::random(rng), InfoHash::random(rng));
    match rng.random_range(0..8) {
        0 => query(b"aa", id, Method::Ping),
        1 => query(b"aa", id, Method::FindNode { target: NodeId::random(rng) }),
        2 => query(b"aa", id, Method::SampleInfohashes { target: NodeId::random(rng) }),
        3 => {
            let method = Method::AnnouncePeer {
                info_hash: hash,
                port: 1,
                implied_port: false,
                seed: false,
                token: b"guessed!",
                name: None,
            };
            query(b"aa", id, method)
        }
        // A query whose id is missing deserves an error.
        4 => b"d1:ade1:q4:ping1:t2:aa1:y1:qe".to_vec(),
        _ => query(b"aa", id, get_peers(hash)),
    }
}

/// An engine alone, and everything that it sends.
struct Alone {
    dht: Dht,
    now: Duration,
    out: Output,
    rng: StdRng,
    /// Bytes handed to it.
    fed: u64,
    sent: Vec<(Duration, SocketAddr, Vec<u8>)>,
    events: u64,
}

impl Alone {
    fn new(limits: Limits) -> Alone {
        let nodes =
            (1..5).map(|n| VirtualNodeConfig { id: NodeId::from_bytes([n * 50; 20]), port: PortIndex(0) });
        let port = Port { local: "0.0.0.0:6881".parse().unwrap() };
        let mut config = Config::new([5; 32], vec![port], nodes.collect());
        config.limits = limits;
        let (now, rng) = (SECOND, StdRng::seed_from_u64(5));
        let dht = Dht::new(&config, now).unwrap();
        Alone { dht, now, out: Output::new(), rng, fed: 0, sent: Vec::new(), events: 0 }
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = end.min(self.now + 20 * MS);
            self.dht.tick(self.now, &mut self.out);
            self.settle();
        }
    }

    /// Feeds it a datagram; what it has answered at once.
    fn feed(&mut self, from: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
        self.fed += bytes.len() as u64;
        let before = self.sent.len();
        self.dht.receive(self.now, PortIndex(0), from, bytes, &mut self.out);
        self.settle();
        let answers = |(_, to, bytes): &&(Duration, SocketAddr, Vec<u8>)| *to == from && !is_query(bytes);
        self.sent[before..].iter().find(answers).map(|(.., bytes)| bytes.clone())
    }

    fn settle(&mut self) {
        let now = self.now;
        self.sent
            .extend(self.out.actions().map(|Action::Send { to, payload, .. }| (now, to, payload.to_vec())));
        self.events += self.out.events().filter(|event| matches!(event, Event::Hash { .. })).count() as u64;
        self.out.clear();
    }

    fn bytes_sent(&self) -> u64 {
        self.sent.iter().map(|(.., bytes)| bytes.len() as u64).sum()
    }

    /// The token that it gives to this remote for this hash.
    fn token(&mut self, from: SocketAddr, info_hash: InfoHash) -> Option<Vec<u8>> {
        let answer = self.feed(from, &query(b"aa", NodeId::from_bytes([9; 20]), get_peers(info_hash)))?;
        match Message::parse(&answer).unwrap().kind {
            Kind::Reply(reply) => reply.token.map(<[u8]>::to_vec),
            _ => None,
        }
    }

    /// Whether an announce with this token is accepted.
    fn announce(&mut self, from: SocketAddr, info_hash: InfoHash, token: &[u8]) -> bool {
        let method =
            Method::AnnouncePeer { info_hash, port: 7, implied_port: false, seed: false, token, name: None };
        let answer = self.feed(from, &query(b"aa", NodeId::from_bytes([9; 20]), method)).unwrap();
        matches!(Message::parse(&answer).unwrap().kind, Kind::Reply(_))
    }
}

fn is_query(bytes: &[u8]) -> bool {
    matches!(Message::parse(bytes).unwrap().kind, Kind::Query(_))
}

/// The most packets to one address in any second.
fn most_in_a_second(sent: &[(Duration, SocketAddr, Vec<u8>)], to: IpAddr) -> usize {
    let times: Vec<Duration> =
        sent.iter().filter(|(_, addr, _)| addr.ip() == to).map(|(at, ..)| *at).collect();
    let within = |from: usize| times[from..].iter().take_while(|at| **at < times[from] + SECOND).count();
    (0..times.len()).map(within).max().unwrap_or(0)
}

#[test]
fn a_flood_from_made_up_addresses_starves_neither_the_known_nor_our_own_queries() {
    let visits = |flood: bool| {
        let mut world = World::new(81, 0.0);
        world.populate(400, |_| Nature::Sampling { interval: 300 });
        world.announce_torrents(200);
        let bootstrap: Vec<_> = world.live().take(1).collect();
        world.add_engine_with(1, 4, bootstrap, |config| {
            config.limits = Limits { nodes_max: 2_000, ..Limits::home() };
        });
        world.run_for(Duration::from_secs(240));
        // Those who ask all the time while the flood lasts: they have answered us before.
        let friends: Vec<(SocketAddr, NodeId)> =
            world.nodes.iter().take(30).map(|node| (node.addr, node.id)).collect();
        let mut rng = StdRng::seed_from_u64(1);
        let before = world.engines[0].dht.counters().to_owned();
        let (visits, served) = (world.engines[0].found.visits, world.engines[0].watch.answers);
        for second in 0..300_u32 {
            for _ in 0..20 {
                for _ in 0..if flood { 50 } else { 0 } {
                    let (from, bytes) = (made_up(&mut rng), garbage(&mut rng));
                    world.inject(0, PortIndex(0), from, &bytes);
                }
                world.run_for(50 * MS);
            }
            let (addr, id) = friends[second as usize % friends.len()];
            let bytes = query(b"aa", id, Method::FindNode { target: NodeId::from_bytes([second as u8; 20]) });
            let answers = world.engines[0].dht.counters().sent.of(MessageType::Reply);
            world.inject(0, PortIndex(0), addr, &bytes);
            assert_eq!(
                world.engines[0].dht.counters().sent.of(MessageType::Reply),
                answers + 1,
                "at {second}"
            );
        }
        let engine = &world.engines[0];
        engine.watch.assert_polite();
        let (counters, gauges) = (engine.dht.counters(), engine.dht.gauges());
        let live = world.live().filter(|addr| engine.found.replied.contains(addr)).count();
        assert!(live >= 398, "{live} of the honest were ever visited");
        assert!(gauges.nodes_live >= 390 && gauges.nodes <= 2_000, "{gauges:?}");
        let answered = counters.queries_answered - before.queries_answered;
        let packets = counters.sent.packets - before.sent.packets;
        println!(
            "flood {flood}: {} visits, {answered} of our queries answered, {} answers given, {packets} packets sent, {} over budget",
            engine.found.visits - visits,
            engine.watch.answers - served,
            counters.dropped_for(DropReason::OverBudget),
        );
        if flood {
            // 300,000 datagrams came. What was sent is what the budget allows, and half of it for strangers.
            assert!(packets <= 300 * 150 + 40, "{packets}");
            assert!(counters.dropped_for(DropReason::OverBudget) > 200_000);
        }
        answered
    };
    let (calm, flooded) = (visits(false), visits(true));
    assert!(
        flooded * 10 >= calm * 9,
        "{flooded} of our queries were answered in the flood, {calm} without it"
    );
}

#[test]
fn under_a_flood_memory_stays_where_it_is() {
    let mut alone = Alone::new(Limits { nodes_max: 5_000, ..Limits::home() });
    let flood = |alone: &mut Alone, packets: u32| {
        for n in 0..packets {
            let (from, bytes) = (made_up(&mut alone.rng), garbage(&mut alone.rng));
            alone.dht.receive(alone.now, PortIndex(0), from, &bytes, &mut alone.out);
            alone.out.clear();
            if n % 40 == 0 {
                alone.now += 20 * MS;
                alone.dht.tick(alone.now, &mut alone.out);
                alone.out.clear();
            }
        }
    };
    let mut grown = || allocation_counter::measure(|| flood(&mut alone, 150_000)).bytes_current;
    let rounds = [grown(), grown(), grown(), grown()];
    println!("{rounds:?} bytes more after each 150,000 datagrams");
    // 625 nodes of 250 bytes, and what waits for their visits and is remembered of those visited lately.
    assert!(rounds.iter().sum::<i64>() < 600_000, "{rounds:?}");
    assert!(rounds[3] < 50_000, "{rounds:?}");
    let gauges = alone.dht.gauges();
    assert!(gauges.nodes <= 5_000 / 8 + 1 && gauges.stored_hashes == 0, "{gauges:?}");
}

#[test]
fn a_flood_from_one_address_gets_four_answers_a_second_and_costs_the_others_nothing() {
    let mut alone = Alone::new(Limits::home());
    let (flooder, other): (SocketAddr, SocketAddr) =
        ("150.1.1.1:6881".parse().unwrap(), "151.1.1.1:6881".parse().unwrap());
    for second in 0..20 {
        for port in 0..1_000_u16 {
            let bytes = garbage(&mut alone.rng);
            alone.feed(SocketAddr::new(flooder.ip(), 1 + port), &bytes);
        }
        assert!(
            alone.feed(other, &query(b"aa", NodeId::from_bytes([7; 20]), Method::Ping)).is_some(),
            "{second}"
        );
        alone.wait(SECOND);
    }
    let to_flooder = alone.sent.iter().filter(|(_, to, _)| to.ip() == flooder.ip()).count();
    assert!((60..=21 * 4).contains(&to_flooder), "{to_flooder}");
    assert!(most_in_a_second(&alone.sent, flooder.ip()) <= 4);
    let counters = alone.dht.counters();
    assert!(
        counters.dropped_for(DropReason::OverBudget) + counters.dropped_for(DropReason::Malformed) > 19_000
    );
    assert!(alone.dht.node_count() <= 17, "{}", alone.dht.node_count());
    // What it asked for over its budget was not passed on either.
    assert!(alone.events <= 21 * 4, "{}", alone.events);
}

#[test]
fn whoever_is_made_to_be_answered_gets_little_more_than_others_have_spent_on_it() {
    let mut alone = Alone::new(Limits::home());
    // Contacts and peers to fill answers with.
    let hash = InfoHash::from_bytes([0x31; 20]);
    for n in 0..200_u8 {
        let peer = SocketAddr::from(([140, n, 1, 1], 6_881));
        let token = alone.token(peer, hash).unwrap();
        assert!(alone.announce(peer, hash, &token));
        alone.wait(100 * MS);
    }
    // One datagram each, to a victim of its own: how much larger is what comes back?
    let id = NodeId::from_bytes([9; 20]);
    let methods = [
        ("ping", Method::Ping, 2.0),
        ("find_node", Method::FindNode { target: id }, 5.0),
        ("sample_infohashes", Method::SampleInfohashes { target: id }, 5.0),
        ("get_peers", get_peers(hash), 12.0),
        ("scrape", Method::GetPeers { info_hash: hash, noseed: false, scrape: true }, 12.0),
        ("unknown", Method::Unknown { name: b"x", target: None }, 2.0),
    ];
    for (place, (name, method, most)) in (0..).zip(methods) {
        let asked = query(b"aa", id, method);
        let answer = alone.feed(SocketAddr::from(([145, place, 1, 1], 6_881)), &asked).unwrap();
        let factor = answer.len() as f64 / asked.len() as f64;
        println!("{name}: {} bytes for {}, {factor:.1}", answer.len(), asked.len());
        assert!(factor <= most && answer.len() <= encode::DATAGRAM_MAX, "{name}: {factor}");
    }
    alone.wait(10 * SECOND);
    // A thousand a second of the kind that gives most, all in the name of one victim.
    let victim: SocketAddr = "149.1.1.1:6881".parse().unwrap();
    (alone.fed, alone.sent) = (0, Vec::new());
    for n in 0..30_000_u32 {
        alone.feed(
            victim,
            &query(b"aa", NodeId::random(&mut StdRng::seed_from_u64(n.into())), get_peers(hash)),
        );
        if n % 20 == 0 {
            alone.wait(20 * MS);
        }
    }
    alone.wait(10 * SECOND);
    let to_victim: u64 =
        alone.sent.iter().filter(|(_, to, _)| *to == victim).map(|(.., bytes)| bytes.len() as u64).sum();
    println!(
        "{to_victim} bytes to the victim for {} spent: {:.3}",
        alone.fed,
        to_victim as f64 / alone.fed as f64
    );
    assert!(to_victim * 20 < alone.fed, "{to_victim} of {}", alone.fed);
    assert!(most_in_a_second(&alone.sent, victim.ip()) <= 4);
    // Among them the visits to see who it is: a few packets.
    let visits = alone.sent.iter().filter(|(_, to, bytes)| *to == victim && is_query(bytes)).count();
    assert!(visits <= 8, "{visits}");
}

#[test]
fn many_victims_together_get_no_more_than_the_budget_for_strangers() {
    let mut alone = Alone::new(Limits::home());
    let hash = InfoHash::from_bytes([0x31; 20]);
    for n in 0..60_000_u32 {
        let victim = SocketAddr::from((Ipv4Addr::from_bits(0x8c00_0000 | n << 8 | 1), 6_881));
        alone.feed(victim, &query(b"aa", NodeId::from_bytes([9; 20]), get_peers(hash)));
        if n % 20 == 0 {
            alone.wait(20 * MS);
        }
    }
    let queries = alone.sent.iter().filter(|(.., bytes)| is_query(bytes)).count();
    let answers = alone.sent.len() - queries;
    println!(
        "{answers} answers and {queries} queries in 60 s, {} bytes for {}",
        alone.bytes_sent(),
        alone.fed
    );
    assert!(alone.sent.len() <= 60 * 150 + 40, "{}", alone.sent.len());
    // A quarter of the new endpoints, each asked three times at most while it is silent.
    assert!(queries <= 3 * (60 * 300 / 60 + 64), "{queries}");
    assert!(alone.bytes_sent() < alone.fed, "{} of {}", alone.bytes_sent(), alone.fed);
    assert!(alone.events <= answers as u64 + 40, "{}", alone.events);
}

#[test]
fn answers_that_nobody_asked_for_are_counted_and_have_no_effect() {
    let mut alone = Alone::new(Limits::home());
    let mut tids = StdRng::seed_from_u64(9);
    let used = allocation_counter::measure(|| {
        for _ in 0..50_000 {
            let mut bytes = Vec::with_capacity(300);
            let tid: [u8; 4] = tids.random();
            let raw = [&b"4:"[..], &tid].concat();
            let samples = [InfoHash::from_bytes([7; 20]); 3];
            let tid = krpc::Tid::from_raw(&raw).unwrap();
            encode::Reply { samples: Some(&samples), ..encode::Reply::new(tid, NodeId::random(&mut tids)) }
                .encode(&mut bytes);
            let from = made_up(&mut tids);
            alone.dht.receive(alone.now, PortIndex(0), from, &bytes, &mut alone.out);
        }
    });
    assert!(alone.out.is_empty());
    assert_eq!(alone.dht.counters().dropped_for(DropReason::Unsolicited), 50_000);
    assert_eq!((alone.dht.node_count(), alone.dht.contact_count()), (0, 0));
    assert_eq!(used.bytes_current, 0);
}

#[test]
fn who_guesses_the_ids_of_queries_is_not_believed() {
    let mut world = World::new(82, 0.0);
    world.populate(50, |_| Nature::Sampling { interval: 300 });
    let bootstrap: Vec<_> = world.live().take(1).collect();
    world.add_engine(1, 2, bootstrap);
    world.run_for(10 * SECOND);
    // A thousand queries are in flight to nodes that do not answer in time, each answered by 100 guesses from its own address.
    world.network.cut = true;
    world.run_for(SECOND);
    let nodes: Vec<(SocketAddr, NodeId)> = world.nodes.iter().map(|node| (node.addr, node.id)).collect();
    let before = world.engines[0].dht.counters().dropped_for(DropReason::Unsolicited);
    let contacts = world.engines[0].dht.contact_count();
    let planted = NodeId::from_bytes([0xee; 20]);
    let mut rng = StdRng::seed_from_u64(3);
    for (addr, _) in &nodes {
        for _ in 0..1_000 {
            let mut raw = *b"4:....";
            rng.fill_bytes(&mut raw[2..]);
            let mut bytes = Vec::new();
            encode::Reply::new(krpc::Tid::from_raw(&raw).unwrap(), planted).encode(&mut bytes);
            world.inject(0, PortIndex(0), *addr, &bytes);
        }
    }
    let engine = &world.engines[0];
    assert_eq!(engine.dht.counters().dropped_for(DropReason::Unsolicited) - before, 50_000);
    assert_eq!((engine.dht.counters().ids_changed, engine.dht.contact_count()), (0, contacts));
}

#[test]
fn ids_that_change_in_forged_queries_harm_nobody() {
    let mut world = World::new(83, 0.0);
    world.populate(60, |_| Nature::Sampling { interval: 300 });
    let bootstrap: Vec<_> = world.live().take(1).collect();
    world.add_engine(1, 2, bootstrap);
    world.run_for(60 * SECOND);
    let before = world.engines[0].dht.gauges();
    // Somebody sends queries in the name of every node, each with another id.
    let nodes: Vec<SocketAddr> = world.live().collect();
    for _ in 0..200 {
        for addr in &nodes {
            let bytes = query(b"aa", NodeId::random(&mut world.rng), Method::Ping);
            world.inject(0, PortIndex(0), *addr, &bytes);
        }
        world.run_for(SECOND);
    }
    let engine = &world.engines[0];
    let after = engine.dht.gauges();
    assert_eq!(
        (engine.dht.counters().ids_changed, engine.dht.counters().dropped_for(DropReason::Banned)),
        (0, 0)
    );
    assert_eq!(
        (after.nodes_live, after.contacts, after.nodes),
        (before.nodes_live, before.contacts, before.nodes)
    );
    engine.watch.assert_polite();
}

#[test]
fn a_token_is_good_for_nobody_else_nothing_else_and_no_longer() {
    let mut alone = Alone::new(Limits::home());
    let (hash, other_hash) = (InfoHash::from_bytes([0x31; 20]), InfoHash::from_bytes([0x32; 20]));
    let remote = |n: u8| SocketAddr::from(([140, n, 1, 1], 6_881));
    let token = alone.token(remote(1), hash).unwrap();
    assert!(alone.announce(remote(1), hash, &token));
    alone.wait(2 * SECOND);
    // Another port of the same IP is the same remote; another IP is not.
    assert!(alone.announce(SocketAddr::new(remote(1).ip(), 9), hash, &token));
    assert!(!alone.announce(remote(2), hash, &token));
    assert!(!alone.announce(remote(1), other_hash, &token));
    alone.wait(2 * SECOND);
    assert!(!alone.announce(remote(1), hash, b""));
    alone.wait(2 * SECOND);
    // Of another virtual node: the remote is answered by one of us only, so somebody else's node gives it.
    let far = InfoHash::from_bytes([0xc8; 20]);
    let mut by_node: HashMap<NodeId, Vec<u8>> = HashMap::new();
    for (n, hash) in [(3, hash), (4, far)] {
        let answer =
            alone.feed(remote(n), &query(b"aa", NodeId::from_bytes([9; 20]), get_peers(hash))).unwrap();
        let Kind::Reply(reply) = Message::parse(&answer).unwrap().kind else { panic!("an error") };
        by_node.insert(reply.id.unwrap(), reply.token.unwrap().to_vec());
    }
    assert_eq!(by_node.len(), 2, "two of us have answered");
    assert!(by_node.values().all(|token| !alone.announce(remote(5), hash, token)));
    // After two rotations it is worth nothing.
    alone.wait(Duration::from_secs(290));
    assert!(alone.announce(remote(1), hash, &token));
    alone.wait(Duration::from_secs(320));
    assert!(!alone.announce(remote(1), hash, &token));
    assert_eq!(alone.dht.counters().announces_refused, 3 + 2 + 1);
    assert_eq!(alone.dht.gauges().stored_hashes, 1);
}

#[test]
fn announces_of_seventy_thousand_hashes_keep_their_bounds_and_the_popular_ones() {
    let mut alone = Alone::new(Limits {
        packets_per_second: 100_000,
        stored_hashes_max: 2_000,
        nodes_max: 1_000,
        ..Limits::server()
    });
    let popular = InfoHash::from_bytes([0x31; 20]);
    for n in 0..20 {
        let peer = SocketAddr::from(([140, n, 1, 1], 6_881));
        let token = alone.token(peer, popular).unwrap();
        assert!(alone.announce(peer, popular, &token));
    }
    alone.wait(SECOND);
    // From 1,000 addresses, at the pace at which they are answered.
    let mut announced = 0;
    let used = allocation_counter::measure(|| {
        for _ in 0..70 {
            for n in 0..1_000_u32 {
                let peer = SocketAddr::from((Ipv4Addr::from_bits(0x8d00_0000 | n << 8 | 1), 6_881));
                let hash = InfoHash::random(&mut alone.rng);
                let Some(token) = alone.token(peer, hash) else { continue };
                announced += u32::from(alone.announce(peer, hash, &token));
                alone.sent.clear();
            }
            alone.wait(SECOND + 2 * MS);
            alone.sent.clear();
        }
    });
    let (gauges, counters) = (alone.dht.gauges(), alone.dht.counters());
    println!(
        "{announced} announced, {} kept, {} not kept, {} bytes",
        gauges.stored_hashes, counters.announces_not_kept, used.bytes_current
    );
    assert!(announced >= 69_000, "{announced}");
    assert!(gauges.stored_hashes <= 2_000 && used.bytes_current < 3_000_000, "{gauges:?} {used:?}");
    // Each address brought its share, and after that nothing was passed on either.
    assert_eq!(counters.hashes_announced, 20 + 1_000 * 64);
    assert_eq!(u64::from(announced), counters.hashes_announced - 20 + counters.announces_not_kept);
    let answer = alone.feed(
        "140.99.1.1:1".parse().unwrap(),
        &query(b"aa", NodeId::from_bytes([9; 20]), get_peers(popular)),
    );
    let answer = answer.unwrap();
    let Kind::Reply(reply) = Message::parse(&answer).unwrap().kind else { panic!("an error") };
    assert_eq!(reply.values.len(), 20);
}
