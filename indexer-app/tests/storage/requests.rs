//! Hashes that a user waits for, and info dicts that are kept, on a real database.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use crate::private_cluster::{TestDatabase, hash, torrent};
use indexer_app::db::{
    BacklogFail, BacklogNew, BacklogPut, BacklogTake, BacklogTakeThese, DeleteTorrents, Discovery,
    DropInfoDicts, FETCH_RUN, Failure, FetchProgress, FollowRequests, Hashes, IndexerRuns, KeepInfoDicts,
    KeptInfoDicts, LoadInfoDict, NewInfoDict, NewTorrent, RequestHashes, Requested, RunStart, SaveProgress,
};
use krpc::InfoHash;

const LEASE: Duration = Duration::from_secs(600);

fn peer(port: u16) -> SocketAddr {
    ([127, 0, 0, 9], port).into()
}

async fn request(test: &TestDatabase, number: u32, peers: &[SocketAddr]) {
    test.run(RequestHashes { wanted: vec![(hash(number), peers.to_vec())] }).await;
}

async fn state(test: &TestDatabase, number: u32) -> Requested {
    test.run(FollowRequests { hashes: vec![hash(number)] }).await.remove(&hash(number)).unwrap()
}

async fn take_these(test: &TestDatabase, numbers: &[u32]) -> Vec<(InfoHash, Vec<SocketAddr>)> {
    let hashes = numbers.iter().map(|number| hash(*number)).collect();
    let taken = test.run(BacklogTakeThese { hashes, owner: "me".to_owned(), lease: LEASE }).await;
    taken.into_iter().map(|taken| (taken.info_hash, taken.peers)).collect()
}

#[tokio::test]
async fn a_request_is_followed_from_waiting_to_stored() {
    let test = TestDatabase::new().await;
    assert_eq!(state(&test, 1).await, Requested::Gone);
    request(&test, 1, &[peer(1), peer(2)]).await;
    assert!(matches!(state(&test, 1).await, Requested::Waiting { tries: 0, reason: None, .. }));

    let take = BacklogTake { limit: 5, owner: "me".to_owned(), lease: LEASE };
    let taken = test.run(take).await;
    assert_eq!(taken[0].source, Discovery::Requested);
    assert_eq!(taken[0].peers, [peer(1), peer(2)]);
    let progress =
        FetchProgress { peers: 7, bytes: 99, transports: vec!["utp".into()], ..FetchProgress::default() };
    let told = |owner: &str| SaveProgress {
        owner: owner.to_owned(),
        progress: vec![(hash(1), progress.clone()), (hash(2), progress.clone())],
    };
    test.run(told("somebody else")).await;
    let Requested::InHand { progress: nothing, .. } = state(&test, 1).await else { panic!("in hand") };
    assert_eq!(nothing, FetchProgress::default(), "only who has it in hand tells of it");
    test.run(told("me")).await;
    let Requested::InHand { progress: known, .. } = state(&test, 1).await else { panic!("in hand") };
    assert_eq!(known, progress);

    test.store(vec![torrent(1, "it came")]).await;
    assert_eq!(state(&test, 1).await, Requested::Stored);
}

#[tokio::test]
async fn a_request_makes_due_at_once_what_waits_for_another_try_and_takes_nothing_out_of_a_hand() {
    let test = TestDatabase::new().await;
    request(&test, 1, &[peer(1)]).await;
    assert_eq!(take_these(&test, &[1, 2]).await, [(hash(1), vec![peer(1)])]);
    request(&test, 1, &[]).await;
    assert_eq!(take_these(&test, &[1]).await, [], "somebody has it in hand");

    let failure = Failure { info_hash: hash(1), reason: "refused".to_owned(), inconclusive: false };
    test.run(BacklogFail { failures: vec![failure], owner: "me".to_owned() }).await;
    let Requested::Waiting { tries: 1, reason, due_in } = state(&test, 1).await else { panic!("waiting") };
    assert_eq!(reason.as_deref(), Some("refused"));
    assert!(due_in > Duration::from_secs(60), "{due_in:?}");
    assert_eq!(take_these(&test, &[1]).await, []);
    request(&test, 1, &[]).await;
    assert_eq!(take_these(&test, &[1]).await, [(hash(1), vec![peer(1)])], "the peers are remembered");
}

#[tokio::test]
async fn who_takes_certain_hashes_leaves_all_others() {
    let test = TestDatabase::new().await;
    let entries = (1..=3).map(|number| BacklogNew::requested(hash(number))).collect();
    test.run(BacklogPut { entries, room: None }).await;
    let taken: Vec<InfoHash> =
        take_these(&test, &[2, 3, 9]).await.into_iter().map(|(hash, _)| hash).collect();
    assert_eq!(taken.len(), 2);
    assert!(taken.contains(&hash(2)) && taken.contains(&hash(3)));
    assert!(matches!(state(&test, 1).await, Requested::Waiting { .. }));
}

#[tokio::test]
async fn an_indexer_that_runs_is_known_and_a_fetch_is_none() {
    let test = TestDatabase::new().await;
    let start = |owner: &str, by_whom: String| RunStart {
        owner: owner.to_owned(),
        by_whom,
        version: "1".to_owned(),
        once: false,
    };
    assert_eq!(test.run(IndexerRuns).await, None);
    test.run(start("x: fetch", format!("{FETCH_RUN}x"))).await.unwrap();
    assert_eq!(test.run(IndexerRuns).await, None);
    test.run(start("y", "y (process 1)".to_owned())).await.unwrap();
    assert_eq!(test.run(IndexerRuns).await.as_deref(), Some("y (process 1)"));
}

fn dict(number: u32, raw: &[u8], keep_for: Option<Duration>) -> NewInfoDict {
    NewInfoDict { info_hash: hash(number), raw: Arc::from(raw), keep_for }
}

async fn load(test: &TestDatabase, key: InfoHash) -> Option<Vec<u8>> {
    test.run(LoadInfoDict { info_hash: key }).await.map(|raw| raw.to_vec())
}

#[tokio::test]
async fn info_dicts_come_back_byte_for_byte_by_both_keys_and_go_with_their_torrents() {
    let test = TestDatabase::new().await;
    let hybrid = NewTorrent { hashes: Hashes::Hybrid { v1: hash(1), v2: [7; 32] }, ..torrent(1, "both") };
    test.store(vec![hybrid, torrent(2, "one")]).await;
    let (text, odd) = (b"4:name5:again".repeat(200), vec![0, 255, 1, 254]);
    test.run(KeepInfoDicts { dicts: vec![dict(1, &text, None), dict(2, &odd, None)] }).await;
    assert_eq!(load(&test, hash(1)).await.unwrap(), text);
    assert_eq!(load(&test, InfoHash::from_bytes([7; 20])).await.unwrap(), text);
    assert_eq!(load(&test, hash(2)).await.unwrap(), odd);
    assert_eq!(load(&test, hash(3)).await, None);
    let mut kept = test.run(KeptInfoDicts { limit: 10 }).await;
    kept.sort_unstable();
    let mut expected = vec![hash(1), hash(2), InfoHash::from_bytes([7; 20])];
    expected.sort_unstable();
    assert_eq!(kept, expected);

    test.run(DeleteTorrents { hashes: vec![hash(1)] }).await;
    assert_eq!(load(&test, hash(1)).await, None);
    assert_eq!(test.run(KeptInfoDicts { limit: 10 }).await, [hash(2)]);
}

#[tokio::test]
async fn an_info_dict_is_kept_for_the_longest_time_that_anybody_asked_for() {
    let test = TestDatabase::new().await;
    let (over, day) = (Some(Duration::ZERO), Some(Duration::from_secs(86_400)));
    let keep = |number, keep_for| KeepInfoDicts { dicts: vec![dict(number, b"x", keep_for)] };
    for (number, first, then) in [(1, over, None), (2, None, over), (3, over, day), (4, over, over)] {
        test.run(keep(number, first)).await;
        test.run(keep(number, then)).await;
    }
    assert_eq!(test.run(DropInfoDicts).await, 1);
    let mut left = Vec::new();
    for number in 1..=4 {
        left.push(load(&test, hash(number)).await.is_some());
    }
    assert_eq!(left, [true, true, true, false]);
    assert_eq!(test.run(KeptInfoDicts { limit: 10 }).await.len(), 2, "those that are kept for good");
}
