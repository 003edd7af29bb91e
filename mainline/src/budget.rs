//! Budgets for all remotes together: packets and bytes a second, and new endpoints a minute.
//!
//! What kills a home router is the number of distinct remote endpoints a minute (each is a NAT
//! state), then packets per second; what fills a line up are bytes: answers are three times as long as queries. So
//! each is bounded on its own.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use crate::endpoint::Endpoint;

/// A budget that is shared by everything we send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BudgetKind {
    /// Datagrams a second, answers included.
    Packets,
    /// Bytes a second that these carry.
    Bytes,
    /// Endpoints a minute that we begin to speak to.
    Endpoints,
}

impl BudgetKind {
    /// All of them.
    pub const ALL: [BudgetKind; 3] = [BudgetKind::Packets, BudgetKind::Bytes, BudgetKind::Endpoints];

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            BudgetKind::Packets => "packets",
            BudgetKind::Bytes => "bytes",
            BudgetKind::Endpoints => "new endpoints",
        }
    }

    /// The time for which [`BudgetUse::limit`] holds.
    pub const fn period(self) -> Duration {
        match self {
            BudgetKind::Packets | BudgetKind::Bytes => SECOND,
            BudgetKind::Endpoints => MINUTE,
        }
    }
}

/// How a budget stands. What was used and held back counts from the start on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetUse {
    /// Which one.
    pub kind: BudgetKind,
    /// What it allows in a [`period`](BudgetKind::period), beside a burst of a quarter of a second (endpoints: two seconds).
    pub limit: u64,
    /// What was taken from it.
    pub used: u64,
    /// Times that it kept something from being sent: answers that were not given for it, and turns of queries that it
    /// ended before all that could be asked were.
    pub held: u64,
}

/// Tokens that come at a steady rate, up to a burst.
#[derive(Debug)]
pub struct Bucket {
    /// Time that one token takes to come.
    step: Duration,
    /// Time by which the bucket may be ahead: burst * step.
    depth: Duration,
    /// When the bucket will be full again.
    full_at: Duration,
}

impl Bucket {
    /// `rate` tokens in each `period`, at most `burst` at once. The bucket starts full.
    pub fn new(rate: u32, period: Duration, burst: u32) -> Bucket {
        // Rounded up, so that it is never more than the rate: at 100 MB a second a token takes 10 ns.
        let step = period.as_nanos().div_ceil(u128::from(rate.max(1)));
        let step = Duration::from_nanos(u64::try_from(step).unwrap_or(u64::MAX));
        Bucket { step, depth: step * burst.max(1), full_at: Duration::ZERO }
    }

    /// Whether more than `reserve` tokens are there. Asked several times for each packet, so without a division.
    #[inline]
    pub fn has_more_than(&self, reserve: u32, now: Duration) -> bool {
        let missing = self.full_at.saturating_sub(now);
        self.depth.saturating_sub(missing) >= self.step * reserve.saturating_add(1)
    }

    /// How many tokens are there.
    pub fn available(&self, now: Duration) -> u32 {
        let there = self.depth.saturating_sub(self.full_at.saturating_sub(now));
        u32::try_from(there.as_nanos() / self.step.as_nanos().max(1)).unwrap_or(u32::MAX)
    }

    /// Takes a token if more than `reserve` are there.
    pub fn take(&mut self, now: Duration, reserve: u32) -> bool {
        let has = self.has_more_than(reserve, now);
        if has {
            self.spend(now, 1);
        }
        has
    }

    /// Takes tokens. Those that are not there have to come before there are any again.
    pub fn spend(&mut self, now: Duration, tokens: u32) {
        self.full_at = self.full_at.max(now) + self.step * tokens;
    }
}

/// A bucket of which a quarter is kept for answers.
#[derive(Debug)]
struct Share {
    bucket: Bucket,
    limit: u32,
    reserve: u32,
    used: u64,
    held: u64,
}

impl Share {
    /// A quarter of a second's worth at once, and at least `burst_min`.
    fn new(limit: u32, burst_min: u32) -> Share {
        let burst = (limit / 4).max(burst_min);
        Share { bucket: Bucket::new(limit, SECOND, burst), limit, reserve: burst / 4, used: 0, held: 0 }
    }

    fn has(&self, now: Duration, kind: Sending) -> bool {
        let reserve = if kind == Sending::Query { self.reserve } else { 0 };
        self.bucket.has_more_than(reserve, now)
    }

    fn spend(&mut self, now: Duration, tokens: u32) {
        self.bucket.spend(now, tokens);
        self.used += u64::from(tokens);
    }

    fn report(&self, kind: BudgetKind) -> BudgetUse {
        BudgetUse { kind, limit: self.limit.into(), used: self.used, held: self.held }
    }
}

/// What is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sending {
    /// A question of ours, which can wait.
    Query,
    /// An answer, for which a share is kept: whoever is asked much would otherwise ask nothing, or answer nothing.
    Answer,
}

/// The budgets for datagrams and for their bytes.
#[derive(Debug)]
pub(crate) struct SendBudget {
    packets: Share,
    bytes: Share,
}

impl SendBudget {
    pub(crate) fn new(packets_per_second: u32, bytes_per_second: u32) -> SendBudget {
        SendBudget {
            packets: Share::new(packets_per_second, PACKETS_BURST_MIN),
            bytes: Share::new(bytes_per_second, BYTES_BURST_MIN),
        }
    }

    /// Whether a datagram may be sent. How long it is nobody knows yet: it may take the bytes of the next ones with it, by
    /// one datagram at most.
    pub(crate) fn has(&self, now: Duration, kind: Sending) -> bool {
        self.packets.has(now, kind) && self.bytes.has(now, kind)
    }

    /// A datagram is sent.
    pub(crate) fn spend(&mut self, now: Duration, bytes: usize) {
        self.packets.spend(now, 1);
        self.bytes.spend(now, u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// Something is not sent, or not yet, for want of what [`has`](SendBudget::has) has looked for.
    pub(crate) fn held_back(&mut self, now: Duration, kind: Sending) {
        for share in [&mut self.packets, &mut self.bytes] {
            share.held += u64::from(!share.has(now, kind));
        }
    }

    /// An answer is not given for want of packets in the share of those who have it.
    pub(crate) fn held_back_a_share(&mut self) {
        self.packets.held += 1;
    }

    pub(crate) fn report(&self) -> [BudgetUse; 2] {
        [self.packets.report(BudgetKind::Packets), self.bytes.report(BudgetKind::Bytes)]
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
    limit: u32,
    used: u64,
    held: u64,
}

impl EndpointBudget {
    pub(crate) fn new(new_endpoints_per_minute: u32) -> EndpointBudget {
        let burst = (new_endpoints_per_minute / 30).max(8);
        EndpointBudget {
            bucket: Bucket::new(new_endpoints_per_minute, MINUTE, burst),
            recent: HashSet::new(),
            before: HashSet::new(),
            span_ends: NAT_LIFETIME,
            limit: new_endpoints_per_minute,
            used: 0,
            held: 0,
        }
    }

    /// Whether `to` may be spoken to now.
    pub(crate) fn allows(&mut self, now: Duration, to: SocketAddr) -> bool {
        self.turn(now);
        let to = Endpoint::from(to);
        self.recent.contains(&to) || self.before.contains(&to) || self.bucket.has_more_than(0, now)
    }

    /// Whether any new endpoint may be spoken to now.
    pub(crate) fn has_room(&self, now: Duration) -> bool {
        self.bucket.has_more_than(0, now)
    }

    /// `to` is spoken to.
    pub(crate) fn count(&mut self, now: Duration, to: SocketAddr) {
        self.turn(now);
        let to = Endpoint::from(to);
        // Twice the budget at most are in the sets: each insertion below costs a token or moves one over.
        if !self.recent.contains(&to) {
            if !self.before.contains(&to) {
                self.bucket.spend(now, 1);
                self.used += 1;
            }
            self.recent.insert(to);
        }
    }

    /// Somebody is not spoken to, or not yet, for want of room.
    pub(crate) fn held_back(&mut self) {
        self.held += 1;
    }

    pub(crate) fn report(&self) -> BudgetUse {
        let (limit, used, held) = (self.limit.into(), self.used, self.held);
        BudgetUse { kind: BudgetKind::Endpoints, limit, used, held }
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

/// Packets at once that the least budget allows: three queries, and an answer.
const PACKETS_BURST_MIN: u32 = 4;

/// Bytes at once that the least budget allows: two of the longest datagrams that we send, one of them an answer.
const BYTES_BURST_MIN: u32 = 2_048;

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

    /// Sends a datagram if the budget has it.
    fn send(budget: &mut SendBudget, ms: u64, kind: Sending, bytes: usize) -> bool {
        let has = budget.has(at(ms), kind);
        if has {
            budget.spend(at(ms), bytes);
        } else {
            budget.held_back(at(ms), kind);
        }
        has
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
        let mut budget = SendBudget::new(100, 1_000_000);
        let sent: Vec<u64> = (0..10_000).filter(|ms| send(&mut budget, *ms, Sending::Query, 100)).collect();
        let most = sent
            .iter()
            .map(|from| sent.iter().filter(|ms| **ms >= *from && **ms < from + 1_000).count())
            .max();
        assert!(most <= Some(125), "{most:?}");
        assert!(sent.len() >= 990, "{}", sent.len());
    }

    #[test]
    fn over_any_second_no_more_bytes_than_rate_burst_and_a_datagram_are_sent() {
        let mut budget = SendBudget::new(1_000_000, 50_000);
        let lengths = |ms: u64| 60 + (ms as usize * 7_919) % 964;
        let sent: Vec<u64> = (0..10_000)
            .filter(|ms| {
                let kind = if ms % 3 == 0 { Sending::Answer } else { Sending::Query };
                send(&mut budget, *ms, kind, lengths(*ms))
            })
            .collect();
        for from in &sent {
            let within = sent.iter().filter(|ms| **ms >= *from && **ms < from + 1_000);
            let bytes: usize = within.map(|ms| lengths(*ms)).sum();
            assert!(bytes <= 50_000 + 12_500 + 1_024, "{bytes} bytes from {from} ms on");
        }
        let all: usize = sent.iter().map(|ms| lengths(*ms)).sum();
        assert!(all >= 490_000, "{all}");
        let [packets, bytes] = budget.report();
        assert_eq!((packets.used, packets.held), (sent.len() as u64, 0));
        assert_eq!((bytes.used, bytes.held), (all as u64, 10_000 - sent.len() as u64));
    }

    #[test]
    fn a_share_is_kept_for_answers() {
        let mut budget = SendBudget::new(100, 1_000_000);
        let queries = (0..100).filter(|_| send(&mut budget, 0, Sending::Query, 100)).count();
        let answers = (0..100).filter(|_| send(&mut budget, 0, Sending::Answer, 100)).count();
        assert_eq!((queries, answers), (19, 6));
        let mut budget = SendBudget::new(1_000, 40_000);
        let queries = (0..100).filter(|_| send(&mut budget, 0, Sending::Query, 100)).count();
        let answers = (0..100).filter(|_| send(&mut budget, 0, Sending::Answer, 500)).count();
        assert_eq!((queries, answers), (75, 5));
    }

    #[test]
    fn the_least_budget_allows_a_datagram_of_each_kind() {
        let mut budget = SendBudget::new(1, 1_000);
        assert!(send(&mut budget, 0, Sending::Query, 100));
        assert!(send(&mut budget, 0, Sending::Answer, 1_024));
        assert!(send(&mut budget, 600_000, Sending::Query, 100));
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
            } else {
                budget.held_back();
            }
        }
        assert_eq!(spoken, 8);
        let report = budget.report();
        assert_eq!((report.limit, report.used, report.held), (60, 8, 91));
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
