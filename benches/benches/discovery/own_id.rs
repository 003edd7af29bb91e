//! A crawl with own-id targets only: every node that anybody names is kept, sampled when it is due, and always asked for
//! the neighbourhood that it knows best, its own. Else it hears only of nodes that come to it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use krpc::{CompactNode, Kind, NodeId};
use swarm::world::Packet;

use crate::asker::{Asker, read};
use crate::crawler::{Crawler, Outbox};

pub(crate) struct OwnId {
    asker: Asker,
    bootstrap: Vec<SocketAddr>,
    /// All nodes ever named.
    known: HashMap<SocketAddr, Known>,
    fresh: VecDeque<CompactNode>,
    /// Those to be visited again, by time.
    due: BTreeMap<(Duration, SocketAddr), CompactNode>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    missed: u8,
    /// It has answered, but not when it was sampled.
    no_samples: bool,
}

impl OwnId {
    pub(crate) fn new(asker: Asker, bootstrap: Vec<SocketAddr>) -> OwnId {
        OwnId { asker, bootstrap, known: HashMap::new(), fresh: VecDeque::new(), due: BTreeMap::new() }
    }

    fn hear_of(&mut self, node: CompactNode) {
        let known = self.known.contains_key(&node.addr) || self.known.len() >= KNOWN_MAX;
        if !known && node.addr.port() != 0 {
            self.known.insert(node.addr, Known::default());
            self.fresh.push_back(node);
        }
    }

    fn again(&mut self, at: Duration, node: CompactNode) {
        self.due.insert((at, node.addr), node);
    }

    fn visit(&mut self, now: Duration, node: CompactNode, out: &mut Outbox) {
        let target = node.id.with_random_suffix(152, &mut self.asker.rng);
        let known = self.known.get(&node.addr).copied().unwrap_or_default();
        let sample = !known.no_samples && self.asker.may_sample(now, node.addr);
        self.asker.ask(now, node, target, sample, out);
    }
}

impl Crawler for OwnId {
    fn addrs(&self) -> &[SocketAddr] {
        &self.asker.addrs
    }

    fn receive(&mut self, now: Duration, packet: &Packet, out: &mut Outbox) {
        let Some((message, kind)) = read(packet) else { return };
        let reply = match kind {
            Kind::Query(query) => {
                self.asker.answer(now, packet.from, message.tid, &query, &[], out);
                self.hear_of(CompactNode { id: query.id, addr: packet.from });
                return;
            }
            Kind::Reply(reply) => reply,
            Kind::Error(_) => return,
        };
        let Some(asked) = self.asker.answered(now, packet.from, &message, &reply, out) else { return };
        let known = self.known.entry(packet.from).or_default();
        known.missed = 0;
        if asked.sample && reply.samples.is_none() {
            known.no_samples = true;
        }
        let told =
            reply.interval.map_or(ROUND, |interval| Duration::from_secs(interval.into()).clamp(PAUSE, ROUND));
        self.again(now + told, CompactNode { id: reply.id.unwrap_or(asked.node.id), addr: packet.from });
        for node in reply.nodes.iter() {
            self.hear_of(node);
        }
    }

    fn tick(&mut self, now: Duration, out: &mut Outbox) {
        while let Some(asked) = self.asker.given_up(now) {
            let known = self.known.entry(asked.node.addr).or_default();
            known.missed += 1;
            // Silent when sampled: perhaps it does not know the method, so contacts are asked for next.
            known.no_samples |= asked.sample && known.missed == 1;
            let pause = if known.missed == 1 {
                Duration::from_secs(2)
            } else {
                PAUSE * 2_u32.pow(known.missed.min(7).into())
            };
            if known.missed < MISSED_MAX {
                self.again(now + pause, asked.node);
            } else {
                self.known.remove(&asked.node.addr);
            }
        }
        if self.known.is_empty() {
            for addr in self.bootstrap.clone() {
                self.known.insert(addr, Known { no_samples: true, ..Known::default() });
                self.fresh.push_back(CompactNode { id: NodeId::random(&mut self.asker.rng), addr });
            }
        }
        while self.asker.has_room(now) {
            let due =
                self.due.first_key_value().filter(|((at, _), _)| *at <= now).map(|(key, node)| (*key, *node));
            let node = match due {
                Some((key, node)) => {
                    self.due.remove(&key);
                    node
                }
                None => match self.fresh.pop_front() {
                    Some(node) => node,
                    None => return,
                },
            };
            if self.asker.may_ask(now, node.addr) {
                self.visit(now, node, out);
            } else {
                self.again(now + Duration::from_secs(1), node);
            }
        }
    }
}

/// Shortest and longest time until a node is visited again.
const PAUSE: Duration = Duration::from_secs(300);
const ROUND: Duration = Duration::from_secs(6 * 3_600);
/// Silent so often in a row, a node is forgotten.
const MISSED_MAX: u8 = 5;
const KNOWN_MAX: usize = 1_000_000;
