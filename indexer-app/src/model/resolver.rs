//! From an info-hash to a verified info dict: the lookups and fetches in flight.

mod announced;
mod bans;
mod clients;
mod connects;
mod endpoints;
mod fetching;
mod generations;
mod job;
mod numbers;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bittorrent::{
    Candidate, CloseHow, Fetch, FetchConfig, FetchCounters, Handover, Output, PeerSource, Slot, Transport,
};
use krpc::InfoHash;
use mainline::{Busy, LookupId, LookupOutcome, LookupReport, Peer, Priority, bogon::AddressFilter};

use announced::AnnouncedPeers;
use bans::Bans;
use connects::{ConnectBudget, ConnectTimes};
use endpoints::EndpointMemory;
use job::Job;
use numbers::FetchNumbers;

use super::connections::Happening;
use crate::db::{BacklogNew, Discovery, FetchProgress, RunCount, RunStage, StageTimes, Taken};

/// Between two looks at how long connects take.
const RETIME: Duration = Duration::from_secs(1);

/// The bounds of the resolver.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResolverBounds {
    /// Hashes in flight. A lookup mostly waits: for answers, and for nodes that may be asked once a second only.
    pub(super) jobs_max: usize,
    /// Of them, hashes being fetched: these hold sockets.
    pub(super) fetches_max: usize,
    /// Bytes that peers of all fetches may cause to be held.
    pub(super) bytes_max: usize,
    /// Connects of all fetches in a minute.
    pub(super) connects_per_minute: u32,
}

/// Why a hash came to nothing: what is counted, shown and stored.
pub(super) type Reason = &'static str;

/// Nobody named a peer.
const NO_PEERS: Reason = "no peers found";

/// Nobody named a peer before the time of the lookup was over: the nodes to ask were busy with other hashes.
const LOOKUP_TIME: Reason = "lookup timed out";

/// Every peer that was named had failed a moment ago.
const PEERS_REST: Reason = "all peers failed lately";

/// An announced peer had given the info dict before a lookup named any.
const NOT_NEEDED: Reason = "not needed";

/// The run ended before the hash came to anything.
pub(super) const RUN_ENDED: Reason = "run ended";

/// What is to be done on the network for a fetch.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wire<'a> {
    /// Open a connection.
    Connect {
        /// The other end.
        addr: SocketAddr,
        /// How long it may take.
        timeout: Duration,
        /// What is to carry it.
        transport: Transport,
    },
    /// Send bytes.
    Write(&'a [u8]),
    /// Close.
    Close(CloseHow),
}

/// What became of a hash.
#[derive(Debug)]
pub(super) enum Settled {
    /// Its info dict was fetched and verified.
    Fetched {
        /// The hash that was asked for.
        hash: InfoHash,
        /// How we came to know of it.
        source: Discovery,
        /// Nodes that hold peers of it: they sampled it, or named its peers.
        nodes: Vec<SocketAddr>,
        /// The info dict, byte for byte.
        raw: Vec<u8>,
        /// The fetch, by which its connections are named.
        job: u32,
        /// Connections that go on, to peers that want the info dict too.
        handovers: Vec<Handover>,
    },
    /// It came to nothing for now.
    Failed {
        /// The hash.
        hash: InfoHash,
        /// Why.
        reason: Reason,
        /// It says nothing of the hash.
        inconclusive: bool,
    },
}

/// The hashes in flight and those that wait for it.
#[derive(Debug)]
pub(super) struct Resolver {
    config: Arc<FetchConfig>,
    filter: AddressFilter,
    loopback_only: bool,
    bounds: ResolverBounds,
    queue: VecDeque<InfoHash>,
    queued: HashMap<InfoHash, Taken>,
    jobs: BTreeMap<u32, Job>,
    /// Jobs that have a peer and wait for room, in their order; some may be gone.
    ready: VecDeque<u32>,
    fetching: usize,
    by_hash: HashMap<InfoHash, u32>,
    by_lookup: HashMap<LookupId, u32>,
    next_job: u32,
    announced: AnnouncedPeers,
    endpoints: EndpointMemory,
    bans: Bans,
    connects: ConnectBudget,
    connect_times: ConnectTimes,
    retime_at: Duration,
    out: Output,
    settled: Vec<Settled>,
    cancelled: Vec<LookupId>,
    counters: FetchCounters,
    numbers: FetchNumbers,
    attempted: u64,
    fetched: u64,
    failed: BTreeMap<Reason, u64>,
    unusable: u64,
    rested: u64,
    is_ending: bool,
}

impl Resolver {
    /// Nothing in flight. Peers that the filter refuses are never connected to; with `loopback_only` nobody is who
    /// is not on this machine.
    pub(super) fn new(
        config: FetchConfig,
        filter: AddressFilter,
        bounds: ResolverBounds,
        loopback_only: bool,
    ) -> Self {
        Self {
            config: Arc::new(config),
            filter,
            loopback_only,
            bounds,
            queue: VecDeque::new(),
            queued: HashMap::new(),
            jobs: BTreeMap::new(),
            ready: VecDeque::new(),
            fetching: 0,
            by_hash: HashMap::new(),
            by_lookup: HashMap::new(),
            next_job: 0,
            announced: AnnouncedPeers::default(),
            endpoints: EndpointMemory::new(),
            bans: Bans::new(),
            connects: ConnectBudget::new(bounds.connects_per_minute),
            connect_times: ConnectTimes::default(),
            retime_at: Duration::ZERO,
            out: Output::new(),
            settled: Vec::new(),
            cancelled: Vec::new(),
            counters: FetchCounters::default(),
            numbers: FetchNumbers::default(),
            attempted: 0,
            fetched: 0,
            failed: BTreeMap::new(),
            unusable: 0,
            rested: 0,
            is_ending: false,
        }
    }

    /// Takes hashes that came from the backlog; those that a user waits for go first.
    pub(super) fn enqueue(&mut self, taken: impl IntoIterator<Item = Taken>) {
        for taken in taken {
            let hash = taken.info_hash;
            let urgent = taken.source == Discovery::Requested;
            if !self.by_hash.contains_key(&hash) && self.queued.insert(hash, taken).is_none() {
                if urgent {
                    self.queue.push_front(hash);
                } else {
                    self.queue.push_back(hash);
                }
            }
        }
    }

    /// Another node says to store a hash: if the hash waits, there is one more to be asked.
    pub(super) fn hint(&mut self, hash: &InfoHash, node: SocketAddr) {
        if let Some(taken) = self.queued.get_mut(hash)
            && taken.hints.len() < BacklogNew::HINTS_MAX
            && !taken.hints.contains(&node)
        {
            taken.hints.push(node);
        }
    }

    /// Starts hashes that wait until as many are in flight as may be. `find_peers` starts a lookup.
    pub(super) fn start(
        &mut self,
        now: Duration,
        mut find_peers: impl FnMut(InfoHash, &[SocketAddr], Priority) -> Result<LookupId, Busy>,
        wire: &mut impl FnMut(u32, Slot, Wire<'_>),
    ) {
        while self.jobs.len() < self.bounds.jobs_max {
            let Some(hash) = self.queue.front().copied() else { return };
            let Some(taken) = self.queued.get(&hash) else {
                self.queue.pop_front();
                continue;
            };
            let priority =
                if taken.source == Discovery::Requested { Priority::User } else { Priority::Normal };
            let Ok(lookup) = find_peers(hash, &taken.hints, priority) else { return };
            self.queue.pop_front();
            let Some(mut taken) = self.queued.remove(&hash) else { continue };
            let peers = std::mem::take(&mut taken.peers);
            let id = self.next_job;
            self.next_job = self.next_job.wrapping_add(1);
            self.attempted += 1;
            self.numbers.lookups.attempted += 1;
            self.by_hash.insert(hash, id);
            self.by_lookup.insert(lookup, id);
            self.jobs.insert(id, Job::new(taken, lookup, now));
            for peer in peers {
                self.offer(id, now, Candidate::new(peer, PeerSource::Requested), |_| None, wire);
            }
            for peer in self.announced.take(&hash) {
                self.offer(id, now, Candidate::new(peer, PeerSource::Announced), |_| None, wire);
            }
        }
    }

    /// A peer announced itself to us: it is tried at once if its hash is in flight, and kept for later if not.
    pub(super) fn announced(
        &mut self,
        now: Duration,
        hash: InfoHash,
        peer: SocketAddr,
        wire: &mut impl FnMut(u32, Slot, Wire<'_>),
    ) {
        if let Some(id) = self.by_hash.get(&hash) {
            return self.offer(*id, now, Candidate::new(peer, PeerSource::Announced), |_| None, wire);
        }
        if self.announced.add(hash, peer) && self.queued.contains_key(&hash) {
            // It has a peer that waits for a question: its other place in the queue is passed over.
            self.queue.push_front(hash);
        }
    }

    /// A lookup has found peers. `client_at` is what the DHT knows of the program at an endpoint.
    pub(super) fn peers_found(
        &mut self,
        now: Duration,
        lookup: LookupId,
        from: SocketAddr,
        peers: &[Peer],
        client_at: impl Fn(SocketAddr) -> Option<[u8; 2]>,
        wire: &mut impl FnMut(u32, Slot, Wire<'_>),
    ) {
        let Some(id) = self.by_lookup.get(&lookup).copied() else { return };
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let source = if job.hints.contains(&from) { PeerSource::Sampler } else { PeerSource::Lookup };
        job.told_by(from);
        if !job.is_named && !peers.is_empty() {
            job.is_named = true;
            self.numbers.named_after(now.saturating_sub(job.started));
        }
        for peer in peers {
            let candidate = Candidate {
                addr: peer.addr,
                source,
                other_port: peer.alternative.map(|alternative| alternative.port()),
            };
            self.offer(id, now, candidate, &client_at, wire);
        }
    }

    /// A lookup has ended: no more peers are to come.
    pub(super) fn lookup_done(
        &mut self,
        now: Duration,
        report: &LookupReport,
        wire: &mut impl FnMut(u32, Slot, Wire<'_>),
    ) {
        let Some(id) = self.by_lookup.remove(&report.lookup) else { return };
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.lookup = None;
        let without = if report.outcome == LookupOutcome::TimedOut { LOOKUP_TIME } else { NO_PEERS };
        if job.is_named {
            self.numbers.lookups.succeeded += 1;
        } else {
            self.numbers.lookups.fail(without);
        }
        match job.fetch {
            Some(_) => self.drive(id, now, wire, |fetch, out| fetch.no_more_candidates(now, out)),
            None if !job.named.is_empty() => {}
            None => {
                let reason = if job.rested > 0 { PEERS_REST } else { without };
                if let Some(job) = self.remove(id) {
                    self.settle_failed(job.hash, reason);
                }
            }
        }
    }

    /// Something has happened to a connection.
    pub(super) fn happened(
        &mut self,
        now: Duration,
        id: u32,
        slot: Slot,
        happening: Happening<'_>,
        wire: &mut impl FnMut(u32, Slot, Wire<'_>),
    ) {
        self.drive(id, now, wire, |fetch, out| match happening {
            Happening::Opened => fetch.peer_opened(now, slot, out),
            Happening::Data(bytes) => fetch.peer_data(now, slot, bytes, out),
            Happening::Closed(why) => fetch.peer_closed(now, slot, why, out),
        });
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Duration, wire: &mut impl FnMut(u32, Slot, Wire<'_>)) {
        let due: Vec<u32> = self
            .jobs
            .iter()
            .filter(|(_, job)| {
                let deadline = job.fetch.as_ref().and_then(Fetch::next_deadline);
                deadline.is_some_and(|deadline| deadline <= now)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.drive(id, now, wire, |fetch, out| fetch.tick(now, out));
        }
        self.keep_memory_bounded(now, wire);
        while let Some(id) = self.connects.next(now) {
            if let Some(job) = self.jobs.get_mut(&id) {
                job.waits = false;
                let connects = self.connects.available(now);
                self.drive_with(id, now, connects, wire, |fetch, out| fetch.tick(now, out));
            }
        }
        if now >= self.retime_at {
            self.retime_at = now + RETIME;
            self.retime();
        }
        while self.fetching < self.bounds.fetches_max && self.connects.for_newcomers(now) > 0 {
            let Some(id) = self.ready.pop_front() else { return };
            self.begin(id, now, wire);
        }
    }

    /// Gives everything up. What was in flight or waited stays in the backlog; what was in flight counts as failed.
    pub(super) fn abort(&mut self, now: Duration, wire: &mut impl FnMut(u32, Slot, Wire<'_>)) {
        self.is_ending = true;
        self.queue.clear();
        self.queued.clear();
        self.ready.clear();
        self.connects.clear();
        let ids: Vec<u32> = self.jobs.keys().copied().collect();
        for id in ids {
            self.drive(id, now, wire, |fetch, out| fetch.abort(now, out));
            // Without a fetch it is still there.
            if self.remove(id).is_some() {
                self.count_failed(RUN_ENDED);
            }
        }
    }

    /// How far the hashes are that users wait for.
    pub(super) fn progress(&self) -> Vec<(InfoHash, FetchProgress)> {
        let requested = self.jobs.values().filter(|job| job.is_urgent());
        requested.map(|job| (job.hash, job.progress())).collect()
    }

    /// Lookups that nobody waits for any more, since the last call.
    pub(super) fn cancelled(&mut self) -> Vec<LookupId> {
        std::mem::take(&mut self.cancelled)
    }

    /// What was settled since the last call.
    pub(super) fn settled(&mut self) -> Vec<Settled> {
        std::mem::take(&mut self.settled)
    }

    /// The info dict of a hash is a torrent.
    pub(super) fn count_fetched(&mut self) {
        self.fetched += 1;
        self.numbers.dicts.succeeded += 1;
    }

    /// The info dict of a hash is of no use.
    pub(super) fn count_useless(&mut self, reason: Reason) {
        self.numbers.dicts.fail(reason);
        self.count_failed(reason);
    }

    /// Hashes being fetched from peers.
    pub(super) fn fetching(&self) -> usize {
        self.fetching
    }

    /// Hashes in flight: being looked up, waiting for room, or being fetched.
    pub(super) fn in_flight(&self) -> usize {
        self.jobs.len()
    }

    /// Lookups in flight.
    pub(super) fn lookups(&self) -> usize {
        self.by_lookup.len()
    }

    /// Hashes that wait.
    pub(super) fn waiting(&self) -> usize {
        self.queued.len()
    }

    /// Hashes started since the start of the program.
    pub(super) fn attempted(&self) -> u64 {
        self.attempted
    }

    /// Hashes whose info dict was verified and is one.
    pub(super) fn fetched(&self) -> u64 {
        self.fetched
    }

    /// Hashes that came to nothing, by reason.
    pub(super) fn failed(&self) -> &BTreeMap<Reason, u64> {
        &self.failed
    }

    /// Peers that were named at addresses where nobody can be, or that are not to be spoken to.
    pub(super) fn unusable(&self) -> u64 {
        self.unusable
    }

    /// What peers have told of others (BEP 11), in fetches that have ended.
    pub(super) fn exchange_counts(&self) -> impl Iterator<Item = RunCount> {
        let counters = &self.counters;
        let counts = [
            ("messages", counters.exchanges),
            ("messages refused", counters.exchanges_refused),
            ("peers named", counters.exchanged),
            ("peers kept for it", counters.held),
            ("of them given the info dict", counters.handed_over),
        ];
        counts.into_iter().map(|(name, number)| RunCount {
            about: "peer exchange".to_owned(),
            name: name.to_owned(),
            number: number.into(),
        })
    }

    /// What was counted over all fetches that have ended.
    pub(super) fn counters(&self) -> &FetchCounters {
        &self.counters
    }

    /// What each stage of fetching has come to.
    pub(super) fn stages(&self) -> Vec<RunStage> {
        let live = self.jobs.values().filter_map(|job| job.fetch.as_ref()).flat_map(Fetch::peers);
        self.numbers.stages(self.by_lookup.len(), self.fetching, live)
    }

    /// How long each stage of fetching took.
    pub(super) fn stage_times(&self) -> Vec<StageTimes> {
        self.numbers.times()
    }

    /// Connects allowed in a minute, those made since the start, and the times that a fetch had to wait for one.
    pub(super) fn connects(&self) -> (u32, u64, u64) {
        self.connects.numbers()
    }

    /// What is remembered of endpoints, by what it is: how many, or how often.
    pub(super) fn endpoint_numbers(&self) -> [(&'static str, u64); 4] {
        [
            ("remembered", self.endpoints.len() as u64),
            ("left alone", self.rested),
            ("banned", self.bans.len() as u64),
            ("not asked since banned", self.bans.refused()),
        ]
    }

    fn count_failed(&mut self, reason: Reason) {
        *self.failed.entry(reason).or_default() += 1;
    }

    fn settle_failed(&mut self, hash: InfoHash, reason: Reason) {
        self.count_failed(reason);
        let inconclusive = reason == LOOKUP_TIME;
        self.settled.push(Settled::Failed { hash, reason, inconclusive });
    }

    /// Forgets a job, and its lookup if that is still on.
    fn remove(&mut self, id: u32) -> Option<Job> {
        let job = self.jobs.remove(&id)?;
        if job.fetch.is_some() {
            self.fetching -= 1;
        }
        self.by_hash.remove(&job.hash);
        if let Some(lookup) = job.lookup {
            self.by_lookup.remove(&lookup);
            self.cancelled.push(lookup);
            // A lookup that is not needed any more has done its work, or the run ends.
            if job.is_named {
                self.numbers.lookups.succeeded += 1;
            } else {
                self.numbers.lookups.fail(if self.is_ending { RUN_ENDED } else { NOT_NEEDED });
            }
        }
        Some(job)
    }
}
