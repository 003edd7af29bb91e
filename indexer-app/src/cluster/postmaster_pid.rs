//! `postmaster.pid`: what a running server says of itself (documented in PostgreSQL's `pidfile.h`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// The file, as far as it is written yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PostmasterPid {
    pub(super) pid: i32,
    pub(super) port: u16,
    pub(super) socket_dir: PathBuf,
    /// Whether it accepts connections.
    pub(super) ready: bool,
}

impl PostmasterPid {
    /// Reads it; `None` when there is none, or one that is still being written.
    pub(super) fn read(cluster: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(path(cluster)).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // pid, data directory, start time, port, socket directory, listen address, shared memory key, state
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        // A server in single-user mode has a negative one.
        let pid = lines.first()?.parse::<i32>().ok()?.checked_abs().filter(|pid| *pid > 1)?;
        Some(Self {
            pid,
            port: lines.get(3).and_then(|port| port.parse().ok()).unwrap_or(0),
            socket_dir: lines.get(4).map(PathBuf::from).unwrap_or_default(),
            ready: lines.get(7) == Some(&"ready"),
        })
    }

    /// Whether there is a process of this number.
    pub(super) fn is_alive(&self) -> bool {
        matches!(kill(Pid::from_raw(self.pid), None), Ok(()) | Err(Errno::EPERM))
    }

    /// Whether that process is a server of this cluster, and not one that got its number after it had died.
    pub(super) fn is_server_of(&self, cluster: &Path) -> bool {
        let cluster = cluster.canonicalize().unwrap_or_else(|_| cluster.to_owned());
        if cfg!(target_os = "linux") {
            // A server works in its data directory.
            return fs::read_link(format!("/proc/{}/cwd", self.pid)).is_ok_and(|cwd| cwd == cluster);
        }
        let output = std::process::Command::new("ps")
            .args(["-ww", "-o", "command=", "-p", &self.pid.to_string()])
            .output();
        output.is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout).contains(&*cluster.as_os_str().to_string_lossy())
        })
    }

    /// Puts our own number in the place of its: PostgreSQL knows that its parent is no server, and goes on to see
    /// whether processes of the old server still use its shared memory. Without the file it could not.
    pub(super) fn disown(&self, cluster: &Path) {
        let path = path(cluster);
        let Ok(text) = fs::read_to_string(&path) else { return };
        let rest = text.split_once('\n').map_or("", |(_, rest)| rest);
        // Written in place, so that it keeps its owner. Should it fail, PostgreSQL says what is in its way.
        let _ = fs::write(&path, format!("{}\n{rest}", std::process::id()));
    }

    pub(super) fn signal(&self, signal: Signal) {
        // It may have ended in the meantime: then there is nothing to do.
        let _ = kill(Pid::from_raw(self.pid), signal);
    }
}

/// Where the file is.
fn path(cluster: &Path) -> PathBuf {
    cluster.join("postmaster.pid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_server_names_its_process_port_and_socket() {
        let text = "4711\n/data/postgres\n1700000000\n5432\n/data/socket\n\n  1234 5\nready   \n";
        let expected =
            PostmasterPid { pid: 4711, port: 5432, socket_dir: "/data/socket".into(), ready: true };
        assert_eq!(PostmasterPid::parse(text), Some(expected));
    }

    #[test]
    fn a_file_that_is_still_being_written_is_not_ready() {
        assert!(!PostmasterPid::parse("4711\n/data/postgres\n1700000000\n").unwrap().ready);
        assert_eq!(PostmasterPid::parse(""), None);
        assert_eq!(PostmasterPid::parse("x\n"), None);
        assert_eq!(PostmasterPid::parse("0\n"), None, "0 and 1 would signal everybody or init");
        assert_eq!(PostmasterPid::parse("-4711\n").unwrap().pid, 4711);
    }
}
