//! Nodes that follow a script: good ones of several clients, dead ones, and liars.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use krpc::bloom::BloomFilter;
use krpc::{ClientVersion, CompactNode, InfoHash, Kind, Message, Method, NodeId, encode};
use rand::rngs::StdRng;
use rand::{Rng, RngExt};

use super::Packet;

/// What a node is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// Answers everything. Samples: at most 20, the same ones for this many seconds.
    Sampling { interval: u32 },
    /// Answers all but sample_infohashes, on which it is silent (Transmission, `mainline` and others).
    Silent,
    /// Answers sample_infohashes with error 204 (rTorrent).
    Refusing,
    /// Answers sample_infohashes as if it were find_node.
    Confusing,
    /// Nobody is there.
    Dead,
    /// Answers, but what it says is not so.
    Lying(Lie),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Random bytes, with and without a valid envelope.
    Garbage,
    /// Names nodes that do not exist, close to whatever is asked for.
    Neighbours,
    /// Another id each time.
    Ids,
    /// As much as fits into a datagram, and more.
    Oversized,
    /// Filters of ones for whatever is scraped.
    Crowds,
}

impl Nature {
    pub fn answers(self) -> bool {
        !matches!(self, Nature::Dead | Nature::Lying(_))
    }

    pub fn stores(self) -> bool {
        matches!(self, Nature::Sampling { .. })
    }
}

pub struct Node {
    pub id: NodeId,
    pub addr: SocketAddr,
    pub nature: Nature,
    pub table: Vec<(NodeId, SocketAddr)>,
    pub stored: BTreeMap<InfoHash, Vec<SocketAddr>>,
    /// Of what it stores: seeds, and those that still download.
    pub swarms: BTreeMap<InfoHash, [BloomFilter; 2]>,
    /// Queries received, by name.
    pub asked: BTreeMap<&'static str, u64>,
    /// Has never been asked for anything.
    pub version: ClientVersion,
    order: Vec<InfoHash>,
}

impl Node {
    pub fn new(id: NodeId, addr: SocketAddr, nature: Nature) -> Node {
        let version = match nature {
            Nature::Sampling { .. } => *b"LT\x02\x01",
            Nature::Silent => *b"TR\x03\x00",
            Nature::Refusing => *b"lt\x0d\x80",
            _ => *b"XX\x00\x00",
        };
        Node {
            id,
            addr,
            nature,
            table: Vec::new(),
            stored: BTreeMap::new(),
            swarms: BTreeMap::new(),
            asked: BTreeMap::new(),
            version: ClientVersion::from_bytes(version),
            order: Vec::new(),
        }
    }

    pub fn store(&mut self, info_hash: InfoHash, peers: Vec<SocketAddr>) {
        if self.stored.insert(info_hash, peers).is_none() {
            self.order.push(info_hash);
        }
    }

    /// What it sends when a packet has come.
    pub fn answer(&mut self, now: Duration, packet: &Packet, rng: &mut StdRng) -> Vec<Packet> {
        if self.nature == Nature::Dead {
            return Vec::new();
        }
        let Ok(message) = Message::parse(&packet.bytes) else { return Vec::new() };
        let Kind::Query(query) = message.kind else { return Vec::new() };
        *self.asked.entry(name(&query.method)).or_insert(0) += 1;
        let mut bytes = Vec::new();
        let reply = encode::Reply {
            version: Some(self.version),
            ip: Some(packet.from),
            ..encode::Reply::new(message.tid, self.id)
        };
        if let Nature::Lying(lie) = self.nature {
            return self.lie(lie, &message, packet, rng);
        }
        match query.method {
            Method::Ping => reply.encode(&mut bytes),
            Method::FindNode { target } => {
                encode::Reply { nodes: Some(&self.closest(&target)), ..reply }.encode(&mut bytes);
            }
            // As libtorrent: filters instead of peers.
            Method::GetPeers { info_hash, scrape: true, .. } if self.swarms.contains_key(&info_hash) => {
                *self.asked.entry("scrape").or_insert(0) += 1;
                let [seeds, downloaders] = &self.swarms[&info_hash];
                encode::Reply {
                    nodes: Some(&self.closest(&info_hash.as_id())),
                    token: Some(b"token"),
                    bloom_seeds: Some(seeds.as_bytes()),
                    bloom_peers: Some(downloaders.as_bytes()),
                    ..reply
                }
                .encode(&mut bytes);
            }
            Method::GetPeers { info_hash, .. } => {
                let swapped: Vec<SocketAddr> = self
                    .stored
                    .get(&info_hash)
                    .into_iter()
                    .flatten()
                    .map(|peer| match self.nature {
                        Nature::Refusing => SocketAddr::new(peer.ip(), peer.port().swap_bytes()),
                        _ => *peer,
                    })
                    .collect();
                let nodes = self.closest(&info_hash.as_id());
                encode::Reply { nodes: Some(&nodes), values: &swapped, token: Some(b"token"), ..reply }
                    .encode(&mut bytes);
            }
            Method::SampleInfohashes { target } => match self.nature {
                Nature::Silent => {}
                Nature::Refusing => {
                    let (tid, code) = (message.tid, krpc::ErrorCode::UNKNOWN_METHOD);
                    encode::Error { tid, code, text: "no", version: Some(self.version), ip: None }
                        .encode(&mut bytes);
                }
                Nature::Confusing => {
                    encode::Reply { nodes: Some(&self.closest(&target)), ..reply }.encode(&mut bytes);
                }
                Nature::Sampling { interval } => {
                    let round = now.as_secs() / u64::from(interval.max(1));
                    let start = round as usize * 20 % self.order.len().max(1);
                    let samples: Vec<InfoHash> = self
                        .order
                        .iter()
                        .cycle()
                        .skip(start)
                        .take(self.order.len().min(20))
                        .copied()
                        .collect();
                    encode::Reply {
                        nodes: Some(&self.closest(&target)),
                        samples: Some(&samples),
                        num: Some(self.order.len() as u64),
                        interval: Some(interval),
                        ..reply
                    }
                    .encode(&mut bytes);
                }
                Nature::Dead | Nature::Lying(_) => {}
            },
            _ => {}
        }
        if bytes.is_empty() { Vec::new() } else { vec![Packet { from: self.addr, to: packet.from, bytes }] }
    }

    fn closest(&self, target: &NodeId) -> Vec<CompactNode> {
        let mut nodes: Vec<CompactNode> =
            self.table.iter().map(|(id, addr)| CompactNode { id: *id, addr: *addr }).collect();
        let count = nodes.len().min(8);
        if count > 0 {
            nodes.select_nth_unstable_by_key(count - 1, |node| node.id.distance(target));
        }
        nodes.truncate(count);
        nodes.sort_unstable_by_key(|node| node.id.distance(target));
        nodes
    }

    fn lie(&self, lie: Lie, message: &Message<'_>, packet: &Packet, rng: &mut StdRng) -> Vec<Packet> {
        let Kind::Query(query) = message.kind else { return Vec::new() };
        let target = match query.method {
            Method::FindNode { target } | Method::SampleInfohashes { target } => target,
            Method::GetPeers { info_hash, .. } => info_hash.as_id(),
            _ => query.id,
        };
        if lie == Lie::Crowds {
            let mut bytes = Vec::new();
            encode::Reply {
                nodes: Some(&self.closest(&target)),
                bloom_seeds: Some(&[0xff; 256]),
                bloom_peers: Some(&[0xff; 256]),
                ..encode::Reply::new(message.tid, self.id)
            }
            .encode(&mut bytes);
            return vec![Packet { from: self.addr, to: packet.from, bytes }];
        }
        let id = if lie == Lie::Ids { NodeId::random(rng) } else { self.id };
        let stranger = |rng: &mut StdRng| CompactNode {
            id: target.with_random_suffix(rng.random_range(20..150), rng),
            addr: SocketAddr::from((rng.random::<[u8; 4]>(), rng.random())),
        };
        let count = if lie == Lie::Oversized { 120 } else { 8 };
        let nodes: Vec<CompactNode> = (0..count).map(|_| stranger(rng)).collect();
        let hashes: Vec<InfoHash> = match lie {
            Lie::Oversized => (0..60).map(|_| InfoHash::random(rng)).collect(),
            _ => Vec::new(),
        };
        let mut bytes = Vec::new();
        encode::Reply {
            nodes: Some(&nodes),
            samples: Some(&hashes),
            num: Some(u64::MAX >> 1),
            interval: Some(0),
            ..encode::Reply::new(message.tid, id)
        }
        .encode(&mut bytes);
        if lie == Lie::Garbage {
            // Anything from the true answer with one wrong byte to noise.
            let at = rng.random_range(0..bytes.len());
            match rng.random_range(0..3) {
                0 => bytes[at] = rng.random(),
                1 => bytes.truncate(at),
                _ => rng.fill_bytes(&mut bytes[at..]),
            }
        }
        vec![Packet { from: self.addr, to: packet.from, bytes }]
    }
}

fn name(method: &Method<'_>) -> &'static str {
    match method {
        Method::Ping => "ping",
        Method::FindNode { .. } => "find_node",
        Method::GetPeers { .. } => "get_peers",
        Method::AnnouncePeer { .. } => "announce_peer",
        Method::SampleInfohashes { .. } => "sample_infohashes",
        _ => "other",
    }
}
