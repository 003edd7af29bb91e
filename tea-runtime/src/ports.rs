//! The bound UDP ports of a shard, by key.

use crate::{Counters, outbox::Outgoing, udp::BoundUdp};

/// Few, and looked up for each datagram sent: a sorted list with a guess.
pub(crate) struct Ports<Key> {
    list: Vec<(Key, BoundUdp)>,
    /// Where the last lookup ended: programs tend to send through one port many times in a row.
    guess: usize,
    /// Whether anything waits for the next flush.
    queued: bool,
}

impl<Key> Default for Ports<Key> {
    fn default() -> Self {
        Self { list: Vec::new(), guess: 0, queued: false }
    }
}

impl<Key: Copy + Ord> Ports<Key> {
    pub(crate) fn insert(&mut self, key: Key, port: BoundUdp) {
        match self.find(&key) {
            Ok(index) => self.list[index].1 = port,
            Err(index) => self.list.insert(index, (key, port)),
        }
    }

    pub(crate) fn remove(&mut self, key: &Key) {
        if let Ok(index) = self.find(key) {
            self.list.remove(index);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }

    /// Has a datagram sent through a port with the next flush; without the port it is dropped and counted.
    pub(crate) fn queue(&mut self, key: Key, datagram: Outgoing, counters: &mut Counters) {
        if self.list.get(self.guess).is_none_or(|(guess, _)| *guess != key) {
            let Ok(index) = self.find(&key) else {
                counters.sends_without_port += 1;
                return;
            };
            self.guess = index;
        }
        self.list[self.guess].1.queue(datagram);
        self.queued = true;
    }

    /// Sends what was queued, port by port; the bytes lie in `arena`.
    pub(crate) fn flush(&mut self, arena: &[u8], counters: &mut Counters) {
        if std::mem::take(&mut self.queued) {
            for (_, port) in &mut self.list {
                port.flush(arena, counters);
            }
        }
    }

    /// The port at `turn`, counted round and round.
    pub(crate) fn at(&mut self, turn: usize) -> Option<(Key, &mut BoundUdp)> {
        let index = turn.checked_rem(self.list.len())?;
        self.list.get_mut(index).map(|(key, port)| (*key, port))
    }

    pub(crate) fn get(&mut self, key: &Key) -> Option<&mut BoundUdp> {
        let index = self.find(key).ok()?;
        Some(&mut self.list[index].1)
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Batches that wait to be handled.
    pub(crate) fn batches_waiting(&self) -> usize {
        self.list.iter().map(|(_, port)| port.arrivals.len()).sum()
    }

    /// Datagrams that wait to be sent.
    pub(crate) fn sends_waiting(&self) -> usize {
        self.list.iter().map(|(_, port)| port.outlet.waiting()).sum()
    }

    fn find(&self, key: &Key) -> Result<usize, usize> {
        self.list.binary_search_by(|(other, _)| other.cmp(key))
    }
}
