//! Filling a world with nodes.

use rand::RngExt;
use rand::rngs::StdRng;

use super::nature::{Lie, Nature};
use super::node::Node;
use super::scene::Scene;
use super::world::{Family, World};
use super::{node_addr, node_addr_v6};

impl World {
    /// A world as a scene describes it.
    pub fn stage(scene: &Scene) -> World {
        let mut world = World::new(scene.seed, 0.0);
        world.network = scene.network;
        world.upkeep = scene.upkeep;
        world.churn = scene.churn;
        world.traffic = scene.traffic;
        let first = world.nodes.len();
        for family in Family::BOTH {
            world.cast(scene, family);
        }
        world.pair_up(scene.dual_stack);
        world.fill_tables(first);
        for index in first..world.nodes.len() {
            if world.nodes[index].is_up() {
                world.plan_departure(index as u32);
            }
            if let (Some(churn), true) = (scene.churn, world.nodes[index].newcomer) {
                let what = super::schedule::Happening::Settled(index as u32);
                world.schedule.plan(world.now + churn.settles_after, what);
            }
        }
        if scene.traffic.is_some() {
            for _ in 0..scene.torrents {
                world.bear_torrent();
            }
            world.plan_birth();
        } else {
            world.announce_torrents(scene.torrents);
        }
        world
    }

    /// Adds nodes at IPv4 addresses, each in a /24 of its own, and gives every one a table of the others, those that are dead included.
    pub fn populate(&mut self, count: usize, nature: impl Fn(&mut StdRng) -> Nature) {
        let first = self.nodes.len();
        for _ in 0..count {
            let nature = nature(&mut self.rng);
            self.place(Family::V4, nature);
        }
        self.fill_tables(first);
    }

    /// The nodes of a scene in one family.
    fn cast(&mut self, scene: &Scene, family: Family) {
        let share = if family == Family::V6 { scene.ipv6 } else { 1.0 - scene.ipv6 };
        let honest = (scene.nodes as f64 * share).round();
        let lying = (honest * scene.lying / (1.0 - scene.lying).max(f64::EPSILON)).round() as usize;
        let settled = (honest + lying as f64) * (1.0 - scene.newcomers);
        let stale = (settled * scene.stale / (1.0 - scene.stale).max(f64::EPSILON)).round() as usize;
        for _ in 0..honest as usize {
            let nature = self.draw_client(scene);
            let index = self.place(family, nature);
            let nated = self.rng.random_bool(scene.nated);
            let newcomer = self.rng.random_bool(scene.newcomers);
            self.nodes[index].nated = nated;
            self.nodes[index].newcomer = newcomer;
        }
        for place in 0..lying {
            self.place(family, Nature::Lying(Lie::ALL[place % Lie::ALL.len()]));
        }
        for _ in 0..stale {
            let index = self.place(family, Nature::Dead);
            // Who is gone was somebody once: the id is of a kind that the living have too.
            let was = self.draw_client(scene);
            self.nodes[index].id = self.new_id(was, self.nodes[index].addr);
        }
    }

    fn draw_client(&mut self, scene: &Scene) -> Nature {
        let parts = scene.clients.parts();
        let whole: f64 = parts.iter().map(|(part, _)| part).sum();
        let mut drawn = self.rng.random_range(0.0..whole.max(f64::MIN_POSITIVE));
        let of_part = |(part, nature): &(f64, Nature)| {
            drawn -= part;
            (drawn < 0.0).then_some(*nature)
        };
        parts.iter().find_map(of_part).unwrap_or(Nature::Libtorrent)
    }

    fn place(&mut self, family: Family, nature: Nature) -> usize {
        let index = self.nodes.len();
        let addr = if family == Family::V6 { node_addr_v6(index) } else { node_addr(index) };
        let id = self.new_id(nature, addr);
        let index = self.add_node(Node::new(id, addr, nature), &[]);
        self.nodes[index].arrived = self.now;
        index
    }

    /// Makes pairs of a node of each family that belong to one client.
    fn pair_up(&mut self, share: f64) {
        let honest = |world: &World, v6: bool| -> Vec<usize> {
            let nodes = world.nodes.iter().enumerate();
            nodes
                .filter(|(_, node)| node.is_open() && node.addr.is_ipv6() == v6)
                .map(|(index, _)| index)
                .collect()
        };
        let (four, six) = (honest(self, false), honest(self, true));
        let pairs = (six.len() as f64 * share) as usize;
        for (four, six) in four.into_iter().zip(six).take(pairs) {
            let nature = self.nodes[four].nature;
            self.nodes[six].nature = nature;
            self.nodes[six].id = self.new_id(nature, self.nodes[six].addr);
            self.nodes[four].twin = Some(six as u32);
            self.nodes[six].twin = Some(four as u32);
        }
    }

    /// Lets the nodes from this index on be known, and know each other.
    fn fill_tables(&mut self, first: usize) {
        for family in Family::BOTH {
            let of_family = |node: &&Node| Family::of(node.addr) == family && node.left.is_none();
            let numbered = || (0..).zip(&self.nodes).map(|(index, node)| (node, index));
            let known = numbered().filter(|(node, _)| of_family(node) && !node.newcomer);
            let known = crate::keyspace::Keyspace::new(known.map(|(node, index)| (node.id, index)));
            let alive = numbered().filter(|(node, _)| of_family(node) && node.is_up());
            let alive = crate::keyspace::Keyspace::new(alive.map(|(node, index)| (node.id, index)));
            self.known[family as usize] = known;
            self.alive[family as usize] = alive;
        }
        for index in first..self.nodes.len() {
            if self.nodes[index].is_up() {
                self.draw_table(index as u32);
            }
        }
        for index in first..self.nodes.len() {
            if self.nodes[index].newcomer {
                self.introduce(index as u32);
            }
        }
    }
}
