//! The extension handshake: no input may panic, and what is read is within its bounds.
#![no_main]

use bittorrent::extension_handshake::{CLIENT_BYTES_MAX, ExtensionHandshake};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    if let Ok(handshake) = ExtensionHandshake::parse(payload) {
        assert_ne!(handshake.ut_metadata, Some(0));
        assert_ne!(handshake.listen_port, Some(0));
        assert!(handshake.client.is_none_or(|name| name.len() <= CLIENT_BYTES_MAX));
    }
});
