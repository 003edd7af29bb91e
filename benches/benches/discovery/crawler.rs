//! What crawlers of all kinds have in common: addresses, packets in, packets and hashes out.

use std::net::SocketAddr;
use std::time::Duration;

use krpc::InfoHash;
use swarm::world::Packet;

/// Something that goes through the network and learns info-hashes.
pub(crate) trait Crawler {
    /// Where it is.
    fn addrs(&self) -> &[SocketAddr];
    /// A datagram has come.
    fn receive(&mut self, now: Duration, packet: &Packet, out: &mut Outbox);
    /// Called every [`TICK`].
    fn tick(&mut self, now: Duration, out: &mut Outbox);
    /// What its packets were for, in words.
    fn uses(&self) -> String {
        String::new()
    }
}

/// What a crawler wants sent, and what it has learned.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) sends: Vec<Packet>,
    pub(crate) hashes: Vec<InfoHash>,
}

/// Time between two looks at what is due.
pub(crate) const TICK: Duration = Duration::from_millis(50);
