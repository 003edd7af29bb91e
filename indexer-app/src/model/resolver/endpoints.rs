//! What is known of endpoints: how each was reached, and which are left alone since they were not.

use std::{net::SocketAddr, time::Duration};

use bittorrent::{ConnectFailure, PeerFault, PeerOutcome, PeerReport, Stage, Transport};

use super::{clients::ClientHabits, generations::Generations};

/// Endpoints remembered: from this number to twice as many, of some 80 bytes.
const ENDPOINTS_MAX: usize = 50_000;

/// The memory of endpoints.
#[derive(Debug)]
pub(super) struct EndpointMemory {
    known: Generations<SocketAddr, Known>,
    clients: ClientHabits,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// By this transport the peer has answered last.
    works: Option<Transport>,
    /// The program there, by its two letters.
    client: Option<[u8; 2]>,
    /// Visits in a row that came to nothing.
    failures: u8,
    rests_until: Duration,
}

/// How long an endpoint is left alone that failed in one way.
#[derive(Clone, Copy, Debug)]
struct Rest {
    /// So many failures in a row are taken for accidents.
    forgiven: u8,
    /// After the first one that is not; twice as long with each further one.
    first: Duration,
    most: Duration,
}

impl EndpointMemory {
    pub(super) fn new() -> Self {
        Self { known: Generations::new(ENDPOINTS_MAX), clients: ClientHabits::default() }
    }

    /// Whether the endpoint is to be left alone at `now`.
    pub(super) fn rests(&self, endpoint: &SocketAddr, now: Duration) -> bool {
        self.known.get(endpoint).is_some_and(|known| now < known.rests_until)
    }

    /// The transport to try first: by which the endpoint answered last, or the only one that programs like the one there
    /// answer by. `client` is what somebody else knows of that program.
    pub(super) fn hint(
        &mut self,
        endpoint: SocketAddr,
        client: impl FnOnce(SocketAddr) -> Option<[u8; 2]>,
    ) -> Option<Transport> {
        let known = self.known.get(&endpoint).copied().unwrap_or_default();
        if known.works.is_some() {
            return known.works;
        }
        let client = known.client.or_else(|| {
            let client = client(endpoint)?;
            self.known.entry(endpoint).client = Some(client);
            Some(client)
        });
        self.clients.hint(client?)
    }

    /// A connection has ended.
    pub(super) fn ended(&mut self, report: &PeerReport, now: Duration) {
        let PeerReport { addr, transport, outcome, reached, .. } = *report;
        let told = report.peer_id.and_then(|id| id.client_code());
        let client = told.or_else(|| self.known.get(&addr).and_then(|known| known.client));
        let answered = reached > Stage::Handshake;
        if let Some(client) = client.filter(|_| answered || tells_of_the_peer(outcome)) {
            self.clients.count(client, transport, answered);
        }
        if answered {
            let known = self.known.entry(addr);
            (known.works, known.client, known.failures) = (Some(transport), client, 0);
        }
        // What else is tried may still lead somewhere.
        if let Some(rest) = rest_after(outcome, answered).filter(|_| !report.more_follows) {
            let known = self.known.entry(addr);
            known.works = None;
            known.failures = known.failures.saturating_add(1);
            if let Some(doubled) = known.failures.checked_sub(rest.forgiven + 1) {
                let factor = 1_u32.checked_shl(doubled.into()).unwrap_or(u32::MAX);
                known.rests_until = now + rest.first.saturating_mul(factor).min(rest.most);
            }
        }
    }

    /// Endpoints remembered.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}

/// Whether an attempt that did not lead to a handshake says something of the peer.
fn tells_of_the_peer(outcome: PeerOutcome) -> bool {
    !matches!(
        outcome,
        PeerOutcome::ConnectFailed(ConnectFailure::Overload)
            | PeerOutcome::NotNeeded
            | PeerOutcome::FetchEnded
            | PeerOutcome::Broken(_)
    )
}

/// How long an endpoint is left alone after this.
fn rest_after(outcome: PeerOutcome, answered: bool) -> Option<Rest> {
    let rest = |forgiven, first, most| {
        Some(Rest { forgiven, first: Duration::from_secs(first), most: Duration::from_secs(most) })
    };
    match outcome {
        // An answer, and soon given: asking again costs little, and the program may be back in a minute.
        PeerOutcome::ConnectFailed(ConnectFailure::Refused) => rest(0, 30, 900),
        PeerOutcome::ConnectFailed(ConnectFailure::Overload) => None,
        // One may be an accident. Each holds a socket for seconds, and a host that is gone stays gone for long.
        PeerOutcome::ConnectFailed(_) => rest(1, 120, 3_600),
        PeerOutcome::Fault(PeerFault::SelfConnection) => rest(0, 3_600, 3_600),
        outcome if outcome.is_hostile() => rest(0, 600, 21_600),
        // Peers close so when they do not have the torrent that they are asked for: only many in a row tell of the peer.
        PeerOutcome::ClosedWithoutByte
        | PeerOutcome::Closed(_)
        | PeerOutcome::Reset(_)
        | PeerOutcome::Silent(_)
        | PeerOutcome::Fault(_)
            if !answered =>
        {
            rest(3, 60, 900)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bittorrent::{PeerId, PeerSource, Slot};

    use super::*;

    const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);
    const TIMEOUT: PeerOutcome = PeerOutcome::ConnectFailed(ConnectFailure::Timeout);
    const REFUSED: PeerOutcome = PeerOutcome::ConnectFailed(ConnectFailure::Refused);

    fn report(outcome: PeerOutcome, reached: Stage) -> PeerReport {
        PeerReport {
            slot: Slot::from_number(0),
            addr: PEER,
            source: PeerSource::Lookup,
            transport: Transport::Tcp,
            more_follows: false,
            outcome,
            reached,
            lasted: Duration::ZERO,
            stages: [Duration::ZERO; Stage::COUNT],
            received_bytes: 0,
            peer_id: None,
            client: None,
        }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn silence_is_forgiven_once_and_then_rests_twice_as_long_each_time() {
        let mut memory = EndpointMemory::new();
        memory.ended(&report(TIMEOUT, Stage::Connect), at(1));
        assert!(!memory.rests(&PEER, at(1)));
        memory.ended(&report(TIMEOUT, Stage::Connect), at(2));
        assert!(memory.rests(&PEER, at(121)) && !memory.rests(&PEER, at(122)));
        memory.ended(&report(TIMEOUT, Stage::Connect), at(200));
        assert!(memory.rests(&PEER, at(439)) && !memory.rests(&PEER, at(440)));
        for n in 0..300 {
            memory.ended(&report(TIMEOUT, Stage::Connect), at(1_000 + n));
        }
        assert!(!memory.rests(&PEER, at(1_299 + 3_600)), "there is a longest rest");
    }

    #[test]
    fn a_refusal_rests_at_once_but_shortly_and_an_answer_clears_it() {
        let mut memory = EndpointMemory::new();
        memory.ended(&report(REFUSED, Stage::Connect), at(0));
        assert!(memory.rests(&PEER, at(29)) && !memory.rests(&PEER, at(30)));
        memory.ended(&report(PeerOutcome::Served, Stage::Metadata), at(40));
        memory.ended(&report(REFUSED, Stage::Connect), at(50));
        assert!(memory.rests(&PEER, at(79)) && !memory.rests(&PEER, at(80)), "it counts from one again");
    }

    #[test]
    fn what_is_still_being_tried_or_was_not_the_peers_doing_is_not_held_against_it() {
        let mut memory = EndpointMemory::new();
        memory.ended(&PeerReport { more_follows: true, ..report(REFUSED, Stage::Connect) }, at(0));
        memory.ended(&report(PeerOutcome::ConnectFailed(ConnectFailure::Overload), Stage::Connect), at(0));
        memory.ended(&report(PeerOutcome::FetchEnded, Stage::Connect), at(0));
        for _ in 0..3 {
            memory.ended(&report(PeerOutcome::ClosedWithoutByte, Stage::Handshake), at(0));
        }
        assert!(!memory.rests(&PEER, at(0)));
        memory.ended(&report(PeerOutcome::ClosedWithoutByte, Stage::Handshake), at(0));
        assert!(memory.rests(&PEER, at(0)), "four torrents in a row are no accident");
    }

    #[test]
    fn a_peer_is_tried_first_by_what_worked_and_not_after_that_has_failed() {
        let mut memory = EndpointMemory::new();
        assert_eq!(memory.hint(PEER, |_| None), None);
        let answered = PeerReport {
            transport: Transport::EncryptedUtp,
            peer_id: Some(PeerId::from_bytes(*b"-qB4500-abcdefghijkl")),
            ..report(PeerOutcome::Served, Stage::Metadata)
        };
        memory.ended(&answered, at(0));
        assert_eq!(memory.hint(PEER, |_| None), Some(Transport::EncryptedUtp));
        memory.ended(&report(TIMEOUT, Stage::Connect), at(9));
        assert_eq!(memory.hint(PEER, |_| None), None);
    }

    #[test]
    fn an_endpoint_that_nobody_has_tried_is_reached_as_others_of_its_client_are() {
        let mut memory = EndpointMemory::new();
        for n in 0..100 {
            let addr = SocketAddr::from(([127, 0, 1, n], 1));
            let silent = PeerReport { addr, ..report(PeerOutcome::ClosedWithoutByte, Stage::Handshake) };
            assert_eq!(memory.hint(addr, |_| Some(*b"XY")).is_some(), n >= 16, "{n}");
            memory.ended(&silent, at(0));
            let transport = Transport::EncryptedTcp;
            let answered = PeerReport { addr, transport, ..report(PeerOutcome::Served, Stage::Metadata) };
            memory.ended(&answered, at(0));
        }
        assert_eq!(memory.hint(PEER, |_| Some(*b"XY")), Some(Transport::EncryptedTcp));
        assert_eq!(memory.hint(PEER, |_| panic!("it was told before")), Some(Transport::EncryptedTcp));
        let other = SocketAddr::from(([127, 0, 0, 9], 1));
        assert_eq!(memory.hint(other, |_| Some(*b"LT")), None);
    }
}
