//! The model and its update.

mod answers;
mod presence;

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bittorrent::{Slot, Transport};
use krpc::InfoHash;
use mainline::{Action, Dht, Event, HashSource, Output, OwnIds, PacketUse, PortIndex, bogon::AddressFilter};
use tea_runtime::{Cmd, Context, Program, Signal, StreamEvent, Sub, SubEvent, TcpPort, Time, UdpPort};

use super::{
    connections::{Connections, Happening, UtpEvent, disconnect, visitor_limits},
    disk_guard::{DiskGuard, Turn},
    giver::{Giver, VISITORS_MAX},
    intake::{Intake, Seen},
    learning::Learning,
    message::{Answer, AppEffect, Key, Msg},
    plan::{Ending, Flags, Plan},
    records::{new_torrent, visit},
    reindexing::{self, Reindexing},
    report::Report,
    resolver::{Resolver, ResolverBounds, Settled, Wire},
    retention::Retention,
    scraper::Scraper,
    storage::{Backlog, Storage, effect},
};
use crate::db::{
    Announce, BacklogRelease, BacklogRenew, BacklogSize, BacklogTake, BacklogTakeThese, ClaimSlices,
    DecayPopularity, Discovery, DropInfoDicts, Failure, LearnPathWords, LearnWords, LoadInfoDict,
    NewInfoDict, Reindex, RunEnd, RunProgress, RunReport, SaveProgress, SaveRunCounts, ScrapesDue, Tidy,
    VOCABULARY_MAX,
};

/// How often what is due is done. 25 ms is far below the pace of one query a second to a remote, and costs a
/// thousandth of a core.
const PACE: Duration = Duration::from_millis(25);

/// Seconds between two looks at the size of the backlog: 20 ms of the database's time for each million.
const COUNT_EVERY: u64 = 3;

/// Room for a datagram: one byte more than the DHT reads, so that a longer one is known as such and not by its
/// missing end.
const DATAGRAM_BYTES: usize = 4_097;

/// Seconds between two reports of the run into the database.
const REPORT_EVERY: u64 = 10;

/// Seconds between two removals of what the database keeps beyond its bounds.
const TIDY_EVERY: u64 = 600;

/// Names whose words are learned at a time: a thousand take about 10 ms of the database's time.
const LEARNED_MAX: u32 = 1_000;

/// Seconds between two looks for words of new names, which are only asked when a search was in vain.
const LEARN_EVERY: u64 = 30;

/// Seconds between two looks for words of new paths: so long they are not found by their beginnings.
const PATHS_LEARN_EVERY: u64 = 5;

/// Torrents whose paths are read at a time: a tenth of a second, in which nothing new is fetched that would wait for it.
const PATHS_LEARNED_MAX: u32 = 2_000;

/// Seconds between two looks for popular torrents whose size is not known, while none waits to be asked about.
const POPULAR_EVERY: u64 = 60;

/// Popular torrents taken note of at a time: some were tried lately.
const POPULAR_LOOKED_AT: u32 = 1_000;

/// Torrents whose popularity is lowered at a time.
const DECAY_MAX: u32 = 5_000;

/// How long the addresses of bootstrap nodes hold before their names are looked up again, while no contact is known.
const BOOTSTRAP_AGAIN: Duration = Duration::from_secs(30);

/// How long a hash from the backlog is ours, from when it was taken or its lease was renewed. A program that dies gives them
/// back at its next start, or so late.
const LEASE: Duration = Duration::from_secs(900);

/// How long a slice of the keyspace is ours, from when it was claimed or renewed.
const SLICE_LEASE: Duration = Duration::from_secs(60);

/// Seconds between two claims: what another indexer gives up is taken over within so long.
const CLAIM_EVERY: u64 = 5;

/// Seconds between two renewals of the leases: two may be lost before a lease is.
const RENEW_EVERY: u64 = 240;

/// Hashes being looked up for each that is fetched. A lookup costs a few hundred bytes and waits for most of its time.
pub const LOOKUPS_PER_FETCH: usize = 10;

/// uTP connections of one port for each fetch: four peers, and those of earlier fetches that are being closed.
const UTP_CONNECTIONS_PER_FETCH: usize = 8;

/// Bytes that all fetches together may hold: 256 MiB, and at least two of the largest info dicts.
const FETCH_BYTES_MAX: usize = 256 << 20;

/// How long it may take until a first node answers; after that hashes are tried with the peers that their user has named.
const JOINS_WITHIN: Duration = Duration::from_secs(3);

/// How long the info dict of a torrent is kept that a user asked for, where others are not kept at all.
const REQUESTED_KEPT_FOR: Duration = Duration::from_secs(86_400);

/// How long the backlog is left alone after it had nothing due.
const BACKLOG_REST: Duration = Duration::from_secs(1);

/// How long a graceful stop may take before the program ends without the last acknowledgements.
const GRACE: Duration = Duration::from_secs(8);

/// What an announce adds to the score of a torrent: one.
const ANNOUNCE_WEIGHT: f64 = 1.0;

/// What a question for its peers adds: less, since crawlers like us ask too.
const QUESTION_WEIGHT: f64 = 0.25;

/// The model.
#[derive(Debug)]
pub struct Indexer {
    dht: Dht,
    ids: OwnIds,
    /// External addresses of which it was said that libtorrent ignores them; there are a few in the life of a program.
    warned: BTreeSet<IpAddr>,
    out: Output,
    spare: Output,
    intake: Intake,
    resolver: Resolver,
    connections: Connections,
    scraper: Scraper,
    reindexing: Reindexing,
    giver: Giver,
    storage: Storage,
    retention: Retention,
    report: Report,
    plan: Plan,
    ports: Vec<SocketAddr>,
    bound: Vec<bool>,
    ending: Ending,
    /// The last report of the run, once it is on its way.
    closing: Closing,
    taking: bool,
    backlog_rests_until: Time,
    /// Nothing was due when it was last asked, and nothing was put into it since; to be read while it is not being asked.
    backlog_is_drained: bool,
    reporting: bool,
    /// Users are being told how far their fetches are.
    telling: bool,
    /// Of [`Plan::only`], what is not stored yet.
    wanted: Option<Vec<InfoHash>>,
    /// Names of bootstrap nodes that are being looked up.
    names_pending: usize,
    seconds: u64,
    /// Words of names.
    learning: Learning,
    /// Words of paths.
    learning_paths: Learning,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    NotYet,
    Tallying,
    Tallied,
    Reporting,
    Done,
}

impl Program for Indexer {
    type Flags = Flags;
    type Msg = Msg;
    type Key = Key;
    type Effect = AppEffect;

    fn init(flags: Flags, cx: &Context, cmd: &mut Cmd<Self>) -> Self {
        let Flags { mut dht, ids, ports, fetch, known, torrents, backlog, plan } = flags;
        let now = cx.now.since_start();
        let virtual_nodes = dht.virtual_nodes().count();
        // Peers may well be at our own address: other programs may run there.
        let filter = AddressFilter::new([], plan.loopback_only);
        for node in &known {
            dht.add_known(now, node);
        }
        let bounds = ResolverBounds {
            jobs_max: plan.fetches.saturating_mul(LOOKUPS_PER_FETCH),
            fetches_max: plan.fetches,
            bytes_max: FETCH_BYTES_MAX.max(2 * fetch.fetch_bytes_max),
            connects_per_minute: plan.connects_per_minute,
        };
        let utp = fetch.transports.allowed.iter().any(Transport::is_utp).then_some(plan.utp);
        let connections = Connections::new(
            plan.connect_from.clone(),
            &ports,
            utp,
            plan.fetches.saturating_mul(UTP_CONNECTIONS_PER_FETCH),
            if plan.accept.is_empty() { 0 } else { VISITORS_MAX },
            plan.loopback_only,
        );
        let mut model = Self {
            connections,
            dht,
            ids,
            warned: BTreeSet::new(),
            out: Output::new(),
            spare: Output::new(),
            intake: Intake::default(),
            resolver: Resolver::new(fetch, filter, bounds, plan.loopback_only),
            scraper: Scraper::default(),
            reindexing: Reindexing::default(),
            giver: Giver::new(&plan.giving),
            storage: Storage::new(
                plan.run,
                plan.owner.clone(),
                Backlog::new(backlog, plan.tidy.backlog_rows_max),
                DiskGuard::new(plan.disk.free_min),
            ),
            retention: Retention::new(plan.run, plan.quotas),
            report: Report::new(virtual_nodes, torrents, plan.fetches),
            bound: vec![false; ports.len()],
            ports,
            ending: Ending::Running,
            closing: Closing::NotYet,
            taking: false,
            backlog_rests_until: Time::ZERO,
            backlog_is_drained: false,
            reporting: false,
            telling: false,
            wanted: plan.only.clone(),
            names_pending: 0,
            seconds: 0,
            learning: Learning::every(LEARN_EVERY),
            learning_paths: Learning::every(PATHS_LEARN_EVERY),
            plan,
        };
        if let Some(duration) = model.plan.duration {
            cmd.after(Key::End, duration, Msg::End, cx);
        }
        model.warn_of_ignored_addresses();
        model.move_later(cx, cmd);
        model.look_up_bootstrap(cx, cmd);
        model
    }

    fn update(&mut self, msg: Msg, cx: &Context, cmd: &mut Cmd<Self>) {
        let now = cx.now.since_start();
        match msg {
            // What arrives while it ends would have to be stored too, and the end would not come.
            Msg::Datagram(..) if self.ending != Ending::Running => {}
            Msg::Datagram(Key::Port(port), datagram) if self.connections.utp.takes(datagram.payload()) => {
                self.connections.utp.datagram(now, port, datagram.from(), datagram.payload());
            }
            Msg::Datagram(Key::Port(port), datagram) => {
                self.dht.receive(now, PortIndex(port), datagram.from(), datagram.payload(), &mut self.out);
                self.carry_out(cx, cmd);
            }
            Msg::Datagram(..) => {}
            Msg::Pace => {
                if self.bound.iter().all(|bound| *bound) && self.ending == Ending::Running {
                    self.dht.tick(now, &mut self.out);
                    self.carry_out(cx, cmd);
                }
                self.resolver
                    .tick(now, &mut |job, slot, wire| self.connections.carry(now, cmd, job, slot, wire));
                self.giver.tick(now);
                self.connections.utp.send_waiting(now, cmd);
                self.go_on(cx, cmd);
            }
            Msg::Utp => self.connections.utp.tick(now),
            Msg::Second => self.every_second(cx, cmd),
            Msg::Visitor(incoming) => {
                if self.ending == Ending::Running
                    && let Some(key) = self.giver.admit(incoming.peer().ip(), now)
                {
                    cmd.accept(key, incoming, visitor_limits(), Msg::Stream);
                }
            }
            Msg::Stream(key, StreamEvent::Opened { .. }) => self.happened(key, Happening::Opened, cx, cmd),
            Msg::Stream(key, StreamEvent::Data(bytes)) => {
                self.happened(key, Happening::Data(&bytes), cx, cmd);
            }
            Msg::Stream(key, StreamEvent::Closed(reason)) => {
                self.happened(key, Happening::Closed(disconnect(&reason)), cx, cmd);
            }
            Msg::Stream(..) => {}
            Msg::Port(event) => self.port(event, cx, cmd),
            Msg::Signal(Signal::Hangup) => {}
            Msg::Signal(_) => self.stop(Ending::Signal, cx, cmd),
            Msg::End => self.stop(Ending::TimeOver, cx, cmd),
            Msg::Grace => {
                tracing::warn!(
                    "the database did not acknowledge everything in time; what is missing is fetched again"
                );
                cmd.quit();
            }
            Msg::Resolved { name, result } => {
                self.names_pending = self.names_pending.saturating_sub(1);
                match result {
                    Ok(addresses) => {
                        self.report.names_found += 1;
                        for address in addresses {
                            self.dht.add_bootstrap(now, address);
                        }
                    }
                    Err(error) => {
                        self.report.names_failed += 1;
                        tracing::warn!(%name, %error, "a bootstrap node's name could not be looked up");
                    }
                }
            }
            Msg::MoveNode => self.move_a_node(cx, cmd),
            Msg::Bootstrap => self.look_up_bootstrap(cx, cmd),
            Msg::DiskFree(Ok(free)) => self.storage.disk.looked(free),
            Msg::DiskFree(Err(error)) => {
                tracing::debug!(%error, "nobody knows how much of the disk is free");
            }
            Msg::Database(answer) => {
                self.database(answer, cx);
                self.go_on(cx, cmd);
            }
        }
        self.give(now, cmd);
        if !self.connections.utp.is_idle() {
            self.carry_out_utp(cx, cmd);
        }
    }

    fn subscriptions(&self, sub: &mut Sub<Self>) {
        for (index, address) in self.ports.iter().enumerate() {
            let port = UdpPort { datagram_bytes_max: DATAGRAM_BYTES, ..UdpPort::new(*address) };
            sub.udp(Key::Port(index as u16), port, Msg::Datagram);
        }
        for (index, address) in self.plan.accept.iter().enumerate() {
            sub.listen(Key::Door(index as u16), TcpPort::new(*address), |_, incoming| Msg::Visitor(incoming));
        }
        sub.every(Key::Pace, PACE, |_, _| Msg::Pace);
        sub.every(Key::Second, Duration::from_secs(1), |_, _| Msg::Second);
        sub.signals(Key::Signals, |_, signal| Msg::Signal(signal));
        sub.events(Key::Ports, |_, event| Msg::Port(event));
    }
}

impl Indexer {
    /// Why it ended.
    pub fn ending(&self) -> &Ending {
        &self.ending
    }

    /// What the run has come to, a line for each kind of work.
    pub fn summary(&self) -> String {
        self.report.summary(&self.ending, &self.resolver, &self.dht, &self.storage, &self.intake)
    }

    /// The DHT, to look at.
    pub fn dht(&self) -> &Dht {
        &self.dht
    }

    /// Sends what the DHT wants sent and acts on what it has found, until nothing is left.
    fn carry_out(&mut self, cx: &Context, cmd: &mut Cmd<Self>) {
        // Two buffers take turns: acting on an event may make the DHT write again.
        while !self.out.is_empty() {
            let mut out = std::mem::replace(&mut self.out, std::mem::take(&mut self.spare));
            for action in out.actions() {
                let Action::Send { port, to, payload } = action;
                if self.plan.loopback_only && !to.ip().to_canonical().is_loopback() {
                    self.report.withheld += 1;
                    continue;
                }
                cmd.send(Key::Port(port.0), to, |buffer| buffer.extend_from_slice(payload));
            }
            for event in out.events() {
                self.event(&event, cx, cmd);
            }
            out.clear();
            self.spare = out;
        }
    }

    fn event(&mut self, event: &Event<'_>, cx: &Context, cmd: &mut Cmd<Self>) {
        let now = cx.now.since_start();
        let mut wire = |job, slot, wire: Wire<'_>| self.connections.carry(now, cmd, job, slot, wire);
        match event {
            Event::Hash { info_hash, source } => match source {
                HashSource::Sampled { by } => self.see(*info_hash, Discovery::Sampled, Some(by.addr), cx),
                HashSource::GetPeers { .. } => {
                    self.see(*info_hash, Discovery::Overheard, None, cx);
                    self.announce(*info_hash, QUESTION_WEIGHT, cx);
                }
                // The title that an announce may claim is dropped: anybody can claim any, and the info dict has the right one.
                HashSource::Announced { peer, .. } => {
                    self.resolver.announced(now, *info_hash, *peer, &mut wire);
                    if self.wanted.is_none() && self.intake.announced(*info_hash, *peer, cx.now) == Seen::New
                    {
                        self.report.distinct(Discovery::Announced);
                    }
                    self.announce(*info_hash, ANNOUNCE_WEIGHT, cx);
                    self.settle(cx);
                }
            },
            Event::Peers { lookup, from, peers, .. } => {
                let client_at = |addr| self.dht.client_at(addr);
                self.resolver.peers_found(now, *lookup, *from, peers, client_at, &mut wire);
                self.settle(cx);
            }
            Event::LookupDone(report) => {
                if let Some(size) = self.scraper.ended(report) {
                    let (info_hash, weight) = (report.info_hash, 0.0);
                    self.storage.announces.push(Announce { info_hash, weight, swarm: Some(size) }, cx.now);
                }
                self.resolver.lookup_done(now, report, &mut wire);
                self.settle(cx);
            }
            Event::Visit(record) => {
                self.report.visited(record);
                self.storage.visits.push(visit(record, self.plan.started_at), cx.now);
            }
            Event::ExternalAddress { local, external } => self.external_address(*local, *external, cx, cmd),
            Event::Reachability { port, state } => self.reachability(*port, *state),
            Event::Reseeded => {
                tracing::warn!("hardly anybody answers: starting again from the bootstrap nodes");
                self.look_up_bootstrap(cx, cmd);
            }
        }
    }

    /// Something has happened to a connection: whoever asked for it is told.
    fn happened(&mut self, key: Key, happening: Happening<'_>, cx: &Context, cmd: &mut Cmd<Self>) {
        let now = cx.now.since_start();
        if self.giver.happened(now, key, happening) {
            return;
        }
        if let Key::Peer { fetch, slot } = key {
            let slot = Slot::from_number(slot);
            let mut wire = |job, slot, wire: Wire<'_>| self.connections.carry(now, cmd, job, slot, wire);
            self.resolver.happened(now, fetch, slot, happening, &mut wire);
            self.settle(cx);
        }
    }

    /// Sends what uTP wants sent and tells what has come, until nothing is left, and sets the timer for what is due next:
    /// if something is to be sent, at once, which is after all that has come in this turn.
    fn carry_out_utp(&mut self, cx: &Context, cmd: &mut Cmd<Self>) {
        let now = cx.now.since_start();
        loop {
            while let Some(mut news) = self.connections.utp.news() {
                let port = news.port();
                for action in news.out.drain() {
                    match self.connections.utp.act(now, port, action, cmd) {
                        Some(UtpEvent::Happened(key, happening)) => self.happened(key, happening, cx, cmd),
                        Some(UtpEvent::Accepted(from, nameless)) => {
                            let key = self.giver.admit(from.ip(), now);
                            self.connections.utp.name(now, nameless, key);
                        }
                        None => {}
                    }
                }
                self.connections.utp.give_back(news);
            }
            if let Some((key, why)) = self.connections.utp.refused() {
                self.happened(key, Happening::Closed(why), cx, cmd);
            } else if self.giver.is_idle() {
                break;
            }
            self.give(now, cmd);
        }
        if let Some(delay) = self.connections.utp.timer(now) {
            cmd.after(Key::Utp, delay, Msg::Utp, cx);
        }
    }

    /// Does what is wanted on connections on which we give, and asks the database for what is missing.
    fn give(&mut self, now: Duration, cmd: &mut Cmd<Self>) {
        for asked in self.giver.loads() {
            let load = LoadInfoDict { info_hash: asked };
            cmd.perform(effect(load, move |result| Answer::InfoDict { asked, result }));
        }
        self.giver.act(|key, wire| self.connections.act(now, cmd, key, 0, wire));
    }

    fn see(&mut self, hash: InfoHash, source: Discovery, hint: Option<SocketAddr>, cx: &Context) {
        if self.wanted.is_some() {
            return;
        }
        match self.intake.see(hash, source, hint, cx.now) {
            Seen::New => self.report.distinct(source),
            Seen::Again => {
                if let Some(node) = hint {
                    self.resolver.hint(&hash, node);
                }
            }
            Seen::Refused => {}
        }
    }

    fn announce(&mut self, info_hash: InfoHash, weight: f64, cx: &Context) {
        self.storage.announces.push(Announce { info_hash, weight, swarm: None }, cx.now);
    }

    /// Moves everything on that can move: intake, backlog, lookups, batches, the stop.
    fn go_on(&mut self, cx: &Context, cmd: &mut Cmd<Self>) {
        let now = cx.now.since_start();
        let running = self.ending == Ending::Running;
        if self.storage.checks.is_empty()
            && let Some(batch) = self.intake.batch(cx.now, !running)
        {
            for entry in batch {
                self.storage.checks.push(entry, cx.now);
            }
        }
        if running && self.storage.keeps_up() {
            self.take_from_backlog(cx, cmd);
            let (dht, out) = (&mut self.dht, &mut self.out);
            self.resolver.start(
                now,
                |hash, hints, priority| dht.find_peers(now, hash, hints, priority, out),
                &mut |job, slot, wire| self.connections.carry(now, cmd, job, slot, wire),
            );
            let counters = dht.counters();
            let packets = (counters.sent_for(PacketUse::Scrapes), counters.sent.packets);
            self.scraper.start(now, packets, |hash, nodes, whole| dht.scrape(now, hash, nodes, whole, out));
            self.carry_out(cx, cmd);
        }
        self.settle(cx);
        self.storage.write(cx.now, !running, |effect| cmd.perform(effect));
        if !running {
            self.finish(cmd);
        } else if self.wanted.as_ref().is_some_and(Vec::is_empty) {
            self.stop(Ending::Fetched, cx, cmd);
        } else if self.plan.once && self.is_swept() {
            self.stop(Ending::SweepFinished, cx, cmd);
        }
    }

    fn take_from_backlog(&mut self, cx: &Context, cmd: &mut Cmd<Self>) {
        // As many wait in memory as are being fetched, so that the next ones are at hand when some end.
        let room = self.plan.fetches.saturating_sub(self.resolver.waiting());
        if self.taking || room < self.plan.fetches.div_ceil(4) || cx.now < self.backlog_rests_until {
            return;
        }
        if let Some(hashes) = self.wanted.clone() {
            // Without anybody to ask, a try would be over before it has begun.
            if self.dht.gauges().contacts > 0 || cx.now.since_start() >= JOINS_WITHIN {
                self.taking = true;
                let take = BacklogTakeThese { hashes, owner: self.plan.owner.clone(), lease: LEASE };
                cmd.perform(effect(take, Answer::Taken));
            }
            return;
        }
        self.taking = true;
        // Unless there is something, or something comes while we ask.
        self.backlog_is_drained = true;
        let take = BacklogTake { limit: room as u32, owner: self.plan.owner.clone(), lease: LEASE };
        cmd.perform(effect(take, Answer::Taken));
    }

    /// Acts on hashes that were fetched or came to nothing.
    fn settle(&mut self, cx: &Context) {
        for lookup in self.resolver.cancelled() {
            self.dht.cancel(lookup);
        }
        for settled in self.resolver.settled() {
            match settled {
                Settled::Failed { hash, reason, inconclusive } => {
                    let failure = Failure { info_hash: hash, reason: reason.to_owned(), inconclusive };
                    self.storage.failures.push(failure, cx.now);
                }
                Settled::Fetched { hash, source, nodes, raw, job, handovers } => {
                    self.giver.take_over(cx.now.since_start(), job, handovers, &raw);
                    match new_torrent(&raw, source, &self.plan.info) {
                        Ok(torrent) => {
                            self.resolver.count_fetched();
                            let key = torrent.hashes.canonical();
                            let keep_for = match self.plan.keep_info_dicts {
                                Some(bytes_max) if raw.len() <= bytes_max => Some(None),
                                // Its user may want a .torrent of it.
                                _ if source == Discovery::Requested => Some(Some(REQUESTED_KEPT_FOR)),
                                _ => None,
                            };
                            let keys = [Some(key), torrent.hashes.alias()].into_iter().flatten();
                            self.giver.fetched(keys, &raw, keep_for == Some(None));
                            if let Some(keep_for) = keep_for {
                                let dict = NewInfoDict { info_hash: key, raw: raw.into(), keep_for };
                                self.storage.keep(dict, cx.now);
                            }
                            if self.storage.torrents.push(torrent, cx.now) && self.ending == Ending::Running {
                                self.scraper.fetched(key, hash, nodes);
                            }
                        }
                        Err(reason) => {
                            // The bytes are what the hash stands for, so it will never be anything else.
                            self.resolver.count_useless(reason);
                            self.storage.discards.push((hash, format!("no torrent: {reason}")), cx.now);
                        }
                    }
                }
            }
        }
    }

    fn every_second(&mut self, cx: &Context, cmd: &mut Cmd<Self>) {
        self.seconds += 1;
        if self.ending == Ending::Running {
            self.watch_disk(cx, cmd);
            self.retention.go_on(cx.now, |effect| cmd.perform(effect));
            if !self.reporting && self.seconds.is_multiple_of(REPORT_EVERY) {
                self.reporting = true;
                let (owner, run) = (self.plan.owner.clone(), self.plan.run);
                let progress = RunProgress { owner, run, report: self.run_report() };
                cmd.perform(effect(progress, Answer::Reported));
            }
            if self.seconds.is_multiple_of(REPORT_EVERY) {
                cmd.perform(self.tally(false));
            }
            let progress = if self.telling { Vec::new() } else { self.resolver.progress() };
            if !progress.is_empty() {
                self.telling = true;
                let owner = self.plan.owner.clone();
                cmd.perform(effect(SaveProgress { owner, progress }, Answer::Told));
            }
            if self.seconds.is_multiple_of(POPULAR_EVERY) && self.scraper.wants_popular() {
                cmd.perform(effect(ScrapesDue { limit: POPULAR_LOOKED_AT }, Answer::Popular));
            }
            if self.seconds.is_multiple_of(COUNT_EVERY) {
                cmd.perform(effect(BacklogSize, Answer::Counted));
            }
            if self.seconds.is_multiple_of(CLAIM_EVERY) {
                let claim = ClaimSlices { owner: self.plan.owner.clone(), lease: SLICE_LEASE };
                cmd.perform(effect(claim, Answer::Slices));
            }
            if self.seconds.is_multiple_of(RENEW_EVERY) {
                let owner = self.plan.owner.clone();
                cmd.perform(effect(BacklogRenew { owner, lease: LEASE }, Answer::Renewed));
            }
            if self.learning.begin(self.seconds) {
                let learn = LearnWords { names: LEARNED_MAX, words_max: VOCABULARY_MAX };
                cmd.perform(effect(learn, Answer::Learned));
            }
            if self.storage.is_easy() && self.learning_paths.begin(self.seconds) {
                cmd.perform(effect(LearnPathWords { torrents: PATHS_LEARNED_MAX }, Answer::LearnedPaths));
            }
            if self.seconds.is_multiple_of(TIDY_EVERY) {
                cmd.perform(effect(Tidy { limits: self.plan.tidy }, Answer::Tidied));
                cmd.perform(effect(DecayPopularity { limit: DECAY_MAX }, Answer::Decayed));
                cmd.perform(effect(DropInfoDicts, Answer::Dropped));
            }
            // What was just fetched goes first.
            if self.wanted.is_none() && self.storage.is_easy() && self.reindexing.begin_turn(cx.now) {
                let turn = Reindex { limit: reindexing::ROWS, owner: self.plan.owner.clone() };
                cmd.perform(effect(turn, Answer::Reindexed));
            }
        }
        let ports = self.bound.iter().filter(|bound| **bound).count();
        let mut snapshot = self.report.snapshot(
            cx.now.since_start(),
            &self.dht,
            &self.resolver,
            &self.connections.utp,
            &self.storage,
            &self.intake,
        );
        snapshot.ports = ports;
        snapshot.made_again = self.reindexing.rows.made_again;
        cmd.perform(AppEffect::Show(Box::new(snapshot)));
    }

    /// Stops ingest while the disk is full, and says so once.
    fn watch_disk(&mut self, cx: &Context, cmd: &mut Cmd<Self>) {
        match self.storage.disk.turn(cx.now) {
            Turn::None => {}
            Turn::Stopped => {
                let why = self.storage.disk.reason().unwrap_or_default();
                tracing::error!(%why, "nothing new is taken in until there is room; searches go on");
            }
            Turn::Resumed => tracing::info!("there is room on the disk again: going on"),
        }
        if let Some(place) = self.plan.disk.place.clone() {
            cmd.perform(AppEffect::LookAtDisk(place));
        }
    }

    fn run_report(&self) -> RunReport {
        RunReport {
            work: self.report.work(&self.ending, &self.resolver, &self.dht),
            limits: self.report.limits().to_vec(),
            addresses: self.addresses(),
            ingest_stopped: self.storage.disk.reason(),
        }
    }

    fn port(&mut self, event: SubEvent<Key>, cx: &Context, cmd: &mut Cmd<Self>) {
        match event {
            SubEvent::Ready { key: Key::Port(index), local } => {
                tracing::info!(%local, "listening");
                if let Some(bound) = self.bound.get_mut(usize::from(index)) {
                    *bound = true;
                }
                self.connections.utp.bound(index);
            }
            SubEvent::Ready { key: Key::Door(_), local } => tracing::info!(%local, "taking connections"),
            SubEvent::Failed { key: Key::Door(index), fault, .. } => {
                let address =
                    self.plan.accept.get(usize::from(index)).map_or_else(String::new, SocketAddr::to_string);
                tracing::warn!(%address, %fault, "connections cannot be taken here; it is tried again");
            }
            SubEvent::Failed { key: Key::Port(index), fault, .. } => {
                let index = usize::from(index);
                let address = self.ports.get(index).map_or_else(String::new, SocketAddr::to_string);
                // A port that was ours comes back; one that never was is somebody else's.
                if self.bound.get(index) == Some(&false) {
                    let why = format!(
                        "UDP port {address} cannot be used: {fault}; choose another with --port or --bind"
                    );
                    self.stop(Ending::Failed(why), cx, cmd);
                } else {
                    tracing::warn!(%address, %fault, "a UDP port failed and is opened again");
                }
            }
            _ => {}
        }
    }

    fn look_up_bootstrap(&mut self, cx: &Context, cmd: &mut Cmd<Self>) {
        for host in &self.plan.bootstrap {
            self.names_pending += 1;
            self.report.names_looked_up += 1;
            let name = host.to_string();
            let target = (host.host.clone(), host.port);
            cmd.task(
                "look up a bootstrap node",
                async move {
                    let found = tokio::net::lookup_host(target).await;
                    found.map(Iterator::collect::<Vec<_>>).map_err(|error| error.to_string())
                },
                move |result| Msg::Resolved {
                    name,
                    result: result.unwrap_or_else(|fault| Err(fault.to_string())),
                },
            );
        }
        if !self.plan.bootstrap.is_empty() && self.dht.gauges().contacts == 0 {
            cmd.after(Key::Bootstrap, BOOTSTRAP_AGAIN, Msg::Bootstrap, cx);
        }
    }

    /// Whether the sweep is over and all that it found has been dealt with.
    fn is_swept(&self) -> bool {
        self.names_pending == 0
            && self.dht.sweep_progress().finished
            && self.intake.waiting() == 0
            && self.resolver.in_flight() == 0
            && self.resolver.waiting() == 0
            && self.backlog_is_drained
            && !self.taking
            && self.storage.is_empty()
    }

    /// The numbers of the run, on their way into the database.
    fn tally(&self, last: bool) -> AppEffect {
        let mut counts = self.report.counts(
            &self.dht,
            &self.scraper,
            &self.resolver,
            &self.connections.utp,
            &self.storage,
            &self.retention,
        );
        counts.extend(self.giver.counts());
        counts.extend(self.resolver.exchange_counts());
        let save = SaveRunCounts {
            run: self.plan.run,
            counts,
            stages: self.resolver.stages(),
            times: self.resolver.stage_times(),
        };
        effect(save, move |result| Answer::Tallied { result, last })
    }

    /// Stops taking new work, and lets what is done reach the database.
    fn stop(&mut self, ending: Ending, cx: &Context, cmd: &mut Cmd<Self>) {
        if self.ending != Ending::Running {
            return;
        }
        // What failed is said at the end, in a sentence of its own.
        if !matches!(ending, Ending::Failed(_)) {
            tracing::info!(why = ending.word(), "ending: what is verified is being stored");
        }
        self.ending = ending;
        let now = cx.now.since_start();
        self.resolver.abort(now, &mut |job, slot, wire| self.connections.carry(now, cmd, job, slot, wire));
        self.settle(cx);
        self.giver.stop();
        for lookup in self.scraper.abort() {
            self.dht.cancel(lookup);
        }
        let release = BacklogRelease { owner: self.plan.owner.clone() };
        cmd.perform(effect(release, Answer::Released));
        cmd.after(Key::Grace, GRACE, Msg::Grace, cx);
        self.go_on(cx, cmd);
    }

    /// Closes the run when everything is acknowledged, then ends.
    fn finish(&mut self, cmd: &mut Cmd<Self>) {
        match self.closing {
            Closing::NotYet if self.storage.is_empty() && self.intake.waiting() == 0 => {
                self.closing = Closing::Tallying;
                cmd.perform(self.tally(true));
            }
            Closing::Tallied => {
                self.closing = Closing::Reporting;
                let (run, ended) = (self.plan.run, self.ending.word().to_owned());
                let end = RunEnd { run, ended, report: self.run_report() };
                cmd.perform(effect(end, Answer::Closed));
            }
            Closing::NotYet | Closing::Tallying | Closing::Reporting => {}
            Closing::Done => cmd.quit(),
        }
    }
}
