//! Randomness of the simulated world: one seed, one sequence.

use std::{ops::Range, time::Duration};

/// SplitMix64: small, fast, and the same on every machine and in every version of this crate.
///
/// Source: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators" (2014). Not for secrets.
#[derive(Clone, Debug)]
pub struct SimRng {
    state: u64,
}

impl SimRng {
    /// The sequence of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// 64 even bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        finalise(self.state)
    }

    /// A number below `bound`; 0 if that is 0. The bias is below 2^-32 for any bound that a test uses.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// True with the given probability, 0.0 to 1.0. Draws nothing if the answer is certain.
    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && (probability >= 1.0 || unit(self.next_u64()) < probability)
    }

    /// A duration within the range; its start if the range is empty.
    pub fn between(&mut self, range: &Range<Duration>) -> Duration {
        range.start + Duration::from_nanos(self.below(width(range)))
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }
}

/// A duration within the range that is always the same for the same `key`.
pub(super) fn fixed_between(range: &Range<Duration>, key: u64) -> Duration {
    let scaled = (u128::from(finalise(key)) * u128::from(width(range))) >> 64;
    range.start + Duration::from_nanos(scaled as u64)
}

/// Mixes all bits of `z`.
pub(super) const fn finalise(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn width(range: &Range<Duration>) -> u64 {
    let width = range.end.saturating_sub(range.start).as_nanos();
    u64::try_from(width).unwrap_or(u64::MAX)
}

fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_that_of_the_reference_implementation() {
        let mut rng = SimRng::new(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| rng.next_u64()).collect();
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn draws_stay_in_their_range_and_reach_all_of_it() {
        let mut rng = SimRng::new(1);
        let mut seen = [0; 6];
        for _ in 0..6000 {
            seen[rng.below(6) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (850..1150).contains(count)), "{seen:?}");
        assert_eq!(rng.below(0), 0);
        let range = Duration::from_millis(3)..Duration::from_millis(5);
        assert!((0..1000).all(|_| range.contains(&rng.between(&range))));
        assert!((0..1000).all(|key| range.contains(&fixed_between(&range, key))));
        let empty = Duration::from_millis(7)..Duration::from_millis(7);
        assert_eq!(rng.between(&empty), Duration::from_millis(7));
    }

    #[test]
    fn chances_come_as_often_as_they_say() {
        let mut rng = SimRng::new(2);
        let hits = (0..10_000).filter(|_| rng.chance(0.2)).count();
        assert!((1850..2150).contains(&hits), "{hits}");
        assert!((0..100).all(|_| rng.chance(1.0) && !rng.chance(0.0)));
    }

    #[test]
    fn filling_covers_the_last_bytes() {
        let mut bytes = [0; 13];
        SimRng::new(3).fill(&mut bytes);
        assert_ne!(bytes[8..], [0; 5]);
    }
}
