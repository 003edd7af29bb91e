//! What the loop and the task of one stream share: bytes to send, and the order to end.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::Close;

/// The loop's hand on a stream. Bounded by [`StreamLimits::write_queue_bytes_max`](crate::StreamLimits).
#[derive(Debug, Default)]
pub(crate) struct StreamControl {
    orders: Mutex<Orders>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Orders {
    queued: Vec<u8>,
    /// Bytes that the task has taken and not yet given to the kernel.
    in_flight: usize,
    end: Option<Close>,
}

impl StreamControl {
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

    /// Ends the stream.
    pub(crate) fn close(&self, how: Close) {
        let mut orders = self.lock();
        if how == Close::Reset {
            orders.queued = Vec::new();
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

    #[test]
    fn what_is_on_its_way_counts_against_the_bound() {
        let (control, mut unsent) = (StreamControl::default(), Unsent::default());
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
        let (control, mut unsent) = (StreamControl::default(), Unsent::default());
        control.write(b"abc", 10);
        control.close(Close::Flush);
        assert_eq!(control.take(&mut unsent), Some(Close::Flush));
        assert_eq!(unsent.rest(), b"abc");
        let control = StreamControl::default();
        control.write(b"abc", 10);
        control.close(Close::Reset);
        let mut unsent = Unsent::default();
        assert_eq!(control.take(&mut unsent), Some(Close::Reset));
        assert!(unsent.is_empty());
    }
}
