//! What became of each stage of the way from a hash to its info dict: how often, by what transport, with whose program, and
//! how long it took.

use std::{collections::BTreeMap, time::Duration};

use bittorrent::{PeerId, PeerOutcome, PeerReport, Stage, Transport};

use super::Reason;
use crate::db::{RunStage, StageBy, StageTimes};

/// Programs told apart; the others count together.
const CLIENTS_MAX: usize = 48;

/// The name of those.
const OTHER_CLIENTS: &str = "other";

/// A lookup of a hash's peers, until one is named.
const LOOKUP: &str = "lookup";

/// A fetch from peers, all its connections together.
const FETCH: &str = "fetch";

/// What the verified bytes mean.
const INFO_DICT: &str = "info dict";

/// The numbers since the start.
#[derive(Debug, Default)]
pub(super) struct FetchNumbers {
    pub(super) lookups: Tally,
    pub(super) fetches: Tally,
    pub(super) dicts: Tally,
    /// Connections asked for.
    connects: [u64; Transport::COUNT],
    /// Connections that are over: what carried them, how far they came, and how they ended. There are some hundred
    /// combinations.
    ended: BTreeMap<(Transport, Stage, usize), u64>,
    /// The same of those who told their program.
    clients: BTreeMap<String, BTreeMap<(Stage, usize), u64>>,
    times: [Histogram; Stage::COUNT],
    lookup_times: Histogram,
    fetch_times: Histogram,
}

/// Attempts that succeed or fail.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) attempted: u64,
    pub(super) succeeded: u64,
    failed: BTreeMap<Reason, u64>,
}

/// How often something took how long.
#[derive(Clone, Debug, Default)]
struct Histogram {
    total: Duration,
    buckets: [u64; StageTimes::BUCKETS],
}

impl Tally {
    /// One has failed.
    pub(super) fn fail(&mut self, reason: Reason) {
        *self.failed.entry(reason).or_default() += 1;
    }

    fn row(&self, stage: &str, in_flight: u64) -> RunStage {
        RunStage {
            stage: stage.to_owned(),
            by: StageBy::All,
            attempted: self.attempted,
            succeeded: self.succeeded,
            in_flight,
            failed: self.failed.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
        }
    }
}

impl Histogram {
    fn add(&mut self, time: Duration) {
        self.total += time;
        if let Some(count) = self.buckets.get_mut(StageTimes::bucket(time)) {
            *count += 1;
        }
    }

    fn row(&self, stage: &str) -> StageTimes {
        StageTimes { stage: stage.to_owned(), total: self.total, buckets: self.buckets }
    }
}

impl FetchNumbers {
    /// A connection is asked for.
    pub(super) fn connect(&mut self, transport: Transport) {
        if let Some(connects) = self.connects.get_mut(transport as usize) {
            *connects += 1;
        }
    }

    /// A connection is over.
    pub(super) fn ended(&mut self, report: &PeerReport) {
        let PeerReport { transport, reached, outcome, .. } = *report;
        *self.ended.entry((transport, reached, outcome.index())).or_default() += 1;
        if reached > Stage::Handshake {
            let known = self.clients.len();
            let mut client = client_name(report.peer_id);
            if known >= CLIENTS_MAX && !self.clients.contains_key(&client) {
                client = OTHER_CLIENTS.to_owned();
            }
            *self.clients.entry(client).or_default().entry((reached, outcome.index())).or_default() += 1;
        }
        for ((stage, time), histogram) in Stage::ALL.into_iter().zip(report.stages).zip(&mut self.times) {
            if stage < reached || outcome == PeerOutcome::Served {
                histogram.add(time);
            }
        }
    }

    /// A lookup has named its first peer.
    pub(super) fn named_after(&mut self, time: Duration) {
        self.lookup_times.add(time);
    }

    /// A fetch has brought an info dict.
    pub(super) fn fetched_after(&mut self, time: Duration) {
        self.fetch_times.add(time);
    }

    /// What the stages have come to, with what is in flight now: lookups, fetches, and their connections.
    pub(super) fn stages(
        &self,
        lookups: usize,
        fetches: usize,
        live: impl Iterator<Item = (Stage, Transport, Option<PeerId>)>,
    ) -> Vec<RunStage> {
        let mut rows =
            vec![self.lookups.row(LOOKUP, lookups as u64), self.fetches.row(FETCH, fetches as u64)];
        let mut transports: BTreeMap<Transport, Way> = BTreeMap::new();
        let mut clients: BTreeMap<String, Way> = BTreeMap::new();
        for (transport, connects) in Transport::ALL.into_iter().zip(self.connects) {
            if connects > 0 {
                transports.entry(transport).or_default().begun = connects;
            }
        }
        for ((transport, reached, outcome), count) in &self.ended {
            transports.entry(*transport).or_default().ended(*reached, *outcome, *count);
        }
        for (client, ended) in &self.clients {
            let way = clients.entry(client.clone()).or_default();
            for ((reached, outcome), count) in ended {
                way.ended(*reached, *outcome, *count);
                way.begun += count;
            }
        }
        for (stage, transport, peer_id) in live {
            transports.entry(transport).or_default().live(stage);
            if stage > Stage::Handshake {
                let name = client_name(peer_id);
                let room = clients.len() < CLIENTS_MAX || clients.contains_key(&name);
                let way = clients.entry(if room { name } else { OTHER_CLIENTS.to_owned() }).or_default();
                way.live(stage);
                way.begun += 1;
            }
        }
        let mut all = Way::default();
        transports.values().for_each(|way| all.add(way));
        all.rows(Stage::Connect, &StageBy::All, &mut rows);
        for (transport, way) in &transports {
            way.rows(Stage::Connect, &StageBy::Transport(transport.label().to_owned()), &mut rows);
        }
        for (client, way) in clients {
            way.rows(Stage::ExtensionHandshake, &StageBy::Client(client), &mut rows);
        }
        rows.push(self.dicts.row(INFO_DICT, 0));
        rows
    }

    /// How long those took that succeeded.
    pub(super) fn times(&self) -> Vec<StageTimes> {
        let stages = Stage::ALL.into_iter().zip(&self.times);
        let mut rows = vec![self.lookup_times.row(LOOKUP), self.fetch_times.row(FETCH)];
        rows.extend(stages.map(|(stage, histogram)| histogram.row(stage.label())));
        rows
    }
}

/// Connections of one kind, by stage.
#[derive(Debug, Default)]
struct Way {
    /// Connections that have entered the first stage that is counted.
    begun: u64,
    passed: [u64; Stage::COUNT],
    in_flight: [u64; Stage::COUNT],
    failed: [BTreeMap<usize, u64>; Stage::COUNT],
}

impl Way {
    fn ended(&mut self, reached: Stage, outcome: usize, count: u64) {
        let served = outcome == PeerOutcome::Served.index();
        for (stage, passed) in Stage::ALL.into_iter().zip(&mut self.passed) {
            if stage < reached || (served && stage == reached) {
                *passed += count;
            }
        }
        if let Some(failed) = self.failed.get_mut(reached as usize).filter(|_| !served) {
            *failed.entry(outcome).or_default() += count;
        }
    }

    fn live(&mut self, at: Stage) {
        for (stage, passed) in Stage::ALL.into_iter().zip(&mut self.passed) {
            *passed += u64::from(stage < at);
        }
        if let Some(in_flight) = self.in_flight.get_mut(at as usize) {
            *in_flight += 1;
        }
    }

    fn add(&mut self, other: &Self) {
        self.begun += other.begun;
        for at in 0..Stage::COUNT {
            self.passed[at] += other.passed[at];
            self.in_flight[at] += other.in_flight[at];
            for (outcome, count) in &other.failed[at] {
                *self.failed[at].entry(*outcome).or_default() += count;
            }
        }
    }

    /// A row for each stage from `first` on.
    fn rows(&self, first: Stage, by: &StageBy, rows: &mut Vec<RunStage>) {
        let mut attempted = self.begun;
        for stage in Stage::ALL.into_iter().filter(|stage| *stage >= first) {
            let at = stage as usize;
            let mut failed: BTreeMap<String, u64> = BTreeMap::new();
            for outcome in PeerOutcome::all() {
                if let Some(count) = self.failed[at].get(&outcome.index()) {
                    *failed.entry(outcome.label().to_owned()).or_default() += count;
                }
            }
            rows.push(RunStage {
                stage: stage.label().to_owned(),
                by: by.clone(),
                attempted,
                succeeded: self.passed[at],
                in_flight: self.in_flight[at],
                failed,
            });
            attempted = self.passed[at];
        }
    }
}

fn client_name(id: Option<PeerId>) -> String {
    let code = id.and_then(|id| id.client_code());
    code.map_or_else(|| OTHER_CLIENTS.to_owned(), |code| code.map(char::from).iter().collect())
}
