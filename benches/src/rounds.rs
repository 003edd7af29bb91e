//! Contenders that take turns, so that whatever disturbs the machine disturbs all of them.

use std::fmt;

use crate::thread_cpu_time;

/// One of those that are compared.
pub struct Contender<'a> {
    round: Box<dyn FnMut() -> u64 + 'a>,
}

impl fmt::Debug for Contender<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Contender")
    }
}

impl<'a> Contender<'a> {
    /// `round` does the work once more and says how many operations that were.
    pub fn new(round: impl FnMut() -> u64 + 'a) -> Self {
        Self { round: Box::new(round) }
    }
}

/// CPU time of one operation, over all rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// In the best round, nanoseconds: what it takes when nothing disturbs.
    pub min_ns: f64,
    /// In the middle round, nanoseconds.
    pub median_ns: f64,
}

impl Cost {
    fn of(mut rounds: Vec<f64>) -> Self {
        rounds.sort_unstable_by(f64::total_cmp);
        let at = |index: usize| rounds.get(index).copied().unwrap_or(f64::NAN);
        Self { min_ns: at(0), median_ns: at(rounds.len() / 2) }
    }
}

/// Lets each contender do a round, then each the next one, and so on; one round more, the first, only warms up.
pub fn take_turns<const N: usize>(rounds: usize, mut contenders: [Contender<'_>; N]) -> [Cost; N] {
    let mut measured = [const { Vec::new() }; N];
    for round in 0..=rounds {
        for (contender, measured) in contenders.iter_mut().zip(&mut measured) {
            let start = thread_cpu_time();
            let operations = (contender.round)();
            let spent = thread_cpu_time() - start;
            if round > 0 {
                measured.push(spent.as_nanos() as f64 / operations.max(1) as f64);
            }
        }
    }
    measured.map(Cost::of)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn contenders_take_turns_and_the_first_round_is_not_counted() {
        let order = RefCell::new(String::new());
        let contender = |name| {
            let order = &order;
            Contender::new(move || {
                order.borrow_mut().push(name);
                1
            })
        };
        let costs = take_turns(2, [contender('a'), contender('b')]);
        assert_eq!(*order.borrow(), "ababab");
        assert!(costs.iter().all(|cost| cost.min_ns <= cost.median_ns));
    }

    #[test]
    fn the_best_and_the_middle_round_are_told() {
        assert_eq!(Cost::of(vec![9.0, 2.0, 5.0]), Cost { min_ns: 2.0, median_ns: 5.0 });
    }
}
