//! How nodes defend themselves against those who send too much.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::nature::Nature;

/// What a node remembers of an IP that talks to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guard {
    /// libtorrent: packets since `since`; mldht: what is left of the allowance.
    count: u32,
    since: Duration,
    ignored_until: Duration,
}

/// What a guard says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Heard,
    /// This packet was the one too many.
    Blocks,
    /// Not heard: blocked before.
    Ignored,
    /// Not heard: faster than what is listened to.
    Throttled,
}

impl Guard {
    pub(super) fn new(now: Duration, nature: Nature) -> Guard {
        let count = if nature == Nature::Mldht { MLDHT_BURST } else { 0 };
        Guard { count, since: now, ignored_until: Duration::ZERO }
    }

    /// Judges a packet that has come now.
    pub(super) fn judge(&mut self, now: Duration, nature: Nature) -> Verdict {
        match nature {
            Nature::Libtorrent => self.judge_as_libtorrent(now),
            Nature::Mldht => self.judge_as_mldht(now),
            _ => Verdict::Heard,
        }
    }

    fn judge_as_libtorrent(&mut self, now: Duration) -> Verdict {
        if now < self.ignored_until {
            return Verdict::Ignored;
        }
        self.count += 1;
        if self.count < LIBTORRENT_PACKETS {
            return Verdict::Heard;
        }
        let quick = now < self.since + LIBTORRENT_SPAN;
        self.count = 0;
        self.since = now;
        if !quick {
            return Verdict::Heard;
        }
        self.ignored_until = now + LIBTORRENT_BLOCK;
        Verdict::Blocks
    }

    fn judge_as_mldht(&mut self, now: Duration) -> Verdict {
        let seconds = now.saturating_sub(self.since).as_secs();
        self.since += Duration::from_secs(seconds);
        self.count = (u64::from(self.count) + seconds * MLDHT_PER_SECOND).min(MLDHT_BURST.into()) as u32;
        match self.count.checked_sub(1) {
            Some(left) => {
                self.count = left;
                Verdict::Heard
            }
            None => Verdict::Throttled,
        }
    }
}

/// libtorrent never hears addresses that begin so: clouds from which the DHT was attacked.
pub(super) fn is_ignored_by_libtorrent(ip: IpAddr) -> bool {
    const FIRST_OCTETS: [u8; 17] = [3, 6, 7, 9, 11, 19, 21, 22, 25, 26, 28, 29, 30, 33, 34, 48, 56];
    matches!(ip, IpAddr::V4(ip) if FIRST_OCTETS.contains(&Ipv4Addr::octets(&ip)[0]))
}

/// libtorrent's `dht_upload_rate_limit` apart, its guard against floods: so many packets of one IP...
const LIBTORRENT_PACKETS: u32 = 50;
/// ... in less than this time ...
const LIBTORRENT_SPAN: Duration = Duration::from_secs(10);
/// ... and it hears the IP no more for this time.
const LIBTORRENT_BLOCK: Duration = Duration::from_secs(300);

const MLDHT_BURST: u32 = 10;
const MLDHT_PER_SECOND: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(nature: Nature, times_ms: impl Iterator<Item = u64>) -> Vec<Verdict> {
        let mut guard = Guard::new(Duration::ZERO, nature);
        times_ms.map(|ms| guard.judge(Duration::from_millis(ms), nature)).collect()
    }

    #[test]
    fn libtorrent_blocks_for_five_minutes_after_fifty_packets_in_ten_seconds() {
        let verdicts = judge(Nature::Libtorrent, (0..60).map(|n| n * 100).chain([300_000, 305_000]));
        assert!(verdicts[..49].iter().all(|verdict| *verdict == Verdict::Heard));
        assert_eq!(verdicts[49], Verdict::Blocks);
        assert!(verdicts[50..61].iter().all(|verdict| *verdict == Verdict::Ignored));
        assert_eq!(verdicts[61], Verdict::Heard);
    }

    #[test]
    fn libtorrent_bears_four_packets_a_second_for_ever() {
        let verdicts = judge(Nature::Libtorrent, (0..2_000).map(|n| n * 250));
        assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Heard));
    }

    #[test]
    fn mldht_hears_ten_at_once_and_two_a_second() {
        let heard = |times: Vec<Verdict>| times.iter().filter(|verdict| **verdict == Verdict::Heard).count();
        assert_eq!(heard(judge(Nature::Mldht, (0..30).map(|_| 0))), 10);
        assert_eq!(heard(judge(Nature::Mldht, (0..30).map(|n| if n < 15 { 0 } else { 3_000 }))), 16);
    }
}
