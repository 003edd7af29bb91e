//! What a [`Dht`](crate::Dht) is told once, at its start.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use krpc::{ClientVersion, NodeId};

use crate::freshness::Decay;

/// Which of the configured UDP ports; an index into [`Config::ports`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortIndex(pub u16);

/// One UDP port that the program has bound for the DHT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// The local address. Its family decides which remotes the port can speak to, and a
    /// specified IP is remembered as one of ours, so that we never speak to ourselves.
    pub local: SocketAddr,
}

/// One virtual node: a point of the keyspace behind one of the ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VirtualNodeConfig {
    /// The id it has towards the network.
    pub id: NodeId,
    /// The port it sends from and is reached at.
    pub port: PortIndex,
}

/// Everything a [`Dht`](crate::Dht) depends on, besides time and datagrams.
#[derive(Debug, Clone)]
pub struct Config {
    /// Seed of all randomness: same seed, same datagrams and same times give the same output.
    pub seed: [u8; 32],
    /// At least one, at most [`PORTS_MAX`].
    pub ports: Vec<Port>,
    /// At least one, at most [`VIRTUAL_NODES_MAX`].
    pub nodes: Vec<VirtualNodeConfig>,
    /// Addresses to enter the network by; more can come by `Dht::add_bootstrap`.
    pub bootstrap: Vec<SocketAddr>,
    /// Accept contacts in 127.0.0.0/8 and `::1`, and drop the subnet caps: true when bound to loopback.
    pub allow_loopback: bool,
    /// Floor under the `interval` that nodes advertise (BEP 51). Default 300 s.
    pub min_sample_interval: Duration,
    /// A node not checked for this long is checked again. Default 6 h: the interval that
    /// libtorrent advertises, so one check serves freshness and sampling.
    pub epoch: Duration,
    /// What a node loses when it is not reached.
    pub decay: Decay,
    /// A silent node is asked again, after some rest, while it is about this likely that it lives, as the measured loss
    /// and share of dead contacts say: 0 to 1, default 0.045. With it a network of which 40 % is dead takes 2.7 packets
    /// for each live node on a line that loses a tenth of the exchanges, and more than 98 % of the live nodes are found.
    pub retry_worth: f64,
    /// The `v` of our messages.
    pub version: ClientVersion,
    /// BEP 43: whether we say that we cannot be reached from outside, and answer nothing.
    pub read_only: ReadOnly,
    /// Local addresses (of [`ports`](Config::ports)) with the external ones that an earlier run has found out for them.
    pub known_external: Vec<(IpAddr, IpAddr)>,
    /// Budgets and bounds.
    pub limits: Limits,
}

impl Config {
    /// A configuration with all defaults for these ports and nodes.
    pub fn new(seed: [u8; 32], ports: Vec<Port>, nodes: Vec<VirtualNodeConfig>) -> Config {
        Config {
            seed,
            ports,
            nodes,
            bootstrap: Vec::new(),
            allow_loopback: false,
            min_sample_interval: MIN_SAMPLE_INTERVAL,
            epoch: EPOCH,
            decay: Decay::default(),
            retry_worth: RETRY_WORTH,
            version: VERSION,
            read_only: ReadOnly::Off,
            known_external: Vec::new(),
            limits: Limits::home(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.ports.is_empty() || self.ports.len() > PORTS_MAX {
            return Err(ConfigError::Ports(self.ports.len()));
        }
        if self.nodes.is_empty() || self.nodes.len() > VIRTUAL_NODES_MAX {
            return Err(ConfigError::Nodes(self.nodes.len()));
        }
        for (index, node) in self.nodes.iter().enumerate() {
            if usize::from(node.port.0) >= self.ports.len() {
                return Err(ConfigError::NoSuchPort { node: index, port: node.port.0 });
            }
        }
        let mut ids: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
        ids.sort_unstable();
        if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ConfigError::IdTwice(pair[0]));
        }
        if !(0.0..=1.0).contains(&self.retry_worth) {
            return Err(ConfigError::RetryWorth(self.retry_worth));
        }
        let limits = &self.limits;
        for (name, value) in [
            ("packets_per_second", u64::from(limits.packets_per_second)),
            ("bytes_per_second", u64::from(limits.bytes_per_second)),
            ("new_endpoints_per_minute", u64::from(limits.new_endpoints_per_minute)),
            ("nodes_max", limits.nodes_max as u64),
            ("contacts_max", limits.contacts_max as u64),
            ("lookups_max", limits.lookups_max as u64),
            ("visits_max", limits.visits_max as u64),
            ("queries_max", limits.queries_max as u64),
        ] {
            if value == 0 {
                return Err(ConfigError::Zero(name));
            }
        }
        Ok(())
    }
}

/// Whether our nodes are read-only (BEP 43).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ReadOnly {
    /// They answer, come what may.
    #[default]
    Off,
    /// They are.
    On,
    /// Those behind a port are that nobody from outside reaches (see [`Reachability`](crate::Reachability)).
    Auto,
}

/// Budgets towards the network and bounds of what is kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Datagrams sent a second, answers included. A quarter is kept for answers.
    pub packets_per_second: u32,
    /// Bytes of datagrams sent a second, answers included, without the 28 (IPv6: 48) bytes of header of each. A quarter is
    /// kept for answers.
    pub bytes_per_second: u32,
    /// Remote endpoints a minute that we start to speak to: each costs a home router a NAT entry.
    pub new_endpoints_per_minute: u32,
    /// Nodes kept in the node table, about 250 bytes each.
    pub nodes_max: usize,
    /// Verified contacts shared by all routing tables, 32 bytes each per family.
    pub contacts_max: usize,
    /// Lookups in flight.
    pub lookups_max: usize,
    /// Lookups that wait for one in flight to end; beyond it `find_peers` says `Busy`.
    pub lookups_waiting_max: usize,
    /// Nodes that the sampler visits at the same time.
    pub visits_max: usize,
    /// Queries without an answer yet.
    pub queries_max: usize,
    /// Answers that wait for the budget of their remote.
    pub answers_waiting_max: usize,
    /// Info-hashes for which announced peers are kept.
    pub stored_hashes_max: usize,
}

impl Limits {
    /// For a line behind a home router: the default.
    pub const fn home() -> Limits {
        Limits {
            packets_per_second: 150,
            bytes_per_second: 50_000,
            new_endpoints_per_minute: 1_200,
            nodes_max: 200_000,
            contacts_max: 100_000,
            lookups_max: 256,
            lookups_waiting_max: 4_096,
            visits_max: 512,
            queries_max: 8_192,
            answers_waiting_max: 4_096,
            stored_hashes_max: 20_000,
        }
    }

    /// For a small server with an address of its own.
    pub const fn vps() -> Limits {
        Limits {
            packets_per_second: 1_000,
            bytes_per_second: 400_000,
            new_endpoints_per_minute: 20_000,
            nodes_max: 1_000_000,
            contacts_max: 400_000,
            lookups_max: 1_024,
            lookups_waiting_max: 16_384,
            visits_max: 2_048,
            queries_max: 32_768,
            answers_waiting_max: 16_384,
            stored_hashes_max: 100_000,
        }
    }

    /// For a server whose only task this is, and for the loopback swarm.
    pub const fn server() -> Limits {
        Limits {
            packets_per_second: 10_000,
            bytes_per_second: 4_000_000,
            new_endpoints_per_minute: 200_000,
            nodes_max: 4_000_000,
            contacts_max: 1_500_000,
            lookups_max: 4_096,
            lookups_waiting_max: 65_536,
            visits_max: 8_192,
            queries_max: 131_072,
            answers_waiting_max: 65_536,
            stored_hashes_max: 400_000,
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::home()
    }
}

/// Why a configuration cannot work.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// No port at all, or more than an index can name.
    #[error("{0} UDP ports are configured, between 1 and {PORTS_MAX} can be used")]
    Ports(usize),
    /// No virtual node at all, or more than an index can name.
    #[error("{0} virtual nodes are configured, between 1 and {VIRTUAL_NODES_MAX} can be used")]
    Nodes(usize),
    /// A virtual node names a port that is not configured.
    #[error("virtual node {node} uses port number {port}, which is not configured")]
    NoSuchPort {
        /// Index of the virtual node.
        node: usize,
        /// The port it names.
        port: u16,
    },
    /// Two virtual nodes have one id: nothing could tell them apart.
    #[error("two virtual nodes have the id {0}")]
    IdTwice(NodeId),
    /// A probability outside of 0 to 1.
    #[error("retry_worth is {0}, it has to be a probability between 0 and 1")]
    RetryWorth(f64),
    /// A limit of zero, with which nothing would ever be sent or kept.
    #[error("the limit {0} is 0, it has to be at least 1")]
    Zero(&'static str),
}

/// `v` of our messages: two letters for the client, two bytes for its version.
pub const VERSION: ClientVersion = ClientVersion::from_bytes(*b"TX\x00\x01");

/// Default of [`Config::min_sample_interval`].
pub const MIN_SAMPLE_INTERVAL: Duration = Duration::from_secs(300);

/// Default of [`Config::epoch`].
pub const EPOCH: Duration = Duration::from_secs(6 * 3600);

/// More ports on one IP gain nothing (BEP 45); this leaves room for many IPs.
pub const PORTS_MAX: usize = 4_096;

/// Default of [`Config::retry_worth`].
const RETRY_WORTH: f64 = 0.045;

/// Ten times what one process is meant to hold.
pub const VIRTUAL_NODES_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let node = |n| VirtualNodeConfig { id: NodeId::from_bytes([n; 20]), port: PortIndex(0) };
        let port = Port { local: ([0, 0, 0, 0], 6_881).into() };
        Config::new([1; 32], vec![port], vec![node(1), node(2)])
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_reason() {
        assert_eq!(config().check(), Ok(()));
        let refused = |change: fn(&mut Config)| {
            let mut config = config();
            change(&mut config);
            config.check().unwrap_err()
        };
        assert_eq!(refused(|config| config.ports.clear()), ConfigError::Ports(0));
        assert_eq!(refused(|config| config.nodes.clear()), ConfigError::Nodes(0));
        assert_eq!(
            refused(|config| config.nodes[1].port = PortIndex(1)),
            ConfigError::NoSuchPort { node: 1, port: 1 }
        );
        let id = NodeId::from_bytes([1; 20]);
        assert_eq!(refused(|config| config.nodes[1].id = config.nodes[0].id), ConfigError::IdTwice(id));
        assert_eq!(refused(|config| config.limits.visits_max = 0), ConfigError::Zero("visits_max"));
        assert_eq!(refused(|config| config.retry_worth = 2.0), ConfigError::RetryWorth(2.0));
    }
}
