//! A synthetic BitTorrent swarm on the loopback interface, over real sockets.
//!
//! Thousands of DHT nodes, each at an address of its own in 127.0.0.0/8, and the seeders of thousands of torrents:
//! a network that a demonstration, a test or a benchmark can crawl, and of which it knows the whole truth. It runs
//! on two threads and two sockets, keeps no info dict in memory (each is made again from the seed when a peer
//! asks), and sends nothing anywhere but to loopback.
//!
//! It shares no logic with the crawler that it is there to challenge: only the KRPC message format is common.
//!
//! ```
//! use swarm::{Swarm, SwarmConfig};
//!
//! let swarm = Swarm::start(SwarmConfig { nodes: 50, torrents: 20, ..SwarmConfig::default() })?;
//! println!("begin at {:?}", swarm.bootstrap());
//! for torrent in swarm.torrents() {
//!     println!("{} in {} files", torrent.name, torrent.files.len());
//! }
//! assert_eq!(swarm.stats().datagrams, 0);
//! swarm.stop();
//! # Ok::<(), swarm::SwarmError>(())
//! ```
//!
//! [`world`] is another network, without sockets and in virtual time, for what takes hours or days: policies of crawling, churn,
//! lies and partitions. [`peers`] is the same for fetching: endpoints of which most are of no use.
//!
//! What the nodes do: ping, find_node, get_peers, announce_peer with tokens, and sample_infohashes (BEP 51) for
//! those that support it; each in the manner of the client that it says it is, wrong byte order of ports included.
//! What they know of each other is a routing table as of BEP 5, dead contacts included; each torrent is stored at
//! the eight nodes nearest to its key. A node that is flooded ignores its flooder for five minutes, as libtorrent
//! does, and [`SwarmStats`] tells how close anybody came to that.
//!
//! Beside it stands a small [corner of IPv6](ipv6::Ipv6Swarm), of which loopback has but one address.
//!
//! What the seeders do: BEP 3, 9 and 10, plain or encrypted, in the manner of several clients ([`Habits`]), and if asked for, the
//! worst that peers were seen doing ([`Hostile`]), or only by uTP or encryption, or not at all ([`Doors`]).

mod acquaintances;
mod address;
mod announces;
mod chance;
mod clock;
mod closed_ports;
mod config;
mod datagrams;
mod dht;
mod encryption;
mod error;
mod honest;
mod hostile;
mod info_dict;
pub mod ipv6;
mod keyspace;
mod peer_wire;
pub mod peers;
mod population;
mod seeders;
mod stats;
mod swarm;
mod titles;
mod torrent;
mod utp_seeders;
mod visitors;
mod vocabulary;
mod wire;
pub mod world;

pub use config::{Doors, Habits, Hostile, Hostility, SwarmConfig, TORRENTS_MAX};
pub use error::SwarmError;
pub use stats::SwarmStats;
pub use swarm::Swarm;
pub use torrent::{File, Torrent};
