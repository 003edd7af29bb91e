//! A bounded map of small states that outlive their use: a set-associative cache.
//!
//! Each key belongs to one set of seven places. A set that is full gives up the place that was not
//! used for longest. All memory is taken at the start, no operation allocates or walks further than
//! one set, and no flood of keys can make it grow. It holds at least the seven keys used last, on
//! average as many as it has places.
//!
//! A table of many thousand remotes is far larger than the caches of a processor, and every packet looks into several:
//! what such a look costs is the lines of memory that it touches. So all that a search reads lies in one line, and
//! values of four bytes with it.

/// The cache; `V` is what is kept under a 64-bit tag, which is a keyed hash of whatever is meant.
///
/// The tag's upper half chooses the set, its lower half is compared. Two keys that are both used are taken for one with
/// a chance of one in 2^32 for each place that is looked at.
#[derive(Debug)]
pub(crate) struct SetCache<V> {
    sets: Box<[Set<V>]>,
}

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Set<V> {
    /// [`FREE`] or the tag of the place.
    tags: [u32; WAYS],
    order: Order,
    values: [V; WAYS],
}

const _: () = assert!(size_of::<Set<u32>>() == 64);

/// Seven tags, their order and seven values of four bytes fill a line.
const WAYS: usize = 7;

const FREE: u32 = 0;

impl<V: Copy + Default> SetCache<V> {
    /// A cache of at least `places` places, rounded up to a whole number of sets.
    pub(crate) fn new(places: usize) -> SetCache<V> {
        let empty = Set { tags: [FREE; WAYS], order: Order::START, values: [V::default(); WAYS] };
        SetCache { sets: vec![empty; places.div_ceil(WAYS).max(1)].into_boxed_slice() }
    }

    /// The value under a tag, without counting as a use.
    #[inline]
    pub(crate) fn peek(&self, tag: u64) -> Option<&V> {
        let set = &self.sets[self.set(tag)];
        set.place(short(tag)).map(|place| &set.values[place])
    }

    /// The value under a tag.
    #[inline]
    pub(crate) fn touch(&mut self, tag: u64) -> Option<&mut V> {
        let set = self.set(tag);
        let set = &mut self.sets[set];
        let place = set.place(short(tag))?;
        set.order.use_now(place);
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
        let set = self.set(tag);
        let set = &mut self.sets[set];
        let tag = short(tag);
        if let Some(place) = set.place(tag) {
            set.order.use_now(place);
            return Ok((&mut set.values[place], false));
        }
        let place = set.place(FREE).or_else(|| set.oldest(keep)).ok_or(Crowded)?;
        let displaced = set.tags[place] != FREE;
        set.tags[place] = tag;
        set.order.use_now(place);
        set.values[place] = V::default();
        Ok((&mut set.values[place], displaced))
    }

    /// Forgets a tag.
    pub(crate) fn remove(&mut self, tag: u64) {
        let set = self.set(tag);
        let set = &mut self.sets[set];
        if let Some(place) = set.place(short(tag)) {
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
}

/// The part of a tag that is kept.
#[inline]
fn short(tag: u64) -> u32 {
    (tag as u32).max(1)
}

impl<V> Set<V> {
    #[inline]
    fn place(&self, tag: u32) -> Option<usize> {
        // Without a branch on where it is: nobody could predict that, and a processor that predicts goes on with
        // what comes next while the line is on its way from memory.
        let places: u32 =
            self.tags.iter().enumerate().map(|(at, other)| u32::from(*other == tag) << at).sum();
        (places != 0).then(|| places.trailing_zeros() as usize)
    }

    /// Of the places that may give way, the one not used for longest.
    fn oldest(&self, keep: impl Fn(&V) -> bool) -> Option<usize> {
        self.order.oldest_first().find(|place| !keep(&self.values[*place]))
    }
}

/// In which order the places of a set were used: their numbers, four bits each, the one used last lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Order(u32);

impl Order {
    const START: Order = Order(0x654_3210);

    /// Moves a place to the front.
    #[inline]
    fn use_now(&mut self, place: usize) {
        // The lowest four bits that are zero after this are those of the place; what the subtraction borrows reaches
        // only those above.
        let differing = self.0 ^ (place as u32 * 0x111_1111);
        let zeros = differing.wrapping_sub(0x111_1111) & !differing & 0x888_8888;
        let at = zeros.trailing_zeros() & !3;
        let before = self.0 & ((1 << at) - 1);
        let after = self.0 & (!0xf << at);
        self.0 = after | before << 4 | place as u32;
    }

    fn oldest_first(self) -> impl Iterator<Item = usize> {
        (0..WAYS).rev().map(move |at| (self.0 >> (4 * at) & 0xf) as usize)
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
        let mut cache = SetCache::new(7);
        for key in 1..=7 {
            *cache.entry(key).0 = key;
        }
        assert_eq!(cache.touch(1), Some(&mut 1));
        assert!(cache.entry(9).1);
        assert_eq!(cache.peek(2), None);
        assert_eq!(cache.peek(1), Some(&1));
    }

    #[test]
    fn what_must_be_kept_does_not_give_way() {
        let mut cache = SetCache::<u64>::new(7);
        for key in 1..=7 {
            *cache.entry(key).0 = key;
        }
        assert_eq!(cache.entry_unless(9, |_| true).map(|_| ()), Err(Crowded));
        assert!(cache.entry_unless(9, |value| *value != 5).is_ok());
        assert_eq!(cache.peek(5), None);
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_the_uses(uses in prop::collection::vec(0..WAYS, 0..100)) {
            let mut order = Order::START;
            let mut model: Vec<usize> = (0..WAYS).rev().collect();
            for place in uses {
                order.use_now(place);
                model.retain(|other| *other != place);
                model.push(place);
                prop_assert!(order.oldest_first().eq(model.iter().copied()));
            }
        }

        #[test]
        fn it_never_invents_and_remembers_the_last_seven(keys in prop::collection::vec(1_u64..200, 0..500)) {
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
            prop_assert_eq!(cache.places(), 70);
        }
    }
}
