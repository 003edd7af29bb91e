//! What those who ask us may cost, above all remotes that have never answered a query of ours.
//!
//! Everybody is answered while there are packets for it. While queries of ours wait for packets, answers have a half of them:
//! with a small budget and many who ask (16 packets a second, 4,000 nodes in simulation) two packets of three were answers, and
//! our own crawl was left behind. Anybody can write any source address on a query; an answer to a query of ours proves that somebody is there. So a flood from
//! made-up addresses must take neither the packets of those who are known, nor the endpoints that we may
//! begin to speak to: it has half of the answers, and a quarter of the endpoints.

use std::time::Duration;

use crate::budget::Bucket;

/// The shares of strangers.
#[derive(Debug)]
pub(crate) struct Strangers {
    answers: Bucket,
    answers_to_strangers: Bucket,
    newcomers: Bucket,
    /// Until when a query of ours counts as waiting for a packet.
    contended_until: Duration,
}

impl Strangers {
    pub(crate) fn new(packets_per_second: u32, new_endpoints_per_minute: u32) -> Strangers {
        let bucket = |share: u32| {
            Bucket::new(packets_per_second / share, SECOND, (packets_per_second / share / 4).max(4))
        };
        let newcomers = new_endpoints_per_minute / 4;
        Strangers {
            answers: bucket(2),
            answers_to_strangers: bucket(4),
            newcomers: Bucket::new(newcomers, MINUTE, (newcomers / 30).max(NEWCOMERS_BURST)),
            contended_until: Duration::ZERO,
        }
    }

    /// Whether somebody may be answered and listened to, which then counts. `is_known` is asked only while it matters.
    pub(crate) fn answer(&mut self, now: Duration, is_known: impl FnOnce() -> bool) -> bool {
        if !self.is_contended(now) {
            return true;
        }
        let has_share =
            self.answers.has_more_than(0, now) && (is_known() || self.answers_to_strangers.take(now, 0));
        if has_share {
            self.answers.spend(now, 1);
        }
        has_share
    }

    /// Whether queries of ours wait for packets.
    fn is_contended(&self, now: Duration) -> bool {
        now < self.contended_until
    }

    /// Whether a stranger may be taken up as a node to visit, which it then counts as.
    pub(crate) fn newcomer(&mut self, now: Duration) -> bool {
        self.newcomers.take(now, 0)
    }

    /// A query of ours was not sent because the budget for packets was used up.
    pub(crate) fn contend(&mut self, now: Duration) {
        self.contended_until = now + CONTENTION;
    }
}

const SECOND: Duration = Duration::from_secs(1);

const MINUTE: Duration = Duration::from_secs(60);

/// Neighbours that all look for their own ids at the same time, as after a cut of the network.
const NEWCOMERS_BURST: u32 = 64;

/// A query that waited counts for so long: several turns of the engine.
const CONTENTION: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn answers_get_half_of_the_packets_while_we_want_to_ask_and_all_that_is_left_otherwise() {
        for (known, expected) in [(true, 12 + 25 - 1), (false, 6 + 12)] {
            let mut strangers = Strangers::new(100, 1_200);
            strangers.contend(at(0));
            let mut answered = |from, to| (from..to).filter(|ms| strangers.answer(at(*ms), || known)).count();
            assert_eq!(answered(0, 500), expected, "known: {known}");
            assert_eq!(answered(500, 1_000), 500);
        }
    }

    #[test]
    fn strangers_leave_the_known_their_part_of_the_answers() {
        let mut strangers = Strangers::new(100, 1_200);
        let mut known = 0;
        for ms in 0..10_000 {
            strangers.contend(at(ms));
            strangers.answer(at(ms), || false);
            // Twenty known ones a second, among a thousand strangers.
            known += u32::from(ms % 50 == 0 && strangers.answer(at(ms), || true));
        }
        assert!(known >= 198, "{known} of 200");
    }

    #[test]
    fn a_quarter_of_the_new_endpoints_may_be_strangers() {
        let mut strangers = Strangers::new(100, 1_200);
        let taken = (0..600_000).filter(|ms| strangers.newcomer(at(*ms))).count();
        assert!((3_000..=3_064).contains(&taken), "{taken}");
    }
}
