//! An engine in the network.

use std::net::SocketAddr;

use mainline::{Action, Dht, Output, PortIndex};
use swarm::world::{Watch, World};

use super::findings::{Findings, mix};

pub struct Engine {
    pub dht: Dht,
    /// The public address of each port.
    pub addrs: Vec<SocketAddr>,
    pub found: Findings,
    pub watch: Watch,
    /// Datagrams received, and allocations made while they were.
    pub received: u64,
    pub allocations: u64,
    pub(super) out: Output,
}

impl Engine {
    pub fn new(dht: Dht, addrs: Vec<SocketAddr>) -> Engine {
        let (found, watch, out) = (Findings::default(), Watch::default(), Output::new());
        Engine { dht, addrs, found, watch, received: 0, allocations: 0, out }
    }

    pub fn port_of(&self, addr: SocketAddr) -> Option<PortIndex> {
        self.addrs.iter().position(|own| *own == addr).map(|place| PortIndex(place as u16))
    }

    /// From which port, under which id, a remote was asked.
    pub fn asked_by(&self, remote: SocketAddr) -> Option<(PortIndex, krpc::NodeId)> {
        let (own, id) = self.watch.asked_by(remote)?;
        Some((self.port_of(own)?, id))
    }

    /// Puts on its way what the engine wants sent.
    pub(super) fn send_all(&mut self, network: &mut World) {
        for Action::Send { port, to, payload } in self.out.actions() {
            let from = self.addrs[usize::from(port.0)];
            self.watch.sent(network.now, from, to, payload);
            mix(&mut self.found.trace, payload);
            network.send(from, to, payload.to_vec());
        }
    }
}
