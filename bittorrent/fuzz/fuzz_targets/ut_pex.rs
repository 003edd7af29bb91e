//! `ut_pex`: no input may panic, and no message names more than its bound.
#![no_main]

use bittorrent::{
    Transport, TransportSet,
    ut_pex::{PEERS_MAX, PexMessage},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let Ok(message) = PexMessage::parse(payload) else { return };
    let mut count = 0;
    for peer in message.peers() {
        count += 1;
        assert!(peer.flags.rank() < 4);
        let allowed = TransportSet::of(&[Transport::Tcp, Transport::Utp]);
        assert!(peer.flags.transport(allowed).is_none_or(|transport| allowed.contains(transport)));
    }
    assert!(count <= 2 * PEERS_MAX);
});
