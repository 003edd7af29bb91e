//! Nearly every torrent that somebody honest has is fetched, though most endpoints are of no use; see [`PeerPlan`].

mod driver;

use std::time::Duration;

use bittorrent::{FetchConfig, PeerId, Transport, TransportSet};
use driver::{Results, Trial, run};
use swarm::peers::PeerPlan;

fn trial(seed: u64, torrents: u32) -> Trial {
    let mut config = FetchConfig::new(PeerId::from_bytes(*b"-ix0100-hostileworld"));
    config.transports.allowed = TransportSet::of(&Transport::ALL);
    let plan = PeerPlan { seed, torrents, ..PeerPlan::default() };
    Trial { plan, config, at_once: 100, named_within: Duration::from_secs(3) }
}

fn describe(results: &Results) -> String {
    format!(
        "{:.2} % of {} fetched; half within {:?}, 95 % within {:?}, 99 % within {:?}; connects {:?}; at most {} \
         connections ({} of one fetch), {} KiB held ({} by one); {} liars named, failed {:?}",
        100.0 * results.share(),
        results.torrents(),
        results.percentile(0.5),
        results.percentile(0.95),
        results.percentile(0.99),
        results.connects,
        results.connections_max,
        results.connections_of_one_max,
        results.bytes_max >> 10,
        results.bytes_of_one_max >> 10,
        results.liars,
        results.failed,
    )
}

#[test]
fn in_a_hostile_world_nearly_everything_is_fetched_soon_and_nothing_wrong_is_believed() {
    let results = run(trial(1, 400));
    println!("{}", describe(&results));
    assert!(results.share() >= 0.995, "{}", results.share());
    assert!(results.percentile(0.95).is_some_and(|time| time <= Duration::from_secs(20)));
    assert_eq!((results.wrong, results.slandered), (0, 0));
    assert!(results.liars > 0);
}

#[test]
fn a_seed_repeats_a_hostile_world() {
    let [first, second] = [(); 2].map(|()| run(trial(2, 40)));
    assert_eq!((first.lasted, first.connects), (second.lasted, second.connects));
}
