//! A whole fetch with several peers, by TCP alone and by every transport: the input says who speaks, what, and how long to
//! wait in between.
//!
//! Each step is a byte that says what to do, a length of two bytes, and so many bytes to be fed.
#![no_main]

use std::{sync::Arc, time::Duration};

use bittorrent::{
    Action, Candidate, Disconnect, Fetch, FetchConfig, Output, PeerId, PeerSource, Slot, Transport,
    TransportSet,
};
use krpc::InfoHash;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    run(input, &[Transport::Tcp]);
    run(input, &Transport::ALL);
    run(input, &[Transport::EncryptedTcp]);
});

fn run(input: &[u8], allowed: &[Transport]) {
    let mut config = FetchConfig::new(PeerId::from_bytes(*b"-ix0100-000000000000"));
    config.transports.allowed = TransportSet::of(allowed);
    let bytes_max = config.fetch_bytes_max + (256 << 10);
    let hash = InfoHash::from_bytes(*b"aaaaaaaaaabbbbbbbbbb");
    let mut now = Duration::ZERO;
    let mut out = Output::new();
    let mut fetch = Fetch::new(hash, Arc::new(config), now);
    let mut open: Vec<Slot> = Vec::new();
    for n in 1..=4 {
        fetch.add_candidate(now, Candidate::new(([127, 0, 0, n], 1).into(), PeerSource::Lookup), &mut out);
    }
    let mut rest = input;
    while let [what, high, low, tail @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(tail.len());
        let (bytes, tail) = tail.split_at(len);
        rest = tail;
        for action in out.drain() {
            match action {
                Action::Connect { slot, .. } => open.push(slot),
                Action::Close { slot, .. } => open.retain(|other| *other != slot),
                Action::Done(_) => panic!("nobody has bytes with this hash"),
                _ => {}
            }
        }
        let Some(&slot) = open.get(usize::from(what >> 4) % open.len().max(1)) else { break };
        match what & 0x0f {
            0 => fetch.peer_opened(now, slot, &mut out),
            1 => {
                open.retain(|other| *other != slot);
                fetch.peer_closed(now, slot, Disconnect::Reset, &mut out);
            }
            2 | 3 => {
                now += Duration::from_millis(len as u64);
                fetch.tick(now, &mut out);
                assert!(fetch.next_deadline().is_none_or(|due| due > now));
            }
            _ => fetch.peer_data(now, slot, bytes, &mut out),
        }
        assert!(fetch.bytes_held() <= bytes_max);
        assert!(fetch.peer_count() <= 4);
    }
}
