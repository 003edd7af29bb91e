//! When words of what was stored are learned.

/// A reader that looks every so often, and again after a second while there is more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Learning {
    every: u64,
    reads: bool,
    next: u64,
}

impl Learning {
    /// One that looks after so many seconds.
    pub(super) fn every(seconds: u64) -> Self {
        Self { every: seconds, reads: false, next: seconds }
    }

    /// Whether to read now, which is called every second.
    pub(super) fn begin(&mut self, seconds: u64) -> bool {
        let begins = !self.reads && seconds >= self.next;
        self.reads |= begins;
        begins
    }

    /// Has read.
    pub(super) fn end(&mut self, seconds: u64, goes_on: bool) {
        self.reads = false;
        self.next = seconds + if goes_on { 1 } else { self.every };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_now_and_then_and_goes_on_while_there_is_more() {
        let mut learning = Learning::every(30);
        assert!(!learning.begin(29));
        assert!(learning.begin(30));
        assert!(!learning.begin(31), "it reads already");
        learning.end(32, true);
        assert!(!learning.begin(32));
        assert!(learning.begin(33));
        learning.end(34, false);
        assert!(!learning.begin(63));
        assert!(learning.begin(64));
    }
}
