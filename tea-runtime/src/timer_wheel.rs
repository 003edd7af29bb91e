//! A hierarchical timing wheel: keyed timers, O(1) to set, replace and cancel.
//!
//! Source: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987), scheme 7. What is due within the
//! current tick waits in a small heap, so that timers come in the exact order of their deadlines (and those with one
//! deadline in the order in which they were set) although the wheel itself is coarse.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, hash_map::Entry},
    hash::Hash,
};

use crate::Time;

/// Timers with a value each, named by a key.
pub(crate) struct TimerWheel<K, V> {
    by_key: HashMap<K, u32>,
    nodes: Vec<Node<K, V>>,
    /// Head of the list of unused nodes.
    free: u32,
    /// Head of the list of each slot.
    heads: [[u32; SLOTS]; LEVELS],
    /// No timer of the slot is due before this; cancelling leaves it too early, never too late.
    earliest: [[Time; SLOTS]; LEVELS],
    /// One bit a slot that holds something.
    occupied: [u64; LEVELS],
    /// Every timer of this tick or an earlier one is in `near`.
    tick: u64,
    near: BinaryHeap<Reverse<(Time, u64, u32)>>,
    /// Numbers timers in the order in which they were set.
    sequence: u64,
}

struct Node<K, V> {
    at: Time,
    sequence: u64,
    /// `None`: unused, or cancelled while it was in `near`.
    timer: Option<(K, V)>,
    next: u32,
    previous: u32,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Free,
    Near,
    Slot { level: u8, slot: u8 },
}

impl<K: Copy + Eq + Hash, V> Default for TimerWheel<K, V> {
    fn default() -> Self {
        Self {
            by_key: HashMap::new(),
            nodes: Vec::new(),
            free: NIL,
            heads: [[NIL; SLOTS]; LEVELS],
            earliest: [[NEVER; SLOTS]; LEVELS],
            occupied: [0; LEVELS],
            tick: 0,
            near: BinaryHeap::new(),
            sequence: 0,
        }
    }
}

impl<K: Copy + Eq + Hash, V> TimerWheel<K, V> {
    /// Sets a timer; one with the same key is replaced, and its value returned.
    pub(crate) fn insert(&mut self, key: K, at: Time, value: V) -> Option<V> {
        let replaced = self.cancel(&key);
        let index = self.allocate(at, key, value);
        self.by_key.insert(key, index);
        self.place(index);
        replaced
    }

    /// Forgets a timer and returns its value.
    pub(crate) fn cancel(&mut self, key: &K) -> Option<V> {
        let index = self.by_key.remove(key)?;
        let value = self.nodes[index as usize].timer.take().map(|(_, value)| value);
        if let Place::Slot { .. } = self.nodes[index as usize].place {
            self.unlink(index);
            self.release(index);
        }
        value
    }

    /// Takes the first timer that is due at `now`: the earliest, and among equals the one that was set first.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<(K, Time, V)> {
        self.advance(tick_of(now));
        while let Some(&Reverse((at, _, index))) = self.near.peek() {
            if at > now && self.nodes[index as usize].timer.is_some() {
                return None;
            }
            self.near.pop();
            let timer = self.nodes[index as usize].timer.take();
            self.release(index);
            if let Some((key, value)) = timer {
                if let Entry::Occupied(entry) = self.by_key.entry(key) {
                    entry.remove();
                }
                return Some((key, at, value));
            }
        }
        None
    }

    /// No timer is due before this. After a cancellation it may be too early; it is never too late.
    pub(crate) fn next_wake(&self) -> Option<Time> {
        if let Some(Reverse((at, ..))) = self.near.peek() {
            return Some(*at);
        }
        let (level, slot) = self.first_slot()?;
        Some(self.earliest[level][slot])
    }

    /// Timers that are set.
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether a timer of this name is set.
    pub(crate) fn contains(&self, key: &K) -> bool {
        self.by_key.contains_key(key)
    }

    /// Forgets all timers.
    pub(crate) fn clear(&mut self) {
        let tick = self.tick;
        *self = Self { tick, ..Self::default() };
    }

    /// Moves to `tick`: slots that begin at or before it are emptied into `near` and into lower levels.
    fn advance(&mut self, tick: u64) {
        while let Some((level, slot)) = self.first_slot() {
            let begin = self.slot_begin(level, slot);
            if begin > tick {
                break;
            }
            self.tick = begin;
            self.occupied[level] &= !(1 << slot);
            self.earliest[level][slot] = NEVER;
            let mut index = std::mem::replace(&mut self.heads[level][slot], NIL);
            while index != NIL {
                let next = self.nodes[index as usize].next;
                self.place(index);
                index = next;
            }
        }
        self.tick = self.tick.max(tick);
    }

    /// The occupied slot that begins first. All timers of a level are due before those of the levels above, because a
    /// timer's level is the highest digit in which its tick differs from the current one.
    fn first_slot(&self) -> Option<(usize, usize)> {
        let level = self.occupied.iter().position(|slots| *slots != 0)?;
        Some((level, self.occupied[level].trailing_zeros() as usize))
    }

    /// The first tick of a slot, seen from the current tick.
    fn slot_begin(&self, level: usize, slot: usize) -> u64 {
        let shift = level as u32 * SLOT_BITS;
        let above = self.tick.checked_shr(shift + SLOT_BITS).unwrap_or(0);
        let prefix = above.checked_shl(shift + SLOT_BITS).unwrap_or(0);
        prefix | (slot as u64) << shift
    }

    fn place(&mut self, index: u32) {
        let Node { at, sequence, .. } = self.nodes[index as usize];
        let tick = tick_of(at);
        if tick <= self.tick {
            self.nodes[index as usize].place = Place::Near;
            self.near.push(Reverse((at, sequence, index)));
            return;
        }
        let level = ((tick ^ self.tick).ilog2() / SLOT_BITS) as usize;
        let slot = (tick >> (level as u32 * SLOT_BITS)) as usize % SLOTS;
        let head = std::mem::replace(&mut self.heads[level][slot], index);
        if head != NIL {
            self.nodes[head as usize].previous = index;
        }
        let node = &mut self.nodes[index as usize];
        (node.next, node.previous) = (head, NIL);
        node.place = Place::Slot { level: level as u8, slot: slot as u8 };
        self.occupied[level] |= 1 << slot;
        self.earliest[level][slot] = self.earliest[level][slot].min(at);
    }

    fn unlink(&mut self, index: u32) {
        let Node { next, previous, place, .. } = self.nodes[index as usize];
        let Place::Slot { level, slot } = place else { return };
        let (level, slot) = (usize::from(level), usize::from(slot));
        if next != NIL {
            self.nodes[next as usize].previous = previous;
        }
        if previous != NIL {
            self.nodes[previous as usize].next = next;
        } else {
            self.heads[level][slot] = next;
            if next == NIL {
                self.occupied[level] &= !(1 << slot);
                self.earliest[level][slot] = NEVER;
            }
        }
    }

    fn allocate(&mut self, at: Time, key: K, value: V) -> u32 {
        self.sequence += 1;
        let node = Node {
            at,
            sequence: self.sequence,
            timer: Some((key, value)),
            next: NIL,
            previous: NIL,
            place: Place::Free,
        };
        if self.free == NIL {
            self.nodes.push(node);
            return self.nodes.len() as u32 - 1;
        }
        let index = self.free;
        self.free = self.nodes[index as usize].next;
        self.nodes[index as usize] = node;
        index
    }

    fn release(&mut self, index: u32) {
        let node = &mut self.nodes[index as usize];
        node.place = Place::Free;
        node.next = self.free;
        self.free = index;
    }
}

const fn tick_of(at: Time) -> u64 {
    at.as_nanos() >> TICK_BITS
}

/// A tick is 2^20 ns, about a millisecond: as fine as the operating system wakes us.
const TICK_BITS: u32 = 20;
/// 64 slots a level, so that the occupied ones are one word.
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// Eight levels of 6 bits hold all 44 bits of a tick: there is no timer too far away.
const LEVELS: usize = (64 - TICK_BITS).div_ceil(SLOT_BITS) as usize;
const NIL: u32 = u32::MAX;
const NEVER: Time = Time::from_nanos(u64::MAX);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;

    fn ms(millis: u64) -> Time {
        Time::from_nanos(millis * MS)
    }

    fn due(wheel: &mut TimerWheel<u32, &'static str>, now: Time) -> Vec<(u32, &'static str)> {
        std::iter::from_fn(|| wheel.pop_due(now)).map(|(key, _, value)| (key, value)).collect()
    }

    #[test]
    fn timers_come_in_the_order_of_their_deadlines_and_never_early() {
        let mut wheel = TimerWheel::default();
        wheel.insert(1, ms(3000), "far");
        wheel.insert(2, ms(20), "near");
        wheel.insert(3, Time::from_nanos(20 * MS - 1), "just before");
        assert_eq!(due(&mut wheel, Time::from_nanos(20 * MS - 2)), []);
        assert_eq!(due(&mut wheel, ms(2999)), [(3, "just before"), (2, "near")]);
        assert_eq!(due(&mut wheel, ms(3000)), [(1, "far")]);
        assert_eq!(wheel.len(), 0);
    }

    #[test]
    fn the_same_key_replaces_and_a_cancelled_timer_never_comes() {
        let mut wheel = TimerWheel::default();
        assert_eq!(wheel.insert(1, ms(5), "old"), None);
        assert_eq!(wheel.insert(1, ms(9), "new"), Some("old"));
        wheel.insert(2, ms(6), "cancelled");
        assert_eq!(wheel.cancel(&2), Some("cancelled"));
        assert_eq!(wheel.cancel(&2), None);
        assert_eq!(due(&mut wheel, ms(100)), [(1, "new")]);
    }

    #[test]
    fn timers_with_one_deadline_come_in_the_order_in_which_they_were_set() {
        let mut wheel = TimerWheel::default();
        for key in 0..100 {
            wheel.insert(key, ms(7777), "");
        }
        let keys: Vec<u32> = due(&mut wheel, ms(8000)).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn the_end_of_time_can_be_waited_for() {
        let mut wheel = TimerWheel::default();
        wheel.insert(1, Time::from_nanos(u64::MAX), "end");
        assert_eq!(wheel.next_wake(), Some(Time::from_nanos(u64::MAX)));
        assert_eq!(due(&mut wheel, Time::from_nanos(u64::MAX - 1)), []);
        assert_eq!(due(&mut wheel, Time::from_nanos(u64::MAX)), [(1, "end")]);
    }

    #[test]
    fn a_warm_wheel_reuses_its_nodes() {
        let mut wheel = TimerWheel::default();
        for round in 0..1000_u64 {
            for key in 0..16 {
                wheel.insert(key, ms(round * 50 + u64::from(key) * 7), "");
            }
            wheel.cancel(&3);
            due(&mut wheel, ms(round * 50 + 200));
        }
        assert!(wheel.nodes.len() <= 32, "{} nodes for 16 timers", wheel.nodes.len());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8, u64),
        Cancel(u8),
        /// Goes on by so many nanoseconds and takes at most so many timers.
        Pop(u64, usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        // Exponents, so that every level is reached.
        let delay = (0u32..44, any::<u64>()).prop_map(|(bits, noise)| noise & ((1 << bits) - 1));
        let step = prop_oneof![
            4 => (any::<u8>(), delay.clone()).prop_map(|(key, delay)| Step::Insert(key % 40, delay)),
            1 => any::<u8>().prop_map(|key| Step::Cancel(key % 40)),
            3 => (delay, 0usize..6).prop_map(|(delay, count)| Step::Pop(delay, count)),
        ];
        prop::collection::vec(step, 1..200)
    }

    proptest! {
        #[test]
        fn the_wheel_agrees_with_a_sorted_map(steps in steps()) {
            let mut wheel = TimerWheel::default();
            let mut model: BTreeMap<(Time, u64), (u8, u64)> = BTreeMap::new();
            let (mut now, mut sequence) = (Time::ZERO, 0u64);
            for step in steps {
                match step {
                    Step::Insert(key, delay) => {
                        sequence += 1;
                        let at = Time::from_nanos(now.as_nanos() + delay);
                        wheel.insert(key, at, sequence);
                        model.retain(|_, (other, _)| *other != key);
                        model.insert((at, sequence), (key, sequence));
                    }
                    Step::Cancel(key) => {
                        let value = model.values().find(|(other, _)| *other == key).map(|(_, value)| *value);
                        model.retain(|_, (other, _)| *other != key);
                        prop_assert_eq!(wheel.cancel(&key), value);
                    }
                    Step::Pop(delay, count) => {
                        now = Time::from_nanos(now.as_nanos() + delay);
                        for _ in 0..count {
                            let first = model.first_key_value().filter(|((at, _), _)| *at <= now);
                            let expected = first.map(|((at, _), (key, value))| (*key, *at, *value));
                            prop_assert_eq!(wheel.pop_due(now), expected);
                            let Some(_) = expected else { break };
                            model.pop_first();
                        }
                    }
                }
                prop_assert_eq!(wheel.len(), model.len());
                let first = model.first_key_value().map(|((at, _), _)| *at);
                match (wheel.next_wake(), first) {
                    (wake, None) => prop_assert!(wake.is_none_or(|wake| wake >= Time::ZERO)),
                    (None, Some(_)) => prop_assert!(false, "a timer would be slept through"),
                    (Some(wake), Some(first)) => prop_assert!(wake <= first),
                }
            }
        }
    }
}
