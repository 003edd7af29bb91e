//! A torrent as a line of JSON: what `export` writes and `import` reads.
//!
//! All fields are always written. To be read, a line needs a hash, a name and files; other fields may be missing, and those
//! that are not known here are passed over, so that exports of other versions can be read.

use std::time::{Duration, SystemTime};

use krpc::InfoHash;
use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::{
    db::{Discovery, ExportRow, Hashes, History, Listing, NewTorrent, ObservedSwarm, SwarmSize},
    file_list::{self, UnpackError},
};

/// How far ahead of the database's clock a time may be: clocks differ, but a torrent of next year would stay the newest.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);

/// A score beyond it is made up: it is as many announces in a week.
const SCORE_MAX: f64 = 1e9;

#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(default)]
    v1: Option<String>,
    #[serde(default)]
    v2: Option<String>,
    name: String,
    /// Hexadecimal digits.
    #[serde(default)]
    name_raw: Option<String>,
    #[serde(default)]
    total_size: Option<u64>,
    #[serde(default)]
    file_count: Option<u32>,
    #[serde(default)]
    files_whole: Option<bool>,
    #[serde(default)]
    piece_length: Option<u64>,
    #[serde(default)]
    piece_count: Option<u32>,
    #[serde(default)]
    private: Option<bool>,
    #[serde(default)]
    source: Option<String>,
    files: Vec<FileEntry>,
    #[serde(default)]
    added_at: Option<String>,
    #[serde(default)]
    discovered_by: Option<String>,
    #[serde(default)]
    last_seen: Option<String>,
    #[serde(default)]
    seen_count: Option<u64>,
    #[serde(default)]
    score: Option<f64>,
    #[serde(default)]
    score_at: Option<String>,
    #[serde(default)]
    seeders: Option<u32>,
    #[serde(default)]
    leechers: Option<u32>,
    #[serde(default)]
    scraped_at: Option<String>,
    #[serde(default)]
    scraped_nodes: Option<u32>,
    #[serde(default)]
    scraped_whole: Option<bool>,
}

#[derive(Serialize, Deserialize)]
struct FileEntry {
    path: Vec<String>,
    length: u64,
}

/// Appends a torrent as a line with its line feed.
///
/// # Errors
/// The stored list of files is damaged; nothing was appended.
pub fn write(row: ExportRow, out: &mut Vec<u8>) -> Result<(), UnpackError> {
    let files = match &row.files {
        Some(packed) => file_list::unpack(&row.name, packed.fmt, &packed.data)?,
        None => vec![file_list::single(&row.name, row.total_size)],
    };
    let observed = row.observed.as_ref();
    let swarm = observed.and_then(|observed| observed.swarm.as_ref());
    let line = Line {
        v1: row.hashes.v1().map(|v1| v1.to_string()),
        v2: row.hashes.v2().map(|v2| hex(&v2)),
        name: row.name,
        name_raw: row.name_raw.as_deref().map(hex),
        total_size: Some(row.total_size),
        file_count: Some(row.file_count),
        files_whole: Some(row.files_whole),
        piece_length: row.piece_length,
        piece_count: row.piece_count,
        private: row.private,
        source: row.source,
        files: files.into_iter().map(|(path, length)| FileEntry { path, length }).collect(),
        added_at: Some(time_text(row.added_at)),
        discovered_by: Some(row.discovered_by.as_str().to_owned()),
        last_seen: observed.map(|observed| time_text(observed.last_seen)),
        seen_count: observed.map(|observed| observed.seen_count),
        score: observed.map(|observed| thousandths(observed.score.0)),
        score_at: observed.map(|observed| time_text(observed.score.1)),
        seeders: swarm.map(|swarm| swarm.size.seeders),
        leechers: swarm.map(|swarm| swarm.size.leechers),
        scraped_at: swarm.map(|swarm| time_text(swarm.at)),
        scraped_nodes: swarm.map(|swarm| swarm.size.nodes),
        scraped_whole: swarm.map(|swarm| swarm.size.whole),
    };
    // Keys are texts, and a Vec takes all: it cannot fail.
    let _ = serde_json::to_writer(&mut *out, &line);
    out.push(b'\n');
    Ok(())
}

/// Reads a line. `now` is the database's time.
///
/// # Errors
/// Why it is no torrent, or contradicts itself.
pub fn parse(line: &[u8], now: SystemTime) -> Result<NewTorrent, Refusal> {
    let json = |error: serde_json::Error| {
        let syntax = !error.is_data();
        Refusal::new(if syntax { "not JSON" } else { "not a torrent" }, error.to_string())
    };
    let line: Line = match serde_json::from_slice(line) {
        Ok(line) => line,
        // Programs exist that write half a surrogate pair for a byte that they could not decode.
        Err(error) => match without_lone_surrogates(line) {
            Some(mended) => serde_json::from_slice(&mended).map_err(json)?,
            None => return Err(json(error)),
        },
    };
    let time = |name: &str, text: Option<String>| {
        text.map(|text| {
            let at = humantime::parse_rfc3339(&text).map_err(|_| {
                Refusal::new("wrong time", format!("{name} is no time such as 2026-01-31T12:00:00Z"))
            })?;
            if at > now + AHEAD_MAX {
                return Err(Refusal::new("wrong time", format!("{name} lies in the future")));
            }
            Ok(at)
        })
        .transpose()
    };
    let v1 = line.v1.as_deref().map(|text| bytes::<20>("v1", text)).transpose()?;
    let v2 = line.v2.as_deref().map(|text| bytes::<32>("v2", text)).transpose()?;
    let hashes = Hashes::new(v1.map(InfoHash::from_bytes), v2)
        .ok_or_else(|| Refusal::new("no hash", "neither v1 nor v2 is there"))?;
    let name_raw = line.name_raw.as_deref().map(from_hex).map(|raw| {
        raw.ok_or_else(|| {
            Refusal::new("not a torrent", "name_raw is not made of pairs of hexadecimal digits")
        })
    });
    let discovered_by = match line.discovered_by.as_deref() {
        None => Discovery::Imported,
        Some(word) => Discovery::ALL
            .into_iter()
            .find(|way| way.as_str() == word)
            .ok_or_else(|| Refusal::new("not a torrent", format!("discovered_by cannot be {word:?}")))?,
    };
    let files: Vec<_> = line.files.into_iter().map(|file| (file.path, file.length)).collect();
    let scraped_at = time("scraped_at", line.scraped_at)?;
    let swarm = match (line.seeders, line.leechers, scraped_at) {
        (Some(seeders), Some(leechers), Some(at)) => {
            let (nodes, whole) = (line.scraped_nodes.unwrap_or(0), line.scraped_whole.unwrap_or(false));
            Some(ObservedSwarm { size: SwarmSize { whole, nodes, seeders, leechers }, at })
        }
        _ => None,
    };
    let score = match (line.score, time("score_at", line.score_at)?) {
        (Some(score), Some(at)) if (0.0..=SCORE_MAX).contains(&score) => Some((thousandths(score), at)),
        (Some(_), Some(_)) => return Err(Refusal::new("not a torrent", "score is out of range")),
        _ => None,
    };
    let history = History {
        added_at: time("added_at", line.added_at)?,
        last_seen: time("last_seen", line.last_seen)?,
        seen_count: line.seen_count,
        score,
        swarm,
    };
    let whole = line.files_whole.unwrap_or(true);
    let total_size = checked_size(&files, line.total_size, whole)?;
    if whole && line.file_count.is_some_and(|count| count as usize != files.len()) {
        return Err(Refusal::new("contradicts itself", "file_count is not the number of its files"));
    }
    Ok(NewTorrent {
        hashes,
        name: line.name,
        name_raw: name_raw.transpose()?,
        total_size,
        listing: if whole {
            Listing::Whole
        } else {
            Listing::Partial { files: line.file_count.unwrap_or(0) }
        },
        files,
        piece_length: line.piece_length,
        piece_count: line.piece_count,
        private: line.private,
        source: line.source,
        discovered_by,
        history,
    })
}

/// The key of the torrent in a line; `None` when it has none.
pub(super) fn key(line: &[u8]) -> Option<InfoHash> {
    #[derive(Deserialize)]
    struct Keys {
        #[serde(default)]
        v1: Option<String>,
        #[serde(default)]
        v2: Option<String>,
    }
    let keys: Keys = serde_json::from_slice(line).ok()?;
    let v1 = keys.v1.map(|text| bytes::<20>("v1", &text)).transpose().ok()?;
    let v2 = keys.v2.map(|text| bytes::<32>("v2", &text)).transpose().ok()?;
    Some(Hashes::new(v1.map(InfoHash::from_bytes), v2)?.canonical())
}

/// What all files have together, if it is what is said, or if nothing is said.
///
/// # Errors
/// It is beyond what can be counted, or not what is said.
pub(super) fn checked_size(
    files: &[file_list::File],
    said: Option<u64>,
    whole: bool,
) -> Result<u64, Refusal> {
    let too_large = || Refusal::new("too large", "its files have more than 2^63 bytes together");
    let sum = files
        .iter()
        .try_fold(0_u64, |sum, (_, length)| sum.checked_add(*length))
        .filter(|sum| i64::try_from(*sum).is_ok())
        .ok_or_else(too_large)?;
    let said = said.unwrap_or(sum);
    if i64::try_from(said).is_err() {
        return Err(too_large());
    }
    if said < sum || (whole && said != sum) {
        let detail = format!("its size is said to be {said}, but its files have {sum} bytes");
        return Err(Refusal::new("contradicts itself", detail));
    }
    Ok(said)
}

fn time_text(at: SystemTime) -> String {
    // Nothing older is ever stored, and such a time has no text.
    humantime::format_rfc3339_micros(at.max(SystemTime::UNIX_EPOCH)).to_string()
}

/// Short in text, and the same after being read again, whatever the reader does with the last bit.
fn thousandths(score: f64) -> f64 {
    (score * 1_000.0).round() / 1_000.0
}

fn bytes<const N: usize>(name: &str, text: &str) -> Result<[u8; N], Refusal> {
    from_hex(text).and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| {
        Refusal::new("wrong hash", format!("{name} is not made of {} hexadecimal digits", 2 * N))
    })
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok());
    if rest.is_empty() { bytes.collect() } else { None }
}

/// The line with U+FFFD for every escape that is one half of a surrogate pair; `None` if it has none.
fn without_lone_surrogates(line: &[u8]) -> Option<Vec<u8>> {
    let unit = |at: usize| -> Option<u16> {
        let digits = line.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut mended = Vec::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = line[at..].iter().position(|byte| *byte == b'\\') {
        at += found;
        match unit(at) {
            Some(0xd800..=0xdbff) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => at += 12,
            Some(0xd800..=0xdfff) => {
                mended.extend_from_slice(&line[copied..at]);
                mended.extend_from_slice(b"\\ufffd");
                at += 6;
                copied = at;
            }
            // An escape of two bytes, or the start of a longer one.
            _ => at = (at + 2).min(line.len()),
        }
    }
    if copied == 0 {
        return None;
    }
    mended.extend_from_slice(&line[copied..]);
    Some(mended)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file_list::pack;
    use proptest::prelude::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef01234567";

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn parsed(fields: &str) -> Result<NewTorrent, Refusal> {
        parse(format!("{{\"v1\":\"{HASH}\",{fields}}}").as_bytes(), now())
    }

    fn refused(fields: &str) -> &'static str {
        parsed(fields).unwrap_err().reason
    }

    #[test]
    fn a_line_needs_a_hash_a_name_and_files_and_nothing_else() {
        let torrent =
            parsed(r#""name":"n","files":[{"path":["a","b"],"length":3}],"other":{"x":[1]}"#).unwrap();
        assert_eq!((torrent.total_size, torrent.file_count(), torrent.listing), (3, 1, Listing::Whole));
        assert_eq!((torrent.piece_length, torrent.piece_count, torrent.private), (None, None, None));
        assert_eq!((torrent.discovered_by, torrent.history), (Discovery::Imported, History::default()));
        assert_eq!(refused(r#""files":[]"#), "not a torrent");
        assert_eq!(refused(r#""name":"n""#), "not a torrent");
        assert_eq!(parse(br#"{"name":"n","files":[]}"#, now()).unwrap_err().reason, "no hash");
    }

    #[test]
    fn what_is_wrong_with_a_line_is_named() {
        for (fields, reason) in [
            (r#""name":"n","files":[{"path":["a"],"length":3}"#, "not JSON"),
            (r#""name":"n","files":[{"path":["a"],"length":-3}]"#, "not a torrent"),
            (r#""name":"n","files":[{"path":["a"],"length":3}],"total_size":4"#, "contradicts itself"),
            (r#""name":"n","files":[{"path":["a"],"length":3}],"file_count":2"#, "contradicts itself"),
            (r#""name":"n","files":[],"name":"m""#, "not a torrent"),
            (r#""name":"n","files":[{"path":["a"],"length":18446744073709551615}]"#, "too large"),
            (
                r#""name":"n","files":[{"path":["a"],"length":9223372036854775807},{"path":["b"],"length":1}]"#,
                "too large",
            ),
            (r#""name":"n","files":[],"v2":"abcd""#, "wrong hash"),
            (r#""name":"n","files":[],"added_at":"yesterday""#, "wrong time"),
            (r#""name":"n","files":[],"added_at":"2199-01-01T00:00:00Z""#, "wrong time"),
            (r#""name":"n","files":[],"score":-1,"score_at":"2020-01-01T00:00:00Z""#, "not a torrent"),
            (r#""name":"n","files":[],"discovered_by":"magic""#, "not a torrent"),
            (r#""name":"n","files":[],"name_raw":"f""#, "not a torrent"),
        ] {
            assert_eq!(refused(fields), reason, "{fields}");
        }
        let short = format!("{{\"v1\":\"{}\",\"name\":\"n\",\"files\":[]}}", &HASH[..38]);
        assert_eq!(parse(short.as_bytes(), now()).unwrap_err().reason, "wrong hash");
        let deep = format!(r#""name":"n","files":[],"x":{}"#, "[".repeat(100_000));
        assert_eq!(refused(&deep), "not JSON");
    }

    #[test]
    fn of_a_list_that_is_not_whole_the_larger_numbers_are_believed() {
        let fields = r#""name":"n","files":[{"path":["a"],"length":3}],"total_size":9,"file_count":5,"files_whole":false"#;
        let torrent = parsed(fields).unwrap();
        assert_eq!((torrent.total_size, torrent.file_count()), (9, 5));
        let less = fields.replace("\"total_size\":9", "\"total_size\":2");
        assert_eq!(refused(&less), "contradicts itself");
    }

    #[test]
    fn half_a_surrogate_pair_becomes_the_replacement_character_and_whole_ones_stay() {
        let torrent =
            parsed(r#""name":"a\ud83c\udfac\ud800b\udc80\\ud800","files":[{"path":["\udfff"],"length":0}]"#)
                .unwrap();
        assert_eq!(torrent.name, "a🎬\u{fffd}b\u{fffd}\\ud800");
        assert_eq!(torrent.files[0].0[0], "\u{fffd}");
        assert_eq!(refused(r#""name":"\ud800" ,"#), "not JSON");
        assert_eq!(without_lone_surrogates(br#"{"a":"\\ud800 \ud83c\udfac \"#), None);
    }

    fn exported(torrent: &NewTorrent) -> ExportRow {
        ExportRow {
            hashes: torrent.hashes,
            name: torrent.name.clone(),
            name_raw: torrent.name_raw.clone(),
            total_size: torrent.total_size,
            file_count: torrent.file_count(),
            files_whole: torrent.listing == Listing::Whole,
            piece_length: torrent.piece_length,
            piece_count: torrent.piece_count,
            private: torrent.private,
            source: torrent.source.clone(),
            discovered_by: torrent.discovered_by,
            added_at: torrent.history.added_at.unwrap(),
            observed: torrent.history.last_seen.map(|last_seen| crate::db::Observed {
                last_seen,
                seen_count: torrent.history.seen_count.unwrap(),
                score: torrent.history.score.unwrap(),
                swarm: torrent.history.swarm,
            }),
            files: Some(pack(&torrent.name, &torrent.files)),
        }
    }

    prop_compose! {
        fn at()(micros in 0..1_800_000_000_000_000_u64) -> SystemTime {
            SystemTime::UNIX_EPOCH + Duration::from_micros(micros)
        }
    }

    prop_compose! {
        fn history()(
            added in at(), seen in prop::option::of((at(), any::<u64>(), 0.0..1e9_f64, at())),
            swarm in prop::option::of((at(), any::<(bool, u32, u32, u32)>())),
        ) -> History {
            let size = |(whole, nodes, seeders, leechers)| SwarmSize { whole, nodes, seeders, leechers };
            History {
                added_at: Some(added),
                last_seen: seen.map(|seen| seen.0),
                seen_count: seen.map(|seen| seen.1),
                score: seen.map(|seen| (thousandths(seen.2), seen.3)),
                swarm: seen.and(swarm).map(|(at, told)| ObservedSwarm { size: size(told), at }),
            }
        }
    }

    prop_compose! {
        fn any_torrent()(
            hashes in (prop::option::of(any::<[u8; 20]>()), prop::option::of(any::<[u8; 32]>()))
                .prop_filter_map("a hash", |(v1, v2)| Hashes::new(v1.map(InfoHash::from_bytes), v2)),
            name in any::<String>(), name_raw in prop::option::of(any::<Vec<u8>>()),
            files in prop::collection::vec((prop::collection::vec(any::<String>(), 0..4), 0..1_u64 << 40), 0..20),
            more in prop::option::of(0..9_u32), known in any::<(Option<u64>, Option<u32>, Option<bool>)>(),
            source in any::<Option<String>>(), way in 0..5_usize, history in history(),
        ) -> NewTorrent {
            let (piece_length, piece_count, private) = known;
            let listed = files.len() as u32;
            NewTorrent {
                hashes, name, name_raw, total_size: files.iter().map(|(_, length)| length).sum(),
                files,
                listing: more.map_or(Listing::Whole, |more| Listing::Partial { files: listed + more }),
                piece_length, piece_count, private, source, discovered_by: Discovery::ALL[way], history,
            }
        }
    }

    proptest! {
        #[test]
        fn every_torrent_comes_back_from_its_line(torrent in any_torrent()) {
            let mut line = Vec::new();
            write(exported(&torrent), &mut line).unwrap();
            prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            let read = parse(line.strip_suffix(b"\n").unwrap(), now()).unwrap();
            prop_assert_eq!(&read, &torrent);
            let mut again = Vec::new();
            write(exported(&read), &mut again).unwrap();
            prop_assert_eq!(again, line);
        }

        #[test]
        fn no_line_makes_it_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&line, now());
        }

        #[test]
        fn no_escapes_make_it_panic(text in r#"[\\"du8cf0-9]{0,60}"#) {
            let _ = parsed(&format!("\"name\":\"{text}\",\"files\":[]"));
        }
    }
}
