//! The database: connecting, the schema, and every statement there is, each behind a session with a typed result.
//!
//! A session is plain data ([`tea_runtime::Session`]) that runs on a pooled connection. All of them are idempotent:
//! one whose outcome was never learned may be run again.

mod announces;
mod backlog;
mod ban_apply;
mod bans;
mod claims;
mod connect;
mod copy_torrents;
mod error;
mod expiry;
mod export;
mod fetch_requests;
mod foreign;
mod identity;
mod indexes;
mod info_dicts;
mod known_hashes;
mod lexemes;
mod nodes;
mod path_words;
mod reindex;
mod replica;
mod retention;
mod run_counts;
mod run_stages;
mod runs;
mod schema;
mod scrapes;
mod search;
mod server_url;
mod show;
mod slices;
mod statement;
mod stats;
mod store_torrents;
mod stored_facts;
mod text;
mod tls;
mod tombstones;
mod torrent;
mod tsvector;
mod vocabulary;

pub use announces::{Announce, Announced, DecayPopularity, RecordAnnounces, SCORE_HALF_LIFE};
pub use backlog::{
    BacklogFail, BacklogFailed, BacklogGain, BacklogNew, BacklogPut, BacklogRelease, BacklogRenew,
    BacklogSize, BacklogTake, Failure, Taken, backoff,
};
pub use ban_apply::{BanApply, BannedTorrents};
pub use bans::{ActiveRule, BAN_RULES_MAX, BanAdd, BanList, BanRemove, BanRule, BanRuleError, Banned, Bans};
pub use connect::{Database, DatabaseChoice, connect, ensure_database, pool};
pub use error::{DatabaseError, is_disk_full, is_passing, pool_error, session_error};
pub use expiry::{Beyond, BeyondQuotas, Expire, ExpireUnseen, Expired, Quotas, SeenAgain};
pub use export::{ExportBatch, ExportCursor, ExportNow, ExportRow, NewKeys, Observed};
pub use fetch_requests::{
    BacklogTakeThese, FETCH_RUN, FetchProgress, FollowRequests, IndexerRuns, RequestHashes, Requested,
    SaveProgress,
};
pub use foreign::{Bitmagnet, ForeignError, ForeignTorrent, Magnetico};
pub use identity::{LoadIdentity, SaveIdentity};
pub use info_dicts::{DropInfoDicts, KeepInfoDicts, KeptInfoDicts, LoadInfoDict, NewInfoDict};
pub use known_hashes::{Known, KnownHashes};
pub use lexemes::{name_lexemes, path_lexemes};
pub use nodes::{LoadNodes, NodeVisit, SaveNodes, StoredNode};
pub use path_words::{LearnPathWords, LearnedPaths};
pub use reindex::{
    Reindex, ReindexBegin, ReindexProgress, ReindexState, ReindexTurn, ReindexWalk, Reindexed,
};
pub use replica::{Delay, ReplicaState};
pub use retention::{Tidied, Tidy, TidyLimits};
pub use run_counts::{RunCount, SaveRunCounts};
pub use run_stages::{RunStage, StageBy, StageTimes};
pub use runs::{RunAddress, RunEnd, RunId, RunLimit, RunProgress, RunReport, RunStart, Work};
pub use schema::{AppliedMigration, MigrationStep, Schema, migrate, schema};
pub use scrapes::{ObservedSwarm, ScrapesDue, SwarmSize, WHOLE_SCRAPE_LIFETIME};
pub use search::Search;
pub use server_url::{Proof, ServerUrl};
pub use show::{HashQuery, Recent, Show, ShownTorrent, TorrentSummary};
pub use slices::ClaimSlices;
pub use stats::{NodeStats, RunStats, Statistics, Stats};
pub use store_torrents::{PreparedTorrents, Rejection, StoreTorrents, Stored};
pub use stored_facts::{Facts, StoredFacts};
pub use text::storable;
pub use tombstones::{BanHashes, BannedHashes, Bury, DeleteTorrents, StoredTorrent, StoredUnder, Unban};
pub use torrent::{Discovery, Hashes, History, Listing, NewTorrent};
pub use tsvector::TsVector;
pub use vocabulary::{LearnWords, Learned, VOCABULARY_MAX};
