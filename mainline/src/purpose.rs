//! What a query of ours is for: kept with its transaction, so that the answer finds its way.

use crate::event::LookupId;
use crate::node_table::NodeRef;
use crate::virtual_node::Family;

/// The part of the engine that waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// find_node of a visit.
    Find(NodeRef),
    /// sample_infohashes of a visit.
    Sample(NodeRef),
    /// find_node for a place of the keyspace in which we know too few.
    Explore(Family),
    /// A step of a lookup.
    Lookup(LookupId),
    /// find_node to an address by which the network is entered.
    Bootstrap,
    /// Is a contact of a routing table still there?
    Ping,
}
