//! `indexer search` as a process: what it reads, and what it says when it cannot answer.

use std::{
    ffi::OsStr,
    io::Write,
    os::unix::ffi::OsStrExt,
    process::{Command, Output, Stdio},
};

use crate::private_cluster::{TempDir, TestDatabase, torrent, with_files};

/// Runs a search with these arguments and this standard input.
async fn search(test: &TestDatabase, arguments: &[&OsStr], input: &[u8]) -> Output {
    let url = test.url().await;
    let (arguments, input) =
        (arguments.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>(), input.to_vec());
    tokio::task::spawn_blocking(move || {
        let folder = TempDir::new();
        let mut child = Command::new(env!("CARGO_BIN_EXE_indexer"))
            .args(["search", "--json", "--database-url", &url])
            .args(arguments)
            .current_dir(&folder.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may have read enough before the end.
        let _ = child.stdin.take().unwrap().write_all(&input);
        child.wait_with_output().unwrap()
    })
    .await
    .unwrap()
}

/// The names that were found, and the last line.
fn answer(output: &Output) -> (Vec<String>, serde_json::Value) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::str::from_utf8(&output.stdout).unwrap();
    let mut lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.pop().unwrap();
    (lines.iter().map(|line| line["name"].as_str().unwrap().to_owned()).collect(), last)
}

async fn harbours() -> TestDatabase {
    let test = TestDatabase::new().await;
    test.store(vec![
        torrent(1, "Harbour lights"),
        with_files(torrent(2, "Collection"), &["harbour/lights.txt", "b"]),
        torrent(3, "Other lights"),
    ])
    .await;
    test
}

#[tokio::test]
async fn a_query_is_read_from_standard_input_as_it_is_typed() {
    let test = harbours().await;
    let typed = answer(&search(&test, &[OsStr::new("harbour"), OsStr::new("lights")], b"").await).0;
    assert_eq!(typed, ["Harbour lights", "Collection"]);
    let read = answer(&search(&test, &[OsStr::new("-")], b"harbour\nlights\n").await).0;
    assert_eq!(read, typed);
    let nothing = answer(&search(&test, &[OsStr::new("-")], b"").await).0;
    assert_eq!(nothing.len(), 3, "nothing asked is everything there is");
}

#[tokio::test]
async fn bytes_that_are_no_text_and_queries_without_end_are_answered_and_said() {
    let test = harbours().await;
    let odd = b"harbour \xff\xfe lights";
    for output in
        [search(&test, &[OsStr::new("-")], odd).await, search(&test, &[OsStr::from_bytes(odd)], b"").await]
    {
        let (names, last) = answer(&output);
        assert_eq!(names, ["Harbour lights", "Collection"]);
        assert!(last["page"]["notes"][0].as_str().unwrap().contains("UTF-8"), "{last}");
    }
    let long = [b"harbour lights ".as_slice(), "é ".repeat(700_000).as_bytes()].concat();
    let (names, last) = answer(&search(&test, &[OsStr::new("-")], &long).await);
    assert!(names.len() <= 2);
    assert!(!last["page"]["notes"].as_array().unwrap().is_empty(), "that it was cut is said: {last}");
}

#[tokio::test]
async fn a_search_that_takes_too_long_is_ended_and_says_so_in_a_sentence() {
    let test = harbours().await;
    // Whoever holds the table keeps everybody waiting.
    let holder = test.client().await;
    holder.batch_execute("begin; lock table torrents in access exclusive mode").await.unwrap();
    let arguments = ["harbour", "--timeout", "100ms"].map(OsStr::new);
    let output = search(&test, &arguments, b"").await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("the search took longer than 100ms and was ended"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    holder.batch_execute("rollback").await.unwrap();
    assert_eq!(answer(&search(&test, &arguments[..1], b"").await).0.len(), 2);
}
