//! The routing tables of nodes: drawn when a node begins, kept up as BEP 5 says.

use std::time::Duration;

use krpc::{CompactNode, NodeId};
use rand::RngExt;

use super::chances::stretched;
use super::node::Node;
use super::world::{Family, World};
use crate::keyspace::Keyspace;

/// Contacts in a bucket (k of BEP 5).
pub(super) const BUCKET: usize = 8;

/// An entry of a routing table: 8 bytes, since there are millions. The bits that it keeps of the id tell apart all nodes of
/// a world but for one pair in thousands; those two may come in the wrong order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Contact {
    prefix: u32,
    pub(super) node: u32,
}

impl Contact {
    pub(super) fn new(id: &NodeId, node: u32) -> Contact {
        Contact { prefix: prefix(id), node }
    }

    /// The bucket of a node with this id that the contact belongs to.
    pub(super) fn level(self, own: &NodeId) -> u32 {
        (self.prefix ^ prefix(own)).leading_zeros()
    }
}

fn prefix(id: &NodeId) -> u32 {
    let [a, b, c, d, ..] = *id.as_bytes();
    u32::from_be_bytes([a, b, c, d])
}

impl World {
    /// Gives a node a table as it has after some time: up to eight of each bucket, drawn from those who are known.
    pub(super) fn draw_table(&mut self, index: u32) {
        let World { known, nodes, rng, .. } = self;
        let node = &mut nodes[index as usize];
        let known = &known[Family::of(node.addr) as usize];
        let own = node.id;
        let mut table = Vec::new();
        known.visit_buckets(&own, |_, range| {
            let first = table.len();
            for _ in 0..range.len().min(BUCKET) {
                let place = rng.random_range(range.clone());
                let Some((id, other)) = known.at(place..place + 1).first() else { continue };
                let contact = Contact::new(id, *other);
                if *other != index && !table[first..].contains(&contact) {
                    table.push(contact);
                }
            }
        });
        node.table = table;
    }

    /// Lets the nearest neighbours of a node know it, as they do when it looks up its own id.
    pub(super) fn introduce(&mut self, index: u32) {
        let node = &self.nodes[index as usize];
        let (id, family) = (node.id, Family::of(node.addr));
        for neighbour in self.nearest_alive(family, &id, BUCKET + 1, |_| true) {
            if neighbour != index {
                self.take_contact(neighbour, index);
            }
        }
    }

    /// Lets a few nodes at each distance know a node, as they do after it has searched for this and that.
    pub(super) fn spread_word(&mut self, index: u32) {
        let node = &self.nodes[index as usize];
        let (id, family) = (node.id, Family::of(node.addr));
        let mut told = Vec::new();
        self.alive[family as usize].visit_buckets(&id, |_, range| {
            for _ in 0..range.len().min(TOLD_A_BUCKET) {
                let place = self.rng.random_range(range.clone());
                told.extend(self.alive[family as usize].at(place..place + 1).first().map(|(_, node)| *node));
            }
        });
        for holder in told {
            self.take_contact(holder, index);
        }
    }

    /// A node hears of another one: it is taken up when its bucket has room, or has somebody who is gone.
    fn take_contact(&mut self, holder: u32, index: u32) {
        let contact = Contact::new(&self.nodes[index as usize].id, index);
        let own = self.nodes[holder as usize].id;
        let level = contact.level(&own);
        let table = &self.nodes[holder as usize].table;
        let in_bucket = || table.iter().enumerate().filter(|(_, other)| other.level(&own) == level);
        if holder == index || table.contains(&contact) {
            return;
        }
        if in_bucket().count() < BUCKET {
            self.nodes[holder as usize].table.push(contact);
        } else if let Some(gone) = in_bucket()
            .map(|(place, other)| (place, other.node))
            .find(|(_, other)| !self.nodes[*other as usize].is_up())
        {
            self.nodes[holder as usize].table[gone.0] = contact;
        }
    }

    /// Replaces contacts that are gone, as far as the node has noticed by now: somebody else of their bucket takes the place.
    fn clean_table(&mut self, index: u32) {
        let Some(forgotten_after) = self.churn.map(|churn| churn.forgotten_after) else { return };
        let World { known, nodes, rng, now, .. } = self;
        let own = nodes[index as usize].id;
        let mut table = std::mem::take(&mut nodes[index as usize].table);
        let noticed = |contact: &Contact, nodes: &[Node]| {
            nodes[contact.node as usize]
                .left
                .is_some_and(|left| *now >= left + patience(index, *contact, forgotten_after))
        };
        let known: &Keyspace = &known[Family::of(nodes[index as usize].addr) as usize];
        let mut place = 0;
        while place < table.len() {
            if !noticed(&table[place], nodes) {
                place += 1;
                continue;
            }
            let range = known.bucket(&own, table[place].level(&own));
            let other = if range.is_empty() {
                None
            } else {
                known.at(range.clone()).get(rng.random_range(0..range.len()))
            };
            match other.map(|(id, node)| Contact::new(id, *node)) {
                Some(other) if !table.contains(&other) => {
                    table[place] = other;
                    place += 1;
                }
                _ => {
                    table.swap_remove(place);
                }
            }
        }
        nodes[index as usize].table = table;
    }

    /// Appends the contacts that a node names for a target, nearest first; outsiders in its table are among them.
    pub(super) fn closest(&mut self, index: u32, target: &NodeId, count: usize, out: &mut Vec<CompactNode>) {
        self.clean_table(index);
        let point = prefix(target);
        let node = &mut self.nodes[index as usize];
        let count_in_table = node.table.len().min(count);
        if count_in_table > 0 && count_in_table < node.table.len() {
            // The order of a table means nothing, so it may be changed.
            node.table.select_nth_unstable_by_key(count_in_table - 1, |contact| contact.prefix ^ point);
        }
        let node = &self.nodes[index as usize];
        out.extend(node.table.iter().take(count_in_table).map(|contact| {
            let node = &self.nodes[contact.node as usize];
            CompactNode { id: node.id, addr: node.addr }
        }));
        out.extend(
            self.friends_of(index).filter(|friend| friend.confirmed).map(|friend| friend.as_contact()),
        );
        out.sort_unstable_by_key(|contact| contact.id.distance(target));
        out.truncate(count);
    }

    /// Contacts in the bucket of a node that an id belongs to: how many, and whether one of them is gone or, if asked for, has an id that is not
    /// bound to its IP.
    pub(super) fn bucket_state(&self, index: u32, id: &NodeId) -> BucketState {
        let node = &self.nodes[index as usize];
        let level = Contact::new(id, 0).level(&node.id);
        let mut state = BucketState::default();
        for contact in node.table.iter().filter(|contact| contact.level(&node.id) == level) {
            let other = &self.nodes[contact.node as usize];
            state.count += 1;
            if other.left.is_some() {
                state.gone = Some(*contact);
            } else if !krpc::bep42::is_valid(other.addr.ip(), &other.id) {
                state.unbound = Some(*contact);
            }
        }
        state
    }

    pub(super) fn drop_contact(&mut self, index: u32, contact: Contact) {
        self.nodes[index as usize].table.retain(|other| *other != contact);
    }
}

/// What a bucket looks like to somebody who would come in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BucketState {
    pub(super) count: usize,
    /// A contact that is gone.
    pub(super) gone: Option<Contact>,
    /// A contact whose id BEP 42 does not allow.
    pub(super) unbound: Option<Contact>,
}

/// How long a node keeps a contact that is gone: drawn once for each pair.
fn patience(holder: u32, contact: Contact, mean: Duration) -> Duration {
    let mixed = (u64::from(holder) << 32 | u64::from(contact.node)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
    stretched(mean, (mixed >> 11) as f64 / (1_u64 << 53) as f64)
}

/// How many nodes of each bucket a settled node has come to be known to, besides those that drew it.
const TOLD_A_BUCKET: usize = 2;
