//! How a swarm starts, refuses to start, and ends.

#![expect(clippy::disallowed_methods, reason = "what is tested takes real time")]

use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use swarm::{Hostility, Swarm, SwarmConfig, SwarmError};

fn small() -> SwarmConfig {
    SwarmConfig { nodes: 50, torrents: 50, ..SwarmConfig::default() }
}

#[test]
fn thousands_of_nodes_and_torrents_start_at_once() {
    let begun = Instant::now();
    let swarm = Swarm::start(SwarmConfig::default()).unwrap();
    let took = begun.elapsed();
    println!("2,000 nodes and 5,000 torrents started in {took:?}");
    assert_eq!((swarm.nodes().count(), swarm.torrent_count()), (2_000, 5_000));
    assert!(took < Duration::from_secs(10), "{took:?}, though the machine may be busy");
}

#[test]
fn a_swarm_ends_quickly_and_leaves_its_ports() {
    let swarm = Swarm::start(small()).unwrap();
    let (dht_port, peer_port) = (swarm.dht_port(), swarm.peer_port());
    let begun = Instant::now();
    swarm.stop();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let config = SwarmConfig { dht_port, peer_port, ..small() };
    let again = Swarm::start(config).unwrap();
    assert_eq!((again.dht_port(), again.peer_port()), (dht_port, peer_port));
}

#[test]
fn swarms_of_one_seed_are_equal() {
    let [one, other] = [Swarm::start(small()).unwrap(), Swarm::start(small()).unwrap()];
    assert!(one.torrents().eq(other.torrents()));
    assert!(one.nodes().map(|(id, _)| id).eq(other.nodes().map(|(id, _)| id)));
    let different = Swarm::start(SwarmConfig { seed: 2, ..small() }).unwrap();
    assert!(one.torrents().zip(different.torrents()).all(|(a, b)| a.v1 != b.v1 || a.v2 != b.v2));
}

#[test]
fn a_taken_port_is_named() {
    let udp = UdpSocket::bind("0.0.0.0:0").unwrap();
    let dht_port = udp.local_addr().unwrap().port();
    let error = Swarm::start(SwarmConfig { dht_port, ..small() }).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "UDP port {dht_port} is already in use on this machine: stop the program that holds it, or choose \
             another port (0 lets the system choose)"
        )
    );
    let tcp = TcpListener::bind("0.0.0.0:0").unwrap();
    let peer_port = tcp.local_addr().unwrap().port();
    let error = Swarm::start(SwarmConfig { peer_port, ..small() }).unwrap_err();
    assert!(error.to_string().starts_with(&format!("TCP port {peer_port} is already in use")), "{error}");
}

#[test]
fn settings_out_of_range_are_named() {
    for (config, setting) in [
        (SwarmConfig { nodes: 0, ..small() }, "nodes"),
        (SwarmConfig { nodes: 9_000_000, ..small() }, "nodes"),
        (SwarmConfig { torrents: 2_000_000, ..small() }, "torrents"),
        (SwarmConfig { stale_share: 1.0, ..small() }, "stale_share"),
        (SwarmConfig { stale_share: f64::NAN, ..small() }, "stale_share"),
        (SwarmConfig { without_sampling_share: -0.1, ..small() }, "without_sampling_share"),
        (SwarmConfig { sample_interval: Duration::from_secs(21_601), ..small() }, "sample_interval"),
        (SwarmConfig { flood_limit: 65, ..small() }, "flood_limit"),
        (SwarmConfig { connections_max: 0, ..small() }, "connections_max"),
        (SwarmConfig { hostility: Hostility { slow: 1.1, ..Hostility::default() }, ..small() }, "hostility"),
        (SwarmConfig { hostility: Hostility { slow: -0.1, ..Hostility::default() }, ..small() }, "hostility"),
    ] {
        match Swarm::start(config) {
            Err(SwarmError::Setting { setting: named, .. }) => assert_eq!(named, setting),
            other => panic!("{setting}: {other:?}"),
        }
    }
}
