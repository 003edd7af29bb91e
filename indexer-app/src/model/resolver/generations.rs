//! A map that forgets what was not touched for longest.

use std::{collections::HashMap, hash::Hash};

/// Two generations, the older one dropped when the younger is full: between `generation_max` and twice as many entries that
/// were written last.
#[derive(Debug)]
pub(super) struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    generation_max: usize,
}

impl<K: Copy + Eq + Hash, V: Default> Generations<K, V> {
    pub(super) fn new(generation_max: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), generation_max: generation_max.max(1) }
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// The value of `key`, to be changed; a new one if there is none.
    pub(super) fn entry(&mut self, key: K) -> &mut V {
        if !self.young.contains_key(&key) {
            let value = self.old.remove(&key).unwrap_or_default();
            if self.young.len() >= self.generation_max {
                // Swapping keeps both allocations.
                std::mem::swap(&mut self.young, &mut self.old);
                self.young.clear();
            }
            self.young.insert(key, value);
        }
        self.young.entry(key).or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_last_stays_and_the_number_is_bounded() {
        let mut map: Generations<u32, u32> = Generations::new(100);
        for n in 0..1_000 {
            *map.entry(n) = n;
            *map.entry(0) += 1;
            assert!(map.len() <= 200);
        }
        assert!((900..1_000).all(|n| map.get(&n) == Some(&n)));
        assert_eq!(map.get(&0), Some(&1_000), "it was written all the time");
        assert_eq!(map.get(&500), None);
    }
}
