//! Searches on a real database.

use std::time::Duration;

use crate::private_cluster::{TestDatabase, hash, torrent, with_files};
use indexer_app::{
    db::{Announce, Hashes, NewTorrent, RecordAnnounces, Search, SwarmSize},
    search::{Count, Page, Request, Sort},
    signature::Signature,
};

async fn page(test: &TestDatabase, request: Request) -> Page {
    test.run(Search { request }).await
}

async fn names(test: &TestDatabase, query: &str) -> Vec<String> {
    let mut names: Vec<String> =
        page(test, Request::new(query)).await.hits.into_iter().map(|hit| hit.torrent.name).collect();
    names.sort_unstable();
    names
}

/// Stores torrents of these names, numbered in their order.
async fn with_names(names: &[&str]) -> TestDatabase {
    let test = TestDatabase::new().await;
    for (number, name) in (0_u32..).zip(names) {
        test.store(vec![torrent(number, name)]).await;
    }
    test
}

#[tokio::test]
async fn all_words_must_be_there_in_any_order_and_writing() {
    let test =
        with_names(&["Ubuntu.22.04-Desktop", "ubuntu server 22", "Debian 12 desktop", "Café DEL mar"]).await;
    assert_eq!(names(&test, "desktop UBUNTU").await, ["Ubuntu.22.04-Desktop"]);
    assert_eq!(names(&test, "ubuntu 22").await, ["Ubuntu.22.04-Desktop", "ubuntu server 22"]);
    assert_eq!(names(&test, "cafe").await, ["Café DEL mar"]);
    assert_eq!(names(&test, "CAFÉ").await, ["Café DEL mar"]);
    assert_eq!(names(&test, "ubuntu debian").await, Vec::<String>::new());
    assert_eq!(names(&test, "ubunt").await, Vec::<String>::new(), "a word is a whole word");
}

#[tokio::test]
async fn phrases_beginnings_and_exclusions_narrow() {
    let test = with_names(&["Red Hat Linux", "Hat Red", "red big hat", "Redhat", "Red Hat beta"]).await;
    assert_eq!(names(&test, "\"red hat\"").await, ["Red Hat Linux", "Red Hat beta"]);
    assert_eq!(names(&test, "red*").await.len(), 5);
    assert_eq!(names(&test, "\"red hat\" -beta").await, ["Red Hat Linux"]);
    assert_eq!(names(&test, "hat -\"red hat\"").await, ["Hat Red", "red big hat"]);
    assert_eq!(names(&test, "-red").await, ["Redhat"]);
    assert_eq!(names(&test, "red -red").await, Vec::<String>::new());
}

#[tokio::test]
async fn scripts_without_spaces_are_found_by_any_part() {
    let test =
        with_names(&["進撃の巨人 Season 1", "巨人の進撃", "日本", "ガンダム", "오징어게임", "Война и мир"])
            .await;
    assert_eq!(names(&test, "進撃の").await, ["進撃の巨人 Season 1"]);
    assert_eq!(names(&test, "巨人").await, ["巨人の進撃", "進撃の巨人 Season 1"]);
    assert_eq!(
        names(&test, "撃").await,
        ["巨人の進撃", "進撃の巨人 Season 1"],
        "last of one, in the middle of the other"
    );
    assert_eq!(names(&test, "本").await, ["日本"]);
    assert_eq!(names(&test, "ｶﾞﾝﾀﾞﾑ").await, ["ガンダム"]);
    assert_eq!(names(&test, "게임").await, ["오징어게임"]);
    assert_eq!(names(&test, "ВОЙНА МИР").await, ["Война и мир"]);
}

#[tokio::test]
async fn an_episode_is_found_by_season_number_or_both() {
    let test = with_names(&["Show S02E05 720p", "Show S02E06", "Show s02 e05 web"]).await;
    assert_eq!(names(&test, "s02e05").await, ["Show S02E05 720p", "Show s02 e05 web"]);
    assert_eq!(names(&test, "show s02").await.len(), 3);
    assert_eq!(names(&test, "e06").await, ["Show S02E06"]);
}

#[tokio::test]
async fn names_come_before_paths_and_the_path_that_matched_is_named() {
    let test = TestDatabase::new().await;
    test.store(vec![
        with_files(
            torrent(1, "Collection"),
            &["disc 1/readme.txt", "disc 1/Blue Moon.flac", "x/moon blue.flac"],
        ),
        torrent(2, "Blue Moon"),
        with_files(torrent(3, "Moon pack"), &["a.bin", "sub/blue.bin"]),
        with_files(torrent(4, "other"), &["blue.txt"]),
    ])
    .await;
    let found = page(&test, Request::new("blue moon")).await;
    let shown: Vec<(&str, Option<&str>)> =
        found.hits.iter().map(|hit| (hit.torrent.name.as_str(), hit.matched_file.as_deref())).collect();
    assert_eq!(shown[0], ("Blue Moon", None));
    assert_eq!(shown.len(), 3);
    assert!(shown.contains(&("Collection", Some("disc 1/Blue Moon.flac"))), "{shown:?}");
    assert!(
        shown.contains(&("Moon pack", Some("sub/blue.bin"))),
        "words of name and paths together: {shown:?}"
    );
    assert_eq!(found.count, Count { number: 3, exact: true });
    assert_eq!(names(&test, "\"moon blue\"").await, ["Collection"]);
    assert_eq!(names(&test, "\"blue moon\"").await, ["Blue Moon", "Collection"]);
    assert_eq!(names(&test, "blue -readme").await, ["Blue Moon", "Moon pack", "other"]);
    assert_eq!(names(&test, "blue -\"blue moon\"").await, ["Moon pack", "other"]);
}

#[tokio::test]
async fn relevance_prefers_close_words_short_names_and_popular_torrents() {
    let test = with_names(&[
        "alpha beta gamma delta epsilon zeta eta theta iota kappa red lambda mu nu xi hat",
        "red hat",
        "red hat and a lot of other words that are not asked for at all",
    ])
    .await;
    let order =
        |found: &Page| found.hits.iter().map(|hit| hit.torrent.hashes.canonical()).collect::<Vec<_>>();
    let found = page(&test, Request::new("red hat")).await;
    assert_eq!(order(&found), [hash(1), hash(2), hash(0)]);
    assert!(found.hits.is_sorted_by(|a, b| a.relevance > b.relevance));
    let announces = vec![Announce { info_hash: hash(2), weight: 1e6, swarm: None }];
    test.run(RecordAnnounces { announces }).await;
    assert_eq!(order(&page(&test, Request::new("red hat")).await)[0], hash(2));
}

#[tokio::test]
async fn a_hash_of_either_version_finds_its_torrent_and_only_then() {
    let test = TestDatabase::new().await;
    let hybrid = Hashes::Hybrid { v1: hash(1), v2: [7; 32] };
    let text = "00000000000000000000000000000000000000aa";
    test.store(vec![
        NewTorrent { hashes: hybrid, ..torrent(1, "both") },
        torrent(2, &format!("dump of {text}")),
    ])
    .await;
    assert_eq!(names(&test, &hash(1).to_string().to_uppercase()).await, ["both"]);
    assert_eq!(names(&test, &"07".repeat(20)).await, ["both"]);
    assert_eq!(names(&test, &format!("  {}\n", "07".repeat(32))).await, ["both"]);
    assert_eq!(
        names(&test, text).await,
        [format!("dump of {text}")],
        "a hash that is none of ours is a word"
    );
    assert_eq!(names(&test, &format!("{}{}", "07".repeat(31), "08")).await, Vec::<String>::new());
}

/// Every page one after the other.
async fn all_pages(test: &TestDatabase, query: &str, sort: Sort, limit: u32) -> Vec<Page> {
    let mut request = Request { sort, limit, ..Request::new(query) };
    let mut pages = Vec::new();
    loop {
        let page = page(test, request.clone()).await;
        // As text, as it is handed out.
        let next = page.next.map(|cursor| cursor.to_string());
        pages.push(page);
        match next {
            Some(next) => request.cursor = Some(next.parse().unwrap()),
            None => return pages,
        }
    }
}

fn in_order(pages: &[Page], key: impl Fn(&indexer_app::db::TorrentSummary) -> i128) -> bool {
    pages.iter().flat_map(|page| &page.hits).map(|hit| key(&hit.torrent)).is_sorted()
}

#[tokio::test]
async fn pages_of_every_order_hold_each_torrent_once_and_in_order() {
    let test = TestDatabase::new().await;
    // Many that are equal in what they are sorted by, some that only paths match, some that do not match.
    for round in 0_u32..5 {
        let batch = (0..60).map(|number| {
            let number = round * 60 + number;
            let name = if number % 3 == 0 { format!("other {number}") } else { format!("word {number}") };
            let mut torrent = torrent(number, &name);
            if number % 6 == 0 {
                torrent = with_files(torrent, &["a/word.txt"]);
            }
            NewTorrent { total_size: u64::from(number % 7), ..torrent }
        });
        test.store(batch.collect()).await;
    }
    test.run(RecordAnnounces {
        announces: (0..300)
            .map(|number| Announce {
                info_hash: hash(number),
                weight: f64::from(number % 5 * 3),
                swarm: (number % 4 == 1).then_some(SwarmSize {
                    whole: true,
                    nodes: 8,
                    seeders: number % 11,
                    leechers: 1,
                }),
            })
            .collect(),
    })
    .await;
    for sort in Sort::ALL {
        let pages = all_pages(&test, "word", sort, 17).await;
        let keys: Vec<_> =
            pages.iter().flat_map(|page| &page.hits).map(|hit| hit.torrent.hashes.canonical()).collect();
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!((keys.len(), distinct.len()), (250, 250), "{sort}");
        assert!(pages[..pages.len() - 1].iter().all(|page| page.hits.len() == 17), "{sort}");
        assert_eq!(pages[0].count, Count { number: 200, exact: true }, "{sort}");
        let names: Vec<Page> = pages
            .iter()
            .cloned()
            .map(|mut page| {
                page.hits.retain(|hit| hit.matched_file.is_none());
                page
            })
            .collect();
        let at = |torrent: &indexer_app::db::TorrentSummary| {
            torrent.added_at.duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as i128
        };
        match sort {
            Sort::Newest => assert!(in_order(&names, |torrent| -at(torrent))),
            Sort::Oldest => assert!(in_order(&names, at)),
            Sort::Size => assert!(in_order(&names, |torrent| -i128::from(torrent.total_size))),
            Sort::Files => assert!(in_order(&names, |torrent| -i128::from(torrent.file_count))),
            Sort::Seeders => {
                let seeders = |torrent: &indexer_app::db::TorrentSummary| {
                    torrent.swarm.map_or(0, |swarm| i128::from(swarm.size.seeders))
                };
                assert!(in_order(&names, |torrent| -seeders(torrent)));
                assert!(names[0].hits.iter().all(|hit| seeders(&hit.torrent) > 0));
            }
            Sort::Popularity => assert!(in_order(&names, |torrent| -i128::from(torrent.popularity))),
            Sort::Relevance => {
                let scores = names.iter().flat_map(|page| &page.hits).map(|hit| -hit.relevance);
                assert!(scores.is_sorted());
            }
        }
    }
    // Names that just fill their last page are followed by paths all the same.
    let pages = all_pages(&test, "word", Sort::Newest, 20).await;
    assert_eq!(
        pages.iter().map(|page| page.hits.len()).collect::<Vec<_>>(),
        [vec![20; 12], vec![10]].concat()
    );
    // Without words everything is listed.
    let everything = all_pages(&test, " * ", Sort::Newest, 100).await;
    assert_eq!(everything.iter().map(|page| page.hits.len()).sum::<usize>(), 300);
}

/// Torrents made by the database itself: as many as it takes to make walking worth while.
async fn with_many(rows: u32) -> TestDatabase {
    let test = TestDatabase::new().await;
    let signatures: Vec<i64> = (1..=rows).map(|number| signature(number, rows)).collect();
    // "common" is in all names, "half" in every other, "tenth" in every tenth, "rare" in ten, "old" in the oldest 4000.
    let insert = format!(
        "insert into torrents (info_hash, name, total_size, piece_length, file_count, piece_count, private,
            discovered_by, tok_ver, added_at, popularity, tsv, kind, signature)
         select decode(lpad(to_hex(n), 40, '0'), 'hex'), n::text, n * 7919 % 100003, 1, 1 + n % 13, 1, false, 1, 1,
            now() - make_interval(secs => n), n % 11,
            (format('common:1 n%s:2', n) || case when n % 2 = 0 then ' half:3' else '' end
                || case when n % 10 = 0 then ' tenth:4' else '' end
                || case when n % ({rows} / 10) = 0 then ' rare:5' else '' end
                || case when n > {rows} - 4000 then ' old:6' else '' end)::tsvector,
            n % 4, signature
         from unnest($1::int8[]) with ordinality as g (signature, n)"
    );
    test.client().await.execute(&insert, &[&signatures]).await.unwrap();
    // Equal times, as a batch has them, and equal sizes are more than an index tells apart.
    test.execute(&format!(
        "insert into torrent_stats (info_hash, seeders, signature)
         select info_hash, greatest(0, name::int8 % 10 - 6), signature from torrents;
         update torrents set added_at = now() - interval '3 days' where name::int8 between {rows} / 2 and {rows} / 2 + 700;
         update torrents set total_size = 50000 where name::int8 between {rows} / 3 and {rows} / 3 + 6000;"
    ))
    .await;
    for table in ["torrents", "torrent_stats"] {
        test.execute(&format!("vacuum analyze {table}")).await;
    }
    test
}

/// Of the words that a number has in [`with_many`].
fn signature(number: u32, rows: u32) -> i64 {
    let own = format!("n{number}");
    let of = |word, has: bool| has.then_some(word);
    let words = [
        Some("common"),
        Some(own.as_str()),
        of("half", number.is_multiple_of(2)),
        of("tenth", number.is_multiple_of(10)),
        of("rare", number.is_multiple_of(rows / 10)),
        of("old", number > rows - 4_000),
    ];
    Signature::of(words.into_iter().flatten()).to_i64()
}

#[tokio::test]
async fn many_hits_and_few_are_found_in_the_same_order_as_by_looking_at_all() {
    let test = with_many(60_000).await;
    for query in [
        "common",
        "half",
        "tenth",
        "rare",
        "old",
        "common half",
        "tenth -half",
        "common -half",
        "-common",
        "rare tenth",
    ] {
        for (sort, order) in [
            (Sort::Newest, "added_at desc, info_hash"),
            (Sort::Oldest, "added_at, info_hash desc"),
            (Sort::Size, "total_size desc, info_hash"),
            (Sort::Files, "file_count desc, added_at desc, info_hash"),
            (
                Sort::Seeders,
                "coalesce(seeders, 0) desc, case when coalesce(seeders, 0) = 0 then added_at end desc, info_hash",
            ),
            (Sort::Popularity, "popularity desc, added_at desc, info_hash"),
        ] {
            let words: Vec<String> = query
                .split(' ')
                .map(|word| word.strip_prefix('-').map_or(format!("'{word}'"), |word| format!("!'{word}'")))
                .collect();
            let sql = format!(
                "select name from torrents left join torrent_stats using (info_hash)
                where tsv @@ $1::text::tsquery order by {order} limit 40"
            );
            let expected: Vec<String> = test
                .client()
                .await
                .query(&sql, &[&words.join(" & ")])
                .await
                .unwrap()
                .iter()
                .map(|row| row.get(0))
                .collect();
            let mut request = Request { sort, ..Request::new(query) };
            let first = page(&test, request.clone()).await;
            request.cursor = first.next;
            let second = if first.next.is_some() { page(&test, request).await.hits } else { Vec::new() };
            let found: Vec<String> =
                first.hits.into_iter().chain(second).map(|hit| hit.torrent.name).collect();
            // Fetched hits are capped: then order may be approximate, and the page says so.
            assert!(
                found == expected || first.approximate,
                "{query} by {sort}: {found:?} is not {expected:?}"
            );
            // What no index helps with is walked a window at a time.
            assert!(!first.approximate || ["old", "-common"].contains(&query), "{query} by {sort}");
        }
    }
}

#[tokio::test]
async fn pages_of_a_walk_are_the_whole_though_its_index_cannot_tell_all_rows_apart() {
    let test = with_many(60_000).await;
    for (sort, order) in [
        (Sort::Newest, "added_at desc, info_hash"),
        (Sort::Oldest, "added_at, info_hash desc"),
        (Sort::Size, "total_size desc, info_hash"),
        (Sort::Files, "file_count desc, added_at desc, info_hash"),
        (Sort::Popularity, "popularity desc, added_at desc, info_hash"),
    ] {
        let sql = format!(
            "select name from torrents where tsv @@ 'half & common'::tsquery order by {order} limit 20000"
        );
        let rows = test.client().await.query(&sql, &[]).await.unwrap();
        let expected: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let mut found = Vec::new();
        let mut request = Request { sort, limit: 500, ..Request::new("common half") };
        while found.len() < expected.len() {
            let page = page(&test, request.clone()).await;
            assert!(page.next.is_some(), "{} of them by {sort}", found.len());
            request.cursor = page.next;
            found.extend(page.hits.into_iter().map(|hit| hit.torrent.name));
        }
        found.truncate(expected.len());
        let differs = found.iter().zip(&expected).position(|(found, expected)| found != expected);
        assert_eq!(differs, None, "by {sort}");
    }
}

#[tokio::test]
async fn counts_are_exact_when_cheap_and_estimates_else() {
    let test = with_many(60_000).await;
    let counted = |query: &str| {
        let request = Request { sort: Sort::Newest, ..Request::new(query) };
        let test = &test;
        async move { page(test, request).await.count }
    };
    assert_eq!(counted("rare").await, Count { number: 10, exact: true });
    assert_eq!(counted("nothing").await, Count { number: 0, exact: true });
    let half = counted("half").await;
    assert!(!half.exact && (20_000..40_000).contains(&half.number), "{half:?}");
    let all = counted("").await;
    assert!(!all.exact && (55_000..65_000).contains(&all.number), "{all:?}");
    // All 60,000 match: they are not all ranked, and the page says so.
    let ranked = page(&test, Request::new("common")).await;
    assert_eq!((ranked.hits.len(), ranked.approximate), (20, true));
    assert!(ranked.hits.iter().all(|hit| hit.torrent.popularity == 10));
}

#[tokio::test]
async fn no_query_and_no_cursor_fails() {
    let test = with_names(&["a", "b c"]).await;
    let long = "x ".repeat(500_000);
    let deep = "(".repeat(100_000);
    let quotes = "\"a\" ".repeat(10_000);
    let odd = [
        "",
        " ",
        "\0",
        "\u{feff}",
        "'",
        "''",
        "\\",
        "a\\",
        "'a' & | ! <-> :*",
        ":*",
        "!!a",
        "a:b:*",
        "\"",
        "\"\"",
        "-",
        "--",
        "-\"",
        "*",
        "a**",
        "<2>",
        "a <-> b",
        "(((",
        ")))",
        "$1",
        "%s",
        "; drop table torrents; --",
        "\u{202e}a",
        "🎬",
        "a\u{301}",
        &long,
        &deep,
        &quotes,
    ];
    for query in odd {
        for sort in Sort::ALL {
            page(&test, Request { sort, ..Request::new(query) }).await;
        }
    }
    for cursor in [
        "n.0.ffffffffffffffff.8000000000000000.0000000000000000000000000000000000000000",
        "n.7fffffffffffffff.0.7fffffffffffffff.0000000000000000000000000000000000000000",
        "n.8000000000000000.1.8000000000000000.0000000000000000000000000000000000000000",
        "p.0.7fffffffffffffff.7fffffffffffffff.ffffffffffffffffffffffffffffffffffffffff",
    ] {
        for sort in Sort::ALL {
            let request = Request { sort, cursor: Some(cursor.parse().unwrap()), ..Request::new("a") };
            page(&test, request).await;
        }
    }
    for limit in [0, 1, u32::MAX] {
        let request = Request { limit, timeout: Duration::from_secs(60), ..Request::new("c") };
        assert_eq!(page(&test, request).await.hits.len(), 1);
    }
}

#[tokio::test]
async fn a_search_that_takes_too_long_is_cut_off() {
    let test = with_names(&["a"]).await;
    let blocker = test.client().await;
    blocker.batch_execute("begin; lock table torrents in access exclusive mode").await.unwrap();
    let request = Request { timeout: Duration::from_millis(50), ..Request::new("a") };
    let mut client = test.client().await;
    let error = tea_runtime::Session::run(Search { request }, &mut client).await.unwrap_err();
    assert!(error.to_string().contains("57014"), "{error}");
    blocker.batch_execute("rollback").await.unwrap();
    // The connection is as good as before.
    let request = Request::new("a");
    assert_eq!(tea_runtime::Session::run(Search { request }, &mut client).await.unwrap().hits.len(), 1);
}
