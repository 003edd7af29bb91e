//! `ut_metadata` (BEP 9): the info dict in pieces of 16 KiB, as extended messages.

use krpc::bencode::{self, Limits, Reader, Writer};

/// Length of every piece but the last.
pub const PIECE_BYTES: usize = 16 << 10;

/// The length of an info dict as a peer claims it, checked against what we take: from 1 byte to the limit.
///
/// A claim is nothing more: two peers may claim different sizes for one info-hash, and no memory is reserved for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetadataSize(u32);

impl MetadataSize {
    /// Checks a claim.
    ///
    /// # Errors
    /// See [`SizeError`].
    pub fn new(claimed: i64, bytes_max: u32) -> Result<Self, SizeError> {
        match u32::try_from(claimed) {
            Ok(0) => Err(SizeError::Zero),
            Ok(size) if size <= bytes_max => Ok(Self(size)),
            _ if claimed < 0 => Err(SizeError::Negative),
            _ => Err(SizeError::TooLarge),
        }
    }

    /// In bytes.
    pub const fn bytes(self) -> usize {
        self.0 as usize
    }

    /// How many pieces the info dict has; at least one.
    pub const fn pieces(self) -> u32 {
        self.0.div_ceil(PIECE_BYTES as u32)
    }

    /// The length of a piece, `None` beyond the last.
    pub fn piece_len(self, index: u32) -> Option<usize> {
        let start = (index as usize).checked_mul(PIECE_BYTES)?;
        self.bytes().checked_sub(start).filter(|left| *left > 0).map(|left| left.min(PIECE_BYTES))
    }
}

/// Why a claimed size is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// The peer has no info dict itself, as yet.
    #[error("the peer has no metadata yet")]
    Zero,
    /// Nothing can have this size.
    #[error("the size of the metadata is negative")]
    Negative,
    /// More than we take.
    #[error("the metadata is larger than the limit")]
    TooLarge,
}

/// A message of the extension, as received. All numbers are as the peer wrote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataMessage<'a> {
    /// The peer wants a piece.
    Request {
        /// Its index.
        piece: i64,
    },
    /// The peer sends a piece.
    Data {
        /// Its index.
        piece: i64,
        /// Length of the whole info dict; some leave it out.
        total_size: Option<i64>,
        /// What follows the header.
        bytes: &'a [u8],
    },
    /// The peer refuses to send a piece.
    Reject {
        /// Its index.
        piece: i64,
    },
    /// A type that BEP 9 does not know; it says to ignore it.
    Unknown {
        /// Which.
        msg_type: i64,
    },
}

impl<'a> MetadataMessage<'a> {
    /// Reads what follows the extended id: a bencoded header, then (in a data message) raw bytes.
    ///
    /// Of a key that stands twice the first counts; keys may come in any order.
    ///
    /// # Errors
    /// See [`MalformedMetadata`].
    pub fn parse(payload: &'a [u8]) -> Result<Self, MalformedMetadata> {
        let mut reader = Reader::new(payload, Limits::EXTENSION)?;
        let (mut msg_type, mut piece, mut total_size) = (None, None, None);
        reader.enter_dict()?;
        while let Some(key) = reader.next_key()? {
            let field = match key {
                b"msg_type" => &mut msg_type,
                b"piece" => &mut piece,
                b"total_size" => &mut total_size,
                _ => {
                    reader.skip()?;
                    continue;
                }
            };
            let value = reader.int()?;
            field.get_or_insert(value);
        }
        let msg_type = msg_type.ok_or(MalformedMetadata::NoType)?;
        if !(0..=2).contains(&msg_type) {
            return Ok(Self::Unknown { msg_type });
        }
        let piece = piece.ok_or(MalformedMetadata::NoPiece)?;
        Ok(match msg_type {
            0 => Self::Request { piece },
            1 => Self::Data { piece, total_size, bytes: reader.rest() },
            _ => Self::Reject { piece },
        })
    }
}

/// Why bytes are not a message of the extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedMetadata {
    /// The header is not a bencoded dictionary, or a number in it is none.
    #[error("the header is malformed: {0}")]
    Bencode(#[from] bencode::Error),
    /// `msg_type` is missing.
    #[error("the header has no msg_type")]
    NoType,
    /// `piece` is missing.
    #[error("the header names no piece")]
    NoPiece,
}

/// Appends the header that asks for a piece.
pub fn write_request(out: &mut Vec<u8>, piece: u32) {
    write_header(out, 0, i64::from(piece));
}

/// Appends the header that refuses a piece; the index is the asker's and goes back as it came.
pub fn write_reject(out: &mut Vec<u8>, piece: i64) {
    write_header(out, 2, piece);
}

/// Appends a piece of an info dict: the header that gives it, and its bytes. Whether there is such a piece.
pub fn write_data(out: &mut Vec<u8>, piece: u32, info_dict: &[u8]) -> bool {
    let Some(start) = (piece as usize).checked_mul(PIECE_BYTES) else { return false };
    let Some(rest) = info_dict.get(start..).filter(|rest| !rest.is_empty()) else { return false };
    write_dict(out, 1, i64::from(piece), i64::try_from(info_dict.len()).ok());
    out.extend_from_slice(&rest[..rest.len().min(PIECE_BYTES)]);
    true
}

fn write_header(out: &mut Vec<u8>, msg_type: i64, piece: i64) {
    write_dict(out, msg_type, piece, None);
}

fn write_dict(out: &mut Vec<u8>, msg_type: i64, piece: i64, total_size: Option<i64>) {
    let mut writer = Writer::new(out);
    writer.begin_dict();
    writer.bytes(b"msg_type");
    writer.int(msg_type);
    writer.bytes(b"piece");
    writer.int(piece);
    if let Some(total_size) = total_size {
        writer.bytes(b"total_size");
        writer.int(total_size);
    }
    writer.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_written_as_in_bep_9() {
        let mut out = Vec::new();
        write_request(&mut out, 0);
        assert_eq!(out, b"d8:msg_typei0e5:piecei0ee");
        out.clear();
        write_reject(&mut out, -7);
        assert_eq!(out, b"d8:msg_typei2e5:piecei-7ee");
    }

    #[test]
    fn the_bytes_behind_the_header_are_the_piece() {
        assert_eq!(
            MetadataMessage::parse(b"d8:msg_typei1e5:piecei0e10:total_sizei34256eexxxxxxxx"),
            Ok(MetadataMessage::Data { piece: 0, total_size: Some(34256), bytes: b"xxxxxxxx" })
        );
        // The piece may itself look like bencode.
        assert_eq!(
            MetadataMessage::parse(b"d8:msg_typei1e5:piecei3eed8:msg_typei2ee"),
            Ok(MetadataMessage::Data { piece: 3, total_size: None, bytes: b"d8:msg_typei2ee" })
        );
    }

    #[test]
    fn unsorted_keys_extra_keys_and_doubles_are_tolerated() {
        assert_eq!(
            MetadataMessage::parse(b"d5:piecei1e1:xl4:spame8:msg_typei2e8:msg_typei0ee"),
            Ok(MetadataMessage::Reject { piece: 1 })
        );
        assert_eq!(
            MetadataMessage::parse(b"d8:msg_typei0e5:piecei4ee"),
            Ok(MetadataMessage::Request { piece: 4 })
        );
        assert_eq!(MetadataMessage::parse(b"d8:msg_typei9ee"), Ok(MetadataMessage::Unknown { msg_type: 9 }));
    }

    #[test]
    fn indices_are_handed_on_as_the_peer_wrote_them() {
        assert_eq!(
            MetadataMessage::parse(b"d8:msg_typei1e5:piecei-1eex"),
            Ok(MetadataMessage::Data { piece: -1, total_size: None, bytes: b"x" })
        );
        assert_eq!(
            MetadataMessage::parse(b"d8:msg_typei2e5:piecei9223372036854775807ee"),
            Ok(MetadataMessage::Reject { piece: i64::MAX })
        );
        assert_eq!(
            MetadataMessage::parse(b"d8:msg_typei2e5:piecei9223372036854775808ee"),
            Err(MalformedMetadata::Bencode(bencode::Error::IntegerOverflow))
        );
    }

    #[test]
    fn a_header_that_is_no_header_is_malformed() {
        assert_eq!(MetadataMessage::parse(b"d5:piecei0ee"), Err(MalformedMetadata::NoType));
        assert_eq!(MetadataMessage::parse(b"d8:msg_typei1ee"), Err(MalformedMetadata::NoPiece));
        assert!(MetadataMessage::parse(b"").is_err());
        assert!(MetadataMessage::parse(b"le").is_err());
        assert!(MetadataMessage::parse(b"d8:msg_type1:1e").is_err());
        assert!(
            MetadataMessage::parse(&b"d1:x".iter().copied().chain([b'l'; 9000]).collect::<Vec<_>>()).is_err()
        );
    }

    #[test]
    fn a_size_is_taken_from_one_byte_to_the_limit() {
        let size = |claimed| MetadataSize::new(claimed, 16 << 20);
        assert_eq!(size(0), Err(SizeError::Zero));
        assert_eq!(size(-1), Err(SizeError::Negative));
        assert_eq!(size(i64::MIN), Err(SizeError::Negative));
        assert_eq!(size(1 << 31), Err(SizeError::TooLarge));
        assert_eq!(size(i64::MAX), Err(SizeError::TooLarge));
        assert_eq!(size((16 << 20) + 1), Err(SizeError::TooLarge));
        assert_eq!(size(16 << 20).map(MetadataSize::pieces), Ok(1024));
        assert_eq!(size(1).map(MetadataSize::pieces), Ok(1));
    }

    #[test]
    fn the_last_piece_has_what_is_left() {
        let lengths = |bytes| {
            let size = MetadataSize::new(bytes, 1 << 20).unwrap();
            (0..).map_while(move |index| size.piece_len(index)).collect::<Vec<_>>()
        };
        assert_eq!(lengths(16384), [16384]);
        assert_eq!(lengths(16385), [16384, 1]);
        assert_eq!(lengths(40000), [16384, 16384, 7232]);
        assert_eq!(MetadataSize::new(16384, 1 << 20).unwrap().piece_len(u32::MAX), None);
    }
}
