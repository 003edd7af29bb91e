//! LEDBAT (RFC 6817, BEP 29): sends as much as leaves the queues on the way nearly empty, and so gives way to
//! everything else.

use std::time::Duration;

/// How many bytes may be in flight.
///
/// The other side measures how long our packets were on their way. Clocks differ, so only the excess over the
/// shortest way seen is meaningful: it is the time spent in queues, of which 100 ms are aimed at.
#[derive(Debug)]
pub(super) struct Ledbat {
    window: f64,
    packet: f64,
    /// While set, the window doubles each round trip, up to this.
    slow_start_until: Option<f64>,
    base: BaseDelay,
    /// The time in queues of the last packets; the least counts, since one packet may be late by chance.
    recent: [u32; RECENT],
    reduced_at: Option<Duration>,
}

/// The shortest way seen, of each of the last minutes: ways change, and clocks drift.
#[derive(Debug, Default)]
struct BaseDelay {
    minutes: [u32; MINUTES],
    len: usize,
    since: Duration,
}

impl Ledbat {
    /// A window of a few packets of so many bytes.
    pub(super) fn new(packet_bytes: usize) -> Self {
        let packet = packet_bytes as f64;
        Self {
            window: packet * WINDOW_START_PACKETS,
            packet,
            slow_start_until: Some(WINDOW_BYTES_MAX),
            base: BaseDelay::default(),
            recent: [u32::MAX; RECENT],
            reduced_at: None,
        }
    }

    /// Bytes that may be in flight.
    pub(super) fn window(&self) -> usize {
        self.window as usize
    }

    /// Bytes were acknowledged. `delay` is what the other side measured, in microseconds of two clocks; `limited` says
    /// whether more would have been sent, had the window been larger.
    pub(super) fn acknowledged(
        &mut self,
        now: Duration,
        bytes: usize,
        limited: bool,
        delay: Option<u32>,
        rtt: Option<Duration>,
    ) {
        if let Some(delay) = delay {
            let mut queued = delay.wrapping_sub(self.base.update(now, delay));
            if let Some(rtt) = rtt {
                // More than a round trip cannot have been spent in queues: a clock was set.
                queued = queued.min(u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX));
            }
            self.recent.rotate_right(1);
            self.recent[0] = queued;
        }
        let queued = self.recent.into_iter().min().filter(|queued| *queued != u32::MAX).unwrap_or(0);
        let off_target = 1.0 - f64::from(queued) / TARGET_US;
        if let Some(until) = self.slow_start_until
            && (off_target < 0.1 || self.window >= until)
        {
            self.slow_start_until = None;
        }
        let bytes = bytes as f64;
        let gain = match self.slow_start_until {
            Some(_) => bytes,
            None => GAIN_BYTES_PER_RTT * off_target * bytes.min(self.window) / self.window.max(bytes),
        };
        // A window that was not used says nothing about what the way would carry.
        if gain < 0.0 || limited {
            self.window = (self.window + gain).clamp(self.packet, WINDOW_BYTES_MAX);
        }
    }

    /// A packet was lost: half the window, once a round trip.
    pub(super) fn lost(&mut self, now: Duration, rtt: Option<Duration>) {
        let pause = rtt.unwrap_or(Duration::from_millis(100));
        if self.reduced_at.is_none_or(|at| now >= at + pause) {
            self.reduced_at = Some(now);
            self.window = (self.window / 2.0).max(self.packet);
            self.slow_start_until = None;
        }
    }

    /// Nothing is heard any more: begins anew with one packet, quickly up to half of what there was.
    pub(super) fn timed_out(&mut self) {
        self.slow_start_until = Some((self.window / 2.0).max(self.packet * 2.0));
        self.window = self.packet;
    }
}

impl BaseDelay {
    /// The shortest way, with this one taken into account. Of two values the one is shorter from which the other is
    /// reached by going up less than half of the circle.
    fn update(&mut self, now: Duration, delay: u32) -> u32 {
        let shorter = |a: u32, b: u32| if a.wrapping_sub(b) > u32::MAX / 2 { a } else { b };
        if self.len == 0 || now >= self.since + Duration::from_secs(60) {
            self.minutes.rotate_right(1);
            self.minutes[0] = delay;
            self.len = (self.len + 1).min(MINUTES);
            self.since = now;
        }
        self.minutes[0] = shorter(self.minutes[0], delay);
        self.minutes.iter().take(self.len).copied().fold(self.minutes[0], shorter)
    }
}

/// RFC 6817: at most 100 ms.
const TARGET_US: f64 = 100_000.0;
/// BEP 29 leaves it open; uTP's first implementation grows by 3000 bytes a round trip while the queues are empty.
const GAIN_BYTES_PER_RTT: f64 = 3_000.0;
/// RFC 6928 allows 10 to TCP; this is the more modest of RFC 5681.
const WINDOW_START_PACKETS: f64 = 4.0;
/// More than we ever have to send at once, and less than what many receivers buffer.
const WINDOW_BYTES_MAX: f64 = 512.0 * 1024.0;
const RECENT: usize = 3;
/// RFC 6817 proposes ten.
const MINUTES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Option<Duration> = Some(Duration::from_millis(400));

    /// Acknowledges a whole window so many times, each with this delay beyond `base`.
    fn rounds(ledbat: &mut Ledbat, now: &mut Duration, rounds: usize, base: u32, queued_ms: u32) {
        for _ in 0..rounds {
            *now += Duration::from_millis(400);
            let mut left = ledbat.window();
            while left > 0 {
                let bytes = left.min(1000);
                let delay = Some(base.wrapping_add(queued_ms * 1000));
                ledbat.acknowledged(*now, bytes, true, delay, RTT);
                left -= bytes;
            }
        }
    }

    #[test]
    fn the_window_grows_below_the_target_and_shrinks_above_it_across_a_clock_that_wraps() {
        for base in [7, u32::MAX - 50_000] {
            let (mut ledbat, mut now) = (Ledbat::new(1000), Duration::from_secs(9));
            rounds(&mut ledbat, &mut now, 3, base, 0);
            assert!((16_000..64_000).contains(&ledbat.window()), "doubles each round: {}", ledbat.window());
            ledbat.lost(now, RTT);
            let halved = ledbat.window();
            rounds(&mut ledbat, &mut now, 4, base, 50);
            let grown = ledbat.window() - halved;
            assert!((5_000..7_000).contains(&grown), "half the gain at half the target: {grown}");
            rounds(&mut ledbat, &mut now, 4, base, 100);
            let steady = ledbat.window();
            rounds(&mut ledbat, &mut now, 4, base, 100);
            assert!(ledbat.window().abs_diff(steady) < 200, "rests at the target");
            rounds(&mut ledbat, &mut now, 4, base, 300);
            assert!(ledbat.window() + 5_000 < steady, "gives way: {} of {steady}", ledbat.window());
        }
    }

    #[test]
    fn losses_of_one_round_trip_count_once_and_a_packet_is_always_allowed() {
        let mut ledbat = Ledbat::new(1000);
        for _ in 0..3 {
            ledbat.lost(Duration::from_secs(1), RTT);
        }
        assert_eq!(ledbat.window(), 2000);
        for second in 2..9 {
            ledbat.lost(Duration::from_secs(second), RTT);
        }
        assert_eq!(ledbat.window(), 1000);
    }

    #[test]
    fn a_window_that_is_not_used_does_not_grow() {
        let mut ledbat = Ledbat::new(1000);
        for second in 1..100 {
            ledbat.acknowledged(Duration::from_secs(second), 100, false, Some(5), RTT);
        }
        assert_eq!(ledbat.window(), 4000);
    }

    #[test]
    fn an_old_shortest_way_is_forgotten_after_ten_minutes() {
        let mut base = BaseDelay::default();
        assert_eq!(base.update(Duration::ZERO, 100), 100);
        let mut last = 0;
        for minute in 1..=10 {
            last = base.update(Duration::from_secs(61 * minute), 500);
            assert_eq!(last == 100, minute < 10);
        }
        assert_eq!(last, 500);
    }
}
