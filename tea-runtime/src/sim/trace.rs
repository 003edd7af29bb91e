//! The trace hash: everything that was delivered, in order, in 64 bits.

use std::{
    hash::{Hash, Hasher},
    net::{IpAddr, SocketAddr},
};

use super::rng::finalise;
use crate::Time;

/// What kind of event was delivered.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    Datagram = 1,
    Stream,
    Timer,
    Tick,
    Retry,
    Signal,
    Effect,
    Task,
    Control,
    Told,
    Wake,
    Start,
    Stop,
    Crash,
}

/// Two runs with equal hashes delivered the same events at the same times in the same order (but for a collision,
/// 1 in 2^64).
#[derive(Clone, Debug)]
pub(super) struct Trace {
    hash: u64,
    events: u64,
}

impl Trace {
    pub(super) const fn new(seed: u64) -> Self {
        Self { hash: seed, events: 0 }
    }

    pub(super) const fn hash(&self) -> u64 {
        finalise(self.hash)
    }

    pub(super) const fn events(&self) -> u64 {
        self.events
    }

    /// Mixes in the head of an event; what it carries follows.
    pub(super) fn event(&mut self, now: Time, node: u32, kind: Kind) {
        self.events += 1;
        self.word(now.as_nanos());
        self.word(u64::from(node) << 8 | kind as u64);
    }

    /// Mixes in what names the event within its kind.
    pub(super) fn name(&mut self, name: &impl Hash) {
        let mut hasher = Mixer(self.hash);
        name.hash(&mut hasher);
        self.hash = hasher.0;
    }

    pub(super) fn address(&mut self, address: SocketAddr) {
        match address.ip() {
            IpAddr::V4(ip) => self.word(u64::from(u32::from(ip)) << 16 | u64::from(address.port())),
            IpAddr::V6(ip) => {
                let ip = u128::from(ip);
                self.word((ip >> 64) as u64);
                self.word(ip as u64);
                self.word(u64::from(address.port()));
            }
        }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        let mut mixer = Mixer(self.hash);
        mixer.write(bytes);
        mixer.write_usize(bytes.len());
        self.hash = mixer.0;
    }

    fn word(&mut self, word: u64) {
        self.hash = mix(self.hash, word);
    }
}

/// A hasher without keys: the same on every run, so that maps and traces do not depend on ambient randomness. The maps
/// that use it are looked into, never walked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.0 = mix(self.0, u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.0 = mix(self.0, u64::from_le_bytes(last));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.0 = mix(self.0, u64::from(n));
    }

    fn write_u16(&mut self, n: u16) {
        self.0 = mix(self.0, u64::from(n));
    }

    fn write_u32(&mut self, n: u32) {
        self.0 = mix(self.0, u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = mix(self.0, n);
    }

    fn write_usize(&mut self, n: usize) {
        self.0 = mix(self.0, n as u64);
    }
}

pub(super) type Fixed = std::hash::BuildHasherDefault<Mixer>;
/// A map for lookups.
pub(super) type Map<K, V> = std::collections::HashMap<K, V, Fixed>;

const fn mix(hash: u64, word: u64) -> u64 {
    let hash = (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(fill: impl FnOnce(&mut Trace)) -> u64 {
        let mut trace = Trace::new(1);
        fill(&mut trace);
        trace.hash()
    }

    #[test]
    fn every_part_of_an_event_counts() {
        let event = |at, node, kind, bytes: &[u8]| {
            hash_of(|trace| {
                trace.event(Time::from_nanos(at), node, kind);
                trace.bytes(bytes);
            })
        };
        let hashes = [
            event(1, 1, Kind::Datagram, b"a"),
            event(2, 1, Kind::Datagram, b"a"),
            event(1, 2, Kind::Datagram, b"a"),
            event(1, 1, Kind::Stream, b"a"),
            event(1, 1, Kind::Datagram, b"b"),
            event(1, 1, Kind::Datagram, b"a\0"),
            event(1, 1, Kind::Datagram, b""),
        ];
        let distinct: std::collections::BTreeSet<u64> = hashes.into_iter().collect();
        assert_eq!(distinct.len(), hashes.len());
        assert_eq!(event(1, 1, Kind::Datagram, b"a"), hashes[0]);
    }

    #[test]
    fn the_order_of_events_counts() {
        let ab = hash_of(|trace| [b"a", b"b"].into_iter().for_each(|bytes| trace.bytes(bytes)));
        let ba = hash_of(|trace| [b"b", b"a"].into_iter().for_each(|bytes| trace.bytes(bytes)));
        assert_ne!(ab, ba);
    }
}
