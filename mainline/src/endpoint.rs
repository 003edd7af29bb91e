//! A remote's address in 18 bytes instead of the 32 of `SocketAddr`, as tables keep it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::virtual_node::Family;

/// IP and port; an IPv4 address is kept as its IPv6-mapped form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Endpoint {
    ip: [u8; 16],
    port: u16,
}

impl Endpoint {
    pub(crate) fn addr(&self) -> SocketAddr {
        SocketAddr::new(Ipv6Addr::from(self.ip).to_canonical(), self.port)
    }

    pub(crate) fn ip(&self) -> IpAddr {
        Ipv6Addr::from(self.ip).to_canonical()
    }

    pub(crate) fn family(&self) -> Family {
        Family::of(self.ip())
    }

    pub(crate) fn is_v4(&self) -> bool {
        self.ip().is_ipv4()
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(addr: SocketAddr) -> Endpoint {
        let ip = match addr.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        Endpoint { ip, port: addr.port() }
    }
}

/// The network that a remote is in: /24 of IPv4, /64 of IPv6, as libtorrent counts diversity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Subnet(u64);

impl Subnet {
    pub(crate) fn of(addr: SocketAddr) -> Subnet {
        match addr.ip().to_canonical() {
            // No global IPv6 network begins with 0, so the two ranges do not meet.
            IpAddr::V4(ip) => Subnet(u64::from(u32::from(ip) >> 8)),
            IpAddr::V6(ip) => Subnet((u128::from(ip) >> 64) as u64),
        }
    }
}

/// What one party is given at most without having to say why: a /24 of IPv4, a /48 of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Network(u64);

impl Network {
    pub(crate) fn of(ip: IpAddr) -> Network {
        match ip.to_canonical() {
            // No global IPv6 network begins with 0, so the two ranges do not meet.
            IpAddr::V4(ip) => Network(u64::from(ip.to_bits() >> 8)),
            IpAddr::V6(ip) => Network((ip.to_bits() >> 80) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_being_made_compact() {
        for text in ["192.0.2.1:6881", "[2001:db8::1]:1", "127.0.0.1:0"] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(Endpoint::from(addr).addr(), addr);
            assert_eq!(Endpoint::from(addr).ip(), addr.ip());
            assert_eq!(Endpoint::from(addr).is_v4(), addr.is_ipv4());
        }
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        let mapped: SocketAddr = "[::ffff:192.0.2.1]:6881".parse().unwrap();
        assert_eq!(Endpoint::from(mapped).addr(), "192.0.2.1:6881".parse().unwrap());
    }

    #[test]
    fn a_subnet_is_24_bits_of_ipv4_and_64_of_ipv6() {
        let subnet = |text: &str| Subnet::of(text.parse().unwrap());
        assert_eq!(subnet("192.0.2.1:1"), subnet("192.0.2.200:2"));
        assert_ne!(subnet("192.0.2.1:1"), subnet("192.0.3.1:1"));
        assert_eq!(subnet("[2001:db8::1]:1"), subnet("[2001:db8::ffff:1]:2"));
        assert_ne!(subnet("[2001:db8::1]:1"), subnet("[2001:db8:0:1::1]:1"));
        assert_eq!(subnet("[::ffff:192.0.2.1]:1"), subnet("192.0.2.200:2"));
    }

    #[test]
    fn a_network_is_24_bits_of_ipv4_and_48_of_ipv6() {
        let network = |text: &str| Network::of(text.parse().unwrap());
        assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.200"));
        assert_ne!(network("192.0.2.1"), network("192.0.3.1"));
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:ffff::1"));
        assert_ne!(network("2001:db8:1::1"), network("2001:db8:2::1"));
    }
}
