//! What is counted over fetches, by reason.

use crate::{Admission, FailReason, PeerOutcome, Stage, Transport};

/// Counts of one fetch, or of many merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchCounters {
    outcomes: [u32; PeerOutcome::COUNT],
    failures: [u32; FailReason::COUNT],
    transports: [TransportCounters; Transport::COUNT],
    /// Fetches that brought a verified info dict.
    pub done: u32,
    /// Connects asked for.
    pub connects: u32,
    /// Bytes received from peers.
    pub received_bytes: u64,
    /// Pieces asked for.
    pub requests: u64,
    /// Pieces that had to be asked for again: at a peer that did not answer, or at a second one when the first was slow.
    pub requests_repeated: u64,
    /// Pieces received that were still missing.
    pub pieces: u64,
    /// Pieces received that were there already.
    pub pieces_duplicate: u64,
    /// Info dicts put together whose hash was not the info-hash.
    pub assemblies_wrong: u32,
    /// Endpoints proven to send wrong bytes or a wrong size.
    pub liars: u32,
    /// Candidates taken.
    pub candidates: u32,
    /// Candidates that were offered before.
    pub candidates_known: u32,
    /// Candidates beyond the bound of one fetch.
    pub candidates_refused: u32,
    /// Candidates at whose address nobody can be.
    pub candidates_unusable: u32,
    /// Messages by which peers told of others (BEP 11).
    pub exchanges: u32,
    /// Of these, messages that could not be read, or beyond what one connection or fetch may bring.
    pub exchanges_refused: u32,
    /// Peers named in them.
    pub exchanged: u32,
    /// Peers without the info dict that were kept some seconds for what they may tell.
    pub held: u32,
    /// Of these, peers that were given the info dict when it had come from others.
    pub handed_over: u32,
    /// Events for a connection that was over.
    pub late_events: u32,
}

/// Counts of the connections of one transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransportCounters {
    /// Connects asked for.
    pub connects: u32,
    /// Connections that stood.
    pub opened: u32,
    /// Peers that answered with their handshake.
    pub spoke: u32,
    /// Peers that gave pieces of a verified info dict.
    pub served: u32,
}

impl FetchCounters {
    /// How many connections ended so.
    pub fn outcome(&self, outcome: PeerOutcome) -> u32 {
        self.outcomes.get(outcome.index()).copied().unwrap_or(0)
    }

    /// Every outcome that occurred, and how often.
    pub fn outcomes(&self) -> impl Iterator<Item = (PeerOutcome, u32)> {
        PeerOutcome::all().zip(self.outcomes).filter(|(_, count)| *count > 0)
    }

    /// How many fetches failed so.
    pub fn failed(&self, reason: FailReason) -> u32 {
        self.failures.get(reason as usize).copied().unwrap_or(0)
    }

    /// How connections of this transport fared, once they were over.
    pub fn transport(&self, transport: Transport) -> TransportCounters {
        self.transports.get(transport as usize).copied().unwrap_or_default()
    }

    /// Adds the counts of another fetch. Counts stop at their greatest value.
    pub fn merge(&mut self, other: &Self) {
        for (sum, count) in self.outcomes.iter_mut().zip(other.outcomes) {
            *sum = sum.saturating_add(count);
        }
        for (sum, count) in self.failures.iter_mut().zip(other.failures) {
            *sum = sum.saturating_add(count);
        }
        for (sum, count) in self.transports.iter_mut().zip(other.transports) {
            sum.connects = sum.connects.saturating_add(count.connects);
            sum.opened = sum.opened.saturating_add(count.opened);
            sum.spoke = sum.spoke.saturating_add(count.spoke);
            sum.served = sum.served.saturating_add(count.served);
        }
        let Self {
            outcomes: _,
            failures: _,
            transports: _,
            done,
            connects,
            received_bytes,
            requests,
            requests_repeated,
            pieces,
            pieces_duplicate,
            assemblies_wrong,
            liars,
            candidates,
            candidates_known,
            candidates_refused,
            candidates_unusable,
            exchanges,
            exchanges_refused,
            exchanged,
            held,
            handed_over,
            late_events,
        } = self;
        for (sum, count) in [
            (received_bytes, other.received_bytes),
            (requests, other.requests),
            (requests_repeated, other.requests_repeated),
            (pieces, other.pieces),
            (pieces_duplicate, other.pieces_duplicate),
        ] {
            *sum = sum.saturating_add(count);
        }
        for (sum, count) in [
            (done, other.done),
            (connects, other.connects),
            (assemblies_wrong, other.assemblies_wrong),
            (liars, other.liars),
            (candidates, other.candidates),
            (candidates_known, other.candidates_known),
            (candidates_refused, other.candidates_refused),
            (candidates_unusable, other.candidates_unusable),
            (exchanges, other.exchanges),
            (exchanges_refused, other.exchanges_refused),
            (exchanged, other.exchanged),
            (held, other.held),
            (handed_over, other.handed_over),
            (late_events, other.late_events),
        ] {
            *sum = sum.saturating_add(count);
        }
    }

    /// Takes note of a connection that is over.
    pub(crate) fn count_connection(&mut self, transport: Transport, reached: Stage, outcome: PeerOutcome) {
        self.count_outcome(outcome);
        if let Some(counts) = self.transports.get_mut(transport as usize) {
            for (count, reached) in [
                (&mut counts.connects, true),
                (&mut counts.opened, reached > Stage::Connect),
                (&mut counts.spoke, reached > Stage::Handshake),
                (&mut counts.served, outcome == PeerOutcome::Served),
            ] {
                *count = count.saturating_add(u32::from(reached));
            }
        }
    }

    pub(crate) fn count_outcome(&mut self, outcome: PeerOutcome) {
        if let Some(count) = self.outcomes.get_mut(outcome.index()) {
            *count = count.saturating_add(1);
        }
    }

    pub(crate) fn count_failure(&mut self, reason: FailReason) {
        if let Some(count) = self.failures.get_mut(reason as usize) {
            *count = count.saturating_add(1);
        }
    }

    pub(crate) fn count_admission(&mut self, admission: Admission) {
        let count = match admission {
            Admission::Queued => &mut self.candidates,
            Admission::Known => &mut self.candidates_known,
            Admission::Full => &mut self.candidates_refused,
            Admission::Unusable => &mut self.candidates_unusable,
        };
        *count = count.saturating_add(1);
    }
}

impl Default for FetchCounters {
    fn default() -> Self {
        Self {
            outcomes: [0; PeerOutcome::COUNT],
            failures: [0; FailReason::COUNT],
            transports: [TransportCounters::default(); Transport::COUNT],
            done: 0,
            connects: 0,
            received_bytes: 0,
            requests: 0,
            requests_repeated: 0,
            pieces: 0,
            pieces_duplicate: 0,
            assemblies_wrong: 0,
            liars: 0,
            candidates: 0,
            candidates_known: 0,
            candidates_refused: 0,
            candidates_unusable: 0,
            exchanges: 0,
            exchanges_refused: 0,
            exchanged: 0,
            held: 0,
            handed_over: 0,
            late_events: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_counts_are_sums() {
        let mut one = FetchCounters { connects: 2, pieces: 3, ..FetchCounters::default() };
        one.count_outcome(PeerOutcome::Silent(Stage::Handshake));
        let mut two = FetchCounters { connects: u32::MAX, liars: 1, ..FetchCounters::default() };
        two.count_outcome(PeerOutcome::Silent(Stage::Handshake));
        two.count_failure(FailReason::Deadline);
        one.merge(&two);
        assert_eq!(one.outcome(PeerOutcome::Silent(Stage::Handshake)), 2);
        assert_eq!(one.outcomes().collect::<Vec<_>>(), [(PeerOutcome::Silent(Stage::Handshake), 2)]);
        assert_eq!((one.connects, one.pieces, one.liars), (u32::MAX, 3, 1));
        assert_eq!(one.failed(FailReason::Deadline), 1);
    }
}
