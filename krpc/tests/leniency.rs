//! What deviates from the specifications: read all the same and reported, or dropped for a reason.

#![allow(clippy::unwrap_used, reason = "a test")]

use krpc::bencode::Error;
use krpc::{
    ClientVersion, ErrorCode, ErrorReply, Kind, Message, Method, NodeId, Oddities, ParseError, Query, Reply,
    Tid,
};

const ID: &str = "2:id20:abcdefghij0123456789";
const ABCDE: NodeId = NodeId::from_bytes(*b"abcdefghij0123456789");
const MNOP: NodeId = NodeId::from_bytes(*b"mnopqrstuvwxyz123456");

#[track_caller]
fn odd(datagram: &[u8]) -> (Kind<'_>, Oddities) {
    let message =
        Message::parse(datagram).unwrap_or_else(|error| panic!("{error}: {}", datagram.escape_ascii()));
    (message.kind, message.oddities)
}

#[track_caller]
fn odd_reply(body: &str) -> (Reply<'static>, Oddities) {
    let datagram = format!("d1:rd{body}e1:t2:aa1:y1:re").into_bytes().leak();
    match odd(datagram) {
        (Kind::Reply(reply), oddities) => (reply, oddities),
        (other, _) => panic!("{other:?}"),
    }
}

#[track_caller]
fn query_of(arguments: &str, method: &str) -> Result<Query<'static>, ParseError> {
    let datagram = format!("d1:ad{arguments}e1:q{}:{method}1:t2:aa1:y1:qe", method.len()).into_bytes().leak();
    match Message::parse(datagram)?.kind {
        Kind::Query(query) => Ok(query),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn dropped(datagram: impl AsRef<[u8]>, error: ParseError) {
    let datagram = datagram.as_ref();
    assert_eq!(Message::parse(datagram), Err(error), "{}", datagram.escape_ascii());
}

#[test]
fn what_is_no_dictionary_or_too_short_is_dropped() {
    dropped("", ParseError::TooShort);
    dropped("d", ParseError::TooShort);
    dropped("d1:t0:1:y1:re", ParseError::TooShort);
    dropped("hello world, this is not for you", ParseError::NotADict);
    dropped("li1ei2ee", ParseError::NotADict);
    dropped("i5e", ParseError::NotADict);
    dropped([0x41, 0, 0x12, 0x34], ParseError::NotADict);
}

#[test]
fn a_truncated_message_is_dropped_wherever_it_ends() {
    let whole = format!("d1:ad{ID}5:otherl1:xi5eee1:q4:ping1:t4:aaaa1:y1:qe");
    assert!(Message::parse(whole.as_bytes()).is_ok());
    for end in Message::LEN_MIN..whole.len() {
        let error = Message::parse(&whole.as_bytes()[..end]).unwrap_err();
        assert!(
            matches!(error, ParseError::Malformed(Error::Truncated | Error::LengthBeyondEnd)),
            "{end}: {error}"
        );
    }
}

#[test]
fn bytes_that_are_no_bencode_are_dropped_for_their_reason() {
    for (inside, error) in [
        ("1:xi00e", Error::BadInteger),
        ("1:xi-0e", Error::BadInteger),
        ("i1ei2e", Error::KeyNotString),
        ("1:xe", Error::UnexpectedByte),
        ("1:x99999999999:y", Error::LengthBeyondEnd),
        (&format!("1:x{}{}", "l".repeat(10), "e".repeat(10)), Error::TooDeep),
        (&format!("1:xl{}e", "0:".repeat(500)), Error::TooManyTokens),
    ] {
        dropped(format!("d{inside}1:ad{ID}e1:q4:ping1:t2:aa1:y1:qe"), ParseError::Malformed(error));
    }
    dropped(
        [b"d1:x".to_vec(), b"l".repeat(30_000), b"e".repeat(30_000)].concat(),
        ParseError::Malformed(Error::TooDeep),
    );
    dropped([b"d1:x70000:".to_vec(), vec![0; 70_000]].concat(), ParseError::Malformed(Error::TooLong));
}

#[test]
fn deep_and_many_up_to_the_limits_are_read() {
    let deep = format!("1:x{}{}", "l".repeat(9), "e".repeat(9));
    assert!(query_of(&format!("{ID}1:xi1e"), "ping").is_ok());
    assert!(Message::parse(format!("d1:ad{ID}e1:q4:ping1:t2:aa{deep}1:y1:qe").as_bytes()).is_ok());
    let many = format!("1:xl{}e", "0:".repeat(480));
    assert!(Message::parse(format!("d1:ad{ID}e1:q4:ping1:t2:aa{many}1:y1:qe").as_bytes()).is_ok());
}

#[test]
fn a_message_without_type_or_transaction_is_dropped() {
    dropped(format!("d1:ad{ID}e1:q4:ping1:t2:aae"), ParseError::MissingType);
    dropped(format!("d1:ad{ID}e1:q4:ping1:t2:aa1:yi1ee"), ParseError::MissingType);
    dropped(format!("d1:ad{ID}e1:q4:ping1:t2:aa1:y1:xe"), ParseError::UnknownType);
    dropped(format!("d1:ad{ID}e1:q4:ping1:t2:aa1:y0:e"), ParseError::UnknownType);
    dropped(format!("d1:ad{ID}e1:q4:ping1:t2:aa1:y5:querye"), ParseError::UnknownType);
    dropped(format!("d1:ad{ID}e1:q4:ping1:y1:qe"), ParseError::MissingTransaction);
    dropped("d1:eli201e1:xe1:y1:ee", ParseError::MissingTransaction);
    dropped("d1:t2:aa1:y1:re", ParseError::MissingReply);
    dropped("d1:rle1:t2:aa1:y1:re", ParseError::MissingReply);
}

#[test]
fn a_transaction_id_of_any_type_and_length_is_echoed_as_it_came() {
    let long = format!("300:{}", "T".repeat(300));
    for raw in ["0:", "4:abcd", "1:\0", "i7e", "i-1e", "li1e1:xe", "d1:ai1ee", "02:ab", long.as_str()] {
        let datagram = format!("d1:ad{ID}e1:q4:ping1:t{raw}1:y1:qe");
        let message = Message::parse(datagram.as_bytes()).unwrap();
        assert_eq!(message.tid.raw(), raw.as_bytes());
        let mut out = Vec::new();
        krpc::encode::Reply::new(message.tid, MNOP).encode(&mut out);
        assert_eq!(
            out.escape_ascii().to_string(),
            format!("d1:rd2:id20:mnopqrstuvwxyz123456e1:t{raw}1:y1:re").as_bytes().escape_ascii().to_string()
        );
        let content = match raw.split_once(':') {
            Some((prefix, content)) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(content.as_bytes())
            }
            _ => None,
        };
        assert_eq!(message.tid.bytes(), content, "{raw}");
    }
}

#[test]
fn only_a_whole_value_can_be_made_a_transaction_id() {
    assert_eq!(Tid::from_raw(b"2:ab").unwrap().bytes(), Some(&b"ab"[..]));
    for raw in [&b""[..], b"2:a", b"2:abc", b"i1ei2e", b"e"] {
        assert_eq!(Tid::from_raw(raw), None);
    }
}

#[test]
fn a_query_lacking_something_is_refused_for_that() {
    let hash = "9:info_hash20:mnopqrstuvwxyz123456";
    for (arguments, method, error) in [
        ("".to_string(), "ping", ParseError::MissingId),
        ("2:idi5e".to_string(), "ping", ParseError::MissingId),
        ("2:id19:abcdefghij012345678".to_string(), "ping", ParseError::BadId),
        ("2:id21:abcdefghij0123456789x".to_string(), "ping", ParseError::BadId),
        ("2:id0:".to_string(), "ping", ParseError::BadId),
        (ID.to_string(), "find_node", ParseError::MissingTarget),
        (format!("{ID}6:targeti1e"), "find_node", ParseError::MissingTarget),
        (format!("{ID}6:target19:abcdefghij012345678"), "find_node", ParseError::BadTarget),
        (ID.to_string(), "sample_infohashes", ParseError::MissingTarget),
        (format!("{ID}6:target0:"), "sample_infohashes", ParseError::BadTarget),
        (ID.to_string(), "get", ParseError::MissingTarget),
        (ID.to_string(), "get_peers", ParseError::MissingInfoHash),
        (format!("{ID}9:info_hash32:abcdefghijklmnopqrstuvwxyz012345"), "get_peers", ParseError::BadInfoHash),
        (format!("{ID}4:porti1e5:token1:x"), "announce_peer", ParseError::MissingInfoHash),
        (format!("{ID}{hash}4:porti1e"), "announce_peer", ParseError::MissingToken),
        (format!("{ID}{hash}4:porti1e5:tokeni1e"), "announce_peer", ParseError::MissingToken),
        (format!("{ID}{hash}5:token1:x"), "announce_peer", ParseError::BadPort),
        (format!("{ID}{hash}4:porti0e5:token1:x"), "announce_peer", ParseError::BadPort),
        (format!("{ID}{hash}4:porti-1e5:token1:x"), "announce_peer", ParseError::BadPort),
        (format!("{ID}{hash}4:porti65536e5:token1:x"), "announce_peer", ParseError::BadPort),
        (format!("{ID}{hash}4:porti99999999999999999999e5:token1:x"), "announce_peer", ParseError::BadPort),
        (format!("{ID}12:implied_porti0e{hash}4:porti0e5:token1:x"), "announce_peer", ParseError::BadPort),
        (format!("{ID}5:token1:x"), "put", ParseError::MissingValue),
        (format!("{ID}1:vi1e"), "put", ParseError::MissingToken),
    ] {
        assert_eq!(query_of(&arguments, method), Err(error), "{method} {arguments}");
        // The sender can be told, and under its own transaction id.
        let datagram = format!("d1:ad{arguments}e1:q{}:{method}1:t2:zz1:y1:qe", method.len());
        let tid = Tid::to_refuse(error, datagram.as_bytes()).unwrap();
        assert_eq!(tid.bytes(), Some(&b"zz"[..]));
    }
    for (datagram, error) in [
        (format!("d1:ad{ID}e1:t2:zz1:y1:qe"), ParseError::MissingMethod),
        (format!("d1:ad{ID}e1:qi5e1:t2:zz1:y1:qe"), ParseError::MissingMethod),
        ("d1:q4:ping1:t2:zz1:y1:qe".to_string(), ParseError::MissingArguments),
        (format!("d1:al{ID}e1:q4:ping1:t2:zz1:y1:qe"), ParseError::MissingArguments),
    ] {
        dropped(&datagram, error);
        assert_eq!(Tid::to_refuse(error, datagram.as_bytes()).unwrap().raw(), b"2:zz");
    }
}

#[test]
fn nobody_is_told_why_something_else_than_a_query_was_dropped() {
    for error in [
        ParseError::NotADict,
        ParseError::TooShort,
        ParseError::Malformed(Error::Truncated),
        ParseError::MissingType,
        ParseError::UnknownType,
        ParseError::MissingTransaction,
        ParseError::MissingReply,
    ] {
        assert_eq!(Tid::to_refuse(error, b"d1:t2:aa1:y1:qe"), None, "{error}");
    }
    // A reply with a bad id has the same error as a query with one, but is no question.
    let reply = b"d1:rd2:id3:abce1:t2:aa1:y1:re";
    dropped(reply, ParseError::BadId);
    assert_eq!(Tid::to_refuse(ParseError::BadId, reply), None);
}

#[test]
fn with_an_implied_port_the_port_is_of_no_interest() {
    let hash = "9:info_hash20:mnopqrstuvwxyz123456";
    for port in ["", "4:porti0e", "4:porti70000e", "4:port3:abc"] {
        let query =
            query_of(&format!("{ID}12:implied_porti1e{hash}{port}5:token1:x"), "announce_peer").unwrap();
        let Method::AnnouncePeer { port, implied_port, .. } = query.method else { panic!() };
        assert_eq!((port, implied_port), (0, true));
    }
}

#[test]
fn an_unknown_method_with_a_target_of_wrong_length_has_none() {
    for arguments in ["6:target3:abc", "9:info_hash32:abcdefghijklmnopqrstuvwxyz012345", "6:targeti5e"] {
        let query = query_of(&format!("{ID}{arguments}"), "xyzzy").unwrap();
        assert_eq!(query.method, Method::Unknown { name: b"xyzzy", target: None });
    }
}

#[test]
fn bytes_behind_the_message_are_tolerated() {
    let datagram = format!("d1:ad{ID}e1:q4:ping1:t2:aa1:y1:qeXXXX");
    let (kind, oddities) = odd(datagram.as_bytes());
    assert!(matches!(kind, Kind::Query(Query { method: Method::Ping, id: ABCDE, .. })));
    assert_eq!(oddities, Oddities::TRAILING_BYTES);
}

#[test]
fn unsorted_keys_are_tolerated_at_both_levels() {
    let top = format!("d1:y1:q1:t2:aa1:q4:ping1:ad{ID}ee");
    assert_eq!(odd(top.as_bytes()).1, Oddities::UNSORTED_KEYS);
    let inner = format!("d1:ad6:target20:mnopqrstuvwxyz123456{ID}e1:q9:find_node1:t2:aa1:y1:qe");
    let (kind, oddities) = odd(inner.as_bytes());
    assert_eq!(oddities, Oddities::UNSORTED_KEYS);
    assert!(matches!(kind, Kind::Query(Query { id: ABCDE, method: Method::FindNode { target: MNOP }, .. })));
}

#[test]
fn of_duplicate_keys_the_first_counts() {
    let arguments = format!("d1:ad{ID}2:id20:mnopqrstuvwxyz123456e1:q4:ping1:t2:aa1:y1:qe");
    let (kind, oddities) = odd(arguments.as_bytes());
    assert!(matches!(kind, Kind::Query(Query { id: ABCDE, .. })));
    assert_eq!(oddities, Oddities::DUPLICATE_KEYS);

    let bodies = "d1:rd2:id20:abcdefghij0123456789e1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re";
    let (kind, oddities) = odd(bodies.as_bytes());
    assert!(matches!(kind, Kind::Reply(Reply { id: Some(ABCDE), .. })));
    assert_eq!(oddities, Oddities::DUPLICATE_KEYS);

    let top = "d1:rd2:id20:abcdefghij0123456789e1:t2:aa1:t2:bb1:v4:AA\0\x001:v4:BB\0\x001:y1:r1:y1:qe";
    let message = Message::parse(top.as_bytes()).unwrap();
    assert_eq!(message.tid.raw(), b"2:aa");
    assert_eq!(message.version, Some(ClientVersion::from_bytes(*b"AA\0\0")));
    assert!(matches!(message.kind, Kind::Reply(_)));
    assert_eq!(message.oddities, Oddities::DUPLICATE_KEYS);

    // Twins that are not neighbours are unsorted as well.
    let apart = format!("d1:ad{ID}1:xi1e2:id20:mnopqrstuvwxyz123456e1:q4:ping1:t2:aa1:y1:qe");
    assert_eq!(odd(apart.as_bytes()).1, Oddities::DUPLICATE_KEYS | Oddities::UNSORTED_KEYS);

    let (reply, oddities) = odd_reply(&format!("{ID}6:valuesl6:aaaaaae6:valuesl6:bbbbbb6:cccccce"));
    assert_eq!(reply.values.iter().collect::<Vec<_>>(), ["97.97.97.97:24929".parse().unwrap()]);
    assert_eq!(oddities, Oddities::DUPLICATE_KEYS);
}

#[test]
fn a_message_with_both_bodies_is_read_by_its_type() {
    let (a, r) = ("1:ad2:id20:abcdefghij0123456789e", "1:rd2:id20:mnopqrstuvwxyz123456e");
    let query = format!("d{a}1:q4:ping{r}1:t2:aa1:y1:qe");
    let (kind, oddities) = odd(query.as_bytes());
    assert!(matches!(kind, Kind::Query(Query { id: ABCDE, .. })));
    assert_eq!(oddities, Oddities::QUERY_AND_REPLY);
    let reply = format!("d{a}1:q4:ping{r}1:t2:aa1:y1:re");
    let (kind, oddities) = odd(reply.as_bytes());
    assert!(matches!(kind, Kind::Reply(Reply { id: Some(MNOP), .. })));
    assert_eq!(oddities, Oddities::QUERY_AND_REPLY);
    // Nothing of the arguments gets into the reply.
    let mixed = "d1:ad5:token4:evile1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re";
    assert!(matches!(odd(mixed.as_bytes()).0, Kind::Reply(Reply { token: None, .. })));
}

#[test]
fn an_error_may_carry_a_reply_and_then_has_an_id() {
    let both = "d1:eli203e20:missing 'target' keye2:ip6:\x7f\0\0\x01\x1a@1:rd2:id20:abcdefghij01234567891:pi40085ee1:t4:aaaa1:v4:LT\x02\x111:y1:ee";
    let (kind, oddities) = odd(both.as_bytes());
    assert_eq!(
        kind,
        Kind::Error(ErrorReply {
            code: Some(ErrorCode::PROTOCOL),
            text: b"missing 'target' key",
            id: Some(ABCDE)
        })
    );
    assert_eq!(oddities, Oddities::ERROR_AND_REPLY);
    // The same two in a message that says it is a reply.
    let reply = "d1:eli203e1:xe1:rd2:id20:abcdefghij0123456789e1:t4:aaaa1:y1:re";
    let (kind, oddities) = odd(reply.as_bytes());
    assert!(matches!(kind, Kind::Reply(Reply { id: Some(ABCDE), .. })));
    assert_eq!(oddities, Oddities::ERROR_AND_REPLY);
}

#[test]
fn errors_of_every_shape_survive() {
    for (e, code, text) in [
        ("1:e12:just a text.", None, "just a text."),
        ("1:ei203e", Some(203), ""),
        ("1:ele", None, ""),
        ("1:eli204ee", Some(204), ""),
        ("1:el4:texte", None, "text"),
        ("1:el4:texti201ee", None, "text"),
        ("1:eli201e4:text5:extrae", Some(201), "text"),
        ("1:eli201ei5ee", Some(201), ""),
        ("1:eli99999999999999999999e4:texte", None, "text"),
        ("1:eld1:ai1eel1:bee", None, ""),
        ("1:ed4:codei201ee", None, ""),
        ("", None, ""),
    ] {
        let datagram = format!("d{e}1:t2:aa1:y1:ee");
        let (kind, oddities) = odd(datagram.as_bytes());
        let expected = ErrorReply { code: code.map(ErrorCode), text: text.as_bytes(), id: None };
        assert_eq!(kind, Kind::Error(expected), "{e}");
        assert!(oddities.contains(Oddities::BAD_ERROR), "{e}");
    }
    let negative = b"d1:eli-3e1:xe1:t2:aa1:y1:ee";
    assert_eq!(odd(negative).0, Kind::Error(ErrorReply { code: Some(ErrorCode(-3)), text: b"x", id: None }));
}

#[test]
fn a_reply_without_id_is_read_and_one_with_a_bad_id_is_not() {
    let (reply, oddities) = odd_reply("5:token2:to");
    assert_eq!((reply.id, reply.token, oddities), (None, Some(&b"to"[..]), Oddities::NO_ID));
    dropped("d1:rd2:id19:abcdefghij012345678e1:t2:aa1:y1:re", ParseError::BadId);
    dropped("d1:rd2:id21:abcdefghij0123456789xe1:t2:aa1:y1:re", ParseError::BadId);
}

#[test]
fn lists_of_impossible_length_count_as_empty() {
    for nodes in [
        "5:nodes25:mnopqrstuvwxyz1234567.0.0",
        "5:nodes27:mnopqrstuvwxyz1234567.0.0.1",
        "6:nodes626:mnopqrstuvwxyz1234567.0.0.",
    ] {
        let (reply, oddities) = odd_reply(&format!("{ID}{nodes}5:token2:to"));
        assert!(reply.nodes.is_empty() && reply.nodes6.is_empty());
        assert_eq!((reply.token, oddities), (Some(&b"to"[..]), Oddities::BAD_NODES), "the rest is valid");
    }
    let (reply, oddities) = odd_reply(&format!("{ID}7:samples19:mnopqrstuvwxyz12345"));
    assert!(reply.samples.is_some_and(|samples| samples.is_empty()));
    assert_eq!(oddities, Oddities::BAD_SAMPLES);
}

#[test]
fn peers_of_both_families_may_be_mixed_and_anything_else_is_passed_over() {
    let v6 = "\x20\x01\x0d\x6d\0\0\0\0\0\0\0\0\0\0\0\x09\x1a\x41";
    let (reply, oddities) =
        odd_reply(&format!("{ID}6:valuesl6:aaaaaa18:{v6}6:bbbbbb5:shorti7e0:l6:insidee06:cccccc18:{v6}e"));
    let peers: Vec<String> = reply.values.iter().map(|peer| peer.to_string()).collect();
    assert_eq!(
        peers,
        [
            "97.97.97.97:24929",
            "[2001:d6d::9]:6721",
            "98.98.98.98:25186",
            "99.99.99.99:25443",
            "[2001:d6d::9]:6721"
        ]
    );
    assert_eq!(reply.values.len(), 5);
    assert_eq!(reply.values.iter().len(), 5);
    assert_eq!(oddities, Oddities::BAD_VALUES | Oddities::PADDED_LENGTH);

    let (reply, oddities) = odd_reply(&format!("{ID}6:valuesle"));
    assert!(reply.values.is_empty() && oddities.is_empty());
    let (reply, oddities) = odd_reply(&format!("{ID}6:values6:aaaaaa"));
    assert!(reply.values.is_empty());
    assert_eq!(oddities, Oddities::BAD_FIELD, "a string is no list");
}

#[test]
fn peers_and_nodes_with_port_0_are_reported_as_they_stand() {
    let (reply, oddities) =
        odd_reply(&format!("{ID}5:nodes26:mnopqrstuvwxyz123456aaaa\0\x006:valuesl6:aaaa\0\0e"));
    assert_eq!(reply.values.iter().map(|peer| peer.port()).collect::<Vec<_>>(), [0]);
    assert_eq!(reply.nodes.iter().map(|node| node.addr.port()).collect::<Vec<_>>(), [0]);
    assert!(oddities.is_empty());
}

#[test]
fn an_ipv4_address_inside_ipv6_is_an_ipv4_address() {
    let mapped = [&[0; 10][..], &[0xff, 0xff, 192, 0, 2, 1, 0x1a, 0xe1]].concat();
    assert_eq!(krpc::read_addr(&mapped), Some("192.0.2.1:6881".parse().unwrap()));
    for len in [0, 1, 2, 5, 7, 16, 17, 19] {
        assert_eq!(krpc::read_addr(&vec![1; len]), None);
    }
}

#[test]
fn optional_fields_of_a_wrong_type_count_as_absent() {
    for (field, oddity) in [
        ("5:nodesi1e", Oddities::BAD_FIELD),
        ("5:tokenle", Oddities::BAD_FIELD),
        ("3:num3:abc", Oddities::BAD_FIELD),
        ("3:numi-1e", Oddities::BAD_FIELD),
        ("8:intervali-5e", Oddities::BAD_FIELD),
        ("8:intervali4294967296e", Oddities::BAD_FIELD),
        ("7:samplesle", Oddities::BAD_FIELD),
        ("4:BFsd3:abc", Oddities::BAD_FIELD | Oddities::UNSORTED_KEYS),
        ("1:pi70000e", Oddities::BAD_FIELD),
    ] {
        let (reply, oddities) = odd_reply(&format!("{ID}{field}"));
        assert_eq!(oddities, oddity, "{field}");
        let bare = odd_reply(ID).0;
        assert_eq!(reply, bare, "{field}");
    }
}

#[test]
fn an_endpoint_of_ours_may_come_without_a_port() {
    for (ip, addr) in [
        ("4:\x7f\0\0\x01", Some("127.0.0.1:0")),
        ("6:\x7f\0\0\x01\x1a\x41", Some("127.0.0.1:6721")),
        ("5:\x7f\0\0\x01\x1a", None),
        ("i5e", None),
        ("16:\x20\x01\x0d\x6d\0\0\0\0\0\0\0\0\0\0\0\x09", Some("[2001:d6d::9]:0")),
    ] {
        let datagram = format!("d2:ip{ip}1:rd{ID}e1:t2:aa1:y1:re");
        let message = Message::parse(datagram.as_bytes()).unwrap();
        assert_eq!(message.ip, addr.map(|addr| addr.parse().unwrap()), "{}", ip.escape_debug());
        assert_eq!(message.oddities.contains(Oddities::BAD_FIELD), addr.is_none());
    }
}

#[test]
fn versions_of_other_lengths_are_cut_or_filled() {
    for (v, version) in [
        ("5:LT\x01\x02x", Some(*b"LT\x01\x02")),
        ("2:UT", Some(*b"UT\0\0")),
        ("1:x", None),
        ("0:", None),
        ("i5e", None),
    ] {
        let datagram = format!("d1:rd{ID}e1:t2:aa1:v{v}1:y1:re");
        let message = Message::parse(datagram.as_bytes()).unwrap();
        assert_eq!(message.version, version.map(ClientVersion::from_bytes), "{v}");
        assert_eq!(message.oddities, Oddities::BAD_VERSION, "{v}");
    }
}

#[test]
fn wanted_families_may_be_unknown_or_no_list() {
    for (want, n4, n6) in [
        ("l2:n42:n5e", true, false),
        ("le", false, false),
        ("2:n6", false, true),
        ("i5e", false, false),
        ("li5e2:n4e", true, false),
    ] {
        let query =
            query_of(&format!("{ID}6:target20:mnopqrstuvwxyz1234564:want{want}"), "find_node").unwrap();
        assert_eq!((query.want.n4, query.want.n6), (n4, n6), "{want}");
    }
}

#[test]
fn padding_and_unknown_fields_are_passed_over() {
    let padded = format!("d1:ad{ID}3:pad1300:{}e1:q4:ping1:t2:aa1:xd1:yl1:zee1:y1:qe", "p".repeat(1300));
    assert_eq!(odd(padded.as_bytes()).1, Oddities::NONE);
    let large = format!("d1:ad{ID}3:pad7900:{}e1:q4:ping1:t2:aa1:y1:qe", "p".repeat(7900));
    assert_eq!(odd(large.as_bytes()).1, Oddities::NONE);
}
