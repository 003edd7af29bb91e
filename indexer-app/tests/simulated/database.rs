//! A database in memory that answers the program's sessions.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use indexer_app::{
    db::{
        Announced, BacklogFail, BacklogFailed, BacklogGain, BacklogNew, BacklogPut, BacklogRelease,
        BacklogRenew, BacklogSize, BacklogTake, Bury, ClaimSlices, DecayPopularity, DropInfoDicts, Known,
        KnownHashes, LearnPathWords, LearnWords, Learned, LearnedPaths, NewTorrent, NodeVisit,
        RecordAnnounces, Reindex, ReindexTurn, RunCount, RunEnd, RunProgress, RunReport, RunStage,
        SaveIdentity, SaveNodes, SaveRunCounts, ScrapesDue, SeenAgain, StageTimes, StoreTorrents, Stored,
        SwarmSize, Taken, Tidied, Tidy,
    },
    model::{AppEffect, Msg},
    status::Snapshot,
};
use krpc::InfoHash;
use mainline::KeyspaceSlices;
use tea_runtime::{Db, Session, SessionError, Time, sim::EffectCx};

/// What it takes to answer.
const LATENCY: Duration = Duration::from_millis(2);

/// How long a failed hash is left alone.
const BACKOFF: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct FakeDatabase {
    pub torrents: BTreeMap<InfoHash, NewTorrent>,
    pub asked: BTreeMap<InfoHash, u32>,
    pub visits: Vec<NodeVisit>,
    pub failures: BTreeMap<String, u32>,
    pub ended: Option<String>,
    /// Sizes of swarms that scrapes have told.
    pub sizes: Vec<(InfoHash, SwarmSize)>,
    /// What the run has counted.
    pub counts: Vec<RunCount>,
    pub stages: Vec<RunStage>,
    pub times: Vec<StageTimes>,
    /// Torrents that it says are popular and were not scraped.
    pub popular: Vec<InfoHash>,
    pub last: Option<Snapshot>,
    /// The last report of the run.
    pub report: RunReport,
    /// What is kept for the next start.
    pub identity: BTreeMap<String, Vec<u8>>,
    /// While it is set, every session fails.
    pub is_down: bool,
    /// While it is set, there is no room for torrents and new hashes.
    pub is_full: bool,
    /// Bytes free on its disk; `None`: more than anybody wants.
    pub disk_free: Option<u64>,
    /// Torrents noted as seen, each time.
    pub seen: Vec<InfoHash>,
    backlog: BTreeMap<InfoHash, (Time, BacklogNew, u16)>,
}

impl FakeDatabase {
    pub fn answer(&mut self, effect: AppEffect, cx: &mut EffectCx<'_, Msg>) {
        let db = match effect {
            AppEffect::Database(db) => db,
            AppEffect::LookAtDisk(_) => {
                let free = Msg::DiskFree(Ok(self.disk_free.unwrap_or(u64::MAX)));
                return cx.answer_after(LATENCY, free);
            }
            AppEffect::Show(snapshot) => return self.last = Some(*snapshot),
        };
        if self.is_down {
            let message = db.fail(SessionError::Unavailable("the test says so".to_owned()));
            return cx.answer_after(LATENCY, message);
        }
        if self.is_full && (db.session::<StoreTorrents>().is_some() || db.session::<BacklogPut>().is_some()) {
            let (code, message) =
                ("53100".to_owned(), "could not extend file: No space left on device".to_owned());
            return cx.answer_after(LATENCY, db.fail(SessionError::Database { code, message }));
        }
        let now = cx.now();
        let message = Ask(db)
            .try_answer(|KnownHashes(hashes): &KnownHashes| {
                hashes.iter().map(|hash| (*hash, self.known(hash))).collect()
            })
            .or_try(|put: &BacklogPut| self.put(put, now))
            .or_try(|take: &BacklogTake| self.take(take, now))
            .or_try(|store: &StoreTorrents| self.store(store))
            .or_try(|fail: &BacklogFail| self.fail(fail, now))
            .or_try(|bury: &Bury| {
                bury.hashes.iter().filter(|(hash, _)| self.backlog.remove(hash).is_some()).count() as u64
            })
            .or_try(|_: &BacklogRenew| 0)
            .or_try(|_: &ClaimSlices| KeyspaceSlices::ALL)
            .or_try(|seen: &SeenAgain| {
                self.seen.extend(&seen.hashes);
                seen.hashes.len() as u64
            })
            .or_try(|save: &SaveNodes| {
                self.visits.extend(save.visits.iter().cloned());
                (save.visits.len() as u64, 0)
            })
            .or_try(|record: &RecordAnnounces| {
                self.sizes
                    .extend(record.announces.iter().filter_map(|one| Some((one.info_hash, one.swarm?))));
                Announced::default()
            })
            .or_try(|progress: &RunProgress| self.report = progress.report.clone())
            .or_try(|save: &SaveRunCounts| {
                (self.counts, self.stages, self.times) =
                    (save.counts.clone(), save.stages.clone(), save.times.clone());
            })
            .or_try(|_: &ScrapesDue| self.popular.clone())
            .or_try(|_: &BacklogRelease| 0)
            .or_try(|_: &BacklogSize| self.backlog.len() as u64)
            .or_try(|_: &Tidy| Tidied::default())
            .or_try(|_: &DecayPopularity| 0)
            .or_try(|_: &DropInfoDicts| 0)
            .or_try(|_: &Reindex| ReindexTurn::Finished)
            .or_try(|_: &LearnWords| Learned::default())
            .or_try(|_: &LearnPathWords| LearnedPaths::default())
            .or_try(|save: &SaveIdentity| self.identity.extend(save.values.clone()))
            .or_try(|end: &RunEnd| self.ended = Some(end.ended.clone()))
            .message();
        cx.answer_after(LATENCY, message);
    }

    fn known(&mut self, hash: &InfoHash) -> Known {
        *self.asked.entry(*hash).or_default() += 1;
        if self.torrents.contains_key(hash) {
            Known::Stored
        } else if self.backlog.contains_key(hash) {
            Known::Waiting
        } else {
            Known::No
        }
    }

    fn put(&mut self, put: &BacklogPut, now: Time) -> BacklogGain {
        let mut gain = BacklogGain::default();
        for entry in &put.entries {
            if let Entry::Vacant(place) = self.backlog.entry(entry.info_hash) {
                place.insert((now, entry.clone(), 0));
                *gain.new.entry(entry.source).or_default() += 1;
            }
        }
        gain
    }

    fn take(&mut self, take: &BacklogTake, now: Time) -> Vec<Taken> {
        let due = self.backlog.values_mut().filter(|(due, ..)| *due <= now).take(take.limit as usize);
        due.map(|(due, entry, tries)| {
            *due = now + take.lease;
            Taken {
                info_hash: entry.info_hash,
                source: entry.source,
                tries: *tries,
                hints: entry.hints.clone(),
                peers: Vec::new(),
            }
        })
        .collect()
    }

    fn store(&mut self, store: &StoreTorrents) -> Stored {
        let mut stored = Stored::default();
        for torrent in &store.torrents {
            let key = torrent.hashes.canonical();
            self.backlog.remove(&key);
            match self.torrents.insert(key, torrent.clone()) {
                None => stored.inserted.push(key),
                Some(_) => stored.known += 1,
            }
        }
        stored
    }

    fn fail(&mut self, fail: &BacklogFail, now: Time) -> BacklogFailed {
        for failure in &fail.failures {
            *self.failures.entry(failure.reason.clone()).or_default() += 1;
            if let Some((due, _, tries)) = self.backlog.get_mut(&failure.info_hash) {
                (*due, *tries) = (now + BACKOFF, *tries + 1);
            }
        }
        BacklogFailed { waiting: fail.failures.len() as u64 }
    }
}

/// A session that is offered to one answer after another.
struct Ask(Db<Msg, deadpool_postgres::Client>);

enum Asked {
    Answered(Msg),
    Not(Ask),
}

impl Ask {
    fn try_answer<S: Session<Client = deadpool_postgres::Client>>(
        self,
        answer: impl FnOnce(&S) -> S::Output,
    ) -> Asked {
        match self.0.answer(|session: &S| Ok(answer(session))) {
            Ok(message) => Asked::Answered(message),
            Err(db) => Asked::Not(Self(db)),
        }
    }
}

impl Asked {
    fn or_try<S: Session<Client = deadpool_postgres::Client>>(
        self,
        answer: impl FnOnce(&S) -> S::Output,
    ) -> Self {
        match self {
            Self::Answered(_) => self,
            Self::Not(ask) => ask.try_answer(answer),
        }
    }

    fn message(self) -> Msg {
        match self {
            Self::Answered(message) => message,
            Self::Not(Ask(db)) => panic!("the database does not know {db:?}"),
        }
    }
}
