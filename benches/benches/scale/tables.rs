//! The tables of many virtual nodes, alone in a process.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use benches::Table;
use krpc::{CompactNode, NodeId};
use mainline::contact_store::{ContactHandle, Contacts, Seen};
use mainline::routing_table::{Insertion, PER_SUBNET};
use mainline::virtual_node::{Family, NodeIndex, VirtualNodes};
use mainline::{PortIndex, spread_ids};
use rand::{SeedableRng, rngs::StdRng};

use crate::process_figures::rss;

/// The argument that makes a program the tables: of so many nodes, with so many contacts in the store.
pub(crate) const ROLE: &str = "--be-the-tables";

/// Contacts in each table.
const CONTACTS: u32 = 150;

/// Bits that contacts share with the node whose table they are in: eight of each length.
const K: u32 = 8;

const NOW: Duration = Duration::from_secs(1_000);

const MIB: f64 = (1 << 20) as f64;

/// Virtual nodes, contacts in the store, how they come into the tables, and the target.
const SIZES: [(u32, u32, Fill, &str); 4] = [
    (10_000, 1_500_000, Fill::Apart, "64"),
    (10_000, 1_500_000, Fill::Together, ""),
    (100_000, 1_500_000, Fill::Together, "512"),
    (100_000, 15_000_000, Fill::Apart, "more contacts than the DHT has nodes"),
];

/// How contacts come into tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fill {
    /// [`CONTACTS`] in each, none of them in two.
    Apart,
    /// As in the indexer: contacts from all over the keyspace are offered where they belong, and shared.
    Together,
}

impl Fill {
    fn name(self) -> &'static str {
        match self {
            Self::Apart => "apart",
            Self::Together => "shared",
        }
    }
}

/// Makes the tables and says what they weigh.
pub(crate) fn serve(arguments: impl Iterator<Item = String>) -> Result<(), String> {
    let arguments: Vec<String> = arguments.collect();
    let usage = || format!("{ROLE} NODES CONTACTS apart|shared");
    let [nodes, contacts, fill] = &arguments[..] else { return Err(usage()) };
    let (Ok(nodes), Ok(contacts)) = (nodes.parse(), contacts.parse()) else { return Err(usage()) };
    let pid = std::process::id();
    let (before, begun) = (rss(pid), Instant::now());
    let mut store = Contacts::new(contacts as usize, 0, &[1; 32]);
    let ids = spread_ids(nodes as usize, [3; 32]).map(|id| (id, PortIndex(0)));
    let mut tables = VirtualNodes::new([SocketAddr::from(([0, 0, 0, 0], 6_881))], ids, PER_SUBNET);
    if fill == Fill::Apart.name() {
        fill_apart(nodes, &mut store, &mut tables)?;
    } else {
        fill_together(nodes, contacts, &mut store, &mut tables)?;
    }
    println!(
        "{} {} {} {:.2}",
        (rss(pid) - before) as f64 / MIB,
        tables.iter().map(|(_, node)| node.v4.len()).sum::<usize>(),
        store.len(),
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

fn fill_apart(nodes: u32, store: &mut Contacts, tables: &mut VirtualNodes) -> Result<(), String> {
    let mut random = StdRng::from_seed([2; 32]);
    for index in 0..nodes {
        let Some(node) = tables.node_mut(NodeIndex(index)) else {
            return Err("a node is missing".to_owned());
        };
        for entry in 0..CONTACTS {
            let shared = entry / K;
            let mut bytes = *node.v4.own_id().as_bytes();
            bytes[shared as usize / 8] ^= 0x80 >> (shared % 8);
            let id = NodeId::from_bytes(bytes).with_random_suffix(shared + 1, &mut random);
            let handle = met(store, id, index * CONTACTS + entry)?;
            match node.v4.insert(NOW, &mut store.v4, handle) {
                Insertion::Added => {}
                other => return Err(format!("contact {entry} of node {index} has no place: {other:?}")),
            }
        }
    }
    Ok(())
}

fn fill_together(
    nodes: u32,
    contacts: u32,
    store: &mut Contacts,
    tables: &mut VirtualNodes,
) -> Result<(), String> {
    let mut random = StdRng::from_seed([2; 32]);
    for number in 0..contacts {
        let id = NodeId::random(&mut random);
        met(store, id, number)?;
        tables.offer(NOW, store, &CompactNode { id, addr: addr(number) });
    }
    for index in 0..nodes {
        let mut bucket = Some(0);
        while let Some(from) = bucket {
            bucket = tables.share(NOW, store, Family::V4, NodeIndex(index), from);
        }
    }
    Ok(())
}

/// The contact of a number is in the store.
fn met(store: &mut Contacts, id: NodeId, number: u32) -> Result<ContactHandle, String> {
    let addr = addr(number);
    let IpAddr::V4(ip) = addr.ip() else { return Err(format!("{addr} is not of IPv4")) };
    match store.v4.seen(NOW, id, ip, addr.port()) {
        Seen::New(handle) => Ok(handle),
        other => Err(format!("{addr} is not new: {other:?}")),
    }
}

/// Each in a /24 of its own, as long as there are any.
fn addr(number: u32) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from_bits((number % 0xff_ffff) << 8 | (1 + number / 0xff_ffff)), 6_881))
}

/// The tables of all sizes, each in a process of its own.
pub(crate) fn compare() -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| format!("this program has no name: {error}"))?;
    let mut table = Table::new(["virtual nodes", "contacts", "", "entries each", "MiB", "target, MiB"]);
    for (nodes, contacts, fill, target) in SIZES {
        let output = Command::new(&program)
            .args([ROLE, &nodes.to_string(), &contacts.to_string(), fill.name()])
            .output()
            .map_err(|error| format!("the tables cannot be made: {error}"))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let numbers: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [mib, entries, stored, _] = numbers[..] else { return Err(format!("the tables said {said:?}")) };
        table.row([
            nodes.to_string(),
            format!("{stored:.0}"),
            fill.name().to_owned(),
            format!("{:.0}", entries / f64::from(nodes)),
            format!("{mib:.1}"),
            target.to_owned(),
        ]);
    }
    println!("tables and contacts, from the memory of a process that has nothing else\n\n{table}");
    Ok(())
}
