//! A torrent as an indexer sees it: names, files, sizes, hashes.

use krpc::InfoHash;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

/// What an info dict says. Made by [`Torrent::parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torrent {
    /// The name as text. Faithful: empty, overlong, with control or direction-changing characters if the torrent has
    /// them so (see [`display_safe`](crate::display_safe())); only NUL and bytes that no encoding explains are
    /// replaced, by U+FFFD.
    pub name: String,
    /// The bytes of `name`, when the text is a guess at their encoding or has replacements in it.
    pub name_raw: Option<Vec<u8>>,
    /// The files in the torrent's order, without padding. A torrent of one file has one with the path `[name]`.
    pub files: Vec<File>,
    /// Sum of the files' lengths in bytes; at most `i64::MAX`.
    pub total_size: u64,
    /// Bytes in a piece, from 1 to `i64::MAX`.
    pub piece_length: u64,
    /// How many pieces the content has.
    pub piece_count: u64,
    /// Whether peers are to come from trackers only (BEP 27).
    pub private: bool,
    /// Where it was made for (`source`), if it says so in at most [`SOURCE_BYTES_MAX`](crate::SOURCE_BYTES_MAX) bytes.
    pub source: Option<String>,
    /// Which kinds of hash it has.
    pub version: Version,
    /// SHA-1 of the info dict, for v1 and hybrid.
    pub v1: Option<InfoHash>,
    /// SHA-256 of the info dict, for v2 and hybrid.
    pub v2: Option<[u8; 32]>,
    /// What is unusual about it.
    pub oddities: TorrentOddities,
}

impl Torrent {
    /// How many files it has, padding not counted.
    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    /// The keys under which it is found in the DHT: the v1 hash, and the v2 hash cut to 20 bytes (BEP 52).
    pub fn dht_keys(&self) -> impl Iterator<Item = InfoHash> {
        let truncated = self.v2.and_then(|hash| InfoHash::try_from(&hash[..InfoHash::LEN]).ok());
        self.v1.into_iter().chain(truncated)
    }
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The components of its path below the torrent's name; faithful as [`Torrent::name`] is, so `..`, empty
    /// components and duplicates occur. Never used as a path of this machine.
    pub path: Vec<String>,
    /// In bytes.
    pub length: u64,
}

/// Which specification the info dict follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// BEP 3 only.
    V1,
    /// BEP 52 only.
    V2,
    /// Both: one torrent under two keys.
    Hybrid,
}

impl Version {
    /// Whether it has a v1 hash.
    pub const fn has_v1(self) -> bool {
        matches!(self, Self::V1 | Self::Hybrid)
    }

    /// Whether it has a v2 hash.
    pub const fn has_v2(self) -> bool {
        matches!(self, Self::V2 | Self::Hybrid)
    }
}

/// The info-hashes of an info dict, over its bytes exactly as received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashes {
    /// SHA-1, for v1 and hybrid.
    pub v1: Option<InfoHash>,
    /// SHA-256, for v2 and hybrid.
    pub v2: Option<[u8; 32]>,
}

impl Hashes {
    /// Hashes `raw` as its version asks.
    pub fn of(raw: &[u8], version: Version) -> Self {
        Self {
            v1: version.has_v1().then(|| InfoHash::from_bytes(Sha1::digest(raw).into())),
            v2: version.has_v2().then(|| Sha256::digest(raw).into()),
        }
    }
}

/// What is unusual about a torrent, though it can be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TorrentOddities {
    /// `name` is missing; the name is then empty.
    pub name_missing: bool,
    /// The name or a path is not UTF-8, and no encoding was declared that explains it: the text is a guess.
    pub encoding_guessed: bool,
    /// A name or path has characters in the place of NUL or of bytes that no encoding explains.
    pub characters_replaced: bool,
    /// The v1 and v2 lists of files in a hybrid are not the same; the v2 list is taken.
    pub lists_disagree: bool,
}
