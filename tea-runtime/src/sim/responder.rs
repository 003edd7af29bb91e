//! Scripted nodes without a program: cheap enough to fill a world with.

use std::{io, net::SocketAddr, time::Duration};

use super::{
    node::SimNode,
    rng::SimRng,
    tcp::{EndId, TcpEvent, Upcall},
    trace::Kind,
    world::{Event, World},
};
use crate::{Close, CloseReason, StreamEvent, Time};

/// A scripted node: a few bytes of state and what it answers. It has no limits and no lanes; that is for programs.
///
/// One responder has all ports of its addresses. What it does not implement it ignores, and it refuses TCP.
#[expect(unused_variables, reason = "the names are the documentation of what a default ignores")]
pub trait Responder: 'static {
    /// It was added to the world, or restarted after a crash.
    fn start(&mut self, out: &mut Out<'_>) {}

    /// A datagram arrived. Answer with `out.send(to, from, ..)`.
    fn datagram(&mut self, to: SocketAddr, from: SocketAddr, payload: &[u8], out: &mut Out<'_>) {}

    /// A time chosen by [`Out::wake_after`] has come.
    fn wake(&mut self, token: u64, out: &mut Out<'_>) {}

    /// Somebody wants to connect to `local`: `false` refuses. On `true`, [`stream`](Self::stream) gets `Opened` next.
    fn accepts(&mut self, local: SocketAddr, peer: SocketAddr) -> bool {
        false
    }

    /// Something happened on a stream. After `Closed` the stream is gone; it is always the last.
    fn stream(&mut self, stream: SimStream, event: StreamEvent, out: &mut Out<'_>) {}
}

/// A TCP stream of a responder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SimStream(EndId);

/// What a responder can do.
pub struct Out<'a> {
    world: &'a mut World,
    node: u32,
}

impl Out<'_> {
    /// Sends a datagram; `write` encodes it. `from` is not checked, so a responder can lie about its address, and use any
    /// of its ports.
    pub fn send(&mut self, from: SocketAddr, to: SocketAddr, write: impl FnOnce(&mut Vec<u8>)) {
        let mut payload = self.world.take_buffer();
        write(&mut payload);
        self.world.send_datagram(self.node, from, to, payload);
    }

    /// Calls [`Responder::wake`] with `token` after `delay`, unless the responder crashes before.
    pub fn wake_after(&mut self, delay: Duration, token: u64) {
        let epoch = self.world.nodes[self.node as usize].epoch;
        self.world.queue.push(self.world.now + delay, Event::Wake { node: self.node, epoch, token });
    }

    /// Opens a stream; [`Responder::stream`] hears of it. `None`: the responder has no address of that family.
    pub fn connect(&mut self, to: SocketAddr) -> Option<SimStream> {
        let state = &mut self.world.nodes[self.node as usize];
        let ip = state.source_for(to.ip())?;
        let local = SocketAddr::new(ip, state.take_port());
        Some(SimStream(self.world.tcp_connect(self.node, local, to)))
    }

    /// Writes bytes; before `Opened` they wait. With more than 16 MiB waiting the stream is reset.
    pub fn write(&mut self, stream: SimStream, bytes: &[u8]) {
        if self.world.tcp.pending(stream.0) + bytes.len() > PENDING_BYTES_MAX {
            return self.world.tcp_reset(stream.0);
        }
        self.world.tcp_write(stream.0, bytes);
        self.world.tcp_pump(stream.0);
    }

    /// Ends a stream; nothing more comes from it. `Flush` sends only what the window of 256 KiB has room for.
    pub fn close(&mut self, stream: SimStream, how: Close) {
        match how {
            Close::Flush => self.world.tcp_close(stream.0),
            Close::Reset => self.world.tcp_reset(stream.0),
        }
    }

    /// Stops reading: what arrives waits, and when the window is full the other side cannot send.
    pub fn pause(&mut self, stream: SimStream) {
        self.world.tcp_pause(stream.0);
    }

    /// Reads again. Returns what had arrived; what comes later goes to [`Responder::stream`].
    pub fn resume(&mut self, stream: SimStream) -> Vec<u8> {
        self.world.tcp_resume(stream.0).concat()
    }

    /// The time.
    pub fn now(&self) -> Time {
        self.world.now
    }

    /// The world's randomness.
    pub fn rng(&mut self) -> &mut SimRng {
        &mut self.world.rng
    }

    /// The responder itself.
    pub fn node(&self) -> SimNode {
        SimNode(self.node)
    }
}

pub(super) fn start(responder: &mut dyn Responder, node: u32, world: &mut World) {
    world.trace.event(world.now, node, Kind::Start);
    responder.start(&mut Out { world, node });
}

pub(super) fn wake(responder: &mut dyn Responder, node: u32, token: u64, world: &mut World) {
    world.trace.event(world.now, node, Kind::Wake);
    world.trace.name(&token);
    responder.wake(token, &mut Out { world, node });
}

pub(super) fn datagram(
    responder: &mut dyn Responder,
    (node, to, from): (u32, SocketAddr, SocketAddr),
    payload: &[u8],
    world: &mut World,
) {
    world.trace.event(world.now, node, Kind::Datagram);
    world.trace.address(from);
    world.trace.bytes(payload);
    responder.datagram(to, from, payload, &mut Out { world, node });
}

pub(super) fn stream(responder: &mut dyn Responder, upcall: Upcall, world: &mut World) {
    let Upcall { node, end, what } = upcall;
    let Some((local, peer)) = world.tcp.end(end).map(|end| (end.local, end.peer)) else {
        // Forgotten with its last event.
        return tell(responder, node, end, closed_by(&what), world);
    };
    let event = match what {
        TcpEvent::Syn => {
            let accepted = responder.accepts(local, peer);
            world.tcp_answer(end, accepted);
            if !accepted || !world.tcp_accept(end) {
                return;
            }
            Some(StreamEvent::Opened { local, peer })
        }
        TcpEvent::Opened => {
            world.tcp_pump(end);
            Some(StreamEvent::Opened { local, peer })
        }
        TcpEvent::Data(bytes) => Some(StreamEvent::Data(bytes)),
        TcpEvent::Eof => {
            // Answers the other side's farewell after the responder has had its last word.
            tell(responder, node, end, closed_by(&TcpEvent::Eof), world);
            return world.tcp_close(end);
        }
        TcpEvent::Sent => None,
        TcpEvent::Refused | TcpEvent::TimedOut { .. } | TcpEvent::Reset => closed_by(&what),
    };
    tell(responder, node, end, event, world);
}

/// The event with which a connection ends, if it does.
pub(super) fn closed_by(what: &TcpEvent) -> Option<StreamEvent> {
    let reason = match what {
        TcpEvent::Eof => CloseReason::Eof,
        TcpEvent::Refused => CloseReason::Refused,
        TcpEvent::Reset => CloseReason::Reset,
        TcpEvent::TimedOut { connecting: true } => CloseReason::ConnectTimeout,
        TcpEvent::TimedOut { connecting: false } => CloseReason::Io(io::ErrorKind::TimedOut),
        TcpEvent::Syn | TcpEvent::Opened | TcpEvent::Data(_) | TcpEvent::Sent => return None,
    };
    Some(StreamEvent::Closed(reason))
}

fn tell(responder: &mut dyn Responder, node: u32, end: EndId, event: Option<StreamEvent>, world: &mut World) {
    let Some(event) = event else { return };
    trace_stream(world, node, end, &event);
    responder.stream(SimStream(end), event, &mut Out { world, node });
}

/// Mixes a stream event into the trace.
pub(super) fn trace_stream(world: &mut World, node: u32, end: EndId, event: &StreamEvent) {
    world.trace.event(world.now, node, Kind::Stream);
    world.trace.name(&end);
    match event {
        StreamEvent::Opened { peer, .. } => world.trace.address(*peer),
        StreamEvent::Data(bytes) => world.trace.bytes(bytes),
        StreamEvent::Closed(reason) => world.trace.name(reason),
    }
}

/// What a stream of a responder may have waiting: many times any info dict, so only a script without end reaches it.
const PENDING_BYTES_MAX: usize = 16 << 20;
