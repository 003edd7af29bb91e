//! A whole engine among remotes that do whatever the input says, watched for what it must never do.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use krpc::{CompactNode, ErrorCode, InfoHash, Kind, Message, Method, NodeId, Want, encode};
use mainline::address::{IpKey, canonical};
use mainline::bogon::AddressFilter;
use mainline::{
    Action, Config, Dht, DropReason, Event, HashSource, KnownNode, Output, Port, PortIndex, Priority,
    ReadOnly, Support, VirtualNodeConfig, VisitOutcome,
};

use super::Script;

/// What the engine has asked and nobody has answered yet.
struct Asked {
    port: PortIndex,
    to: SocketAddr,
    bytes: Vec<u8>,
}

struct Run<'a> {
    script: Script<'a>,
    now: Duration,
    dht: Dht,
    config: Config,
    filter: AddressFilter,
    out: Output,
    asked: Vec<Asked>,
    token: Vec<u8>,
    given: u64,
    /// The last packets to each party.
    packets: HashMap<IpKey, Vec<Duration>>,
    faces: HashMap<(SocketAddr, PortIndex), NodeId>,
    sampled: HashMap<SocketAddr, Duration>,
}

pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let flags = script.byte();
    let loopback = flags & 1 != 0;
    let locals: [SocketAddr; 3] = if loopback {
        ["127.0.0.1:6881", "[::1]:6881", "127.0.0.1:6882"].map(|addr| addr.parse().unwrap())
    } else {
        ["0.0.0.0:6881", "[::]:6881", "0.0.0.0:6882"].map(|addr| addr.parse().unwrap())
    };
    let ports = &locals[usize::from(flags >> 1 & 1)..2 + usize::from(flags >> 2 & 1)];
    let node = |n: u8| VirtualNodeConfig {
        id: NodeId::from_bytes([n.wrapping_mul(77); 20]),
        port: PortIndex(u16::from(n) % ports.len() as u16),
    };
    let ports = ports.iter().map(|local| Port { local: *local }).collect();
    let mut config = Config::new([7; 32], ports, (1..=1 + (flags >> 3 & 3)).map(node).collect());
    config.allow_loopback = loopback;
    config.read_only = match flags >> 5 {
        7 => ReadOnly::On,
        6 => ReadOnly::Auto,
        _ => ReadOnly::Off,
    };
    let limits = &mut config.limits;
    limits.packets_per_second = 10 + 4 * u32::from(script.byte());
    limits.new_endpoints_per_minute = 60 + 100 * u32::from(script.byte());
    (limits.nodes_max, limits.contacts_max) = (1 + script.below(60), 1 + script.below(40));
    (limits.lookups_max, limits.lookups_waiting_max) = (1 + script.below(4), script.below(4));
    (limits.visits_max, limits.queries_max) = (1 + script.below(8), 1 + script.below(16));
    (limits.answers_waiting_max, limits.stored_hashes_max) = (script.below(8), script.below(8));
    let now = Duration::from_secs(script.byte().into());
    let dht = Dht::new(&config, now).unwrap();
    let mut run = Run {
        script,
        now,
        dht,
        filter: AddressFilter::new(config.ports.iter().map(|port| port.local), loopback),
        config,
        out: Output::new(),
        asked: Vec::new(),
        token: Vec::new(),
        given: 0,
        packets: HashMap::new(),
        faces: HashMap::new(),
        sampled: HashMap::new(),
    };
    while let Some(what) = run.script.next() {
        run.step(what);
        run.settle();
    }
}

impl Run<'_> {
    fn step(&mut self, what: u8) {
        let (now, out) = (self.now, &mut self.out);
        match what % 16 {
            0..=3 => {
                self.now += self.script.pause();
                self.dht.tick(self.now, out);
            }
            4..=8 => self.answer(what),
            9..=11 => self.ask(),
            12 => {
                let (port, from) = (self.port(), endpoint(self.script.byte()));
                let len = usize::from(self.script.byte());
                let bytes = self.script.bytes(len);
                self.receive(port, from, bytes);
            }
            13 => {
                let (hash, hint) = (hash(self.script.byte()), endpoint(self.script.byte()));
                let priority = if what & 16 == 0 { Priority::User } else { Priority::Normal };
                if let Ok(lookup) = self.dht.find_peers(now, hash, &[hint], priority, out)
                    && what & 32 != 0
                {
                    self.dht.cancel(lookup);
                }
            }
            14 => {
                let node = KnownNode {
                    id: id(self.script.byte()),
                    addr: endpoint(self.script.byte()),
                    freshness: self.script.byte().into(),
                    missed: self.script.byte(),
                    support: [Support::Unknown, Support::Yes, Support::No][usize::from(what >> 4) % 3],
                    version: None,
                    num: Some(u32::from(self.script.byte()) << 24),
                    interval: Some(u32::from(self.script.byte()) << 24),
                    // Longer than any interval: the watch below knows of no earlier run.
                    sampled_ago: None,
                };
                self.dht.add_known(now, &node);
            }
            _ if what & 16 == 0 => self.dht.add_bootstrap(now, endpoint(self.script.byte())),
            _ => {
                if self.dht.move_node(now, self.script.byte().into(), id(self.script.byte())) {
                    self.faces.clear();
                }
            }
        }
    }

    /// Somebody answers a query: mostly who was asked, mostly in the form that is expected.
    fn answer(&mut self, what: u8) {
        if self.asked.is_empty() {
            return;
        }
        let at = self.script.below(self.asked.len());
        let Asked { port, to, bytes: asked } = self.asked.swap_remove(at);
        let tid = Message::parse(&asked).unwrap().tid;
        let mut bytes = Vec::new();
        let style = self.script.byte();
        let count = self.script.below(24);
        let nodes: Vec<CompactNode> = (0..count)
            .map(|_| CompactNode { id: id(self.script.byte()), addr: endpoint(self.script.byte()) })
            .collect();
        let (v4, v6): (Vec<_>, Vec<_>) = nodes.iter().partition(|node| node.addr.is_ipv4());
        let values: Vec<SocketAddr> = nodes.iter().map(|node| node.addr).take(6).collect();
        let samples: Vec<InfoHash> = (0..count as u8).map(hash).collect();
        if style & 7 == 7 {
            encode::Error { tid, code: ErrorCode::SERVER, text: "no", version: None, ip: None }
                .encode(&mut bytes);
        } else {
            let sender = if style & 8 == 0 { id_at(to) } else { id(self.script.byte()) };
            encode::Reply {
                nodes: (style & 1 == 0).then_some(&v4),
                nodes6: (style & 2 == 0).then_some(&v6),
                samples: (style & 16 == 0).then_some(&samples),
                interval: Some(u32::from(self.script.byte()) << 24),
                num: Some(u64::from(self.script.byte()) << 56 | count as u64),
                values: if style & 32 == 0 { &values } else { &[] },
                token: Some(b"token"),
                ip: (style & 64 == 0).then(|| endpoint(self.script.byte())),
                ..encode::Reply::new(tid, sender)
            }
            .encode(&mut bytes);
        }
        let from = if what & 16 == 0 || style & 128 == 0 { to } else { endpoint(self.script.byte()) };
        match what >> 5 {
            0 => bytes.truncate(usize::from(self.script.byte()) * 4),
            1 => {
                let (place, byte) = (self.script.below(bytes.len()), self.script.byte());
                bytes[place] = byte;
            }
            2 => self.receive(port, from, &bytes),
            _ => {}
        }
        self.receive(port, from, &bytes);
    }

    fn ask(&mut self) {
        let (port, from) = (self.port(), endpoint(self.script.byte()));
        let (style, info_hash) = (self.script.byte(), hash(self.script.byte()));
        let target = id(style);
        let method = match style % 8 {
            0 => Method::Ping,
            1 => Method::FindNode { target },
            2 => Method::SampleInfohashes { target },
            3 => Method::Unknown { name: b"vote", target: (style & 8 == 0).then_some(target) },
            4 | 5 => Method::GetPeers { info_hash, noseed: style & 8 == 0, scrape: style & 16 == 0 },
            _ => Method::AnnouncePeer {
                info_hash,
                port: style.into(),
                implied_port: style & 8 == 0,
                seed: style & 16 == 0,
                token: &self.token,
                name: Some(b"name"),
            },
        };
        let sender = if style & 32 == 0 { id_at(from) } else { id(style) };
        let tid = self.script.bytes(usize::from(style & 15)).to_vec();
        let want = Want { n4: style & 64 != 0, n6: style & 128 != 0 };
        let mut bytes = Vec::new();
        encode::Query { tid: &tid, id: sender, version: None, read_only: style == 255, want, method }
            .encode(&mut bytes);
        self.receive(port, from, &bytes);
    }

    fn receive(&mut self, port: PortIndex, from: SocketAddr, bytes: &[u8]) {
        self.given += 1;
        self.dht.receive(self.now, port, from, bytes, &mut self.out);
    }

    fn port(&mut self) -> PortIndex {
        PortIndex(u16::from(self.script.byte() % 4))
    }

    /// Looks at what the engine wants sent and tells.
    fn settle(&mut self) {
        let out = std::mem::take(&mut self.out);
        for Action::Send { port, to, payload } in out.actions() {
            self.look_at(port, to, payload);
        }
        for event in out.events() {
            match event {
                Event::Peers { peers, .. } => {
                    assert!(peers.iter().all(|peer| self.filter.check(peer.addr).is_ok()));
                    assert!(peers.iter().all(|peer| peer.addr == canonical(peer.addr)));
                }
                Event::Hash { source: HashSource::Sampled { by }, .. } => {
                    assert_eq!(by.addr, canonical(by.addr));
                }
                Event::Visit(record) => {
                    assert!(record.ended >= record.started && record.queries <= 12, "{record:?}");
                    assert!(record.outcome != VisitOutcome::Replied || record.freshness > 0, "{record:?}");
                }
                _ => {}
            }
        }
        self.out = out;
        self.out.clear();
        self.asked.truncate(64);
        let (gauges, limits, counters) = (self.dht.gauges(), &self.config.limits, self.dht.counters());
        assert!(gauges.nodes <= limits.nodes_max && gauges.contacts <= 2 * limits.contacts_max);
        assert!(
            gauges.nodes_live == gauges.nodes_live_v4 + gauges.nodes_live_v6
                && gauges.nodes_live <= gauges.nodes
        );
        assert!(gauges.queries <= limits.queries_max && gauges.visits <= limits.visits_max);
        assert!(gauges.lookups <= limits.lookups_max && gauges.answers_waiting <= limits.answers_waiting_max);
        assert!(gauges.lookups + gauges.lookups_waiting <= limits.lookups_max + limits.lookups_waiting_max);
        assert!(gauges.stored_hashes <= limits.stored_hashes_max);
        // Each datagram was read or has a reason why not.
        let dropped: u64 = counters.dropped.iter().sum();
        assert!(counters.received.packets + dropped >= self.given);
        let late =
            [DropReason::Unsolicited, DropReason::OverBudget, DropReason::ReadOnly, DropReason::NoSuchPort];
        let counted_twice: u64 = late.map(|reason| counters.dropped_for(reason)).iter().sum();
        assert!(counters.received.packets + dropped <= self.given + counted_twice);
    }

    fn look_at(&mut self, port: PortIndex, to: SocketAddr, payload: &[u8]) {
        let message = Message::parse(payload).unwrap();
        assert!(payload.len() <= encode::DATAGRAM_MAX);
        assert_eq!(self.filter.check(to), Ok(()));
        assert_eq!(to, canonical(to));
        let local = self.config.ports[usize::from(port.0)].local;
        assert_eq!(local.is_ipv4(), to.is_ipv4(), "{to} from {local}");
        let face = match message.kind {
            Kind::Query(query) => {
                assert_eq!(message.tid.bytes().map(<[u8]>::len), Some(4));
                if let Method::SampleInfohashes { .. } = query.method
                    && let Some(before) = self.sampled.insert(to, self.now)
                {
                    assert!(
                        self.now >= before + self.config.min_sample_interval,
                        "{to} was sampled too soon"
                    );
                }
                self.asked.push(Asked { port, to, bytes: payload.to_vec() });
                Some(query.id)
            }
            Kind::Reply(reply) => {
                assert_ne!(self.config.read_only, ReadOnly::On);
                self.token = reply.token.map_or_else(|| self.token.clone(), <[u8]>::to_vec);
                let told = reply.nodes.iter().chain(reply.nodes6.iter());
                assert!(told.into_iter().all(|node| self.filter.check(node.addr).is_ok() && node.addr != to));
                reply.id
            }
            Kind::Error(_) => None,
        };
        if let Some(face) = face {
            assert_eq!(*self.faces.entry((to, port)).or_insert(face), face, "{to} has seen two of us");
        }
        let packets = self.packets.entry(IpKey::of(to.ip())).or_default();
        packets.push(self.now);
        if let [.., fifth, _, _, _, last] = packets[..] {
            assert!(last >= fifth + Duration::from_secs(1), "five packets in a second to {to}");
            packets.remove(0);
        }
    }
}

fn hash(n: u8) -> InfoHash {
    InfoHash::from_bytes([n; 20])
}

fn id(n: u8) -> NodeId {
    let mut bytes = [n; 20];
    bytes[1] = n.reverse_bits();
    NodeId::from_bytes(bytes)
}

/// The id of an honest node at an address.
fn id_at(addr: SocketAddr) -> NodeId {
    let tail = match addr.ip().to_canonical() {
        IpAddr::V4(ip) => ip.octets()[2],
        IpAddr::V6(ip) => ip.octets()[3],
    };
    id(tail.wrapping_mul(31) ^ addr.port() as u8)
}

/// Addresses of every kind: several of one party and of one network, of both families, impossible ones, ours.
fn endpoint(n: u8) -> SocketAddr {
    let host = n >> 3;
    match n % 8 {
        0..=2 => (Ipv4Addr::new(64, 1, host, 1), 6_881 + u16::from(n & 1)).into(),
        3 => (Ipv4Addr::new(64, 2, 2, host), 6_881).into(),
        4 | 5 => (Ipv6Addr::new(0x2a00, host.into(), 0, 0, 0, 0, 0, 1), 6_881).into(),
        6 => (Ipv4Addr::new(64, 1, host, 1).to_ipv6_mapped(), 6_881).into(),
        _ => match host {
            0..4 => (Ipv4Addr::new(127, 0, host, 1), 6_881).into(),
            4 => (Ipv6Addr::LOCALHOST, 6_881).into(),
            5 => (Ipv6Addr::LOCALHOST, 7_000).into(),
            6 => (Ipv4Addr::new(10, 0, 0, 1), 6_881).into(),
            7 => (Ipv4Addr::new(64, 3, 3, 3), 0).into(),
            8 => (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), 6_881).into(),
            9 => (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 1), 6_881).into(),
            10 => (Ipv6Addr::new(0x2002, 1, 0, 0, 0, 0, 0, 1), 6_881).into(),
            11 => (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 1), 6_881).into(),
            _ => (Ipv6Addr::new(0x2a00, 7, 7, 7, 0, 0, 0, host.into()), 1 + u16::from(host)).into(),
        },
    }
}
