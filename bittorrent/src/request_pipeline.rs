//! How many pieces a peer is asked for at a time, and when an answer counts as lost.

use std::time::Duration;

use crate::{PeerFault, PeerLimits, PeerTimer, Stage};

/// The requests of one connection that are not answered yet, and how many there may be.
///
/// Clients differ (all measured): libtorrent answers 10 at once and more only on a tick of 1 s, Transmission answers on
/// a tick of 2..3 s, rTorrent answers one and forgets the rest. So the window starts at 4, grows with every answer, and
/// shrinks when answers fail to come or overtake each other.
#[derive(Debug)]
pub(crate) struct RequestPipeline {
    pub(crate) in_flight: Vec<Request>,
    window: usize,
    window_max: usize,
    /// Since when an answer has been waited for; `None` while nothing is in flight.
    waiting_since: Option<Duration>,
    last_asked_at: Duration,
    pub(crate) last_piece_at: Option<Duration>,
    /// After a reject nothing is asked before this.
    pause_until: Duration,
    asked: u32,
    answered: u32,
    rejected: u32,
}

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) index: u32,
    pub(crate) asked_at: Duration,
    /// How many requests that were asked later have been answered before this one.
    overtaken: u8,
}

impl Default for RequestPipeline {
    fn default() -> Self {
        Self {
            in_flight: Vec::new(),
            window: WINDOW_START,
            window_max: WINDOW_MAX,
            waiting_since: None,
            last_asked_at: Duration::ZERO,
            last_piece_at: None,
            pause_until: Duration::ZERO,
            asked: 0,
            answered: 0,
            rejected: 0,
        }
    }
}

impl RequestPipeline {
    /// One request at a time.
    pub(crate) fn serial(&mut self) {
        self.window = 1;
        self.window_max = 1;
    }

    pub(crate) fn room(&self, now: Duration) -> usize {
        if now < self.pause_until { 0 } else { self.window.saturating_sub(self.in_flight.len()) }
    }

    pub(crate) fn asked(&mut self, now: Duration, index: u32) {
        self.in_flight.push(Request { index, asked_at: now, overtaken: 0 });
        self.waiting_since.get_or_insert(now);
        self.last_asked_at = now;
        self.asked = self.asked.saturating_add(1);
    }

    pub(crate) fn answered(&mut self, now: Duration, index: u32) -> Result<(), PeerFault> {
        self.answered = self.answered.saturating_add(1);
        // Requests that were asked twice are answered twice, and both answers are honest.
        if self.answered > self.asked.saturating_add(SURPLUS_MAX) {
            return Err(PeerFault::UnrequestedPieces);
        }
        let Some(at) = self.in_flight.iter().position(|request| request.index == index) else {
            return Ok(());
        };
        self.in_flight.remove(at);
        self.window = (self.window + 1).min(self.window_max);
        for request in self.in_flight.iter_mut().take(at) {
            request.overtaken = request.overtaken.saturating_add(1);
        }
        if self.in_flight.iter().any(|request| request.overtaken >= OVERTAKEN_MAX) {
            // Such requests were dropped by the peer: it takes fewer at a time.
            self.in_flight.retain(|request| request.overtaken < OVERTAKEN_MAX);
            self.window_max = (self.window_max / 2).max(1);
            self.window = self.window.min(self.window_max);
        }
        self.last_piece_at = Some(now);
        self.waiting_since = if self.in_flight.is_empty() { None } else { Some(now) };
        Ok(())
    }

    /// BEP 9 allows rejects as a protection against floods, so a peer that has served is only asked more slowly.
    pub(crate) fn rejected(
        &mut self,
        now: Duration,
        limits: &PeerLimits,
        piece: i64,
    ) -> Result<(), PeerFault> {
        self.rejected = self.rejected.saturating_add(1);
        if self.last_piece_at.is_none() || self.rejected > REJECTS_MAX {
            return Err(PeerFault::Rejected);
        }
        self.in_flight.retain(|request| i64::from(request.index) != piece);
        self.window = 1;
        self.pause_until = now + limits.rerequest_after;
        Ok(())
    }

    pub(crate) fn tick(&mut self, now: Duration, limits: &PeerLimits) -> PeerTimer {
        if self.pause_until <= now {
            self.pause_until = Duration::ZERO;
        }
        let Some(since) = self.waiting_since else { return PeerTimer::Nothing };
        if now >= since + limits.metadata_timeout {
            return PeerTimer::Silent(Stage::Metadata);
        }
        if self.in_flight.is_empty() || now < since.max(self.last_asked_at) + limits.rerequest_after {
            return PeerTimer::Nothing;
        }
        self.in_flight.clear();
        self.window = (self.window / 2).max(1);
        PeerTimer::Lost
    }

    pub(crate) fn deadline(&self, limits: &PeerLimits) -> Option<Duration> {
        let pause = Some(self.pause_until).filter(|until| !until.is_zero());
        let silence = self.waiting_since.map(|since| {
            let give_up = since + limits.metadata_timeout;
            if self.in_flight.is_empty() {
                return give_up;
            }
            give_up.min(since.max(self.last_asked_at) + limits.rerequest_after)
        });
        pause.into_iter().chain(silence).min()
    }
}

/// The first requests go out together; 4 suit every client measured but rTorrent.
const WINDOW_START: usize = 4;
/// libtorrent answers up to 10 at once; with 20 in flight the same 74 pieces took 826 ms in place of 47 ms.
pub const WINDOW_MAX: usize = 10;
/// Answers beyond the number of requests.
const SURPLUS_MAX: u32 = 8;
/// A request that so many later ones have overtaken is not going to be answered.
const OVERTAKEN_MAX: u8 = 2;
/// Rejects taken from a peer that has served pieces.
const REJECTS_MAX: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_window_grows_with_answers_up_to_its_bound() {
        let mut pipeline = RequestPipeline::default();
        let mut windows = vec![pipeline.window];
        for index in 0..8 {
            pipeline.asked(at(0), index);
            pipeline.answered(at(1), index).unwrap();
            windows.push(pipeline.window);
        }
        assert_eq!(windows, [4, 5, 6, 7, 8, 9, 10, 10, 10]);
    }

    #[test]
    fn requests_that_later_ones_have_overtaken_twice_count_as_dropped() {
        let mut pipeline = RequestPipeline::default();
        (0..4).for_each(|index| pipeline.asked(at(0), index));
        pipeline.answered(at(1), 2).unwrap();
        assert_eq!(pipeline.in_flight.len(), 3);
        pipeline.answered(at(2), 3).unwrap();
        // 0 and 1 are given up, and with them the idea that so many fit.
        assert_eq!((pipeline.in_flight.len(), pipeline.window, pipeline.window_max), (0, 5, 5));
    }

    #[test]
    fn a_reject_makes_a_serving_peer_pause_and_wakes_it_again() {
        let mut pipeline = RequestPipeline::default();
        pipeline.asked(at(0), 0);
        pipeline.asked(at(0), 1);
        pipeline.answered(at(100), 0).unwrap();
        pipeline.rejected(at(200), &PeerLimits::default(), 1).unwrap();
        assert_eq!((pipeline.room(at(200)), pipeline.room(at(4200))), (0, 1));
        assert_eq!(pipeline.deadline(&PeerLimits::default()), Some(at(4200)));
        assert_eq!(pipeline.tick(at(4200), &PeerLimits::default()), PeerTimer::Nothing);
        assert_eq!(pipeline.deadline(&PeerLimits::default()), Some(at(10_100)));
    }
}
