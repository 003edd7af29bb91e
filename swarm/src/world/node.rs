//! A node of the world.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use krpc::{InfoHash, Method, NodeId};

use super::nature::Nature;
use super::store::Store;
use super::tables::Contact;

/// A node: who it is, what it is like, what it knows.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Its address, one in a /24 (IPv6: /64) of its own.
    pub addr: SocketAddr,
    /// What it is like.
    pub nature: Nature,
    /// It hears only those whom it has sent something within the last two minutes.
    pub nated: bool,
    /// Known to its nearest neighbours only, since it has looked up its own id and done nothing else yet.
    pub newcomer: bool,
    /// The same client's node in the other address family (BEP 32).
    pub twin: Option<u32>,
    /// When it came.
    pub arrived: Duration,
    /// When it left.
    pub left: Option<Duration>,
    /// The queries that it has heard.
    pub asked: Asked,
    pub(super) table: Vec<Contact>,
    pub(super) store: Store,
}

impl Node {
    /// A node that is there from the beginning, knows nobody and stores nothing.
    pub fn new(id: NodeId, addr: SocketAddr, nature: Nature) -> Node {
        Node {
            id,
            addr,
            nature,
            nated: false,
            newcomer: false,
            twin: None,
            arrived: Duration::ZERO,
            left: None,
            asked: Asked::default(),
            table: Vec::new(),
            store: Store::default(),
        }
    }

    /// Whether somebody is there.
    pub fn is_up(&self) -> bool {
        self.left.is_none() && self.nature != Nature::Dead
    }

    /// Whether it answers everybody, truthfully: the live nodes that a crawler can be expected to visit.
    pub fn is_open(&self) -> bool {
        self.left.is_none() && !self.nated && self.nature.answers()
    }

    /// Whether it shows everybody what it stores (BEP 51).
    pub fn is_sampling(&self) -> bool {
        self.is_open() && self.nature.samples()
    }

    /// Whether a torrent is announced at it.
    pub fn stores(&self, info_hash: &InfoHash) -> bool {
        self.store.contains(info_hash)
    }

    /// How many torrents are announced at it.
    pub fn stored(&self) -> usize {
        self.store.len()
    }

    /// Has a peer of a torrent announce itself here, for good; it is told to those who ask, and stands in the filters of BEP 33.
    pub fn join(&mut self, info_hash: InfoHash, peer: SocketAddr, seed: bool) {
        self.store.join(info_hash, peer, seed);
    }

    /// How many contacts its routing table has.
    pub fn contacts(&self) -> usize {
        self.table.len()
    }
}

/// Queries heard, by method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the methods of BEP 5 and BEP 51")]
pub struct Asked {
    pub ping: u32,
    pub find_node: u32,
    pub get_peers: u32,
    pub announce_peer: u32,
    pub sample_infohashes: u32,
    /// Those get_peers that were answered with filters instead of peers (BEP 33).
    pub scrape: u32,
    /// Any other method.
    pub other: u32,
}

impl Asked {
    /// All of them.
    pub fn total(&self) -> u32 {
        self.ping + self.find_node + self.get_peers + self.announce_peer + self.sample_infohashes + self.other
    }

    pub(super) fn count(&mut self, method: &Method<'_>) {
        *match method {
            Method::Ping => &mut self.ping,
            Method::FindNode { .. } => &mut self.find_node,
            Method::GetPeers { .. } => &mut self.get_peers,
            Method::AnnouncePeer { .. } => &mut self.announce_peer,
            Method::SampleInfohashes { .. } => &mut self.sample_infohashes,
            _ => &mut self.other,
        } += 1;
    }
}

/// The IPv4 address of the node with this index: no two in one /24.
pub fn node_addr(index: usize) -> SocketAddr {
    let [_, a, b, c] = (index as u32).to_be_bytes();
    SocketAddr::from(([64_u8.wrapping_add(a), b, c, 7], 6_881))
}

/// The IPv6 address of the node with this index: no two in one /64.
pub fn node_addr_v6(index: usize) -> SocketAddr {
    let [_, a, b, c] = (index as u32).to_be_bytes();
    let (high, low) = (u16::from(a), u16::from_be_bytes([b, c]));
    SocketAddr::from((Ipv6Addr::new(0x2a00, 0x1000 + high, low, 1, 0, 0, 0, 7), 6_881))
}
