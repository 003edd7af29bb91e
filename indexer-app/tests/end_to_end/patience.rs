//! Waiting for what happens in another process: looked for again and again, since it sends no event.

use std::time::{Duration, Instant};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Longest wait for anything that has to happen. Generous: it is seldom waited out, and the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Looks until there is something.
pub(crate) fn until<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if begun.elapsed() >= limit {
            return None;
        }
        std::thread::sleep(LOOK);
    }
}

/// Looks until it holds; that it must is what is tested.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    assert!(until(PATIENCE, || holds().then_some(())).is_some(), "{what} has not come about in {PATIENCE:?}");
}
