//! Indexes of tables that may be large already: made beside everything else that goes on, after the migrations.
//!
//! A migration is a transaction, and an index that is made in one keeps everybody from writing until it is done: minutes for ten million
//! torrents. So migrations make indexes of small tables only, and the others stand here. Each bears its definition as its comment; when that is
//! another one, or the index is not there, a new one is made under another name (`create index concurrently`) and takes its place. What a
//! killed run has left is used when it is whole, and made anew when it is not.

use std::time::Duration;

use deadpool_postgres::{Client, Pool};
use tokio_postgres::Row;

use super::{DatabaseError, error::session_error, schema::MigrationStep, statement};

/// An index that this program wants.
struct Wanted {
    name: &'static str,
    table: &'static str,
    /// What follows the name of the table.
    definition: &'static str,
}

/// Without info-hashes in the orders: they only tell apart what is equal, which is a few rows (one batch at a time, one size), and were half of each
/// entry; PostgreSQL sorts those few itself while it walks. Ascending: what is new goes to the end of such an index, whose pages then fill up; at the
/// beginning they split in halves. Walked backwards it costs the same. With signatures: what is looked for is told apart in the index already, and found again
/// in the table by its key and signature.
const WANTED: &[Wanted] = &[
    Wanted { name: "torrents_newest", table: "torrents", definition: "using btree (added_at, signature)" },
    Wanted {
        name: "torrents_popular",
        table: "torrents",
        definition: "using btree (popularity, added_at, signature)",
    },
    // The largest and those of most files are seldom of another type than video or software, so each type has an order of its own; together they
    // are merged.
    Wanted {
        name: "torrents_largest",
        table: "torrents",
        definition: "using btree (kind, total_size, signature)",
    },
    Wanted {
        name: "torrents_most_files",
        table: "torrents",
        definition: "using btree (kind, file_count, added_at, signature)",
    },
    Wanted {
        name: "torrent_files_words",
        table: "torrent_files",
        definition: "using gin (words) with (fastupdate = on, gin_pending_list_limit = 4096)",
    },
    // Only those that have some: most torrents have none, and a row whose indexed columns stay as they are is updated in place. With info-hashes: a hundred
    // thousand may have one seeder, too many to be sorted while they are walked.
    Wanted {
        name: "torrent_stats_seeders",
        table: "torrent_stats",
        definition: "using btree (seeders desc, info_hash) include (signature) where seeders > 0",
    },
    // Numbers of transactions grow with the table, so a summary of a few KB does what a B-tree of 20 MB a million torrents would.
    Wanted {
        name: "torrents_stored_in",
        table: "torrents",
        definition: "using brin (stored_in) with (pages_per_range = 32, autosummarize = on)",
    },
];

/// Between two looks at how far an index is.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How an index stands.
struct Found {
    name: String,
    is_valid: bool,
    made_by: Option<String>,
}

impl Found {
    fn read(row: &Row) -> Result<Self, tea_runtime::SessionError> {
        Ok(Self {
            name: statement::column(row, "name")?,
            is_valid: statement::column(row, "valid")?,
            made_by: statement::column(row, "made_by")?,
        })
    }

    fn is(&self, wanted: &Wanted) -> bool {
        self.is_valid && self.made_by.as_deref() == Some(wanted.definition)
    }
}

const STATE: &str = "
select c.relname::text as name, i.indisvalid and i.indisready as valid, obj_description(c.oid, 'pg_class') as made_by
from pg_index i join pg_class c on c.oid = i.indexrelid
where c.relnamespace = current_schema()::regnamespace and c.relname = any($1::text[])";

const PROGRESS: &str = "
select greatest(blocks_done, tuples_done)::int8 as done, greatest(blocks_total, tuples_total)::int8 as total
from pg_stat_progress_create_index where datname = current_database() and relid = to_regclass($1)";

/// Makes what is wanted and not there.
pub(super) async fn make(
    pool: &Pool,
    client: &Client,
    said: &mut (dyn FnMut(MigrationStep) + Send),
) -> Result<(), DatabaseError> {
    for wanted in WANTED {
        make_one(pool, client, wanted, said).await?;
    }
    Ok(())
}

async fn make_one(
    pool: &Pool,
    client: &Client,
    wanted: &Wanted,
    said: &mut (dyn FnMut(MigrationStep) + Send),
) -> Result<(), DatabaseError> {
    let Wanted { name, table, definition } = wanted;
    let making = format!("{name}_making");
    let found = statement::rows(client, STATE, &[&[*name, making.as_str()].as_slice()]).await?;
    let found = found.iter().map(Found::read).collect::<Result<Vec<_>, _>>()?;
    let of = |name: &str| found.iter().find(|one| one.name == name);
    let is_made = of(name).is_some_and(|one| one.is(wanted));
    let mut is_waiting = of(&making).is_some_and(|one| one.is(wanted));
    if of(&making).is_some() && (is_made || !is_waiting) {
        said(MigrationStep::Dropping { index: making.clone() });
        run(client, &format!("drop index concurrently {making}")).await?;
        is_waiting = false;
    }
    if is_made {
        return Ok(());
    }
    let is_empty = format!(
        "select not exists (select from {table}) as empty, (select greatest(reltuples, 0)::int8
        from pg_class where oid = '{table}'::regclass) as rows"
    );
    let row = statement::row(client, &is_empty, &[]).await?;
    if statement::column::<bool>(&row, "empty")? {
        return run(
            client,
            &format!(
                "begin; drop index if exists {name}; create index {name} on {table} {definition};
                 comment on index {name} is '{definition}'; commit"
            ),
        )
        .await;
    }
    if !is_waiting {
        said(MigrationStep::Building { index: name, table, rows: statement::count(&row, "rows")? });
        // Two statements: the first one cannot be part of a transaction.
        let create = format!("create index concurrently {making} on {table} {definition}");
        watched(pool, client, &create, wanted, said).await?;
        run(client, &format!("comment on index {making} is '{definition}'")).await?;
    }
    run(
        client,
        &format!("begin; drop index if exists {name}; alter index {making} rename to {name}; commit"),
    )
    .await?;
    said(MigrationStep::Built { index: name });
    Ok(())
}

async fn run(client: &Client, sql: &str) -> Result<(), DatabaseError> {
    client.batch_execute(sql).await.map_err(|error| session_error(&error).into())
}

/// Runs a statement that makes an index, and tells how far it is.
async fn watched(
    pool: &Pool,
    client: &Client,
    sql: &str,
    wanted: &Wanted,
    said: &mut (dyn FnMut(MigrationStep) + Send),
) -> Result<(), DatabaseError> {
    let mut work = std::pin::pin!(run(client, sql));
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        // Whoever looks on must not be what the work waits for: one short question at a time.
        let Ok(watcher) = pool.get().await else { continue };
        let Ok(rows) = statement::rows(&watcher, PROGRESS, &[&wanted.table]).await else { continue };
        if let Some(row) = rows.first() {
            let (done, total) = (statement::count(row, "done")?, statement::count(row, "total")?);
            said(MigrationStep::Progress { index: wanted.name, done, total });
        }
    }
}
