//! The routing table of one virtual node: contacts in buckets by the length of the prefix that
//! they share with the node's id (BEP 5).
//!
//! A bucket holds [`K`] contacts. Bucket `i` is for ids that share exactly `i` bits; only the last one, which covers
//! the node's own neighbourhood, holds all that share more, and splits when it is full. Buckets come into being
//! when they are needed, 40 bytes each. The table holds handles only: what a contact is, and whether it
//! is still there, the [`ContactStore`] knows, which is therefore an argument of every call.

use std::marker::PhantomData;
use std::time::Duration;

use krpc::{CompactNode, Distance, NodeId};
use rand::Rng;

use crate::address::Address;
use crate::contact_store::{ContactHandle, ContactStore, Standing};

/// Contacts in a bucket (BEP 5).
pub const K: usize = 8;

/// What became of a contact that was offered to a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Insertion {
    /// It has a place.
    Added,
    /// It had one already.
    Present,
    /// It took the place of one that had failed to answer.
    Replaced,
    /// The bucket is full: it waits as a replacement. `ask` is the contact of the bucket silent for
    /// longest, if it is questionable: when it does not answer, the place is free.
    Waiting {
        /// Whom to ask.
        ask: Option<ContactHandle>,
    },
    /// The bucket has as many contacts of its subnet as it may have.
    Crowded,
    /// The contact is not in the store, or has the table's own id.
    Gone,
}

/// The table of one family.
#[derive(Debug)]
pub struct RoutingTable<A> {
    own: NodeId,
    buckets: Vec<Bucket>,
    entries: u16,
    /// Contacts of one subnet in a bucket, at most.
    per_subnet: u8,
    family: PhantomData<A>,
}

impl<A: Address> RoutingTable<A> {
    /// An empty table around an id. `per_subnet` is how many contacts of a /24 (IPv6: /64) a bucket
    /// may hold: [`PER_SUBNET`], or [`K`] where all contacts share one network, as on loopback.
    pub const fn new(own: NodeId, per_subnet: u8) -> RoutingTable<A> {
        RoutingTable { own, buckets: Vec::new(), entries: 0, per_subnet, family: PhantomData }
    }

    /// Offers a verified contact.
    pub fn insert(&mut self, now: Duration, store: &mut ContactStore<A>, handle: ContactHandle) -> Insertion {
        let Some(id) = store.id(handle).copied() else { return Insertion::Gone };
        let shared = self.own.common_prefix_len(&id);
        if shared == ID_BITS {
            return Insertion::Gone;
        }
        if self.buckets.is_empty() {
            self.buckets.push(Bucket::empty(now));
        }
        loop {
            let last = self.buckets.len() - 1;
            let at = (shared as usize).min(last);
            self.purge_bucket(store, at);
            let bucket = &mut self.buckets[at];
            if bucket.places.contains(&handle) {
                bucket.changed = seconds(now);
                return Insertion::Present;
            }
            if bucket.subnet_count(store, handle) >= self.per_subnet {
                return Insertion::Crowded;
            }
            if let Some(place) = bucket.places.iter_mut().find(|place| **place == ContactHandle::NONE) {
                *place = handle;
                bucket.changed = seconds(now);
                store.retain(handle);
                self.entries += 1;
                return Insertion::Added;
            }
            if at == last && last + 1 < ID_BITS as usize {
                self.split(now, store);
                continue;
            }
            return bucket.contend(now, store, handle);
        }
    }

    /// Takes a contact out; `false` when it is not in the table.
    pub fn remove(&mut self, store: &mut ContactStore<A>, handle: ContactHandle) -> bool {
        for at in 0..self.buckets.len() {
            if let Some(place) = self.buckets[at].places.iter_mut().find(|place| **place == handle) {
                *place = ContactHandle::NONE;
                store.release(handle);
                self.entries -= 1;
                self.purge_bucket(store, at);
                return true;
            }
        }
        false
    }

    /// Drops the places of contacts that have left the store, and fills them with those waiting. Other
    /// calls pass over such places; this is for their memory, and for tables that rest.
    pub fn purge(&mut self, store: &mut ContactStore<A>) {
        for at in 0..self.buckets.len() {
            self.purge_bucket(store, at);
        }
    }

    /// Takes everything out, as before the node moves to another id.
    pub fn clear(&mut self, store: &mut ContactStore<A>) {
        for handle in self.handles() {
            store.release(handle);
        }
        self.buckets = Vec::new();
        self.entries = 0;
    }

    /// Appends the up to `n` contacts of the table that are closest to `target`, closest first. Contacts that
    /// have failed to answer twice are left out: they are not told to others.
    pub fn closest(&self, store: &ContactStore<A>, target: &NodeId, n: usize, out: &mut Vec<CompactNode>) {
        let mut left = n;
        let difference = self.own.distance(target);
        let Some(last) = self.buckets.len().checked_sub(1) else { return };
        // Seen from the target, whole buckets lie one behind the other. Those where own id and target differ in the
        // bucket's bit come first, lowest first: their contacts agree with the target in that bit.
        // Then the last bucket, then those where they agree, highest first.
        let differs = |at: &usize| difference.as_bytes()[at / 8] & (0x80 >> (at % 8)) != 0;
        let order = (0..last)
            .filter(differs)
            .chain(std::iter::once(last))
            .chain((0..last).rev().filter(|at| !differs(at)));
        for at in order {
            if left == 0 {
                return;
            }
            left -= self.buckets[at].closest(store, target, left, out);
        }
    }

    /// The contact that is questionable and silent for longest: to be asked whether it is there.
    pub fn most_questionable(&self, now: Duration, store: &ContactStore<A>) -> Option<ContactHandle> {
        self.handles()
            .filter_map(|handle| {
                let contact = store.contact(now, handle)?;
                (contact.standing == Standing::Questionable).then_some((contact.silent_for, handle))
            })
            .max_by_key(|(silent_for, _)| *silent_for)
            .map(|(_, handle)| handle)
    }

    /// A bucket in which nothing has changed for `max_age` (BEP 5: 15 minutes): the one untouched for longest. A
    /// lookup of [`RoutingTable::bucket_target`] refreshes it.
    pub fn stale_bucket(&self, now: Duration, max_age: Duration) -> Option<usize> {
        let now = seconds(now);
        let age = |bucket: &Bucket| now.saturating_sub(bucket.changed);
        let (at, bucket) = self.buckets.iter().enumerate().max_by_key(|(_, bucket)| age(bucket))?;
        (u64::from(age(bucket)) >= max_age.as_secs()).then_some(at)
    }

    /// Counts a bucket as refreshed, as when its lookup begins.
    pub fn refreshed(&mut self, now: Duration, bucket: usize) {
        if let Some(bucket) = self.buckets.get_mut(bucket) {
            bucket.changed = seconds(now);
        }
    }

    /// A random id that falls into a bucket.
    pub fn bucket_target(&self, bucket: usize, rng: &mut impl Rng) -> NodeId {
        let shared = bucket.min(ID_BITS as usize - 1);
        if bucket + 1 >= self.buckets.len() {
            // The last bucket also holds what shares more.
            return self.own.with_random_suffix(shared as u32, rng);
        }
        let mut sibling = *self.own.as_bytes();
        sibling[shared / 8] ^= 0x80 >> (shared % 8);
        NodeId::from_bytes(sibling).with_random_suffix(shared as u32 + 1, rng)
    }

    /// The first bucket from `from` on, the last one excepted, that has room for more.
    pub fn roomy_bucket(&self, from: usize) -> Option<usize> {
        let last = self.buckets.len().checked_sub(1)?;
        (from..last).find(|at| self.buckets[*at].places.contains(&ContactHandle::NONE))
    }

    /// All contacts, by bucket. Some may have left the store.
    pub fn handles(&self) -> impl Iterator<Item = ContactHandle> + '_ {
        self.buckets.iter().flat_map(|bucket| bucket.places).filter(|place| *place != ContactHandle::NONE)
    }

    /// The id that the table is built around.
    pub fn own_id(&self) -> &NodeId {
        &self.own
    }

    /// Places that are filled; contacts that have left the store count until they are purged.
    pub fn len(&self) -> usize {
        usize::from(self.entries)
    }

    /// Whether no place is filled.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Buckets in use.
    pub fn buckets(&self) -> usize {
        self.buckets.len()
    }

    fn purge_bucket(&mut self, store: &mut ContactStore<A>, at: usize) {
        let bucket = &mut self.buckets[at];
        for place in &mut bucket.places {
            if *place != ContactHandle::NONE && store.id(*place).is_none() {
                *place = ContactHandle::NONE;
                self.entries -= 1;
            }
        }
        if bucket.waiting == ContactHandle::NONE {
            return;
        }
        if let Some(place) = bucket.places.iter().position(|place| *place == ContactHandle::NONE) {
            let waiting = std::mem::replace(&mut bucket.waiting, ContactHandle::NONE);
            if store.id(waiting).is_some() && !bucket.places.contains(&waiting) {
                bucket.places[place] = waiting;
                store.retain(waiting);
                self.entries += 1;
            }
        }
    }

    /// Splits the last bucket: what shares more than its prefix moves on.
    fn split(&mut self, now: Duration, store: &ContactStore<A>) {
        let last = self.buckets.len() - 1;
        let mut next = Bucket::empty(now);
        let bucket = &mut self.buckets[last];
        let moves = |handle: ContactHandle| {
            store.id(handle).is_some_and(|id| self.own.common_prefix_len(id) as usize > last)
        };
        for (place, free) in bucket.places.iter_mut().zip(&mut next.places) {
            if moves(*place) {
                *free = std::mem::replace(place, ContactHandle::NONE);
            }
        }
        if moves(bucket.waiting) {
            next.waiting = std::mem::replace(&mut bucket.waiting, ContactHandle::NONE);
        }
        if self.buckets.len() == self.buckets.capacity() {
            // A table ends up with one or two buckets more than the rest of its kind: doubling would waste
            // half of the memory of all.
            self.buckets.reserve_exact(BUCKETS_STEP);
        }
        self.buckets.push(next);
    }
}

/// 40 bytes.
#[derive(Debug, Clone)]
struct Bucket {
    places: [ContactHandle; K],
    /// The contact met last that found no place: the freshest is the likeliest to be alive.
    waiting: ContactHandle,
    /// When a contact was last added or confirmed, in seconds.
    changed: u32,
}

const _: () = assert!(size_of::<Bucket>() == 40);

impl Bucket {
    fn empty(now: Duration) -> Bucket {
        Bucket { places: [ContactHandle::NONE; K], waiting: ContactHandle::NONE, changed: seconds(now) }
    }

    /// A full bucket meets another contact.
    fn contend<A: Address>(
        &mut self,
        now: Duration,
        store: &mut ContactStore<A>,
        handle: ContactHandle,
    ) -> Insertion {
        let mut failing: Option<(u8, usize)> = None;
        let mut ask: Option<(Duration, ContactHandle)> = None;
        for (at, place) in self.places.iter().enumerate() {
            let Some(contact) = store.contact(now, *place) else { continue };
            if contact.failures > 0 && failing.is_none_or(|(most, _)| contact.failures > most) {
                failing = Some((contact.failures, at));
            }
            if contact.standing == Standing::Questionable
                && ask.is_none_or(|(longest, _)| contact.silent_for > longest)
            {
                ask = Some((contact.silent_for, *place));
            }
        }
        if let Some((failures, at)) = failing
            && failures >= REPLACED_AFTER
        {
            store.release(self.places[at]);
            self.places[at] = handle;
            self.changed = seconds(now);
            store.retain(handle);
            return Insertion::Replaced;
        }
        self.waiting = handle;
        Insertion::Waiting { ask: ask.map(|(_, handle)| handle) }
    }

    fn subnet_count<A: Address>(&self, store: &ContactStore<A>, handle: ContactHandle) -> u8 {
        let subnet = store.address(handle).map(A::subnet);
        let of_subnet = |place: &&ContactHandle| {
            store.address(**place).map(A::subnet).is_some_and(|it| Some(it) == subnet)
        };
        self.places.iter().filter(of_subnet).count() as u8
    }

    fn closest<A: Address>(
        &self,
        store: &ContactStore<A>,
        target: &NodeId,
        n: usize,
        out: &mut Vec<CompactNode>,
    ) -> usize {
        // The first 63 bits of the distance nearly always decide.
        let mut keys = [ABSENT; K];
        for (key, place) in keys.iter_mut().zip(&self.places) {
            if let Some(id) = store.presentable(*place) {
                let [a, b, c, d, e, f, g, h, ..] = *id.distance(target).as_bytes();
                *key = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1;
            }
        }
        // The rank of each is how many are closer: 64 comparisons without a branch take less time than sorting, whose
        // branches nobody can predict.
        let mut in_order = [ContactHandle::NONE; K];
        let mut tied = false;
        for (at, key) in keys.iter().enumerate() {
            let mut rank = 0;
            for (other, other_key) in keys.iter().enumerate() {
                let equal = other < at && other_key == key;
                rank += usize::from(other_key < key) + usize::from(equal);
                tied |= equal && *key != ABSENT;
            }
            in_order[rank % K] = self.places[at];
        }
        if tied {
            let distance = |place: &ContactHandle| {
                store.presentable(*place).map_or(Distance::MAX, |id| id.distance(target))
            };
            in_order.sort_by_key(distance);
        }
        // Those without a key are behind all others.
        let count = keys.iter().filter(|key| **key != ABSENT).count();
        let before = out.len();
        out.extend(in_order[..count.min(n)].iter().filter_map(|place| store.node(*place)));
        out.len() - before
    }
}

/// The key of a place without a contact: farther than any.
const ABSENT: u64 = u64::MAX;

fn seconds(now: Duration) -> u32 {
    now.as_secs().min(u64::from(u32::MAX)) as u32
}

/// Contacts of one /24 (IPv6: /64) in a bucket: libtorrent allows one, which keeps one owner of a network from
/// filling a bucket.
pub const PER_SUBNET: u8 = 1;

const ID_BITS: u32 = 160;

/// A place is given to a newcomer when its contact has left two queries unanswered.
const REPLACED_AFTER: u8 = 2;

const BUCKETS_STEP: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contact_store::{GOOD_FOR, Seen};
    use crate::keyed_hash::HashKey;
    use proptest::prelude::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use std::net::Ipv4Addr;

    const NOW: Duration = Duration::from_secs(1_000);
    const OWN: NodeId = NodeId::ZERO;

    type Table = RoutingTable<Ipv4Addr>;
    type Store = ContactStore<Ipv4Addr>;

    fn store() -> Store {
        ContactStore::new(10_000, HashKey::derive(&[7; 32], "test"))
    }

    /// A contact of its own /24.
    fn contact(store: &mut Store, id: NodeId, n: u32) -> ContactHandle {
        contact_at(store, id, Ipv4Addr::from_bits(n << 8 | 1))
    }

    fn contact_at(store: &mut Store, id: NodeId, ip: Ipv4Addr) -> ContactHandle {
        match store.seen(NOW, id, ip, 6881) {
            Seen::New(handle) | Seen::Known(handle) => handle,
            other => panic!("{other:?}"),
        }
    }

    /// An id that shares exactly `bits` with [`OWN`].
    fn sharing(bits: u32, rng: &mut StdRng) -> NodeId {
        let mut bytes = [0; 20];
        bytes[bits as usize / 8] = 0x80 >> (bits % 8);
        NodeId::from_bytes(bytes).with_random_suffix(bits + 1, rng)
    }

    fn filled(ids: &[NodeId]) -> (Table, Store) {
        let (mut table, mut store) = (Table::new(OWN, PER_SUBNET), store());
        for (n, id) in (1..).zip(ids) {
            let handle = contact(&mut store, *id, n);
            table.insert(NOW, &mut store, handle);
        }
        (table, store)
    }

    fn closest(table: &Table, store: &Store, target: &NodeId, n: usize) -> Vec<NodeId> {
        let mut out = Vec::new();
        table.closest(store, target, n, &mut out);
        out.iter().map(|node| node.id).collect()
    }

    #[test]
    fn only_the_bucket_around_the_own_id_splits() {
        let mut rng = StdRng::from_seed([1; 32]);
        let far: Vec<NodeId> = (0..20).map(|_| sharing(0, &mut rng)).collect();
        let (table, _) = filled(&far);
        assert_eq!((table.len(), table.buckets()), (K, 2));
        let near: Vec<NodeId> = (0..30).map(|n| sharing(n % 10, &mut rng)).collect();
        let (table, _) = filled(&near);
        assert_eq!(table.len(), 30);
        assert!(table.buckets() > 5);
    }

    #[test]
    fn the_own_id_and_contacts_that_are_gone_are_not_taken() {
        let (mut table, mut store) = (Table::new(OWN, PER_SUBNET), store());
        let own = contact(&mut store, OWN, 1);
        assert_eq!(table.insert(NOW, &mut store, own), Insertion::Gone);
        store.remove(own);
        assert_eq!(table.insert(NOW, &mut store, own), Insertion::Gone);
        assert!(table.is_empty());
    }

    #[test]
    fn a_bucket_holds_one_contact_of_a_subnet_unless_all_share_it() {
        let mut rng = StdRng::from_seed([2; 32]);
        for (per_subnet, expected) in [(PER_SUBNET, 1), (K as u8, 5)] {
            let (mut table, mut store) = (Table::new(OWN, per_subnet), store());
            for n in 1..=5 {
                let handle = contact_at(&mut store, sharing(0, &mut rng), Ipv4Addr::new(127, 0, 0, n));
                let inserted = table.insert(NOW, &mut store, handle);
                let crowded = per_subnet == PER_SUBNET && n > 1;
                assert_eq!(inserted, if crowded { Insertion::Crowded } else { Insertion::Added });
            }
            assert_eq!(table.len(), expected);
        }
    }

    #[test]
    fn a_newcomer_waits_while_the_oldest_is_asked_and_takes_its_place_when_it_is_gone() {
        let mut rng = StdRng::from_seed([3; 32]);
        let ids: Vec<NodeId> = (0..K).map(|_| sharing(0, &mut rng)).collect();
        let (mut table, mut store) = filled(&ids);
        let later = NOW + GOOD_FOR + Duration::from_secs(60);
        let oldest = store.find(Ipv4Addr::new(0, 0, 1, 1), 6881).unwrap();
        for n in 2..=K as u32 {
            let handle = store.find(Ipv4Addr::from_bits(n << 8 | 1), 6881).unwrap();
            store.heard(later, handle);
        }
        let newcomer = contact(&mut store, sharing(0, &mut rng), 99);
        assert_eq!(table.insert(later, &mut store, newcomer), Insertion::Waiting { ask: Some(oldest) });
        assert_eq!(table.most_questionable(later, &store), Some(oldest));
        for _ in 0..3 {
            store.failed(oldest);
        }
        assert_eq!(table.len(), K);
        table.purge(&mut store);
        assert_eq!(table.len(), K);
        assert!(table.handles().any(|handle| handle == newcomer));
        assert!(!table.handles().any(|handle| handle == oldest));
        assert_eq!(table.insert(later, &mut store, newcomer), Insertion::Present);
    }

    #[test]
    fn a_newcomer_takes_the_place_of_a_contact_that_failed_twice() {
        let mut rng = StdRng::from_seed([4; 32]);
        let ids: Vec<NodeId> = (0..K).map(|_| sharing(0, &mut rng)).collect();
        let (mut table, mut store) = filled(&ids);
        let failing = store.find(Ipv4Addr::new(0, 0, 3, 1), 6881).unwrap();
        let newcomer = contact(&mut store, sharing(0, &mut rng), 99);
        store.failed(failing);
        assert!(matches!(table.insert(NOW, &mut store, newcomer), Insertion::Waiting { .. }));
        store.failed(failing);
        let other = contact(&mut store, sharing(0, &mut rng), 98);
        assert_eq!(table.insert(NOW, &mut store, other), Insertion::Replaced);
        assert!(!table.handles().any(|handle| handle == failing));
        assert_eq!(table.len(), K);
    }

    #[test]
    fn contacts_that_failed_twice_are_not_told() {
        let mut rng = StdRng::from_seed([5; 32]);
        let ids: Vec<NodeId> = (0..4).map(|n| sharing(n, &mut rng)).collect();
        let (table, mut store) = filled(&ids);
        let handle = store.find(Ipv4Addr::new(0, 0, 2, 1), 6881).unwrap();
        store.failed(handle);
        assert_eq!(closest(&table, &store, &ids[1], 8).len(), 4);
        store.failed(handle);
        assert!(!closest(&table, &store, &ids[1], 8).contains(&ids[1]));
    }

    #[test]
    fn a_bucket_is_stale_when_nothing_changed_in_it() {
        let mut rng = StdRng::from_seed([6; 32]);
        let ids: Vec<NodeId> = (0..40).map(|n| sharing(n % 5, &mut rng)).collect();
        let (mut table, mut store) = filled(&ids);
        let quarter = Duration::from_secs(900);
        assert_eq!(table.stale_bucket(NOW + quarter - Duration::from_secs(1), quarter), None);
        let later = NOW + Duration::from_secs(10);
        for bucket in 0..table.buckets() {
            if bucket != 2 {
                table.refreshed(later, bucket);
            }
        }
        assert_eq!(table.stale_bucket(NOW + quarter, quarter), Some(2));
        let target = table.bucket_target(2, &mut rng);
        assert_eq!(OWN.common_prefix_len(&target), 2);
        let newcomer = contact(&mut store, ids[2], 3);
        assert_eq!(table.insert(later, &mut store, newcomer), Insertion::Present);
        assert_eq!(table.stale_bucket(NOW + quarter, quarter), None);
    }

    #[test]
    fn a_target_of_the_last_bucket_shares_at_least_its_prefix() {
        let mut rng = StdRng::from_seed([8; 32]);
        let ids: Vec<NodeId> = (0..40).map(|n| sharing(n % 5, &mut rng)).collect();
        let (table, _) = filled(&ids);
        let last = table.buckets() - 1;
        for _ in 0..50 {
            assert!(OWN.common_prefix_len(&table.bucket_target(last, &mut rng)) as usize >= last);
        }
    }

    #[test]
    fn removing_frees_the_contact_for_the_store() {
        let mut rng = StdRng::from_seed([9; 32]);
        let (mut table, mut store) =
            (Table::new(OWN, PER_SUBNET), ContactStore::new(1, HashKey::derive(&[1; 32], "")));
        let handle = contact(&mut store, sharing(1, &mut rng), 1);
        assert_eq!(table.insert(NOW, &mut store, handle), Insertion::Added);
        assert_eq!(store.seen(NOW, OWN, Ipv4Addr::new(9, 9, 9, 9), 1), Seen::Full);
        assert!(table.remove(&mut store, handle));
        assert!(!table.remove(&mut store, handle));
        assert!(matches!(store.seen(NOW, OWN, Ipv4Addr::new(9, 9, 9, 9), 1), Seen::New(_)));
    }

    proptest! {
        #[test]
        fn the_closest_are_those_that_a_search_of_everything_finds(
            seed in any::<u64>(),
            count in 0_usize..300,
            n in 0_usize..20,
        ) {
            let mut rng = StdRng::seed_from_u64(seed);
            let own = NodeId::random(&mut rng);
            let (mut table, mut store) = (Table::new(own, PER_SUBNET), store());
            for n in 1..=count as u32 {
                let shared = rng.random_range(0..24);
                let id = own.with_random_suffix(shared, &mut rng);
                let handle = contact(&mut store, id, n);
                table.insert(NOW, &mut store, handle);
                if rng.random_ratio(1, 5) {
                    let victim = Ipv4Addr::from_bits(rng.random_range(1..=n) << 8 | 1);
                    let gone = store.find(victim, 6881).is_some_and(|handle| store.remove(handle));
                    if gone && rng.random_ratio(1, 2) {
                        table.purge(&mut store);
                    }
                }
            }
            table.purge(&mut store);
            prop_assert_eq!(table.len(), table.handles().count());
            for at in 0..table.buckets() {
                let exact = at + 1 < table.buckets();
                for id in table.buckets[at].places.iter().filter_map(|place| store.id(*place)) {
                    let shared = own.common_prefix_len(id) as usize;
                    let belongs = if exact { shared == at } else { shared >= at };
                    prop_assert!(belongs);
                }
            }
            for _ in 0..10 {
                let target = own.with_random_suffix(rng.random_range(0..26), &mut rng);
                let mut all: Vec<NodeId> =
                    table.handles().filter_map(|handle| store.id(handle).copied()).collect();
                all.sort_by_key(|id| id.distance(&target));
                all.truncate(n);
                prop_assert_eq!(closest(&table, &store, &target, n), all);
            }
        }
    }
}
