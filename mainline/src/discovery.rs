//! The sampler: visits every known node when it is due, the most promising first (BEP 51).

use std::net::SocketAddr;
use std::time::Duration;

use krpc::{CompactNode, Method, NodeId, Reply};
use rand::RngExt;

use crate::dht::Dht;
use crate::event::{Support, VisitOutcome, VisitRecord};
use crate::freshness::Decay;
use crate::keyspace_slices::KeyspaceSlices;
use crate::node_table::{Added, Node, NodeRef};
use crate::odds::{Evidence, Silence, is_secure};
use crate::output::Output;
use crate::purpose::Purpose;
use crate::query::NotNow;
use crate::visit::{Opening, Visit, VisitStep, level_target, own_target};
use crate::visit_queue::Worth;

impl Dht {
    /// Takes up nodes that somebody has named. Returns how many are new to us.
    pub(crate) fn learn(
        &mut self,
        now: Duration,
        teller: Option<NodeRef>,
        nodes: impl Iterator<Item = CompactNode>,
    ) -> u32 {
        let mut new = 0;
        // What nobody has verified must not fill the table: the rest is for nodes that have answered. And whoever
        // just sends us packets may have forged their source, so their share is smaller still.
        let unverified_max = self.nodes_max / if teller.is_some() { 2 } else { 8 };
        for node in nodes.take(NODES_PER_ANSWER_MAX) {
            if !self.is_plausible(node.addr) || self.nodes.is_own(&node.id) {
                self.counters.contacts_bogus += 1;
            } else if teller.is_some() && !self.may_contact(now, node.addr) {
                self.counters.contacts_unreachable += 1;
            } else if self.table.tally().unverified > unverified_max
                || teller.is_none() && self.table.find(node.addr).is_none() && !self.strangers.newcomer(now)
            {
                self.counters.contacts_refused += 1;
            } else if self.can_speak_to(node.addr) {
                self.learn_one(now, teller, &node, &mut new);
            }
        }
        new
    }

    fn learn_one(&mut self, now: Duration, teller: Option<NodeRef>, node: &CompactNode, new: &mut u32) {
        if teller.is_none() {
            // Whoever calls is there, even if it did not answer before: its router lets answers in now. It may be
            // somebody in its name, so this is believed once.
            self.unreachable.forgive(now, node.addr);
            if !self.may_contact(now, node.addr) {
                self.counters.contacts_unreachable += 1;
                return;
            }
        }
        match self.table.add(node.id, node.addr, teller) {
            Added::New(at) => {
                self.counters.contacts_new += 1;
                if teller.is_none() {
                    self.table.update(at, |node| node.called = true);
                }
                self.make_ready(now, at);
                *new += 1;
            }
            Added::Known(at) => {
                self.counters.contacts_known += 1;
                self.named_again(at, teller);
            }
            Added::Refused => self.counters.contacts_refused += 1,
        }
    }

    /// Somebody has named a node that we know of, or it has sent us a query: that speaks for it, until it answers.
    fn named_again(&mut self, at: NodeRef, teller: Option<NodeRef>) {
        let Some(node) = self.table.get(at) else { return };
        if node.freshness > 0 || teller.is_some() && (teller == node.told_by || node.named == u8::MAX) {
            return;
        }
        self.table.update(at, |node| match teller {
            Some(_) => node.named += 1,
            None => node.called = true,
        });
    }

    /// Moves nodes whose time has come among those that are due.
    pub(crate) fn collect_due(&mut self, now: Duration) {
        for _ in 0..DUE_PER_TURN {
            let Some(at) = self.queue.pop_due(now) else { break };
            self.make_ready(now, at);
        }
        // Entries of removed nodes fall out when their time comes; here they are kept from piling up before.
        if self.queue.len() > 2 * self.table.len() + QUEUE_SLACK {
            let table = &self.table;
            self.queue.retain(|at| table.get(at).is_some());
        }
    }

    /// Puts a node among those that are due, by what it promises.
    pub(crate) fn make_ready(&mut self, now: Duration, at: NodeRef) {
        if let Some(node) = self.table.get(at) {
            let worth = self.worth_of(now, node);
            self.queue.push_ready(worth, at);
        }
    }

    /// Goes on with a visit, or begins one. Returns whether it is worth to go on.
    pub(crate) fn run_one_visit(&mut self, now: Duration, out: &mut Output) -> bool {
        if let Some(at) = self.visits.pop_runnable() {
            return self.drive_visit(now, at, out);
        }
        let cut_off = self.watchdog.is_cut_off(now);
        let most = if cut_off { VISITS_WHILE_CUT_OFF } else { usize::MAX };
        if !self.visits.has_room() || self.visits.len() >= most {
            return false;
        }
        if !cut_off && self.explore(now, out) {
            return true;
        }
        let known_only = !self.endpoints.has_room(now);
        let Some((worth, at)) = self.queue.pop_ready(known_only) else {
            if known_only && self.queue.ready() > 0 {
                self.endpoints.held_back();
            }
            return false;
        };
        let Some(node) = self.table.get(at) else { return true };
        let addr = node.addr();
        if !self.may_contact(now, addr) {
            self.pass_over(now, at);
            return true;
        }
        let promises = self.worth_of(now, node);
        if worth.beats(promises) {
            self.queue.push_ready(promises, at);
            return true;
        }
        let ready = self.limiter.next_query(now, addr.ip());
        if ready > now {
            self.counters.limited_by_remote += 1;
            self.queue.push_at(ready, at);
            return true;
        }
        if !self.endpoints.allows(now, addr) {
            self.endpoints.held_back();
            self.queue.push_ready(worth, at);
            return false;
        }
        let opening = self.opening(now, at);
        let Some(node) = self.table.get(at) else { return true };
        let place = self.visits.add(Visit::new(now, node, opening, self.evidence(node)));
        self.table.update(at, |node| node.visit = Some(place));
        self.drive_visit(now, at, out)
    }

    /// Samples nodes in these slices of the keyspace only, from now on: for engines that share what they find. Nodes
    /// elsewhere are visited still, so that the tables and lookups are as good as before, but seldom. No slice at all is
    /// taken for all of them: whoever shares with nobody has to do everything.
    pub fn set_slices(&mut self, now: Duration, slices: KeyspaceSlices) {
        let slices = if slices.count() == 0 { KeyspaceSlices::ALL } else { slices };
        let before = std::mem::replace(&mut self.slices, slices);
        if before == slices {
            return;
        }
        let table = &self.table;
        // What was put off because it was somebody else's.
        let gained = |id: &NodeId| slices.contains(id) && !before.contains(id);
        self.queue.hurry(now, |at| {
            table.get(at).is_some_and(|node| {
                gained(&node.id) && node.freshness > 0 && node.missed == 0 && node.sample_due <= now
            })
        });
    }

    /// The slices of the keyspace in which nodes are sampled.
    pub fn slices(&self) -> KeyspaceSlices {
        self.slices
    }

    /// What a node is asked first.
    fn opening(&mut self, now: Duration, at: NodeRef) -> Opening {
        let Some(node) = self.table.get(at) else { return Opening::Find { sample: false } };
        if now < node.sample_due || !self.slices.contains(&node.id) {
            return Opening::Find { sample: false };
        }
        if node.support == Support::Yes {
            return Opening::Sample;
        }
        let best = self.odds.opening(self.odds_alive(node), self.odds_to_sample(node), self.retry_worth);
        // Some are asked the other way, so that it shows when that has become the better one.
        let probe = node.freshness == 0 && self.rng.random_ratio(1, OPENING_EXCEPTION);
        if probe { Opening::Find { sample: true } } else { best }
    }

    /// Takes the next step of a visit, if it can be taken now. Returns `false` when no visit can.
    pub(crate) fn drive_visit(&mut self, now: Duration, at: NodeRef, out: &mut Output) -> bool {
        loop {
            let Some((node, place)) = self.table.get(at).and_then(|node| Some((node, node.visit?))) else {
                return true;
            };
            let Some(visit) = self.visits.get(place) else { return true };
            let (id, addr) = (node.id, node.addr());
            let (step, opens) = (visit.step(), visit.opening() == Opening::Sample);
            let far = visit.looks_far();
            let asked = match step {
                VisitStep::Wait => return true,
                VisitStep::End(outcome) => {
                    self.finish_visit(now, at, outcome, out);
                    return true;
                }
                VisitStep::Silence => {
                    self.rest(now, at, out);
                    return true;
                }
                VisitStep::Find => {
                    let target = match far {
                        true => level_target(&id, self.table.len(), &mut self.rng),
                        false => own_target(&id, &mut self.rng),
                    };
                    self.ask(now, addr, Some(&id), Method::FindNode { target }, Purpose::Find(at), out)
                }
                VisitStep::Sample if !opens && !self.is_worth_sampling(at) => {
                    self.table.update(at, |node| node.sample_due = now + REPROBE_AFTER);
                    self.with_visit(at, Visit::skipped_sample);
                    continue;
                }
                VisitStep::Sample => {
                    // Its neighbours a find_node has named: then the far space is of more use.
                    let target =
                        if opens { own_target(&id, &mut self.rng) } else { NodeId::random(&mut self.rng) };
                    let method = Method::SampleInfohashes { target };
                    self.ask(now, addr, Some(&id), method, Purpose::Sample(at), out)
                }
            };
            match asked {
                Ok(()) if step == VisitStep::Sample => {
                    // Whether it answers or not: it is not to be asked twice within the interval.
                    let due = now + self.min_sample_interval;
                    self.table.update(at, |node| node.sample_due = due);
                    self.with_visit(at, Visit::asked_sample);
                }
                Ok(()) => self.with_visit(at, Visit::asked_find),
                Err(NotNow::Remote(ready)) => self.visits.wake_at(ready, at),
                Err(NotNow::Busy | NotNow::NoNewEndpoints) => {
                    self.visits.make_runnable(at);
                    return false;
                }
                Err(NotNow::Never) => self.finish_visit(now, at, VisitOutcome::TimedOut, out),
            }
            return true;
        }
    }

    /// A node was silent: it rests and is asked again, as long as it is likely enough to be alive.
    fn rest(&mut self, now: Duration, at: NodeRef, out: &mut Output) {
        let Some(place) = self.table.get(at).and_then(|node| node.visit) else { return };
        let Some(visit) = self.visits.get(place) else { return };
        let (first, sampled) = (visit.first, visit.opening() == Opening::Sample);
        if self.watchdog.is_cut_off(now) {
            return self.finish_visit(now, at, VisitOutcome::TimedOut, out);
        }
        if first {
            self.odds.asked_fresh(visit.evidence, sampled, false);
        }
        self.table.update(at, |node| {
            node.silence.sampling |= sampled;
            node.silence.finds = node.silence.finds.saturating_add(u8::from(!sampled));
        });
        let Some(node) = self.table.get(at) else { return };
        let queries = node.silence.queries();
        // Spread, so that the share of those that are asked again follows their odds without a step.
        let worth = self.retry_worth * RETRY_SPREAD.powf(self.rng.random_range(-1.0..=1.0));
        let hopeful = self.odds_alive(node) >= worth && queries < QUERIES_MAX;
        // Silence on a sampling alone is no death: the client may not know it.
        if !hopeful && node.silence.finds > 0 {
            return self.finish_visit(now, at, VisitOutcome::TimedOut, out);
        }
        self.table.update(at, |node| node.visit = None);
        self.visits.remove(place);
        self.queue.push_at(now + REST * u32::from(queries), at);
    }

    /// The node of a visit was heard, after it was silent or not. Returns whether it is worth to ask it for the far space.
    fn heard_in_visit(&mut self, now: Duration, at: NodeRef, sampled: bool) -> bool {
        let place = self.table.get(at).and_then(|node| node.visit);
        let news = place.and_then(|place| self.visits.get(place)).is_some_and(Visit::is_news);
        if let Some(visit) = place.and_then(|place| self.visits.get(place))
            && visit.first
            && !visit.was_heard()
        {
            self.odds.asked_fresh(visit.evidence, sampled, true);
            if let Some(node) = self.table.get(at)
                && visit.is_fair()
            {
                self.odds.met(is_secure(node), node.version);
            }
        }
        news && self.far_looks.take(now, 0)
    }

    /// Has the node of a visit asked for the far space.
    fn look_far(&mut self, at: NodeRef, wanted: bool) {
        if wanted {
            self.with_visit(at, Visit::look_far);
        }
    }

    /// Probability that a node is alive.
    pub(crate) fn odds_alive(&self, node: &Node) -> f64 {
        if node.freshness > 0 {
            self.odds.known(self.odds_to_sample(node), node.silence)
        } else {
            self.odds.fresh(self.evidence(node))
        }
    }

    /// Probability that whoever is at an address answers a query.
    pub(crate) fn odds_to_answer(&self, addr: SocketAddr) -> f64 {
        let node = self.table.find(addr).and_then(|at| self.table.get(at));
        node.map_or(0.5, |node| self.odds_alive(node)) * (1.0 - self.odds.loss())
    }

    /// Probability that a node answers samplings if it is alive.
    fn odds_to_sample(&self, node: &Node) -> f64 {
        match (node.support, node.version) {
            (Support::Yes, _) => 1.0,
            (Support::No, _) => 0.0,
            (Support::Unknown, Some(_)) => self.odds.supports(node.version, node.sample_misses),
            // Without an answer its client is not known: that it does not answer samplings may be about to show.
            (Support::Unknown, None) => self.odds.any_supports(is_secure(node)),
        }
    }

    /// What speaks for a node.
    fn evidence(&self, node: &Node) -> Evidence {
        let teller = node.told_by.and_then(|teller| self.table.get(teller)).and_then(|teller| teller.version);
        Evidence::new(node, teller)
    }

    /// What a visit promises.
    pub(crate) fn worth_of(&self, now: Duration, node: &Node) -> Worth {
        let heard = self.odds_alive(node) * (1.0 - self.odds.loss());
        let known = node.freshness > 0;
        let sampled = match node.support {
            _ if now < node.sample_due || !self.slices.contains(&node.id) => 0.0,
            Support::Yes => node.expected_news().min(SAMPLES_SHOWN),
            Support::Unknown => self.first_news * self.odds.any_supports(is_secure(node)),
            Support::No => 0.0,
        };
        // Those whom it names are worth visits of their own, if it was never asked; else there is little new.
        let contacts = if node.visited { CHECK_WORTH } else { self.first_news.max(1.0) };
        Worth::new(heard * (sampled + contacts), known)
    }

    /// What the first visit of a node promises of which nothing is known.
    pub(crate) fn fresh_yield(&self) -> f64 {
        let heard = self.odds.fresh_alive() * (1.0 - self.odds.loss());
        heard * (self.first_news * self.odds.any_supports(true) + self.first_news.max(1.0))
    }

    /// The node of a visit has answered find_node.
    pub(crate) fn found(
        &mut self,
        now: Duration,
        at: NodeRef,
        told_us: u32,
        rtt: Duration,
        out: &mut Output,
    ) {
        let news = self.heard_in_visit(now, at, false);
        self.with_visit(at, |visit| visit.found(rtt, told_us));
        self.look_far(at, news);
        self.drive_visit(now, at, out);
    }

    /// The node of a visit has answered sample_infohashes: with samples if it supports it, else as if the
    /// query had been a find_node.
    pub(crate) fn sampled(
        &mut self,
        now: Duration,
        at: NodeRef,
        reply: &Reply<'_>,
        told_us: u32,
        rtt: Duration,
        out: &mut Output,
    ) {
        let news = self.heard_in_visit(now, at, true);
        let samples = self.take_samples(now, at, reply, out);
        self.with_visit(at, |visit| visit.sampled(rtt, samples, told_us));
        self.look_far(at, news);
        self.drive_visit(now, at, out);
    }

    /// Takes up what an answer to sample_infohashes says. Returns the number of samples.
    pub(crate) fn take_samples(
        &mut self,
        now: Duration,
        at: NodeRef,
        reply: &Reply<'_>,
        out: &mut Output,
    ) -> u32 {
        let Some(node) = self.table.get(at) else { return 0 };
        let by = CompactNode { id: node.id, addr: node.addr() };
        let Some(samples) = reply.samples else {
            self.count_sampling(at, false);
            self.table.update(at, |node| {
                node.support = Support::No;
                node.sample_due = now + REPROBE_AFTER;
            });
            return 0;
        };
        let first = node.support != Support::Yes;
        self.count_sampling(at, true);
        self.counters.samples_answered += 1;
        let count = out.samples(by, samples.iter().take(SAMPLES_MAX)) as u32;
        self.counters.hashes_sampled += u64::from(count);
        if first {
            self.first_news += (f64::from(count) - self.first_news) / FIRST_NEWS_MEMORY;
        }
        for info_hash in samples.iter().take(SAMPLES_MAX) {
            self.lookups.hint(&info_hash, by.addr);
        }
        let interval = reply.interval.map(|interval| interval.min(INTERVAL_MAX));
        let pause = interval.map_or(Duration::ZERO, |secs| Duration::from_secs(secs.into()));
        let pause = pause.max(self.min_sample_interval);
        let num = reply.num.map(|num| num.min(u32::MAX.into()) as u32);
        self.table.update(at, |node| {
            let unchanged = node.support == Support::Yes && node.num == num;
            node.support = Support::Yes;
            node.sample_misses = 0;
            node.num = num;
            node.interval = interval;
            node.sampled = if unchanged { node.sampled.saturating_add(count) } else { count };
            let quiet = unchanged && node.expected_news() < NEWS_WORTH;
            node.quiet = if quiet { node.quiet.saturating_add(1) } else { 0 };
            // A node that has had nothing new for us is left alone for longer and longer.
            let patient = (pause * 2_u32.pow(node.quiet.min(12).into())).min(QUIET_PAUSE_MAX);
            node.sample_due = now + pause.max(patient);
        });
        count
    }

    /// A sampling of a visit was answered, with samples or without.
    fn count_sampling(&mut self, at: NodeRef, answered: bool) {
        let Some(node) = self.table.get(at) else { return };
        if node.visit.and_then(|place| self.visits.get(place)).is_some_and(Visit::is_fair) {
            self.odds.sampled(node.version, answered);
        }
    }

    /// A query of a visit was answered with an error.
    pub(crate) fn visit_refused(&mut self, now: Duration, at: NodeRef, sample: bool, out: &mut Output) {
        self.heard_in_visit(now, at, sample);
        if sample {
            self.count_sampling(at, false);
            self.table.update(at, |node| {
                node.support = Support::No;
                node.sample_due = now + REPROBE_AFTER;
            });
            self.with_visit(at, Visit::refused_sample);
        } else {
            self.with_visit(at, Visit::refused_find);
        }
        self.drive_visit(now, at, out);
    }

    /// A query of a visit was not answered.
    pub(crate) fn visit_missed(&mut self, now: Duration, at: NodeRef, sample: bool, out: &mut Output) {
        self.with_visit(at, if sample { Visit::missed_sample } else { Visit::missed_find });
        self.drive_visit(now, at, out);
    }

    /// A visit is over: what it means for the node, and when the node is due again.
    pub(crate) fn finish_visit(
        &mut self,
        now: Duration,
        at: NodeRef,
        outcome: VisitOutcome,
        out: &mut Output,
    ) {
        let place = self.table.update(at, |node| node.visit.take()).flatten();
        if let Some(visit) = place.and_then(|place| self.visits.remove(place)) {
            self.end_visit(now, at, &visit, outcome, out);
        }
    }

    fn end_visit(
        &mut self,
        now: Duration,
        at: NodeRef,
        visit: &Visit,
        outcome: VisitOutcome,
        out: &mut Output,
    ) {
        let Some(node) = self.table.get(at) else { return };
        let (addr, version, told_by) = (node.addr(), node.version, node.told_by);
        let first_end = !node.visited;
        let cut_off = outcome == VisitOutcome::TimedOut && self.watchdog.is_cut_off(now);
        let heard = matches!(outcome, VisitOutcome::Replied | VisitOutcome::Error);
        if !cut_off && visit.queries > 0 && !visit.first {
            self.odds.visited_known(heard);
        }
        // A sampling in vain while the node lives: lost, or not understood?
        let missed_sample = visit.sampling_missed() && outcome == VisitOutcome::Replied;
        let misses = node.sample_misses.saturating_add(u8::from(missed_sample));
        let doubtful = node.support != Support::Yes || misses >= MISSES_OF_SUPPORTERS;
        if missed_sample && visit.is_fair() {
            self.odds.sampled(version, false);
        }
        let unsupported = missed_sample && doubtful && self.odds.supports(version, misses) < SAMPLING_WORTH;
        let (decay, epoch) = (self.decay, self.epoch);
        let slices = self.slices;
        let jitter = self.rng.random_range(0.0..JITTER);
        let due = self.table.update(at, |node| {
            match outcome {
                VisitOutcome::Replied => {
                    // The first answer has given the first point.
                    let points = if visit.first { node.freshness } else { Decay::seen(node.freshness) };
                    node.freshness = points.max(1);
                    node.missed = 0;
                    node.live = true;
                }
                VisitOutcome::Error => {
                    node.missed = 0;
                    node.live = false;
                }
                VisitOutcome::TimedOut if cut_off => {}
                VisitOutcome::TimedOut => {
                    node.missed = node.missed.saturating_add(1);
                    node.freshness = decay.missed(node.freshness, node.missed);
                    node.live = false;
                }
                VisitOutcome::IdChanged => node.freshness = 0,
            }
            node.sample_misses = misses;
            node.silence = Silence::default();
            if unsupported {
                node.support = Support::No;
                node.sample_due = now + REPROBE_AFTER;
            }
            node.visited |= !cut_off;
            let pause = match (outcome, node.support) {
                (VisitOutcome::TimedOut, _) if cut_off => CUT_OFF_PAUSE,
                // Somebody else samples it; that it lives is all that is to be known.
                (VisitOutcome::Replied, _) if !slices.contains(&node.id) => epoch,
                (VisitOutcome::Replied, _) => epoch.min(node.sample_due.saturating_sub(now)),
                (VisitOutcome::TimedOut, _) => {
                    epoch.min(MISSED_PAUSE * 4_u32.pow(u32::from(node.missed.clamp(1, 6)) - 1))
                }
                _ => epoch,
            };
            now + pause.max(SECOND).mul_f64(1.0 + jitter)
        });
        let Some(due) = due else { return };
        match outcome {
            VisitOutcome::Replied => self.counters.visits_replied += 1,
            VisitOutcome::TimedOut => self.counters.visits_timed_out += 1,
            VisitOutcome::Error | VisitOutcome::IdChanged => self.counters.visits_failed += 1,
        }
        if outcome == VisitOutcome::TimedOut && !cut_off {
            self.unreachable.insert(now, addr);
        }
        let told_by = told_by.and_then(|teller| self.table.get(teller)).map(Node::addr);
        let Some(node) = self.table.get(at) else { return };
        let removed = node.freshness == 0 && !cut_off && outcome != VisitOutcome::Error;
        self.visited += u64::from(first_end && !cut_off);
        out.visit(VisitRecord {
            id: node.id,
            addr,
            started: visit.started,
            ended: now,
            outcome,
            queries: visit.queries,
            first: visit.first,
            rtt: visit.rtt,
            version,
            support: node.support,
            num: node.num,
            interval: node.interval,
            samples: visit.samples,
            freshness: node.freshness,
            removed,
            due: (!removed).then_some(due),
            told_by,
            told_us: visit.told_us,
        });
        if removed {
            self.counters.nodes_removed += 1;
            self.table.remove(at);
        } else {
            self.queue.push_at(due, at);
        }
    }

    /// A node that was found unreachable, or whose party was banned, since it was put in the queue.
    fn pass_over(&mut self, now: Duration, at: NodeRef) {
        let due = now + self.epoch;
        let hopeful = self.table.update(at, |node| {
            let first = !std::mem::replace(&mut node.visited, true);
            self.visited += u64::from(first);
            node.freshness > 0
        });
        if hopeful == Some(true) {
            self.queue.push_at(due, at);
        } else {
            self.counters.nodes_removed += 1;
            self.table.remove(at);
        }
    }

    /// Clients that never answer samplings are asked only now and then, in case a new version does.
    fn is_worth_sampling(&mut self, at: NodeRef) -> bool {
        let Some(node) = self.table.get(at) else { return false };
        node.support == Support::Yes
            || self.odds.supports(node.version, node.sample_misses) >= SAMPLING_WORTH
            || self.rng.random_ratio(1, SAMPLING_EXCEPTION)
    }

    fn with_visit(&mut self, at: NodeRef, change: impl FnOnce(&mut Visit)) {
        let place = self.table.get(at).and_then(|node| node.visit);
        if let Some(visit) = place.and_then(|place| self.visits.get_mut(place)) {
            change(visit);
        }
    }

    /// The node has shown in another way that it is alive.
    pub(crate) fn seen_alive(&mut self, at: NodeRef) {
        self.with_visit(at, Visit::seen_alive);
    }

    /// A node has not answered a query that is no part of a visit.
    pub(crate) fn missed(&mut self, now: Duration, addr: SocketAddr) {
        if let Some(at) = self.table.find(addr)
            && !self.watchdog.is_cut_off(now)
        {
            self.table.update(at, |node| node.silence.finds = node.silence.finds.saturating_add(1));
        }
    }
}

/// libtorrent names 8 nodes of a family in an answer, others up to 20; more is flooding.
pub(crate) const NODES_PER_ANSWER_MAX: usize = 40;

/// More than fit into a datagram of 4 KiB.
const SAMPLES_MAX: usize = 200;

/// BEP 51: an interval is at most six hours.
const INTERVAL_MAX: u32 = 21_600;

/// With fewer new info-hashes to be expected a sampling is not worth its packet yet.
const NEWS_WORTH: f64 = 0.5;

/// A node that has had nothing new is sampled again after this at the latest, or after its interval.
const QUIET_PAUSE_MAX: Duration = Duration::from_secs(3_600);

/// A node that does not support BEP 51 is asked again after this, or when its client changes.
const REPROBE_AFTER: Duration = Duration::from_secs(24 * 3600);

/// How long a node rests after its first silence; after each further one it is as much longer. Routers that are
/// flooded for a moment, and bursts of loss, are over by then.
const REST: Duration = Duration::from_secs(5);

/// Nodes that turn up are asked for the far space too, so many in a minute: in a great sweep hardly any, as holes show where to
/// ask instead; but after days in a corner of the network each of those who lead out of it.
pub(crate) const FAR_LOOKS_PER_MINUTE: u32 = 12;

/// And so many at once.
pub(crate) const FAR_LOOKS_BURST: u32 = 64;

/// How far the least odds for another query are spread, as a factor either way.
const RETRY_SPREAD: f64 = 1.5;

/// Queries to a node that is silent, whatever the odds say.
const QUERIES_MAX: u8 = 8;

/// A node that has answered samplings before may miss some in a row.
const MISSES_OF_SUPPORTERS: u8 = 4;

/// First samplings after which older ones have faded.
const FIRST_NEWS_MEMORY: f64 = 200.0;

/// Info-hashes in an answer, at most, of the most frequent client (libtorrent).
const SAMPLES_SHOWN: f64 = 20.0;

/// New info-hashes that a check of a node is worth which is not due for a sampling.
const CHECK_WORTH: f64 = 0.01;

/// A sampling is sent to nodes that support it with at least this probability...
const SAMPLING_WORTH: f64 = 0.05;

/// ...and to one in so many of the others.
const SAMPLING_EXCEPTION: u32 = 16;

/// One in so many nodes that were never heard is asked find_node first, whatever the odds say.
const OPENING_EXCEPTION: u32 = 32;

/// Nodes that come due together do not stay together: up to this share is added to each pause, never taken off.
const JITTER: f64 = 0.05;

/// Nodes taken from the queue of due times in one turn.
const DUE_PER_TURN: usize = 4_096;

/// Entries of removed nodes that are borne besides one for each node.
const QUEUE_SLACK: usize = 10_000;

/// When a node is due again that was not reached for the first time; after each further time it is four times as long,
/// up to an epoch.
const MISSED_PAUSE: Duration = Duration::from_secs(15 * 60);

/// While nobody answers, a few visits show when somebody does again.
const VISITS_WHILE_CUT_OFF: usize = 8;

/// When a node is due again that was visited while nobody answered.
const CUT_OFF_PAUSE: Duration = Duration::from_secs(60);

const SECOND: Duration = Duration::from_secs(1);
