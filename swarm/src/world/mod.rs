//! A scripted internet in virtual time: the remotes that a DHT engine, or any other crawler, is tried against.
//!
//! [`World`] holds nodes of many natures ([`Nature`]) in both address families, their routing tables with stale entries, what
//! they store, who arrives and who leaves, and a network that delays, loses, doubles and separates. It has no
//! sockets, no clock and no randomness but that of its seed: the same seed and the same packets give the same run.
//!
//! Whoever is tried is an *outsider*: it owns some addresses ([`World::attach`]), sends datagrams ([`World::send`]) and gets those
//! that arrive from [`World::next`]. Only what passes between outsiders and nodes travels as datagrams. What nodes do among
//! themselves (filling and cleaning their tables, announcing torrents) is done to their state directly, by the rules
//! of the clients, so that tens of thousands of nodes over days of virtual time cost seconds to minutes.
//!
//! [`Watch`] looks at the datagrams of an outsider as the remotes see them: how many in any second, under how many ids, how
//! often sampled. [`Counts`] tells how the nodes took it: libtorrent blocks who sends too much.
//!
//! ```
//! use std::net::SocketAddr;
//! use std::time::Duration;
//!
//! use krpc::{Kind, Message, Method, NodeId, Want, encode};
//! use swarm::world::{Scene, World};
//!
//! let mut world = World::stage(&Scene { nodes: 200, torrents: 50, ..Scene::default() });
//! let us: SocketAddr = "90.0.0.7:6881".parse()?;
//! world.attach(us);
//! let node = world.nodes.iter().find(|node| node.is_open()).expect("some are");
//! let mut ping = Vec::new();
//! let (id, want) = (NodeId::from_bytes([7; 20]), Want::default());
//! encode::Query { tid: b"abcd", id, version: None, read_only: true, want, method: Method::Ping }.encode(&mut ping);
//! let (to, theirs) = (node.addr, node.id);
//! world.send(us, to, ping);
//! let answer = world.next(Duration::from_secs(10)).expect("nothing is lost in this network");
//! assert_eq!((answer.from, answer.to), (to, us));
//! let Kind::Reply(reply) = Message::parse(&answer.bytes)?.kind else { panic!("a ping is answered") };
//! assert_eq!(reply.id, Some(theirs));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod chances;
mod churn;
mod counts;
mod friends;
mod guard;
mod lies;
mod nature;
mod network;
mod node;
mod passers;
mod scene;
mod schedule;
mod stage;
mod store;
mod tables;
mod torrents;
mod watch;
#[allow(clippy::module_inception, reason = "it is what the module is about")]
mod world;

pub use counts::Counts;
pub use nature::{Lie, Nature};
pub use network::{Network, Packet};
pub use node::{Asked, Node, node_addr, node_addr_v6};
pub use scene::{Churn, Clients, Scene, Torrents};
pub use torrents::Torrent;
pub use watch::{Manners, Watch};
pub use world::World;
