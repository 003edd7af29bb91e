//! A running swarm.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

use krpc::NodeId;
use tokio::sync::oneshot;

use crate::address;
use crate::clock::Clock;
use crate::closed_ports::ClosedPorts;
use crate::config::SwarmConfig;
use crate::datagrams::Datagrams;
use crate::dht::Dht;
use crate::error::SwarmError;
use crate::population::{PeerPorts, Population};
use crate::stats::{Counters, SwarmStats};
use crate::torrent::{self, Torrent};
use crate::{dht, seeders, utp_seeders};

/// Nodes that [`Swarm::bootstrap`] names.
const BOOTSTRAP_NODES: usize = 8;

/// A swarm that runs on two threads of its own until it is stopped or dropped.
#[derive(Debug)]
pub struct Swarm {
    population: Arc<Population>,
    counters: Arc<Counters>,
    dht_port: u16,
    ports: PeerPorts,
    _closed: ClosedPorts,
    stop_dht: Arc<AtomicBool>,
    stop_seeders: Option<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Swarm {
    /// Makes all nodes and torrents and answers from the moment this returns. Blocks meanwhile: well under a second
    /// for thousands of both.
    pub fn start(config: SwarmConfig) -> Result<Self, SwarmError> {
        config.check()?;
        let population = Arc::new(Population::new(config));
        let config = &population.config;
        let datagrams = Datagrams::bind(config.dht_port)?;
        let files = config.connections_max + population.utp_peers().count();
        let listener = seeders::bind(config.peer_port, files)?;
        let name = |source| SwarmError::System { action: "name its TCP port", source };
        let (dht_port, peer_port) = (datagrams.port()?, listener.local_addr().map_err(name)?.port());
        let closed = ClosedPorts::bind()?;
        let (refusing, silent) = closed.ports()?;
        let ports = PeerPorts { open: peer_port, refusing, silent };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| SwarmError::System { action: "make a runtime for its seeders", source })?;

        let utp_seeders = utp_seeders::bind(&population, peer_port)?;
        let counters = Arc::new(Counters::default());
        let stop_dht = Arc::new(AtomicBool::new(false));
        let (stop_seeders, seeders_stopped) = oneshot::channel();
        // From here on an early return drops the swarm, which ends what was begun.
        let mut swarm = Self {
            population: Arc::clone(&population),
            counters: Arc::clone(&counters),
            dht_port,
            ports,
            _closed: closed,
            stop_dht: Arc::clone(&stop_dht),
            stop_seeders: Some(stop_seeders),
            threads: Vec::with_capacity(2),
        };
        let nodes = Dht::new(Arc::clone(&population), Arc::clone(&counters), dht_port, ports);
        swarm.thread("swarm-dht", move || dht::serve(nodes, datagrams, Clock::start(), &stop_dht))?;
        swarm.thread("swarm-seeders", move || {
            if let Err(error) =
                runtime.block_on(seeders::serve(listener, utp_seeders, population, counters, seeders_stopped))
            {
                tracing::error!(%error, "the swarm's seeders ended");
            }
        })?;
        Ok(swarm)
    }

    /// Ends the swarm and waits for its threads, at most a tenth of a second. Dropping it does the same.
    pub fn stop(self) {
        drop(self);
    }

    /// Live nodes to begin with, spread over the keyspace.
    pub fn bootstrap(&self) -> Vec<SocketAddr> {
        let nodes = self.population.config.nodes;
        let step = nodes.div_ceil(BOOTSTRAP_NODES).max(1);
        (0..nodes).step_by(step).map(|node| self.node_endpoint(node as u32)).collect()
    }

    /// Every live node.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, SocketAddr)> {
        (0..self.population.config.nodes as u32)
            .map(|node| (self.population.node_id(node), self.node_endpoint(node)))
    }

    /// Every torrent, made as the iterator comes to it: what a correct indexer must have found in the end.
    pub fn torrents(&self) -> impl Iterator<Item = Torrent> {
        (0..self.torrent_count() as u32).map(|index| self.torrent(index))
    }

    /// Torrent `index`, below [`Swarm::torrent_count`].
    pub fn torrent(&self, index: u32) -> Torrent {
        torrent::generate(self.population.config.seed, index).0
    }

    /// The info dict of torrent `index`, byte for byte as its seeders serve it.
    pub fn info_dict(&self, index: u32) -> Vec<u8> {
        torrent::generate(self.population.config.seed, index).1
    }

    /// Torrents in the swarm.
    pub fn torrent_count(&self) -> usize {
        self.population.config.torrents
    }

    /// Endpoints of the seeders of torrent `index`.
    pub fn seeders(&self, index: u32) -> impl Iterator<Item = SocketAddr> {
        self.population.seeder_endpoints(index, self.ports).map(SocketAddr::V4)
    }

    /// The UDP port of all nodes.
    pub fn dht_port(&self) -> u16 {
        self.dht_port
    }

    /// The TCP port of all seeders.
    pub fn peer_port(&self) -> u16 {
        self.ports.open
    }

    /// What has been counted so far.
    pub fn stats(&self) -> SwarmStats {
        self.counters.read()
    }

    fn node_endpoint(&self, node: u32) -> SocketAddr {
        SocketAddr::from((address::of_node(node), self.dht_port))
    }

    fn thread(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), SwarmError> {
        let thread = Builder::new().name(name.to_owned()).spawn(run);
        self.threads.push(thread.map_err(|source| SwarmError::System { action: "start a thread", source })?);
        Ok(())
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        self.stop_dht.store(true, Ordering::Relaxed);
        drop(self.stop_seeders.take());
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the swarm panicked");
            }
        }
    }
}
