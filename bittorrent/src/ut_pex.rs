//! `ut_pex` (BEP 11): peers tell each other of peers. We listen, and never tell.

use std::net::SocketAddr;

use krpc::{
    bencode::{self, Limits, Reader},
    read_addr,
};

use crate::{Transport, TransportSet};

/// Peers taken of one message and family. BEP 11 allows 50, and libtorrent keeps to 100.
pub const PEERS_MAX: usize = 100;

/// A message of the extension: peers that the other side has met since its last one.
///
/// Who has left (`dropped`) is of no interest: we do not keep peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PexMessage<'a> {
    added: &'a [u8],
    added_flags: &'a [u8],
    added6: &'a [u8],
    added6_flags: &'a [u8],
}

/// A peer that another peer has named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PexPeer {
    /// Where it listens, as told.
    pub addr: SocketAddr,
    /// What is said of it.
    pub flags: PexFlags,
}

/// What a message says of a peer, as bits; those without a meaning here are kept and ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PexFlags(u8);

impl<'a> PexMessage<'a> {
    /// Reads what follows the extended id.
    ///
    /// Of a key that stands twice the first counts; keys may come in any order; a value of another type counts as absent.
    ///
    /// # Errors
    /// Only when the bytes are not a bencoded dictionary within bounds.
    pub fn parse(payload: &'a [u8]) -> Result<Self, bencode::Error> {
        let mut reader = Reader::new(payload, Limits::EXTENSION)?;
        let mut message = Self::default();
        reader.enter_dict()?;
        while let Some(key) = reader.next_key()? {
            let place = match key {
                b"added" => &mut message.added,
                b"added.f" => &mut message.added_flags,
                b"added6" => &mut message.added6,
                b"added6.f" => &mut message.added6_flags,
                _ => {
                    reader.skip()?;
                    continue;
                }
            };
            let value = reader.bytes_or_skip()?.unwrap_or_default();
            if place.is_empty() {
                *place = value;
            }
        }
        Ok(message)
    }

    /// The peers, at most [`PEERS_MAX`] of each family. Bytes that make up no whole endpoint are left out; who has no
    /// flags has none set.
    pub fn peers(&self) -> impl Iterator<Item = PexPeer> + use<'a> {
        listed(self.added, self.added_flags, 6).chain(listed(self.added6, self.added6_flags, 18))
    }
}

fn listed<'a>(
    endpoints: &'a [u8],
    flags: &'a [u8],
    stride: usize,
) -> impl Iterator<Item = PexPeer> + use<'a> {
    endpoints.chunks_exact(stride).take(PEERS_MAX).enumerate().filter_map(move |(at, endpoint)| {
        let flags = PexFlags(flags.get(at).copied().unwrap_or_default());
        read_addr(endpoint).map(|addr| PexPeer { addr, flags })
    })
}

impl PexFlags {
    /// It prefers encrypted connections.
    pub const ENCRYPTION: Self = Self(0x01);
    /// It has everything, the info dict too.
    pub const SEED: Self = Self(0x02);
    /// It takes uTP.
    pub const UTP: Self = Self(0x04);
    /// It was reached by whom we have this from: it is not hidden behind a router.
    pub const REACHABLE: Self = Self(0x10);

    /// The flags with these bits.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// Whether all of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// How soon it should be tried, the smaller the sooner: who is known to have been reached, and of them who certainly has the
    /// info dict.
    pub const fn rank(self) -> u8 {
        match (self.contains(Self::REACHABLE), self.contains(Self::SEED)) {
            (true, true) => 0,
            (true, false) => 1,
            (false, true) => 2,
            (false, false) => 3,
        }
    }

    /// The transport to try first, of those that are allowed; `None` when the flags speak for none.
    ///
    /// Whoever takes uTP was seen to take it; that it takes TCP is only likely.
    pub fn transport(self, allowed: TransportSet) -> Option<Transport> {
        let (utp, encrypted) = (self.contains(Self::UTP), self.contains(Self::ENCRYPTION));
        let wishes: &[Transport] = match (utp, encrypted) {
            (true, true) => &[Transport::EncryptedUtp, Transport::EncryptedTcp, Transport::Utp],
            (true, false) => &[Transport::Utp, Transport::EncryptedUtp],
            (false, true) => &[Transport::EncryptedTcp],
            (false, false) => &[],
        };
        wishes.iter().copied().find(|transport| allowed.contains(*transport))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn peers(payload: &[u8]) -> Vec<(String, u8)> {
        let message = PexMessage::parse(payload).unwrap();
        message.peers().map(|peer| (peer.addr.to_string(), peer.flags.0)).collect()
    }

    #[test]
    fn peers_of_both_families_are_read_with_their_flags() {
        let message = [
            &b"d5:added12:\x7f\0\0\x01\x1a\xe1\x7f\0\0\x02\0\x50"[..],
            b"7:added.f2:\x12\x05",
            b"6:added618:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\x09",
            b"8:added6.f1:\x027:dropped6:abcdefe",
        ]
        .concat();
        assert_eq!(
            peers(&message),
            [
                ("127.0.0.1:6881".to_owned(), 0x12),
                ("127.0.0.2:80".to_owned(), 5),
                ("[2001:db8::1]:9".to_owned(), 2)
            ]
        );
    }

    #[test]
    fn missing_flags_and_incomplete_endpoints_cost_nothing_but_themselves() {
        assert_eq!(peers(b"d5:added8:\x7f\0\0\x01\0\x01zz7:added.f0:e"), [("127.0.0.1:1".to_owned(), 0)]);
        assert_eq!(peers(b"d5:addedi5e7:added.fle6:added6dee"), []);
        assert_eq!(peers(b"de"), []);
        assert!(PexMessage::parse(b"i5e").is_err());
        assert!(PexMessage::parse(b"d5:added99:ab").is_err());
    }

    #[test]
    fn no_message_names_more_than_its_bound() {
        let many = [
            b"d5:added6000:".to_vec(),
            vec![1; 6000],
            b"6:added69000:".to_vec(),
            vec![2; 9000],
            b"e".to_vec(),
        ];
        assert_eq!(PexMessage::parse(&many.concat()).unwrap().peers().count(), 2 * PEERS_MAX);
    }

    #[test]
    fn seeds_that_were_reached_come_first() {
        let ranks = [0x12, 0x10, 0x02, 0x0d].map(|bits| PexFlags::from_bits(bits).rank());
        assert_eq!(ranks, [0, 1, 2, 3]);
    }

    #[test]
    fn flags_hint_at_a_transport_that_is_allowed() {
        use Transport as T;
        let all = TransportSet::of(&T::ALL);
        let hint = |bits, allowed| PexFlags::from_bits(bits).transport(allowed);
        assert_eq!(hint(0x12, all), None);
        assert_eq!(hint(0x04, all), Some(T::Utp));
        assert_eq!(hint(0x01, all), Some(T::EncryptedTcp));
        assert_eq!(hint(0x05, all), Some(T::EncryptedUtp));
        assert_eq!(hint(0x05, TransportSet::of(&[T::Tcp, T::EncryptedTcp])), Some(T::EncryptedTcp));
        assert_eq!(hint(0x05, TransportSet::of(&[T::Tcp])), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_within_the_bounds(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(message) = PexMessage::parse(&bytes) {
                prop_assert!(message.peers().count() <= 2 * PEERS_MAX);
            }
        }

        #[test]
        fn whatever_is_in_the_strings_comes_out_in_order(
            added in prop::collection::vec(any::<u8>(), 0..700),
            flags in prop::collection::vec(any::<u8>(), 0..120),
        ) {
            let mut payload = format!("d5:added{}:", added.len()).into_bytes();
            payload.extend(&added);
            payload.extend(format!("7:added.f{}:", flags.len()).into_bytes());
            payload.extend(&flags);
            payload.push(b'e');
            let found: Vec<_> = PexMessage::parse(&payload).unwrap().peers().collect();
            prop_assert_eq!(found.len(), (added.len() / 6).min(PEERS_MAX));
            for (at, (peer, endpoint)) in found.iter().zip(added.chunks(6)).enumerate() {
                prop_assert_eq!(Some(peer.addr), read_addr(endpoint));
                prop_assert_eq!(peer.flags.0, flags.get(at).copied().unwrap_or(0));
            }
        }
    }
}
