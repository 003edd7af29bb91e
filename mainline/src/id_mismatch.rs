//! Remotes that change their id: a restarted client does so once, a liar again and again.
//!
//! The contact is given up at the first change (see [`Seen::IdChanged`](crate::contact_store::Seen)); at the second
//! within [`MEMORY`] the party is banned. Only answers to queries of ours count: the source address of anything
//! else may be forged.

use std::net::IpAddr;
use std::time::Duration;

use crate::address::IpKey;
use crate::keyed_hash::HashKey;
use crate::set_cache::SetCache;

/// What follows from a change of id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// The first: forget the contact.
    Forget,
    /// One too many: the party is banned from now on.
    Ban,
}

/// Parties that have changed an id, as many as there is room for; those noted longest ago are forgotten first.
#[derive(Debug)]
pub struct IdMismatch {
    parties: SetCache<Record>,
    key: HashKey,
    bans: u64,
    /// Seconds since the origin: from then on nobody is banned.
    last_ban_ends: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Record {
    /// Seconds since the origin.
    changed_at: u32,
    banned_until: u32,
}

impl IdMismatch {
    /// Room for `parties` parties of 18 bytes.
    pub fn new(parties: usize, key: HashKey) -> IdMismatch {
        IdMismatch { parties: SetCache::new(parties), key, bans: 0, last_ban_ends: 0 }
    }

    /// An endpoint of `ip` has answered with another id than before.
    pub fn changed(&mut self, now: Duration, ip: IpAddr) -> Consequence {
        let at = seconds(now);
        let fresh = self.parties.peek(self.tag(ip)).is_none();
        let tag = self.tag(ip);
        let (record, _) = self.parties.entry(tag);
        let again = !fresh && at.saturating_sub(record.changed_at) < MEMORY.as_secs() as u32;
        record.changed_at = at;
        if !again {
            return Consequence::Forget;
        }
        record.banned_until = seconds(now + BAN);
        self.last_ban_ends = record.banned_until;
        self.bans += 1;
        Consequence::Ban
    }

    /// Whether a party is banned: nothing it sends is read, nothing is sent to it.
    #[inline]
    pub fn is_banned(&self, now: Duration, ip: IpAddr) -> bool {
        // Most of the time nobody is, and every packet asks.
        seconds(now) < self.last_ban_ends
            && self.parties.peek(self.tag(ip)).is_some_and(|record| record.banned_until > seconds(now))
    }

    /// Bans from the start on.
    pub fn bans(&self) -> u64 {
        self.bans
    }

    fn tag(&self, ip: IpAddr) -> u64 {
        self.key.hash(&IpKey::of(ip).bits().to_ne_bytes())
    }
}

fn seconds(now: Duration) -> u32 {
    now.as_secs().min(u64::from(u32::MAX)) as u32
}

/// How long a change of id is remembered: for longer than an endpoint is left alone after it. Two restarts of honest
/// clients behind one address within it are rare.
pub const MEMORY: Duration = Duration::from_secs(60 * 60);

/// How long a party is banned.
pub const BAN: Duration = Duration::from_secs(60 * 60);

/// Parties by default: 300 KiB.
pub const PARTIES: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn detector() -> IdMismatch {
        IdMismatch::new(100, HashKey::derive(&[1; 32], "mismatch"))
    }

    fn ip(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(minutes * 60)
    }

    #[test]
    fn the_second_change_bans_for_an_hour() {
        let mut detector = detector();
        assert_eq!(detector.changed(minutes(0), ip(1)), Consequence::Forget);
        assert!(!detector.is_banned(minutes(0), ip(1)));
        assert_eq!(detector.changed(minutes(14), ip(1)), Consequence::Ban);
        assert!(detector.is_banned(minutes(73), ip(1)));
        assert!(!detector.is_banned(minutes(73), ip(2)));
        assert!(!detector.is_banned(minutes(74), ip(1)));
        assert_eq!(detector.bans(), 1);
    }

    #[test]
    fn rare_changes_are_restarts() {
        let mut detector = detector();
        for round in 0..5 {
            assert_eq!(detector.changed(minutes(round * 60), ip(1)), Consequence::Forget);
        }
        assert_eq!(detector.bans(), 0);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_list_of_changes(steps in prop::collection::vec((0_u8..5, 0_u64..20), 0..100)) {
            let mut detector = detector();
            let mut last: HashMap<u8, Duration> = HashMap::new();
            let mut banned: HashMap<u8, Duration> = HashMap::new();
            let mut now = minutes(0);
            for (n, pause) in steps {
                now += minutes(pause);
                let again = last.insert(n, now).is_some_and(|before| now - before < MEMORY);
                if again {
                    banned.insert(n, now + BAN);
                }
                let expected = if again { Consequence::Ban } else { Consequence::Forget };
                prop_assert_eq!(detector.changed(now, ip(n)), expected);
                for n in 0..5 {
                    let until = banned.get(&n).copied().unwrap_or_default();
                    prop_assert_eq!(detector.is_banned(now, ip(n)), until > now);
                }
            }
        }
    }
}
