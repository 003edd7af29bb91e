//! Datagrams that came with others in one system call and find no space in their batch.

use std::net::SocketAddr;

use crate::datagram::Batch;

/// They wait for the next batch. Only many large datagrams get here: the memory is given back at once.
#[derive(Default)]
pub(crate) struct Overflow {
    waiting: Batch,
    taken: usize,
}

impl Overflow {
    /// Puts a datagram into the batch, or behind those that wait.
    pub(crate) fn push(&mut self, batch: &mut Batch, from: SocketAddr, payload: &[u8]) {
        let into = if self.is_empty() && batch.has_space(payload.len()) { batch } else { &mut self.waiting };
        into.push(from, payload);
    }

    /// Moves into an empty batch what it has space for.
    pub(crate) fn move_into(&mut self, batch: &mut Batch) {
        while let Some((from, payload)) = self.waiting.get(self.taken as u16) {
            if !batch.has_space(payload.len()) {
                return;
            }
            batch.push(from, payload);
            self.taken += 1;
        }
        if self.taken > 0 {
            *self = Self::default();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.len() == self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_space_waits_for_the_next_batches_and_keeps_its_order() {
        let (mut overflow, mut batch) = (Overflow::default(), Batch::with_space(100));
        // The last would fit, but not before those that wait.
        for (number, len) in [(1, 60), (2, 30), (3, 90), (4, 80), (5, 1)] {
            overflow.push(&mut batch, ([127, 0, 0, number], 1).into(), &vec![number; len]);
        }
        let mut batches = vec![];
        while batch.len() > 0 {
            let payloads = (0..batch.len() as u16).filter_map(|slot| batch.get(slot));
            batches.push(payloads.map(|(_, payload)| (payload[0], payload.len())).collect::<Vec<_>>());
            batch.clear();
            overflow.move_into(&mut batch);
        }
        assert_eq!(batches, [vec![(1, 60), (2, 30)], vec![(3, 90)], vec![(4, 80), (5, 1)]]);
        assert!(overflow.is_empty() && overflow.waiting.len() == 0);
    }
}
