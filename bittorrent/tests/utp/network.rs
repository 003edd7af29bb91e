//! A virtual network between uTP endpoints, in virtual time.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    time::Duration,
};

use bittorrent::{
    Disconnect,
    utp::{Utp, UtpAction, UtpConfig, UtpHandle, UtpOutput},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// How the network treats datagrams; the chances are of 100.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub loss: u32,
    pub duplication: u32,
    /// Of being held up by up to ten times the latency.
    pub reordering: u32,
    pub latency: Duration,
    /// Bytes a second that a link carries, with a queue before it; 0 is without a limit.
    pub rate: u64,
}

pub const FINE: Weather =
    Weather { loss: 0, duplication: 0, reordering: 0, latency: Duration::from_millis(10), rate: 0 };

pub struct Host {
    pub utp: Utp,
    /// What came on each connection.
    pub got: HashMap<UtpHandle, Vec<u8>>,
    pub opened: Vec<UtpHandle>,
    pub accepted: Vec<(UtpHandle, SocketAddr)>,
    pub closed: Vec<(UtpHandle, Disconnect)>,
    clock_ahead: Duration,
    busy_until: Duration,
}

pub struct Network {
    pub now: Duration,
    pub weather: Weather,
    pub hosts: BTreeMap<SocketAddr, Host>,
    /// Datagrams under way: to, from.
    queue: BTreeMap<(Duration, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    /// Every datagram that was sent: from, to.
    pub wire: Vec<(Duration, SocketAddr, SocketAddr, Vec<u8>)>,
    /// Longest wait before a link.
    pub longest_queue: Duration,
    rng: StdRng,
    sequence: u64,
    out: UtpOutput,
}

pub fn addr(number: u8) -> SocketAddr {
    ([127, 0, 0, number], 6881).into()
}

impl Network {
    pub fn new(weather: Weather, seed: u64) -> Self {
        Self {
            now: Duration::from_secs(1_000),
            weather,
            hosts: BTreeMap::new(),
            queue: BTreeMap::new(),
            wire: Vec::new(),
            longest_queue: Duration::ZERO,
            rng: StdRng::seed_from_u64(seed),
            sequence: 0,
            out: UtpOutput::new(),
        }
    }

    /// Adds a host whose clock is ahead by so much.
    pub fn add(&mut self, number: u8, config: UtpConfig, clock_ahead: Duration) -> SocketAddr {
        let seed = self.rng.random();
        let host = Host {
            utp: Utp::new(config, seed),
            got: HashMap::new(),
            opened: Vec::new(),
            accepted: Vec::new(),
            closed: Vec::new(),
            clock_ahead,
            busy_until: Duration::ZERO,
        };
        self.hosts.insert(addr(number), host);
        addr(number)
    }

    pub fn host(&mut self, addr: SocketAddr) -> &mut Host {
        self.hosts.get_mut(&addr).unwrap()
    }

    /// Does something at a host, and what follows at once.
    pub fn at<T>(
        &mut self,
        addr: SocketAddr,
        act: impl FnOnce(&mut Utp, Duration, &mut UtpOutput) -> T,
    ) -> T {
        let mut out = std::mem::take(&mut self.out);
        let host = self.hosts.get_mut(&addr).unwrap();
        let now = self.now + host.clock_ahead;
        let result = act(&mut host.utp, now, &mut out);
        host.utp.tick(now, &mut out);
        let mut sends = Vec::new();
        for action in out.drain() {
            match action {
                UtpAction::Send { to, datagram } => sends.push((to, datagram.to_vec())),
                UtpAction::Opened(handle) => host.opened.push(handle),
                UtpAction::Accepted { handle, addr } => host.accepted.push((handle, addr)),
                UtpAction::Data { handle, bytes } => host.got.entry(handle).or_default().extend(bytes),
                UtpAction::Closed { handle, why } => host.closed.push((handle, why)),
            }
        }
        if let Some(next) = host.utp.next_deadline() {
            assert!(next > now, "after a tick the next deadline lies in the future: {next:?} at {now:?}");
        }
        self.out = out;
        for (to, datagram) in sends {
            self.send(addr, to, &datagram);
        }
        result
    }

    /// Puts a datagram on the network.
    pub fn send(&mut self, from: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        let Weather { loss, duplication, reordering, latency, rate } = self.weather;
        let mut leaves = self.now;
        if rate > 0
            && let Some(host) = self.hosts.get_mut(&from)
        {
            leaves = leaves.max(host.busy_until);
            self.longest_queue = self.longest_queue.max(leaves - self.now);
            host.busy_until = leaves + Duration::from_nanos(datagram.len() as u64 * 1_000_000_000 / rate);
            leaves = host.busy_until;
        }
        let copies = 1 + u32::from(self.rng.random_range(0..100) < duplication);
        self.wire.push((self.now, from, to, datagram.to_vec()));
        for _ in 0..copies {
            if self.rng.random_range(0..100) < loss {
                continue;
            }
            let mut at = leaves + latency;
            if self.rng.random_range(0..100) < reordering {
                at += latency.mul_f64(self.rng.random_range(0.0..10.0));
            }
            self.sequence += 1;
            self.queue.insert((at, self.sequence), (to, from, datagram.to_vec()));
        }
    }

    /// Runs until nothing is under way and no host waits for anything, or until `until`.
    pub fn run_until(&mut self, until: Duration) {
        loop {
            let arrival = self.queue.keys().next().map(|(at, _)| *at);
            let due = self
                .hosts
                .iter()
                .filter_map(|(addr, host)| {
                    Some((host.utp.next_deadline()?.saturating_sub(host.clock_ahead), *addr))
                })
                .min();
            let next = arrival.into_iter().chain(due.map(|(at, _)| at)).min();
            let Some(next) = next.filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
            if arrival.is_some_and(|at| at <= next) {
                let Some((_, (to, from, datagram))) = self.queue.pop_first() else { break };
                if self.hosts.contains_key(&to) {
                    self.at(to, |utp, now, out| utp.datagram(now, from, &datagram, out));
                }
            } else if let Some((_, addr)) = due {
                self.at(addr, |_, _, _| ());
            }
        }
        self.now = self.now.max(until);
    }

    pub fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    pub fn connect(&mut self, from: SocketAddr, to: SocketAddr) -> UtpHandle {
        self.at(from, |utp, now, _| utp.connect(now, to).unwrap())
    }

    pub fn write(&mut self, at: SocketAddr, handle: UtpHandle, bytes: &[u8]) {
        self.at(at, |utp, _, _| utp.write(handle, bytes).unwrap());
    }

    /// Two hosts, and a connection between them that stands.
    pub fn pair(weather: Weather, seed: u64) -> (Self, (SocketAddr, UtpHandle), (SocketAddr, UtpHandle)) {
        let mut network = Self::new(weather, seed);
        let a = network.add(1, UtpConfig::default(), Duration::ZERO);
        // Its clock has nothing to do with ours, and wraps around soon.
        let b = network.add(2, accepting(), Duration::from_micros((1 << 32) - 1_000_000_000 - 2_000_000));
        // Where packets are lost, an attempt may come to nothing in good right.
        network.weather = Weather { loss: 0, ..weather };
        let ours = network.connect(a, b);
        network.write(a, ours, b"first");
        network.run_for(Duration::from_secs(20));
        assert_eq!(network.host(a).opened, [ours]);
        network.weather = weather;
        let (theirs, from) = network.host(b).accepted[0];
        assert_eq!(from, a);
        (network, (a, ours), (b, theirs))
    }
}

pub fn accepting() -> UtpConfig {
    UtpConfig { accepted_max: 100, accepted_per_ip_max: 100, ..UtpConfig::default() }
}

/// Bytes of which every part is different.
pub fn text(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rand::Rng::fill_bytes(&mut StdRng::seed_from_u64(seed), &mut bytes);
    bytes
}
