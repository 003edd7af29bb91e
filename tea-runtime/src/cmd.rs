//! Commands: an effects buffer that `update` writes into.

use std::{any::Any, fmt, future::Future, net::SocketAddr, ops::Range, pin::Pin, time::Duration};

use crate::{
    Close, Context, Fault, Incoming, Program, ShardId, StreamEvent, StreamLimits, Time, sub::Tagger,
};

/// A boxed future; only where rare.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The effects buffer: plain operations plus one byte arena, both reused every turn.
/// Once warm, writing into it does not allocate.
pub struct Cmd<P: Program> {
    pub(crate) ops: Vec<Op<P>>,
    pub(crate) arena: Vec<u8>,
}

/// One operation that a program asked for. Public so that tests can look at what `update` wrote.
#[non_exhaustive]
pub enum Op<P: Program> {
    /// Send a datagram; its bytes are [`Cmd::payload`].
    Send {
        /// The UDP subscription to send through.
        port: P::Key,
        /// The receiver.
        to: SocketAddr,
        /// Where the bytes lie.
        payload: Range<u32>,
    },
    /// Deliver `msg` at `at`, unless cancelled or replaced.
    After {
        /// Names the timer.
        key: P::Key,
        /// When.
        at: Time,
        /// What.
        msg: P::Msg,
    },
    /// Cancel the timer and the task of this key.
    Cancel {
        /// Names the timer or task.
        key: P::Key,
    },
    /// Open a stream.
    Connect {
        /// Names the stream.
        key: P::Key,
        /// The other end.
        to: SocketAddr,
        /// Its limits.
        limits: StreamLimits,
        #[doc(hidden)]
        tag: StreamTagger<P>,
    },
    /// Take an incoming connection as a stream.
    Accept {
        /// Names the stream.
        key: P::Key,
        /// The connection.
        incoming: Incoming,
        /// Its limits.
        limits: StreamLimits,
        #[doc(hidden)]
        tag: StreamTagger<P>,
    },
    /// Queue bytes on a stream; they are [`Cmd::payload`].
    Write {
        /// Names the stream.
        key: P::Key,
        /// Where the bytes lie.
        payload: Range<u32>,
    },
    /// End a stream.
    Close {
        /// Names the stream.
        key: P::Key,
        /// How.
        how: Close,
    },
    /// Run a future.
    Task(Task<P>),
    /// Hand an effect to the manager.
    Effect(P::Effect),
    /// Hand a message to another shard.
    Shard {
        /// Which.
        to: ShardId,
        /// What.
        msg: P::Msg,
    },
    /// Read the subscriptions again at the end of this turn.
    Resubscribe,
    /// Stop in good order.
    Quit,
}

/// Tags the events of one stream.
#[doc(hidden)]
pub struct StreamTagger<P: Program>(pub(crate) Tagger<P::Key, StreamEvent, P::Msg>);

/// A future to run, its result still to be tagged.
pub struct Task<P: Program> {
    /// Names the task, if it can be cancelled.
    pub key: Option<P::Key>,
    /// Says what it is, for logs and counters.
    pub label: &'static str,
    pub(crate) run: BoxFuture<Box<dyn Any + Send>>,
    pub(crate) tag: TaskTagger<P::Msg>,
}

pub(crate) type TaskTagger<Msg> = Box<dyn FnOnce(Result<Box<dyn Any + Send>, Fault>) -> Msg + Send>;

impl<P: Program> Default for Cmd<P> {
    fn default() -> Self {
        Self { ops: Vec::with_capacity(256), arena: Vec::with_capacity(64 << 10) }
    }
}

impl<P: Program> Cmd<P> {
    /// Sends one datagram through the UDP subscription `port`; `write` encodes straight into the outgoing buffer.
    ///
    /// A port that is not bound, or whose send lane is full, drops the datagram and counts it.
    pub fn send(&mut self, port: P::Key, to: SocketAddr, write: impl FnOnce(&mut Vec<u8>)) {
        let payload = self.append(write);
        self.ops.push(Op::Send { port, to, payload });
    }

    /// Delivers `msg` once, after `delay`, never earlier. A timer with the same key is replaced. Beyond
    /// [`Config::timers_max`](crate::Config::timers_max) a new one is dropped and counted. Timers end when the program stops.
    pub fn after(&mut self, key: P::Key, delay: Duration, msg: P::Msg, cx: &Context) {
        self.ops.push(Op::After { key, at: cx.now + delay, msg });
    }

    /// Cancels the timer and the task named `key`. The message of a cancelled timer never comes; a cancelled
    /// task answers nothing.
    pub fn cancel(&mut self, key: P::Key) {
        self.ops.push(Op::Cancel { key });
    }

    /// Opens a TCP stream (with `TCP_NODELAY`). An open stream with the same key is reset first, and nothing more comes from
    /// it. Beyond [`Config::streams_max`](crate::Config::streams_max) the stream is closed with
    /// [`CloseReason::Overload`](crate::CloseReason::Overload).
    pub fn connect(
        &mut self,
        key: P::Key,
        to: SocketAddr,
        limits: StreamLimits,
        tag: fn(P::Key, StreamEvent) -> P::Msg,
    ) {
        self.ops.push(Op::Connect { key, to, limits, tag: StreamTagger(Tagger::Plain(tag)) });
    }

    /// Takes an incoming connection as the stream `key`.
    pub fn accept(
        &mut self,
        key: P::Key,
        incoming: Incoming,
        limits: StreamLimits,
        tag: fn(P::Key, StreamEvent) -> P::Msg,
    ) {
        self.ops.push(Op::Accept { key, incoming, limits, tag: StreamTagger(Tagger::Plain(tag)) });
    }

    /// Queues bytes on a stream, also before it is open. Without such a stream they are dropped and counted.
    pub fn write(&mut self, key: P::Key, write: impl FnOnce(&mut Vec<u8>)) {
        let payload = self.append(write);
        self.ops.push(Op::Write { key, payload });
    }

    /// Ends a stream. Its events stop at once and its key is free.
    pub fn close(&mut self, key: P::Key, how: Close) {
        self.ops.push(Op::Close { key, how });
    }

    /// Runs a future beside the loop; costs a few allocations, so only where rare. When the lane is full `tag` gets
    /// [`Fault::Overload`] at once, when the future panics [`Fault::Panicked`].
    pub fn task<T: Send + 'static>(
        &mut self,
        label: &'static str,
        run: impl Future<Output = T> + Send + 'static,
        tag: impl FnOnce(Result<T, Fault>) -> P::Msg + Send + 'static,
    ) {
        self.ops.push(Op::Task(Task::new(None, label, run, tag)));
    }

    /// As [`task`](Self::task), with a name: a task with the same key is cancelled first.
    pub fn task_as<T: Send + 'static>(
        &mut self,
        key: P::Key,
        label: &'static str,
        run: impl Future<Output = T> + Send + 'static,
        tag: impl FnOnce(Result<T, Fault>) -> P::Msg + Send + 'static,
    ) {
        self.ops.push(Op::Task(Task::new(Some(key), label, run, tag)));
    }

    /// Hands an effect to the manager that was given at start.
    pub fn perform(&mut self, effect: impl Into<P::Effect>) {
        self.ops.push(Op::Effect(effect.into()));
    }

    /// Hands a message to a shard, through a bounded lane; when that is full the message is dropped and counted. From the own
    /// shard it comes back in the next turn. A [`Runtime`](crate::Runtime) has one shard, 0: messages to others are dropped
    /// and counted.
    pub fn to_shard(&mut self, to: ShardId, msg: P::Msg) {
        self.ops.push(Op::Shard { to, msg });
    }

    /// Asks the runtime to read the subscriptions again at the end of this turn.
    pub fn resubscribe(&mut self) {
        self.ops.push(Op::Resubscribe);
    }

    /// Stops in good order: readers first, then what was accepted is completed within the grace period, then managers.
    pub fn quit(&mut self) {
        self.ops.push(Op::Quit);
    }

    /// What was asked for since the last [`clear`](Self::clear).
    pub fn ops(&self) -> &[Op<P>] {
        &self.ops
    }

    /// The bytes of a [`Op::Send`] or [`Op::Write`].
    pub fn payload(&self, range: &Range<u32>) -> &[u8] {
        self.arena.get(range.start as usize..range.end as usize).unwrap_or(&[])
    }

    /// Forgets everything; the memory stays.
    pub fn clear(&mut self) {
        self.ops.clear();
        self.arena.clear();
    }

    /// Whether `resubscribe` is among the operations from `first` on.
    pub(crate) fn asks_for_resubscribe(&self, first: usize) -> bool {
        self.ops.iter().skip(first).any(|op| matches!(op, Op::Resubscribe))
    }

    /// Gives back what one unusually large turn needed.
    pub(crate) fn shrink(&mut self) {
        if self.arena.capacity() > ARENA_KEEP_BYTES_MAX {
            self.arena.shrink_to(ARENA_KEEP_BYTES_MAX);
        }
        if self.ops.capacity() > OPS_KEEP_MAX {
            self.ops.shrink_to(OPS_KEEP_MAX);
        }
    }

    fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Range<u32> {
        let start = self.arena.len() as u32;
        write(&mut self.arena);
        start..self.arena.len() as u32
    }
}

impl<P: Program> Task<P> {
    fn new<T: Send + 'static>(
        key: Option<P::Key>,
        label: &'static str,
        run: impl Future<Output = T> + Send + 'static,
        tag: impl FnOnce(Result<T, Fault>) -> P::Msg + Send + 'static,
    ) -> Self {
        Self {
            key,
            label,
            run: Box::pin(async move { Box::new(run.await) as Box<dyn Any + Send> }),
            tag: Box::new(move |result| {
                tag(result.and_then(|value| match value.downcast::<T>() {
                    Ok(value) => Ok(*value),
                    Err(_) => Err(Fault::Cancelled),
                }))
            }),
        }
    }
}

impl<P: Program> fmt::Debug for Op<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send { port, to, payload } => write!(f, "Send({port:?} -> {to}, {} bytes)", payload.len()),
            Self::After { key, at, .. } => write!(f, "After({key:?} at {at:?})"),
            Self::Cancel { key } => write!(f, "Cancel({key:?})"),
            Self::Connect { key, to, .. } => write!(f, "Connect({key:?} -> {to})"),
            Self::Accept { key, .. } => write!(f, "Accept({key:?})"),
            Self::Write { key, payload } => write!(f, "Write({key:?}, {} bytes)", payload.len()),
            Self::Close { key, how } => write!(f, "Close({key:?}, {how:?})"),
            Self::Task(task) => write!(f, "Task({:?}, {})", task.key, task.label),
            Self::Effect(_) => f.write_str("Effect"),
            Self::Shard { to, .. } => write!(f, "Shard({to:?})"),
            Self::Resubscribe => f.write_str("Resubscribe"),
            Self::Quit => f.write_str("Quit"),
        }
    }
}

/// Bytes of the arena that stay for the next turn. 4 MiB: a turn that answers 8,000 datagrams, as many as 32 busy ports
/// bring, with 500 bytes each.
const ARENA_KEEP_BYTES_MAX: usize = 4 << 20;

/// Operations for which the memory stays: two for each of these datagrams.
const OPS_KEEP_MAX: usize = 1 << 14;
