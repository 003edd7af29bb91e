//! A disk that fills under the program: ingest stops and goes on by itself, searches go on, nothing is lost.

use std::{fs, process::Command};

use nix::{errno::Errno, unistd::Uid};
use serde_json::Value;
use swarm::Swarm;

use crate::{
    exported::Export,
    indexer::{FEW_FETCHES, Indexer, ask, data_dir, unhurried},
    patience::eventually,
    private_cluster::TempDir,
};

/// A file system of its own, in memory, at the data directory of a test.
struct Disk<'a>(&'a TempDir);

impl<'a> Disk<'a> {
    /// `None` for a user who may not mount any: the simulation tells what the model does.
    fn mounted(folder: &'a TempDir, mib: u32) -> Option<Self> {
        if !Uid::effective().is_root() {
            return None;
        }
        let place = data_dir(&folder.0);
        fs::create_dir(&place).unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m,mode=0755"), "tmpfs"])
            .arg(&place)
            .status()
            .unwrap();
        // In a container even root may not.
        status.success().then_some(Self(folder))
    }

    /// Leaves so many MiB, by a file beside the database.
    fn leave(&self, mib: u64) {
        let _ = fs::remove_file(data_dir(&self.0.0).join("ballast"));
        let file = fs::File::create(data_dir(&self.0.0).join("ballast")).unwrap();
        eventually("the disk being as full as that", || {
            let ballast = self.free().saturating_sub(mib << 20);
            match nix::fcntl::posix_fallocate(&file, 0, ballast.cast_signed()) {
                Ok(()) => true,
                // The database took some of it meanwhile, or left nothing to take.
                Err(Errno::ENOSPC | Errno::EINVAL) => false,
                Err(error) => panic!("{error}"),
            }
        });
    }

    fn relieve(&self) {
        fs::remove_file(data_dir(&self.0.0).join("ballast")).unwrap();
    }

    fn free(&self) -> u64 {
        let found = nix::sys::statvfs::statvfs(&data_dir(&self.0.0)).unwrap();
        found.blocks_available() * found.fragment_size()
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        // The program has ended, or the test has failed: its folder must be removable.
        let _ = Command::new("umount").arg("--lazy").arg(data_dir(&self.0.0)).status();
    }
}

fn stats(folder: &TempDir) -> Option<Value> {
    serde_json::from_slice(&ask(&folder.0, &["stats", "--json"]).ok()?).ok()
}

#[test]
fn a_disk_that_fills_stops_ingest_and_not_search_and_ingest_goes_on_when_there_is_room() {
    let folder = TempDir::new();
    let Some(disk) = Disk::mounted(&folder, 400) else { return };
    let swarm = Swarm::start(unhurried(61, 150, 200)).unwrap();
    let mut more = vec!["--disk-free-min", "64mib"];
    more.extend(FEW_FETCHES);
    let mut indexer = Indexer::run(&folder.0, &swarm, &more);
    let before = indexer.export_of(20);
    disk.leave(40);
    let told = indexer.until("ingest being stopped", |_| {
        stats(&folder)?["runs"][0]["ingest_stopped"].as_str().map(str::to_owned)
    });
    assert!(told.contains("MiB free on the disk, 64 MiB are to stay free"), "{told}");
    // What was in flight is stored; then nothing more, for as long as the indexer would need for twenty.
    let mut stored = indexer.export_of(before.len()).len();
    let mut steady = 0;
    eventually("nothing being stored any more", || {
        let now = Export::parse(&ask(&folder.0, &["export"]).unwrap()).len();
        steady = if now == stored { steady + 1 } else { 0 };
        stored = now;
        steady == 20
    });
    assert!(stored < swarm.torrent_count(), "it came too late to be in the middle");
    let found = String::from_utf8(ask(&folder.0, &["search", "--json", "1080p"]).unwrap()).unwrap();
    assert!(found.lines().count() > 0, "searches go on");
    assert_eq!(
        indexer.log().matches("nothing new is taken in until there is room").count(),
        1,
        "{}",
        indexer.log()
    );

    disk.relieve();
    let export = indexer.export_of(swarm.torrent_count());
    export.assert_is_all_of(&swarm);
    export.assert_contains(&before);
    assert_eq!(stats(&folder).unwrap()["runs"][0]["counts"]["disk"]["ingest stopped"], 1);
    indexer.interrupt();
    assert_eq!(indexer.log().matches("there is room on the disk again").count(), 1, "{}", indexer.log());
    drop(disk);
}

#[test]
fn a_disk_that_is_full_to_the_last_byte_in_the_middle_of_writing_loses_nothing() {
    let folder = TempDir::new();
    let Some(disk) = Disk::mounted(&folder, 400) else { return };
    let swarm = Swarm::start(unhurried(62, 150, 250)).unwrap();
    let mut more = vec!["--disk-free-min", "0"];
    more.extend(FEW_FETCHES);
    let mut indexer = Indexer::run(&folder.0, &swarm, &more);
    let mut acknowledged = Export::default();
    for torrents in [20, 90] {
        let export = indexer.export_of(torrents);
        export.assert_contains(&acknowledged);
        assert!(export.len() < swarm.torrent_count(), "it came too late to be in the middle");
        acknowledged = export;
        let complaints = |indexer: &Indexer| {
            let log = indexer.log();
            log.matches("No space left on device").count() + log.matches("the private database died").count()
        };
        let before = complaints(&indexer);
        disk.leave(0);
        indexer.until("the database having no room", |indexer| (complaints(indexer) > before).then_some(()));
        disk.relieve();
    }
    let export = indexer.export_of(swarm.torrent_count());
    export.assert_is_all_of(&swarm);
    export.assert_contains(&acknowledged);
    indexer.interrupt();
    assert!(!indexer.output().contains("did not take in time"), "{}", indexer.output());
    Export::parse(&ask(&folder.0, &["export"]).unwrap()).assert_is_all_of(&swarm);
    drop(disk);
}
