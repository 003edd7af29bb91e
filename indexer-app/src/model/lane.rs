//! Batches on their way into the database: bounded, in order, one in flight at a time, kept until acknowledged.

use std::{collections::VecDeque, time::Duration};

use tea_runtime::Time;

/// The first wait after a batch failed.
const RETRY_MIN: Duration = Duration::from_millis(250);

/// The longest wait between two tries: whoever repairs the database need not wait long.
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Tries of a batch that the database refuses for what it contains. A refusal may be a mistake of the moment, such as a
/// full disk; a batch that is refused for minutes will be refused for ever.
const REFUSALS_MAX: u32 = 20;

/// The bounds of a lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaneBounds {
    /// Items that may wait.
    pub(super) waiting_max: usize,
    /// Items in one batch.
    pub(super) batch_max: usize,
    /// How long the first item of a batch waits for others.
    pub(super) delay: Duration,
}

/// A queue of items that are written in batches.
#[derive(Debug)]
pub(super) struct Lane<T> {
    bounds: LaneBounds,
    waiting: VecDeque<Waiting<T>>,
    oldest: Option<Time>,
    in_flight: Option<Vec<Waiting<T>>>,
    failures: u32,
    refusals: u32,
    retry_at: Time,
    refused: u64,
    lost: u64,
}

/// An item, and since when it is here.
#[derive(Debug)]
struct Waiting<T> {
    item: T,
    since: Time,
}

/// What becomes of a batch that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterFailure {
    /// It is tried again.
    Retry,
    /// It was given up: so many items are lost.
    GivenUp(usize),
}

impl<T: Clone> Lane<T> {
    /// An empty lane.
    pub(super) fn new(bounds: LaneBounds) -> Self {
        Self {
            bounds,
            waiting: VecDeque::new(),
            oldest: None,
            in_flight: None,
            failures: 0,
            refusals: 0,
            retry_at: Time::ZERO,
            refused: 0,
            lost: 0,
        }
    }

    /// Adds an item; whether there was room.
    pub(super) fn push(&mut self, item: T, now: Time) -> bool {
        if self.waiting.len() >= self.bounds.waiting_max {
            self.refused += 1;
            return false;
        }
        self.waiting.push_back(Waiting { item, since: now });
        self.oldest.get_or_insert(now);
        true
    }

    /// The next batch, if one is due and none is in flight. `flush`: whatever waits is due.
    pub(super) fn take(&mut self, now: Time, flush: bool) -> Option<Vec<T>> {
        let due = flush
            || self.waiting.len() >= self.bounds.batch_max
            || self.oldest.is_some_and(|oldest| now >= oldest + self.bounds.delay);
        if self.waiting.is_empty() || self.in_flight.is_some() || !due || now < self.retry_at {
            return None;
        }
        let count = self.waiting.len().min(self.bounds.batch_max);
        let batch: Vec<Waiting<T>> = self.waiting.drain(..count).collect();
        self.oldest = (!self.waiting.is_empty()).then_some(now);
        let items = batch.iter().map(|waiting| waiting.item.clone()).collect();
        self.in_flight = Some(batch);
        Some(items)
    }

    /// The batch in flight was acknowledged; gives it back.
    pub(super) fn acknowledged(&mut self) -> Vec<T> {
        self.acknowledged_since().map(|(item, _)| item).collect()
    }

    /// The same, each item with when it came.
    pub(super) fn acknowledged_since(&mut self) -> impl Iterator<Item = (T, Time)> + use<T> {
        self.failures = 0;
        self.refusals = 0;
        let batch = self.in_flight.take().unwrap_or_default();
        batch.into_iter().map(|Waiting { item, since }| (item, since))
    }

    /// The batch in flight failed: it goes back to the front, and is tried again after a growing wait. `transient`:
    /// the database could not be asked, so it was not refused.
    pub(super) fn failed(&mut self, now: Time, transient: bool) -> AfterFailure {
        let batch = self.in_flight.take().unwrap_or_default();
        self.retry_at = now + RETRY_MIN.saturating_mul(1 << self.failures.min(16)).min(RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
        self.refusals = if transient { 0 } else { self.refusals + 1 };
        if self.refusals >= REFUSALS_MAX {
            self.refusals = 0;
            self.lost += batch.len() as u64;
            return AfterFailure::GivenUp(batch.len());
        }
        for item in batch.into_iter().rev() {
            self.waiting.push_front(item);
        }
        self.oldest.get_or_insert(now);
        AfterFailure::Retry
    }

    /// Items that wait or are in flight.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.in_flight.as_ref().map_or(0, Vec::len)
    }

    /// Whether nothing waits and nothing is in flight.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Items for which there was no room.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// Items given up after the database had refused them time and again.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from(Duration::from_millis(millis))
    }

    fn lane() -> Lane<u32> {
        Lane::new(LaneBounds { waiting_max: 5, batch_max: 3, delay: Duration::from_millis(100) })
    }

    #[test]
    fn a_batch_leaves_when_it_is_full_or_old_and_no_other_is_in_flight() {
        let mut lane = lane();
        lane.push(1, at(0));
        assert_eq!(lane.take(at(99), false), None);
        assert_eq!(lane.take(at(100), false), Some(vec![1]));
        for n in 2..=4 {
            lane.push(n, at(101));
        }
        assert_eq!(lane.take(at(101), false), None, "one is in flight");
        assert_eq!(lane.acknowledged(), [1]);
        assert_eq!(lane.take(at(101), false), Some(vec![2, 3, 4]));
        assert_eq!(lane.len(), 3);
    }

    #[test]
    fn when_an_item_came_is_known_until_it_is_acknowledged() {
        let mut lane = lane();
        lane.push(1, at(0));
        lane.push(2, at(40));
        lane.take(at(100), false);
        lane.failed(at(100), true);
        lane.push(3, at(150));
        lane.take(at(350), true);
        let acknowledged: Vec<(u32, Time)> = lane.acknowledged_since().collect();
        assert_eq!(acknowledged, [(1, at(0)), (2, at(40)), (3, at(150))]);
    }

    #[test]
    fn a_failed_batch_is_tried_again_first_and_in_order() {
        let mut lane = lane();
        for n in 1..=3 {
            lane.push(n, at(0));
        }
        lane.take(at(0), false);
        lane.push(4, at(0));
        assert_eq!(lane.failed(at(0), true), AfterFailure::Retry);
        assert_eq!(lane.take(at(249), true), None, "it waits before it tries again");
        assert_eq!(lane.take(at(250), true), Some(vec![1, 2, 3]));
    }

    #[test]
    fn an_outage_never_loses_anything_but_a_lasting_refusal_does_and_says_so() {
        let mut lane = lane();
        lane.push(1, at(0));
        let mut now = Time::ZERO;
        for _ in 0..1000 {
            now = now + RETRY_MAX;
            assert!(lane.take(now, true).is_some());
            assert_eq!(lane.failed(now, true), AfterFailure::Retry);
        }
        let given_up = (0..REFUSALS_MAX).find_map(|_| {
            now = now + RETRY_MAX;
            lane.take(now, true);
            (lane.failed(now, false) == AfterFailure::GivenUp(1)).then_some(())
        });
        assert_eq!((given_up, lane.lost(), lane.len()), (Some(()), 1, 0));
    }

    #[test]
    fn a_full_lane_refuses_and_counts() {
        let mut lane = lane();
        assert_eq!((0..7).filter(|n| lane.push(*n, at(0))).count(), 5);
        assert_eq!(lane.refused(), 2);
    }
}
