//! A database of the first release, brought up to date.

use std::collections::BTreeMap;

use indexer_app::{
    db::{HashQuery, Recent, Reindex, ReindexBegin, ReindexProgress, ReindexTurn, Search, Show, Stats},
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

    // Before anything is made again all is found by its words, only nobody knows what it is.
    let unknown = hits(&test, "harbour").await;
    assert!(!unknown.is_empty() && unknown.iter().all(|(_, kind)| kind.is_none()), "{unknown:?}");
    reindex(&test).await;
    let known = hits(&test, "harbour").await;
    assert_eq!(known.len(), unknown.len());
    assert!(known.iter().all(|(_, kind)| kind.is_some()));
    assert_eq!(test.run(ReindexProgress).await.unwrap().rows.made_again, 300);

    // Each row is what the program of today makes of it.
    let rows = test.run(Recent { limit: 1_000 }).await;
    assert_eq!(rows.len(), 300);
    let types: BTreeMap<_, _> = test.run(Stats { runs: 5 }).await.torrents_by_type;
    assert_eq!(types.values().sum::<u64>(), 300);
    assert!(!types.contains_key("unknown") && types["video"] > 50 && types["audio"] > 10, "{types:?}");
    let marks = "select count(*) from torrents where tsv @@ ''':t:video'''::tsquery";
    assert_eq!(test.number(marks).await, types["video"] as i64);
    for row in &rows {
        let shown = test.run(Show { hash: HashQuery::exact(row.hashes.canonical()) }).await.remove(0);
        let kind = shown.traits().kind;
        let sql = format!(
            "select count(*) from torrents where info_hash = '\\x{}' and kind = {} and tsv @@ ''':t:{kind}'''::tsquery",
            row.hashes.canonical(),
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
