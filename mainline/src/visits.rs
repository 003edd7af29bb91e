//! The visits in flight, by the node that is visited.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use crate::node_table::NodeRef;
use crate::visit::Visit;

#[derive(Debug)]
pub(crate) struct Visits {
    slots: Vec<Option<Visit>>,
    free: Vec<u32>,
    /// To be driven as soon as budgets allow.
    runnable: VecDeque<NodeRef>,
    /// To be driven when the remote's budget allows: each visit at most once.
    wakes: BinaryHeap<Reverse<(Duration, NodeRef)>>,
    visits_max: usize,
    sweeping: u64,
}

impl Visits {
    pub(crate) fn new(visits_max: usize) -> Visits {
        Visits {
            slots: Vec::new(),
            free: Vec::new(),
            runnable: VecDeque::new(),
            wakes: BinaryHeap::new(),
            visits_max,
            sweeping: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Visits to nodes of which none had ended before.
    pub(crate) fn sweeping(&self) -> u64 {
        self.sweeping
    }

    pub(crate) fn has_room(&self) -> bool {
        self.len() < self.visits_max
    }

    /// Takes up a visit: its place, to be kept with the node.
    pub(crate) fn add(&mut self, visit: Visit) -> u32 {
        self.sweeping += u64::from(visit.sweeping);
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        self.slots[place as usize] = Some(visit);
        place
    }

    pub(crate) fn get(&self, place: u32) -> Option<&Visit> {
        self.slots.get(place as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, place: u32) -> Option<&mut Visit> {
        self.slots.get_mut(place as usize)?.as_mut()
    }

    pub(crate) fn remove(&mut self, place: u32) -> Option<Visit> {
        let visit = self.slots.get_mut(place as usize)?.take()?;
        self.free.push(place);
        self.sweeping -= u64::from(visit.sweeping);
        Some(visit)
    }

    /// Has a visit driven as soon as budgets allow.
    pub(crate) fn make_runnable(&mut self, node: NodeRef) {
        self.runnable.push_back(node);
    }

    /// Whether any visit can go on.
    pub(crate) fn has_runnable(&self) -> bool {
        !self.runnable.is_empty()
    }

    pub(crate) fn pop_runnable(&mut self) -> Option<NodeRef> {
        self.runnable.pop_front()
    }

    /// Has a visit driven at this time.
    pub(crate) fn wake_at(&mut self, at: Duration, node: NodeRef) {
        self.wakes.push(Reverse((at, node)));
    }

    /// Makes those runnable whose time has come.
    pub(crate) fn wake(&mut self, now: Duration) {
        while let Some(Reverse((at, node))) = self.wakes.peek().copied()
            && at <= now
        {
            self.wakes.pop();
            self.runnable.push_back(node);
        }
    }
}
