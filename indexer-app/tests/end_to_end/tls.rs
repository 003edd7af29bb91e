//! A shared database that is reached by encrypted connections.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::Path,
    process::{Child, Command, Stdio},
};

use indexer_app::cluster::{Cluster, Mode};
use nix::sys::signal::Signal;

use crate::{
    indexer::{ask, bare, data_dir, program, refusal},
    patience::{PATIENCE, until},
    private_cluster::{TempDir, options},
    process,
};

/// A server at a port of 127.0.0.1, ended when it is dropped.
struct Server {
    process: Child,
    port: u16,
}

impl Server {
    /// Starts one that takes encrypted connections from the network alone.
    fn start(folder: &Path, user: &mut String) -> Self {
        let options = options(&folder.join("server"));
        let cluster = Cluster::open(&options, Mode::Own).unwrap();
        cluster.connection("postgres").get_user().unwrap().clone_into(user);
        let pid = process::ready_database(&folder.join("server")).unwrap();
        let postgres = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
        drop(cluster);

        let data = folder.join("server/postgres");
        let owner = fs::metadata(&data).unwrap();
        for (name, address) in [("server", "IP:127.0.0.1"), ("other", "IP:127.0.0.1")] {
            let mut openssl = Command::new("openssl");
            openssl
                .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
                .args(["-subj", &format!("/CN={name}"), "-addext", &format!("subjectAltName={address}")])
                .arg("-keyout")
                .arg(folder.join(format!("{name}.key")))
                .arg("-out")
                .arg(folder.join(format!("{name}.pem")));
            let made = openssl.output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
        let key = folder.join("server.key");
        std::os::unix::fs::chown(&key, Some(owner.uid()), Some(owner.gid())).unwrap();
        fs::write(
            data.join("pg_hba.conf"),
            "hostssl all all 127.0.0.0/8 trust\nhostnossl all all 127.0.0.0/8 reject\n",
        )
        .unwrap();

        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(postgres);
        command.uid(owner.uid()).gid(owner.gid()).current_dir(&data).stdin(Stdio::null());
        command.arg("-D").arg(&data).stderr(fs::File::create(folder.join("log")).unwrap());
        for setting in [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={port}"),
            "unix_socket_directories=".to_owned(),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", folder.join("server.pem").display()),
            format!("ssl_key_file={}", key.display()),
            "fsync=off".to_owned(),
            "shared_buffers=16MB".to_owned(),
        ] {
            command.args(["-c", &setting]);
        }
        Self { process: command.spawn().unwrap(), port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.process.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, Signal::SIGINT);
        let _ = self.process.wait();
    }
}

#[test]
fn a_server_is_spoken_to_in_secret_and_believed_as_far_as_the_address_asks() {
    let folder = TempDir::new();
    let mut user = String::new();
    let server = Server::start(&folder.0, &mut user);
    let url = |host: &str, query: &str| format!("postgres://{user}@{host}:{}/postgres{query}", server.port);
    let pem = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let migrate = || {
        let mut command = program(&folder.0, "migrate");
        command
            .args(["--database-url", &url("127.0.0.1", "?sslmode=require")])
            .output()
            .unwrap()
            .status
            .success()
    };
    until(PATIENCE, || migrate().then_some(())).expect("a server that can be reached");

    let (own, other) = (pem("server.pem"), pem("other.pem"));
    for query in [
        String::new(),
        "?sslmode=prefer".to_owned(),
        "?sslmode=require".to_owned(),
        format!("?sslmode=require&sslrootcert={own}"),
        format!("?sslmode=verify-ca&sslrootcert={own}"),
        format!("?sslmode=verify-full&sslrootcert={own}"),
    ] {
        let found = ask(&folder.0, &["export", "--database-url", &url("127.0.0.1", &query)]);
        assert_eq!(found, Ok(Vec::new()), "{query}");
    }
    // The certificate is of an address, not of a name.
    let by_name = |mode: &str| url("localhost", &format!("?sslmode={mode}&sslrootcert={own}"));
    assert_eq!(ask(&folder.0, &["export", "--database-url", &by_name("verify-ca")]), Ok(Vec::new()));
    let mut refused = vec![(by_name("verify-full"), "certificate")];
    for mode in ["require", "verify-ca", "verify-full"] {
        refused.push((url("127.0.0.1", &format!("?sslmode={mode}&sslrootcert={other}")), "certificate"));
    }
    refused.push((url("127.0.0.1", "?sslmode=verify-full"), "certificate"));
    refused.push((url("127.0.0.1", "?sslmode=verify-full&sslrootcert=/nowhere.pem"), "/nowhere.pem"));
    refused.push((url("127.0.0.1", "?sslmode=disable"), "pg_hba.conf rejects"));
    for (url, why) in refused {
        let sentence = refusal(program(&folder.0, "export").args(["--database-url", &url]));
        assert!(sentence.contains(why), "{url}: {sentence}");
    }
    assert!(!data_dir(&folder.0).exists());

    // It is a setting like others, though the driver does not know all of it.
    let mut config = bare(Path::new(env!("CARGO_BIN_EXE_indexer")), &folder.0);
    let shown = config.args(["config", "--database-url", &by_name("verify-full")]).output().unwrap();
    assert!(String::from_utf8(shown.stdout).unwrap().contains("sslmode=verify-full"));
}
