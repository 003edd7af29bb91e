//! The hot path allocates nothing: parsing any message, walking what it holds, and encoding any
//! message into a buffer that has the room.

#![allow(clippy::unwrap_used, reason = "a test")]

mod corpus;

use std::hint::black_box;
use std::net::SocketAddr;

use krpc::{
    ClientVersion, CompactNode, ErrorCode, InfoHash, Kind, Message, Method, NodeId, ParseError, Tid, Want,
    encode,
};

/// How many allocations `work` makes.
fn allocations(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

/// Parses and walks everything that can be walked.
fn read(datagram: &[u8]) {
    match Message::parse(black_box(datagram)) {
        Ok(message) => {
            black_box(message.tid.bytes());
            if let Kind::Reply(reply) = message.kind {
                for node in reply.nodes.iter().chain(reply.nodes6) {
                    black_box(node);
                }
                for peer in reply.values {
                    black_box(peer);
                }
                for sample in reply.samples.into_iter().flatten() {
                    black_box(sample);
                }
            }
        }
        Err(error) => {
            black_box(Tid::to_refuse(error, datagram));
        }
    }
}

#[test]
fn allocations_are_counted() {
    assert_eq!(allocations(|| drop(black_box(vec![1_u8; 10]))), 1);
}

#[test]
fn reading_any_recorded_packet_allocates_nothing() {
    for packet in corpus::packets() {
        assert_eq!(
            allocations(|| read(&packet.bytes)),
            0,
            "{} {} {}",
            packet.sender,
            packet.is_query,
            packet.name
        );
    }
}

#[test]
fn refusing_bad_input_allocates_nothing() {
    let nested = [b"d1:x".to_vec(), b"l".repeat(30_000), b"e".repeat(30_000)].concat();
    assert_eq!(allocations(|| assert!(matches!(Message::parse(&nested), Err(ParseError::Malformed(_))))), 0);
}

#[test]
fn encoding_any_query_allocates_nothing() {
    let (target, info_hash) = (NodeId::from_bytes([1; 20]), InfoHash::from_bytes([2; 20]));
    let methods = [
        Method::Ping,
        Method::FindNode { target },
        Method::GetPeers { info_hash, noseed: true, scrape: true },
        Method::AnnouncePeer {
            info_hash,
            port: 6881,
            implied_port: true,
            seed: true,
            token: b"token",
            name: Some(b"name"),
        },
        Method::SampleInfohashes { target },
        Method::Get { target, seq: Some(1) },
        Method::Put {
            value: b"5:value",
            token: b"token",
            key: Some(&[3; 32]),
            signature: Some(&[4; 64]),
            seq: Some(1),
            cas: Some(2),
            salt: Some(b"salt"),
        },
        Method::Unknown { name: b"xyzzy", target: Some(target) },
    ];
    let mut out = Vec::with_capacity(4096);
    for method in methods {
        let query = encode::Query {
            tid: b"abcd",
            id: target,
            version: Some(ClientVersion::from_bytes(*b"XX\0\x01")),
            read_only: true,
            want: Want { n4: true, n6: true },
            method,
        };
        out.clear();
        assert_eq!(allocations(|| query.encode(&mut out)), 0, "{method:?}");
        assert_eq!(allocations(|| assert_eq!(query.encoded_len(), out.len())), 0);
        assert_eq!(allocations(|| read(&out)), 0, "{method:?}");
    }
}

#[test]
fn encoding_any_answer_allocates_nothing() {
    let id = NodeId::from_bytes([1; 20]);
    let asker: SocketAddr = "192.0.2.7:6881".parse().unwrap();
    let nodes = [CompactNode { id, addr: asker }; 8];
    let nodes6 = [CompactNode { id, addr: "[2001:db8::1]:6881".parse().unwrap() }; 8];
    let values = [asker; 50];
    let samples = [InfoHash::from_bytes([5; 20]); 20];
    let tid = Tid::from_raw(b"4:abcd").unwrap();
    let full = encode::Reply {
        version: Some(ClientVersion::from_bytes(*b"XX\0\x01")),
        ip: Some(asker),
        nodes: Some(&nodes),
        nodes6: Some(&nodes6),
        values: &values,
        token: Some(b"token"),
        samples: Some(&samples),
        num: Some(1_000_000),
        interval: Some(21_600),
        bloom_seeds: Some(&[6; 256]),
        bloom_peers: Some(&[7; 256]),
        value: Some(b"5:value"),
        key: Some(&[3; 32]),
        signature: Some(&[4; 64]),
        seq: Some(9),
        ..encode::Reply::new(tid, id)
    };
    let mut out = Vec::with_capacity(8192);
    for reply in [full, encode::Reply::new(tid, id)] {
        out.clear();
        assert_eq!(allocations(|| reply.encode(&mut out)), 0);
        assert_eq!(allocations(|| assert!(reply.room(8) < 1024)), 0);
        assert_eq!(allocations(|| read(&out)), 0);
    }
    let error = encode::Error {
        tid,
        code: ErrorCode::PROTOCOL,
        text: "invalid 'id'",
        version: None,
        ip: Some(asker),
    };
    out.clear();
    assert_eq!(allocations(|| error.encode(&mut out)), 0);
    assert_eq!(allocations(|| read(&out)), 0);
}
