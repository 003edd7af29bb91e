//! What a datagram costs in allocations once the buffers have their size.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod world;

use std::net::SocketAddr;
use std::time::Duration;

use krpc::{InfoHash, Method, NodeId, Want, encode};
use mainline::{Output, PortIndex};
use world::{Nature, World};

fn warm() -> World {
    let mut world = World::new(51, 0.0);
    world.populate(300, |_| Nature::Sampling { interval: 300 });
    world.announce_torrents(3_000);
    let bootstrap: Vec<_> = world.live().take(1).collect();
    world.add_engine(2, 8, bootstrap);
    world.run_for(Duration::from_secs(3_000));
    world
}

#[test]
fn answers_to_samplings_and_find_node_allocate_nothing_when_warm() {
    let mut world = warm();
    let engine = &mut world.engines[0];
    (engine.received, engine.allocations) = (0, 0);
    let samplings = engine.watch.samplings;
    world.run_for(Duration::from_secs(800));
    let engine = &world.engines[0];
    assert!(engine.watch.samplings >= samplings + 600);
    assert!(engine.received >= 600, "{}", engine.received);
    assert_eq!(engine.allocations, 0, "for {} datagrams", engine.received);
}

#[test]
fn queries_are_answered_without_allocating_when_warm() {
    let mut world = warm();
    let now = world.now;
    let id = world.nodes[0].id;
    let info_hash = InfoHash::from_bytes([7; 20]);
    let methods = [
        Method::Ping,
        Method::FindNode { target: NodeId::from_bytes([1; 20]) },
        Method::GetPeers { info_hash, noseed: false, scrape: false },
        Method::SampleInfohashes { target: NodeId::from_bytes([2; 20]) },
        Method::Unknown { name: b"vote", target: None },
    ];
    let queries = methods.map(|method| {
        let mut bytes = Vec::new();
        let want = Want::default();
        encode::Query { tid: b"abcd", id, version: None, read_only: false, want, method }.encode(&mut bytes);
        bytes
    });
    let remotes: Vec<SocketAddr> = world.nodes.iter().map(|node| node.addr).collect();
    let dht = &mut world.engines[0].dht;
    let mut out = Output::new();
    let ask_all = |now: Duration, dht: &mut mainline::Dht, out: &mut Output| {
        let mut answers = 0;
        for (turn, remote) in remotes.iter().enumerate() {
            dht.receive(now, PortIndex(0), *remote, &queries[turn % queries.len()], out);
            answers += out.sends();
            out.clear();
        }
        answers
    };
    ask_all(now + Duration::from_secs(2), dht, &mut out);
    let mut answers = 0;
    let used = allocation_counter::measure(|| answers = ask_all(now + Duration::from_secs(4), dht, &mut out));
    assert!(answers >= 300, "{answers}");
    assert_eq!(used.count_total, 0);
}
