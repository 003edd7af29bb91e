//! `indexer run`: takes part in the DHT and indexes what is found.

use std::{
    io::{self, Write},
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bittorrent::{FetchConfig, GivingConfig, InfoLimits, PeerId};
use krpc::{ClientVersion, InfoHash};
use mainline::{Dht, KnownNode, Limits, OwnIds, Port, Support};
use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    statvfs::statvfs,
};
use rand::{TryRng, rngs::SysRng};
use tea_runtime::{BoxFuture, Manager, PgManager, Reply, Runtime};

use super::{CommandError, ask, database_choice, interruption::Interruption, migrate, reindex};
use crate::{
    cli::RunOptions,
    cluster::{ClusterEvent, EventSink, Mode},
    db::{
        self, BacklogRelease, Database, FETCH_RUN, KeptInfoDicts, LoadIdentity, LoadNodes, RunId, RunStart,
        SaveIdentity, Stats, StoredNode, TidyLimits,
    },
    model::{
        AppEffect, DiskPlan, Ending, Flags, GivingPlan, Indexer, KEPT_MAX, LOOKUPS_PER_FETCH, Msg, Plan,
        UtpPlan, VISITORS_MAX,
        identity::{self, Kept},
    },
    settings::{Profile, Settings},
    status::{Screen, Snapshot, whole_seconds},
};

/// Connections to the database: two for batches of torrents, the others for what must not wait behind them.
pub(super) const CONNECTIONS: usize = 6;

/// Nodes read for a warm start: enough to find all others again.
const WARM_NODES: u32 = 200_000;

/// How long the runtime waits for what is under way when the model has ended, and then for the sessions. The model has
/// waited for all that matters before.
const GRACE: Duration = Duration::from_secs(2);

/// Sockets beside those of the fetches and the ports: database, files, and what the runtime and libraries open.
const OTHER_SOCKETS: u64 = 256;

pub(super) async fn run(
    settings: &Settings,
    options: RunOptions,
    screen: Screen,
) -> Result<(), CommandError> {
    crawl(settings, options, screen, None).await
}

/// What the demo expects: it is told when it is reached.
pub(super) struct Goal {
    /// Torrents that there are.
    pub(super) torrents: u64,
    /// What is said then.
    pub(super) say: String,
}

/// Crawls until the end, with the database open for as long.
pub(super) async fn crawl(
    settings: &Settings,
    options: RunOptions,
    mut screen: Screen,
    goal: Option<Goal>,
) -> Result<(), CommandError> {
    let sockets = raise_file_limit(settings);
    let events = EventSink::new(|event| match event {
        ClusterEvent::Started => tracing::info!("the private database is up"),
        ClusterEvent::Died { reason } => {
            tracing::error!(%reason, "the private database died; starting it again");
        }
        ClusterEvent::Restarted => tracing::info!("the private database is up again"),
    });
    let choice = database_choice(settings, Mode::Own, events)?;
    let mut interruption = Interruption::listen()?;
    let Some(database) = interruption.or(db::connect(&choice, CONNECTIONS)).await else {
        // The server that was being started ends with us.
        return Ok(());
    };
    let mut database = database?;
    let prepared = async {
        try_ports(settings)?;
        prepare(settings, options, &mut database).await
    };
    let outcome = match interruption.or(prepared).await {
        None => Ok(None),
        Some(Err(error)) => Err(error),
        Some(Ok(flags)) => {
            let config = tea_runtime::Config {
                streams_max: sockets,
                grace: GRACE,
                io_threads: settings.io_threads,
                ..Default::default()
            };
            screen.start();
            let effects = Effects {
                database: PgManager::new(database.pool.clone()),
                screen: Some(screen.clone()),
                last_logged: None,
                goal,
            };
            let run = Runtime::new(config).manager(effects).run::<Indexer>(flags);
            interruption.hand_over(run).await.map(Some).map_err(CommandError::from)
        }
    };
    screen.finish();
    // All is stored: whoever cannot wait for the server may go, and it ends by itself.
    Interruption::listen()?.or(database.close()).await;
    let Some(model) = outcome? else { return Ok(()) };
    report(&model)?;
    match model.ending() {
        Ending::Failed(why) => Err(CommandError::Said(why.clone())),
        _ => Ok(()),
    }
}

/// Takes part in the DHT to fetch these hashes, which wait in the backlog, and nothing else: until they are stored, the time
/// is over, or a signal comes.
pub(super) async fn participate(
    settings: &Settings,
    database: &Database,
    hashes: Vec<InfoHash>,
    patience: Duration,
) -> Result<(), CommandError> {
    let mut settings = settings.clone();
    // It is gone before anybody could know of it.
    settings.accept_port = None;
    if try_ports(&settings).is_err() {
        // Whoever stays for minutes can do without the usual ones.
        settings.port = 0;
    }
    let sockets = raise_file_limit(&settings);
    let owner = owner(&settings)?;
    let kept = Kept::read(&ask(database, LoadIdentity { indexer: owner.clone() }).await?);
    let ids = own_ids(&settings, kept.id_seed.map_or_else(random_seed, Ok)?, &kept);
    // Under a name of its own, so that an indexer may begin meanwhile.
    let owner = format!("{owner}: fetch by process {}", std::process::id());
    let start = RunStart {
        by_whom: format!("{FETCH_RUN}{owner}"),
        owner: owner.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        once: true,
    };
    let run = ask(database, start).await?.ok_or_else(|| {
        CommandError::Said(format!("another process is running as {owner} on this database"))
    })?;
    let options = RunOptions { duration: Some(patience), once: false };
    let mut flags = flags(&settings, options, database, run, owner, ids, &kept).await?;
    flags.plan.only = Some(hashes);
    flags.plan.move_nodes = None;
    let config = tea_runtime::Config { streams_max: sockets, grace: GRACE, ..Default::default() };
    let effects = Effects {
        // It is closed when the run ends, and the command goes on asking.
        database: PgManager::new(database.another_pool(CONNECTIONS)?),
        screen: None,
        last_logged: None,
        goal: None,
    };
    let model = Runtime::new(config).manager(effects).run::<Indexer>(flags).await?;
    match model.ending() {
        Ending::Failed(why) => Err(CommandError::Said(why.clone())),
        _ => Ok(()),
    }
}

/// That every port can be had, before anything is written: the runtime would find out later, when the run has begun.
fn try_ports(settings: &Settings) -> Result<(), CommandError> {
    for address in settings.port_addresses() {
        UdpSocket::bind(address).map_err(|error| {
            CommandError::Said(format!(
                "UDP port {address} cannot be used: {error}; choose another with --port or --bind"
            ))
        })?;
    }
    for address in settings.accept_addresses() {
        TcpListener::bind(address).map_err(|error| {
            CommandError::Said(format!(
                "TCP port {address} cannot be used: {error}; choose another with --accept-port or --bind"
            ))
        })?;
    }
    Ok(())
}

/// Brings the database into order and reads what the last run has left in it.
async fn prepare(
    settings: &Settings,
    options: RunOptions,
    database: &mut Database,
) -> Result<Flags, CommandError> {
    if settings.fresh_database {
        database.clear().await?;
    }
    database.migrate_and_say(&mut |step| tracing::info!("{}", migrate::sentence(&step))).await?;
    let owner = owner(settings)?;
    // First: whoever runs under this name already must not lose what it is working on.
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let by_whom = format!("{owner} (process {})", std::process::id());
    let start = RunStart { owner: owner.clone(), by_whom, version, once: options.once };
    let run = ask(database, start).await?.ok_or_else(|| {
        CommandError::Said(format!(
            "another indexer is running as {owner} on this database; give this one a --data-dir of its own"
        ))
    })?;
    reindex::begin(database, false).await?;
    let kept = Kept::read(&ask(database, LoadIdentity { indexer: owner.clone() }).await?);
    let id_seed = match kept.id_seed {
        Some(seed) => seed,
        None => {
            let seed = random_seed()?;
            let values = identity::seed(seed);
            ask(database, SaveIdentity { indexer: owner.clone(), values }).await?;
            seed
        }
    };
    let ids = own_ids(settings, id_seed, &kept);
    let freed = ask(database, BacklogRelease { owner: owner.clone() }).await?;
    if freed > 0 {
        tracing::info!(hashes = freed, "going on with what the last run had begun");
    }
    flags(settings, options, database, run, owner, ids, &kept).await
}

/// What a run begins with, whoever it is.
async fn flags(
    settings: &Settings,
    options: RunOptions,
    database: &Database,
    run: RunId,
    owner: String,
    ids: OwnIds,
    identity: &Kept,
) -> Result<Flags, CommandError> {
    let known = ask(database, LoadNodes { limit: WARM_NODES }).await?;
    if !known.is_empty() {
        tracing::info!(nodes = known.len(), "starting from the nodes of the last run");
    }
    let stats = ask(database, Stats { runs: 0 }).await?;
    let mut fetch = fetch_config(settings)?;
    // One name for both sides, so that a connection to ourselves is known as such.
    let giving = Arc::new(GivingConfig::new(fetch.peer_id));
    fetch.giving = (settings.give_rate > 0).then(|| Arc::clone(&giving));
    let kept = match settings.accept_port {
        Some(_) => ask(database, KeptInfoDicts { limit: KEPT_MAX as u32 }).await?,
        None => Vec::new(),
    };
    Ok(Flags {
        dht: Dht::new(&dht_config(settings, &ids, identity)?, Duration::ZERO)?,
        ids,
        ports: settings.port_addresses(),
        fetch,
        known: known.iter().map(known_node).collect(),
        torrents: stats.torrents,
        backlog: stats.backlog_due + stats.backlog_taken + stats.backlog_waiting,
        plan: Plan {
            bootstrap: settings.bootstrap.clone(),
            info: InfoLimits { bytes: settings.metadata_bytes_max, ..InfoLimits::default() },
            fetches: settings.fetches,
            connects_per_minute: settings.connects_per_minute,
            run,
            owner,
            started_at: now(),
            duration: options.duration,
            once: options.once,
            loopback_only: settings.loopback_only(),
            move_nodes: settings.move_nodes,
            only: None,
            giving: GivingPlan {
                config: giving,
                bytes_per_second: settings.give_rate,
                accepts: settings.accept_port.is_some(),
                seed: random_seed()?,
                kept,
            },
            accept: settings.accept_addresses(),
            keep_info_dicts: settings.keep_info_dicts,
            utp: UtpPlan { seed: random_seed()?, packets_per_second: settings.utp_packets_per_second },
            connect_from: settings.bind.iter().copied().filter(|ip| !ip.is_unspecified()).collect(),
            quotas: settings.quotas(),
            disk: DiskPlan {
                // Of a server elsewhere only its own words are known.
                place: settings.database_url.is_none().then(|| settings.data_dir.clone()),
                free_min: settings.disk_free_min,
            },
            tidy: TidyLimits { backlog_rows_max: settings.backlog_max, ..TidyLimits::default() },
        },
    })
}

/// Performs the program's effects: sessions on the pool, status on the screen.
struct Effects {
    database: PgManager,
    /// `None`: somebody else tells how far it is.
    screen: Option<Screen>,
    last_logged: Option<Duration>,
    goal: Option<Goal>,
}

impl Effects {
    fn show(&mut self, snapshot: &Snapshot) {
        let Some(screen) = &self.screen else { return };
        if let Some(goal) =
            self.goal.take_if(|goal| snapshot.torrents.is_some_and(|torrents| torrents >= goal.torrents))
        {
            let line = format!(
                "all {} torrents indexed after {}; {}",
                goal.torrents,
                whole_seconds(snapshot.uptime),
                goal.say
            );
            screen.print(&line);
        }
        screen.show(snapshot, &mut self.last_logged);
    }
}

impl Manager<Indexer> for Effects {
    fn perform(&mut self, effect: AppEffect, reply: Reply<Msg>) {
        match effect {
            AppEffect::Database(session) => self.database.run(session, reply),
            AppEffect::LookAtDisk(place) => reply.send(Msg::DiskFree(free_bytes(&place))),
            AppEffect::Show(snapshot) => self.show(&snapshot),
        }
    }

    fn close(&mut self) -> BoxFuture<()> {
        self.database.close()
    }
}

/// Bytes that an ordinary user may still write on the file system of a directory.
fn free_bytes(place: &Path) -> Result<u64, String> {
    let found = statvfs(place).map_err(|error| format!("{}: {error}", place.display()))?;
    Ok(found.blocks_available() * found.fragment_size())
}

fn dht_config(settings: &Settings, ids: &OwnIds, kept: &Kept) -> Result<mainline::Config, CommandError> {
    let ports: Vec<Port> = settings.port_addresses().into_iter().map(|local| Port { local }).collect();
    let mut config = mainline::Config::new(random_seed()?, ports, ids.nodes().collect());
    config.allow_loopback = settings.loopback_only();
    config.read_only = settings.read_only;
    config.known_external =
        settings.bind.iter().filter_map(|local| Some((*local, kept.external_of(*local)?))).collect();
    config.min_sample_interval = settings.min_sample_interval;
    config.limits = match settings.profile {
        None | Some(Profile::Home) => Limits::home(),
        Some(Profile::Vps) => Limits::vps(),
        Some(Profile::Server) => Limits::server(),
    };
    config.limits.packets_per_second = settings.packets_per_second;
    config.limits.bytes_per_second = settings.bytes_per_second;
    config.limits.new_endpoints_per_minute = settings.endpoints_per_minute;
    config.limits.nodes_max = settings.contacts_max;
    config.limits.lookups_max = settings.fetches * LOOKUPS_PER_FETCH;
    Ok(config)
}

/// The ids of our virtual nodes: the same at every start, as long as their number and our address stay.
fn own_ids(settings: &Settings, seed: [u8; 32], kept: &Kept) -> OwnIds {
    let external = |local| if settings.loopback_only() { None } else { kept.external_of(local) };
    let moves = kept.moves.iter().copied();
    OwnIds::new(settings.ids, seed, &settings.port_addresses(), settings.nodes_per_port, external, moves)
}

fn fetch_config(settings: &Settings) -> Result<FetchConfig, CommandError> {
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(PEER_ID_PREFIX);
    let random = random_seed()?;
    bytes[8..].copy_from_slice(&random[..12]);
    let mut config = FetchConfig::new(PeerId::from_bytes(bytes));
    config.peer.metadata_bytes_max = u32::try_from(settings.metadata_bytes_max).unwrap_or(u32::MAX);
    config.fetch_bytes_max = config.fetch_bytes_max.max(2 * settings.metadata_bytes_max);
    config.time_max = settings.fetch_timeout;
    config.time_with_progress_max = settings.fetch_timeout.saturating_mul(2);
    config.transports.allowed = settings.transports;
    config.transports.utp_v4 = settings.bind.iter().any(IpAddr::is_ipv4);
    config.transports.utp_v6 = settings.bind.iter().any(IpAddr::is_ipv6);
    config.transports.seed = random_seed()?;
    config.check()?;
    Ok(config)
}

/// Azureus style: two letters and four digits of version.
const PEER_ID_PREFIX: &[u8; 8] = b"-TX0001-";

fn known_node(node: &StoredNode) -> KnownNode {
    KnownNode {
        id: node.id,
        addr: node.addr,
        freshness: node.freshness,
        missed: u8::try_from(node.missed).unwrap_or(u8::MAX),
        support: match node.bep51 {
            None => Support::Unknown,
            Some(true) => Support::Yes,
            Some(false) => Support::No,
        },
        version: node.version.map(ClientVersion::from_bytes),
        num: node.num,
        interval: node.interval,
        sampled_ago: node.sampled_ago,
    }
}

/// Under which name this indexer stands in the database. A private database has one indexer; of those that share one,
/// each is known by its machine and data directory.
fn owner(settings: &Settings) -> Result<String, CommandError> {
    if settings.database_url.is_none() {
        return Ok("indexer".to_owned());
    }
    let host = nix::unistd::gethostname()
        .map_err(|error| CommandError::Said(format!("the name of this machine is not to be had: {error}")))?;
    Ok(format!("{}:{}", host.to_string_lossy(), settings.data_dir.display()))
}

/// Sockets that fetches and visitors may use, after the limit was raised as far as the system allows.
fn raise_file_limit(settings: &Settings) -> usize {
    let others = OTHER_SOCKETS + settings.port_addresses().len() as u64;
    let visitors = if settings.accept_port.is_some() { VISITORS_MAX as u64 } else { 0 };
    let wanted = settings.fetches as u64 * 4 + visitors + others;
    let limit = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) if soft < wanted => {
            let target = wanted.min(hard);
            match setrlimit(Resource::RLIMIT_NOFILE, target, hard) {
                Ok(()) => target,
                Err(_) => soft,
            }
        }
        Ok((soft, _)) => soft,
        // Without an answer the system's usual limit is the best guess.
        Err(_) => 1024,
    };
    if limit < wanted {
        tracing::warn!(
            limit,
            wanted,
            "the system allows fewer open files than {} fetches need; raise the limit (ulimit -n) or lower --fetches",
            settings.fetches
        );
    }
    usize::try_from(limit.min(wanted).saturating_sub(others)).unwrap_or(usize::MAX).max(4)
}

fn random_seed() -> Result<[u8; 32], CommandError> {
    let mut seed = [0; 32];
    SysRng
        .try_fill_bytes(&mut seed)
        .map_err(|error| CommandError::Said(format!("the system gives no random numbers: {error}")))?;
    Ok(seed)
}

#[expect(clippy::disallowed_methods, reason = "the one look at the wall clock; the model counts from here")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// What the run has come to, for people and for scripts that read standard output.
fn report(model: &Indexer) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    let text = model.summary();
    out.write_all(text.as_bytes()).map_err(CommandError::writing("standard output"))
}

/// Where the demo's swarm is joined.
pub(super) fn bootstrap_of(
    addresses: impl IntoIterator<Item = SocketAddr>,
) -> Vec<crate::settings::HostPort> {
    addresses
        .into_iter()
        .map(|address| crate::settings::HostPort { host: address.ip().to_string(), port: address.port() })
        .collect()
}
