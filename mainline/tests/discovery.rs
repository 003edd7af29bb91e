//! The sampler in a simulated network: everybody is visited, everything obtainable is found, nobody is annoyed.

mod world;

use std::time::Duration;

use mainline::{KeyspaceSlices, Limits};
use rand::RngExt;
use world::{Nature, SECOND, World};

/// A thousand nodes of which three in ten are dead, one packet in five is lost.
fn lossy(seed: u64) -> World {
    let mut world = World::new(seed, 0.2);
    world.populate(1_000, |rng| {
        if rng.random_bool(0.3) { Nature::Dead } else { Nature::Sampling { interval: 60 } }
    });
    world.announce_torrents(700);
    let bootstrap: Vec<_> = world.live().take(3).collect();
    // The default gives up one node in fifty of those that lose a third of all exchanges.
    world.add_engine_with(2, 8, bootstrap, |config| config.retry_worth = 0.01);
    world
}

#[test]
fn with_dead_contacts_and_loss_all_live_nodes_are_visited_and_all_hashes_found() {
    let mut world = lossy(1);
    let end = world.now + Duration::from_secs(600);
    let finished = world.run_until(end, |world| world.engines[0].dht.sweep_progress().finished);
    let engine = &world.engines[0];
    assert!(finished, "{:?} {:?}", engine.dht.sweep_progress(), engine.dht.gauges());
    let live: Vec<_> = world.live().collect();
    let visited = live.iter().filter(|addr| engine.found.replied.contains(addr)).count();
    assert!(visited * 100 >= live.len() * 99, "{visited} of {}", live.len());
    engine.watch.assert_polite();
    let took = world.now - SECOND;
    let packets = engine.watch.queries as f64 / live.len() as f64;
    println!("visited {visited} of {}, {packets:.2} queries per live node, {took:?}", live.len());

    // Samplings that were lost are made up for when the nodes may be sampled again.
    world.run_for(Duration::from_secs(700));
    let engine = &world.engines[0];
    let found = world.truth.keys().filter(|hash| engine.found.sampled.contains(*hash)).count();
    assert!(found * 100 >= world.truth.len() * 99, "{found} of {}", world.truth.len());
    assert!(
        engine.watch.sample_pause_min >= Some(Duration::from_secs(300)),
        "{:?}",
        engine.watch.sample_pause_min
    );
    engine.watch.assert_polite();
    println!("found {found} of {}, {:?}", world.truth.len(), engine.dht.counters());
}

#[test]
fn the_same_seed_gives_the_same_run_and_every_seed_finds_its_hashes() {
    let run = |seed: u64| {
        let mut world = lossy(seed);
        // Time for each node to be sampled a second time: one sampling in three is lost.
        world.run_for(Duration::from_secs(350));
        let engine = &world.engines[0];
        engine.watch.assert_polite();
        let found = world.truth.keys().filter(|hash| engine.found.sampled.contains(*hash)).count();
        (engine.found.trace, engine.watch.queries, found, world.truth.len())
    };
    let both = |seed: u64| {
        let first = run(seed);
        assert_eq!(first, run(seed), "seed {seed}");
        (first.2, first.3)
    };
    let halves = std::thread::scope(|scope| {
        let halves = [0..100, 100..200].map(|seeds| scope.spawn(move || seeds.map(both).collect::<Vec<_>>()));
        halves.map(|half| half.join().expect("a seed failed"))
    });
    for (seed, (found, all)) in halves.iter().flatten().enumerate() {
        assert!(found * 100 >= all * 99, "seed {seed}: {found} of {all}");
    }
}

#[test]
fn engines_that_share_the_keyspace_sample_each_node_once_between_them_and_take_over_what_is_given_up() {
    let mut world = World::new(4, 0.0);
    world.populate(600, |_| Nature::Sampling { interval: 300 });
    world.announce_torrents(400);
    let bootstrap: Vec<_> = world.live().take(2).collect();
    let (low, high) = (KeyspaceSlices::new(0..8), KeyspaceSlices::new(8..16));
    for slices in [low, high] {
        let engine = world.add_engine_with(1, 8, bootstrap.clone(), |_| {});
        let now = world.now;
        world.engines[engine].dht.set_slices(now, slices);
    }
    let end = world.now + Duration::from_secs(280);
    let swept = |world: &World| world.engines.iter().all(|engine| engine.dht.sweep_progress().finished);
    assert!(world.run_until(end, swept));
    // Both know everybody, but each node was sampled by one of them, within the interval once.
    let sampled =
        |world: &World| -> Vec<u32> { world.nodes.iter().map(|node| node.asked.sample_infohashes).collect() };
    assert!(world.engines.iter().all(|engine| engine.found.replied.len() == 600));
    let counts = sampled(&world);
    assert!(counts.iter().all(|count| *count <= 1), "{:?}", counts.iter().max());
    let once = counts.iter().filter(|count| **count == 1).count();
    assert!(once >= 590, "{once} of 600 were sampled");
    let found = |world: &World, engine: usize| {
        world.truth.keys().filter(|hash| world.engines[engine].found.sampled.contains(*hash)).count()
    };
    let both = world
        .truth
        .keys()
        .filter(|hash| world.engines.iter().any(|engine| engine.found.sampled.contains(*hash)));
    assert_eq!(both.count(), world.truth.len());
    assert!(found(&world, 0) < world.truth.len(), "half of the nodes knew it all: nothing was tested");

    // One is gone: the other samples its half soon, though it has just been there.
    let now = world.now;
    let high_nodes: Vec<usize> = (0..600).filter(|index| high.contains(&world.nodes[*index].id)).collect();
    let before = sampled(&world);
    world.engines[0].dht.set_slices(now, KeyspaceSlices::ALL);
    world.engines[1].dht.set_slices(now, low);
    world.run_for(Duration::from_secs(100));
    let after = sampled(&world);
    let taken_over = high_nodes.iter().filter(|index| after[**index] > before[**index]).count();
    assert!(taken_over * 10 >= high_nodes.len() * 9, "{taken_over} of {}", high_nodes.len());
    assert_eq!(found(&world, 0), world.truth.len());
    for engine in &world.engines {
        engine.watch.assert_polite();
    }
    // Nobody's is everybody's.
    world.engines[1].dht.set_slices(now, KeyspaceSlices::new([]));
    assert_eq!(world.engines[1].dht.slices(), KeyspaceSlices::ALL);
}

#[test]
fn clients_without_bep51_are_asked_for_contacts_and_soon_not_sampled_any_more() {
    let mut world = World::new(3, 0.0);
    world.populate(600, |rng| match rng.random_range(0..10) {
        0 => Nature::Refusing,
        1 => Nature::Confusing,
        2..6 => Nature::Silent,
        _ => Nature::Sampling { interval: 600 },
    });
    world.announce_torrents(200);
    let bootstrap: Vec<_> = world.live().take(1).collect();
    world.add_engine_with(1, 8, bootstrap, |config| config.limits.packets_per_second = 40);
    let end = world.now + Duration::from_secs(300);
    assert!(world.run_until(end, |world| world.engines[0].dht.sweep_progress().finished));
    let engine = &world.engines[0];
    assert_eq!(engine.found.replied.len(), 600);
    let gauges = engine.dht.gauges();
    let of = |wanted: fn(Nature) -> bool| world.nodes.iter().filter(|node| wanted(node.nature)).count();
    assert_eq!(gauges.nodes_live, 600);
    assert_eq!(gauges.nodes_sampling, of(Nature::samples));
    let silent: Vec<_> = world.nodes.iter().filter(|node| node.nature == Nature::Silent).collect();
    let sampled: u64 = silent.iter().map(|node| u64::from(node.asked.sample_infohashes)).sum();
    assert!(sampled * 2 < silent.len() as u64, "{sampled} samplings of {} silent nodes", silent.len());
    assert!(silent.iter().all(|node| node.asked.find_node >= 1));
    let clients = engine.dht.clients();
    assert!(clients.contains(&(Some(*b"TR"), silent.len())), "{clients:?}");
    assert_eq!(clients.iter().map(|(_, count)| count).sum::<usize>(), 600);
    let found = world.truth.keys().filter(|hash| engine.found.sampled.contains(*hash)).count();
    assert_eq!(found, world.truth.len());
    engine.watch.assert_polite();
}

#[test]
fn a_node_is_sampled_again_after_its_interval_and_never_before() {
    let mut world = World::new(4, 0.0);
    world.populate(60, |_| Nature::Sampling { interval: 900 });
    world.announce_torrents(2_000);
    let bootstrap: Vec<_> = world.live().take(1).collect();
    world.add_engine(1, 2, bootstrap);
    world.run_for(Duration::from_secs(4_000));
    let engine = &world.engines[0];
    let least = engine.watch.sample_pause_min.unwrap();
    assert!(least >= Duration::from_secs(900), "{least:?}");
    let asked: Vec<u32> = world.nodes.iter().map(|node| node.asked.sample_infohashes).collect();
    assert!(asked.iter().all(|count| (4..=5).contains(count)), "{asked:?}");
}

#[test]
fn the_floor_under_the_interval_is_a_setting() {
    let mut world = World::new(5, 0.0);
    world.populate(20, |_| Nature::Sampling { interval: 0 });
    world.announce_torrents(500);
    let bootstrap: Vec<_> = world.live().take(1).collect();
    world.add_engine_with(1, 2, bootstrap, |config| config.min_sample_interval = 2 * SECOND);
    world.run_for(Duration::from_secs(100));
    let engine = &world.engines[0];
    let least = engine.watch.sample_pause_min.unwrap();
    assert!((2 * SECOND..3 * SECOND).contains(&least), "{least:?}");
    let found = world.truth.keys().filter(|hash| engine.found.sampled.contains(*hash)).count();
    assert_eq!(found, 500);
    engine.watch.assert_polite();
}

#[test]
fn a_node_without_news_is_sampled_less_and_less_until_it_has_some() {
    let mut world = World::new(10, 0.0);
    world.populate(20, |_| Nature::Sampling { interval: 0 });
    world.announce_torrents(20);
    let bootstrap: Vec<_> = world.live().take(1).collect();
    world.add_engine_with(1, 2, bootstrap, |config| config.min_sample_interval = 2 * SECOND);
    world.run_for(Duration::from_secs(4_000));
    let asked = |world: &World| world.nodes.iter().map(|node| node.asked.sample_infohashes).max();
    let before = asked(&world);
    assert!(before <= Some(14), "{before:?}");
    world.announce_torrents(20);
    world.run_for(Duration::from_secs(3_800));
    let found = world.truth.keys().filter(|hash| world.engines[0].found.sampled.contains(*hash)).count();
    assert_eq!(found, 40);
}

#[test]
fn nodes_that_vanish_lose_their_freshness_round_by_round() {
    let mut world = World::new(6, 0.0);
    world.populate(50, |_| Nature::Sampling { interval: 60 });
    let bootstrap: Vec<_> = world.live().take(1).collect();
    world.add_engine_with(1, 2, bootstrap, |config| config.epoch = Duration::from_secs(3_600));
    world.run_for(Duration::from_secs(600));
    assert_eq!(world.engines[0].found.replied.len(), 50);
    for node in &mut world.nodes[..25] {
        node.nature = Nature::Dead;
    }
    // Seen a few times: missed once costs nothing, missed twice a point, missed six times all.
    world.run_for(Duration::from_secs(1_200));
    assert_eq!(world.engines[0].dht.node_count(), 50);
    assert_eq!(world.engines[0].dht.gauges().nodes_live, 25);
    world.run_for(Duration::from_secs(8 * 3_600));
    assert_eq!(world.engines[0].dht.node_count(), 25);
    assert_eq!(world.engines[0].found.removed.len(), 25);
}

#[test]
fn an_hour_without_network_costs_no_node_and_needs_no_help() {
    let mut world = World::new(7, 0.02);
    world.populate(300, |_| Nature::Sampling { interval: 60 });
    let bootstrap: Vec<_> = world.live().take(1).collect();
    world.add_engine(1, 4, bootstrap);
    world.run_for(Duration::from_secs(900));
    let before = world.engines[0].dht.node_count();
    assert!(before >= 298, "{before}");
    world.network.cut = true;
    world.run_for(Duration::from_secs(3_600));
    let queries = world.engines[0].watch.queries;
    assert!(world.engines[0].dht.counters().reseeds > 0);
    assert!(world.engines[0].dht.node_count() >= before - 2, "{}", world.engines[0].dht.node_count());
    world.network.cut = false;
    world.engines[0].found.replied.clear();
    world.run_for(Duration::from_secs(900));
    // A few were asked just when the network went: those rest for longer.
    let engine = &world.engines[0];
    assert!(engine.found.replied.len() >= before - 3, "{:?}", engine.dht.gauges());
    assert!(engine.watch.queries > queries + 300);
    engine.watch.assert_polite();
}

#[test]
fn the_budgets_for_packets_and_new_endpoints_hold() {
    let mut world = World::new(8, 0.0);
    world.populate(500, |_| Nature::Sampling { interval: 60 });
    let bootstrap: Vec<_> = world.live().take(1).collect();
    world.add_engine_with(1, 4, bootstrap, |config| {
        config.limits.packets_per_second = 20;
        config.limits.new_endpoints_per_minute = 120;
    });
    world.run_for(Duration::from_secs(60));
    let engine = &world.engines[0];
    let sent = engine.watch.queries + engine.watch.answers;
    assert!((110..=20 * 60 + 5).contains(&sent), "{sent}");
    let spoken = world.nodes.iter().filter(|node| node.asked.total() > 0).count();
    assert!((100..=130).contains(&spoken), "{spoken}");
    assert!(engine.dht.budgets()[2].held > 0 || engine.dht.gauges().visits_waiting > 100);
}

#[test]
fn persisted_nodes_are_a_way_in_and_are_not_sampled_before_their_time() {
    let mut world = World::new(9, 0.0);
    world.populate(200, |_| Nature::Sampling { interval: 1_200 });
    let known = world.nodes[0].addr;
    let id = world.nodes[0].id;
    world.add_engine(1, 4, Vec::new());
    let now = world.now;
    let node = mainline::KnownNode {
        id,
        addr: known,
        freshness: 9,
        missed: 0,
        support: mainline::Support::Yes,
        version: None,
        num: Some(0),
        interval: Some(1_200),
        sampled_ago: Some(Duration::from_secs(200)),
    };
    assert!(world.engines[0].dht.add_known(now, &node));
    assert!(!world.engines[0].dht.add_known(now, &node));
    let end = world.now + Duration::from_secs(120);
    assert!(world.run_until(end, |world| world.engines[0].dht.sweep_progress().finished));
    assert_eq!(world.engines[0].found.replied.len(), 200);
    assert_eq!(world.nodes[0].asked.sample_infohashes, 0);
    world.run_for(Duration::from_secs(1_100));
    assert_eq!(world.nodes[0].asked.sample_infohashes, 1);
}

#[test]
fn ten_thousand_virtual_nodes_start_without_a_storm() {
    let mut world = World::new(20, 0.0);
    world.populate(400, |_| Nature::Sampling { interval: 600 });
    let mut bootstrap: Vec<_> = (0..5).map(|n| world::node_addr(900_000 + n)).collect();
    bootstrap.extend(world.live().take(1));
    world.add_engine_with(8, 10_000, bootstrap, |config| config.limits = Limits::home());
    let (mut before, mut bytes_before) = (0, 0);
    for second in 0..60 {
        world.run_for(SECOND);
        let watch = &world.engines[0].watch;
        let (sent, bytes) = (watch.queries + watch.answers, watch.bytes);
        assert!(sent - before <= 150 + 40, "{} in second {second}", sent - before);
        assert!(
            bytes - bytes_before <= 50_000 + 12_500 + 1_024,
            "{} bytes in {second}",
            bytes - bytes_before
        );
        (before, bytes_before) = (sent, bytes);
    }
    let engine = &world.engines[0];
    assert_eq!(engine.found.replied.len(), 400);
    // What the budgets say of themselves is what the network has seen.
    let [packets, bytes, endpoints] = engine.dht.budgets();
    assert_eq!((packets.used, bytes.used), (before, bytes_before));
    assert!((400..=1_240).contains(&endpoints.used), "{endpoints:?}");
    assert!(engine.dht.gauges().table_entries > 400);
    engine.watch.assert_polite();
    // What is left to do is upkeep.
    world.run_for(60 * SECOND);
    let watch = &world.engines[0].watch;
    let idle = watch.queries + watch.answers - before;
    assert!(idle < 60 * 40, "{idle} packets in an idle minute");
}

#[test]
fn a_sweep_with_nobody_to_visit_ends() {
    let mut world = World::new(21, 0.0);
    let dead = vec![world::node_addr(1), world::node_addr(2)];
    world.add_engine(1, 4, dead);
    let end = world.now + Duration::from_secs(60);
    assert!(world.run_until(end, |world| world.engines[0].dht.sweep_progress().finished));
    assert_eq!(world.engines[0].dht.sweep_progress().visited, 0);
    // Each address was tried a few times, at growing pauses.
    assert!((10..=14).contains(&world.engines[0].watch.queries), "{}", world.engines[0].watch.queries);
}
