//! Rates from counters that only grow.

use std::{collections::VecDeque, time::Duration};

/// The rate of a counter over the last moments.
#[derive(Debug)]
pub(super) struct Rate {
    window: usize,
    samples: VecDeque<(Duration, u64)>,
}

impl Rate {
    /// Over the last `window` samples.
    pub(super) fn new(window: usize) -> Self {
        Self { window: window.max(1), samples: VecDeque::new() }
    }

    /// Adds a sample; the rate per second since the oldest one in the window.
    pub(super) fn sample(&mut self, now: Duration, count: u64) -> f64 {
        let (elapsed, grown) = self.add(now, count);
        let elapsed = elapsed.as_secs_f64();
        if elapsed > 0.0 { grown as f64 / elapsed } else { 0.0 }
    }

    /// Adds a sample; by how much the counter has grown in a `period`, as long as the window: in less, while there
    /// is less, and in as much of a longer one if a sample came late.
    pub(super) fn sample_in(&mut self, now: Duration, count: u64, period: Duration) -> u64 {
        let (elapsed, grown) = self.add(now, count);
        if elapsed <= period {
            return grown;
        }
        (grown as f64 * period.as_secs_f64() / elapsed.as_secs_f64()).round() as u64
    }

    /// Adds a sample; the time since the oldest one in the window, and the growth since.
    fn add(&mut self, now: Duration, count: u64) -> (Duration, u64) {
        if self.samples.is_empty() {
            // Counters begin at zero, and so does the time.
            self.samples.push_back((Duration::ZERO, 0));
        }
        self.samples.push_back((now, count));
        while self.samples.len() > self.window + 1 {
            self.samples.pop_front();
        }
        let Some((then, before)) = self.samples.front() else { return (Duration::ZERO, 0) };
        (now.saturating_sub(*then), count.saturating_sub(*before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_window() {
        let mut rate = Rate::new(2);
        let seconds = Duration::from_secs;
        assert_eq!(rate.sample(seconds(0), 0), 0.0);
        assert_eq!(rate.sample(seconds(1), 10), 10.0);
        assert_eq!(rate.sample(seconds(2), 10), 5.0);
        assert_eq!(rate.sample(seconds(3), 10), 0.0);
    }

    #[test]
    fn the_growth_is_that_of_the_window_and_of_no_more_than_the_period() {
        let mut rate = Rate::new(60);
        let second = Duration::from_secs(1);
        let grown: Vec<u64> =
            (1..=100).map(|n| rate.sample_in(second * n, u64::from(n) * 5, 60 * second)).collect();
        assert_eq!((grown[0], grown[9], grown[59], grown[99]), (5, 50, 300, 300));
        let mut rate = Rate::new(1);
        rate.sample_in(second, 0, second);
        assert_eq!(rate.sample_in(3 * second, 100, second), 50, "the sample came a second late");
    }
}
