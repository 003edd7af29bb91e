//! Torrents that are stored as fast as they can be, while others search.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use benches::corpus::Corpus;
use indexer_app::db::{Database, StoreTorrents};
use tea_runtime::Session as _;
use tokio::task::JoinHandle;

use crate::torrent_database::{
    server::{client, said},
    torrents::torrent,
};

/// Torrents in a batch, as the program makes them when much is to be stored.
const BATCH: u64 = 250;

/// A connection that stores batch after batch.
pub(crate) struct Ingesting {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Result<u64, String>>,
    begun: Instant,
}

impl Ingesting {
    /// Stores torrents of the corpus from `first` on; those that an earlier run has stored are passed over.
    pub(crate) async fn start(database: &Database, corpus: &Arc<Corpus>, first: u64) -> Result<Self, String> {
        let mut client = client(&database.pool).await?;
        let row = client.query_one("select count(*) from torrents", &[]).await.map_err(said)?;
        let first = first.max(row.get::<_, i64>(0) as u64);
        let stop = Arc::new(AtomicBool::new(false));
        let (corpus, stopped) = (Arc::clone(corpus), Arc::clone(&stop));
        #[expect(clippy::disallowed_methods, reason = "it is waited for when it is told to stop")]
        let task = tokio::spawn(async move {
            let mut next = first;
            while !stopped.load(Ordering::Relaxed) {
                let corpus = Arc::clone(&corpus);
                let batch = move || (next..next + BATCH).map(|number| torrent(corpus.item(number))).collect();
                let torrents = tokio::task::spawn_blocking(batch).await.map_err(said)?;
                StoreTorrents { torrents }.run(&mut client).await.map_err(said)?;
                next += BATCH;
            }
            Ok(next - first)
        });
        Ok(Self { stop, task, begun: Instant::now() })
    }

    /// Stops, and says how many were stored.
    pub(crate) async fn stop(self) -> Result<String, String> {
        self.stop.store(true, Ordering::Relaxed);
        let stored = self.task.await.map_err(said)??;
        let seconds = self.begun.elapsed().as_secs_f64();
        Ok(format!("stored meanwhile: {stored} torrents, {:.0} a second", stored as f64 / seconds))
    }
}
