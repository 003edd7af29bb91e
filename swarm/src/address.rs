//! Who lives where in 127.0.0.0/8.
//!
//! Nodes: 127.1.0.0 to 127.127.255.255, one in each /24 before any /24 gets a second one, since routing tables
//! keep few contacts of one /24. Seeders: 127.128.0.0 to 127.191.255.255. 127.0.0.0/16 is left to who uses the
//! swarm.

use std::net::{Ipv4Addr, SocketAddrV4};

/// /24 networks with nodes.
const NODE_NETWORKS: usize = 127 * 256;
/// Hosts used in a /24: .1 to .254.
const HOSTS: usize = 254;
/// /24 networks with seeders.
const PEER_NETWORKS: usize = 64 * 256;
const PEER_FIRST: u32 = u32::from_be_bytes([127, 128, 0, 0]);
const NODE_FIRST: u32 = u32::from_be_bytes([127, 1, 0, 0]);

/// Nodes that have room, dead ones included.
pub(crate) const NODE_ADDRESSES: usize = NODE_NETWORKS * HOSTS;
/// Seeders that have room.
pub(crate) const PEER_ADDRESSES: usize = PEER_NETWORKS * HOSTS;

/// Address of node `index`, below [`NODE_ADDRESSES`].
pub(crate) fn of_node(index: u32) -> Ipv4Addr {
    place(NODE_FIRST, NODE_NETWORKS as u32, index)
}

/// The node at `address`, if nodes live there at all: the caller compares with its number of nodes.
pub(crate) fn node_at(address: Ipv4Addr) -> Option<u32> {
    index(NODE_FIRST, NODE_NETWORKS as u32, address)
}

/// Address of seeder `index`, below [`PEER_ADDRESSES`].
pub(crate) fn of_peer(index: u32) -> Ipv4Addr {
    place(PEER_FIRST, PEER_NETWORKS as u32, index)
}

/// The seeder at `address`.
pub(crate) fn peer_at(address: Ipv4Addr) -> Option<u32> {
    index(PEER_FIRST, PEER_NETWORKS as u32, address)
}

/// Whether the swarm may send there. Everything else is somebody else's machine.
pub(crate) fn is_loopback(to: &SocketAddrV4) -> bool {
    to.ip().is_loopback() && to.port() != 0
}

fn place(first: u32, networks: u32, index: u32) -> Ipv4Addr {
    Ipv4Addr::from(first + ((index % networks) << 8) + 1 + index / networks)
}

fn index(first: u32, networks: u32, address: Ipv4Addr) -> Option<u32> {
    let offset = u32::from(address).checked_sub(first)?;
    let (network, host) = (offset >> 8, offset & 0xff);
    (network < networks && (1..=HOSTS as u32).contains(&host)).then(|| (host - 1) * networks + network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_back_to_its_node_or_seeder() {
        for index in [0, 1, 255, 256, 32_511, 32_512, 100_000, NODE_ADDRESSES as u32 - 1] {
            assert_eq!(node_at(of_node(index)), Some(index));
            assert_eq!(peer_at(of_node(index)), None);
        }
        for index in [0, 77, 16_384, PEER_ADDRESSES as u32 - 1] {
            assert_eq!(peer_at(of_peer(index)), Some(index));
            assert_eq!(node_at(of_peer(index)), None);
        }
        assert_eq!(node_at(Ipv4Addr::new(127, 0, 0, 1)), None);
        assert_eq!(node_at(Ipv4Addr::new(127, 1, 0, 0)), None, "no host lives at .0");
        assert_eq!(of_node(NODE_ADDRESSES as u32 - 1), Ipv4Addr::new(127, 127, 255, 254));
    }

    #[test]
    fn a_24_gets_a_second_node_only_when_all_have_one() {
        let networks: std::collections::HashSet<_> =
            (0..NODE_NETWORKS as u32).map(|i| u32::from(of_node(i)) >> 8).collect();
        assert_eq!(networks.len(), NODE_NETWORKS);
    }

    #[test]
    fn only_loopback_is_ever_a_destination() {
        assert!(is_loopback(&SocketAddrV4::new(Ipv4Addr::new(127, 9, 8, 7), 6881)));
        assert!(!is_loopback(&SocketAddrV4::new(Ipv4Addr::new(128, 0, 0, 1), 6881)));
        assert!(!is_loopback(&SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 1), 0)));
    }
}
