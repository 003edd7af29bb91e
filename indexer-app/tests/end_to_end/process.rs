//! Processes as the system sees them.

use std::{fs, path::Path};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Whether it runs. A zombie that its adoptive parent has not reaped yet is dead.
pub(crate) fn is_alive(pid: i32) -> bool {
    state(pid).is_some_and(|(state, _)| state != 'Z')
}

/// Its state as one letter, and its parent.
fn state(pid: i32) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in front may contain anything, brackets too.
    let mut rest = stat.rsplit(')').next()?.split_whitespace();
    Some((rest.next()?.chars().next()?, rest.next()?.parse().ok()?))
}

/// The most memory that it ever held, bytes; `None` when it has ended.
pub(crate) fn peak_memory(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024)
}

/// Processes that it has started and that still run.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|child| state(*child).is_some_and(|(state, parent)| parent == pid && state != 'Z')).collect()
}

/// The server of the private cluster in this data directory, as its own file says.
pub(crate) fn database(data_dir: &Path) -> Option<i32> {
    let text = fs::read_to_string(data_dir.join("postgres/postmaster.pid")).ok()?;
    text.lines().next()?.trim().parse().ok()
}

/// The server of the private cluster in this data directory, if it accepts connections.
pub(crate) fn ready_database(data_dir: &Path) -> Option<i32> {
    let text = fs::read_to_string(data_dir.join("postgres/postmaster.pid")).ok()?;
    let pid = database(data_dir).filter(|pid| is_alive(*pid))?;
    (text.lines().nth(7)?.trim() == "ready").then_some(pid)
}

/// Sends a signal; that the process is there is what is tested.
pub(crate) fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

/// A database whose processes stand still until this is dropped.
pub(crate) struct Frozen(Vec<i32>);

impl Frozen {
    /// Stops the server and what it has started.
    pub(crate) fn freeze(server: i32) -> Self {
        // First the server, so that it starts no others.
        signal(server, Signal::SIGSTOP);
        let mut pids = vec![server];
        for child in children(server) {
            signal(child, Signal::SIGSTOP);
            pids.push(child);
        }
        Self(pids)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for pid in &self.0 {
            // It may have been killed meanwhile.
            let _ = kill(Pid::from_raw(*pid), Signal::SIGCONT);
        }
    }
}
