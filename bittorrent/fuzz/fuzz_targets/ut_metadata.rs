//! `ut_metadata`: no input may panic, and a piece is the end of the message.
#![no_main]

use bittorrent::ut_metadata::{MetadataMessage, MetadataSize, PIECE_BYTES};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    match MetadataMessage::parse(payload) {
        Ok(MetadataMessage::Data { piece, total_size, bytes }) => {
            assert!(payload.ends_with(bytes));
            if let Ok(size) = MetadataSize::new(total_size.unwrap_or(piece), 16 << 20) {
                let index = u32::try_from(piece).unwrap_or(u32::MAX);
                let len = size.piece_len(index);
                assert_eq!(len.is_some(), index < size.pieces());
                assert!(len.is_none_or(|len| (1..=PIECE_BYTES).contains(&len)));
            }
        }
        Ok(_) | Err(_) => {}
    }
});
