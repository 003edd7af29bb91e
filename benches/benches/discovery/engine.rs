//! This project's engine, as a crawler.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use krpc::bep42;
use mainline::{
    Action, Config, ConfigError, Dht, Event, HashSource, Output, PacketUse, Port, PortIndex,
    VirtualNodeConfig, VisitOutcome,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use swarm::world::Packet;

use crate::crawler::{Crawler, Outbox};

pub(crate) struct Engine {
    pub(crate) dht: Dht,
    addrs: Vec<SocketAddr>,
    out: Output,
    /// Nodes that have answered a visit.
    pub(crate) replied: std::collections::HashSet<SocketAddr>,
    /// Hashes told by others' questions, not by samples.
    pub(crate) overheard: u64,
}

impl Engine {
    /// Eight nodes with ids that BEP 42 allows, over two ports; with IPv6 eight more on two others.
    pub(crate) fn new(
        seed: u64,
        bootstrap: Vec<SocketAddr>,
        v6: bool,
        now: Duration,
        change: impl FnOnce(&mut Config),
    ) -> Result<Engine, ConfigError> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut ips = vec![IpAddr::V4(OUR_IP)];
        ips.extend(v6.then_some(IpAddr::V6(OUR_IP_V6)));
        let (mut ports, mut addrs, mut nodes) = (Vec::new(), Vec::new(), Vec::new());
        for ip in ips {
            let first = ports.len() as u16;
            let any = if ip.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
            for port in [6_881, 6_882] {
                ports.push(Port { local: SocketAddr::new(any, port) });
                addrs.push(SocketAddr::new(ip, port));
            }
            for r in 0..bep42::PREFIXES {
                let port = PortIndex(first + u16::from(r % 2));
                nodes.push(VirtualNodeConfig { id: bep42::node_id(ip, r, &mut rng), port });
            }
        }
        let mut secret = [0; 32];
        rng.fill_bytes(&mut secret);
        let mut config = Config::new(secret, ports, nodes);
        config.bootstrap = bootstrap;
        change(&mut config);
        let dht = Dht::new(&config, now)?;
        Ok(Engine { dht, addrs, out: Output::new(), replied: Default::default(), overheard: 0 })
    }

    fn hand_over(&mut self, out: &mut Outbox) {
        for Action::Send { port, to, payload } in self.out.actions() {
            let from = self.addrs[usize::from(port.0)];
            out.sends.push(Packet { from, to, bytes: payload.to_vec() });
        }
        for event in self.out.events() {
            match event {
                Event::Hash { info_hash, source } => {
                    self.overheard += u64::from(!matches!(source, HashSource::Sampled { .. }));
                    out.hashes.push(info_hash);
                }
                Event::Visit(record) if record.outcome == VisitOutcome::Replied => {
                    self.replied.insert(record.addr);
                }
                _ => {}
            }
        }
        self.out.clear();
    }
}

impl Crawler for Engine {
    fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    fn receive(&mut self, now: Duration, packet: &Packet, out: &mut Outbox) {
        if let Some(port) = self.addrs.iter().position(|addr| *addr == packet.to) {
            self.dht.receive(now, PortIndex(port as u16), packet.from, &packet.bytes, &mut self.out);
            self.hand_over(out);
        }
    }

    fn tick(&mut self, now: Duration, out: &mut Outbox) {
        self.dht.tick(now, &mut self.out);
        self.hand_over(out);
    }

    fn uses(&self) -> String {
        let counters = self.dht.counters();
        let all = counters.sent.packets.max(1);
        let share = |purpose: &PacketUse| {
            let part = 100.0 * counters.sent_for(*purpose) as f64 / all as f64;
            (part >= 0.5).then(|| format!("{} {part:.0} %", purpose.name()))
        };
        PacketUse::ALL.iter().filter_map(share).collect::<Vec<_>>().join(", ")
    }
}

/// Where crawlers are: nobody of the world lives there.
pub(crate) const OUR_IP: Ipv4Addr = Ipv4Addr::new(90, 0, 0, 7);
const OUR_IP_V6: Ipv6Addr = Ipv6Addr::new(0x2a0a, 0, 0, 0, 0, 0, 0, 7);
