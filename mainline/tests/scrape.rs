//! Scrapes (BEP 33) in a simulated network: how many take part in a torrent.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod world;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use krpc::InfoHash;
use mainline::{LookupOutcome, LookupReport, Output, PacketUse, Scrape};
use rand::RngExt;
use world::{Lie, Nature, SECOND, World};

/// A network whose nodes lie with this chance, and an engine that has met them.
fn network(seed: u64, lying: f64) -> World {
    let mut world = World::new(seed, 0.0);
    world.populate(400, |rng| match rng.random_bool(lying) {
        true => Nature::Lying(Lie::Crowds),
        false => Nature::Sampling { interval: 3_600 },
    });
    let bootstrap: Vec<_> = world.live().take(3).collect();
    world.add_engine(2, 8, bootstrap);
    world.run_for(60 * SECOND);
    world
}

/// Has peers announce themselves to the eight closest nodes that store anything, but each to only five of them, as
/// announces go astray.
fn announce(world: &mut World, seeds: u32, downloaders: u32) -> (InfoHash, Vec<SocketAddr>) {
    let info_hash = InfoHash::random(&mut world.rng);
    let mut storing: Vec<usize> =
        (0..world.nodes.len()).filter(|index| world.nodes[*index].nature.samples()).collect();
    storing.sort_unstable_by_key(|index| world.nodes[*index].id.distance(&info_hash.as_id()));
    storing.truncate(8);
    for peer in 0..seeds + downloaders {
        let ip = IpAddr::V4(Ipv4Addr::from_bits(0x3d00_0000 + peer * 7));
        for n in 0..5 {
            let node = &mut world.nodes[storing[(peer as usize * 3 + n) % 8]];
            node.join(info_hash, (ip, 6_881).into(), peer < seeds);
        }
    }
    (info_hash, storing.into_iter().map(|index| world.nodes[index].addr).collect())
}

fn scrape(world: &mut World, info_hash: InfoHash, known: &[SocketAddr], whole: bool) -> LookupReport {
    world.scrape(0, info_hash, known, whole);
    world.run_for(Duration::from_secs(60));
    let report = *world.engines[0].found.done.last().unwrap();
    assert_eq!(report.info_hash, info_hash);
    report
}

fn assert_about(found: u32, truth: u32) {
    assert!(found.abs_diff(truth) * 100 <= truth * 6 + 100, "{found}, not about {truth}");
}

#[test]
fn a_whole_scrape_unites_what_the_closest_nodes_know() {
    let mut world = network(51, 0.0);
    for (seeds, downloaders) in [(3, 1), (40, 0), (300, 120), (2_000, 400)] {
        let (info_hash, storing) = announce(&mut world, seeds, downloaders);
        let report = scrape(&mut world, info_hash, &[], true);
        let Some(Scrape { seeds: s, downloaders: d, nodes, discarded, whole }) = report.scrape else {
            panic!("{report:?}")
        };
        assert_about(s, seeds);
        assert_about(d, downloaders);
        assert_eq!((nodes, discarded, whole), (storing.len() as u32, 0, true));
        assert_eq!((report.outcome, report.peers), (LookupOutcome::Converged, 0));
    }
    let engine = &world.engines[0];
    let counters = engine.dht.counters();
    assert_eq!((counters.scrapes_started, counters.scrapes_ended, counters.scrapes_answered), (4, 4, 4));
    assert_eq!((counters.lookups_started, engine.dht.gauges().scrapes), (0, 0));
    let asked: u32 = engine.found.done.iter().map(|report| report.asked).sum();
    assert_eq!(counters.sent_for(PacketUse::Scrapes), u64::from(asked));
    assert_eq!(counters.sent_for.iter().sum::<u64>(), counters.sent.packets);
    engine.watch.assert_polite();
}

#[test]
fn a_scrape_of_known_nodes_takes_a_packet_each_and_says_that_it_is_not_whole() {
    let mut world = network(52, 0.0);
    let (info_hash, storing) = announce(&mut world, 200, 50);
    let report = scrape(&mut world, info_hash, &storing[..3], false);
    let found = report.scrape.unwrap();
    assert_eq!((report.asked, report.answered, found.nodes, found.whole), (3, 3, 3, false));
    // Three of eight nodes, each with five eighths of the peers.
    assert!((150..=200).contains(&found.seeds) && (30..=52).contains(&found.downloaders), "{found:?}");

    // Nodes that store nothing say nothing: no estimate, rather than an empty swarm.
    let strangers: Vec<SocketAddr> = world.live().filter(|addr| !storing.contains(addr)).take(2).collect();
    let report = scrape(&mut world, info_hash, &strangers, false);
    assert_eq!((report.answered, report.scrape), (2, None));
}

#[test]
fn liars_among_the_closest_nodes_change_little() {
    let mut world = network(53, 0.2);
    let mut discarded = 0;
    for truth in [20, 60, 200, 500, 900] {
        let (info_hash, _) = announce(&mut world, truth, truth / 4);
        let report = scrape(&mut world, info_hash, &[], true);
        let found = report.scrape.unwrap();
        discarded += found.discarded;
        assert!(found.seeds.abs_diff(truth) * 10 <= truth + 20, "{found:?}, not about {truth}");
        assert!(found.nodes >= 4);
    }
    assert!(discarded >= 5, "there were liars among the closest: {discarded}");
    let counters = world.engines[0].dht.counters();
    assert_eq!(counters.filters_discarded, u64::from(discarded));
    assert!(counters.filters_discarded < counters.filters_taken);
}

#[test]
fn a_lookup_for_peers_asks_for_filters_only_once_it_has_plenty_of_peers() {
    let mut world = network(54, 0.0);
    let scraped = |world: &World| world.nodes.iter().map(|node| u64::from(node.asked.scrape)).sum::<u64>();
    // Few peers: every packet has to ask for them, since an answer has either peers or filters.
    let (few, _) = announce(&mut world, 10, 10);
    world.find_peers(0, few, &[]);
    world.run_for(30 * SECOND);
    assert_eq!(scraped(&world), 0);
    assert_eq!(world.engines[0].found.peers[&few].len(), 20);
    assert_eq!(world.engines[0].found.done[0].scrape, None);
    // Plenty: the first answers have more than a fetch uses.
    let (many, _) = announce(&mut world, 60, 20);
    world.find_peers(0, many, &[]);
    world.run_for(30 * SECOND);
    let report = world.engines[0].found.done[1];
    let found = report.scrape.unwrap();
    assert!(report.peers >= 32 && !found.whole, "{report:?}");
    assert_eq!(u64::from(found.nodes), scraped(&world));
    assert!((35..=64).contains(&found.seeds), "{found:?}");
    // It costs no packet.
    assert_eq!(world.engines[0].dht.counters().sent_for(PacketUse::Scrapes), 0);
}

#[test]
fn scrapes_are_bounded_and_can_be_given_up() {
    let mut world = network(55, 0.0);
    let now = world.now;
    let mut out = Output::new();
    let hashes: Vec<InfoHash> = (0..100).map(|_| InfoHash::random(&mut world.rng)).collect();
    let dht = &mut world.engines[0].dht;
    let started: Vec<_> =
        hashes.iter().filter_map(|hash| dht.scrape(now, *hash, &[], true, &mut out).ok()).collect();
    assert_eq!((started.len(), dht.gauges().scrapes), (64, 64));
    assert_eq!(dht.counters().scrapes_refused, 36);
    for id in started {
        dht.cancel(id);
    }
    assert_eq!(dht.gauges().scrapes, 0);
    assert!(dht.scrape(now, hashes[0], &[], false, &mut out).is_ok());
}
