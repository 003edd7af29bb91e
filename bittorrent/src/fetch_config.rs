//! The settings of a fetch.

use std::{sync::Arc, time::Duration};

use crate::{
    GivingConfig, PeerId, PeerLimits, TransportPolicy,
    peer_session::{CONNECT_TIMEOUT_MIN, STAGE_TIMEOUT_MIN},
};

/// Settings that all fetches of a process share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchConfig {
    /// How we name ourselves to peers.
    pub peer_id: PeerId,
    /// The program's name in the extension handshake; `None` leaves it out.
    pub client: Option<String>,
    /// Peers tried at once for one info-hash, at least 1. Others found that 3..4 in parallel decide the yield.
    pub peers_max: usize,
    /// Endpoints tried in all for one info-hash, from 1 to [`ENDPOINTS_CEILING`].
    pub endpoints_max: usize,
    /// Bytes of pieces that one fetch keeps; must have room for the largest info dict.
    pub fetch_bytes_max: usize,
    /// For one info-hash in all; 45 s. (A crawler that cut this to 20 s fell to 0.35 % success.)
    pub time_max: Duration,
    /// The same while pieces keep coming; 60 s, not less than `time_max`.
    pub time_with_progress_max: Duration,
    /// For each peer.
    pub peer: PeerLimits,
    /// What peers are reached by; TCP alone by default.
    pub transports: TransportPolicy,
    /// How long a peer without the info dict is kept for what it may tell of others (BEP 11), while few endpoints wait to be
    /// tried; 4 s. libtorrent tells within a second or two of the handshake. 0 keeps nobody.
    pub hold_for: Duration,
    /// Endpoints that wait to be tried beside which nobody is kept; 4.
    pub hold_below: usize,
    /// Peers that are kept and want the info dict themselves are given it when it has come: see
    /// [`Fetch::handovers`](crate::Fetch::handovers). `None` (the default) gives nothing.
    pub giving: Option<Arc<GivingConfig>>,
}

impl FetchConfig {
    /// The defaults.
    pub fn new(peer_id: PeerId) -> Self {
        Self {
            peer_id,
            client: None,
            peers_max: 4,
            endpoints_max: 128,
            fetch_bytes_max: 32 << 20,
            time_max: Duration::from_secs(45),
            time_with_progress_max: Duration::from_secs(60),
            peer: PeerLimits::default(),
            transports: TransportPolicy::default(),
            hold_for: Duration::from_secs(4),
            hold_below: 4,
            giving: None,
        }
    }

    /// Looks for settings that cannot work.
    ///
    /// # Errors
    /// The first that is found.
    pub fn check(&self) -> Result<(), ConfigError> {
        let peer = &self.peer;
        if self.peers_max == 0 {
            return Err(ConfigError::NoPeers);
        }
        if !(1..=ENDPOINTS_CEILING).contains(&self.endpoints_max) {
            return Err(ConfigError::Endpoints(self.endpoints_max));
        }
        if peer.metadata_bytes_max == 0 || (peer.metadata_bytes_max as usize) > self.fetch_bytes_max {
            return Err(ConfigError::Memory);
        }
        if self.transports.allowed.is_empty() {
            return Err(ConfigError::NoTransport);
        }
        let shortest = peer.stage_timeout.min(peer.rerequest_after);
        if peer.connect_timeout < CONNECT_TIMEOUT_MIN
            || shortest < STAGE_TIMEOUT_MIN
            || peer.metadata_timeout <= peer.rerequest_after
        {
            return Err(ConfigError::StageTimeouts);
        }
        if self.time_max < peer.connect_timeout || self.time_with_progress_max < self.time_max {
            return Err(ConfigError::Times);
        }
        Ok(())
    }
}

/// Settings that contradict each other or the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// `peers_max` is 0.
    #[error("at least one peer at a time is needed to fetch anything")]
    NoPeers,
    /// `endpoints_max` is out of range.
    #[error("the endpoints tried for one info-hash must be between 1 and {ENDPOINTS_CEILING}, not {0}")]
    Endpoints(usize),
    /// The largest info dict is empty, or larger than what one fetch may keep.
    #[error("the memory of one fetch must have room for the largest info dict, which must not be empty")]
    Memory,
    /// No transport is allowed.
    #[error("peers cannot be reached without any transport")]
    NoTransport,
    /// A stage is too short, or the peer is given up before it could be asked again.
    #[error(
        "connecting needs at least 2 s, each stage and the wait before asking again at least 4 s, and giving up must take \
         longer than asking again"
    )]
    StageTimeouts,
    /// The whole is shorter than its parts.
    #[error("a fetch needs at least the time of one connect, and with progress not less than without")]
    Times,
}

/// The most that `endpoints_max` may be: slots are numbered with 16 bits, and an endpoint may take two ports and on
/// each the four transports, though seldom all.
pub const ENDPOINTS_CEILING: usize = 8000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TransportSet;

    fn config() -> FetchConfig {
        FetchConfig::new(PeerId::from_bytes(*b"-ix0100-000000000000"))
    }

    #[test]
    fn the_defaults_fit_together() {
        assert_eq!(config().check(), Ok(()));
    }

    #[test]
    fn each_contradiction_is_named() {
        let with = |change: fn(&mut FetchConfig)| {
            let mut config = config();
            change(&mut config);
            config.check()
        };
        assert_eq!(with(|c| c.peers_max = 0), Err(ConfigError::NoPeers));
        assert_eq!(with(|c| c.endpoints_max = 0), Err(ConfigError::Endpoints(0)));
        assert_eq!(with(|c| c.endpoints_max = 9000), Err(ConfigError::Endpoints(9000)));
        assert_eq!(with(|c| c.transports.allowed = TransportSet::default()), Err(ConfigError::NoTransport));
        assert_eq!(with(|c| c.fetch_bytes_max = 1 << 20), Err(ConfigError::Memory));
        assert_eq!(with(|c| c.peer.metadata_bytes_max = 0), Err(ConfigError::Memory));
        assert_eq!(with(|c| c.peer.stage_timeout = Duration::from_secs(3)), Err(ConfigError::StageTimeouts));
        assert_eq!(
            with(|c| c.peer.connect_timeout = Duration::from_secs(1)),
            Err(ConfigError::StageTimeouts)
        );
        assert_eq!(
            with(|c| c.peer.metadata_timeout = Duration::from_secs(4)),
            Err(ConfigError::StageTimeouts)
        );
        assert_eq!(with(|c| c.time_max = Duration::from_secs(61)), Err(ConfigError::Times));
    }
}
