//! Endpoints that were proven to send wrong info dicts, and addresses with several of them.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use super::generations::Generations;

/// Liars remembered: from this number to twice as many, of some 60 bytes.
const LIARS_MAX: usize = 10_000;

/// How long an endpoint that has lied is not asked for anything.
const ENDPOINT_BAN: Duration = Duration::from_secs(6 * 3_600);

/// Endpoints of one address that have lied before all of it is banned: behind one address of a large network there may be
/// many peers.
const LIARS_PER_ADDRESS: u8 = 3;

/// How long an address is banned, and how far apart its lies count together. Shorter than for an endpoint: others may come to
/// have it.
const ADDRESS_BAN: Duration = Duration::from_secs(3_600);

/// Who is banned.
#[derive(Debug)]
pub(super) struct Bans {
    endpoints: Generations<SocketAddr, Duration>,
    addresses: Generations<IpAddr, Address>,
    refused: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Address {
    liars: u8,
    last: Duration,
    banned_until: Duration,
}

impl Bans {
    pub(super) fn new() -> Self {
        Self { endpoints: Generations::new(LIARS_MAX), addresses: Generations::new(LIARS_MAX), refused: 0 }
    }

    /// An endpoint has lied.
    pub(super) fn lied(&mut self, endpoint: SocketAddr, now: Duration) {
        let until = self.endpoints.entry(endpoint);
        let known = *until > now;
        *until = now + ENDPOINT_BAN;
        if known {
            return;
        }
        let address = self.addresses.entry(party(endpoint.ip()));
        if now >= address.last + ADDRESS_BAN {
            address.liars = 0;
        }
        address.liars = address.liars.saturating_add(1);
        address.last = now;
        if address.liars >= LIARS_PER_ADDRESS {
            address.banned_until = now + ADDRESS_BAN;
        }
    }

    /// Whether a peer there is not to be asked; counts those.
    pub(super) fn refuses(&mut self, endpoint: &SocketAddr, now: Duration) -> bool {
        let refuses = self.endpoints.get(endpoint).is_some_and(|until| *until > now)
            || self.addresses.get(&party(endpoint.ip())).is_some_and(|address| address.banned_until > now);
        self.refused += u64::from(refuses);
        refuses
    }

    /// Endpoints that have lied, as far as they are remembered.
    pub(super) fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Peers that were named and not asked since they are banned.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }
}

/// What one party has: an IPv4 address, or 64 bits of IPv6.
fn party(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(ip: &str, port: u16) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), port)
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_liar_is_banned_for_its_time_and_its_neighbours_are_not() {
        let mut bans = Bans::new();
        let liar = endpoint("127.0.0.1", 1);
        bans.lied(liar, at(0));
        bans.lied(liar, at(1));
        bans.lied(liar, at(2));
        assert!(bans.refuses(&liar, at(6 * 3_600)));
        assert!(!bans.refuses(&liar, at(6 * 3_600 + 2)));
        assert!(!bans.refuses(&endpoint("127.0.0.1", 2), at(3)), "the lies of one endpoint are one");
        assert_eq!(bans.refused(), 1);
    }

    #[test]
    fn an_address_with_three_liars_is_banned_as_a_whole() {
        for (ip, same) in [("127.0.0.1", "127.0.0.1"), ("2001:db8::1", "2001:db8::2")] {
            let mut bans = Bans::new();
            for port in 1..=3 {
                assert!(!bans.refuses(&endpoint(same, 9), at(0)));
                bans.lied(endpoint(ip, port), at(0));
            }
            assert!(bans.refuses(&endpoint(same, 9), at(3_599)));
            assert!(!bans.refuses(&endpoint(same, 9), at(3_600)));
        }
        let mut bans = Bans::new();
        for port in 1..=3 {
            bans.lied(endpoint("127.0.0.1", port), at(u64::from(port) * 3_600));
        }
        assert!(!bans.refuses(&endpoint("127.0.0.1", 9), at(10_800)), "they were hours apart");
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut bans = Bans::new();
        for n in 0..50_000_u32 {
            bans.lied(SocketAddr::from((n.to_be_bytes(), 1)), at(0));
        }
        assert!(bans.len() <= 2 * LIARS_MAX && bans.addresses.len() <= 2 * LIARS_MAX);
    }
}
