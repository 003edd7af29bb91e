//! Ideal peers in a process of their own: what they say is prepared, and they say it at once.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, ChildStdin, Command, Stdio},
    sync::Arc,
};

use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Builder,
    task::JoinSet,
};

use crate::info::{HANDSHAKE_BYTES, Info};

/// The argument that makes this program the seeders.
pub(crate) const ROLE: &str = "--be-the-seeders";
/// And with this one they take connections and say nothing.
pub(crate) const SILENT: &str = "--silent";

/// Connections at a time: what the memory of a machine for tests bears on both sides.
const CONNECTIONS_MAX: usize = 18_000;
/// Connections that the system keeps until they are taken.
const BACKLOG: i32 = 4_096;

/// Serves until its standard input ends.
pub(crate) fn serve(silent: bool) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from(([0, 0, 0, 0], 0)).into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener: std::net::TcpListener = socket.into();
    let mut out = io::stdout().lock();
    writeln!(out, "{}", listener.local_addr()?.port())?;
    out.flush()?;
    let info = Arc::new(Info::new());
    Builder::new_current_thread().enable_io().build()?.block_on(async move {
        let listener = TcpListener::from_std(listener)?;
        let mut conversations = JoinSet::new();
        let ended = tokio::task::spawn_blocking(|| io::stdin().lines().count());
        tokio::pin!(ended);
        loop {
            tokio::select! {
                _ = &mut ended => return Ok(()),
                Some(_) = conversations.join_next() => {}
                accepted = listener.accept(), if conversations.len() < CONNECTIONS_MAX => {
                    let (stream, _) = accepted?;
                    conversations.spawn(converse(stream, Arc::clone(&info), silent));
                }
            }
        }
    })
}

/// Answers the handshake, then everything that is asked for; ends with the other side.
async fn converse(mut stream: TcpStream, info: Arc<Info>, silent: bool) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut heard, mut bytes) = (0, [0; 1024]);
    loop {
        let len = stream.read(&mut bytes).await?;
        if len == 0 {
            return Ok(());
        }
        let before = heard;
        heard += len;
        if silent {
            continue;
        }
        if before < HANDSHAKE_BYTES && heard >= HANDSHAKE_BYTES {
            stream.write_all(&info.hello).await?;
        }
        // Requests come together, behind the handshakes; who pipelines all of it has sent them with those.
        let asked = info.asked_after(before)..=info.asked_after(heard);
        for piece in info.pieces.get(*asked.start()..*asked.end()).unwrap_or_default() {
            stream.write_all(piece).await?;
        }
    }
}

/// The seeders as the benchmark sees them; they end with this.
#[derive(Debug)]
pub(crate) struct Seeders {
    child: Child,
    _input: Option<ChildStdin>,
    pub(crate) port: u16,
}

impl Seeders {
    pub(crate) fn start(silent: bool) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(ROLE).args(silent.then_some(SILENT)).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let port = line.trim().parse().map_err(|_| io::Error::other("the seeders named no port"))?;
        let input = child.stdin.take();
        Ok(Self { child, _input: input, port })
    }
}

/// Where connection `number` goes: addresses enough that ports do not run out.
pub(crate) fn ip(number: u32) -> Ipv4Addr {
    let [_, _, high, low] = (number % ADDRESSES).to_be_bytes();
    Ipv4Addr::new(127, 77, high, low.max(1))
}

/// Addresses that are connected to by turns.
const ADDRESSES: u32 = 1 << 14;

impl Drop for Seeders {
    fn drop(&mut self) {
        drop(self._input.take());
        let _ = self.child.wait();
    }
}
