//! Sequence numbers of packets: 16 bits that wrap around.

/// The number of a packet. There is no order among all of them, only distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeqNr(pub u16);

impl SeqNr {
    /// The number so many packets later.
    pub const fn plus(self, packets: u16) -> Self {
        Self(self.0.wrapping_add(packets))
    }

    /// The number so many packets earlier.
    pub const fn minus(self, packets: u16) -> Self {
        Self(self.0.wrapping_sub(packets))
    }

    /// How many packets later than `earlier` this is; close to 65536 when it is in truth before it.
    pub const fn since(self, earlier: Self) -> u16 {
        self.0.wrapping_sub(earlier.0)
    }
}

/// Distances from here on mean that the number lies in the past.
pub(super) const HALF: u16 = 0x8000;
