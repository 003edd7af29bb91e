//! Which ids our virtual nodes have: at the start, when the external address turns out to be another one (BEP 42), and when
//! a node moves to see another part of the keyspace.
//!
//! An id follows from the seed, the number of the node, the external address of its port and how often the node
//! has moved. Whoever keeps these four finds the same ids at the next start.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use krpc::{NodeId, bep42};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::config::{PortIndex, VirtualNodeConfig};
use crate::id_mismatch;
use crate::ids::{in_share, spread_ids};

/// How ids are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdScheme {
    /// Such as BEP 42 allows for the external address: 8 prefixes.
    Bep42,
    /// As many as asked for, evenly over the keyspace.
    Spread,
}

/// The ids of all virtual nodes, in the order of [`Config::nodes`](crate::Config::nodes).
#[derive(Debug)]
pub struct OwnIds {
    scheme: IdScheme,
    seed: [u8; 32],
    nodes: Vec<Own>,
    locals: Vec<Local>,
    /// Whose turn it is to move.
    next: usize,
}

#[derive(Debug)]
struct Own {
    id: NodeId,
    port: PortIndex,
    /// Into `locals`.
    local: u16,
    /// Its number among the nodes of its local address.
    place: u32,
    moves: u32,
    changed_at: Option<Duration>,
}

#[derive(Debug)]
struct Local {
    address: IpAddr,
    external: Option<IpAddr>,
    nodes: u32,
}

impl OwnIds {
    /// Ids for `nodes_per_port` nodes behind each of these ports; node 0 is behind the first port, node 1 behind the second,
    /// and so on. `external` is what is known of the external addresses of local ones; with an address that needs none
    /// (BEP 42 exempts local networks) or that nobody has told yet, ids are random. `moves` says how often nodes have moved
    /// in earlier runs.
    pub fn new(
        scheme: IdScheme,
        seed: [u8; 32],
        ports: &[SocketAddr],
        nodes_per_port: u32,
        external: impl Fn(IpAddr) -> Option<IpAddr>,
        moves: impl IntoIterator<Item = (u32, u32)>,
    ) -> OwnIds {
        let mut locals: Vec<Local> = Vec::new();
        let mut local_of = Vec::with_capacity(ports.len());
        for port in ports {
            let address = port.ip();
            let at = locals.iter().position(|local| local.address == address).unwrap_or_else(|| {
                locals.push(Local { address, external: external(address), nodes: 0 });
                locals.len() - 1
            });
            local_of.push(at);
        }
        let count = ports.len() * nodes_per_port as usize;
        let nodes = (0..count).map(|index| {
            let port = index % ports.len();
            let local = local_of[port];
            let place = locals[local].nodes;
            locals[local].nodes += 1;
            let (port, local) = (PortIndex(port as u16), local as u16);
            Own { id: NodeId::ZERO, port, local, place, moves: 0, changed_at: None }
        });
        let nodes = nodes.collect();
        let mut ids = OwnIds { scheme, seed, nodes, locals, next: 0 };
        for (index, moves) in moves {
            if let Some(node) = ids.nodes.get_mut(index as usize) {
                node.moves = moves;
            }
        }
        let mut spread = spread_ids(count, seed);
        for index in 0..count {
            let first = spread.next();
            ids.nodes[index].id = match (scheme, first, ids.nodes[index].moves) {
                (IdScheme::Spread, Some(first), 0) => first,
                _ => ids.id_of(index),
            };
        }
        ids
    }

    /// Every node, for the configuration.
    pub fn nodes(&self) -> impl Iterator<Item = VirtualNodeConfig> + '_ {
        self.nodes.iter().map(|node| VirtualNodeConfig { id: node.id, port: node.port })
    }

    /// A local address has this external one: the nodes that have to move for it, with their new ids. None with
    /// [`IdScheme::Spread`], nor when the ids are valid for it already.
    pub fn follow(&mut self, now: Duration, local: IpAddr, external: IpAddr) -> Vec<(u32, NodeId)> {
        let Some(at) = self.locals.iter().position(|known| known.address == local) else { return Vec::new() };
        self.locals[at].external = Some(external);
        if self.scheme == IdScheme::Spread {
            return Vec::new();
        }
        let mut moved = Vec::new();
        for index in 0..self.nodes.len() {
            let node = &self.nodes[index];
            if usize::from(node.local) != at || bep42::is_valid(external, &node.id) {
                continue;
            }
            let id = self.id_of(index);
            self.nodes[index].id = id;
            self.nodes[index].changed_at = Some(now);
            moved.push((index as u32, id));
        }
        moved
    }

    /// Has the next node move to another part of the keyspace: with [`IdScheme::Spread`] elsewhere in its share, else to a prefix
    /// that no other node of ours has, or when all 8 are in use to the rest of an id. `None` when it has
    /// moved within [`MOVE_PAUSE`]: then it is the turn of the one after it.
    pub fn move_next(&mut self, now: Duration) -> Option<(u32, NodeId)> {
        let index = self.next % self.nodes.len().max(1);
        self.next = index + 1;
        let node = self.nodes.get_mut(index)?;
        if node.changed_at.is_some_and(|changed| now < changed + MOVE_PAUSE) {
            return None;
        }
        node.moves = node.moves.wrapping_add(1);
        node.changed_at = Some(now);
        let id = self.id_of(index);
        self.nodes[index].id = id;
        Some((index as u32, id))
    }

    /// The nodes that have ever moved, and how often: for the next start.
    pub fn moves(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        (0..).zip(&self.nodes).filter(|(_, node)| node.moves > 0).map(|(index, node)| (index, node.moves))
    }

    /// The id of a node as everything stands; of nodes that spread and have not moved see [`spread_ids`].
    fn id_of(&self, index: usize) -> NodeId {
        let node = &self.nodes[index];
        let mut rng = StdRng::from_seed(self.seed_of(index, node.moves));
        let local = &self.locals[usize::from(node.local)];
        match (self.scheme, local.external) {
            (IdScheme::Spread, _) => in_share(index, self.nodes.len(), &NodeId::random(&mut rng)),
            (IdScheme::Bep42, Some(external)) if !bep42::is_exempt(external) => {
                // The prefixes that are a node's own: place, place + nodes, and so on below 8. Nobody else takes them.
                let place = node.place % u32::from(bep42::PREFIXES);
                let step = local.nodes.max(1);
                let own = (u32::from(bep42::PREFIXES) - place).div_ceil(step);
                let r = place + step * (node.moves % own);
                bep42::node_id(external, r as u8, &mut rng)
            }
            (IdScheme::Bep42, _) => NodeId::random(&mut rng),
        }
    }

    fn seed_of(&self, index: usize, moves: u32) -> [u8; 32] {
        let mut seed = self.seed;
        let number = (index as u64).to_le_bytes().into_iter().chain(moves.to_le_bytes());
        // The first four bytes keep this apart from other uses of the seed.
        for (byte, mixed) in seed.iter_mut().zip(b"own:".iter().copied().chain(number)) {
            *byte ^= mixed;
        }
        seed
    }
}

/// A node moves no more often than this. libtorrent takes an endpoint with another id for another node; we, and
/// whoever watches like us, ban an IP at its second change within [`id_mismatch::MEMORY`]. So it is also the least time between
/// two moves of any nodes.
pub const MOVE_PAUSE: Duration = Duration::from_secs(2 * 60 * 60);

const _: () = assert!(MOVE_PAUSE.as_secs() > id_mismatch::MEMORY.as_secs());

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const SEED: [u8; 32] = [3; 32];
    const PAUSE: Duration = MOVE_PAUSE;

    fn ports(binds: &[&str], ports: u16) -> Vec<SocketAddr> {
        let ips = binds.iter().map(|ip| ip.parse::<IpAddr>().unwrap());
        ips.flat_map(|ip| (0..ports).map(move |n| SocketAddr::new(ip, 6_881 + n))).collect()
    }

    fn ids(of: &OwnIds) -> Vec<NodeId> {
        of.nodes().map(|node| node.id).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn bep42(binds: &[&str], per_port: u32, external: Option<&str>) -> OwnIds {
        let external = external.map(ip);
        OwnIds::new(IdScheme::Bep42, SEED, &ports(binds, 2), per_port, |_| external, [])
    }

    #[test]
    fn ids_follow_the_external_address_and_are_the_same_each_time() {
        let (home, away) = (ip("124.31.75.21"), ip("21.75.31.124"));
        let mut own = bep42(&["0.0.0.0"], 4, None);
        let random = ids(&own);
        assert_eq!(random.len(), 8);
        let moved = own.follow(Duration::ZERO, ip("0.0.0.0"), home);
        assert_eq!(moved.len(), 8);
        let at_home = ids(&own);
        assert_eq!(at_home, moved.iter().map(|(_, id)| *id).collect::<Vec<_>>());
        assert!(at_home.iter().all(|id| bep42::is_valid(home, id)));
        let prefixes: BTreeSet<[u8; 2]> =
            at_home.iter().map(|id| [id.as_bytes()[0], id.as_bytes()[1]]).collect();
        assert_eq!(prefixes.len(), 8);
        assert_eq!(own.follow(Duration::ZERO, ip("0.0.0.0"), home), [], "they are valid already");
        own.follow(Duration::ZERO, ip("0.0.0.0"), away);
        assert!(ids(&own).iter().all(|id| bep42::is_valid(away, id)));
        own.follow(Duration::ZERO, ip("0.0.0.0"), home);
        assert_eq!(ids(&own), at_home);
        // And the next start begins with them.
        assert_eq!(ids(&bep42(&["0.0.0.0"], 4, Some("124.31.75.21"))), at_home);
    }

    #[test]
    fn each_local_address_follows_its_own_and_has_eight_prefixes() {
        let binds = ["192.168.0.1", "192.168.0.2"];
        let mut own = bep42(&binds, 4, None);
        let before = ids(&own);
        assert_eq!(before.len(), 16);
        let external = ip("124.31.75.21");
        let moved = own.follow(Duration::ZERO, ip("192.168.0.2"), external);
        let of_second = |node: &VirtualNodeConfig| node.port.0 >= 2;
        assert_eq!(moved.len(), 8);
        for (before, now) in before.iter().zip(own.nodes().collect::<Vec<_>>()) {
            assert_eq!(*before != now.id, of_second(&now));
        }
        // Two local addresses behind one NAT: 16 nodes on one address have 8 prefixes, and 16 ids.
        own.follow(Duration::ZERO, ip("192.168.0.1"), external);
        assert_eq!(ids(&own).into_iter().collect::<BTreeSet<_>>().len(), 16);
        assert_eq!(own.follow(Duration::ZERO, ip("10.0.0.1"), external), [], "that is none of ours");
    }

    #[test]
    fn ids_for_an_ipv6_address_follow_it_too() {
        let mut own = OwnIds::new(IdScheme::Bep42, SEED, &ports(&["::"], 1), 3, |_| None, []);
        let external = ip("2a00:1450:4001:81b::200e");
        assert_eq!(own.follow(Duration::ZERO, ip("::"), external).len(), 3);
        assert!(ids(&own).iter().all(|id| bep42::has_prefix(external, id)));
    }

    #[test]
    fn spread_ids_stay_where_they_are_whatever_the_address() {
        let mut own = OwnIds::new(IdScheme::Spread, SEED, &ports(&["0.0.0.0"], 2), 50, |_| None, []);
        assert_eq!(ids(&own), spread_ids(100, SEED).collect::<Vec<_>>());
        assert_eq!(own.follow(Duration::ZERO, ip("0.0.0.0"), ip("124.31.75.21")), []);
    }

    #[test]
    fn nodes_that_spread_move_within_their_share_one_after_the_other() {
        let mut own = OwnIds::new(IdScheme::Spread, SEED, &ports(&["0.0.0.0"], 2), 4, |_| None, []);
        let before = ids(&own);
        for n in 0..16_u32 {
            let (index, id) = own.move_next(PAUSE * n).unwrap();
            assert_eq!(index, n % 8);
            assert_eq!(u32::from(id.as_bytes()[0]) / 32, index, "an eighth of the keyspace each");
            assert_eq!(ids(&own)[index as usize], id);
        }
        assert!(ids(&own).iter().zip(&before).all(|(now, before)| now != before));
        let moves: Vec<_> = own.moves().collect();
        assert_eq!(moves, (0..8).map(|index| (index, 2)).collect::<Vec<_>>());
        let again = OwnIds::new(IdScheme::Spread, SEED, &ports(&["0.0.0.0"], 2), 4, |_| None, moves);
        assert_eq!(ids(&again), ids(&own));
    }

    #[test]
    fn with_few_nodes_on_an_address_they_move_through_prefixes_of_their_own() {
        let external = "124.31.75.21";
        let mut own =
            OwnIds::new(IdScheme::Bep42, SEED, &ports(&["0.0.0.0"], 1), 3, |_| Some(ip(external)), []);
        let prefix = |id: NodeId| id.as_bytes()[19] & 7;
        let mut seen: Vec<BTreeSet<u8>> = ids(&own).iter().map(|id| BTreeSet::from([prefix(*id)])).collect();
        for n in 0..9 {
            let (index, id) = own.move_next(PAUSE * n).unwrap();
            assert!(bep42::is_valid(ip(external), &id));
            seen[index as usize].insert(prefix(id));
        }
        assert_eq!(seen, [BTreeSet::from([0, 3, 6]), BTreeSet::from([1, 4, 7]), BTreeSet::from([2, 5])]);
    }

    #[test]
    fn a_node_that_has_just_moved_is_passed_over() {
        let mut own = bep42(&["0.0.0.0"], 1, None);
        assert!(own.follow(PAUSE, ip("0.0.0.0"), ip("124.31.75.21")).len() == 2);
        assert_eq!(own.move_next(PAUSE + PAUSE / 2), None);
        assert!(own.move_next(2 * PAUSE).is_some_and(|(index, _)| index == 1));
        assert!(own.move_next(2 * PAUSE).is_some_and(|(index, _)| index == 0));
        assert_eq!(own.move_next(2 * PAUSE), None);
    }
}
