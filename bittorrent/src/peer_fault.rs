//! What a peer can say that ends its connection.

use crate::{handshake::HandshakeError, mse::MseError, wire::WireError};

/// What a peer said that makes its connection useless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PeerFault {
    /// The first bytes are no BEP 3 handshake.
    #[error("the peer does not speak the BitTorrent protocol")]
    BadHandshake,
    /// The handshake is for another torrent.
    #[error("the peer answered for another info-hash")]
    OtherInfoHash,
    /// The connection leads to ourselves.
    #[error("the connection leads back to ourselves")]
    SelfConnection,
    /// The handshake lacks the extension bit: such a peer cannot give metadata.
    #[error("the peer has no extension protocol")]
    NoExtensionProtocol,
    /// The extension handshake offers no `ut_metadata`; libtorrent does so for private torrents.
    #[error("the peer offers no ut_metadata")]
    NoUtMetadata,
    /// The size is absent or 0: the peer is itself still looking for the info dict.
    #[error("the peer has no metadata yet")]
    NoMetadataYet,
    /// The size is negative or no number.
    #[error("the size of the metadata is no size")]
    SizeInvalid,
    /// The size is beyond our limit.
    #[error("the metadata is larger than the limit")]
    SizeTooLarge,
    /// A later extension handshake claims another size.
    #[error("the peer changed the size of the metadata")]
    SizeChanged,
    /// The peer refuses to send pieces.
    #[error("the peer rejects requests")]
    Rejected,
    /// A piece with an index that the info dict does not have.
    #[error("a piece out of range")]
    PieceOutOfRange,
    /// A piece with more or fewer bytes than it must have.
    #[error("a piece of wrong length")]
    WrongPieceLength,
    /// The header of a piece disagrees with the extension handshake about the size.
    #[error("a piece that claims another total size")]
    TotalSizeMismatch,
    /// More pieces than were asked for.
    #[error("pieces that nobody asked for")]
    UnrequestedPieces,
    /// A message longer than its kind may be.
    #[error("a message that is too long")]
    MessageTooLong,
    /// More that is of no use than one connection may bring.
    #[error("too much that is of no use")]
    TooMuchNoise,
    /// An extended message that cannot be read.
    #[error("a malformed message")]
    MalformedMessage,
    /// The encryption handshake came to nothing: the peer does not know it, or not this torrent.
    #[error("the peer's half of the encryption handshake is wrong")]
    BadEncryption,
}

impl PeerFault {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Every fault, in the order of its number.
    pub const ALL: [Self; 18] = [
        Self::BadHandshake,
        Self::OtherInfoHash,
        Self::SelfConnection,
        Self::NoExtensionProtocol,
        Self::NoUtMetadata,
        Self::NoMetadataYet,
        Self::SizeInvalid,
        Self::SizeTooLarge,
        Self::SizeChanged,
        Self::Rejected,
        Self::PieceOutOfRange,
        Self::WrongPieceLength,
        Self::TotalSizeMismatch,
        Self::UnrequestedPieces,
        Self::MessageTooLong,
        Self::TooMuchNoise,
        Self::MalformedMessage,
        Self::BadEncryption,
    ];

    /// The name in counters and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::BadHandshake => "bad handshake",
            Self::OtherInfoHash => "other info-hash",
            Self::SelfConnection => "self connection",
            Self::NoExtensionProtocol => "no extension protocol",
            Self::NoUtMetadata => "no ut_metadata",
            Self::NoMetadataYet => "no metadata yet",
            Self::SizeInvalid => "size invalid",
            Self::SizeTooLarge => "size too large",
            Self::SizeChanged => "size changed",
            Self::Rejected => "rejected",
            Self::PieceOutOfRange => "piece out of range",
            Self::WrongPieceLength => "wrong piece length",
            Self::TotalSizeMismatch => "total size mismatch",
            Self::UnrequestedPieces => "unrequested pieces",
            Self::MessageTooLong => "message too long",
            Self::TooMuchNoise => "too much noise",
            Self::MalformedMessage => "malformed message",
            Self::BadEncryption => "bad encryption",
        }
    }

    /// Whether an honest, working client never does this.
    pub const fn is_hostile(self) -> bool {
        !matches!(
            self,
            Self::BadHandshake
                | Self::OtherInfoHash
                | Self::SelfConnection
                | Self::NoExtensionProtocol
                | Self::NoUtMetadata
                | Self::NoMetadataYet
                | Self::SizeTooLarge
                | Self::Rejected
                | Self::BadEncryption
        )
    }
}

impl From<HandshakeError> for PeerFault {
    fn from(error: HandshakeError) -> Self {
        match error {
            HandshakeError::NotBitTorrent => Self::BadHandshake,
            HandshakeError::OtherInfoHash => Self::OtherInfoHash,
            HandshakeError::SelfConnection => Self::SelfConnection,
        }
    }
}

impl From<MseError> for PeerFault {
    fn from(_: MseError) -> Self {
        Self::BadEncryption
    }
}

impl From<WireError> for PeerFault {
    fn from(error: WireError) -> Self {
        match error {
            WireError::MessageTooLong(_) => Self::MessageTooLong,
            WireError::EmptyExtended => Self::MalformedMessage,
            WireError::TooMuchNoise => Self::TooMuchNoise,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_number_and_a_name_of_its_own() {
        let mut names: Vec<_> = PeerFault::ALL.iter().map(|fault| fault.label()).collect();
        assert!(PeerFault::ALL.iter().enumerate().all(|(at, fault)| *fault as usize == at));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PeerFault::COUNT);
    }
}
