//! Which ids our virtual nodes take.

use std::net::IpAddr;

use krpc::{NodeId, bep42};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// Up to 8 ids that are valid for an external address (BEP 42), as far from each other as such ids are: one for
/// each of the 8 values that the BEP's `r` can take. More than 8 are not to be had for one address.
pub fn ids_for(external: IpAddr, count: usize, seed: [u8; 32]) -> impl Iterator<Item = NodeId> {
    let mut rng = StdRng::from_seed(seed);
    (0..bep42::PREFIXES).take(count).map(move |r| bep42::node_id(external, r, &mut rng))
}

/// As many ids as asked for, spread evenly over the keyspace, random within their share of it.
pub fn spread_ids(count: usize, seed: [u8; 32]) -> impl Iterator<Item = NodeId> {
    let mut rng = StdRng::from_seed(seed);
    let share = (1_u128 << 64) / count.max(1) as u128;
    (0..count as u128).map(move |index| {
        let mut bytes = *NodeId::random(&mut rng).as_bytes();
        let [a, b, c, d, e, f, g, h, ..] = bytes;
        let within = (u128::from(u64::from_be_bytes([a, b, c, d, e, f, g, h])) * share) >> 64;
        bytes[..8].copy_from_slice(&((index * share + within) as u64).to_be_bytes());
        NodeId::from_bytes(bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_ids_have_one_in_each_equal_share_of_the_keyspace() {
        let ids: Vec<NodeId> = spread_ids(1_000, [1; 32]).collect();
        for (index, id) in ids.iter().enumerate() {
            let [a, b, c, d, ..] = *id.as_bytes();
            let place = f64::from(u32::from_be_bytes([a, b, c, d])) / 2.0_f64.powi(32) * 1_000.0;
            assert!((index as f64 - 1e-6..=index as f64 + 1.0).contains(&place), "{index}: {place}");
        }
        assert_eq!(spread_ids(1_000, [1; 32]).collect::<Vec<_>>(), ids);
    }

    #[test]
    fn an_address_has_eight_valid_ids_and_no_more() {
        let address: IpAddr = "124.31.75.21".parse().unwrap();
        let ids: Vec<NodeId> = ids_for(address, 100, [1; 32]).collect();
        assert_eq!(ids.len(), 8);
        assert!(ids.iter().all(|id| bep42::is_valid(address, id)));
        let mut prefixes: Vec<&[u8]> = ids.iter().map(|id| &id.as_bytes()[..2]).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        assert_eq!(prefixes.len(), 8);
    }
}
