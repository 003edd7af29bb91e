//! Datagrams of any bytes, in any order, at any time, to an engine with a port of each family.
//!
//! Each step is a byte that says whence and after what pause, two bytes of length, and so many bytes of the datagram, in which
//! `t` may be replaced by that of a query of the engine's, so that answers can be found.
#![no_main]

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use krpc::{Message, NodeId};
use libfuzzer_sys::fuzz_target;
use mainline::{Action, Config, Dht, Output, Port, PortIndex, VirtualNodeConfig};

fuzz_target!(|input: &[u8]| {
    let ports = ["0.0.0.0:6881", "[::]:6881"].map(|local| Port { local: local.parse().unwrap() });
    let node = |n: u8| VirtualNodeConfig { id: NodeId::from_bytes([n * 60; 20]), port: PortIndex(u16::from(n % 2)) };
    let mut config = Config::new([7; 32], ports.to_vec(), (1..=4).map(node).collect());
    config.bootstrap.push(([64, 1, 0, 1], 6_881).into());
    (config.limits.nodes_max, config.limits.contacts_max) = (100, 100);
    let mut dht = Dht::new(&config, Duration::ZERO).unwrap();
    let (mut out, mut now, mut given) = (Output::new(), Duration::ZERO, 0);
    let mut last: Option<(PortIndex, SocketAddr, [u8; 4])> = None;
    let mut rest = input;
    while let [what, high, low, tail @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(tail.len());
        let (bytes, tail) = tail.split_at(len);
        rest = tail;
        now += Duration::from_millis(u64::from(what & 7).pow(5));
        dht.tick(now, &mut out);
        let mut bytes = bytes.to_vec();
        let host = what >> 5;
        let v6: SocketAddr = (Ipv6Addr::new(0x2a00, host.into(), 0, 0, 0, 0, 0, 1), 6_881).into();
        let v4: SocketAddr = ([64, 1, host, 1], 6_881).into();
        let (mut port, mut from) = if what & 8 == 0 { (PortIndex(0), v4) } else { (PortIndex(1), v6) };
        if let (Some((asked, to, tid)), true) = (last, what & 16 != 0) {
            (port, from) = (asked, to);
            if let Some(at) = bytes.windows(6).position(|part| part == b"1:t4:t") {
                bytes[at + 5..].iter_mut().zip(tid).for_each(|(byte, tid)| *byte = tid);
            }
        }
        dht.receive(now, port, from, &bytes, &mut out);
        given += 1;
        for Action::Send { port, to, payload } in out.actions() {
            let message = Message::parse(payload).expect("what is sent can be read");
            assert!(payload.len() <= 1_024 && to.port() != 0);
            if let Some(tid) = message.tid.bytes().and_then(|tid| tid.try_into().ok()) {
                last = Some((port, to, tid));
            }
        }
        assert!(out.events().count() <= 1_000);
        out.clear();
    }
    let (gauges, counters) = (dht.gauges(), dht.counters());
    assert!(gauges.nodes <= 100 && gauges.contacts <= 200);
    assert!(counters.received.packets + counters.dropped.iter().sum::<u64>() >= given);
});
