//! How many bytes may go out, over time.

use std::time::Duration;

/// A token bucket over bytes: `bytes_per_second` on average, at most a burst at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteBudget {
    bytes_per_second: u32,
    burst_bytes: u32,
    /// In billionths of a byte, so that short times add up exactly.
    left: u128,
    since: Duration,
}

impl ByteBudget {
    /// A full bucket. With 0 bytes a second nothing is ever allowed.
    pub const fn new(bytes_per_second: u32, burst_bytes: u32, now: Duration) -> Self {
        let burst_bytes = if bytes_per_second == 0 { 0 } else { burst_bytes };
        Self { bytes_per_second, burst_bytes, left: burst_bytes as u128 * NANOS, since: now }
    }

    /// Whether so many bytes may go out now. What is more than a whole burst may when the bucket is full.
    pub fn allows(&mut self, now: Duration, bytes: usize) -> bool {
        let full = u128::from(self.burst_bytes) * NANOS;
        let passed = now.saturating_sub(self.since).as_nanos();
        self.since = self.since.max(now);
        self.left = full.min(self.left + passed.saturating_mul(u128::from(self.bytes_per_second)));
        self.left >= (bytes as u128 * NANOS).min(full) && full > 0
    }

    /// Takes what [`allows`](Self::allows) has granted.
    pub const fn take(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes as u128 * NANOS);
    }

    /// How long from the last call of `allows` until so many bytes may go out; `None`: never.
    pub fn wait(&self, bytes: usize) -> Option<Duration> {
        let full = u128::from(self.burst_bytes) * NANOS;
        let missing = (bytes as u128 * NANOS).min(full).saturating_sub(self.left);
        let nanos = missing.checked_div(u128::from(self.bytes_per_second))?;
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX).saturating_add(1)))
    }
}

const NANOS: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grants_a_burst_and_then_the_rate() {
        let mut budget = ByteBudget::new(1000, 500, Duration::from_secs(9));
        let mut granted = 0;
        for millis in 9_000..11_000 {
            while budget.allows(Duration::from_millis(millis), 10) {
                budget.take(10);
                granted += 10;
            }
        }
        assert!((2480..=2500).contains(&granted), "{granted}");
    }

    #[test]
    fn more_than_a_burst_waits_for_a_full_bucket_and_nothing_is_never_granted() {
        let mut budget = ByteBudget::new(100, 50, Duration::ZERO);
        assert!(budget.allows(Duration::ZERO, 80));
        budget.take(80);
        assert!(!budget.allows(Duration::ZERO, 80));
        let wait = budget.wait(80).unwrap();
        assert!(!budget.allows(wait - Duration::from_millis(1), 80));
        assert!(budget.allows(wait, 80));
        let mut none = ByteBudget::new(0, 50, Duration::ZERO);
        assert!(!none.allows(Duration::from_secs(9), 1));
        assert_eq!(none.wait(1), None);
    }
}
