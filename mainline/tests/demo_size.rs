//! A swarm of the size of the demonstration, as the program uses the engine.

mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use mainline::LookupOutcome;
use world::{Nature, SECOND, World};

#[test]
fn two_thousand_nodes_and_five_thousand_torrents_take_less_than_half_a_minute() {
    let mut world = World::new(61, 0.0);
    world.network.latency_ms = (0, 1);
    world.populate(2_000, |_| Nature::Sampling { interval: 5 });
    world.announce_torrents(5_000);
    let bootstrap: Vec<_> = world.live().take(3).collect();
    world.add_engine_with(4, 16, bootstrap, |config| {
        config.allow_loopback = true;
        config.min_sample_interval = 5 * SECOND;
    });
    world.resolve = true;
    let end = world.now + Duration::from_secs(120);
    let all: BTreeSet<_> = world.truth.keys().copied().collect();
    let done = world.run_until(end, |world| world.engines[0].found.peers.len() == all.len());
    let engine = &world.engines[0];
    println!(
        "{} in {:?} {:?} {:?}",
        engine.found.peers.len(),
        world.now,
        engine.dht.counters(),
        engine.dht.gauges()
    );
    let hinted = engine.found.done.iter().filter(|d| d.outcome == LookupOutcome::Hinted).count();
    println!("hinted {hinted} of {}, {:?}", engine.found.done.len(), engine.dht.sweep_progress());
    assert!(done);
    assert!(world.now < 30 * SECOND, "{:?}", world.now);
    engine.watch.assert_polite();
}
