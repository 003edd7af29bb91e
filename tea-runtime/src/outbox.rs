//! Datagrams that wait because their socket takes none at the moment.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    ops::Range,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

/// A bounded queue from the loop to the writer task of a port. Its two buffers change places, so it does not
/// allocate once warm.
#[derive(Debug)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    /// Datagrams not yet given to the kernel, whether in `waiting` or with the writer.
    depth: AtomicUsize,
    /// Their bytes.
    bytes: AtomicUsize,
    depth_max: usize,
    bytes_max: usize,
    filled: Notify,
}

/// Datagrams one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    arena: Vec<u8>,
    datagrams: VecDeque<(SocketAddr, Range<usize>)>,
}

impl Outbox {
    pub(crate) fn new(depth_max: usize, bytes_max: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            depth: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            depth_max,
            bytes_max,
            filled: Notify::new(),
        }
    }

    /// Queues a datagram behind the others; `false`: there are too many, it is dropped.
    pub(crate) fn push(&self, to: SocketAddr, payload: &[u8]) -> bool {
        let full = self.depth() >= self.depth_max
            || self.bytes.load(Ordering::Relaxed) + payload.len() > self.bytes_max;
        if full {
            return false;
        }
        self.lock().push(to, payload);
        self.depth.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(payload.len(), Ordering::Relaxed);
        self.filled.notify_one();
        true
    }

    /// Waits until there is something and takes all of it into `taken`, which must be empty.
    pub(crate) async fn take(&self, taken: &mut Waiting) {
        loop {
            std::mem::swap(&mut *self.lock(), taken);
            if !taken.datagrams.is_empty() {
                return;
            }
            self.filled.notified().await;
        }
    }

    /// A datagram that was taken is with the kernel now, or given up.
    pub(crate) fn done(&self, len: usize) {
        self.depth.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(len, Ordering::Relaxed);
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn push(&mut self, to: SocketAddr, payload: &[u8]) {
        let start = self.arena.len();
        self.arena.extend_from_slice(payload);
        self.datagrams.push_back((to, start..self.arena.len()));
    }

    /// The next datagram; when there is none the buffer is ready to be filled again.
    pub(crate) fn pop(&mut self) -> Option<(SocketAddr, &[u8])> {
        let Some((to, range)) = self.datagrams.pop_front() else {
            self.arena.clear();
            return None;
        };
        Some((to, &self.arena[range]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[tokio::test]
    async fn datagrams_leave_in_the_order_in_which_they_came() {
        let (outbox, mut taken) = (Outbox::new(8, 100), Waiting::default());
        for port in 1..=3 {
            assert!(outbox.push(to(port), &[port as u8; 2]));
        }
        outbox.take(&mut taken).await;
        let mut left = Vec::new();
        while let Some((to, payload)) = taken.pop() {
            left.push((to.port(), payload.to_vec()));
        }
        assert_eq!(left, [(1, vec![1, 1]), (2, vec![2, 2]), (3, vec![3, 3])]);
    }

    #[tokio::test]
    async fn the_newest_is_dropped_when_too_many_or_too_large() {
        let (outbox, mut taken) = (Outbox::new(2, 100), Waiting::default());
        assert!(!outbox.push(to(1), &[0; 101]));
        assert!(outbox.push(to(1), &[0; 60]));
        assert!(!outbox.push(to(2), &[0; 41]));
        assert!(outbox.push(to(3), &[0; 40]));
        assert!(!outbox.push(to(4), &[]));
        // Taken is not sent: the bound holds until the kernel has them.
        outbox.take(&mut taken).await;
        assert!(!outbox.push(to(5), &[]));
        outbox.done(60);
        assert!(outbox.push(to(6), &[1]));
        assert_eq!(outbox.depth(), 2);
    }
}
