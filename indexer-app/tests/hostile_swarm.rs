//! The whole program against a swarm in which most seeders mean harm. Whatever they do, every torrent that one honest
//! seeder has is indexed as it is, nothing false is, memory stays in bounds, and no DHT node is asked more than is
//! polite.

#![expect(clippy::disallowed_methods, reason = "programs on a real network take real time")]

mod whole_program;

use std::time::{Duration, Instant};

use swarm::{Habits, Hostility, Swarm, SwarmConfig};
use whole_program::indexer::{Folder, Indexer};
use whole_program::torrent::{FileEntry, Torrent, differences};

/// Time from the indexer's start until everything is out. Silent and slow seeders are given up after some seconds each.
const COMPLETE_WITHIN: Duration = Duration::from_secs(120);
/// Memory of the indexer: a lying size of 2 GiB must not show in it.
const MEMORY_MAX: u64 = 250 << 20;
/// What any node may get from us within a second and within ten, whatever the reason: libtorrent blocks from 50 in ten
/// seconds on, and we promise to stay below 4 in each.
const PACKETS_PER_SECOND_MAX: u64 = 4;
const PACKETS_PER_TEN_SECONDS_MAX: u64 = 40;
/// Between two exports.
const POLL: Duration = Duration::from_secs(1);

#[test]
fn what_one_honest_seeder_has_is_indexed_whatever_the_others_do() {
    let config = SwarmConfig {
        nodes: 200,
        torrents: 300,
        sample_interval: Duration::from_secs(2),
        habits: Habits { tick: Duration::from_secs(2), ..Habits::default() },
        hostility: Hostility::of_every_kind(0.8),
        ..SwarmConfig::default()
    };
    let swarm = Swarm::start(config).unwrap();
    let truth: Vec<_> = swarm.torrents().map(seeded).collect();

    let folder = Folder::new();
    let budget = ["--packets-per-second", "2000", "--endpoints-per-minute", "100000"];
    let mut indexer = Indexer::start([127, 0, 14, 1].into(), &swarm.bootstrap()[..2], &folder.0, &budget);
    let begun = Instant::now();
    loop {
        let report = match indexer.export() {
            Ok(exported) => differences(&truth, &exported),
            Err(why) => format!("nothing can be exported: {why}"),
        };
        if report.is_empty() {
            break;
        }
        assert!(
            begun.elapsed() < COMPLETE_WITHIN,
            "after {COMPLETE_WITHIN:?} the export is not what was seeded:\n{report}\nswarm: {:?}\nlog:\n{}",
            swarm.stats(),
            indexer.log()
        );
        std::thread::sleep(POLL);
    }
    let (stats, memory) = (swarm.stats(), indexer.peak_memory());
    println!("{} torrents after {:?}, {memory} bytes: {stats:?}", truth.len(), begun.elapsed());
    assert!(stats.hostile_met > 50, "hardly any hostile seeder was met: {stats:?}");
    assert!(memory < MEMORY_MAX, "{memory} bytes of memory");
    assert!(stats.peak_per_second <= PACKETS_PER_SECOND_MAX, "{stats:?}");
    assert!(stats.peak_per_ten_seconds <= PACKETS_PER_TEN_SECONDS_MAX, "{stats:?}");
    assert_eq!((stats.floods, stats.malformed, stats.senders_not_followed), (0, 0, 0), "{stats:?}");
    assert!(indexer.stop().success(), "{}", indexer.log());
}

/// What the swarm says of a torrent, in the words of the export.
fn seeded(torrent: swarm::Torrent) -> Torrent {
    let hex = |bytes: &[u8; 32]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Torrent {
        kind: format!("torrent {}", torrent.index),
        v1: torrent.v1.map(|hash| hash.to_string()),
        v2: torrent.v2.as_ref().map(hex),
        total_size: torrent.total_size,
        file_count: torrent.files.len() as u64,
        files: torrent
            .files
            .into_iter()
            .map(|file| FileEntry { path: file.path, length: file.length })
            .collect(),
        name: torrent.name,
        piece_length: u64::from(torrent.piece_length),
        private: false,
    }
}
