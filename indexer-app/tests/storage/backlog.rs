//! The durable queue on a real database.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::private_cluster::{TestDatabase, hash, torrent};
use indexer_app::db::{
    BacklogFail, BacklogGain, BacklogNew, BacklogPut, BacklogRelease, BacklogRenew, BacklogTake, Bury,
    Discovery, Failure, Known, KnownHashes, Taken, Tidy, TidyLimits,
};
use krpc::InfoHash;

fn entry(number: u32, source: Discovery) -> BacklogNew {
    BacklogNew {
        info_hash: hash(number),
        source,
        often: false,
        hints: vec![([127, 0, 0, 1], number as u16).into()],
    }
}

fn take(limit: u32) -> BacklogTake {
    BacklogTake { limit, owner: "test".to_owned(), lease: Duration::from_secs(600) }
}

fn keys(taken: &[Taken]) -> Vec<InfoHash> {
    taken.iter().map(|taken| taken.info_hash).collect()
}

async fn put(test: &TestDatabase, numbers: std::ops::Range<u32>, source: Discovery) -> u64 {
    let entries = numbers.map(|number| entry(number, source)).collect();
    let new = test.run(BacklogPut { entries, room: None }).await.new;
    assert!(new.keys().all(|known| *known == source));
    new.values().sum()
}

#[tokio::test]
async fn what_is_stored_or_queued_is_not_queued_again() {
    let test = TestDatabase::new().await;
    test.store(vec![torrent(1, "x")]).await;
    assert_eq!(put(&test, 0..10, Discovery::Sampled).await, 9);
    assert_eq!(put(&test, 0..12, Discovery::Sampled).await, 2);
    let known = test.run(KnownHashes(vec![hash(0), hash(1), hash(99)])).await;
    assert_eq!(known, [(hash(0), Known::Due), (hash(1), Known::Stored), (hash(99), Known::No)]);
}

#[tokio::test]
async fn each_hash_counts_as_new_once_for_the_way_it_was_first_put_in() {
    let test = TestDatabase::new().await;
    let entries = vec![
        entry(1, Discovery::Sampled),
        entry(2, Discovery::Overheard),
        entry(3, Discovery::Announced),
        entry(4, Discovery::Sampled),
    ];
    let new = test.run(BacklogPut { entries: entries.clone(), room: None }).await.new;
    let expected = [(Discovery::Sampled, 2), (Discovery::Overheard, 1), (Discovery::Announced, 1)];
    assert_eq!(new, BTreeMap::from(expected));
    // Seen again, and in ways that raise them.
    let raised = (1..5).map(|number| entry(number, Discovery::Requested)).collect();
    assert_eq!(test.run(BacklogPut { entries: raised, room: None }).await, BacklogGain::default());
    assert_eq!(test.run(BacklogPut { entries, room: None }).await, BacklogGain::default());
}

#[tokio::test]
async fn an_announce_makes_a_hash_due_that_waits_for_another_try_but_not_again_and_again() {
    let test = TestDatabase::new().await;
    let announced = || BacklogPut {
        entries: vec![BacklogNew { hints: vec![], ..entry(1, Discovery::Announced) }],
        room: None,
    };
    put(&test, 1..2, Discovery::Sampled).await;
    // A peer of a hash that was only sampled: it is raised, and keeps the nodes that know it.
    test.run(announced()).await;
    let taken = test.run(take(1)).await;
    assert_eq!(taken[0].hints, ["127.0.0.1:1".parse().unwrap()]);
    // In somebody's hands, or tried a moment ago, it stays.
    test.run(announced()).await;
    assert_eq!(test.run(take(1)).await, []);
    test.run(BacklogFail { owner: "test".to_owned(), failures: vec![failure(1, "no peers", false)] }).await;
    test.run(announced()).await;
    assert_eq!(test.run(take(1)).await, []);
    // Some time later there is a peer again.
    test.execute(
        "update backlog set taken_at = taken_at - interval '6 minutes', due = now() + interval '3 days'",
    )
    .await;
    put(&test, 1..2, Discovery::Sampled).await;
    assert_eq!(test.run(take(1)).await, [], "a sample says nothing new");
    test.run(announced()).await;
    assert_eq!(keys(&test.run(take(1)).await), [hash(1)]);
}

#[tokio::test]
async fn a_hash_is_taken_by_one_and_comes_with_what_is_known_of_it() {
    let test = TestDatabase::new().await;
    put(&test, 0..100, Discovery::Announced).await;
    let (a, b, c) = tokio::join!(test.run(take(40)), test.run(take(40)), test.run(take(40)));
    let all: BTreeSet<InfoHash> = [keys(&a), keys(&b), keys(&c)].concat().into_iter().collect();
    assert_eq!(a.len() + b.len() + c.len(), 100, "each is taken once");
    assert_eq!(all.len(), 100);
    let one = a.iter().chain(&b).chain(&c).find(|taken| taken.info_hash == hash(7)).unwrap();
    assert_eq!((one.source, one.tries), (Discovery::Announced, 0));
    assert_eq!(one.hints, ["127.0.0.1:7".parse().unwrap()]);
    assert_eq!(test.run(take(40)).await, []);
    assert_eq!(test.run(KnownHashes(vec![hash(7)])).await, [(hash(7), Known::Waiting)]);
}

#[tokio::test]
async fn a_lease_that_ended_gives_the_hash_back() {
    let test = TestDatabase::new().await;
    put(&test, 0..3, Discovery::Sampled).await;
    let lost = BacklogTake { limit: 3, owner: "dead".to_owned(), lease: Duration::ZERO };
    assert_eq!(test.run(lost).await.len(), 3);
    assert_eq!(test.run(take(10)).await.len(), 3);
}

#[tokio::test]
async fn users_come_first_then_what_has_a_peer_then_what_a_node_knows_then_what_was_only_overheard() {
    let test = TestDatabase::new().await;
    put(&test, 0..2, Discovery::Overheard).await;
    put(&test, 2..4, Discovery::Sampled).await;
    put(&test, 5..7, Discovery::Announced).await;
    put(&test, 7..8, Discovery::Requested).await;
    let often = [8, 9].map(|number| BacklogNew { often: true, ..entry(number, Discovery::Announced) });
    test.run(BacklogPut { entries: often.to_vec(), room: None }).await;
    assert_eq!(keys(&test.run(take(1)).await), [hash(7)]);
    let mut taken = keys(&test.run(take(2)).await);
    taken.sort_unstable();
    assert_eq!(taken, [8, 9].map(hash), "several networks announce them");
    for expected in [[5, 6], [2, 3], [0, 1]] {
        let mut taken = keys(&test.run(take(2)).await);
        taken.sort_unstable();
        assert_eq!(taken, expected.map(hash));
    }
    // One that waits for another try is raised, and due at once, when a user asks for it.
    test.run(BacklogFail { owner: "test".to_owned(), failures: vec![failure(7, "x", false)] }).await;
    let taken = keys(&test.run(take(100)).await);
    assert!(!taken.contains(&hash(7)));
    assert_eq!(put(&test, 0..1, Discovery::Requested).await, 0);
    assert_eq!(keys(&test.run(take(1)).await), [hash(0)]);
}

fn failure(n: u32, reason: &str, inconclusive: bool) -> Failure {
    Failure { info_hash: hash(n), reason: reason.to_owned(), inconclusive }
}

#[tokio::test]
async fn a_failure_waits_longer_each_time_and_keeps_its_reason() {
    let test = TestDatabase::new().await;
    put(&test, 0..1, Discovery::Sampled).await;
    // A try that says nothing of the hash costs a tenth of the wait.
    for (inconclusive, expected) in [(false, 300), (true, 120), (false, 4_800)] {
        assert_eq!(test.run(take(1)).await.len(), 1);
        let failures = vec![failure(0, "no peers\0", inconclusive)];
        assert_eq!(test.run(BacklogFail { owner: "test".to_owned(), failures }).await.waiting, 1);
        let wait = test.number("select round(extract(epoch from due - now()))::int8 from backlog").await;
        assert!((expected - 2..=expected).contains(&wait), "{wait} s, not {expected}");
        assert_eq!(test.run(take(1)).await, []);
        test.execute("update backlog set due = now()").await;
    }
    assert_eq!(
        test.number("select count(*) from backlog where reason = E'no peers\u{fffd}' and tries = 3").await,
        1
    );
    assert_eq!(test.run(take(1)).await[0].tries, 3);
}

#[tokio::test]
async fn storing_a_torrent_ends_its_wait_under_every_key() {
    let test = TestDatabase::new().await;
    put(&test, 0..3, Discovery::Sampled).await;
    let hashes = indexer_app::db::Hashes::Hybrid {
        v1: hash(0),
        v2: {
            let mut v2 = [0xab; 32];
            v2[..4].copy_from_slice(&1_u32.to_be_bytes());
            v2
        },
    };
    assert_eq!(hashes.alias(), Some(hash(1)));
    test.store(vec![indexer_app::db::NewTorrent { hashes, ..torrent(0, "x") }]).await;
    assert_eq!(keys(&test.run(take(10)).await), [hash(2)]);
    // What is no torrent leaves the backlog for good.
    let bury =
        || Bury { hashes: vec![(hash(2), "no torrent".to_owned()), (hash(3), "no torrent\0".to_owned())] };
    assert_eq!(test.run(bury()).await, 2);
    assert_eq!(test.run(bury()).await, 0);
    assert_eq!(test.number("select count(*) from backlog").await, 0);
    assert_eq!(put(&test, 2..5, Discovery::Requested).await, 1);
    assert_eq!(test.run(KnownHashes(vec![hash(2)])).await, [(hash(2), Known::Buried)]);
}

#[tokio::test]
async fn the_backlog_is_cut_to_its_bound_from_its_hopeless_end() {
    let test = TestDatabase::new().await;
    put(&test, 0..50, Discovery::Sampled).await;
    put(&test, 50..100, Discovery::Announced).await;
    test.execute("update backlog set tries = 5 where info_hash <= '\\x00000009ffffffff'").await;
    let limits = TidyLimits { backlog_rows_max: 60, ..TidyLimits::default() };
    let tidied = test.run(Tidy { limits }).await;
    assert_eq!((tidied.backlog_rows, tidied.backlog_removed), (60, 40));
    assert_eq!(test.number("select count(*) from backlog where tries = 5").await, 0);
    assert_eq!(test.number("select count(*) from backlog where priority = 2").await, 50);
    assert_eq!(test.run(Tidy { limits }).await.backlog_removed, 0);
}

/// How many hashes there are of each worth.
async fn worths(test: &TestDatabase) -> Vec<(i16, i64)> {
    let rows =
        test.client().await.query("select worth, count(*) from backlog group by 1 order by 1", &[]).await;
    rows.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn a_full_backlog_lets_in_what_is_worth_more_and_refuses_the_rest() {
    let test = TestDatabase::new().await;
    put(&test, 0..10, Discovery::Overheard).await;
    put(&test, 10..20, Discovery::Sampled).await;
    put(&test, 20..30, Discovery::Announced).await;
    let put_full = async |numbers: std::ops::Range<u32>, source, room| {
        let entries = numbers.map(|number| entry(number, source)).collect();
        let gain = test.run(BacklogPut { entries, room: Some(room) }).await;
        (gain.new.values().sum::<u64>(), gain.refused, gain.displaced)
    };
    // There is room for all, for some, for none.
    assert_eq!(put_full(100..104, Discovery::Overheard, 4).await, (4, 0, 0));
    assert_eq!(put_full(104..108, Discovery::Overheard, 1).await, (1, 3, 0));
    assert_eq!(worths(&test).await, [(0, 15), (4, 10), (8, 10)]);
    // What is sampled takes the places of what was overheard, and no more than those.
    assert_eq!(put_full(200..212, Discovery::Sampled, 0).await, (12, 0, 12));
    assert_eq!(put_full(212..220, Discovery::Sampled, 0).await, (3, 5, 3));
    assert_eq!(worths(&test).await, [(4, 25), (8, 10)]);
    assert_eq!(put_full(220..221, Discovery::Overheard, 0).await, (0, 1, 0));
    // Those that failed go first, those that somebody has in hand stay.
    let taken = keys(&test.run(take(12)).await);
    assert_eq!(taken.len(), 12, "ten that were announced, two that were sampled");
    test.execute(
        "update backlog set tries = 3 where priority = 1 and owner is null and info_hash <= '\\x00000014'",
    )
    .await;
    let hopeless = test.number("select count(*) from backlog where tries = 3").await;
    assert!(hopeless >= 8, "{hopeless}");
    assert_eq!(put_full(300..301, Discovery::Sampled, 0).await, (1, 0, 1));
    assert_eq!(test.number("select count(*) from backlog where tries = 3").await, hopeless - 1);
    assert_eq!(put_full(400..440, Discovery::Announced, 0).await, (23, 17, 23), "but the two in hand");
    for hash in taken {
        assert_eq!(test.run(KnownHashes(vec![hash])).await, [(hash, Known::Waiting)]);
    }
    // What is there already needs no room to rise, and what a user asks for is never turned away.
    assert_eq!(put_full(20..30, Discovery::Requested, 0).await, (0, 0, 0));
    assert_eq!(put(&test, 500..503, Discovery::Requested).await, 3);
    assert_eq!(test.number("select count(*) from backlog").await, 38);
}

#[tokio::test]
async fn a_lease_holds_as_long_as_it_is_renewed_and_what_was_lost_is_not_failed_by_its_former_owner() {
    let test = TestDatabase::new().await;
    put(&test, 0..2, Discovery::Sampled).await;
    let take_as = |owner: &str, lease| BacklogTake { limit: 1, owner: owner.to_owned(), lease };
    assert_eq!(test.run(take_as("one", Duration::ZERO)).await.len(), 1);
    let renew = BacklogRenew { owner: "one".to_owned(), lease: Duration::from_secs(600) };
    assert_eq!(test.run(renew.clone()).await, 1);
    let taken = test.run(take_as("two", Duration::ZERO)).await;
    assert_eq!(taken.len(), 1);
    assert_eq!(test.run(take_as("two", Duration::from_secs(600))).await, taken, "nobody renewed that one");
    let lost = taken[0].info_hash;
    let failures = vec![Failure { info_hash: lost, reason: "late".to_owned(), inconclusive: false }];
    let fail = |owner: &str| BacklogFail { owner: owner.to_owned(), failures: failures.clone() };
    assert_eq!(test.run(fail("one")).await.waiting, 0);
    assert_eq!(test.run(fail("two")).await.waiting, 1);
    assert_eq!(test.run(BacklogRelease { owner: "one".to_owned() }).await, 1);
    assert_eq!(test.run(renew).await, 0);
}
