//! `.torrent` files: the info dict as it was fetched, in the one key that such a file must have.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use bittorrent::{InfoLimits, Torrent};
use krpc::InfoHash;

use super::super::{CommandError, ask, eprint_line};
use crate::db::{Database, LoadInfoDict};

/// How long an info dict may follow its torrent into the database: they are written by two statements.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(3);

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Writes the file, whole or not at all.
pub(super) async fn write(database: &Database, key: InfoHash, path: &Path) -> Result<(), CommandError> {
    let mut looked = Duration::ZERO;
    let raw = loop {
        if let Some(raw) = ask(database, LoadInfoDict { info_hash: key }).await? {
            break raw;
        }
        if looked >= FOLLOWS_WITHIN {
            return Err(CommandError::Said(format!(
                "no .torrent of {key} can be written: it was fetched without --keep-info-dicts, so the hashes of its pieces \
                 are not kept, and nothing else gives them back"
            )));
        }
        tokio::time::sleep(LOOK_EVERY).await;
        looked += LOOK_EVERY;
    };
    if lacks_piece_layers(&raw) {
        eprint_line(&format!(
            "{}: its piece layers (BEP 52) are not part of the info dict; clients fetch them from peers",
            path.display()
        ));
    }
    let temporary = beside(path);
    let written = fs::File::create(&temporary).and_then(|mut file| {
        file.write_all(b"d4:info")?;
        file.write_all(&raw)?;
        file.write_all(b"e")?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    });
    if written.is_err() {
        // What cannot be written can often be removed; what cannot be is said by the error.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(CommandError::writing(path.display().to_string()))
}

/// Whether it is a v2 torrent with a file of several pieces.
fn lacks_piece_layers(raw: &[u8]) -> bool {
    let limits = InfoLimits { bytes: raw.len(), ..InfoLimits::default() };
    Torrent::parse(raw, &limits).is_ok_and(|torrent| {
        torrent.v2.is_some() && torrent.files.iter().any(|file| file.length > torrent.piece_length)
    })
}

/// A name in the same directory, so that renaming needs no copy.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}", std::process::id()));
    path.with_file_name(name)
}
