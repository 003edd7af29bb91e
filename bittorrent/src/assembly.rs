//! An info dict in the making: pieces of one claimed size, each with the peer that gave it.
//!
//! Peers lie about the size, so every size has an assembly of its own; peers lie about the bytes, so the giver of each
//! piece is kept. Memory is taken as pieces come in, never for a size that was claimed.

use std::{collections::BTreeMap, net::SocketAddr};

use krpc::InfoHash;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use crate::{Slot, VerifiedBy, ut_metadata::MetadataSize};

/// The pieces collected for one size.
#[derive(Debug)]
pub(crate) struct Assembly {
    size: MetadataSize,
    /// Set when only this peer may feed it: after a shared assembly of this size came out wrong.
    pub(crate) only: Option<Slot>,
    pieces: BTreeMap<u32, Piece>,
    bytes_held: usize,
    /// No piece below this is missing.
    first_missing: u32,
}

#[derive(Debug)]
struct Piece {
    giver: Giver,
    bytes: Box<[u8]>,
}

/// A peer that gave a piece; it may be gone by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Giver {
    pub(crate) slot: Slot,
    pub(crate) addr: SocketAddr,
}

/// What a peer once said about one piece of an assembly that came out wrong.
#[derive(Clone, Debug)]
pub(crate) struct Testimony {
    pub(crate) giver: Giver,
    size: MetadataSize,
    index: u32,
    sha1: [u8; 20],
}

impl Testimony {
    /// Whether the verified bytes prove it wrong.
    pub(crate) fn is_refuted_by(&self, raw: &[u8]) -> bool {
        raw.len() != self.size.bytes() || Sha1::digest(piece_of(raw, self.size, self.index))[..] != self.sha1
    }
}

impl Assembly {
    pub(crate) fn new(size: MetadataSize, only: Option<Slot>) -> Self {
        Self { size, only, pieces: BTreeMap::new(), bytes_held: 0, first_missing: 0 }
    }

    pub(crate) fn size(&self) -> MetadataSize {
        self.size
    }

    /// Whether this is the assembly that a peer with this offer feeds.
    pub(crate) fn is_for(&self, size: MetadataSize, slot: Slot) -> bool {
        self.size == size && self.only.is_none_or(|only| only == slot)
    }

    /// Keeps a piece; `false` if there is one already. Index and length were checked against the size.
    pub(crate) fn store(&mut self, index: u32, bytes: &[u8], giver: Giver) -> bool {
        let std::collections::btree_map::Entry::Vacant(place) = self.pieces.entry(index) else {
            return false;
        };
        place.insert(Piece { giver, bytes: bytes.into() });
        self.bytes_held += bytes.len();
        while self.pieces.contains_key(&self.first_missing) {
            self.first_missing += 1;
        }
        true
    }

    pub(crate) fn holds(&self, index: u32) -> bool {
        self.pieces.contains_key(&index)
    }

    /// The pieces that are not there, the lowest first.
    pub(crate) fn missing(&self) -> impl Iterator<Item = u32> {
        (self.first_missing..self.size.pieces()).filter(|index| !self.holds(*index))
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.first_missing >= self.size.pieces()
    }

    /// Whether the bytes of a complete assembly are those that `info_hash` names.
    pub(crate) fn verify(&self, info_hash: &InfoHash) -> Option<VerifiedBy> {
        let mut sha1 = Sha1::new();
        self.pieces.values().for_each(|piece| sha1.update(&piece.bytes));
        if sha1.finalize()[..] == info_hash.as_bytes()[..] {
            return Some(VerifiedBy::Sha1);
        }
        let mut sha256 = Sha256::new();
        self.pieces.values().for_each(|piece| sha256.update(&piece.bytes));
        (sha256.finalize()[..20] == info_hash.as_bytes()[..]).then_some(VerifiedBy::Sha256Truncated)
    }

    /// The bytes of a complete assembly.
    pub(crate) fn into_raw(self) -> Vec<u8> {
        let mut raw = Vec::with_capacity(self.bytes_held);
        for piece in self.pieces.into_values() {
            raw.extend_from_slice(&piece.bytes);
        }
        raw
    }

    /// Who gave the pieces, each once, in the order of the first piece.
    pub(crate) fn givers(&self) -> Vec<Giver> {
        let mut givers: Vec<Giver> = Vec::new();
        for piece in self.pieces.values() {
            if !givers.contains(&piece.giver) {
                givers.push(piece.giver);
            }
        }
        givers
    }

    /// What everybody said, for the day when the true bytes are known.
    pub(crate) fn testimonies(&self) -> impl Iterator<Item = Testimony> {
        self.pieces.iter().map(|(index, piece)| Testimony {
            giver: piece.giver,
            size: self.size,
            index: *index,
            sha1: Sha1::digest(&piece.bytes).into(),
        })
    }

    /// Takes the pieces that one peer gave out into an assembly that only this peer feeds.
    pub(crate) fn split_off(&mut self, slot: Slot) -> Self {
        let mut own = Self::new(self.size, Some(slot));
        let mine: Vec<u32> = self
            .pieces
            .iter()
            .filter(|(_, piece)| piece.giver.slot == slot)
            .map(|(index, _)| *index)
            .collect();
        for index in mine {
            if let Some(piece) = self.pieces.remove(&index) {
                self.bytes_held -= piece.bytes.len();
                self.first_missing = self.first_missing.min(index);
                own.bytes_held += piece.bytes.len();
                own.pieces.insert(index, piece);
            }
        }
        while own.pieces.contains_key(&own.first_missing) {
            own.first_missing += 1;
        }
        own
    }

    /// Bytes of the pieces that are kept.
    pub(crate) fn bytes_held(&self) -> usize {
        self.bytes_held
    }
}

fn piece_of(raw: &[u8], size: MetadataSize, index: u32) -> &[u8] {
    let start = index as usize * crate::ut_metadata::PIECE_BYTES;
    let len = size.piece_len(index).unwrap_or(0);
    raw.get(start..start + len).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ut_metadata::PIECE_BYTES;

    fn giver(number: u16) -> Giver {
        Giver { slot: Slot(number), addr: ([127, 0, 0, 1], 1000 + number).into() }
    }

    fn assembly(raw: &[u8]) -> Assembly {
        Assembly::new(MetadataSize::new(raw.len() as i64, 16 << 20).unwrap(), None)
    }

    fn dict(len: usize) -> Vec<u8> {
        (0..len).map(|n| (n / 7) as u8).collect()
    }

    #[test]
    fn pieces_in_any_order_make_up_the_bytes() {
        let raw = dict(3 * PIECE_BYTES + 5);
        let mut assembly = assembly(&raw);
        let pieces: Vec<_> = raw.chunks(PIECE_BYTES).collect();
        for index in [3, 0, 2, 1] {
            assert!(!assembly.is_complete());
            assert!(assembly.store(index, pieces[index as usize], giver(index as u16 % 2)));
        }
        assert!(assembly.is_complete());
        assert_eq!(assembly.bytes_held(), raw.len());
        assert_eq!(assembly.givers(), [giver(0), giver(1)]);
        assert_eq!(assembly.into_raw(), raw);
    }

    #[test]
    fn the_hash_may_be_sha1_or_truncated_sha256_and_nothing_else() {
        let raw = dict(PIECE_BYTES + 1);
        let mut assembly = assembly(&raw);
        for (index, bytes) in raw.chunks(PIECE_BYTES).enumerate() {
            assembly.store(index as u32, bytes, giver(0));
        }
        let v1 = InfoHash::from_bytes(Sha1::digest(&raw).into());
        let v2 = InfoHash::try_from(&Sha256::digest(&raw)[..20]).unwrap();
        assert_eq!(assembly.verify(&v1), Some(VerifiedBy::Sha1));
        assert_eq!(assembly.verify(&v2), Some(VerifiedBy::Sha256Truncated));
        let end_of_v2 = InfoHash::try_from(&Sha256::digest(&raw)[12..]).unwrap();
        assert_eq!(assembly.verify(&end_of_v2), None);
    }

    #[test]
    fn memory_is_taken_for_pieces_and_not_for_a_claim() {
        let mut assembly = Assembly::new(MetadataSize::new(16 << 20, 16 << 20).unwrap(), None);
        assert_eq!(assembly.bytes_held(), 0);
        assembly.store(1023, &[0; PIECE_BYTES], giver(0));
        assembly.store(1023, &[1; PIECE_BYTES], giver(1));
        assert_eq!(assembly.bytes_held(), PIECE_BYTES);
        assert_eq!(assembly.missing().count(), 1023);
        assert_eq!(assembly.missing().next(), Some(0));
    }

    #[test]
    fn a_peers_own_pieces_can_be_split_off() {
        let raw = dict(4 * PIECE_BYTES);
        let mut shared = assembly(&raw);
        for (index, bytes) in raw.chunks(PIECE_BYTES).enumerate() {
            shared.store(index as u32, bytes, giver(index as u16 % 2));
        }
        let own = shared.split_off(Slot(0));
        assert_eq!(own.missing().collect::<Vec<_>>(), [1, 3]);
        assert_eq!(shared.missing().collect::<Vec<_>>(), [0, 2]);
        assert_eq!((own.bytes_held(), shared.bytes_held()), (2 * PIECE_BYTES, 2 * PIECE_BYTES));
        assert!(own.is_for(own.size(), Slot(0)) && !own.is_for(own.size(), Slot(1)));
    }

    #[test]
    fn a_testimony_is_refuted_by_other_bytes_or_another_size_only() {
        let raw = dict(2 * PIECE_BYTES);
        let mut lying = raw.clone();
        lying[PIECE_BYTES] ^= 1;
        let mut shared = assembly(&raw);
        for (index, bytes) in lying.chunks(PIECE_BYTES).enumerate() {
            shared.store(index as u32, bytes, giver(index as u16));
        }
        let refuted =
            |raw: &[u8]| shared.testimonies().map(|said| said.is_refuted_by(raw)).collect::<Vec<_>>();
        assert_eq!(refuted(&raw), [false, true]);
        assert_eq!(refuted(&raw[..PIECE_BYTES]), [true, true]);
    }
}
