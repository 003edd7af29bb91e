//! How datagrams travel: late, not at all, or twice.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

/// What happens to datagrams between an outsider and a node, each way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Network {
    /// Share of datagrams that are lost, 0 to 1.
    pub loss: f64,
    /// Share of datagrams that arrive twice, 0 to 1.
    pub duplication: f64,
    /// Least and greatest time that a datagram takes, in milliseconds; drawn evenly, so datagrams overtake each other.
    pub latency_ms: (u64, u64),
    /// Nothing gets through.
    pub cut: bool,
    /// Share of all addresses that are on the other side of a partition: nothing gets to them or from them.
    pub beyond: f64,
}

impl Network {
    /// 5 to 80 ms, no datagram twice, everybody reachable.
    pub fn with_loss(loss: f64) -> Network {
        Network { loss, duplication: 0.0, latency_ms: (5, 80), cut: false, beyond: 0.0 }
    }

    /// When the copies of a datagram arrive, in how much time from now: none when it is lost.
    pub(super) fn travel(&self, from: SocketAddr, to: SocketAddr, rng: &mut StdRng) -> [Option<Duration>; 2] {
        if self.cut || self.separates(from, to) || (self.loss > 0.0 && rng.random_bool(self.loss)) {
            return [None; 2];
        }
        let (least, most) = self.latency_ms;
        let time = |rng: &mut StdRng| Some(Duration::from_millis(rng.random_range(least..=most)));
        let first = time(rng);
        let twice = self.duplication > 0.0 && rng.random_bool(self.duplication);
        [first, if twice { time(rng) } else { None }]
    }

    fn separates(&self, from: SocketAddr, to: SocketAddr) -> bool {
        self.beyond > 0.0 && (self.is_beyond(from.ip()) != self.is_beyond(to.ip()))
    }

    /// Whether an address is on the other side; those of 90.0.0.0/8 and 2a0a::/16, where outsiders live by custom, never.
    fn is_beyond(&self, ip: IpAddr) -> bool {
        let number = match ip {
            IpAddr::V4(ip) if ip.octets()[0] == 90 => return false,
            IpAddr::V6(ip) if ip.segments()[0] == 0x2a0a => return false,
            IpAddr::V4(ip) => u64::from(ip.to_bits()),
            IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64,
        };
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 11) as f64 / ((1_u64 << 53) as f64)
            < self.beyond
    }
}

/// A datagram on its way, or just arrived.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Packet {
    /// Who sent it.
    pub from: SocketAddr,
    /// Whom it is for.
    pub to: SocketAddr,
    /// Its content.
    pub bytes: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn arrivals(network: &Network, to: &str) -> usize {
        let mut rng = StdRng::seed_from_u64(1);
        let (from, to) = ("90.0.0.7:1".parse().unwrap(), to.parse().unwrap());
        (0..1_000).flat_map(|_| network.travel(from, to, &mut rng)).flatten().count()
    }

    #[test]
    fn datagrams_are_lost_and_doubled_as_often_as_asked_for() {
        let network = Network::with_loss(0.0);
        assert_eq!(arrivals(&network, "64.0.0.7:1"), 1_000);
        let lossy = Network { loss: 0.3, ..network };
        assert!((650..750).contains(&arrivals(&lossy, "64.0.0.7:1")));
        let doubling = Network { duplication: 0.2, ..network };
        assert!((1_150..1_250).contains(&arrivals(&doubling, "64.0.0.7:1")));
        assert_eq!(arrivals(&Network { cut: true, ..network }, "64.0.0.7:1"), 0);
    }

    #[test]
    fn a_partition_takes_away_its_share_of_the_addresses() {
        let network = Network { beyond: 0.4, ..Network::with_loss(0.0) };
        let far = (0..1_000_u32)
            .filter(|n| arrivals(&network, &format!("64.{}.{}.7:6881", n / 256, n % 256)) == 0)
            .count();
        assert!((340..460).contains(&far), "{far}");
    }
}
