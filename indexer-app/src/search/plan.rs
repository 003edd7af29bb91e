//! How a page is found: by which index, and how many rows of it.
//!
//! What rows cost was measured on two million torrents that were all in memory; what counts is how they compare.

/// Rows below which everything is fast: then an index of what is asked for is always used, and its counts are exact.
const SMALL_TABLE: f64 = 20_000.0;

/// Microseconds for a row that is only passed over in an index.
const PASSED_US: f64 = 0.15;

/// Microseconds for a row that a signature admits, which is looked up in the table; and for each other table that it is joined to.
const LOOKED_UP_US: f64 = 3.5;

/// Microseconds for a row of one of several orders that are merged.
const MERGED_US: f64 = 0.35;

/// Microseconds for the words of a torrent's paths.
const LIST_READ_US: f64 = 5.0;

/// Microseconds for a row of the table in the order of an index.
const WALKED_US: f64 = 2.0;

/// Microseconds for a row that an index of lexemes gives, in the order of the table.
const FETCHED_US: f64 = 2.0;

/// Microseconds for an entry of an index of lexemes, whether it is in the answer or not.
const EXAMINED_US: f64 = 0.15;

/// Microseconds that a walk may take.
const WALK_US_MAX: f64 = 25_000.0;

/// Fewest rows that are walked for a page: in an index alone; of the table. More than a batch stores at one time, which an index of times cannot tell apart.
const PASSED_MIN: f64 = 1_000.0;
const WALKED_MIN: f64 = 500.0;

/// Most rows that are passed over: when nearly all of them are known to be there without a look at the table, and when they are not.
const PASSED_MAX: f64 = 120_000.0;
const PASSED_UNSURE_MAX: f64 = 12_000.0;

/// Share of the table's pages that are known to be there for everybody, from which on an index alone is enough.
const VISIBLE_MIN: f64 = 0.9;

/// Rows that are walked where no index helps and the table is small: all of them.
const SMALL_WALK: f64 = 40_000.0;

/// Rows of a table that is as good as walked whole.
const SMALL_WALKED: f64 = 12_000.0;

/// What walking an order costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Walk {
    /// Share of the rows that signatures admit; `None`: they cannot be asked, so each row is looked at.
    pub(crate) admitted: Option<f64>,
    /// Share of the table's pages that need not be looked at to know that their rows are there.
    pub(crate) visible: f64,
    /// Other tables that a row is joined to.
    pub(crate) joins: usize,
    /// Whether one of them has the words of paths.
    pub(crate) read_lists: bool,
    /// Whether the order is put together from those of several types.
    pub(crate) merged: bool,
    /// Torrents that there are.
    pub(crate) rows: f64,
}

impl Walk {
    fn row_us(&self) -> f64 {
        let lists = if self.read_lists { LIST_READ_US } else { 0.0 };
        let joined = self.joins as f64 * LOOKED_UP_US + lists;
        let passed = if self.merged { MERGED_US } else { PASSED_US };
        match self.admitted {
            Some(share) => passed + share.min(1.0) * (LOOKED_UP_US + joined),
            None => WALKED_US + joined,
        }
    }

    fn window_min(&self) -> f64 {
        if self.admitted.is_some() { PASSED_MIN } else { WALKED_MIN }
    }

    /// Rows that may be walked.
    pub(crate) fn window_max(&self) -> u32 {
        if self.rows < SMALL_WALKED {
            return SMALL_WALK as u32;
        }
        let most = match self.admitted {
            None => WALK_US_MAX,
            Some(_) if self.visible < VISIBLE_MIN => PASSED_UNSURE_MAX,
            Some(_) => PASSED_MAX,
        };
        (WALK_US_MAX / self.row_us()).min(most).max(self.window_min()) as u32
    }
}

/// What fetching by an index costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fetching {
    /// Rows that the index gives.
    pub(crate) rows: f64,
    /// Entries of the index that are read for it.
    pub(crate) examined: f64,
    /// Rows that are taken at most.
    pub(crate) rows_max: f64,
    /// Other tables that a row is joined to.
    pub(crate) joins: usize,
}

impl Fetching {
    /// Microseconds.
    pub(crate) fn us(&self) -> f64 {
        let row = FETCHED_US + self.joins as f64 * LOOKED_UP_US;
        self.rows.min(self.rows_max) * row + self.examined * EXAMINED_US
    }

    /// Whether all rows are taken.
    pub(crate) fn is_whole(&self) -> bool {
        self.rows <= self.rows_max
    }

    /// Whether so much of the index is read that walking is better, whatever comes of it: it reads on to the end, however few rows are taken.
    pub(crate) fn is_too_long(&self) -> bool {
        self.examined * EXAMINED_US > WALK_US_MAX
    }
}

/// What is known before a page is looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Costs {
    /// Torrents that match, as estimated.
    pub(crate) hits: f64,
    /// Rows of the order that are walked through, as estimated.
    pub(crate) rows: f64,
    /// What walking them costs.
    pub(crate) walk: Walk,
    /// What the best index of what is asked for costs; `None`: there is none.
    pub(crate) fetch: Option<Fetching>,
    /// Torrents that the page has room for.
    pub(crate) room: usize,
}

/// How a page is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Walk this many rows in the order that is asked for, and keep those that match. If that is too few, fetch.
    Walk {
        /// Rows.
        window: u32,
    },
    /// Fetch what matches by the index of what is asked for, and sort it.
    Fetch,
}

/// Chooses between walking and fetching: a page is expected within `room * rows / hits` rows of any order. The window is three times
/// that, since hits come in heaps.
pub(crate) fn plan(costs: Costs) -> Plan {
    let Costs { hits, rows, walk, fetch, room } = costs;
    let expected = room as f64 * rows / hits.max(1.0);
    let most = f64::from(walk.window_max());
    let walk_through = |window: f64| Plan::Walk { window: window.max(walk.window_min()).min(most) as u32 };
    match fetch {
        None => walk_through(most),
        Some(_) if rows < SMALL_TABLE => Plan::Fetch,
        // It would most likely be in vain.
        Some(_) if expected > most => Plan::Fetch,
        Some(fetch) if fetch.is_whole() && expected * walk.row_us() >= fetch.us() => Plan::Fetch,
        Some(_) => walk_through(3.0 * expected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: f64 = 2e6;

    fn walk(admitted: Option<f64>, visible: f64, joins: usize, rows: f64) -> Walk {
        Walk { admitted, visible, joins, read_lists: false, merged: false, rows }
    }

    fn costs(hits: f64, rows: f64, admitted: Option<f64>) -> Costs {
        let fetch = Fetching { rows: hits, examined: hits, rows_max: 8_000.0, joins: 0 };
        let walk = walk(admitted, 1.0, 0, rows);
        Costs { hits, rows, walk, fetch: Some(fetch), room: 20 }
    }

    #[test]
    fn many_hits_are_walked_to_and_few_are_fetched() {
        let planned = |hits, rows| plan(costs(hits, rows, None));
        assert_eq!(planned(100.0, ROWS), Plan::Fetch);
        assert_eq!(planned(100_000.0, ROWS), Plan::Walk { window: 1_200 });
        assert_eq!(planned(1_900_000.0, ROWS), Plan::Walk { window: 500 });
        assert_eq!(planned(7_000.0, ROWS), Plan::Walk { window: 12_500 });
        assert_eq!(planned(9_000.0, 10_000.0), Plan::Fetch);
        assert_eq!(planned(0.0, ROWS), Plan::Fetch);
        assert_eq!(planned(10_000.0, 2e7), Plan::Fetch, "more than a window would be walked");
    }

    #[test]
    fn signatures_make_walks_longer_and_cheaper() {
        let planned = |hits, share| plan(costs(hits, ROWS, Some(share)));
        assert_eq!(planned(3_000.0, 0.02), Plan::Walk { window: 40_000 });
        assert_eq!(planned(1_000.0, 0.02), Plan::Fetch);
        assert_eq!(planned(3_000.0, 0.5), Plan::Fetch, "half of the rows would have to be looked up");
        assert_eq!(planned(500_000.0, 0.3), Plan::Walk { window: 1_000 });
    }

    #[test]
    fn a_window_takes_no_longer_than_it_may() {
        let most = |admitted, visible, joins| walk(admitted, visible, joins, ROWS).window_max();
        assert_eq!(most(None, 1.0, 0), 12_500);
        assert_eq!(most(None, 1.0, 1), 4_545);
        assert_eq!(most(Some(0.01), 1.0, 0), 120_000);
        assert_eq!(most(Some(0.2), 1.0, 1), 16_129);
        assert_eq!(most(Some(0.01), 0.8, 0), 12_000, "rows that were just stored have to be looked at");
        assert_eq!(walk(None, 1.0, 0, 9_000.0).window_max(), 40_000);
    }

    #[test]
    fn an_index_that_reads_too_much_is_not_asked() {
        let fetching = |examined| Fetching { rows: 100.0, examined, rows_max: 8_000.0, joins: 0 };
        assert!(!fetching(100_000.0).is_too_long());
        assert!(fetching(200_000.0).is_too_long());
        assert!(!Fetching { rows: 9_000.0, ..fetching(9_000.0) }.is_whole());
    }

    #[test]
    fn without_an_index_there_is_no_choice() {
        let costs = Costs { fetch: None, ..costs(10.0, 1e9, None) };
        assert_eq!(plan(costs), Plan::Walk { window: 12_500 });
    }
}
