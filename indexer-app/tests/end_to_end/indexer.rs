//! The program as its users run it.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::atomic::{AtomicU8, AtomicU32, Ordering},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use swarm::{Habits, Swarm, SwarmConfig};

use crate::{
    exported::Export,
    patience::{PATIENCE, until},
    process,
};

/// Lines of the log in the message of a failed test.
const LOG_LINES: usize = 30;

/// How long a program that outlived its test may take to end by itself, before it is killed.
const FAREWELL: Duration = Duration::from_secs(15);

/// An address of this test's own for an indexer; swarms leave 127.0.0.0/16 to their users.
pub(crate) fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    Ipv4Addr::new(127, 0, 100 + (std::process::id() % 100) as u8, NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The configuration of a swarm whose seeders take their time, so that what is done to an indexer that fetches but
/// [`FEW_FETCHES`] at a time falls into the middle of its work: some 20 torrents a second.
pub(crate) fn unhurried(seed: u64, nodes: usize, torrents: usize) -> SwarmConfig {
    let habits =
        Habits { one_at_a_time: 0.0, ticking: 1.0, tick: Duration::from_millis(400), ..Habits::default() };
    SwarmConfig { seed, nodes, torrents, habits, ..SwarmConfig::default() }
}

/// Beside [`unhurried`].
pub(crate) const FEW_FETCHES: [&str; 2] = ["--fetches", "8"];

/// A program that runs: `run`, `demo`, or one that should end at once.
pub(crate) struct Indexer {
    process: Child,
    data_dir: PathBuf,
    output: PathBuf,
    log: PathBuf,
}

impl Indexer {
    /// `run` from an address of its own on what the swarm offers, with settings that suit a network so small.
    pub(crate) fn run(folder: &Path, swarm: &Swarm, more: &[&str]) -> Self {
        let bootstrap: Vec<String> = swarm.bootstrap().iter().map(SocketAddr::to_string).collect();
        let mut arguments: Vec<&str> = more.to_vec();
        for node in &bootstrap {
            arguments.extend(["--bootstrap", node]);
        }
        Self::run_alone(folder, own_address(), &arguments)
    }

    /// The same with nobody named to join through.
    pub(crate) fn run_alone(folder: &Path, address: Ipv4Addr, more: &[&str]) -> Self {
        let mut command = program(folder, "run");
        command.args(["--bind", &address.to_string(), "--port", "0", "--ports", "2"]);
        command.args(["--min-sample-interval", "5s", "--shared-buffers", "33554432"]);
        command.args(more);
        Self::start(folder, command)
    }

    /// Starts a command of [`program`] or alike.
    pub(crate) fn start(folder: &Path, mut command: Command) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (output, log) = (folder.join(format!("{number}.out")), folder.join(format!("{number}.log")));
        command
            .stdin(Stdio::null())
            .stdout(File::create(&output).unwrap())
            .stderr(File::create(&log).unwrap());
        Self { process: command.spawn().unwrap(), data_dir: data_dir(folder), output, log }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.process.id().cast_signed()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// What it has written to standard output: the report, once it has ended.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap()
    }

    fn last_lines(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// Looks until there is something, while the program runs.
    pub(crate) fn until<T>(&mut self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let found = until(PATIENCE, || {
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("it ended, {status}, before {what}:\n{}", self.last_lines());
            }
            look(self)
        });
        let Some(found) = found else {
            panic!(
                "{what} has not come about in {PATIENCE:?}:\n{}\n{}",
                self.last_lines(),
                self.say(&["stats"])
            )
        };
        found
    }

    /// Where its DHT ports are, once they are bound.
    pub(crate) fn listening(&mut self, ports: usize) -> Vec<SocketAddr> {
        self.until("its ports being bound", |indexer| {
            let log = indexer.log();
            let addresses: Vec<SocketAddr> = log
                .lines()
                .filter(|line| line.contains("listening"))
                .filter_map(|line| line.split_once("local=")?.1.split_whitespace().next()?.parse().ok())
                .collect();
            (addresses.len() == ports).then_some(addresses)
        })
    }

    /// The process number of its database, once that accepts connections.
    pub(crate) fn database(&mut self) -> i32 {
        self.until("its database accepting connections", |indexer| process::ready_database(&indexer.data_dir))
    }

    /// What an export holds, once it holds so much.
    pub(crate) fn export_of(&mut self, torrents: usize) -> Export {
        self.until(&format!("{torrents} torrents being stored"), |indexer| {
            let export = Export::parse(&indexer.ask(&["export"]).ok()?);
            (export.len() >= torrents).then_some(export)
        })
    }

    /// What another command prints while this one runs, or why it does not.
    pub(crate) fn ask(&self, command: &[&str]) -> Result<Vec<u8>, String> {
        ask(self.data_dir.parent().unwrap(), command)
    }

    fn say(&self, command: &[&str]) -> String {
        self.ask(command).map_or_else(|error| error, |text| String::from_utf8_lossy(&text).into_owned())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        process::signal(self.pid(), signal);
    }

    /// How it ended and how long that took from now on.
    pub(crate) fn wait(&mut self) -> (ExitStatus, Duration) {
        self.until_ended(|| {})
    }

    /// The same; looks at it again and again until then.
    pub(crate) fn until_ended(&mut self, mut look: impl FnMut()) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        let ended = until(PATIENCE, || {
            look();
            self.process.try_wait().unwrap()
        });
        let Some(status) = ended else { panic!("it has not ended in {PATIENCE:?}:\n{}", self.last_lines()) };
        (status, begun.elapsed())
    }

    /// Ends it as Ctrl-C does; that it ends well is part of each test.
    pub(crate) fn interrupt(&mut self) -> Duration {
        self.signal(Signal::SIGINT);
        let (status, took) = self.wait();
        assert!(status.success(), "it ended with {status}:\n{}", self.last_lines());
        took
    }

    /// Kills it as the system does when memory runs out.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        // Only when a test has failed before its end: gently first, so that the database ends too.
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), Signal::SIGTERM);
            until(FAREWELL, || self.process.try_wait().ok().flatten());
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

/// Where the data of a test is in its folder.
pub(crate) fn data_dir(folder: &Path) -> PathBuf {
    folder.join("data")
}

/// The program with a command, apart from what the machine's user has set up for an indexer of theirs.
pub(crate) fn program(folder: &Path, command: &str) -> Command {
    let mut program = bare(Path::new(env!("CARGO_BIN_EXE_indexer")), folder);
    program.arg(command).arg("--data-dir").arg(data_dir(folder));
    program
}

/// The program at `path` without a command yet, and without any setting.
pub(crate) fn bare(path: &Path, folder: &Path) -> Command {
    let settings = folder.join("empty.toml");
    fs::write(&settings, "").unwrap();
    let mut program = Command::new(path);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("INDEXER_") {
            program.env_remove(name);
        }
    }
    program.arg("--config").arg(settings);
    program
}

/// What a command prints, or why it does not.
pub(crate) fn ask(folder: &Path, command: &[&str]) -> Result<Vec<u8>, String> {
    let output = program(folder, command[0]).args(&command[1..]).stdin(Stdio::null()).output().unwrap();
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The one sentence with which a command refuses.
pub(crate) fn refusal(command: &mut Command) -> String {
    let output: Output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "it succeeded: {text}");
    assert!(output.stdout.is_empty(), "results of what failed");
    // What was logged on the way stands before it.
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("indexer: ")
        .unwrap_or_else(|| panic!("no sentence of the program's:\n{text}"))
        .to_owned()
}
