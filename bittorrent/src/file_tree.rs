//! The v2 file tree (BEP 52): directories in directories, a file where a key is empty.

use krpc::bencode::{Reader, Shape};

use crate::{
    InfoError,
    file_list::{FileList, RawPath},
    info_dict::read_length,
};

/// Reads the tree that stands next in `reader` into `files`, in the tree's order.
///
/// Walks with a list of the open directories, not by recursion; the reader's limits bound it. A directory counts
/// towards the length of every path below it, so a deep tree with long names would multiply: `files` bounds the sum.
pub(crate) fn read<'a>(
    mut reader: Reader<'a>,
    piece_length: u64,
    files: &mut FileList<'a>,
) -> Result<PieceCount, InfoError> {
    let mut open: Vec<&'a [u8]> = Vec::new();
    let mut pieces = PieceCount::default();
    reader.enter_dict()?;
    loop {
        match reader.next_key()? {
            Some(b"") => {
                if open.is_empty() {
                    return Err(InfoError::MisplacedFile);
                }
                let leaf = Leaf::read(&mut reader)?;
                pieces.add_file(leaf.length, piece_length);
                files.push(RawPath::Components(&open), leaf.length, leaf.is_padding)?;
            }
            Some(name) => {
                if reader.peek() != Some(Shape::Dict) {
                    return Err(InfoError::WrongType("file tree"));
                }
                reader.enter_dict()?;
                open.push(name);
            }
            None => {
                if open.pop().is_none() {
                    return Ok(pieces);
                }
            }
        }
    }
}

struct Leaf {
    length: u64,
    is_padding: bool,
}

impl Leaf {
    fn read(reader: &mut Reader<'_>) -> Result<Self, InfoError> {
        if reader.peek() != Some(Shape::Dict) {
            return Err(InfoError::WrongType("file tree"));
        }
        reader.enter_dict()?;
        let (mut length, mut root, mut attr) = (None, None, None);
        while let Some(key) = reader.next_key()? {
            match key {
                b"length" if length.is_none() => length = Some(read_length(reader, "length")?),
                b"pieces root" if root.is_none() => root = reader.bytes_or_skip()?,
                b"attr" if attr.is_none() => attr = reader.bytes_or_skip()?,
                _ => reader.skip()?,
            }
        }
        let length = length.ok_or(InfoError::Missing("length"))?;
        // BEP 52: every file that is not empty has the root of its hash tree.
        if length > 0 && root.is_none_or(|root| root.len() != 32) {
            return Err(InfoError::PiecesRoot);
        }
        Ok(Self { length, is_padding: attr.is_some_and(|attr| attr.contains(&b'p')) })
    }
}

/// How many pieces v2 files have: each begins a piece of its own.
#[derive(Default)]
pub(crate) struct PieceCount(pub(crate) u64);

impl PieceCount {
    /// Counts the pieces of a file; `piece_length` is not 0.
    fn add_file(&mut self, length: u64, piece_length: u64) {
        self.0 = self.0.saturating_add(length.div_ceil(piece_length.max(1)));
    }
}
