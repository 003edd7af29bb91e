//! The verified contacts of one address family, shared by all virtual nodes: 32 bytes each (IPv6:
//! 44) in a slab.
//!
//! Verified means: the contact has answered a query of ours, from this endpoint, with this id.
//! What others merely tell does not come in. Routing tables hold [`ContactHandle`]s, a slot and its
//! generation in 32 bits: once a contact is gone its handles lead nowhere, whoever still holds them.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use krpc::{CompactNode, NodeId};

use crate::address::Address;
use crate::keyed_hash::HashKey;
use crate::slot_index::SlotIndex;

/// Names a contact for as long as it is in its store.
///
/// After the contact is gone its slot is used again under another generation; only a handle
/// kept through 256 uses of one slot could be mistaken, and free slots are used in turn, so that is as many
/// turnovers of the whole store.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContactHandle(u32);

impl ContactHandle {
    /// Names no contact, in no store.
    pub const NONE: ContactHandle = ContactHandle(u32::MAX);

    fn new(slot: u32, generation: u8) -> ContactHandle {
        ContactHandle(slot << 8 | u32::from(generation))
    }

    fn slot(self) -> usize {
        (self.0 >> 8) as usize
    }

    fn generation(self) -> u8 {
        self.0 as u8
    }
}

impl fmt::Debug for ContactHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot(), self.generation())
    }
}

/// How far a contact can be relied on (BEP 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// Heard from within the last 15 minutes, nothing unanswered since.
    Good,
    /// Silent for longer, or one or two queries unanswered: to be asked before it is replaced.
    Questionable,
    /// [`BAD_AFTER`] queries in a row unanswered.
    Bad,
}

/// A contact as it stands at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contact {
    /// Its id.
    pub id: NodeId,
    /// Its endpoint.
    pub addr: SocketAddr,
    /// Time since it was last heard, in steps of 8 s.
    pub silent_for: Duration,
    /// Queries in a row that it has not answered.
    pub failures: u8,
    /// How far it can be relied on.
    pub standing: Standing,
}

/// What became of an answer that verified a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It was not in the store and is now.
    New(ContactHandle),
    /// It was in the store and is good again.
    Known(ContactHandle),
    /// The endpoint was in the store under another id: that contact is gone, and the new one has to prove
    /// itself once more. To be reported to [`IdMismatch`](crate::id_mismatch::IdMismatch).
    IdChanged {
        /// The id it had before.
        old: NodeId,
    },
    /// The store is full of contacts that routing tables use.
    Full,
}

/// What happened to contacts, counted from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ContactCounters {
    /// Taken in.
    pub added: u64,
    /// Not taken in, because the store was full of used ones.
    pub refused: u64,
    /// Removed because the endpoint answered with another id.
    pub id_changed: u64,
    /// Removed because they did not answer [`BAD_AFTER`] times.
    pub failed: u64,
    /// Removed to make room: no routing table used them.
    pub displaced: u64,
}

/// The store of one family.
#[derive(Debug)]
pub struct ContactStore<A> {
    /// Of equal size, so that growing never copies.
    chunks: Vec<Box<[Record<A>]>>,
    /// Slots that were ever used; beyond them the last chunk is blank.
    touched: u32,
    /// Free slots form a queue, so that a slot rests as long as possible: its generation then
    /// comes round as late as possible.
    free_first: u32,
    free_last: u32,
    len: usize,
    /// The references of all records together.
    references: usize,
    capacity: usize,
    index: SlotIndex,
    key: HashKey,
    /// Where the search for something to displace goes on.
    hand: u32,
    counters: ContactCounters,
}

impl<A: Address> ContactStore<A> {
    /// A store for up to `capacity` contacts, at most [`CAPACITY_MAX`].
    pub fn new(capacity: usize, key: HashKey) -> ContactStore<A> {
        let capacity = capacity.min(CAPACITY_MAX);
        ContactStore {
            chunks: Vec::with_capacity(capacity.div_ceil(CHUNK)),
            touched: 0,
            free_first: NO_SLOT,
            free_last: NO_SLOT,
            len: 0,
            references: 0,
            capacity,
            index: SlotIndex::new(capacity),
            key,
            hand: 0,
            counters: ContactCounters::default(),
        }
    }

    /// A contact has answered a query of ours: takes it in, or refreshes it.
    pub fn seen(&mut self, now: Duration, id: NodeId, addr: A, port: u16) -> Seen {
        if let Some(handle) = self.find(addr, port) {
            let record = self.record_mut(handle.slot());
            if record.id == id {
                record.meta.refresh(now);
                return Seen::Known(handle);
            }
            let old = record.id;
            self.counters.id_changed += 1;
            self.take_out(handle.slot());
            return Seen::IdChanged { old };
        }
        let Some(slot) = self.vacant_slot(now) else {
            self.counters.refused += 1;
            return Seen::Full;
        };
        let hash = self.hash(addr, port);
        let record = self.record_mut(slot);
        let generation = record.meta.generation();
        *record = Record { id, addr, port, references: 0, meta: Meta::occupied(generation, now) };
        self.index.insert(hash, slot as u32);
        self.len += 1;
        self.counters.added += 1;
        Seen::New(ContactHandle::new(slot as u32, generation))
    }

    /// A contact has sent us a query. It has answered before, so it is known to be alive (BEP 5). A query
    /// is not proof enough to change anything else: its source address may be forged.
    pub fn heard(&mut self, now: Duration, handle: ContactHandle) {
        if let Some(record) = self.live_mut(handle)
            && record.meta.failures() == 0
        {
            record.meta.refresh(now);
        }
    }

    /// A contact has not answered. At [`BAD_AFTER`] in a row it is removed, and its standing is `Bad`;
    /// `None` when it was gone already.
    pub fn failed(&mut self, handle: ContactHandle) -> Option<Standing> {
        let record = self.live_mut(handle)?;
        record.meta.fail();
        if record.meta.failures() < BAD_AFTER {
            return Some(Standing::Questionable);
        }
        self.counters.failed += 1;
        self.take_out(handle.slot());
        Some(Standing::Bad)
    }

    /// Removes a contact; `false` when it was gone already.
    pub fn remove(&mut self, handle: ContactHandle) -> bool {
        let found = self.live(handle).is_some();
        if found {
            self.take_out(handle.slot());
        }
        found
    }

    /// A routing table has begun to use the contact: it is not displaced.
    pub(crate) fn retain(&mut self, handle: ContactHandle) {
        if let Some(record) = self.live_mut(handle)
            && record.references != u16::MAX
        {
            record.references += 1;
            self.references += 1;
        }
    }

    /// A routing table uses it no more.
    pub(crate) fn release(&mut self, handle: ContactHandle) {
        if let Some(record) = self.live_mut(handle)
            // A counter that has once been full has lost count: it stays until the contact goes.
            && record.references != u16::MAX
            && record.references > 0
        {
            record.references -= 1;
            self.references -= 1;
        }
    }

    /// The contact at an endpoint.
    pub fn find(&self, addr: A, port: u16) -> Option<ContactHandle> {
        let slot = self.index.find(self.hash(addr, port), |slot| {
            let record = self.record(slot as usize);
            record.port == port && record.addr == addr
        })?;
        Some(ContactHandle::new(slot, self.record(slot as usize).meta.generation()))
    }

    /// The contact that a handle names, while it is there.
    pub fn contact(&self, now: Duration, handle: ContactHandle) -> Option<Contact> {
        self.live(handle).map(|record| record.contact(now))
    }

    /// Id and endpoint of a contact.
    #[inline]
    pub fn node(&self, handle: ContactHandle) -> Option<CompactNode> {
        self.live(handle).map(|record| CompactNode { id: record.id, addr: record.endpoint() })
    }

    /// The id of a contact.
    #[inline]
    pub fn id(&self, handle: ContactHandle) -> Option<&NodeId> {
        self.live(handle).map(|record| &record.id)
    }

    /// How far a contact can be relied on.
    pub fn standing(&self, now: Duration, handle: ContactHandle) -> Option<Standing> {
        self.live(handle).map(|record| record.standing(now))
    }

    /// Whether a contact may be told to others: not one that has failed to answer twice.
    #[inline]
    pub(crate) fn presentable(&self, handle: ContactHandle) -> Option<&NodeId> {
        self.live(handle)
            .filter(|record| record.meta.failures() < UNPRESENTABLE_AFTER)
            .map(|record| &record.id)
    }

    pub(crate) fn address(&self, handle: ContactHandle) -> Option<A> {
        self.live(handle).map(|record| record.addr)
    }

    /// All contacts, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (ContactHandle, CompactNode)> + '_ {
        (0..self.touched).filter_map(|slot| {
            let record = self.record(slot as usize);
            record.meta.is_occupied().then(|| {
                let node = CompactNode { id: record.id, addr: record.endpoint() };
                (ContactHandle::new(slot, record.meta.generation()), node)
            })
        })
    }

    /// Contacts in the store.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Places in routing tables that name a contact, over all tables.
    pub fn references(&self) -> usize {
        self.references
    }

    /// Contacts that it can hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// What happened so far.
    pub fn counters(&self) -> ContactCounters {
        self.counters
    }

    fn vacant_slot(&mut self, now: Duration) -> Option<usize> {
        if self.len >= self.capacity {
            return self.displace(now);
        }
        // New slots first: the rest of those used before gets longer.
        if (self.touched as usize) < self.capacity {
            let slot = self.touched as usize;
            if slot / CHUNK == self.chunks.len() {
                let size = CHUNK.min(self.capacity - slot);
                self.chunks.push(vec![Record::blank(); size].into_boxed_slice());
            }
            self.touched += 1;
            return Some(slot);
        }
        self.dequeue_free()
    }

    /// Makes room at the cost of the contact, among some that no table uses, that is silent for longest.
    fn displace(&mut self, now: Duration) -> Option<usize> {
        let mut oldest: Option<(u32, Duration)> = None;
        for _ in 0..DISPLACE_SEARCH.min(self.touched) {
            self.hand = if self.hand + 1 >= self.touched { 0 } else { self.hand + 1 };
            let record = self.record(self.hand as usize);
            let age = record.meta.silent_for(now);
            if record.references == 0
                && record.meta.is_occupied()
                && oldest.is_none_or(|(_, most)| age > most)
            {
                oldest = Some((self.hand, age));
            }
        }
        let (slot, _) = oldest?;
        self.counters.displaced += 1;
        self.take_out(slot as usize);
        self.dequeue_free()
    }

    fn take_out(&mut self, slot: usize) {
        let record = self.record(slot);
        let (hash, references) = (self.hash(record.addr, record.port), record.references);
        self.references -= usize::from(references);
        // `index` and `chunks` are separate fields, which the borrow checker only sees when spelt out.
        let (chunks, key) = (&self.chunks, &self.key);
        self.index.remove(hash, slot as u32, |slot| {
            let record = &chunks[slot as usize / CHUNK][slot as usize % CHUNK];
            key.hash(&record.addr.endpoint(record.port))
        });
        let record = self.record_mut(slot);
        record.meta = Meta::vacant(record.meta.generation().wrapping_add(1));
        record.addr = A::NONE;
        record.set_next_free(NO_SLOT);
        self.len -= 1;
        let slot = slot as u32;
        if self.free_last == NO_SLOT {
            self.free_first = slot;
        } else {
            let last = self.free_last as usize;
            self.record_mut(last).set_next_free(slot);
        }
        self.free_last = slot;
    }

    fn dequeue_free(&mut self) -> Option<usize> {
        if self.free_first == NO_SLOT {
            return None;
        }
        let slot = self.free_first as usize;
        self.free_first = self.record(slot).next_free();
        if self.free_first == NO_SLOT {
            self.free_last = NO_SLOT;
        }
        Some(slot)
    }

    #[inline]
    fn live(&self, handle: ContactHandle) -> Option<&Record<A>> {
        self.chunks
            .get(handle.slot() / CHUNK)?
            .get(handle.slot() % CHUNK)
            .filter(|record| record.meta.is_live(handle.generation()))
    }

    fn live_mut(&mut self, handle: ContactHandle) -> Option<&mut Record<A>> {
        self.chunks
            .get_mut(handle.slot() / CHUNK)?
            .get_mut(handle.slot() % CHUNK)
            .filter(|record| record.meta.is_live(handle.generation()))
    }

    #[inline]
    fn record(&self, slot: usize) -> &Record<A> {
        &self.chunks[slot / CHUNK][slot % CHUNK]
    }

    fn record_mut(&mut self, slot: usize) -> &mut Record<A> {
        &mut self.chunks[slot / CHUNK][slot % CHUNK]
    }

    fn hash(&self, addr: A, port: u16) -> u64 {
        self.key.hash(&addr.endpoint(port))
    }
}

/// The stores of both families.
#[derive(Debug)]
pub struct Contacts {
    /// IPv4.
    pub v4: ContactStore<Ipv4Addr>,
    /// IPv6.
    pub v6: ContactStore<Ipv6Addr>,
}

impl Contacts {
    /// Stores for up to so many contacts of each family; 0 for a family that no port speaks.
    pub fn new(v4_max: usize, v6_max: usize, seed: &[u8; 32]) -> Contacts {
        Contacts {
            v4: ContactStore::new(v4_max, HashKey::derive(seed, "contacts v4")),
            v6: ContactStore::new(v6_max, HashKey::derive(seed, "contacts v6")),
        }
    }

    /// Contacts that both can hold.
    pub fn capacity(&self) -> usize {
        self.v4.capacity() + self.v6.capacity()
    }

    /// Places in routing tables that name a contact, over all tables of both families.
    pub fn references(&self) -> usize {
        self.v4.references() + self.v6.references()
    }

    /// Contacts in both.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[derive(Debug, Clone, Copy)]
struct Record<A> {
    id: NodeId,
    addr: A,
    port: u16,
    /// How many routing tables use it.
    references: u16,
    meta: Meta,
}

const _: () = assert!(size_of::<Record<Ipv4Addr>>() == 32);
const _: () = assert!(size_of::<Record<Ipv6Addr>>() == 44);

impl<A: Address> Record<A> {
    fn blank() -> Record<A> {
        Record { id: NodeId::ZERO, addr: A::NONE, port: 0, references: 0, meta: Meta::vacant(0) }
    }

    fn endpoint(&self) -> SocketAddr {
        SocketAddr::new(self.addr.ip(), self.port)
    }

    fn standing(&self, now: Duration) -> Standing {
        match self.meta.failures() {
            0 if self.meta.silent_for(now) <= GOOD_FOR => Standing::Good,
            failures if failures >= BAD_AFTER => Standing::Bad,
            _ => Standing::Questionable,
        }
    }

    fn contact(&self, now: Duration) -> Contact {
        Contact {
            id: self.id,
            addr: self.endpoint(),
            silent_for: self.meta.silent_for(now),
            failures: self.meta.failures(),
            standing: self.standing(now),
        }
    }

    /// A free record has no id: the link to the next free one stands there.
    fn set_next_free(&mut self, slot: u32) {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&slot.to_be_bytes());
        self.id = NodeId::from_bytes(bytes);
    }

    fn next_free(&self) -> u32 {
        let [a, b, c, d, ..] = *self.id.as_bytes();
        u32::from_be_bytes([a, b, c, d])
    }
}

/// From the top: 20 bits of time in steps of 8 s, compared modulo 97 days (no contact is
/// silent for that long and stays); 3 bits of failures; 1 bit, occupied; 8 bits of generation.
#[derive(Debug, Clone, Copy)]
struct Meta(u32);

impl Meta {
    const TIME_SHIFT: u32 = 12;
    const TIME_MASK: u32 = (1 << 20) - 1;
    const FAILURES_SHIFT: u32 = 9;
    const FAILURES_MASK: u32 = 7;
    const OCCUPIED: u32 = 1 << 8;

    fn vacant(generation: u8) -> Meta {
        Meta(u32::from(generation))
    }

    fn occupied(generation: u8, now: Duration) -> Meta {
        Meta(Meta::steps(now) << Meta::TIME_SHIFT | Meta::OCCUPIED | u32::from(generation))
    }

    fn generation(self) -> u8 {
        self.0 as u8
    }

    fn is_occupied(self) -> bool {
        self.0 & Meta::OCCUPIED != 0
    }

    #[inline]
    fn is_live(self, generation: u8) -> bool {
        self.0 & 0x1ff == Meta::OCCUPIED | u32::from(generation)
    }

    fn failures(self) -> u8 {
        (self.0 >> Meta::FAILURES_SHIFT & Meta::FAILURES_MASK) as u8
    }

    fn fail(&mut self) {
        if u32::from(self.failures()) < Meta::FAILURES_MASK {
            self.0 += 1 << Meta::FAILURES_SHIFT;
        }
    }

    fn refresh(&mut self, now: Duration) {
        *self = Meta::occupied(self.generation(), now);
    }

    fn silent_for(self, now: Duration) -> Duration {
        let steps = Meta::steps(now).wrapping_sub(self.0 >> Meta::TIME_SHIFT) & Meta::TIME_MASK;
        Duration::from_secs(u64::from(steps) * STEP_SECS)
    }

    fn steps(now: Duration) -> u32 {
        (now.as_secs() / STEP_SECS) as u32 & Meta::TIME_MASK
    }
}

/// Unanswered queries in a row after which a contact is removed. BEP 5 says "multiple"; with a fifth of all packets
/// lost three in a row happen to one live contact in twenty asked three times, two to one in eight.
pub const BAD_AFTER: u8 = 3;

/// A contact heard within this time is good (BEP 5).
pub const GOOD_FOR: Duration = Duration::from_secs(15 * 60);

/// A handle has 24 bits for the slot, the highest of which means none.
pub const CAPACITY_MAX: usize = (1 << 24) - 1;

/// One lost packet is chance; who has lost two is not worth another's packet.
const UNPRESENTABLE_AFTER: u8 = 2;

const STEP_SECS: u64 = 8;

/// Records in one allocation: 128 KiB of IPv4 contacts.
const CHUNK: usize = 4_096;

/// Slots looked at for one to displace: enough to find a contact out of use even when only one in ten is.
const DISPLACE_SEARCH: u32 = 64;

const NO_SLOT: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const NOW: Duration = Duration::from_secs(1_000);

    fn store(capacity: usize) -> ContactStore<Ipv4Addr> {
        ContactStore::new(capacity, HashKey::derive(&[7; 32], "test"))
    }

    fn id(n: u8) -> NodeId {
        NodeId::from_bytes([n; 20])
    }

    fn ip(n: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, n)
    }

    fn new(store: &mut ContactStore<Ipv4Addr>, n: u8) -> ContactHandle {
        match store.seen(NOW, id(n), ip(n), 6881) {
            Seen::New(handle) => handle,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_contact_is_found_by_its_endpoint_and_only_by_it() {
        let mut store = store(10);
        let handle = new(&mut store, 1);
        assert_eq!(store.find(ip(1), 6881), Some(handle));
        assert_eq!(store.find(ip(1), 6882), None);
        assert_eq!(store.find(ip(2), 6881), None);
        assert_eq!(
            store.node(handle),
            Some(CompactNode { id: id(1), addr: "192.0.2.1:6881".parse().unwrap() })
        );
    }

    #[test]
    fn a_contact_is_good_for_a_quarter_of_an_hour_and_bad_after_three_failures() {
        let mut store = store(10);
        let handle = new(&mut store, 1);
        assert_eq!(store.standing(NOW + GOOD_FOR, handle), Some(Standing::Good));
        let later = NOW + GOOD_FOR + Duration::from_secs(8);
        assert_eq!(store.standing(later, handle), Some(Standing::Questionable));
        store.heard(later, handle);
        assert_eq!(store.standing(later, handle), Some(Standing::Good));
        assert_eq!(store.failed(handle), Some(Standing::Questionable));
        assert_eq!(store.standing(later, handle), Some(Standing::Questionable));
        assert_eq!(store.failed(handle), Some(Standing::Questionable));
        assert_eq!(store.contact(later, handle).unwrap().failures, 2);
        assert_eq!(store.failed(handle), Some(Standing::Bad));
        assert_eq!(store.failed(handle), None);
        assert!(store.is_empty());
        assert_eq!(store.counters().failed, 1);
    }

    #[test]
    fn an_answer_forgives_failures_and_a_query_does_not() {
        let mut store = store(10);
        let handle = new(&mut store, 1);
        store.failed(handle);
        store.heard(NOW, handle);
        assert_eq!(store.contact(NOW, handle).unwrap().failures, 1);
        assert_eq!(store.seen(NOW, id(1), ip(1), 6881), Seen::Known(handle));
        assert_eq!(store.contact(NOW, handle).unwrap().failures, 0);
    }

    #[test]
    fn another_id_at_the_endpoint_removes_the_contact() {
        let mut store = store(10);
        let handle = new(&mut store, 1);
        assert_eq!(store.seen(NOW, id(2), ip(1), 6881), Seen::IdChanged { old: id(1) });
        assert_eq!(store.node(handle), None);
        assert_eq!(store.len(), 0);
        assert!(matches!(store.seen(NOW, id(2), ip(1), 6881), Seen::New(_)));
        assert_eq!(store.counters(), ContactCounters { added: 2, id_changed: 1, ..Default::default() });
    }

    #[test]
    fn a_handle_leads_nowhere_once_its_slot_is_used_again() {
        let mut store = store(1);
        let old = new(&mut store, 1);
        store.remove(old);
        let fresh = new(&mut store, 2);
        assert_eq!(old.slot(), fresh.slot());
        assert_eq!(store.id(old), None);
        assert_eq!(store.id(fresh), Some(&id(2)));
        assert_eq!(store.id(ContactHandle::NONE), None);
        assert!(!store.remove(old));
        store.retain(old);
        assert!(store.remove(fresh));
    }

    #[test]
    fn a_full_store_displaces_the_oldest_unused_contact_and_nothing_that_is_used() {
        let mut store = store(3);
        let used = new(&mut store, 1);
        store.retain(used);
        let old = new(&mut store, 2);
        let young = new(&mut store, 3);
        let later = NOW + Duration::from_secs(60);
        store.heard(later, young);
        assert!(matches!(store.seen(later, id(4), ip(4), 6881), Seen::New(_)));
        assert_eq!(store.id(old), None);
        for handle in [used, young, store.find(ip(4), 6881).unwrap()] {
            assert!(store.id(handle).is_some());
            if handle != used {
                store.retain(handle);
            }
        }
        assert_eq!(store.seen(later, id(5), ip(5), 6881), Seen::Full);
        assert_eq!(store.references(), 3);
        store.release(young);
        assert_eq!(store.references(), 2);
        assert!(matches!(store.seen(later, id(5), ip(5), 6881), Seen::New(_)));
        assert_eq!(
            store.counters(),
            ContactCounters { added: 5, refused: 1, displaced: 2, ..Default::default() }
        );
        assert!(store.remove(used));
        assert_eq!(store.references(), 1);
    }

    #[test]
    fn ages_are_right_after_the_clock_of_the_record_has_wrapped() {
        let mut store = store(1);
        let start = Duration::from_secs((Meta::TIME_MASK as u64) * STEP_SECS);
        let Seen::New(handle) = store.seen(start, id(1), ip(1), 1) else { panic!() };
        let silent = store.contact(start + Duration::from_secs(80), handle).unwrap().silent_for;
        assert_eq!(silent, Duration::from_secs(80));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_map(steps in prop::collection::vec((0_u8..4, 0_u8..12, 0_u8..3), 0..300)) {
            let mut store = store(9);
            let mut model: BTreeMap<u8, (u8, ContactHandle)> = BTreeMap::new();
            for (step, n, variant) in steps {
                match step {
                    0 | 1 => match store.seen(NOW, id(variant), ip(n), 7) {
                        Seen::New(handle) => {
                            prop_assert!(!model.contains_key(&n));
                            // What gave way, if the store was full.
                            model.retain(|_, (_, handle)| store.id(*handle).is_some());
                            model.insert(n, (variant, handle));
                        }
                        Seen::Known(handle) => prop_assert_eq!(model.get(&n), Some(&(variant, handle))),
                        Seen::IdChanged { old } => {
                            let (was, _) = model.remove(&n).unwrap();
                            prop_assert_eq!(old, id(was));
                            prop_assert_ne!(was, variant);
                        }
                        Seen::Full => prop_assert!(false, "nothing is retained here"),
                    },
                    2 => {
                        if let Some((_, handle)) = model.remove(&n) {
                            prop_assert!(store.remove(handle));
                        }
                    }
                    _ => prop_assert_eq!(store.find(ip(n), 7), model.get(&n).map(|(_, handle)| *handle)),
                }
                prop_assert_eq!(store.len(), model.len());
                prop_assert!(store.len() <= 9);
                prop_assert_eq!(store.iter().count(), model.len());
                for (n, (variant, handle)) in &model {
                    prop_assert_eq!(store.find(ip(*n), 7), Some(*handle));
                    prop_assert_eq!(store.id(*handle), Some(&id(*variant)));
                }
            }
        }
    }
}
