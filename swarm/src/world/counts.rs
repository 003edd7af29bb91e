//! What happened in a world so far.

/// Every number is of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Datagrams that outsiders sent.
    pub sent: u64,
    /// Datagrams that arrived somewhere where somebody listens.
    pub delivered: u64,
    /// Datagrams that the network lost, to or from a node.
    pub lost: u64,
    /// Datagrams to dead nodes and to addresses where nobody ever was.
    pub to_nobody: u64,
    /// Datagrams that the NAT of a node kept out.
    pub kept_out: u64,
    /// Times that a libtorrent node began to ignore an IP for flooding it.
    pub blocks: u64,
    /// Datagrams ignored by a libtorrent node after that.
    pub ignored: u64,
    /// Datagrams ignored by libtorrent nodes for the range that they came from.
    pub ignored_range: u64,
    /// Datagrams that mldht nodes did not hear, since too many came.
    pub throttled: u64,
    /// Datagrams that nobody judged: the table of senders was full.
    pub not_guarded: u64,
    /// Datagrams to nodes that are not KRPC.
    pub malformed: u64,
    /// Queries that nodes sent to outsiders to look after their tables.
    pub upkeep: u64,
    /// get_peers of users that passed by an outsider.
    pub passing: u64,
    /// announce_peer of users to an outsider.
    pub announced: u64,
    /// Times that an outsider came to stand in the table of a node.
    pub befriended: u64,
    /// Times that an outsider was dropped from the table of a node, since it did not answer.
    pub dropped: u64,
    /// Times that an endpoint of an outsider that stands in a table showed another id than before.
    pub ids_changed: u64,
    /// Nodes that arrived after the beginning.
    pub arrivals: u64,
    /// Nodes that left.
    pub departures: u64,
    /// Torrents that were first announced after the beginning.
    pub births: u64,
}
