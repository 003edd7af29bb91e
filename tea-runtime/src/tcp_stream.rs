//! The task of one TCP stream: connects, reads, writes and watches every limit with one timer.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    Close, CloseReason, StreamEvent, StreamLimits,
    bell::Bell,
    clock::{instant, later},
    stream_control::{StreamControl, Unsent},
};

/// An event and the number of the stream that it belongs to.
pub(crate) type Arrival = (u64, StreamEvent);

/// How a stream comes into being.
pub(crate) enum Origin {
    Connect(SocketAddr),
    Accepted(TcpStream),
}

/// What all streams of a shard share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) lane: mpsc::Sender<Arrival>,
    pub(crate) bell: Bell,
    /// Received into, then copied out in the right size: a chunk that waits costs what it holds, and a stream that is
    /// silent has no buffer.
    pub(crate) scratch: Arc<Mutex<Vec<u8>>>,
    /// Streams whose task has not ended, including those that have given up their place.
    pub(crate) tasks: Arc<AtomicUsize>,
    /// Turns true when the program stops: then nobody waits long for the other side's farewell.
    pub(crate) stopping: watch::Receiver<bool>,
}

pub(crate) struct StreamTask {
    id: u64,
    limits: StreamLimits,
    control: Arc<StreamControl>,
    shared: Shared,
}

impl StreamTask {
    pub(crate) fn new(id: u64, limits: StreamLimits, control: Arc<StreamControl>, shared: Shared) -> Self {
        shared.tasks.fetch_add(1, Ordering::Relaxed);
        Self { id, limits, control, shared }
    }

    /// Runs the stream to its end and reports that, unless the program ended it.
    pub(crate) async fn run(self, origin: Origin) {
        let stream = match origin {
            Origin::Accepted(stream) => Ok(stream),
            Origin::Connect(to) => self.connect(to).await,
        };
        let reason = match stream {
            Ok(stream) => {
                let reason = Box::pin(self.pump(&stream)).await;
                // What broke a limit is not worth a farewell; a reset frees both sides at once.
                if reason.as_ref().is_some_and(|reason| *reason != CloseReason::Eof) {
                    let _ = stream.set_zero_linger();
                }
                reason
            }
            Err(reason) => reason,
        };
        if let Some(reason) = reason
            && let Ok(slot) = self.shared.lane.reserve().await
        {
            slot.send((self.id, StreamEvent::Closed(reason)));
            self.shared.bell.ring();
        }
    }

    async fn connect(&self, to: SocketAddr) -> Result<TcpStream, Option<CloseReason>> {
        let connected = tokio::select! {
            biased;
            () = self.control.ended() => return Err(None),
            connected = timeout(self.limits.connect_timeout, connect(to, self.limits.bind)) => connected,
        };
        match connected {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                Err(Some(CloseReason::ConnectTimeout))
            }
            Ok(Err(error)) => Err(Some(reason_of(&error))),
            Err(_) => Err(Some(CloseReason::ConnectTimeout)),
        }
    }

    /// Moves bytes both ways until a limit is reached or either side ends the stream. `None`: the program did.
    async fn pump(&self, stream: &TcpStream) -> Option<CloseReason> {
        // A peer that is gone already shows when the stream is read.
        let _ = stream.set_nodelay(true);
        let (Ok(local), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) else {
            return Some(CloseReason::Reset);
        };
        let limits = &self.limits;
        let mut opened = Some(StreamEvent::Opened { local, peer });
        let mut unsent = Unsent::default();
        let mut received: u64 = 0;
        // Known to be readable: waits for a slot in the lane. That the program is slow is not the peer's silence.
        let mut readable = false;
        let mut deadlines = Deadlines::new(limits);
        let mut sleep = pin!(sleep_until(deadlines.next(readable, &unsent)));
        loop {
            let idle = unsent.is_empty();
            match self.control.take(&mut unsent) {
                None => {}
                Some(Close::Reset) => {
                    let _ = stream.set_zero_linger();
                    return None;
                }
                Some(Close::Flush) => {
                    self.flush(stream, unsent).await;
                    return None;
                }
            }
            if idle && !unsent.is_empty() {
                deadlines.progress = instant();
            }
            // The timer is moved only when it must ring earlier; when it rings early it is set anew.
            let next = deadlines.next(readable, &unsent);
            if next < sleep.deadline() {
                sleep.as_mut().reset(next);
            }
            tokio::select! {
                biased;
                () = &mut sleep => {
                    if let Some(reason) = deadlines.passed(readable, &unsent) {
                        return Some(reason);
                    }
                    sleep.as_mut().reset(next);
                }
                () = self.control.changed() => {}
                slot = self.shared.lane.reserve(), if readable || opened.is_some() => {
                    // The loop is gone.
                    let Ok(slot) = slot else { return None };
                    if let Some(opened) = opened.take() {
                        slot.send((self.id, opened));
                        self.shared.bell.ring();
                        continue;
                    }
                    match self.read(stream, limits.read_bytes_max - received) {
                        Ok(Bounded::Bytes(bytes)) => {
                            received += bytes.len() as u64;
                            deadlines.received = instant();
                            slot.send((self.id, StreamEvent::Data(bytes)));
                            self.shared.bell.ring();
                        }
                        Ok(Bounded::Eof) => return Some(CloseReason::Eof),
                        Ok(Bounded::Exceeded) => return Some(CloseReason::TooMuchReceived),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => readable = false,
                        Err(error) => return Some(reason_of(&error)),
                    }
                }
                ready = stream.readable(), if !readable => match ready {
                    Ok(()) => readable = true,
                    Err(error) => return Some(reason_of(&error)),
                },
                ready = stream.writable(), if !unsent.is_empty() => {
                    match ready.and_then(|()| stream.try_write(unsent.rest())) {
                        Ok(len) => {
                            unsent.advance(len);
                            self.control.sent(len);
                            deadlines.progress = instant();
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(error) => return Some(reason_of(&error)),
                    }
                }
            }
        }
    }

    fn read(&self, stream: &TcpStream, budget: u64) -> io::Result<Bounded> {
        let mut scratch = self.shared.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        // One byte more than allowed shows whether the peer sends too much.
        let budget = usize::try_from(budget.saturating_add(1)).unwrap_or(usize::MAX);
        let len_max = self.limits.chunk_bytes_max.max(1).min(budget);
        if scratch.len() < len_max {
            scratch.resize(len_max, 0);
        }
        Ok(match stream.try_read(&mut scratch[..len_max])? {
            0 => Bounded::Eof,
            len if len == budget => Bounded::Exceeded,
            len => Bounded::Bytes(Bytes::copy_from_slice(&scratch[..len])),
        })
    }

    /// Sends what is queued, then FIN, then waits for the other side's: closing with unread bytes would make the kernel
    /// reset the connection and destroy what is still on its way.
    async fn flush(&self, stream: &TcpStream, mut unsent: Unsent) {
        loop {
            while !unsent.is_empty() {
                match timeout(self.limits.write_timeout, stream.writable()).await {
                    Ok(Ok(())) => {}
                    _ => return,
                }
                match stream.try_write(unsent.rest()) {
                    Ok(len) => {
                        unsent.advance(len);
                        self.control.sent(len);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
            if self.control.take(&mut unsent) == Some(Close::Reset) || unsent.is_empty() {
                break;
            }
        }
        if socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write).is_err() {
            return;
        }
        let drained = async {
            let mut left = self.limits.read_bytes_max;
            while left > 0 && stream.readable().await.is_ok() {
                match self.read(stream, left) {
                    Ok(Bounded::Bytes(bytes)) => left -= bytes.len() as u64,
                    Ok(Bounded::Eof | Bounded::Exceeded) => break,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => break,
                }
            }
        };
        let mut stopping = self.shared.stopping.clone();
        let hurry = async {
            let _ = stopping.wait_for(|stopping| *stopping).await;
            sleep(FAREWELL_MAX).await;
        };
        tokio::select! {
            // Who does not answer the FIN in this time is left to the kernel.
            _ = timeout(self.limits.write_timeout, drained) => {}
            () = hurry => {}
        }
    }
}

impl Drop for StreamTask {
    fn drop(&mut self) {
        self.control.free_place();
        self.shared.tasks.fetch_sub(1, Ordering::Relaxed);
        // A program that is stopping waits for it.
        self.shared.bell.ring();
    }
}

/// What one read brought, within what may still be received.
enum Bounded {
    Bytes(Bytes),
    Eof,
    Exceeded,
}

/// The limits that are times.
struct Deadlines<'a> {
    limits: &'a StreamLimits,
    end_of_life: Instant,
    /// When the last bytes arrived.
    received: Instant,
    /// When the other side last took bytes, or when they were queued.
    progress: Instant,
}

impl<'a> Deadlines<'a> {
    fn new(limits: &'a StreamLimits) -> Self {
        let now = instant();
        Self { limits, end_of_life: later(now, limits.lifetime_max), received: now, progress: now }
    }

    fn next(&self, readable: bool, unsent: &Unsent) -> Instant {
        let mut next = self.end_of_life;
        if !readable {
            next = next.min(later(self.received, self.limits.idle_timeout));
        }
        if !unsent.is_empty() {
            next = next.min(later(self.progress, self.limits.write_timeout));
        }
        next
    }

    fn passed(&self, readable: bool, unsent: &Unsent) -> Option<CloseReason> {
        let now = instant();
        if now >= self.end_of_life {
            return Some(CloseReason::LifetimeExceeded);
        }
        if !unsent.is_empty() && now >= later(self.progress, self.limits.write_timeout) {
            return Some(CloseReason::WriteTimeout);
        }
        (!readable && now >= later(self.received, self.limits.idle_timeout))
            .then_some(CloseReason::IdleTimeout)
    }
}

async fn connect(to: SocketAddr, bind: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(address) = bind {
        socket.bind(SocketAddr::new(address, 0))?;
    }
    socket.connect(to).await
}

fn reason_of(error: &io::Error) -> CloseReason {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => CloseReason::Refused,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
            CloseReason::Unreachable
        }
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            CloseReason::Reset
        }
        kind => CloseReason::Io(kind),
    }
}

/// How long a program that stops waits for the other side to end the stream too. 1 s: several round trips around the world.
const FAREWELL_MAX: Duration = Duration::from_secs(1);
