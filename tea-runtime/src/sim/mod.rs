//! The deterministic simulator: programs on a virtual network, in virtual time, with everything random drawn from one seed.
//!
//! A simulated hour takes a fraction of a second, and what goes wrong with one seed goes wrong with it every time. The
//! programs are those that the real runtime runs; nothing in them knows where it is.
//!
//! Two hosts of which one asks the other over a bad line:
//!
//! ```
//! use std::{net::SocketAddr, time::Duration};
//! use tea_runtime::{
//!     Cmd, Context, Datagram, Never, Program, Sub, UdpPort,
//!     sim::{HostConfig, LinkPolicy, Sim},
//! };
//!
//! /// Asks its peer once a second, if it has one; answers whoever asks.
//! struct Pinger {
//!     peer: Option<SocketAddr>,
//!     sent: u32,
//!     pongs: u32,
//! }
//!
//! #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
//! enum Key {
//!     Port,
//!     Clock,
//! }
//!
//! enum Msg {
//!     Arrived(Datagram),
//!     Tick,
//! }
//!
//! impl Program for Pinger {
//!     type Flags = Option<SocketAddr>;
//!     type Msg = Msg;
//!     type Key = Key;
//!     type Effect = Never;
//!
//!     fn init(peer: Self::Flags, _: &Context, _: &mut Cmd<Self>) -> Self {
//!         Self { peer, sent: 0, pongs: 0 }
//!     }
//!
//!     fn update(&mut self, msg: Msg, _: &Context, cmd: &mut Cmd<Self>) {
//!         match msg {
//!             Msg::Tick => {
//!                 let Some(peer) = self.peer else { return };
//!                 self.sent += 1;
//!                 cmd.send(Key::Port, peer, |out| out.extend_from_slice(b"ping"));
//!             }
//!             Msg::Arrived(datagram) if datagram.payload() == b"ping" => {
//!                 cmd.send(Key::Port, datagram.from(), |out| out.extend_from_slice(b"pong"));
//!             }
//!             Msg::Arrived(_) => self.pongs += 1,
//!         }
//!     }
//!
//!     fn subscriptions(&self, sub: &mut Sub<Self>) {
//!         sub.udp(Key::Port, UdpPort::new(([0, 0, 0, 0], 7).into()), |_, datagram| Msg::Arrived(datagram));
//!         sub.every(Key::Clock, Duration::from_secs(1), |_, _| Msg::Tick);
//!     }
//! }
//!
//! fn one_hour(seed: u64) -> (u32, u32, u64) {
//!     let mut sim = Sim::new(seed);
//!     sim.set_policy(LinkPolicy::default().with_loss(0.2));
//!     let asked: SocketAddr = ([10, 0, 0, 2], 7).into();
//!     let asker = sim.host::<Pinger>(HostConfig::new([10, 0, 0, 1]), move || Some(asked));
//!     sim.host::<Pinger>(HostConfig::new([10, 0, 0, 2]), || None);
//!     sim.run_for(Duration::from_secs(3600));
//!     (sim.model(asker).sent, sim.model(asker).pongs, sim.trace())
//! }
//!
//! let (sent, pongs, trace) = one_hour(42);
//! assert_eq!(sent, 3600);
//! assert!((2150..2450).contains(&pongs), "0.8 × 0.8 of 3600 come back, not {pongs}");
//! assert_eq!(one_hour(42).2, trace);
//! assert_ne!(one_hour(43).2, trace);
//! ```
//!
//! # The world
//! - [`Sim::host`] puts a [`Program`](crate::Program) on a machine; each host may run another program. [`Sim::responder`] adds
//!   a scripted node, some hundred bytes each, to fill a world with thousands of them.
//! - [`LinkPolicy`] says what links do: latency, jitter, loss, duplication, reordering; by default, by node, by pair.
//!   [`Partition`]s cut groups off for a time. [`NatConfig`] puts hosts behind a translator.
//! - [`Sim::crash`], [`Sim::restart`], [`Sim::kill`], [`Sim::signal`] and [`Sim::occupy`] are what happens to machines.
//! - [`Sim::on_effect`] answers effects in place of a manager (with [`Db::answer`](crate::Db::answer) for database sessions),
//!   [`Sim::on_task`] answers tasks that need the outside.
//!
//! # What is as in the real runtime
//! The bounds of [`Config`](crate::Config) for streams, timers, tasks, effects and control messages, with the same refusals and
//! [`Counters`](crate::Counters); every limit of a stream; back-off of failed subscriptions; stopping in phases. After
//! each message the subscriptions are read, and the simulation stops if they changed unasked.
//!
//! # What is not
//! Each event is a turn of its own, so datagrams do not wait, [`Load`](crate::Load) shows only streams, tasks and effects, and
//! intervals tick on time. There is no bandwidth. [`Time`](crate::Time) is that of the world: a host that is restarted does not
//! begin at zero. One shard a host.
//!
//! # Failing seeds
//! [`check_seeds`] runs a simulation with many seeds, each twice, and names the one that fails: `SIM_SEED=17 cargo
//! test NAME` repeats it.

mod answers;
mod control;
mod host;
mod host_config;
mod host_flush;
mod host_streams;
mod host_subscriptions;
mod host_tasks;
mod link;
mod locals;
mod nat;
mod network;
mod node;
mod partition;
mod queue;
mod rates;
mod responder;
mod rng;
mod seeds;
mod simulation;
mod tcp;
mod trace;
mod world;

pub use answers::{EffectCx, HeldEffect, TaskAnswer};
pub use host_config::{HostConfig, HostStatus};
pub(crate) use host_subscriptions::VirtualLink;
pub use link::LinkPolicy;
pub use nat::{NatConfig, NatFilter, NatId, NatMapping};
pub use network::{Fate, NetworkCounters, PacketEvent};
pub use node::{HostId, SimNode};
pub use partition::{Partition, PartitionId};
pub use rates::PacketRates;
pub use responder::{Out, Responder, SimStream};
pub use rng::SimRng;
pub use seeds::check_seeds;
pub use simulation::Sim;
