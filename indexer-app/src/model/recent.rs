//! Which info-hashes were seen lately, so that the database is not asked for the same one again and again.

use std::collections::HashSet;

use krpc::InfoHash;

/// A set that forgets: two generations, the older one dropped when the younger is full. It may forget a hash (the
/// database is asked once more), but never claims one that it was not given.
#[derive(Debug)]
pub(super) struct RecentHashes {
    young: HashSet<InfoHash>,
    old: HashSet<InfoHash>,
    generation_max: usize,
}

impl RecentHashes {
    /// Remembers at least the last `generation_max` hashes, at most twice as many.
    pub(super) fn new(generation_max: usize) -> Self {
        Self { young: HashSet::new(), old: HashSet::new(), generation_max: generation_max.max(1) }
    }

    /// Adds a hash; whether it was not there.
    pub(super) fn insert(&mut self, hash: InfoHash) -> bool {
        if self.young.contains(&hash) {
            return false;
        }
        if self.young.len() >= self.generation_max {
            // Swapping keeps both allocations.
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        let was_old = self.old.contains(&hash);
        self.young.insert(hash);
        !was_old
    }

    /// Forgets a hash, so that it counts as new when it comes again.
    pub(super) fn remove(&mut self, hash: &InfoHash) {
        self.young.remove(hash);
        self.old.remove(hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u32) -> InfoHash {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        InfoHash::from_bytes(bytes)
    }

    #[test]
    fn a_hash_is_new_once() {
        let mut recent = RecentHashes::new(10);
        assert!(recent.insert(hash(1)));
        assert!(!recent.insert(hash(1)));
        recent.remove(&hash(1));
        assert!(recent.insert(hash(1)));
    }

    #[test]
    fn at_least_one_generation_is_remembered_and_at_most_two_are_held() {
        let mut recent = RecentHashes::new(100);
        for n in 0..1000 {
            recent.insert(hash(n));
            assert!(recent.young.len() + recent.old.len() <= 200);
        }
        for n in 900..1000 {
            assert!(!recent.insert(hash(n)), "{n} was forgotten too early");
        }
        assert!(recent.insert(hash(0)));
    }
}
