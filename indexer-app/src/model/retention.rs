//! Removing torrents that are beyond the quotas or were unseen too long: a little at a time, while the program runs.

use std::time::Duration;

use krpc::InfoHash;
use tea_runtime::Time;

use super::{
    message::{Answer, AppEffect},
    storage::effect,
};
use crate::db::{Beyond, BeyondQuotas, Expire, ExpireUnseen, Expired, Quotas, RunId};

/// Between two looks at the quotas: what comes in that time is the most that is beyond them.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Torrents removed in a turn, which is a second at least: some 100 ms of the database's time.
const EXPIRE_MAX: u64 = 2_000;

/// Between two pages of the search for unseen torrents: 20,000 torrents each, 50 ms of the database's time.
const PAGE_EVERY: Duration = Duration::from_secs(5);

/// Between the end of that search and its next beginning.
const PASS_EVERY: Duration = Duration::from_secs(3_600);

/// What is being removed.
#[derive(Debug)]
pub(super) struct Retention {
    run: RunId,
    quotas: Quotas,
    /// A question is under way.
    asking: bool,
    /// This run is the one that keeps the quotas, as of the last look.
    ours: bool,
    look_at: Time,
    /// Torrents that are still to be removed.
    beyond: u64,
    page_at: Time,
    after: Option<InfoHash>,
    over_quota: u64,
    unseen: u64,
}

impl Retention {
    /// Nothing looked at yet.
    pub(super) fn new(run: RunId, quotas: Quotas) -> Self {
        Self {
            run,
            quotas,
            asking: false,
            ours: false,
            look_at: Time::ZERO,
            beyond: 0,
            page_at: Time::ZERO,
            after: None,
            over_quota: 0,
            unseen: 0,
        }
    }

    /// Asks the next question, if one is due; to be called once a second.
    pub(super) fn go_on(&mut self, now: Time, mut perform: impl FnMut(AppEffect)) {
        if self.asking || self.quotas == Quotas::default() {
            return;
        }
        let next = if self.beyond > 0 {
            let limit = self.beyond.min(EXPIRE_MAX) as u32;
            effect(Expire { limit }, Answer::Expired)
        } else if now >= self.look_at {
            self.look_at = now + LOOK_EVERY;
            effect(BeyondQuotas { run: self.run, quotas: self.quotas }, Answer::Beyond)
        } else if let Some(unseen) = self.quotas.unseen_max
            && self.ours
            && now >= self.page_at
        {
            effect(ExpireUnseen { unseen, after: self.after }, Answer::Unseen)
        } else {
            return;
        };
        self.asking = true;
        perform(next);
    }

    /// So much is beyond the quotas.
    pub(super) fn beyond(&mut self, beyond: Beyond) {
        self.asking = false;
        self.ours = beyond.ours;
        self.beyond = beyond.torrents;
        if beyond.torrents > 0 {
            tracing::info!(torrents = beyond.torrents, "removing what is beyond the quotas");
        }
    }

    /// So many torrents were removed.
    pub(super) fn expired(&mut self, removed: u64) {
        self.asking = false;
        self.over_quota += removed;
        // None is left, or it failed: the next look knows.
        self.beyond = if removed == 0 { 0 } else { self.beyond.saturating_sub(removed) };
    }

    /// A page was searched for what is unseen; `None`: it failed, and is searched again.
    pub(super) fn unseen(&mut self, page: Option<Expired>, now: Time) {
        self.asking = false;
        self.page_at = now + PAGE_EVERY;
        let Some(Expired { removed, next }) = page else { return };
        self.unseen += removed;
        self.after = next;
        if next.is_none() {
            self.page_at = now + PASS_EVERY;
        }
    }

    /// Torrents removed because they were beyond a quota.
    pub(super) fn over_quota(&self) -> u64 {
        self.over_quota
    }

    /// Torrents removed because they were unseen too long.
    pub(super) fn unseen_removed(&self) -> u64 {
        self.unseen
    }
}
