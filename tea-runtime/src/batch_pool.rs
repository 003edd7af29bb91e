//! Batches go round: a reader fills one again as soon as nobody holds its datagrams any more.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::AtomicU64},
};

use crate::{counters::count, datagram::Batch};

/// The batches of one reader, the one handed out longest ago in front.
pub(crate) struct BatchPool {
    batches: VecDeque<Arc<Batch>>,
    batch_bytes: usize,
    batches_max: usize,
}

impl BatchPool {
    /// A pool whose batches take datagrams of up to `datagram_bytes_max`. It keeps `batches_max` batches: as many as can be
    /// on their way.
    pub(crate) fn new(datagram_bytes_max: usize, batches_max: usize) -> Self {
        Self {
            batches: VecDeque::with_capacity(batches_max),
            batch_bytes: BATCH_BYTES.max(2 * datagram_bytes_max),
            batches_max,
        }
    }

    /// An empty batch that nobody else holds, to be given back with [`put`](Self::put).
    pub(crate) fn take(&mut self, replaced: &AtomicU64) -> Arc<Batch> {
        for _ in 0..self.batches.len() {
            let Some(mut batch) = self.batches.pop_front() else { break };
            if let Some(free) = Arc::get_mut(&mut batch) {
                free.clear();
                return batch;
            }
            self.batches.push_back(batch);
        }
        if self.batches.len() >= self.batches_max {
            // The program keeps datagrams. It gets to keep the oldest batch too.
            self.batches.pop_front();
            count(replaced);
        }
        Arc::new(Batch::with_space(self.batch_bytes))
    }

    /// Takes a batch back, even while others still hold it.
    pub(crate) fn put(&mut self, batch: Arc<Batch>) {
        self.batches.push_back(batch);
    }
}

/// Space in a batch: 64 datagrams of 512 bytes, or 8 of 4 KiB.
const BATCH_BYTES: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn a_batch_that_nobody_holds_is_filled_again() {
        let (mut pool, replaced) = (BatchPool::new(512, 2), AtomicU64::new(0));
        let first = pool.take(&replaced);
        let address = Arc::as_ptr(&first);
        pool.put(first);
        assert_eq!(Arc::as_ptr(&pool.take(&replaced)), address);
    }

    #[test]
    fn held_batches_are_left_alone_and_the_pool_stays_bounded() {
        let (mut pool, replaced) = (BatchPool::new(512, 2), AtomicU64::new(0));
        let held: Vec<_> = (0..5)
            .map(|_| {
                let batch = pool.take(&replaced);
                pool.put(Arc::clone(&batch));
                batch
            })
            .collect();
        let different: std::collections::BTreeSet<_> = held.iter().map(Arc::as_ptr).collect();
        assert_eq!((different.len(), pool.batches.len()), (5, 2));
        assert_eq!(replaced.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_batch_has_space_for_a_whole_datagram_or_none() {
        let mut batch = Batch::with_space(1000);
        assert!(batch.has_space(600));
        batch.push(([127, 0, 0, 1], 9).into(), &[7; 600]);
        assert!(!batch.has_space(600));
        assert!(batch.has_space(400));
    }
}
