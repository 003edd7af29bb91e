//! One visit to a node: is it alive, what does it store, whom does it know?
//!
//! A node of which we do not know whether it supports BEP 51 is asked find_node first: a dead contact then
//! costs one packet and not two, and silence on the sampling that follows is silence of a node that lives. A node
//! known to support it is sampled first. Either way a live node gets one sampling, with its own id as
//! target (nodes know their neighbourhood best: newcomers show up), and one find_node at a random
//! level of its routing table (the far space).

use std::time::Duration;

use krpc::NodeId;
use rand::{Rng, RngExt};

use crate::event::{Support, VisitOutcome};
use crate::node_table::Node;
use crate::odds::Odds;

/// A visit in flight.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) started: Duration,
    /// The node had never answered before.
    pub(crate) first: bool,
    /// No visit of it had ended before.
    pub(crate) sweeping: bool,
    pub(crate) queries: u8,
    pub(crate) rtt: Option<Duration>,
    pub(crate) samples: u32,
    pub(crate) told_us: u32,
    find: Query,
    sample: Query,
    /// Queries without an answer while nothing shows that the node is alive.
    misses: u8,
    sample_missed: bool,
    replied: bool,
    refused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Query {
    NotWanted,
    Wanted,
    Asked,
    Over,
}

/// What comes next in a visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VisitStep {
    /// find_node.
    Find,
    /// sample_infohashes.
    Sample,
    /// A query is in flight.
    Wait,
    /// It is over.
    End(VisitOutcome),
}

impl Visit {
    /// A visit to a node: to sample it, to see whether it is there and whom it knows, or both.
    pub(crate) fn new(now: Duration, node: &Node, sample: bool, find: bool) -> Visit {
        let wanted = |wanted| if wanted { Query::Wanted } else { Query::NotWanted };
        Visit {
            started: now,
            first: node.freshness == 0,
            sweeping: !node.visited,
            queries: 0,
            rtt: None,
            samples: 0,
            told_us: 0,
            find: wanted(find || !sample),
            sample: wanted(sample),
            misses: 0,
            sample_missed: false,
            replied: false,
            refused: false,
        }
    }

    pub(crate) fn step(&self, node: &Node, odds: &Odds) -> VisitStep {
        if self.find == Query::Asked || self.sample == Query::Asked {
            return VisitStep::Wait;
        }
        let alive = self.replied || self.refused;
        if self.sample == Query::Wanted && (alive || node.support == Support::Yes) {
            return VisitStep::Sample;
        }
        if self.find == Query::Wanted {
            let worth =
                if alive { self.misses == 0 } else { odds.alive(!self.first, self.misses) >= RETRY_WORTH };
            if worth && self.queries < QUERIES_MAX {
                return VisitStep::Find;
            }
        }
        VisitStep::End(match (self.replied, self.refused) {
            (true, _) => VisitOutcome::Replied,
            (false, true) => VisitOutcome::Error,
            (false, false) => VisitOutcome::TimedOut,
        })
    }

    pub(crate) fn asked_find(&mut self) {
        self.queries += 1;
        self.find = Query::Asked;
    }

    pub(crate) fn asked_sample(&mut self) {
        self.queries += 1;
        self.sample = Query::Asked;
    }

    pub(crate) fn found(&mut self, rtt: Duration, told_us: u32) {
        self.find = Query::Over;
        self.heard(rtt, told_us);
    }

    pub(crate) fn sampled(&mut self, rtt: Duration, samples: u32, told_us: u32) {
        self.sample = Query::Over;
        self.samples += samples;
        self.heard(rtt, told_us);
    }

    /// It would be answered by silence.
    pub(crate) fn skipped_sample(&mut self) {
        self.sample = Query::Over;
    }

    /// The node has answered the query with an error.
    pub(crate) fn refused_find(&mut self) {
        self.find = Query::Over;
        self.refused = true;
    }

    /// The node has answered the sampling with an error: it is alive.
    pub(crate) fn refused_sample(&mut self) {
        self.sample = Query::Over;
        self.refused = true;
    }

    pub(crate) fn missed_find(&mut self) {
        self.find = Query::Wanted;
        self.misses = self.misses.saturating_add(1);
    }

    /// The sampling was not answered. It is not repeated in this visit: the query may have arrived, and a
    /// node is not to be sampled twice within its interval. Whether the node lives, find_node shows.
    pub(crate) fn missed_sample(&mut self) {
        self.sample = Query::Over;
        self.sample_missed = true;
        if !self.replied {
            self.find = Query::Wanted;
            self.misses = self.misses.saturating_add(1);
        }
    }

    /// Something else has shown that the node is alive.
    pub(crate) fn seen_alive(&mut self) {
        self.replied = true;
    }

    /// Whether the node was sampled in vain.
    pub(crate) fn sampling_missed(&self) -> bool {
        self.sample_missed
    }

    fn heard(&mut self, rtt: Duration, told_us: u32) {
        self.replied = true;
        self.rtt = Some(rtt);
        self.told_us += told_us;
    }
}

/// Target of a sampling: the node's own id with the low bits drawn anew.
pub(crate) fn own_target(id: &NodeId, rng: &mut impl Rng) -> NodeId {
    id.with_random_suffix(OWN_BITS, rng)
}

/// Target of a find_node: a random bucket of the node's routing table, in a network in which `nodes` are known.
pub(crate) fn level_target(id: &NodeId, nodes: usize, rng: &mut impl Rng) -> NodeId {
    let depth = usize::BITS - nodes.max(2).leading_zeros();
    let level = rng.random_range(0..depth.min(OWN_BITS));
    let mut bytes = *id.as_bytes();
    bytes[level as usize / 8] ^= 0x80 >> (level % 8);
    NodeId::from_bytes(bytes).with_random_suffix(level + 1, rng)
}

/// No network has so many nodes that two share this many bits by chance.
const OWN_BITS: u32 = 120;

/// A silent node is asked again while it is at least this likely that it lives. At 3 % a line without loss spends one
/// packet on a dead contact, one with 20 % loss up to five.
const RETRY_WORTH: f64 = 0.03;

/// Queries of one visit, whatever the odds say.
const QUERIES_MAX: u8 = 8;
