//! What waits for the budget of its remote: first come first served for each remote, and among
//! remotes whoever's budget allows it first.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use crate::address::IpKey;
use crate::keyed_hash::HashKey;
use crate::limiter::Refusal;

/// A bounded queue of items that wait for the budgets of remote parties. It allocates nothing once
/// it has been as long as it gets.
#[derive(Debug)]
pub struct PacedQueue<T> {
    items: Vec<Option<Item<T>>>,
    free: Vec<u32>,
    lines: HashMap<IpKey, Line, Keyed>,
    /// The head of each line, by the time at which it may go; equal times in the order in which they came.
    heads: BinaryHeap<Reverse<(Duration, u64, IpKey)>>,
    turn: u64,
    capacity: usize,
    per_party: usize,
}

#[derive(Debug)]
struct Item<T> {
    ip: IpAddr,
    value: T,
    next: u32,
}

/// What waits for one party.
#[derive(Debug)]
struct Line {
    first: u32,
    last: u32,
    len: u32,
}

impl<T> PacedQueue<T> {
    /// A queue of up to `capacity` items, `per_party` of them for one party.
    pub fn new(capacity: usize, per_party: usize, key: HashKey) -> PacedQueue<T> {
        PacedQueue {
            items: Vec::new(),
            free: Vec::new(),
            lines: HashMap::with_hasher(Keyed(key)),
            heads: BinaryHeap::new(),
            turn: 0,
            capacity: capacity.min(NONE as usize),
            per_party,
        }
    }

    /// Puts an item at the end of the line of its party. `ready_at` is when the party's budget allows it,
    /// of meaning when nothing else waits for the party. Gives the item back when the queue or the line is full.
    pub fn push(&mut self, ready_at: Duration, ip: IpAddr, value: T) -> Result<(), T> {
        let key = IpKey::of(ip);
        let waiting = self.lines.get(&key).map_or(0, |line| line.len as usize);
        if self.len() >= self.capacity || waiting >= self.per_party {
            return Err(value);
        }
        let item = Some(Item { ip, value, next: NONE });
        let slot = match self.free.pop() {
            Some(slot) => {
                self.items[slot as usize] = item;
                slot
            }
            None => {
                self.items.push(item);
                self.items.len() as u32 - 1
            }
        };
        match self.lines.get_mut(&key) {
            Some(line) => {
                if let Some(last) = &mut self.items[line.last as usize] {
                    last.next = slot;
                }
                line.last = slot;
                line.len += 1;
            }
            None => {
                self.lines.insert(key, Line { first: slot, last: slot, len: 1 });
                self.enter(ready_at, key);
            }
        }
        Ok(())
    }

    /// An item whose turn has come and for which `take` could take the budget, with the address it was
    /// pushed with. `take` is asked for one party after the other; where it refuses, the party's line waits until the
    /// time it names, or for [`RETRY_AFTER`].
    pub fn pop_ready(
        &mut self,
        now: Duration,
        mut take: impl FnMut(IpAddr) -> Result<(), Refusal>,
    ) -> Option<(IpAddr, T)> {
        while let Some(Reverse((at, _, key))) = self.heads.peek().copied()
            && at <= now
        {
            self.heads.pop();
            let Some(line) = self.lines.get_mut(&key) else { continue };
            let slot = line.first;
            let Some(head) = &self.items[slot as usize] else { continue };
            if let Err(refusal) = take(head.ip) {
                let again = match refusal {
                    Refusal::NotBefore(at) => at.max(now + STEP),
                    Refusal::TableFull => now + RETRY_AFTER,
                };
                self.enter(again, key);
                continue;
            }
            line.first = head.next;
            line.len -= 1;
            if line.len == 0 {
                self.lines.remove(&key);
            } else {
                self.enter(now, key);
            }
            let item = self.items[slot as usize].take()?;
            self.free.push(slot);
            return Some((item.ip, item.value));
        }
        None
    }

    /// When something may be ready, at the earliest.
    pub fn next_ready(&self) -> Option<Duration> {
        self.heads.peek().map(|Reverse((at, ..))| *at)
    }

    /// Items that wait for the party of an address.
    pub fn waiting_for(&self, ip: IpAddr) -> usize {
        self.lines.get(&IpKey::of(ip)).map_or(0, |line| line.len as usize)
    }

    /// Items in the queue.
    pub fn len(&self) -> usize {
        self.items.len() - self.free.len()
    }

    /// Whether no other item has room.
    pub fn is_full(&self) -> bool {
        self.len() >= self.capacity
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn enter(&mut self, at: Duration, key: IpKey) {
        self.turn += 1;
        self.heads.push(Reverse((at, self.turn, key)));
    }
}

/// Hashes parties under a key: remotes choose where our packets go.
#[derive(Debug, Clone)]
struct Keyed(HashKey);

impl BuildHasher for Keyed {
    type Hasher = KeyedHasher;

    fn build_hasher(&self) -> KeyedHasher {
        KeyedHasher { key: self.0, hash: 0 }
    }
}

struct KeyedHasher {
    key: HashKey,
    hash: u64,
}

impl Hasher for KeyedHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.hash ^= self.key.hash(bytes);
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}

/// How long a line waits when the limiter had no place for its party.
pub const RETRY_AFTER: Duration = Duration::from_millis(500);

/// A line that was refused does not come up twice in one call.
const STEP: Duration = Duration::from_millis(1);

const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::Limiter;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn queue(capacity: usize, per_party: usize) -> PacedQueue<u32> {
        PacedQueue::new(capacity, per_party, HashKey::derive(&[1; 32], "queue"))
    }

    fn ip(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn whoever_is_ready_first_goes_first_and_each_party_keeps_its_order() {
        let mut queue = queue(10, 10);
        queue.push(ms(30), ip(1), 1).unwrap();
        queue.push(ms(10), ip(2), 2).unwrap();
        queue.push(ms(20), ip(1), 3).unwrap();
        assert_eq!(queue.next_ready(), Some(ms(10)));
        assert_eq!(queue.pop_ready(ms(9), |_| Ok(())), None);
        assert_eq!(queue.pop_ready(ms(30), |_| Ok(())), Some((ip(2), 2)));
        assert_eq!(queue.pop_ready(ms(30), |_| Ok(())), Some((ip(1), 1)));
        assert_eq!(queue.pop_ready(ms(30), |_| Ok(())), Some((ip(1), 3)));
        assert!(queue.is_empty());
        assert_eq!(queue.next_ready(), None);
    }

    #[test]
    fn a_full_queue_and_a_full_line_give_the_item_back() {
        let mut queue = queue(3, 2);
        assert_eq!(queue.push(ms(0), ip(1), 1), Ok(()));
        assert_eq!(queue.push(ms(0), ip(1), 2), Ok(()));
        assert_eq!(queue.push(ms(0), ip(1), 3), Err(3));
        assert_eq!(queue.push(ms(0), ip(2), 4), Ok(()));
        assert_eq!(queue.push(ms(0), ip(3), 5), Err(5));
        assert_eq!((queue.len(), queue.waiting_for(ip(1))), (3, 2));
    }

    #[test]
    fn a_party_that_is_refused_does_not_hold_up_the_others() {
        let mut queue = queue(10, 10);
        queue.push(ms(0), ip(1), 1).unwrap();
        queue.push(ms(0), ip(2), 2).unwrap();
        let only_two = |party| if party == ip(2) { Ok(()) } else { Err(Refusal::NotBefore(ms(100))) };
        assert_eq!(queue.pop_ready(ms(5), only_two), Some((ip(2), 2)));
        assert_eq!(queue.pop_ready(ms(5), only_two), None);
        assert_eq!(queue.next_ready(), Some(ms(100)));
        assert_eq!(queue.pop_ready(ms(100), |_| Err(Refusal::TableFull)), None);
        assert_eq!(queue.next_ready(), Some(ms(100) + RETRY_AFTER));
    }

    proptest! {
        #[test]
        fn everything_pushed_comes_out_once_in_the_order_of_its_party(
            pushes in prop::collection::vec((0_u8..5, 0_u64..2_000), 0..60),
        ) {
            let mut queue = queue(100, 100);
            let mut limiter = Limiter::new(100, HashKey::derive(&[1; 32], "limiter"));
            let mut now = ms(0);
            let mut expected: BTreeMap<IpAddr, Vec<u32>> = BTreeMap::new();
            let mut got: BTreeMap<IpAddr, Vec<u32>> = BTreeMap::new();
            for (n, (party, pause)) in (0_u32..).zip(pushes) {
                queue.push(limiter.next_query(now, ip(party)), ip(party), n).unwrap();
                expected.entry(ip(party)).or_default().push(n);
                now += ms(pause);
                while let Some((ip, n)) = queue.pop_ready(now, |ip| limiter.query(now, ip)) {
                    got.entry(ip).or_default().push(n);
                }
            }
            // Never more than one packet a second: everything has gone after a second for each item.
            for _ in 0..62 {
                now += ms(1_000);
                while let Some((ip, n)) = queue.pop_ready(now, |ip| limiter.query(now, ip)) {
                    got.entry(ip).or_default().push(n);
                }
            }
            prop_assert!(queue.is_empty());
            prop_assert_eq!(got, expected);
        }
    }
}
