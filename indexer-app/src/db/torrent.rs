//! A torrent on its way into the database.

use std::{fmt, time::SystemTime};

use krpc::InfoHash;

use super::ObservedSwarm;

/// The hashes that name a torrent: at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hashes {
    /// SHA-1 of the info dict (BEP 3).
    V1(InfoHash),
    /// SHA-256 of the info dict (BEP 52).
    V2([u8; 32]),
    /// Both: one torrent under two keys of the DHT.
    Hybrid {
        /// SHA-1.
        v1: InfoHash,
        /// SHA-256.
        v2: [u8; 32],
    },
}

impl Hashes {
    /// From what an info dict has; `None` when it has neither.
    pub fn new(v1: Option<InfoHash>, v2: Option<[u8; 32]>) -> Option<Self> {
        match (v1, v2) {
            (Some(v1), Some(v2)) => Some(Self::Hybrid { v1, v2 }),
            (Some(v1), None) => Some(Self::V1(v1)),
            (None, Some(v2)) => Some(Self::V2(v2)),
            (None, None) => None,
        }
    }

    /// As stored: the key, and the v2 hash beside it. The v1 hash is the key unless the key is the truncated v2 hash.
    pub fn from_stored(info_hash: InfoHash, v2: Option<[u8; 32]>) -> Self {
        match v2 {
            None => Self::V1(info_hash),
            Some(v2) if truncated(&v2) == info_hash => Self::V2(v2),
            Some(v2) => Self::Hybrid { v1: info_hash, v2 },
        }
    }

    /// The key that the torrent is stored under: v1 if there is one, else the truncated v2.
    pub fn canonical(&self) -> InfoHash {
        match self {
            Self::V1(v1) | Self::Hybrid { v1, .. } => *v1,
            Self::V2(v2) => truncated(v2),
        }
    }

    /// The other key by which the DHT knows it: of a hybrid the truncated v2 hash.
    pub fn alias(&self) -> Option<InfoHash> {
        match self {
            Self::Hybrid { v2, .. } => Some(truncated(v2)),
            Self::V1(_) | Self::V2(_) => None,
        }
    }

    /// The SHA-1, if there is one.
    pub fn v1(&self) -> Option<InfoHash> {
        match self {
            Self::V1(v1) | Self::Hybrid { v1, .. } => Some(*v1),
            Self::V2(_) => None,
        }
    }

    /// The SHA-256, if there is one.
    pub fn v2(&self) -> Option<[u8; 32]> {
        match self {
            Self::V2(v2) | Self::Hybrid { v2, .. } => Some(*v2),
            Self::V1(_) => None,
        }
    }
}

/// The first 20 bytes of a SHA-256: how the DHT knows a v2 torrent.
fn truncated(v2: &[u8; 32]) -> InfoHash {
    let mut key = [0; 20];
    key.copy_from_slice(&v2[..20]);
    InfoHash::from_bytes(key)
}

/// How we came to know of an info-hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Discovery {
    /// A node returned it as a sample (BEP 51).
    Sampled,
    /// Somebody asked us for its peers.
    Overheard,
    /// A peer announced itself to us.
    Announced,
    /// A user asked for it.
    Requested,
    /// It came from another indexer's database, which does not say how it came to know of it.
    Imported,
}

impl Discovery {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Sampled, Self::Overheard, Self::Announced, Self::Requested, Self::Imported];

    /// Those by which a hash comes before its torrent is known.
    pub const OF_HASHES: [Self; 4] = [Self::Sampled, Self::Overheard, Self::Announced, Self::Requested];

    /// Its word in exports and statistics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sampled => "sampled",
            Self::Overheard => "overheard",
            Self::Announced => "announced",
            Self::Requested => "requested",
            Self::Imported => "imported",
        }
    }

    pub(super) fn code(self) -> i16 {
        match self {
            Self::Sampled => 1,
            Self::Overheard => 2,
            Self::Announced => 3,
            Self::Requested => 4,
            Self::Imported => 5,
        }
    }

    /// A code that this program does not know reads as the most common way.
    pub(super) fn from_code(code: i16) -> Self {
        match code {
            2 => Self::Overheard,
            3 => Self::Announced,
            4 => Self::Requested,
            5 => Self::Imported,
            _ => Self::Sampled,
        }
    }
}

impl fmt::Display for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which of a torrent's files are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listing {
    /// All of them.
    #[default]
    Whole,
    /// Some, or none: indexers exist that drop long lists.
    Partial {
        /// How many files there are as far as is known; when fewer than are listed, those count.
        files: u32,
    },
}

/// What was observed of a torrent before it came here, by whoever it is imported from. What is `None` was not told.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct History {
    /// When it was first stored; `None`: now.
    pub added_at: Option<SystemTime>,
    /// When it was last seen; `None`: now, as being imported is a sign of interest.
    pub last_seen: Option<SystemTime>,
    /// How often it was seen.
    pub seen_count: Option<u64>,
    /// The score, finite and not negative, and when it weighed so much.
    pub score: Option<(f64, SystemTime)>,
    /// The size of its swarm.
    pub swarm: Option<ObservedSwarm>,
}

/// A torrent that is to be stored: verified, or from somebody who is believed to have verified it.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTorrent {
    /// What it is called by.
    pub hashes: Hashes,
    /// Its name as text. NUL, which the database cannot hold, is stored as U+FFFD.
    pub name: String,
    /// The name's bytes, when decoding them lost something.
    pub name_raw: Option<Vec<u8>>,
    /// Bytes in all files; more than `i64::MAX` is refused.
    pub total_size: u64,
    /// Path components and length in bytes of each file, padding left out.
    pub files: Vec<(Vec<String>, u64)>,
    /// Whether these are all.
    pub listing: Listing,
    /// Bytes in a piece; `None`: not known.
    pub piece_length: Option<u64>,
    /// Number of pieces; `None`: not known.
    pub piece_count: Option<u32>,
    /// BEP 27: only its own trackers may be asked for peers; `None`: not known.
    pub private: Option<bool>,
    /// `source` of the info dict.
    pub source: Option<String>,
    /// How we came to know of it.
    pub discovered_by: Discovery,
    /// What others have observed of it.
    pub history: History,
}

impl NewTorrent {
    /// How many files it has, as far as is known.
    pub fn file_count(&self) -> u32 {
        let listed = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        match self.listing {
            Listing::Whole => listed,
            Listing::Partial { files } => files.max(listed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_is_stored_under_its_v1_hash_and_known_by_its_truncated_v2_hash_too() {
        let v1 = InfoHash::from_bytes([1; 20]);
        let hybrid = Hashes::new(Some(v1), Some([2; 32])).unwrap();
        assert_eq!(hybrid.canonical(), v1);
        assert_eq!(hybrid.alias(), Some(InfoHash::from_bytes([2; 20])));
        assert_eq!(Hashes::from_stored(v1, Some([2; 32])), hybrid);
    }

    #[test]
    fn a_v2_torrent_is_stored_under_its_truncated_hash_and_has_no_v1_hash() {
        let v2 = Hashes::new(None, Some([2; 32])).unwrap();
        assert_eq!(v2.canonical(), InfoHash::from_bytes([2; 20]));
        assert_eq!((v2.alias(), v2.v1(), v2.v2()), (None, None, Some([2; 32])));
        assert_eq!(Hashes::from_stored(v2.canonical(), Some([2; 32])), v2);
        assert_eq!(Hashes::new(None, None), None);
    }

    #[test]
    fn each_way_of_discovery_has_its_own_code() {
        for way in [Discovery::Sampled, Discovery::Overheard, Discovery::Announced, Discovery::Requested] {
            assert_eq!(Discovery::from_code(way.code()), way);
        }
    }
}
