//! What a shard has done and refused since its start.

use std::sync::atomic::{AtomicU64, Ordering};

/// Totals since the start of the shard. Whatever a lane refuses or drops is counted here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Messages handled by `update`.
    pub messages: u64,
    /// Turns taken.
    pub turns: u64,
    /// Datagrams received and handled.
    pub datagrams_received: u64,
    /// Their bytes.
    pub datagram_bytes_received: u64,
    /// Batches in which they came.
    pub batches_received: u64,
    /// Errors that the kernel reported on receiving, usually an ICMP answer to something sent.
    pub receive_errors: u64,
    /// Batches that had to be allocated because the program still holds older ones.
    pub batches_replaced: u64,
    /// Datagrams given to the kernel.
    pub datagrams_sent: u64,
    /// Their bytes.
    pub datagram_bytes_sent: u64,
    /// Datagrams dropped because their port is not bound.
    pub sends_without_port: u64,
    /// Datagrams dropped because too many were waiting for a full socket or for a busy thread, or still waited when their port
    /// was closed.
    pub sends_dropped: u64,
    /// Datagrams that the kernel refused.
    pub send_errors: u64,
    /// Timers that came.
    pub timers_fired: u64,
    /// Timers dropped because too many were set.
    pub timers_dropped: u64,
    /// Ticks of intervals that came too late and were skipped.
    pub ticks_skipped: u64,
    /// Streams opened or accepted, whether or not they came to stand.
    pub streams_started: u64,
    /// Streams refused because too many were open.
    pub streams_refused: u64,
    /// Stream events that came after their stream was closed or replaced, and were dropped.
    pub stream_events_stale: u64,
    /// Writes to streams that do not exist.
    pub writes_without_stream: u64,
    /// Connections that listeners took from the kernel.
    pub incoming: u64,
    /// Errors that the kernel reported on accepting, usually too many open files.
    pub accept_errors: u64,
    /// Tasks started.
    pub tasks_started: u64,
    /// Tasks refused because too many were running.
    pub tasks_refused: u64,
    /// Tasks that panicked.
    pub tasks_panicked: u64,
    /// Effects given to the manager.
    pub effects_started: u64,
    /// Effects refused because too many were not answered, or because the program was stopping.
    pub effects_refused: u64,
    /// Times that a subscription failed to start, or failed later.
    pub subscription_failures: u64,
    /// Signals dropped because too many waited.
    pub signals_dropped: u64,
    /// Messages to shards that do not exist.
    pub shard_messages_dropped: u64,
    /// Control messages dropped because too many waited.
    pub control_dropped: u64,
}

/// Totals that tasks beside the loop keep.
#[derive(Debug, Default)]
pub(crate) struct TaskCounters {
    pub(crate) receive_errors: AtomicU64,
    pub(crate) batches_replaced: AtomicU64,
    pub(crate) datagrams_sent: AtomicU64,
    pub(crate) datagram_bytes_sent: AtomicU64,
    pub(crate) sends_dropped: AtomicU64,
    pub(crate) send_errors: AtomicU64,
    pub(crate) incoming: AtomicU64,
    pub(crate) accept_errors: AtomicU64,
    pub(crate) tasks_panicked: AtomicU64,
    pub(crate) signals_dropped: AtomicU64,
}

impl TaskCounters {
    /// Moves what was counted since the last time into `counters`.
    pub(crate) fn drain_into(&self, counters: &mut Counters) {
        let pairs = [
            (&self.receive_errors, &mut counters.receive_errors),
            (&self.batches_replaced, &mut counters.batches_replaced),
            (&self.datagrams_sent, &mut counters.datagrams_sent),
            (&self.datagram_bytes_sent, &mut counters.datagram_bytes_sent),
            (&self.sends_dropped, &mut counters.sends_dropped),
            (&self.send_errors, &mut counters.send_errors),
            (&self.incoming, &mut counters.incoming),
            (&self.accept_errors, &mut counters.accept_errors),
            (&self.tasks_panicked, &mut counters.tasks_panicked),
            (&self.signals_dropped, &mut counters.signals_dropped),
        ];
        for (from, to) in pairs {
            if from.load(Ordering::Relaxed) != 0 {
                *to += from.swap(0, Ordering::Relaxed);
            }
        }
    }
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
