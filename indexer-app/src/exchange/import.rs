//! Storing what was read elsewhere: by batches, through the same session as what is fetched.
//!
//! What is stored already stays as it is, and is not even sent again: so an import that was interrupted is continued by
//! starting it again, at the speed of looking up. What contradicts a stored torrent, or an earlier line, is counted and told.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry as Slot},
    io,
    sync::{Mutex, PoisonError},
};

use deadpool_postgres::Pool;
use krpc::InfoHash;
use tea_runtime::{Session, SessionError};
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    Refusal, Refusals,
    source::{Batch, Entry},
};
use crate::db::{DatabaseError, Facts, NewTorrent, StoreTorrents, StoredFacts, pool_error};

/// Batches that are stored at a time: one is prepared here while another one is written there.
const STORES: usize = 2;

/// Why an import ended early. What was counted as new until then is stored.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The database did not go on.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The input cannot be read.
    #[error("{name} cannot be read: {error}")]
    Read {
        /// The input.
        name: String,
        /// Why.
        error: io::Error,
    },
    /// The compressed input ends in the middle.
    #[error("{name} is cut off; what stands before the cut was imported")]
    CutOff {
        /// The input.
        name: String,
    },
    /// The input is of another kind.
    #[error("{name} is {what}")]
    Foreign {
        /// The input.
        name: String,
        /// What it is, and what to do with it.
        what: &'static str,
    },
    /// The other database cannot be read, or is not what it is said to be.
    #[error("{name} {why}")]
    Source {
        /// The database.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// Something was refused, and nothing should be.
    #[error("{place}: {refusal}; nothing was stored of it or of what follows")]
    Strict {
        /// Where it stands.
        place: String,
        /// Why.
        refusal: Refusal,
    },
}

impl From<SessionError> for ImportError {
    fn from(error: SessionError) -> Self {
        Self::Database(error.into())
    }
}

/// How to import.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImportOptions {
    /// End at the first thing that is refused or that contradicts.
    pub strict: bool,
}

/// What has been imported so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Torrents that were read.
    pub read: u64,
    /// Torrents that are stored now and were not before.
    pub new: u64,
    /// Torrents that were stored already, and those that came twice.
    pub known: u64,
    /// Torrents that are banned or were deleted here.
    pub banned: u64,
    /// Of those that are known, torrents of which something else is said than what is stored.
    pub contradicting: u64,
    /// What was not stored.
    pub refused: Refusals,
    /// The first of the contradictions.
    pub contradictions: Refusals,
}

impl Imported {
    fn add(&mut self, other: &Self) {
        self.read += other.read;
        self.new += other.new;
        self.known += other.known;
        self.banned += other.banned;
        self.contradicting += other.contradicting;
        self.refused.merge(&other.refused);
        self.contradictions.merge(&other.contradictions);
    }
}

/// Stores batches until there are no more. `so_far` is kept up to date.
///
/// # Errors
/// The database fails, or something was refused and nothing should be.
pub async fn import(
    pool: &Pool,
    mut batches: mpsc::Receiver<Batch>,
    options: ImportOptions,
    so_far: &Mutex<Imported>,
) -> Result<(), ImportError> {
    let mut stores: JoinSet<Result<Imported, ImportError>> = JoinSet::new();
    let mut more = true;
    let add = |done: Result<Result<Imported, ImportError>, tokio::task::JoinError>| {
        let done = done.map_err(|error| SessionError::Unexpected(error.to_string()))??;
        so_far.lock().unwrap_or_else(PoisonError::into_inner).add(&done);
        Ok::<_, ImportError>(())
    };
    while more || !stores.is_empty() {
        tokio::select! {
            done = stores.join_next(), if !stores.is_empty() => if let Some(done) = done { add(done)? },
            batch = batches.recv(), if more && stores.len() < STORES => match batch {
                Some(batch) => {
                    let pool = pool.clone();
                    // Of two batches that say something else of one torrent, the first one counts.
                    let stores_before = if options.strict { stores.join_next().await } else { None };
                    if let Some(done) = stores_before { add(done)? }
                    stores.spawn(async move { store(&pool, batch, options).await });
                }
                None => more = false,
            },
        }
    }
    Ok(())
}

/// A torrent of a batch, and where it stands.
struct Candidate {
    place: u64,
    /// The other key by which it may be stored.
    alias: Option<InfoHash>,
    facts: Facts,
    /// Until it is given away to be stored.
    torrent: Option<NewTorrent>,
}

async fn store(pool: &Pool, batch: Batch, options: ImportOptions) -> Result<Imported, ImportError> {
    let mut done = Imported::default();
    let name = batch.place;
    let place = |number: u64| format!("{name} {number}");
    let refuse = |refusals: &mut Refusals, number: u64, refusal: Refusal| {
        if options.strict {
            return Err(ImportError::Strict { place: place(number), refusal });
        }
        refusals.add(&place(number), &refusal);
        Ok(())
    };
    let contradiction = |what| Refusal::new(what, "what was stored first stays");

    let mut candidates: HashMap<InfoHash, Candidate> = HashMap::with_capacity(batch.entries.len());
    for Entry { place, what } in batch.entries {
        done.read += 1;
        let torrent = match what {
            Ok(torrent) => torrent,
            Err(refusal) => {
                refuse(&mut done.refused, place, refusal)?;
                continue;
            }
        };
        let facts = Facts::of(&torrent);
        match candidates.entry(torrent.hashes.canonical()) {
            Slot::Vacant(slot) => {
                let alias = torrent.hashes.alias();
                slot.insert(Candidate { place, alias, facts, torrent: Some(torrent) });
            }
            Slot::Occupied(first) => {
                done.known += 1;
                if let Some(what) = first.get().facts.contradiction(&facts) {
                    done.contradicting += 1;
                    refuse(&mut done.contradictions, place, contradiction(what))?;
                }
            }
        }
    }

    let mut client = pool.get().await.map_err(|error| pool_error(&error))?;
    let keys = |of: &HashMap<InfoHash, Candidate>| {
        StoredFacts(of.iter().flat_map(|(key, one)| [Some(*key), one.alias]).flatten().collect())
    };
    // Those that are stored already leave the batch.
    let settle = |done: &mut Imported,
                  candidates: &mut HashMap<InfoHash, Candidate>,
                  stored: &HashMap<InfoHash, Facts>| {
        let mut known: Vec<(u64, Option<&'static str>)> = Vec::new();
        candidates.retain(|key, one| {
            let found = stored.get(key).or_else(|| stored.get(&one.alias?));
            if let Some(facts) = found {
                known.push((one.place, facts.contradiction(&one.facts)));
            }
            found.is_none()
        });
        known.sort_unstable();
        for (place, what) in known {
            done.known += 1;
            if let Some(what) = what {
                done.contradicting += 1;
                refuse(&mut done.contradictions, place, contradiction(what))?;
            }
        }
        Ok::<_, ImportError>(())
    };
    let stored = keys(&candidates).run(&mut client).await?;
    settle(&mut done, &mut candidates, &stored)?;

    let torrents: Vec<NewTorrent> = candidates.values_mut().filter_map(|one| one.torrent.take()).collect();
    if torrents.is_empty() {
        return Ok(done);
    }
    let stored = StoreTorrents { torrents }.run(&mut client).await?;
    done.new += stored.inserted.len() as u64;
    let inserted: HashSet<InfoHash> = stored.inserted.into_iter().collect();
    candidates.retain(|key, _| !inserted.contains(key));
    for (key, rejection) in stored.rejected {
        if let Some(one) = candidates.remove(&key) {
            refuse(&mut done.refused, one.place, Refusal::new(rejection.label(), rejection.to_string()))?;
        }
    }
    if !candidates.is_empty() {
        // Either somebody else was faster, or they are banned.
        let stored = keys(&candidates).run(&mut client).await?;
        settle(&mut done, &mut candidates, &stored)?;
        done.banned += candidates.len() as u64;
    }
    Ok(done)
}
