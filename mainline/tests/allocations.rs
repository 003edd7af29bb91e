//! What a packet allocates once everything is warm: nothing.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use krpc::{CompactNode, InfoHash, Kind, Message, Method, NodeId, Tid, Want, encode};
use mainline::address::canonical;
use mainline::contact_store::Contacts;
use mainline::identity::Identity;
use mainline::keyed_hash::HashKey;
use mainline::limiter::Limiter;
use mainline::peer_store::PeerStore;
use mainline::routing_table::PER_SUBNET;
use mainline::server::{Asked, Served, Server};
use mainline::transactions::Transactions;
use mainline::virtual_node::{NodeIndex, VirtualNodes};
use mainline::{PortIndex, VERSION};
use rand::SeedableRng;
use rand::rngs::StdRng;

const SEED: [u8; 32] = [1; 32];
const PORT: PortIndex = PortIndex(0);
const NOW: Duration = Duration::from_secs(1_000);

/// The way of a query through everything that serves it.
struct Serving {
    nodes: VirtualNodes,
    contacts: Contacts,
    identity: Identity,
    limiter: Limiter,
    server: Server,
    out: Vec<u8>,
}

impl Serving {
    fn new() -> Serving {
        let mut rng = StdRng::from_seed(SEED);
        let ids: Vec<(NodeId, PortIndex)> = (0..100).map(|_| (NodeId::random(&mut rng), PORT)).collect();
        let mut nodes = VirtualNodes::new([SocketAddr::from(([0, 0, 0, 0], 6881))], ids, PER_SUBNET);
        let mut contacts = Contacts::new(10_000, 0, &SEED);
        for n in 1..=5_000 {
            let (id, ip) = (NodeId::random(&mut rng), Ipv4Addr::from_bits(n << 8 | 1));
            contacts.v4.seen(NOW, id, ip, 6881);
            nodes.offer(NOW, &mut contacts, &CompactNode { id, addr: SocketAddr::new(ip.into(), 6881) });
        }
        Serving {
            nodes,
            contacts,
            identity: Identity::new(10_000, HashKey::derive(&SEED, "identity")),
            limiter: Limiter::new(10_000, HashKey::derive(&SEED, "limiter")),
            server: Server::new(VERSION, 1_000, &SEED),
            out: Vec::with_capacity(encode::DATAGRAM_MAX),
        }
    }

    fn receive(&mut self, now: Duration, from: SocketAddr, datagram: &[u8]) -> Served {
        self.out.clear();
        let from = canonical(from);
        let message = Message::parse(datagram).unwrap();
        let Kind::Query(query) = message.kind else { panic!("not a query") };
        self.limiter.reply(now, from.ip()).unwrap();
        let aim = query.method.target().unwrap_or(query.id);
        let answering = self.identity.answerer(&self.nodes, PORT, from, &aim).unwrap();
        let asked = Asked { from, answering, tid: message.tid, query };
        self.server.answer(now, &asked, &self.nodes, &self.contacts, &mut self.out)
    }

    fn token(&self) -> Vec<u8> {
        let Kind::Reply(reply) = Message::parse(&self.out).unwrap().kind else { panic!("not a reply") };
        reply.token.unwrap().to_vec()
    }
}

fn remote(n: u32) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from_bits(0x5000_0000 + n), 6881))
}

fn query(method: Method<'_>) -> Vec<u8> {
    let id = NodeId::from_bytes([0x77; 20]);
    let want = Want { n4: true, n6: true };
    let mut datagram = Vec::new();
    encode::Query { tid: b"abcd", id, version: Some(VERSION), read_only: false, want, method }
        .encode(&mut datagram);
    datagram
}

#[test]
fn answering_allocates_nothing() {
    let mut serving = Serving::new();
    let hash = |n: u8| InfoHash::from_bytes([n; 20]);
    // Peers for fifty info-hashes, and a token for each of the remotes that will announce.
    let mut announces = Vec::new();
    for n in 0..200_u32 {
        let info_hash = hash(n as u8 % 50);
        serving.receive(NOW, remote(n), &query(Method::GetPeers { info_hash, noseed: false, scrape: false }));
        let token = serving.token();
        let announce = query(Method::AnnouncePeer {
            info_hash,
            port: 1_000,
            implied_port: false,
            seed: n % 3 == 0,
            token: &token,
            name: Some(b"a name"),
        });
        assert!(matches!(serving.receive(NOW, remote(n), &announce), Served::Announced { .. }));
        announces.push(announce);
    }
    let target = NodeId::from_bytes([0x42; 20]);
    let questions = [
        query(Method::Ping),
        query(Method::FindNode { target }),
        query(Method::GetPeers { info_hash: hash(7), noseed: false, scrape: false }),
        query(Method::GetPeers { info_hash: hash(7), noseed: true, scrape: true }),
        query(Method::SampleInfohashes { target }),
        query(Method::Get { target, seq: None }),
        query(Method::Unknown { name: b"vote", target: Some(target) }),
        query(Method::Unknown { name: b"vote", target: None }),
    ];
    let mut answered = 0;
    let used = allocation_counter::measure(|| {
        for round in 0..20_u32 {
            let now = NOW + Duration::from_secs(2 + u64::from(round) * 2);
            for (n, question) in (0..).zip(&questions) {
                // Some remotes are known, some new.
                serving.receive(now, remote(1_000 + round / 2 * 8 + n), question);
                answered += 1;
            }
            for (n, announce) in (0..).zip(&announces) {
                assert!(matches!(serving.receive(now, remote(n), announce), Served::Announced { .. }));
                answered += 1;
            }
            serving.server.sweep(now);
        }
    });
    assert_eq!(answered, 20 * 208);
    assert_eq!(used.count_total, 0);
}

#[test]
fn asking_and_being_answered_allocates_nothing() {
    let mut serving = Serving::new();
    let mut transactions = Transactions::new(1_000, HashKey::derive(&SEED, "tid"), NOW);
    let mut datagram = Vec::with_capacity(encode::DATAGRAM_MAX);
    let mut turn = |serving: &mut Serving, start: Duration| {
        for n in 0..500_u32 {
            let now = start + Duration::from_millis(u64::from(n));
            let node = serving.identity.speaker(&serving.nodes, remote(n), None).unwrap();
            let own = serving.nodes.node(node).unwrap().id;
            serving.limiter.query(now, remote(n).ip()).unwrap();
            let tid = transactions.begin(now, PORT, remote(n), Duration::from_millis(300), n).unwrap();
            datagram.clear();
            encode::Query {
                tid: tid.as_bytes(),
                id: own,
                version: None,
                read_only: false,
                want: Want::default(),
                method: Method::Ping,
            }
            .encode(&mut datagram);
            if n % 2 == 0 {
                let answered = transactions.answered(now, PORT, remote(n), tid.as_bytes()).unwrap();
                assert_eq!(answered.payload, n);
            }
        }
        let mut lost = 0;
        while transactions.timed_out(start + Duration::from_secs(2)).is_some() {
            lost += 1;
        }
        assert_eq!(lost, 250);
        assert!(transactions.timed_out(start + Duration::from_secs(20)).is_none());
    };
    turn(&mut serving, NOW);
    let used = allocation_counter::measure(|| {
        for round in 1..10 {
            turn(&mut serving, NOW + Duration::from_secs(30 * round));
        }
    });
    assert_eq!(used.count_total, 0);
}

#[test]
fn meeting_contacts_again_allocates_nothing() {
    let mut serving = Serving::new();
    let known: Vec<CompactNode> = serving.contacts.v4.iter().map(|(_, node)| node).collect();
    let (nodes, contacts) = (&mut serving.nodes, &mut serving.contacts);
    let used = allocation_counter::measure(|| {
        for node in &known {
            let SocketAddr::V4(addr) = node.addr else { continue };
            contacts.v4.seen(NOW, node.id, *addr.ip(), addr.port());
            nodes.offer(NOW, contacts, node);
        }
        let (mut bucket, node) = (Some(0), NodeIndex(3));
        while let Some(from) = bucket {
            bucket = nodes.share(NOW, contacts, mainline::virtual_node::Family::V4, node, from);
        }
    });
    assert_eq!(known.len(), 5_000);
    assert_eq!(used.count_total, 0);
}

#[test]
fn refusing_malformed_queries_allocates_nothing() {
    let mut serving = Serving::new();
    let query = b"d1:ad2:id20:aaaaaaaaaaaaaaaaaaaa6:target3:abce1:q9:find_node1:t2:xy1:y1:qe";
    let used = allocation_counter::measure(|| {
        for _ in 0..100 {
            serving.out.clear();
            let cause = Message::parse(query).unwrap_err();
            assert!(serving.server.refuse_malformed(cause, query, remote(1), &mut serving.out));
        }
    });
    assert_eq!(used.count_total, 0);
    assert_eq!(Message::parse(&serving.out).unwrap().tid, Tid::from_raw(b"2:xy").unwrap());
}

#[test]
fn a_flood_of_announces_allocates_nothing_once_the_store_is_full() {
    let mut store = PeerStore::new(1_000, &SEED);
    let mut flood = |from: u32, to: u32| {
        for n in from..to {
            let mut bytes = [0; 20];
            // Every fourth announce is for one popular torrent.
            bytes[..4].copy_from_slice(&if n % 4 == 0 { 0 } else { n }.to_be_bytes());
            let now = NOW + Duration::from_millis(u64::from(n));
            store.announce(now, InfoHash::from_bytes(bytes), remote(n), n % 3 == 0);
        }
        (store.len(), store.peers())
    };
    flood(0, 20_000);
    let mut held = (0, 0);
    let used = allocation_counter::measure(|| held = flood(20_000, 120_000));
    assert_eq!(held, (1_000, 999 + 128));
    assert_eq!(used.count_total, 0);
}
