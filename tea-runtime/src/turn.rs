//! One bounded turn: everything that waits gets its share, then what was asked for is done.
//!
//! Datagrams are many and nothing that they ask for can concern the next of them, so what they ask for is done together at
//! the end of the turn; what the rarer messages ask for is done after each.

use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;

use crate::{
    Datagram, Fault, Lane, LaneReport, Manager, Program, Time, TurnReport,
    clock::instant,
    shard::{Control, Shard, Stage, Timed, TimerKey},
    sub::Source,
    udp::Arrival,
};

/// What a turn did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turn {
    pub(crate) now: Time,
    /// Messages handled, by the lane that they came through.
    pub(crate) handled: [u32; Lane::COUNT],
    pub(crate) batches: u32,
    pub(crate) datagrams_waited: Duration,
    pub(crate) length: Duration,
    /// Something was left over because its bound was reached: the next turn should follow at once.
    pub(crate) more: bool,
}

impl<P: Program, M: Manager<P>> Shard<P, M> {
    /// Takes one turn at the time `now`.
    pub(crate) fn turn(&mut self, now: Time, timed: bool) -> Turn {
        let note = PanicNote { turn: self.machine.counters.turns, now };
        let begin = timed.then(instant);
        self.machine.cx.now = now;
        self.machine.cx.load = self.load();
        self.machine.handled = 0;
        let sent = self.machine.counters.datagrams_sent;
        let mut turn = Turn { now, ..Turn::default() };

        self.serve_control(&mut turn);
        self.serve_timers(&mut turn);
        self.serve_completions(&mut turn);
        self.serve_incoming(&mut turn);
        self.serve_datagrams(&mut turn);

        self.flush();
        let asked = std::mem::take(&mut self.machine.asked);
        if asked.resubscribe && self.stage == Stage::Running {
            self.resubscribe();
        }
        if asked.quit && self.stage == Stage::Running {
            self.stage = Stage::Quitting;
        }
        turn.more |= !self.control.is_empty();

        let counters = &mut self.machine.counters;
        counters.turns += 1;
        counters.messages += u64::from(self.machine.handled);
        self.task_counters.drain_into(counters);
        turn.handled[Lane::Sends as usize] = (counters.datagrams_sent - sent) as u32;
        if let Some(begin) = begin {
            turn.length = instant() - begin;
        }
        drop(note);
        turn
    }

    /// Refusals, what became of subscriptions, messages to the own shard; then signals.
    fn serve_control(&mut self, turn: &mut Turn) {
        let before = self.machine.handled;
        // Only what waits now: a refusal may lead to the next.
        for _ in 0..self.control.len().min(self.config.messages_per_turn) {
            let Some(control) = self.control.pop_front() else { break };
            let msg = match control {
                Control::Message(msg) => Some(msg),
                Control::StreamEnded(ended) => self.streams.tag_ended(ended),
                Control::TaskRefused(refused) => self.tasks.tag((refused.id, Err(refused.fault))),
            };
            if let Some(msg) = msg {
                self.update_and_flush(msg);
            }
        }
        for index in 0..self.signals.len() {
            let (key, signals) = &mut self.signals[index];
            let Ok(signal) = signals.arrivals.try_recv() else { continue };
            turn.more |= !signals.arrivals.is_empty();
            if self.stage == Stage::Running
                && let Some(Source::Signal { tag }) = self.subs.wanted.get(key)
            {
                let msg = tag.call(*key, signal);
                self.update_and_flush(msg);
            }
        }
        turn.handled[Lane::Control as usize] = self.machine.handled - before;
    }

    /// Timers, ticks of intervals, and subscriptions whose next try is due.
    fn serve_timers(&mut self, turn: &mut Turn) {
        let (before, mut left) = (self.machine.handled, self.config.messages_per_turn);
        while let Some((key, at, timed)) = self.wheel.pop_due(turn.now) {
            match (key, timed) {
                (TimerKey::Interval(key), _) => {
                    let Some(Source::Every { period, tag }) = self.subs.wanted.get(&key) else { continue };
                    let (next, skipped) = next_tick(at, *period, turn.now);
                    self.machine.counters.ticks_skipped += skipped;
                    self.wheel.insert(TimerKey::Interval(key), next, Timed::Tick);
                    let msg = tag.call(key, turn.now);
                    self.update_and_flush(msg);
                }
                (TimerKey::Retry(key), _) => self.start_source(key),
                (TimerKey::Timer(_), Timed::Deliver(msg)) => {
                    self.machine.counters.timers_fired += 1;
                    self.update_and_flush(msg);
                }
                (TimerKey::Timer(_), Timed::Tick | Timed::Retry) => {}
            }
            left -= 1;
            if left == 0 {
                turn.more |= self.wheel.next_wake().is_some_and(|at| at <= turn.now);
                break;
            }
        }
        turn.handled[Lane::Timers as usize] = self.machine.handled - before;
    }

    /// Answers to effects, results of tasks, events of streams. A lane whose bound was reached may hold more.
    fn serve_completions(&mut self, turn: &mut Turn) {
        let bound = self.config.messages_per_turn;
        let mut lane = |lane: Lane, taken: usize, handled: u32| {
            turn.handled[lane as usize] = handled;
            turn.more |= taken == bound;
        };
        // Seeing that a lane is empty costs less than finding nothing in it.
        if !self.answers.is_empty() {
            let (before, mut taken) = (self.machine.handled, 0);
            while taken < bound
                && let Ok(msg) = self.answers.try_recv()
            {
                taken += 1;
                self.update_and_flush(msg);
            }
            lane(Lane::Effects, taken, self.machine.handled - before);
        }
        if !self.tasks.finished.is_empty() {
            let (before, mut taken) = (self.machine.handled, 0);
            while taken < bound
                && let Ok(finished) = self.tasks.finished.try_recv()
            {
                taken += 1;
                if let Some(msg) = self.tasks.tag(finished) {
                    self.update_and_flush(msg);
                }
            }
            lane(Lane::Tasks, taken, self.machine.handled - before);
        }
        if !self.streams.arrivals.is_empty() {
            let (before, mut taken) = (self.machine.handled, 0);
            while taken < bound
                && let Ok(arrival) = self.streams.arrivals.try_recv()
            {
                taken += 1;
                match self.streams.tag(arrival) {
                    Some(msg) => self.update_and_flush(msg),
                    None => self.machine.counters.stream_events_stale += 1,
                }
            }
            lane(Lane::StreamEvents, taken, self.machine.handled - before);
        }
    }

    /// Connections that wait to be taken.
    fn serve_incoming(&mut self, turn: &mut Turn) {
        let before = self.machine.handled;
        for index in 0..self.listeners.len() {
            for _ in 0..self.config.messages_per_turn {
                let (key, listener) = &mut self.listeners[index];
                let Ok(incoming) = listener.incoming.try_recv() else { break };
                if let Some(Source::Listen { tag, .. }) = self.subs.wanted.get(key) {
                    let msg = tag.call(*key, incoming);
                    self.update_and_flush(msg);
                }
            }
            turn.more |= !self.listeners[index].1.incoming.is_empty();
        }
        turn.handled[Lane::Incoming as usize] = self.machine.handled - before;
    }

    /// One batch of each port, then the next one of each, so that no port starves another; the first port is another one
    /// each turn.
    fn serve_datagrams(&mut self, turn: &mut Turn) {
        let before = self.machine.handled;
        let mut broken = Vec::new();
        let mut more = true;
        for _ in 0..self.config.datagram_batches_per_turn {
            let mut empty = true;
            for index in 0..self.ports.len() {
                let Some((key, port)) = self.ports.at(self.first_port.wrapping_add(index)) else { break };
                let Some(Source::Udp { tag, .. }) = self.subs.wanted.get(&key) else { continue };
                match port.arrivals.try_recv() {
                    Ok(Arrival::Batch(batch)) => {
                        empty = false;
                        turn.batches += 1;
                        turn.datagrams_waited = turn.datagrams_waited.max(turn.now - batch.received);
                        let counters = &mut self.machine.counters;
                        counters.batches_received += 1;
                        counters.datagrams_received += batch.len() as u64;
                        counters.datagram_bytes_received += batch.bytes_used() as u64;
                        for slot in 0..batch.len() {
                            self.machine.update(tag.call(key, Datagram::of(&batch, slot)), &self.subs);
                        }
                    }
                    Ok(Arrival::Failed(error)) => broken.push((key, Fault::from(error))),
                    Err(TryRecvError::Disconnected) if broken.iter().all(|(other, _)| *other != key) => {
                        broken.push((key, port.why_ended()));
                    }
                    Err(_) => {}
                }
            }
            if empty {
                more = false;
                break;
            }
        }
        self.first_port = self.first_port.wrapping_add(1);
        for (key, fault) in broken {
            self.source_failed(key, fault);
        }
        turn.handled[Lane::Datagrams as usize] = self.machine.handled - before;
        turn.more |= more && self.ports.batches_waiting() > 0;
    }

    /// The report on a turn.
    pub(crate) fn report(&self, turn: &Turn) -> TurnReport<'_> {
        let (config, counters, ports) = (&self.config, &self.machine.counters, self.ports.len());
        let handled = turn.handled;
        let lane = |lane: Lane, depth, capacity, dropped| LaneReport {
            handled: handled[lane as usize],
            depth,
            capacity,
            dropped,
        };
        let waiting = |(_, listener): &(P::Key, crate::tcp_listener::BoundListener)| listener.incoming.len();
        let incoming = self.listeners.iter().map(waiting).sum();
        let batches_max = ports * config.datagram_batches_max;
        let dropped = counters.control_dropped + counters.signals_dropped;
        let sends_dropped = counters.sends_dropped + counters.sends_without_port + counters.send_errors;
        TurnReport {
            shard: self.id,
            now: turn.now,
            length: turn.length,
            messages: self.machine.handled,
            update_sample: self.machine.sample,
            batches: turn.batches,
            datagrams_waited: turn.datagrams_waited,
            lanes: [
                lane(Lane::Control, self.control.len(), config.control_max, dropped),
                lane(Lane::Timers, self.wheel.len(), config.timers_max, counters.timers_dropped),
                lane(Lane::Effects, self.effects_live(), config.effects_max, counters.effects_refused),
                lane(Lane::Tasks, self.tasks.live(), config.tasks_max, counters.tasks_refused),
                lane(
                    Lane::StreamEvents,
                    self.streams.arrivals.len(),
                    config.stream_events_max,
                    counters.stream_events_stale,
                ),
                lane(Lane::Streams, self.streams.live(), config.streams_max, counters.streams_refused),
                lane(Lane::Incoming, incoming, self.listeners.len() * config.incoming_max, 0),
                lane(Lane::Datagrams, self.ports.batches_waiting(), batches_max, 0),
                lane(
                    Lane::Sends,
                    self.ports.sends_waiting(),
                    ports * config.sends_waiting_max,
                    sends_dropped,
                ),
            ],
            counters,
        }
    }
}

/// When an interval ticks next, and how many ticks in between came too late.
fn next_tick(at: Time, period: Duration, now: Time) -> (Time, u64) {
    let period = period.max(Duration::from_nanos(1));
    let skipped = (now - at).as_nanos() / period.as_nanos();
    let nanos = (skipped + 1).saturating_mul(period.as_nanos());
    (at + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)), skipped as u64)
}

/// Says which turn it was when the program panics. The panic goes on: the model is in an unknown state, so the run ends.
struct PanicNote {
    turn: u64,
    now: Time,
}

impl Drop for PanicNote {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(turn = self.turn, now = ?self.now, "the program panicked: the run is over");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_that_come_too_late_are_skipped_and_the_phase_is_kept() {
        let (second, ms) = (Duration::from_secs(1), |ms| Time::from(Duration::from_millis(ms)));
        assert_eq!(next_tick(ms(1000), second, ms(1000)), (ms(2000), 0));
        assert_eq!(next_tick(ms(1000), second, ms(1999)), (ms(2000), 0));
        assert_eq!(next_tick(ms(1000), second, ms(4500)), (ms(5000), 3));
    }

    #[test]
    fn an_interval_of_nothing_still_advances() {
        assert!(next_tick(Time::ZERO, Duration::ZERO, Time::ZERO).0 > Time::ZERO);
    }
}
