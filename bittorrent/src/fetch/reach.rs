//! Which endpoints are connected to, when, and by which transports.

use std::time::Duration;

use super::{Fetch, Peer};
use crate::{
    Candidate, CloseHow, Handshake, Output, PeerFault, PeerOutcome, Slot, Transport, candidates::Urgency,
    channel::Channel, peer_session::PeerSession,
};

impl Fetch {
    /// Connects to candidates while there is room, and reason to.
    pub(super) fn connect(&mut self, now: Duration, out: &mut Output) {
        self.awaits_connect = false;
        while !self.candidates.is_empty() {
            if self.peers.len() >= self.config.peers_max.max(1) && self.first_held().is_none() {
                return;
            }
            if let Some(at) = self.no_connects_before(now) {
                self.wake_at = Some(self.wake_at.map_or(at, |wake| wake.min(at)));
                return;
            }
            if !out.may_connect() && self.candidates.next_at().is_some_and(|at| at <= now) {
                self.awaits_connect = true;
                return;
            }
            let Some((candidate, transport)) = self.candidates.next(now) else {
                self.wake_at = self.wake_at.into_iter().chain(self.candidates.next_at()).min();
                return;
            };
            if self.peers.len() >= self.config.peers_max.max(1)
                && let Some((at, fault)) = self.first_held()
            {
                // Whoever may have the info dict goes before those who only tell of others.
                self.end_peer(now, at, PeerOutcome::Fault(fault), Some(CloseHow::Reset), out);
            }
            let policy = &self.config.transports;
            if let Some(rival) = policy.allowed_at(candidate.addr.ip()).rival(transport) {
                self.candidates.also(candidate, rival, Urgency::Unlikely, now + policy.race_after);
            }
            let slot = Slot(self.next_slot);
            self.next_slot = self.next_slot.wrapping_add(1);
            let ours = Handshake::new(self.info_hash, self.config.peer_id);
            self.peers.push(Peer {
                slot,
                candidate,
                connect_at: now,
                offered_at: now,
                size: None,
                session: PeerSession::new(ours, now),
                transport,
                channel: Channel::new(transport.is_encrypted()),
                exchanges: 0,
            });
            self.counters.connects += 1;
            out.connect(slot, candidate.addr, self.config.peer.connect_timeout, transport);
        }
    }

    /// The peer that has been kept longest for what it may tell.
    fn first_held(&self) -> Option<(usize, PeerFault)> {
        let held = self
            .peers
            .iter()
            .enumerate()
            .filter_map(|(at, peer)| Some((peer.session.held_until()?, at, peer.session.held_for()?)));
        held.min_by_key(|(until, at, _)| (*until, *at)).map(|(_, at, fault)| (at, fault))
    }

    /// Until when further peers are not wanted: while one delivers (in the early part of the fetch, lest somebody
    /// who trickles keeps all others out), and after the owner had no socket.
    fn no_connects_before(&self, now: Duration) -> Option<Duration> {
        let eager_at = self.started + EAGER_AFTER;
        let delivering_until = self
            .peers
            .iter()
            .filter(|peer| peer.session.in_flight().len() > 0)
            .map(|peer| peer.session.last_piece_at().unwrap_or(peer.offered_at) + DELIVERS_FOR)
            .max()
            .map(|until| until.min(eager_at));
        delivering_until.into_iter().chain([self.hold_until]).max().filter(|at| *at > now)
    }

    /// Queues what the end of one attempt suggests to try at the same endpoint.
    pub(super) fn try_other_ways(
        &mut self,
        now: Duration,
        candidate: Candidate,
        transport: Transport,
        outcome: PeerOutcome,
        said_nothing: bool,
    ) {
        let policy = &self.config.transports;
        let allowed = policy.allowed_at(candidate.addr.ip());
        let (next, then) = allowed.next(transport, outcome, said_nothing);
        let urgency = match outcome {
            PeerOutcome::ConnectFailed(_) => Urgency::Unlikely,
            _ => Urgency::SomebodyThere,
        };
        if let Some(next) = next {
            self.candidates.hasten(candidate.addr);
            self.candidates.also(candidate, next, urgency, now);
        }
        if let Some(then) = then {
            // Without an attempt to wait for, it need not wait.
            let wait = if next.is_some() { policy.race_after } else { Duration::ZERO };
            self.candidates.also(candidate, then, urgency, now + wait);
        }
        if next.is_none() {
            self.candidates.hasten(candidate.addr);
        }
    }

    /// A peer has answered: other attempts to reach it end.
    pub(super) fn settle(&mut self, now: Duration, slot: Slot, out: &mut Output) {
        let Some(at) = self.position(slot) else { return };
        let addr = self.peers[at].candidate.addr;
        self.candidates.withdraw(addr, false);
        for at in (0..self.peers.len()).rev() {
            let peer = &self.peers[at];
            if peer.candidate.addr == addr && peer.slot != slot {
                self.end_peer(now, at, PeerOutcome::NotNeeded, Some(CloseHow::Reset), out);
            }
        }
    }
}

/// A peer whose last piece (or offer) is not older counts as delivering.
const DELIVERS_FOR: Duration = Duration::from_secs(1);
/// After so long everybody is tried that can be, delivering peers or not.
const EAGER_AFTER: Duration = Duration::from_secs(10);
