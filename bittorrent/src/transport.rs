//! The ways on which a peer may be reached, and in which order they are tried.

use std::{fmt, net::IpAddr, time::Duration};

use crate::{ConnectFailure, PeerFault, PeerOutcome, Stage, mse::CryptoMethods};

/// What carries the bytes of a connection. Who owns the connections sees two kinds, TCP and uTP: encryption is done by the
/// [`Fetch`](crate::Fetch).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// TCP with message stream encryption.
    EncryptedTcp,
    /// uTP (BEP 29).
    Utp,
    /// uTP with message stream encryption.
    EncryptedUtp,
}

/// Some of the transports.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct TransportSet(u8);

/// Which transports are tried, and how.
///
/// Most peers take plain TCP, so that is tried first, and the common case costs one connection. What an attempt shows
/// decides what is tried next:
///
/// - Nobody there: the other carrier, TCP or uTP. It does not wait for a timeout: after [`race_after`](Self::race_after)
///   it is tried beside the first, as soon as no endpoint waits that was not tried at all.
/// - Somebody there who does not say a byte: what peers do that want encryption, or only uTP. Encryption on the same
///   carrier is tried at once, the other carrier after `race_after`, both before other endpoints: it is known that
///   somebody is there.
/// - Once a handshake has come, all other attempts at the endpoint end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TransportPolicy {
    /// The transports that may be used; at least one. Default: TCP alone.
    pub allowed: TransportSet,
    /// How long an attempt may keep the next one waiting; 1 s. A peer that answers mostly does within that time.
    pub race_after: Duration,
    /// What is offered for the payload of encrypted connections; RC4 by default, which everybody knows who encrypts at all,
    /// and many insist on. Plaintext saves time at both ends, but to offer it costs a round trip more: Transmission 3.00 does
    /// not understand a first payload that comes with the handshake, if it then chooses plaintext.
    pub methods: CryptoMethods,
    /// Whether there is a socket from which IPv4 peers can be reached by uTP.
    pub utp_v4: bool,
    /// The same for IPv6.
    pub utp_v6: bool,
    /// From this, the torrent and the time the keys and pads of a connection are drawn.
    pub seed: [u8; 32],
}

impl Transport {
    /// How many there are.
    pub const COUNT: usize = 4;
    /// Every one, in the order of tables and of preference.
    pub const ALL: [Self; Self::COUNT] = [Self::Tcp, Self::EncryptedTcp, Self::Utp, Self::EncryptedUtp];

    /// Whether uTP carries it, not TCP.
    pub const fn is_utp(self) -> bool {
        matches!(self, Self::Utp | Self::EncryptedUtp)
    }

    /// Whether it is encrypted.
    pub const fn is_encrypted(self) -> bool {
        matches!(self, Self::EncryptedTcp | Self::EncryptedUtp)
    }

    /// The name in counters and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::EncryptedTcp => "encrypted tcp",
            Self::Utp => "utp",
            Self::EncryptedUtp => "encrypted utp",
        }
    }

    /// The same carrier, encrypted or not.
    const fn with_encryption(self, encrypted: bool) -> Self {
        match (self.is_utp(), encrypted) {
            (false, false) => Self::Tcp,
            (false, true) => Self::EncryptedTcp,
            (true, false) => Self::Utp,
            (true, true) => Self::EncryptedUtp,
        }
    }
}

impl TransportSet {
    /// These.
    pub const fn of(transports: &[Transport]) -> Self {
        let (mut set, mut at) = (Self(0), 0);
        while at < transports.len() {
            set = set.with(transports[at]);
            at += 1;
        }
        set
    }

    /// And this one.
    pub const fn with(self, transport: Transport) -> Self {
        Self(self.0 | 1 << transport as u8)
    }

    /// Whether it is among them.
    pub const fn contains(self, transport: Transport) -> bool {
        self.0 >> transport as u8 & 1 == 1
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those among them, in the order of preference.
    pub fn iter(self) -> impl Iterator<Item = Transport> {
        Transport::ALL.into_iter().filter(move |transport| self.contains(*transport))
    }

    const fn without_utp(self) -> Self {
        Self(self.0 & Self::of(&[Transport::Tcp, Transport::EncryptedTcp]).0)
    }

    /// The transport for the first attempt at an endpoint: `hint`, if somebody knows what works there. `None` if there is
    /// none at all.
    pub(crate) fn first(self, hint: Option<Transport>) -> Option<Transport> {
        hint.filter(|hint| self.contains(*hint)).or_else(|| self.iter().next())
    }

    /// What is tried beside this transport when it takes long to connect: the other carrier, plain unless that is not
    /// allowed.
    pub(crate) fn rival(self, transport: Transport) -> Option<Transport> {
        self.iter().find(|other| other.is_utp() != transport.is_utp())
    }

    /// What an attempt that ended so suggests to try next: now, and after [`race_after`](TransportPolicy::race_after).
    /// `said_nothing` means that not one byte came.
    pub(crate) fn next(
        self,
        transport: Transport,
        outcome: PeerOutcome,
        said_nothing: bool,
    ) -> (Option<Transport>, Option<Transport>) {
        use PeerOutcome as O;
        match outcome {
            O::ConnectFailed(ConnectFailure::Refused | ConnectFailure::Timeout | ConnectFailure::Other) => {
                (self.rival(transport), None)
            }
            O::ClosedWithoutByte | O::Silent(Stage::Handshake) if said_nothing => {
                (self.with_other_encryption(transport), self.rival(transport))
            }
            // Encryption was tried first since it once worked here.
            O::Closed(Stage::Handshake)
            | O::Reset(Stage::Handshake)
            | O::Silent(Stage::Handshake)
            | O::Fault(PeerFault::BadEncryption)
                if transport.is_encrypted() =>
            {
                (self.with_other_encryption(transport), None)
            }
            _ => (None, None),
        }
    }

    fn with_other_encryption(self, transport: Transport) -> Option<Transport> {
        let other = transport.with_encryption(!transport.is_encrypted());
        self.contains(other).then_some(other)
    }
}

impl TransportPolicy {
    /// What a peer at this address may be reached by.
    pub fn allowed_at(&self, peer: IpAddr) -> TransportSet {
        let utp = if peer.to_canonical().is_ipv4() { self.utp_v4 } else { self.utp_v6 };
        if utp { self.allowed } else { self.allowed.without_utp() }
    }
}

impl Default for TransportPolicy {
    fn default() -> Self {
        Self {
            allowed: TransportSet::of(&[Transport::Tcp]),
            race_after: Duration::from_secs(1),
            methods: CryptoMethods::RC4,
            utp_v4: true,
            utp_v6: true,
            seed: [0; 32],
        }
    }
}

impl fmt::Debug for TransportSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl fmt::Debug for TransportPolicy {
    /// Without the seed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportPolicy")
            .field("allowed", &self.allowed)
            .field("race_after", &self.race_after)
            .field("methods", &self.methods)
            .field("utp_v4", &self.utp_v4)
            .field("utp_v6", &self.utp_v6)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Transport as T;

    const TCP: TransportSet = TransportSet::of(&[T::Tcp]);
    const ALL: TransportSet = TransportSet::of(&T::ALL);

    #[test]
    fn plain_tcp_comes_first_unless_somebody_knows_better() {
        assert_eq!(ALL.first(None), Some(T::Tcp));
        assert_eq!(ALL.first(Some(T::EncryptedUtp)), Some(T::EncryptedUtp));
        assert_eq!(TCP.first(Some(T::Utp)), Some(T::Tcp), "what is not allowed is not tried");
        assert_eq!(TransportSet::of(&[T::EncryptedUtp, T::Utp]).first(None), Some(T::Utp));
    }

    #[test]
    fn without_a_socket_of_its_family_a_peer_is_not_reached_by_utp() {
        let policy = TransportPolicy { allowed: ALL, utp_v6: false, ..TransportPolicy::default() };
        let [four, mapped, six] = ["127.0.0.1", "::ffff:127.0.0.1", "::1"].map(|ip| ip.parse().unwrap());
        assert_eq!([four, mapped].map(|ip| policy.allowed_at(ip)), [ALL; 2]);
        assert_eq!(policy.allowed_at(six), TransportSet::of(&[T::Tcp, T::EncryptedTcp]));
        let utp_alone = TransportPolicy { allowed: TransportSet::of(&[T::Utp]), ..policy };
        assert_eq!(utp_alone.allowed_at(six).first(None), None);
    }

    #[test]
    fn what_is_tried_next_depends_on_what_was_seen() {
        use PeerOutcome as O;
        let refused = O::ConnectFailed(ConnectFailure::Refused);
        let silent = O::Silent(Stage::Handshake);
        for (transport, outcome, said_nothing, next) in [
            (T::Tcp, refused, true, (Some(T::Utp), None)),
            (T::Utp, refused, true, (Some(T::Tcp), None)),
            (T::Tcp, O::ConnectFailed(ConnectFailure::Unreachable), true, (None, None)),
            (T::Tcp, O::ClosedWithoutByte, true, (Some(T::EncryptedTcp), Some(T::Utp))),
            (T::Utp, O::ClosedWithoutByte, true, (Some(T::EncryptedUtp), Some(T::Tcp))),
            (T::Tcp, silent, true, (Some(T::EncryptedTcp), Some(T::Utp))),
            (T::Tcp, silent, false, (None, None)),
            (T::EncryptedTcp, O::Closed(Stage::Handshake), false, (Some(T::Tcp), None)),
            (T::EncryptedTcp, O::Fault(PeerFault::BadEncryption), false, (Some(T::Tcp), None)),
            (T::Tcp, O::Closed(Stage::Handshake), false, (None, None)),
            (T::Tcp, O::Served, false, (None, None)),
        ] {
            assert_eq!(ALL.next(transport, outcome, said_nothing), next, "{transport:?} {outcome:?}");
        }
        assert_eq!(TCP.next(T::Tcp, refused, true), (None, None));
        assert_eq!(TCP.next(T::Tcp, O::ClosedWithoutByte, true), (None, None));
        assert_eq!(TCP.rival(T::Tcp), None);
        assert_eq!(ALL.rival(T::Tcp), Some(T::Utp));
    }
}
