//! Driving the lookups: peers for the program, contacts for ourselves.

use std::net::SocketAddr;
use std::time::Duration;

use krpc::{CompactNode, InfoHash, Method, NodeId, Reply};

use crate::address::canonical;
use crate::dht::Dht;
use crate::event::{Busy, LookupId, LookupOutcome, LookupReport, Peer, Priority};
use crate::lookup::{Goal, K, Lookup, Step};
use crate::lookups::Client;
use crate::output::Output;
use crate::purpose::Purpose;
use crate::query::NotNow;
use crate::virtual_node::Family;

impl Dht {
    /// Looks up the peers of an info-hash. `hints` are nodes that have sampled it: they are asked first, one
    /// packet each, and only when none of them names a peer the lookup goes through the network. Peers come as
    /// [`Event::Peers`](crate::Event::Peers), the end as [`Event::LookupDone`](crate::Event::LookupDone). When the info-hash
    /// is being looked up already, this is that lookup, and `hints` are added to it.
    ///
    /// # Errors
    /// [`Busy`] when [`Limits::lookups_waiting_max`](crate::Limits) lookups are waiting.
    pub fn find_peers(
        &mut self,
        now: Duration,
        info_hash: InfoHash,
        hints: &[SocketAddr],
        priority: Priority,
        out: &mut Output,
    ) -> Result<LookupId, Busy> {
        let id = match self.lookups.find(&info_hash) {
            Some(id) => id,
            None => {
                let lookup = Lookup::new(now, Goal::Peers(info_hash), &[], self.diverse);
                let Some(id) = self.lookups.add(lookup, Client::Program(priority)) else {
                    self.counters.lookups_refused += 1;
                    return Err(Busy);
                };
                self.counters.lookups_started += 1;
                id
            }
        };
        for hint in hints {
            if self.may_contact(now, *hint) && self.can_speak_to(*hint) {
                self.lookups.hint(&info_hash, *hint);
            }
        }
        self.lookups.make_runnable(id);
        self.run(now, out);
        Ok(id)
    }

    /// Asks how many take part in a torrent (BEP 33): each of the `known` nodes, which store peers of it, with one packet;
    /// then, if it is to be `whole`, the closest nodes of the network by a lookup. The end comes as
    /// [`Event::LookupDone`](crate::Event::LookupDone), with the sizes in [`LookupReport::scrape`]. All other
    /// lookups of the program go first.
    ///
    /// # Errors
    /// [`Busy`] when as many scrapes are in flight as may be.
    pub fn scrape(
        &mut self,
        now: Duration,
        info_hash: InfoHash,
        known: &[SocketAddr],
        whole: bool,
        out: &mut Output,
    ) -> Result<LookupId, Busy> {
        let mut lookup = Lookup::new(now, Goal::Scrape { info_hash, whole }, &[], self.diverse);
        for node in known {
            if self.may_contact(now, *node) && self.can_speak_to(*node) {
                lookup.hint(*node);
            }
        }
        let Some(id) = self.lookups.add(lookup, Client::Scrape) else {
            self.counters.scrapes_refused += 1;
            return Err(Busy);
        };
        self.counters.scrapes_started += 1;
        self.run(now, out);
        Ok(id)
    }

    /// Ends a lookup whose result is not wanted any more; there will be no event about it.
    pub fn cancel(&mut self, lookup: LookupId) {
        self.lookups.remove(lookup);
    }

    /// Looks up nodes around a point in the network of one family (BEP 32), for the sake of the contacts. Returns whether
    /// there was room.
    pub(crate) fn find_nodes_of(&mut self, now: Duration, family: Family, target: NodeId) -> bool {
        let lookup = Lookup::new(now, Goal::Nodes(target), &[], self.diverse).within(family);
        self.lookups.add(lookup, Client::Upkeep).is_some()
    }

    /// Drives a lookup that can go on. Returns whether it is worth to go on with others.
    pub(crate) fn run_one_lookup(&mut self, now: Duration, out: &mut Output) -> bool {
        match self.lookups.pop_runnable() {
            Some(id) => self.drive_lookup(now, id, out),
            None => false,
        }
    }

    /// Takes all steps of a lookup that can be taken now. Returns `false` when no lookup can take any.
    fn drive_lookup(&mut self, now: Duration, id: LookupId, out: &mut Output) -> bool {
        loop {
            let Some(entry) = self.lookups.get(id) else { return true };
            let (goal, scrape) = (entry.lookup.goal(), entry.lookup.asks_for_filters());
            let (to, remote) = match entry.lookup.step(now, |addr| self.limiter.next_query(now, addr.ip())) {
                Step::Ask { id, addr } => (addr, id),
                Step::Seed => {
                    if !self.lookups.begin_search(id) {
                        return true;
                    }
                    self.seed_lookup(now, id);
                    continue;
                }
                Step::Wait(until) => {
                    if let Some(until) = until {
                        self.lookups.wake_at(id, until);
                    }
                    return true;
                }
                Step::Done(outcome) => {
                    self.finish_lookup(now, id, outcome, out);
                    return true;
                }
            };
            let remote = remote.or_else(|| Some(self.table.get(self.table.find(to)?)?.id));
            let method = match goal {
                Goal::Peers(info_hash) | Goal::Scrape { info_hash, .. } => {
                    Method::GetPeers { info_hash, noseed: false, scrape }
                }
                Goal::Nodes(target) => Method::FindNode { target },
            };
            let asked = self.ask(now, to, remote.as_ref(), method, Purpose::Lookup(id), out);
            let Some(entry) = self.lookups.get_mut(id) else { return true };
            match asked {
                Ok(()) => entry.lookup.sent(now, to),
                Err(NotNow::Remote(ready)) => {
                    self.lookups.wake_at(id, ready);
                    return true;
                }
                Err(NotNow::NoNewEndpoints) => {
                    // Others may have nodes to ask that were asked lately, above all the hinted ones.
                    self.lookups.wake_at(id, now + ENDPOINT_PAUSE);
                    return true;
                }
                Err(NotNow::Busy) => {
                    self.lookups.make_runnable(id);
                    return false;
                }
                Err(NotNow::Never) => entry.lookup.failed(to),
            }
        }
    }

    /// Gives a lookup the closest nodes known of each family: those that live, and if these are too few any.
    fn seed_lookup(&mut self, now: Duration, id: LookupId) {
        let Some(entry) = self.lookups.get(id) else { return };
        let target = entry.lookup.goal().target();
        let families =
            [Family::V4, Family::V6].map(|family| entry.lookup.goes_through(family) && self.speaks(family));
        let mut closest = std::mem::take(&mut self.closest);
        for family in [Family::V4, Family::V6] {
            closest.clear();
            if families[family as usize] {
                self.table.closest(family, &target, SEEDS, |node| node.live, &mut closest);
            }
            if families[family as usize] && closest.len() < K {
                self.table.closest(family, &target, SEEDS, |_| true, &mut closest);
            }
            let table = &self.table;
            let seeds =
                closest.iter().filter_map(|(_, at)| table.get(*at).map(|node| (node.id, node.addr())));
            if let Some(entry) = self.lookups.get_mut(id) {
                entry.lookup.seed(now, seeds);
            }
        }
        self.closest = closest;
    }

    /// A node has answered a query of a lookup.
    pub(crate) fn lookup_answered(
        &mut self,
        id: LookupId,
        from: SocketAddr,
        reply: &Reply<'_>,
        swaps_ports: bool,
        out: &mut Output,
    ) {
        let allowed = |node: &CompactNode, dht: &Dht| {
            dht.is_plausible(node.addr) && dht.can_speak_to(node.addr) && !dht.nodes.is_own(&node.id)
        };
        let mut named = std::mem::take(&mut self.named);
        named.clear();
        let told = reply.nodes.iter().chain(reply.nodes6.iter()).take(LOOKUP_NODES_MAX);
        named.extend(told.filter(|node| allowed(node, self)));
        if let Some(entry) = self.lookups.get_mut(id) {
            let lookup = &mut entry.lookup;
            if let Some(id) = reply.id {
                lookup.identified(from, id);
            }
            lookup.answered(from);
            for node in &named {
                lookup.add(node.id, node.addr);
            }
            if lookup.asks_for_filters() && lookup.filters.take(reply.bloom_seeds, reply.bloom_peers) {
                self.counters.filters_taken += 1;
            }
            if let Goal::Peers(info_hash) = lookup.goal() {
                let values = reply.values.iter().take(VALUES_MAX).map(canonical);
                let peers = values.map(|addr| Peer::new(addr, swaps_ports));
                let filter = &self.filter;
                let peers = peers.filter(|peer| filter.check(peer.addr).is_ok() && lookup.is_new_peer(peer));
                let count = out.peers(id, info_hash, from, peers);
                self.counters.peers_found += count as u64;
            }
            self.lookups.make_runnable(id);
        }
        self.named = named;
    }

    /// A node has not answered a query of a lookup, or with an error.
    pub(crate) fn lookup_missed(&mut self, id: LookupId, to: SocketAddr) {
        if let Some(entry) = self.lookups.get_mut(id) {
            entry.lookup.failed(to);
            self.lookups.make_runnable(id);
        }
    }

    fn finish_lookup(&mut self, now: Duration, id: LookupId, outcome: LookupOutcome, out: &mut Output) {
        let Some(entry) = self.lookups.remove(id) else { return };
        let lookup = entry.lookup;
        for family in [Family::V4, Family::V6] {
            if let (LookupOutcome::Converged, Some(radius)) = (outcome, lookup.radius(family)) {
                self.populations[family as usize].observe(&radius);
            }
        }
        let peers = lookup.peers() as u32;
        let scrape = lookup.scrape(outcome);
        let info_hash = match lookup.goal() {
            Goal::Nodes(target) => return self.upkeep_lookup_done(target),
            Goal::Scrape { info_hash, .. } => {
                self.counters.scrapes_ended += 1;
                self.counters.scrapes_answered += u64::from(scrape.is_some());
                info_hash
            }
            Goal::Peers(info_hash) => {
                match outcome {
                    LookupOutcome::Hinted => self.counters.lookups_hinted += 1,
                    _ if peers > 0 => self.counters.lookups_with_peers += 1,
                    _ => self.counters.lookups_without_peers += 1,
                }
                info_hash
            }
        };
        self.counters.filters_discarded += scrape.map_or(0, |scrape| u64::from(scrape.discarded));
        out.lookup_done(LookupReport {
            lookup: id,
            info_hash,
            outcome,
            peers,
            asked: lookup.asked,
            answered: lookup.answered,
            scrape,
            started: lookup.started,
            ended: now,
        });
    }
}

/// When a lookup tries again that may not speak to new endpoints.
const ENDPOINT_PAUSE: Duration = Duration::from_millis(250);

/// Where a lookup begins: some more than have to answer, as some will not.
const SEEDS: usize = 2 * K;

/// Nodes taken from an answer to a lookup; libtorrent names 8, others up to 20.
const LOOKUP_NODES_MAX: usize = 20;

/// Peers taken from one answer: what fits into 1.4 KB.
const VALUES_MAX: usize = 200;
