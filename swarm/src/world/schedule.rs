//! What is going to happen, by time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::Duration;

use krpc::InfoHash;

use super::network::Packet;

/// Something that happens at a time.
#[derive(Debug)]
pub(super) enum Happening {
    /// A datagram arrives.
    Arrival(Packet),
    /// A node looks after an outsider in its table.
    Upkeep { node: u32, friend: SocketAddr },
    /// A user announces a torrent, again.
    Announce(InfoHash),
    /// A torrent comes into the world.
    Birth,
    /// A node leaves, and another one comes for it.
    Departure(u32),
    /// A node has been there for long enough to be known everywhere.
    Settled(u32),
}

/// The queue of happenings; those of one time happen in the order in which they were planned.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    heap: BinaryHeap<Planned>,
    sequence: u64,
}

#[derive(Debug)]
struct Planned {
    at: Duration,
    sequence: u64,
    what: Happening,
}

impl Schedule {
    pub(super) fn plan(&mut self, at: Duration, what: Happening) {
        self.sequence += 1;
        self.heap.push(Planned { at, sequence: self.sequence, what });
    }

    /// Takes what happens next, when it happens until then.
    pub(super) fn pop(&mut self, until: Duration) -> Option<(Duration, Happening)> {
        if self.heap.peek()?.at > until {
            return None;
        }
        self.heap.pop().map(|planned| (planned.at, planned.what))
    }
}

impl Ord for Planned {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap gives the greatest first.
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Planned {}
