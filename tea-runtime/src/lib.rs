//! The Elm Architecture for network programs: a program is a model, messages, and one function that takes the model from
//! each message to the next. The runtime owns every socket, timer, task and database connection; the program says as
//! data what it wants of them, so the same program runs on real sockets ([`Runtime`]), in memory ([`InMemory`]) or, with the
//! feature `sim`, on a simulated network.
//!
//! A program that asks itself a question over UDP:
//!
//! ```
//! use std::{net::SocketAddr, time::Duration};
//! use tea_runtime::{Cmd, Config, Context, Datagram, Never, Program, Runtime, Sub, SubEvent, UdpPort};
//!
//! struct Asker {
//!     answer: Option<String>,
//! }
//!
//! #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
//! enum Key {
//!     Port,
//!     Ports,
//!     Patience,
//! }
//!
//! enum Msg {
//!     Bound(SocketAddr),
//!     Arrived(Datagram),
//!     GiveUp,
//! }
//!
//! impl Program for Asker {
//!     type Flags = ();
//!     type Msg = Msg;
//!     type Key = Key;
//!     type Effect = Never;
//!
//!     fn init((): (), cx: &Context, cmd: &mut Cmd<Self>) -> Self {
//!         cmd.after(Key::Patience, Duration::from_secs(5), Msg::GiveUp, cx);
//!         Asker { answer: None }
//!     }
//!
//!     fn update(&mut self, msg: Msg, _: &Context, cmd: &mut Cmd<Self>) {
//!         match msg {
//!             Msg::Bound(local) => cmd.send(Key::Port, local, |out| out.extend_from_slice(b"who is there?")),
//!             Msg::Arrived(question) if question.payload() == b"who is there?" => {
//!                 cmd.send(Key::Port, question.from(), |out| out.extend_from_slice(b"only me"));
//!             }
//!             Msg::Arrived(answer) => {
//!                 self.answer = Some(String::from_utf8_lossy(answer.payload()).into_owned());
//!                 cmd.quit();
//!             }
//!             Msg::GiveUp => cmd.quit(),
//!         }
//!     }
//!
//!     fn subscriptions(&self, sub: &mut Sub<Self>) {
//!         let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
//!         sub.udp(Key::Port, UdpPort::new(loopback), |_, datagram| Msg::Arrived(datagram));
//!         sub.events(Key::Ports, |_, event| match event {
//!             SubEvent::Ready { local, .. } => Msg::Bound(local),
//!             _ => Msg::GiveUp,
//!         });
//!     }
//! }
//!
//! let asker: Asker = Runtime::new(Config::default()).run_blocking(())?;
//! assert_eq!(asker.answer.as_deref(), Some("only me"));
//! # Ok::<(), tea_runtime::RunError>(())
//! ```
//!
//! # What a program may ask for
//! - [`Sub`]: what is long-lived and few. UDP ports, TCP listeners, intervals, signals; a function of the model, compared with
//!   what runs after each [`Cmd::resubscribe`].
//! - [`Cmd`]: what is short-lived and many. Datagrams, timers, TCP streams, tasks, effects of the program's own.
//! - A [`Manager`] performs these effects: [`PgManager`] runs database [`Session`]s on a pool.
//! - [`Cmd::lift`] and [`Sub::lift`] make a program out of parts.
//!
//! # Turns
//! The runtime works in turns. Each serves control messages, due timers, answers of effects, results of tasks, stream
//! events, incoming connections and datagrams, in this order and each up to its bound; what waits beyond that is served in
//! the next turn. Messages of one turn see the same [`Context`]. What a datagram asks for is done at the end of the turn,
//! what any other message asks for right after it, so nothing comes from a timer, task or stream that an earlier message
//! has cancelled or closed.
//!
//! # Threads
//! A program has one thread. With [`Config::io_threads`] the system calls of UDP ports, which cost more than most programs do
//! with a datagram, are left to others; what the program sees stays the same.
//!
//! # Bounds
//! Every queue has a bound in [`Config`], a policy and a counter in [`Counters`]: datagrams that come too fast are dropped by
//! the kernel, streams slow the other side down, tasks and effects beyond the bound are refused with a message, datagrams
//! that the socket does not take are dropped. [`Context::load`] tells the model how full the lanes are before that happens.
//! An [`Observer`] sees all of it, turn by turn.

mod batch_pool;
mod bell;
mod clock;
mod cmd;
mod config;
mod counters;
mod datagram;
mod effect_manager;
mod fault;
mod flush;
mod in_memory;
mod inbox;
mod incoming;
mod io_threads;
mod lift;
#[cfg_attr(not(target_os = "linux"), path = "no_mmsg.rs")]
mod mmsg;
mod observer;
mod outbox;
mod overflow;
mod port_socket;
mod ports;
#[cfg(feature = "postgres")]
mod postgres;
mod program;
mod runtime;
mod session;
mod shard;
mod signals;
#[cfg(feature = "sim")]
pub mod sim;
mod stream;
mod stream_control;
mod stream_table;
mod sub;
mod subscription_diff;
mod task_table;
mod tcp_listener;
mod tcp_stream;
mod time;
mod timer_wheel;
mod turn;
mod udp;

pub use cmd::{BoxFuture, Cmd, Op, StreamTagger, Task};
pub use config::Config;
pub use counters::Counters;
pub use datagram::Datagram;
pub use effect_manager::{Manager, NoManager, Reply};
pub use fault::Fault;
pub use in_memory::{InMemory, PreparedBatch};
pub use incoming::Incoming;
pub use lift::{EffectFrom, Wrap};
pub use observer::{Lane, LaneReport, NoObserver, Observer, StopReport, TurnReport};
#[cfg(feature = "postgres")]
pub use postgres::PgManager;
pub use program::{Context, Effect, Load, Never, Program, ShardId};
pub use runtime::{RunError, Runtime};
pub use session::{Db, Session, SessionError};
pub use stream::{Close, CloseReason, StreamEvent, StreamLimits};
pub use sub::{Signal, Sub, SubEvent, TcpPort, UdpPort};
pub use time::Time;
