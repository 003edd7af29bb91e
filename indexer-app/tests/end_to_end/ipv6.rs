//! The whole program on IPv6, alone and beside IPv4. All nodes share `::1`, which is asked once a second: so they are few.

use std::net::SocketAddr;

use swarm::{Swarm, SwarmConfig, ipv6::Ipv6Swarm};

use crate::{
    exported::{Export, Torrent},
    indexer::{Indexer, own_address, program},
    politeness::assert_polite,
    private_cluster::TempDir,
};

/// Packets to one address within a second, and one that the clocks of the two sides may see differently.
const PACKETS_PER_SECOND: usize = 4 + 1;

/// `run` from these addresses.
fn run(folder: &TempDir, binds: &[&str], bootstrap: &[String]) -> Indexer {
    let mut command = program(&folder.0, "run");
    for bind in binds {
        command.args(["--bind", bind]);
    }
    for node in bootstrap {
        command.args(["--bootstrap", node]);
    }
    command.args(["--port", "0", "--ports", "1", "--nodes-per-port", "1", "--shared-buffers", "33554432"]);
    Indexer::start(&folder.0, command)
}

fn assert_holds(export: &Export, corner: &Ipv6Swarm) {
    for torrent in corner.torrents() {
        assert!(export.torrents.contains(&Torrent::expected(&torrent)), "torrent {}", torrent.index);
    }
    assert!(corner.peak_per_second() <= PACKETS_PER_SECOND, "{}", corner.peak_per_second());
}

#[test]
fn bound_to_ipv6_alone_it_finds_fetches_and_stores_what_is_there() {
    let corner = Ipv6Swarm::start(71, 4, 6).unwrap();
    let folder = TempDir::new();
    let (_, entry) = corner.nodes().next().unwrap();
    // By a name that may have addresses of both families, the port behind it of IPv6 alone.
    let mut indexer = run(&folder, &["::1"], &[entry.to_string(), format!("localhost:{}", entry.port())]);
    let listening = indexer.listening(1);
    assert!(listening.iter().all(SocketAddr::is_ipv6), "{listening:?}");
    let export = indexer.export_of(6);
    assert_holds(&export, &corner);
    assert_eq!(export.len(), 6);
    indexer.interrupt();
    assert!(indexer.output().contains("torrents 6 stored"), "{}", indexer.output());
}

#[test]
fn bound_to_both_families_it_takes_part_in_both_networks() {
    let corner = Ipv6Swarm::start(72, 3, 4).unwrap();
    let swarm =
        Swarm::start(SwarmConfig { seed: 73, nodes: 60, torrents: 40, ..SwarmConfig::default() }).unwrap();
    let folder = TempDir::new();
    let four = own_address().to_string();
    let (_, entry) = corner.nodes().next().unwrap();
    let bootstrap = [entry, swarm.bootstrap()[0]].map(|node| node.to_string());
    let mut indexer = run(&folder, &[&four, "::1"], &bootstrap);
    let listening = indexer.listening(2);
    assert_eq!(listening.iter().filter(|local| local.is_ipv6()).count(), 1, "{listening:?}");
    let export = indexer.export_of(44);
    assert_eq!(export.len(), 44);
    assert_holds(&export, &corner);
    for torrent in swarm.torrents() {
        assert!(export.torrents.contains(&Torrent::expected(&torrent)), "torrent {}", torrent.index);
    }
    indexer.interrupt();
    assert_polite(&swarm);
}
