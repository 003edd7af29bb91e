//! A disk that is nearly full, or full: nothing new is taken in until there is room again.
//!
//! Free space is looked at where the private database is. Of a shared one only its refusals are known: after one ingest rests,
//! and then tries again.

use std::time::Duration;

use tea_runtime::Time;

/// How much more than the least must be free before ingest goes on, as a share of it: the database writes more, and frees
/// less, than is told at any moment.
const MARGIN: u64 = 4;

/// The first rest after the database had no room.
const REST_FIRST: Duration = Duration::from_secs(10);

/// The longest rest: whoever makes room need not wait long.
const REST_MAX: Duration = Duration::from_secs(300);

/// A refusal so long after the last one is a new beginning.
const FORGET: Duration = Duration::from_secs(600);

/// What is known of the disk.
#[derive(Debug)]
pub(super) struct DiskGuard {
    free_min: u64,
    /// Bytes that were free when there were too few.
    low: Option<u64>,
    refusals: u32,
    refused_at: Option<Time>,
    rests_until: Option<Time>,
    /// As it was last told.
    stopped: bool,
    stops: u64,
}

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing.
    None,
    /// Ingest is to stop.
    Stopped,
    /// It may go on.
    Resumed,
}

impl DiskGuard {
    /// So many bytes are to stay free; 0: any number will do.
    pub(super) fn new(free_min: u64) -> Self {
        Self {
            free_min,
            low: None,
            refusals: 0,
            refused_at: None,
            rests_until: None,
            stopped: false,
            stops: 0,
        }
    }

    /// So many bytes are free.
    pub(super) fn looked(&mut self, free: u64) {
        let enough = match self.low {
            None => self.free_min,
            Some(_) => self.free_min.saturating_add(self.free_min / MARGIN),
        };
        self.low = (free < enough).then_some(free);
    }

    /// The database had no room for something.
    pub(super) fn refused(&mut self, now: Time) {
        if self.rests_until.is_some() {
            return;
        }
        if self.refused_at.is_none_or(|last| now >= last + FORGET) {
            self.refusals = 0;
        }
        let rest = REST_FIRST.saturating_mul(1 << self.refusals.min(16)).min(REST_MAX);
        self.refusals += 1;
        self.refused_at = Some(now);
        self.rests_until = Some(now + rest);
    }

    /// To be called now and then: what has changed since the last time.
    pub(super) fn turn(&mut self, now: Time) -> Turn {
        self.rests_until = self.rests_until.filter(|until| now < *until);
        let stopped = self.stops_ingest();
        if stopped == self.stopped {
            return Turn::None;
        }
        self.stopped = stopped;
        self.stops += u64::from(stopped);
        if stopped { Turn::Stopped } else { Turn::Resumed }
    }

    /// Whether nothing new is to be taken in.
    pub(super) fn stops_ingest(&self) -> bool {
        self.low.is_some() || self.rests_until.is_some()
    }

    /// How often ingest was stopped.
    pub(super) fn stops(&self) -> u64 {
        self.stops
    }

    /// Why nothing new is taken in, in a few words.
    pub(super) fn reason(&self) -> Option<String> {
        let mib = |bytes: u64| bytes >> 20;
        match self.low {
            Some(free) => Some(format!(
                "{} MiB free on the disk, {} MiB are to stay free (--disk-free-min)",
                mib(free),
                mib(self.free_min)
            )),
            None => self.rests_until.map(|_| "the database's disk is full".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from(Duration::from_secs(seconds))
    }

    #[test]
    fn ingest_stops_below_the_least_and_goes_on_only_well_above_it() {
        let mut guard = DiskGuard::new(1_000 << 20);
        for (free, turn) in [
            (1_000, Turn::None),
            (999, Turn::Stopped),
            (998, Turn::None),
            (1_001, Turn::None),
            (1_249, Turn::None),
            (1_250, Turn::Resumed),
            (1_001, Turn::None),
            (0, Turn::Stopped),
        ] {
            guard.looked(free << 20);
            assert_eq!(guard.turn(at(0)), turn, "at {free}");
            assert_eq!(guard.stops_ingest(), guard.reason().is_some());
        }
        assert_eq!(guard.stops(), 2);
        assert_eq!(
            guard.reason().unwrap(),
            "0 MiB free on the disk, 1000 MiB are to stay free (--disk-free-min)"
        );
    }

    #[test]
    fn after_a_refusal_ingest_rests_longer_each_time_until_there_were_none_for_a_while() {
        let mut guard = DiskGuard::new(0);
        guard.looked(0);
        assert_eq!(guard.turn(at(0)), Turn::None);
        let mut now = 0;
        for rest in [10, 20, 40, 80, 160, 300, 300] {
            guard.refused(at(now));
            guard.refused(at(now));
            assert_eq!(guard.turn(at(now)), Turn::Stopped);
            assert_eq!(guard.turn(at(now + rest - 1)), Turn::None);
            assert_eq!(guard.turn(at(now + rest)), Turn::Resumed, "after {rest} s");
            now += rest;
        }
        guard.refused(at(now + 1_000));
        assert_eq!(guard.turn(at(now + 1_000)), Turn::Stopped);
        assert_eq!(guard.turn(at(now + 1_010)), Turn::Resumed);
    }
}
