//! The private cluster: made, used by several, killed in every way, and started again.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "what a test needs and does not get is its failure"
)]

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    time::Duration,
};

use crate::private_cluster::{TempDir, options};
use indexer_app::cluster::{Cluster, ClusterError, ClusterEvent, ClusterOptions, EventSink, Mode, guard};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, Uid},
};

/// Longest wait for something that must happen; it is seldom waited for at all.
const PATIENCE: Duration = Duration::from_secs(60);

fn is_root() -> bool {
    Uid::effective().is_root()
}

/// Runs a statement that returns one number.
fn number(cluster: &Cluster, sql: &str) -> Result<i64, tokio_postgres::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = cluster.connection("postgres").connect(tokio_postgres::NoTls).await?;
        tokio::select! {
            row = client.query_one(sql, &[]) => Ok(row?.get(0)),
            error = connection => Err(error.unwrap_err()),
        }
    })
}

fn events(options: &mut ClusterOptions) -> Receiver<ClusterEvent> {
    let (sender, receiver) = sync_channel(64);
    options.events = EventSink::new(move |event| {
        let _ = sender.try_send(event);
    });
    receiver
}

/// Process number of the server, as its own file says.
fn server_pid(data_dir: &Path) -> i32 {
    let text = fs::read_to_string(data_dir.join("postgres/postmaster.pid")).unwrap();
    text.lines().next().unwrap().trim().parse().unwrap()
}

fn is_alive(pid: i32) -> bool {
    // A zombie that its adoptive parent has not reaped yet is dead.
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.rsplit(')').next().is_some_and(|rest| !rest.trim().is_empty() && !rest.trim().starts_with('Z'))
}

/// Polls until it holds: there is no event to wait for in another process.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..PATIENCE.as_millis() / 10 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what} never happened");
}

#[test]
fn a_cluster_is_made_used_stopped_and_found_again() {
    let dir = TempDir::new();
    let options = ClusterOptions { fsync: true, ..options(&dir.join("new/data")) };
    let cluster = Cluster::open(&options, Mode::Own).unwrap();
    assert!(cluster.is_owner());
    assert_eq!(cluster.server_pid(), Some(server_pid(&options.data_dir)));
    assert_eq!(number(&cluster, "select 1::int8 from (select set_config('a.b', 'c', false)) x").unwrap(), 1);
    for (setting, value) in
        [("listen_addresses", ""), ("synchronous_commit", "on"), ("fsync", "on"), ("jit", "off")]
    {
        let sql = format!("select (current_setting('{setting}') = '{value}')::int::int8");
        assert_eq!(number(&cluster, &sql).unwrap(), 1, "{setting}");
    }
    let owner = fs::metadata(options.data_dir.join("postgres")).unwrap();
    assert_eq!(owner.mode() & 0o777, 0o700);
    assert_eq!(is_root(), owner.uid() != Uid::effective().as_raw(), "another account runs it only for root");
    assert_eq!(fs::metadata(options.data_dir.join("socket")).unwrap().mode() & 0o777, 0o700);
    let pid = server_pid(&options.data_dir);
    drop(cluster);
    assert!(!is_alive(pid), "stopped when it is dropped");
    assert!(!options.data_dir.join("postgres/postmaster.pid").exists(), "and gracefully");

    let again = Cluster::open(&options, Mode::Own).unwrap();
    assert_eq!(number(&again, "select 2::int8").unwrap(), 2);
}

#[test]
fn a_second_owner_is_told_who_the_first_is() {
    let dir = TempDir::new();
    let options = ClusterOptions { owner_wait: Duration::ZERO, ..options(&dir.join("data")) };
    let _first = Cluster::open(&options, Mode::Own).unwrap();
    let error = Cluster::open(&options, Mode::Own).unwrap_err();
    assert!(matches!(error, ClusterError::InUse { .. }));
    let sentence = error.to_string();
    assert!(sentence.contains(&format!("in use by process {}", std::process::id())), "{sentence}");
}

#[test]
fn guests_use_the_owners_server_and_leave_it_running() {
    let dir = TempDir::new();
    let options = options(&dir.join("data"));
    let owner = Cluster::open(&options, Mode::Own).unwrap();
    let guest = Cluster::open(&options, Mode::Attach).unwrap();
    assert!(!guest.is_owner());
    assert_eq!(number(&guest, "select 3::int8").unwrap(), 3);
    drop(guest);
    assert_eq!(number(&owner, "select 4::int8").unwrap(), 4);
}

#[test]
fn without_an_owner_a_guest_runs_the_server_until_the_last_one_has_left() {
    let dir = TempDir::new();
    let options = options(&dir.join("data"));
    let first = Cluster::open(&options, Mode::Attach).unwrap();
    assert!(first.is_owner());
    let second = Cluster::open(&options, Mode::Attach).unwrap();
    assert!(!second.is_owner());
    let pid = server_pid(&options.data_dir);
    let leaving = std::thread::spawn(move || drop(first));
    assert_eq!(number(&second, "select 5::int8").unwrap(), 5);
    drop(second);
    leaving.join().unwrap();
    assert!(!is_alive(pid));
}

#[test]
fn a_long_owner_waits_for_a_short_one_to_end() {
    let dir = TempDir::new();
    let options = options(&dir.join("data"));
    let search = Cluster::open(&options, Mode::Attach).unwrap();
    let waiting = std::thread::spawn(move || Cluster::open(&options, Mode::Own).unwrap());
    drop(search);
    let owner = waiting.join().unwrap();
    assert!(owner.is_owner());
    assert_eq!(number(&owner, "select 6::int8").unwrap(), 6);
}

#[test]
fn a_killed_server_is_started_again() {
    let dir = TempDir::new();
    let mut options = options(&dir.join("data"));
    let events = events(&mut options);
    let cluster = Cluster::open(&options, Mode::Own).unwrap();
    assert_eq!(events.recv_timeout(PATIENCE), Ok(ClusterEvent::Started));
    for _ in 0..3 {
        let pid = cluster.server_pid().unwrap();
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        let Ok(ClusterEvent::Died { reason }) = events.recv_timeout(PATIENCE) else { panic!("not dead") };
        assert!(reason.contains("SIGKILL"), "{reason}");
        // The processes of the old server may still be ending: then a start fails and is tried again.
        while events.recv_timeout(PATIENCE).unwrap() != ClusterEvent::Restarted {}
        assert_ne!(cluster.server_pid(), Some(pid));
        assert_eq!(number(&cluster, "select 7::int8").unwrap(), 7);
    }
    // Somebody who stops it by its own means is no reason to stay down either.
    kill(Pid::from_raw(cluster.server_pid().unwrap()), Signal::SIGINT).unwrap();
    assert!(matches!(events.recv_timeout(PATIENCE), Ok(ClusterEvent::Died { .. })));
    while events.recv_timeout(PATIENCE).unwrap() != ClusterEvent::Restarted {}
}

/// Not a test: the process that a test kills.
#[test]
#[ignore = "is started by another test as a process of its own"]
fn an_owner_in_a_process_of_its_own() {
    let data_dir = PathBuf::from(std::env::var_os("CLUSTER_TEST_DATA_DIR").unwrap());
    let cluster = Cluster::open(&options(&data_dir), Mode::Own).unwrap();
    number(&cluster, "select 1::int8").unwrap();
    println!("\nready");
    std::thread::sleep(PATIENCE);
}

fn owner_process(data_dir: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "cluster::an_owner_in_a_process_of_its_own", "--nocapture"])
        .env("CLUSTER_TEST_DATA_DIR", data_dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "ready"), "the owner did not start");
    child
}

#[test]
fn the_server_of_a_killed_owner_ends_and_the_next_start_works() {
    let dir = TempDir::new();
    let data_dir = dir.join("data");
    for _ in 0..3 {
        let mut owner = owner_process(&data_dir);
        let pid = server_pid(&data_dir);
        owner.kill().unwrap();
        owner.wait().unwrap();
        // At once, while the old server may still be ending.
        let cluster = Cluster::open(&options(&data_dir), Mode::Own).unwrap();
        assert!(!is_alive(pid), "the old server ended before the new one began");
        assert_eq!(number(&cluster, "select 8::int8").unwrap(), 8);
    }
    // Left alone it ends as well.
    let mut owner = owner_process(&data_dir);
    let pid = server_pid(&data_dir);
    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually("the end of the server", || !is_alive(pid));
}

#[test]
fn an_owner_killed_together_with_its_server_leaves_nothing_in_the_way() {
    let dir = TempDir::new();
    let data_dir = dir.join("data");
    let mut owner = owner_process(&data_dir);
    let pid = server_pid(&data_dir);
    // First the owner stops, so that it cannot start the server again.
    kill(Pid::from_raw(owner.id().cast_signed()), Signal::SIGSTOP).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert!(data_dir.join("postgres/postmaster.pid").exists(), "it could not tidy up");
    let cluster = Cluster::open(&options(&data_dir), Mode::Own).unwrap();
    assert_eq!(number(&cluster, "select 9::int8").unwrap(), 9);
}

/// The account of the cluster in `data_dir`, as the guard takes it.
fn account(data_dir: &Path) -> String {
    let metadata = fs::metadata(data_dir.join("postgres")).unwrap();
    if is_root() { format!("{}:{}", metadata.uid(), metadata.gid()) } else { "-".to_owned() }
}

#[test]
fn a_server_that_nobody_owns_any_more_is_ended_first() {
    let dir = TempDir::new();
    let options = options(&dir.join("data"));
    drop(Cluster::open(&options, Mode::Own).unwrap());
    // The command line that was last used.
    let opts = fs::read_to_string(options.data_dir.join("postgres/postmaster.opts")).unwrap();
    let mut words = opts.split_whitespace().map(|word| word.trim_matches('"'));
    let mut orphan = Command::new(&options.guard)
        .args([guard::COMMAND, &std::process::id().to_string(), &account(&options.data_dir)])
        .arg(words.next().unwrap())
        .args(words)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let file = options.data_dir.join("postgres/postmaster.pid");
    eventually("the start of the orphan", || {
        fs::read_to_string(&file).is_ok_and(|text| text.contains("ready"))
    });
    let reaper = std::thread::spawn(move || orphan.wait().unwrap());
    let cluster = Cluster::open(&options, Mode::Own).unwrap();
    assert!(reaper.join().unwrap().success(), "it was asked to end, not killed");
    assert_eq!(number(&cluster, "select 10::int8").unwrap(), 10);
}

#[test]
fn a_process_that_got_the_number_of_a_dead_server_is_left_alone() {
    let dir = TempDir::new();
    let options = options(&dir.join("data"));
    drop(Cluster::open(&options, Mode::Own).unwrap());
    // Of the cluster's own account: of any other PostgreSQL knows itself that it is no server.
    let mut innocent = Command::new(&options.guard)
        .args([
            guard::COMMAND,
            &std::process::id().to_string(),
            &account(&options.data_dir),
            "/bin/sleep",
            "600",
        ])
        .spawn()
        .unwrap();
    let pid = innocent.id();
    let text = format!(
        "{pid}\n{}/postgres\n1700000000\n5432\n/tmp\n\n  1 2\nready   \n",
        options.data_dir.display()
    );
    fs::write(options.data_dir.join("postgres/postmaster.pid"), text).unwrap();
    let cluster = Cluster::open(&options, Mode::Own).unwrap();
    assert_eq!(number(&cluster, "select 11::int8").unwrap(), 11);
    assert_eq!(innocent.try_wait().unwrap(), None);
    innocent.kill().unwrap();
    innocent.wait().unwrap();
}

#[test]
fn a_cluster_that_was_being_made_is_made_anew() {
    let dir = TempDir::new();
    let options = options(&dir.join("data"));
    let unfinished = options.data_dir.join("postgres.unfinished");
    fs::create_dir_all(unfinished.join("base")).unwrap();
    fs::write(unfinished.join("PG_VERSION"), "15\n").unwrap();
    let cluster = Cluster::open(&options, Mode::Own).unwrap();
    assert_eq!(number(&cluster, "select 12::int8").unwrap(), 12);
    assert!(!unfinished.exists());
}

#[test]
fn a_path_that_is_too_long_for_a_socket_is_no_obstacle() {
    let dir = TempDir::new();
    let options = options(&dir.join(&"long".repeat(40)));
    let cluster = Cluster::open(&options, Mode::Own).unwrap();
    let guest = Cluster::open(&options, Mode::Attach).unwrap();
    assert_eq!(number(&guest, "select 13::int8").unwrap(), 13);
    let config = cluster.connection("postgres");
    let tokio_postgres::config::Host::Unix(socket) = &config.get_hosts()[0] else { panic!("no socket") };
    assert!(socket.as_os_str().len() < 80);
    assert_eq!(fs::metadata(socket).unwrap().mode() & 0o777, 0o700);
    let socket = socket.clone();
    drop((guest, cluster));
    fs::remove_dir(socket).unwrap();
}

/// What a failed open says; and that it left everything as it was.
fn refused(options: &ClusterOptions, dir: &TempDir) -> ClusterError {
    let listing = |root: &Path| {
        let mut entries = Vec::new();
        let mut open = vec![root.to_owned()];
        while let Some(dir) = open.pop() {
            let Ok(inside) = fs::read_dir(&dir) else { continue };
            for path in inside.map(|entry| entry.unwrap().path()) {
                let metadata = fs::symlink_metadata(&path).unwrap();
                entries.push((path.clone(), metadata.uid(), metadata.mode(), metadata.mtime_nsec()));
                if metadata.is_dir() {
                    open.push(path);
                }
            }
        }
        entries.sort();
        entries
    };
    let before = listing(&dir.0);
    let error = Cluster::open(options, Mode::Own).unwrap_err();
    assert_eq!(listing(&dir.0), before, "something was touched");
    let sentence = error.to_string();
    assert!(!sentence.contains('\n') && !sentence.is_empty(), "{sentence}");
    error
}

#[test]
fn a_data_directory_of_another_owner_is_left_alone() {
    let dir = TempDir::new();
    let options = if is_root() {
        let data = dir.join("data");
        fs::create_dir(&data).unwrap();
        std::os::unix::fs::chown(&data, Some(54_321), Some(54_321)).unwrap();
        options(&data)
    } else {
        options(Path::new("/"))
    };
    let error = refused(&options, &dir);
    assert!(matches!(error, ClusterError::OtherOwner { .. }), "{error}");
    assert!(error.to_string().contains("give another --data-dir"), "{error}");
}

#[test]
fn a_data_directory_that_is_a_file_is_left_alone() {
    let dir = TempDir::new();
    fs::write(dir.join("data"), "precious").unwrap();
    assert!(matches!(refused(&options(&dir.join("data")), &dir), ClusterError::NotADirectory(_)));
}

#[test]
fn a_directory_that_postgres_cannot_pass_through_is_named() {
    let dir = TempDir::new();
    fs::create_dir(dir.join("closed")).unwrap();
    fs::set_permissions(dir.join("closed"), PermissionsExt::from_mode(0o700)).unwrap();
    let options = options(&dir.join("closed/below/data"));
    if is_root() {
        let error = refused(&options, &dir);
        let ClusterError::Unreachable { blocked, .. } = &error else { panic!("{error}") };
        assert_eq!(blocked, &dir.join("closed"));
        assert!(error.to_string().contains("such as /var/lib/indexer"), "{error}");
    } else {
        // Nobody else has to pass.
        drop(Cluster::open(&options, Mode::Own).unwrap());
    }
}

#[test]
fn a_data_directory_that_only_we_may_enter_is_opened_for_postgres() {
    let dir = TempDir::new();
    let data = dir.join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, PermissionsExt::from_mode(0o700)).unwrap();
    let cluster = Cluster::open(&options(&data), Mode::Own).unwrap();
    assert_eq!(number(&cluster, "select 14::int8").unwrap(), 14);
}

/// PostgreSQL programs that do what these shell lines do.
fn fake_programs(dir: &TempDir, initdb: &str, postgres: &str) -> PathBuf {
    let bin = dir.join("bin");
    fs::create_dir(&bin).unwrap();
    for (name, body) in [("initdb", initdb), ("postgres", postgres)] {
        fs::write(bin.join(name), format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(bin.join(name), PermissionsExt::from_mode(0o755)).unwrap();
    }
    bin
}

#[test]
fn missing_programs_are_said_to_be_missing() {
    let dir = TempDir::new();
    let options = ClusterOptions { programs: Some(dir.join("nothing")), ..options(&dir.join("data")) };
    let error = refused(&options, &dir);
    assert!(
        error.to_string().starts_with("there are no PostgreSQL programs initdb and postgres in "),
        "{error}"
    );
}

#[test]
fn programs_that_are_too_old_are_said_to_be_too_old() {
    let dir = TempDir::new();
    let bin = fake_programs(&dir, "exit 0", "echo 'postgres (PostgreSQL) 9.6.24'");
    let error = refused(&ClusterOptions { programs: Some(bin), ..options(&dir.join("data")) }, &dir);
    assert!(matches!(error, ClusterError::ProgramsTooOld { found: 9, .. }), "{error}");
}

#[test]
fn a_cluster_of_another_version_is_left_alone() {
    let dir = TempDir::new();
    let options = options(&dir.join("data"));
    drop(Cluster::open(&options, Mode::Own).unwrap());
    let version = options.data_dir.join("postgres/PG_VERSION");
    let real = fs::read_to_string(&version).unwrap();
    fs::write(&version, "99\n").unwrap();
    let error = refused(&options, &dir);
    assert!(error.to_string().contains("was made by PostgreSQL 99, but only version "), "{error}");
    fs::write(&version, real).unwrap();
    drop(Cluster::open(&options, Mode::Own).unwrap());
}

#[test]
fn the_last_words_of_a_program_that_fails_are_passed_on() {
    let dir = TempDir::new();
    let bin = fake_programs(
        &dir,
        "echo 'initdb: error: no space' >&2; exit 1",
        "echo 'postgres (PostgreSQL) 15.1'",
    );
    let error =
        Cluster::open(&ClusterOptions { programs: Some(bin), ..options(&dir.join("data")) }, Mode::Own)
            .unwrap_err();
    assert!(error.to_string().ends_with("initdb: error: no space"), "{error}");

    let options = options(&dir.join("data"));
    drop(Cluster::open(&options, Mode::Own).unwrap());
    let conf = options.data_dir.join("postgres/postgresql.conf");
    let good = fs::read_to_string(&conf).unwrap();
    fs::write(&conf, "no_such_setting = 1\n").unwrap();
    let error = Cluster::open(&options, Mode::Own).unwrap_err();
    assert!(matches!(error, ClusterError::Start { .. }));
    assert!(error.to_string().contains("FATAL"), "{error}");
    fs::write(&conf, good).unwrap();
    drop(Cluster::open(&options, Mode::Own).unwrap());
}
