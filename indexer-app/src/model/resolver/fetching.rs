//! The fetches in flight: which peers they are offered, when they begin, what they may do, and what becomes of them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bittorrent::{Action, Candidate, FailReason, Fetch, FetchConfig, Output, Slot, Stage, Transport};

use super::{NO_PEERS, RUN_ENDED, Resolver, Settled, Wire, job::Job};

impl Resolver {
    /// Bytes that peers have caused to be held.
    fn bytes_held(&self) -> usize {
        self.jobs.values().filter_map(|job| job.fetch.as_ref()).map(Fetch::bytes_held).sum()
    }

    pub(super) fn offer(
        &mut self,
        id: u32,
        now: Duration,
        candidate: Candidate,
        client_at: impl Fn(SocketAddr) -> Option<[u8; 2]>,
        wire: &mut impl FnMut(u32, Slot, Wire<'_>),
    ) {
        if !self.may_be_tried(id, &candidate, now) {
            return;
        }
        let hint = self.endpoints.hint(canonical(candidate.addr), client_at);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.fetch.is_some() {
            self.drive(id, now, wire, |fetch, out| {
                fetch.add_candidate_by(now, candidate, hint, out);
            });
        } else if job.keep(candidate, hint) {
            let room = self.fetching < self.bounds.fetches_max && self.connects.for_newcomers(now) > 0;
            let urgent = job.is_urgent();
            if room && (urgent || self.ready.is_empty()) {
                self.begin(id, now, wire);
            } else if urgent {
                self.ready.push_front(id);
            } else {
                self.ready.push_back(id);
            }
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
        let known = self.endpoints.hint(canonical(candidate.addr), |_| None);
        self.drive(id, now, wire, |fetch, out| {
            fetch.add_candidate_by(now, candidate, known.or(hint), out);
        });
    }

    /// Whether a peer is one to be spoken to; counts it if not.
    fn may_be_tried(&mut self, id: u32, candidate: &Candidate, now: Duration) -> bool {
        let addr = canonical(candidate.addr);
        let elsewhere = self.loopback_only && !addr.ip().is_loopback();
        if elsewhere || self.filter.check(addr).is_err() {
            self.unusable += 1;
            return false;
        }
        let rests = self.bans.refuses(&addr, now) || self.endpoints.rests(&addr, now);
        let Some(job) = self.jobs.get_mut(&id) else { return false };
        job.rested += u32::from(rests);
        self.rested += u64::from(rests);
        !rests
    }

    /// Begins the fetch of a job with the peers named so far.
    pub(super) fn begin(&mut self, id: u32, now: Duration, wire: &mut impl FnMut(u32, Slot, Wire<'_>)) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let named = std::mem::take(&mut job.named);
        let lookup_is_over = job.lookup.is_none();
        job.fetch = Some(Fetch::new(job.hash, Arc::clone(&self.config), now));
        self.fetching += 1;
        self.numbers.fetches.attempted += 1;
        self.drive(id, now, wire, |fetch, out| {
            for (candidate, hint) in named {
                fetch.add_candidate_by(now, candidate, hint, out);
            }
            if lookup_is_over {
                fetch.no_more_candidates(now, out);
            }
        });
    }

    /// How long a connect may take follows how long connects take; for fetches that begin from now on.
    pub(super) fn retime(&mut self) {
        if let Some(timeout) = self.connect_times.timeout()
            && timeout != self.config.peer.connect_timeout
        {
            let mut config = FetchConfig::clone(&self.config);
            config.peer.connect_timeout = timeout;
            self.config = Arc::new(config);
        }
    }

    /// Gives up the fetches that hold most while all together hold more than they may: it takes many peers that
    /// send much and finish nothing.
    pub(super) fn keep_memory_bounded(&mut self, now: Duration, wire: &mut impl FnMut(u32, Slot, Wire<'_>)) {
        while self.bytes_held() > self.bounds.bytes_max {
            let held = |job: &Job| job.fetch.as_ref().map_or(0, Fetch::bytes_held);
            let Some(id) = self.jobs.iter().max_by_key(|(_, job)| held(job)).map(|(id, _)| *id) else {
                return;
            };
            self.drive(id, now, wire, |fetch, out| fetch.abort(now, out));
        }
    }

    /// Lets a fetch do something, with as many connects as are left to it.
    pub(super) fn drive(
        &mut self,
        id: u32,
        now: Duration,
        wire: &mut impl FnMut(u32, Slot, Wire<'_>),
        act: impl FnOnce(&mut Fetch, &mut Output),
    ) {
        let connects = self.connects.for_newcomers(now);
        self.drive_with(id, now, connects, wire, act);
    }

    /// Lets a fetch do something with at most so many connects, and does what it wants done.
    pub(super) fn drive_with(
        &mut self,
        id: u32,
        now: Duration,
        connects: u32,
        wire: &mut impl FnMut(u32, Slot, Wire<'_>),
        act: impl FnOnce(&mut Fetch, &mut Output),
    ) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Some(fetch) = job.fetch.as_mut() else { return };
        self.out.allow_connects(connects);
        act(fetch, &mut self.out);
        if fetch.awaits_connect() && !job.waits {
            job.waits = true;
            self.connects.wait(id, job.is_urgent());
        }
        let (mut over, mut told) = (None, Vec::new());
        for action in self.out.drain() {
            match action {
                Action::Connect { slot, addr, timeout, transport } => {
                    self.connects.spend(now);
                    self.numbers.connect(transport);
                    wire(id, slot, Wire::Connect { addr, timeout, transport });
                }
                Action::Write { slot, bytes } => wire(id, slot, Wire::Write(bytes)),
                Action::Close { slot, how } => wire(id, slot, Wire::Close(how)),
                Action::Report(report) => {
                    self.numbers.ended(&report);
                    self.endpoints.ended(&report, now);
                    if let Some(time) = report.stages.first().filter(|_| report.reached > Stage::Connect) {
                        self.connect_times.took(*time);
                    }
                }
                Action::Exchanged { candidate, hint } => told.push((candidate, hint)),
                Action::Liar(addr) => self.bans.lied(addr, now),
                Action::Done(fetched) => over = Some(Ok(fetched)),
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
            Ok(fetched) => {
                self.numbers.fetches.succeeded += 1;
                self.numbers.fetched_after(fetched.lasted);
                self.numbers.dicts.attempted += 1;
                let mut nodes = job.tellers;
                nodes.extend(job.hints);
                let (hash, source, raw) = (job.hash, job.source, fetched.raw);
                self.settled.push(Settled::Fetched { hash, source, nodes, raw, job: id, handovers });
            }
            Err(failure) if failure.reason == FailReason::Aborted && self.is_ending => {
                self.numbers.fetches.fail(RUN_ENDED);
                self.count_failed(RUN_ENDED);
            }
            Err(failure) => {
                let reason = match (failure.reason, failure.best) {
                    (_, Some(outcome)) => outcome.label(),
                    (FailReason::NoCandidates, None) => NO_PEERS,
                    (reason, None) => reason.label(),
                };
                self.numbers.fetches.fail(reason);
                self.settle_failed(job.hash, reason);
            }
        }
    }
}

/// One host, one name: an IPv4 address may come in the clothes of IPv6.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}
