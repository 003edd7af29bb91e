//! Sharing the keyspace, on a real database.

use std::time::Duration;

use crate::private_cluster::TestDatabase;
use indexer_app::db::{BacklogRelease, ClaimSlices, RunStart};
use krpc::NodeId;
use mainline::KeyspaceSlices;

async fn start(test: &TestDatabase, owner: &str) {
    let (by_whom, version) = ("x".to_owned(), "1".to_owned());
    test.run(RunStart { owner: owner.to_owned(), by_whom, version, once: false }).await.unwrap();
}

async fn claim(test: &TestDatabase, owner: &str) -> KeyspaceSlices {
    test.run(ClaimSlices { owner: owner.to_owned(), lease: Duration::from_secs(60) }).await
}

fn overlap(a: KeyspaceSlices, b: KeyspaceSlices) -> bool {
    (0..=255).any(|first| {
        let id = NodeId::from_bytes([first; 20]);
        a.contains(&id) && b.contains(&id)
    })
}

#[tokio::test]
async fn indexers_get_equal_shares_of_the_keyspace_and_what_one_leaves_goes_to_the_others() {
    let test = TestDatabase::new().await;
    start(&test, "one").await;
    assert_eq!(claim(&test, "one").await, KeyspaceSlices::ALL);
    start(&test, "two").await;
    // Nothing is taken from anybody: the first has to give up its surplus.
    assert_eq!(claim(&test, "two").await.count(), 0);
    let one = claim(&test, "one").await;
    let two = claim(&test, "two").await;
    assert_eq!((one.count(), two.count()), (8, 8));
    assert!(!overlap(one, two));
    assert_eq!(
        (claim(&test, "one").await, claim(&test, "two").await),
        (one, two),
        "both stay where they are"
    );

    start(&test, "three").await;
    let (one, two) = (claim(&test, "one").await, claim(&test, "two").await);
    let three = claim(&test, "three").await;
    assert_eq!((one.count(), two.count(), three.count()), (6, 6, 4));
    assert!(!overlap(one, two) && !overlap(one, three) && !overlap(two, three));

    // One ends well, another is killed: its lease ends.
    test.run(BacklogRelease { owner: "one".to_owned() }).await;
    test.execute("update runs set stopped_at = now() where id = (select min(id) from runs)").await;
    assert_eq!(claim(&test, "two").await.count(), 8);
    test.execute(
        "update runs set beat_at = now() - interval '2 minutes' where id = (select max(id) from runs);
         update keyspace_slices set until = now() where owner = 'three'",
    )
    .await;
    assert_eq!(claim(&test, "two").await, KeyspaceSlices::ALL);
}

#[tokio::test]
async fn claims_made_at_once_never_overlap() {
    let test = TestDatabase::new().await;
    for owner in ["a", "b", "c", "d"] {
        start(&test, owner).await;
    }
    for _ in 0..5 {
        let (a, b, c, d) =
            tokio::join!(claim(&test, "a"), claim(&test, "b"), claim(&test, "c"), claim(&test, "d"));
        let all = [a, b, c, d];
        for (index, one) in all.iter().enumerate() {
            assert!(one.count() <= 4);
            assert!(all[index + 1..].iter().all(|other| !overlap(*one, *other)), "{all:?}");
        }
    }
    let held = test.number("select count(*) from keyspace_slices where until > now()").await;
    assert_eq!(held, 16);
}
