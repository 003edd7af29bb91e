//! Torrents that are stored as fast as they can be, while others search.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use benches::corpus::Corpus;
use indexer_app::db::{Database, StoreTorrents};
use tea_runtime::Session as _;
use tokio::task::JoinSet;

use crate::torrent_database::{
    server::{client, said},
    torrents::torrent,
};

/// Torrents in a batch, as the program makes them when much is to be stored.
const BATCH: u64 = 250;

/// Connections that store at a time, as the program has them.
const WRITERS: usize = 2;

/// Connections that store batch after batch.
pub(crate) struct Ingesting {
    stop: Arc<AtomicBool>,
    writers: JoinSet<Result<u64, String>>,
    begun: Instant,
}

impl Ingesting {
    /// Stores torrents of the corpus from `first` on; those that an earlier run has stored are passed over.
    pub(crate) async fn start(database: &Database, corpus: &Arc<Corpus>, first: u64) -> Result<Self, String> {
        let row = client(&database.pool)
            .await?
            .query_one("select count(*) from torrents", &[])
            .await
            .map_err(said)?;
        let next = Arc::new(AtomicU64::new(first.max(row.get::<_, i64>(0) as u64)));
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = JoinSet::new();
        for _ in 0..WRITERS {
            let mut client = client(&database.pool).await?;
            let (corpus, stop, next) = (Arc::clone(corpus), Arc::clone(&stop), Arc::clone(&next));
            writers.spawn(async move {
                let mut stored = 0;
                while !stop.load(Ordering::Relaxed) {
                    let (corpus, start) = (Arc::clone(&corpus), next.fetch_add(BATCH, Ordering::Relaxed));
                    let batch =
                        move || (start..start + BATCH).map(|number| torrent(corpus.item(number))).collect();
                    let torrents = tokio::task::spawn_blocking(batch).await.map_err(said)?;
                    StoreTorrents { torrents }.run(&mut client).await.map_err(said)?;
                    stored += BATCH;
                }
                Ok(stored)
            });
        }
        Ok(Self { stop, writers, begun: Instant::now() })
    }

    /// Stops, and says how many were stored.
    pub(crate) async fn stop(self) -> Result<String, String> {
        self.stop.store(true, Ordering::Relaxed);
        let stored = self.writers.join_all().await.into_iter().sum::<Result<u64, String>>()?;
        let seconds = self.begun.elapsed().as_secs_f64();
        Ok(format!("stored meanwhile: {stored} torrents, {:.0} a second", stored as f64 / seconds))
    }
}
