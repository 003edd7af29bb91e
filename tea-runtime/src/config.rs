//! Every bound of the runtime, with its reason.

use std::time::Duration;

/// The bounds of one shard. The defaults suit a program that handles tens of thousands of datagrams a second and
/// thousands of streams within some 100 MiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Batches (of up to 64 datagrams, 32 KiB) that may wait per UDP port. When that many wait the reader stops and the
    /// kernel's buffer fills, then the kernel drops. 16: some 15 ms of work at 1 µs a datagram, and 512 KiB a port.
    pub datagram_batches_max: usize,
    /// Batches taken from one port in one turn, before the next port has its turn. 4: some 250 µs at 1 µs a datagram.
    pub datagram_batches_per_turn: usize,
    /// Datagrams that may wait per port while its socket takes none; the newest are dropped. 1,024: what was not sent
    /// within milliseconds is rarely worth sending.
    pub sends_waiting_max: usize,
    /// Bytes of those datagrams. 1 MiB: 1,024 of 1 KiB.
    pub send_bytes_waiting_max: usize,
    /// Threads that receive and send for the UDP ports, which are spread over them; never more are started than there are ports.
    /// 0, the default: everything happens on the thread of the program, which costs least. Threads pay when the program's
    /// thread is busy all the time: of a datagram and its answer, most of the work is the kernel's. What is sent then
    /// waits for its thread within [`sends_waiting_max`](Self::sends_waiting_max) and
    /// [`send_bytes_waiting_max`](Self::send_bytes_waiting_max).
    pub io_threads: usize,
    /// Receive and send many datagrams with one system call (`recvmmsg`, `sendmmsg`) where the system has it, instead of one
    /// by one. On: up to 5 % less for a datagram and its answer under load (`benches`, `echo`).
    pub batched_datagrams: bool,
    /// Streams open or being opened; beyond that [`CloseReason::Overload`](crate::CloseReason::Overload). 10,000: each needs
    /// a file descriptor, so raise the limit of the process too.
    pub streams_max: usize,
    /// Stream events (of up to [`StreamLimits::chunk_bytes_max`](crate::StreamLimits::chunk_bytes_max) each) that may wait;
    /// beyond that streams stop reading and the other side slows down. 1,024: at most 16 MiB with the default chunks.
    pub stream_events_max: usize,
    /// Connections that may wait per listener for the program to take them, beside the kernel's backlog. 64: each holds
    /// a file descriptor.
    pub incoming_max: usize,
    /// Timers that may be set; further ones are dropped, counted and logged. About a million, 100 bytes each: as many as
    /// any table of the program will hold, and a program that sets ever new keys is stopped before the machine is.
    pub timers_max: usize,
    /// Tasks running or waiting to be answered; beyond that [`Fault::Overload`](crate::Fault::Overload). 256: they are for what
    /// is rare.
    pub tasks_max: usize,
    /// Effects accepted and not answered; beyond that refused with [`Fault::Overload`](crate::Fault::Overload). 1,024: enough
    /// to keep a database busy, few enough that the program notices when it is slow.
    pub effects_max: usize,
    /// Messages that the runtime or the program itself puts before the next turn: refusals, what became of subscriptions,
    /// messages to the own shard. Beyond that they are dropped and counted. 65,536: more than a turn can cause in
    /// a program that does not answer each refusal with several new requests.
    pub control_max: usize,
    /// Messages of one kind (control, timers, effects, tasks, streams, incoming connections) handled in one turn. 256: some
    /// 250 µs a kind at 1 µs a message, so that no kind starves the others.
    pub messages_per_turn: usize,
    /// The first delay before a failed subscription is tried again; doubles each time. 250 ms: a port that another process
    /// is just giving up is soon free.
    pub retry_delay_min: Duration,
    /// The longest such delay. 30 s: whoever repairs the cause need not wait long.
    pub retry_delay_max: Duration,
    /// How long accepted work may take to finish after [`Cmd::quit`](crate::Cmd::quit), and after that how long
    /// the manager may take to close. 10 s: a database commit; half of what service managers allow.
    pub grace: Duration,
    /// One message in so many has its update timed for the observer. 1,024: two clock reads (50 ns) then cost nothing.
    pub update_sample_every: u32,
    /// Read the subscriptions after each message and panic if they changed although the program did not ask for
    /// [`Cmd::resubscribe`](crate::Cmd::resubscribe). On in debug builds; costs microseconds a message.
    pub check_subscriptions: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            datagram_batches_max: 16,
            datagram_batches_per_turn: 4,
            sends_waiting_max: 1024,
            send_bytes_waiting_max: 1 << 20,
            io_threads: 0,
            batched_datagrams: true,
            streams_max: 10_000,
            stream_events_max: 1024,
            incoming_max: 64,
            timers_max: 1 << 20,
            tasks_max: 256,
            effects_max: 1024,
            control_max: 1 << 16,
            messages_per_turn: 256,
            retry_delay_min: Duration::from_millis(250),
            retry_delay_max: Duration::from_secs(30),
            grace: Duration::from_secs(10),
            update_sample_every: 1024,
            check_subscriptions: cfg!(debug_assertions),
        }
    }
}

impl Config {
    /// The first setting that allows nothing at all, if there is one.
    pub(crate) fn first_zero(&self) -> Option<&'static str> {
        let bounds = [
            (self.datagram_batches_max, "datagram_batches_max"),
            (self.datagram_batches_per_turn, "datagram_batches_per_turn"),
            (self.stream_events_max, "stream_events_max"),
            (self.incoming_max, "incoming_max"),
            (self.tasks_max, "tasks_max"),
            (self.effects_max, "effects_max"),
            (self.control_max, "control_max"),
            (self.messages_per_turn, "messages_per_turn"),
            (self.update_sample_every as usize, "update_sample_every"),
        ];
        bounds.iter().find(|(bound, _)| *bound == 0).map(|(_, name)| *name)
    }
}
