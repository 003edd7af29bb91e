//! How the program ends when it is told to: soon, well, and with nothing left running.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::unix::process::CommandExt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use krpc::{InfoHash, Method, NodeId, Want, encode};
use nix::sys::signal::Signal;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;
use swarm::Swarm;

use crate::{
    indexer::{FEW_FETCHES, Indexer, data_dir, own_address, program, unhurried},
    patience::eventually,
    private_cluster::TempDir,
    process::{self, Frozen},
};

/// How long a graceful end may take, database and all.
const ENDS_WITHIN: Duration = Duration::from_secs(3);

/// How long an end at once may take: the time to notice the signal.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Starts an indexer at the head of a process group, as a shell does, in the middle of its work.
fn busy_indexer(folder: &TempDir, swarm: &Swarm) -> (Indexer, i32) {
    let mut command = program(&folder.0, "run");
    command.args(["--bind", &own_address().to_string(), "--port", "0", "--shared-buffers", "33554432"]);
    command.args(["--bootstrap", &swarm.bootstrap()[0].to_string()]).args(FEW_FETCHES).process_group(0);
    let mut indexer = Indexer::start(&folder.0, command);
    indexer.export_of(1);
    let server = indexer.database();
    (indexer, server)
}

fn swarm() -> Swarm {
    Swarm::start(unhurried(41, 200, 1000)).unwrap()
}

/// Strangers who ask for ever new torrents as long as it lives, as those of the real network do.
struct Strangers {
    gone: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Strangers {
    fn asking(port: SocketAddr) -> Self {
        let gone = Arc::new(AtomicBool::new(false));
        let until_gone = Arc::clone(&gone);
        let thread = std::thread::spawn(move || {
            let addresses = (1..=50).map(|host| Ipv4Addr::new(127, 0, 99, host));
            let sockets: Vec<_> = addresses.map(|address| UdpSocket::bind((address, 0)).unwrap()).collect();
            let mut random = StdRng::seed_from_u64(41);
            let mut datagram = Vec::new();
            while !until_gone.load(Ordering::Relaxed) {
                for socket in &sockets {
                    let info_hash = InfoHash::from_bytes(random.random());
                    let method = Method::GetPeers { info_hash, noseed: false, scrape: false };
                    let (id, want) = (NodeId::from_bytes(random.random()), Want::default());
                    datagram.clear();
                    encode::Query { tid: b"many", id, version: None, read_only: false, want, method }
                        .encode(&mut datagram);
                    // Nobody listens any more when the indexer has ended.
                    let _ = socket.send_to(&datagram, port);
                }
                // The pace of the strangers, not a wait for anything: 5,000 questions a second.
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Self { gone, thread: Some(thread) }
    }
}

impl Drop for Strangers {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn assert_nothing_runs(folder: &TempDir, server: i32) {
    assert!(!process::is_alive(server), "the database still runs");
    assert_eq!(process::database(&data_dir(&folder.0)), None, "the database was not ended in good order");
}

#[test]
fn an_interrupt_or_a_termination_ends_it_soon_and_leaves_nothing_running() {
    let swarm = swarm();
    let folder = TempDir::new();
    // A terminal sends its Ctrl-C to the whole group.
    for (signal, to_group) in [(Signal::SIGINT, true), (Signal::SIGINT, false), (Signal::SIGTERM, false)] {
        let (mut indexer, server) = busy_indexer(&folder, &swarm);
        let _strangers = Strangers::asking(indexer.listening(4)[0]);
        let started: Vec<i32> = process::children(indexer.pid());
        assert!(started.contains(&server), "{started:?}");
        process::signal(if to_group { -indexer.pid() } else { indexer.pid() }, signal);
        let (status, took) = indexer.wait();
        assert_eq!(status.code(), Some(0), "{}", indexer.log());
        assert!(took < ENDS_WITHIN, "{signal} took {took:?}:\n{}", indexer.log());
        assert!(indexer.output().starts_with("stopped\n"), "{}", indexer.output());
        assert_nothing_runs(&folder, server);
        let stats: Value = serde_json::from_slice(&indexer.ask(&["stats", "--json"]).unwrap()).unwrap();
        assert_eq!(stats["runs"][0]["state"], "stopped", "{stats:#}");
        for work in ["visits", "fetches"].map(|kind| &stats["runs"][0]["work"][kind]) {
            let number = |name: &str| work[name].as_u64().unwrap();
            assert_eq!(number("attempted"), number("succeeded") + number("failed"), "{stats:#}");
            assert_eq!(number("in_flight"), 0, "{stats:#}");
        }
    }
}

#[test]
fn an_interrupt_while_it_starts_is_heard_too() {
    let folder = TempDir::new();
    // While the database is being made, while it is there and the ports are not, and while both are.
    for phase in ["nothing but a lock", "the private database is up", "listening"] {
        let mut indexer = Indexer::run_alone(&folder.0, own_address(), &[]);
        indexer.until(phase, |indexer| {
            let is_locked = data_dir(&folder.0).join("lock").exists();
            (indexer.log().contains(phase) || is_locked && phase.contains("lock")).then_some(())
        });
        let took = indexer.interrupt();
        assert!(took < ENDS_WITHIN, "{phase}: {took:?}");
        eventually("the end of the database", || {
            process::database(&data_dir(&folder.0)).is_none_or(|server| !process::is_alive(server))
        });
    }
}

#[test]
fn a_second_interrupt_does_not_wait_for_a_database_that_does_not_answer() {
    let swarm = swarm();
    let folder = TempDir::new();
    let (mut indexer, server) = busy_indexer(&folder, &swarm);
    let frozen = Frozen::freeze(server);
    indexer.signal(Signal::SIGINT);
    // It has heard the first when it listens to the DHT no more.
    indexer
        .until("the first interrupt being heard", |indexer| indexer.log().contains("ending").then_some(()));
    indexer.signal(Signal::SIGINT);
    let (status, took) = indexer.wait();
    assert!(took < AT_ONCE, "{took:?}");
    assert_eq!(status.code(), Some(130), "what shells expect of an interrupted program");
    drop(frozen);
    eventually("the end of the database", || !process::is_alive(server));
}

#[test]
fn nobody_has_to_wait_for_the_end_of_a_database_that_does_not_answer() {
    let swarm = swarm();
    let folder = TempDir::new();
    let (mut indexer, server) = busy_indexer(&folder, &swarm);
    let frozen = Frozen::freeze(server);
    indexer.signal(Signal::SIGTERM);
    indexer.until("the model giving up", |indexer| {
        indexer.log().contains("the manager did not close within the grace period").then_some(())
    });
    // All that is left is to wait for the server.
    indexer.signal(Signal::SIGTERM);
    let (status, took) = indexer.wait();
    assert!(status.success() && took < AT_ONCE, "{status} after {took:?}");
    assert!(indexer.output().starts_with("stopped\n"), "{}", indexer.output());
    drop(frozen);
    eventually("the end of the database", || !process::is_alive(server));
}
