//! From whoever reads another database to whoever stores: entries by batches, through a short queue.

use tokio::sync::mpsc;

use super::Refusal;
use crate::db::NewTorrent;

/// Entries in a batch: stores of 100 to 1000 are cheapest.
const BATCH: usize = 1_000;

/// Bytes read for a batch, after which it is full: torrents of 200,000 files exist.
const BATCH_BYTES: u64 = 8 << 20;

/// Batches that wait for being stored: reading needs to be ahead by no more than one.
const WAITING_MAX: usize = 1;

/// Something that was read.
#[derive(Debug)]
pub struct Entry {
    /// Where it stands, in the words of the batch.
    pub place: u64,
    /// What it is.
    pub what: Result<NewTorrent, Refusal>,
}

/// Some entries.
#[derive(Debug)]
pub struct Batch {
    /// What a place is, with the number behind it: `all.ndjson line`.
    pub place: std::sync::Arc<str>,
    /// The entries, in their order.
    pub entries: Vec<Entry>,
}

/// Takes entries from a reader.
#[derive(Debug)]
pub struct Feed {
    place: std::sync::Arc<str>,
    entries: Vec<Entry>,
    bytes: u64,
    batches: mpsc::Sender<Batch>,
}

/// A feed and its other end. `place` is what its places are.
pub fn feed(place: &str) -> (Feed, mpsc::Receiver<Batch>) {
    let (batches, receiver) = mpsc::channel(WAITING_MAX);
    (Feed { place: place.into(), entries: Vec::new(), bytes: 0, batches }, receiver)
}

impl Feed {
    /// The same for another input.
    pub fn of(&self, place: &str) -> Self {
        Self { place: place.into(), entries: Vec::new(), bytes: 0, batches: self.batches.clone() }
    }

    /// Hands an entry on, for which `bytes` were read; waits while too much waits. Must not be called where waiting
    /// is forbidden. `false`: nobody wants more.
    pub fn hand_on(&mut self, entry: Entry, bytes: u64) -> bool {
        self.push(entry, bytes).is_none_or(|batch| self.batches.blocking_send(batch).is_ok())
    }

    /// The same where tasks wait for each other.
    pub async fn hand_on_async(&mut self, entry: Entry, bytes: u64) -> bool {
        match self.push(entry, bytes) {
            None => true,
            Some(batch) => self.batches.send(batch).await.is_ok(),
        }
    }

    /// Hands on what is left.
    pub fn finish(mut self) {
        let batch = self.take();
        if !batch.entries.is_empty() {
            // Nobody wants more: that is said elsewhere.
            let _ = self.batches.blocking_send(batch);
        }
    }

    /// The same where tasks wait for each other.
    pub async fn finish_async(mut self) {
        let batch = self.take();
        if !batch.entries.is_empty() {
            let _ = self.batches.send(batch).await;
        }
    }

    fn push(&mut self, entry: Entry, bytes: u64) -> Option<Batch> {
        self.entries.push(entry);
        self.bytes += bytes;
        (self.entries.len() >= BATCH || self.bytes >= BATCH_BYTES).then(|| self.take())
    }

    fn take(&mut self) -> Batch {
        self.bytes = 0;
        Batch { place: self.place.clone(), entries: std::mem::take(&mut self.entries) }
    }
}
