//! A synthetic swarm of DHT nodes in a process of its own: started by the benchmark, asked over its standard input, ended with it.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use swarm::{Swarm, SwarmConfig};

/// The argument that makes a program the crowd; the number of its nodes and of its torrents follow.
pub(crate) const ROLE: &str = "--be-the-crowd";

/// Is the crowd: says how to join it, then its counts for every line that comes in, until none comes any more.
pub(crate) fn serve(arguments: impl Iterator<Item = String>) -> Result<(), String> {
    let numbers: Vec<usize> = arguments.filter_map(|argument| argument.parse().ok()).collect();
    let [nodes, torrents] = numbers[..] else { return Err(format!("{ROLE} NODES TORRENTS")) };
    let config = SwarmConfig { nodes, torrents, sample_interval: INTERVAL, ..SwarmConfig::default() };
    let swarm = Swarm::start(config).map_err(|error| format!("the swarm cannot be started: {error}"))?;
    let bootstrap: Vec<String> = swarm.bootstrap().iter().map(SocketAddr::to_string).collect();
    say(&json!({ "bootstrap": bootstrap }))?;
    for _ in io::stdin().lines() {
        let stats = swarm.stats();
        say(&json!({
            "datagrams": stats.datagrams,
            "to_the_dead": stats.to_the_dead,
            "nodes_asked": stats.nodes_asked,
            "nodes_sampled": stats.nodes_sampled,
            "floods": stats.floods,
            "peak_per_second": stats.peak_per_second,
            "not_followed": stats.senders_not_followed,
        }))?;
    }
    Ok(())
}

/// What real clients advertise: nobody asks a node twice while a benchmark lasts.
const INTERVAL: Duration = Duration::from_secs(21_600);

fn say(value: &Value) -> Result<(), String> {
    let mut out = io::stdout().lock();
    writeln!(out, "{value}").and_then(|()| out.flush()).map_err(|error| format!("nobody listens: {error}"))
}

/// The crowd as a benchmark sees it.
#[derive(Debug)]
pub(crate) struct Crowd {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Addresses to begin at.
    pub(crate) bootstrap: Vec<String>,
}

/// What a crowd has counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    /// Datagrams that came in.
    pub(crate) datagrams: u64,
    /// Datagrams to nodes that answer nobody.
    pub(crate) to_the_dead: u64,
    /// Live nodes that were asked anything.
    pub(crate) nodes_asked: u64,
    /// Live nodes that were asked sample_infohashes.
    pub(crate) nodes_sampled: u64,
    /// Times that a node began to ignore somebody for flooding.
    pub(crate) floods: u64,
    /// Most datagrams to one node in a second.
    pub(crate) peak_per_second: u64,
    /// Datagrams left out of the last two for want of room.
    pub(crate) not_followed: u64,
}

impl Crowd {
    /// Starts it and waits until it answers.
    pub(crate) fn start(nodes: usize, torrents: usize) -> Result<Self, String> {
        let program =
            std::env::current_exe().map_err(|error| format!("this program has no name: {error}"))?;
        let mut child = Command::new(program)
            .args([ROLE, &nodes.to_string(), &torrents.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("the swarm's process cannot be started: {error}"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the swarm's process has no pipes".to_owned());
        };
        let mut crowd = Self { child, input, output: BufReader::new(output), bootstrap: Vec::new() };
        let ready = crowd.line()?;
        let list = ready["bootstrap"].as_array().cloned().unwrap_or_default();
        crowd.bootstrap = list.iter().filter_map(|addr| addr.as_str().map(str::to_owned)).collect();
        Ok(crowd)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has counted so far.
    pub(crate) fn counts(&mut self) -> Result<Counts, String> {
        self.input.write_all(b"\n").map_err(|error| format!("the swarm is gone: {error}"))?;
        let counts = self.line()?;
        let number = |name: &str| counts[name].as_u64().unwrap_or(0);
        Ok(Counts {
            datagrams: number("datagrams"),
            to_the_dead: number("to_the_dead"),
            nodes_asked: number("nodes_asked"),
            nodes_sampled: number("nodes_sampled"),
            floods: number("floods"),
            peak_per_second: number("peak_per_second"),
            not_followed: number("not_followed"),
        })
    }

    fn line(&mut self) -> Result<Value, String> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|error| format!("the swarm cannot be read: {error}"))?;
        serde_json::from_str(&line).map_err(|_| format!("the swarm said {line:?}"))
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
