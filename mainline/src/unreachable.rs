//! Endpoints that did not answer lately: about half of the contacts that others name, and named again and again.

use std::net::SocketAddr;
use std::time::Duration;

use crate::address::endpoint_bytes;
use crate::keyed_hash::HashKey;
use crate::set_cache::SetCache;

/// The endpoints, as many as there is room for; those noted longest ago are forgotten first.
#[derive(Debug)]
pub struct UnreachableCache {
    endpoints: SetCache<Silence>,
    key: HashKey,
    forgotten: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Silence {
    /// Seconds since the origin.
    until: u32,
    rounds: u32,
}

impl UnreachableCache {
    /// Room for `endpoints` endpoints of 18 bytes.
    pub fn new(endpoints: usize, key: HashKey) -> UnreachableCache {
        UnreachableCache { endpoints: SetCache::new(endpoints), key, forgotten: 0 }
    }

    /// An endpoint did not answer. It is left alone for 10 minutes the first time, for twice as long each time
    /// after, up to an hour.
    pub fn insert(&mut self, now: Duration, endpoint: SocketAddr) {
        let (silence, displaced) = self.endpoints.entry(self.key.hash(&endpoint_bytes(endpoint)));
        if silence.until > seconds(now) {
            return;
        }
        let pause = (PAUSE_FIRST * 2_u32.pow(silence.rounds.min(8))).min(PAUSE_MAX);
        *silence = Silence { until: seconds(now + pause), rounds: silence.rounds.saturating_add(1) };
        self.forgotten += u64::from(displaced);
    }

    /// An endpoint has answered after all.
    pub fn remove(&mut self, endpoint: SocketAddr) {
        self.endpoints.remove(self.key.hash(&endpoint_bytes(endpoint)));
    }

    /// An endpoint that did not answer seems to be there after all: it may be asked once more. Only the first of its
    /// pauses ends by that.
    pub fn forgive(&mut self, now: Duration, endpoint: SocketAddr) {
        if let Some(silence) = self.endpoints.touch(self.key.hash(&endpoint_bytes(endpoint)))
            && silence.rounds <= 1
        {
            silence.until = silence.until.min(seconds(now));
        }
    }

    /// Whether an endpoint is to be left alone.
    #[inline]
    pub fn contains(&self, now: Duration, endpoint: SocketAddr) -> bool {
        self.endpoints
            .peek(self.key.hash(&endpoint_bytes(endpoint)))
            .is_some_and(|silence| silence.until > seconds(now))
    }

    /// Endpoints forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

fn seconds(now: Duration) -> u32 {
    now.as_secs().min(u64::from(u32::MAX)) as u32
}

/// The first pause.
pub const PAUSE_FIRST: Duration = Duration::from_secs(10 * 60);

/// The longest pause: many nodes are behind lines that are up for hours only.
pub const PAUSE_MAX: Duration = Duration::from_secs(60 * 60);

/// Endpoints by default: 4.8 MB.
pub const ENDPOINTS: usize = 262_144;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn cache(places: usize) -> UnreachableCache {
        UnreachableCache::new(places, HashKey::derive(&[1; 32], "unreachable"))
    }

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(minutes * 60)
    }

    #[test]
    fn pauses_double_from_ten_minutes_to_an_hour() {
        let mut cache = cache(100);
        let mut now = minutes(0);
        for pause in [10, 20, 40, 60, 60] {
            cache.insert(now, addr(1));
            assert!(cache.contains(now + minutes(pause) - Duration::from_secs(1), addr(1)));
            now += minutes(pause);
            assert!(!cache.contains(now, addr(1)), "after {pause}");
        }
    }

    #[test]
    fn several_failures_within_a_pause_are_one() {
        let mut cache = cache(100);
        for _ in 0..5 {
            cache.insert(minutes(0), addr(1));
        }
        assert!(!cache.contains(minutes(10), addr(1)));
    }

    #[test]
    fn an_answer_ends_the_pause_and_other_ports_have_none() {
        let mut cache = cache(100);
        cache.insert(minutes(0), addr(1));
        assert!(!cache.contains(minutes(1), addr(2)));
        cache.remove(addr(1));
        assert!(!cache.contains(minutes(1), addr(1)));
        cache.insert(minutes(2), addr(1));
        assert!(!cache.contains(minutes(12), addr(1)));
    }

    #[test]
    fn who_seems_to_be_there_is_asked_once_more_and_not_again_and_again() {
        let mut cache = cache(100);
        cache.insert(minutes(0), addr(1));
        cache.forgive(minutes(1), addr(1));
        assert!(!cache.contains(minutes(1), addr(1)));
        cache.insert(minutes(2), addr(1));
        cache.forgive(minutes(3), addr(1));
        assert!(cache.contains(minutes(3), addr(1)) && !cache.contains(minutes(22), addr(1)));
    }

    #[test]
    fn a_flood_pushes_out_the_old() {
        let mut cache = cache(63);
        for port in 0..1_000 {
            cache.insert(minutes(0), addr(port));
        }
        let remembered = (0..1_000).filter(|port| cache.contains(minutes(1), addr(*port))).count();
        assert_eq!(remembered as u64 + cache.forgotten(), 1_000);
        assert!(remembered <= 63 && cache.contains(minutes(1), addr(999)));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_map(steps in prop::collection::vec((0_u8..4, 1_u16..6, 0_u64..40), 0..200)) {
            let mut cache = cache(64);
            let mut model: HashMap<u16, (Duration, u32)> = HashMap::new();
            let mut now = minutes(0);
            for (step, port, pause) in steps {
                match step {
                    0 | 1 => {
                        cache.insert(now, addr(port));
                        let (until, rounds) = model.entry(port).or_default();
                        if *until <= now {
                            *until = now + minutes([10, 20, 40, 60][*rounds as usize]);
                            *rounds = (*rounds + 1).min(3);
                        }
                    }
                    2 => {
                        cache.remove(addr(port));
                        model.remove(&port);
                    }
                    _ => now += minutes(pause),
                }
                for port in 1..6 {
                    let silent = model.get(&port).is_some_and(|(until, _)| *until > now);
                    prop_assert_eq!(cache.contains(now, addr(port)), silent);
                }
            }
        }
    }
}
