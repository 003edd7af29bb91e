//! The nodes of the world, and how tests name them.

use std::{
    fmt,
    marker::PhantomData,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::link::LinkPolicy;

/// Any node of the world: a host with a program, or a responder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SimNode(pub(super) u32);

/// A host that runs the program `P`.
pub struct HostId<P> {
    pub(super) node: SimNode,
    program: PhantomData<fn() -> P>,
}

impl<P> HostId<P> {
    pub(super) const fn new(node: SimNode) -> Self {
        Self { node, program: PhantomData }
    }

    /// The host without its type.
    pub const fn node(self) -> SimNode {
        self.node
    }
}

impl<P> Clone for HostId<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for HostId<P> {}

impl<P> PartialEq for HostId<P> {
    fn eq(&self, other: &Self) -> bool {
        self.node == other.node
    }
}

impl<P> Eq for HostId<P> {}

impl<P> fmt::Debug for HostId<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostId({})", self.node.0)
    }
}

impl<P> From<HostId<P>> for SimNode {
    fn from(host: HostId<P>) -> Self {
        host.node
    }
}

/// What the network knows of a node.
pub(super) struct NodeState {
    /// The machine runs; a program on it may have ended.
    pub(super) up: bool,
    /// Counts the starts, so that what was scheduled before a crash finds nobody.
    pub(super) epoch: u32,
    pub(super) nat: Option<u32>,
    pub(super) v4: Option<Ipv4Addr>,
    pub(super) v6: Option<Ipv6Addr>,
    pub(super) policy: Option<Box<LinkPolicy>>,
    next_port: u16,
}

impl NodeState {
    pub(super) fn new(nat: Option<u32>) -> Self {
        Self { up: true, epoch: 0, nat, v4: None, v6: None, policy: None, next_port: EPHEMERAL_MIN }
    }

    /// The address from which the node speaks to `to`, if it has one of that family.
    pub(super) fn source_for(&self, to: IpAddr) -> Option<IpAddr> {
        match to {
            IpAddr::V4(_) => self.v4.map(IpAddr::V4),
            IpAddr::V6(_) => self.v6.map(IpAddr::V6),
        }
    }

    /// The next port of those that the system chooses.
    pub(super) fn take_port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = if port == EPHEMERAL_MAX { EPHEMERAL_MIN } else { port + 1 };
        port
    }
}

/// The range from which Linux chooses ports.
const EPHEMERAL_MIN: u16 = 32_768;
const EPHEMERAL_MAX: u16 = 60_999;
