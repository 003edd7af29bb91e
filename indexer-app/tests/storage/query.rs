//! The language of searches on a real database, compared with looking at every torrent one by one.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, SystemTime},
};

use crate::private_cluster::{TestDatabase, hash, torrent, with_files};
use indexer_app::{
    db::{LearnWords, NewTorrent, Search},
    kinds::{Kind, classify, extension_marks},
    query::{Expr, Moment, Number, Range, Span, Term, Text, Trait, parse},
    search::{Page, Request, Sort},
};
use krpc::InfoHash;

/// Numbers that look like chance and are the same each time (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

const WORDS: [&str; 8] = ["red", "hat", "blue", "moon", "rock", "rocket", "alpha", "sun"];
const TAGS: [&str; 8] = ["1999", "2004", "1080p", "x265", "BluRay", "2023", "S02E05", "FRENCH"];
const EXTENSIONS: [&str; 6] = ["mkv", "flac", "epub", "exe", "txt", "jpg"];

/// A torrent as the oracle sees it.
struct Known {
    name: Vec<String>,
    paths: Vec<Vec<String>>,
    /// Its only file has its name.
    single: bool,
    marks: BTreeSet<String>,
    year: Option<u16>,
    season: Option<u16>,
    episode: Option<u16>,
    size: u64,
    files: u64,
    seeders: u64,
    leechers: u64,
    popularity: i16,
    added: SystemTime,
    seen: SystemTime,
}

/// Words as anybody would split ASCII.
fn split(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect()
}

fn corpus(chance: &mut Chance, number: u32) -> NewTorrent {
    let mut words: Vec<&str> = (0..1 + chance.below(4)).map(|_| chance.one(&WORDS)).collect();
    for _ in 0..chance.below(3) {
        words.push(chance.one(&TAGS));
    }
    let name = words.join(chance.one(&[" ", "."]));
    if chance.below(3) == 0 {
        let size = 1 << chance.below(34);
        return NewTorrent {
            files: vec![(vec![name.clone()], size)],
            total_size: size,
            ..torrent(number, &name)
        };
    }
    let paths: Vec<String> = (0..1 + chance.below(4))
        .map(|_| {
            let folder =
                if chance.below(2) == 0 { format!("{}/", chance.one(&WORDS)) } else { String::new() };
            format!("{folder}{}.{}.{}", chance.one(&WORDS), chance.one(&WORDS), chance.one(&EXTENSIONS))
        })
        .collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let mut torrent = with_files(torrent(number, &name), &paths);
    torrent.total_size = 0;
    for (_, length) in &mut torrent.files {
        *length = 1 << chance.below(34);
        torrent.total_size += *length;
    }
    torrent
}

/// A query from its grammar.
fn query(chance: &mut Chance, depth: usize) -> String {
    let mut parts: Vec<String> = Vec::new();
    for _ in 0..1 + chance.below(3) {
        let term = match chance.below(if depth == 0 { 26 } else { 30 }) {
            0..=7 => chance.one(&WORDS).to_owned(),
            8 => format!("{}*", chance.one(&["ro", "rocke", "re", "s", "h"])),
            9 | 10 => format!("\"{} {}\"", chance.one(&WORDS), chance.one(&WORDS)),
            11 => format!("{}-{}", chance.one(&WORDS), chance.one(&WORDS)),
            12 | 13 => format!("file:{}", chance.one(&WORDS)),
            14 => format!("file:\"{} {}\"", chance.one(&WORDS), chance.one(&WORDS)),
            15 => format!("type:{}", chance.one(&["video", "audio|book", "software", "other|image"])),
            16 => format!("ext:{}", chance.one(&["mkv", "flac|epub", "exe", "nothing"])),
            17 => format!("size:{}", chance.one(&[">1mb", "<=4kib", "1kb..1gb", ">8gb", "..100"])),
            18 => format!("files:{}", chance.one(&["1", ">1", "2..3", "<2"])),
            19 => format!("added:{}", chance.one(&["<3d", ">10d", "1d..20d", "5d"])),
            20 => format!("seen:{}", chance.one(&["<3d", ">10d"])),
            21 => format!("seeders:{}", chance.one(&[">5", "0", "1..3", "<2"])),
            22 => format!("leechers:{}", chance.one(&[">0", "0"])),
            23 => format!("year:{}", chance.one(&["1999", ">2000", "1999|2023", "..2005"])),
            24 => chance.one(&["season:2", "episode:5", "episode:>3", "season:3"]).to_owned(),
            25 => format!(
                "{}:{}",
                chance.one(&["res", "codec", "source"]),
                chance.one(&["1080p", "x265", "bluray"])
            ),
            _ => format!("({})", query(chance, depth - 1)),
        };
        let sign = if chance.below(5) == 0 { "-" } else { "" };
        let or = if !parts.is_empty() && chance.below(4) == 0 { "OR " } else { "" };
        parts.push(format!("{or}{sign}{term}"));
    }
    parts.join(" ")
}

impl Known {
    fn holds(&self, expr: &Expr, by_name: bool, now: SystemTime) -> bool {
        match expr {
            Expr::All(parts) => parts.iter().all(|part| self.holds(part, by_name, now)),
            Expr::Any(parts) => parts.iter().any(|part| self.holds(part, by_name, now)),
            Expr::Not(inner) => !self.holds(inner, by_name, now),
            Expr::Term(term) => self.is(term, by_name, now),
        }
    }

    fn is(&self, term: &Term, by_name: bool, now: SystemTime) -> bool {
        match term {
            Term::Text(text) if by_name => has(text, std::slice::from_ref(&self.name)),
            Term::Text(text) => {
                let mut all = self.paths.clone();
                all.push(self.name.clone());
                has(text, &all)
            }
            Term::File(text) => self.paths.iter().any(|path| has(text, std::slice::from_ref(path))),
            Term::Trait(of, value) => {
                let letter = match of {
                    Trait::Kind => 't',
                    Trait::Extension => 'x',
                    Trait::Resolution => 'r',
                    Trait::Codec => 'c',
                    Trait::Source => 'o',
                    Trait::Language => 'l',
                    Trait::Group => 'g',
                };
                let kind = value.parse::<Kind>().ok().filter(|_| *of == Trait::Kind);
                let value = kind.map_or_else(|| value.clone(), |kind| kind.code().to_string());
                self.marks.contains(&format!(":{letter}{value}"))
            }
            Term::Number(of, range) => {
                let number = match of {
                    Number::Size => Some(self.size),
                    Number::Files => Some(self.files),
                    Number::Seeders => Some(self.seeders),
                    Number::Leechers => Some(self.leechers),
                    Number::Year => self.year.map(u64::from),
                    Number::Season => self.season.map(u64::from),
                    Number::Episode => self.episode.map(u64::from),
                };
                number.is_some_and(|number| within(*range, number))
            }
            Term::Time(of, span) => {
                let at = match of {
                    Moment::Added => self.added,
                    Moment::Seen => self.seen,
                };
                match span {
                    Span::Age(range) => within(*range, now.duration_since(at).unwrap_or_default().as_secs()),
                    Span::Days(_) => unreachable!("no query asks for days"),
                }
            }
            Term::Hash(_) => unreachable!("no query asks for a hash"),
        }
    }
}

fn within(range: Range, number: u64) -> bool {
    range.low.is_none_or(|low| low <= number) && range.high.is_none_or(|high| number <= high)
}

/// Whether the words are there: neighbours in one of the texts, others anywhere.
fn has(text: &Text, texts: &[Vec<String>]) -> bool {
    match text {
        Text::Word(word) => split(word).iter().all(|word| texts.iter().any(|text| text.contains(word))),
        Text::Prefix(word) => {
            let is = |other: &String| other.starts_with(word.as_str());
            texts.iter().any(|text| text.iter().any(is))
        }
        Text::Phrase(words) => {
            let words = split(words);
            texts.iter().any(|text| text.windows(words.len()).any(|window| window == words))
        }
    }
}

/// What each torrent is found by, in the order of the stages.
fn expected(known: &HashMap<InfoHash, Known>, expr: &Expr, sort: Sort, now: SystemTime) -> Vec<InfoHash> {
    let (mut has_files, mut has_words) = (false, false);
    expr.for_each_term(&mut |term, negated| {
        has_files |= matches!(term, Term::File(_));
        has_words |= matches!(term, Term::Text(_)) && !negated;
    });
    let by_name = |torrent: &Known| (!has_files || torrent.single) && torrent.holds(expr, true, now);
    let by_paths = |torrent: &Known| {
        (has_files || has_words)
            && !torrent.single
            && torrent.holds(expr, false, now)
            && (has_files || !torrent.holds(expr, true, now))
    };
    let sorted = |keep: &dyn Fn(&Known) -> bool| {
        let mut found: Vec<(&InfoHash, &Known)> = known.iter().filter(|(_, torrent)| keep(torrent)).collect();
        found.sort_by(|(left_hash, left), (right_hash, right)| {
            let hashes = left_hash.cmp(right_hash);
            let newest = right.added.cmp(&left.added).then(hashes);
            match sort {
                Sort::Newest => newest,
                Sort::Oldest => newest.reverse(),
                Sort::Size => right.size.cmp(&left.size).then(hashes),
                Sort::Files => right.files.cmp(&left.files).then(newest),
                Sort::Seeders => {
                    right.seeders.cmp(&left.seeders).then(if left.seeders == 0 { newest } else { hashes })
                }
                Sort::Popularity | Sort::Relevance => right.popularity.cmp(&left.popularity).then(newest),
            }
        });
        found.into_iter().map(|(hash, _)| *hash).collect::<Vec<_>>()
    };
    [sorted(&by_name), sorted(&by_paths)].concat()
}

/// A database of torrents of chance, and what the oracle knows of them.
async fn random_torrents(chance: &mut Chance, number: u32) -> (TestDatabase, HashMap<InfoHash, Known>) {
    let test = TestDatabase::new().await;
    let torrents: Vec<NewTorrent> = (0..number).map(|number| corpus(chance, number)).collect();
    test.store(torrents.clone()).await;
    // No age is a whole number of days, so that none is a bound of a condition.
    test.execute(
        "update torrents set added_at = date_trunc('hour', now()) - make_interval(hours => 7 * (get_byte(info_hash, 3) % 60), mins => 31),
             popularity = get_byte(info_hash, 3) % 7;
         update torrent_stats set seeders = greatest(0, get_byte(info_hash, 3) % 12 - 4), leechers = get_byte(info_hash, 3) % 2,
             last_seen = date_trunc('hour', now()) - make_interval(hours => 5 * (get_byte(info_hash, 3) % 70), mins => 31);
         analyze torrents; analyze torrent_files; analyze torrent_stats",
    )
    .await;
    test.learn_paths().await;
    let sql = "select info_hash, added_at, popularity, seeders, leechers, last_seen
        from torrents join torrent_stats using (info_hash)";
    let mut rows = HashMap::new();
    for row in test.client().await.query(sql, &[]).await.unwrap() {
        rows.insert(InfoHash::try_from(row.get::<_, &[u8]>(0)).unwrap(), row);
    }
    let mut known = HashMap::new();
    for torrent in torrents {
        let row = &rows[&torrent.hashes.canonical()];
        let traits = classify(&torrent.name, &torrent.files);
        let marks = traits.marks().into_iter().chain(extension_marks(&torrent.files)).collect();
        let paths: Vec<String> = torrent.files.iter().map(|(path, _)| path.join("/")).collect();
        known.insert(
            torrent.hashes.canonical(),
            Known {
                name: split(&torrent.name),
                single: paths == [torrent.name.as_str()],
                paths: paths.iter().map(|path| split(path)).collect(),
                marks,
                year: traits.year,
                season: traits.season,
                episode: traits.episode,
                size: torrent.total_size,
                files: torrent.files.len() as u64,
                added: row.get("added_at"),
                popularity: row.get("popularity"),
                seeders: row.get::<_, i32>("seeders") as u64,
                leechers: row.get::<_, i32>("leechers") as u64,
                seen: row.get("last_seen"),
            },
        );
    }
    (test, known)
}

/// Every page one after the other.
async fn pages(test: &TestDatabase, mut request: Request) -> Vec<Page> {
    let mut client = test.client().await;
    let mut pages = Vec::new();
    loop {
        let page = tea_runtime::Session::run(Search { request: request.clone() }, &mut client).await;
        let page = page.unwrap_or_else(|error| panic!("{}: {error}", request.query));
        // As text, as it is handed out.
        request.cursor = page.next.map(|cursor| cursor.to_string().parse().unwrap());
        pages.push(page);
        if request.cursor.is_none() {
            return pages;
        }
    }
}

#[tokio::test]
async fn every_query_in_every_order_gives_what_looking_at_each_torrent_gives() {
    let chance = &mut Chance(0x9e37_79b9_7f4a_7c15);
    let (test, known) = random_torrents(chance, 200).await;
    let mut found_something = 0;
    for round in 0..210 {
        let text = query(chance, 2);
        let sort = Sort::ALL[round % Sort::ALL.len()];
        let limit = chance.one(&[3, 7, 50]);
        let read = parse(&text);
        assert_eq!(read.notes, [], "{text}");
        let expr = read.expr.unwrap();
        let now = SystemTime::now();
        let pages = pages(&test, Request { sort, limit, ..Request::new(&text) }).await;
        let keys: Vec<InfoHash> =
            pages.iter().flat_map(|page| &page.hits).map(|hit| hit.torrent.hashes.canonical()).collect();
        let mut expected = expected(&known, &expr, sort, now);
        let said = format!("{text} by {sort}, {limit} on a page, read as {expr}");
        found_something += u32::from(!expected.is_empty());
        if sort == Sort::Relevance {
            // Its order has tests of its own; here that later pages agree with it.
            let stages = pages.iter().flat_map(|page| &page.hits).collect::<Vec<_>>();
            let stages = stages.split(|hit| hit.matched_file.is_some());
            for stage in stages {
                assert!(stage.is_sorted_by(|left, right| left.relevance >= right.relevance), "{said}");
            }
            let mut keys = keys.clone();
            keys.sort_unstable();
            expected.sort_unstable();
            assert_eq!(keys, expected, "{said}");
        } else {
            assert_eq!(keys, expected, "{said}");
        }
        assert!(pages.iter().all(|page| !page.approximate), "{said}");
        let count = pages[0].count;
        assert!(!count.exact || pages.len() > 1 || count.number == keys.len() as u64, "{said}: {count:?}");
    }
    assert!(found_something > 100, "only {found_something} queries found anything");
}

#[tokio::test]
async fn hashes_days_and_lists_are_conditions_like_others() {
    let test = TestDatabase::new().await;
    test.store(vec![torrent(1, "red hat"), torrent(0x0100_0000, "red moon"), torrent(3, "blue moon")]).await;
    test.execute("update torrents set added_at = '2024-05-01 00:00Z' where name = 'blue moon'").await;
    let found = |query: &'static str| {
        let test = &test;
        async move {
            let mut names: Vec<String> = pages(test, Request { limit: 1, ..Request::new(query) })
                .await
                .into_iter()
                .flat_map(|page| page.hits)
                .map(|hit| hit.torrent.name)
                .collect();
            names.sort_unstable();
            names
        }
    };
    assert_eq!(found("hash:00000001 red").await, ["red hat"]);
    assert_eq!(found("hash:0000").await, ["blue moon", "red hat"]);
    assert_eq!(found("hash:00000001|01000000").await, ["red hat", "red moon"]);
    assert_eq!(found("-hash:0000").await, ["red moon"]);
    assert_eq!(found("moon added:2024-05-01").await, ["blue moon"]);
    assert_eq!(found("added:2024-05").await, ["blue moon"]);
    assert_eq!(found("added:<2024-05-02").await, ["blue moon"]);
    assert_eq!(found("added:<2024-05-01").await, [""; 0]);
    assert_eq!(found("added:>2024-05-01 -hat").await, ["red moon"]);
    assert_eq!(found("(blue OR hat) type:other|video").await, ["blue moon", "red hat"]);
    assert_eq!(found(&*Box::leak(format!("hash:{}", hash(1)).into_boxed_str())).await, ["red hat"]);
}

#[tokio::test]
async fn more_popular_and_newer_torrents_are_more_relevant_and_names_before_paths() {
    let test = TestDatabase::new().await;
    test.store(vec![
        torrent(1, "red hat"),
        torrent(2, "red hat"),
        torrent(3, "red hat"),
        torrent(4, "red and a hat"),
        with_files(torrent(5, "collection"), &["red hat.txt", "x.txt"]),
        with_files(torrent(6, "collection"), &["red hat.txt", "y.txt"]),
    ])
    .await;
    let update = |number: u32, days: u32, popularity: u32| {
        let test = &test;
        async move {
            test.execute(&format!(
                "update torrents set added_at = now() - make_interval(days => {days}), popularity = {popularity}
                 where info_hash = '\\x{}'",
                hash(number)
            ))
            .await;
        }
    };
    update(1, 400, 0).await;
    update(2, 1, 0).await;
    update(3, 400, 4).await;
    update(4, 1, 0).await;
    update(5, 30, 0).await;
    update(6, 1, 8).await;
    let pages = pages(&test, Request { limit: 1, ..Request::new("red hat") }).await;
    let order: Vec<InfoHash> =
        pages.iter().flat_map(|page| &page.hits).map(|hit| hit.torrent.hashes.canonical()).collect();
    // Four buckets of popularity are worth more than newness, closeness more than newness, and a path never more than a name.
    assert_eq!(order, [hash(3), hash(2), hash(1), hash(4), hash(6), hash(5)]);
    let relevance: Vec<f64> = pages.iter().flat_map(|page| &page.hits).map(|hit| hit.relevance).collect();
    // (1 + 0.2 × 4) and, after 400 days, next to nothing for newness.
    assert!((relevance[0] / relevance[2] - 1.8).abs() < 0.001, "{relevance:?}");
    // Newness of a day: 1 + 0.5 × 2^(-1/30).
    assert!((relevance[1] / relevance[2] - 1.4885).abs() < 0.001, "{relevance:?}");
}

#[tokio::test]
async fn what_no_index_helps_with_is_walked_page_by_page_until_all_is_seen() {
    let test = TestDatabase::new().await;
    test.execute(
        "insert into torrents (info_hash, name, total_size, file_count, discovered_by, tok_ver, added_at, tsv)
         select decode(lpad(to_hex(n), 40, '0'), 'hex'), n::text, n, 1, 1, 1, now() - make_interval(secs => n), 'common:1'
         from generate_series(1, 30000) n;
         insert into torrent_stats (info_hash, leechers)
         select info_hash, case when total_size % 5000 = 0 then 3 else 0 end from torrents;
         analyze torrents; analyze torrent_stats",
    )
    .await;
    for sort in [Sort::Newest, Sort::Oldest, Sort::Size, Sort::Files, Sort::Seeders] {
        for text in [
            "leechers:>0",
            "(leechers:>0 OR size:<2) -nothing",
            "(common size:10000|15000) OR (leechers:>0 size:>15kb)",
        ] {
            let pages = pages(&test, Request { sort, ..Request::new(text) }).await;
            let sizes: BTreeSet<u64> =
                pages.iter().flat_map(|page| &page.hits).map(|hit| hit.torrent.total_size).collect();
            let number = pages.iter().map(|page| page.hits.len()).sum::<usize>();
            assert_eq!(sizes.len(), number, "{text} by {sort}: each once");
            let expected: BTreeSet<u64> = (1..=30_000)
                .filter(|size| match text {
                    "leechers:>0" => size % 5_000 == 0,
                    "(leechers:>0 OR size:<2) -nothing" => size % 5_000 == 0 || *size < 2,
                    _ => *size == 10_000 || *size == 15_000 || (size % 5_000 == 0 && *size > 15_000),
                })
                .collect();
            assert_eq!(sizes, expected, "{text} by {sort}");
            assert!(
                pages.len() > 1 && pages[0].approximate,
                "{text} by {sort}: it is said that more was to be seen"
            );
        }
    }
}

#[tokio::test]
async fn what_was_misspelled_is_put_right_when_that_has_hits() {
    let test = TestDatabase::new().await;
    let mut number = 0..;
    let mut batch = Vec::new();
    for (name, times) in
        [("Golden Horizon", 5), ("Silver Horizon part", 3), ("Golden Gate", 2), ("horizn oddity", 1)]
    {
        for _ in 0..times {
            batch.push(torrent(number.next().unwrap(), name));
        }
    }
    batch.push(with_files(torrent(100, "pack"), &["deep/Mandolin.flac"]));
    test.store(batch).await;
    let mut names = 0;
    loop {
        let learned = test.run(LearnWords { names: 4, words_max: 1_000 }).await;
        names += learned.names;
        if learned.names < 4 {
            break;
        }
    }
    assert_eq!(names, 12);
    assert_eq!(test.run(LearnWords { names: 4, words_max: 1_000 }).await.names, 0, "nothing is read twice");
    assert_eq!(test.number("select rows from vocabulary where lexeme = 'horizon'").await, 8);
    let meant = |query: &'static str| {
        let test = &test;
        async move { pages(test, Request::new(query)).await.pop().unwrap().did_you_mean }
    };
    assert_eq!(meant("goldn horzion").await.as_deref(), Some("golden horizon"));
    assert_eq!(meant("-gate Sliver horizon size:>1").await.as_deref(), Some("-gate silver horizon size:>=2"));
    assert_eq!(
        meant("golden horizn").await.as_deref(),
        Some("golden horizon"),
        "although a name has that word"
    );
    assert_eq!(meant("goldn \"no such phrase\"").await, None, "it would have no hits");
    assert_eq!(meant("golden").await, None);
    assert_eq!(meant("mandolim").await, None, "words of paths are not learned");
    assert_eq!(meant("xyzzyx").await, None);
}

#[tokio::test]
async fn the_vocabulary_keeps_within_its_bound_what_is_most_frequent() {
    let test = TestDatabase::new().await;
    let letters = |number: u32| {
        format!("{number:06}").bytes().map(|digit| char::from(digit - b'0' + b'a')).collect::<String>()
    };
    let names = (0..300).map(|number| torrent(number, &format!("frequent {}", letters(number)))).collect();
    test.store(names).await;
    let mut forgotten = 0;
    for _ in 0..4 {
        forgotten += test.run(LearnWords { names: 100, words_max: 100 }).await.forgotten;
    }
    assert!(forgotten > 200, "{forgotten}");
    assert!(test.number("select count(*) from vocabulary").await <= 100);
    assert_eq!(test.number("select rows from vocabulary where lexeme = 'frequent'").await, 300);
}

#[tokio::test]
async fn facets_tell_what_there_is_exactly_for_few_and_about_for_many() {
    let test = TestDatabase::new().await;
    test.store(vec![
        with_files(torrent(1, "red film 1999"), &["a.mkv", "b.txt"]),
        with_files(torrent(2, "red film 2004"), &["a.mkv"]),
        with_files(torrent(3, "red song"), &["a.flac"]),
        with_files(torrent(4, "blue"), &["red.exe"]),
    ])
    .await;
    let facets = |query: &'static str| {
        let test = &test;
        async move {
            let request = Request { facets: true, ..Request::new(query) };
            test.run(Search { request }).await.facets.unwrap()
        }
    };
    let count = |values: &[(&str, u64)]| -> Vec<(String, u64)> {
        values.iter().map(|(value, number)| ((*value).to_owned(), *number)).collect()
    };
    let red = facets("red").await;
    assert_eq!(red.types, count(&[("video", 2), ("audio", 1)]));
    assert_eq!(red.extensions, count(&[("mkv", 2), ("flac", 1), ("txt", 1)]));
    assert_eq!(red.years, count(&[("1999", 1), ("2004", 1)]));
    assert_eq!(red.sizes, count(&[("..1mb", 3)]));
    assert_eq!((red.sampled, red.exact), (3, true));
    assert_eq!(facets("exe").await.types, count(&[("software", 1)]), "of paths when names give nothing");
    assert!(!facets("file:red").await.exact, "whether it stands in a path or in the name is not looked up");
    assert_eq!(facets("red size:>1 -song").await.types, count(&[("video", 1)]));

    test.execute(
        "insert into torrents (info_hash, name, total_size, file_count, discovered_by, tok_ver, added_at, kind, tsv)
         select substr(sha256(n::text::bytea), 1, 20), n::text, n, 1, 1, 1, now(), case when n % 4 = 0 then 1 else 2 end, 'many:1'
         from generate_series(1, 30000) n;
         analyze torrents",
    )
    .await;
    let many = facets("many").await;
    assert!(!many.exact && many.sampled > 5_000, "{many:?}");
    let (name, number) = &many.types[0];
    assert!(name == "audio" && (20_000..25_000).contains(number), "{many:?}");
}

#[tokio::test]
async fn a_search_ends_when_its_time_is_over_and_says_so_by_its_code() {
    let test = TestDatabase::new().await;
    test.store(vec![torrent(1, "a")]).await;
    let blocker = test.client().await;
    blocker.batch_execute("begin; lock table torrents in access exclusive mode").await.unwrap();
    let pool = test.database.search_pool(1).unwrap();
    let request = Request { timeout: Duration::from_millis(50), ..Request::new("a") };
    let mut client = pool.get().await.unwrap();
    let error = tea_runtime::Session::run(Search { request }, &mut client).await.unwrap_err();
    assert!(error.to_string().contains("57014"), "{error}");
    blocker.batch_execute("rollback").await.unwrap();
    let request = Request::new("a");
    assert_eq!(tea_runtime::Session::run(Search { request }, &mut client).await.unwrap().hits.len(), 1);
    let refused = client.batch_execute("delete from torrents").await.unwrap_err();
    assert!(refused.to_string().contains("db error"), "a search pool only reads: {refused}");
}
