//! How many info dicts are fetched, how soon and at what cost, where most endpoints are of no use.
//!
//! `cargo bench -p benches --bench hostile_world` (`-- --torrents 10000 --seeds 3`)
#![expect(clippy::print_stdout, reason = "a benchmark prints its tables")]
#![expect(clippy::panic, reason = "a benchmark that cannot be run as asked says so")]

#[path = "../../../swarm/tests/hostile_world/driver.rs"]
mod driver;

use std::time::Duration;

use benches::{Table, thread_cpu_time};
use bittorrent::{FetchConfig, PeerId, Transport, TransportSet};
use driver::{Results, Trial, run};
use swarm::peers::{PeerPlan, PeerShares};

/// Fetches at a time: a tenth of a second between starts, as a fetch takes 2 to 7 s.
const AT_ONCE: usize = 1_000;

fn main() {
    let number = |name: &str, default: u32| {
        let mut arguments = std::env::args().skip_while(|argument| argument != name);
        let value = arguments.nth(1).map(|value| value.parse());
        value.unwrap_or(Ok(default)).unwrap_or_else(|_| panic!("{name} needs a number"))
    };
    let (torrents, seeds) = (number("--torrents", 10_000), number("--seeds", 3));
    println!(
        "{torrents} torrents a row, {AT_ONCE} at a time, {seeds} seeds; connects are for each torrent; time is virtual, CPU\n\
         is that of the fetches and of the peers\n"
    );
    let mut table = Table::new([
        "endpoints",
        "seed",
        "fetched",
        "50 %",
        "95 %",
        "99 %",
        "tcp",
        "enc",
        "utp",
        "enc utp",
        "liars",
        "conns",
        "of one",
        "KiB held",
        "of one",
        "cpu s",
    ]);
    for (name, change) in WORLDS {
        for seed in 1..=u64::from(seeds) {
            let mut plan = PeerPlan { seed, torrents, ..PeerPlan::default() };
            change(&mut plan);
            let begun = thread_cpu_time();
            let results = run(trial(plan));
            let cpu = thread_cpu_time() - begun;
            table.row(row(name, seed, &results, cpu));
            if !results.failed.is_empty() {
                let mut reasons = std::collections::BTreeMap::<_, u32>::new();
                for (_, failure) in &results.failed {
                    let best = failure.best.map_or("no peer", |outcome| outcome.label());
                    *reasons.entry((failure.reason.label(), best)).or_default() += 1;
                }
                println!("{name}, seed {seed}: not fetched {reasons:?}");
            }
            assert_eq!((results.wrong, results.slandered), (0, 0), "a wrong info dict, or slander");
        }
    }
    println!("{table}");
}

/// A name, and what is other than usual.
type Change = (&'static str, fn(&mut PeerPlan));

/// What is tried: the shares that were asked for, then harder ones.
const WORLDS: [Change; 5] = [
    ("4 to 16", |_| {}),
    ("1 to 4", |plan| plan.endpoints = (1, 4)),
    ("16 to 32", |plan| plan.endpoints = (16, 32)),
    ("4 to 16, one of them honest", |plan| plan.honest_max = 1),
    ("4 to 16, 70 % dead, 10 % lie", |plan| {
        plan.shares = PeerShares { dead: 0.7, liars: 0.1, utp_only: 0.05, encrypted_only: 0.05, slow: 0.05 };
    }),
];

fn trial(plan: PeerPlan) -> Trial {
    let mut config = FetchConfig::new(PeerId::from_bytes(*b"-ix0100-hostileworld"));
    config.transports.allowed = TransportSet::of(&Transport::ALL);
    Trial { plan, config, at_once: AT_ONCE, named_within: Duration::from_secs(3) }
}

fn row(name: &str, seed: u64, results: &Results, cpu: Duration) -> Vec<String> {
    let within = |share| {
        results
            .percentile(share)
            .map_or_else(|| "never".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()))
    };
    let each = |count: u64| format!("{:.2}", count as f64 / results.torrents() as f64);
    let mut row = vec![
        name.to_owned(),
        seed.to_string(),
        format!("{:.2} %", 100.0 * results.share()),
        within(0.5),
        within(0.95),
        within(0.99),
    ];
    row.extend(results.connects.map(each));
    row.extend([
        results.liars.to_string(),
        results.connections_max.to_string(),
        results.connections_of_one_max.to_string(),
        (results.bytes_max >> 10).to_string(),
        (results.bytes_of_one_max >> 10).to_string(),
        format!("{:.1}", cpu.as_secs_f64()),
    ]);
    row
}
