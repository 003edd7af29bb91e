//! From an info-hash to a verified info dict: the lookups and fetches in flight.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bittorrent::{
    Action, Candidate, CloseHow, ConnectFailure, FailReason, Fetch, FetchConfig, FetchCounters, Handover,
    Output, PeerOutcome, PeerSource, Slot, Stage, Transport,
};
use krpc::InfoHash;
use mainline::{Busy, LookupId, LookupOutcome, LookupReport, Peer, Priority, bogon::AddressFilter};

use super::{connections::Happening, endpoint_memory::EndpointMemory};
use crate::db::{BacklogNew, Discovery, FetchProgress, RunCount, Taken};

/// Hashes with announced peers that are kept until they are fetched: 10,000 of some 200 bytes.
const ANNOUNCED_MAX: usize = 10_000;

/// Announced peers kept per hash: more than are tried at once.
const ANNOUNCED_PEERS_MAX: usize = 8;

/// Nodes remembered of a job as knowing its peers: more are not asked how many there are.
const TELLERS_MAX: usize = 4;

/// Peers kept of a job that waits for room.
const NAMED_MAX: usize = 32;

/// The bounds of the resolver.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResolverBounds {
    /// Hashes in flight. A lookup mostly waits: for answers, and for nodes that may be asked once a second only.
    pub(super) jobs_max: usize,
    /// Of them, hashes being fetched: these hold sockets.
    pub(super) fetches_max: usize,
    /// Bytes that peers of all fetches may cause to be held.
    pub(super) bytes_max: usize,
}

/// Why a hash came to nothing: what is counted, shown and stored.
pub(super) type Reason = &'static str;

/// Nobody named a peer.
const NO_PEERS: Reason = "no peers found";

/// Nobody named a peer before the time of the lookup was over: the nodes to ask were busy with other hashes.
const LOOKUP_TIME: Reason = "lookup timed out";

/// Every peer that was named had failed a moment ago.
const PEERS_REST: Reason = "all peers failed lately";

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

/// A hash in flight: its lookup, its fetch, or both.
#[derive(Debug)]
struct Job {
    hash: InfoHash,
    source: Discovery,
    hints: Vec<SocketAddr>,
    /// Nodes that have named peers.
    tellers: Vec<SocketAddr>,
    lookup: Option<LookupId>,
    /// Peers that wait for the fetch to begin.
    named: Vec<Candidate>,
    /// Begins when a peer is known and there is room: its time does not run before.
    fetch: Option<Fetch>,
    rested: u32,
}

impl Job {
    fn progress(&self) -> FetchProgress {
        let looking = self.lookup.is_some();
        let Some(fetch) = &self.fetch else {
            return FetchProgress { peers: self.named.len() as u32, looking, ..FetchProgress::default() };
        };
        let counters = fetch.counters();
        let mut transports: Vec<String> = fetch
            .connections()
            .filter(|(_, stage)| *stage > Stage::Connect)
            .map(|(transport, _)| transport.label().to_owned())
            .collect();
        transports.sort_unstable();
        transports.dedup();
        FetchProgress {
            peers: counters.candidates,
            connects: counters.connects,
            transports,
            bytes: fetch.received_bytes(),
            pieces: counters.pieces,
            looking,
        }
    }
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
    announced: HashMap<InfoHash, Vec<SocketAddr>>,
    announced_order: VecDeque<InfoHash>,
    endpoints: EndpointMemory,
    out: Output,
    settled: Vec<Settled>,
    cancelled: Vec<LookupId>,
    counters: FetchCounters,
    attempted: u64,
    fetched: u64,
    failed: BTreeMap<Reason, u64>,
    unusable: u64,
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
            announced: HashMap::new(),
            announced_order: VecDeque::new(),
            endpoints: EndpointMemory::default(),
            out: Output::new(),
            settled: Vec::new(),
            cancelled: Vec::new(),
            counters: FetchCounters::default(),
            attempted: 0,
            fetched: 0,
            failed: BTreeMap::new(),
            unusable: 0,
        }
    }

    /// Takes hashes that came from the backlog.
    pub(super) fn enqueue(&mut self, taken: impl IntoIterator<Item = Taken>) {
        for taken in taken {
            let hash = taken.info_hash;
            let requested = taken.source == Discovery::Requested;
            if !self.by_hash.contains_key(&hash) && self.queued.insert(hash, taken).is_none() {
                match requested {
                    // Somebody waits for it.
                    true => self.queue.push_front(hash),
                    false => self.queue.push_back(hash),
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
            let Some(Taken { source, hints, peers, .. }) = self.queued.remove(&hash) else { continue };
            let id = self.next_job;
            self.next_job = self.next_job.wrapping_add(1);
            self.attempted += 1;
            self.by_hash.insert(hash, id);
            self.by_lookup.insert(lookup, id);
            let named = Vec::new();
            self.jobs.insert(
                id,
                Job {
                    hash,
                    source,
                    hints,
                    tellers: Vec::new(),
                    lookup: Some(lookup),
                    named,
                    fetch: None,
                    rested: 0,
                },
            );
            for peer in peers {
                self.offer(id, now, Candidate::new(peer, PeerSource::Requested), wire);
            }
            for peer in self.announced.remove(&hash).unwrap_or_default() {
                self.offer(id, now, Candidate::new(peer, PeerSource::Announced), wire);
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
            return self.offer(*id, now, Candidate::new(peer, PeerSource::Announced), wire);
        }
        if self.announced.len() >= ANNOUNCED_MAX
            && let Some(oldest) = self.announced_order.pop_front()
        {
            self.announced.remove(&oldest);
        }
        if !self.announced.contains_key(&hash) && self.queued.contains_key(&hash) {
            // It has a peer that waits for a question: its other place in the queue is passed over.
            self.queue.push_front(hash);
        }
        let peers = self.announced.entry(hash).or_insert_with(|| {
            self.announced_order.push_back(hash);
            Vec::new()
        });
        if peers.len() < ANNOUNCED_PEERS_MAX && !peers.contains(&peer) {
            peers.push(peer);
        }
        // Hashes that were started have left their place in the order behind.
        if self.announced_order.len() > 2 * ANNOUNCED_MAX {
            let announced = &self.announced;
            self.announced_order.retain(|hash| announced.contains_key(hash));
        }
    }

    /// A lookup has found peers.
    pub(super) fn peers_found(
        &mut self,
        now: Duration,
        lookup: LookupId,
        from: SocketAddr,
        peers: &[Peer],
        wire: &mut impl FnMut(u32, Slot, Wire<'_>),
    ) {
        let Some(id) = self.by_lookup.get(&lookup).copied() else { return };
        let Some(job) = self.jobs.get(&id) else { return };
        let source = if job.hints.contains(&from) { PeerSource::Sampler } else { PeerSource::Lookup };
        if let Some(job) = self.jobs.get_mut(&id)
            && job.tellers.len() < TELLERS_MAX
            && !job.tellers.contains(&from)
        {
            job.tellers.push(from);
        }
        for peer in peers {
            let candidate = Candidate {
                addr: peer.addr,
                source,
                other_port: peer.alternative.map(|alternative| alternative.port()),
            };
            self.offer(id, now, candidate, wire);
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
        match &mut job.fetch {
            Some(fetch) => {
                fetch.no_more_candidates(now, &mut self.out);
                self.carry_out(id, now, wire);
            }
            None if !job.named.is_empty() => {}
            None => {
                let reason = match report.outcome {
                    _ if job.rested > 0 => PEERS_REST,
                    LookupOutcome::TimedOut => LOOKUP_TIME,
                    _ => NO_PEERS,
                };
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
        let Some(fetch) = self.jobs.get_mut(&id).and_then(|job| job.fetch.as_mut()) else { return };
        match happening {
            Happening::Opened => fetch.peer_opened(now, slot, &mut self.out),
            Happening::Data(bytes) => fetch.peer_data(now, slot, bytes, &mut self.out),
            Happening::Closed(why) => fetch.peer_closed(now, slot, why, &mut self.out),
        }
        self.carry_out(id, now, wire);
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
            if let Some(fetch) = self.jobs.get_mut(&id).and_then(|job| job.fetch.as_mut()) {
                fetch.tick(now, &mut self.out);
                self.carry_out(id, now, wire);
            }
        }
        self.keep_memory_bounded(now, wire);
        while self.fetching < self.bounds.fetches_max {
            let Some(id) = self.ready.pop_front() else { return };
            self.begin(id, now, wire);
        }
    }

    /// Gives everything up. What was in flight or waited stays in the backlog; what was in flight counts as failed.
    pub(super) fn abort(&mut self, now: Duration, wire: &mut impl FnMut(u32, Slot, Wire<'_>)) {
        self.queue.clear();
        self.queued.clear();
        self.ready.clear();
        let ids: Vec<u32> = self.jobs.keys().copied().collect();
        for id in ids {
            self.count_failed(RUN_ENDED);
            if let Some(fetch) = self.jobs.get_mut(&id).and_then(|job| job.fetch.as_mut()) {
                fetch.abort(now, &mut self.out);
                for action in self.out.drain() {
                    if let Action::Close { slot, how } = action {
                        wire(id, slot, Wire::Close(how));
                    }
                }
                self.counters.merge(fetch.counters());
            }
        }
        self.jobs.clear();
        self.fetching = 0;
        self.by_hash.clear();
        self.cancelled.extend(std::mem::take(&mut self.by_lookup).into_keys());
    }

    /// How far the hashes are that users wait for.
    pub(super) fn progress(&self) -> Vec<(InfoHash, FetchProgress)> {
        let requested = self.jobs.values().filter(|job| job.source == Discovery::Requested);
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
    }

    /// The hash came to nothing after its info dict was verified.
    pub(super) fn count_failed(&mut self, reason: Reason) {
        *self.failed.entry(reason).or_default() += 1;
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

    /// Bytes that peers have caused to be held.
    fn bytes_held(&self) -> usize {
        self.jobs.values().filter_map(|job| job.fetch.as_ref()).map(Fetch::bytes_held).sum()
    }

    fn offer(
        &mut self,
        id: u32,
        now: Duration,
        candidate: Candidate,
        wire: &mut impl FnMut(u32, Slot, Wire<'_>),
    ) {
        if !self.may_be_tried(id, &candidate, now) {
            return;
        }
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if let Some(fetch) = &mut job.fetch {
            fetch.add_candidate(now, candidate, &mut self.out);
            return self.carry_out(id, now, wire);
        }
        if job.named.len() >= NAMED_MAX || job.named.iter().any(|named| named.addr == candidate.addr) {
            return;
        }
        job.named.push(candidate);
        if job.named.len() > 1 {
            return;
        }
        if self.fetching < self.bounds.fetches_max && self.ready.is_empty() {
            self.begin(id, now, wire);
        } else {
            self.ready.push_back(id);
        }
    }

    /// A peer of a fetch has named another one.
    fn offer_exchanged(
        &mut self,
        id: u32,
        now: Duration,
        candidate: Candidate,
        hint: Option<Transport>,
        wire: &mut impl FnMut(u32, Slot, Wire<'_>),
    ) {
        if !self.may_be_tried(id, &candidate, now) {
            return;
        }
        let Some(fetch) = self.jobs.get_mut(&id).and_then(|job| job.fetch.as_mut()) else { return };
        fetch.add_candidate_by(now, candidate, hint, &mut self.out);
        self.carry_out(id, now, wire);
    }

    /// Whether a peer is one to be spoken to; counts it if not.
    fn may_be_tried(&mut self, id: u32, candidate: &Candidate, now: Duration) -> bool {
        let Some(job) = self.jobs.get_mut(&id) else { return false };
        let elsewhere = self.loopback_only && !candidate.addr.ip().to_canonical().is_loopback();
        if elsewhere || self.filter.check(candidate.addr).is_err() {
            self.unusable += 1;
            return false;
        }
        let rests = self.endpoints.rests(&candidate.addr, now);
        job.rested += u32::from(rests);
        !rests
    }

    /// Begins the fetch of a job with the peers named so far.
    fn begin(&mut self, id: u32, now: Duration, wire: &mut impl FnMut(u32, Slot, Wire<'_>)) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let named = std::mem::take(&mut job.named);
        let lookup_is_over = job.lookup.is_none();
        let fetch = job.fetch.insert(Fetch::new(job.hash, Arc::clone(&self.config), now));
        self.fetching += 1;
        for candidate in named {
            fetch.add_candidate(now, candidate, &mut self.out);
        }
        if lookup_is_over {
            fetch.no_more_candidates(now, &mut self.out);
        }
        self.carry_out(id, now, wire);
    }

    /// Gives up the fetches that hold most while all together hold more than they may: it takes many peers that
    /// send much and finish nothing.
    fn keep_memory_bounded(&mut self, now: Duration, wire: &mut impl FnMut(u32, Slot, Wire<'_>)) {
        while self.bytes_held() > self.bounds.bytes_max {
            let held = |job: &Job| job.fetch.as_ref().map_or(0, Fetch::bytes_held);
            let Some(id) = self.jobs.iter().max_by_key(|(_, job)| held(job)).map(|(id, _)| *id) else {
                return;
            };
            let Some(fetch) = self.jobs.get_mut(&id).and_then(|job| job.fetch.as_mut()) else { return };
            fetch.abort(now, &mut self.out);
            self.carry_out(id, now, wire);
        }
    }

    /// Takes out what a fetch wants done, and does it.
    fn carry_out(&mut self, id: u32, now: Duration, wire: &mut impl FnMut(u32, Slot, Wire<'_>)) {
        let (mut over, mut told) = (None, Vec::new());
        for action in self.out.drain() {
            match action {
                Action::Connect { slot, addr, timeout, transport } => {
                    wire(id, slot, Wire::Connect { addr, timeout, transport });
                }
                Action::Write { slot, bytes } => wire(id, slot, Wire::Write(bytes)),
                Action::Close { slot, how } => wire(id, slot, Wire::Close(how)),
                Action::Report(report) => {
                    if report.reached > Stage::Connect {
                        self.endpoints.connected(&report.addr);
                    } else if let PeerOutcome::ConnectFailed(failure) = report.outcome
                        && failure != ConnectFailure::Overload
                        && !report.more_follows
                    {
                        self.endpoints.failed(report.addr, now);
                    }
                }
                Action::Liar(addr) => {
                    // Twice: once is forgiven, and this is no accident.
                    self.endpoints.failed(addr, now);
                    self.endpoints.failed(addr, now);
                }
                Action::Exchanged { candidate, hint } => told.push((candidate, hint)),
                Action::Done(fetched) => over = Some(Ok(fetched.raw)),
                Action::Failed(failure) => over = Some(Err(failure)),
            }
        }
        let Some(result) = over else {
            for (candidate, hint) in told {
                self.offer_exchanged(id, now, candidate, hint, wire);
            }
            return;
        };
        let Some(mut job) = self.remove(id) else { return };
        let handovers = job.fetch.as_mut().map(Fetch::handovers).unwrap_or_default();
        if let Some(fetch) = &job.fetch {
            self.counters.merge(fetch.counters());
        }
        match result {
            Ok(raw) => {
                let mut nodes = job.tellers;
                nodes.extend(job.hints);
                let (hash, source) = (job.hash, job.source);
                self.settled.push(Settled::Fetched { hash, source, nodes, raw, job: id, handovers });
            }
            Err(failure) => {
                let reason = match (failure.reason, failure.best) {
                    (_, Some(outcome)) => outcome.label(),
                    (FailReason::NoCandidates, None) => NO_PEERS,
                    (reason, None) => reason.label(),
                };
                self.settle_failed(job.hash, reason);
            }
        }
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
        }
        Some(job)
    }
}
