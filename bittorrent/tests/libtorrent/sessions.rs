//! The sessions: a Python process beside the tests.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::Mutex,
};

use krpc::InfoHash;

use crate::environment;

pub struct Sessions {
    /// By what they take.
    addrs: HashMap<String, SocketAddr>,
    pub torrents: Vec<Torrent>,
    /// It ends when its input is closed: at the latest with the test program.
    process: Mutex<Child>,
}

pub struct Torrent {
    pub hash: InfoHash,
    pub bytes: usize,
}

impl Sessions {
    pub fn start() -> Self {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/libtorrent");
        let mut process = Command::new(environment::python())
            .arg(format!("{folder}/seeder.py"))
            .env("PYTHONPATH", format!("{folder}/../../../indexer-app/tests/libtorrent"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("TMPDIR", env!("CARGO_TARGET_TMPDIR"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        // It says why on its standard error.
        assert!(line.starts_with('{'), "the sessions did not start");
        let told: serde_json::Value = serde_json::from_str(&line).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let sessions = told["sessions"].as_object().unwrap();
        let addrs = sessions.iter().map(|(kind, addr)| (kind.clone(), text(addr).parse().unwrap())).collect();
        let torrent = |torrent: &serde_json::Value| Torrent {
            hash: text(&torrent["hash"]).parse().unwrap(),
            bytes: torrent["bytes"].as_u64().unwrap() as usize,
        };
        let torrents = told["torrents"].as_array().unwrap().iter().map(torrent).collect();
        Self { addrs, torrents, process: Mutex::new(process) }
    }

    pub fn addr(&self, kind: &str) -> SocketAddr {
        *self.addrs.get(kind).unwrap_or_else(|| panic!("no session {kind:?} in {:?}", self.addrs))
    }

    /// Makes a session connect to an address of ours.
    pub fn call(&self, kind: &str, hash: InfoHash, to: SocketAddr) {
        let mut process = self.process.lock().unwrap();
        writeln!(process.stdin.as_mut().unwrap(), "{kind} {hash} {} {}", to.ip(), to.port()).unwrap();
    }
}
