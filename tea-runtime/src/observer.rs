//! What an operator can see of the loop: lanes, drops and times, turn by turn.

use std::time::Duration;

use crate::{Counters, ShardId, Time};

/// Looks at each turn. Called on the loop's thread, so it should do no more than add up.
pub trait Observer: 'static {
    /// Whether anybody looks. Without an observer the loop does not read the clock for it.
    const ACTIVE: bool = true;

    /// A turn ended.
    fn turn(&mut self, turn: &TurnReport<'_>);

    /// The program stopped.
    fn stopped(&mut self, stop: &StopReport) {
        let _ = stop;
    }
}

/// Nobody looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    const ACTIVE: bool = false;

    fn turn(&mut self, _: &TurnReport<'_>) {}
}

/// One turn.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TurnReport<'a> {
    /// Whose turn.
    pub shard: ShardId,
    /// The time that the program saw.
    pub now: Time,
    /// From the first message to the last effect.
    pub length: Duration,
    /// Messages handled.
    pub messages: u32,
    /// How long one `update` took, if this turn had a sampled one.
    pub update_sample: Option<Duration>,
    /// Batches of datagrams handled; the fill of a batch is the datagrams lane's `handled` through this.
    pub batches: u32,
    /// How long the oldest of these batches had waited.
    pub datagrams_waited: Duration,
    /// The lanes, in the order in which a turn serves them.
    pub lanes: [LaneReport; Lane::COUNT],
    /// Totals since the start.
    pub counters: &'a Counters,
}

/// One lane in one turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneReport {
    /// Messages handled, or datagrams sent.
    pub handled: u32,
    /// What was left, or is running.
    pub depth: usize,
    /// How much there may be.
    pub capacity: usize,
    /// Dropped or refused, since the start.
    pub dropped: u64,
}

/// A bounded queue into the loop or out of it. Usable as an index into [`TurnReport::lanes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Lane {
    /// Refusals, what became of subscriptions, messages to the own shard, signals.
    Control,
    /// Timers and intervals; the depth is all that are set.
    Timers,
    /// Answers to effects; the depth is all that are not answered.
    Effects,
    /// Results of tasks; the depth is all that run.
    Tasks,
    /// Stream events.
    StreamEvents,
    /// Open streams.
    Streams,
    /// Connections waiting to be taken.
    Incoming,
    /// Datagrams in; depth and capacity in batches. What the kernel drops while the lane is full only the kernel knows
    /// (on Linux the `drops` of `/proc/net/udp`).
    Datagrams,
    /// Datagrams out.
    Sends,
}

impl Lane {
    /// How many lanes there are.
    pub const COUNT: usize = 9;

    /// All lanes, in the order of [`TurnReport::lanes`].
    pub const ALL: [Self; Self::COUNT] = [
        Self::Control,
        Self::Timers,
        Self::Effects,
        Self::Tasks,
        Self::StreamEvents,
        Self::Streams,
        Self::Incoming,
        Self::Datagrams,
        Self::Sends,
    ];

    /// Its name, for metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Timers => "timers",
            Self::Effects => "effects",
            Self::Tasks => "tasks",
            Self::StreamEvents => "stream_events",
            Self::Streams => "streams",
            Self::Incoming => "incoming",
            Self::Datagrams => "datagrams",
            Self::Sends => "sends",
        }
    }
}

impl TurnReport<'_> {
    /// The report on one lane.
    pub fn lane(&self, lane: Lane) -> &LaneReport {
        &self.lanes[lane as usize]
    }
}

/// How the program stopped.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StopReport {
    /// How long accepted work took to finish.
    pub drained_in: Duration,
    /// Effects, tasks and streams that were not finished when the grace period was over.
    pub abandoned: usize,
    /// Whether the manager closed within its grace period.
    pub manager_closed: bool,
    /// Totals of the whole run.
    pub counters: Counters,
}
