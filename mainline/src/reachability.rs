//! Whether anybody can reach us who was not spoken to first (BEP 43).
//!
//! Behind a NAT or a firewall a node gets answers, and for some minutes queries from those it has sent something to. What it
//! never gets is a query of a stranger. A node that can be reached gets them soon: everybody who has it in a table looks
//! after that table within 15 minutes (BEP 5), and names it to others. So a port to which no stranger comes for
//! [`FAIR_TIME`], although [`ANSWERS_MIN`] nodes have answered, is taken for unreachable: its nodes say so (`ro`), stay
//! out of the tables of others, and answer nothing. The first stranger ends that. As read-only nodes are told to nobody,
//! strangers would stay away for ever: so after a while, which doubles each time, the port is tried again.
//!
//! This is known of each port on its own: of four ports a router may forward one.

use std::net::IpAddr;
use std::time::Duration;

use crate::address::IpKey;
use crate::config::{PortIndex, ReadOnly};
use crate::keyed_hash::HashKey;

/// Whether a port can be reached from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Reachability {
    /// It is not known yet, or is tried anew: the nodes behind it answer, as if it could.
    #[default]
    Unknown,
    /// Somebody has sent a query whom we had not spoken to.
    Reachable,
    /// Nobody has for long: the nodes behind it are read-only.
    Unreachable,
}

/// What is known of each port.
#[derive(Debug)]
pub(crate) struct ReachabilityWatch {
    mode: ReadOnly,
    ports: Vec<Watched>,
    spoken: Spoken,
    look_at: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Watched {
    state: Reachability,
    /// Since when it is so; when reachable: when the last stranger came.
    since: Duration,
    /// Answers to queries of ours since then.
    answers: u32,
    /// How long it is read-only before it is tried again.
    pause: Duration,
    strangers: u64,
}

impl ReachabilityWatch {
    /// For so many ports, at which so many endpoints a minute are spoken to at the most.
    pub(crate) fn new(
        mode: ReadOnly,
        ports: usize,
        endpoints_per_minute: u32,
        key: HashKey,
        now: Duration,
    ) -> ReachabilityWatch {
        let state = Reachability::Unknown;
        let port = Watched { state, since: now, answers: 0, pause: PAUSE_MIN, strangers: 0 };
        let spoken = if mode == ReadOnly::Auto {
            Spoken::new(endpoints_per_minute, key, now)
        } else {
            Spoken::none(key)
        };
        ReachabilityWatch { mode, ports: vec![port; ports], spoken, look_at: now }
    }

    /// Whether the nodes behind a port say that they cannot be reached, and answer nothing.
    #[inline]
    pub(crate) fn is_read_only(&self, port: PortIndex) -> bool {
        match self.mode {
            ReadOnly::On => true,
            ReadOnly::Off => false,
            ReadOnly::Auto => self.of(port) == Reachability::Unreachable,
        }
    }

    /// What is known of a port.
    pub(crate) fn of(&self, port: PortIndex) -> Reachability {
        self.ports.get(usize::from(port.0)).map_or(Reachability::Unknown, |port| port.state)
    }

    /// Queries of strangers at a port, from the start on.
    pub(crate) fn strangers(&self, port: PortIndex) -> u64 {
        self.ports.get(usize::from(port.0)).map_or(0, |port| port.strangers)
    }

    /// Something is sent from a port.
    #[inline]
    pub(crate) fn sent(&mut self, now: Duration, port: PortIndex, to: IpAddr) {
        if self.mode == ReadOnly::Auto {
            self.spoken.note(now, port, to);
        }
    }

    /// A query of ours was answered.
    #[inline]
    pub(crate) fn answered(&mut self, port: PortIndex) {
        if let Some(port) = self.ports.get_mut(usize::from(port.0)) {
            port.answers = port.answers.saturating_add(1);
        }
    }

    /// A query has come in. Whether it shows for the first time, or again, that the port can be reached.
    pub(crate) fn queried(&mut self, now: Duration, port: PortIndex, from: IpAddr) -> bool {
        if self.mode != ReadOnly::Auto || self.spoken.contains(port, from) {
            return false;
        }
        let Some(port) = self.ports.get_mut(usize::from(port.0)) else { return false };
        let news = port.state != Reachability::Reachable;
        let strangers = port.strangers + 1;
        *port =
            Watched { state: Reachability::Reachable, since: now, answers: 0, pause: PAUSE_MIN, strangers };
        news
    }

    /// Looks, once in a while, for ports of which something else is to be thought by now, and hands them over.
    pub(crate) fn look(&mut self, now: Duration, mut changed: impl FnMut(PortIndex, Reachability)) {
        if self.mode != ReadOnly::Auto || now < self.look_at {
            return;
        }
        self.look_at = now + LOOK_PAUSE;
        for (index, port) in (0..).map(PortIndex).zip(&mut self.ports) {
            let waited = now.saturating_sub(port.since);
            let heard_of_us = port.answers >= ANSWERS_MIN;
            let state = match port.state {
                Reachability::Unknown if waited >= FAIR_TIME && heard_of_us => Reachability::Unreachable,
                Reachability::Reachable if waited >= LOST_AFTER && heard_of_us => Reachability::Unreachable,
                Reachability::Unreachable if waited >= port.pause => {
                    port.pause = (port.pause * 2).min(PAUSE_MAX);
                    Reachability::Unknown
                }
                _ => continue,
            };
            (port.state, port.since, port.answers) = (state, now, 0);
            changed(index, state);
        }
    }
}

/// Whom we have sent something to within the last minutes, and from which port, as a router lets others in: two Bloom filters that take turns. That somebody is taken for
/// spoken to who was not (one in twenty, when they are full) makes a stranger be overlooked, and others come.
#[derive(Debug)]
struct Spoken {
    now: Box<[u64]>,
    before: Box<[u64]>,
    ends: Duration,
    key: HashKey,
}

impl Spoken {
    fn new(endpoints_per_minute: u32, key: HashKey, now: Duration) -> Spoken {
        let minutes = SPOKEN_FOR.as_secs() / 60;
        let bits = (u64::from(endpoints_per_minute) * minutes * BITS_PER_ENDPOINT).next_power_of_two();
        let words = (bits.clamp(BITS_MIN, BITS_MAX) / 64) as usize;
        let empty = || vec![0; words].into_boxed_slice();
        Spoken { now: empty(), before: empty(), ends: now + SPOKEN_FOR, key }
    }

    fn none(key: HashKey) -> Spoken {
        Spoken { now: Box::default(), before: Box::default(), ends: Duration::MAX, key }
    }

    fn note(&mut self, now: Duration, port: PortIndex, ip: IpAddr) {
        if now >= self.ends {
            std::mem::swap(&mut self.now, &mut self.before);
            self.now.fill(0);
            if now >= self.ends + SPOKEN_FOR {
                self.before.fill(0);
            }
            self.ends = now + SPOKEN_FOR;
        }
        let hash = self.hash(port, ip);
        for (word, bit) in places(hash, self.now.len()) {
            self.now[word] |= bit;
        }
    }

    fn contains(&self, port: PortIndex, ip: IpAddr) -> bool {
        let hash = self.hash(port, ip);
        let holds = |filter: &[u64]| places(hash, filter.len()).all(|(word, bit)| filter[word] & bit != 0);
        holds(&self.now) || holds(&self.before)
    }

    fn hash(&self, port: PortIndex, ip: IpAddr) -> u64 {
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&IpKey::of(ip).bits().to_ne_bytes());
        bytes[8..].copy_from_slice(&port.0.to_ne_bytes());
        self.key.hash(&bytes)
    }
}

/// Four bits of a filter of so many words, a power of two.
fn places(hash: u64, words: usize) -> impl Iterator<Item = (usize, u64)> {
    let (first, step) = (hash as u32, (hash >> 32) as u32 | 1);
    (0..4_u32).map(move |n| {
        let bit = first.wrapping_add(step.wrapping_mul(n)) as usize & (words * 64).wrapping_sub(1);
        (bit / 64, 1 << (bit % 64))
    })
}

/// Without a stranger for so long a port is taken for unreachable: the 15 minutes in which tables are looked after, and
/// some for names to get around.
pub const FAIR_TIME: Duration = Duration::from_secs(20 * 60);

/// So many answers show that others could have taken notice of us, and that it is not our line that is down.
pub const ANSWERS_MIN: u32 = 100;

/// A port that strangers came to is taken for unreachable when none comes for so long, as when a router has forgotten what
/// to forward.
pub const LOST_AFTER: Duration = Duration::from_secs(60 * 60);

/// How long a port is read-only before it is tried again, the first time. Each trial puts us for [`FAIR_TIME`] into
/// tables where we do not belong, so it doubles.
pub const PAUSE_MIN: Duration = Duration::from_secs(60 * 60);

/// The longest such time.
pub const PAUSE_MAX: Duration = Duration::from_secs(8 * 60 * 60);

/// Whoever we have sent something to within this time is no stranger. NATs keep a UDP mapping for 2 to 5 minutes (RFC
/// 4787, REQ-5); twice that is on the safe side.
pub const SPOKEN_FOR: Duration = Duration::from_secs(10 * 60);

/// Ports change their standing within minutes.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// With four bits set for each, one in forty is mistaken in one filter.
const BITS_PER_ENDPOINT: u64 = 8;

const BITS_MIN: u64 = 1 << 16;

/// 4 MiB for each of the two: enough for 400,000 endpoints a minute.
const BITS_MAX: u64 = 1 << 25;

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: PortIndex = PortIndex(0);

    fn at(minutes: u64) -> Duration {
        Duration::from_secs(60 * minutes)
    }

    fn ip(n: u32) -> IpAddr {
        IpAddr::from((0x4000_0000 + n).to_be_bytes())
    }

    fn watch(mode: ReadOnly) -> ReachabilityWatch {
        ReachabilityWatch::new(mode, 2, 1_200, HashKey::derive(&[1; 32], "reachability"), at(0))
    }

    /// Lets minutes pass, in each of which ten nodes are asked, answer, and ask us too. What changes, and when.
    fn spend(
        watch: &mut ReachabilityWatch,
        minutes: std::ops::Range<u64>,
    ) -> Vec<(u64, PortIndex, Reachability)> {
        let mut changes = Vec::new();
        for minute in minutes {
            for n in 0..10 {
                let node = ip(minute as u32 * 10 + n);
                watch.sent(at(minute), PORT, node);
                watch.answered(PORT);
                assert!(!watch.queried(at(minute), PORT, node));
                // Those of some minutes ago still come through a NAT.
                assert!(!watch.queried(
                    at(minute),
                    PORT,
                    ip((minute as u32 * 10 + n).saturating_sub(80).max(n))
                ));
            }
            watch.look(at(minute), |port, state| changes.push((minute, port, state)));
        }
        changes
    }

    #[test]
    fn without_strangers_a_port_is_read_only_after_a_fair_time_and_is_tried_again() {
        let mut watch = watch(ReadOnly::Auto);
        let changes = spend(&mut watch, 0..400);
        let (lost, trial) = (Reachability::Unreachable, Reachability::Unknown);
        assert_eq!(
            changes,
            [(20, PORT, lost), (80, PORT, trial), (100, PORT, lost), (220, PORT, trial), (240, PORT, lost),],
            "the other port, at which nobody answers, says nothing"
        );
        assert!(watch.is_read_only(PORT) && !watch.is_read_only(PortIndex(1)));
    }

    #[test]
    fn a_stranger_ends_it_at_once_and_strangers_keep_it_away() {
        let mut watch = watch(ReadOnly::Auto);
        assert_eq!(spend(&mut watch, 0..30).len(), 1);
        assert!(watch.is_read_only(PORT));
        assert!(watch.queried(at(30), PORT, ip(1_000_000)));
        assert!(!watch.queried(at(30), PORT, ip(1_000_001)), "that is no news any more");
        assert!(!watch.is_read_only(PORT));
        assert_eq!((watch.of(PORT), watch.strangers(PORT)), (Reachability::Reachable, 2));
        for hour in 0..5 {
            let changes = spend(&mut watch, 30 + hour * 50..80 + hour * 50);
            assert_eq!(changes, [], "hour {hour}");
            watch.queried(at(80 + hour * 50), PORT, ip(2_000_000 + hour as u32));
        }
        // None comes any more.
        assert_eq!(spend(&mut watch, 280..345), [(340, PORT, Reachability::Unreachable)]);
    }

    #[test]
    fn who_was_spoken_to_long_ago_is_a_stranger_again() {
        let mut watch = watch(ReadOnly::Auto);
        watch.sent(at(0), PORT, ip(1));
        watch.sent(at(9), PORT, ip(2));
        assert!(!watch.queried(at(9), PORT, ip(1)));
        watch.sent(at(11), PORT, ip(3));
        watch.sent(at(22), PORT, ip(3));
        assert!(!watch.queried(at(22), PORT, ip(3)));
        assert!(watch.queried(at(22), PORT, ip(1)));
        assert!(watch.queried(at(22), PortIndex(1), ip(3)), "it was spoken to from another port");
    }

    #[test]
    fn with_few_answers_nothing_is_known() {
        let mut watch = watch(ReadOnly::Auto);
        for _ in 1..ANSWERS_MIN {
            watch.answered(PORT);
        }
        watch.look(at(600), |_, _| panic!("nobody knows us"));
        watch.answered(PORT);
        let mut changes = 0;
        watch.look(at(601), |_, _| changes += 1);
        assert_eq!(changes, 1);
    }

    #[test]
    fn what_is_set_is_not_looked_for() {
        let (mut on, mut off) = (watch(ReadOnly::On), watch(ReadOnly::Off));
        for watch in [&mut on, &mut off] {
            assert_eq!(spend(watch, 0..100), []);
            assert!(!watch.queried(at(100), PORT, ip(9_999_999)));
        }
        assert!(on.is_read_only(PORT) && !off.is_read_only(PORT));
    }

    #[test]
    fn a_full_filter_overlooks_one_stranger_in_ten_at_most() {
        let mut watch = watch(ReadOnly::Auto);
        for minute in 0..20 {
            for n in 0..1_200 {
                watch.sent(at(minute), PORT, ip(minute as u32 * 1_200 + n));
            }
        }
        let overlooked = (0..10_000).filter(|n| watch.spoken.contains(PORT, ip(1_000_000 + n))).count();
        assert!(overlooked < 1_000, "{overlooked}");
        assert!((0..24_000).all(|n| watch.spoken.contains(PORT, ip(n))));
    }
}
