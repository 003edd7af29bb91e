//! Addresses as the tables see them: one family at a time, and the groups that share one fate.

use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU64;

/// An IP address of one family: contact stores and routing tables are written once and exist per family.
pub trait Address: Copy + Eq + Ord + Hash + fmt::Debug + private::Sealed {
    /// The unspecified address, which no contact has.
    const NONE: Self;

    /// This address when `ip` belongs to the family.
    fn of(ip: IpAddr) -> Option<Self>;

    /// The address in its general form.
    fn ip(self) -> IpAddr;

    /// The network that one party is likely to control as a whole: /24 of IPv4, /64 of IPv6.
    fn subnet(self) -> u64;

    /// The address and a port, for hashing.
    fn endpoint(self, port: u16) -> [u8; 18];
}

impl Address for Ipv4Addr {
    const NONE: Self = Ipv4Addr::UNSPECIFIED;

    #[inline]
    fn of(ip: IpAddr) -> Option<Self> {
        match ip {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        }
    }

    #[inline]
    fn ip(self) -> IpAddr {
        IpAddr::V4(self)
    }

    #[inline]
    fn subnet(self) -> u64 {
        u64::from(self.to_bits() >> 8)
    }

    #[inline]
    fn endpoint(self, port: u16) -> [u8; 18] {
        self.to_ipv6_mapped().endpoint(port)
    }
}

impl Address for Ipv6Addr {
    const NONE: Self = Ipv6Addr::UNSPECIFIED;

    #[inline]
    fn of(ip: IpAddr) -> Option<Self> {
        match ip {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => Some(ip),
        }
    }

    #[inline]
    fn ip(self) -> IpAddr {
        IpAddr::V6(self)
    }

    #[inline]
    fn subnet(self) -> u64 {
        (self.to_bits() >> 64) as u64
    }

    #[inline]
    fn endpoint(self, port: u16) -> [u8; 18] {
        let mut bytes = [0; 18];
        bytes[..16].copy_from_slice(&self.octets());
        bytes[16..].copy_from_slice(&port.to_be_bytes());
        bytes
    }
}

mod private {
    pub trait Sealed {}
    impl Sealed for std::net::Ipv4Addr {}
    impl Sealed for std::net::Ipv6Addr {}
}

/// One party on the network, as far as budgets and bans go: an IPv4 address, or an IPv6 /64, of
/// which one customer has all addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpKey(NonZeroU64);

impl IpKey {
    /// The party behind an address.
    #[inline]
    pub fn of(ip: IpAddr) -> IpKey {
        let key = match ip.to_canonical() {
            // Beside all /64 that are in use: 0:1::/32 is reserved.
            IpAddr::V4(ip) => 1 << 32 | u64::from(ip.to_bits()),
            IpAddr::V6(ip) => ip.subnet(),
        };
        // ::/64 holds only the unspecified and the loopback address.
        IpKey(NonZeroU64::new(key).unwrap_or(NonZeroU64::MAX))
    }

    /// The key as a number, never 0.
    #[inline]
    pub fn bits(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Debug for IpKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The one form in which an endpoint is compared: IPv4 mapped into IPv6 (which a dual-stack socket
/// reports) becomes IPv4, flow label and scope are left out.
#[inline]
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// An endpoint as 18 bytes, for hashing and storing; IPv4 is mapped into IPv6.
#[inline]
pub(crate) fn endpoint_bytes(addr: SocketAddr) -> [u8; 18] {
    match addr.ip() {
        IpAddr::V4(ip) => ip.endpoint(addr.port()),
        IpAddr::V6(ip) => ip.endpoint(addr.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> IpKey {
        IpKey::of(text.parse().unwrap())
    }

    #[test]
    fn an_ipv4_address_is_a_party_and_so_is_an_ipv6_slash_64() {
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("::1"), key("127.0.0.1"));
    }

    #[test]
    fn an_endpoint_has_one_form() {
        let mapped: SocketAddr = "[::ffff:192.0.2.1]:6881".parse().unwrap();
        assert_eq!(canonical(mapped), "192.0.2.1:6881".parse().unwrap());
        let scoped: SocketAddr = "[fe80::1%7]:6881".parse().unwrap();
        assert_eq!(canonical(scoped), "[fe80::1]:6881".parse().unwrap());
    }

    #[test]
    fn a_subnet_is_a_slash_24_or_a_slash_64() {
        assert_eq!(Ipv4Addr::new(10, 1, 2, 3).subnet(), 0x0a_0102);
        let ip: Ipv6Addr = "2001:db8:1:2:3::4".parse().unwrap();
        assert_eq!(ip.subnet(), 0x2001_0db8_0001_0002);
    }
}
