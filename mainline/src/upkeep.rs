//! Staying in the network: entering it, joining it with each virtual node, and keeping the routing tables alive.

use std::collections::BTreeSet;
use std::time::Duration;

use krpc::{Method, NodeId};

use crate::config::PortIndex;
use crate::dht::Dht;
use crate::output::Output;
use crate::purpose::Purpose;
use crate::query::NotNow;
use crate::virtual_node::{Family, NodeIndex};

/// Where the rounds of upkeep are.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    /// Virtual nodes that have not looked up their own id yet: from this one on.
    join_next: u32,
    /// Virtual nodes that have moved and not looked up their new id yet.
    moved: BTreeSet<NodeIndex>,
    /// Own ids that are being looked up, as many as there may be such lookups. The id and not its number: a node may move in the
    /// meantime.
    joining: BTreeSet<NodeId>,
    /// The virtual node whose table is looked after next.
    table_next: u32,
    /// Tables looked after so far.
    table_turn: u32,
    table_due: Duration,
    refresh_due: Duration,
    bootstrap_turn: u32,
}

impl Rounds {
    /// A virtual node has another id, which is to be looked up.
    pub(crate) fn rejoin(&mut self, index: NodeIndex) {
        self.moved.insert(index);
    }
}

impl Dht {
    /// Everything that is due to stay in the network.
    pub(crate) fn keep_up(&mut self, now: Duration, out: &mut Output) {
        let live = self.table.tally().live;
        if self.watchdog.wants_reseed(now, live) {
            self.reseed(now, out);
        }
        self.enter(now, live, out);
        if live > 0 && !self.watchdog.is_cut_off(now) {
            self.join(now);
            self.look_after_tables(now, out);
        }
    }

    /// Whether the start-up is over: every bootstrap address was tried, and every virtual node has joined, unless
    /// there is nobody to join.
    pub(crate) fn has_joined(&self) -> bool {
        let all = self.rounds.join_next >= self.joins() && self.rounds.moved.is_empty();
        let joined = all || self.table.len() == 0;
        self.bootstrap.is_settled() && self.rounds.joining.is_empty() && joined
    }

    /// A lookup of ours for contacts is over.
    pub(crate) fn upkeep_lookup_done(&mut self, target: NodeId) {
        self.rounds.joining.remove(&target);
    }

    /// Starts over from the bootstrap addresses.
    fn reseed(&mut self, now: Duration, out: &mut Output) {
        self.bootstrap.restart(now);
        self.rounds.join_next = 0;
        self.counters.reseeds += 1;
        out.reseeded();
    }

    /// Asks the bootstrap addresses. A remote sees one of us only, so for which of our ids it is asked
    /// changes and who asks does not.
    fn enter(&mut self, now: Duration, live: usize, out: &mut Output) {
        while let Some(addr) = self.bootstrap.next(now, live) {
            self.rounds.bootstrap_turn = self.rounds.bootstrap_turn.wrapping_add(1);
            let turn = NodeIndex(self.rounds.bootstrap_turn % self.nodes.len().max(1) as u32);
            let Some(node) = self.nodes.node(turn) else { break };
            let target = node.id;
            match self.ask(now, addr, None, Method::FindNode { target }, Purpose::Bootstrap, out) {
                Ok(()) => self.bootstrap.asked(addr),
                Err(NotNow::Remote(ready)) => self.bootstrap.put_off(addr, ready),
                Err(NotNow::Busy | NotNow::NoNewEndpoints) => break,
                Err(NotNow::Never) => self.bootstrap.failed(now, addr),
            }
        }
    }

    /// Has the virtual nodes look up their own ids, a few at a time: those first that have moved, which also get what the
    /// others know of their new neighbourhood.
    fn join(&mut self, now: Duration) {
        while let Some(index) = self.rounds.moved.first().copied() {
            if let Some((target, port)) = self.nodes.node(index).map(|node| (node.id, node.port)) {
                if !self.find_nodes_of(now, self.family_of(port), target) {
                    return;
                }
                self.rounds.joining.insert(target);
                self.share_contacts(now, index);
            }
            self.rounds.moved.pop_first();
        }
        while self.rounds.join_next < self.joins() {
            let Some(node) = self.nodes.node(NodeIndex(self.rounds.join_next)) else { break };
            let (target, port) = (node.id, node.port);
            if !self.find_nodes_of(now, self.family_of(port), target) {
                break;
            }
            self.rounds.join_next += 1;
            self.rounds.joining.insert(target);
        }
    }

    /// A port has one family, and a node joins the network of that.
    fn family_of(&self, port: PortIndex) -> Family {
        if self.nodes.speaks(port, Family::V4) { Family::V4 } else { Family::V6 }
    }

    /// Beyond some virtual nodes, the contacts that these bring in serve the others too.
    fn joins(&self) -> u32 {
        (self.nodes.len() as u32).min(JOINS_MAX)
    }

    /// Goes through the routing tables, each once in a quarter of an hour: shares contacts among them, asks the contact that is
    /// silent for longest, refreshes a bucket that nothing has happened in.
    fn look_after_tables(&mut self, now: Duration, out: &mut Output) {
        let count = self.nodes.len() as u32;
        if now < self.rounds.table_due || count == 0 {
            return;
        }
        // The first round comes soon: new tables have much to share.
        let round = if self.rounds.table_turn < count { TABLE_ROUND / 15 } else { TABLE_ROUND };
        self.rounds.table_turn = self.rounds.table_turn.saturating_add(1);
        self.rounds.table_due = now + round / count;
        let index = NodeIndex(self.rounds.table_next % count);
        self.rounds.table_next = (index.0 + 1) % count;
        self.share_contacts(now, index);
        for family in [Family::V4, Family::V6] {
            if !self.speaks(family) {
                continue;
            }
            if let Some(contact) = self.most_questionable(now, family, index) {
                self.ping(now, &contact, out);
            }
            if now < self.rounds.refresh_due {
                continue;
            }
            if let Some(target) = self.stale_target(now, family, index)
                && self.find_nodes_of(now, family, target)
            {
                self.rounds.refresh_due = now + REFRESH_PAUSE;
            }
        }
    }

    /// Fills the tables of a virtual node with what the others know.
    fn share_contacts(&mut self, now: Duration, index: NodeIndex) {
        for family in [Family::V4, Family::V6] {
            let mut bucket = self.speaks(family).then_some(0);
            while let Some(from) = bucket {
                bucket = self.nodes.share(now, &mut self.contacts, family, index, from);
            }
        }
    }
}

/// Virtual nodes that look up their own ids at the start.
const JOINS_MAX: u32 = 64;

/// Each table is looked after once in this time (BEP 5).
const TABLE_ROUND: Duration = Duration::from_secs(15 * 60);

/// Between two lookups to refresh buckets: with ten thousand virtual nodes they would never end.
const REFRESH_PAUSE: Duration = Duration::from_secs(2);
