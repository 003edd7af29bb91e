//! Points of the 160-bit keyspace: node ids, info-hashes and the distance between them (BEP 5).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use rand::Rng;

/// Why bytes or text are not a 20-byte id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The slice has another length; carries what it was.
    #[error("an id has 20 bytes, this has {0}")]
    Length(usize),
    /// The text is not exactly 40 hexadecimal digits.
    #[error("an id is written as 40 hexadecimal digits")]
    Text,
}

macro_rules! point {
    ($name:ident) => {
        impl $name {
            /// Length in bytes.
            pub const LEN: usize = 20;
            /// The point whose bits are all zero.
            pub const ZERO: Self = Self([0; 20]);

            /// Wraps the 20 bytes, most significant first.
            #[inline]
            pub const fn from_bytes(bytes: [u8; 20]) -> Self {
                Self(bytes)
            }

            /// A point drawn evenly from the keyspace.
            pub fn random(rng: &mut impl Rng) -> Self {
                let mut bytes = [0; 20];
                rng.fill_bytes(&mut bytes);
                Self(bytes)
            }

            /// The 20 bytes, most significant first.
            #[inline]
            pub const fn as_bytes(&self) -> &[u8; 20] {
                &self.0
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = IdError;

            #[inline]
            fn try_from(bytes: &[u8]) -> Result<Self, IdError> {
                bytes.try_into().map(Self).map_err(|_| IdError::Length(bytes.len()))
            }
        }

        impl From<[u8; 20]> for $name {
            #[inline]
            fn from(bytes: [u8; 20]) -> Self {
                Self(bytes)
            }
        }

        impl AsRef<[u8]> for $name {
            #[inline]
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_hex(text).map(Self)
            }
        }
    };
}

/// The id of a DHT node.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId([u8; 20]);

/// The key of a torrent in the DHT: SHA-1 of a v1 info dict, or the first 20 bytes of the SHA-256
/// of a v2 one (BEP 5, 52).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct InfoHash([u8; 20]);

/// How far two points are from each other: their XOR, compared as a big-endian number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Distance([u8; 20]);

point!(NodeId);
point!(InfoHash);

/// By value, most significant byte first, as the derived order would be; but two words are compared in place, where
/// comparing 20 bytes calls a function. Searches among ids compare a lot.
macro_rules! ordered {
    ($name:ident) => {
        impl Ord for $name {
            #[inline]
            fn cmp(&self, other: &Self) -> Ordering {
                words(&self.0).cmp(&words(&other.0))
            }
        }

        impl PartialOrd for $name {
            #[inline]
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }
    };
}

ordered!(NodeId);
ordered!(InfoHash);
ordered!(Distance);

#[inline]
fn words(bytes: &[u8; 20]) -> (u128, u32) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, rest @ ..] = *bytes;
    let first = u128::from_be_bytes([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]);
    (first, u32::from_be_bytes(rest))
}

impl NodeId {
    /// The XOR distance to another id; symmetric, zero only to itself.
    #[inline]
    pub fn distance(&self, other: &NodeId) -> Distance {
        let mut xor = self.0;
        for (byte, theirs) in xor.iter_mut().zip(&other.0) {
            *byte ^= theirs;
        }
        Distance(xor)
    }

    /// How many leading bits both ids have in common, 0 to 160.
    #[inline]
    pub fn common_prefix_len(&self, other: &NodeId) -> u32 {
        self.distance(other).leading_zeros()
    }

    /// Bit `index` counted from the most significant (0); `false` from 160 on.
    #[inline]
    pub fn bit(&self, index: u32) -> bool {
        self.0.get(index as usize / 8).is_some_and(|byte| byte & (0x80 >> (index % 8)) != 0)
    }

    /// This id with its first `len` bits kept and all others drawn anew: a point of the same
    /// bucket. All 160 bits are kept from 160 on.
    pub fn with_random_suffix(&self, len: u32, rng: &mut impl Rng) -> NodeId {
        let mut bytes = NodeId::random(rng).0;
        for (index, byte) in (0_u32..).zip(bytes.iter_mut()) {
            let kept = len.saturating_sub(index * 8).min(8);
            let mask = !(0xff_u16 >> kept) as u8;
            *byte = (self.0[index as usize] & mask) | (*byte & !mask);
        }
        NodeId(bytes)
    }

    /// The same point as the key of a torrent.
    #[inline]
    pub const fn as_hash(&self) -> InfoHash {
        InfoHash(self.0)
    }
}

impl InfoHash {
    /// The same point as a place where a node could be.
    #[inline]
    pub const fn as_id(&self) -> NodeId {
        NodeId(self.0)
    }
}

impl Distance {
    /// The greatest distance there is.
    pub const MAX: Self = Self([0xff; 20]);

    /// Leading zero bits, 0 to 160.
    #[inline]
    pub fn leading_zeros(&self) -> u32 {
        let [a, b, c, d, e, f, g, h, tail @ ..] = self.0;
        let high = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        if high != 0 {
            return high.leading_zeros();
        }
        let [a, b, c, d, e, f, g, h, i, j, k, l] = tail;
        // 96 bits in a word of 128: 32 zeros stand in front.
        64 + u128::from_be_bytes([0, 0, 0, 0, a, b, c, d, e, f, g, h, i, j, k, l]).leading_zeros() - 32
    }

    /// The 20 bytes, most significant first.
    #[inline]
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl fmt::Debug for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

fn write_hex(bytes: &[u8; 20], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 40];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    f.pad(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
}

fn parse_hex(text: &str) -> Result<[u8; 20], IdError> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        b'A'..=b'F' => Ok(byte - b'A' + 10),
        _ => Err(IdError::Text),
    };
    let text = text.as_bytes();
    if text.len() != 40 {
        return Err(IdError::Text);
    }
    let mut bytes = [0; 20];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn id(first: u8) -> NodeId {
        let mut bytes = [0; 20];
        bytes[0] = first;
        NodeId(bytes)
    }

    #[test]
    fn points_are_in_the_order_of_their_bytes() {
        let mut ids: Vec<NodeId> = Vec::new();
        for at in 0..20 {
            for value in [1, 0x80, 0xff] {
                let mut bytes = [0x7f; 20];
                bytes[at] = value;
                ids.push(NodeId::from_bytes(bytes));
            }
        }
        for a in &ids {
            for b in &ids {
                assert_eq!(a.cmp(b), a.as_bytes().cmp(b.as_bytes()), "{a} {b}");
            }
        }
    }

    #[test]
    fn an_id_is_written_and_read_as_forty_hex_digits() {
        let text = "0123456789abcdef0123456789abcdef01234567";
        let id: NodeId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(format!("{id:?}"), text);
        assert_eq!(text.to_uppercase().parse::<NodeId>(), Ok(id));
        assert_eq!("0123".parse::<NodeId>(), Err(IdError::Text));
        assert_eq!("g".repeat(40).parse::<InfoHash>(), Err(IdError::Text));
        assert_eq!("é".repeat(20).parse::<InfoHash>(), Err(IdError::Text));
    }

    #[test]
    fn only_twenty_bytes_are_an_id() {
        assert_eq!(NodeId::try_from(&[7; 20][..]), Ok(NodeId([7; 20])));
        assert_eq!(NodeId::try_from(&[7; 19][..]), Err(IdError::Length(19)));
        assert_eq!(InfoHash::try_from(&[7; 21][..]), Err(IdError::Length(21)));
    }

    #[test]
    fn distance_is_xor_and_compares_from_the_first_byte() {
        assert_eq!(id(0b1010).distance(&id(0b0110)).as_bytes()[0], 0b1100);
        assert!(id(1).distance(&id(2)) > id(1).distance(&id(0)));
        assert_eq!(id(9).distance(&id(9)), Distance([0; 20]));
    }

    #[test]
    fn the_common_prefix_is_counted_in_bits() {
        assert_eq!(id(0x80).common_prefix_len(&id(0)), 0);
        assert_eq!(id(1).common_prefix_len(&id(0)), 7);
        assert_eq!(id(3).common_prefix_len(&id(3)), 160);
        for index in 0..160 {
            let mut bytes = [0; 20];
            bytes[index / 8] = 0x80 >> (index % 8);
            assert_eq!(NodeId(bytes).common_prefix_len(&NodeId::ZERO), index as u32);
            assert!(NodeId(bytes).bit(index as u32));
        }
        assert!(!NodeId([0xff; 20]).bit(160));
    }

    #[test]
    fn a_random_suffix_keeps_exactly_the_asked_prefix() {
        let mut rng = StdRng::from_seed([1; 32]);
        let base = NodeId::random(&mut rng);
        for len in [0, 1, 7, 8, 9, 63, 64, 100, 159] {
            let shortest = (0..64)
                .map(|_| base.with_random_suffix(len, &mut rng).common_prefix_len(&base))
                .min()
                .unwrap();
            assert_eq!(shortest, len);
        }
        assert_eq!(base.with_random_suffix(160, &mut rng), base);
        assert_eq!(base.with_random_suffix(999, &mut rng), base);
    }

    #[test]
    fn a_node_id_and_an_info_hash_are_the_same_points() {
        assert_eq!(id(5).as_hash().as_id(), id(5));
    }
}
