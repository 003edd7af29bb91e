//! One shard: the model, and everything that it subscribed to or started.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::Arc,
};

use tokio::sync::mpsc;

use crate::{
    Cmd, Config, Context, Counters, Fault, Load, Program, ShardId, Sub, SubEvent, Time,
    bell::Bell,
    clock::{Clock, instant},
    counters::TaskCounters,
    io_threads::IoThreads,
    ports::Ports,
    signals::Signals,
    stream_table::{Ended, StreamTable},
    sub::Source,
    task_table::{Refused, TaskTable},
    tcp_listener::BoundListener,
    timer_wheel::TimerWheel,
    udp::BoundUdp,
};

/// One thread's worth of a program. [`turn`](Self::turn) and [`flush`](Self::flush) drive it.
pub(crate) struct Shard<P: Program, M> {
    pub(crate) id: ShardId,
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) bell: Bell,
    pub(crate) machine: Machine<P>,
    pub(crate) world: World,
    /// What the model wanted when it was last asked.
    pub(crate) subs: Sub<P>,
    pub(crate) ports: Ports<P::Key>,
    /// After the ports: they end before the threads that they are seated on.
    pub(crate) io_threads: IoThreads,
    pub(crate) listeners: Vec<(P::Key, BoundListener)>,
    pub(crate) signals: Vec<(P::Key, Signals)>,
    /// How often in a row a subscription could not be started.
    failures: BTreeMap<P::Key, u32>,
    pub(crate) wheel: TimerWheel<TimerKey<P::Key>, Timed<P::Msg>>,
    pub(crate) streams: StreamTable<P>,
    pub(crate) tasks: TaskTable<P>,
    pub(crate) manager: M,
    pub(crate) effects: mpsc::Sender<P::Msg>,
    pub(crate) answers: mpsc::Receiver<P::Msg>,
    /// Delivered in the next turn; see [`Config::control_max`].
    pub(crate) control: VecDeque<Control<P::Msg>>,
    pub(crate) task_counters: Arc<TaskCounters>,
    /// The port that is served first in this turn.
    pub(crate) first_port: usize,
    pub(crate) stage: Stage,
}

/// The model, its commands, and what surrounds one call of `update`.
pub(crate) struct Machine<P: Program> {
    pub(crate) model: P,
    pub(crate) cmd: Cmd<P>,
    pub(crate) cx: Context,
    pub(crate) counters: Counters,
    /// Messages handled in this turn.
    pub(crate) handled: u32,
    pub(crate) sample: Option<std::time::Duration>,
    until_sample: u32,
    sample_every: Option<u32>,
    check_subscriptions: bool,
    pub(crate) asked: Asked,
    /// Operations that were looked at for `resubscribe` already.
    checked: usize,
}

/// What the program asked for in this turn that only its end can do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) resubscribe: bool,
    pub(crate) quit: bool,
}

/// Whether there is a network around the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum World {
    Real,
    /// UDP ports only, without sockets.
    Memory,
}

/// What the shard is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Running,
    /// The program said so; this turn is the last.
    Quitting,
    /// Nothing new comes in, what was accepted is completed.
    Draining,
}

/// Names what waits on the wheel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TimerKey<Key> {
    Timer(Key),
    Interval(Key),
    Retry(Key),
}

/// What to do when it is due.
pub(crate) enum Timed<Msg> {
    Deliver(Msg),
    Tick,
    Retry,
}

/// What the loop tells the program in the next turn.
pub(crate) enum Control<Msg> {
    Message(Msg),
    StreamEnded(Ended),
    TaskRefused(Refused),
}

impl<P: Program, M> Shard<P, M> {
    /// Starts the program: the first model, its subscriptions, then what it asked for.
    pub(crate) fn start(config: Config, manager: M, flags: P::Flags, world: World, observed: bool) -> Self {
        let (bell, task_counters) = (Bell::default(), Arc::new(TaskCounters::default()));
        let (effects, answers) = mpsc::channel(config.effects_max);
        let id = ShardId::default();
        let cx = Context { now: Time::ZERO, shard: id, load: Load::default() };
        let mut cmd = Cmd::default();
        let model = P::init(flags, &cx, &mut cmd);
        let machine = Machine {
            model,
            cmd,
            cx,
            counters: Counters::default(),
            handled: 0,
            sample: None,
            until_sample: 0,
            sample_every: observed.then_some(config.update_sample_every),
            check_subscriptions: config.check_subscriptions,
            asked: Asked::default(),
            checked: 0,
        };
        let mut shard = Self {
            id,
            clock: Clock::start(),
            machine,
            world,
            subs: Sub::default(),
            ports: Ports::default(),
            io_threads: IoThreads::new(config.io_threads),
            listeners: Vec::new(),
            signals: Vec::new(),
            failures: BTreeMap::new(),
            wheel: TimerWheel::default(),
            streams: StreamTable::new(&config, &bell),
            tasks: TaskTable::new(&config, &bell, &task_counters),
            manager,
            effects,
            answers,
            control: VecDeque::new(),
            task_counters,
            first_port: 0,
            stage: Stage::Running,
            config,
            bell,
        };
        shard.resubscribe();
        shard
    }

    /// Reads the subscriptions and starts, stops and restarts what changed.
    pub(crate) fn resubscribe(&mut self) {
        let wanted = self.machine.wanted();
        let changes = self.subs.changes_to(&wanted);
        self.subs = wanted;
        for key in changes.stop {
            self.stop_source(key);
        }
        for key in changes.start {
            self.start_source(key);
        }
    }

    /// Starts what `key` subscribes to; a failure is reported and tried again later.
    pub(crate) fn start_source(&mut self, key: P::Key) {
        let Some(source) = self.subs.wanted.get(&key) else { return };
        let started = match source {
            Source::Udp { port, .. } => {
                let bound = match self.world {
                    World::Memory => Ok(BoundUdp::in_memory(port, &self.config)),
                    World::Real => self
                        .io_threads
                        .seat()
                        .and_then(|seat| {
                            let (bell, counters) = (&self.bell, &self.task_counters);
                            BoundUdp::bind(port, &self.config, seat, self.clock, bell, counters)
                        })
                        .map_err(|error| describe("bind UDP", port.bind, &error)),
                };
                bound.map(|bound| {
                    let local = bound.local;
                    self.ports.insert(key, bound);
                    Some(local)
                })
            }
            Source::Listen { port, .. } => {
                BoundListener::bind(port, self.config.incoming_max, &self.bell, &self.task_counters)
                    .map_err(|error| describe("listen on TCP", port.bind, &error))
                    .map(|bound| {
                        let local = bound.local;
                        self.listeners.push((key, bound));
                        Some(local)
                    })
            }
            Source::Every { period, .. } => {
                self.wheel.insert(TimerKey::Interval(key), self.machine.cx.now + *period, Timed::Tick);
                Ok(None)
            }
            Source::Signal { .. } => match Signals::listen(&self.bell, &self.task_counters) {
                Ok(signals) => {
                    self.signals.push((key, signals));
                    Ok(None)
                }
                Err(error) => Err(Fault::from(error)),
            },
            Source::Events { .. } => Ok(None),
        };
        match started {
            Ok(local) => {
                self.failures.remove(&key);
                if let Some(local) = local {
                    self.tell(&SubEvent::Ready { key, local });
                }
            }
            Err(fault) => self.source_failed(key, fault),
        }
    }

    /// A subscription could not be started or broke: tells the program and tries again after a growing delay.
    pub(crate) fn source_failed(&mut self, key: P::Key, fault: Fault) {
        self.machine.counters.subscription_failures += 1;
        let failures = self.failures.entry(key).or_insert(0);
        *failures = failures.saturating_add(1);
        let failures = *failures;
        let doublings = (failures - 1).min(16);
        let delay =
            self.config.retry_delay_min.saturating_mul(1 << doublings).min(self.config.retry_delay_max);
        tracing::warn!(?key, %fault, failures, ?delay, "subscription failed, will be tried again");
        self.ports.remove(&key);
        self.wheel.insert(TimerKey::Retry(key), self.machine.cx.now + delay, Timed::Retry);
        self.tell(&SubEvent::Failed { key, fault, failures });
    }

    fn stop_source(&mut self, key: P::Key) {
        self.ports.remove(&key);
        self.listeners.retain(|(other, _)| *other != key);
        self.signals.retain(|(other, _)| *other != key);
        self.failures.remove(&key);
        self.wheel.cancel(&TimerKey::Interval(key));
        self.wheel.cancel(&TimerKey::Retry(key));
    }

    /// Tells the program what became of a subscription.
    fn tell(&mut self, event: &SubEvent<P::Key>) {
        let mut messages = Vec::new();
        for (key, source) in &self.subs.wanted {
            if let Source::Events { tag } = source {
                messages.extend(tag.call(*key, event.clone()));
            }
        }
        for message in messages {
            self.put_control(Control::Message(message));
        }
    }

    /// Puts something before the next turn.
    pub(crate) fn put_control(&mut self, control: Control<P::Msg>) {
        if self.control.len() < self.config.control_max {
            self.control.push_back(control);
        } else {
            self.machine.counters.control_dropped += 1;
        }
    }

    /// Stops everything that brings something new.
    ///
    /// Signals stay: the second interrupt must end the process even now.
    pub(crate) fn drain(&mut self) {
        self.stage = Stage::Draining;
        self.ports.clear();
        self.listeners.clear();
        self.wheel.clear();
        self.tasks.stop();
        for ended in self.streams.stop() {
            self.put_control(Control::StreamEnded(ended));
        }
    }

    /// What was accepted and is not finished.
    pub(crate) fn unfinished(&self) -> usize {
        self.effects_live() + self.tasks.live() + self.streams.running() + self.control.len()
    }

    /// Effects that are not answered, or whose answer waits.
    pub(crate) fn effects_live(&self) -> usize {
        self.effects.max_capacity() - self.effects.capacity()
    }

    /// How full the lanes are.
    pub(crate) fn load(&self) -> Load {
        let ports = self.ports.len();
        Load {
            datagrams: fill(self.ports.batches_waiting(), ports * self.config.datagram_batches_max),
            sends: fill(self.ports.sends_waiting(), ports * self.config.sends_waiting_max),
            streams: fill(self.streams.live(), self.streams.streams_max()),
            tasks: fill(self.tasks.live(), self.tasks.tasks_max()),
            effects: fill(self.effects_live(), self.effects.max_capacity()),
        }
    }
}

impl<P: Program> Machine<P> {
    /// Hands one message to the program.
    pub(crate) fn update(&mut self, msg: P::Msg, subs: &Sub<P>) {
        self.handled += 1;
        match self.sample_every {
            Some(every) if self.until_sample == 0 => {
                self.until_sample = every - 1;
                let before = instant();
                self.model.update(msg, &self.cx, &mut self.cmd);
                self.sample = Some(instant() - before);
            }
            _ => {
                self.until_sample = self.until_sample.saturating_sub(1);
                self.model.update(msg, &self.cx, &mut self.cmd);
            }
        }
        if self.check_subscriptions {
            self.check_subscriptions(subs);
        }
    }

    fn wanted(&self) -> Sub<P> {
        let mut wanted = Sub::default();
        self.model.subscriptions(&mut wanted);
        wanted
    }

    /// Finds the program that changes what it wants to listen to and forgets to say so, at the message that did it.
    fn check_subscriptions(&mut self, subs: &Sub<P>) {
        self.asked.resubscribe |= self.cmd.asks_for_resubscribe(self.checked);
        self.checked = self.cmd.ops().len();
        if !self.asked.resubscribe {
            let changes = subs.changes_to(&self.wanted());
            assert!(
                changes.is_empty(),
                "the subscriptions changed without cmd.resubscribe(): gone or changed {:?}, new or changed {:?}",
                changes.stop,
                changes.start,
            );
        }
    }

    /// The operations so far are done with.
    pub(crate) fn flushed(&mut self) {
        self.cmd.clear();
        self.cmd.shrink();
        self.checked = 0;
    }
}

fn describe(what: &str, address: std::net::SocketAddr, error: &io::Error) -> Fault {
    Fault::Io(error.kind(), format!("cannot {what} {address}: {error}"))
}

/// 0 is empty, 255 full; one of many is not empty.
fn fill(used: usize, capacity: usize) -> u8 {
    // Lanes are mostly empty, and a division is the slowest of all simple instructions.
    if used == 0 {
        return 0;
    }
    let scaled = (used * 255).div_ceil(capacity.max(1));
    u8::try_from(scaled).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::fill;

    #[test]
    fn a_lane_is_empty_at_0_and_full_at_255() {
        assert_eq!(
            [fill(0, 10), fill(1, 1000), fill(5, 10), fill(10, 10), fill(11, 10)],
            [0, 1, 128, 255, 255]
        );
        assert_eq!(fill(0, 0), 0);
    }
}
