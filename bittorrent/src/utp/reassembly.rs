//! Puts what comes into its order.

use std::collections::VecDeque;

use super::{
    packet::SelectiveAck,
    sequence::{HALF, SeqNr},
};

/// One direction of a connection, as it comes in.
#[derive(Debug)]
pub(super) struct Reassembly {
    /// The packet that is waited for.
    next: SeqNr,
    /// The packets after that one.
    beyond: VecDeque<Option<Vec<u8>>>,
    bytes_held: usize,
    fin: Option<SeqNr>,
    ended: bool,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It was the next one; it and what waited for it has been passed on.
    InOrder,
    /// It waits for others.
    Kept,
    /// It was here before.
    Duplicate,
    /// It is too far ahead, or behind the end.
    OutOfWindow,
    /// There is no room for it.
    Refused,
}

impl Reassembly {
    /// The first packet to come has this number.
    pub(super) fn new(next: SeqNr) -> Self {
        Self { next, beyond: VecDeque::new(), bytes_held: 0, fin: None, ended: false }
    }

    /// A packet has come. What is in order is passed to `deliver`; what is not is kept if it fits into `room` bytes, in a
    /// buffer of `spare` if there is one.
    pub(super) fn insert(
        &mut self,
        seq: SeqNr,
        payload: &[u8],
        room: usize,
        spare: &mut Spare,
        mut deliver: impl FnMut(&[u8]),
    ) -> Arrival {
        let ahead = seq.since(self.next);
        if ahead >= HALF {
            return Arrival::Duplicate;
        }
        if self.fin.is_some_and(|fin| ahead >= fin.since(self.next)) || self.ended {
            return Arrival::OutOfWindow;
        }
        if ahead == 0 {
            deliver(payload);
            self.next = self.next.plus(1);
            // The place of the packet after the one delivered.
            while let Some(kept) = self.beyond.pop_front().flatten() {
                deliver(&kept);
                self.bytes_held -= kept.len();
                self.next = self.next.plus(1);
                spare.give(kept);
            }
            self.look_for_the_end();
            return Arrival::InOrder;
        }
        let at = usize::from(ahead) - 1;
        if at >= BEYOND_PACKETS_MAX {
            return Arrival::OutOfWindow;
        }
        match self.beyond.get(at) {
            Some(Some(_)) => return Arrival::Duplicate,
            _ if self.bytes_held + payload.len() > room => return Arrival::Refused,
            Some(None) => {}
            None => self.beyond.resize_with(at + 1, || None),
        }
        self.bytes_held += payload.len();
        if let Some(place) = self.beyond.get_mut(at) {
            *place = Some(spare.take(payload));
        }
        Arrival::Kept
    }

    /// The other side will send nothing after this number.
    pub(super) fn finish(&mut self, fin: SeqNr) -> Arrival {
        if self.ended || fin.since(self.next) >= HALF {
            return Arrival::Duplicate;
        }
        if usize::from(fin.since(self.next)) > BEYOND_PACKETS_MAX
            || self.fin.is_some_and(|first| first != fin)
        {
            return Arrival::OutOfWindow;
        }
        self.fin = Some(fin);
        self.look_for_the_end();
        if self.ended { Arrival::InOrder } else { Arrival::Kept }
    }

    /// Whether all has come, up to the end.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// The last packet up to which all have come.
    pub(super) fn ack(&self) -> SeqNr {
        self.next.minus(1)
    }

    /// Bytes that wait behind a gap.
    pub(super) fn bytes_held(&self) -> usize {
        self.bytes_held
    }

    /// Which packets wait behind a gap; `bits` is where the answer is put.
    pub(super) fn selective_ack<'a>(
        &self,
        bits: &'a mut [u8; SelectiveAck::BYTES_MAX],
    ) -> Option<SelectiveAck<'a>> {
        if self.bytes_held == 0 && self.beyond.iter().all(Option::is_none) {
            return None;
        }
        *bits = [0; SelectiveAck::BYTES_MAX];
        for (at, _) in self.beyond.iter().enumerate().filter(|(_, kept)| kept.is_some()) {
            if let Some(byte) = bits.get_mut(at / 8) {
                *byte |= 1 << (at % 8);
            }
        }
        let len = self.beyond.len().div_ceil(32).saturating_mul(4);
        SelectiveAck::new(bits.get(..len).unwrap_or(bits))
    }

    /// Gives the buffers back.
    pub(super) fn release(&mut self, spare: &mut Spare) {
        self.beyond.drain(..).flatten().for_each(|kept| spare.give(kept));
        self.bytes_held = 0;
    }

    fn look_for_the_end(&mut self) {
        if self.fin == Some(self.next) {
            self.ended = true;
            self.next = self.next.plus(1);
        }
    }
}

/// Buffers that were used and can be used again, so that a lossy path costs no allocation per packet.
#[derive(Debug, Default)]
pub(super) struct Spare(Vec<Vec<u8>>);

impl Spare {
    fn take(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut buffer = self.0.pop().unwrap_or_default();
        buffer.extend_from_slice(payload);
        buffer
    }

    fn give(&mut self, mut buffer: Vec<u8>) {
        if self.0.len() < SPARE_MAX && buffer.capacity() <= SPARE_BYTES_MAX {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}

/// Packets kept beyond a gap: as many as our selective acknowledgement can speak of.
const BEYOND_PACKETS_MAX: usize = SelectiveAck::BYTES_MAX * 8;
/// Buffers kept for the next gap.
const SPARE_MAX: usize = 64;
/// Larger ones are not kept.
const SPARE_BYTES_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    struct Incoming {
        reassembly: Reassembly,
        spare: Spare,
        got: Vec<u8>,
    }

    impl Incoming {
        fn new(next: u16) -> Self {
            Self { reassembly: Reassembly::new(SeqNr(next)), spare: Spare::default(), got: Vec::new() }
        }

        fn insert(&mut self, seq: u16, payload: &[u8]) -> Arrival {
            let got = &mut self.got;
            self.reassembly
                .insert(SeqNr(seq), payload, 20, &mut self.spare, |bytes| got.extend_from_slice(bytes))
        }
    }

    #[test]
    fn packets_are_put_in_order_across_the_wrap_and_counted_once() {
        let mut incoming = Incoming::new(0xfffe);
        assert_eq!(incoming.insert(0, b"c"), Arrival::Kept);
        assert_eq!(incoming.insert(0, b"C"), Arrival::Duplicate);
        assert_eq!(incoming.insert(2, b"e"), Arrival::Kept);
        let mut bits = [0; 32];
        let acked = incoming.reassembly.selective_ack(&mut bits).unwrap();
        assert_eq!((0..32).filter(|at| acked.contains(*at)).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(incoming.insert(0xfffe, b"a"), Arrival::InOrder);
        assert_eq!(incoming.insert(0xffff, b"b"), Arrival::InOrder);
        assert_eq!((&incoming.got[..], incoming.reassembly.ack()), (&b"abc"[..], SeqNr(0)));
        assert_eq!(incoming.insert(0xffff, b"b"), Arrival::Duplicate);
        assert_eq!(incoming.insert(1, b"d"), Arrival::InOrder);
        assert_eq!((&incoming.got[..], incoming.reassembly.bytes_held()), (&b"abcde"[..], 0));
        assert_eq!(incoming.reassembly.selective_ack(&mut bits), None);
        assert_eq!(incoming.spare.0.len(), 2, "buffers are used again");
    }

    #[test]
    fn what_waits_is_bounded_in_packets_and_bytes() {
        let mut incoming = Incoming::new(1);
        assert_eq!(incoming.insert(2 + 256, b"x"), Arrival::OutOfWindow);
        assert_eq!(incoming.insert(1 + 256, b"x"), Arrival::Kept);
        assert_eq!(incoming.insert(3, &[0; 20]), Arrival::Refused);
        assert_eq!(incoming.insert(3, &[0; 19]), Arrival::Kept);
        assert_eq!(incoming.insert(1, &[0; 100]), Arrival::InOrder, "what is in order needs no room");
        assert_eq!(incoming.reassembly.bytes_held(), 20);
        let mut bits = [0; 32];
        let acked = incoming.reassembly.selective_ack(&mut bits).unwrap();
        assert_eq!((acked.len(), acked.contains(0), acked.contains(254)), (256, true, true));
        incoming.reassembly.release(&mut incoming.spare);
        assert_eq!(incoming.reassembly.bytes_held(), 0);
    }

    #[test]
    fn the_end_waits_for_what_is_before_it_and_is_not_moved() {
        let mut incoming = Incoming::new(10);
        assert_eq!(incoming.reassembly.finish(SeqNr(12)), Arrival::Kept);
        assert_eq!(incoming.reassembly.finish(SeqNr(11)), Arrival::OutOfWindow);
        assert_eq!(incoming.insert(12, b"x"), Arrival::OutOfWindow);
        assert_eq!(incoming.insert(11, b"b"), Arrival::Kept);
        assert!(!incoming.reassembly.has_ended());
        assert_eq!(incoming.insert(10, b"a"), Arrival::InOrder);
        assert!(incoming.reassembly.has_ended());
        assert_eq!((&incoming.got[..], incoming.reassembly.ack()), (&b"ab"[..], SeqNr(12)));
        assert_eq!(incoming.reassembly.finish(SeqNr(12)), Arrival::Duplicate);
        assert_eq!(incoming.insert(13, b"x"), Arrival::OutOfWindow);
    }
}
