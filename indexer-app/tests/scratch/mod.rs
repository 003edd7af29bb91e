//! Where tests put clusters, and what else they need for a while.

use std::path::Path;

/// Any directory here can be reached by every account. `TMPDIR` and `target/` may be below a home that PostgreSQL's
/// cannot reach.
pub const DISK: &str = "/tmp";

/// Memory as a directory, where the system has it.
const MEMORY: &str = "/dev/shm";

/// What is to be free there, bytes: more than the clusters of all tests that run at a time, each with its files of some
/// 40 MiB and as much of its log again, or several times that.
const ENOUGH: u64 = 4 << 30;

/// The directory in which tests make their own: in memory if there is enough. The program as its users run it waits for
/// the disk after each transaction, and several tests on one disk wait for each other. What tests kill are processes,
/// and the system keeps what these have written on a disk and in memory alike.
pub fn place() -> &'static Path {
    let free = nix::sys::statvfs::statvfs(MEMORY)
        .map_or(0, |found| found.blocks_available() * found.fragment_size());
    Path::new(if free >= ENOUGH { MEMORY } else { DISK })
}
