//! The whole program in a simulated network: everything random comes from one seed.

#![allow(clippy::expect_used, reason = "a test stops where it cannot go on")]

#[allow(unreachable_pub, reason = "modules of a test program")]
mod simulated;

use std::time::Duration;

use indexer_app::model::Indexer;
use simulated::{SimulatedWorld, WorldPlan};
use tea_runtime::{
    Signal,
    sim::{HostId, HostStatus, check_seeds},
};

/// The network of the tests: bad, as the real one is.
const BAD_NETWORK: WorldPlan = WorldPlan { live: 1_000, dead_share: 0.3, torrents: 500, loss: 0.2 };

/// How many of the reachable hashes are stored.
fn stored_share(world: &SimulatedWorld) -> f64 {
    let reachable = world.population.reachable();
    let database = world.database.borrow();
    let stored = reachable.iter().filter(|hash| database.torrents.contains_key(hash)).count();
    stored as f64 / reachable.len() as f64
}

#[test]
fn a_thousand_nodes_with_loss_and_dead_contacts_give_all_that_can_be_had() {
    let mut world = SimulatedWorld::new(BAD_NETWORK, 1);
    let rates = world.sim.measure_rates(Duration::from_secs(1));
    world.sim.run_for(Duration::from_secs(900));
    let database = world.database.borrow();
    let reachable = world.population.reachable();
    let found = reachable.iter().filter(|hash| database.asked.contains_key(hash)).count();
    println!(
        "{} of {} reachable hashes found, {:.1} % stored; failures {:?}; {:?}",
        found,
        reachable.len(),
        100.0 * stored_share(&world),
        database.failures,
        database.last
    );
    assert!(found as f64 >= 0.99 * reachable.len() as f64, "{found} of {} found", reachable.len());
    assert!(stored_share(&world) >= 0.99, "{} stored", stored_share(&world));
    let (node, most) = rates.busiest_from(std::net::IpAddr::from([20, 0, 0, 1])).expect("packets were sent");
    assert!(most <= 4, "{node} got {most} packets within a second");
    for torrent in database.torrents.values() {
        assert!(torrent.name.starts_with("torrent number "), "{torrent:?}");
    }
}

#[test]
fn two_hundred_seeds_give_the_same_result_twice() {
    let plan = WorldPlan { live: 200, torrents: 60, ..BAD_NETWORK };
    let traces = check_seeds(0..200, |seed| {
        let mut world = SimulatedWorld::new(plan, seed);
        world.sim.run_for(Duration::from_secs(400));
        let share = stored_share(&world);
        assert!(share >= 0.9, "only {share} was stored within {:?}", world.sim.now());
        world.sim.trace() ^ world.database.borrow().torrents.len() as u64
    });
    let mut distinct = traces.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), traces.len(), "different seeds are different worlds");
}

#[test]
fn an_outage_of_the_database_loses_nothing_and_a_stop_waits_for_it() {
    let plan = WorldPlan { live: 200, dead_share: 0.1, torrents: 200, loss: 0.05 };
    let mut world = SimulatedWorld::new(plan, 7);
    world.sim.run_for(Duration::from_secs(3));
    world.database.borrow_mut().is_down = true;
    world.sim.run_for(Duration::from_secs(60));
    let before = world.database.borrow().torrents.len();
    world.database.borrow_mut().is_down = false;
    world.sim.run_for(Duration::from_secs(120));
    assert!(before < 200, "the outage came too late to show anything");
    assert!(stored_share(&world) > 0.99, "{} stored after an outage at {before}", stored_share(&world));

    world.sim.signal(world.indexer, Signal::Interrupt);
    world.sim.run_for(Duration::from_secs(5));
    assert!(is_over(&world, world.indexer), "{:?}", world.sim.status(world.indexer));
    assert_eq!(world.database.borrow().ended.as_deref(), Some("stopped"));
}

#[test]
fn a_partition_of_minutes_is_overcome_without_help() {
    let plan = WorldPlan { live: 200, dead_share: 0.1, torrents: 200, loss: 0.05 };
    let mut world = SimulatedWorld::new(plan, 3);
    world.sim.run_for(Duration::from_secs(2));
    let cut = world.sim.partition(tea_runtime::sim::Partition::isolate([world.indexer]));
    world.sim.run_for(Duration::from_secs(600));
    let before = stored_share(&world);
    world.sim.heal(cut);
    world.sim.run_for(Duration::from_secs(1800));
    assert!(before < 0.9, "the partition came too late to show anything: {before}");
    assert!(stored_share(&world) > 0.99, "{} stored", stored_share(&world));
}

fn is_over(world: &SimulatedWorld, host: HostId<Indexer>) -> bool {
    matches!(world.sim.status(host), HostStatus::Quit { abandoned: 0, .. })
}
