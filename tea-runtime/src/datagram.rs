//! Datagrams arrive in batches; each is a counted handle into its batch.

use std::{fmt, net::SocketAddr, ops::Range, sync::Arc};

use crate::Time;

/// One received datagram: a counted handle into its batch, no copy.
///
/// Keeping one keeps its whole batch from being reused: copy out what must outlive `update`.
#[derive(Clone)]
pub struct Datagram {
    batch: Arc<Batch>,
    slot: u16,
}

impl Datagram {
    /// A batch of one, for tests and for the simulator.
    pub fn single(from: SocketAddr, payload: &[u8]) -> Self {
        let mut batch = Batch::default();
        batch.push(from, payload);
        Self { batch: Arc::new(batch), slot: 0 }
    }

    pub(crate) fn of(batch: &Arc<Batch>, slot: usize) -> Self {
        Self { batch: Arc::clone(batch), slot: slot as u16 }
    }

    /// The bytes that arrived.
    pub fn payload(&self) -> &[u8] {
        self.batch.get(self.slot).map_or(&[], |(_, payload)| payload)
    }

    /// The address that the sender claims.
    pub fn from(&self) -> SocketAddr {
        match self.batch.slots.get(usize::from(self.slot)) {
            Some((_, from)) => *from,
            None => SocketAddr::from(([0, 0, 0, 0], 0)),
        }
    }
}

impl fmt::Debug for Datagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Datagram({} bytes from {})", self.payload().len(), self.from())
    }
}

/// What one wake-up of a reader brought: packed bytes, and where in them each datagram lies.
#[derive(Default)]
pub(crate) struct Batch {
    /// Filled up to `used`; what lies behind is space that was initialised once.
    bytes: Vec<u8>,
    used: usize,
    slots: Vec<(Range<u32>, SocketAddr)>,
    /// When it was filled.
    pub(crate) received: Time,
}

impl Batch {
    /// Datagrams in a batch at most: what one wake-up of a reader hands over. 64 spread the cost of handing over to
    /// some nanoseconds each.
    pub(crate) const DATAGRAMS_MAX: usize = 64;

    /// An empty batch with space for as many bytes.
    pub(crate) fn with_space(bytes: usize) -> Self {
        Self {
            bytes: vec![0; bytes],
            used: 0,
            slots: Vec::with_capacity(Self::DATAGRAMS_MAX),
            received: Time::ZERO,
        }
    }

    pub(crate) fn push(&mut self, from: SocketAddr, payload: &[u8]) {
        let end = self.used + payload.len();
        if end > self.bytes.len() {
            self.bytes.resize(end, 0);
        }
        self.bytes[self.used..end].copy_from_slice(payload);
        self.slots.push((self.used as u32..end as u32, from));
        self.used = end;
    }

    /// Whether one more datagram of `bytes` bytes fits.
    pub(crate) fn has_space(&self, bytes: usize) -> bool {
        self.slots.len() < Self::DATAGRAMS_MAX && self.used + bytes <= self.bytes.len()
    }

    pub(crate) fn clear(&mut self) {
        self.used = 0;
        self.slots.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Bytes in all datagrams together.
    pub(crate) fn bytes_used(&self) -> usize {
        self.used
    }

    pub(crate) fn get(&self, slot: u16) -> Option<(SocketAddr, &[u8])> {
        let (range, from) = self.slots.get(usize::from(slot))?;
        Some((*from, self.bytes.get(range.start as usize..range.end as usize)?))
    }
}
