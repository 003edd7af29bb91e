//! Why a swarm could not start.

use std::io;

/// Why a swarm could not start. Nothing is left behind when one of these is returned.
#[derive(Debug, thiserror::Error)]
pub enum SwarmError {
    /// A setting is outside its range.
    #[error("swarm setting {setting}: {problem}")]
    Setting {
        /// Its name in [`SwarmConfig`](crate::SwarmConfig).
        setting: &'static str,
        /// What is wrong with its value.
        problem: String,
    },
    /// Somebody holds the port, on one loopback address at least. The swarm needs it on all of them.
    #[error(
        "{protocol} port {port} is already in use on this machine: stop the program that holds it, or choose \
         another port (0 lets the system choose)"
    )]
    PortInUse {
        /// `UDP` or `TCP`.
        protocol: &'static str,
        /// The port asked for.
        port: u16,
    },
    /// The process may not open as many sockets as the seeders need.
    #[error(
        "the limit of {limit} open files is too low, the swarm needs {needed}: raise it (`ulimit -n {needed}`) or \
         lower connections_max"
    )]
    FileLimit {
        /// Files needed.
        needed: u64,
        /// Files allowed by the soft limit of the process.
        limit: u64,
    },
    /// The system refused something else.
    #[error("the swarm cannot {action}: {source}")]
    System {
        /// What was tried, as an infinitive.
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}
