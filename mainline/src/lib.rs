//! The Mainline DHT as state machines: contacts, lookups, sampling, serving; sans-IO.
//!
//! A [`Dht`] takes part in the network with any number of ids behind any number of UDP ports. It
//! knows no socket and no clock: datagrams and time come in, datagrams to send and events come out,
//! in an [`Output`] that is used again and again. The same seed, times and datagrams give the same output.
//!
//! What it does by itself: it enters the network, keeps routing tables, answers queries, listens, and visits every
//! node that it hears of to sample its info-hashes (BEP 51). What it does when asked: it looks up the
//! peers of an info-hash. What it never does: announce, exceed the budget of a remote, or show two faces to one.
//!
//! ```
//! use std::time::Duration;
//! use mainline::{Action, Config, Dht, Output, Port, PortIndex, VirtualNodeConfig, spread_ids};
//!
//! let seed = [7; 32];
//! let port = Port { local: "0.0.0.0:6881".parse()? };
//! let nodes = spread_ids(4, seed).map(|id| VirtualNodeConfig { id, port: PortIndex(0) });
//! let mut config = Config::new(seed, vec![port], nodes.collect());
//! config.bootstrap.push("198.41.0.4:6881".parse()?);
//!
//! let mut dht = Dht::new(&config, Duration::ZERO)?;
//! let mut out = Output::new();
//! dht.tick(Duration::from_millis(20), &mut out);
//! let Some(Action::Send { to, payload, .. }) = out.actions().next() else { panic!("it enters the network") };
//! assert_eq!(to, config.bootstrap[0]);
//! assert!(payload.starts_with(b"d1:ad2:id20:"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// The tables and the serving side.
pub mod address;
mod announce_quota;
pub mod bogon;
pub mod contact_store;
pub mod external_address;
pub mod id_mismatch;
pub mod identity;
pub mod keyed_hash;
pub mod limiter;
pub mod paced_queue;
pub mod peer_store;
pub mod reachability;
pub mod routing_table;
pub mod rtt;
pub mod scrape;
pub mod server;
mod set_cache;
mod slot_index;
mod timing_wheel;
pub mod token;
pub mod transactions;
pub mod unreachable;
pub mod virtual_node;

// The engine, and what it discovers.
mod bootstrap;
mod budget;
mod config;
mod counters;
mod dht;
mod discovery;
mod endpoint;
mod event;
mod explore;
pub mod freshness;
mod ids;
mod keyspace_slices;
mod lookup;
mod lookups;
mod meet;
mod node_table;
mod odds;
mod output;
pub mod own_ids;
mod population;
mod purpose;
mod query;
mod receive;
mod search;
mod serve;
mod strangers;
mod upkeep;
mod visit;
mod visit_queue;
mod visits;
mod watchdog;

pub use budget::{Bucket, BudgetKind, BudgetUse};
pub use config::{
    Config, ConfigError, EPOCH, Limits, MIN_SAMPLE_INTERVAL, PORTS_MAX, Port, PortIndex, ReadOnly, VERSION,
    VIRTUAL_NODES_MAX, VirtualNodeConfig,
};
pub use counters::{Counters, DropReason, Gauges, MessageType, PacketUse, QueueUse, Traffic};
pub use dht::Dht;
pub use event::{
    Busy, Event, HashSource, KnownNode, LookupId, LookupOutcome, LookupReport, Peer, Priority, Support,
    SweepProgress, VisitOutcome, VisitRecord,
};
pub use ids::spread_ids;
pub use keyspace_slices::KeyspaceSlices;
pub use output::{Action, Output};
pub use own_ids::{IdScheme, OwnIds};
pub use reachability::Reachability;
pub use scrape::Scrape;
