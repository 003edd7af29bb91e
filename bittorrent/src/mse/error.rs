//! What can be wrong with the other side's half of the handshake.

use super::PublicKeyError;

/// Why a handshake has come to nothing. The connection is of no use afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum MseError {
    /// The other side's key is none: what came is probably another protocol.
    #[error(transparent)]
    PublicKey(#[from] PublicKeyError),
    /// The pad after the key is longer than it may be, or the other side has another secret than we.
    #[error("the encrypted part does not begin where it must")]
    NoSynchronisation,
    /// The other side asks for a torrent that we do not know.
    #[error("a torrent that is not known here")]
    UnknownTorrent,
    /// The encrypted part does not begin with eight zero bytes.
    #[error("a wrong verification constant")]
    WrongConstant,
    /// A pad in the encrypted part claims more than 512 bytes.
    #[error("a pad of {0} bytes, where 512 are the most")]
    PadTooLong(u16),
    /// The other side offers nothing that we take.
    #[error("no method in common: {0:#x} is offered")]
    NoCommonMethod(u32),
    /// The other side chose none, several, or one that was not offered.
    #[error("{0:#x} is not one of the methods that were offered")]
    MethodNotOffered(u32),
}
