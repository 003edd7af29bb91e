//! What a [`Fetch`](crate::Fetch) wants done: plain data in a buffer that is used again and again.

use std::{net::SocketAddr, ops::Range, time::Duration};

use crate::{Candidate, FetchFailure, Fetched, PeerReport, Transport};

/// Names a connection of one fetch. Never used twice by the same fetch, so that an event that comes late is known as
/// late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub(crate) u16);

impl Slot {
    /// The number of the connection, counted from 0 in the order of the connects.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The slot with this number, for an owner whose keys hold only that.
    pub const fn from_number(number: u16) -> Self {
        Self(number)
    }
}

/// How a connection is to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseHow {
    /// In good order: the peer has served us.
    Flush,
    /// At once, with a reset, which frees the socket on both sides.
    Reset,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Open a connection: with TCP (and `TCP_NODELAY`: without it a fetch takes 43..60 ms longer) or with uTP, as the
    /// transport says. Unless [`TransportPolicy`](crate::TransportPolicy) allows uTP, it is always TCP.
    Connect {
        /// Names it from now on.
        slot: Slot,
        /// The other end.
        addr: SocketAddr,
        /// How long it may take.
        timeout: Duration,
        /// What is to carry it. Whether it is encrypted is not the owner's concern: bytes come and go as they are to
        /// be on the wire.
        transport: Transport,
    },
    /// Send bytes.
    Write {
        /// The connection.
        slot: Slot,
        /// The bytes, in the order of the actions.
        bytes: &'a [u8],
    },
    /// End a connection, or give up one that does not stand yet. Not issued when the peer has closed.
    Close {
        /// The connection.
        slot: Slot,
        /// How.
        how: CloseHow,
    },
    /// A connection is over; comes once for each `Connect`.
    Report(Box<PeerReport>),
    /// This endpoint has been proven to send wrong bytes or a wrong size. Comes in addition to its report, and also
    /// for a peer that has long gone.
    Liar(SocketAddr),
    /// A peer has told of another one (BEP 11). It is tried when it is [offered](crate::Fetch::add_candidate_by), which is for the
    /// owner to decide, who knows whom not to speak to.
    Exchanged {
        /// The other one.
        candidate: Candidate,
        /// By what it is said to be reached.
        hint: Option<Transport>,
    },
    /// The fetch has succeeded; nothing follows.
    Done(Box<Fetched>),
    /// The fetch has failed; nothing follows.
    Failed(FetchFailure),
}

/// Where a fetch writes its actions. One serves any number of fetches, one after another.
#[derive(Debug, Default)]
pub struct Output {
    ops: Vec<Op>,
    bytes: Vec<u8>,
    /// Connects that may still be asked for; `None`: any number.
    connects_left: Option<u32>,
    /// Where fetches decrypt what came, a piece's worth at a time: one place for all of them.
    pub(crate) decrypted: Vec<u8>,
}

#[derive(Debug)]
enum Op {
    Connect { slot: Slot, addr: SocketAddr, timeout: Duration, transport: Transport },
    Write { slot: Slot, bytes: Range<usize> },
    Close { slot: Slot, how: CloseHow },
    Report(Box<PeerReport>),
    Liar(SocketAddr),
    Exchanged { candidate: Candidate, hint: Option<Transport> },
    Done(Box<Fetched>),
    Failed(FetchFailure),
}

impl Output {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes all actions out, in the order in which they are to be done. The memory stays.
    pub fn drain(&mut self) -> impl Iterator<Item = Action<'_>> {
        let Self { ops, bytes, .. } = self;
        let bytes = &*bytes;
        ops.drain(..).map(move |op| match op {
            Op::Connect { slot, addr, timeout, transport } => {
                Action::Connect { slot, addr, timeout, transport }
            }
            Op::Write { slot, bytes: range } => {
                Action::Write { slot, bytes: bytes.get(range).unwrap_or_default() }
            }
            Op::Close { slot, how } => Action::Close { slot, how },
            Op::Report(report) => Action::Report(report),
            Op::Liar(addr) => Action::Liar(addr),
            Op::Exchanged { candidate, hint } => Action::Exchanged { candidate, hint },
            Op::Done(fetched) => Action::Done(fetched),
            Op::Failed(failure) => Action::Failed(failure),
        })
    }

    /// From now on, and until the next call, no more than so many connects are asked for: a budget that all fetches of a
    /// program share. A fetch that would ask for more [waits](crate::Fetch::awaits_connect). Without this call there is no
    /// limit.
    pub fn allow_connects(&mut self, connects: u32) {
        self.connects_left = Some(connects);
    }

    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    pub(crate) fn may_connect(&self) -> bool {
        self.connects_left != Some(0)
    }

    pub(crate) fn connect(&mut self, slot: Slot, addr: SocketAddr, timeout: Duration, transport: Transport) {
        self.connects_left = self.connects_left.map(|left| left.saturating_sub(1));
        self.ops.push(Op::Connect { slot, addr, timeout, transport });
    }

    /// Sends what `write` appends; bytes for the same connection in a row become one write.
    pub(crate) fn write<T>(&mut self, slot: Slot, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        if self.ops.is_empty() {
            // Nothing points into it any more.
            self.bytes.clear();
        }
        let start = self.bytes.len();
        let result = write(&mut self.bytes);
        let end = self.bytes.len();
        if end > start {
            match self.ops.last_mut() {
                Some(Op::Write { slot: last, bytes }) if *last == slot && bytes.end == start => {
                    bytes.end = end;
                }
                _ => self.ops.push(Op::Write { slot, bytes: start..end }),
            }
        }
        result
    }

    pub(crate) fn close(&mut self, slot: Slot, how: CloseHow) {
        self.ops.push(Op::Close { slot, how });
    }

    pub(crate) fn report(&mut self, report: PeerReport) {
        self.ops.push(Op::Report(Box::new(report)));
    }

    pub(crate) fn liar(&mut self, addr: SocketAddr) {
        self.ops.push(Op::Liar(addr));
    }

    pub(crate) fn exchanged(&mut self, candidate: Candidate, hint: Option<Transport>) {
        self.ops.push(Op::Exchanged { candidate, hint });
    }

    pub(crate) fn done(&mut self, fetched: Fetched) {
        self.ops.push(Op::Done(Box::new(fetched)));
    }

    pub(crate) fn failed(&mut self, failure: FetchFailure) {
        self.ops.push(Op::Failed(failure));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_to_one_connection_in_a_row_become_one() {
        let mut out = Output::new();
        out.write(Slot(1), |bytes| bytes.extend_from_slice(b"ab"));
        out.write(Slot(1), |bytes| bytes.extend_from_slice(b"c"));
        out.write(Slot(2), |_| ());
        out.write(Slot(2), |bytes| bytes.extend_from_slice(b"d"));
        out.close(Slot(2), CloseHow::Reset);
        out.write(Slot(2), |bytes| bytes.extend_from_slice(b"e"));
        let actions: Vec<_> = out.drain().collect();
        assert_eq!(
            actions,
            [
                Action::Write { slot: Slot(1), bytes: b"abc" },
                Action::Write { slot: Slot(2), bytes: b"d" },
                Action::Close { slot: Slot(2), how: CloseHow::Reset },
                Action::Write { slot: Slot(2), bytes: b"e" },
            ]
        );
    }

    #[test]
    fn a_drained_buffer_starts_anew() {
        let mut out = Output::new();
        out.write(Slot(1), |bytes| bytes.extend_from_slice(b"first"));
        assert_eq!(out.drain().count(), 1);
        assert!(out.is_empty());
        out.write(Slot(1), |bytes| bytes.extend_from_slice(b"second"));
        assert_eq!(out.bytes, b"second");
        assert_eq!(out.drain().next(), Some(Action::Write { slot: Slot(1), bytes: b"second" }));
    }
}
