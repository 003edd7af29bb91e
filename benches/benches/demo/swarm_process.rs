//! The swarm in a process of its own: started by the benchmark, asked over its standard input, ended with it.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use krpc::InfoHash;
use serde_json::{Value, json};
use swarm::{Swarm, SwarmConfig, Torrent};

use crate::{
    Size,
    floor::{self, Floor},
};

/// The argument that makes this program the swarm.
pub(crate) const ROLE: &str = "--be-the-swarm";

/// Torrents that are searched for.
const SEARCHES: usize = 10;

/// Words of a name that are searched for.
const WORDS: usize = 5;

/// Is the swarm: says what there is, then its counts for every line that comes in, until none comes any more.
pub(crate) fn serve(nodes: usize, torrents: usize) -> Result<(), String> {
    let config = SwarmConfig {
        nodes,
        torrents,
        sample_interval: floor::INTERVAL,
        without_sampling_share: floor::WITHOUT_SAMPLING_SHARE,
        ..SwarmConfig::default()
    };
    let swarm = Swarm::start(config).map_err(|error| format!("the swarm cannot be started: {error}"))?;
    let ids: Vec<_> = swarm.nodes().map(|(id, _)| id).collect();
    let keys: Vec<InfoHash> = swarm.torrents().flat_map(|torrent| torrent.dht_keys()).collect();
    let floor = Floor::of(&ids, &keys);
    let searches: Vec<_> = swarm
        .torrents()
        .step_by(torrents.div_ceil(SEARCHES).max(1))
        .filter_map(|torrent| Some(json!({ "words": words(&torrent), "hash": torrent.v1?.to_string() })))
        .collect();
    say(&json!({
        "bootstrap": swarm.bootstrap().iter().map(SocketAddr::to_string).collect::<Vec<_>>(),
        "searches": searches,
        "keys": floor.keys,
        "most_keys": floor.most_keys,
        "sampling_rounds": floor.sampling_rounds,
        "asking_seconds": floor.asking_seconds,
    }))?;
    for _ in io::stdin().lines() {
        let stats = swarm.stats();
        say(&json!({
            "datagrams": stats.datagrams,
            "samples": stats.samples + stats.samples_unsupported,
            "find_nodes": stats.find_nodes,
            "get_peers": stats.get_peers,
            "to_the_dead": stats.to_the_dead,
            "connections": stats.connections,
            "floods": stats.floods,
            "peak_per_second": stats.peak_per_second,
        }))?;
    }
    Ok(())
}

/// Words of a torrent's name, without what a query gives a meaning to.
fn words(torrent: &Torrent) -> String {
    let words =
        torrent.name.split(|letter: char| !letter.is_alphanumeric()).filter(|word| word.chars().count() > 2);
    words.take(WORDS).collect::<Vec<_>>().join(" ")
}

fn say(value: &Value) -> Result<(), String> {
    let mut out = io::stdout().lock();
    writeln!(out, "{value}").and_then(|()| out.flush()).map_err(|error| format!("nobody listens: {error}"))
}

/// The swarm as the benchmark sees it.
#[derive(Debug)]
pub(crate) struct SwarmProcess {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Addresses to begin at.
    pub(crate) bootstrap: Vec<String>,
    /// Words to search for, and the hash of the torrent that must be found.
    pub(crate) searches: Vec<(String, String)>,
    /// The floor under a crawler of this swarm.
    pub(crate) floor: Floor,
}

/// What a swarm has counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    /// Datagrams that came in.
    pub(crate) datagrams: u64,
    /// Queries sample_infohashes.
    pub(crate) samples: u64,
    /// Queries find_node.
    pub(crate) find_nodes: u64,
    /// Queries get_peers.
    pub(crate) get_peers: u64,
    /// Datagrams to nodes that answer nobody.
    pub(crate) to_the_dead: u64,
    /// Connections that came in.
    pub(crate) connections: u64,
    /// Nodes that found themselves flooded.
    pub(crate) floods: u64,
    /// Most datagrams to one node in a second.
    pub(crate) peak_per_second: u64,
}

impl SwarmProcess {
    /// Starts it and waits until it answers.
    pub(crate) fn start(size: Size) -> Result<Self, String> {
        let program =
            std::env::current_exe().map_err(|error| format!("this program has no name: {error}"))?;
        let mut child = Command::new(program)
            .args([ROLE, "--nodes", &size.nodes.to_string(), "--torrents", &size.torrents.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("the swarm's process cannot be started: {error}"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the swarm's process has no pipes".to_owned());
        };
        let mut output = BufReader::new(output);
        let ready = line(&mut output)?;
        let texts = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |name: &str| ready[name].as_array().cloned().unwrap_or_default();
        Ok(Self {
            child,
            input,
            output,
            bootstrap: list("bootstrap").iter().map(texts).collect(),
            searches: list("searches")
                .iter()
                .map(|search| (texts(&search["words"]), texts(&search["hash"])))
                .collect(),
            floor: Floor {
                keys: number(&ready, "keys") as usize,
                nodes: size.nodes,
                most_keys: number(&ready, "most_keys") as usize,
                sampling_rounds: number(&ready, "sampling_rounds"),
                asking_seconds: ready["asking_seconds"].as_f64().unwrap_or(0.0),
            },
        })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has counted so far.
    pub(crate) fn counts(&mut self) -> Result<Counts, String> {
        self.input.write_all(b"\n").map_err(|error| format!("the swarm is gone: {error}"))?;
        let counts = line(&mut self.output)?;
        Ok(Counts {
            datagrams: number(&counts, "datagrams"),
            samples: number(&counts, "samples"),
            find_nodes: number(&counts, "find_nodes"),
            get_peers: number(&counts, "get_peers"),
            to_the_dead: number(&counts, "to_the_dead"),
            connections: number(&counts, "connections"),
            floods: number(&counts, "floods"),
            peak_per_second: number(&counts, "peak_per_second"),
        })
    }
}

impl Drop for SwarmProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn line(output: &mut BufReader<ChildStdout>) -> Result<Value, String> {
    let mut line = String::new();
    output.read_line(&mut line).map_err(|error| format!("the swarm cannot be read: {error}"))?;
    serde_json::from_str(&line).map_err(|_| format!("the swarm said {line:?}"))
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or(0)
}
