//! The nodes of a swarm as a stranger finds them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use client::{Contact, Dht, SILENCE, Value, contacts, distance, samples, string, values};
use swarm::{Swarm, SwarmConfig};

fn start(config: SwarmConfig) -> Swarm {
    Swarm::start(config).unwrap()
}

fn small() -> SwarmConfig {
    SwarmConfig { nodes: 120, torrents: 60, ..SwarmConfig::default() }
}

fn live(swarm: &Swarm) -> HashMap<SocketAddr, [u8; 20]> {
    swarm.nodes().map(|(id, addr)| (addr, *id.as_bytes())).collect()
}

/// Asks the nearest known node that was not asked yet until the eight nearest live ones all were.
fn lookup(dht: &mut Dht, swarm: &Swarm, target: &[u8; 20]) -> (Vec<Contact>, usize) {
    let live = live(swarm);
    let start = swarm.bootstrap().into_iter().map(|addr| Contact { id: live[&addr], addr });
    let mut known: BTreeSet<([u8; 20], Contact)> = start.map(|c| (distance(&c.id, target), c)).collect();
    let mut asked = HashSet::new();
    loop {
        // The dead are told apart by the truth, to not wait for each.
        let nearest: Vec<_> =
            known.iter().filter(|(_, c)| live.contains_key(&c.addr)).take(8).map(|(_, c)| *c).collect();
        let Some(next) = nearest.iter().find(|c| asked.insert(c.addr)) else {
            return (nearest, asked.len());
        };
        let reply = dht.find_node(next.addr, target);
        assert_eq!(reply.get("id").unwrap().bytes(), next.id, "a node is who others said it is");
        known.extend(contacts(&reply).into_iter().map(|c| (distance(&c.id, target), c)));
    }
}

#[test]
fn nodes_that_give_samples_answer_a_scrape_with_filters_instead_of_peers() {
    let swarm = start(small());
    let mut dht = Dht::new("127.0.21.9");
    let (mut scraped, mut others) = (0, 0);
    for torrent in swarm.torrents().take(20) {
        let hash = *torrent.v1.unwrap_or_else(|| krpc::InfoHash::from_bytes([0; 20])).as_bytes();
        for (_, addr) in swarm.nodes().take(40) {
            let peers = values(&dht.get_peers(addr, &hash));
            if peers.is_empty() {
                continue;
            }
            let arguments = [b"9:info_hash", &string(&hash)[..], b"6:scrapei1e"].concat();
            let reply = dht.ask(addr, "get_peers", &arguments);
            match reply.get("BFsd") {
                Some(seeds) => {
                    let filter = krpc::bloom::BloomFilter::from_bytes(seeds.bytes().try_into().unwrap());
                    assert!(peers.iter().all(|peer| filter.may_contain(peer.ip())));
                    assert_eq!(filter.estimate().round() as usize, peers.len());
                    assert_eq!(values(&reply), []);
                    scraped += 1;
                }
                None => {
                    assert_eq!(values(&reply), peers);
                    others += 1;
                }
            }
        }
    }
    assert!(scraped > others && others > 0, "{scraped} {others}");
    assert_eq!(swarm.stats().scrapes, scraped);
}

#[test]
fn a_lookup_from_anywhere_ends_at_the_nearest_nodes() {
    let swarm = start(SwarmConfig { nodes: 1_500, torrents: 0, ..SwarmConfig::default() });
    let mut dht = Dht::new("127.0.21.1");
    for probe in 0..10u8 {
        let target = [probe.wrapping_mul(77) ^ 0x35; 20];
        let mut truth: Vec<_> = swarm.nodes().map(|(id, _)| distance(id.as_bytes(), &target)).collect();
        truth.sort_unstable();
        let (nearest, asked) = lookup(&mut dht, &swarm, &target);
        let found: Vec<_> = nearest.iter().map(|c| distance(&c.id, &target)).collect();
        assert_eq!(found[..3], truth[..3], "the nearest three are found");
        let also = found.iter().filter(|d| truth[..8].contains(d)).count();
        assert!(also >= 6, "{also} of the nearest eight are found");
        assert!((9..80).contains(&asked), "{asked} nodes were asked");
    }
}

#[test]
fn every_query_is_answered_by_the_node_itself() {
    let swarm = start(small());
    let mut dht = Dht::new("127.0.21.2");
    for (id, addr) in swarm.nodes() {
        let answer = dht.ask_within(addr, "ping", b"", client::PATIENCE).unwrap();
        assert_eq!(answer.get("y").unwrap().bytes(), b"r");
        assert_eq!(answer.get("r").unwrap().get("id").unwrap().bytes(), id.as_bytes());
        assert_eq!(client::endpoint(answer.get("ip").unwrap().bytes()), dht.local());
        assert!(answer.get("v").is_none_or(|v| v.bytes().len() == 4));
    }
    assert_eq!((swarm.stats().pings, swarm.stats().answers), (120, 120));
}

#[test]
fn the_dead_are_silent() {
    let swarm = start(small());
    let live = live(&swarm);
    let mut dht = Dht::new("127.0.21.3");
    let some = swarm.bootstrap()[0];
    let told: Vec<_> = (0..40u8).flat_map(|n| contacts(&dht.find_node(some, &[n * 6; 20]))).collect();
    let dead = told.iter().find(|c| !live.contains_key(&c.addr)).expect("some contact is dead");
    assert_eq!(dht.ask_within(dead.addr, "ping", b"", SILENCE), None);
    assert_eq!(
        dht.ask_within(SocketAddr::new([127, 0, 9, 9].into(), swarm.dht_port()), "ping", b"", SILENCE),
        None
    );
    assert_eq!(swarm.stats().to_the_dead, 2);
}

#[test]
fn all_hashes_come_out_of_samples_and_resolve_at_the_sampler() {
    let swarm = start(small());
    let truth: HashSet<[u8; 20]> =
        swarm.torrents().flat_map(|t| t.dht_keys().map(|k| *k.as_bytes()).collect::<Vec<_>>()).collect();
    let mut dht = Dht::new("127.0.21.4");
    let mut seen = HashSet::new();
    let (mut silent, mut errors) = (0, 0);
    for (id, addr) in swarm.nodes() {
        match dht.sample(addr, id.as_bytes()) {
            None => silent += 1,
            Some(Err(code)) => {
                assert_eq!(code, 204);
                errors += 1;
            }
            Some(Ok(reply)) => {
                assert_eq!(reply.get("interval").unwrap().int(), 5);
                assert!(!contacts(&reply).is_empty());
                let (num, samples) = (reply.get("num").unwrap().int(), samples(&reply));
                assert_eq!(samples.len() as i64, num.min(20));
                for hash in samples {
                    if seen.insert(hash) {
                        let peers = values(&dht.get_peers(addr, &hash));
                        let index = swarm.torrents().find(|t| t.dht_keys().any(|k| *k.as_bytes() == hash));
                        let seeders: Vec<_> = swarm.seeders(index.unwrap().index).collect();
                        assert_eq!(peers, seeders);
                    }
                }
            }
        }
    }
    assert_eq!(seen, truth);
    assert!((4..24).contains(&silent) && (4..24).contains(&errors), "{silent} silent, {errors} errors");
    let stats = swarm.stats();
    assert_eq!(stats.samples_unsupported, silent + errors);
    assert_eq!(stats.get_peers_with_values, truth.len() as u64);
}

#[test]
fn samples_repeat_within_the_interval() {
    let interval = Duration::from_secs(21_600);
    let config = SwarmConfig { nodes: 4, torrents: 200, sample_interval: interval, ..SwarmConfig::default() };
    let swarm = start(SwarmConfig { without_sampling_share: 0.0, stale_share: 0.0, ..config });
    let mut dht = Dht::new("127.0.21.5");
    let node = swarm.bootstrap()[0];
    let first = dht.sample(node, &[0; 20]).unwrap().unwrap();
    assert_eq!(first.get("interval").unwrap().int(), 21_600);
    assert!(first.get("num").unwrap().int() >= 200, "all four nodes store every hash");
    assert_eq!(samples(&first).len(), 20);
    assert_eq!(samples(&dht.sample(node, &[9; 20]).unwrap().unwrap()), samples(&first));
}

#[test]
fn samples_change_when_the_interval_is_over() {
    let config =
        SwarmConfig { nodes: 4, torrents: 200, sample_interval: Duration::ZERO, ..SwarmConfig::default() };
    let swarm = start(SwarmConfig { without_sampling_share: 0.0, flood_limit: 0, ..config });
    let mut dht = Dht::new("127.0.21.6");
    let node = swarm.bootstrap()[0];
    let mut seen = HashSet::new();
    // 20 of about 220 at a time: what is not seen after 200 drawings is not drawn.
    for _ in 0..200 {
        seen.extend(samples(&dht.sample(node, &[0; 20]).unwrap().unwrap()));
    }
    let keys: usize = swarm.torrents().map(|t| t.dht_keys().count()).sum();
    assert_eq!(seen.len(), keys);
}

#[test]
fn rtorrents_have_the_bytes_of_ports_the_wrong_way_round() {
    let config = SwarmConfig {
        nodes: 8,
        torrents: 3,
        without_sampling_share: 1.0,
        stale_share: 0.0,
        ..SwarmConfig::default()
    };
    let swarm = start(config);
    let mut dht = Dht::new("127.0.21.11");
    let hash = *swarm.torrent(0).dht_keys().next().unwrap().as_bytes();
    let truth: Vec<_> = swarm.seeders(0).collect();
    let swapped: Vec<_> = truth.iter().map(|p| SocketAddr::new(p.ip(), p.port().swap_bytes())).collect();
    let mut rtorrents = 0;
    for (_, addr) in swarm.nodes() {
        let arguments = [b"9:info_hash", &string(&hash)[..]].concat();
        let answer = dht.ask_within(addr, "get_peers", &arguments, client::PATIENCE).unwrap();
        let is_rtorrent = answer.get("v").is_some_and(|v| v.bytes() == b"lt\x0d\x80");
        rtorrents += u8::from(is_rtorrent);
        assert_eq!(values(answer.get("r").unwrap()), if is_rtorrent { &swapped[..] } else { &truth[..] });
    }
    assert!((1..8).contains(&rtorrents), "{rtorrents}");
}

#[test]
fn an_announce_takes_the_token_of_its_node() {
    let swarm = start(small());
    let mut dht = Dht::new("127.0.21.7");
    let node = swarm.bootstrap()[0];
    let hash = [0x42; 20];
    let reply = dht.get_peers(node, &hash);
    assert!(values(&reply).is_empty());
    let token = reply.get("token").unwrap().bytes().to_vec();
    let announce = |port: u16, implied: u8, token: &[u8]| {
        let tail = format!("4:porti{port}e5:token");
        let head = format!("12:implied_porti{implied}e9:info_hash");
        [head.as_bytes(), &string(&hash), tail.as_bytes(), &string(token)].concat()
    };
    let error = |answer: Value| answer.get("e").unwrap().list()[0].int();
    let mut ask =
        |arguments: Vec<u8>| dht.ask_within(node, "announce_peer", &arguments, client::PATIENCE).unwrap();
    assert_eq!(error(ask(announce(5_000, 0, b"nonsense"))), 203);
    assert_eq!(error(ask(announce(0, 0, &token))), 203);
    assert!(ask(announce(5_000, 0, &token)).get("r").is_some());
    assert!(ask(announce(5_000, 1, &token)).get("r").is_some());
    let local = dht.local();
    let peers = values(&dht.get_peers(node, &hash));
    assert_eq!(peers, [SocketAddr::new(local.ip(), 5_000), local]);
    let stats = swarm.stats();
    assert_eq!((stats.announces, stats.announces_refused, stats.malformed), (2, 1, 1));
}

#[test]
fn what_is_no_query_gets_no_answer_and_is_counted() {
    let swarm = start(small());
    let mut dht = Dht::new("127.0.21.8");
    let node = swarm.bootstrap()[0];
    for junk in [&b"hello"[..], b"", b"d1:rd2:id20:aaaaaaaaaaaaaaaaaaaae1:t4:aaaa1:y1:re"] {
        assert_eq!(dht.exchange(node, junk, SILENCE), None);
    }
    let answer = dht.ask_within(node, "vote", b"", client::PATIENCE).unwrap();
    assert_eq!(answer.get("e").unwrap().list()[0].int(), 204);
    let near = dht.ask(node, "get", &[b"6:target", &string(&[7; 20])[..]].concat());
    assert!(!contacts(&near).is_empty(), "a query for something near a target is answered with what is near");
    let stats = swarm.stats();
    assert_eq!((stats.malformed, stats.unasked_replies, stats.other_queries), (2, 1, 2));
}

#[test]
fn who_floods_a_node_is_ignored_by_it_and_only_by_it() {
    let swarm = start(small());
    let mut dht = Dht::new("127.0.21.9");
    let [victim, other] = swarm.bootstrap()[..2] else { panic!("two nodes") };
    for _ in 0..49 {
        dht.ask(victim, "ping", b"");
    }
    assert_eq!(dht.ask_within(victim, "ping", b"", SILENCE), None);
    assert_eq!(dht.ask_within(victim, "ping", b"", SILENCE), None);
    dht.ask(other, "ping", b"");
    assert!(Dht::new("127.0.21.10").ask_within(victim, "ping", b"", client::PATIENCE).is_some());
    let stats = swarm.stats();
    assert_eq!((stats.floods, stats.ignored_flood, stats.peak_per_ten_seconds), (1, 2, 50));
}
