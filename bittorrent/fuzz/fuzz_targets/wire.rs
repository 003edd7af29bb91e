//! Framing: a stream gives the same frames whole and byte by byte.
#![no_main]

use bittorrent::wire::{FrameReader, WireError};
use libfuzzer_sys::fuzz_target;

fn frames<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<String>, Option<WireError>) {
    let mut reader = FrameReader::new();
    let mut seen = Vec::new();
    for mut chunk in chunks {
        loop {
            match reader.read(&mut chunk) {
                Ok(Some(frame)) => seen.push(format!("{frame:?}")),
                Ok(None) => break,
                Err(error) => return (seen, Some(error)),
            }
        }
        assert!(chunk.is_empty());
    }
    (seen, None)
}

fuzz_target!(|stream: &[u8]| {
    assert_eq!(frames(std::iter::once(stream)), frames(stream.chunks(1)));
});
