//! Which slot of a slab holds a key: an open-addressing table of u32, of a size fixed at the start.
//!
//! The keys stand in the slab; here is only the way to them, 4 bytes a cell. The size never
//! changes, so there is never the pause in which a growing table is rehashed, and memory that was
//! never touched stays with the system. Deletion shifts back, so there are no tombstones.

/// The index.
#[derive(Debug)]
pub(crate) struct SlotIndex {
    /// A slot and one, or [`EMPTY`]: blank memory, which the system gives when it is touched.
    cells: Box<[u32]>,
}

const EMPTY: u32 = 0;

impl SlotIndex {
    /// An index for a slab of up to `capacity` slots. A quarter of the cells stays free, which keeps the
    /// mean search below 9 cells.
    pub(crate) fn new(capacity: usize) -> SlotIndex {
        SlotIndex { cells: vec![EMPTY; capacity + capacity / 3 + 1].into_boxed_slice() }
    }

    /// The slot under this hash for which `is` holds.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut cell = self.home(hash);
        loop {
            let slot = self.cells[cell].checked_sub(1)?;
            if is(slot) {
                return Some(slot);
            }
            cell = self.after(cell);
        }
    }

    /// Adds a slot that is not in the index. There must be no more than `capacity` at a time.
    pub(crate) fn insert(&mut self, hash: u64, slot: u32) {
        let mut cell = self.home(hash);
        for _ in 0..self.cells.len() {
            if self.cells[cell] == EMPTY {
                self.cells[cell] = slot + 1;
                return;
            }
            cell = self.after(cell);
        }
        debug_assert!(false, "more slots than the index was made for");
    }

    /// Removes a slot; `hash_of` gives the hash of any slot in the index.
    pub(crate) fn remove(&mut self, hash: u64, slot: u32, hash_of: impl Fn(u32) -> u64) {
        let mut hole = self.home(hash);
        while self.cells[hole] != slot + 1 {
            if self.cells[hole] == EMPTY {
                return;
            }
            hole = self.after(hole);
        }
        let mut cell = hole;
        loop {
            cell = self.after(cell);
            let moved = self.cells[cell];
            if moved == EMPTY {
                break;
            }
            // It may move back when its home does not lie behind the hole, cyclically.
            let home = self.home(hash_of(moved - 1));
            let from_home = self.distance(home, cell);
            if from_home >= self.distance(hole, cell) {
                self.cells[hole] = moved;
                hole = cell;
            }
        }
        self.cells[hole] = EMPTY;
    }

    /// Replaces a slot by another, as when the last slot of a slab moves into a gap.
    pub(crate) fn renumber(&mut self, hash: u64, from: u32, to: u32) {
        let mut cell = self.home(hash);
        while self.cells[cell] != EMPTY {
            if self.cells[cell] == from + 1 {
                self.cells[cell] = to + 1;
                return;
            }
            cell = self.after(cell);
        }
    }

    #[inline]
    fn home(&self, hash: u64) -> usize {
        // Multiplying maps the hash evenly onto any number of cells, where a remainder would divide.
        ((u128::from(hash) * self.cells.len() as u128) >> 64) as usize
    }

    #[inline]
    fn after(&self, cell: usize) -> usize {
        if cell + 1 == self.cells.len() { 0 } else { cell + 1 }
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.cells.len() - from }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// Few distinct hashes, so that runs collide and wrap around.
    fn hash_of(key: u32) -> u64 {
        u64::from(key % 7) << 61
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_map(steps in prop::collection::vec((any::<bool>(), 0_u32..40), 0..400)) {
            let mut index = SlotIndex::new(40);
            let mut map: HashMap<u32, ()> = HashMap::new();
            for (add, key) in steps {
                if add {
                    if map.insert(key, ()).is_none() {
                        index.insert(hash_of(key), key);
                    }
                } else {
                    map.remove(&key);
                    index.remove(hash_of(key), key, hash_of);
                }
                for key in 0..40 {
                    let found = index.find(hash_of(key), |slot| slot == key);
                    prop_assert_eq!(found.is_some(), map.contains_key(&key));
                }
            }
        }
    }

    #[test]
    fn a_renumbered_slot_is_found_under_its_new_number() {
        let mut index = SlotIndex::new(4);
        index.insert(5, 3);
        index.renumber(5, 3, 1);
        assert_eq!(index.find(5, |_| true), Some(1));
    }
}
