//! `indexer fetch`: by an indexer that runs and without one, by every name of a torrent, found or not.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use serde_json::Value;
use sha1::{Digest, Sha1};
use swarm::{Swarm, SwarmConfig};

use crate::{
    exported::Torrent,
    giving::read_by_libtorrent,
    indexer::{Indexer, ask, own_address, program, refusal},
    private_cluster::TempDir,
};

/// Nobody has it.
const NOWHERE: &str = "0123456789abcdef0123456789abcdef01234567";

fn swarm(seed: u64) -> Swarm {
    Swarm::start(SwarmConfig { seed, nodes: 60, torrents: 24, ..SwarmConfig::default() }).unwrap()
}

/// The command with what suits a network so small.
fn fetch(folder: &Path, swarm: &Swarm) -> Command {
    let mut command = program(folder, "fetch");
    command.args(["--bind", &own_address().to_string(), "--port", "0", "--ports", "1"]);
    command.args(["--shared-buffers", "33554432", "--bootstrap", &swarm.bootstrap()[0].to_string()]);
    command
}

/// What it prints, in the order of the hashes.
fn torrents(output: &Output) -> Vec<Torrent> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut torrents: Vec<Torrent> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    torrents.sort_by_key(Torrent::hashes);
    torrents
}

fn expected<'a>(torrents: impl IntoIterator<Item = &'a swarm::Torrent>) -> Vec<Torrent> {
    let mut torrents: Vec<Torrent> = torrents.into_iter().map(Torrent::expected).collect();
    torrents.sort_by_key(Torrent::hashes);
    torrents
}

/// RFC 4648.
fn base32(bytes: &[u8]) -> String {
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let digits = bits.as_bytes().chunks(5).map(|five| {
        let value = usize::from_str_radix(std::str::from_utf8(five).unwrap(), 2).unwrap();
        char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[value])
    });
    digits.collect()
}

fn stats(folder: &Path) -> Value {
    serde_json::from_slice(&ask(folder, &["stats", "--json"]).unwrap()).unwrap()
}

#[test]
fn torrents_are_fetched_by_every_name_without_an_indexer_and_nothing_else_is() {
    let (swarm, folder) = (swarm(71), TempDir::new());
    let all: Vec<swarm::Torrent> = swarm.torrents().collect();
    let with_v1: Vec<&swarm::Torrent> = all.iter().filter(|torrent| torrent.v1.is_some()).collect();
    let with_v2 = all.iter().find(|torrent| torrent.v2.is_some()).unwrap();
    let v2 = Torrent::expected(with_v2).v2.unwrap();
    let v1 = |at: usize| with_v1[at].v1.unwrap();
    let file = folder.0.join("one.torrent");

    let output = fetch(&folder.0, &swarm)
        .args(["--json", &v1(0).to_string(), &v2])
        .arg(format!("magnet:?xt=urn:btih:{}&dn=whatever&tr=udp%3A%2F%2F127.0.0.1%3A9", v1(1)))
        .arg(format!("magnet:?xt=urn:btih:{}", base32(v1(2).as_bytes())))
        .output()
        .unwrap();
    let mut wanted = expected([with_v1[0], with_v1[1], with_v1[2], with_v2]);
    wanted.dedup();
    assert_eq!(torrents(&output), wanted);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("no indexer runs on this database"), "{said}");
    assert!(said.contains("the link's trackers are not asked"), "{said}");
    let stats = stats(&folder.0);
    assert_eq!(stats["torrents"]["stored"], wanted.len(), "{stats:#}");
    assert_eq!(stats["runs"][0]["state"], "fetched", "{stats:#}");

    // What is there is shown at once, and its info dict is still at hand.
    let began = Instant::now();
    let mut again = program(&folder.0, "fetch");
    let output = again.args(["--json", &v1(0).to_string(), "--torrent"]).arg(&file).output().unwrap();
    assert_eq!(torrents(&output), expected([with_v1[0]]));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let written = fs::read(&file).unwrap();
    let raw = written.strip_prefix(b"d4:info").and_then(|rest| rest.strip_suffix(b"e")).unwrap();
    assert_eq!(Sha1::digest(raw)[..], v1(0).as_bytes()[..]);
    let read = read_by_libtorrent(&file);
    assert_eq!((&read["v1"], &read["name"]), (&v1(0).to_string().into(), &with_v1[0].name.clone().into()));
    assert_eq!(
        fs::read_dir(&folder.0)
            .unwrap()
            .filter(|entry| { entry.as_ref().unwrap().file_name().to_string_lossy().contains("one.torrent") })
            .count(),
        1,
        "nothing is left beside it"
    );
}

#[test]
fn an_indexer_that_runs_is_asked_and_the_command_waits_for_it() {
    let (swarm, folder) = (swarm(72), TempDir::new());
    let all: Vec<swarm::Torrent> = swarm.torrents().collect();
    // It joins nobody, so that it finds nothing by itself but by the peer that the link names.
    let mut indexer = Indexer::run_alone(&folder.0, own_address(), &[]);
    indexer.listening(2);
    indexer.database();
    let torrent = all.iter().find(|torrent| torrent.v1.is_some()).unwrap();
    let peer = swarm.seeders(torrent.index).next().unwrap();
    let hash = torrent.v1.unwrap();
    let output = program(&folder.0, "fetch")
        .args(["--json", "--for", "60s"])
        .arg(format!("magnet:?xt=urn:btih:{hash}&x.pe={peer}"))
        .output()
        .unwrap();
    assert_eq!(torrents(&output), expected([torrent]));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("asked the indexer that runs as"), "{said}");
    // Its info dict is kept for its user, though others are not.
    let file = folder.0.join("asked.torrent");
    let mut again = program(&folder.0, "fetch");
    assert!(again.args([&hash.to_string(), "--torrent"]).arg(&file).output().unwrap().status.success());
    assert!(fs::metadata(&file).unwrap().len() > 100);
    indexer.interrupt();
}

#[test]
fn what_is_not_found_is_said_and_stays_requested() {
    let (swarm, folder) = (swarm(73), TempDir::new());
    let began = Instant::now();
    let said = refusal(fetch(&folder.0, &swarm).args(["--for", "5s", NOWHERE]));
    assert!(said.starts_with(&format!("{NOWHERE} was not fetched within 5s (")), "{said}");
    assert!(said.ends_with("it stays requested"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let backlog = &stats(&folder.0)["backlog"];
    let waiting = |name: &str| backlog[name].as_u64().unwrap();
    assert_eq!(waiting("due") + waiting("waiting") + waiting("in_flight"), 1, "{backlog:#}");
    assert_eq!(waiting("in_flight"), 0, "nobody has it in hand any more: {backlog:#}");

    for (odd, why) in [("nonsense", "names no torrent"), ("magnet:?dn=x", "has neither")] {
        let said = refusal(program(&folder.0, "fetch").arg(odd));
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn an_interrupt_ends_it_soon_and_leaves_the_hash_requested() {
    let (swarm, folder) = (swarm(74), TempDir::new());
    let mut command = fetch(&folder.0, &swarm);
    command.args(["--for", "5m", NOWHERE]);
    let mut waiting = Indexer::start(&folder.0, command);
    waiting.until("its being under way", |waiting| waiting.log().contains("no indexer runs").then_some(()));
    waiting.until("a first try", |waiting| waiting.log().contains(NOWHERE).then_some(()));
    waiting.signal(nix::sys::signal::Signal::SIGINT);
    let (status, took) = waiting.wait();
    assert!(!status.success());
    assert!(took < Duration::from_secs(5), "{took:?}:\n{}", waiting.log());
    let log = waiting.log();
    assert!(log.lines().last().unwrap().contains("is not fetched yet"), "{log}");
    let backlog = &stats(&folder.0)["backlog"];
    assert_eq!(backlog["in_flight"], 0, "{backlog:#}");
    assert_eq!(backlog["due"].as_u64().unwrap() + backlog["waiting"].as_u64().unwrap(), 1, "{backlog:#}");
}
