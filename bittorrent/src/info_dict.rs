//! The info dict: v1 (BEP 3), v2 and hybrid (BEP 52), with padding (BEP 47).
//!
//! The bytes come from a stranger. Everything is bounded by [`InfoLimits`], nothing recurses, and what is only odd is
//! kept: names and paths are taken as they are. Of a key that stands twice the first counts, as in libtorrent.

use krpc::bencode::{self, Limits, Reader};

use crate::{
    File, Hashes, Torrent, TorrentOddities, Version,
    file_list::{FileList, RawPath},
    file_tree,
    names::{Fidelity, NameDecoder},
};

/// Bounds on an info dict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InfoLimits {
    /// Lists and dictionaries inside each other; libtorrent's 100.
    pub depth: u16,
    /// Values in all, keys included; libtorrent's 3,000,000.
    pub tokens: u32,
    /// Length of the info dict in bytes.
    pub bytes: usize,
    /// Files, padding not counted.
    pub files: usize,
    /// Bytes of all paths together. In a v2 tree a directory is written once and counts for every file below it, so
    /// that a small tree could mean terabytes of paths.
    pub path_bytes: usize,
}

impl Default for InfoLimits {
    fn default() -> Self {
        Self { depth: 100, tokens: 3_000_000, bytes: 32 << 20, files: 1_000_000, path_bytes: 64 << 20 }
    }
}

/// Why bytes are no info dict that we can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InfoError {
    /// Not bencode, or beyond the bounds on depth, values or length.
    #[error("not readable as bencode: {0}")]
    Bencode(#[from] bencode::Error),
    /// Something follows the dictionary.
    #[error("bytes follow the info dict")]
    TrailingBytes,
    /// A key that must be there is not.
    #[error("the info dict has no `{0}`")]
    Missing(&'static str),
    /// The value of a key is of another type.
    #[error("`{0}` is of another type than it must be")]
    WrongType(&'static str),
    /// A length is negative.
    #[error("`{0}` is negative")]
    Negative(&'static str),
    /// A length does not fit 63 bits.
    #[error("`{0}` is too large")]
    TooLarge(&'static str),
    /// The lengths of the files together do not fit 63 bits.
    #[error("the files together are too large")]
    TotalTooLarge,
    /// A piece has no bytes.
    #[error("the piece length is 0")]
    ZeroPieceLength,
    /// `pieces` is not made of 20-byte hashes.
    #[error("`pieces` is not a multiple of 20 bytes")]
    Pieces,
    /// A v2 file that is not empty has no 32-byte `pieces root`.
    #[error("a file has no valid `pieces root`")]
    PiecesRoot,
    /// The v2 tree has a file without a name.
    #[error("the file tree has a file without a name")]
    MisplacedFile,
    /// A file has an empty list for a path.
    #[error("a file has an empty path")]
    EmptyPath,
    /// More files than [`InfoLimits::files`].
    #[error("more than {0} files")]
    TooManyFiles(usize),
    /// More bytes of paths than [`InfoLimits::path_bytes`].
    #[error("the paths together are longer than {0} bytes")]
    PathsTooLong(usize),
    /// Neither v1 nor a version that we know.
    #[error("meta version {0} is not known")]
    MetaVersion(i64),
}

impl InfoError {
    /// The name in counters and logs: without the numbers and keys, so that there are few.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Bencode(_) => "not bencode",
            Self::TrailingBytes => "trailing bytes",
            Self::Missing(_) => "missing key",
            Self::WrongType(_) => "wrong type",
            Self::Negative(_) => "negative length",
            Self::TooLarge(_) | Self::TotalTooLarge => "length too large",
            Self::ZeroPieceLength => "zero piece length",
            Self::Pieces => "pieces",
            Self::PiecesRoot => "pieces root",
            Self::MisplacedFile | Self::EmptyPath => "file without a path",
            Self::TooManyFiles(_) => "too many files",
            Self::PathsTooLong(_) => "paths too long",
            Self::MetaVersion(_) => "unknown meta version",
        }
    }
}

impl Torrent {
    /// Reads an info dict. The hashes are taken over `raw` as it is; whether one of them is the key that was asked for
    /// is the caller's to know (a [`Fetch`](crate::Fetch) has made sure).
    ///
    /// - Padding (`attr` with `p`, BEP 47, and BitComet's `_____padding_file_`) is neither listed nor counted.
    /// - In a hybrid the v2 tree is the list of files; that of v1 must say the same, else it is noted.
    /// - A missing `name` gives an empty one. An empty name is a name.
    ///
    /// # Errors
    /// See [`InfoError`].
    pub fn parse(raw: &[u8], limits: &InfoLimits) -> Result<Self, InfoError> {
        let fields = Fields::read(raw, limits)?;
        let version = fields.version()?;
        let piece_length = match fields.piece_length.ok_or(InfoError::Missing("piece length"))? {
            0 => return Err(InfoError::ZeroPieceLength),
            length => length,
        };
        let mut oddities = TorrentOddities { name_missing: !fields.has_name(), ..Default::default() };
        let (name_bytes, name_is_utf8_key) = fields.name_bytes();

        let v1_list = match version.has_v1() {
            true => Some(fields.v1_files(name_bytes, limits)?),
            false => None,
        };
        let (list, piece_count) = match &fields.file_tree {
            Some(tree) if version.has_v2() => {
                let mut list = FileList::new(limits);
                let pieces = file_tree::read(tree.clone(), piece_length, &mut list)?;
                (list, pieces.0)
            }
            _ => (FileList::new(limits), 0),
        };
        let (list, piece_count) = match v1_list {
            Some(v1_list) => {
                let pieces = fields.pieces.unwrap_or_default().len() as u64 / 20;
                if version.has_v2() {
                    oddities.lists_disagree = !list.says_the_same_as(&v1_list);
                    (list, pieces)
                } else {
                    (v1_list, pieces)
                }
            }
            None => (list, piece_count),
        };

        let decoder = NameDecoder::new(
            fields.encoding,
            std::iter::once(name_bytes).chain(list.components.iter().copied()),
        );
        let mut note = |fidelity| {
            oddities.encoding_guessed |= fidelity == Fidelity::Guessed;
            oddities.characters_replaced |= fidelity == Fidelity::Replaced;
        };
        let (name, fidelity) = decoder.decode(name_bytes);
        note(fidelity);
        let name_raw = (fidelity != Fidelity::Exact && !name_is_utf8_key).then(|| name_bytes.to_vec());
        let mut decode = |component: &&[u8]| {
            let (text, fidelity) = decoder.decode(component);
            note(fidelity);
            text
        };
        let files = list
            .files
            .iter()
            .map(|file| File { path: list.path(file).iter().map(&mut decode).collect(), length: file.length })
            .collect();
        let source = fields
            .source
            .filter(|source| !source.is_empty() && source.len() <= SOURCE_BYTES_MAX)
            .map(|source| NameDecoder::new(fields.encoding, std::iter::once(source)).decode(source).0);
        let hashes = Hashes::of(raw, version);
        Ok(Self {
            name,
            name_raw,
            files,
            total_size: list.total,
            piece_length,
            piece_count,
            private: fields.private,
            source,
            version,
            v1: hashes.v1,
            v2: hashes.v2,
            oddities,
        })
    }
}

/// A longer `source` is not one.
pub const SOURCE_BYTES_MAX: usize = 1024;

/// The keys of an info dict that matter, as found at the top.
#[derive(Default)]
struct Fields<'a> {
    name: Option<&'a [u8]>,
    name_utf8: Option<&'a [u8]>,
    encoding: Option<&'a [u8]>,
    source: Option<&'a [u8]>,
    private: bool,
    piece_length: Option<u64>,
    pieces: Option<&'a [u8]>,
    length: Option<u64>,
    /// Readers that stand before the value.
    files: Option<Reader<'a>>,
    file_tree: Option<Reader<'a>>,
    meta_version: Option<i64>,
}

impl<'a> Fields<'a> {
    fn read(raw: &'a [u8], limits: &InfoLimits) -> Result<Self, InfoError> {
        let bounds = Limits { depth: limits.depth, tokens: limits.tokens, bytes: limits.bytes };
        let mut reader = Reader::new(raw, bounds)?;
        let mut fields = Self::default();
        let mut private = None;
        reader.enter_dict()?;
        while let Some(key) = reader.next_key()? {
            let before = reader.clone();
            match key {
                b"name" if fields.name.is_none() => {
                    fields.name = Some(reader.bytes_or_skip()?.ok_or(InfoError::WrongType("name"))?);
                }
                b"name.utf-8" if fields.name_utf8.is_none() => fields.name_utf8 = reader.bytes_or_skip()?,
                b"encoding" if fields.encoding.is_none() => fields.encoding = reader.bytes_or_skip()?,
                b"source" if fields.source.is_none() => fields.source = reader.bytes_or_skip()?,
                b"private" if private.is_none() => private = reader.int_or_skip()?,
                b"piece length" if fields.piece_length.is_none() => {
                    fields.piece_length = Some(read_length(&mut reader, "piece length")?);
                }
                b"pieces" if fields.pieces.is_none() => {
                    fields.pieces = Some(reader.bytes_or_skip()?.ok_or(InfoError::WrongType("pieces"))?);
                }
                b"length" if fields.length.is_none() => {
                    fields.length = Some(read_length(&mut reader, "length")?);
                }
                b"meta version" if fields.meta_version.is_none() => {
                    fields.meta_version = reader.int_or_skip()?;
                }
                b"files" if fields.files.is_none() => {
                    reader.skip()?;
                    fields.files = Some(before);
                }
                b"file tree" if fields.file_tree.is_none() => {
                    reader.skip()?;
                    fields.file_tree = Some(before);
                }
                _ => reader.skip()?,
            }
        }
        if !reader.rest().is_empty() {
            return Err(InfoError::TrailingBytes);
        }
        fields.private = private.is_some_and(|flag| flag != 0);
        Ok(fields)
    }

    fn version(&self) -> Result<Version, InfoError> {
        let has_v1 = self.pieces.is_some();
        let has_v2 = self.meta_version == Some(2) && self.file_tree.is_some();
        match (has_v1, has_v2, self.meta_version) {
            (true, true, _) => Ok(Version::Hybrid),
            (true, false, _) => Ok(Version::V1),
            (false, true, _) => Ok(Version::V2),
            (false, false, Some(2)) => Err(InfoError::Missing("file tree")),
            (false, false, Some(other)) if other != 1 => Err(InfoError::MetaVersion(other)),
            (false, false, _) => Err(InfoError::Missing("pieces")),
        }
    }

    fn has_name(&self) -> bool {
        self.name.is_some() || self.name_utf8.is_some()
    }

    /// The bytes that are the name, and whether they are those of `name.utf-8`.
    fn name_bytes(&self) -> (&'a [u8], bool) {
        match self.name_utf8.filter(|name| std::str::from_utf8(name).is_ok()) {
            Some(name) => (name, true),
            None => (self.name.or(self.name_utf8).unwrap_or_default(), false),
        }
    }

    fn v1_files(&self, name: &'a [u8], limits: &InfoLimits) -> Result<FileList<'a>, InfoError> {
        if self.pieces.is_some_and(|pieces| pieces.len() % 20 != 0) {
            return Err(InfoError::Pieces);
        }
        let mut list = FileList::new(limits);
        if let Some(files) = &self.files {
            list.read_v1(files.clone())?;
        } else {
            let length = self.length.ok_or(InfoError::Missing("length"))?;
            list.push(RawPath::Components(&[name]), length, false)?;
        }
        Ok(list)
    }
}

/// The length that stands next.
pub(crate) fn read_length(reader: &mut Reader<'_>, key: &'static str) -> Result<u64, InfoError> {
    match reader.int() {
        Ok(length) => u64::try_from(length).map_err(|_| InfoError::Negative(key)),
        Err(bencode::Error::WrongType) => Err(InfoError::WrongType(key)),
        Err(bencode::Error::IntegerOverflow) => Err(InfoError::TooLarge(key)),
        Err(error) => Err(error.into()),
    }
}
