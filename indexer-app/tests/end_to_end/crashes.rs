//! The database killed under the program, and the program killed: nothing that was stored is lost, and all comes in the end.

use nix::sys::signal::Signal;
use serde_json::Value;
use swarm::{Hostility, Swarm, SwarmConfig};

use crate::{
    exported::Export,
    indexer::{FEW_FETCHES, Indexer, ask, data_dir, own_address, unhurried},
    patience::eventually,
    private_cluster::TempDir,
    process,
};

#[test]
fn a_database_that_is_killed_again_and_again_loses_nothing_and_stops_nothing() {
    let swarm = Swarm::start(unhurried(21, 200, 300)).unwrap();
    let folder = TempDir::new();
    let mut indexer = Indexer::run(&folder.0, &swarm, &FEW_FETCHES);
    let mut acknowledged = Export::default();
    for torrents in [1, 60, 120, 180] {
        let export = indexer.export_of(torrents);
        export.assert_contains(&acknowledged);
        assert!(export.len() < swarm.torrent_count(), "it came too late to be in the middle");
        acknowledged = export;
        let server = indexer.database();
        process::signal(server, Signal::SIGKILL);
        eventually("the end of the killed server", || !process::is_alive(server));
    }
    let export = indexer.export_of(swarm.torrent_count());
    export.assert_is_all_of(&swarm);
    export.assert_contains(&acknowledged);
    indexer.interrupt();
    assert_eq!(indexer.log().matches("the private database is up again").count(), 4, "{}", indexer.log());
    assert!(!indexer.output().contains("did not take in time"), "{}", indexer.output());
    Export::parse(&ask(&folder.0, &["export"]).unwrap()).assert_is_all_of(&swarm);
}

#[test]
fn a_sweep_does_not_end_before_all_is_stored_though_its_database_is_killed() {
    // Many more than are stored when it is killed last, so that the sweep is not over by then.
    let swarm = Swarm::start(unhurried(24, 100, 400)).unwrap();
    let folder = TempDir::new();
    let mut indexer = Indexer::run(&folder.0, &swarm, &["--once", "--fetches", "8"]);
    for torrents in [10, 60, 120] {
        indexer.export_of(torrents);
        process::signal(indexer.database(), Signal::SIGKILL);
    }
    let (status, _) = indexer.wait();
    assert!(status.success(), "{}", indexer.log());
    assert!(indexer.output().starts_with("sweep finished\n"), "{}", indexer.output());
    Export::parse(&ask(&folder.0, &["export"]).unwrap()).assert_is_all_of(&swarm);
}

#[test]
fn an_indexer_that_is_killed_goes_on_from_what_was_stored_without_being_told_where_to_begin() {
    let swarm = Swarm::start(unhurried(22, 200, 300)).unwrap();
    let folder = TempDir::new();
    let address = own_address();
    let bootstrap = swarm.bootstrap()[0].to_string();
    let mut acknowledged = Export::default();
    let mut indexer = Indexer::run_alone(&folder.0, address, &["--bootstrap", &bootstrap, "--fetches", "8"]);
    for torrents in [30, 90, 150] {
        let export = indexer.export_of(torrents);
        export.assert_contains(&acknowledged);
        assert!(export.len() < swarm.torrent_count(), "it came too late to be in the middle");
        acknowledged = export;
        let known = indexer.until("nodes being remembered", |indexer| {
            let stats: Value = serde_json::from_slice(&indexer.ask(&["stats", "--json"]).ok()?).ok()?;
            stats["nodes"]["contacts"].as_u64().filter(|contacts| *contacts >= 50)
        });
        let server = indexer.database();
        indexer.kill();
        // At once, while the database of the killed one may still be ending; and with nobody to join through.
        indexer = Indexer::run_alone(&folder.0, address, &FEW_FETCHES);
        indexer.until("a database of its own", |_| {
            process::ready_database(&data_dir(&folder.0)).filter(|successor| *successor != server)
        });
        assert!(!process::is_alive(server), "two servers ran on one cluster");
        indexer.until("the nodes of the last run being loaded", |indexer| {
            let log = indexer.log();
            let line = log.lines().find(|line| line.contains("starting from the nodes of the last run"))?;
            let nodes: u64 = line.split_once("nodes=")?.1.trim().parse().ok()?;
            assert!(nodes >= known, "{nodes} loaded, {known} were known");
            Some(())
        });
    }
    let export = indexer.export_of(swarm.torrent_count());
    export.assert_is_all_of(&swarm);
    export.assert_contains(&acknowledged);
    indexer.interrupt();
    eventually("the end of the database", || process::database(&data_dir(&folder.0)).is_none());
    let stats: Value = serde_json::from_slice(&ask(&folder.0, &["stats", "--json"]).unwrap()).unwrap();
    assert_eq!(stats["backlog"]["in_flight"], 0, "{stats:#}");
    assert_eq!(stats["runs"].as_array().map(Vec::len), Some(4), "{stats:#}");
    assert_eq!(swarm.stats().floods, 0, "{:?}", swarm.stats());
}

#[test]
fn what_was_in_hand_when_an_indexer_was_killed_is_given_back_at_the_next_start() {
    // Seeders that answer nothing keep every hash in hand for some seconds.
    let silent = Hostility { silent: 1.0, ..Hostility::default() };
    let config = SwarmConfig { seed: 23, nodes: 60, torrents: 30, ..SwarmConfig::default() };
    let swarm = Swarm::start(SwarmConfig { hostility: silent, one_honest_seeder: false, ..config }).unwrap();
    let folder = TempDir::new();
    let mut indexer = Indexer::run(&folder.0, &swarm, &[]);
    indexer.until("hashes being in hand", |_| backlog(&folder, "in_flight").filter(|hashes| *hashes >= 10));
    indexer.kill();
    let in_hand = backlog(&folder, "in_flight").unwrap();
    assert!(in_hand >= 10, "{in_hand} were in hand");
    // The same torrents at the same addresses, from seeders that have come to their senses.
    let (dht_port, peer_port) = (swarm.dht_port(), swarm.peer_port());
    drop(swarm);
    let swarm = Swarm::start(SwarmConfig { dht_port, peer_port, ..config }).unwrap();
    let mut indexer = Indexer::run(&folder.0, &swarm, &[]);
    indexer.until("hashes being given back", |indexer| {
        let log = indexer.log();
        let line = log.lines().find(|line| line.contains("going on with what the last run had begun"))?;
        assert_eq!(line.split_once("hashes=")?.1.trim(), in_hand.to_string());
        Some(())
    });
    // Those that had failed before the end wait longer than a test can.
    let failed = backlog(&folder, "waiting").unwrap();
    indexer.export_of(swarm.torrent_count() - failed as usize);
    indexer.interrupt();
}

/// How many hashes of the backlog are in this state, once the database can be asked.
fn backlog(folder: &TempDir, state: &str) -> Option<u64> {
    let stats: Value = serde_json::from_slice(&ask(&folder.0, &["stats", "--json"]).ok()?).ok()?;
    stats["backlog"][state].as_u64()
}
