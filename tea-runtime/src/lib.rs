//! The Elm Architecture for network programs.

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
mod incoming;
mod lift;
mod observer;
mod outbox;
mod ports;
#[cfg(feature = "postgres")]
mod postgres;
mod program;
mod runtime;
mod session;
mod shard;
mod signals;
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
