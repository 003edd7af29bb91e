//! Real sockets around one fetch: what a program does with its actions, in the simplest way.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use bittorrent::{
    Action, Candidate, CloseHow, Disconnect, Fetch, FetchConfig, Fetched, Output, PeerId, PeerReport,
    PeerSource, Slot, Transport, TransportPolicy, TransportSet,
    mse::{CryptoMethods, Responder, torrent_key},
    utp::{Utp, UtpAction, UtpConfig, UtpHandle, UtpOutput},
};
use krpc::InfoHash;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::sessions::Sessions;

/// What happens to datagrams, both ways; the chances are of 100.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    pub loss: u32,
    pub duplication: u32,
    /// Of going after the next one.
    pub reordering: u32,
}

/// A uTP endpoint with its socket.
struct Port {
    socket: UdpSocket,
    utp: Utp,
    out: UtpOutput,
    weather: Weather,
    rng: StdRng,
    held: Vec<(SocketAddr, Vec<u8>)>,
    clock: Clock,
}

#[derive(Clone, Copy)]
struct Clock(Instant);

/// What a stream has done.
enum Event {
    Opened(UtpHandle),
    Accepted,
    Data(UtpHandle, Vec<u8>),
    Closed(UtpHandle, Disconnect),
}

pub struct Driver {
    fetch: Fetch,
    out: Output,
    port: Port,
    tcp: BTreeMap<Slot, TcpStream>,
    utp: BTreeMap<UtpHandle, Slot>,
    clock: Clock,
    pub reports: Vec<PeerReport>,
    pub done: Option<Fetched>,
}

static DRIVERS: AtomicU32 = AtomicU32::new(0);

/// Everything on loopback is over long before.
const PATIENCE: Duration = Duration::from_secs(60);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this test is about real time")]
    fn start() -> Self {
        Self(Instant::now())
    }

    fn now(self) -> Duration {
        self.0.elapsed()
    }
}

impl Port {
    fn new(config: UtpConfig, weather: Weather, clock: Clock) -> Self {
        let socket = UdpSocket::bind("127.0.42.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let rng = StdRng::seed_from_u64(1);
        Self {
            socket,
            utp: Utp::new(config, [3; 32]),
            out: UtpOutput::new(),
            weather,
            rng,
            held: Vec::new(),
            clock,
        }
    }

    fn addr(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// Waits a moment for datagrams; what the streams have done meanwhile.
    fn turn(&mut self) -> Vec<Event> {
        let mut buffer = [0; 4096];
        match self.socket.recv_from(&mut buffer) {
            Ok((len, from)) => {
                for _ in 0..self.copies() {
                    self.utp.datagram(self.clock.now(), from, &buffer[..len], &mut self.out);
                }
            }
            // A closed port of the other side shows as an error here.
            Err(error) => assert!(matches!(
                error.kind(),
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionRefused
            )),
        }
        self.flush()
    }

    fn flush(&mut self) -> Vec<Event> {
        self.utp.tick(self.clock.now(), &mut self.out);
        let mut events = Vec::new();
        let mut sends = Vec::new();
        for action in self.out.drain() {
            match action {
                UtpAction::Send { to, datagram } => sends.push((to, datagram.to_vec())),
                UtpAction::Opened(handle) => events.push(Event::Opened(handle)),
                UtpAction::Accepted { .. } => events.push(Event::Accepted),
                UtpAction::Data { handle, bytes } => events.push(Event::Data(handle, bytes.to_vec())),
                UtpAction::Closed { handle, why } => events.push(Event::Closed(handle, why)),
            }
        }
        let mut late = std::mem::take(&mut self.held);
        for (to, datagram) in sends {
            if self.rng.random_range(0..100) < self.weather.reordering {
                self.held.push((to, datagram));
                continue;
            }
            for _ in 0..self.copies() {
                self.socket.send_to(&datagram, to).unwrap();
            }
        }
        for (to, datagram) in late.drain(..) {
            self.socket.send_to(&datagram, to).unwrap();
        }
        events
    }

    fn copies(&mut self) -> u32 {
        let Weather { loss, duplication, .. } = self.weather;
        if self.rng.random_range(0..100) < loss {
            return 0;
        }
        1 + u32::from(self.rng.random_range(0..100) < duplication)
    }
}

impl Driver {
    pub fn new(hash: InfoHash, allowed: &[Transport], methods: CryptoMethods, weather: Weather) -> Self {
        // Tests run side by side, and libtorrent hangs up on a second connection of one peer id.
        let number = DRIVERS.fetch_add(1, Ordering::Relaxed);
        let peer_id = format!("-ix0100-{number:012}").into_bytes().try_into().unwrap();
        let mut config = FetchConfig::new(PeerId::from_bytes(peer_id));
        let allowed = TransportSet::of(allowed);
        config.transports = TransportPolicy { allowed, methods, seed: [9; 32], ..config.transports };
        config.check().unwrap();
        let clock = Clock::start();
        Self {
            fetch: Fetch::new(hash, Arc::new(config), clock.now()),
            out: Output::new(),
            port: Port::new(UtpConfig::default(), weather, clock),
            tcp: BTreeMap::new(),
            utp: BTreeMap::new(),
            clock,
            reports: Vec::new(),
            done: None,
        }
    }

    /// Runs until the fetch is finished, and tells how long it took.
    pub fn run(&mut self, peer: SocketAddr) -> Duration {
        let begun = self.clock.now();
        self.fetch.add_candidate(begun, Candidate::new(peer, PeerSource::Lookup), &mut self.out);
        self.fetch.no_more_candidates(begun, &mut self.out);
        while !self.fetch.is_finished() {
            self.carry_out();
            let events = self.port.turn();
            self.pass_on(events);
            self.read_tcp();
            let now = self.clock.now();
            if self.fetch.next_deadline().is_some_and(|due| due <= now) {
                self.fetch.tick(now, &mut self.out);
            }
            assert!(now < begun + PATIENCE, "{:?} {:?}", self.reports, self.port.utp.counters());
        }
        self.carry_out();
        self.clock.now() - begun
    }

    pub fn raw(&self) -> Option<&[u8]> {
        self.done.as_ref().map(|fetched| &fetched.raw[..])
    }

    fn carry_out(&mut self) {
        while !self.out.is_empty() {
            let mut out = std::mem::take(&mut self.out);
            for action in out.drain() {
                self.act(action);
            }
            let events = self.port.flush();
            self.pass_on(events);
        }
    }

    fn act(&mut self, action: Action<'_>) {
        let now = self.clock.now();
        let handle = |utp: &BTreeMap<UtpHandle, Slot>, slot| {
            utp.iter().find(|(_, other)| **other == slot).map(|(handle, _)| *handle)
        };
        match action {
            Action::Connect { slot, addr, transport, .. } if transport.is_utp() => {
                let handle = self.port.utp.connect(now, addr).unwrap();
                self.utp.insert(handle, slot);
            }
            Action::Connect { slot, addr, timeout, .. } => match TcpStream::connect_timeout(&addr, timeout) {
                Ok(stream) => {
                    stream.set_nonblocking(true).unwrap();
                    stream.set_nodelay(true).unwrap();
                    self.tcp.insert(slot, stream);
                    self.fetch.peer_opened(now, slot, &mut self.out);
                }
                Err(_) => self.fetch.peer_closed(now, slot, Disconnect::Refused, &mut self.out),
            },
            Action::Write { slot, bytes } => match self.tcp.get_mut(&slot) {
                // A peer that has closed is noticed when reading.
                Some(stream) => drop(stream.write_all(bytes)),
                None => {
                    let handle = handle(&self.utp, slot).expect("a connection");
                    self.port.utp.write(handle, bytes).expect("room for what a fetch asks");
                }
            },
            Action::Close { slot, how } => {
                if self.tcp.remove(&slot).is_none() {
                    let handle = handle(&self.utp, slot).expect("a connection");
                    self.utp.remove(&handle);
                    self.port.utp.close(now, handle, how, &mut self.port.out);
                }
                assert!(matches!(how, CloseHow::Flush | CloseHow::Reset));
            }
            Action::Report(report) => self.reports.push(*report),
            Action::Exchanged { .. } => {}
            Action::Liar(addr) => panic!("{addr} does not lie"),
            Action::Done(fetched) => self.done = Some(*fetched),
            Action::Failed(_) => {}
        }
    }

    fn pass_on(&mut self, events: Vec<Event>) {
        let now = self.clock.now();
        for event in events {
            match event {
                Event::Opened(handle) => {
                    if let Some(slot) = self.utp.get(&handle) {
                        self.fetch.peer_opened(now, *slot, &mut self.out);
                    }
                }
                Event::Data(handle, bytes) => {
                    if let Some(slot) = self.utp.get(&handle) {
                        self.fetch.peer_data(now, *slot, &bytes, &mut self.out);
                    }
                }
                Event::Closed(handle, why) => {
                    if let Some(slot) = self.utp.remove(&handle) {
                        self.fetch.peer_closed(now, slot, why, &mut self.out);
                    }
                }
                Event::Accepted => panic!("connections are not taken here"),
            }
            // What the fetch wants done may close the connection of the next event.
            let mut out = std::mem::take(&mut self.out);
            for action in out.drain() {
                self.act(action);
            }
        }
    }

    fn read_tcp(&mut self) {
        let slots: Vec<Slot> = self.tcp.keys().copied().collect();
        let mut buffer = vec![0; 64 << 10];
        for slot in slots {
            let Some(stream) = self.tcp.get_mut(&slot) else { continue };
            let read = stream.read(&mut buffer);
            let now = self.clock.now();
            match read {
                Ok(0) => {
                    self.tcp.remove(&slot);
                    self.fetch.peer_closed(now, slot, Disconnect::Eof, &mut self.out);
                }
                Ok(len) => self.fetch.peer_data(now, slot, &buffer[..len], &mut self.out),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => {
                    self.tcp.remove(&slot);
                    self.fetch.peer_closed(now, slot, Disconnect::Reset, &mut self.out);
                }
            }
            self.carry_out();
        }
    }
}

/// A session that has connected to us.
pub struct Met {
    pub info_hash: InfoHash,
    /// Its BitTorrent handshake.
    pub handshake: Vec<u8>,
}

/// A stream that somebody opened to us, of either carrier, up to the BitTorrent handshake.
struct Visitor {
    info_hash: InfoHash,
    encrypted: bool,
    responder: Responder,
    rng: StdRng,
    streams: Option<bittorrent::mse::Streams>,
    handshake: Vec<u8>,
}

impl Met {
    /// Has a session connect to us, and answers.
    pub fn wait_for(sessions: &Sessions, kind: &str, transport: Transport) -> Self {
        let clock = Clock::start();
        let mut rng = StdRng::seed_from_u64(5);
        let info_hash = InfoHash::from_bytes(rng.random());
        let mut visitor = Visitor {
            info_hash,
            encrypted: transport.is_encrypted(),
            responder: Responder::new(CryptoMethods::BOTH, &mut rng),
            rng,
            streams: None,
            handshake: Vec::new(),
        };
        if transport.is_utp() {
            let config = UtpConfig { accepted_max: 4, ..UtpConfig::default() };
            let mut port = Port::new(config, Weather::default(), clock);
            sessions.call(kind, info_hash, port.addr());
            while visitor.handshake.len() < 68 {
                for event in port.turn() {
                    match event {
                        Event::Data(handle, bytes) => {
                            let answer = visitor.receive(&bytes);
                            port.utp.write(handle, &answer).unwrap();
                        }
                        Event::Accepted => {}
                        Event::Closed(_, why) => panic!("{kind} has left: {why:?}"),
                        Event::Opened(_) => panic!("nothing was opened"),
                    }
                }
                assert!(clock.now() < PATIENCE, "{kind}: {:?}", port.utp.counters());
            }
        } else {
            let listener = TcpListener::bind("127.0.42.1:0").unwrap();
            sessions.call(kind, info_hash, listener.local_addr().unwrap());
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut buffer = [0; 4096];
            while visitor.handshake.len() < 68 {
                let len = stream.read(&mut buffer).unwrap();
                assert!(len > 0, "{kind} has left");
                stream.write_all(&visitor.receive(&buffer[..len])).unwrap();
            }
        }
        visitor.handshake.truncate(68);
        Self { info_hash, handshake: visitor.handshake }
    }
}

impl Visitor {
    fn receive(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.encrypted {
            self.handshake.extend_from_slice(bytes);
            return out;
        }
        if self.streams.is_none() {
            let hash = self.info_hash;
            let find = |key: &[u8; 20]| (*key == torrent_key(&hash)).then_some(hash);
            let met = self.responder.receive(&mut bytes, find, &mut self.rng, &mut self.handshake, &mut out);
            self.streams = met.unwrap().map(|met| met.streams);
        }
        if let Some(streams) = &mut self.streams {
            let mut payload = bytes.to_vec();
            streams.incoming.apply(&mut payload);
            self.handshake.extend(payload);
        }
        out
    }
}
