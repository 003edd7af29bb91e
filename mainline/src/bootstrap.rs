//! Entering the network: whom to ask first, and again when the way in was lost.

use std::net::SocketAddr;
use std::time::Duration;

/// The addresses to enter by, each with its back-off.
#[derive(Debug, Default)]
pub(crate) struct Bootstrap {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    addr: SocketAddr,
    due: Duration,
    /// Queries in a row without an answer.
    failures: u32,
    answered: bool,
    /// When it is asked again however many nodes are known.
    revisit: Duration,
    in_flight: bool,
}

impl Bootstrap {
    /// Takes up an address. Returns whether there was room and it was new.
    pub(crate) fn add(&mut self, now: Duration, addr: SocketAddr) -> bool {
        if self.entries.len() >= ADDRESSES_MAX || self.entries.iter().any(|entry| entry.addr == addr) {
            return false;
        }
        let revisit = now + REVISIT;
        self.entries.push(Entry { addr, due: now, failures: 0, answered: false, revisit, in_flight: false });
        true
    }

    /// The next address to ask, in a network of which `live` nodes are known. Each is asked until it has answered;
    /// after that while we know next to nobody, and now and then: those whom we know may know nobody but each other.
    pub(crate) fn next(&self, now: Duration, live: usize) -> Option<SocketAddr> {
        self.entries
            .iter()
            .filter(|entry| !entry.in_flight && entry.due <= now)
            .find(|entry| {
                let untried = !entry.answered && entry.failures < ATTEMPTS;
                live < LIVE_ENOUGH || untried || now >= entry.revisit
            })
            .map(|entry| entry.addr)
    }

    /// The address was asked.
    pub(crate) fn asked(&mut self, addr: SocketAddr) {
        if let Some(entry) = self.find(addr) {
            entry.in_flight = true;
        }
    }

    /// The address cannot be asked before this time.
    pub(crate) fn put_off(&mut self, addr: SocketAddr, until: Duration) {
        if let Some(entry) = self.find(addr) {
            entry.due = until;
        }
    }

    /// The address has answered.
    pub(crate) fn answered(&mut self, now: Duration, addr: SocketAddr) {
        if let Some(entry) = self.find(addr) {
            let (due, revisit) = (now + REPEAT, now + REVISIT);
            *entry = Entry { addr, due, failures: 0, answered: true, revisit, in_flight: false };
        }
    }

    /// The address has not answered.
    pub(crate) fn failed(&mut self, now: Duration, addr: SocketAddr) {
        if let Some(entry) = self.find(addr) {
            entry.in_flight = false;
            entry.revisit = now + REVISIT;
            entry.failures = entry.failures.saturating_add(1);
            entry.due = now + (BACKOFF * 2_u32.pow(entry.failures.min(16) - 1)).min(BACKOFF_MAX);
        }
    }

    /// Asks all of them anew.
    pub(crate) fn restart(&mut self, now: Duration) {
        for entry in &mut self.entries {
            entry.due = now;
            entry.failures = 0;
            entry.answered = false;
        }
    }

    /// Each address has answered, or has had its chances.
    pub(crate) fn is_settled(&self) -> bool {
        self.entries.iter().all(|entry| entry.answered || entry.failures >= ATTEMPTS)
    }

    fn find(&mut self, addr: SocketAddr) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.addr == addr)
    }
}

/// Host names resolve to a handful of addresses, settings list a handful of names.
pub(crate) const ADDRESSES_MAX: usize = 256;

/// With this many live nodes lookups find their way without the bootstrap addresses.
const LIVE_ENOUGH: usize = 16;

/// Queries in a row after which a silent address does not hold up the end of a sweep any more.
const ATTEMPTS: u32 = 5;

/// Between two questions to an address that answers: each names other nodes.
const REPEAT: Duration = Duration::from_secs(5);

/// A packet for each address in this time, so that no network of fakes can hold us longer.
const REVISIT: Duration = Duration::from_secs(30 * 60);

/// First pause after a failure; it doubles with each.
const BACKOFF: Duration = Duration::from_secs(1);

/// Longest pause: a network that comes back is entered within this.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn addr(n: u8) -> SocketAddr {
        ([192, 0, 2, n], 6881).into()
    }

    #[test]
    fn a_silent_address_is_asked_at_ever_longer_pauses() {
        let mut bootstrap = Bootstrap::default();
        assert!(bootstrap.add(at(0), addr(1)));
        assert!(!bootstrap.add(at(0), addr(1)));
        let mut asked = Vec::new();
        for second in 0..200 {
            if let Some(addr) = bootstrap.next(at(second), 0) {
                bootstrap.asked(addr);
                assert_eq!(bootstrap.next(at(second), 0), None);
                bootstrap.failed(at(second), addr);
                asked.push(second);
            }
        }
        assert_eq!(asked, [0, 1, 3, 7, 15, 31, 63, 123, 183]);
        assert!(bootstrap.is_settled());
    }

    #[test]
    fn an_address_that_has_answered_is_left_alone_once_nodes_are_known() {
        let mut bootstrap = Bootstrap::default();
        bootstrap.add(at(0), addr(1));
        bootstrap.add(at(0), addr(2));
        bootstrap.asked(addr(1));
        assert_eq!(bootstrap.next(at(0), 0), Some(addr(2)));
        bootstrap.answered(at(0), addr(1));
        assert!(!bootstrap.is_settled());
        bootstrap.answered(at(0), addr(2));
        assert!(bootstrap.is_settled());
        assert_eq!(bootstrap.next(at(100), LIVE_ENOUGH), None);
        assert_eq!(bootstrap.next(at(100), LIVE_ENOUGH - 1), Some(addr(1)));
        bootstrap.restart(at(100));
        assert_eq!(bootstrap.next(at(100), 1_000), Some(addr(1)));
    }

    #[test]
    fn an_address_is_asked_twice_an_hour_however_many_nodes_are_known() {
        let mut bootstrap = Bootstrap::default();
        bootstrap.add(at(0), addr(1));
        bootstrap.add(at(0), addr(2));
        let mut asked = Vec::new();
        for second in 0..4 * 3_600 {
            while let Some(addr) = bootstrap.next(at(second), 1_000) {
                bootstrap.asked(addr);
                asked.push(addr);
                // One of the two is not there.
                if addr.port() == 6_881 && asked.len() % 2 == 0 {
                    bootstrap.failed(at(second), addr);
                } else {
                    bootstrap.answered(at(second), addr);
                }
            }
        }
        assert!((16..=24).contains(&asked.len()), "{asked:?}");
        assert!(bootstrap.is_settled());
    }

    #[test]
    fn addresses_are_bounded() {
        let mut bootstrap = Bootstrap::default();
        let taken =
            (0..1_000_u16).filter(|port| bootstrap.add(at(0), ([192, 0, 2, 1], *port).into())).count();
        assert_eq!(taken, ADDRESSES_MAX);
    }
}
