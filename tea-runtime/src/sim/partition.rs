//! Partitions: groups of nodes between which nothing passes.

use std::ops::Range;

use super::node::SimNode;
use crate::Time;

/// Two groups of nodes that cannot reach each other for some time.
///
/// Datagrams that are under way when a partition begins are cut too; TCP repeats what was cut until it gets through
/// or gives up.
#[derive(Clone, Debug)]
pub struct Partition {
    one: Members,
    /// `None`: everybody else.
    other: Option<Members>,
    during: Range<Time>,
}

/// Names a partition, to heal it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionId(u64);

impl Partition {
    /// Cuts a group off from everybody else, at once and until healed.
    pub fn isolate(group: impl IntoIterator<Item = impl Into<SimNode>>) -> Self {
        Self { one: Members::new(group), other: None, during: Time::ZERO..FOREVER }
    }

    /// Cuts one group off from another, at once and until healed. Nodes in neither reach both.
    pub fn between(
        one: impl IntoIterator<Item = impl Into<SimNode>>,
        other: impl IntoIterator<Item = impl Into<SimNode>>,
    ) -> Self {
        Self { one: Members::new(one), other: Some(Members::new(other)), during: Time::ZERO..FOREVER }
    }

    /// Only during this time.
    pub fn during(self, during: Range<Time>) -> Self {
        Self { during, ..self }
    }

    fn cuts(&self, now: Time, a: u32, b: u32) -> bool {
        if !self.during.contains(&now) {
            return false;
        }
        let across = |a, b| {
            self.one.contains(a)
                && self.other.as_ref().map_or_else(|| !self.one.contains(b), |other| other.contains(b))
        };
        across(a, b) || across(b, a)
    }
}

/// The partitions that there are.
#[derive(Default)]
pub(super) struct Partitions {
    list: Vec<(PartitionId, Partition)>,
    last: u64,
}

impl Partitions {
    pub(super) fn add(&mut self, partition: Partition) -> PartitionId {
        self.last += 1;
        self.list.push((PartitionId(self.last), partition));
        PartitionId(self.last)
    }

    pub(super) fn heal(&mut self, id: PartitionId) {
        self.list.retain(|(other, _)| *other != id);
    }

    pub(super) fn heal_all(&mut self) {
        self.list.clear();
    }

    /// Whether nothing passes between the two nodes now.
    pub(super) fn cut(&self, now: Time, a: u32, b: u32) -> bool {
        self.list.iter().any(|(_, partition)| partition.cuts(now, a, b))
    }
}

/// A set of nodes, a bit each.
#[derive(Clone, Debug, Default)]
struct Members(Vec<u64>);

impl Members {
    fn new(nodes: impl IntoIterator<Item = impl Into<SimNode>>) -> Self {
        let mut members = Self::default();
        for node in nodes {
            let index = node.into().0 as usize;
            if index / 64 >= members.0.len() {
                members.0.resize(index / 64 + 1, 0);
            }
            members.0[index / 64] |= 1 << (index % 64);
        }
        members
    }

    fn contains(&self, node: u32) -> bool {
        self.0.get(node as usize / 64).is_some_and(|word| word & (1 << (node % 64)) != 0)
    }
}

const FOREVER: Time = Time::from_nanos(u64::MAX);

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(indices: impl IntoIterator<Item = u32>) -> Vec<SimNode> {
        indices.into_iter().map(SimNode).collect()
    }

    #[test]
    fn an_isolated_group_talks_within_itself_only() {
        let mut partitions = Partitions::default();
        let id = partitions.add(Partition::isolate(nodes([1, 70])));
        let cut = |partitions: &Partitions, a, b| partitions.cut(Time::ZERO, a, b);
        assert!(!cut(&partitions, 1, 70) && !cut(&partitions, 2, 3));
        assert!(cut(&partitions, 1, 2) && cut(&partitions, 2, 70));
        partitions.heal(id);
        assert!(!cut(&partitions, 1, 2));
    }

    #[test]
    fn a_partition_between_two_groups_leaves_the_third_alone() {
        let mut partitions = Partitions::default();
        partitions.add(Partition::between(nodes([1]), nodes([2])));
        assert!(partitions.cut(Time::ZERO, 1, 2) && partitions.cut(Time::ZERO, 2, 1));
        assert!(!partitions.cut(Time::ZERO, 1, 3) && !partitions.cut(Time::ZERO, 3, 2));
    }

    #[test]
    fn a_timed_partition_holds_during_its_time() {
        let mut partitions = Partitions::default();
        let at = Time::from_nanos;
        partitions.add(Partition::isolate(nodes([1])).during(at(10)..at(20)));
        assert_eq!([9, 10, 19, 20].map(|now| partitions.cut(at(now), 1, 2)), [false, true, true, false]);
    }
}
