//! Does what the program asked for.

use crate::{
    Effect, Fault, Manager, Op, Program, Reply,
    outbox::Outgoing,
    shard::{Control, Shard, Stage, Timed, TimerKey},
};

impl<P: Program, M: Manager<P>> Shard<P, M> {
    /// Hands one message to the program and does at once what it asks for, because what waits behind it may be what it
    /// cancels: a timer that is due too, an event of a stream that it closes.
    pub(crate) fn update_and_flush(&mut self, msg: P::Msg) {
        self.machine.update(msg, &self.subs);
        self.flush();
    }

    /// Does the operations in the order in which they were asked for, and sends at the end, port by port. What is refused becomes a message in the next turn;
    /// what only the end of the turn can do is noted.
    pub(crate) fn flush(&mut self) {
        let mut ops = std::mem::take(&mut self.machine.cmd.ops);
        for op in ops.drain(..) {
            match op {
                Op::Send { port, to, payload: bytes } => {
                    self.ports.queue(port, Outgoing { to, bytes }, &mut self.machine.counters);
                }
                Op::After { key, at, msg } => {
                    let key = TimerKey::Timer(key);
                    if self.stage == Stage::Draining {
                        continue;
                    }
                    if self.wheel.len() >= self.config.timers_max && !self.wheel.contains(&key) {
                        let dropped = &mut self.machine.counters.timers_dropped;
                        *dropped += 1;
                        // Each of a million would be a second million lines.
                        if dropped.is_power_of_two() {
                            tracing::error!(dropped, timers = self.wheel.len(), "too many timers are set");
                        }
                        continue;
                    }
                    self.wheel.insert(key, at, Timed::Deliver(msg));
                }
                Op::Cancel { key } => {
                    self.wheel.cancel(&TimerKey::Timer(key));
                    self.tasks.cancel(key);
                }
                Op::Connect { key, to, limits, tag } => {
                    self.machine.counters.streams_started += 1;
                    let refused = self.streams.connect(key, to, limits, tag.0);
                    self.stream_refused(refused);
                }
                Op::Accept { key, incoming, limits, tag } => {
                    self.machine.counters.streams_started += 1;
                    let refused = self.streams.accept(key, incoming, limits, tag.0);
                    self.stream_refused(refused);
                }
                Op::Write { key, payload } => {
                    let payload = &self.machine.cmd.arena[payload.start as usize..payload.end as usize];
                    match self.streams.write(key, payload) {
                        Ok(()) => {}
                        Err(None) => self.machine.counters.writes_without_stream += 1,
                        Err(Some(ended)) => self.put_control(Control::StreamEnded(ended)),
                    }
                }
                Op::Close { key, how } => self.streams.close(key, how),
                Op::Task(task) => match self.tasks.start(task) {
                    Ok(()) => self.machine.counters.tasks_started += 1,
                    Err(refused) => {
                        self.machine.counters.tasks_refused += 1;
                        self.put_control(Control::TaskRefused(refused));
                    }
                },
                Op::Effect(effect) => self.perform(effect),
                // A shard that is not this one does not exist: programs run on one.
                Op::Shard { to, msg } if to == self.id => self.put_control(Control::Message(msg)),
                Op::Shard { .. } => self.machine.counters.shard_messages_dropped += 1,
                Op::Resubscribe => self.machine.asked.resubscribe = true,
                Op::Quit => self.machine.asked.quit = true,
            }
        }
        self.ports.flush(&self.machine.cmd.arena, &mut self.machine.counters);
        self.machine.cmd.ops = ops;
        self.machine.flushed();
    }

    fn perform(&mut self, effect: P::Effect) {
        let slot = match self.effects.clone().try_reserve_owned() {
            _ if self.stage == Stage::Draining => Err(Fault::Closed),
            Ok(slot) => Ok(slot),
            Err(_) => Err(Fault::Overload),
        };
        match slot {
            Ok(slot) => {
                self.machine.counters.effects_started += 1;
                self.manager.perform(effect, Reply::new(slot, self.bell.clone()));
            }
            Err(fault) => {
                self.machine.counters.effects_refused += 1;
                if let Some(msg) = effect.refused(fault) {
                    self.put_control(Control::Message(msg));
                }
            }
        }
    }

    fn stream_refused(&mut self, refused: Option<crate::stream_table::Ended>) {
        if let Some(ended) = refused {
            self.machine.counters.streams_refused += 1;
            self.put_control(Control::StreamEnded(ended));
        }
    }
}
