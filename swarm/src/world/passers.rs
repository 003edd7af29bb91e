//! Ordinary users whose searches pass by outsiders.
//!
//! A search is not played out in full. Who is asked on its way is: the user's own contacts, one node at every third
//! level of the keyspace, and the nearest to the key. An outsider among the eight contacts that one of them names, nearer to the
//! key than itself, is asked get_peers; among the nearest eight of all it gets the announce too.

use std::net::SocketAddr;
use std::time::Duration;

use krpc::{InfoHash, Method, NodeId, Reply};
use rand::RngExt;

use super::tables::BUCKET;
use super::world::{Family, World};

/// A get_peers of a user that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passing {
    info_hash: InfoHash,
    announces: bool,
    until: Duration,
}

impl World {
    /// Lets a user announce a torrent at these nodes, the nearest, and at outsiders that stand as near.
    pub(super) fn pass_by(&mut self, family: Family, info_hash: InfoHash, nearest: &[u32]) {
        if self.friends.is_empty() {
            return;
        }
        let target = info_hash.as_id();
        let Some(user) = self.random_node(family) else { return };
        let mut asked: Vec<(SocketAddr, NodeId)> = Vec::new();
        self.named_by(user, &target, &mut asked);
        let depth = self.alive[family as usize].all().len().max(2).ilog2();
        for level in (LEVELS_A_STEP..depth).step_by(LEVELS_A_STEP as usize) {
            let waypoint = target.with_random_suffix(level, &mut self.rng);
            if let Some(node) = self.nearest_alive(family, &waypoint, 1, |_| true).first() {
                self.named_by(*node, &target, &mut asked);
            }
        }
        for node in nearest {
            self.named_by(*node, &target, &mut asked);
        }
        asked.sort_unstable();
        asked.dedup();
        let last = nearest.last().map(|node| self.nodes[*node as usize].id.distance(&target));
        for (addr, id) in asked {
            let announces = last.is_none_or(|last| nearest.len() < BUCKET || id.distance(&target) < last);
            if self.passing.len() >= PASSING_MAX {
                let now = self.now;
                self.passing.retain(|_, passing| passing.until > now);
            }
            self.passing
                .insert((user, addr), Passing { info_hash, announces, until: self.now + ANSWER_WITHIN });
            self.counts.passing += 1;
            self.query_from_node(user, addr, Method::GetPeers { info_hash, noseed: false, scrape: false });
        }
    }

    /// Outsiders among the contacts that a node names for a target, as far as they are nearer than the node itself.
    fn named_by(&mut self, index: u32, target: &NodeId, out: &mut Vec<(SocketAddr, NodeId)>) {
        if self.friends_of(index).all(|friend| !friend.confirmed) {
            return;
        }
        let own = self.nodes[index as usize].id.distance(target);
        let mut contacts = Vec::with_capacity(BUCKET + 1);
        self.closest(index, target, BUCKET, &mut contacts);
        let outsiders = contacts.iter().filter(|contact| self.outsiders.contains(&contact.addr));
        out.extend(outsiders.filter(|us| us.id.distance(target) < own).map(|us| (us.addr, us.id)));
    }

    /// An outsider has answered a node: an announce follows if it was asked for one's sake.
    pub(super) fn passed_by(&mut self, index: u32, from: SocketAddr, reply: &Reply<'_>) {
        let Some(token) = reply.token else { return };
        let Some(passing) = self.passing.remove(&(index, from)) else { return };
        if passing.announces && self.now < passing.until {
            let port = self.rng.random_range(1_024..u16::MAX);
            self.counts.announced += 1;
            let (info_hash, implied_port, seed) = (passing.info_hash, false, false);
            let method = Method::AnnouncePeer { info_hash, port, implied_port, seed, token, name: None };
            self.query_from_node(index, from, method);
        }
    }
}

/// Each answer brings a search about three levels nearer.
const LEVELS_A_STEP: u32 = 3;
/// An answer that takes longer is not waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// Beyond so many, those that nobody waits for any more are forgotten.
const PASSING_MAX: usize = 10_000;
