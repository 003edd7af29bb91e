//! What the database has answered, and what follows from it.

use std::collections::BTreeSet;

use krpc::InfoHash;
use mainline::KeyspaceSlices;
use tea_runtime::Context;

use super::{BACKLOG_REST, Closing, Indexer, LEARNED_MAX};
use crate::{
    db::{Discovery, Known, Taken, is_passing},
    model::{
        message::Answer,
        storage::{put_back, say_given_up},
    },
};

impl Indexer {
    /// Acts on an answer; a batch that failed goes back to the front of its lane.
    pub(super) fn database(&mut self, answer: Answer, cx: &Context) {
        let now = cx.now;
        let storage = &mut self.storage;
        match answer {
            Answer::Checked(result) => {
                storage.note(&result, now);
                match result {
                    Ok(known) => {
                        let batch = storage.checks.acknowledged();
                        for (entry, (_, known)) in batch.into_iter().zip(known) {
                            match known {
                                Known::No => {
                                    if !storage.puts.push(entry.clone(), now) {
                                        self.intake.forget(&entry.info_hash);
                                    }
                                }
                                Known::Stored => {
                                    self.report.hashes_known += 1;
                                    storage.sightings.push(entry.info_hash, now);
                                }
                                Known::Buried => self.report.hashes_buried += 1,
                                Known::Due | Known::Waiting => {
                                    self.report.hashes_waiting += 1;
                                    // Whoever knows it now may raise it above what was only overheard.
                                    if entry.source != Discovery::Overheard {
                                        storage.puts.push(entry, now);
                                    }
                                }
                            }
                        }
                    }
                    Err(error) => put_back(&mut storage.checks, "questions for info-hashes", &error, now),
                }
            }
            Answer::Put(result) => {
                storage.note(&result, now);
                match result {
                    Ok(gain) => {
                        storage.puts.acknowledged();
                        storage.backlog.gained(&gain);
                        gain.new.iter().for_each(|(source, count)| self.report.new_hashes(*source, *count));
                        self.backlog_rests_until = now;
                        self.backlog_is_drained = false;
                    }
                    Err(error) => put_back(&mut storage.puts, "info-hashes for the backlog", &error, now),
                }
            }
            Answer::Taken(result) => {
                self.taking = false;
                storage.note(&result, now);
                match result {
                    Ok(taken) => {
                        self.backlog_is_drained &= taken.is_empty() && storage.puts.is_empty();
                        if taken.is_empty() {
                            self.backlog_rests_until = now + BACKLOG_REST;
                        }
                        // Whoever asked for them has put them into the backlog by himself.
                        let fresh = |taken: &&Taken| taken.source == Discovery::Requested && taken.tries == 0;
                        let requested = taken.iter().filter(fresh).count() as u64;
                        self.report.new_hashes(Discovery::Requested, requested);
                        self.resolver.enqueue(taken);
                    }
                    Err(_) => {
                        self.backlog_is_drained = false;
                        self.backlog_rests_until = now + BACKLOG_REST;
                    }
                }
            }
            Answer::Stored(batch, result) => {
                storage.note(&result, now);
                match result {
                    Ok(stored) => {
                        let mut inserted: BTreeSet<InfoHash> = stored.inserted.iter().copied().collect();
                        let mut others = Vec::new();
                        for (torrent, since) in storage.torrents.acknowledged_since(batch) {
                            let key = torrent.hashes.canonical();
                            if let Some(wanted) = &mut self.wanted {
                                wanted.retain(|hash| key != *hash && torrent.hashes.alias() != Some(*hash));
                            }
                            // A hybrid may be there twice, fetched under either of its keys.
                            if inserted.remove(&key) {
                                self.report.found_after.add(now.saturating_since(since));
                            } else {
                                others.push(key);
                            }
                        }
                        self.scraper.stored(&stored.inserted, others.into_iter());
                        for (hash, rejection) in &stored.rejected {
                            tracing::error!(%hash, %rejection, "a torrent cannot be stored");
                            storage.discards.push((*hash, format!("refused: {rejection}")), now);
                        }
                        self.report.stored += stored.inserted.len() as u64;
                        self.report.rejected += stored.rejected.len() as u64;
                        self.report.banned(&stored.banned);
                    }
                    Err(error) => {
                        let after = storage.torrents.failed_batch(batch, now, is_passing(&error));
                        say_given_up(after, "torrents", &error);
                    }
                }
            }
            Answer::Failed(result) => {
                storage.note(&result, now);
                match result {
                    Ok(_) => drop(storage.failures.acknowledged()),
                    Err(error) => put_back(&mut storage.failures, "failed fetches", &error, now),
                }
            }
            Answer::Discarded(result) => {
                storage.note(&result, now);
                match result {
                    Ok(_) => {
                        let batch = storage.discards.acknowledged();
                        if let Some(wanted) = &mut self.wanted {
                            wanted.retain(|hash| !batch.iter().any(|(gone, _)| gone == hash));
                        }
                    }
                    Err(error) => put_back(&mut storage.discards, "useless info-hashes", &error, now),
                }
            }
            // If they are not given back now, they are at the next start.
            Answer::Released(result) => storage.note(&result, now),
            Answer::Slices(result) => {
                storage.note(&result, now);
                // While the database is away those that were ours stay so.
                if let Ok(slices) = result {
                    let before = self.dht.slices();
                    self.dht.set_slices(now.since_start(), slices);
                    if self.dht.slices() != before {
                        let (ours, all) = (self.dht.slices().count(), KeyspaceSlices::COUNT);
                        tracing::info!(slices = %format_args!("{ours} of {all}"), "sampling another part of the keyspace");
                    }
                }
            }
            Answer::Renewed(result) => storage.note(&result, now),
            Answer::Visits(result) => {
                storage.note(&result, now);
                match result {
                    Ok(()) => drop(storage.visits.acknowledged()),
                    Err(error) => put_back(&mut storage.visits, "visits", &error, now),
                }
            }
            Answer::Announces(result) => {
                storage.note(&result, now);
                match result {
                    Ok(_) => drop(storage.announces.acknowledged()),
                    Err(error) => put_back(&mut storage.announces, "announces", &error, now),
                }
            }
            Answer::Seen(result) => {
                storage.note(&result, now);
                match result {
                    Ok(_) => drop(storage.sightings.acknowledged()),
                    Err(error) => put_back(&mut storage.sightings, "sightings of torrents", &error, now),
                }
            }
            Answer::Beyond(result) => {
                storage.note(&result, now);
                self.retention.beyond(result.unwrap_or_default());
            }
            Answer::Expired(result) => {
                storage.note(&result, now);
                self.retention.expired(result.unwrap_or_default());
            }
            Answer::Unseen(result) => {
                storage.note(&result, now);
                self.retention.unseen(result.ok(), now);
            }
            Answer::Reported(result) => {
                storage.note(&result, now);
                self.reporting = false;
            }
            Answer::Popular(result) => {
                storage.note(&result, now);
                self.scraper.popular(result.unwrap_or_default());
            }
            Answer::Tallied { result, last } => {
                storage.note(&result, now);
                if last {
                    self.closing = Closing::Tallied;
                }
            }
            Answer::Closed(result) => {
                if let Err(error) = result {
                    tracing::warn!(%error, "the report of the run could not be written");
                }
                self.closing = Closing::Done;
            }
            Answer::InfoDict { asked, result } => {
                storage.note(&result, now);
                let raw = result.ok().flatten();
                self.giver.loaded(now.since_start(), asked, raw.as_ref());
            }
            Answer::Kept(result) => storage.kept(result, now),
            Answer::Told(result) => {
                storage.note(&result, now);
                self.telling = false;
            }
            Answer::Dropped(result) => storage.note(&result, now),
            Answer::IdentitySaved(result) => storage.note(&result, now),
            Answer::Tidied(result) => storage.note(&result, now),
            Answer::Decayed(result) => storage.note(&result, now),
            Answer::Reindexed(result) => {
                storage.note(&result, now);
                self.reindexing.turned(&result, now);
            }
            Answer::Learned(result) => {
                storage.note(&result, now);
                // As many as were asked for: there are more.
                let goes_on = result.is_ok_and(|learned| learned.names >= u64::from(LEARNED_MAX));
                self.learning.end(self.seconds, goes_on);
            }
            Answer::LearnedPaths(result) => {
                storage.note(&result, now);
                self.learning_paths.end(self.seconds, result.is_ok_and(|learned| learned.goes_on));
            }
            Answer::Counted(result) => {
                storage.note(&result, now);
                if let Ok(rows) = result {
                    storage.backlog.counted(rows);
                }
            }
        }
    }
}
