//! The info dict that is fetched, and what is said about it.

use krpc::InfoHash;
use sha1::{Digest as _, Sha1};

/// The size of a common info dict: two pieces.
pub(crate) const INFO_BYTES: usize = 30 << 10;
/// Bytes of `ut_metadata` in a piece (BEP 9).
pub(crate) const PIECE_BYTES: usize = 16 << 10;
pub(crate) const HANDSHAKE_BYTES: usize = 68;
/// Our extension handshake: length, two ids, and a dictionary without a name.
const EXTENSION_HANDSHAKE: &[u8] = b"\0\0\0\x1a\x14\0d1:md11:ut_metadatai2eee";

#[derive(Debug)]
pub(crate) struct Info {
    pub(crate) hash: InfoHash,
    /// Handshake and extension handshake of a seeder.
    pub(crate) hello: Vec<u8>,
    /// Its answers to the requests.
    pub(crate) pieces: Vec<Vec<u8>>,
}

impl Info {
    pub(crate) fn new() -> Self {
        let raw: Vec<u8> = (0..INFO_BYTES).map(|n| ((n * n) >> 5) as u8).collect();
        let hash = InfoHash::from_bytes(Sha1::digest(&raw).into());
        let mut hello = handshake(&hash, b"-LT2110-abcdefghijkl").to_vec();
        let offer = format!("d1:md11:ut_metadatai3ee13:metadata_sizei{INFO_BYTES}e1:v10:libtorrente");
        extended(&mut hello, 0, &[offer.as_bytes()]);
        let pieces = raw.chunks(PIECE_BYTES).enumerate().map(|(index, piece)| {
            let mut message = Vec::with_capacity(piece.len() + 64);
            let header = format!("d8:msg_typei1e5:piecei{index}e10:total_sizei{INFO_BYTES}ee");
            extended(&mut message, 2, &[header.as_bytes(), piece]);
            message
        });
        Self { hash, hello, pieces: pieces.collect() }
    }

    /// How many pieces somebody has asked for who has sent so many bytes: both sides' messages have fixed lengths.
    pub(crate) fn asked_after(&self, bytes: usize) -> usize {
        let requests = bytes.saturating_sub(HANDSHAKE_BYTES + EXTENSION_HANDSHAKE.len()) / REQUEST_BYTES;
        requests.min(self.pieces.len())
    }

    /// Everything that a client sends that waits for nothing: handshakes and requests.
    pub(crate) fn everything_asked(&self) -> Vec<u8> {
        let mut bytes = handshake(&self.hash, b"-ix0100-abcdefghijkl").to_vec();
        bytes.extend_from_slice(EXTENSION_HANDSHAKE);
        for index in 0..self.pieces.len() {
            extended(&mut bytes, 3, &[format!("d8:msg_typei0e5:piecei{index}ee").as_bytes()]);
        }
        bytes
    }
}

const REQUEST_BYTES: usize = 31;

fn handshake(hash: &InfoHash, peer_id: &[u8; 20]) -> [u8; HANDSHAKE_BYTES] {
    let mut bytes = [0; HANDSHAKE_BYTES];
    bytes[..28].copy_from_slice(b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0");
    bytes[28..48].copy_from_slice(hash.as_bytes());
    bytes[48..].copy_from_slice(peer_id);
    bytes
}

fn extended(out: &mut Vec<u8>, id: u8, parts: &[&[u8]]) {
    let len = 2 + parts.iter().map(|part| part.len()).sum::<usize>();
    out.extend_from_slice(&(len as u32).to_be_bytes());
    out.extend_from_slice(&[20, id]);
    parts.iter().for_each(|part| out.extend_from_slice(part));
}
