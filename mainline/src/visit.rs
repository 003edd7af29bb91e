//! One visit to a node: is it alive, what does it store, whom does it know?
//!
//! A visit opens with one query whose target is the node's own id, as nodes know their neighbourhood best: newcomers show
//! up there and nowhere else. A sampling that is answered tells all three things at once, and the visit is over after one
//! packet. Where few answer samplings the opening is a find_node, and the sampling follows when
//! the node's client is known ([`Odds::opening`](crate::odds::Odds::opening)).
//!
//! Silence on the opening ends nothing: the node rests, and is visited again when nothing else promises more.

use std::time::Duration;

use krpc::NodeId;
use rand::{Rng, RngExt};

use crate::event::VisitOutcome;
use crate::node_table::Node;
use crate::odds::{Evidence, Silence};

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
    /// What spoke for the node when the visit began.
    pub(crate) evidence: Evidence,
    silence: Silence,
    opening: Opening,
    find: Query,
    sample: Query,
    sample_missed: bool,
    replied: bool,
    refused: bool,
    /// It was not known to be there when the visit began.
    newly: bool,
    /// The find_node is for the far space.
    far: bool,
}

/// The first query of a visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    /// sample_infohashes.
    Sample,
    /// find_node, and then a sampling if that is due.
    Find { sample: bool },
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
    /// Nothing was heard.
    Silence,
    /// It is over.
    End(VisitOutcome),
}

impl Visit {
    /// A visit to a node.
    pub(crate) fn new(now: Duration, node: &Node, opening: Opening, evidence: Evidence) -> Visit {
        let (find, sample) = match opening {
            Opening::Sample => (Query::NotWanted, Query::Wanted),
            Opening::Find { sample: true } => (Query::Wanted, Query::Wanted),
            Opening::Find { sample: false } => (Query::Wanted, Query::NotWanted),
        };
        Visit {
            started: now,
            first: node.freshness == 0,
            sweeping: !node.visited,
            queries: node.silence.queries(),
            rtt: None,
            samples: 0,
            told_us: 0,
            evidence,
            silence: node.silence,
            opening,
            find,
            sample,
            sample_missed: node.silence.sampling,
            replied: false,
            refused: false,
            newly: !node.visited || !node.live,
            far: false,
        }
    }

    pub(crate) fn step(&self) -> VisitStep {
        if self.find == Query::Asked || self.sample == Query::Asked {
            return VisitStep::Wait;
        }
        if !self.replied && !self.refused {
            return match self.opening {
                Opening::Sample if self.sample == Query::Wanted => VisitStep::Sample,
                Opening::Find { .. } if self.find == Query::Wanted => VisitStep::Find,
                _ => VisitStep::Silence,
            };
        }
        match (self.find, self.sample) {
            (_, Query::Wanted) => VisitStep::Sample,
            (Query::Wanted, _) if !self.replied || self.far => VisitStep::Find,
            _ if self.replied => VisitStep::End(VisitOutcome::Replied),
            _ => VisitStep::End(VisitOutcome::Error),
        }
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

    /// The node has answered the sampling with an error: it is alive, and whom it knows a find_node shows.
    pub(crate) fn refused_sample(&mut self) {
        self.sample = Query::Over;
        self.refused = true;
        if self.find == Query::NotWanted {
            self.find = Query::Wanted;
        }
    }

    pub(crate) fn missed_find(&mut self) {
        self.find = Query::Over;
    }

    /// The sampling was not answered. It is not repeated in this visit: the query may have arrived, and a
    /// node is not to be sampled twice within its interval. Whether the node lives, find_node shows.
    pub(crate) fn missed_sample(&mut self) {
        self.sample = Query::Over;
        self.sample_missed = true;
    }

    /// Something else has shown that the node is alive.
    pub(crate) fn seen_alive(&mut self) {
        self.replied = true;
    }

    /// Whether the node was sampled in vain.
    pub(crate) fn sampling_missed(&self) -> bool {
        self.sample_missed
    }

    /// Whether this is the first that is heard of a node that was not known to be there.
    pub(crate) fn is_news(&self) -> bool {
        self.newly && !self.was_heard()
    }

    /// Has the node asked whom it knows far away, before the visit ends.
    pub(crate) fn look_far(&mut self) {
        self.find = Query::Wanted;
        self.far = true;
    }

    /// Whether the find_node is for the far space.
    pub(crate) fn looks_far(&self) -> bool {
        self.far
    }

    /// Whether anything was heard in the visit.
    pub(crate) fn was_heard(&self) -> bool {
        self.replied || self.refused
    }

    /// Whether what comes of a sampling tells of the share of those who answer samplings. Among nodes that were never heard
    /// and are sampled first, those who answer show at once and the others late or never, and it would seem
    /// that most answer.
    pub(crate) fn is_fair(&self) -> bool {
        !self.first || self.opening != Opening::Sample && self.silence == Silence::default()
    }

    /// The first query of the visit.
    pub(crate) fn opening(&self) -> Opening {
        self.opening
    }

    fn heard(&mut self, rtt: Duration, told_us: u32) {
        self.replied = true;
        self.rtt = Some(rtt);
        self.told_us += told_us;
    }
}

/// Target of an opening: the node's own id with the low bits drawn anew.
pub(crate) fn own_target(id: &NodeId, rng: &mut impl Rng) -> NodeId {
    id.with_random_suffix(OWN_BITS, rng)
}

/// Target of a look at the far space: a random bucket of the node's routing table, in a network of so many nodes.
pub(crate) fn level_target(id: &NodeId, nodes: usize, rng: &mut impl Rng) -> NodeId {
    let depth = usize::BITS - nodes.max(2).leading_zeros();
    let level = rng.random_range(0..depth.min(OWN_BITS));
    let mut bytes = *id.as_bytes();
    bytes[level as usize / 8] ^= 0x80 >> (level % 8);
    NodeId::from_bytes(bytes).with_random_suffix(level + 1, rng)
}

/// No network has so many nodes that two share this many bits by chance.
const OWN_BITS: u32 = 120;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node_table::{Added, NodeTable};
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    const RTT: Duration = Duration::from_millis(50);

    fn visit(opening: Opening) -> Visit {
        let mut table = NodeTable::new(1, 1, crate::keyed_hash::HashKey::derive(&[1; 32], "nodes"));
        let Added::New(at) = table.add(NodeId::from_bytes([1; 20]), ([192, 0, 2, 1], 1).into(), None) else {
            panic!("the table is empty")
        };
        let node = table.get(at).unwrap();
        Visit::new(RTT, node, opening, Evidence::new(node, None))
    }

    #[test]
    fn a_sampling_that_is_answered_is_all_that_a_visit_needs() {
        let mut visit = visit(Opening::Sample);
        assert_eq!(visit.step(), VisitStep::Sample);
        visit.asked_sample();
        assert_eq!(visit.step(), VisitStep::Wait);
        visit.sampled(RTT, 20, 4);
        assert_eq!(visit.step(), VisitStep::End(VisitOutcome::Replied));
        assert_eq!((visit.queries, visit.samples, visit.told_us), (1, 20, 4));
    }

    #[test]
    fn a_find_node_may_be_followed_by_a_sampling() {
        let mut visit = visit(Opening::Find { sample: true });
        assert_eq!(visit.step(), VisitStep::Find);
        visit.asked_find();
        visit.found(RTT, 3);
        assert_eq!(visit.step(), VisitStep::Sample);
        visit.asked_sample();
        visit.missed_sample();
        // The node lives, whether it has heard the sampling or not.
        assert_eq!(visit.step(), VisitStep::End(VisitOutcome::Replied));
        assert!(visit.sampling_missed());
    }

    #[test]
    fn silence_on_the_opening_is_neither_life_nor_death() {
        let mut sampled = visit(Opening::Sample);
        sampled.asked_sample();
        sampled.missed_sample();
        assert_eq!(sampled.step(), VisitStep::Silence);
        let mut found = visit(Opening::Find { sample: true });
        found.asked_find();
        found.missed_find();
        assert_eq!(found.step(), VisitStep::Silence);
        found.seen_alive();
        assert_eq!(found.step(), VisitStep::Sample);
    }

    #[test]
    fn who_refuses_a_sampling_is_asked_for_its_neighbours() {
        let mut visit = visit(Opening::Sample);
        visit.asked_sample();
        visit.refused_sample();
        assert_eq!(visit.step(), VisitStep::Find);
        visit.asked_find();
        visit.found(RTT, 8);
        assert_eq!(visit.step(), VisitStep::End(VisitOutcome::Replied));
    }

    #[test]
    fn an_error_shows_life_but_is_no_answer() {
        let mut visit = visit(Opening::Find { sample: false });
        visit.asked_find();
        visit.refused_find();
        assert_eq!(visit.step(), VisitStep::End(VisitOutcome::Error));
    }

    #[test]
    fn a_node_that_is_news_may_be_asked_for_more_and_need_not_answer_that() {
        let mut visit = visit(Opening::Sample);
        visit.asked_sample();
        assert!(visit.is_news());
        visit.sampled(RTT, 20, 4);
        assert!(!visit.is_news() && !visit.looks_far());
        visit.look_far();
        assert_eq!(visit.step(), VisitStep::Find);
        visit.asked_find();
        visit.missed_find();
        assert_eq!(visit.step(), VisitStep::End(VisitOutcome::Replied));
    }

    #[test]
    fn targets_lie_next_to_the_node_or_at_all_levels_of_its_routing_table() {
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
