//! The indexer as its users run it: the program, in a process of its own.

use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{scratch, torrent::Torrent};

/// Time that a graceful end may take: what is under way is finished and saved, and the database stops.
const END_WITHIN: Duration = Duration::from_secs(30);
/// Between looks at a process that is ending.
const LOOK: Duration = Duration::from_millis(50);

/// A directory that PostgreSQL's account can reach, gone when dropped.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("indexer-interop-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = scratch::place().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running `indexer run`.
pub struct Indexer {
    process: Child,
    folder: PathBuf,
    pub ip: IpAddr,
}

impl Indexer {
    /// Starts eight virtual nodes on so many ports at `ip`, with its data in `folder`, knowing `bootstrap`.
    pub fn start(ip: IpAddr, ports: u32, bootstrap: &[SocketAddr], folder: &Path) -> Self {
        fs::write(folder.join("empty.toml"), "").unwrap();
        let mut command = program(folder, "run");
        command
            .args(["--bind", &ip.to_string(), "--port", &free_port(ip).to_string()])
            .args(["--ports", &ports.to_string(), "--nodes-per-port", &(8 / ports).to_string()])
            .args(["--min-sample-interval", "2s"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(folder.join("indexer.log")).unwrap());
        for node in bootstrap {
            command.args(["--bootstrap", &node.to_string()]);
        }
        let process = command.spawn().unwrap();
        Self { process, folder: folder.to_owned(), ip }
    }

    /// What `indexer export` prints now, or why it cannot yet.
    pub fn export(&mut self) -> Result<Vec<Torrent>, String> {
        if let Some(status) = self.process.try_wait().unwrap() {
            panic!("the indexer ended by itself, {status}:\n{}", self.log());
        }
        let output = program(&self.folder, "export").stdin(Stdio::null()).output().unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        Ok(lines.map(|line| serde_json::from_slice(line).unwrap()).collect())
    }

    /// What `indexer stats` prints, for messages.
    pub fn stats(&self) -> String {
        let output = program(&self.folder, "stats").stdin(Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The last lines of its log, for messages.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.join("indexer.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Ends it as Ctrl-C does; its exit status.
    pub fn stop(&mut self) -> ExitStatus {
        kill(Pid::from_raw(self.process.id() as i32), Signal::SIGINT).unwrap();
        let begun = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(
                begun.elapsed() < END_WITHIN,
                "the indexer did not end within {END_WITHIN:?}:\n{}",
                self.log()
            );
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        // Only when a test failed before it stopped the indexer: gently, so that the database ends too.
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = kill(Pid::from_raw(self.process.id() as i32), Signal::SIGTERM);
            let begun = Instant::now();
            while matches!(self.process.try_wait(), Ok(None)) && begun.elapsed() < END_WITHIN {
                std::thread::sleep(LOOK);
            }
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

/// The program with a command, apart from what the machine's user has set up for an indexer of theirs.
fn program(folder: &Path, command: &str) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_indexer"));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("INDEXER_")) {
            program.env_remove(name);
        }
    }
    program
        .arg("--config")
        .arg(folder.join("empty.toml"))
        .arg(command)
        .arg("--data-dir")
        .arg(folder.join("data"));
    program
}

/// A UDP port that nobody uses at this address now.
pub fn free_port(ip: IpAddr) -> u16 {
    UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap().port()
}
