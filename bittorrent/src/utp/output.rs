//! What an endpoint wants done: plain data in a buffer that is used again and again.

use std::{net::SocketAddr, ops::Range};

use super::{UtpHandle, packet::Packet};
use crate::Disconnect;

/// One thing to do, or that has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UtpAction<'a> {
    /// Send a datagram.
    Send {
        /// Where to.
        to: SocketAddr,
        /// What.
        datagram: &'a [u8],
    },
    /// A connection that was asked for stands.
    Opened(UtpHandle),
    /// Somebody has opened a connection to us.
    Accepted {
        /// Names it from now on.
        handle: UtpHandle,
        /// Who.
        addr: SocketAddr,
    },
    /// Bytes have come, in order.
    Data {
        /// The connection.
        handle: UtpHandle,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// A connection is over, or was not made. Its handle means nothing any more. Does not come after
    /// [`Utp::close`](super::Utp::close).
    Closed {
        /// The connection.
        handle: UtpHandle,
        /// Why: [`Eof`](Disconnect::Eof), [`Reset`](Disconnect::Reset), [`Refused`](Disconnect::Refused) (a reset in
        /// place of a connection) or [`Timeout`](Disconnect::Timeout).
        why: Disconnect,
    },
}

/// Where an endpoint writes its actions.
#[derive(Debug, Default)]
pub struct UtpOutput {
    ops: Vec<Op>,
    bytes: Vec<u8>,
}

#[derive(Debug)]
enum Op {
    Send { to: SocketAddr, datagram: Range<usize> },
    Opened(UtpHandle),
    Accepted { handle: UtpHandle, addr: SocketAddr },
    Data { handle: UtpHandle, bytes: Range<usize> },
    Closed { handle: UtpHandle, why: Disconnect },
}

impl UtpOutput {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes all actions out, in the order in which they came about. The memory stays.
    pub fn drain(&mut self) -> impl Iterator<Item = UtpAction<'_>> {
        let Self { ops, bytes } = self;
        let bytes = &*bytes;
        let at = |range: Range<usize>| bytes.get(range).unwrap_or_default();
        ops.drain(..).map(move |op| match op {
            Op::Send { to, datagram } => UtpAction::Send { to, datagram: at(datagram) },
            Op::Opened(handle) => UtpAction::Opened(handle),
            Op::Accepted { handle, addr } => UtpAction::Accepted { handle, addr },
            Op::Data { handle, bytes } => UtpAction::Data { handle, bytes: at(bytes) },
            Op::Closed { handle, why } => UtpAction::Closed { handle, why },
        })
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Sends a packet whose payload `payload` appends.
    pub(super) fn send(&mut self, to: SocketAddr, packet: &Packet<'_>, payload: impl FnOnce(&mut Vec<u8>)) {
        let start = self.start();
        packet.write(&mut self.bytes);
        payload(&mut self.bytes);
        self.ops.push(Op::Send { to, datagram: start..self.bytes.len() });
    }

    pub(super) fn opened(&mut self, handle: UtpHandle) {
        self.ops.push(Op::Opened(handle));
    }

    pub(super) fn accepted(&mut self, handle: UtpHandle, addr: SocketAddr) {
        self.ops.push(Op::Accepted { handle, addr });
    }

    /// Bytes of one connection in a row become one action.
    pub(super) fn data(&mut self, handle: UtpHandle, payload: &[u8]) {
        if payload.is_empty() {
            return;
        }
        let start = self.start();
        self.bytes.extend_from_slice(payload);
        let end = self.bytes.len();
        match self.ops.last_mut() {
            Some(Op::Data { handle: last, bytes }) if *last == handle && bytes.end == start => {
                bytes.end = end;
            }
            _ => self.ops.push(Op::Data { handle, bytes: start..end }),
        }
    }

    pub(super) fn closed(&mut self, handle: UtpHandle, why: Disconnect) {
        self.ops.push(Op::Closed { handle, why });
    }

    fn start(&mut self) -> usize {
        if self.ops.is_empty() {
            // Nothing points into it any more.
            self.bytes.clear();
        }
        self.bytes.len()
    }
}
