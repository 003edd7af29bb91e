//! Virtual TCP: what the kernels and the wire between them do. Limits belong to whoever uses a connection.
//!
//! A connection is two ends. What an end sends waits in order on its wire; the head of a wire arrives when its time has
//! come and the path is up, so loss and partitions show as delay, never as gaps. A window bounds what an end may
//! have sent and the other side's program has not taken yet.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use bytes::Bytes;

use super::{
    network::Route,
    world::{Event, World},
};
use crate::Time;

/// One end of a connection. Ends of forgotten connections name nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct EndId {
    connection: u32,
    generation: u32,
    side: u8,
}

/// All connections.
#[derive(Default)]
pub(super) struct Tcp {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    ends: Option<Box<[End; 2]>>,
}

/// What a kernel knows about its end of a connection.
pub(super) struct End {
    /// `None`: nobody has the address.
    pub(super) node: Option<u32>,
    pub(super) local: SocketAddr,
    /// The other end as this one sees it.
    pub(super) peer: SocketAddr,
    pub(super) state: EndState,
    /// The user does not want to read now.
    paused: bool,
    /// Written, but there is no room for it in the window.
    pending: VecDeque<u8>,
    /// Sent and not taken by the other side's user.
    unacknowledged: usize,
    /// Arrived, not taken by the user.
    inbox: VecDeque<Bytes>,
    fin_arrived: bool,
    fin_sent: bool,
    wire: VecDeque<(Time, Segment)>,
    /// An event for the head of the wire is scheduled.
    armed: bool,
    /// How often in a row the head of the wire did not get through.
    attempts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndState {
    /// Not connected yet, or the other side has not been asked.
    Fresh,
    /// Waits for the other side's answer.
    Connecting,
    /// Accepted by the kernel, not by the program.
    Waiting,
    Open,
    /// The user has closed it; what is on the wire is still delivered.
    Closed,
    /// Reset, refused or crashed: nothing is known of it any more.
    Gone,
}

#[derive(Debug)]
enum Segment {
    Syn,
    SynAck,
    Data(Bytes),
    Fin,
    Reset,
}

/// What happened at an end; its node is to be told.
#[derive(Debug)]
pub(super) struct Upcall {
    pub(super) node: u32,
    pub(super) end: EndId,
    pub(super) what: TcpEvent,
}

#[derive(Debug)]
pub(super) enum TcpEvent {
    /// Somebody wants to connect: answer with [`World::tcp_answer`].
    Syn,
    Opened,
    Refused,
    /// The other side did not answer for so long that the kernel gave up.
    TimedOut {
        connecting: bool,
    },
    Data(Bytes),
    Eof,
    Reset,
    /// Bytes that were pending were sent.
    Sent,
}

impl End {
    fn new(node: Option<u32>, local: SocketAddr, peer: SocketAddr, state: EndState) -> Self {
        Self {
            node,
            local,
            peer,
            state,
            paused: false,
            pending: VecDeque::new(),
            unacknowledged: 0,
            inbox: VecDeque::new(),
            fin_arrived: false,
            fin_sent: false,
            wire: VecDeque::new(),
            armed: false,
            attempts: 0,
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.state, EndState::Closed | EndState::Gone | EndState::Fresh) && self.wire.is_empty()
    }

    /// Nothing is known of it from now on.
    fn forget(&mut self) {
        self.state = EndState::Gone;
        self.pending = VecDeque::new();
        self.inbox = VecDeque::new();
    }
}

impl Segment {
    /// When it is sent again for the first time.
    const fn first_timeout(&self) -> Duration {
        match self {
            Self::Syn | Self::SynAck => SYN_TIMEOUT,
            Self::Data(_) | Self::Fin | Self::Reset => RETRANSMIT_MIN,
        }
    }
}

impl EndId {
    /// The other end of the same connection.
    const fn other(self) -> Self {
        Self { side: 1 - self.side, ..self }
    }
}

impl Tcp {
    fn open(&mut self, ends: [End; 2]) -> EndId {
        let connection = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[connection as usize];
        slot.ends = Some(Box::new(ends));
        EndId { connection, generation: slot.generation, side: 0 }
    }

    pub(super) fn end(&self, id: EndId) -> Option<&End> {
        let slot = self.slots.get(id.connection as usize).filter(|slot| slot.generation == id.generation)?;
        slot.ends.as_ref().map(|ends| &ends[usize::from(id.side)])
    }

    fn end_mut(&mut self, id: EndId) -> Option<&mut End> {
        let slot =
            self.slots.get_mut(id.connection as usize).filter(|slot| slot.generation == id.generation)?;
        slot.ends.as_mut().map(|ends| &mut ends[usize::from(id.side)])
    }

    /// Bytes written and not yet taken by the kernel.
    pub(super) fn pending(&self, id: EndId) -> usize {
        self.end(id).map_or(0, |end| end.pending.len())
    }

    /// Whether the other side has said that it will send nothing more.
    pub(super) fn has_ended(&self, id: EndId) -> bool {
        self.end(id).is_none_or(|end| end.fin_arrived)
    }

    /// Connections of which anything is known.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn forget_if_over(&mut self, id: EndId) {
        let Some(slot) = self.slots.get_mut(id.connection as usize) else { return };
        let over = slot.ends.as_ref().is_some_and(|ends| ends.iter().all(End::is_over));
        if slot.generation == id.generation && over {
            slot.ends = None;
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(id.connection);
        }
    }
}

impl World {
    /// Starts to connect; the answer, if any, comes to the node of the returned end.
    pub(super) fn tcp_connect(&mut self, node: u32, local: SocketAddr, to: SocketAddr) -> EndId {
        self.net.counters.connects += 1;
        let nat = self.nodes[node as usize].nat;
        let (receiver, translated) = match self.net.route(nat, to.ip()) {
            Route::Node { node, translated } => (Some(node), translated),
            // Nothing is forwarded inwards: silence.
            Route::Nat(_) | Route::Nowhere => (None, false),
        };
        let seen_as = match nat {
            Some(nat) if translated => self.net.nats[nat as usize].outbound_stream(),
            _ => local,
        };
        let id = self.tcp.open([
            End::new(Some(node), local, to, EndState::Connecting),
            End::new(receiver, to, seen_as, EndState::Fresh),
        ]);
        self.tcp_transmit(id, Segment::Syn);
        id
    }

    /// Answers a [`TcpEvent::Syn`]: `listening` says whether somebody does.
    pub(super) fn tcp_answer(&mut self, id: EndId, listening: bool) {
        let Some(end) = self.tcp.end_mut(id) else { return };
        if listening {
            end.state = EndState::Waiting;
            self.tcp_transmit(id, Segment::SynAck);
        } else {
            self.net.counters.connects_refused += 1;
            end.state = EndState::Gone;
            self.tcp_transmit(id, Segment::Reset);
        }
    }

    /// The program takes a waiting connection. `false`: it is gone already.
    pub(super) fn tcp_accept(&mut self, id: EndId) -> bool {
        match self.tcp.end_mut(id) {
            Some(end) if end.state == EndState::Waiting => {
                end.state = EndState::Open;
                true
            }
            _ => false,
        }
    }

    /// Queues bytes; call [`tcp_pump`](Self::tcp_pump) afterwards.
    pub(super) fn tcp_write(&mut self, id: EndId, bytes: &[u8]) {
        if let Some(end) = self.tcp.end_mut(id)
            && matches!(end.state, EndState::Connecting | EndState::Open)
        {
            end.pending.extend(bytes);
        }
    }

    /// Sends what the window has room for. Returns whether it had room for anything.
    pub(super) fn tcp_pump(&mut self, id: EndId) -> bool {
        let mut sent = false;
        while let Some(end) = self.tcp.end_mut(id).filter(|end| end.state == EndState::Open) {
            let len = end.pending.len().min(WINDOW_BYTES - end.unacknowledged).min(SEGMENT_BYTES_MAX);
            if len == 0 {
                break;
            }
            let bytes: Vec<u8> = end.pending.drain(..len).collect();
            end.unacknowledged += len;
            sent = true;
            self.tcp_transmit(id, Segment::Data(bytes.into()));
        }
        sent
    }

    /// Says that nothing more will be written; reading goes on.
    pub(super) fn tcp_shutdown(&mut self, id: EndId) {
        if let Some(end) = self.tcp.end_mut(id)
            && end.state == EndState::Open
            && !end.fin_sent
        {
            end.fin_sent = true;
            self.tcp_transmit(id, Segment::Fin);
        }
    }

    /// Closes as the kernel does: what was taken is delivered and then the end; unread bytes turn it into a reset.
    pub(super) fn tcp_close(&mut self, id: EndId) {
        let Some(end) = self.tcp.end_mut(id) else { return };
        match end.state {
            EndState::Open if end.inbox.is_empty() => {
                self.tcp_shutdown(id);
                if let Some(end) = self.tcp.end_mut(id) {
                    end.state = EndState::Closed;
                    end.pending = VecDeque::new();
                }
                self.tcp.forget_if_over(id);
            }
            EndState::Fresh | EndState::Connecting | EndState::Waiting | EndState::Open => {
                self.tcp_reset(id);
            }
            EndState::Closed | EndState::Gone => {}
        }
    }

    /// Breaks the connection off; the other side learns it once what is under way has arrived.
    pub(super) fn tcp_reset(&mut self, id: EndId) {
        let Some(end) = self.tcp.end_mut(id) else { return };
        match end.state {
            EndState::Connecting => {
                end.forget();
                end.wire.clear();
            }
            EndState::Waiting | EndState::Open => {
                end.forget();
                self.tcp_transmit(id, Segment::Reset);
            }
            EndState::Fresh | EndState::Closed | EndState::Gone => {}
        }
        self.tcp.forget_if_over(id);
    }

    /// Stops reading.
    pub(super) fn tcp_pause(&mut self, id: EndId) {
        if let Some(end) = self.tcp.end_mut(id) {
            end.paused = true;
        }
    }

    /// Reads again. Takes what arrived while nobody read; if the other side has ended since, that is told next.
    pub(super) fn tcp_resume(&mut self, id: EndId) -> Vec<Bytes> {
        let Some(end) = self.tcp.end_mut(id).filter(|end| end.state == EndState::Open) else {
            return Vec::new();
        };
        end.paused = false;
        let inbox: Vec<Bytes> = end.inbox.drain(..).collect();
        if end.fin_arrived {
            self.queue.push(self.now, Event::Ended(id));
        }
        let bytes = inbox.iter().map(Bytes::len).sum();
        if bytes > 0 {
            self.tcp_acknowledge(id, bytes);
        }
        inbox
    }

    /// The other side had ended while this one did not read.
    pub(super) fn tcp_ended(&self, id: EndId) -> Option<Upcall> {
        let end = self.tcp.end(id).filter(|end| end.state == EndState::Open && !end.paused)?;
        Some(Upcall { node: end.node?, end: id, what: TcpEvent::Eof })
    }

    /// The machine is gone: its ends vanish without a word.
    pub(super) fn tcp_crash(&mut self, node: u32) {
        for id in self.tcp_ends_of(node) {
            if let Some(end) = self.tcp.end_mut(id) {
                end.forget();
                end.wire.clear();
            }
            self.tcp.forget_if_over(id);
        }
    }

    /// The process is gone, its kernel is not: what it had open is closed, what it had not taken reset.
    pub(super) fn tcp_exit(&mut self, node: u32) {
        for id in self.tcp_ends_of(node) {
            self.tcp_close(id);
        }
    }

    fn tcp_ends_of(&self, node: u32) -> Vec<EndId> {
        let mut ids = Vec::new();
        for (connection, slot) in self.tcp.slots.iter().enumerate() {
            let Some(ends) = &slot.ends else { continue };
            for (side, end) in ends.iter().enumerate() {
                if end.node == Some(node) && end.state != EndState::Fresh {
                    ids.push(EndId {
                        connection: connection as u32,
                        generation: slot.generation,
                        side: side as u8,
                    });
                }
            }
        }
        ids
    }

    /// The head of an end's wire is due. Returns what the node at the other end, or at this one, is to be told.
    pub(super) fn tcp_segment_due(&mut self, id: EndId) -> Option<Upcall> {
        let reachable = self.tcp_path_is_up(id);
        let end = self.tcp.end_mut(id)?;
        end.armed = false;
        if !reachable {
            return self.tcp_retransmit_later(id);
        }
        end.attempts = 0;
        let (_, segment) = end.wire.pop_front()?;
        self.tcp_arm(id, Time::ZERO);
        self.net.counters.segments += 1;
        let upcall = self.tcp_arrive(id.other(), segment);
        self.tcp.forget_if_over(id);
        upcall
    }

    /// An acknowledgement arrives at the end that sent the bytes.
    pub(super) fn tcp_acknowledged(&mut self, id: EndId, bytes: usize) -> Option<Upcall> {
        if self.tcp.end(id).is_some() && !self.tcp_path_is_up(id) {
            self.queue.push(self.now + ACKNOWLEDGE_AGAIN, Event::Acknowledged { end: id, bytes });
            return None;
        }
        let end = self.tcp.end_mut(id)?;
        end.unacknowledged = end.unacknowledged.saturating_sub(bytes);
        let node = end.node?;
        self.tcp_pump(id).then_some(Upcall { node, end: id, what: TcpEvent::Sent })
    }

    /// What a segment does at the end where it arrives.
    fn tcp_arrive(&mut self, id: EndId, segment: Segment) -> Option<Upcall> {
        let end = self.tcp.end_mut(id)?;
        let node = end.node?;
        let upcall = |what| Some(Upcall { node, end: id, what });
        match (segment, end.state) {
            (Segment::Syn, EndState::Fresh) => upcall(TcpEvent::Syn),
            (Segment::SynAck, EndState::Connecting) => {
                end.state = EndState::Open;
                upcall(TcpEvent::Opened)
            }
            (Segment::Data(bytes), EndState::Open) if !end.paused => {
                self.tcp_acknowledge(id, bytes.len());
                upcall(TcpEvent::Data(bytes))
            }
            (Segment::Data(bytes), EndState::Open | EndState::Waiting) => {
                end.inbox.push_back(bytes);
                None
            }
            (Segment::Fin, EndState::Open) if !end.paused => {
                end.fin_arrived = true;
                upcall(TcpEvent::Eof)
            }
            (Segment::Fin, EndState::Open | EndState::Waiting | EndState::Closed) => {
                end.fin_arrived = true;
                None
            }
            (Segment::Reset, state) => {
                end.forget();
                end.wire.clear();
                match state {
                    EndState::Connecting => upcall(TcpEvent::Refused),
                    EndState::Waiting | EndState::Open => upcall(TcpEvent::Reset),
                    EndState::Fresh | EndState::Closed | EndState::Gone => None,
                }
            }
            // A kernel that knows nothing of the connection, or has nobody to give the bytes to, says so; once.
            (Segment::Data(_) | Segment::SynAck | Segment::Fin, EndState::Gone) if end.wire.is_empty() => {
                self.tcp_transmit(id, Segment::Reset);
                None
            }
            (Segment::Data(_), EndState::Closed) => {
                end.forget();
                self.tcp_transmit(id, Segment::Reset);
                None
            }
            _ => None,
        }
    }

    /// Puts a segment on an end's wire.
    fn tcp_transmit(&mut self, id: EndId, segment: Segment) {
        let Some((from, to)) = self.tcp_nodes(id) else { return };
        let due = self.now + self.tcp_travel(from, to, segment.first_timeout());
        if let Some(end) = self.tcp.end_mut(id) {
            end.wire.push_back((due, segment));
        }
        self.tcp_arm(id, Time::ZERO);
    }

    /// Schedules the head of the wire, not before `earliest`.
    fn tcp_arm(&mut self, id: EndId, earliest: Time) {
        let now = self.now;
        let Some(end) = self.tcp.end_mut(id).filter(|end| !end.armed) else { return };
        let Some((due, _)) = end.wire.front() else { return };
        let due = (*due).max(earliest).max(now);
        end.armed = true;
        self.queue.push(due, Event::Segment(id));
    }

    /// Nothing gets through: tries again later, or gives up.
    fn tcp_retransmit_later(&mut self, id: EndId) -> Option<Upcall> {
        let now = self.now;
        let end = self.tcp.end_mut(id)?;
        let (_, head) = end.wire.front()?;
        let first = head.first_timeout();
        let attempts_max = if let Segment::Syn = head { SYN_ATTEMPTS_MAX } else { ATTEMPTS_MAX };
        end.attempts += 1;
        let abandoned = end.state == EndState::Gone;
        if !abandoned && end.attempts < attempts_max {
            let pause = first.saturating_mul(1 << (end.attempts - 1).min(16)).min(RETRANSMIT_MAX);
            self.tcp_arm(id, now + pause);
            return None;
        }
        let told = matches!(end.state, EndState::Connecting | EndState::Open | EndState::Waiting);
        let connecting = end.state == EndState::Connecting;
        let node = end.node;
        end.forget();
        end.wire.clear();
        self.tcp.forget_if_over(id);
        let node = node.filter(|_| told)?;
        Some(Upcall { node, end: id, what: TcpEvent::TimedOut { connecting } })
    }

    /// Tells the other side's kernel that the user of this end has taken bytes.
    fn tcp_acknowledge(&mut self, id: EndId, bytes: usize) {
        let Some((from, to)) = self.tcp_nodes(id) else { return };
        let at = self.now + self.tcp_travel(from, to, RETRANSMIT_MIN);
        self.queue.push(at, Event::Acknowledged { end: id.other(), bytes });
    }

    fn tcp_travel(&mut self, from: u32, to: u32, timeout: Duration) -> Duration {
        let pair = self.net.pair(from, to);
        self.net.policy(&self.nodes, from, to).travel_reliably(pair, timeout, &mut self.rng)
    }

    /// The nodes that a segment of this end goes from and to.
    fn tcp_nodes(&self, id: EndId) -> Option<(u32, u32)> {
        let from = self.tcp.end(id)?.node;
        let to = self.tcp.end(id.other())?.node;
        // A node that does not exist is as far away as oneself.
        let known = from.or(to)?;
        Some((from.unwrap_or(known), to.unwrap_or(known)))
    }

    fn tcp_path_is_up(&self, id: EndId) -> bool {
        let node = |id| self.tcp.end(id).and_then(|end| end.node);
        let (Some(from), Some(to)) = (node(id), node(id.other())) else { return false };
        let is_up = |node: u32| self.nodes[node as usize].up;
        is_up(from) && is_up(to) && !self.net.partitions.cut(self.now, from, to)
    }
}

/// What an end may have sent and the other side's program has not taken: the buffers of both kernels. 256 KiB: the order
/// of Linux's defaults (`tcp_wmem` and `tcp_rmem`, 16 and 128 KiB, which grow).
const WINDOW_BYTES: usize = 256 << 10;
/// What travels as one piece.
const SEGMENT_BYTES_MAX: usize = 16 << 10;
/// The first retransmission timeout of a segment, as Linux has it; doubles each time.
const RETRANSMIT_MIN: Duration = Duration::from_millis(200);
/// That of a SYN and of its answer (RFC 6298, 2.1).
const SYN_TIMEOUT: Duration = Duration::from_secs(1);
/// Linux gives up connecting after 127 s: 7 attempts (`tcp_syn_retries`).
const SYN_ATTEMPTS_MAX: u32 = 7;
/// Linux gives up sending after 15 retransmissions (`tcp_retries2`), some 15 minutes.
const ATTEMPTS_MAX: u32 = 15;
/// The longest retransmission timeout of Linux.
const RETRANSMIT_MAX: Duration = Duration::from_secs(120);
/// When an acknowledgement that did not get through is repeated.
const ACKNOWLEDGE_AGAIN: Duration = Duration::from_secs(1);
