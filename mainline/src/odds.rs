//! How likely it is that a silent node is alive, or that a silent client supports BEP 51.
//!
//! Silence has three causes: the node is gone, a packet was lost, or the query is not understood. Which is how likely
//! is measured as we go, so that retries cost little on a good line with many dead contacts, and find
//! nearly all nodes on a bad line.
//!
//! Of a node that has never answered, the first guess is the share of such nodes that did, told apart by what speaks
//! for them: how many others have named it, and the client of the one who named it first. libtorrent names only
//! nodes that it has spoken to, others name whatever they have heard of.

use std::collections::HashMap;

use krpc::{ClientVersion, bep42};

use crate::node_table::Node;
use crate::visit::Opening;

/// The measured ratios.
#[derive(Debug)]
pub(crate) struct Odds {
    /// Nodes never reached before that are alive.
    fresh_alive: Ratio,
    /// The same, by what speaks for them.
    by_evidence: HashMap<Evidence, Ratio>,
    /// Nodes that answered before and answer again.
    known_alive: Ratio,
    /// Exchanges with nodes that are alive which came to nothing.
    loss: Ratio,
    /// Nodes that are alive that answer samplings: those whose id does not follow from their address (BEP 42), and those
    /// whose does.
    any_supports: [Ratio; 2],
    /// The same, by client.
    supports: HashMap<[u8; 2], Ratio>,
}

/// What speaks for a node that has never answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Evidence {
    /// How often it was named: once, twice, up to four times, more often.
    named: u8,
    /// It has sent us a query, or somebody in its name.
    called: bool,
    /// The client of the first who named it.
    teller: [u8; 2],
    /// Its id follows from its address (BEP 42), as libtorrent's does: that tells something of the client before it
    /// has said a word.
    secure: bool,
    /// What it was silent on before: being named again since then speaks for more.
    silence: Silence,
}

impl Evidence {
    /// What speaks for a node, and what speaks against it.
    pub(crate) fn new(node: &Node, teller: Option<ClientVersion>) -> Evidence {
        let named = match node.named {
            0 | 1 => 0,
            2 => 1,
            3 | 4 => 2,
            _ => 3,
        };
        let finds = node.silence.finds.min(SILENCES);
        Evidence {
            named,
            called: node.called,
            teller: client(teller),
            secure: is_secure(node),
            silence: Silence { finds, ..node.silence },
        }
    }
}

/// Whether a node's id follows from its address (BEP 42).
pub(crate) fn is_secure(node: &Node) -> bool {
    bep42::is_valid(node.addr().ip(), &node.id)
}

/// What a node did not answer since it was last heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Silence {
    /// Queries that every node understands.
    pub(crate) finds: u8,
    /// A sampling, before it was known whether it supports BEP 51.
    pub(crate) sampling: bool,
}

impl Silence {
    pub(crate) fn queries(self) -> u8 {
        self.finds.saturating_add(u8::from(self.sampling))
    }
}

impl Odds {
    pub(crate) fn new() -> Odds {
        Odds {
            // Rather too much loss at first than to give up live nodes: it is soon corrected.
            fresh_alive: Ratio::new(0.5),
            by_evidence: HashMap::new(),
            known_alive: Ratio::new(0.8),
            loss: Ratio::new(0.3),
            // A find_node first, until it shows that most need none: that shows sooner than the contrary.
            any_supports: [Ratio::new(0.4); 2],
            supports: HashMap::new(),
        }
    }

    /// A node that had answered before was visited, as often as it was worth it.
    pub(crate) fn visited_known(&mut self, alive: bool) {
        self.known_alive.observe(alive);
    }

    /// A node that had never answered was asked once more: a sampling or a query that every node understands.
    pub(crate) fn asked_fresh(&mut self, evidence: Evidence, sampling: bool, answered: bool) {
        let understood = if sampling { self.any_supports(evidence.secure).max(0.1) } else { 1.0 };
        let share = understood * (1.0 - self.loss());
        if evidence.silence == Silence::default() {
            self.fresh_alive.observe_share(answered, share);
        }
        let guess = self.fresh(evidence);
        if self.by_evidence.len() < EVIDENCES_MAX || self.by_evidence.contains_key(&evidence) {
            let ratio = self.by_evidence.entry(evidence).or_insert_with(|| Ratio::new(guess));
            ratio.observe_share(answered, share);
        }
    }

    /// A query that every node understands, to a node that was alive shortly before, was answered or was not.
    pub(crate) fn exchanged(&mut self, answered: bool) {
        self.loss.observe(!answered);
    }

    /// A live node, whoever it may be, has turned out to be of this client. What has not shown yet that it supports BEP 51
    /// counts as if it did not: silence takes longer to show than answers.
    pub(crate) fn met(&mut self, secure: bool, version: Option<ClientVersion>) {
        let ratio = self.supports.get(&client(version)).filter(|ratio| ratio.seen >= CLIENT_SURE);
        self.any_supports[usize::from(secure)].observe_value(ratio.map_or(0.0, |ratio| ratio.value));
    }

    /// A sampling was sent to a node that is alive, and was answered or was not.
    pub(crate) fn sampled(&mut self, version: Option<ClientVersion>, answered: bool) {
        let heard = 1.0 - self.loss();
        let client = client(version);
        if self.supports.len() >= CLIENTS_MAX && !self.supports.contains_key(&client) {
            return;
        }
        self.supports.entry(client).or_insert_with(Ratio::of_client).observe_share(answered, heard);
    }

    /// Probability that a node is alive that has never answered.
    pub(crate) fn fresh(&self, evidence: Evidence) -> f64 {
        if let Some(ratio) = self.by_evidence.get(&evidence) {
            return ratio.value;
        }
        // What was measured with one silence less, less what that one says.
        let Silence { finds, sampling } = evidence.silence;
        let (before, last) = match (finds, sampling) {
            (0, false) => return self.fresh_alive.value,
            (0, true) => (Silence::default(), evidence.silence),
            _ => (Silence { finds: finds - 1, sampling }, Silence { finds: 1, sampling: false }),
        };
        self.after(
            self.fresh(Evidence { silence: before, ..evidence }),
            self.any_supports(evidence.secure),
            last,
        )
    }

    /// Probability that a node is alive that has answered before, and supports BEP 51 with this probability.
    pub(crate) fn known(&self, supports: f64, silence: Silence) -> f64 {
        self.after(self.known_alive.value, supports, silence)
    }

    /// Probability that a node supports BEP 51 that is alive and was silent on `misses` samplings.
    pub(crate) fn supports(&self, version: Option<ClientVersion>, misses: u8) -> f64 {
        let prior = self.supports.get(&client(version)).map_or(0.5, |ratio| ratio.value);
        let loss = self.loss().powi(i32::from(misses));
        bayes(prior, loss, 1.0)
    }

    /// Probability that a node is alive of which only that is known that it was named.
    pub(crate) fn fresh_alive(&self) -> f64 {
        self.fresh_alive.value
    }

    /// Share of live nodes that answer samplings, among those whose ids follow from their addresses or do not.
    pub(crate) fn any_supports(&self, secure: bool) -> f64 {
        self.any_supports[usize::from(secure)].value
    }

    /// Share of exchanges with live nodes that come to nothing.
    pub(crate) fn loss(&self) -> f64 {
        self.loss.value.clamp(0.01, 0.5)
    }

    /// The better first query to a node that is due for a sampling, and is alive and supports BEP 51 with these
    /// probabilities.
    ///
    /// A sampling that is answered saves the find_node, and one that is not costs another packet, as silence on it is no
    /// death. What either way costs in the end is reckoned in packets; a live node that is given up
    /// costs as many as `retry_worth` says that one is worth.
    pub(crate) fn opening(&self, alive: f64, supports: f64, retry_worth: f64) -> Opening {
        let sampling_first = self.cost(alive, supports, retry_worth, true);
        let sampling_after = self.cost(alive, supports, retry_worth, false);
        if sampling_first < sampling_after { Opening::Sample } else { Opening::Find { sample: true } }
    }

    /// Packets that a visit takes, if a sampling comes first or after a find_node.
    fn cost(&self, alive: f64, supports: f64, retry_worth: f64, sampling_first: bool) -> f64 {
        let heard = 1.0 - self.loss();
        let (mut packets, mut living, dead) = (0.0, alive, 1.0 - alive);
        if sampling_first {
            packets += 1.0;
            living *= 1.0 - supports * heard;
        }
        for _ in 0..COST_STEPS {
            packets += living + dead;
            if !sampling_first {
                packets += living * heard * supports;
            }
            living *= 1.0 - heard;
            if living < retry_worth * (living + dead) {
                break;
            }
        }
        packets + living / retry_worth.max(0.001)
    }

    /// Bayes: silence comes from the dead always.
    fn after(&self, prior: f64, supports: f64, silence: Silence) -> f64 {
        let mut silent_alive = self.loss().powi(i32::from(silence.finds));
        if silence.sampling {
            silent_alive *= 1.0 - supports * (1.0 - self.loss());
        }
        bayes(prior, silent_alive, 1.0)
    }
}

/// Probability of something with this prior after what happens with it, and without it, with these probabilities.
fn bayes(prior: f64, with: f64, without: f64) -> f64 {
    let prior = prior.clamp(0.001, 0.999);
    let both = prior * with;
    both / (both + (1.0 - prior) * without)
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

    /// A client either supports something or does not: a few observations tell.
    fn of_client() -> Ratio {
        Ratio { value: 0.5, seen: CLIENT_PRIOR_WEIGHT }
    }

    /// Something that would show in `share` of all cases has shown, or has not.
    fn observe_share(&mut self, hit: bool, share: f64) {
        self.observe_value(if hit { 1.0 / share } else { 0.0 });
        self.value = self.value.clamp(0.0, 1.0);
    }

    fn observe(&mut self, hit: bool) {
        self.observe_value(if hit { 1.0 } else { 0.0 });
    }

    fn observe_value(&mut self, target: f64) {
        self.seen = (self.seen + 1.0).min(MEMORY);
        self.value += (target - self.value) / self.seen;
    }
}

/// Observations that a first guess is worth.
const PRIOR_WEIGHT: f64 = 8.0;

/// Observations that the first guess of a client's support is worth.
const CLIENT_PRIOR_WEIGHT: f64 = 2.0;

/// With so many, the guess included, a client is known.
const CLIENT_SURE: f64 = 8.0;

/// Observations after which older ones have faded: some minutes of crawling.
const MEMORY: f64 = 1_000.0;

/// Queries looked ahead: more are seldom sent.
const COST_STEPS: u32 = 4;

/// Silences after which one more makes no other evidence: more queries are not sent.
const SILENCES: u8 = 8;

/// Pieces of evidence that are told apart: client names come from the outside.
const EVIDENCES_MAX: usize = 1_024;

/// Client names come from the outside: this many are told apart.
const CLIENTS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node_table::{Added, NodeTable};
    use krpc::NodeId;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use std::net::SocketAddr;

    const LT: ClientVersion = ClientVersion::from_bytes(*b"LT\x02\x01");
    const TR: ClientVersion = ClientVersion::from_bytes(*b"TR\x03\x00");

    fn node(addr: SocketAddr, named: u8, silence: Silence) -> Node {
        let mut table = NodeTable::new(1, 1, crate::keyed_hash::HashKey::derive(&[1; 32], "nodes"));
        let Added::New(at) = table.add(NodeId::from_bytes([1; 20]), addr, None) else {
            panic!("the table is empty")
        };
        table.update(at, |node| (node.named, node.silence) = (named, silence));
        table.get(at).unwrap().clone()
    }

    fn evidence(named: u8, finds: u8, sampling: bool) -> Evidence {
        Evidence::new(&node(([192, 0, 2, 1], 1).into(), named, Silence { finds, sampling }), Some(LT))
    }

    fn on_a_line_with(loss_in_ten: u32) -> Odds {
        let mut odds = Odds::new();
        for n in 0..5_000_u32 {
            odds.exchanged(n % 10 >= loss_in_ten);
        }
        odds
    }

    #[test]
    fn on_a_good_line_silence_soon_means_death() {
        let odds = on_a_line_with(0);
        assert!(odds.fresh(evidence(1, 0, false)) > 0.45);
        assert!(odds.fresh(evidence(1, 1, false)) < 0.02, "{}", odds.fresh(evidence(1, 1, false)));
    }

    #[test]
    fn on_a_bad_line_silence_is_borne_longer() {
        let mut odds = on_a_line_with(3);
        for n in 0..5_000 {
            odds.asked_fresh(evidence(1, 0, false), false, n % 2 == 0);
        }
        // Half of all answer and three in ten packets are lost: seven in ten live.
        let alive = |finds| odds.fresh(evidence(1, finds, false));
        assert!((0.65..0.75).contains(&alive(0)), "{}", alive(0));
        assert!((0.1..0.25).contains(&alive(2)), "{}", alive(2));
        assert!(alive(5) < 0.02, "{}", alive(5));
    }

    #[test]
    fn what_speaks_for_a_node_counts_as_much_as_it_has_turned_out_to() {
        let mut odds = on_a_line_with(1);
        for n in 0..4_000 {
            odds.asked_fresh(evidence(1, 0, false), false, n % 4 == 0);
            odds.asked_fresh(evidence(5, 0, false), false, n % 4 != 0);
            odds.asked_fresh(evidence(5, 1, false), false, n % 5 == 0);
        }
        let alive = |named, finds| odds.fresh(evidence(named, finds, false));
        assert!((0.25..0.32).contains(&alive(1, 0)), "{}", alive(1, 0));
        assert!((0.79..0.88).contains(&alive(5, 0)), "{}", alive(5, 0));
        // Measured where it was measured, else what the silence leaves of it.
        assert!((0.2..0.25).contains(&alive(5, 1)), "{}", alive(5, 1));
        assert!(alive(1, 1) < 0.06, "{}", alive(1, 1));
        assert!(alive(5, 2) > alive(1, 2));
    }

    #[test]
    fn silence_on_a_sampling_says_little_where_few_answer_them() {
        let mut odds = on_a_line_with(1);
        let alive = |odds: &Odds, sampling: bool| odds.fresh(evidence(1, u8::from(!sampling), sampling));
        for _ in 0..2_000 {
            odds.sampled(Some(LT), true);
            odds.met(false, Some(LT));
        }
        assert!((alive(&odds, true) - alive(&odds, false)).abs() < 0.02);
        for _ in 0..20_000 {
            odds.met(false, Some(TR));
        }
        assert!((alive(&odds, true) - odds.fresh_alive()).abs() < 0.02);
    }

    #[test]
    fn a_sampling_comes_first_where_most_answer_it() {
        let odds = on_a_line_with(1);
        assert_eq!(odds.opening(0.6, 0.95, 0.03), Opening::Sample);
        assert_eq!(odds.opening(0.6, 0.4, 0.03), Opening::Find { sample: true });
        // Without loss nobody is asked twice, so a dead node costs a packet more when a sampling comes first.
        let odds = on_a_line_with(0);
        assert_eq!(odds.opening(0.9, 0.8, 0.03), Opening::Sample);
        assert_eq!(odds.opening(0.3, 0.8, 0.03), Opening::Find { sample: true });
    }

    #[test]
    fn ids_that_follow_from_addresses_tell_of_the_client() {
        let mut odds = Odds::new();
        for _ in 0..2_000 {
            odds.sampled(Some(LT), true);
            odds.met(true, Some(LT));
            odds.met(false, Some(TR));
        }
        assert!(odds.any_supports(true) > 0.95 && odds.any_supports(false) < 0.05);
        let ip = "124.31.75.21".parse().unwrap();
        let mut rng = StdRng::from_seed([1; 32]);
        let mut node = node((ip, 1).into(), 1, Silence::default());
        assert!(!is_secure(&node));
        node.id = bep42::node_id(ip, 1, &mut rng);
        assert!(is_secure(&node));
    }

    #[test]
    fn clients_are_told_apart_by_what_they_answer() {
        let mut odds = on_a_line_with(1);
        for _ in 0..200 {
            odds.sampled(Some(LT), true);
            odds.sampled(Some(TR), false);
        }
        assert!(odds.supports(Some(LT), 1) > 0.5);
        assert!(odds.supports(Some(TR), 0) < 0.05);
        assert!((odds.supports(None, 0) - 0.5).abs() < 0.01);
    }

    #[test]
    fn a_client_of_which_nine_in_ten_answer_on_a_line_that_loses_the_tenth_supports_it() {
        let mut odds = on_a_line_with(1);
        for n in 0..2_000 {
            odds.sampled(Some(LT), n % 10 != 0);
        }
        assert!(odds.supports(Some(LT), 0) > 0.97, "{}", odds.supports(Some(LT), 0));
    }

    #[test]
    fn pieces_of_evidence_are_bounded() {
        let mut odds = Odds::new();
        let node = node(([192, 0, 2, 1], 1).into(), 1, Silence::default());
        for n in 0..10_000_u16 {
            let [a, b] = n.to_be_bytes();
            let teller = ClientVersion::from_bytes([a, b, 0, 0]);
            odds.asked_fresh(Evidence::new(&node, Some(teller)), false, true);
        }
        assert_eq!(odds.by_evidence.len(), EVIDENCES_MAX);
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
