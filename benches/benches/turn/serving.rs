//! What the indexer does with most datagrams: a DHT that knows two thousand contacts answers a query.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use krpc::{Kind, Message, NodeId, encode};
use mainline::{
    Action, Config, Dht, KnownNode, Limits, Output, Port, PortIndex, Support, VirtualNodeConfig, spread_ids,
};
use rand::{SeedableRng, rngs::StdRng};
use tea_runtime::{Cmd, Context, Datagram, Never, Program, Sub, UdpPort};

const SEED: [u8; 32] = [3; 32];

/// Contacts that the DHT knows.
const CONTACTS: u32 = 2_000;

/// When the contacts are known: queries come from then on.
pub(crate) const START: Duration = Duration::from_secs(3_600);

/// A DHT behind `ports` ports, with four virtual nodes each and contacts that have answered.
///
/// # Panics
/// When the contacts do not become contacts.
pub(crate) fn populated(ports: u16) -> Dht {
    let port_list = (0..ports).map(|port| Port { local: local(port) }).collect();
    let node = |(index, id)| VirtualNodeConfig { id, port: PortIndex(index as u16 % ports) };
    let nodes = spread_ids(usize::from(ports) * 4, SEED).enumerate().map(node).collect();
    let mut config = Config::new(SEED, port_list, nodes);
    config.allow_loopback = true;
    config.limits =
        Limits { packets_per_second: 1_000_000, bytes_per_second: 1_000_000_000, ..Limits::server() };
    let mut dht = Dht::new(&config, Duration::ZERO).unwrap_or_else(|error| panic!("no DHT: {error}"));

    let mut random = StdRng::from_seed(SEED);
    let ids: Vec<NodeId> = (0..CONTACTS).map(|_| NodeId::random(&mut random)).collect();
    for (index, id) in (0..).zip(&ids) {
        let node = KnownNode {
            id: *id,
            addr: contact(index),
            freshness: 1,
            missed: 0,
            version: None,
            support: Support::No,
            num: None,
            interval: None,
            sampled_ago: None,
        };
        dht.add_known(Duration::ZERO, &node);
    }
    let (mut out, mut answers) = (Output::new(), Output::new());
    let mut now = Duration::ZERO;
    while now < START {
        dht.tick(now, &mut out);
        while !out.is_empty() {
            for Action::Send { port, to, payload } in out.actions() {
                if let Some(answer) = answer(to, payload, &ids) {
                    dht.receive(now, port, to, &answer, &mut answers);
                }
            }
            out.clear();
            std::mem::swap(&mut out, &mut answers);
        }
        now +=
            if dht.contact_count() < ids.len() { Duration::from_millis(50) } else { Duration::from_secs(10) };
    }
    assert!(dht.contact_count() as u32 > CONTACTS * 9 / 10, "{} contacts", dht.contact_count());
    dht
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 6_881 + port))
}

fn contact(index: u32) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from_bits(0x7f01_0000 + index), 6_881))
}

/// What a contact says to any query: that it is there.
fn answer(contact: SocketAddr, query: &[u8], ids: &[NodeId]) -> Option<Vec<u8>> {
    let message = Message::parse(query).ok()?;
    let (Kind::Query(_), SocketAddr::V4(contact)) = (message.kind, contact) else { return None };
    let id = ids.get((contact.ip().to_bits() - 0x7f01_0000) as usize)?;
    let mut answer = Vec::new();
    encode::Reply { nodes: Some(&[]), ..encode::Reply::new(message.tid, *id) }.encode(&mut answer);
    Some(answer)
}

/// The DHT as a program.
#[derive(Debug)]
pub(crate) struct Serving {
    dht: Dht,
    out: Output,
    ports: u16,
}

impl Program for Serving {
    type Flags = u16;
    type Msg = (u16, Datagram);
    type Key = u16;
    type Effect = Never;

    fn init(ports: u16, _: &Context, _: &mut Cmd<Self>) -> Self {
        Self { dht: populated(ports), out: Output::new(), ports }
    }

    fn update(&mut self, (port, datagram): Self::Msg, cx: &Context, cmd: &mut Cmd<Self>) {
        let now = cx.now.since_start();
        self.dht.receive(now, PortIndex(port), datagram.from(), datagram.payload(), &mut self.out);
        for Action::Send { port, to, payload } in self.out.actions() {
            cmd.send(port.0, to, |out| out.extend_from_slice(payload));
        }
        self.out.clear();
    }

    fn subscriptions(&self, sub: &mut Sub<Self>) {
        for port in 0..self.ports {
            sub.udp(port, UdpPort::new(local(port)), |port, datagram| (port, datagram));
        }
    }
}
