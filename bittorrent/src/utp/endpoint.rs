//! Many connections over one UDP socket.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{
    UtpConfig, UtpCounters, UtpOutput,
    connection::{Connection, Turn, Verdict, micros},
    packet::{Packet, PacketKind},
    reassembly::Spare,
    sequence::SeqNr,
    timers::Timers,
};
use crate::CloseHow;

/// Names a connection of one endpoint. Never used twice, so that a late event is known as late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtpHandle {
    index: u32,
    generation: u32,
}

/// Why a connection was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum UtpConnectError {
    /// There are as many as there may be.
    #[error("no room for another uTP connection")]
    Full,
    /// All 65536 numbers of connections with this endpoint are in use.
    #[error("too many uTP connections to one endpoint")]
    NoConnectionId,
}

/// Why bytes were not taken. None of them was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum UtpWriteError {
    /// The connection is over.
    #[error("the uTP connection is over")]
    Gone,
    /// The other side takes less than what is written.
    #[error("more is written to a uTP connection than the other side takes")]
    Full,
}

/// The uTP side of a UDP socket.
///
/// Its owner hands over datagrams of which [`is_utp`](super::is_utp) holds, writes, and calls [`tick`](Self::tick) after
/// each batch of these, and at [`next_deadline`](Self::next_deadline). Packets are only sent by `tick` (and resets by
/// `close`): so a batch of data is acknowledged once, and by the answer to it if there is one.
#[derive(Debug)]
pub struct Utp {
    config: UtpConfig,
    rng: StdRng,
    /// At most [`UtpConfig::connections_max`] of them are in use.
    places: Vec<Place>,
    free: Vec<u32>,
    /// By remote address and the id in packets that come.
    by_id: BTreeMap<(SocketAddr, u16), u32>,
    /// How many connections were opened from each address.
    accepted_from: BTreeMap<IpAddr, usize>,
    accepted: usize,
    half_open: usize,
    /// Connections that are being closed, oldest first: they make room for others. Entries of those that are over are
    /// skipped, and dropped when there are many.
    lingering: VecDeque<UtpHandle>,
    /// Connections that have something to send.
    dirty: Vec<u32>,
    timers: Timers,
    spare: Spare,
    reassembly_bytes: usize,
    resets: (Duration, u32),
    counters: UtpCounters,
}

#[derive(Debug, Default)]
struct Place {
    generation: u32,
    connection: Option<Box<Connection>>,
}

impl Utp {
    /// An endpoint without connections. The seed decides about ids and first numbers, which nobody should be able to guess.
    pub fn new(config: UtpConfig, seed: [u8; 32]) -> Self {
        Self {
            config,
            rng: StdRng::from_seed(seed),
            places: Vec::new(),
            free: Vec::new(),
            by_id: BTreeMap::new(),
            accepted_from: BTreeMap::new(),
            accepted: 0,
            half_open: 0,
            lingering: VecDeque::new(),
            dirty: Vec::new(),
            timers: Timers::default(),
            spare: Spare::default(),
            reassembly_bytes: 0,
            resets: (Duration::ZERO, 0),
            counters: UtpCounters::default(),
        }
    }

    /// Asks for a connection. `Opened` or `Closed` follows.
    ///
    /// # Errors
    /// When there is no room.
    pub fn connect(&mut self, now: Duration, addr: SocketAddr) -> Result<UtpHandle, UtpConnectError> {
        let key = canonical(addr);
        if !self.make_room() {
            self.counters.connects_refused += 1;
            return Err(UtpConnectError::Full);
        }
        let id = self.unused_id(key).ok_or(UtpConnectError::NoConnectionId)?;
        let seq = SeqNr(self.rng.random());
        self.counters.connects += 1;
        Ok(self.insert(Connection::connect(now, addr, id, seq, &self.config)))
    }

    /// A datagram has come.
    pub fn datagram(&mut self, now: Duration, from: SocketAddr, datagram: &[u8], out: &mut UtpOutput) {
        self.counters.received += 1;
        let Ok(packet) = Packet::parse(datagram) else {
            self.counters.malformed += 1;
            return;
        };
        match self.find(canonical(from), &packet) {
            Some(index) => {
                self.with(now, index, out, |connection, turn| connection.receive(&packet, turn));
                self.mark(index);
            }
            None if packet.kind == PacketKind::Syn => self.accept(now, from, &packet, out),
            None => {
                self.counters.unknown += 1;
                self.refuse(now, from, &packet, out);
            }
        }
    }

    /// Appends bytes to what a connection sends, which may be one that does not stand yet.
    ///
    /// # Errors
    /// When they are not taken.
    pub fn write(&mut self, handle: UtpHandle, bytes: &[u8]) -> Result<(), UtpWriteError> {
        let config = &self.config;
        let connection = live(&mut self.places, handle).ok_or(UtpWriteError::Gone)?;
        if !connection.write(bytes, config) {
            self.counters.writes_refused += 1;
            return Err(UtpWriteError::Full);
        }
        self.mark(handle.index);
        Ok(())
    }

    /// Ends a connection, or gives one up that does not stand yet; no event of it follows.
    pub fn close(&mut self, now: Duration, handle: UtpHandle, how: CloseHow, out: &mut UtpOutput) {
        if live(&mut self.places, handle).is_none() {
            return;
        }
        self.with(now, handle.index, out, |connection, turn| match how {
            CloseHow::Flush => connection.close(turn),
            CloseHow::Reset => {
                connection.write_reset(turn);
                Verdict::Over
            }
        });
        self.mark(handle.index);
    }

    /// Sends what is to be sent, and does what is due.
    pub fn tick(&mut self, now: Duration, out: &mut UtpOutput) {
        while let Some((at, index, generation)) = self.timers.pop_due(now) {
            let place = self.places.get_mut(index as usize).filter(|place| place.generation == generation);
            let Some(connection) = place.and_then(|place| place.connection.as_mut()) else { continue };
            if connection.scheduled_at != Some(at) {
                continue;
            }
            connection.scheduled_at = None;
            if connection.deadline(&self.config) <= now {
                self.with(now, index, out, |connection, turn| connection.tick(turn));
                self.mark(index);
            } else {
                self.schedule(index);
            }
        }
        for at in 0..self.dirty.len() {
            let Some(&index) = self.dirty.get(at) else { break };
            self.with(now, index, out, |connection, turn| {
                connection.dirty = false;
                connection.emit(turn)
            });
            self.schedule(index);
        }
        self.dirty.clear();
        if self.timers.is_littered(self.by_id.len()) {
            let places = &self.places;
            self.timers.retain(|at, index, generation| {
                places.get(index as usize).is_some_and(|place| {
                    let connection = place.connection.as_ref();
                    place.generation == generation && connection.is_some_and(|c| c.scheduled_at == Some(at))
                })
            });
        }
    }

    /// When [`tick`](Self::tick) is to be called next: at once when something is to be sent. It may be called earlier, and
    /// may find that nothing is due yet. `None`: nothing is waited for.
    pub fn next_deadline(&self) -> Option<Duration> {
        if self.dirty.is_empty() { self.timers.next_at() } else { Some(Duration::ZERO) }
    }

    /// Connections, those that are being closed included.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Bytes on the heap that others have caused: what waits behind gaps.
    pub fn bytes_held(&self) -> usize {
        self.reassembly_bytes
    }

    /// Bytes written to a connection that are not acknowledged yet; 0 when it is over.
    pub fn unacknowledged(&self, handle: UtpHandle) -> usize {
        let place = self.places.get(handle.index as usize);
        let place = place.filter(|place| place.generation == handle.generation);
        place.and_then(|place| place.connection.as_ref()).map_or(0, |connection| connection.send_bytes())
    }

    /// What was counted so far.
    pub fn counters(&self) -> &UtpCounters {
        &self.counters
    }

    /// The connection that a packet is for.
    fn find(&self, from: SocketAddr, packet: &Packet<'_>) -> Option<u32> {
        let id = packet.connection_id;
        match packet.kind {
            // It carries the id of who sends it.
            PacketKind::Syn => {
                let index = self.by_id.get(&(from, id.wrapping_add(1)))?;
                self.connection(*index).filter(|connection| connection.accepted).map(|_| *index)
            }
            // Some put the id of the packet that they reset, which is the one we send.
            PacketKind::Reset => self.by_id.get(&(from, id)).copied().or_else(|| {
                [id.wrapping_add(1), id.wrapping_sub(1)]
                    .into_iter()
                    .filter_map(|receive_id| self.by_id.get(&(from, receive_id)).copied())
                    .find(|index| self.connection(*index).is_some_and(|c| c.send_id == id))
            }),
            _ => self.by_id.get(&(from, id)).copied(),
        }
    }

    fn accept(&mut self, now: Duration, from: SocketAddr, syn: &Packet<'_>, out: &mut UtpOutput) {
        let ip = canonical(from).ip();
        let from_ip = self.accepted_from.get(&ip).copied().unwrap_or(0);
        let key = (canonical(from), syn.connection_id.wrapping_add(1));
        let config = &self.config;
        let taken = self.accepted < config.accepted_max
            && self.half_open < config.half_open_max
            && from_ip < config.accepted_per_ip_max
            && !self.by_id.contains_key(&key);
        if !taken || !self.make_room() {
            self.counters.syns_refused += 1;
            return self.refuse(now, from, syn, out);
        }
        let seq = SeqNr(self.rng.random());
        self.accepted += 1;
        self.half_open += 1;
        *self.accepted_from.entry(ip).or_default() += 1;
        self.insert(Connection::accept(now, from, syn, seq, &self.config));
    }

    /// Tells the sender of a packet that there is no such connection.
    fn refuse(&mut self, now: Duration, to: SocketAddr, packet: &Packet<'_>, out: &mut UtpOutput) {
        if packet.kind == PacketKind::Reset {
            return;
        }
        let (since, count) = &mut self.resets;
        if now >= *since + Duration::from_secs(1) {
            (*since, *count) = (now, 0);
        }
        if *count >= self.config.resets_per_second_max {
            self.counters.resets_suppressed += 1;
            return;
        }
        *count += 1;
        self.counters.resets_sent += 1;
        self.counters.sent += 1;
        let reset = Packet {
            kind: PacketKind::Reset,
            connection_id: packet.connection_id,
            timestamp: micros(now),
            timestamp_difference: micros(now).wrapping_sub(packet.timestamp),
            window: 0,
            seq: SeqNr(self.rng.random()),
            ack: packet.seq,
            selective_ack: None,
            payload: b"",
        };
        out.send(to, &reset, |_| ());
    }

    /// Lets a connection do something, and draws the consequences.
    fn with(
        &mut self,
        now: Duration,
        index: u32,
        out: &mut UtpOutput,
        act: impl FnOnce(&mut Connection, &mut Turn<'_>) -> Verdict,
    ) {
        let Some(place) = self.places.get_mut(index as usize) else { return };
        let handle = UtpHandle { index, generation: place.generation };
        let Some(connection) = place.connection.as_mut() else { return };
        let before = (connection.reassembly_bytes(), connection.is_half_open(), connection.is_lingering());
        let mut turn = Turn {
            now,
            handle,
            config: &self.config,
            counters: &mut self.counters,
            out,
            spare: &mut self.spare,
            reassembly_room: self.config.reassembly_bytes_max.saturating_sub(self.reassembly_bytes),
        };
        let verdict = act(connection, &mut turn);
        let (held, was_half_open, was_lingering) = before;
        self.reassembly_bytes = self.reassembly_bytes - held + connection.reassembly_bytes();
        self.half_open -= usize::from(was_half_open && !connection.is_half_open());
        if !was_lingering && connection.is_lingering() {
            self.lingering.push_back(handle);
        }
        if verdict == Verdict::Over {
            self.remove(index);
        }
    }

    fn insert(&mut self, connection: Connection) -> UtpHandle {
        let key = (canonical(connection.addr), connection.receive_id);
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            // `make_room` keeps it far below.
            (self.places.len() - 1) as u32
        });
        let mut generation = 0;
        if let Some(place) = self.places.get_mut(index as usize) {
            place.connection = Some(Box::new(connection));
            generation = place.generation;
        }
        self.by_id.insert(key, index);
        self.mark(index);
        UtpHandle { index, generation }
    }

    fn remove(&mut self, index: u32) {
        let Some(place) = self.places.get_mut(index as usize) else { return };
        let Some(mut connection) = place.connection.take() else { return };
        place.generation = place.generation.wrapping_add(1);
        self.reassembly_bytes -= connection.reassembly_bytes();
        connection.release(&mut self.spare);
        self.free.push(index);
        let addr = canonical(connection.addr);
        self.by_id.remove(&(addr, connection.receive_id));
        if connection.accepted {
            self.accepted -= 1;
            self.half_open -= usize::from(connection.is_half_open());
            if let Some(count) = self.accepted_from.get_mut(&addr.ip()) {
                *count -= 1;
                if *count == 0 {
                    self.accepted_from.remove(&addr.ip());
                }
            }
        }
        if self.lingering.len() > 2 * self.by_id.len() + 64 {
            let places = &mut self.places;
            self.lingering.retain(|handle| live_or_lingering(places, *handle).is_some());
        }
    }

    /// Sees to it that one more connection can be made; those that are being closed give way.
    fn make_room(&mut self) -> bool {
        while self.by_id.len() >= self.config.connections_max {
            let Some(handle) = self.lingering.pop_front() else { return false };
            if live_or_lingering(&mut self.places, handle).is_some() {
                self.counters.lingered_out += 1;
                self.remove(handle.index);
            }
        }
        true
    }

    fn unused_id(&mut self, addr: SocketAddr) -> Option<u16> {
        let first: u16 = self.rng.random();
        // The id of the other direction is taken too, or a reset could mean either connection.
        (0..ID_TRIES_MAX).map(|step| first.wrapping_add(2 * step)).find(|id| {
            [id.wrapping_sub(1), *id, id.wrapping_add(1)]
                .into_iter()
                .all(|id| !self.by_id.contains_key(&(addr, id)))
        })
    }

    /// Has a connection looked at by the next `tick`.
    fn mark(&mut self, index: u32) {
        let place = self.places.get_mut(index as usize);
        if let Some(connection) = place.and_then(|place| place.connection.as_mut())
            && !connection.dirty
        {
            connection.dirty = true;
            self.dirty.push(index);
        }
    }

    /// Adds a timer when there is none early enough.
    fn schedule(&mut self, index: u32) {
        let Some(place) = self.places.get_mut(index as usize) else { return };
        let Some(connection) = place.connection.as_mut() else { return };
        let at = connection.deadline(&self.config);
        if connection.scheduled_at.is_none_or(|scheduled| at < scheduled) {
            connection.scheduled_at = Some(at);
            self.timers.add(at, index, place.generation);
        }
    }

    fn connection(&self, index: u32) -> Option<&Connection> {
        self.places.get(index as usize).and_then(|place| place.connection.as_deref())
    }
}

/// The connection of a handle that its owner may still use.
fn live(places: &mut [Place], handle: UtpHandle) -> Option<&mut Connection> {
    live_or_lingering(places, handle).filter(|connection| !connection.is_lingering())
}

fn live_or_lingering(places: &mut [Place], handle: UtpHandle) -> Option<&mut Connection> {
    let place = places.get_mut(handle.index as usize)?;
    let same = place.generation == handle.generation;
    place.connection.as_deref_mut().filter(|_| same)
}

/// One host, one name: an IPv4 address may come in the clothes of IPv6.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// Ids tried for a new connection; with few connections to one endpoint the first is free.
const ID_TRIES_MAX: u16 = 64;
