//! CPU time and memory of other processes, from `/proc`.

use std::{fs, path::Path};

/// Ticks a second in `/proc/PID/stat`: the same on every Linux.
const TICKS: f64 = 100.0;

/// CPU seconds of a process so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    /// Its own, over all its threads.
    pub(crate) own: f64,
    /// Of its children that have ended.
    pub(crate) ended_children: f64,
}

/// CPU time of a process; nothing when it is gone.
pub(crate) fn cpu(pid: u32) -> Cpu {
    let Some(fields) = stat(pid) else { return Cpu::default() };
    let ticks =
        |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0) / TICKS;
    Cpu { own: ticks(11) + ticks(12), ended_children: ticks(13) + ticks(14) }
}

/// CPU time of a process, of its children, and of those that have ended.
pub(crate) fn cpu_of_family(pid: u32) -> f64 {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |child: &u32| stat(*child).is_some_and(|fields| fields[1].parse() == Ok(pid));
    let children: f64 = pids.filter(is_child).map(cpu).map(|cpu| cpu.own + cpu.ended_children).sum();
    let cpu = cpu(pid);
    cpu.own + cpu.ended_children + children
}

/// The most memory that a process ever held, bytes.
pub(crate) fn rss_peak(pid: u32) -> u64 {
    memory(pid, "VmHWM:")
}

/// The memory that a process holds now, bytes.
pub(crate) fn rss(pid: u32) -> u64 {
    memory(pid, "VmRSS:")
}

fn memory(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.trim().strip_suffix(" kB").and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The server of the private cluster in this data directory, as its own file says.
pub(crate) fn database(data_dir: &Path) -> Option<u32> {
    let text = fs::read_to_string(data_dir.join("postgres/postmaster.pid")).ok()?;
    text.lines().next()?.trim().parse().ok()
}

/// The fields behind the name: state, parent, and so on.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in front may contain anything, brackets too.
    let fields: Vec<_> = stat.rsplit(')').next()?.split_whitespace().map(str::to_owned).collect();
    (fields.len() > 15).then_some(fields)
}
