//! The sampler: visits every known node when it is due, the most promising first (BEP 51).

use std::time::Duration;

use krpc::{CompactNode, Method, Reply};
use rand::RngExt;

use crate::dht::Dht;
use crate::event::{Support, VisitOutcome, VisitRecord};
use crate::freshness::Decay;
use crate::node_table::{Added, Node, NodeRef};
use crate::output::Output;
use crate::purpose::Purpose;
use crate::query::NotNow;
use crate::visit::{Visit, VisitStep, level_target, own_target};
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
            } else if !self.may_contact(now, node.addr) {
                self.counters.contacts_unreachable += 1;
            } else if self.table.tally().unverified > unverified_max
                || teller.is_none() && self.table.find(node.addr).is_none() && !self.strangers.newcomer(now)
            {
                self.counters.contacts_refused += 1;
            } else if self.can_speak_to(node.addr) {
                match self.table.add(node.id, node.addr, teller) {
                    Added::New(at) => {
                        self.counters.contacts_new += 1;
                        self.queue.push_ready(Worth::Fresh, at);
                        new += 1;
                    }
                    Added::Known(_) => self.counters.contacts_known += 1,
                    Added::Refused => self.counters.contacts_refused += 1,
                }
            }
        }
        new
    }

    /// Moves nodes whose time has come among those that are due.
    pub(crate) fn collect_due(&mut self, now: Duration) {
        for _ in 0..DUE_PER_TURN {
            let Some(at) = self.queue.pop_due(now) else { break };
            if let Some(node) = self.table.get(at) {
                self.queue.push_ready(Worth::of(node, now), at);
            }
        }
        // Entries of removed nodes fall out when their time comes; here they are kept from piling up before.
        if self.queue.len() > 2 * self.table.len() + QUEUE_SLACK {
            let table = &self.table;
            self.queue.retain(|at| table.get(at).is_some());
        }
    }

    /// Goes on with a visit, or begins one. Returns whether it is worth to go on.
    pub(crate) fn run_one_visit(&mut self, now: Duration, out: &mut Output) -> bool {
        if let Some(at) = self.visits.pop_runnable() {
            return self.drive_visit(now, at, out);
        }
        let most = if self.watchdog.is_cut_off(now) { VISITS_WHILE_CUT_OFF } else { usize::MAX };
        if !self.visits.has_room() || self.visits.len() >= most {
            return false;
        }
        let room_for_new = self.endpoints.has_room(now);
        let Some((worth, at)) = self.queue.pop_ready(|worth| room_for_new || worth == Worth::Rich) else {
            if !room_for_new && self.queue.ready() > 0 {
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
        let sample = now >= node.sample_due;
        let find = !node.live || node.checked.is_none_or(|checked| now >= checked + FIND_PAUSE);
        let place = self.visits.add(Visit::new(now, node, sample, find));
        self.table.update(at, |node| node.visit = Some(place));
        self.drive_visit(now, at, out)
    }

    /// Takes the next step of a visit, if it can be taken now. Returns `false` when no visit can.
    pub(crate) fn drive_visit(&mut self, now: Duration, at: NodeRef, out: &mut Output) -> bool {
        loop {
            let Some((node, place)) = self.table.get(at).and_then(|node| Some((node, node.visit?))) else {
                return true;
            };
            let Some(visit) = self.visits.get(place) else { return true };
            let (id, addr) = (node.id, node.addr());
            let step = visit.step(node, &self.odds, self.retry_worth);
            let asked = match step {
                VisitStep::Wait => return true,
                VisitStep::End(outcome) => {
                    self.finish_visit(now, at, outcome, out);
                    return true;
                }
                VisitStep::Find => {
                    let target = level_target(&id, self.table.len(), &mut self.rng);
                    self.ask(now, addr, Some(&id), Method::FindNode { target }, Purpose::Find(at), out)
                }
                VisitStep::Sample if !self.is_worth_sampling(at) => {
                    self.table.update(at, |node| node.sample_due = now + REPROBE_AFTER);
                    self.with_visit(at, Visit::skipped_sample);
                    continue;
                }
                VisitStep::Sample => {
                    let target = own_target(&id, &mut self.rng);
                    self.ask(
                        now,
                        addr,
                        Some(&id),
                        Method::SampleInfohashes { target },
                        Purpose::Sample(at),
                        out,
                    )
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

    /// The node of a visit has answered find_node.
    pub(crate) fn found(
        &mut self,
        now: Duration,
        at: NodeRef,
        told_us: u32,
        rtt: Duration,
        out: &mut Output,
    ) {
        self.table.update(at, |node| node.checked = Some(now));
        self.with_visit(at, |visit| visit.found(rtt, told_us));
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
        let samples = self.take_samples(now, at, reply, out);
        self.with_visit(at, |visit| visit.sampled(rtt, samples, told_us));
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
        let (by, version) = (CompactNode { id: node.id, addr: node.addr() }, node.version);
        let Some(samples) = reply.samples else {
            self.odds.sampled(version, false);
            self.table.update(at, |node| {
                node.support = Support::No;
                node.sample_due = now + REPROBE_AFTER;
            });
            return 0;
        };
        if node.support != Support::Yes {
            self.odds.sampled(version, true);
        }
        self.counters.samples_answered += 1;
        let count = out.samples(by, samples.iter().take(SAMPLES_MAX)) as u32;
        self.counters.hashes_sampled += u64::from(count);
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

    /// A query of a visit was answered with an error.
    pub(crate) fn visit_refused(&mut self, now: Duration, at: NodeRef, sample: bool, out: &mut Output) {
        if sample {
            let version = self.table.get(at).and_then(|node| node.version);
            self.odds.sampled(version, false);
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
        if !cut_off && visit.queries > 0 {
            self.odds.visited(!visit.first, heard);
        }
        // A sampling in vain while the node lives: lost, or not understood?
        let missed_sample = visit.sampling_missed() && outcome == VisitOutcome::Replied;
        let misses = node.sample_misses.saturating_add(u8::from(missed_sample));
        let unsupported = missed_sample && self.odds.supports(version, misses) < SAMPLING_WORTH;
        if unsupported {
            self.odds.sampled(version, false);
        }
        let (decay, epoch) = (self.decay, self.epoch);
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
            if unsupported {
                node.support = Support::No;
                node.sample_due = now + REPROBE_AFTER;
            }
            node.visited |= !cut_off;
            let pause = match (outcome, node.support) {
                (VisitOutcome::TimedOut, _) if cut_off => CUT_OFF_PAUSE,
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

/// A node sampled more often than this is not asked for contacts each time.
const FIND_PAUSE: Duration = Duration::from_secs(300);

/// A sampling is sent to nodes that support it with at least this probability...
const SAMPLING_WORTH: f64 = 0.05;

/// ...and to one in so many of the others.
const SAMPLING_EXCEPTION: u32 = 16;

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
