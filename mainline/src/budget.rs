//! Budgets for all remotes together: packets a second, and new endpoints a minute.
//!
//! What kills a home router is the number of distinct remote endpoints a minute (each is a NAT
//! state), then packets per second: so both are bounded, each on its own.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use crate::endpoint::Endpoint;

/// Tokens that come at a steady rate, up to a burst.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// Time that one token takes to come.
    step: Duration,
    /// Time by which the bucket may be ahead: burst * step.
    depth: Duration,
    /// When the bucket will be full again.
    full_at: Duration,
}

impl Bucket {
    /// `rate` tokens in each `period`, at most `burst` at once. The bucket starts full.
    pub(crate) fn new(rate: u32, period: Duration, burst: u32) -> Bucket {
        let step = period / rate.max(1);
        Bucket { step, depth: step * burst.max(1), full_at: Duration::ZERO }
    }

    /// How many tokens there are.
    pub(crate) fn tokens(&self, now: Duration) -> u32 {
        let missing = self.full_at.saturating_sub(now);
        let there = self.depth.saturating_sub(missing);
        (there.as_nanos() / self.step.as_nanos().max(1)).min(u128::from(u32::MAX)) as u32
    }

    /// Takes a token if more than `reserve` are there.
    pub(crate) fn take(&mut self, now: Duration, reserve: u32) -> bool {
        if self.tokens(now) <= reserve {
            return false;
        }
        self.full_at = self.full_at.max(now) + self.step;
        true
    }
}

/// The budget for datagrams.
#[derive(Debug)]
pub(crate) struct PacketBudget {
    bucket: Bucket,
    reserve: u32,
}

impl PacketBudget {
    pub(crate) fn new(packets_per_second: u32) -> PacketBudget {
        // A quarter of a second's worth at once; a quarter of that only for answers.
        let burst = (packets_per_second / 4).max(4);
        PacketBudget { bucket: Bucket::new(packets_per_second, SECOND, burst), reserve: burst / 4 }
    }

    /// Whether a query may be sent, which it then counts as.
    pub(crate) fn query(&mut self, now: Duration) -> bool {
        self.bucket.take(now, self.reserve)
    }

    /// Whether a query may be sent.
    pub(crate) fn has_query(&self, now: Duration) -> bool {
        self.bucket.tokens(now) > self.reserve
    }

    /// Whether an answer may be sent.
    pub(crate) fn has_answer(&self, now: Duration) -> bool {
        self.bucket.tokens(now) > 0
    }

    /// Whether an answer may be sent, which it then counts as.
    pub(crate) fn answer(&mut self, now: Duration) -> bool {
        self.bucket.take(now, 0)
    }
}

/// The budget for endpoints that we begin to speak to.
#[derive(Debug)]
pub(crate) struct EndpointBudget {
    bucket: Bucket,
    /// Endpoints spoken to in this span and in the one before it.
    recent: HashSet<Endpoint>,
    before: HashSet<Endpoint>,
    span_ends: Duration,
}

impl EndpointBudget {
    pub(crate) fn new(new_endpoints_per_minute: u32) -> EndpointBudget {
        let burst = (new_endpoints_per_minute / 30).max(8);
        EndpointBudget {
            bucket: Bucket::new(new_endpoints_per_minute, MINUTE, burst),
            recent: HashSet::new(),
            before: HashSet::new(),
            span_ends: NAT_LIFETIME,
        }
    }

    /// Whether `to` may be spoken to now.
    pub(crate) fn allows(&mut self, now: Duration, to: SocketAddr) -> bool {
        self.turn(now);
        let to = Endpoint::from(to);
        self.recent.contains(&to) || self.before.contains(&to) || self.bucket.tokens(now) > 0
    }

    /// Whether any new endpoint may be spoken to now.
    pub(crate) fn has_room(&self, now: Duration) -> bool {
        self.bucket.tokens(now) > 0
    }

    /// `to` is spoken to.
    pub(crate) fn count(&mut self, now: Duration, to: SocketAddr) {
        self.turn(now);
        let to = Endpoint::from(to);
        // Twice the budget at most are in the sets: each insertion below costs a token or moves one over.
        if !self.recent.contains(&to) {
            if !self.before.contains(&to) {
                self.bucket.take(now, 0);
            }
            self.recent.insert(to);
        }
    }

    fn turn(&mut self, now: Duration) {
        if now < self.span_ends {
            return;
        }
        std::mem::swap(&mut self.recent, &mut self.before);
        self.recent.clear();
        if now >= self.span_ends + NAT_LIFETIME {
            self.before.clear();
        }
        self.span_ends = now + NAT_LIFETIME;
    }
}

const SECOND: Duration = Duration::from_secs(1);

const MINUTE: Duration = Duration::from_secs(60);

/// Routers drop an idle UDP mapping after 30 s to 5 min; 2 min is what RFC 4787 asks for.
const NAT_LIFETIME: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(10, SECOND, 3);
        let taken = |bucket: &mut Bucket, ms| (0..20).filter(|_| bucket.take(at(ms), 0)).count();
        assert_eq!(taken(&mut bucket, 1_000), 3);
        assert_eq!(taken(&mut bucket, 1_099), 0);
        assert_eq!(taken(&mut bucket, 1_100), 1);
        assert_eq!(taken(&mut bucket, 1_300), 2);
        assert_eq!(taken(&mut bucket, 60_000), 3);
    }

    #[test]
    fn over_any_second_no_more_than_rate_and_burst_are_sent() {
        let mut budget = PacketBudget::new(100);
        let sent: Vec<u64> = (0..10_000).filter(|ms| budget.query(at(*ms))).collect();
        let most = sent
            .iter()
            .map(|from| sent.iter().filter(|ms| **ms >= *from && **ms < from + 1_000).count())
            .max();
        assert!(most <= Some(125), "{most:?}");
        assert!(sent.len() >= 990, "{}", sent.len());
    }

    #[test]
    fn a_share_is_kept_for_answers() {
        let mut budget = PacketBudget::new(100);
        let queries = (0..100).filter(|_| budget.query(at(0))).count();
        let answers = (0..100).filter(|_| budget.answer(at(0))).count();
        assert_eq!((queries, answers), (19, 6));
    }

    #[test]
    fn only_new_endpoints_cost_and_they_are_forgotten_in_the_end() {
        let mut budget = EndpointBudget::new(60);
        let addr = |n: u16| SocketAddr::from(([192, 0, 2, 1], n));
        let mut spoken = 0;
        for n in 1..100 {
            if budget.allows(at(0), addr(n)) {
                budget.count(at(0), addr(n));
                spoken += 1;
            }
        }
        assert_eq!(spoken, 8);
        assert!(budget.allows(at(0), addr(1)));
        assert!(!budget.allows(at(0), addr(99)));
        // Spoken to all the time, an endpoint stays known; left alone it is new again.
        budget.count(at(130_000), addr(1));
        budget.count(at(250_000), addr(1));
        assert!(budget.recent.len() + budget.before.len() <= 2);
        for n in 1_000..1_100 {
            if budget.allows(at(250_000), addr(n)) {
                budget.count(at(250_000), addr(n));
            }
        }
        assert!(budget.allows(at(250_000), addr(1)));
        assert!(!budget.allows(at(250_000), addr(2)));
    }
}
