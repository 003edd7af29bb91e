//! What has happened so far, counted. Every number is of events that took place, never an estimate.

use krpc::{Kind, Method, ParseError};

/// Kinds of messages, as they are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageType {
    /// A ping query.
    Ping,
    /// A find_node query.
    FindNode,
    /// A get_peers query.
    GetPeers,
    /// An announce_peer query.
    AnnouncePeer,
    /// A sample_infohashes query (BEP 51).
    SampleInfohashes,
    /// A get or put query (BEP 44).
    Storage,
    /// A query of another name.
    OtherQuery,
    /// An answer.
    Reply,
    /// An error.
    Error,
}

impl MessageType {
    /// All of them, in the order of the fields of [`Traffic::by_type`].
    pub const ALL: [MessageType; 9] = [
        MessageType::Ping,
        MessageType::FindNode,
        MessageType::GetPeers,
        MessageType::AnnouncePeer,
        MessageType::SampleInfohashes,
        MessageType::Storage,
        MessageType::OtherQuery,
        MessageType::Reply,
        MessageType::Error,
    ];

    pub(crate) fn of(method: &Method<'_>) -> MessageType {
        match method {
            Method::Ping => MessageType::Ping,
            Method::FindNode { .. } => MessageType::FindNode,
            Method::GetPeers { .. } => MessageType::GetPeers,
            Method::AnnouncePeer { .. } => MessageType::AnnouncePeer,
            Method::SampleInfohashes { .. } => MessageType::SampleInfohashes,
            Method::Get { .. } | Method::Put { .. } => MessageType::Storage,
            Method::Unknown { .. } => MessageType::OtherQuery,
        }
    }

    pub(crate) fn of_kind(kind: &Kind<'_>) -> MessageType {
        match kind {
            Kind::Query(query) => MessageType::of(&query.method),
            Kind::Reply(_) => MessageType::Reply,
            Kind::Error(_) => MessageType::Error,
        }
    }

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            MessageType::Ping => "ping",
            MessageType::FindNode => "find_node",
            MessageType::GetPeers => "get_peers",
            MessageType::AnnouncePeer => "announce_peer",
            MessageType::SampleInfohashes => "sample_infohashes",
            MessageType::Storage => "get_put",
            MessageType::OtherQuery => "other_query",
            MessageType::Reply => "reply",
            MessageType::Error => "error",
        }
    }
}

/// What a datagram of ours was sent for. Every one that is sent counts for exactly one use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PacketUse {
    /// sample_infohashes of a visit.
    Sampling,
    /// find_node of a visit: to see whether a node is there, and whom it knows.
    Discovery,
    /// get_peers of a lookup of the program.
    Lookups,
    /// get_peers of a scrape (BEP 33).
    Scrapes,
    /// What keeps us in the network: entering it, refreshing buckets, looking after contacts.
    Upkeep,
    /// Answers and errors to queries of others.
    Answers,
}

impl PacketUse {
    /// All of them, in the order of [`Counters::sent_for`].
    pub const ALL: [PacketUse; 6] = [
        PacketUse::Sampling,
        PacketUse::Discovery,
        PacketUse::Lookups,
        PacketUse::Scrapes,
        PacketUse::Upkeep,
        PacketUse::Answers,
    ];

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            PacketUse::Sampling => "sampling",
            PacketUse::Discovery => "discovery",
            PacketUse::Lookups => "lookups",
            PacketUse::Scrapes => "scrapes",
            PacketUse::Upkeep => "upkeep",
            PacketUse::Answers => "answers",
        }
    }
}

/// Why a received datagram was not acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// It does not begin with `d`: another protocol shares the port (uTP does).
    NotKrpc,
    /// Shorter than any KRPC message.
    Short,
    /// Longer than any that is worth reading.
    Long,
    /// The source port is 0: it cannot be answered.
    PortZero,
    /// The source address cannot be one on the internet.
    Bogon,
    /// It is not a KRPC message; [`Counters::malformed`] says why.
    Malformed,
    /// It claims one of our own ids.
    OurId,
    /// An answer that matches no query of ours: too late, from another address, or never asked for.
    Unsolicited,
    /// The remote changed its id again and again, or was banned for another reason.
    Banned,
    /// Its budget, or the budget of all, did not allow to answer.
    OverBudget,
    /// We are read-only (BEP 43) and answer nothing.
    ReadOnly,
    /// The port it came in at is not configured, or has no virtual node.
    NoSuchPort,
}

impl DropReason {
    /// All of them, in the order of [`Counters::dropped`].
    pub const ALL: [DropReason; 12] = [
        DropReason::NotKrpc,
        DropReason::Short,
        DropReason::Long,
        DropReason::PortZero,
        DropReason::Bogon,
        DropReason::Malformed,
        DropReason::OurId,
        DropReason::Unsolicited,
        DropReason::Banned,
        DropReason::OverBudget,
        DropReason::ReadOnly,
        DropReason::NoSuchPort,
    ];

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            DropReason::NotKrpc => "not_krpc",
            DropReason::Short => "short",
            DropReason::Long => "long",
            DropReason::PortZero => "port_zero",
            DropReason::Bogon => "bogon",
            DropReason::Malformed => "malformed",
            DropReason::OurId => "our_id",
            DropReason::Unsolicited => "unsolicited",
            DropReason::Banned => "banned",
            DropReason::OverBudget => "over_budget",
            DropReason::ReadOnly => "read_only",
            DropReason::NoSuchPort => "no_such_port",
        }
    }
}

/// Packets and bytes in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Datagrams.
    pub packets: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// Datagrams by [`MessageType`].
    pub by_type: [u64; MessageType::ALL.len()],
}

impl Traffic {
    /// Datagrams of one type.
    pub fn of(&self, kind: MessageType) -> u64 {
        self.by_type[kind as usize]
    }

    pub(crate) fn count(&mut self, kind: MessageType, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
        self.by_type[kind as usize] += 1;
    }
}

/// All counters of a [`Dht`](crate::Dht), from its start on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Received and understood.
    pub received: Traffic,
    /// Asked to be sent.
    pub sent: Traffic,
    /// Datagrams sent, by [`PacketUse`]: together as many as `sent.packets`.
    pub sent_for: [u64; PacketUse::ALL.len()],
    /// Received and dropped, by [`DropReason`].
    pub dropped: [u64; DropReason::ALL.len()],
    /// Datagrams dropped as [`DropReason::Malformed`], by their cause: in the order of [`ParseError::TEXTS`].
    pub malformed: [u64; ParseError::TEXTS.len()],
    /// Valid messages with a deviation: unsorted or duplicate keys, trailing bytes, odd lengths.
    pub odd_messages: u64,
    /// Queries of ours that were answered.
    pub queries_answered: u64,
    /// Queries of ours that were answered with an error.
    pub queries_refused: u64,
    /// Queries of ours that were not answered in time.
    pub queries_timed_out: u64,
    /// Queries put off because the remote's budget was used up.
    pub limited_by_remote: u64,
    /// Queries put off because too many were without an answer.
    pub limited_by_queries: u64,
    /// Answers that waited for the remote's budget.
    pub answers_delayed: u64,
    /// Answers not given because as many waited as may wait, for one remote or for all.
    pub answers_crowded_out: u64,
    /// Contacts named in answers that were not new.
    pub contacts_known: u64,
    /// Contacts named in answers that were taken up.
    pub contacts_new: u64,
    /// Contacts named in answers that can be nobody: bogons, port 0, ourselves.
    pub contacts_bogus: u64,
    /// Contacts named in answers that did not answer lately.
    pub contacts_unreachable: u64,
    /// Contacts named in answers for which the node table had no room.
    pub contacts_refused: u64,
    /// Remotes given up because their id changed.
    pub ids_changed: u64,
    /// Moves of virtual nodes of ours to another id.
    pub nodes_moved: u64,
    /// Lookups started.
    pub lookups_started: u64,
    /// Lookups ended with at least one peer.
    pub lookups_with_peers: u64,
    /// Lookups ended without a peer.
    pub lookups_without_peers: u64,
    /// Lookups answered by a node that had sampled the hash.
    pub lookups_hinted: u64,
    /// Lookups refused because too many were waiting.
    pub lookups_refused: u64,
    /// Peers found by lookups.
    pub peers_found: u64,
    /// Scrapes started (BEP 33).
    pub scrapes_started: u64,
    /// Scrapes refused because as many were in flight as may be.
    pub scrapes_refused: u64,
    /// Scrapes that ended, of which `scrapes_answered` came to an estimate.
    pub scrapes_ended: u64,
    /// Scrapes that ended with an estimate.
    pub scrapes_answered: u64,
    /// Answers with filters of peers that were asked for.
    pub filters_taken: u64,
    /// Of these, answers that were out of all proportion and did not count.
    pub filters_discarded: u64,
    /// Visits that ended with an answer.
    pub visits_replied: u64,
    /// Visits that ended without one.
    pub visits_timed_out: u64,
    /// Visits that ended otherwise: errors, changed ids.
    pub visits_failed: u64,
    /// Nodes dropped because their freshness was used up.
    pub nodes_removed: u64,
    /// Answers with samples.
    pub samples_answered: u64,
    /// Info-hashes seen in samples, repetitions included.
    pub hashes_sampled: u64,
    /// Info-hashes seen in get_peers queries, repetitions included.
    pub hashes_asked_for: u64,
    /// Info-hashes seen in accepted announces, repetitions included.
    pub hashes_announced: u64,
    /// Announces refused for a bad token or a bad port.
    pub announces_refused: u64,
    /// Announces that were answered but not kept: of a party that has brought too many info-hashes.
    pub announces_not_kept: u64,
    /// Times the watchdog has started over from the bootstrap addresses.
    pub reseeds: u64,
}

impl Counters {
    /// Datagrams dropped for one reason.
    pub fn dropped_for(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// Datagrams sent for one use.
    pub fn sent_for(&self, purpose: PacketUse) -> u64 {
        self.sent_for[purpose as usize]
    }

    /// Why datagrams were [`DropReason::Malformed`]: each cause that occurred, with its number.
    pub fn malformed(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ParseError::TEXTS.into_iter().zip(self.malformed).filter(|(_, count)| *count > 0)
    }

    pub(crate) fn drop(&mut self, reason: DropReason) {
        self.dropped[reason as usize] += 1;
    }

    pub(crate) fn sent(&mut self, purpose: PacketUse, kind: MessageType, bytes: usize) {
        self.sent.count(kind, bytes);
        self.sent_for[purpose as usize] += 1;
    }
}

/// A queue or a table with a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueUse {
    /// What is in it, in a few words.
    pub name: &'static str,
    /// How much that is.
    pub len: usize,
    /// How much it can be.
    pub max: usize,
    /// What found no room, from the start on.
    pub refused: u64,
}

/// What there is at this moment: bounded things, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gauges {
    /// Nodes in the node table, reached or not.
    pub nodes: usize,
    /// Of these, nodes that answered when last visited.
    pub nodes_live: usize,
    /// Of the live ones, those reached over IPv4.
    pub nodes_live_v4: usize,
    /// Of the live ones, those reached over IPv6.
    pub nodes_live_v6: usize,
    /// Of the live ones, those that answer sample_infohashes.
    pub nodes_sampling: usize,
    /// Of the live ones, those known not to.
    pub nodes_not_sampling: usize,
    /// Verified contacts that the routing tables share.
    pub contacts: usize,
    /// Places in routing tables that are filled, over all virtual nodes.
    pub table_entries: usize,
    /// Queries without an answer yet.
    pub queries: usize,
    /// Lookups that go through the network.
    pub lookups: usize,
    /// Lookups that wait: for a place, or for a node that sampled the hash.
    pub lookups_waiting: usize,
    /// Scrapes in flight.
    pub scrapes: usize,
    /// Visits in flight.
    pub visits: usize,
    /// Nodes due for a visit.
    pub visits_waiting: usize,
    /// Answers that wait for the budget of their remote.
    pub answers_waiting: usize,
    /// Info-hashes for which announced peers are kept.
    pub stored_hashes: usize,
    /// Live nodes that the whole network is estimated to have, from the spacing of ids.
    pub population: u64,
}
