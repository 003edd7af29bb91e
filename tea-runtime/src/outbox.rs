//! Datagrams that wait until their port's writer can send them.

use std::{
    net::SocketAddr,
    ops::Range,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

/// A datagram to send; its bytes lie in an arena beside it.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Range<u32>,
}

impl Outgoing {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn payload<'a>(&self, arena: &'a [u8]) -> &'a [u8] {
        &arena[self.bytes.start as usize..self.bytes.end as usize]
    }
}

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
    closed: AtomicBool,
    /// Something was put in, or nothing will be any more.
    changed: Notify,
}

/// Datagrams one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) arena: Vec<u8>,
    pub(crate) datagrams: Vec<Outgoing>,
}

impl Outbox {
    pub(crate) fn new(depth_max: usize, bytes_max: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            depth: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            depth_max,
            // Ranges of 32 bits tell where the bytes lie.
            bytes_max: bytes_max.min(u32::MAX as usize),
            closed: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    /// Queues datagrams, whose bytes lie in `arena`, behind the others, and returns how many there was no room for: those
    /// are dropped. One lock and one wake-up for all of them.
    pub(crate) fn push(&self, arena: &[u8], datagrams: &[Outgoing]) -> u64 {
        let (mut depth, mut bytes, mut dropped) = (0, 0, 0);
        let mut waiting = self.lock();
        let (depth_before, bytes_before) = (self.depth(), self.bytes.load(Ordering::Relaxed));
        for datagram in datagrams {
            let full = depth_before + depth >= self.depth_max
                || bytes_before + bytes + datagram.len() > self.bytes_max;
            if full {
                dropped += 1;
                continue;
            }
            waiting.push(datagram.to, datagram.payload(arena));
            depth += 1;
            bytes += datagram.len();
        }
        self.depth.fetch_add(depth, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        drop(waiting);
        if depth > 0 {
            self.changed.notify_one();
        }
        dropped
    }

    /// Waits until there is something and takes all of it into `taken`, which must be empty. `false`: there is nothing, and
    /// nothing will come.
    pub(crate) async fn take(&self, taken: &mut Waiting) -> bool {
        loop {
            // Looked at first: what was put in before closing is still taken.
            let closed = self.closed.load(Ordering::Acquire);
            std::mem::swap(&mut *self.lock(), taken);
            if !taken.datagrams.is_empty() || closed {
                return !taken.datagrams.is_empty();
            }
            self.changed.notified().await;
        }
    }

    /// Nothing more will be put in.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// Datagrams that were taken are with the kernel now, or given up.
    pub(crate) fn done(&self, datagrams: &[Outgoing]) {
        self.depth.fetch_sub(datagrams.len(), Ordering::Relaxed);
        self.bytes.fetch_sub(datagrams.iter().map(Outgoing::len).sum(), Ordering::Relaxed);
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
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(payload);
        self.datagrams.push(Outgoing { to, bytes: start..self.arena.len() as u32 });
    }

    /// Ready to be filled again.
    pub(crate) fn clear(&mut self) {
        self.arena.clear();
        self.datagrams.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    /// Datagrams to the ports 1, 2, ... of as many bytes; in each byte the port.
    fn datagrams(lens: &[usize]) -> Waiting {
        let mut datagrams = Waiting::default();
        for (port, len) in (1..).zip(lens) {
            datagrams.push(to(port), &vec![port as u8; *len]);
        }
        datagrams
    }

    fn push(outbox: &Outbox, lens: &[usize]) -> u64 {
        let Waiting { arena, datagrams } = datagrams(lens);
        outbox.push(&arena, &datagrams)
    }

    #[tokio::test]
    async fn datagrams_leave_in_the_order_in_which_they_came() {
        let (outbox, mut taken) = (Outbox::new(8, 100), Waiting::default());
        assert_eq!((push(&outbox, &[2, 1]), push(&outbox, &[0, 3])), (0, 0));
        assert!(outbox.take(&mut taken).await);
        let left: Vec<_> =
            taken.datagrams.iter().map(|one| (one.to.port(), one.payload(&taken.arena))).collect();
        assert_eq!(left, [(1, &[1, 1][..]), (2, &[2]), (1, &[]), (2, &[2, 2, 2])]);
    }

    #[tokio::test]
    async fn the_newest_are_dropped_when_too_many_or_too_large() {
        let (outbox, mut taken) = (Outbox::new(2, 100), Waiting::default());
        assert_eq!(push(&outbox, &[101, 60, 41, 40, 0]), 3);
        // Taken is not sent: the bound holds until the kernel has them.
        assert!(outbox.take(&mut taken).await);
        assert_eq!(taken.datagrams.iter().map(|one| one.to.port()).collect::<Vec<_>>(), [2, 4]);
        assert_eq!(push(&outbox, &[0]), 1);
        outbox.done(&taken.datagrams[..1]);
        assert_eq!((push(&outbox, &[1]), outbox.depth()), (0, 2));
    }

    #[tokio::test]
    async fn what_was_put_in_before_closing_is_still_taken() {
        let (outbox, mut taken) = (Outbox::new(2, 100), Waiting::default());
        push(&outbox, &[1]);
        outbox.close();
        assert!(outbox.take(&mut taken).await);
        taken.clear();
        assert!(!outbox.take(&mut taken).await);
    }
}
