//! Reading exports: lines of JSON, plain or compressed.

use std::{
    io::{self, BufRead, BufReader, Cursor, ErrorKind, Read},
    time::SystemTime,
};

use super::{
    ImportError, Refusal, line,
    output::ZSTD_MAGIC,
    source::{Entry, Feed},
};

/// A longer line is passed over: a torrent of 200,000 files has one of 20 MB, the longest info dict that is fetched by default one
/// of 30 MB.
pub(super) const LINE_BYTES_MAX: usize = 64 << 20;

/// Bytes read at a time.
const READ_BYTES: usize = 256 << 10;

/// Reads an export to its end, handing on what it finds. `name` is what messages call it; `now` the time that no
/// line may be far ahead of.
///
/// # Errors
/// The input is no export, is cut off or damaged, or cannot be read. All that came before has been handed on.
pub fn read(input: impl Read, name: &str, now: SystemTime, feed: Feed) -> Result<(), ImportError> {
    let mut input = BufReader::with_capacity(READ_BYTES, input);
    let mut magic = Vec::new();
    let failed = |error| ImportError::Read { name: name.to_owned(), error };
    input.by_ref().take(16).read_to_end(&mut magic).map_err(failed)?;
    let foreign = |what| Err(ImportError::Foreign { name: name.to_owned(), what });
    if magic.starts_with(b"SQLite format 3") {
        return foreign("an SQLite database; magnetico's is imported with --from magnetico");
    }
    if magic.starts_with(&[0x1f, 0x8b]) {
        return foreign("compressed with gzip; unpack it first, as in `gzip -dc FILE | indexer import -`");
    }
    if magic.starts_with(b"PGDMP") {
        return foreign("a dump of PostgreSQL's; restore it, and import from the database");
    }
    let is_zstd = magic.starts_with(&ZSTD_MAGIC);
    let input = Cursor::new(magic).chain(input);
    if is_zstd {
        let decoder = zstd::stream::read::Decoder::new(input).map_err(failed)?;
        read_lines(BufReader::with_capacity(READ_BYTES, decoder), name, now, feed)
    } else {
        read_lines(BufReader::with_capacity(READ_BYTES, input), name, now, feed)
    }
}

fn read_lines(
    mut input: impl BufRead,
    name: &str,
    now: SystemTime,
    mut feed: Feed,
) -> Result<(), ImportError> {
    let mut line = Vec::new();
    let mut number = 0;
    let ended = loop {
        line.clear();
        // What one long line took is not kept for all others.
        line.shrink_to(4 * READ_BYTES);
        let found = next_line(&mut input, &mut line);
        number += 1;
        let what = match found {
            Ok(Found::Nothing) => break Ok(()),
            Ok(Found::TooLong) => {
                Err(Refusal::new("line too long", format!("it has more than {} MiB", LINE_BYTES_MAX >> 20)))
            }
            Ok(Found::Line) => {
                let text = line.strip_prefix(b"\xef\xbb\xbf").filter(|_| number == 1).unwrap_or(&line);
                if text.trim_ascii().is_empty() {
                    continue;
                }
                line::parse(text, now)
            }
            Err(error) => break Err(error),
        };
        if !feed.hand_on(Entry { place: number, what }, line.len() as u64) {
            return Ok(());
        }
    };
    feed.finish();
    ended.map_err(|error| {
        let name = name.to_owned();
        match error.kind() {
            ErrorKind::UnexpectedEof => ImportError::CutOff { name },
            _ => ImportError::Read { name, error },
        }
    })
}

enum Found {
    Line,
    TooLong,
    Nothing,
}

/// Reads up to the next line feed, of a line that is too long without keeping it.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Found> {
    let (mut too_long, mut any) = (false, false);
    loop {
        let ahead = match input.fill_buf() {
            Ok(ahead) => ahead,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let feed = ahead.iter().position(|byte| *byte == b'\n');
        let part = &ahead[..feed.unwrap_or(ahead.len())];
        any |= !ahead.is_empty();
        if line.len() + part.len() > LINE_BYTES_MAX {
            too_long = true;
            *line = Vec::new();
        }
        if !too_long {
            line.extend_from_slice(part);
        }
        let (used, ends) = (feed.map_or(ahead.len(), |at| at + 1), feed.is_some() || ahead.is_empty());
        input.consume(used);
        if ends {
            return Ok(if too_long {
                Found::TooLong
            } else if any {
                Found::Line
            } else {
                Found::Nothing
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::exchange::{
        Compression, Output,
        source::{Batch, feed},
    };

    const HASH: &str = "0123456789abcdef0123456789abcdef0123";

    fn text(number: u32) -> String {
        format!("{{\"v1\":\"{HASH}{number:04x}\",\"name\":\"n{number}\",\"files\":[]}}\n")
    }

    /// A place, and the reason if what stands there was refused.
    type Seen = (u64, Option<&'static str>);

    /// What was read, and how it ended.
    fn read_all(input: impl Read + Send) -> (Vec<Seen>, Result<(), ImportError>) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let (feed, mut batches) = feed("input line");
        std::thread::scope(|scope| {
            let reader = scope.spawn(move || read(input, "input", now, feed));
            let mut entries = Vec::new();
            while let Some(Batch { entries: more, .. }) = batches.blocking_recv() {
                entries
                    .extend(more.into_iter().map(|entry| (entry.place, entry.what.err().map(|r| r.reason))));
            }
            (entries, reader.join().unwrap())
        })
    }

    fn good(places: impl IntoIterator<Item = u64>) -> Vec<Seen> {
        places.into_iter().map(|place| (place, None)).collect()
    }

    #[test]
    fn plain_and_compressed_lines_are_read_alike() {
        let lines: String = (0..5).map(text).collect();
        let frames = [0, 1, 2].map(|_| zstd::encode_all(lines.as_bytes(), 1).unwrap()).concat();
        let (entries, ended) = read_all(lines.as_bytes());
        assert_eq!(entries, good(1..6));
        ended.unwrap();
        let (entries, ended) = read_all(frames.as_slice());
        assert_eq!(entries, good(1..16));
        ended.unwrap();
        assert_eq!(read_all(&b""[..]).0, []);
    }

    #[test]
    fn empty_lines_a_byte_order_mark_and_a_missing_last_line_feed_are_nothing() {
        let lines = format!("\u{feff}{}\r\n\n  \n{}", text(1).trim_end(), text(2).trim_end());
        assert_eq!(read_all(lines.as_bytes()).0, good([1, 4]));
    }

    #[test]
    fn lines_that_are_no_torrents_are_told_by_their_number() {
        let lines = format!("{}what\n{}{{}}\n\u{0}\n{}", text(1), text(2), text(3));
        let (entries, ended) = read_all(lines.as_bytes());
        let refused: Vec<_> = entries.iter().filter_map(|(place, why)| Some((*place, (*why)?))).collect();
        assert_eq!(refused, [(2, "not JSON"), (4, "not a torrent"), (5, "not JSON")]);
        assert_eq!(entries.len(), 6);
        ended.unwrap();
    }

    #[test]
    fn a_line_without_end_is_passed_over_and_what_follows_is_read() {
        let long = io::repeat(b'x').take(100_000_000);
        let (first, last) = (text(1), format!("\n{}", text(2)));
        let (entries, ended) = read_all(first.as_bytes().chain(long).chain(last.as_bytes()));
        assert_eq!(entries, [(1, None), (2, Some("line too long")), (3, None)]);
        ended.unwrap();
    }

    #[test]
    fn what_stands_before_a_cut_is_read_and_the_cut_is_said() {
        let lines: String = (0..2_000).map(text).collect();
        let frames = zstd::encode_all(lines.as_bytes(), 1).unwrap().repeat(3);
        let (entries, ended) = read_all(&frames[..frames.len() - 10]);
        assert!(matches!(ended.unwrap_err(), ImportError::CutOff { .. }));
        assert!(entries.len() >= 4_000 && entries.iter().all(|(_, why)| why.is_none()), "{}", entries.len());

        // Frames of ours are damaged in no place without being noticed.
        let mut output = Output::new(Vec::new(), Compression::Zstd).unwrap();
        output
            .line(|out| -> Result<(), ()> {
                out.extend(lines.as_bytes());
                Ok(())
            })
            .unwrap();
        let whole = output.finish().unwrap();
        for at in (0..whole.len()).step_by(whole.len() / 9) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x55;
            let (entries, ended) = read_all(damaged.as_slice());
            assert!(ended.is_err() || entries.iter().any(|(_, why)| why.is_some()), "at {at}");
        }
    }

    #[test]
    fn other_files_are_told_by_their_first_bytes() {
        for (bytes, what) in [
            (&b"SQLite format 3\0...."[..], "--from magnetico"),
            (&[0x1f, 0x8b, 8, 0], "gzip -dc"),
            (b"PGDMP\x01\x0e", "restore it"),
        ] {
            let sentence = read_all(bytes).1.unwrap_err().to_string();
            assert!(sentence.starts_with("input is ") && sentence.contains(what), "{sentence}");
        }
    }
}
