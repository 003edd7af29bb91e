//! What real implementations send is understood: every recorded packet, with its content.

#![allow(clippy::unwrap_used, reason = "a test")]

mod corpus;

use std::collections::{BTreeMap, BTreeSet};

use corpus::{Packet, packets};
use krpc::bencode::Error;
use krpc::bloom::BloomFilter;
use krpc::{
    ClientVersion, ErrorCode, ErrorReply, Kind, Message, Method, NodeId, Oddities, ParseError, Reply, Tid,
    encode,
};

fn find(sender: &str, is_query: bool, name: &str) -> Packet {
    packets()
        .into_iter()
        .find(|packet| packet.sender == sender && packet.is_query == is_query && packet.name == name)
        .unwrap_or_else(|| panic!("{sender} {name}"))
}

#[track_caller]
fn reply<'a>(packet: &'a Packet) -> (Message<'a>, Reply<'a>) {
    let message = Message::parse(&packet.bytes).unwrap();
    match message.kind {
        Kind::Reply(reply) => (message, reply),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_answer_of_a_client_is_understood_but_for_these() {
    let mut dropped = Vec::new();
    for packet in packets().iter().filter(|packet| packet.sender != "probe") {
        if let Err(error) = Message::parse(&packet.bytes) {
            dropped.push((packet.sender, packet.name, error));
        }
    }
    // Answers to a query without transaction id have none; two probes made Transmission speak uTP.
    let no_tid = ParseError::MissingTransaction;
    assert_eq!(
        dropped,
        [
            ("bittorrent-dht-11", "malformed: no t", no_tid),
            ("rtorrent-0.9.8", "malformed: empty dict", no_tid),
            ("rtorrent-0.9.8", "malformed: t 300 bytes", no_tid),
            ("transmission-shim", "malformed: deep nesting 1000", ParseError::NotADict),
            ("transmission-3.00", "malformed: deep nesting 1000", ParseError::NotADict),
            ("webtorrent", "malformed: no t", no_tid),
        ]
    );
}

#[test]
fn every_malformed_probe_is_dropped_for_its_reason() {
    let dropped: BTreeMap<&str, ParseError> = packets()
        .iter()
        .filter(|packet| packet.sender == "probe")
        .filter_map(|packet| Message::parse(&packet.bytes).err().map(|error| (packet.name, error)))
        .collect();
    let expected = BTreeMap::from([
        ("announce_peer port 0", ParseError::BadPort),
        ("announce_peer port 70000", ParseError::BadPort),
        ("malformed: a list", ParseError::MissingArguments),
        ("malformed: announce no token", ParseError::MissingToken),
        ("malformed: empty datagram", ParseError::TooShort),
        ("malformed: empty dict", ParseError::TooShort),
        ("malformed: find_node no target", ParseError::MissingTarget),
        ("malformed: find_node target 19", ParseError::BadTarget),
        ("malformed: garbage text", ParseError::NotADict),
        ("malformed: get_peers info_hash 32 bytes", ParseError::BadInfoHash),
        ("malformed: get_peers no info_hash", ParseError::MissingInfoHash),
        ("malformed: huge length claim", ParseError::Malformed(Error::LengthBeyondEnd)),
        ("malformed: id 19 bytes", ParseError::BadId),
        ("malformed: id 21 bytes", ParseError::BadId),
        ("malformed: int", ParseError::NotADict),
        ("malformed: list not dict", ParseError::NotADict),
        ("malformed: no a", ParseError::MissingArguments),
        ("malformed: no id", ParseError::MissingId),
        ("malformed: no q", ParseError::MissingMethod),
        ("malformed: no t", ParseError::MissingTransaction),
        ("malformed: no y", ParseError::MissingType),
        ("malformed: q int", ParseError::MissingMethod),
        ("malformed: sample target 19", ParseError::BadTarget),
        ("malformed: truncated", ParseError::Malformed(Error::LengthBeyondEnd)),
        ("malformed: y=x", ParseError::UnknownType),
        ("sample_infohashes no target", ParseError::MissingTarget),
    ]);
    assert_eq!(dropped, expected);
}

#[test]
fn what_is_odd_about_each_sender_is_reported() {
    let mut odd = BTreeMap::new();
    for packet in packets() {
        if let Ok(message) = Message::parse(&packet.bytes)
            && !message.oddities.is_empty()
        {
            *odd.entry((packet.sender, message.oddities.to_string())).or_insert(0) += 1;
        }
    }
    let expected = [
        (("libtorrent-2.1.1", "error and reply"), 10),
        (("probe", "duplicate keys"), 1),
        (("probe", "padded length"), 1),
        (("probe", "trailing bytes"), 1),
        (("probe", "unsorted keys"), 1),
        (("qbittorrent-4.5.2", "error and reply"), 4),
    ];
    let odd: Vec<_> = odd.iter().map(|((sender, what), count)| ((*sender, what.as_str()), *count)).collect();
    assert_eq!(odd, expected);
}

#[test]
fn senders_are_recognised_by_their_version() {
    let mut names = BTreeMap::new();
    for packet in packets().iter().filter(|packet| packet.sender != "probe") {
        if let Ok(Message { version: Some(version), .. }) = Message::parse(&packet.bytes) {
            names.insert(packet.sender, (version.name().unwrap(), version.to_string()));
        }
    }
    let expected = BTreeMap::from([
        ("aria2-1.36", ("aria2", "A2 0.3".to_string())),
        ("libtorrent-2.1.1", ("libtorrent", "LT 2.1.1".to_string())),
        ("mainline-8", ("mainline (Rust)", "RS 0.5".to_string())),
        ("qbittorrent-4.5.2", ("libtorrent", "LT 2.0.8".to_string())),
        ("rtorrent-0.9.8", ("rTorrent", "lt 0.13.8".to_string())),
    ]);
    assert_eq!(names, expected, "Transmission, WebTorrent and rqbit send none");
}

#[test]
fn libtorrent_answers_a_sample_query_with_twenty_samples() {
    let packet = find("libtorrent-2.1.1", false, "sample_infohashes #0");
    let (message, reply) = reply(&packet);
    assert_eq!(message.tid.bytes(), Some(&b"aaaa"[..]));
    assert_eq!(message.ip, Some("127.0.200.1:40085".parse().unwrap()));
    assert_eq!(reply.port, Some(40_085));
    assert_eq!(reply.id.unwrap().to_string(), "03f342c1397b6c211124baeaa8abc24954e40a88");
    assert_eq!((reply.num, reply.interval), (Some(56), Some(0)));
    let samples: Vec<String> = reply.samples.unwrap().iter().map(|sample| sample.to_string()).collect();
    assert_eq!(samples.len(), 20);
    assert_eq!(samples[0], "071adcf07f6697a894f6880c2a2530a53b943163");
    assert_eq!(samples[1], "0b42661a235b2a8b859ab13a65014cdf0737d000");
    assert_eq!(samples[19], "fa735138f4c7079c0f1829c0f8a79143bc878865");
    let nodes: Vec<_> = reply.nodes.iter().collect();
    assert_eq!(nodes.len(), 8);
    assert_eq!(nodes[0].id.to_string(), "1985b559c0afa2f307c92ef0a8009f9f15b88ef0");
    assert_eq!(nodes[0].addr, "127.0.50.7:6881".parse().unwrap());
}

#[test]
fn libtorrent_answers_a_scrape_with_both_filters() {
    let packet = find("libtorrent-2.1.1", false, "get_peers scrape");
    let (_, reply) = reply(&packet);
    let peers = BloomFilter::from_bytes(*reply.bloom_peers.unwrap());
    let seeds = BloomFilter::from_bytes(*reply.bloom_seeds.unwrap());
    assert!((peers.estimate() - 1.0).abs() < 0.01 && seeds.estimate() < 0.01);
    assert!(peers.may_contain("127.0.50.5".parse().unwrap()), "the peer that it names when asked plainly");
    let plain = find("libtorrent-2.1.1", false, "get_peers");
    let Kind::Reply(plain) = Message::parse(&plain.bytes).unwrap().kind else { panic!() };
    assert_eq!(plain.values.iter().collect::<Vec<_>>(), ["127.0.50.5:6881".parse().unwrap()]);
    assert_eq!(plain.token, reply.token);
}

#[test]
fn an_error_of_libtorrent_tells_its_id_too() {
    let packet = find("libtorrent-2.1.1", false, "announce_peer bad token");
    let message = Message::parse(&packet.bytes).unwrap();
    let id = "03f342c1397b6c211124baeaa8abc24954e40a88".parse().unwrap();
    assert_eq!(
        message.kind,
        Kind::Error(ErrorReply { code: Some(ErrorCode::PROTOCOL), text: b"invalid token", id: Some(id) })
    );
}

#[test]
fn rtorrent_swaps_the_port_that_was_announced() {
    let packet = find("rtorrent-0.9.8", false, "get_peers after announce");
    let (message, reply) = reply(&packet);
    assert!(message.version.unwrap().swaps_ports());
    let ports: Vec<u16> = reply.values.iter().map(|peer| peer.port()).collect();
    assert_eq!(ports, [0x7011]);
}

#[test]
fn nobody_but_rtorrent_says_204() {
    let mut codes = BTreeMap::new();
    for packet in packets().iter().filter(|packet| packet.sender != "probe") {
        if let Ok(Message { kind: Kind::Error(error), .. }) = Message::parse(&packet.bytes) {
            codes.entry(packet.sender).or_insert_with(BTreeSet::new).insert(error.code.unwrap().0);
        }
    }
    for (sender, codes) in &codes {
        let expected: &[i64] = if *sender == "rtorrent-0.9.8" { &[203, 204] } else { &[203] };
        assert!(codes.iter().eq(expected), "{sender} {codes:?}");
    }
    assert!(codes.len() >= 6, "{codes:?}");
}

#[test]
fn announces_of_libtorrent_imply_their_port() {
    let mut announces = 0;
    for packet in packets().iter().filter(|packet| packet.is_query && packet.name == "announce_peer") {
        let message = Message::parse(&packet.bytes).unwrap();
        let Kind::Query(query) = message.kind else { panic!("{message:?}") };
        let Method::AnnouncePeer { port, implied_port, token, seed, .. } = query.method else {
            panic!("{query:?}")
        };
        assert_eq!((packet.sender, port, implied_port, seed), ("libtorrent-2.1.1", 6881, true, false));
        assert!(!token.is_empty());
        announces += 1;
    }
    assert!(announces > 20, "{announces}");
}

/// What was read, written again, says the same: and where the sender wrote canonically and nothing
/// that we do not know, it is the same packet to the byte.
#[test]
fn messages_written_again_say_the_same() {
    let (mut same, mut all) = (0, 0);
    for packet in packets() {
        let Ok(message) = Message::parse(&packet.bytes) else { continue };
        let (mut nodes, mut nodes6, mut values, mut samples) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut out = Vec::new();
        match message.kind {
            Kind::Query(query) => {
                let Some(tid) = message.tid.bytes() else { continue };
                encode::Query {
                    tid,
                    id: query.id,
                    version: message.version,
                    read_only: message.read_only,
                    want: query.want,
                    method: query.method,
                }
                .encode(&mut out);
            }
            Kind::Reply(reply) => {
                nodes.extend(reply.nodes);
                nodes6.extend(reply.nodes6);
                values.extend(reply.values);
                samples.extend(reply.samples.into_iter().flatten());
                encode::Reply {
                    tid: message.tid,
                    id: reply.id.unwrap_or(NodeId::ZERO),
                    version: message.version,
                    ip: message.ip,
                    nodes: (!nodes.is_empty()).then_some(&nodes),
                    nodes6: (!nodes6.is_empty()).then_some(&nodes6),
                    values: &values,
                    token: reply.token,
                    samples: reply.samples.map(|_| &samples[..]),
                    num: reply.num,
                    interval: reply.interval,
                    bloom_seeds: reply.bloom_seeds,
                    bloom_peers: reply.bloom_peers,
                    value: reply.value,
                    key: reply.key,
                    signature: reply.signature,
                    seq: reply.seq,
                }
                .encode(&mut out);
            }
            Kind::Error(_) => continue,
        }
        assert!(krpc::bencode::is_canonical(&out, 10));
        let again = Message::parse(&out).unwrap();
        let mut expected = message;
        expected.oddities = Oddities::NONE;
        if let Kind::Reply(reply) = &mut expected.kind {
            // We do not send `p`.
            reply.port = None;
        } else {
            // `ro` is ours to send in queries only, `ip` in answers only.
            expected.ip = None;
        }
        assert_eq!(
            Message { read_only: false, ..again },
            Message { read_only: false, ..expected },
            "{} {}",
            packet.sender,
            packet.name
        );
        all += 1;
        same += u32::from(out == packet.bytes);
    }
    assert!(all > 300 && same * 2 > all, "{same} of {all} to the byte");
}

#[test]
fn a_transaction_id_can_be_made_from_what_was_sent() {
    let packet = find("probe", true, "ping");
    let message = Message::parse(&packet.bytes).unwrap();
    assert_eq!(Tid::from_raw(b"4:aaaa"), Some(message.tid));
    assert_eq!(message.version, None::<ClientVersion>);
}
