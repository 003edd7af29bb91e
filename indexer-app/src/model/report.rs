//! The numbers of the run: what is counted here, and what is read from the parts when somebody looks.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use bittorrent::{PeerOutcome, utp::UtpCounters};
use mainline::{Dht, DropReason, PacketUse, VisitOutcome, VisitRecord};

use super::{
    connections::UtpPorts,
    delays::Delays,
    intake::Intake,
    limits::Limits,
    plan::Ending,
    rates::Rate,
    resolver::{RUN_ENDED, Resolver},
    retention::Retention,
    scraper::Scraper,
    storage::Storage,
};
use crate::{
    db::{Banned, Discovery, RunCount, RunLimit, Work},
    status::Snapshot,
};

/// Samples of one second each in the rate of packets, and in that of stored torrents.
const PACKETS_WINDOW: usize = 1;
const STORED_WINDOW: usize = 10;

/// The numbers.
#[derive(Debug)]
pub(super) struct Report {
    virtual_nodes: usize,
    torrents_at_start: u64,
    /// Info-hashes that nobody had put into the database before, by how we came to know of them. Those that a user has
    /// requested are counted when they are first taken.
    hashes_new: BTreeMap<Discovery, u64>,
    /// Distinct info-hashes of stored torrents.
    pub(super) hashes_known: u64,
    /// Distinct info-hashes that were deleted or banned, or stand for no torrent.
    pub(super) hashes_buried: u64,
    /// Distinct info-hashes that wait in the backlog already.
    pub(super) hashes_waiting: u64,
    /// Torrents that the database has acknowledged as new.
    pub(super) stored: u64,
    /// How long those took, from verified bytes to being found: a search sees what is committed.
    pub(super) found_after: Delays,
    /// Torrents that it will not store.
    pub(super) rejected: u64,
    /// Datagrams that were not sent because they would have left this machine.
    pub(super) withheld: u64,
    /// Torrents that were fetched and are banned.
    banned: Banned,
    /// Names of bootstrap nodes that were looked up, with what came of it.
    pub(super) names_looked_up: u64,
    pub(super) names_found: u64,
    pub(super) names_failed: u64,
    distinct: BTreeMap<Discovery, u64>,
    visits_failed: BTreeMap<&'static str, u64>,
    visits_replied: u64,
    packets_in: Rate,
    packets_out: Rate,
    stored_rate: Rate,
    limits: Limits,
    fetches_max: usize,
}

impl Report {
    /// All zero.
    pub(super) fn new(virtual_nodes: usize, torrents_at_start: u64, fetches_max: usize) -> Self {
        Self {
            virtual_nodes,
            torrents_at_start,
            hashes_new: BTreeMap::new(),
            hashes_known: 0,
            hashes_buried: 0,
            hashes_waiting: 0,
            stored: 0,
            found_after: Delays::default(),
            rejected: 0,
            withheld: 0,
            banned: Banned::default(),
            names_looked_up: 0,
            names_found: 0,
            names_failed: 0,
            distinct: BTreeMap::new(),
            visits_failed: BTreeMap::new(),
            visits_replied: 0,
            packets_in: Rate::new(PACKETS_WINDOW),
            packets_out: Rate::new(PACKETS_WINDOW),
            stored_rate: Rate::new(STORED_WINDOW),
            limits: Limits::default(),
            fetches_max,
        }
    }

    /// The budgets and queues, as of the last snapshot.
    pub(super) fn limits(&self) -> &[RunLimit] {
        self.limits.rows()
    }

    /// A hash was seen for the first time in a while.
    pub(super) fn distinct(&mut self, source: Discovery) {
        *self.distinct.entry(source).or_default() += 1;
    }

    /// Info-hashes that nobody had put into the database before.
    pub(super) fn new_hashes(&mut self, source: Discovery, count: u64) {
        if count > 0 {
            *self.hashes_new.entry(source).or_default() += count;
        }
    }

    /// Torrents were not stored because they are banned.
    pub(super) fn banned(&mut self, banned: &Banned) {
        self.banned.by_hash += banned.by_hash;
        for (rule, count) in &banned.by_rule {
            *self.banned.by_rule.entry(*rule).or_default() += count;
        }
    }

    /// New hashes for every thousand datagrams that were sent, queries and answers: by source, so that together they are the
    /// yield of all that we do.
    fn new_per_1000_packets(&self, dht: &Dht) -> Vec<(&'static str, f64)> {
        let packets = dht.counters().sent.packets.max(1) as f64;
        let rate = |(source, count): (&Discovery, &u64)| (source.as_str(), *count as f64 * 1_000.0 / packets);
        self.hashes_new.iter().map(rate).collect()
    }

    /// Where hashes came from, what packets were for, why datagrams were dropped, what scrapes came to: since the start.
    pub(super) fn counts(
        &self,
        dht: &Dht,
        scraper: &Scraper,
        resolver: &Resolver,
        utp: &UtpPorts,
        storage: &Storage,
        retention: &Retention,
    ) -> Vec<RunCount> {
        let counters = dht.counters();
        let mut counts = Vec::new();
        let mut add = |about: &str, name: &str, number: u64| {
            counts.push(RunCount { about: about.to_owned(), name: name.to_owned(), number });
        };
        for source in Discovery::OF_HASHES {
            add("new hashes", source.as_str(), self.hashes_new.get(&source).copied().unwrap_or(0));
        }
        for (class, number) in self.found_after.iter() {
            add("found", class, number);
        }
        let (refused, displaced) = storage.backlog.turned_away();
        add("backlog", "refused, full", refused);
        add("backlog", "displaced, full", displaced);
        add("keyspace slices", "sampled now", u64::from(dht.slices().count()));
        add("disk", "ingest stopped", storage.disk.stops());
        add("expired", "over quota", retention.over_quota());
        add("expired", "unseen", retention.unseen_removed());
        add("banned", "seen again", self.hashes_buried);
        add("banned", "fetched, by hash", self.banned.by_hash);
        for (rule, count) in &self.banned.by_rule {
            add("banned", &format!("fetched, by rule {rule}"), *count);
        }
        for purpose in PacketUse::ALL {
            add("packets sent", purpose.name(), counters.sent_for(purpose));
        }
        for reason in DropReason::ALL {
            if counters.dropped_for(reason) > 0 {
                add("dropped", reason.name(), counters.dropped_for(reason));
            }
        }
        for (cause, count) in counters.malformed() {
            add("malformed", cause, count);
        }
        for (name, number) in [
            ("started", counters.scrapes_started),
            ("ended", counters.scrapes_ended),
            ("answered", counters.scrapes_answered),
            ("filters", counters.filters_taken),
            ("filters discarded", counters.filters_discarded),
            ("torrents given up", scraper.given_up()),
        ] {
            add("scrapes", name, number);
        }
        for (name, number) in resolver.endpoint_numbers() {
            add("peer endpoints", name, number);
        }
        for (name, number) in
            [("looked up", self.names_looked_up), ("found", self.names_found), ("dns", self.names_failed)]
        {
            add("bootstrap names", name, number);
        }
        let numbers = utp.numbers();
        let sum = |of: fn(&UtpCounters) -> u64| utp.counters().map(of).sum::<u64>();
        for (name, number) in [
            ("packets sent", numbers.sent),
            ("bytes sent", numbers.sent_bytes),
            ("packets received", numbers.received),
            ("bytes received", numbers.received_bytes),
            ("held back", numbers.held),
            ("dropped", numbers.dropped),
            ("withheld", numbers.withheld),
            ("connects", sum(|utp| utp.connects)),
            ("connects refused", sum(|utp| utp.connects_refused)),
            ("retransmitted", sum(|utp| utp.retransmitted)),
            ("timeouts", sum(|utp| utp.timeouts)),
            ("malformed", sum(|utp| utp.malformed)),
            ("of no connection", sum(|utp| utp.unknown)),
            ("resets sent", sum(|utp| utp.resets_sent)),
        ] {
            if utp.packets_per_second().is_some() {
                add("utp", name, number);
            }
        }
        counts
    }

    /// A visit has ended.
    pub(super) fn visited(&mut self, record: &VisitRecord) {
        let reason = match record.outcome {
            VisitOutcome::Replied => {
                self.visits_replied += 1;
                return;
            }
            VisitOutcome::TimedOut => "timed out",
            VisitOutcome::Error => "only errors",
            VisitOutcome::IdChanged => "id changed",
        };
        *self.visits_failed.entry(reason).or_default() += 1;
    }

    /// What the run has attempted, achieved and failed at, for its report in the database. Once it has ended nothing is
    /// in flight any more.
    pub(super) fn work(&self, ending: &Ending, resolver: &Resolver, dht: &Dht) -> Vec<Work> {
        let owned = |reasons: &BTreeMap<&'static str, u64>| {
            reasons.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect::<BTreeMap<_, _>>()
        };
        let mut visits_failed = owned(&self.visits_failed);
        let mut visiting = dht.sweep_progress().in_flight;
        if *ending != Ending::Running && visiting > 0 {
            visits_failed.insert(RUN_ENDED.to_owned(), std::mem::take(&mut visiting));
        }
        vec![
            Work {
                kind: "visits".to_owned(),
                attempted: self.visits_replied + visits_failed.values().sum::<u64>() + visiting,
                succeeded: self.visits_replied,
                in_flight: visiting,
                failed: visits_failed,
            },
            Work {
                kind: "fetches".to_owned(),
                attempted: resolver.attempted(),
                succeeded: resolver.fetched(),
                in_flight: resolver.in_flight() as u64,
                failed: owned(resolver.failed()),
            },
        ]
    }

    /// What the run has come to, a line for each kind of work.
    pub(super) fn summary(
        &self,
        ending: &Ending,
        resolver: &Resolver,
        dht: &Dht,
        storage: &Storage,
        intake: &Intake,
    ) -> String {
        let mut text = format!("{}\n", ending.word());
        // Writing into a String does not fail.
        for work in self.work(ending, resolver, dht) {
            let failed: u64 = work.failed.values().sum();
            let _ = write!(
                text,
                "{:<8} {} attempted, {} succeeded, {failed} failed, {} in flight",
                work.kind, work.attempted, work.succeeded, work.in_flight
            );
            let mut reasons: Vec<_> = work.failed.iter().collect();
            reasons.sort_by_key(|(reason, count)| (std::cmp::Reverse(**count), *reason));
            for (reason, count) in reasons {
                let _ = write!(text, "; {reason} {count}");
            }
            text.push('\n');
        }
        let (counters, gauges) = (dht.counters(), dht.gauges());
        let _ = writeln!(
            text,
            "nodes    {} known, {} of them have answered (IPv4 {}, IPv6 {})",
            gauges.nodes, gauges.nodes_live, gauges.nodes_live_v4, gauges.nodes_live_v6
        );
        let mut dropped: Vec<_> = DropReason::ALL
            .iter()
            .map(|reason| (counters.dropped_for(*reason), reason.name()))
            .filter(|(count, _)| *count > 0)
            .collect();
        dropped.sort_by_key(|(count, name)| (std::cmp::Reverse(*count), *name));
        let _ = write!(
            text,
            "packets  {} sent, {} received and understood, {} dropped",
            counters.sent.packets,
            counters.received.packets,
            counters.dropped.iter().sum::<u64>()
        );
        for (count, name) in dropped {
            let _ = write!(text, "; {name} {count}");
            if name == DropReason::Malformed.name() {
                let causes: Vec<_> =
                    counters.malformed().map(|(cause, count)| format!("{cause} {count}")).collect();
                let _ = write!(text, " ({})", causes.join(", "));
            }
        }
        text.push('\n');
        let uses = PacketUse::ALL.map(|purpose| format!("{} {}", purpose.name(), counters.sent_for(purpose)));
        let _ = writeln!(text, "sent for {}", uses.join(", "));
        let yields: Vec<_> = self
            .new_per_1000_packets(dht)
            .into_iter()
            .map(|(source, rate)| format!("{source} {rate:.1}"))
            .collect();
        let sources: Vec<_> =
            self.distinct.iter().map(|(source, count)| format!("{source} {count}")).collect();
        let _ = writeln!(
            text,
            "hashes   {} new, {} known, {} waiting already; first seen as: {}",
            self.hashes_new.values().sum::<u64>(),
            self.hashes_known,
            self.hashes_waiting,
            if sources.is_empty() { "-".to_owned() } else { sources.join(", ") }
        );
        if !yields.is_empty() {
            let _ = writeln!(text, "yield    new hashes per 1000 packets sent: {}", yields.join(", "));
        }
        let _ = writeln!(
            text,
            "scrapes  {} started, {} ended, {} of them with an estimate; {} filters, {} discarded",
            counters.scrapes_started,
            counters.scrapes_ended,
            counters.scrapes_answered,
            counters.filters_taken,
            counters.filters_discarded
        );
        let _ = writeln!(
            text,
            "torrents {} stored, {} refused by the database, {} banned",
            self.stored,
            self.rejected,
            self.banned.total()
        );
        let connections = resolver.counters();
        let mut outcomes: Vec<_> =
            connections.outcomes().map(|(outcome, count)| (outcome_name(outcome), count)).collect();
        outcomes.sort_by_key(|(outcome, count)| (std::cmp::Reverse(*count), outcome.clone()));
        let outcomes: Vec<_> =
            outcomes.into_iter().map(|(outcome, count)| format!("{outcome} {count}")).collect();
        let _ = writeln!(
            text,
            "peers    {} connections, {} refused as unusable{}{}",
            connections.connects,
            resolver.unusable(),
            if outcomes.is_empty() { "" } else { ": " },
            outcomes.join(", ")
        );
        let dropped = storage.dropped() + intake.refused();
        if dropped > 0 {
            let _ = writeln!(text, "dropped  {dropped} items that the database did not take in time");
        }
        text
    }

    /// The numbers at this moment; to be called once a second.
    pub(super) fn snapshot(
        &mut self,
        now: Duration,
        dht: &Dht,
        resolver: &Resolver,
        utp: &UtpPorts,
        storage: &Storage,
        intake: &Intake,
    ) -> Snapshot {
        self.limits.sample(now, dht, resolver, utp, self.fetches_max, &storage.backlog);
        let (counters, gauges, sweep) = (dht.counters(), dht.gauges(), dht.sweep_progress());
        let mut failed: Vec<_> = resolver.failed().iter().map(|(reason, count)| (*reason, *count)).collect();
        failed.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
        Snapshot {
            uptime: now,
            virtual_nodes: self.virtual_nodes,
            contacts: gauges.contacts,
            known_nodes: gauges.nodes,
            packets_in_rate: self.packets_in.sample(now, counters.received.packets),
            packets_out_rate: self.packets_out.sample(now, counters.sent.packets),
            hashes_new: self.hashes_new.values().sum(),
            new_per_1000_packets: self.new_per_1000_packets(dht),
            hashes_known: self.hashes_known,
            lookups: resolver.lookups(),
            fetching: resolver.fetching(),
            fetched: resolver.fetched(),
            failed,
            stored: self.stored,
            stored_rate: self.stored_rate.sample(now, self.stored),
            waiting: intake.waiting() + resolver.waiting() + storage.torrents.len(),
            backlog: Some(storage.backlog.rows()),
            torrents: Some(self.torrents_at_start + self.stored),
            database: storage.state.clone(),
            ingest_stopped: storage.disk.reason(),
            sweep: (sweep.visited, sweep.waiting + sweep.in_flight),
            limits: self.limits.rows().to_vec(),
            // Told by who knows.
            ports: 0,
            made_again: 0,
        }
    }
}

fn outcome_name(outcome: PeerOutcome) -> String {
    match outcome.stage() {
        Some(stage) => format!("{} ({})", outcome.label(), stage.label()),
        None => outcome.label().to_owned(),
    }
}
