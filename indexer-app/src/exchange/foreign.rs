//! Torrents of other indexers, as ours: what they do not know is not made up, and what they say is held against itself.

use std::time::{Duration, SystemTime};

use krpc::InfoHash;

use super::{Entry, Feed, ImportError, Refusal, line::checked_size};
use crate::{
    db::{
        Bitmagnet, Discovery, ForeignError, ForeignTorrent, Hashes, History, Listing, Magnetico, NewTorrent,
        ObservedSwarm, SwarmSize,
    },
    file_list::File,
};

/// How BitComet names what fills up the last piece of a file.
const BITCOMET_PADDING: &str = "_____padding_file_";

/// Where most others put the same (BEP 47).
const PADDING_FOLDER: &str = ".pad";

/// Reads magnetico's database to its end. Blocks.
///
/// # Errors
/// It is not magnetico's, or cannot be read.
pub fn read_magnetico(path: &str, now: SystemTime, mut feed: Feed) -> Result<(), ImportError> {
    let said = |error: ForeignError| ImportError::Source { name: path.to_owned(), why: error.to_string() };
    let database = Magnetico::open(path.as_ref()).map_err(said)?;
    let mut wanted = true;
    let ended = database.each(|torrent| {
        let bytes = torrent.bytes();
        wanted = feed.hand_on(Entry { place: torrent.place, what: adopt(torrent, now) }, bytes);
        wanted
    });
    if wanted {
        feed.finish();
    }
    ended.map_err(said)
}

/// Reads bitmagnet's database to its end.
///
/// # Errors
/// It is not bitmagnet's, or cannot be read.
pub async fn read_bitmagnet(url: &str, now: SystemTime, mut feed: Feed) -> Result<(), ImportError> {
    let said = |error: ForeignError| ImportError::Source {
        name: crate::settings::hide_password(url),
        why: error.to_string(),
    };
    let mut database = Bitmagnet::open(url).await.map_err(said)?;
    let ended = loop {
        let torrent = match database.next().await {
            Ok(Some(torrent)) => torrent,
            Ok(None) => break Ok(()),
            Err(error) => break Err(said(error)),
        };
        let bytes = torrent.bytes();
        let entry = Entry { place: torrent.place, what: adopt(torrent, now) };
        if !feed.hand_on_async(entry, bytes).await {
            return Ok(());
        }
    };
    feed.finish_async().await;
    ended
}

/// A torrent of theirs as one of ours.
///
/// # Errors
/// What is wrong with it.
fn adopt(theirs: ForeignTorrent, now: SystemTime) -> Result<NewTorrent, Refusal> {
    let info_hash = hash(&theirs.info_hash)?;
    if theirs.files_beyond_bounds {
        return Err(Refusal::new("too many files", format!("torrent {info_hash} has more than can be read")));
    }
    let (name, name_raw) = text(theirs.name);
    let negative = || Refusal::new("negative size", format!("torrent {info_hash}"));
    let mut size = u64::try_from(theirs.size).map_err(|_| negative())?;
    let (listed, single) = (theirs.files.len() as u64, theirs.single_file);
    let mut files: Vec<File> = Vec::with_capacity(theirs.files.len());
    for (path, length) in theirs.files {
        let length = u64::try_from(length).map_err(|_| negative())?;
        let path = text(path).0;
        // The file of a torrent that has but one is called as the torrent is, slashes and all.
        let path: Vec<String> = if listed == 1 && path == name {
            vec![path]
        } else {
            path.split('/').map(str::to_owned).collect()
        };
        if is_padding(&path) {
            // They count it; we do not.
            size = size.saturating_sub(length);
        } else {
            files.push((path, length));
        }
    }
    if files.is_empty() && single {
        files.push((vec![name.clone()], size));
    }
    let file_count = theirs.file_count.and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
    let sum = files.iter().try_fold(0_u64, |sum, (_, length)| sum.checked_add(*length));
    // What is missing in a list is told by its size.
    let is_whole = !files.is_empty() && sum == Some(size) && u64::from(file_count) <= listed.max(1);
    let total_size = checked_size(&files, Some(size), is_whole).map_err(|refusal| Refusal {
        detail: format!("torrent {info_hash}: {}", refusal.detail),
        ..refusal
    })?;
    let known = |at: &SystemTime| *at >= SystemTime::UNIX_EPOCH && *at <= now + Duration::from_secs(86_400);
    let count = |number: i64| u32::try_from(number).ok();
    let swarm = theirs.swarm.and_then(|(seeders, leechers, at)| {
        let (seeders, leechers) = (count(seeders)?, count(leechers)?);
        // Nobody says how it was counted.
        let size = SwarmSize { whole: false, nodes: 0, seeders, leechers };
        known(&at).then_some(ObservedSwarm { size, at })
    });
    Ok(NewTorrent {
        hashes: Hashes::V1(info_hash),
        name,
        name_raw,
        total_size,
        listing: if is_whole { Listing::Whole } else { Listing::Partial { files: file_count } },
        files,
        piece_length: theirs
            .piece_length
            .and_then(|length| u64::try_from(length).ok())
            .filter(|length| *length > 0),
        piece_count: theirs.piece_count.and_then(count),
        private: theirs.private,
        source: None,
        discovered_by: Discovery::Imported,
        history: History { added_at: theirs.added_at.filter(known), swarm, ..History::default() },
    })
}

/// 20 bytes, or their 40 hexadecimal digits.
fn hash(bytes: &[u8]) -> Result<InfoHash, Refusal> {
    let digits = || std::str::from_utf8(bytes).ok()?.parse().ok();
    InfoHash::try_from(bytes)
        .ok()
        .or_else(digits)
        .ok_or_else(|| Refusal::new("wrong hash", format!("a hash of {} bytes, not 20", bytes.len())))
}

/// As text, and as it was if that is not the same.
fn text(bytes: Vec<u8>) -> (String, Option<Vec<u8>>) {
    match String::from_utf8(bytes) {
        Ok(text) if text.contains('\0') => (text.clone(), Some(text.into_bytes())),
        Ok(text) => (text, None),
        Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some(error.into_bytes())),
    }
}

fn is_padding(path: &[String]) -> bool {
    path.first().is_some_and(|folder| folder == PADDING_FOLDER && path.len() > 1)
        || path.last().is_some_and(|file| file.starts_with(BITCOMET_PADDING))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn theirs(files: &[(&str, i64)]) -> ForeignTorrent {
        ForeignTorrent {
            info_hash: vec![7; 20],
            name: b"name".to_vec(),
            size: files.iter().map(|(_, length)| length).sum(),
            files: files.iter().map(|(path, length)| (path.as_bytes().to_vec(), *length)).collect(),
            ..ForeignTorrent::default()
        }
    }

    fn paths(torrent: &NewTorrent) -> Vec<String> {
        torrent.files.iter().map(|(path, _)| path.join("|")).collect()
    }

    #[test]
    fn paths_are_parted_at_their_slashes_and_padding_is_left_out() {
        let given =
            theirs(&[("a/b", 5), (".pad/3", 3), ("c", 1), ("d/_____padding_file_0_x", 9), (".pad", 2)]);
        let torrent = adopt(given, now()).unwrap();
        assert_eq!(paths(&torrent), ["a|b", "c", ".pad"]);
        assert_eq!((torrent.total_size, torrent.listing), (8, Listing::Whole));
        assert_eq!((torrent.piece_length, torrent.private), (None, None));
    }

    #[test]
    fn a_single_file_has_the_name_of_the_torrent_whatever_is_in_it() {
        let given = ForeignTorrent { name: b"a/b".to_vec(), ..theirs(&[("a/b", 5)]) };
        assert_eq!(paths(&adopt(given, now()).unwrap()), ["a/b"]);
        let given = ForeignTorrent { size: 5, single_file: true, ..theirs(&[]) };
        let torrent = adopt(given, now()).unwrap();
        assert_eq!((paths(&torrent), torrent.listing), (vec!["name".to_owned()], Listing::Whole));
    }

    #[test]
    fn a_list_that_lacks_something_is_said_to() {
        let given = ForeignTorrent { size: 9, ..theirs(&[("a", 5)]) };
        assert_eq!(adopt(given, now()).unwrap().listing, Listing::Partial { files: 0 });
        let given = ForeignTorrent { size: 9, file_count: Some(300), ..theirs(&[]) };
        let torrent = adopt(given, now()).unwrap();
        assert_eq!((torrent.file_count(), torrent.total_size), (300, 9));
    }

    #[test]
    fn what_contradicts_itself_or_cannot_be_is_refused() {
        let refused = |given: ForeignTorrent| adopt(given, now()).unwrap_err().reason;
        assert_eq!(refused(ForeignTorrent { size: 4, ..theirs(&[("a", 5)]) }), "contradicts itself");
        assert_eq!(refused(theirs(&[("a", -5), ("b", 6)])), "negative size");
        assert_eq!(refused(ForeignTorrent { size: -1, ..theirs(&[]) }), "negative size");
        assert_eq!(refused(ForeignTorrent { info_hash: vec![1; 19], ..theirs(&[]) }), "wrong hash");
        assert_eq!(refused(ForeignTorrent { files_beyond_bounds: true, ..theirs(&[]) }), "too many files");
        let files = [("a", i64::MAX), ("b", i64::MAX)];
        let given = ForeignTorrent { size: i64::MAX, ..theirs(&files[..1]) };
        let given = ForeignTorrent { files: vec![given.files[0].clone(); 2], ..given };
        assert_eq!(refused(given), "too large");
    }

    #[test]
    fn times_that_cannot_be_are_not_known_and_odd_names_are_kept_in_bytes() {
        let given = ForeignTorrent {
            added_at: Some(now() + Duration::from_secs(1 << 40)),
            swarm: Some((1, -1, now())),
            name: b"\xff\0x".to_vec(),
            info_hash: b"0707070707070707070707070707070707070707".to_vec(),
            ..theirs(&[("a", 1)])
        };
        let torrent = adopt(given, now()).unwrap();
        assert_eq!(
            (torrent.history, torrent.hashes.canonical()),
            (History::default(), InfoHash::from_bytes([7; 20]))
        );
        assert_eq!((torrent.name.as_str(), torrent.name_raw), ("\u{fffd}\0x", Some(b"\xff\0x".to_vec())));
    }
}
