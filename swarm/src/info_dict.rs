//! Writing info dicts: BEP 3, BEP 47 padding and BEP 52 file trees, through `bendy`, which refuses keys out of order.
//!
//! There is no content behind them: piece hashes and tree roots are arbitrary bytes. The info-hash is real.

use bendy::encoding::{Encoder, Error, SingleItemEncoder};

use crate::chance::{Topic, draw_bytes};
use crate::torrent::{File, Outline, Version};

/// The info dict of `outline`.
#[expect(
    clippy::expect_used,
    reason = "only keys out of order fail, and neither keys nor files come from outside"
)]
pub(crate) fn write(outline: &Outline) -> Vec<u8> {
    let mut encoder = Encoder::new();
    encoder.emit_with(|item| emit(outline, item)).expect("keys are in order");
    encoder.get_output().expect("every container was closed")
}

fn emit(outline: &Outline, item: SingleItemEncoder<'_>) -> Result<(), Error> {
    let layout = Layout::of(outline);
    let piece_length = u64::from(outline.piece_length);
    item.emit_dict(|mut dict| {
        if outline.version != Version::V1 {
            let tree = Numbered::all(&outline.files);
            dict.emit_pair_with(b"file tree", |item| emit_tree(outline.seed, &tree, 0, item))?;
        }
        if outline.version != Version::V2 && !outline.is_single_file() {
            dict.emit_pair_with(b"files", |item| emit_file_list(&layout, item))?;
        }
        if outline.version != Version::V2 && outline.is_single_file() {
            dict.emit_pair(b"length", outline.files[0].length)?;
        }
        if outline.version != Version::V1 {
            dict.emit_pair(b"meta version", 2)?;
        }
        dict.emit_pair(b"name", &outline.name)?;
        dict.emit_pair(b"piece length", piece_length)?;
        if outline.version != Version::V2 {
            let pieces = layout.bytes.div_ceil(piece_length) as usize;
            let hashes = draw_bytes(outline.seed, Topic::Pieces, 0, 0, 20 * pieces);
            dict.emit_pair_with(b"pieces", |item| item.emit_bytes(&hashes))?;
        }
        Ok(())
    })
}

/// Files as the v1 list has them: with padding in hybrids.
struct Layout<'a> {
    entries: Vec<Entry<'a>>,
    /// Bytes of all entries.
    bytes: u64,
}

enum Entry<'a> {
    Content(&'a File),
    Padding(u64),
}

impl<'a> Layout<'a> {
    fn of(outline: &'a Outline) -> Self {
        let mut layout = Self { entries: Vec::with_capacity(outline.files.len()), bytes: 0 };
        let piece_length = u64::from(outline.piece_length);
        for file in &outline.files {
            let gap = layout.bytes.next_multiple_of(piece_length) - layout.bytes;
            if outline.version == Version::Hybrid && gap != 0 && file.length != 0 {
                layout.entries.push(Entry::Padding(gap));
                layout.bytes += gap;
            }
            layout.entries.push(Entry::Content(file));
            layout.bytes += file.length;
        }
        layout
    }
}

fn emit_file_list(layout: &Layout<'_>, item: SingleItemEncoder<'_>) -> Result<(), Error> {
    item.emit_list(|list| {
        for entry in &layout.entries {
            list.emit_with(|item| {
                item.emit_dict(|mut dict| match entry {
                    Entry::Content(file) => {
                        dict.emit_pair(b"length", file.length)?;
                        dict.emit_pair(b"path", &file.path)
                    }
                    Entry::Padding(bytes) => {
                        dict.emit_pair(b"attr", "p")?;
                        dict.emit_pair(b"length", *bytes)?;
                        dict.emit_pair(b"path", vec![".pad".to_owned(), bytes.to_string()])
                    }
                })
            })?;
        }
        Ok(())
    })
}

/// A file with its number in the torrent, which its tree root is drawn from.
struct Numbered<'a> {
    file: &'a File,
    number: u64,
}

impl<'a> Numbered<'a> {
    fn all(files: &'a [File]) -> Vec<Self> {
        files.iter().enumerate().map(|(number, file)| Self { file, number: number as u64 }).collect()
    }
}

/// Files that share their first `depth` path components, sorted, as a directory of the tree.
fn emit_tree(
    seed: u64,
    files: &[Numbered<'_>],
    depth: usize,
    item: SingleItemEncoder<'_>,
) -> Result<(), Error> {
    item.emit_dict(|mut dict| {
        for group in files.chunk_by(|a, b| a.file.path[depth] == b.file.path[depth]) {
            let first = &group[0];
            let component = first.file.path[depth].as_bytes();
            if first.file.path.len() == depth + 1 {
                dict.emit_pair_with(component, |item| emit_leaf(seed, first, item))?;
            } else {
                dict.emit_pair_with(component, |item| emit_tree(seed, group, depth + 1, item))?;
            }
        }
        Ok(())
    })
}

fn emit_leaf(seed: u64, file: &Numbered<'_>, item: SingleItemEncoder<'_>) -> Result<(), Error> {
    item.emit_dict(|mut dict| {
        dict.emit_pair_with(b"", |item| {
            item.emit_dict(|mut dict| {
                dict.emit_pair(b"length", file.file.length)?;
                if file.file.length == 0 {
                    return Ok(());
                }
                let root = draw_bytes(seed, Topic::Pieces, 1, file.number, 32);
                dict.emit_pair_with(b"pieces root", |item| item.emit_bytes(&root))
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(version: Version, files: &[(&[&str], u64)]) -> Outline {
        let files = files
            .iter()
            .map(|(path, length)| File {
                path: path.iter().map(|p| (*p).to_owned()).collect(),
                length: *length,
            })
            .collect();
        Outline { version, name: "n".into(), files, piece_length: 16_384, seed: 4 }
    }

    fn text(raw: &[u8]) -> String {
        raw.iter()
            .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { *byte as char } else { '?' })
            .collect()
    }

    #[test]
    fn a_single_file_has_a_length_and_no_list() {
        let raw = text(&write(&outline(Version::V1, &[(&["n"], 5)])));
        assert!(raw.starts_with("d6:lengthi5e4:name1:n12:piece lengthi16384e6:pieces20:"), "{raw}");
    }

    #[test]
    fn several_files_are_listed_in_their_order() {
        let raw = text(&write(&outline(Version::V1, &[(&["b"], 5), (&["a", "c"], 16_384)])));
        let list = "d5:filesld6:lengthi5e4:pathl1:beed6:lengthi16384e4:pathl1:a1:ceee4:name1:n";
        assert!(raw.starts_with(list), "{raw}");
        assert!(raw.contains("6:pieces40:"), "{raw}");
    }

    #[test]
    fn a_v2_torrent_has_a_tree_and_no_pieces() {
        let raw = text(&write(&outline(Version::V2, &[(&["a", "b"], 0), (&["c"], 7)])));
        let tree = "d9:file treed1:ad1:bd0:d6:lengthi0eeee1:cd0:d6:lengthi7e11:pieces root32:";
        assert!(raw.starts_with(tree), "{raw}");
        assert!(raw.ends_with("eee12:meta versioni2e4:name1:n12:piece lengthi16384ee"), "{raw}");
    }

    #[test]
    fn a_hybrid_pads_every_file_but_the_last_to_a_piece() {
        let raw = text(&write(&outline(Version::Hybrid, &[(&["a"], 5), (&["b"], 7)])));
        assert!(raw.contains("d4:attr1:p6:lengthi16379e4:pathl4:.pad5:16379ee"), "{raw}");
        assert!(raw.contains("6:pieces40:"), "{raw}");
    }
}
