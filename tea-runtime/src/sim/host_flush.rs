//! Does what the program asked for.

use super::{
    answers::{EffectAnswer, EffectCx, HeldEffect},
    host::{Host, Local, TimerName},
    host_config::HostStatus,
    world::World,
};
use crate::{Effect, Fault, Op, Program, ShardId};

impl<P: Program> Host<P> {
    /// Does the operations in the order in which they were asked for. What is refused becomes a message of its own; what
    /// only the end of the turn can do is noted.
    pub(super) fn flush(&mut self, world: &mut World) {
        let mut ops = std::mem::take(&mut self.life.cmd.ops);
        let arena = std::mem::take(&mut self.life.cmd.arena);
        for op in ops.drain(..) {
            match op {
                Op::Send { port, to, payload } => {
                    self.send(port, to, &arena[payload.start as usize..payload.end as usize], world);
                }
                Op::After { key, at, msg } => {
                    if self.life.status == HostStatus::Draining {
                        continue;
                    }
                    let name = TimerName::Timer(key);
                    if let Some(replaced) = self.life.timers.remove(&name) {
                        self.locals.remove(replaced);
                    } else if self.life.timers.len() >= self.config.config.timers_max {
                        self.life.counters.timers_dropped += 1;
                        continue;
                    }
                    let local = self.schedule(at.max(world.now), Local::Timer(key, msg), world);
                    self.life.timers.insert(name, local);
                }
                Op::Cancel { key } => {
                    self.cancel_timer(TimerName::Timer(key));
                    self.cancel_task(key);
                }
                Op::Connect { key, to, limits, tag } => {
                    self.life.counters.streams_started += 1;
                    self.connect_stream(key, to, limits, tag.0, world);
                }
                Op::Accept { key, incoming, limits, tag } => {
                    self.life.counters.streams_started += 1;
                    self.accept_stream(key, &incoming, limits, tag.0, world);
                }
                Op::Write { key, payload } => {
                    self.write_stream(key, &arena[payload.start as usize..payload.end as usize], world);
                }
                Op::Close { key, how } => self.close_stream(key, how, world),
                Op::Task(task) => self.start_task(task, world),
                Op::Effect(effect) => self.perform(effect, world),
                Op::Shard { to, msg } if to == ShardId::default() => {
                    self.put_control(Local::Control(msg), world);
                }
                Op::Shard { .. } => self.life.counters.shard_messages_dropped += 1,
                Op::Resubscribe => self.life.asked.resubscribe = true,
                Op::Quit => self.life.asked.quit = true,
            }
        }
        self.life.cmd.ops = ops;
        self.life.cmd.arena = arena;
        self.life.cmd.clear();
        self.life.cmd.shrink();
    }

    pub(super) fn cancel_timer(&mut self, name: TimerName<P::Key>) {
        if let Some(local) = self.life.timers.remove(&name) {
            self.locals.remove(local);
        }
    }

    fn send(&mut self, port: P::Key, to: std::net::SocketAddr, payload: &[u8], world: &mut World) {
        let Some(bound) = self.life.udp.get(&port).copied() else {
            self.life.counters.sends_without_port += 1;
            return;
        };
        let ip = match world.nodes[self.node as usize].source_for(to.ip()) {
            _ if bound.is_ipv4() != to.is_ipv4() => None,
            _ if !bound.ip().is_unspecified() => Some(bound.ip()),
            ip => ip,
        };
        let Some(ip) = ip.filter(|_| payload.len() <= DATAGRAM_BYTES_MAX) else {
            self.life.counters.send_errors += 1;
            return;
        };
        self.life.counters.datagrams_sent += 1;
        self.life.counters.datagram_bytes_sent += payload.len() as u64;
        let mut buffer = world.take_buffer();
        buffer.extend_from_slice(payload);
        world.send_datagram(self.node, std::net::SocketAddr::new(ip, bound.port()), to, buffer);
    }

    fn perform(&mut self, effect: P::Effect, world: &mut World) {
        let refused = if self.life.status == HostStatus::Draining {
            Some(Fault::Closed)
        } else {
            (self.life.effects_live >= self.config.config.effects_max).then_some(Fault::Overload)
        };
        if let Some(fault) = refused {
            self.life.counters.effects_refused += 1;
            if let Some(msg) = effect.refused(fault) {
                self.put_control(Local::Control(msg), world);
            }
            return;
        }
        self.life.counters.effects_started += 1;
        self.life.last_effect += 1;
        let held = HeldEffect(self.life.last_effect);
        let mut cx = EffectCx { now: world.now, rng: &mut world.rng, held, answer: EffectAnswer::Nothing };
        match &mut self.on_effect {
            Some(handler) => handler(effect, &mut cx),
            None => panic!("node {} performs an effect that nobody answers: use Sim::on_effect", self.node),
        }
        match cx.answer {
            EffectAnswer::Nothing => {}
            EffectAnswer::Hold => {
                self.life.effects_live += 1;
                self.life.held.insert(held);
            }
            EffectAnswer::After(delay, msg) => {
                self.life.effects_live += 1;
                self.schedule(world.now + delay, Local::Effect(msg), world);
            }
        }
    }
}

/// The largest datagram that UDP over IPv4 can carry.
const DATAGRAM_BYTES_MAX: usize = 65_507;
