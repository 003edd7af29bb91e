//! The files of a torrent as one packed value.
//!
//! Paths of neighbours begin alike, and the first often like the torrent, so each is written as the number of bytes shared
//! with the one before and the rest (front coding). Lengths of files come first, which are as good as random; then the other numbers and all texts. Either
//! part is compressed with zstd when it gains by that: together the lengths would make the texts longer by a sixteenth. Numbers are LEB128. A path is its
//! components, each ended by `0xff`, which is no byte of UTF-8: so every list of components comes back as it was.

use std::{borrow::Cow, fmt};

use zstd::zstd_safe::CParameter;

/// Length in bytes and path components of one file.
pub type File = (Vec<String>, u64);

/// Whether these are all files of a torrent that is one file named as itself: its name and size say it all, and no list is kept.
pub fn is_single(name: &str, total_size: u64, files: &[File]) -> bool {
    matches!(files, [(path, length)] if path.as_slice() == [name] && *length == total_size)
}

/// The only file of such a torrent.
pub fn single(name: &str, total_size: u64) -> File {
    (vec![name.to_owned()], total_size)
}

/// How a list is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// Front-coded, number by number and text by text. No longer written, nor is the next.
    Mixed = 1,
    /// The same; its length, then zstd.
    MixedZstd = 2,
    /// Numbers, then texts; the first path beginning like the torrent's name. No longer written, nor is the next.
    Plain = 3,
    /// The same; its length, then zstd.
    Zstd = 4,
    /// How many files; their lengths, a part with its number of bytes before it; a part to the end, with what paths share and then their texts. A part is the
    /// number of its bytes before it was compressed, 0 when it was not, and its bytes or a frame of zstd without its first four bytes, which are always the same.
    Parted = 5,
}

/// What frames of zstd begin with (RFC 8878).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Ends a component; no byte of UTF-8.
const END: u8 = 0xff;

/// Ends a path; no byte of UTF-8.
const PATH_END: u8 = 0xfe;

/// Bytes that a file takes at least: two numbers and [`PATH_END`], or three numbers.
const FILE_BYTES_MIN: u64 = 3;

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

/// Packs lists; one for many spares making what zstd works with for each.
pub struct Packer {
    compressor: Option<zstd::bulk::Compressor<'static>>,
    lengths: Vec<u8>,
    shared: Vec<u8>,
    texts: Vec<u8>,
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Packer")
    }
}

impl Default for Packer {
    fn default() -> Self {
        Self::new()
    }
}

impl Packer {
    /// Ready to pack.
    pub fn new() -> Self {
        // Without memory for it lists stay as they are. The length stands before a frame, so it need not say it.
        let compressor = zstd::bulk::Compressor::new(LEVEL).ok().and_then(|mut compressor| {
            compressor.set_parameter(CParameter::ContentSizeFlag(false)).ok().map(|()| compressor)
        });
        Self { compressor, lengths: Vec::new(), shared: Vec::new(), texts: Vec::new() }
    }

    /// Packs the list of a torrent of this name; its order is kept.
    pub fn pack(&mut self, name: &str, files: &[File]) -> Packed {
        let Self { compressor, lengths, shared, texts } = self;
        for part in [&mut *lengths, &mut *shared, &mut *texts] {
            part.clear();
        }
        let (mut before, mut path) = (first_before(name), Vec::new());
        for (components, length) in files {
            path.clear();
            for component in components {
                path.extend_from_slice(component.as_bytes());
                path.push(END);
            }
            let alike = path.iter().zip(&before).take_while(|(ours, theirs)| ours == theirs).count();
            write_number(shared, alike as u64);
            write_number(lengths, *length);
            texts.extend_from_slice(&path[alike..]);
            texts.push(PATH_END);
            std::mem::swap(&mut before, &mut path);
        }
        shared.append(texts);
        let mut data = Vec::new();
        write_number(&mut data, files.len() as u64);
        let lengths = part(compressor.as_mut(), lengths);
        write_number(&mut data, lengths.len() as u64);
        data.extend_from_slice(&lengths);
        data.extend_from_slice(&part(compressor.as_mut(), shared));
        Packed { fmt: Format::Parted as i16, data }
    }
}

/// A part of a list, compressed if it gains by that.
fn part(compressor: Option<&mut zstd::bulk::Compressor<'static>>, plain: &[u8]) -> Vec<u8> {
    let mut part = Vec::with_capacity(plain.len() + 1);
    if let Some(Ok(compressed)) = compressor.map(|compressor| compressor.compress(plain))
        && let Some(frame) = compressed.strip_prefix(&ZSTD_MAGIC)
    {
        write_number(&mut part, plain.len() as u64);
        part.extend_from_slice(frame);
        if part.len() <= plain.len() {
            return part;
        }
        part.clear();
    }
    part.push(0);
    part.extend_from_slice(plain);
    part
}

/// What [`part`] was made of.
fn unpart(mut part: &[u8]) -> Result<Cow<'_, [u8]>, UnpackError> {
    let length = usize::try_from(read_number(&mut part)?).map_err(|_| UnpackError::Damaged)?;
    if length == 0 {
        return Ok(Cow::Borrowed(part));
    }
    if length > UNPACKED_BYTES_MAX {
        return Err(UnpackError::Damaged);
    }
    let frame = [&ZSTD_MAGIC, part].concat();
    let plain = zstd::bulk::decompress(&frame, length).map_err(|_| UnpackError::Damaged)?;
    if plain.len() == length { Ok(Cow::Owned(plain)) } else { Err(UnpackError::Damaged) }
}

/// Packs a single list.
pub fn pack(name: &str, files: &[File]) -> Packed {
    Packer::new().pack(name, files)
}

/// What the first path is likely to begin with.
fn first_before(name: &str) -> Vec<u8> {
    let mut before = name.as_bytes().to_vec();
    before.push(END);
    before
}

/// Unpacks the list of a torrent of this name.
///
/// # Errors
/// The format is unknown, or the bytes are not what [`pack`] makes of a list under this name.
pub fn unpack(name: &str, fmt: i16, data: &[u8]) -> Result<Vec<File>, UnpackError> {
    let is = |format: Format| fmt == format as i16;
    if is(Format::Parted) {
        return unpack_parted(name, data);
    }
    if is(Format::Plain) {
        return unpack_plain(name, data);
    }
    if is(Format::Mixed) {
        return unpack_mixed(data);
    }
    if !is(Format::Zstd) && !is(Format::MixedZstd) {
        return Err(UnpackError::Format(fmt));
    }
    let mut rest = data;
    let length = usize::try_from(read_number(&mut rest)?).map_err(|_| UnpackError::Damaged)?;
    if length > UNPACKED_BYTES_MAX {
        return Err(UnpackError::Damaged);
    }
    let plain = zstd::bulk::decompress(rest, length).map_err(|_| UnpackError::Damaged)?;
    if is(Format::Zstd) { unpack_plain(name, &plain) } else { unpack_mixed(&plain) }
}

/// How many files there are, which nothing is reserved for if it cannot be true.
fn read_count(rest: &mut &[u8]) -> Result<usize, UnpackError> {
    let count = read_number(rest)?;
    if count > rest.len() as u64 / FILE_BYTES_MIN {
        return Err(UnpackError::Damaged);
    }
    usize::try_from(count).map_err(|_| UnpackError::Damaged)
}

fn unpack_parted(name: &str, mut data: &[u8]) -> Result<Vec<File>, UnpackError> {
    let count = read_number(&mut data)?;
    let bytes = usize::try_from(read_number(&mut data)?).map_err(|_| UnpackError::Damaged)?;
    let (lengths, rest) = data.split_at_checked(bytes).ok_or(UnpackError::Damaged)?;
    let (lengths, rest) = (unpart(lengths)?, unpart(rest)?);
    let (mut lengths, mut rest) = (&*lengths, &*rest);
    // Each has a number in both, and an end.
    if count > lengths.len() as u64 || count > rest.len() as u64 / 2 {
        return Err(UnpackError::Damaged);
    }
    let mut numbers = Vec::with_capacity(usize::try_from(count).map_err(|_| UnpackError::Damaged)?);
    for _ in 0..count {
        numbers.push((read_number(&mut rest)?, read_number(&mut lengths)?));
    }
    if lengths.is_empty() { with_texts(name, numbers, rest) } else { Err(UnpackError::Damaged) }
}

fn unpack_plain(name: &str, mut rest: &[u8]) -> Result<Vec<File>, UnpackError> {
    let count = read_count(&mut rest)?;
    let mut numbers = Vec::with_capacity(count);
    for _ in 0..count {
        numbers.push((read_number(&mut rest)?, read_number(&mut rest)?));
    }
    with_texts(name, numbers, rest)
}

/// The files of which paths share so many bytes with the one before, and that are so long.
fn with_texts(name: &str, numbers: Vec<(u64, u64)>, mut rest: &[u8]) -> Result<Vec<File>, UnpackError> {
    let mut files = Vec::with_capacity(numbers.len());
    let mut path = first_before(name);
    for (shared, length) in numbers {
        let end = rest.iter().position(|byte| *byte == PATH_END).ok_or(UnpackError::Damaged)?;
        if shared > path.len() as u64 {
            return Err(UnpackError::Damaged);
        }
        path.truncate(shared as usize);
        path.extend_from_slice(&rest[..end]);
        rest = &rest[end + 1..];
        files.push((components(&path)?, length));
    }
    if rest.is_empty() { Ok(files) } else { Err(UnpackError::Damaged) }
}

fn unpack_mixed(mut rest: &[u8]) -> Result<Vec<File>, UnpackError> {
    let count = read_count(&mut rest)?;
    let mut files = Vec::with_capacity(count);
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
        let packed = pack("Some Show", &files);
        assert_eq!(packed.fmt, 5);
        assert!(packed.data.len() < 200 * 2, "{} bytes", packed.data.len());
        assert_eq!(unpack("Some Show", packed.fmt, &packed.data), Ok(files));
    }

    #[test]
    fn a_single_file_of_the_name_of_its_torrent_takes_hardly_anything() {
        let files = vec![file(&["Some long name of a release.iso"], 5)];
        let packed = pack("Some long name of a release.iso", &files);
        assert_eq!((packed.fmt, packed.data.len()), (5, 7));
        assert_eq!(unpack("Some long name of a release.iso", packed.fmt, &packed.data), Ok(files.clone()));
        let packed = pack("Some long name of a release", &files);
        assert_eq!(packed.data.len(), 12);
        assert_eq!(unpack("Some long name of a release", packed.fmt, &packed.data), Ok(files));
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
        let packed = pack("日", &files);
        assert_eq!(unpack("日", packed.fmt, &packed.data), Ok(files));
        assert_eq!(unpack("", 5, &pack("", &[]).data), Ok(Vec::new()));
    }

    #[test]
    fn lists_that_older_programs_have_packed_are_read() {
        let files = vec![file(&["a", "one"], 5), file(&["a", "two"], 300)];
        let mixed = b"\x02\x00\x06a\xffone\xff\x05\x02\x04two\xff\xac\x02";
        assert_eq!(unpack("any", 1, mixed), Ok(files.clone()));
        let mut zstd = vec![mixed.len() as u8];
        zstd.extend(zstd::bulk::compress(mixed, LEVEL).unwrap());
        assert_eq!(unpack("any", 2, &zstd), Ok(files.clone()));
        let plain = b"\x02\x00\x05\x02\xac\x02a\xffone\xff\xfetwo\xff\xfe";
        assert_eq!(unpack("any", 3, plain), Ok(files.clone()));
        let mut zstd = vec![plain.len() as u8];
        zstd.extend(zstd::bulk::compress(plain, LEVEL).unwrap());
        assert_eq!(unpack("any", 4, &zstd), Ok(files));
    }

    #[test]
    fn damaged_and_foreign_lists_are_errors() {
        assert_eq!(unpack("", 6, b"x"), Err(UnpackError::Format(6)));
        for data in [
            &b""[..],
            b"\x01",
            b"\x01\x09",
            b"\x01\x02\x00\x05",
            b"\x01\x02\x00\x05\x00\x00",
            b"\x01\x03\x00\x05\x05\x00\x00\xfe",
            b"\xff\xff\xff\xff\x0f\x02\x00\x05\x00\x00\xfe",
            b"\x01\x02\x00\x05\x09zz",
        ] {
            assert_eq!(unpack("", 5, data), Err(UnpackError::Damaged), "{data:?}");
        }
        for fmt in [1, 3] {
            assert_eq!(unpack("", fmt, b""), Err(UnpackError::Damaged));
            assert_eq!(unpack("", fmt, b"\xff\xff\xff\xff\x0f"), Err(UnpackError::Damaged));
        }
        for fmt in [2, 4] {
            let long = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01zz";
            assert_eq!(unpack("", fmt, long), Err(UnpackError::Damaged));
            assert_eq!(unpack("", fmt, b"\x05zz"), Err(UnpackError::Damaged));
        }
        // Shares more than there is.
        assert_eq!(unpack("", 1, &[1, 9, 0, 0]), Err(UnpackError::Damaged));
        assert_eq!(unpack("name", 3, &[1, 9, 0, PATH_END]), Err(UnpackError::Damaged));
        // The path has no end.
        assert_eq!(unpack("name", 3, &[1, 5, 0, b'x']), Err(UnpackError::Damaged));
    }

    proptest! {
        #[test]
        fn every_list_comes_back(
            name in any::<String>(),
            files in prop::collection::vec((prop::collection::vec(any::<String>(), 0..4), any::<u64>()), 0..40),
        ) {
            let mut packer = Packer::new();
            packer.pack("another", &[file(&["before"], 1)]);
            let packed = packer.pack(&name, &files);
            prop_assert_eq!(&packed, &pack(&name, &files));
            prop_assert_eq!(unpack(&name, packed.fmt, &packed.data), Ok(files));
        }

        #[test]
        fn no_bytes_make_it_panic(
            name in any::<String>(),
            fmt in 0..6_i16,
            data in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = unpack(&name, fmt, &data);
        }
    }
}
