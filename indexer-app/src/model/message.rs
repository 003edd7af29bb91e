//! What can happen to the program, what it asks for, and the names of its ports, timers and streams.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use deadpool_postgres::Client;
use mainline::KeyspaceSlices;
use tea_runtime::{Datagram, Db, Effect, Fault, Incoming, SessionError, Signal, StreamEvent, SubEvent};

use super::lane::BatchId;
use crate::{
    db::{
        Announced, BacklogFailed, BacklogGain, Beyond, Expired, Known, Learned, LearnedPaths, ReindexTurn,
        Stored, Taken, Tidied,
    },
    status::Snapshot,
};

/// Names of subscriptions, timers and streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A UDP port, by its index.
    Port(u16),
    /// The pace of the DHT and of the fetches.
    Pace,
    /// Once a second: rates, batches, status.
    Second,
    /// Signals to the process.
    Signals,
    /// What becomes of the ports.
    Ports,
    /// The end that was asked for with `--for`.
    End,
    /// The last moment for a graceful stop.
    Grace,
    /// Another look at the names of bootstrap nodes.
    Bootstrap,
    /// The time for a virtual node to move.
    MoveNode,
    /// What is due on uTP connections.
    Utp,
    /// A TCP port at which connections are taken, by its index.
    Door(u16),
    /// A connection that somebody has opened to us.
    Visitor(u32),
    /// A connection of a fetch.
    Peer {
        /// The fetch.
        fetch: u32,
        /// The connection within it.
        slot: u16,
    },
}

/// Everything that can happen.
#[derive(Debug)]
pub enum Msg {
    /// A datagram arrived.
    Datagram(Key, Datagram),
    /// Time for what is due.
    Pace,
    /// Time for what is due on uTP connections, and after datagrams have come for them.
    Utp,
    /// Another second.
    Second,
    /// A signal came.
    Signal(Signal),
    /// A port was bound, or could not be.
    Port(SubEvent<Key>),
    /// Somebody connects.
    Visitor(Incoming),
    /// Something happened on a connection.
    Stream(Key, StreamEvent),
    /// The name of a bootstrap node was looked up.
    Resolved {
        /// As it was given.
        name: String,
        /// What it stands for.
        result: Result<Vec<SocketAddr>, String>,
    },
    /// Time for a virtual node to move to another id.
    MoveNode,
    /// Time to look up the names of the bootstrap nodes again.
    Bootstrap,
    /// The time that was asked for is over.
    End,
    /// A graceful stop has taken too long.
    Grace,
    /// So many bytes are free on the disk of the database, or why nobody knows.
    DiskFree(Result<u64, String>),
    /// The database answered.
    Database(Answer),
}

/// Answers of the database, by what was asked.
#[derive(Debug)]
pub enum Answer {
    /// Which of the new hashes are known.
    Checked(Result<Vec<(krpc::InfoHash, Known)>, SessionError>),
    /// New hashes were put into the backlog.
    Put(Result<BacklogGain, SessionError>),
    /// Hashes to be fetched.
    Taken(Result<Vec<Taken>, SessionError>),
    /// Torrents were stored.
    Stored(BatchId, Result<Stored, SessionError>),
    /// Failed hashes were put back.
    Failed(Result<BacklogFailed, SessionError>),
    /// The leases of what is in hand were renewed.
    Renewed(Result<u64, SessionError>),
    /// Where in the keyspace nodes are ours to sample.
    Slices(Result<KeyspaceSlices, SessionError>),
    /// Hashes that are of no use were taken out, for good.
    Discarded(Result<u64, SessionError>),
    /// Hashes that were in hand at the end were given back.
    Released(Result<u64, SessionError>),
    /// Visits to nodes were recorded.
    Visits(Result<(), SessionError>),
    /// Announces were counted.
    Announces(Result<Announced, SessionError>),
    /// The run's report was written.
    Reported(Result<(), SessionError>),
    /// What we are was written.
    IdentitySaved(Result<(), SessionError>),
    /// Torrents were noted as seen.
    Seen(Result<u64, SessionError>),
    /// How many torrents are beyond the quotas.
    Beyond(Result<Beyond, SessionError>),
    /// Torrents beyond a quota were removed.
    Expired(Result<u64, SessionError>),
    /// Torrents that were unseen too long were removed.
    Unseen(Result<Expired, SessionError>),
    /// Old rows were removed.
    Tidied(Result<Tidied, SessionError>),
    /// Stored torrents were made again by newer rules.
    Reindexed(Result<ReindexTurn, SessionError>),
    /// Torrents whose score has decayed were made less popular.
    Decayed(Result<u64, SessionError>),
    /// Words of names were learned.
    Learned(Result<Learned, SessionError>),
    /// Words of paths were learned.
    LearnedPaths(Result<LearnedPaths, SessionError>),
    /// Popular torrents that should be scraped.
    Popular(Result<Vec<krpc::InfoHash>, SessionError>),
    /// The run's numbers were written; whether these were its last.
    Tallied {
        /// What the database said.
        result: Result<(), SessionError>,
        /// The run is ending.
        last: bool,
    },
    /// An info dict that somebody wants was read.
    InfoDict {
        /// Under which key it was asked for.
        asked: krpc::InfoHash,
        /// Its bytes, if it is kept.
        result: Result<Option<Arc<[u8]>>, SessionError>,
    },
    /// Info dicts were kept.
    Kept(Result<u64, SessionError>),
    /// Users were told how far their fetches are.
    Told(Result<(), SessionError>),
    /// Info dicts whose time is over were dropped.
    Dropped(Result<u64, SessionError>),
    /// The size of the backlog.
    Counted(Result<u64, SessionError>),
    /// The run's last report was written.
    Closed(Result<(), SessionError>),
}

/// What the program asks of its managers.
#[derive(Debug)]
pub enum AppEffect {
    /// Work for the database.
    Database(Db<Msg, Client>),
    /// Say how many bytes are free on the disk of this directory.
    LookAtDisk(PathBuf),
    /// Show this.
    Show(Box<Snapshot>),
}

impl Effect<Msg> for AppEffect {
    fn refused(self, fault: Fault) -> Option<Msg> {
        match self {
            Self::Database(db) => db.refused(fault),
            Self::LookAtDisk(_) => Some(Msg::DiskFree(Err(fault.to_string()))),
            // The next one comes within a second.
            Self::Show(_) => None,
        }
    }
}

impl From<Db<Msg, Client>> for AppEffect {
    fn from(db: Db<Msg, Client>) -> Self {
        Self::Database(db)
    }
}
