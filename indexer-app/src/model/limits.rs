//! The budgets and queues of a run: what is allowed, what is used, and how often each held something back.

use std::{collections::BTreeMap, time::Duration};

use mainline::{Dht, limiter};

use super::{connections::UtpPorts, rates::Rate, resolver::Resolver, storage::Backlog};
use crate::db::RunLimit;

/// The minute over which what was held back lately is counted, and new endpoints are.
const MINUTE_SAMPLES: usize = 60;

const MINUTE: Duration = Duration::from_secs(60);

/// Follows the counters of the limits, a sample a second.
#[derive(Debug, Default)]
pub(super) struct Limits {
    used: BTreeMap<&'static str, Rate>,
    held: BTreeMap<&'static str, Rate>,
    /// As of the last sample.
    rows: Vec<RunLimit>,
}

impl Limits {
    /// Takes a sample; to be called once a second. `fetches_max` is what the settings allow.
    pub(super) fn sample(
        &mut self,
        now: Duration,
        dht: &Dht,
        resolver: &Resolver,
        utp: &UtpPorts,
        fetches_max: usize,
        backlog: &Backlog,
    ) {
        let mut rows = std::mem::take(&mut self.rows);
        rows.clear();
        for budget in dht.budgets() {
            let (name, period) = (budget.kind.name(), budget.kind.period());
            let samples = usize::try_from(period.as_secs()).unwrap_or(MINUTE_SAMPLES);
            let used = self.used.entry(name).or_insert_with(|| Rate::new(samples)).sample_in(
                now,
                budget.used,
                period,
            );
            rows.push(self.row(now, name, Some(period), budget.limit, Some(used), budget.held));
        }
        if let Some(packets) = utp.packets_per_second() {
            let (numbers, period) = (utp.numbers(), Duration::from_secs(1));
            let used = self.used.entry("uTP packets").or_insert_with(|| Rate::new(1));
            let used = used.sample_in(now, numbers.sent, period);
            rows.push(self.row(
                now,
                "uTP packets",
                Some(period),
                packets.into(),
                Some(used),
                numbers.held + numbers.dropped,
            ));
            let (waiting, most) = utp.waiting();
            let dropped = numbers.dropped;
            rows.push(self.row(now, "uTP packets waiting", None, most as u64, Some(waiting as u64), dropped));
        }
        let (connects, used, held) = resolver.connects();
        let used = self
            .used
            .entry("connects")
            .or_insert_with(|| Rate::new(MINUTE_SAMPLES))
            .sample_in(now, used, MINUTE);
        rows.push(self.row(now, "connects", Some(MINUTE), connects.into(), Some(used), held));
        // These are other ones for each remote.
        let counters = dht.counters();
        let period = Some(limiter::QUERY_INTERVAL);
        rows.push(self.row(now, "queries to one IP", period, 1, None, counters.limited_by_remote));
        let packets = limiter::PACKETS_PER_WINDOW as u64;
        rows.push(self.row(now, "packets to one IP", period, packets, None, counters.answers_delayed));
        for queue in dht.queues() {
            rows.push(self.row(
                now,
                queue.name,
                None,
                queue.max as u64,
                Some(queue.len as u64),
                queue.refused,
            ));
        }
        rows.push(self.row(now, "fetches", None, fetches_max as u64, Some(resolver.fetching() as u64), 0));
        let (refused, displaced) = backlog.turned_away();
        let (most, waiting) = (backlog.rows_max(), Some(backlog.rows()));
        rows.push(self.row(now, "backlog", None, most, waiting, refused + displaced));
        self.rows = rows;
    }

    /// As of the last sample.
    pub(super) fn rows(&self) -> &[RunLimit] {
        &self.rows
    }

    fn row(
        &mut self,
        now: Duration,
        name: &'static str,
        period: Option<Duration>,
        allowed: u64,
        used: Option<u64>,
        held: u64,
    ) -> RunLimit {
        let lately = self.held.entry(name).or_insert_with(|| Rate::new(MINUTE_SAMPLES));
        let held_lately = lately.sample_in(now, held, Duration::from_secs(60));
        RunLimit { name: name.to_owned(), period, allowed, used, held, held_lately }
    }
}
