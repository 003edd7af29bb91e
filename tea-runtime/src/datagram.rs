//! Datagrams arrive in batches; each is a counted handle into its batch.

use std::{fmt, net::SocketAddr, ops::Range, sync::Arc};

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
        let mut batch = Batch { bytes: Vec::with_capacity(payload.len()), slots: Vec::with_capacity(1) };
        batch.push(from, payload);
        Self { batch: Arc::new(batch), slot: 0 }
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
    bytes: Vec<u8>,
    slots: Vec<(Range<u32>, SocketAddr)>,
}

impl Batch {
    pub(crate) fn push(&mut self, from: SocketAddr, payload: &[u8]) {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(payload);
        self.slots.push((start..self.bytes.len() as u32, from));
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    fn get(&self, slot: u16) -> Option<(SocketAddr, &[u8])> {
        let (range, from) = self.slots.get(usize::from(slot))?;
        Some((*from, self.bytes.get(range.start as usize..range.end as usize)?))
    }
}
