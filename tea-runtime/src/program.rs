//! What a program is: a model, the messages that change it, and what it asks for.

use std::{fmt::Debug, hash::Hash};

use crate::{Cmd, Fault, Sub, Time};

/// A program in The Elm Architecture. `Self` is the model.
///
/// Invariant: `update` is a function of (model, message, context). It does no I/O, reads no clock and
/// draws no ambient randomness, so a recorded run can be repeated and a simulated one is deterministic.
pub trait Program: Sized + 'static {
    /// All ambient input, given once at start: settings, a seed, identities.
    type Flags;
    /// Everything that can happen.
    type Msg: Send + 'static;
    /// Names ports, timers, streams and tasks. Small and `Copy`; usually an enum.
    type Key: Copy + Eq + Ord + Hash + Debug + Send + Sync + 'static;
    /// Effects of the program's own beyond the built-in ones, run by a [`Manager`](crate::Manager);
    /// [`Never`] if there are none.
    type Effect: Effect<Self::Msg>;

    /// The first model. The runtime reads the subscriptions right after.
    fn init(flags: Self::Flags, cx: &Context, cmd: &mut Cmd<Self>) -> Self;

    /// The only place where the model changes.
    fn update(&mut self, msg: Self::Msg, cx: &Context, cmd: &mut Cmd<Self>);

    /// What to listen to, as a function of the model. Read after `init` and then only after
    /// [`Cmd::resubscribe`], at most once a turn.
    fn subscriptions(&self, sub: &mut Sub<Self>);
}

/// An effect that the runtime hands to a manager instead of performing it itself.
pub trait Effect<Msg>: Send + 'static {
    /// The message that tells the program that the effect was not performed, because its lane was full
    /// ([`Fault::Overload`]) or the program is stopping ([`Fault::Closed`]). `None`: the program does not care.
    fn refused(self, fault: Fault) -> Option<Msg>;
}

/// No effects: the type cannot be constructed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Never {}

impl<Msg> Effect<Msg> for Never {
    fn refused(self, _: Fault) -> Option<Msg> {
        match self {}
    }
}

/// Everything that `update` may know besides the model.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The time of this turn. All messages of one turn see the same time.
    pub now: Time,
    /// The shard on which this program instance runs; 0 when there is one.
    pub shard: ShardId,
    /// How full the bounded lanes are: lets the model shed work before the runtime must.
    pub load: Load,
}

/// One thread with its own ports and its own instance of the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// How full each bounded lane is: 0 is empty, 255 is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Datagram batches that wait to be handled, over all ports.
    pub datagrams: u8,
    /// Datagrams that wait to be sent, over all ports.
    pub sends: u8,
    /// Streams that are open or being opened.
    pub streams: u8,
    /// Tasks that are running.
    pub tasks: u8,
    /// Effects that were accepted and have not been answered.
    pub effects: u8,
}
