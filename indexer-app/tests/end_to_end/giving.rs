//! What the program gives: real clients that get info dicts from it, by every transport.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use serde::Deserialize;
use serde_json::{Value, json};
use swarm::{Swarm, SwarmConfig};

use crate::{
    environment,
    indexer::{Indexer, ask, own_address},
    private_cluster::TempDir,
};

/// What a client got.
#[derive(Debug, Deserialize, PartialEq, Eq)]
struct Came {
    name: String,
    bytes: usize,
}

fn python() -> Command {
    let mut command = Command::new(environment::python());
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/libtorrent");
    command
        .arg(format!("{tests}/taker.py"))
        .env("PYTHONPATH", format!("{tests}:{tests}/../../../bittorrent/tests/libtorrent"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("TMPDIR", env!("CARGO_TARGET_TMPDIR"));
    command
}

/// What real clients get, of these kinds, for these hashes, from these addresses.
fn taken(orders: &[(&str, String, SocketAddr)]) -> Vec<Option<Came>> {
    let orders: Vec<Value> = orders
        .iter()
        .map(|(kind, hash, peer)| json!({ "kind": kind, "hash": hash, "peer": peer.to_string() }))
        .collect();
    let mut process = python().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(&serde_json::to_vec(&orders).unwrap()).unwrap();
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Where it takes connections.
fn door(indexer: &mut Indexer) -> SocketAddr {
    indexer.until("its TCP port being bound", |indexer| {
        let log = indexer.log();
        let line = log.lines().find(|line| line.contains("taking connections"))?;
        line.split_once("local=")?.1.split_whitespace().next()?.parse().ok()
    })
}

/// What it answers to a handshake for this hash, until it hangs up or has said enough.
fn greeted(door: SocketAddr, info_hash: [u8; 20]) -> Vec<u8> {
    let mut stream = TcpStream::connect(door).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let hello = [&b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0"[..], &info_hash, b"-XX0000-xxxxxxxxxxxx"];
    stream.write_all(&hello.concat()).unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while answer.len() < 68 {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => answer.extend_from_slice(&buffer[..len]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}"),
        }
    }
    answer
}

/// What libtorrent reads in a `.torrent`.
pub(crate) fn read_by_libtorrent(path: &Path) -> Value {
    let output = python().arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn given(folder: &Path, name: &str) -> u64 {
    let stats: Value = serde_json::from_slice(&ask(folder, &["stats", "--json"]).unwrap()).unwrap();
    stats["runs"][0]["counts"]["given"][name].as_u64().unwrap_or_else(|| panic!("{stats:#}"))
}

#[test]
fn real_clients_get_what_we_hold_by_every_transport_from_memory_and_from_the_database() {
    let swarm =
        Swarm::start(SwarmConfig { seed: 81, nodes: 60, torrents: 30, ..SwarmConfig::default() }).unwrap();
    let folder = TempDir::new();
    let settings = ["--accept-port", "0", "--keep-info-dicts", "1048576"];
    let kinds = ["tcp", "encrypted tcp rc4", "utp", "encrypted utp rc4"];
    let of_v1: Vec<swarm::Torrent> = swarm.torrents().filter(|torrent| torrent.v1.is_some()).collect();
    assert!(of_v1.len() >= 2 * kinds.len());
    let expected = |torrent: &swarm::Torrent| {
        let bytes = swarm.info_dict(torrent.index).len();
        Some(Came { name: torrent.name.clone(), bytes })
    };
    for (round, torrents) in of_v1.chunks(kinds.len()).take(2).enumerate() {
        let mut indexer = if round == 0 {
            let mut indexer = Indexer::run(&folder.0, &swarm, &settings);
            indexer.export_of(swarm.torrent_count());
            indexer
        } else {
            // It finds nothing new, so that what it gives was kept.
            Indexer::run_alone(&folder.0, own_address(), &settings)
        };
        let ports = indexer.listening(2);
        let tcp = door(&mut indexer);
        let orders: Vec<_> = kinds
            .iter()
            .zip(torrents)
            .map(|(kind, torrent)| {
                let peer = if kind.contains("utp") { ports[0] } else { tcp };
                (*kind, torrent.v1.unwrap().to_string(), peer)
            })
            .collect();
        let came = taken(&orders);
        let wanted: Vec<_> = torrents.iter().map(expected).collect();
        assert_eq!(came, wanted, "round {round}:\n{}", indexer.log());
        // What nobody has is nobody's to give.
        if round == 1 {
            assert!(greeted(tcp, [7; 20]).is_empty(), "an answer for a torrent that is not there");
            assert!(
                greeted(tcp, *torrents[0].v1.unwrap().as_bytes()).starts_with(b"\x13BitTorrent protocol")
            );
        }
        indexer.interrupt();
        assert_eq!(given(&folder.0, "connections taken"), (kinds.len() + 2 * round) as u64);
        assert!(given(&folder.0, "pieces") >= kinds.len() as u64);
        assert_eq!(given(&folder.0, "read from the database"), (kinds.len() * round) as u64);
    }
}
