//! What nodes answer, each in the manner of its client.

use std::net::SocketAddr;

use krpc::{CompactNode, ErrorCode, InfoHash, Method, NodeId, Query, Tid, Want, encode};

use super::lies::lie;
use super::nature::{Lie, Nature};
use super::tables::BUCKET;
use super::world::{Family, World};

impl World {
    /// A node has heard a query.
    pub(super) fn answer(&mut self, index: u32, from: SocketAddr, tid: Tid<'_>, query: &Query<'_>) {
        let node = &mut self.nodes[index as usize];
        let (id, addr, nature) = (node.id, node.addr, node.nature);
        if nature == Nature::FourByteIds && tid.bytes().is_none_or(|tid| tid.len() != 4) {
            return;
        }
        node.asked.count(&query.method);
        let mut bytes = Vec::new();
        if let Nature::Lying(how) = nature {
            if how == Lie::Crowds {
                self.claim_crowds(index, tid, query, &mut bytes);
            } else {
                lie(how, id, tid, query, addr.is_ipv6(), &mut self.rng, &mut bytes);
            }
            self.send_from_node(index, from, bytes);
            return;
        }
        let mut reply =
            encode::Reply { version: Some(nature.version()), ip: Some(from), ..encode::Reply::new(tid, id) };
        let target = match query.method {
            Method::Ping | Method::AnnouncePeer { .. } => {
                reply.encode(&mut bytes);
                self.send_from_node(index, from, bytes);
                return;
            }
            Method::FindNode { target } => Some(target),
            Method::GetPeers { info_hash, .. } => Some(info_hash.as_id()),
            Method::SampleInfohashes { target } => match nature {
                Nature::Libtorrent | Nature::Mldht | Nature::Sampling { .. } | Nature::Confusing => {
                    Some(target)
                }
                _ => None,
            },
            Method::Get { target, .. } | Method::Unknown { target: Some(target), .. } => {
                matches!(nature, Nature::Libtorrent | Nature::Confusing).then_some(target)
            }
            _ => None,
        };
        let Some(target) = target else {
            if matches!(nature, Nature::Refusing | Nature::Libtorrent) {
                let version = Some(nature.version());
                encode::Error {
                    tid,
                    code: ErrorCode::UNKNOWN_METHOD,
                    text: "unknown method",
                    version,
                    ip: None,
                }
                .encode(&mut bytes);
                self.send_from_node(index, from, bytes);
            }
            return;
        };
        let (v4, v6) = self.contacts_wanted(index, &target, query.want, nature.answer_len());
        reply.nodes = v4.as_deref();
        reply.nodes6 = v6.as_deref();
        let (values, samples, crowd);
        match query.method {
            // As libtorrent: filters instead of peers.
            Method::GetPeers { info_hash, scrape: true, .. }
                if self.nodes[index as usize].store.crowd(&info_hash).is_some() =>
            {
                self.nodes[index as usize].asked.scrape += 1;
                crowd = self.nodes[index as usize].store.crowd(&info_hash).cloned();
                reply.bloom_seeds = crowd.as_ref().map(|crowd| crowd.seeds.as_bytes());
                reply.bloom_peers = crowd.as_ref().map(|crowd| crowd.downloaders.as_bytes());
                reply.token = Some(TOKEN);
            }
            Method::GetPeers { info_hash, .. } => {
                values = self.peers_at(index, &info_hash);
                reply.values = &values;
                reply.token = Some(TOKEN);
            }
            Method::SampleInfohashes { .. } => {
                if let Some(interval) = nature.interval() {
                    samples = self.samples_of(index, interval);
                    reply.samples = Some(&samples);
                    reply.num = Some(self.nodes[index as usize].store.len() as u64);
                    reply.interval = Some(interval);
                }
            }
            _ => {}
        }
        reply.encode(&mut bytes);
        self.send_from_node(index, from, bytes);
    }

    /// BEP 32: contacts of the families that are asked for, else of the own one.
    fn contacts_wanted(
        &mut self,
        index: u32,
        target: &NodeId,
        want: Want,
        count: usize,
    ) -> (Option<Vec<CompactNode>>, Option<Vec<CompactNode>>) {
        let own = Family::of(self.nodes[index as usize].addr);
        let twin = self.nodes[index as usize].twin;
        let mut of = |family: Family, asked_for: bool| {
            let holder = if family == own { Some(index) } else { twin };
            if !asked_for && (want.n4 || want.n6 || family != own) {
                return None;
            }
            let mut contacts = Vec::with_capacity(count + 1);
            self.closest(holder?, target, count, &mut contacts);
            Some(contacts)
        };
        (of(Family::V4, want.n4), of(Family::V6, want.n6))
    }

    fn peers_at(&mut self, index: u32, info_hash: &InfoHash) -> Vec<SocketAddr> {
        let now = self.now;
        let node = &mut self.nodes[index as usize];
        node.store.expire(now);
        let stored = node.store.contains(info_hash);
        let swaps = node.nature == Nature::Refusing;
        let peers = match node.store.crowd(info_hash) {
            Some(crowd) => &crowd.peers,
            None => match self.truth.get(info_hash).filter(|_| stored) {
                Some(torrent) => &torrent.peers,
                None => return Vec::new(),
            },
        };
        let port = |peer: &SocketAddr| if swaps { peer.port().swap_bytes() } else { peer.port() };
        peers.iter().map(|peer| SocketAddr::new(peer.ip(), port(peer))).collect()
    }

    /// A liar names true contacts, and crowds that do not exist.
    fn claim_crowds(&mut self, index: u32, tid: Tid<'_>, query: &Query<'_>, bytes: &mut Vec<u8>) {
        let id = self.nodes[index as usize].id;
        let target = query.method.target().unwrap_or(query.id);
        let (v4, v6) = self.contacts_wanted(index, &target, query.want, BUCKET);
        encode::Reply {
            nodes: v4.as_deref(),
            nodes6: v6.as_deref(),
            bloom_seeds: Some(&[0xff; 256]),
            bloom_peers: Some(&[0xff; 256]),
            ..encode::Reply::new(tid, id)
        }
        .encode(bytes);
    }

    fn samples_of(&mut self, index: u32, interval: u32) -> Vec<InfoHash> {
        let World { nodes, rng, now, .. } = self;
        let node = &mut nodes[index as usize];
        node.store.expire(*now);
        node.store.sample(*now, node.nature, interval, rng)
    }
}

/// Nobody announces anything with it.
const TOKEN: &[u8] = b"\x5a\x17\xc3\x08";
