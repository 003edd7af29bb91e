//! Freshness: how long a node that has stopped answering is still believed in.
//!
//! A node seen again gains a point. A node not reached loses a share of its points that grows with the
//! rounds it has missed in a row; at zero it is forgotten. A node that answered for months thus
//! survives a bad day, and one that answered once does not.

/// Shares of the freshness lost by the rounds missed in a row, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decay {
    /// `percent[n - 1]` is lost in the n-th missed round; later rounds lose as much as the last.
    pub percent: [u8; 6],
}

impl Decay {
    /// Freshness after a node has answered.
    pub const fn seen(freshness: u32) -> u32 {
        if freshness < FRESHNESS_MAX { freshness + 1 } else { FRESHNESS_MAX }
    }

    /// Freshness after the `round`-th round (from 1) missed in a row. At least one point is lost once the
    /// share is not 0 %.
    pub fn missed(&self, freshness: u32, round: u8) -> u32 {
        let index = usize::from(round.max(1) - 1).min(self.percent.len() - 1);
        let percent = u32::from(self.percent[index].min(100));
        if percent == 0 {
            return freshness;
        }
        freshness.saturating_sub((freshness * percent / 100).max(1))
    }
}

impl Default for Decay {
    fn default() -> Decay {
        Decay { percent: [0, 5, 20, 40, 80, 100] }
    }
}

/// Months of hourly rounds; far from overflow when multiplied by 100.
pub const FRESHNESS_MAX: u32 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_loses_the_share_of_the_round() {
        let decay = Decay::default();
        let after: Vec<u32> = (1..=7).map(|round| decay.missed(1_000, round)).collect();
        assert_eq!(after, [1_000, 950, 800, 600, 200, 0, 0]);
    }

    #[test]
    fn at_least_one_point_is_lost_once_the_share_is_not_nothing() {
        let decay = Decay::default();
        assert_eq!(decay.missed(1, 1), 1);
        assert_eq!(decay.missed(1, 2), 0);
        assert_eq!(decay.missed(10, 2), 9);
    }

    #[test]
    fn freshness_grows_by_one_and_stays_in_its_bounds() {
        assert_eq!(Decay::seen(0), 1);
        assert_eq!(Decay::seen(FRESHNESS_MAX), FRESHNESS_MAX);
        assert_eq!(Decay { percent: [200; 6] }.missed(FRESHNESS_MAX, 0), 0);
    }
}
