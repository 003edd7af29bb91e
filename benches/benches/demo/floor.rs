//! What politeness alone costs: the time that the fastest possible program needs when it asks nobody more than once a second.

use std::time::Duration;

use krpc::{InfoHash, NodeId};
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// Nodes that store a key.
const REPLICAS: usize = 8;

/// Keys in an answer to sample_infohashes.
const SAMPLES: usize = 20;

/// Queries to a node that may follow each other at once.
const BURST: f64 = 3.0;

/// For how long a node shows the same keys: as in `indexer demo`.
pub(crate) const INTERVAL: Duration = Duration::from_secs(10);

/// Nodes that do not answer sample_infohashes.
pub(crate) const WITHOUT_SAMPLING_SHARE: f64 = 0.2;

/// The bounds below any crawler of a swarm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Floor {
    /// Keys under which the torrents are announced; a hybrid torrent has two.
    pub(crate) keys: usize,
    /// Nodes.
    pub(crate) nodes: usize,
    /// Keys on the node that stores most.
    pub(crate) most_keys: usize,
    /// Samplings of each node until every key was shown by some node.
    pub(crate) sampling_rounds: u64,
    /// Seconds for the queries at one a second and node.
    pub(crate) asking_seconds: f64,
}

impl Floor {
    pub(crate) fn of(nodes: &[NodeId], keys: &[InfoHash]) -> Self {
        let mut holders_of = Vec::with_capacity(keys.len());
        let mut stored = vec![0_usize; nodes.len()];
        let mut by_distance: Vec<(u128, u32)> = Vec::with_capacity(nodes.len());
        for key in keys {
            let key = leading(key.as_bytes());
            by_distance.clear();
            by_distance.extend((0..).zip(nodes).map(|(index, id)| (leading(id.as_bytes()) ^ key, index)));
            let replicas = REPLICAS.min(nodes.len());
            if replicas < nodes.len() {
                by_distance.select_nth_unstable(replicas);
            }
            let holders: Vec<usize> =
                by_distance[..replicas].iter().map(|(_, index)| *index as usize).collect();
            for holder in &holders {
                stored[*holder] += 1;
            }
            holders_of.push(holders);
        }
        let queries = (2 * nodes.len() + keys.len()) as f64 / nodes.len().max(1) as f64;
        Self {
            keys: keys.len(),
            nodes: nodes.len(),
            most_keys: stored.iter().copied().max().unwrap_or(0),
            sampling_rounds: sampling_rounds(&holders_of, &stored),
            asking_seconds: (queries - BURST).max(0.0),
        }
    }

    pub(crate) fn sampling_seconds(&self) -> f64 {
        (self.sampling_rounds - 1) as f64 * INTERVAL.as_secs_f64()
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.sampling_seconds().max(self.asking_seconds)
    }

    /// Each node sampled as often as needed, and one get_peers a key.
    pub(crate) fn packets_per_key(&self) -> f64 {
        1.0 + (self.nodes as u64 * self.sampling_rounds) as f64 / self.keys.max(1) as f64
    }
}

/// The middle of several draws of which nodes sample, and which of their keys they show.
fn sampling_rounds(holders_of: &[Vec<usize>], stored: &[usize]) -> u64 {
    let mut draws: Vec<u64> = (0..15_u8)
        .map(|seed| {
            let mut random = StdRng::from_seed([seed; 32]);
            let samples: Vec<bool> =
                stored.iter().map(|_| random.random::<f64>() >= WITHOUT_SAMPLING_SHARE).collect();
            let rounds = holders_of.iter().filter_map(|holders| {
                // How likely it is that no holder shows the key in a round.
                let hidden: f64 = holders
                    .iter()
                    .filter(|holder| samples[**holder])
                    .map(|holder| 1.0 - (SAMPLES as f64 / stored[*holder] as f64).min(1.0))
                    .product();
                // A key that nobody can show is found by nobody.
                (hidden < 1.0).then(|| {
                    let mut round = 1;
                    while random.random::<f64>() < hidden {
                        round += 1;
                    }
                    round
                })
            });
            rounds.max().unwrap_or(1)
        })
        .collect();
    draws.sort_unstable();
    draws[draws.len() / 2]
}

/// The first 16 bytes: more than enough to tell near from far.
fn leading(id: &[u8; 20]) -> u128 {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&id[..16]);
    u128::from_be_bytes(bytes)
}
