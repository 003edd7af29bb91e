//! Why a datagram is dropped, and the error codes of KRPC.

use crate::bencode;

/// Why a datagram is no message. One variant for each cause, because each is counted.
///
/// [`Tid::to_refuse`](crate::Tid::to_refuse) tells whether the sender deserves an error in return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The first byte is not `d`: uTP or something else that shares the port.
    #[error("not a dictionary")]
    NotADict,
    /// Shorter than any message can be (15 bytes).
    #[error("too short")]
    TooShort,
    /// Not bencode, or more of it than we read.
    #[error("malformed: {0}")]
    Malformed(#[from] bencode::Error),
    /// `y` is absent or not a string.
    #[error("no message type")]
    MissingType,
    /// `y` is neither `q`, `r` nor `e`.
    #[error("unknown message type")]
    UnknownType,
    /// `t` is absent, so no answer could be matched.
    #[error("no transaction id")]
    MissingTransaction,
    /// A query without a method name in `q`.
    #[error("missing 'q'")]
    MissingMethod,
    /// A query whose `a` is absent or not a dictionary.
    #[error("missing 'a'")]
    MissingArguments,
    /// A reply whose `r` is absent or not a dictionary.
    #[error("missing 'r'")]
    MissingReply,
    /// A query without `id`, or with one that is not a string.
    #[error("missing 'id'")]
    MissingId,
    /// An `id` that does not have 20 bytes.
    #[error("invalid 'id'")]
    BadId,
    /// `target` is absent or not a string.
    #[error("missing 'target'")]
    MissingTarget,
    /// `target` does not have 20 bytes.
    #[error("invalid 'target'")]
    BadTarget,
    /// `info_hash` is absent or not a string.
    #[error("missing 'info_hash'")]
    MissingInfoHash,
    /// `info_hash` does not have 20 bytes.
    #[error("invalid 'info_hash'")]
    BadInfoHash,
    /// An announce or a put without `token`.
    #[error("missing 'token'")]
    MissingToken,
    /// An announce that neither says `implied_port` nor gives a port from 1 to 65535.
    #[error("invalid 'port'")]
    BadPort,
    /// A put without `v`.
    #[error("missing 'v'")]
    MissingValue,
}

impl ParseError {
    /// Whether the cause lies in the content of a query, so that error 203 says something to the
    /// one who sent it. Everything else is dropped in silence: it may be no KRPC, or an answer.
    pub const fn is_answerable(self) -> bool {
        match self {
            Self::MissingMethod
            | Self::MissingArguments
            | Self::MissingId
            | Self::BadId
            | Self::MissingTarget
            | Self::BadTarget
            | Self::MissingInfoHash
            | Self::BadInfoHash
            | Self::MissingToken
            | Self::BadPort
            | Self::MissingValue => true,
            Self::NotADict
            | Self::TooShort
            | Self::Malformed(_)
            | Self::MissingType
            | Self::UnknownType
            | Self::MissingTransaction
            | Self::MissingReply => false,
        }
    }

    /// The text of the error that answers it; also short enough for a counter's name.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NotADict => "not a dictionary",
            Self::TooShort => "too short",
            Self::Malformed(_) => "malformed",
            Self::MissingType => "no message type",
            Self::UnknownType => "unknown message type",
            Self::MissingTransaction => "no transaction id",
            Self::MissingMethod => "missing 'q'",
            Self::MissingArguments => "missing 'a'",
            Self::MissingReply => "missing 'r'",
            Self::MissingId => "missing 'id'",
            Self::BadId => "invalid 'id'",
            Self::MissingTarget => "missing 'target'",
            Self::BadTarget => "invalid 'target'",
            Self::MissingInfoHash => "missing 'info_hash'",
            Self::BadInfoHash => "invalid 'info_hash'",
            Self::MissingToken => "missing 'token'",
            Self::BadPort => "invalid 'port'",
            Self::MissingValue => "missing 'v'",
        }
    }
}

/// The code of an error message; any number may arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub i64);

impl ErrorCode {
    /// Generic error (BEP 5).
    pub const GENERIC: Self = Self(201);
    /// Server error (BEP 5).
    pub const SERVER: Self = Self(202);
    /// Protocol error: a malformed packet, invalid arguments, a bad token (BEP 5).
    pub const PROTOCOL: Self = Self(203);
    /// Unknown method (BEP 5).
    pub const UNKNOWN_METHOD: Self = Self(204);
    /// The value of a put is too big (BEP 44).
    pub const VALUE_TOO_BIG: Self = Self(205);
    /// The signature of a put is invalid (BEP 44).
    pub const BAD_SIGNATURE: Self = Self(206);
    /// The salt of a put is too big (BEP 44).
    pub const SALT_TOO_BIG: Self = Self(207);
    /// The `cas` of a put does not match (BEP 44).
    pub const CAS_MISMATCH: Self = Self(301);
    /// The sequence number of a put is less than the current one (BEP 44).
    pub const OLD_SEQUENCE: Self = Self(302);
}
