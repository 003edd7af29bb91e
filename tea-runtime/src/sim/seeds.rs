//! Many seeds, each twice: the proof that a simulation is deterministic, and the name of the seed that fails.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::host_tasks::text_of;

/// Runs a simulation twice with each seed and compares the results, usually [`Sim::trace`](super::Sim::trace). Returns one
/// result a seed.
///
/// If the environment has `SIM_SEED`, only that seed runs: `SIM_SEED=17 cargo test NAME` repeats a failure.
///
/// # Panics
/// When a run panics or the two runs of a seed differ, with the seed in the text.
pub fn check_seeds(seeds: impl IntoIterator<Item = u64>, mut run: impl FnMut(u64) -> u64) -> Vec<u64> {
    let chosen = std::env::var(SEED_VARIABLE).ok().map(|text| match text.parse::<u64>() {
        Ok(seed) => seed,
        Err(error) => panic!("{SEED_VARIABLE}={text} is not a seed: {error}"),
    });
    let seeds: Vec<u64> = chosen.map_or_else(|| seeds.into_iter().collect(), |seed| vec![seed]);
    let mut run_seed = |seed: u64| match catch_unwind(AssertUnwindSafe(|| run(seed))) {
        Ok(result) => result,
        Err(panic) => panic!("seed {seed}: {}; repeat with {SEED_VARIABLE}={seed}", text_of(panic.as_ref())),
    };
    let check = |seed| {
        let (first, second) = (run_seed(seed), run_seed(seed));
        assert!(
            first == second,
            "seed {seed}: two runs differ ({first:016x}, {second:016x}), something in them is not \
             deterministic; repeat with {SEED_VARIABLE}={seed}",
        );
        first
    };
    seeds.into_iter().map(check).collect()
}

/// The environment variable that chooses one seed.
const SEED_VARIABLE: &str = "SIM_SEED";

#[cfg(test)]
mod tests {
    use super::*;

    fn message(run: impl FnMut(u64) -> u64) -> String {
        let panic = catch_unwind(AssertUnwindSafe(|| check_seeds(0..5, run))).unwrap_err();
        text_of(panic.as_ref())
    }

    #[test]
    fn each_seed_runs_twice_and_gives_its_result() {
        let mut runs = Vec::new();
        let results = check_seeds(3..5, |seed| {
            runs.push(seed);
            seed * 10
        });
        assert_eq!((results, runs), (vec![30, 40], vec![3, 3, 4, 4]));
    }

    #[test]
    fn a_failing_seed_is_named() {
        let text = message(|seed| {
            assert!(seed != 3, "three is too many");
            seed
        });
        assert_eq!(text, "seed 3: three is too many; repeat with SIM_SEED=3");
    }

    #[test]
    fn two_runs_that_differ_are_found() {
        let mut calls = 0;
        let text = message(|seed| {
            calls += 1;
            if seed == 2 { calls } else { 0 }
        });
        assert!(text.starts_with("seed 2: two runs differ (0000000000000005, 0000000000000006)"), "{text}");
    }
}
