//! The same datagrams handled twice: in a plain loop, and in turns of the runtime.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use krpc::{InfoHash, Method, NodeId, Want, encode};
use mainline::{Action, Dht, Output, PortIndex};
use rand::{SeedableRng, rngs::StdRng};
use tea_runtime::{Config, InMemory, PreparedBatch, Program, Time};

use crate::echo::Echo;
use crate::serving::{self, Serving};

/// What the datagrams ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// To be sent back: 100 bytes.
    Echo,
    /// The DHT to say that it is there.
    Ping,
    /// The DHT's nearest contacts.
    FindNode,
    /// The peers of a torrent that nobody announced: the nearest contacts and a token.
    GetPeers,
}

impl Load {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Echo, Self::Ping, Self::FindNode, Self::GetPeers];

    /// What it is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo of 100 bytes",
            Self::Ping => "ping of a DHT",
            Self::FindNode => "find_node of a DHT",
            Self::GetPeers => "get_peers of a DHT",
        }
    }

    fn datagram(self, random: &mut StdRng, out: &mut Vec<u8>) {
        let point = NodeId::random(random);
        let method = match self {
            Self::Echo => return out.extend_from_slice(&[0x5a; 100]),
            Self::Ping => Method::Ping,
            Self::FindNode => Method::FindNode { target: point },
            Self::GetPeers => Method::GetPeers {
                info_hash: InfoHash::from_bytes(*point.as_bytes()),
                noseed: false,
                scrape: false,
            },
        };
        let id = NodeId::random(random);
        // Who answers nobody is no contact: so nothing is done but answering.
        encode::Query { tid: b"abcd", id, version: None, read_only: true, want: Want::default(), method }
            .encode(out);
    }
}

/// Remotes that send the datagrams. Few enough that datagrams lie in the cache, as those do that a reader has just received.
const REMOTES: u32 = 2_048;

/// Time in which each remote sends one datagram: a DHT answers no remote much more often than that.
const PASS: Duration = Duration::from_secs(2);

/// Passes over all remotes in a round.
const PASSES: u64 = 8;

/// Datagrams packed as a reader packs them.
struct Datagrams {
    bytes: Vec<u8>,
    slots: Vec<(Range<usize>, SocketAddr)>,
}

impl Datagrams {
    fn new(load: Load) -> Self {
        let mut random = StdRng::from_seed([9; 32]);
        let mut datagrams = Self { bytes: Vec::new(), slots: Vec::new() };
        for remote in 0..REMOTES {
            let start = datagrams.bytes.len();
            load.datagram(&mut random, &mut datagrams.bytes);
            let from = SocketAddr::from((Ipv4Addr::from_bits(0x7f40_0000 + remote), 6_881));
            datagrams.slots.push((start..datagrams.bytes.len(), from));
        }
        datagrams
    }

    fn iter(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        self.slots.iter().map(|(range, from)| (*from, &self.bytes[range.clone()]))
    }
}

/// The plain loop.
enum Bare {
    Echo,
    Serving(Box<Dht>),
}

/// The runtime.
enum Turning {
    Echo(Box<InMemory<Echo>>),
    Serving(Box<InMemory<Serving>>),
}

/// One load, handled by both.
pub(crate) struct Contest {
    datagrams: Datagrams,
    batches: Vec<PreparedBatch>,
    ports: u16,
    fill: usize,
    bare: Bare,
    bare_now: Duration,
    sent: Vec<u8>,
    out: Output,
    turning: Turning,
    turn_now: Duration,
}

impl Contest {
    /// A program with `ports` ports, to each of which `fill` datagrams come between two turns.
    pub(crate) fn new(load: Load, ports: u16, fill: usize) -> Self {
        let datagrams = Datagrams::new(load);
        let all: Vec<_> = datagrams.iter().collect();
        let batches = all.chunks(fill).map(|chunk| PreparedBatch::new(chunk.iter().copied())).collect();
        let config = Config { check_subscriptions: false, ..Config::default() };
        let (bare, turning) = match load {
            Load::Echo => (Bare::Echo, Turning::Echo(Box::new(InMemory::new(config, ports)))),
            Load::Ping | Load::FindNode | Load::GetPeers => (
                Bare::Serving(Box::new(serving::populated(ports))),
                Turning::Serving(Box::new(InMemory::new(config, ports))),
            ),
        };
        Self {
            datagrams,
            batches,
            ports,
            fill,
            bare,
            bare_now: serving::START,
            sent: Vec::with_capacity(1 << 20),
            out: Output::new(),
            turning,
            turn_now: serving::START,
        }
    }

    /// Datagrams in a round.
    pub(crate) fn messages(&self) -> u64 {
        self.datagrams.slots.len() as u64 * PASSES
    }

    /// Time from one turn to the next.
    fn step(&self) -> Duration {
        PASS / (REMOTES / (self.fill * usize::from(self.ports)) as u32)
    }

    /// A round of the plain loop.
    ///
    /// # Panics
    /// When a datagram was not answered.
    pub(crate) fn bare(&mut self) -> u64 {
        let (step, fill, ports) = (self.step(), self.fill, usize::from(self.ports));
        let mut answers = 0;
        let passes = (0..PASSES).flat_map(|_| self.datagrams.iter());
        for (index, (from, payload)) in passes.enumerate() {
            if index % (fill * ports) == 0 {
                self.bare_now += step;
                self.sent.clear();
            }
            match &mut self.bare {
                Bare::Echo => {
                    self.sent.extend_from_slice(black_box(payload));
                    answers += 1;
                }
                Bare::Serving(dht) => {
                    let port = PortIndex((index / fill % ports) as u16);
                    dht.receive(self.bare_now, port, from, black_box(payload), &mut self.out);
                    for Action::Send { payload, .. } in self.out.actions() {
                        black_box(payload);
                        answers += 1;
                    }
                    self.out.clear();
                }
            }
        }
        black_box(&self.sent);
        assert_eq!(answers, self.messages(), "every datagram is answered");
        answers
    }

    /// A round of turns.
    ///
    /// # Panics
    /// When a datagram was not answered.
    pub(crate) fn turns(&mut self) -> u64 {
        let (step, messages) = (self.step(), self.messages());
        let now = &mut self.turn_now;
        let answers = match &mut self.turning {
            Turning::Echo(program) => turns(program, &self.batches, self.ports, step, now),
            Turning::Serving(program) => turns(program, &self.batches, self.ports, step, now),
        };
        assert_eq!(answers, messages, "every datagram is answered");
        answers
    }
}

/// Delivers all batches, one to each port between two turns, and returns how many datagrams were sent.
fn turns<P: Program<Key = u16, Effect = tea_runtime::Never>>(
    program: &mut InMemory<P>,
    batches: &[PreparedBatch],
    ports: u16,
    step: Duration,
    now: &mut Duration,
) -> u64 {
    let before = program.counters().datagrams_sent;
    for batches in (0..PASSES).flat_map(|_| batches.chunks(usize::from(ports))) {
        for (port, batch) in (0..).zip(batches) {
            assert!(program.deliver(port, batch), "port {port} has no room");
        }
        *now += step;
        program.turn(Time::from(*now));
    }
    program.counters().datagrams_sent - before
}
