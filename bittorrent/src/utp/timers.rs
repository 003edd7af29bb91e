//! When which connection is to be looked at.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

/// The deadlines of many connections. A deadline that moves to a later time costs nothing until it is due: it is then put
/// off. So a connection in use, whose deadlines move with each packet, has about one entry.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Duration, u32, u32)>>,
}

impl Timers {
    /// Adds an entry for a connection, named by its place and generation.
    pub(super) fn add(&mut self, at: Duration, index: u32, generation: u32) {
        self.heap.push(Reverse((at, index, generation)));
    }

    /// The earliest entry, if it is due.
    pub(super) fn pop_due(&mut self, now: Duration) -> Option<(Duration, u32, u32)> {
        let Reverse((at, ..)) = self.heap.peek()?;
        if *at > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// When the earliest entry is due.
    pub(super) fn next_at(&self) -> Option<Duration> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    /// Whether entries that mean nothing any more prevail among those of so many connections.
    pub(super) fn is_littered(&self, connections: usize) -> bool {
        self.heap.len() > 4 * connections + 64
    }

    /// Keeps the entries that `keep` wants.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(Duration, u32, u32) -> bool) {
        self.heap.retain(|Reverse((at, index, generation))| keep(*at, *index, *generation));
    }
}
