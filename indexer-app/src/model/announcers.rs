//! From how many networks each hash was announced lately.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
};

use krpc::InfoHash;

/// Hashes remembered: some 4 MB.
const HASHES_MAX: usize = 50_000;

/// Networks that make it often: one peer that announces again and again stays one, and three that agree to lie cost more
/// than the place in the queue is worth.
const OFTEN: usize = 3;

/// How often a hash was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// From fewer networks than make it often.
    Seldom,
    /// From the last network that was missing.
    OftenNow,
    /// From so many before.
    Often,
}

/// Remembers who announced what; the oldest hashes are forgotten.
#[derive(Debug, Default)]
pub(super) struct Announcers {
    networks: HashMap<InfoHash, Vec<u64>>,
    order: VecDeque<InfoHash>,
}

impl Announcers {
    /// A peer at this address announced itself.
    pub(super) fn hear(&mut self, hash: InfoHash, ip: IpAddr) -> Heard {
        if !self.networks.contains_key(&hash) {
            if self.order.len() >= HASHES_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.networks.remove(&oldest);
            }
            self.order.push_back(hash);
        }
        let networks = self.networks.entry(hash).or_default();
        if networks.len() >= OFTEN {
            return Heard::Often;
        }
        let network = network(ip);
        if !networks.contains(&network) {
            networks.push(network);
        }
        if networks.len() >= OFTEN { Heard::OftenNow } else { Heard::Seldom }
    }
}

/// The /24 or the /48: who has one has all of it.
fn network(ip: IpAddr) -> u64 {
    match ip.to_canonical() {
        IpAddr::V4(v4) => u64::from(v4.to_bits() >> 8),
        // No v4 network has a number so high.
        IpAddr::V6(v6) => (v6.to_bits() >> 80) as u64 | 1 << 63,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_hashes_are_forgotten() {
        let mut announcers = Announcers::default();
        let hash = |n: u32| {
            let mut bytes = [0; 20];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            InfoHash::from_bytes(bytes)
        };
        for n in 0..=HASHES_MAX as u32 {
            for network in 1..3 {
                announcers.hear(hash(n), IpAddr::from([network, 0, 0, 1]));
            }
        }
        assert_eq!(announcers.networks.len(), HASHES_MAX);
        assert_eq!(announcers.hear(hash(0), IpAddr::from([3, 0, 0, 1])), Heard::Seldom, "it was forgotten");
        assert_eq!(announcers.hear(hash(2), IpAddr::from([3, 0, 0, 1])), Heard::OftenNow);
        assert_eq!(announcers.hear(hash(2), IpAddr::from([3, 0, 0, 1])), Heard::Often);
    }

    #[test]
    fn a_network_is_a_24_or_a_48() {
        let network = |text: &str| network(text.parse().unwrap());
        assert_eq!(network("20.1.2.3"), network("::ffff:20.1.2.250"));
        assert_ne!(network("20.1.2.3"), network("20.1.3.3"));
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_ne!(network("2001:db8:1::1"), network("2001:db8:2::1"));
    }
}
