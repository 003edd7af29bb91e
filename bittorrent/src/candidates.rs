//! The endpoints from which an info dict may be had: found by many ways, each tried once.

use std::net::{IpAddr, SocketAddr};

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
    /// Nobody can be there: port 0, an unspecified, multicast or broadcast address.
    Unusable,
}

/// Endpoints that wait, and all that were ever offered.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    /// Bounded by `seen`.
    waiting: Vec<Candidate>,
    /// Bounded by the limit that [`offer`](Self::offer) is given, plus one second port for each.
    seen: Vec<SocketAddr>,
    offered: u32,
}

impl Candidates {
    pub(crate) fn offer(&mut self, candidate: Candidate, endpoints_max: usize) -> Admission {
        let addr = SocketAddr::new(candidate.addr.ip().to_canonical(), candidate.addr.port());
        if !is_usable(addr) {
            return Admission::Unusable;
        }
        if self.seen.contains(&addr) {
            return Admission::Known;
        }
        if self.offered as usize >= endpoints_max {
            return Admission::Full;
        }
        self.offered += 1;
        self.seen.push(addr);
        self.waiting.push(Candidate { addr, ..candidate });
        Admission::Queued
    }

    /// The best that waits; of equals the one that came first.
    pub(crate) fn next(&mut self) -> Option<Candidate> {
        let best = self.waiting.iter().enumerate().min_by_key(|(_, candidate)| candidate.source)?.0;
        Some(self.waiting.remove(best))
    }

    /// The first port of `candidate` led nowhere: queues the second, if there is one that was not tried.
    pub(crate) fn try_other_port(&mut self, candidate: Candidate) {
        let Some(port) = candidate.other_port else { return };
        let addr = SocketAddr::new(candidate.addr.ip(), port);
        if is_usable(addr) && !self.seen.contains(&addr) {
            self.seen.push(addr);
            self.waiting.push(Candidate { addr, source: candidate.source, other_port: None });
        }
    }

    /// Puts a candidate back that could not be tried for want of a socket.
    pub(crate) fn put_back(&mut self, candidate: Candidate) {
        self.waiting.insert(0, candidate);
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

    #[test]
    fn the_freshest_source_is_tried_first_and_equals_in_their_order() {
        let mut candidates = Candidates::default();
        for (text, source) in [
            ("127.0.0.1:1", PeerSource::Exchange),
            ("127.0.0.1:2", PeerSource::Lookup),
            ("127.0.0.1:3", PeerSource::Announced),
            ("127.0.0.1:4", PeerSource::Lookup),
        ] {
            assert_eq!(candidates.offer(Candidate::new(addr(text), source), 9), Admission::Queued);
        }
        let order: Vec<_> = std::iter::from_fn(|| candidates.next()).map(|c| c.addr.port()).collect();
        assert_eq!(order, [3, 2, 4, 1]);
    }

    #[test]
    fn an_endpoint_is_taken_once_even_after_it_was_tried() {
        let mut candidates = Candidates::default();
        let candidate = Candidate::new(addr("127.0.0.1:1"), PeerSource::Lookup);
        assert_eq!(candidates.offer(candidate, 9), Admission::Queued);
        assert_eq!(candidates.next(), Some(candidate));
        assert_eq!(candidates.offer(candidate, 9), Admission::Known);
        let mapped = Candidate::new(addr("[::ffff:127.0.0.1]:1"), PeerSource::Lookup);
        assert_eq!(candidates.offer(mapped, 9), Admission::Known);
    }

    #[test]
    fn beyond_the_limit_endpoints_are_refused() {
        let mut candidates = Candidates::default();
        let offer = |c: &mut Candidates, port| {
            c.offer(Candidate::new(([127, 0, 0, 1], port).into(), PeerSource::Lookup), 2)
        };
        assert_eq!(offer(&mut candidates, 1), Admission::Queued);
        assert_eq!(offer(&mut candidates, 2), Admission::Queued);
        assert_eq!(offer(&mut candidates, 3), Admission::Full);
        candidates.next();
        assert_eq!(offer(&mut candidates, 3), Admission::Full);
    }

    #[test]
    fn endpoints_where_nobody_can_be_are_refused() {
        let mut candidates = Candidates::default();
        for text in ["127.0.0.1:0", "0.0.0.0:1", "224.0.0.1:1", "255.255.255.255:1", "[::]:1", "[ff02::1]:1"]
        {
            let candidate = Candidate::new(addr(text), PeerSource::Lookup);
            assert_eq!(candidates.offer(candidate, 9), Admission::Unusable, "{text}");
        }
    }

    #[test]
    fn a_swapped_port_is_tried_once_after_the_first() {
        let mut candidates = Candidates::default();
        let candidate = Candidate::with_swapped_port(addr("127.0.0.1:57626"), PeerSource::Lookup);
        assert_eq!(candidate.other_port, Some(6881));
        candidates.offer(candidate, 9);
        let first = candidates.next().unwrap();
        candidates.try_other_port(first);
        candidates.try_other_port(first);
        let second = candidates.next().unwrap();
        assert_eq!((second.addr, second.other_port), (addr("127.0.0.1:6881"), None));
        assert_eq!(candidates.next(), None);
    }
}
