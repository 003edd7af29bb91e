//! The writer: appends bencode to a buffer of the caller.

/// Where a [`Writer`] puts its bytes.
pub trait Sink {
    /// Appends `bytes`.
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Counts instead of writing, so that a length is known before room is spent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Length(pub(crate) usize);

impl Sink for Length {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

/// Writes values one after another.
///
/// The writer does not know what is open: every `begin` needs its [`end`](Writer::end), and the
/// keys of a dictionary must be written in ascending order, each followed by one value. What a
/// type of this crate writes is checked against `bendy`'s strict reader in the tests.
#[derive(Debug)]
pub struct Writer<'o, S = Vec<u8>> {
    out: &'o mut S,
}

impl<'o, S: Sink> Writer<'o, S> {
    /// A writer that appends to `out`.
    #[inline]
    pub fn new(out: &'o mut S) -> Self {
        Self { out }
    }

    /// Opens a dictionary.
    #[inline]
    pub fn begin_dict(&mut self) {
        self.out.put(b"d");
    }

    /// Opens a list.
    #[inline]
    pub fn begin_list(&mut self) {
        self.out.put(b"l");
    }

    /// Closes the innermost open dictionary or list.
    #[inline]
    pub fn end(&mut self) {
        self.out.put(b"e");
    }

    /// A string, or a key.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.out.put(bytes);
    }

    /// An integer.
    #[inline]
    pub fn int(&mut self, value: i64) {
        self.out.put(if value < 0 { b"i-" } else { b"i" });
        self.decimal(value.unsigned_abs());
        self.out.put(b"e");
    }

    /// The prefix of a string of `len` bytes that follow by [`Writer::raw`].
    #[inline]
    pub fn length(&mut self, len: usize) {
        self.decimal(len as u64);
        self.out.put(b":");
    }

    /// Bytes that are bencode already, or belong to a string announced by [`Writer::length`].
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.put(bytes);
    }

    #[inline]
    fn decimal(&mut self, mut value: u64) {
        if value < 10 {
            self.out.put(&[b'0' + value as u8]);
            return;
        }
        // 20 digits hold every u64.
        let mut digits = [0; 20];
        let mut start = digits.len();
        while value > 0 {
            start -= 1;
            digits[start] = b'0' + (value % 10) as u8;
            value /= 10;
        }
        self.out.put(&digits[start..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Writer<'_>)) -> Vec<u8> {
        let mut out = b"before".to_vec();
        write(&mut Writer::new(&mut out));
        out.split_off(6)
    }

    #[test]
    fn integers_are_written_in_their_only_form() {
        for (value, text) in [
            (0, "i0e"),
            (9, "i9e"),
            (10, "i10e"),
            (-1, "i-1e"),
            (i64::MAX, "i9223372036854775807e"),
            (i64::MIN, "i-9223372036854775808e"),
        ] {
            assert_eq!(written(|w| w.int(value)), text.as_bytes());
        }
    }

    #[test]
    fn containers_and_strings_are_appended_behind_what_is_there() {
        let document = written(|w| {
            w.begin_dict();
            w.bytes(b"");
            w.begin_list();
            w.bytes(&[b'x'; 12]);
            w.end();
            w.end();
        });
        assert_eq!(document, b"d0:l12:xxxxxxxxxxxxee");
    }

    #[test]
    fn a_length_counts_what_would_be_written() {
        let mut length = Length::default();
        let mut writer = Writer::new(&mut length);
        writer.bytes(&[0; 100]);
        writer.int(-12);
        assert_eq!(length.0, 104 + 5);
    }
}
