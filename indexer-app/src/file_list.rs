//! The files of a torrent as one packed value.
//!
//! Paths of neighbours begin alike, so each is written as the number of bytes shared with the one before and the
//! rest (front coding); lists that gain by it are compressed with zstd on top. All numbers are LEB128. A path is its
//! components, each ended by `0xff`, which is no byte of UTF-8: so every list of components comes back as it was.

use std::fmt;

/// Length in bytes and path components of one file.
pub type File = (Vec<String>, u64);

/// How a list is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// Front-coded.
    Plain = 1,
    /// Front-coded; its length, then zstd.
    Zstd = 2,
}

/// Ends a component; no byte of UTF-8.
const END: u8 = 0xff;

/// zstd's own default: higher levels gain 2 % on lists this short and take many times as long.
const LEVEL: i32 = 3;

/// Longest unpacked list that is believed: an info dict of 256 MiB, our longest, has no longer one.
const UNPACKED_BYTES_MAX: usize = 512 << 20;

/// Why packed data is no file list: it was damaged, or a newer program has made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// A format that this program does not know.
    #[error("file list of unknown format {0}")]
    Format(i16),
    /// The bytes are not what [`pack`] makes.
    #[error("damaged file list")]
    Damaged,
}

/// A packed list.
#[derive(Clone, PartialEq, Eq)]
pub struct Packed {
    /// How it is packed.
    pub fmt: i16,
    /// The bytes.
    pub data: Vec<u8>,
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packed {{ fmt: {}, {} bytes }}", self.fmt, self.data.len())
    }
}

/// Packs a list; its order is kept.
pub fn pack(files: &[File]) -> Packed {
    let mut plain = Vec::new();
    let (mut before, mut path) = (Vec::new(), Vec::new());
    write_number(&mut plain, files.len() as u64);
    for (components, length) in files {
        path.clear();
        for component in components {
            path.extend_from_slice(component.as_bytes());
            path.push(END);
        }
        let shared = path.iter().zip(&before).take_while(|(ours, theirs)| ours == theirs).count();
        write_number(&mut plain, shared as u64);
        write_number(&mut plain, (path.len() - shared) as u64);
        plain.extend_from_slice(&path[shared..]);
        write_number(&mut plain, *length);
        std::mem::swap(&mut before, &mut path);
    }
    let mut data = Vec::new();
    write_number(&mut data, plain.len() as u64);
    match zstd::bulk::compress(&plain, LEVEL) {
        Ok(compressed) if data.len() + compressed.len() < plain.len() => {
            data.extend_from_slice(&compressed);
            Packed { fmt: Format::Zstd as i16, data }
        }
        _ => Packed { fmt: Format::Plain as i16, data: plain },
    }
}

/// Unpacks a list.
///
/// # Errors
/// The format is unknown, or the bytes are not what [`pack`] makes.
pub fn unpack(fmt: i16, data: &[u8]) -> Result<Vec<File>, UnpackError> {
    if fmt == Format::Plain as i16 {
        return unpack_plain(data);
    }
    if fmt != Format::Zstd as i16 {
        return Err(UnpackError::Format(fmt));
    }
    let mut rest = data;
    let length = usize::try_from(read_number(&mut rest)?).map_err(|_| UnpackError::Damaged)?;
    if length > UNPACKED_BYTES_MAX {
        return Err(UnpackError::Damaged);
    }
    let plain = zstd::bulk::decompress(rest, length).map_err(|_| UnpackError::Damaged)?;
    unpack_plain(&plain)
}

fn unpack_plain(mut rest: &[u8]) -> Result<Vec<File>, UnpackError> {
    let count = read_number(&mut rest)?;
    // A file takes at least three bytes: a count beyond that is a lie, and nothing is reserved for it.
    if count > rest.len() as u64 / 3 {
        return Err(UnpackError::Damaged);
    }
    let mut files = Vec::with_capacity(count as usize);
    let mut path: Vec<u8> = Vec::new();
    for _ in 0..count {
        let shared = usize::try_from(read_number(&mut rest)?).map_err(|_| UnpackError::Damaged)?;
        let suffix = usize::try_from(read_number(&mut rest)?).map_err(|_| UnpackError::Damaged)?;
        let (new, after) = rest.split_at_checked(suffix).ok_or(UnpackError::Damaged)?;
        if shared > path.len() {
            return Err(UnpackError::Damaged);
        }
        path.truncate(shared);
        path.extend_from_slice(new);
        rest = after;
        files.push((components(&path)?, read_number(&mut rest)?));
    }
    if rest.is_empty() { Ok(files) } else { Err(UnpackError::Damaged) }
}

fn components(path: &[u8]) -> Result<Vec<String>, UnpackError> {
    let Some(body) = path.strip_suffix(&[END]) else {
        return if path.is_empty() { Ok(Vec::new()) } else { Err(UnpackError::Damaged) };
    };
    body.split(|byte| *byte == END)
        .map(|component| std::str::from_utf8(component).map(str::to_owned).map_err(|_| UnpackError::Damaged))
        .collect()
}

fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn read_number(rest: &mut &[u8]) -> Result<u64, UnpackError> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first().ok_or(UnpackError::Damaged)?;
        *rest = after;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return Err(UnpackError::Damaged);
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(UnpackError::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(path: &[&str], length: u64) -> File {
        (path.iter().map(|component| (*component).to_owned()).collect(), length)
    }

    #[test]
    fn a_season_takes_a_few_bytes_a_file() {
        let files: Vec<File> = (1..=200)
            .map(|number| {
                file(&["Some Show", "Season 1", &format!("Some.Show.S01E{number:03}.1080p.mkv")], 700_000_000)
            })
            .collect();
        let packed = pack(&files);
        assert_eq!(packed.fmt, 2);
        assert!(packed.data.len() < 200 * 6, "{} bytes", packed.data.len());
        assert_eq!(unpack(packed.fmt, &packed.data), Ok(files));
    }

    #[test]
    fn a_single_file_is_left_uncompressed() {
        let files = vec![file(&["a.iso"], 5)];
        let packed = pack(&files);
        assert_eq!((packed.fmt, packed.data.len()), (1, 10));
        assert_eq!(unpack(packed.fmt, &packed.data), Ok(files));
    }

    #[test]
    fn odd_paths_and_sizes_come_back_as_they_were() {
        let files = vec![
            file(&[], 0),
            file(&[""], u64::MAX),
            file(&["", ""], 1),
            file(&["a/b", "..", "\0"], 2),
            file(&["日本", "é"], 3),
            file(&["日本", "è"], 4),
        ];
        let packed = pack(&files);
        assert_eq!(unpack(packed.fmt, &packed.data), Ok(files));
        assert_eq!(unpack(1, &pack(&[]).data), Ok(Vec::new()));
    }

    #[test]
    fn damaged_and_foreign_lists_are_errors() {
        assert_eq!(unpack(3, b"x"), Err(UnpackError::Format(3)));
        assert_eq!(unpack(1, b""), Err(UnpackError::Damaged));
        assert_eq!(unpack(1, b"\xff\xff\xff\xff\x0f"), Err(UnpackError::Damaged));
        assert_eq!(unpack(2, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01zz"), Err(UnpackError::Damaged));
        assert_eq!(unpack(2, b"\x05zz"), Err(UnpackError::Damaged));
        // Shares more than there is.
        assert_eq!(unpack(1, &[1, 9, 0, 0]), Err(UnpackError::Damaged));
    }

    proptest! {
        #[test]
        fn every_list_comes_back(files in prop::collection::vec((prop::collection::vec(any::<String>(), 0..4), any::<u64>()), 0..40)) {
            let packed = pack(&files);
            prop_assert_eq!(unpack(packed.fmt, &packed.data), Ok(files));
        }

        #[test]
        fn no_bytes_make_it_panic(fmt in 0..4_i16, data in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = unpack(fmt, &data);
        }
    }
}
