//! Who a remote is: contacts that have answered, ids that change, our address as others see it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use krpc::{ClientVersion, CompactNode, Method, NodeId};

use crate::config::PortIndex;
use crate::contact_store::{Seen, Standing};
use crate::dht::Dht;
use crate::event::{Support, VisitOutcome};
use crate::freshness::Decay;
use crate::id_mismatch::Consequence;
use crate::node_table::{Added, Node, NodeRef};
use crate::odds::Silence;
use crate::output::Output;
use crate::purpose::Purpose;
use crate::routing_table::Insertion;
use crate::virtual_node::{Family, NodeIndex};

/// Who has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Met {
    /// This node.
    Node(NodeRef),
    /// A node for which the table has no room.
    NoRoom,
    /// Somebody who was somebody else before: given up.
    Changed,
}

impl Dht {
    /// A node has answered a query of ours: it is there, and so is its id.
    pub(crate) fn meet(
        &mut self,
        now: Duration,
        from: SocketAddr,
        id: NodeId,
        version: Option<ClientVersion>,
        out: &mut Output,
    ) -> Met {
        let known = self.table.find(from);
        let had_other_id = |at| self.table.get(at).is_some_and(|node| node.id != id && node.freshness > 0);
        let changed = known.is_some_and(had_other_id);
        let seen = self.contact_seen(now, id, from);
        if changed || matches!(seen, Seen::IdChanged { .. }) {
            self.counters.ids_changed += 1;
            if self.id_mismatch.changed(now, from.ip()) == Consequence::Ban {
                tracing::debug!(%from, "banned for changing its id again");
            }
            if let Some(at) = known {
                self.give_up(now, at, out);
            }
            return Met::Changed;
        }
        if known.is_none() && self.unreachable.contains(now, from) {
            // An answer to a query that was on its way when the node was given up.
            return Met::Changed;
        }
        self.unreachable.remove(from);
        self.identity.verified(&self.nodes, from);
        self.offer(now, CompactNode { id, addr: from }, out);
        let at = match known {
            Some(at) => at,
            None => match self.table.add(id, from, None) {
                Added::New(at) => {
                    self.make_ready(now, at);
                    at
                }
                Added::Known(at) => at,
                Added::Refused => {
                    self.counters.contacts_refused += 1;
                    return Met::NoRoom;
                }
            },
        };
        let min_sample_interval = self.min_sample_interval;
        self.table.update(at, |node| {
            node.id = id;
            node.live = true;
            node.missed = 0;
            node.silence = Silence::default();
            node.freshness = node.freshness.max(Decay::seen(0));
            if version.is_some() && node.version != version {
                node.version = version;
                node.sample_misses = 0;
                if node.support == Support::No {
                    // Another client may support what the one before did not.
                    node.support = Support::Unknown;
                    node.sample_due = node.sample_due.min(now + min_sample_interval);
                }
            }
        });
        Met::Node(at)
    }

    /// Offers a verified contact to the routing tables, and asks the one that it would replace.
    fn offer(&mut self, now: Duration, contact: CompactNode, out: &mut Output) {
        let offered = self.nodes.offer(now, &mut self.contacts, &contact);
        if let Insertion::Waiting { ask: Some(handle) } = offered {
            let asked = match Family::of(contact.addr.ip()) {
                Family::V4 => self.contacts.v4.node(handle),
                Family::V6 => self.contacts.v6.node(handle),
            };
            if let Some(asked) = asked {
                self.ping(now, &asked, out);
            }
        }
    }

    /// Asks a contact whether it is there; not now, if budgets are against it.
    pub(crate) fn ping(&mut self, now: Duration, contact: &CompactNode, out: &mut Output) {
        // The next round of upkeep, or the next newcomer, brings it up again.
        let _put_off = self.ask(now, contact.addr, Some(&contact.id), Method::Ping, Purpose::Ping, out);
    }

    /// A contact has not answered a query that every node understands.
    pub(crate) fn contact_failed(&mut self, addr: SocketAddr) {
        match addr.ip() {
            IpAddr::V4(ip) => {
                if let Some(handle) = self.contacts.v4.find(ip, addr.port()) {
                    self.contacts.v4.failed(handle);
                }
            }
            IpAddr::V6(ip) => {
                if let Some(handle) = self.contacts.v6.find(ip, addr.port()) {
                    self.contacts.v6.failed(handle);
                }
            }
        }
    }

    /// How far a contact can be relied on; `None` when it is none.
    pub(crate) fn standing(&self, now: Duration, addr: SocketAddr) -> Option<Standing> {
        match addr.ip() {
            IpAddr::V4(ip) => self.contacts.v4.standing(now, self.contacts.v4.find(ip, addr.port())?),
            IpAddr::V6(ip) => self.contacts.v6.standing(now, self.contacts.v6.find(ip, addr.port())?),
        }
    }

    /// A contact has sent a query: it lives, if it has answered before.
    pub(crate) fn contact_heard(&mut self, now: Duration, addr: SocketAddr) {
        match addr.ip() {
            IpAddr::V4(ip) => {
                if let Some(handle) = self.contacts.v4.find(ip, addr.port()) {
                    self.contacts.v4.heard(now, handle);
                }
            }
            IpAddr::V6(ip) => {
                if let Some(handle) = self.contacts.v6.find(ip, addr.port()) {
                    self.contacts.v6.heard(now, handle);
                }
            }
        }
    }

    /// The contact of a routing table that is silent for longest, if it is questionable.
    pub(crate) fn most_questionable(
        &self,
        now: Duration,
        family: Family,
        index: NodeIndex,
    ) -> Option<CompactNode> {
        let node = self.nodes.node(index)?;
        match family {
            Family::V4 => self.contacts.v4.node(node.v4.most_questionable(now, &self.contacts.v4)?),
            Family::V6 => self.contacts.v6.node(node.v6.most_questionable(now, &self.contacts.v6)?),
        }
    }

    /// A point in a bucket of a routing table in which nothing has happened for long.
    pub(crate) fn stale_target(&mut self, now: Duration, family: Family, index: NodeIndex) -> Option<NodeId> {
        let node = self.nodes.node_mut(index)?;
        match family {
            Family::V4 => {
                let bucket = node.v4.stale_bucket(now, BUCKET_LIFETIME)?;
                node.v4.refreshed(now, bucket);
                Some(node.v4.bucket_target(bucket, &mut self.rng))
            }
            Family::V6 => {
                let bucket = node.v6.stale_bucket(now, BUCKET_LIFETIME)?;
                node.v6.refreshed(now, bucket);
                Some(node.v6.bucket_target(bucket, &mut self.rng))
            }
        }
    }

    /// A node says, in an answer that has come in at a port, what our address is (BEP 42).
    pub(crate) fn vote(
        &mut self,
        now: Duration,
        port: PortIndex,
        voter: IpAddr,
        claim: IpAddr,
        out: &mut Output,
    ) {
        let claim = claim.to_canonical();
        if self.filter.check_ip(claim).is_err() {
            return;
        }
        if let Some((local, external)) = self.external.vote(now, usize::from(port.0), voter, claim) {
            self.filter.add_own(external);
            out.external_address(local, external);
        }
    }

    /// Whether there is a virtual node that can speak to an address.
    pub(crate) fn can_speak_to(&self, addr: SocketAddr) -> bool {
        self.speaks(Family::of(addr.ip()))
    }

    /// Whether there is a virtual node that can speak to a family.
    pub(crate) fn speaks(&self, family: Family) -> bool {
        self.nodes.nearest(family, &NodeId::ZERO).is_some()
    }

    fn contact_seen(&mut self, now: Duration, id: NodeId, addr: SocketAddr) -> Seen {
        match addr.ip() {
            IpAddr::V4(ip) => self.contacts.v4.seen(now, id, ip, addr.port()),
            IpAddr::V6(ip) => self.contacts.v6.seen(now, id, ip, addr.port()),
        }
    }

    /// A node has changed its id: it is forgotten, and so is when it may be sampled, so it is left alone for a while.
    fn give_up(&mut self, now: Duration, at: NodeRef, out: &mut Output) {
        if let Some(addr) = self.table.get(at).map(Node::addr) {
            self.unreachable.insert(now, addr);
        }
        if self.table.get(at).is_some_and(|node| node.visit.is_some()) {
            self.finish_visit(now, at, VisitOutcome::IdChanged, out);
        } else if self.table.remove(at).is_some() {
            self.counters.nodes_removed += 1;
        }
    }
}

/// A bucket in which nothing has happened for this long is refreshed (BEP 5).
const BUCKET_LIFETIME: Duration = Duration::from_secs(15 * 60);
