//! `indexer demo`: a synthetic swarm on loopback, indexed like the real one.

use std::{io::IsTerminal, time::Duration};

use swarm::{Swarm, SwarmConfig};

use super::{
    CommandError,
    crawl::{Goal, bootstrap_of, crawl},
    demo_data_dir,
};
use crate::{
    cli::{DemoOptions, RunOptions},
    settings::{Layers, Settings},
    status::Screen,
};

/// For how long the swarm's nodes repeat their samples. Nodes that store more than the 20 they may return have to be asked
/// again for the others; idle, 2,000 nodes at this interval are some 400 packets a second.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(10);

/// Settings that suit a swarm on the same machine.
const DEFAULTS: &[(&str, &str)] = &[
    ("bind", "127.0.0.1"),
    ("port", "0"),
    ("ports", "2"),
    ("nodes-per-port", "4"),
    ("ids", "spread"),
    ("min-sample-interval", "10s"),
    ("shared-buffers", "67108864"),
];

pub(super) fn set_defaults(layers: &mut Layers) {
    for (name, value) in DEFAULTS {
        layers.set_default(name, value);
    }
}

pub(super) async fn run(
    mut settings: Settings,
    options: DemoOptions,
    screen: Screen,
) -> Result<(), CommandError> {
    if !settings.loopback_only() {
        return Err(CommandError::Said(
            "the demo stays on this machine: setting bind must be an address of 127.0.0.0/8".to_owned(),
        ));
    }
    if !settings.data_dir_given && settings.database_url.is_none() {
        settings.data_dir = demo_data_dir();
        settings.fresh_database = true;
    }
    let config = SwarmConfig {
        nodes: options.nodes,
        torrents: options.torrents,
        sample_interval: SAMPLE_INTERVAL,
        ..SwarmConfig::default()
    };
    let swarm = Swarm::start(config)?;
    settings.bootstrap = bootstrap_of(swarm.bootstrap());
    tracing::info!(
        nodes = options.nodes,
        torrents = options.torrents,
        data_dir = %settings.data_dir.display(),
        "a synthetic swarm runs on loopback; nothing leaves this machine"
    );
    let say = if std::io::stderr().is_terminal() {
        "search from another terminal, as in: indexer search golden horizon   (Ctrl-C ends the demo)"
    } else {
        "search from another terminal, as in: indexer search golden horizon"
    };
    let goal = Goal { torrents: swarm.torrent_count() as u64, say: say.to_owned() };
    let run = RunOptions { duration: options.duration, once: false };
    let outcome = crawl(&settings, run, screen, Some(goal)).await;
    swarm.stop();
    outcome
}
