//! What the tables of many virtual nodes weigh.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use krpc::NodeId;
use mainline::PortIndex;
use mainline::contact_store::{Contacts, Seen};
use mainline::routing_table::{Insertion, PER_SUBNET};
use mainline::virtual_node::{NodeIndex, VirtualNodes};
use rand::SeedableRng;
use rand::rngs::StdRng;

const NODES: u32 = 10_000;
const CONTACTS: u32 = 150;
const MIB: u64 = 1 << 20;

/// The worst case: no contact is shared, each of the 1,500,000 is in one table only.
#[test]
fn ten_thousand_nodes_with_a_hundred_and_fifty_contacts_each_fit_into_64_mib() {
    let now = Duration::from_secs(1_000);
    let mut tables = None;
    let used = allocation_counter::measure(|| {
        let mut contacts = Contacts::new((NODES * CONTACTS) as usize, 0, &[1; 32]);
        let mut rng = StdRng::from_seed([2; 32]);
        let ids = (0..NODES).map(|n| {
            let mut bytes = [0; 20];
            // Spread evenly over the keyspace.
            bytes[..4].copy_from_slice(&(n * (u32::MAX / NODES)).to_be_bytes());
            (NodeId::from_bytes(bytes).with_random_suffix(32, &mut rng), PortIndex(0))
        });
        let mut nodes = VirtualNodes::new([SocketAddr::from(([0, 0, 0, 0], 6881))], ids, PER_SUBNET);
        for index in 0..NODES {
            let table = &mut nodes.node_mut(NodeIndex(index)).unwrap().v4;
            for n in 0..CONTACTS {
                // Eight in each bucket, the first ones of which are farthest.
                let mut bytes = *table.own_id().as_bytes();
                let shared = n / 8;
                bytes[shared as usize / 8] ^= 0x80 >> (shared % 8);
                let id = NodeId::from_bytes(bytes).with_random_suffix(shared + 1, &mut rng);
                // Consecutive contacts differ in the third byte, so no bucket has two of one /24.
                let ip = Ipv4Addr::from_bits(((index * CONTACTS + n) % 0xff_ffff) << 8 | (1 + index % 250));
                let Seen::New(handle) = contacts.v4.seen(now, id, ip, 6881) else { panic!("{ip} is new") };
                assert_eq!(table.insert(now, &mut contacts.v4, handle), Insertion::Added);
            }
        }
        tables = Some((contacts, nodes));
    });
    let (contacts, nodes) = tables.unwrap();
    assert_eq!(contacts.len(), (NODES * CONTACTS) as usize);
    assert_eq!(contacts.references(), (NODES * CONTACTS) as usize);
    assert_eq!(nodes.len(), NODES as usize);
    let bytes = used.bytes_current as u64;
    println!("{NODES} nodes, {CONTACTS} contacts each: {:.1} MiB", bytes as f64 / MIB as f64);
    assert!(bytes <= 64 * MIB, "{bytes} bytes");
    assert!(used.bytes_max <= 64 * MIB, "{} bytes at the most", used.bytes_max);
}
