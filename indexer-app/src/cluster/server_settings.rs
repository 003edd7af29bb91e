//! How the private server is set, and why.

use std::{fs, path::Path};

use super::ClusterOptions;

/// The port is only part of the socket's name: nothing listens on the network.
pub(super) const PORT: u16 = 5432;

/// Most memory that is taken for PostgreSQL's own cache: beyond it the system's cache serves as well.
const SHARED_BUFFERS_MAX: u64 = 4 << 30;

/// Least that makes sense: PostgreSQL's own default.
const SHARED_BUFFERS_MIN: u64 = 128 << 20;

/// The command line of `postgres`. What is set there cannot be changed by files that an older program has left.
pub(super) fn arguments(cluster: &Path, socket_dir: &Path, options: &ClusterOptions) -> Vec<String> {
    let memory = memory_bytes().unwrap_or(4 * SHARED_BUFFERS_MIN);
    let shared_buffers = options.shared_buffers.unwrap_or(memory / 4).clamp(16 << 20, SHARED_BUFFERS_MAX);
    let settings = [
        ("listen_addresses", String::new()),
        ("unix_socket_directories", socket_dir.display().to_string()),
        ("unix_socket_permissions", "0700".to_owned()),
        ("port", PORT.to_string()),
        ("max_connections", "64".to_owned()),
        ("shared_buffers", format!("{}kB", shared_buffers >> 10)),
        ("effective_cache_size", format!("{}kB", (memory / 2).max(SHARED_BUFFERS_MIN) >> 10)),
        ("work_mem", "16MB".to_owned()),
        // What is acknowledged is on the disk.
        ("fsync", on_off(options.fsync)),
        ("full_page_writes", on_off(options.fsync)),
        ("synchronous_commit", "on".to_owned()),
        // Fewer checkpoints and less written at each.
        ("wal_compression", "on".to_owned()),
        ("max_wal_size", "4GB".to_owned()),
        // Queries are short: compiling and parallel workers cost more than they save.
        ("jit", "off".to_owned()),
        ("max_parallel_workers_per_gather", "0".to_owned()),
        ("random_page_cost", "1.1".to_owned()),
        // Statements end with the connection that waits for them.
        ("client_connection_check_interval", "10s".to_owned()),
        ("timezone", "UTC".to_owned()),
        // Its messages are ours to print.
        ("logging_collector", "off".to_owned()),
        ("log_destination", "stderr".to_owned()),
        ("log_min_messages", "warning".to_owned()),
        ("log_line_prefix", String::new()),
        ("log_checkpoints", "off".to_owned()),
        ("cluster_name", "indexer".to_owned()),
    ];
    let mut arguments = vec!["-D".to_owned(), cluster.display().to_string()];
    for (name, value) in settings {
        arguments.extend(["-c".to_owned(), format!("{name}={value}")]);
    }
    arguments
}

fn on_off(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}

/// Memory of the machine; `None` where it cannot be told.
fn memory_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}
