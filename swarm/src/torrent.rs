//! The torrents of the swarm: what an indexer should find out about each, made anew whenever it is asked for.

use krpc::InfoHash;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use crate::chance::{Topic, draw};
use crate::{info_dict, titles};

/// One torrent as a correct indexer must report it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torrent {
    /// Its number in the swarm, from 0.
    pub index: u32,
    /// SHA-1 of the info dict, unless the torrent is v2 only.
    pub v1: Option<InfoHash>,
    /// SHA-256 of the info dict, unless the torrent is v1 only.
    pub v2: Option<[u8; 32]>,
    /// Name, UTF-8.
    pub name: String,
    /// Files in the order of the info dict, without padding. A single file's path is its name.
    pub files: Vec<File>,
    /// Bytes of content, without padding.
    pub total_size: u64,
    /// Bytes of a piece.
    pub piece_length: u32,
    /// Bytes of the info dict.
    pub info_bytes: usize,
}

impl Torrent {
    /// The keys under which it is announced: the v1 hash, and the first 20 bytes of the v2 hash (BEP 52).
    pub fn dht_keys(&self) -> impl Iterator<Item = InfoHash> + use<> {
        self.v1.into_iter().chain(self.v2.as_ref().map(truncated))
    }
}

/// One file of a torrent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct File {
    /// Path components, UTF-8.
    pub path: Vec<String>,
    /// Bytes.
    pub length: u64,
}

/// Which generations of the protocol a torrent is for (BEP 52).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
    Hybrid,
}

/// What a torrent is made from before it is written as an info dict.
#[derive(Clone, Debug)]
pub(crate) struct Outline {
    pub(crate) version: Version,
    pub(crate) name: String,
    /// Paths below the name; one path equal to the name is a single file.
    pub(crate) files: Vec<File>,
    pub(crate) piece_length: u32,
    /// Where its piece hashes come from.
    pub(crate) seed: u64,
}

impl Outline {
    /// Torrent `index` of the swarm with this seed.
    pub(crate) fn new(swarm_seed: u64, index: u32) -> Self {
        let seed = draw(swarm_seed, Topic::TorrentSeed, u64::from(index), 0);
        let release = titles::release(seed);
        // v2 is still rare; the shares are chosen so that a small swarm has some of each.
        let version = match seed % 100 {
            0..8 => Version::Hybrid,
            8..12 => Version::V2,
            _ => Version::V1,
        };
        let mut files = release.files;
        if version != Version::V1 {
            // BEP 52: the order of files is that of the tree, by the bytes of the names.
            files.sort();
        }
        let total: u64 = files.iter().map(|file| file.length).sum();
        Self { version, name: release.name, files, piece_length: piece_length(total, seed), seed }
    }

    pub(crate) fn is_single_file(&self) -> bool {
        matches!(&self.files[..], [file] if file.path.len() == 1 && file.path[0] == self.name)
    }
}

/// A piece length as creators choose it: some hundreds of pieces, a power of two from 16 KiB to 16 MiB.
fn piece_length(total: u64, seed: u64) -> u32 {
    let pieces_wanted = 150 << (seed >> 32 & 1);
    (total / pieces_wanted).next_power_of_two().clamp(1 << 14, 1 << 24) as u32
}

/// Torrent `index` of the swarm with this seed, and its info dict.
pub(crate) fn generate(swarm_seed: u64, index: u32) -> (Torrent, Vec<u8>) {
    let outline = Outline::new(swarm_seed, index);
    let raw = info_dict::write(&outline);
    let v1 = (outline.version != Version::V2).then(|| InfoHash::from_bytes(Sha1::digest(&raw).into()));
    let v2 = (outline.version != Version::V1).then(|| Sha256::digest(&raw).into());
    let torrent = Torrent {
        index,
        v1,
        v2,
        total_size: outline.files.iter().map(|file| file.length).sum(),
        name: outline.name,
        files: outline.files,
        piece_length: outline.piece_length,
        info_bytes: raw.len(),
    };
    (torrent, raw)
}

fn truncated(v2: &[u8; 32]) -> InfoHash {
    let mut key = [0; 20];
    key.copy_from_slice(&v2[..20]);
    InfoHash::from_bytes(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torrent_is_the_same_whenever_it_is_made() {
        assert_eq!(generate(1, 17), generate(1, 17));
        assert_ne!(generate(1, 17), generate(1, 18));
        assert_ne!(generate(1, 17), generate(2, 17));
    }

    #[test]
    fn torrents_look_like_those_of_the_world() {
        let torrents: Vec<_> = (0..2_000).map(|index| generate(3, index).0).collect();
        let files: usize = torrents.iter().map(|t| t.files.len()).sum();
        assert!((8..14).contains(&(files / torrents.len())), "{} files a torrent", files / torrents.len());
        assert!(torrents.iter().any(|t| t.files.len() >= 200));
        let hybrids = torrents.iter().filter(|t| t.v1.is_some() && t.v2.is_some()).count();
        let v2_only = torrents.iter().filter(|t| t.v1.is_none()).count();
        assert!((120..200).contains(&hybrids) && (50..120).contains(&v2_only), "{hybrids} {v2_only}");
        let several_pieces = torrents.iter().filter(|t| t.info_bytes > 16_384).count();
        assert!(several_pieces > 100, "only {several_pieces} info dicts take more than one metadata piece");
        let mean = torrents.iter().map(|t| t.info_bytes).sum::<usize>() / torrents.len();
        assert!((3_000..12_000).contains(&mean), "info dicts of {mean} bytes on average");
        for torrent in &torrents {
            assert_eq!(torrent.total_size, torrent.files.iter().map(|f| f.length).sum::<u64>());
            assert!(torrent.dht_keys().count() >= 1);
        }
    }

    #[test]
    fn every_script_occurs_in_names() {
        let names: String = (0..3_000).map(|index| Outline::new(3, index).name).collect();
        for (script, first, last) in [
            ("Latin", 'a', 'z'),
            ("Cyrillic", 'а', 'я'),
            ("Arabic", 'ا', 'ي'),
            ("Devanagari", 'अ', 'ह'),
            ("Han", '一', '鿿'),
            ("Hiragana or Katakana", 'ぁ', 'ヿ'),
            ("Hangul", '가', '힣'),
            ("Greek", 'α', 'ω'),
            ("Hebrew", 'א', 'ת'),
            ("emoji", '🌀', '🫿'),
        ] {
            assert!(names.chars().any(|c| (first..=last).contains(&c)), "no {script} name");
        }
    }

    #[test]
    fn no_two_files_of_a_torrent_share_a_path() {
        for index in 0..1_000 {
            let outline = Outline::new(9, index);
            let paths: std::collections::HashSet<_> = outline.files.iter().map(|f| &f.path).collect();
            assert_eq!(paths.len(), outline.files.len(), "{}", outline.name);
        }
    }
}
