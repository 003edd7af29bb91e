//! How long an answer takes, and how long to wait for one.

use std::time::Duration;

/// Estimates the round trip (BEP 29, which is TCP's way of RFC 6298).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RttEstimator {
    mean: Option<Duration>,
    deviation: Duration,
}

impl RttEstimator {
    /// Takes note of a packet that was sent once and acknowledged after so long.
    pub(super) fn sample(&mut self, rtt: Duration) {
        let Some(mean) = self.mean else {
            self.mean = Some(rtt);
            self.deviation = rtt / 2;
            return;
        };
        self.deviation = (self.deviation * 3 + mean.abs_diff(rtt)) / 4;
        self.mean = Some((mean * 7 + rtt) / 8);
    }

    /// The mean so far.
    pub(super) fn mean(&self) -> Option<Duration> {
        self.mean
    }

    /// How long to wait before what was sent counts as lost, after so many waits in vain.
    pub(super) fn timeout(&self, in_vain: u8) -> Duration {
        let once = match self.mean {
            Some(mean) => (mean + self.deviation * 4).max(TIMEOUT_MIN),
            None => TIMEOUT_FIRST,
        };
        once.saturating_mul(1 << in_vain.min(6)).min(TIMEOUT_MAX)
    }
}

/// BEP 29.
const TIMEOUT_MIN: Duration = Duration::from_millis(500);
/// BEP 29: before the first answer.
const TIMEOUT_FIRST: Duration = Duration::from_secs(1);
/// Longer waits would outlast the connection's idle timeout.
const TIMEOUT_MAX: Duration = Duration::from_secs(16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_follows_mean_and_deviation_and_doubles_in_vain() {
        let mut rtt = RttEstimator::default();
        assert_eq!(rtt.timeout(0), Duration::from_secs(1));
        assert_eq!(rtt.timeout(2), Duration::from_secs(4));
        rtt.sample(Duration::from_millis(400));
        assert_eq!(rtt.timeout(0), Duration::from_millis(1200));
        for _ in 0..60 {
            rtt.sample(Duration::from_millis(20));
        }
        assert_eq!(rtt.timeout(0), TIMEOUT_MIN);
        assert!(rtt.mean().unwrap() < Duration::from_millis(22));
        assert_eq!(rtt.timeout(1), 2 * TIMEOUT_MIN);
        assert_eq!(rtt.timeout(255), TIMEOUT_MAX);
    }
}
