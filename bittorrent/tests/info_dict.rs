//! Info dicts that are odd or wrong: what is kept, and what is refused for which reason.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod bencoded;

use bencoded::{Value, dict, strings};
use bittorrent::{File, InfoError, InfoLimits, SOURCE_BYTES_MAX, Torrent, Version};
use krpc::bencode;
use proptest::prelude::*;

fn parse_raw(raw: &[u8]) -> Result<Torrent, InfoError> {
    Torrent::parse(raw, &InfoLimits::default())
}

fn parse(info: &Value) -> Result<Torrent, InfoError> {
    parse_raw(&info.encode())
}

fn file(path: &[&str], length: i64) -> Value {
    dict([("length", length.into()), ("path", strings(path))])
}

/// Two files of 5 bytes in all.
fn v1() -> Value {
    dict([
        ("name", "n".into()),
        ("piece length", 16384.into()),
        ("pieces", vec![0; 20].into()),
        ("files", vec![file(&["a"], 2), file(&["b"], 3)].into()),
    ])
}

fn v2(tree: Value) -> Value {
    dict([
        ("name", "n".into()),
        ("piece length", 16384.into()),
        ("meta version", 2.into()),
        ("file tree", tree),
    ])
}

fn leaf(length: i64) -> Value {
    dict([("", dict([("length", length.into()), ("pieces root", vec![0; 32].into())]))])
}

fn files(torrent: &Torrent) -> Vec<(String, u64)> {
    torrent.files.iter().map(|File { path, length }| (path.join("/"), *length)).collect()
}

#[test]
fn what_must_be_there_is_named_when_it_is_missing() {
    assert_eq!(parse(&v1().without("pieces")), Err(InfoError::Missing("pieces")));
    assert_eq!(parse(&v1().without("piece length")), Err(InfoError::Missing("piece length")));
    assert_eq!(parse(&v1().without("files")), Err(InfoError::Missing("length")));
    let entry = |entry: Value| parse(&v1().with("files", vec![entry]));
    assert_eq!(entry(dict([("length", 1.into())])), Err(InfoError::Missing("path")));
    assert_eq!(entry(dict([("path", strings(["a"]))])), Err(InfoError::Missing("length")));
    assert_eq!(parse(&v2(leaf(1)).without("file tree")), Err(InfoError::Missing("file tree")));
    let no_length = dict([("f", dict([("", dict([]))]))]);
    assert_eq!(parse(&v2(no_length)), Err(InfoError::Missing("length")));
}

#[test]
fn what_is_of_another_type_is_named() {
    for (key, value) in [
        ("name", 1.into()),
        ("pieces", 1.into()),
        ("piece length", "16384".into()),
        ("files", "x".into()),
        ("files", vec![Value::Int(1)].into()),
    ] {
        assert_eq!(
            parse(&v1().with(key, Value::clone(&value))),
            Err(InfoError::WrongType(key)),
            "{key} {value:?}"
        );
    }
    let entry = |entry: Value| parse(&v1().with("files", vec![entry]));
    assert_eq!(entry(file(&["a"], 1).with("path", "a")), Err(InfoError::WrongType("path")));
    assert_eq!(entry(file(&["a"], 1).with("path", vec![Value::Int(1)])), Err(InfoError::WrongType("path")));
    assert_eq!(entry(file(&["a"], 1).with("length", "1")), Err(InfoError::WrongType("length")));
    assert_eq!(parse(&v2("tree".into())), Err(InfoError::Bencode(bencode::Error::WrongType)));
    assert_eq!(parse(&v2(dict([("f", 1.into())]))), Err(InfoError::WrongType("file tree")));
    assert_eq!(parse(&v2(dict([("f", dict([("", 1.into())]))]))), Err(InfoError::WrongType("file tree")));
}

#[test]
fn lengths_that_cannot_be_are_refused() {
    let with_lengths = |lengths: &[i64]| {
        let entries = lengths.iter().map(|length| file(&["f"], *length)).collect::<Vec<_>>();
        parse(&v1().with("files", entries))
    };
    assert_eq!(with_lengths(&[-1]), Err(InfoError::Negative("length")));
    assert_eq!(with_lengths(&[i64::MAX, 1]), Err(InfoError::TotalTooLarge));
    assert_eq!(with_lengths(&[i64::MAX]).unwrap().total_size, i64::MAX as u64);
    let raw = b"d6:lengthi9223372036854775808e4:name1:n12:piece lengthi1e6:pieces0:e";
    assert_eq!(parse_raw(raw), Err(InfoError::TooLarge("length")));
    assert_eq!(parse(&v1().with("piece length", 0)), Err(InfoError::ZeroPieceLength));
    assert_eq!(parse(&v1().with("piece length", -5)), Err(InfoError::Negative("piece length")));
    assert_eq!(parse(&v2(dict([("f", leaf(-1))]))), Err(InfoError::Negative("length")));
    assert_eq!(parse(&v2(dict([("a", leaf(i64::MAX)), ("b", leaf(1))]))), Err(InfoError::TotalTooLarge));
    assert_eq!(parse(&v1().with("pieces", vec![0; 21])), Err(InfoError::Pieces));
}

#[test]
fn what_is_not_one_dictionary_is_refused() {
    assert!(matches!(parse_raw(b""), Err(InfoError::Bencode(bencode::Error::Truncated))));
    assert!(matches!(parse_raw(b"le"), Err(InfoError::Bencode(bencode::Error::WrongType))));
    assert_eq!(parse_raw(&[v1().encode(), b"x".to_vec()].concat()), Err(InfoError::TrailingBytes));
    let raw = v1().encode();
    for cut in 0..raw.len() {
        assert!(matches!(parse_raw(&raw[..cut]), Err(InfoError::Bencode(_))), "cut at {cut}");
    }
}

#[test]
fn depth_values_and_length_are_bounded() {
    let nested = |levels: usize| {
        let lists = [vec![b'l'; levels], vec![b'e'; levels]].concat();
        let raw = v1().encode();
        [&raw[..raw.len() - 1], b"1:z", &lists, b"e"].concat()
    };
    assert!(parse_raw(&nested(99)).is_ok());
    assert_eq!(parse_raw(&nested(100)), Err(InfoError::Bencode(bencode::Error::TooDeep)));
    assert_eq!(parse_raw(&nested(1_000_000)), Err(InfoError::Bencode(bencode::Error::TooDeep)));
    let small = InfoLimits { tokens: 20, ..InfoLimits::default() };
    assert_eq!(
        Torrent::parse(&v1().encode(), &small),
        Err(InfoError::Bencode(bencode::Error::TooManyTokens))
    );
    let short = InfoLimits { bytes: 10, ..InfoLimits::default() };
    assert_eq!(Torrent::parse(&v1().encode(), &short), Err(InfoError::Bencode(bencode::Error::TooLong)));
    // A tree as deep as may be: every level is a directory.
    let tree = (0..98).fold(leaf(1), |tree, _| dict([("d", tree)]));
    assert!(matches!(parse(&v2(tree)), Err(InfoError::Bencode(bencode::Error::TooDeep))));
    let tree = (0..97).fold(leaf(1), |tree, _| dict([("d", tree)]));
    assert_eq!(parse(&v2(tree)).unwrap().files[0].path.len(), 97);
}

#[test]
fn the_number_of_files_is_bounded_and_padding_does_not_count() {
    let limits = InfoLimits { files: 2, ..InfoLimits::default() };
    let padding = file(&[".pad", "1"], 1).with("attr", "p");
    let with = |entries: Vec<Value>| Torrent::parse(&v1().with("files", entries).encode(), &limits);
    assert!(with(vec![file(&["a"], 1), padding.clone(), padding, file(&["b"], 1)]).is_ok());
    let three = vec![file(&["a"], 1), file(&["b"], 1), file(&["c"], 1)];
    assert_eq!(with(three), Err(InfoError::TooManyFiles(2)));
}

#[test]
fn a_small_tree_cannot_mean_gigabytes_of_paths() {
    // A directory's name of 100 kB, and 5,000 files below it: 300 kB that would become 500 MB.
    let below = (0..5000).fold(dict([]), |dir, n| dir.with(format!("{n}"), leaf(0)));
    let tree = dict([]).with("d".repeat(100_000), below);
    assert_eq!(parse(&v2(tree)), Err(InfoError::PathsTooLong(64 << 20)));
}

#[test]
fn a_v1_file_needs_a_path_and_padding_does_not() {
    assert_eq!(parse(&v1().with("files", vec![file(&[], 1)])), Err(InfoError::EmptyPath));
    let padding = dict([("length", 7.into()), ("attr", "p".into())]);
    let torrent = parse(&v1().with("files", vec![file(&["a"], 1), padding])).unwrap();
    assert_eq!((files(&torrent), torrent.total_size), (vec![("a".into(), 1)], 1));
}

#[test]
fn a_symbolic_link_may_have_no_length() {
    let link = dict([("attr", "l".into()), ("path", strings(["link"])), ("symlink path", strings(["a"]))]);
    let torrent = parse(&v1().with("files", vec![file(&["a"], 1), link])).unwrap();
    assert_eq!(files(&torrent), [("a".into(), 1), ("link".into(), 0)]);
}

#[test]
fn padding_is_left_out_of_a_v2_tree_too() {
    let padding =
        dict([("", dict([("length", 9.into()), ("attr", "p".into()), ("pieces root", vec![0; 32].into())]))]);
    let torrent = parse(&v2(dict([("a", leaf(1)), ("pad", padding)]))).unwrap();
    assert_eq!((files(&torrent), torrent.total_size), (vec![("a".into(), 1)], 1));
}

#[test]
fn a_v2_file_needs_its_root_and_a_name() {
    let rootless =
        |root: Value| dict([("f", dict([("", dict([("length", 1.into()), ("pieces root", root)]))]))]);
    assert_eq!(parse(&v2(rootless(vec![0; 31].into()))), Err(InfoError::PiecesRoot));
    assert_eq!(parse(&v2(rootless(1.into()))), Err(InfoError::PiecesRoot));
    let absent = dict([("f", dict([("", dict([("length", 1.into())]))]))]);
    assert_eq!(parse(&v2(absent)), Err(InfoError::PiecesRoot));
    assert_eq!(parse(&v2(leaf(1))), Err(InfoError::MisplacedFile));
}

#[test]
fn a_missing_name_is_empty_and_noted() {
    let torrent = parse(&v1().without("name")).unwrap();
    assert_eq!((torrent.name.as_str(), torrent.oddities.name_missing), ("", true));
    assert_eq!(torrent.name_raw, None);
    let torrent = parse(&v1().with("name", "")).unwrap();
    assert_eq!((torrent.name.as_str(), torrent.oddities.name_missing), ("", false));
}

#[test]
fn utf8_keys_win_only_when_they_are_utf8() {
    let torrent = parse(&v1().with("name.utf-8", "better")).unwrap();
    assert_eq!(torrent.name, "better");
    let torrent = parse(&v1().with("name.utf-8", &b"\xff"[..])).unwrap();
    assert_eq!(torrent.name, "n");
    let torrent = parse(&v1().without("name").with("name.utf-8", "only")).unwrap();
    assert_eq!((torrent.name.as_str(), torrent.oddities.name_missing), ("only", false));
    let entry = |utf8: Value| {
        let torrent = parse(&v1().with("files", vec![file(&["plain"], 1).with("path.utf-8", utf8)])).unwrap();
        files(&torrent).remove(0).0
    };
    assert_eq!(entry(strings(["a", "b"])), "a/b");
    assert_eq!(entry(strings([&b"a"[..], b"\xff"])), "plain");
    assert_eq!(entry(vec![Value::Int(1)].into()), "plain");
    assert_eq!(entry(Value::List(vec![])), "plain");
    assert_eq!(entry("text".into()), "plain");
}

#[test]
fn the_encoding_may_be_declared_inside() {
    let info = v1().with("name", &b"\xfd\xf2\xee"[..]).with("encoding", "windows-1251");
    let torrent = parse(&info).unwrap();
    assert_eq!(torrent.name, "это");
    assert_eq!(torrent.name_raw.as_deref(), Some(&b"\xfd\xf2\xee"[..]));
    assert!(!torrent.oddities.encoding_guessed);
}

#[test]
fn bytes_that_no_encoding_explains_are_replaced_and_kept() {
    // UTF-8 with a wound.
    let name = ["Сборник рассказов".as_bytes(), b"\xff"].concat();
    let torrent = parse(&v1().with("name", name.as_slice())).unwrap();
    assert_eq!(torrent.name, "Сборник рассказов\u{fffd}");
    assert_eq!(torrent.name_raw, Some(name));
    assert!(torrent.oddities.characters_replaced);
}

#[test]
fn keys_may_be_unsorted_and_the_first_of_two_counts() {
    let raw = b"d6:pieces0:4:name5:first6:lengthi7e12:piece lengthi1e4:name6:second6:lengthi8ee";
    let torrent = parse_raw(raw).unwrap();
    assert_eq!((torrent.name.as_str(), torrent.total_size), ("first", 7));
}

#[test]
fn a_later_meta_version_counts_as_v1_where_it_can() {
    assert_eq!(parse(&v1().with("meta version", 3)).unwrap().version, Version::V1);
    assert_eq!(parse(&v1().with("meta version", 2)).unwrap().version, Version::V1);
    assert_eq!(parse(&v2(leaf(1)).with("meta version", 3)), Err(InfoError::MetaVersion(3)));
    assert_eq!(parse(&v2(leaf(1)).without("meta version")), Err(InfoError::Missing("pieces")));
}

#[test]
fn the_v2_tree_of_a_hybrid_wins_and_a_disagreement_is_noted() {
    let hybrid = |tree| {
        parse(&v2(tree).with("pieces", vec![0; 40]).with("files", vec![file(&["b"], 3), file(&["a"], 2)]))
            .unwrap()
    };
    // The order alone is no disagreement.
    let torrent = hybrid(dict([("a", leaf(2)), ("b", leaf(3))]));
    assert_eq!(
        (files(&torrent), torrent.oddities.lists_disagree),
        (vec![("a".into(), 2), ("b".into(), 3)], false)
    );
    for tree in [
        dict([("a", leaf(2)), ("b", leaf(4))]),
        dict([("a", leaf(2)), ("c", leaf(3))]),
        dict([("a", leaf(2))]),
    ] {
        assert!(hybrid(tree).oddities.lists_disagree);
    }
    let torrent = hybrid(dict([("c", leaf(9))]));
    assert_eq!(
        (files(&torrent), torrent.total_size, torrent.version),
        (vec![("c".into(), 9)], 9, Version::Hybrid)
    );
}

#[test]
fn a_long_source_is_none() {
    let source = |len| parse(&v1().with("source", vec![b's'; len])).unwrap().source;
    assert_eq!(source(0), None);
    assert_eq!(source(SOURCE_BYTES_MAX), Some("s".repeat(SOURCE_BYTES_MAX)));
    assert_eq!(source(SOURCE_BYTES_MAX + 1), None);
    assert_eq!(parse(&v1().with("source", 1)).unwrap().source, None);
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::Int),
        (0..40_i64).prop_map(Value::Int),
        prop::collection::vec(any::<u8>(), 0..50).prop_map(Value::Bytes),
        "[a-z ]{0,8}".prop_map(|text| Value::Bytes(text.into())),
    ];
    let key = prop_oneof![
        prop::sample::select(vec![
            "name",
            "name.utf-8",
            "pieces",
            "piece length",
            "length",
            "files",
            "file tree",
            "meta version",
            "path",
            "path.utf-8",
            "attr",
            "",
            "pieces root",
            "encoding",
            "source",
            "private",
        ])
        .prop_map(|key| key.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..10),
    ];
    leaf.prop_recursive(6, 60, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            prop::collection::btree_map(key.clone(), inner, 0..8).prop_map(Value::Dict),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(raw in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse_raw(&raw);
    }

    #[test]
    fn any_value_in_any_place_is_survived(key in 0..10_usize, value in any_value(), v2_too in any::<bool>()) {
        let keys = ["name", "name.utf-8", "pieces", "piece length", "files", "file tree", "meta version", "encoding", "source", "private"];
        let base = if v2_too {
            v2(dict([("f", leaf(9))])).with("pieces", vec![0; 20]).with("length", 9)
        } else {
            v1()
        };
        if let Ok(torrent) = parse(&base.with(keys[key], value)) {
            prop_assert_eq!(torrent.total_size, torrent.files.iter().map(|file| file.length).sum::<u64>());
            prop_assert!(!torrent.name.contains('\0'));
            prop_assert!(torrent.files.iter().all(|file| !file.path.is_empty()));
            prop_assert!(torrent.piece_length > 0);
            prop_assert_eq!(torrent.v1.is_some(), torrent.version.has_v1());
        }
    }

    #[test]
    fn any_utf8_name_and_path_come_out_as_they_are(name in "[^\0]{0,40}", path in prop::collection::vec("[^\0]{0,12}", 1..5)) {
        prop_assume!(!path.last().unwrap().starts_with("_____padding_file_"));
        let entry = dict([("length", 1.into()), ("path", strings(&path))]);
        let torrent = parse(&v1().with("name", name.as_str()).with("files", vec![entry])).unwrap();
        prop_assert_eq!(torrent.name, name);
        prop_assert_eq!(&torrent.files[0].path, &path);
        prop_assert_eq!(torrent.name_raw, None);
    }

    #[test]
    fn any_name_bytes_become_text(name in prop::collection::vec(any::<u8>(), 0..60)) {
        let torrent = parse(&v1().with("name", name.as_slice())).unwrap();
        prop_assert!(!torrent.name.contains('\0'));
        match torrent.name_raw {
            Some(raw) => prop_assert_eq!(raw, name),
            None => prop_assert_eq!(torrent.name.as_bytes(), name),
        }
    }
}
