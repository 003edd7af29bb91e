//! The seeders of a swarm as a stranger finds them.

#![expect(clippy::disallowed_methods, reason = "what is tested takes real time")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use client::{Fetched, PATIENCE, fetch};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use swarm::{Doors, Habits, Hostility, Swarm, SwarmConfig};

/// Longer than any pause of an honest seeder here, shorter than a test may take.
const STALL: Duration = Duration::from_millis(1_500);

fn start(habits: Habits, hostility: Hostility) -> Swarm {
    let config = SwarmConfig {
        nodes: 8,
        torrents: 40,
        habits,
        hostility,
        one_honest_seeder: false,
        ..SwarmConfig::default()
    };
    Swarm::start(config).unwrap()
}

fn prompt() -> Habits {
    Habits { one_at_a_time: 0.0, ticking: 0.0, ..Habits::default() }
}

fn verifies(key: &[u8; 20], metadata: &[u8]) -> bool {
    Sha1::digest(metadata)[..] == key[..] || Sha256::digest(metadata)[..20] == key[..]
}

/// What the first seeder of each of the first `count` torrents does to a fetch, with the torrent's info dict.
fn fetch_all(swarm: &Swarm, count: u32, at_once: usize) -> Vec<(Fetched, Vec<u8>)> {
    (0..count)
        .map(|index| {
            let key = *swarm.torrent(index).dht_keys().next().unwrap().as_bytes();
            let peer = swarm.seeders(index).next().unwrap();
            (fetch(peer, &key, at_once, STALL), swarm.info_dict(index))
        })
        .collect()
}

#[test]
fn every_torrent_is_served_by_each_of_its_seeders_under_each_of_its_keys() {
    let swarm = start(prompt(), Hostility::default());
    let mut fetches = 0;
    for torrent in swarm.torrents() {
        for key in torrent.dht_keys() {
            for peer in swarm.seeders(torrent.index) {
                let Fetched::All(metadata) = fetch(peer, key.as_bytes(), 4, PATIENCE) else {
                    panic!("{} was not served", torrent.name)
                };
                assert!(verifies(key.as_bytes(), &metadata), "{}", torrent.name);
                assert_eq!(metadata, swarm.info_dict(torrent.index));
                fetches += 1;
            }
        }
    }
    assert_eq!(swarm.stats().fetches_served, fetches);
    assert!(fetches > 60, "{fetches}");
}

#[test]
fn a_seeder_that_answers_on_a_timer_answers_all() {
    let habits =
        Habits { ticking: 1.0, one_at_a_time: 0.0, tick: Duration::from_millis(20), ..Habits::default() };
    let swarm = start(habits, Hostility::default());
    for (fetched, info) in fetch_all(&swarm, 40, 8) {
        assert_eq!(fetched, Fetched::All(info));
    }
}

#[test]
fn a_seeder_that_takes_one_request_at_a_time_serves_who_asks_so() {
    let swarm = start(Habits { one_at_a_time: 1.0, ..prompt() }, Hostility::default());
    for (fetched, info) in fetch_all(&swarm, 40, 1) {
        assert_eq!(fetched, Fetched::All(info));
    }
    assert_eq!(swarm.stats().metadata_requests_dropped, 0);
}

#[test]
fn hashes_of_others_are_refused_by_closing() {
    let swarm = start(prompt(), Hostility::default());
    let peer = swarm.seeders(0).next().unwrap();
    assert_eq!(fetch(peer, &[7; 20], 1, PATIENCE), Fetched::Closed(0));
    let not_its_own = swarm.torrents().find(|t| swarm.seeders(t.index).all(|p| p != peer)).unwrap();
    let key = *not_its_own.dht_keys().next().unwrap().as_bytes();
    assert_eq!(fetch(peer, &key, 1, PATIENCE), Fetched::Closed(0));
    assert_eq!(swarm.stats().hashes_refused, 2);
    assert_eq!(swarm.stats().connections, 2);
}

#[test]
fn silent_seeders_say_nothing() {
    let swarm = start(prompt(), Hostility { silent: 1.0, ..Hostility::default() });
    assert_eq!(fetch_all(&swarm, 1, 4)[0].0, Fetched::Stalled(0));
    assert_eq!(swarm.stats().hostile_met, 1);
}

#[test]
fn resetting_seeders_reset_in_the_middle_of_a_piece() {
    let swarm = start(prompt(), Hostility { reset: 1.0, ..Hostility::default() });
    for (fetched, _) in fetch_all(&swarm, 10, 4) {
        assert_eq!(fetched, Fetched::Reset);
    }
}

#[test]
fn wrong_sizes_are_longer_shorter_and_absurd() {
    let swarm = start(prompt(), Hostility { wrong_size: 1.0, ..Hostility::default() });
    let (mut longer, mut shorter, mut absurd) = (0, 0, 0);
    for (fetched, info) in fetch_all(&swarm, 40, 4) {
        match fetched {
            Fetched::All(lie) if lie.len() == info.len() + 16_384 => longer += 1,
            Fetched::All(lie) if lie.len() == info.len() - 1 => shorter += 1,
            Fetched::Broken(what) if what.contains("metadata of 2147483646 bytes") => absurd += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(longer > 0 && shorter > 0 && absurd > 0, "{longer} {shorter} {absurd}");
}

#[test]
fn wrong_bytes_have_the_right_length_and_the_wrong_hash() {
    let swarm = start(prompt(), Hostility { wrong_bytes: 1.0, ..Hostility::default() });
    for (fetched, info) in fetch_all(&swarm, 20, 4) {
        let Fetched::All(lie) = fetched else { panic!("{fetched:?}") };
        assert_eq!(lie.len(), info.len());
        assert_ne!(lie, info);
    }
}

#[test]
fn wrong_pieces_are_none_that_were_asked_for() {
    let swarm = start(prompt(), Hostility { wrong_piece: 1.0, ..Hostility::default() });
    for (fetched, _) in fetch_all(&swarm, 10, 4) {
        assert!(matches!(&fetched, Fetched::Broken(what) if what.starts_with("piece ")), "{fetched:?}");
    }
}

#[test]
fn slow_seeders_do_not_finish() {
    let swarm = start(prompt(), Hostility { slow: 1.0, ..Hostility::default() });
    let (peer, key) =
        (swarm.seeders(0).next().unwrap(), *swarm.torrent(0).dht_keys().next().unwrap().as_bytes());
    let begun = Instant::now();
    // Each byte comes within 400 ms, so only a limit on the whole would help; this one waits for less than a byte.
    let Fetched::Stalled(received) = fetch(peer, &key, 1, Duration::from_millis(200)) else {
        panic!("not slow")
    };
    assert!((69..1_000).contains(&received), "{received}");
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn endless_and_oversized_seeders_never_come_to_the_point() {
    let swarm = start(prompt(), Hostility { endless: 1.0, ..Hostility::default() });
    let broken = |what: &str| Fetched::Broken(what.into());
    assert_eq!(fetch_all(&swarm, 1, 4)[0].0, broken("a thousand messages of no use"));
    let swarm = start(prompt(), Hostility { oversized: 1.0, ..Hostility::default() });
    assert_eq!(fetch_all(&swarm, 1, 4)[0].0, broken("a message of 4294967295 bytes"));
}

#[test]
fn rejecting_seeders_reject_and_others_offer_nothing() {
    let swarm = start(prompt(), Hostility { rejecting: 1.0, ..Hostility::default() });
    assert_eq!(fetch_all(&swarm, 1, 4)[0].0, Fetched::Rejected);
    let swarm = start(prompt(), Hostility { no_metadata: 1.0, ..Hostility::default() });
    assert_eq!(fetch_all(&swarm, 1, 4)[0].0, Fetched::NotOffered);
}

#[test]
fn with_an_honest_first_seeder_everything_can_be_fetched_beside_every_harm() {
    let config = SwarmConfig {
        nodes: 8,
        torrents: 40,
        habits: prompt(),
        hostility: Hostility::of_every_kind(0.9),
        ..SwarmConfig::default()
    };
    let swarm = Swarm::start(config).unwrap();
    for (fetched, info) in fetch_all(&swarm, 40, 4) {
        assert_eq!(fetched, Fetched::All(info));
    }
    assert_eq!(swarm.stats().hostile_met, 0);
}

#[test]
fn nobody_takes_connections_at_the_doors_of_the_dead_and_the_first_seeder_is_there() {
    let doors = Doors { dead: 0.7, ..Doors::default() };
    let config = SwarmConfig { nodes: 8, torrents: 60, habits: prompt(), doors, ..SwarmConfig::default() };
    let swarm = Swarm::start(config).unwrap();
    for (fetched, info) in fetch_all(&swarm, 60, 4) {
        assert_eq!(fetched, Fetched::All(info));
    }
    let (mut refused, mut silent) = (0, 0);
    for peer in (0..60).flat_map(|index| swarm.seeders(index)).filter(|peer| peer.port() != swarm.peer_port())
    {
        match TcpStream::connect_timeout(&peer, Duration::from_millis(20)).map_err(|error| error.kind()) {
            Err(ErrorKind::ConnectionRefused) => refused += 1,
            Err(ErrorKind::TimedOut) => silent += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(refused > 5 && silent > 5, "{refused} {silent}");
}

#[test]
fn who_insists_on_encryption_or_utp_closes_plain_connections_without_a_byte() {
    for doors in
        [Doors { utp_only: 1.0, ..Doors::default() }, Doors { encrypted_only: 1.0, ..Doors::default() }]
    {
        let config = SwarmConfig { nodes: 8, torrents: 10, doors, ..SwarmConfig::default() };
        let swarm = Swarm::start(config).unwrap();
        for (fetched, _) in fetch_all(&swarm, 10, 4) {
            assert!(matches!(fetched, Fetched::Closed(0) | Fetched::Reset), "{doors:?}");
        }
        assert_eq!(swarm.stats().handshakes_refused, 10);
    }
}

#[test]
fn slow_servers_take_their_time_for_each_piece_and_serve_all() {
    let habits = Habits { slow: 1.0, slow_piece: Duration::from_millis(50), ..prompt() };
    let swarm = start(habits, Hostility::default());
    for (fetched, info) in fetch_all(&swarm, 10, 8) {
        assert_eq!(fetched, Fetched::All(info));
    }
}
