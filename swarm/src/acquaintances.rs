//! Which contacts a node has: a routing table that is computed, not kept.
//!
//! A node knows up to eight others in each half of the keyspace that it is not in, at each level, as the tables of
//! BEP 5 do; which eight is drawn from the seed. It knows its neighbourhood in full and ever less of what is
//! farther away, and a lookup needs as many steps as in the real network.

use std::ops::Range;

use krpc::NodeId;

use crate::chance::{Topic, draw};
use crate::keyspace::Keyspace;

/// Contacts in a bucket, and in an answer (k of BEP 5).
pub(crate) const BUCKET: usize = 8;

/// The contacts that node `own` knows nearest to `target`, at most [`BUCKET`], nearest first, appended to `out`.
pub(crate) fn nearest_known(
    space: &Keyspace,
    seed: u64,
    own: &NodeId,
    target: &NodeId,
    out: &mut Vec<(NodeId, u32)>,
) {
    let shared = own.common_prefix_len(target) as usize;
    let mut buckets: Vec<Range<usize>> = Vec::with_capacity(32);
    let mut range = space.all();
    let mut depth = 0;
    while range.len() > 1 && depth < 160 {
        let (zeros, ones) = space.split(range, depth);
        let (mine, other) = if own.bit(depth) { (ones, zeros) } else { (zeros, ones) };
        buckets.push(other);
        range = mine;
        depth += 1;
    }
    let fill = |level: usize, out: &mut Vec<(NodeId, u32)>| {
        let Some(range) = buckets.get(level) else { return };
        let count = range.len().min(BUCKET);
        let offset = draw(seed, Topic::Acquaintance, prefix(own), level as u64) as usize % range.len().max(1);
        for slot in 0..count {
            let position = range.start + (offset + slot * range.len() / count) % range.len();
            out.extend_from_slice(space.at(position..position + 1));
        }
    };
    // Nearest are those that share more bits with the target than this node does; then, all equally many bits away,
    // those that share at least as many bits with this node; then level by level what is farther from both.
    fill(shared, out);
    if out.len() < BUCKET {
        for level in shared + 1..buckets.len() {
            fill(level, out);
        }
    }
    out.sort_unstable_by_key(|(id, _)| id.distance(target));
    for level in (0..shared.min(buckets.len())).rev() {
        if out.len() >= BUCKET {
            break;
        }
        let from = out.len();
        fill(level, out);
        out[from..].sort_unstable_by_key(|(id, _)| id.distance(target));
    }
    out.truncate(BUCKET);
}

/// The first bits of an id as the number that draws about its node are made from.
fn prefix(id: &NodeId) -> u64 {
    id.as_bytes().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;
    use crate::chance::draw_bytes;

    fn id(n: u64) -> NodeId {
        NodeId::from_bytes(draw_bytes(6, Topic::NodeId, n, 0, 20).try_into().unwrap())
    }

    fn known(space: &Keyspace, own: u64, target: &NodeId) -> Vec<(NodeId, u32)> {
        let mut out = Vec::new();
        nearest_known(space, 1, &id(own), target, &mut out);
        out
    }

    #[test]
    fn answers_are_full_sorted_and_without_the_node_itself() {
        let space = Keyspace::new((0..3_000).map(|n| (id(n), n as u32)));
        for own in 0..200 {
            let target = id(10_000 + own);
            let answer = known(&space, own, &target);
            assert_eq!(answer.len(), BUCKET);
            assert!(answer.is_sorted_by_key(|(id, _)| id.distance(&target)));
            assert_eq!(answer.iter().map(|a| a.1).collect::<HashSet<_>>().len(), BUCKET);
            assert!(answer.iter().all(|(_, node)| *node != own as u32));
        }
    }

    #[test]
    fn a_node_knows_its_own_neighbourhood_in_full() {
        let space = Keyspace::new((0..3_000).map(|n| (id(n), n as u32)));
        for own in 0..100 {
            let mut all: Vec<_> =
                (0..3_000).filter(|n| *n != own).map(|n| (id(n).distance(&id(own)), n)).collect();
            all.sort();
            let nearest = known(&space, own, &id(own))[0].1;
            assert_eq!(u64::from(nearest), all[0].1);
        }
    }

    #[test]
    fn a_node_does_not_know_the_far_keyspace() {
        let space = Keyspace::new((0..3_000).map(|n| (id(n), n as u32)));
        let mut seen = BTreeSet::new();
        for target in 0..3_000 {
            seen.extend(known(&space, 5, &id(target)).iter().map(|(_, node)| *node));
        }
        assert!((40..160).contains(&seen.len()), "one node told of {} others", seen.len());
    }

    #[test]
    fn steps_from_anywhere_end_at_the_nearest_node() {
        let space = Keyspace::new((0..3_000).map(|n| (id(n), n as u32)));
        for probe in 20_000..20_100 {
            let target = id(probe);
            let mut truth = None;
            space.visit_nearest(&target, |_, node| {
                truth = Some(node);
                std::ops::ControlFlow::Break(())
            });
            let (mut best, mut steps) = (probe % 3_000, 0);
            loop {
                let next = known(&space, best, &target)[0];
                if next.0.distance(&target) >= id(best).distance(&target) {
                    break;
                }
                best = u64::from(next.1);
                steps += 1;
            }
            assert_eq!(Some(best as u32), truth);
            assert!((1..14).contains(&steps), "{steps} steps");
        }
    }

    #[test]
    fn a_swarm_of_one_knows_nobody() {
        let space = Keyspace::new([(id(0), 0)].into_iter());
        assert!(known(&space, 0, &id(9)).is_empty());
    }
}
