//! The thread that is the server's parent: starts it, waits for it, starts it again when it dies, ends it.

use std::{
    collections::VecDeque,
    fmt,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI32, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{ClusterError, account::Account, guard, postmaster_pid::PostmasterPid, server_settings};

/// How often the server is looked at: this is how late a death is noticed.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);

/// How often a starting or stopping server is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Longest start: after a crash the log since the last checkpoint (up to 4 GB) is replayed.
const START_MAX: Duration = Duration::from_secs(600);

/// Longest graceful stop; what is committed is safe without it.
const STOP_MAX: Duration = Duration::from_secs(30);

/// Longest abrupt stop, after which it is killed.
const ABORT_MAX: Duration = Duration::from_secs(5);

/// First wait before a server that died is started again; doubles with each death.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);

/// Longest wait before it is started again.
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// A server that ran so long had started well: the next death is a new one.
const STEADY_AFTER: Duration = Duration::from_secs(60);

/// Longest wait for the last words of a server that has ended.
const HEARING_MAX: Duration = Duration::from_millis(500);

/// Lines of the server's messages that are kept to say why it died.
const LAST_WORDS_MAX: usize = 20;

/// What happens to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterEvent {
    /// It accepts connections for the first time.
    Started,
    /// It died and will be started again; connections are broken, what was committed is safe.
    Died {
        /// How it ended and its last words.
        reason: String,
    },
    /// It accepts connections again.
    Restarted,
}

/// Who is told: called from the supervisor's thread, so it must not block.
#[derive(Clone)]
pub struct EventSink(Arc<dyn Fn(ClusterEvent) + Send + Sync>);

impl EventSink {
    /// Tells `sink`.
    pub fn new(sink: impl Fn(ClusterEvent) + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }
}

impl Default for EventSink {
    /// Tells nobody.
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl fmt::Debug for EventSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventSink")
    }
}

/// What to start, and as whom.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) postgres: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) cluster: PathBuf,
    pub(super) socket_dir: PathBuf,
    pub(super) account: Option<Account>,
    pub(super) guard: PathBuf,
    pub(super) events: EventSink,
}

/// A running server and the thread that is its parent.
#[derive(Debug)]
pub(super) struct Supervisor {
    // Dropping it asks the thread to stop the server.
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    pid: Arc<AtomicI32>,
}

impl Supervisor {
    /// Starts the server and returns when it accepts connections.
    pub(super) fn start(server: Server) -> Result<Self, ClusterError> {
        let (stop, stopped) = sync_channel(1);
        let (started, outcome) = sync_channel(1);
        let pid = Arc::new(AtomicI32::new(0));
        let shown_pid = Arc::clone(&pid);
        let cluster = server.cluster.clone();
        // The kernel sends the death signal when the thread ends that has spawned the child: this one outlives it.
        let thread = thread::Builder::new()
            .name("postgres".to_owned())
            .spawn(move || supervise(&server, &stopped, &started, &shown_pid))
            .map_err(ClusterError::io("cannot start a thread for", &cluster))?;
        let supervisor = Self { stop: Some(stop), thread: Some(thread), pid };
        match outcome.recv() {
            Ok(Ok(())) => Ok(supervisor),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ClusterError::Start { dir: cluster, why: "its supervisor ended".to_owned() }),
        }
    }

    /// Process number of the server; `None` while it is down.
    pub(super) fn pid(&self) -> Option<i32> {
        Some(self.pid.load(Ordering::Relaxed)).filter(|pid| *pid > 0)
    }

    /// Ends the server and waits until it has ended.
    pub(super) fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It does not panic; if it did, the server has got its death signal.
            let _ = thread.join();
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The life of the supervisor's thread.
fn supervise(
    server: &Server,
    stopped: &Receiver<()>,
    started: &SyncSender<Result<(), ClusterError>>,
    pid: &AtomicI32,
) {
    let mut running = match Running::start(server, stopped) {
        Ok(running) => running,
        Err(why) => {
            // Nobody waits for an answer only if the caller has gone.
            let _ = started.try_send(Err(ClusterError::Start { dir: server.cluster.clone(), why }));
            return;
        }
    };
    pid.store(running.pid(), Ordering::Relaxed);
    let _ = started.try_send(Ok(()));
    (server.events.0)(ClusterEvent::Started);
    let mut backoff = BACKOFF_FIRST;
    loop {
        let (reason, lived) = match running.watch(stopped) {
            Watched::Stop => return running.stop(),
            Watched::Died { reason, lived } => (reason, lived),
        };
        pid.store(0, Ordering::Relaxed);
        if lived >= STEADY_AFTER {
            backoff = BACKOFF_FIRST;
        }
        let mut reason = reason;
        running = loop {
            (server.events.0)(ClusterEvent::Died { reason });
            if !is_wanted(stopped, backoff) {
                return;
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
            match Running::start(server, stopped) {
                Ok(running) => break running,
                Err(why) => reason = why,
            }
        };
        pid.store(running.pid(), Ordering::Relaxed);
        (server.events.0)(ClusterEvent::Restarted);
    }
}

/// Waits; `false` as soon as the server is to stop.
fn is_wanted(stopped: &Receiver<()>, wait: Duration) -> bool {
    matches!(stopped.recv_timeout(wait), Err(RecvTimeoutError::Timeout))
}

struct Running {
    child: Child,
    last_words: Arc<Mutex<VecDeque<String>>>,
    /// Ends when all has been heard.
    hearing: Receiver<()>,
}

enum Watched {
    Stop,
    Died { reason: String, lived: Duration },
}

impl Running {
    /// Starts the server and waits until it accepts connections.
    fn start(server: &Server, stopped: &Receiver<()>) -> Result<Self, String> {
        clear_the_way(server);
        let mut child = guard::command(&server.guard, server.account.as_ref(), &server.postgres)
            .args(&server.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{} cannot be run: {error}", server.guard.display()))?;
        let last_words = Arc::default();
        let (heard, hearing) = sync_channel(1);
        if let Some(messages) = child.stderr.take() {
            listen(messages, Arc::clone(&last_words), heard)?;
        }
        let mut running = Self { child, last_words, hearing };
        let mut waited = Duration::ZERO;
        while waited < START_MAX {
            if let Some(status) = running.ended()? {
                return Err(running.reason(status));
            }
            let file = PostmasterPid::read(&server.cluster);
            if file.is_some_and(|file| file.ready && file.pid == running.pid()) {
                return Ok(running);
            }
            if !is_wanted(stopped, POLL_INTERVAL) {
                running.stop();
                return Err("it was to stop before it had started".to_owned());
            }
            waited += POLL_INTERVAL;
        }
        running.stop();
        Err(format!("it was not ready after {} s", START_MAX.as_secs()))
    }

    fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>, String> {
        self.child.try_wait().map_err(|error| format!("it cannot be waited for: {error}"))
    }

    /// Waits until the server dies or is to stop.
    fn watch(&mut self, stopped: &Receiver<()>) -> Watched {
        let mut lived = Duration::ZERO;
        loop {
            if !is_wanted(stopped, WATCH_INTERVAL) {
                return Watched::Stop;
            }
            lived += WATCH_INTERVAL;
            match self.ended() {
                Ok(None) => {}
                Ok(Some(status)) => return Watched::Died { reason: self.reason(status), lived },
                Err(reason) => return Watched::Died { reason, lived },
            }
        }
    }

    /// Ends it: gracefully, then abruptly, then by force.
    fn stop(mut self) {
        for (signal, wait) in
            [(Signal::SIGINT, STOP_MAX), (Signal::SIGQUIT, ABORT_MAX), (Signal::SIGKILL, ABORT_MAX)]
        {
            // Not reaped yet, so the number is still its own.
            let _ = kill(Pid::from_raw(self.pid()), signal);
            let mut waited = Duration::ZERO;
            while waited < wait {
                match self.child.try_wait() {
                    Ok(None) => thread::sleep(POLL_INTERVAL),
                    Ok(Some(_)) | Err(_) => return,
                }
                waited += POLL_INTERVAL;
            }
        }
    }

    /// How it ended and the last thing it said.
    fn reason(&self, status: ExitStatus) -> String {
        // Children of a killed server may hold its standard error for a while: they have nothing to say.
        let _ = self.hearing.recv_timeout(HEARING_MAX);
        let words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner);
        // Hints and details come after the message that matters.
        let said = words
            .iter()
            .rev()
            .find(|line| line.starts_with("FATAL") || line.starts_with("PANIC"))
            .or_else(|| words.back());
        match said {
            Some(said) => format!("{said} ({status})"),
            None => status.to_string(),
        }
    }
}

/// Reads the server's messages until the last of its processes has ended.
fn listen(
    messages: ChildStderr,
    last_words: Arc<Mutex<VecDeque<String>>>,
    heard: SyncSender<()>,
) -> Result<(), String> {
    thread::Builder::new()
        .name("postgres-log".to_owned())
        .spawn(move || {
            for line in BufReader::new(messages).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if line.is_empty() {
                    continue;
                }
                tracing::debug!(target: "postgres", "{line}");
                let mut words = last_words.lock().unwrap_or_else(PoisonError::into_inner);
                if words.len() == LAST_WORDS_MAX {
                    words.pop_front();
                }
                words.push_back(line);
            }
            drop(heard);
        })
        .map(drop)
        .map_err(|error| format!("its messages cannot be read: {error}"))
}

/// Makes sure that no server runs and that nothing which a killed one has left keeps the next from starting. We hold the
/// lock, so the owner of a server that still runs has died; that server is ending too, or was never told.
fn clear_the_way(server: &Server) {
    if let Some(file) = PostmasterPid::read(&server.cluster).filter(PostmasterPid::is_alive) {
        if file.is_server_of(&server.cluster) {
            end_server(&file, &server.cluster);
        } else {
            // Its number was given to somebody else, or nobody has reaped it: PostgreSQL would take that for a server.
            file.disown(&server.cluster);
        }
    }
    // The socket has a lock of its own. It guards nothing that is not guarded already.
    let lock = server.socket_dir.join(format!(".s.PGSQL.{}.lock", server_settings::PORT));
    let _ = std::fs::remove_file(lock);
}

fn end_server(file: &PostmasterPid, cluster: &Path) {
    for (signal, wait) in [(Signal::SIGINT, STOP_MAX), (Signal::SIGQUIT, ABORT_MAX)] {
        file.signal(signal);
        let mut waited = Duration::ZERO;
        while waited < wait {
            // The file changes or goes when the server has ended; the number alone may be taken again.
            if !file.is_alive() || PostmasterPid::read(cluster).is_none_or(|now| now.pid != file.pid) {
                return;
            }
            thread::sleep(POLL_INTERVAL);
            waited += POLL_INTERVAL;
        }
    }
}
