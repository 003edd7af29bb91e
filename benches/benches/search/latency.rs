//! How long answers take.

/// What one query took, milliseconds: the best of some tries, so that what else the machine did is left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    /// Until the whole answer was there.
    pub(crate) wall: f64,
    /// CPU of the server.
    pub(crate) cpu: f64,
}

/// The middle, one of a hundred, the worst.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quantiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Quantiles {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| {
            let index = (share * values.len() as f64).ceil() as usize;
            values.get(index.saturating_sub(1)).copied().unwrap_or(f64::NAN)
        };
        Self { p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }

    /// As cells of a table: hundredths where tenths would tell nothing.
    pub(crate) fn cells(self) -> [String; 3] {
        [self.p50, self.p99, self.max].map(|value| format!("{value:.*}", if value < 1.0 { 2 } else { 1 }))
    }
}
