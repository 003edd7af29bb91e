//! One datagram of uTP: a header of 20 bytes, extensions, payload (BEP 29).

use super::sequence::SeqNr;

/// What a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PacketKind {
    /// Carries payload, and a number of its own.
    Data,
    /// The last number of a direction.
    Fin,
    /// Carries only what every header carries: acknowledgement, window and times.
    State,
    /// The connection does not exist.
    Reset,
    /// Asks for a connection, with a number of its own.
    Syn,
}

/// A packet, read or to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What it is for.
    pub kind: PacketKind,
    /// The connection as its receiver numbers it; in a SYN, as its sender does.
    pub connection_id: u16,
    /// The sender's clock in microseconds; wraps around every 71 minutes.
    pub timestamp: u32,
    /// How much later than our timestamp the sender's clock was when our last packet came, in microseconds. The clocks
    /// have nothing to do with each other, so only changes mean something.
    pub timestamp_difference: u32,
    /// Bytes that the sender has room for.
    pub window: u32,
    /// Its number; of a packet without one, the number that the next will have.
    pub seq: SeqNr,
    /// The last packet up to which all have come.
    pub ack: SeqNr,
    /// Packets that have come beyond a gap.
    pub selective_ack: Option<SelectiveAck<'a>>,
    /// What follows the headers.
    pub payload: &'a [u8],
}

/// The bits of the selective acknowledgement: bit 0 is the second packet after `ack`, since the first is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectiveAck<'a>(&'a [u8]);

/// Why a datagram is no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PacketError {
    /// Shorter than a header, or than its extensions say.
    #[error("a packet that ends too early")]
    Truncated,
    /// Not version 1.
    #[error("a packet of another version than 1")]
    Version,
    /// None of the five kinds.
    #[error("a packet of no known kind")]
    Kind,
    /// A selective acknowledgement whose length is not a multiple of 4, or 0.
    #[error("a selective acknowledgement of odd length")]
    SelectiveAckLength,
}

impl<'a> Packet<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    /// When it is no packet.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, PacketError> {
        let (header, mut rest) =
            datagram.split_first_chunk::<HEADER_BYTES>().ok_or(PacketError::Truncated)?;
        let [first, mut extension, header @ ..] = *header;
        if first & 0x0f != VERSION {
            return Err(PacketError::Version);
        }
        let kind = PacketKind::from_wire(first >> 4).ok_or(PacketError::Kind)?;
        let mut selective_ack = None;
        while extension != NO_EXTENSION {
            let [next, len, tail @ ..] = rest else { return Err(PacketError::Truncated) };
            let (content, tail) = tail.split_at_checked(usize::from(*len)).ok_or(PacketError::Truncated)?;
            if extension == SELECTIVE_ACK {
                if content.is_empty() || !content.len().is_multiple_of(4) {
                    return Err(PacketError::SelectiveAckLength);
                }
                selective_ack = Some(SelectiveAck(content));
            }
            extension = *next;
            rest = tail;
        }
        let [c0, c1, t0, t1, t2, t3, d0, d1, d2, d3, w0, w1, w2, w3, s0, s1, a0, a1] = header;
        Ok(Self {
            kind,
            connection_id: u16::from_be_bytes([c0, c1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            timestamp_difference: u32::from_be_bytes([d0, d1, d2, d3]),
            window: u32::from_be_bytes([w0, w1, w2, w3]),
            seq: SeqNr(u16::from_be_bytes([s0, s1])),
            ack: SeqNr(u16::from_be_bytes([a0, a1])),
            selective_ack,
            payload: rest,
        })
    }

    /// Appends the datagram.
    pub fn write(&self, out: &mut Vec<u8>) {
        let extension = if self.selective_ack.is_some() { SELECTIVE_ACK } else { NO_EXTENSION };
        out.extend_from_slice(&[self.kind.to_wire() << 4 | VERSION, extension]);
        out.extend_from_slice(&self.connection_id.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.timestamp_difference.to_be_bytes());
        out.extend_from_slice(&self.window.to_be_bytes());
        out.extend_from_slice(&self.seq.0.to_be_bytes());
        out.extend_from_slice(&self.ack.0.to_be_bytes());
        if let Some(SelectiveAck(bits)) = self.selective_ack {
            out.extend_from_slice(&[NO_EXTENSION, bits.len() as u8]);
            out.extend_from_slice(bits);
        }
        out.extend_from_slice(self.payload);
    }
}

impl<'a> SelectiveAck<'a> {
    /// The longest that is written: 256 packets beyond a gap.
    pub const BYTES_MAX: usize = 32;

    /// An acknowledgement with these bits; `None` when their length is none that the wire has.
    pub fn new(bits: &'a [u8]) -> Option<Self> {
        (!bits.is_empty() && bits.len().is_multiple_of(4) && bits.len() <= Self::BYTES_MAX)
            .then_some(Self(bits))
    }

    /// How many packets it speaks of.
    pub fn len(&self) -> usize {
        self.0.len() * 8
    }

    /// Whether it speaks of none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the packet with number `ack` + 2 + `at` has come.
    pub fn contains(&self, at: usize) -> bool {
        self.0.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1)
    }
}

impl PacketKind {
    const fn from_wire(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Data),
            1 => Some(Self::Fin),
            2 => Some(Self::State),
            3 => Some(Self::Reset),
            4 => Some(Self::Syn),
            _ => None,
        }
    }

    const fn to_wire(self) -> u8 {
        self as u8
    }
}

/// Whether a datagram that came to a port shared with the DHT is for uTP. A DHT message is a bencoded dictionary and
/// begins with `d`, which no packet does.
pub fn is_utp(datagram: &[u8]) -> bool {
    datagram.len() >= HEADER_BYTES
        && datagram
            .first()
            .is_some_and(|first| first & 0x0f == VERSION && PacketKind::from_wire(first >> 4).is_some())
}

/// The length of a header without extensions.
pub const HEADER_BYTES: usize = 20;
const VERSION: u8 = 1;
const NO_EXTENSION: u8 = 0;
const SELECTIVE_ACK: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    /// A SYN of BEP 29's layout, written by hand.
    const SYN: [u8; 20] =
        [0x41, 0, 0x12, 0x34, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xfe, 0, 0x10, 0, 0, 0x80, 0x01, 0xff, 0xff];

    #[test]
    fn a_header_is_read_field_by_field() {
        let packet = Packet::parse(&SYN).unwrap();
        let expected = Packet {
            kind: PacketKind::Syn,
            connection_id: 0x1234,
            timestamp: 9,
            timestamp_difference: 0xffff_fffe,
            window: 1 << 20,
            seq: SeqNr(0x8001),
            ack: SeqNr(0xffff),
            selective_ack: None,
            payload: b"",
        };
        assert_eq!(packet, expected);
        let mut written = Vec::new();
        packet.write(&mut written);
        assert_eq!(written, SYN);
    }

    #[test]
    fn extensions_are_read_or_skipped_and_payload_follows() {
        let mut datagram = SYN;
        (datagram[0], datagram[1]) = (0x01, 2);
        // Extension 2 (unknown, 8 bytes), then 1 (selective ack, 4 bytes), then payload.
        let datagram =
            [&datagram[..], &[1, 8, 0, 0, 0, 0, 0, 0, 0, 0], &[0, 4, 0b101, 0, 0, 0x80], b"hi"].concat();
        let packet = Packet::parse(&datagram).unwrap();
        let acked = packet.selective_ack.unwrap();
        let set: Vec<_> = (0..40).filter(|at| acked.contains(*at)).collect();
        assert_eq!((packet.kind, packet.payload, set), (PacketKind::Data, &b"hi"[..], vec![0, 2, 31]));
        for cut in 20..datagram.len() - 2 {
            assert_eq!(Packet::parse(&datagram[..cut]), Err(PacketError::Truncated), "{cut}");
        }
    }

    #[test]
    fn what_is_no_packet_is_refused_by_cause() {
        let with = |change: fn(&mut Vec<u8>)| {
            let mut datagram = SYN.to_vec();
            change(&mut datagram);
            Packet::parse(&datagram).unwrap_err()
        };
        assert_eq!(with(|d| d.truncate(19)), PacketError::Truncated);
        assert_eq!(with(|d| d[0] = 0x42), PacketError::Version);
        assert_eq!(with(|d| d[0] = 0x51), PacketError::Kind);
        let odd = |d: &mut Vec<u8>| {
            d[1] = 1;
            d.extend([0, 3, 1, 2, 3]);
        };
        assert_eq!(with(odd), PacketError::SelectiveAckLength);
    }

    #[test]
    fn messages_of_the_dht_are_told_apart() {
        assert!(is_utp(&SYN));
        assert!(!is_utp(b"d1:ad2:id20:aaaaaaaaaaaaaaaaaaaae1:q4:ping1:t2:aa1:y1:qe"));
        assert!(!is_utp(&SYN[..19]));
        assert!(!is_utp(b""));
    }
}
