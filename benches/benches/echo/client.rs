//! Who sends, waits until it comes back, and sends again.

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};
use socket2::SockRef;

/// Bytes of a datagram: a small query.
const BYTES: usize = 100;

/// Datagrams with one system call.
const BATCH: usize = 64;

/// When nothing came for so long, what is under way is lost.
const PATIENCE: Duration = Duration::from_millis(200);

/// One socket that talks to all ports.
pub(crate) struct Client {
    socket: UdpSocket,
    receiving: MultiHeaders<SockaddrIn>,
    sending: MultiHeaders<SockaddrIn>,
    buffers: Vec<[u8; BYTES]>,
}

impl Client {
    pub(crate) fn new() -> Result<Self, String> {
        let socket =
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| format!("no socket: {error}"))?;
        SockRef::from(&socket)
            .set_recv_buffer_size(4 << 20)
            .map_err(|error| format!("no receive buffer: {error}"))?;
        Ok(Self {
            socket,
            receiving: MultiHeaders::preallocate(BATCH, None),
            sending: MultiHeaders::preallocate(BATCH, None),
            buffers: vec![[0; BYTES]; BATCH],
        })
    }

    /// Keeps `window` datagrams under way for so long, the ports by turns, and returns how many came back.
    pub(crate) fn run(
        &mut self,
        ports: &[SocketAddr],
        window: usize,
        length: Duration,
    ) -> Result<u64, String> {
        let ports: Vec<SockaddrIn> = ports
            .iter()
            .filter_map(|port| match port {
                SocketAddr::V4(port) if port.ip().is_loopback() => Some((*port).into()),
                _ => None,
            })
            .collect();
        let mut ports = ports.iter().cycle();
        let begun = Instant::now();
        let (mut came, mut under_way, mut last) = (0, 0_usize, begun);
        loop {
            let now = Instant::now();
            let over = now - begun >= length;
            if now - last > PATIENCE {
                under_way = 0;
                last = now;
            }
            if over && under_way == 0 {
                return Ok(came);
            }
            if !over && under_way < window {
                let count = (window - under_way).min(BATCH);
                let to: Vec<_> = ports.by_ref().take(count).map(|port| Some(*port)).collect();
                under_way += self.send(&to)?;
            }
            let count = self.take()?;
            if count == 0 {
                std::thread::yield_now();
                continue;
            }
            came += count as u64;
            under_way = under_way.saturating_sub(count);
            last = now;
        }
    }

    fn send(&mut self, to: &[Option<SockaddrIn>]) -> Result<usize, String> {
        let bytes = [0x5a; BYTES];
        let parts = vec![[IoSlice::new(&bytes)]; to.len()];
        let fd = self.socket.as_raw_fd();
        let sent = sendmmsg(fd, &mut self.sending, &parts, to, [], MsgFlags::empty());
        Ok(sent.map_err(|error| format!("sending: {error}"))?.count())
    }

    fn take(&mut self) -> Result<usize, String> {
        let mut parts: Vec<[IoSliceMut<'_>; 1]> =
            self.buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let fd = self.socket.as_raw_fd();
        match recvmmsg(fd, &mut self.receiving, parts.iter_mut(), MsgFlags::MSG_DONTWAIT, None) {
            Ok(messages) => Ok(messages.count()),
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => Ok(0),
            Err(error) => Err(format!("receiving: {error}")),
        }
    }
}
