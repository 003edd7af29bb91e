//! The manners that all policies share, so that they differ in nothing but whom they ask what: one query a second to an
//! IP, no sampling before max(`interval`, 300 s) is over, so many packets a second in all.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use krpc::{CompactNode, Kind, Message, Method, NodeId, Query, Reply, Tid, Want, encode};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use swarm::world::Packet;

use crate::crawler::Outbox;

/// One endpoint that asks.
pub(crate) struct Asker {
    pub(crate) addrs: [SocketAddr; 1],
    pub(crate) id: NodeId,
    pub(crate) rng: StdRng,
    waiting: HashMap<[u8; 4], Asked>,
    deadlines: VecDeque<(Duration, [u8; 4])>,
    /// When the next query to an IP may go out.
    next_query: HashMap<IpAddr, Duration>,
    /// When an endpoint may be sampled again.
    sample_due: HashMap<SocketAddr, Duration>,
    packets_per_second: f64,
    allowance: f64,
    filled: Duration,
}

/// A query that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) node: CompactNode,
    pub(crate) sample: bool,
}

impl Asker {
    pub(crate) fn new(addr: SocketAddr, seed: u64, packets_per_second: u32) -> Asker {
        let mut rng = StdRng::seed_from_u64(seed);
        Asker {
            addrs: [addr],
            id: NodeId::random(&mut rng),
            rng,
            waiting: HashMap::new(),
            deadlines: VecDeque::new(),
            next_query: HashMap::new(),
            sample_due: HashMap::new(),
            packets_per_second: f64::from(packets_per_second),
            allowance: 0.0,
            filled: Duration::ZERO,
        }
    }

    /// Whether a packet may go out now.
    pub(crate) fn has_room(&mut self, now: Duration) -> bool {
        let passed = now.saturating_sub(self.filled).as_secs_f64();
        self.filled = now;
        self.allowance =
            (self.allowance + passed * self.packets_per_second).min(self.packets_per_second.max(1.0));
        self.allowance >= 1.0
    }

    pub(crate) fn may_ask(&self, now: Duration, to: SocketAddr) -> bool {
        self.next_query.get(&to.ip()).is_none_or(|at| *at <= now)
    }

    pub(crate) fn may_sample(&self, now: Duration, to: SocketAddr) -> bool {
        self.sample_due.get(&to).is_none_or(|at| *at <= now)
    }

    /// Asks a node for samples and contacts, or for contacts alone.
    pub(crate) fn ask(
        &mut self,
        now: Duration,
        node: CompactNode,
        target: NodeId,
        sample: bool,
        out: &mut Outbox,
    ) {
        let tid: [u8; 4] = self.rng.random();
        let method = if sample { Method::SampleInfohashes { target } } else { Method::FindNode { target } };
        let mut bytes = Vec::new();
        let (id, want) = (self.id, Want::default());
        encode::Query { tid: &tid, id, version: None, read_only: false, want, method }.encode(&mut bytes);
        out.sends.push(Packet { from: self.addrs[0], to: node.addr, bytes });
        self.allowance -= 1.0;
        self.next_query.insert(node.addr.ip(), now + Duration::from_secs(1));
        if sample {
            self.sample_due.insert(node.addr, now + SAMPLE_PAUSE);
        }
        self.waiting.insert(tid, Asked { node, sample });
        self.deadlines.push_back((now + TIMEOUT, tid));
    }

    /// Which query a reply answers. Samples go to the outbox.
    pub(crate) fn answered(
        &mut self,
        now: Duration,
        from: SocketAddr,
        message: &Message<'_>,
        reply: &Reply<'_>,
        out: &mut Outbox,
    ) -> Option<Asked> {
        let tid: [u8; 4] = message.tid.bytes()?.try_into().ok()?;
        let asked = *self.waiting.get(&tid).filter(|asked| asked.node.addr == from)?;
        self.waiting.remove(&tid);
        if let Some(samples) = reply.samples.filter(|_| asked.sample) {
            out.hashes.extend(samples.iter());
            let interval = Duration::from_secs(reply.interval.unwrap_or(0).into());
            self.sample_due.insert(from, now + interval.max(SAMPLE_PAUSE));
        }
        Some(asked)
    }

    /// The next query that has not been answered in time.
    pub(crate) fn given_up(&mut self, now: Duration) -> Option<Asked> {
        while self.deadlines.front().is_some_and(|(at, _)| *at <= now) {
            let (_, tid) = self.deadlines.pop_front()?;
            if let Some(asked) = self.waiting.remove(&tid) {
                return Some(asked);
            }
        }
        None
    }

    /// Answers a query with these contacts, as long as there is room.
    pub(crate) fn answer(
        &mut self,
        now: Duration,
        from: SocketAddr,
        tid: Tid<'_>,
        query: &Query<'_>,
        contacts: &[CompactNode],
        out: &mut Outbox,
    ) {
        if !self.has_room(now) || !self.may_ask(now, from) {
            return;
        }
        let nodes = (!matches!(query.method, Method::Ping)).then_some(contacts);
        let mut bytes = Vec::new();
        encode::Reply { nodes, ip: Some(from), ..encode::Reply::new(tid, self.id) }.encode(&mut bytes);
        out.sends.push(Packet { from: self.addrs[0], to: from, bytes });
        self.allowance -= 1.0;
    }
}

/// Reads a datagram; what is no message is nothing.
pub(crate) fn read(packet: &Packet) -> Option<(Message<'_>, Kind<'_>)> {
    let message = Message::parse(&packet.bytes).ok()?;
    let kind = message.kind;
    Some((message, kind))
}

/// An answer that takes longer is not waited for: twice the longest round trip of the network.
const TIMEOUT: Duration = Duration::from_millis(400);

/// The floor under the `interval` that nodes tell.
const SAMPLE_PAUSE: Duration = Duration::from_secs(300);
