//! How far long work is: a bar on a terminal, a line now and then elsewhere.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Work of which the whole is known.
#[derive(Debug)]
pub(super) struct Progress {
    what: &'static str,
    bar: Option<ProgressBar>,
    total: Option<u64>,
    done: u64,
    last: Instant,
}

impl Progress {
    /// Nothing of `total` done; `None`: nobody knows how much there is. `what` is counted, as in "torrents deleted".
    pub(super) fn new(what: &'static str, total: Option<u64>) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
            let template = match total {
                Some(_) => "{wide_bar} {human_pos} of {human_len} {msg}, {per_sec}, {eta} to go",
                None => "{spinner} {human_pos} {msg}, {per_sec}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_message(what);
            bar
        });
        Self { what, bar, total, done: 0, last: now() }
    }

    /// So many more are done.
    pub(super) fn add(&mut self, count: u64) {
        self.done += count;
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        } else if self.last.elapsed() >= LINE_EVERY {
            self.last = now();
            let of = self.total.map_or_else(String::new, |total| format!(" of {total}"));
            tracing::info!("{}{of} {}", self.done, self.what);
        }
    }

    /// How many are done.
    pub(super) fn done(&self) -> u64 {
        self.done
    }
}

#[expect(clippy::disallowed_methods, reason = "lines for people come at the pace of the clock on their wall")]
fn now() -> Instant {
    Instant::now()
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
