//! The whole program against real clients: libtorrent sessions on loopback that seed known torrents, plain and
//! awkward. What comes out of `indexer export` must be what they seed, and none of them may be driven to block us.
//!
//! The first run installs libtorrent below `target/`, which needs the network.

#![expect(clippy::disallowed_methods, reason = "programs on a real network take real time")]
#![allow(clippy::expect_used, reason = "a test stops where it cannot go on")]

mod libtorrent;
mod whole_program;

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use libtorrent::probe;
use libtorrent::sessions::{Plan, Sessions};
use whole_program::indexer::{Folder, Indexer};
use whole_program::torrent::differences;

/// Time from the indexer's start until everything is out, its database's creation included.
const COMPLETE_WITHIN: Duration = Duration::from_secs(120);
/// Under real limits: long enough for every session to block an address that asks too much, in any ten seconds. Another
/// time, in seconds, is taken from the environment.
const POLITE_FOR: Duration = Duration::from_secs(40);
const POLITE_FOR_VARIABLE: &str = "INTEROP_POLITE_FOR";
/// Between two looks at whether all sessions still answer: each costs a packet of their limits.
const PROBE: Duration = Duration::from_secs(20);
/// Between two exports.
const POLL: Duration = Duration::from_secs(1);

#[test]
fn every_public_torrent_of_real_clients_comes_out_as_it_was_seeded() {
    let plan = Plan {
        first_ip: [127, 0, 10, 1].into(),
        sessions: 8,
        torrents: 10,
        kinds: "any",
        real_limits: false,
    };
    all_comes_out(&plan, [127, 0, 11, 1].into());
}

#[test]
fn every_torrent_of_clients_that_take_only_utp_or_only_encryption_comes_out_too() {
    let plan = Plan {
        first_ip: [127, 0, 14, 1].into(),
        sessions: 8,
        torrents: 10,
        kinds: "utp,encrypted-tcp,encrypted-utp,encrypted",
        real_limits: false,
    };
    all_comes_out(&plan, [127, 0, 15, 1].into());
}

/// Everything that the sessions of this plan seed is found, fetched and stored, as it was seeded.
fn all_comes_out(plan: &Plan, ip: IpAddr) {
    let folder = Folder::new();
    let mut sessions = Sessions::start(plan, &folder.0);
    assert!(sessions.torrents.len() > 80 && sessions.torrents.iter().any(|torrent| torrent.private));

    let mut indexer = Indexer::start(ip, 1, &sessions.endpoints[..2], &folder.0);
    let begun = Instant::now();
    loop {
        let report = match indexer.export() {
            Ok(exported) => differences(&sessions.torrents, &exported),
            Err(why) => format!("nothing can be exported: {why}"),
        };
        if report.is_empty() {
            break;
        }
        assert!(sessions.still_run(), "the libtorrent sessions ended by themselves");
        assert!(
            begun.elapsed() < COMPLETE_WITHIN,
            "after {COMPLETE_WITHIN:?} the export is not what was seeded:\n{report}\nstats:\n{}\nlog:\n{}",
            indexer.stats(),
            indexer.log()
        );
        std::thread::sleep(POLL);
    }
    eprintln!("{} torrents were complete after {:?}", sessions.torrents.len() - 1, begun.elapsed());
    let status = indexer.stop();
    assert!(status.success(), "the indexer ended with {status}:\n{}", indexer.log());
}

#[test]
fn no_real_client_blocks_us_under_its_own_limits() {
    let folder = Folder::new();
    let plan =
        Plan { first_ip: [127, 0, 12, 1].into(), sessions: 8, torrents: 2, kinds: "any", real_limits: true };
    let sessions = Sessions::start(&plan, &folder.0);
    // Eight nodes on eight ports: their limits are for an address, whatever the port.
    let mut indexer = Indexer::start([127, 0, 13, 1].into(), 8, &sessions.endpoints[..2], &folder.0);
    let end = Instant::now() + polite_for();
    while let left = end.saturating_duration_since(Instant::now())
        && !left.is_zero()
    {
        std::thread::sleep(left.min(PROBE));
        let silent: Vec<_> =
            sessions.endpoints.iter().filter(|node| !probe::answers(**node, indexer.ip)).collect();
        assert!(silent.is_empty(), "{silent:?} do not answer us any more:\n{}", indexer.stats());
    }

    let exported = indexer.export().unwrap_or_else(|why| panic!("nothing can be exported: {why}"));
    // Who asks nothing is blocked by nobody: it must have worked meanwhile. Each session gives 20 samples in 6 hours.
    let public = sessions.torrents.iter().filter(|torrent| !torrent.private).count();
    assert!(
        exported.len() >= public / 2,
        "only {} of {public} torrents came out:\n{}\nlog:\n{}",
        exported.len(),
        indexer.stats(),
        indexer.log()
    );
    println!("{} of {public} torrents after {:?} under real limits", exported.len(), polite_for());
    assert!(indexer.stop().success(), "{}", indexer.log());
}

fn polite_for() -> Duration {
    match std::env::var(POLITE_FOR_VARIABLE) {
        Ok(seconds) => {
            let seconds = seconds.parse();
            Duration::from_secs(
                seconds.unwrap_or_else(|_| panic!("{POLITE_FOR_VARIABLE} is no number of seconds")),
            )
        }
        Err(_) => POLITE_FOR,
    }
}
