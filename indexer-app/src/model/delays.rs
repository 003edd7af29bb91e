//! How long verified torrents take until a search finds them.

use std::time::Duration;

/// Classes of delay: longest one in it, and its name. Two seconds are what found in time means.
const CLASSES: [(Duration, &str); 5] = [
    (Duration::from_millis(250), "within 0.25 s"),
    (Duration::from_millis(500), "within 0.5 s"),
    (Duration::from_secs(1), "within 1 s"),
    (Duration::from_secs(2), "within 2 s"),
    (Duration::MAX, "later"),
];

/// Numbers of torrents by class of delay.
#[derive(Clone, Debug, Default)]
pub(super) struct Delays {
    numbers: [u64; CLASSES.len()],
}

impl Delays {
    /// Counts one.
    pub(super) fn add(&mut self, delay: Duration) {
        let class = CLASSES.iter().position(|(longest, _)| delay <= *longest);
        if let Some(number) = class.and_then(|class| self.numbers.get_mut(class)) {
            *number += 1;
        }
    }

    /// Each class with its number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CLASSES.iter().zip(self.numbers).map(|((_, name), number)| (*name, number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_counts_in_the_first_class_that_it_fits() {
        let mut delays = Delays::default();
        for millis in [0, 250, 251, 2_000, 2_001, 900_000] {
            delays.add(Duration::from_millis(millis));
        }
        let numbers: Vec<u64> = delays.iter().map(|(_, number)| number).collect();
        assert_eq!(numbers, [2, 1, 0, 1, 2]);
    }
}
