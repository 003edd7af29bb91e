//! Which endpoints did not take a connection lately, so that none is tried in a loop.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

/// Failures in a row after which an endpoint is left alone: one may be an accident.
const FAILURES: u8 = 2;

/// How long it is left alone. A peer behind a dead address stays dead for longer than a hash is in hand; one that
/// restarts is back within minutes.
const REST: Duration = Duration::from_secs(120);

/// Endpoints remembered. 100,000 of some 64 bytes; when full, those whose rest is over are dropped, then all.
const ENDPOINTS_MAX: usize = 100_000;

/// The memory of failed connections.
#[derive(Debug, Default)]
pub(super) struct EndpointMemory {
    failed: HashMap<SocketAddr, Failure>,
}

#[derive(Clone, Copy, Debug)]
struct Failure {
    times: u8,
    at: Duration,
}

impl EndpointMemory {
    /// Whether the endpoint is to be left alone at `now`.
    pub(super) fn rests(&self, endpoint: &SocketAddr, now: Duration) -> bool {
        self.failed.get(endpoint).is_some_and(|failure| failure.times >= FAILURES && now < failure.at + REST)
    }

    /// No connection came about.
    pub(super) fn failed(&mut self, endpoint: SocketAddr, now: Duration) {
        if self.failed.len() >= ENDPOINTS_MAX && !self.failed.contains_key(&endpoint) {
            self.failed.retain(|_, failure| now < failure.at + REST);
            if self.failed.len() >= ENDPOINTS_MAX {
                self.failed.clear();
            }
        }
        let failure = self.failed.entry(endpoint).or_insert(Failure { times: 0, at: now });
        failure.times = if now < failure.at + REST { failure.times.saturating_add(1) } else { 1 };
        failure.at = now;
    }

    /// A connection stood.
    pub(super) fn connected(&mut self, endpoint: &SocketAddr) {
        self.failed.remove(endpoint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

    #[test]
    fn an_endpoint_rests_after_two_failures_and_until_the_rest_is_over() {
        let mut memory = EndpointMemory::default();
        memory.failed(PEER, Duration::from_secs(1));
        assert!(!memory.rests(&PEER, Duration::from_secs(1)));
        memory.failed(PEER, Duration::from_secs(2));
        assert!(memory.rests(&PEER, Duration::from_secs(3)));
        assert!(!memory.rests(&PEER, Duration::from_secs(2) + REST));
    }

    #[test]
    fn a_connection_clears_what_was_remembered() {
        let mut memory = EndpointMemory::default();
        memory.failed(PEER, Duration::ZERO);
        memory.connected(&PEER);
        memory.failed(PEER, Duration::ZERO);
        assert!(!memory.rests(&PEER, Duration::ZERO));
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut memory = EndpointMemory::default();
        for n in 0..ENDPOINTS_MAX as u32 + 10 {
            memory.failed(SocketAddr::from((n.to_be_bytes(), 1)), Duration::ZERO);
        }
        assert!(memory.failed.len() <= ENDPOINTS_MAX);
    }
}
