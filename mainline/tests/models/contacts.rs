//! A contact store with two routing tables over it, beside a map of who has answered.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use krpc::NodeId;
use mainline::contact_store::{BAD_AFTER, ContactHandle, ContactStore, Seen, Standing};
use mainline::keyed_hash::HashKey;
use mainline::routing_table::{Insertion, K, RoutingTable};

use super::Script;

type Endpoint = (Ipv4Addr, u16);

pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let (capacity, per_subnet) = (script.below(60), 1 + script.byte() % 8);
    let mut store = ContactStore::new(capacity, HashKey::derive(&[1; 32], "contacts"));
    let own = [NodeId::ZERO, id(3, 3)];
    let mut tables = own.map(|own| RoutingTable::<Ipv4Addr>::new(own, per_subnet));
    // Who answered last at an endpoint, under which handle, and how often in a row it has failed to since.
    let mut model: HashMap<Endpoint, (NodeId, ContactHandle, u8)> = HashMap::new();
    let mut now = Duration::from_secs(1_000);
    while let Some(what) = script.next() {
        let (host, port) = (script.byte(), 6_881 + u16::from(what >> 7));
        let endpoint = (Ipv4Addr::new(64, 1, host % 64, host / 64), port);
        let table = usize::from(what >> 6 & 1);
        let at = store.find(endpoint.0, endpoint.1);
        match what % 10 {
            0 => now += script.pause(),
            1..=4 => {
                let id = id(script.byte(), script.byte() % 4);
                let seen = store.seen(now, id, endpoint.0, endpoint.1);
                match (seen, at) {
                    (Seen::Known(handle), Some(before)) => {
                        assert!(handle == before && model[&endpoint].0 == id);
                        model.insert(endpoint, (id, handle, 0));
                    }
                    (Seen::IdChanged { old }, Some(_)) => {
                        assert!(model.remove(&endpoint).unwrap().0 == old && old != id);
                        assert_eq!(store.find(endpoint.0, endpoint.1), None);
                    }
                    (Seen::New(handle), None) => {
                        model.insert(endpoint, (id, handle, 0));
                        for table in &mut tables {
                            let own_id = *table.own_id() == id;
                            let inserted = table.insert(now, &mut store, handle);
                            assert!(
                                inserted != Insertion::Present && own_id == (inserted == Insertion::Gone)
                            );
                        }
                    }
                    (Seen::Full, None) => assert_eq!(store.len(), capacity),
                    other => panic!("{other:?}"),
                }
            }
            5 => {
                if let Some(handle) = at {
                    let failures = &mut model.get_mut(&endpoint).unwrap().2;
                    *failures += 1;
                    let bad = *failures >= BAD_AFTER;
                    let standing = store.failed(handle);
                    assert_eq!(standing, Some(if bad { Standing::Bad } else { Standing::Questionable }));
                    assert_eq!(store.find(endpoint.0, endpoint.1).is_none(), bad);
                }
            }
            6 => at.into_iter().for_each(|handle| store.heard(now, handle)),
            7 => {
                let target = id(script.byte(), 0);
                let mut closest = Vec::new();
                tables[table].closest(&store, &target, K, &mut closest);
                assert!(closest.len() <= K);
                let distances: Vec<_> = closest.iter().map(|node| node.id.distance(&target)).collect();
                assert!(distances.is_sorted());
                assert!(closest.iter().all(|node| store.iter().any(|(_, known)| known == *node)));
            }
            8 => match at {
                Some(handle) if what & 32 != 0 => assert!(store.remove(handle)),
                Some(handle) => {
                    let held = tables[table].handles().any(|other| other == handle);
                    assert_eq!(tables[table].remove(&mut store, handle), held);
                }
                None => {}
            },
            _ if host < 8 => tables[table].clear(&mut store),
            _ => tables[table].purge(&mut store),
        }
        check(&store, &tables, &mut model, capacity, per_subnet);
    }
}

fn check(
    store: &ContactStore<Ipv4Addr>,
    tables: &[RoutingTable<Ipv4Addr>; 2],
    model: &mut HashMap<Endpoint, (NodeId, ContactHandle, u8)>,
    capacity: usize,
    per_subnet: u8,
) {
    // Some may have had to make room, and then nothing leads to them any more.
    model.retain(|(ip, port), (id, handle, _)| {
        let there = store.find(*ip, *port);
        assert!(there.is_none_or(|there| there == *handle && store.id(there) == Some(id)));
        assert_eq!(there.is_none(), store.id(*handle).is_none());
        there.is_some()
    });
    assert_eq!((store.len(), store.iter().count()), (model.len(), model.len()));
    assert!(store.len() <= capacity);
    for table in tables {
        assert_eq!(table.handles().count(), table.len());
        let mut subnets: HashMap<(u32, u8), u8> = HashMap::new();
        for handle in table.handles() {
            let Some(node) = store.node(handle) else { continue };
            assert_ne!(node.id, *table.own_id());
            let shared = table.own_id().common_prefix_len(&node.id).min(table.buckets() as u32 - 1);
            let std::net::IpAddr::V4(ip) = node.addr.ip() else { panic!("all are IPv4") };
            *subnets.entry((shared, ip.octets()[2])).or_insert(0) += 1;
        }
        assert!(subnets.values().all(|count| *count <= per_subnet), "{subnets:?}");
    }
}

/// Ids in few buckets, so that these fill up.
fn id(first: u8, last: u8) -> NodeId {
    let mut bytes = [0; 20];
    (bytes[0], bytes[19]) = (first & 0x9f, last);
    NodeId::from_bytes(bytes)
}
