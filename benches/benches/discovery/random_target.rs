//! The random-target crawl, as magnetico does it: everybody whom an answer names is sampled with a random target, and
//! forgotten.
//!
//! magnetico itself pays no heed to `interval`, to what an IP has to bear, or to whether it has sampled a node a second ago; here it
//! samples nodes when they are due and asks those that are not for contacts only, which it does not do but which keeps it
//! walking. It answers nobody, so it stays in nobody's table; neither does this one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use krpc::{CompactNode, Kind, NodeId};
use swarm::world::Packet;

use crate::asker::{Asker, read};
use crate::crawler::{Crawler, Outbox};

pub(crate) struct RandomTarget {
    asker: Asker,
    bootstrap: Vec<SocketAddr>,
    /// Those to be asked in this round, and those that answers name for the next one.
    round: Vec<CompactNode>,
    next: BTreeMap<SocketAddr, CompactNode>,
}

impl RandomTarget {
    pub(crate) fn new(asker: Asker, bootstrap: Vec<SocketAddr>) -> RandomTarget {
        RandomTarget { asker, bootstrap, round: Vec::new(), next: BTreeMap::new() }
    }
}

impl Crawler for RandomTarget {
    fn addrs(&self) -> &[SocketAddr] {
        &self.asker.addrs
    }

    fn receive(&mut self, now: Duration, packet: &Packet, out: &mut Outbox) {
        let Some((message, Kind::Reply(reply))) = read(packet) else { return };
        if self.asker.answered(now, packet.from, &message, &reply, out).is_none() {
            return;
        }
        for node in reply.nodes.iter() {
            if self.next.len() < NEIGHBOURS_MAX && node.addr.port() != 0 {
                self.next.insert(node.addr, node);
            }
        }
    }

    fn tick(&mut self, now: Duration, out: &mut Outbox) {
        while self.asker.given_up(now).is_some() {}
        while self.asker.has_room(now) {
            let Some(node) = self.round.pop() else {
                self.round = std::mem::take(&mut self.next).into_values().collect();
                if self.round.is_empty() {
                    self.enter(now, out);
                    return;
                }
                continue;
            };
            if self.asker.may_ask(now, node.addr) {
                let target = NodeId::random(&mut self.asker.rng);
                let sample = self.asker.may_sample(now, node.addr);
                self.asker.ask(now, node, target, sample, out);
            }
        }
    }
}

impl RandomTarget {
    fn enter(&mut self, now: Duration, out: &mut Outbox) {
        for addr in self.bootstrap.clone() {
            if self.asker.may_ask(now, addr) && self.asker.has_room(now) {
                let target = NodeId::random(&mut self.asker.rng);
                self.asker.ask(now, CompactNode { id: NodeId::ZERO, addr }, target, false, out);
            }
        }
    }
}

/// magnetico's default for `indexer-max-neighbors`.
const NEIGHBOURS_MAX: usize = 5_000;
