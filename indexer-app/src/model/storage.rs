//! What is on its way into the database, and back.

use std::time::Duration;

use krpc::InfoHash;
use tea_runtime::{Db, Session, SessionError, Time};

use super::{
    disk_guard::DiskGuard,
    lane::{AfterFailure, Lane, LaneBounds},
    message::{Answer, AppEffect, Msg},
};
use crate::{
    db::{
        Announce, BacklogFail, BacklogGain, BacklogNew, BacklogPut, Bury, Failure, KeepInfoDicts,
        KnownHashes, NewInfoDict, NewTorrent, NodeVisit, RecordAnnounces, RunId, SaveNodes, SeenAgain,
        StoreTorrents, is_disk_full, is_passing,
    },
    status::DatabaseState,
};

/// Between a hash being learned and its being durable.
const SOON: Duration = Duration::from_millis(100);

/// Verified torrents wait for others for so long; found in time means within two seconds.
const STORE_DELAY: Duration = Duration::from_millis(250);

/// What is only bookkeeping is written rarely.
const BOOKKEEPING_DELAY: Duration = Duration::from_secs(3);

/// New hashes to ask the database for; as many as the intake hands out at a time.
const CHECKS: LaneBounds =
    LaneBounds { waiting_max: 4_000, batch_max: 1_000, delay: Duration::ZERO, in_flight_max: 1 };

/// Hashes for the backlog.
const PUTS: LaneBounds =
    LaneBounds { waiting_max: 8_000, batch_max: 1_000, delay: Duration::ZERO, in_flight_max: 1 };

/// Verified torrents. When half of this waits no new fetches are started, and all that are in flight fit the other half. Two batches at a time: while one
/// is made ready, the database works on the other.
const TORRENTS: LaneBounds =
    LaneBounds { waiting_max: 40_000, batch_max: 250, delay: STORE_DELAY, in_flight_max: 2 };

/// Torrents that may wait before new fetches are held back: as many batches as may be in flight, and as many again, so that memory stays small
/// while the database is slow or away.
const TORRENTS_EASY: usize = 2 * TORRENTS.in_flight_max * TORRENTS.batch_max;

/// Fetches that failed, and hashes that are of no use.
const FAILURES: LaneBounds =
    LaneBounds { waiting_max: 50_000, batch_max: 1_000, delay: SOON, in_flight_max: 1 };

/// Visits to nodes. 20,000 are a minute of a fast crawl; when the database is away longer, later visits are not recorded,
/// and counted.
const VISITS: LaneBounds =
    LaneBounds { waiting_max: 20_000, batch_max: 2_000, delay: BOOKKEEPING_DELAY, in_flight_max: 1 };

/// Torrents that were seen: as announces, but one is as good as many.
const SIGHTINGS: LaneBounds =
    LaneBounds { waiting_max: 20_000, batch_max: 5_000, delay: BOOKKEEPING_DELAY, in_flight_max: 1 };

/// Announces of torrents.
const ANNOUNCES: LaneBounds =
    LaneBounds { waiting_max: 20_000, batch_max: 5_000, delay: BOOKKEEPING_DELAY, in_flight_max: 1 };

/// How full the backlog is, as far as is known: counted now and then, reckoned in between. Several indexers on one database
/// may overfill it by what they put in between two counts; then it is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backlog {
    rows_max: u64,
    rows: u64,
    /// New hashes for which there was no room.
    refused: u64,
    /// Hashes that gave up their place to better ones.
    displaced: u64,
}

impl Backlog {
    /// So many rows of at most so many.
    pub(super) fn new(rows: u64, rows_max: u64) -> Self {
        Self { rows_max, rows, refused: 0, displaced: 0 }
    }

    /// It was counted.
    pub(super) fn counted(&mut self, rows: u64) {
        self.rows = rows;
    }

    /// Hashes were put into it.
    pub(super) fn gained(&mut self, gain: &BacklogGain) {
        let new: u64 = gain.new.values().sum();
        self.rows = (self.rows + new).saturating_sub(gain.displaced);
        self.refused += gain.refused;
        self.displaced += gain.displaced;
    }

    /// Rows.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Rows that it may hold.
    pub(super) fn rows_max(&self) -> u64 {
        self.rows_max
    }

    /// How many more it may hold.
    pub(super) fn room(&self) -> u64 {
        self.rows_max.saturating_sub(self.rows)
    }

    /// New hashes for which there was no room, and hashes that gave up their place.
    pub(super) fn turned_away(&self) -> (u64, u64) {
        (self.refused, self.displaced)
    }
}

/// Info dicts to be kept. They follow their torrents, so a few batches are enough; those beyond are not kept, and counted.
const DICTS: LaneBounds =
    LaneBounds { waiting_max: 2_000, batch_max: 250, delay: STORE_DELAY, in_flight_max: 1 };

/// Bytes in them.
const DICTS_BYTES_MAX: usize = 64 << 20;

/// The lanes into the database, and what is known of it.
#[derive(Debug)]
pub(super) struct Storage {
    run: RunId,
    owner: String,
    /// How full the backlog is.
    pub(super) backlog: Backlog,
    /// New hashes to be asked for.
    pub(super) checks: Lane<BacklogNew>,
    /// Unknown hashes on their way into the backlog.
    pub(super) puts: Lane<BacklogNew>,
    /// Verified torrents.
    pub(super) torrents: Lane<NewTorrent>,
    /// Info dicts of them that are kept.
    pub(super) dicts: Lane<NewInfoDict>,
    dicts_bytes: usize,
    dicts_refused: u64,
    /// Fetches that failed.
    pub(super) failures: Lane<Failure>,
    /// Hashes that are of no use, each with the reason.
    pub(super) discards: Lane<(InfoHash, String)>,
    /// Visits to nodes.
    pub(super) visits: Lane<NodeVisit>,
    /// Announces of torrents.
    pub(super) announces: Lane<Announce>,
    /// Torrents that are stored and were seen.
    pub(super) sightings: Lane<InfoHash>,
    /// Its disk.
    pub(super) disk: DiskGuard,
    /// What is known of the database.
    pub(super) state: DatabaseState,
}

impl Storage {
    /// Empty lanes; the visits belong to `run`, what is taken from the backlog to `owner`.
    pub(super) fn new(run: RunId, owner: String, backlog: Backlog, disk: DiskGuard) -> Self {
        Self {
            run,
            owner,
            backlog,
            checks: Lane::new(CHECKS),
            puts: Lane::new(PUTS),
            torrents: Lane::new(TORRENTS),
            dicts: Lane::new(DICTS),
            dicts_bytes: 0,
            dicts_refused: 0,
            failures: Lane::new(FAILURES),
            discards: Lane::new(FAILURES),
            visits: Lane::new(VISITS),
            announces: Lane::new(ANNOUNCES),
            sightings: Lane::new(SIGHTINGS),
            disk,
            state: DatabaseState::Starting,
        }
    }

    /// Hands batches that are due to `perform`. `flush`: all that wait are due. While the disk is full what is new waits
    /// where it is; what ends work in hand is written still, or tried.
    pub(super) fn write(&mut self, now: Time, flush: bool, mut perform: impl FnMut(AppEffect)) {
        while let Some((batch, torrents)) = self.torrents.take_batch(now, flush) {
            perform(effect(StoreTorrents { torrents }, move |result| Answer::Stored(batch, result)));
        }
        if let Some(dicts) = self.dicts.take(now, flush) {
            perform(effect(KeepInfoDicts { dicts }, Answer::Kept));
        }
        if let Some(failures) = self.failures.take(now, flush) {
            perform(effect(BacklogFail { owner: self.owner.clone(), failures }, Answer::Failed));
        }
        if let Some(hashes) = self.discards.take(now, flush) {
            perform(effect(Bury { hashes }, Answer::Discarded));
        }
        if self.disk.stops_ingest() && !flush {
            return;
        }
        if let Some(batch) = self.checks.take(now, true) {
            let hashes = batch.into_iter().map(|entry| entry.info_hash).collect();
            perform(effect(KnownHashes(hashes), Answer::Checked));
        }
        if let Some(entries) = self.puts.take(now, true) {
            perform(effect(BacklogPut { entries, room: Some(self.backlog.room()) }, Answer::Put));
        }
        if let Some(visits) = self.visits.take(now, flush) {
            perform(effect(SaveNodes { run: self.run, visits }, |result| Answer::Visits(result.map(drop))));
        }
        if let Some(announces) = self.announces.take(now, flush) {
            perform(effect(RecordAnnounces { announces }, Answer::Announces));
        }
        if let Some(hashes) = self.sightings.take(now, flush) {
            perform(effect(SeenAgain { hashes }, Answer::Seen));
        }
    }

    /// Has an info dict kept, if there is room.
    pub(super) fn keep(&mut self, dict: NewInfoDict, now: Time) {
        let bytes = dict.raw.len();
        if self.dicts_bytes + bytes > DICTS_BYTES_MAX {
            self.dicts_refused += 1;
        } else if self.dicts.push(dict, now) {
            self.dicts_bytes += bytes;
        }
    }

    /// An answer about info dicts has come.
    pub(super) fn kept(&mut self, result: Result<u64, SessionError>, now: Time) {
        self.note(&result, now);
        match result {
            Ok(_) => {
                let batch = self.dicts.acknowledged();
                self.dicts_bytes -= batch.iter().map(|dict| dict.raw.len()).sum::<usize>();
            }
            Err(error) => {
                put_back(&mut self.dicts, "info dicts", &error, now);
                if self.dicts.is_empty() {
                    self.dicts_bytes = 0;
                }
            }
        }
    }

    /// Whether the database keeps up, so that more may be fetched.
    pub(super) fn keeps_up(&self) -> bool {
        !self.disk.stops_ingest()
            && self.torrents.len() < TORRENTS_EASY
            && self.failures.len() < FAILURES.waiting_max / 2
    }

    /// Whether so little waits that the database has time for what nobody waits for.
    pub(super) fn is_easy(&self) -> bool {
        self.state == DatabaseState::Up && self.torrents.len() < TORRENTS.batch_max
    }

    /// Whether everything was acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        self.checks.is_empty()
            && self.puts.is_empty()
            && self.torrents.is_empty()
            && self.dicts.is_empty()
            && self.failures.is_empty()
            && self.discards.is_empty()
            && self.visits.is_empty()
            && self.announces.is_empty()
            && self.sightings.is_empty()
    }

    /// Takes note of what an answer says about the database itself.
    pub(super) fn note<T>(&mut self, result: &Result<T, SessionError>, now: Time) {
        match result {
            Ok(_) => self.state = DatabaseState::Up,
            Err(error) => {
                if is_disk_full(error) {
                    self.disk.refused(now);
                }
                let state = DatabaseState::Down(error.to_string());
                if self.state != state {
                    tracing::warn!(%error, "the database gave no answer; what waits for it is kept and tried again");
                    self.state = state;
                }
            }
        }
    }

    /// Items for which there was no room, or which the database refused for good, over all lanes.
    pub(super) fn dropped(&self) -> u64 {
        let lanes = [
            (self.checks.refused(), self.checks.lost()),
            (self.puts.refused(), self.puts.lost()),
            (self.torrents.refused(), self.torrents.lost()),
            (self.dicts.refused() + self.dicts_refused, self.dicts.lost()),
            (self.failures.refused(), self.failures.lost()),
            (self.discards.refused(), self.discards.lost()),
            (self.visits.refused(), self.visits.lost()),
            (self.announces.refused(), self.announces.lost()),
            (self.sightings.refused(), self.sightings.lost()),
        ];
        lanes.iter().map(|(refused, lost)| refused + lost).sum()
    }
}

/// A batch failed: puts it back, or says what was lost.
pub(super) fn put_back<T: Clone>(lane: &mut Lane<T>, what: &'static str, error: &SessionError, now: Time) {
    let after = lane.failed(now, is_passing(error));
    say_given_up(after, what, error);
}

/// Says what is lost.
pub(super) fn say_given_up(after: AfterFailure, what: &'static str, error: &SessionError) {
    if let AfterFailure::GivenUp(items) = after {
        tracing::error!(items, %error, "the database keeps refusing {what}; they are given up");
    }
}

/// A session as an effect of the program.
pub(super) fn effect<S: Session<Client = deadpool_postgres::Client>>(
    session: S,
    answer: impl FnOnce(Result<S::Output, SessionError>) -> Answer + Send + 'static,
) -> AppEffect {
    AppEffect::Database(Db::new(session, move |result| Msg::Database(answer(result))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Discovery, Hashes, History, Listing};

    fn torrent(number: u32) -> NewTorrent {
        let mut key = [0; 20];
        key[..4].copy_from_slice(&number.to_be_bytes());
        NewTorrent {
            hashes: Hashes::V1(InfoHash::from_bytes(key)),
            name: "x".to_owned(),
            name_raw: None,
            total_size: 1,
            files: vec![(vec!["x".to_owned()], 1)],
            listing: Listing::Whole,
            piece_length: Some(16_384),
            piece_count: Some(1),
            private: Some(false),
            source: None,
            discovered_by: Discovery::Sampled,
            history: History::default(),
        }
    }

    fn storage() -> Storage {
        Storage::new(RunId(1), "x".to_owned(), Backlog::new(0, 100), DiskGuard::new(0))
    }

    /// The names of the sessions that are due.
    fn due(storage: &mut Storage, now: Time) -> Vec<String> {
        let mut sessions = Vec::new();
        storage.write(now, false, |effect| sessions.push(format!("{effect:?}")));
        sessions
    }

    #[test]
    fn a_torrent_waits_for_others_for_less_than_a_second_and_a_full_batch_for_none() {
        let mut storage = storage();
        storage.torrents.push(torrent(0), Time::ZERO);
        assert_eq!(due(&mut storage, Time::ZERO).len(), 0);
        assert_eq!(due(&mut storage, Time::from(Duration::from_secs(1))).len(), 1);
        storage.torrents.acknowledged();
        for number in 0..500 {
            storage.torrents.push(torrent(number), Time::ZERO);
        }
        assert_eq!(due(&mut storage, Time::ZERO).len(), 2);
    }

    #[test]
    fn nothing_more_is_fetched_while_four_batches_wait() {
        let mut storage = storage();
        for number in 0..1_000 {
            assert!(storage.keeps_up(), "{number} wait");
            storage.torrents.push(torrent(number), Time::ZERO);
        }
        assert!(!storage.keeps_up());
        assert_eq!(due(&mut storage, Time::ZERO).len(), 2);
        assert!(!storage.keeps_up(), "what is on its way is not stored yet");
        storage.torrents.acknowledged();
        assert!(storage.keeps_up());
    }

    #[test]
    fn while_the_disk_is_full_only_what_ends_work_in_hand_is_written() {
        let mut storage = storage();
        storage.torrents.push(torrent(0), Time::ZERO);
        storage.discards.push((InfoHash::from_bytes([0; 20]), "x".to_owned()), Time::ZERO);
        storage.sightings.push(InfoHash::from_bytes([0; 20]), Time::ZERO);
        storage.puts.push(BacklogNew::requested(InfoHash::from_bytes([1; 20])), Time::ZERO);
        let full = SessionError::Database { code: "53100".to_owned(), message: "no space".to_owned() };
        storage.note(&Err::<(), _>(full), Time::ZERO);
        assert!(!storage.keeps_up());
        let now = Time::from(Duration::from_secs(5));
        assert_eq!(due(&mut storage, now).len(), 2);
        // Its rest is over.
        let now = Time::from(Duration::from_secs(10));
        storage.disk.turn(now);
        assert_eq!(due(&mut storage, now).len(), 2);
        assert!(storage.keeps_up());
    }
}
