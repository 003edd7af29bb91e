//! One budget for each remote party, shared by all our virtual nodes and ports.
//!
//! libtorrent blocks an IP for five minutes after 50 packets in 10 s, counted over all its ports, answers
//! included; mldht allows two a second. Whoever exceeds that gets no answers, so the limit is in our own
//! interest: one query a second with a burst of three, and never more than four packets in any second, answers
//! included. A party is an IPv4 address or an IPv6 /64.

use std::net::IpAddr;
use std::time::Duration;

use crate::address::IpKey;
use crate::keyed_hash::HashKey;
use crate::set_cache::SetCache;

/// Why a packet may not be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The party's budget is used up; it allows the packet at this time at the earliest, if nothing else is
    /// sent until then.
    NotBefore(Duration),
    /// More parties have been sent packets within the last seconds than the table can hold.
    TableFull,
}

/// What was allowed and refused, counted from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LimiterCounters {
    /// Queries allowed.
    pub queries: u64,
    /// Queries put off.
    pub queries_refused: u64,
    /// Answers allowed.
    pub replies: u64,
    /// Answers refused.
    pub replies_refused: u64,
    /// Of all refused, those for which the table had no room.
    pub table_full: u64,
}

/// The budgets. 37 bytes a party, of a fixed number; parties to which nothing was sent for some
/// seconds need no place.
#[derive(Debug)]
pub struct Limiter {
    parties: SetCache<Budget>,
    key: HashKey,
    counters: LimiterCounters,
}

impl Limiter {
    /// A table of so many places. Three tenths of them can be in use at the same time before (one in a thousand) parties
    /// find no place: see [`places_for`].
    pub fn new(places: usize, key: HashKey) -> Limiter {
        Limiter { parties: SetCache::new(places), key, counters: LimiterCounters::default() }
    }

    /// Takes the budget for a query to `ip`, or says why not.
    pub fn query(&mut self, now: Duration, ip: IpAddr) -> Result<(), Refusal> {
        let taken = self.take(now, ip, Kind::Query);
        match taken {
            Ok(()) => self.counters.queries += 1,
            Err(_) => self.counters.queries_refused += 1,
        }
        taken
    }

    /// Takes the budget for an answer to `ip`, or says why not.
    pub fn reply(&mut self, now: Duration, ip: IpAddr) -> Result<(), Refusal> {
        let taken = self.take(now, ip, Kind::Reply);
        match taken {
            Ok(()) => self.counters.replies += 1,
            Err(_) => self.counters.replies_refused += 1,
        }
        taken
    }

    /// When a query to `ip` may be sent at the earliest; takes nothing.
    pub fn next_query(&self, now: Duration, ip: IpAddr) -> Duration {
        let budget = self.parties.peek(self.tag(ip)).copied().unwrap_or_default();
        now + Duration::from_millis(u64::from(budget.wait(millis(now), Kind::Query)))
    }

    /// What happened so far.
    pub fn counters(&self) -> LimiterCounters {
        self.counters
    }

    #[inline]
    fn take(&mut self, now: Duration, ip: IpAddr, kind: Kind) -> Result<(), Refusal> {
        let at = millis(now);
        let tag = self.tag(ip);
        // A budget that is whole again is what a new one would be, so it may give way; any other may not.
        let Ok((budget, _)) = self.parties.entry_unless(tag, |budget| !budget.is_whole(at)) else {
            self.counters.table_full += 1;
            return Err(Refusal::TableFull);
        };
        match budget.wait(at, kind) {
            0 => {
                budget.spend(at, kind);
                Ok(())
            }
            wait => Err(Refusal::NotBefore(now + Duration::from_millis(u64::from(wait)))),
        }
    }

    fn tag(&self, ip: IpAddr) -> u64 {
        self.key.hash(&IpKey::of(ip).bits().to_ne_bytes())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Query,
    Reply,
}

/// Times are in milliseconds modulo 2^32, which comes round after 49 days; a time that would be farther in the
/// future than a budget can be is one of the past.
#[derive(Debug, Clone, Copy, Default)]
struct Budget {
    /// When the bucket of queries is full again (the theoretical arrival time of GCRA, less one interval).
    queries_full_at: u32,
    /// When the last packets were sent; the oldest at `next`. Only `sent` of them count.
    packets: [u32; PACKETS_PER_WINDOW],
    next: u8,
    sent: u8,
    /// `queries_full_at` counts.
    asked: bool,
}

impl Budget {
    /// Milliseconds until a packet of this kind may be sent.
    #[inline]
    fn wait(&self, at: u32, kind: Kind) -> u32 {
        match kind {
            // While no query of ours is on the bill, answers leave one packet for it: a remote that asks all the
            // time would otherwise never be asked.
            Kind::Reply if self.debt(at) == 0 => self.wait_for_fewer_than(PACKETS_PER_WINDOW - 1, at),
            Kind::Reply => self.wait_for_fewer_than(PACKETS_PER_WINDOW, at),
            Kind::Query => {
                let for_packet = self.wait_for_fewer_than(PACKETS_PER_WINDOW, at);
                for_packet.max(self.debt(at).saturating_sub(BURST_MS))
            }
        }
    }

    /// Milliseconds until fewer than `count` packets were sent in the last second.
    #[inline]
    fn wait_for_fewer_than(&self, count: usize, at: u32) -> u32 {
        if usize::from(self.sent) < count {
            return 0;
        }
        let place = usize::from(self.next) + PACKETS_PER_WINDOW - count;
        WINDOW_MS.saturating_sub(at.wrapping_sub(self.packets[place % PACKETS_PER_WINDOW]))
    }

    fn spend(&mut self, at: u32, kind: Kind) {
        self.packets[usize::from(self.next) % PACKETS_PER_WINDOW] = at;
        self.next = (self.next + 1) % PACKETS_PER_WINDOW as u8;
        self.sent = (self.sent + 1).min(PACKETS_PER_WINDOW as u8);
        if kind == Kind::Query {
            self.queries_full_at = at.wrapping_add(self.debt(at)).wrapping_add(QUERY_INTERVAL_MS);
            self.asked = true;
        }
    }

    /// Milliseconds until the bucket of queries is full.
    fn debt(&self, at: u32) -> u32 {
        let ahead = self.queries_full_at.wrapping_sub(at);
        if self.asked && ahead <= DEBT_MAX_MS { ahead } else { 0 }
    }

    /// Nothing would be different if nothing had ever been sent.
    fn is_whole(&self, at: u32) -> bool {
        let recent = |sent: &u32| at.wrapping_sub(*sent) < WINDOW_MS;
        self.debt(at) == 0 && !self.packets[..usize::from(self.sent)].iter().any(recent)
    }
}

#[inline]
fn millis(now: Duration) -> u32 {
    now.as_millis() as u32
}

/// Mean time between queries to one party.
pub const QUERY_INTERVAL: Duration = Duration::from_millis(QUERY_INTERVAL_MS as u64);

/// Queries that may follow each other at once.
pub const QUERY_BURST: u32 = 3;

/// Packets to one party in any second, answers included.
pub const PACKETS_PER_WINDOW: usize = 4;

/// Places that keep a table from filling up at this many packets a second, 40 bytes each: a party needs one for a second
/// after an answer and for up to four after queries, and three times as many leave room in nearly every set.
pub fn places_for(packets_per_second: u32) -> usize {
    (packets_per_second as usize).saturating_mul(3 * 4).clamp(PARTIES_MIN, PARTIES_MAX)
}

/// Places however small the budget: 160 KiB.
const PARTIES_MIN: usize = 4_096;

/// Places however large the budget: 80 MiB, for 170,000 packets a second to as many parties.
const PARTIES_MAX: usize = 1 << 21;

const QUERY_INTERVAL_MS: u32 = 1_000;

/// A second, and one more step of the clock: times are rounded down.
const WINDOW_MS: u32 = 1_001;

const BURST_MS: u32 = (QUERY_BURST - 1) * QUERY_INTERVAL_MS;

const DEBT_MAX_MS: u32 = QUERY_BURST * QUERY_INTERVAL_MS;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limiter() -> Limiter {
        Limiter::new(1_000, HashKey::derive(&[1; 32], "limiter"))
    }

    fn ip(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn three_queries_at_once_then_one_a_second() {
        let mut limiter = limiter();
        for _ in 0..3 {
            assert_eq!(limiter.query(ms(0), ip(1)), Ok(()));
        }
        assert_eq!(limiter.query(ms(0), ip(1)), Err(Refusal::NotBefore(ms(1_000))));
        assert_eq!(limiter.next_query(ms(0), ip(1)), ms(1_000));
        assert_eq!(limiter.query(ms(1_000), ip(1)), Ok(()));
        assert_eq!(limiter.query(ms(1_500), ip(1)), Err(Refusal::NotBefore(ms(2_000))));
        assert_eq!(limiter.query(ms(1_500), ip(2)), Ok(()));
        assert_eq!(limiter.counters().queries, 5);
        assert_eq!(limiter.counters().queries_refused, 2);
    }

    #[test]
    fn after_three_quiet_seconds_the_burst_is_whole_again() {
        let mut limiter = limiter();
        for start in [0, 3_000, 60_000] {
            let allowed = (0..5).filter(|_| limiter.query(ms(start), ip(1)).is_ok()).count();
            assert_eq!(allowed, 3, "at {start}");
        }
    }

    #[test]
    fn answers_count_against_the_packets_of_a_second() {
        let mut limiter = limiter();
        assert!((0..3).all(|_| limiter.query(ms(0), ip(1)).is_ok()));
        assert_eq!(limiter.reply(ms(10), ip(1)), Ok(()));
        assert_eq!(limiter.reply(ms(10), ip(1)), Err(Refusal::NotBefore(ms(1_001))));
        assert_eq!(limiter.reply(ms(1_001), ip(1)), Ok(()));
        assert_eq!(limiter.counters().replies_refused, 1);
    }

    #[test]
    fn answers_leave_room_for_a_query() {
        let mut limiter = limiter();
        assert!((0..3).all(|n| limiter.reply(ms(n * 100), ip(1)).is_ok()));
        assert_eq!(limiter.reply(ms(300), ip(1)), Err(Refusal::NotBefore(ms(1_001))));
        assert_eq!(limiter.query(ms(400), ip(1)), Ok(()));
        assert_eq!(limiter.reply(ms(500), ip(1)), Err(Refusal::NotBefore(ms(1_001))));
        // For a minute of questions to us there is one of ours in each second.
        let mut asked = 0;
        for at in 2_000..62_000 {
            let _ = limiter.reply(ms(at), ip(1));
            asked += u32::from(at % 50 == 0 && limiter.query(ms(at), ip(1)).is_ok());
        }
        assert!(asked >= 55, "{asked}");
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_budget() {
        let mut limiter = limiter();
        let six = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!((0..3).all(|n| limiter.query(ms(0), six(&format!("2001:db8:1:2::{n}"))).is_ok()));
        assert!(limiter.query(ms(0), six("2001:db8:1:2:ffff::")).is_err());
        assert!(limiter.query(ms(0), six("2001:db8:1:3::")).is_ok());
    }

    #[test]
    fn a_flood_of_addresses_does_not_reset_a_budget_in_use() {
        let mut limiter = Limiter::new(64, HashKey::derive(&[1; 32], "limiter"));
        assert!((0..3).all(|_| limiter.query(ms(0), ip(1)).is_ok()));
        for n in 0..10_000_u32 {
            let _ = limiter.reply(ms(5), IpAddr::from(n.to_be_bytes()));
        }
        assert!(limiter.query(ms(10), ip(1)).is_err());
        assert!(limiter.counters().table_full > 9_000);
        // Seconds later the places are free for others.
        assert!((0..8).all(|n| limiter.reply(ms(9_000), ip(n)).is_ok()));
    }

    #[test]
    fn the_budget_holds_when_the_clock_of_the_table_comes_round() {
        let mut limiter = limiter();
        let end = 1 << 32;
        assert!((0..3).all(|_| limiter.query(ms(end - 1_500), ip(1)).is_ok()));
        assert!(limiter.query(ms(end - 600), ip(1)).is_err());
        assert!(limiter.query(ms(end + 500), ip(1)).is_ok());
        assert!(limiter.query(ms(end + 500), ip(1)).is_ok());
        assert!(limiter.query(ms(end + 500), ip(1)).is_err());
        // An entry that is older than half a turn says nothing.
        assert!((0..3).all(|_| limiter.query(ms(end + (1 << 31) + 9_000), ip(1)).is_ok()));
    }

    proptest! {
        #[test]
        fn no_window_ever_exceeds_the_budget(
            start in 0_u64..u64::from(u32::MAX) * 2,
            packets in prop::collection::vec((0_u64..700_000, 0_u8..3, any::<bool>()), 1..300),
        ) {
            let mut limiter = Limiter::new(8, HashKey::derive(&[1; 32], "limiter"));
            let mut now = Duration::from_millis(start);
            let mut sent: Vec<(Duration, u8, bool)> = Vec::new();
            for (pause, n, query) in packets {
                now += Duration::from_micros(pause);
                let taken = if query { limiter.query(now, ip(n)) } else { limiter.reply(now, ip(n)) };
                match taken {
                    Ok(()) => sent.push((now, n, query)),
                    Err(Refusal::NotBefore(at)) => {
                        prop_assert!(at > now && at <= now + Duration::from_secs(3));
                        if query {
                            prop_assert_eq!(limiter.next_query(now, ip(n)), at);
                        }
                    }
                    Err(Refusal::TableFull) => prop_assert!(false, "three parties have room"),
                }
            }
            for (first, n, _) in &sent {
                let of_party = || sent.iter().filter(|(at, party, _)| party == n && at >= first);
                let second = of_party().filter(|(at, ..)| *at - *first < Duration::from_secs(1)).count();
                prop_assert!(second <= PACKETS_PER_WINDOW);
                for (last, ..) in of_party() {
                    let queries = of_party().filter(|(at, _, query)| *query && at <= last).count();
                    // Rounding to milliseconds may give one millisecond.
                    let budget = 3.0 + (*last - *first).as_secs_f64() + 0.001;
                    prop_assert!(queries as f64 <= budget, "{queries} > {budget}");
                }
            }
        }
    }
}
