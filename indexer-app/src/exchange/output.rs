//! Where lines go: plain, or as zstd frames of some whole lines each.
//!
//! Every frame can be read by itself, so that a file that was cut off is good up to its last whole frame, and can be
//! continued there ([`resume`]).

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use krpc::InfoHash;
use zstd::{bulk::Compressor, zstd_safe::find_frame_compressed_size};

use super::{line, ndjson::LINE_BYTES_MAX};

/// Text that is written at a time, and that is in a frame. With four times as much, frames are 2 % smaller.
const CHUNK_BYTES: usize = 1 << 20;

/// zstd's own default: higher levels gain a tenth and take several times as long.
const LEVEL: i32 = 3;

/// A frame holds a chunk and at most one line beyond it.
const FRAME_BYTES_MAX: usize = LINE_BYTES_MAX + 2 * CHUNK_BYTES;

/// What every frame begins with.
pub(super) const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As it is.
    Plain,
    /// As zstd frames.
    Zstd,
}

impl Compression {
    /// What the name of a file asks for: one that ends in `.zst` is compressed.
    pub fn of_file(path: &Path) -> Self {
        if path.extension().is_some_and(|extension| extension == "zst") { Self::Zstd } else { Self::Plain }
    }
}

/// Takes lines and writes them in chunks.
pub struct Output<W> {
    sink: W,
    compressor: Option<Compressor<'static>>,
    pending: Vec<u8>,
}

impl<W> std::fmt::Debug for Output<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Output({} bytes pending)", self.pending.len())
    }
}

impl<W: Write> Output<W> {
    /// An output that continues where `sink` stands; it need not be buffered.
    ///
    /// # Errors
    /// There is no memory for a compressor.
    pub fn new(sink: W, compression: Compression) -> io::Result<Self> {
        let compressor = match compression {
            Compression::Plain => None,
            Compression::Zstd => {
                let mut compressor = Compressor::new(LEVEL)?;
                // Readers are told when a frame is damaged instead of getting its lines.
                compressor.include_checksum(true)?;
                Some(compressor)
            }
        };
        Ok(Self { sink, compressor, pending: Vec::new() })
    }

    /// Takes a line, which `append` adds to what is given to it.
    ///
    /// # Errors
    /// `append` failed, and added nothing.
    pub fn line<E>(&mut self, append: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        append(&mut self.pending)
    }

    /// Writes what has been taken, if that is a chunk by now.
    ///
    /// # Errors
    /// The sink failed.
    pub fn write_chunk(&mut self) -> io::Result<()> {
        if self.pending.len() >= CHUNK_BYTES { self.write() } else { Ok(()) }
    }

    /// Writes the rest.
    ///
    /// # Errors
    /// The sink failed.
    pub fn finish(mut self) -> io::Result<W> {
        self.write()?;
        self.sink.flush()?;
        Ok(self.sink)
    }

    fn write(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        match &mut self.compressor {
            Some(compressor) => self.sink.write_all(&compressor.compress(&self.pending)?)?,
            None => self.sink.write_all(&self.pending)?,
        }
        self.pending.clear();
        Ok(())
    }
}

/// A file that is to be continued.
#[derive(Debug)]
pub struct Resumed {
    /// The file, cut behind its last whole line or frame and standing there.
    pub file: File,
    /// The key of its last torrent; `None`: it has none.
    pub last: Option<InfoHash>,
}

/// Opens what an export that was interrupted has written, and finds where to go on.
///
/// # Errors
/// The file cannot be read or written, or it is no such export.
pub fn resume(path: &Path, compression: Compression) -> io::Result<Resumed> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let (end, tail) = match compression {
        Compression::Plain => last_line(&mut file)?,
        Compression::Zstd => last_frame(&mut file)?,
    };
    let last = match tail.strip_suffix(b"\n") {
        None if tail.is_empty() => None,
        None => return Err(foreign("its last line is not whole")),
        Some(lines) => {
            let from = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            Some(line::key(&lines[from..]).ok_or_else(|| foreign("its last line is no torrent"))?)
        }
    };
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
    Ok(Resumed { file, last })
}

fn foreign(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it is no export that can be continued: {why}"))
}

/// The end of the last whole line, and that line.
fn last_line(file: &mut File) -> io::Result<(u64, Vec<u8>)> {
    let length = file.seek(SeekFrom::End(0))?;
    // From the end backwards, a step at a time, until it has the two last line feeds or all of the file.
    let (mut start, mut tail) = (length, Vec::new());
    loop {
        let mut feeds = tail.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
        let (last, before) = (feeds.next(), feeds.next());
        if let (Some(last), Some(before)) = (last, before) {
            return Ok((start + last as u64 + 1, tail[before + 1..=last].to_vec()));
        }
        if start == 0 {
            return Ok(match last {
                Some(last) => (last as u64 + 1, tail[..=last].to_vec()),
                None => (0, Vec::new()),
            });
        }
        if tail.len() > 2 * LINE_BYTES_MAX {
            return Err(foreign("it has no line of a length that is possible"));
        }
        // Twice as far each time, so that what was read before is not read often.
        let step = start.min(tail.len().max(CHUNK_BYTES) as u64);
        start -= step;
        file.seek(SeekFrom::Start(start))?;
        let mut longer = vec![0; step as usize];
        file.read_exact(&mut longer)?;
        longer.append(&mut tail);
        tail = longer;
    }
}

/// The end of the last whole frame, and what is in it.
fn last_frame(file: &mut File) -> io::Result<(u64, Vec<u8>)> {
    file.seek(SeekFrom::Start(0))?;
    let (mut end, mut frame, mut ahead) = (0, Vec::new(), Vec::new());
    loop {
        let mut at = 0;
        while let Some(length) = frame_length(&ahead[at..])? {
            frame.clear();
            frame.extend_from_slice(&ahead[at..at + length]);
            at += length;
        }
        end += at as u64;
        ahead.drain(..at);
        if ahead.len() > FRAME_BYTES_MAX {
            return Err(foreign("it has a frame that is too long"));
        }
        if Read::by_ref(file).take(4 * CHUNK_BYTES as u64).read_to_end(&mut ahead)? == 0 {
            break;
        }
    }
    let mut lines = Vec::new();
    if !frame.is_empty() {
        let limit = FRAME_BYTES_MAX as u64;
        zstd::stream::read::Decoder::with_buffer(frame.as_slice())?.take(limit).read_to_end(&mut lines)?;
    }
    Ok((end, lines))
}

/// The length of the frame that these bytes begin with; `None`: more bytes are needed to tell.
fn frame_length(bytes: &[u8]) -> io::Result<Option<usize>> {
    let magic = &bytes[..bytes.len().min(ZSTD_MAGIC.len())];
    if !ZSTD_MAGIC.starts_with(magic) {
        return Err(foreign("it is not made of zstd frames"));
    }
    // What is damaged cannot be told from what is cut off; either way the frame is not taken.
    Ok(find_frame_compressed_size(bytes).ok().filter(|length| *length <= bytes.len() && *length > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef0123";

    fn text(number: u32) -> Vec<u8> {
        format!("{{\"v1\":\"{HASH}{number:04x}\",\"name\":\"{}\",\"files\":[]}}\n", "x".repeat(9_000))
            .into_bytes()
    }

    fn written(lines: u32, compression: Compression) -> Vec<u8> {
        let mut output = Output::new(Vec::new(), compression).unwrap();
        for number in 0..lines {
            output
                .line(|out| -> Result<(), ()> {
                    out.extend(text(number));
                    Ok(())
                })
                .unwrap();
            output.write_chunk().unwrap();
        }
        output.finish().unwrap()
    }

    fn plain(bytes: &[u8], compression: Compression) -> Vec<u8> {
        match compression {
            Compression::Plain => bytes.to_vec(),
            Compression::Zstd => zstd::stream::decode_all(bytes).unwrap(),
        }
    }

    fn file(name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("indexer-output-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn a_file_that_was_cut_anywhere_is_continued_after_its_last_whole_line_or_frame() {
        for compression in [Compression::Plain, Compression::Zstd] {
            let whole = written(400, compression);
            let all = plain(&whole, compression);
            let step = whole.len() / 37;
            for cut in (0..whole.len()).step_by(step.max(1)).chain([whole.len() - 1, whole.len()]) {
                let path = file(&format!("{compression:?}-{cut}"), &whole[..cut]);
                let Resumed { file, last } = resume(&path, compression).unwrap();
                let next = last.map_or(0, |key| {
                    u32::from(u16::from_be_bytes([key.as_bytes()[18], key.as_bytes()[19]])) + 1
                });
                let mut output = Output::new(file, compression).unwrap();
                for number in next..400 {
                    output
                        .line(|out| -> Result<(), ()> {
                            out.extend(text(number));
                            Ok(())
                        })
                        .unwrap();
                    output.write_chunk().unwrap();
                }
                output.finish().unwrap();
                let again = std::fs::read(&path).unwrap();
                std::fs::remove_file(&path).unwrap();
                assert!(
                    plain(&again, compression) == all,
                    "{compression:?} cut at {cut}, continued at {next}"
                );
                if cut == whole.len() {
                    assert_eq!(next, 400, "{compression:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_export_is_not_continued() {
        for (name, bytes, compression) in [
            ("zstd", &b"{\"v1\":1}\n"[..], Compression::Zstd),
            ("plain", b"something else\n", Compression::Plain),
            ("frames", &zstd::encode_all(&b"half a line"[..], 1).unwrap(), Compression::Zstd),
        ] {
            let path = file(name, bytes);
            let error = resume(&path, compression).unwrap_err();
            assert!(error.to_string().starts_with("it is no export that can be continued: "), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), bytes, "{name} was changed");
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn names_of_files_tell_whether_they_are_compressed() {
        assert_eq!(Compression::of_file(Path::new("a/all.ndjson.zst")), Compression::Zstd);
        assert_eq!(Compression::of_file(Path::new("a.zst/all.ndjson")), Compression::Plain);
    }
}
