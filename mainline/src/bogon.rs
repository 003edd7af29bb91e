//! Addresses that nobody on the internet can have, and our own: contacts to leave out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Why an address is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unusable {
    /// Port 0 cannot be sent to.
    PortZero,
    /// 127.0.0.0/8 or `::1`, where not allowed.
    Loopback,
    /// In a range that is not routed on the internet.
    Bogon,
    /// One of our own endpoints.
    Own,
}

/// Tells usable addresses from others.
#[derive(Debug, Clone)]
pub struct AddressFilter {
    allow_loopback: bool,
    /// Our own endpoints: the ports on all addresses known to be ours.
    own_ips: Vec<IpAddr>,
    own_ports: Vec<u16>,
}

impl AddressFilter {
    /// A filter that knows our local addresses, of which the unspecified ones say only the port. On loopback,
    /// with `allow_loopback`, 127.0.0.0/8 and `::1` are usable.
    pub fn new(local: impl IntoIterator<Item = SocketAddr>, allow_loopback: bool) -> AddressFilter {
        let mut filter = AddressFilter { allow_loopback, own_ips: Vec::new(), own_ports: Vec::new() };
        for addr in local {
            if !filter.own_ports.contains(&addr.port()) {
                filter.own_ports.push(addr.port());
            }
            if !addr.ip().is_unspecified() {
                filter.add_own(addr.ip());
            }
        }
        filter.own_ports.sort_unstable();
        filter
    }

    /// An address has turned out to be ours (see [`ExternalAddress`](crate::external_address::ExternalAddress)). Of
    /// more than [`OWN_IPS_MAX`] the oldest is forgotten.
    pub fn add_own(&mut self, ip: IpAddr) {
        let ip = ip.to_canonical();
        if self.own_ips.contains(&ip) {
            return;
        }
        if self.own_ips.len() >= OWN_IPS_MAX {
            self.own_ips.remove(0);
        }
        self.own_ips.push(ip);
    }

    /// Whether an endpoint can be spoken to, or be that of a remote.
    #[inline]
    pub fn check(&self, addr: SocketAddr) -> Result<(), Unusable> {
        if addr.port() == 0 {
            return Err(Unusable::PortZero);
        }
        let ip = addr.ip().to_canonical();
        self.check_ip(ip)?;
        let own = self.own_ports.binary_search(&addr.port()).is_ok() && self.own_ips.contains(&ip);
        if own { Err(Unusable::Own) } else { Ok(()) }
    }

    /// Whether an address can be one on the internet.
    #[inline]
    pub fn check_ip(&self, ip: IpAddr) -> Result<(), Unusable> {
        let ip = ip.to_canonical();
        if ip.is_loopback() {
            return if self.allow_loopback { Ok(()) } else { Err(Unusable::Loopback) };
        }
        let bogon = match ip {
            IpAddr::V4(ip) => is_bogon_v4(ip),
            IpAddr::V6(ip) => is_bogon_v6(ip),
        };
        if bogon { Err(Unusable::Bogon) } else { Ok(()) }
    }
}

/// Not globally reachable by the IANA registry of special-purpose IPv4 addresses (RFC 6890 and those it
/// names), loopback included.
#[inline]
pub fn is_bogon_v4(ip: Ipv4Addr) -> bool {
    let bits = ip.to_bits();
    BOGONS_V4.iter().any(|(net, prefix)| (bits ^ net.to_bits()) >> (32 - prefix) == 0)
}

/// Not in 2000::/3, the only range in which global unicast addresses are given out (RFC 4291, IANA), or in
/// a part of it that is documentation or tunnels of IPv4.
#[inline]
pub fn is_bogon_v6(ip: Ipv6Addr) -> bool {
    let bits = ip.to_bits();
    bits >> 125 != 1 || BOGONS_V6.iter().any(|(net, prefix)| (bits ^ net.to_bits()) >> (128 - prefix) == 0)
}

/// Whether libtorrent (by its default settings for restricting the DHT) silently ignores packets from an
/// address: a node there gets no answers from the most common client.
pub fn is_ignored_by_libtorrent(ip: Ipv4Addr) -> bool {
    LIBTORRENT_IGNORES.contains(&ip.octets()[0])
}

/// First octets of the networks that libtorrent ignores. Large clouds lie in several of them.
pub const LIBTORRENT_IGNORES: [u8; 17] = [3, 6, 7, 9, 11, 19, 21, 22, 25, 26, 28, 29, 30, 33, 34, 48, 56];

const BOGONS_V4: [(Ipv4Addr, u32); 15] = [
    // "This network" (RFC 791).
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    // Private use (RFC 1918).
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    // Behind carriers' NAT (RFC 6598).
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    // Loopback (RFC 1122).
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    // Link local (RFC 3927).
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    // Private use (RFC 1918).
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    // IETF protocol assignments (RFC 6890).
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    // Documentation (RFC 5737).
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    // Former 6to4 relays (RFC 7526).
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    // Private use (RFC 1918).
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    // Benchmarks (RFC 2544).
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    // Documentation (RFC 5737).
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // Multicast (RFC 5771).
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    // Reserved (RFC 1112), limited broadcast among it (RFC 919).
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

const BOGONS_V6: [(Ipv6Addr, u32); 4] = [
    // IETF protocol assignments, Teredo and ORCHID among them (RFC 2928, 4380, 7343).
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    // Documentation (RFC 3849).
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    // 6to4 (RFC 7526).
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    // Documentation (RFC 9637).
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Addresses of a well-equipped server; a remote cannot make us believe in many more.
pub const OWN_IPS_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(allow_loopback: bool) -> AddressFilter {
        let local = ["0.0.0.0:6881", "127.0.0.1:7000", "[::]:6881"].map(|addr| addr.parse().unwrap());
        AddressFilter::new(local, allow_loopback)
    }

    fn check(filter: &AddressFilter, addr: &str) -> Result<(), Unusable> {
        filter.check(addr.parse().unwrap())
    }

    #[test]
    fn addresses_of_the_internet_are_usable() {
        for addr in [
            "8.8.8.8:1",
            "100.63.0.1:1",
            "100.128.0.1:1",
            "172.32.0.1:1",
            "198.20.0.1:1",
            "223.255.255.255:1",
        ] {
            assert_eq!(check(&filter(false), addr), Ok(()), "{addr}");
        }
        for addr in ["[2a00:1450::1]:1", "[2400:cb00::1]:1", "[2003::1]:1", "[3ffe::1]:1"] {
            assert_eq!(check(&filter(false), addr), Ok(()), "{addr}");
        }
    }

    #[test]
    fn addresses_that_nobody_there_can_have_are_not() {
        for addr in [
            "0.1.2.3:1",
            "10.0.0.1:1",
            "100.64.0.1:1",
            "100.127.255.255:1",
            "169.254.1.1:1",
            "172.16.0.1:1",
            "172.31.255.255:1",
            "192.0.0.1:1",
            "192.0.2.1:1",
            "192.88.99.1:1",
            "192.168.1.1:1",
            "198.18.0.1:1",
            "198.19.255.255:1",
            "198.51.100.1:1",
            "203.0.113.1:1",
            "224.0.0.1:1",
            "240.0.0.1:1",
            "255.255.255.255:1",
            "[::]:1",
            "[fe80::1]:1",
            "[fc00::1]:1",
            "[ff02::1]:1",
            "[64:ff9b::1]:1",
            "[2001::1]:1",
            "[2001:db8::1]:1",
            "[2002::1]:1",
            "[3fff:fff::1]:1",
            "[::ffff:10.0.0.1]:1",
        ] {
            assert_eq!(check(&filter(true), addr), Err(Unusable::Bogon), "{addr}");
        }
    }

    #[test]
    fn loopback_is_usable_only_where_allowed() {
        for addr in ["127.0.0.2:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(check(&filter(false), addr), Err(Unusable::Loopback), "{addr}");
            assert_eq!(check(&filter(true), addr), Ok(()), "{addr}");
        }
    }

    #[test]
    fn port_zero_and_our_own_endpoints_are_not_usable() {
        let mut filter = filter(true);
        assert_eq!(check(&filter, "8.8.8.8:0"), Err(Unusable::PortZero));
        assert_eq!(check(&filter, "127.0.0.1:7000"), Err(Unusable::Own));
        assert_eq!(check(&filter, "127.0.0.1:7001"), Ok(()));
        assert_eq!(check(&filter, "8.8.8.8:6881"), Ok(()));
        filter.add_own("8.8.8.8".parse().unwrap());
        assert_eq!(check(&filter, "8.8.8.8:6881"), Err(Unusable::Own));
        assert_eq!(check(&filter, "8.8.8.8:6882"), Ok(()));
        for n in 0..2 * OWN_IPS_MAX as u32 {
            filter.add_own(IpAddr::from(Ipv4Addr::from_bits(n)));
        }
        assert_eq!(filter.own_ips.len(), OWN_IPS_MAX);
    }

    #[test]
    fn libtorrent_ignores_some_clouds() {
        assert!(is_ignored_by_libtorrent(Ipv4Addr::new(34, 1, 2, 3)));
        assert!(!is_ignored_by_libtorrent(Ipv4Addr::new(85, 1, 2, 3)));
    }
}
