//! Outsiders in the tables of nodes: who takes them up, looks after them, and drops them.

use std::net::SocketAddr;
use std::time::Duration;

use krpc::{CompactNode, Method, NodeId, Want, bep42, encode};
use rand::RngExt;

use super::nature::Nature;
use super::schedule::Happening;
use super::tables::BUCKET;
use super::world::World;

/// An outsider in the table of a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Friend {
    pub(super) addr: SocketAddr,
    pub(super) id: NodeId,
    /// It has answered a query, so others are told of it.
    pub(super) confirmed: bool,
    /// A query waits for its answer.
    asked: bool,
    /// Queries in a row that were not answered.
    missed: u8,
}

impl Friend {
    pub(super) fn as_contact(&self) -> CompactNode {
        CompactNode { id: self.id, addr: self.addr }
    }
}

impl World {
    pub(super) fn friends_of(&self, index: u32) -> impl Iterator<Item = &Friend> {
        self.friends.get(&index).into_iter().flatten()
    }

    /// A node has heard an outsider: it is taken up if there is room in its bucket.
    pub(super) fn befriend(&mut self, index: u32, addr: SocketAddr, id: NodeId, answered: bool) {
        let nature = self.nodes[index as usize].nature;
        if !self.upkeep || !nature.answers() || !self.outsiders.contains(&addr) {
            return;
        }
        let friends = self.friends.entry(index).or_default();
        if let Some(friend) = friends.iter_mut().find(|friend| friend.addr == addr) {
            if friend.id != id {
                self.counts.ids_changed += 1;
                friend.id = id;
            }
            if answered {
                *friend = Friend { confirmed: true, asked: false, missed: 0, ..*friend };
            }
            return;
        }
        if nature == Nature::Libtorrent && friends.iter().any(|friend| friend.addr.ip() == addr.ip()) {
            return;
        }
        let own = self.nodes[index as usize].id;
        let level = own.common_prefix_len(&id);
        let beside = friends.iter().filter(|friend| friend.id.common_prefix_len(&own) == level).count();
        let bucket = self.bucket_state(index, &id);
        if bucket.count + beside >= BUCKET {
            let prefers = nature == Nature::Libtorrent && bep42::is_valid(addr.ip(), &id);
            let Some(contact) = bucket.gone.or(bucket.unbound.filter(|_| prefers)) else { return };
            self.drop_contact(index, contact);
        }
        let friend = Friend { addr, id, confirmed: answered, asked: false, missed: 0 };
        self.friends.entry(index).or_default().push(friend);
        self.counts.befriended += 1;
        self.plan_upkeep(index, addr, FIRST_UPKEEP);
    }

    /// It is time to see whether an outsider in a table still answers.
    pub(super) fn look_after(&mut self, index: u32, addr: SocketAddr) {
        let node = &self.nodes[index as usize];
        let (own, nature) = (node.id, node.nature);
        let up = node.is_up();
        let Some(friends) = self.friends.get_mut(&index) else { return };
        let Some(place) = friends.iter().position(|friend| friend.addr == addr) else { return };
        if friends[place].asked {
            friends[place].missed += 1;
        }
        if !up || friends[place].missed >= MISSED_MAX {
            friends.swap_remove(place);
            self.counts.dropped += u64::from(up);
            return;
        }
        friends[place].asked = true;
        let (missed, theirs) = (friends[place].missed, friends[place].id);
        // libtorrent keeps its buckets fresh with get_peers for points that it makes up; others ping.
        let level = own.common_prefix_len(&theirs);
        let info_hash = theirs.with_random_suffix(level + 1, &mut self.rng).as_hash();
        let method = match nature {
            Nature::Libtorrent => Method::GetPeers { info_hash, noseed: false, scrape: false },
            Nature::Mldht | Nature::FourByteIds => Method::FindNode { target: own },
            _ => Method::Ping,
        };
        self.counts.upkeep += 1;
        self.query_from_node(index, addr, method);
        self.plan_upkeep(index, addr, if missed > 0 { AFTER_A_MISS } else { UPKEEP });
    }

    /// Sends a query of a node.
    pub(super) fn query_from_node(&mut self, index: u32, to: SocketAddr, method: Method<'_>) {
        let node = &self.nodes[index as usize];
        let (id, nature) = (node.id, node.nature);
        let tid: [u8; 4] = self.rng.random();
        let tid = if nature == Nature::Libtorrent { &tid[..2] } else { &tid[..] };
        let mut bytes = Vec::new();
        let (version, want) = (Some(nature.version()), Want::default());
        encode::Query { tid, id, version, read_only: false, want, method }.encode(&mut bytes);
        self.send_from_node(index, to, bytes);
    }

    fn plan_upkeep(&mut self, node: u32, friend: SocketAddr, (least, most): (u64, u64)) {
        let pause = Duration::from_secs(self.rng.random_range(least..=most));
        self.schedule.plan(self.now + pause, Happening::Upkeep { node, friend });
    }
}

/// Seconds until a new contact is asked for the first time.
const FIRST_UPKEEP: (u64, u64) = (5, 60);
/// Seconds between two looks at a contact: libtorrent asks one of its some hundred contacts every 5 s.
const UPKEEP: (u64, u64) = (480, 900);
/// Seconds until a contact that was silent is asked again.
const AFTER_A_MISS: (u64, u64) = (30, 60);
/// Silent so often in a row, a contact is dropped.
const MISSED_MAX: u8 = 3;
