//! The Elm Architecture for network programs.

mod cmd;
mod datagram;
mod effect_manager;
mod fault;
mod incoming;
mod lift;
mod program;
mod session;
mod stream;
mod sub;
mod subscription_diff;
mod time;
mod timer_wheel;

pub use cmd::{BoxFuture, Cmd, Op, StreamTagger, Task};
pub use datagram::Datagram;
pub use effect_manager::{Manager, NoManager, Reply};
pub use fault::Fault;
pub use incoming::Incoming;
pub use lift::{EffectFrom, Wrap};
pub use program::{Context, Effect, Load, Never, Program, ShardId};
pub use session::{Db, Session, SessionError};
pub use stream::{Close, CloseReason, StreamEvent, StreamLimits};
pub use sub::{Signal, Sub, SubEvent, TcpPort, UdpPort};
pub use time::Time;
