//! Alone in its program, since the limit is one for the whole process.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use swarm::{Swarm, SwarmConfig};

#[test]
fn too_low_a_limit_of_open_files_is_said_before_anything_starts() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 300, hard).unwrap();
    let config = SwarmConfig { nodes: 10, torrents: 10, connections_max: 500, ..SwarmConfig::default() };
    let error = Swarm::start(config.clone()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the limit of 300 open files is too low, the swarm needs 564: raise it (`ulimit -n 564`) or lower \
         connections_max"
    );
    Swarm::start(SwarmConfig { connections_max: 100, ..config }).unwrap();
}
