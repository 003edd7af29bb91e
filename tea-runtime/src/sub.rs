//! Subscriptions: the few, long-lived sources of messages, as a function of the model.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use crate::{Datagram, Fault, Incoming, Program, Time};

/// A UDP port to read from and to send through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpPort {
    /// Local address. Port 0 lets the system choose; [`SubEvent::Ready`] tells what it chose.
    pub bind: SocketAddr,
    /// Size asked for the kernel's receive buffer (`SO_RCVBUF`).
    pub recv_buffer_bytes: usize,
    /// Longer datagrams are cut off by the kernel; 4 KiB holds the largest KRPC answers seen.
    pub datagram_bytes_max: usize,
}

impl UdpPort {
    /// A port with the default buffers: 4 MiB in the kernel, 4 KiB a datagram.
    pub const fn new(bind: SocketAddr) -> Self {
        Self { bind, recv_buffer_bytes: 4 << 20, datagram_bytes_max: 4 << 10 }
    }
}

/// A TCP port to accept on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpPort {
    /// Local address.
    pub bind: SocketAddr,
    /// Connections that may wait, accepted by the kernel, not yet by the program.
    pub backlog: u32,
}

impl TcpPort {
    /// A listener with a backlog of 128.
    pub const fn new(bind: SocketAddr) -> Self {
        Self { bind, backlog: 128 }
    }
}

/// A signal to the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// What service managers send.
    Terminate,
    /// The terminal went away; by convention: read the settings again.
    Hangup,
}

/// What became of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubEvent<Key> {
    /// A port or listener is bound.
    Ready {
        /// Which.
        key: Key,
        /// The address that it has.
        local: SocketAddr,
    },
    /// It failed. The runtime tries again with a growing delay; the program may instead give up.
    Failed {
        /// Which.
        key: Key,
        /// Why.
        fault: Fault,
        /// How often it has failed in a row, from 1.
        failures: u32,
    },
}

impl<Key: Copy> SubEvent<Key> {
    /// The subscription that the event is about.
    pub fn key(&self) -> Key {
        match self {
            Self::Ready { key, .. } | Self::Failed { key, .. } => *key,
        }
    }

    /// The same event under the name `key`.
    pub(crate) fn renamed<Other>(self, key: Other) -> SubEvent<Other> {
        match self {
            Self::Ready { local, .. } => SubEvent::Ready { key, local },
            Self::Failed { fault, failures, .. } => SubEvent::Failed { key, fault, failures },
        }
    }
}

/// Turns what arrives, with the key that it arrived under, into a message. Made from a plain `fn`, so it captures
/// nothing and cannot go stale; lifting composes two of them.
pub(crate) enum Tagger<Key, In, Msg> {
    Plain(fn(Key, In) -> Msg),
    Lifted(Arc<dyn Fn(In) -> Msg + Send + Sync>),
}

impl<Key, In, Msg> Clone for Tagger<Key, In, Msg> {
    fn clone(&self) -> Self {
        match self {
            Self::Plain(tag) => Self::Plain(*tag),
            Self::Lifted(tag) => Self::Lifted(Arc::clone(tag)),
        }
    }
}

impl<Key: Copy + Send + Sync + 'static, In: 'static, Msg: 'static> Tagger<Key, In, Msg> {
    pub(crate) fn call(&self, key: Key, input: In) -> Msg {
        match self {
            Self::Plain(tag) => tag(key, input),
            Self::Lifted(tag) => tag(input),
        }
    }

    /// Tags as the child does under its own `key`, then wraps the child's message.
    pub(crate) fn lift<OuterKey, Outer: 'static>(
        self,
        key: Key,
        wrap: impl Fn(Msg) -> Outer + Send + Sync + 'static,
    ) -> Tagger<OuterKey, In, Outer> {
        Tagger::Lifted(Arc::new(move |input| wrap(self.call(key, input))))
    }
}

/// Tags what became of the subscriptions. A lifted child hears only of its own, under its own keys; for the others
/// there is no message.
pub(crate) enum EventsTagger<Key, Msg> {
    Plain(fn(Key, SubEvent<Key>) -> Msg),
    Lifted(LiftedEvents<Key, Msg>),
}

pub(crate) type LiftedEvents<Key, Msg> = Arc<dyn Fn(SubEvent<Key>) -> Option<Msg> + Send + Sync>;

impl<Key, Msg> EventsTagger<Key, Msg> {
    /// `key` is the key of the subscription to the events, not the one that the event is about.
    pub(crate) fn call(&self, key: Key, event: SubEvent<Key>) -> Option<Msg> {
        match self {
            Self::Plain(tag) => Some(tag(key, event)),
            Self::Lifted(tag) => tag(event),
        }
    }
}

/// What a subscription listens to.
pub(crate) enum Source<P: Program> {
    Udp { port: UdpPort, tag: Tagger<P::Key, Datagram, P::Msg> },
    Listen { port: TcpPort, tag: Tagger<P::Key, Incoming, P::Msg> },
    Every { period: Duration, tag: Tagger<P::Key, Time, P::Msg> },
    Signal { tag: Tagger<P::Key, Signal, P::Msg> },
    Events { tag: EventsTagger<P::Key, P::Msg> },
}

/// The subscriptions that the model wants, by key. Two with one key are a mistake in the program and panic.
pub struct Sub<P: Program> {
    pub(crate) wanted: BTreeMap<P::Key, Source<P>>,
}

impl<P: Program> Default for Sub<P> {
    fn default() -> Self {
        Self { wanted: BTreeMap::new() }
    }
}

impl<P: Program> Sub<P> {
    /// One socket with one reader task. `cmd.send(key, ..)` sends through it. An IPv6 port takes IPv6 only.
    pub fn udp(&mut self, key: P::Key, port: UdpPort, tag: fn(P::Key, Datagram) -> P::Msg) {
        self.put(key, Source::Udp { port, tag: Tagger::Plain(tag) });
    }

    /// A TCP listener; answer each [`Incoming`] with [`Cmd::accept`](crate::Cmd::accept), or drop it to refuse.
    pub fn listen(&mut self, key: P::Key, port: TcpPort, tag: fn(P::Key, Incoming) -> P::Msg) {
        self.put(key, Source::Listen { port, tag: Tagger::Plain(tag) });
    }

    /// A message every `period`, the first after one period. Ticks that would come late are skipped, not queued.
    pub fn every(&mut self, key: P::Key, period: Duration, tag: fn(P::Key, Time) -> P::Msg) {
        self.put(key, Source::Every { period, tag: Tagger::Plain(tag) });
    }

    /// Signals to the process (interrupt, terminate, hangup). Once subscribed they no longer end the process by
    /// themselves, even after the subscription has ended; the second interrupt since its start does, at once and with
    /// exit code 130.
    pub fn signals(&mut self, key: P::Key, tag: fn(P::Key, Signal) -> P::Msg) {
        self.put(key, Source::Signal { tag: Tagger::Plain(tag) });
    }

    /// What becomes of the other subscriptions: bound addresses and failures. Ports that fail are tried again with a growing
    /// delay as long as they are wanted.
    pub fn events(&mut self, key: P::Key, tag: fn(P::Key, SubEvent<P::Key>) -> P::Msg) {
        self.put(key, Source::Events { tag: EventsTagger::Plain(tag) });
    }

    pub(crate) fn put(&mut self, key: P::Key, source: Source<P>) {
        let taken = self.wanted.insert(key, source).is_some();
        assert!(!taken, "two subscriptions share the key {key:?}");
    }
}
