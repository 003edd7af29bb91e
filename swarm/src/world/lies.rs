//! What lying nodes send.

use std::net::SocketAddr;

use krpc::{CompactNode, InfoHash, NodeId, Query, Tid, encode};
use rand::rngs::StdRng;
use rand::{Rng, RngExt};

use super::nature::Lie;

/// Appends the answer of a liar with this id to a query.
pub(super) fn lie(
    lie: Lie,
    own: NodeId,
    tid: Tid<'_>,
    query: &Query<'_>,
    v6: bool,
    rng: &mut StdRng,
    bytes: &mut Vec<u8>,
) {
    let target = query.method.target().unwrap_or(query.id);
    let id = if lie == Lie::Ids { NodeId::random(rng) } else { own };
    let count = if lie == Lie::Oversized { 120 } else { 8 };
    let nodes: Vec<CompactNode> = (0..count).map(|_| stranger(&target, v6, rng)).collect();
    let hashes: Vec<InfoHash> = match lie {
        Lie::Oversized => (0..60).map(|_| InfoHash::random(rng)).collect(),
        _ => Vec::new(),
    };
    encode::Reply {
        nodes: (!v6).then_some(&nodes),
        nodes6: v6.then_some(&nodes),
        samples: Some(&hashes),
        num: Some(u64::MAX >> 1),
        interval: Some(0),
        ..encode::Reply::new(tid, id)
    }
    .encode(bytes);
    if lie == Lie::Garbage {
        // Anything from the true answer with one wrong byte to noise.
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..3) {
            0 => bytes[at] = rng.random(),
            1 => bytes.truncate(at),
            _ => rng.fill_bytes(&mut bytes[at..]),
        }
    }
}

/// A node that does not exist, close to a target.
fn stranger(target: &NodeId, v6: bool, rng: &mut StdRng) -> CompactNode {
    let id = target.with_random_suffix(rng.random_range(20..150), rng);
    let port: u16 = rng.random();
    let addr = if v6 {
        let mut octets: [u8; 16] = rng.random();
        octets[0] = 0x20 | (octets[0] & 0x1f);
        SocketAddr::from((octets, port))
    } else {
        SocketAddr::from((rng.random::<[u8; 4]>(), port))
    };
    CompactNode { id, addr }
}
