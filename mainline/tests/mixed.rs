//! The engine among nodes of all kinds, in both families, that come and go: it finds what there is, and annoys nobody.

mod world;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use mainline::Limits;
use world::{Churn, Manners, Network, Node, Scene, Torrents, Watch, World};

const HOUR: Duration = Duration::from_secs(3_600);

/// 1,500 honest nodes of all clients and as many entries as there are that lead nowhere; three in ten are known to their
/// neighbours only, one in ten is behind a NAT, one datagram in ten is lost.
fn scene(seed: u64) -> Scene {
    Scene {
        seed,
        nodes: 1_500,
        ipv6: 0.2,
        newcomers: 0.3,
        nated: 0.1,
        network: Network { duplication: 0.02, ..Network::with_loss(0.1) },
        torrents: 1_000,
        traffic: Some(Torrents::default()),
        churn: Some(Churn::default()),
        ..Scene::default()
    }
}

/// An engine with the budgets of a home line that knows one node of each family.
fn with_engine(scene: &Scene) -> World {
    let mut world = World::stage(scene);
    let of = |world: &World, v6: bool| world.live().find(|addr| addr.is_ipv6() == v6);
    let bootstrap: Vec<SocketAddr> = [of(&world, false), of(&world, true)].into_iter().flatten().collect();
    assert_eq!(bootstrap.len(), 2);
    world.add_engine_at(2, 1, 12, bootstrap, |config| config.limits = Limits::home());
    let sample_pause = Duration::from_secs(300);
    world.engines[0].watch = Watch::new(Manners { sample_pause, ..Manners::default() });
    world
}

/// How much of what open nodes have shown for half an hour at least was found, and how much there was.
fn found(world: &World) -> (usize, usize) {
    let until = world.now - HOUR / 2;
    let offered = |offered: &Option<Duration>| offered.is_some_and(|offered| offered <= until);
    let obtainable: BTreeSet<_> =
        world.truth.iter().filter(|(_, torrent)| offered(&torrent.offered)).map(|(hash, _)| *hash).collect();
    (obtainable.intersection(&world.engines[0].found.sampled).count(), obtainable.len())
}

fn assert_nobody_was_annoyed(world: &World) {
    let counts = &world.counts;
    assert_eq!((counts.blocks, counts.ignored, counts.throttled, counts.ids_changed), (0, 0, 0, 0));
    let watch = &world.engines[0].watch;
    watch.assert_polite();
}

/// Open nodes that settled at least so long ago, and how many of them have answered.
fn visited(world: &World, settled_for: Duration) -> (usize, usize) {
    let since = world.now - settled_for;
    let open: Vec<SocketAddr> = world
        .nodes
        .iter()
        .filter(|node| node.is_open() && !node.newcomer && node.arrived <= since)
        .map(|node| node.addr)
        .collect();
    let replied = &world.engines[0].found.replied;
    (open.iter().filter(|addr| replied.contains(addr)).count(), open.len())
}

#[test]
fn among_nodes_of_all_kinds_nearly_everything_is_found_and_nobody_is_annoyed() {
    let mut world = with_engine(&scene(1));
    world.run_for(HOUR * 2);
    let (found, obtainable) = found(&world);
    assert!(found * 100 >= obtainable * 99, "{found} of {obtainable}");
    let (visited, open) = visited(&world, HOUR * 3 / 2);
    assert!(visited * 100 >= open * 98, "{visited} of {open}");
    assert_nobody_was_annoyed(&world);
    // It is one of them: nodes took it into their tables, looked after it, and users announced to it.
    let counts = &world.counts;
    assert!(counts.befriended > 500 && counts.dropped * 10 < counts.befriended, "{counts:?}");
    assert!(world.engines[0].found.announced.len() > 100, "{counts:?}");
    println!("{found} of {obtainable} hashes, {visited} of {open} nodes, {counts:?}");
}

#[test]
fn one_liar_in_five_costs_less_than_two_points() {
    let share = |lying: f64| {
        let mut world = with_engine(&Scene { lying, ..scene(2) });
        world.run_for(HOUR);
        assert_nobody_was_annoyed(&world);
        let (found, obtainable) = found(&world);
        assert!(obtainable > 950, "{obtainable}");
        found as f64 / obtainable as f64
    };
    let (honest, lied_to) = (share(0.0), share(0.2));
    println!("{honest:.4} {lied_to:.4}");
    assert!(lied_to > honest - 0.02, "{honest} without liars, {lied_to} with");
}

#[test]
fn after_an_hour_of_partition_it_recovers_without_help() {
    let mut world = with_engine(&scene(3));
    world.run_for(HOUR);
    let (parted, before) = (world.now, world.engines[0].dht.gauges().nodes_live);
    // Nine in ten nodes are beyond it, then all of them.
    world.network.beyond = 0.9;
    world.run_for(HOUR / 2);
    world.network.cut = true;
    world.run_for(HOUR / 2);
    (world.network.beyond, world.network.cut) = (0.0, false);
    world.run_for(HOUR * 3 / 2);
    // Who came meanwhile was never heard of before.
    let came = |node: &&Node| node.arrived > parted && node.arrived < parted + HOUR && node.is_open();
    let came: Vec<SocketAddr> = world.nodes.iter().filter(came).map(|node| node.addr).collect();
    let replied = &world.engines[0].found.replied;
    let visited = came.iter().filter(|addr| replied.contains(addr)).count();
    println!("{visited} of {}, {before} live before", came.len());
    assert!(came.len() > 100 && visited * 100 >= came.len() * 95, "{visited} of {}", came.len());
    assert!(world.engines[0].dht.gauges().nodes_live * 100 >= before * 95);
    assert_nobody_was_annoyed(&world);
}
