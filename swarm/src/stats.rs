//! What a swarm counted.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts since the start of a swarm, all of them at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct SwarmStats {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The live counters, written by the swarm's threads.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        impl Counters {
            pub(crate) fn read(&self) -> SwarmStats {
                SwarmStats { $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Datagrams that arrived at any address, dead ones included.
    datagrams,
    /// Datagrams to dead nodes and to addresses where no node lives.
    to_the_dead,
    /// Datagrams that are not KRPC, or queries with arguments missing or wrong (these are answered with error 203).
    malformed,
    /// Replies and errors: the swarm asks nothing, so nobody asked for them.
    unasked_replies,
    /// Queries: ping.
    pings,
    /// Queries: find_node.
    find_nodes,
    /// Queries: get_peers.
    get_peers,
    /// Queries: get_peers that were answered with filters of peers (BEP 33).
    scrapes,
    /// Queries: get_peers that were answered with peers.
    get_peers_with_values,
    /// Queries: announce_peer with a good token and port, stored.
    announces,
    /// Queries: announce_peer refused for its token or port.
    announces_refused,
    /// Queries: announce_peer dropped since the table of announced peers was full.
    announces_dropped,
    /// Queries: sample_infohashes to nodes that support it.
    samples,
    /// Queries: sample_infohashes to nodes that do not.
    samples_unsupported,
    /// Queries: any other method.
    other_queries,
    /// Live nodes that were asked anything, each counted once.
    nodes_asked,
    /// Live nodes that were asked sample_infohashes, whether they support it or not, each counted once.
    nodes_sampled,
    /// Replies and errors that the nodes sent.
    answers,
    /// Those of them that the system refused to send.
    answers_failed,
    /// Datagrams ignored since their sender had flooded the node before.
    ignored_flood,
    /// Times that a node began to ignore a sender for flooding.
    floods,
    /// Most datagrams that one node got from one address in any second (exact up to 64).
    peak_per_second,
    /// Most datagrams that one node got from one address in any ten seconds (exact up to 64).
    peak_per_ten_seconds,
    /// Datagrams whose sender was not followed for the two figures above, since that table was full.
    senders_not_followed,
    /// TCP connections accepted.
    connections,
    /// TCP connections open now.
    connections_open,
    /// Connections closed for a handshake with an unknown hash, or one that this seeder does not have.
    hashes_refused,
    /// Connections closed for bytes that are not the protocol (encrypted handshakes among them).
    handshakes_refused,
    /// Connections to hostile seeders that got as far as a good handshake.
    hostile_met,
    /// Metadata requests that arrived.
    metadata_requests,
    /// Metadata requests dropped: too many at once for this seeder.
    metadata_requests_dropped,
    /// Metadata pieces that honest seeders served.
    metadata_pieces,
    /// Connections on which every piece of an info dict was served by an honest seeder.
    fetches_served,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn subtract_one(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Keeps the greater one.
    pub(crate) fn raise_to(&self, value: u64) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }
}
