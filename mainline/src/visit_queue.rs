//! When which node is visited: a queue by due time, and the nodes that are due, by what they promise.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use crate::node_table::NodeRef;

/// What a visit promises: new info-hashes for each packet, in steps of a factor of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Worth {
    class: u8,
    /// The node has answered before: it may be visited while no new endpoints may be spoken to.
    pub(crate) known: bool,
}

impl Worth {
    /// Of a visit that is expected to bring `yield_` new info-hashes for each packet.
    pub(crate) fn new(yield_: f64, known: bool) -> Worth {
        let class = (yield_.max(1e-9).log2() + MIDDLE).round().clamp(0.0, (CLASSES - 1) as f64);
        Worth { class: class as u8, known }
    }

    /// Whether it is better than another, leaving aside who is known.
    pub(crate) fn beats(self, other: Worth) -> bool {
        self.class > other.class
    }

    fn place(self) -> usize {
        2 * usize::from(self.class) + usize::from(self.known)
    }
}

/// Every node of the table that is not being visited has one entry here.
#[derive(Debug)]
pub(crate) struct VisitQueue {
    due: BinaryHeap<Reverse<(Duration, NodeRef)>>,
    /// By worth, the known after the others.
    ready: [VecDeque<NodeRef>; 2 * CLASSES],
    turn: u32,
}

impl Default for VisitQueue {
    fn default() -> VisitQueue {
        VisitQueue { due: BinaryHeap::new(), ready: [const { VecDeque::new() }; 2 * CLASSES], turn: 0 }
    }
}

impl VisitQueue {
    /// Puts off a node until it is due.
    pub(crate) fn push_at(&mut self, due: Duration, node: NodeRef) {
        self.due.push(Reverse((due, node)));
    }

    /// Makes a node due at once.
    pub(crate) fn push_ready(&mut self, worth: Worth, node: NodeRef) {
        self.ready[worth.place()].push_back(node);
    }

    /// Has some of the nodes that were put off come due at once. Costs as much as there are nodes.
    pub(crate) fn hurry(&mut self, now: Duration, chosen: impl Fn(NodeRef) -> bool) {
        let due = std::mem::take(&mut self.due).into_vec();
        let hurried = |(due, node)| if chosen(node) { (now.min(due), node) } else { (due, node) };
        self.due = due.into_iter().map(|Reverse(entry)| Reverse(hurried(entry))).collect();
    }

    /// The next node whose time has come, to be handed back by [`push_ready`](Self::push_ready).
    pub(crate) fn pop_due(&mut self, now: Duration) -> Option<NodeRef> {
        let Reverse((due, _)) = self.due.peek()?;
        if *due > now {
            return None;
        }
        self.due.pop().map(|Reverse((_, node))| node)
    }

    /// The most promising node that is due; now and then the least promising one, so that none waits for ever.
    /// With `known_only` nodes that have never answered stay.
    pub(crate) fn pop_ready(&mut self, known_only: bool) -> Option<(Worth, NodeRef)> {
        self.turn = self.turn.wrapping_add(1);
        let allowed = |place: &usize| !known_only || place % 2 == 1;
        let filled = |place: &usize| !self.ready[*place].is_empty();
        let mut places = (0..2 * CLASSES).filter(allowed).filter(filled);
        let place = if self.turn.is_multiple_of(PATIENCE) { places.next() } else { places.next_back() }?;
        let node = self.ready[place].pop_front()?;
        Some((Worth { class: (place / 2) as u8, known: place % 2 == 1 }, node))
    }

    /// What the most promising node that is due promises.
    pub(crate) fn best(&self) -> Option<Worth> {
        let place = (0..2 * CLASSES).rev().find(|place| !self.ready[*place].is_empty())?;
        Some(Worth { class: (place / 2) as u8, known: place % 2 == 1 })
    }

    /// Nodes that are due.
    pub(crate) fn ready(&self) -> usize {
        self.ready.iter().map(VecDeque::len).sum()
    }

    /// Entries in all: at most one for each node, and those of removed nodes.
    pub(crate) fn len(&self) -> usize {
        self.due.len() + self.ready()
    }

    /// Drops the entries of nodes that are gone.
    pub(crate) fn retain(&mut self, keep: impl Fn(NodeRef) -> bool) {
        self.due.retain(|Reverse((_, node))| keep(*node));
        for ready in &mut self.ready {
            ready.retain(|node| keep(*node));
        }
    }
}

/// Steps of a factor of two from 2^-10 to 2^5 info-hashes: no answer brings more than some dozens.
const CLASSES: usize = 16;

/// The class of one info-hash for each packet.
const MIDDLE: f64 = 10.0;

/// One visit in so many goes to the least promising node.
const PATIENCE: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node_table::{Added, NodeTable};
    use krpc::NodeId;

    fn nodes(count: u8) -> Vec<NodeRef> {
        let mut table = NodeTable::new(100, 100, crate::keyed_hash::HashKey::derive(&[1; 32], "nodes"));
        (0..count)
            .map(|n| match table.add(NodeId::from_bytes([n; 20]), ([192, 0, 2, n], 1).into(), None) {
                Added::New(node) => node,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn nodes_come_due_in_order_of_time_and_not_before() {
        let nodes = nodes(3);
        let mut queue = VisitQueue::default();
        queue.push_at(Duration::from_secs(3), nodes[0]);
        queue.push_at(Duration::from_secs(1), nodes[1]);
        queue.push_at(Duration::from_secs(2), nodes[2]);
        assert_eq!(queue.pop_due(Duration::from_millis(999)), None);
        assert_eq!(queue.pop_due(Duration::from_secs(3)), Some(nodes[1]));
        assert_eq!(queue.pop_due(Duration::from_secs(3)), Some(nodes[2]));
        assert_eq!(queue.pop_due(Duration::from_secs(3)), Some(nodes[0]));
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn nodes_that_are_hurried_come_due_at_once_and_once() {
        let nodes = nodes(3);
        let mut queue = VisitQueue::default();
        for (node, due) in nodes.iter().zip([30, 10, 20]) {
            queue.push_at(Duration::from_secs(due), *node);
        }
        queue.hurry(Duration::from_secs(1), |node| node == nodes[0]);
        assert_eq!(queue.pop_due(Duration::from_secs(1)), Some(nodes[0]));
        assert_eq!(queue.pop_due(Duration::from_secs(1)), None);
        assert_eq!(queue.pop_due(Duration::from_secs(30)), Some(nodes[1]));
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn the_most_promising_come_first_and_the_least_are_not_forgotten() {
        let nodes = nodes(40);
        let mut queue = VisitQueue::default();
        queue.push_ready(Worth::new(0.01, true), nodes[0]);
        for node in &nodes[1..] {
            queue.push_ready(Worth::new(8.0, true), *node);
        }
        assert_eq!(queue.best(), Some(Worth::new(8.0, true)));
        let order: Vec<Worth> = (0..40).map(|_| queue.pop_ready(false).unwrap().0).collect();
        let least = order.iter().position(|worth| *worth == Worth::new(0.01, true));
        assert_eq!(least, Some(PATIENCE as usize - 1));
        assert!(queue.pop_ready(false).is_none() && queue.best().is_none());
    }

    #[test]
    fn those_who_promise_about_the_same_come_in_the_order_in_which_they_came() {
        let nodes = nodes(6);
        let mut queue = VisitQueue::default();
        for (node, promise) in nodes.iter().zip([1.0, 1.1, 4.0, 0.2, 1.3, 3.5]) {
            queue.push_ready(Worth::new(promise, false), *node);
        }
        let order: Vec<NodeRef> = (0..6).map(|_| queue.pop_ready(false).unwrap().1).collect();
        assert_eq!(order, [2, 5, 0, 1, 4, 3].map(|n: usize| nodes[n]));
    }

    #[test]
    fn nodes_that_have_never_answered_wait_while_only_known_ones_may_be_visited() {
        let nodes = nodes(2);
        let mut queue = VisitQueue::default();
        queue.push_ready(Worth::new(5.0, false), nodes[0]);
        queue.push_ready(Worth::new(0.1, true), nodes[1]);
        assert_eq!(queue.pop_ready(true), Some((Worth::new(0.1, true), nodes[1])));
        assert_eq!(queue.pop_ready(true), None);
        assert_eq!(queue.ready(), 1);
    }

    #[test]
    fn promises_of_any_size_have_a_class() {
        assert!(Worth::new(1.0, false).beats(Worth::new(0.4, true)));
        assert!(!Worth::new(1.0, false).beats(Worth::new(1.0, true)));
        for promise in [0.0, f64::MIN_POSITIVE, 1e300, f64::INFINITY, -1.0] {
            assert!(Worth::new(promise, false).place() < 2 * CLASSES);
        }
    }
}
