//! The handshake that opens every peer connection (BEP 3): 68 bytes in each direction.

use krpc::InfoHash;

use crate::PeerId;

/// The first message of a connection.
///
/// Ours sets one reserved bit only, that of the extension protocol (BEP 10). The Fast bit would oblige us to send
/// have-none, and with the v2 bit libtorrent answers a hybrid with the other info-hash (measured).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// What the sender supports, as bits.
    pub reserved: [u8; 8],
    /// The torrent that the connection is for; for v2 the truncated hash.
    pub info_hash: InfoHash,
    /// How the sender names itself.
    pub peer_id: PeerId,
}

impl Handshake {
    /// Length in bytes.
    pub const LEN: usize = 68;

    /// The handshake that we send.
    pub const fn new(info_hash: InfoHash, peer_id: PeerId) -> Self {
        Self { reserved: [0, 0, 0, 0, 0, EXTENSION_PROTOCOL, 0, 0], info_hash, peer_id }
    }

    /// Appends the 68 bytes to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(PROTOCOL);
        out.extend_from_slice(&self.reserved);
        out.extend_from_slice(self.info_hash.as_bytes());
        out.extend_from_slice(self.peer_id.as_bytes());
    }

    /// Whether the sender speaks the extension protocol (BEP 10).
    pub const fn has_extension_protocol(&self) -> bool {
        self.reserved[5] & EXTENSION_PROTOCOL != 0
    }
}

/// Why the other side's handshake ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The bytes are not those of a BEP 3 handshake: another protocol, or an encrypted one.
    #[error("the peer does not speak the BitTorrent protocol")]
    NotBitTorrent,
    /// The peer answered for another torrent than the one asked for.
    #[error("the peer answered for another info-hash")]
    OtherInfoHash,
    /// The peer's id is our own: we have reached ourselves.
    #[error("the connection leads back to ourselves")]
    SelfConnection,
}

/// Collects the other side's handshake from chunks of any size and refuses it at the first byte that shows it
/// wrong.
#[derive(Clone, Debug)]
pub struct HandshakeReader {
    bytes: [u8; Handshake::LEN],
    filled: usize,
}

impl HandshakeReader {
    /// A reader that has seen nothing.
    pub const fn new() -> Self {
        Self { bytes: [0; Handshake::LEN], filled: 0 }
    }

    /// A reader that has seen the length and the name of the protocol.
    pub(crate) fn after_protocol() -> Self {
        let mut reader = Self::new();
        reader.bytes[..PROTOCOL.len()].copy_from_slice(PROTOCOL);
        reader.filled = PROTOCOL.len();
        reader
    }

    /// Takes from the front of `input` what belongs to the handshake; `ours` is what we sent.
    ///
    /// `None` means that bytes are still missing (then `input` is empty).
    ///
    /// # Errors
    /// See [`HandshakeError`]; the connection is of no use afterwards.
    pub fn read(&mut self, ours: &Handshake, input: &mut &[u8]) -> Result<Option<Handshake>, HandshakeError> {
        let whole = self.fill(input)?;
        if self.filled >= PEER_ID_AT && self.bytes[INFO_HASH_AT..PEER_ID_AT] != ours.info_hash.as_bytes()[..]
        {
            return Err(HandshakeError::OtherInfoHash);
        }
        match whole {
            Some(theirs) if theirs.peer_id == ours.peer_id => Err(HandshakeError::SelfConnection),
            other => Ok(other),
        }
    }

    /// The same for a connection that the other side has opened: it says which torrent it is for. `own` is how we name
    /// ourselves.
    ///
    /// # Errors
    /// See [`HandshakeError`]; the connection is of no use afterwards.
    pub fn read_any(&mut self, own: PeerId, input: &mut &[u8]) -> Result<Option<Handshake>, HandshakeError> {
        match self.fill(input)? {
            Some(theirs) if theirs.peer_id == own => Err(HandshakeError::SelfConnection),
            other => Ok(other),
        }
    }

    fn fill(&mut self, input: &mut &[u8]) -> Result<Option<Handshake>, HandshakeError> {
        let room = self.bytes.get_mut(self.filled..).unwrap_or(&mut []);
        let taken = room.len().min(input.len());
        let (now, later) = input.split_at(taken);
        for (to, from) in room.iter_mut().zip(now) {
            *to = *from;
        }
        self.filled += taken;
        *input = later;

        let seen = self.filled.min(PROTOCOL.len());
        if self.bytes[..seen] != PROTOCOL[..seen] {
            return Err(HandshakeError::NotBitTorrent);
        }
        if self.filled < Handshake::LEN {
            return Ok(None);
        }
        let (mut reserved, mut info_hash, mut peer_id) = ([0; 8], [0; 20], [0; PeerId::LEN]);
        reserved.copy_from_slice(&self.bytes[PROTOCOL.len()..INFO_HASH_AT]);
        info_hash.copy_from_slice(&self.bytes[INFO_HASH_AT..PEER_ID_AT]);
        peer_id.copy_from_slice(&self.bytes[PEER_ID_AT..]);
        Ok(Some(Handshake {
            reserved,
            info_hash: InfoHash::from_bytes(info_hash),
            peer_id: PeerId::from_bytes(peer_id),
        }))
    }
}

impl Default for HandshakeReader {
    fn default() -> Self {
        Self::new()
    }
}

pub(crate) const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";
const INFO_HASH_AT: usize = 28;
const PEER_ID_AT: usize = 48;
/// BEP 10: bit 20 from the right of the reserved bytes.
const EXTENSION_PROTOCOL: u8 = 0x10;

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: InfoHash = InfoHash::from_bytes(*b"aaaaaaaaaabbbbbbbbbb");
    const OWN: PeerId = PeerId::from_bytes(*b"-ix0100-000000000000");

    fn theirs() -> Vec<u8> {
        b"\x13BitTorrent protocol\0\0\0\0\0\x18\0\x05aaaaaaaaaabbbbbbbbbb-LT2110-cccccccccccc".to_vec()
    }

    fn read(bytes: &[u8]) -> Result<Option<Handshake>, HandshakeError> {
        HandshakeReader::new().read(&Handshake::new(HASH, OWN), &mut &bytes[..])
    }

    #[test]
    fn ours_sets_the_extension_bit_and_no_other() {
        let mut out = Vec::new();
        Handshake::new(HASH, OWN).write(&mut out);
        assert_eq!(out, b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0aaaaaaaaaabbbbbbbbbb-ix0100-000000000000");
    }

    #[test]
    fn it_is_read_across_every_boundary_and_leaves_what_follows() {
        let mut bytes = theirs();
        bytes.extend_from_slice(b"more");
        for cut in 0..=Handshake::LEN {
            let mut reader = HandshakeReader::new();
            let ours = Handshake::new(HASH, OWN);
            let (mut first, second) = bytes.split_at(cut);
            let mut second = second;
            let early = reader.read(&ours, &mut first).unwrap();
            let handshake = match early {
                Some(handshake) => handshake,
                None => reader.read(&ours, &mut second).unwrap().unwrap(),
            };
            assert_eq!(handshake.peer_id, PeerId::from_bytes(*b"-LT2110-cccccccccccc"));
            assert!(handshake.has_extension_protocol());
            assert_eq!(second, b"more", "cut at {cut}");
        }
    }

    #[test]
    fn another_protocol_is_refused_at_its_first_wrong_byte() {
        assert_eq!(read(b"\x13Bit"), Ok(None));
        assert_eq!(read(b"\x13Bix"), Err(HandshakeError::NotBitTorrent));
        assert_eq!(read(b"GET / HTTP/1.0\r\n\r\n"), Err(HandshakeError::NotBitTorrent));
        assert_eq!(read(b""), Ok(None));
    }

    #[test]
    fn another_info_hash_is_refused_before_the_peer_id_came() {
        let mut bytes = theirs();
        bytes[47] ^= 1;
        assert_eq!(read(&bytes[..48]), Err(HandshakeError::OtherInfoHash));
        assert_eq!(read(&bytes[..47]), Ok(None));
    }

    #[test]
    fn our_own_peer_id_is_a_connection_to_ourselves() {
        let mut bytes = theirs();
        bytes[48..].copy_from_slice(OWN.as_bytes());
        assert_eq!(read(&bytes), Err(HandshakeError::SelfConnection));
    }

    #[test]
    fn a_peer_without_the_extension_bit_says_so() {
        let mut bytes = theirs();
        bytes[25] = 0;
        assert!(!read(&bytes).unwrap().unwrap().has_extension_protocol());
    }
}
