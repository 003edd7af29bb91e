//! Torrents by the million as a database would meet them, each made from its number alone.
//!
//! Names and paths are in ten scripts and in the styles in which people name releases. Words follow Zipf's law over a
//! vocabulary of half a million. How many files a torrent has, how large it is, how old and how popular is as
//! skewed as it is among real ones: almost half have one file, a few have thousands; half of the popularity belongs
//! to few. Nothing is taken from real torrents.

mod names;
mod releases;
mod vocabulary;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

pub use vocabulary::{Script, Vocabulary};

/// The most files of a torrent whose number of files is drawn.
const FILES_MAX: f64 = 5_000.0;

/// Share of torrents that have a single file.
const SINGLE: f64 = 0.45;

/// Spread of the number of files of the others, as a log-normal distribution's sigma.
const SIGMA: f64 = 1.2;

/// How many files torrents have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Files {
    /// So many in the mean, skewed: 45 % have one, the number of the others is log-normal.
    Mean(f64),
    /// Each so many.
    Each(usize),
}

/// A torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its info-hash: any 20 bytes.
    pub info_hash: [u8; 20],
    /// Its name.
    pub name: String,
    /// Path components and length in bytes of each file.
    pub files: Vec<(Vec<String>, u64)>,
    /// How long ago it was added, seconds.
    pub age_s: u32,
    /// Binary logarithm of how popular it is, 0 to 15.
    pub popularity: i16,
    /// Peers that have all of it.
    pub seeders: u32,
}

/// The torrents of a seed.
#[derive(Debug)]
pub struct Corpus {
    seed: u64,
    files: Files,
    vocabulary: Vocabulary,
}

impl Corpus {
    /// Makes the vocabulary: some tenths of a second.
    pub fn new(seed: u64, files: Files) -> Self {
        Self { seed, files, vocabulary: Vocabulary::new() }
    }

    /// The words that names are made of.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The torrent of a number: always the same.
    pub fn item(&self, number: u64) -> Item {
        let random = &mut StdRng::seed_from_u64(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let info_hash = random.random();
        let count = self.count(random);
        let release = releases::release(random, &self.vocabulary, count);
        // Three years, and the younger the more: the network grows and what is old is forgotten.
        let age_s = (random.random::<f64>().powf(1.5) * 3.0 * 365.25 * 86_400.0) as u32;
        // Every second one is asked for by nobody in particular, and each step is half as frequent as the one before.
        let popularity = (-random.random::<f64>().max(1e-9).log2() - 1.0).clamp(0.0, 15.0) as i16;
        let seeders = (2_f64.powi(i32::from(popularity)) * random.random_range(0.5..1.5)) as u32;
        Item { info_hash, name: release.name, files: release.files, age_s, popularity, seeders }
    }

    fn count(&self, random: &mut StdRng) -> usize {
        let mean = match self.files {
            Files::Each(count) => return count.max(1),
            Files::Mean(mean) => mean,
        };
        if random.random::<f64>() < SINGLE {
            return 1;
        }
        let of_several = ((mean - SINGLE) / (1.0 - SINGLE)).max(2.0);
        let mu = of_several.ln() - SIGMA * SIGMA / 2.0;
        (mu + SIGMA * normal(random)).exp().round().clamp(2.0, FILES_MAX) as usize
    }
}

/// Normally distributed, mean 0 and deviation 1 (Box and Muller).
fn normal(random: &mut StdRng) -> f64 {
    let (radius, angle) = (random.random::<f64>().max(1e-12), random.random::<f64>());
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_always_gives_the_same_torrent_and_another_one_another() {
        let (one, two) = (Corpus::new(1, Files::Mean(11.0)), Corpus::new(1, Files::Mean(11.0)));
        assert_eq!(one.item(77), two.item(77));
        assert_ne!(one.item(77), one.item(78));
        assert_ne!(one.item(77), Corpus::new(2, Files::Mean(11.0)).item(77));
    }

    #[test]
    fn torrents_have_as_many_files_as_was_asked_for() {
        for mean in [11.0, 35.0] {
            let corpus = Corpus::new(1, Files::Mean(mean));
            let counts: Vec<usize> = (0..20_000).map(|number| corpus.item(number).files.len()).collect();
            let found = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
            assert!((found / mean - 1.0).abs() < 0.08, "{found} instead of {mean}");
            let single = counts.iter().filter(|count| **count == 1).count();
            assert!((8_500..9_500).contains(&single), "{single}");
        }
        let corpus = Corpus::new(1, Files::Each(11));
        assert!((0..1_000).all(|number| corpus.item(number).files.len() == 11));
    }

    #[test]
    fn popularity_halves_from_step_to_step_and_most_are_young() {
        let corpus = Corpus::new(3, Files::Each(1));
        let items: Vec<Item> = (0..10_000).map(|number| corpus.item(number)).collect();
        let of = |step| items.iter().filter(|item| item.popularity == step).count();
        assert!((7_000..8_000).contains(&of(0)), "{}", of(0));
        assert!((1_000..1_500).contains(&of(1)), "{}", of(1));
        assert!(items.iter().any(|item| item.popularity > 8));
        let young = items.iter().filter(|item| item.age_s < 365 * 86_400).count();
        assert!((4_500..5_200).contains(&young), "{young}");
    }
}
