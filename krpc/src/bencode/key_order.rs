//! Whether the keys of one dictionary are sorted and unique.

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
            match key.cmp(last) {
                std::cmp::Ordering::Greater => {}
                std::cmp::Ordering::Equal => self.duplicate = true,
                std::cmp::Ordering::Less => self.unsorted = true,
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
