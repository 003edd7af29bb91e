//! What happens to a datagram that has come in.

use std::net::SocketAddr;
use std::time::Duration;

use krpc::{ErrorReply, Kind, Message, Reply};

use crate::address::canonical;
use crate::bogon::Unusable;
use crate::config::PortIndex;
use crate::contact_store::Standing;
use crate::counters::{DropReason, MessageType};
use crate::dht::Dht;
use crate::discovery::NODES_PER_ANSWER_MAX;
use crate::event::Support;
use crate::meet::Met;
use crate::odds::Silence;
use crate::output::Output;
use crate::purpose::Purpose;
use crate::transactions::Answered;
use crate::virtual_node::Family;

impl Dht {
    /// A datagram has come in at `port` from `from`.
    pub fn receive(
        &mut self,
        now: Duration,
        port: PortIndex,
        from: SocketAddr,
        datagram: &[u8],
        out: &mut Output,
    ) {
        let from = canonical(from);
        let read = self.admit(now, port, from, datagram).and_then(|()| match Message::parse(datagram) {
            Ok(message) => self.read(now, port, from, &message, datagram.len(), out),
            Err(error) => {
                self.counters.malformed[error.ordinal()] += 1;
                self.refuse_malformed(now, port, from, error, datagram, out);
                Err(DropReason::Malformed)
            }
        });
        match read {
            Ok(()) => self.run(now, out),
            Err(reason) => self.counters.drop(reason),
        }
    }

    /// Whether a datagram can be a message and comes from where messages can come from.
    fn admit(
        &self,
        now: Duration,
        port: PortIndex,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Result<(), DropReason> {
        if datagram.first() != Some(&b'd') {
            return Err(DropReason::NotKrpc);
        }
        if datagram.len() < DATAGRAM_MIN {
            return Err(DropReason::Short);
        }
        if datagram.len() > DATAGRAM_MAX {
            return Err(DropReason::Long);
        }
        match self.filter.check(from) {
            Ok(()) => {}
            Err(Unusable::PortZero) => return Err(DropReason::PortZero),
            Err(Unusable::Loopback | Unusable::Bogon | Unusable::Own) => return Err(DropReason::Bogon),
        }
        if !self.nodes.speaks(port, Family::of(from.ip())) {
            return Err(DropReason::NoSuchPort);
        }
        if self.id_mismatch.is_banned(now, from.ip()) {
            return Err(DropReason::Banned);
        }
        Ok(())
    }

    fn read(
        &mut self,
        now: Duration,
        port: PortIndex,
        from: SocketAddr,
        message: &Message<'_>,
        bytes: usize,
        out: &mut Output,
    ) -> Result<(), DropReason> {
        let sender = match &message.kind {
            Kind::Query(query) => Some(query.id),
            Kind::Reply(reply) => reply.id,
            Kind::Error(_) => None,
        };
        if sender.is_some_and(|id| self.nodes.is_own(&id)) {
            return Err(DropReason::OurId);
        }
        self.counters.received.count(MessageType::of_kind(&message.kind), bytes);
        self.counters.odd_messages += u64::from(!message.oddities.is_empty());
        match &message.kind {
            Kind::Query(query) => self.serve(now, port, from, message, query, out),
            Kind::Reply(reply) => {
                let answered = self.answered(now, port, from, message).ok_or(DropReason::Unsolicited)?;
                if let (Some(_), Some(claim)) = (reply.id, message.ip) {
                    self.vote(now, port, from.ip(), claim.ip(), out);
                }
                self.reply(now, from, message, reply, answered, out);
                Ok(())
            }
            Kind::Error(error) => {
                let answered = self.answered(now, port, from, message).ok_or(DropReason::Unsolicited)?;
                self.refused(now, from, error, answered, out);
                Ok(())
            }
        }
    }

    /// The query of ours that a message answers.
    fn answered(
        &mut self,
        now: Duration,
        port: PortIndex,
        from: SocketAddr,
        message: &Message<'_>,
    ) -> Option<Answered<Purpose>> {
        let answered = self.transactions.answered(now, port, from, message.tid.bytes()?)?;
        self.rtt.observe(answered.rtt);
        self.watchdog.answered(now);
        self.reachability.answered(port);
        Some(answered)
    }

    fn reply(
        &mut self,
        now: Duration,
        from: SocketAddr,
        message: &Message<'_>,
        reply: &Reply<'_>,
        answered: Answered<Purpose>,
        out: &mut Output,
    ) {
        let Answered { payload: purpose, rtt, late } = answered;
        let Some(id) = reply.id else {
            // An answer without an id says nothing about who gave it: as good as an error.
            return self.failed(now, from, purpose, late, out);
        };
        self.counters.queries_answered += 1;
        if !late && self.was_certain(now, from, purpose) {
            self.odds.exchanged(true);
        }
        let node = match self.meet(now, from, id, message.version, out) {
            Met::Node(at) => Some(at),
            Met::NoRoom => None,
            Met::Changed => return self.failed(now, from, purpose, late, out),
        };
        let named = reply.nodes.iter().chain(reply.nodes6.iter()).take(NODES_PER_ANSWER_MAX);
        let told_us = self.learn(now, node, named);
        match purpose {
            Purpose::Find(at) if late => self.seen_alive(at),
            Purpose::Sample(at) if late => {
                self.take_samples(now, at, reply, out);
                self.seen_alive(at);
            }
            Purpose::Find(at) => self.found(now, at, told_us, rtt, out),
            Purpose::Sample(at) => self.sampled(now, at, reply, told_us, rtt, out),
            Purpose::Lookup(lookup) => {
                let swaps_ports = message.version.is_some_and(|version| version.swaps_ports());
                self.lookup_answered(lookup, from, reply, swaps_ports, out);
            }
            Purpose::Explore(_) if late => {}
            Purpose::Explore(family) => self.explored(family, told_us),
            Purpose::Bootstrap => self.bootstrap.answered(now, from),
            Purpose::Ping => {}
        }
    }

    /// Whether an answer could be expected: the node was heard within some minutes, has been silent on nothing since, and
    /// knows such queries. How many of these come to nothing is the measure of loss; a node that died
    /// would count as lost again and again, and the rest of the dead would be asked the more often.
    pub(crate) fn was_certain(&self, now: Duration, to: SocketAddr, purpose: Purpose) -> bool {
        let node = self.table.find(to).and_then(|at| self.table.get(at));
        node.is_some_and(|node| {
            let understood = match purpose {
                Purpose::Sample(_) => {
                    node.support == Support::Yes || self.odds.supports(node.version, 0) > SURELY_SUPPORTS
                }
                _ => true,
            };
            node.live
                && understood
                && node.silence == Silence::default()
                && self.standing(now, to) == Some(Standing::Good)
        })
    }

    fn refused(
        &mut self,
        now: Duration,
        from: SocketAddr,
        error: &ErrorReply<'_>,
        answered: Answered<Purpose>,
        out: &mut Output,
    ) {
        tracing::trace!(%from, code = ?error.code, "a query was refused");
        self.counters.queries_refused += 1;
        self.failed(now, from, answered.payload, answered.late, out);
    }

    /// A query was answered, but with nothing that could be used.
    fn failed(&mut self, now: Duration, from: SocketAddr, purpose: Purpose, late: bool, out: &mut Output) {
        match purpose {
            Purpose::Find(_) | Purpose::Sample(_) if late => {}
            Purpose::Find(at) => self.visit_refused(now, at, false, out),
            Purpose::Sample(at) => self.visit_refused(now, at, true, out),
            Purpose::Lookup(lookup) => self.lookup_missed(lookup, from),
            Purpose::Explore(family) if !late => self.explored_in_vain(family),
            Purpose::Bootstrap => self.bootstrap.failed(now, from),
            Purpose::Explore(_) | Purpose::Ping => {}
        }
    }

    /// Gives up the queries whose time is over.
    pub(crate) fn expire_queries(&mut self, now: Duration, out: &mut Output) {
        while let Some(timed_out) = self.transactions.timed_out(now) {
            self.counters.queries_timed_out += 1;
            let to = timed_out.to;
            self.watchdog.timed_out(self.odds_to_answer(to));
            if self.was_certain(now, to, timed_out.payload) && !self.watchdog.is_cut_off(now) {
                self.odds.exchanged(false);
            }
            match timed_out.payload {
                Purpose::Sample(at) => self.visit_missed(now, at, true, out),
                purpose => {
                    self.contact_failed(to);
                    match purpose {
                        Purpose::Find(at) => self.visit_missed(now, at, false, out),
                        Purpose::Lookup(lookup) => {
                            self.missed(now, to);
                            self.lookup_missed(lookup, to);
                        }
                        Purpose::Explore(family) => {
                            self.missed(now, to);
                            self.explored_in_vain(family);
                        }
                        Purpose::Ping => self.missed(now, to),
                        Purpose::Bootstrap => self.bootstrap.failed(now, to),
                        Purpose::Sample(_) => {}
                    }
                }
            }
        }
    }
}

/// uTP and others share our port: nothing of KRPC is shorter.
const DATAGRAM_MIN: usize = Message::LEN_MIN;

/// From this share on silence on a sampling is taken for loss.
const SURELY_SUPPORTS: f64 = 0.9;

/// Answers of 3.9 KB exist; the socket buffers have 4 KiB.
const DATAGRAM_MAX: usize = 4_096;
