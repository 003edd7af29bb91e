//! A UDP port: one reader task that hands over batches, one writer task that sleeps unless the socket is full.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering, mpsc as thread_mpsc},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
};

use crate::{
    BoxFuture, Config, Counters, Fault, UdpPort,
    batch_pool::BatchPool,
    bell::Bell,
    clock::Clock,
    counters::{TaskCounters, count},
    datagram::Batch,
    inbox::Expectation,
    io_threads::Seat,
    outbox::{Outbox, Outgoing, Waiting},
    overflow::Overflow,
    port_socket::{PortSocket, Sent, is_about_another_datagram},
    task_table::text_of,
};

/// What a reader hands to the loop.
pub(crate) enum Arrival {
    Batch(Arc<Batch>),
    /// The port is broken; the reader has ended.
    Failed(io::Error),
}

/// A bound port. Dropping it ends its tasks and closes the socket; with a thread of its own it first lets the writer send what
/// waits.
pub(crate) struct BoundUdp {
    pub(crate) local: SocketAddr,
    pub(crate) arrivals: mpsc::Receiver<Arrival>,
    pub(crate) outlet: Outlet,
    /// What the program asked to be sent since the last flush.
    outgoing: Vec<Outgoing>,
    tasks: JoinSet<()>,
    /// Where its tasks run, if not on the thread of the loop.
    _seat: Option<Seat>,
    /// Nothing is ever sent; it closes when both tasks are gone, and the socket with them.
    ended: thread_mpsc::Receiver<Infallible>,
}

/// The sending side of a port.
pub(crate) enum Outlet {
    Socket {
        socket: Arc<PortSocket>,
        outbox: Arc<Outbox>,
    },
    /// The socket is of another thread: everything goes through its writer.
    Thread {
        outbox: Arc<Outbox>,
    },
    /// No socket: what is sent is counted. What arrives comes through `lane`.
    Memory {
        lane: mpsc::Sender<Arrival>,
    },
}

impl BoundUdp {
    /// Binds the port and starts its tasks, on a thread for I/O if it has a seat there, else on this one.
    pub(crate) fn bind(
        port: &UdpPort,
        config: &Config,
        seat: Option<Seat>,
        clock: Clock,
        bell: &Bell,
        counters: &Arc<TaskCounters>,
    ) -> io::Result<Self> {
        let entered = seat.as_ref().map(|seat| seat.handle.enter());
        let socket = Arc::new(PortSocket::bind(port, config.batched_datagrams)?);
        drop(entered);
        let local = socket.local();
        let outbox = Arc::new(Outbox::new(config.sends_waiting_max, config.send_bytes_waiting_max));
        let (lane, arrivals) = mpsc::channel(config.datagram_batches_max);
        let (alive, ended) = thread_mpsc::sync_channel(1);
        let mut tasks = JoinSet::new();
        let spawn = |tasks: &mut JoinSet<()>, task: BoxFuture<()>| match &seat {
            Some(seat) => tasks.spawn_on(task, &seat.handle),
            None => tasks.spawn(task),
        };
        let bytes_max = port.datagram_bytes_max.max(1);
        let reader = Reader {
            socket: Arc::clone(&socket),
            datagram_bytes_max: bytes_max,
            expectation: Expectation::default(),
            overflow: Overflow::default(),
            // Those in the lane, one with the loop, one with the reader, and two for a program that keeps a few.
            pool: BatchPool::new(bytes_max, config.datagram_batches_max + 4),
            lane,
            clock,
            counters: Arc::clone(counters),
            end: ReaderEnd { bell: bell.clone(), _alive: alive.clone() },
        };
        let reader = spawn(&mut tasks, Box::pin(reader.run()));
        let writer = Writer {
            socket: Arc::clone(&socket),
            outbox: Arc::clone(&outbox),
            counters: Arc::clone(counters),
            _end: WriterEnd { reader, _alive: alive },
        };
        spawn(&mut tasks, Box::pin(writer.run()));
        let outlet = match seat {
            Some(_) => Outlet::Thread { outbox },
            None => Outlet::Socket { socket, outbox },
        };
        Ok(Self { local, arrivals, outlet, outgoing: Vec::new(), tasks, _seat: seat, ended })
    }

    /// A port without a socket.
    pub(crate) fn in_memory(port: &UdpPort, config: &Config) -> Self {
        let (lane, arrivals) = mpsc::channel(config.datagram_batches_max);
        Self {
            local: port.bind,
            arrivals,
            outlet: Outlet::Memory { lane },
            outgoing: Vec::new(),
            tasks: JoinSet::new(),
            _seat: None,
            ended: thread_mpsc::sync_channel(1).1,
        }
    }

    /// Notes a datagram to be sent with the next flush.
    pub(crate) fn queue(&mut self, datagram: Outgoing) {
        self.outgoing.push(datagram);
    }

    /// Sends what was noted, in order; the bytes lie in `arena`.
    pub(crate) fn flush(&mut self, arena: &[u8], counters: &mut Counters) {
        if self.outgoing.is_empty() {
            return;
        }
        self.outlet.send(arena, &self.outgoing, counters);
        self.outgoing.clear();
        // What a burst needed is not needed for ever.
        self.outgoing.shrink_to(OUTGOING_KEPT_MAX);
    }

    /// Why the reader ended without a word.
    pub(crate) fn why_ended(&mut self) -> Fault {
        while let Some(ended) = self.tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                return Fault::Panicked(text_of(&*error.into_panic()));
            }
        }
        Fault::Io(io::ErrorKind::BrokenPipe, "the thread of the port ended".to_owned())
    }
}

impl Drop for BoundUdp {
    fn drop(&mut self) {
        let Outlet::Thread { outbox } = &self.outlet else { return };
        // The writer sends what waits and ends, the reader with it. Whoever binds the address next finds it free.
        outbox.close();
        if self.ended.recv_timeout(CLOSE_PATIENCE) == Err(thread_mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!(local = %self.local, waiting = outbox.depth(), "the port does not close: what waits is dropped");
        }
    }
}

impl Outlet {
    /// Gives datagrams to the kernel, and to the writer what finds the socket full.
    fn send(&self, arena: &[u8], datagrams: &[Outgoing], counters: &mut Counters) {
        match self {
            Self::Socket { socket, outbox } => {
                // Behind those that wait already.
                let sent = if outbox.depth() == 0 { socket.send(arena, datagrams) } else { Sent::default() };
                counters.datagrams_sent += sent.datagrams;
                counters.datagram_bytes_sent += sent.bytes;
                counters.send_errors += sent.refused;
                if sent.done < datagrams.len() {
                    counters.sends_dropped += outbox.push(arena, &datagrams[sent.done..]);
                }
            }
            Self::Thread { outbox } => counters.sends_dropped += outbox.push(arena, datagrams),
            Self::Memory { .. } => {
                counters.datagrams_sent += datagrams.len() as u64;
                counters.datagram_bytes_sent += datagrams.iter().map(|one| one.len() as u64).sum::<u64>();
            }
        }
    }

    pub(crate) fn waiting(&self) -> usize {
        match self {
            Self::Socket { outbox, .. } | Self::Thread { outbox } => outbox.depth(),
            Self::Memory { .. } => 0,
        }
    }
}

struct Reader {
    socket: Arc<PortSocket>,
    datagram_bytes_max: usize,
    expectation: Expectation,
    overflow: Overflow,
    pool: BatchPool,
    lane: mpsc::Sender<Arrival>,
    clock: Clock,
    counters: Arc<TaskCounters>,
    /// Last, so that the socket is given up when others hear of the end.
    end: ReaderEnd,
}

/// Tells the loop that the reader is gone, for whatever reason.
struct ReaderEnd {
    bell: Bell,
    _alive: thread_mpsc::SyncSender<Infallible>,
}

impl Drop for ReaderEnd {
    fn drop(&mut self) {
        self.bell.ring();
    }
}

impl Reader {
    /// Reads until the loop drops the lane or the socket breaks. The slot in the lane is reserved first: while there is none,
    /// datagrams stay in the kernel's buffer.
    async fn run(mut self) {
        let lane = self.lane.clone();
        let mut errors_in_a_row = 0;
        while let Ok(slot) = lane.reserve().await {
            let error = loop {
                if self.overflow.is_empty()
                    && let Err(error) = self.socket.readable().await
                {
                    break Some(error);
                }
                let (batch, error) = self.fill();
                if let Some(batch) = batch {
                    errors_in_a_row = 0;
                    let full = batch.len() == Batch::DATAGRAMS_MAX || !self.overflow.is_empty();
                    slot.send(Arrival::Batch(batch));
                    self.end.bell.ring();
                    if full {
                        // There is more: let the loop and the other readers have their turn first.
                        tokio::task::yield_now().await;
                    }
                    break error.filter(|error| !self.is_survivable(error, &mut errors_in_a_row));
                }
                match error {
                    Some(error) if !self.is_survivable(&error, &mut errors_in_a_row) => break Some(error),
                    _ => {}
                }
            };
            if let Some(error) = error {
                if lane.send(Arrival::Failed(error)).await.is_ok() {
                    self.end.bell.ring();
                }
                return;
            }
        }
    }

    /// Receives until the kernel has nothing more, the batch is full or an error comes.
    fn fill(&mut self) -> (Option<Arc<Batch>>, Option<io::Error>) {
        let mut batch = self.pool.take(&self.counters.batches_replaced);
        let mut error = None;
        if let Some(filling) = Arc::get_mut(&mut batch) {
            self.overflow.move_into(filling);
            while self.overflow.is_empty() && filling.len() < Batch::DATAGRAMS_MAX {
                let count_max = Batch::DATAGRAMS_MAX - filling.len();
                let take = |from, payload: &[u8]| self.overflow.push(filling, from, payload);
                let (expectation, bytes_max) = (&mut self.expectation, self.datagram_bytes_max);
                if let Err(reason) = self.socket.receive(expectation, count_max, bytes_max, take) {
                    error = (reason.kind() != io::ErrorKind::WouldBlock).then_some(reason);
                    break;
                }
            }
            filling.received = self.clock.now();
        }
        self.pool.put(Arc::clone(&batch));
        ((batch.len() > 0).then_some(batch), error)
    }

    /// Counts an error of the socket and says whether to go on reading.
    fn is_survivable(&self, error: &io::Error, errors_in_a_row: &mut u32) -> bool {
        count(&self.counters.receive_errors);
        *errors_in_a_row += 1;
        is_about_another_datagram(error) || *errors_in_a_row < ERRORS_IN_A_ROW_MAX
    }
}

/// Sends what the loop could not send, or, of a port with another thread, everything.
struct Writer {
    socket: Arc<PortSocket>,
    outbox: Arc<Outbox>,
    counters: Arc<TaskCounters>,
    /// Last, as with the reader.
    _end: WriterEnd,
}

/// Ends the reader with the writer: half a port is none.
struct WriterEnd {
    reader: AbortHandle,
    _alive: thread_mpsc::SyncSender<Infallible>,
}

impl Drop for WriterEnd {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Writer {
    /// Empties the outbox, waiting for the socket where it must, until the outbox is closed and empty.
    async fn run(self) {
        let mut taken = Waiting::default();
        while self.outbox.take(&mut taken).await {
            let mut rest = &taken.datagrams[..];
            while !rest.is_empty() {
                let next = &rest[..rest.len().min(Batch::DATAGRAMS_MAX)];
                let done = match self.socket.send_when_writable(&taken.arena, next).await {
                    Ok(sent) => {
                        self.counters.datagrams_sent.fetch_add(sent.datagrams, Ordering::Relaxed);
                        self.counters.datagram_bytes_sent.fetch_add(sent.bytes, Ordering::Relaxed);
                        self.counters.send_errors.fetch_add(sent.refused, Ordering::Relaxed);
                        sent.done
                    }
                    // Nobody tells any more when the socket has space.
                    Err(_) => {
                        self.counters.send_errors.fetch_add(next.len() as u64, Ordering::Relaxed);
                        next.len()
                    }
                };
                self.outbox.done(&rest[..done]);
                rest = &rest[done..];
                if !rest.is_empty() {
                    // The readers of the thread have their turn.
                    tokio::task::yield_now().await;
                }
            }
            taken.clear();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Nobody will send it any more.
        self.counters.sends_dropped.fetch_add(self.outbox.depth() as u64, Ordering::Relaxed);
    }
}

/// Other errors of a socket in a row, without a datagram between them, after which its port is taken to be broken and is
/// bound anew. 16: the kernel reports transient lack of memory this way.
const ERRORS_IN_A_ROW_MAX: u32 = 16;

/// Datagrams of a flush that a port keeps room for: four batches answered, 10 KiB.
const OUTGOING_KEPT_MAX: usize = 256;

/// How long a port with another thread may take to send what waits when it is closed. 1 s: as much as fits the outbox takes
/// milliseconds unless the network stands still.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(bell: &Bell) -> BoundUdp {
        let port = UdpPort::new(([127, 0, 0, 1], 0).into());
        BoundUdp::bind(&port, &Config::default(), None, Clock::start(), bell, &Arc::default()).unwrap()
    }

    #[tokio::test]
    async fn a_port_that_lost_its_writer_loses_its_reader_and_the_loop_hears_of_it() {
        let bell = Bell::default();
        let mut port = bound(&bell);
        let Outlet::Socket { outbox, .. } = &port.outlet else { panic!("on this thread") };
        outbox.close();
        bell.rung().await;
        assert!(port.arrivals.recv().await.is_none());
        assert_eq!(
            port.why_ended(),
            Fault::Io(io::ErrorKind::BrokenPipe, "the thread of the port ended".to_owned())
        );
    }

    #[tokio::test]
    async fn what_a_task_of_a_port_said_when_it_panicked_is_told() {
        let mut port = bound(&Bell::default());
        let panicking = port.tasks.spawn(async { panic!("on purpose") });
        while !panicking.is_finished() {
            tokio::task::yield_now().await;
        }
        assert_eq!(port.why_ended(), Fault::Panicked("on purpose".to_owned()));
    }

    #[tokio::test]
    async fn what_waits_when_the_writer_ends_is_counted_as_dropped() {
        let counters = Arc::new(TaskCounters::default());
        let outbox = Arc::new(Outbox::new(8, 100));
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let socket = Arc::new(PortSocket::bind(&UdpPort::new(local), true).unwrap());
        let datagram = |end| Outgoing { to: local, bytes: 0..end };
        assert_eq!(outbox.push(&[7; 3], &[datagram(1), datagram(3)]), 0);
        let reader = tokio::task::JoinSet::new().spawn(std::future::pending::<()>());
        let end = WriterEnd { reader, _alive: thread_mpsc::sync_channel(1).0 };
        drop(Writer { socket, outbox, counters: Arc::clone(&counters), _end: end });
        assert_eq!(counters.sends_dropped.load(Ordering::Relaxed), 2);
    }
}
