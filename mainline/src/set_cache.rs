//! A bounded map of small states that outlive their use: a set-associative cache.
//!
//! Each key belongs to one set of eight places. A set that is full gives up the place that was not
//! used for longest. All memory is taken at the start, no operation allocates or walks further than
//! one set, and no flood of keys can make it grow. It holds at least the eight keys used last, on
//! average as many as it has places.

/// The cache; `V` is what is kept under a 64-bit tag, which is a keyed hash of whatever is meant.
#[derive(Debug)]
pub(crate) struct SetCache<V> {
    sets: Box<[Set<V>]>,
    clock: u32,
}

/// The tags of a set fill one cache line, so that to look for one reads one line.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Set<V> {
    /// [`FREE`] or the tag of the place.
    tags: [u64; WAYS],
    /// When the places were last used.
    used: [u32; WAYS],
    values: [V; WAYS],
}

const WAYS: usize = 8;

const FREE: u64 = 0;

impl<V: Copy + Default> SetCache<V> {
    /// A cache of at least `places` places, rounded up to a whole number of sets.
    pub(crate) fn new(places: usize) -> SetCache<V> {
        let empty = Set { tags: [FREE; WAYS], used: [0; WAYS], values: [V::default(); WAYS] };
        SetCache { sets: vec![empty; places.div_ceil(WAYS).max(1)].into_boxed_slice(), clock: 0 }
    }

    /// The value under a tag, without counting as a use.
    #[inline]
    pub(crate) fn peek(&self, tag: u64) -> Option<&V> {
        let tag = tag.max(1);
        let set = &self.sets[self.set(tag)];
        set.place(tag).map(|place| &set.values[place])
    }

    /// The value under a tag.
    #[inline]
    pub(crate) fn touch(&mut self, tag: u64) -> Option<&mut V> {
        let tag = tag.max(1);
        let clock = self.advance();
        let set = self.set(tag);
        let set = &mut self.sets[set];
        let place = set.place(tag)?;
        set.used[place] = clock;
        Some(&mut set.values[place])
    }

    /// The value under a tag, made with its default when there is none; `true` when another had to
    /// give way for it.
    #[inline]
    pub(crate) fn entry(&mut self, tag: u64) -> (&mut V, bool) {
        match self.entry_unless(tag, |_| false) {
            Ok(found) => found,
            Err(Crowded) => unreachable!("every place may give way"),
        }
    }

    /// Like [`SetCache::entry`], but values for which `keep` holds do not give way: [`Crowded`] when all in the
    /// set are such.
    #[inline]
    pub(crate) fn entry_unless(
        &mut self,
        tag: u64,
        keep: impl Fn(&V) -> bool,
    ) -> Result<(&mut V, bool), Crowded> {
        let tag = tag.max(1);
        let clock = self.advance();
        let set = self.set(tag);
        let set = &mut self.sets[set];
        if let Some(place) = set.place(tag) {
            set.used[place] = clock;
            return Ok((&mut set.values[place], false));
        }
        let place = set.place(FREE).or_else(|| set.oldest(clock, keep)).ok_or(Crowded)?;
        let displaced = set.tags[place] != FREE;
        set.tags[place] = tag;
        set.used[place] = clock;
        set.values[place] = V::default();
        Ok((&mut set.values[place], displaced))
    }

    /// Forgets a tag.
    pub(crate) fn remove(&mut self, tag: u64) {
        let tag = tag.max(1);
        let set = self.set(tag);
        let set = &mut self.sets[set];
        if let Some(place) = set.place(tag) {
            set.tags[place] = FREE;
        }
    }

    /// Places in all.
    #[cfg(test)]
    pub(crate) fn places(&self) -> usize {
        self.sets.len() * WAYS
    }

    #[inline]
    fn set(&self, tag: u64) -> usize {
        ((u128::from(tag) * self.sets.len() as u128) >> 64) as usize
    }

    #[inline]
    fn advance(&mut self) -> u32 {
        self.clock = self.clock.wrapping_add(1);
        self.clock
    }
}

impl<V> Set<V> {
    #[inline]
    fn place(&self, tag: u64) -> Option<usize> {
        self.tags.iter().position(|other| *other == tag)
    }

    /// Of the places that may give way, the one not used for longest.
    fn oldest(&self, clock: u32, keep: impl Fn(&V) -> bool) -> Option<usize> {
        (0..WAYS)
            .filter(|place| !keep(&self.values[*place]))
            .max_by_key(|place| clock.wrapping_sub(self.used[*place]))
    }
}

/// Everything in the set has to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crowded;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn spread(key: u64) -> u64 {
        key.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn a_full_set_gives_up_the_place_not_used_for_longest() {
        let mut cache = SetCache::new(8);
        for key in 1..=8 {
            *cache.entry(key).0 = key;
        }
        assert_eq!(cache.touch(1), Some(&mut 1));
        assert!(cache.entry(9).1);
        assert_eq!(cache.peek(2), None);
        assert_eq!(cache.peek(1), Some(&1));
    }

    #[test]
    fn what_must_be_kept_does_not_give_way() {
        let mut cache = SetCache::<u64>::new(8);
        for key in 1..=8 {
            *cache.entry(key).0 = key;
        }
        assert_eq!(cache.entry_unless(9, |_| true).map(|_| ()), Err(Crowded));
        assert!(cache.entry_unless(9, |value| *value != 5).is_ok());
        assert_eq!(cache.peek(5), None);
    }

    proptest! {
        #[test]
        fn it_never_invents_and_remembers_the_last_eight(keys in prop::collection::vec(1_u64..200, 0..500)) {
            let mut cache = SetCache::new(64);
            let mut model = HashMap::new();
            let mut recent: Vec<u64> = Vec::new();
            for (step, key) in keys.into_iter().enumerate() {
                let fresh = cache.peek(spread(key)).is_none();
                let (value, _) = cache.entry(spread(key));
                prop_assert_eq!(*value, if fresh { 0 } else { model[&key] });
                *value = step;
                model.insert(key, step);
                recent.retain(|seen| *seen != key);
                recent.push(key);
                for seen in recent.iter().rev().take(WAYS) {
                    prop_assert_eq!(cache.peek(spread(*seen)), model.get(seen));
                }
            }
            prop_assert_eq!(cache.places(), 64);
        }
    }
}
