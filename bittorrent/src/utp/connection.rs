//! One connection: what its packets, its owner and the clock do to it.

use std::{net::SocketAddr, time::Duration};

use super::{
    UtpConfig, UtpCounters, UtpHandle, UtpOutput,
    ledbat::Ledbat,
    packet::{Packet, PacketKind, SelectiveAck},
    reassembly::{Arrival, Reassembly, Spare},
    rtt::RttEstimator,
    send_queue::{Outgoing, SendQueue},
    sequence::SeqNr,
};
use crate::Disconnect;

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// The other end.
    pub(super) addr: SocketAddr,
    /// The id in packets that come; the ids of both directions differ by 1.
    pub(super) receive_id: u16,
    /// The id in packets that go.
    pub(super) send_id: u16,
    /// Whether the other side has opened it.
    pub(super) accepted: bool,
    /// Whether [`emit`](Self::emit) is to be called.
    pub(super) dirty: bool,
    /// The earliest entry among the timers.
    pub(super) scheduled_at: Option<Duration>,
    stage: Stage,
    queue: SendQueue,
    reassembly: Reassembly,
    rtt: RttEstimator,
    ledbat: Ledbat,
    peer_window: usize,
    /// Whether more would have been sent, had the windows been larger.
    limited: bool,
    /// Our clock less theirs when their last packet came, in microseconds.
    difference: u32,
    ack_due: bool,
    /// When what is in flight counts as lost.
    lost_at: Option<Duration>,
    timeouts: u8,
    /// When a closed window is to be tried.
    probe_at: Option<Duration>,
    probing: bool,
    sent_at: Duration,
    received_at: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// We have asked for it.
    SynSent,
    /// They have asked for it, and have not shown yet that they receive what we send.
    HalfOpen { until: Duration },
    /// Both have what they need.
    Open,
    /// The owner has nothing to do with it any more; the last bytes are on their way.
    Lingering { until: Duration },
}

/// Whether a connection is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Verdict {
    Stays,
    Over,
}

/// What the endpoint lends to a connection.
pub(super) struct Turn<'a> {
    pub(super) now: Duration,
    pub(super) handle: UtpHandle,
    pub(super) config: &'a UtpConfig,
    pub(super) counters: &'a mut UtpCounters,
    pub(super) out: &'a mut UtpOutput,
    pub(super) spare: &'a mut Spare,
    /// Bytes that all connections together may still keep beyond gaps.
    pub(super) reassembly_room: usize,
}

impl Connection {
    /// A connection that we ask for; the first packet leaves with the next [`emit`](Self::emit).
    pub(super) fn connect(now: Duration, addr: SocketAddr, id: u16, seq: SeqNr, config: &UtpConfig) -> Self {
        Self::new(now, addr, (id, id.wrapping_add(1)), seq, SeqNr(0), Stage::SynSent, config)
    }

    /// A connection that `syn` asks for.
    pub(super) fn accept(
        now: Duration,
        addr: SocketAddr,
        syn: &Packet<'_>,
        seq: SeqNr,
        config: &UtpConfig,
    ) -> Self {
        let ids = (syn.connection_id.wrapping_add(1), syn.connection_id);
        let stage = Stage::HalfOpen { until: now + HALF_OPEN_TIME_MAX };
        let mut connection = Self::new(now, addr, ids, seq, syn.seq.plus(1), stage, config);
        connection.accepted = true;
        connection.hear(now, syn);
        connection.ack_due = true;
        connection
    }

    fn new(
        now: Duration,
        addr: SocketAddr,
        (receive_id, send_id): (u16, u16),
        seq: SeqNr,
        expected: SeqNr,
        stage: Stage,
        config: &UtpConfig,
    ) -> Self {
        Self {
            addr,
            receive_id,
            send_id,
            accepted: false,
            dirty: false,
            scheduled_at: None,
            stage,
            queue: SendQueue::new(seq),
            reassembly: Reassembly::new(expected),
            rtt: RttEstimator::default(),
            ledbat: Ledbat::new(config.payload_bytes_max()),
            peer_window: 0,
            limited: false,
            difference: 0,
            ack_due: false,
            lost_at: None,
            timeouts: 0,
            probe_at: None,
            probing: false,
            sent_at: now,
            received_at: now,
        }
    }

    /// A packet has come for this connection.
    pub(super) fn receive(&mut self, packet: &Packet<'_>, turn: &mut Turn<'_>) -> Verdict {
        if packet.kind == PacketKind::Reset {
            return self.reset_by_peer(turn);
        }
        match self.stage {
            Stage::SynSent => {
                // Only the answer to the SYN tells where the other side's numbers begin. It has the number that their
                // first payload will have; data that overtook it comes again.
                if packet.kind != PacketKind::State || packet.ack != self.queue.next_seq().minus(1) {
                    turn.counters.out_of_window += 1;
                    return Verdict::Stays;
                }
                self.reassembly = Reassembly::new(packet.seq);
                self.stage = Stage::Open;
                turn.out.opened(turn.handle);
            }
            Stage::HalfOpen { .. } => {
                if packet.kind == PacketKind::Syn {
                    // Our answer was lost.
                    self.ack_due = true;
                    return Verdict::Stays;
                }
                if packet.ack != self.queue.next_seq().minus(1) {
                    turn.counters.acks_invalid += 1;
                    return Verdict::Stays;
                }
                self.stage = Stage::Open;
                turn.counters.accepted += 1;
                turn.out.accepted(turn.handle, self.addr);
            }
            Stage::Open | Stage::Lingering { .. } => {
                if packet.kind == PacketKind::Syn {
                    self.ack_due |= self.accepted;
                    return Verdict::Stays;
                }
            }
        }
        if !self.take_acknowledgement(packet, turn) {
            return Verdict::Stays;
        }
        self.hear(turn.now, packet);
        match packet.kind {
            PacketKind::Data => self.take_payload(packet, turn),
            PacketKind::Fin => {
                self.ack_due = true;
                let arrival = self.reassembly.finish(packet.seq);
                count(arrival, turn.counters);
            }
            PacketKind::State | PacketKind::Reset | PacketKind::Syn => {}
        }
        if self.stage == Stage::Open && self.reassembly.has_ended() {
            turn.out.closed(turn.handle, Disconnect::Eof);
            // Who has closed takes nothing any more.
            self.queue.drop_unsent();
            self.linger(turn);
        }
        if self.queue.is_done() && self.is_lingering() && !self.ack_due {
            return Verdict::Over;
        }
        Verdict::Stays
    }

    /// Appends bytes to what is to be sent; `false` when they do not fit.
    pub(super) fn write(&mut self, bytes: &[u8], config: &UtpConfig) -> bool {
        let fits = self.queue.bytes_held() + bytes.len() <= config.send_buffer_bytes_max;
        if fits {
            self.queue.write(bytes);
        }
        fits
    }

    /// Closes in good order: what was written is sent, then the end, and nothing is reported any more.
    pub(super) fn close(&mut self, turn: &mut Turn<'_>) -> Verdict {
        match self.stage {
            Stage::SynSent | Stage::HalfOpen { .. } => Verdict::Over,
            Stage::Lingering { .. } => Verdict::Stays,
            Stage::Open => {
                self.linger(turn);
                Verdict::Stays
            }
        }
    }

    /// Tells the other side that the connection does not exist any more.
    pub(super) fn write_reset(&mut self, turn: &mut Turn<'_>) {
        if self.stage != Stage::SynSent {
            let packet = self.header(PacketKind::Reset, self.queue.next_seq(), turn);
            self.send_packet(&packet, turn);
        }
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, turn: &mut Turn<'_>) -> Verdict {
        let now = turn.now;
        match self.stage {
            Stage::HalfOpen { until } if now >= until => {
                turn.counters.half_open_expired += 1;
                return Verdict::Over;
            }
            Stage::Lingering { until } if now >= until => {
                turn.counters.lingered_out += u64::from(!self.queue.is_done());
                return Verdict::Over;
            }
            _ => {}
        }
        let mut silent = now >= self.received_at + turn.config.idle_timeout;
        if self.lost_at.is_some_and(|at| now >= at) {
            self.lost_at = None;
            self.timeouts = self.timeouts.saturating_add(1);
            turn.counters.timeouts += 1;
            silent |= self.timeouts >= if self.stage == Stage::SynSent { SYNS_MAX } else { TIMEOUTS_MAX };
            if self.queue.lose_all() {
                self.ledbat.timed_out();
            }
        }
        if silent {
            turn.counters.timed_out += 1;
            if !self.is_lingering() {
                turn.out.closed(turn.handle, Disconnect::Timeout);
            }
            return Verdict::Over;
        }
        if self.probe_at.is_some_and(|at| now >= at) {
            self.probe_at = None;
            self.probing = true;
        }
        if self.stage == Stage::Open && now >= self.sent_at + KEEP_ALIVE_AFTER {
            // Out of date by one, so that it is not taken for the repetition that tells of a loss.
            let ack = self.reassembly.ack().minus(1);
            let packet = Packet { ack, ..self.header(PacketKind::State, self.queue.next_seq(), turn) };
            self.send_packet(&packet, turn);
        }
        Verdict::Stays
    }

    /// Sends what can be sent now.
    pub(super) fn emit(&mut self, turn: &mut Turn<'_>) -> Verdict {
        let config = turn.config;
        if self.stage == Stage::SynSent && !self.queue.awaits_ack() {
            let syn = self.queue.open(turn.now);
            self.write_outgoing(&syn, turn);
        }
        let payload_max = config.payload_bytes_max();
        let acks_gap = self.ack_due && self.reassembly.bytes_held() > 0;
        if acks_gap || matches!(self.stage, Stage::HalfOpen { .. }) {
            self.acknowledge(turn);
        }
        loop {
            let opened = !matches!(self.stage, Stage::SynSent | Stage::HalfOpen { .. });
            let window = if self.probing { payload_max } else { self.peer_window };
            // Before it is open, only the SYN is repeated, which has no payload.
            let room = if opened { self.ledbat.window().min(window) } else { 0 };
            let closing = self.is_lingering();
            let Some(packet) = self.queue.next(turn.now, room, payload_max, closing) else { break };
            self.probing = false;
            self.write_outgoing(&packet, turn);
        }
        self.acknowledge(turn);
        self.limited = self.queue.has_more();
        if self.queue.awaits_ack() {
            self.lost_at.get_or_insert(turn.now + self.rtt.timeout(self.timeouts));
        } else {
            self.lost_at = None;
        }
        if self.queue.is_stuck() && self.peer_window == 0 && self.stage != Stage::SynSent {
            self.probe_at.get_or_insert(turn.now + PROBE_AFTER);
        } else {
            self.probe_at = None;
        }
        if self.queue.is_done() && self.is_lingering() { Verdict::Over } else { Verdict::Stays }
    }

    /// When [`tick`](Self::tick) is to be called.
    pub(super) fn deadline(&self, config: &UtpConfig) -> Duration {
        let stage = match self.stage {
            Stage::HalfOpen { until } | Stage::Lingering { until } => Some(until),
            Stage::Open => Some(self.sent_at + KEEP_ALIVE_AFTER),
            Stage::SynSent => None,
        };
        let idle = self.received_at + config.idle_timeout;
        [stage, self.lost_at, self.probe_at].into_iter().flatten().fold(idle, Duration::min)
    }

    /// Bytes that wait behind gaps.
    pub(super) fn reassembly_bytes(&self) -> usize {
        self.reassembly.bytes_held()
    }

    /// Bytes written that are not acknowledged.
    pub(super) fn send_bytes(&self) -> usize {
        self.queue.bytes_held()
    }

    /// Whether its owner has nothing to do with it any more.
    pub(super) fn is_lingering(&self) -> bool {
        matches!(self.stage, Stage::Lingering { .. })
    }

    /// Whether its opener has not shown yet that it receives what we send.
    pub(super) fn is_half_open(&self) -> bool {
        matches!(self.stage, Stage::HalfOpen { .. })
    }

    /// Gives its buffers back.
    pub(super) fn release(&mut self, spare: &mut Spare) {
        self.reassembly.release(spare);
    }

    fn linger(&mut self, turn: &mut Turn<'_>) {
        self.stage = Stage::Lingering { until: turn.now + turn.config.linger };
        self.reassembly.release(turn.spare);
    }

    fn reset_by_peer(&mut self, turn: &mut Turn<'_>) -> Verdict {
        let why = match self.stage {
            Stage::SynSent => Disconnect::Refused,
            _ => Disconnect::Reset,
        };
        turn.counters.reset_by_peer += 1;
        if matches!(self.stage, Stage::SynSent | Stage::Open) {
            turn.out.closed(turn.handle, why);
        }
        Verdict::Over
    }

    /// Takes note of what every header says.
    fn hear(&mut self, now: Duration, packet: &Packet<'_>) {
        self.received_at = now;
        self.difference = micros(now).wrapping_sub(packet.timestamp);
        self.peer_window = packet.window as usize;
    }

    /// `false` when the packet acknowledges what was never sent, and so is of another connection or made up.
    fn take_acknowledgement(&mut self, packet: &Packet<'_>, turn: &mut Turn<'_>) -> bool {
        let bare = packet.kind == PacketKind::State;
        let Ok(progress) = self.queue.acknowledge(turn.now, packet.ack, packet.selective_ack, bare) else {
            turn.counters.acks_invalid += 1;
            return false;
        };
        if let Some(rtt) = progress.rtt {
            self.rtt.sample(rtt);
        }
        if progress.packets > 0 {
            self.timeouts = 0;
            // The wait begins anew with each acknowledgement.
            self.lost_at = None;
            let delay = (packet.timestamp_difference != 0).then_some(packet.timestamp_difference);
            self.ledbat.acknowledged(turn.now, progress.bytes, self.limited, delay, self.rtt.mean());
        }
        if progress.lost {
            self.ledbat.lost(turn.now, self.rtt.mean());
        }
        true
    }

    fn take_payload(&mut self, packet: &Packet<'_>, turn: &mut Turn<'_>) {
        self.ack_due = true;
        let (handle, open) = (turn.handle, self.stage == Stage::Open);
        // For whom the owner has no ear any more, nothing is kept.
        let window = if open { turn.config.receive_window_bytes } else { 0 };
        let room = window.min(self.reassembly.bytes_held() + turn.reassembly_room);
        let out = &mut *turn.out;
        let arrival = self.reassembly.insert(packet.seq, packet.payload, room, turn.spare, |bytes| {
            if open {
                out.data(handle, bytes);
            }
        });
        count(arrival, turn.counters);
    }

    fn acknowledge(&mut self, turn: &mut Turn<'_>) {
        if !self.ack_due {
            return;
        }
        self.ack_due = false;
        let mut bits = [0; SelectiveAck::BYTES_MAX];
        let selective_ack = self.reassembly.selective_ack(&mut bits);
        let packet = self.header(PacketKind::State, self.queue.next_seq(), turn);
        self.send_packet(&Packet { selective_ack, ..packet }, turn);
    }

    fn write_outgoing(&mut self, outgoing: &Outgoing, turn: &mut Turn<'_>) {
        turn.counters.retransmitted += u64::from(outgoing.again);
        turn.counters.sent += 1;
        let packet = self.header(outgoing.kind, outgoing.seq, turn);
        turn.out.send(self.addr, &packet, |out| self.queue.copy_payload(outgoing, out));
        // What goes out acknowledges what came in.
        self.ack_due = false;
        self.sent_at = turn.now;
    }

    fn send_packet(&mut self, packet: &Packet<'_>, turn: &mut Turn<'_>) {
        turn.counters.sent += 1;
        turn.out.send(self.addr, packet, |_| ());
        self.sent_at = turn.now;
    }

    fn header(&self, kind: PacketKind, seq: SeqNr, turn: &Turn<'_>) -> Packet<'static> {
        let free = turn.config.receive_window_bytes.saturating_sub(self.reassembly.bytes_held());
        let (connection_id, ack) = match kind {
            PacketKind::Syn => (self.receive_id, SeqNr(0)),
            _ => (self.send_id, self.reassembly.ack()),
        };
        Packet {
            kind,
            connection_id,
            timestamp: micros(turn.now),
            timestamp_difference: self.difference,
            window: u32::try_from(free).unwrap_or(u32::MAX),
            seq,
            ack,
            selective_ack: None,
            payload: b"",
        }
    }
}

fn count(arrival: Arrival, counters: &mut UtpCounters) {
    match arrival {
        Arrival::InOrder | Arrival::Kept => {}
        Arrival::Duplicate => counters.duplicates += 1,
        Arrival::OutOfWindow => counters.out_of_window += 1,
        Arrival::Refused => counters.reassembly_refused += 1,
    }
}

/// The clock as packets carry it: it wraps around.
pub(super) fn micros(now: Duration) -> u32 {
    now.as_micros() as u32
}

/// SYNs sent before nobody is believed to be there: with waits of 1, 2 and 4 s, longer than any connect timeout of ours.
const SYNS_MAX: u8 = 3;
/// Waits in vain before the other side is believed to be gone. They take longer than the idle timeout is by default, since on a
/// path that loses a fifth each way six in a row are no rarity.
const TIMEOUTS_MAX: u8 = 10;
/// As the first implementation does it: mappings of NATs last for 30 s and more.
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(29);
/// A closed window is tried after so long, in case the packet that opened it was lost.
const PROBE_AFTER: Duration = Duration::from_secs(5);
/// Who opens a connection speaks first: the wait for it.
const HALF_OPEN_TIME_MAX: Duration = Duration::from_secs(6);
