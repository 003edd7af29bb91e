//! Lookups in a simulated network.

mod world;

use std::net::SocketAddr;
use std::time::Duration;

use krpc::InfoHash;
use mainline::{Busy, LookupOutcome, Output, Priority};
use rand::RngExt;
use world::{Nature, SECOND, World};

fn network(seed: u64, nodes: usize, dead: f64, loss: f64, torrents: usize) -> World {
    let mut world = World::new(seed, loss);
    world.populate(nodes, |rng| {
        if rng.random_bool(dead) { Nature::Dead } else { Nature::Sampling { interval: 3_600 } }
    });
    world.announce_torrents(torrents);
    let bootstrap: Vec<_> = world.live().take(3).collect();
    world.add_engine(2, 8, bootstrap);
    world
}

#[test]
fn lookups_find_the_peers_in_a_network_with_dead_contacts_and_loss() {
    let mut world = network(11, 800, 0.3, 0.2, 200);
    // Before the sweep has visited all: a lookup has to find its way.
    world.run_for(2 * SECOND);
    let hashes: Vec<InfoHash> = world.truth.keys().copied().collect();
    for hash in &hashes {
        world.find_peers(0, *hash, &[]);
    }
    world.run_for(Duration::from_secs(90));
    let found = &world.engines[0].found;
    assert_eq!(found.done.len(), hashes.len());
    let complete = hashes
        .iter()
        .filter(|hash| {
            let mut peers: Vec<SocketAddr> =
                found.peers.get(*hash).into_iter().flatten().map(|peer| peer.addr).collect();
            peers.sort_unstable();
            peers == world.truth[*hash].peers
        })
        .count();
    assert!(complete * 100 >= hashes.len() * 99, "{complete} of {}", hashes.len());
    let most = found.done.iter().map(|report| report.asked).max().unwrap();
    let mean = found.done.iter().map(|report| report.asked).sum::<u32>() / hashes.len() as u32;
    assert!(most <= 96 && mean <= 40, "{most} {mean}");
    assert!(found.done.iter().all(|report| report.ended - report.started <= Duration::from_secs(60)));
    world.engines[0].watch.assert_polite();
    println!("{complete} of {}, at most {most} queries, {mean} in the mean", hashes.len());
}

#[test]
fn a_lookup_asks_the_closest_nodes_of_the_whole_network() {
    let mut world = network(12, 600, 0.0, 0.0, 0);
    world.run_for(60 * SECOND);
    for _ in 0..20 {
        let hash = InfoHash::random(&mut world.rng);
        let before: Vec<u32> = world.nodes.iter().map(|node| node.asked.get_peers).collect();
        world.find_peers(0, hash, &[]);
        world.run_for(20 * SECOND);
        let mut order: Vec<usize> = (0..world.nodes.len()).collect();
        order.sort_unstable_by_key(|index| world.nodes[*index].id.distance(&hash.as_id()));
        let asked =
            order[..8].iter().filter(|index| world.nodes[**index].asked.get_peers > before[**index]).count();
        assert_eq!(asked, 8);
        let report = world.engines[0].found.done.last().unwrap();
        assert_eq!((report.outcome, report.peers), (LookupOutcome::Converged, 0));
        assert!(report.asked <= 16, "{}", report.asked);
    }
    let population = world.engines[0].dht.gauges().population;
    assert!((400..900).contains(&population), "{population}");
}

#[test]
fn the_node_that_sampled_a_hash_is_asked_first_and_one_packet_is_enough() {
    let mut world = network(13, 300, 0.0, 0.0, 50);
    world.run_for(60 * SECOND);
    let hints: Vec<(InfoHash, SocketAddr)> = world
        .truth
        .keys()
        .map(|hash| (*hash, world.nodes.iter().find(|node| node.stores(hash)).unwrap().addr))
        .collect();
    for (hash, hint) in &hints {
        world.find_peers(0, *hash, &[*hint]);
    }
    world.run_for(60 * SECOND);
    let found = &world.engines[0].found;
    assert_eq!(found.done.len(), 50);
    for report in &found.done {
        assert_eq!((report.outcome, report.asked, report.peers), (LookupOutcome::Hinted, 1, 3));
    }
    assert_eq!(world.engines[0].dht.counters().lookups_hinted, 50);
    world.engines[0].watch.assert_polite();
}

#[test]
fn a_hint_that_leads_nowhere_is_followed_by_a_search() {
    let mut world = network(14, 300, 0.0, 0.0, 10);
    world.run_for(60 * SECOND);
    let hashes: Vec<InfoHash> = world.truth.keys().copied().collect();
    let dead: SocketAddr = "64.9.9.9:1".parse().unwrap();
    for hash in &hashes {
        let ignorant = world.nodes.iter().find(|node| !node.stores(hash)).unwrap().addr;
        world.find_peers(0, *hash, &[dead, ignorant]);
    }
    world.run_for(60 * SECOND);
    let found = &world.engines[0].found;
    assert_eq!(found.done.len(), 10);
    assert!(found.done.iter().all(|report| report.peers == 3 && report.outcome == LookupOutcome::Converged));
}

#[test]
fn many_hashes_of_one_node_wait_for_its_budget_and_do_not_hold_up_others() {
    let mut world = network(15, 300, 0.0, 0.0, 0);
    let busy = world.nodes[7].addr;
    let hashes: Vec<InfoHash> = (0..20).map(|_| InfoHash::random(&mut world.rng)).collect();
    let peer: SocketAddr = "64.1.1.9:1234".parse().unwrap();
    for hash in &hashes {
        world.announce(7, *hash, vec![peer]);
    }
    let other = InfoHash::random(&mut world.rng);
    world.announce(8, other, vec![peer]);
    let hint = world.nodes[8].addr;
    world.run_for(30 * SECOND);
    let started = world.now;
    for hash in &hashes {
        world.find_peers(0, *hash, &[busy]);
    }
    world.find_peers(0, other, &[hint]);
    world.run_for(5 * SECOND);
    assert!(world.engines[0].found.peers.contains_key(&other));
    let early = world.engines[0].found.done.len();
    assert!((4..=10).contains(&early), "{early}");
    assert!(world.run_until(started + 30 * SECOND, |world| world.engines[0].found.done.len() == 21));
    assert!(world.engines[0].found.done.iter().all(|report| report.outcome == LookupOutcome::Hinted));
    world.engines[0].watch.assert_polite();
}

#[test]
fn a_sample_helps_a_lookup_that_is_stuck_among_many() {
    // Eight nodes, and so many hopeless lookups that all of their budgets are used up for minutes.
    let mut world = World::new(18, 0.0);
    world.populate(8, |_| Nature::Sampling { interval: 3_600 });
    let bootstrap: Vec<_> = world.live().take(2).collect();
    world.add_engine(1, 4, bootstrap);
    world.run_for(20 * SECOND);
    let wanted = InfoHash::random(&mut world.rng);
    let hopeless: Vec<InfoHash> = (0..100).map(|_| InfoHash::random(&mut world.rng)).collect();
    for hash in hopeless.iter().chain([&wanted]) {
        world.find_peers(0, *hash, &[]);
    }
    world.run_for(5 * SECOND);
    let by = world.nodes[3].addr;
    world.announce(3, wanted, vec!["64.1.1.9:1234".parse().unwrap()]);
    // Asking for it again hands over the node as a sample does.
    world.find_peers(0, wanted, &[by]);
    let found = |world: &World| world.engines[0].found.peers.contains_key(&wanted);
    assert!(world.run_until(world.now + 4 * SECOND, found));
    world.run_for(120 * SECOND);
    let done = &world.engines[0].found.done;
    assert_eq!(done.len(), 101);
    // What ends for want of time is told from what was looked for everywhere.
    let timed_out = done.iter().filter(|report| report.outcome == LookupOutcome::TimedOut).count();
    assert!((20..100).contains(&timed_out), "{timed_out}");
    world.engines[0].watch.assert_polite();
}

#[test]
fn lookups_are_bounded_and_the_surplus_is_refused() {
    let mut world = World::new(16, 0.0);
    world.populate(100, |_| Nature::Sampling { interval: 60 });
    let bootstrap: Vec<_> = world.live().take(1).collect();
    world.add_engine_with(1, 2, bootstrap, |config| {
        config.limits.lookups_max = 3;
        config.limits.lookups_waiting_max = 5;
    });
    world.run_for(20 * SECOND);
    let mut out = Output::new();
    let now = world.now;
    let hashes: Vec<InfoHash> = (0..10).map(|_| InfoHash::random(&mut world.rng)).collect();
    let dht = &mut world.engines[0].dht;
    let results: Vec<_> =
        hashes.iter().map(|hash| dht.find_peers(now, *hash, &[], Priority::Normal, &mut out)).collect();
    assert!(results[..8].iter().all(Result::is_ok));
    assert_eq!(results[8..], [Err(Busy), Err(Busy)]);
    assert_eq!(dht.gauges().lookups, 3);
    assert_eq!(dht.gauges().lookups_waiting, 5);
    assert_eq!(dht.counters().lookups_refused, 2);
    // The same hash again is the same lookup.
    assert_eq!(dht.find_peers(now, hashes[0], &[], Priority::User, &mut out), results[0]);
    // A cancelled one makes room.
    dht.cancel(results[0].unwrap());
    assert!(dht.find_peers(now, hashes[9], &[], Priority::Normal, &mut out).is_ok());
    world.run_for(60 * SECOND);
    assert_eq!(world.engines[0].found.done.len(), 8);
    assert_eq!(world.engines[0].dht.gauges().lookups, 0);
}

#[test]
fn swapped_ports_of_rtorrent_come_with_their_alternative() {
    let mut world = World::new(17, 0.0);
    world.populate(30, |_| Nature::Refusing);
    let hash = InfoHash::random(&mut world.rng);
    let peer: SocketAddr = "64.1.1.9:6881".parse().unwrap();
    for index in 0..30 {
        world.announce(index, hash, vec![peer]);
    }
    let bootstrap: Vec<_> = world.live().take(1).collect();
    world.add_engine(1, 1, bootstrap);
    world.run_for(10 * SECOND);
    world.find_peers(0, hash, &[]);
    world.run_for(20 * SECOND);
    let peers = &world.engines[0].found.peers[&hash];
    assert_eq!(peers.len(), 1);
    assert_eq!(peers[0].addr.port(), 6_881_u16.swap_bytes());
    assert_eq!(peers[0].alternative, Some(peer));
}
