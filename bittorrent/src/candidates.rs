//! The endpoints from which an info dict may be had: found by many ways, each tried once.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{Transport, TransportSet};

/// Where an endpoint came from. The order is that in which they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerSource {
    /// The user named it.
    Requested,
    /// It announced itself to us (BEP 5 announce_peer), a moment ago.
    Announced,
    /// The node that gave the sample (BEP 51) named it.
    Sampler,
    /// A lookup found it.
    Lookup,
    /// Another peer named it (BEP 11).
    Exchange,
}

/// An endpoint to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where to connect to.
    pub addr: SocketAddr,
    /// Who said so.
    pub source: PeerSource,
    /// A second port, tried when the first leads nowhere. rTorrent 0.9.8 swaps the bytes of the ports in its DHT
    /// answers, so that for what it says both readings are possible.
    pub other_port: Option<u16>,
}

impl Candidate {
    /// An endpoint with one port.
    pub const fn new(addr: SocketAddr, source: PeerSource) -> Self {
        Self { addr, source, other_port: None }
    }

    /// An endpoint from a node that may have swapped the bytes of the port.
    pub const fn with_swapped_port(addr: SocketAddr, source: PeerSource) -> Self {
        Self { addr, source, other_port: Some(addr.port().swap_bytes()) }
    }
}

/// What became of a candidate that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is tried when its turn comes.
    Queued,
    /// It was offered before.
    Known,
    /// As many endpoints as one fetch may try have been offered.
    Full,
    /// Nobody can be there: port 0, an unspecified, multicast or broadcast address; or no transport leads there.
    Unusable,
}

/// Endpoints that wait, and all that were ever offered.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    /// Each endpoint at most once for each transport.
    waiting: Vec<Waiting>,
    /// Bounded by the limit that [`offer`](Self::offer) is given, plus one second port for each.
    seen: Vec<Seen>,
    offered: u32,
}

/// An attempt to be made.
#[derive(Debug)]
struct Waiting {
    candidate: Candidate,
    transport: Transport,
    urgency: Urgency,
    not_before: Duration,
}

/// Which attempts come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    /// Somebody is there, and must only be spoken to in the right way.
    SomebodyThere,
    /// Nothing is known about the endpoint.
    Untried,
    /// Another way found nobody there, or has not found anybody yet.
    Unlikely,
}

#[derive(Debug)]
struct Seen {
    addr: SocketAddr,
    tried: TransportSet,
}

impl Candidates {
    /// Takes an endpoint, which will be tried by this transport first.
    pub(crate) fn offer(
        &mut self,
        candidate: Candidate,
        transport: Transport,
        endpoints_max: usize,
    ) -> Admission {
        let addr = SocketAddr::new(candidate.addr.ip().to_canonical(), candidate.addr.port());
        if !is_usable(addr) {
            return Admission::Unusable;
        }
        if self.seen(addr).is_some() {
            return Admission::Known;
        }
        if self.offered as usize >= endpoints_max {
            return Admission::Full;
        }
        self.offered += 1;
        self.add(Candidate { addr, ..candidate }, transport);
        Admission::Queued
    }

    /// The best attempt that may be made now; of equals the one that came first.
    pub(crate) fn next(&mut self, now: Duration) -> Option<(Candidate, Transport)> {
        let ready = self.waiting.iter().enumerate().filter(|(_, waiting)| waiting.not_before <= now);
        let best = ready.min_by_key(|(_, waiting)| (waiting.urgency, waiting.candidate.source))?.0;
        let Waiting { candidate, transport, .. } = self.waiting.remove(best);
        if let Some(seen) = self.seen(candidate.addr) {
            seen.tried = seen.tried.with(transport);
        }
        Some((candidate, transport))
    }

    /// When the next attempt may be made; `None` if none waits.
    pub(crate) fn next_at(&self) -> Option<Duration> {
        self.waiting.iter().map(|waiting| waiting.not_before).min()
    }

    /// Queues another way to an endpoint, unless it was tried.
    pub(crate) fn also(
        &mut self,
        candidate: Candidate,
        transport: Transport,
        urgency: Urgency,
        not_before: Duration,
    ) {
        let same = |waiting: &&mut Waiting| {
            waiting.candidate.addr == candidate.addr && waiting.transport == transport
        };
        if let Some(waiting) = self.waiting.iter_mut().find(same) {
            waiting.urgency = waiting.urgency.min(urgency);
            waiting.not_before = waiting.not_before.min(not_before);
        } else if self.seen(candidate.addr).is_some_and(|seen| !seen.tried.contains(transport)) {
            self.waiting.push(Waiting { candidate, transport, urgency, not_before });
        }
    }

    /// An attempt at this endpoint has failed: the others need not wait for it.
    pub(crate) fn hasten(&mut self, addr: SocketAddr) {
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.candidate.addr == addr) {
            waiting.not_before = Duration::ZERO;
        }
    }

    /// Drops further ways to an endpoint: all, or only those that are unlikely to lead anywhere.
    pub(crate) fn withdraw(&mut self, addr: SocketAddr, only_unlikely: bool) {
        self.waiting.retain(|waiting| {
            waiting.candidate.addr != addr || (only_unlikely && waiting.urgency != Urgency::Unlikely)
        });
    }

    /// The first port of `candidate` led nowhere: queues the second, if there is one that was not tried.
    pub(crate) fn try_other_port(&mut self, candidate: Candidate, transport: Transport) {
        let Some(port) = candidate.other_port else { return };
        let addr = SocketAddr::new(candidate.addr.ip(), port);
        if is_usable(addr) && self.seen(addr).is_none() {
            self.add(Candidate { addr, source: candidate.source, other_port: None }, transport);
        }
    }

    /// Puts an attempt back that could not be made for want of a socket.
    pub(crate) fn put_back(&mut self, candidate: Candidate, transport: Transport) {
        let urgency = Urgency::Untried;
        self.waiting.insert(0, Waiting { candidate, transport, urgency, not_before: Duration::ZERO });
    }

    /// Whether another way to this endpoint waits.
    pub(crate) fn waits(&self, addr: SocketAddr) -> bool {
        self.waiting.iter().any(|waiting| waiting.candidate.addr == addr)
    }

    /// Attempts that wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether anything was ever taken.
    pub(crate) fn any_offered(&self) -> bool {
        self.offered > 0
    }

    pub(crate) fn forget(&mut self) {
        self.waiting = Vec::new();
    }

    fn add(&mut self, candidate: Candidate, transport: Transport) {
        self.seen.push(Seen { addr: candidate.addr, tried: TransportSet::default() });
        let (urgency, not_before) = (Urgency::Untried, Duration::ZERO);
        self.waiting.push(Waiting { candidate, transport, urgency, not_before });
    }

    fn seen(&mut self, addr: SocketAddr) -> Option<&mut Seen> {
        self.seen.iter_mut().find(|seen| seen.addr == addr)
    }
}

fn is_usable(addr: SocketAddr) -> bool {
    let dead = match addr.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
    };
    addr.port() != 0 && !dead
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn next(candidates: &mut Candidates) -> Option<Candidate> {
        candidates.next(Duration::ZERO).map(|(candidate, _)| candidate)
    }

    #[test]
    fn the_freshest_source_is_tried_first_and_equals_in_their_order() {
        let mut candidates = Candidates::default();
        for (text, source) in [
            ("127.0.0.1:1", PeerSource::Exchange),
            ("127.0.0.1:2", PeerSource::Lookup),
            ("127.0.0.1:3", PeerSource::Announced),
            ("127.0.0.1:4", PeerSource::Lookup),
        ] {
            assert_eq!(
                candidates.offer(Candidate::new(addr(text), source), Transport::Tcp, 9),
                Admission::Queued
            );
        }
        let order: Vec<_> = std::iter::from_fn(|| next(&mut candidates)).map(|c| c.addr.port()).collect();
        assert_eq!(order, [3, 2, 4, 1]);
    }

    #[test]
    fn an_endpoint_is_taken_once_even_after_it_was_tried() {
        let mut candidates = Candidates::default();
        let candidate = Candidate::new(addr("127.0.0.1:1"), PeerSource::Lookup);
        assert_eq!(candidates.offer(candidate, Transport::Tcp, 9), Admission::Queued);
        assert_eq!(next(&mut candidates), Some(candidate));
        assert_eq!(candidates.offer(candidate, Transport::Tcp, 9), Admission::Known);
        let mapped = Candidate::new(addr("[::ffff:127.0.0.1]:1"), PeerSource::Lookup);
        assert_eq!(candidates.offer(mapped, Transport::Tcp, 9), Admission::Known);
    }

    #[test]
    fn beyond_the_limit_endpoints_are_refused() {
        let mut candidates = Candidates::default();
        let offer = |c: &mut Candidates, port| {
            c.offer(Candidate::new(([127, 0, 0, 1], port).into(), PeerSource::Lookup), Transport::Tcp, 2)
        };
        assert_eq!(offer(&mut candidates, 1), Admission::Queued);
        assert_eq!(offer(&mut candidates, 2), Admission::Queued);
        assert_eq!(offer(&mut candidates, 3), Admission::Full);
        next(&mut candidates);
        assert_eq!(offer(&mut candidates, 3), Admission::Full);
    }

    #[test]
    fn endpoints_where_nobody_can_be_are_refused() {
        let mut candidates = Candidates::default();
        for text in ["127.0.0.1:0", "0.0.0.0:1", "224.0.0.1:1", "255.255.255.255:1", "[::]:1", "[ff02::1]:1"]
        {
            let candidate = Candidate::new(addr(text), PeerSource::Lookup);
            assert_eq!(candidates.offer(candidate, Transport::Tcp, 9), Admission::Unusable, "{text}");
        }
    }

    #[test]
    fn a_swapped_port_is_tried_once_after_the_first() {
        let mut candidates = Candidates::default();
        let candidate = Candidate::with_swapped_port(addr("127.0.0.1:57626"), PeerSource::Lookup);
        assert_eq!(candidate.other_port, Some(6881));
        candidates.offer(candidate, Transport::Tcp, 9);
        let first = next(&mut candidates).unwrap();
        candidates.try_other_port(first, Transport::Tcp);
        candidates.try_other_port(first, Transport::Tcp);
        let second = next(&mut candidates).unwrap();
        assert_eq!((second.addr, second.other_port), (addr("127.0.0.1:6881"), None));
        assert_eq!(next(&mut candidates), None);
    }

    #[test]
    fn ways_to_one_endpoint_are_tried_once_each_in_the_order_of_their_urgency() {
        let at = Duration::from_secs;
        let mut candidates = Candidates::default();
        let [one, two] = ["127.0.0.1:1", "127.0.0.1:2"].map(|a| Candidate::new(addr(a), PeerSource::Lookup));
        candidates.offer(one, Transport::Tcp, 9);
        candidates.offer(two, Transport::Tcp, 9);
        assert_eq!(candidates.next(at(0)), Some((one, Transport::Tcp)));
        candidates.also(one, Transport::Tcp, Urgency::SomebodyThere, at(0));
        candidates.also(one, Transport::Utp, Urgency::Unlikely, at(1));
        assert_eq!(candidates.next(at(1)), Some((two, Transport::Tcp)), "what was not tried comes first");
        assert_eq!((candidates.next(at(0)), candidates.next_at()), (None, Some(at(1))));
        candidates.also(one, Transport::EncryptedTcp, Urgency::SomebodyThere, at(0));
        candidates.also(one, Transport::Utp, Urgency::SomebodyThere, at(5));
        assert_eq!(candidates.next(at(0)), Some((one, Transport::EncryptedTcp)));
        assert_eq!(candidates.next_at(), Some(at(1)), "the earlier time holds");
        candidates.withdraw(one.addr, true);
        assert!(candidates.waits(one.addr), "it is not unlikely any more");
        candidates.hasten(one.addr);
        assert_eq!(candidates.next(at(0)), Some((one, Transport::Utp)));
        candidates.also(one, Transport::EncryptedTcp, Urgency::SomebodyThere, at(0));
        assert!(candidates.is_empty(), "each way once");
    }
}
