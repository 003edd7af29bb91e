//! Where the kernel lays down what one system call receives.

use std::{cell::RefCell, net::SocketAddr};

use crate::datagram::Batch;

/// A slot as long as the longest datagram for each that one call may bring. From there datagrams are packed into batches:
/// a batch of usual ones is an eighth as large. One a thread, since it is empty between two calls: it stays in the cache, and
/// a thousand ports need no more memory than one.
#[derive(Default)]
pub(crate) struct Inbox {
    space: Vec<u8>,
    slot_bytes: usize,
    datagram_bytes_max: usize,
    /// Lengths and senders of the datagrams in the first slots.
    arrived: Vec<(usize, SocketAddr)>,
}

thread_local! {
    static INBOX: RefCell<Inbox> = RefCell::default();
}

impl Inbox {
    /// Lends the inbox of this thread, with slots for datagrams of so many bytes.
    pub(crate) fn with<T>(datagram_bytes_max: usize, receive: impl FnOnce(&mut Self) -> T) -> T {
        INBOX.with_borrow_mut(|inbox| {
            inbox.resize(datagram_bytes_max);
            receive(inbox)
        })
    }

    fn resize(&mut self, datagram_bytes_max: usize) {
        self.datagram_bytes_max = datagram_bytes_max;
        if self.slot_bytes < datagram_bytes_max {
            // An odd number of cache lines: at a distance of a power of two all slots would compete for the same few places
            // of the cache.
            let lines = datagram_bytes_max.div_ceil(CACHE_LINE_BYTES) | 1;
            self.slot_bytes = lines * CACHE_LINE_BYTES;
            self.space = vec![0; self.slot_bytes * Batch::DATAGRAMS_MAX];
        }
    }

    /// The slots to receive into, and the list to note each datagram in. What was there is gone.
    pub(crate) fn slots(&mut self) -> (impl Iterator<Item = &mut [u8]>, &mut Vec<(usize, SocketAddr)>) {
        self.arrived.clear();
        let bytes_max = self.datagram_bytes_max;
        let slots =
            self.space.chunks_exact_mut(self.slot_bytes.max(1)).map(move |slot| &mut slot[..bytes_max]);
        (slots, &mut self.arrived)
    }

    /// What came.
    pub(crate) fn arrived(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        let slots = self.space.chunks_exact(self.slot_bytes.max(1));
        slots.zip(&self.arrived).map(|(slot, (len, from))| (*from, &slot[..*len]))
    }
}

/// How many datagrams a port asks for in one call: each slot that is offered costs something, so not many more than came the
/// last time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expectation(usize);

impl Default for Expectation {
    fn default() -> Self {
        Self(Self::MIN)
    }
}

impl Expectation {
    /// 8: some 20 ns.
    const MIN: usize = 8;

    /// How many to ask for if no more than `count_max` are wanted.
    pub(crate) fn ask(self, count_max: usize) -> usize {
        self.0.min(count_max)
    }

    /// `received` came where `asked` were asked for.
    pub(crate) fn learn(&mut self, asked: usize, received: usize) {
        if received < asked {
            self.0 = (2 * received).clamp(Self::MIN, Batch::DATAGRAMS_MAX);
        } else if asked == self.0 {
            self.0 = (2 * asked).min(Batch::DATAGRAMS_MAX);
        }
    }
}

const CACHE_LINE_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_as_long_as_the_longest_datagram_and_there_is_one_for_each_of_a_batch() {
        for bytes_max in [1, 63, 64, 65, 4096, 65, 1] {
            Inbox::with(bytes_max, |inbox| {
                let lens: Vec<_> = inbox.slots().0.map(|slot| slot.len()).collect();
                assert_eq!(lens, vec![bytes_max; Batch::DATAGRAMS_MAX]);
            });
        }
    }

    #[test]
    fn what_was_noted_is_what_came() {
        let from = |number| SocketAddr::from(([127, 0, 0, number], 1));
        Inbox::with(100, |inbox| {
            let (slots, arrived) = inbox.slots();
            for (number, slot) in (1..4).zip(slots) {
                slot.fill(number);
                arrived.push((usize::from(number) - 1, from(number)));
            }
            let came: Vec<_> = inbox.arrived().collect();
            assert_eq!(came, [(from(1), &[][..]), (from(2), &[2]), (from(3), &[3, 3])]);
            assert!(inbox.slots().1.is_empty());
        });
    }

    #[test]
    fn more_is_asked_for_while_all_that_was_asked_for_comes() {
        let (mut expectation, mut asked) = (Expectation::default(), Vec::new());
        for came in [8, 16, 32, 64, 64, 10, 1] {
            asked.push(expectation.ask(64));
            expectation.learn(expectation.ask(64), came);
        }
        assert_eq!(asked, [8, 16, 32, 64, 64, 64, 20]);
        assert_eq!((expectation.ask(64), expectation.ask(3)), (8, 3));
    }
}
