//! The messages as the specifications print them, read and written.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::{Ipv6Addr, SocketAddr};

use krpc::{
    ClientVersion, CompactNode, ErrorCode, ErrorReply, InfoHash, Kind, Message, Method, NodeId, Oddities,
    Query, Reply, Tid, Want, encode,
};

const ABCDE: NodeId = NodeId::from_bytes(*b"abcdefghij0123456789");
const DIGITS: NodeId = NodeId::from_bytes(*b"0123456789abcdefghij");
const MNOP: NodeId = NodeId::from_bytes(*b"mnopqrstuvwxyz123456");

fn parse(datagram: &[u8]) -> Message<'_> {
    let message = Message::parse(datagram).unwrap();
    assert_eq!(message.oddities, Oddities::NONE, "{}", datagram.escape_ascii());
    message
}

fn query(datagram: &[u8]) -> Query<'_> {
    match parse(datagram).kind {
        Kind::Query(query) => query,
        other => panic!("{other:?}"),
    }
}

fn reply(datagram: &[u8]) -> Reply<'_> {
    match parse(datagram).kind {
        Kind::Reply(reply) => reply,
        other => panic!("{other:?}"),
    }
}

fn tid() -> Tid<'static> {
    Tid::from_raw(b"2:aa").unwrap()
}

/// Both ways: the datagram is read as the method, and the method is written as the datagram.
#[track_caller]
fn check_query(datagram: &[u8], want: Want, method: Method<'_>) {
    assert_eq!(query(datagram), Query { id: ABCDE, want, method });
    assert_eq!(parse(datagram).tid, tid());
    let query = encode::Query { tid: b"aa", id: ABCDE, version: None, read_only: false, want, method };
    let mut out = Vec::new();
    query.encode(&mut out);
    assert_eq!(out.escape_ascii().to_string(), datagram.escape_ascii().to_string());
    assert_eq!(query.encoded_len(), datagram.len());
}

#[track_caller]
fn check_written(reply: &encode::Reply<'_>, datagram: &[u8]) {
    let mut out = b"kept".to_vec();
    reply.encode(&mut out);
    assert_eq!(out[4..].escape_ascii().to_string(), datagram.escape_ascii().to_string());
    assert_eq!(reply.encoded_len(), datagram.len());
}

const NONE: Want = Want { n4: false, n6: false };

#[test]
fn bep5_ping() {
    check_query(b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe", NONE, Method::Ping);
    let answer = b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re";
    assert_eq!(reply(answer).id, Some(MNOP));
    assert_eq!(parse(answer).tid.bytes(), Some(&b"aa"[..]));
    check_written(&encode::Reply::new(tid(), MNOP), answer);
}

#[test]
fn bep5_find_node() {
    check_query(
        b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe",
        NONE,
        Method::FindNode { target: MNOP },
    );
    // The specification abbreviates the nodes; here is one in full.
    let answer = b"d1:rd2:id20:0123456789abcdefghij5:nodes26:mnopqrstuvwxyz123456\x7f\x01\x02\x03\x1a\xe1e1:t2:aa1:y1:re";
    let node = CompactNode { id: MNOP, addr: "127.1.2.3:6881".parse().unwrap() };
    assert_eq!(reply(answer).nodes.iter().collect::<Vec<_>>(), [node]);
    assert!(reply(answer).nodes6.is_empty());
    check_written(&encode::Reply { nodes: Some(&[node]), ..encode::Reply::new(tid(), DIGITS) }, answer);
}

#[test]
fn bep5_prints_a_node_list_that_is_none_and_it_counts_as_empty() {
    let message =
        Message::parse(b"d1:rd2:id20:0123456789abcdefghij5:nodes9:def456...e1:t2:aa1:y1:re").unwrap();
    assert_eq!(message.oddities, Oddities::BAD_NODES);
    let Kind::Reply(reply) = message.kind else { panic!() };
    assert_eq!((reply.id, reply.nodes.len()), (Some(DIGITS), 0));
}

#[test]
fn bep5_get_peers() {
    check_query(
        b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe",
        NONE,
        Method::GetPeers { info_hash: MNOP.as_hash(), noseed: false, scrape: false },
    );
    let answer =
        b"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re";
    let peers: Vec<SocketAddr> =
        ["97.120.106.101:11893", "105.100.104.116:28269"].map(|peer| peer.parse().unwrap()).to_vec();
    assert_eq!(reply(answer).token, Some(&b"aoeusnth"[..]));
    assert_eq!(reply(answer).values.iter().collect::<Vec<_>>(), peers);
    check_written(
        &encode::Reply { token: Some(b"aoeusnth"), values: &peers, ..encode::Reply::new(tid(), ABCDE) },
        answer,
    );
}

#[test]
fn bep5_announce_peer() {
    check_query(
        b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe",
        NONE,
        Method::AnnouncePeer {
            info_hash: MNOP.as_hash(),
            port: 6881,
            implied_port: true,
            seed: false,
            token: b"aoeusnth",
            name: None,
        },
    );
}

#[test]
fn bep5_error() {
    let datagram = b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee";
    assert_eq!(
        parse(datagram).kind,
        Kind::Error(ErrorReply {
            code: Some(ErrorCode::GENERIC),
            text: b"A Generic Error Ocurred",
            id: None
        })
    );
    let error = encode::Error {
        tid: tid(),
        code: ErrorCode::GENERIC,
        text: "A Generic Error Ocurred",
        version: None,
        ip: None,
    };
    let mut out = Vec::new();
    error.encode(&mut out);
    assert_eq!(out, datagram);
    assert_eq!(error.encoded_len(), datagram.len());
}

#[test]
fn bep32_wants_and_gives_both_families() {
    for (text, want) in [
        ("l2:n4e", Want { n4: true, n6: false }),
        ("l2:n6e", Want { n4: false, n6: true }),
        ("l2:n42:n6e", Want { n4: true, n6: true }),
    ] {
        check_query(
            format!("d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz1234564:want{text}e1:q9:find_node1:t2:aa1:y1:qe").as_bytes(),
            want,
            Method::FindNode { target: MNOP },
        );
    }
    let ip: Ipv6Addr = "2001:db8::7".parse().unwrap();
    let node = CompactNode { id: MNOP, addr: (ip, 6881).into() };
    let v4 = CompactNode { id: MNOP, addr: "192.0.2.1:1".parse().unwrap() };
    let answer = [
        b"d1:rd2:id20:0123456789abcdefghij5:nodes0:6:nodes638:mnopqrstuvwxyz123456",
        &ip.octets()[..],
        b"\x1a\xe1e1:t2:aa1:y1:re",
    ]
    .concat();
    assert_eq!(reply(&answer).nodes6.iter().collect::<Vec<_>>(), [node]);
    // A contact of the other family is left out rather than written wrongly.
    check_written(
        &encode::Reply {
            nodes: Some(&[node]),
            nodes6: Some(&[v4, node]),
            ..encode::Reply::new(tid(), DIGITS)
        },
        &answer,
    );
}

#[test]
fn bep33_scrape_noseed_seed_and_filters() {
    check_query(
        b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz1234566:noseedi1e6:scrapei1ee1:q9:get_peers1:t2:aa1:y1:qe",
        NONE,
        Method::GetPeers { info_hash: MNOP.as_hash(), noseed: true, scrape: true },
    );
    check_query(
        b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz1234561:n6:a name4:porti1e4:seedi1e5:token0:e1:q13:announce_peer1:t2:aa1:y1:qe",
        NONE,
        Method::AnnouncePeer {
            info_hash: MNOP.as_hash(),
            port: 1,
            implied_port: false,
            seed: true,
            token: b"",
            name: Some(b"a name"),
        },
    );
    let (peers, seeds) = ([1; 256], [2; 256]);
    let answer = [
        b"d1:rd4:BFpe256:",
        &peers[..],
        b"4:BFsd256:",
        &seeds[..],
        b"2:id20:0123456789abcdefghije1:t2:aa1:y1:re",
    ]
    .concat();
    assert_eq!((reply(&answer).bloom_peers, reply(&answer).bloom_seeds), (Some(&peers), Some(&seeds)));
    check_written(
        &encode::Reply {
            bloom_peers: Some(&peers),
            bloom_seeds: Some(&seeds),
            ..encode::Reply::new(tid(), DIGITS)
        },
        &answer,
    );
}

#[test]
fn bep42_tells_the_asker_its_endpoint() {
    let answer = b"d2:ip6:\xc0\x00\x02\x07\x1a\xe11:rd2:id20:0123456789abcdefghije1:t2:aa1:y1:re";
    let ip: SocketAddr = "192.0.2.7:6881".parse().unwrap();
    assert_eq!(parse(answer).ip, Some(ip));
    check_written(&encode::Reply { ip: Some(ip), ..encode::Reply::new(tid(), DIGITS) }, answer);

    let v6: SocketAddr = "[2001:db8::1]:80".parse().unwrap();
    let mut out = Vec::new();
    encode::Reply { ip: Some(v6), ..encode::Reply::new(tid(), DIGITS) }.encode(&mut out);
    assert_eq!(parse(&out).ip, Some(v6));
}

#[test]
fn bep43_and_versions_stand_at_the_top() {
    let datagram = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping2:roi1e1:t2:aa1:v4:LT\x02\x111:y1:qe";
    let message = parse(datagram);
    let version = ClientVersion::from_bytes(*b"LT\x02\x11");
    assert!(message.read_only);
    assert_eq!(message.version, Some(version));
    let mut out = Vec::new();
    encode::Query {
        tid: b"aa",
        id: ABCDE,
        version: Some(version),
        read_only: true,
        want: NONE,
        method: Method::Ping,
    }
    .encode(&mut out);
    assert_eq!(out, datagram);
    assert!(!parse(b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping2:roi0e1:t2:aa1:y1:qe").read_only);
}

#[test]
fn bep44_get_and_put() {
    check_query(
        b"d1:ad2:id20:abcdefghij01234567893:seqi7e6:target20:mnopqrstuvwxyz123456e1:q3:get1:t2:aa1:y1:qe",
        NONE,
        Method::Get { target: MNOP, seq: Some(7) },
    );
    check_query(
        b"d1:ad2:id20:abcdefghij01234567895:token2:to1:vd1:ai1eee1:q3:put1:t2:aa1:y1:qe",
        NONE,
        Method::Put {
            value: b"d1:ai1ee",
            token: b"to",
            key: None,
            signature: None,
            seq: None,
            cas: None,
            salt: None,
        },
    );
    let (key, signature) = ([b'k'; 32], [b's'; 64]);
    check_query(
        &[
            b"d1:ad3:casi4e2:id20:abcdefghij01234567891:k32:",
            &key[..],
            b"4:salt6:foobar3:seqi5e3:sig64:",
            &signature,
            b"5:token2:to1:v12:Hello World!e1:q3:put1:t2:aa1:y1:qe",
        ]
        .concat(),
        NONE,
        Method::Put {
            value: b"12:Hello World!",
            token: b"to",
            key: Some(&key),
            signature: Some(&signature),
            seq: Some(5),
            cas: Some(4),
            salt: Some(b"foobar"),
        },
    );
    let answer = [
        b"d1:rd2:id20:0123456789abcdefghij1:k32:",
        &key[..],
        b"5:nodes0:3:seqi5e3:sig64:",
        &signature,
        b"5:token2:to1:v12:Hello World!e1:t2:aa1:y1:re",
    ]
    .concat();
    let read = reply(&answer);
    assert_eq!((read.value, read.seq), (Some(&b"12:Hello World!"[..]), Some(5)));
    assert_eq!((read.key, read.signature, read.token), (Some(&key), Some(&signature), Some(&b"to"[..])));
    check_written(
        &encode::Reply {
            nodes: Some(&[]),
            token: Some(b"to"),
            value: read.value,
            key: read.key,
            signature: read.signature,
            seq: read.seq,
            ..encode::Reply::new(tid(), DIGITS)
        },
        &answer,
    );
}

#[test]
fn bep51_samples() {
    check_query(
        b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q17:sample_infohashes1:t2:aa1:y1:qe",
        NONE,
        Method::SampleInfohashes { target: MNOP },
    );
    let samples =
        [InfoHash::from_bytes([1; 20]), InfoHash::from_bytes([2; 20]), InfoHash::from_bytes([3; 20])];
    let answer = [
        &b"d1:rd2:id20:0123456789abcdefghij8:intervali21600e5:nodes0:3:numi123456789012e7:samples60:"[..],
        &[1; 20],
        &[2; 20],
        &[3; 20],
        b"e1:t2:aa1:y1:re",
    ]
    .concat();
    let read = reply(&answer);
    assert_eq!(read.samples.unwrap().iter().collect::<Vec<_>>(), samples, "sample i begins at 20 i");
    assert_eq!((read.interval, read.num), (Some(21_600), Some(123_456_789_012)));
    check_written(
        &encode::Reply {
            interval: Some(21_600),
            nodes: Some(&[]),
            num: Some(123_456_789_012),
            samples: Some(&samples),
            ..encode::Reply::new(tid(), DIGITS)
        },
        &answer,
    );
    let none = b"d1:rd2:id20:0123456789abcdefghij7:samples0:e1:t2:aa1:y1:re";
    assert!(reply(none).samples.is_some_and(|samples| samples.is_empty()), "present means supported");
    assert_eq!(reply(b"d1:rd2:id20:0123456789abcdefghije1:t2:aa1:y1:re").samples, None);
}

#[test]
fn a_method_that_nobody_knows_keeps_its_name_and_target() {
    check_query(
        b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q4:vote1:t2:aa1:y1:qe",
        NONE,
        Method::Unknown { name: b"vote", target: Some(MNOP) },
    );
    check_query(
        b"d1:ad2:id20:abcdefghij0123456789e1:q5:xyzzy1:t2:aa1:y1:qe",
        NONE,
        Method::Unknown { name: b"xyzzy", target: None },
    );
    assert_eq!(
        query(b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q5:xyzzy1:t2:aa1:y1:qe")
            .method,
        Method::Unknown { name: b"xyzzy", target: Some(MNOP) }
    );
}

#[test]
fn what_fits_a_datagram_can_be_asked_before() {
    let base = encode::Reply {
        ip: Some("192.0.2.7:6881".parse().unwrap()),
        version: Some(ClientVersion::from_bytes(*b"XX\x00\x01")),
        nodes: Some(&[]),
        token: Some(b"12345678"),
        samples: Some(&[]),
        ..encode::Reply::new(Tid::from_raw(b"4:abcd").unwrap(), DIGITS)
    };
    let len = |reply: encode::Reply<'_>| {
        let mut out = Vec::new();
        reply.encode(&mut out);
        assert_eq!(out.len(), reply.encoded_len());
        assert!(krpc::bencode::is_canonical(&out, 10));
        out.len()
    };
    let peers = vec!["198.51.100.1:51413".parse().unwrap(); base.room(encode::VALUE_LEN_V4)];
    let with_peers = len(encode::Reply { values: &peers, ..base });
    assert!((1024 - encode::VALUE_LEN_V4 - 10..=1024).contains(&with_peers), "{with_peers}");

    let peers6 = vec!["[2001:db8::1]:51413".parse().unwrap(); base.room(encode::VALUE_LEN_V6)];
    let with_peers6 = len(encode::Reply { values: &peers6, ..base });
    assert!((1024 - encode::VALUE_LEN_V6 - 10..=1024).contains(&with_peers6), "{with_peers6}");

    let samples = vec![InfoHash::ZERO; base.room(InfoHash::LEN)];
    let with_samples = len(encode::Reply { samples: Some(&samples), ..base });
    assert!((1024 - InfoHash::LEN - 10..=1024).contains(&with_samples), "{with_samples}");

    let node = CompactNode { id: MNOP, addr: "192.0.2.1:1".parse().unwrap() };
    let nodes = vec![node; base.room(CompactNode::LEN_V4)];
    let with_nodes = len(encode::Reply { nodes: Some(&nodes), ..base });
    assert!((1024 - CompactNode::LEN_V4 - 10..=1024).contains(&with_nodes), "{with_nodes}");

    let long_tid = [b"900:".to_vec(), vec![b't'; 900]].concat();
    let full = encode::Reply { tid: Tid::from_raw(&long_tid).unwrap(), ..base };
    assert_eq!(full.room(InfoHash::LEN), 0);
}
