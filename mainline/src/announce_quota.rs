//! How many info-hashes one party may bring into the peer store.
//!
//! To announce costs nothing but packets, and every announced info-hash displaces another once the store is full. Clients
//! announce to the eight nodes closest to each of their torrents, so even one with ten thousand torrents brings few to any
//! node: whoever brings thousands is filling the store.

use std::net::IpAddr;
use std::time::Duration;

use crate::address::IpKey;
use crate::keyed_hash::HashKey;
use crate::peer_store::PEER_LIFETIME;
use crate::set_cache::SetCache;

/// What the parties have brought lately; those that brought nothing for longest are forgotten first.
#[derive(Debug)]
pub(crate) struct AnnounceQuota {
    parties: SetCache<Record>,
    hashes_max: u32,
    key: HashKey,
}

#[derive(Debug, Clone, Copy, Default)]
struct Record {
    /// Seconds since the origin.
    begun: u32,
    hashes: u32,
}

impl AnnounceQuota {
    /// For a store of `torrents_max` info-hashes.
    pub(crate) fn new(torrents_max: usize, key: HashKey) -> AnnounceQuota {
        let hashes_max = u32::try_from(torrents_max / STORE_SHARE).unwrap_or(u32::MAX);
        AnnounceQuota { parties: SetCache::new(PARTIES), hashes_max: hashes_max.max(HASHES_MIN), key }
    }

    /// Whether a party may bring another info-hash, which it then counts as: so many in the time that an announced peer is
    /// kept for.
    pub(crate) fn take(&mut self, now: Duration, ip: IpAddr) -> bool {
        let at = now.as_secs().min(u64::from(u32::MAX)) as u32;
        let (record, _) = self.parties.entry(self.key.hash(&IpKey::of(ip).bits().to_ne_bytes()));
        if record.hashes == 0 || at.saturating_sub(record.begun) >= PEER_LIFETIME.as_secs() as u32 {
            *record = Record { begun: at, hashes: 0 };
        }
        let allowed = record.hashes < self.hashes_max;
        record.hashes += u32::from(allowed);
        allowed
    }
}

/// One party may fill this part of the store: a 64th.
const STORE_SHARE: usize = 64;

/// And so many in a small store.
const HASHES_MIN: u32 = 64;

/// Parties remembered: 300 KiB.
const PARTIES: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_party_brings_its_share_in_the_lifetime_of_a_peer() {
        let mut quota = AnnounceQuota::new(64_000, HashKey::derive(&[1; 32], "quota"));
        let ip = |n: u8| IpAddr::from([192, 0, 2, n]);
        let mut taken = |at, n| (0..5_000).filter(|_| quota.take(at, ip(n))).count();
        let start = Duration::from_secs(7);
        assert_eq!(taken(start, 1), 1_000);
        assert_eq!(taken(start + PEER_LIFETIME - Duration::from_secs(1), 1), 0);
        assert_eq!(taken(start, 2), 1_000);
        assert_eq!(taken(start + PEER_LIFETIME, 1), 1_000);
    }
}
