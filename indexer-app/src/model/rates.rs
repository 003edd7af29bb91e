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
        self.samples.push_back((now, count));
        while self.samples.len() > self.window + 1 {
            self.samples.pop_front();
        }
        let Some((then, before)) = self.samples.front() else { return 0.0 };
        let elapsed = now.saturating_sub(*then).as_secs_f64();
        if elapsed > 0.0 { count.saturating_sub(*before) as f64 / elapsed } else { 0.0 }
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
}
