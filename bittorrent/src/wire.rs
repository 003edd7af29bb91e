//! The peer wire's framing (BEP 3): messages with a length before them, over a stream cut anywhere.
//!
//! Of all messages an indexer wants three: the extension handshake (BEP 10), `ut_metadata` (BEP 9) and `ut_pex` (BEP 11).
//! Everything else is skipped by counting, so that a bitfield of a megabyte costs no memory.

use crate::{
    extension_handshake::{UT_METADATA_ID, UT_PEX_ID},
    ut_metadata::PIECE_BYTES,
};

/// One message, or what is left of one that was skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Length zero: a sign of life.
    KeepAlive,
    /// A message that we have no use for has passed by.
    Skipped {
        /// The message's id: 0 choke, 4 have, 5 bitfield, 9 port, 20 extended, ...
        id: u8,
    },
    /// An extended message (id 20) that is for us: id 0, [`UT_METADATA_ID`] or [`UT_PEX_ID`].
    Extended {
        /// The id within the extension protocol.
        id: u8,
        /// What follows the id.
        payload: &'a [u8],
    },
}

/// Why the stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A message announces more than [`EXTENDED_BYTES_MAX`] or [`SKIPPED_BYTES_MAX`]; nothing of it was kept.
    #[error("a message of {0} bytes is longer than its kind may be")]
    MessageTooLong(u32),
    /// An extended message has no room for its own id.
    #[error("an extended message without an id")]
    EmptyExtended,
    /// More than [`NOISE_BYTES_MAX`] of messages that we have no use for.
    #[error("too much that is of no use")]
    TooMuchNoise,
}

/// Splits a stream into [`Frame`]s. Holds at most one message of [`EXTENDED_BYTES_MAX`], and nothing between messages.
#[derive(Clone, Debug, Default)]
pub struct FrameReader {
    state: State,
    /// The bytes of a message that came in several chunks; given back to the allocator when done with.
    partial: Vec<u8>,
    /// Bytes of all messages of no use so far, their headers included.
    noise: u64,
}

impl FrameReader {
    /// A reader at the start of a stream, that is, after the handshake.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one message from the front of `input`. `None` means that it is used up.
    ///
    /// A message that lies whole in `input` is not copied.
    ///
    /// # Errors
    /// See [`WireError`]; the connection is of no use afterwards.
    pub fn read<'r, 'i: 'r>(&'r mut self, input: &mut &'i [u8]) -> Result<Option<Frame<'r>>, WireError> {
        loop {
            match self.state {
                State::Delivered => {
                    self.partial = Vec::new();
                    self.state = State::Header { filled: 0, bytes: [0; HEADER_BYTES] };
                }
                State::Header { mut filled, mut bytes } => {
                    // The length may be followed by an id, the id by an extended id: as many bytes as tell the kind.
                    while filled < header_needed(filled, &bytes) {
                        let Some((&first, rest)) = input.split_first() else {
                            self.state = State::Header { filled, bytes };
                            return Ok(None);
                        };
                        bytes[filled] = first;
                        filled += 1;
                        *input = rest;
                    }
                    let length = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                    self.state = match kind_of(length, bytes[4], bytes[5])? {
                        Kind::KeepAlive => State::Skipping { left: 0, id: None },
                        Kind::Skip { left } => State::Skipping { left, id: Some(bytes[4]) },
                        Kind::Wanted { length } => State::Collecting { length, id: bytes[5] },
                    };
                    if let State::Skipping { .. } = self.state {
                        self.noise += u64::from(length) + LENGTH_BYTES as u64;
                        if self.noise > NOISE_BYTES_MAX {
                            return Err(WireError::TooMuchNoise);
                        }
                    }
                }
                State::Skipping { left, id } => {
                    let passed = input.len().min(left as usize);
                    *input = &input[passed..];
                    let left = left - passed as u32;
                    if left > 0 {
                        self.state = State::Skipping { left, id };
                        return Ok(None);
                    }
                    self.state = State::Delivered;
                    return Ok(Some(id.map_or(Frame::KeepAlive, |id| Frame::Skipped { id })));
                }
                State::Collecting { length, id } => {
                    if self.partial.is_empty()
                        && let Some((payload, rest)) = input.split_at_checked(length)
                    {
                        *input = rest;
                        self.state = State::Delivered;
                        return Ok(Some(Frame::Extended { id, payload }));
                    }
                    let taken = input.len().min(length - self.partial.len());
                    self.partial.extend_from_slice(&input[..taken]);
                    *input = &input[taken..];
                    if self.partial.len() < length {
                        return Ok(None);
                    }
                    self.state = State::Delivered;
                    return Ok(Some(Frame::Extended { id, payload: &self.partial }));
                }
            }
        }
    }

    /// Bytes on the heap at this moment.
    pub fn bytes_held(&self) -> usize {
        self.partial.capacity()
    }
}

/// Appends an extended message: length, 20, `id`, and whatever `payload` appends.
pub fn write_extended(out: &mut Vec<u8>, id: u8, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, EXTENDED, id]);
    payload(out);
    let length = (out.len() - start - LENGTH_BYTES) as u32;
    if let Some(place) = out.get_mut(start..start + LENGTH_BYTES) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// The frame handed out last may still lie in `partial`.
    #[default]
    Delivered,
    Header {
        filled: usize,
        bytes: [u8; HEADER_BYTES],
    },
    Skipping {
        left: u32,
        id: Option<u8>,
    },
    Collecting {
        length: usize,
        id: u8,
    },
}

enum Kind {
    KeepAlive,
    Skip { left: u32 },
    Wanted { length: usize },
}

/// How many bytes the header has, as far as the `filled` first of them tell.
fn header_needed(filled: usize, bytes: &[u8; HEADER_BYTES]) -> usize {
    if filled < LENGTH_BYTES {
        return LENGTH_BYTES;
    }
    let length = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    match length {
        0 => LENGTH_BYTES,
        1 => LENGTH_BYTES + 1,
        _ if filled > LENGTH_BYTES && bytes[LENGTH_BYTES] == EXTENDED => HEADER_BYTES,
        _ => LENGTH_BYTES + 1,
    }
}

fn kind_of(length: u32, id: u8, extended_id: u8) -> Result<Kind, WireError> {
    match (length, id) {
        (0, _) => Ok(Kind::KeepAlive),
        (1, EXTENDED) => Err(WireError::EmptyExtended),
        (_, EXTENDED) if length > EXTENDED_BYTES_MAX => Err(WireError::MessageTooLong(length)),
        (_, EXTENDED) if matches!(extended_id, 0 | UT_METADATA_ID | UT_PEX_ID) => {
            Ok(Kind::Wanted { length: (length - 2) as usize })
        }
        (_, EXTENDED) => Ok(Kind::Skip { left: length - 2 }),
        _ if length > SKIPPED_BYTES_MAX => Err(WireError::MessageTooLong(length)),
        _ => Ok(Kind::Skip { left: length - 1 }),
    }
}

/// The longest extended message taken, ids included: a piece of metadata and 1 KiB for what stands before it.
pub const EXTENDED_BYTES_MAX: u32 = PIECE_BYTES as u32 + 1024;
/// The longest message skipped. A bitfield of 1 MiB is that of a torrent of 8 million pieces.
pub const SKIPPED_BYTES_MAX: u32 = (1 << 20) + 1;
/// The most that is skipped on one connection. A bitfield and a `have` for each of 300,000 pieces fit.
pub const NOISE_BYTES_MAX: u64 = 4 << 20;

/// The message id of the extension protocol (BEP 10).
const EXTENDED: u8 = 20;
const LENGTH_BYTES: usize = 4;
/// Length, id, extended id.
const HEADER_BYTES: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    /// The frames of a stream fed in the given chunks, rendered for comparison.
    fn frames<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<String>, WireError> {
        let mut reader = FrameReader::new();
        let mut seen = Vec::new();
        for mut chunk in chunks {
            while let Some(frame) = reader.read(&mut chunk)? {
                seen.push(match frame {
                    Frame::KeepAlive => "keep-alive".to_owned(),
                    Frame::Skipped { id } => format!("skipped {id}"),
                    Frame::Extended { id, payload } => format!("extended {id} {}", payload.escape_ascii()),
                });
            }
            assert!(chunk.is_empty());
        }
        Ok(seen)
    }

    /// unchoke, keep-alive, bitfield, extension handshake, port, an extension we did not ask for, our metadata.
    const STREAM: &[u8] =
        b"\0\0\0\x01\x01\0\0\0\0\0\0\0\x03\x05\xff\xf0\0\0\0\x04\x14\0de\0\0\0\x03\x09\x1a\xe1\
        \0\0\0\x05\x14\x63xyz\0\0\0\x03\x14\x02m\0\0\0\x02\x14\x02";
    const EXPECTED: [&str; 8] = [
        "skipped 1",
        "keep-alive",
        "skipped 5",
        "extended 0 de",
        "skipped 9",
        "skipped 20",
        "extended 2 m",
        "extended 2 ",
    ];

    #[test]
    fn a_stream_gives_the_same_frames_however_it_is_cut() {
        assert_eq!(frames([STREAM]).unwrap(), EXPECTED);
        assert_eq!(frames(STREAM.chunks(1)).unwrap(), EXPECTED);
        for cut in 0..=STREAM.len() {
            let (first, second) = STREAM.split_at(cut);
            assert_eq!(frames([first, second]).unwrap(), EXPECTED, "cut at {cut}");
        }
    }

    #[test]
    fn a_long_bitfield_is_skipped_without_being_held() {
        let mut reader = FrameReader::new();
        let mut header: &[u8] = b"\0\x10\0\x01\x05";
        assert_eq!(reader.read(&mut header).unwrap(), None);
        let body = vec![0xff; 1 << 20];
        let (mut first, mut second) = body.split_at(700_000);
        assert_eq!(reader.read(&mut first).unwrap(), None);
        assert_eq!(reader.bytes_held(), 0);
        assert_eq!(reader.read(&mut second).unwrap(), Some(Frame::Skipped { id: 5 }));
    }

    #[test]
    fn lengths_beyond_their_kind_are_refused_from_the_header_alone() {
        assert_eq!(frames([&b"\0\x10\0\x02\x05"[..]]), Err(WireError::MessageTooLong(0x10_0002)));
        assert_eq!(frames([&b"\x01\x10\0\0\x14\x02"[..]]), Err(WireError::MessageTooLong(17 << 20)));
        assert_eq!(frames([&b"\0\0\x44\x01\x14\x00"[..]]), Err(WireError::MessageTooLong(17409)));
        assert_eq!(frames([&b"\0\0\x44\x00\x14\x00"[..]]), Ok(vec![]));
        assert_eq!(frames([&b"\xff\xff\xff\xff\x07"[..]]), Err(WireError::MessageTooLong(u32::MAX)));
        assert_eq!(frames([&b"\0\0\0\x01\x14"[..]]), Err(WireError::EmptyExtended));
    }

    #[test]
    fn a_flood_of_useless_messages_ends_the_connection() {
        let have = b"\0\0\0\x05\x04\0\0\0\x01".repeat(1000);
        let mut reader = FrameReader::new();
        let mut passed = 0u64;
        let error = 'flood: loop {
            let mut input = &have[..];
            loop {
                match reader.read(&mut input) {
                    Ok(Some(_)) => passed += 9,
                    Ok(None) => break,
                    Err(error) => break 'flood error,
                }
            }
        };
        assert_eq!(error, WireError::TooMuchNoise);
        assert_eq!(passed, NOISE_BYTES_MAX / 9 * 9);
    }

    #[test]
    fn a_message_in_two_chunks_gives_its_memory_back() {
        let mut reader = FrameReader::new();
        let mut message = Vec::new();
        write_extended(&mut message, UT_METADATA_ID, |out| out.resize(out.len() + 16384, b'x'));
        let (mut first, mut second) = message.split_at(9000);
        assert_eq!(reader.read(&mut first).unwrap(), None);
        assert!(reader.bytes_held() >= 9000 - 6);
        assert!(
            matches!(reader.read(&mut second), Ok(Some(Frame::Extended { payload, .. })) if payload.len() == 16384)
        );
        assert_eq!(reader.read(&mut second).unwrap(), None);
        assert_eq!(reader.bytes_held(), 0);
    }

    #[test]
    fn an_extended_message_is_written_with_its_length() {
        let mut out = b"before".to_vec();
        write_extended(&mut out, 3, |out| out.extend_from_slice(b"d8:msg_typei0e5:piecei7ee"));
        assert_eq!(out, b"before\0\0\0\x1b\x14\x03d8:msg_typei0e5:piecei7ee");
    }
}
