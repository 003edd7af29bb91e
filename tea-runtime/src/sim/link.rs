//! What a link between two nodes does to packets.

use std::{ops::Range, time::Duration};

use super::rng::{SimRng, fixed_between};

/// How one direction of a link behaves. Probabilities are 0.0 to 1.0, each drawn anew for each datagram.
///
/// With no jitter and no reordering a link keeps the order of what is sent over it. TCP sees loss as delay.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkPolicy {
    /// One-way latency. Each pair of nodes has a fixed one within this range, the same in both directions.
    pub latency: Range<Duration>,
    /// Added to it, drawn for each datagram from zero up to this.
    pub jitter: Duration,
    /// The chance that a datagram is lost.
    pub loss: f64,
    /// The chance that a datagram arrives twice.
    pub duplicate: f64,
    /// The chance that a datagram is held back, so that later ones overtake it.
    pub reorder: f64,
    /// How long it is held back at most.
    pub reorder_delay: Duration,
}

impl Default for LinkPolicy {
    /// The Internet on a good day: 10 to 120 ms, 5 ms of jitter, nothing lost.
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(10)..Duration::from_millis(120),
            jitter: Duration::from_millis(5),
            ..Self::fixed(Duration::ZERO)
        }
    }
}

impl LinkPolicy {
    /// Always the same latency; nothing is lost, duplicated or reordered.
    pub const fn fixed(latency: Duration) -> Self {
        Self {
            latency: latency..latency,
            jitter: Duration::ZERO,
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_delay: Duration::ZERO,
        }
    }

    /// The same link with this chance of loss.
    pub const fn with_loss(mut self, loss: f64) -> Self {
        self.loss = loss;
        self
    }

    /// The same link with this chance of duplication.
    pub const fn with_duplicates(mut self, duplicate: f64) -> Self {
        self.duplicate = duplicate;
        self
    }

    /// The same link, holding datagrams back with this chance, up to `delay`.
    pub const fn with_reordering(mut self, reorder: f64, delay: Duration) -> Self {
        self.reorder = reorder;
        self.reorder_delay = delay;
        self
    }

    /// How long one datagram travels. `pair` names the pair of nodes.
    pub(super) fn travel(&self, pair: u64, rng: &mut SimRng) -> Duration {
        let mut delay = fixed_between(&self.latency, pair);
        if !self.jitter.is_zero() {
            delay += rng.between(&(Duration::ZERO..self.jitter));
        }
        if rng.chance(self.reorder) {
            delay += rng.between(&(Duration::ZERO..self.reorder_delay));
        }
        delay
    }

    /// How long one TCP segment travels, with as many repetitions as loss makes necessary, the first after `timeout`.
    pub(super) fn travel_reliably(&self, pair: u64, mut timeout: Duration, rng: &mut SimRng) -> Duration {
        let mut delay = fixed_between(&self.latency, pair);
        if !self.jitter.is_zero() {
            delay += rng.between(&(Duration::ZERO..self.jitter));
        }
        for _ in 0..REPETITIONS_MAX {
            if !rng.chance(self.loss) {
                break;
            }
            delay += timeout;
            timeout *= 2;
        }
        delay
    }
}

/// Repetitions of one segment that loss can cause. 8 make 51 s at least: a link that bad breaks a stream's limits first.
const REPETITIONS_MAX: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_keeps_its_latency() {
        let policy = LinkPolicy { jitter: Duration::ZERO, ..LinkPolicy::default() };
        let mut rng = SimRng::new(1);
        let first = policy.travel(7, &mut rng);
        assert!(policy.latency.contains(&first));
        assert!((0..100).all(|_| policy.travel(7, &mut rng) == first));
        assert!((8..20).any(|pair| policy.travel(pair, &mut rng) != first));
    }

    #[test]
    fn loss_delays_what_is_sent_reliably() {
        let policy = LinkPolicy::fixed(Duration::from_millis(10)).with_loss(0.5);
        let mut rng = SimRng::new(1);
        let delays: Vec<u128> = (0..1000)
            .map(|_| policy.travel_reliably(1, Duration::from_millis(200), &mut rng).as_millis())
            .collect();
        let times = |delay| delays.iter().filter(|other| **other == delay).count();
        assert!((440..560).contains(&times(10)), "{}", times(10));
        assert!((200..300).contains(&times(210)), "{}", times(210));
        assert!((90..160).contains(&times(610)), "{}", times(610));
    }
}
