//! A UDP port: one reader task that hands over batches, one writer task that sleeps unless the socket is full.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    Config, Counters, UdpPort,
    batch_pool::BatchPool,
    bell::Bell,
    clock::Clock,
    counters::{TaskCounters, count},
    datagram::Batch,
    inbox::Inbox,
    outbox::{Outbox, Outgoing, Waiting},
    port_socket::{PortSocket, Sent, is_about_another_datagram},
};

/// What a reader hands to the loop.
pub(crate) enum Arrival {
    Batch(Arc<Batch>),
    /// The port is broken; the reader has ended.
    Failed(io::Error),
}

/// A bound port. Dropping it ends its tasks and closes the socket.
pub(crate) struct BoundUdp {
    pub(crate) local: SocketAddr,
    pub(crate) arrivals: mpsc::Receiver<Arrival>,
    pub(crate) outlet: Outlet,
    /// What the program asked to be sent since the last flush.
    outgoing: Vec<Outgoing>,
    _tasks: JoinSet<()>,
}

/// The sending side of a port.
pub(crate) enum Outlet {
    Socket {
        socket: Arc<PortSocket>,
        outbox: Arc<Outbox>,
    },
    /// No socket: what is sent is counted. What arrives comes through `lane`.
    Memory {
        lane: mpsc::Sender<Arrival>,
    },
}

impl BoundUdp {
    /// Binds the port and starts its tasks.
    pub(crate) fn bind(
        port: &UdpPort,
        config: &Config,
        clock: Clock,
        bell: &Bell,
        counters: &Arc<TaskCounters>,
    ) -> io::Result<Self> {
        let socket = Arc::new(PortSocket::bind(port, config.batched_datagrams)?);
        let local = socket.local();
        let outbox = Arc::new(Outbox::new(config.sends_waiting_max, config.send_bytes_waiting_max));
        let (lane, arrivals) = mpsc::channel(config.datagram_batches_max);
        let mut tasks = JoinSet::new();
        let bytes_max = port.datagram_bytes_max.max(1);
        let reader = Reader {
            socket: Arc::clone(&socket),
            inbox: Inbox::new(bytes_max),
            // Those in the lane, one with the loop, one with the reader, and two for a program that keeps a few.
            pool: BatchPool::new(bytes_max, config.datagram_batches_max + 4),
            lane,
            clock,
            bell: bell.clone(),
            counters: Arc::clone(counters),
        };
        tasks.spawn(reader.run());
        tasks.spawn(write(Arc::clone(&socket), Arc::clone(&outbox), Arc::clone(counters)));
        let outlet = Outlet::Socket { socket, outbox };
        Ok(Self { local, arrivals, outlet, outgoing: Vec::new(), _tasks: tasks })
    }

    /// A port without a socket.
    pub(crate) fn in_memory(port: &UdpPort, config: &Config) -> Self {
        let (lane, arrivals) = mpsc::channel(config.datagram_batches_max);
        let outlet = Outlet::Memory { lane };
        Self { local: port.bind, arrivals, outlet, outgoing: Vec::new(), _tasks: JoinSet::new() }
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
            Self::Memory { .. } => {
                counters.datagrams_sent += datagrams.len() as u64;
                counters.datagram_bytes_sent += datagrams.iter().map(|one| one.len() as u64).sum::<u64>();
            }
        }
    }

    pub(crate) fn waiting(&self) -> usize {
        match self {
            Self::Socket { outbox, .. } => outbox.depth(),
            Self::Memory { .. } => 0,
        }
    }
}

struct Reader {
    socket: Arc<PortSocket>,
    inbox: Inbox,
    pool: BatchPool,
    lane: mpsc::Sender<Arrival>,
    clock: Clock,
    bell: Bell,
    counters: Arc<TaskCounters>,
}

impl Reader {
    /// Reads until the loop drops the lane or the socket breaks. The slot in the lane is reserved first: while there is none,
    /// datagrams stay in the kernel's buffer.
    async fn run(mut self) {
        let lane = self.lane.clone();
        let mut errors_in_a_row = 0;
        while let Ok(slot) = lane.reserve().await {
            let error = loop {
                if self.inbox.is_empty()
                    && let Err(error) = self.socket.readable().await
                {
                    break Some(error);
                }
                let (batch, error) = self.fill();
                if let Some(batch) = batch {
                    errors_in_a_row = 0;
                    let full = batch.len() == Batch::DATAGRAMS_MAX || !self.inbox.is_empty();
                    slot.send(Arrival::Batch(batch));
                    self.bell.ring();
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
                    self.bell.ring();
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
            self.inbox.pack(filling);
            while self.inbox.is_empty() && filling.len() < Batch::DATAGRAMS_MAX {
                let count_max = Batch::DATAGRAMS_MAX - filling.len();
                if let Err(reason) = self.socket.receive(&mut self.inbox, count_max) {
                    error = (reason.kind() != io::ErrorKind::WouldBlock).then_some(reason);
                    break;
                }
                self.inbox.pack(filling);
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

/// Sends what the loop could not: waits for the socket, then empties the outbox.
async fn write(socket: Arc<PortSocket>, outbox: Arc<Outbox>, counters: Arc<TaskCounters>) {
    let mut taken = Waiting::default();
    loop {
        outbox.take(&mut taken).await;
        let mut rest = &taken.datagrams[..];
        while !rest.is_empty() {
            let next = &rest[..rest.len().min(Batch::DATAGRAMS_MAX)];
            let done = match socket.send_when_writable(&taken.arena, next).await {
                Ok(sent) => {
                    counters.datagrams_sent.fetch_add(sent.datagrams, Ordering::Relaxed);
                    counters.datagram_bytes_sent.fetch_add(sent.bytes, Ordering::Relaxed);
                    counters.send_errors.fetch_add(sent.refused, Ordering::Relaxed);
                    sent.done
                }
                // Nobody tells any more when the socket has space.
                Err(_) => {
                    counters.send_errors.fetch_add(next.len() as u64, Ordering::Relaxed);
                    next.len()
                }
            };
            outbox.done(&rest[..done]);
            rest = &rest[done..];
        }
        taken.clear();
    }
}

/// Other errors of a socket in a row, without a datagram between them, after which its port is taken to be broken and is
/// bound anew. 16: the kernel reports transient lack of memory this way.
const ERRORS_IN_A_ROW_MAX: u32 = 16;

/// Datagrams of a flush that a port keeps room for: four batches answered, 10 KiB.
const OUTGOING_KEPT_MAX: usize = 256;
