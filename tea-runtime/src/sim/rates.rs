//! How many datagrams went from and to each address, and how fast.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    rc::Rc,
    time::Duration,
};

use super::network::{Fate, PacketEvent};
use crate::Time;

/// Packet rates by address, in datagrams sent within a sliding window: shows whether a program is polite.
///
/// A handle; clones share what they measure.
#[derive(Clone)]
pub struct PacketRates(Rc<RefCell<Measured>>);

struct Measured {
    window: Duration,
    by_source: BTreeMap<IpAddr, Rate>,
    by_destination: BTreeMap<IpAddr, Rate>,
    by_pair: BTreeMap<(IpAddr, IpAddr), Rate>,
}

/// The datagrams of one address.
#[derive(Default)]
struct Rate {
    recent: VecDeque<Time>,
    peak: usize,
    total: u64,
}

impl Rate {
    fn count(&mut self, now: Time, window: Duration) {
        while self.recent.front().is_some_and(|first| now - *first >= window) {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        self.peak = self.peak.max(self.recent.len());
        self.total += 1;
    }
}

impl PacketRates {
    pub(super) fn new(window: Duration) -> Self {
        Self(Rc::new(RefCell::new(Measured {
            window,
            by_source: BTreeMap::new(),
            by_destination: BTreeMap::new(),
            by_pair: BTreeMap::new(),
        })))
    }

    pub(super) fn count(&self, packet: &PacketEvent<'_>) {
        if packet.fate != Fate::Sent {
            return;
        }
        let measured = &mut *self.0.borrow_mut();
        let (now, window, from, to) = (packet.at, measured.window, packet.from.ip(), packet.to.ip());
        measured.by_source.entry(from).or_default().count(now, window);
        measured.by_destination.entry(to).or_default().count(now, window);
        measured.by_pair.entry((from, to)).or_default().count(now, window);
    }

    /// The most datagrams that `ip` sent within any window.
    pub fn peak_from(&self, ip: IpAddr) -> usize {
        self.0.borrow().by_source.get(&ip).map_or(0, |rate| rate.peak)
    }

    /// The most datagrams that were sent to `ip` within any window.
    pub fn peak_to(&self, ip: IpAddr) -> usize {
        self.0.borrow().by_destination.get(&ip).map_or(0, |rate| rate.peak)
    }

    /// The most datagrams that `from` sent to `to` within any window.
    pub fn peak_between(&self, from: IpAddr, to: IpAddr) -> usize {
        self.0.borrow().by_pair.get(&(from, to)).map_or(0, |rate| rate.peak)
    }

    /// Whom `from` sent most to within any window, and how many that were; the lowest address of several.
    pub fn busiest_from(&self, from: IpAddr) -> Option<(IpAddr, usize)> {
        let measured = self.0.borrow();
        let pairs = measured.by_pair.iter().filter(|((source, _), _)| *source == from);
        let peaks = pairs.map(|((_, to), rate)| (*to, rate.peak));
        peaks.min_by_key(|(to, peak)| (std::cmp::Reverse(*peak), *to))
    }

    /// Datagrams that `ip` sent.
    pub fn total_from(&self, ip: IpAddr) -> u64 {
        self.0.borrow().by_source.get(&ip).map_or(0, |rate| rate.total)
    }

    /// Datagrams that were sent to `ip`.
    pub fn total_to(&self, ip: IpAddr) -> u64 {
        self.0.borrow().by_destination.get(&ip).map_or(0, |rate| rate.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimNode;

    #[test]
    fn the_peak_is_that_of_the_fullest_window() {
        let rates = PacketRates::new(Duration::from_secs(1));
        let ip = |last| IpAddr::from([10, 0, 0, last]);
        let send = |ms, to: u8, fate| {
            let (from, to) = ((ip(1), 1).into(), (ip(to), 1).into());
            let at = Duration::from_millis(ms).into();
            rates.count(&PacketEvent { at, sender: SimNode(0), from, to, payload: &[], fate });
        };
        for (ms, to) in [(0, 2), (500, 2), (999, 3), (1000, 2), (1100, 2), (5000, 2)] {
            send(ms, to, Fate::Sent);
            send(ms, to, Fate::Delivered);
        }
        assert_eq!(rates.peak_from(ip(1)), 4);
        assert_eq!((rates.peak_to(ip(2)), rates.peak_between(ip(1), ip(3))), (3, 1));
        assert_eq!(rates.busiest_from(ip(1)), Some((ip(2), 3)));
        assert_eq!((rates.total_from(ip(1)), rates.total_to(ip(2)), rates.total_to(ip(9))), (6, 5, 0));
    }
}
