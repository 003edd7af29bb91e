//! Info-hashes that were just seen: told apart from those seen lately, and gathered for the database to be asked.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use krpc::InfoHash;
use tea_runtime::Time;

use super::{
    announcers::{Announcers, Heard},
    recent::RecentHashes,
};
use crate::db::{BacklogNew, Discovery};

/// Hashes remembered as seen lately, and at most twice as many: some 20 MB. What is forgotten is asked for once more.
const RECENT_MAX: usize = 250_000;

/// Of them, hashes remembered as announced: some 4 MB.
const ANNOUNCED_MAX: usize = 50_000;

/// Hashes that may wait for the database. 20,000 of some 200 bytes: seconds of work for it; when it is down longer, new
/// hashes are dropped, and come again with the next samples.
const WAITING_MAX: usize = 20_000;

/// Hashes asked for at a time: a thousand cost the database 3 ms.
const BATCH_MAX: usize = 1_000;

/// How long the first hash of a batch waits for others.
const DELAY: Duration = Duration::from_millis(100);

/// Nodes kept per hash, to be asked for peers first. Four: each costs one packet, and their budgets differ.
const HINTS_MAX: usize = 4;

/// What became of a hash that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It was not seen lately and waits to be asked for.
    New,
    /// It was seen lately.
    Again,
    /// There is no room; it counts as not seen.
    Refused,
}

/// Hashes on their way to their first question.
#[derive(Debug)]
pub(super) struct Intake {
    /// Seen in any way.
    recent: RecentHashes,
    /// Sampled or announced, which promises peers: a hash that was only overheard counts as new when a node samples it.
    promising: RecentHashes,
    /// Announced: there is a peer. A hash that was only sampled counts as new then, since it waits behind others or for
    /// another try.
    announced: RecentHashes,
    /// By whom: a hash that several networks announce goes before others that were announced.
    announcers: Announcers,
    waiting: HashMap<InfoHash, BacklogNew>,
    order: VecDeque<InfoHash>,
    oldest: Option<Time>,
    refused: u64,
}

impl Default for Intake {
    fn default() -> Self {
        Self {
            recent: RecentHashes::new(RECENT_MAX),
            promising: RecentHashes::new(RECENT_MAX),
            announced: RecentHashes::new(ANNOUNCED_MAX),
            announcers: Announcers::default(),
            waiting: HashMap::new(),
            order: VecDeque::new(),
            oldest: None,
            refused: 0,
        }
    }
}

impl Intake {
    /// A hash was seen; `hint` is a node that stores peers of it.
    pub(super) fn see(
        &mut self,
        hash: InfoHash,
        source: Discovery,
        hint: Option<SocketAddr>,
        now: Time,
    ) -> Seen {
        let is_new = self.remember(hash, source);
        self.take_up(hash, source, false, hint, is_new, now)
    }

    /// A peer announced itself for a hash.
    pub(super) fn announced(&mut self, hash: InfoHash, peer: SocketAddr, now: Time) -> Seen {
        let is_new = self.remember(hash, Discovery::Announced);
        let heard = self.announcers.hear(hash, peer.ip());
        let is_new = is_new || heard == Heard::OftenNow;
        self.take_up(hash, Discovery::Announced, heard != Heard::Seldom, None, is_new, now)
    }

    fn take_up(
        &mut self,
        hash: InfoHash,
        source: Discovery,
        often: bool,
        hint: Option<SocketAddr>,
        is_new: bool,
        now: Time,
    ) -> Seen {
        if let Some(entry) = self.waiting.get_mut(&hash) {
            if rank(source) > rank(entry.source) {
                entry.source = source;
            }
            entry.often |= often;
            if let Some(hint) = hint
                && entry.hints.len() < HINTS_MAX
                && !entry.hints.contains(&hint)
            {
                entry.hints.push(hint);
            }
            return Seen::Again;
        }
        if !is_new {
            return Seen::Again;
        }
        if self.waiting.len() >= WAITING_MAX {
            self.forget(&hash);
            self.refused += 1;
            return Seen::Refused;
        }
        self.waiting
            .insert(hash, BacklogNew { info_hash: hash, source, often, hints: hint.into_iter().collect() });
        self.order.push_back(hash);
        self.oldest.get_or_insert(now);
        Seen::New
    }

    /// The hash is to count as new when it comes again.
    pub(super) fn forget(&mut self, hash: &InfoHash) {
        self.recent.remove(hash);
        self.promising.remove(hash);
        self.announced.remove(hash);
    }

    /// The next hashes to ask the database for, if enough wait or have waited long enough.
    pub(super) fn batch(&mut self, now: Time, flush: bool) -> Option<Vec<BacklogNew>> {
        let due =
            flush || self.order.len() >= BATCH_MAX || self.oldest.is_some_and(|oldest| now >= oldest + DELAY);
        if self.order.is_empty() || !due {
            return None;
        }
        let count = self.order.len().min(BATCH_MAX);
        let batch = self.order.drain(..count).filter_map(|hash| self.waiting.remove(&hash)).collect();
        self.oldest = (!self.order.is_empty()).then_some(now);
        Some(batch)
    }

    /// Whether a hash was not seen lately in this way or one that says more.
    fn remember(&mut self, hash: InfoHash, source: Discovery) -> bool {
        let mut is_new = self.recent.insert(hash);
        if rank(source) >= rank(Discovery::Sampled) {
            is_new = self.promising.insert(hash);
        }
        if rank(source) >= rank(Discovery::Announced) {
            is_new = self.announced.insert(hash);
        }
        is_new
    }

    /// Hashes that wait.
    pub(super) fn waiting(&self) -> usize {
        self.order.len()
    }

    /// Hashes for which there was no room.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }
}

/// How much a way of being seen says of whether there are peers.
fn rank(source: Discovery) -> u8 {
    match source {
        Discovery::Overheard | Discovery::Imported => 0,
        Discovery::Sampled => 1,
        Discovery::Announced => 2,
        Discovery::Requested => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u32) -> InfoHash {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        InfoHash::from_bytes(bytes)
    }

    fn node(port: u16) -> Option<SocketAddr> {
        Some(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    #[test]
    fn a_hash_seen_again_while_it_waits_gathers_the_nodes_that_know_it() {
        let mut intake = Intake::default();
        assert_eq!(intake.see(hash(1), Discovery::Sampled, node(1), Time::ZERO), Seen::New);
        for port in [1, 2, 3, 4, 5, 6] {
            assert_eq!(intake.see(hash(1), Discovery::Sampled, node(port), Time::ZERO), Seen::Again);
        }
        let batch = intake.batch(Time::ZERO, true).unwrap();
        assert_eq!(batch.len(), 1);
        assert_eq!(batch[0].hints.iter().map(SocketAddr::port).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(intake.see(hash(1), Discovery::Sampled, node(1), Time::ZERO), Seen::Again);
        intake.forget(&hash(1));
        assert_eq!(intake.see(hash(1), Discovery::Sampled, node(1), Time::ZERO), Seen::New);
    }

    #[test]
    fn a_hash_that_was_only_overheard_is_new_once_more_when_a_node_samples_it() {
        let mut intake = Intake::default();
        assert_eq!(intake.see(hash(1), Discovery::Overheard, None, Time::ZERO), Seen::New);
        intake.batch(Time::ZERO, true);
        assert_eq!(intake.see(hash(1), Discovery::Overheard, None, Time::ZERO), Seen::Again);
        assert_eq!(intake.see(hash(1), Discovery::Sampled, node(1), Time::ZERO), Seen::New);
        assert_eq!(intake.batch(Time::ZERO, true).unwrap()[0].hints.len(), 1);
        assert_eq!(intake.see(hash(1), Discovery::Sampled, node(2), Time::ZERO), Seen::Again);
        assert_eq!(intake.see(hash(1), Discovery::Overheard, None, Time::ZERO), Seen::Again);

        intake.see(hash(2), Discovery::Overheard, None, Time::ZERO);
        intake.see(hash(2), Discovery::Sampled, node(1), Time::ZERO);
        assert_eq!(intake.batch(Time::ZERO, true).unwrap()[0].source, Discovery::Sampled);
    }

    #[test]
    fn a_hash_that_was_only_sampled_is_new_once_more_when_a_peer_announces_itself() {
        let mut intake = Intake::default();
        let mut seen = |source| intake.see(hash(1), source, None, Time::ZERO);
        assert_eq!(seen(Discovery::Sampled), Seen::New);
        // While it waits it is raised, and not asked for twice.
        assert_eq!(seen(Discovery::Announced), Seen::Again);
        assert_eq!(seen(Discovery::Sampled), Seen::Again);
        assert_eq!(intake.batch(Time::ZERO, true).unwrap()[0].source, Discovery::Announced);
        let mut seen = |number, source| {
            let seen = intake.see(hash(number), source, None, Time::ZERO);
            intake.batch(Time::ZERO, true);
            seen
        };
        assert_eq!(seen(1, Discovery::Announced), Seen::Again);
        assert_eq!(seen(2, Discovery::Sampled), Seen::New);
        assert_eq!(seen(2, Discovery::Announced), Seen::New);
        for source in [Discovery::Announced, Discovery::Sampled, Discovery::Overheard] {
            assert_eq!(seen(2, source), Seen::Again);
        }
    }

    #[test]
    fn a_hash_is_new_once_more_when_several_networks_have_announced_it() {
        let mut intake = Intake::default();
        let mut announced = |network: u8, host: u8| {
            let seen = intake.announced(hash(1), SocketAddr::from(([20, 0, network, host], 1)), Time::ZERO);
            (seen, intake.batch(Time::ZERO, true).map(|batch| batch[0].often))
        };
        assert_eq!(announced(1, 1), (Seen::New, Some(false)));
        for host in 2..10 {
            assert_eq!(announced(1, host), (Seen::Again, None), "one network is one voice");
        }
        assert_eq!(announced(2, 1), (Seen::Again, None));
        assert_eq!(announced(3, 1), (Seen::New, Some(true)));
        assert_eq!(announced(4, 1), (Seen::Again, None));
    }

    #[test]
    fn hashes_wait_for_others_but_not_for_long() {
        let mut intake = Intake::default();
        intake.see(hash(1), Discovery::Sampled, None, Time::ZERO);
        assert_eq!(intake.batch(Time::ZERO, false), None);
        assert_eq!(intake.batch(Time::ZERO + DELAY, false).map(|batch| batch.len()), Some(1));
        for n in 2..2 + BATCH_MAX as u32 {
            intake.see(hash(n), Discovery::Sampled, None, Time::ZERO);
        }
        assert_eq!(intake.batch(Time::ZERO, false).map(|batch| batch.len()), Some(BATCH_MAX));
    }

    #[test]
    fn what_was_refused_for_lack_of_room_is_new_when_it_comes_again() {
        let mut intake = Intake::default();
        for n in 0..WAITING_MAX as u32 {
            intake.see(hash(n), Discovery::Sampled, None, Time::ZERO);
        }
        let late = hash(u32::MAX);
        assert_eq!(intake.see(late, Discovery::Sampled, None, Time::ZERO), Seen::Refused);
        intake.batch(Time::ZERO, true);
        assert_eq!(intake.see(late, Discovery::Sampled, None, Time::ZERO), Seen::New);
        assert_eq!(intake.refused(), 1);
    }
}
