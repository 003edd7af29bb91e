//! The messages of a peer connection that metadata needs: BEP 3, 9 and 10, from the seeder's side.

use bendy::encoding::{Encoder, Error as BendyError};
use krpc::InfoHash;
use krpc::bencode::{Limits, Reader};

/// Bytes of a metadata piece (BEP 9).
pub(crate) const PIECE: usize = 16 << 10;
/// Bytes of a handshake (BEP 3).
pub(crate) const HANDSHAKE: usize = 68;
/// Longest message taken from a peer: who fetches metadata has nothing longer to say.
pub(crate) const MESSAGE_MAX: usize = 64 << 10;

/// Message types that are used here.
const BITFIELD: u8 = 5;
pub(crate) const EXTENDED: u8 = 20;
pub(crate) const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";

/// What matters in a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handshake {
    pub(crate) info_hash: InfoHash,
    /// Whether the peer speaks the extension protocol.
    pub(crate) extended: bool,
}

impl Handshake {
    pub(crate) fn parse(bytes: &[u8; HANDSHAKE]) -> Option<Self> {
        let hash = InfoHash::try_from(&bytes[28..48]).ok()?;
        bytes.starts_with(PROTOCOL).then_some(Self { info_hash: hash, extended: bytes[25] & 0x10 != 0 })
    }
}

/// A handshake with the reserved bits of a usual client: extension protocol, DHT, fast.
pub(crate) fn handshake(info_hash: &InfoHash, peer_id: &[u8; 20]) -> [u8; HANDSHAKE] {
    let mut bytes = [0; HANDSHAKE];
    bytes[..20].copy_from_slice(PROTOCOL);
    bytes[25] = 0x10;
    bytes[27] = 0x05;
    bytes[28..48].copy_from_slice(info_hash.as_bytes());
    bytes[48..].copy_from_slice(peer_id);
    bytes
}

/// A message of type `kind` with this payload.
pub(crate) fn message(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(5 + payload.len());
    bytes.extend_from_slice(&(payload.len() as u32 + 1).to_be_bytes());
    bytes.push(kind);
    bytes.extend_from_slice(payload);
    bytes
}

/// The bitfield of a seeder.
pub(crate) fn full_bitfield(pieces: usize) -> Vec<u8> {
    let mut bits = vec![0xff; pieces.div_ceil(8)];
    if let (Some(last), spare @ 1..) = (bits.last_mut(), (8 - pieces % 8) % 8) {
        *last <<= spare;
    }
    message(BITFIELD, &bits)
}

fn extended(id: u8, header: &[u8], data: &[u8]) -> Vec<u8> {
    message(EXTENDED, &[&[id], header, data].concat())
}

/// What a seeder says of itself in an extension handshake.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Introduction<'a> {
    /// Its id for ut_metadata, if it offers that.
    pub(crate) ut_metadata: Option<u8>,
    pub(crate) metadata_size: Option<u64>,
    pub(crate) client: &'a str,
    pub(crate) requests_max: u32,
}

/// An extension handshake (BEP 10).
pub(crate) fn extension_handshake(introduction: &Introduction<'_>) -> Vec<u8> {
    extended(
        0,
        &written(|encoder| {
            encoder.emit_dict(|mut dict| {
                dict.emit_pair_with(b"m", |item| {
                    item.emit_dict(|mut ids| {
                        if let Some(id) = introduction.ut_metadata {
                            ids.emit_pair(b"ut_metadata", id)?;
                        }
                        ids.emit_pair(b"ut_pex", 1)
                    })
                })?;
                if let Some(size) = introduction.metadata_size {
                    dict.emit_pair(b"metadata_size", size)?;
                }
                dict.emit_pair(b"reqq", introduction.requests_max)?;
                dict.emit_pair(b"v", introduction.client)
            })
        }),
        &[],
    )
}

/// A metadata piece (BEP 9), to a peer that gave ut_metadata the number `id`.
pub(crate) fn metadata_data(id: u8, piece: i64, total_size: u64, data: &[u8]) -> Vec<u8> {
    extended(
        id,
        &written(|encoder| {
            encoder.emit_dict(|mut dict| {
                dict.emit_pair(b"msg_type", 1)?;
                dict.emit_pair(b"piece", piece)?;
                dict.emit_pair(b"total_size", total_size)
            })
        }),
        data,
    )
}

/// The refusal of a metadata piece (BEP 9).
pub(crate) fn metadata_reject(id: u8, piece: i64) -> Vec<u8> {
    extended(
        id,
        &written(|encoder| {
            encoder.emit_dict(|mut dict| {
                dict.emit_pair(b"msg_type", 2)?;
                dict.emit_pair(b"piece", piece)
            })
        }),
        &[],
    )
}

#[expect(clippy::expect_used, reason = "only keys out of order fail, and all keys here are constants")]
fn written(emit: impl FnOnce(&mut Encoder) -> Result<(), BendyError>) -> Vec<u8> {
    let mut encoder = Encoder::new();
    emit(&mut encoder).expect("keys are in order");
    encoder.get_output().expect("every container was closed")
}

/// What a peer that fetches metadata has said in an extended message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// Its extension handshake, with its id for ut_metadata (0 and absent mean that it takes none).
    Introduction { ut_metadata: Option<u8> },
    /// A request for a metadata piece.
    Request { piece: i64 },
    /// Anything else.
    Other,
}

/// Reads an extended message, whose first byte is the id; `ut_metadata` is the id that this seeder gave out.
pub(crate) fn said(payload: &[u8], ut_metadata: u8) -> Said {
    let Some((&id, body)) = payload.split_first() else { return Said::Other };
    if id == 0 {
        Said::Introduction { ut_metadata: offered_id(body) }
    } else if id == ut_metadata {
        requested_piece(body).map_or(Said::Other, |piece| Said::Request { piece })
    } else {
        Said::Other
    }
}

fn offered_id(body: &[u8]) -> Option<u8> {
    let mut reader = Reader::new(body, Limits::EXTENSION).ok()?;
    reader.enter_dict().ok()?;
    while let Some(key) = reader.next_key().ok()? {
        if key != b"m" {
            reader.skip().ok()?;
            continue;
        }
        reader.enter_dict().ok()?;
        while let Some(name) = reader.next_key().ok()? {
            let id = reader.int_or_skip().ok()?;
            if name == b"ut_metadata" {
                return id.and_then(|id| u8::try_from(id).ok()).filter(|id| *id != 0);
            }
        }
    }
    None
}

fn requested_piece(body: &[u8]) -> Option<i64> {
    let mut reader = Reader::new(body, Limits::EXTENSION).ok()?;
    reader.enter_dict().ok()?;
    let (mut kind, mut piece) = (None, None);
    while let Some(key) = reader.next_key().ok()? {
        let value = reader.int_or_skip().ok()?;
        match key {
            b"msg_type" => kind = value,
            b"piece" => piece = value,
            _ => {}
        }
    }
    piece.filter(|_| kind == Some(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_is_read_back() {
        let hash = InfoHash::from_bytes([9; 20]);
        let bytes = handshake(&hash, b"-LT2000-123456789012");
        assert_eq!(Handshake::parse(&bytes), Some(Handshake { info_hash: hash, extended: true }));
        let mut encrypted = bytes;
        encrypted[0] = 0x55;
        assert_eq!(Handshake::parse(&encrypted), None);
    }

    #[test]
    fn the_bitfield_has_one_bit_a_piece_and_no_more() {
        assert_eq!(full_bitfield(8), b"\0\0\0\x02\x05\xff");
        assert_eq!(full_bitfield(9), b"\0\0\0\x03\x05\xff\x80");
        assert_eq!(full_bitfield(0), b"\0\0\0\x01\x05");
    }

    #[test]
    fn an_introduction_says_what_it_should() {
        let introduction =
            Introduction { ut_metadata: Some(3), metadata_size: Some(777), client: "X 1", requests_max: 250 };
        let body = b"d1:md11:ut_metadatai3e6:ut_pexi1ee13:metadata_sizei777e4:reqqi250e1:v3:X 1e";
        let bytes = extension_handshake(&introduction);
        assert_eq!(bytes[..6], [0, 0, 0, body.len() as u8 + 2, EXTENDED, 0]);
        assert_eq!(bytes[6..], *body);
        assert_eq!(said(&bytes[5..], 7), Said::Introduction { ut_metadata: Some(3) });
    }

    #[test]
    fn pieces_and_rejections_are_written_as_bep_9_shows_them() {
        assert_eq!(
            metadata_data(3, 0, 5, b"hello")[5..],
            *b"\x03d8:msg_typei1e5:piecei0e10:total_sizei5eehello"
        );
        assert_eq!(metadata_reject(3, -1)[5..], *b"\x03d8:msg_typei2e5:piecei-1ee");
    }

    #[test]
    fn requests_are_read_and_everything_else_is_not_one() {
        assert_eq!(said(b"\x02d8:msg_typei0e5:piecei4ee", 2), Said::Request { piece: 4 });
        assert_eq!(
            said(b"\x02d5:piecei4e8:msg_typei0ee", 2),
            Said::Request { piece: 4 },
            "keys in any order"
        );
        assert_eq!(said(b"\x02d8:msg_typei1e5:piecei4ee", 2), Said::Other, "a data message");
        assert_eq!(said(b"\x01d8:msg_typei0e5:piecei4ee", 2), Said::Other, "another extension");
        assert_eq!(said(b"\x02nonsense", 2), Said::Other);
        assert_eq!(said(b"", 2), Said::Other);
        assert_eq!(said(b"\x00d1:md11:ut_metadatai0eee", 2), Said::Introduction { ut_metadata: None });
        assert_eq!(said(b"\x00le", 2), Said::Introduction { ut_metadata: None });
    }
}
