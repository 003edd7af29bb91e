//! The indexer: the released program, with a data directory of its own, asked by its own commands.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant, SystemTime},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// How long it may take to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the program is: given by `INDEXER_BIN`, or built here beside this program.
pub(crate) fn program() -> Result<PathBuf, String> {
    if let Some(given) = std::env::var_os("INDEXER_BIN") {
        return Ok(given.into());
    }
    // target/release/deps/demo-...
    let own = std::env::current_exe().map_err(|error| format!("this program has no name: {error}"))?;
    let Some(target) = own.ancestors().nth(3) else {
        return Err(format!("{} is in no target directory: set INDEXER_BIN", own.display()));
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let built = Command::new(cargo)
        .args(["build", "--release", "--quiet", "-p", "indexer-app", "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(target)
        .status()
        .map_err(|error| format!("cargo cannot be run: {error}"))?;
    if built.success() {
        Ok(target.join("release/indexer"))
    } else {
        Err("the indexer was not built".to_owned())
    }
}

/// A running indexer.
#[derive(Debug)]
pub(crate) struct Indexer {
    program: PathBuf,
    folder: PathBuf,
    child: Child,
    /// When it was started.
    pub(crate) started: SystemTime,
}

impl Indexer {
    /// Starts it with an empty data directory and these settings.
    pub(crate) fn start(program: &Path, settings: &[&str], bootstrap: &[String]) -> Result<Self, String> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("indexer-bench-{}-{number}", std::process::id()));
        let failed = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(failed("an old data directory cannot be removed"))?;
        }
        fs::create_dir_all(&folder).map_err(failed("no data directory can be made"))?;
        // What the machine's own settings say is not measured here.
        File::create(folder.join("settings.toml")).map_err(failed("no settings file can be made"))?;
        let log = File::create(folder.join("log")).map_err(failed("no log can be made"))?;
        let report = File::create(folder.join("report")).map_err(failed("no report can be made"))?;
        let started = SystemTime::now();
        let mut command = command(program, &folder, "run");
        for node in bootstrap {
            command.args(["--bootstrap", node]);
        }
        let child = command
            .args(settings)
            .stdin(Stdio::null())
            .stdout(report)
            .stderr(log)
            .spawn()
            .map_err(failed("the indexer cannot be started"))?;
        Ok(Self { program: program.to_owned(), folder, child, started })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its data directory.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// What it has written: the report at its end, and its log.
    pub(crate) fn written(&self) -> (String, String) {
        let read = |name| fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        (read("report"), read("log"))
    }

    /// Its own numbers, as JSON; `None` while the database is not there yet.
    pub(crate) fn stats(&self) -> Option<Value> {
        serde_json::from_str(&self.ask("stats", &["--json"]).ok()?).ok()
    }

    /// Torrents that can be searched now; `None` while the database is not there yet.
    pub(crate) fn torrents(&mut self) -> Result<Option<u64>, String> {
        if let Ok(Some(status)) = self.child.try_wait() {
            let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            return Err(format!("the indexer ended ({status}):\n{log}"));
        }
        let Ok(answer) = self.ask("stats", &["--json"]) else { return Ok(None) };
        let stats: Value = serde_json::from_str(&answer).map_err(|error| format!("stats: {error}"))?;
        Ok(stats["torrents"]["stored"].as_u64())
    }

    /// When each torrent was stored, earliest first.
    pub(crate) fn stored_at(&self) -> Result<Vec<SystemTime>, String> {
        let export = self.ask("export", &[])?;
        let times = export.lines().map(|line| {
            let line: Value = serde_json::from_str(line).map_err(|error| format!("export: {error}"))?;
            let added_at = line["added_at"].as_str().unwrap_or_default();
            humantime::parse_rfc3339(added_at).map_err(|error| format!("export: {added_at:?}: {error}"))
        });
        let mut times = times.collect::<Result<Vec<_>, String>>()?;
        times.sort_unstable();
        Ok(times)
    }

    /// Whether searching for these words finds the torrent with this hash.
    pub(crate) fn finds(&self, words: &str, hash: &str) -> bool {
        self.ask("search", &["--json", "--limit", "500", "--", words]).is_ok_and(|found| found.contains(hash))
    }

    /// Stops it as Ctrl-C does, and waits.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        kill(Pid::from_raw(self.pid() as i32), Signal::SIGINT)
            .map_err(|error| format!("the indexer is gone: {error}"))?;
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("the indexer ended badly: {status}")),
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        Err(format!("the indexer has not ended in {PATIENCE:?}"))
    }

    fn ask(&self, name: &str, arguments: &[&str]) -> Result<String, String> {
        let mut command = command(&self.program, &self.folder, name);
        let output = command.args(arguments).output().map_err(|error| format!("indexer {name}: {error}"))?;
        if !output.status.success() {
            return Err(format!("indexer {name}: {}", String::from_utf8_lossy(&output.stderr)));
        }
        String::from_utf8(output.stdout).map_err(|error| format!("indexer {name}: {error}"))
    }
}

fn command(program: &Path, folder: &Path, name: &str) -> Command {
    let mut command = Command::new(program);
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("INDEXER_") {
            command.env_remove(variable);
        }
    }
    command.arg(name).arg("--config").arg(folder.join("settings.toml"));
    command.arg("--data-dir").arg(folder.join("data"));
    command
}

impl Drop for Indexer {
    fn drop(&mut self) {
        // Its database ends with it. All of this is in vain after a good end.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
