//! What the engine tells the program.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use krpc::{ClientVersion, CompactNode, InfoHash, NodeId};

use crate::config::PortIndex;
use crate::reachability::Reachability;
use crate::scrape::Scrape;

/// Names a lookup that [`Dht::find_peers`](crate::Dht::find_peers) or [`Dht::scrape`](crate::Dht::scrape) has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupId(pub(crate) u64);

/// Something that the engine has found out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event<'a> {
    /// An info-hash was seen. The same one comes again and again: telling new from known is the
    /// program's task.
    Hash {
        /// The info-hash (of v2 torrents truncated to 20 bytes).
        info_hash: InfoHash,
        /// How it was seen.
        source: HashSource<'a>,
    },
    /// A lookup has found peers that it had not found before.
    Peers {
        /// The lookup.
        lookup: LookupId,
        /// What was looked up.
        info_hash: InfoHash,
        /// The node that named them.
        from: SocketAddr,
        /// At least one peer.
        peers: &'a [Peer],
    },
    /// A lookup has ended; its id means nothing any more.
    LookupDone(LookupReport),
    /// A visit to a node has ended.
    Visit(VisitRecord),
    /// Enough independent nodes agree on a new external address of ours: the ids of the nodes behind the ports of the local
    /// one should follow it (BEP 42).
    ExternalAddress {
        /// As in [`Config::ports`](crate::Config::ports).
        local: IpAddr,
        /// As others see it.
        external: IpAddr,
    },
    /// Something else is thought of whether a port can be reached from outside (only with
    /// [`ReadOnly::Auto`](crate::ReadOnly::Auto)).
    Reachability {
        /// The port.
        port: PortIndex,
        /// What.
        state: Reachability,
    },
    /// The watchdog has found the engine cut off, or captured by nodes that lead nowhere: it starts
    /// again from the bootstrap addresses. Persisted nodes should be handed over once more.
    Reseeded,
}

/// How an info-hash was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashSource<'a> {
    /// In an answer to sample_infohashes (BEP 51).
    Sampled {
        /// The node that answered: it stores peers of the hash.
        by: CompactNode,
    },
    /// In a get_peers query that we received.
    GetPeers {
        /// Who asked.
        from: SocketAddr,
    },
    /// In an announce_peer query with a token that we had given out.
    Announced {
        /// The node that announced.
        from: SocketAddr,
        /// The peer that it announced: it can be asked for the metadata at once.
        peer: SocketAddr,
        /// BEP 33: it has the whole torrent.
        seed: bool,
        /// `n`: a title that somebody claims, untrusted bytes.
        name: Option<&'a [u8]>,
    },
}

/// A peer of a torrent, as a node named it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Its address.
    pub addr: SocketAddr,
    /// The same with the port's bytes swapped, when the node that named it is known to swap them
    /// (rTorrent 0.9.8): to be tried when `addr` fails.
    pub alternative: Option<SocketAddr>,
}

impl Peer {
    pub(crate) fn new(addr: SocketAddr, swaps_ports: bool) -> Peer {
        let swapped = SocketAddr::new(addr.ip(), addr.port().swap_bytes());
        Peer { addr, alternative: (swaps_ports && swapped.port() != addr.port()).then_some(swapped) }
    }
}

/// How a lookup went.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LookupReport {
    /// The lookup.
    pub lookup: LookupId,
    /// What was looked up.
    pub info_hash: InfoHash,
    /// Why it ended.
    pub outcome: LookupOutcome,
    /// Distinct peers found.
    pub peers: u32,
    /// Queries sent.
    pub asked: u32,
    /// Nodes that answered.
    pub answered: u32,
    /// How many take part in the torrent (BEP 33), if a node has told that was asked. A lookup for peers asks late and not
    /// everybody, so what it has is never [`whole`](Scrape::whole).
    pub scrape: Option<Scrape>,
    /// When it left the waiting queue.
    pub started: Duration,
    /// When it ended.
    pub ended: Duration,
}

/// Why a lookup ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LookupOutcome {
    /// A node that had sampled the hash named peers: one packet was enough.
    Hinted,
    /// The closest nodes have all answered.
    Converged,
    /// More peers were found than a fetch can use.
    Enough,
    /// Nobody was left to ask before the closest nodes had answered.
    Exhausted,
    /// It took as many queries as a lookup may take.
    Bounded,
    /// It took as long as a lookup may take, mostly waiting for the budgets of the nodes to ask: what it found says little.
    TimedOut,
}

/// How urgent a lookup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// One of the backlog.
    Normal,
    /// A person waits for it: first in the queue.
    User,
}

/// No room for another lookup: neither in flight nor in the waiting queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("as many lookups are waiting as may wait")]
pub struct Busy;

/// Whether a node answers sample_infohashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Support {
    /// Not asked yet, or not asked since its client changed.
    #[default]
    Unknown,
    /// It has answered with samples.
    Yes,
    /// It has refused, or stayed silent while it answered other queries.
    No,
}

/// One visit: the series of queries by which the sampler checks a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VisitRecord {
    /// The node's id: the one it answered with, else the one we were told.
    pub id: NodeId,
    /// Its address.
    pub addr: SocketAddr,
    /// When the first query of the visit was sent.
    pub started: Duration,
    /// When the visit ended.
    pub ended: Duration,
    /// How it ended.
    pub outcome: VisitOutcome,
    /// Queries sent.
    pub queries: u8,
    /// Whether the node had never answered before.
    pub first: bool,
    /// Round trip of the last answered query.
    pub rtt: Option<Duration>,
    /// `v` of its messages.
    pub version: Option<ClientVersion>,
    /// What is known of its BEP 51 support after the visit.
    pub support: Support,
    /// Info-hashes it says to store (BEP 51 `num`), as last told.
    pub num: Option<u32>,
    /// Seconds it asks to be left alone (BEP 51 `interval`), as last told.
    pub interval: Option<u32>,
    /// Samples it returned in this visit.
    pub samples: u32,
    /// Freshness after the visit (see [`Decay`](crate::freshness::Decay)).
    pub freshness: u32,
    /// Whether the node was dropped from the table, its freshness being used up.
    pub removed: bool,
    /// When it is due again; `None` when removed.
    pub due: Option<Duration>,
    /// The node that told us of it, while that one is known itself.
    pub told_by: Option<SocketAddr>,
    /// Nodes new to us that it named in this visit.
    pub told_us: u32,
}

/// How a visit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VisitOutcome {
    /// The node answered.
    Replied,
    /// No query of the visit was answered.
    TimedOut,
    /// It answered only with errors: alive, but of no use.
    Error,
    /// It answered with another id than it was known by, and was given up.
    IdChanged,
}

/// A node remembered from an earlier run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownNode {
    /// Its id.
    pub id: NodeId,
    /// Its address.
    pub addr: SocketAddr,
    /// Its freshness; 0 when it has never answered.
    pub freshness: u32,
    /// Visits in a row that it did not answer.
    pub missed: u8,
    /// BEP 51 support, as far as known.
    pub support: Support,
    /// `v` of its messages.
    pub version: Option<ClientVersion>,
    /// BEP 51 `num`, as last told.
    pub num: Option<u32>,
    /// BEP 51 `interval` in seconds, as last told.
    pub interval: Option<u32>,
    /// How long ago it was last sampled: within its interval it is not sampled again.
    pub sampled_ago: Option<Duration>,
}

/// How far a sweep over all known nodes has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SweepProgress {
    /// Nodes that were visited at least once since the start, those removed included.
    pub visited: u64,
    /// Known nodes that have not been visited yet.
    pub waiting: u64,
    /// Visits that have begun and not ended.
    pub in_flight: u64,
    /// The start-up has ended, nothing waits and nothing is in flight: every node that could be
    /// found was visited once.
    pub finished: bool,
}
