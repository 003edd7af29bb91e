//! When which node is visited: a queue by due time, and the nodes that are due, by what they promise.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use crate::event::Support;
use crate::node_table::{Node, NodeRef};

/// What a visit promises, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Worth {
    /// It stores more info-hashes than it has told us.
    Rich,
    /// It was never visited: it may be anything.
    Fresh,
    /// It answers samples, but tells little that is new.
    Steady,
    /// A check whether it is there still, and a source of contacts.
    Check,
}

impl Worth {
    pub(crate) fn of(node: &Node, now: Duration) -> Worth {
        match node.support {
            Support::Yes if now < node.sample_due => Worth::Check,
            Support::Yes if node.expected_news() >= 1.0 => Worth::Rich,
            Support::Yes => Worth::Steady,
            _ if !node.visited => Worth::Fresh,
            _ => Worth::Check,
        }
    }
}

/// Every node of the table that is not being visited has one entry here.
#[derive(Debug, Default)]
pub(crate) struct VisitQueue {
    due: BinaryHeap<Reverse<(Duration, NodeRef)>>,
    ready: [VecDeque<NodeRef>; WORTHS],
    turn: u32,
}

impl VisitQueue {
    /// Puts off a node until it is due.
    pub(crate) fn push_at(&mut self, due: Duration, node: NodeRef) {
        self.due.push(Reverse((due, node)));
    }

    /// Makes a node due at once.
    pub(crate) fn push_ready(&mut self, worth: Worth, node: NodeRef) {
        self.ready[worth as usize].push_back(node);
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
    /// `allowed` says which kinds may be visited now.
    pub(crate) fn pop_ready(&mut self, allowed: impl Fn(Worth) -> bool) -> Option<(Worth, NodeRef)> {
        self.turn = self.turn.wrapping_add(1);
        let mut order = ALL;
        if self.turn.is_multiple_of(PATIENCE) {
            order.reverse();
        }
        for worth in order.into_iter().filter(|worth| allowed(*worth)) {
            if let Some(node) = self.ready[worth as usize].pop_front() {
                return Some((worth, node));
            }
        }
        None
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

const ALL: [Worth; WORTHS] = [Worth::Rich, Worth::Fresh, Worth::Steady, Worth::Check];

const WORTHS: usize = 4;

/// One visit in so many goes to the least promising node.
const PATIENCE: u32 = 8;

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
    fn the_most_promising_come_first_and_the_least_are_not_forgotten() {
        let nodes = nodes(9);
        let mut queue = VisitQueue::default();
        queue.push_ready(Worth::Check, nodes[0]);
        for node in &nodes[1..] {
            queue.push_ready(Worth::Rich, *node);
        }
        let order: Vec<Worth> = (0..9).map(|_| queue.pop_ready(|_| true).unwrap().0).collect();
        assert_eq!(order.iter().position(|worth| *worth == Worth::Check), Some(7));
        assert!(queue.pop_ready(|_| true).is_none());
    }

    #[test]
    fn a_kind_that_is_not_allowed_stays() {
        let nodes = nodes(2);
        let mut queue = VisitQueue::default();
        queue.push_ready(Worth::Fresh, nodes[0]);
        queue.push_ready(Worth::Check, nodes[1]);
        assert_eq!(queue.pop_ready(|worth| worth != Worth::Fresh), Some((Worth::Check, nodes[1])));
        assert_eq!(queue.pop_ready(|worth| worth != Worth::Fresh), None);
        assert_eq!(queue.ready(), 1);
    }
}
