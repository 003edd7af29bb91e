//! What holds for any bytes and any message, with `bendy` as the oracle for bencode.

#![allow(clippy::unwrap_used, reason = "a test")]

mod corpus;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::LazyLock;

use bendy::decoding::{Decoder, FromBencode};
use bendy::state_tracker::Token;
use bendy::value::Value;
use krpc::bencode::{Error, Limits, Reader, Shape, Writer, is_canonical};
use krpc::{
    ClientVersion, CompactNode, ErrorCode, InfoHash, Kind, Message, Method, NodeId, Oddities, ParseError,
    Tid, Want, encode,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

static PACKETS: LazyLock<Vec<corpus::Packet>> = LazyLock::new(corpus::packets);

// ---- bencode ----------------------------------------------------------------------------------

/// A document as a tree.
#[derive(Clone, Debug, PartialEq)]
enum Tree {
    Int(i64),
    Bytes(Vec<u8>),
    List(Vec<Tree>),
    Dict(BTreeMap<Vec<u8>, Tree>),
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Tree::Int),
        (-20_i64..20).prop_map(Tree::Int),
        vec(any::<u8>(), 0..40).prop_map(Tree::Bytes),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Tree::List),
            btree_map(vec(any::<u8>(), 0..12), inner, 0..8).prop_map(Tree::Dict),
        ]
    })
}

fn write(tree: &Tree, w: &mut Writer<'_>) {
    match tree {
        Tree::Int(value) => w.int(*value),
        Tree::Bytes(bytes) => w.bytes(bytes),
        Tree::List(items) => {
            w.begin_list();
            items.iter().for_each(|item| write(item, w));
            w.end();
        }
        Tree::Dict(entries) => {
            w.begin_dict();
            for (key, value) in entries {
                w.bytes(key);
                write(value, w);
            }
            w.end();
        }
    }
}

fn read(r: &mut Reader<'_>) -> Result<Tree, Error> {
    match r.peek() {
        Some(Shape::Int) => r.int().map(Tree::Int),
        Some(Shape::Bytes) => r.bytes().map(|bytes| Tree::Bytes(bytes.to_vec())),
        Some(Shape::List) => {
            r.enter_list()?;
            let mut items = Vec::new();
            while r.next_item()? {
                items.push(read(r)?);
            }
            Ok(Tree::List(items))
        }
        Some(Shape::Dict) => {
            r.enter_dict()?;
            let mut entries = BTreeMap::new();
            while let Some(key) = r.next_key()? {
                entries.insert(key.to_vec(), read(r)?);
            }
            Ok(Tree::Dict(entries))
        }
        None => r.skip().map(|()| unreachable!("nothing stands here")),
    }
}

fn tree_of_bendy(value: &Value<'_>) -> Tree {
    match value {
        Value::Integer(value) => Tree::Int(*value),
        Value::Bytes(bytes) => Tree::Bytes(bytes.to_vec()),
        Value::List(items) => Tree::List(items.iter().map(tree_of_bendy).collect()),
        Value::Dict(entries) => {
            Tree::Dict(entries.iter().map(|(key, value)| (key.to_vec(), tree_of_bendy(value))).collect())
        }
    }
}

/// The one document, as `bendy` reads it.
fn read_with_bendy(document: &[u8]) -> Option<Tree> {
    let mut decoder = Decoder::new(document).with_max_depth(100);
    let value = Value::decode_bencode_object(decoder.next_object().ok()??).ok()?;
    Some(tree_of_bendy(&value))
}

/// Whether `bendy` finds well-formed values and nothing else, none deeper than `depth`.
fn bendy_accepts(document: &[u8], depth: usize) -> bool {
    Decoder::new(document).with_max_depth(depth).tokens().all(|token| token.is_ok())
}

/// How many tokens there are, ends left out, as our reader counts them.
fn bendy_tokens(document: &[u8]) -> usize {
    Decoder::new(document).tokens().filter(|token| !matches!(token, Ok(Token::End))).count()
}

/// Bytes that look like bencode more often than chance makes them.
fn nearly_bencode() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"d".to_vec()),
        Just(b"l".to_vec()),
        Just(b"e".to_vec()),
        Just(b"1:a".to_vec()),
        Just(b"1:b".to_vec()),
        Just(b"0:".to_vec()),
        Just(b"02:ab".to_vec()),
        Just(b"i-0e".to_vec()),
        Just(b"i7e".to_vec()),
        Just(b"i9223372036854775808e".to_vec()),
        Just(b"9:".to_vec()),
        any::<u8>().prop_map(|byte| vec![byte]),
    ];
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn what_we_write_bendy_reads_and_so_do_we(tree in tree()) {
        let mut out = Vec::new();
        write(&tree, &mut Writer::new(&mut out));
        prop_assert!(is_canonical(&out, 100));
        let by_bendy = read_with_bendy(&out);
        prop_assert_eq!(by_bendy.as_ref(), Some(&tree));
        let mut r = Reader::new(&out, Limits::INFO_DICT).unwrap();
        prop_assert_eq!(&read(&mut r).unwrap(), &tree);
        prop_assert!(r.rest().is_empty());
        let raw = Reader::new(&out, Limits::INFO_DICT).unwrap().raw();
        prop_assert_eq!(raw, Ok(&out[..]));
    }

    #[test]
    fn what_bendy_accepts_we_accept(document in nearly_bencode()) {
        let mut r = Reader::new(&document, Limits::INFO_DICT).unwrap();
        let mut ours = Ok(());
        while ours.is_ok() && !r.rest().is_empty() {
            ours = r.skip();
        }
        if bendy_accepts(&document, 100) {
            prop_assert_eq!(ours, Ok(()), "{}", document.escape_ascii());
            // And with no more tokens than bendy counts.
            let limits = Limits { tokens: bendy_tokens(&document) as u32, ..Limits::INFO_DICT };
            let mut r = Reader::new(&document, limits).unwrap();
            while !r.rest().is_empty() {
                prop_assert_eq!(r.skip(), Ok(()));
            }
        } else if ours.is_ok() {
            // All that we tolerate beyond bendy: the order of keys and padded lengths.
            let strict_of = rewritten(&document);
            prop_assert!(
                bendy_accepts(&strict_of, 100),
                "{} as {}", document.escape_ascii(), strict_of.escape_ascii()
            );
        }
    }

    #[test]
    fn reading_and_skipping_agree(document in nearly_bencode()) {
        let mut skipping = Reader::new(&document, Limits::INFO_DICT).unwrap();
        let mut reading = skipping.clone();
        match (skipping.skip(), read(&mut reading)) {
            (Ok(()), Ok(_)) => prop_assert_eq!(skipping.rest(), reading.rest()),
            (Ok(()), Err(error)) => prop_assert_eq!(error, Error::IntegerOverflow),
            (Err(_), Err(_)) => {}
            (Err(error), Ok(tree)) => prop_assert!(false, "{error} but {tree:?}"),
        }
    }

    #[test]
    fn the_reader_survives_any_bytes(document in vec(any::<u8>(), 0..200), depth in 0_u16..300, tokens in 0_u32..50) {
        let limits = Limits { depth, tokens, bytes: 200 };
        let mut r = Reader::new(&document, limits).unwrap();
        let before = r.rest().len();
        if let Ok(raw) = r.raw() {
            prop_assert_eq!(raw.len() + r.rest().len(), before);
        }
    }
}

/// The document with its keys sorted, repeated ones left out, and no length padded.
fn rewritten(document: &[u8]) -> Vec<u8> {
    fn value(r: &mut Reader<'_>, out: &mut Vec<u8>) {
        match r.peek().unwrap() {
            Shape::Int => out.extend_from_slice(r.raw().unwrap()),
            Shape::Bytes => Writer::new(out).bytes(r.bytes().unwrap()),
            Shape::List => {
                r.enter_list().unwrap();
                out.push(b'l');
                while r.next_item().unwrap() {
                    value(r, out);
                }
                out.push(b'e');
            }
            Shape::Dict => {
                r.enter_dict().unwrap();
                let mut entries = BTreeMap::new();
                while let Some(key) = r.next_key().unwrap() {
                    let mut written = Vec::new();
                    value(r, &mut written);
                    entries.insert(key, written);
                }
                out.push(b'd');
                for (key, written) in entries {
                    Writer::new(out).bytes(key);
                    out.extend_from_slice(&written);
                }
                out.push(b'e');
            }
        }
    }
    let mut out = Vec::new();
    let mut r = Reader::new(document, Limits::INFO_DICT).unwrap();
    while !r.rest().is_empty() {
        value(&mut r, &mut out);
    }
    out
}

// ---- messages ---------------------------------------------------------------------------------

/// Parses, and walks whatever can be walked.
fn walk(datagram: &[u8]) -> Result<(), ParseError> {
    let message = match Message::parse(datagram) {
        Ok(message) => message,
        Err(error) => {
            if let Some(tid) = Tid::to_refuse(error, datagram) {
                assert!(error.is_answerable() && !tid.raw().is_empty());
            }
            return Err(error);
        }
    };
    assert!(Tid::from_raw(message.tid.raw()).is_some(), "an echoed id is one whole value");
    if let Kind::Reply(reply) = message.kind {
        assert_eq!(reply.nodes.iter().count(), reply.nodes.len());
        assert_eq!(reply.nodes6.iter().count(), reply.nodes6.len());
        assert_eq!(reply.values.iter().count(), reply.values.len());
        if let Some(samples) = reply.samples {
            assert_eq!(samples.iter().count(), samples.len());
        }
    }
    Ok(())
}

fn id() -> impl Strategy<Value = NodeId> {
    any::<[u8; 20]>().prop_map(NodeId::from_bytes)
}

fn addr_v4() -> impl Strategy<Value = SocketAddr> {
    any::<([u8; 4], u16)>().prop_map(SocketAddr::from)
}

fn addr_v6() -> impl Strategy<Value = SocketAddr> {
    any::<([u8; 16], u16)>()
        .prop_map(SocketAddr::from)
        .prop_filter("an address that is IPv4 is written as IPv4", |addr| addr.ip().to_canonical().is_ipv6())
}

fn version() -> impl Strategy<Value = Option<ClientVersion>> {
    any::<Option<[u8; 4]>>().prop_map(|bytes| bytes.map(ClientVersion::from_bytes))
}

/// The parts of a method, so that a [`Method`] can borrow from them.
#[derive(Clone, Debug)]
struct Parts {
    which: usize,
    point: NodeId,
    flags: [bool; 4],
    port: u16,
    token: Vec<u8>,
    name: Option<Vec<u8>>,
    value: Tree,
    key: Option<[u8; 32]>,
    signature: bool,
    seq: Option<i64>,
    cas: Option<i64>,
}

prop_compose! {
    fn parts()(
        which in 0_usize..8, point in id(), flags in any::<[bool; 4]>(), port in 1_u16..,
        token in vec(any::<u8>(), 0..20), name in proptest::option::of(vec(any::<u8>(), 0..40)), value in tree(),
        key in any::<Option<[u8; 32]>>(), signature in any::<bool>(), seq in any::<Option<i64>>(), cas in any::<Option<i64>>(),
    ) -> Parts {
        Parts { which, point, flags, port, token, name, value, key, signature, seq, cas }
    }
}

fn method<'a>(parts: &'a Parts, value: &'a [u8]) -> Method<'a> {
    let info_hash = parts.point.as_hash();
    match parts.which {
        0 => Method::Ping,
        1 => Method::FindNode { target: parts.point },
        2 => Method::GetPeers { info_hash, noseed: parts.flags[0], scrape: parts.flags[1] },
        3 => Method::AnnouncePeer {
            info_hash,
            port: parts.port,
            implied_port: parts.flags[0],
            seed: parts.flags[1],
            token: &parts.token,
            name: parts.name.as_deref(),
        },
        4 => Method::SampleInfohashes { target: parts.point },
        5 => Method::Get { target: parts.point, seq: parts.seq },
        6 => Method::Put {
            value,
            token: &parts.token,
            key: parts.key.as_ref(),
            signature: parts.signature.then_some(&[7; 64]),
            seq: parts.seq,
            cas: parts.cas,
            salt: parts.name.as_deref(),
        },
        _ => Method::Unknown { name: b"xyzzy", target: parts.flags[0].then_some(parts.point) },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn a_query_comes_back_as_it_was_written(
        parts in parts(), tid in vec(any::<u8>(), 0..8), id in id(), version in version(), read_only: bool, n4: bool, n6: bool,
    ) {
        let mut value = Vec::new();
        write(&parts.value, &mut Writer::new(&mut value));
        let (want, method) = (Want { n4, n6 }, method(&parts, &value));
        let query = encode::Query { tid: &tid, id, version, read_only, want, method };
        let mut out = Vec::new();
        query.encode(&mut out);
        prop_assert_eq!(out.len(), query.encoded_len());
        prop_assert!(is_canonical(&out, 100));
        let message = Message::parse(&out).unwrap();
        prop_assert_eq!(message.tid.bytes(), Some(&tid[..]));
        prop_assert_eq!((message.version, message.read_only, message.ip), (version, read_only, None));
        prop_assert_eq!(message.kind, Kind::Query(krpc::Query { id, want, method }));
        prop_assert_eq!(message.oddities, Oddities::NONE);
    }

    #[test]
    fn a_reply_comes_back_as_it_was_written(
        tid in tree(), id in id(), version in version(), ip in proptest::option::of(prop_oneof![addr_v4(), addr_v6()]),
        nodes in vec((self::id(), addr_v4()), 0..10), nodes6 in vec((self::id(), addr_v6()), 0..10),
        values in vec(prop_oneof![addr_v4(), addr_v6()], 0..30), token in proptest::option::of(vec(any::<u8>(), 0..30)),
        samples in proptest::option::of(vec(any::<[u8; 20]>(), 0..30)), num in proptest::option::of(0..i64::MAX as u64),
        interval in any::<Option<u32>>(), blooms: [bool; 2], value in proptest::option::of(tree()),
        key in any::<Option<[u8; 32]>>(), seq in any::<Option<i64>>(),
    ) {
        let encoded = |tree: &Tree| {
            let mut out = Vec::new();
            write(tree, &mut Writer::new(&mut out));
            out
        };
        let (tid, value) = (encoded(&tid), value.as_ref().map(encoded));
        let compact = |list: &[(NodeId, SocketAddr)]| -> Vec<CompactNode> {
            list.iter().map(|(id, addr)| CompactNode { id: *id, addr: *addr }).collect()
        };
        let (nodes, nodes6) = (compact(&nodes), compact(&nodes6));
        let samples: Option<Vec<InfoHash>> = samples.map(|list| list.into_iter().map(InfoHash::from_bytes).collect());
        let reply = encode::Reply {
            tid: Tid::from_raw(&tid).unwrap(), id, version, ip, nodes: Some(&nodes), nodes6: Some(&nodes6),
            values: &values, token: token.as_deref(), samples: samples.as_deref(), num, interval,
            bloom_seeds: blooms[0].then_some(&[1; 256]), bloom_peers: blooms[1].then_some(&[2; 256]),
            value: value.as_deref(), key: key.as_ref(), signature: None, seq,
        };
        let mut out = Vec::new();
        reply.encode(&mut out);
        prop_assert_eq!(out.len(), reply.encoded_len());
        prop_assert!(is_canonical(&out, 100));
        let message = Message::parse(&out).unwrap();
        prop_assert_eq!(message.tid.raw(), &tid[..]);
        prop_assert_eq!((message.version, message.ip, message.oddities), (version, ip, Oddities::NONE));
        let Kind::Reply(read) = message.kind else { panic!("{message:?}") };
        prop_assert_eq!(read.id, Some(id));
        prop_assert_eq!(&read.nodes.iter().collect::<Vec<_>>(), &nodes);
        prop_assert_eq!(&read.nodes6.iter().collect::<Vec<_>>(), &nodes6);
        prop_assert_eq!(&read.values.iter().collect::<Vec<_>>(), &values);
        prop_assert_eq!(&read.samples.map(|list| list.iter().collect::<Vec<_>>()), &samples);
        prop_assert_eq!((read.token, read.num, read.interval), (token.as_deref(), num, interval));
        prop_assert_eq!((read.bloom_seeds, read.bloom_peers), (reply.bloom_seeds, reply.bloom_peers));
        prop_assert_eq!((read.value, read.key, read.seq), (value.as_deref(), key.as_ref(), seq));
    }

    #[test]
    fn an_error_comes_back_as_it_was_written(tid in vec(any::<u8>(), 0..8), code: i64, text: String, version in version()) {
        let mut raw = Vec::new();
        Writer::new(&mut raw).bytes(&tid);
        let error = encode::Error {
            tid: Tid::from_raw(&raw).unwrap(), code: ErrorCode(code), text: &text, version, ip: None,
        };
        let mut out = Vec::new();
        error.encode(&mut out);
        prop_assert_eq!(out.len(), error.encoded_len());
        prop_assert!(is_canonical(&out, 100));
        let Message { kind: Kind::Error(read), oddities: Oddities::NONE, .. } = Message::parse(&out).unwrap() else {
            panic!("{}", out.escape_ascii())
        };
        prop_assert_eq!((read.code, read.text, read.id), (Some(ErrorCode(code)), text.as_bytes(), None));
    }

    #[test]
    fn parsing_survives_any_bytes(datagram in vec(any::<u8>(), 0..300)) {
        let _ = walk(&datagram);
        let _ = walk(&[b"d", &datagram[..]].concat());
    }

    #[test]
    fn parsing_survives_what_is_nearly_a_message(pieces in nearly_bencode(), r: bool) {
        let (body, kind) = if r { (b"1:r", b"r") } else { (b"1:a", b"q") };
        let datagram = [b"d", &body[..], &pieces, b"1:t2:aa1:y1:", kind, b"e"].concat();
        let _ = walk(&datagram);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(5_000) })]

    /// Real packets with bytes changed, taken out, put in, or swapped between two packets.
    #[test]
    fn parsing_survives_damaged_packets(
        which in any::<prop::sample::Index>(), other in any::<prop::sample::Index>(),
        edits in vec((any::<prop::sample::Index>(), any::<u8>(), 0..5_u8), 1..6),
    ) {
        let mut packet = which.get(&PACKETS).bytes.clone();
        for (at, byte, edit) in edits {
            let at = at.index(packet.len() + 1);
            match edit {
                0 if at < packet.len() => packet[at] = byte,
                1 if at < packet.len() => packet[at] ^= 1 << (byte % 8),
                2 if at < packet.len() => drop(packet.remove(at)),
                3 => packet.insert(at, b"0123456789:ilde"[usize::from(byte) % 15]),
                _ => {
                    let donor = &other.get(&PACKETS).bytes;
                    let from = usize::from(byte).min(donor.len());
                    packet.truncate(at);
                    packet.extend_from_slice(&donor[from..]);
                }
            }
        }
        let walked = walk(&packet);
        if packet.len() >= Message::LEN_MIN && packet[0] == b'd' && bendy_accepts(&packet, 10) {
            prop_assert!(
                !matches!(walked, Err(ParseError::Malformed(_))),
                "bendy reads {} but {:?}", packet.escape_ascii(), walked
            );
        }
    }
}

/// Where bendy reads a recorded packet, it reads the same content.
#[test]
fn bendy_reads_the_same_in_every_recorded_packet() {
    let bytes = |tree: Option<&Tree>| match tree {
        Some(Tree::Bytes(bytes)) => Some(bytes.clone()),
        _ => None,
    };
    let mut compared = 0;
    for packet in PACKETS.iter() {
        let (Ok(message), Some(Tree::Dict(top))) =
            (Message::parse(&packet.bytes), read_with_bendy(&packet.bytes))
        else {
            continue;
        };
        let field = |body: &str, key: &str| match top.get(body.as_bytes()) {
            Some(Tree::Dict(body)) => body.get(key.as_bytes()).cloned(),
            _ => None,
        };
        let string = |body, key| bytes(field(body, key).as_ref());
        if let Some(Tree::Bytes(tid)) = top.get(&b"t"[..]) {
            assert_eq!(message.tid.bytes(), Some(&tid[..]));
        }
        assert_eq!(message.version.map(|v| v.as_bytes().to_vec()), bytes(top.get(&b"v"[..])));
        match message.kind {
            Kind::Query(query) => {
                assert_eq!(bytes(top.get(&b"q"[..])).as_deref(), Some(query.method.name()));
                assert_eq!(string("a", "id").as_deref(), Some(&query.id.as_bytes()[..]));
                let target = string("a", "target").or(string("a", "info_hash"));
                assert_eq!(query.method.target().map(|target| target.as_bytes().to_vec()), target);
                if let Method::AnnouncePeer { port, token, .. } = query.method {
                    assert_eq!(field("a", "port"), Some(Tree::Int(port.into())));
                    assert_eq!(string("a", "token").as_deref(), Some(token));
                }
            }
            Kind::Reply(reply) => {
                assert_eq!(reply.id.map(|id| id.as_bytes().to_vec()), string("r", "id"));
                assert_eq!(reply.nodes.raw(), string("r", "nodes").unwrap_or_default());
                assert_eq!(reply.token, string("r", "token").as_deref());
                let values = match field("r", "values") {
                    Some(Tree::List(items)) => items,
                    _ => Vec::new(),
                };
                assert_eq!(reply.values.len(), values.len());
                for (peer, item) in reply.values.iter().zip(&values) {
                    assert_eq!(krpc::read_addr(&bytes(Some(item)).unwrap()), Some(peer));
                }
                let samples =
                    reply.samples.map(|list| list.iter().flat_map(|s| *s.as_bytes()).collect::<Vec<u8>>());
                assert_eq!(samples, string("r", "samples"));
                assert_eq!(reply.num.map(|num| Tree::Int(num as i64)), field("r", "num"));
                assert_eq!(reply.interval.map(|seconds| Tree::Int(seconds.into())), field("r", "interval"));
            }
            Kind::Error(error) => {
                let Some(Tree::List(items)) = top.get(&b"e"[..]) else { panic!("{packet:?}") };
                let expected = [Tree::Int(error.code.unwrap().0), Tree::Bytes(error.text.to_vec())];
                assert_eq!(items[..], expected);
            }
        }
        let is_query = matches!(message.kind, Kind::Query(_));
        assert!(is_query == packet.is_query || packet.sender == "probe", "{} {}", packet.sender, packet.name);
        compared += 1;
    }
    assert!(compared > 350, "{compared}");
}
