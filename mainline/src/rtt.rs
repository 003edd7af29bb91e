//! How long to wait for an answer: a quantile of the round trips seen lately.
//!
//! Half of the contacts that others name do not answer. Waiting long for each wastes time and places,
//! waiting too short loses live ones; the distribution of round trips says where the line is.
//! Late answers count too (see [`Transactions`](crate::transactions::Transactions)): without them a time-out that
//! is too short would confirm itself.

use std::time::Duration;

/// Round trips in classes that grow by a quarter each, the older counting ever less.
#[derive(Debug, Clone)]
pub struct RttEstimator {
    classes: [u32; CLASSES],
    total: u32,
    /// Samples since the time-out was computed.
    fresh: u32,
    timeout: Duration,
}

impl RttEstimator {
    /// Knows nothing yet: the time-out is [`TIMEOUT_UNKNOWN`].
    pub fn new() -> RttEstimator {
        RttEstimator { classes: [0; CLASSES], total: 0, fresh: 0, timeout: TIMEOUT_UNKNOWN }
    }

    /// A query was answered after `rtt`, in time or late.
    pub fn observe(&mut self, rtt: Duration) {
        self.classes[class_of(rtt)] += 1;
        self.total += 1;
        self.fresh += 1;
        if self.total >= MEMORY {
            self.total = 0;
            for class in &mut self.classes {
                *class /= 2;
                self.total += *class;
            }
        }
        if self.fresh >= RECOMPUTE_AFTER {
            self.fresh = 0;
            let wait = self.quantile(QUANTILE).map_or(TIMEOUT_UNKNOWN, |rtt| rtt * MARGIN);
            self.timeout = wait.clamp(TIMEOUT_MIN, TIMEOUT_MAX);
        }
    }

    /// How long to wait for an answer, 0.1 to 10 s.
    #[inline]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The round trip below which the share `q` (0 to 1) of the answers came, rounded up to the class's end;
    /// `None` before the first.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        if self.total == 0 {
            return None;
        }
        let wanted = (f64::from(self.total) * q.clamp(0.0, 1.0)).ceil().max(1.0) as u32;
        let mut below = 0;
        let class = self.classes.iter().position(|count| {
            below += count;
            below >= wanted
        })?;
        Some(end_of(class))
    }
}

impl Default for RttEstimator {
    fn default() -> RttEstimator {
        RttEstimator::new()
    }
}

fn class_of(rtt: Duration) -> usize {
    (0..CLASSES - 1).find(|class| rtt <= end_of(*class)).unwrap_or(CLASSES - 1)
}

/// 1 ms, and a quarter more for each class.
fn end_of(class: usize) -> Duration {
    Duration::from_micros(CLASS_ENDS_US[class])
}

const CLASSES: usize = 44;

const CLASS_ENDS_US: [u64; CLASSES] = {
    let mut ends = [1_000; CLASSES];
    let mut class = 1;
    while class < CLASSES {
        ends[class] = ends[class - 1] + ends[class - 1] / 4;
        class += 1;
    }
    ends
};

const _: () = assert!(CLASS_ENDS_US[CLASSES - 1] > 10_000_000);

/// Before anything is known: what libtorrent waits before it asks another node as well.
pub const TIMEOUT_UNKNOWN: Duration = Duration::from_secs(3);

/// Even on loopback an answer may wait for its turn in a busy process.
pub const TIMEOUT_MIN: Duration = Duration::from_millis(100);

/// Nobody in the DHT answers later.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(10);

/// One answer in fifty may take longer...
const QUANTILE: f64 = 0.98;

/// ...but most of these not twice as long.
const MARGIN: u32 = 2;

const RECOMPUTE_AFTER: u32 = 32;

/// Samples after which all count half: some minutes at usual rates.
const MEMORY: u32 = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(samples: impl IntoIterator<Item = u64>) -> RttEstimator {
        let mut rtt = RttEstimator::new();
        samples.into_iter().for_each(|ms| rtt.observe(Duration::from_millis(ms)));
        rtt
    }

    #[test]
    fn without_samples_it_waits_three_seconds() {
        assert_eq!(RttEstimator::new().timeout(), Duration::from_secs(3));
        assert_eq!(RttEstimator::new().quantile(0.5), None);
    }

    #[test]
    fn the_time_out_is_twice_the_slowest_but_two_percent() {
        // 3 % take 800 ms, the rest 100 ms.
        let rtt = fed((0..1_024).map(|n| if n % 33 == 0 { 800 } else { 100 }));
        let timeout = rtt.timeout().as_millis();
        assert!((1_600..2_100).contains(&timeout), "{timeout}");
        let median = rtt.quantile(0.5).unwrap().as_millis();
        assert!((100..125).contains(&median), "{median}");
    }

    #[test]
    fn it_stays_between_a_tenth_and_ten_seconds() {
        assert_eq!(fed([0; 100]).timeout(), TIMEOUT_MIN);
        assert_eq!(fed([9_999_999; 100]).timeout(), TIMEOUT_MAX);
    }

    #[test]
    fn it_follows_when_the_network_gets_slower() {
        let rtt = fed((0..20_000).map(|n| if n < 10_000 { 50 } else { 500 }));
        assert!(rtt.timeout() >= Duration::from_millis(1_000), "{:?}", rtt.timeout());
        let back = fed((0..40_000).map(|n| if n < 10_000 { 500 } else { 50 }));
        assert!(back.timeout() < Duration::from_millis(200), "{:?}", back.timeout());
    }
}
