//! What is counted.

/// Counts of one endpoint since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UtpCounters {
    /// Datagrams received.
    pub received: u64,
    /// Datagrams sent, retransmissions included.
    pub sent: u64,
    /// Datagrams that are no packets.
    pub malformed: u64,
    /// Packets for connections that do not exist.
    pub unknown: u64,
    /// Resets sent in answer to those.
    pub resets_sent: u64,
    /// Resets beyond the bound of a second.
    pub resets_suppressed: u64,
    /// Connections asked for by us.
    pub connects: u64,
    /// Connections not made for want of room.
    pub connects_refused: u64,
    /// Connections opened by others that were shown to be real.
    pub accepted: u64,
    /// SYNs refused: none are taken, or a bound is reached.
    pub syns_refused: u64,
    /// Connections asked for by others that came to nothing.
    pub half_open_expired: u64,
    /// Packets that acknowledge what was never sent.
    pub acks_invalid: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets beyond the window, or out of place.
    pub out_of_window: u64,
    /// Packets beyond a gap that the memory had no room for.
    pub reassembly_refused: u64,
    /// Packets sent again.
    pub retransmitted: u64,
    /// Times that nothing was heard for so long that all in flight counted as lost.
    pub timeouts: u64,
    /// Connections given up since the other side fell silent.
    pub timed_out: u64,
    /// Connections that the other side has reset.
    pub reset_by_peer: u64,
    /// Connections closed in good order whose last bytes were never acknowledged.
    pub lingered_out: u64,
    /// Writes beyond what a connection may hold.
    pub writes_refused: u64,
}
