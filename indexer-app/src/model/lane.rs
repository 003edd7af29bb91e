//! Batches on their way into the database: bounded, in order, few in flight at a time, kept until acknowledged.

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
    /// Batches that may be in flight at a time. While some fail, one is.
    pub(super) in_flight_max: usize,
}

/// Which of the batches in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchId(u64);

/// A queue of items that are written in batches.
#[derive(Debug)]
pub(super) struct Lane<T> {
    bounds: LaneBounds,
    waiting: VecDeque<Waiting<T>>,
    oldest: Option<Time>,
    in_flight: Vec<(BatchId, Vec<Waiting<T>>)>,
    batches: u64,
    failures: u32,
    retry_at: Time,
    refused: u64,
    lost: u64,
}

/// An item, since when it is here, and how often in a row it was refused.
#[derive(Debug)]
struct Waiting<T> {
    item: T,
    since: Time,
    refusals: u32,
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
            in_flight: Vec::new(),
            batches: 0,
            failures: 0,
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
        self.waiting.push_back(Waiting { item, since: now, refusals: 0 });
        self.oldest.get_or_insert(now);
        true
    }

    /// The next batch of a lane that has one in flight at a time, if one is due and none is. `flush`: whatever waits is due.
    pub(super) fn take(&mut self, now: Time, flush: bool) -> Option<Vec<T>> {
        self.take_batch(now, flush).map(|(_, items)| items)
    }

    /// The next batch, if one is due and another may be in flight.
    pub(super) fn take_batch(&mut self, now: Time, flush: bool) -> Option<(BatchId, Vec<T>)> {
        let in_flight_max = if self.failures > 0 { 1 } else { self.bounds.in_flight_max };
        let due = flush
            || self.waiting.len() >= self.bounds.batch_max
            || self.oldest.is_some_and(|oldest| now >= oldest + self.bounds.delay);
        if self.waiting.is_empty() || self.in_flight.len() >= in_flight_max || !due || now < self.retry_at {
            return None;
        }
        let count = self.waiting.len().min(self.bounds.batch_max);
        let batch: Vec<Waiting<T>> = self.waiting.drain(..count).collect();
        self.oldest = (!self.waiting.is_empty()).then_some(now);
        let items = batch.iter().map(|waiting| waiting.item.clone()).collect();
        self.batches += 1;
        let id = BatchId(self.batches);
        self.in_flight.push((id, batch));
        Some((id, items))
    }

    /// The batch in flight was acknowledged; gives it back.
    pub(super) fn acknowledged(&mut self) -> Vec<T> {
        let id = self.only();
        self.acknowledged_since(id).map(|(item, _)| item).collect()
    }

    /// A batch was acknowledged; gives it back, each item with when it came.
    pub(super) fn acknowledged_since(&mut self, id: BatchId) -> impl Iterator<Item = (T, Time)> + use<T> {
        self.failures = 0;
        self.landed(id).into_iter().map(|Waiting { item, since, .. }| (item, since))
    }

    /// The batch in flight failed: see [`Self::failed_batch`].
    pub(super) fn failed(&mut self, now: Time, transient: bool) -> AfterFailure {
        let id = self.only();
        self.failed_batch(id, now, transient)
    }

    /// A batch failed: it goes back to the front, and is tried again after a growing wait. `transient`:
    /// the database could not be asked, so it was not refused.
    pub(super) fn failed_batch(&mut self, id: BatchId, now: Time, transient: bool) -> AfterFailure {
        let mut batch = self.landed(id);
        self.retry_at = now + RETRY_MIN.saturating_mul(1 << self.failures.min(16)).min(RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
        for waiting in &mut batch {
            waiting.refusals = if transient { 0 } else { waiting.refusals + 1 };
        }
        let items = batch.len();
        batch.retain(|waiting| waiting.refusals < REFUSALS_MAX);
        let given_up = items - batch.len();
        self.lost += given_up as u64;
        for waiting in batch.into_iter().rev() {
            self.waiting.push_front(waiting);
        }
        if !self.waiting.is_empty() {
            self.oldest.get_or_insert(now);
        }
        if given_up > 0 { AfterFailure::GivenUp(given_up) } else { AfterFailure::Retry }
    }

    /// The batch in flight, where one is at a time.
    fn only(&self) -> BatchId {
        self.in_flight.first().map_or(BatchId(0), |(id, _)| *id)
    }

    fn landed(&mut self, id: BatchId) -> Vec<Waiting<T>> {
        let place = self.in_flight.iter().position(|(of, _)| *of == id);
        place.map_or(Vec::new(), |place| self.in_flight.swap_remove(place).1)
    }

    /// Items that wait or are in flight.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.in_flight.iter().map(|(_, batch)| batch.len()).sum::<usize>()
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
        wide(1)
    }

    fn wide(in_flight_max: usize) -> Lane<u32> {
        Lane::new(LaneBounds {
            waiting_max: 5,
            batch_max: 3,
            delay: Duration::from_millis(100),
            in_flight_max,
        })
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
        let id = lane.only();
        let acknowledged: Vec<(u32, Time)> = lane.acknowledged_since(id).collect();
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
    fn several_batches_are_in_flight_until_one_fails() {
        let mut lane = wide(2);
        let fill = |lane: &mut Lane<u32>, numbers: std::ops::Range<u32>| {
            assert!(numbers.into_iter().all(|number| lane.push(number, at(0))));
        };
        fill(&mut lane, 0..3);
        let (first, _) = lane.take_batch(at(0), false).unwrap();
        fill(&mut lane, 3..6);
        let (second, items) = lane.take_batch(at(0), false).unwrap();
        assert_eq!(items, [3, 4, 5]);
        fill(&mut lane, 6..9);
        assert_eq!(lane.take_batch(at(0), true), None, "two are in flight");
        assert_eq!(lane.len(), 9);
        // They need not be answered in their order.
        assert_eq!(lane.acknowledged_since(second).map(|(item, _)| item).collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!(lane.failed_batch(first, at(0), true), AfterFailure::Retry);
        let (again, items) = lane.take_batch(at(250), true).unwrap();
        assert_eq!(items, [0, 1, 2]);
        assert_eq!(lane.take_batch(at(250), true), None, "one at a time until it goes well again");
        assert_eq!(lane.acknowledged_since(again).count(), 3);
        assert_eq!(lane.take_batch(at(250), true).unwrap().1, [6, 7, 8]);
    }

    #[test]
    fn what_is_refused_for_ever_is_given_up_though_other_batches_go_well() {
        let mut lane = wide(2);
        let mut now = Time::ZERO;
        lane.push(0, now);
        for round in 1.. {
            assert!(round <= REFUSALS_MAX, "it is tried for ever");
            now = now + RETRY_MAX;
            let (bad, items) = lane.take_batch(now, true).unwrap();
            assert_eq!(items, [0]);
            lane.push(round, now);
            let good = lane.take_batch(now, true);
            let after = lane.failed_batch(bad, now, false);
            if let Some((good, _)) = good {
                assert_eq!(lane.acknowledged_since(good).count(), 1);
            }
            if after == AfterFailure::GivenUp(1) {
                break;
            }
            now = now + RETRY_MAX;
            // What came meanwhile goes first once, so that the next round has the bad one alone.
            while lane.waiting.back().is_some_and(|waiting| waiting.item != 0) {
                lane.waiting.pop_back();
            }
        }
        assert_eq!(lane.lost(), 1);
    }

    #[test]
    fn a_full_lane_refuses_and_counts() {
        let mut lane = lane();
        assert_eq!((0..7).filter(|n| lane.push(*n, at(0))).count(), 5);
        assert_eq!(lane.refused(), 2);
    }
}
