//! How often each address talks to each node, and who floods.
//!
//! This is what a real client sees of a crawler and judges it by: libtorrent ignores an address for five minutes
//! after 50 packets within 10 seconds.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

/// Arrivals kept for one pair; what is counted beyond is counted as this many.
pub(crate) const ARRIVALS_MAX: usize = 64;
/// How long a flooding address is ignored.
const PENALTY_MS: u32 = 300_000;
/// Span that floods are counted over.
const SPAN_MS: u32 = 10_000;

/// Pairs of a node and an address that talked to it.
#[derive(Debug)]
pub(crate) struct Visitors {
    pairs: HashMap<(u32, Ipv4Addr), Arrivals>,
    pairs_max: usize,
    flood_limit: u32,
}

/// What to do with a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answer it. The address sent this many within the last second and ten seconds, this one included.
    Welcome { second: u32, ten_seconds: u32 },
    /// This one was too many, counted as above: ignore it and those that follow.
    Flood { second: u32, ten_seconds: u32 },
    /// Ignored since an earlier flood.
    Ignored,
    /// Answer it; the table is full and nothing is known of the address.
    NotFollowed,
}

impl Visitors {
    /// Room for `pairs_max` pairs; `flood_limit` packets within 10 s are too many, 0 for no limit.
    pub(crate) fn new(pairs_max: usize, flood_limit: u32) -> Self {
        Self { pairs: HashMap::new(), pairs_max, flood_limit }
    }

    /// Takes note of a datagram.
    pub(crate) fn note(&mut self, now: Duration, node: u32, from: Ipv4Addr) -> Verdict {
        let now_ms = now.as_millis() as u32;
        if self.pairs.len() >= self.pairs_max && !self.pairs.contains_key(&(node, from)) {
            return Verdict::NotFollowed;
        }
        let arrivals = self.pairs.entry((node, from)).or_default();
        if now_ms < arrivals.ignored_until_ms {
            return Verdict::Ignored;
        }
        let (second, ten_seconds) = arrivals.note(now_ms);
        if self.flood_limit != 0 && ten_seconds >= self.flood_limit {
            arrivals.ignored_until_ms = now_ms + PENALTY_MS;
            return Verdict::Flood { second, ten_seconds };
        }
        Verdict::Welcome { second, ten_seconds }
    }
}

/// The latest arrivals of one pair: 144 bytes, since a large swarm has many.
#[derive(Debug)]
struct Arrivals {
    /// Milliseconds modulo 2^16, oldest at `oldest`. None is older than 20 s, so the remainder tells its age.
    times: [u16; ARRIVALS_MAX],
    oldest: u8,
    count: u8,
    latest_ms: u32,
    ignored_until_ms: u32,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self { times: [0; ARRIVALS_MAX], oldest: 0, count: 0, latest_ms: 0, ignored_until_ms: 0 }
    }
}

impl Arrivals {
    fn note(&mut self, now_ms: u32) -> (u32, u32) {
        if now_ms - self.latest_ms >= SPAN_MS {
            self.count = 0;
        }
        self.latest_ms = now_ms;
        while self.count > 0 && self.age(0, now_ms) >= SPAN_MS {
            self.forget_oldest();
        }
        if usize::from(self.count) == ARRIVALS_MAX {
            self.forget_oldest();
        }
        let free = (usize::from(self.oldest) + usize::from(self.count)) % ARRIVALS_MAX;
        self.times[free] = now_ms as u16;
        self.count += 1;
        let second = (0..self.count).rev().take_while(|index| self.age(*index, now_ms) < 1_000).count();
        (second as u32, u32::from(self.count))
    }

    fn forget_oldest(&mut self) {
        self.oldest = (self.oldest + 1) % ARRIVALS_MAX as u8;
        self.count -= 1;
    }

    /// Age of the arrival `index` places after the oldest.
    fn age(&self, index: u8, now_ms: u32) -> u32 {
        let at = (usize::from(self.oldest) + usize::from(index)) % ARRIVALS_MAX;
        u32::from((now_ms as u16).wrapping_sub(self.times[at]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);

    fn at(visitors: &mut Visitors, ms: u64) -> Verdict {
        visitors.note(Duration::from_millis(ms), 1, FROM)
    }

    #[test]
    fn arrivals_are_counted_over_one_and_ten_seconds() {
        let mut visitors = Visitors::new(10, 50);
        let mut last = Verdict::Ignored;
        for ms in [0, 500, 900, 1_000, 1_499] {
            last = at(&mut visitors, ms);
        }
        assert_eq!(last, Verdict::Welcome { second: 4, ten_seconds: 5 });
        assert_eq!(at(&mut visitors, 10_000), Verdict::Welcome { second: 1, ten_seconds: 5 });
        assert_eq!(at(&mut visitors, 90_000), Verdict::Welcome { second: 1, ten_seconds: 1 });
    }

    #[test]
    fn counts_are_right_when_the_clock_passes_two_bytes() {
        let mut visitors = Visitors::new(10, 0);
        let mut second_max = 0;
        for ms in (60_000..80_000).step_by(250) {
            match at(&mut visitors, ms) {
                Verdict::Welcome { second, ten_seconds } => {
                    second_max = second_max.max(second);
                    assert!(ten_seconds <= 40);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(second_max, 4);
    }

    #[test]
    fn who_floods_is_ignored_for_five_minutes() {
        let mut visitors = Visitors::new(10, 50);
        for ms in 0..49 {
            assert!(matches!(at(&mut visitors, ms), Verdict::Welcome { .. }));
        }
        assert_eq!(at(&mut visitors, 49), Verdict::Flood { second: 50, ten_seconds: 50 });
        assert_eq!(at(&mut visitors, 299_000), Verdict::Ignored);
        assert_eq!(
            visitors.note(Duration::from_millis(50), 2, FROM),
            Verdict::Welcome { second: 1, ten_seconds: 1 }
        );
        assert_eq!(at(&mut visitors, 300_100), Verdict::Welcome { second: 1, ten_seconds: 1 });
    }

    #[test]
    fn more_than_is_kept_counts_as_what_is_kept() {
        let mut visitors = Visitors::new(10, 0);
        let last = (0..1_000).map(|_| at(&mut visitors, 5)).last();
        assert_eq!(last, Some(Verdict::Welcome { second: 64, ten_seconds: 64 }));
    }

    #[test]
    fn a_full_table_follows_nobody_new() {
        let mut visitors = Visitors::new(1, 50);
        at(&mut visitors, 0);
        assert_eq!(visitors.note(Duration::ZERO, 2, FROM), Verdict::NotFollowed);
        assert!(matches!(at(&mut visitors, 1), Verdict::Welcome { second: 2, .. }));
    }
}
