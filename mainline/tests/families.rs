//! Several ports, both address families, loopback: who speaks to whom from where.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use krpc::{CompactNode, Kind, Message, Method, NodeId, Want, encode};
use mainline::{Action, Config, Dht, Output, Port, PortIndex, VirtualNodeConfig, spread_ids};
use world::{Nature, SECOND, World};

#[test]
fn each_remote_is_spoken_to_by_the_virtual_node_closest_to_it() {
    let mut world = World::new(71, 0.0);
    world.populate(200, |_| Nature::Sampling { interval: 60 });
    // A bootstrap node is asked before its id is known; the others are not.
    let bootstrap: Vec<_> = world.live().take(1).collect();
    world.add_engine(4, 16, bootstrap.clone());
    world.run_for(60 * SECOND);
    let engine = &world.engines[0];
    let own: BTreeMap<NodeId, PortIndex> = engine.dht.virtual_nodes().collect();
    let mut right = 0;
    for node in world.nodes.iter().filter(|node| node.addr != bootstrap[0]) {
        let (port, id) = engine.asked_by(node.addr).unwrap();
        let closest = own.keys().min_by_key(|id| id.distance(&node.id)).unwrap();
        assert_eq!((id, port), (*closest, own[closest]));
        right += 1;
    }
    assert_eq!(right, 199);
    engine.watch.assert_polite();
}

fn contact(id: u8, addr: &str) -> CompactNode {
    CompactNode { id: NodeId::from_bytes([id; 20]), addr: addr.parse().unwrap() }
}

/// What an engine sends when this bootstrap node names these contacts.
fn asked_after(
    locals: &[SocketAddr],
    bootstrap: &str,
    change: impl FnOnce(&mut Config),
    nodes: &[CompactNode],
) -> BTreeSet<(PortIndex, SocketAddr)> {
    let ports: Vec<Port> = locals.iter().map(|local| Port { local: *local }).collect();
    let count = ports.len();
    let ids = spread_ids(4 * count, [3; 32]).enumerate();
    let virtual_nodes = ids.map(|(n, id)| VirtualNodeConfig { id, port: PortIndex((n % count) as u16) });
    let mut config = Config::new([3; 32], ports, virtual_nodes.collect());
    config.bootstrap.push(bootstrap.parse().unwrap());
    change(&mut config);
    let mut dht = Dht::new(&config, Duration::ZERO).unwrap();
    let mut out = Output::new();
    dht.tick(SECOND, &mut out);
    let sent: Vec<(PortIndex, SocketAddr, Vec<u8>)> =
        out.actions().map(|Action::Send { port, to, payload }| (port, to, payload.to_vec())).collect();
    let mut asked = BTreeSet::new();
    for (port, to, payload) in sent {
        asked.insert((port, to));
        let message = Message::parse(&payload).unwrap();
        let Kind::Query(query) = message.kind else { panic!("a query was sent") };
        assert_eq!(query.want, Want { n4: count > 1, n6: count > 1 });
        let mut reply = Vec::new();
        encode::Reply {
            nodes: Some(nodes),
            nodes6: Some(nodes),
            ..encode::Reply::new(message.tid, NodeId::from_bytes([0xb0; 20]))
        }
        .encode(&mut reply);
        out.clear();
        dht.receive(SECOND, port, to, &reply, &mut out);
        asked.extend(out.actions().map(|Action::Send { port, to, .. }| (port, to)));
    }
    asked
}

#[test]
fn each_family_is_spoken_to_from_its_own_port() {
    let locals = [(Ipv4Addr::UNSPECIFIED, 6_881).into(), (Ipv6Addr::UNSPECIFIED, 6_881).into()];
    let (four, six) = ("64.5.5.5:1", "[2a00:1::5]:1");
    let asked = asked_after(&locals, "64.1.1.1:6881", |_| {}, &[contact(1, four), contact(2, six)]);
    assert!(asked.contains(&(PortIndex(0), four.parse().unwrap())), "{asked:?}");
    assert!(asked.contains(&(PortIndex(1), six.parse().unwrap())), "{asked:?}");
    let only_four = asked_after(&locals[..1], "64.1.1.1:6881", |_| {}, &[contact(1, four), contact(2, six)]);
    assert!(only_four.contains(&(PortIndex(0), four.parse().unwrap())));
    assert!(only_four.iter().all(|(_, to)| to.is_ipv4()));
}

#[test]
fn on_loopback_contacts_on_loopback_are_good_and_our_own_is_not() {
    let local: SocketAddr = "127.0.0.1:6881".parse().unwrap();
    let contacts = [contact(1, "127.1.2.3:6881"), contact(2, "127.1.2.4:6881"), contact(3, "127.0.0.1:6881")];
    let asked = asked_after(&[local], "127.5.5.5:1", |config| config.allow_loopback = true, &contacts);
    let to: Vec<SocketAddr> = asked.iter().map(|(_, to)| *to).collect();
    assert!(
        to.contains(&contacts[0].addr) && to.contains(&contacts[1].addr) && !to.contains(&local),
        "{to:?}"
    );
    let asked = asked_after(&[local], "64.1.1.1:1", |_| {}, &contacts);
    assert_eq!(asked.iter().filter(|(_, to)| to.ip().is_loopback()).count(), 0);
}

#[test]
fn a_node_that_moves_has_its_new_id_at_once() {
    let mut world = World::new(72, 0.0);
    world.add_engine(1, 2, Vec::new());
    let id = NodeId::from_bytes([0x77; 20]);
    let (at, dht) = (world.now, &mut world.engines[0].dht);
    assert!(dht.move_node(at, 1, id));
    assert!(!dht.move_node(at, 0, id));
    assert!(!dht.move_node(at, 2, NodeId::from_bytes([1; 20])));
    let mut bytes = Vec::new();
    let method = Method::FindNode { target: id };
    let want = Want::default();
    encode::Query {
        tid: b"abcd",
        id: NodeId::from_bytes([5; 20]),
        version: None,
        read_only: false,
        want,
        method,
    }
    .encode(&mut bytes);
    let (now, mut out) = (world.now, Output::new());
    world.engines[0].dht.receive(now, PortIndex(0), "64.1.1.1:1".parse().unwrap(), &bytes, &mut out);
    let face =
        out.actions().find_map(|Action::Send { payload, .. }| match Message::parse(payload).unwrap().kind {
            Kind::Reply(reply) => reply.id,
            _ => None,
        });
    assert_eq!(face, Some(id));
}
