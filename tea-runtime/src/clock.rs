//! The one place where the runtime reads the clock.

use std::time::Duration;

use tokio::time::Instant;

use crate::Time;

/// Translates between the machine's monotonic clock and the program's time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: instant() }
    }

    pub(crate) fn now(self) -> Time {
        Time::from(instant().saturating_duration_since(self.start))
    }

    /// When the clock will show `time`; capped at a day ahead, as no sleep is longer.
    pub(crate) fn instant_of(self, time: Time) -> Instant {
        self.start + time.since_start().min(self.now().since_start() + SLEEP_MAX)
    }
}

/// Now, on the clock that timeouts of tasks use.
#[expect(clippy::disallowed_methods, reason = "the runtime is where time comes from")]
pub(crate) fn instant() -> Instant {
    Instant::now()
}

/// `delay` after `start`, or a day if that is more than the clock can hold: whoever waits then looks again.
pub(crate) fn later(start: Instant, delay: Duration) -> Instant {
    start.checked_add(delay).unwrap_or(start + SLEEP_MAX)
}

/// The loop wakes at least so often.
const SLEEP_MAX: Duration = Duration::from_secs(86_400);
