//! Node ids bound to the address of the node (BEP 42).
//!
//! The first 21 bits of an id follow from the address and from a number r of 0 to 7 that stands in
//! the low 3 bits of the last byte, so one IPv4 address (or IPv6 /64) has exactly 8 valid prefixes.
//!
//! ```
//! use krpc::{NodeId, bep42};
//!
//! let ip = "21.75.31.124".parse()?;
//! let id = bep42::with_prefix(ip, &NodeId::from_bytes([0x56; 20]));
//! assert!(id.to_string().starts_with("5a3ce"));
//! assert!(bep42::is_valid(ip, &id));
//! # Ok::<(), std::net::AddrParseError>(())
//! ```

use std::net::IpAddr;

use rand::Rng;

use crate::NodeId;

/// How many different prefixes one address allows.
pub const PREFIXES: u8 = 8;

/// Bits of an id that follow from the address.
pub const PREFIX_BITS: u32 = 21;

/// A valid id for a node at `ip` with the prefix number `r` (its low 3 bits count); every other bit
/// comes from `rng`.
pub fn node_id(ip: IpAddr, r: u8, rng: &mut impl Rng) -> NodeId {
    let mut bytes = *NodeId::random(rng).as_bytes();
    bytes[19] = (bytes[19] & !7) | (r & 7);
    with_prefix(ip, &NodeId::from_bytes(bytes))
}

/// The valid id for a node at `ip` that agrees with `id` in every bit that BEP 42 leaves free,
/// which includes the prefix number in the low 3 bits of the last byte.
pub fn with_prefix(ip: IpAddr, id: &NodeId) -> NodeId {
    let mut bytes = *id.as_bytes();
    let [first, second, third, _] = prefix(ip, bytes[19]).to_be_bytes();
    bytes[0] = first;
    bytes[1] = second;
    bytes[2] = (third & 0xf8) | (bytes[2] & 7);
    NodeId::from_bytes(bytes)
}

/// Whether a node at `ip` may have `id`: always for addresses of local networks, else when the
/// prefix is the right one.
pub fn is_valid(ip: IpAddr, id: &NodeId) -> bool {
    is_exempt(ip) || has_prefix(ip, id)
}

/// Whether `id` has the prefix that belongs to `ip`, local or not.
pub fn has_prefix(ip: IpAddr, id: &NodeId) -> bool {
    let [a, b, c, .., last] = *id.as_bytes();
    (u32::from_be_bytes([a, b, c, 0]) ^ prefix(ip, last)) >> (32 - PREFIX_BITS) == 0
}

/// Whether `ip` belongs to a local network, whose nodes may have any id.
pub fn is_exempt(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// The checksum whose high bits are the prefix.
fn prefix(ip: IpAddr, r: u8) -> u32 {
    let r = r & 7;
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let mut masked = (u32::from(ip) & 0x030f_3fff).to_be_bytes();
            masked[0] |= r << 5;
            crc32c(&masked)
        }
        IpAddr::V6(ip) => {
            // Only the /64 counts.
            let high = (u128::from(ip) >> 64) as u64;
            let mut masked = (high & 0x0103_070f_1f3f_7fff).to_be_bytes();
            masked[0] |= r << 5;
            crc32c(&masked)
        }
    }
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| (crc >> 8) ^ CRC32C[usize::from(crc as u8 ^ byte)])
}

/// CRC-32 with Castagnoli's polynomial, bits reversed.
const CRC32C: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn the_checksum_is_crc32c() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b""), 0);
    }

    /// The table of BEP 42.
    #[test]
    fn the_ids_of_the_specification_are_valid() {
        for (ip, id) in [
            ("124.31.75.21", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"),
            ("21.75.31.124", "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256"),
            ("65.23.51.170", "a5d43220bc8f112a3d426c84764f8c2a1150e616"),
            ("84.124.73.14", "1b0321dd1bb1fe518101ceef99462b947a01ff41"),
            ("43.213.53.83", "e56f6cbf5b7c4be0237986d5243b87aa6d51305a"),
        ] {
            let (ip, id) = (ip.parse().unwrap(), id.parse().unwrap());
            assert!(is_valid(ip, &id), "{ip}");
            assert_eq!(with_prefix(ip, &id), id);
            let mut moved = *id.as_bytes();
            moved[2] ^= 0x08;
            assert!(!is_valid(ip, &NodeId::from_bytes(moved)), "bit 21 belongs to the prefix");
            moved[2] ^= 0x0c;
            assert!(is_valid(ip, &NodeId::from_bytes(moved)), "bit 22 is free");
        }
    }

    #[test]
    fn an_ipv6_address_gives_the_id_that_was_measured() {
        let ip = "2001:b829:2123:be84:e16c:d6ae:5290:49f1".parse().unwrap();
        let id: NodeId = "0a8ad123be84e16cd6ae529049f1f1bbe9ebb304".parse().unwrap();
        assert!(is_valid(ip, &id));
        assert_eq!(with_prefix(ip, &id), id);
        let elsewhere = "2001:b829:2123:be85::1".parse().unwrap();
        assert!(!is_valid(elsewhere, &id));
    }

    #[test]
    fn only_the_low_three_bits_of_the_last_byte_choose_the_prefix() {
        let ip = "84.124.73.14".parse().unwrap();
        let mut rng = StdRng::from_seed([2; 32]);
        let mut prefixes = std::collections::BTreeSet::new();
        for r in 0..=255 {
            let id = node_id(ip, r, &mut rng);
            assert_eq!(id.as_bytes()[19] & 7, r & 7);
            assert!(is_valid(ip, &id));
            let mut other_high_bits = *id.as_bytes();
            other_high_bits[19] ^= 0xf8;
            assert!(is_valid(ip, &NodeId::from_bytes(other_high_bits)));
            prefixes.insert(id.as_bytes()[..2].to_vec());
        }
        assert_eq!(prefixes.len(), usize::from(PREFIXES));
    }

    #[test]
    fn local_addresses_may_have_any_id() {
        let id = NodeId::from_bytes([9; 20]);
        for ip in [
            "127.3.2.1",
            "10.0.0.1",
            "192.168.1.1",
            "172.16.0.9",
            "169.254.1.1",
            "::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_valid(ip.parse().unwrap(), &id), "{ip}");
        }
        assert!(!is_valid("8.8.8.8".parse().unwrap(), &id));
        assert!(!has_prefix("127.0.0.1".parse().unwrap(), &id));
    }
}
