//! What the program is given at its start, and why it ends.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use bittorrent::{FetchConfig, InfoLimits};
use krpc::InfoHash;
use mainline::{Dht, KnownNode, OwnIds};

use super::{connections::UtpPlan, giver::GivingPlan};
use crate::{
    db::{Quotas, RunId, TidyLimits},
    settings::HostPort,
};

/// All ambient input.
#[derive(Debug)]
pub struct Flags {
    /// The DHT, not started yet.
    pub dht: Dht,
    /// The ids of its virtual nodes.
    pub ids: OwnIds,
    /// The addresses of its ports, in the order of their indices.
    pub ports: Vec<SocketAddr>,
    /// Of the fetches.
    pub fetch: FetchConfig,
    /// Nodes of an earlier run.
    pub known: Vec<KnownNode>,
    /// Torrents in the database at the start.
    pub torrents: u64,
    /// Hashes in its backlog.
    pub backlog: u64,
    /// What stays as it is.
    pub plan: Plan,
}

/// The part of the flags that stays as it was given.
#[derive(Debug)]
pub struct Plan {
    /// Nodes to join through whose names are to be looked up.
    pub bootstrap: Vec<HostPort>,
    /// Bounds of info dicts.
    pub info: InfoLimits,
    /// Hashes fetched at a time.
    pub fetches: usize,
    /// Connects to peers in a minute.
    pub connects_per_minute: u32,
    /// The run.
    pub run: RunId,
    /// Who takes hashes from the backlog.
    pub owner: String,
    /// The wall clock at the start.
    pub started_at: SystemTime,
    /// End after this time.
    pub duration: Option<Duration>,
    /// End after one sweep.
    pub once: bool,
    /// How often a virtual node moves to another id.
    pub move_nodes: Option<Duration>,
    /// Bounds of what the database keeps.
    pub tidy: TidyLimits,
    /// Bounds of the torrents in it.
    pub quotas: Quotas,
    /// Its disk.
    pub disk: DiskPlan,
    /// Nobody outside of this machine is spoken to.
    pub loopback_only: bool,
    /// The local addresses to connect from, taken in turn; empty: the system chooses.
    pub connect_from: Vec<IpAddr>,
    /// Nothing is fetched but these, which wait in the backlog; the end comes when they are stored. `None`: all that is found.
    pub only: Option<Vec<InfoHash>>,
    /// The longest info dict that is kept byte for byte; `None`: none but those that users asked for.
    pub keep_info_dicts: Option<usize>,
    /// How info dicts are given to others.
    pub giving: GivingPlan,
    /// TCP addresses at which connections are taken for that.
    pub accept: Vec<SocketAddr>,
    /// How uTP is used on the UDP ports, if the fetches may use it.
    pub utp: UtpPlan,
}

/// What is asked of the disk of the database.
#[derive(Clone, Debug, Default)]
pub struct DiskPlan {
    /// A directory on it; `None`: it is on another machine, or nobody asks.
    pub place: Option<PathBuf>,
    /// Bytes that are to stay free; 0: any number will do.
    pub free_min: u64,
}

/// Why the program ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// It runs.
    #[default]
    Running,
    /// A signal came.
    Signal,
    /// The time that was asked for is over.
    TimeOver,
    /// The sweep that was asked for is finished.
    SweepFinished,
    /// All that was to be fetched is stored.
    Fetched,
    /// It could not go on, and why.
    Failed(String),
}

impl Ending {
    /// In a word or two, for the report of the run.
    pub fn word(&self) -> &str {
        match self {
            Self::Running => "running",
            Self::Signal => "stopped",
            Self::TimeOver => "time over",
            Self::Fetched => "fetched",
            Self::SweepFinished => "sweep finished",
            Self::Failed(why) => why,
        }
    }
}
