//! Who asks: one socket that has many thousand addresses, and waits for answers before it asks on.
//!
//! Bound to 0.0.0.0, it gets what is sent to any address of 127.0.0.0/8, and IP_PKTINFO has each query leave from another one.

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use krpc::{InfoHash, Message, Method, NodeId};
use nix::errno::Errno;
use nix::libc::{in_addr, in_pktinfo};
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmsg};
use rand::{SeedableRng, rngs::StdRng};
use socket2::SockRef;

use crate::kind::{Kind, query};

/// Addresses that ask by turns, from [`FIRST_SOURCE`] on. No server that keeps to one answer in 400 ms for each is then
/// slower than 100,000 answers a second.
pub(crate) const SOURCES: u32 = 40_000;

/// Between two queries of one address: this server gives at most three answers a second to one that it asks nothing.
const SOURCE_PAUSE: Duration = Duration::from_millis(400);

/// 127.192.0.1: above the nodes and seeders of the swarm.
const FIRST_SOURCE: u32 = u32::from_be_bytes([127, 192, 0, 1]);

/// Queries that wait for an answer at a time: a server that is busy finds several at once, and the default buffer of a
/// socket (208 KiB) has room for all.
const WINDOW: usize = 128;

/// After this long a query counts as unanswered.
const PATIENCE: Duration = Duration::from_millis(300);

/// Answers taken with one system call.
const BATCH: usize = 64;

/// The largest answer taken.
const BYTES: usize = 2_048;

/// The load.
pub(crate) struct Load {
    socket: UdpSocket,
    random: StdRng,
    headers: MultiHeaders<SockaddrIn>,
    buffers: Vec<[u8; BYTES]>,
    buffer: Vec<u8>,
    /// Queries so far; the number of a query is its transaction id.
    asked: u32,
    waiting: Vec<Option<Waiting>>,
}

/// A query without an answer.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    tid: u32,
    asked_at: Instant,
}

/// What came of a load.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) asked: u64,
    pub(crate) answered: u64,
    /// Bytes of all answers.
    pub(crate) bytes: u64,
    /// Contacts in all answers.
    pub(crate) contacts: u64,
    /// Answers that were errors: not counted as answered.
    pub(crate) errors: u64,
}

impl Load {
    pub(crate) fn new() -> Result<Self, String> {
        let socket =
            UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(|error| format!("no socket: {error}"))?;
        SockRef::from(&socket)
            .set_recv_buffer_size(4 << 20)
            .map_err(|error| format!("no receive buffer: {error}"))?;
        Ok(Self {
            socket,
            random: StdRng::from_seed([11; 32]),
            headers: MultiHeaders::preallocate(BATCH, None),
            buffers: vec![[0; BYTES]; BATCH],
            buffer: Vec::with_capacity(BYTES),
            asked: 0,
            waiting: vec![None; WINDOW],
        })
    }

    /// Asks for so long, as fast as answers come and the addresses allow.
    pub(crate) fn run(
        &mut self,
        server: SocketAddrV4,
        kind: Kind,
        length: Duration,
    ) -> Result<Outcome, String> {
        let begun = Instant::now();
        let mut outcome = Outcome::default();
        let mut free: Vec<usize> = (0..WINDOW).collect();
        let mut looked = begun;
        loop {
            let now = Instant::now();
            let over = now - begun >= length;
            if over && free.len() == WINDOW {
                return Ok(outcome);
            }
            let allowed =
                ((now - begun).as_secs_f64() / SOURCE_PAUSE.as_secs_f64() * f64::from(SOURCES)) as u64;
            while !over && outcome.asked < allowed + WINDOW as u64 {
                let Some(slot) = free.pop() else { break };
                self.ask(server, kind, slot, now)?;
                outcome.asked += 1;
            }
            if self.take(&mut free, &mut outcome)? == 0 {
                std::thread::yield_now();
            }
            if now - looked > PATIENCE / 4 {
                looked = now;
                for (slot, waiting) in self.waiting.iter_mut().enumerate() {
                    if waiting.is_some_and(|waiting| now - waiting.asked_at > PATIENCE) {
                        *waiting = None;
                        free.push(slot);
                    }
                }
            }
        }
    }

    /// Asks one question, and returns the answer as it came.
    pub(crate) fn ask_once(&mut self, server: SocketAddrV4, kind: Kind) -> Result<Option<Vec<u8>>, String> {
        self.buffer.clear();
        self.asked = self.asked.wrapping_add(1);
        kind.encode(self.asked.to_be_bytes(), &mut self.random, &mut self.buffer);
        self.exchange(server, self.source())
    }

    /// Bytes of such a query.
    pub(crate) fn query_len(&mut self, kind: Kind) -> usize {
        self.buffer.clear();
        kind.encode([0; 4], &mut self.random, &mut self.buffer);
        self.buffer.len()
    }

    /// Announces so many torrents, each from an address of its own. Returns how many were accepted.
    pub(crate) fn announce(&mut self, server: SocketAddrV4, torrents: u32) -> Result<u32, String> {
        let mut accepted = 0;
        for _ in 0..torrents {
            let info_hash = InfoHash::random(&mut self.random);
            let id = NodeId::random(&mut self.random);
            self.asked = self.asked.wrapping_add(1);
            let source = self.source();
            let tid = self.asked.to_be_bytes();
            self.buffer.clear();
            query(tid, id, Method::GetPeers { info_hash, noseed: false, scrape: false })
                .encode(&mut self.buffer);
            let Some(answer) = self.exchange(server, source)? else { continue };
            let token = match Message::parse(&answer).map(|message| message.kind) {
                Ok(krpc::Kind::Reply(reply)) => reply.token.map(<[u8]>::to_vec),
                _ => None,
            };
            let Some(token) = token else { continue };
            self.buffer.clear();
            let announce = Method::AnnouncePeer {
                info_hash,
                port: 6_881,
                implied_port: false,
                seed: false,
                token: &token,
                name: None,
            };
            query(tid, id, announce).encode(&mut self.buffer);
            let answer = self.exchange(server, source)?;
            let is_reply = |answer: &Vec<u8>| {
                Message::parse(answer).is_ok_and(|message| matches!(message.kind, krpc::Kind::Reply(_)))
            };
            accepted += u32::from(answer.as_ref().is_some_and(is_reply));
        }
        Ok(accepted)
    }

    /// Sends what is in the buffer and waits for what comes back under its transaction id.
    fn exchange(&mut self, server: SocketAddrV4, source: Ipv4Addr) -> Result<Option<Vec<u8>>, String> {
        let tid = self.asked.to_be_bytes();
        self.send(server, source)?;
        let begun = Instant::now();
        self.socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .map_err(|error| format!("no timeout: {error}"))?;
        let mut buffer = [0; BYTES];
        while begun.elapsed() < PATIENCE {
            let Ok((len, from)) = self.socket.recv_from(&mut buffer) else { continue };
            let answer = &buffer[..len];
            let matches = |message: Message<'_>| message.tid.bytes() == Some(&tid);
            if from == SocketAddr::V4(server) && Message::parse(answer).is_ok_and(matches) {
                return Ok(Some(answer.to_vec()));
            }
        }
        Ok(None)
    }

    fn source(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(FIRST_SOURCE + self.asked % SOURCES)
    }

    fn ask(&mut self, server: SocketAddrV4, kind: Kind, slot: usize, now: Instant) -> Result<(), String> {
        // The place in the window is the remainder of the number.
        self.asked = self.asked.wrapping_add(1);
        let tid = self.asked.wrapping_mul(WINDOW as u32) | slot as u32;
        self.buffer.clear();
        kind.encode(tid.to_be_bytes(), &mut self.random, &mut self.buffer);
        self.send(server, self.source())?;
        self.waiting[slot] = Some(Waiting { tid, asked_at: now });
        Ok(())
    }

    fn send(&self, server: SocketAddrV4, source: Ipv4Addr) -> Result<(), String> {
        if !server.ip().is_loopback() {
            return Err(format!("{server} is not on loopback"));
        }
        let source = in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: in_addr { s_addr: u32::from(source).to_be() },
            ipi_addr: in_addr { s_addr: 0 },
        };
        sendmsg(
            self.socket.as_raw_fd(),
            &[IoSlice::new(&self.buffer)],
            &[ControlMessage::Ipv4PacketInfo(&source)],
            MsgFlags::empty(),
            Some(&SockaddrIn::from(server)),
        )
        .map_err(|error| format!("sending: {error}"))?;
        Ok(())
    }

    /// Takes what has come. Returns how many datagrams that were.
    fn take(&mut self, free: &mut Vec<usize>, outcome: &mut Outcome) -> Result<usize, String> {
        let mut lens = [0; BATCH];
        let mut count = 0;
        {
            let mut parts: Vec<[IoSliceMut<'_>; 1]> =
                self.buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
            let fd = self.socket.as_raw_fd();
            match recvmmsg(fd, &mut self.headers, parts.iter_mut(), MsgFlags::MSG_DONTWAIT, None) {
                Ok(messages) => {
                    for message in messages {
                        lens[count] = message.bytes;
                        count += 1;
                    }
                }
                Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => {}
                Err(error) => return Err(format!("receiving: {error}")),
            }
        }
        for (buffer, len) in self.buffers.iter().zip(lens).take(count) {
            let Ok(message) = Message::parse(&buffer[..len]) else { continue };
            let Some(Ok(tid)) = message.tid.bytes().map(<[u8; 4]>::try_from) else { continue };
            let tid = u32::from_be_bytes(tid);
            let slot = tid as usize % WINDOW;
            if self.waiting[slot].is_none_or(|waiting| waiting.tid != tid) {
                continue;
            }
            self.waiting[slot] = None;
            free.push(slot);
            match message.kind {
                krpc::Kind::Reply(reply) => {
                    outcome.answered += 1;
                    outcome.bytes += len as u64;
                    outcome.contacts += reply.nodes.len() as u64;
                }
                krpc::Kind::Error(_) => outcome.errors += 1,
                krpc::Kind::Query(_) => {}
            }
        }
        Ok(count)
    }
}
