//! A database of the first release, brought up to date.

use std::collections::BTreeMap;

use indexer_app::{
    db::{
        HashQuery, MigrationStep, Recent, Reindex, ReindexBegin, ReindexProgress, ReindexTurn, Search, Show,
        Stats,
    },
    kinds::Kind,
    search::Request,
};

use crate::private_cluster::TestDatabase;

/// The newest migration of the first release.
const FIRST_RELEASE: i64 = 6;

async fn restored() -> TestDatabase {
    let mut test = TestDatabase::without_schema().await;
    let dump = include_bytes!("../fixtures/first_release.sql.zst");
    let dump = String::from_utf8(zstd::decode_all(&dump[..]).unwrap()).unwrap();
    test.execute(&dump).await;
    test.database = test.connect_again().await.unwrap();
    test
}

async fn numbers(test: &TestDatabase) -> Vec<i64> {
    let mut numbers = Vec::new();
    for table in [
        "torrents",
        "torrent_files",
        "torrent_stats",
        "aliases",
        "backlog",
        "nodes",
        "observations",
        "runs",
        "run_counts",
    ] {
        numbers.push(test.number(&format!("select count(*) from {table}")).await);
    }
    numbers
}

async fn reindex(test: &TestDatabase) {
    test.run(ReindexBegin::default()).await;
    while test.run(Reindex { limit: 100, owner: "test".to_owned() }).await != ReindexTurn::Finished {}
}

async fn hits(test: &TestDatabase, query: &str) -> Vec<(String, Option<Kind>)> {
    let page = test.run(Search { request: Request { limit: 500, ..Request::new(query) } }).await;
    page.hits.into_iter().map(|hit| (hit.torrent.name, hit.torrent.kind)).collect()
}

#[tokio::test]
async fn data_of_the_first_release_is_migrated_made_again_and_found() {
    let mut test = restored().await;
    assert_eq!(test.database.schema.found, FIRST_RELEASE);
    let before = numbers(&test).await;
    assert_eq!(before[..2], [300, 300]);
    let applied = test.database.migrate().await.unwrap();
    assert!(applied.iter().all(|migration| migration.version > FIRST_RELEASE));
    assert!(test.database.schema.check_current().is_ok());
    assert_eq!(numbers(&test).await, before);

    // Before anything is made again all is found by its name, only nobody knows what it is.
    let unknown = hits(&test, "harbour").await;
    assert!(!unknown.is_empty() && unknown.iter().all(|(_, kind)| kind.is_none()), "{unknown:?}");
    reindex(&test).await;
    let known = hits(&test, "harbour").await;
    // Now by words of paths, too; and who is one file that bears its name has no list of files any more.
    assert!(known.len() > unknown.len());
    assert!(unknown.iter().all(|(name, _)| known.iter().any(|(other, _)| other == name)));
    let lists = test.number("select count(*) from torrent_files where words is not null").await;
    assert_eq!(lists, test.number("select count(*) from torrent_files").await);
    assert!((100..300).contains(&lists), "{lists}");
    assert!(known.iter().all(|(_, kind)| kind.is_some()));
    assert_eq!(test.run(ReindexProgress).await.unwrap().rows.made_again, 300);

    // Each row is what the program of today makes of it.
    let rows = test.run(Recent { limit: 1_000 }).await;
    assert_eq!(rows.len(), 300);
    let types: BTreeMap<_, _> = test.run(Stats { runs: 5 }).await.torrents_by_type;
    assert_eq!(types.values().sum::<u64>(), 300);
    assert!(!types.contains_key("unknown") && types["video"] > 50 && types["audio"] > 10, "{types:?}");
    let marks = "select count(*) from torrents where tsv @@ ''':t1'''::tsquery";
    assert_eq!(test.number(marks).await, types["video"] as i64);
    for row in &rows {
        let shown = test.run(Show { hash: HashQuery::exact(row.hashes.canonical()) }).await.remove(0);
        let kind = shown.traits().kind;
        let sql = format!(
            "select count(*) from torrents where info_hash = '\\x{}' and kind = {} and tsv @@ ''':t{}'''::tsquery",
            row.hashes.canonical(),
            kind.code(),
            kind.code()
        );
        assert_eq!(test.number(&sql).await, 1, "{}", row.name);
    }
}

#[tokio::test]
async fn a_migrated_schema_is_that_of_a_new_database() {
    let mut old = restored().await;
    old.database.migrate().await.unwrap();
    let new = TestDatabase::new().await;
    let (old, new) = (catalog(&old).await, catalog(&new).await);
    assert_eq!(old, new);
    assert!(new.len() > 100);
}

/// Migrates and tells the steps that have to do with indexes, in words.
async fn steps(test: &TestDatabase) -> Vec<String> {
    let mut steps = Vec::new();
    let mut say = |step| match step {
        MigrationStep::Building { index, rows, .. } => steps.push(format!("build {index} of {rows}")),
        MigrationStep::Built { index } => steps.push(format!("built {index}")),
        MigrationStep::Dropping { index } => steps.push(format!("drop {index}")),
        MigrationStep::Waiting | MigrationStep::Applied(_) | MigrationStep::Progress { .. } => {}
    };
    test.connect_again().await.unwrap().migrate_and_say(&mut say).await.unwrap();
    steps
}

#[tokio::test]
async fn indexes_of_large_tables_are_made_after_the_migrations_and_again_when_they_are_not_what_is_wanted() {
    let test = restored().await;
    test.execute("analyze").await;
    let made = steps(&test).await;
    for index in ["torrents_newest", "torrents_popular", "torrents_largest", "torrents_stored_in"] {
        assert!(
            made.contains(&format!("build {index} of 300")) && made.contains(&format!("built {index}")),
            "{made:?}"
        );
    }
    assert_eq!(steps(&test).await, Vec::<String>::new(), "all are there");
    let wanted = catalog(&test).await;

    // One was made by a program with another idea of it; one is half made, by a run that was killed.
    test.execute(
        "drop index torrents_newest; create index torrents_newest on torrents (name);
         create index torrents_largest_making on torrents (total_size);
         update pg_index set indisvalid = false where indexrelid = 'torrents_largest_making'::regclass;
         drop index torrents_largest",
    )
    .await;
    assert_eq!(
        steps(&test).await,
        [
            "build torrents_newest of 300",
            "built torrents_newest",
            "drop torrents_largest_making",
            "build torrents_largest of 300",
            "built torrents_largest"
        ]
    );
    assert_eq!(catalog(&test).await, wanted);

    // One was whole, only it had not taken its place yet.
    test.execute("alter index torrents_popular rename to torrents_popular_making").await;
    assert_eq!(steps(&test).await, ["built torrents_popular"]);
    assert_eq!(catalog(&test).await, wanted);
}

#[tokio::test]
async fn indexers_that_start_together_on_old_data_make_its_indexes_once() {
    let test = restored().await;
    let (a, b, c) = tokio::join!(steps(&test), steps(&test), steps(&test));
    let built = [a, b, c].concat().into_iter().filter(|step| step == "built torrents_newest").count();
    assert_eq!(built, 1);
}

#[tokio::test]
async fn a_run_that_is_killed_while_it_makes_indexes_is_gone_on_with() {
    let test = restored().await;
    test.execute("analyze").await;
    steps(&test).await;
    test.execute("drop index torrents_newest").await;
    // Somebody who writes keeps the index from being finished: so the run can be killed in the middle.
    let mut writer = test.client().await;
    let transaction = writer.build_transaction().start().await.unwrap();
    transaction.execute("lock table torrents in row exclusive mode", &[]).await.unwrap();
    let mut other = test.connect_again().await.unwrap();
    let waits = async {
        let sql = "select count(*) from pg_stat_activity where datname = current_database()
            and query like 'create index concurrently%' and wait_event_type = 'Lock'";
        while test.number(sql).await == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = other.migrate() => panic!("somebody is in its way"),
        () = waits => {}
    }
    test.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and query like 'create index concurrently%'",
    )
    .await;
    drop(other);
    transaction.commit().await.unwrap();
    let made = steps(&test).await;
    assert_eq!(
        made,
        ["drop torrents_newest_making", "build torrents_newest of 300", "built torrents_newest"]
    );
    let fresh = TestDatabase::new().await;
    assert_eq!(catalog(&test).await, catalog(&fresh).await);
}

/// Columns, indexes, constraints and settings of all tables.
async fn catalog(test: &TestDatabase) -> Vec<String> {
    let rows = test
        .client()
        .await
        .query(
            "select concat_ws(' ', 'column', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                 a.attstattarget, a.attstorage, pg_get_expr(d.adbin, d.adrelid)) as line
             from pg_attribute a join pg_class c on c.oid = a.attrelid
             left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
             where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped
             union all
             select concat_ws(' ', 'index', pg_get_indexdef(i.indexrelid), i.indisvalid) from pg_index i
             join pg_class c on c.oid = i.indrelid where c.relnamespace = 'public'::regnamespace
             union all
             select concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid)) from pg_constraint
             where connamespace = 'public'::regnamespace
             union all
             select concat_ws(' ', 'table', relname, reloptions) from pg_class
             where relnamespace = 'public'::regnamespace and relkind = 'r'
             order by line",
            &[],
        )
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}
