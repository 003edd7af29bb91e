//! What changes between the subscriptions that run and those that the model wants now.

use crate::{Program, Sub, sub::Source};

/// The keys to stop, and after that the keys to start, each in order. A key whose parameters changed is in both.
pub(crate) struct Changes<Key> {
    pub(crate) stop: Vec<Key>,
    pub(crate) start: Vec<Key>,
}

impl<Key> Changes<Key> {
    pub(crate) fn is_empty(&self) -> bool {
        self.stop.is_empty() && self.start.is_empty()
    }
}

impl<P: Program> Sub<P> {
    /// What turns `self`, which runs, into `wanted`. Taggers are not compared: the new ones take the place of the old
    /// ones without a restart.
    pub(crate) fn changes_to(&self, wanted: &Self) -> Changes<P::Key> {
        let restarts = |key: &P::Key, source: &Source<P>| {
            wanted.wanted.get(key).is_some_and(|new| !source.has_parameters_of(new))
        };
        let stop =
            self.wanted.iter().filter(|(key, old)| !wanted.wanted.contains_key(key) || restarts(key, old));
        let start = wanted
            .wanted
            .iter()
            .filter(|(key, new)| self.wanted.get(key).is_none_or(|old| !old.has_parameters_of(new)));
        Changes { stop: stop.map(|(key, _)| *key).collect(), start: start.map(|(key, _)| *key).collect() }
    }
}

impl<P: Program> Source<P> {
    /// Whether both would do the same, whatever their taggers are.
    fn has_parameters_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Udp { port, .. }, Self::Udp { port: other, .. }) => port == other,
            (Self::Listen { port, .. }, Self::Listen { port: other, .. }) => port == other,
            (Self::Every { period, .. }, Self::Every { period: other, .. }) => period == other,
            (Self::Signal { .. }, Self::Signal { .. }) | (Self::Events { .. }, Self::Events { .. }) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{Cmd, Context, Never, Program, Sub, TcpPort, UdpPort};

    struct Nothing;

    impl Program for Nothing {
        type Flags = ();
        type Msg = ();
        type Key = u8;
        type Effect = Never;

        fn init((): (), _: &Context, _: &mut Cmd<Self>) -> Self {
            Self
        }

        fn update(&mut self, (): (), _: &Context, _: &mut Cmd<Self>) {}

        fn subscriptions(&self, _: &mut Sub<Self>) {}
    }

    fn sub(fill: impl FnOnce(&mut Sub<Nothing>)) -> Sub<Nothing> {
        let mut sub = Sub::default();
        fill(&mut sub);
        sub
    }

    fn any() -> std::net::SocketAddr {
        ([127, 0, 0, 1], 0).into()
    }

    #[test]
    fn equal_subscriptions_change_nothing_whatever_their_taggers() {
        let old = sub(|sub| {
            sub.udp(1, UdpPort::new(any()), |_, _| ());
            sub.every(2, Duration::from_secs(1), |_, _| ());
        });
        let new = sub(|sub| {
            sub.udp(1, UdpPort::new(any()), |_, datagram| drop(datagram));
            sub.every(2, Duration::from_secs(1), |_, _| ());
        });
        assert!(old.changes_to(&new).is_empty());
    }

    #[test]
    fn new_gone_and_changed_keys_start_stop_and_restart() {
        let old = sub(|sub| {
            sub.every(1, Duration::from_secs(1), |_, _| ());
            sub.every(2, Duration::from_secs(1), |_, _| ());
            sub.every(3, Duration::from_secs(1), |_, _| ());
        });
        let new = sub(|sub| {
            sub.every(1, Duration::from_secs(1), |_, _| ());
            sub.every(2, Duration::from_secs(2), |_, _| ());
            sub.signals(4, |_, _| ());
        });
        let changes = old.changes_to(&new);
        assert_eq!(changes.stop, [2, 3]);
        assert_eq!(changes.start, [2, 4]);
    }

    #[test]
    fn a_key_that_becomes_another_kind_restarts() {
        let old = sub(|sub| sub.udp(1, UdpPort::new(any()), |_, _| ()));
        let new = sub(|sub| sub.listen(1, TcpPort::new(any()), |_, _| ()));
        let changes = old.changes_to(&new);
        assert_eq!((changes.stop, changes.start), (vec![1], vec![1]));
    }
}
