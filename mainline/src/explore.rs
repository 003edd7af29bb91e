//! Looking for places of the keyspace in which we know too few: one packet each, instead of a lookup.
//!
//! Visits ask each node for its own neighbourhood, so they find everybody in a neighbourhood in which they know
//! anybody. But neighbourhoods keep to themselves: of some dozen nodes that are closest to each other none names another
//! one. Those that nobody has led us into show as holes, as the density of the network is known from lookups: where the
//! next node that we know is farther away than several nodes should be, the closest one is asked who is there.

use std::time::Duration;

use krpc::{Distance, Method, NodeId};
use rand::RngExt;

use crate::dht::Dht;
use crate::output::Output;
use crate::purpose::Purpose;
use crate::virtual_node::Family;
use crate::visit_queue::Worth;

/// Where the search for holes is.
#[derive(Debug)]
pub(crate) struct Explorer {
    /// Points looked at so far: the next one follows from it.
    point: u64,
    /// Points of this round that were looked at.
    looked_at: u64,
    /// When this round began, or begins.
    round_begins: Duration,
    /// Live nodes known when it began.
    live_before: usize,
    /// Points that may still be looked at in this turn.
    points_left: u32,
    in_flight: u32,
    /// New contacts that an answer brings.
    named: f64,
    settled: bool,
}

impl Explorer {
    pub(crate) fn new() -> Explorer {
        Explorer {
            point: 0,
            looked_at: 0,
            round_begins: Duration::ZERO,
            live_before: 0,
            points_left: 0,
            in_flight: 0,
            named: NAMED_GUESS,
            settled: false,
        }
    }

    /// Whether the last round has brought next to nothing.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled && self.in_flight == 0
    }

    /// New contacts for each packet, the ones that are needed to visit them included.
    fn yields(&self) -> f64 {
        self.named / (1.0 + self.named)
    }

    /// The next point of this turn, which lies in the widest gap that the points before have left (golden ratio).
    fn next_point(&mut self) -> Option<u64> {
        self.points_left = self.points_left.checked_sub(1)?;
        self.point = self.point.wrapping_add(1);
        self.looked_at += 1;
        Some(self.point.wrapping_mul(GOLDEN_RATIO))
    }
}

impl Dht {
    /// A new turn begins, and a new round of exploring when it is time.
    pub(crate) fn plan_exploring(&mut self, now: Duration) {
        for family in [Family::V4, Family::V6] {
            let live = self.live_of(family);
            // Before the first lookup has ended nothing is known of the density.
            if live == 0 || self.populations[family as usize].estimate() == 0 && !self.has_joined() {
                continue;
            }
            let round = (self.expected_nodes(family) / HOLE).max(ROUND_POINTS_MIN) as u64;
            let explorer = &mut self.explorers[family as usize];
            explorer.points_left = POINTS_PER_TURN;
            if explorer.looked_at >= round && now >= explorer.round_begins + ROUND_MIN {
                let growth = live.saturating_sub(explorer.live_before) as f64;
                // Liars always name somebody, and retries find nodes that were no holes: so both have to go on.
                let found = growth >= (live as f64 * GROWTH_WORTH).max(1.0);
                explorer.settled = !found || explorer.named < NAMED_WORTH;
                explorer.round_begins = if explorer.settled { now + PAUSE } else { now };
                explorer.live_before = live;
                explorer.looked_at = 0;
            }
            if now < explorer.round_begins || explorer.looked_at >= round {
                explorer.points_left = 0;
            }
        }
    }

    /// Looks for a hole and asks for who is there, if that promises more than all visits. Returns whether a packet was sent.
    pub(crate) fn explore(&mut self, now: Duration, out: &mut Output) -> bool {
        [Family::V4, Family::V6].into_iter().any(|family| self.explore_family(now, family, out))
    }

    fn explore_family(&mut self, now: Duration, family: Family, out: &mut Output) -> bool {
        let explorer = &self.explorers[family as usize];
        if explorer.points_left == 0 || explorer.in_flight >= IN_FLIGHT_MAX {
            return false;
        }
        let worth = Worth::new(self.fresh_yield() * explorer.yields(), true);
        if self.queue.best().is_some_and(|best| !worth.beats(best)) {
            return false;
        }
        let nodes = self.expected_nodes(family);
        while let Some(point) = self.explorers[family as usize].next_point() {
            let mut bytes: [u8; 20] = self.rng.random();
            bytes[..8].copy_from_slice(&point.to_be_bytes());
            let point = NodeId::from_bytes(bytes);
            if self.is_hole(family, &point, nodes) && self.ask_for(now, family, &point, out) {
                return true;
            }
        }
        false
    }

    /// An answer has come, with so many new contacts.
    pub(crate) fn explored(&mut self, family: Family, named: u32) {
        let explorer = &mut self.explorers[family as usize];
        explorer.in_flight = explorer.in_flight.saturating_sub(1);
        explorer.named += (f64::from(named) - explorer.named) / NAMED_MEMORY;
    }

    /// No answer has come.
    pub(crate) fn explored_in_vain(&mut self, family: Family) {
        let explorer = &mut self.explorers[family as usize];
        explorer.in_flight = explorer.in_flight.saturating_sub(1);
    }

    /// Whether no hole is left that could be filled, or there is nobody to ask.
    pub(crate) fn has_explored(&self) -> bool {
        let done = |family| self.explorers[family as usize].is_settled() || self.live_of(family) == 0;
        done(Family::V4) && done(Family::V6)
    }

    /// Live nodes that there should be, as far as the table has room for them. Lookups count those that have answered.
    fn expected_nodes(&self, family: Family) -> f64 {
        let counted = self.populations[family as usize].estimate() as f64 / (1.0 - self.odds.loss());
        counted.min(self.nodes_max as f64 / 2.0).max(self.live_of(family) as f64)
    }

    fn live_of(&self, family: Family) -> usize {
        let tally = self.table.tally();
        match family {
            Family::V4 => tally.live_v4,
            Family::V6 => tally.live_v6,
        }
    }

    /// Whether several nodes should be closer to a point than the closest that is known, and may still be alive.
    fn is_hole(&mut self, family: Family, point: &NodeId, nodes: f64) -> bool {
        let mut closest = std::mem::take(&mut self.closest);
        self.table.closest(family, point, 1, |node| node.live || !node.visited, &mut closest);
        let hole = closest.first().is_some_and(|(distance, _)| nodes * share(distance) >= HOLE);
        self.closest = closest;
        hole
    }

    /// Asks one of the live nodes closest to a point who is there. Returns whether a packet was sent.
    fn ask_for(&mut self, now: Duration, family: Family, point: &NodeId, out: &mut Output) -> bool {
        let mut closest = std::mem::take(&mut self.closest);
        self.table.closest(family, point, ASKABLE, |node| node.live, &mut closest);
        let one = self.rng.random_range(0..ASKABLE).min(closest.len().saturating_sub(1));
        let asked =
            closest.get(one).and_then(|(_, at)| self.table.get(*at)).map(|node| (node.id, node.addr()));
        self.closest = closest;
        let Some((id, addr)) = asked else { return false };
        let method = Method::FindNode { target: *point };
        let sent = self.ask(now, addr, Some(&id), method, Purpose::Explore(family), out).is_ok();
        self.explorers[family as usize].in_flight += u32::from(sent);
        sent
    }
}

/// The share of the keyspace that is closer to a point than this.
fn share(distance: &Distance) -> f64 {
    let [a, b, c, d, e, f, g, h, ..] = *distance.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h]) as f64 / 2.0_f64.powi(64)
}

/// So many nodes are expected where none is known: by chance that happens at one point in thirty.
const HOLE: f64 = 3.5;

/// 2^64 divided by the golden ratio.
const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

/// One of so many closest nodes is asked: not the same one again when it could not help.
const ASKABLE: usize = 3;

/// Points looked at in one turn: some microseconds each.
const POINTS_PER_TURN: u32 = 32;

/// Points of a round in the smallest of networks.
const ROUND_POINTS_MIN: f64 = 16.0;

/// What one round has found is to be visited before the next one ends.
const ROUND_MIN: Duration = Duration::from_secs(1);

/// Between rounds when the last one has found next to nothing.
const PAUSE: Duration = Duration::from_secs(300);

/// A round with less growth of live nodes than this share of them has found next to nothing.
const GROWTH_WORTH: f64 = 0.002;

/// Queries in flight: what they find is asked first, and may fill other holes.
const IN_FLIGHT_MAX: u32 = 8;

/// New contacts of an answer, before one has come: of eight some are known.
const NAMED_GUESS: f64 = 4.0;

/// With fewer new contacts for an answer a round was the last for a while.
const NAMED_WORTH: f64 = 0.5;

/// Answers after which older ones have faded.
const NAMED_MEMORY: f64 = 32.0;
