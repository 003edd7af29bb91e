//! The servers, each in a process of its own.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use nix::time::ClockId;
use nix::unistd::Pid;

use crate::environment;

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Floor,
    Ours,
    Libtorrent,
    Mainline,
    Rqbit,
}

impl Who {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Ours => "ours",
            Self::Libtorrent => "libtorrent",
            Self::Mainline => "mainline 8",
            Self::Rqbit => "librqbit-dht 9",
        }
    }

    /// Its address; all of them are at addresses of their own.
    fn ip(self) -> Ipv4Addr {
        Ipv4Addr::new(127, 0, 7, 1 + self as u8)
    }
}

/// A running server. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Participant {
    pub(crate) who: Who,
    pub(crate) addr: SocketAddrV4,
    child: Child,
    /// Held open: most end when it ends.
    _input: Option<ChildStdin>,
}

impl Participant {
    /// Starts it. `arguments` are the addresses to begin at; for the floor, the answers to give.
    pub(crate) fn start(who: Who, arguments: &[String]) -> Result<Self, String> {
        let addr = free_port(who.ip())?;
        let mut command = match who {
            Who::Floor => this_program("--be-the-floor")?,
            Who::Ours => this_program("--be-ours")?,
            Who::Libtorrent => {
                let mut command = Command::new(environment::python());
                command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/serving/session.py"));
                command
            }
            Who::Mainline => of_peers("mainline")?,
            Who::Rqbit => of_peers("librqbit-dht")?,
        };
        let mut child = command
            .arg(addr.to_string())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("{} cannot be started: {error}", who.name()))?;
        let input = child.stdin.take();
        Ok(Self { who, addr, child, _input: input })
    }

    /// CPU time of its process, over all threads, in user and system.
    pub(crate) fn cpu(&self) -> Result<Duration, String> {
        let pid = Pid::from_raw(self.child.id() as i32);
        let time = ClockId::pid_cpu_clock_id(pid).and_then(ClockId::now);
        time.map(Duration::from).map_err(|error| format!("{} is gone: {error}", self.who.name()))
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn this_program(role: &str) -> Result<Command, String> {
    let own = std::env::current_exe().map_err(|error| format!("this program has no name: {error}"))?;
    let mut command = Command::new(own);
    command.arg(role);
    Ok(command)
}

fn of_peers(library: &str) -> Result<Command, String> {
    let mut command = Command::new(peers()?);
    command.arg(library);
    Ok(command)
}

/// Where the servers of other libraries are, built if they are not yet: a package of its own, beside the workspace.
pub(crate) fn peers() -> Result<PathBuf, String> {
    // target/tmp
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers");
    let program = target.join("release/peers");
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/Cargo.toml");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--locked", "--quiet", "--manifest-path", manifest, "--target-dir"])
        .arg(&target)
        .status()
        .map_err(|error| format!("cargo cannot be run: {error}"))?;
    if built.success() { Ok(program) } else { Err("the peers were not built".to_owned()) }
}

/// A port that was free a moment ago.
fn free_port(ip: Ipv4Addr) -> Result<SocketAddrV4, String> {
    let socket = UdpSocket::bind((ip, 0)).map_err(|error| format!("no port at {ip}: {error}"))?;
    let local = socket.local_addr().map_err(|error| format!("no name of a port: {error}"))?;
    Ok(SocketAddrV4::new(ip, local.port()))
}
