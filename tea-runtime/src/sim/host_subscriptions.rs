//! The subscriptions of a program: binding, failing, trying again.

use std::{io, net::SocketAddr, sync::Arc};

use super::{
    host::{Host, Local, TimerName, unspecified},
    tcp::EndId,
    trace::Kind,
    world::World,
};
use crate::{Fault, Incoming, Program, SubEvent, incoming::Link, sub::Source};

/// A connection of the simulator that the program has not taken. Dropping it refuses the connection.
pub(crate) struct VirtualLink {
    pub(super) end: EndId,
    /// The host looks whether it is still there.
    _alive: Arc<()>,
}

impl<P: Program> Host<P> {
    /// Reads the subscriptions and starts, stops and restarts what changed.
    pub(super) fn resubscribe(&mut self, world: &mut World) {
        let wanted = self.life.wanted();
        let changes = self.life.subs.changes_to(&wanted);
        self.life.subs = wanted;
        for key in changes.stop {
            self.stop_source(key);
        }
        for key in changes.start {
            self.start_source(key, world);
        }
    }

    /// Starts what `key` subscribes to; a failure is reported and tried again later.
    pub(super) fn start_source(&mut self, key: P::Key, world: &mut World) {
        let Some(source) = self.life.subs.wanted.get(&key) else { return };
        let bound = match source {
            Source::Udp { port, .. } => {
                let bind = port.bind;
                self.bind(bind, &self.life.udp.values(), world)
                    .inspect(|local| {
                        self.life.udp.insert(key, *local);
                        self.life.udp_keys.insert(*local, key);
                    })
                    .map_err(|kind| describe("bind UDP", bind, kind))
            }
            Source::Listen { port, .. } => {
                let bind = port.bind;
                self.bind(bind, &self.life.listeners.values(), world)
                    .inspect(|local| {
                        self.life.listeners.insert(key, *local);
                    })
                    .map_err(|kind| describe("listen on TCP", bind, kind))
            }
            Source::Every { period, .. } => {
                let at = world.now + *period;
                let local = self.schedule(at, Local::Tick(key), world);
                self.life.timers.insert(TimerName::Interval(key), local);
                return;
            }
            Source::Signal { .. } => {
                self.life.handles_signals = true;
                return;
            }
            Source::Events { .. } => return,
        };
        match bound {
            Ok(local) => {
                self.life.failures.remove(&key);
                self.tell(&SubEvent::Ready { key, local }, world);
            }
            Err(fault) => self.source_failed(key, fault, world),
        }
    }

    /// Somebody wants to connect: shows the connection to the program, if it listens there.
    pub(super) fn connection_arrives(&mut self, end: EndId, world: &mut World) {
        let Some((local, peer)) = world.tcp.end(end).map(|end| (end.local, end.peer)) else { return };
        let any = SocketAddr::new(unspecified(local), local.port());
        let mut listeners = self.life.listeners.iter();
        let key = listeners.find(|(_, bound)| **bound == local || **bound == any).map(|(key, _)| *key);
        let source = key.and_then(|key| self.life.subs.wanted.get(&key).map(|source| (key, source)));
        let Some((key, Source::Listen { tag, .. })) = source else { return world.tcp_answer(end, false) };
        world.tcp_answer(end, true);
        world.trace.event(world.now, self.node, Kind::Stream);
        world.trace.address(peer);
        let alive = Arc::new(());
        self.life.incoming.push((end, Arc::downgrade(&alive)));
        self.life.counters.incoming += 1;
        let link = Link::Virtual(VirtualLink { end, _alive: alive });
        let msg = tag.call(key, Incoming { peer, local, link });
        self.deliver(msg, world);
    }

    /// Closes the connections whose [`Incoming`] the program has dropped.
    pub(super) fn refuse_dropped_incoming(&mut self, world: &mut World) {
        self.life.incoming.retain(|(end, alive)| {
            let kept = alive.strong_count() > 0;
            // What the program accepted is no longer waiting.
            if !kept && world.tcp_accept(*end) {
                world.tcp_close(*end);
            }
            kept
        });
    }

    /// The address to bind, if it is ours and free.
    fn bind<'a>(
        &'a self,
        bind: SocketAddr,
        taken: &(impl Iterator<Item = &'a SocketAddr> + Clone),
        world: &mut World,
    ) -> Result<SocketAddr, io::ErrorKind> {
        let node = &mut world.nodes[self.node as usize];
        let ours = self.config.ips.contains(&bind.ip())
            || bind.ip().is_unspecified() && node.source_for(bind.ip()).is_some();
        if !ours {
            return Err(io::ErrorKind::AddrNotAvailable);
        }
        let overlap = |local: SocketAddr, other: &SocketAddr| {
            local.port() == other.port()
                && local.is_ipv4() == other.is_ipv4()
                && (local.ip() == other.ip() || local.ip().is_unspecified() || other.ip().is_unspecified())
        };
        let free =
            |local: SocketAddr| !taken.clone().chain(&self.occupied).any(|other| overlap(local, other));
        if bind.port() != 0 {
            return if free(bind) { Ok(bind) } else { Err(io::ErrorKind::AddrInUse) };
        }
        (0..PORT_TRIES_MAX)
            .map(|_| SocketAddr::new(bind.ip(), node.take_port()))
            .find(|local| free(*local))
            .ok_or(io::ErrorKind::AddrInUse)
    }

    fn source_failed(&mut self, key: P::Key, fault: Fault, world: &mut World) {
        self.life.counters.subscription_failures += 1;
        let failures = self.life.failures.entry(key).or_insert(0);
        *failures = failures.saturating_add(1);
        let failures = *failures;
        let config = &self.config.config;
        let doublings = (failures - 1).min(16);
        let delay = config.retry_delay_min.saturating_mul(1 << doublings).min(config.retry_delay_max);
        let local = self.schedule(world.now + delay, Local::Retry(key), world);
        self.life.timers.insert(TimerName::Retry(key), local);
        self.tell(&SubEvent::Failed { key, fault, failures }, world);
    }

    fn stop_source(&mut self, key: P::Key) {
        if let Some(local) = self.life.udp.remove(&key) {
            self.life.udp_keys.remove(&local);
        }
        self.life.listeners.remove(&key);
        self.life.failures.remove(&key);
        self.cancel_timer(TimerName::Interval(key));
        self.cancel_timer(TimerName::Retry(key));
    }

    /// Tells the program what became of a subscription.
    fn tell(&mut self, event: &SubEvent<P::Key>, world: &mut World) {
        let mut messages = Vec::new();
        for (key, source) in &self.life.subs.wanted {
            if let Source::Events { tag } = source {
                messages.extend(tag.call(*key, event.clone()));
            }
        }
        for message in messages {
            self.put_control(Local::Control(message), world);
        }
    }
}

fn describe(what: &str, address: SocketAddr, kind: io::ErrorKind) -> Fault {
    Fault::Io(kind, format!("cannot {what} {address}: {kind}"))
}

/// Ports of the ephemeral range that are tried before the system says that none is free: all of them.
const PORT_TRIES_MAX: u32 = 28_232;
