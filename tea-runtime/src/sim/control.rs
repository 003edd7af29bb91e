//! What a test does to a world and sees of it.

use std::{net::SocketAddr, time::Duration};

use super::{
    answers::{EffectCx, HeldEffect, TaskAnswer},
    host::{AnyHost, Host, Local},
    host_config::HostStatus,
    link::LinkPolicy,
    network::{NetworkCounters, PacketEvent},
    node::{HostId, SimNode},
    partition::{Partition, PartitionId},
    rates::PacketRates,
    rng::SimRng,
    simulation::{Inhabitant, Sim},
    trace::Kind,
    world::Event,
};
use crate::{Counters, Program, Signal, Time};

/// The network.
impl Sim {
    /// How links behave that have no policy of their own.
    pub fn set_policy(&mut self, policy: LinkPolicy) {
        self.world.net.policy = policy;
    }

    /// How a node's links behave, in both directions. Between two nodes with a policy that of the sender holds.
    pub fn set_policy_of(&mut self, node: impl Into<SimNode>, policy: LinkPolicy) {
        self.world.nodes[node.into().0 as usize].policy = Some(Box::new(policy));
    }

    /// How the link from one node to another behaves, whatever else is set. The way back is another link.
    pub fn set_link(&mut self, from: impl Into<SimNode>, to: impl Into<SimNode>, policy: LinkPolicy) {
        self.world.net.pair_policies.insert((from.into().0, to.into().0), policy);
    }

    /// Adds a partition.
    pub fn partition(&mut self, partition: Partition) -> PartitionId {
        self.world.net.partitions.add(partition)
    }

    /// Ends a partition.
    pub fn heal(&mut self, partition: PartitionId) {
        self.world.net.partitions.heal(partition);
    }

    /// Ends all partitions.
    pub fn heal_all(&mut self) {
        self.world.net.partitions.heal_all();
    }

    /// Shows each datagram and what becomes of it to `observer`.
    pub fn observe(&mut self, observer: impl FnMut(&PacketEvent<'_>) + 'static) {
        self.world.net.observers.push(Box::new(observer));
    }

    /// Measures packet rates per address from now on.
    pub fn measure_rates(&mut self, window: Duration) -> PacketRates {
        let (rates, counting) = (PacketRates::new(window), PacketRates::clone);
        let counted = counting(&rates);
        self.observe(move |packet| counted.count(packet));
        rates
    }
}

/// The life of nodes.
impl Sim {
    /// Crashes a node's machine: it falls silent, its connections vanish without a word, its program forgets everything
    /// but what the test keeps of it. Nothing happens if it has crashed already.
    pub fn crash(&mut self, node: impl Into<SimNode>) {
        let SimNode(node) = node.into();
        let state = &mut self.world.nodes[node as usize];
        if !state.up {
            return;
        }
        state.up = false;
        state.epoch += 1;
        match &mut self.nodes[node as usize] {
            Inhabitant::Program(host) => {
                host.end(HostStatus::Crashed { at: self.world.now }, &mut self.world);
            }
            Inhabitant::Responder(_) => {
                self.world.trace.event(self.world.now, node, Kind::Crash);
                self.world.tcp_crash(node);
            }
        }
    }

    /// Starts a node again. A host calls its factory of flags; a responder goes on with the state that it has. What still
    /// runs is ended first.
    pub fn restart(&mut self, node: impl Into<SimNode>) {
        let SimNode(node) = node.into();
        let state = &mut self.world.nodes[node as usize];
        state.up = true;
        state.epoch += 1;
        let epoch = state.epoch;
        match &mut self.nodes[node as usize] {
            Inhabitant::Program(host) => host.restart(&mut self.world),
            Inhabitant::Responder(_) => self.world.queue.push(self.world.now, Event::Start { node, epoch }),
        }
    }

    /// Starts a host's program again with these flags, once.
    pub fn restart_with<P: Program>(&mut self, host: HostId<P>, flags: P::Flags) {
        self.world.nodes[host.node.0 as usize].up = true;
        let (host, world) = self.parts(host);
        host.restart_with(flags, world);
    }

    /// Ends a host's process as `kill -9` does. Its machine goes on: it closes the connections and refuses new ones.
    pub fn kill<P: Program>(&mut self, host: HostId<P>) {
        let (host, world) = self.parts(host);
        if matches!(host.life.status, HostStatus::Running | HostStatus::Draining) {
            host.end(HostStatus::Killed { at: world.now, by: None }, world);
        }
    }

    /// Sends a signal to a host's process.
    pub fn signal<P: Program>(&mut self, host: HostId<P>, signal: Signal) {
        let (host, world) = self.parts(host);
        host.signal(signal, world);
    }

    /// What became of a host's program.
    pub fn status<P: Program>(&self, host: HostId<P>) -> HostStatus {
        self.host_of(host).status()
    }

    /// Has another process of the machine take an address, for UDP and TCP, so that the program cannot bind it.
    pub fn occupy<P: Program>(&mut self, host: HostId<P>, address: SocketAddr) {
        self.parts(host).0.occupied.insert(address);
    }

    /// Ends that other process.
    pub fn vacate<P: Program>(&mut self, host: HostId<P>, address: SocketAddr) {
        self.parts(host).0.occupied.remove(&address);
    }
}

/// Programs.
impl Sim {
    /// The model of a host's program; after its end, the last one.
    pub fn model<P: Program>(&self, host: HostId<P>) -> &P {
        &self.host_of(host).life.model
    }

    /// Gives a message to a program, as its next event. Nothing happens if the program does not run.
    pub fn send<P: Program>(&mut self, host: HostId<P>, msg: P::Msg) {
        let (host, world) = self.parts(host);
        if matches!(host.life.status, HostStatus::Running | HostStatus::Draining) {
            host.schedule(world.now, Local::Told(msg), world);
        }
    }

    /// Has `handler` perform the effects of a host's program, in place of any before. It stays over restarts.
    pub fn on_effect<P: Program>(
        &mut self,
        host: HostId<P>,
        handler: impl FnMut(P::Effect, &mut EffectCx<'_, P::Msg>) + 'static,
    ) {
        self.parts(host).0.on_effect = Some(Box::new(handler));
    }

    /// Answers an effect that a handler held. `false`: it is answered already, or its program has ended.
    pub fn answer<P: Program>(&mut self, host: HostId<P>, held: HeldEffect, msg: P::Msg) -> bool {
        let (host, world) = self.parts(host);
        let known = host.life.held.remove(&held);
        if known {
            host.schedule(world.now, Local::Effect(msg), world);
        }
        known
    }

    /// Has `handler` answer the tasks with this label, whose futures are then never polled. `T` must be what the future
    /// returns: to a program, another type looks like [`Fault::Cancelled`](crate::Fault::Cancelled).
    ///
    /// The other tasks are polled to their end where they start and answered after
    /// [`HostConfig::task_time`](super::HostConfig::task_time). A panic is a [`Fault::Panicked`](crate::Fault::Panicked), as in the
    /// real runtime; a future that waits for a socket, a timer or another task stops the simulation, with its label.
    pub fn on_task<P: Program, T: Send + 'static>(
        &mut self,
        host: HostId<P>,
        label: &'static str,
        mut handler: impl FnMut(&mut SimRng) -> TaskAnswer<T> + 'static,
    ) {
        self.parts(host).0.on_task.insert(label, Box::new(move |rng| handler(rng).erase()));
    }

    /// What a host's runtime has done and refused since the program's last start.
    pub fn counters<P: Program>(&self, host: HostId<P>) -> &Counters {
        &self.host_of(host).life.counters
    }

    /// The address of a bound UDP port or listener.
    pub fn local_addr<P: Program>(&self, host: HostId<P>, key: P::Key) -> Option<SocketAddr> {
        let life = &self.host_of(host).life;
        life.udp.get(&key).or_else(|| life.listeners.get(&key)).copied()
    }

    fn host_of<P: Program>(&self, host: HostId<P>) -> &Host<P> {
        match &self.nodes[host.node.0 as usize] {
            Inhabitant::Program(any) => any.as_any().downcast_ref(),
            Inhabitant::Responder(_) => None,
        }
        .unwrap_or_else(|| panic!("{host:?} belongs to another simulation"))
    }

    fn parts<P: Program>(&mut self, host: HostId<P>) -> (&mut Host<P>, &mut super::world::World) {
        let found = match &mut self.nodes[host.node.0 as usize] {
            Inhabitant::Program(any) => any.as_any_mut().downcast_mut(),
            Inhabitant::Responder(_) => None,
        };
        (found.unwrap_or_else(|| panic!("{host:?} belongs to another simulation")), &mut self.world)
    }
}

/// The world.
impl Sim {
    /// The time.
    pub fn now(&self) -> Time {
        self.world.now
    }

    /// What the world was made of.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The hash of everything that was delivered so far, in order. Two runs with one seed have equal hashes, if the test
    /// did the same at the same times.
    pub fn trace(&self) -> u64 {
        self.world.trace.hash()
    }

    /// Events that were delivered so far.
    pub fn events(&self) -> u64 {
        self.world.trace.events()
    }

    /// Events that are going to happen, some of which will find nobody.
    pub fn scheduled(&self) -> usize {
        self.world.queue.len()
    }

    /// Totals of the network.
    pub fn network(&self) -> &NetworkCounters {
        &self.world.net.counters
    }

    /// TCP connections of which any side still knows.
    pub fn connections(&self) -> usize {
        self.world.tcp.len()
    }

    /// The world's randomness, for the test's own choices.
    pub fn rng(&mut self) -> &mut SimRng {
        &mut self.world.rng
    }
}
