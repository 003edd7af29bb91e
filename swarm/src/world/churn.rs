//! Nodes come, settle, and go.

use std::net::SocketAddr;

use krpc::{NodeId, bep42};
use rand::RngExt;

use super::chances::waiting_time;
use super::nature::Nature;
use super::node::{Node, node_addr, node_addr_v6};
use super::schedule::Happening;
use super::world::{Family, World};

impl World {
    /// Plans the end of a node's session.
    pub(super) fn plan_departure(&mut self, index: u32) {
        let Some(churn) = self.churn else { return };
        // Half of exponentially distributed times are shorter than ln 2 of their mean.
        let mean = churn.median_session.div_f64(std::f64::consts::LN_2);
        let session = waiting_time(mean, &mut self.rng);
        self.schedule.plan(self.now + session, Happening::Departure(index));
    }

    /// A node leaves, and another one of its kind comes at another address.
    pub(super) fn depart(&mut self, index: u32) {
        self.remove(index as usize);
        self.counts.departures += 1;
        self.counts.arrivals += 1;
        let node = &self.nodes[index as usize];
        let (nature, nated, family) = (node.nature, node.nated, Family::of(node.addr));
        let newcomer = self.new_node(family, nature);
        self.nodes[newcomer as usize].nated = nated;
        self.nodes[newcomer as usize].newcomer = true;
        self.enter(newcomer);
        self.plan_departure(newcomer);
    }

    /// Switches a node off for good: it stays in the tables of others until they notice.
    pub fn remove(&mut self, index: usize) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(index) else { return };
        node.left = Some(now);
        node.table = Vec::new();
        node.store.clear();
        let (id, family) = (node.id, Family::of(node.addr) as usize);
        if let Some(twin) = node.twin.take() {
            self.nodes[twin as usize].twin = None;
        }
        self.alive[family].remove(id, index as u32);
        self.known[family].remove(id, index as u32);
        self.friends.remove(&(index as u32));
    }

    /// A node comes: it learns a table, and by looking up its own id becomes known to its neighbours.
    pub(super) fn enter(&mut self, index: u32) {
        let node = &mut self.nodes[index as usize];
        node.arrived = self.now;
        let (id, family) = (node.id, Family::of(node.addr) as usize);
        self.alive[family].insert(id, index);
        self.draw_table(index);
        self.introduce(index);
        let settles = self.churn.map(|churn| churn.settles_after);
        if let Some(after) = settles {
            self.schedule.plan(self.now + after, Happening::Settled(index));
        }
    }

    /// A newcomer has become known.
    pub(super) fn settle(&mut self, index: u32) {
        let node = &mut self.nodes[index as usize];
        if node.left.is_some() {
            return;
        }
        node.newcomer = false;
        let (id, family) = (node.id, Family::of(node.addr) as usize);
        self.known[family].insert(id, index);
        self.spread_word(index);
    }

    /// Adds a node that knows these others and that nobody knows. Returns its index.
    pub fn add_node(&mut self, node: Node, table: &[usize]) -> usize {
        let index = self.nodes.len() as u32;
        self.whose.insert(node.addr, index);
        self.nodes.push(node);
        self.set_table(index, table);
        index as usize
    }

    fn new_node(&mut self, family: Family, nature: Nature) -> u32 {
        let index = self.nodes.len();
        let addr = match family {
            Family::V4 => node_addr(index),
            Family::V6 => node_addr_v6(index),
        };
        let id = self.new_id(nature, addr);
        let index = self.add_node(Node::new(id, addr, nature), &[]) as u32;
        self.nodes[index as usize].arrived = self.now;
        index
    }

    pub(super) fn new_id(&mut self, nature: Nature, addr: SocketAddr) -> NodeId {
        // libtorrent's ids follow BEP 42, others' seldom do.
        if nature == Nature::Libtorrent {
            let r = self.rng.random_range(0..bep42::PREFIXES);
            bep42::node_id(addr.ip(), r, &mut self.rng)
        } else {
            NodeId::random(&mut self.rng)
        }
    }
}
