//! Asking: the one place from which queries of ours go out, past all budgets.

use std::net::SocketAddr;
use std::time::Duration;

use krpc::{Method, NodeId, Want, encode};

use crate::budget::Sending;
use crate::counters::{MessageType, PacketUse};
use crate::dht::Dht;
use crate::limiter::Refusal;
use crate::lookup::Goal;
use crate::output::Output;
use crate::paced_queue::RETRY_AFTER;
use crate::purpose::Purpose;
use crate::virtual_node::Family;

/// Why a query was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotNow {
    /// The remote's own budget allows it from this time on.
    Remote(Duration),
    /// No remote can be asked now: the budget for packets or for bytes is used up, or too many queries wait for an answer.
    Busy,
    /// No remote can be asked that was not asked lately: the budget for new endpoints is used up.
    NoNewEndpoints,
    /// This address is not to be asked at all.
    Never,
}

impl Dht {
    /// Sends a query if everything allows it. `id` is the remote's, if known: it decides who of us asks.
    pub(crate) fn ask(
        &mut self,
        now: Duration,
        to: SocketAddr,
        id: Option<&NodeId>,
        method: Method<'_>,
        purpose: Purpose,
        out: &mut Output,
    ) -> Result<(), NotNow> {
        if !self.may_contact(now, to) {
            return Err(NotNow::Never);
        }
        if !self.transactions.has_room() {
            self.counters.limited_by_queries += 1;
            return Err(NotNow::Busy);
        }
        if !self.endpoints.allows(now, to) {
            self.endpoints.held_back();
            return Err(NotNow::NoNewEndpoints);
        }
        if !self.sending.has(now, Sending::Query) {
            self.sending.held_back(now, Sending::Query);
            return Err(NotNow::Busy);
        }
        let Some(speaker) = self.identity.speaker(&self.nodes, to, id) else { return Err(NotNow::Never) };
        let Some(node) = self.nodes.node(speaker) else { return Err(NotNow::Never) };
        let (own_id, port) = (node.id, node.port);
        if let Err(refusal) = self.limiter.query(now, to.ip()) {
            self.counters.limited_by_remote += 1;
            return Err(match refusal {
                Refusal::NotBefore(at) => NotNow::Remote(at),
                Refusal::TableFull => NotNow::Remote(now + RETRY_AFTER),
            });
        }
        let Ok(tid) = self.transactions.begin(now, port, to, self.rtt.timeout(), purpose) else {
            return Err(NotNow::Busy);
        };
        self.endpoints.count(now, to);
        self.reachability.sent(now, port, to.ip());
        let query = encode::Query {
            tid: tid.as_bytes(),
            id: own_id,
            version: Some(self.version),
            read_only: self.reachability.is_read_only(port),
            want: self.want,
            method,
        };
        let bytes = out.send(port, to, |buffer| query.encode(buffer));
        self.sending.spend(now, bytes);
        self.counters.sent(self.use_of(purpose), MessageType::of(&method), bytes);
        Ok(())
    }

    fn use_of(&self, purpose: Purpose) -> PacketUse {
        match purpose {
            Purpose::Find(_) | Purpose::Explore(_) => PacketUse::Discovery,
            Purpose::Sample(_) => PacketUse::Sampling,
            Purpose::Lookup(id) => match self.lookups.get(id).map(|entry| entry.lookup.goal()) {
                Some(Goal::Nodes(_)) => PacketUse::Upkeep,
                Some(Goal::Scrape { .. }) => PacketUse::Scrapes,
                Some(Goal::Peers(_)) | None => PacketUse::Lookups,
            },
            Purpose::Bootstrap | Purpose::Ping => PacketUse::Upkeep,
        }
    }

    /// Whether an address can be a remote's at all, and is none that we have given up.
    pub(crate) fn may_contact(&self, now: Duration, to: SocketAddr) -> bool {
        self.is_plausible(to)
            && !self.unreachable.contains(now, to)
            && !self.id_mismatch.is_banned(now, to.ip())
    }

    /// Whether an address can be a remote's at all: not of a kind that nobody has, and none of ours.
    pub(crate) fn is_plausible(&self, addr: SocketAddr) -> bool {
        self.filter.check(addr).is_ok()
    }

    /// What we ask for (BEP 32): contacts of both families if we can speak to both, else those of the family that
    /// we ask by, as without saying anything.
    pub(crate) fn wanted(&self) -> Want {
        let both = self.speaks(Family::V4) && self.speaks(Family::V6);
        Want { n4: both, n6: both }
    }
}
