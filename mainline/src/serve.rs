//! Queries of others: answered by the node that the remote knows, within its budget, and listened to.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use krpc::{CompactNode, Message, Method, ParseError, Query};

use crate::budget::Sending;
use crate::config::PortIndex;
use crate::contact_store::Contacts;
use crate::counters::{DropReason, MessageType, PacketUse};
use crate::dht::Dht;
use crate::limiter::Refusal;
use crate::node_table::NodeTable;
use crate::output::Output;
use crate::paced_queue::RETRY_AFTER;
use crate::reachability::Reachability;
use crate::server::{Asked, Served};

/// An answer that waits for the budget of its remote.
#[derive(Debug)]
pub(crate) struct WaitingAnswer {
    port: PortIndex,
    to: SocketAddr,
    kind: MessageType,
    payload: Box<[u8]>,
}

impl Dht {
    /// A query has come in.
    pub(crate) fn serve(
        &mut self,
        now: Duration,
        port: PortIndex,
        from: SocketAddr,
        message: &Message<'_>,
        query: &Query<'_>,
        out: &mut Output,
    ) -> Result<(), DropReason> {
        if self.reachability.queried(now, port, from.ip()) {
            out.reachability(port, Reachability::Reachable);
        }
        // What is over budget is not listened to either: a flood would make the program remember what it is fed.
        if self.reachability.is_read_only(port) {
            if self.is_welcome(now, from) {
                self.listen(now, from, message, query, out);
            }
            return Err(DropReason::ReadOnly);
        }
        if !self.sending.has(now, Sending::Answer) {
            self.sending.held_back(now, Sending::Answer);
            return Err(DropReason::OverBudget);
        }
        // The line of a flooder does not get longer than what is worth waiting for.
        if self.answers.waiting_for(from.ip()) >= ANSWERS_WAITING_PER_PARTY {
            self.counters.answers_crowded_out += 1;
            return Err(DropReason::OverBudget);
        }
        if !self.is_welcome(now, from) {
            self.sending.held_back_a_share();
            return Err(DropReason::OverBudget);
        }
        let ready = self.limiter.reply(now, from.ip());
        if ready.is_err() && self.answers.is_full() {
            self.counters.answers_crowded_out += 1;
            return Err(DropReason::OverBudget);
        }
        self.listen(now, from, message, query, out);
        let aim = query.method.target().unwrap_or(query.id);
        let answering =
            self.identity.answerer(&self.nodes, port, from, &aim).ok_or(DropReason::NoSuchPort)?;
        let asked = Asked { from, answering, tid: message.tid, query: *query };
        let (server, nodes, contacts) = (&mut self.server, &self.nodes, &self.contacts);
        let served = match ready {
            Ok(()) => {
                let (served, bytes) =
                    out.try_send(port, from, |buffer| server.answer(now, &asked, nodes, contacts, buffer));
                if bytes > 0 {
                    self.sending.spend(now, bytes);
                    self.reachability.sent(now, port, from.ip());
                    self.counters.sent(PacketUse::Answers, kind_of(served), bytes);
                }
                served
            }
            Err(refusal) => {
                self.scratch.clear();
                let served = server.answer(now, &asked, nodes, contacts, &mut self.scratch);
                let ready_at = match refusal {
                    Refusal::NotBefore(at) => at,
                    Refusal::TableFull => now + RETRY_AFTER,
                };
                if self.scratch.is_empty() {
                    return Ok(());
                }
                let payload = self.scratch.as_slice().into();
                let answer = WaitingAnswer { port, to: from, kind: kind_of(served), payload };
                let refused = self.answers.push(ready_at, from.ip(), answer).is_err();
                if refused {
                    self.counters.answers_crowded_out += 1;
                    self.counters.drop(DropReason::OverBudget);
                } else {
                    self.counters.answers_delayed += 1;
                }
                served
            }
        };
        match (served, query.method) {
            (Served::Announced { info_hash, peer, seed }, Method::AnnouncePeer { name, .. }) => {
                self.counters.hashes_announced += 1;
                let name = name.map(|name| &name[..name.len().min(NAME_MAX)]);
                out.announced(info_hash, from, peer, seed, name);
            }
            (Served::Refused(_), Method::AnnouncePeer { .. }) => self.counters.announces_refused += 1,
            (Served::NotKept, _) => self.counters.announces_not_kept += 1,
            _ => {}
        }
        Ok(())
    }

    /// Whether a remote has a share of the answers, which then counts.
    fn is_welcome(&mut self, now: Duration, from: SocketAddr) -> bool {
        let Dht { contacts, table, strangers, .. } = self;
        strangers.answer(now, || is_verified(contacts, table, from))
    }

    /// What a query tells beside what it asks: an info-hash, and that its sender is there.
    fn listen(
        &mut self,
        now: Duration,
        from: SocketAddr,
        message: &Message<'_>,
        query: &Query<'_>,
        out: &mut Output,
    ) {
        if let Method::GetPeers { info_hash, .. } = query.method {
            self.counters.hashes_asked_for += 1;
            out.asked_for(info_hash, from);
        }
        if !message.read_only {
            // BEP 43: a read-only node answers nobody, so it is no contact.
            self.contact_heard(now, from);
            self.learn(now, None, std::iter::once(CompactNode { id: query.id, addr: from }));
        }
    }

    /// A query that cannot be read is answered with an error, if that costs nobody's turn.
    pub(crate) fn refuse_malformed(
        &mut self,
        now: Duration,
        port: PortIndex,
        from: SocketAddr,
        error: ParseError,
        datagram: &[u8],
        out: &mut Output,
    ) {
        if self.reachability.is_read_only(port)
            || !error.is_answerable()
            || self.answers.waiting_for(from.ip()) > 0
        {
            return;
        }
        if !self.sending.has(now, Sending::Answer) {
            self.sending.held_back(now, Sending::Answer);
            return;
        }
        // In this order: a flood that we have no packets for takes no places in the limiter's table.
        if !self.is_welcome(now, from) || self.limiter.reply(now, from.ip()).is_err() {
            return;
        }
        let server = &self.server;
        let refuse = |buffer: &mut Vec<u8>| server.refuse_malformed(error, datagram, from, buffer);
        let (refused, bytes) = out.try_send(port, from, refuse);
        if refused {
            self.sending.spend(now, bytes);
            self.reachability.sent(now, port, from.ip());
            self.counters.sent(PacketUse::Answers, MessageType::Error, bytes);
        }
    }

    /// Sends the answers whose remotes' budgets allow it now, as far as the budgets for all do.
    pub(crate) fn send_waiting_answers(&mut self, now: Duration, out: &mut Output) {
        while self.sending.has(now, Sending::Answer) {
            let ready = self.answers.pop_ready(now, |ip| self.limiter.reply(now, ip));
            let Some((_, answer)) = ready else { return };
            let bytes = out.send(answer.port, answer.to, |buffer| buffer.extend_from_slice(&answer.payload));
            self.sending.spend(now, bytes);
            self.reachability.sent(now, answer.port, answer.to.ip());
            self.counters.sent(PacketUse::Answers, answer.kind, bytes);
        }
        if self.answers.next_ready().is_some_and(|at| at <= now) {
            self.sending.held_back(now, Sending::Answer);
        }
    }
}

/// Whether a remote has answered a query of ours, and is still remembered: its address is no forgery.
fn is_verified(contacts: &Contacts, table: &NodeTable, addr: SocketAddr) -> bool {
    let is_contact = match addr.ip() {
        IpAddr::V4(ip) => contacts.v4.find(ip, addr.port()).is_some(),
        IpAddr::V6(ip) => contacts.v6.find(ip, addr.port()).is_some(),
    };
    is_contact || table.find(addr).and_then(|at| table.get(at)).is_some_and(|node| node.freshness > 0)
}

fn kind_of(served: Served) -> MessageType {
    match served {
        Served::Refused(_) => MessageType::Error,
        _ => MessageType::Reply,
    }
}

/// At 4 packets a second to one remote these take a second.
pub(crate) const ANSWERS_WAITING_PER_PARTY: usize = 4;

/// A name is a hint; the longest seen in the wild have a few hundred bytes.
const NAME_MAX: usize = 1_024;
