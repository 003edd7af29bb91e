//! Time-outs in O(1): a wheel of lists through a slab of the owner.
//!
//! The wheel knows slots of a slab by number. A slot can be armed for one time, disarmed, and is given
//! back when its time has come. Times are rounded up to [`TICK`], and cut where the wheel ends, 16 s after the time up to
//! which it was turned: whoever arms slots turns it first, or they are due too soon after a pause.

use std::time::Duration;

/// The wheel. Memory: 12 bytes for each slot ever armed, and 2 KiB.
#[derive(Debug)]
pub(crate) struct TimingWheel {
    /// One list for each tick, and at [`OVERDUE`] that of what was due at the ticks that have passed, in that order.
    heads: Box<[u32]>,
    overdue_last: u32,
    links: Vec<Link>,
    /// The tick up to which everything was moved to what is overdue.
    now: u64,
    armed: usize,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    next: u32,
    prev: u32,
    /// List in which the slot stands, or [`NIL`].
    list: u32,
}

/// Steps of time: finer than the intervals at which an engine is called, coarser than none.
pub(crate) const TICK: Duration = Duration::from_millis(32);

const LISTS: usize = 512;
const OVERDUE: usize = LISTS;
const NIL: u32 = u32::MAX;

impl TimingWheel {
    pub(crate) fn new(now: Duration) -> TimingWheel {
        TimingWheel {
            heads: vec![NIL; LISTS + 1].into_boxed_slice(),
            overdue_last: NIL,
            links: Vec::new(),
            now: ticks_before(now),
            armed: 0,
        }
    }

    /// Arms a slot for a time; if it was armed it is armed anew.
    pub(crate) fn arm(&mut self, slot: u32, at: Duration) {
        self.disarm(slot);
        if slot as usize >= self.links.len() {
            self.links.resize(slot as usize + 1, Link { next: NIL, prev: NIL, list: NIL });
        }
        let tick = ticks_after(at).clamp(self.now + 1, self.now + LISTS as u64 - 1);
        let list = tick as usize % LISTS;
        let next = self.heads[list];
        self.links[slot as usize] = Link { next, prev: NIL, list: list as u32 };
        if next != NIL {
            self.links[next as usize].prev = slot;
        }
        self.heads[list] = slot;
        self.armed += 1;
    }

    /// Disarms a slot, if it is armed.
    pub(crate) fn disarm(&mut self, slot: u32) {
        let Some(link) = self.links.get(slot as usize).copied().filter(|link| link.list != NIL) else {
            return;
        };
        if link.prev == NIL {
            self.heads[link.list as usize] = link.next;
        } else {
            self.links[link.prev as usize].next = link.next;
        }
        if link.next != NIL {
            self.links[link.next as usize].prev = link.prev;
        } else if link.list == OVERDUE as u32 {
            self.overdue_last = link.prev;
        }
        self.links[slot as usize].list = NIL;
        self.armed -= 1;
    }

    /// A slot whose time has come; it is disarmed. To be called until there is none.
    pub(crate) fn due(&mut self, now: Duration) -> Option<u32> {
        self.turn(now);
        let slot = self.heads[OVERDUE];
        if slot == NIL {
            return None;
        }
        self.disarm(slot);
        Some(slot)
    }

    /// Turns the wheel to a time. All that is armed lies within one turn, however long ago the last one was.
    pub(crate) fn turn(&mut self, now: Duration) {
        let target = ticks_before(now);
        if self.armed > 0 {
            for tick in (self.now + 1..=target).take(LISTS) {
                self.pass(tick as usize % LISTS);
            }
        }
        self.now = self.now.max(target);
    }

    /// Moves a list to what is overdue.
    fn pass(&mut self, list: usize) {
        let mut slot = std::mem::replace(&mut self.heads[list], NIL);
        while slot != NIL {
            let next = self.links[slot as usize].next;
            let prev = std::mem::replace(&mut self.overdue_last, slot);
            self.links[slot as usize] = Link { next: NIL, prev, list: OVERDUE as u32 };
            match prev {
                NIL => self.heads[OVERDUE] = slot,
                prev => self.links[prev as usize].next = slot,
            }
            slot = next;
        }
    }

    /// When there may be something due, at the earliest.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        if self.armed == 0 {
            return None;
        }
        if self.heads[OVERDUE] != NIL {
            return Some(Duration::from_millis(self.now * TICK.as_millis() as u64));
        }
        let ticks = (0..LISTS as u64).find(|ahead| self.heads[(self.now + ahead) as usize % LISTS] != NIL)?;
        Some(Duration::from_millis((self.now + ticks) * TICK.as_millis() as u64))
    }
}

fn ticks_before(at: Duration) -> u64 {
    at.as_millis() as u64 / TICK.as_millis() as u64
}

fn ticks_after(at: Duration) -> u64 {
    (at.as_millis() as u64).div_ceil(TICK.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const HORIZON: Duration = Duration::from_millis(32 * (LISTS as u64 - 1));

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_slot_is_due_at_its_time_and_not_before() {
        let mut wheel = TimingWheel::new(ms(5_000));
        wheel.arm(3, ms(6_000));
        assert_eq!(wheel.next_due(), Some(ms(6_016)));
        assert_eq!(wheel.due(ms(5_999)), None);
        assert_eq!(wheel.due(ms(6_016)), Some(3));
        assert_eq!(wheel.due(ms(99_000)), None);
        assert_eq!(wheel.next_due(), None);
    }

    #[test]
    fn a_time_in_the_past_is_due_at_the_next_tick_and_one_too_far_is_cut() {
        let mut wheel = TimingWheel::new(ms(5_000));
        wheel.arm(1, ms(1));
        wheel.arm(2, ms(10_000_000));
        assert_eq!(wheel.due(ms(5_032)), Some(1));
        assert_eq!(wheel.due(ms(5_000) + HORIZON - TICK * 2), None);
        assert_eq!(wheel.due(ms(5_000) + HORIZON), Some(2));
    }

    #[test]
    fn what_is_armed_after_a_long_pause_is_not_due_at_once() {
        let mut wheel = TimingWheel::new(ms(0));
        wheel.arm(1, ms(3_200));
        let later = ms(90 * 86_400_000);
        assert_eq!(wheel.due(later), Some(1));
        wheel.arm(2, later + ms(3_200));
        assert_eq!(wheel.due(later + ms(3_199)), None);
        wheel.turn(later * 2);
        wheel.arm(3, later * 2 + ms(3_200));
        wheel.arm(4, later * 2 + ms(32));
        wheel.disarm(2);
        assert_eq!(wheel.due(later * 2), None);
        assert_eq!(wheel.due(later * 2 + ms(32)), Some(4));
        assert_eq!(wheel.due(later * 3), Some(3));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_sorted_map(steps in prop::collection::vec((0_u8..4, 0_u32..20, 1_u64..9_000), 0..300)) {
            let mut wheel = TimingWheel::new(ms(0));
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now = 0;
            for (step, slot, time) in steps {
                match step {
                    0 | 1 => {
                        wheel.arm(slot, ms(now + time));
                        model.insert(slot, (now + time).div_ceil(32) * 32);
                    }
                    2 => {
                        wheel.disarm(slot);
                        model.remove(&slot);
                    }
                    _ => {
                        now += time / 4;
                        let mut due = Vec::new();
                        while let Some(slot) = wheel.due(ms(now)) {
                            due.push(slot);
                        }
                        let times: Vec<u64> = due.iter().map(|slot| model[slot]).collect();
                        prop_assert!(times.is_sorted());
                        due.sort_unstable();
                        let reached = now / 32 * 32;
                        let expected: Vec<u32> =
                            model.iter().filter(|(_, at)| **at <= reached).map(|(slot, _)| *slot).collect();
                        prop_assert_eq!(due, expected);
                        model.retain(|_, at| *at > reached);
                        prop_assert_eq!(wheel.next_due(), model.values().min().map(|at| ms(*at)));
                    }
                }
            }
        }
    }
}
