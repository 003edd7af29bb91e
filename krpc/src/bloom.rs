//! Bloom filters of peers: how many take part in a torrent, without naming them (BEP 33).

use std::fmt;
use std::net::IpAddr;

use sha1::{Digest, Sha1};

/// 2048 bits in which every peer sets two.
#[derive(Clone, PartialEq, Eq)]
pub struct BloomFilter([u8; 256]);

impl BloomFilter {
    /// Length in bytes.
    pub const LEN: usize = 256;

    /// Number of bits.
    const BITS: u16 = 2048;

    /// A filter that holds nobody.
    pub const fn new() -> Self {
        Self([0; 256])
    }

    /// A filter as it stands in a message.
    pub const fn from_bytes(bytes: [u8; 256]) -> Self {
        Self(bytes)
    }

    /// Adds a peer; its port does not matter.
    pub fn insert(&mut self, ip: IpAddr) {
        for index in indices(ip) {
            self.0[usize::from(index / 8)] |= 1 << (index % 8);
        }
    }

    /// Adds everybody whom `other` holds.
    pub fn union(&mut self, other: &[u8; 256]) {
        for (ours, theirs) in self.0.iter_mut().zip(other) {
            *ours |= theirs;
        }
    }

    /// Whether `ip` may have been added; `false` is certain.
    pub fn may_contain(&self, ip: IpAddr) -> bool {
        indices(ip).iter().all(|index| self.0[usize::from(index / 8)] >> (index % 8) & 1 == 1)
    }

    /// About how many peers were added. The filter tells up to about 6000; fuller ones say that.
    pub fn estimate(&self) -> f64 {
        let zeros: u32 = self.0.iter().map(|byte| byte.count_zeros()).sum();
        let bits = f64::from(Self::BITS);
        // BEP 33: at least one zero is assumed, or a full filter would say infinity.
        let zeros = f64::from(zeros).clamp(1.0, bits);
        (zeros / bits).ln() / (2.0 * (1.0 - 1.0 / bits).ln())
    }

    /// The bytes as they stand in a message.
    pub const fn as_bytes(&self) -> &[u8; 256] {
        &self.0
    }
}

impl Default for BloomFilter {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for BloomFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BloomFilter(about {:.0})", self.estimate())
    }
}

/// The two bits of an address.
fn indices(ip: IpAddr) -> [u16; 2] {
    let hash = match ip {
        IpAddr::V4(ip) => Sha1::digest(ip.octets()),
        IpAddr::V6(ip) => Sha1::digest(ip.octets()),
    };
    [u16::from_le_bytes([hash[0], hash[1]]), u16::from_le_bytes([hash[2], hash[3]])]
        .map(|index| index % BloomFilter::BITS)
}
