//! One iterative lookup: asks ever closer nodes until the closest have answered (Kademlia, BEP 5).
//!
//! The lookup decides whom to ask next; sending, budgets and time-outs are the engine's. When the nodes are
//! known that sampled the hash, these are asked first, one packet each: they hold its peers. The rest
//! of the lookup happens only when they name none.
//!
//! Each address family is a network of its own (BEP 32): a lookup goes through both, and has found the closest nodes when
//! it has those of each. What a node is called by others decides nothing: it stands where the id lies that it answers with.

use std::net::SocketAddr;
use std::time::Duration;

use krpc::{Distance, InfoHash, NodeId};

use crate::endpoint::{Endpoint, Subnet};
use crate::event::{LookupOutcome, Peer};
use crate::scrape::{Filters, Scrape};
use crate::virtual_node::Family;

/// What a lookup is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Peers of a torrent, by get_peers.
    Peers(InfoHash),
    /// Nodes around a point, by find_node: bootstrap, refresh, thin slices of the keyspace.
    Nodes(NodeId),
    /// How many take part in a torrent, by get_peers with `scrape` (BEP 33): of the nodes named as hints, and if it is
    /// to be `whole`, of the closest ones of the network.
    Scrape { info_hash: InfoHash, whole: bool },
}

impl Goal {
    pub(crate) fn target(&self) -> NodeId {
        match self {
            Goal::Peers(info_hash) | Goal::Scrape { info_hash, .. } => info_hash.as_id(),
            Goal::Nodes(target) => *target,
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask this node.
    Ask { id: Option<NodeId>, addr: SocketAddr },
    /// The hints are used up: add the closest nodes known, by [`Lookup::seed`].
    Seed,
    /// Nothing to do before an answer or a time-out, or this time.
    Wait(Option<Duration>),
    /// It is over.
    Done(LookupOutcome),
}

#[derive(Debug)]
pub(crate) struct Lookup {
    goal: Goal,
    target: NodeId,
    /// Sorted by distance.
    candidates: Vec<Candidate>,
    /// Candidates that have not answered, so that nobody can have them asked again, nor crowd out others with them.
    failed: Vec<Endpoint>,
    /// The only family that it goes through, if it is about one.
    family: Option<Family>,
    hints: Vec<Hint>,
    phase: Phase,
    diverse: bool,
    peers: Vec<Endpoint>,
    pub(crate) filters: Filters,
    pub(crate) asked: u32,
    pub(crate) answered: u32,
    pub(crate) created: Duration,
    pub(crate) started: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Hints,
    Unseeded,
    Searching,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    distance: Distance,
    id: NodeId,
    endpoint: Endpoint,
    subnet: Subnet,
    state: State,
}

impl Candidate {
    fn family(&self) -> Family {
        self.endpoint.family()
    }
}

#[derive(Debug, Clone, Copy)]
struct Hint {
    endpoint: Endpoint,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Asked(Duration),
    Answered,
    Failed,
}

impl Lookup {
    /// A lookup without candidates; with `diverse`, at most one candidate of a subnet is asked.
    pub(crate) fn new(now: Duration, goal: Goal, hints: &[SocketAddr], diverse: bool) -> Lookup {
        let mut lookup = Lookup {
            goal,
            target: goal.target(),
            candidates: Vec::new(),
            failed: Vec::new(),
            family: None,
            hints: Vec::new(),
            phase: if hints.is_empty() { Phase::Unseeded } else { Phase::Hints },
            diverse,
            peers: Vec::new(),
            filters: Filters::default(),
            asked: 0,
            answered: 0,
            created: now,
            started: now,
        };
        for hint in hints {
            lookup.hint(*hint);
        }
        lookup
    }

    /// Takes up another node that has sampled the hash, in whatever phase: it is asked before the search goes on, once more
    /// if it has answered before it had the hash.
    pub(crate) fn hint(&mut self, addr: SocketAddr) {
        if self.phase == Phase::Unseeded {
            self.phase = Phase::Hints;
        }
        let endpoint = Endpoint::from(addr);
        if self.hints.len() < HINTS_MAX && self.hints.iter().all(|hint| hint.endpoint != endpoint) {
            let searched = self.candidates.iter().find(|known| known.endpoint == endpoint);
            let state = match searched.map(|known| known.state) {
                Some(asked @ State::Asked(_)) => asked,
                _ => State::New,
            };
            self.hints.push(Hint { endpoint, state });
        }
    }

    /// Whether there is a node to ask of which we know that it has peers.
    pub(crate) fn has_promise(&self) -> bool {
        self.peers() == 0 && self.hints.iter().any(|hint| hint.state == State::New)
    }

    /// The same, through the network of one family.
    pub(crate) fn within(self, family: Family) -> Lookup {
        Lookup { family: Some(family), ..self }
    }

    /// Whether it goes through the network of a family.
    pub(crate) fn goes_through(&self, family: Family) -> bool {
        self.family.is_none_or(|only| only == family)
    }

    /// Begins to search among these nodes, once [`Step::Seed`] has asked for them.
    pub(crate) fn seed(&mut self, now: Duration, nodes: impl Iterator<Item = (NodeId, SocketAddr)>) {
        self.phase = Phase::Searching;
        self.started = now;
        self.candidates.reserve(CANDIDATES_MAX + 1);
        for (id, addr) in nodes {
            self.add(id, addr);
        }
    }

    /// Takes up a node that somebody named. Returns whether it is a candidate now.
    pub(crate) fn add(&mut self, id: NodeId, addr: SocketAddr) -> bool {
        let endpoint = Endpoint::from(addr);
        let family = Family::of(addr.ip());
        // A node that speaks both families may have one id in both.
        let is_same =
            |known: &Candidate| known.endpoint == endpoint || known.id == id && known.family() == family;
        if !self.goes_through(family)
            || self.failed.contains(&endpoint)
            || self.candidates.iter().any(is_same)
        {
            return false;
        }
        let distance = id.distance(&self.target);
        let subnet = Subnet::of(addr);
        if self.diverse && self.candidates.iter().any(|known| known.subnet == subnet) {
            return false;
        }
        let place = self.candidates.partition_point(|known| known.distance < distance);
        if self.candidates.iter().filter(|known| known.family() == family).count() >= CANDIDATES_MAX {
            // The farthest not asked yet makes room for a closer one.
            let gives_way = |known: &Candidate| known.state == State::New && known.family() == family;
            match self.candidates.iter().rposition(gives_way) {
                Some(last) if last >= place => {
                    self.candidates.remove(last);
                }
                _ => return false,
            }
        }
        // A node asked as a hint has had its query.
        let state = self
            .hints
            .iter()
            .find(|hint| hint.endpoint == endpoint && hint.state != State::New)
            .map_or(State::New, |hint| hint.state);
        if state == State::Failed {
            return false;
        }
        self.candidates.insert(place, Candidate { distance, id, endpoint, subnet, state });
        true
    }

    /// What to do next. `ready` says from when on a node may be asked.
    pub(crate) fn step(&self, now: Duration, mut ready: impl FnMut(SocketAddr) -> Duration) -> Step {
        let step = match self.phase {
            Phase::Hints => self.step_hints(now, ready),
            Phase::Unseeded => Step::Seed,
            Phase::Searching => self.step_search(now, &mut ready),
        };
        match (step, self.goal) {
            (Step::Seed, Goal::Scrape { whole: false, .. }) => Step::Done(LookupOutcome::Exhausted),
            (step, _) => step,
        }
    }

    /// Whether the next query should ask for filters (BEP 33). libtorrent answers it with filters instead of peers
    /// (measured), so who looks for peers has to have enough of them first. After that it costs no packet: only the
    /// answers of nodes that store the torrent are half a kilobyte longer.
    pub(crate) fn asks_for_filters(&self) -> bool {
        match self.goal {
            Goal::Peers(_) => self.peers() >= PEERS_BEFORE_FILTERS,
            Goal::Nodes(_) => false,
            Goal::Scrape { .. } => true,
        }
    }

    /// What the filters come to that nodes have given, when it ends so. Who looked for peers has not asked all nodes
    /// for filters.
    pub(crate) fn scrape(&self, outcome: LookupOutcome) -> Option<Scrape> {
        let whole = matches!(self.goal, Goal::Scrape { .. }) && outcome == LookupOutcome::Converged;
        self.filters.unite(whole)
    }

    /// A query was sent to this node.
    pub(crate) fn sent(&mut self, now: Duration, addr: SocketAddr) {
        self.asked += 1;
        self.set(addr, State::Asked(now));
    }

    /// The node that answers says that this is its id: somebody else may have given it another, to have it stand where it
    /// suits him.
    pub(crate) fn identified(&mut self, addr: SocketAddr, id: NodeId) {
        let endpoint = Endpoint::from(addr);
        self.failed.retain(|failed| *failed != endpoint);
        let place = self.candidates.iter().position(|known| known.endpoint == endpoint);
        if place.is_some_and(|place| self.candidates[place].id == id) || self.phase != Phase::Searching {
            return;
        }
        if let Some(place) = place {
            self.candidates.remove(place);
        }
        self.add(id, addr);
    }

    /// The node has answered.
    pub(crate) fn answered(&mut self, addr: SocketAddr) {
        self.answered += 1;
        self.set(addr, State::Answered);
    }

    /// The node has not answered in time, or with an error.
    pub(crate) fn failed(&mut self, addr: SocketAddr) {
        self.set(addr, State::Failed);
        let endpoint = Endpoint::from(addr);
        if let Some(place) = self.candidates.iter().position(|known| known.endpoint == endpoint) {
            self.candidates.remove(place);
            if self.failed.len() < QUERIES_MAX as usize {
                self.failed.push(endpoint);
            }
        }
    }

    /// Whether a peer is new to this lookup and there is room to remember it.
    pub(crate) fn is_new_peer(&mut self, peer: &Peer) -> bool {
        let endpoint = Endpoint::from(peer.addr);
        if self.peers.len() >= PEERS_MAX {
            return false;
        }
        match self.peers.binary_search(&endpoint) {
            Ok(_) => false,
            Err(place) => {
                self.peers.insert(place, endpoint);
                true
            }
        }
    }

    pub(crate) fn goal(&self) -> Goal {
        self.goal
    }

    pub(crate) fn peers(&self) -> usize {
        self.peers.len()
    }

    /// Distance of the K-th closest node of a family that has answered: the measure of how dense its network is here.
    pub(crate) fn radius(&self, family: Family) -> Option<Distance> {
        self.candidates
            .iter()
            .filter(|known| known.state == State::Answered && known.endpoint.family() == family)
            .nth(K - 1)
            .map(|known| known.distance)
    }

    fn step_hints(&self, now: Duration, mut ready: impl FnMut(SocketAddr) -> Duration) -> Step {
        if self.peers() > 0 {
            return Step::Done(LookupOutcome::Hinted);
        }
        if now >= self.created + HINT_TIME_MAX {
            return Step::Seed;
        }
        if self.asks_hint() {
            return Step::Wait(None);
        }
        match self.next_hint(&mut ready) {
            Some((at, addr)) if at <= now => Step::Ask { id: None, addr },
            Some((at, _)) => Step::Wait(Some(at)),
            None => Step::Seed,
        }
    }

    /// The hinted node that can be asked first, and from when on.
    fn next_hint(&self, ready: &mut impl FnMut(SocketAddr) -> Duration) -> Option<(Duration, SocketAddr)> {
        let untried = self.hints.iter().filter(|hint| hint.state == State::New);
        untried.map(|hint| (ready(hint.endpoint.addr()), hint.endpoint.addr())).min_by_key(|(at, _)| *at)
    }

    fn step_search(&self, now: Duration, ready: &mut impl FnMut(SocketAddr) -> Duration) -> Step {
        if self.peers() >= PEERS_ENOUGH {
            return Step::Done(LookupOutcome::Enough);
        }
        if now >= self.started + TIME_MAX {
            return Step::Done(LookupOutcome::TimedOut);
        }
        let mut fresh = 0;
        let mut in_flight = 0;
        let mut wake = self.started + TIME_MAX;
        let mut until = |at: Duration| wake = wake.min(at);
        for state in self.states() {
            if let State::Asked(at) = state {
                in_flight += 1;
                if now < at + SLOW {
                    fresh += 1;
                    until(at + SLOW);
                }
            }
        }
        let may_ask = fresh < ALPHA && in_flight < 2 * ALPHA && self.asked < QUERIES_MAX;
        // A node that is known to have peers may turn up while the search goes on.
        let hint = if self.has_promise() { self.next_hint(ready) } else { None };
        if let Some((at, addr)) = hint {
            if at <= now && self.asked < QUERIES_MAX {
                return Step::Ask { id: None, addr };
            }
            until(at.max(now));
        }
        // The K closest of each family that have not failed decide. One whose budget is used up does not hold up the others:
        // the next one is asked meanwhile.
        let mut windows = [K; 2];
        let mut open = hint.is_some() && self.asked < QUERIES_MAX || self.peers() == 0 && self.asks_hint();
        for candidate in &self.candidates {
            let window = &mut windows[candidate.family() as usize];
            if *window == 0 {
                continue;
            }
            match candidate.state {
                State::Failed => {}
                State::Answered => *window -= 1,
                State::Asked(_) => {
                    *window -= 1;
                    open = true;
                }
                State::New => {
                    open = true;
                    if !may_ask {
                        break;
                    }
                    let at = ready(candidate.endpoint.addr());
                    if at <= now {
                        return Step::Ask { id: Some(candidate.id), addr: candidate.endpoint.addr() };
                    }
                    until(at);
                }
            }
        }
        if !open {
            let converged = windows.contains(&0);
            return Step::Done(if converged { LookupOutcome::Converged } else { LookupOutcome::Exhausted });
        }
        if self.asked >= QUERIES_MAX && in_flight == 0 {
            return Step::Done(LookupOutcome::Bounded);
        }
        Step::Wait(Some(wake))
    }

    /// Whether the answer of a hinted node is awaited.
    fn asks_hint(&self) -> bool {
        self.hints.iter().any(|hint| matches!(hint.state, State::Asked(_)))
    }

    fn states(&self) -> impl Iterator<Item = State> {
        self.candidates.iter().map(|candidate| candidate.state)
    }

    fn set(&mut self, addr: SocketAddr, state: State) {
        let endpoint = Endpoint::from(addr);
        for hint in self.hints.iter_mut().filter(|hint| hint.endpoint == endpoint) {
            hint.state = state;
        }
        if let Some(candidate) = self.candidates.iter_mut().find(|known| known.endpoint == endpoint) {
            candidate.state = state;
        }
    }
}

/// Nodes that have to have answered, and the size of a bucket (BEP 5).
pub(crate) const K: usize = 8;

/// Queries in parallel.
const ALPHA: usize = 4;

/// After this long without an answer another query may be sent beside the one that waits.
const SLOW: Duration = Duration::from_secs(1);

/// Twice what a lookup in a network of ten million needs with half of the contacts dead.
const QUERIES_MAX: u32 = 96;

/// A lookup still going after this is stuck behind budgets or liars.
const TIME_MAX: Duration = Duration::from_secs(60);

/// Asking the sampler's node costs one packet and a search costs dozens: its budget is waited for, but
/// not longer than this.
const HINT_TIME_MAX: Duration = Duration::from_secs(30);

/// Enough for the replicas of a hash (8), and for nodes that passed by.
const HINTS_MAX: usize = 8;

/// Of a family: four times what is ever in flight or answered and close.
const CANDIDATES_MAX: usize = 64;

/// More peers than a fetch of metadata can use.
const PEERS_ENOUGH: usize = 100;

/// More peers than are kept of a hash that waits to be fetched: another node would hardly name one that makes a difference.
const PEERS_BEFORE_FILTERS: usize = 32;

/// Peers remembered, so that none is named twice.
const PEERS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Duration = Duration::from_secs(100);

    fn id(first: u8) -> NodeId {
        let mut bytes = [0; 20];
        bytes[0] = first;
        NodeId::from_bytes(bytes)
    }

    fn addr(n: u8) -> SocketAddr {
        ([64, n, 1, 1], 6_881).into()
    }

    /// A search for the point 0 among nodes with these first bytes.
    fn search(firsts: impl IntoIterator<Item = u8>) -> Lookup {
        let mut lookup = Lookup::new(NOW, Goal::Nodes(NodeId::ZERO), &[], true);
        assert_eq!(lookup.step(NOW, |_| NOW), Step::Seed);
        lookup.seed(NOW, firsts.into_iter().map(|first| (id(first), addr(first))));
        lookup
    }

    fn asks(lookup: &mut Lookup, now: Duration) -> Vec<u8> {
        let mut asked = Vec::new();
        while let Step::Ask { addr, .. } = lookup.step(now, |_| now) {
            lookup.sent(now, addr);
            let SocketAddr::V4(addr) = addr else { panic!("all are IPv4") };
            asked.push(addr.ip().octets()[1]);
        }
        asked
    }

    #[test]
    fn the_closest_are_asked_first_and_few_at_a_time() {
        let mut lookup = search([9, 3, 7, 1, 5, 2]);
        assert_eq!(asks(&mut lookup, NOW), [1, 2, 3, 5]);
        lookup.answered(addr(1));
        lookup.add(id(4), addr(4));
        assert_eq!(asks(&mut lookup, NOW), [4]);
        assert_eq!(asks(&mut lookup, NOW + SLOW), [7, 9]);
    }

    #[test]
    fn it_converges_when_the_eight_closest_have_answered() {
        let mut lookup = search(1..=20);
        let mut asked = Vec::new();
        while asked.len() < 9 {
            for n in asks(&mut lookup, NOW) {
                asked.push(n);
                if n == 3 { lookup.failed(addr(n)) } else { lookup.answered(addr(n)) }
            }
        }
        assert_eq!(asked, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(lookup.step(NOW, |_| NOW), Step::Done(LookupOutcome::Converged));
        assert_eq!(lookup.radius(Family::V4), Some(id(9).distance(&NodeId::ZERO)));
    }

    #[test]
    fn one_whose_budget_is_used_up_does_not_hold_up_the_others() {
        let mut lookup = search([1, 2]);
        let later = NOW + Duration::from_secs(2);
        let ready = |to: SocketAddr| if to == addr(1) { later } else { NOW };
        assert_eq!(lookup.step(NOW, ready), Step::Ask { id: Some(id(2)), addr: addr(2) });
        lookup.sent(NOW, addr(2));
        lookup.answered(addr(2));
        assert_eq!(lookup.step(NOW, ready), Step::Wait(Some(later)));
        assert_eq!(lookup.step(later, ready), Step::Ask { id: Some(id(1)), addr: addr(1) });
    }

    #[test]
    fn a_node_that_turns_out_to_have_peers_is_asked_before_the_search_goes_on() {
        let mut lookup = search([1, 2, 3, 4, 5, 6]);
        assert_eq!(asks(&mut lookup, NOW), [1, 2, 3, 4]);
        // As many queries are in flight as may be, but this one is not for searching.
        lookup.hint(addr(200));
        assert!(lookup.has_promise());
        assert_eq!(asks(&mut lookup, NOW), [200]);
        assert!(!lookup.has_promise());
        // The search does not end before it has answered.
        for n in 1..=6 {
            asks(&mut lookup, NOW);
            lookup.answered(addr(n));
        }
        assert!(matches!(lookup.step(NOW, |_| NOW), Step::Wait(_)));
        lookup.failed(addr(200));
        assert_eq!(lookup.step(NOW, |_| NOW), Step::Done(LookupOutcome::Exhausted));
        // One that had nothing when the search came by may have something now.
        lookup.hint(addr(1));
        assert_eq!(asks(&mut lookup, NOW), [1]);
    }

    #[test]
    fn one_of_a_subnet_is_enough_unless_it_fails() {
        let mut lookup = search([1]);
        let neighbour: SocketAddr = ([64, 1, 1, 2], 6_881).into();
        assert!(!lookup.add(id(2), neighbour));
        assert!(!lookup.add(id(1), addr(9)) && !lookup.add(id(9), addr(1)));
        assert_eq!(asks(&mut lookup, NOW), [1]);
        lookup.failed(addr(1));
        assert!(lookup.add(id(2), neighbour));
    }

    #[test]
    fn a_node_stands_where_its_own_id_lies_whatever_others_call_it() {
        let mut lookup = search(100..=107);
        // A liar names eight honest nodes by ids that lie next to the target.
        (1..=8).for_each(|n| assert!(lookup.add(id(n), addr(200 + n))));
        assert_eq!(asks(&mut lookup, NOW), [201, 202, 203, 204]);
        for n in [201, 202, 203, 204] {
            lookup.identified(addr(n), id(n));
            lookup.answered(addr(n));
        }
        for turn in [[205, 206, 207, 208], [100, 101, 102, 103], [104, 105, 106, 107]] {
            assert_eq!(asks(&mut lookup, NOW), turn);
            for n in turn {
                lookup.identified(addr(n), id(n));
                lookup.answered(addr(n));
            }
        }
        assert_eq!(lookup.step(NOW, |_| NOW), Step::Done(LookupOutcome::Converged));
        assert_eq!(lookup.radius(Family::V4), Some(id(107).distance(&NodeId::ZERO)));
    }

    #[test]
    fn made_up_neighbours_crowd_out_nobody_and_are_asked_once() {
        let mut lookup = search(200..=207);
        for round in 0..4 {
            // Each that answers names twenty more that are closer than all others and do not exist.
            let fakes = (0..20).map(|n| round * 20 + n + 1);
            for n in fakes.clone() {
                lookup.add(id(n), addr(n));
            }
            for n in fakes.clone() {
                lookup.sent(NOW, addr(n));
                lookup.failed(addr(n));
            }
            assert!(fakes.clone().all(|n| !lookup.add(id(n), addr(n))));
        }
        assert_eq!(asks(&mut lookup, NOW), [200, 201, 202, 203]);
        // One that answers late after all counts.
        lookup.identified(addr(7), id(7));
        lookup.answered(addr(7));
        assert_eq!(lookup.candidates[0].state, State::Answered);
    }

    #[test]
    fn the_closest_of_each_family_have_to_answer() {
        let six = |n: u8| SocketAddr::from(([0x2a00, n.into(), 0, 0, 0, 0, 0, 1], 6_881));
        let mut lookup = search(1..=20);
        // The same nodes reached by IPv6, farther away another network.
        (1..=4).for_each(|n| assert!(lookup.add(id(n), six(n))));
        (100..=110).for_each(|n| assert!(lookup.add(id(n), six(n))));
        let mut asked = Vec::new();
        while let Step::Ask { addr, .. } = lookup.step(NOW, |_| NOW) {
            lookup.sent(NOW, addr);
            lookup.answered(addr);
            asked.push(addr);
        }
        let expected = (1..=8).map(addr).chain((1..=4).chain(100..=103).map(six));
        asked.sort_unstable();
        assert_eq!(asked, expected.collect::<Vec<_>>());
        assert_eq!(lookup.step(NOW, |_| NOW), Step::Done(LookupOutcome::Converged));
        let mut only_six = Lookup::new(NOW, Goal::Nodes(NodeId::ZERO), &[], true).within(Family::V6);
        only_six.seed(NOW, [(id(1), addr(1)), (id(1), six(1))].into_iter());
        assert_eq!(only_six.step(NOW, |_| NOW), Step::Ask { id: Some(id(1)), addr: six(1) });
    }

    #[test]
    fn it_ends_in_time_whatever_it_is_told() {
        let mut lookup = search(1..=50);
        assert_eq!(lookup.step(NOW + TIME_MAX, |_| NOW), Step::Done(LookupOutcome::TimedOut));
        assert_eq!(search([]).step(NOW, |_| NOW), Step::Done(LookupOutcome::Exhausted));
        asks(&mut lookup, NOW);
        assert_eq!(lookup.step(NOW, |_| NOW), Step::Wait(Some(NOW + SLOW)));
    }

    #[test]
    fn hints_come_one_after_the_other_and_before_the_search() {
        let goal = Goal::Peers(InfoHash::ZERO);
        let mut lookup = Lookup::new(NOW, goal, &[addr(1), addr(2), addr(1)], true);
        let busy = |to: SocketAddr| if to == addr(1) { NOW + SLOW } else { NOW };
        assert_eq!(lookup.step(NOW, busy), Step::Ask { id: None, addr: addr(2) });
        lookup.sent(NOW, addr(2));
        assert_eq!(lookup.step(NOW, |_| NOW), Step::Wait(None));
        lookup.answered(addr(2));
        assert_eq!(lookup.step(NOW, |_| NOW), Step::Ask { id: None, addr: addr(1) });
        lookup.sent(NOW, addr(1));
        lookup.failed(addr(1));
        assert_eq!(lookup.step(NOW, |_| NOW), Step::Seed);
        // Who was asked as a hint is not asked again.
        lookup.seed(NOW, [(id(2), addr(2)), (id(3), addr(3))].into_iter());
        assert_eq!(asks(&mut lookup, NOW), [3]);
    }

    #[test]
    fn peers_of_a_hint_end_the_lookup() {
        let goal = Goal::Peers(InfoHash::ZERO);
        let mut lookup = Lookup::new(NOW, goal, &[addr(1)], true);
        lookup.sent(NOW, addr(1));
        lookup.answered(addr(1));
        let peer = Peer::new(addr(7), false);
        assert!(lookup.is_new_peer(&peer) && !lookup.is_new_peer(&peer));
        assert_eq!(lookup.step(NOW, |_| NOW), Step::Done(LookupOutcome::Hinted));
    }

    #[test]
    fn a_scrape_of_known_nodes_ends_with_them_and_a_whole_one_goes_on() {
        for whole in [false, true] {
            let goal = Goal::Scrape { info_hash: InfoHash::ZERO, whole };
            let mut lookup = Lookup::new(NOW, goal, &[addr(1), addr(2)], true);
            assert!(lookup.asks_for_filters());
            for n in [1, 2] {
                assert_eq!(lookup.step(NOW, |_| NOW), Step::Ask { id: None, addr: addr(n) });
                lookup.sent(NOW, addr(n));
                lookup.answered(addr(n));
                assert!(lookup.filters.take(Some(&[0; 256]), None));
            }
            let end = if whole { Step::Seed } else { Step::Done(LookupOutcome::Exhausted) };
            assert_eq!(lookup.step(NOW, |_| NOW), end);
            assert!(!lookup.scrape(LookupOutcome::Exhausted).unwrap().whole);
            assert!(lookup.scrape(LookupOutcome::Converged).unwrap().whole);
        }
    }

    #[test]
    fn who_looks_for_peers_asks_for_filters_once_it_has_plenty() {
        let mut lookup = Lookup::new(NOW, Goal::Peers(InfoHash::ZERO), &[], true);
        for n in 0..PEERS_BEFORE_FILTERS as u8 {
            assert!(!lookup.asks_for_filters());
            assert!(lookup.is_new_peer(&Peer::new(addr(n), false)));
        }
        assert!(lookup.asks_for_filters());
        lookup.filters.take(Some(&[0; 256]), None);
        assert!(!lookup.scrape(LookupOutcome::Converged).unwrap().whole);
    }

    proptest! {
        /// Whatever nodes answer, name or leave unanswered: the lookup ends, and asks nobody twice.
        #[test]
        fn it_always_ends(fates in prop::collection::vec((any::<u8>(), any::<u8>(), 0_u8..4), 1..400)) {
            let mut lookup = search(fates.iter().take(16).map(|(first, ..)| *first));
            let mut fates = fates.into_iter().cycle();
            let mut now = NOW;
            let mut asked: Vec<SocketAddr> = Vec::new();
            let mut waiting: Vec<SocketAddr> = Vec::new();
            for _ in 0..2_000 {
                match lookup.step(now, |_| now) {
                    Step::Ask { addr, .. } => {
                        prop_assert!(!asked.contains(&addr));
                        lookup.sent(now, addr);
                        asked.push(addr);
                        waiting.push(addr);
                    }
                    Step::Done(_) => break,
                    Step::Seed => prop_assert!(false, "it was seeded"),
                    Step::Wait(until) => {
                        let Some((a, b, fate)) = fates.next() else { break };
                        match waiting.pop() {
                            Some(addr) if fate == 0 => lookup.failed(addr),
                            Some(addr) => {
                                lookup.answered(addr);
                                for n in 0..fate {
                                    let n = a.wrapping_add(n);
                                    lookup.add(id(n ^ b), ([64, n, b, 1], 1).into());
                                }
                            }
                            None => now = until.unwrap_or(now + TIME_MAX),
                        }
                    }
                }
                prop_assert!(lookup.candidates.len() <= CANDIDATES_MAX);
                prop_assert!(lookup.failed.len() <= QUERIES_MAX as usize);
            }
            prop_assert!(matches!(lookup.step(now, |_| now), Step::Done(_)));
            prop_assert!(asked.len() <= QUERIES_MAX as usize);
        }
    }
}
