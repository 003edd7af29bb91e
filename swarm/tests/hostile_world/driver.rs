//! Many fetches among the peers of a [`PeerWorld`], in virtual time: the state machine and the settings that the program
//! uses, with the world in place of its sockets.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bittorrent::{
    Action, Candidate, CloseHow, Disconnect, Fetch, FetchConfig, FetchCounters, FetchFailure, Output,
    PeerSource, Slot, Transport,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use swarm::peers::{Carrier, ConnectionId, End, Nature, News, PeerPlan, PeerWorld};

/// What is tried.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    pub(crate) plan: PeerPlan,
    pub(crate) config: FetchConfig,
    /// Fetches at a time.
    pub(crate) at_once: usize,
    /// Endpoints are named one by one within this time, as a lookup does.
    pub(crate) named_within: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// From the first endpoint to the verified info dict, in order; failures are missing.
    pub(crate) lasted: Vec<Duration>,
    /// Torrents that came to nothing.
    pub(crate) failed: Vec<(u32, FetchFailure)>,
    /// Info dicts that were not those of the torrent.
    pub(crate) wrong: u32,
    /// Honest endpoints that were called liars.
    pub(crate) slandered: u32,
    /// Liars that were named.
    pub(crate) liars: u32,
    /// Connections begun, by transport.
    pub(crate) connects: [u64; Transport::COUNT],
    /// The most connections at a time, of all fetches and of one.
    pub(crate) connections_max: usize,
    pub(crate) connections_of_one_max: usize,
    /// The most bytes held at a time, by all fetches and by one.
    pub(crate) bytes_max: usize,
    pub(crate) bytes_of_one_max: usize,
    pub(crate) counters: FetchCounters,
}

impl Results {
    pub(crate) fn torrents(&self) -> usize {
        self.lasted.len() + self.failed.len()
    }

    pub(crate) fn share(&self) -> f64 {
        self.lasted.len() as f64 / self.torrents() as f64
    }

    /// The time that so many of the torrents were fetched in, failures counted as never.
    pub(crate) fn percentile(&self, share: f64) -> Option<Duration> {
        let at = (self.torrents() as f64 * share).ceil() as usize;
        self.lasted.get(at.saturating_sub(1)).copied()
    }
}

/// Fetches every torrent of the plan.
pub(crate) fn run(trial: Trial) -> Results {
    let mut driver = Driver {
        world: PeerWorld::new(trial.plan.clone()),
        random: StdRng::seed_from_u64(trial.plan.seed ^ 0xd21e),
        config: Arc::new(trial.config),
        named_within: trial.named_within,
        // The origin of time is the owner's; nothing may take it for zero.
        now: Duration::from_secs(1_000_000),
        next: 0,
        fetches: BTreeMap::new(),
        deadlines: BTreeSet::new(),
        bytes_held: 0,
        out: Output::new(),
        results: Results::default(),
    };
    while driver.fetches.len() < trial.at_once && driver.begin() {}
    while let Some(at) = driver.next_at() {
        driver.now = driver.now.max(at);
        driver.step();
        while driver.fetches.len() < trial.at_once && driver.begin() {}
    }
    assert_eq!(driver.world.connections(), 0, "connections were left open");
    assert_eq!(driver.bytes_held, 0, "memory was left behind");
    driver.results.lasted.sort_unstable();
    driver.results
}

struct Driver {
    world: PeerWorld,
    random: StdRng,
    config: Arc<FetchConfig>,
    named_within: Duration,
    now: Duration,
    /// The torrent that is fetched next.
    next: u32,
    fetches: BTreeMap<u32, Running>,
    deadlines: BTreeSet<(Duration, u32)>,
    bytes_held: usize,
    out: Output,
    results: Results,
}

struct Running {
    fetch: Fetch,
    begun: Duration,
    /// Endpoints that are still to be named, the last one first.
    to_name: Vec<(Duration, SocketAddr)>,
    /// In `deadlines`.
    deadline: Option<Duration>,
    bytes_held: usize,
}

impl Driver {
    fn begin(&mut self) -> bool {
        if self.next == self.world.torrents() {
            return false;
        }
        let torrent = self.next;
        self.next += 1;
        let mut endpoints: Vec<_> = self.world.endpoints(torrent).map(|endpoint| endpoint.addr).collect();
        endpoints.shuffle(&mut self.random);
        let mut to_name: Vec<_> = endpoints
            .into_iter()
            .enumerate()
            .map(|(place, addr)| {
                let share = if place == 0 { 0.0 } else { self.random.random::<f64>() };
                (self.now + self.named_within.mul_f64(share), addr)
            })
            .collect();
        to_name.sort_unstable_by(|a, b| b.cmp(a));
        let fetch = Fetch::new(self.world.info_hash(torrent), Arc::clone(&self.config), self.now);
        let running = Running { fetch, begun: self.now, to_name, deadline: None, bytes_held: 0 };
        self.fetches.insert(torrent, running);
        self.tick(torrent);
        true
    }

    fn next_at(&self) -> Option<Duration> {
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        deadline.into_iter().chain(self.world.next_at()).min()
    }

    fn step(&mut self) {
        while let Some((at, torrent)) = self.deadlines.first().copied()
            && at <= self.now
        {
            self.tick(torrent);
        }
        while let Some((id, news)) = self.world.next(self.now) {
            let (torrent, slot) = ((id.0 >> 16) as u32, Slot::from_number(id.0 as u16));
            let Some(running) = self.fetches.get_mut(&torrent) else { continue };
            let (fetch, out) = (&mut running.fetch, &mut self.out);
            match news {
                News::Opened => fetch.peer_opened(self.now, slot, out),
                News::Data(bytes) => fetch.peer_data(self.now, slot, &bytes, out),
                News::Closed(end) => {
                    let why = match end {
                        End::Refused => Disconnect::Refused,
                        End::TimedOut => Disconnect::Timeout,
                        End::Eof => Disconnect::Eof,
                    };
                    fetch.peer_closed(self.now, slot, why, out);
                }
            }
            self.act(torrent);
        }
    }

    /// Names endpoints whose time has come, and does what is due.
    fn tick(&mut self, torrent: u32) {
        let Some(running) = self.fetches.get_mut(&torrent) else { return };
        while let Some((at, addr)) = running.to_name.last().copied()
            && at <= self.now
        {
            running.to_name.pop();
            let candidate = Candidate::new(addr, PeerSource::Lookup);
            running.fetch.add_candidate(self.now, candidate, &mut self.out);
            if running.to_name.is_empty() {
                running.fetch.no_more_candidates(self.now, &mut self.out);
            }
        }
        running.fetch.tick(self.now, &mut self.out);
        self.act(torrent);
    }

    /// Does what a fetch wants.
    fn act(&mut self, torrent: u32) {
        let id = |slot: Slot| ConnectionId(u64::from(torrent) << 16 | u64::from(slot.number()));
        let mut over = None;
        for action in self.out.drain() {
            match action {
                Action::Connect { slot, addr, timeout, transport } => {
                    self.results.connects[transport as usize] += 1;
                    let carrier = if transport.is_utp() { Carrier::Utp } else { Carrier::Tcp };
                    self.world.connect(self.now, id(slot), addr, carrier, timeout);
                }
                Action::Write { slot, bytes } => self.world.write(self.now, id(slot), bytes),
                Action::Close { slot, how: CloseHow::Flush | CloseHow::Reset } => self.world.close(id(slot)),
                // Nobody in this world tells of others.
                Action::Exchanged { .. } | Action::Report(_) => {}
                Action::Liar(addr) => {
                    let mut named = self.world.endpoints(torrent).filter(|endpoint| endpoint.addr == addr);
                    match named.next().map(|endpoint| endpoint.nature) {
                        Some(Nature::Liar(_)) => self.results.liars += 1,
                        _ => self.results.slandered += 1,
                    }
                }
                Action::Done(fetched) => over = Some(Ok(fetched)),
                Action::Failed(failure) => over = Some(Err(failure)),
            }
        }
        let Some(running) = self.fetches.get_mut(&torrent) else { return };
        let (fetch, results) = (&running.fetch, &mut self.results);
        let held = fetch.bytes_held();
        self.bytes_held = self.bytes_held - running.bytes_held + held;
        running.bytes_held = held;
        results.bytes_max = results.bytes_max.max(self.bytes_held);
        results.bytes_of_one_max = results.bytes_of_one_max.max(held);
        results.connections_of_one_max = results.connections_of_one_max.max(fetch.peer_count());
        results.connections_max = results.connections_max.max(self.world.connections());
        if let Some(deadline) = running.deadline.take() {
            self.deadlines.remove(&(deadline, torrent));
        }
        match over {
            None => {
                let naming = running.to_name.last().map(|(at, _)| *at);
                running.deadline = fetch.next_deadline().into_iter().chain(naming).min();
                self.deadlines.extend(running.deadline.map(|deadline| (deadline, torrent)));
            }
            Some(result) => {
                results.counters.merge(fetch.counters());
                match result {
                    Ok(fetched) => {
                        results.wrong += u32::from(fetched.raw != self.world.info_dict(torrent));
                        results.lasted.push(self.now - running.begun);
                    }
                    Err(failure) => results.failed.push((torrent, failure)),
                }
                self.fetches.remove(&torrent);
            }
        }
    }
}
