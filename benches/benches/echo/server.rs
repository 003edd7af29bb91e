//! The servers, each in a process of its own.

use std::fmt;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use nix::time::ClockId;
use nix::unistd::Pid;
use socket2::SockRef;
use tea_runtime::{Cmd, Config, Context, Datagram, Never, Program, Runtime, Sub, SubEvent, UdpPort};

use crate::floor;

/// What serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The least that a server can do.
    Floor,
    /// The runtime.
    Runtime {
        /// See [`Config::io_threads`].
        io_threads: usize,
        /// See [`Config::batched_datagrams`].
        batched: bool,
    },
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Floor => f.write_str("floor"),
            Self::Runtime { io_threads, batched } => {
                let calls = if *batched { "mmsg" } else { "one by one" };
                write!(f, "{io_threads} I/O threads, {calls}")
            }
        }
    }
}

/// A running server. It ends when this is dropped.
pub(crate) struct Server {
    child: Child,
    ports: Vec<SocketAddr>,
    /// Held open: the server ends when it ends.
    _input: Option<ChildStdin>,
}

impl Server {
    pub(crate) fn start(kind: Kind, ports: u16) -> Result<Self, String> {
        let own = std::env::current_exe().map_err(|error| format!("this program has no name: {error}"))?;
        let arguments = match kind {
            Kind::Floor => [ports.to_string(), "floor".to_owned(), String::new()],
            Kind::Runtime { io_threads, batched } => {
                [ports.to_string(), io_threads.to_string(), batched.to_string()]
            }
        };
        let mut child = Command::new(own)
            .arg("--be")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("the server cannot be started: {error}"))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let mut server = Self { child, ports: Vec::new(), _input: input };
        for line in output.into_iter().flat_map(|output| BufReader::new(output).lines()).take(ports.into()) {
            let line = line.map_err(|error| format!("the server does not say where it is: {error}"))?;
            server.ports.push(line.parse().map_err(|error| format!("{line}: {error}"))?);
        }
        if server.ports.len() == usize::from(ports) { Ok(server) } else { Err("the server ended".to_owned()) }
    }

    pub(crate) fn ports(&self) -> &[SocketAddr] {
        &self.ports
    }

    /// CPU time of its process, over all threads, in user and system.
    pub(crate) fn cpu(&self) -> Result<Duration, String> {
        let pid = Pid::from_raw(self.child.id() as i32);
        let time = ClockId::pid_cpu_clock_id(pid).and_then(ClockId::now);
        time.map(Duration::from).map_err(|error| format!("the server is gone: {error}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Is a server, until the process is ended.
pub(crate) fn be(arguments: &[String]) -> Result<(), String> {
    let [ports, kind, batched] = arguments else { return Err("ports, threads, batched".to_owned()) };
    let ports: u16 = ports.parse().map_err(|error| format!("{ports} ports: {error}"))?;
    if kind == "floor" {
        return be_the_floor(ports);
    }
    let io_threads = kind.parse().map_err(|error| format!("{kind} threads: {error}"))?;
    let config = Config { io_threads, batched_datagrams: batched == "true", ..Config::default() };
    let ended: Result<Echo, _> = Runtime::new(config).run_blocking(ports);
    ended.map(drop).map_err(|error| format!("the server ended: {error}"))
}

fn be_the_floor(ports: u16) -> Result<(), String> {
    let mut threads = Vec::new();
    for _ in 0..ports {
        let socket = UdpSocket::bind(loopback()).map_err(|error| format!("no port: {error}"))?;
        SockRef::from(&socket)
            .set_recv_buffer_size(UdpPort::new(loopback()).recv_buffer_bytes)
            .map_err(|error| format!("no receive buffer: {error}"))?;
        say(socket.local_addr().map_err(|error| format!("no name of a port: {error}"))?);
        threads.push(std::thread::spawn(move || floor::echo(&socket)));
    }
    let ends = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("panicked".to_owned())));
    ends.collect()
}

fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// Tells the other process where a port is.
fn say(local: SocketAddr) {
    // If nobody listens any more the server is ended.
    let _ = writeln!(std::io::stdout(), "{local}");
}

struct Echo {
    ports: u16,
}

enum Msg {
    Came(u16, Datagram),
    Port(SubEvent<u16>),
}

/// The key of the events; the others are ports.
const EVENTS: u16 = u16::MAX;

impl Program for Echo {
    type Flags = u16;
    type Msg = Msg;
    type Key = u16;
    type Effect = Never;

    fn init(ports: u16, _: &Context, _: &mut Cmd<Self>) -> Self {
        Self { ports }
    }

    fn update(&mut self, msg: Msg, _: &Context, cmd: &mut Cmd<Self>) {
        match msg {
            Msg::Came(port, datagram) => {
                cmd.send(port, datagram.from(), |out| out.extend_from_slice(datagram.payload()));
            }
            Msg::Port(SubEvent::Ready { local, .. }) => say(local),
            Msg::Port(_) => {}
        }
    }

    fn subscriptions(&self, sub: &mut Sub<Self>) {
        for port in 0..self.ports {
            sub.udp(port, UdpPort::new(loopback()), Msg::Came);
        }
        sub.events(EVENTS, |_, event| Msg::Port(event));
    }
}
