//! Filling a database with as many torrents as wanted, as fast as the machine allows.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use benches::corpus::Corpus;
use deadpool_postgres::{Client, Pool};
use indexer_app::db::{Database, LearnPathWords};
use tea_runtime::Session as _;

use super::{
    server::{client, said},
    torrents::prepared,
};

/// Torrents in one COPY.
const CHUNK: u64 = 5_000;

/// Connections that write.
const WRITERS: usize = 2;

/// Takes away all torrents, and what was learned of them.
pub(crate) const EMPTY: &str =
    "truncate torrents, torrent_files, torrent_stats, path_words, path_word_lists, path_words_read";

/// Between two lines of progress.
const PROGRESS: u64 = 250_000;

/// An index or a key that is taken away and made again.
struct Made {
    drop: String,
    make: String,
}

/// Fills an empty database with torrents 0 to `count`, unless it was so before. Indexes are made afterwards.
pub(crate) async fn fill(database: &Database, corpus: &Arc<Corpus>, count: u64) -> Result<(), String> {
    let mut client = client(&database.pool).await?;
    let mark = format!("benchmark of {count}");
    let row = client
        .query_one("select coalesce(obj_description('torrents'::regclass), '')", &[])
        .await
        .map_err(said)?;
    if row.get::<_, String>(0) == mark {
        return Ok(());
    }
    client.batch_execute(EMPTY).await.map_err(said)?;
    let indexes = indexes(&client).await?;
    for index in &indexes {
        client.batch_execute(&index.drop).await.map_err(said)?;
    }
    write(&database.pool, corpus, count).await?;
    client.batch_execute("set maintenance_work_mem = '1500MB'").await.map_err(said)?;
    for index in &indexes {
        eprintln!("{}", index.make);
        client.batch_execute(&index.make).await.map_err(said)?;
    }
    learn(&mut client).await?;
    eprintln!("vacuum");
    client.batch_execute("vacuum analyze").await.map_err(said)?;
    client.batch_execute(&format!("comment on table torrents is '{mark}'")).await.map_err(said)?;
    client.batch_execute("checkpoint").await.map_err(said)
}

/// The words of paths, which a running indexer learns in the background.
async fn learn(client: &mut Client) -> Result<(), String> {
    let mut read = 0;
    loop {
        let learned = (LearnPathWords { torrents: CHUNK as u32 }).run(client).await.map_err(said)?;
        read += learned.torrents;
        if !learned.goes_on {
            return Ok(());
        }
        if read % PROGRESS == 0 {
            eprintln!("words of the paths of {read} torrents");
        }
    }
}

async fn indexes(client: &Client) -> Result<Vec<Made>, String> {
    const TABLES: &str = "('torrents'::regclass, 'torrent_files'::regclass, 'torrent_stats'::regclass)";
    let keys = client
        .query(
            &format!(
                "select conrelid::regclass::text, conname::text, pg_get_constraintdef(oid) from pg_constraint
                 where contype = 'p' and conrelid in {TABLES}"
            ),
            &[],
        )
        .await
        .map_err(said)?;
    let others = client
        .query(
            &format!(
                "select indexrelid::regclass::text, pg_get_indexdef(indexrelid) from pg_index
                 where not indisprimary and indrelid in {TABLES} order by 1"
            ),
            &[],
        )
        .await
        .map_err(said)?;
    let keys = keys.iter().map(|row| {
        let (table, name, definition): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        Made {
            drop: format!("alter table {table} drop constraint {name}"),
            make: format!("alter table {table} add constraint {name} {definition}"),
        }
    });
    let others = others.iter().map(|row| {
        let (name, definition): (String, String) = (row.get(0), row.get(1));
        Made { drop: format!("drop index {name}"), make: definition }
    });
    Ok(keys.chain(others).collect())
}

async fn write(pool: &Pool, corpus: &Arc<Corpus>, count: u64) -> Result<(), String> {
    let (next, now) = (Arc::new(AtomicU64::new(0)), SystemTime::now());
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        let (mut client, corpus, next) = (client(pool).await?, Arc::clone(corpus), Arc::clone(&next));
        writers.spawn(async move {
            loop {
                let start = next.fetch_add(CHUNK, Ordering::Relaxed);
                if start >= count {
                    return Ok::<_, String>(());
                }
                let (corpus, end) = (Arc::clone(&corpus), (start + CHUNK).min(count));
                let rows = tokio::task::spawn_blocking(move || prepared(&corpus, start..end, now));
                rows.await.map_err(said)?.copy(&mut client, now).await.map_err(said)?;
                if end % PROGRESS == 0 {
                    eprintln!("{end} torrents");
                }
            }
        });
    }
    writers.join_all().await.into_iter().collect()
}
