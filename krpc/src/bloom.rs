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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    /// The filter that BEP 33 prints for its test addresses.
    const SPECIFIED: &str = "\
        F6C3F5EAA07FFD91BDE89F777F26FB2BFF37BDB8FB2BBAA2FD3DDDE7BACFFF75EE7CCBAE\
        FE5EEDB1FBFAFF67F6ABFF5E43DDBCA3FD9B9FFDF4FFD3E9DFF12D1BDF59DB53DBE9FA5B\
        7FF3B8FDFCDE1AFB8BEDD7BE2F3EE71EBBBFE93BCDEEFE148246C2BC5DBFF7E7EFDCF24F\
        D8DC7ADFFD8FFFDFDDFFF7A4BBEEDF5CB95CE81FC7FCFF1FF4FFFFDFE5F7FDCBB7FD79B3\
        FA1FC77BFE07FFF905B7B7FFC7FEFEFFE0B8370BB0CD3F5B7F2BD93FEB4386CFDD6F7FD5\
        BFAF2E9EBFFFFEECD67ADBF7C67F17EFD5D75EBA6FFEBA7FFF47A91EB1BFBB53E8ABFB57\
        62ABE8FF237279BFEFBFEEF5FFC5FEBFDFE5ADFFADFEE1FB737FFFFBFD9F6AEFFEEE76B6\
        FD8F72EF";

    fn specified() -> (BloomFilter, Vec<IpAddr>) {
        let v4 = (0..=255).map(|last| Ipv4Addr::new(192, 0, 2, last).into());
        let v6 = (0..=0x3e7).map(|last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).into());
        let mut filter = BloomFilter::new();
        let peers: Vec<IpAddr> = v4.chain(v6).collect();
        for peer in &peers {
            filter.insert(*peer);
        }
        (filter, peers)
    }

    #[test]
    fn the_filter_of_the_specification_comes_out() {
        let (filter, _) = specified();
        let hex: String = filter.as_bytes().iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(hex, SPECIFIED);
        assert!((filter.estimate() - 1224.9308).abs() < 0.001, "{}", filter.estimate());
    }

    #[test]
    fn who_was_added_is_contained_and_most_others_are_not() {
        let (filter, peers) = specified();
        assert!(peers.iter().all(|peer| filter.may_contain(*peer)));
        let strangers =
            (0..1000).filter(|last| filter.may_contain(Ipv4Addr::from(0x0808_0000 + last).into())).count();
        assert!(
            (300..700).contains(&strangers),
            "two bits of a filter 70 % full: about half, not {strangers}"
        );
        assert!(!BloomFilter::new().may_contain(peers[0]));
    }

    #[test]
    fn a_union_holds_both_sides() {
        let (mut one, mut other) = (BloomFilter::new(), BloomFilter::new());
        let ip = |last| IpAddr::from([203, 0, 113, last]);
        one.insert(ip(1));
        other.insert(ip(2));
        one.union(other.as_bytes());
        assert!(one.may_contain(ip(1)) && one.may_contain(ip(2)));
        assert!((one.estimate() - 2.0).abs() < 0.01);
    }

    #[test]
    fn an_empty_filter_estimates_nobody_and_a_full_one_stays_finite() {
        assert!(BloomFilter::new().estimate().abs() < 1e-9);
        let full = BloomFilter::from_bytes([0xff; 256]).estimate();
        assert!((7000.0..9000.0).contains(&full), "{full}");
    }
}
