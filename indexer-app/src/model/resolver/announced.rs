//! Peers that announced themselves to us, until their hash is fetched.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
};

use krpc::InfoHash;

/// Hashes with announced peers that are kept until they are fetched: 10,000 of some 200 bytes.
const HASHES_MAX: usize = 10_000;

/// Announced peers kept per hash: more than are tried at once.
const PEERS_MAX: usize = 8;

/// The announced peers of hashes that are not in flight.
#[derive(Debug, Default)]
pub(super) struct AnnouncedPeers {
    peers: HashMap<InfoHash, Vec<SocketAddr>>,
    order: VecDeque<InfoHash>,
}

impl AnnouncedPeers {
    /// A peer has announced itself; whether it is the first for its hash.
    pub(super) fn add(&mut self, hash: InfoHash, peer: SocketAddr) -> bool {
        let is_first = !self.peers.contains_key(&hash);
        if is_first {
            // Of some of these the peers were taken meanwhile.
            while self.peers.len() >= HASHES_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.peers.remove(&oldest);
            }
            self.order.push_back(hash);
        }
        let peers = self.peers.entry(hash).or_default();
        if peers.len() < PEERS_MAX && !peers.contains(&peer) {
            peers.push(peer);
        }
        // Hashes that were started have left their place in the order behind.
        if self.order.len() > 2 * HASHES_MAX {
            let peers = &self.peers;
            self.order.retain(|hash| peers.contains_key(hash));
        }
        is_first
    }

    /// The peers of a hash, which are not kept any longer.
    pub(super) fn take(&mut self, hash: &InfoHash) -> Vec<SocketAddr> {
        self.peers.remove(hash).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u32) -> InfoHash {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        InfoHash::from_bytes(bytes)
    }

    #[test]
    fn the_peers_of_the_latest_hashes_are_kept_each_once() {
        let mut announced = AnnouncedPeers::default();
        let peer = |port| SocketAddr::from(([127, 0, 0, 1], port));
        for n in 0..3 * HASHES_MAX as u32 {
            assert!(announced.add(hash(n), peer(1)));
            assert!(!announced.add(hash(n), peer(1)));
            assert!(announced.peers.len() <= HASHES_MAX && announced.order.len() <= 2 * HASHES_MAX);
        }
        assert_eq!(announced.take(&hash(0)), []);
        let latest = hash(3 * HASHES_MAX as u32 - 1);
        for port in 1..100 {
            announced.add(latest, peer(port));
        }
        assert_eq!(announced.take(&latest), (1..=PEERS_MAX as u16).map(peer).collect::<Vec<_>>());
        assert_eq!(announced.take(&latest), []);
    }
}
