//! What was put into the swarm and what came out of `export`, in a form that can be compared.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use serde::Deserialize;
use swarm::Swarm;

/// A line of `indexer export`, and what `show --json` says too.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Torrent {
    pub(crate) v1: Option<String>,
    pub(crate) v2: Option<String>,
    pub(crate) name: String,
    pub(crate) total_size: u64,
    pub(crate) file_count: u64,
    pub(crate) piece_length: u64,
    pub(crate) private: bool,
    pub(crate) files: Vec<FileEntry>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct FileEntry {
    pub(crate) path: Vec<String>,
    pub(crate) length: u64,
}

/// Both hashes of a torrent; one of them may be missing.
pub(crate) type Hashes = (Option<String>, Option<String>);

impl Torrent {
    /// What a correct indexer says of a torrent of the swarm.
    pub(crate) fn expected(torrent: &swarm::Torrent) -> Self {
        let hex = |bytes: &[u8; 32]| {
            bytes.iter().fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").unwrap();
                text
            })
        };
        Self {
            v1: torrent.v1.map(|hash| hash.to_string()),
            v2: torrent.v2.as_ref().map(hex),
            name: torrent.name.clone(),
            total_size: torrent.total_size,
            file_count: torrent.files.len() as u64,
            piece_length: u64::from(torrent.piece_length),
            private: false,
            files: torrent
                .files
                .iter()
                .map(|file| FileEntry { path: file.path.clone(), length: file.length })
                .collect(),
        }
    }

    pub(crate) fn hashes(&self) -> Hashes {
        (self.v1.clone(), self.v2.clone())
    }

    /// The longest of its words in a script that needs no thought: letters and digits of ASCII between others.
    pub(crate) fn word(&self) -> Option<&str> {
        let words = self.name.split(|c: char| !c.is_alphanumeric());
        words.filter(|word| word.is_ascii() && word.len() >= 4).max_by_key(|word| word.len())
    }
}

/// An export.
#[derive(Clone, Debug, Default)]
pub(crate) struct Export {
    pub(crate) torrents: Vec<Torrent>,
    /// When each was stored.
    pub(crate) added: Vec<SystemTime>,
}

impl Export {
    pub(crate) fn parse(text: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Line {
            #[serde(flatten)]
            torrent: Torrent,
            added_at: String,
        }
        let mut export = Self::default();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line: Line = serde_json::from_slice(line).unwrap();
            export.torrents.push(line.torrent);
            export.added.push(humantime::parse_rfc3339(&line.added_at).unwrap());
        }
        export
    }

    pub(crate) fn len(&self) -> usize {
        self.torrents.len()
    }

    /// The torrent that was stored last, and when.
    pub(crate) fn newest(&self) -> Option<(&Torrent, SystemTime)> {
        let newest = self.torrents.iter().zip(&self.added).max_by_key(|(_, added)| **added)?;
        Some((newest.0, *newest.1))
    }

    fn by_hashes(&self) -> BTreeMap<Hashes, &Torrent> {
        self.torrents.iter().map(|torrent| (torrent.hashes(), torrent)).collect()
    }

    /// That it holds each torrent of the swarm once, equal in all that can be said of it, and nothing else.
    pub(crate) fn assert_is_all_of(&self, swarm: &Swarm) {
        let found = self.by_hashes();
        assert_eq!(found.len(), self.len(), "a torrent came out twice");
        for torrent in swarm.torrents() {
            let expected = Torrent::expected(&torrent);
            assert_eq!(found.get(&expected.hashes()), Some(&&expected), "torrent {}", torrent.index);
        }
        assert_eq!(found.len(), swarm.torrent_count(), "torrents came out that nobody seeds");
    }

    /// That all of `earlier` is still there, as it was.
    pub(crate) fn assert_contains(&self, earlier: &Self) {
        let found = self.by_hashes();
        for torrent in &earlier.torrents {
            assert_eq!(found.get(&torrent.hashes()), Some(&torrent), "it was there before");
        }
    }
}

/// How long ago it was; nothing for a moment to come, as clocks may differ in a hair.
pub(crate) fn age(at: SystemTime) -> Duration {
    SystemTime::now().duration_since(at).unwrap_or_default()
}
