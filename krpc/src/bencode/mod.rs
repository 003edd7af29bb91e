//! Bencode (BEP 3): a bounded pull reader that borrows, and a writer into the caller's buffer.
//!
//! ```
//! use krpc::bencode::{Limits, Reader, Writer};
//!
//! let mut document = Vec::new();
//! let mut writer = Writer::new(&mut document);
//! writer.begin_dict();
//! writer.bytes(b"length");
//! writer.int(7);
//! writer.bytes(b"name");
//! writer.bytes(b"spam");
//! writer.end();
//!
//! let mut reader = Reader::new(&document, Limits::INFO_DICT)?;
//! reader.enter_dict()?;
//! while let Some(key) = reader.next_key()? {
//!     match key {
//!         b"length" => assert_eq!(reader.int()?, 7),
//!         b"name" => assert_eq!(reader.raw()?, b"4:spam"),
//!         _ => reader.skip()?,
//!     }
//! }
//! assert!(reader.rest().is_empty());
//! # Ok::<(), krpc::bencode::Error>(())
//! ```

mod key_order;
mod reader;
mod writer;

pub use key_order::KeyOrder;
pub use reader::{Error, Limits, Reader, Shape};
pub(crate) use writer::Length;
pub use writer::{Sink, Writer};

/// Whether `document` is exactly one value in the canonical form: keys sorted and unique, no
/// padded number, nothing behind it, and no more than `depth` levels.
///
/// This is `bendy`'s strict reading. It is for documents that are not hot, such as a BEP 44 value
/// before it is kept for others.
pub fn is_canonical(document: &[u8], depth: usize) -> bool {
    let mut decoder = bendy::decoding::Decoder::new(document).with_max_depth(depth);
    // The whole of the first value is read before the second is asked for.
    let read = decoder.next_object().and_then(|object| match object {
        Some(bendy::decoding::Object::List(list)) => list.into_raw().map(|_| true),
        Some(bendy::decoding::Object::Dict(dict)) => dict.into_raw().map(|_| true),
        Some(_) => Ok(true),
        None => Ok(false),
    });
    matches!(read, Ok(true)) && matches!(decoder.next_object(), Ok(None))
}
