//! What remotes may cost us that have never answered a query of ours.
//!
//! Anybody can write any source address on a query; an answer to a query of ours proves that somebody is there. So a flood from
//! made-up addresses must take neither the packets of those who are known, nor those of our own queries, nor the
//! endpoints that we may begin to speak to: it has a share of each. Of packets it may have more while nobody else
//! wants them.

use std::time::Duration;

use crate::budget::Bucket;

/// The shares of strangers.
#[derive(Debug)]
pub(crate) struct Strangers {
    answers: Bucket,
    newcomers: Bucket,
    /// Until when a query of ours counts as waiting for a packet.
    contended_until: Duration,
}

impl Strangers {
    pub(crate) fn new(packets_per_second: u32, new_endpoints_per_minute: u32) -> Strangers {
        let (answers, newcomers) = (packets_per_second / 2, new_endpoints_per_minute / 4);
        Strangers {
            answers: Bucket::new(answers, SECOND, (answers / 4).max(4)),
            newcomers: Bucket::new(newcomers, MINUTE, (newcomers / 30).max(NEWCOMERS_BURST)),
            contended_until: Duration::ZERO,
        }
    }

    /// Whether a stranger may be answered or listened to, which it then counts as.
    pub(crate) fn answer(&mut self, now: Duration) -> bool {
        !self.is_contended(now) || self.answers.take(now, 0)
    }

    /// Whether queries of ours wait for packets, so that it matters who is a stranger.
    pub(crate) fn is_contended(&self, now: Duration) -> bool {
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
    fn strangers_get_half_of_the_packets_while_we_want_to_ask_and_all_that_is_left_otherwise() {
        let mut strangers = Strangers::new(100, 1_200);
        strangers.contend(at(0));
        let mut answered = |from, to| (from..to).filter(|ms| strangers.answer(at(*ms))).count();
        assert_eq!(answered(0, 500), 12 + 25 - 1);
        assert_eq!(answered(500, 1_000), 500);
    }

    #[test]
    fn a_quarter_of_the_new_endpoints_may_be_strangers() {
        let mut strangers = Strangers::new(100, 1_200);
        let taken = (0..600_000).filter(|ms| strangers.newcomer(at(*ms))).count();
        assert!((3_000..=3_064).contains(&taken), "{taken}");
    }
}
