//! A world of scripted peers around one fetch, in virtual time.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bittorrent::{
    Action, Candidate, CloseHow, Disconnect, Fetch, FetchConfig, FetchFailure, Fetched, Output, PeerId,
    PeerOutcome, PeerReport, PeerSource, Slot, Transport,
};
use krpc::InfoHash;
use sha1::{Digest as _, Sha1};

pub mod encrypted;
pub mod honest;
pub mod scripted;

pub const OWN_ID: PeerId = PeerId::from_bytes(*b"-ix0100-own-own-own!");
/// One way over the network.
pub const LATENCY: Duration = Duration::from_millis(10);

/// What a peer does when something reaches it.
pub trait Peer {
    /// Somebody connects.
    fn connect(&mut self) -> Connect {
        Connect::Accept
    }
    /// The connection stands.
    fn opened(&mut self, _reply: &mut Reply) {}
    /// Bytes have come.
    fn receive(&mut self, now: Duration, bytes: &[u8], reply: &mut Reply);
    /// What it asked for by [`Reply::wake`].
    fn wake(&mut self, _now: Duration, _reply: &mut Reply) {}
}

pub enum Connect {
    Accept,
    Fail(Disconnect),
    /// Nothing is ever heard.
    Void,
    /// It takes so long.
    After(Duration),
}

#[derive(Default)]
pub struct Reply {
    what: Vec<(Duration, Event)>,
}

impl Reply {
    pub fn send(&mut self, after: Duration, bytes: Vec<u8>) {
        self.what.push((after + LATENCY, Event::Data(bytes)));
    }

    pub fn close(&mut self, after: Duration, why: Disconnect) {
        self.what.push((after + LATENCY, Event::Closed(why)));
    }

    pub fn wake(&mut self, after: Duration) {
        self.what.push((after, Event::Wake));
    }

    /// Changes what is sent.
    pub fn transform(&mut self, mut change: impl FnMut(&mut Vec<u8>)) {
        for (_, event) in &mut self.what {
            if let Event::Data(bytes) = event {
                change(bytes);
            }
        }
    }
}

enum Event {
    Opened,
    Data(Vec<u8>),
    Closed(Disconnect),
    Wake,
    /// Bytes arrive at the peer.
    Arrive(Vec<u8>),
}

/// Says who is met by each transport.
pub type Door = Box<dyn FnMut(Transport) -> Box<dyn Peer>>;

pub struct World {
    pub now: Duration,
    pub fetch: Fetch,
    out: Output,
    peers: HashMap<SocketAddr, Box<dyn Peer>>,
    doors: HashMap<SocketAddr, Door>,
    /// Peers behind doors: one for each connection.
    met: HashMap<Slot, Box<dyn Peer>>,
    queue: BTreeMap<(Duration, u64), (Slot, Event)>,
    sequence: u64,
    /// Connections as the owner knows them.
    pub open: BTreeMap<Slot, SocketAddr>,
    /// Bytes are handed to the fetch in portions of this size.
    pub portion: usize,
    pub connects: Vec<SocketAddr>,
    /// When each was made, and how.
    pub ways: Vec<(Duration, SocketAddr, Transport)>,
    pub closes: Vec<(SocketAddr, CloseHow)>,
    pub reports: Vec<PeerReport>,
    pub liars: Vec<SocketAddr>,
    /// Peers that other peers have named, and the transport that they were said to take.
    pub exchanged: Vec<(SocketAddr, Option<Transport>)>,
    pub done: Option<Fetched>,
    pub failed: Option<FetchFailure>,
    pub most_held: usize,
    pub most_open: usize,
}

pub fn config() -> FetchConfig {
    let config = FetchConfig::new(OWN_ID);
    config.check().unwrap();
    config
}

pub fn v1_hash(raw: &[u8]) -> InfoHash {
    InfoHash::from_bytes(Sha1::digest(raw).into())
}

pub fn addr(number: u8) -> SocketAddr {
    ([127, 0, 0, number], 6881).into()
}

/// A made-up info dict of `len` bytes; every piece is different.
pub fn dict(len: usize) -> Vec<u8> {
    let mut state = 0x1234_5678_9abc_def0_u64;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 56) as u8
        })
        .collect()
}

impl World {
    pub fn new(info_hash: InfoHash) -> Self {
        Self::with_config(info_hash, config())
    }

    pub fn with_config(info_hash: InfoHash, config: FetchConfig) -> Self {
        // The origin of time is the owner's; nothing may take it for zero.
        let now = Duration::from_secs(1_000_000);
        Self {
            now,
            fetch: Fetch::new(info_hash, Arc::new(config), now),
            out: Output::new(),
            peers: HashMap::new(),
            doors: HashMap::new(),
            met: HashMap::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            open: BTreeMap::new(),
            portion: usize::MAX,
            connects: Vec::new(),
            ways: Vec::new(),
            closes: Vec::new(),
            reports: Vec::new(),
            liars: Vec::new(),
            exchanged: Vec::new(),
            done: None,
            failed: None,
            most_held: 0,
            most_open: 0,
        }
    }

    /// Places a peer and names it to the fetch.
    pub fn add(&mut self, addr: SocketAddr, peer: impl Peer + 'static) {
        self.place(addr, peer);
        self.offer(Candidate::new(addr, PeerSource::Lookup));
    }

    pub fn place(&mut self, addr: SocketAddr, peer: impl Peer + 'static) {
        self.peers.insert(addr, Box::new(peer));
    }

    /// Places an endpoint where the transport decides who is met.
    pub fn place_door(&mut self, addr: SocketAddr, door: impl FnMut(Transport) -> Box<dyn Peer> + 'static) {
        self.doors.insert(addr, Box::new(door));
    }

    pub fn offer(&mut self, candidate: Candidate) {
        self.fetch.add_candidate(self.now, candidate, &mut self.out);
        self.act();
    }

    /// Offers an endpoint that was reached by this transport before.
    pub fn offer_by(&mut self, candidate: Candidate, known: Transport) {
        self.fetch.add_candidate_by(self.now, candidate, Some(known), &mut self.out);
        self.act();
    }

    pub fn no_more(&mut self) {
        self.fetch.no_more_candidates(self.now, &mut self.out);
        self.act();
    }

    pub fn abort(&mut self) {
        self.fetch.abort(self.now, &mut self.out);
        self.act();
    }

    /// Runs until the fetch is finished, and tells how long it took.
    pub fn run(&mut self) -> Duration {
        let start = self.now;
        self.no_more();
        while !self.fetch.is_finished() && self.step() {}
        assert!(self.fetch.is_finished(), "nothing happens any more, and the fetch is not finished");
        assert_eq!(self.open.len(), 0, "a connection was left open");
        assert_eq!(self.reports.len(), self.connects.len(), "each connect has its report");
        assert_eq!(self.fetch.bytes_held(), 0);
        assert_eq!(self.fetch.next_deadline(), None);
        self.now - start
    }

    pub fn run_until(&mut self, until: Duration) {
        while self.next_at().is_some_and(|at| at <= until) && self.step() {}
        self.now = self.now.max(until);
    }

    /// The next event or deadline; `false` when there is none.
    pub fn step(&mut self) -> bool {
        let Some(at) = self.next_at() else { return false };
        assert!(at >= self.now || self.queue.is_empty());
        self.now = self.now.max(at);
        if self.fetch.next_deadline().is_some_and(|due| due <= self.now) {
            self.fetch.tick(self.now, &mut self.out);
            if let Some(next) = self.fetch.next_deadline() {
                assert!(next > self.now, "after a tick the next deadline must lie in the future");
            }
            self.act();
            return true;
        }
        let Some((_, (slot, event))) = self.queue.pop_first() else { return false };
        let Some(&addr) = self.open.get(&slot) else { return true };
        let mut reply = Reply::default();
        match event {
            Event::Opened => {
                self.fetch.peer_opened(self.now, slot, &mut self.out);
                self.peer(slot, addr).opened(&mut reply);
            }
            Event::Arrive(bytes) => {
                let now = self.now;
                self.peer(slot, addr).receive(now, &bytes, &mut reply);
            }
            Event::Wake => {
                let now = self.now;
                self.peer(slot, addr).wake(now, &mut reply);
            }
            Event::Data(bytes) => {
                for portion in bytes.chunks(self.portion) {
                    if !self.open.contains_key(&slot) {
                        break;
                    }
                    self.fetch.peer_data(self.now, slot, portion, &mut self.out);
                    self.act();
                }
            }
            Event::Closed(why) => {
                self.open.remove(&slot);
                self.fetch.peer_closed(self.now, slot, why, &mut self.out);
            }
        }
        for (after, event) in reply.what {
            self.push(self.now + after, slot, event);
        }
        self.act();
        true
    }

    fn peer(&mut self, slot: Slot, addr: SocketAddr) -> &mut dyn Peer {
        match self.met.get_mut(&slot) {
            Some(peer) => peer.as_mut(),
            None => self.peers.get_mut(&addr).unwrap().as_mut(),
        }
    }

    fn next_at(&self) -> Option<Duration> {
        let event = self.queue.keys().next().map(|(at, _)| *at);
        event.into_iter().chain(self.fetch.next_deadline()).min()
    }

    fn push(&mut self, at: Duration, slot: Slot, event: Event) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), (slot, event));
    }

    /// Does what the fetch wants.
    fn act(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        let mut told = Vec::new();
        for action in out.drain() {
            assert!(self.done.is_none() && self.failed.is_none(), "{action:?} after the end");
            match action {
                Action::Connect { slot, addr, timeout, transport } => {
                    self.connects.push(addr);
                    self.ways.push((self.now, addr, transport));
                    if let Some(door) = self.doors.get_mut(&addr) {
                        self.met.insert(slot, door(transport));
                    }
                    assert_eq!(self.open.insert(slot, addr), None, "a slot was used twice");
                    let peer = self.met.get_mut(&slot).or(self.peers.get_mut(&addr));
                    let answer = peer.map_or(Connect::Void, |peer| peer.connect());
                    let (after, event) = match answer {
                        Connect::Accept => (2 * LATENCY, Event::Opened),
                        Connect::After(time) => (time, Event::Opened),
                        Connect::Fail(why) => (2 * LATENCY, Event::Closed(why)),
                        Connect::Void => (timeout, Event::Closed(Disconnect::Timeout)),
                    };
                    self.push(self.now + after, slot, event);
                }
                Action::Write { slot, bytes } => {
                    assert!(self.open.contains_key(&slot), "bytes for a connection that is not there");
                    let event = Event::Arrive(bytes.to_vec());
                    self.push(self.now + LATENCY, slot, event);
                }
                Action::Close { slot, how } => {
                    let addr = self.open.remove(&slot).expect("closed twice");
                    self.closes.push((addr, how));
                }
                Action::Report(report) => self.reports.push(*report),
                Action::Liar(addr) => self.liars.push(addr),
                Action::Exchanged { candidate, hint } => told.push((candidate, hint)),
                Action::Done(fetched) => self.done = Some(*fetched),
                Action::Failed(failure) => self.failed = Some(failure),
            }
        }
        self.out = out;
        self.most_held = self.most_held.max(self.fetch.bytes_held());
        self.most_open = self.most_open.max(self.open.len());
        for (candidate, hint) in told {
            self.exchanged.push((candidate.addr, hint));
            self.fetch.add_candidate_by(self.now, candidate, hint, &mut self.out);
            self.act();
        }
        assert_eq!(self.open.len(), self.fetch.peer_count() + self.fetch.handover_count());
    }

    /// How the only connection to `addr` ended.
    pub fn outcome(&self, addr: SocketAddr) -> PeerOutcome {
        let mut of_addr = self.reports.iter().filter(|report| report.addr == addr);
        let report = of_addr.next().unwrap_or_else(|| panic!("{addr} was not tried"));
        assert!(of_addr.next().is_none(), "{addr} was tried twice");
        assert!(self.fetch.counters().outcome(report.outcome) > 0, "counted");
        report.outcome
    }

    pub fn raw(&self) -> &[u8] {
        let done = self.done.as_ref();
        &done.unwrap_or_else(|| panic!("failed: {:?}; {:?}", self.failed, self.reports)).raw
    }
}
