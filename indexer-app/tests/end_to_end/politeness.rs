//! What a swarm has to say of how it was treated.

use swarm::Swarm;

/// Packets to one address within any second, answers included.
const PACKETS_PER_SECOND: u64 = 4;

/// Packets to one address within ten seconds: a burst of three queries, one a second after it, and one that
/// the clocks of the two sides may see differently.
const QUERIES_PER_TEN_SECONDS: u64 = 3 + 10 + 1;

/// That no node was asked more often than an indexer at one address may ask it, or asked or told anything odd.
pub(crate) fn assert_polite(swarm: &Swarm) {
    let seen = swarm.stats();
    assert!(seen.peak_per_second <= PACKETS_PER_SECOND, "{seen:?}");
    assert!(seen.peak_per_ten_seconds <= QUERIES_PER_TEN_SECONDS, "{seen:?}");
    assert_eq!(
        (seen.floods, seen.malformed, seen.unasked_replies, seen.announces, seen.other_queries),
        (0, 0, 0, 0, 0),
        "{seen:?}"
    );
}
