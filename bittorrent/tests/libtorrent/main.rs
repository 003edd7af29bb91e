//! Transports against real libtorrent sessions on loopback, each of which takes only some kinds of connections.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]
#![allow(unreachable_pub, reason = "modules of a test program")]

mod driver;
// The same environment as the indexer's tests with libtorrent use: it is made once.
#[path = "../../../indexer-app/tests/libtorrent/environment.rs"]
mod environment;
mod sessions;

use std::{sync::LazyLock, time::Duration};

use bittorrent::{Transport, mse::CryptoMethods};
use driver::{Driver, Met, Weather};
use sessions::Sessions;

use Transport::{EncryptedTcp, EncryptedUtp, Tcp, Utp};

/// One process for all tests of this program; it ends with it.
static SESSIONS: LazyLock<Sessions> = LazyLock::new(Sessions::start);

/// The metadata of `torrent` from the session of this kind, by one transport.
fn fetch(kind: &str, torrent: usize, transport: Transport, methods: CryptoMethods, weather: Weather) {
    let torrent = &SESSIONS.torrents[torrent];
    let mut driver = Driver::new(torrent.hash, &[transport], methods, weather);
    driver.run(SESSIONS.addr(kind));
    assert_eq!(
        driver.raw().map(<[u8]>::len),
        Some(torrent.bytes),
        "{kind} by {transport:?}: {:?}",
        driver.reports
    );
}

#[test]
fn metadata_of_every_size_comes_by_utp() {
    for torrent in 0..4 {
        fetch("utp", torrent, Utp, CryptoMethods::BOTH, Weather::default());
        fetch("everything", torrent, Utp, CryptoMethods::BOTH, Weather::default());
    }
}

#[test]
fn metadata_of_every_size_comes_by_encrypted_tcp_with_every_method() {
    for torrent in 0..4 {
        for methods in [CryptoMethods::BOTH, CryptoMethods::RC4, CryptoMethods::PLAINTEXT] {
            fetch("encrypted tcp", torrent, EncryptedTcp, methods, Weather::default());
        }
        fetch("encrypted tcp rc4", torrent, EncryptedTcp, CryptoMethods::BOTH, Weather::default());
        fetch("encrypted tcp plaintext", torrent, EncryptedTcp, CryptoMethods::BOTH, Weather::default());
    }
}

#[test]
fn metadata_comes_by_encrypted_utp() {
    for torrent in 0..4 {
        fetch("encrypted utp", torrent, EncryptedUtp, CryptoMethods::BOTH, Weather::default());
        fetch("encrypted utp rc4", torrent, EncryptedUtp, CryptoMethods::BOTH, Weather::default());
    }
}

#[test]
fn metadata_comes_by_utp_through_a_network_that_loses_doubles_and_reorders() {
    // libtorrent gives a connection up after three repetitions in vain, so that more would fail on its side.
    let storm = Weather { loss: 5, duplication: 20, reordering: 20 };
    fetch("utp", 2, Utp, CryptoMethods::BOTH, storm);
    fetch("encrypted utp rc4", 2, EncryptedUtp, CryptoMethods::BOTH, storm);
}

#[test]
fn racing_finds_what_each_session_takes() {
    for (kind, expected, attempts_max) in [
        ("tcp", Tcp, 1),
        ("everything", Tcp, 1),
        ("encrypted tcp", EncryptedTcp, 2),
        ("utp", Utp, 3),
        ("encrypted utp", EncryptedUtp, 4),
    ] {
        let torrent = &SESSIONS.torrents[2];
        let all = &Transport::ALL;
        let mut driver = Driver::new(torrent.hash, all, CryptoMethods::BOTH, Weather::default());
        let took = driver.run(SESSIONS.addr(kind));
        assert_eq!(driver.raw().map(<[u8]>::len), Some(torrent.bytes), "{kind}: {:?}", driver.reports);
        let last = driver.reports.last().unwrap();
        assert_eq!((last.transport, last.outcome), (expected, bittorrent::PeerOutcome::Served), "{kind}");
        assert!(driver.reports.len() <= attempts_max, "{kind}: {:?}", driver.reports);
        assert!(took < Duration::from_secs(4), "{kind} after {took:?}");
    }
}

#[test]
fn sessions_that_connect_to_us_are_understood() {
    for (kind, transport) in [
        ("utp", Utp),
        ("encrypted tcp", EncryptedTcp),
        ("encrypted tcp rc4", EncryptedTcp),
        ("encrypted utp rc4", EncryptedUtp),
    ] {
        let met = Met::wait_for(&SESSIONS, kind, transport);
        assert!(met.handshake.starts_with(b"\x13BitTorrent protocol"), "{kind}");
        assert_eq!(met.handshake[28..48], *met.info_hash.as_bytes(), "{kind}");
        assert!(met.handshake[48..].starts_with(b"-LT"), "{kind}");
    }
}
