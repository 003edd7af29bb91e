//! How likely it is that a silent node is alive, or that a silent client supports BEP 51.
//!
//! Silence has three causes: the node is gone, a packet was lost, or the query is not understood. Which is how likely
//! is measured as we go, so that retries cost little on a good line with many dead contacts, and find
//! nearly all nodes on a bad line.

use std::collections::HashMap;

use krpc::ClientVersion;

/// The measured ratios.
#[derive(Debug)]
pub(crate) struct Odds {
    /// Nodes never reached before that answer in the end.
    fresh_alive: Ratio,
    /// Nodes that answered before and answer again.
    known_alive: Ratio,
    /// Exchanges with nodes that are alive which came to nothing.
    loss: Ratio,
    /// Nodes that have turned out to support BEP 51, by client.
    supports: HashMap<[u8; 2], Ratio>,
}

impl Odds {
    pub(crate) fn new() -> Odds {
        Odds {
            // Rather too much loss at first than to give up live nodes: it is soon corrected.
            fresh_alive: Ratio::new(0.5),
            known_alive: Ratio::new(0.8),
            loss: Ratio::new(0.3),
            supports: HashMap::new(),
        }
    }

    /// A visit has ended.
    pub(crate) fn visited(&mut self, reached_before: bool, alive: bool) {
        let ratio = if reached_before { &mut self.known_alive } else { &mut self.fresh_alive };
        ratio.observe(alive);
    }

    /// A query that every node understands, to a node that was alive shortly before, was answered or was not.
    pub(crate) fn exchanged(&mut self, answered: bool) {
        self.loss.observe(!answered);
    }

    /// A node that is alive has turned out to answer sample_infohashes queries, or not to.
    pub(crate) fn sampled(&mut self, version: Option<ClientVersion>, answered: bool) {
        let client = client(version);
        if self.supports.len() >= CLIENTS_MAX && !self.supports.contains_key(&client) {
            return;
        }
        self.supports.entry(client).or_insert_with(|| Ratio::new(0.5)).observe(answered);
    }

    /// Probability that a node is alive that has not answered `misses` queries.
    pub(crate) fn alive(&self, reached_before: bool, misses: u8) -> f64 {
        let prior = if reached_before { self.known_alive.value } else { self.fresh_alive.value };
        after_silence(prior, self.loss(), misses)
    }

    /// Probability that a node supports BEP 51 that is alive and was silent on `misses` samplings.
    pub(crate) fn supports(&self, version: Option<ClientVersion>, misses: u8) -> f64 {
        let prior = self.supports.get(&client(version)).map_or(0.5, |ratio| ratio.value);
        after_silence(prior, self.loss(), misses)
    }

    /// Share of exchanges with live nodes that come to nothing.
    pub(crate) fn loss(&self) -> f64 {
        self.loss.value.clamp(0.01, 0.5)
    }
}

/// Bayes: silence comes from the live with the probability of loss, from the others always.
fn after_silence(prior: f64, loss: f64, misses: u8) -> f64 {
    let prior = prior.clamp(0.001, 0.999);
    let silent = prior * loss.powi(i32::from(misses));
    silent / (silent + 1.0 - prior)
}

fn client(version: Option<ClientVersion>) -> [u8; 2] {
    version.map_or([0; 2], |version| version.client())
}

/// A share that follows what was seen lately.
#[derive(Debug, Clone, Copy)]
struct Ratio {
    value: f64,
    seen: f64,
}

impl Ratio {
    fn new(prior: f64) -> Ratio {
        Ratio { value: prior, seen: PRIOR_WEIGHT }
    }

    fn observe(&mut self, hit: bool) {
        self.seen = (self.seen + 1.0).min(MEMORY);
        let target = if hit { 1.0 } else { 0.0 };
        self.value += (target - self.value) / self.seen;
    }
}

/// Observations that a first guess is worth.
const PRIOR_WEIGHT: f64 = 8.0;

/// Observations after which older ones have faded: some minutes of crawling.
const MEMORY: f64 = 1_000.0;

/// Client names come from the outside: this many are told apart.
const CLIENTS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_good_line_silence_soon_means_death() {
        let mut odds = Odds::new();
        for _ in 0..2_000 {
            odds.exchanged(true);
        }
        assert!(odds.alive(false, 0) > 0.45);
        assert!(odds.alive(false, 1) < 0.02, "{}", odds.alive(false, 1));
    }

    #[test]
    fn on_a_bad_line_silence_is_borne_longer() {
        let mut odds = Odds::new();
        for n in 0..5_000 {
            odds.exchanged(n % 3 != 0);
            odds.visited(false, n % 10 < 7);
        }
        assert!(odds.alive(false, 2) > 0.15, "{}", odds.alive(false, 2));
        assert!(odds.alive(false, 5) < 0.02, "{}", odds.alive(false, 5));
    }

    #[test]
    fn clients_are_told_apart_by_what_they_answer() {
        let mut odds = Odds::new();
        let (speaks, silent) =
            (ClientVersion::from_bytes(*b"LT\x02\x01"), ClientVersion::from_bytes(*b"TR\x03\x00"));
        for _ in 0..200 {
            odds.sampled(Some(speaks), true);
            odds.sampled(Some(silent), false);
        }
        assert!(odds.supports(Some(speaks), 1) > 0.5);
        assert!(odds.supports(Some(silent), 0) < 0.05);
        assert!((odds.supports(None, 0) - 0.5).abs() < 0.01);
    }

    #[test]
    fn names_of_clients_are_bounded() {
        let mut odds = Odds::new();
        for n in 0..10_000_u16 {
            let [a, b] = n.to_be_bytes();
            odds.sampled(Some(ClientVersion::from_bytes([a, b, 0, 0])), true);
        }
        assert_eq!(odds.supports.len(), CLIENTS_MAX);
    }
}
