//! A few nodes and a seeder at `::1`.
//!
//! Of IPv6 every machine has one loopback address and no more, so all nodes share it, each with a port of its own. To whoever
//! counts by address they are one remote, to be asked once a second: a corner to see that IPv6 works, not a network.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use krpc::{CompactNode, InfoHash, Kind, Message, Method, NodeId, Query, Tid, encode};
use rand::{SeedableRng as _, rngs::StdRng};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::chance::{Topic, draw_bytes};
use crate::clock::Clock;
use crate::config::Habits;
use crate::datagrams::DATAGRAM_MAX;
use crate::error::SwarmError;
use crate::population::Conduct;
use crate::stats::Counters;
use crate::torrent::{self, Torrent};
use crate::wire::{Link, Wire};
use crate::{honest, peer_wire};

/// A running corner of IPv6, on a thread of its own until it is dropped.
#[derive(Debug)]
pub struct Ipv6Swarm {
    corner: Arc<Corner>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Corner {
    seed: u64,
    torrents: u32,
    nodes: Vec<CompactNode>,
    /// The keys of the torrents, each with its torrent.
    keys: Vec<(InfoHash, u32)>,
    seeder: SocketAddr,
    queries: AtomicU64,
    /// Datagrams within the last second, and the most there ever were.
    arrivals: Mutex<(VecDeque<Duration>, usize)>,
    counters: Counters,
}

impl Ipv6Swarm {
    /// So many nodes (1 to [`NODES_MAX`]) and torrents (0 to [`TORRENTS_MAX`]), all of which every node stores, made from a
    /// seed.
    ///
    /// # Errors
    /// A number out of range, or the system gives no sockets at `::1`.
    pub fn start(seed: u64, nodes: usize, torrents: usize) -> Result<Self, SwarmError> {
        let fail = |setting, problem: String| Err(SwarmError::Setting { setting, problem });
        if !(1..=NODES_MAX).contains(&nodes) {
            return fail("nodes", format!("{nodes} is not between 1 and {NODES_MAX}"));
        }
        if torrents > TORRENTS_MAX {
            return fail("torrents", format!("{torrents} is more than {TORRENTS_MAX}"));
        }
        let system = |action| move |source| SwarmError::System { action, source };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(system("make a runtime for its corner of IPv6"))?;
        let (sockets, listener) = runtime
            .block_on(async {
                let mut sockets = Vec::with_capacity(nodes);
                for _ in 0..nodes {
                    sockets.push(UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).await?);
                }
                io::Result::Ok((sockets, TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await?))
            })
            .map_err(system("open its ports at ::1"))?;
        let seeder = listener.local_addr().map_err(system("name its TCP port"))?;
        let mut known = Vec::with_capacity(nodes);
        for (number, socket) in (0..).zip(&sockets) {
            let mut id = [0; 20];
            id.copy_from_slice(&draw_bytes(seed, Topic::NodeId, number, 0, 20));
            let addr = socket.local_addr().map_err(system("name its UDP port"))?;
            known.push(CompactNode { id: NodeId::from_bytes(id), addr });
        }
        let torrents = torrents as u32;
        let keys_of = |index| torrent::generate(seed, index).0.dht_keys().map(move |key| (key, index));
        let corner = Arc::new(Corner {
            seed,
            torrents,
            nodes: known,
            keys: (0..torrents).flat_map(keys_of).collect(),
            seeder,
            queries: AtomicU64::new(0),
            arrivals: Mutex::default(),
            counters: Counters::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&corner);
        let run = move || runtime.block_on(serve(serving, sockets, listener, stopped));
        let thread = Builder::new().name("swarm-ipv6".to_owned()).spawn(run);
        let thread = thread.map_err(system("start a thread"))?;
        Ok(Self { corner, stop: Some(stop), thread: Some(thread) })
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, SocketAddr)> {
        self.corner.nodes.iter().map(|node| (node.id, node.addr))
    }

    /// All torrents.
    pub fn torrents(&self) -> impl Iterator<Item = Torrent> {
        (0..self.corner.torrents).map(|index| torrent::generate(self.corner.seed, index).0)
    }

    /// Queries that arrived at any node.
    pub fn queries(&self) -> u64 {
        self.corner.queries.load(Ordering::Relaxed)
    }

    /// The most datagrams that arrived within a second, at all nodes together.
    pub fn peak_per_second(&self) -> usize {
        self.corner.arrivals.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

impl Drop for Ipv6Swarm {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the swarm's corner of IPv6 panicked");
        }
    }
}

async fn serve(
    corner: Arc<Corner>,
    sockets: Vec<UdpSocket>,
    listener: TcpListener,
    mut stopped: oneshot::Receiver<()>,
) {
    let clock = Clock::start();
    let mut tasks = JoinSet::new();
    for (number, socket) in sockets.into_iter().enumerate() {
        tasks.spawn(answer(Arc::clone(&corner), number, socket, clock));
    }
    let mut conversations = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => return,
            Some(_) = conversations.join_next() => {}
            accepted = listener.accept(), if conversations.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    let corner = Arc::clone(&corner);
                    conversations.spawn(async move {
                        // A peer that goes away is part of the game.
                        let _ = timeout(CONNECTION_MAX, corner.seed_to(stream)).await;
                    });
                }
                Err(error) => {
                    tracing::error!(%error, "the seeder at ::1 cannot accept connections");
                    return;
                }
            },
        }
    }
}

/// Answers for one node until the task is dropped.
async fn answer(corner: Arc<Corner>, number: usize, socket: UdpSocket, clock: Clock) {
    let mut buffer = [0; DATAGRAM_MAX];
    let mut out = Vec::new();
    loop {
        // What an earlier answer has led to is nobody's concern.
        let Ok((len, from)) = socket.recv_from(&mut buffer).await else { continue };
        corner.count(clock.now());
        let Ok(message) = Message::parse(&buffer[..len]) else {
            corner.counters.malformed.add_one();
            continue;
        };
        let Kind::Query(query) = message.kind else { continue };
        corner.queries.fetch_add(1, Ordering::Relaxed);
        out.clear();
        corner.reply(number, from, message.tid, &query, &mut out);
        if from.ip() == IP {
            let _ = socket.send_to(&out, from).await;
        }
    }
}

impl Corner {
    fn count(&self, now: Duration) {
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        let (times, most) = &mut *arrivals;
        times.push_back(now);
        while times.front().is_some_and(|first| now >= *first + Duration::from_secs(1)) {
            times.pop_front();
        }
        *most = times.len().max(*most);
    }

    fn reply(&self, number: usize, from: SocketAddr, tid: Tid<'_>, query: &Query<'_>, out: &mut Vec<u8>) {
        let Some(own) = self.nodes.get(number) else { return };
        let near = |target: &NodeId| {
            let mut others: Vec<CompactNode> =
                self.nodes.iter().filter(|node| node.addr != own.addr).copied().collect();
            others.sort_unstable_by_key(|node| node.id.distance(target));
            others.truncate(CONTACTS);
            others
        };
        let contacts = query.method.target().map(|target| near(&target));
        let reply =
            encode::Reply { ip: Some(from), nodes6: contacts.as_deref(), ..encode::Reply::new(tid, own.id) };
        match query.method {
            Method::GetPeers { info_hash, .. } => {
                let stored = self.keys.iter().any(|(key, _)| *key == info_hash);
                let values = if stored { &[self.seeder][..] } else { &[] };
                encode::Reply { values, token: Some(b"corner"), ..reply }.encode(out);
            }
            Method::SampleInfohashes { .. } => {
                let samples: Vec<InfoHash> = self.keys.iter().map(|(key, _)| *key).take(SAMPLES).collect();
                encode::Reply {
                    samples: Some(&samples),
                    num: Some(self.keys.len() as u64),
                    interval: Some(INTERVAL),
                    ..reply
                }
                .encode(out);
            }
            _ => reply.encode(out),
        }
    }

    async fn seed_to(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut wire = Wire::new(Link::Tcp(stream), StdRng::seed_from_u64(self.seed));
        let Some(handshake) = wire.handshake(true, |_| None).await? else { return Ok(()) };
        let asked_for = self.keys.iter().find(|(key, _)| *key == handshake.info_hash);
        let Some((_, index)) = asked_for else { return Ok(()) };
        let (torrent, info) = torrent::generate(self.seed, *index);
        let client = honest::client(Conduct::Prompt, 2);
        let mut peer_id = [b'6'; 20];
        peer_id[..8].copy_from_slice(client.peer_id);
        wire.write(&peer_wire::handshake(&handshake.info_hash, &peer_id)).await?;
        if !handshake.extended {
            return wire.drain().await;
        }
        let habits = Habits::default();
        honest::converse(&mut wire, Conduct::Prompt, &habits, &client, &torrent, &info, &self.counters).await
    }
}

/// The only address of IPv6 that is spoken to.
const IP: std::net::IpAddr = std::net::IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Nodes: asked once a second all together, more would keep anybody waiting.
pub const NODES_MAX: usize = 16;

/// Torrents: their keys fit into one sample.
pub const TORRENTS_MAX: usize = SAMPLES / 2;

/// Contacts in an answer (BEP 5).
const CONTACTS: usize = 8;

/// Samples in an answer (libtorrent's figure).
const SAMPLES: usize = 20;

/// `interval` in seconds: nobody has the packets to sample twice.
const INTERVAL: u32 = 600;

/// Connections served at a time.
const CONNECTIONS_MAX: usize = 64;

/// The end of every connection.
const CONNECTION_MAX: Duration = Duration::from_secs(60);
