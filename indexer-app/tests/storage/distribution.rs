//! That the schema can be distributed over several servers (Citus) as it is: what it asks of keys holds of every table there is.

use std::collections::{BTreeMap, BTreeSet};

use crate::private_cluster::TestDatabase;

/// Tables that grow with torrents, and the column that they are distributed by; all of them are joined by it.
const BY_INFO_HASH: [(&str, &str); 7] = [
    ("torrents", "info_hash"),
    ("torrent_files", "info_hash"),
    ("torrent_stats", "info_hash"),
    ("aliases", "alias"),
    ("backlog", "info_hash"),
    ("tombstones", "info_hash"),
    ("info_dicts", "info_hash"),
];

/// Tables that grow with nodes: they are joined by the address.
const BY_ENDPOINT: [(&str, &str); 2] = [("nodes", "ip"), ("observations", "ip")];

/// Small ones, of which every server has a copy.
const REFERENCE: [&str; 16] = [
    "ban_rules",
    "identity",
    "keyspace_slices",
    "path_word_lists",
    "path_words",
    "path_words_read",
    "reindexing",
    "run_addresses",
    "run_counts",
    "run_limits",
    "run_stage_times",
    "run_stages",
    "run_work",
    "runs",
    "vocabulary",
    "vocabulary_read",
];

/// What is not ours.
const FOREIGN: [&str; 1] = ["refinery_schema_history"];

fn distributed() -> BTreeMap<&'static str, &'static str> {
    BY_INFO_HASH.into_iter().chain(BY_ENDPOINT).collect()
}

async fn strings(test: &TestDatabase, sql: &str) -> Vec<Vec<String>> {
    let rows = test.client().await.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (0..row.len()).map(|column| row.get(column)).collect()).collect()
}

async fn tables(test: &TestDatabase) -> BTreeSet<String> {
    let sql = "select relname::text from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')";
    strings(test, sql).await.into_iter().flatten().collect()
}

#[tokio::test]
async fn every_table_is_distributed_by_a_key_or_small_enough_to_be_copied() {
    let test = TestDatabase::new().await;
    let distributed = distributed();
    for table in tables(&test).await {
        let places = [
            distributed.contains_key(table.as_str()),
            REFERENCE.contains(&table.as_str()),
            FOREIGN.contains(&table.as_str()),
        ];
        assert_eq!(
            places.iter().filter(|is| **is).count(),
            1,
            "{table} has to have one place in these lists"
        );
    }
}

#[tokio::test]
async fn every_unique_key_of_a_distributed_table_contains_what_it_is_distributed_by() {
    let test = TestDatabase::new().await;
    let distributed = distributed();
    let keys = strings(
        &test,
        "select c.relname::text, i.indexrelid::regclass::text,
             (select coalesce(string_agg(a.attname::text, ',' order by a.attname), '') from pg_attribute a
              where a.attrelid = c.oid and a.attnum = any(i.indkey))
         from pg_index i join pg_class c on c.oid = i.indrelid
         where c.relnamespace = 'public'::regnamespace and i.indisunique",
    )
    .await;
    let mut checked = BTreeSet::new();
    for key in &keys {
        let [table, index, columns] = &key[..] else { panic!("three columns") };
        let Some(column) = distributed.get(table.as_str()) else { continue };
        assert!(columns.split(',').any(|one| one == *column), "{index} of {table} has only {columns}");
        checked.insert(table.as_str());
    }
    // Each has one: without a key rows cannot be told apart, nor a conflict be found.
    let all = tables(&test).await;
    let expected: BTreeSet<&str> = distributed.keys().copied().filter(|table| all.contains(*table)).collect();
    assert_eq!(checked, expected);
}

#[tokio::test]
async fn foreign_keys_exclusions_and_sequences_are_only_in_tables_that_are_copied() {
    let test = TestDatabase::new().await;
    let distributed = distributed();
    let constraints = strings(
        &test,
        "select conrelid::regclass::text, conname::text, coalesce(confrelid::regclass::text, '') from pg_constraint
         where connamespace = 'public'::regnamespace and contype in ('f', 'x', 't')
         union all
         select d.refobjid::regclass::text, s.relname::text, '' from pg_class s join pg_depend d on d.objid = s.oid
         where s.relkind = 'S' and d.deptype in ('a', 'i') and s.relnamespace = 'public'::regnamespace
         union all
         select tgrelid::regclass::text, tgname::text, '' from pg_trigger where not tgisinternal",
    )
    .await;
    assert!(!constraints.is_empty());
    for row in constraints {
        let [table, name, other] = &row[..] else { panic!("three columns") };
        for table in [table, other] {
            assert!(!distributed.contains_key(table.as_str()), "{name} ties {table} to one server");
        }
    }
}

#[test]
fn distributed_tables_are_joined_by_what_they_are_distributed_by() {
    fn visit(folder: &std::path::Path, texts: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                visit(&entry.path(), texts);
            } else {
                texts.push(std::fs::read_to_string(entry.path()).unwrap());
            }
        }
    }
    let mut texts = Vec::new();
    visit(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/db"), &mut texts);
    let mut joins = 0;
    for text in &texts {
        let words: Vec<&str> = text.split_whitespace().collect();
        for (at, pair) in words.windows(2).enumerate().filter(|(_, pair)| pair[0] == "join") {
            let Some(column) = distributed().get(pair[1]).copied() else { continue };
            // The table, its short name, and the condition.
            let condition = words[at + 2..].iter().take(6).copied().collect::<Vec<_>>().join(" ");
            assert!(condition.contains(column), "join {} {condition}", pair[1]);
            joins += 1;
        }
    }
    assert!(joins > 10, "{joins}");
}

#[tokio::test]
async fn the_documentation_says_how_each_table_is_distributed() {
    let test = TestDatabase::new().await;
    let readme = include_str!("../../../README.md");
    let statement = |text: String| assert!(readme.contains(&text), "the README lacks: {text}");
    let all = tables(&test).await;
    for (table, column) in distributed() {
        if all.contains(table) && table != "torrents" && table != "nodes" {
            let with = if BY_ENDPOINT.iter().any(|(one, _)| *one == table) { "nodes" } else { "torrents" };
            statement(format!(
                "select create_distributed_table('{table}', '{column}', colocate_with => '{with}');"
            ));
        }
    }
    statement("select create_distributed_table('torrents', 'info_hash');".to_owned());
    statement("select create_distributed_table('nodes', 'ip');".to_owned());
    for table in all.iter().filter(|table| REFERENCE.contains(&table.as_str())) {
        statement(format!("('{table}')"));
    }
}
