//! Ids that are spread over the keyspace.

use krpc::NodeId;
use rand::SeedableRng;
use rand::rngs::StdRng;

/// As many ids as asked for, spread evenly over the keyspace, random within their share of it.
pub fn spread_ids(count: usize, seed: [u8; 32]) -> impl Iterator<Item = NodeId> {
    let mut rng = StdRng::from_seed(seed);
    (0..count).map(move |index| in_share(index, count, &NodeId::random(&mut rng)))
}

/// A random point, brought into one of `count` equal shares of the keyspace.
pub(crate) fn in_share(index: usize, count: usize, point: &NodeId) -> NodeId {
    let mut bytes = *point.as_bytes();
    let [a, b, c, d, e, f, g, h, ..] = bytes;
    let share = (1_u128 << 64) / count.max(1) as u128;
    let within = (u128::from(u64::from_be_bytes([a, b, c, d, e, f, g, h])) * share) >> 64;
    bytes[..8].copy_from_slice(&((index as u128 * share + within) as u64).to_be_bytes());
    NodeId::from_bytes(bytes)
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
}
