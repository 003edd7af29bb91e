//! uTP on the UDP ports of the DHT: datagrams in and out, connections by their key, the time of what is due, and a budget.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use bittorrent::{
    CloseHow, Disconnect,
    utp::{Utp, UtpAction, UtpConfig, UtpCounters, UtpHandle, UtpOutput, is_utp},
};
use mainline::Bucket;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tea_runtime::Cmd;

use super::{Happening, UtpPlan};
use crate::model::{indexer::Indexer, message::Key};

/// Packets that wait for the budget, of at most 1,472 bytes: 1.5 MB. What is beyond is dropped as a full router would
/// drop it, and comes again at a lower rate.
const WAITING_MAX: usize = 1_024;

/// From so many packets that wait on, no connections are made: those that there are come first.
const WAITING_EASY: usize = 64;

/// What waits behind gaps, in the connections of all ports together, and at least for each port.
const REASSEMBLY_BYTES_MAX: usize = 64 << 20;
const REASSEMBLY_BYTES_MIN: usize = 1 << 20;

/// The uTP side of all ports.
#[derive(Debug)]
pub(in crate::model) struct UtpPorts {
    /// By the index of the port. Empty: uTP is not used.
    ports: Vec<UtpPort>,
    /// The indices of IPv4 ports, and of IPv6 ports.
    families: [Vec<u16>; 2],
    places: HashMap<Key, (u16, UtpHandle)>,
    /// Ports whose output is not empty, each once.
    news: VecDeque<u16>,
    /// Connections that were asked for and could not be made.
    refused: Vec<(Key, Disconnect)>,
    spare: UtpOutput,
    packets: Bucket,
    packets_per_second: u32,
    waiting: VecDeque<(u16, SocketAddr, Box<[u8]>)>,
    loopback_only: bool,
    /// The time for which the timer is set.
    timer_at: Option<Duration>,
    /// When something is due, at the earliest.
    due_at: Option<Duration>,
    numbers: UtpNumbers,
}

/// What is counted here; [`UtpCounters`] has the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::model) struct UtpNumbers {
    /// Datagrams handed to the runtime.
    pub(in crate::model) sent: u64,
    /// Bytes in them.
    pub(in crate::model) sent_bytes: u64,
    /// Datagrams that came.
    pub(in crate::model) received: u64,
    /// Bytes in them.
    pub(in crate::model) received_bytes: u64,
    /// Datagrams that had to wait for the budget.
    pub(in crate::model) held: u64,
    /// Datagrams for which there was not even room to wait.
    pub(in crate::model) dropped: u64,
    /// Datagrams that were not sent because they would have left this machine.
    pub(in crate::model) withheld: u64,
}

#[derive(Debug)]
struct UtpPort {
    utp: Utp,
    out: UtpOutput,
    keys: HashMap<UtpHandle, Key>,
    bound: bool,
    due_at: Option<Duration>,
}

/// What has come about.
#[derive(Debug)]
pub(in crate::model) enum UtpEvent<'a> {
    /// Something has happened to a connection.
    Happened(Key, Happening<'a>),
    /// Somebody has opened a connection, which has no name yet.
    Accepted(SocketAddr, Nameless),
}

/// A connection that somebody has opened.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) struct Nameless {
    port: u16,
    handle: UtpHandle,
}

/// What one port wants done, taken out so that acting on it may lead to more.
#[derive(Debug)]
pub(in crate::model) struct News {
    port: u16,
    pub(in crate::model) out: UtpOutput,
}

impl UtpPorts {
    /// No connections yet. Without a plan: none ever.
    pub(super) fn new(
        ports: &[SocketAddr],
        plan: Option<UtpPlan>,
        connections_max: usize,
        accepted_max: usize,
        loopback_only: bool,
    ) -> Self {
        let ports = if plan.is_some() { ports } else { &[] };
        let UtpPlan { seed, packets_per_second } =
            plan.unwrap_or(UtpPlan { seed: [0; 32], packets_per_second: 0 });
        // Ids and first numbers of each port are its own.
        let mut seeds = StdRng::from_seed(seed);
        let config = UtpConfig {
            connections_max: connections_max + accepted_max,
            accepted_max,
            reassembly_bytes_max: (REASSEMBLY_BYTES_MAX / ports.len().max(1)).max(REASSEMBLY_BYTES_MIN),
            ..UtpConfig::default()
        };
        let port = |_: &SocketAddr| UtpPort {
            utp: Utp::new(config, seeds.random()),
            out: UtpOutput::new(),
            keys: HashMap::new(),
            bound: false,
            due_at: None,
        };
        let of_family = |v4: bool| {
            let indices = (0..).zip(ports).filter(move |(_, port)| port.is_ipv4() == v4);
            indices.map(|(index, _)| index).collect()
        };
        Self {
            families: [of_family(true), of_family(false)],
            ports: ports.iter().map(port).collect(),
            places: HashMap::new(),
            news: VecDeque::new(),
            refused: Vec::new(),
            spare: UtpOutput::new(),
            packets: Bucket::new(packets_per_second, Duration::from_secs(1), packets_per_second.div_ceil(4)),
            packets_per_second,
            waiting: VecDeque::new(),
            loopback_only,
            timer_at: None,
            due_at: None,
            numbers: UtpNumbers::default(),
        }
    }

    /// Whether a datagram is for us, not for the DHT.
    pub(in crate::model) fn takes(&self, datagram: &[u8]) -> bool {
        !self.ports.is_empty() && is_utp(datagram)
    }

    /// A port can be used from now on.
    pub(in crate::model) fn bound(&mut self, port: u16) {
        if let Some(port) = self.ports.get_mut(usize::from(port)) {
            port.bound = true;
        }
    }

    /// A datagram of which [`takes`](Self::takes) holds has come.
    pub(in crate::model) fn datagram(&mut self, now: Duration, port: u16, from: SocketAddr, datagram: &[u8]) {
        self.numbers.received += 1;
        self.numbers.received_bytes += datagram.len() as u64;
        self.with(port, |port| port.utp.datagram(now, from, datagram, &mut port.out));
    }

    /// Asks for a connection from one of the ports of the family, which take turns.
    pub(super) fn connect(&mut self, now: Duration, key: Key, addr: SocketAddr, turn: u32) {
        let [v4, v6] = &self.families;
        let family = if addr.is_ipv4() { v4 } else { v6 };
        let chosen = family.get(turn as usize % family.len().max(1)).copied();
        let eased = self.waiting.len() < WAITING_EASY;
        let chosen = chosen.and_then(|index| Some((index, self.ports.get_mut(usize::from(index))?)));
        let made = chosen.filter(|(_, port)| port.bound && eased).and_then(|(index, port)| {
            let handle = port.utp.connect(now, addr).ok()?;
            port.keys.insert(handle, key);
            Some((index, handle))
        });
        match made {
            Some((index, handle)) => {
                self.places.insert(key, (index, handle));
                self.with(index, |_| ());
            }
            None => self.refused.push((key, Disconnect::Overload)),
        }
    }

    /// Appends to what a connection sends; `false`: there is no such connection here.
    pub(super) fn write(&mut self, now: Duration, key: Key, bytes: &[u8]) -> bool {
        let Some((index, handle)) = self.places.get(&key).copied() else { return false };
        let mut full = false;
        self.with(index, |port| full = port.utp.write(handle, bytes).is_err());
        if full {
            self.close(now, key, CloseHow::Reset);
            self.refused.push((key, Disconnect::Other));
        }
        true
    }

    /// Ends a connection; `false`: there is no such connection here.
    pub(super) fn close(&mut self, now: Duration, key: Key, how: CloseHow) -> bool {
        let Some((index, handle)) = self.places.remove(&key) else { return false };
        self.with(index, |port| {
            port.keys.remove(&handle);
            port.utp.close(now, handle, how, &mut port.out);
        });
        true
    }

    /// Does what is due.
    pub(in crate::model) fn tick(&mut self, now: Duration) {
        self.timer_at = None;
        for index in 0..self.ports.len() {
            let Some(port) = self.ports.get_mut(index) else { break };
            if port.due_at.is_some_and(|at| at <= now) {
                let was_empty = port.out.is_empty();
                port.utp.tick(now, &mut port.out);
                port.due_at = port.utp.next_deadline();
                if was_empty && !port.out.is_empty() {
                    self.news.push_back(index as u16);
                }
            }
        }
        self.due_at = self.ports.iter().filter_map(|port| port.due_at).min();
    }

    /// What one port wants done, or has to tell; to be given [back](Self::give_back) when it has been acted on.
    pub(in crate::model) fn news(&mut self) -> Option<News> {
        loop {
            let index = self.news.pop_front()?;
            let Some(port) = self.ports.get_mut(usize::from(index)) else { continue };
            if !port.out.is_empty() {
                let out = std::mem::replace(&mut port.out, std::mem::take(&mut self.spare));
                return Some(News { port: index, out });
            }
        }
    }

    /// Takes the buffer of [`news`](Self::news) back.
    pub(in crate::model) fn give_back(&mut self, news: News) {
        self.spare = news.out;
    }

    /// Names a connection that somebody has opened; without a name it is ended.
    pub(in crate::model) fn name(&mut self, now: Duration, nameless: Nameless, key: Option<Key>) {
        let Nameless { port: index, handle } = nameless;
        match key {
            Some(key) => {
                if let Some(port) = self.ports.get_mut(usize::from(index)) {
                    port.keys.insert(handle, key);
                    self.places.insert(key, (index, handle));
                }
            }
            None => self.with(index, |port| port.utp.close(now, handle, CloseHow::Reset, &mut port.out)),
        }
    }

    /// Does what is to be sent; what has come about is returned.
    pub(in crate::model) fn act<'a>(
        &mut self,
        now: Duration,
        port: u16,
        action: UtpAction<'a>,
        cmd: &mut Cmd<Indexer>,
    ) -> Option<UtpEvent<'a>> {
        let keys = &mut self.ports.get_mut(usize::from(port))?.keys;
        match action {
            UtpAction::Send { to, datagram } => {
                self.send(now, port, to, datagram, cmd);
                None
            }
            UtpAction::Opened(handle) => Some(UtpEvent::Happened(*keys.get(&handle)?, Happening::Opened)),
            UtpAction::Data { handle, bytes } => {
                Some(UtpEvent::Happened(*keys.get(&handle)?, Happening::Data(bytes)))
            }
            UtpAction::Closed { handle, why } => {
                let key = keys.remove(&handle)?;
                self.places.remove(&key);
                Some(UtpEvent::Happened(key, Happening::Closed(why)))
            }
            UtpAction::Accepted { handle, addr } => Some(UtpEvent::Accepted(addr, Nameless { port, handle })),
        }
    }

    /// Connections that were asked for and could not be made, since the last call.
    pub(in crate::model) fn refused(&mut self) -> Option<(Key, Disconnect)> {
        self.refused.pop()
    }

    /// Whether something has happened that nobody has acted on.
    pub(in crate::model) fn is_idle(&self) -> bool {
        self.news.is_empty() && self.refused.is_empty() && (self.due_at.is_none() || self.timer_is_right())
    }

    /// In what time [`tick`](Self::tick) is to be called, if the timer is not set for that.
    pub(in crate::model) fn timer(&mut self, now: Duration) -> Option<Duration> {
        let at = self.due_at?;
        if self.timer_is_right() {
            return None;
        }
        self.timer_at = Some(at);
        Some(at.saturating_sub(now))
    }

    /// Sends what waited for the budget, as far as that goes.
    pub(in crate::model) fn send_waiting(&mut self, now: Duration, cmd: &mut Cmd<Indexer>) {
        while !self.waiting.is_empty() && self.packets.take(now, 0) {
            let Some((port, to, datagram)) = self.waiting.pop_front() else { return };
            self.hand_over(port, to, &datagram, cmd);
        }
    }

    /// Packets that wait, and how many may.
    pub(in crate::model) fn waiting(&self) -> (usize, usize) {
        (self.waiting.len(), WAITING_MAX)
    }

    /// Packets that may be sent in a second; `None`: uTP is not used.
    pub(in crate::model) fn packets_per_second(&self) -> Option<u32> {
        (!self.ports.is_empty()).then_some(self.packets_per_second)
    }

    /// What was counted here.
    pub(in crate::model) fn numbers(&self) -> &UtpNumbers {
        &self.numbers
    }

    /// What was counted in the connections of all ports.
    pub(in crate::model) fn counters(&self) -> impl Iterator<Item = &UtpCounters> {
        self.ports.iter().map(|port| port.utp.counters())
    }

    fn send(&mut self, now: Duration, port: u16, to: SocketAddr, datagram: &[u8], cmd: &mut Cmd<Indexer>) {
        if self.loopback_only && !to.ip().to_canonical().is_loopback() {
            self.numbers.withheld += 1;
            return;
        }
        self.send_waiting(now, cmd);
        if self.waiting.is_empty() && self.packets.take(now, 0) {
            return self.hand_over(port, to, datagram, cmd);
        }
        if self.waiting.len() >= WAITING_MAX {
            self.numbers.dropped += 1;
            return;
        }
        self.numbers.held += 1;
        self.waiting.push_back((port, to, datagram.into()));
    }

    fn hand_over(&mut self, port: u16, to: SocketAddr, datagram: &[u8], cmd: &mut Cmd<Indexer>) {
        self.numbers.sent += 1;
        self.numbers.sent_bytes += datagram.len() as u64;
        cmd.send(Key::Port(port), to, |buffer| buffer.extend_from_slice(datagram));
    }

    /// Lets a port do something, which has to be followed by a tick.
    fn with(&mut self, index: u16, act: impl FnOnce(&mut UtpPort)) {
        let Some(port) = self.ports.get_mut(usize::from(index)) else { return };
        let was_empty = port.out.is_empty();
        act(port);
        port.due_at = port.utp.next_deadline();
        if let Some(at) = port.due_at {
            self.due_at = Some(self.due_at.map_or(at, |due| due.min(at)));
        }
        if was_empty && !port.out.is_empty() {
            self.news.push_back(index);
        }
    }

    fn timer_is_right(&self) -> bool {
        self.due_at.zip(self.timer_at).is_some_and(|(due, timer)| timer <= due)
    }
}

impl News {
    /// The port that it comes from.
    pub(in crate::model) fn port(&self) -> u16 {
        self.port
    }
}
