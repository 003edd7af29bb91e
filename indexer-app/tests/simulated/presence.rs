//! How the whole program stands in the network: its address, its ids, and whether anybody reaches it.

use std::{net::IpAddr, time::Duration};

use krpc::{NodeId, bep42};
use mainline::{IdScheme, ReadOnly};
use tea_runtime::sim::NatFilter;

use super::{PRIVATE, PUBLIC, Setup, SimulatedWorld, WorldPlan};

/// A network in which little happens, so that hours pass quickly.
const QUIET: WorldPlan = WorldPlan { live: 150, dead_share: 0.1, torrents: 3, loss: 0.02 };

const MINUTE: Duration = Duration::from_secs(60);

fn ids(world: &SimulatedWorld) -> Vec<NodeId> {
    world.sim.model(world.indexer).dht().virtual_nodes().map(|(id, _)| id).collect()
}

fn are_valid(world: &SimulatedWorld, address: IpAddr) -> bool {
    ids(world).iter().all(|id| bep42::is_valid(address, id))
}

#[test]
fn ids_follow_the_address_that_others_see_and_the_next_start_begins_with_them() {
    let setup = Setup { ids: IdScheme::Bep42, nat: Some(NatFilter::Anybody), ..Setup::default() };
    let mut world = SimulatedWorld::with(QUIET, 11, setup);
    world.sim.run_for(Duration::from_millis(20));
    assert!(!are_valid(&world, PUBLIC), "behind a router nobody knows the address before others tell it");
    world.sim.run_for(MINUTE);
    assert!(are_valid(&world, PUBLIC));
    let at_home = ids(&world);

    // Half of the nodes lie, for longer than it takes to believe them all.
    let elsewhere = IpAddr::from([34, 4, 4, 4]);
    world.population.claim.set(Some((elsewhere, 5)));
    world.sim.run_for(90 * MINUTE);
    assert_eq!(ids(&world), at_home);
    // The line gets another address.
    world.population.claim.set(Some((elsewhere, 10)));
    world.sim.run_for(15 * MINUTE);
    assert!(are_valid(&world, elsewhere));
    let moved = ids(&world);
    let addresses = world.database.borrow().report.addresses.clone();
    let [address] = &addresses[..] else { panic!("it has one local address: {addresses:?}") };
    assert_eq!((address.local, address.external, address.ports), (PRIVATE, Some(elsewhere), 2));
    assert!(address.ignored, "libtorrent answers nobody there");

    world.sim.crash(world.indexer);
    world.sim.restart(world.indexer);
    world.sim.run_for(Duration::from_millis(100));
    assert_eq!(ids(&world), moved);
}

#[test]
fn behind_a_router_that_lets_nobody_in_all_ports_are_read_only_and_strangers_do_not_help() {
    let setup = Setup {
        nat: Some(NatFilter::AddressAndPort),
        read_only: ReadOnly::Auto,
        strangers_after: Some(MINUTE),
        ..Setup::default()
    };
    let mut world = SimulatedWorld::with(QUIET, 12, setup);
    world.sim.run_for(19 * MINUTE);
    assert_eq!(world.population.sight.borrow().read_only, 0);
    world.sim.run_for(11 * MINUTE);
    let full = world.population.sight.borrow().full;
    world.sim.run_for(25 * MINUTE);
    let (sight, database) = (world.population.sight.borrow(), world.database.borrow());
    assert!(sight.read_only > 100, "{sight:?}");
    assert_eq!(sight.full, full, "both ports say so");
    assert_eq!(sight.answers, 0);
    let address = &database.report.addresses[0];
    assert_eq!((address.ports, address.reachable, address.read_only, address.strangers), (2, 0, 2, 0));
}

#[test]
fn whoever_is_reached_by_a_stranger_takes_part_in_full_again() {
    let setup = Setup {
        nat: Some(NatFilter::Anybody),
        read_only: ReadOnly::Auto,
        strangers_after: Some(40 * MINUTE),
        ..Setup::default()
    };
    let mut world = SimulatedWorld::with(QUIET, 13, setup);
    world.sim.run_for(39 * MINUTE);
    assert!(world.population.sight.borrow().read_only > 100);
    // A port that has sent nothing for two minutes has no place in the router's table, until it sends again.
    world.sim.run_for(26 * MINUTE);
    let read_only = world.population.sight.borrow().read_only;
    world.sim.run_for(20 * MINUTE);
    let (sight, database) = (world.population.sight.borrow(), world.database.borrow());
    assert_eq!(sight.read_only, read_only);
    assert!(sight.answers > 100, "{sight:?}");
    let address = &database.report.addresses[0];
    assert_eq!((address.ports, address.reachable, address.read_only), (2, 2, 0));
    // Once spoken to a stranger is none any more.
    assert!(address.strangers >= 2, "{address:?}");
}

#[test]
fn one_node_after_the_other_moves_and_the_next_start_knows_it() {
    let setup = Setup { move_nodes: Some(120 * MINUTE), ..Setup::default() };
    let plan = WorldPlan { live: 30, torrents: 0, ..QUIET };
    let mut world = SimulatedWorld::with(plan, 14, setup);
    world.sim.run_for(MINUTE);
    let before = ids(&world);
    world.sim.run_for(5 * 60 * MINUTE);
    let after = ids(&world);
    let moved = before.iter().zip(&after).map(|(before, after)| before != after);
    assert_eq!(moved.collect::<Vec<_>>(), [true, true, false, false], "after two hours and after four");
    world.sim.crash(world.indexer);
    world.sim.restart(world.indexer);
    world.sim.run_for(MINUTE);
    assert_eq!(ids(&world), after);
}

#[test]
fn every_budget_and_queue_is_reported_with_what_was_used_and_held_back() {
    let plan = WorldPlan { live: 400, dead_share: 0.3, torrents: 300, loss: 0.0 };
    let mut world = SimulatedWorld::new(plan, 15);
    world.sim.run_for(Duration::from_secs(12));
    let database = world.database.borrow();
    let limit = |name: &str| database.report.limits.iter().find(|limit| limit.name == name).unwrap().clone();
    let packets = limit("packets");
    assert_eq!((packets.allowed, packets.period), (500, Some(Duration::from_secs(1))));
    assert!(packets.used <= Some(625), "a second's worth and a burst: {packets:?}");
    let endpoints = limit("new endpoints");
    assert_eq!((endpoints.allowed, endpoints.period), (30_000, Some(MINUTE)));
    let known = limit("nodes known").used.unwrap();
    let spoken = endpoints.used.unwrap();
    assert!(spoken >= 400 && spoken <= known + 200, "{spoken} of {known}");
    let per_ip = limit("queries to one IP");
    assert!(per_ip.used.is_none() && per_ip.held > 0 && per_ip.held_lately == per_ip.held);
    assert!(limit("bytes").used.is_some() && limit("lookups waiting").used.is_some());
    let fetches = limit("fetches");
    assert_eq!((fetches.allowed, fetches.period), (100, None));
    let last = database.last.as_ref().unwrap();
    assert_eq!(last.limits.len(), database.report.limits.len());
}
