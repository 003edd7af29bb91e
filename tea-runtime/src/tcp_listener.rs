//! A TCP listener: one task that accepts while the program has room for more.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};

use crate::{
    Incoming, TcpPort,
    bell::Bell,
    counters::{TaskCounters, count},
    incoming::Link,
};

/// A bound listener. Dropping it ends its task, closes the socket and refuses what still waits.
pub(crate) struct BoundListener {
    pub(crate) local: SocketAddr,
    pub(crate) incoming: mpsc::Receiver<Incoming>,
    _task: JoinSet<()>,
}

impl BoundListener {
    /// Binds the listener and starts its task.
    pub(crate) fn bind(
        port: &TcpPort,
        incoming_max: usize,
        bell: &Bell,
        counters: &Arc<TaskCounters>,
    ) -> io::Result<Self> {
        let listener = listen(port)?;
        let local = listener.local_addr()?;
        let (lane, incoming) = mpsc::channel(incoming_max);
        let mut task = JoinSet::new();
        task.spawn(accept(listener, lane, bell.clone(), Arc::clone(counters)));
        Ok(Self { local, incoming, _task: task })
    }
}

fn listen(port: &TcpPort) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(port.bind), Type::STREAM, Some(Protocol::TCP))?;
    if port.bind.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restarted program must not wait for the connections of its predecessor to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&port.bind.into())?;
    socket.listen(i32::try_from(port.backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

/// Accepts until the loop drops the lane. The slot is reserved first: while there is none, connections wait in the
/// kernel's backlog, and when that is full the other side gets no answer.
async fn accept(
    listener: TcpListener,
    lane: mpsc::Sender<Incoming>,
    bell: Bell,
    counters: Arc<TaskCounters>,
) {
    while let Ok(slot) = lane.reserve().await {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    // The local address is unknown only if the connection is gone already.
                    let Ok(local) = stream.local_addr() else { continue };
                    count(&counters.incoming);
                    slot.send(Incoming { peer, local, link: Link::Tcp(stream) });
                    bell.ring();
                    break;
                }
                Err(error) => {
                    count(&counters.accept_errors);
                    tracing::debug!(%error, "accept failed");
                    if !is_about_one_connection(&error) {
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }
}

/// Whether only the connection that was to be accepted failed (accept(2) passes such errors on).
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// After other errors, usually too many open files: trying at once again would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
