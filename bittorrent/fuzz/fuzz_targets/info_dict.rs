//! Info dicts: no input may panic, and what comes out keeps its promises.
#![no_main]

use bittorrent::{InfoLimits, Torrent, display_safe, display_safe_path};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &[u8]| {
    let limits = InfoLimits { files: 1000, path_bytes: 1 << 20, ..InfoLimits::default() };
    let Ok(torrent) = Torrent::parse(raw, &limits) else { return };
    assert!(torrent.files.len() <= limits.files);
    assert_eq!(torrent.total_size, torrent.files.iter().map(|file| file.length).sum::<u64>());
    assert!(i64::try_from(torrent.total_size).is_ok());
    assert!(torrent.piece_length > 0);
    assert!(!torrent.name.contains('\0'));
    assert!(!display_safe(&torrent.name).chars().any(char::is_control));
    for file in &torrent.files {
        assert!(!file.path.is_empty());
        assert!(!display_safe_path(&file.path).chars().any(char::is_control));
    }
});
