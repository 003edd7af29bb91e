//! One hash in flight.

use std::{net::SocketAddr, time::Duration};

use bittorrent::{Candidate, Fetch, Stage, Transport};
use krpc::InfoHash;
use mainline::LookupId;

use crate::db::{Discovery, FetchProgress, Taken};

/// Nodes remembered of a job as knowing its peers: more are not asked how many there are.
const TELLERS_MAX: usize = 4;

/// Peers kept of a job that waits for room.
const NAMED_MAX: usize = 32;

/// A hash in flight: its lookup, its fetch, or both.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) hash: InfoHash,
    pub(super) source: Discovery,
    pub(super) hints: Vec<SocketAddr>,
    /// Nodes that have named peers.
    pub(super) tellers: Vec<SocketAddr>,
    pub(super) lookup: Option<LookupId>,
    pub(super) started: Duration,
    /// Its lookup has named a peer.
    pub(super) is_named: bool,
    /// Peers that wait for the fetch to begin, with the transport to try first.
    pub(super) named: Vec<(Candidate, Option<Transport>)>,
    /// Begins when a peer is known and there is room: its time does not run before.
    pub(super) fetch: Option<Fetch>,
    /// The fetch waits for a connect.
    pub(super) waits: bool,
    /// Peers that were not taken since they rest or are banned.
    pub(super) rested: u32,
}

impl Job {
    pub(super) fn new(taken: Taken, lookup: LookupId, now: Duration) -> Self {
        Self {
            hash: taken.info_hash,
            source: taken.source,
            hints: taken.hints,
            tellers: Vec::new(),
            lookup: Some(lookup),
            started: now,
            is_named: false,
            named: Vec::new(),
            fetch: None,
            waits: false,
            rested: 0,
        }
    }

    /// A node has named peers.
    pub(super) fn told_by(&mut self, node: SocketAddr) {
        if self.tellers.len() < TELLERS_MAX && !self.tellers.contains(&node) {
            self.tellers.push(node);
        }
    }

    /// Keeps a peer until the fetch begins; whether it is the first.
    pub(super) fn keep(&mut self, candidate: Candidate, hint: Option<Transport>) -> bool {
        let known = self.named.iter().any(|(named, _)| named.addr == candidate.addr);
        if known || self.named.len() >= NAMED_MAX {
            return false;
        }
        self.named.push((candidate, hint));
        self.named.len() == 1
    }

    /// Somebody waits for it.
    pub(super) fn is_urgent(&self) -> bool {
        self.source == Discovery::Requested
    }

    /// How far it is, for whoever waits for it.
    pub(super) fn progress(&self) -> FetchProgress {
        let looking = self.lookup.is_some();
        let Some(fetch) = &self.fetch else {
            return FetchProgress { peers: self.named.len() as u32, looking, ..FetchProgress::default() };
        };
        let counters = fetch.counters();
        let mut transports: Vec<String> = fetch
            .connections()
            .filter(|(_, stage)| *stage > Stage::Connect)
            .map(|(transport, _)| transport.label().to_owned())
            .collect();
        transports.sort_unstable();
        transports.dedup();
        FetchProgress {
            peers: counters.candidates,
            connects: counters.connects,
            transports,
            bytes: fetch.received_bytes(),
            pieces: counters.pieces,
            looking,
        }
    }
}
