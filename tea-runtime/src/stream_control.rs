//! What the loop and the task of one stream share: bytes to send, the order to end, and the stream's place among those
//! that there may be.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::Notify;

use crate::Close;

/// The loop's hand on a stream. Bounded by [`StreamLimits::write_queue_bytes_max`](crate::StreamLimits).
#[derive(Debug)]
pub(crate) struct StreamControl {
    orders: Mutex<Orders>,
    changed: Notify,
    place: Place,
}

#[derive(Debug, Default)]
struct Orders {
    queued: Vec<u8>,
    /// Bytes that the task has taken and not yet given to the kernel.
    in_flight: usize,
    end: Option<Close>,
}

impl StreamControl {
    /// The control of a new stream, which takes one of the places that `live` counts.
    pub(crate) fn new(live: &Arc<AtomicUsize>) -> Self {
        live.fetch_add(1, Ordering::Relaxed);
        let place = Place { live: Arc::clone(live), freed: AtomicBool::new(false) };
        Self { orders: Mutex::default(), changed: Notify::new(), place }
    }

    /// The stream is gone, or as good as gone: its place is free.
    pub(crate) fn free_place(&self) {
        self.place.free();
    }

    /// Queues bytes; `false`: with them more than `bytes_max` would wait, nothing was queued.
    pub(crate) fn write(&self, bytes: &[u8], bytes_max: usize) -> bool {
        let mut orders = self.lock();
        if orders.queued.len() + orders.in_flight + bytes.len() > bytes_max {
            return false;
        }
        orders.queued.extend_from_slice(bytes);
        drop(orders);
        self.changed.notify_one();
        true
    }

    /// Ends the stream. One that is reset gives up its place at once, so that another can be opened in the same turn; one
    /// that still flushes does not.
    pub(crate) fn close(&self, how: Close) {
        let mut orders = self.lock();
        if how == Close::Reset {
            orders.queued = Vec::new();
            self.place.free();
        }
        orders.end = Some(how);
        drop(orders);
        self.changed.notify_one();
    }

    /// The task's side: takes what is queued into `unsent` if that is empty, and says whether to end.
    pub(crate) fn take(&self, unsent: &mut Unsent) -> Option<Close> {
        let mut orders = self.lock();
        if unsent.is_empty() && !orders.queued.is_empty() {
            std::mem::swap(&mut unsent.bytes, &mut orders.queued);
            orders.in_flight = unsent.bytes.len();
        }
        orders.end
    }

    /// The kernel took `len` bytes.
    pub(crate) fn sent(&self, len: usize) {
        self.lock().in_flight -= len;
    }

    /// Waits for the next order.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Waits until there is no point in having a connection: reset, or closed with nothing to send.
    pub(crate) async fn ended(&self) {
        loop {
            {
                let orders = self.lock();
                match orders.end {
                    Some(Close::Reset) => return,
                    Some(Close::Flush) if orders.queued.is_empty() => return,
                    _ => {}
                }
            }
            self.changed.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the places that there are for streams.
#[derive(Debug)]
struct Place {
    live: Arc<AtomicUsize>,
    freed: AtomicBool,
}

impl Place {
    fn free(&self) {
        if !self.freed.swap(true, Ordering::Relaxed) {
            self.live.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Bytes on their way to the kernel.
#[derive(Debug, Default)]
pub(crate) struct Unsent {
    bytes: Vec<u8>,
    sent: usize,
}

impl Unsent {
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// The kernel took `len` bytes. A large buffer is given back once it is empty: most streams are idle.
    pub(crate) fn advance(&mut self, len: usize) {
        self.sent += len;
        if self.sent == self.bytes.len() {
            self.sent = 0;
            self.bytes.clear();
            if self.bytes.capacity() > KEEP_BYTES_MAX {
                self.bytes = Vec::new();
            }
        }
    }
}

/// What an idle stream keeps as its write buffer at most.
const KEEP_BYTES_MAX: usize = 1 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn new() -> (StreamControl, Arc<AtomicUsize>) {
        let live = Arc::default();
        (StreamControl::new(&live), live)
    }

    #[test]
    fn a_place_is_free_when_the_stream_is_reset_or_gone_and_only_once() {
        let (control, live) = new();
        assert_eq!(live.load(Ordering::Relaxed), 1);
        control.close(Close::Flush);
        assert_eq!(live.load(Ordering::Relaxed), 1);
        control.close(Close::Reset);
        control.free_place();
        assert_eq!(live.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_is_on_its_way_counts_against_the_bound() {
        let ((control, _), mut unsent) = (new(), Unsent::default());
        assert!(control.write(&[1; 6], 10));
        assert_eq!(control.take(&mut unsent), None);
        assert!(!control.write(&[2; 5], 10));
        control.sent(3);
        unsent.advance(3);
        assert!(control.write(&[2; 5], 10));
        assert_eq!(unsent.rest(), [1; 3]);
        control.sent(3);
        unsent.advance(3);
        control.take(&mut unsent);
        assert_eq!(unsent.rest(), [2; 5]);
    }

    #[test]
    fn a_reset_forgets_what_was_queued_and_a_flush_does_not() {
        let ((control, _), mut unsent) = (new(), Unsent::default());
        control.write(b"abc", 10);
        control.close(Close::Flush);
        assert_eq!(control.take(&mut unsent), Some(Close::Flush));
        assert_eq!(unsent.rest(), b"abc");
        let (control, _) = new();
        control.write(b"abc", 10);
        control.close(Close::Reset);
        let mut unsent = Unsent::default();
        assert_eq!(control.take(&mut unsent), Some(Close::Reset));
        assert!(unsent.is_empty());
    }
}
