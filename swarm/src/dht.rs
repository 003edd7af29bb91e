//! The nodes' side of the DHT: every query to every node is answered here.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use krpc::bloom::BloomFilter;
use krpc::{CompactNode, ErrorCode, InfoHash, Kind, Message, Method, NodeId, Query, Tid, encode};

use crate::address;
use crate::announces::{self, Announces};
use crate::chance::{Topic, draw};
use crate::clock::Clock;
use crate::datagrams::{DATAGRAM_MAX, Datagrams};
use crate::population::{PeerPorts, Population, Sampling};
use crate::stats::Counters;
use crate::visitors::{Verdict, Visitors};

/// Samples in an answer (libtorrent's figure; more would not fit beside eight contacts in 1,024 bytes).
const SAMPLES_MAX: usize = 20;
/// Peers in an answer.
const VALUES_MAX: usize = 50;
/// Pairs of a node and a sender that are followed, for each node: a crawler with several addresses has room.
const VISITORS_A_NODE: usize = 4;
/// The least number of such pairs.
const VISITORS_MIN: usize = 4_096;

/// What a node was asked so far.
#[derive(Clone, Copy, Default)]
struct Asked {
    anything: bool,
    for_samples: bool,
}

/// The nodes of a swarm.
pub(crate) struct Dht {
    population: Arc<Population>,
    counters: Arc<Counters>,
    visitors: Visitors,
    /// What each live node was asked already.
    asked: Vec<Asked>,
    announces: Announces,
    dht_port: u16,
    ports: PeerPorts,
    // Reused from answer to answer.
    known: Vec<(NodeId, u32)>,
    contacts: Vec<CompactNode>,
    values: Vec<SocketAddr>,
    order: Vec<u32>,
    samples: Vec<InfoHash>,
}

/// Answers until `stop` is set.
pub(crate) fn serve(mut dht: Dht, mut datagrams: Datagrams, clock: Clock, stop: &AtomicBool) {
    let mut buffer = [0; DATAGRAM_MAX];
    let mut answer = Vec::with_capacity(DATAGRAM_MAX);
    while !stop.load(Ordering::Relaxed) {
        let envelope = match datagrams.receive(&mut buffer) {
            Ok(Some(envelope)) => envelope,
            Ok(None) => continue,
            Err(error) => {
                tracing::error!(%error, "the swarm's DHT port failed");
                return;
            }
        };
        answer.clear();
        dht.receive(clock.now(), envelope.from, envelope.to, &buffer[..envelope.len], &mut answer);
        if !answer.is_empty() {
            // Counted before it is sent: who has it may look at the counters at once.
            dht.counters.answers.add_one();
            if datagrams.send(envelope.to, envelope.from, &answer).is_err() {
                dht.counters.answers_failed.add_one();
            }
        }
    }
}

impl Dht {
    pub(crate) fn new(
        population: Arc<Population>,
        counters: Arc<Counters>,
        dht_port: u16,
        ports: PeerPorts,
    ) -> Self {
        let config = &population.config;
        let pairs_max = (config.nodes * VISITORS_A_NODE).max(VISITORS_MIN);
        let visitors = Visitors::new(pairs_max, config.flood_limit);
        let asked = vec![Asked::default(); config.nodes];
        Self {
            population,
            counters,
            visitors,
            asked,
            announces: Announces::default(),
            dht_port,
            ports,
            known: Vec::new(),
            contacts: Vec::new(),
            values: Vec::new(),
            order: Vec::new(),
            samples: Vec::new(),
        }
    }

    /// Takes a datagram to one of the nodes and appends what the node answers, if anything, to `answer`.
    pub(crate) fn receive(
        &mut self,
        now: Duration,
        from: SocketAddrV4,
        to: Ipv4Addr,
        datagram: &[u8],
        answer: &mut Vec<u8>,
    ) {
        self.counters.datagrams.add_one();
        let Some(node) = address::node_at(to).filter(|node| self.population.is_live(*node)) else {
            self.counters.to_the_dead.add_one();
            return;
        };
        let verdict = self.visitors.note(now, node, *from.ip());
        if let Verdict::Welcome { second, ten_seconds } | Verdict::Flood { second, ten_seconds } = verdict {
            self.counters.peak_per_second.raise_to(u64::from(second));
            self.counters.peak_per_ten_seconds.raise_to(u64::from(ten_seconds));
        }
        match verdict {
            Verdict::Welcome { .. } => {}
            Verdict::NotFollowed => self.counters.senders_not_followed.add_one(),
            Verdict::Flood { .. } => {
                self.counters.floods.add_one();
                self.counters.ignored_flood.add_one();
                return;
            }
            Verdict::Ignored => {
                self.counters.ignored_flood.add_one();
                return;
            }
        }
        let message = match Message::parse(datagram) {
            Ok(message) => message,
            Err(error) => {
                self.counters.malformed.add_one();
                if let Some(tid) = Tid::to_refuse(error, datagram) {
                    let (version, ip) = (self.population.client(node), Some(SocketAddr::V4(from)));
                    let code = ErrorCode::PROTOCOL;
                    encode::Error { tid, code, text: error.text(), version, ip }.encode(answer);
                }
                return;
            }
        };
        match &message.kind {
            Kind::Query(query) => {
                self.note_asked(node, matches!(query.method, Method::SampleInfohashes { .. }));
                self.answer(now, node, from, message.tid, query, answer);
            }
            Kind::Reply(_) | Kind::Error(_) => self.counters.unasked_replies.add_one(),
        }
    }

    fn answer(
        &mut self,
        now: Duration,
        node: u32,
        from: SocketAddrV4,
        tid: Tid<'_>,
        query: &Query<'_>,
        out: &mut Vec<u8>,
    ) {
        let counters = Arc::clone(&self.counters);
        let population = Arc::clone(&self.population);
        let seed = population.config.seed;
        let (version, ip) = (population.client(node), Some(SocketAddr::V4(from)));
        let reply = encode::Reply { version, ip, ..encode::Reply::new(tid, population.node_id(node)) };
        let error = |code, text| encode::Error { tid, code, text, version, ip };
        match &query.method {
            Method::Ping => {
                counters.pings.add_one();
                reply.encode(out);
            }
            Method::FindNode { target } => {
                counters.find_nodes.add_one();
                encode::Reply { nodes: Some(self.contacts_near(node, target)), ..reply }.encode(out);
            }
            Method::GetPeers { info_hash, scrape, .. } => {
                counters.get_peers.add_one();
                self.collect_values(node, info_hash);
                // Who gives samples is a libtorrent, and that answers a scrape (BEP 33) with filters instead of peers.
                if *scrape && population.sampling(node) == Sampling::Supported && !self.values.is_empty() {
                    counters.scrapes.add_one();
                    let mut seeds = BloomFilter::new();
                    self.values.iter().for_each(|peer| seeds.insert(peer.ip()));
                    let token = announces::token(seed, now, node, *from.ip(), info_hash);
                    encode::Reply {
                        nodes: Some(self.contacts_near(node, &info_hash.as_id())),
                        token: Some(&token),
                        bloom_seeds: Some(seeds.as_bytes()),
                        bloom_peers: Some(BloomFilter::new().as_bytes()),
                        ..reply
                    }
                    .encode(out);
                    return;
                }
                if !self.values.is_empty() {
                    counters.get_peers_with_values.add_one();
                }
                let token = announces::token(seed, now, node, *from.ip(), info_hash);
                self.contacts_near(node, &info_hash.as_id());
                let (nodes, values) = (Some(&self.contacts[..]), &self.values[..]);
                encode::Reply { nodes, values, token: Some(&token), ..reply }.encode(out);
            }
            Method::AnnouncePeer { info_hash, port, implied_port, token, .. } => {
                let port = if *implied_port { from.port() } else { *port };
                if port == 0 || !announces::is_token_good(seed, now, node, *from.ip(), info_hash, token) {
                    counters.announces_refused.add_one();
                    error(ErrorCode::PROTOCOL, "invalid token or port").encode(out);
                    return;
                }
                match self.announces.store(node, *info_hash, SocketAddrV4::new(*from.ip(), port)) {
                    true => counters.announces.add_one(),
                    false => counters.announces_dropped.add_one(),
                }
                reply.encode(out);
            }
            Method::SampleInfohashes { target } => match population.sampling(node) {
                Sampling::Supported => {
                    counters.samples.add_one();
                    self.collect_samples(now, node);
                    self.contacts_near(node, target);
                    encode::Reply {
                        nodes: Some(&self.contacts),
                        samples: Some(&self.samples),
                        num: Some(population.stored_by(node).len() as u64),
                        interval: Some(population.config.sample_interval.as_secs() as u32),
                        ..reply
                    }
                    .encode(out);
                }
                Sampling::Silent => counters.samples_unsupported.add_one(),
                Sampling::MethodUnknown => {
                    counters.samples_unsupported.add_one();
                    error(ErrorCode::UNKNOWN_METHOD, "method unknown").encode(out);
                }
            },
            Method::Get { target, .. } | Method::Unknown { target: Some(target), .. } => {
                counters.other_queries.add_one();
                encode::Reply { nodes: Some(self.contacts_near(node, target)), ..reply }.encode(out);
            }
            _ => {
                counters.other_queries.add_one();
                error(ErrorCode::UNKNOWN_METHOD, "method unknown").encode(out);
            }
        }
    }

    /// Counts a node once for being asked, and once for being asked for samples.
    fn note_asked(&mut self, node: u32, for_samples: bool) {
        let Some(asked) = self.asked.get_mut(node as usize) else { return };
        if !std::mem::replace(&mut asked.anything, true) {
            self.counters.nodes_asked.add_one();
        }
        if for_samples && !std::mem::replace(&mut asked.for_samples, true) {
            self.counters.nodes_sampled.add_one();
        }
    }

    fn contacts_near(&mut self, node: u32, target: &NodeId) -> &[CompactNode] {
        self.known.clear();
        self.population.nearest_known(node, target, &mut self.known);
        self.contacts.clear();
        let port = self.dht_port;
        self.contacts.extend(self.known.iter().map(|(id, contact)| CompactNode {
            id: *id,
            addr: SocketAddr::from((address::of_node(*contact), port)),
        }));
        &self.contacts
    }

    /// Peers of a hash that a node knows: those of the swarm when it stores the hash, and announced ones. A node that
    /// says it is the rTorrent with ports the wrong way round has them so.
    fn collect_values(&mut self, node: u32, hash: &InfoHash) {
        self.values.clear();
        let position = self.population.position(hash);
        if let Some(position) = position.filter(|p| self.population.stored_by(node).binary_search(p).is_ok())
        {
            let torrent = self.population.torrent_at(position);
            let seeders = self.population.seeder_endpoints(torrent, self.ports);
            self.values.extend(seeders.map(SocketAddr::V4));
        }
        self.values.extend(self.announces.of(node, hash).iter().copied().map(SocketAddr::V4));
        self.values.truncate(VALUES_MAX);
        if self.population.client(node).is_some_and(|client| client.swaps_ports()) {
            self.values.iter_mut().for_each(|peer| peer.set_port(peer.port().swap_bytes()));
        }
    }

    /// Up to 20 of the hashes that a node stores, the same ones until its interval ends (BEP 51).
    fn collect_samples(&mut self, now: Duration, node: u32) {
        let population = &self.population;
        let seed = population.config.seed;
        let stored = population.stored_by(node);
        self.order.clear();
        self.order.extend_from_slice(stored);
        if stored.len() > SAMPLES_MAX {
            let interval_us = population.config.sample_interval.as_micros().max(1) as u64;
            // Intervals of different nodes do not begin together.
            let phase = draw(seed, Topic::Samples, u64::from(node), u64::MAX) % interval_us;
            let interval = (now.as_micros() as u64 + phase) / interval_us;
            for place in 0..SAMPLES_MAX {
                let lot = draw(seed, Topic::Samples, u64::from(node) << 40 ^ interval, place as u64);
                let rest = (self.order.len() - place) as u64;
                self.order.swap(place, place + (lot % rest) as usize);
            }
            self.order.truncate(SAMPLES_MAX);
        }
        self.samples.clear();
        self.samples.extend(self.order.iter().map(|position| population.key(*position)));
    }
}
