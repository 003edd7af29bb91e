//! When stored torrents are made again by newer rules: in the background, while nothing else wants the database.

use std::time::Duration;

use tea_runtime::{SessionError, Time};

use crate::db::{ReindexTurn, Reindexed};

/// Rows made again in a turn: some 0.2 s of the database's time.
pub(super) const ROWS: u32 = 500;

/// From the end of a turn to the next one, so that at least four fifths of the database are left to others.
const PAUSE: Duration = Duration::from_secs(1);

/// The same, when another indexer has the turn or the database failed.
const PAUSE_LONG: Duration = Duration::from_secs(30);

/// Turns of a walk over stored torrents.
#[derive(Debug, Default)]
pub(super) struct Reindexing {
    /// What was done by this program.
    pub(super) rows: Reindexed,
    in_flight: bool,
    is_over: bool,
    rests_until: Time,
}

impl Reindexing {
    /// Whether the next turn is due; then it counts as under way.
    pub(super) fn begin_turn(&mut self, now: Time) -> bool {
        let is_due = !self.in_flight && !self.is_over && now >= self.rests_until;
        self.in_flight |= is_due;
        is_due
    }

    /// What a turn came to.
    pub(super) fn turned(&mut self, result: &Result<ReindexTurn, SessionError>, now: Time) {
        self.in_flight = false;
        self.rests_until = now + PAUSE;
        match result {
            Ok(ReindexTurn::Done(rows)) => {
                self.rows.looked_at += rows.looked_at;
                self.rows.made_again += rows.made_again;
            }
            Ok(ReindexTurn::Finished) => {
                self.is_over = true;
                if self.rows.made_again > 0 {
                    tracing::info!(
                        torrents = self.rows.made_again,
                        "words and types of all torrents are up to date"
                    );
                }
            }
            Ok(ReindexTurn::Taken) | Err(_) => self.rests_until = now + PAUSE_LONG,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from(Duration::from_secs(seconds))
    }

    #[test]
    fn turns_come_one_by_one_with_pauses_until_the_walk_is_over() {
        let mut reindexing = Reindexing::default();
        assert!(reindexing.begin_turn(at(0)));
        assert!(!reindexing.begin_turn(at(5)), "one is under way");
        let done = Reindexed { looked_at: 5_000, made_again: 500 };
        reindexing.turned(&Ok(ReindexTurn::Done(done)), at(6));
        assert!(!reindexing.begin_turn(at(6)));
        assert!(reindexing.begin_turn(at(7)));
        reindexing.turned(&Ok(ReindexTurn::Taken), at(8));
        assert!(!reindexing.begin_turn(at(37)) && reindexing.begin_turn(at(38)));
        reindexing.turned(&Err(SessionError::Unavailable("gone".to_owned())), at(39));
        assert!(!reindexing.begin_turn(at(60)) && reindexing.begin_turn(at(69)));
        reindexing.turned(&Ok(ReindexTurn::Finished), at(70));
        assert!(!reindexing.begin_turn(at(1_000)));
        assert_eq!(reindexing.rows, done);
    }
}
