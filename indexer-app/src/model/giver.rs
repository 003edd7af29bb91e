//! Giving back: info dicts that we hold, to peers that ask for them.

mod holdings;

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use bittorrent::{ByteBudget, CloseHow, GivingConfig, GivingEnd, Handover, MetadataServer, PeerId};
use krpc::InfoHash;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use self::holdings::Holdings;
pub use self::holdings::KEPT_MAX;
use super::{connections::Happening, message::Key, resolver::Wire};
use crate::db::RunCount;

/// Connections that others have opened to us, at a time. Each holds a message of 17 KiB at most, and some 4 KiB beside.
pub const VISITORS_MAX: usize = 256;

/// Of these, from one IP address: a peer needs one, and a router has several behind it.
const VISITORS_PER_IP_MAX: usize = 4;

/// Connections taken in a second: what an encrypted handshake costs, half a millisecond, is thereby bounded.
const VISITORS_PER_SECOND: u32 = 50;

/// Connections of fetches that go on to give.
const HANDOVERS_MAX: usize = 64;

/// Info dicts being read from the database.
const LOADS_MAX: usize = 8;

/// What is given in all at once: four seconds of the rate, and at least two pieces.
const BURST_SECONDS: u32 = 4;
const BURST_BYTES_MIN: u32 = 32 << 10;

/// How we give.
#[derive(Clone, Debug)]
pub struct GivingPlan {
    /// On each connection.
    pub config: Arc<GivingConfig>,
    /// Bytes of info dicts in all, per second; 0 gives nothing.
    pub bytes_per_second: u32,
    /// Connections of others are taken, so that what was fetched lately is kept at hand.
    pub accepts: bool,
    /// From this, what nobody is to guess is drawn.
    pub seed: [u8; 32],
    /// Torrents whose info dict is kept in the database.
    pub kept: Vec<InfoHash>,
}

impl GivingPlan {
    /// Nothing is given.
    pub fn nothing() -> Self {
        let config = Arc::new(GivingConfig::new(PeerId::from_bytes([0; PeerId::LEN])));
        Self { config, bytes_per_second: 0, accepts: false, seed: [0; 32], kept: Vec::new() }
    }
}

/// The connections on which we give, and what we have to give.
#[derive(Debug)]
pub(super) struct Giver {
    config: Arc<GivingConfig>,
    accepts: bool,
    gives: bool,
    rng: StdRng,
    holdings: Holdings,
    connections: BTreeMap<Key, Connection>,
    from_ip: HashMap<IpAddr, usize>,
    visitors: usize,
    next_visitor: u32,
    /// Connections that wait for an info dict from the database.
    loading: HashMap<InfoHash, Vec<Key>>,
    /// To be asked of the database.
    to_load: Vec<InfoHash>,
    budget: ByteBudget,
    admissions: ByteBudget,
    out: Vec<(Key, Order)>,
    numbers: GivenNumbers,
}

#[derive(Debug)]
struct Connection {
    server: Box<MetadataServer>,
    /// Of a connection that was opened to us.
    ip: Option<IpAddr>,
}

/// What is to be done on a connection.
#[derive(Debug)]
enum Order {
    Write(Vec<u8>),
    Close(CloseHow),
}

/// What is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct GivenNumbers {
    /// Connections of others that were taken.
    accepted: u64,
    /// Of these, encrypted ones, once over.
    encrypted: u64,
    /// Connections of others that were not taken: there were too many at a time, from one address, or in a second.
    refused: [u64; 3],
    /// Connections of fetches that went on.
    handovers: u64,
    /// Of these, beyond the bound, or with nothing to give.
    handovers_refused: u64,
    /// Pieces given.
    pieces: u64,
    /// Bytes in them.
    bytes: u64,
    /// Requests refused.
    rejected: u64,
    /// Info dicts asked of the database.
    loads: u64,
    /// Not asked, for there were too many.
    loads_refused: u64,
    /// Connections by how they ended.
    ends: BTreeMap<&'static str, u64>,
}

impl Giver {
    /// Nothing is held but what is kept in the database.
    pub(super) fn new(plan: &GivingPlan) -> Self {
        let burst = plan.bytes_per_second.saturating_mul(BURST_SECONDS).max(BURST_BYTES_MIN);
        let mut holdings = Holdings::default();
        if plan.accepts {
            plan.kept.iter().for_each(|hash| holdings.keep(*hash));
        }
        Self {
            config: Arc::clone(&plan.config),
            accepts: plan.accepts,
            gives: plan.bytes_per_second > 0,
            rng: StdRng::from_seed(plan.seed),
            holdings,
            connections: BTreeMap::new(),
            from_ip: HashMap::new(),
            visitors: 0,
            next_visitor: 0,
            loading: HashMap::new(),
            to_load: Vec::new(),
            budget: ByteBudget::new(plan.bytes_per_second, burst, Duration::ZERO),
            admissions: ByteBudget::new(VISITORS_PER_SECOND, VISITORS_PER_SECOND, Duration::ZERO),
            out: Vec::new(),
            numbers: GivenNumbers::default(),
        }
    }

    /// An info dict was fetched and verified; `keys` are the names that the DHT has for it. `kept`: it goes into the database
    /// for good.
    pub(super) fn fetched(&mut self, keys: impl Iterator<Item = InfoHash>, raw: &[u8], kept: bool) {
        if !self.accepts || !self.gives {
            return;
        }
        let raw: Arc<[u8]> = raw.into();
        for key in keys {
            self.holdings.hold(key, &raw);
            if kept {
                self.holdings.keep(key);
            }
        }
    }

    /// Somebody connects: the name of his connection, if it is to be taken.
    pub(super) fn admit(&mut self, ip: IpAddr, now: Duration) -> Option<Key> {
        let ip = ip.to_canonical();
        let from_ip = self.from_ip.get(&ip).copied().unwrap_or(0);
        let bounds =
            [self.visitors < VISITORS_MAX, from_ip < VISITORS_PER_IP_MAX, self.admissions.allows(now, 1)];
        if let Some((refused, _)) = self.numbers.refused.iter_mut().zip(bounds).find(|(_, bound)| !bound) {
            *refused += 1;
            return None;
        }
        self.admissions.take(1);
        self.numbers.accepted += 1;
        self.visitors += 1;
        *self.from_ip.entry(ip).or_default() += 1;
        let key = Key::Visitor(self.next_visitor);
        self.next_visitor = self.next_visitor.wrapping_add(1);
        let server = MetadataServer::accepted(Arc::clone(&self.config), self.rng.random(), now);
        self.connections.insert(key, Connection { server: Box::new(server), ip: Some(ip) });
        Some(key)
    }

    /// A fetch has succeeded with connections to peers that want what it brought.
    pub(super) fn take_over(&mut self, now: Duration, job: u32, handovers: Vec<Handover>, raw: &[u8]) {
        if handovers.is_empty() {
            return;
        }
        let raw: Arc<[u8]> = raw.into();
        for Handover { slot, mut server, .. } in handovers {
            let key = Key::Peer { fetch: job, slot: slot.number() };
            self.numbers.handovers += 1;
            let going_on = self.connections.len() - self.visitors;
            let mut out = Vec::new();
            if !self.gives
                || going_on >= HANDOVERS_MAX
                || server.provide(now, Arc::clone(&raw), &mut out).is_err()
            {
                self.numbers.handovers_refused += 1;
                self.out.push((key, Order::Close(CloseHow::Reset)));
                continue;
            }
            self.out.push((key, Order::Write(out)));
            self.connections.insert(key, Connection { server, ip: None });
        }
    }

    /// Something has happened to a connection; `false`: it is none of ours.
    pub(super) fn happened(&mut self, now: Duration, key: Key, happening: Happening<'_>) -> bool {
        let Some(connection) = self.connections.get_mut(&key) else { return false };
        let bytes = match happening {
            Happening::Opened => return true,
            Happening::Closed(_) => {
                self.forget(key, "closed by the other side");
                return true;
            }
            Happening::Data(bytes) => bytes,
        };
        let mut out = Vec::new();
        let holdings = &self.holdings;
        match connection.server.receive(now, bytes, |torrent| holdings.find(torrent), &mut out) {
            Ok(asked) => {
                self.write(key, out);
                match asked {
                    Some(asked) => self.look_up(now, key, asked),
                    None => self.serve(now, key),
                }
            }
            Err(end) => {
                // What was said before the mistake may be of use to whoever made it.
                self.write(key, out);
                self.end(key, end);
            }
        }
        true
    }

    /// The database has answered about an info dict.
    pub(super) fn loaded(&mut self, now: Duration, asked: InfoHash, raw: Option<&Arc<[u8]>>) {
        if let Some(raw) = raw {
            self.holdings.hold(asked, raw);
        }
        for key in self.loading.remove(&asked).unwrap_or_default() {
            match raw {
                Some(raw) => self.provide(now, key, Arc::clone(raw)),
                None => self.end(key, GivingEnd::UnknownTorrent),
            }
        }
    }

    /// Info dicts to be asked of the database, since the last call.
    pub(super) fn loads(&mut self) -> Vec<InfoHash> {
        std::mem::take(&mut self.to_load)
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Duration) {
        let due: Vec<Key> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.server.waits() || connection.server.deadline() <= now)
            .map(|(key, _)| *key)
            .collect();
        for key in due {
            self.serve(now, key);
            let end = self.connections.get(&key).and_then(|connection| connection.server.tick(now));
            if let Some(end) = end {
                self.end(key, end);
            }
        }
    }

    /// Ends everything.
    pub(super) fn stop(&mut self) {
        let keys: Vec<Key> = self.connections.keys().copied().collect();
        for key in keys {
            self.out.push((key, Order::Close(CloseHow::Reset)));
            self.forget(key, "run ended");
        }
    }

    /// Whether nothing is to be done on a connection.
    pub(super) fn is_idle(&self) -> bool {
        self.out.is_empty()
    }

    /// Has done what is to be done.
    pub(super) fn act(&mut self, mut wire: impl FnMut(Key, Wire<'_>)) {
        for (key, order) in self.out.drain(..) {
            match order {
                Order::Write(bytes) => wire(key, Wire::Write(&bytes)),
                Order::Close(how) => wire(key, Wire::Close(how)),
            }
        }
    }

    /// What was counted since the start.
    pub(super) fn counts(&self) -> Vec<RunCount> {
        let GivenNumbers { refused: [at_a_time, from_one_ip, in_a_second], ends, .. } = &self.numbers;
        let numbers = &self.numbers;
        let mut counts: Vec<(String, u64)> = [
            ("connections taken", numbers.accepted),
            ("of them encrypted", numbers.encrypted),
            ("refused, too many at a time", *at_a_time),
            ("refused, too many from one IP", *from_one_ip),
            ("refused, too many in a second", *in_a_second),
            ("connections of fetches that went on", numbers.handovers),
            ("of them given up, full", numbers.handovers_refused),
            ("pieces", numbers.pieces),
            ("bytes", numbers.bytes),
            ("requests refused", numbers.rejected),
            ("read from the database", numbers.loads),
            ("not read, too many at a time", numbers.loads_refused),
        ]
        .map(|(name, number)| (name.to_owned(), number))
        .into();
        counts.extend(ends.iter().map(|(why, number)| (format!("ended: {why}"), *number)));
        let row = |(name, number)| RunCount { about: "given".to_owned(), name, number };
        counts.into_iter().map(row).collect()
    }

    fn look_up(&mut self, now: Duration, key: Key, asked: InfoHash) {
        if !self.gives {
            return self.end(key, GivingEnd::UnknownTorrent);
        }
        if let Some(raw) = self.holdings.at_hand(&asked) {
            return self.provide(now, key, raw);
        }
        if !self.holdings.is_kept(&asked) {
            return self.end(key, GivingEnd::UnknownTorrent);
        }
        if let Some(waiting) = self.loading.get_mut(&asked) {
            return waiting.push(key);
        }
        if self.loading.len() >= LOADS_MAX {
            self.numbers.loads_refused += 1;
            return self.end(key, GivingEnd::UnknownTorrent);
        }
        self.numbers.loads += 1;
        self.loading.insert(asked, vec![key]);
        self.to_load.push(asked);
    }

    fn provide(&mut self, now: Duration, key: Key, raw: Arc<[u8]>) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let mut out = Vec::new();
        let outcome = connection.server.provide(now, raw, &mut out);
        self.write(key, out);
        match outcome {
            Ok(()) => self.serve(now, key),
            Err(end) => self.end(key, end),
        }
    }

    fn serve(&mut self, now: Duration, key: Key) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let mut out = Vec::new();
        let given = connection.server.given();
        self.numbers.bytes += connection.server.serve(now, &mut self.budget, &mut out) as u64;
        self.numbers.pieces += u64::from(connection.server.given() - given);
        self.write(key, out);
    }

    fn write(&mut self, key: Key, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.out.push((key, Order::Write(bytes)));
        }
    }

    fn end(&mut self, key: Key, end: GivingEnd) {
        let how = if end == GivingEnd::Served { CloseHow::Flush } else { CloseHow::Reset };
        self.out.push((key, Order::Close(how)));
        self.forget(key, end.label());
    }

    fn forget(&mut self, key: Key, why: &'static str) {
        let Some(Connection { server, ip }) = self.connections.remove(&key) else { return };
        *self.numbers.ends.entry(why).or_default() += 1;
        self.numbers.rejected += u64::from(server.rejected());
        self.numbers.encrypted += u64::from(ip.is_some() && server.is_encrypted());
        let Some(ip) = ip else { return };
        self.visitors -= 1;
        if let Some(count) = self.from_ip.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                self.from_ip.remove(&ip);
            }
        }
    }
}
