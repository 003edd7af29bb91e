//! The whole program among those who mean harm: peers that lie and stall, and strangers that throw garbage at its ports.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use krpc::{InfoHash, Kind, Message, Method, NodeId, Want, encode};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use swarm::{Doors, Habits, Hostility, Swarm, SwarmConfig};

use crate::{
    indexer::{Indexer, own_address},
    patience::{PATIENCE, until},
    politeness::assert_polite,
    private_cluster::TempDir,
    process,
};

/// The most memory that the program may hold at any time, bytes.
const MEMORY_MAX: u64 = 200 << 20;

#[test]
fn hostile_seeders_delay_but_hide_nothing_and_each_is_counted_by_what_it_did() {
    let config = SwarmConfig {
        seed: 31,
        nodes: 200,
        torrents: 300,
        hostility: Hostility::of_every_kind(0.4),
        one_honest_seeder: true,
        ..SwarmConfig::default()
    };
    let swarm = Swarm::start(config).unwrap();
    let folder = TempDir::new();
    let mut indexer = Indexer::run(&folder.0, &swarm, &[]);
    indexer.export_of(swarm.torrent_count()).assert_is_all_of(&swarm);
    let memory = process::peak_memory(indexer.pid()).unwrap();
    indexer.interrupt();
    println!("at most {} MiB", memory >> 20);
    assert!(memory < MEMORY_MAX, "{} MiB", memory >> 20);
    assert!(swarm.stats().hostile_met > 50, "{:?}", swarm.stats());
    assert_polite(&swarm);
    let peers = peers(&indexer);
    assert!(peers.contains("served") && peers.contains("wrong size"), "{peers}");
}

#[test]
fn where_most_endpoints_are_of_no_use_everything_that_somebody_honest_has_is_indexed() {
    let config = SwarmConfig {
        seed: 35,
        nodes: 200,
        torrents: 300,
        doors: Doors { dead: 0.4, utp_only: 0.15, encrypted_only: 0.15 },
        hostility: Hostility { wrong_bytes: 0.03, wrong_size: 0.02, ..Hostility::default() },
        habits: Habits { slow: 0.1, tick: Duration::from_millis(2_500), ..Habits::default() },
        one_honest_seeder: true,
        ..SwarmConfig::default()
    };
    let swarm = Swarm::start(config).unwrap();
    let folder = TempDir::new();
    let mut indexer = Indexer::run(&folder.0, &swarm, &[]);
    indexer.export_of(swarm.torrent_count()).assert_is_all_of(&swarm);
    let memory = process::peak_memory(indexer.pid()).unwrap();
    indexer.interrupt();
    println!("at most {} MiB; {}", memory >> 20, peers(&indexer));
    assert!(memory < MEMORY_MAX, "{} MiB", memory >> 20);
    assert_polite(&swarm);
    let peers = peers(&indexer);
    for reason in ["served", "refused", "closed without a byte"] {
        assert!(peers.contains(reason), "no {reason:?} in {peers}");
    }
}

/// What became of connections, as the report says.
fn peers(indexer: &Indexer) -> String {
    let output = indexer.output();
    output.lines().find(|line| line.starts_with("peers ")).unwrap().to_owned()
}

#[test]
fn seeders_that_are_all_hostile_give_nothing_and_are_each_counted_by_what_they_did() {
    let config = SwarmConfig {
        seed: 33,
        nodes: 60,
        torrents: 80,
        hostility: Hostility::of_every_kind(1.0),
        one_honest_seeder: false,
        ..SwarmConfig::default()
    };
    let swarm = Swarm::start(config).unwrap();
    let folder = TempDir::new();
    let mut indexer = Indexer::run(&folder.0, &swarm, &["--once", "--fetch-timeout", "30s"]);
    let pid = indexer.pid();
    let mut memory = 0;
    let (status, _) = indexer.until_ended(|| memory = process::peak_memory(pid).unwrap_or(memory));
    assert!(status.success(), "{}", indexer.log());
    println!("at most {} MiB", memory >> 20);
    assert!((1..MEMORY_MAX).contains(&memory), "{} MiB", memory >> 20);
    let output = indexer.output();
    assert!(output.contains("torrents 0 stored") && output.contains(" 0 succeeded"), "{output}");
    let peers = peers(&indexer);
    for reason in [
        "silent (handshake)",
        "silent (metadata)",
        "reset (metadata)",
        "size too large",
        "hash mismatch",
        "piece out of range",
        "too much noise",
        "message too long",
        "rejected",
        "no ut_metadata",
    ] {
        assert!(peers.contains(reason), "no {reason:?} in {peers}");
    }
}

/// One datagram of somebody who means harm or knows no better.
fn garbage(random: &mut StdRng, datagram: &mut Vec<u8>) {
    datagram.clear();
    let tid = random.random::<[u8; 4]>();
    let id = NodeId::from_bytes(random.random());
    let info_hash = InfoHash::from_bytes(random.random());
    let query = |method| encode::Query {
        tid: &tid,
        id,
        version: None,
        read_only: false,
        want: Want::default(),
        method,
    };
    match random.random_range(0..12) {
        // Noise, or another protocol on the port.
        0 => {
            datagram.resize(random.random_range(0..1500), 0);
            random.fill_bytes(datagram);
        }
        // Noise that begins well.
        1 => {
            datagram.resize(random.random_range(1..1500), 0);
            random.fill_bytes(datagram);
            datagram[0] = b'd';
        }
        // Cut off.
        2 => {
            query(Method::GetPeers { info_hash, noseed: false, scrape: false }).encode(datagram);
            datagram.truncate(random.random_range(0..datagram.len()));
        }
        // A byte turned over.
        3 => {
            query(Method::FindNode { target: id }).encode(datagram);
            let at = random.random_range(0..datagram.len());
            datagram[at] ^= 1 << random.random_range(0..8);
        }
        // Oversized: a string, and a name without end.
        4 => {
            datagram.extend_from_slice(b"d1:ad2:id20:aaaaaaaaaaaaaaaaaaaae1:q60000:");
            datagram.resize(datagram.len() + 60_000, b'q');
            datagram.extend_from_slice(b"1:t4:aaaa1:y1:qe");
        }
        // Deeply nested.
        5 => {
            datagram.extend_from_slice(b"d1:a");
            let depth = random.random_range(10..30_000);
            datagram.resize(datagram.len() + depth, b'l');
            datagram.resize(datagram.len() + depth, b'e');
            datagram.extend_from_slice(b"1:q4:ping1:t4:aaaa1:y1:qe");
        }
        // Lengths and numbers beyond any range.
        6 => datagram.extend_from_slice(
            b"d1:ad2:id99999999999999999999:aaaae1:q4:ping1:ti-99999999999999999999e1:y1:qe",
        ),
        // Methods that nobody knows.
        7 => query(Method::Unknown { name: b"vote", target: None }).encode(datagram),
        // Answers to what was never asked, with contacts and samples that lead nowhere.
        8 => {
            datagram.extend_from_slice(b"d1:rd2:id20:");
            datagram.extend_from_slice(id.as_bytes());
            datagram.extend_from_slice(b"5:nodes208:");
            datagram.extend((0..208).map(|_| random.random::<u8>()));
            datagram.extend_from_slice(b"7:samples40:");
            datagram.extend((0..40).map(|_| random.random::<u8>()));
            datagram.extend_from_slice(b"e1:t4:");
            datagram.extend_from_slice(&tid);
            datagram.extend_from_slice(b"1:y1:re");
        }
        // Errors of odd kinds.
        9 => datagram.extend_from_slice(b"d1:e3:why1:t4:aaaa1:y1:ee"),
        // Announces with a token that we never gave.
        10 => query(Method::AnnouncePeer {
            info_hash,
            port: random.random(),
            implied_port: false,
            seed: false,
            token: b"12345678",
            name: None,
        })
        .encode(datagram),
        // Valid queries, each for something else, as fast as they go.
        _ => query(Method::GetPeers { info_hash, noseed: false, scrape: false }).encode(datagram),
    }
}

/// Whether a ping from this address is answered, by a message that is the answer to it.
fn is_answered(from: Ipv4Addr, port: SocketAddr) -> bool {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(250))).unwrap();
    let id = NodeId::from_bytes([7; 20]);
    let mut ping = Vec::new();
    encode::Query {
        tid: b"ping",
        id,
        version: None,
        read_only: true,
        want: Want::default(),
        method: Method::Ping,
    }
    .encode(&mut ping);
    let mut datagram = [0; 2048];
    until(PATIENCE, || {
        socket.send_to(&ping, port).unwrap();
        let (length, from) = socket.recv_from(&mut datagram).ok()?;
        let message = Message::parse(&datagram[..length]).unwrap();
        let is_reply = matches!(message.kind, Kind::Reply(reply) if reply.id.is_some());
        (from == port && is_reply && message.tid.bytes() == Some(b"ping")).then_some(())
    })
    .is_some()
}

#[test]
fn garbage_by_the_thousands_at_its_ports_leaves_it_answering_and_small() {
    const PACKETS: u32 = 20_000;
    const BETWEEN_PINGS: u32 = 1_000;
    let swarm =
        Swarm::start(SwarmConfig { seed: 32, nodes: 40, torrents: 20, ..SwarmConfig::default() }).unwrap();
    let folder = TempDir::new();
    let mut indexer = Indexer::run(&folder.0, &swarm, &[]);
    let ports = indexer.listening(2);

    let flooders: Vec<UdpSocket> = (0..8).map(|_| UdpSocket::bind((own_address(), 0)).unwrap()).collect();
    let mut random = StdRng::seed_from_u64(32);
    let mut datagram = Vec::new();
    for number in 0..PACKETS {
        garbage(&mut random, &mut datagram);
        let flooder = &flooders[random.random_range(0..flooders.len())];
        // What does not fit the receiver's buffer is dropped by the system, as on any network.
        let _ = flooder.send_to(&datagram, ports[number as usize % ports.len()]);
        if number % BETWEEN_PINGS == 0 {
            assert!(is_answered(own_address(), ports[0]), "no answer after {number} packets");
        }
    }
    for port in &ports {
        assert!(is_answered(own_address(), *port));
    }
    indexer.export_of(swarm.torrent_count()).assert_is_all_of(&swarm);
    let memory = process::peak_memory(indexer.pid()).unwrap();
    indexer.interrupt();
    println!("at most {} MiB", memory >> 20);
    assert!(memory < MEMORY_MAX, "{} MiB", memory >> 20);
    let output = indexer.output();
    let dropped = output.lines().find(|line| line.starts_with("packets ")).unwrap();
    for reason in ["malformed", "not_krpc", "short", "long", "unsolicited", "over_budget"] {
        assert!(dropped.contains(reason), "no {reason:?} in {dropped}");
    }
}
