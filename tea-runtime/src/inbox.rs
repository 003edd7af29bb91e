//! Where the kernel lays down what one system call receives.

use std::net::SocketAddr;

use crate::datagram::Batch;

/// A slot as long as the longest datagram for each that one call may bring. From there datagrams are packed into batches, so
/// that a batch of usual ones is an eighth as large. A port has one; of its memory, only what datagrams ever touched is real.
pub(crate) struct Inbox {
    space: Vec<u8>,
    slot_bytes: usize,
    datagram_bytes_max: usize,
    /// Lengths and senders of those in the first slots.
    arrived: Vec<(usize, SocketAddr)>,
    /// How many of them were packed already.
    packed: usize,
    /// How many to ask for in the next call.
    expected: usize,
}

impl Inbox {
    pub(crate) fn new(datagram_bytes_max: usize) -> Self {
        // An odd number of cache lines: at a distance of a power of two all slots would compete for the same few places of
        // the cache.
        let lines = datagram_bytes_max.div_ceil(CACHE_LINE_BYTES) | 1;
        let slot_bytes = lines * CACHE_LINE_BYTES;
        Self {
            space: vec![0; slot_bytes * Batch::DATAGRAMS_MAX],
            slot_bytes,
            datagram_bytes_max,
            arrived: Vec::with_capacity(Batch::DATAGRAMS_MAX),
            packed: 0,
            expected: EXPECTED_MIN,
        }
    }

    /// Whether everything that arrived was packed.
    pub(crate) fn is_empty(&self) -> bool {
        self.packed == self.arrived.len()
    }

    /// How many datagrams to ask for, if no more than `count_max` are wanted: each slot that is offered costs something, so not
    /// many more than came the last time.
    pub(crate) fn expected(&self, count_max: usize) -> usize {
        self.expected.min(count_max)
    }

    /// `received` came where `asked` were asked for.
    pub(crate) fn learn(&mut self, asked: usize, received: usize) {
        if received < asked {
            self.expected = (2 * received).clamp(EXPECTED_MIN, Batch::DATAGRAMS_MAX);
        } else if asked == self.expected {
            self.expected = (2 * asked).min(Batch::DATAGRAMS_MAX);
        }
    }

    /// The slots to receive into, and the list to note each datagram in. What was there is gone.
    pub(crate) fn slots(&mut self) -> (impl Iterator<Item = &mut [u8]>, &mut Vec<(usize, SocketAddr)>) {
        self.arrived.clear();
        self.packed = 0;
        let bytes_max = self.datagram_bytes_max;
        let slots = self.space.chunks_exact_mut(self.slot_bytes).map(move |slot| &mut slot[..bytes_max]);
        (slots, &mut self.arrived)
    }

    /// Packs into `batch` what it has space for.
    pub(crate) fn pack(&mut self, batch: &mut Batch) {
        let slots = self.space.chunks_exact(self.slot_bytes).zip(&self.arrived);
        for (slot, (len, from)) in slots.skip(self.packed) {
            if !batch.has_space(*len) {
                break;
            }
            batch.push(*from, &slot[..*len]);
            self.packed += 1;
        }
    }
}

/// Slots offered when little is expected. 8: some 20 ns.
const EXPECTED_MIN: usize = 8;

const CACHE_LINE_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn arrive(inbox: &mut Inbox, lens: &[usize]) {
        let (slots, arrived) = inbox.slots();
        for (number, (slot, len)) in (1..).zip(slots.zip(lens)) {
            slot[..*len].fill(number);
            arrived.push((*len, ([127, 0, 0, number], 1).into()));
        }
    }

    #[test]
    fn what_finds_no_space_in_one_batch_is_packed_into_the_next() {
        let (mut inbox, mut batch) = (Inbox::new(100), Batch::with_space(200));
        arrive(&mut inbox, &[100, 0, 99, 2, 100]);
        inbox.pack(&mut batch);
        assert_eq!((batch.len(), batch.bytes_used(), inbox.is_empty()), (3, 199, false));
        batch.clear();
        inbox.pack(&mut batch);
        assert_eq!((batch.len(), batch.bytes_used(), inbox.is_empty()), (2, 102, true));
    }

    #[test]
    fn slots_are_as_long_as_the_longest_datagram_and_there_is_one_for_each_of_a_batch() {
        for bytes_max in [1, 63, 64, 65, 4096] {
            let mut inbox = Inbox::new(bytes_max);
            let (slots, _) = inbox.slots();
            let lens: Vec<_> = slots.map(|slot| slot.len()).collect();
            assert_eq!(lens, vec![bytes_max; Batch::DATAGRAMS_MAX]);
        }
    }

    #[test]
    fn more_is_asked_for_while_all_that_was_asked_for_comes() {
        let mut inbox = Inbox::new(100);
        let mut asked = Vec::new();
        for came in [8, 16, 32, 64, 64, 10, 1] {
            asked.push(inbox.expected(64));
            inbox.learn(inbox.expected(64), came);
        }
        assert_eq!(asked, [8, 16, 32, 64, 64, 64, 20]);
        assert_eq!((inbox.expected(64), inbox.expected(3)), (8, 3));
    }
}
