//! Why a datagram is dropped, and the error codes of KRPC.

use std::fmt;

use crate::bencode;

/// Why a datagram is no message. One variant for each cause, because each is counted.
///
/// [`Tid::to_refuse`](crate::Tid::to_refuse) tells whether the sender deserves an error in return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParseError {
    /// The first byte is not `d`: uTP or something else that shares the port.
    NotADict,
    /// Shorter than any message can be (15 bytes).
    TooShort,
    /// Not bencode, or more of it than we read.
    Malformed(bencode::Error),
    /// `y` is absent or not a string.
    MissingType,
    /// `y` is neither `q`, `r` nor `e`.
    UnknownType,
    /// `t` is absent, so no answer could be matched.
    MissingTransaction,
    /// A query without a method name in `q`.
    MissingMethod,
    /// A query whose `a` is absent or not a dictionary.
    MissingArguments,
    /// A reply whose `r` is absent or not a dictionary.
    MissingReply,
    /// A query without `id`, or with one that is not a string.
    MissingId,
    /// An `id` that does not have 20 bytes.
    BadId,
    /// `target` is absent or not a string.
    MissingTarget,
    /// `target` does not have 20 bytes.
    BadTarget,
    /// `info_hash` is absent or not a string.
    MissingInfoHash,
    /// `info_hash` does not have 20 bytes.
    BadInfoHash,
    /// An announce or a put without `token`.
    MissingToken,
    /// An announce that neither says `implied_port` nor gives a port from 1 to 65535.
    BadPort,
    /// A put without `v`.
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

    /// The text of each variant, in their order: of the error that answers it, and of a counter.
    pub const TEXTS: [&'static str; 18] = [
        "not a dictionary",
        "too short",
        "malformed",
        "no message type",
        "unknown message type",
        "no transaction id",
        "missing 'q'",
        "missing 'a'",
        "missing 'r'",
        "missing 'id'",
        "invalid 'id'",
        "missing 'target'",
        "invalid 'target'",
        "missing 'info_hash'",
        "invalid 'info_hash'",
        "missing 'token'",
        "invalid 'port'",
        "missing 'v'",
    ];

    /// The place of the variant in [`ParseError::TEXTS`], for counters by cause.
    pub const fn ordinal(self) -> usize {
        match self {
            Self::NotADict => 0,
            Self::TooShort => 1,
            Self::Malformed(_) => 2,
            Self::MissingType => 3,
            Self::UnknownType => 4,
            Self::MissingTransaction => 5,
            Self::MissingMethod => 6,
            Self::MissingArguments => 7,
            Self::MissingReply => 8,
            Self::MissingId => 9,
            Self::BadId => 10,
            Self::MissingTarget => 11,
            Self::BadTarget => 12,
            Self::MissingInfoHash => 13,
            Self::BadInfoHash => 14,
            Self::MissingToken => 15,
            Self::BadPort => 16,
            Self::MissingValue => 17,
        }
    }

    /// The text of the error that answers it.
    pub const fn text(self) -> &'static str {
        Self::TEXTS[self.ordinal()]
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())?;
        match self {
            Self::Malformed(error) => write!(f, ": {error}"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for ParseError {}

impl From<bencode::Error> for ParseError {
    #[inline]
    fn from(error: bencode::Error) -> Self {
        Self::Malformed(error)
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
