//! How a page is found: by which index, and how many rows of it.

/// Rows below which everything is fast: then an index of what is asked for is always used, and its counts are exact.
const SMALL_TABLE: f64 = 20_000.0;

/// Fewest rows that are walked for a page.
const WINDOW_MIN: f64 = 500.0;

/// What is known before a page is looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Costs {
    /// Torrents that match, as estimated.
    pub(crate) hits: f64,
    /// Rows of the order that are walked through, as estimated.
    pub(crate) rows: f64,
    /// Rows that would be fetched by the best index of what is asked for; `None`: there is none.
    pub(crate) fetched: Option<f64>,
    /// Torrents that the page has room for.
    pub(crate) room: usize,
    /// Rows that may be walked.
    pub(crate) window_max: u32,
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

/// Chooses between walking and fetching: a page is expected within `room * rows / hits` rows of any order, fetching costs as many rows as
/// the index gives. The window is three times that, since hits come in heaps.
pub(crate) fn plan(costs: Costs) -> Plan {
    let expected = costs.room as f64 * costs.rows / costs.hits.max(1.0);
    let walk =
        |window: f64| Plan::Walk { window: window.clamp(WINDOW_MIN, f64::from(costs.window_max)) as u32 };
    match costs.fetched {
        None => walk(f64::from(costs.window_max)),
        Some(_) if costs.rows < SMALL_TABLE => Plan::Fetch,
        Some(fetched) if expected >= fetched => Plan::Fetch,
        // It would most likely be in vain.
        Some(_) if expected > f64::from(costs.window_max) => Plan::Fetch,
        Some(_) => walk(3.0 * expected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(hits: f64, rows: f64, fetched: Option<f64>) -> Plan {
        plan(Costs { hits, rows, fetched, room: 20, window_max: 12_000 })
    }

    #[test]
    fn many_hits_are_walked_to_and_few_are_fetched() {
        let words = |hits, rows| planned(hits, rows, Some(hits));
        assert_eq!(words(100.0, 2e6), Plan::Fetch);
        assert_eq!(words(100_000.0, 2e6), Plan::Walk { window: 1_200 });
        assert_eq!(words(1_900_000.0, 2e6), Plan::Walk { window: 500 });
        assert_eq!(words(7_000.0, 2e6), Plan::Walk { window: 12_000 });
        assert_eq!(words(9_000.0, 10_000.0), Plan::Fetch);
        assert_eq!(words(0.0, 2e6), Plan::Fetch);
        assert_eq!(words(10_000.0, 1e7), Plan::Fetch, "more than a window would be walked");
    }

    #[test]
    fn conditions_make_walks_longer_but_not_what_an_index_gives() {
        assert_eq!(planned(1_000.0, 2e6, Some(50_000.0)), Plan::Fetch);
        assert_eq!(planned(10_000.0, 2e6, Some(500_000.0)), Plan::Walk { window: 12_000 });
        assert_eq!(
            planned(10.0, 1e9, None),
            Plan::Walk { window: 12_000 },
            "without an index there is no choice"
        );
    }
}
