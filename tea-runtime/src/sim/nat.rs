//! Network address translation: nodes behind one external address.
//!
//! Terms and behaviour as in RFC 4787. Not modelled: hairpinning, port forwarding, expiry of TCP mappings.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::trace::Map;
use crate::Time;

/// A translator. Give it to [`Sim::nat`](super::Sim::nat), then put hosts behind it.
#[derive(Clone, Debug)]
pub struct NatConfig {
    /// The address under which those behind it appear outside.
    pub external: IpAddr,
    /// Which outgoing datagrams share an external port.
    pub mapping: NatMapping,
    /// Who may send to a mapped port.
    pub filter: NatFilter,
    /// How long a mapping, and a remote's permission to use it, lasts after the last outgoing datagram. RFC 4787 demands
    /// 2 minutes or more; many home routers give 30 s.
    pub timeout: Duration,
    /// Mappings at a time. When all are in use, datagrams that need a new one are dropped.
    pub mappings_max: usize,
}

impl NatConfig {
    /// A home router: one external port per inside port, inbound only from where something was sent to, 2 minutes, 4,096
    /// mappings.
    pub const fn new(external: IpAddr) -> Self {
        Self {
            external,
            mapping: NatMapping::Independent,
            filter: NatFilter::AddressAndPort,
            timeout: Duration::from_secs(120),
            mappings_max: 4096,
        }
    }
}

/// Which outgoing datagrams share an external port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatMapping {
    /// All from one inside address and port, wherever they go.
    Independent,
    /// Only those to one remote address and port ("symmetric").
    PerRemote,
}

/// Who may send to a mapped port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatFilter {
    /// Anybody ("full cone").
    Anybody,
    /// Addresses that something was sent to, from any port.
    Address,
    /// Addresses and ports that something was sent to.
    AddressAndPort,
}

/// Names a translator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatId(pub(super) u32);

/// A translator at work.
pub(super) struct Nat {
    pub(super) config: NatConfig,
    ports: Map<(SocketAddr, Option<SocketAddr>), u16>,
    mappings: Map<u16, Mapping>,
    next_port: u16,
}

struct Mapping {
    inside: SocketAddr,
    node: u32,
    remote: Option<SocketAddr>,
    last_used: Time,
    permitted: Map<SocketAddr, Time>,
}

impl Nat {
    pub(super) fn new(config: NatConfig) -> Self {
        Self { config, ports: Map::default(), mappings: Map::default(), next_port: PORT_MIN }
    }

    /// Translates the source of a datagram that leaves. `None`: no mapping is free.
    pub(super) fn outbound(
        &mut self,
        now: Time,
        node: u32,
        inside: SocketAddr,
        to: SocketAddr,
    ) -> Option<SocketAddr> {
        let remote = (self.config.mapping == NatMapping::PerRemote).then_some(to);
        let port = match self.ports.get(&(inside, remote)) {
            Some(port) if self.mappings.get(port).is_some_and(|mapping| self.is_fresh(now, mapping)) => *port,
            _ => self.map(now, node, inside, remote)?,
        };
        let permission = self.permission(to);
        let timeout = self.config.timeout;
        let mapping = self.mappings.get_mut(&port)?;
        mapping.last_used = now;
        if mapping.permitted.len() >= PERMITTED_MAX {
            mapping.permitted.retain(|_, last| now - *last < timeout);
        }
        mapping.permitted.insert(permission, now);
        Some(SocketAddr::new(self.config.external, port))
    }

    /// An external port for a TCP connection, which keeps its translation itself.
    pub(super) fn outbound_stream(&mut self) -> SocketAddr {
        SocketAddr::new(self.config.external, self.take_port())
    }

    /// Whom a datagram to the external `port` would go to, allowed or not.
    pub(super) fn mapped(&self, port: u16) -> Option<u32> {
        self.mappings.get(&port).map(|mapping| mapping.node)
    }

    /// Translates the destination of a datagram that arrives. `None`: it is not let in.
    pub(super) fn inbound(&self, now: Time, port: u16, from: SocketAddr) -> Option<SocketAddr> {
        let mapping = self.mappings.get(&port).filter(|mapping| self.is_fresh(now, mapping))?;
        let allowed = self.config.filter == NatFilter::Anybody
            || mapping
                .permitted
                .get(&self.permission(from))
                .is_some_and(|last| now - *last < self.config.timeout);
        allowed.then_some(mapping.inside)
    }

    fn map(&mut self, now: Time, node: u32, inside: SocketAddr, remote: Option<SocketAddr>) -> Option<u16> {
        if let Some(expired) = self.ports.remove(&(inside, remote)) {
            self.mappings.remove(&expired);
        }
        if self.mappings.len() >= self.config.mappings_max {
            let timeout = self.config.timeout;
            self.mappings.retain(|_, mapping| now - mapping.last_used < timeout);
            self.ports.retain(|_, port| self.mappings.contains_key(port));
            if self.mappings.len() >= self.config.mappings_max {
                return None;
            }
        }
        let port = self.take_port();
        let mapping = Mapping { inside, node, remote, last_used: now, permitted: Map::default() };
        if let Some(old) = self.mappings.insert(port, mapping) {
            self.ports.remove(&(old.inside, old.remote));
        }
        self.ports.insert((inside, remote), port);
        Some(port)
    }

    fn take_port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = port.checked_add(1).unwrap_or(PORT_MIN);
        port
    }

    fn permission(&self, remote: SocketAddr) -> SocketAddr {
        match self.config.filter {
            NatFilter::AddressAndPort => remote,
            NatFilter::Anybody | NatFilter::Address => SocketAddr::new(remote.ip(), 0),
        }
    }

    fn is_fresh(&self, now: Time, mapping: &Mapping) -> bool {
        now - mapping.last_used < self.config.timeout
    }
}

/// The first external port; those below belong to services.
const PORT_MIN: u16 = 1024;
/// Remotes that one mapping remembers before the expired ones are forgotten.
const PERMITTED_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn nat(change: impl FnOnce(&mut NatConfig)) -> Nat {
        let mut config = NatConfig::new([198, 51, 100, 1].into());
        change(&mut config);
        Nat::new(config)
    }

    fn at(seconds: u64) -> Time {
        Duration::from_secs(seconds).into()
    }

    #[test]
    fn only_who_was_written_to_may_answer() {
        let (inside, remote) = (address("192.168.0.2:6881"), address("10.0.0.1:1"));
        for (filter, same_ip, stranger) in [
            (NatFilter::AddressAndPort, false, false),
            (NatFilter::Address, true, false),
            (NatFilter::Anybody, true, true),
        ] {
            let mut nat = nat(|config| config.filter = filter);
            let external = nat.outbound(at(0), 7, inside, remote).unwrap();
            assert_eq!(nat.mapped(external.port()), Some(7));
            let allowed = |from| nat.inbound(at(1), external.port(), address(from)).is_some();
            assert_eq!(nat.inbound(at(1), external.port(), remote), Some(inside));
            assert_eq!((allowed("10.0.0.1:2"), allowed("10.0.0.2:1")), (same_ip, stranger), "{filter:?}");
        }
    }

    #[test]
    fn mappings_and_permissions_expire() {
        let (inside, one, other) = (address("192.168.0.2:1"), address("10.0.0.1:1"), address("10.0.0.2:1"));
        let mut nat = nat(|_| ());
        let first = nat.outbound(at(0), 0, inside, one).unwrap();
        nat.outbound(at(100), 0, inside, other).unwrap();
        assert_eq!(nat.inbound(at(119), first.port(), one), Some(inside));
        assert_eq!(nat.inbound(at(120), first.port(), one), None);
        assert_eq!(nat.inbound(at(120), first.port(), other), Some(inside));
        assert_eq!(nat.outbound(at(219), 0, inside, one), Some(first));
        assert_ne!(nat.outbound(at(400), 0, inside, one), Some(first));
    }

    #[test]
    fn a_symmetric_translator_uses_a_port_per_remote() {
        let inside = address("192.168.0.2:1");
        let mut nat = nat(|config| config.mapping = NatMapping::PerRemote);
        let first = nat.outbound(at(0), 0, inside, address("10.0.0.1:1"));
        assert_ne!(nat.outbound(at(0), 0, inside, address("10.0.0.2:1")), first);
        assert_eq!(nat.outbound(at(0), 0, inside, address("10.0.0.1:1")), first);
    }

    #[test]
    fn a_full_table_refuses_until_something_expires() {
        let to = address("10.0.0.1:1");
        let mut nat = nat(|config| config.mappings_max = 2);
        assert!(nat.outbound(at(0), 0, address("192.168.0.2:1"), to).is_some());
        assert!(nat.outbound(at(60), 0, address("192.168.0.2:2"), to).is_some());
        assert_eq!(nat.outbound(at(60), 0, address("192.168.0.2:3"), to), None);
        assert!(nat.outbound(at(120), 0, address("192.168.0.2:3"), to).is_some());
    }
}
