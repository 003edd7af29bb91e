//! How a connection to a peer ended, and how a whole fetch did: the reasons that are counted and stored.

use std::net::SocketAddr;

use crate::{PeerFault, PeerId, Slot, Transport, candidates::PeerSource};

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// No connection yet.
    Connect,
    /// Connected; the peer's handshake is not complete.
    Handshake,
    /// The handshake stood; the extension handshake is missing.
    ExtensionHandshake,
    /// The peer offers the info dict; pieces are asked for.
    Metadata,
}

impl Stage {
    /// How many there are.
    pub const COUNT: usize = 4;

    /// The name in counters and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Handshake => "handshake",
            Self::ExtensionHandshake => "extension handshake",
            Self::Metadata => "metadata",
        }
    }

    /// Every one, in the order in which a connection goes through them.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Connect, Self::Handshake, Self::ExtensionHandshake, Self::Metadata];
}

/// Why the owner reports a connection as gone, or as never made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Disconnect {
    /// The peer closed in good order.
    Eof,
    /// The peer reset the connection.
    Reset,
    /// Nobody listens at the address.
    Refused,
    /// The host or its network cannot be reached.
    Unreachable,
    /// No connection, no byte in or none taken within the owner's own limit.
    Timeout,
    /// We have no socket to spare; says nothing about the peer.
    Overload,
    /// Another error, or another limit of the owner.
    Other,
}

/// Why no connection came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectFailure {
    /// Nobody listens at the address.
    Refused,
    /// The host or its network cannot be reached.
    Unreachable,
    /// Nothing was heard in time.
    Timeout,
    /// Closed or reset before the connection stood, or another error of the system.
    Other,
    /// We had no socket to spare, time and again; says nothing about the peer.
    Overload,
}

/// How one connection ended. Every connect that was asked for gets exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerOutcome {
    /// The peer gave at least one piece of the info dict that was verified.
    Served,
    /// The info dict came from others before this peer had given anything.
    NotNeeded,
    /// The fetch was given up (its time was over, or its owner wanted it) while this peer was still in play.
    FetchEnded,
    /// There was no connection.
    ConnectFailed(ConnectFailure),
    /// Accepted, then closed or reset before a byte came: what peers do that take only uTP or only encryption.
    ClosedWithoutByte,
    /// Closed by the peer in this stage.
    Closed(Stage),
    /// Reset by the peer in this stage.
    Reset(Stage),
    /// The connection broke in this stage for a reason of our own side or of the system.
    Broken(Stage),
    /// The stage took too long.
    Silent(Stage),
    /// The peer said something that makes the connection useless.
    Fault(PeerFault),
    /// The pieces that this peer gave do not make up the info dict: proven, not guessed.
    HashMismatch,
    /// The verified info dict has another size than this peer claimed.
    WrongSize,
    /// What this peer sends does not fit the memory of one fetch beside what the others have sent.
    MemoryLimit,
}

impl PeerOutcome {
    /// How many different outcomes there are: the length of a table indexed by [`index`](Self::index).
    pub const COUNT: usize = 12 + 4 * Stage::COUNT + PeerFault::COUNT;

    /// A dense number, below [`COUNT`](Self::COUNT).
    pub const fn index(self) -> usize {
        match self {
            Self::Served => 0,
            Self::NotNeeded => 1,
            Self::FetchEnded => 2,
            Self::ClosedWithoutByte => 3,
            Self::HashMismatch => 4,
            Self::WrongSize => 5,
            Self::MemoryLimit => 6,
            Self::ConnectFailed(failure) => 7 + failure as usize,
            Self::Closed(stage) => 12 + stage as usize,
            Self::Reset(stage) => 12 + Stage::COUNT + stage as usize,
            Self::Broken(stage) => 12 + 2 * Stage::COUNT + stage as usize,
            Self::Silent(stage) => 12 + 3 * Stage::COUNT + stage as usize,
            Self::Fault(fault) => 12 + 4 * Stage::COUNT + fault as usize,
        }
    }

    /// Every outcome, in the order of [`index`](Self::index).
    pub fn all() -> impl Iterator<Item = Self> {
        const PLAIN: [PeerOutcome; 12] = [
            PeerOutcome::Served,
            PeerOutcome::NotNeeded,
            PeerOutcome::FetchEnded,
            PeerOutcome::ClosedWithoutByte,
            PeerOutcome::HashMismatch,
            PeerOutcome::WrongSize,
            PeerOutcome::MemoryLimit,
            PeerOutcome::ConnectFailed(ConnectFailure::Refused),
            PeerOutcome::ConnectFailed(ConnectFailure::Unreachable),
            PeerOutcome::ConnectFailed(ConnectFailure::Timeout),
            PeerOutcome::ConnectFailed(ConnectFailure::Other),
            PeerOutcome::ConnectFailed(ConnectFailure::Overload),
        ];
        PLAIN
            .into_iter()
            .chain(Stage::ALL.map(Self::Closed))
            .chain(Stage::ALL.map(Self::Reset))
            .chain(Stage::ALL.map(Self::Broken))
            .chain(Stage::ALL.map(Self::Silent))
            .chain(PeerFault::ALL.map(Self::Fault))
    }

    /// The name in counters and logs, without the stage.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::NotNeeded => "not needed",
            Self::FetchEnded => "fetch ended",
            Self::ClosedWithoutByte => "closed without a byte",
            Self::HashMismatch => "hash mismatch",
            Self::WrongSize => "wrong size",
            Self::MemoryLimit => "memory limit",
            Self::ConnectFailed(ConnectFailure::Refused) => "refused",
            Self::ConnectFailed(ConnectFailure::Unreachable) => "unreachable",
            Self::ConnectFailed(ConnectFailure::Timeout) => "connect timeout",
            Self::ConnectFailed(ConnectFailure::Other) => "connect failed",
            Self::ConnectFailed(ConnectFailure::Overload) => "no socket to spare",
            Self::Closed(_) => "closed",
            Self::Reset(_) => "reset",
            Self::Broken(_) => "broken",
            Self::Silent(_) => "silent",
            Self::Fault(fault) => fault.label(),
        }
    }

    /// The stage that the label leaves open.
    pub const fn stage(self) -> Option<Stage> {
        match self {
            Self::Closed(stage) | Self::Reset(stage) | Self::Broken(stage) | Self::Silent(stage) => {
                Some(stage)
            }
            _ => None,
        }
    }

    /// Whether the peer sent something that an honest, working client does not send. Such an endpoint is not worth
    /// another visit soon.
    pub const fn is_hostile(self) -> bool {
        match self {
            Self::HashMismatch | Self::WrongSize => true,
            Self::Fault(fault) => fault.is_hostile(),
            _ => false,
        }
    }
}

/// One line about one connection, when it is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerReport {
    /// The connection.
    pub slot: Slot,
    /// The endpoint.
    pub addr: SocketAddr,
    /// Where the endpoint came from.
    pub source: PeerSource,
    /// What carried it.
    pub transport: Transport,
    /// Whether the endpoint is being tried in another way, or will be: this is not the last word about it.
    pub more_follows: bool,
    /// How it ended.
    pub outcome: PeerOutcome,
    /// How far it came.
    pub reached: Stage,
    /// From the connect to the end.
    pub lasted: std::time::Duration,
    /// The time that it spent in each stage, up to the one that it reached.
    pub stages: [std::time::Duration; Stage::COUNT],
    /// Bytes received.
    pub received_bytes: u64,
    /// The peer's id, if its handshake came.
    pub peer_id: Option<PeerId>,
    /// What the peer calls its program (`v` of the extension handshake), cut to
    /// [`CLIENT_BYTES_MAX`](crate::extension_handshake::CLIENT_BYTES_MAX) and not to be trusted.
    pub client: Option<Box<str>>,
}

/// Why a fetch has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailReason {
    /// Nobody was ever named to fetch it from.
    NoCandidates,
    /// Everybody was tried.
    Exhausted,
    /// Its time was over.
    Deadline,
    /// The owner gave it up.
    Aborted,
}

impl FailReason {
    /// How many there are.
    pub const COUNT: usize = 4;
    /// Every reason, in the order of the table in the counters.
    pub const ALL: [Self; Self::COUNT] = [Self::NoCandidates, Self::Exhausted, Self::Deadline, Self::Aborted];

    /// The name in counters and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NoCandidates => "no candidates",
            Self::Exhausted => "all peers tried",
            Self::Deadline => "deadline",
            Self::Aborted => "aborted",
        }
    }
}

/// A fetch that came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchFailure {
    /// Why.
    pub reason: FailReason,
    /// The outcome of the peer that came furthest: the best single explanation. `None` if none was tried.
    pub best: Option<PeerOutcome>,
    /// Connects asked for.
    pub attempts: u32,
}

/// Which hash of the raw bytes is the info-hash that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VerifiedBy {
    /// SHA-1 (v1, BEP 3).
    Sha1,
    /// The first 20 bytes of SHA-256 (v2, BEP 52).
    Sha256Truncated,
}

/// A verified info dict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The info dict, byte for byte as the peers sent it.
    pub raw: Vec<u8>,
    /// How it was verified.
    pub verified_by: VerifiedBy,
    /// The peers that gave its pieces.
    pub givers: Vec<SocketAddr>,
    /// From the start of the fetch.
    pub lasted: std::time::Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_an_index_of_its_own_without_gaps() {
        let all: Vec<_> = PeerOutcome::all().collect();
        assert_eq!(all.len(), PeerOutcome::COUNT);
        for (at, outcome) in all.iter().enumerate() {
            assert_eq!(outcome.index(), at, "{outcome:?}");
        }
    }

    #[test]
    fn label_and_stage_together_name_an_outcome_uniquely() {
        let mut names: Vec<_> = PeerOutcome::all().map(|o| (o.label(), o.stage())).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
