//! What a world is made of.

use std::time::Duration;

use super::nature::Nature;
use super::network::Network;

/// The description of a world, from which [`World::stage`](super::World::stage) makes it. All shares are 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// Of all that is drawn.
    pub seed: u64,
    /// Honest nodes that are there, over both families. Those that lie or are dead come on top. Default 1,000.
    pub nodes: usize,
    /// Which clients they run.
    pub clients: Clients,
    /// Share of the nodes that are in the DHT of IPv6. Default 0.15.
    pub ipv6: f64,
    /// Share of those whose client has a node in the DHT of IPv4 too. Default 0.5.
    pub dual_stack: f64,
    /// Share of the entries of settled tables that lead nowhere. Default 0.4 (about half in the real network).
    pub stale: f64,
    /// Share of the nodes that only their nearest neighbours know. Default 0.
    pub newcomers: f64,
    /// Share of the nodes behind a NAT that lets nobody in. Default 0.
    pub nated: f64,
    /// Share of all live nodes that lie, in all ways equally. Default 0.
    pub lying: f64,
    /// How datagrams travel. Default: none is lost.
    pub network: Network,
    /// Torrents that are announced when it begins. Default 1,000.
    pub torrents: usize,
    /// What becomes of them. Default: each stays for ever where it is announced.
    pub traffic: Option<Torrents>,
    /// Nodes come and go. Default: all stay.
    pub churn: Option<Churn>,
    /// Whether nodes add those who talk to them to their tables, query them, and drop them when they are silent. Default: they do.
    pub upkeep: bool,
}

impl Default for Scene {
    fn default() -> Scene {
        Scene {
            seed: 1,
            nodes: 1_000,
            clients: Clients::default(),
            ipv6: 0.15,
            dual_stack: 0.5,
            stale: 0.4,
            newcomers: 0.0,
            nated: 0.0,
            lying: 0.0,
            network: Network::with_loss(0.0),
            torrents: 1_000,
            traffic: None,
            churn: None,
            upkeep: true,
        }
    }
}

/// Parts of the nodes that run each client, relative to each other. The true ones are not known publicly; the default has libtorrent (most
/// desktop clients) first, Transmission and others after jech second.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the natures of these names tell")]
pub struct Clients {
    pub libtorrent: f64,
    pub mldht: f64,
    pub sampling: f64,
    pub silent: f64,
    pub four_byte_ids: f64,
    pub refusing: f64,
    pub confusing: f64,
}

impl Default for Clients {
    fn default() -> Clients {
        Clients {
            libtorrent: 60.0,
            mldht: 5.0,
            sampling: 1.0,
            silent: 25.0,
            four_byte_ids: 2.0,
            refusing: 4.0,
            confusing: 3.0,
        }
    }
}

impl Clients {
    /// No client at all, to be filled in.
    pub const NONE: Clients = Clients {
        libtorrent: 0.0,
        mldht: 0.0,
        sampling: 0.0,
        silent: 0.0,
        four_byte_ids: 0.0,
        refusing: 0.0,
        confusing: 0.0,
    };

    pub(super) fn parts(&self) -> [(f64, Nature); 7] {
        [
            (self.libtorrent, Nature::Libtorrent),
            (self.mldht, Nature::Mldht),
            (self.sampling, Nature::Sampling { interval: 10 }),
            (self.silent, Nature::Silent),
            (self.four_byte_ids, Nature::FourByteIds),
            (self.refusing, Nature::Refusing),
            (self.confusing, Nature::Confusing),
        ]
    }
}

/// How torrents live.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Torrents {
    /// New ones in an hour.
    pub births_per_hour: f64,
    /// Between two announces of one user. Default 15 min, as in libtorrent.
    pub announce_every: Duration,
    /// How long a node keeps what is not announced again. Default 30 min, as in libtorrent.
    pub kept_for: Duration,
    /// Users of a torrent that are played out at the most: popular ones would cost much and show nothing new. Default 4.
    pub users_max: u32,
}

impl Default for Torrents {
    fn default() -> Torrents {
        Torrents {
            births_per_hour: 0.0,
            announce_every: Duration::from_secs(15 * 60),
            kept_for: Duration::from_secs(30 * 60),
            users_max: 4,
        }
    }
}

/// How nodes come and go: each that leaves is followed by a new one elsewhere, so the population stays what it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Churn {
    /// Half of all sessions are shorter (they are distributed exponentially). Default 200 min, as measured in the real network.
    pub median_session: Duration,
    /// After this time a newcomer is known everywhere. Default 1 h.
    pub settles_after: Duration,
    /// How long those who left stay in tables, on average. Default 15 min: what libtorrent's round through its table takes.
    pub forgotten_after: Duration,
}

impl Default for Churn {
    fn default() -> Churn {
        Churn {
            median_session: Duration::from_secs(200 * 60),
            settles_after: Duration::from_secs(3_600),
            forgotten_after: Duration::from_secs(15 * 60),
        }
    }
}
