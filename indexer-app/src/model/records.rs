//! What the protocol crates found out, in the words of the database.

use std::time::SystemTime;

use bittorrent::{InfoLimits, Torrent};
use mainline::{Support, VisitOutcome, VisitRecord};

use crate::db::{Discovery, Hashes, History, Listing, NewTorrent, NodeVisit};

/// A visit as the database keeps it.
pub(super) fn visit(record: &VisitRecord, started_at: SystemTime) -> NodeVisit {
    let error = match record.outcome {
        VisitOutcome::Replied => None,
        VisitOutcome::TimedOut => Some("timed out"),
        VisitOutcome::Error => Some("only errors"),
        VisitOutcome::IdChanged => Some("id changed"),
    };
    NodeVisit {
        id: record.id,
        addr: record.addr,
        started: started_at + record.started,
        ended: Some(started_at + record.ended),
        error: error.map(str::to_owned),
        rtt: record.rtt,
        version: record.version.map(|version| *version.as_bytes()),
        bep51: match record.support {
            Support::Unknown => None,
            Support::Yes => Some(true),
            Support::No => Some(false),
        },
        num: record.num,
        interval: record.interval,
        samples: record.samples,
        freshness: record.freshness,
        removed: record.removed,
        next_due: record.due.map(|due| started_at + due),
        told_by: record.told_by,
        told_us: record.told_us,
    }
}

/// A verified info dict as the database keeps it.
///
/// # Errors
/// Why it is no torrent.
pub(super) fn new_torrent(
    raw: &[u8],
    discovered_by: Discovery,
    limits: &InfoLimits,
) -> Result<NewTorrent, &'static str> {
    let torrent = Torrent::parse(raw, limits).map_err(|error| error.label())?;
    let hashes = Hashes::new(torrent.v1, torrent.v2).ok_or("neither v1 nor v2")?;
    Ok(NewTorrent {
        hashes,
        name: torrent.name,
        name_raw: torrent.name_raw,
        total_size: torrent.total_size,
        files: torrent.files.into_iter().map(|file| (file.path, file.length)).collect(),
        listing: Listing::Whole,
        piece_length: Some(torrent.piece_length),
        piece_count: Some(u32::try_from(torrent.piece_count).unwrap_or(u32::MAX)),
        private: Some(torrent.private),
        source: torrent.source,
        discovered_by,
        history: History::default(),
    })
}
