//! The one-node crawl, as bitmagnet does it: a routing table of one id with buckets of 80, random targets that change
//! every ten seconds, and whoever is named and not in the table is asked for contacts or samples, by chance.
//!
//! bitmagnet itself samples a node again after 60 s as long as it brings anything new, whatever `interval` says, and asks an IP up to ten
//! times at once; here it waits as all others do. Its table is its only memory: a node for which it has no room
//! is forgotten once it has been asked.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use krpc::{CompactNode, Kind, NodeId};
use rand::RngExt;
use swarm::world::Packet;

use crate::asker::{Asker, read};
use crate::crawler::{Crawler, Outbox};

pub(crate) struct OneNode {
    asker: Asker,
    bootstrap: Vec<SocketAddr>,
    table: HashMap<SocketAddr, CompactNode>,
    /// Nodes of the table in each bucket.
    buckets: BTreeMap<u32, usize>,
    /// Nodes of the table by the time when they are to be asked for contacts.
    oldest: BTreeMap<(Duration, SocketAddr), ()>,
    /// The same for samples, of those that give any.
    sampling: BTreeMap<(Duration, SocketAddr), ()>,
    discovered: VecDeque<CompactNode>,
    sought: NodeId,
    sought_until: Duration,
    entered: Option<Duration>,
}

impl OneNode {
    pub(crate) fn new(asker: Asker, bootstrap: Vec<SocketAddr>) -> OneNode {
        OneNode {
            asker,
            bootstrap,
            table: HashMap::new(),
            buckets: BTreeMap::new(),
            oldest: BTreeMap::new(),
            sampling: BTreeMap::new(),
            discovered: VecDeque::new(),
            sought: NodeId::ZERO,
            sought_until: Duration::ZERO,
            entered: None,
        }
    }

    fn level(&self, id: &NodeId) -> u32 {
        id.common_prefix_len(&self.asker.id)
    }

    /// A node has answered: it is in the table from now on if its bucket has room.
    fn keep(&mut self, node: CompactNode) -> bool {
        if self.table.contains_key(&node.addr) {
            return true;
        }
        let level = self.level(&node.id);
        let bucket = self.buckets.entry(level).or_insert(0);
        if *bucket >= BUCKET {
            return false;
        }
        *bucket += 1;
        self.table.insert(node.addr, node);
        true
    }

    fn drop_node(&mut self, addr: SocketAddr) {
        if let Some(node) = self.table.remove(&addr) {
            let level = self.level(&node.id);
            if let Some(bucket) = self.buckets.get_mut(&level) {
                *bucket -= 1;
            }
        }
    }

    /// The next node of the table that is due in a queue.
    fn pop_due(queue: &mut BTreeMap<(Duration, SocketAddr), ()>, now: Duration) -> Option<SocketAddr> {
        let (at, addr) = *queue.first_key_value()?.0;
        (at <= now).then(|| queue.remove(&(at, addr)))?;
        Some(addr)
    }
}

impl Crawler for OneNode {
    fn addrs(&self) -> &[SocketAddr] {
        &self.asker.addrs
    }

    fn receive(&mut self, now: Duration, packet: &Packet, out: &mut Outbox) {
        let Some((message, kind)) = read(packet) else { return };
        let reply = match kind {
            Kind::Query(query) => {
                let target = query.method.target().unwrap_or(query.id);
                let mut contacts: Vec<CompactNode> = self.table.values().copied().collect();
                contacts.sort_unstable_by_key(|node| node.id.distance(&target));
                contacts.truncate(8);
                self.asker.answer(now, packet.from, message.tid, &query, &contacts, out);
                let asker = CompactNode { id: query.id, addr: packet.from };
                if !self.table.contains_key(&packet.from) && self.discovered.len() < DISCOVERED_MAX {
                    self.discovered.push_back(asker);
                }
                return;
            }
            Kind::Reply(reply) => reply,
            Kind::Error(_) => return,
        };
        let Some(asked) = self.asker.answered(now, packet.from, &message, &reply, out) else { return };
        let node = CompactNode { id: reply.id.unwrap_or(asked.node.id), addr: packet.from };
        if self.keep(node) {
            if asked.sample {
                let interval = Duration::from_secs(reply.interval.unwrap_or(0).into()).max(SAMPLE_PAUSE);
                if reply.samples.is_some() {
                    self.sampling.insert((now + interval, node.addr), ());
                }
            } else {
                self.oldest.insert((now + OLD, node.addr), ());
                if self.asker.may_sample(now, node.addr) {
                    self.sampling.insert((now, node.addr), ());
                }
            }
        }
        for named in reply.nodes.iter() {
            let known = self.table.contains_key(&named.addr);
            if !known && named.addr.port() != 0 && self.discovered.len() < DISCOVERED_MAX {
                self.discovered.push_back(named);
            }
        }
    }

    fn tick(&mut self, now: Duration, out: &mut Outbox) {
        if now >= self.sought_until {
            self.sought = NodeId::random(&mut self.asker.rng);
            self.sought_until = now + SOUGHT_FOR;
        }
        while let Some(asked) = self.asker.given_up(now) {
            self.drop_node(asked.node.addr);
        }
        if self.entered.is_none_or(|at| now >= at + RESEED) {
            self.entered = Some(now);
            let id = NodeId::ZERO;
            self.discovered.extend(self.bootstrap.iter().map(|addr| CompactNode { id, addr: *addr }));
        }
        while self.asker.has_room(now) {
            // Three sources, none of which is to starve another.
            let (node, sample) = match self.asker.rng.random_range(0..3) {
                0 => match Self::pop_due(&mut self.sampling, now) {
                    Some(addr) => (self.table.get(&addr).copied(), true),
                    None => (self.discovered.pop_front(), self.asker.rng.random_bool(0.5)),
                },
                1 => match Self::pop_due(&mut self.oldest, now) {
                    Some(addr) => (self.table.get(&addr).copied(), false),
                    None => (self.discovered.pop_front(), self.asker.rng.random_bool(0.5)),
                },
                _ => (self.discovered.pop_front(), self.asker.rng.random_bool(0.5)),
            };
            let Some(node) = node else {
                if self.discovered.is_empty() {
                    return;
                }
                continue;
            };
            if self.asker.may_ask(now, node.addr) && (!sample || self.asker.may_sample(now, node.addr)) {
                let target = self.sought;
                self.asker.ask(now, node, target, sample, out);
            }
        }
    }
}

/// Nodes in a bucket.
const BUCKET: usize = 80;
/// A node not asked for this long is asked for contacts again.
const OLD: Duration = Duration::from_secs(15 * 60);
const SAMPLE_PAUSE: Duration = Duration::from_secs(300);
const SOUGHT_FOR: Duration = Duration::from_secs(10);
const RESEED: Duration = Duration::from_secs(10 * 60);
/// Nodes that wait to be asked; what comes beyond is not waited for.
const DISCOVERED_MAX: usize = 1_000;
