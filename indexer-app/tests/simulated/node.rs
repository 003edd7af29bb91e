//! A DHT node and seeder, as small as one can be.

use std::{collections::BTreeMap, net::SocketAddr, rc::Rc};

use bittorrent::{
    CloseHow,
    extension_handshake::UT_METADATA_ID,
    utp::{Utp, UtpAction, UtpConfig, UtpHandle, UtpOutput, is_utp},
};
use krpc::bloom::BloomFilter;
use krpc::{CompactNode, InfoHash, Kind, Message, Method, NodeId, encode};
use tea_runtime::{
    Close, StreamEvent,
    sim::{Out, Responder, SimStream},
};

use super::{K, Population};

/// Samples in an answer, and for how long they stay the same.
const SAMPLES: usize = 20;
const SAMPLE_INTERVAL_S: u32 = 300;

pub struct Node {
    id: NodeId,
    address: SocketAddr,
    population: Rc<Population>,
    streams: BTreeMap<SimStream, Vec<u8>>,
    /// It takes no TCP.
    serves_by_utp: bool,
    utp: Utp,
    news: UtpOutput,
    connections: BTreeMap<UtpHandle, Vec<u8>>,
}

impl Node {
    pub fn new(id: NodeId, address: SocketAddr, serves_by_utp: bool, population: Rc<Population>) -> Self {
        let mut seed = [0; 32];
        seed[..20].copy_from_slice(id.as_bytes());
        let config = UtpConfig { accepted_max: 100, ..UtpConfig::default() };
        Self {
            id,
            address,
            population,
            streams: BTreeMap::new(),
            serves_by_utp,
            utp: Utp::new(config, seed),
            news: UtpOutput::new(),
            connections: BTreeMap::new(),
        }
    }

    fn nodes_near(&self, target: &NodeId) -> Vec<CompactNode> {
        let near = self.population.closest(target, K + 1).into_iter();
        near.filter(|node| node.1 != self.address)
            .take(K)
            .map(|(id, addr, _)| CompactNode { id, addr })
            .collect()
    }
}

impl Responder for Node {
    fn datagram(&mut self, to: SocketAddr, from: SocketAddr, payload: &[u8], out: &mut Out<'_>) {
        if self.serves_by_utp && is_utp(payload) {
            self.utp.datagram(out.now().since_start(), from, payload, &mut self.news);
            return self.go_on_by_utp(out);
        }
        let Ok(message) = Message::parse(payload) else { return };
        let Kind::Query(query) = message.kind else { return };
        {
            let mut sight = self.population.sight.borrow_mut();
            sight.endpoints.insert(from);
            let count = if message.read_only { &mut sight.read_only } else { &mut sight.full };
            *count += 1;
        }
        let [.., last] = *self.id.as_bytes();
        let claimed = self.population.claim.get().filter(|(_, of_ten)| last % 10 < *of_ten);
        let ip = claimed.map_or(from, |(ip, _)| SocketAddr::new(ip, from.port()));
        let reply = encode::Reply { ip: Some(ip), ..encode::Reply::new(message.tid, self.id) };
        let population = Rc::clone(&self.population);
        let stored = population.stored.get(&self.address);
        // As libtorrent does: within the interval the same ones, then the next.
        let round = out.now().since_start().as_secs() / u64::from(SAMPLE_INTERVAL_S);
        out.send(to, from, |buffer| match query.method {
            Method::FindNode { target } => {
                encode::Reply { nodes: Some(&self.nodes_near(&target)), ..reply }.encode(buffer);
            }
            // As libtorrent does: filters instead of peers.
            Method::GetPeers { info_hash, scrape: true, .. }
                if stored.is_some_and(|stored| stored.contains_key(&info_hash)) =>
            {
                let mut seeds = BloomFilter::new();
                seeds.insert(stored.expect("it was looked for")[&info_hash].ip());
                encode::Reply {
                    nodes: Some(&self.nodes_near(&info_hash.as_id())),
                    bloom_seeds: Some(seeds.as_bytes()),
                    bloom_peers: Some(BloomFilter::new().as_bytes()),
                    ..reply
                }
                .encode(buffer);
            }
            Method::GetPeers { info_hash, .. } => {
                let values: Vec<_> =
                    stored.and_then(|stored| stored.get(&info_hash)).copied().into_iter().collect();
                let nodes = self.nodes_near(&info_hash.as_id());
                encode::Reply { nodes: Some(&nodes), values: &values, token: Some(b"tokn"), ..reply }
                    .encode(buffer);
            }
            Method::SampleInfohashes { target } => {
                let all: Vec<InfoHash> = stored.into_iter().flat_map(BTreeMap::keys).copied().collect();
                let start = if all.len() > SAMPLES { round as usize * SAMPLES % all.len() } else { 0 };
                let samples: Vec<InfoHash> =
                    all.iter().cycle().skip(start).take(all.len().min(SAMPLES)).copied().collect();
                encode::Reply {
                    nodes: Some(&self.nodes_near(&target)),
                    samples: Some(&samples),
                    num: Some(all.len() as u64),
                    interval: Some(SAMPLE_INTERVAL_S),
                    ..reply
                }
                .encode(buffer);
            }
            _ => reply.encode(buffer),
        });
    }

    fn accepts(&mut self, _: SocketAddr, _: SocketAddr) -> bool {
        !self.serves_by_utp
    }

    fn stream(&mut self, stream: SimStream, event: StreamEvent, out: &mut Out<'_>) {
        match event {
            StreamEvent::Data(bytes) => {
                let buffer = self.streams.entry(stream).or_default();
                match serve(&self.id, &self.population, buffer, &bytes) {
                    Some(answer) => out.write(stream, &answer),
                    None => out.close(stream, Close::Reset),
                }
            }
            StreamEvent::Closed(_) => drop(self.streams.remove(&stream)),
            _ => {}
        }
    }

    fn wake(&mut self, _: u64, out: &mut Out<'_>) {
        self.go_on_by_utp(out);
    }
}

impl Node {
    /// Does what is due by uTP, and has itself woken for what is due next.
    fn go_on_by_utp(&mut self, out: &mut Out<'_>) {
        let now = out.now().since_start();
        while self.utp.next_deadline().is_some_and(|at| at <= now) || !self.news.is_empty() {
            self.utp.tick(now, &mut self.news);
            let mut news = std::mem::take(&mut self.news);
            for action in news.drain() {
                match action {
                    UtpAction::Send { to, datagram } => {
                        out.send(self.address, to, |buffer| buffer.extend_from_slice(datagram));
                    }
                    UtpAction::Data { handle, bytes } => {
                        let buffer = self.connections.entry(handle).or_default();
                        match serve(&self.id, &self.population, buffer, bytes) {
                            Some(answer) => drop(self.utp.write(handle, &answer)),
                            None => self.utp.close(now, handle, CloseHow::Reset, &mut self.news),
                        }
                    }
                    UtpAction::Closed { handle, .. } => drop(self.connections.remove(&handle)),
                    UtpAction::Accepted { .. } | UtpAction::Opened(_) => {}
                }
            }
        }
        if let Some(at) = self.utp.next_deadline() {
            out.wake_after(at.saturating_sub(now), 0);
        }
    }
}

/// What a seeder answers to the bytes that have come (BEP 3, 9 and 10, for info dicts of one piece); `None`: it hangs up.
fn serve(id: &NodeId, population: &Population, buffer: &mut Vec<u8>, bytes: &[u8]) -> Option<Vec<u8>> {
    let had_handshake = buffer.len() >= HANDSHAKE_BYTES;
    buffer.extend_from_slice(bytes);
    if buffer.len() < HANDSHAKE_BYTES {
        return Some(Vec::new());
    }
    let hash = InfoHash::try_from(buffer.get(28..48)?).ok()?;
    let raw = population.info_dicts.get(&hash)?;
    if buffer.ends_with(b"piecei0ee") {
        // The id that the other side has chosen for its ut_metadata.
        let header = format!("d8:msg_typei1e5:piecei0e10:total_sizei{}ee", raw.len());
        return Some(extended(UT_METADATA_ID, &header, raw));
    }
    if had_handshake {
        return Some(Vec::new());
    }
    let mut hello = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0".to_vec();
    hello.extend_from_slice(hash.as_bytes());
    hello.extend_from_slice(b"-SM0001-");
    hello.extend_from_slice(&id.as_bytes()[..12]);
    hello.extend(extended(0, &format!("d1:md11:ut_metadatai3ee13:metadata_sizei{}ee", raw.len()), &[]));
    Some(hello)
}

/// Of BEP 3.
const HANDSHAKE_BYTES: usize = 68;

fn extended(id: u8, header: &str, raw: &[u8]) -> Vec<u8> {
    let length = 2 + header.len() + raw.len();
    let mut message = (length as u32).to_be_bytes().to_vec();
    message.extend([20, id]);
    message.extend_from_slice(header.as_bytes());
    message.extend_from_slice(raw);
    message
}
