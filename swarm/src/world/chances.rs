//! Draws from distributions that are not even.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

/// A time until something that happens once in `mean` on average, whenever one begins to wait.
pub(super) fn waiting_time(mean: Duration, rng: &mut StdRng) -> Duration {
    stretched(mean, rng.random())
}

/// The same from a number that is drawn evenly from 0 to 1.
pub(super) fn stretched(mean: Duration, even: f64) -> Duration {
    mean.mul_f64(-(1.0 - even).max(1e-9).ln())
}

/// How many people take part in a torrent: Zipf with exponent 2 for the count, so half of all torrents have one, and one in a
/// thousand has about a thousand.
pub(super) fn popularity(rng: &mut StdRng) -> u32 {
    (1.0 / (1.0 - rng.random::<f64>()).max(1e-4)) as u32
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn waiting_times_have_their_mean() {
        let mut rng = StdRng::seed_from_u64(1);
        let mean = Duration::from_secs(100);
        let sum: Duration = (0..10_000).map(|_| waiting_time(mean, &mut rng)).sum();
        assert!((96..104).contains(&(sum.as_secs() / 10_000)), "{sum:?}");
    }

    #[test]
    fn half_of_the_torrents_have_one_user_and_few_have_many() {
        let mut rng = StdRng::seed_from_u64(1);
        let users: Vec<u32> = (0..10_000).map(|_| popularity(&mut rng)).collect();
        let one = users.iter().filter(|users| **users == 1).count();
        let many = users.iter().filter(|users| **users >= 100).count();
        assert!((4_800..5_200).contains(&one) && (70..130).contains(&many), "{one} {many}");
    }
}
