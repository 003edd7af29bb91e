//! The sessions: a Python process beside the test.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde::Deserialize;

use super::environment;
use crate::whole_program::indexer::free_port;
use crate::whole_program::torrent::Torrent;

/// The script gives up after a minute by itself.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// What to start.
pub struct Plan {
    /// Address of the first session; the others follow.
    pub first_ip: IpAddr,
    pub sessions: usize,
    /// Regular torrents of each session; the awkward ones come on top.
    pub torrents: usize,
    /// Which connections the sessions take, in turn, as the script names them.
    pub kinds: &'static str,
    /// Whether libtorrent's own limits of DHT traffic are kept.
    pub real_limits: bool,
}

/// Running sessions. They end when this is dropped, or with the test process, since their input ends with it.
pub struct Sessions {
    process: Child,
    pub endpoints: Vec<SocketAddr>,
    pub torrents: Vec<Torrent>,
}

#[derive(Deserialize)]
struct Truth {
    sessions: Vec<SocketAddr>,
    torrents: Vec<Torrent>,
}

impl Sessions {
    /// Starts them and waits until their announces are visible. Files go to `folder`.
    pub fn start(plan: &Plan, folder: &Path) -> Self {
        let python = environment::python();
        let (truth, log) = (folder.join("truth.json"), folder.join("libtorrent.log"));
        let mut command = Command::new(python);
        command
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/libtorrent/swarm.py"))
            .arg("--truth")
            .arg(&truth)
            .args(["--first-ip", &plan.first_ip.to_string()])
            .args(["--port", &free_port(plan.first_ip).to_string()])
            .args(["--sessions", &plan.sessions.to_string()])
            .args(["--torrents", &plan.torrents.to_string()])
            .args(["--kinds", plan.kinds])
            .env("TMPDIR", folder)
            // No compiled files beside the sources.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap());
        if plan.real_limits {
            command.arg("--real-limits");
        }
        let mut process = command.spawn().unwrap();
        let output = process.stdout.take().unwrap();
        let (tell, ready) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let _ = tell.send(BufReader::new(output).lines().next().and_then(Result::ok));
        });
        let mut sessions = Self { process, endpoints: Vec::new(), torrents: Vec::new() };
        let line = ready.recv_timeout(READY_WITHIN);
        assert!(
            matches!(&line, Ok(Some(line)) if line == "ready"),
            "the libtorrent sessions did not become ready:\n{}",
            fs::read_to_string(&log).unwrap()
        );
        let written: Truth = serde_json::from_slice(&fs::read(&truth).unwrap()).unwrap();
        (sessions.endpoints, sessions.torrents) = (written.sessions, written.torrents);
        sessions
    }

    pub fn still_run(&mut self) -> bool {
        self.process.try_wait().is_ok_and(|ended| ended.is_none())
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        // Killed rather than asked: its sessions take seconds to say goodbye to each other, and have nothing to save.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
