//! What was seeded and what was exported, in a form that can be compared.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

/// One torrent, as `swarm.py` writes it and as `indexer export` does; further fields are of no interest here.
#[derive(Clone, Debug, Deserialize)]
pub struct Torrent {
    /// What is special about it; only on the seeders' side.
    #[serde(default)]
    pub kind: String,
    pub v1: Option<String>,
    pub v2: Option<String>,
    pub name: String,
    pub files: Vec<FileEntry>,
    pub piece_length: u64,
    pub private: bool,
    /// Only on the indexer's side.
    #[serde(default)]
    pub total_size: u64,
    #[serde(default)]
    pub file_count: u64,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct FileEntry {
    pub path: Vec<String>,
    pub length: u64,
}

type Hashes = (Option<String>, Option<String>);

impl Torrent {
    fn hashes(&self) -> Hashes {
        (self.v1.clone(), self.v2.clone())
    }

    /// How an exported torrent differs from this one.
    fn difference(&self, exported: &Torrent) -> Option<String> {
        let total: u64 = self.files.iter().map(|file| file.length).sum();
        if exported.name != self.name {
            Some(format!("its name came out as {:?} instead of {:?}", exported.name, self.name))
        } else if exported.files.len() != self.files.len() {
            Some(format!("it came out with {} files instead of {}", exported.files.len(), self.files.len()))
        } else if let Some((truth, file)) = self.files.iter().zip(&exported.files).find(|(a, b)| a != b) {
            Some(format!("a file came out as {file:?} instead of {truth:?}"))
        } else if exported.total_size != total || exported.file_count != self.files.len() as u64 {
            Some(format!(
                "its totals came out as {} bytes in {} files",
                exported.total_size, exported.file_count
            ))
        } else if exported.piece_length != self.piece_length || exported.private != self.private {
            Some(format!("piece length {} and private {} are wrong", exported.piece_length, exported.private))
        } else {
            None
        }
    }
}

/// What is wrong with an export, a line each; empty when every public torrent is there as it was seeded, and nothing
/// else is.
pub fn differences(seeded: &[Torrent], exported: &[Torrent]) -> String {
    let mut rest: BTreeMap<Hashes, Vec<&Torrent>> = BTreeMap::new();
    for torrent in exported {
        rest.entry(torrent.hashes()).or_default().push(torrent);
    }
    let mut report = String::new();
    for truth in seeded {
        let (v1, v2) = truth.hashes();
        let problem = match rest.remove(&(v1.clone(), v2.clone())).as_deref() {
            None if truth.private => continue,
            None => "it is not there".to_owned(),
            Some(_) if truth.private => "it is private and must not be there".to_owned(),
            Some([once]) => match truth.difference(once) {
                None => continue,
                Some(difference) => difference,
            },
            Some(more) => format!("it is there {} times", more.len()),
        };
        let hash = v1.or(v2).unwrap_or_default();
        writeln!(report, "- {} ({hash}, {:?}): {problem}", truth.kind, shortened(&truth.name)).unwrap();
    }
    for (hashes, torrents) in rest {
        let name = shortened(&torrents[0].name);
        writeln!(report, "- {name:?} came out with hashes {hashes:?}, which nobody seeds").unwrap();
    }
    report
}

fn shortened(name: &str) -> String {
    name.chars().take(60).collect()
}

mod tests {
    use super::*;

    fn torrent(hash: &str, name: &str) -> Torrent {
        Torrent {
            kind: "some kind".into(),
            v1: Some(hash.into()),
            v2: None,
            name: name.into(),
            files: vec![FileEntry { path: vec!["a".into()], length: 5 }],
            piece_length: 16_384,
            private: false,
            total_size: 5,
            file_count: 1,
        }
    }

    #[test]
    fn equal_exports_differ_in_nothing() {
        let private = Torrent { private: true, ..torrent("01", "hidden") };
        assert_eq!(differences(&[torrent("00", "n"), private], &[torrent("00", "n")]), "");
    }

    #[test]
    fn every_difference_is_reported() {
        let truth = torrent("00", "n");
        let private = Torrent { private: true, ..truth.clone() };
        let longer = vec![FileEntry { path: vec!["a".into()], length: 6 }];
        for (seeded, exported, said) in [
            (&truth, vec![], "it is not there"),
            (&truth, vec![truth.clone(), truth.clone()], "it is there 2 times"),
            (&private, vec![truth.clone()], "it is private and must not be there"),
            (&truth, vec![torrent("00", "m")], "its name came out as \"m\" instead of \"n\""),
            (
                &truth,
                vec![Torrent { files: vec![], ..truth.clone() }],
                "it came out with 0 files instead of 1",
            ),
            (&truth, vec![Torrent { files: longer, ..truth.clone() }], "a file came out as"),
            (
                &truth,
                vec![Torrent { total_size: 6, ..truth.clone() }],
                "its totals came out as 6 bytes in 1 files",
            ),
            (
                &truth,
                vec![Torrent { piece_length: 1, ..truth.clone() }],
                "piece length 1 and private false are wrong",
            ),
            (&truth, vec![truth.clone(), torrent("02", "alien")], "which nobody seeds"),
        ] {
            let report = differences(std::slice::from_ref(seeded), &exported);
            assert!(report.contains(said) && report.lines().count() == 1, "{said}: {report}");
        }
    }
}
