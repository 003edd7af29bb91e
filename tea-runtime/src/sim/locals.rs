//! What is scheduled for one host, by slot and generation: removing something leaves its event to find nobody.

/// Names something scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LocalId {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

pub(super) struct Locals<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Default for Locals<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Locals<T> {
    pub(super) fn insert(&mut self, value: T) -> LocalId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            self.slots.len() as u32 - 1
        });
        let (generation, place) = &mut self.slots[slot as usize];
        *place = Some(value);
        LocalId { slot, generation: *generation }
    }

    pub(super) fn remove(&mut self, id: LocalId) -> Option<T> {
        let (generation, place) = self.slots.get_mut(id.slot as usize)?;
        if *generation != id.generation {
            return None;
        }
        let value = place.take()?;
        *generation = generation.wrapping_add(1);
        self.free.push(id.slot);
        Some(value)
    }

    pub(super) fn clear(&mut self) {
        for (slot, (generation, place)) in self.slots.iter_mut().enumerate() {
            if place.take().is_some() {
                *generation = generation.wrapping_add(1);
                self.free.push(slot as u32);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_removed_or_cleared_is_not_found_again() {
        let mut locals = Locals::default();
        let (a, b) = (locals.insert('a'), locals.insert('b'));
        assert_eq!(locals.remove(a), Some('a'));
        let c = locals.insert('c');
        assert_eq!((c.slot, locals.remove(a)), (a.slot, None));
        locals.clear();
        assert_eq!((locals.remove(b), locals.remove(c)), (None, None));
        assert_eq!(locals.slots.len(), 2);
    }
}
