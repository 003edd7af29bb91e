//! The streams of a program: every limit of the real runtime, in virtual time.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    time::Duration,
};

use bytes::Bytes;

use super::{
    host::{Host, Local},
    host_config::HostStatus,
    locals::LocalId,
    responder::{closed_by, trace_stream},
    tcp::{EndId, TcpEvent},
    trace::Map,
    world::World,
};
use crate::{
    Close, CloseReason, Incoming, Program, StreamEvent, StreamLimits, Time, incoming::Link, sub::Tagger,
};

type StreamTag<P> = Tagger<<P as Program>::Key, StreamEvent, <P as Program>::Msg>;

/// The streams of one life of a program.
pub(super) struct Streams<P: Program> {
    by_key: BTreeMap<P::Key, u64>,
    by_id: BTreeMap<u64, Stream<P>>,
    by_end: Map<EndId, u64>,
    /// Written to or closed in this turn.
    dirty: BTreeSet<u64>,
    last_id: u64,
}

struct Stream<P: Program> {
    key: P::Key,
    tag: StreamTag<P>,
    limits: StreamLimits,
    /// `None`: refused or broken off; its `Closed` is on its way.
    end: Option<EndId>,
    phase: Phase,
    /// The program has not closed it.
    attached: bool,
    /// When the phase began.
    since: Time,
    /// When bytes arrived last.
    arrived: Time,
    /// When the other side last took bytes, or when they were queued.
    progress: Time,
    received: u64,
    alarm: Option<(Time, LocalId)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Open,
    /// The program has closed it, bytes are left.
    Flushing,
    /// All is sent, the other side's farewell is waited for.
    Farewell,
}

impl<P: Program> Default for Streams<P> {
    fn default() -> Self {
        Self {
            by_key: BTreeMap::new(),
            by_id: BTreeMap::new(),
            by_end: Map::default(),
            dirty: BTreeSet::new(),
            last_id: 0,
        }
    }
}

impl<P: Program> Streams<P> {
    /// Streams that exist, including those that the program has closed and that still flush.
    pub(super) fn live(&self) -> usize {
        self.by_end.len()
    }

    fn attached(&self, id: u64) -> Option<&Stream<P>> {
        self.by_id.get(&id).filter(|stream| stream.attached)
    }

    fn end_of(&self, id: u64) -> Option<EndId> {
        self.by_id.get(&id).and_then(|stream| stream.end)
    }

    /// The connection is no longer the stream's.
    fn detach_end(&mut self, id: u64) -> Option<EndId> {
        let end = self.by_id.get_mut(&id)?.end.take()?;
        self.by_end.remove(&end);
        Some(end)
    }
}

impl<P: Program> Host<P> {
    pub(super) fn connect_stream(
        &mut self,
        key: P::Key,
        to: SocketAddr,
        limits: StreamLimits,
        tag: StreamTag<P>,
        world: &mut World,
    ) {
        self.close_stream(key, Close::Reset, world);
        let refused = self.refuses_streams();
        let local = match limits.bind {
            _ if refused.is_some() => Err(None),
            Some(ip) if !ip.is_unspecified() => {
                let ours = self.config.ips.contains(&ip) && ip.is_ipv4() == to.is_ipv4();
                if ours { Ok(ip) } else { Err(Some(CloseReason::Io(io::ErrorKind::AddrNotAvailable))) }
            }
            _ => world.nodes[self.node as usize].source_for(to.ip()).ok_or(Some(CloseReason::Unreachable)),
        };
        let local = local.map(|ip| SocketAddr::new(ip, world.nodes[self.node as usize].take_port()));
        let end = local.as_ref().ok().map(|local| world.tcp_connect(self.node, *local, to));
        let id = self.add_stream(key, limits, tag, end, Phase::Connecting, world.now);
        match local {
            Ok(_) => self.arm(id, world),
            Err(Some(failed)) => drop(self.schedule(world.now, Local::StreamFailed(id, failed), world)),
            Err(None) => self.end_soon(id, refused, world),
        }
    }

    pub(super) fn accept_stream(
        &mut self,
        key: P::Key,
        incoming: &Incoming,
        limits: StreamLimits,
        tag: StreamTag<P>,
        world: &mut World,
    ) {
        self.close_stream(key, Close::Reset, world);
        let refused = self.refuses_streams();
        let end = match &incoming.link {
            Link::Virtual(link) if refused.is_none() => Some(link.end).filter(|end| world.tcp_accept(*end)),
            _ => None,
        };
        if let Some(end) = end {
            // Nothing is read before the program has heard that it is open.
            world.tcp_pause(end);
            self.life.incoming.retain(|(other, _)| *other != end);
        }
        let id = self.add_stream(key, limits, tag, end, Phase::Open, world.now);
        if refused.is_some() {
            self.end_soon(id, refused, world);
        } else if end.is_some() {
            self.schedule(world.now, Local::StreamOpened(id), world);
        } else {
            // It was reset while it waited.
            self.schedule(world.now, Local::StreamFailed(id, CloseReason::Reset), world);
        }
    }

    pub(super) fn write_stream(&mut self, key: P::Key, bytes: &[u8], world: &mut World) {
        let streams = &mut self.life.streams;
        let id = streams.by_key.get(&key).copied();
        let stream = id.and_then(|id| streams.by_id.get_mut(&id).map(|stream| (id, stream)));
        let Some((id, stream)) = stream.filter(|(_, stream)| stream.end.is_some()) else {
            self.life.counters.writes_without_stream += 1;
            return;
        };
        let Some(end) = stream.end else { return };
        let pending = world.tcp.pending(end);
        if pending + bytes.len() > stream.limits.write_queue_bytes_max {
            streams.detach_end(id);
            world.tcp_reset(end);
            self.disarm(id);
            return self.put_control(Local::StreamEnded(id, CloseReason::TooMuchQueued), world);
        }
        if pending == 0 {
            stream.progress = world.now;
        }
        streams.dirty.insert(id);
        world.tcp_write(end, bytes);
    }

    /// Ends a stream; nothing more comes from it.
    pub(super) fn close_stream(&mut self, key: P::Key, how: Close, world: &mut World) {
        if let Some(id) = self.life.streams.by_key.remove(&key) {
            self.close_by_id(id, how, world);
        }
    }

    /// What the kernel says about a connection.
    pub(super) fn stream_event(&mut self, end: EndId, what: TcpEvent, world: &mut World) {
        if let TcpEvent::Syn = what {
            return self.connection_arrives(end, world);
        }
        let Some(id) = self.life.streams.by_end.get(&end).copied() else { return };
        let Some(stream) = self.life.streams.by_id.get_mut(&id) else { return };
        match what {
            TcpEvent::Syn => {}
            TcpEvent::Opened => {
                stream.enter(Phase::Open, world.now);
                self.life.streams.dirty.insert(id);
                if self.life.streams.attached(id).is_none() {
                    return self.start_flush(id, world);
                }
                if let Some((local, peer)) = world.tcp.end(end).map(|end| (end.local, end.peer)) {
                    self.tell_stream(id, StreamEvent::Opened { local, peer }, world);
                }
                self.arm(id, world);
            }
            TcpEvent::Data(bytes) => self.stream_data(id, bytes, world),
            TcpEvent::Eof => match stream.phase {
                Phase::Connecting | Phase::Open => {
                    world.tcp_close(end);
                    self.stream_is_over(id, CloseReason::Eof, world);
                }
                // Noticed when all is sent.
                Phase::Flushing => {}
                Phase::Farewell => self.let_go(id, world),
            },
            TcpEvent::Sent => {
                stream.progress = world.now;
                self.life.streams.dirty.insert(id);
            }
            TcpEvent::Refused | TcpEvent::TimedOut { .. } | TcpEvent::Reset => {
                if let Some(StreamEvent::Closed(reason)) = closed_by(&what) {
                    self.stream_is_over(id, reason, world);
                }
            }
        }
    }

    /// An accepted stream is told that it is open, then what had arrived before.
    pub(super) fn accepted_stream_opens(&mut self, id: u64, world: &mut World) {
        let Some(end) = self.life.streams.attached(id).and_then(|stream| stream.end) else { return };
        let Some((local, peer)) = world.tcp.end(end).map(|end| (end.local, end.peer)) else { return };
        self.arm(id, world);
        self.tell_stream(id, StreamEvent::Opened { local, peer }, world);
        if self.life.streams.attached(id).is_some_and(|stream| stream.end == Some(end)) {
            for bytes in world.tcp_resume(end) {
                self.stream_data(id, bytes, world);
            }
        }
    }

    /// Bytes arrived.
    fn stream_data(&mut self, id: u64, mut bytes: Bytes, world: &mut World) {
        while !bytes.is_empty() {
            // The program may have closed it at the last chunk.
            let Some(stream) = self.life.streams.by_id.get_mut(&id).filter(|stream| stream.end.is_some())
            else {
                return;
            };
            let limits = &stream.limits;
            // One byte more than allowed shows whether the peer sends too much.
            let budget = usize::try_from((limits.read_bytes_max - stream.received).saturating_add(1));
            let budget = budget.unwrap_or(usize::MAX);
            let chunk = bytes.split_to(limits.chunk_bytes_max.max(1).min(budget).min(bytes.len()));
            let exceeded = chunk.len() == budget;
            stream.arrived = world.now;
            stream.received += chunk.len() as u64;
            match stream.phase {
                Phase::Open if exceeded => return self.break_off(id, CloseReason::TooMuchReceived, world),
                Phase::Open => self.tell_stream(id, StreamEvent::Data(chunk), world),
                _ if exceeded => return self.let_go(id, world),
                _ => {}
            }
        }
    }

    /// A limit may have been reached.
    pub(super) fn stream_alarm(&mut self, id: u64, world: &mut World) {
        let Some(stream) = self.life.streams.by_id.get_mut(&id) else { return };
        stream.alarm = None;
        let Some(end) = stream.end else { return };
        let passed = stream
            .deadlines(world.tcp.pending(end), self.life.stopping_since)
            .into_iter()
            .flatten()
            .find(|(at, _)| *at <= world.now);
        match passed {
            None => self.arm(id, world),
            Some((_, Some(reason))) => self.break_off(id, reason, world),
            Some((_, None)) => self.let_go(id, world),
        }
    }

    /// Tells the program that a stream is gone, unless it has closed it itself.
    pub(super) fn stream_is_over(&mut self, id: u64, reason: CloseReason, world: &mut World) {
        self.disarm(id);
        let end = self.life.streams.detach_end(id);
        let Some(stream) = self.life.streams.by_id.remove(&id).filter(|stream| stream.attached) else {
            return;
        };
        self.life.streams.by_key.remove(&stream.key);
        let event = StreamEvent::Closed(reason);
        trace_stream(world, self.node, end.unwrap_or_default(), &event);
        self.deliver(stream.tag.call(stream.key, event), world);
    }

    /// Sends what was written in this turn.
    pub(super) fn pump_streams(&mut self, world: &mut World) {
        while let Some(id) = self.life.streams.dirty.pop_first() {
            let Some(end) = self.life.streams.end_of(id) else { continue };
            let sent = world.tcp_pump(end);
            let Some(stream) = self.life.streams.by_id.get_mut(&id) else { continue };
            if sent {
                stream.progress = world.now;
            }
            if stream.phase == Phase::Flushing && world.tcp.pending(end) == 0 {
                stream.enter(Phase::Farewell, world.now);
                world.tcp_shutdown(end);
                if world.tcp.has_ended(end) {
                    self.let_go(id, world);
                    continue;
                }
            }
            self.arm(id, world);
        }
    }

    /// The program is stopping: streams send what is queued, and the program is told.
    pub(super) fn stop_streams(&mut self, world: &mut World) {
        let ids: Vec<u64> = self.life.streams.by_id.keys().copied().collect();
        for id in ids {
            let Some(stream) = self.life.streams.by_id.get(&id) else { continue };
            if stream.end.is_none() {
                continue;
            }
            if !stream.attached {
                self.life.streams.dirty.insert(id);
                continue;
            }
            // The connection goes on without the program; its last word waits under another number.
            let (key, tag, limits) = (stream.key, stream.tag.clone(), stream.limits.clone());
            self.close_by_id(id, Close::Flush, world);
            self.life.streams.by_key.remove(&key);
            let told = self.add_stream(key, limits, tag, None, Phase::Open, world.now);
            self.put_control(Local::StreamEnded(told, CloseReason::Stopping), world);
        }
    }

    fn close_by_id(&mut self, id: u64, how: Close, world: &mut World) {
        let Some(stream) = self.life.streams.by_id.get_mut(&id) else { return };
        stream.attached = false;
        let Some(end) = stream.end else {
            self.life.streams.by_id.remove(&id);
            return;
        };
        match (how, stream.phase) {
            (Close::Flush, Phase::Open) => self.start_flush(id, world),
            (Close::Flush, Phase::Connecting) if world.tcp.pending(end) > 0 => {}
            _ => {
                world.tcp_reset(end);
                self.forget_stream(id);
            }
        }
    }

    /// Sends what is queued, then the end, then waits for the other side's.
    fn start_flush(&mut self, id: u64, world: &mut World) {
        let Some(stream) = self.life.streams.by_id.get_mut(&id) else { return };
        stream.enter(Phase::Flushing, world.now);
        let end = stream.end;
        self.life.streams.dirty.insert(id);
        if let Some(end) = end {
            for bytes in world.tcp_resume(end) {
                self.stream_data(id, bytes, world);
            }
        }
    }

    /// A limit was broken: the other side is reset and the program told.
    fn break_off(&mut self, id: u64, reason: CloseReason, world: &mut World) {
        if let Some(end) = self.life.streams.end_of(id) {
            world.tcp_reset(end);
        }
        self.stream_is_over(id, reason, world);
    }

    /// Leaves a stream that the program has closed to the kernel.
    fn let_go(&mut self, id: u64, world: &mut World) {
        if let Some(end) = self.life.streams.end_of(id) {
            world.tcp_close(end);
        }
        self.forget_stream(id);
    }

    fn forget_stream(&mut self, id: u64) {
        self.disarm(id);
        self.life.streams.detach_end(id);
        self.life.streams.by_id.remove(&id);
    }

    fn add_stream(
        &mut self,
        key: P::Key,
        limits: StreamLimits,
        tag: StreamTag<P>,
        end: Option<EndId>,
        phase: Phase,
        now: Time,
    ) -> u64 {
        let streams = &mut self.life.streams;
        streams.last_id += 1;
        let id = streams.last_id;
        streams.by_key.insert(key, id);
        if let Some(end) = end {
            streams.by_end.insert(end, id);
        }
        let stream = Stream {
            key,
            tag,
            limits,
            end,
            phase,
            attached: true,
            since: now,
            arrived: now,
            progress: now,
            received: 0,
            alarm: None,
        };
        streams.by_id.insert(id, stream);
        id
    }

    fn refuses_streams(&self) -> Option<CloseReason> {
        if self.life.status == HostStatus::Draining {
            return Some(CloseReason::Stopping);
        }
        (self.life.streams.live() >= self.config.config.streams_max).then_some(CloseReason::Overload)
    }

    fn end_soon(&mut self, id: u64, refused: Option<CloseReason>, world: &mut World) {
        if let Some(reason) = refused {
            self.life.counters.streams_refused += 1;
            self.put_control(Local::StreamEnded(id, reason), world);
        }
    }

    fn tell_stream(&mut self, id: u64, event: StreamEvent, world: &mut World) {
        let Some(stream) = self.life.streams.attached(id) else { return };
        trace_stream(world, self.node, stream.end.unwrap_or_default(), &event);
        let msg = stream.tag.call(stream.key, event);
        self.deliver(msg, world);
    }

    /// Has the stream looked at when its next limit can be reached. An alarm that comes too early is set anew then.
    fn arm(&mut self, id: u64, world: &mut World) {
        let Some(stream) = self.life.streams.by_id.get(&id) else { return };
        let Some(end) = stream.end else { return };
        let deadlines = stream.deadlines(world.tcp.pending(end), self.life.stopping_since);
        let Some(next) = deadlines.into_iter().flatten().map(|(at, _)| at).min() else { return };
        if stream.alarm.is_some_and(|(at, _)| at <= next) {
            return;
        }
        self.disarm(id);
        let local = self.schedule(next.max(world.now), Local::StreamAlarm(id), world);
        if let Some(stream) = self.life.streams.by_id.get_mut(&id) {
            stream.alarm = Some((next, local));
        }
    }

    fn disarm(&mut self, id: u64) {
        if let Some(stream) = self.life.streams.by_id.get_mut(&id)
            && let Some((_, local)) = stream.alarm.take()
        {
            self.locals.remove(local);
        }
    }
}

impl<P: Program> Stream<P> {
    fn enter(&mut self, phase: Phase, now: Time) {
        self.phase = phase;
        self.since = now;
        self.arrived = now;
        self.progress = now;
    }

    /// The limits that are times, the gravest first; `None` for a stream that nobody waits for.
    fn deadlines(
        &self,
        pending: usize,
        stopping_since: Option<Time>,
    ) -> [Option<(Time, Option<CloseReason>)>; 3] {
        let limits = &self.limits;
        let told = |reason| self.attached.then_some(reason);
        match self.phase {
            Phase::Connecting => {
                let at = self.since + limits.connect_timeout;
                [Some((at, told(CloseReason::ConnectTimeout))), None, None]
            }
            Phase::Open => [
                Some((self.since + limits.lifetime_max, told(CloseReason::LifetimeExceeded))),
                (pending > 0)
                    .then(|| (self.progress + limits.write_timeout, told(CloseReason::WriteTimeout))),
                Some((self.arrived + limits.idle_timeout, told(CloseReason::IdleTimeout))),
            ],
            Phase::Flushing => [Some((self.progress + limits.write_timeout, None)), None, None],
            Phase::Farewell => {
                let hurry = stopping_since.map(|stop| (stop.max(self.since) + FAREWELL_MAX, None));
                [Some((self.since + limits.write_timeout, None)), hurry, None]
            }
        }
    }
}

/// How long a program that stops waits for the other side to end the stream too, as the real runtime does.
const FAREWELL_MAX: Duration = Duration::from_secs(1);
