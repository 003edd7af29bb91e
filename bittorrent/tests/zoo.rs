//! The awkward torrents of the interoperability tests: each comes out as it was made.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod bencoded;

use bencoded::{Value, dict, strings};
use bittorrent::{File, InfoLimits, Torrent, TorrentOddities, Version};
use krpc::InfoHash;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

type Path<'a> = &'a [&'a str];

fn parse(info: &Value) -> Torrent {
    Torrent::parse(&info.encode(), &InfoLimits::default()).unwrap()
}

/// A v1 info dict of several files.
fn v1<P: AsRef<[u8]>>(name: impl AsRef<[u8]>, piece_length: i64, files: &[(Vec<P>, i64)]) -> Value {
    let total: i64 = files.iter().map(|(_, length)| length).sum();
    let pieces = if total == 0 { 0 } else { (total + piece_length - 1) / piece_length };
    let entries = files.iter().map(|(path, length)| {
        dict([("length", (*length).into()), ("path", strings(path.iter().map(AsRef::as_ref)))])
    });
    dict([
        ("name", name.as_ref().into()),
        ("piece length", piece_length.into()),
        ("pieces", vec![b'h'; 20 * pieces as usize].into()),
        ("files", Value::List(entries.collect())),
    ])
}

fn v1_text(name: &str, files: &[(Path<'_>, i64)]) -> Value {
    let files: Vec<_> = files.iter().map(|(path, length)| (path.to_vec(), *length)).collect();
    v1(name, 1 << 18, &files)
}

fn listed(torrent: &Torrent) -> Vec<(Vec<&str>, u64)> {
    torrent.files.iter().map(|file| (file.path.iter().map(String::as_str).collect(), file.length)).collect()
}

fn expected<'a>(files: &[(Path<'a>, i64)]) -> Vec<(Vec<&'a str>, u64)> {
    files.iter().map(|(path, length)| (path.to_vec(), *length as u64)).collect()
}

/// Name and files come out as they went in, with nothing odd to say.
fn assert_faithful(name: &str, files: &[(Path<'_>, i64)]) -> Torrent {
    let info = v1_text(name, files);
    let torrent = parse(&info);
    assert_eq!(torrent.name, name);
    assert_eq!(torrent.name_raw, None);
    assert_eq!(listed(&torrent), expected(files));
    assert_eq!(torrent.file_count(), files.len());
    assert_eq!(torrent.total_size, files.iter().map(|(_, length)| *length as u64).sum::<u64>());
    assert_eq!(torrent.oddities, TorrentOddities::default());
    assert_eq!((torrent.version, torrent.private, &torrent.source), (Version::V1, false, &None));
    assert_eq!(torrent.v1, Some(InfoHash::from_bytes(Sha1::digest(info.encode()).into())));
    assert_eq!(torrent.v2, None);
    torrent
}

#[test]
fn plain() {
    let name = "plain single file.iso";
    let info = v1_text(name, &[]).without("files").with("length", 5 << 20).with("pieces", vec![0; 400]);
    let torrent = parse(&info);
    assert_eq!(torrent.name, name);
    assert_eq!(listed(&torrent), [(vec![name], 5 << 20)]);
    assert_eq!((torrent.total_size, torrent.piece_length, torrent.piece_count), (5 << 20, 1 << 18, 20));
}

#[test]
fn unicode() {
    assert_faithful(
        "Война и мир — 戦争と平和 🎬 مكتبة Cafe\u{301}",
        &[
            (&["第一話 «начало».mkv"], 1 << 30),
            (&["сабы", "русские.srt"], 40_000),
            (&["🎧", "אבג.flac"], 1 << 25),
        ],
    );
}

#[test]
fn thirty_levels() {
    let names: Vec<String> = (0..30).map(|n| format!("d{n}")).collect();
    let paths: Vec<Vec<&str>> =
        (1..30).map(|n| names[..n].iter().map(String::as_str).chain(["f.txt"]).collect()).collect();
    let files: Vec<(Path<'_>, i64)> =
        paths.iter().enumerate().map(|(n, path)| (path.as_slice(), n as i64 * 1000 + 1)).collect();
    assert_faithful("deep nesting", &files);
}

#[test]
fn three_thousand_files() {
    let names: Vec<_> =
        (0..3000).map(|n| [format!("dir {:03}", n / 50), format!("file number {n:05}.jpg")]).collect();
    let paths: Vec<[&str; 2]> = names.iter().map(|path| [&*path[0], &*path[1]]).collect();
    let files: Vec<(Path<'_>, i64)> =
        paths.iter().enumerate().map(|(n, path)| (path.as_slice(), 1000 + n as i64)).collect();
    let torrent = assert_faithful("three thousand files", &files);
    assert_eq!(torrent.file_count(), 3000);
}

#[test]
fn over_one_mebibyte() {
    let files = [(vec!["big.bin"], 60_000 << 14)];
    let info = v1("info dict over one MiB", 1 << 14, &files);
    assert!(info.encode().len() > 1_200_000);
    let torrent = parse(&info);
    assert_eq!((torrent.piece_count, torrent.total_size), (60_000, 60_000 << 14));
}

#[test]
fn of_exactly_one_piece_and_one_byte_more() {
    for len in [16_384, 16_385] {
        let bare = v1_text("exactly", &[(&["a"], 1)]);
        let info =
            (0..).map(|n| bare.clone().with("zpad", vec![b'x'; n])).find(|info| info.encode().len() == len);
        let torrent = parse(&info.unwrap());
        assert_eq!((torrent.name.as_str(), listed(&torrent)), ("exactly", vec![(vec!["a"], 1)]));
    }
}

#[test]
fn private() {
    let info = v1_text("private torrent", &[(&["secret.bin"], 123_456)])
        .with("private", 1)
        .with("source", "TRACKER");
    let torrent = parse(&info);
    assert!(torrent.private);
    assert_eq!(torrent.source.as_deref(), Some("TRACKER"));
    assert!(!parse(&info.clone().with("private", 0)).private);
    assert!(!parse(&info.with("private", "1")).private);
}

#[test]
fn cp1251() {
    let name = b"\xd0\xf3\xf1\xf1\xea\xe0\xff \xea\xee\xe4\xe8\xf0\xee\xe2\xea\xe0";
    let torrent = parse(&v1(name, 1 << 18, &[(vec![b"\xf4\xe0\xe9\xeb.txt"], 777)]));
    assert_eq!(torrent.name, "Русская кодировка");
    assert_eq!(listed(&torrent), [(vec!["файл.txt"], 777)]);
    assert_eq!(torrent.name_raw.as_deref(), Some(&name[..]));
    assert!(torrent.oddities.encoding_guessed && !torrent.oddities.characters_replaced);
}

#[test]
fn shift_jis_with_utf8_keys() {
    let name = b"\x93\xfa\x96\x7b\x8c\xea";
    let entry = dict([
        ("length", 777.into()),
        ("path", strings([b"\x93\xfa\x96\x7b.txt"])),
        ("path.utf-8", strings(["日本.txt"])),
    ]);
    let info =
        v1_text("", &[]).with("name", &name[..]).with("name.utf-8", "日本語").with("files", vec![entry]);
    let torrent = parse(&info);
    assert_eq!(torrent.name, "日本語");
    assert_eq!(listed(&torrent), [(vec!["日本.txt"], 777)]);
    assert_eq!((torrent.name_raw, torrent.oddities), (None, TorrentOddities::default()));
}

#[test]
fn shift_jis_and_gbk_without_utf8_keys() {
    let encode = |encoding: &'static encoding_rs::Encoding, text| encoding.encode(text).0.into_owned();
    for (encoding, name, path) in [
        (encoding_rs::SHIFT_JIS, "日本語の音楽コレクション", "第一曲 はじまり.mp3"),
        (encoding_rs::GBK, "中文电影合集", "第一集 开始.rmvb"),
    ] {
        let raw = encode(encoding, name);
        let torrent = parse(&v1(&raw, 1 << 18, &[(vec![encode(encoding, path)], 777)]));
        assert_eq!(torrent.name, name);
        assert_eq!(listed(&torrent), [(vec![path], 777)]);
        assert_eq!(torrent.name_raw, Some(raw));
    }
}

#[test]
fn nul_and_control_characters() {
    let name = b"nul\x00 and \x1b[31m control \x07 chars";
    let files = [(vec![&b"a\x00b.txt"[..]], 5), (vec![&b"line\nbreak.txt"[..]], 6)];
    let torrent = parse(&v1(name, 1 << 18, &files));
    assert_eq!(torrent.name, "nul\u{fffd} and \x1b[31m control \x07 chars");
    assert_eq!(listed(&torrent), [(vec!["a\u{fffd}b.txt"], 5), (vec!["line\nbreak.txt"], 6)]);
    assert_eq!(torrent.name_raw.as_deref(), Some(&name[..]));
    assert!(torrent.oddities.characters_replaced && !torrent.oddities.encoding_guessed);
}

#[test]
fn names_that_look_like_places() {
    assert_faithful(
        "../../etc/passwd",
        &[(&["..", "..", "x.txt"], 5), (&["", "y.txt"], 6), (&["a/b\\c.txt"], 7), (&["con"], 8)],
    );
}

#[test]
fn empty_name() {
    assert_faithful("", &[(&["f.txt"], 5)]);
}

#[test]
fn long_names() {
    assert_faithful(&"L".repeat(1500), &[(&[&format!("{}.txt", "é".repeat(400))], 5)]);
}

#[test]
fn direction_marks_and_invisible_characters() {
    assert_faithful("invoice\u{202e}fdp.exe \u{200b} zero\u{200d}width \u{feff} bom", &[(&["a.txt"], 1)]);
}

#[test]
fn empty_files() {
    assert_faithful("with empty files", &[(&["empty1"], 0), (&["full"], 100), (&["empty2"], 0)]);
}

#[test]
fn padding_of_bep_47() {
    let entry = |path: Path<'_>, length: i64, attr: &str| {
        dict([("length", length.into()), ("path", strings(path)), ("attr", attr.into())])
    };
    let first = entry(&["a.bin"], 1000, "x")
        .with("sha1", vec![b's'; 20])
        .with("md5sum", vec![b'd'; 32])
        .with("mtime", 1);
    let files = vec![first, entry(&[".pad", "261144"], 261_144, "p"), entry(&["b.bin"], 2000, "h")];
    let torrent = parse(&v1_text("bep47 attrs", &[]).with("files", files).with("pieces", vec![0; 40]));
    assert_eq!(listed(&torrent), [(vec!["a.bin"], 1000), (vec!["b.bin"], 2000)]);
    assert_eq!((torrent.total_size, torrent.piece_count), (3000, 2));
}

#[test]
fn padding_of_bitcomet() {
    let padding = "_____padding_file_0_if you see this file, please update to BitComet 0.85 or above____";
    let files: [(Path<'_>, i64); 3] = [(&["a.bin"], 1000), (&[padding], 261_144), (&["b.bin"], 2000)];
    let torrent = parse(&v1_text("BitComet padding", &files));
    assert_eq!(listed(&torrent), [(vec!["a.bin"], 1000), (vec!["b.bin"], 2000)]);
    assert_eq!(torrent.total_size, 3000);
}

#[test]
fn huge_sizes() {
    let torrent = parse(&v1("huge sizes", 1 << 40, &[(vec!["petabyte.bin"], 1 << 50)]));
    assert_eq!((torrent.total_size, torrent.piece_length, torrent.piece_count), (1 << 50, 1 << 40, 1024));
}

#[test]
fn unknown_keys() {
    let info = v1_text("unknown keys", &[(&["f"], 9)])
        .with("x-unknown", dict([("a", vec![Value::Int(1), Value::Int(2), Value::Bytes(vec![0xff])].into())]))
        .with("publisher", "someone")
        .with("publisher-url", "http://example.invalid/")
        .with("similar", strings([[b's'; 20]]))
        .with("collections", strings(["c1"]));
    let torrent = parse(&info);
    assert_eq!(listed(&torrent), [(vec!["f"], 9)]);
    assert_eq!(torrent.v1, Some(InfoHash::from_bytes(Sha1::digest(info.encode()).into())));
}

#[test]
fn duplicate_paths() {
    assert_faithful("duplicate paths", &[(&["same.txt"], 1), (&["same.txt"], 2), (&["SAME.TXT"], 3)]);
}

// v2

fn leaf(length: i64) -> Value {
    let leaf = dict([("length", length.into())]);
    dict([("", if length > 0 { leaf.with("pieces root", vec![b'r'; 32]) } else { leaf })])
}

fn v2(name: &str, piece_length: i64, tree: Value) -> Value {
    dict([
        ("name", name.into()),
        ("piece length", piece_length.into()),
        ("meta version", 2.into()),
        ("file tree", tree),
    ])
}

#[test]
fn v2_single() {
    let name = "v2 only single.bin";
    let info = v2(name, 1 << 16, dict([(name, leaf(300_000))]));
    let torrent = parse(&info);
    assert_eq!((torrent.name.as_str(), torrent.version), (name, Version::V2));
    assert_eq!(listed(&torrent), [(vec![name], 300_000)]);
    assert_eq!((torrent.total_size, torrent.piece_count), (300_000, 5));
    let hash: [u8; 32] = Sha256::digest(info.encode()).into();
    assert_eq!((torrent.v1, torrent.v2), (None, Some(hash)));
    assert_eq!(torrent.dht_keys().collect::<Vec<_>>(), [InfoHash::try_from(&hash[..20]).unwrap()]);
}

#[test]
fn v2_multi() {
    let dir = dict([("ä.txt", leaf(10)), ("sub", dict([("b.bin", leaf(900_000))]))]);
    let torrent = parse(&v2("v2 only multi ünïcode", 1 << 15, dict([("dir", dir), ("z", leaf(0))])));
    assert_eq!(torrent.name, "v2 only multi ünïcode");
    assert_eq!(
        listed(&torrent),
        [(vec!["dir", "sub", "b.bin"], 900_000), (vec!["dir", "ä.txt"], 10), (vec!["z"], 0)]
    );
    // Each file begins a piece of its own.
    assert_eq!((torrent.total_size, torrent.piece_count), (900_010, 28 + 1));
}

/// The v1 list of a hybrid: padding up to the next piece after every file but the last.
fn hybrid(name: &str, piece_length: i64, files: &[(Path<'_>, i64)]) -> Value {
    let mut tree = Value::Dict(Default::default());
    let mut list = Vec::new();
    let mut total = 0;
    for (n, (path, length)) in files.iter().enumerate() {
        let mut node = &mut tree;
        for component in &path[..path.len() - 1] {
            let Value::Dict(entries) = node else { unreachable!() };
            node = entries.entry((*component).into()).or_insert_with(|| Value::Dict(Default::default()));
        }
        let Value::Dict(entries) = node else { unreachable!() };
        entries.insert((*path.last().unwrap()).into(), leaf(*length));
        list.push(dict([("length", (*length).into()), ("path", strings(*path))]));
        total += length;
        let over = total % piece_length;
        if n + 1 < files.len() && over > 0 {
            let padding = piece_length - over;
            total += padding;
            list.push(dict([
                ("attr", "p".into()),
                ("length", padding.into()),
                ("path", strings([".pad".to_owned(), padding.to_string()])),
            ]));
        }
    }
    v2(name, piece_length, tree)
        .with("files", list)
        .with("pieces", vec![0; 20 * ((total + piece_length - 1) / piece_length) as usize])
}

#[test]
fn hybrid_multi() {
    let files: [(Path<'_>, i64); 3] = [(&["a.bin"], 100_000), (&["b", "c.bin"], 70_000), (&["d.txt"], 1)];
    let info = hybrid("hybrid multi", 1 << 14, &files);
    let torrent = parse(&info);
    assert_eq!(torrent.version, Version::Hybrid);
    assert_eq!(listed(&torrent), expected(&files));
    assert_eq!((torrent.total_size, torrent.piece_count), (170_001, 7 + 5 + 1));
    assert_eq!(torrent.oddities, TorrentOddities::default());
    let raw = info.encode();
    let v2: [u8; 32] = Sha256::digest(&raw).into();
    let v1 = InfoHash::from_bytes(Sha1::digest(&raw).into());
    assert_eq!((torrent.v1, torrent.v2), (Some(v1), Some(v2)));
    let keys = [v1, InfoHash::try_from(&v2[..20]).unwrap()];
    assert_eq!(torrent.dht_keys().collect::<Vec<_>>(), keys);
}

#[test]
fn hybrid_many() {
    let names: Vec<_> = (0..400).map(|n| [format!("f{n:04}")]).collect();
    let paths: Vec<[&str; 1]> = names.iter().map(|name| [&*name[0]]).collect();
    let files: Vec<(Path<'_>, i64)> =
        paths.iter().enumerate().map(|(n, path)| (path.as_slice(), 20_000 + n as i64)).collect();
    let torrent = parse(&hybrid("hybrid many", 1 << 14, &files));
    assert_eq!(listed(&torrent), expected(&files));
    assert_eq!(torrent.oddities, TorrentOddities::default());
}

#[test]
fn hybrid_single() {
    let name = "one.bin";
    let info = hybrid(name, 1 << 14, &[(&[name], 20_000)]).without("files").with("length", 20_000);
    let torrent = parse(&info);
    assert_eq!(torrent.version, Version::Hybrid);
    assert_eq!(torrent.files, [File { path: vec![name.into()], length: 20_000 }]);
    assert!(!torrent.oddities.lists_disagree);
}
