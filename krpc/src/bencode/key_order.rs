//! Whether the keys of one dictionary are sorted and unique.

use std::cmp::Ordering;

/// Watches the keys of one dictionary go by.
///
/// Only neighbours are compared, so a repeated key that is not beside its twin shows as unsorted.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyOrder<'a> {
    last: Option<&'a [u8]>,
    unsorted: bool,
    duplicate: bool,
}

impl<'a> KeyOrder<'a> {
    /// Takes note of the next key.
    #[inline]
    pub fn see(&mut self, key: &'a [u8]) {
        if let Some(last) = self.last {
            match compare(key, last) {
                Ordering::Greater => {}
                Ordering::Equal => self.duplicate = true,
                Ordering::Less => self.unsorted = true,
            }
        }
        self.last = Some(key);
    }

    /// Whether a key was smaller than the one before it.
    #[inline]
    pub const fn unsorted(&self) -> bool {
        self.unsorted
    }

    /// Whether a key was equal to the one before it.
    #[inline]
    pub const fn duplicate(&self) -> bool {
        self.duplicate
    }
}

/// Compares byte by byte: neighbours nearly always differ in the first or second, which is cheaper
/// than the call that a comparison of slices is.
#[inline]
fn compare(a: &[u8], b: &[u8]) -> Ordering {
    a.iter().zip(b).find(|(a, b)| a != b).map_or_else(|| a.len().cmp(&b.len()), |(a, b)| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(keys: &[&'static [u8]]) -> (bool, bool) {
        let mut order = KeyOrder::default();
        for key in keys {
            order.see(key);
        }
        (order.unsorted(), order.duplicate())
    }

    #[test]
    fn ascending_keys_are_in_order() {
        assert_eq!(seen(&[]), (false, false));
        assert_eq!(seen(&[b"", b"a", b"aa", b"ab", b"b", b"\xff"]), (false, false));
    }

    #[test]
    fn a_smaller_key_is_unsorted_and_an_equal_one_a_duplicate() {
        assert_eq!(seen(&[b"b", b"a"]), (true, false));
        assert_eq!(seen(&[b"ab", b"a"]), (true, false));
        assert_eq!(seen(&[b"a", b"a"]), (false, true));
        assert_eq!(seen(&[b"", b""]), (false, true));
        assert_eq!(seen(&[b"a", b"b", b"a"]), (true, false));
    }
}
