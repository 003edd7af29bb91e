//! What a sweep over a network costs: packets for each live node, and who is missed for that.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod world;

use std::time::Duration;

use world::{Network, Node, SECOND, Scene, World};

/// 3,000 live nodes of all clients, two distinct dead endpoints for three of them, three in ten known to their neighbours
/// only, one exchange in ten lost. Nobody tells us of himself.
fn scene(seed: u64) -> Scene {
    Scene {
        seed,
        nodes: 3_000,
        ipv6: 0.0,
        stale: 2.0 / (2.0 + 3.0 * 0.7),
        newcomers: 0.3,
        network: Network::with_loss(1.0 - 0.9_f64.sqrt()),
        torrents: 1_500,
        upkeep: false,
        ..Scene::default()
    }
}

/// Share of the open nodes that have answered a visit.
fn visited(world: &World, wanted: fn(&Node) -> bool) -> f64 {
    let open: Vec<&Node> = world.nodes.iter().filter(|node| node.is_open() && wanted(node)).collect();
    let seen = open.iter().filter(|node| world.engines[0].found.replied.contains(&node.addr)).count();
    seen as f64 / open.len() as f64
}

#[test]
fn a_sweep_visits_nearly_all_live_nodes_with_fewer_than_three_packets_each() {
    let mut world = World::stage(&scene(1));
    let open = world.live().count() as f64;
    assert_eq!(open, 3_000.0);
    let dead = world.nodes.iter().filter(|node| !node.is_open()).count();
    assert!((1_990..=2_010).contains(&dead), "{dead}");
    let bootstrap = world.nodes.iter().filter(|node| node.is_open() && !node.newcomer);
    let bootstrap: Vec<_> = bootstrap.map(|node| node.addr).take(3).collect();
    world.add_engine_with(1, 8, bootstrap, |config| config.limits.packets_per_second = 300);
    let end = world.now + 300 * SECOND;
    assert!(world.run_until(end, |world| world.engines[0].dht.sweep_progress().finished));
    let (live, newcomers) = (visited(&world, |_| true), visited(&world, |node| node.newcomer));
    let queries = world.engines[0].watch.queries as f64 / open;
    println!("{live:.4} of the live, {newcomers:.4} of the newcomers, {queries:.2} queries for each");
    assert!(live >= 0.98, "{live}");
    assert!(newcomers >= 0.95, "{newcomers}");
    assert!(queries < 3.0, "{queries}");

    // What was sampled in vain is sampled again.
    world.run_for(Duration::from_secs(700));
    let obtainable = world.truth.iter().filter(|(_, torrent)| torrent.offered.is_some());
    let obtainable: Vec<_> = obtainable.map(|(info_hash, _)| *info_hash).collect();
    assert!(obtainable.len() >= 1_400, "{}", obtainable.len());
    let missing = obtainable.iter().filter(|hash| !world.engines[0].found.sampled.contains(*hash)).count();
    assert!(missing * 200 <= obtainable.len(), "{missing} of {}", obtainable.len());
    assert_eq!(world.counts.blocks, 0);
    world.engines[0].watch.assert_polite();
}
