//! Networks of fakes: nodes that name only each other, and nodes that name what is not there. For hours, and who they let go.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod world;

use std::net::SocketAddr;
use std::time::Duration;

use krpc::InfoHash;
use mainline::{KnownNode, Limits, Support};
use rand::RngExt;
use world::{Lie, Nature, Node, SECOND, World};

const HOUR: Duration = Duration::from_secs(3_600);

fn visited(world: &World, nodes: &[SocketAddr]) -> usize {
    nodes.iter().filter(|addr| world.engines[0].found.replied.contains(addr)).count()
}

#[test]
fn a_network_of_nodes_that_name_only_each_other_is_left_when_a_way_out_is_there() {
    let mut world = World::new(91, 0.05);
    world.populate(450, |_| Nature::Sampling { interval: 600 });
    world.announce_torrents(200);
    // The first 150 are a clique, though all others know them.
    let clique: Vec<usize> = (0..150).collect();
    for index in &clique {
        let others: Vec<usize> = (1..=60).map(|step| (index + step * 7) % 150).collect();
        world.set_table(*index as u32, &others);
    }
    let honest: Vec<SocketAddr> = world.nodes[150..].iter().map(|node| node.addr).collect();
    // The engine knows one of the clique, and one who is not there for three hours.
    let (fake, door) = (world.nodes[0].addr, 300);
    world.nodes[door].nature = Nature::Dead;
    let bootstrap = vec![fake, world.nodes[door].addr];
    world.add_engine_with(1, 4, bootstrap, |config| {
        config.limits = Limits { nodes_max: 2_000, ..Limits::home() }
    });
    world.run_for(3 * HOUR);
    assert_eq!(visited(&world, &honest), 0, "nobody leads to them");
    assert!(world.engines[0].dht.gauges().nodes_live >= 148);
    let asked = world.nodes[door].asked.total();
    assert_eq!(asked, 0, "the dead hear nothing");
    world.nodes[door].nature = Nature::Sampling { interval: 600 };
    world.run_for(HOUR);
    let found = world.truth.keys().filter(|hash| world.engines[0].found.sampled.contains(*hash)).count();
    let seen = visited(&world, &honest);
    println!("{seen} of {} honest nodes and {found} of 200 hashes an hour after", honest.len());
    assert!(seen * 100 >= honest.len() * 99, "{seen} of {}", honest.len());
    assert!(found >= 196, "{found}");
    world.engines[0].watch.assert_polite();
}

#[test]
fn while_only_liars_answer_little_is_sent_and_the_honest_are_found_when_they_are_back() {
    let mut world = World::new(92, 0.05);
    world.populate(400, |rng| {
        if rng.random_bool(0.25) {
            Nature::Lying(Lie::Neighbours)
        } else {
            Nature::Sampling { interval: 600 }
        }
    });
    let honest: Vec<usize> = (0..400).filter(|index| world.nodes[*index].nature.answers()).collect();
    let addrs: Vec<SocketAddr> = honest.iter().map(|index| world.nodes[*index].addr).collect();
    let bootstrap = addrs[..2].to_vec();
    world.add_engine_with(1, 4, bootstrap, |config| {
        config.limits = Limits { nodes_max: 3_000, ..Limits::home() }
    });
    world.run_for(HOUR / 3);
    assert!(visited(&world, &addrs) * 100 >= addrs.len() * 98);
    honest.iter().for_each(|index| world.nodes[*index].nature = Nature::Dead);
    let before = world.engines[0].watch.queries;
    world.run_for(3 * HOUR);
    let (queries, gauges) = (world.engines[0].watch.queries - before, world.engines[0].dht.gauges());
    println!("{queries} queries in three hours, {gauges:?}, {} reseeds", world.engines[0].found.reseeds);
    assert!(gauges.nodes <= 3_000);
    assert!(world.engines[0].found.reseeds > 0);
    honest.iter().for_each(|index| world.nodes[*index].nature = Nature::Sampling { interval: 600 });
    world.engines[0].found.replied.clear();
    world.run_for(HOUR);
    let first = visited(&world, &addrs);
    // Who was silent three times is visited once in an epoch of six hours.
    world.run_for(6 * HOUR);
    let seen = visited(&world, &addrs);
    println!("{first} of {} an hour after, {seen} six hours later", addrs.len());
    assert!(first * 100 >= addrs.len() * 70, "{first} of {}", addrs.len());
    assert!(seen * 100 >= addrs.len() * 98, "{seen} of {}", addrs.len());
    world.engines[0].watch.assert_polite();
}

#[test]
fn fakes_around_a_hash_do_not_hide_its_peers() {
    let mut world = World::new(93, 0.0);
    world.populate(500, |_| Nature::Sampling { interval: 3_600 });
    world.announce_torrents(40);
    let hashes: Vec<InfoHash> = world.truth.keys().copied().collect();
    let bootstrap: Vec<_> = world.live().take(2).collect();
    world.add_engine(1, 4, bootstrap);
    world.run_for(60 * SECOND);
    // Twenty fakes next to each hash, in two networks, all of which the engine has met in an earlier run.
    for (n, hash) in (0_u8..).zip(&hashes) {
        let first = world.nodes.len();
        let group: Vec<usize> = (first..first + 20).collect();
        for host in 0..20_u8 {
            let id = hash.as_id().with_random_suffix(40, &mut world.rng);
            let addr = SocketAddr::from(([170 + host % 2, 1, n, 1 + host], 6_881));
            world.add_node(Node::new(id, addr, Nature::Sampling { interval: 3_600 }), &group);
            let node = KnownNode {
                id,
                addr,
                freshness: 10,
                missed: 0,
                support: Support::Yes,
                version: None,
                num: None,
                interval: None,
                sampled_ago: None,
            };
            let now = world.now;
            assert!(world.engines[0].dht.add_known(now, &node));
        }
        for index in &group {
            world.set_table(*index as u32, &group);
        }
    }
    world.run_for(120 * SECOND);
    for hash in &hashes {
        world.find_peers(0, *hash, &[]);
    }
    world.run_for(90 * SECOND);
    let found = &world.engines[0].found;
    let complete = hashes.iter().filter(|hash| found.peers.contains_key(*hash)).count();
    println!("peers of {complete} of {}", hashes.len());
    assert!(complete * 100 >= hashes.len() * 97, "{complete} of {}", hashes.len());
    world.engines[0].watch.assert_polite();
}

#[test]
fn neighbours_that_are_not_there_hide_no_peers() {
    let share = |lying: f64| {
        let mut world = World::new(94, 0.1);
        world.populate(800, |rng| match rng.random_bool(lying) {
            true if rng.random_bool(0.5) => Nature::Lying(Lie::Neighbours),
            true => Nature::Lying(Lie::Oversized),
            false => Nature::Sampling { interval: 3_600 },
        });
        world.announce_torrents(150);
        let hashes: Vec<InfoHash> = world.truth.keys().copied().collect();
        let bootstrap: Vec<_> = world.live().take(3).collect();
        world.add_engine(1, 4, bootstrap);
        // Some are asked for before the liars have been visited, some after.
        world.run_for(2 * SECOND);
        for hash in &hashes[..75] {
            world.find_peers(0, *hash, &[]);
        }
        world.run_for(300 * SECOND);
        for hash in &hashes[75..] {
            world.find_peers(0, *hash, &[]);
        }
        world.run_for(90 * SECOND);
        let found = &world.engines[0].found;
        let done =
            |at: usize| hashes[at..at + 75].iter().filter(|hash| found.peers.contains_key(*hash)).count();
        let asked = found.done.iter().map(|report| report.asked).sum::<u32>() / found.done.len() as u32;
        println!("{lying}: {} and {} of 75, {asked} queries in the mean", done(0), done(75));
        done(0) + done(75)
    };
    let (honest, lied_to) = (share(0.0), share(0.2));
    assert!(lied_to * 100 >= honest * 98, "{lied_to} against {honest}");
}
