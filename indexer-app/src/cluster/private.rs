//! The private cluster as the rest of the program sees it.

use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::{
    ClusterError, EventSink,
    account::Account,
    data_dir, initdb,
    lock::{GuestLock, OwnerLock},
    postmaster_pid::PostmasterPid,
    programs::Programs,
    server_settings, socket_dir,
    supervisor::{Server, Supervisor},
};

/// How often a lock or a starting server is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How long is waited for another process before it is said: a search is over in less.
const SOON_FREE: Duration = Duration::from_secs(1);

/// How long an owner waits for another one to end, unless told otherwise.
const OWNER_WAIT: Duration = Duration::from_secs(15);

/// How long a guest waits for the owner's server to start.
const GUEST_WAIT: Duration = Duration::from_secs(120);

/// How long a short-lived owner waits for its guests to leave.
const GUESTS_LEAVE: Duration = Duration::from_secs(10);

/// Where the cluster is and how it is run.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The data directory; the cluster is in it.
    pub data_dir: PathBuf,
    /// Where PostgreSQL's programs are; `None`: looked for.
    pub programs: Option<PathBuf>,
    /// The binary that is the guard ([`super::guard`]): our own.
    pub guard: PathBuf,
    /// Bytes of PostgreSQL's cache; `None`: a quarter of the memory, up to 4 GB.
    pub shared_buffers: Option<u64>,
    /// Whether what is acknowledged survives a power cut, which is what waiting for the disk is for. Without it everything
    /// still survives the death of any process; for data that can be made again, such as a demo's.
    pub fsync: bool,
    /// How long to wait for another owner to end, such as a search that runs the cluster for itself.
    pub owner_wait: Duration,
    /// Who is told what happens to the server.
    pub events: EventSink,
}

impl ClusterOptions {
    /// The usual ones: this program as the guard, nobody told.
    ///
    /// # Errors
    /// The system does not say where this program is.
    pub fn new(data_dir: impl Into<PathBuf>) -> Result<Self, ClusterError> {
        // On Linux a link to what runs, which stays good when the file is replaced by a newer version.
        let link = Path::new("/proc/self/exe");
        let guard = if link.exists() {
            link.to_owned()
        } else {
            std::env::current_exe().map_err(ClusterError::io("cannot find", "the path of this program"))?
        };
        Ok(Self {
            data_dir: data_dir.into(),
            programs: None,
            guard,
            shared_buffers: None,
            fsync: true,
            owner_wait: OWNER_WAIT,
            events: EventSink::default(),
        })
    }

    fn cluster(&self) -> PathBuf {
        self.data_dir.join("postgres")
    }
}

/// Whether a server runs on the cluster in this data directory and accepts connections.
pub fn is_running(data_dir: &Path) -> bool {
    PostmasterPid::read(&data_dir.join("postgres")).is_some_and(|file| file.ready && file.is_alive())
}

/// What a process wants of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To run it for long: nobody else may.
    Own,
    /// To use it: beside its owner if there is one, else as its owner until done.
    Attach,
}

/// A cluster that accepts connections. Dropped, it is left; if we own it, it is stopped, which blocks until it has ended.
#[derive(Debug)]
pub struct Cluster {
    socket_dir: PathBuf,
    port: u16,
    role: Role,
}

#[derive(Debug)]
enum Role {
    /// Fields drop in this order: the server ends before the lock is free.
    Owner {
        supervisor: Supervisor,
        guests: GuestLock,
        mode: Mode,
        _lock: OwnerLock,
    },
    Guest {
        _lock: GuestLock,
    },
}

impl Cluster {
    /// Makes sure that the cluster exists and accepts connections. Blocks: 0.1 s usually, a second when it is made,
    /// longer after a crash.
    ///
    /// # Errors
    /// One sentence that says what is missing or in the way; nothing was touched that is not ours.
    pub fn open(options: &ClusterOptions, mode: Mode) -> Result<Self, ClusterError> {
        let account = Account::for_cluster(&options.cluster())?;
        data_dir::check(&options.data_dir, account.as_ref())?;
        // Before anything is made: who lacks the programs shall not find an empty directory.
        let programs = Programs::find(options.programs.as_deref(), &options.cluster())?;
        data_dir::create(&options.data_dir, account.as_ref())?;
        let patience = if mode == Mode::Own { options.owner_wait } else { GUEST_WAIT };
        let mut waited = Duration::ZERO;
        loop {
            if let Some(lock) = OwnerLock::take(&options.data_dir)? {
                return Self::own(options, &programs, account, lock, mode);
            }
            if mode == Mode::Attach
                && let Some(cluster) = Self::attach(options)?
            {
                return Ok(cluster);
            }
            if waited == SOON_FREE {
                let pid = OwnerLock::holder(&options.data_dir);
                tracing::info!(%pid, "another process uses the database; waiting for it");
            }
            if waited >= patience {
                let pid = OwnerLock::holder(&options.data_dir);
                return Err(ClusterError::InUse { dir: options.data_dir.clone(), pid });
            }
            thread::sleep(POLL_INTERVAL);
            waited += POLL_INTERVAL;
        }
    }

    fn own(
        options: &ClusterOptions,
        programs: &Programs,
        account: Option<Account>,
        lock: OwnerLock,
        mode: Mode,
    ) -> Result<Self, ClusterError> {
        let cluster = absolute(&options.cluster())?;
        let guests = GuestLock::open(&options.data_dir)?;
        initdb::ensure(&cluster, programs, account.as_ref(), options)?;
        let socket_dir = socket_dir::prepare(&options.data_dir, account.as_ref())?;
        let supervisor = Supervisor::start(Server {
            postgres: programs.postgres(),
            arguments: server_settings::arguments(&cluster, &socket_dir, options),
            cluster,
            socket_dir: socket_dir.clone(),
            account,
            guard: options.guard.clone(),
            events: options.events.clone(),
        })?;
        let role = Role::Owner { supervisor, guests, mode, _lock: lock };
        Ok(Self { socket_dir, port: server_settings::PORT, role })
    }

    /// Joins the owner's server, if it accepts connections.
    fn attach(options: &ClusterOptions) -> Result<Option<Self>, ClusterError> {
        let is_ready = |file: &PostmasterPid| file.ready && file.is_alive();
        let Some(_) = PostmasterPid::read(&options.cluster()).filter(is_ready) else { return Ok(None) };
        let lock = GuestLock::open(&options.data_dir)?;
        lock.enter()?;
        // A short-lived owner that was about to stop has either seen us enter, or has stopped by now.
        let Some(file) = PostmasterPid::read(&options.cluster()).filter(is_ready) else { return Ok(None) };
        Ok(Some(Self { socket_dir: file.socket_dir, port: file.port, role: Role::Guest { _lock: lock } }))
    }

    /// How to connect to one of its databases.
    pub fn connection(&self, database: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.socket_dir).port(self.port).user(initdb::USER).dbname(database);
        config
    }

    /// Whether this process runs it.
    pub fn is_owner(&self) -> bool {
        matches!(self.role, Role::Owner { .. })
    }

    /// Process number of the server, if this process runs it and it is up.
    pub fn server_pid(&self) -> Option<i32> {
        match &self.role {
            Role::Owner { supervisor, .. } => supervisor.pid(),
            Role::Guest { .. } => None,
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let Role::Owner { supervisor, guests, mode, .. } = &mut self.role else { return };
        // Whoever joined a cluster that was only up for our search should get his answer too.
        let mut waited = Duration::ZERO;
        while *mode == Mode::Attach && waited < GUESTS_LEAVE && !guests.is_free() {
            thread::sleep(POLL_INTERVAL);
            waited += POLL_INTERVAL;
        }
        supervisor.stop();
    }
}

fn absolute(path: &Path) -> Result<PathBuf, ClusterError> {
    std::path::absolute(path).map_err(ClusterError::io("cannot resolve", path))
}
