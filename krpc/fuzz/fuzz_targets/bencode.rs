//! Documents: no input may panic, and `bendy` accepts nothing that we do not.
#![no_main]

use bendy::decoding::Decoder;
use krpc::bencode::{Error, KeyOrder, Limits, Reader, Shape};
use libfuzzer_sys::fuzz_target;

/// Reads a whole value by pulling; the depth of the recursion is bounded by the reader's limit.
fn pull(reader: &mut Reader<'_>) -> Result<(), Error> {
    match reader.peek() {
        Some(Shape::Int) => reader.int_or_skip().map(|_| ()),
        Some(Shape::Bytes) => reader.bytes().map(|_| ()),
        Some(Shape::List) => {
            reader.enter_list()?;
            while reader.next_item()? {
                pull(reader)?;
            }
            Ok(())
        }
        Some(Shape::Dict) => {
            let mut order = KeyOrder::default();
            reader.enter_dict()?;
            while let Some(key) = reader.next_key()? {
                order.see(key);
                pull(reader)?;
            }
            Ok(())
        }
        None => reader.skip(),
    }
}

fuzz_target!(|document: &[u8]| {
    let Ok(mut skipping) = Reader::new(document, Limits::INFO_DICT) else { return };
    let mut pulling = skipping.clone();
    // bendy takes nothing at all for a document without values.
    while !skipping.rest().is_empty() {
        let (skipped, pulled) = (skipping.raw(), pull(&mut pulling));
        assert_eq!(skipped.is_ok(), pulled.is_ok(), "{skipped:?} {pulled:?}");
        if skipped.is_err() {
            let limit = usize::from(Limits::INFO_DICT.depth);
            assert!(!Decoder::new(document).with_max_depth(limit).tokens().all(|token| token.is_ok()));
            return;
        }
        assert_eq!(skipping.rest(), pulling.rest());
    }
});
