//! Everything around the nodes: time, randomness, the network, and what is going to happen.

use std::net::SocketAddr;

use super::{
    network::Network,
    node::NodeState,
    queue::Queue,
    rng::SimRng,
    tcp::{EndId, Tcp},
    trace::Trace,
};
use crate::Time;

/// The world without the nodes' inner lives.
pub(super) struct World {
    pub(super) now: Time,
    pub(super) rng: SimRng,
    pub(super) queue: Queue<Event>,
    pub(super) net: Network,
    pub(super) tcp: Tcp,
    pub(super) nodes: Vec<NodeState>,
    pub(super) trace: Trace,
    /// Buffers of datagrams that have been delivered.
    buffers: Vec<Vec<u8>>,
}

/// What is going to happen.
pub(super) enum Event {
    /// A datagram arrives.
    Datagram {
        sender: u32,
        receiver: u32,
        /// The translator that it arrives at.
        via: Option<u32>,
        from: SocketAddr,
        to: SocketAddr,
        payload: Vec<u8>,
    },
    /// The oldest segment that an end has sent arrives.
    Segment(EndId),
    /// The end learns that the other side has taken bytes.
    Acknowledged { end: EndId, bytes: usize },
    /// An end that reads again finds that the other side has ended.
    Ended(EndId),
    /// Something of a program host's own: a timer, an answer.
    Host { node: u32, slot: u32, generation: u32 },
    /// A responder wanted to be woken.
    Wake { node: u32, epoch: u32, token: u64 },
    /// A responder starts.
    Start { node: u32, epoch: u32 },
}

impl Event {
    /// The node at which it happens, unless only the connection knows.
    pub(super) const fn node(&self) -> Option<u32> {
        match self {
            Self::Datagram { receiver: node, .. }
            | Self::Host { node, .. }
            | Self::Wake { node, .. }
            | Self::Start { node, .. } => Some(*node),
            Self::Segment(_) | Self::Acknowledged { .. } | Self::Ended(_) => None,
        }
    }
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            now: Time::ZERO,
            rng: SimRng::new(seed),
            queue: Queue::default(),
            net: Network::new(seed),
            tcp: Tcp::default(),
            nodes: Vec::new(),
            trace: Trace::new(seed),
            buffers: Vec::new(),
        }
    }

    /// An empty buffer for a datagram.
    pub(super) fn take_buffer(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_default()
    }

    /// Keeps the buffer for a later datagram.
    pub(super) fn give_buffer(&mut self, mut buffer: Vec<u8>) {
        if self.buffers.len() < BUFFERS_MAX && buffer.capacity() <= BUFFER_BYTES_MAX {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }
}

/// Buffers kept for reuse: as many as datagrams are under way in a busy world.
const BUFFERS_MAX: usize = 1 << 16;
/// Larger ones are rare and are not kept. 2 KiB: above any KRPC message.
const BUFFER_BYTES_MAX: usize = 2 << 10;
