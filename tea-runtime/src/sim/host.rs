//! A host that runs a program: the same machinery as the real runtime, in virtual time.
//!
//! Each event is a turn of its own.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Weak,
};

use super::{
    answers::{EffectCx, HeldEffect, TaskOutcome},
    host_config::{HostConfig, HostStatus},
    host_streams::Streams,
    host_tasks::Tasks,
    locals::{LocalId, Locals},
    rng::SimRng,
    tcp::{EndId, Upcall},
    trace::{Kind, Map},
    world::{Event, World},
};
use crate::{
    CloseReason, Cmd, Context, Counters, Datagram, Load, Program, ShardId, Signal, Sub, Time, sub::Source,
};

/// A host whose program's type is forgotten.
pub(super) trait AnyHost: Any {
    /// Whether a program has bound the address.
    fn is_bound(&self, to: SocketAddr) -> bool;
    /// A datagram arrives at a bound address.
    fn datagram(&mut self, to: SocketAddr, from: SocketAddr, payload: &[u8], world: &mut World);
    fn tcp(&mut self, upcall: Upcall, world: &mut World);
    fn local(&mut self, id: LocalId, world: &mut World);
    fn signal(&mut self, signal: Signal, world: &mut World);
    fn restart(&mut self, world: &mut World);
    /// The program is gone, its machine or its process.
    fn end(&mut self, status: HostStatus, world: &mut World);
    fn status(&self) -> HostStatus;
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

pub(super) type EffectHandler<P> =
    Box<dyn FnMut(<P as Program>::Effect, &mut EffectCx<'_, <P as Program>::Msg>)>;
pub(super) type TaskHandler = Box<dyn FnMut(&mut SimRng) -> TaskOutcome>;

/// A machine, and the program on it.
pub(super) struct Host<P: Program> {
    pub(super) node: u32,
    pub(super) config: HostConfig,
    flags: Box<dyn FnMut() -> P::Flags>,
    pub(super) on_effect: Option<EffectHandler<P>>,
    pub(super) on_task: BTreeMap<&'static str, TaskHandler>,
    /// Addresses that another process of the machine has.
    pub(super) occupied: BTreeSet<SocketAddr>,
    /// What is scheduled for the program; what belongs to an earlier life has no place in it.
    pub(super) locals: Locals<Local<P>>,
    pub(super) life: Life<P>,
}

/// One life of a program, from start to end or crash.
pub(super) struct Life<P: Program> {
    pub(super) model: P,
    pub(super) cmd: Cmd<P>,
    pub(super) counters: Counters,
    pub(super) status: HostStatus,
    pub(super) asked: Asked,
    /// What the model wanted when it was last asked.
    pub(super) subs: Sub<P>,
    pub(super) udp: BTreeMap<P::Key, SocketAddr>,
    pub(super) udp_keys: Map<SocketAddr, P::Key>,
    pub(super) listeners: BTreeMap<P::Key, SocketAddr>,
    /// How often in a row a subscription could not be started.
    pub(super) failures: BTreeMap<P::Key, u32>,
    /// Signals no longer end the process.
    pub(super) handles_signals: bool,
    pub(super) interrupts: u32,
    pub(super) timers: BTreeMap<TimerName<P::Key>, LocalId>,
    pub(super) tasks: Tasks<P>,
    pub(super) streams: Streams<P>,
    /// Connections that the program has been shown and not accepted; a dead reference was dropped.
    pub(super) incoming: Vec<(EndId, Weak<()>)>,
    pub(super) effects_live: usize,
    pub(super) held: BTreeSet<HeldEffect>,
    pub(super) last_effect: u64,
    pub(super) control_live: usize,
    /// When draining ends whatever is left.
    pub(super) stopping_since: Option<Time>,
}

/// What the program asked for in this turn that only its end can do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    pub(super) resubscribe: bool,
    pub(super) quit: bool,
}

/// A timer's name, as the runtime has it, with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum TimerName<Key> {
    Timer(Key),
    Interval(Key),
    Retry(Key),
}

/// What is scheduled for a program.
pub(super) enum Local<P: Program> {
    /// Does what `init` asked for.
    Start,
    /// A refusal, what became of a subscription, a message to the own shard.
    Control(P::Msg),
    TaskRefused(u64),
    /// The runtime itself refused the stream or broke it off.
    StreamEnded(u64, CloseReason),
    /// The system could not open the stream.
    StreamFailed(u64, CloseReason),
    /// An accepted stream is told so.
    StreamOpened(u64),
    /// A limit of the stream may have been reached.
    StreamAlarm(u64),
    Timer(P::Key, P::Msg),
    Tick(P::Key),
    Retry(P::Key),
    Effect(P::Msg),
    TaskDone(u64),
    Signal(Signal),
    /// From the test.
    Told(P::Msg),
    GraceOver,
}

impl<P: Program> Host<P> {
    /// Starts the program on a new machine.
    pub(super) fn new(
        node: u32,
        config: HostConfig,
        mut flags: Box<dyn FnMut() -> P::Flags>,
        world: &mut World,
    ) -> Self {
        let first = flags();
        let life = Life::new(first, world.now);
        let mut host = Self {
            node,
            config,
            flags,
            on_effect: None,
            on_task: BTreeMap::new(),
            occupied: BTreeSet::new(),
            locals: Locals::default(),
            life,
        };
        host.begin(world);
        host
    }

    /// Starts the program again, on the same machine.
    pub(super) fn restart_with(&mut self, flags: P::Flags, world: &mut World) {
        if self.is_alive() {
            self.end(HostStatus::Killed { at: world.now, by: None }, world);
        }
        self.life = Life::new(flags, world.now);
        self.begin(world);
    }

    fn begin(&mut self, world: &mut World) {
        self.schedule(world.now, Local::Start, world);
        self.resubscribe(world);
    }

    /// Schedules something for the program.
    pub(super) fn schedule(&mut self, at: Time, local: Local<P>, world: &mut World) -> LocalId {
        let id = self.locals.insert(local);
        let LocalId { slot, generation } = id;
        world.queue.push(at, Event::Host { node: self.node, slot, generation });
        id
    }

    /// Puts something before the next event, within the bound of the control lane.
    pub(super) fn put_control(&mut self, local: Local<P>, world: &mut World) {
        if self.life.control_live < self.config.config.control_max {
            self.life.control_live += 1;
            self.schedule(world.now, local, world);
        } else {
            self.life.counters.control_dropped += 1;
        }
    }

    /// Hands one message to the program and does what it asks for.
    pub(super) fn deliver(&mut self, msg: P::Msg, world: &mut World) {
        let cx = Context { now: world.now, shard: ShardId::default(), load: self.load() };
        let life = &mut self.life;
        life.counters.messages += 1;
        life.model.update(msg, &cx, &mut life.cmd);
        life.asked.resubscribe |= life.cmd.asks_for_resubscribe(0);
        if !life.asked.resubscribe {
            let changes = life.subs.changes_to(&life.wanted());
            assert!(
                changes.is_empty(),
                "the subscriptions changed without cmd.resubscribe(): gone or changed {:?}, new or changed {:?}",
                changes.stop,
                changes.start,
            );
        }
        self.flush(world);
    }

    /// What only the end of a turn can do.
    pub(super) fn finish_turn(&mut self, world: &mut World) {
        self.life.counters.turns += 1;
        self.pump_streams(world);
        self.refuse_dropped_incoming(world);
        let asked = std::mem::take(&mut self.life.asked);
        if asked.resubscribe && self.life.status == HostStatus::Running {
            self.resubscribe(world);
        }
        if asked.quit && self.life.status == HostStatus::Running {
            self.drain(world);
        }
        if self.life.status == HostStatus::Draining && self.unfinished() == 0 {
            self.end(HostStatus::Quit { at: world.now, abandoned: 0 }, world);
        }
    }

    /// Stops everything that brings something new; what was accepted is completed within the grace period.
    fn drain(&mut self, world: &mut World) {
        self.life.status = HostStatus::Draining;
        self.life.stopping_since = Some(world.now);
        self.life.udp.clear();
        self.life.udp_keys.clear();
        self.life.listeners.clear();
        for (_, local) in std::mem::take(&mut self.life.timers) {
            self.locals.remove(local);
        }
        self.stop_streams(world);
        self.schedule(world.now + self.config.config.grace, Local::GraceOver, world);
        self.pump_streams(world);
        self.refuse_dropped_incoming(world);
    }

    fn unfinished(&self) -> usize {
        let life = &self.life;
        life.effects_live + life.tasks.live() + life.streams.live() + life.control_live
    }

    fn is_alive(&self) -> bool {
        matches!(self.life.status, HostStatus::Running | HostStatus::Draining)
    }

    /// How full the lanes are. Datagrams never wait here.
    fn load(&self) -> Load {
        let config = &self.config.config;
        Load {
            datagrams: 0,
            sends: 0,
            streams: fill(self.life.streams.live(), config.streams_max),
            tasks: fill(self.life.tasks.live(), config.tasks_max),
            effects: fill(self.life.effects_live, config.effects_max),
        }
    }

    fn run_local(&mut self, local: Local<P>, world: &mut World) {
        let (now, node) = (world.now, self.node);
        match local {
            Local::Start => {
                world.trace.event(now, node, Kind::Start);
                self.life.asked.resubscribe |= self.life.cmd.asks_for_resubscribe(0);
                self.flush(world);
            }
            Local::Control(msg) => {
                world.trace.event(now, node, Kind::Control);
                self.life.control_live -= 1;
                self.deliver(msg, world);
            }
            Local::TaskRefused(id) => {
                self.life.control_live -= 1;
                self.finish_task(id, world);
            }
            Local::StreamEnded(id, reason) => {
                self.life.control_live -= 1;
                self.stream_is_over(id, reason, world);
            }
            Local::StreamFailed(id, reason) => self.stream_is_over(id, reason, world),
            Local::StreamOpened(id) => self.accepted_stream_opens(id, world),
            Local::StreamAlarm(id) => self.stream_alarm(id, world),
            Local::Timer(key, msg) => {
                world.trace.event(now, node, Kind::Timer);
                world.trace.name(&key);
                self.life.timers.remove(&TimerName::Timer(key));
                self.life.counters.timers_fired += 1;
                self.deliver(msg, world);
            }
            Local::Tick(key) => self.tick(key, world),
            Local::Retry(key) => {
                world.trace.event(now, node, Kind::Retry);
                world.trace.name(&key);
                self.life.timers.remove(&TimerName::Retry(key));
                self.start_source(key, world);
            }
            Local::Effect(msg) => {
                world.trace.event(now, node, Kind::Effect);
                self.life.effects_live -= 1;
                self.deliver(msg, world);
            }
            Local::TaskDone(id) => self.finish_task(id, world),
            Local::Signal(signal) => self.handle_signal(signal, world),
            Local::Told(msg) => {
                world.trace.event(now, node, Kind::Told);
                self.deliver(msg, world);
            }
            Local::GraceOver => {
                let abandoned = self.unfinished();
                self.end(HostStatus::Quit { at: now, abandoned }, world);
            }
        }
    }

    fn tick(&mut self, key: P::Key, world: &mut World) {
        let Some(Source::Every { period, tag }) = self.life.subs.wanted.get(&key) else { return };
        let (next, msg) = (world.now + (*period).max(TICK_MIN), tag.call(key, world.now));
        world.trace.event(world.now, self.node, Kind::Tick);
        world.trace.name(&key);
        let local = self.schedule(next, Local::Tick(key), world);
        self.life.timers.insert(TimerName::Interval(key), local);
        self.deliver(msg, world);
    }

    /// Signals end a process that has never subscribed to them; the second interrupt ends any.
    fn handle_signal(&mut self, signal: Signal, world: &mut World) {
        world.trace.event(world.now, self.node, Kind::Signal);
        world.trace.name(&(signal as u8));
        self.life.interrupts += u32::from(signal == Signal::Interrupt);
        if !self.life.handles_signals || self.life.interrupts >= 2 {
            return self.end(HostStatus::Killed { at: world.now, by: Some(signal) }, world);
        }
        if self.life.status == HostStatus::Running {
            let tag = |(key, source): (&P::Key, &Source<P>)| match source {
                Source::Signal { tag } => Some(tag.call(*key, signal)),
                _ => None,
            };
            let messages: Vec<P::Msg> = self.life.subs.wanted.iter().filter_map(tag).collect();
            for msg in messages {
                self.deliver(msg, world);
            }
        }
    }
}

impl<P: Program> Life<P> {
    fn new(flags: P::Flags, now: Time) -> Self {
        let cx = Context { now, shard: ShardId::default(), load: Load::default() };
        let mut cmd = Cmd::default();
        let model = P::init(flags, &cx, &mut cmd);
        Self {
            model,
            cmd,
            counters: Counters::default(),
            status: HostStatus::Running,
            asked: Asked::default(),
            subs: Sub::default(),
            udp: BTreeMap::new(),
            udp_keys: Map::default(),
            listeners: BTreeMap::new(),
            failures: BTreeMap::new(),
            handles_signals: false,
            interrupts: 0,
            timers: BTreeMap::new(),
            tasks: Tasks::default(),
            streams: Streams::default(),
            incoming: Vec::new(),
            effects_live: 0,
            held: BTreeSet::new(),
            last_effect: 0,
            control_live: 0,
            stopping_since: None,
        }
    }

    /// The port that has the address, itself or as one of all addresses of the family.
    fn udp_key(&self, to: SocketAddr) -> Option<P::Key> {
        let any = || SocketAddr::new(unspecified(to), to.port());
        self.udp_keys.get(&to).or_else(|| self.udp_keys.get(&any())).copied()
    }

    pub(super) fn wanted(&self) -> Sub<P> {
        let mut wanted = Sub::default();
        self.model.subscriptions(&mut wanted);
        wanted
    }
}

impl<P: Program> AnyHost for Host<P> {
    fn is_bound(&self, to: SocketAddr) -> bool {
        self.life.udp_key(to).is_some()
    }

    fn datagram(&mut self, to: SocketAddr, from: SocketAddr, payload: &[u8], world: &mut World) {
        let Some(key) = self.life.udp_key(to) else { return };
        let Some(Source::Udp { port, tag }) = self.life.subs.wanted.get(&key) else { return };
        let payload = &payload[..payload.len().min(port.datagram_bytes_max)];
        world.trace.event(world.now, self.node, Kind::Datagram);
        world.trace.address(from);
        world.trace.bytes(payload);
        let msg = tag.call(key, Datagram::single(from, payload));
        self.life.counters.datagrams_received += 1;
        self.life.counters.batches_received += 1;
        self.life.counters.datagram_bytes_received += payload.len() as u64;
        self.deliver(msg, world);
        self.finish_turn(world);
    }

    fn tcp(&mut self, upcall: Upcall, world: &mut World) {
        self.stream_event(upcall.end, upcall.what, world);
        self.finish_turn(world);
    }

    fn local(&mut self, id: LocalId, world: &mut World) {
        if let Some(local) = self.locals.remove(id) {
            self.run_local(local, world);
            if self.is_alive() {
                self.finish_turn(world);
            }
        }
    }

    fn signal(&mut self, signal: Signal, world: &mut World) {
        if self.is_alive() {
            self.schedule(world.now, Local::Signal(signal), world);
        }
    }

    fn restart(&mut self, world: &mut World) {
        let flags = (self.flags)();
        self.restart_with(flags, world);
    }

    fn end(&mut self, status: HostStatus, world: &mut World) {
        let kind = if let HostStatus::Crashed { .. } = status { Kind::Crash } else { Kind::Stop };
        world.trace.event(world.now, self.node, kind);
        match status {
            HostStatus::Crashed { .. } => world.tcp_crash(self.node),
            _ => world.tcp_exit(self.node),
        }
        self.locals.clear();
        let life = &mut self.life;
        life.status = status;
        life.cmd.clear();
        life.udp.clear();
        life.udp_keys.clear();
        life.listeners.clear();
        life.timers.clear();
        life.tasks = Tasks::default();
        life.streams = Streams::default();
        life.incoming.clear();
        life.held.clear();
        life.effects_live = 0;
        life.control_live = 0;
    }

    fn status(&self) -> HostStatus {
        self.life.status
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// The address that stands for all of the family.
pub(super) const fn unspecified(like: SocketAddr) -> std::net::IpAddr {
    match like {
        SocketAddr::V4(_) => std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => std::net::IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    }
}

/// 0 is empty, 255 full; one of many is not empty.
fn fill(used: usize, capacity: usize) -> u8 {
    u8::try_from((used * 255).div_ceil(capacity.max(1))).unwrap_or(u8::MAX)
}

/// An interval of nothing still advances, as in the real runtime.
const TICK_MIN: std::time::Duration = std::time::Duration::from_nanos(1);
