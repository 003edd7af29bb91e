//! Reading from a streaming replica while the database that it follows is written to.

use std::{
    fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use indexer_app::{
    cluster::{Cluster, Mode},
    db,
};
use nix::sys::signal::Signal;
use tokio_postgres::config::Host;

use crate::{
    indexer::{ask, data_dir, program, refusal},
    patience::{PATIENCE, until},
    private_cluster::{TempDir, options},
    process,
};

fn line(number: u32) -> String {
    format!("{{\"v1\":\"{number:040x}\",\"name\":\"word number{number}\",\"files\":[]}}\n")
}

/// A second server that follows the first one, ended when it is dropped.
struct Replica {
    server: Child,
    url: String,
}

impl Replica {
    /// Copies the server whose data is in `primary`, and starts the copy.
    fn of(primary: &Path, socket: &Path, user: &str, folder: &Path) -> Self {
        let pid = process::ready_database(primary).unwrap();
        let postgres = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
        let owner = fs::metadata(primary.join("postgres")).unwrap();
        let home = folder.join("replica");
        fs::create_dir(&home).unwrap();
        std::os::unix::fs::chown(&home, Some(owner.uid()), Some(owner.gid())).unwrap();
        let data = home.join("data");
        let as_owner = |program: PathBuf| {
            let mut command = Command::new(program);
            command.uid(owner.uid()).gid(owner.gid()).current_dir(&home).stdin(Stdio::null());
            command
        };
        let copied = as_owner(postgres.with_file_name("pg_basebackup"))
            .args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--username", user, "--host"])
            .arg(socket)
            .arg("--pgdata")
            .arg(&data)
            .output()
            .unwrap();
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        let mut command = as_owner(postgres);
        command.arg("-D").arg(&data).stderr(fs::File::create(home.join("log")).unwrap());
        for setting in ["listen_addresses=", "max_connections=64", "shared_buffers=16MB", "fsync=off"] {
            command.args(["-c", setting]);
        }
        command.args(["-c", &format!("unix_socket_directories={}", home.display())]);
        let server = command.spawn().unwrap();
        let url = format!("postgres://{user}@{}/torrents", home.to_str().unwrap().replace('/', "%2F"));
        Self { server, url }
    }

    fn stop(&mut self) {
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(self.server.id().cast_signed()),
            Signal::SIGINT,
        );
        self.server.wait().unwrap();
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.stop();
    }
}

#[test]
fn a_replica_is_searched_in_the_place_of_the_database_that_it_follows() {
    let folder = TempDir::new();
    let server = Cluster::open(&options(&folder.join("server")), Mode::Own).unwrap();
    let config = server.connection("postgres");
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(db::ensure_database(&config, "torrents"))
        .unwrap();
    let Host::Unix(socket) = &config.get_hosts()[0] else { panic!("no socket") };
    let user = config.get_user().unwrap();
    let url = format!("postgres://{user}@{}/torrents", socket.to_str().unwrap().replace('/', "%2F"));
    let import = |numbers: std::ops::Range<u32>| {
        let file = folder.join("lines");
        fs::write(&file, numbers.map(line).collect::<String>()).unwrap();
        let mut command = program(&folder.0, "import");
        assert!(command.arg(file).args(["--database-url", &url]).output().unwrap().status.success());
    };
    import(0..100);

    let mut replica = Replica::of(&folder.join("server"), socket, user, &folder.0);
    let there = replica.url.clone();
    let export = |which: [&str; 2]| ask(&folder.0, &["export", which[0], which[1]]);
    let copy = until(PATIENCE, || export(["--search-url", &there]).ok()).expect("the replica answers");
    assert!(copy == export(["--database-url", &url]).unwrap());
    assert_eq!(copy.iter().filter(|byte| **byte == b'\n').count(), 100);

    // What is stored comes over, to searches and to exports of what is new.
    let cursor = folder.join("cursor");
    let new =
        || ask(&folder.0, &["export", "--search-url", &there, "--cursor-file", cursor.to_str().unwrap()]);
    assert!(new().unwrap() == copy);
    import(100..110);
    let found = until(PATIENCE, || {
        let found = ask(&folder.0, &["search", "--json", "--search-url", &there, "number105"]).unwrap();
        String::from_utf8(found).unwrap().contains("word number105").then_some(())
    });
    assert!(found.is_some(), "what was stored did not come over");
    // What a transaction that still runs might precede is left to the next export.
    let mut lines = 0;
    let all_new = until(PATIENCE, || {
        lines += new().unwrap().iter().filter(|byte| **byte == b'\n').count();
        (lines >= 10).then_some(())
    });
    assert!(all_new.is_some() && lines == 10, "{lines} new torrents were exported instead of 10");
    let shown = ask(&folder.0, &["show", &format!("{:040x}", 105), "--search-url", &there]).unwrap();
    assert!(String::from_utf8(shown).unwrap().contains("word number105"));
    let stats = ask(&folder.0, &["stats", "--json", "--search-url", &there]).unwrap();
    assert!(serde_json::from_slice::<serde_json::Value>(&stats).is_ok());

    // Alone it answers, and says that it is alone.
    drop(server);
    let mut search = program(&folder.0, "search");
    let output = search.args(["--search-url", &there, "number105"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && text.contains("no connection to the database that it follows"),
        "{text}"
    );
    assert!(String::from_utf8(output.stdout).unwrap().contains("word number105"));

    replica.stop();
    let sentence = refusal(program(&folder.0, "search").args(["--search-url", &there, "number105"]));
    assert!(
        sentence.contains("cannot be reached") && sentence.contains("without --search-url"),
        "{sentence}"
    );
    assert!(!data_dir(&folder.0).exists(), "a private database was made beside the replica");
}
