//! How many nodes there are: from how close together those lie that answer.

use krpc::Distance;

use crate::lookup::K;

/// Estimate from the radii of lookups.
#[derive(Debug, Default)]
pub(crate) struct Population {
    /// Mean of the estimates, the older counting less.
    mean: f64,
    seen: f64,
}

impl Population {
    /// A lookup has ended with K answers within this distance of its target.
    pub(crate) fn observe(&mut self, radius: &Distance) {
        let [a, b, c, d, e, f, g, h, ..] = *radius.as_bytes();
        let share = (u64::from_be_bytes([a, b, c, d, e, f, g, h]) as f64 + 1.0) / 2.0_f64.powi(64);
        // Of n points spread evenly the K-th smallest lies so that (K - 1) / it has n as its mean.
        let estimate = (K - 1) as f64 / share;
        self.seen = (self.seen + 1.0).min(MEMORY);
        self.mean += (estimate - self.mean) / self.seen;
    }

    /// Nodes that answer, in the whole network. 0 before the first lookup.
    pub(crate) fn estimate(&self) -> u64 {
        self.mean as u64
    }
}

/// Lookups after which older ones have faded. One alone is wrong by 40 %, this many by 4 %.
const MEMORY: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;
    use krpc::NodeId;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn the_size_of_a_network_is_found_within_a_tenth() {
        let mut rng = StdRng::from_seed([5; 32]);
        let nodes: Vec<NodeId> = (0..5_000).map(|_| NodeId::random(&mut rng)).collect();
        let mut population = Population::default();
        assert_eq!(population.estimate(), 0);
        for _ in 0..200 {
            let target = NodeId::random(&mut rng);
            let mut distances: Vec<Distance> = nodes.iter().map(|node| node.distance(&target)).collect();
            distances.sort_unstable();
            population.observe(&distances[K - 1]);
        }
        assert!((4_500..5_500).contains(&population.estimate()), "{}", population.estimate());
    }
}
