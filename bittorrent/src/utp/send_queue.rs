//! What is to be sent and what is on its way.

use std::{collections::VecDeque, time::Duration};

use super::{
    packet::{PacketKind, SelectiveAck},
    sequence::{HALF, SeqNr},
};

/// The bytes of one direction that are not acknowledged yet, and the packets that carry them.
#[derive(Debug)]
pub(super) struct SendQueue {
    /// First what packets in `flight` carry, then what was not sent yet.
    bytes: VecDeque<u8>,
    /// How many of `bytes` have been sent.
    sent_bytes: usize,
    /// Packets with consecutive numbers, the first of which is not acknowledged.
    flight: VecDeque<Flight>,
    /// The number of the first in `flight`, or if there is none, of the next packet.
    first: SeqNr,
    /// Payload that is believed to be on its way.
    in_flight: usize,
    /// Counts transmissions.
    order: u64,
    same_acks: u8,
    fin_sent: bool,
}

#[derive(Debug)]
struct Flight {
    kind: PacketKind,
    len: u16,
    sent_at: Duration,
    /// Which transmission the last one of this packet was.
    order: u64,
    transmissions: u8,
    fate: Fate,
    /// Packets sent later that have arrived.
    overtaken: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    OnItsWay,
    Arrived,
    Lost,
}

/// A packet that is to be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) kind: PacketKind,
    pub(super) seq: SeqNr,
    /// Where its payload begins among the bytes held, and how long it is.
    pub(super) start: usize,
    pub(super) len: usize,
    pub(super) again: bool,
}

/// What an acknowledgement has brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Packets that were not known to have arrived.
    pub(super) packets: usize,
    /// Their payload.
    pub(super) bytes: usize,
    /// How long the last of those took that were sent once.
    pub(super) rtt: Option<Duration>,
    /// Whether a packet is now known to be lost.
    pub(super) lost: bool,
}

/// Somebody acknowledges what was never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InvalidAck;

impl SendQueue {
    /// An empty queue whose first packet will have this number.
    pub(super) fn new(first: SeqNr) -> Self {
        Self {
            bytes: VecDeque::new(),
            sent_bytes: 0,
            flight: VecDeque::new(),
            first,
            in_flight: 0,
            order: 0,
            same_acks: 0,
            fin_sent: false,
        }
    }

    /// Appends bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// Forgets what was not sent yet.
    pub(super) fn drop_unsent(&mut self) {
        self.bytes.truncate(self.sent_bytes);
    }

    /// Takes note of what the other side has received. `bare` says that the packet did nothing else.
    pub(super) fn acknowledge(
        &mut self,
        now: Duration,
        ack: SeqNr,
        selective: Option<SelectiveAck<'_>>,
        bare: bool,
    ) -> Result<Progress, InvalidAck> {
        let mut progress = Progress::default();
        let arrived = usize::from(ack.since(self.first.minus(1)));
        if arrived > self.flight.len() {
            // It may be an old one that was overtaken.
            let behind = self.first.minus(1).since(ack);
            return if behind < OLD_ACKS_MAX { Ok(progress) } else { Err(InvalidAck) };
        }
        let mut newest = Newest::default();
        for _ in 0..arrived {
            let Some(packet) = self.flight.pop_front() else { break };
            newest.add(self.take_note(&packet, now, &mut progress));
            self.bytes.drain(..usize::from(packet.len));
            self.sent_bytes -= usize::from(packet.len);
            self.first = self.first.plus(1);
        }
        if let Some(bits) = selective {
            // Bit 0 is the packet after the first in flight.
            let count = bits.len().min(self.flight.len().saturating_sub(1));
            for at in (0..count).filter(|at| bits.contains(*at)) {
                let Some(packet) = self.flight.get_mut(at + 1) else { break };
                if packet.fate == Fate::Arrived {
                    continue;
                }
                let before = packet.fate;
                packet.fate = Fate::Arrived;
                let packet = Flight { fate: before, ..*packet };
                newest.add(self.take_note(&packet, now, &mut progress));
            }
        }
        if progress.packets > 0 {
            self.same_acks = 0;
            self.find_overtaken(&newest, &mut progress);
        } else if bare && selective.is_none() && arrived == 0 && !self.flight.is_empty() {
            // Who knows no selective acknowledgement repeats the plain one.
            self.same_acks = self.same_acks.saturating_add(1);
            if self.same_acks == OVERTAKEN_MAX {
                progress.lost |= self.lose(0);
            }
        }
        Ok(progress)
    }

    /// Counts all that is on its way as lost, and says whether there was anything.
    pub(super) fn lose_all(&mut self) -> bool {
        self.same_acks = 0;
        (0..self.flight.len()).filter(|at| self.lose(*at)).count() > 0
    }

    /// The next packet to send, if `room` for bytes on their way allows it: first those that were lost. With `closing` the
    /// end follows after the last byte.
    pub(super) fn next(
        &mut self,
        now: Duration,
        room: usize,
        payload_max: usize,
        closing: bool,
    ) -> Option<Outgoing> {
        let mut start = 0;
        for (at, packet) in self.flight.iter_mut().enumerate() {
            let len = usize::from(packet.len);
            if packet.fate == Fate::Lost {
                if self.in_flight > 0 && self.in_flight + len > room {
                    return None;
                }
                self.order += 1;
                self.in_flight += len;
                packet.order = self.order;
                packet.fate = Fate::OnItsWay;
                packet.sent_at = now;
                packet.transmissions = packet.transmissions.saturating_add(1);
                packet.overtaken = 0;
                let seq = self.first.plus(at as u16);
                return Some(Outgoing { kind: packet.kind, seq, start, len, again: true });
            }
            start += len;
        }
        if self.flight.len() >= FLIGHT_PACKETS_MAX || self.fin_sent {
            return None;
        }
        let unsent = self.bytes.len() - self.sent_bytes;
        let (kind, len) = match unsent {
            0 if closing => (PacketKind::Fin, 0),
            0 => return None,
            _ => {
                // A full packet, or what is left; less only when nothing else would ever be sent.
                let len = unsent.min(payload_max);
                let free = room.saturating_sub(self.in_flight);
                let len = if self.in_flight == 0 { len.min(free) } else { len };
                if len == 0 || len > free {
                    return None;
                }
                (PacketKind::Data, len)
            }
        };
        Some(self.send(now, kind, len))
    }

    /// Sends the packet that opens the connection.
    pub(super) fn open(&mut self, now: Duration) -> Outgoing {
        self.send(now, PacketKind::Syn, 0)
    }

    /// Appends the payload of a packet to `out`.
    pub(super) fn copy_payload(&self, packet: &Outgoing, out: &mut Vec<u8>) {
        let (front, back) = self.bytes.as_slices();
        let end = packet.start + packet.len;
        let part = |slice: &[u8], from: usize, to: usize, out: &mut Vec<u8>| {
            out.extend_from_slice(slice.get(from..to.min(slice.len())).unwrap_or_default());
        };
        part(front, packet.start.min(front.len()), end, out);
        let split = front.len();
        part(back, packet.start.saturating_sub(split), end.saturating_sub(split), out);
    }

    /// The number that the next new packet has.
    pub(super) fn next_seq(&self) -> SeqNr {
        self.first.plus(self.flight.len() as u16)
    }

    /// Whether packets wait for their acknowledgement.
    pub(super) fn awaits_ack(&self) -> bool {
        !self.flight.is_empty()
    }

    /// Whether something waits to be sent.
    pub(super) fn has_more(&self) -> bool {
        self.bytes.len() > self.sent_bytes || self.flight.iter().any(|packet| packet.fate == Fate::Lost)
    }

    /// Whether there is more to send than the other side has room for: nothing is on its way that could change that.
    pub(super) fn is_stuck(&self) -> bool {
        self.flight.is_empty() && self.bytes.len() > self.sent_bytes
    }

    /// Whether the end was sent and acknowledged.
    pub(super) fn is_done(&self) -> bool {
        self.fin_sent && self.flight.is_empty()
    }

    /// Bytes that are held.
    pub(super) fn bytes_held(&self) -> usize {
        self.bytes.len()
    }

    fn send(&mut self, now: Duration, kind: PacketKind, len: usize) -> Outgoing {
        let packet = Outgoing { kind, seq: self.next_seq(), start: self.sent_bytes, len, again: false };
        self.order += 1;
        self.flight.push_back(Flight {
            kind,
            len: len as u16,
            sent_at: now,
            order: self.order,
            transmissions: 1,
            fate: Fate::OnItsWay,
            overtaken: 0,
        });
        self.sent_bytes += len;
        self.in_flight += len;
        self.fin_sent |= kind == PacketKind::Fin;
        packet
    }

    /// A packet has arrived: returns which transmission it was.
    fn take_note(&mut self, packet: &Flight, now: Duration, progress: &mut Progress) -> u64 {
        if packet.fate == Fate::Arrived {
            return 0;
        }
        if packet.fate == Fate::OnItsWay {
            self.in_flight -= usize::from(packet.len);
        }
        progress.packets += 1;
        progress.bytes += usize::from(packet.len);
        if packet.transmissions == 1 {
            progress.rtt = Some(now.saturating_sub(packet.sent_at));
        }
        packet.order
    }

    /// Packets that were sent before others that have arrived are late; after three such others they count as lost.
    fn find_overtaken(&mut self, newest: &Newest, progress: &mut Progress) {
        for at in 0..self.flight.len() {
            let packet = &mut self.flight[at];
            if packet.fate == Fate::OnItsWay {
                packet.overtaken = packet.overtaken.saturating_add(newest.later_than(packet.order));
                if packet.overtaken >= OVERTAKEN_MAX {
                    progress.lost |= self.lose(at);
                }
            }
        }
    }

    fn lose(&mut self, at: usize) -> bool {
        let Some(packet) = self.flight.get_mut(at) else { return false };
        let was_on_its_way = packet.fate == Fate::OnItsWay;
        if was_on_its_way {
            packet.fate = Fate::Lost;
            self.in_flight -= usize::from(packet.len);
        }
        was_on_its_way
    }
}

/// The last transmissions of those that have arrived: more than [`OVERTAKEN_MAX`] make no difference.
#[derive(Debug, Default)]
struct Newest([u64; OVERTAKEN_MAX as usize]);

impl Newest {
    fn add(&mut self, order: u64) {
        if let Some(oldest) = self.0.iter_mut().min().filter(|oldest| **oldest < order) {
            *oldest = order;
        }
    }

    fn later_than(&self, order: u64) -> u8 {
        self.0.iter().filter(|other| **other > order).count() as u8
    }
}

/// Packets on their way: what a selective acknowledgement of ours and most others' receive buffers can speak of.
const FLIGHT_PACKETS_MAX: usize = 256;
/// As in TCP, a packet that three later ones have overtaken counts as lost.
const OVERTAKEN_MAX: u8 = 3;
/// How old an acknowledgement may be that the network has delayed, in packets.
const OLD_ACKS_MAX: u16 = 2 * FLIGHT_PACKETS_MAX as u16;
const _: () = assert!(OLD_ACKS_MAX < HALF);

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(5);
    const LATER: Duration = Duration::from_millis(5_100);

    /// A queue with so many packets of 10 bytes on their way, across the wrap of the numbers.
    fn sent(packets: usize) -> SendQueue {
        let mut queue = SendQueue::new(SeqNr(0xfffe));
        queue.write(&(0..packets * 10).map(|n| n as u8).collect::<Vec<_>>());
        for _ in 0..packets {
            assert!(!queue.next(NOW, 100_000, 10, false).unwrap().again);
        }
        assert_eq!(queue.next(NOW, 100_000, 10, false), None);
        queue
    }

    fn again(queue: &mut SendQueue) -> Vec<u16> {
        let mut seqs = Vec::new();
        while let Some(packet) = queue.next(LATER, 100_000, 10, false) {
            let mut payload = Vec::new();
            queue.copy_payload(&packet, &mut payload);
            assert_eq!(payload.len(), 10);
            assert!(packet.again);
            seqs.push(packet.seq.0);
        }
        seqs
    }

    #[test]
    fn bytes_become_packets_and_leave_when_acknowledged() {
        let mut queue = sent(4);
        assert_eq!((queue.next_seq(), queue.bytes_held()), (SeqNr(2), 40));
        let progress = queue.acknowledge(LATER, SeqNr(0xffff), None, true).unwrap();
        let rtt = Some(Duration::from_millis(100));
        assert_eq!((progress.packets, progress.bytes, progress.rtt), (2, 20, rtt));
        let progress = queue.acknowledge(LATER, SeqNr(1), None, true).unwrap();
        assert_eq!((progress.packets, queue.bytes_held(), queue.awaits_ack()), (2, 0, false));
    }

    #[test]
    fn what_was_never_sent_cannot_be_acknowledged() {
        let mut queue = sent(4);
        for never in [2, 3, 100, 0x7fff] {
            assert_eq!(queue.acknowledge(NOW, SeqNr(never), None, true), Err(InvalidAck), "{never}");
        }
        let old = queue.acknowledge(NOW, SeqNr(0xfff0), None, true).unwrap();
        assert_eq!((old.packets, queue.bytes_held()), (0, 40));
        let beyond = [0xff; 8];
        let bits = SelectiveAck::new(&beyond);
        let progress = queue.acknowledge(NOW, SeqNr(0xfffd), bits, true).unwrap();
        assert_eq!(progress.packets, 3, "bits for packets that were not sent mean nothing");
    }

    #[test]
    fn a_packet_that_three_later_ones_overtook_is_sent_again_once() {
        let mut queue = sent(6);
        // The packets 0xffff and 0 and 1 have come, 0xfffe is missing.
        let progress =
            queue.acknowledge(LATER, SeqNr(0xfffd), SelectiveAck::new(&[0b11, 0, 0, 0]), true).unwrap();
        assert!(!progress.lost);
        let progress =
            queue.acknowledge(LATER, SeqNr(0xfffd), SelectiveAck::new(&[0b111, 0, 0, 0]), true).unwrap();
        assert!(progress.lost);
        assert_eq!(again(&mut queue), [0xfffe]);
        // What was sent before the repetition does not overtake it.
        let progress =
            queue.acknowledge(LATER, SeqNr(0xfffd), SelectiveAck::new(&[0b11111, 0, 0, 0]), true).unwrap();
        assert!(!progress.lost);
        let progress = queue.acknowledge(LATER, SeqNr(3), None, true).unwrap();
        assert_eq!((progress.packets, progress.rtt, queue.bytes_held()), (1, None, 0));
    }

    #[test]
    fn three_repetitions_of_a_plain_acknowledgement_mean_a_loss() {
        let mut queue = sent(5);
        let lost = [(); 4].map(|()| queue.acknowledge(LATER, SeqNr(0xfffd), None, true).unwrap().lost);
        assert_eq!(lost, [false, false, true, false]);
        assert_eq!(again(&mut queue), [0xfffe]);
        let carrying = [(); 4].map(|()| queue.acknowledge(LATER, SeqNr(0xfffd), None, false).unwrap().lost);
        assert_eq!(carrying, [false; 4], "packets with payload repeat it without meaning it");
    }

    #[test]
    fn after_a_timeout_everything_is_sent_again_in_order() {
        let mut queue = sent(3);
        assert!(queue.lose_all());
        assert!(!queue.lose_all());
        assert_eq!(queue.next(LATER, 5, 10, false).map(|p| p.seq.0), Some(0xfffe), "one whatever the room");
        assert_eq!(queue.next(LATER, 15, 10, false), None);
        assert_eq!(again(&mut queue), [0xffff, 0]);
    }

    #[test]
    fn the_end_has_a_number_of_its_own_and_nothing_follows_it() {
        let mut queue = SendQueue::new(SeqNr(7));
        queue.write(b"last words");
        assert_eq!(queue.next(NOW, 4, 10, true).map(|p| (p.kind, p.len)), Some((PacketKind::Data, 4)));
        assert_eq!(queue.next(NOW, 4, 10, true), None);
        assert_eq!(queue.next(NOW, 40, 10, true).map(|p| (p.kind, p.len)), Some((PacketKind::Data, 6)));
        let fin = queue.next(NOW, 40, 10, true).unwrap();
        assert_eq!((fin.kind, fin.seq, fin.len), (PacketKind::Fin, SeqNr(9), 0));
        assert_eq!(queue.next(NOW, 40, 10, true), None);
        assert!(!queue.is_done());
        queue.acknowledge(NOW, SeqNr(9), None, true).unwrap();
        assert!(queue.is_done());
    }
}
