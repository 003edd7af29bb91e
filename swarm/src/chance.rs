//! Decisions drawn from a seed and numbers, the same whenever they are asked for: what need not be remembered
//! takes no memory.

/// What a draw is about, so that draws about different things are independent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Topic {
    NodeId = 1,
    NodeClient,
    NodeSampling,
    Acquaintance,
    Samples,
    Token,
    TorrentSeed,
    Pieces,
    SeederOf,
    SeederHabit,
    SeederClient,
    SeederDoor,
}

/// A uniformly distributed number for (seed, topic, a, b).
pub(crate) fn draw(seed: u64, topic: Topic, a: u64, b: u64) -> u64 {
    let mut state = mix(seed ^ (topic as u64).wrapping_mul(0xd1b5_4a32_d192_ed03));
    state = mix(state ^ a);
    mix(state ^ b.wrapping_mul(0x8cb9_2ba7_2f3d_8dd7))
}

/// The same as a share: 0.0 <= x < 1.0.
pub(crate) fn draw_share(seed: u64, topic: Topic, a: u64, b: u64) -> f64 {
    (draw(seed, topic, a, b) >> 11) as f64 / (1u64 << 53) as f64
}

/// `count` bytes that look random.
pub(crate) fn draw_bytes(seed: u64, topic: Topic, a: u64, b: u64, count: usize) -> Vec<u8> {
    let mut state = draw(seed, topic, a, b);
    let mut bytes = Vec::with_capacity(count.next_multiple_of(8));
    while bytes.len() < count {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        bytes.extend_from_slice(&finish(state).to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

/// One step of SplitMix64.
fn mix(state: u64) -> u64 {
    finish(state.wrapping_add(0x9e37_79b9_7f4a_7c15))
}

fn finish(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_repeat_and_differ_by_every_argument() {
        let first = draw(1, Topic::NodeId, 2, 3);
        assert_eq!(first, draw(1, Topic::NodeId, 2, 3));
        for other in [
            draw(2, Topic::NodeId, 2, 3),
            draw(1, Topic::NodeClient, 2, 3),
            draw(1, Topic::NodeId, 3, 3),
            draw(1, Topic::NodeId, 2, 4),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn shares_are_even() {
        let below = (0..10_000).filter(|i| draw_share(7, Topic::NodeSampling, *i, 0) < 0.3).count();
        assert!((2_850..3_150).contains(&below), "{below} of 10000 below 0.3");
    }

    #[test]
    fn bytes_come_in_any_count() {
        assert_eq!(draw_bytes(1, Topic::Pieces, 1, 1, 0), b"");
        let long = draw_bytes(1, Topic::Pieces, 1, 1, 45);
        assert_eq!(long.len(), 45);
        assert_eq!(draw_bytes(1, Topic::Pieces, 1, 1, 20), long[..20]);
    }
}
