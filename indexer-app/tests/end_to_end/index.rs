//! The whole program against a swarm that means well: everything that it holds is indexed, politely, and found.

use std::time::{Duration, Instant};

use indexer_app::{
    cluster::{Cluster, Mode},
    db,
};
use serde_json::Value;
use swarm::{Swarm, SwarmConfig};
use tokio_postgres::config::Host;

use crate::{
    exported::{Export, Torrent, age},
    indexer::{Indexer, ask, data_dir, program},
    politeness::assert_polite,
    private_cluster::{TempDir, options},
};

/// How soon after its storing a torrent must be found.
const FOUND_WITHIN: Duration = Duration::from_secs(2);

/// The results of a search; the last line, which tells of the page, left out.
fn lines(text: &[u8]) -> Vec<Value> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let values = lines.map(|line| serde_json::from_slice::<Value>(line).unwrap());
    values.filter(|value| value.get("page").is_none()).collect()
}

/// That a search for a word of its name finds the torrent.
fn assert_found(torrent: &Torrent, word: &str, folder: &std::path::Path) {
    let hits =
        lines(&ask(folder, &["search", "--json", "--limit", "500", "--sort", "newest", word]).unwrap());
    let is_it = |hit: &Value| {
        hit["v1"].as_str() == torrent.v1.as_deref() && hit["v2"].as_str() == torrent.v2.as_deref()
    };
    assert!(hits.iter().any(is_it), "{word} does not find {torrent:?} but {hits:?}");
}

/// That `show` tells of the torrent what is true, by each of its hashes.
fn assert_shown(expected: &Torrent, folder: &std::path::Path) {
    for hash in [&expected.v1, &expected.v2].into_iter().flatten() {
        let shown = ask(folder, &["show", "--json", hash]).unwrap();
        assert_eq!(Export::parse(&shown).torrents, std::slice::from_ref(expected));
        let text = String::from_utf8(ask(folder, &["show", hash]).unwrap()).unwrap();
        assert!(text.contains("magnet:?xt=urn:bt") && text.contains(hash.as_str()), "{text}");
    }
}

/// The numbers of the newest run by kind of work, after it was checked that they add up.
fn work(folder: &std::path::Path, kind: &str) -> (u64, u64, u64) {
    let stats: Value = serde_json::from_slice(&ask(folder, &["stats", "--json"]).unwrap()).unwrap();
    let work = &stats["runs"][0]["work"][kind];
    let number =
        |name: &str| work[name].as_u64().unwrap_or_else(|| panic!("no {name} of {kind} in {stats:#}"));
    let run = &stats["runs"][0];
    assert_eq!(
        (&run["budgets"][0]["name"], &run["budgets"][1]["name"]),
        (&"packets".into(), &"bytes".into())
    );
    let names = run["queues"].as_array().unwrap().iter().map(|queue| queue["name"].as_str().unwrap());
    assert!(names.into_iter().any(|name| name == "answers waiting"), "{stats:#}");
    assert!(run["addresses"][0]["ports"].as_u64() > Some(0), "{stats:#}");
    let (attempted, succeeded, failed) = (number("attempted"), number("succeeded"), number("failed"));
    assert_eq!(attempted, succeeded + failed + number("in_flight"), "{stats:#}");
    let by_reason = work["failed_by_reason"].as_object().unwrap();
    assert_eq!(failed, by_reason.values().map(|count| count.as_u64().unwrap()).sum::<u64>(), "{stats:#}");
    (attempted, succeeded, failed)
}

#[test]
fn everything_that_a_swarm_holds_is_indexed_politely_and_found_at_once() {
    let swarm =
        Swarm::start(SwarmConfig { seed: 11, nodes: 300, torrents: 400, ..SwarmConfig::default() }).unwrap();
    let folder = TempDir::new();
    let mut indexer = Indexer::run(&folder.0, &swarm, &[]);
    let mut soonest = Duration::MAX;
    let export = loop {
        let export = indexer.export_of(1);
        // Under way it is the newest that is looked for.
        if let Some((torrent, added)) = export.newest()
            && let Some(word) = torrent.word()
        {
            assert_found(torrent, word, &folder.0);
            soonest = soonest.min(age(added));
        }
        if export.len() >= swarm.torrent_count() {
            break export;
        }
        indexer.export_of(export.len() + 1);
    };
    export.assert_is_all_of(&swarm);
    assert!(soonest < FOUND_WITHIN, "none was found sooner than {soonest:?} after its storing");

    let has = |v1: bool, v2: bool| {
        export
            .torrents
            .iter()
            .find(move |torrent| (torrent.v1.is_some(), torrent.v2.is_some()) == (v1, v2))
            .unwrap()
    };
    for torrent in [has(true, false), has(false, true), has(true, true)] {
        assert_shown(torrent, &folder.0);
    }

    indexer.interrupt();
    let output = indexer.output();
    assert!(output.starts_with("stopped\n") && output.contains("torrents 400 stored, 0 refused"), "{output}");
    let (_, fetched, _) = work(&folder.0, "fetches");
    assert!(fetched >= 400, "{fetched} fetched");
    let (_, replied, _) = work(&folder.0, "visits");
    assert!(replied >= 250, "{replied} nodes have replied");
    let stats: Value = serde_json::from_slice(&ask(&folder.0, &["stats", "--json"]).unwrap()).unwrap();
    assert_eq!(
        (&stats["torrents"]["stored"], &stats["backlog"]["in_flight"]),
        (&400.into(), &0.into()),
        "{stats:#}"
    );
    assert_eq!(stats["runs"][0]["state"], "stopped", "{stats:#}");

    assert_polite(&swarm);
}

#[test]
fn one_sweep_finds_what_is_there_reports_and_ends() {
    let swarm =
        Swarm::start(SwarmConfig { seed: 12, nodes: 100, torrents: 100, ..SwarmConfig::default() }).unwrap();
    let folder = TempDir::new();
    let mut indexer = Indexer::run(&folder.0, &swarm, &["--once"]);
    let (status, _) = indexer.wait();
    assert!(status.success(), "{}", indexer.log());
    let output = indexer.output();
    assert!(output.starts_with("sweep finished\n") && output.contains("torrents 100 stored"), "{output}");
    Export::parse(&ask(&folder.0, &["export"]).unwrap()).assert_is_all_of(&swarm);
    let (attempted, succeeded, failed) = work(&folder.0, "visits");
    assert_eq!(attempted, succeeded + failed, "a finished run has nothing in flight");
    assert!(succeeded >= 90, "only {succeeded} of 100 nodes were visited");
}

#[test]
fn a_shared_database_serves_as_well_as_a_private_one() {
    let swarm =
        Swarm::start(SwarmConfig { seed: 13, nodes: 60, torrents: 40, ..SwarmConfig::default() }).unwrap();
    let folder = TempDir::new();
    // A server that is somebody else's, as far as the indexer can tell.
    let server = Cluster::open(&options(&folder.join("server")), Mode::Own).unwrap();
    let config = server.connection("postgres");
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(db::ensure_database(&config, "shared"))
        .unwrap();
    let Host::Unix(socket) = &config.get_hosts()[0] else { panic!("no socket") };
    let host = socket.to_str().unwrap().replace('/', "%2F");
    let url = format!("postgres://{}@{host}/shared", config.get_user().unwrap());

    let mut indexer = Indexer::run(&folder.0, &swarm, &["--once", "--database-url", &url]);
    let (status, _) = indexer.wait();
    assert!(status.success(), "{}", indexer.log());
    let export = Export::parse(&ask(&folder.0, &["export", "--database-url", &url]).unwrap());
    export.assert_is_all_of(&swarm);
    assert!(!data_dir(&folder.0).exists(), "a private database was made beside the shared one");
}

#[test]
fn a_demo_is_searched_while_it_runs_and_ends_in_time() {
    const RUNS_FOR: Duration = Duration::from_secs(30);
    let folder = TempDir::new();
    let mut command = program(&folder.0, "demo");
    command.args(["--nodes", "300", "--torrents", "300", "--for", "30s"]);
    let begun = Instant::now();
    let mut demo = Indexer::start(&folder.0, command);
    // A user's first words: asked until there is an answer.
    let hits = demo.until("a search finding something", |demo| {
        let hits = lines(&demo.ask(&["search", "--json", "1080p"]).ok()?);
        (!hits.is_empty()).then_some(hits)
    });
    assert!(
        hits.iter().all(|hit| hit["name"].as_str().is_some_and(|name| name.to_lowercase().contains("1080p"))),
        "{hits:?}"
    );
    demo.until("the demo saying that all is indexed", |demo| {
        demo.log().contains("all 300 torrents indexed").then_some(())
    });
    let (status, _) = demo.wait();
    let took = begun.elapsed();
    assert!(status.success(), "{}", demo.log());
    assert!(demo.output().starts_with("time over\n"), "{}", demo.output());
    assert!(took >= RUNS_FOR && took < RUNS_FOR + Duration::from_secs(10), "it ran for {took:?}");
}
