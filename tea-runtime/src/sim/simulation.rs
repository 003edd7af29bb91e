//! The simulation itself: builds the world, runs it, and lets the test look and meddle.

use std::{net::IpAddr, time::Duration};

use super::{
    host::{AnyHost, Host},
    host_config::HostConfig,
    locals::LocalId,
    nat::{Nat, NatConfig, NatId},
    network::Fate,
    node::{HostId, NodeState, SimNode},
    responder::{self, Responder},
    tcp::Upcall,
    world::{Event, World},
};
use crate::{Program, Time};

/// A simulated world.
pub struct Sim {
    pub(super) seed: u64,
    pub(super) world: World,
    pub(super) nodes: Vec<Inhabitant>,
    /// Events since time last advanced.
    at_once: u64,
}

/// Who lives at a node.
pub(super) enum Inhabitant {
    Program(Box<dyn AnyHost>),
    Responder(Box<dyn Responder>),
}

impl Sim {
    /// An empty world. All that is random in it comes from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed, world: World::new(seed), nodes: Vec::new(), at_once: 0 }
    }

    /// Adds a host and starts the program `P` on it. `flags` is called for the first start and for each
    /// [`restart`](Self::restart).
    ///
    /// `init` runs and the subscriptions are read at once; what `init` asked for is done by the first event, so there is
    /// time to name handlers.
    ///
    /// # Panics
    /// It has no address, or one that is taken.
    pub fn host<P: Program>(
        &mut self,
        config: HostConfig,
        flags: impl FnMut() -> P::Flags + 'static,
    ) -> HostId<P> {
        assert!(!config.ips.is_empty(), "a host needs an address");
        let node = self.add_node(config.nat, &config.ips);
        let host = Host::<P>::new(node.0, config, Box::new(flags), &mut self.world);
        self.nodes.push(Inhabitant::Program(Box::new(host)));
        HostId::new(node)
    }

    /// Adds a responder with one address.
    ///
    /// # Panics
    /// The address is taken.
    pub fn responder(&mut self, ip: impl Into<IpAddr>, responder: impl Responder) -> SimNode {
        self.responder_at(&[ip.into()], None, responder)
    }

    /// Adds a responder with several addresses, or behind a translator.
    ///
    /// # Panics
    /// One of the addresses is taken.
    pub fn responder_at(&mut self, ips: &[IpAddr], nat: Option<NatId>, responder: impl Responder) -> SimNode {
        let node = self.add_node(nat, ips);
        self.nodes.push(Inhabitant::Responder(Box::new(responder)));
        self.world.queue.push(self.world.now, Event::Start { node: node.0, epoch: 0 });
        node
    }

    /// Adds a translator; hosts are put behind it with [`HostConfig::behind`].
    ///
    /// # Panics
    /// Its external address is taken.
    pub fn nat(&mut self, config: NatConfig) -> NatId {
        let external = config.external;
        let index = self.world.net.add_nat(Nat::new(config));
        NatId(index.unwrap_or_else(|| panic!("the address {external} is taken")))
    }

    fn add_node(&mut self, nat: Option<NatId>, ips: &[IpAddr]) -> SimNode {
        let node = self.world.nodes.len() as u32;
        let nat = nat.map(|nat| nat.0);
        let mut state = NodeState::new(nat);
        for ip in ips {
            assert!(self.world.net.add_address(nat, *ip, node), "the address {ip} is taken");
            match ip {
                IpAddr::V4(ip) => drop(state.v4.get_or_insert(*ip)),
                IpAddr::V6(ip) => drop(state.v6.get_or_insert(*ip)),
            }
        }
        self.world.nodes.push(state);
        SimNode(node)
    }

    // Running

    /// The next event. `false`: nothing will ever happen again.
    ///
    /// # Panics
    /// When a program panics, after a line on standard error that says with which seed, when and where; when events follow
    /// each other without end while time stands still; when more than 16 million are scheduled.
    pub fn step(&mut self) -> bool {
        let Some((at, event)) = self.world.queue.pop() else { return false };
        self.at_once = if at > self.world.now { 0 } else { self.at_once + 1 };
        assert!(
            self.at_once < AT_ONCE_MAX,
            "time stands still at {at:?}: each event causes the next at once"
        );
        assert!(
            self.world.queue.len() < SCHEDULED_MAX,
            "more than {SCHEDULED_MAX} events are scheduled at {at:?}: each seems to cause several"
        );
        self.world.now = at;
        let note = PanicNote { seed: self.seed, now: at, node: event.node() };
        self.happen(event);
        drop(note);
        true
    }

    /// Runs until `end`; what is due then happens too.
    pub fn run_to(&mut self, end: Time) {
        while self.world.queue.next_at().is_some_and(|at| at <= end) {
            self.step();
        }
        self.world.now = self.world.now.max(end);
    }

    /// Runs for some time.
    pub fn run_for(&mut self, time: Duration) {
        self.run_to(self.world.now + time);
    }

    /// Runs until `done` says so, asked after each event, or for `time`. Returns whether it was done.
    pub fn run_until(&mut self, time: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.world.now + time;
        while !done(self) {
            if self.world.queue.next_at().is_none_or(|at| at > end) {
                self.world.now = end;
                return done(self);
            }
            self.step();
        }
        true
    }

    fn happen(&mut self, event: Event) {
        let world = &mut self.world;
        match event {
            Event::Datagram { sender, receiver, via, from, to, payload } => {
                let fate = match world.admit_datagram((sender, receiver), via, from, to) {
                    Err(fate) => fate,
                    Ok(inside) => match &mut self.nodes[receiver as usize] {
                        Inhabitant::Program(host) if !host.is_bound(inside) => Fate::PortClosed,
                        Inhabitant::Program(host) => {
                            world.note(Fate::Delivered, sender, from, to, &payload);
                            host.datagram(inside, from, &payload, world);
                            return world.give_buffer(payload);
                        }
                        Inhabitant::Responder(node) => {
                            world.note(Fate::Delivered, sender, from, to, &payload);
                            responder::datagram(&mut **node, (receiver, inside, from), &payload, world);
                            return world.give_buffer(payload);
                        }
                    },
                };
                world.note(fate, sender, from, to, &payload);
                world.give_buffer(payload);
            }
            Event::Segment(end) => {
                let upcall = world.tcp_segment_due(end);
                self.tell(upcall);
            }
            Event::Acknowledged { end, bytes } => {
                let upcall = world.tcp_acknowledged(end, bytes);
                self.tell(upcall);
            }
            Event::Ended(end) => {
                let upcall = world.tcp_ended(end);
                self.tell(upcall);
            }
            Event::Host { node, slot, generation } => {
                if let Inhabitant::Program(host) = &mut self.nodes[node as usize] {
                    host.local(LocalId { slot, generation }, world);
                }
            }
            Event::Wake { node, epoch, token } => {
                if let Some(responder) = living_responder(&mut self.nodes, world, node, epoch) {
                    responder::wake(responder, node, token, world);
                }
            }
            Event::Start { node, epoch } => {
                if let Some(responder) = living_responder(&mut self.nodes, world, node, epoch) {
                    responder::start(responder, node, world);
                }
            }
        }
    }

    fn tell(&mut self, upcall: Option<Upcall>) {
        let Some(upcall) = upcall else { return };
        match &mut self.nodes[upcall.node as usize] {
            Inhabitant::Program(host) => host.tcp(upcall, &mut self.world),
            Inhabitant::Responder(node) => responder::stream(&mut **node, upcall, &mut self.world),
        }
    }
}

/// The responder, if it has not crashed since `epoch`.
fn living_responder<'a>(
    nodes: &'a mut [Inhabitant],
    world: &World,
    node: u32,
    epoch: u32,
) -> Option<&'a mut dyn Responder> {
    let state = &world.nodes[node as usize];
    match &mut nodes[node as usize] {
        Inhabitant::Responder(responder) if state.up && state.epoch == epoch => Some(&mut **responder),
        _ => None,
    }
}

/// Says where a program or responder panicked.
struct PanicNote {
    seed: u64,
    now: Time,
    node: Option<u32>,
}

impl Drop for PanicNote {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { seed, now, node } = self;
            match node {
                Some(node) => eprintln!("the simulation of seed {seed} stopped at {now:?}, at node {node}"),
                None => eprintln!("the simulation of seed {seed} stopped at {now:?}, at a stream"),
            }
        }
    }
}

/// Events that may be scheduled: some 2 GiB of them. A world that needs more has run away.
const SCHEDULED_MAX: usize = 1 << 24;
/// Events at one time after which time is taken to stand still. 4 million: more than a world of 20,000 nodes starts with.
const AT_ONCE_MAX: u64 = 1 << 22;
