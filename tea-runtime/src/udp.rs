//! A UDP port: one reader task that hands over batches, one writer task that sleeps unless the socket is full.

use std::{io, net::SocketAddr, sync::Arc};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{net::UdpSocket, sync::mpsc, task::JoinSet};

use crate::{
    Config, Counters, UdpPort,
    batch_pool::BatchPool,
    bell::Bell,
    clock::Clock,
    counters::{TaskCounters, count},
    datagram::Batch,
    outbox::{Outbox, Waiting},
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
    _tasks: JoinSet<()>,
}

/// The sending side of a port.
pub(crate) enum Outlet {
    Socket {
        socket: Arc<UdpSocket>,
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
        let socket = Arc::new(bind(port)?);
        let local = socket.local_addr()?;
        let outbox = Arc::new(Outbox::new(config.sends_waiting_max, config.send_bytes_waiting_max));
        let (lane, arrivals) = mpsc::channel(config.datagram_batches_max);
        let mut tasks = JoinSet::new();
        let reader = Reader {
            socket: Arc::clone(&socket),
            datagram_bytes_max: port.datagram_bytes_max.max(1),
            // Those in the lane, one with the loop, one with the reader, and two for a program that keeps a few.
            pool: BatchPool::new(port.datagram_bytes_max.max(1), config.datagram_batches_max + 4),
            lane,
            clock,
            bell: bell.clone(),
            counters: Arc::clone(counters),
        };
        tasks.spawn(reader.run());
        tasks.spawn(write(Arc::clone(&socket), Arc::clone(&outbox), Arc::clone(counters)));
        Ok(Self { local, arrivals, outlet: Outlet::Socket { socket, outbox }, _tasks: tasks })
    }

    /// A port without a socket.
    pub(crate) fn in_memory(port: &UdpPort, config: &Config) -> Self {
        let (lane, arrivals) = mpsc::channel(config.datagram_batches_max);
        Self { local: port.bind, arrivals, outlet: Outlet::Memory { lane }, _tasks: JoinSet::new() }
    }
}

impl Outlet {
    /// Gives a datagram to the kernel, or to the writer if the socket is full.
    ///
    /// Goes to the socket directly instead of through tokio's readiness, which is unknown until the first wake-up: what a
    /// program sends right after binding would all have to wait.
    pub(crate) fn send(&self, to: SocketAddr, payload: &[u8], counters: &mut Counters) {
        if let Self::Socket { socket, outbox } = self {
            let sent = if outbox.depth() == 0 {
                send_now(socket, to, payload)
            } else {
                // Behind those that wait already.
                Err(io::ErrorKind::WouldBlock.into())
            };
            match sent {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    counters.sends_dropped += u64::from(!outbox.push(to, payload));
                    return;
                }
                Err(_) => {
                    counters.send_errors += 1;
                    return;
                }
            }
        }
        counters.datagrams_sent += 1;
        counters.datagram_bytes_sent += payload.len() as u64;
    }

    pub(crate) fn waiting(&self) -> usize {
        match self {
            Self::Socket { outbox, .. } => outbox.depth(),
            Self::Memory { .. } => 0,
        }
    }
}

fn send_now(socket: &UdpSocket, to: SocketAddr, payload: &[u8]) -> io::Result<()> {
    let (socket, to) = (SockRef::from(socket), to.into());
    match socket.send_to(payload, &to) {
        // An ICMP answer to an earlier datagram is reported here, and this one was not sent.
        Err(error) if is_about_another_datagram(&error) => socket.send_to(payload, &to).map(drop),
        result => result.map(drop),
    }
}

fn bind(port: &UdpPort) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(port.bind), Type::DGRAM, Some(Protocol::UDP))?;
    if port.bind.is_ipv6() {
        // So that IPv4 and IPv6 may share a port number, and no address comes as ::ffff:a.b.c.d.
        socket.set_only_v6(true)?;
    }
    // The kernel silently gives less than asked for if its limit (net.core.rmem_max) is lower; that is no reason to stop.
    if let Err(error) = socket.set_recv_buffer_size(port.recv_buffer_bytes) {
        tracing::debug!(bind = %port.bind, %error, "receive buffer not set");
    }
    socket.set_nonblocking(true)?;
    socket.bind(&port.bind.into())?;
    UdpSocket::from_std(socket.into())
}

struct Reader {
    socket: Arc<UdpSocket>,
    datagram_bytes_max: usize,
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
                if let Err(error) = self.socket.readable().await {
                    break Some(error);
                }
                let (batch, error) = self.fill();
                if let Some(batch) = batch {
                    errors_in_a_row = 0;
                    let full = batch.len() == Batch::DATAGRAMS_MAX;
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
        let (bytes_max, socket) = (self.datagram_bytes_max, &self.socket);
        let mut batch = self.pool.take(&self.counters.batches_replaced);
        let mut error = None;
        if let Some(filling) = Arc::get_mut(&mut batch) {
            while filling.has_space(bytes_max) {
                if let Err(reason) = filling.receive(bytes_max, |space| socket.try_recv_from(space)) {
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

/// Sends what the loop could not: waits for the socket, then empties the outbox.
async fn write(socket: Arc<UdpSocket>, outbox: Arc<Outbox>, counters: Arc<TaskCounters>) {
    let mut taken = Waiting::default();
    loop {
        outbox.take(&mut taken).await;
        while let Some((to, payload)) = taken.pop() {
            let mut sent = socket.send_to(payload, to).await;
            if sent.as_ref().is_err_and(is_about_another_datagram) {
                sent = socket.send_to(payload, to).await;
            }
            match sent {
                Ok(_) => {
                    count(&counters.datagrams_sent);
                    let bytes = payload.len() as u64;
                    counters.datagram_bytes_sent.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
                }
                Err(_) => count(&counters.send_errors),
            }
            outbox.done(payload.len());
        }
    }
}

/// Whether the kernel reports on a socket call what an ICMP message said about an earlier datagram. Such an error says
/// nothing about the socket: anybody on the path can cause it.
fn is_about_another_datagram(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}

/// Other errors of a socket in a row, without a datagram between them, after which its port is taken to be broken and is
/// bound anew. 16: the kernel reports transient lack of memory this way.
const ERRORS_IN_A_ROW_MAX: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_icmp_answer_is_not_an_error_of_the_port() {
        for errno in [/* ECONNREFUSED */ 111, /* EHOSTUNREACH */ 113, /* ENETUNREACH */ 101] {
            assert!(is_about_another_datagram(&io::Error::from_raw_os_error(errno)), "errno {errno}");
        }
        assert!(!is_about_another_datagram(&io::Error::from_raw_os_error(/* EBADF */ 9)));
    }
}
