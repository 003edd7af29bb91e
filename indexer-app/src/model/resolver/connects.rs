//! When connections may be made, and how long each may take.

use std::{collections::VecDeque, time::Duration};

use mainline::Bucket;

/// Bounds of what is measured. Below 2 s a single lost packet, which is made up for after a second, would be the end; by 8 s
/// three are made up for.
const TIMEOUT_MIN: Duration = Duration::from_secs(2);
const TIMEOUT_MAX: Duration = Duration::from_secs(8);

/// Connects measured last that decide.
const SAMPLES: usize = 512;

/// Connects measured before they decide.
const SAMPLES_MIN: usize = 64;

/// The budget of connects, and what waits for it.
#[derive(Debug)]
pub(super) struct ConnectBudget {
    bucket: Bucket,
    per_minute: u32,
    /// Fetches that wait, each once as far as it is not gone.
    waiting: VecDeque<u32>,
    used: u64,
    held: u64,
}

impl ConnectBudget {
    /// So many a minute; two seconds' worth at once.
    pub(super) fn new(per_minute: u32) -> Self {
        let bucket = Bucket::new(per_minute, Duration::from_secs(60), (per_minute / 30).max(4));
        Self { bucket, per_minute, waiting: VecDeque::new(), used: 0, held: 0 }
    }

    /// How many may be made now by a fetch that does not wait yet: those that do come first.
    pub(super) fn for_newcomers(&self, now: Duration) -> u32 {
        if self.waiting.is_empty() { self.available(now) } else { 0 }
    }

    /// How many may be made now.
    pub(super) fn available(&self, now: Duration) -> u32 {
        self.bucket.available(now)
    }

    /// One is made.
    pub(super) fn spend(&mut self, now: Duration) {
        self.bucket.spend(now, 1);
        self.used += 1;
    }

    /// A fetch waits; it comes before all others if somebody waits for it.
    pub(super) fn wait(&mut self, fetch: u32, urgent: bool) {
        self.held += 1;
        if urgent {
            self.waiting.push_front(fetch);
        } else {
            self.waiting.push_back(fetch);
        }
    }

    /// The next fetch that may connect.
    pub(super) fn next(&mut self, now: Duration) -> Option<u32> {
        if self.available(now) == 0 {
            return None;
        }
        self.waiting.pop_front()
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Connects allowed in a minute, those made, and the times that a fetch had to wait, since the start.
    pub(super) fn numbers(&self) -> (u32, u64, u64) {
        (self.per_minute, self.used, self.held)
    }
}

/// How long connects take that come about.
#[derive(Debug, Default)]
pub(super) struct ConnectTimes {
    /// In milliseconds, the oldest to be overwritten next.
    samples: Vec<u32>,
    oldest: usize,
}

impl ConnectTimes {
    /// A connection came about.
    pub(super) fn took(&mut self, time: Duration) {
        let millis = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        if self.samples.len() < SAMPLES {
            self.samples.push(millis);
        } else if let Some(sample) = self.samples.get_mut(self.oldest) {
            *sample = millis;
            self.oldest = (self.oldest + 1) % SAMPLES;
        }
    }

    /// How long a connect may take: three times what 98 of 100 take, in steps of half a second. What takes longer than the
    /// present bound is never measured; it would have to be more than two of 100 for the bound to be too low, and then
    /// those just below it show.
    /// `None`: too few were measured.
    pub(super) fn timeout(&self) -> Option<Duration> {
        if self.samples.len() < SAMPLES_MIN {
            return None;
        }
        let mut sorted = self.samples.clone();
        let at = (sorted.len() * 98 / 100).min(sorted.len() - 1);
        let (_, quantile, _) = sorted.select_nth_unstable(at);
        let millis = u64::from(*quantile).saturating_mul(3).div_ceil(500).saturating_mul(500);
        Some(Duration::from_millis(millis).clamp(TIMEOUT_MIN, TIMEOUT_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn connects_beyond_the_budget_wait_in_their_order_and_urgent_ones_first() {
        let mut budget = ConnectBudget::new(120);
        assert_eq!(budget.for_newcomers(millis(0)), 4);
        for _ in 0..4 {
            budget.spend(millis(0));
        }
        assert_eq!(budget.available(millis(0)), 0);
        for (fetch, urgent) in [(1, false), (2, false), (3, true)] {
            budget.wait(fetch, urgent);
        }
        assert_eq!(budget.next(millis(400)), None);
        assert_eq!(budget.next(millis(500)), Some(3));
        budget.spend(millis(500));
        assert_eq!(budget.for_newcomers(millis(1_000)), 0, "others wait");
        assert_eq!(budget.next(millis(1_000)), Some(1));
        assert_eq!(budget.numbers(), (120, 5, 3));
    }

    #[test]
    fn in_a_minute_no_more_connects_are_made_than_the_budget_and_its_burst() {
        let mut budget = ConnectBudget::new(600);
        let mut made = 0;
        for at in 0..60_000 {
            for _ in 0..budget.available(millis(at)) {
                budget.spend(millis(at));
                made += 1;
            }
        }
        assert!((600..=620).contains(&made), "{made}");
    }

    #[test]
    fn a_connect_may_take_as_long_as_most_do_and_never_less_than_two_seconds_nor_more_than_eight() {
        let mut times = ConnectTimes::default();
        assert_eq!(times.timeout(), None);
        for _ in 0..64 {
            times.took(millis(40));
        }
        assert_eq!(times.timeout(), Some(millis(2_000)));
        // A tenth lose a packet.
        for n in 0..600 {
            times.took(millis(if n % 10 == 0 { 1_040 } else { 40 }));
        }
        assert_eq!(times.timeout(), Some(millis(3_500)));
        for n in 0..600 {
            times.took(millis(if n % 10 == 0 { 3_040 } else { 40 }));
        }
        assert_eq!(times.timeout(), Some(millis(8_000)));
    }
}
