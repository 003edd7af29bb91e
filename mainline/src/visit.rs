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

    pub(crate) fn step(&self, node: &Node, odds: &Odds, retry_worth: f64) -> VisitStep {
        if self.find == Query::Asked || self.sample == Query::Asked {
            return VisitStep::Wait;
        }
        let alive = self.replied || self.refused;
        if self.sample == Query::Wanted && (alive || node.support == Support::Yes) {
            return VisitStep::Sample;
        }
        if self.find == Query::Wanted {
            // The first query is always sent: when others name too many that are not there, the odds would be never tried
            // again.
            let worth = self.misses == 0 || !alive && odds.alive(!self.first, self.misses) >= retry_worth;
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

/// Queries of one visit, whatever the odds say.
const QUERIES_MAX: u8 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node_table::{Added, NodeTable};
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    const RTT: Duration = Duration::from_millis(50);

    fn node(support: Support) -> Node {
        let mut table = NodeTable::new(1, 1, crate::keyed_hash::HashKey::derive(&[1; 32], "nodes"));
        let Added::New(at) = table.add(NodeId::from_bytes([1; 20]), ([192, 0, 2, 1], 1).into(), None) else {
            panic!("the table is empty")
        };
        table.update(at, |node| node.support = support);
        table.get(at).unwrap().clone()
    }

    fn step(visit: &Visit, node: &Node) -> VisitStep {
        visit.step(node, &Odds::new(), 0.1)
    }

    #[test]
    fn an_unknown_node_is_asked_for_contacts_first_and_then_for_samples() {
        let node = node(Support::Unknown);
        let mut visit = Visit::new(RTT, &node, true, true);
        assert_eq!(step(&visit, &node), VisitStep::Find);
        visit.asked_find();
        assert_eq!(step(&visit, &node), VisitStep::Wait);
        visit.found(RTT, 3);
        assert_eq!(step(&visit, &node), VisitStep::Sample);
        visit.asked_sample();
        visit.sampled(RTT, 20, 4);
        assert_eq!(step(&visit, &node), VisitStep::End(VisitOutcome::Replied));
        assert_eq!((visit.queries, visit.samples, visit.told_us), (2, 20, 7));
    }

    #[test]
    fn a_node_known_to_support_samples_is_sampled_first() {
        let node = node(Support::Yes);
        let mut visit = Visit::new(RTT, &node, true, true);
        assert_eq!(step(&visit, &node), VisitStep::Sample);
        visit.asked_sample();
        visit.sampled(RTT, 0, 0);
        assert_eq!(step(&visit, &node), VisitStep::Find);
        visit.asked_find();
        visit.missed_find();
        // It has shown that it lives: the find_node is not worth another packet.
        assert_eq!(step(&visit, &node), VisitStep::End(VisitOutcome::Replied));
    }

    #[test]
    fn silence_on_a_sampling_does_not_make_a_node_dead() {
        let node = node(Support::Yes);
        let mut visit = Visit::new(RTT, &node, true, false);
        visit.asked_sample();
        visit.missed_sample();
        assert_eq!(step(&visit, &node), VisitStep::Find);
        visit.asked_find();
        visit.found(RTT, 0);
        assert_eq!(step(&visit, &node), VisitStep::End(VisitOutcome::Replied));
        assert!(visit.sampling_missed());
    }

    #[test]
    fn a_silent_node_is_given_up_after_a_few_queries() {
        let node = node(Support::Unknown);
        let mut visit = Visit::new(RTT, &node, true, true);
        while step(&visit, &node) == VisitStep::Find {
            visit.asked_find();
            visit.missed_find();
        }
        assert_eq!(step(&visit, &node), VisitStep::End(VisitOutcome::TimedOut));
        assert!((2..=3).contains(&visit.queries), "{}", visit.queries);
        let mut stubborn = Visit::new(RTT, &node, true, true);
        while stubborn.step(&node, &Odds::new(), 0.0) == VisitStep::Find {
            stubborn.asked_find();
            stubborn.missed_find();
        }
        assert_eq!(stubborn.queries, QUERIES_MAX);
    }

    #[test]
    fn an_error_shows_life_but_is_no_answer() {
        let node = node(Support::Unknown);
        let mut visit = Visit::new(RTT, &node, false, true);
        visit.asked_find();
        visit.refused_find();
        assert_eq!(step(&visit, &node), VisitStep::End(VisitOutcome::Error));
    }

    #[test]
    fn targets_are_at_all_levels_of_the_nodes_routing_table() {
        let mut rng = StdRng::from_seed([4; 32]);
        let id = NodeId::random(&mut rng);
        assert!(own_target(&id, &mut rng).common_prefix_len(&id) >= OWN_BITS);
        let mut levels = [0; 12];
        for _ in 0..2_400 {
            levels[level_target(&id, 2_050, &mut rng).common_prefix_len(&id) as usize] += 1;
        }
        assert!(levels.iter().all(|count| (130..290).contains(count)), "{levels:?}");
    }
}
