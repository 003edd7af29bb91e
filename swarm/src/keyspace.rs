//! All ids in order, and what is nearest to a point by XOR.
//!
//! A subtree of the keyspace (all ids that share a prefix) is a range of the sorted list, so a search needs the list
//! and nothing else.

use std::ops::{ControlFlow, Range};

use krpc::NodeId;

/// Ids with the number of the node that each belongs to, sorted by id.
#[derive(Debug)]
pub(crate) struct Keyspace {
    sorted: Vec<(NodeId, u32)>,
}

impl Keyspace {
    pub(crate) fn new(ids: impl Iterator<Item = (NodeId, u32)>) -> Self {
        let mut sorted: Vec<_> = ids.collect();
        sorted.sort_unstable();
        Self { sorted }
    }

    /// Takes up an id; nothing changes when it is there already.
    pub(crate) fn insert(&mut self, id: NodeId, node: u32) {
        if let Err(place) = self.sorted.binary_search(&(id, node)) {
            self.sorted.insert(place, (id, node));
        }
    }

    /// Forgets an id.
    pub(crate) fn remove(&mut self, id: NodeId, node: u32) {
        if let Ok(place) = self.sorted.binary_search(&(id, node)) {
            self.sorted.remove(place);
        }
    }

    /// Calls `visit` with the level and the positions of each bucket of a node with this id: those that share exactly
    /// `level` bits with it, from the far half of the keyspace down to its nearest neighbours.
    pub(crate) fn visit_buckets(&self, own: &NodeId, mut visit: impl FnMut(u32, Range<usize>)) {
        let mut range = self.all();
        for level in 0..160 {
            let (zeros, ones) = self.split(range, level);
            let (mine, other) = if own.bit(level) { (ones, zeros) } else { (zeros, ones) };
            visit(level, other);
            range = mine;
            // Nobody is nearer, or only the node itself.
            if self.sorted.get(range.clone()).is_none_or(|near| near.iter().all(|(id, _)| id == own)) {
                break;
            }
        }
    }

    /// The positions of those that share exactly `level` bits with an id.
    pub(crate) fn bucket(&self, own: &NodeId, level: u32) -> Range<usize> {
        let mut range = self.all();
        for depth in 0..level {
            let (zeros, ones) = self.split(range, depth);
            range = if own.bit(depth) { ones } else { zeros };
        }
        let (zeros, ones) = self.split(range, level);
        if own.bit(level) { zeros } else { ones }
    }

    /// The ids at these positions.
    pub(crate) fn at(&self, positions: Range<usize>) -> &[(NodeId, u32)] {
        &self.sorted[positions]
    }

    /// Calls `visit` with (id, node) in ascending XOR distance from `target` until it breaks.
    pub(crate) fn visit_nearest(
        &self,
        target: &NodeId,
        mut visit: impl FnMut(NodeId, u32) -> ControlFlow<()>,
    ) {
        let _ = self.descend(0..self.sorted.len(), 0, target, &mut visit);
    }

    fn descend(
        &self,
        range: Range<usize>,
        depth: u32,
        target: &NodeId,
        visit: &mut dyn FnMut(NodeId, u32) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if range.len() <= 1 || depth == 160 {
            for (id, node) in &self.sorted[range] {
                visit(*id, *node)?;
            }
            return ControlFlow::Continue(());
        }
        let (zeros, ones) = self.split(range, depth);
        let (near, far) = if target.bit(depth) { (ones, zeros) } else { (zeros, ones) };
        self.descend(near, depth + 1, target, visit)?;
        self.descend(far, depth + 1, target, visit)
    }

    /// Narrows `range`, whose ids share the first `depth` bits, to those whose next bit is 0 and 1.
    pub(crate) fn split(&self, range: Range<usize>, depth: u32) -> (Range<usize>, Range<usize>) {
        let middle = range.start + self.sorted[range.clone()].partition_point(|(id, _)| !id.bit(depth));
        (range.start..middle, middle..range.end)
    }

    /// All positions.
    pub(crate) fn all(&self) -> Range<usize> {
        0..self.sorted.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::{Topic, draw_bytes};

    fn id(n: u64) -> NodeId {
        NodeId::from_bytes(draw_bytes(5, Topic::NodeId, n, 0, 20).try_into().unwrap())
    }

    #[test]
    fn the_nearest_come_in_the_order_of_their_distance() {
        let space = Keyspace::new((0..700).map(|n| (id(n), n as u32)));
        for probe in 1_000..1_020 {
            let target = id(probe);
            let mut truth: Vec<_> = (0..700).map(|n| (id(n).distance(&target), n as u32)).collect();
            truth.sort();
            let mut found = Vec::new();
            space.visit_nearest(&target, |_, node| {
                found.push(node);
                if found.len() == 50 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            assert_eq!(found, truth[..50].iter().map(|t| t.1).collect::<Vec<_>>());
        }
    }

    #[test]
    fn buckets_hold_each_other_node_once_and_follow_changes() {
        let mut space = Keyspace::new((0..200).map(|n| (id(n), n as u32)));
        space.remove(id(7), 7);
        space.insert(id(300), 300);
        space.insert(id(300), 300);
        let own = id(3);
        let mut seen = Vec::new();
        space.visit_buckets(&own, |level, range| {
            assert_eq!(range, space.bucket(&own, level));
            for (id, node) in space.at(range) {
                assert_eq!(id.common_prefix_len(&own), level);
                seen.push(*node);
            }
        });
        seen.sort_unstable();
        let all: Vec<u32> = (0..200).filter(|n| ![3, 7].contains(n)).chain([300]).collect();
        assert_eq!(seen, all);
    }

    #[test]
    fn a_subtree_is_split_by_its_next_bit() {
        let space = Keyspace::new((0..100).map(|n| (id(n), n as u32)));
        let (zeros, ones) = space.split(space.all(), 0);
        assert_eq!(zeros.len() + ones.len(), 100);
        assert!(space.at(zeros).iter().all(|(id, _)| id.as_bytes()[0] < 0x80));
        assert!(space.at(ones).iter().all(|(id, _)| id.as_bytes()[0] >= 0x80));
    }
}
