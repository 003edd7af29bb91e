//! The private PostgreSQL: found, created, started, supervised and stopped by this program, so that nobody has to set
//! up a database.
//!
//! ```text
//! DATA-DIR/            ours; whoever owns it runs the cluster
//!   lock               held by the process that runs the cluster
//!   guests             held, shared, by the processes that use it beside
//!   postgres/          the cluster; when we are root it belongs to the account that runs it
//!   socket/            the only way in, 0700; elsewhere if its path would be too long
//! ```
//!
//! One process owns the cluster at a time; others attach to it, or own it for as long as they need it when nobody else
//! does. The server dies with its owner, and its owner starts it again when it dies.

mod account;
mod data_dir;
mod error;
pub mod guard;
mod initdb;
mod lock;
mod postmaster_pid;
mod private;
mod programs;
mod server_settings;
mod socket_dir;
mod supervisor;

pub use data_dir::default_data_dir;
pub use error::ClusterError;
pub use private::{Cluster, ClusterOptions, Mode, is_running};
pub use supervisor::{ClusterEvent, EventSink};
