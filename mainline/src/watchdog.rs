//! Watches whether anybody still answers.
//!
//! Two things look alike from inside: our own line is down, and our tables are full of nodes that lead
//! nowhere (networks of fake neighbours have held indexers captive for hours). While nobody answers, silence says
//! nothing about a node, so no node is given up; and the way back in is tried again.

use std::time::Duration;

/// Counts answers and time-outs in spans of a few seconds.
#[derive(Debug)]
pub(crate) struct Watchdog {
    span_ends: Duration,
    answered: u32,
    timed_out: u32,
    /// Spans in a row that went badly.
    bad_spans: u32,
    last_answer: Duration,
    /// Answers that could have been expected since then.
    missing: f64,
    reseed_after: Duration,
}

impl Watchdog {
    pub(crate) fn new(now: Duration) -> Watchdog {
        Watchdog {
            span_ends: now + SPAN,
            answered: 0,
            timed_out: 0,
            bad_spans: 0,
            last_answer: now,
            missing: 0.0,
            reseed_after: now + RESEED_PAUSE,
        }
    }

    pub(crate) fn answered(&mut self, now: Duration) {
        self.answered += 1;
        self.missing = 0.0;
        self.last_answer = now;
    }

    /// A query was not answered that would have been with this probability: the silence of nodes that are most likely
    /// dead says nothing about us, and towards the end of a sweep hardly any others are asked.
    pub(crate) fn timed_out(&mut self, expected: f64) {
        self.timed_out += 1;
        self.missing += expected;
    }

    /// Nobody has answered for so long, and so many were asked, that it must be us.
    pub(crate) fn is_cut_off(&self, now: Duration) -> bool {
        self.missing >= MISSING_MIN && now >= self.last_answer + CUT_OFF_AFTER
    }

    /// Whether it is time to start over, knowing `live` nodes: at most once in a while.
    pub(crate) fn wants_reseed(&mut self, now: Duration, live: usize) -> bool {
        if now >= self.span_ends {
            let all = self.answered + self.timed_out;
            let bad = all >= SPAN_QUERIES_MIN && self.answered * SUCCESS_SHARE < all;
            self.bad_spans = if bad { self.bad_spans + 1 } else { 0 };
            (self.answered, self.timed_out) = (0, 0);
            self.span_ends = now + SPAN;
        }
        let collapsed = self.bad_spans >= BAD_SPANS || self.is_cut_off(now) || live == 0;
        if !collapsed || now < self.reseed_after {
            return false;
        }
        self.bad_spans = 0;
        self.reseed_after = now + RESEED_PAUSE;
        true
    }
}

/// Length of a span.
const SPAN: Duration = Duration::from_secs(10);

/// With fewer queries in a span its ratio says nothing.
const SPAN_QUERIES_MIN: u32 = 20;

/// Less than one answer in so many queries is bad: half of the contacts being dead is usual, nine in ten is not.
const SUCCESS_SHARE: u32 = 12;

/// Bad spans in a row that make a collapse.
const BAD_SPANS: u32 = 3;

/// So many expected answers do not all fail to come by chance: as often as one in a million times.
const MISSING_MIN: f64 = 14.0;

/// No answer for this long, beside that.
const CUT_OFF_AFTER: Duration = Duration::from_secs(15);

/// Starting over is not repeated sooner.
const RESEED_PAUSE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn silence_of_all_is_our_own_fault_until_one_answers() {
        let mut dog = Watchdog::new(at(0));
        for _ in 0..28 {
            dog.timed_out(0.5);
        }
        assert!(!dog.is_cut_off(at(14)));
        assert!(dog.is_cut_off(at(15)));
        assert!(dog.wants_reseed(at(60), 1_000));
        assert!(!dog.wants_reseed(at(61), 1_000));
        dog.answered(at(62));
        assert!(!dog.is_cut_off(at(300)));
        assert!(!dog.wants_reseed(at(300), 1_000));
    }

    #[test]
    fn the_silence_of_those_who_are_most_likely_dead_says_nothing_about_us() {
        let mut dog = Watchdog::new(at(0));
        for _ in 0..250 {
            dog.timed_out(0.05);
        }
        assert!(!dog.is_cut_off(at(60)));
    }

    #[test]
    fn half_of_the_nodes_being_dead_is_no_alarm() {
        let mut dog = Watchdog::new(at(0));
        for second in 0..600 {
            for _ in 0..10 {
                dog.answered(at(second));
                dog.timed_out(0.5);
            }
            assert!(!dog.wants_reseed(at(second), 1_000));
        }
    }

    #[test]
    fn a_collapse_of_the_ratio_is_noticed_within_a_minute() {
        let mut dog = Watchdog::new(at(0));
        let mut noticed = None;
        for second in 0..600 {
            let bad = second >= 120;
            for n in 0..20 {
                if bad && n > 0 { dog.timed_out(0.5) } else { dog.answered(at(second)) }
            }
            if dog.wants_reseed(at(second), 1_000) {
                noticed = noticed.or(Some(second));
            }
        }
        assert!(noticed.is_some_and(|second| (140..180).contains(&second)), "{noticed:?}");
    }

    #[test]
    fn an_empty_table_asks_for_nodes_again_and_again() {
        let mut dog = Watchdog::new(at(0));
        let asked: Vec<u64> = (0..200).filter(|second| dog.wants_reseed(at(*second), 0)).collect();
        assert_eq!(asked, [60, 120, 180]);
    }
}
