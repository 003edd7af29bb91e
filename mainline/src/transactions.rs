//! Queries without an answer yet.
//!
//! A transaction id is a slab index and a generation in 4 bytes, enciphered: whoever has seen
//! some of them cannot tell the next. An answer belongs to a query when it carries its id, comes from
//! the very endpoint that was asked, and comes in at the port that asked (BEP 5). Time-outs cost O(due).
//!
//! A query is given up at its time-out, which adapts to the network and may be short; but its place
//! is kept for [`LATE_FOR`], so that a late answer is still known for what it is: its sender lives, and the time-out
//! was too short.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::PortIndex;
use crate::keyed_hash::HashKey;
use crate::timing_wheel::TimingWheel;

/// The 4 bytes of `t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransactionId([u8; 4]);

impl TransactionId {
    /// As they stand in the message.
    pub const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }
}

/// As many queries as may be are without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("as many queries are without an answer as may be")]
pub struct TransactionsFull;

/// An answer that belongs to a query of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered<P> {
    /// What was put down with the query.
    pub payload: P,
    /// Time from query to answer.
    pub rtt: Duration,
    /// The query had been given up: [`Transactions::timed_out`] has returned its payload before.
    pub late: bool,
}

/// A query given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedOut<P> {
    /// What was put down with the query.
    pub payload: P,
    /// Whom we had asked.
    pub to: SocketAddr,
}

/// What happened to answers, counted from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransactionCounters {
    /// In time.
    pub answered: u64,
    /// After the time-out, within [`LATE_FOR`].
    pub late: u64,
    /// Given up.
    pub timed_out: u64,
    /// With an id that is not in use.
    pub unknown: u64,
    /// With an id in use, but from another endpoint or at another port than was asked.
    pub misdirected: u64,
    /// Queries not begun because as many as may be were without an answer.
    pub refused: u64,
}

/// The queries in flight; `P` is what the engine wants to know when an answer comes.
#[derive(Debug)]
pub struct Transactions<P> {
    slots: Vec<Slot<P>>,
    /// Free slots in a queue: a generation comes round as late as possible.
    free: std::collections::VecDeque<u32>,
    wheel: TimingWheel,
    cipher: Cipher,
    capacity: usize,
    waiting: usize,
    counters: TransactionCounters,
}

#[derive(Debug)]
struct Slot<P> {
    to: SocketAddr,
    port: PortIndex,
    generation: u16,
    state: State,
    sent: Duration,
    payload: P,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    Waiting,
    /// Given up, and kept for a late answer.
    Late,
}

impl<P: Copy> Transactions<P> {
    /// Room for `capacity` queries (at most [`CAPACITY_MAX`]), those kept for late answers included.
    pub fn new(capacity: usize, key: HashKey, now: Duration) -> Transactions<P> {
        Transactions {
            slots: Vec::new(),
            free: std::collections::VecDeque::new(),
            wheel: TimingWheel::new(now),
            cipher: Cipher(key),
            capacity: capacity.min(CAPACITY_MAX),
            waiting: 0,
            counters: TransactionCounters::default(),
        }
    }

    /// Begins a query: the id to send it with. `timeout` is held between nothing and [`LATE_FOR`].
    pub fn begin(
        &mut self,
        now: Duration,
        port: PortIndex,
        to: SocketAddr,
        timeout: Duration,
        payload: P,
    ) -> Result<TransactionId, TransactionsFull> {
        let index = match self.free.pop_front() {
            Some(index) => index,
            None if self.slots.len() < self.capacity => {
                self.slots.push(Slot { to, port, generation: 0, state: State::Free, sent: now, payload });
                self.slots.len() as u32 - 1
            }
            None => {
                self.counters.refused += 1;
                return Err(TransactionsFull);
            }
        };
        let slot = &mut self.slots[index as usize];
        let generation = slot.generation.wrapping_add(1) & GENERATION_MASK;
        *slot = Slot { to, port, generation, state: State::Waiting, sent: now, payload };
        self.wheel.turn(now);
        self.wheel.arm(index, now + timeout.min(LATE_FOR));
        self.waiting += 1;
        Ok(self.cipher.seal(u32::from(generation) << INDEX_BITS | index))
    }

    /// An answer has come in: the query that it belongs to, which is thereby ended.
    pub fn answered(
        &mut self,
        now: Duration,
        port: PortIndex,
        from: SocketAddr,
        tid: &[u8],
    ) -> Option<Answered<P>> {
        let Some((index, slot)) = self.lookup(tid) else {
            self.counters.unknown += 1;
            return None;
        };
        if slot.to != from || slot.port != port {
            self.counters.misdirected += 1;
            return None;
        }
        let late = slot.state == State::Late;
        let answered = Answered { payload: slot.payload, rtt: now.saturating_sub(slot.sent), late };
        if late {
            self.counters.late += 1;
        } else {
            self.counters.answered += 1;
        }
        self.end(index);
        Some(answered)
    }

    /// Ends a query whose answer is of no interest any more; `false` when it is not in flight.
    pub fn cancel(&mut self, id: TransactionId) -> bool {
        let found = self.lookup(id.as_bytes()).map(|(index, _)| index);
        found.is_some_and(|index| {
            self.end(index);
            true
        })
    }

    /// A query whose time is up. To be called until there is none.
    pub fn timed_out(&mut self, now: Duration) -> Option<TimedOut<P>> {
        while let Some(index) = self.wheel.due(now) {
            let slot = &mut self.slots[index as usize];
            if slot.state == State::Waiting {
                slot.state = State::Late;
                let timed_out = TimedOut { payload: slot.payload, to: slot.to };
                self.waiting -= 1;
                self.counters.timed_out += 1;
                self.wheel.arm(index, slot.sent + LATE_FOR);
                return Some(timed_out);
            }
            self.end(index);
        }
        None
    }

    /// When [`Transactions::timed_out`] may have something, at the earliest.
    pub fn next_due(&self) -> Option<Duration> {
        self.wheel.next_due()
    }

    /// Queries that wait for an answer.
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Whether another query can begin.
    pub fn has_room(&self) -> bool {
        !self.free.is_empty() || self.slots.len() < self.capacity
    }

    /// What happened so far.
    pub fn counters(&self) -> TransactionCounters {
        self.counters
    }

    fn lookup(&self, tid: &[u8]) -> Option<(u32, &Slot<P>)> {
        let plain = self.cipher.open(tid.try_into().ok()?);
        let index = plain & ((1 << INDEX_BITS) - 1);
        let slot = self.slots.get(index as usize)?;
        (slot.state != State::Free && u32::from(slot.generation) == plain >> INDEX_BITS)
            .then_some((index, slot))
    }

    fn end(&mut self, index: u32) {
        self.wheel.disarm(index);
        let slot = &mut self.slots[index as usize];
        if slot.state == State::Waiting {
            self.waiting -= 1;
        }
        slot.state = State::Free;
        self.free.push_back(index);
    }
}

/// A keyed permutation of 32 bits: four Feistel rounds of SipHash.
#[derive(Debug)]
struct Cipher(HashKey);

impl Cipher {
    fn seal(&self, plain: u32) -> TransactionId {
        let (mut left, mut right) = ((plain >> 16) as u16, plain as u16);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ self.round(round, right));
        }
        TransactionId((u32::from(left) << 16 | u32::from(right)).to_be_bytes())
    }

    fn open(&self, sealed: [u8; 4]) -> u32 {
        let sealed = u32::from_be_bytes(sealed);
        let (mut left, mut right) = ((sealed >> 16) as u16, sealed as u16);
        for round in (0..ROUNDS).rev() {
            (left, right) = (right ^ self.round(round, left), left);
        }
        u32::from(left) << 16 | u32::from(right)
    }

    fn round(&self, round: u8, half: u16) -> u16 {
        let [high, low] = half.to_be_bytes();
        self.0.hash(&[round, high, low]) as u16
    }
}

/// An answer later than this is not waited for, at most ten seconds as everywhere in the DHT.
pub const LATE_FOR: Duration = Duration::from_secs(10);

/// What a slab index of 18 bits can name.
pub const CAPACITY_MAX: usize = 1 << INDEX_BITS;

/// 262,144 queries in flight: 26,000 a second at the longest time-out.
const INDEX_BITS: u32 = 18;

const GENERATION_MASK: u16 = (1 << (32 - INDEX_BITS)) - 1;

const ROUNDS: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    const PORT: PortIndex = PortIndex(0);
    const TIMEOUT: Duration = Duration::from_secs(2);

    fn transactions(capacity: usize) -> Transactions<u32> {
        Transactions::new(capacity, HashKey::derive(&[1; 32], "tid"), Duration::ZERO)
    }

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn an_answer_ends_its_query_once() {
        let mut transactions = transactions(10);
        let tid = transactions.begin(secs(1), PORT, addr(1), TIMEOUT, 7).unwrap();
        assert_eq!(transactions.len(), 1);
        let answered = transactions.answered(secs(2), PORT, addr(1), tid.as_bytes());
        assert_eq!(answered, Some(Answered { payload: 7, rtt: secs(1), late: false }));
        assert_eq!(transactions.answered(secs(2), PORT, addr(1), tid.as_bytes()), None);
        assert!(transactions.is_empty());
        let counters = transactions.counters();
        assert_eq!((counters.answered, counters.unknown), (1, 1));
    }

    #[test]
    fn a_reply_from_another_endpoint_or_at_another_port_is_not_a_reply() {
        let mut transactions = transactions(10);
        let tid = transactions.begin(secs(1), PORT, addr(1), TIMEOUT, 7).unwrap();
        assert_eq!(transactions.answered(secs(1), PORT, addr(2), tid.as_bytes()), None);
        let other_ip = SocketAddr::from(([192, 0, 2, 2], 1));
        assert_eq!(transactions.answered(secs(1), PORT, other_ip, tid.as_bytes()), None);
        assert_eq!(transactions.answered(secs(1), PortIndex(1), addr(1), tid.as_bytes()), None);
        assert_eq!(transactions.counters().misdirected, 3);
        assert!(transactions.answered(secs(1), PORT, addr(1), tid.as_bytes()).is_some());
    }

    #[test]
    fn only_four_bytes_are_an_id_of_ours() {
        let mut transactions = transactions(10);
        let tid = *transactions.begin(secs(1), PORT, addr(1), TIMEOUT, 7).unwrap().as_bytes();
        let long = [&tid[..], b"x"].concat();
        for wrong in [&b""[..], &tid[..3], &long] {
            assert_eq!(transactions.answered(secs(1), PORT, addr(1), wrong), None);
        }
        assert_eq!(transactions.counters().unknown, 3);
    }

    #[test]
    fn a_query_is_given_up_at_its_time_and_a_late_answer_is_known() {
        let mut transactions = transactions(10);
        let tid = transactions.begin(secs(1), PORT, addr(1), TIMEOUT, 7).unwrap();
        assert_eq!(transactions.timed_out(Duration::from_millis(2_999)), None);
        let late = Duration::from_millis(3_040);
        assert_eq!(transactions.timed_out(late), Some(TimedOut { payload: 7, to: addr(1) }));
        assert_eq!(transactions.timed_out(late), None);
        assert!(transactions.is_empty());
        let answered = transactions.answered(secs(5), PORT, addr(1), tid.as_bytes());
        assert_eq!(answered, Some(Answered { payload: 7, rtt: secs(4), late: true }));
    }

    #[test]
    fn after_ten_seconds_an_answer_is_unknown() {
        let mut transactions = transactions(1);
        let tid = transactions.begin(secs(1), PORT, addr(1), TIMEOUT, 7).unwrap();
        assert!(transactions.timed_out(secs(4)).is_some());
        assert!(!transactions.has_room());
        assert_eq!(transactions.timed_out(secs(12)), None);
        assert!(transactions.has_room());
        assert_eq!(transactions.answered(secs(12), PORT, addr(1), tid.as_bytes()), None);
    }

    #[test]
    fn there_are_no_more_queries_than_may_be() {
        let mut transactions = transactions(2);
        let first = transactions.begin(secs(1), PORT, addr(1), TIMEOUT, 1).unwrap();
        transactions.begin(secs(1), PORT, addr(1), TIMEOUT, 2).unwrap();
        assert_eq!(transactions.begin(secs(1), PORT, addr(1), TIMEOUT, 3), Err(TransactionsFull));
        assert_eq!(transactions.counters().refused, 1);
        assert!(transactions.cancel(first) && !transactions.cancel(first));
        assert!(transactions.begin(secs(1), PORT, addr(1), TIMEOUT, 3).is_ok());
    }

    #[test]
    fn an_id_does_not_come_back_with_its_slot() {
        let mut transactions = transactions(1);
        let mut seen = Vec::new();
        for n in 0..100 {
            let tid = transactions.begin(secs(1), PORT, addr(1), TIMEOUT, n).unwrap();
            assert!(!seen.contains(&tid));
            assert!(transactions.answered(secs(1), PORT, addr(1), tid.as_bytes()).is_some());
            seen.push(tid);
        }
        // Neighbours have nothing in common: on average half of the bits differ.
        let bits: u32 = seen
            .windows(2)
            .map(|pair| (u32::from_be_bytes(pair[0].0) ^ u32::from_be_bytes(pair[1].0)).count_ones())
            .sum();
        assert!((99 * 12..99 * 20).contains(&bits), "{bits}");
    }

    #[test]
    fn a_query_after_a_long_pause_has_its_time() {
        let mut transactions = Transactions::new(10, HashKey::derive(&[1; 32], "pause"), Duration::ZERO);
        let to = SocketAddr::from(([192, 0, 2, 1], 6_881));
        transactions.begin(Duration::ZERO, PORT, to, TIMEOUT, 1).unwrap();
        let later = Duration::from_secs(90 * 86_400);
        let tid = transactions.begin(later, PORT, to, TIMEOUT, 2).unwrap();
        assert_eq!(transactions.timed_out(later).map(|timed_out| timed_out.payload), Some(1));
        assert_eq!(transactions.timed_out(later), None);
        let answered = transactions.answered(later + TIMEOUT / 2, PORT, to, tid.as_bytes()).unwrap();
        assert_eq!((answered.payload, answered.late), (2, false));
    }

    proptest! {
        #[test]
        fn what_is_sealed_can_be_opened(plain in any::<u32>()) {
            let cipher = Cipher(HashKey::derive(&[3; 32], ""));
            prop_assert_eq!(cipher.open(cipher.seal(plain).0), plain);
        }

        #[test]
        fn every_query_ends_exactly_once(
            steps in prop::collection::vec((0_u8..4, 0_usize..30, 1_u64..4_000), 0..300),
        ) {
            let mut transactions = transactions(20);
            let mut now = Duration::ZERO;
            // By payload: id, deadline, sent.
            let mut waiting: HashMap<u32, (TransactionId, Duration)> = HashMap::new();
            let mut late: HashMap<u32, (TransactionId, Duration)> = HashMap::new();
            for (n, (step, pick, time)) in (0_u32..).zip(steps) {
                match step {
                    0 | 1 => {
                        let room = transactions.has_room();
                        let begun = transactions.begin(now, PORT, addr(1), Duration::from_millis(time), n);
                        prop_assert_eq!(begun.is_ok(), room);
                        if let Ok(tid) = begun {
                            waiting.insert(n, (tid, now));
                        }
                    }
                    2 => {
                        let of = if pick % 2 == 0 { &mut waiting } else { &mut late };
                        let mut payloads: Vec<u32> = of.keys().copied().collect();
                        payloads.sort_unstable();
                        if let Some(payload) = payloads.get(pick % payloads.len().max(1)).copied() {
                            let (tid, sent) = of.remove(&payload).unwrap();
                            let answered = transactions.answered(now, PORT, addr(1), tid.as_bytes());
                            let expected = Answered { payload, rtt: now - sent, late: pick % 2 != 0 };
                            prop_assert_eq!(answered, Some(expected));
                        }
                    }
                    _ => {
                        now += Duration::from_millis(time);
                        while let Some(timed_out) = transactions.timed_out(now) {
                            let entry = waiting.remove(&timed_out.payload);
                            prop_assert!(entry.is_some());
                            late.insert(timed_out.payload, entry.unwrap());
                        }
                        let kept = |sent: Duration| now < sent + LATE_FOR + Duration::from_millis(32);
                        late.retain(|_, (_, sent)| kept(*sent) && now < *sent + LATE_FOR);
                    }
                }
                prop_assert_eq!(transactions.len(), waiting.len());
            }
        }
    }
}
