//! What an import refuses, and why.

use std::{collections::BTreeMap, fmt};

/// Refusals that are told one by one; the rest are only counted.
const TOLD_MAX: usize = 20;

/// Why something is not imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind of reason, of which there are few: for counting.
    pub reason: &'static str,
    /// What exactly is wrong.
    pub detail: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(reason: &'static str, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.detail)
    }
}

/// What was refused: all of it counted by reason, the first ones with their place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// How many, by reason.
    pub counts: BTreeMap<&'static str, u64>,
    /// The first twenty: where it stands, and what is wrong.
    pub told: Vec<String>,
}

impl Refusals {
    /// Adds one.
    pub fn add(&mut self, place: &impl fmt::Display, refusal: &Refusal) {
        *self.counts.entry(refusal.reason).or_default() += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(format!("{place}: {refusal}"));
        }
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (reason, count) in &other.counts {
            *self.counts.entry(reason).or_default() += count;
        }
        let room = TOLD_MAX.saturating_sub(self.told.len());
        self.told.extend(other.told.iter().take(room).cloned());
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }
}

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (reason, count) in &self.counts {
            write!(f, "{separator}{reason} {count}")?;
            separator = ", ";
        }
        Ok(())
    }
}
