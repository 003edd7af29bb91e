//! The giving side of a connection: the input says what comes, in which portions, and how much time passes.
//!
//! Each step is a byte that says how long nothing happens (its high half, in seconds), a length of two bytes, and so many bytes.
#![no_main]

use std::{sync::Arc, time::Duration};

use bittorrent::{ByteBudget, GivingConfig, MetadataServer, PeerId};
use krpc::InfoHash;
use libfuzzer_sys::fuzz_target;

const HASH: InfoHash = InfoHash::from_bytes(*b"aaaaaaaaaabbbbbbbbbb");

fuzz_target!(|input: &[u8]| {
    run(input, false);
    run(input, true);
});

fn run(input: &[u8], greeted: bool) {
    let config = Arc::new(GivingConfig::new(PeerId::from_bytes(*b"-ix0100-000000000000")));
    let lifetime = config.lifetime_max;
    let dict: Arc<[u8]> = vec![b'd'; 40_000].into();
    let mut now = Duration::from_secs(5);
    let mut all = ByteBudget::new(1 << 20, 1 << 20, now);
    let mut server = MetadataServer::accepted(config, [7; 32], now);
    let mut out = Vec::new();
    if greeted {
        let hello = [&b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0"[..], HASH.as_bytes(), b"-XX0000-xxxxxxxxxxxx"];
        let asked = server.receive(now, &hello.concat(), |_| None, &mut out);
        assert_eq!(asked, Ok(Some(HASH)));
        server.provide(now, Arc::clone(&dict), &mut out).expect("nothing has come yet");
    }
    let mut rest = input;
    while let [wait, high, low, tail @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(tail.len());
        let (bytes, tail) = tail.split_at(len);
        rest = tail;
        now += Duration::from_secs(u64::from(wait >> 4));
        if server.tick(now).is_some() {
            return;
        }
        out.clear();
        match server.receive(now, bytes, |_| Some(HASH), &mut out) {
            Ok(None) => {}
            Ok(Some(_)) => {
                if server.provide(now, Arc::clone(&dict), &mut out).is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
        server.serve(now, &mut all, &mut out);
        // What goes out is bounded by what was asked for: pieces, rejects, and handshakes.
        assert!(out.len() <= 3_000 + 6 * 17_000 + 33 * 60);
        assert!(server.bytes_held() < 100_000);
        assert!(server.given() <= 6);
        assert!(server.deadline() <= Duration::from_secs(5) + lifetime);
    }
}
