//! Which program a node runs: the `v` of its messages (BEP 5 calls it optional, most send it).

use std::fmt;

/// Four bytes: two letters for the program, two bytes for its version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientVersion([u8; 4]);

impl ClientVersion {
    /// Wraps the four bytes of `v`.
    #[inline]
    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// The four bytes of `v`.
    #[inline]
    pub const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }

    /// The two letters that name the program.
    #[inline]
    pub const fn client(&self) -> [u8; 2] {
        [self.0[0], self.0[1]]
    }

    /// The program's name, when its letters are known.
    pub fn name(&self) -> Option<&'static str> {
        NAMES.iter().find(|(letters, _)| *letters == self.client()).map(|(_, name)| *name)
    }

    /// Whether this is the rTorrent 0.9.8 (libTorrent 0.13.8) that writes the ports of `values` in
    /// the wrong byte order: the swapped port is worth a try. Measured.
    #[inline]
    pub const fn swaps_ports(&self) -> bool {
        matches!(self.0, [b'l', b't', 0x0d, 0x80])
    }

    /// The version as people write it. Each program packs it in its own way; a program that is
    /// not known shows its two bytes as numbers.
    fn version(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [_, _, high, low] = self.0;
        match &self.client() {
            // A byte and two nibbles: 0x0211 is 2.1.1.
            b"LT" => write!(f, "{high}.{}.{}", low >> 4, low & 15),
            // The same behind a zero that is not sent: 0x0d80 is 0.13.8.
            b"lt" => write!(f, "0.{high}.{}", low >> 4),
            // The build number.
            b"UT" => write!(f, "build {}", u16::from_be_bytes([high, low])),
            _ => write!(f, "{high}.{low}"),
        }
    }
}

impl fmt::Display for ClientVersion {
    /// Letters and version, as `LT 2.1.1`; bytes that are no printable letters show as `\xNN`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.client().escape_ascii())?;
        self.version(f)
    }
}

impl fmt::Debug for ClientVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Programs by their letters: BEP 20's list where the DHT uses the same letters, and what was seen
/// on the wire.
const NAMES: &[([u8; 2], &str)] = &[
    (*b"LT", "libtorrent"),
    (*b"lt", "rTorrent"),
    (*b"UT", "uTorrent"),
    (*b"TR", "Transmission"),
    (*b"ML", "mldht"),
    (*b"AZ", "Vuze"),
    (*b"BI", "BiglyBT"),
    (*b"BC", "BitComet"),
    (*b"A2", "aria2"),
    (*b"WW", "WebTorrent"),
    (*b"WD", "WebTorrent Desktop"),
    (*b"RS", "mainline (Rust)"),
    (*b"RQ", "rqbit"),
    (*b"KT", "KTorrent"),
    (*b"MO", "MonoTorrent"),
    (*b"XL", "Xunlei"),
    (*b"SP", "BitSpirit"),
    (*b"DE", "Deluge"),
    (*b"qB", "qBittorrent"),
    (*b"NT", "NTorrent"),
    (*b"GT", "anacrolix/torrent"),
    (*b"JC", "jech"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_named_and_their_versions_written() {
        for (bytes, text, name) in [
            (*b"LT\x02\x11", "LT 2.1.1", Some("libtorrent")),
            (*b"lt\x0d\x80", "lt 0.13.8", Some("rTorrent")),
            (*b"UT\xb5\x2d", "UT build 46381", Some("uTorrent")),
            (*b"A2\x00\x03", "A2 0.3", Some("aria2")),
            (*b"RS\x00\x05", "RS 0.5", Some("mainline (Rust)")),
            (*b"\x00~\x07\x08", "\\x00~ 7.8", None),
        ] {
            let version = ClientVersion::from_bytes(bytes);
            assert_eq!(version.to_string(), text);
            assert_eq!(version.name(), name);
        }
    }

    #[test]
    fn only_the_rtorrent_that_was_measured_swaps_ports() {
        assert!(ClientVersion::from_bytes(*b"lt\x0d\x80").swaps_ports());
        assert!(!ClientVersion::from_bytes(*b"lt\x0d\x90").swaps_ports());
        assert!(!ClientVersion::from_bytes(*b"LT\x0d\x80").swaps_ports());
    }
}
