//! How far long work is: a bar on a terminal, a line now and then elsewhere.

use std::{
    io::{self, IsTerminal},
    pin::pin,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::status::Screen;

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Between two looks at work that counts by itself, for a bar.
const LOOK_EVERY: Duration = Duration::from_millis(250);

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

/// Does the work, and shows every now and then how far it is: how many parts are done, and a few words.
pub(super) async fn beside<T>(
    screen: &Screen,
    total: Option<u64>,
    work: impl Future<Output = T>,
    look: impl Fn() -> (u64, String),
) -> T {
    let bar = screen.bar(total);
    let period = if bar.is_some() { LOOK_EVERY } else { LINE_EVERY };
    let mut looks = interval(period);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first one comes at once, when there is nothing to see.
    looks.reset();
    let (mut work, mut before) = (pin!(work), 0);
    let outcome = loop {
        tokio::select! {
            outcome = &mut work => break outcome,
            _ = looks.tick() => {
                let (done, words) = look();
                match &bar {
                    Some(bar) => {
                        bar.set_position(done);
                        bar.set_message(words);
                    }
                    None => {
                        let rate = done.saturating_sub(before) as f64 / period.as_secs_f64();
                        let of = total.map_or_else(String::new, |total| format!(" of about {total}"));
                        tracing::info!("{done} torrents{of}, {rate:.0}/s{}{words}", if words.is_empty() { "" } else { ", " });
                        before = done;
                    }
                }
            }
        }
    };
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    outcome
}
